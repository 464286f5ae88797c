"""One network that holds all of a space: trained along random paths, it stands in for training each alone.

    python -m solutions.architecture_search.supernet [--seed 0]

trains it for the small space and keeps, for every network there, the validation error with the shared weights. Pham et
al. 2018 (arXiv 1802.03268) share weights so; drawing the paths evenly is Guo et al. 2020's way (arXiv 1904.00420).
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import data
from nutshell.data.dataset import Dataset
from nutshell.search.space import SMALL, Blocks, Space
from nutshell.search.trainer import IMAGES, RECIPE
from nutshell.training import prepare
from solutions.architecture_search.table import KEEP, networks

EPOCHS = 20  # five finished trainings
LOOKED_AT = 1000  # validation images for each candidate
KINDS = ("plain", "separable", "fire", "bottleneck")


def first_channels(maps: Tensor, width: int) -> Tensor:
    """The same maps with all channels behind the first ``width`` at zero: what a narrower layer would have put out."""
    if width >= maps.shape[1]:
        return maps
    return maps * (torch.arange(maps.shape[1]) < width).to(maps.dtype)[:, None, None]


class SharedUnit(nn.Module):
    """A convolution, normalisation by the batch's own statistics, and ReLU, of which the first channels may be used.

    The statistics are those of the batch in evaluation too: running ones would be a mixture of all paths.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, track_running_stats=False)

    def forward(self, maps: Tensor, width: int) -> Tensor:
        return first_channels(functional.relu(self.norm(self.conv(maps))), width)


class SharedSeparable(nn.Module):
    """A depthwise convolution and a shared 1×1 one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = SharedUnit(channels, channels, 1)

    def forward(self, maps: Tensor, width: int) -> Tensor:
        return self.pointwise(self.depthwise(maps), width)


class SharedFire(nn.Module):
    """Squeeze and the two expansions, their channels in turns, so that the first ones are half of each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = SharedUnit(channels, channels // 4, 1)
        self.one, self.three = (SharedUnit(channels // 4, channels // 2, kernel) for kernel in (1, 3))

    def forward(self, maps: Tensor, width: int) -> Tensor:
        squeezed = self.squeeze(maps, max(1, width // 4))
        both = torch.stack([self.one(squeezed, width // 2), self.three(squeezed, width // 2)], 2)
        return both.flatten(1, 2)


class SharedBottleneck(nn.Module):
    """1×1 down to a quarter of the channels, 3×3 there, 1×1 up again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.down, self.middle, self.up = (SharedUnit(channels, inner, 1), SharedUnit(inner, inner, 3),
                                           SharedUnit(inner, channels, 1))  # fmt: skip

    def forward(self, maps: Tensor, width: int) -> Tensor:
        inner = max(1, width // 4)
        return self.up(self.middle(self.down(maps, inner), inner), width)


def shared_block(kind: str, channels: int) -> nn.Module:
    """A block at its widest."""
    if kind == "plain":
        return SharedUnit(channels, channels, 3)
    return {"separable": SharedSeparable, "fire": SharedFire, "bottleneck": SharedBottleneck}[kind](channels)


class Supernet(nn.Module):
    """All networks of a space in one: every place holds every block at its widest.

    Parameters
    ----------
    space : Space
        :data:`nutshell.search.SMALL` or :data:`nutshell.search.LARGE`.

    Attributes
    ----------
    blocks : Blocks
        The path that the next forward pass takes.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        stages = [name for name in ("first", "second", "third") if name in space.decisions]
        self.widths = [max(map(int, space.decisions[name])) for name in stages]
        kinds = [kind for kind in KINDS if kind in space.decisions["a"]]
        self.start = SharedUnit(space.channels, self.widths[0], 3, stride=2)
        self.places = nn.ModuleDict({f"{stage}{place}": nn.ModuleDict({kind: shared_block(kind, channels)
                                                                       for kind in kinds})
                                     for stage, channels in enumerate(self.widths) for place in range(2)})
        self.classifier = nn.Linear(self.widths[-1], space.classes)
        self.blocks: Blocks = ()

    def forward(self, images: Tensor) -> Tensor:
        maps, stage, place = images, 0, 0
        for kind, width in self.blocks:
            if kind == "down":
                maps = self.start(maps, width)
            elif kind == "pool":
                maps = functional.max_pool2d(maps, 2)
                if maps.shape[1] == self.widths[stage]:  # not the pool in front of everything
                    stage, place = stage + 1, 0
                    maps = functional.pad(maps, (0, 0, 0, 0, 0, self.widths[stage] - maps.shape[1]))
            else:
                maps, place = self.places[f"{stage}{place}"][kind](maps, width), place + 1  # type: ignore[index]
        return self.classifier(maps.mean((2, 3)))


def trained(images: Dataset, seed: int, space: Space = SMALL, draw: Callable[[], Blocks] | None = None,
            epochs: int = EPOCHS) -> Supernet:  # fmt: skip
    """Train a supernet: another path at every step, each network of the small space with the same chance.

    ``draw`` gives the paths of another space.
    """
    paths, chance = [SMALL.blocks(one) for one in networks()], random.Random(seed)
    draw = draw or (lambda: chance.choice(paths))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Supernet(space)
    prepare(network)
    inputs, labels = images.train.inputs(slice(0, IMAGES)), images.train.labels[:IMAGES]
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RECIPE.learning_rate, weight_decay=0.0)
    steps = epochs * -(-len(labels) // RECIPE.batch_size)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, RECIPE.learning_rate, total_steps=steps + 1, pct_start=0.1,
                                                cycle_momentum=False)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels), generator=generator).split(RECIPE.batch_size):
            network.blocks = draw()
            loss = functional.cross_entropy(network(inputs[chosen]), labels[chosen])
            optimiser.zero_grad()  # what isn't on the path has no gradient and isn't moved
            loss.backward()
            optimiser.step()
            rates.step()
    return network


@torch.no_grad()
def error(network: Supernet, blocks: Blocks, images: Dataset) -> float:
    """Validation error in percent of one network of the space with the shared weights."""
    inputs, labels = images.validation.inputs(slice(0, LOOKED_AT)), images.validation.labels[:LOOKED_AT]
    network.blocks = blocks
    wrong = (network(inputs.contiguous(memory_format=torch.channels_last)).argmax(1) != labels).float().mean()
    return round(100 * float(wrong), 2)


def kept(seed: int, keep: Path) -> dict[int, float] | None:
    """Errors with the shared weights of one seed, by the networks' numbers, if they are finished."""
    file = keep / f"shared-{seed}.json"
    if not file.exists():
        return None
    return {int(number): error for number, error in json.loads(file.read_text(encoding="utf-8")).items()}


def how() -> dict[str, Any]:
    """What a search is charged for the shared weights, in epochs: their training, and one glance at a candidate."""
    return {"epochs": EPOCHS, "images": LOOKED_AT, "glance_epochs": round(LOOKED_AT / IMAGES / 3, 4)}


@click.command()
@click.option("--seed", default=0, show_default=True)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=KEEP, show_default=True)
def main(seed: int, keep: Path) -> None:
    """Train one supernet and keep what it says of every network."""
    torch.set_num_threads(1)
    keep.mkdir(parents=True, exist_ok=True)
    images = data.load("mnist")
    if kept(seed, keep) is None:
        network = trained(images, seed)
        found = {SMALL.number(one): error(network, SMALL.blocks(one), images) for one in networks()}
        (keep / f"shared-{seed}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
