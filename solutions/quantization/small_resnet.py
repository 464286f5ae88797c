"""ResNet-20 in few bits: prune, then round to whole numbers, while training.

Pruning is gradual (Zhu and Gupta 2017, 1710.01878): the share
of weights kept falls along a cubic, and one threshold on magnitudes serves the whole network. Afterwards the forward
pass sees each layer's weights on a grid of equal steps, and the backward pass looks straight through the rounding
(Bengio, Léonard and Courville 2013, 1308.3432). Zero is on the grid, so pruned weights are one of its whole numbers,
and an entropy coder makes them cheap.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nutshell.artefact import Affine, Dense, Encoding
from nutshell.augment import mirror, shift
from nutshell.data.dataset import Dataset
from solutions.quantization.folding import scales_of

Masks = dict[str, Tensor]
Steps = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How ResNet-20 is made small; everything but the seed.

    Attributes
    ----------
    keep : float
        Share of the weights that pruning keeps, above 0 and at most 1.
    bits : int
        Of a weight, 2 to 8: whole numbers from −(2^(bits−1) − 1) to 2^(bits−1) − 1.
    end_bits : int
        The same for the first and the last layer, which are small and sensitive.
    epochs : int
        Of training in all.
    rounded_from : float
        Share of the steps after which weights are rounded in the forward pass, on grids that are laid then.
    ramp : tuple of float
        Shares of the steps at which pruning begins and ends.
    batch_size, learning_rate, weight_decay : int, float, float
        Of stochastic gradient descent with Nesterov momentum 0.9; the learning rate falls along half a cosine.
    shift, mirror : int, bool
        Random shifts in pixels, and mirroring, of the training images.
    precision : {"float32", "bfloat16"}
        Arithmetic of forward and backward passes.
    """

    keep: float = 0.5
    bits: int = 4
    end_bits: int = 6
    epochs: int = 2
    rounded_from: float = 0.35
    ramp: tuple[float, float] = (0.0, 0.3)
    batch_size: int = 64
    learning_rate: float = 0.003
    weight_decay: float = 5e-4
    shift: int = 4
    mirror: bool = True
    precision: str = "bfloat16"


def kept(plan: Plan, done: float) -> float:
    """Share of weights kept after a share of the steps: 1 − (1 − keep)·(1 − (1 − t)³) with t along the ramp.

    Examples
    --------
    >>> [round(kept(Plan(keep=0.1, ramp=(0.0, 0.5)), done), 4) for done in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.2125, 0.1, 0.1]
    """
    first, last = plan.ramp
    t = min(1.0, max(0.0, (done - first) / (last - first)))
    return plan.keep + (1 - plan.keep) * (1 - t) ** 3


def bits_of(plan: Plan, name: str) -> int:
    """Bits of a weight, by its name."""
    return plan.end_bits if name in ("conv.weight", "classifier.weight") else plan.bits


def step_of(values: Tensor, bits: int) -> float:
    """The step Δ of a symmetric grid of so many bits with the least squared error on the values that aren't zero.

    Parameters
    ----------
    values : Tensor
        Any shape; zeros are on every grid and don't count.
    bits : int
        2 to 8.

    Examples
    --------
    >>> round(step_of(torch.tensor([0.1, -0.2, 0.0, 0.7]), 4), 4)
    0.1
    """
    values = values[values != 0].double().flatten()
    if not len(values):
        return 1.0
    most = 2 ** (bits - 1) - 1
    shares = torch.arange(30, 101, dtype=torch.float64) / 100  # of the range that the grid reaches
    steps = shares * values.abs().max() / most
    errors = [float((values - (values / step).round().clamp(-most, most) * step).square().sum()) for step in steps]
    return float(steps[int(torch.tensor(errors).argmin())])


def on_grid(weight: Tensor, step: float, bits: int) -> Tensor:
    """Whole numbers q of the nearest points q·Δ, saturated at ±(2^(bits−1) − 1)."""
    most = 2 ** (bits - 1) - 1
    return (weight / step).round().clamp(-most, most)


def seen_by_forward(weights: Mapping[str, Tensor], masks: Masks, steps: Steps | None, plan: Plan) -> dict[str, Tensor]:
    """Masked weights, rounded if there are steps; gradients go straight through the rounding and stop at the mask."""
    found = {}
    for name, mask in masks.items():
        weight = weights[name] * mask
        if steps:
            rounded = on_grid(weight, steps[name], bits_of(plan, name)) * steps[name]
            weight = weight + (rounded - weight).detach()
        found[name] = weight
    return found


def prune_and_round(network: nn.Module, data: Dataset, plan: Plan, seed: int, resume: Path) -> Steps:
    """Train in place: first the masks grow, then weights are rounded; returns the steps of the grids.

    In the end the network's weights are on their grids. A call that was interrupted goes on from ``resume``, which
    keeps the state after each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {name: parameter for name, parameter in network.named_parameters() if parameter.ndim > 1}
    others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    masks = {name: torch.ones_like(weight) for name, weight in weights.items()}
    optimiser = torch.optim.SGD([dict(params=list(weights.values()), weight_decay=plan.weight_decay),
                                 dict(params=others, weight_decay=0.0)], lr=plan.learning_rate, momentum=0.9,
                                nesterov=True)  # fmt: skip
    per_epoch = -(-len(data.train) // plan.batch_size)
    total = plan.epochs * per_epoch
    steps: Steps = {}
    for epoch in range(load(resume, plan, seed, network, masks, steps, optimiser, generator), plan.epochs):
        network.train()
        losses = 0.0
        for number, (images, labels) in enumerate(batches(data, plan, generator), start=epoch * per_epoch):
            if number == round(plan.rounded_from * total):
                steps |= steps_of(weights, masks, plan)
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * 0.5 * (1 + math.cos(math.pi * number / total))
            with torch.autocast("cpu", torch.bfloat16, enabled=plan.precision == "bfloat16"):
                logits = functional_call(network, seen_by_forward(weights, masks, steps, plan), (images,))
                loss = functional.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if due(plan, number, total):
                prune(weights, masks, kept(plan, number / total))
            losses += loss.item() / per_epoch
        with torch.no_grad():
            for name, weight in weights.items():  # what momentum did behind the masks
                weight.mul_(masks[name])
        save(resume, plan, seed, network, masks, steps, optimiser, generator, epoch + 1)
        click.echo(f"seed {seed}, epoch {epoch + 1} of {plan.epochs}: loss {losses:.3f}")
    with torch.no_grad():
        for name, rounded in seen_by_forward(weights, masks, steps, plan).items():
            weights[name].copy_(rounded)
    network.eval()
    return steps


def due(plan: Plan, step: int, total: int) -> bool:
    """Whether to prune after this step: every 32 steps along the ramp, and at its end."""
    first, last = round(plan.ramp[0] * total), min(math.ceil(plan.ramp[1] * total), total - 1)
    return plan.keep < 1 and (step == last or (first < step < last and step % 32 == 0))


@torch.no_grad()
def prune(weights: Mapping[str, Tensor], masks: Masks, share: float) -> None:
    """Keep the largest magnitudes of the whole network, and nothing that was pruned before."""
    sizes = torch.cat([(weights[name] * masks[name]).abs().flatten() for name in masks])
    count = max(1, round(share * len(sizes)))
    least = sizes.kthvalue(len(sizes) - count + 1).values
    for name, mask in masks.items():
        mask.mul_((weights[name].abs() >= least) & (weights[name] != 0))


def steps_of(weights: Mapping[str, Tensor], masks: Masks, plan: Plan) -> Steps:
    """The step of each layer's grid, for the weights that pruning left."""
    return {name: step_of(weight.detach() * masks[name], bits_of(plan, name)) for name, weight in weights.items()}


def batches(data: Dataset, plan: Plan, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of one epoch, shifted and mirrored as the plan says."""
    for chosen in torch.randperm(len(data.train), generator=generator).split(plan.batch_size):
        images = data.train.images[chosen]
        if plan.shift:
            images = shift(images, plan.shift, generator)
        if plan.mirror:
            images = mirror(images, generator)
        inputs = data.train.standardise(images).contiguous(memory_format=torch.channels_last)
        yield inputs, data.train.labels[chosen]


# Writing it down


def encodings(network: nn.Module, folded: nn.Module, steps: Steps, plan: Plan) -> dict[str, Encoding]:
    """For each tensor of the folded network how it is written: whole numbers, entropy-coded, and biases in 16 bits.

    A layer's grid has one step Δ for all channels before folding; folding multiplies it by each channel's s, whose
    sign goes into the whole numbers, so the scale of a channel in the file is Δ times its magnitude.
    """
    factors = scales_of(network)
    found: dict[str, Encoding] = {}
    for name, parameter in folded.named_parameters():
        if parameter.ndim == 1:
            found[name] = Dense("float16")
            continue
        factor = factors.get(name.removesuffix(".weight"), torch.ones(1)).abs()
        scale = torch.where(factor > 0, factor * steps[name], 1.0)
        found[name] = Affine(bits_of(plan, name), axis=0 if len(scale) > 1 else None, symmetric=True, scale=scale,
                             coder="ans")  # fmt: skip
    return found


def save(path: Path, plan: Plan, seed: int, network: nn.Module, masks: Masks, steps: Steps,
         optimiser: torch.optim.Optimizer, generator: torch.Generator, epochs: int) -> None:  # fmt: skip
    """Keep the state after an epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    torch.save(dict(run=run_of(plan, seed), network=network.state_dict(), masks=masks, steps=steps, epochs=epochs,
                    optimiser=optimiser.state_dict(), generator=generator.get_state()), unfinished)
    os.replace(unfinished, path)


def load(path: Path, plan: Plan, seed: int, network: nn.Module, masks: Masks, steps: Steps,
         optimiser: torch.optim.Optimizer, generator: torch.Generator) -> int:  # fmt: skip
    """Take a kept state up again if it is of this run; the epochs that it has behind it."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["run"] != run_of(plan, seed):
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    for name, mask in state["masks"].items():
        masks[name].copy_(mask)
    steps |= state["steps"]
    return state["epochs"]


def run_of(plan: Plan, seed: int) -> dict[str, Any]:
    """What decides how training goes."""
    return {"seed": seed} | {name: str(value) for name, value in asdict(plan).items()}
