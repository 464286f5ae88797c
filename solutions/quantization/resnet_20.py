"""The reference results on CIFAR-10: ResNet-20 in 8 bits after training, and ten times smaller and more with training.

    python -m solutions.quantization.resnet_20 [--seeds 0,1,2] [--no-test]

writes ``results/resnet-20-int8.nut``, ``results/resnet-20.nut`` (the first seed's file) and ``results/resnet_20.json``.
Both begin with the checkpoint that ships. One epoch of pruning and rounding does for a seed, 75 seconds on one core;
a seed stands for the order of the images and their augmentation, not for another dense network. An interrupted run
goes on after the last epoch, and what is finished isn't done again: all of it is kept in ``trained/resnet_20/``. The
plan was chosen on validation images; the test images are looked at once, by :func:`nutshell.measure.measure`, when the
files are there. The rate is the bytes of the parameters in fp32 over the bytes of the file. ``.nut`` files are run with
activations in floating point; what 8 bits of them cost too is measured beside it, by rounding them as an integer
kernel would.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import artefact, checkpoints, data, results
from nutshell.data.dataset import Dataset
from nutshell.measure import Measurement, measure
from nutshell.training import evaluate, prepare
from solutions.quantization.folding import fold, int8_encodings, with_int8_activations
from solutions.quantization.small_resnet import Plan, encodings, prune_and_round, run_of

COMMAND = "python -m solutions.quantization.resnet_20"
NETWORK = "resnet-20"
SEEDS = (0, 1, 2)
INPUT = (3, 32, 32)
PLAN = Plan()
AIMS = {"resnet-20-int8": {"points_lost": 0.1}, "resnet-20": {"points_lost": 1.0, "rate": 10.0}}
FIRST = 1000  # test images, whose errors are kept by themselves, so that a test can count them again in seconds
CALIBRATION = 2000  # training images for the ranges of activations


@click.command()
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/resnet_20"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
@click.option("--test/--no-test", default=True, help="Whether to measure on test images and write the results.")
def main(seeds: str, keep: Path, test: bool) -> None:
    """Make ResNet-20 small in both ways, measure it and write it down."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # momentum of pruned weights fades to numbers that are slow
    keep.mkdir(parents=True, exist_ok=True)
    images = data.load("cifar-10")
    chosen = [int(seed) for seed in seeds.split(",")]
    small: list[Path] = []
    for number, seed in enumerate(chosen, start=1):
        small.append(small_file(images, seed, keep))
        if test:
            write_down(images, {"resnet-20-int8": [int8_file(keep)], "resnet-20": small}, chosen[:number], keep)


def int8_file(keep: Path) -> Path:
    """The checkpoint, folded, with weights in 8 bits."""
    folded, file = fold(checkpoints.load(NETWORK)), keep / "resnet-20-int8.nut"
    artefact.save(folded, file, input_shape=INPUT, encodings=int8_encodings(folded))
    return file


def small_file(images: Dataset, seed: int, keep: Path) -> Path:
    """The checkpoint, pruned, rounded and trained on; made if it isn't there, or was made by another plan."""
    file, card = keep / f"resnet-20-{seed}.nut", keep / f"resnet-20-{seed}.json"
    if file.exists() and card.exists() and json.loads(card.read_text()) == run_of(PLAN, seed):
        return file
    network = prepare(checkpoints.load(NETWORK))
    steps = prune_and_round(network, images, PLAN, seed, keep / f"resnet-20-{seed}.state")
    folded = fold(network)
    size = artefact.save(folded, file, input_shape=INPUT, encodings=encodings(network, folded, steps, PLAN))
    card.write_text(json.dumps(run_of(PLAN, seed)))
    click.echo(f"seed {seed}: {size:,} bytes, validation error "
               f"{evaluate(folded, images.validation, precision='bfloat16')[1]:.2f} % before rounding its biases")
    return file


def write_down(images: Dataset, files: Mapping[str, list[Path]], seeds: list[int], keep: Path) -> None:
    """Measure the files and the dense network on the test images, and keep files and figures."""
    network = checkpoints.load(NETWORK)
    fp32 = 4 * sum(parameter.numel() for parameter in network.parameters())
    file = keep / "resnet-20-dense.nut"
    artefact.save(network, file, input_shape=INPUT)
    dense = figures(file, images)
    rows = {name: row(name, [figures(path, images) for path in paths], fp32, dense["error_percent"])
            for name, paths in files.items()}  # fmt: skip
    rows["resnet-20-int8"] |= {"activations_in_8_bits_too": once(files["resnet-20-int8"][0], with_activations, images)}
    rows["resnet-20"] |= {"plan": asdict(PLAN), "seeds": seeds,
                          "a_seed_is": "the order of the images and their augmentation; the dense network is the same"}
    for name, paths in files.items():
        (results.folder() / f"{name}.nut").write_bytes(paths[0].read_bytes())
    results.save("resnet_20", command=COMMAND, data=images.name, network=NETWORK,
                 dense={"checkpoint_seed": checkpoints.card(NETWORK).seed, "fp32_bytes": fp32,
                        "validation_error_percent": dense["validation_error_percent"],
                        "error_percent": dense["error_percent"]},
                 first=FIRST, rows=rows)
    for name, found in rows.items():
        click.echo(f"{name}: {found['rate']} times smaller, test error {found['error_percent']} %, "
                   f"{found['points_lost']} points lost")


def row(name: str, measured: list[dict[str, Any]], fp32: int, dense_error: float) -> dict[str, Any]:
    """Figures of the files of one kind, a list entry for each seed."""
    lists = {key: [each[key] for each in measured]
             for key in ("bytes", "nonzero", "validation_error_percent", "error_percent", "first_wrong")}
    return {
        "aim": AIMS[name],
        "rate": [round(fp32 / each["bytes"], 2) for each in measured],
        "points_lost": [round(each["error_percent"] - dense_error, 2) for each in measured],
        **lists,
        "tensors": measured[0]["tensors"],
    }  # fmt: skip


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
    return {"calibrated_on": f"{CALIBRATION} training images, least to largest",
            "error_percent": round(evaluate(rounded, images.test)[1], 2)}


def as_resnet(file: Path) -> nn.Module:
    """A file's weights in the blocks of a folded ResNet-20."""
    folded = fold(checkpoints.load(NETWORK))
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
