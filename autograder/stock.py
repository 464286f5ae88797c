"""Grading by stock ``nbgrader autograde``: the hidden part of each check cell calls :func:`grade_here`.

Everything is in one process here, the learner's code with the checks and the reference, so these marks are untrusted.
"""

import contextlib
import io
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder import classroom, settings, units
from autograder.feedback import without_hidden_values
from autograder.trial import over_the_wire
from nutshell.checks import Check, Exercise, checks_of
from nutshell.wire import desk
from nutshell.wire.running import ENDLESS, TIMEOUT, Verdict, points, run_checks
from nutshell.wire.standins import Implementation

SECONDS = 30.0  # for one check; nbgrader ends the whole cell after 180


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
    source = units.load(exercise.unit) if exercise.unit else source
    checks = checks_of(source.checks, exercise.name)
    public = [check for check in checks if not check.hidden]
    hidden = [check for check in checks if check.hidden]
    learner, reference = over_the_wire(names), over_the_wire(vars(source.reference))
    verdicts = _within_seconds(public, learner, reference, 0)
    with _silent():
        verdicts += [without_hidden_values(verdict) for verdict in _within_seconds(hidden, learner, reference, seed)]
    earned = min(points(exercise, verdicts), exercise.points)  # nbgrader fails on a mark above the cell's
    return desk.result(exercise, verdicts, earned)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what a learner prints while a hidden check runs: it could carry the hidden inputs into the feedback."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _within_seconds(
    checks: list[Check], learner: Implementation, reference: Implementation, seed: int
) -> list[Verdict]:
    """Run checks, each for at most :data:`SECONDS` where the system has alarms; after one that was ended, no other."""
    verdicts: list[Verdict] = []
    for check in checks:
        ended = [verdict for verdict in verdicts if verdict.status == TIMEOUT]
        try:
            if ended:
                raise _TooLong
            with _alarm():
                verdicts += run_checks([check], learner, reference, seed)
        except _TooLong:
            said = "none, since the check before it was ended" if ended else f"none within {SECONDS:g} seconds"
            verdicts.append(
                Verdict(check.exercise, check.name, check.title, check.hidden, TIMEOUT, "an answer", said, *ENDLESS,
                        weight=check.weight)
            )
    return verdicts


class _TooLong(KeyboardInterrupt):
    """Ends the learner's code, also within ``except Exception``; the harness lets a KeyboardInterrupt pass."""


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Raise :class:`_TooLong` after :data:`SECONDS`; no limit on Windows and off the main thread."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
