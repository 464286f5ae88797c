"""``nutshell report DIR``: the class report as one HTML page, and the marks as CSV."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--assignment", metavar="UNIT", default="", help="Only this unit; all of the classroom's if left out.")
@click.option("--hide-names", is_flag=True, help="Replace names by pseudonyms, in everything that is written.")
@click.option(
    "--output",
    metavar="FILE.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="DIR/report.html if left out.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE.csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Beside the page if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report's data as one JSON object too.")
def report(
    folder: Path, assignment: str, hide_names: bool, output: Path | None, csv_file: Path | None, as_json: bool
) -> None:
    """Write a class report about DIR: marks, what went wrong and why, budgets, who is missing, what to talk about.

    One HTML page, which needs neither network nor script, and a CSV that spreadsheets open. It is for instructors: it
    shows what hidden checks say. Nothing in DIR is changed but these two files.

    \b
    Examples:
      nutshell report my-course
      nutshell report my-course --assignment low_rank --hide-names --output slides.html
    """
    import json

    from autograder.class_board import boards
    from autograder.class_page import write
    from autograder.class_report import gather

    found = gather(folder, assignment, hide_names=hide_names)
    output = output or folder / "report.html"
    csv_file = csv_file or output.with_suffix(".csv")
    write(found, output, csv_file)
    if as_json:
        click.echo(json.dumps({**found.as_data(), "leaderboards": [board.as_data() for board in boards(found)]}))
        return
    for lab in found.labs:
        counts = ", ".join(f"{count:,} {state}" for state, count in lab.counts.items() if count)
        click.echo(f"{lab.assignment}: {counts or 'nobody yet'}")
        for head, words in lab.talk:
            click.echo(f"  {head}: {words}")
    click.echo(f"The report, to open in a browser: {output}")
    click.echo(f"All marks, for a spreadsheet:      {csv_file}")
