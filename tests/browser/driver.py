"""Open notebooks in JupyterLab in a real browser, as a learner does, and run them top to bottom.

By hand, with a picture of every screenful:

    python -m tests.browser.driver course/03_low_rank.ipynb my_labs/03_low_rank/03_low_rank.ipynb --pictures DIR
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, ViewportSize, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = [  # a browser that asks nothing and calls nobody
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]
SIZE: ViewportSize = {"width": 1400, "height": 1000}
RUN = """async (path) => {
    const app = window.jupyterapp;
    await app.restored;
    const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
    await panel.context.ready;
    await panel.sessionContext.ready;
    app.shell.activateById(panel.id);
    await app.commands.execute('notebook:run-all-cells');
    return panel.content.model.sharedModel.toJSON().cells;
}"""


@dataclass
class Ran:
    """A notebook that was run in the browser.

    Attributes
    ----------
    path : str
        Of the notebook, below the course.
    cells : list of dict
        As in the notebook's file, with their outputs.
    seconds : float
        From opening it to the last cell's end, the kernel's start included.
    broken_widgets : int
        Widgets that the browser could not draw.
    """

    path: str
    cells: list[dict[str, Any]]
    seconds: float
    broken_widgets: int

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """All outputs, in order."""
        return [output for cell in self.cells for output in cell.get("outputs", [])]

    @property
    def errors(self) -> list[str]:
        """What was raised, and how many widgets are broken; empty if all went well."""
        raised = [f"{o['ename']}: {o['evalue']}" for o in self.outputs if o["output_type"] == "error"]
        not_run = [c for c in self.cells if c["cell_type"] == "code" and "".join(c["source"]).strip()
                   and c.get("execution_count") is None]
        if not_run:
            raised.append(f"{len(not_run)} code cells were not run")
        if self.broken_widgets:
            raised.append(f"{self.broken_widgets} widgets could not be drawn")
        return raised


@dataclass
class Browser:
    """JupyterLab in a browser; made by :func:`open_course`."""

    page: Page
    start: str
    console: list[str] = field(default_factory=list)
    front: str = ""

    def run(self, path: str) -> Ran:
        """Open the notebook in a tab of its own and run all its cells."""
        begin = time.monotonic()
        self.front = path
        cells = self.page.evaluate(RUN, path)
        seconds = time.monotonic() - begin
        self.page.wait_for_timeout(500)  # pictures and widgets are drawn after the kernel is done
        broken = self.page.locator(".jupyter-widgets-error-widget, .jp-RenderedHTMLCommon :text('Error displaying')")
        return Ran(path, cells, seconds, broken.count())

    def bring_to_front(self) -> None:
        """Show nothing but the notebook that was run last."""
        self.page.evaluate(
            "async path => {await window.jupyterapp.commands.execute('docmanager:open', {path})}", self.front)
        self.page.evaluate("window.jupyterapp.commands.execute('application:set-mode', {mode: 'single-document'})")

    def pictures(self, folder: Path, name: str, most: int = 40) -> list[Path]:
        """Save every screenful of the notebook that was run last as ``name_01.png``, ``name_02.png``, …"""
        folder.mkdir(parents=True, exist_ok=True)
        self.bring_to_front()
        scroller = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer").first
        saved = []
        for number in range(most):
            at_end = scroller.evaluate(
                "(e, n) => {e.scrollTop = n * (e.clientHeight - 40); return e.scrollTop + e.clientHeight + 2 >="
                " e.scrollHeight}", number)
            self.page.wait_for_timeout(400)
            saved.append(folder / f"{name}_{number + 1:02d}.png")
            self.page.screenshot(path=str(saved[-1]))
            if at_end:
                break
        return saved


@contextmanager
def open_course(course: Path, patience: float = 180) -> Iterator[Browser]:
    """Start ``nutshell lab`` in the folder of a course, open the address that it prints, and close both in the end.

    Parameters
    ----------
    course : Path
        A folder with ``course/`` or ``labs/``.
    patience : float
        Seconds that any one step in the browser may take.
    """
    with _server(course) as address, tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=find_browser(), args=QUIET, viewport=SIZE, headless=True)
        try:
            page = context.pages[0] if context.pages else context.new_page()
            page.set_default_timeout(patience * 1000)
            browser = Browser(page, address)
            page.on("console", lambda message: browser.console.append(message.text))
            page.goto(address)
            page.wait_for_function("window.jupyterapp !== undefined")
            page.evaluate("async () => {await window.jupyterapp.restored}")
            yield browser
        finally:
            context.close()


def find_browser() -> str:
    """Return the path of a Chromium; without one the tests fail and say what to install."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise FileNotFoundError("No Chromium is here. On Debian and Ubuntu: sudo apt install chromium")


@contextmanager
def _server(course: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nutshell", "lab", "--no-browser", f"--port={port}", "--",
               "--LabApp.expose_app_in_browser=True"]
    with tempfile.TemporaryDirectory() as home:  # not this person's own settings and open tabs
        own = {name: home for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
        server = subprocess.Popen(command, cwd=course, stdout=subprocess.PIPE, text=True, env=os.environ | own)
        try:
            yield _printed_address(server)
        finally:
            server.terminate()
            server.wait(timeout=60)


def _printed_address(server: subprocess.Popen) -> str:
    printed = []
    for line in server.stdout or ():
        printed.append(line)
        if "http://" in line:
            return line.strip()
    raise AssertionError("nutshell lab printed no address:\n" + "".join(printed))


def main() -> int:
    """Run notebooks of the course in this folder and say how it went; exit code 1 if one raised."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="+", help="below the current folder, which is the course's")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of every screenful")
    asked = parser.parse_args()
    failed = False
    with open_course(Path.cwd(), patience=600) as browser:
        for notebook in asked.notebooks:
            ran = browser.run(notebook)
            print(f"{notebook}: {ran.seconds:.1f} s, {'; '.join(ran.errors) or 'no errors'}")
            failed |= bool(ran.errors)
            if asked.pictures:
                for picture in browser.pictures(asked.pictures, Path(notebook).stem):
                    print(f"  {picture}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
