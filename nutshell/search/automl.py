"""AutoML in two calls: ``AutoClassifier(max_trials=20).fit(images, labels)``, then ``predict``.

The same calls as AutoKeras (Jin et al. 2019, arXiv 1806.10282): ``max_trials`` and ``max_model_size`` are those of its
present interface, ``time_limit`` and ``final_fit`` those of its first.
"""

from collections import deque
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nutshell.data.dataset import Dataset, ReadySplit, Split
from nutshell.errors import WrongUse
from nutshell.models.blocks import fold
from nutshell.search import trainer as training
from nutshell.search.caps import Cap
from nutshell.search.running import Outcome, finished, run
from nutshell.search.space import LARGE, Space
from nutshell.search.strategies import AgeingEvolution, RandomSearch, Reinforce, Strategy, SuccessiveHalving
from nutshell.search.tpe import Tpe
from nutshell.search.trainer import RECIPE, Trainer
from nutshell.training import Recipe, prepare

STRATEGIES: dict[str, type[Strategy]] = {
    "evolution": AgeingEvolution, "random": RandomSearch, "reinforcement": Reinforce, "halving": SuccessiveHalving,
    "optuna": Tpe,
}  # fmt: skip


class AutoClassifier:
    """Searches for a network that classifies small images, trains the best one on all of them, and predicts with it.

    Parameters
    ----------
    max_trials : int
        Budget in finished trainings; a strategy that stops trainings early makes more of it.
    max_model_size : int, optional
        Most parameters.
    max_macs : int, optional
        Most multiply-accumulates an image.
    strategy : {"evolution", "random", "reinforcement", "halving", "optuna"}
        How it searches; ``"optuna"`` asks Optuna's TPE.
    space : Space
        Its number of channels, size of image and classes are set to those of the images.
    recipe : Recipe
        Of one trial.
    images_per_trial : int
        Of the training images, a trial learns from so many.
    seed : int
    journal : Path, optional
        Keeps the trials, so that an interrupted search goes on; see :func:`nutshell.search.run`.

    Attributes
    ----------
    outcomes : list of Outcome
        All trials of the search.
    best : dict
        The architecture with the smallest validation error.
    network : torch.nn.Module
        Its network, trained on all images given.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 256, (60, 1, 16, 16), dtype=np.uint8)
    >>> model = AutoClassifier(max_trials=2, max_model_size=5000, strategy="random", recipe=replace(RECIPE, epochs=1))
    >>> model.fit(images, np.arange(60) % 2, final_epochs=1, progress=False).predict(images[:3]).shape
    (3,)
    >>> model.parameters <= 5000
    True
    """

    def __init__(
        self, *, max_trials: int = 20, max_model_size: int | None = None, max_macs: int | None = None,
        strategy: str = "evolution", space: Space = LARGE, recipe: Recipe = RECIPE, images_per_trial: int = 4000,
        seed: int = 0, journal: Path | None = None,
    ) -> None:  # fmt: skip
        if strategy not in STRATEGIES:
            raise WrongUse(f"strategy={strategy!r}: choose one of {', '.join(STRATEGIES)}.")
        if max_trials < 1:
            raise WrongUse(f"max_trials={max_trials}: at least one network has to be trained.")
        self.max_trials, self.cap, self.strategy = max_trials, Cap(max_model_size, max_macs), strategy
        self.space, self.recipe, self.images_per_trial = space, recipe, images_per_trial
        self.seed, self.journal = seed, journal
        self.outcomes: list[Outcome] = []

    def fit(
        self, images: Any, labels: Any, *, time_limit: float | None = None, final_epochs: int = 4,
        validation_share: float = 0.1, progress: bool = True,
    ) -> "AutoClassifier":  # fmt: skip
        """Search, then train the best network on all images.

        Parameters
        ----------
        images : array or Tensor
            uint8, ``(N, H, W)`` or ``(N, C, H, W)``.
        labels : array or Tensor
            One whole number an image.
        time_limit : float, optional
            Seconds after which no further trial is begun; a trial that runs is finished.
        final_epochs : int
            Of the last training.
        validation_share : float
            Of the images, drawn at random, that the search judges by and doesn't train on.
        progress : bool
            Whether to show a bar.
        """
        data = self._dataset(images, labels, validation_share)
        shape = data.train.images.shape
        if shape[2] != shape[3] or shape[2] < 8:
            raise WrongUse(f"Images of {shape[2]}×{shape[3]} pixels: they have to be square and at least 8×8.")
        self.space = replace(self.space, channels=shape[1], size_of_image=shape[2], classes=len(self.classes))
        trainer = Trainer(self.space, data, self.recipe, images=self.images_per_trial, seed=self.seed)
        epochs_each = self.recipe.epochs
        halving = self.strategy == "halving"
        more: dict[str, Any] = {"first": _starters(self.max_trials, epochs_each)} if halving else {}
        strategy = STRATEGIES[self.strategy](self.space, self.cap, self.seed, epochs=epochs_each, **more)
        self.outcomes = run(strategy, trainer, self.max_trials * epochs_each, journal=self.journal,
                            time_limit=time_limit, progress=progress)
        done = finished(self.outcomes, epochs_each)
        if not done:
            raise WrongUse(f"No trial was finished in {time_limit} seconds and {self.max_trials} trials. Allow more.")
        self.best = min(done, key=lambda each: each.error_percent).architecture
        return self.final_fit(images, labels, epochs=final_epochs)

    def final_fit(self, images: Any, labels: Any, epochs: int = 4) -> "AutoClassifier":
        """Train the best architecture anew, on all images given."""
        data = self._dataset(images, labels, None)
        self.network = prepare(self.space.build(self.best, self.seed))
        inputs = data.train.inputs().contiguous(memory_format=torch.channels_last)
        self._mean, self._std = data.train.mean, data.train.std
        recipe = replace(self.recipe, epochs=epochs)
        deque(training.epochs(self.network, inputs, data.train.labels, recipe, self.seed), maxlen=0)  # all of them
        return self

    @property
    def parameters(self) -> int:
        """Of the best network, normalisation folded away."""
        return self.space.parameters_and_macs(self.best)[0]

    @torch.inference_mode()
    def predict(self, images: Any) -> np.ndarray:
        """The label of each image, as they were given to :meth:`fit`."""
        if not hasattr(self, "network"):
            raise WrongUse("There is no network yet: fit(images, labels) comes first.")
        found = []
        for few in _pixels(images).split(1000):
            part = Split(few, torch.zeros(len(few)).long(), self._mean, self._std)
            found.append(self.network(part.inputs()).argmax(1))
        return self.classes[torch.cat(found).numpy()] if found else self.classes[:0]

    def evaluate(self, images: Any, labels: Any) -> float:
        """Error in percent."""
        return float(100 * np.mean(self.predict(images) != np.asarray(labels)))

    def export(self) -> nn.Module:
        """The network with its normalisation folded away, ready for :func:`nutshell.artefact.save`."""
        return fold(deepcopy(self.network)).eval()

    def _dataset(self, images: Any, labels: Any, validation_share: float | None) -> Dataset:
        pixels, given = _pixels(images), np.asarray(labels)
        if len(pixels) != len(given) or len(given) < 2:
            raise WrongUse(f"{len(pixels)} images and {len(given)} labels: give one label an image, and two or more.")
        self.classes, numbers = np.unique(given, return_inverse=True)
        targets = torch.as_tensor(numbers)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(self.seed))
        kept = 0 if validation_share is None else round(validation_share * len(pixels))
        if validation_share is not None and not 0 < kept < len(pixels):
            raise WrongUse(f"validation_share={validation_share} of {len(pixels)} images: some have to be left to "
                           "train on, and some to judge by.")
        values = pixels[order[kept:]].float() / 255
        mean = tuple(values.mean((0, 2, 3)).tolist())
        std = tuple((values.std((0, 2, 3)) + 1e-6).tolist())

        def part(chosen: Tensor) -> Split:
            return ReadySplit(pixels[chosen], targets[chosen], mean, std)

        return Dataset("images given", part(order[kept:]), part(order[:kept]), part(order[:0]),
                       tuple(map(str, self.classes)))


def _starters(trials: int, epochs: int) -> int:
    """How many may start a successive halving if one group is to finish for the price of so many trials; at most 16."""
    rounds = epochs.bit_length() - 1
    return max(1, min(16, int(trials * 2**rounds / (1 + rounds / 2))))


def _pixels(images: Any) -> Tensor:
    pixels = torch.as_tensor(images)
    if pixels.dtype != torch.uint8 or pixels.ndim not in (3, 4):
        raise WrongUse(f"Images are {pixels.dtype} with shape {tuple(pixels.shape)}: uint8 with shape (N, H, W) or "
                       "(N, C, H, W) is wanted, brightness 0 to 255.")
    return pixels[:, None] if pixels.ndim == 3 else pixels
