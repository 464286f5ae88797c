"""``nutshell lab``: open JupyterLab at the course, with the learner's own copies of the labs."""

import os
import secrets
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import click

from nutshell.errors import Trouble
from nutshell.workspace import START, copy_labs, find_course, write_start

SHOWN = ("course", "my_labs", "solved", "README.md")  # what the file browser lists; the rest is the workshop behind
HIDDEN_BELOW = ("text",)  # the lessons' sources, in course/
PATIENCE = 120  # seconds until a server that has not come up is given up


@click.command()
@click.option("--no-browser", is_flag=True, help="Only print the address; so it is on machines without a display.")
@click.option("--port", type=click.IntRange(1, 65535), default=8888, show_default=True,
              help="Where to listen; the next free port is taken if this one is in use.")
@click.option("--everything", is_flag=True, help="List all of the project's files, for authors and instructors.")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
def lab(no_browser: bool, port: int, everything: bool, jupyter: tuple[str, ...]) -> None:
    """Open JupyterLab at the course.

    Lessons are in course/. Labs are written in my_labs/, your own copies: they are made on first opening and never
    written over, and a newer release of a lab arrives beside your work. What stands after -- goes to JupyterLab.

    \b
    Examples:
      nutshell lab
      nutshell lab --no-browser --port 9000
      nutshell lab -- --ip=0.0.0.0          reachable from outside, for containers
    """
    course = find_course()
    copies = copy_labs(course)
    for copy in copies:
        if copy.message:
            click.echo(copy.message)
    write_start(course, copies)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    server = subprocess.Popen(
        server_command(course, port, everything, jupyter), env=server_environment(token, everything), cwd=course
    )
    before = signal.signal(signal.SIGTERM, _stop_on_signal)
    try:
        url = address(_running_server(server, token))
        _announce(url)
        if not no_browser and has_display():
            webbrowser.open(url)
        code = server.wait()
    except KeyboardInterrupt:  # Control-C reaches the server too, and it stops its kernels
        code = 0
        click.echo("\nStopping JupyterLab.")
    finally:
        _stop(server)
        signal.signal(signal.SIGTERM, before)
    if code:
        raise Trouble(f"JupyterLab ended with exit code {code}; its own messages are above.")


def server_command(course: Path, port: int, everything: bool, further: tuple[str, ...] = ()) -> list[str]:
    """Return the command line that starts JupyterLab with this Python at the course.

    Parameters
    ----------
    course : Path
        The folder to serve.
    port : int
        Where to listen; JupyterLab takes the next free one if it is in use.
    everything : bool
        List all files, or only what a learner needs.
    further : tuple of str
        More options for JupyterLab.
    """
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", f"--ServerApp.root_dir={course}",
        "--ServerApp.answer_yes=True",  # Control-C stops it without a question
        "--log-level=ERROR", "--LabApp.log_level=ERROR",
        "--LabApp.extension_manager=readonly",  # no catalogue of extensions fetched from the network
    ]
    if os.name == "posix" and os.geteuid() == 0:
        command.append("--allow-root")  # containers run as root, and the server listens to this machine only
    if not everything:
        hidden = {path.name for path in course.iterdir() if path.name not in SHOWN} | set(HIDDEN_BELOW)
        hidden |= {"__pycache__", "*.pyc", ".DS_Store", "*~"}  # what Jupyter hides by itself
        command += [f"--ContentsManager.hide_globs={name}" for name in sorted(hidden)]
    return [*command, *further]


def server_environment(token: str, everything: bool = False) -> dict[str, str]:
    """Return the environment in which kernels are this Python's and its programs are found first.

    Parameters
    ----------
    token : str
        The word that opens the server; in the environment and not in the command line, which others can read.
    everything : bool
        Whether the instructor's menus are shown too.
    """
    environment = dict(os.environ)
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = programs + os.pathsep + environment.get("PATH", "")
    environment["JUPYTER_TOKEN"] = token
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"  # this Python's kernel before one of the same name in the home folder
    settings = Path(__file__).resolve().parents[1] / "jupyter"
    folders = [str(settings)] if everything else [str(settings / "learner"), str(settings)]
    before = environment.get("JUPYTER_CONFIG_PATH")
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join([*folders, before] if before else folders)
    return environment


def address(server: dict[str, Any]) -> str:
    """Return where to point a browser, from what a running server says of itself.

    Examples
    --------
    >>> address({"url": "http://localhost:8888/", "token": "abc"})
    'http://localhost:8888/lab/tree/my_labs/START_HERE.md?file-browser-path=/&token=abc'
    """
    return f"{server['url']}lab/tree/{quote(START)}?file-browser-path=/&token={server['token']}"


def has_display() -> bool:
    """Whether a browser that is opened here would be seen by the person who typed the command."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and "SSH_CONNECTION" not in os.environ


def _running_server(process: subprocess.Popen, token: str) -> dict[str, Any]:
    """Wait until the server says where it listens, in Jupyter's own list of running servers."""
    from jupyter_server.serverapp import list_running_servers

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for server in list_running_servers():
            if server["token"] == token or server["pid"] == process.pid:
                return server
        if process.poll() is not None:
            raise Trouble(f"JupyterLab did not start (exit code {process.returncode}); its own messages are above. "
                          "What is missing, and what mends it: nutshell doctor")
        time.sleep(0.2)
    raise Trouble(f"JupyterLab did not start within {PATIENCE} s; its own messages are above.")


def _announce(url: str) -> None:
    port = url.split("/")[2].rpartition(":")[2]
    click.echo(f"\nJupyterLab is open at the course:\n\n    {url}\n")
    click.echo(f"From another machine:  ssh -L {port}:localhost:{port} this-machine  and then the same address there.")
    click.echo("Control-C stops it.")
    sys.stdout.flush()


def _stop_on_signal(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(server: subprocess.Popen) -> None:
    """Give the server time to end its kernels, then end it."""
    try:
        if server.poll() is None:
            server.terminate()
            server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
