"""The reference results: LeNet-300-100 and LeNet-5-Caffe as small files, beside dense networks trained alike.

    python -m solutions.deep_compression.experiment [ROW…] [--seeds 0,1,2]

writes ``results/<row>.nut``, the first seed's file, for each row, and ``results/deep_compression.json``. On one core a
seed takes two minutes for a row of LeNet-300-100 and ten for one of LeNet-5-Caffe, and the same for the dense network.
An interrupted run goes on after the last epoch, and what is finished isn't done again: all of it is kept in
``trained/deep_compression/``. Plans were chosen on validation images; the test images are looked at once, by
:func:`nutshell.measure.measure`, when the files are there. The rate is the bytes of the parameters in fp32 over the
bytes of the file.
"""

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import artefact, data, models, results
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.measure import measure
from nutshell.training import prepare
from solutions.deep_compression.pipeline import (
    Plan,
    compress,
    encodings_of,
    prune_and_train,
    run_of,
    validation_error,
)

COMMAND = "python -m solutions.deep_compression.experiment"
SEEDS = (0, 1, 2)
INPUT = (1, 28, 28)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    plan : Plan
        How.
    least_rate, most_error_percent : float
        What it aims at, on test images.
    """

    plan: Plan
    least_rate: float
    most_error_percent: float


# Weight decay where there are no shifts: without it validation errors are 1.8 % instead of 1.5.
MLP = Plan("lenet-300-100", keep=0.06, weight_decay=0.1)
SHIFTED_MLP = Plan("lenet-300-100", keep=0.025, shift=1)
CONVOLUTIONAL = Plan("lenet-5-caffe", keep=0.02, epochs=30, sharing_epochs=5, weight_decay=0.1, precision="bfloat16")
ROWS = {
    "lenet-300-100": Row(MLP, 60, 1.9),
    "lenet-300-100-shifts": Row(SHIFTED_MLP, 120, 1.9),
    "lenet-300-100-shifts-accurate": Row(replace(SHIFTED_MLP, keep=0.04), 80, 1.6),
    "lenet-5-caffe": Row(CONVOLUTIONAL, 150, 0.9),
    "lenet-5-caffe-shifts": Row(replace(CONVOLUTIONAL, keep=0.011, shift=1, weight_decay=0.0), 280, 0.9),
}


@click.command()
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/deep_compression"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
def main(rows: tuple[str, ...], seeds: str, keep: Path) -> None:
    """Compress, measure and write down, ROW by row; all rows if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # the optimiser's memory of pruned weights fades to numbers that are slow
    if unknown := set(rows) - set(ROWS):
        raise WrongUse(f"There is no row {min(unknown)!r}; there are: {', '.join(ROWS)}.")
    chosen = [int(seed) for seed in seeds.split(",")]
    images = data.mnist()
    for name in rows or ROWS:
        files = {seed: small_file(name, images, seed, keep) for seed in chosen}
        (results.folder() / f"{name}.nut").write_bytes(files[chosen[0]].read_bytes())
        dense = {seed: dense_network(ROWS[name].plan, images, seed, keep) for seed in chosen}
        write_down(name, images, files, dense)


def dense_network(plan: Plan, images: Dataset, seed: int, keep: Path) -> nn.Module:
    """The network of a plan trained alike, but for the pruning."""
    plan = replace(plan, keep=1.0, distil=0.0)
    network = prepare(models.build(plan.network, seed=seed))
    prune_and_train(network, images, plan, seed, keep / f"{plan.network}-dense-{plan.shift}-{seed}.state")
    return network


def small_file(name: str, images: Dataset, seed: int, keep: Path) -> Path:
    """The compressed network of a row and seed as a file; made if it isn't there, or was made by another plan."""
    plan, file, card = ROWS[name].plan, keep / f"{name}-{seed}.nut", keep / f"{name}-{seed}.json"
    made_by = {"run": run_of(plan, seed), "plan": {key: str(value) for key, value in asdict(plan).items()}}
    if file.exists() and card.exists() and json.loads(card.read_text()) == made_by:
        return file
    teacher = dense_network(plan, images, seed, keep) if plan.distil else None
    network = prepare(models.build(plan.network, seed=seed))
    prune_and_train(network, images, plan, seed, keep / f"{name}-{seed}.state", teacher)
    pruned = validation_error(network, images)
    small = compress(copy.deepcopy(network), images, plan, seed, teacher)
    size = artefact.save(small, file, input_shape=INPUT, encodings=encodings_of(small))
    card.write_text(json.dumps(made_by))
    click.echo(f"{name}, seed {seed}: {size:,} bytes; validation error {pruned:.2f} % pruned, "
               f"{validation_error(small, images):.2f} % in the file.")
    return file


def write_down(name: str, images: Dataset, files: dict[int, Path], dense: dict[int, nn.Module]) -> None:
    """Measure files and dense networks on the test images, and keep the figures."""
    row = ROWS[name]
    parameters = sum(parameter.numel() for parameter in models.build(row.plan.network, device="meta").parameters())
    measured = [measure(file, images) for file in files.values()]
    baseline = [measure(artefact.read(artefact.to_bytes(network, input_shape=INPUT)), images)
                for network in dense.values()]  # fmt: skip
    found: dict[str, Any] = {
        "plan": asdict(row.plan),
        "aim": {"rate": row.least_rate, "error_percent": row.most_error_percent},
        "seeds": list(files),
        "bytes": [each.bytes for each in measured],
        "rate": [round(4 * parameters / each.bytes, 1) for each in measured],
        "nonzero": [each.nonzero for each in measured],
        "validation_error_percent": [measure(file, images, "validation").error_percent for file in files.values()],
        "error_percent": [each.error_percent for each in measured],
        "dense_error_percent": [each.error_percent for each in baseline],
        "tensors": [dict(zip(("name", "encoding", "shape", "bytes"), line[:4], strict=True))
                    for line in measured[0].tensors],
    }  # fmt: skip
    try:
        rows = results.load("deep_compression")["rows"]
    except WrongUse:
        rows = {}
    ordered = {key: value for key, value in (rows | {name: found}).items() if key in ROWS}
    results.save("deep_compression", command=COMMAND, data=images.name, rows=ordered)
    click.echo(f"{name}: {found['rate']} times smaller, test error {found['error_percent']} %, "
               f"dense {found['dense_error_percent']} %")


if __name__ == "__main__":
    main()
