"""The recipes of the checkpoints that ship, by network; chosen on validation images."""

from dataclasses import asdict, dataclass

from torch import nn

from nutshell.checkpoints import Card
from nutshell.data.dataset import Dataset
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
    """

    data: str
    training: Recipe


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
    note = ""
    if "unofficial copy" in images.name:
        note = ("Measured on a copy of the data set whose pixels went through JPEG compression; figures on the "
                "publisher's own files differ a little.")
    return Card(
        network=network,
        data=images.name,
        recipe=asdict(RECIPES[network].training),
        seed=seed,
        validation_error_percent=round(evaluate(model, images.validation)[1], 4),
        test_error_percent=round(evaluate(model, images.test)[1], 4),
        command=f"nutshell train {network} --seed {seed}",
        note=note,
        options={},
    )
