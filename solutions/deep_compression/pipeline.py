"""From a network to a small ``.nut`` file: prune while training; :mod:`sharing` has the rest.

Deep Compression (Han, Mao and Dally 2016) with four changes. Pruning is gradual (Zhu and Gupta 2017): the share of
weights kept falls along a cubic, and one threshold on magnitudes serves the whole network, biases included. Sharing
weighs a centroid's distance against the bits of its code, −log₂ of its share (entropy-constrained vector quantisation:
Chou, Lookabaugh and Gray 1989). Gaps and indices are entropy-coded by asymmetric numeral systems. And the network
that was trained alike without pruning may teach the small one (Hinton, Vinyals and Dean 2015).
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.augment import shift
from nutshell.data.dataset import Dataset
from nutshell.training import evaluate
from solutions.deep_compression.forward import logits_of

Masks = dict[str, Tensor]
FOLLOWING = {  # the layer that takes a layer's outputs
    "lenet-300-100": {"fc1": "fc2", "fc2": "fc3"},
    "lenet-5-caffe": {"conv1": "conv2", "conv2": "fc1", "fc1": "fc2"},
}


@dataclass(frozen=True)
class Plan:
    """How a network is made small; everything but the seed.

    Attributes
    ----------
    network : str
        A key of ``FOLLOWING``.
    keep : float
        Share of weights and biases that pruning keeps, above 0 and at most 1; 1 trains the dense network alike.
    shift : int
        Random shifts of the training images, in pixels.
    epochs, sharing_epochs : int
        Of training with pruning, and of training the centroids.
    centroids : int
        Most centroids of a layer; all biases share half as many.
    price : float
        Of a bit, in variances of the layer's weights: the larger, the fewer centroids and the more alike.
    batch_size, learning_rate, weight_decay : int, float, float
        Of Adam, with decoupled decay of the weights.
    ramp : tuple of float
        Shares of the steps at which pruning begins and ends.
    favour : float
        Factor on the magnitudes of convolutions before they are compared with the others: their weights work at many
        positions.
    dropout : float
        Share of hidden units left out in a dense network; it shrinks with the root of the share of weights kept, since
        a pruned network has less to spare (Han, Pool, Tran and Dally 2015, section 3.2). None while centroids train.
    from_dense : bool
        Whether pruning begins with a dense network trained alike, as Han et al. do, or with random weights.
    distil : float
        Weight of the teacher's soft targets in the loss, from 0 to 1; the labels have the rest.
    temperature : float
        Of the soft targets.
    precision : {"float32", "bfloat16"}
        Arithmetic of forward and backward passes.
    """

    network: str
    keep: float
    shift: int = 0
    epochs: int = 60
    sharing_epochs: int = 10
    centroids: int = 16
    price: float = 0.01
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    ramp: tuple[float, float] = (0.08, 0.7)
    favour: float = 1.0
    dropout: float = 0.0
    from_dense: bool = False
    distil: float = 0.0
    temperature: float = 4.0
    precision: str = "float32"


def kept(plan: Plan, done: float) -> float:
    """Share of weights kept after a share of the steps: 1 − (1 − keep)·(1 − (1 − t)³) with t along the ramp.

    Examples
    --------
    >>> [round(kept(Plan("lenet-300-100", 0.1, ramp=(0.0, 0.5)), done), 4) for done in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.2125, 0.1, 0.1]
    """
    first, last = plan.ramp
    t = min(1.0, max(0.0, (done - first) / (last - first)))
    return plan.keep + (1 - plan.keep) * (1 - t) ** 3


def due(plan: Plan, step: int, steps: int) -> bool:
    """Whether to prune after this step: every 64 steps along the ramp, and at its end."""
    first, last = round(plan.ramp[0] * steps), min(math.ceil(plan.ramp[1] * steps), steps - 1)
    return plan.keep < 1 and (step == last or (first < step < last and step % 64 == 0))


def rate(plan: Plan, step: int, steps: int) -> float:
    """Learning rate: up within 500 steps, level, and along half a cosine to zero over the second half."""
    half = max(0.0, 2 * step / steps - 1)
    return plan.learning_rate * min(1.0, (step + 1) / 500) * 0.5 * (1 + math.cos(math.pi * half))


def batches(data: Dataset, plan: Plan, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of one epoch, shifted if the plan says so."""
    for chosen in torch.randperm(len(data.train), generator=generator).split(plan.batch_size):
        images = data.train.images[chosen]
        if plan.shift:
            images = shift(images, plan.shift, generator)
        inputs = data.train.standardise(images).contiguous(memory_format=torch.channels_last)
        yield inputs, data.train.labels[chosen]


def loss_of(
    plan: Plan, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor, teacher: nn.Module | None,
    dropout: float = 0.0, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Cross-entropy of the network with these parameters; with a teacher T²·KL to its soft targets beside it."""
    logits = logits_of(plan.network, parameters, images, plan.precision, dropout, generator)
    loss = functional.cross_entropy(logits, labels)
    if teacher is None or not plan.distil:
        return loss
    with torch.no_grad():
        targets = logits_of(plan.network, dict(teacher.named_parameters()), images, plan.precision)
    t = plan.temperature
    soft = functional.kl_div((logits / t).log_softmax(1), (targets / t).softmax(1), reduction="batchmean")
    return (1 - plan.distil) * loss + plan.distil * t * t * soft


def prune_and_train(
    network: nn.Module, data: Dataset, plan: Plan, seed: int, resume: Path, teacher: nn.Module | None = None
) -> None:
    """Train in place while the masks grow; with ``keep=1`` the dense network alike.

    A call that was interrupted goes on from ``resume``, which keeps the state after each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(network.named_parameters())
    masks = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
    decayed = [p for p in parameters.values() if p.ndim > 1]
    others = [p for p in parameters.values() if p.ndim == 1]
    optimiser = torch.optim.AdamW([dict(params=decayed, weight_decay=plan.weight_decay),
                                   dict(params=others, weight_decay=0.0)], lr=plan.learning_rate, fused=True)
    per_epoch = -(-len(data.train) // plan.batch_size)
    steps = plan.epochs * per_epoch
    first = load(resume, plan, seed, network, masks, optimiser, generator)
    for epoch in range(first, plan.epochs):
        network.train()
        for number, (images, labels) in enumerate(batches(data, plan, generator)):
            step = epoch * per_epoch + number
            for group in optimiser.param_groups:
                group["lr"] = rate(plan, step, steps)
            optimiser.zero_grad()
            dropout = plan.dropout * math.sqrt(kept(plan, step / steps))
            loss_of(plan, parameters, images, labels, teacher, dropout, generator).backward()
            optimiser.step()
            if due(plan, step, steps):
                prune(parameters, masks, kept(plan, step / steps), plan.favour)
                drop_unread(parameters, masks, FOLLOWING[plan.network])
            apply(masks, parameters)  # Adam keeps to itself what happens to each weight, so this is all it takes
        save(resume, plan, seed, network, masks, optimiser, generator, epoch + 1)
    network.eval()


@torch.no_grad()
def apply(masks: Masks, tensors: Mapping[str, Tensor]) -> None:
    """Put zeros where a mask has them."""
    for name, mask in masks.items():
        tensors[name].mul_(mask)


@torch.no_grad()
def prune(parameters: Mapping[str, Tensor], masks: Masks, share: float, favour: float = 1.0) -> None:
    """Keep the largest magnitudes of the whole network, and nothing that was pruned before."""
    sizes = {name: (parameters[name] * masks[name]).abs() * (favour if name.startswith("conv") else 1.0)
             for name in masks}
    everything = torch.cat([size.flatten() for size in sizes.values()])
    count = max(1, round(share * len(everything)))
    least = everything.kthvalue(len(everything) - count + 1).values
    for name, mask in masks.items():
        mask.mul_((sizes[name] >= least) & (parameters[name] != 0))


@torch.no_grad()
def drop_unread(parameters: Mapping[str, Tensor], masks: Masks, following: Mapping[str, str]) -> None:
    """Mask units and channels whose outputs nobody reads any more, from the last layer back."""
    for layer, after in reversed(list(following.items())):
        units = len(masks[f"{layer}.bias"])
        read = masks[f"{after}.weight"].flatten(1).reshape(-1, units, masks[f"{after}.weight"][0].numel() // units)
        used = read.amax((0, 2))
        masks[f"{layer}.bias"].mul_(used)
        masks[f"{layer}.weight"].mul_(used.reshape(-1, *[1] * (masks[f"{layer}.weight"].ndim - 1)))


def save(path: Path, plan: Plan, seed: int, network: nn.Module, masks: Masks, optimiser: torch.optim.Optimizer,
         generator: torch.Generator, epochs: int) -> None:  # fmt: skip
    """Keep the state after an epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    torch.save(dict(run=run_of(plan, seed), network=network.state_dict(), masks=masks, epochs=epochs,
                    optimiser=optimiser.state_dict(), generator=generator.get_state()), unfinished)
    os.replace(unfinished, path)


def load(path: Path, plan: Plan, seed: int, network: nn.Module, masks: Masks, optimiser: torch.optim.Optimizer,
         generator: torch.Generator) -> int:  # fmt: skip
    """Take a kept state up again if it is of this run; the epochs that it has behind it."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if run_of(Plan(plan.network, plan.keep), seed) | state["run"] != run_of(plan, seed):
        return 0  # a field that it hasn't came later, and stood at its default
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    for name, mask in state["masks"].items():
        masks[name].copy_(mask)
    return state["epochs"]


def run_of(plan: Plan, seed: int) -> dict[str, Any]:
    """What decides how training goes: sharing comes after it."""
    later = ("sharing_epochs", "centroids", "price")
    return {"seed": seed} | {name: str(value) for name, value in asdict(plan).items() if name not in later}


def validation_error(network: nn.Module, data: Dataset) -> float:
    """Percent of the validation images."""
    return evaluate(network, data.validation)[1]
