"""Builds the tabular benchmark that ships: every network of the small space, trained shortly, its errors kept.

    python -m solutions.architecture_search.table [--task digits] [--seed 0] [--share 0/1] [--most N]

trains one network after another and keeps a line for each in ``trained/architecture_search/``; an interrupted call goes
on behind the last line, and calls with other shares may run beside it. Then ``--write`` puts what is finished into
``nutshell/search/``. About ten minutes on one core.
"""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from nutshell import data
from nutshell.data.dataset import Dataset, ReadySplit, Split
from nutshell.search.space import SMALL, Architecture
from nutshell.search.trainer import IMAGES, RECIPE, Trainer
from nutshell.training import evaluate

KEEP = Path("trained/architecture_search")
TASKS = ("digits", "photographs")


def task(name: str) -> Dataset:
    """MNIST as it is, or CIFAR-10 in grey, its middle 28×28 pixels: another task for the same networks."""
    if name == "digits":
        return data.load("mnist")
    colours = data.load("cifar-10")

    def grey(part: Split) -> Split:
        images = part.images[:, :, 2:30, 2:30].float().mean(1, keepdim=True).round().to(torch.uint8)
        return Split(images, part.labels, (0.473,), (0.239,))  # mean and deviation of the grey values

    return replace(colours, name=f"{colours.name}, grey, middle 28×28", train=grey(colours.train),
                   validation=grey(colours.validation), test=grey(colours.test))


def networks() -> list[dict[str, Any]]:
    """One architecture for every different network of the small space, in an order that is the same every time."""
    first: dict[object, dict[str, Any]] = {}
    for number in range(SMALL.size):
        architecture = SMALL.decode(number)
        first.setdefault(SMALL.blocks(architecture), architecture)
    chosen = list(first.values())
    random.Random(12).shuffle(chosen)  # so that the first few are a fair sample
    return chosen


@click.command()
@click.option("--task", "name", type=click.Choice(TASKS), default="digits", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of weights and order.")
@click.option("--share", default="0/1", show_default=True, help="Which of how many processes this is.")
@click.option("--most", type=int, help="Only the first so many networks.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=KEEP, show_default=True)
def main(name: str, seed: int, share: str, most: int | None, keep: Path) -> None:
    """Train the networks of one task and seed that have no line yet."""
    torch.set_num_threads(1)
    keep.mkdir(parents=True, exist_ok=True)
    mine, processes = map(int, share.split("/"))
    images = task(name)
    part = images.test
    test = ReadySplit(part.images, part.labels, part.mean, part.std)
    with (keep / f"table-{name}-{seed}-{mine}.jsonl").open("a", encoding="utf-8") as file:
        wanted = networks()[:most]
        done = {row["number"] for row in lines(name, seed, keep)}
        for architecture in wanted[mine::processes]:
            number = SMALL.number(architecture)
            if number not in done:
                row = {"number": number, "data": images.name, **trained(architecture, images, test, seed)}
                file.write(json.dumps(row) + "\n")
                file.flush()


def trained(architecture: Architecture, images: Dataset, test: Split, seed: int) -> dict[str, Any]:
    """One network: its validation error after each epoch, its test error at the end, and seconds of processor time."""
    found = Trainer(SMALL, images, seed=seed).train(architecture)
    return {"validation_error_percent": [round(error, 2) for error in found.validation_error_percent],
            "test_error_percent": round(evaluate(found.network, test, precision=RECIPE.precision)[1], 2),
            "seconds": round(sum(found.seconds), 2)}  # fmt: skip


def lines(name: str, seed: int, keep: Path) -> list[dict[str, Any]]:
    """What is finished of a task and seed, by all processes; a line cut off in the middle is left out."""
    found = []
    for file in sorted(keep.glob(f"table-{name}-{seed}-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):
                found.append(json.loads(line))
    return found


def how() -> dict[str, Any]:
    """How each network was trained."""
    return {"images": IMAGES, **asdict(RECIPE)}


if __name__ == "__main__":
    main()
