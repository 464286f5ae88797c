"""``nutshell measure``: what a ``.nut`` file really is."""

import json
from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.nut")
@click.option("--data", metavar="NAME", help="Run the network on this data set, such as mnist or cifar-10.")
@click.option("--part", type=click.Choice(["test", "validation"]), default="test", show_default=True,
              help="Which of its images.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def measure(file: Path, data: str | None, part: Literal["test", "validation"], as_json: bool) -> None:
    """Measure a network handed in: bytes, params, nonzero, macs, energy_uj, accuracy, error_percent.

    The file is decoded and its network counted; with --data it is run on the images as well, and without, accuracy
    and error_percent are null. Energy is an estimate in microjoules an image, for 45 nm.
    With --json, data names the data set and part, or is null.

    \b
    Examples:
      nutshell measure low_rank.nut
      nutshell measure low_rank.nut --data mnist
      nutshell measure low_rank.nut --data mnist --json
    """
    from nutshell.measure import measure as measure_file

    measured = measure_file(file, data, part)
    if as_json:
        click.echo(json.dumps({**measured.to_dict(), "data": measured.data}))
    else:
        click.echo(f"{file.name}\n\n{measured}")
