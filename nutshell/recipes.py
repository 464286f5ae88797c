"""The recipes of the checkpoints that ship, by network; chosen on validation images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from nutshell.checkpoints import Card
from nutshell.data import load
from nutshell.data.dataset import Dataset
from nutshell.models import build
from nutshell.training import Recipe, evaluate


@dataclass(frozen=True)
class CheckpointRecipe:
    """What a shipped checkpoint is trained on, and how.

    Attributes
    ----------
    data : str
        Name for :func:`nutshell.data.load`.
    training : Recipe
        How.
    network : str
        Its name for :func:`nutshell.models.build`, where that isn't the checkpoint's own.
    options : mapping
        Of the network's builder.
    view : mapping
        Options of :func:`nutshell.data.load`.
    """

    data: str
    training: Recipe
    network: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)

    def images(self) -> Dataset:
        """The data set, as the network takes it."""
        return load(self.data, **self.view)

    def build(self, name: str, seed: int) -> nn.Module:
        """The network with the initial weights of a seed; ``name`` is the recipe's."""
        return build(self.network or name, seed=seed, **self.options)


RECIPES = {
    "lenet-300-100": CheckpointRecipe(
        "mnist",
        Recipe(epochs=30, batch_size=64, optimiser="sgd", learning_rate=0.1, weight_decay=1e-3, warm_up=0.05),
    ),
    "lenet-5-caffe": CheckpointRecipe(
        "mnist", Recipe(epochs=20, optimiser="sgd", learning_rate=0.05, weight_decay=5e-4, warm_up=0.05)
    ),
    "resnet-20": CheckpointRecipe(
        "cifar-10",
        Recipe(epochs=60, batch_size=64, optimiser="sgd", learning_rate=0.1, weight_decay=5e-4, warm_up=0.1, shift=4,
               mirror=True, precision="bfloat16"),
    ),
    "gesture-net": CheckpointRecipe(
        "gestures", Recipe(epochs=6, batch_size=64, learning_rate=3e-3, shift=4, mirror=True, precision="bfloat16")
    ),
    "sketch-net": CheckpointRecipe(
        "quickdraw", Recipe(epochs=8, batch_size=64, learning_rate=3e-3, shift=1, mirror=True, precision="bfloat16")
    ),
}


def card_of(network: str, images: Dataset, model: nn.Module, seed: int) -> Card:
    """The card of a network that was trained by its recipe; measures it on validation and test images.

    Parameters
    ----------
    network : str
        One of :data:`RECIPES`.
    images : Dataset
        What it was trained on.
    model : torch.nn.Module
        The trained network.
    seed : int
        Seed that it was trained with.

    Returns
    -------
    Card
    """
    recipe, note = RECIPES[network], ""
    if "unofficial copy" in images.name:
        note = ("Measured on a copy of the data set whose pixels went through JPEG compression; figures on the "
                "publisher's own files differ a little.")
    return Card(
        network=recipe.network or network,
        data=images.name,
        recipe=asdict(recipe.training),
        seed=seed,
        validation_error_percent=round(evaluate(model, images.validation)[1], 4),
        test_error_percent=round(evaluate(model, images.test)[1], 4),
        command=f"nutshell train {network} --seed {seed}",
        note=note,
        options=dict(recipe.options),
    )
