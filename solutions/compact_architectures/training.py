"""The unit's networks by name, and the recipes by which all of them are trained alike.

    python -m solutions.compact_architectures.training NETWORK SEED [--recipe NAME] [--keep FOLDER]

trains one network with one seed and keeps its state and history in the folder. An interrupted run goes on from its last
epoch, a finished one isn't repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import data, models
from nutshell.data.dataset import Dataset, Split
from nutshell.models.blocks import SEPARABLE, block_network, unit
from nutshell.training import History, Recipe, prepare, train

SHORT = Recipe(epochs=4, batch_size=128, optimiser="sgd", learning_rate=0.1, weight_decay=5e-4, warm_up=0.2,
               precision="bfloat16")  # fmt: skip
RECIPES = {"short": SHORT, "middle": replace(SHORT, epochs=10)}
RECIPE = "short"  # by which the tables are made; the longer one shows what more epochs change
IMAGE = (3, 32, 32)

# Plain 3×3 convolutions with shortcuts, at low resolution: the cheapest to train, on which the training aids are tried.
RESIDUAL = (("down", 32), ("down", 48), ("plain+", 48), ("plain+", 48), ("down", 96), ("plain+", 96), ("plain+", 96))

# Candidates for the same eighth of vgg-small's multiply-accumulates, with shortcuts; see the pilots in the results.
EXCITED = (("plain", 16), ("pool", 2), ("excited", 64), ("excited+", 64), ("pool", 2), ("excited", 144),
           ("excited+", 144), ("pool", 2), ("excited", 288))  # fmt: skip
DEEP = (("plain", 16), ("pool", 2), ("excited", 46), ("excited+", 46), ("excited+", 46), ("pool", 2), ("excited", 98),
        ("excited+", 98), ("excited+", 98), ("pool", 2), ("excited", 208), ("excited+", 208))  # fmt: skip
INVERTED = (("plain", 16), ("pool", 2), ("inverted", 24), ("inverted+", 24), ("pool", 2), ("inverted", 40),
            ("inverted+", 40), ("inverted+", 40), ("pool", 2), ("inverted", 80), ("inverted+", 80))  # fmt: skip

# Configurations A and D of Simonyan and Zisserman 2015 (1409.1556, table 1) for small images, with normalisation and a
# single linear layer; separable blocks of an eighth of the multiply-accumulates of each, and of AlexNet's.
VGG_11 = (("plain", 64), ("pool", 2), ("plain", 128), ("pool", 2), ("plain", 256), ("plain", 256), ("pool", 2),
          ("plain", 512), ("plain", 512), ("pool", 2), ("plain", 512), ("plain", 512), ("pool", 2))  # fmt: skip
VGG_16 = (*(("plain", 64),) * 2, ("pool", 2), *(("plain", 128),) * 2, ("pool", 2), *(("plain", 256),) * 3, ("pool", 2),
          *(("plain", 512),) * 3, ("pool", 2), *(("plain", 512),) * 3, ("pool", 2))  # fmt: skip
WIDE = (("plain", 32), ("pool", 2), ("separable", 112), ("separable+", 112), ("pool", 2), ("separable", 256),
        ("separable+", 256), ("pool", 2), ("separable", 512), ("separable+", 512))  # fmt: skip
NARROW = (("plain", 12), ("pool", 2), ("separable", 38), ("separable", 38), ("pool", 2), ("separable", 82),
          ("separable", 82), ("pool", 2), ("separable", 164))  # fmt: skip
DEEP_WIDE = (("plain", 32), ("pool", 2), ("separable", 128), ("separable+", 128), ("pool", 2), ("separable", 288),
             *(("separable+", 288),) * 3, ("pool", 2), ("separable", 576), *(("separable+", 576),) * 2)  # fmt: skip

# A few plain convolutions, for octave convolutions beside them and for networks that see one colour each.
SMALL = (("down", 24), ("two plain", 24), ("pool", 2), ("two plain", 48))
OCTAVE = tuple((kind.replace("two plain", "octave"), width) for kind, width in SMALL)
COLOURS = ("red", "green", "blue")


def alexnet() -> nn.Sequential:
    """AlexNet's five convolutions (Krizhevsky et al. 2012) as small images take them, and a single linear layer."""
    return nn.Sequential(unit(3, 64, 11, stride=4), nn.MaxPool2d(2), unit(64, 192, 5), nn.MaxPool2d(2),
                         unit(192, 384), unit(384, 256), unit(256, 256), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(256, 10))  # fmt: skip


def triangles(done: float, *, cycles: int = 2, lowest: float = 0.02) -> float:
    """Triangular learning rates (Smith 2017, arXiv 1506.01186): up and down in straight lines, two cycles.

    Examples
    --------
    >>> [round(triangles(done), 2) for done in (0, 0.25, 0.5, 0.75, 1)]
    [0.02, 1.0, 0.02, 1.0, 0.02]
    """
    place = (done * cycles) % 1.0
    return lowest + (1 - lowest) * (1 - abs(2 * place - 1))


@dataclass(frozen=True)
class Entry:
    """One network: how it is built, and what differs from the recipe.

    Attributes
    ----------
    words : str
        What a reader sees.
    build : callable
        Takes nothing, returns the network with weights drawn from the global random state.
    schedule : callable, optional
        Of the learning rate, as :func:`nutshell.training.train` takes it.
    options : dict
        Of :func:`nutshell.models.blocks.block_network`; empty for another network.
    colour : int, optional
        The only channel that it sees: 0, 1 or 2.
    """

    words: str
    build: Callable[[], nn.Module]
    schedule: Callable[[float], float] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    colour: int | None = None


def _blocks(words: str, blocks: Any, schedule: Callable[[float], float] | None = None, *, colour: int | None = None,
            **options: Any) -> Entry:  # fmt: skip
    if colour is not None:
        options["channels"] = 1
    return Entry(words, lambda: block_network(blocks, **options), schedule, {"blocks": blocks, **options}, colour)


NETWORKS: dict[str, Entry] = {
    "vgg-small": Entry("VGG, six 3×3 convolutions", models.BUILDERS["vgg-small"]),
    "separable": _blocks("depthwise separable convolutions", SEPARABLE, activation="silu"),
    "excited": _blocks("separable convolutions, gates, shortcuts", EXCITED, activation="silu"),
    "deep": _blocks("more and narrower ones, gates, shortcuts", DEEP, activation="silu"),
    "inverted": _blocks("inverted bottlenecks", INVERTED, activation="silu"),
    "alexnet": Entry("AlexNet, five convolutions", alexnet),
    "separable-narrow": _blocks("separable convolutions, narrower", NARROW, activation="silu"),
    "vgg-11": _blocks("VGG-11, eight 3×3 convolutions", VGG_11),
    "vgg-16": _blocks("VGG-16, thirteen 3×3 convolutions", VGG_16),
    "separable-deep": _blocks("separable convolutions, shortcuts, deeper", DEEP_WIDE, activation="silu"),
    "separable-wide": _blocks("separable convolutions, shortcuts, wider", WIDE, activation="silu"),
    "residual": _blocks("3×3 convolutions with shortcuts", RESIDUAL),
    "residual-swish": _blocks("Swish with trained β", RESIDUAL, activation="swish"),
    "residual-silu": _blocks("Swish with β = 1", RESIDUAL, activation="silu"),
    "residual-swapout": _blocks("Swapout, linear to 0.8", RESIDUAL, last_keep=0.8),
    "residual-cyclic": _blocks("two triangular cycles", RESIDUAL, triangles),
    "residual-connected": _blocks("fully connected", RESIDUAL, head="connected"),
    "residual-dropout": _blocks("fully connected, dropout", RESIDUAL, head="dropout"),
    "small": _blocks("plain convolutions", SMALL),
    "small-octave": _blocks("octave convolutions, α = ½", OCTAVE),
    **{f"small-{name}": _blocks(f"{name} alone", SMALL, colour=number) for number, name in enumerate(COLOURS)},
}


def built(name: str, seed: int) -> nn.Module:
    """A network of :data:`NETWORKS` with seeded weights; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name].build()


def one_colour(part: Split, colour: int) -> Split:
    """One channel of the images."""
    chosen = slice(colour, colour + 1)
    return replace(part, images=part.images[:, chosen], mean=part.mean[chosen], std=part.std[chosen])


def trained(
    name: str, images: Dataset, seed: int, keep: Path, *, recipe: str = RECIPE, progress: bool = False
) -> tuple[nn.Module, History]:
    """A trained network, in evaluation mode; not trained again if its state is kept."""
    network, colour = prepare(built(name, seed)), NETWORKS[name].colour
    if colour is not None:
        images = replace(images, train=one_colour(images.train, colour),
                         validation=one_colour(images.validation, colour))  # fmt: skip
    history = train(network, images, RECIPES[recipe], seed, progress=progress, resume=state(name, recipe, seed, keep),
                    schedule=NETWORKS[name].schedule)  # fmt: skip
    return network.eval(), history


def state(name: str, recipe: str, seed: int, keep: Path) -> Path:
    """The file that keeps a training."""
    return keep / f"compact-{name}-{recipe}-{seed}.state"


def epochs_of(name: str, recipe: str, seed: int, keep: Path) -> int:
    """How many epochs of a training are done."""
    file = state(name, recipe, seed, keep)
    return len(torch.load(file, weights_only=True)["history"]) if file.exists() else 0


def kept(name: str, recipe: str, seed: int, keep: Path) -> bool:
    """Whether a network's training is finished."""
    return epochs_of(name, recipe, seed, keep) == RECIPES[recipe].epochs


@click.command()
@click.argument("name", type=click.Choice(list(NETWORKS)))
@click.argument("seed", type=int)
@click.option("--recipe", type=click.Choice(list(RECIPES)), default=RECIPE, show_default=True)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder of states.")
def main(name: str, seed: int, recipe: str, keep: Path) -> None:
    """Train one network with one seed."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    _, history = trained(name, data.load("cifar-10"), seed, keep, recipe=recipe, progress=True)
    row = history.rows[-1]
    click.echo(f"{name}, {recipe}, seed {seed}: {row['validation_error_percent']:.2f} % of validation images wrong, "
               f"training loss {row['train_loss']:.3f}, {sum(row['seconds'] for row in history.rows):.0f} s")


if __name__ == "__main__":
    main()
