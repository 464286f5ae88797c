"""Verdicts made by hand, and a classroom to publish them in."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

from autograder.verdicts import BudgetVerdict, Cell, ExerciseVerdict, Submission, SubmissionVerdict
from nutshell.checks import Unit
from nutshell.wire.running import NOT_DONE, OK, RAISED, WRONG, Verdict

IN_TIME = datetime(2026, 3, 1, 12, 30)
CHECKED = {
    OK: (),
    WRONG: ("the sum of squares 4.0", "16.0", "The square was left out.", "Square before you add."),
    RAISED: ("no error", "ValueError: <b>shapes</b>", "in f, line 2: x + y", "Call it on a small input."),
    NOT_DONE: ("an implementation", "the stub", "", "Replace the line that raises NotImplementedError."),
}


def release_of(room: Path, assignment: str) -> dict[str, Any]:
    """The released notebook."""
    return json.loads((room / "release" / assignment / f"{assignment}.ipynb").read_text(encoding="utf-8"))


def submission(
    room: Path, student: str, assignment: str, answers: Mapping[str, str] | None = None, **changes: Any
) -> Submission:
    """A submission of a released lab, with these texts in its solution cells."""
    notebook = release_of(room, assignment)
    cells = []
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        cell["source"] = (answers or {}).get(name.removeprefix("solution_"), "".join(cell["source"]))
        if name.startswith(("given_", "solution_")):
            cells.append(Cell(name, cell["source"]))
    digest = hashlib.sha256(repr(cells).encode()).hexdigest()
    made = dict(student=student, assignment=assignment, cells=tuple(cells), files={}, notebook=notebook, digest=digest,
                handed_in=IN_TIME)
    return Submission(**made | changes)


def exercise(name: str, possible: float, status: str = OK, points: float | None = None) -> ExerciseVerdict:
    """A verdict on an exercise with a public check that passed, and a hidden one of this status."""
    shared = Verdict(name, f"{name}_is_right", "It is right on small inputs", False, OK)
    hidden = Verdict(name, f"{name}_holds", "It holds for other inputs", True, status, *CHECKED[status])
    own = Verdict(name, f"{name}_too", "It holds at the edge", False, status, *CHECKED[status])
    earned = (possible if status == OK else 0.0) if points is None else points
    return ExerciseVerdict(name, earned, possible, status, (shared, own, hidden))


def budget(unit: Unit, points: float, value: float) -> tuple[BudgetVerdict, ...]:
    """A verdict on each budget of a unit, with one measured value for all limits."""
    found = []
    for item in unit.budgets:
        rows = tuple(
            dict(metric=limit.metric, value=value * limit.at_most, limit=limit.at_most, ends_at=1.1 * limit.at_most,
                 share=1.0 if value <= 1 else max(0.0, 11 - 10 * value), digits=1, words=f"{limit.metric} <here>",
                 over="" if value <= 1 else "Encode it smaller.")
            for limit in item.limits
        )
        status = OK if points == item.points else WRONG
        found.append(BudgetVerdict(item.name, item.file, points, item.points, status, rows, data="mnist, test"))
    return tuple(found)


def verdict(
    unit: Unit, wrong: Mapping[str, str] | None = None, value: float = 0.9, **changes: Any
) -> SubmissionVerdict:
    """A verdict on a submission: full marks but for these exercises, and budgets at this share of their limits."""
    wrong = wrong or {}
    exercises = tuple(exercise(item.name, item.points, wrong.get(item.name, OK)) for item in unit.exercises)
    full = unit.budgets[0].points if unit.budgets else 0.0
    earned = full if value <= 1 else max(0.0, full * (11 - 10 * value))
    made = dict(key=hashlib.sha256(repr((wrong, value)).encode()).hexdigest(), unit=unit.name, isolation="bubblewrap",
                limited_by="watchdog", exercises=exercises, budgets=budget(unit, earned, value))
    return SubmissionVerdict(**made | changes)


def grades(room: Path, assignment: str, student: str) -> dict[str, tuple[Any, ...]]:
    """By cell: the checks' mark, the instructor's, what counts, of how much, whether to look at it, whether failed."""
    with Gradebook(f"sqlite:///{room}/gradebook.db") as gradebook:
        notebook = gradebook.find_submission_notebook(assignment, assignment, student)
        return {
            grade.name: (grade.auto_score, grade.manual_score, grade.score, grade.max_score, grade.needs_manual_grade,
                         grade.failed_tests)
            for grade in notebook.grades
        }
