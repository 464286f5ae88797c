"""What grading left on the machine: processes, mounts, shared memory, control groups, files, changed submissions."""

import contextlib
import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
LIBRARIES = ("torchinductor_", "pymp-")  # torch's cache; a folder that Python leaves where a process is killed


class Watch:
    """Compares the machine after grading with what it was before.

    Parameters
    ----------
    room : Room
        The classroom that is graded meanwhile.
    """

    def __init__(self, room: "object") -> None:
        self.room = room
        # Whoever loses its parent becomes this process's child, so that no daemon gets away unseen.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.before = self._state()
        self.children = descendants(os.getpid())

    def left(self) -> list[str]:
        """What is there now and wasn't before, in words; processes have a moment to end."""
        until = time.monotonic() + 5
        while (found := self._now()) and time.monotonic() < until:
            time.sleep(0.2)
        return found

    def _now(self) -> list[str]:
        found = [f"process {pid}: {words}" for pid, words in self._processes().items()]
        now = self._state()
        for kind, before in self.before.items():
            found += [f"{kind} {name}" for name in sorted(now[kind] - before)]
            if kind in ("submission", "file"):
                found += [f"{kind} {name} is gone" for name in sorted(before - now[kind])]
        return found

    def _processes(self) -> dict[int, str]:
        until = time.monotonic() + 5
        while (
            left := {p: w for p, w in descendants(os.getpid()).items() if p not in self.children}
        ) and time.monotonic() < until:
            reap(left)
            time.sleep(0.05)
        return left

    def end(self) -> None:
        """End what was left, so that a failed test leaves nothing."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
        reap(descendants(os.getpid()))

    def _state(self) -> dict[str, set[str]]:
        room = self.room
        return {
            "mount": {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if _ours(line, room)},
            "shared memory": {name for name in os.listdir("/dev/shm") if not name.startswith("sem.mp-")} - mapped(),
            "control group": {str(path) for path in Path("/sys/fs/cgroup").rglob("*nutshell*")},
            "temporary file": {name for name in os.listdir(room.tmp) if not name.startswith(LIBRARIES)},  # type: ignore[attr-defined]
            "file in the home folder": {str(path.relative_to(room.home)) for path in room.home.rglob("*")},  # type: ignore[attr-defined]
            "file": room.names(),  # type: ignore[attr-defined]
            "submission": set(hashes(room.folder / "submitted")) | set(hashes(room.folder / "source")),  # type: ignore[attr-defined]
            "secret": {hashlib.sha256((room.folder / "secret_seed").read_bytes()).hexdigest()},  # type: ignore[attr-defined]
        }


def _ours(mount: str, room: object) -> bool:
    """Whether a line of the mount table may come from grading; other programs of this machine mount things too."""
    return any(word in mount for word in (str(room.place), "nutshell", "scratch", "staging", "/course", "bwrap"))  # type: ignore[attr-defined]


def mapped() -> set[str]:
    """Names in /dev/shm that a living process uses: other programs make some meanwhile."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            found |= {line.rpartition("/")[2] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
    return found


def descendants(pid: int) -> dict[int, str]:
    """All processes below one, with their command lines; the dead that nobody waited for are left out."""
    parents: dict[int, list[int]] = {}
    words: dict[int, str] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry))
            words[int(entry)] = Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " ")[:200] or "(no words)"
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for child in parents.get(todo.pop(), ()):
            if child not in found:
                found[child] = words.get(child, "")
                todo.append(child)
    return found


def reap(pids: dict[int, str]) -> None:
    """Wait for children of this process that have ended and that nothing else waits for."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                os.waitpid(pid, os.WNOHANG)


def hashes(folder: Path) -> Iterator[str]:
    """Every file below a folder with the hash of its content, and every link with its target."""
    for place, folders, files in os.walk(folder):
        if place.count("/") - str(folder).count("/") > 20:
            folders.clear()
        for name in files:
            path = Path(place, name)
            words = f"{path.relative_to(folder)} ".encode(errors="surrogateescape").decode(errors="replace")
            if path.is_symlink():
                yield f"{words}-> {os.readlink(path)}"
            elif path.is_file() and path.stat().st_size < 1 << 27:
                yield words + hashlib.sha256(path.read_bytes()).hexdigest()
