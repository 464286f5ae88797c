"""Layers of a trained binary network on packed bits, for inference, in place of ``nn.Linear`` and ``nn.Conv2d``.

A layer's weights are ±α with one α a filter, its inputs count by their signs. α times the product of signs is what the
replaced layer computes on the signs as floats, up to the rounding of floats.
"""

import copy
from collections.abc import Iterable
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.binary.packing import Packed, pack, pad, sign_bytes
from nutshell.binary.products import product
from nutshell.errors import WrongUse


class PackedLinear(nn.Module):
    """``sign(x) @ (α · sign(W)).T + b`` on packed bits.

    Parameters
    ----------
    layer : torch.nn.Linear
        Its weight's signs are packed; α is the mean size of an output's weights, all of them for weights ±α.
    kernel, threads
        As for :func:`nutshell.binary.product`.

    Examples
    --------
    >>> layer = nn.Linear(3, 1)
    >>> layer.weight.data, layer.bias.data = torch.tensor([[0.5, -0.5, 0.5]]), torch.tensor([1.0])
    >>> PackedLinear(layer)(torch.tensor([[0.1, -2.0, -0.3]]))
    tensor([[1.5000]])
    """

    alpha: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear | nn.Conv2d, kernel: str = "numba", threads: int = 1) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self.kernel, self.threads = kernel, threads
        self.weights = self._pack(weight)
        self.register_buffer("alpha", weight.abs().flatten(1).mean(1))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    @staticmethod
    def _pack(weight: Tensor) -> Packed:
        return pack(weight.numpy())

    def forward(self, x: Tensor) -> Tensor:
        """Floats ``(N, inputs)`` to floats ``(N, outputs)``; signs are taken here, with sign(0) = +1."""
        return self._scaled(product(pack(x.numpy(), self.kernel), self.weights, self.kernel, self.threads))

    def _scaled(self, sums: np.ndarray) -> Tensor:
        whole = torch.from_numpy(sums)
        scaled = whole.view(torch.float32).copy_(whole).mul_(self.alpha)  # in the same memory: new memory costs more
        return scaled if self.bias is None else scaled.add_(self.bias)


class PackedConv2d(PackedLinear):
    """A convolution of signs on packed bits, the channels of a pixel side by side in whole bytes.

    Zeros around an image aren't ±1. Their bits are those of −1, and what that adds to the sums at the border is taken
    off again: the result is exactly that of zeros.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        One group, no dilation, zeros for padding.
    kernel, threads
        As for :func:`nutshell.binary.product`.

    Raises
    ------
    WrongUse
        If the convolution is of another kind.
    """

    def __init__(self, layer: nn.Conv2d, kernel: str = "numba", threads: int = 1) -> None:
        if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros" or layer.padding == "same":
            raise WrongUse(f"{layer}: only one group, no dilation, and zeros for padding, in numbers, can be packed.")
        super().__init__(layer, kernel, threads)
        self.window = layer.kernel_size
        self.stride = layer.stride
        self.padding: tuple[int, ...] = (0, 0) if layer.padding == "valid" else layer.padding  # type: ignore[assignment]
        self._taps = torch.where(layer.weight.detach() >= 0, 1.0, -1.0).sum(1, keepdim=True)  # summed over channels
        self._borders: dict[tuple[int, int], Tensor] = {}

    @staticmethod
    def _pack(weight: Tensor) -> Packed:
        pixels = pixel_bits(weight)
        return pad(pixels.reshape(len(pixels), -1), weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        """Floats ``(N, C, H, W)`` to floats ``(N, P, H', W')``, channels last in memory."""
        rows, (height, width) = self.bits(x), self._places(x)
        sums = product(rows, self.weights, self.kernel, self.threads).reshape(len(x), height, width, len(self.alpha))
        if any(self.padding):
            torch.from_numpy(sums).add_(self._border(x.shape[2], x.shape[3]))
        return self._scaled(sums).permute(0, 3, 1, 2)

    def bits(self, x: Tensor) -> Packed:
        """The signs of every place's window as a row: ``(N, C, H, W)`` to ``N·H'·W'`` rows."""
        windows = self._windows(pixel_bits(x, self.kernel))
        *places, high, line = windows.shape
        rows = np.empty((*places, 8 * -(-high * line // 8)), dtype=np.uint8)
        rows[..., high * line :] = 0
        for above in range(high):
            rows[..., above * line : (above + 1) * line] = windows[..., above, :]
        return Packed(rows.reshape(prod(places), rows.shape[-1]).view("<u8"), self.weights.numbers)

    def _places(self, x: Tensor) -> tuple[int, int]:
        height, width = ((x.shape[2 + axis] + 2 * self.padding[axis] - self.window[axis]) // self.stride[axis] + 1
                         for axis in (0, 1))  # fmt: skip
        return height, width

    def _windows(self, pixels: np.ndarray) -> np.ndarray:
        """A view, for each output the bytes of its window: uint8, shape ``(N, H', W', rows, bytes of a row)``."""
        (above, left), (high, wide), (down, right) = self.padding, self.window, self.stride
        if above or left:
            pixels = np.pad(pixels, ((0, 0), (above, above), (left, left), (0, 0)))
        images, height, width, size = pixels.shape
        lines = pixels.reshape(images, height, width * size)  # neighbours in a line are neighbours in memory
        views = np.lib.stride_tricks.sliding_window_view(lines, (high, wide * size), axis=(1, 2))
        return views[:, ::down, :: right * size]

    def _border(self, height: int, width: int) -> Tensor:
        """What the sums lack at each place and output, int32 ``(H', W', P)``: the signs of the taps outside."""
        if (height, width) not in self._borders:
            inside = functional.conv2d(torch.ones(1, 1, height, width), self._taps, stride=self.stride,
                                       padding=self.padding)  # fmt: skip
            outside = self._taps.sum((1, 2, 3)).reshape(-1, 1, 1) - inside[0]
            self._borders[height, width] = outside.permute(1, 2, 0).to(torch.int32).contiguous()
        return self._borders[height, width]


def pixel_bits(x: Tensor, kernel: str = "numpy") -> np.ndarray:
    """The signs of every pixel's channels as whole bytes: uint8, shape ``(N, H, W, ⌈C/8⌉)``, the rest filled with 0."""
    pixels = x.permute(0, 2, 3, 1).contiguous().numpy()
    return sign_bytes(pixels.reshape(-1, pixels.shape[3]), kernel).reshape(*pixels.shape[:3], -1)


def on_bits(
    network: nn.Module, layers: Iterable[str], signs: Iterable[str] = (), *, kernel: str = "numba", threads: int = 1
) -> nn.Module:
    """Copy a trained binary network, with some layers on packed bits.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; the copy has no gradients.
    layers : iterable of str
        Paths of linear layers and convolutions with weights ±α whose inputs are signs.
    signs : iterable of str
        Paths of the modules that take the signs before them: left out, since packing takes signs.
    kernel, threads
        As for :func:`nutshell.binary.product`.

    Raises
    ------
    WrongUse
        If a layer is of another kind.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for name in layers:
        layer = copied.get_submodule(name)
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise WrongUse(f"{name} is a {type(layer).__name__}: only nn.Linear and nn.Conv2d can be packed.")
        kind = PackedConv2d if isinstance(layer, nn.Conv2d) else PackedLinear
        copied.set_submodule(name, kind(layer, kernel, threads))  # type: ignore[arg-type]
    for name in signs:
        copied.set_submodule(name, nn.Identity())
    return copied
