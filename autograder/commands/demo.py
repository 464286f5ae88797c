"""``nutshell demo``: the round trip on made-up submissions."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from autograder.demo import Report


@click.command()
@click.argument("folder", metavar="[DIR]", default="demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--units", "wanted", metavar="A,B", default="", help="Units for a new classroom; all if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(folder: Path, wanted: str, as_json: bool) -> None:
    """Make a classroom in DIR, hand in for three made-up students, grade them and show marks, budgets and feedback.

    What was graded before is not graded again, so that a second run takes seconds.

    \b
    Examples:
      nutshell demo
      nutshell demo /tmp/try --units low_rank
    """
    import json

    from autograder.demo import run

    report = run(folder, tuple(name.strip() for name in wanted.split(",") if name.strip()))
    if as_json:
        click.echo(json.dumps(report.as_data()))
    else:
        _show(report)


def _show(report: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    from autograder.demo import STUDENTS
    from nutshell.wire.running import NOT_DONE

    console = Console()
    table = Table(title="Marks", title_justify="left")
    table.add_column("unit")
    table.add_column("exercise or budget")
    for student, what in STUDENTS.items():
        table.add_column(f"{student}\n({what})", justify="right")
    points = {(mark.unit, mark.name, mark.student): mark for mark in report.marks}
    for unit in dict.fromkeys(mark.unit for mark in report.marks):
        names = list(dict.fromkeys(mark.name for mark in report.marks if mark.unit == unit))
        for name in names:
            row = [points[unit, name, student] for student in STUDENTS]
            table.add_row(unit, name, *(f"{mark.points:.4g} / {mark.possible:g}" for mark in row))
        totals = [
            [mark for mark in report.marks if (mark.unit, mark.student) == (unit, student)] for student in STUDENTS
        ]
        sums = (f"{sum(m.points for m in marks):.4g} / {sum(m.possible for m in marks):g}" for marks in totals)
        table.add_row(unit, "together", *sums, style="bold", end_section=True)
    console.print(table)
    budgets = Table(title="Budgets, measured by the grader", title_justify="left")
    for column in ("student", "budget", "measured", "value", "limit", "share left"):
        budgets.add_column(column)
    for budget in report.budgets:
        for row in budget["rows"]:
            numbers = (f"{row['value']:,.6g}", f"{row['limit']:,.6g}", f"{100 * row['share']:.0f} %")
            budgets.add_row(budget["student"], budget["name"], row["metric"], *numbers)
        if budget["reason"]:
            words = "not handed in" if budget["status"] == NOT_DONE else f"refused: {budget['reason']}"
            budgets.add_row(budget["student"], budget["name"], words, "", "", "")
    if report.budgets:
        console.print(budgets)
    for data in sorted({budget["data"] for budget in report.budgets if "stand-in" in budget["data"]}):
        click.echo(f"Budgets were measured on {data}: this machine lacks the real data, so these numbers mean nothing.")
    click.echo(f"{report.graded} submissions were graded now ({report.isolation}). Feedback, to open in a browser:")
    for path in report.feedback:
        click.echo(f"  {path}")
    click.echo(
        f"The classroom itself is {report.folder}; {report.folder / 'README.txt'} says what can be done with it."
    )
