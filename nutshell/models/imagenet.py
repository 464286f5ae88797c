"""Four networks for 1000 ImageNet classes, for counting: AlexNet, VGG-16, GoogLeNet and ResNet-50.

They are built as their papers describe them, so that every published count can be checked to the digit.
``nutshell.models.build(name, device="meta")`` builds any of them without memory for the weights.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

CLASSES = 1000


def alexnet(groups: int = 2) -> nn.Sequential:
    """AlexNet (Krizhevsky et al. 2012): 60,965,224 parameters, 724,406,816 multiply-accumulates at 227×227.

    Parameters
    ----------
    groups : int
        Groups of conv2, conv4 and conv5: 2 as in the paper, which split them over two GPUs; 1 without the split.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(N, 3, 227, 227)`` to logits ``(N, 1000)``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(parameter.numel() for parameter in alexnet().parameters())
    60965224
    """

    def normalise() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 11, stride=4),
            relu1=nn.ReLU(),
            norm1=normalise(),
            pool1=nn.MaxPool2d(3, stride=2),
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=groups),
            relu2=nn.ReLU(),
            norm2=normalise(),
            pool2=nn.MaxPool2d(3, stride=2),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=groups),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=groups),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, stride=2),
            flatten=nn.Flatten(),
            fc6=nn.Linear(256 * 6 * 6, 4096),
            relu6=nn.ReLU(),
            dropout6=nn.Dropout(0.5),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            dropout7=nn.Dropout(0.5),
            fc8=nn.Linear(4096, CLASSES),
        )
    )


def vgg_16() -> nn.Sequential:
    """VGG-16 (Simonyan, Zisserman 2014, configuration D): 138,357,544 parameters, 15.470 billion multiply-accumulates.

    Maps ``(N, 3, 224, 224)`` to logits ``(N, 1000)``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(parameter.numel() for parameter in vgg_16().parameters())
    138357544
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for stage, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for position in range(1, depth + 1):
            layers[f"conv{stage}_{position}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"relu{stage}_{position}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    for number, (inputs, outputs) in enumerate(((512 * 7 * 7, 4096), (4096, 4096)), start=6):
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = nn.Dropout(0.5)
    layers["fc8"] = nn.Linear(4096, CLASSES)
    return nn.Sequential(layers)


class Inception(nn.Module):
    """Four branches side by side, concatenated by channel (Szegedy et al. 2014, figure 2b).

    Parameters
    ----------
    channels : int
        Channels of the input.
    one : int
        Channels of the 1×1 branch.
    three, five : tuple of int
        Channels of the 1×1 reduction and of the 3×3 or 5×5 convolution behind it.
    pool : int
        Channels of the 1×1 projection behind the 3×3 maximum pool.

    Examples
    --------
    >>> Inception(192, 64, (96, 128), (16, 32), 32)(torch.zeros(1, 192, 28, 28)).shape
    torch.Size([1, 256, 28, 28])
    """

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.branch1 = _conv_relu(channels, one, 1)
        self.branch3 = nn.Sequential(_conv_relu(channels, three[0], 1), _conv_relu(three[0], three[1], 3))
        self.branch5 = nn.Sequential(_conv_relu(channels, five[0], 1), _conv_relu(five[0], five[1], 5))
        self.branch_pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _conv_relu(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1(x), self.branch3(x), self.branch5(x), self.branch_pool(x)), dim=1)


# Inception modules by stage, the columns of table 1 of the paper: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, projection.
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> nn.Sequential:
    """GoogLeNet (Szegedy et al. 2014, table 1), without the classifiers that only training uses: 6,998,552 parameters.

    Maps ``(N, 3, 224, 224)`` to logits ``(N, 1000)``. Pools round up, which gives the sizes of the paper's table.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(parameter.numel() for parameter in googlenet().parameters())
    6998552
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv_relu(3, 64, 7, stride=2),
        pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        reduce2=_conv_relu(64, 64, 1),
        conv2=_conv_relu(64, 192, 3),
        norm2=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    channels = 192
    for name, (one, reduce3, three, reduce5, five, pool) in INCEPTIONS.items():
        layers[f"inception{name}"] = Inception(channels, one, (reduce3, three), (reduce5, five), pool)
        channels = one + three + five + pool
        if name in ("3b", "4e"):
            layers[f"pool{name[0]}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    layers["pool5"] = nn.AdaptiveAvgPool2d(1)
    layers["dropout"] = nn.Dropout(0.4)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, CLASSES)
    return nn.Sequential(layers)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around a shortcut (He et al. 2015, figure 5); its first 1×1 has the stride.

    Moving the stride to the 3×3 convolution, as later code does, leaves the parameters alone and costs 6 % more
    multiply-accumulates in ResNet-50.

    Parameters
    ----------
    channels, width : int
        Channels of the input and between the convolutions; the output has ``4 * width``.
    stride : int
        1 or 2.
    stride_in_3x3 : bool
        Puts the stride into the 3×3 convolution.
    """

    def __init__(self, channels: int, width: int, stride: int = 1, stride_in_3x3: bool = False) -> None:
        super().__init__()
        first, second = (1, stride) if stride_in_3x3 else (stride, 1)
        self.conv1 = nn.Conv2d(channels, width, 1, stride=first, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        same = channels == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same else _projection(channels, 4 * width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.relu2(self.norm2(self.conv2(y)))
        return self.relu3(self.norm3(self.conv3(y)) + self.shortcut(x))


def resnet_50(depths: Sequence[int] = (3, 4, 6, 3), stride_in_3x3: bool = False) -> nn.Sequential:
    """ResNet-50 (He et al. 2015, table 1): 25,557,032 parameters, 3.858 billion multiply-accumulates.

    Parameters
    ----------
    depths : sequence of int
        Bottlenecks of each stage.
    stride_in_3x3 : bool
        ``False`` is the paper's placement; ``True`` gives the "v1.5" network of 4.089 billion multiply-accumulates.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(N, 3, 224, 224)`` to logits ``(N, 1000)``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(parameter.numel() for parameter in resnet_50().parameters())
    25557032
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        norm1=nn.BatchNorm2d(64),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, stride=2, padding=1),
    )
    channels = 64
    for stage, depth in enumerate(depths, start=2):
        width = 64 << (stage - 2)
        for position in range(1, depth + 1):
            stride = 2 if position == 1 and stage > 2 else 1
            layers[f"block{stage}_{position}"] = Bottleneck(channels, width, stride, stride_in_3x3)
            channels = 4 * width
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(channels, CLASSES)
    return nn.Sequential(layers)


def _conv_relu(channels: int, width: int, size: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, size, stride=stride, padding=size // 2)
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU()))


def _projection(channels: int, width: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width)))
