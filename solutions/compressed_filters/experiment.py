"""The unit's results: hashed, frequency-hashed and circulant networks beside others of the same bytes, three seeds.

    python -m solutions.compressed_filters.experiment [JOB…] [--seeds 0,1,2]

trains each job, or those named, writes its file, measures it and brings ``results/compressed_filters.json`` up to date;
``results/compressed_filters.nut`` is the LeNet-300-100 with an eighth of its numbers, first seed. All methods are
trained alike, from random weights on. For hashed, dense, low-rank and pruned networks, at an eighth and at a
sixty-fourth, three learning rates were tried on validation images, first seed: 0.002, 0.005 and 0.01; each has the best
or one that was at most 0.3 points worse. The other methods have one of these without a search. The test images are
looked at when a job is finished. An interrupted run goes on after the last epoch, and what is finished isn't done
again: all of it is kept in ``trained/compressed_filters/``, so jobs may also be run side by side. About
forty minutes on one core.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

from nutshell import artefact, data, results
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.measure import measure
from nutshell.training import evaluate
from solutions.compressed_filters.training import FALLING, NETWORKS, WEIGHT_SHARE, Job, count, is_saved, trained

COMMAND = "python -m solutions.compressed_filters.experiment"
SEEDS = (0, 1, 2)
MLP, CONVOLUTIONAL, CIFAR = NETWORKS
RATES = (8, 16, 32, 64)
BLOCKS = (4, 8, 16)
_ALL = (
    Job(MLP, "full", 1, 2e-3),
    *(Job(MLP, "hashed", rate, 5e-3) for rate in RATES),
    *(Job(MLP, "dense", rate, 1e-2) for rate in RATES if rate < 64),
    Job(MLP, "dense", 64, 5e-3),
    *(Job(MLP, "circulant", block, 5e-3) for block in BLOCKS),
    Job(MLP, "unsigned", 64, 5e-3),
    *(Job(MLP, "low rank", rate, 1e-2) for rate in RATES if rate < 64),
    Job(MLP, "low rank", 64, 5e-3),
    *(Job(MLP, "pruned", rate, 2e-3) for rate in RATES),
    Job(CONVOLUTIONAL, "full", 1, 2e-3),
    *(Job(CONVOLUTIONAL, method, rate, 5e-3) for rate in (64, 16) for method in ("fresh", "hashed", "equal bands")),
    Job(CIFAR, "full", 1, 5e-3),
    *(Job(CIFAR, method, 16, 5e-3) for method in ("fresh", "hashed", "equal bands")),
)
JOBS = {job.name: job for job in _ALL}
REFERENCE = JOBS[f"{MLP}-hashed-8"]


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/compressed_filters"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
def main(jobs: tuple[str, ...], seeds: str, keep: Path) -> None:
    """Train, measure and write down, seed by seed, JOB by JOB; all jobs if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # the optimiser's memory of pruned weights fades to numbers that are slow
    if unknown := set(jobs) - set(JOBS):
        raise WrongUse(f"There is no job {min(unknown)!r}; there are: {', '.join(JOBS)}.")
    keep.mkdir(parents=True, exist_ok=True)
    images: dict[str, Dataset] = {}
    for seed in map(int, seeds.split(",")):
        for name in jobs or JOBS:
            job = JOBS[name]
            source = NETWORKS[job.network].data
            if card(job, seed, keep) is None:
                images[source] = images.get(source) or data.load(source)
                run(job, images[source], seed, keep)
    write_down(keep)


def run(job: Job, images: Dataset, seed: int, keep: Path) -> None:
    """Train a job, store its network and measure that; keeps a card of what was measured."""
    place = keep / f"{job.name}-{seed}"
    network, encodings = trained(job, images, seed, place.with_suffix(".state"))
    found: dict[str, Any] = {"data": images.name, "numbers": count(network)}
    if is_saved(job):
        shape = tuple(images.test.images.shape[1:])
        artefact.save(network, place.with_suffix(".nut"), input_shape=shape, encodings=encodings)
        measured = measure(place.with_suffix(".nut"), images)
        found |= {"bytes": measured.bytes, "macs": measured.macs, "error_percent": measured.error_percent}
        if job.method == "pruned":
            found["numbers"] = measured.nonzero
    else:
        found |= {"error_percent": evaluate(network, images.test)[1]}
    found["validation_error_percent"] = evaluate(network, images.validation)[1]
    place.with_suffix(".json").write_text(json.dumps({"made_by": made_by(job, seed), "measured": found}, indent=1))
    place.with_suffix(".state").unlink()
    click.echo(f"{place.name}: {found}")


def made_by(job: Job, seed: int) -> dict[str, Any]:
    """What has to be the same for a kept card to stand for a job and seed."""
    settings = {"falling": FALLING} if job.method == "fresh" else {}
    settings |= {"weight_share": WEIGHT_SHARE} if job.method == "pruned" else {}
    return {"seed": seed, "job": asdict(job), "recipe": asdict(job.recipe), **settings}


def card(job: Job, seed: int, keep: Path) -> dict[str, Any] | None:
    """What was measured, if it is there and was made in this way."""
    file = keep / f"{job.name}-{seed}.json"
    if not file.exists():
        return None
    kept = json.loads(file.read_text())
    return kept["measured"] if kept["made_by"] == made_by(job, seed) else None


def write_down(keep: Path) -> None:
    """Put what is finished into ``results/``."""
    rows = {name: row for name, job in JOBS.items() if (row := row_of(job, keep))}
    if not rows:
        return
    sources = dict.fromkeys(row.pop("data") for row in rows.values())
    networks = dict.fromkeys(row["network"] for row in rows.values())
    results.save("compressed_filters", command=COMMAND, data=", ".join(sources),
                 recipes={network: recipe_of(network) for network in networks}, falling=FALLING, **sections(rows))
    if card(REFERENCE, SEEDS[0], keep) is not None:
        shutil.copyfile(keep / f"{REFERENCE.name}-{SEEDS[0]}.nut", results.folder() / "compressed_filters.nut")


def row_of(job: Job, keep: Path) -> dict[str, Any] | None:
    """A job's figures over the seeds that are finished."""
    cards = {seed: found for seed in SEEDS if (found := card(job, seed, keep)) is not None}
    if not cards:
        return None
    first = next(iter(cards.values()))
    return {
        "data": first["data"], "network": job.network, "method": job.method,
        ("block" if job.method == "circulant" else "rate"): job.rate,
        "learning_rate": job.learning_rate, "seeds": list(cards), "numbers": first["numbers"],
        **({"bytes": first["bytes"], "macs": first["macs"]} if is_saved(job) else {}),  # of the first seed
        "test_error_percent": results.summary([each["error_percent"] for each in cards.values()]),
        "validation_error_percent": results.summary([each["validation_error_percent"] for each in cards.values()]),
    }  # fmt: skip


def sections(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows by question."""

    def chosen(network: str, *methods: str) -> list[dict[str, Any]]:
        return [row for row in rows.values() if row["network"] == network and row["method"] in methods]

    found: dict[str, Any] = {
        "full": {network: chosen(network, "full")[0] for network in NETWORKS if chosen(network, "full")},
        "equal_bytes": chosen(MLP, "hashed", "dense", "low rank", "pruned"),
        "circulant": chosen(MLP, "circulant"),
        "without_signs": chosen(MLP, "unsigned"),
        "fresh": {network: chosen(network, "fresh", "hashed", "equal bands") for network in (CONVOLUTIONAL, CIFAR)},
    }
    hashed, full = rows.get(REFERENCE.name), rows.get(f"{MLP}-full-1")
    if hashed and full:
        lost = [a - b for a, b in zip(*(row["test_error_percent"]["each"] for row in (hashed, full)), strict=False)]
        found["reference"] = {"file": "compressed_filters.nut", **hashed, "points_lost": results.summary(lost)}
    return found


def recipe_of(network: str) -> dict[str, Any]:
    """What all jobs of a network have in common."""
    recipe = asdict(next(job.recipe for job in JOBS.values() if job.network == network))
    return {key: value for key, value in recipe.items() if key != "learning_rate"}


if __name__ == "__main__":
    main()
