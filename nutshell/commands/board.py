"""``nutshell board``: where do my networks stand beside the course's own?"""

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE.nut]…")
@click.option("--data", metavar="NAME", default="mnist", show_default=True, help="Whose images they read.")
@click.option("--part", type=click.Choice(["validation", "test"]), default="validation", show_default=True,
              help="Which of its images.")
@click.option("--own", is_flag=True, help="Leave the course's entries out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def board(files: tuple[Path, ...], data: str, part: Literal["validation", "test"], own: bool, as_json: bool) -> None:
    """Rank .nut files beside the course's reference entries: bytes, energy, errors, and the contest's score.

    For study on one's own; a class has nutshell leaderboard and nutshell report.

    \b
    Examples:
      nutshell board
      nutshell board my_labs/13_in_a_nutshell/in_a_nutshell.nut
      nutshell board my_labs/*/*.nut --part test
    """
    import json

    from nutshell.board import standing

    found = standing(files, data=data, part=part, course=not own)
    click.echo(json.dumps(found.as_data()) if as_json else str(found))
