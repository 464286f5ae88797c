"""Training on anything that can be said of a network's outputs: soft targets, logits, hints, or labels."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.augment import shift
from nutshell.data.dataset import Split
from nutshell.training import Recipe, evaluate, prepare
from solutions.student_and_teacher.reference import distillation_loss, hint_loss, mimic_loss

Objective = Callable[[Tensor, Tensor], Tensor]
"""Takes the network's outputs, float32, and which of the part's images they are of; gives the loss."""


def learn(network: nn.Module, part: Split, objective: Objective, recipe: Recipe, seed: int, *,
          chosen: Tensor | None = None, watch: Split | None = None, resume: Path | None = None) -> list[float]:
    """Train in place; the last epoch counts.

    Parameters
    ----------
    network : torch.nn.Module
        Takes inputs ``(N, C, H, W)``.
    part : Split
        Images to learn from.
    objective : callable
        What is made small: see ``Objective``.
    recipe : Recipe
        AdamW, warm-up and half a cosine down to zero; ``shift`` moves the images, and nothing that the objective knows
        of them moves along.
    seed : int
        Of order, shifts and dropout; the global random state is left as it was.
    chosen : Tensor, optional
        int64, positions in ``part`` of the images to use; all if left out.
    watch : Split, optional
        Images to measure the error on after each epoch.
    resume : Path, optional
        File that keeps the state after each epoch, from which an interrupted training goes on.

    Returns
    -------
    list of float
        Error on ``watch`` in percent after each epoch; empty without.
    """
    chosen = torch.arange(len(part)) if chosen is None else chosen
    inputs = None if recipe.shift else part.inputs(chosen).contiguous(memory_format=torch.channels_last)
    optimiser = _optimiser(prepare(network), recipe)
    per_epoch = -(-len(chosen) // recipe.batch_size)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        curve = _restored(resume, network, optimiser, generator)
        done = len(curve)
        for epoch in range(done, recipe.epochs):
            network.train()
            for number, at in enumerate(torch.randperm(len(chosen), generator=generator).split(recipe.batch_size)):
                rate = factor(epoch * per_epoch + number, recipe.epochs * per_epoch, recipe.warm_up)
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * rate
                batch = inputs[at] if inputs is not None else _shifted(part, chosen[at], recipe.shift, generator)
                loss = objective(answers(network, batch, recipe.precision), chosen[at])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            curve.append(evaluate(network, watch, precision=recipe.precision)[1] if watch is not None else 0.0)
            _store(resume, network, optimiser, generator, curve)
    network.eval()
    return curve if watch is not None else []


def answers(network: nn.Module, batch: Tensor, precision: str) -> Tensor:
    """A network's outputs, float32; with ``"bfloat16"`` all layers but the last one compute in that.

    Soft targets live on small differences between logits, and one of 20 has steps of an eighth in bfloat16.
    """
    if precision == "bfloat16" and isinstance(network, nn.Sequential):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = network[:-1](batch)
        return network[-1](hidden.float())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return network(batch).float()


def factor(step: int, steps: int, warm_up: float) -> float:
    """Share of the largest learning rate at a step: a straight line up, then half a cosine down.

    Examples
    --------
    >>> [round(factor(step, 100, 0.1), 2) for step in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    rising = round(warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    share = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + torch.cos(torch.tensor(torch.pi * share)).item())


def on_labels(part: Split) -> Objective:
    """Plain cross-entropy with the labels."""
    return lambda outputs, at: functional.cross_entropy(outputs, part.labels[at])


def on_soft_targets(part: Split, teacher: Tensor, temperature: float, soft_weight: float) -> Objective:
    """Distillation from a teacher's logits ``(len(part), classes)``."""
    return lambda outputs, at: distillation_loss(outputs, teacher[at], part.labels[at], temperature, soft_weight)


def on_targets(targets: Tensor, temperature: float) -> Objective:
    """T² · cross-entropy with ready probabilities ``(len(part), classes)`` at a temperature, such as an ensemble's."""
    return lambda outputs, at: temperature**2 * functional.cross_entropy(outputs / temperature, targets[at])


def on_logits(teacher: Tensor) -> Objective:
    """Half the squared distance to a teacher's logits."""
    return lambda outputs, at: mimic_loss(outputs, teacher[at])


def on_hints(hints: Tensor, regressor: nn.Conv2d) -> Objective:
    """Half the squared distance of the guided layer, through the regressor, to hints ``(len(part), P, H, W)``."""
    bias = regressor.bias
    if bias is None:
        raise ValueError("The regressor needs a bias.")
    return lambda outputs, at: hint_loss(hints[at].float(), outputs, regressor.weight, bias)


@torch.no_grad()
def outputs_of(network: nn.Module, part: Split, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """What a network says of every image of a part, in evaluation mode and float32 arithmetic."""
    network.eval()
    return torch.cat([network(part.inputs(slice(at, at + 1000))).to(dtype) for at in range(0, len(part), 1000)])


def _shifted(part: Split, at: Tensor, most: int, generator: torch.Generator) -> Tensor:
    moved = shift(part.images[at], most, generator)
    return part.standardise(moved).contiguous(memory_format=torch.channels_last)


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [dict(params=weights, weight_decay=recipe.weight_decay), dict(params=others, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _store(file: Path | None, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator,
           curve: list[float]) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(file.name + ".unfinished")
    torch.save(dict(network=network.state_dict(), optimiser=optimiser.state_dict(), generator=generator.get_state(),
                    torch=torch.get_rng_state(), curve=curve), unfinished)
    os.replace(unfinished, file)  # a reader sees the old state or the new one, never half of one


def _restored(file: Path | None, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator
              ) -> list[float]:
    if file is None or not file.exists():
        return []
    state = torch.load(file, weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    return state["curve"]
