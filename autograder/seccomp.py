"""System calls that a submission never needs, refused by the kernel: a filter for ``bwrap --seccomp``.

What is refused is memory that no limit sees (``memfd_create``, System V and POSIX queues and segments), what outlives a
submission (kernel keys), what looks into other processes, new namespaces, and sockets that aren't held by the network
namespace (a virtual machine's ``AF_VSOCK``). Everything else is held by namespaces, capabilities and limits already.
"""

import errno
import json
import os
import platform
import struct
from typing import Any

# Linux system call numbers, from <asm/unistd.h>.
CALLS: dict[str, dict[str, int]] = {
    "x86_64": dict(
        shmget=29, ptrace=101, msgget=68, semget=64, add_key=248, request_key=249, keyctl=250, mq_open=240,
        perf_event_open=298, process_vm_readv=310, process_vm_writev=311, kcmp=312, memfd_create=319, bpf=321,
        userfaultfd=323, io_uring_setup=425, io_uring_enter=426, io_uring_register=427, pidfd_getfd=438,
        memfd_secret=447, open_by_handle_at=304, setns=308, fsopen=430, mount_setattr=442, open_tree=428,
        move_mount=429, process_madvise=440, vmsplice=278,
    ),
    "aarch64": dict(
        shmget=194, ptrace=117, msgget=186, semget=190, add_key=217, request_key=218, keyctl=219, mq_open=180,
        perf_event_open=241, process_vm_readv=270, process_vm_writev=271, kcmp=272, memfd_create=279, bpf=280,
        userfaultfd=282, io_uring_setup=425, io_uring_enter=426, io_uring_register=427, pidfd_getfd=438,
        memfd_secret=447, open_by_handle_at=265, setns=268, fsopen=430, mount_setattr=442, open_tree=428,
        move_mount=429, process_madvise=440, vmsplice=75,
    ),
}  # fmt: skip
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_… of <linux/audit.h>
_SOCKET = {"x86_64": (41, 53), "aarch64": (198, 199)}  # socket, socketpair
_MAKERS = {"x86_64": (56, 272), "aarch64": (220, 97)}  # clone, unshare
_CLONE3, _X32, _NEWUSER = 435, 0x40000000, 0x10000000
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: each is held by the network namespace

# BPF: load a word; jump if it is equal, at least, has one of these bits; return
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def program(machine: str | None = None) -> bytes | None:
    """The filter as the kernel's instructions; None for a machine whose system calls aren't listed here.

    Parameters
    ----------
    machine : str, optional
        As :func:`platform.machine` says.

    Examples
    --------
    >>> len(program("x86_64")) % 8, program("sparc64")
    (0, None)
    """
    machine = machine or platform.machine()
    if machine not in CALLS:
        return None
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, _ARCHITECTURE[machine], 1, 0), _step(_RETURN, _KILL),
             _step(_LOAD, _NUMBER)]  # fmt: skip
    if machine == "x86_64":
        steps += [_step(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]  # the same calls under other numbers
    for number in CALLS[machine].values():
        steps += [_step(_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _refuse(errno.ENOSYS)]  # its flags can't be read here; clone is tried next
    for number in _MAKERS[machine]:  # no new user namespaces, with which capabilities would come back
        steps += [_step(_EQUAL, number, 0, 4), _step(_LOAD, _ARGUMENT), _step(_HAS, _NEWUSER, 0, 1),
                  _refuse(errno.EPERM), _step(_RETURN, _ALLOW)]  # fmt: skip
    families = [_step(_EQUAL, family, len(FAMILIES) - number, 0) for number, family in enumerate(FAMILIES)]
    first, second = _SOCKET[machine]
    steps += [_step(_EQUAL, first, 1, 0), _step(_EQUAL, second, 0, len(families) + 2), _step(_LOAD, _ARGUMENT)]
    steps += [*families, _refuse(errno.EAFNOSUPPORT), _step(_RETURN, _ALLOW)]
    return b"".join(steps)


def profile() -> bytes:
    """The same rules for docker and podman, as JSON. Podman's own ones allow new user namespaces.

    Examples
    --------
    >>> json.loads(profile())["defaultAction"]
    'SCMP_ACT_ALLOW'
    """

    def rule(names: list[str], number: int, **more: Any) -> dict[str, Any]:
        return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, **more}

    def argument(operation: str, value: int, masked: int = 0) -> list[dict[str, Any]]:
        return [{"index": 0, "op": operation, "value": value, "valueTwo": masked}]

    new_user = argument("SCMP_CMP_MASKED_EQ", _NEWUSER, _NEWUSER)
    unlisted = [family for family in range(max(FAMILIES)) if family not in FAMILIES]
    rules = [
        rule(sorted(CALLS["x86_64"]), errno.EPERM),
        rule(["clone3"], errno.ENOSYS),
        *(rule([name], errno.EPERM, args=new_user) for name in ("clone", "unshare")),
        *(rule(["socket"], errno.EAFNOSUPPORT, args=argument("SCMP_CMP_EQ", family)) for family in unlisted),
        rule(["socket"], errno.EAFNOSUPPORT, args=argument("SCMP_CMP_GT", max(FAMILIES))),
    ]
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}).encode()


def as_file(contents: bytes) -> int:
    """A descriptor that these bytes can be read from; close it after use."""
    descriptor = os.memfd_create("seccomp")
    os.write(descriptor, contents)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)
