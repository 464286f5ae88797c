"""Workers for grading, in processes of this machine or on a Dask cluster, with few submissions under way at a time."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from typing import Any

from autograder import early, worker
from autograder.verdicts import SubmissionVerdict, Task
from autograder.worker import Failure, Orders
from nutshell.errors import Trouble, WrongUse

LOST = "The worker process that graded it ended unexpectedly; the machine may be out of memory."
STALLED = "No worker has answered for {seconds:.0f} seconds."
CONNECTING = 10.0  # seconds for a Dask scheduler to answer
PATIENCE = 120.0  # seconds beyond a submission's own limit, for start-up, budgets and the judge's own work


@dataclass(frozen=True)
class Job:
    """A submission to grade, and which try this is."""

    task: Task
    tries: int = 1


class Pool:
    """Workers that grade submissions; they start with the first one.

    Parameters
    ----------
    workers : int, optional
        Local processes; as many as this process may use cores if left out.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``"tcp://host:8786"``; its workers are used instead.
    orders : Orders
        How submissions are isolated.
    """

    def __init__(self, workers: int | None, scheduler: str | None, orders: Orders) -> None:
        if workers is not None and workers < 1:
            raise WrongUse(f"workers = {workers}: must be at least 1.")
        self.workers = workers or _cores()
        self.scheduler, self.orders = scheduler, orders
        self.jobs: dict[Future, Job] = {}
        self._executor: Executor | None = None
        self._client: Any = None
        self._heard = time.monotonic()

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    @property
    def full(self) -> bool:
        """Whether enough is under way: more would only take memory."""
        return len(self.jobs) >= 2 * self.workers

    def submit(self, job: Job) -> None:
        """Give a submission to the workers."""
        task = replace(job.task, submission=replace(job.task.submission, notebook={}))  # the publisher's business
        try:
            if self._executor is None:
                self._start()
                self._heard = time.monotonic()
            assert self._executor is not None
            future = self._executor.submit(worker.work, task, self.orders)
        except (BrokenExecutor, EOFError, OSError) as error:  # a worker, or what they are forked from, has just gone
            future = Future()
            future.set_exception(BrokenExecutor(f"{type(error).__name__}: {error}"))
        self.jobs[future] = job

    def finished(self) -> Iterator[tuple[Job, SubmissionVerdict | Failure]]:
        """Wait a moment for workers; what they have finished since, or lost."""
        done, _ = wait(self.jobs, timeout=0.5, return_when=FIRST_COMPLETED)
        if done:
            self._heard = time.monotonic()
        elif self.jobs and time.monotonic() - self._heard > self.orders.limits.submission + PATIENCE:
            yield from self._lost(STALLED.format(seconds=time.monotonic() - self._heard))
        broken = False
        for future in done:
            job = self.jobs.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            broken = broken or isinstance(error, BrokenExecutor)
            if error is None:
                yield job, future.result()
            else:
                yield job, Failure(LOST if broken else f"{type(error).__name__}: {error}")
        if broken:
            yield from self._lost(LOST)

    def _lost(self, why: str) -> Iterator[tuple[Job, Failure]]:
        """Give up the executor, and with it all that it had under way."""
        jobs = list(self.jobs.values())
        self.jobs.clear()
        self._begin_anew()
        self._heard = time.monotonic()
        yield from ((job, Failure(why)) for job in jobs)

    def close(self) -> None:
        """End local workers and their sandboxes; a cluster's stay, without what is still to do."""
        for future in self.jobs:
            future.cancel()
        for process in self._processes():  # each takes its sandbox along
            process.terminate()
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        self._forget()
        self.jobs.clear()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _start(self) -> None:
        if self.scheduler is not None:
            self._client = _dask_client(self.scheduler)
            self._executor = self._client.get_executor(pure=False)
            self.workers = max(1, sum(self._client.nthreads().values()))
            return
        self._executor = ProcessPoolExecutor(self.workers, mp_context=early.begin(), initializer=worker.end_with_parent)

    def _begin_anew(self) -> None:
        """Forget an executor that has lost a worker, or whose workers hang; their submissions are tried again."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(process.pid, signal.SIGKILL)
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        self._forget()

    def _processes(self) -> list[Any]:
        """Local workers; the standard library has no public name for them."""
        return list((getattr(self._executor, "_processes", None) or {}).values())

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
        self._executor = self._client = None


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise Trouble("--scheduler needs Dask: pip install -e '.[cluster]'") from None
    try:
        return Client(address, timeout=CONNECTING)
    except (OSError, ValueError) as error:
        raise Trouble(f"There is no Dask scheduler at {address} ({error}). Start one with: dask scheduler") from None


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
