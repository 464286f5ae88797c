"""From a trained network to a smaller dense one: empty neurons while training, take them out, train on.

The penalty is that of DropNeuron (Pan, Dong and Guo 2016), taken by proximal steps, so that neurons become exactly
empty; it grows until the network is small enough. Then neurons without connections are taken out, and what is left
learns on, from the labels and from the network that it was made of (Hinton, Vinyals and Dean 2015).
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import models
from nutshell.data.dataset import Dataset
from solutions.neuron_pruning.reference import group_soft_threshold, shrink_linear


@dataclass(frozen=True)
class Plan:
    """How a network is made smaller; everything but the seed.

    Attributes
    ----------
    parameters : int
        The penalty grows until the network, without its empty neurons, has at most so many.
    nonzero : int
        Weights and biases that are not zero after pruning weights as well.
    growth : float
        By how much the penalty's λ grows in an epoch.
    pruning_rate : float
        Learning rate while the penalty grows (SGD, Nesterov momentum 0.9).
    epochs : int
        Of training on afterwards.
    learning_rate, weight_decay : float
        Of Adam with decoupled decay, along half a cosine to zero.
    distil, temperature : float
        Weight of the first network's soft targets in the loss, 0 to 1, and their temperature.
    batch_size : int
        Images a step.
    """

    parameters: int
    nonzero: int
    growth: float = 0.002
    pruning_rate: float = 0.02
    epochs: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    distil: float = 0.7
    temperature: float = 4.0
    batch_size: int = 128


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers in their order."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def size(network: nn.Module) -> int:
    """Parameters, biases included."""
    return sum(parameter.numel() for parameter in network.parameters())


def shrunk(network: nn.Module) -> nn.Module:
    """A multilayer perceptron without its neurons that have no connections; the outputs are the same."""
    layers = linear_layers(network)
    weights, biases = shrink_linear([layer.weight.detach() for layer in layers],
                                    [layer.bias.detach() for layer in layers])
    small = models.build("mlp", sizes=(weights[0].shape[1], *(len(bias) for bias in biases)))
    with torch.no_grad():
        for layer, weight, bias in zip(linear_layers(small), weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return small.eval()


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Numbers of images, shuffled, some at a time."""
    yield from torch.randperm(count, generator=generator).split(size)


@torch.no_grad()
def proximal_step(network: nn.Module, threshold: float) -> None:
    """Shorten the incoming connections of each hidden neuron, then the outgoing ones."""
    layers = linear_layers(network)
    for layer in layers[:-1]:
        layer.weight.copy_(group_soft_threshold(layer.weight, threshold, dim=0))
    for layer in layers[1:]:
        layer.weight.copy_(group_soft_threshold(layer.weight, threshold, dim=1))


def empty_neurons(network: nn.Module, data: Dataset, plan: Plan, seed: int, most_epochs: int = 100) -> nn.Module:
    """A copy of the network, trained with a growing penalty until it is small enough; its empty neurons are in it.

    Raises
    ------
    RuntimeError
        If it is still too large after ``most_epochs``.
    """
    network = copy.deepcopy(network).train()
    inputs, labels = data.train.inputs(), data.train.labels
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=plan.pruning_rate, momentum=0.9, nesterov=True)
    per_epoch = -(-len(labels) // plan.batch_size)
    step = 0
    for _ in range(most_epochs):
        for chosen in batches(len(labels), plan.batch_size, generator):
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[chosen]), labels[chosen]).backward()
            optimiser.step()
            proximal_step(network, plan.pruning_rate * plan.growth * step / per_epoch)
            step += 1
            if step % 50 == 0 and size(shrunk(network)) <= plan.parameters:
                return network.eval()
    raise RuntimeError(f"After {most_epochs} epochs the network is still larger than {plan.parameters:,} parameters.")


def distillation_loss(logits: Tensor, labels: Tensor, targets: Tensor, plan: Plan) -> Tensor:
    """Cross-entropy with the labels, and T²·KL to the teacher's soft targets."""
    t = plan.temperature
    soft = functional.kl_div((logits / t).log_softmax(1), (targets / t).softmax(1), reduction="batchmean")
    return (1 - plan.distil) * functional.cross_entropy(logits, labels) + plan.distil * t * t * soft


def train_on(network: nn.Module, teacher: nn.Module, data: Dataset, plan: Plan, seed: int, epochs: int | None = None,
             nonzero: int | None = None) -> nn.Module:  # fmt: skip
    """A copy of the network, trained on with its teacher; with ``nonzero`` so many weights and biases are left.

    Pruning weights follows the cubic ramp of Zhu and Gupta from a tenth to the half of the steps, with one threshold
    on magnitudes for the whole network; pruned weights stay zero.
    """
    network, epochs = copy.deepcopy(network).train(), epochs or plan.epochs
    inputs, labels = data.train.inputs(), data.train.labels
    with torch.no_grad():
        targets = torch.cat([teacher(part) for part in inputs.split(1000)])
    parameters = list(network.parameters())
    masks = [torch.ones_like(parameter) for parameter in parameters]
    keep = 1.0 if nonzero is None else nonzero / size(network)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        [dict(params=[p for p in parameters if p.ndim > 1], weight_decay=plan.weight_decay),
         dict(params=[p for p in parameters if p.ndim == 1], weight_decay=0.0)], lr=plan.learning_rate)  # fmt: skip
    steps = epochs * -(-len(labels) // plan.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    step = 0
    for _ in range(epochs):
        for chosen in batches(len(labels), plan.batch_size, generator):
            optimiser.zero_grad()
            distillation_loss(network(inputs[chosen]), labels[chosen], targets[chosen], plan).backward()
            optimiser.step()
            schedule.step()
            step += 1
            if keep < 1 and step <= steps // 2 and (step % 50 == 0 or step == steps // 2):
                along = max(0.0, (step / (steps // 2) - 0.2) / 0.8)
                prune(parameters, masks, keep + (1 - keep) * (1 - along) ** 3)
            if keep < 1:
                apply(parameters, masks)
    return network.eval()


@torch.no_grad()
def apply(parameters: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Put zeros where a mask has them."""
    for parameter, mask in zip(parameters, masks, strict=True):
        parameter.mul_(mask)


@torch.no_grad()
def prune(parameters: Sequence[Tensor], masks: Sequence[Tensor], share: float) -> None:
    """Keep the largest magnitudes of the whole network, and nothing that was pruned before."""
    apply(parameters, masks)
    sizes = torch.cat([parameter.abs().flatten() for parameter in parameters])
    least = sizes.kthvalue(len(sizes) - max(1, round(share * len(sizes))) + 1).values
    for parameter, mask in zip(parameters, masks, strict=True):
        mask.mul_((parameter.abs() >= least) & (parameter != 0))
