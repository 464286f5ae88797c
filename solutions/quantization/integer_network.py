"""A trained network on whole numbers, from the quantised image to the logits, and its simulation in floats.

The networks are chains of linear layers, convolutions, maximum pooling and ReLU, as ``nutshell.models`` builds the
LeNets. ReLU costs nothing: it is the lower end of the grid of the layer before it. Maximum pooling works on levels as
it does on numbers, since a larger level is a larger number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nutshell.integers import fixed_point_multiplier
from solutions.quantization.reference import (
    AffineGrid,
    calibrate,
    int8_convolution,
    int8_linear,
    per_channel,
    quantization_parameters,
)

Grid = tuple[float, int]  # scale and zero point


@dataclass(frozen=True)
class IntegerLayer:
    """A layer on whole numbers, with the grids that its whole numbers belong to.

    Attributes
    ----------
    weight, bias, multiplier, shift : Tensor
        int8, int32, int64 and int64, as :func:`solutions.quantization.reference.int8_linear` takes them.
    weight_scale : Tensor
        float64, one for each output; for the simulation and for export only.
    before, after : tuple
        Scale and zero point of inputs and outputs, and whether a ReLU is part of the layer.
    pool : int
        Side of the maximum pooling that follows; 1 for none.
    """

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    shift: Tensor
    weight_scale: Tensor
    before: Grid
    after: Grid
    pool: int

    def run(self, q: Tensor) -> Tensor:
        """Levels of the outputs for levels of the inputs; uint8 to uint8, and nothing but whole numbers between."""
        zeros = self.before[1], self.after[1]
        if self.weight.ndim == 2:
            return int8_linear(q.flatten(1), zeros[0], self.weight, self.bias, self.multiplier, self.shift, zeros[1])
        q = int8_convolution(q, zeros[0], self.weight, self.bias, self.multiplier, self.shift, zeros[1])
        return q.unfold(2, self.pool, self.pool).unfold(3, self.pool, self.pool).amax((4, 5))

    def simulate(self, x: Tensor) -> Tensor:
        """The same layer in floats on the grid: numbers to numbers, rounded once, halves to even."""
        scale = self.weight_scale.reshape(-1, *(1,) * (self.weight.ndim - 1))
        weight, bias = self.weight.double() * scale, self.bias.double() * self.weight_scale * self.before[0]
        if self.weight.ndim == 2:
            y = nn.functional.linear(x.flatten(1), weight, bias)
        else:
            y = nn.functional.max_pool2d(nn.functional.conv2d(x, weight, bias), self.pool)
        step, zero = self.after
        return step * ((torch.round(y / step) + zero).clamp(0, 255) - zero)


@dataclass(frozen=True)
class IntegerNetwork:
    """A network on whole numbers.

    Attributes
    ----------
    layers : tuple of IntegerLayer
        In their order.
    input_grid : tuple
        Scale and zero point of the inputs.
    """

    layers: tuple[IntegerLayer, ...]
    input_grid: Grid

    def levels(self, inputs: Tensor, batch_size: int = 500) -> Tensor:
        """Levels of the logits, uint8, for inputs in floats; the only floats are in this first quantisation."""
        return torch.cat([self._run(AffineGrid(*self.input_grid).quantize(part)) for part in inputs.split(batch_size)])

    def _run(self, q: Tensor) -> Tensor:
        for layer in self.layers:
            q = layer.run(q)
        return q

    def simulated(self, inputs: Tensor, batch_size: int = 500) -> Tensor:
        """Logits of the simulation in float64."""
        done, grid = [], AffineGrid(*self.input_grid)
        for part in inputs.split(batch_size):
            x = grid.dequantize(grid.quantize(part)).double()
            for layer in self.layers:
                x = layer.simulate(x)
            done.append(x)
        return torch.cat(done)

    @property
    def bytes(self) -> int:
        """Bytes of weights (1), biases (4), multipliers (4) and shifts (1)."""
        return sum(layer.weight.numel() + 9 * layer.bias.numel() for layer in self.layers)


def convert(network: nn.Module, seen: Tensor, method: str = "min-max", share: float = 0.999) -> IntegerNetwork:
    """Put a trained network on whole numbers, 8 bits for weights and activations.

    Parameters
    ----------
    network : torch.nn.Module
        A chain of ``Linear``, ``Conv2d`` (stride 1, no padding), ``MaxPool2d``, ``ReLU`` and ``Flatten``.
    seen : Tensor
        Inputs to calibrate on, ``(N, C, H, W)``.
    method, share
        As in :func:`solutions.quantization.reference.calibrate`.

    Raises
    ------
    TypeError
        If the network has another layer.
    """
    layers: list[IntegerLayer] = []
    x = seen
    grid = input_grid = quantization_parameters(x.min().item(), x.max().item())
    for weight, bias, relu, pool in steps_of(network):
        with torch.no_grad():
            x = nn.functional.linear(x.flatten(1), weight, bias) if weight.ndim == 2 else nn.functional.conv2d(
                x, weight, bias)
            x = x.relu() if relu else x
        low, high = calibrate(x if method == "min-max" else sampled(x), method=method, share=share)
        after = quantization_parameters(low, high)
        x = nn.functional.max_pool2d(x, pool) if pool > 1 else x
        layers.append(_layer(weight, bias, grid, after, pool))
        grid = after
    return IntegerNetwork(tuple(layers), input_grid)


def _layer(weight: Tensor, bias: Tensor, before: Grid, after: Grid, pool: int) -> IntegerLayer:
    _, scale = per_channel(weight.double())
    # an output with next to no weights would leave its bias no room in 32 bits: its steps are made larger
    scale = torch.maximum(scale, bias.double().abs() / (before[0] * 2**30))
    q = torch.round(weight.double() / scale.reshape(-1, *(1,) * (weight.ndim - 1))).to(torch.int8)
    steps = before[0] * scale  # of the sums: S_x·S_p
    whole = torch.round(bias.double() / steps).to(torch.int32)
    multiplier, shift = fixed_point_multiplier(steps / after[0])
    return IntegerLayer(q, whole, multiplier, shift, scale, before, after, pool)


def sampled(values: Tensor, most: int = 300_000) -> Tensor:
    """Every so many of the numbers, so that there are no more than ``most``: enough to choose a range by.

    Examples
    --------
    >>> sampled(torch.arange(10), most=4)
    tensor([0, 3, 6, 9])
    """
    return values.flatten()[:: max(1, -(-values.numel() // most))]


def steps_of(network: nn.Module) -> list[tuple[Tensor, Tensor, bool, int]]:
    """Weight, bias, whether a ReLU follows, and the side of the pooling that follows, of each layer with weights."""
    steps: list[tuple[Tensor, Tensor, bool, int]] = []
    for module in network.children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bias = module.bias if module.bias is not None else torch.zeros(len(module.weight))
            steps.append((module.weight.detach(), bias.detach(), False, 1))
        elif isinstance(module, nn.ReLU):
            steps[-1] = (*steps[-1][:2], True, steps[-1][3])
        elif isinstance(module, nn.MaxPool2d):
            side = module.kernel_size
            steps[-1] = (*steps[-1][:3], side if isinstance(side, int) else side[0])
        elif not isinstance(module, nn.Flatten):
            raise TypeError(f"{type(module).__name__}: only Linear, Conv2d, MaxPool2d, ReLU and Flatten.")
    return steps
