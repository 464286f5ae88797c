"""From ``submitted/STUDENT/LAB`` to a :class:`Submission`: everything is read once, as bytes, and nothing is followed.

What isn't fit to be graded is refused by name, with the rule and the way out. Nothing of a learner's is run here.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from autograder.hand_in import BeingWritten, Folder, folders_with, read_folder
from autograder.pieces import SETTINGS, rebuilt
from autograder.rebuild import cells_to_run, digest
from autograder.released import Lab, LabCell, read_lab
from autograder.verdicts import Submission
from nutshell.wire.lab import FOLDER as DESK
from nutshell.wire.lab import PROGRESS

__all__ = ["BeingWritten", "Lab", "LabCell", "read", "read_lab", "students"]

SUBMITTED, STAMP = "submitted", "timestamp.txt"
MOST_NOTEBOOK = 20 * 2**20  # bytes
MOST_CELLS = 2_000
SAVE = "Open it in JupyterLab, save it, and hand it in again."
MOST_BRACKETS = 1_000_000  # in a notebook's JSON: each may become an object of 64 bytes and more


def students(classroom: Path, assignment: str) -> list[str]:
    """Names of the folders in ``submitted/`` that hold this lab, in order.

    A link counts too, and so does a strange name: :func:`read` says why they are refused.
    """
    return folders_with(classroom / SUBMITTED, assignment)


def read(classroom: Path, lab: Lab, student: str) -> Submission:
    """Read one learner's work on one lab, and put its notebook together again.

    Parameters
    ----------
    classroom : Path
        The course directory.
    lab : Lab
        What :func:`read_lab` gave.
    student : str
        Name of the folder in ``submitted/``.

    Raises
    ------
    Refused
        If it isn't fit to be graded; the message names file, rule and way out. ``BeingWritten`` if it was still
        changing while it was read.
    Trouble
        If the disk fails.
    """
    found = read_folder(classroom / SUBMITTED, student, lab.assignment, {lab.notebook: MOST_NOTEBOOK})
    files = dict(found.files)
    handed_in = _handed_in(found, files.pop(STAMP, None))
    cells = _cells(found, lab, files.pop(lab.notebook, None))
    notes = _desk_notes(lab, files)
    files = {name: content for name, content in files.items() if not _in_desk(name)} | dict(lab.files)
    pieces, put_right = rebuilt(lab, cells)
    run = tuple(cells_to_run(lab, pieces))
    whole = digest(run, files, cells)
    return Submission(student, lab.assignment, run, files, {"cells": cells}, whole, handed_in, (*put_right, *notes))


def _in_desk(name: str) -> bool:
    return name.split("/")[0] == DESK


def _desk_notes(lab: Lab, files: Mapping[str, bytes]) -> list[str]:
    """What is said of the learner's own ``desk/``, in whose place the released one is used."""
    own = {name for name in files if _in_desk(name) and name != f"{DESK}/{PROGRESS}"}
    odd = sorted(ascii(name)[1:-1] for name in own if files[name] != lab.files.get(name))
    if not odd:
        return []
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    return [f"{', '.join(odd[:3])}{more} had been changed or added; {DESK}/ counts as released"]


def _handed_in(folder: Folder, stamp: bytes | None) -> datetime | None:
    """When it was handed in, as nbgrader reads its ``timestamp.txt``; None without one, or with an empty one."""
    try:
        text = (stamp or b"").decode().strip()
        if not text:
            return None
        usual = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?) UTC", text, re.ASCII)
        if usual:
            return datetime.fromisoformat(usual[1])
        if len(text) > 100 or re.search(r"\.\.| /", text):  # nbgrader would look for a time zone's file of that name
            raise ValueError("not a date")
        from nbgrader.utils import parse_utc

        when = parse_utc(text)
        return when if isinstance(when, datetime) else None
    except (ValueError, OverflowError, TypeError, AttributeError):
        folder.refuse(STAMP, "isn't a date such as 2030-10-31 22:59:00 UTC", "Correct or delete it.")


def _cells(folder: Folder, lab: Lab, content: bytes | None) -> list[dict[str, Any]]:
    """A notebook's cells: type, text, and what nbgrader knows of them, nothing else."""
    if content is None:
        _missing(folder, lab.notebook)
    notebook = _parsed(folder, lab.notebook, content)

    def refuse(rule: str, way_out: str = SAVE) -> NoReturn:
        folder.refuse(lab.notebook, rule, way_out)

    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells", []), list):
        refuse("isn't a notebook: it is no JSON object with a list of cells")
    if notebook.get("nbformat") != 4 or "cells" not in notebook:
        refuse(f"has the format {_scalar(notebook.get('nbformat'))!r}, and must have nbformat 4")
    if len(notebook["cells"]) > MOST_CELLS:
        refuse(f"has {len(notebook['cells']):,} cells, and may have {MOST_CELLS:,}", "Delete cells that aren't needed.")
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            refuse(f"is damaged: cell {number} is no cell")
        text = cell.get("source")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            refuse(f"is damaged: the source of cell {number} is neither a text nor a list of lines")
        cells.append(dict(cell_type=cell["cell_type"], source=text, metadata=_marks(cell.get("metadata"))))
    return cells


def _marks(metadata: Any) -> dict[str, Any]:
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(marks, dict):
        return {}
    return {"nbgrader": {key: _scalar(marks[key]) for key in (*SETTINGS, "grade_id") if key in marks}}


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"


def _parsed(folder: Folder, name: str, content: bytes) -> Any:
    if content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        folder.refuse(name, f"has more than {MOST_BRACKETS:,} brackets", f"Clear its outputs. {SAVE}")
    try:
        notebook = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
        if rb"\ud" in content.lower():  # half a character, which can't be written to any file, may be among its texts
            notebook = json.loads(json.dumps(notebook, ensure_ascii=False).encode("utf-8", "replace"))
        return notebook
    except UnicodeDecodeError:
        folder.refuse(name, "isn't a notebook: it isn't text in UTF-8", SAVE)
    except RecursionError:
        folder.refuse(name, "isn't a notebook: its JSON is nested too deeply", SAVE)
    except ValueError as error:
        folder.refuse(name, f"isn't a notebook: it isn't valid JSON ({error})", SAVE)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {ascii(twice)[:60]} stands twice in one object")
    return found


def _missing(folder: Folder, name: str) -> NoReturn:
    others = sorted(path for path in folder.files if path.endswith(".ipynb") and not _in_desk(path))
    if len(others) == 1:
        way_out = f"Hand it in as {name}, beside the folder desk."
        folder.refuse(name, f"is missing; the only notebook is {others[0]!a}", way_out)
    there = f"; there are {len(others)} others" if others else ""
    folder.refuse(name, f"is missing{there}", f"Hand in the lab's notebook under the name {name}.")
