"""Explorers of unit 10: octaves, the coins of Swapout, and Swish.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget. What blocks cost, and networks made of them: :mod:`nutshell.explorers.block_networks`.
"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn import functional

from nutshell import plots
from nutshell.explorers.common import captioned, explorer

CASES = ("0", "X", "F(X)", "X + F(X)")
_BLUE, _ORANGE, _GREEN, _RED, _BLACK, _SKY = (
    plots.PALETTE[name] for name in ("blue", "orange", "green", "vermilion", "black", "sky"))  # fmt: skip
_CASE_COLOURS = (_BLACK, _ORANGE, _SKY, _BLUE)


# Octaves -------------------------------------------------------------------------------------------------------------


def octave_numbers(alpha: float) -> dict[str, float]:
    """Shares of a plain convolution's work that the four paths of an octave convolution take, as many low in as out.

    Parameters
    ----------
    alpha : float
        Share of low channels, 0 to 1.

    Returns
    -------
    dict
        ``high to high``, ``low to high``, ``high to low``, ``low to low``, their sum ``macs``, ``activations`` and
        ``parameters``, all as shares of the plain convolution's.

    Examples
    --------
    >>> octave_numbers(0.5)["macs"], octave_numbers(0.5)["activations"]
    (0.4375, 0.625)
    """
    high, low = 1 - alpha, alpha
    paths = {"high to high": high * high, "low to high": low * high / 4, "high to low": high * low / 4,
             "low to low": low * low / 4}
    return {**paths, "macs": sum(paths.values()), "activations": high + low / 4, "parameters": 1.0}


def halves(image: Tensor) -> tuple[Tensor, Tensor]:
    """The low octave of an image, averaged over 2×2 pixels and repeated, and what it lacks.

    Parameters
    ----------
    image : Tensor
        Shape ``(C, H, W)``, H and W even.
    """
    low = functional.avg_pool2d(image[None].float(), 2).repeat_interleave(2, 2).repeat_interleave(2, 3)[0]
    return low, image - low


def octaves(images: Tensor, names: Sequence[str]) -> widgets.Widget:
    """Choose an image and the share α of low channels: what a low channel can see, and what the four paths cost.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 3, H, W)``.
    names : sequence of str
        What each shows.
    """
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False),
        "alpha": widgets.FloatSlider(0.5, min=0, max=1, step=0.125, description="α", continuous_update=False),
    }

    def draw(number: int, alpha: float) -> str:
        image = images[number].float() / 255
        low, rest = halves(image)
        kept = float(((low - low.mean((1, 2), True)) ** 2).sum() / ((image - image.mean((1, 2), True)) ** 2).sum())
        panels = plots.axes(10, 2.8, columns=4, width_ratios=(1, 1, 1, 2))
        for axes, shown, title in zip(panels, (image, low, 0.5 + rest), ("image", "low octave", "rest, + ½"),
                                      strict=False):
            axes.imshow(shown.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set(title=title, xticks=[], yticks=[])
            axes.grid(False)
        found = _paths(panels[3], alpha)
        words = (f"The low octave holds {100 * kept:.0f} % of the variation of this {names[number]}. α = {alpha:g}: "
                 f"{100 * found['macs']:.1f} % of the MACs, {100 * found['activations']:.1f} % of the activations, "
                 "100 % of the parameters")
        return captioned(words, plots.as_html(panels[0].figure, "An image, its low octave and the rest; and the MACs "
                                              f"of the four paths of an octave convolution against α. {words}."))

    return explorer(draw, knobs)


# Swapout -------------------------------------------------------------------------------------------------------------


def thrown(keep: float, side: int, seed: int = 0) -> Tensor:
    """Which of the four cases each unit of a map falls into: 0, 1, 2 or 3 as in :data:`CASES`.

    Examples
    --------
    >>> thrown(1.0, 2)
    tensor([[3, 3],
            [3, 3]])
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.rand(side, side, generator=generator) < keep for _ in range(2))
    return first.long() + 2 * second.long()


def coins(blocks: int = 8, side: int = 24) -> widgets.Widget:
    """Choose a block and the last block's probability: the four cases of its units, drawn and expected."""
    knobs = {
        "number": widgets.IntSlider(4, 1, blocks, description="block", continuous_update=False),
        "last": widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="last", continuous_update=False),
        "seed": widgets.IntSlider(0, 0, 9, description="throw", continuous_update=False),
    }

    def draw(number: int, last: float, seed: int) -> str:
        keep = 1 - (1 - last) * number / blocks
        cases = thrown(keep, side, seed)
        wanted = [(1 - keep) ** 2, keep * (1 - keep), (1 - keep) * keep, keep**2]
        seen = [float((cases == case).double().mean()) for case in range(4)]
        panels = plots.axes(10, 2.9, columns=3, width_ratios=(1.2, 1, 1.4))
        line = [1 - (1 - last) * place / blocks for place in range(1, blocks + 1)]
        panels[0].plot(range(1, blocks + 1), line, "o-", color=_BLUE)
        panels[0].plot([number], [keep], "o", color=_RED, markersize=10)
        panels[0].set(xlabel="block", ylabel="keep", ylim=(-0.05, 1.05), title="linear schedule")
        colours = np.array([[int(c[place : place + 2], 16) for place in (1, 3, 5)] for c in _CASE_COLOURS])
        panels[1].imshow(colours[cases.numpy()])
        panels[1].set(xticks=[], yticks=[], title="units of one channel")
        panels[1].grid(False)
        places = np.arange(4)
        panels[2].bar(places - 0.2, seen, 0.4, color=_CASE_COLOURS, label="seen")
        panels[2].bar(places + 0.2, wanted, 0.4, fill=False, hatch="//", edgecolor=_BLACK, label="expected")
        panels[2].set_xticks(places, CASES)
        panels[2].set(ylabel="share of the units", ylim=(0, 1.05))
        panels[2].legend()
        words = (f"Block {number} of {blocks}: keep = {keep:.3f}, so "
                 + ", ".join(f"{100 * share:.1f} % put out {case}" for case, share in zip(CASES, wanted, strict=True)))
        return captioned(words, plots.as_html(panels[0].figure, "The linear schedule; a map whose units are coloured "
                                              f"by their case; and bars of the shares. {words}."))

    return explorer(draw, knobs)


# Swish ---------------------------------------------------------------------------------------------------------------


def swish() -> widgets.Widget:
    """Move β: the activation x · σ(βx) and its slope, between half of the input and the ReLU."""
    knobs = {"beta": widgets.FloatSlider(1.0, min=-1, max=10, step=0.25, description="β", continuous_update=False)}

    def draw(beta: float) -> str:
        x = torch.linspace(-5, 5, 401)
        s = torch.sigmoid(beta * x)
        value, slope = x * s, s + beta * x * s * (1 - s)
        panels = plots.axes(9, 2.9, columns=2)
        panels[0].plot(x, value, color=_BLUE, label=f"Swish, β = {beta:g}")
        panels[0].plot(x, x.relu(), "--", color=_BLACK, linewidth=1, label="ReLU")
        panels[0].plot(x, x / 2, ":", color=_BLACK, linewidth=1, label="x / 2")
        panels[0].set(xlabel="x", ylabel="output")
        panels[0].legend()
        panels[1].plot(x, slope, color=_ORANGE, label="slope of Swish")
        panels[1].plot(x, (x > 0).float(), "--", color=_BLACK, linewidth=1, label="slope of ReLU")
        panels[1].set(xlabel="x", ylabel="slope", ylim=(-0.6, 1.6))
        panels[1].legend()
        lowest = int(value.argmin())
        words = (f"β = {beta:g}: between −5 and 5 the output is least at x = {x[lowest]:.2f}, where it is "
                 f"{value[lowest]:.3f}; at −1 the slope is {_slope(-1.0, beta):.3f}, that of a ReLU is 0")
        return captioned(words, plots.as_html(panels[0].figure, "The activation between the ReLU and half of the "
                                              f"input, and its slope. {words}."))

    return explorer(draw, knobs)


# Drawing -------------------------------------------------------------------------------------------------------------


def _slope(x: float, beta: float) -> float:
    s = 1 / (1 + np.exp(-beta * x))
    return float(s + beta * x * s * (1 - s))


def _paths(axes: Axes, alpha: float) -> dict[str, float]:
    shares = np.linspace(0, 1, 101)
    lines = [octave_numbers(float(share)) for share in shares]
    below = np.zeros(101)
    names = ("high to high", "low to high", "high to low", "low to low")
    for name, colour in zip(names, (_BLUE, _ORANGE, _GREEN, _SKY), strict=True):
        above = below + 100 * np.array([line[name] for line in lines])
        axes.fill_between(shares, below, above, color=colour, label=name)
        below = above
    found = octave_numbers(alpha)
    axes.plot([alpha], [100 * found["macs"]], "o", color=_RED, markersize=9)
    axes.set(xlabel="α, share of low channels", ylabel="MACs (% of plain)", ylim=(0, 105))
    axes.legend(fontsize=8)
    return found
