"""nbgrader's formgrader in a real browser: the grader's marks and tables, what instructors add, and no script runs."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Page, expect, sync_playwright

from autograder import classroom, intake, settings, units
from autograder.publisher import Publisher
from autograder.verdicts import Submission, SubmissionVerdict
from nutshell.wire.running import NOT_DONE, WRONG
from tests.autograder.published import grades, release_of, verdict
from tests.browser.driver import QUIET, SIZE, find_browser

LAB = "03_low_rank"
TOKEN = "formgrader"
SCRIPT = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
expect.set_options(timeout=60_000)
ANSWER = f'def truncate(weight, rank):\n    """{SCRIPT}"""\n    return weight'


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classroom with one submission, whose learner tries to run scripts."""
    folder = tmp_path_factory.mktemp("formgrader") / "room"
    classroom.make(folder, ("low_rank",))
    notebook = release_of(folder, LAB)
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "solution_truncate":
            cell["source"] = ANSWER
            cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"text/html": SCRIPT}}]
    notebook["cells"].append({"cell_type": "markdown", "id": "mine", "metadata": {}, "source": f"My thoughts {SCRIPT}"})
    place = folder / "submitted" / "ada" / LAB
    place.mkdir(parents=True)
    (place / f"{LAB}.ipynb").write_text(json.dumps(notebook))
    (place / "timestamp.txt").write_text("2026-03-01 12:30:00 UTC")
    publish(folder)
    return folder


def submission_of(room: Path) -> Submission:
    return intake.read(room, intake.read_lab(room, LAB), "ada")


def found() -> SubmissionVerdict:
    made = verdict(units.load("low_rank").unit, {"truncate": WRONG, "tucker2": NOT_DONE}, value=1.05)
    nasty = [check.__class__(**{**vars(check), "got": SCRIPT}) for check in made.exercises[2].checks]
    exercises = list(made.exercises)
    exercises[2] = exercises[2].__class__(**{**vars(exercises[2]), "checks": tuple(nasty)})
    return made.__class__(**{**vars(made), "exercises": tuple(exercises)})


def publish(room: Path) -> bool:
    chosen = settings.read(room / settings.FILE, [source.unit for source in units.chosen(())])
    work, result = submission_of(room), found()
    with Publisher(room, chosen) as writer:
        needed = writer.needed(work, result.key)
        if needed:
            writer.publish([(chosen.units[0], work, result)])
    return needed


@pytest.fixture(scope="module")
def page(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The list of submissions in formgrader; nothing from outside this machine is loaded."""
    with served(room) as address, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")), executable_path=find_browser(), args=QUIET, viewport=SIZE)
        try:
            page = context.pages[0]
            page.set_default_timeout(120_000)
            context.route(lambda url: not url.startswith((address, "file:", "data:")), lambda route: route.abort())
            page.goto(f"{address}/lab?token={TOKEN}", wait_until="commit")  # signs in
            page.goto(f"{address}/formgrader/gradebook/{LAB}/{LAB}")
            yield page
        finally:
            context.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """JupyterLab as an instructor starts it in the classroom."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = folder.parent / "home"
    own = {name: str(home) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "HOME")}
    path = {"PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root",
               f"--IdentityProvider.token={TOKEN}"]
    address = f"http://127.0.0.1:{port}"
    with (folder.parent / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | own | path)
        try:
            wait_for(f"{address}/api?token={TOKEN}", server, folder.parent / "server.log")
            yield address
        finally:
            server.terminate()
            server.wait(timeout=60)


def wait_for(address: str, server: subprocess.Popen, log: Path, patience: float = 180) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def open_submission(page: Page, room: Path) -> None:
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        which = book.find_submission_notebook(LAB, LAB, "ada").id
    page.goto(f"{page.url.split('/formgrader')[0]}/formgrader/submissions/{which}/")
    expect(page.locator("#check_truncate")).to_have_attribute("placeholder", "0")


def test_the_list_shows_the_marks_and_that_nothing_waits(page: Page) -> None:
    row = page.locator("tbody tr", has_text="Submission #1")
    expect(row).to_contain_text("9 / 16")
    assert page.locator("td.needs-manual-grade .glyphicon, .glyphicon-ok.needs-manual").count() == 0


def test_check_cells_show_marks_and_the_learner_s_tables_and_no_script_runs(page: Page, room: Path) -> None:
    open_submission(page, room)
    table = page.locator("table", has_text="truncate: 0 of 2 points")
    for said in ("✗ not yet right", "The square was left out.", "Square before you add.", SCRIPT):
        expect(table).to_contain_text(said)
    expect(page.locator("table", has_text="first_layer: 2 of 4 points")).to_contain_text("197,820.0")
    expect(page.get_by_role("img", name="measured 197,820.0, full marks up to 188,400.0")).to_be_visible()
    expect(page.locator("body")).to_contain_text(f"My thoughts {SCRIPT}")
    expect(page.locator(".highlight", has_text="def truncate")).to_contain_text(SCRIPT)
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0


def test_a_mark_and_a_comment_by_hand_are_saved_and_reach_the_learner(page: Page, room: Path) -> None:
    open_submission(page, room)
    page.locator("#solution_truncate-comment").fill(f"Nearly! {SCRIPT}")
    with page.expect_response(lambda response: "/api/comment/" in response.url and response.request.method == "PUT"):
        page.locator("#solution_truncate-comment").blur()
    page.locator("#check_truncate").fill("1.5")
    with page.expect_response(lambda response: "/api/grade/" in response.url and response.request.method == "PUT"):
        page.locator("#check_truncate").blur()
    open_submission(page, room)
    expect(page.locator("#solution_truncate-comment")).to_have_value(f"Nearly! {SCRIPT}")
    assert grades(room, LAB, "ada")["check_truncate"][:3] == (0, 1.5, 1.5)

    assert publish(room) and not publish(room)
    page.goto((room / "feedback" / "ada" / LAB / f"{LAB}.html").as_uri())
    expect(page.get_by_role("status")).to_contain_text("10.5 of 16 points")
    expect(page.locator("blockquote")).to_have_text(f"Nearly! {SCRIPT}")
    expect(page.locator("table", has_text="1 of 3 checks passed").first).to_contain_text("The square was left out.")
    assert page.evaluate("window.ran") is None
    expect(page.get_by_role("img").first).to_have_attribute("aria-label", "layer_bytes <here>: measured 197,820.0, "
                                                            "full marks up to 188,400.0, none from 207,240.0")
