"""Which start suits weight sharing, and what the lab's pipeline reaches: LeNet-300-100, three seeds.

    python -m solutions.deep_compression.starts

writes ``results/weight_sharing.json``, in one minute on one core. The shipped network is pruned gradually and trained
on, once for each seed, which draws the order of the images; then its layers share 2 to 32 centroids from each of the
three starts, and the centroids are trained for a hundred batches. The last row is the lab's own pipeline. Test images
are looked at once, for that row.
"""

import copy
import statistics

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact, checkpoints, data, results
from nutshell.data.dataset import Dataset
from nutshell.training import evaluate
from solutions.deep_compression.reference import centroid_gradient, codebook, pipeline, share

COMMAND = "python -m solutions.deep_compression.starts"
SEEDS = (0, 1, 2)
STARTS = ("linear", "density", "random")
CENTROIDS = (2, 4, 6, 8, 16, 32)
SHARES = (0.4, 0.2, 0.12, 0.08)  # of the weights, one pass each
LAB_SHARES, LAB_CENTROIDS = (0.4, 0.2, 0.12, 0.08, 0.06), 8
LEARNING_RATE = 1e-3
STEPS = 100  # of training the centroids
Batches = list[tuple[Tensor, Tensor]]


def main() -> None:
    """Measure and write down."""
    torch.set_num_threads(1)
    images = data.mnist()
    rows: dict[tuple[int, str], list[dict[str, float]]] = {}
    lab = []
    pruned_errors = []
    for seed in SEEDS:
        batches = batches_of(images, seed)
        pruned = pruned_and_trained(checkpoints.load("lenet-300-100"), batches)
        pruned_errors.append(evaluate(pruned, images.validation)[1])
        for q in CENTROIDS:
            for start in STARTS:
                found = shared_and_trained(pruned, images, batches, q, start, seed)
                rows.setdefault((q, start), []).append(found)
                click.echo(f"seed {seed}, {q} centroids, {start}: {found}")
        file = artefact.read(pipeline(checkpoints.load("lenet-300-100"), batches, LAB_SHARES, LAB_CENTROIDS))
        lab.append({"bytes": file.bytes, "validation": evaluate(file.network, images.validation)[1],
                    "test": evaluate(file.network, images.test)[1]})
        click.echo(f"seed {seed}, the lab's pipeline: {lab[-1]}")
    results.save(
        "weight_sharing", command=COMMAND, data=images.name, seeds=list(SEEDS), shares=list(SHARES),
        centroid_steps=STEPS,
        pruned_validation_error_percent=spread(pruned_errors),
        dense_validation_error_percent=evaluate(checkpoints.load("lenet-300-100"), images.validation)[1],
        rows=[{"centroids": q, "start": start} | {key: spread([line[key] for line in lines]) for key in lines[0]}
              for (q, start), lines in rows.items()],
        lab={"shares": list(LAB_SHARES), "centroids": LAB_CENTROIDS, "bytes": [line["bytes"] for line in lab],
             "validation_error_percent": spread([line["validation"] for line in lab]),
             "test_error_percent": spread([line["test"] for line in lab])},
    )  # fmt: skip


def batches_of(images: Dataset, seed: int) -> Batches:
    """The training images in batches of 256, in an order that the seed draws."""
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(seed))
    return [(images.train.inputs(chosen), images.train.labels[chosen]) for chosen in order.split(256)]


def pruned_and_trained(network: nn.Module, batches: Batches) -> nn.Module:
    """Prune in steps, by magnitude over the whole network, with a pass over the batches after each."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for kept in SHARES:
        sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
        least = sizes.topk(round(kept * len(sizes))).values[-1]
        masks = [weight.detach().abs() >= least for weight in weights]
        for inputs, labels in batches:
            for weight, mask in zip(weights, masks, strict=True):
                weight.data.mul_(mask)
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs), labels).backward()
            optimiser.step()
        for weight, mask in zip(weights, masks, strict=True):
            weight.data.mul_(mask)
    return network


def shared_and_trained(
    pruned: nn.Module, images: Dataset, batches: Batches, q: int, start: str, seed: int
) -> dict[str, float]:
    """Share a pruned network's weights among q centroids a layer; errors before and after training the centroids."""
    network = copy.deepcopy(pruned).requires_grad_(True)
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    books, indices, squares, largest = [], [], [], []
    for weight in weights:
        values = weight.detach()[weight.detach() != 0]
        books.append(codebook(values, q, start, seed))
        places, shared = share(weight.detach(), books[-1])
        away = (shared - weight.detach()).abs()
        squares.append(float((away**2).sum()))
        largest.append(float((away / values.abs().max()).flatten()[weight.detach().abs().argmax()]))
        indices.append(places)
        weight.data = shared
    before = evaluate(network, images.validation)[1]
    optimiser = torch.optim.Adam(books, lr=LEARNING_RATE)
    for inputs, labels in batches[:STEPS]:
        gradients = torch.autograd.grad(functional.cross_entropy(network(inputs), labels), weights)
        for book, gradient, places in zip(books, gradients, indices, strict=True):
            book.grad = centroid_gradient(gradient, places, q)
        optimiser.step()
        for weight, book, places in zip(weights, books, indices, strict=True):
            weight.data = torch.where(places < 0, 0.0, book[places])
    return {"squares": sum(squares), "largest_weight_off": statistics.mean(largest),
            "validation_error_before_percent": before,
            "validation_error_percent": evaluate(network, images.validation)[1]}


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation over the seeds."""
    mean, deviation = results.mean_and_spread(values)
    return {"mean": mean, "spread": deviation}


if __name__ == "__main__":
    main()
