"""``nutshell leaderboard FOLDER``: who in the room has the smallest network inside the limit?"""

from pathlib import Path

import click

SECONDS = 3  # between two looks at the folder, and between two loads of the page


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option("--unit", "name", metavar="UNIT", default="workshop", show_default=True, help="Whose first budget it is.")
@click.option("--hide-names", is_flag=True, help="Replace names by pseudonyms.")
@click.option("--final", is_flag=True, help="Measure on the test images; the validation images if left out.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl+C, and renew the page whenever a file comes.")
@click.option("--output", metavar="FILE.html", type=click.Path(dir_okay=False, path_type=Path),
              help="FOLDER/leaderboard.html if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object too.")
def leaderboard(
    folder: Path, name: str, hide_names: bool, final: bool, watch: bool, output: Path | None, as_json: bool
) -> None:
    """Write a page with accuracy against bytes of all .nut files below FOLDER, and their ranking.

    A file directly in FOLDER is called by its own name (ada.nut), others by the folder that they lie in; a classroom's
    submitted/ is understood too. Every file is decoded and measured here. While people work, validation images decide;
    --final shows the test images, once.

    \b
    Examples:
      nutshell leaderboard ~/shared/room --watch --hide-names
      nutshell leaderboard ~/shared/room --final
      nutshell leaderboard my-course --final
    """
    import json
    import time

    from autograder import leaderboard as boards
    from autograder import units
    from nutshell.errors import WrongUse

    unit = units.load(name).unit
    if not unit.budgets:
        raise WrongUse(f"The unit {unit.name} has no budget, so nothing is handed in for it.")
    part: boards.Part = "test" if final else "validation"
    room = boards.Room(folder, unit.budgets[0], part, _seed(folder) if hide_names else None)
    output = output or folder / "leaderboard.html"
    before = None
    while True:
        stamp = room.stamp()
        if stamp != before:
            board, before = room.board(), stamp
            boards.write(boards.page(board, room.budget, part, SECONDS if watch else 0), output)
            first = board.entries[0] if board.entries else None
            leads = f"; {first.name} leads with {first.bytes:,} bytes" if first else ""
            click.echo(f"{len(board.entries)} measured, {len(board.refused)} refused{leads}. {output}", err=as_json)
            if as_json:
                click.echo(json.dumps(boards.as_data(board)))
        if not watch:
            return
        try:
            time.sleep(SECONDS)
        except KeyboardInterrupt:
            return


def _seed(folder: Path) -> int:
    """What decides the pseudonyms: a classroom's secret, else one drawn for this call."""
    import secrets

    from autograder import classroom

    return classroom.seed(folder) if (folder / classroom.SEED).is_file() else secrets.randbits(128)
