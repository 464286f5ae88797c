"""Where the processes of submissions come from: a fork server in one bubblewrap, or a program started for each.

The second is slower by the imports. It serves where a fork server can't have the rights it needs inside, and the levels
``container`` and ``process``.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from autograder import bubblewrap, watchdog
from autograder.child import PATIENCE, Keeper, SocketKeeper
from autograder.fork_server import READY
from autograder.limits import Limits, Lost, for_kernel
from nutshell.errors import Trouble

START_LIMIT = 180.0  # seconds for importing torch on a busy machine


class Server(Protocol):
    """Gives each submission a process."""

    @property
    def alive(self) -> bool:
        """Whether it can."""

    def child(self) -> tuple[socket.socket, Keeper]:
        """The wire to a new process, and its keeper."""

    def close(self) -> None:
        """End everything."""


class ForkServer:
    """A bubblewrap with a fork server inside, and the control socket to it.

    Parameters
    ----------
    way : bubblewrap.Way
        How it is started.
    limits : Limits
        Of each submission.
    """

    def __init__(self, way: bubblewrap.Way, limits: Limits) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [str(theirs.fileno()), json.dumps(for_kernel(limits, own_user=True))]
        with theirs:
            self.process = bubblewrap.start(way, words, fork_server=True, limits=limits, descriptors=[theirs.fileno()])
        _wait_until_ready(self.control, self.process)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def child(self) -> tuple[socket.socket, Keeper]:
        wire, theirs = socket.socketpair()
        watch, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # the kernel says who sends
        with theirs, keepers:
            try:
                self.control.settimeout(PATIENCE)
                socket.send_fds(self.control, [b"child"], [theirs.fileno(), keepers.fileno()])
            except OSError as error:
                wire.close()
                watch.close()
                raise Lost(f"The sandbox ended: {error}.") from None
        return wire, SocketKeeper(watch)

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


class OneEach:
    """A program started for each submission, with the wire as its standard input and output.

    Parameters
    ----------
    start : callable
        Given the program's end of the wire, starts it and gives its keeper.
    """

    alive = True

    def __init__(self, start: Callable[[socket.socket], "ProgramKeeper"]) -> None:
        self._start = start

    def child(self) -> tuple[socket.socket, Keeper]:
        wire, theirs = socket.socketpair()
        with theirs:
            keeper = self._start(theirs)
        try:
            _wait_until_ready(wire, keeper.process)
        except Trouble:
            keeper.end()
            wire.close()
            raise
        return wire, keeper

    def close(self) -> None:
        """Nothing outlives its submission."""


class ProgramKeeper:
    """Ends a program of :class:`OneEach` and whatever descends from it.

    Parameters
    ----------
    process : Popen
        The program, which leads a process group.
    first : int, optional
        First process of its pid namespace, as this machine numbers it: when that has ended, so has everything.
    """

    def __init__(self, process: subprocess.Popen, first: int | None = None) -> None:
        self.process, self.first = process, first
        self._descriptor = os.pidfd_open(first) if first is not None else None

    def started(self) -> int:
        return self.first or self.process.pid

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # ended
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            else:
                self._kill_family()

    def end(self) -> int | None:
        self.stop()
        if self._descriptor is not None:
            select.select([self._descriptor], [], [], PATIENCE)
            os.close(self._descriptor)
            self._descriptor = None
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        code = self.process.returncode
        return -code if code < 0 else code - 128 if code > 128 else code << 8

    def _kill_family(self) -> None:
        """Without a namespace: the descendants first, then the group; a daemon that left both is not found."""
        if self.process.poll() is None:
            for number in reversed(watchdog.family(self.process.pid)[0]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _wait_until_ready(channel: socket.socket, process: subprocess.Popen) -> None:
    """Wait for the word that everything is imported; else say what the program said before it ended."""
    word, until = b"", time.monotonic() + START_LIMIT
    while len(word) < len(READY):
        if not select.select([channel], [], [], max(0.0, until - time.monotonic()))[0]:
            break
        try:
            part = channel.recv(len(READY) - len(word))
        except ConnectionError:
            break
        if not part:
            break
        word += part
    if word == READY:
        return
    process.kill()
    said = process.stderr.read().decode(errors="replace").strip()[-2000:] if process.stderr else ""
    process.wait()
    if process.stderr:
        process.stderr.close()
    raise Trouble(f"A sandbox doesn't start: {said or f'it ended with status {process.returncode}.'}")
