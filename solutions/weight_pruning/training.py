"""Pruning while training, as the lab does it, at the length that the reference results need.

The mask grows along the cubic ramp; between two of its updates :func:`masked_training` takes a segment of steps with a
learning rate of its own. Everything is made of the reference library's functions.
"""

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nutshell.augment import shift
from nutshell.data.dataset import Dataset
from solutions.weight_pruning.reference import gradual_sparsity, magnitude_mask, masked_training

Masks = dict[str, Tensor]
SEGMENT = 86  # steps between two updates of the mask: a fifth of an epoch of MNIST


@dataclass(frozen=True)
class Plan:
    """How a trained network is pruned and trained on; everything but the seed.

    Attributes
    ----------
    keep : float or mapping of str to float
        Share of the weights kept: of all together, by one threshold, or for each weight tensor by its name. 1 keeps
        all and trains the dense network alike.
    epochs : int
        Of training on.
    shift : int
        Random shifts of the training images, in pixels.
    ramp : float
        Share of the steps after which the mask is final; 0 prunes in one go, before the first step.
    learning_rate, weight_decay : float
        Of SGD with Nesterov momentum 0.9; the rate is level along the ramp and then falls along half a cosine.
    batch_size : int
        Images a step.
    precision : {"float32", "bfloat16"}
        Arithmetic of forward and backward passes.
    """

    keep: float | Mapping[str, float]
    epochs: int = 12
    shift: int = 0
    ramp: float = 0.5
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    batch_size: int = 128
    precision: str = "float32"


def pruned(network: nn.Module, images: Dataset, plan: Plan, seed: int, masks: Masks | None = None) -> nn.Module:
    """A copy of a network, pruned along the ramp and trained on; ``masks``, if given, are held from the start."""
    small = _Cast(copy.deepcopy(network), plan.precision)
    generator = torch.Generator().manual_seed(seed)
    steps = plan.epochs * -(-len(images.train) // plan.batch_size)
    updates = max(1, round(plan.ramp * steps / SEGMENT))
    source = batches(images, plan, generator)
    for step in range(0, steps, SEGMENT):
        done = gradual_sparsity(step + SEGMENT if plan.ramp else steps, 0, SEGMENT, updates, 1.0)
        held = masks if masks is not None else masks_of(small.network, plan.keep, done)
        segment = (next(source) for _ in range(min(SEGMENT, steps - step)))
        optimiser = functools.partial(torch.optim.SGD, lr=learning_rate(plan, step, steps), momentum=0.9,
                                      nesterov=True, weight_decay=plan.weight_decay)
        masked_training(small, {f"network.{name}": mask for name, mask in held.items()}, segment, optimiser)
    return small.network.eval()


def masks_of(network: nn.Module, keep: float | Mapping[str, float], done: float = 1.0) -> Masks:
    """Masks after a share ``done`` of the pruning: by one threshold over all weights, or tensor by tensor.

    Examples
    --------
    >>> masks = masks_of(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 1)), 0.4)
    >>> sum(int(mask.sum()) for mask in masks.values())
    10
    """
    weights = {name: weight.detach() for name, weight in network.named_parameters() if weight.ndim > 1}
    if isinstance(keep, Mapping):
        return {name: magnitude_mask(weight, done * (1 - keep[name])) for name, weight in weights.items()}
    mask = magnitude_mask(torch.cat([weight.flatten() for weight in weights.values()]), done * (1 - keep))
    parts = mask.split([weight.numel() for weight in weights.values()])
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, parts, strict=True)}


def learning_rate(plan: Plan, step: int, steps: int) -> float:
    """Level along the ramp, then half a cosine down to nearly zero."""
    after = max(0.0, (step / steps - plan.ramp) / (1 - plan.ramp)) if plan.ramp < 1 else 0.0
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * min(after, 0.98)))


def batches(images: Dataset, plan: Plan, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels, epoch after epoch."""
    ready = None if plan.shift else images.train.inputs()
    while True:
        for chosen in torch.randperm(len(images.train), generator=generator).split(plan.batch_size):
            inputs = ready[chosen] if ready is not None else images.train.standardise(
                shift(images.train.images[chosen], plan.shift, generator))
            yield inputs.contiguous(memory_format=torch.channels_last), images.train.labels[chosen]


class _Cast(nn.Module):
    """A network that computes in another precision; its weights stay float32."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network, self.short = network.train(), precision == "bfloat16"

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.short):
            return self.network(inputs).float()
