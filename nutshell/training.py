"""Seeded training on a data set in memory, with a progress bar, a history that plots itself, and resumption."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from nutshell.augment import mirror, mirror_steering, shift
from nutshell.data.dataset import Dataset, Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; everything but the seed.

    Attributes
    ----------
    epochs : int
        Passes over the training images, at least 1.
    batch_size : int
        Images a step.
    optimiser : {"adam", "sgd"}
        ``"adam"`` decouples the weight decay (AdamW); ``"sgd"`` uses Nesterov momentum 0.9.
    learning_rate : float
        Largest learning rate: reached after ``warm_up``, followed by half a cosine down to zero.
    weight_decay : float
        Applied to weight matrices and kernels, not to biases or normalisation.
    warm_up : float
        Share of the steps in which the learning rate rises linearly, 0 to below 1.
    shift : int
        Random shifts of the training images, in pixels; 0 for none.
    mirror : bool
        Whether training images are mirrored at random, and steering with them.
    precision : {"float32", "bfloat16"}
        Arithmetic of forward and backward passes; weights stay float32.
    """

    epochs: int
    batch_size: int = 128
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warm_up: float = 0.0
    shift: int = 0
    mirror: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs={self.epochs}, batch_size={self.batch_size}: both must be at least 1.")
        if self.optimiser not in ("adam", "sgd"):
            raise ValueError(f'optimiser={self.optimiser!r}: choose "adam" or "sgd".')
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up={self.warm_up}: must be at least 0 and below 1, a share of all steps.")


@dataclass
class History:
    """What happened in each epoch: a list of rows, one epoch each.

    Attributes
    ----------
    rows : list of dict
        Keys ``epoch``, ``learning_rate``, ``train_loss`` (nats), ``validation_loss`` (nats),
        ``validation_error_percent``, ``seconds``; for ``numbers`` losses are mean squared errors.
    numbers : bool
        Whether numbers were learned, such as steering, and not classes.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    numbers: bool = False

    def plot(self) -> "Axes":
        """Draw losses on the left axis and validation error, in percent, on the right one."""
        from nutshell.plots import training_history

        if self.numbers:
            return training_history(self.rows, "mean squared error", "error (% of full scale)")
        return training_history(self.rows)


def train(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe,
    seed: int = 0,
    *,
    progress: bool = True,
    resume: Path | None = None,
    schedule: Callable[[float], float] | None = None,
) -> History:
    """Train a classifier in place with cross-entropy; the last epoch counts, not the best one.

    Where labels are numbers (float32), such as a steering angle, the loss is the mean squared error instead.

    Parameters
    ----------
    network : torch.nn.Module
        Maps inputs ``(N, C, H, W)`` to logits ``(N, classes)``, or to ``(N, 1)`` for numbers.
    data : Dataset
        ``train`` is learned from, ``validation`` only watched; ``test`` is not touched.
    recipe : Recipe
        How.
    seed : int
        Order of the images, augmentation and dropout; the global random state is left as it was.
    progress : bool
        Show a bar with loss and error.
    resume : Path, optional
        File that keeps the state after each epoch; an interrupted call goes on from there, a finished one
        is not repeated. It belongs to one recipe, data set and seed, and is refused for another.
    schedule : callable, optional
        Another course of the learning rate than warm-up and half a cosine: takes the share of the steps that are done,
        0 to 1, and returns the share of ``recipe.learning_rate`` to use.

    Returns
    -------
    History
        One row an epoch.

    Raises
    ------
    ValueError
        If ``resume`` was made by another recipe, data set, seed or network.
    """
    steps_per_epoch = -(-len(data.train) // recipe.batch_size)
    optimiser = _optimiser(network, recipe)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, _learning_rate_factor(recipe, steps_per_epoch, schedule))
    generator = torch.Generator().manual_seed(seed)
    history = History(numbers=data.train.labels.is_floating_point())
    run = _run_fingerprint(network, data, recipe, seed, schedule)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if resume is not None and resume.exists():
            _load_state(resume, run, network, optimiser, rates, generator, history)
        epochs = range(len(history.rows), recipe.epochs)
        bar = tqdm(total=recipe.epochs * steps_per_epoch, initial=epochs.start * steps_per_epoch, unit="step",
                   disable=not progress, desc="training")
        with bar:
            for epoch in epochs:
                started = time.perf_counter()
                rate = optimiser.param_groups[0]["lr"]
                train_loss = _epoch(network, data.train, recipe, optimiser, rates, generator, bar)
                loss, error = evaluate(network, data.validation, precision=recipe.precision)
                history.rows.append(dict(epoch=epoch + 1, learning_rate=rate, train_loss=train_loss,
                                         validation_loss=loss, validation_error_percent=error,
                                         seconds=time.perf_counter() - started))
                bar.set_postfix(epoch=epoch + 1, loss=f"{train_loss:.4f}", validation_error=f"{error:.2f} %")
                if resume is not None:
                    _save_state(resume, run, network, optimiser, rates, generator, history)
    network.eval()
    return history


def prepare(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out as the processor likes them (channels last); same network, same numbers."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs


@torch.no_grad()
def evaluate(
    network: nn.Module, part: Split, *, batch_size: int = 1000, precision: str = "float32"
) -> tuple[float, float]:
    """Mean loss and error of a network on one part of a data set.

    Parameters
    ----------
    network : torch.nn.Module
        Run in evaluation mode; its mode is put back afterwards.
    part : Split
        Images and labels, at least one.
    batch_size : int
        Images at a time.
    precision : {"float32", "bfloat16"}
        Arithmetic of the forward pass.

    Returns
    -------
    loss : float
        Cross-entropy in nats an image; mean squared error where labels are numbers.
    error_percent : float
        Share of images whose largest logit is not their label's, 0 to 100; where labels are numbers, such as steering
        from −1 to 1, 100 times the root of the mean squared error: percent of full lock.
    """
    was_training = network.training
    network.eval()
    loss, wrong = 0.0, 0
    for start in range(0, len(part), batch_size):
        chosen = slice(start, start + batch_size)
        labels = part.labels[chosen]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(part.inputs(chosen)).float()
        loss += _loss(logits, labels, "sum").item()
        wrong += 0 if labels.is_floating_point() else (logits.argmax(1) != labels).sum().item()
    network.train(was_training)
    error = (loss / len(part)) ** 0.5 if part.labels.is_floating_point() else wrong / len(part)
    return loss / len(part), 100 * error


def _loss(outputs: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    if labels.is_floating_point():
        return functional.mse_loss(outputs.flatten().float(), labels, reduction=reduction)
    return functional.cross_entropy(outputs, labels, reduction=reduction)


def _epoch(network, part, recipe, optimiser, schedule, generator, bar) -> float:
    network.train()
    total = 0.0
    for images, labels in _batches(part, recipe, generator):
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            loss = _loss(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.item() * len(labels)
        bar.update()
    return total / len(part)


def _batches(part: Split, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in torch.randperm(len(part), generator=generator).split(recipe.batch_size):
        images, labels = part.images[chosen], part.labels[chosen]
        if recipe.shift:
            images = shift(images, recipe.shift, generator)
        if recipe.mirror and labels.is_floating_point():
            images, labels = mirror_steering(images, labels, generator)
        elif recipe.mirror:
            images = mirror(images, generator)
        # convolutions are faster in this layout, and it changes nothing for other layers
        yield part.standardise(images).contiguous(memory_format=torch.channels_last), labels


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [dict(params=weights, weight_decay=recipe.weight_decay), dict(params=others, weight_decay=0.0)]
    if recipe.optimiser == "adam":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


def _learning_rate_factor(recipe: Recipe, steps_per_epoch: int, schedule: Callable[[float], float] | None = None):
    steps = recipe.epochs * steps_per_epoch
    if schedule is not None:
        return lambda step: schedule(min(step / steps, 1.0))
    warm_up = round(recipe.warm_up * steps)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, steps - warm_up)
        return 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(done, 1.0))).item())

    return factor


def _run_fingerprint(network: nn.Module, data: Dataset, recipe: Recipe, seed: int, schedule: object = None) -> str:
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    more = [] if schedule is None else [getattr(schedule, "__qualname__", repr(schedule))]
    text = json.dumps([asdict(recipe), data.name, len(data.train), seed, shapes, *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _save_state(path, run, network, optimiser, schedule, generator, history) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = dict(run=run, network=network.state_dict(), optimiser=optimiser.state_dict(),
                 schedule=schedule.last_epoch, generator=generator.get_state(), torch=torch.get_rng_state(),
                 history=history.rows)
    unfinished = path.with_name(path.name + ".unfinished")
    torch.save(state, unfinished)
    os.replace(unfinished, path)  # a reader sees the old state or the new one, never half of one


def _load_state(path, run, network, optimiser, schedule, generator, history) -> None:
    state = torch.load(path, weights_only=True)
    if state["run"] != run:
        raise ValueError(f"{path} keeps another training run (other network, data, recipe or seed). "
                         "Delete it to start anew, or name another file.")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.last_epoch = state["schedule"]
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    history.rows = state["history"]
