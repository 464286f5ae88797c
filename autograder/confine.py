"""What the fork server asks of the Linux kernel, one plain function a thing. Only the standard library.

Python has no words for namespaces, mounts and capabilities before 3.12, so the C library's are called by ctypes. This
file and :mod:`autograder.fork_server` are the only ones of the grader that are seen inside a sandbox.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Mapping
from typing import Any

# Numbers from <linux/sched.h>, <sys/mount.h>, <linux/prctl.h> and <linux/capability.h>; they never change.
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; with ``CLONE_NEWPID`` the next child is the first process of a new one."""
    _checked(_libc.unshare(flags), "unshare")


def tmpfs(target: str, size: int, files: int, mode: str = "0755") -> None:
    """Mount an empty file system in memory that holds at most ``size`` bytes and ``files`` files."""
    options = f"size={size},nr_inodes={files},mode={mode}".encode()
    _checked(_libc.mount(b"tmpfs", target.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options), f"tmpfs on {target}")


def bind(source: str, target: str) -> None:
    """Show ``source`` at ``target`` too; what was read-only there stays so."""
    _checked(_libc.mount(source.encode(), target.encode(), None, MS_BIND | MS_REC, None), f"bind on {target}")


def fresh_proc() -> bool:
    """Mount a /proc of the own pid namespace; False where the kernel refuses, as below one that is covered in part."""
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    return bool(_libc.mount(b"proc", b"/proc", b"proc", flags, None) == 0)


def hide(secret: bool) -> None:
    """Whether other processes of the same user may look into this one, trace it, or write to its memory."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, 0 if secret else 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def end_with_parent() -> None:
    """Have the kernel end this process with the one that started it."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def drop_capabilities() -> None:
    """Give up every capability for good: nothing that is started from here can get one back."""
    last = 0
    while _libc.prctl(PR_CAPBSET_DROP, last, 0, 0, 0) == 0:  # the bounding set: fails after the kernel's last one
        last += 1
    _checked(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT)")
    nothing = (_Sets * 2)()
    _checked(_libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), nothing), "capset")
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")  # no set-user-id program helps


def limit_process(limits: Mapping[str, Any]) -> None:
    """Set what the kernel holds each single process to; soft and hard, so that they can only be lowered.

    Parameters
    ----------
    limits : dict
        ``address_space``, ``file_size`` in bytes, ``descriptors``, ``submission`` in seconds; ``processes`` or None.
    """
    for name, value in (
        (resource.RLIMIT_CORE, 1),  # no core files; 1 and not 0, at which a crash would still start the host's handler
        (resource.RLIMIT_AS, limits["address_space"]),
        (resource.RLIMIT_FSIZE, limits["file_size"]),
        (resource.RLIMIT_NOFILE, limits["descriptors"]),
        (resource.RLIMIT_CPU, limits["submission"] + 5),  # only if the clock on the other side fails
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
    ):
        if value is None:  # the watchdog counts them
            continue
        highest = resource.getrlimit(name)[1]
        own = int(value) if highest == resource.RLIM_INFINITY else min(int(value), highest)
        resource.setrlimit(name, (own, own))


def end_first() -> None:
    """Have the kernel end this process, and what it starts, before others where memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
