"""PilotNet, which steers a car from one camera, and smaller and smaller networks for the same task."""

from collections import OrderedDict
from itertools import pairwise

from torch import nn

SMALL = {  # channels of the image and of three convolutions; hidden linear layers
    "small": ((3, 32, 32, 64), (32, 10)),
    "tiny": ((1, 8, 16, 24), (12,)),
    "tiniest": ((1, 4, 8, 8), (8,)),
}
VARIANTS = ("paper", "one-dense", "small", "tiny", "tiniest")


def pilotnet(variant: str = "paper") -> nn.Sequential:
    """PilotNet (Bojarski et al. 2016), or one of four smaller steering networks.

    Parameters
    ----------
    variant : {"paper", "one-dense", "small", "tiny", "tiniest"}
        ``"paper"``: five convolutions and four linear layers on 66×200 images, 252,219 parameters, 26,876,342
        multiply-accumulates (biases not among them). ``"one-dense"``: the same convolutions and one linear layer,
        132,501 parameters. ``"small"``: three 3×3 convolutions and three linear layers on 40×40 images, 80,213
        parameters. ``"tiny"`` and ``"tiniest"``: the small one's plan on grey 40×40 images, 11,953 and 2,537
        parameters.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(N, 3, 66, 200)``, or ``(N, 3, 40, 40)`` for ``"small"`` and ``(N, 1, 40, 40)`` for those below, to
        steering ``(N, 1)``.

    Raises
    ------
    ValueError
        If there is no such variant.

    Examples
    --------
    >>> [sum(parameter.numel() for parameter in pilotnet(variant).parameters()) for variant in VARIANTS]
    [252219, 132501, 80213, 11953, 2537]
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r}: choose one of {', '.join(VARIANTS)}.")
    if variant in SMALL:
        channels, dense = SMALL[variant]
        return nn.Sequential(OrderedDict(_small_trunk(channels) | _dense((channels[-1] * 25, *dense, 1))))
    return nn.Sequential(OrderedDict(_trunk() | _dense((1152, 100, 50, 10, 1) if variant == "paper" else (1152, 1))))


def _trunk() -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    sizes = ((3, 24, 5, 2), (24, 36, 5, 2), (36, 48, 5, 2), (48, 64, 3, 1), (64, 64, 3, 1))
    for number, (channels, width, size, stride) in enumerate(sizes, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, size, stride=stride)
        layers[f"relu{number}"] = nn.ReLU()
    return layers


def _small_trunk(widths: tuple[int, ...]) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for number, (channels, width) in enumerate(pairwise(widths), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    return layers


def _dense(sizes: tuple[int, ...]) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    last = len(sizes) - 1
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
        if number < last:
            layers[f"relu_fc{number}"] = nn.ReLU()
    return layers
