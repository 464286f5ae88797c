"""The unit's reference results: networks with binary weights and activations on MNIST and CIFAR-10, three seeds.

    python -m solutions.binary_networks.experiment

writes ``results/binary_networks.json`` and the ``.nut`` files; about an hour on one core. ``--run`` and ``--seed``
train one network only and write what there is so far; trained networks are kept in ``trained/``: delete them there to
have them made anew. Everything was chosen on validation images; the test images are looked at once, at the end.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import torch

from nutshell import data, results
from solutions.binary_networks.training import RUNS, Run, measured

COMMAND = "python -m solutions.binary_networks.experiment"
SEEDS = (0, 1, 2)
SHOWN = {"lenet-5-caffe-bwn": "lenet-5-caffe-bwn.nut", "lenet-xnor-xnor": "lenet-5-caffe-xnor.nut",
         "cifar-xnor": "cifar-xnor.nut"}  # seed 0 of these is kept in results/
OVER_SEEDS = ("test_error_percent", "validation_error_percent", "signs_test_error_percent",
              "before_training_validation_error_percent")
OF_ONE = ("bytes", "binary_bytes", "parameters", "macs", "binary_operations", "epochs", "histogram")


@click.command()
@click.option("--run", type=click.Choice([run.name for run in RUNS]), help="Train this one only; all if left out.")
@click.option("--seed", type=click.IntRange(0), help="With this seed only; three if left out.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder that keeps trained networks and what was measured of them.")
def main(run: str | None, seed: int | None, keep: Path) -> None:
    """Train and measure binary networks."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    for each in RUNS:
        for number in SEEDS if seed is None else (seed,):
            if run in (None, each.name):
                found = measured(each, number, keep)
                click.echo(f"{each.name}, seed {number}: {found['validation_error_percent']:.2f} % on validation")
    click.echo(str(collect(keep)))


def collect(keep: Path) -> Path:
    """Write what has been measured so far."""
    networks: dict[str, dict[str, Any]] = {}
    for run in RUNS:
        rows = [json.loads(file.read_text(encoding="utf-8")) for seed in SEEDS
                if (file := keep / "binary_networks" / f"{run.name}-{seed}.json").exists()]
        if rows:
            row = networks.setdefault(run.network, {})[run.way] = row_of(run, rows)
            if run.name in SHOWN and rows[0]["seed"] == 0:
                row["file"] = SHOWN[run.name]
                shutil.copy(keep / "binary_networks" / f"{run.name}-0.nut", results.folder() / SHOWN[run.name])
    return results.save("binary_networks", command=COMMAND, data=data.load("mnist").name,
                        cifar_data=data.load("cifar-10").name, seeds=list(SEEDS), networks=networks)


def row_of(run: Run, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One run over its seeds."""
    found: dict[str, Any] = {"seeds": [row["seed"] for row in rows]}
    found |= {key: results.summary([row[key] for row in rows]) for key in OVER_SEEDS if key in rows[0]}
    curves = [row["curve"] for row in rows]
    found["validation_curve"] = [round(sum(values) / len(values), 3) for values in zip(*curves, strict=True)]
    found |= {key: rows[0][key] for key in OF_ONE if key in rows[0]}
    return found | {"recipe": vars(run.recipe), "file": None}


if __name__ == "__main__":
    main()
