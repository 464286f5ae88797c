"""``nutshell classroom``: a ready nbgrader course directory."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--units", "wanted", metavar="A,B", default="", help="Units to hand out in a new classroom; all if left out."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def classroom(folder: Path, wanted: str, as_json: bool) -> None:
    """Make DIR a course directory for nbgrader, or bring it up to date.

    Run it again after editing DIR/classroom.toml: units, exercises, points, limits and deadlines take effect, and
    submissions and marks stay as they are.

    \b
    Examples:
      nutshell classroom my-course
      nutshell classroom my-course --units low_rank,counting
    """
    import json

    from autograder.classroom import make

    made = make(folder, tuple(name.strip() for name in wanted.split(",") if name.strip()))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "folder": str(made.folder),
                    "released": made.released,
                    "unchanged": made.unchanged,
                    "notes": made.notes,
                }
            )
        )
        return
    for name in made.released:
        click.echo(f"released {folder / 'release' / name}")
    for name in made.unchanged:
        click.echo(f"unchanged {name}")
    for note in made.notes:
        click.echo(note)
    click.echo(f"The classroom {folder} is ready; {folder / 'README.txt'} has the commands.")
