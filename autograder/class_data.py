"""What a class report holds, as plain data.

>>> distribution([1.0, 3.0, 2.0], 4.0).median
2.0
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autograder.class_budgets import BudgetReport
from autograder.class_findings import ExerciseReport, Message

GRADED, REFUSED, TROUBLE, WAITING, MISSING = "graded", "refused", "grader's trouble", "not graded yet", "missing"
STATES = (GRADED, REFUSED, TROUBLE, WAITING, MISSING)


@dataclass(frozen=True)
class StudentLine:
    """One student and one lab.

    Attributes
    ----------
    student, first, last : str
        How they are called; first and last name are empty where unknown or hidden.
    state : str
        One of :data:`STATES`.
    points : float, optional
        Marks as they stand, penalty taken off; None unless graded or refused.
    penalty, hours_late : float
        Marks taken off for lateness, and hours after the deadline with this student's extension.
    parts : dict of str to float
        Marks by exercise and budget.
    by_hand, to_mark : tuple of str
        Parts that somebody marked by hand, and those that wait for it.
    words : str
        Why it was refused or not graded; what intake put right.
    """

    student: str
    first: str
    last: str
    state: str
    points: float | None = None
    penalty: float = 0.0
    hours_late: float = 0.0
    parts: Mapping[str, float] | None = None
    by_hand: tuple[str, ...] = ()
    to_mark: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True)
class Distribution:
    """Marks of a lab: how many there are, and where they lie; everything but the count is None if there are none."""

    count: int
    possible: float
    mean: float | None = None
    median: float | None = None
    lower: float | None = None  # quartiles
    upper: float | None = None
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True)
class StudentFlag:
    """Something to look at in one submission."""

    student: str
    kind: str
    about: str
    words: str


@dataclass(frozen=True)
class LabReport:
    """Everything about one lab.

    Attributes
    ----------
    name, title, assignment : str
        Unit, its title, and its folder.
    deadline : str
        ISO 8601, in UTC; empty if there is none.
    counts : dict of str to int
        Students by state.
    late : int
        How many handed in after their deadline.
    marks : Distribution
        Of everybody with marks.
    parts : dict of str to float
        Marks for full success by exercise and budget.
    exercises : tuple of ExerciseReport
        By failure, extensions last.
    budgets : tuple of BudgetReport
        In the lab's order.
    flags : tuple of StudentFlag
        What to look at; it never changed a mark.
    cells : tuple of Message
        Cells that went wrong.
    students : tuple of StudentLine
        Everybody, by name.
    talk : tuple of (str, str)
        What to talk about in the next class: a few words and a sentence.
    notes : tuple of str
        What to know about this report's own figures.
    """

    name: str
    title: str
    assignment: str
    deadline: str
    counts: Mapping[str, int]
    late: int
    marks: Distribution
    parts: Mapping[str, float]
    exercises: tuple[ExerciseReport, ...] = ()
    budgets: tuple[BudgetReport, ...] = ()
    flags: tuple[StudentFlag, ...] = ()
    cells: tuple[Message, ...] = ()
    students: tuple[StudentLine, ...] = ()
    talk: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def handed_in(self) -> int:
        return sum(count for state, count in self.counts.items() if state != MISSING)

    def of_state(self, *states: str) -> list[StudentLine]:
        """The students in these states."""
        return [line for line in self.students if line.state in states]


@dataclass(frozen=True)
class Report:
    """A class report.

    Attributes
    ----------
    course, folder, made : str
        Name of the course, the classroom's folder, and the time in UTC (ISO 8601).
    names_hidden : bool
        Whether students appear by pseudonyms.
    students : int
        Everybody that the gradebook or ``submitted/`` knows.
    labs : tuple of LabReport
        By number.
    """

    course: str
    folder: str
    made: str
    names_hidden: bool
    students: int
    labs: tuple[LabReport, ...]

    def as_data(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self)


def distribution(marks: Sequence[float], possible: float) -> Distribution:
    """Where marks lie; quartiles as of the whole population, ends included."""
    if not marks:
        return Distribution(0, possible)
    lower, median, upper = statistics.quantiles(marks, n=4, method="inclusive") if len(marks) > 1 else 3 * [marks[0]]
    return Distribution(
        len(marks), possible, statistics.fmean(marks), median, lower, upper, min(marks), max(marks)
    )
