"""Workers for grading, in processes of this machine or on a Dask cluster, with few submissions under way at a time."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_all_start_methods, get_context
from typing import Any

from autograder import worker
from autograder.verdicts import SubmissionVerdict, Task
from autograder.worker import Failure, Orders
from nutshell.errors import Trouble, WrongUse

LOST = "The worker process that graded it ended unexpectedly; the machine may be out of memory."
STALLED = "No worker has answered for {seconds:.0f} seconds."
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
        if self._executor is None:
            self._start()
            self._heard = time.monotonic()
        assert self._executor is not None
        task = replace(job.task, submission=replace(job.task.submission, notebook={}))  # the publisher's business
        try:
            self.jobs[self._executor.submit(worker.work, task, self.orders)] = job
        except BrokenExecutor:  # noticed only now
            self._begin_anew()
            self.submit(job)

    def finished(self) -> Iterator[tuple[Job, SubmissionVerdict | Failure]]:
        """Wait a moment for workers; what they have finished since, or lost."""
        done, _ = wait(self.jobs, timeout=0.5, return_when=FIRST_COMPLETED)
        if done:
            self._heard = time.monotonic()
        elif self.jobs and time.monotonic() - self._heard > self.orders.limits.submission + PATIENCE:
            failure = Failure(STALLED.format(seconds=time.monotonic() - self._heard))
            stalled = list(self.jobs.values())
            self._begin_anew()
            yield from ((job, failure) for job in stalled)
        broken = False
        for future in done:
            job = self.jobs.pop(future)
            error = future.exception()
            if error is None:
                yield job, future.result()
            else:
                broken = broken or isinstance(error, BrokenExecutor)
                said = LOST if isinstance(error, BrokenExecutor) else f"{type(error).__name__}: {error}"
                yield job, Failure(said)
        if broken:
            self._begin_anew()

    def close(self) -> None:
        """End the workers and their sandboxes."""
        if self._executor is not None:
            for future in self.jobs:
                future.cancel()
            processes = list((getattr(self._executor, "_processes", None) or {}).values())
            for process in processes:  # each takes its sandbox along
                process.terminate()
            self._executor.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()
        self._executor = self._client = None
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
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        context = get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["autograder.judge", "autograder.sandbox"])  # imported once for all workers
        self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=worker.end_with_parent)

    def _begin_anew(self) -> None:
        """Forget an executor that has lost a worker, or whose workers hang."""
        if self._executor is not None:
            for process in (getattr(self._executor, "_processes", None) or {}).values():
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(process.pid, signal.SIGKILL)
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise Trouble("--scheduler needs Dask: pip install -e '.[cluster]'") from None
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise Trouble(f"There is no Dask scheduler at {address} ({error}). Start one with: dask scheduler") from None


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
