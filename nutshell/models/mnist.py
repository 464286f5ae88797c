"""The networks of the MNIST experiments: multilayer perceptrons and the two networks called LeNet-5."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(sizes: Sequence[int] = (784, 300, 100, 10)) -> nn.Sequential:
    """Fully connected layers with ReLU between them; images are flattened first.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden layers and outputs, each at least 1; at least two numbers.

    Returns
    -------
    torch.nn.Sequential
        Layers ``flatten``, ``fc1``, ``relu1``, ``fc2``, …; maps ``(N, …)`` to logits ``(N, sizes[-1])``.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or one is below 1.

    Examples
    --------
    >>> [name for name, _ in mlp((784, 30, 10)).named_children()]
    ['flatten', 'fc1', 'relu1', 'fc2']
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes={tuple(sizes)}: give at least two sizes, each at least 1, as in (784, 300, 10).")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    last = len(sizes) - 1
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
        if number < last:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)


def lenet_300_100() -> nn.Sequential:
    """LeNet-300-100 (LeCun et al. 1998, section III.C.4): 784-300-100-10, 266,610 parameters.

    Examples
    --------
    >>> lenet_300_100().fc1
    Linear(in_features=784, out_features=300, bias=True)
    """
    return mlp((784, 300, 100, 10))


def lenet_5_caffe() -> nn.Sequential:
    """The "LeNet-5" of Caffe and of Han et al. 2015: 431,080 parameters, 2,293,000 multiply-accumulates.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in lenet_5_caffe().parameters())
    431080
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(800, 500),
            relu1=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )


def lenet_5() -> nn.Sequential:
    """Classic LeNet-5 (LeCun et al. 1998, section II.B) with ReLU, maximum pooling and a full second convolution.

    The 28×28 images are padded to 32×32 by the first convolution; 61,706 parameters.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in lenet_5().parameters())
    61706
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, 10),
        )
    )
