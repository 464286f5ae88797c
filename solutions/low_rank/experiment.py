"""The unit's reference result: LeNet-300-100's first layer at many ranks, before and after fine-tuning, three seeds.

    python -m solutions.low_rank.experiment

writes ``results/low_rank.json`` and ``results/low_rank.nut``. About ten minutes on one core; dense networks are
kept in ``trained/`` and not trained again. A seed stands for a whole pipeline: a network trained from scratch by the
recipe of the checkpoint that ships (which is seed 0), factorised and fine-tuned. The rank is chosen on validation
images; the test images are looked at once, for the rank chosen and for the dense networks beside it.
"""

import copy
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import artefact, checkpoints, data, models, results
from nutshell.data.dataset import Dataset
from nutshell.recipes import RECIPES
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.low_rank.reference import factorise

COMMAND = "python -m solutions.low_rank.experiment"
NETWORK = "lenet-300-100"
SEEDS = (0, 1, 2)
RANKS = (5, 10, 15, 20, 25, 30, 43, 60)
FINE_TUNING = Recipe(epochs=5, learning_rate=5e-4)  # of three tried, the best on validation images
TOLERANCE = 0.2  # points of validation error that the rank chosen may cost, in the mean over the seeds


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder that keeps the dense networks of seeds 1 and 2.")
def main(keep: Path) -> None:
    """Measure LeNet-300-100 with a first layer of low rank."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    images = data.mnist()
    dense = [dense_network(images, seed, keep) for seed in SEEDS]
    tuned = [fine_tuned(network, images, seed) for seed, network in zip(SEEDS, dense, strict=True)]
    rows, networks = [], {}
    for rank in RANKS:
        before = [with_small_layer(network, rank) for network in dense]
        networks[rank] = [fine_tuned(network, images, seed) for seed, network in zip(SEEDS, before, strict=True)]
        rows.append(row(rank, before, networks[rank], images))
        click.echo(f"rank {rank}: {rows[-1]['validation_error_before_percent']} before, "
                   f"{rows[-1]['validation_error_percent']} after")
    baseline = errors(dense, images, "validation")
    rank = choose(rows, sum(baseline) / len(baseline))
    file_bytes = artefact.save(networks[rank][0], results.folder() / "low_rank.nut", input_shape=(1, 28, 28))
    reference: dict[str, Any] = {
        "rank": rank,
        "first_layer_bytes": layer_bytes(networks[rank][0]),
        "first_layer_rate": layer_bytes(dense[0]) / layer_bytes(networks[rank][0]),
        "file_bytes": file_bytes,
        "test_error_percent": results.summary(errors(networks[rank], images, "test")),
        "dense_test_error_percent": results.summary(errors(dense, images, "test")),
        "dense_fine_tuned_alike_test_error_percent": results.summary(errors(tuned, images, "test")),
    }
    reference["points_lost"] = results.summary([after - first for after, first in zip(
        reference["test_error_percent"]["each"], reference["dense_test_error_percent"]["each"], strict=True)])
    file = results.save(
        "low_rank", command=COMMAND, data=images.name, network=NETWORK, layer="fc1", seeds=list(SEEDS),
        fine_tuning=vars(FINE_TUNING),
        rank_chosen_by=f"smallest with a mean validation error of at most {TOLERANCE} points above the dense networks'",
        dense_first_layer_bytes=layer_bytes(dense[0]),
        dense_validation_error_percent=results.summary(baseline),
        dense_fine_tuned_alike_validation_error_percent=results.summary(errors(tuned, images, "validation")),
        rows=rows, reference=reference)
    click.echo(f"{file}: rank {rank}, first layer {reference['first_layer_rate']:.2f} times smaller, "
               f"{reference['points_lost']['mean']:+.2f} points of test error.")


def dense_network(images: Dataset, seed: int, keep: Path) -> nn.Module:
    """A LeNet-300-100 trained by the recipe of the checkpoint; seed 0 is the checkpoint."""
    if seed == checkpoints.card(NETWORK).seed and checkpoints.card(NETWORK).data == images.name:
        return checkpoints.load(NETWORK)
    network = prepare(models.build(NETWORK, seed=seed))
    train(network, images, RECIPES[NETWORK].training, seed, resume=keep / f"{NETWORK}-{seed}.state")
    return network


def with_small_layer(network: nn.Module, rank: int) -> nn.Module:
    """A copy of the network whose first layer is factorised."""
    small = copy.deepcopy(network)
    small.fc1 = factorise(network.get_parameter("fc1.weight"), network.get_parameter("fc1.bias"), rank)
    return small


def fine_tuned(network: nn.Module, images: Dataset, seed: int) -> nn.Module:
    """A copy of the network, trained on for a while."""
    copied = copy.deepcopy(network)
    train(copied, images, FINE_TUNING, seed, progress=False)
    return copied


def layer_bytes(network: nn.Module) -> int:
    """Bytes of the first layer's parameters in fp32."""
    return sum(4 * parameter.numel() for parameter in network.get_submodule("fc1").parameters())


def errors(networks: list[nn.Module], images: Dataset, part: str) -> list[float]:
    """Error of each network in percent of the images of one part."""
    return [evaluate(network, getattr(images, part))[1] for network in networks]


def row(rank: int, before: list[nn.Module], after: list[nn.Module], images: Dataset) -> dict[str, Any]:
    """What one rank costs and loses."""
    return {"rank": rank, "first_layer_bytes": layer_bytes(after[0]),
            "validation_error_before_percent": results.summary(errors(before, images, "validation")),
            "validation_error_percent": results.summary(errors(after, images, "validation"))}


def choose(rows: list[dict[str, Any]], dense_error: float) -> int:
    """The smallest rank within the tolerance; the largest if none is.

    Examples
    --------
    >>> rows = [{"rank": rank, "validation_error_percent": {"mean": error}} for rank, error in ((5, 4.0), (30, 1.3))]
    >>> choose(rows, dense_error=1.25)
    30
    """
    within = [row["rank"] for row in rows if row["validation_error_percent"]["mean"] <= dense_error + TOLERANCE]
    return min(within, default=max(row["rank"] for row in rows))


if __name__ == "__main__":
    main()
