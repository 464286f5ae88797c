"""Five small things to write: one for each way in which a value crosses to the learner's process and back."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn


def half(x: np.ndarray) -> np.ndarray:
    """Half of every number.

    Parameters
    ----------
    x : array
        Any shape.
    """
    return 0.5 * x


def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))`` of every number, through which gradients flow.

    Parameters
    ----------
    x : Tensor
        Any shape.
    """
    return torch.logaddexp(x, torch.zeros_like(x))


class Scale(nn.Module):
    """Multiplies each of ``size`` columns by a weight of its own, 1 at first.

    Parameters
    ----------
    size : int
        Columns of what is multiplied; the parameter is called ``weight``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """Yields the rows of ``x`` in order, ``size`` at a time; the last batch may be smaller.

    Parameters
    ----------
    x : Tensor
        Rows by columns.
    size : int
        Rows of a batch, at least 1.
    """
    for start in range(0, len(x), size):
        yield x[start : start + size]


def train_step(network: nn.Module, x: Tensor, y: Tensor, rate: float) -> nn.Module:
    """One step of gradient descent on the mean squared error; returns the network.

    Parameters
    ----------
    network : Module
        Maps ``x`` to predictions; it is changed.
    x, y : Tensor
        Inputs and targets, a row each.
    rate : float
        Length of the step.
    """
    loss = ((network(x) - y) ** 2).mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter -= rate * gradient
    return network
