"""One submission's process as the judge sees it: a wire with bounds and deadlines, and a keeper that can end it."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from autograder.fork_server import READY, STATUS
from autograder.limits import Limits, Lost
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.running import CRASH, OUTPUT, TIMEOUT

PATIENCE = 30.0  # seconds for what is the sandbox's own: a fork, some mounts, an end
_CREDENTIALS = struct.Struct("3i")
ROOM = 1 << 20  # bytes of names around a submission's files


class Keeper(Protocol):
    """What ends a process and knows how it ended."""

    def started(self) -> int:
        """Wait until the process is there; its number on this machine."""

    def stop(self) -> None:
        """Begin to end it; from any thread, any number of times."""

    def end(self) -> int | None:
        """End it, wait until nothing of it is left, and give its status as :func:`os.wait` does; None if unknown."""


class Child:
    """A channel to the process that runs one submission's code; a context manager that leaves nothing of it behind.

    Parameters
    ----------
    wire : socket
        Messages go and come here.
    keeper : Keeper
        Ends the process.
    limits : Limits
        Of the submission.
    seconds : float
        What is left of the submission's time.

    Attributes
    ----------
    number : int
        The process, as this machine numbers it.
    until : float
        When its time is over, by the monotonic clock.
    ended : Ended, optional
        Why it is over; every later request raises it again.
    forged : bool
        Whether more bytes came than were asked for.
    fate : Ended, optional
        What somebody else, such as the watchdog, ended it for.
    on_end : callable
        Called once, when nothing of it is left.
    """

    def __init__(self, wire: socket.socket, keeper: Keeper, limits: Limits, seconds: float) -> None:
        self._wire, self._keeper, self._limits = wire, keeper, limits
        self._lock, self._gone = threading.Lock(), False
        self.on_end: Callable[[Child], None] = lambda child: None
        self.fate: Ended | None = None
        self.until = time.monotonic() + min(seconds, limits.submission)
        self.ended: Ended | None = None
        self.forged = False
        self.number = 0

    def begin(self, files: Mapping[str, bytes]) -> None:
        """Hand the submission's files over, and wait until the harness is ready. :class:`Lost` if it doesn't start."""
        until = time.monotonic() + PATIENCE
        size = sum(len(name) + len(contents) for name, contents in files.items()) + ROOM
        try:
            self._send(codec.encode(dict(files), limits=codec.Limits(size=size)), until)
            self._receive(until)
        except (OSError, _Over) as error:
            status = self._end()
            said = f"it ended with status {status}" if isinstance(error, _Over) else str(error) or "no answer"
            raise Lost(f"A child of the sandbox doesn't start: {self._keeper_said() or said}.") from None

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
        until = min(now + self._limits.request, self.until)
        try:
            self._nothing_unasked()
            self._send(message, until)
            return self._receive(until)
        except _Over as over:
            ended = Ended(over.status, over.message) if over.status else None
        except TimeoutError:
            ended = self._late(whole=until == self.until)
        except OSError:  # the other end was closed while something was sent
            ended = None
        status = self._end()
        found = self.fate or ended or (None if status is None else death(status))
        if found is None:
            raise Lost("The sandbox ended while a submission ran in it.")
        self.ended = found
        raise self.ended

    def stop(self, status: str, message: str) -> None:
        """End it for what it did; the watchdog calls this from a thread of its own."""
        with self._lock:
            if not self._gone:
                self.fate = self.fate or Ended(status, message)
                self._keeper.stop()

    def close(self) -> None:
        """End the process and everything that it started, and wait until it is gone."""
        if self.ended is None and not self._gone:
            with contextlib.suppress(_Over, OSError):  # noted in ``forged``
                self._nothing_unasked()
        self.ended = self.ended or Ended(CRASH, "The process that ran your code was closed.")
        self._end()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _end(self) -> int | None:
        with self._lock:
            if self._gone:
                return None
            self._gone = True
        self._wire.close()
        try:
            return self._keeper.end()
        finally:
            self.on_end(self)

    def _keeper_said(self) -> str:
        return getattr(self._keeper, "said", "")

    def _late(self, whole: bool) -> Ended:
        if whole:
            return Ended(TIMEOUT, f"The whole submission took longer than {self._limits.submission:g} seconds.")
        return Ended(TIMEOUT, f"It took longer than {self._limits.request:g} seconds.")

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
                raise _Over("", "")  # its own end will say why
            filled += count
        return bytes(buffer)

    def _nothing_unasked(self) -> None:
        """End a process that has sent what nobody asked for: the next answer would be taken for another's."""
        self._wire.settimeout(0)
        with contextlib.suppress(BlockingIOError):  # nothing is waiting, as it should be
            if not self._wire.recv(1, socket.MSG_PEEK):
                raise _Over("", "")
            self.forged = True
            raise _Over(CRASH, "Your code sent the grader what it didn't ask for.")


class SocketKeeper:
    """The keeper in the sandbox, at the other end of a watch socket.

    Attributes
    ----------
    said : str
        Why the process could not start, in the sandbox's words.
    """

    def __init__(self, watch: socket.socket) -> None:
        self._watch, self.said = watch, ""

    def started(self) -> int:
        self._watch.settimeout(PATIENCE)
        try:
            said, ancillary, _, _ = self._watch.recvmsg(1024, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError as error:
            raise Lost(f"A child of the sandbox doesn't start: {error}.") from None
        if said != READY:
            raise Lost(f"A child of the sandbox doesn't start: {said.decode(errors='replace') or 'it is gone'}.")
        return int(_CREDENTIALS.unpack(ancillary[0][2])[0])  # as the kernel translates it, so it can't be forged

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._watch.shutdown(socket.SHUT_WR)

    def end(self) -> int | None:
        self.stop()
        self._watch.settimeout(PATIENCE)
        status = None
        try:
            while word := self._watch.recv(1024):
                if len(word) == STATUS.size:
                    status = STATUS.unpack(word)[0]
                else:
                    self.said = word.decode(errors="replace")
        except TimeoutError:
            raise Lost("A submission's processes can't be ended.") from None
        except ConnectionError:
            status = None  # the keeper was ended by force
        finally:
            self._watch.close()
        return status


class _Over(Exception):
    """A request came to nothing; without a status, the process's own end says why."""

    def __init__(self, status: str, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def death(status: int) -> Ended:
    """How a process ended, in words, from what :func:`os.wait` gives.

    Examples
    --------
    >>> str(death(9)), death(256).status
    ('The process that runs your code was ended by SIGKILL.', 'CRASH')
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Ended(TIMEOUT, "Your code used up its processor time.")
        return Ended(CRASH, f"The process that runs your code was ended by {signal.Signals(number).name}.")
    return Ended(CRASH, f"The process that runs your code ended itself, with exit code {os.WEXITSTATUS(status)}.")
