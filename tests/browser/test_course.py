"""Every lesson and every lab, with its solutions filled in, runs top to bottom in JupyterLab in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from autograder import units
from autograder.notebooks import source_notebook
from nutshell.workspace import copy_labs
from tests.browser.driver import Browser, open_course

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.name for path in (ROOT / "course").glob("[0-9][0-9]_*.ipynb"))
NAMES = units.names()


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of lessons and labs, so that running them leaves the project's own as they are."""
    course = tmp_path_factory.mktemp("whole")
    for folder in ("course", "labs", "results"):
        shutil.copytree(ROOT / folder, course / folder)
    copy_labs(course)
    for name in NAMES:
        fill_in(course, name)
    return course


@pytest.fixture(scope="module")
def browser(course: Path) -> Iterator[Browser]:
    with open_course(course, patience=300) as browser:
        yield browser


def fill_in(course: Path, name: str) -> None:
    """Write the solutions into the learner's copy, cell by cell, as somebody who has solved the lab."""
    source = units.load(name)
    path = course / lab_of(name)
    solutions = {grade_id(cell): cell.source for cell in source_notebook(source).cells if grade_id(cell)}
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if grade_id(cell).startswith("solution_"):
            cell.source = solutions[grade_id(cell)]
    nbformat.write(notebook, path)


def grade_id(cell: nbformat.NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def lab_of(name: str) -> str:
    folder = units.load(name).unit.folder
    return f"my_labs/{folder}/{folder}.ipynb"


def test_every_unit_has_a_lesson_and_a_lab() -> None:
    folders = {units.load(name).unit.folder for name in NAMES}
    assert folders and folders <= {Path(lesson).stem for lesson in LESSONS}
    assert folders == {path.parent.name for path in (ROOT / "labs").glob("*/[0-9][0-9]_*.ipynb")}


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs(browser: Browser, lesson: str) -> None:
    assert browser.run(f"course/{lesson}").errors == []


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_runs_with_its_solutions(browser: Browser, name: str) -> None:
    ran = browser.run(lab_of(name))
    assert ran.errors == []
    checked = [cell for cell in ran.cells if grade_id(nbformat.from_dict(cell)).startswith("check_")]
    assert checked and all(cell["outputs"] for cell in checked)
