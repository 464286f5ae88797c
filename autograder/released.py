"""A lab as a classroom handed it out: its cells, and what each is to the grader."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nutshell.errors import Trouble
from nutshell.wire.lab import FOLDER as DESK

GIVEN, SOLUTION, CHECK, TEXT = "given", "solution", "check", "text"


@dataclass(frozen=True)
class LabCell:
    """A cell of a lab as released.

    Attributes
    ----------
    name : str
        Its grade id; empty for a cell without one.
    kind : str
        GIVEN, SOLUTION, CHECK or TEXT; a nameless code cell is a SOLUTION cell that nobody has to keep.
    type : str
        ``"code"``, ``"markdown"`` or ``"raw"``.
    source : str
        Its text, without solutions and hidden regions.
    content : dict
        The whole cell, for the copy that formgrader shows.
    """

    name: str
    kind: str
    type: str
    source: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Lab:
    """A lab as released.

    Attributes
    ----------
    assignment : str
        Name of its folder and its notebook: ``"03_low_rank"``.
    cells : tuple of LabCell
        In order.
    files : dict of str to bytes
        The released ``desk/``.
    metadata : dict
        The notebook's.
    """

    assignment: str
    cells: tuple[LabCell, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notebook(self) -> str:
        """Name of the notebook's file."""
        return f"{self.assignment}.ipynb"

    @property
    def named(self) -> list[LabCell]:
        return [cell for cell in self.cells if cell.name]


def kind_of(content: Mapping[str, Any]) -> str:
    """What a cell of a released notebook is to the grader.

    Examples
    --------
    >>> kind_of({"cell_type": "code", "metadata": {"nbgrader": {"grade": True, "solution": False}}})
    'check'
    """
    marks = content["metadata"].get("nbgrader", {})
    if content["cell_type"] != "code":
        return TEXT
    if marks.get("grade") and not marks.get("solution"):
        return CHECK
    return GIVEN if marks.get("locked") and not marks.get("solution") else SOLUTION


def read_lab(classroom: Path, assignment: str) -> Lab:
    """A lab as a classroom handed it out.

    The cells' order and names come from ``source/``, their texts from ``release/``, where nbgrader has taken solutions
    and hidden regions out.

    Parameters
    ----------
    classroom : Path
        The course directory that ``nutshell classroom`` made.
    assignment : str
        Name of the lab's folder: ``"03_low_rank"``.

    Raises
    ------
    Trouble
        If the lab isn't there, or ``release/`` isn't made from what is in ``source/`` now.
    """
    again = f"Make it anew with: nutshell classroom {classroom}"
    source, released = (classroom / step / assignment / f"{assignment}.ipynb" for step in ("source", "release"))
    try:
        before = json.loads(source.read_bytes())["cells"]
        notebook = json.loads(released.read_bytes())
        desk = {
            path.relative_to(released.parent).as_posix(): path.read_bytes()
            for path in sorted((released.parent / DESK).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        cells = tuple(_cell(content) for content in notebook["cells"])
        names = [content["metadata"].get("nbgrader", {}).get("grade_id") for content in before]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble(f"The lab {assignment} can't be read ({error}). {again}") from None
    if [name for name in names if name] != [cell.name for cell in cells if cell.name]:
        raise Trouble(f"{released} has other cells than {source}. {again}")
    return Lab(assignment, cells, desk, notebook["metadata"])


def _cell(content: Mapping[str, Any]) -> LabCell:
    name = content["metadata"].get("nbgrader", {}).get("grade_id", "")
    return LabCell(name, kind_of(content), content["cell_type"], "".join(content["source"]), content)
