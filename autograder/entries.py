"""What stands in nbgrader's gradebook for an assignment and a student, as plain data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Layout:
    """An assignment as it was released: its one notebook's cells, by name, and when it is due.

    Attributes
    ----------
    name, id, notebook : str
        The assignment's name, its row, and its notebook's.
    duedate : datetime, optional
        In UTC without a time zone.
    grade_cells : dict of str to (str, float)
        Row and marks of each cell that has marks.
    solution_cells : dict of str to (str, str)
        Row of each cell that learners write in, and its text as released.
    """

    name: str
    id: str
    notebook: str
    duedate: datetime | None
    grade_cells: Mapping[str, tuple[str, float]]
    solution_cells: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Mark:
    """One grade: what the checks gave, and what an instructor gave instead or on top."""

    possible: float
    auto: float | None = None
    manual: float | None = None
    extra: float | None = None
    review: bool = True  # an instructor has to look at it
    id: str = field(default="", compare=False)

    @property
    def score(self) -> float:
        """What counts, as nbgrader counts it: the instructor's mark before the checks', and extra credit on top.

        Examples
        --------
        >>> Mark(2.0, auto=0.5).score, Mark(2.0, auto=0.5, manual=1.5, extra=1.0).score, Mark(2.0, extra=1.0).score
        (0.5, 2.5, 0.0)
        """
        given = self.auto if self.manual is None else self.manual
        return 0.0 if given is None else given + (self.extra or 0.0)


@dataclass(frozen=True)
class Comment:
    """What is said of a solution cell, by nbgrader and by an instructor."""

    auto: str | None = None
    manual: str | None = None
    id: str = field(default="", compare=False)


@dataclass(frozen=True)
class Entry:
    """All rows of one student for one assignment.

    Attributes
    ----------
    student, first_name, last_name : str
        The student's name in nbgrader, and, where it knows them, a person's.
    timestamp : datetime, optional
        When it was handed in, in UTC without a time zone.
    extension : timedelta, optional
        What an instructor added to the due date for this student.
    penalty : float, optional
        Marks taken off for being late.
    marks : dict of str to Mark
        By the grade cell's name, ``"check_truncate"``.
    comments : dict of str to Comment
        By the solution cell's name, ``"solution_truncate"``.
    """

    student: str
    first_name: str | None = None
    last_name: str | None = None
    timestamp: datetime | None = None
    extension: timedelta | None = None
    penalty: float | None = None
    marks: Mapping[str, Mark] = field(default_factory=dict)
    comments: Mapping[str, Comment] = field(default_factory=dict)
    id: str = field(default="", compare=False)
    notebook_id: str = field(default="", compare=False)

    @property
    def score(self) -> float:
        """Marks of all cells, before a penalty."""
        return sum(mark.score for mark in self.marks.values())

    @property
    def possible(self) -> float:
        return sum(mark.possible for mark in self.marks.values())

    def seconds_late(self, duedate: datetime | None) -> float:
        """How long after the due date, with this student's extension, it was handed in; 0 if in time.

        Examples
        --------
        >>> handed_in = Entry("ada", timestamp=datetime(2030, 1, 2), extension=timedelta(hours=23))
        >>> handed_in.seconds_late(datetime(2030, 1, 1)), handed_in.seconds_late(None)
        (3600.0, 0.0)
        """
        if self.timestamp is None or duedate is None:
            return 0.0
        return max(0.0, (self.timestamp - duedate - (self.extension or timedelta())).total_seconds())

    def digest(self, duedate: datetime | None) -> str:
        """SHA-256 of everything here that feedback shows, and of the due date."""
        marks = {
            name: [mark.possible, mark.auto, mark.manual, mark.extra] for name, mark in sorted(self.marks.items())
        }
        comments = {name: [comment.auto, comment.manual] for name, comment in sorted(self.comments.items())}
        person = [self.student, self.first_name, self.last_name, self.timestamp, self.extension, duedate, self.penalty]
        return hashlib.sha256(json.dumps([person, marks, comments], default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Graded:
    """What a submission is to get: the time it was handed in, marks by grade cell, and its solution cells' texts."""

    student: str
    handed_in: datetime | None
    points: Mapping[str, float]
    answers: Mapping[str, str]
