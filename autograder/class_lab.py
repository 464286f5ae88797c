"""One lab of the class report: its verdicts are read one by one and counted, and none is kept."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path

from autograder.borrowed import borrowed, of_verdict
from autograder.class_budgets import BudgetReport, BudgetTally, reference_result
from autograder.class_data import (
    GRADED,
    MISSING,
    REFUSED,
    STATES,
    TROUBLE,
    WAITING,
    LabReport,
    StudentFlag,
    StudentLine,
    distribution,
)
from autograder.class_findings import ExerciseTally, Messages
from autograder.class_gradebook import LabMarks, Person, part_of, read_verdict, verdict_keys
from autograder.class_names import Names
from autograder.class_talk import what_to_talk_about
from autograder.verdicts import Flag, SubmissionVerdict
from nutshell.checks import Unit
from nutshell.wire.running import INFRA
from nutshell.wire.show import clean


class LabTally:
    """Puts one lab's report together.

    Parameters
    ----------
    folder : Path
        The classroom.
    unit : Unit
        As the classroom wants it.
    marks : LabMarks
        What the gradebook says.
    folders : set of str
        Of whom something lies in ``submitted/``.
    people : dict of str to Person
        Everybody, by name.
    names : Names
        How they are called.
    """

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
        self.fingerprints: dict[str, dict[str, str]] = {}
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
            flags=tuple(sorted(self.flags + self._borrowed(), key=lambda flag: (flag.kind, flag.student))),
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
        self.fingerprints[self.names(student)] = of_verdict(verdict)
        self.put_right[student] = "; ".join(verdict.notes)

    def _flags(self, student: str, flags: Iterable[Flag]) -> list[StudentFlag]:
        def shown(text: str) -> str:
            return self.names.hide(clean(text), student)

        return [StudentFlag(self.names(student), flag.kind, flag.about, shown(flag.words)) for flag in flags]

    def _borrowed(self) -> list[StudentFlag]:
        """Networks that came from somebody else, found over the whole class."""
        found = borrowed(self.fingerprints) if any(self.fingerprints.values()) else {}
        return [StudentFlag(who, flag.kind, flag.about, flag.words) for who, flags in found.items() for flag in flags]

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
        reference = reference_result(tally.budget) if tally.measured else ""
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
