"""A made-up lab as it lies on disk: a notebook with the desk beside it."""

import json
from dataclasses import asdict
from pathlib import Path

from nutshell.checks import checks_of
from nutshell.wire import running
from tests.nutshell.wire import made_up_checks, made_up_reference

SOLUTION = Path(made_up_reference.__file__).read_text(encoding="utf-8")


def write_desk(folder: Path, unit=made_up_checks.UNIT) -> Path:
    """Write the desk half of the made-up unit into a folder."""
    desk = folder / "desk"
    desk.mkdir(parents=True)
    (desk / "unit.json").write_text(json.dumps(asdict(unit)))
    (desk / "public_checks.py").write_text(Path(made_up_checks.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (desk / "replies.bin").write_bytes(running.record(checks_of(made_up_checks), made_up_reference))
    return folder


def write_notebook(folder: Path, *cells: str, name: str = "90_made_up.ipynb") -> Path:
    """Write a notebook whose code cells have the given texts; one that begins with ``check(`` is a check cell."""
    found = [dict(cell_type="markdown", metadata={}, source="# Made up")]
    for text in cells:
        grade = text.startswith("check(")
        marks = dict(grade=grade, solution=not grade, grade_id=f"cell_{len(found)}")
        found.append(
            dict(
                cell_type="code",
                metadata=dict(nbgrader=marks),
                source=text.splitlines(keepends=True),
                outputs=[],
                execution_count=None,
            )
        )
    path = folder / name
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    return path
