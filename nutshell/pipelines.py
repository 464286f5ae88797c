"""Techniques as steps of a pipeline: each takes a weight matrix and returns one of the same shape.

A step is a pair of a name and an amount, such as ``("prune", 0.9)``. What a step saves shows only when the matrix is
stored; here is what it does to the numbers, so that orders can be compared.

>>> import torch
>>> weight = torch.tensor([[4.0, -1.0], [0.5, 2.0]])
>>> apply(weight, ("prune", 0.5))
tensor([[4., 0.],
        [0., 2.]])
>>> apply_all(weight, [("prune", 0.5), ("sign", 0)])
tensor([[1.5000, 1.5000],
        [1.5000, 1.5000]])
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = tuple[str, float]


def apply(weight: Tensor, step: Step) -> Tensor:
    """Do one step to a weight matrix.

    Parameters
    ----------
    weight : Tensor
        Shape ``(m, n)``, floating point; left as it is.
    step : (str, float)
        A name of :data:`STEPS` and the amount, whose meaning and range :data:`STEPS` says.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Raises
    ------
    ValueError
        If there is no such step, or the amount is out of range.
    """
    name, amount = step
    if name not in STEPS:
        raise ValueError(f"There is no step {name!r}; there are {', '.join(STEPS)}.")
    if weight.ndim != 2:
        raise ValueError(f"a step takes a matrix, and this has shape {tuple(weight.shape)}.")
    return STEPS[name](weight.detach().clone(), amount)


def apply_all(weight: Tensor, steps: Sequence[Step]) -> Tensor:
    """Do steps one after the other, the first one first."""
    for step in steps:
        weight = apply(weight, step)
    return weight


def _prune(weight: Tensor, share: float) -> Tensor:
    """The share of the weights, those of smallest magnitude, become zero; of equal ones the first go."""
    _check("prune", share, 0 <= share <= 1, "a share from 0 to 1")
    gone = weight.abs().flatten().argsort(stable=True)[: round(share * weight.numel())]
    weight.view(-1)[gone] = 0
    return weight


def _round(weight: Tensor, bits: float) -> Tensor:
    """To a symmetric grid of 2ᵇ − 1 levels whose largest is the largest magnitude."""
    _check("round", bits, bits == int(bits) and 2 <= bits <= 16, "a whole number of bits from 2 to 16")
    step = weight.abs().max() / (2 ** (int(bits) - 1) - 1)
    return torch.round(weight / step) * step if step > 0 else weight


def _rank(weight: Tensor, share: float) -> Tensor:
    """The closest matrix that has a share of the full rank, at least 1."""
    _check("rank", share, 0 < share <= 1, "a share above 0 and up to 1")
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    kept = max(1, round(share * len(sigma)))
    return (u[:, :kept] * sigma[:kept]) @ vt[:kept]


def _rows(weight: Tensor, share: float) -> Tensor:
    """The share of the rows, those of smallest norm, become zero: neurons pruned."""
    _check("rows", share, 0 <= share <= 1, "a share from 0 to 1")
    weight[weight.norm(dim=1).argsort(stable=True)[: round(share * len(weight))]] = 0
    return weight


def _sign(weight: Tensor, _: float) -> Tensor:
    """One magnitude for all, the mean one, with the weights' signs; a zero counts as positive. The amount is unused."""
    return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype) * weight.abs().mean()


def _check(name: str, amount: float, fine: bool, rule: str) -> None:
    if not fine:
        raise ValueError(f"{name}={amount}: must be {rule}.")


STEPS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "prune": _prune,
    "round": _round,
    "rank": _rank,
    "rows": _rows,
    "sign": _sign,
}
