"""Which numbers of a tensor share a value, from a seed alone; the same on every machine.

Number p of a tensor, counted from 0 with the last dimension fastest, lies in bucket h(p) = mix(p, 2s) mod K and has the
sign ξ(p), −1 where mix(p, 2s + 1) is odd and +1 elsewhere, with :func:`nutshell.hashing.mix` and the seed s. The sign
has a hash of its own, so that it tells nothing of the bucket (HashedNets, Chen et al. 2015, 1504.04788, section 4.3).
"""

from collections.abc import Iterator

import numpy as np
import torch

from nutshell.hashing import mix

LARGEST_SEED = (1 << 31) - 1
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


def checked_seed(seed: object) -> int:
    """A seed, or ``ValueError``."""
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed {seed!r}: must be from 0 to {LARGEST_SEED:,}")
    return seed
