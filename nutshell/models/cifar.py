"""The networks of the CIFAR-10 experiments: a small VGG and ResNet-20."""

from collections import OrderedDict
from collections.abc import Sequence

import torch  # noqa: F401 - the examples use it
from torch import Tensor, nn
from torch.nn import functional


def vgg_small(widths: Sequence[int] = (32, 64, 128)) -> nn.Sequential:
    """A small VGG for 32×32 images: two 3×3 convolutions and a pool for each width, then one linear layer.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(N, 3, 32, 32)`` to logits ``(N, 10)``.

    Examples
    --------
    >>> vgg_small().classifier
    Linear(in_features=2048, out_features=10, bias=True)
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for stage, width in enumerate(widths, start=1):
        for position in (1, 2):
            layers[f"conv{stage}_{position}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            layers[f"norm{stage}_{position}"] = nn.BatchNorm2d(width)
            layers[f"relu{stage}_{position}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels * (32 >> len(widths)) ** 2, 10)
    return nn.Sequential(layers)


class PaddedShortcut(nn.Module):
    """The parameter-free shortcut of He et al. 2016 (option A): every second pixel, new channels filled with zeros.

    Parameters
    ----------
    new_channels : int
        Channels to add, half of them before and half behind; even.

    Examples
    --------
    >>> PaddedShortcut(16)(torch.zeros(1, 16, 8, 8)).shape
    torch.Size([1, 32, 4, 4])
    """

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        if new_channels % 2:
            raise ValueError(f"new_channels={new_channels}: must be even, half goes on each side.")
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        half = self.new_channels // 2
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation around a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if stride == 1 else PaddedShortcut(width - channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet_20(widths: Sequence[int] = (16, 32, 64)) -> nn.Sequential:
    """ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2): 269,722 parameters, 40.55 million multiply-accumulates.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in resnet_20().parameters())
    269722
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(3, widths[0], 3, padding=1, bias=False), norm=nn.BatchNorm2d(widths[0]), relu=nn.ReLU()
    )
    channels = widths[0]
    for stage, width in enumerate(widths, start=1):
        for position in (1, 2, 3):
            layers[f"block{stage}_{position}"] = ResidualBlock(channels, width)
            channels = width
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, 10)
    return nn.Sequential(layers)
