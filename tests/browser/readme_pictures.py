"""Take the pictures of the README: a lesson's explorer, a check of a wrong answer, and a budget's table.

    python -m tests.browser.readme_pictures [FOLDER]

The wrong answer is one of unit 03's mutants; the budget is judged on ``results/low_rank.nut``.
"""

import inspect
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import Locator

from nutshell.workspace import copy_labs
from solutions.low_rank import mutants
from tests.browser.driver import Browser, open_course
from tests.browser.test_course import ROOT, fill_in, grade_id, lab_of

LESSON = "course/03_low_rank.ipynb"
LAB = lab_of("low_rank")


def main(folder: Path) -> None:
    """Write ``lesson.png``, ``check.png`` and ``budget.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        course = Path(place)
        for name in ("course", "labs", "results"):
            shutil.copytree(ROOT / name, course / name)
        copy_labs(course)
        fill_in(course, "low_rank")
        hand_in_something_wrong_and_something_right(course)
        with open_course(course) as browser:
            browser.run(LESSON)
            take(browser, cell_with(browser, "low_rank.layer_rank("), folder / "lesson.png")
            browser.run(LAB)
            take(browser, cell_with(browser, 'check("truncate")'), folder / "check.png")
            take(browser, cell_with(browser, 'check("first_layer")'), folder / "budget.png")


def hand_in_something_wrong_and_something_right(course: Path) -> None:
    """Put a mutant in the place of ``truncate``, and the reference result in the place of the learner's network."""
    path = course / LAB
    notebook = nbformat.read(path, as_version=4)
    wrong = inspect.getsource(mutants.truncate_keeps_smallest).split("\n", 1)[1]  # without the decorator
    wrong = wrong.replace("truncate_keeps_smallest", "truncate")
    for cell in notebook.cells:
        if grade_id(cell) == "solution_truncate":
            cell.source = wrong
        if "hand_in(small" in cell.source:
            cell.source = "from nutshell import data\n\nimages = data.mnist()"
    nbformat.write(notebook, path)
    shutil.copy(ROOT / "results" / "low_rank.nut", path.parent)


def cell_with(browser: Browser, text: str) -> Locator:
    """The cell of the notebook in front whose input holds a text."""
    panel = browser.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    return panel.locator(".jp-Cell", has=browser.page.locator(".jp-InputArea", has_text=text)).first


def take(browser: Browser, cell: Locator, file: Path) -> None:
    """Save the picture of one cell with its output."""
    browser.bring_to_front()
    cell.scroll_into_view_if_needed()
    browser.page.wait_for_timeout(1500)
    cell.screenshot(path=str(file))
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "course" / "pictures")
