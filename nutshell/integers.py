"""Factors as whole numbers: what hardware without floating point multiplies by when it changes from grid to grid."""

import torch
from torch import Tensor

MULTIPLIER_BITS = 31  # of the multiplier, without its sign
LARGEST_SHIFT = 61  # half of the last bit, added before shifting, must fit too


def fixed_point_multiplier(factors: Tensor | float) -> tuple[Tensor, Tensor]:
    """Write factors as whole multipliers and right shifts: factor ≈ M·2^(−shift), with M of 31 bits.

    M is from 2³⁰ to 2³¹ − 1, so that its relative error is at most 2^(−31) (Jacob et al. 2018, arXiv 1712.05877,
    section 2.2). A sum of 32 bits times M fits 63 bits. Factors below 2^(−31) have the largest shift and a smaller M.

    Parameters
    ----------
    factors : Tensor or float
        From 0 to below 2^29; any shape.

    Returns
    -------
    multiplier, shift : Tensor
        int64, of the shape of the factors; the shift is from 1 to 61.

    Raises
    ------
    ValueError
        If a factor is out of range.

    Examples
    --------
    >>> multiplier, shift = fixed_point_multiplier(0.3)
    >>> multiplier.item(), shift.item(), multiplier.item() / 2 ** shift.item()
    (1288490189, 32, 0.30000000004656613)
    """
    values = torch.as_tensor(factors, dtype=torch.float64)
    if not bool(((values >= 0) & (values < 2.0**29)).all()):
        raise ValueError(f"factors from {values.min():g} to {values.max():g}: must be from 0 to below 2^29.")
    shift = (MULTIPLIER_BITS - torch.frexp(values)[1].to(torch.int64)).clamp(max=LARGEST_SHIFT)
    multiplier = torch.round(torch.ldexp(values, shift)).to(torch.int64)
    carried = multiplier == 1 << MULTIPLIER_BITS  # a factor just below a power of two was rounded up to it
    return torch.where(carried, multiplier >> 1, multiplier), shift - carried.to(torch.int64)
