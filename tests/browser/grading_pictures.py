"""Take the pictures of the instructor's page: formgrader, a learner's feedback and the report, of the demo's class.

    python -m tests.browser.grading_pictures [FOLDER]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from nbgrader.api import Gradebook
from playwright.sync_api import Page, sync_playwright

from autograder import demo
from tests.browser.driver import QUIET, find_browser
from tests.browser.test_course import ROOT
from tests.browser.test_formgrader import TOKEN, served

LAB = "03_low_rank"
WINDOW = {"width": 1100, "height": 800}


def main(folder: Path) -> None:
    """Write ``formgrader.png``, ``feedback.png`` and ``report.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        room = Path(place) / "room"
        demo.run(room, ("low_rank",))
        command = Path(sys.executable).parent / "nutshell"
        subprocess.run([str(command), "report", str(room)], check=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=QUIET)
            page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
            page.goto((room / "feedback" / demo.PARTLY / LAB / f"{LAB}.html").as_uri())
            take(page, folder / "feedback.png")
            page.goto((room / "report.html").as_uri())
            take(page, folder / "report.png")
            with served(room) as address:
                page.goto(f"{address}/lab?token={TOKEN}", wait_until="commit")  # signs in
                page.goto(f"{address}/formgrader/submissions/{submission(room)}/")
                page.locator("#check_break_even_rank").scroll_into_view_if_needed()
                page.wait_for_timeout(2000)
                take(page, folder / "formgrader.png")
            browser.close()


def submission(room: Path) -> str:
    """nbgrader's number of the submission that is partly wrong."""
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        return str(book.find_submission_notebook(LAB, LAB, demo.PARTLY).id)


def take(page: Page, file: Path) -> None:
    """Save what the window shows."""
    page.screenshot(path=str(file))
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures")
