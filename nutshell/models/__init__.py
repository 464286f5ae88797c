"""Networks by name: ``build("lenet-300-100", seed=0)``.

A network is described by its name, its options and a seed, never by a pickled object, so that two processes can
build the same one without exchanging code.
"""

from collections.abc import Callable

import torch
from torch import nn

from nutshell.models.applications import cell_net, gesture_net, sketch_net
from nutshell.models.blocks import block_network
from nutshell.models.cifar import resnet_20, vgg_small
from nutshell.models.imagenet import alexnet, googlenet, resnet_50, vgg_16
from nutshell.models.mnist import lenet_5, lenet_5_caffe, lenet_300_100, mlp
from nutshell.models.pilotnet import pilotnet
from nutshell.models.yolov3 import yolov3

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "lenet-300-100": lenet_300_100,
    "lenet-5-caffe": lenet_5_caffe,
    "lenet-5": lenet_5,
    "vgg-small": vgg_small,
    "resnet-20": resnet_20,
    "block-network": block_network,
    "pilotnet": pilotnet,
    "gesture-net": gesture_net,
    "cell-net": cell_net,
    "sketch-net": sketch_net,
    "alexnet": alexnet,
    "vgg-16": vgg_16,
    "resnet-50": resnet_50,
    "googlenet": googlenet,
    "yolov3": yolov3,
}

# Channels, height and width of one image, for the options that are the default.
INPUT_SHAPES: dict[str, tuple[int, int, int]] = {
    "mlp": (1, 28, 28),
    "lenet-300-100": (1, 28, 28),
    "lenet-5-caffe": (1, 28, 28),
    "lenet-5": (1, 28, 28),
    "vgg-small": (3, 32, 32),
    "resnet-20": (3, 32, 32),
    "block-network": (3, 32, 32),
    "pilotnet": (3, 66, 200),
    "gesture-net": (1, 50, 50),
    "cell-net": (3, 48, 48),
    "sketch-net": (1, 28, 28),
    "alexnet": (3, 227, 227),
    "vgg-16": (3, 224, 224),
    "resnet-50": (3, 224, 224),
    "googlenet": (3, 224, 224),
    "yolov3": (3, 320, 320),
}


def build(name: str, *, seed: int = 0, device: str = "cpu", **options: object) -> nn.Module:
    """Build a network with seeded random weights.

    Parameters
    ----------
    name : str
        One of :data:`BUILDERS`.
    seed : int
        Seed of the initial weights; the global random state is left as it was.
    device : str
        ``"meta"`` gives shapes without memory, which is enough to count.
    **options
        Passed to the builder, for example ``sizes=(784, 30, 10)`` for ``"mlp"``.

    Returns
    -------
    torch.nn.Module
        In training mode, float32.

    Raises
    ------
    ValueError
        If no network has that name.

    Examples
    --------
    >>> network = build("lenet-300-100", seed=0)
    >>> sum(parameter.numel() for parameter in network.parameters())
    266610
    """
    if name not in BUILDERS:
        raise ValueError(f"There is no network called {name!r}. Choose one of: {', '.join(sorted(BUILDERS))}.")
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        network = BUILDERS[name](**options)
    network.specification = (name, options)  # type: ignore[assignment]  # by which it is built again in another process
    return network
