"""The judge: runs the checks on one submission through a sandbox, and recounts its budgets. It holds what is secret.

The learner's cells run in a child of the sandbox; the judge asks it one call at a time. No exercise costs another: a
child that has ended is replaced, and an exercise that fails in one where others have run is tried in a fresh one.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from autograder import flags, units
from autograder.children import Children, bounded_memory, bounded_time
from autograder.ready import STAND_INS
from autograder.verdicts import (
    REFUSED,
    BudgetVerdict,
    CellError,
    ExerciseVerdict,
    Flag,
    Submission,
    SubmissionVerdict,
    Task,
)
from nutshell import budget as budgets
from nutshell.checks import Budget, Check, Unit, checks_of
from nutshell.errors import Trouble
from nutshell.wire.channel import Ended
from nutshell.wire.running import (
    ENDLESS,
    NOT_DONE,
    OK,
    OUTPUT,
    PUBLIC_SEED,
    TIMEOUT,
    WRONG,
    Replies,
    Verdict,
    points,
    record,
    run_checks,
)

if TYPE_CHECKING:
    from autograder.sandbox import Sandbox

FORGED = "forged reply"
DECIMALS = 2  # of marks, as registrars take them
MEND = "Run this cell alone in a restarted kernel, and change it until it ends without an error."


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
    unit, children = task.unit, Children(task.submission, box)
    try:
        exercises, forged = _judged(unit, children, task)
    finally:
        children.close()
    measured = [_budget(budget, task.submission) for budget in unit.budgets]
    return SubmissionVerdict(
        key=task.key,
        unit=unit.name,
        isolation=box.level,
        limited_by=box.limited_by,
        exercises=exercises,
        budgets=tuple(verdict for verdict, _ in measured),
        flags=(*forged, *(flag for _, found in measured for flag in found)),
        cells=tuple(children.errors.values()),
        notes=task.submission.notes,
        seconds=time.perf_counter() - started,
    )


def _judged(unit: Unit, children: Children, task: Task) -> "tuple[tuple[ExerciseVerdict, ...], list[Flag]]":
    """Run all checks, the public ones of every exercise first.

    What a public check says is shown to the learner. A hidden check shows their code the hidden case; were another
    exercise's public check to come after it, its messages could tell.
    """
    found: dict[str, list[Verdict]] = {exercise.name: [] for exercise in unit.exercises}
    for hidden in (False, True):
        for name, verdicts in found.items():
            home = units.load(unit.exercise(name).unit or unit.name)
            checks = [check for check in checks_of(home.checks, name) if check.hidden is hidden]
            verdicts += _alone(name, checks, verdicts, children, task)
    exercises = []
    for exercise in unit.exercises:
        verdicts = _of_cell(found[exercise.name], children.errors.get(f"solution_{exercise.name}"))
        status = next((verdict.status for verdict in verdicts if verdict.status != OK), OK if verdicts else NOT_DONE)
        earned = round(points(exercise, verdicts), DECIMALS)
        exercises.append(ExerciseVerdict(exercise.name, earned, exercise.points, status, tuple(verdicts)))
    return tuple(exercises), _forgeries(exercises, children)


def _alone(
    name: str, checks: Sequence[Check], before: Sequence[Verdict], children: Children, task: Task
) -> list[Verdict]:
    """Run checks of one exercise; what another has left in the child is never why they fail.

    Where they fail in a child in which another exercise's code has run, they are tried again in a fresh one. A stub is
    a stub anywhere, and what takes too long would again.
    """
    shared = bool(children.called - {name})
    verdicts = _run(checks, before, children, task, name)
    if shared and _failed(verdicts):
        children.close()
        verdicts = _run(checks, before, children, task, name)
    return verdicts


def _failed(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.status not in (OK, NOT_DONE, TIMEOUT) for verdict in verdicts)


def _run(
    checks: Sequence[Check], before: Sequence[Verdict], children: Children, task: Task, name: str
) -> list[Verdict]:
    """Run checks in the child that is there; after one that took too long, no other is tried."""
    verdicts: list[Verdict] = []
    for check in checks:
        seed = task.seed if check.hidden else PUBLIC_SEED
        if any(verdict.status == TIMEOUT for verdict in (*before, *verdicts)):
            said = ("an answer", "none, since the check before it was ended", *ENDLESS)
            verdicts.append(_verdict(check, TIMEOUT, *said))
            continue
        try:
            learner = children.learner()
        except Ended as ended:
            verdicts.append(_verdict(check, ended.status, "an answer", str(ended)))
            continue
        children.called.add(name)
        children.hushed = children.hushed or check.hidden
        replies = _replies(task.unit.exercise(name).unit or task.unit.name, check.name, seed)
        found: list[Verdict] = []
        try:
            with bounded_memory(), bounded_time(children.seconds):
                found = run_checks([check], learner, replies, seed)
        except Ended as ended:  # it rang when the check was over, or almost
            found = found or [_verdict(check, ended.status, "an answer", str(ended), *ENDLESS)]
        verdicts += found
    return verdicts


def _of_cell(verdicts: Sequence[Verdict], error: CellError | None) -> list[Verdict]:
    """The verdicts of an exercise that isn't there because its cell went wrong: why that cell did."""
    if error is None:
        return list(verdicts)
    lines = error.text.splitlines() or [""]
    cause = lines[-1] if len(lines) > 1 else ""
    return [
        replace(verdict, status=error.status, got=f"its cell ended so: {lines[0]}", cause=cause, next_step=MEND)
        if verdict.status == NOT_DONE and verdict.got == "none" else verdict
        for verdict in verdicts
    ]


def _forgeries(exercises: Sequence[ExerciseVerdict], children: Children) -> list[Flag]:
    """Whether the learner's code wrote to the judge itself; the harness never sends what can't be read."""
    odd = ("What came back can't be read", "What came back is not a reply", "A reply of")
    found = [
        Flag(FORGED, exercise.name, "Its code sent the grader what a harness never sends. It got no marks for it.")
        for exercise in exercises
        if any(verdict.status == OUTPUT and verdict.got.startswith(odd) for verdict in exercise.checks)
    ]
    if children.forged and not found:
        found = [Flag(FORGED, "the notebook", "Its code sent the grader answers that nobody had asked for.")]
    return found


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
        round(result.points, DECIMALS),
        result.possible,
        status,
        tuple(asdict(row) for row in result.rows),
        result.reason,
        result.data,
        result.fingerprint,
        measured,
    )
    return verdict, [] if result.reason else flags.of_budget(budget, content, result)
