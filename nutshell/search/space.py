"""Search spaces: decisions with options, and the network that one choice of each describes.

An architecture is plain data, a dict from each decision to the option chosen, such as
``{"first": 16, "second": 32, "a": "plain", "b": "none", "c": "fire"}``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import nn

from nutshell.errors import WrongUse
from nutshell.models.blocks import block_network

Option = str | int
Architecture = Mapping[str, Option]
Blocks = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Space:
    """Decisions, and how the options chosen become a network of blocks.

    Attributes
    ----------
    name : str
        What results and journals call it.
    decisions : mapping of str to tuple
        The options of each decision, in order.
    assemble : callable
        Takes an architecture, returns blocks as :func:`nutshell.models.blocks.block_network` takes them.
    channels, size_of_image, classes : int
        Of the images, and how many classes there are.

    Examples
    --------
    >>> SMALL.size
    384
    >>> SMALL.decode(383)
    {'first': 24, 'second': 32, 'a': 'fire', 'b': 'fire', 'c': 'fire'}
    """

    name: str
    decisions: Mapping[str, tuple[Option, ...]]
    assemble: Callable[[Architecture], Blocks]
    channels: int = 1
    size_of_image: int = 28
    classes: int = 10

    @property
    def size(self) -> int:
        """How many architectures there are: the product of the numbers of options."""
        return prod(len(options) for options in self.decisions.values())

    def number(self, architecture: Architecture) -> int:
        """The place of an architecture among all, 0 to ``size − 1``; the last decision counts fastest.

        Raises
        ------
        WrongUse
            If a decision is missing, unknown or has no such option.

        Examples
        --------
        >>> SMALL.number(SMALL.decode(300))
        300
        """
        if set(architecture) != set(self.decisions):
            raise WrongUse(f"The architecture decides on {', '.join(architecture)}; the space {self.name!r} has the "
                           f"decisions {', '.join(self.decisions)}. Give each exactly once.")
        found = 0
        for name, options in self.decisions.items():
            if architecture[name] not in options:
                raise WrongUse(f"{name} = {architecture[name]!r}: choose one of {', '.join(map(str, options))}.")
            found = found * len(options) + options.index(architecture[name])
        return found

    def decode(self, number: int) -> dict[str, Option]:
        """The architecture at a place; see :meth:`number`."""
        if not 0 <= number < self.size:
            raise WrongUse(f"number={number}: the space {self.name!r} has the places 0 to {self.size - 1}.")
        chosen: dict[str, Option] = {}
        for name, options in reversed(list(self.decisions.items())):
            number, place = divmod(number, len(options))
            chosen[name] = options[place]
        return {name: chosen[name] for name in self.decisions}

    def blocks(self, architecture: Architecture) -> Blocks:
        """The blocks of its network. Two architectures with equal blocks are the same network.

        Examples
        --------
        >>> SMALL.blocks({"first": 8, "second": 32, "a": "none", "b": "none", "c": "fire"})
        (('pool', 2), ('down', 8), ('pool', 2), ('fire', 32))
        """
        self.number(architecture)  # refuses what isn't in the space
        return self.assemble(architecture)

    def build(self, architecture: Architecture, seed: int = 0, *, folded: bool = False) -> nn.Sequential:
        """Its network with seeded random weights; see :func:`nutshell.models.blocks.block_network`.

        The global random state is left as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = block_network(self.blocks(architecture), channels=self.channels, size=self.size_of_image,
                                    classes=self.classes, folded=folded)
        return network

    def operations(self, architecture: Architecture) -> list["Operation"]:
        """What its network does one after another, the head included: what costs and latencies are added up over.

        Examples
        --------
        >>> for each in SMALL.operations({"first": 8, "second": 16, "a": "none", "b": "fire", "c": "none"}):
        ...     print(each)
        Operation(kind='pool', channels=1, outputs=2, size=28)
        Operation(kind='down', channels=1, outputs=8, size=14)
        Operation(kind='pool', channels=8, outputs=2, size=7)
        Operation(kind='fire', channels=8, outputs=16, size=3)
        Operation(kind='head', channels=16, outputs=10, size=3)
        """
        found, channels, size = [], self.channels, self.size_of_image
        for kind, outputs in self.blocks(architecture):
            found.append(Operation(kind, channels, outputs, size))
            if kind == "pool":
                size //= outputs
            else:
                channels, size = outputs, (size + 1) // 2 if kind == "down" else size
        return [*found, Operation("head", channels, self.classes, size)]

    def parameters_and_macs(self, architecture: Architecture) -> tuple[int, int]:
        """What its network has once normalisation is folded away: each operation's, as :mod:`nutshell.meter` counts it.

        Examples
        --------
        >>> SMALL.parameters_and_macs({"first": 8, "second": 16, "a": "none", "b": "none", "c": "none"})
        (170, 3608)
        """
        costs = [_count(operation) for operation in self.operations(architecture)]
        return sum(parameters for parameters, _ in costs), sum(macs for _, macs in costs)


@dataclass(frozen=True)
class Operation:
    """One step of a network: its kind, channels in and out (of a pool: its side), and the side of its input in pixels.

    Examples
    --------
    >>> Operation("plain", 8, 16, 14).build().training
    False
    """

    kind: str
    channels: int
    outputs: int
    size: int

    def build(self) -> nn.Module:
        """The step as it is deployed: with normalisation folded away, in evaluation mode, seeded weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if self.kind == "head":
                return block_network((), channels=self.channels, size=self.size, classes=self.outputs).eval()
            whole = block_network(((self.kind, self.outputs),), channels=self.channels, size=self.size, folded=True)
        return whole[0].eval()

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Of one image's maps."""
        return 1, self.channels, self.size, self.size


@cache
def _count(operation: Operation) -> tuple[int, int]:
    from nutshell import meter

    total = meter.count(operation.build(), operation.input_shape).total
    return total.parameters, total.macs


def _stages(architecture: Architecture, stages: Mapping[str, str]) -> Blocks:
    """A convolution with stride 2, then stages: each a width and its places, a pool between; ``"none"`` is left out."""
    blocks: list[tuple[str, int]] = []
    for width, places in stages.items():
        blocks.append(("pool", 2) if blocks else ("down", int(architecture[width])))
        blocks += [(str(architecture[place]), int(architecture[width])) for place in places
                   if architecture[place] != "none"]
    return tuple(blocks)


def _small(architecture: Architecture) -> Blocks:
    return ("pool", 2), *_stages(architecture, {"first": "a", "second": "bc"})


def _large(architecture: Architecture) -> Blocks:
    start: Blocks = (("pool", 2),) if architecture["start"] == "pool" else ()
    return start + _stages(architecture, {"first": "ab", "second": "cd", "third": "e"})


_FEW = ("none", "plain", "separable", "fire")
_MANY = ("none", "plain", "separable", "fire", "bottleneck")

# Images of 28×28 are pooled and strided to 7×7, where a stands; b and c are behind another pool, on 3×3.
SMALL = Space("small", {"first": (8, 16, 24), "second": (16, 32), "a": _FEW, "b": _FEW, "c": _FEW}, _small)
LARGE = Space("large", {"start": ("none", "pool"), "first": (8, 12, 16, 24), "second": (16, 24, 32),
                        "third": (32, 48, 64), "a": _MANY, "b": _MANY, "c": _MANY, "d": _MANY, "e": _MANY},
              _large)  # fmt: skip


def named(name: str) -> Space:
    """One of the spaces here by its name.

    Raises
    ------
    WrongUse
        If there is no such space.
    """
    for space in (SMALL, LARGE):
        if space.name == name:
            return space
    raise WrongUse(f"There is no space called {name!r}. Choose small or large.")
