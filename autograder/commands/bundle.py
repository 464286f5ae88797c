"""``nutshell bundle OUT.zip``: what learners get, as one archive."""

from pathlib import Path

import click


@click.command()
@click.argument("output", metavar="OUT.zip", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--solutions", is_flag=True, help="With solutions, all checks and the grader, for self-study.")
@click.option("--offline", is_flag=True, help="With wheels for this system and Python, and data sets.")
@click.option("--data", "names", metavar="NAME", multiple=True, default=("mnist",), show_default=True,
              help="Data sets of an offline bundle; may be given several times.")
@click.option("--wheels", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Keep wheels here; a folder in your cache if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bundle(
    output: Path, solutions: bool, offline: bool, names: tuple[str, ...], wheels: Path | None, as_json: bool
) -> None:
    """Pack the course for learners: lessons, labs with their public checks, the toolkit and its trained networks.

    Without --solutions it holds no solution and no hidden check. With --offline it sets itself up where there is no
    network, on machines with the same kind of system and the same Python as this one; wheels and MNIST are fetched
    first, some 400 MB. Unpacked, `python3 start.py lab` is all that is needed.

    \b
    Examples:
      nutshell bundle nutshell.zip
      nutshell bundle self-study.zip --solutions
      nutshell bundle room.zip --offline
      nutshell bundle room.zip --offline --data mnist --data cifar-10
    """
    import json
    import tempfile

    from autograder import bundle as bundles
    from autograder import wheels as wheelhouse
    from autograder.release import course_root

    course = course_root()
    with tempfile.TemporaryDirectory(prefix="nutshell-bundle-") as scratch:
        data = Path(scratch) / "data" if offline else None
        if data is not None:
            for name in names:
                click.echo(bundles.lay_out(name, data), err=True)
            extras = ["instructor"] if solutions else []
            wheels = wheelhouse.fetch(course, extras, wheels, said=lambda line: click.echo(line, err=True))
        found = bundles.collect(course, bundles.chosen_units(), solutions=solutions, data=data,
                                wheels=wheels if offline else None, archive=output.name)  # fmt: skip
        size = bundles.write(found, output)
    count = len(found.files) + len(found.texts)
    if as_json:
        click.echo(json.dumps({"file": str(output), "bytes": size, "files": count}))
    else:
        click.echo(f"{output}: {count:,} files, {size / 1e6:,.1f} MB.")
