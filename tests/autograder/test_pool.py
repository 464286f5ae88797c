"""A pool whose workers are lost or hang; the workers themselves are tested elsewhere."""

from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import ClassVar

import pytest

from autograder import pool
from autograder.limits import Limits
from autograder.pool import Job, Pool
from autograder.verdicts import Submission, SubmissionVerdict, Task
from autograder.worker import Failure, Orders
from nutshell.checks import Unit
from nutshell.errors import WrongUse

ORDERS = Orders("bubblewrap", Limits())


class Scripted(Executor):
    """Gives out futures that the test completes."""

    made: ClassVar[list["Scripted"]] = []

    def __init__(self, *_, **__):
        self.futures, self.closed = [], False
        Scripted.made.append(self)

    def submit(self, function, task, orders):
        if self.closed:
            raise BrokenProcessPool
        self.futures.append(Future())
        return self.futures[-1]

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(Scripted, "made", [])
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Scripted)
    return Pool(2, None, ORDERS)


def job(name):
    return Job(Task(Unit(1, "tiny", "Tiny", ()), Submission(name, "01_tiny", (), {}, {"cells": []}, name), 1, name))


def verdict(name):
    return SubmissionVerdict(name, "tiny", "bubblewrap", "watchdog")


def named(found):
    return {one.task.key: outcome for one, outcome in found}


def test_no_worker_starts_before_the_first_submission(workers):
    assert not Scripted.made and not workers.busy
    workers.submit(job("a"))
    assert len(Scripted.made) == 1 and workers.busy and not workers.full
    for name in "bcd":
        workers.submit(job(name))
    assert workers.full


def test_a_lost_worker_gives_back_all_that_was_under_way_and_others_take_over(workers):
    for name in "abc":
        workers.submit(job(name))
    first = Scripted.made[0]
    first.futures[1].set_result(verdict("b"))
    first.futures[0].set_exception(BrokenProcessPool("gone"))
    found = named(workers.finished())
    assert found["b"] == verdict("b")
    assert all(isinstance(found[name], Failure) and not found[name].final for name in "ac")
    assert first.closed and not workers.busy
    workers.submit(job("a"))
    second = Scripted.made[1]
    first.futures[2].set_exception(BrokenProcessPool("gone"))  # late, and nobody's business any more
    second.futures[0].set_result(verdict("a"))
    assert named(workers.finished()) == {"a": verdict("a")} and not second.closed


def test_an_executor_found_broken_at_submission_is_replaced(workers):
    workers.submit(job("a"))
    Scripted.made[0].closed = True
    workers.submit(job("b"))
    assert {name: type(outcome) for name, outcome in named(workers.finished()).items()} == {"a": Failure, "b": Failure}
    workers.submit(job("b"))
    assert len(Scripted.made) == 2


def test_workers_that_hang_are_given_up(workers, monkeypatch):
    workers.submit(job("a"))
    monkeypatch.setattr(pool, "PATIENCE", -1e9)
    monkeypatch.setattr(pool, "wait", lambda *_, **__: (set(), set()))
    ((one, outcome),) = workers.finished()
    assert one.task.key == "a" and "No worker has answered" in outcome.message and Scripted.made[0].closed
    assert not workers.busy


def test_an_error_of_one_task_is_its_own(workers):
    for name in "ab":
        workers.submit(job(name))
    Scripted.made[0].futures[0].set_exception(ValueError("odd"))
    Scripted.made[0].futures[1].cancel()
    Scripted.made[0].futures[1].set_running_or_notify_cancel()
    found = named(workers.finished())
    assert found["a"] == Failure("ValueError: odd") and isinstance(found["b"], Failure)
    assert not Scripted.made[0].closed


def test_no_workers_is_wrong_use():
    with pytest.raises(WrongUse, match="at least 1"):
        Pool(0, None, ORDERS)
