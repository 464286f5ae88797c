"""What a search may spend on the network it looks for, and what it is told to like among those that fit."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from nutshell.search.space import Architecture, Space

Price = Callable[[Architecture], float]


@dataclass(frozen=True)
class Cap:
    """The most parameters and multiply-accumulates of a network; ``None`` for no limit.

    Examples
    --------
    >>> from nutshell.search import SMALL
    >>> Cap(parameters=1000).allows(SMALL, SMALL.decode(0)), Cap(macs=1000).allows(SMALL, SMALL.decode(0))
    (True, False)
    """

    parameters: int | None = None
    macs: int | None = None

    def allows(self, space: Space, architecture: Architecture) -> bool:
        """Whether a network fits. Counting costs next to nothing, so nothing above the cap is ever trained."""
        parameters, macs = space.parameters_and_macs(architecture)
        return (self.parameters is None or parameters <= self.parameters) and (self.macs is None or macs <= self.macs)


def score(error_percent: float, price: float, weight: float = 0.0) -> float:
    """How good a network is, higher is better: −log(error) − weight · log(price).

    The logarithm of MnasNet's product ACC · (LAT/T)^w (Tan et al. 2019, arXiv 1807.11626, section 3.1), with the error
    in place of the accuracy, since errors of a few percent differ by factors while accuracies hardly differ.

    Parameters
    ----------
    error_percent : float
        Counted as 0.01 if below.
    price : float
        Multiply-accumulates or milliseconds, above 0; its unit moves all scores alike.
    weight : float
        0 for the error alone; 0.1 gives a tenfold price for a fifth less error.

    Examples
    --------
    >>> score(4.0, 1000, 0.5) == score(2.0, 4000, 0.5)
    True
    """
    return -math.log(max(error_percent, 0.01)) - weight * math.log(price)
