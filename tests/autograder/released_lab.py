"""The made-up unit's lab in a classroom's folders, and learners' notebooks made from it."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from autograder.notebooks import release_notebook, source_notebook, to_bytes
from autograder.released import Lab, read_lab
from autograder.units import Source

NAME = "01_tiny"
ANSWERS = {"solution_half": "def half(x):\n    return x / 2", "solution_clip_at": "clip_at = np.minimum"}


def write_classroom(folder: Path, source: Source) -> Lab:
    """Write ``source/`` and ``release/`` of the made-up unit, and read the lab."""
    instructor = source_notebook(source)
    for step, notebook in (("source", instructor), ("release", release_notebook(instructor))):
        (folder / step / NAME / "desk").mkdir(parents=True)
        (folder / step / NAME / f"{NAME}.ipynb").write_bytes(to_bytes(notebook))
        (folder / step / NAME / "desk" / "unit.json").write_text("{}")
    return read_lab(folder, NAME)


def filled_in(folder: Path) -> list[dict[str, Any]]:
    """The cells of the released notebook with both exercises solved."""
    cells = json.loads((folder / "release" / NAME / f"{NAME}.ipynb").read_bytes())["cells"]
    for cell in cells:
        cell["source"] = ANSWERS.get(name_of(cell), "".join(cell["source"]))
    return cells


def name_of(cell: dict[str, Any]) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def code(source: str, **more: Any) -> dict[str, Any]:
    return dict(cell_type="code", source=source, metadata={}, outputs=[], execution_count=None) | more


def markdown(source: str, **more: Any) -> dict[str, Any]:
    return dict(cell_type="markdown", source=source, metadata={}) | more


def as_notebook(cells: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5) | more).encode()


def hand_in(folder: Path, content: "bytes | list[dict[str, Any]]", student: str = "ada") -> Path:
    """Write a learner's notebook; returns the folder that it is in."""
    place = folder / "submitted" / student / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{NAME}.ipynb").write_bytes(content if isinstance(content, bytes) else as_notebook(content))
    return place


def changed(cells: list[dict[str, Any]], name: str, change: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    """A copy of the cells with one of them changed in place."""
    cells = deepcopy(cells)
    change(next(cell for cell in cells if name_of(cell) == name))
    return cells
