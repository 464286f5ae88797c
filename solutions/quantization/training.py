"""Quantization-aware training: a network that trains on the grid that it will live on, with steps that are learned.

Weights keep a scale for each output and activations one for each layer. Rounding passes gradients straight through
(Bengio et al. 2013, arXiv 1308.3432), and the steps get theirs from the same expression (LSQ, Esser et al. 2020, arXiv
1902.08153); their logarithms are trained, so that a learning rate means the same for large and small steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from solutions.quantization.integer_network import sampled, steps_of
from solutions.quantization.reference import calibrate, quantization_parameters

SEARCH = 60  # step sizes tried for each output when training begins


def on_grid(values: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """Numbers on a grid of whole multiples of a step, low to high of them; straight-through gradients for both.

    Examples
    --------
    >>> x, step = torch.tensor([0.9, 7.0], requires_grad=True), torch.tensor(0.5, requires_grad=True)
    >>> y = on_grid(x, step, -1, 3)
    >>> y.detach(), *(gradient for gradient in torch.autograd.grad(y.sum(), (x, step)))
    (tensor([1.0000, 1.5000]), tensor([1., 0.]), tensor(3.2000))
    """
    inside = (values / step).clamp(low, high)
    return step * (inside + (torch.round(inside) - inside).detach())


def least_squares_steps(weight: Tensor, bits: int) -> Tensor:
    """For each output the step with the least squared error, of 60 between a sixtieth of the largest and the largest.

    Parameters
    ----------
    weight : Tensor
        Shape ``(P, …)``.
    bits : int
        From 2 to 8.

    Returns
    -------
    Tensor
        Shape ``(P, 1, …)``, above 0.
    """
    most, rows = 2 ** (bits - 1) - 1, weight.detach().flatten(1)
    largest = rows.abs().amax(1, keepdim=True).clamp_min(1e-8) / most
    best, found = torch.full_like(largest, torch.inf), largest
    for number in range(SEARCH, 0, -1):
        step = largest * number / SEARCH
        error = (on_grid(rows, step, -most, most) - rows).square().sum(1, keepdim=True)
        found, best = torch.where(error < best, step, found), torch.minimum(error, best)
    return found.reshape(-1, *(1,) * (weight.ndim - 1))


class FakeQuantized(nn.Module):
    """A chain of layers whose weights and activations are on grids of a few bits; inputs and logits are left alone.

    Parameters
    ----------
    network : torch.nn.Module
        As :func:`solutions.quantization.integer_network.convert` takes it.
    seen : Tensor
        Inputs that the activations' steps are calibrated on.
    bits : int
        Of weights, from 2 to 8.
    activation_bits : int, optional
        Of activations; those of the weights if left out.
    """

    def __init__(self, network: nn.Module, seen: Tensor, bits: int, activation_bits: int | None = None) -> None:
        super().__init__()
        self.bits, self.activation_bits = bits, activation_bits or bits
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.weight_steps, self.steps = nn.ParameterList(), nn.ParameterList()
        self.zeros: list[int] = []
        self.relus: list[bool] = []
        self.pools: list[int] = []
        x = seen
        for weight, bias, relu, pool in steps_of(network):
            self.weights.append(nn.Parameter(weight.clone()))
            self.biases.append(nn.Parameter(bias.clone()))
            # flat, so that optimisers take them for what isn't decayed
            self.weight_steps.append(nn.Parameter(least_squares_steps(weight, bits).log().flatten()))
            with torch.no_grad():
                x = self._layer(x, weight, bias, relu, pool)
            low, high = calibrate(sampled(x), self.activation_bits, "least squares")
            step, zero = quantization_parameters(low, high, self.activation_bits)
            self.steps.append(nn.Parameter(torch.tensor([step]).log()))
            self.zeros.append(zero)
            self.relus.append(relu)
            self.pools.append(pool)

    @staticmethod
    def _layer(x: Tensor, weight: Tensor, bias: Tensor, relu: bool, pool: int) -> Tensor:
        x = functional.linear(x.flatten(1), weight, bias) if weight.ndim == 2 else functional.conv2d(x, weight, bias)
        x = x.relu() if relu else x
        return functional.max_pool2d(x, pool) if pool > 1 else x

    def grid_weights(self) -> list[Tensor]:
        """The weights as they are used, on their grids."""
        most = 2 ** (self.bits - 1) - 1
        steps = [log.exp().reshape(-1, *(1,) * (weight.ndim - 1))
                 for weight, log in zip(self.weights, self.weight_steps, strict=True)]
        return [on_grid(weight, step, -most, most) for weight, step in zip(self.weights, steps, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits for inputs ``(N, C, H, W)``."""
        most, last = 2**self.activation_bits - 1, len(self.weights) - 1
        for number, weight in enumerate(self.grid_weights()):
            x = self._layer(x, weight, self.biases[number], self.relus[number], self.pools[number])
            if number < last:
                zero = self.zeros[number]
                x = on_grid(x.float(), self.steps[number].exp(), -zero, most - zero)
        return x
