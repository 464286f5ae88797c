"""The reference results on CIFAR-10: ResNet-20 in 8 bits after training, and ten times smaller and more with training.

    python -m solutions.quantization.resnet_20 [--dense-seeds 0,1,2] [--dense FOLDER] [--no-test]

writes ``results/resnet-20-int8.nut``, ``results/resnet-20.nut`` (the first run's files) and ``results/resnet_20.json``.
Each run begins with a dense network and has its own order and augmentation of the images. The dense network of seed 0
is the checkpoint that ships; another seed's lies where ``nutshell train resnet-20 --seed SEED --into FOLDER`` puts it,
and is trained by that command, for an hour on a core, if it isn't there. Two epochs of pruning and rounding do for a
run, three minutes on one core. An interrupted command goes on after the last epoch, and what is finished isn't done
again: all of it is kept in ``trained/resnet_20/``. The plan was chosen on validation images; the test images are looked
at once, by :func:`nutshell.measure.measure`, when the files are there. The rate is the bytes of the parameters in fp32
over the bytes of the file. ``.nut`` files are run with activations in floating point; what 8 bits of them cost too is
measured beside it, by rounding them as an integer kernel would.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import load_file
from torch import nn

from nutshell import artefact, checkpoints, data, models, results
from nutshell.commands.train import train
from nutshell.data.dataset import Dataset
from nutshell.measure import Measurement, measure
from nutshell.training import evaluate, prepare
from solutions.quantization.folding import fold, int8_encodings, with_int8_activations
from solutions.quantization.small_resnet import Plan, encodings, prune_and_round, run_of

COMMAND = "python -m solutions.quantization.resnet_20"
NETWORK = "resnet-20"
DENSE_SEEDS = "0,1,2"
INPUT = (3, 32, 32)
PLAN = Plan()
AIMS = {"resnet-20-int8": {"points_lost": 0.1}, "resnet-20": {"points_lost": 1.0, "rate": 10.0}}
FIRST = 1000  # test images, whose errors are kept by themselves, so that a test can count them again in seconds
CALIBRATION = 2000  # training images for the ranges of activations
SUMMARISED = ("rate", "error_percent", "points_lost")


@click.command()
@click.option("--dense-seeds", default=DENSE_SEEDS, show_default=True,
              help="The dense network that each run begins with; 0,0,0 does with the one that ships.")
@click.option("--dense", default="trained/resnet-20-seed{seed}", show_default=True,
              help="Folder of the dense network of a seed other than 0.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/resnet_20"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
@click.option("--test/--no-test", default=True, help="Whether to measure on test images and write the results.")
def main(dense_seeds: str, dense: str, keep: Path, test: bool) -> None:
    """Make ResNet-20 small in both ways, measure it and write it down."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # momentum of pruned weights fades to numbers that are slow
    keep.mkdir(parents=True, exist_ok=True)
    images = data.load("cifar-10")
    runs: list[tuple[int, Path]] = []
    for run, seed in enumerate(map(int, dense_seeds.split(","))):
        runs.append((seed, weights_of(seed, dense)))
        small_file(images, run, *runs[-1], keep)
        if test:
            write_down(images, runs, keep)


def weights_of(seed: int, dense: str) -> Path:
    """The file with a dense network's weights; trained if it isn't there."""
    if seed == checkpoints.card(NETWORK).seed:
        return checkpoints.FOLDER / f"{NETWORK}.safetensors"
    folder = Path(dense.format(seed=seed))
    file = folder / f"{NETWORK}.safetensors"
    if not file.exists():
        assert train.callback is not None  # it is a command that was defined by a function
        train.callback(network=NETWORK, seed=seed, into=folder, name=None)
    return file


def dense_network(weights: Path) -> nn.Module:
    """A ResNet-20 with weights from a file, in evaluation mode."""
    network = models.build(NETWORK)
    network.load_state_dict(load_file(weights))
    return network.eval()


def plain_file(seed: int, weights: Path, keep: Path) -> Path:
    """The dense network as it was trained."""
    file = keep / f"dense-{seed}.nut"
    artefact.save(dense_network(weights), file, input_shape=INPUT)
    return file


def int8_file(seed: int, weights: Path, keep: Path) -> Path:
    """The dense network, folded, with weights in 8 bits."""
    folded, file = fold(dense_network(weights)), keep / f"int8-{seed}.nut"
    artefact.save(folded, file, input_shape=INPUT, encodings=int8_encodings(folded))
    return file


def small_file(images: Dataset, run: int, seed: int, weights: Path, keep: Path) -> Path:
    """The dense network, pruned, rounded and trained on; made if it isn't there, or was made otherwise."""
    name = f"small-{seed}-{run}"
    file, card = keep / f"{name}.nut", keep / f"{name}.json"
    made_by = run_of(PLAN, run) | {"dense": hashlib.sha256(weights.read_bytes()).hexdigest()}
    if file.exists() and card.exists() and json.loads(card.read_text()) == made_by:
        return file
    network = prepare(dense_network(weights))
    steps = prune_and_round(network, images, PLAN, run, keep / f"{name}.state")
    folded = fold(network)
    size = artefact.save(folded, file, input_shape=INPUT, encodings=encodings(network, folded, steps, PLAN))
    card.write_text(json.dumps(made_by))
    click.echo(f"dense network {seed}, run {run}: {size:,} bytes, validation error "
               f"{evaluate(folded, images.validation, precision='bfloat16')[1]:.2f} % before rounding its biases")
    return file


def write_down(images: Dataset, runs: list[tuple[int, Path]], keep: Path) -> None:
    """Measure the files and the dense networks on the test images, and keep files and figures."""
    networks = dict(runs)
    fp32 = 4 * sum(parameter.numel() for parameter in models.build(NETWORK, device="meta").parameters())
    dense = {seed: figures(plain_file(seed, weights, keep), images) for seed, weights in networks.items()}
    lost_to = {seed: found["error_percent"] for seed, found in dense.items()}
    int8 = {seed: int8_file(seed, weights, keep) for seed, weights in networks.items()}
    small = [small_file(images, run, seed, weights, keep) for run, (seed, weights) in enumerate(runs)]
    rounded = [once(file, with_activations, images)["error_percent"] for file in int8.values()]
    rows = {
        "resnet-20-int8": row("resnet-20-int8", list(networks), list(int8.values()), images, fp32, lost_to)
        | {"activations_in_8_bits_too": {"calibrated_on": f"{CALIBRATION} training images, least to largest",
                                         "error_percent": rounded}},
        "resnet-20": row("resnet-20", [seed for seed, _ in runs], small, images, fp32, lost_to)
        | {"plan": asdict(PLAN), "seeds": list(range(len(runs)))},
    }
    for name, file in (("resnet-20-int8", next(iter(int8.values()))), ("resnet-20", small[0])):
        (results.folder() / f"{name}.nut").write_bytes(file.read_bytes())
    chosen = ",".join(str(seed) for seed, _ in runs)
    results.save("resnet_20", command=COMMAND if chosen == DENSE_SEEDS else f"{COMMAND} --dense-seeds {chosen}",
                 data=images.name, network=NETWORK, first=FIRST, rows=rows,
                 dense={"seeds": list(dense), "fp32_bytes": fp32} | {
                     key: [found[key] for found in dense.values()]
                     for key in ("validation_error_percent", "error_percent")})  # fmt: skip
    for name, found in rows.items():
        click.echo(f"{name}: {found['rate']} times smaller, test error {found['error_percent']} %, "
                   f"{found['points_lost']} points lost")


def row(name: str, seeds: list[int], files: list[Path], images: Dataset, fp32: int,
        lost_to: dict[int, float]) -> dict[str, Any]:  # fmt: skip
    """Figures of the files of one kind, a list entry for each; points are lost to the dense network of the seed."""
    measured = [figures(file, images) for file in files]
    found: dict[str, Any] = {
        "aim": AIMS[name],
        "dense_seeds": seeds,
        "rate": [round(fp32 / each["bytes"], 2) for each in measured],
        "points_lost": [round(each["error_percent"] - lost_to[seed], 2)
                        for seed, each in zip(seeds, measured, strict=True)],
        **{key: [each[key] for each in measured]
           for key in ("bytes", "nonzero", "validation_error_percent", "error_percent", "first_wrong")},
        "tensors": measured[0]["tensors"],
    }  # fmt: skip
    return found | {"summary": {key: summary(found[key]) for key in SUMMARISED}}


def summary(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation; the spread of a single value is given as 0."""
    mean, spread = results.mean_and_spread(values) if len(values) > 1 else (values[0], 0.0)
    return {"mean": round(mean, 3), "spread": round(spread, 3)}


def figures(file: Path, images: Dataset) -> dict[str, Any]:
    """What ``nutshell measure`` finds of a file on validation and test images."""
    return once(file, _figures, images)


def once(file: Path, work: Callable[[Path, Dataset], dict[str, Any]], images: Dataset) -> dict[str, Any]:
    """What ``work`` finds of a file; kept beside it, and taken from there as long as the file is the same."""
    kept = file.with_name(f"{file.stem}.{work.__name__.strip('_')}.json")
    key = [hashlib.sha256(file.read_bytes()).hexdigest(), images.name]
    if kept.exists() and (found := json.loads(kept.read_text()))["of"] == key:
        return found["figures"]
    found = {"of": key, "figures": work(file, images)}
    kept.write_text(json.dumps(found))
    return found["figures"]


def _figures(file: Path, images: Dataset) -> dict[str, Any]:
    measured = measure(file, images)
    return {"bytes": measured.bytes, "nonzero": measured.nonzero,
            "validation_error_percent": error_of(measure(file, images, "validation")),
            "error_percent": error_of(measured), "first_wrong": first_wrong(measured),
            "tensors": [dict(zip(("name", "encoding", "shape", "bytes"), line[:4], strict=True))
                        for line in measured.tensors]}  # fmt: skip


def with_activations(file: Path, images: Dataset) -> dict[str, Any]:
    """Error of a file's network if its activations are rounded to 8 bits as well."""
    rounded = prepare(with_int8_activations(as_resnet(file), images.train.inputs(slice(0, CALIBRATION))))
    return {"error_percent": round(evaluate(rounded, images.test)[1], 2)}


def as_resnet(file: Path) -> nn.Module:
    """A file's weights in the blocks of a folded ResNet-20."""
    folded = fold(models.build(NETWORK))
    folded.load_state_dict(artefact.load(file).network.state_dict())
    return folded


def error_of(measured: Measurement) -> float:
    """Error in percent, to the hundredth: one image of ten thousand."""
    return round(float(measured.error_percent or 0), 2)


def first_wrong(measured: Measurement) -> int:
    """How many of the first images are classified wrongly."""
    return 0 if measured.hits is None else int((~measured.hits[:FIRST]).sum())


if __name__ == "__main__":
    main()
