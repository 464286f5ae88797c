"""Drawing on the sheet and looking into a camera, as a learner does, in JupyterLab in a real browser."""

from collections.abc import Iterator

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, expect

from tests.browser import driver
from tests.browser.driver import Browser, open_course

PATIENCE = 120_000  # milliseconds
NOTEBOOK = "course/99_applications.ipynb"
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
CELLS = [
    """
import torch
from torch import nn
from nutshell.data import Dataset, Split
from nutshell.explorers.applications import live, sketchpad
torch.manual_seed(0)
sketchpad(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), tuple("0123456789"))
""",
    """
part = Split(torch.arange(3 * 400, dtype=torch.uint8).view(3, 1, 20, 20), torch.tensor([0, 1, 1]), (0.0,), (1.0,))
data = Dataset("made up", part, part, part, ("left", "right"))
live(nn.Sequential(nn.Flatten(), nn.Linear(400, 2)), data, camera=lambda frame: frame[:1, ::6, ::8])
""",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    course = tmp_path_factory.mktemp("drawing")
    (course / "course").mkdir()
    notebook = new_notebook(cells=[new_code_cell(source.strip()) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, course / NOTEBOOK)
    patch = pytest.MonkeyPatch()
    patch.setattr(driver, "QUIET", [*driver.QUIET, *FAKE_CAMERA])
    with open_course(course, patience=300) as browser:
        yield browser
    patch.undo()


def outputs(browser: Browser, number: int) -> Locator:
    return browser.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(number)


def test_what_is_drawn_and_what_the_camera_sees_reaches_the_networks(browser: Browser) -> None:
    assert browser.run(NOTEBOOK).errors == []
    browser.bring_to_front()
    page, cell = browser.page, outputs(browser, 0)

    canvas, seen = cell.locator("canvas"), cell.locator("img[alt='what the networks see, 28×28 pixels']")
    before = seen.get_attribute("src") or ""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 190, steps=8)
    page.mouse.up()
    expect(seen).not_to_have_attribute("src", before, timeout=PATIENCE)
    cell.get_by_role("button", name="undo").click()
    expect(seen).to_have_attribute("src", before, timeout=PATIENCE)
    cell.get_by_role("button", name="clear").click()
    cell.get_by_text("Draw something.").wait_for()

    cell = outputs(browser, 1)
    cell.locator("img[alt='recorded, 20×20 pixels']").wait_for()
    cell.get_by_role("button", name="use the camera").click()
    frame = cell.locator("img[alt='the camera, 20×20 pixels']")
    frame.wait_for()
    expect(frame).not_to_have_attribute("src", frame.get_attribute("src") or "", timeout=PATIENCE)
    cell.get_by_role("button", name="stop the camera").click()
    cell.get_by_text("off", exact=True).wait_for()
