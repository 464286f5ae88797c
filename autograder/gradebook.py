"""nbgrader's gradebook, read and written in bulk: the rows that ``nbgrader autograde`` leaves, many students at a time.

nbgrader's own calls ask the database for every single property, about 0.1 s a submission. Here its tables are read with
three queries an assignment, and written with one statement a table, in one transaction.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nbgrader import api
from sqlalchemy import URL, Connection, Engine, bindparam, create_engine, event, insert, make_url, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from nutshell.errors import Trouble

PATIENCE = 60.0  # seconds for a locked gradebook
NO_RESPONSE = "No response."  # nbgrader's words for a solution cell that was left as released

_Assignment, _Notebook, _Source = (model.__table__ for model in (api.Assignment, api.Notebook, api.SourceCell))
_Student, _Submission, _Submitted = (
    model.__table__ for model in (api.Student, api.SubmittedAssignment, api.SubmittedNotebook)
)
_Grade, _Comment, _Base = (model.__table__ for model in (api.Grade, api.Comment, api.BaseCell))
_GradeCell, _SolutionCell = api.GradeCell.__table__, api.SolutionCell.__table__


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


class Gradebook:
    """The database of a classroom.

    Parameters
    ----------
    url : str
        nbgrader's ``db_url``; a relative file of SQLite's lies in the classroom, as for nbgrader.
    folder : Path
        The classroom.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = _absolute(url, folder)
        self._folder = folder
        self._engine = _engine(self.url)

    def close(self) -> None:
        self._engine.dispose()

    def layout(self, assignment: str) -> Layout:
        """How an assignment was released; ``Trouble`` if it wasn't."""
        return self._patiently(lambda connection: self._layout(connection, assignment))

    def entries(self, layout: Layout, students: Iterable[str] | None = None) -> dict[str, Entry]:
        """The rows of these students, or of all, by student; who has none isn't in it."""
        wanted = None if students is None else list(students)
        return self._patiently(lambda connection: _entries(connection, layout, wanted))

    def people(self) -> list[tuple[str, str | None, str | None]]:
        """All students that nbgrader knows: name, first and last name, ``None`` where it has none."""
        query = select(_Student.c.id, _Student.c.first_name, _Student.c.last_name).order_by(_Student.c.id)
        return self._patiently(lambda connection: [tuple(row) for row in connection.execute(query)])

    def write(
        self, layout: Layout, graded: Iterable[Graded], penalty: Callable[[str, float, float], float | None]
    ) -> dict[str, Entry]:
        """Write marks, comments, times and penalties of many submissions, all of them or none.

        Parameters
        ----------
        layout : Layout
            The assignment.
        graded : iterable of Graded
            One for each student.
        penalty : callable
            Of student, marks and seconds late: marks to take off, or ``None``.

        Returns
        -------
        dict of str to Entry
            The rows as they are now, by student.
        """
        graded = list(graded)

        def write(connection: Connection) -> dict[str, Entry]:
            before = _entries(connection, layout, [item.student for item in graded], lock=True)
            after = {item.student: _marked(layout, before.get(item.student), item, penalty) for item in graded}
            _insert(connection, layout, before, after)
            _update(connection, before, after)
            return after

        return self._patiently(write)

    def _layout(self, connection: Connection, assignment: str) -> Layout:
        found = connection.execute(
            select(_Assignment.c.id, _Assignment.c.duedate, _Notebook.c.id)
            .join(_Notebook, _Notebook.c.assignment_id == _Assignment.c.id)
            .where(_Assignment.c.name == assignment, _Notebook.c.name == assignment)
        ).first()
        if found is None:
            raise Trouble(f"The gradebook doesn't know {assignment}. Run: nutshell classroom {self._folder}")
        grades = select(_Base.c.name, _Base.c.id, _GradeCell.c.max_score).join(
            _GradeCell, _GradeCell.c.id == _Base.c.id
        )
        answers = (
            select(_Base.c.name, _Base.c.id, _Source.c.source)
            .join(_SolutionCell, _SolutionCell.c.id == _Base.c.id)
            .outerjoin(
                _Source, (_Source.c.notebook_id == _Base.c.notebook_id) & (_Source.c.name == _Base.c.name)
            )
        )
        cells = [
            {row[0]: (row[1], row[2]) for row in connection.execute(query.where(_Base.c.notebook_id == found[2]))}
            for query in (grades, answers)
        ]
        return Layout(assignment, found[0], found[2], found[1], *cells)

    def _patiently(self, work: Callable[[Connection], Any]) -> Any:
        """Do work in one transaction; while somebody else holds the gradebook, try again for :data:`PATIENCE`."""
        start, wait, clashes = time.monotonic(), 0.05, 0
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                left = start + PATIENCE - time.monotonic()
                clashes += isinstance(error, IntegrityError)  # a row that somebody else made in the same moment
                if not ((_is_held(error) and left > 0) or 0 < clashes < 3):
                    raise self._trouble(error) from error
            time.sleep(max(0.0, min(wait, left)))
            wait = min(2 * wait, 2.0)

    def _trouble(self, error: DBAPIError) -> Trouble:
        said = str(error.orig).strip()
        what = f"The gradebook {self.url.render_as_string()} "
        if _is_held(error):
            where = f" On Linux, fuser {self.url.database} names the process." if _is_file(self.url) else ""
            return Trouble(
                f"{what}was in use by others for {PATIENCE:.0f} seconds ({said}): another nbgrader command, formgrader "
                f"or a program that looks into the database.{where} Nothing is lost; end it, and grade again."
            )
        if "full" in said:
            return Trouble(f"{what}can't be written: {said}. Make room and grade again; nothing is lost.")
        if "no such table" in said or "does not exist" in said:
            return Trouble(f"{what}isn't ready ({said}). Run: nutshell classroom {self._folder}")
        return Trouble(f"{what}can't be used: {said}. Nothing was changed.")


def _absolute(url: str, folder: Path) -> URL:
    parsed = make_url(url)
    if _is_file(parsed) and not Path(parsed.database or "").is_absolute():
        return parsed.set(database=str(folder / (parsed.database or "")))
    return parsed


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": 1})  # short, so that Ctrl-C is heard; patience is above

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def take_the_lock_at_once(connection: Connection) -> None:  # what is read stays true until it is written
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _is_held(error: DBAPIError) -> bool:
    """Whether somebody else has the gradebook, or it can't be reached just now."""
    said = str(error.orig).lower()
    words = ("locked", "busy", "lock timeout", "deadlock", "connect")
    return isinstance(error, OperationalError) and any(word in said for word in words)


def _entries(
    connection: Connection, layout: Layout, students: list[str] | None, lock: bool = False
) -> dict[str, Entry]:
    people = (
        select(
            _Student.c.id, _Student.c.first_name, _Student.c.last_name, _Submission.c.timestamp,
            _Submission.c.extension, _Submitted.c.late_submission_penalty, _Submission.c.id, _Submitted.c.id,
        )
        .join(_Submission, _Submission.c.student_id == _Student.c.id)
        .outerjoin(
            _Submitted,
            (_Submitted.c.assignment_id == _Submission.c.id) & (_Submitted.c.notebook_id == layout.notebook),
        )
        .where(_Submission.c.assignment_id == layout.id)
    )
    grades = select(
        _Grade.c.notebook_id, _Grade.c.cell_id, _Grade.c.auto_score, _Grade.c.manual_score, _Grade.c.extra_credit,
        _Grade.c.needs_manual_grade, _Grade.c.id,
    ).join(_Submitted, _Submitted.c.id == _Grade.c.notebook_id)
    comments = select(
        _Comment.c.notebook_id, _Comment.c.cell_id, _Comment.c.auto_comment, _Comment.c.manual_comment, _Comment.c.id
    ).join(_Submitted, _Submitted.c.id == _Comment.c.notebook_id)
    if lock:  # where the database locks single rows; formgrader may be writing a manual mark
        grades = grades.with_for_update(of=_Grade)
    if students is not None:
        people = people.where(_Submission.c.student_id.in_(students))
        chosen = _Submitted.c.assignment_id.in_(
            select(_Submission.c.id).where(
                _Submission.c.assignment_id == layout.id, _Submission.c.student_id.in_(students)
            )
        )
        grades, comments = grades.where(chosen), comments.where(chosen)
    of_notebook = _Submitted.c.notebook_id == layout.notebook
    marks, said = _by_notebook(layout, connection.execute(grades.where(of_notebook)),
                               connection.execute(comments.where(of_notebook)))
    return {
        row[0]: Entry(*row[:6], marks.get(row[7], {}), said.get(row[7], {}), row[6], row[7] or "")
        for row in connection.execute(people)
    }


def _by_notebook(
    layout: Layout, grades: Iterable[Any], comments: Iterable[Any]
) -> tuple[dict[str, dict[str, Mark]], dict[str, dict[str, Comment]]]:
    graded = {row: (name, possible) for name, (row, possible) in layout.grade_cells.items()}
    answered = {row: name for name, (row, _) in layout.solution_cells.items()}
    marks: dict[str, dict[str, Mark]] = {}
    for notebook, cell, *values in grades:
        if cell in graded:
            name, possible = graded[cell]
            marks.setdefault(notebook, {})[name] = Mark(possible, *values)
    said: dict[str, dict[str, Comment]] = {}
    for notebook, cell, *values in comments:
        if cell in answered:
            said.setdefault(notebook, {})[answered[cell]] = Comment(*values)
    return marks, said


def _marked(
    layout: Layout,
    before: Entry | None,
    graded: Graded,
    penalty: Callable[[str, float, float], float | None],
) -> Entry:
    """A student's rows with new marks of the checks; what instructors gave and wrote stays."""
    entry = before or Entry(graded.student)
    marks = {name: entry.marks.get(name, Mark(possible)) for name, (_, possible) in layout.grade_cells.items()}
    for name, points in graded.points.items():
        mark = marks[name]
        changed = mark.manual is not None and mark.auto != points  # an instructor's mark of something else
        marks[name] = replace(mark, auto=points, review=changed or (mark.manual is not None and mark.review))
    comments = {}
    for name, (_, released) in layout.solution_cells.items():
        auto = NO_RESPONSE if graded.answers.get(name) == released else None
        comments[name] = replace(entry.comments.get(name, Comment()), auto=auto)
    entry = replace(
        entry,
        timestamp=graded.handed_in or entry.timestamp,
        marks=marks,
        comments=comments,
        id=entry.id or api.new_uuid(),
        notebook_id=entry.notebook_id or api.new_uuid(),
    )
    late = entry.seconds_late(layout.duedate)
    return replace(entry, penalty=penalty(entry.student, entry.score, late) if late else None)


def _insert(connection: Connection, layout: Layout, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> None:
    """Add the rows that aren't there: students, submissions, notebooks, grades, comments."""
    new = [name for name in after if name not in before]
    known = set(connection.scalars(select(_Student.c.id).where(_Student.c.id.in_(new)))) if new else set()
    _add(connection, _Student, ({"id": name} for name in new if name not in known))
    _add(connection, _Submission, (
        {"id": after[name].id, "assignment_id": layout.id, "student_id": name, "timestamp": after[name].timestamp}
        for name in new
    ))
    nothing = Entry("")
    notebooks, grades, comments = [], [], []
    for student, entry in after.items():
        had = before.get(student, nothing)
        if not had.notebook_id:
            notebooks.append({
                "id": entry.notebook_id, "assignment_id": entry.id, "notebook_id": layout.notebook, "flagged": False,
                "late_submission_penalty": entry.penalty,
            })
        grades += [
            {"id": api.new_uuid(), "cell_id": layout.grade_cells[name][0], "notebook_id": entry.notebook_id,
             "auto_score": mark.auto, "needs_manual_grade": mark.review}
            for name, mark in entry.marks.items() if name not in had.marks
        ]
        comments += [
            {"id": api.new_uuid(), "cell_id": layout.solution_cells[name][0], "notebook_id": entry.notebook_id,
             "auto_comment": comment.auto}
            for name, comment in entry.comments.items() if name not in had.comments
        ]
    for table, rows in ((_Submitted, notebooks), (_Grade, grades), (_Comment, comments)):
        _add(connection, table, rows)


def _add(connection: Connection, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    if rows:
        connection.execute(insert(table), rows)


def _update(connection: Connection, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> None:
    """Change what has changed in the rows that were there."""
    changes: dict[Any, list[dict[str, Any]]] = {_Submission: [], _Submitted: [], _Grade: [], _Comment: []}
    for student, had in before.items():
        entry = after[student]
        if entry.timestamp != had.timestamp:
            changes[_Submission].append({"row": had.id, "timestamp": entry.timestamp})
        if had.notebook_id and entry.penalty != had.penalty:
            changes[_Submitted].append({"row": had.notebook_id, "late_submission_penalty": entry.penalty})
        changes[_Grade] += [
            {"row": was.id, "auto_score": entry.marks[name].auto, "needs_manual_grade": entry.marks[name].review}
            for name, was in had.marks.items() if entry.marks[name] != was
        ]
        changes[_Comment] += [
            {"row": was.id, "auto_comment": entry.comments[name].auto}
            for name, was in had.comments.items() if entry.comments[name] != was
        ]
    for table, rows in changes.items():
        if rows:
            values: Any = {key: bindparam(key) for key in rows[0] if key != "row"}
            connection.execute(update(table).where(table.c.id == bindparam("row")).values(values), rows)


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Gradebook]:
    """The gradebook, closed in the end."""
    gradebook = Gradebook(url, folder)
    try:
        yield gradebook
    finally:
        gradebook.close()
