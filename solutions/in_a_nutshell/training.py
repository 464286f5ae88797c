"""The contest's entry: a small network, trained on a grid of few bits; and the same taught by a larger one.

Techniques of the course on top of each other: an architecture whose activations fit into on-chip memory (unit 10), and
rounding with training (unit 6) under an entropy code (unit 7), so that its weights fit as well. Soft targets (unit 11)
were tried for it, too.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from nutshell.artefact import Affine
from nutshell.augment import shift
from nutshell.data.dataset import Dataset
from nutshell.training import prepare


@dataclass(frozen=True)
class Plan:
    """How the entry is made; everything but the seed.

    Attributes
    ----------
    channels : tuple of int
        Of the three convolutions.
    epochs, rounded_epochs : int
        With weights in float32, and after that on the grid.
    bits : int
        Of the grid.
    distil, temperature : float
        Weight of the teacher's soft targets, 0 to 1, and what its logits are divided by.
    batch_size, learning_rate : int, float
        Of Adam; half a cosine down to zero, from a third of it on the grid.
    pixels : int
        Random shifts of the training images.
    """

    channels: tuple[int, int, int] = (6, 8, 12)
    epochs: int = 20
    rounded_epochs: int = 4
    bits: int = 5
    distil: float = 0.7
    temperature: float = 4.0
    batch_size: int = 256
    learning_rate: float = 6e-3
    pixels: int = 1


def entry(channels: tuple[int, int, int] = (6, 8, 12), seed: int = 0) -> nn.Sequential:
    """Three convolutions with strides, and one linear layer; no activation takes more than 8 KB.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in entry().parameters())
    2562
    """
    first, second, third = channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, first, 5, stride=3, padding=2), nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(second, third, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9 * third, 10),
        )  # fmt: skip


class Grid(nn.Module):
    """Weights on the grid that the file keeps, with the gradient passing straight through."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.most = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        step = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-8) / self.most
        step = step.reshape(-1, *[1] * (weight.ndim - 1))
        return weight + (torch.round(weight / step) * step - weight).detach()


def rounded(network: nn.Module, bits: int) -> None:
    """Let all weights be rounded from now on, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Grid(bits))


def settled(network: nn.Module) -> nn.Module:
    """Keep the rounded weights as the weights, in place."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return network.eval()


def encodings(network: nn.Module, bits: int) -> Mapping[str, Affine]:
    """Whole numbers by asymmetric numeral systems for weights; biases stay as they are."""
    return {name: Affine(bits, axis=0, symmetric=True, coder="ans")
            for name, parameter in network.named_parameters() if parameter.ndim > 1}  # fmt: skip


def train(
    network: nn.Module, data: Dataset, plan: Plan, seed: int, teacher: nn.Module | None, resume: Path,
    *, on_grid: bool = False,
) -> nn.Module:  # fmt: skip
    """Train in place, with soft targets if there is a teacher; goes on from ``resume`` after each epoch."""
    prepare(network).train()
    if on_grid:
        rounded(network, plan.bits)
    epochs = plan.rounded_epochs if on_grid else plan.epochs
    largest = plan.learning_rate / 3 if on_grid else plan.learning_rate
    generator = torch.Generator().manual_seed(seed + 100 * on_grid)
    optimiser = torch.optim.Adam(network.parameters(), lr=largest)
    steps = -(-len(data.train) // plan.batch_size)
    later = () if on_grid else ("bits", "rounded_epochs")
    run = {"seed": seed, "on_grid": on_grid, "taught": teacher is not None,
           **{key: value for key, value in asdict(plan).items() if key not in later}}
    for epoch in range(_load(resume, run, network, optimiser, generator), epochs):
        for number, chosen in enumerate(torch.randperm(len(data.train), generator=generator).split(plan.batch_size)):
            done = (epoch * steps + number) / (epochs * steps)
            falling = 0.5 * (1 + math.cos(math.pi * done))
            optimiser.param_groups[0]["lr"] = largest * min(1.0, 20 * done + 0.01) * falling
            images = shift(data.train.images[chosen], plan.pixels, generator)
            inputs = data.train.standardise(images).contiguous(memory_format=torch.channels_last)
            optimiser.zero_grad()
            _loss(network, teacher, inputs, data.train.labels[chosen], plan).backward()
            optimiser.step()
        _save(resume, run, network, optimiser, generator, epoch + 1)
    return settled(network) if on_grid else network.eval()


def _loss(network: nn.Module, teacher: nn.Module | None, inputs: Tensor, labels: Tensor, plan: Plan) -> Tensor:
    logits = network(inputs)
    hard = functional.cross_entropy(logits, labels)
    if teacher is None:
        return hard
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        targets = (teacher(inputs).float() / plan.temperature).softmax(1)
    soft = functional.kl_div((logits / plan.temperature).log_softmax(1), targets, reduction="batchmean")
    return (1 - plan.distil) * hard + plan.distil * plan.temperature**2 * soft


def _save(path: Path, run: dict, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator,
          epochs: int) -> None:  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    torch.save(dict(run=str(run), network=network.state_dict(), optimiser=optimiser.state_dict(),
                    generator=generator.get_state(), epochs=epochs), unfinished)
    os.replace(unfinished, path)


def _load(path: Path, run: dict, network: nn.Module, optimiser: torch.optim.Optimizer,
          generator: torch.Generator) -> int:  # fmt: skip
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["run"] != str(run):
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    return state["epochs"]
