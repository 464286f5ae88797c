"""The reference results: LeNet-300-100 and LeNet-5-Caffe as small files, beside dense networks trained alike.

    python -m solutions.deep_compression.experiment [ROW…] [--seeds 0,1,2]

writes ``results/<row>.nut``, the first seed's file, for each row, and ``results/deep_compression.json``, which is
brought up to date after each seed and says which seeds a row has. A seed of LeNet-300-100 stands for everything from
the first weights on; LeNet-5-Caffe is pruned from the dense network of its seed, as in the paper. An interrupted run
goes on after the last epoch, and what is finished isn't done again: all of it is kept in
``trained/deep_compression/``, so rows may also be made side by side. Plans were chosen on validation images; the test
images are looked at once, by :func:`nutshell.measure.measure`, when a file is there. The rate is the bytes of the
parameters in fp32 over the bytes of the file. A core of its own takes half a minute a seed for a small LeNet-300-100
and as much for its dense network, two to five minutes for each of LeNet-5-Caffe.
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
from solutions.deep_compression.layers import ENCODINGS, layers_of
from solutions.deep_compression.pipeline import Plan, prune_and_train, validation_error
from solutions.deep_compression.sharing import compress, encodings_of

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


# Weight decay and dropout where there are no shifts: on validation images 1.5 % without dropout became 1.3 %.
SHIFTED_MLP = Plan("lenet-300-100", keep=0.027, shift=1, epochs=40, sharing_epochs=5, batch_size=256,
                   learning_rate=1.5e-3, precision="bfloat16")
MLP = replace(SHIFTED_MLP, keep=0.066, shift=0, weight_decay=0.1, dropout=0.5)
CONVOLUTIONAL = Plan("lenet-5-caffe", keep=0.023, epochs=12, sharing_epochs=2, batch_size=256, learning_rate=1.5e-3,
                     weight_decay=0.1, favour=1.4, dropout=0.5, ramp=(0.0, 0.65), from_dense=True, distil=0.5,
                     precision="bfloat16")
# Two epochs for the centroids, as without shifts, left 0.1 points of validation error more than pruning had. Over 12
# epochs three seeds came to 0.9 % of the validation images on average, over 20 to 0.7 %.
SHIFTED_CONVOLUTIONAL = replace(CONVOLUTIONAL, keep=0.0115, shift=1, epochs=20, weight_decay=0.0, dropout=0.0,
                                sharing_epochs=4, price=0.008)
ROWS = {
    "lenet-300-100": Row(MLP, 60, 1.9),
    "lenet-300-100-shifts": Row(SHIFTED_MLP, 120, 1.9),
    "lenet-300-100-shifts-accurate": Row(replace(SHIFTED_MLP, keep=0.04), 80, 1.6),
    "lenet-5-caffe": Row(CONVOLUTIONAL, 150, 0.9),
    "lenet-5-caffe-shifts": Row(SHIFTED_CONVOLUTIONAL, 280, 0.9),
}


@click.command()
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/deep_compression"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
def main(rows: tuple[str, ...], seeds: str, keep: Path) -> None:
    """Compress, measure and write down, seed by seed, ROW by ROW; all rows if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # the optimiser's memory of pruned weights fades to numbers that are slow
    if unknown := set(rows) - set(ROWS):
        raise WrongUse(f"There is no row {min(unknown)!r}; there are: {', '.join(ROWS)}.")
    images = data.mnist()
    for seed in map(int, seeds.split(",")):
        for name in rows or ROWS:
            dense = dense_network(ROWS[name].plan, images, seed, keep)
            small_file(name, images, seed, keep, dense)
            write_down(name, images.name, keep)


def dense_plan(plan: Plan) -> Plan:
    """The same training without pruning and without a teacher."""
    return replace(plan, keep=1.0, favour=1.0, distil=0.0, from_dense=False, sharing_epochs=0, price=0.0)


def dense_network(plan: Plan, images: Dataset, seed: int, keep: Path) -> nn.Module:
    """The network of a plan trained alike, but for the pruning; measured once."""
    plan = dense_plan(plan)
    network = prepare(models.build(plan.network, seed=seed))
    place = keep / f"{plan.network}-dense-{plan.shift}-{seed}"
    prune_and_train(network, images, plan, seed, place.with_suffix(".state"))
    if card_of(place, plan, seed) is None:
        stored = artefact.read(artefact.to_bytes(network, input_shape=INPUT))
        write_card(place, plan, seed, error_percent=measure(stored, images).error_percent,
                   validation_error_percent=validation_error(network, images))
    return network


def small_file(name: str, images: Dataset, seed: int, keep: Path, dense: nn.Module) -> None:
    """The compressed network of a row and seed as a file; made if it isn't there, or was made by another plan."""
    plan, place = ROWS[name].plan, keep / f"{name}-{seed}"
    if card_of(place, plan, seed) is not None:
        return
    network = prepare(copy.deepcopy(dense) if plan.from_dense else models.build(plan.network, seed=seed))
    prune_and_train(network, images, plan, seed, place.with_suffix(".state"), dense)
    small = compress(copy.deepcopy(network), images, plan, seed, dense)
    artefact.save(small, place.with_suffix(".nut"), input_shape=INPUT, encodings=encodings_of(small))
    measured = measure(place.with_suffix(".nut"), images)
    write_card(place, plan, seed, bytes=measured.bytes, nonzero=measured.nonzero, error_percent=measured.error_percent,
               pruned_validation_error_percent=validation_error(network, images),
               validation_error_percent=validation_error(small, images))


def made_by(plan: Plan, seed: int) -> dict[str, Any]:
    """What has to be the same for a kept file to stand for a plan and seed."""
    return {"seed": seed} | {key: str(value) for key, value in asdict(plan).items()}


def write_card(place: Path, plan: Plan, seed: int, **measured: Any) -> None:
    """Keep what was measured beside the file."""
    place.with_suffix(".json").write_text(json.dumps({"made_by": made_by(plan, seed), "measured": measured}, indent=1))
    click.echo(f"{place.name}: {measured}")


def card_of(place: Path, plan: Plan, seed: int) -> dict[str, Any] | None:
    """What was measured, if it is there and of this plan."""
    card = place.with_suffix(".json")
    if not card.exists():
        return None
    kept = json.loads(card.read_text())
    before = made_by(Plan(plan.network, plan.keep), seed)  # a field that came later stood at its default
    return kept["measured"] if before | kept["made_by"] == made_by(plan, seed) else None


def write_down(name: str, source: str, keep: Path) -> None:
    """Put what is finished of a row into ``results/`` and leave the other rows there."""
    row = row_of(name, keep)
    try:
        rows = results.load("deep_compression")["rows"]
    except WrongUse:
        rows = {}
    rows = {key: value for key, value in (rows | {name: row}).items() if value}
    results.save("deep_compression", command=COMMAND, data=source, encodings=ENCODINGS,
                 rows={key: rows[key] for key in ROWS if key in rows})


def row_of(name: str, keep: Path) -> dict[str, Any] | None:
    """A row's figures over the seeds that are finished, and its first seed's file copied to ``results/``."""
    row = ROWS[name]
    dense = f"{row.plan.network}-dense-{row.plan.shift}"
    finished = []
    for seed in SEEDS:
        small = card_of(keep / f"{name}-{seed}", row.plan, seed)
        alike = card_of(keep / f"{dense}-{seed}", dense_plan(row.plan), seed)
        if small is not None and alike is not None:
            finished.append((seed, small, alike))
    if not finished:
        return None
    parameters = sum(parameter.numel() for parameter in models.build(row.plan.network, device="meta").parameters())
    bytes_ = (keep / f"{name}-{finished[0][0]}.nut").read_bytes()
    (results.folder() / f"{name}.nut").write_bytes(bytes_)
    stored = artefact.read(bytes_)
    found: dict[str, Any] = {
        "plan": asdict(row.plan),
        "aim": {"rate": row.least_rate, "error_percent": row.most_error_percent},
        "seeds": [seed for seed, *_ in finished],
        "bytes": [each["bytes"] for _, each, _ in finished],
        "rate": [round(4 * parameters / each["bytes"], 1) for _, each, _ in finished],
        **{key: [rounded(each[key]) for _, each, _ in finished] for key in (
            "nonzero", "pruned_validation_error_percent", "validation_error_percent", "error_percent")},
        **{f"dense_{key}": [rounded(each[key]) for *_, each in finished] for key in (
            "validation_error_percent", "error_percent")},
        "layers": layers_of(stored.network),
        "tensors": [dict(zip(("name", "encoding", "shape", "bytes"), line[:4], strict=True))
                    for line in stored.table()],
    }  # fmt: skip
    if len(finished) > 1:
        found["summary"] = {key: summary(found[key]) for key in (
            "bytes", "rate", "error_percent", "dense_error_percent")}  # fmt: skip
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation over the seeds."""
    mean, spread = results.mean_and_spread(values)
    return {"mean": rounded(mean), "spread": rounded(spread)}


def rounded(value: float) -> float:
    """To what thousands of images can tell."""
    return round(value, 3)


if __name__ == "__main__":
    main()
