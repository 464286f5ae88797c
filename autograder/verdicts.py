"""What the parts of the grader hand to one another: a submission, a task for a worker, and the verdict on it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from nutshell.checks import Unit
from nutshell.wire.running import Verdict

REFUSED = "REFUSED"  # a submission, or a file in it, that isn't graded; the reason says why


@dataclass(frozen=True)
class Cell:
    """A code cell that runs in the sandbox.

    Attributes
    ----------
    name : str
        What people call it: ``"given_1"``, ``"solution_truncate"``, or ``"cell 7"`` for one that the learner added.
    source : str
        Its text.
    """

    name: str
    source: str


@dataclass(frozen=True)
class Submission:
    """One learner's work on one lab, read once; nothing of it has been run or parsed beyond the notebook's JSON.

    Attributes
    ----------
    student, assignment : str
        The learner's name, and the lab's folder such as ``"03_low_rank"``.
    cells : tuple of Cell
        What is run, in order: given cells as released, the learner's as handed in.
    files : dict of str to bytes
        Everything else that was handed in, by path relative to the submission's folder.
    notebook : dict
        The learner's notebook as JSON, for the copy that formgrader shows.
    digest : str
        SHA-256 of cells and files, in hexadecimal.
    handed_in : datetime, optional
        In UTC without a time zone, as nbgrader keeps it.
    notes : tuple of str
        What was put right, for the instructor: ``"the check cell check_truncate was missing"``.
    """

    student: str
    assignment: str
    cells: tuple[Cell, ...]
    files: Mapping[str, bytes]
    notebook: Mapping[str, Any]
    digest: str
    handed_in: datetime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExerciseVerdict:
    """An exercise: its checks' verdicts, and one status for all of them.

    Attributes
    ----------
    name : str
        The exercise.
    points, possible : float
        Marks earned, and for full success.
    status : str
        OK if every check passed, else the status of the first that didn't.
    checks : tuple of Verdict
        Public ones first.
    """

    name: str
    points: float
    possible: float
    status: str
    checks: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class BudgetVerdict:
    """A budget, recounted by the judge from the file handed in.

    Attributes
    ----------
    name, file : str
        The budget and the file that it is about.
    points, possible : float
        Marks earned, and for full success.
    status : str
        OK with all points, WRONG with fewer, NOT DONE without a file, REFUSED for a file that isn't measured.
    rows : tuple of dict
        For each limit: ``metric, value, limit, ends_at, share, digits, words, over``, as :class:`nutshell.budget.Row`.
    reason : str
        Why the file was refused.
    data : str
        Data set and part that it was measured on.
    fingerprint : str
        Hash of the decoded weights.
    measured : dict
        All figures, as ``nutshell measure --json`` prints them; empty if it wasn't measured.
    """

    name: str
    file: str
    points: float
    possible: float
    status: str
    rows: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    data: str = ""
    fingerprint: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Flag:
    """Something for the instructor to look at; it never changes a mark.

    Attributes
    ----------
    kind : str
        ``"transformed images"``, ``"borrowed weights"``, ``"test out of line with validation"``, ``"forged reply"`` …
    about : str
        Exercise, budget or file.
    words : str
        What was seen, with its figures.
    """

    kind: str
    about: str
    words: str


@dataclass(frozen=True)
class CellError:
    """A cell that went wrong: its name, a status such as RAISED or TIMEOUT, and what it said."""

    cell: str
    status: str
    text: str


@dataclass(frozen=True)
class SubmissionVerdict:
    """Everything that grading one submission found; what it was made from is hashed in its key.

    Attributes
    ----------
    key : str
        SHA-256 over submission, checks, reference, toolkit, environment, limits, isolation and seed.
    unit : str
        Name of the unit: ``"low_rank"``.
    isolation : str
        ``"bubblewrap"``, ``"container"`` or ``"process"``.
    limited_by : str
        What held the submission as a whole to its limits: ``"control group"`` or ``"watchdog"``.
    exercises, budgets, flags, cells : tuple
        See their classes; ``cells`` holds the ones that went wrong.
    notes : tuple of str
        What intake put right.
    refused : str
        Why the submission wasn't graded; empty if it was.
    seconds : float
        How long it took.
    """

    key: str
    unit: str
    isolation: str
    limited_by: str
    exercises: tuple[ExerciseVerdict, ...] = ()
    budgets: tuple[BudgetVerdict, ...] = ()
    flags: tuple[Flag, ...] = ()
    cells: tuple[CellError, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> float:
        return sum(item.points for item in self.exercises) + sum(item.points for item in self.budgets)

    @property
    def possible(self) -> float:
        return sum(item.possible for item in self.exercises) + sum(item.possible for item in self.budgets)

    @property
    def trusted(self) -> bool:
        """Whether the learner's code was kept away from the checks by more than a process of its own."""
        return self.isolation in ("bubblewrap", "container")

    def to_json(self) -> str:
        """As JSON; :func:`from_json` reads it back."""
        return json.dumps(asdict(self), allow_nan=False)


def from_json(text: str) -> SubmissionVerdict:
    """A verdict from what :meth:`SubmissionVerdict.to_json` wrote; ``ValueError`` for anything else.

    Examples
    --------
    >>> verdict = SubmissionVerdict("ab", "low_rank", "bubblewrap", "watchdog", flags=(Flag("borrowed", "a", "b"),))
    >>> from_json(verdict.to_json()) == verdict
    True
    """
    try:
        data = json.loads(text)
        exercises = tuple(
            ExerciseVerdict(**{**item, "checks": tuple(Verdict(**check) for check in item["checks"])})
            for item in data.pop("exercises")
        )
        budgets = tuple(BudgetVerdict(**{**item, "rows": tuple(item["rows"])}) for item in data.pop("budgets"))
        flags = tuple(Flag(**item) for item in data.pop("flags"))
        cells = tuple(CellError(**item) for item in data.pop("cells"))
        return SubmissionVerdict(
            exercises=exercises, budgets=budgets, flags=flags, cells=cells, notes=tuple(data.pop("notes")), **data
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This is no verdict: {error}") from None


@dataclass(frozen=True)
class Task:
    """What a worker needs for one submission; nothing else is read or written there.

    Attributes
    ----------
    unit : Unit
        As the classroom wants it: points, limits, exercises.
    submission : Submission
        The learner's work.
    seed : int
        The classroom's secret.
    key : str
        Of the verdict.
    """

    unit: Unit
    submission: Submission
    seed: int
    key: str
