"""How JupyterLab is started; tests/browser opens it for real."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nutshell.commands import lab
from nutshell.errors import Trouble


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("course", "labs", "solutions", "autograder", "labs/03_low_rank"):
        (tmp_path / folder).mkdir()
    (tmp_path / "labs" / "03_low_rank" / "03_low_rank.ipynb").write_text('{"cells": []}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hidden(command: list[str]) -> set[str]:
    return {part.partition("=")[2] for part in command if part.startswith("--ContentsManager.hide_globs=")}


def test_a_learner_sees_lessons_and_own_labs_only(course: Path) -> None:
    names = hidden(lab.server_command(course, 8888, everything=False))
    assert names >= {"solutions", "autograder", "labs", "text", "__pycache__"}
    assert not names & {"course", "my_labs", "README.md"}
    assert hidden(lab.server_command(course, 8888, everything=True)) == set()


def test_the_server_is_this_python_at_the_course_with_further_options_last(course: Path) -> None:
    command = lab.server_command(course, 9000, False, ("--ip=0.0.0.0",))
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert {"--port=9000", f"--ServerApp.root_dir={course}", "--no-browser"} <= set(command)
    assert command[-1] == "--ip=0.0.0.0"


def test_kernels_are_this_python_and_the_token_stays_out_of_the_command_line(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/theirs")
    environment = lab.server_environment("secret")
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert environment["JUPYTER_TOKEN"] == "secret"
    learner, ours, theirs = environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert theirs == "/theirs"
    assert json.loads((Path(ours) / "labconfig" / "default_setting_overrides.json").read_text())
    page = json.loads((Path(learner) / "labconfig" / "page_config.json").read_text())
    assert page["disabledExtensions"] == {"@jupyter/nbgrader": True}
    assert learner not in lab.server_environment("secret", everything=True)["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert "secret" not in " ".join(lab.server_command(course, 8888, False))


def test_a_server_that_does_not_come_up_is_trouble_and_labs_are_ready_all_the_same(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "server_command", lambda *given: [sys.executable, "-c", "import sys; sys.exit(5)"])
    result = CliRunner().invoke(lab.lab, ["--no-browser"])
    assert isinstance(result.exception, Trouble)
    assert "exit code 5" in str(result.exception) and "nutshell doctor" in str(result.exception)
    assert (course / "my_labs" / "03_low_rank" / "03_low_rank.ipynb").exists()
    page = (course / "my_labs" / "START_HERE.md").read_text()
    assert "(03_low_rank/03_low_rank.ipynb)" in page


@pytest.mark.parametrize(("variables", "platform", "shown"), [
    ({"DISPLAY": ":0"}, "linux", True),
    ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
    ({"DISPLAY": ":10", "SSH_CONNECTION": "a b"}, "linux", False),
    ({}, "linux", False),
    ({}, "darwin", True),
    ({}, "win32", True),
])
def test_a_browser_is_opened_only_where_it_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], platform: str, shown: bool
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert lab.has_display() is shown
