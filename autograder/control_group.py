"""Control groups of Linux (version 2): the kernel itself holds a submission as a whole to its memory and processes.

They can be used where one is delegated, that is handed over for good: ``systemd-run --user --scope -p Delegate=yes
nutshell grade …``. Anywhere else the watchdog does the same, a little later.
"""

import os
import time
from pathlib import Path

from autograder.limits import Limits

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
JUDGE = "nutshell-judge"
NEEDED = {"memory", "pids"}


def delegated(root: Path = ROOT, own: Path = OWN) -> Path | None:
    """The control group that was handed to this process, made ready; None where there is none.

    The processes in it are moved to a group below it, since one that has processes of its own can't limit others.
    """
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
        group = root / line[3:].lstrip("/")
        group = group.parent if group.name == JUDGE else group
        if not (_marked(group) and set((group / "cgroup.controllers").read_text().split()) >= NEEDED):
            return None
        (group / JUDGE).mkdir(exist_ok=True)
        for number in (group / "cgroup.procs").read_text().split():
            (group / JUDGE / "cgroup.procs").write_text(number)
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(NEEDED)))
    except (OSError, StopIteration):
        return None
    return group


def _marked(group: Path) -> bool:
    """Whether systemd, or whoever made the group, says that it is handed over."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(group, name) == b"1":
                return True
        except OSError:
            continue
    return False


class ControlGroup:
    """A group for one submission.

    Parameters
    ----------
    parent : Path
        What :func:`delegated` gave.
    name : str
        Of the new group.
    limits : Limits
        Memory and processes.
    """

    def __init__(self, parent: Path, name: str, limits: Limits) -> None:
        self.path = parent / name
        self.path.mkdir()
        for file, value in (
            ("memory.max", limits.memory + limits.disk),  # files in memory count here
            ("memory.swap.max", 0),
            ("memory.oom.group", 1),
            ("pids.max", limits.processes),
        ):
            (self.path / file).write_text(str(value))

    def add(self, number: int) -> None:
        """Put a process into it; what it starts from now on belongs to it too."""
        (self.path / "cgroup.procs").write_text(str(number))

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended it for its memory."""
        events = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
        return int(events.get("oom_kill", 0)) > 0

    def close(self) -> None:
        """End what is left in it and remove it."""
        (self.path / "cgroup.kill").write_text("1")
        for wait in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.001 * wait)
        self.path.rmdir()
