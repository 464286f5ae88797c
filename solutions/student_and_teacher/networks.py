"""The teachers and students of the unit's results that no other unit has."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from nutshell import models


def dropping(sizes: Sequence[int] = (784, 1200, 1200, 10), inputs: float = 0.1, hidden: float = 0.3) -> nn.Sequential:
    """A multilayer perceptron that drops inputs and hidden units in training, like Hinton et al.'s teacher.

    Parameters
    ----------
    sizes : sequence of int
        As of :func:`nutshell.models.mnist.mlp`; without dropout the two are the same function of the same weights.
    inputs, hidden : float
        Share that is dropped, 0 to below 1.

    Examples
    --------
    >>> [name for name, _ in dropping((784, 30, 10)).named_children()]
    ['flatten', 'drop0', 'fc1', 'relu1', 'drop1', 'fc2']
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in models.mlp(sizes).named_children():
        layers[name] = layer
        if name == "flatten":
            layers["drop0"] = nn.Dropout(inputs)
        elif name.startswith("relu"):
            layers[name.replace("relu", "drop")] = nn.Dropout(hidden)
    return nn.Sequential(layers)


def conv_teacher() -> nn.Sequential:
    """Three convolutions and two linear layers, 206,538 parameters; the hint is what leaves ``relu3``, 64×7×7.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in conv_teacher().parameters())
    206538
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 32, 5, stride=2, padding=2), relu1=nn.ReLU(),
        conv2=nn.Conv2d(32, 64, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(64, 64, 3, padding=1), relu3=nn.ReLU(), pool3=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(576, 256), relu4=nn.ReLU(), drop=nn.Dropout(0.5), fc2=nn.Linear(256, 10),
    ))  # fmt: skip


def thin_and_deep() -> nn.Sequential:
    """Five narrow convolutions and one linear layer, 28,762 parameters; ``relu4`` is guided, 32×7×7.

    Deeper and thinner than its teacher, as students are in FitNets (Romero et al. 2015, arXiv 1412.6550).

    Examples
    --------
    >>> sum(parameter.numel() for parameter in thin_and_deep().parameters())
    28762
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 16, 5, stride=2, padding=2), relu1=nn.ReLU(),
        conv2=nn.Conv2d(16, 16, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(16, 32, 3, padding=1), relu3=nn.ReLU(),
        conv4=nn.Conv2d(32, 32, 3, padding=1), relu4=nn.ReLU(),
        conv5=nn.Conv2d(32, 32, 3, padding=1), relu5=nn.ReLU(), pool5=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(288, 10),
    ))  # fmt: skip


def shallow() -> nn.Sequential:
    """The SNN: one hidden layer, 60,430 parameters.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in shallow().parameters())
    60430
    """
    return models.mlp((784, 76, 10))


def deep() -> nn.Sequential:
    """The DNN: three hidden layers, 60,340 parameters.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in deep().parameters())
    60340
    """
    return models.mlp((784, 70, 50, 30, 10))


def convolutional() -> nn.Sequential:
    """The CNN: two convolutions and two linear layers, 60,092 parameters.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in convolutional().parameters())
    60092
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 12, 5, stride=2, padding=2), relu1=nn.ReLU(),
        conv2=nn.Conv2d(12, 24, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(600, 86), relu3=nn.ReLU(), fc2=nn.Linear(86, 10),
    ))  # fmt: skip


class Guided(nn.Module):
    """A student up to the layer that is guided, and what turns it into as many channels as the hint has.

    Parameters
    ----------
    student : torch.nn.Sequential
        Its layers are shared, so that training this trains the student.
    last : str
        Name of the guided layer.
    channels : int
        Of the guided layer.
    hinted : int
        Channels of the hint; height and width are the same.
    """

    def __init__(self, student: nn.Sequential, last: str, channels: int, hinted: int) -> None:
        super().__init__()
        self.trunk = up_to(student, last)
        self.regressor = nn.Conv2d(channels, hinted, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(images)


def up_to(network: nn.Sequential, last: str) -> nn.Sequential:
    """The layers of a network up to and with ``last``; they are shared, not copied.

    Examples
    --------
    >>> [name for name, _ in up_to(thin_and_deep(), "conv2").named_children()]
    ['conv1', 'relu1', 'conv2']
    """
    names = [name for name, _ in network.named_children()]
    return nn.Sequential(OrderedDict((name, network.get_submodule(name)) for name in names[: names.index(last) + 1]))
