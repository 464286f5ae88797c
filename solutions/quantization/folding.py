"""Batch normalisation folded into convolutions, and a folded network with weights and activations in 8 bits.

Folding is equation 14 of Jacob et al. 2018 (1712.05877); the grids are those of its section 2.1.
"""

import copy

import torch
from torch import Tensor, nn

from nutshell.artefact import Affine, Encoding


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """A copy whose batch normalisations are part of the convolutions before them; the same outputs in evaluation.

    γ·(w∗x − μ)/√(σ² + ε) + β is a convolution with weights s·w and biases β − s·μ, where s = γ/√(σ² + ε) by channel.

    Parameters
    ----------
    network : torch.nn.Module
        Whose normalisation ``normX`` follows the convolution ``convX`` beside it, as in :mod:`nutshell.models`.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, with ``nn.Identity`` where a normalisation stood.

    Examples
    --------
    >>> from nutshell import models
    >>> folded = fold(models.build("resnet-20"))
    >>> sum(parameter.numel() for parameter in folded.parameters())  # 688 biases instead of 688 scales and 688 shifts
    269034
    """
    folded = copy.deepcopy(network).eval()
    for path, factor in scales_of(network).items():
        parent, _, name = path.rpartition(".")
        holder = folded.get_submodule(parent)
        old, norm = getattr(holder, name), getattr(holder, norm_of(name))
        new = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)
        new.weight.copy_(old.weight * factor[:, None, None, None])
        new.bias.copy_(norm.bias - norm.running_mean * factor)  # type: ignore[union-attr]  # it was made with a bias
        setattr(holder, name, new.eval())
        setattr(holder, norm_of(name), nn.Identity())
    return folded


@torch.no_grad()
def scales_of(network: nn.Module) -> dict[str, Tensor]:
    """s = γ/√(σ² + ε) by the path of the convolution that it scales."""
    found = {}
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            parent, _, name = path.rpartition(".")
            norm = getattr(network.get_submodule(parent), norm_of(name))
            found[path] = norm.weight / (norm.running_var + norm.eps).sqrt()
    return found


def norm_of(convolution: str) -> str:
    """Name of the batch normalisation behind a convolution.

    Examples
    --------
    >>> norm_of("conv2")
    'norm2'
    """
    return convolution.replace("conv", "norm")


def int8_encodings(folded: nn.Module) -> dict[str, Encoding]:
    """Weights in 8 bits with a scale for each output channel, biases in 32 bits, as integer kernels take them."""
    return {name: Affine(8, axis=0, symmetric=True) for name, parameter in folded.named_parameters()
            if parameter.ndim > 1}  # fmt: skip


class Rounded(nn.Module):
    """What goes through, on a grid of 256 steps that holds zero and was laid over the range seen in calibration.

    Attributes
    ----------
    least, most : float
        Ends of what was seen while ``calibrating``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.least, self.most, self.calibrating = 0.0, 0.0, True

    def forward(self, x: Tensor) -> Tensor:
        if self.calibrating:
            self.least, self.most = min(self.least, x.min().item()), max(self.most, x.max().item())
            return x
        scale = max(self.most - self.least, 1e-12) / 255
        zero = round(-self.least / scale)
        return ((x / scale).round() + zero).clamp(0, 255).sub(zero).mul(scale)


@torch.no_grad()
def with_int8_activations(folded: nn.Module, inputs: Tensor) -> nn.Module:
    """A copy that rounds to 8 bits what an integer kernel would: the image, every layer's output, every sum.

    Parameters
    ----------
    folded : torch.nn.Module
        A folded ResNet-20.
    inputs : Tensor
        Shape ``(N, 3, 32, 32)``, standardised training images on which the ranges are found, least to largest.
    """
    rounded = copy.deepcopy(folded)
    for parent in [rounded, *(block for block in rounded.children() if hasattr(block, "conv2"))]:
        for name in ("relu", "relu1", "norm2", "relu2", "pool"):  # norm2 stands empty between convolution and sum
            if hasattr(parent, name):
                setattr(parent, name, nn.Sequential(getattr(parent, name), Rounded()))
    whole = nn.Sequential(Rounded(), rounded).eval()
    for part in inputs.split(500):
        whole(part)
    for module in whole.modules():
        if isinstance(module, Rounded):
            module.calibrating = False
    return whole
