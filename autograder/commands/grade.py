"""``nutshell grade DIR``: grade a classroom's submissions, isolated and in parallel."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from autograder.grading import Summary


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--assignment", "assignments", metavar="UNIT", multiple=True, help="Only this unit; may be repeated.")
@click.option("--students", metavar="A,B", default="", help="Only these students.")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Processes; one a core if left out.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers grade, such as tcp://host:8786.")
@click.option(
    "--isolation",
    "level",
    type=click.Choice(["bubblewrap", "container", "process"]),
    help="How learners' code is kept apart; the best that works here if left out. \"process\" is no sandbox: its marks "
    "are untrusted, and it has to be asked for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def grade(
    folder: Path,
    assignments: tuple[str, ...],
    students: str,
    workers: int | None,
    scheduler: str | None,
    level: str | None,
    as_json: bool,
) -> None:
    """Grade what lies in DIR/submitted, and write marks, feedback and autograded notebooks.

    Learners' code runs in a sandbox that holds neither checks nor answers; the judge outside asks it, one call at a
    time. Budgets are recounted from the .nut files. Marks go into nbgrader's gradebook, feedback into DIR/feedback.
    What was graded before isn't graded again: stop it whenever you like, and run it again.

    \b
    Ends with 0 when every submission is graded, 1 when one was refused (its feedback says why), 2 for wrong use,
    3 for the grader's own trouble, which never costs a learner a mark.

    \b
    Examples:
      nutshell grade my-course
      nutshell grade my-course --assignment low_rank --students ada,ben
      nutshell grade my-course --scheduler tcp://10.0.0.7:8786
    """
    import json

    if not as_json and sys.stderr.isatty():
        click.echo("Getting ready; the first verdict takes some seconds.", err=True)
    if scheduler is None:
        from autograder import early

        early.begin()
    from autograder.grading import grade as run

    names = {name.strip() for name in students.split(",") if name.strip()}
    try:
        summary = run(
            folder, assignments=assignments, students=names, workers=workers, scheduler=scheduler, level=level
        )
    except KeyboardInterrupt:
        click.echo("Stopped. What was graded is kept; the same command goes on from here.", err=True)
        raise click.exceptions.Exit(130) from None
    if as_json:
        click.echo(json.dumps(summary.as_data()))
    else:
        _show(folder, summary)
    if summary.trouble or summary.refused:
        raise click.exceptions.Exit(3 if summary.trouble else 1)


def _show(folder: Path, summary: "Summary") -> None:
    from rich.console import Console
    from rich.markup import escape as without_markup
    from rich.table import Table

    def escape(text: str) -> str:  # names of folders and files may hold what a terminal would obey
        return without_markup("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))

    console = Console()
    together: dict[str, list[float]] = {}
    for mark in summary.marks:
        together.setdefault(mark["assignment"], []).append(mark["points"] / (mark["possible"] or 1))
    if together:
        table = Table(title="Marks", title_justify="left")
        for column in ("assignment", "submissions", "mean", "full marks", "no marks"):
            table.add_column(column, justify="left" if column == "assignment" else "right")
        for name, shares in together.items():
            full, none = sum(share >= 1 for share in shares), sum(share <= 0 for share in shares)
            mean = f"{100 * sum(shares) / len(shares):.0f} %"
            table.add_row(name, str(len(shares)), mean, str(full), str(none))
        console.print(table)
    for (student, assignment), reason in sorted(summary.refused.items()):
        console.print(f"[bold]Not graded:[/] {escape(student)}, {assignment}: {escape(reason)}")
    for (student, assignment), reason in sorted(summary.trouble.items()):
        console.print(f"[bold]Not graded, by no fault of theirs:[/] {escape(student)}, {assignment}: {escape(reason)}")
    for flag in summary.flags:
        console.print(
            f"[bold]Have a look:[/] {escape(flag['student'])}, {flag['assignment']}, {escape(flag['about'])}: "
            f"{flag['kind']}. {escape(flag['words'])}"
        )
    if summary.isolation == "process":
        console.print("[bold]These marks are untrusted:[/] learners' code ran without a sandbox, as you asked.")
    rate = f", {60 * summary.graded / summary.seconds:.0f} a minute" if summary.graded else ""
    console.print(
        f"{summary.graded} graded now ({summary.isolation}{rate}), {summary.known} graded before, "
        f"{summary.published} put into gradebook and feedback, in {summary.seconds:.1f} s. "
        f"The class at a glance: nutshell report {folder}"
    )
