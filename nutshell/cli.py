"""The command line: ``nutshell COMMAND``. Commands are entry points and are imported only when they are called."""

import os
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click

from nutshell import __version__
from nutshell.errors import NutshellError


class Commands(click.Group):
    """The commands that are installed here, from the entry points ``nutshell.commands``."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_installed())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = _installed().get(name)
        if found is None:
            return None
        try:
            return found.load()
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("autograder", "solutions"):
                return None  # a learner's bundle has the learner's commands only
            raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nutshell")
def nutshell() -> None:
    """Neural networks in a nutshell: the course, its labs and its grader.

    \b
    Examples:
      nutshell lab                      open JupyterLab at the course
      nutshell check my_labs/03_low_rank/03_low_rank.ipynb
      nutshell measure network.nut --json
      nutshell classroom my-course      an nbgrader course, ready to hand out

    \b
    Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 the grader's or the machine's own trouble.
    """


def main() -> None:
    """Run the command line; errors made for people are printed without a traceback."""
    for root in (Path(sys.prefix), Path(__file__).resolve().parents[1]):  # where set-up lays archives out; a bundle
        if (root / "data" / "mnist").is_dir():
            os.environ.setdefault("NUTSHELL_DATA", str(root / "data"))
    try:
        outcome = nutshell(standalone_mode=False)  # a command that ends with Exit has its code returned here
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except NutshellError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(outcome if isinstance(outcome, int) else 0)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="nutshell.commands")}
