"""The learner's code as the judge uses it: children of the sandbox, one after another, each with bounds of its own.

A child that has ended is replaced, and the cells run again. What one check may cost the judge is bounded too: the time
of all its calls together, the bytes of all replies, and the memory in which it compares them.
"""

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autograder.verdicts import Cell, CellError, Submission
from nutshell.wire import codec
from nutshell.wire.channel import Channel, Ended
from nutshell.wire.running import CRASH, OUTPUT, RAISED, TIMEOUT
from nutshell.wire.standins import Implementation

if TYPE_CHECKING:
    from autograder.sandbox import Sandbox

MOST_STARTS = 40  # children for one submission; its time limit usually comes first
CALLS = 3  # a check's calls together may take as long as so many of the longest allowed
MOST_BYTES = 256 << 20  # of all replies to one check: the judge may have to keep them
MOST_MEMORY = 2 << 30  # bytes that a check may take here beyond what the judge holds already


class Children:
    """The learner's cells in a child of the sandbox, begun anew whenever a child has ended.

    Attributes
    ----------
    errors : dict of str to CellError
        By name of cell, what went wrong in it. A cell that ended the child is left out from then on.
    called : set of str
        Exercises whose checks have run in the child that is there now.
    forged : bool
        Whether a child sent what nobody asked for.
    hushed : bool
        Whether a hidden check has run: what cells say from then on could tell its case, and is dropped.
    """

    def __init__(self, submission: Submission, box: "Sandbox") -> None:
        self.cells: list[Cell] = list(submission.cells)
        self.errors: dict[str, CellError] = {}
        self.called: set[str] = set()
        self.forged = self.hushed = False
        self._files, self._box = submission.files, box
        self._until = time.monotonic() + box.limits.submission
        self._starts = 0
        self._child: Any = None
        self._link: Link | None = None

    @property
    def seconds(self) -> float:
        """What a check may take in all."""
        return (CALLS + 1) * float(self._box.limits.request)

    def learner(self) -> Implementation:
        """What the cells define, for one check.

        Raises
        ------
        Ended
            If the submission's time is over, or its cells end every child.
        """
        while self._link is None or self._link.ended:
            self.close()
            left = self._until - time.monotonic()
            if left <= 0:
                raise Ended(TIMEOUT, f"The whole submission took longer than {self._box.limits.submission:g} seconds.")
            if self._starts >= MOST_STARTS:
                raise Ended(CRASH, f"Your code has ended its process {MOST_STARTS} times.")
            self._starts += 1
            self._child = self._box.child(self._files, seconds=left)
            self._link = Link(self._child, CALLS * self._box.limits.request)
            self._run_cells(self._link)
        self._link.begin()
        return Implementation(self._link)

    def close(self) -> None:
        """End the child, and all that it started."""
        if self._child is not None:
            self._child.close()
            self.forged = self.forged or bool(getattr(self._child, "forged", False))
        self._child = self._link = None
        self.called = set()

    def _run_cells(self, link: "Link") -> None:
        """Run the cells one by one, until one ends the child."""
        for cell in list(self.cells):
            link.begin()
            try:
                reply = link.request("run", codec.encode({"verb": "run", "cells": [cell.source]}))
            except Ended as ended:
                self._note(CellError(cell.name, ended.status, str(ended)))
                self.cells.remove(cell)
                return
            error = _error_of(reply)
            if error:
                self._note(CellError(cell.name, RAISED, error))

    def _note(self, error: CellError) -> None:
        if not self.hushed:
            self.errors[error.cell] = error


class Link:
    """A channel that remembers whether its other end has ended, and bounds what one check may ask of it in all.

    Parameters
    ----------
    channel : Channel
        Leads to the child.
    seconds : float
        For all calls of a check together.
    """

    def __init__(self, channel: Channel, seconds: float) -> None:
        self.channel, self.seconds, self.ended = channel, seconds, False
        self.begin()

    def begin(self) -> None:
        """A new check begins."""
        self._until, self._bytes = time.monotonic() + self.seconds, 0

    def request(self, label: str, message: bytes) -> bytes:
        """Send one message and wait for its reply; see :class:`nutshell.wire.channel.Channel`."""
        if self.ended:
            raise Ended(CRASH, "The process that ran your code was ended by an earlier call.")
        try:
            if time.monotonic() > self._until:
                raise Ended(TIMEOUT, f"The calls of one check together took longer than {self.seconds:g} seconds.")
            reply = self.channel.request(label, message)
            self._bytes += len(reply)
            if self._bytes > MOST_BYTES:
                raise Ended(OUTPUT, f"More than {MOST_BYTES:,} bytes came back for one check.")
        except Ended:
            self.ended = True
            raise
        return reply


@contextlib.contextmanager
def bounded_memory(room: int = MOST_MEMORY) -> Iterator[None]:
    """Hold what this process takes from now on to so many bytes, where the system can.

    A learner's answer of some megabytes becomes as many gigabytes once it is broadcast against a check's own array;
    NumPy and torch then raise, the check has failed, and no other submission is harmed.
    """
    try:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        yield  # no Linux
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = held + room
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextlib.contextmanager
def bounded_time(seconds: float) -> Iterator[None]:
    """Raise :class:`Ended` when a check takes longer, its own work on what came back included, where the system can.

    An answer may be made so that looking at it takes for ever. Python code is interrupted; one call into a library is
    not, and the pool gives up on a worker that is lost in one.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    running = True

    def ring(number: int, frame: Any) -> None:
        if running:
            raise Ended(TIMEOUT, f"Looking at what came back took longer than {seconds:g} seconds.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # once more every second, should somebody swallow it
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _error_of(reply: bytes) -> str:
    """What went wrong in a cell, from the reply to ``run``; empty if nothing did."""
    try:
        said: Any = codec.decode(reply)
        error = said.get("error") or said["value"][0]
        return f"{error['kind']}: {error['message']}\n{error['traceback']}".strip()[:4000] if error else ""
    except (codec.WireError, KeyError, IndexError, TypeError, AttributeError):
        return "the reply to this cell can't be read"
