"""Short trainings of many candidates, epoch by epoch, so that a search may stop one early and go on with it later."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.data.dataset import Dataset, ReadySplit
from nutshell.search.space import Architecture, Space
from nutshell.training import Recipe, evaluate, prepare

# Chosen on validation images, for a few networks of the small space.
RECIPE = Recipe(epochs=4, batch_size=128, learning_rate=0.03, warm_up=0.2, precision="bfloat16")
IMAGES = 4000  # of the training images, for a candidate of the benchmark


def epochs(network: nn.Module, inputs: Tensor, labels: Tensor, recipe: Recipe, seed: int = 0) -> Iterator[float]:
    """Train a classifier in place, one epoch between two values: the mean cross-entropy over that epoch, in nats.

    Parameters
    ----------
    network : torch.nn.Module
        Maps inputs ``(N, C, H, W)`` to logits ``(N, classes)``.
    inputs, labels : Tensor
        float32 ``(N, C, H, W)``, as :meth:`nutshell.data.Split.inputs` gives them, and int64 ``(N,)``.
    recipe : Recipe
        How; without augmentation, by AdamW. The learning rate's course is that of all ``recipe.epochs``.
    seed : int
        Order of the images.
    """
    steps = recipe.epochs * -(-len(labels) // recipe.batch_size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
                                  fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps + 1, pct_start=max(recipe.warm_up, 1e-3),
        div_factor=10, final_div_factor=100, cycle_momentum=False)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.epochs):
        network.train()
        total = 0.0
        for chosen in torch.randperm(len(labels), generator=generator).split(recipe.batch_size):
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                loss = functional.cross_entropy(network(inputs[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
            total += loss.item() * len(chosen)
        network.eval()
        yield total / len(labels)


@dataclass
class Trained:
    """A candidate in training: its network, its validation errors so far and the seconds of processor time spent."""

    network: nn.Module
    ahead: Iterator[float] = field(repr=False)
    validation_error_percent: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Trainer:
    """Trains the architectures of a space on one data set, and remembers each.

    Parameters
    ----------
    space : Space
    data : Dataset
        ``train`` is learned from and ``validation`` watched; ``test`` is not touched.
    recipe : Recipe
        Of one candidate.
    images : int, optional
        How many of the training images, the first ones; all if left out.
    seed : int
        Of weights and order.

    Notes
    -----
    Seconds are those of the process, on all of its threads: another program beside it doesn't change them much.
    """

    def __init__(self, space: Space, data: Dataset, recipe: Recipe = RECIPE, *, images: int | None = IMAGES,
                 seed: int = 0) -> None:  # fmt: skip
        self.space, self.data, self.recipe, self.seed = space, data, recipe, seed
        self.inputs = data.train.inputs(slice(0, images)).contiguous(memory_format=torch.channels_last)
        self.labels = data.train.labels[:images]
        part = data.validation
        self.validation = ReadySplit(part.images, part.labels, part.mean, part.std)
        self.trained: dict[object, Trained] = {}

    @property
    def most_epochs(self) -> int:
        """Epochs of a finished candidate."""
        return self.recipe.epochs

    def train(self, architecture: Architecture, epochs_in_all: int | None = None) -> Trained:
        """Train a candidate until it has had so many epochs, all if left out; goes on where it stopped."""
        key = self.space.blocks(architecture)
        if key not in self.trained:
            network = prepare(self.space.build(architecture, self.seed))
            self.trained[key] = Trained(network, epochs(network, self.inputs, self.labels, self.recipe, self.seed))
        found = self.trained[key]
        while len(found.seconds) < (epochs_in_all or self.recipe.epochs):
            started = time.process_time()
            next(found.ahead)
            error = evaluate(found.network, self.validation, precision=self.recipe.precision)[1]
            found.validation_error_percent.append(error)
            found.seconds.append(time.process_time() - started)
        return found

    def evaluate(self, architecture: Architecture, epochs_in_all: int) -> dict[str, float]:
        """What a search is told about a candidate: validation error in percent and seconds of processor time so far."""
        found = self.train(architecture, epochs_in_all)
        return {"error_percent": found.validation_error_percent[epochs_in_all - 1],
                "seconds": sum(found.seconds[:epochs_in_all])}
