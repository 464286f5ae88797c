"""A container for each submission, by docker or podman, with the same limits; where bubblewrap can't be had.

The image is empty: what bubblewrap would show is mounted into it read-only, so nothing is downloaded and both levels
run the same environment.
"""

import io
import itertools
import json
import os
import shutil
import subprocess
import tarfile
from socket import socket

from autograder import bubblewrap, seccomp
from autograder.fork_server import SCRATCH
from autograder.limits import Limits, for_kernel
from autograder.programs import Starter
from autograder.servers import ProgramKeeper
from nutshell.errors import Trouble

IMAGE = "nutshell-empty"
PROGRAMS = ("podman", "docker")
ANSWER = 60.0  # seconds for docker's own commands
_numbers = itertools.count()


def program() -> str:
    """The first of podman and docker that answers here.

    Raises
    ------
    Trouble
        With what each said.
    """
    said = []
    for name in PROGRAMS:
        if shutil.which(name) is None:
            said.append(f"{name} is not installed")
            continue
        answer = _ask(name, "version")
        if answer.returncode == 0:
            return name
        said.append(f"{name}: {answer.stderr.decode(errors='replace').strip()[-300:]}")
    raise Trouble("No containers here: " + "; ".join(said) + ".")


def arguments(engine: str, name: str, limits: Limits, seen: bubblewrap.View, rules: int) -> list[str]:
    """The command line for one submission, up to the arguments of the fork server's program.

    Parameters
    ----------
    engine : str
        ``"docker"`` or ``"podman"``.
    name : str
        Of the container, by which it is ended.
    limits : Limits
        Of the submission.
    seen : View
        What is mounted, read-only.
    rules : int
        Descriptor that the program reads the refused system calls from.
    """
    line = [
        engine, "run", "--rm", "--interactive", "--name", name,
        "--network", "none",
        "--read-only",  # the image too; the folders below are all that can be written
        "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges",
        "--security-opt", f"seccomp=/dev/fd/{rules}",
        "--user", f"{bubblewrap.NOBODY}:{bubblewrap.NOBODY}",
        "--memory", str(limits.memory + limits.disk),
        "--memory-swap", str(limits.memory + limits.disk),
        "--pids-limit", str(limits.processes),
        "--shm-size", str(limits.disk // 3),
        "--hostname", "sandbox",
        "--workdir", "/",
    ]  # fmt: skip
    if engine == "podman":
        line += ["--ulimit", "host"]  # its own may be above this host's; the program inside sets lower ones
    for folder in ("/tmp", SCRATCH):
        line += ["--tmpfs", f"{folder}:rw,nosuid,nodev,mode=1777,size={limits.disk // 3}"]
    for inside, outside in seen.shown.items():
        line += ["--mount", f"type=bind,source={outside},target={inside},readonly"]
    for folder in seen.covered:
        line += ["--tmpfs", f"{folder}:ro,size=4k"]
    for variable, value in bubblewrap.environment().items():
        line += ["--env", f"{variable}={value}"]
    last = str(int(limits.submission) + 60)  # seconds; should the judge be gone by then, this ends it
    return [*line, IMAGE, "timeout", "-s", "KILL", last, *bubblewrap.PROGRAM]


def image(links: dict[str, str]) -> bytes:
    """An image with nothing but the system's symbolic links (``/bin`` → ``usr/bin``), as a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, target in links.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return packed.getvalue()


def prepare(engine: str) -> None:
    """Make the empty image, if it isn't there.

    Raises
    ------
    Trouble
        With what the program said.
    """
    if _ask(engine, "image", "inspect", IMAGE).returncode == 0:
        return
    made = subprocess.run(
        [engine, "import", "-", IMAGE], input=image(bubblewrap.view().links), capture_output=True, timeout=ANSWER
    )
    if made.returncode != 0:
        raise Trouble(f"{engine} can't import an image: {made.stderr.decode(errors='replace').strip()[-500:]}")


def test() -> None:
    """Start one container as for a submission, and end it.

    Raises
    ------
    Trouble
        If none can be had here, with what was said.
    """
    engine = program()
    prepare(engine)
    with _start(engine, f"nutshell-{os.getpid()}-test", Limits(), bubblewrap.view(), "--try-once") as process:
        try:
            _, error = process.communicate(timeout=ANSWER)
        except subprocess.TimeoutExpired:
            process.kill()
            error = b"it gave no answer"
    if process.returncode != 0:
        raise Trouble(f"{engine} can't start a container: {error.decode(errors='replace').strip()[-500:]}")


def starter(limits: Limits) -> Starter:
    """Starts a container for each submission."""
    engine = program()
    prepare(engine)
    seen = bubblewrap.view()

    def start(wire: socket) -> ProgramKeeper:
        name = f"nutshell-{os.getpid()}-{next(_numbers)}"
        return _Container(_start(engine, name, limits, seen, "--once", wire.fileno()), engine, name)

    return start


def _start(
    engine: str, name: str, limits: Limits, seen: bubblewrap.View, how: str, wire: int = subprocess.DEVNULL
) -> subprocess.Popen:
    rules = seccomp.as_file(seccomp.profile())
    try:
        line = arguments(engine, name, limits, seen, rules)
        words = [how, json.dumps(for_kernel(limits, own_user=False))]
        return subprocess.Popen(
            [*line, *words], stdin=wire, stdout=wire, stderr=subprocess.PIPE, pass_fds=[rules], cwd="/"
        )
    finally:
        os.close(rules)


class _Container(ProgramKeeper):
    """Ends a container: its client's end alone would leave it running."""

    def __init__(self, process: subprocess.Popen, engine: str, name: str) -> None:
        super().__init__(process)
        self._engine, self._name = engine, name

    def stop(self) -> None:
        _ask(self._engine, "kill", self._name)

    def end(self) -> int | None:
        _ask(self._engine, "rm", "--force", self._name)
        return super().end()


def _ask(engine: str, *words: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run([engine, *words], capture_output=True, timeout=ANSWER)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess([engine, *words], 1, b"", str(error).encode())


