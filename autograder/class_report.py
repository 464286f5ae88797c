"""The class report's data: marks as they stand, what the verdicts say together, who is missing, what to talk about.

>>> from autograder.class_report import distribution
>>> distribution([1.0, 3.0, 2.0], 4.0).median
2.0
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autograder import classroom, settings, units
from autograder.class_budgets import BudgetReport, BudgetTally, reference_result
from autograder.class_findings import ExerciseReport, ExerciseTally, Message, Messages
from autograder.class_gradebook import LabMarks, Person, part_of, read_marks, read_verdict, verdict_keys
from autograder.class_names import Names
from autograder.class_talk import what_to_talk_about
from autograder.intake import students as students_with
from autograder.verdicts import Flag, SubmissionVerdict
from nutshell.checks import Unit
from nutshell.errors import WrongUse
from nutshell.wire.running import INFRA
from nutshell.wire.show import clean

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


def gather(folder: Path, assignment: str = "", *, hide_names: bool = False) -> Report:
    """Read a classroom and put its class report together; nothing is written.

    Parameters
    ----------
    folder : Path
        The classroom.
    assignment : str
        One unit or its folder; every unit of the classroom if empty.
    hide_names : bool
        Whether students appear by pseudonyms, which only the classroom's secret seed can connect to names.

    Raises
    ------
    WrongUse
        If the folder is no classroom, or doesn't hand out that unit.
    Trouble
        If gradebook, verdicts or the seed can't be read.
    """
    if not (folder / settings.FILE).is_file():
        raise WrongUse(
            f"{folder} is no classroom: it has no {settings.FILE}. Give the folder that nutshell classroom made, or "
            f"make one with: nutshell classroom {folder}"
        )
    said = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())])
    chosen = [said.unit(assignment)] if assignment else list(said.units)
    people, marks = read_marks(folder, [unit.folder for unit in chosen])
    handed_in = {unit.folder: set(students_with(folder, unit.folder)) for unit in chosen}
    for student in set().union(*handed_in.values()):
        people.setdefault(student, Person(student))
    names = Names(people.values(), classroom.seed(folder) if hide_names else None)
    labs = tuple(
        _Lab(folder, unit, marks[unit.folder], handed_in[unit.folder], people, names).report() for unit in chosen
    )
    made = datetime.now(UTC).replace(microsecond=0).isoformat()
    place = "" if hide_names else str(folder.resolve())
    return Report(said.course, place, made, hide_names, len(people), labs)


def distribution(marks: Sequence[float], possible: float) -> Distribution:
    """Where marks lie; quartiles as of the whole population, ends included."""
    if not marks:
        return Distribution(0, possible)
    lower, median, upper = statistics.quantiles(marks, n=4, method="inclusive") if len(marks) > 1 else 3 * [marks[0]]
    return Distribution(
        len(marks), possible, statistics.fmean(marks), median, lower, upper, min(marks), max(marks)
    )


class _Lab:
    """Puts one lab's report together: verdicts are read one by one and counted, and none is kept."""

    def __init__(
        self, folder: Path, unit: Unit, marks: LabMarks, folders: set[str], people: Mapping[str, Person], names: Names
    ) -> None:
        self.folder, self.unit, self.marks, self.folders = folder, unit, marks, folders
        self.people, self.names = people, names
        self.points = {one.name: one.points for one in unit.exercises} | {one.name: one.points for one in unit.budgets}
        self.order = sorted(people, key=names)  # by pseudonym where names are hidden, so that order tells nothing
        self.exercises = {one.name: ExerciseTally(one, names) for one in unit.exercises}
        self.budgets = {one.name: BudgetTally(one, names) for one in unit.budgets}
        self.cells = Messages(names)
        self.flags: list[StudentFlag] = []
        self.refused: dict[str, str] = {}
        self.put_right: dict[str, str] = {}
        self.trouble: dict[str, str] = {}
        self.odd = Counter[str]()

    def report(self) -> LabReport:
        keys = verdict_keys(self.folder, self.unit.folder)
        for student in self.order:
            if student in keys:
                self._add(student, read_verdict(self.folder, self.unit.folder, keys[student]))
            elif student in self.marks.students:
                self.odd["without"] += 1
        lines = tuple(self._line(student) for student in self.order)
        counts = Counter(line.state for line in lines)
        marks = [line.points for line in lines if line.points is not None]
        exercises = [tally.report(self._marks_of(name)) for name, tally in self.exercises.items()]
        exercises.sort(key=lambda one: (one.possible == 0, -one.share_failed))
        deadline = self.marks.deadline
        report = LabReport(
            name=self.unit.name,
            title=self.unit.title,
            assignment=self.unit.folder,
            deadline=deadline.replace(tzinfo=UTC).isoformat() if deadline else "",
            counts={state: counts[state] for state in STATES},
            late=sum(line.hours_late > 0 for line in lines),
            marks=distribution(marks, sum(self.marks.possible.values())),
            parts=self._parts(),
            exercises=tuple(exercises),
            budgets=tuple(self._budget(tally) for tally in self.budgets.values()),
            flags=tuple(self.flags),
            cells=self.cells.commonest()[0],
            students=lines,
            notes=tuple(self._notes()),
        )
        return what_to_talk_about(report)

    def _add(self, student: str, verdict: SubmissionVerdict | None) -> None:
        """Count one student's verdict."""
        if verdict is None:
            self.odd["unreadable"] += 1
            return
        if verdict.refused:
            self.refused[student] = verdict.refused
            return
        self.odd["untrusted"] += not verdict.trusted
        self.odd["older"] += self._older(verdict)
        for exercise in verdict.exercises:
            if exercise.name in self.exercises:
                self.exercises[exercise.name].add(student, exercise)
            if any(check.status == INFRA for check in exercise.checks):
                self.trouble[student] = f"{exercise.name} could not be run"
        for budget in verdict.budgets:
            if budget.name in self.budgets:
                self.budgets[budget.name].add(student, budget)
            self.odd["stand-in"] += "stand-in" in budget.data
        for error in verdict.cells:
            self.cells.add_cell(student, error)
        self.flags += self._flags(student, verdict.flags)
        self.put_right[student] = "; ".join(verdict.notes)

    def _flags(self, student: str, flags: Iterable[Flag]) -> list[StudentFlag]:
        def shown(text: str) -> str:
            return self.names.hide(clean(text), student)

        return [StudentFlag(self.names(student), flag.kind, flag.about, shown(flag.words)) for flag in flags]

    def _older(self, verdict: SubmissionVerdict) -> bool:
        """Whether it was made for other exercises or other marks than the classroom has now."""
        then = [(one.name, one.possible) for one in verdict.exercises]
        then += [(one.name, one.possible) for one in verdict.budgets]
        return dict(then) != self.points

    def _line(self, student: str) -> StudentLine:
        first, last = self.names.full(student)
        marks = self.marks.students.get(student)
        words = self.refused.get(student) or self.trouble.get(student) or self.put_right.get(student, "")
        words = self.names.hide(clean(words), student)
        if marks is None:
            state = REFUSED if student in self.refused else WAITING if student in self.folders else MISSING
            return StudentLine(self.names(student), first, last, state, words=words)
        state = REFUSED if student in self.refused else TROUBLE if student in self.trouble else GRADED
        parts = {part_of(cell): mark for cell, mark in marks.marks.items()}
        if not parts:  # known to have handed in, and no more
            return StudentLine(self.names(student), first, last, WAITING if state == GRADED else state, words=words)
        return StudentLine(
            student=self.names(student),
            first=first,
            last=last,
            state=state,
            points=None if state == TROUBLE else max(0.0, marks.score - (marks.penalty or 0.0)),  # as nbgrader exports
            penalty=marks.penalty or 0.0,
            hours_late=marks.seconds_late(self.marks.deadline) / 3600,
            parts={name: parts[name].score for name in self._parts() if name in parts},
            by_hand=tuple(name for name, mark in parts.items() if mark.manual is not None),
            to_mark=tuple(name for name, mark in parts.items() if mark.review),
            words=words,
        )

    def _parts(self) -> dict[str, float]:
        """Marks for full success in the lab's order; what the instructor added comes last."""
        known, possible = self.points, self.marks.possible
        order = [name for name in known if name in possible] + [name for name in possible if name not in known]
        return {name: possible[name] for name in order}

    def _marks_of(self, part: str) -> list[float]:
        found = (marks.marks.get(f"check_{part}") for marks in self.marks.students.values())
        return [mark.score for mark in found if mark is not None]

    def _budget(self, tally: BudgetTally) -> BudgetReport:
        reference = reference_result(tally.budget) if tally.measured else None
        return tally.report(self._marks_of(tally.budget.name), reference)

    def _notes(self) -> list[str]:
        """What to know about these figures."""
        texts = {
            "untrusted": "graded without a sandbox: those marks are untrusted, since learners' code could forge them.",
            "stand-in": "measured on stand-in images: these budgets mean nothing for grading.",
            "unreadable": "whose verdict can't be read, as of another version of the grader: marks are as in the "
            "gradebook, and exercises leave them out. Grade again to have them in.",
            "older": "graded for other exercises or marks than classroom.toml has now. Grade again to renew them.",
            "without": "graded by stock nbgrader, which keeps no verdicts: marks are as in the gradebook, and "
            "untrusted; exercises and budgets leave them out.",
        }
        said = []
        for key, text in texts.items():
            if count := self.odd[key]:
                said.append(f"{count:,} submission{'' if count == 1 else 's'} {text}")
        return said
