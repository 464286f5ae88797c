"""A latency table: every operation of a space timed once, so that a network's latency is a sum.

FBNet (Wu et al. 2019, arXiv 1812.03443, section 3.3) and ProxylessNAS (1812.00332) search with such tables. Times are
of one machine: ``LatencyTable.measure`` makes one for yours.
"""

import itertools
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nutshell.search.space import Architecture, Operation, Space

FILE = Path(__file__).with_name("latency.json")


@torch.inference_mode()
def milliseconds(networks: Sequence[nn.Module], inputs: Sequence[torch.Tensor], *, seconds: float = 0.05,
                 rounds: int = 5) -> list[float]:  # fmt: skip
    """Time of one call of each network, on one thread: the median over rounds in which all take turns.

    Parameters
    ----------
    networks, inputs : sequence of Module and of Tensor
        In evaluation mode, and what each is called with.
    seconds : float
        For one network in one round.
    rounds : int
        Taking turns spreads a disturbance over all of them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: list[list[float]] = [[] for _ in networks]
    try:
        for network, one in zip(networks, inputs, strict=True):
            for _ in range(5):
                network(one)
        for _ in range(rounds):
            for network, one, times in zip(networks, inputs, found, strict=True):
                calls, began = [], time.perf_counter()
                while time.perf_counter() - began < seconds:
                    start = time.perf_counter_ns()
                    network(one)
                    calls.append(time.perf_counter_ns() - start)
                times.append(statistics.median(calls))
    finally:
        torch.set_num_threads(threads)
    return [statistics.median(times) / 1e6 for times in found]


def operations_of(space: Space) -> list[Operation]:
    """Every operation that some network of a space has.

    Examples
    --------
    >>> from nutshell.search import SMALL
    >>> len(operations_of(SMALL))
    41
    """
    places = [name for name, options in space.decisions.items() if "plain" in options]
    others = [name for name in space.decisions if name not in places]
    found: dict[Operation, None] = {}
    # an operation depends on the other decisions, on its own block, and on whether a block stands before it
    for chosen in itertools.product(*(space.decisions[name] for name in others)):
        for stands in itertools.product((False, True), repeat=len(places)):
            for option in range(1, max(len(space.decisions[each]) for each in places)):
                blocks = {place: space.decisions[place][option] if here else "none"
                          for place, here in zip(places, stands, strict=True)}
                found |= dict.fromkeys(space.operations(dict(zip(others, chosen, strict=True)) | blocks))
    return list(found)


class LatencyTable:
    """Milliseconds of each operation for one image, on one thread of one machine.

    Parameters
    ----------
    times : dict
        Operation to milliseconds.
    machine : str
        In words.
    """

    def __init__(self, times: dict[Operation, float], machine: str) -> None:
        self.times, self.machine = times, machine

    @classmethod
    def measure(cls, operations: Iterable[Operation], machine: str = "this machine", **options: Any) -> "LatencyTable":
        """Time operations; see :func:`milliseconds` for the options."""
        wanted = list(operations)
        torch_inputs = [torch.zeros(each.input_shape) for each in wanted]
        found = milliseconds([each.build() for each in wanted], torch_inputs, **options)
        return cls(dict(zip(wanted, found, strict=True)), machine)

    def __call__(self, space: Space, architecture: Architecture) -> float:
        """Predicted milliseconds of a network: the sum over its operations."""
        return sum(self.times[each] for each in space.operations(architecture))

    def save(self, file: Path) -> None:
        """Write as JSON."""
        rows = [[*vars(each).values(), round(value, 5)] for each, value in self.times.items()]
        lines = ",\n".join(json.dumps(row) for row in rows)
        machine = json.dumps(self.machine)
        columns = json.dumps(["kind", "channels", "outputs", "size", "milliseconds"])
        file.write_text(f'{{"machine": {machine},\n"columns": {columns},\n"operations": [\n{lines}\n]}}\n',
                        encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> "LatencyTable":
        """Read what :meth:`save` wrote."""
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls({Operation(*row[:4]): row[4] for row in content["operations"]}, content["machine"])


@cache
def latency_table() -> LatencyTable:
    """The one that ships, for both spaces.

    Examples
    --------
    >>> from nutshell.search import SMALL
    >>> latency_table()(SMALL, SMALL.decode(0)) > 0
    True
    """
    return LatencyTable.load(FILE)


def whole(space: Space, architectures: Sequence[Architecture], **options: Any) -> list[float]:
    """Milliseconds of whole networks, measured, to hold a table's sums against."""
    shape = (1, space.channels, space.size_of_image, space.size_of_image)
    networks = [space.build(each, folded=True).eval() for each in architectures]
    return milliseconds(networks, [torch.zeros(shape)] * len(networks), **options)


