"""What the self-test tries inside a sandbox; each of these must come to nothing. Only the standard library.

The text of this file is run as a cell of a learner's would be. Every ``attempt_…`` gives the words for what it managed
to do, or nothing. Each must be harmless where it succeeds: then there is no sandbox around it.
"""

import contextlib
import ctypes
import glob
import os
import resource
import socket
import tempfile

libc = ctypes.CDLL(None, use_errno=True)


def attempts(given):
    """The words of all attempts that succeeded; ``given`` holds what the judge knows and this process may not reach."""
    found = [attempt(given) for name, attempt in sorted(globals().items()) if name.startswith("attempt_")]
    return [words for words in found if words]


def attempt_secrets(given):
    """List or open what only the judge may: keys, other submissions, the gradebook."""
    for path in given["secrets"]:
        with contextlib.suppress(OSError):
            os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
            return f"read {path}"


def attempt_folders(given):
    """Find names of the judge's in folders that a sandbox has too."""
    for folder, names in given["folders"].items():
        with contextlib.suppress(OSError):
            seen = set(os.listdir(folder)) & set(names)
            if seen:
                return f"see {sorted(seen)[0]} in {folder}"


def attempt_grader(given):
    """Import the grader or the reference library."""
    import importlib.util

    for name in given["modules"]:
        if importlib.util.find_spec(name) is not None:
            return f"import {name}"


def attempt_root(given):
    """Have a user or group number of 0."""
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        return "be root"


def attempt_capabilities(given):
    """Hold a capability, or be able to gain one from a program."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        if int(status[name], 16):
            return f"hold capabilities ({name} {status[name]})"
    if status["NoNewPrivs"] != "1":
        return "gain capabilities from programs"


def attempt_user_namespace(given):
    """Make a user namespace, in which a process is root to itself."""
    if libc.unshare(0x10000000) == 0:
        return "make a user namespace"


def attempt_mounts(given):
    """Only leave the mounts for a copy of them: should it succeed, on a host without isolation, it harms nothing."""
    if libc.unshare(0x00020000) == 0:
        return "change what is mounted"


def attempt_namespaces(given):
    """Be in a namespace of the host."""
    for name, number in given["namespaces"].items():
        if os.readlink(f"/proc/self/ns/{name}") == number:
            return f"share the host's {name} namespace"


def attempt_network(given):
    """Connect or send, within the machine and beyond it."""
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", given["port"])),
        (socket.AF_UNIX, given["socket"]),
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET6, ("2001:db8::1", 80)),
    ):
        with contextlib.suppress(OSError), socket.socket(family) as line:
            line.settimeout(0.1)
            line.connect(address)
            return f"connect to {address}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"x", ("192.0.2.1", 53))
        return "send to the network"


def attempt_environment(given):
    """Read variables that the judge was started with."""
    with open("/proc/self/environ", "rb") as file:  # as it began: libraries set variables of the same names later
        began = {entry.partition(b"=")[0].decode() for entry in file.read().split(b"\0") if entry}
    seen = sorted(began & set(given["variables"]))
    if seen:
        return f"read the environment variable {seen[0]}"


def attempt_write(given):
    """Write where everything is read-only."""
    for folder in given["read_only"]:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder):
            return f"write in {folder}"


def attempt_other_processes(given):
    """Read, change or signal another process."""
    own = {str(os.getpid()), "self", "thread-self", os.path.basename(os.readlink("/proc/self"))}
    for path in glob.glob("/proc/[0-9]*") if given["alone"] else ():
        if os.path.basename(path) not in own:
            for name, mode in (("mem", "rb"), ("environ", "rb"), ("mem", "r+b")):
                with contextlib.suppress(OSError), open(f"{path}/{name}", mode):
                    return f"look into another process ({path}/{name})"
    for number in range(2, 100) if given["alone"] else ():
        with contextlib.suppress(OSError):
            os.kill(number, 0)
            return f"send signals to process {number}"


def attempt_descriptors(given):
    """Standard input, output and error, the wire, and the descriptor by which the folder is listed."""
    count = len(os.listdir("/proc/self/fd"))
    if given["alone"] and count > 5:
        return f"use {count - 5} descriptors of other processes"


def attempt_limits(given):
    """Set a limit higher, or take more memory or disk than the limits allow."""
    for name, limit in given["limits"].items():
        if not 0 <= resource.getrlimit(getattr(resource, name))[1] <= limit:
            return f"go over the limit {name}"
    with contextlib.suppress(MemoryError):
        bytearray(given["limits"]["RLIMIT_AS"])
        return "take more memory than the limit"
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), given["limits"]["RLIMIT_FSIZE"] + 1)
        return "make a file larger than the limit"
    for folder in (".", "/tmp", "/dev/shm"):
        room = os.statvfs(folder)
        if room.f_blocks * room.f_frsize > given["disk"]:
            return f"fill {folder} beyond the limit"
