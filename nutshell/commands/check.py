"""``nutshell check NOTEBOOK``: the public checks of a lab notebook, outside JupyterLab."""

import sys
from pathlib import Path

import click


@click.command()
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--experiments", is_flag=True, help="Run the cells that begin with %%experiment too.")
@click.option(
    "--time-limit", default=60.0, show_default=True, help="Seconds for one cell, and for one call by a check."
)
def check(notebook: Path, as_json: bool, experiments: bool, time_limit: float) -> None:
    """Run the public checks on what a lab notebook defines.

    The notebook's cells run in a process of their own and a copy of its folder, so that nothing beside the notebook
    changes. Experiments and check cells are left out, and a cell that raises doesn't stop the rest. Budgets are
    measured on the validation images, from the .nut files beside the notebook, or with --experiments from those that
    the experiments make in the copy. Ends with 1 if something with points doesn't pass; an extension that isn't begun
    is no failure.

    \b
    Examples:
      nutshell check my_labs/03_low_rank/03_low_rank.ipynb
      nutshell check my_labs/03_low_rank/03_low_rank.ipynb --json
    """
    from tqdm.auto import tqdm

    from nutshell.wire.notebook import check_notebook

    desk, session, running = check_notebook(notebook, experiments=experiments, time_limit=time_limit)
    total = len(desk.unit.exercises) + len(desk.unit.budgets)
    outcomes = list(tqdm(running, total=total, desc="checking", unit="exercise", leave=False, disable=None))
    done = all(outcome.passed or outcome.open_extension for outcome in outcomes)
    if as_json:
        _print_json(notebook, desk.unit, outcomes, session.errors, done)
    else:
        _print_text(desk.unit, outcomes, session.errors)
    sys.exit(0 if done else 1)


def _print_json(notebook, unit, outcomes, errors, done) -> None:
    import json

    rows = [
        dict(
            name=o.item.name,
            points=o.points,
            of=o.item.points,
            passed=o.passed,
            checks=[verdict.as_data() for verdict in o.verdicts],
            file=o.file,
            note=o.note,
        )
        for o in outcomes
    ]
    click.echo(
        json.dumps(
            dict(
                notebook=str(notebook),
                unit=unit.name,
                passed=done,
                points=sum(o.points for o in outcomes),
                of=sum(o.item.points for o in outcomes),
                exercises=rows,
                cells=[dict(cell=number, error=error) for number, error in sorted(errors.items())],
            )
        )
    )


def _print_text(unit, outcomes, errors) -> None:
    from nutshell.wire import show

    for number, error in sorted(errors.items()):
        show.write(show.clean(f"Cell {number}: {error.strip()}"))
    for outcome in outcomes:
        if not outcome.passed or not outcome.verdicts:  # a budget's table says more than its points
            show.write(outcome.text + "\n")
    earned, of = sum(o.points for o in outcomes), sum(o.item.points for o in outcomes)
    rows = [
        (
            "✓" if o.passed else "·" if o.open_extension else "✗",
            o.item.name,
            f"{show.number(o.points)} of {show.number(o.item.points)}" if o.item.points else "extension",
            f"{sum(v.passed for v in o.verdicts)} of {len(o.verdicts)}" if o.verdicts else "",
        )
        for o in sorted(outcomes, key=lambda o: getattr(o.item, "extension", False))
    ]
    show.write(
        show.table_as_text(
            show.total(unit, earned, of), ("", "exercise", "points", "checks passed"), rows, [show.LATER]
        )
    )
