"""Blocks of compact networks, of convolutions with batch normalisation, and networks for CIFAR-10 made of them.

A block takes maps ``(N, C, H, W)`` and returns ``(N, P, H, W)``. A network is described in words and numbers::

    block_network((("down", 32), ("fire+", 64), ("pool", 2), ("separable", 128)))

A ``+`` puts a shortcut around a block: the input is added before the last activation (He et al. 2015, 1512.03385).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[], nn.Module]


class Swish(nn.Module):
    """x · σ(βx), with β trained or left at 1 (Ramachandran et al. 2017, arXiv 1710.05941).

    Parameters
    ----------
    trained : bool
        Whether β, 1 at first, is a parameter.

    Examples
    --------
    >>> Swish(trained=False)(torch.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def __init__(self, trained: bool = True) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(()), requires_grad=trained)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


ACTIVATIONS: dict[str, Activation] = {"relu": nn.ReLU, "swish": Swish, "silu": nn.SiLU}


def unit(channels: int, outputs: int, kernel: int | tuple[int, int] = 3, activation: Activation | None = nn.ReLU,
         *, groups: int = 1, stride: int = 1) -> nn.Sequential:  # fmt: skip
    """A convolution without bias that keeps the size, batch normalisation and, unless ``None``, an activation."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    conv = nn.Conv2d(channels, outputs, kernel, stride, (sides[0] // 2, sides[1] // 2), groups=groups, bias=False)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs))
    if activation is not None:
        layers["act"] = activation()
    return nn.Sequential(layers)


def fold(network: nn.Module) -> nn.Module:
    """Put every normalisation into the convolution before it, whose bias it becomes; same outputs in evaluation mode.

    Changes the network in place, and returns it.
    """
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential) or not hasattr(layers, "norm"):
            continue
        conv, norm = layers.conv, layers.norm
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        assert norm.running_mean is not None
        rate = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        conv.weight = nn.Parameter((conv.weight * rate[:, None, None, None]).detach())
        conv.bias = nn.Parameter((norm.bias - norm.running_mean * rate).detach())
        del layers.norm
    return network


class Ways(nn.Module):
    """Several ways for the same input, their outputs side by side."""

    def __init__(self, **ways: nn.Module) -> None:
        super().__init__()
        for name, way in ways.items():
            self.add_module(name, way)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([way(x) for way in self.children()], 1)


def plain(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """One 3×3 convolution: 9·C·P weights."""
    return unit(channels, outputs, 3, last)


def two_plain(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """Two 3×3 convolutions, as in VGG (Simonyan, Zisserman 2014): 9·P·(C + P) weights."""
    return nn.Sequential(unit(channels, outputs, 3, activation), unit(outputs, outputs, 3, last))


def bottleneck(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """1×1 down to P/4 channels, 3×3 there, 1×1 up again (He et al. 2015, 1512.03385, figure 5)."""
    inner = max(1, outputs // 4)
    return nn.Sequential(unit(channels, inner, 1, activation), unit(inner, inner, 3, activation),
                         unit(inner, outputs, 1, last))  # fmt: skip


def fire(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """1×1 squeeze to P/4 channels, then half of the outputs by 1×1 and half by 3×3 (SqueezeNet, 1602.07360)."""
    inner, half = max(1, outputs // 4), outputs // 2
    expand = Ways(one=unit(inner, outputs - half, 1, last), three=unit(inner, half, 3, last))
    return nn.Sequential(OrderedDict(squeeze=unit(channels, inner, 1, activation), expand=expand))


def inception(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """A quarter of the outputs each by 1×1, by 3×3, by 5×5 and from a pool (GoogLeNet, 1409.4842)."""
    quarter, inner = outputs // 4, max(1, outputs // 8)
    return Ways(
        one=unit(channels, outputs - 3 * quarter, 1, last),
        three=nn.Sequential(unit(channels, inner, 1, activation), unit(inner, quarter, 3, last)),
        five=nn.Sequential(unit(channels, inner, 1, activation), unit(inner, quarter, 5, last)),
        pool=nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(channels, quarter, 1, last)),
    )


def separable(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """3×3 on each channel alone, then 1×1 across channels (MobileNets, 1704.04861): C·(9 + P) weights.

    Nothing stands between the two, as Xception has it (1610.02357, section 4.7).
    """
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                         unit(channels, outputs, 1, last))  # fmt: skip


def flattened(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """1×1 across channels, then 3×1 and 1×3 on each alone (Jin et al. 2014, 1412.5474): P·(C + 6) weights."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, 1, bias=False),
        nn.Conv2d(outputs, outputs, (3, 1), padding=(1, 0), groups=outputs, bias=False),
        unit(outputs, outputs, (1, 3), last, groups=outputs),
    )


def grouped(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """3×3 in four groups (fewer if C isn't a multiple of 4), then 1×1 across them: C·(9·C/4 + P) weights."""
    groups = next(count for count in (4, 2, 1) if channels % count == 0)
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False),
                         unit(channels, outputs, 1, last))  # fmt: skip


class Octave(nn.Module):
    """Two 3×3 convolutions, half of the channels between them at half the resolution (Chen et al. 2019, 1904.05049).

    The first makes high and low channels of a map, the second a map of both, as a network's first and last octave
    convolution do: together ⅝ of the multiply-accumulates of two plain ones. Height and width must be even.
    """

    def __init__(self, channels: int, outputs: int, activation: Activation, last: Activation | None) -> None:
        super().__init__()
        low = outputs // 2
        self.pool = nn.AvgPool2d(2)
        self.high, self.low = unit(channels, outputs - low, 3, activation), unit(channels, low, 3, activation)
        self.from_high = nn.Conv2d(outputs - low, outputs, 3, padding=1, bias=False)
        self.from_low = nn.Conv2d(low, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)  # of the sum, so that it can't be folded
        self.act = nn.Identity() if last is None else last()

    def forward(self, x: Tensor) -> Tensor:
        low = functional.interpolate(self.from_low(self.low(self.pool(x))), scale_factor=2.0, mode="nearest")
        return self.act(self.norm(self.from_high(self.high(x)) + low))


class Shortcut(nn.Module):
    """act(x + F(x)); in training each element of both may be left out (Swapout, Singh et al. 2016, 1605.06465).

    Parameters
    ----------
    branch, act : torch.nn.Module
        F, and what follows the sum.
    keep : float
        Chance that an element of x, and one of F(x), is kept, each drawn alone; 1 is a residual block. In evaluation
        both are multiplied by it, the expectation.
    """

    def __init__(self, branch: nn.Module, act: nn.Module, keep: float = 1.0) -> None:
        super().__init__()
        self.branch, self.act, self.keep = branch, act, keep

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if self.keep == 1:
            return self.act(x + y)
        if not self.training:
            return self.act(self.keep * (x + y))
        kept = torch.rand((2, *x.shape), device=x.device) < self.keep
        return self.act(kept[0] * x + kept[1] * y)


class Excite(nn.Module):
    """Every channel times a gate between 0 and 1 that all channels' means decide (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        inner = max(8, channels // 8)
        self.pool, self.act, self.gate = nn.AdaptiveAvgPool2d(1), activation(), nn.Sigmoid()
        self.squeeze, self.excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.excite(self.act(self.squeeze(self.pool(x)))))


def excited(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """A separable convolution whose channels are gated: Hu et al.'s block behind Howard et al.'s."""
    layers = OrderedDict(separable=separable(channels, outputs, activation, None), gate=Excite(outputs, activation))
    if last is not None:
        layers["act"] = last()
    return nn.Sequential(layers)


def inverted(channels: int, outputs: int, activation: Activation, last: Activation | None) -> nn.Module:
    """1×1 to 3·C channels, 3×3 on each alone, 1×1 to P and nothing behind it (MobileNetV2, 1801.04381, section 3.3)."""
    wide = 3 * channels
    return nn.Sequential(unit(channels, wide, 1, activation), unit(wide, wide, 3, activation, groups=wide),
                         unit(wide, outputs, 1, None))  # fmt: skip


Block = Callable[[int, int, Activation, Activation | None], nn.Module]
BLOCKS: dict[str, Block] = {
    "plain": plain, "two plain": two_plain, "bottleneck": bottleneck, "fire": fire, "inception": inception,
    "separable": separable, "flattened": flattened, "grouped": grouped, "octave": Octave,
}  # fmt: skip
MORE_BLOCKS: dict[str, Block] = {"excited": excited, "inverted": inverted}  # which the unit's results try besides


def block(kind: str, channels: int, outputs: int, activation: str = "relu", keep: float = 1.0) -> nn.Module:
    """One block by its name.

    Parameters
    ----------
    kind : str
        One of :data:`BLOCKS` or :data:`MORE_BLOCKS`, with ``+`` behind it for a shortcut (C = P then).
    channels, outputs : int
        C and P.
    activation : str
        One of :data:`ACTIVATIONS`.
    keep : float
        Of a shortcut; see :class:`Shortcut`.

    Raises
    ------
    ValueError
        If there is no such block, or a shortcut has to change the number of channels.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in block("separable", 16, 32).parameters())  # 16·(9 + 32), normalisation
    720
    """
    name, act = kind.removesuffix("+"), ACTIVATIONS[activation]
    known = BLOCKS | MORE_BLOCKS
    if name not in known:
        raise ValueError(f"There is no block called {name!r}. Choose one of: {', '.join(known)}.")
    if name == kind:
        return known[name](channels, outputs, act, act)
    if channels != outputs:
        raise ValueError(f"{kind} from {channels} to {outputs} channels: a shortcut needs as many out as in.")
    return Shortcut(known[name](channels, outputs, act, None), nn.Identity() if name == "inverted" else act(), keep)


# Whoever has the blocks can put this one together: 4.66 million multiply-accumulates, 1/8.3 of vgg-small's.
SEPARABLE = (("plain", 16), ("pool", 2), ("separable", 64), ("separable", 64), ("pool", 2), ("separable", 144),
             ("separable", 144), ("pool", 2), ("separable", 288))  # fmt: skip


def block_network(
    blocks: Sequence[tuple[str, int]] = SEPARABLE, *, activation: str = "relu", head: str = "pooled",
    last_keep: float = 1.0, folded: bool = False, classes: int = 10, channels: int = 3, size: int = 32,
) -> nn.Sequential:  # fmt: skip
    """A network of blocks for small images.

    Parameters
    ----------
    blocks : sequence of (str, int)
        A block of :data:`BLOCKS` and its number of outputs; or ``("pool", k)``, a k×k max pool, or ``("down", P)``, a
        3×3 convolution with stride 2.
    activation : str
        One of :data:`ACTIVATIONS`.
    head : {"pooled", "connected", "dropout"}
        Global average pooling and a linear layer; a linear layer on all places; the same behind dropout of one half.
    last_keep : float
        Chance to keep an element at the last shortcut; it falls to there in equal steps from 1 (Singh et al., table 2).
    folded : bool
        Whether its normalisation is folded away, as that of a trained network may be; see :func:`fold`.
    classes, channels, size : int
        Of the output, and of the images.

    Returns
    -------
    torch.nn.Sequential
        Maps ``(N, channels, size, size)`` to logits ``(N, classes)``.

    Examples
    --------
    >>> network = block_network((("down", 16), ("separable", 32)))
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    shortcuts = sum(kind.endswith("+") for kind, _ in blocks)
    seen = 0
    for number, (kind, width) in enumerate(blocks, start=1):
        if kind == "pool":
            layers[f"pool{number}"], size = nn.MaxPool2d(width), size // width
            continue
        if kind == "down":
            layers[f"down{number}"] = unit(channels, width, 3, ACTIVATIONS[activation], stride=2)
            size = (size + 1) // 2
        else:
            seen += kind.endswith("+")
            keep = 1 - (1 - last_keep) * seen / max(1, shortcuts)
            layers[f"block{number}"] = block(kind, channels, width, activation, keep)
        channels = width
    network = nn.Sequential(layers | _head(head, channels, size, classes))
    return fold(network) if folded else network  # type: ignore[return-value]  # the same network


def _head(head: str, channels: int, size: int, classes: int) -> OrderedDict[str, nn.Module]:
    if head == "pooled":
        return OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(channels, classes))
    if head not in ("connected", "dropout"):
        raise ValueError(f'head={head!r}: choose "pooled", "connected" or "dropout".')
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    if head == "dropout":
        layers["dropout"] = nn.Dropout(0.5)
    layers["classifier"] = nn.Linear(channels * size * size, classes)
    return layers
