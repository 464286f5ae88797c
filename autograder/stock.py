"""Grading by stock ``nbgrader autograde``: the hidden part of each check cell calls :func:`grade_here`.

Everything is in one process here, the learner's code with the checks and the reference, so these marks are untrusted.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder import classroom, settings, units
from autograder.trial import over_the_wire
from nutshell.checks import Exercise, checks_of
from nutshell.wire import desk
from nutshell.wire.running import Verdict, points, run_checks


def grade_here(name: str, unit: str) -> float:
    """Grade one exercise or budget of the notebook that is being run, as a check cell's last expression.

    Points, limits and the secret seed are the classroom's in which the current folder lies.

    Parameters
    ----------
    name : str
        Exercise or budget.
    unit : str
        Name of its unit.

    Returns
    -------
    float
        The points, with the table for the learner as its HTML representation.
    """
    from IPython import get_ipython

    folder = classroom.find()
    chosen = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())]).unit(unit)
    for budget in chosen.budgets:
        if budget.name == name:
            return desk.budget_result(budget, Path(budget.file), part="test")
    names = get_ipython().user_ns
    return grade_exercise(units.load(unit), chosen.exercise(name), names, classroom.seed(folder))


def grade_exercise(source: units.Source, exercise: Exercise, names: dict[str, Any], seed: int) -> float:
    """Run public and hidden checks of an exercise on what a namespace holds."""
    checks = checks_of(source.checks, exercise.name)
    public = [check for check in checks if not check.hidden]
    hidden = [check for check in checks if check.hidden]
    learner, reference = over_the_wire(names), over_the_wire(vars(source.reference))
    verdicts = run_checks(public, learner, reference, 0, include_hidden=False)
    with _silent():
        verdicts += [_discreet(v) for v in run_checks(hidden, learner, reference, seed, include_hidden=True)]
    earned = min(points(exercise, verdicts), exercise.points)  # nbgrader fails on a mark above the cell's
    return desk.result(exercise, verdicts, earned)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what a learner prints while a hidden check runs: it could carry the hidden inputs into the feedback."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _discreet(verdict: Verdict) -> Verdict:
    """A hidden check's verdict without the learner's own message, which could carry the hidden inputs too."""
    if verdict.status != "RAISED":
        return verdict
    kind = verdict.got.partition(":")[0]
    return replace(verdict, got=f"{kind} (its message is not shown for a hidden check)")
