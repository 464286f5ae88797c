"""What the demo hands in for its three students; grading itself is tested with the classroom."""

import os
from pathlib import Path

import nbformat
import pytest

from autograder import demo, units
from autograder.notebooks import release_notebook, source_notebook, to_bytes
from autograder.stubs import STUB
from nutshell.budget import judge


@pytest.fixture
def room(tiny, tmp_path):
    """A folder with a released lab, without nbgrader's database."""
    source = tiny()
    place = tmp_path / "room" / "release" / "01_tiny"
    (place / "desk").mkdir(parents=True)
    (place / "01_tiny.ipynb").write_bytes(to_bytes(release_notebook(source_notebook(source))))
    return tmp_path / "room", source


def _cells(folder, student):
    notebook = nbformat.read(folder / "submitted" / student / "01_tiny" / "01_tiny.ipynb", as_version=4)
    return {cell.id: cell.source for cell in notebook.cells}


def test_right_partly_wrong_and_blank(room):
    folder, source = room
    for student in demo.STUDENTS:
        demo.submit(folder, source, source.unit, student)
    right, partly, blank = (_cells(folder, student) for student in (demo.RIGHT, demo.PARTLY, demo.BLANK))
    assert "return 0.5 * x" in right["solution-half"] and "raise ValueError" in right["solution-clip-at"]
    assert partly["solution-half"] == right["solution-half"]
    assert partly["solution-clip-at"].startswith("def clip_at(x, limit):") and "raise" not in partly["solution-clip-at"]
    assert STUB in blank["solution-half"] and STUB in blank["solution-clip-at"]


def test_what_was_handed_in_stays_until_the_lab_is_newer(room):
    folder, source = room
    demo.submit(folder, source, source.unit, demo.RIGHT)
    notebook = folder / "submitted" / demo.RIGHT / "01_tiny" / "01_tiny.ipynb"
    notebook.write_text("mine")
    demo.submit(folder, source, source.unit, demo.RIGHT)
    assert notebook.read_text() == "mine"
    later = notebook.stat().st_mtime + 10
    os.utime(folder / "release" / "01_tiny" / "01_tiny.ipynb", (later, later))
    demo.submit(folder, source, source.unit, demo.RIGHT)
    assert "return 0.5 * x" in _cells(folder, demo.RIGHT)["solution-half"]


def test_mutants_that_call_the_reference_leave_a_stub(tiny):
    source = tiny(mutants=("return np.minimum(x, limit)", "return reference.clip_at(x, abs(limit))"))
    assert demo.partly_wrong(source, source.unit) == {"clip_at": ""}


def test_hand_ins_of_unit_03_are_right_and_a_little_too_large(tmp_path):
    (budget,) = units.load("low_rank").unit.budgets
    for right in (True, False):
        path = tmp_path / budget.file
        demo.hand_in(budget, path, right=right)
        result = judge(budget, path, part="validation")
        assert (result.points == budget.points) is right and result.points > 0, result


@pytest.mark.parametrize("unit", [name for name in units.names() if units.load(name).unit.budgets])
def test_who_is_all_right_is_within_every_budget_and_who_is_partly_wrong_is_not(unit, tmp_path):
    (budget,) = units.load(unit).unit.budgets
    points = []
    for right in (True, False):
        demo.hand_in(budget, tmp_path / budget.file, right=right)
        points.append(judge(budget, tmp_path / budget.file, part="validation").points)
    assert points[0] == budget.points > points[1]


def test_report_is_plain_data():
    report = demo.Report(Path("demo"), marks=[demo.Mark("ada", "tiny", "half", 1.5, 2)])
    assert report.as_data()["marks"] == [dict(student="ada", unit="tiny", name="half", points=1.5, possible=2)]
