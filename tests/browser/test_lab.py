"""``nutshell lab`` in a real browser: what a learner sees and does on the first day."""

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from tests.browser.driver import Browser, find_browser, open_course

CODE = "import sys; print(sys.executable)"
PICTURE = "import matplotlib.pyplot as plt; plt.plot([1, 2, 3]); plt.show()"
WIDGET = "import ipywidgets; ipywidgets.IntSlider(description='rank', value=7)"
WRONG = "raise ValueError('as it should')"


def write_notebook(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True)
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(cells[0]), *map(v4.new_code_cell, cells[1:])])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = tmp_path_factory.mktemp("course")
    write_notebook(course / "course" / "03_low_rank.ipynb", "# Low rank | one\n\n$k(m+n)$", CODE, PICTURE, WIDGET)
    write_notebook(course / "labs" / "03_low_rank" / "03_low_rank.ipynb", "# The lab", CODE, WRONG)
    (course / "solutions").mkdir()
    (course / "README.md").write_text("# Readme")
    return course


@pytest.fixture(scope="module")
def browser(course: Path) -> Iterator[Browser]:
    with open_course(course) as browser:
        yield browser


def test_it_opens_at_the_course_with_lessons_and_labs_in_view(browser: Browser, course: Path) -> None:
    page = browser.page
    rendered = page.locator(".jp-MarkdownViewer")
    rendered.get_by_role("link", name="Low rank one").wait_for()
    assert rendered.get_by_role("link", name="03_low_rank").is_visible()
    page.locator(".jp-DirListing-itemText", has_text="README.md").wait_for()  # the list passes by the page's folder
    listed = page.locator(".jp-DirListing-itemText").all_inner_texts()
    assert listed == ["course", "my_labs", "README.md"]
    assert (course / "my_labs" / "03_low_rank" / "03_low_rank.ipynb").exists()


def test_a_lesson_opens_from_the_start_page(browser: Browser) -> None:
    browser.page.locator(".jp-MarkdownViewer").get_by_role("link", name="Low rank one").click()
    browser.page.locator(".jp-NotebookPanel .jp-RenderedHTMLCommon h1", has_text="Low rank").first.wait_for()


def test_a_lesson_runs_top_to_bottom_on_this_python_with_pictures_and_widgets(browser: Browser, tmp_path: Path) -> None:
    ran = browser.run("course/03_low_rank.ipynb")
    assert ran.errors == []
    assert ran.outputs[0]["text"].strip() == sys.executable
    page = browser.page
    page.locator(".jp-NotebookPanel .jp-RenderedImage img").first.wait_for()
    page.locator(".jp-NotebookPanel .widget-slider").first.wait_for()
    pictures = browser.pictures(tmp_path, "lesson")
    assert pictures and all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_saving_a_lesson_that_was_run_leaves_its_file_as_it_was(browser: Browser, course: Path) -> None:
    lesson = course / "course" / "03_low_rank.ipynb"
    before, written = lesson.read_bytes(), lesson.stat().st_mtime_ns
    assert browser.run("course/03_low_rank.ipynb").outputs
    save(browser)
    assert lesson.stat().st_mtime_ns > written
    assert lesson.read_bytes() == before


def test_what_a_reader_writes_in_a_lesson_is_saved_without_outputs(browser: Browser, course: Path) -> None:
    browser.run("course/03_low_rank.ipynb")
    browser.page.evaluate("""() => {const panel = window.jupyterapp.shell.currentWidget;
        panel.content.model.cells.get(1).sharedModel.setSource('print(6 * 7)')}""")
    browser.run("course/03_low_rank.ipynb")
    save(browser)
    cells = nbformat.read(course / "course" / "03_low_rank.ipynb", as_version=4).cells
    assert cells[1].source == "print(6 * 7)"
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells if cell.cell_type == "code")


def save(browser: Browser) -> None:
    browser.page.evaluate("async () => {await window.jupyterapp.commands.execute('docmanager:save')}")


def test_an_error_in_a_notebook_is_seen(browser: Browser) -> None:
    assert browser.run("my_labs/03_low_rank/03_low_rank.ipynb").errors == ["ValueError: as it should"]


def test_without_a_browser_the_tests_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="sudo apt install chromium"):
        find_browser()
