"""``nutshell release``: build labs and lessons from their sources."""

import click


@click.command()
@click.argument("units", nargs=-1, metavar="[UNIT]…")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 and name what is stale, missing or superfluous.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def release(units: tuple[str, ...], check: bool, as_json: bool) -> None:
    """Build labs/ from solutions/, and course/*.ipynb from course/text/*.md.

    Refuses a lab with a marker left over, a cell that doesn't compile, an exercise without a stub, a blank notebook
    that scores or a solution that doesn't score full, and never overwrites a notebook that somebody edited.

    \b
    Examples:
      nutshell release                  every unit
      nutshell release low_rank         one unit
      nutshell release --check          exit 1 if something is stale
    """
    import json

    from tqdm import tqdm

    from autograder import units as sources
    from autograder.release import course_root, expected_files, stale, strangers, superfluous, write

    root = course_root()
    chosen = sources.chosen(units)
    files = expected_files(tqdm(chosen, desc="Building labs", unit="unit", leave=False, disable=None), root)
    odd = [] if units else [f"superfluous: {path}" for path in strangers(root, (source.unit for source in chosen))]
    if check:
        found = [*stale(files, root), *odd]
        click.echo(
            json.dumps({"stale": found}) if as_json else "\n".join(found) or f"{len(files)} files are up to date."
        )
        if found:
            raise click.exceptions.Exit(1)
        return
    written = write(files, root)
    left = [*(f"superfluous: {path}" for path in superfluous(files, root)), *odd]
    if as_json:
        click.echo(json.dumps({"written": [str(path) for path in written], "superfluous": left}))
        return
    for path in written:
        click.echo(f"wrote {path}")
    for line in left:
        click.echo(f"{line} (not made by release; move or delete it)", err=True)
    click.echo(
        f"{len(written)} of {len(files)} files were stale." if written else f"All {len(files)} files were up to date."
    )
