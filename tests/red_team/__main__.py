"""``python -m tests.red_team``: hand in every attack and every control, grade them in one run, print the table."""

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from tests.red_team import table
from tests.red_team.catalogue import ATTACKS, CONTROLS


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--isolation",
    "level",
    type=click.Choice(["bubblewrap", "container", "process"]),
    help="The best that works here if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--wrong", is_flag=True, help="Only rows that aren't as wanted.")
def main(names: tuple[str, ...], level: str | None, as_json: bool, wrong: bool) -> None:
    """Grade attacks and controls, or those with one of NAMES in name or class; 1 if one isn't as wanted."""
    chosen = [
        attack
        for attack in [*ATTACKS, *CONTROLS]
        if not names or any(name in f"{attack.group}: {attack.name}" for name in names)
    ]
    if not chosen:
        raise click.UsageError(f"No attack is called anything like {', '.join(names)}.")
    with tempfile.TemporaryDirectory(prefix="nutshell-red-team-", ignore_cleanup_errors=True) as place:
        found = table.run(Path(place), chosen, level)
    if as_json:
        print(json.dumps(found.as_data()))
    else:
        show(found, wrong)
    sys.exit(0 if found.as_wanted else 1)


def show(found: table.Table, wrong: bool = False) -> None:
    """Print the table for people."""
    if found.trouble:
        Console().print(escape(found.trouble))
        return
    grid = Grid(title="Attacks and controls", title_justify="left")
    for column in ("class", "attack", "verdict", "wanted", "as wanted"):
        grid.add_column(column)
    group = ""
    for row in found.rows:
        if wrong and not row.faults:
            continue
        new = row.attack.group if row.attack.group != group else ""
        group = row.attack.group
        grid.add_row(
            new,
            escape(f"{row.attack.name}: {row.attack.words}"),
            row.verdict,
            " or ".join(row.attack.wanted),
            escape("; ".join(row.faults)) or "yes",
        )
    console = Console()
    console.print(grid)
    good = sum(not row.faults for row in found.rows)
    console.print(
        f"{good} of {len(found.rows)} as wanted, graded in {found.seconds:.0f} s, limited by {found.limited_by}. "
        f"Left behind: {escape('; '.join(found.left)) or 'nothing'}."
    )


if __name__ == "__main__":
    main()
