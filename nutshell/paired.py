"""Two networks on the same images: compared pair by pair, which sees smaller differences than two error rates do."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Paired:
    """On how many images two networks differ in being right.

    Attributes
    ----------
    images : int
        How many both saw.
    only_first, only_second : int
        Images that only the first, or only the second network gets wrong.
    """

    images: int
    only_first: int
    only_second: int

    @property
    def points(self) -> float:
        """Error of the second above that of the first, in percentage points."""
        return 100 * (self.only_second - self.only_first) / self.images

    @property
    def p_value(self) -> float:
        """Probability of a split at least as uneven if both were equally good: McNemar's test, exact and two-sided.

        Of n images on which exactly one is wrong, the number that is the first's has a binomial distribution with
        p = 1/2 (McNemar 1947).
        """
        n, fewer = self.only_first + self.only_second, min(self.only_first, self.only_second)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


def compare(first: Tensor, second: Tensor, labels: Tensor) -> Paired:
    """Compare two networks' answers to the same images.

    Parameters
    ----------
    first, second : Tensor
        Class that each network names for each image, shape ``(N,)``.
    labels : Tensor
        The right ones, shape ``(N,)``, at least one.

    Examples
    --------
    >>> from torch import tensor
    >>> found = compare(tensor([1, 2, 3, 4]), tensor([1, 2, 0, 0]), tensor([1, 0, 3, 4]))
    >>> found.only_first, found.only_second, found.points, found.p_value
    (0, 2, 50.0, 0.5)
    """
    wrong, also = first != labels, second != labels
    return Paired(len(labels), int((wrong & ~also).sum()), int((also & ~wrong).sum()))
