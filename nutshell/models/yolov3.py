"""YOLOv3 (Redmon, Farhadi 2018): a detector of 80 kinds of things at three scales, for counting."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # channels and residual blocks of Darknet-53


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation and leaky ReLU of slope 0.1; same padding."""

    def __init__(self, channels: int, width: int, size: int, stride: int = 1) -> None:
        conv = nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, bias=False)
        super().__init__(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width), relu=nn.LeakyReLU(0.1)))


class DarknetBlock(nn.Module):
    """A 1×1 and a 3×3 convolution around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvUnit(channels, channels // 2, 1)
        self.expand = ConvUnit(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(self.squeeze(x))


class Detector(nn.Module):
    """Five convolutions of one scale, whose result goes on to the next scale, and the boxes found at this one.

    Parameters
    ----------
    channels, width : int
        Channels of the input and of the result.
    outputs : int
        Numbers for each pixel: 3 boxes of 4 coordinates, 1 confidence and the classes.
    """

    def __init__(self, channels: int, width: int, outputs: int) -> None:
        super().__init__()
        neck = [ConvUnit(channels, width, 1)]
        for _ in range(2):
            neck += [ConvUnit(width, 2 * width, 3), ConvUnit(2 * width, width, 1)]
        self.neck = nn.Sequential(*neck)
        self.head = ConvUnit(width, 2 * width, 3)
        self.boxes = nn.Conv2d(2 * width, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.neck(x)
        return x, self.boxes(self.head(x))


class YOLOv3(nn.Module):
    """Darknet-53 and three detectors at strides 32, 16 and 8.

    Parameters
    ----------
    classes : int
        Kinds of things to detect.
    """

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        outputs = 3 * (5 + classes)
        self.stem = ConvUnit(3, 32, 3)
        stages, channels = [], 32
        for width, depth in STAGES:
            blocks = [DarknetBlock(width) for _ in range(depth)]
            stages.append(nn.Sequential(ConvUnit(channels, width, 3, stride=2), *blocks))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.detect32 = Detector(1024, 512, outputs)
        self.reduce16 = ConvUnit(512, 256, 1)
        self.detect16 = Detector(512 + 256, 256, outputs)
        self.reduce8 = ConvUnit(256, 128, 1)
        self.detect8 = Detector(256 + 128, 128, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        scales = []
        for stage in self.stages:
            x = stage(x)
            scales.append(x)
        x, boxes32 = self.detect32(scales[4])
        x = functional.interpolate(self.reduce16(x), scale_factor=2.0, mode="nearest")
        x, boxes16 = self.detect16(torch.cat((x, scales[3]), dim=1))
        x = functional.interpolate(self.reduce8(x), scale_factor=2.0, mode="nearest")
        _, boxes8 = self.detect8(torch.cat((x, scales[2]), dim=1))
        return boxes32, boxes16, boxes8


def yolov3(classes: int = 80) -> YOLOv3:
    """YOLOv3: 61,949,149 parameters, 19.49 billion multiply-accumulates at 320×320.

    Parameters
    ----------
    classes : int
        80 for COCO.

    Returns
    -------
    torch.nn.Module
        Maps ``(N, 3, H, W)``, H and W multiples of 32, to three tensors ``(N, 3·(5 + classes), H/s, W/s)`` with
        s = 32, 16 and 8.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(parameter.numel() for parameter in yolov3().parameters())
    61949149
    """
    return YOLOv3(classes)
