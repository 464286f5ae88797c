"""The command line finds the data that set-up laid out, names its commands, and ends with the right exit codes."""

import sys

import click
import pytest

from nutshell import cli
from nutshell.errors import Refused, Trouble, WrongUse


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Run ``nutshell`` with a command that keeps the data folder it was given."""
    seen = []

    @click.command()
    def look():
        import os

        seen.append(os.environ.get("NUTSHELL_DATA"))

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["nutshell", "look"])
    monkeypatch.setattr(cli.Commands, "get_command", lambda self, context, name: look)
    monkeypatch.setenv("NUTSHELL_DATA", "")
    monkeypatch.delenv("NUTSHELL_DATA")
    return seen


def run_main() -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main()
        raise SystemExit(0)
    return int(ended.value.code or 0)


def test_data_laid_out_beside_the_packages_are_found_in_every_terminal(told, tmp_path):
    assert run_main() == 0
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    assert run_main() == 0
    assert told == [None, str(tmp_path / "data")]


def test_a_folder_that_is_named_comes_first(told, tmp_path, monkeypatch):
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("NUTSHELL_DATA", "/mine")
    assert run_main() == 0
    assert told == ["/mine"]


@pytest.mark.parametrize(("error", "code"), [(Refused("no"), 1), (WrongUse("what?"), 2), (Trouble("alas"), 3)])
def test_errors_for_people_have_no_traceback_and_their_own_exit_code(told, monkeypatch, capsys, error, code):
    @click.command()
    def fail():
        raise error

    monkeypatch.setattr(cli.Commands, "get_command", lambda self, context, name: fail)
    assert run_main() == code
    assert capsys.readouterr().err == f"Error: {error}\n"


def test_an_unknown_command_is_wrong_use(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nutshell", "no-such-command"])
    assert run_main() == 2
