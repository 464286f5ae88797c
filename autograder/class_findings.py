"""What the verdicts of a class say together: exercises with their failures and messages, cells that went wrong."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autograder.class_names import Names
from autograder.verdicts import CellError, ExerciseVerdict
from nutshell.checks import Exercise
from nutshell.wire.running import INFRA, NOT_DONE, OK, RAISED, STATUSES, WRONG, Verdict
from nutshell.wire.show import clean

MOST_MESSAGES = 5  # of an exercise that are shown
MOST_NAMES = 12  # of students beside a message
MOST_OF_ONE = 4  # messages of one student about one exercise that count; bounds memory too
_LONGEST = 400  # characters of a message
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_PLAIN = {
    "TIMEOUT": "It took too long.",
    "MEMORY": "It took too much memory.",
    "OUTPUT": "It returned or printed too much.",
    "CRASH": "It ended its process.",
}


@dataclass(frozen=True)
class Message:
    """Something that went wrong in the same way for several students.

    Attributes
    ----------
    status : str
        WRONG, RAISED, TIMEOUT …
    words : str
        Likely cause if the check knew one, else what was raised, else the property that doesn't hold.
    count : int
        Students.
    students : tuple of str
        Some of them.
    checks : tuple of str
        Properties in words, or names of cells.
    hidden : bool
        Whether only hidden checks said so.
    expected, got, next_step : str
        Of one of them.
    """

    status: str
    words: str
    count: int
    students: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    hidden: bool = False
    expected: str = ""
    got: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class ExerciseReport:
    """One exercise over the class.

    Attributes
    ----------
    name : str
        The exercise.
    possible : float
        Marks for full success.
    extension : bool
        Whether it is one.
    counts : dict of str to int
        Students by status; the commonest messages are among ``messages``.
    mean : float, optional
        Marks as they stand in the gradebook, on average; None if nobody has any.
    messages : tuple of Message
        Commonest first.
    other_messages : int
        How many further ones there are.
    """

    name: str
    possible: float
    extension: bool
    counts: Mapping[str, int]
    mean: float | None = None
    messages: tuple[Message, ...] = ()
    other_messages: int = 0

    @property
    def judged(self) -> int:
        """Students with a verdict of the learner's own doing."""
        return sum(count for status, count in self.counts.items() if status != INFRA)

    @property
    def failed(self) -> int:
        """Of these, those that didn't pass every check."""
        return self.judged - self.counts.get(OK, 0)

    @property
    def share_failed(self) -> float:
        return self.failed / self.judged if self.judged else 0.0


@dataclass
class _Group:
    """Messages that are counted as one."""

    first: Message
    count: int = 0
    students: list[str] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    public: bool = False

    def add(self, student: str, check: str, hidden: bool, again: bool) -> None:
        self.checks[check] += 1
        self.public |= not hidden
        if not again:
            self.count += 1
            if len(self.students) < MOST_NAMES:
                self.students.append(student)


class Messages:
    """Counts messages by what they say, with figures left out of account."""

    def __init__(self, names: Names) -> None:
        self._names, self._groups = names, dict[tuple[str, str], _Group]()

    def add_checks(self, student: str, verdicts: Sequence[Verdict]) -> None:
        """What the checks of one exercise say about one student."""
        seen: set[tuple[str, str]] = set()
        for verdict in verdicts:
            if verdict.status in (OK, NOT_DONE, INFRA):
                continue
            words, own = _words_of(verdict)
            got = self._names.hide(_cut(verdict.got), student)
            message = Message(
                status=verdict.status,
                words=self._names.hide(words, student) if own else words,
                count=0,
                expected=_cut(verdict.expected),
                got="" if got == words else got,
                next_step=_cut(verdict.next_step),
            )
            self._add(student, message, _cut(verdict.title), verdict.hidden, seen)

    def add_cell(self, student: str, error: CellError) -> None:
        """A cell that went wrong."""
        words = self._names.hide(_cut(error.text.strip().splitlines()[0] if error.text.strip() else ""), student)
        self._add(student, Message(error.status, words or _PLAIN.get(error.status, ""), 0), error.cell, False, set())

    def add_text(self, student: str, status: str, text: str) -> None:
        """Any other reason, such as why a file was refused."""
        self._add(student, Message(status, self._names.hide(_cut(text), student), 0), "", False, set())

    def _add(self, student: str, message: Message, check: str, hidden: bool, seen: set[tuple[str, str]]) -> None:
        key = (message.status, _NUMBER.sub("#", message.words))
        if key not in seen and len(seen) >= MOST_OF_ONE:
            return
        group = self._groups.setdefault(key, _Group(message))
        group.add(self._names(student), check, hidden, key in seen)
        seen.add(key)

    def commonest(self, most: int = MOST_MESSAGES) -> tuple[tuple[Message, ...], int]:
        """The commonest messages, and how many others there are."""
        groups = sorted(self._groups.values(), key=lambda group: (-group.count, group.first.words))
        return tuple(self._finished(group) for group in groups[:most]), max(0, len(groups) - most)

    def _finished(self, group: _Group) -> Message:
        first = group.first
        checks = tuple(name for name, _ in group.checks.most_common(3) if name)
        said_by_one = self._names.hidden and group.count == 1  # words of one learner's own may tell who it is
        return Message(
            status=first.status,
            words=_kind(first.words) if said_by_one and first.status == RAISED else first.words,
            count=group.count,
            students=tuple(sorted(group.students)),
            checks=checks,
            hidden=not group.public,
            expected=first.expected,
            got="" if said_by_one else first.got,
            next_step=first.next_step,
        )


class ExerciseTally:
    """Counts one exercise's verdicts."""

    def __init__(self, exercise: Exercise, names: Names) -> None:
        self.exercise, self._counts, self._messages = exercise, Counter[str](), Messages(names)

    def add(self, student: str, verdict: ExerciseVerdict) -> None:
        """One student's."""
        status = INFRA if any(check.status == INFRA for check in verdict.checks) else verdict.status
        self._counts[status] += 1
        self._messages.add_checks(student, verdict.checks)

    def report(self, marks: Sequence[float]) -> ExerciseReport:
        """What was counted; ``marks`` are those in the gradebook."""
        messages, others = self._messages.commonest()
        return ExerciseReport(
            name=self.exercise.name,
            possible=self.exercise.points,
            extension=self.exercise.extension,
            counts={status: self._counts[status] for status in by_status(self._counts)},
            mean=sum(marks) / len(marks) if marks else None,
            messages=messages,
            other_messages=others,
        )


def by_status(statuses: Mapping[str, int]) -> list[str]:
    """Statuses in their usual order, unknown ones last."""
    usual = list(STATUSES)
    return sorted(statuses, key=lambda status: (usual.index(status) if status in usual else len(usual), status))


def _words_of(verdict: Verdict) -> tuple[str, bool]:
    """What a verdict says in short, and whether a learner's code may have chosen these words."""
    if verdict.status == RAISED:
        return _cut(verdict.got) or "An error", True
    if verdict.status == WRONG:
        return _cut(verdict.cause or f"“{verdict.title}” doesn't hold."), False
    return _PLAIN.get(verdict.status, verdict.status), False


def _kind(words: str) -> str:
    """``ValueError`` of ``ValueError: …``."""
    kind = words.partition(":")[0]
    return kind if kind.isidentifier() else "An error"


def _cut(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
