"""Small networks for the pictures of the applications: gestures, cells and sketches. All have one plan."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def small_convnet(channels: Sequence[int], classes: int) -> nn.Sequential:
    """3×3 convolutions, each with batch normalisation, ReLU and 2×2 pooling; each channel's mean; one linear layer.

    The mean over all places leaves one number a channel whatever the images' size, so that one network serves several.

    Parameters
    ----------
    channels : sequence of int
        Of the image, then of each convolution; at least two numbers.
    classes : int
        Outputs, at least 1.

    Returns
    -------
    torch.nn.Sequential
        Layers ``conv1``, ``norm1``, ``relu1``, ``pool1``, …, ``mean``, ``flatten``, ``fc``; maps ``(N, C, H, W)``, with
        sides of at least 2 to the number of convolutions, to logits ``(N, classes)``.

    Raises
    ------
    ValueError
        If there are fewer than two numbers of channels, or one is below 1.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in small_convnet((1, 8, 16), 6).parameters())
    1374
    """
    if len(channels) < 2 or min(*channels, classes) < 1:
        raise ValueError(f"channels={tuple(channels)}, classes={classes}: give at least two numbers of channels, as in "
                         f"(1, 8, 16), and at least one class.")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels[-1], classes)
    return nn.Sequential(layers)


def gesture_net(channels: Sequence[int] = (1, 16, 32, 64), classes: int = 11) -> nn.Sequential:
    """Tells eleven gestures apart on 50×50 silhouettes.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in gesture_net().parameters())
    24123
    """
    return small_convnet(channels, classes)


def cell_net(channels: Sequence[int] = (3, 16, 32, 64), classes: int = 2) -> nn.Sequential:
    """Tells infected cells from healthy ones on 48×48 pictures.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in cell_net().parameters())
    23826
    """
    return small_convnet(channels, classes)


def sketch_net(channels: Sequence[int] = (1, 16, 32, 64), classes: int = 6) -> nn.Sequential:
    """Tells six words of Quick, Draw! apart on 28×28 sketches.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in sketch_net().parameters())
    23798
    """
    return small_convnet(channels, classes)
