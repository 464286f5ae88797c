"""Which level of isolation is used, and the test that it holds: never a weaker one than asked for, never silently."""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autograder import bubblewrap, container
from autograder.sandbox import LEVELS, Sandbox
from nutshell.errors import Trouble, WrongUse
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.running import CRASH, OUTPUT
from nutshell.wire.standins import Implementation

SWITCHES = {  # settings of Linux that forbid user namespaces: the value that does, and the one that doesn't
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "user.max_user_namespaces": ("0", "10000"),
}
SETTINGS = Path("/proc/sys")
FORGED = "import os, struct, stat\n" + (
    "for number in range(3, 64):\n"
    "    try:\n"
    "        if stat.S_IFMT(os.fstat(number).st_mode) in (stat.S_IFSOCK, stat.S_IFIFO):\n"
    "            os.write(number, struct.pack('<Q', 1 << 40))\n"
    "    except OSError: continue\n"
)


def choose(level: str | None, said: Callable[[str], None] | None = None) -> str:
    """The level of isolation to use.

    Parameters
    ----------
    level : str, optional
        Wanted: ``"bubblewrap"``, ``"container"`` or ``"process"``. Left out, the first of the first two that works.
    said : callable, optional
        Told what the instructor should know; standard error if left out.

    Returns
    -------
    str
        The level. ``"process"`` only if it was asked for.

    Raises
    ------
    WrongUse
        For an unknown level.
    Trouble
        If it doesn't work here, with why and what to install.
    """
    said = said or _to_standard_error
    if level == "process":
        said("Isolation: process. Submissions can read and change what you can; their marks are not trusted.")
        return level
    if level is not None and level not in LEVELS:
        raise WrongUse(f"--isolation {level}: must be one of {', '.join(LEVELS)}.")
    if level == "container":
        container.test()
        return level
    try:
        plan = bubblewrap.plan()
    except Trouble as error:
        why = f"{error}{advice()}"
        if level is not None:
            raise Trouble(why) from None
        return _container_instead(why, said)
    if not plan.fork_server:
        said(f"Isolation: one bubblewrap for each submission, which is slower: a fork server can't work here "
             f"({plan.why_not}).")  # fmt: skip
    return "bubblewrap"


def _container_instead(why: str, said: Callable[[str], None]) -> str:
    try:
        container.test()
    except Trouble as error:
        raise Trouble(
            f"Nothing here can isolate submissions.\n{why}\n{error}\n"
            "Install bubblewrap, podman or docker. For your own work only, --isolation process does without."
        ) from None
    said(f"Isolation: container. {why}")
    return "container"


def advice() -> str:
    """What forbids user namespaces on this machine, with the command that allows them; empty if nothing is known to."""
    for name, (forbids, allows) in SWITCHES.items():
        file = SETTINGS / name.replace(".", "/")
        if file.is_file() and file.read_text().strip() == forbids:
            return f" This system forbids user namespaces; root can allow them: sysctl {name}={allows}"
    return ""


def self_test(box: Sandbox, secrets: Sequence[Path] = ()) -> None:
    """Try from inside what is forbidden; one child of the sandbox, in well under a second.

    Parameters
    ----------
    box : Sandbox
        Not ``"process"``, which forbids nothing: there it does nothing.
    secrets : sequence of Path
        Files and folders that must not be seen: the classroom's seed, its gradebook.

    Raises
    ------
    Trouble
        Naming what could be done.
    """
    if box.level == "process":
        return
    name = f"\0nutshell-{os.getpid()}"  # a socket without a file
    with _listener(socket.AF_INET, ("127.0.0.1", 0)) as local, _listener(socket.AF_UNIX, name) as named:
        given = known(box, secrets)
        given |= {"port": local.getsockname()[1], "socket": named.getsockname()}
        with box.child({}) as child:
            said = codec.decode(child.request("run", codec.encode({"verb": "run", "cells": [_text()]})))
            managed = said["value"] if said["value"] != [None] else Implementation(child).attempts(given)
            if managed:
                raise Trouble(f"The sandbox doesn't hold, so nothing is graded: a submission could {managed[0]}.")
            _flood(child)


def known(box: Sandbox, secrets: Sequence[Path]) -> dict[str, Any]:
    """What the attempts are given: what this process knows and a submission may not reach."""
    seen = bubblewrap.view()
    folders = [Path.home(), Path.cwd(), Path(__file__).resolve().parents[1], *(path.parent for path in secrets)]
    alone = box.level == "bubblewrap" and bubblewrap.plan().fork_server
    own_user = ("user",) if box.level == "bubblewrap" else ()  # docker's root is the host's, with other rights
    return {
        "secrets": [str(path) for path in secrets],
        "folders": {str(folder): _unseen(folder, seen) for folder in folders if folder.is_dir()},
        "modules": [name for name in bubblewrap.OURS if importlib.util.find_spec(name)],
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "net", "mnt", "ipc", *own_user)},
        "variables": sorted(set(os.environ) - set(bubblewrap.environment()) - {"TERM", "HOSTNAME", "PWD"}),
        "read_only": ["/", "/usr", "/etc", "/dev", "/proc", sys.prefix, sys.base_prefix, *seen.shown],
        "alone": alone,
        "disk": box.limits.disk,
        "limits": {
            "RLIMIT_AS": box.limits.address_space,
            "RLIMIT_FSIZE": box.limits.file_size,
            "RLIMIT_NOFILE": box.limits.descriptors,
            "RLIMIT_CORE": 1,
        },
    }


def _unseen(folder: Path, seen: bubblewrap.View) -> list[str]:
    """Names in a folder of this machine that must not be seen inside."""
    if seen.path_of(folder) is not None:
        return []  # the whole folder is shown, for the environment; secrets in it are tested by themselves
    shown = [Path(outside).resolve() for outside in seen.shown.values()]
    unseen = [item for item in folder.iterdir() if not any(path.is_relative_to(item.resolve()) for path in shown)]
    return [item.name for item in unseen[:1000]]


def _flood(child: Any) -> None:
    """Have the child send more than it may, past the codec; it must be ended for it."""
    try:
        child.request("run", codec.encode({"verb": "run", "cells": [FORGED]}))
    except Ended as ended:
        if ended.status in (OUTPUT, CRASH):
            return
        raise Trouble(f"The sandbox answers {ended.status} to a reply that is too large.") from None
    raise Trouble("The sandbox doesn't hold, so nothing is graded: a submission could send more than the limit.")


def _text() -> str:
    return (Path(__file__).parent / "attempts.py").read_text(encoding="utf-8")


def _listener(family: int, address: Any) -> socket.socket:
    found = socket.socket(family)
    found.bind(address)
    found.listen()
    return found


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr)
