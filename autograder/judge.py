"""The judge: runs the checks on one submission through a sandbox, and recounts its budgets. It holds what is secret.

The learner's cells run in a child of the sandbox; the judge asks it one call at a time. A child that has ended is
replaced, and the cells run again, so that one exercise that crashes costs no other.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from autograder import flags, units
from autograder.ready import STAND_INS
from autograder.verdicts import (
    REFUSED,
    BudgetVerdict,
    Cell,
    CellError,
    ExerciseVerdict,
    Flag,
    Submission,
    SubmissionVerdict,
    Task,
)
from nutshell import budget as budgets
from nutshell.checks import Budget, Check, Exercise, checks_of
from nutshell.errors import Trouble
from nutshell.wire import codec
from nutshell.wire.channel import Channel, Ended
from nutshell.wire.running import (
    CRASH,
    ENDLESS,
    NOT_DONE,
    OK,
    PUBLIC_SEED,
    RAISED,
    TIMEOUT,
    WRONG,
    Replies,
    Verdict,
    points,
    record,
    run_checks,
)
from nutshell.wire.standins import Implementation

if TYPE_CHECKING:
    from autograder.sandbox import Sandbox

MOST_STARTS = 20  # children for one submission; its time limit usually comes first


def grade(task: Task, box: "Sandbox") -> SubmissionVerdict:
    """Grade one submission.

    Parameters
    ----------
    task : Task
        Submission, unit, seed and the verdict's key.
    box : Sandbox
        Where the learner's cells run.

    Returns
    -------
    SubmissionVerdict
        Whatever the learner's code does.

    Raises
    ------
    Trouble
        The grader's own trouble; never a zero.
    """
    started = time.perf_counter()
    source, unit = units.load(task.unit.name), task.unit
    attempt = Attempt(task.submission, box)
    try:
        exercises = tuple(
            _exercise(exercise, checks_of(source.checks, exercise.name), attempt, task) for exercise in unit.exercises
        )
    finally:
        attempt.close()
    measured = [_budget(budget, task.submission) for budget in unit.budgets]
    return SubmissionVerdict(
        key=task.key,
        unit=unit.name,
        isolation=box.level,
        limited_by=box.limited_by,
        exercises=exercises,
        budgets=tuple(verdict for verdict, _ in measured),
        flags=tuple(flag for _, found in measured for flag in found),
        cells=tuple(attempt.errors.values()),
        notes=task.submission.notes,
        seconds=time.perf_counter() - started,
    )


class Attempt:
    """The learner's cells in a child of the sandbox, begun anew whenever a child has ended.

    Attributes
    ----------
    errors : dict of str to CellError
        By name of cell, what went wrong in it. A cell that ended the child is left out from then on.
    """

    def __init__(self, submission: Submission, box: "Sandbox") -> None:
        self.cells: list[Cell] = list(submission.cells)
        self.errors: dict[str, CellError] = {}
        self._files, self._box = submission.files, box
        self._until = time.monotonic() + box.limits.submission
        self._starts = 0
        self._child: Any = None
        self._link: _Link | None = None

    def learner(self) -> Implementation:
        """What the cells define.

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
            self._link = _Link(self._child)
            self._run_cells(self._link)
        return Implementation(self._link)

    def close(self) -> None:
        """End the child, and all that it started."""
        if self._child is not None:
            self._child.close()
        self._child = self._link = None

    def _run_cells(self, link: "_Link") -> None:
        """Run the cells one by one, until one ends the child."""
        for cell in list(self.cells):
            try:
                reply = link.request("run", codec.encode({"verb": "run", "cells": [cell.source]}))
            except Ended as ended:
                self.errors[cell.name] = CellError(cell.name, ended.status, str(ended))
                self.cells.remove(cell)
                return
            error = _error_of(reply)
            if error:
                self.errors[cell.name] = CellError(cell.name, RAISED, error)


class _Link:
    """A channel that remembers whether its other end has ended."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.ended = channel, False

    def request(self, label: str, message: bytes) -> bytes:
        try:
            return self.channel.request(label, message)
        except Ended:
            self.ended = True
            raise


def _exercise(exercise: Exercise, checks: Sequence[Check], attempt: Attempt, task: Task) -> ExerciseVerdict:
    """Run an exercise's checks, public ones first; after one that took too long, no other is tried."""
    verdicts: list[Verdict] = []
    for check in sorted(checks, key=lambda check: check.hidden):
        seed = task.seed if check.hidden else PUBLIC_SEED
        late = next((verdict for verdict in verdicts if verdict.status == TIMEOUT), None)
        if late:
            said = ("an answer", "none, since the check before it was ended", *ENDLESS)
            verdicts.append(_verdict(check, TIMEOUT, *said))
            continue
        try:
            learner = attempt.learner()
        except Ended as ended:
            verdicts.append(_verdict(check, ended.status, "an answer", str(ended)))
            continue
        verdicts += run_checks([check], learner, _replies(task.unit.name, check.name, seed), seed)
    earned = points(exercise, verdicts)
    status = next((verdict.status for verdict in verdicts if verdict.status != OK), OK if verdicts else NOT_DONE)
    return ExerciseVerdict(exercise.name, earned, exercise.points, status, tuple(verdicts))


def _verdict(check: Check, status: str, expected: str, got: str, cause: str = "", next_step: str = "") -> Verdict:
    return Verdict(
        check.exercise, check.name, check.title, check.hidden, status, expected, got, cause, next_step, check.weight
    )


@lru_cache(maxsize=4096)
def _replies(unit: str, check: str, seed: int) -> Replies:
    """What the reference answers to a check: asked once a process, since it can't depend on a learner's answers."""
    source = units.load(unit)
    chosen = next(item for item in checks_of(source.checks) if item.name == check)
    try:
        return Replies(record([chosen], source.reference, seed, include_hidden=True))
    except Exception as error:
        raise Trouble(
            f"solutions/{unit}: the reference fails its own check {check} with this classroom's seed "
            f"({type(error).__name__}: {error}). Mend the check, then grade again."
        ) from error


def _budget(budget: Budget, submission: Submission) -> tuple[BudgetVerdict, list[Flag]]:
    content = submission.files.get(budget.file)
    if content is None:
        reason = f"There is no file {budget.file}: hand a network in."
        return BudgetVerdict(budget.name, budget.file, 0.0, budget.points, NOT_DONE, reason=reason), []
    result = budgets.judge(budget, content)
    if result.on_stand_in and os.environ.get(STAND_INS, "") in ("", "0"):
        raise Trouble(f"{budget.name} was measured on {result.data}: this machine lacks the real data.")
    status = REFUSED if result.reason else OK if result.points >= result.possible else WRONG
    measured = result.measurement.to_dict() if result.measurement else {}
    verdict = BudgetVerdict(
        budget.name,
        budget.file,
        result.points,
        result.possible,
        status,
        tuple(asdict(row) for row in result.rows),
        result.reason,
        result.data,
        result.fingerprint,
        measured,
    )
    return verdict, [] if result.reason else flags.of_budget(budget, content, result)


def _error_of(reply: bytes) -> str:
    """What went wrong in a cell, from the reply to ``run``; empty if nothing did."""
    try:
        said: Any = codec.decode(reply)
        error = said.get("error") or said["value"][0]
        return f"{error['kind']}: {error['message']}\n{error['traceback']}".strip()[:4000] if error else ""
    except (codec.WireError, KeyError, IndexError, TypeError, AttributeError):
        return "the reply to this cell can't be read"


