"""Unit 02, frugal data: the networks that are trained with each technique off and on, one small job a network and seed.

A job's figures are kept as JSON, so an interrupted run goes on where it was and seeds can be added later.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from nutshell import data, models
from nutshell.data.dataset import Dataset, Split
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.frugal_data.reference import augment, cyclic_rate, region_of_interest

STEERING = Recipe(epochs=25, batch_size=32, learning_rate=1e-3, precision="bfloat16")
PICTURES = Recipe(epochs=6, batch_size=64, learning_rate=2e-3, precision="bfloat16")
DIGITS = Recipe(epochs=5, batch_size=128, learning_rate=2e-3)
COPIES = 5
AUGMENTED = replace(STEERING, epochs=4)  # of six times as many frames
PER_FRAME = 0.004 * 320  # steering for a shift by a whole width of the frame: 0.004 for a pixel of 320
CYCLES = 4  # half cycles in a training with cyclic rates


def small_network(shape: tuple[int, int, int], outputs: int, widths: tuple[int, ...] = (8, 16, 16),
                  dense: int = 32) -> nn.Sequential:
    """3×3 convolutions with a 2×2 pool after each, and two linear layers.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image, each side at least ``2 ** len(widths)``.
    outputs : int
        Of the last layer.
    widths : tuple of int
        Channels of the convolutions.
    dense : int
        Neurons before the last layer.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in small_network((1, 20, 40), 1, (8, 12, 16), 16).parameters())
    5293
    """
    channels, height, width = shape
    layers: list[nn.Module] = []
    for wide in widths:
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = wide, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, dense), nn.ReLU(),
                         nn.Linear(dense, outputs))


@dataclass(frozen=True)
class Job:
    """A network, what it learns from, and how.

    Attributes
    ----------
    images : callable
        Returns the data set.
    network : callable
        Builds the network from nothing but the global seed.
    recipe : Recipe
        How.
    schedule : callable, optional
        As :func:`nutshell.training.train` takes it.
    """

    images: Callable[[], Dataset]
    network: Callable[[], nn.Module]
    recipe: Recipe
    schedule: Callable[[float], float] | None = None

    def build(self, seed: int) -> nn.Module:
        """The untrained network; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return prepare(self.network())


@cache
def load(name: str, **options: Any) -> Dataset:
    """A data set, once."""
    return data.load(name, **options)


def with_training(images: Dataset, train_images: Tensor, labels: Tensor) -> Dataset:
    """The same data set with other images to learn from."""
    return replace(images, train=replace(images.train, images=train_images, labels=labels))


@cache
def augmented(*shape: int) -> Dataset:
    """The track with five more of every frame, mirrored and moved by up to a tenth of its width, angles too."""
    images = load("track", shape=shape)
    frames, angles = [images.train.images], [images.train.labels]
    for seed in range(COPIES):
        more = augment(frames[0], angles[0], shape[2] // 10, PER_FRAME / shape[2], seed=seed)
        frames.append(more[0])
        angles.append(more[1].clamp(-1, 1))
    return with_training(images, torch.cat(frames), torch.cat(angles))


@cache
def cluttered() -> Dataset:
    """Gestures as a camera sees them: the white hand before bright pieces of the track's frames, in grey."""
    hands = load("gestures")
    walls = load("track", shape=(1, 80, 160)).train.images

    def before_a_wall(part: Split, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(walls), (len(part),), generator=generator)
        places = torch.randint(0, 30, (2, len(part)), generator=generator).tolist()
        pieces = [walls[wall, :, top : top + 50, left : left + 50] for wall, top, left in
                  zip(chosen.tolist(), *places, strict=True)]
        return replace(part, images=torch.where(part.images > 127, 235, torch.stack(pieces).clamp_max(200)))

    train, validation, test = map(before_a_wall, (hands.train, hands.validation, hands.test), range(3))
    return Dataset(f"{hands.name}, before pieces of {load('track').name}", train, validation, test, hands.classes)


@cache
def background_removed() -> Dataset:
    """The same with everything black that hasn't the hand's brightness."""
    images = cluttered()

    def black(part: Split) -> Split:
        found = []
        for image in part.images:
            (top, bottom, left, right), region = region_of_interest(image, (220,), (255,))
            whole = torch.zeros_like(image)
            whole[:, top:bottom, left:right] = region
            found.append(whole)
        return replace(part, images=torch.stack(found))

    return replace(images, train=black(images.train), validation=black(images.validation), test=black(images.test))


def cycle(done: float) -> float:
    """The cyclic rate as :func:`nutshell.training.train` takes it: two triangles, the second half as high."""
    return cyclic_rate(min(int(done * 1000), 999), 1000 // CYCLES, 0.05, 1.0, decay=0.5)


def _track(*shape: int, **options: Any) -> Callable[[], Dataset]:
    return lambda: load("track", shape=shape, **options)


def _pilot(variant: str) -> Callable[[], nn.Module]:
    return lambda: models.BUILDERS["pilotnet"](variant=variant)


def _small(shape: tuple[int, int, int], outputs: int, *sizes: Any) -> Callable[[], nn.Module]:
    return lambda: small_network(shape, outputs, *sizes)


def _steering(network: Callable[[], nn.Module], *shape: int) -> Job:
    return Job(lambda: augmented(*shape), network, AUGMENTED)


def _lenet() -> nn.Module:
    return models.BUILDERS["lenet-300-100"]()


def _pooled() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(196, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(),
                         nn.Linear(50, 10))


JOBS: dict[str, Job] = {
    # Autopilot, with augmentation: from the paper's network downwards
    "paper": _steering(_pilot("paper"), 3, 66, 200),
    "one-dense": _steering(_pilot("one-dense"), 3, 66, 200),
    "small": _steering(_pilot("small"), 3, 40, 40),
    "below-20k": _steering(_small((3, 32, 64), 1, (8, 16, 16), 32), 3, 32, 64),
    "below-8k": _steering(_small((3, 24, 48), 1, (8, 12, 16), 16), 3, 24, 48),
    "below-2k": _steering(_small((3, 16, 32), 1, (6, 8, 8), 12), 3, 16, 32),
    # single techniques
    "colour": _steering(_small((3, 40, 40), 1, (32, 32, 64), 32), 3, 40, 40),
    "grey": _steering(_small((1, 40, 40), 1, (32, 32, 64), 32), 1, 40, 40),
    "rescaled": _steering(_small((3, 20, 20), 1, (32, 32, 64), 32), 3, 20, 20),
    "plain": Job(_track(3, 40, 40), _pilot("small"), STEERING),
    "whole frame": Job(_track(3, 40, 40, whole=True), _pilot("small"), STEERING),
    "cyclic": Job(_track(3, 40, 40), _pilot("small"), STEERING, cycle),
    "large batches": Job(_track(3, 40, 40), _pilot("small"), replace(STEERING, batch_size=128)),
    # the other applications
    "lenet-300-100": Job(lambda: load("mnist"), _lenet, DIGITS),
    "pooled digits": Job(lambda: load("mnist"), _pooled, replace(DIGITS, epochs=10)),
    "gestures": Job(lambda: load("gestures"), _small((1, 50, 50), 11), PICTURES),
    "cluttered": Job(cluttered, _small((1, 50, 50), 11), PICTURES),
    "background removed": Job(background_removed, _small((1, 50, 50), 11), PICTURES),
    "malaria": Job(lambda: load("malaria"), _small((3, 48, 48), 2), replace(PICTURES, epochs=40, batch_size=32)),
    "quickdraw": Job(lambda: load("quickdraw"), _small((1, 28, 28), 6), replace(PICTURES, epochs=4)),
}


def error_percent(network: nn.Module, part: Split) -> float:
    """Share of pictures that are misread; of steering, the root mean squared distance from the driver's.

    Returns
    -------
    float
        Percent: of the pictures, or of full lock.
    """
    loss, error = evaluate(network, part)
    return 100 * loss**0.5 if part.labels.is_floating_point() else error


def run(name: str, seed: int, keep: Path) -> dict[str, Any]:
    """Train a job with one seed, unless that was done, and say what came of it.

    Returns
    -------
    dict
        ``data``, ``parameters``, ``validation_error_percent`` and ``test_error_percent`` as :func:`error_percent` gives
        them, and ``correlation`` of the steering with the driver's on the test part, None for others.
    """
    file = keep / f"{name.replace(' ', '-')}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    job = JOBS[name]
    images, network = job.images(), job.build(seed)
    weights = file.with_suffix(".safetensors")
    if weights.exists():
        load_model(network, weights)
    else:
        train(network, images, job.recipe, seed, progress=False, schedule=job.schedule)
        keep.mkdir(parents=True, exist_ok=True)
        save_model(network, str(weights))
    row = {"data": images.name, "parameters": sum(p.numel() for p in network.parameters()),
           "validation_error_percent": error_percent(network, images.validation),
           "test_error_percent": error_percent(network, images.test), "correlation": correlation(network, images.test)}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(row), encoding="utf-8")
    os.replace(unfinished, file)
    return row


@torch.no_grad()
def correlation(network: nn.Module, part: Split) -> float | None:
    """How far a network's steering goes along with the driver's, −1 to 1; None where it is no steering."""
    if not part.labels.is_floating_point():
        return None
    network.eval()
    said = torch.cat([network(part.inputs(slice(at, at + 200))).flatten() for at in range(0, len(part), 200)])
    return round(float(torch.corrcoef(torch.stack([said, part.labels]))[0, 1]), 3)
