"""What the class report reads: marks as they stand in the gradebook, and the stored verdicts. It writes neither."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from autograder.classroom import nbgrader_api
from autograder.gradebook import Entry, opened
from autograder.publisher import RECORDS
from autograder.verdicts import SubmissionVerdict, from_json


@dataclass(frozen=True)
class Person:
    """Somebody in the gradebook: the name of their folder in ``submitted/``, and what they are called."""

    student: str
    first: str = ""
    last: str = ""


@dataclass(frozen=True)
class LabMarks:
    """A lab in the gradebook: deadline in UTC, marks for full success by part, and the students' rows by name."""

    deadline: datetime | None = None
    possible: Mapping[str, float] = field(default_factory=dict)
    students: Mapping[str, Entry] = field(default_factory=dict)


def read_marks(folder: Path, assignments: list[str]) -> tuple[dict[str, Person], dict[str, LabMarks]]:
    """The people in a classroom's gradebook, and their marks by assignment.

    Parameters
    ----------
    folder : Path
        The classroom.
    assignments : list of str
        Names such as ``"03_low_rank"``.

    Raises
    ------
    Trouble
        If the gradebook can't be read.
    """
    with nbgrader_api(folder) as api:
        url = api.coursedir.db_url
    labs = {}
    with opened(url, folder.resolve()) as gradebook:
        people = {name: Person(name, first or "", last or "") for name, first, last in gradebook.people()}
        for name in assignments:
            layout = gradebook.layout(name)
            possible = {part_of(cell): float(marks) for cell, (_, marks) in layout.grade_cells.items()}
            labs[name] = LabMarks(layout.duedate, possible, gradebook.entries(layout))
    return people, labs


def part_of(cell: str) -> str:
    """The exercise or budget of a cell with marks.

    Examples
    --------
    >>> part_of("check_truncate"), part_of("essay")
    ('truncate', 'essay')
    """
    return cell.removeprefix("check_")


def verdict_keys(folder: Path, assignment: str) -> dict[str, str]:
    """The key of each student's latest verdict, by name, from the publisher's records; empty if nothing was graded."""
    keys = {}
    for record in sorted((folder / "verdicts" / assignment / RECORDS).glob("*")):
        try:
            keys[record.name] = str(json.loads(record.read_text(encoding="utf-8"))["key"])
        except (OSError, ValueError, KeyError, TypeError):
            keys[record.name] = ""  # whose verdict can't be found
    return keys


def read_verdict(folder: Path, assignment: str, key: str) -> SubmissionVerdict | None:
    """A stored verdict; None where it can't be read, as one of another version of the grader."""
    try:
        return from_json((folder / "verdicts" / assignment / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
