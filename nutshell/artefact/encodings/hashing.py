"""Which numbers of a tensor share a value, from a seed alone; the same on every machine.

Number p of a tensor, counted from 0 with the last dimension fastest, lies in bucket h(p) = mix(p, 2s) mod K and has the
sign ξ(p), −1 where mix(p, 2s + 1) is odd and +1 elsewhere, with :func:`nutshell.hashing.mix` and the seed s. The sign
has a hash of its own, so that it tells nothing of the bucket (HashedNets, Chen et al. 2015, 1504.04788, section 4.3).
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from nutshell.hashing import mix

LARGEST_SEED = (1 << 31) - 1
Places = Callable[[slice, np.ndarray], tuple[np.ndarray, np.ndarray]]
_AT_A_TIME = 1 << 18  # numbers that are hashed together, which bounds the memory


def drawn(elements: int, seed: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Piece by piece: where it lies in the flat tensor, mix(p, 2s) as int64, and whether the sign is −1.

    Examples
    --------
    >>> for where, draw, negative in drawn(3, seed=0):
    ...     (draw % 4).tolist(), negative.tolist()
    ([0, 3, 2], [True, True, False])
    """
    for start in range(0, elements, _AT_A_TIME):
        places = torch.arange(start, min(start + _AT_A_TIME, elements))
        negative = mix(places, 2 * seed + 1) & 1
        yield slice(start, start + len(places)), mix(places, 2 * seed).numpy(), negative.bool().numpy()


def means(numbers: np.ndarray, seed: int, count: int, places: Places) -> np.ndarray:
    """The values from which the nearest numbers are drawn: for each the mean of ξ(p)·V_p over its places, 0 of none.

    Parameters
    ----------
    numbers : ndarray
        V, float64, flat.
    seed : int
        Of the hashes.
    count : int
        How many values there are.
    places : callable
        Takes a piece and its hashes, as :func:`drawn` yields them; returns the index of each number's value, and
        whether it has one.

    Examples
    --------
    >>> everything = lambda where, draw: (draw % 2, draw >= 0)
    >>> means(np.array([1.0, -2.0, 4.0]), 0, 2, everything).tolist()  # buckets 0, 1, 0 and signs −1, −1, 1
    [1.5, 2.0]
    """
    total, members = np.zeros(count), np.zeros(count)
    for where, draw, negative in drawn(len(numbers), seed):
        place, kept = places(where, draw)
        signed = np.where(negative, -numbers[where], numbers[where])
        total += np.bincount(place[kept], signed[kept], count)
        members += np.bincount(place[kept], minlength=count)
    return total / np.maximum(members, 1)  # of equal numbers the mean is exact


def checked_seed(seed: object) -> int:
    """A seed, or ``ValueError``."""
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed {seed!r}: must be from 0 to {LARGEST_SEED:,}")
    return seed
