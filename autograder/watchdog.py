"""What holds a submission as a whole to its limits where no control group does: a look every few milliseconds.

The kernel holds each process to its own limits. The watchdog adds up what all processes of a submission hold, counts
them, and ends them all when they are over.
"""

import os
import threading
import time
from typing import Protocol

from autograder.limits import Limits
from nutshell.wire.channel import Ended
from nutshell.wire.running import CRASH, MEMORY, TIMEOUT

EVERY = 0.05  # seconds between two looks
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watched(Protocol):
    """A submission's process and what ends it."""

    number: int
    until: float

    def stop(self, status: str, message: str) -> None:
        """End it for what it did."""


class Watchdog:
    """A thread that watches one submission at a time.

    Parameters
    ----------
    limits : Limits
        Of each submission.
    weigh : bool
        Whether memory and processes are watched too, and not only time.
    """

    def __init__(self, limits: Limits, weigh: bool = True) -> None:
        self._limits, self._weigh = limits, weigh
        self._child: Watched | None = None
        self._wake, self._lock, self._over = threading.Event(), threading.Lock(), False
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def watch(self, child: Watched) -> None:
        """Watch this one from now on."""
        with self._lock:
            self._child = child
        self._wake.set()

    def forget(self) -> None:
        """Watch nothing; when this returns, nothing is being ended either."""
        self._wake.clear()
        with self._lock:
            self._child = None

    def close(self) -> None:
        """End the thread."""
        self.forget()
        self._over = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._over:
                return
            with self._lock:
                if self._child is not None and self._look(self._child):
                    self._child = None
            time.sleep(EVERY)

    def _look(self, child: Watched) -> bool:
        """End the child if it is over a limit."""
        if time.monotonic() > child.until:
            child.stop(TIMEOUT, f"The whole submission took longer than {self._limits.submission:g} seconds.")
            return True
        if not self._weigh:
            return False
        numbers, threads = family(child.number)
        if threads > self._limits.processes:
            child.stop(CRASH, f"Your code started {threads} processes and threads; at most {self._limits.processes} "
                              "are allowed.")  # fmt: skip
            return True
        if sum(map(resident, numbers)) > self._limits.memory and sum(map(share, numbers)) > self._limits.memory:
            ended = over_memory(self._limits)
            child.stop(ended.status, str(ended))
            return True
        return False


def over_memory(limits: Limits) -> Ended:
    """What is said of a submission that used too much memory."""
    return Ended(MEMORY, f"Your code used more than {limits.memory / 2**30:.3g} GB of memory.")


def family(number: int) -> tuple[list[int], int]:
    """A process and all that descend from it, and how many threads they have together.

    Examples
    --------
    >>> family(os.getpid())[0][0] == os.getpid()
    True
    """
    found, threads, waiting = [], 0, [number]
    while waiting:
        current = waiting.pop()
        try:
            tasks = os.listdir(f"/proc/{current}/task")
            for task in tasks:
                with open(f"/proc/{current}/task/{task}/children", "rb") as file:
                    waiting += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):  # it ended while it was looked at
            continue
        found.append(current)
        threads += len(tasks)
    return found, threads


def resident(number: int) -> int:
    """Bytes of a process in memory, shared ones included; quick to tell, and never too small."""
    try:
        with open(f"/proc/{number}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError, IndexError):  # it has ended
        return 0


def share(number: int) -> int:
    """Bytes of a process in memory, with its part of what it shares; all of them where that can't be told."""
    try:
        with open(f"/proc/{number}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss:"))
    except (FileNotFoundError, ProcessLookupError, StopIteration):  # it has ended
        return 0
    except PermissionError:
        return resident(number)
