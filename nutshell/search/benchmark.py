"""The tabular benchmark that ships: all networks of the small space, trained once, so that a search is a look-up.

``solutions/architecture_search/table.py`` made it. NAS-Bench-101 (Ying et al. 2019, arXiv 1902.09635) is the large one.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nutshell.search.space import Architecture, Blocks, Space, named

FILE = Path(__file__).with_name("benchmark.json")


@dataclass(frozen=True)
class Entry:
    """What is known of one network.

    Attributes
    ----------
    parameters, macs : int
        Of the network once normalisation is folded away.
    validation_error_percent : tuple of float
        After each epoch.
    test_error_percent : float
        After the last one; for whoever judges a search, never for the search.
    seconds : float
        Of processor time that its training took.
    shared_error_percent : tuple of float
        On validation images, with the weights of a network that holds all: one figure for each such network.
    elsewhere_error_percent : float or None
        Validation error on the other task, if it was trained there.
    """

    parameters: int
    macs: int
    validation_error_percent: tuple[float, ...]
    test_error_percent: float
    seconds: float
    shared_error_percent: tuple[float, ...]
    elsewhere_error_percent: float | None


class Benchmark:
    """Looks up what the training of an architecture would give.

    Parameters
    ----------
    content : dict
        As in ``benchmark.json``.

    Examples
    --------
    >>> table = benchmark()
    >>> entry = table.look_up({"first": 8, "second": 32, "a": "none", "b": "none", "c": "fire"})
    >>> len(entry.validation_error_percent) == table.most_epochs == 4
    True
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.space: Space = named(content["space"])
        self.data: str = content["data"]
        self.elsewhere: str | None = content["elsewhere"]
        self.recipe: dict[str, Any] = content["recipe"]
        self.shared: dict[str, Any] = content["shared"]
        self.entries: dict[Blocks, Entry] = {}
        for row in content["networks"]:
            values = dict(zip(content["columns"], row, strict=True))
            architecture = self.space.decode(values["number"])
            self.entries[self.space.blocks(architecture)] = Entry(
                *self.space.parameters_and_macs(architecture), tuple(values["validation"]), values["test"],
                values["seconds"], tuple(values["shared"]), values["elsewhere"])

    @property
    def most_epochs(self) -> int:
        """Epochs of a finished training."""
        return int(self.recipe["epochs"])

    def look_up(self, architecture: Architecture) -> Entry:
        """All that is known of an architecture."""
        return self.entries[self.space.blocks(architecture)]

    def evaluate(self, architecture: Architecture, epochs_in_all: int) -> dict[str, float]:
        """Answer a search as :meth:`nutshell.search.trainer.Trainer.evaluate` does, without training."""
        entry = self.look_up(architecture)
        return {"error_percent": entry.validation_error_percent[epochs_in_all - 1],
                "seconds": entry.seconds * epochs_in_all / self.most_epochs}

    def rows(self) -> list[dict[str, Any]]:
        """Every architecture of the space with its figures, as plain data; same networks have the same figures."""
        found = []
        for number in range(self.space.size):
            architecture = self.space.decode(number)
            found.append(architecture | vars(self.look_up(architecture)))
        return found


@cache
def benchmark() -> Benchmark:
    """The one that ships, read once."""
    return Benchmark(json.loads(FILE.read_text(encoding="utf-8")))
