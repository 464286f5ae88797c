"""``nutshell mutants``: do the checks reject wrong answers and accept right ones?"""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from autograder.answers import Outcome


@click.command()
@click.argument("units", nargs=-1, metavar="[UNIT]…")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--wrong", is_flag=True, help="Show only what isn't as it should be.")
@click.option("--messages", is_flag=True, help="Show what each wrong answer is told.")
@click.option("--sandbox", is_flag=True, help="Also grade each as a learner's cell, in a sandbox.")
def mutants(units: tuple[str, ...], as_json: bool, wrong: bool, messages: bool, sandbox: bool) -> None:
    """Run every mutant and every alternative of the units, directly and over the wire.

    Exit 1 if a mutant survives, an alternative is refused, or an exercise has fewer of them than it must.

    \b
    Examples:
      nutshell mutants
      nutshell mutants low_rank --messages
      nutshell mutants --sandbox
    """
    import json
    from contextlib import nullcontext

    from tqdm import tqdm

    from autograder import isolation
    from autograder import units as sources
    from autograder.answers import judge_all, too_few
    from autograder.sandbox import Sandbox

    chosen = sources.chosen(units)
    number = sum(len(source.answers()) for source in chosen)
    with Sandbox(isolation.choose(None)) if sandbox else nullcontext() as box:
        outcomes = list(tqdm(judge_all(chosen, box), total=number, desc="Answers", leave=False, disable=None))
    short = [line for source in chosen for line in too_few(source)]
    bad = [outcome for outcome in outcomes if not outcome.as_wanted]
    if as_json:
        click.echo(json.dumps({"answers": [outcome.as_data() for outcome in outcomes], "too_few": short}))
    else:
        _print_table(bad if wrong else outcomes, messages or wrong)
        for line in short:
            click.echo(line, err=True)
        killed = sum(outcome.as_wanted and not outcome.right for outcome in outcomes)
        accepted = sum(outcome.as_wanted and outcome.right for outcome in outcomes)
        right = sum(outcome.right for outcome in outcomes)
        click.echo(f"{killed} of {number - right} mutants rejected, {accepted} of {right} alternatives accepted.")
    if bad or short:
        raise click.exceptions.Exit(1)


def _print_table(outcomes: "list[Outcome]", messages: bool) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for unit, exercise in dict.fromkeys((outcome.unit, outcome.exercise) for outcome in outcomes):
        table = Table(title=f"{unit} · {exercise}", title_justify="left", expand=True, box=SIMPLE)
        table.add_column("answer", ratio=1, overflow="fold")
        columns = ("kind", "directly", "over the wire", "in the sandbox")
        for column in columns[: 1 + max(len(outcome.ways) for outcome in outcomes)]:
            table.add_column(column, width=max(11, len(column)))
        for outcome in outcomes:
            if (outcome.unit, outcome.exercise) == (unit, exercise):
                judged = next((way for way in outcome.ways[::-1] if way.check), outcome.directly)
                ways = (_said(way.accepted, outcome.right) for way in outcome.ways)
                why = f"{judged.check}: {judged.message}" if judged.check else ""
                table.add_row(escape(outcome.title), outcome.kind, *ways)
                if why and messages:
                    table.add_row(f"[dim]{escape(why)}[/]")
        console.print(table)


def _said(accepted: bool, right: bool) -> str:
    word = "accepted" if accepted else "rejected"
    return word if accepted == right else f"[bold red]{word}[/]"
