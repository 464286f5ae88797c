"""One worker process: a judge with its sandbox, which lives as long as the process. Local pools and Dask call it."""

import atexit
import contextlib
import io
import threading
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.verdicts import SubmissionVerdict, Task
from nutshell.errors import NutshellError, Trouble

if TYPE_CHECKING:
    from autograder.sandbox import Limits, Sandbox


@dataclass(frozen=True)
class Orders:
    """How a worker isolates submissions.

    Attributes
    ----------
    level : str
        ``"bubblewrap"``, ``"container"`` or ``"process"``.
    limits : Limits
        Those of the sandbox.
    secrets : tuple of str
        Paths that the self-test tries to read from inside: the classroom's seed and gradebook.
    """

    level: str
    limits: "Limits"
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a submission could not be graded, by the grader's own fault; ``final`` if another try is no use."""

    message: str
    final: bool = False


_lock = threading.Lock()  # a sandbox serves one submission at a time, and a Dask worker may have threads
_running: "tuple[Orders, Sandbox] | None" = None


def work(task: Task, orders: Orders) -> SubmissionVerdict | Failure:
    """Grade one submission in this process's sandbox; what goes wrong here is returned, so that it can cross."""
    from autograder import judge

    with _lock, contextlib.redirect_stderr(io.StringIO()):  # the coordinator has said already which data are in use
        try:
            return judge.grade(task, sandbox(orders))
        except Trouble as error:
            stop()
            return Failure(str(error))
        except NutshellError as error:  # the unit or the classroom is wrong
            return Failure(str(error), final=True)


def sandbox(orders: Orders) -> "Sandbox":
    """This process's sandbox, started and tested at the first call."""
    global _running
    import torch

    from autograder import isolation
    from autograder.sandbox import Sandbox

    if _running is not None and _running[0] == orders:
        return _running[1]
    stop()
    torch.set_num_threads(1)
    box = Sandbox(orders.level, orders.limits)
    box.__enter__()
    _running = orders, box
    isolation.self_test(box, [Path(path) for path in orders.secrets])
    return box


def stop() -> None:
    """End the sandbox, and all that runs in it."""
    global _running
    if _running is not None:
        _running[1].__exit__(None, None, None)
    _running = None


def end_with_parent() -> None:
    """Called first in a local worker: when the coordinator is gone, however it went, so is the worker."""
    import os

    parent = parent_process()
    if parent is not None:
        watch = threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True)
        watch.start()


atexit.register(stop)
