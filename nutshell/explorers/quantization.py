"""The explorers of unit 06: a grid for some numbers, a network's bits, and one output on whole numbers.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import copy
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from nutshell import plots
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.explorers.tables import table
from nutshell.integers import fixed_point_multiplier
from nutshell.training import evaluate

_BLUE, _ORANGE, _BLACK = (plots.PALETTE[name] for name in ("blue", "orange", "black"))
_SHARED = {"one for the layer": False, "one for each output": True}


@dataclass(frozen=True)
class Grid:
    """A scale, a zero point and the number of levels.

    Attributes
    ----------
    scale : float
        S > 0, the step.
    zero_point : int
        Z, the level that stands for 0.
    bits : int
        b; the levels are 0 to 2^b − 1.
    """

    scale: float
    zero_point: int
    bits: int

    @classmethod
    def of(cls, low: float, high: float, bits: int) -> "Grid":
        """The grid that covers a range, extended to contain 0.

        Examples
        --------
        >>> Grid.of(-1.0, 3.0, 2)
        Grid(scale=1.3333333333333333, zero_point=1, bits=2)
        """
        low, high, steps = min(low, 0.0), max(high, 0.0), 2**bits - 1
        scale = (high - low) / steps or 1.0
        return cls(scale, round(-low / scale), bits)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest number on the grid."""
        return -self.scale * self.zero_point, self.scale * (2**self.bits - 1 - self.zero_point)

    def at(self, values: Tensor) -> Tensor:
        """Numbers rounded to the grid and clipped to its ends."""
        steps = (torch.round(values / self.scale) + self.zero_point).clamp(0, 2**self.bits - 1)
        return self.scale * (steps - self.zero_point)

    def errors(self, values: Tensor) -> dict[str, float]:
        """Mean squared errors of some numbers, split in two.

        Returns
        -------
        dict
            ``rounding`` (of numbers within half a step of the range), ``clipping`` (of those beyond), both divided by
            the count of all numbers, and ``clipped`` (share beyond, 0 to 1).

        Examples
        --------
        >>> found = Grid(1.0, 0, 2).errors(torch.tensor([0.25, 5.0]))
        >>> found["rounding"], found["clipping"], found["clipped"]
        (0.03125, 2.0, 0.5)
        """
        low, high = self.ends
        beyond = (values < low - self.scale / 2) | (values > high + self.scale / 2)
        squares = (self.at(values) - values).double() ** 2
        return {"rounding": float((squares * ~beyond).sum() / values.numel()),
                "clipping": float((squares * beyond).sum() / values.numel()),
                "clipped": float(beyond.double().mean())}


def with_bits(network: nn.Module, bits: int, by_output: bool) -> nn.Module:
    """A copy of a network whose weight matrices and kernels are on signed grids without a zero point: for looking.

    Parameters
    ----------
    network : torch.nn.Module
        Left as it is; biases stay floats.
    bits : int
        From 2 to 8.
    by_output : bool
        A scale for each output, or one for the whole layer.
    """
    changed, most = copy.deepcopy(network), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.ndim > 1:
                rows = parameter.flatten(1)
                largest = rows.abs().amax(1, keepdim=True) if by_output else rows.abs().amax()
                scale = largest.clamp_min(1e-12) / most
                parameter.copy_((scale * torch.round(rows / scale)).reshape(parameter.shape))
    return changed


def grid(values: Tensor, name: str = "number") -> widgets.Widget:
    """Move bits and range of a grid: rounding and clipping of some numbers, one against the other.

    Parameters
    ----------
    values : Tensor
        Any shape; a few thousand numbers answer at once.
    name : str
        What they are, for the axis.
    """
    seen = values.detach().flatten().double()
    knobs = {
        "bits": widgets.IntSlider(3, 2, 8, description="bits", continuous_update=False),
        "percent": widgets.IntSlider(100, 5, 120, 5, description="range (%)", continuous_update=False),
    }
    curves = {bits: [(percent, Grid.of(*_part(seen, percent), bits).errors(seen)) for percent in range(5, 121, 5)]
              for bits in range(2, 9)}

    def draw(bits: int, percent: int) -> str:
        made = Grid.of(*_part(seen, percent), bits)
        found = made.errors(seen)
        panels = plots.axes(10, 3.2, columns=2)
        _histogram(panels[0], seen, made, name)
        _errors(panels[1], curves[bits], percent)
        words = (f"{bits} bits over {percent} % of what was seen: step {made.scale:.4g}, zero point {made.zero_point}, "
                 f"{100 * found['clipped']:.2f} % clipped; root of the mean squared error "
                 f"{(found['rounding'] + found['clipping']) ** 0.5:.4g}")
        return captioned(words, plots.as_html(
            panels[0].figure, "A histogram of the numbers with the levels as lines, and the mean squared error from "
            f"rounding and from clipping against the range: one falls, the other rises. {words}."))

    return explorer(draw, knobs)


def layer_bits(
    network: nn.Module, part: Split, layer: str = "fc1", shape: tuple[int, int] = (28, 28)
) -> widgets.Widget:
    """Move the bits of all weights: what a neuron looks for, bytes, and the error on images, without training.

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier with a linear layer of that name that sees the image.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    layer : str
        Name of the layer that is shown.
    shape : tuple of int
        Height and width of the images.
    """
    weight = network.get_parameter(f"{layer}.weight").detach()
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    counts = sum(each.numel() for each in weights), sum(len(each) for each in weights), len(weights)
    found = {(bits, by_output): evaluate(with_bits(network, bits, by_output), part)[1]
             for bits in range(2, 9) for by_output in (False, True)}
    dense = evaluate(network, part)[1]
    busiest = weight.norm(dim=1).topk(min(12, len(weight))).indices.tolist()
    knobs = {
        "bits": widgets.IntSlider(4, 2, 8, description="bits", continuous_update=False),
        "scales": widgets.ToggleButtons(options=list(_SHARED), description="scales",
                                        style={"button_width": "initial"}),
        "neuron": widgets.Dropdown(options=busiest, description="neuron"),
    }

    def draw(bits: int, scales: str, neuron: int) -> str:
        by_output = _SHARED[scales]
        changed = with_bits(network, bits, by_output).get_parameter(f"{layer}.weight").detach()
        panels = plots.axes(10, 3.0, columns=3, width_ratios=(1, 1, 1.3))
        largest = float(weight[neuron].abs().max())
        for axes, row, title in ((panels[0], weight, "float"), (panels[1], changed, f"{bits} bits")):
            _image(axes, row[neuron].reshape(shape), title, largest)
        _curves(panels[2], found, dense, bits, by_output)
        size = counts[0] * bits / 8 + 4 * (counts[1] if by_output else counts[2])
        levels = len(changed[neuron].unique())
        words = (f"{bits} bits, scales: {scales}: {size / 1000:,.1f} KB of weights and scales, "
                 f"{4 * counts[0] / size:.2f} times smaller; neuron {neuron} uses {levels} levels; "
                 f"{found[bits, by_output]:.2f} % error, {dense:.2f} % in floats")
        return captioned(words, plots.as_html(
            panels[0].figure, "The weights of a neuron as an image, in floats and on the grid, and the error against "
            f"bits for both kinds of scales. {words}."))

    return explorer(draw, knobs)


def requantised(total: int, factor: float, zero_point: int) -> dict[str, int]:
    """One output on whole numbers, step by step.

    Parameters
    ----------
    total : int
        Sum of products with the bias, 32 bits.
    factor : float
        S_x·S_w / S_y, from 0 to below 2^29.
    zero_point : int
        Z_y.

    Returns
    -------
    dict
        ``multiplier``, ``shift``, ``product``, ``rounded``, ``with_zero`` and ``level``.

    Examples
    --------
    >>> requantised(-12345, 0.001, 100)["rounded"], requantised(-12345, 0.001, 100)["level"]
    (-12, 88)
    """
    multiplier, shift = (int(value) for value in fixed_point_multiplier(factor))
    product = total * multiplier
    rounded = (product + (1 << (shift - 1))) >> shift
    return {"multiplier": multiplier, "shift": shift, "product": product, "rounded": rounded,
            "with_zero": rounded + zero_point, "level": min(255, max(0, rounded + zero_point))}


def requantisation() -> widgets.Widget:
    """Move a sum, a factor and a zero point: one output of a layer on whole numbers, line by line."""
    knobs = {
        "total": widgets.IntSlider(123_456, -400_000, 400_000, 1, description="sum", continuous_update=False),
        "factor": widgets.FloatLogSlider(0.0007, base=10, min=-5, max=-2, step=0.01, description="factor",
                                         readout_format=".6f", continuous_update=False),
        "zero_point": widgets.IntSlider(20, 0, 255, description="zero point", continuous_update=False),
    }

    def draw(total: int, factor: float, zero_point: int) -> str:
        found = requantised(total, factor, zero_point)
        exact = total * factor + zero_point
        rows = [
            ("sum of products and bias (int32)", total, total.bit_length() + 1),
            ("multiplier M (int32)", found["multiplier"], found["multiplier"].bit_length() + 1),
            ("sum · M (int64)", found["product"], found["product"].bit_length() + 1),
            (f"plus half, shifted right by {found['shift']}", found["rounded"], found["rounded"].bit_length() + 1),
            ("plus the zero point", found["with_zero"], found["with_zero"].bit_length() + 1),
            ("clipped to a byte (uint8)", found["level"], 8),
        ]
        words = f"{total:,} · {factor:.6f} + {zero_point} = {exact:.4f}, and the level is {found['level']}"
        return captioned(words, table(["step", "whole number", "bits with its sign"], rows))

    return explorer(draw, knobs)


def _part(seen: Tensor, percent: int) -> tuple[float, float]:
    return float(seen.min()) * percent / 100, float(seen.max()) * percent / 100


def _histogram(axes: Axes, seen: Tensor, made: Grid, name: str) -> None:
    axes.hist(seen.numpy(), bins=80, color=_BLUE, label="seen")
    if made.bits <= 5:
        for level in range(2**made.bits):
            axes.axvline(made.scale * (level - made.zero_point), color=_BLACK, linewidth=0.7,
                         label="levels" if level == 0 else None)
    for number, end in enumerate(made.ends):
        axes.axvline(end, color=plots.PALETTE["vermilion"], linestyle="--", label=None if number else "ends")
    axes.set(xlabel=name, ylabel="how many", yscale="log")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False, fontsize=8)


def _errors(axes: Axes, curve: list[tuple[int, dict[str, float]]], percent: int) -> None:
    percents = [each for each, _ in curve]
    for key, colour, style in (("rounding", _BLUE, "-"), ("clipping", _ORANGE, "--")):
        axes.plot(percents, [max(found[key], 1e-12) for _, found in curve], style, color=colour, label=key)
    total = [found["rounding"] + found["clipping"] for _, found in curve]
    axes.plot(percents, total, ":", color=_BLACK, label="both")
    axes.axvline(percent, color=plots.PALETTE["vermilion"], linewidth=0.8)
    axes.set(xlabel="range (% of what was seen)", ylabel="mean squared error", yscale="log",
             ylim=(min(total) / 30, 2 * max(total)))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False, fontsize=8)


def _image(axes: Axes, values: Tensor, title: str, largest: float) -> None:
    drawn = axes.imshow(values.numpy(), cmap="PuOr", vmin=-largest, vmax=largest)
    axes.set(title=title, xlabel="column (pixels)", ylabel="row (pixels)")
    axes.grid(False)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="weight")


def _curves(axes: Axes, found: dict[tuple[int, bool], float], dense: float, bits: int, by_output: bool) -> None:
    for name, kind, colour, style in (("one scale", False, _ORANGE, "s--"), ("one for each output", True, _BLUE, "o-")):
        axes.plot(range(2, 9), [found[each, kind] for each in range(2, 9)], style, color=colour, label=name)
    axes.plot(bits, found[bits, by_output], "o", color=plots.PALETTE["vermilion"], markersize=10, fillstyle="none")
    axes.axhline(max(dense, 0.01), color=_BLACK, linestyle=":", label="float")
    axes.set(xlabel="bits", ylabel="error (%)", yscale="log", xticks=np.arange(2, 9))
    axes.minorticks_off()
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, frameon=False, fontsize=8)
