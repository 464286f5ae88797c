"""The sandbox on the judge's side: starts the fork server, gives each submission a fresh child, and ends it.

    with Sandbox("bubblewrap") as box, box.child({"network.nut": data}) as child:
        reply = child.request("run", message)

What a learner's code can do to the judge is to send bytes on its wire: they are read up to a bound and by a deadline,
and are decoded by :mod:`nutshell.wire.codec`, which gives plain data or an error.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autograder import bubblewrap, seccomp
from autograder.fork_server import FAILED, READY, STATUS
from nutshell.errors import Trouble, WrongUse
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.running import CRASH, MEMORY, OUTPUT, TIMEOUT

LEVELS = ("bubblewrap", "container", "process")
START_LIMIT = 120.0  # seconds for the fork server's imports
CHILD_LIMIT = 30.0  # seconds for a fork, a mount and the submission's files
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    request, submission : float
        Seconds for one answer, and for all of them together.
    memory : int
        Bytes that all of its processes hold together, files in memory included.
    address_space : int
        Bytes that one process may map.
    processes : int
        Processes and threads together.
    disk : int
        Bytes in the working folder, ``/tmp`` and ``/dev/shm`` together.
    files, file_size, descriptors : int
        Files in those folders, bytes of one file, open descriptors of one process.
    message, header : int
        Bytes of one reply, and of its JSON header.
    """

    request: float = 20.0
    submission: float = 300.0
    memory: int = 3 << 30
    address_space: int = 4 << 30
    processes: int = 64
    disk: int = 512 << 20
    files: int = 20_000
    file_size: int = 256 << 20
    descriptors: int = 256
    message: int = codec.DEFAULT_LIMITS.size
    header: int = codec.DEFAULT_LIMITS.header

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise WrongUse(f"{name} = {value}: a limit must be above 0.")


class Lost(Trouble):
    """The sandbox itself failed; the submission is tried again and never gets a zero for it."""


class Child:
    """A channel to the process that runs one submission's code; a context manager that leaves nothing of it behind.

    Attributes
    ----------
    ended : Ended, optional
        Why it is over; every later request raises it again.
    forged : bool
        Whether more bytes came than were asked for.
    number : int
        The process, as this machine numbers it.
    """

    def __init__(self, wire: socket.socket, watch: socket.socket, limits: Limits, seconds: float) -> None:
        self._wire, self._watch, self._limits = wire, watch, limits
        self._until = time.monotonic() + min(seconds, limits.submission)
        self._fate: Ended | None = None  # what the watchdog ended it for
        self.ended: Ended | None = None
        self.forged = False
        self.number = 0

    def begin(self, files: Mapping[str, bytes]) -> None:
        """Wait for the process, hand it the submission's files, and wait until its harness is ready.

        Raises
        ------
        Lost
            If it doesn't start.
        """
        self._watch.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._watch.settimeout(CHILD_LIMIT)
        until = time.monotonic() + CHILD_LIMIT
        size = sum(map(len, files.values())) + (1 << 20)
        try:
            said, ancillary, _, _ = self._watch.recvmsg(1024, socket.CMSG_SPACE(_CREDENTIALS.size))
            if said != READY:
                raise Lost(f"A child of the sandbox can't start: {said.decode(errors='replace') or 'it is gone'}.")
            self.number = _CREDENTIALS.unpack(ancillary[0][2])[0]
            self._send(codec.encode(dict(files), limits=codec.Limits(size=size)), until)
            self._receive(until)
        except (OSError, _Over) as error:
            said = self._last_word() if isinstance(error, _Over) else b""
            raise Lost(f"A child of the sandbox can't start: {said.decode(errors='replace') or error}.") from None

    def request(self, label: str, message: bytes) -> bytes:
        """Send one message and wait for its reply.

        Raises
        ------
        Ended
            TIMEOUT, MEMORY, OUTPUT or CRASH, for what the submission did.
        Lost
            If the sandbox itself failed.
        """
        if self.ended is not None:
            raise self.ended
        now = time.monotonic()
        until = min(now + self._limits.request, self._until)
        try:
            if self._unasked():
                raise _Over(CRASH, "More was sent to the grader than it asked for.")
            self._send(message, until)
            return self._receive(until)
        except _Over as over:
            self._end(over)
        except TimeoutError:
            seconds = self._limits.request if until < self._until else self._limits.submission
            whole = "" if until < self._until else "The whole submission: "
            self._end(_Over(TIMEOUT, f"{whole}It took longer than {seconds:g} seconds."))
        except OSError:  # the other end was closed while something was sent
            self._end(_Over("", ""))
        assert self.ended is not None
        raise self.ended

    def stop(self, status: str, message: str) -> None:
        """End it for what it did; the watchdog calls this from a thread of its own."""
        self._fate = self._fate or Ended(status, message)
        with contextlib.suppress(OSError):  # closed already
            self._watch.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the process and everything that it started, and wait until it is gone."""
        self.ended = self.ended or Ended(CRASH, "The process that ran your code was closed.")
        self._wire.close()
        if self._watch.fileno() >= 0:
            self._last_word()
            self._watch.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _send(self, message: bytes, until: float) -> None:
        self._wire.settimeout(_left(until))
        self._wire.sendall(message)

    def _receive(self, until: float) -> bytes:
        """One message; its length is tested before the rest is read."""
        prefix = self._exactly(8, until)
        size = codec.length(prefix)
        if size > self._limits.message:
            raise _Over(OUTPUT, f"A reply of {size:,} bytes; at most {self._limits.message:,} are allowed.")
        return prefix + self._exactly(size, until)

    def _exactly(self, size: int, until: float) -> bytes:
        buffer = bytearray(size)
        room, filled = memoryview(buffer), 0
        while filled < size:
            self._wire.settimeout(_left(until))
            count = self._wire.recv_into(room[filled:])
            if count == 0:
                raise _Over("", "")
            filled += count
        return bytes(buffer)

    def _unasked(self) -> bool:
        """Whether bytes are waiting that nobody asked for."""
        self._wire.settimeout(0)
        try:
            self.forged = bool(self._wire.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        return self.forged

    def _end(self, over: "_Over") -> None:
        """Say why it is over, from what was seen here, by the watchdog, and by the keeper."""
        word = self._last_word()
        self._watch.close()
        self._wire.close()
        if self._fate is not None:
            self.ended = self._fate
        elif over.status:
            self.ended = Ended(over.status, over.message)
        elif len(word) == STATUS.size:
            self.ended = _death(STATUS.unpack(word)[0])
        else:
            raise Lost("The sandbox ended while a submission ran in it.")

    def _last_word(self) -> bytes:
        """Have the keeper end the child, and wait for what it says of it and for its own end."""
        word = b""
        with contextlib.suppress(OSError):  # the keeper is gone already
            self._watch.shutdown(socket.SHUT_WR)
        self._watch.settimeout(CHILD_LIMIT)
        try:
            while said := self._watch.recv(1024):
                word = said
        except TimeoutError:
            raise Lost("A submission's processes can't be ended.") from None
        except ConnectionError:
            pass  # the same as an end: nobody is there to say more
        return word


class Sandbox:
    """Where submissions run, one at a time.

    Parameters
    ----------
    level : {"bubblewrap", "container", "process"}
        What :func:`autograder.isolation.choose` gave.
    limits : Limits
        For each submission.

    Attributes
    ----------
    limited_by : str
        What holds a submission as a whole to its limits: ``"control group"`` or ``"watchdog"``.
    """

    def __init__(self, level: str = "bubblewrap", limits: Limits | None = None) -> None:
        if level not in LEVELS:
            raise WrongUse(f"isolation = {level!r}: must be one of {', '.join(LEVELS)}.")
        self.level, self.limits = level, limits or Limits()
        self.limited_by = "watchdog"
        self._server: _ForkServer | None = None
        self._child: Child | None = None

    def child(self, files: Mapping[str, bytes], seconds: float | None = None) -> Child:
        """A fresh process with the submission's files in its working folder.

        Parameters
        ----------
        files : dict of str to bytes
            By path relative to the working folder.
        seconds : float, optional
            What is left of the submission's time.
        """
        if self._child is not None:
            self._child.close()
        if self._server is None or not self._server.alive:
            self.close()
            self._server = _ForkServer(self.limits)
        try:
            wire, watch = self._server.fork()
            self._child = Child(wire, watch, self.limits, self.limits.submission if seconds is None else seconds)
            self._child.begin(files)
        except (Lost, OSError) as error:
            self.close()
            raise error if isinstance(error, Lost) else Lost(f"The sandbox ended: {error}.") from None
        return self._child

    def close(self) -> None:
        """End everything inside."""
        if self._child is not None:
            with contextlib.suppress(Lost):  # ended with the fork server, below
                self._child.close()
        if self._server is not None:
            self._server.close()
        self._child = self._server = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _ForkServer:
    """A bubblewrap with a fork server inside, and the control socket to it."""

    def __init__(self, limits: Limits) -> None:
        seen = bubblewrap.view()
        said = ""
        for way in bubblewrap.ways(seen):
            self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            program = seccomp.program()
            descriptors = [theirs.fileno()] + ([seccomp.as_file(program)] if program is not None else [])
            line = bubblewrap.arguments(way.seen, fork_server=True, seccomp=(descriptors + [None])[1])
            line += [*bubblewrap.python(), str(theirs.fileno()), json.dumps(asdict(limits))]
            try:
                self.process = bubblewrap.start(way, line, descriptors)
            except OSError as error:
                raise Trouble(f"bubblewrap can't be started: {error}.") from None
            finally:
                theirs.close()
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
            if self._ready():
                self.user = way.user
                return
            said = self._died()
        raise Trouble(f"bubblewrap doesn't start: {said}")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def fork(self) -> tuple[socket.socket, socket.socket]:
        """The wire and the watch of a new child."""
        wire, theirs = socket.socketpair()
        watch, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs, keepers:
            socket.send_fds(self.control, [b"c"], [theirs.fileno(), keepers.fileno()])
        return wire, watch

    def close(self) -> None:
        """End bubblewrap, and with it everything inside."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _ready(self) -> bool:
        select.select([self.control], [], [], START_LIMIT)
        with contextlib.suppress(OSError):
            return self.control.recv(64, socket.MSG_DONTWAIT) == READY
        return False

    def _died(self) -> str:
        """What bubblewrap said before it ended."""
        self.process.kill()
        said = self.process.stderr.read().decode(errors="replace").strip() if self.process.stderr else ""
        self.close()
        return said[-2000:] or f"it ended with status {self.process.returncode} and said nothing."


class _Over(Exception):
    """A request came to nothing; without a status, the child's own end says why."""

    def __init__(self, status: str, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _death(status: int) -> Ended:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Ended(TIMEOUT, "Your code used up its processor time.")
        return Ended(CRASH, f"The process that runs your code was ended by {signal.Signals(number).name}.")
    return Ended(CRASH, f"The process that runs your code ended itself, with exit code {os.WEXITSTATUS(status)}.")


__all__ = ["LEVELS", "MEMORY", "Child", "Limits", "Lost", "Sandbox"]
