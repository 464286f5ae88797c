"""A cheap hash of whole numbers: the same on every machine, so that what it scatters need not be stored.

The mixing steps are the finaliser of MurmurHash3 for 32 bits (Appleby 2011, in the public domain): shifts, exclusive
ors and products modulo 2³², after which every bit of the key has moved about half of the bits of the result.
"""

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_FIRST, _SECOND = 0x85EBCA6B, 0xC2B2AE35  # odd, so that multiplying by them modulo 2³² loses nothing


def mix(keys: Tensor, seed: int) -> Tensor:
    """Scatter whole numbers over 0 to 2³² − 1, as if at random.

    ``mix(key, seed) = f(key xor f(seed))``, where f is a permutation of the numbers of 32 bits: with one seed,
    different keys never meet, and another seed scatters the same keys anew.

    Parameters
    ----------
    keys : Tensor
        int64, any shape; only the lowest 32 bits of each are used.
    seed : int
        Any whole number; only its lowest 32 bits are used.

    Returns
    -------
    Tensor
        int64, same shape, each from 0 to 2³² − 1.

    Raises
    ------
    TypeError
        If the keys are not int64.

    Examples
    --------
    >>> mix(torch.arange(3), seed=0)
    tensor([         0, 1364076727,  821347078])
    >>> mix(torch.arange(3), seed=1) % 10
    tensor([1, 3, 6])
    """
    if keys.dtype != torch.int64:
        raise TypeError(f"keys of {str(keys.dtype).removeprefix('torch.')}: must be int64, such as torch.arange gives.")
    return _permute((keys & _MASK) ^ _permute(torch.tensor(seed & _MASK)))


def _permute(x: Tensor) -> Tensor:
    """The finaliser; products wrap around modulo 2⁶⁴, which leaves their lowest 32 bits right."""
    x = ((x ^ (x >> 16)) * _FIRST) & _MASK
    x = ((x ^ (x >> 13)) * _SECOND) & _MASK
    return x ^ (x >> 16)
