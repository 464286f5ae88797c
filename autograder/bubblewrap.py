"""The command line of bubblewrap: what a sandbox sees, and under whose name it is started.

What is seen inside, all of it read-only: the system's ``/usr``, the Python environment, the ``nutshell`` package alone,
the two files of the fork server, and the data sets. Not the classroom, not ``autograder``, not ``solutions``, no home.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import nutshell
from autograder import seccomp
from autograder.fork_server import SCRATCH
from autograder.limits import Limits, for_kernel
from nutshell.data.sources import cache_folder, data_folder
from nutshell.errors import Trouble

NOBODY = 65534  # user and group inside, and outside too where root starts it
COURSE, TOOLS, DATA, CACHE = "/course", "/sandbox", "/data/sets", "/data/cache"
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
PROGRAM = [sys.executable, "-u", f"{TOOLS}/fork_server.py"]
TRY_LIMIT = 20.0  # seconds
STAGES = ("/mnt", "/media", "/srv", "/opt")
OURS = ("autograder", "solutions")

# Root starts bubblewrap as nobody, so that the kernel counts its processes and nothing inside has root's number. What
# nobody can't reach (a Python below root's home) is first bound to a place that it can, in a private mount namespace.
LAUNCHER = """
mount -t tmpfs -o mode=755 staging "$1"; shift
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir "$2"; else touch "$2"; fi
  mount --bind "$1" "$2"; shift 2
done; shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"
"""


@dataclass(frozen=True)
class View:
    """What is seen inside.

    Attributes
    ----------
    shown : dict of str to str
        Path inside to path outside; read-only.
    covered : tuple of str
        Folders inside the shown ones that are empty inside.
    links : dict of str to str
        Symbolic links, path to target.
    """

    shown: dict[str, str]
    covered: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict)

    def path_of(self, outside: Path) -> str | None:
        """Where a path of this machine is seen inside; None if it isn't."""
        real = outside.resolve()
        for inside, source in self.shown.items():
            if real.is_relative_to(Path(source).resolve()):
                found = str(Path(inside) / real.relative_to(Path(source).resolve()))
                return None if any(Path(found).is_relative_to(folder) for folder in self.covered) else found
        return None


def view() -> View:
    """What a sandbox sees on this machine."""
    links = {path: os.readlink(path) for path in SYSTEM if os.path.islink(path)}
    shown = {path: path for path in ("/usr", *SYSTEM, *ETC) if os.path.exists(path) and path not in links}
    for prefix in (sys.base_prefix, sys.prefix):  # the environment last: it may lie inside the other
        if not any(Path(prefix).is_relative_to(path) for path in shown):
            shown[prefix] = prefix
    shown[f"{COURSE}/nutshell"] = str(Path(nutshell.__file__).resolve().parent)
    here = Path(__file__).resolve().parent
    for name in ("fork_server.py", "confine.py"):
        shown[f"{TOOLS}/{name}"] = str(here / name)
    folder, cache = data_folder(), cache_folder()
    if folder is not None:
        shown[DATA] = str(folder.resolve())
    if cache.is_dir():
        shown[f"{CACHE}/nutshell/data"] = str(cache.resolve())
    bare = View(shown, links=links)
    covered = tuple(inside for inside in map(bare.path_of, _our_folders()) if inside is not None)
    return View(shown, covered, links)


def _our_folders() -> Iterator[Path]:
    """Where the grader's own packages are installed; in an environment they would be seen, so they are covered."""
    for name in OURS:
        found = importlib.util.find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found else ():
            yield Path(folder)


def environment() -> dict[str, str]:
    """All environment variables inside."""
    found = {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": COURSE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        "USER": "learner",
        "LOGNAME": "learner",
        "XDG_CACHE_HOME": CACHE,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp",
        "NBGRADER_EXECUTION": "autograde",  # check, progress and hand_in have nothing to do
        "NUTSHELL_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUTSHELL_KEPT": json.dumps([path for path in view().shown if path.startswith("/tmp/")]),
    }
    return found | ({"NUTSHELL_DATA": DATA} if data_folder() is not None else {})


def arguments(seen: View, *, fork_server: bool, limits: Limits, seccomp_from: int | None) -> list[str]:
    """Bubblewrap's own part of the command line, up to the program that it starts.

    Parameters
    ----------
    seen : View
        What is shown.
    fork_server : bool
        Whether the program may make namespaces and mounts of its own inside, for one child after another.
    limits : Limits
        Sizes of the folders that can be written, where it may not.
    seccomp_from : int, optional
        Descriptor that a filter of system calls is read from.
    """
    line = [
        _program(),
        "--unshare-user",  # a user namespace, so that no right inside is one outside
        "--unshare-all",  # and its own processes, network (none), mounts, host name, shared memory, control groups
        "--die-with-parent",  # the judge's end is its end, however that came
        "--new-session",  # no terminal to write to
        "--uid", str(NOBODY),
        "--gid", str(NOBODY),
        "--cap-drop", "ALL",
    ]  # fmt: skip
    if fork_server:  # for unshare and mount, and for dropping these two for good in each child
        line += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    if "--disable-userns" in _help():
        line += ["--disable-userns"]  # where it is older, the filter of system calls refuses them
    if seccomp_from is not None:
        line += ["--seccomp", str(seccomp_from)]
    line += ["--proc", "/proc", "--dev", "/dev", "--dir", "/etc"]
    room = ["--size", str(limits.disk // 3)]
    line += ["--tmpfs", "/tmp"] if fork_server else [*room, "--tmpfs", "/tmp", *room, "--tmpfs", "/dev/shm"]
    for path, target in seen.links.items():
        line += ["--symlink", target, path]
    for inside, outside in seen.shown.items():
        line += ["--ro-bind", outside, inside]
    for folder in seen.covered:
        line += ["--tmpfs", folder, "--remount-ro", folder]
    line += ["--dir", SCRATCH] if fork_server else [*room, "--tmpfs", SCRATCH]  # a fork server's child mounts its own
    line += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--clearenv"]
    for name, value in environment().items():
        line += ["--setenv", name, value]
    return line


@dataclass(frozen=True)
class Way:
    """How bubblewrap is started: the words before it, where it finds what it shows, and the user that it runs as."""

    prefix: list[str]
    seen: View
    user: int | None = None


def ways(seen: View) -> list[Way]:
    """How it may be started here, the best first: never as root where nobody can do it."""
    if os.geteuid() != 0:
        return [Way([], seen)]
    if not all(map(_readable_by_all, _samples(seen))):
        return [Way([], seen)]
    hidden = [path for path in seen.shown.values() if not _reachable_by_all(Path(path))]
    if not hidden:
        return [Way([], seen, NOBODY), Way([], seen)]
    stage = next((path for path in STAGES if _free(path, seen.shown.values())), None)
    if stage is None or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return [Way([], seen)]
    moved = {path: f"{stage}/{number}" for number, path in enumerate(hidden)}
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", LAUNCHER, "launcher", stage]
    prefix += [word for pair in moved.items() for word in pair] + ["--"]
    staged = View({inside: moved.get(path, path) for inside, path in seen.shown.items()}, seen.covered, seen.links)
    return [Way(prefix, staged), Way([], seen)]


def start(
    way: Way,
    words: list[str],
    *,
    fork_server: bool,
    limits: Limits,
    descriptors: Iterable[int] = (),
    options: Iterable[str] = (),
    **streams: Any,
) -> subprocess.Popen:
    """Start the fork server's program inside.

    Parameters
    ----------
    way : Way
        How.
    words : list of str
        The program's arguments.
    fork_server : bool
        Whether it starts processes for submissions itself.
    limits : Limits
        Sizes of the folders that can be written, where it doesn't.
    descriptors : iterable of int
        That stay open inside.
    options : iterable of str
        More of bubblewrap's own.
    streams
        Standard input and output, as :class:`subprocess.Popen` takes them.

    Raises
    ------
    Trouble
        If bubblewrap isn't there.
    """
    as_user: dict[str, Any] = {} if way.user is None else dict(user=way.user, group=way.user, extra_groups=[])
    program = seccomp.program()
    filters = [] if program is None else [seccomp.as_file(program)]
    line = arguments(way.seen, fork_server=fork_server, limits=limits, seccomp_from=filters[0] if filters else None)
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [*way.prefix, *line, *options, *PROGRAM, *words],
            **{"stdin": nowhere, "stdout": nowhere, "stderr": subprocess.PIPE, **streams},
            pass_fds=(*descriptors, *filters),
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
            **as_user,
        )
    except OSError as error:
        raise Trouble(f"bubblewrap can't be started ({error}). Install it: apt install bubblewrap.") from None
    finally:
        for descriptor in filters:
            os.close(descriptor)


@dataclass(frozen=True)
class Plan:
    """What works on this machine: a way to start bubblewrap, and whether a fork server can work inside."""

    way: Way
    fork_server: bool
    why_not: str = ""


@lru_cache(maxsize=1)
def plan() -> Plan:
    """Try what the fork server needs, in each way, without importing anything large.

    Raises
    ------
    Trouble
        If bubblewrap doesn't work here at all; with what it said.
    """
    if shutil.which("bwrap") is None:
        raise Trouble("bubblewrap is not installed. Install it: apt install bubblewrap, or dnf install bubblewrap.")
    said = ""
    for fork_server in (True, False):
        for way in ways(view()):
            answer = _try(way, fork_server)
            if not answer:
                return Plan(way, fork_server, said)
            said = said or answer
    raise Trouble(f"bubblewrap doesn't work here: {said}")


def _try(way: Way, fork_server: bool) -> str:
    """Why a way doesn't work; empty if it does."""
    small = Limits()
    words = ["--try" if fork_server else "--try-once", json.dumps(for_kernel(small, own_user=True))]
    process = start(way, words, fork_server=fork_server, limits=small)
    try:
        _, said = process.communicate(timeout=TRY_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"it gave no answer in {TRY_LIMIT:g} seconds"
    text = said.decode(errors="replace").strip()
    return "" if process.returncode == 0 else text[-2000:] or f"it ended with status {process.returncode}"


def _samples(seen: View) -> Iterator[Path]:
    """What is shown, and each installed package: enough to tell an environment that only its owner may read."""
    yield from map(Path, seen.shown.values())
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), seen.shown[f"{COURSE}/nutshell"]}:
        yield from Path(folder).iterdir()


def _readable_by_all(path: Path) -> bool:
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed == needed


def _reachable_by_all(path: Path) -> bool:
    """Whether every user can come to a path."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _free(stage: str, paths: Iterable[str]) -> bool:
    return os.path.isdir(stage) and not any(Path(path).resolve().is_relative_to(stage) for path in paths)


@lru_cache(maxsize=1)
def _help() -> str:
    return subprocess.run([_program(), "--help"], capture_output=True, text=True, check=False).stdout


def _program() -> str:
    return shutil.which("bwrap") or "bwrap"
