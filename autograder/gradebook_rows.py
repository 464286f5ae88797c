"""The rows of nbgrader's tables: three queries read an assignment, one statement a table writes many submissions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from nbgrader import api
from sqlalchemy import Connection, bindparam, insert, select, update

from autograder.entries import Comment, Entry, Graded, Layout, Mark

NO_RESPONSE = "No response."  # nbgrader's words for a solution cell that was left as released

_Assignment, _Notebook, _Source = (model.__table__ for model in (api.Assignment, api.Notebook, api.SourceCell))
_Student, _Submission, _Submitted = (
    model.__table__ for model in (api.Student, api.SubmittedAssignment, api.SubmittedNotebook)
)
_Grade, _Comment, _Base = (model.__table__ for model in (api.Grade, api.Comment, api.BaseCell))
_GradeCell, _SolutionCell = api.GradeCell.__table__, api.SolutionCell.__table__


def read_layout(connection: Connection, assignment: str) -> Layout | None:
    """How an assignment was released; None if it wasn't."""
    found = connection.execute(
        select(_Assignment.c.id, _Assignment.c.duedate, _Notebook.c.id)
        .join(_Notebook, _Notebook.c.assignment_id == _Assignment.c.id)
        .where(_Assignment.c.name == assignment, _Notebook.c.name == assignment)
    ).first()
    if found is None:
        return None
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


def read_entries(
    connection: Connection, layout: Layout, students: list[str] | None, lock: bool = False
) -> dict[str, Entry]:
    """The rows of these students, or of all, by student; ``lock`` keeps others from changing them."""
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
    if students is not None:
        people = people.where(_Submission.c.student_id.in_(students))
    found = connection.execute(people).all()
    notebooks = None if students is None else [row[7] for row in found]
    grades = _of(_Grade, (row for row, _ in layout.grade_cells.values()), notebooks, (
        "auto_score", "manual_score", "extra_credit", "needs_manual_grade", "id"))
    if lock:  # where the database locks single rows; formgrader may be writing a manual mark
        grades = grades.with_for_update()
    comments = _of(_Comment, (row for row, _ in layout.solution_cells.values()), notebooks, (
        "auto_comment", "manual_comment", "id"))
    marks, said = _by_notebook(layout, connection.execute(grades), connection.execute(comments))
    return {row[0]: Entry(*row[:6], marks.get(row[7], {}), said.get(row[7], {}), row[6], row[7] or "") for row in found}


def _of(table: Any, cells: Iterable[str], notebooks: list[str] | None, columns: Iterable[str]) -> Any:
    """Rows by cell first: that is how nbgrader's tables are indexed, and a scan would take longer with every term."""
    query = select(table.c.notebook_id, table.c.cell_id, *(table.c[name] for name in columns))
    query = query.where(table.c.cell_id.in_(list(cells)))
    return query if notebooks is None else query.where(table.c.notebook_id.in_(notebooks))


def read_people(connection: Connection) -> list[tuple[str, str | None, str | None]]:
    """All students: name, first and last name, None where there is none."""
    query = select(_Student.c.id, _Student.c.first_name, _Student.c.last_name).order_by(_Student.c.id)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


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


def marked(
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


def insert_missing(
    connection: Connection, layout: Layout, before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> None:
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


def update_changed(connection: Connection, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> None:
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
