"""The explorers of unit 08: a network of signs, one weight that learns its sign, a filter's scale, bits, and clocks.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import copy
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from nutshell import plots
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.explorers.tables import table
from nutshell.training import evaluate

_BLUE, _ORANGE, _VERMILION, _BLACK = (
    plots.PALETTE[name] for name in ("blue", "orange", "vermilion", "black")
)
SCALES = ("none: ±1", "one for the layer", "one for each output")
GRADIENTS = ("straight through", "through everywhere", "as misprinted", "the true one")


def with_signs(network: nn.Module, layers: Sequence[str], scales: str) -> nn.Module:
    """A copy of a network in which some layers have only the signs of their weights, scaled: for looking.

    Parameters
    ----------
    network : torch.nn.Module
        Left as it is; biases stay.
    layers : sequence of str
        Names of the layers.
    scales : str
        One of :data:`SCALES`.
    """
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for name in layers:
            weight = changed.get_parameter(f"{name}.weight")
            rows = weight.flatten(1)
            size = {SCALES[0]: torch.ones(len(rows), 1), SCALES[1]: rows.abs().mean().expand(len(rows), 1),
                    SCALES[2]: rows.abs().mean(1, keepdim=True)}[scales]
            weight.copy_((torch.where(rows < 0, -1.0, 1.0) * size).reshape(weight.shape))
    return changed


def layer_signs(
    network: nn.Module, part: Split, layer: str = "fc1", shape: tuple[int, int] = (28, 28)
) -> widgets.Widget:
    """Choose which layers keep only their signs, and how these are scaled: a neuron, bytes, and the error on images.

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier of linear layers, the first of which sees the image.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    layer : str
        Name of the layer that is shown.
    shape : tuple of int
        Height and width of the images.
    """
    names = [name.removesuffix(".weight") for name, each in network.named_parameters() if each.ndim > 1]
    choices = {**{name: (name,) for name in names}, **{f"all but {names[-1]}": tuple(names[:-1])}, "all": tuple(names)}
    weight = network.get_parameter(f"{layer}.weight").detach()
    found = {(chosen, scales): evaluate(with_signs(network, choices[chosen], scales), part)[1]
             for chosen in choices for scales in SCALES}
    dense = evaluate(network, part)[1]
    busiest = weight.norm(dim=1).topk(min(12, len(weight))).indices.tolist()
    knobs = {
        "chosen": widgets.Dropdown(options=list(choices), description="signs only"),
        "scales": widgets.ToggleButtons(options=list(SCALES), value=SCALES[2], description="scales",
                                        style={"button_width": "initial"}),
        "neuron": widgets.Dropdown(options=busiest, description="neuron"),
    }

    def draw(chosen: str, scales: str, neuron: int) -> str:
        layers = choices[chosen]
        changed = with_signs(network, layers, scales).get_parameter(f"{layer}.weight").detach()
        panels = plots.axes(10, 3.0, columns=3, width_ratios=(1, 1, 1.4))
        for axes, row, title in ((panels[0], weight, "real"), (panels[1], changed, "as used")):
            _image(axes, row[neuron].reshape(shape), title, float(row[neuron].abs().max()))
        _bars(panels[2], {each: found[chosen, each] for each in SCALES}, scales, dense)
        size = sum(_bytes(network.get_parameter(f"{name}.weight"), scales if name in layers else None)
                   for name in names)
        before = sum(4 * network.get_parameter(f"{name}.weight").numel() for name in names)
        words = (f"Signs only in {', '.join(layers)}, scales: {scales}: {size / 1000:,.1f} KB of weights and scales, "
                 f"{before / size:.2f} times smaller; {found[chosen, scales]:.2f} % error, {dense:.2f} % in floats")
        return captioned(words, plots.as_html(
            panels[0].figure, f"The weights of neuron {neuron} as an image, real and as the network uses them, and "
            f"bars of the error for the three kinds of scales. {words}."))

    return explorer(draw, knobs)


def _bytes(weight: Tensor, scales: str | None) -> float:
    """Bytes of a weight: floats, or bits with their scales."""
    if scales is None:
        return 4 * weight.numel()
    return weight.numel() / 8 + 4 * {SCALES[0]: 0, SCALES[1]: 1, SCALES[2]: len(weight)}[scales]


def paths(start: float, slope: float, learning_rate: float, steps: int, gradient: str) -> np.ndarray:
    """A real weight, step by step, where the loss pulls at its sign with a constant slope.

    The loss is ``slope · sign(w)``: with a slope above 0 it wants −1. What reaches w is the slope times what is taken
    for the derivative of the sign.

    Parameters
    ----------
    start, slope, learning_rate : float
        Where w begins, the derivative of the loss with respect to the sign, and η.
    steps : int
        How many.
    gradient : str
        One of :data:`GRADIENTS`.

    Returns
    -------
    ndarray
        w before the first step and after each, shape ``(steps + 1,)``.

    Examples
    --------
    >>> paths(0.25, 1.0, 0.125, 4, "straight through").tolist()
    [0.25, 0.125, 0.0, -0.125, -0.25]
    >>> paths(0.25, 1.0, 0.125, 4, "the true one").tolist()
    [0.25, 0.25, 0.25, 0.25, 0.25]
    """
    taken_for_derivative = {
        GRADIENTS[0]: lambda w: float(abs(w) <= 1), GRADIENTS[1]: lambda w: 1.0,
        GRADIENTS[2]: lambda w: w * (abs(w) <= 1), GRADIENTS[3]: lambda w: 0.0,
    }[gradient]
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - learning_rate * slope * taken_for_derivative(path[-1]))
    return np.array(path)


def sign_training(steps: int = 60) -> widgets.Widget:
    """Move where weights begin, the slope of the loss and the rate; choose a gradient: which signs turn?"""
    knobs = {
        "gradient": widgets.ToggleButtons(options=list(GRADIENTS), description="gradient",
                                          style={"button_width": "initial"}),
        "start": widgets.FloatSlider(0.4, min=0.1, max=1.4, step=0.1, description="start ±", continuous_update=False),
        "rate": widgets.FloatSlider(0.03, min=0.01, max=0.2, step=0.01, description="rate", continuous_update=False),
        "slope": widgets.FloatSlider(1.0, min=-2, max=2, step=0.25, description="slope of loss",
                                     continuous_update=False),
    }

    def draw(gradient: str, start: float, rate: float, slope: float) -> str:
        axes = plots.axes(8, 3.0)
        turned = []
        for begin, colour, style in ((start, _BLUE, "-"), (-start, _ORANGE, "--")):
            path = paths(begin, slope, rate, steps, gradient)
            signs = np.where(path >= 0, 1, -1)
            axes.plot(path, style, color=colour, label=f"weight from {begin:+.1f}")
            change = np.flatnonzero(np.diff(signs))
            turned.append(f"the sign of {begin:+.1f} turns at step {change[0] + 1}" if len(change) else
                          f"the sign of {begin:+.1f} stays")
        axes.axhline(0, color=_BLACK, linewidth=0.8)
        for end in (-1, 1):
            axes.axhline(end, color=_BLACK, linestyle=":", linewidth=0.8)
        axes.set(xlabel="step", ylabel="real weight", ylim=(-2.6, 2.6))
        axes.legend(loc="upper right", ncols=2)
        wanted = "no sign" if slope == 0 else "−1" if slope > 0 else "+1"
        words = f"{gradient[0].upper()}{gradient[1:]}: the loss wants {wanted}; {turned[0]}, {turned[1]}"
        return captioned(words, plots.as_html(
            axes, f"Two real weights against steps, between dotted lines at −1 and 1. {words}."))

    return explorer(draw, knobs)


def distance(weight: Tensor, scale: float, turned: int = 0) -> float:
    """Share of a filter's square that ``scale·signs`` leaves, when the signs of its smallest weights are wrong.

    Parameters
    ----------
    weight : Tensor
        One filter, any shape.
    scale : float
        α.
    turned : int
        How many signs are turned round, smallest weights first.

    Examples
    --------
    >>> distance(torch.tensor([1.0, -3.0]), 2.0)
    0.2
    """
    flat = weight.detach().flatten().double()
    signs = torch.where(flat < 0, -1.0, 1.0).double()
    signs[flat.abs().argsort()[:turned]] *= -1
    return float(((flat - scale * signs) ** 2).sum() / (flat**2).sum())


def filter_scale(weight: Tensor, count: int = 12) -> widgets.Widget:
    """Move a filter's scale, and turn some of its signs: how far is α·B from W?

    Parameters
    ----------
    weight : Tensor
        Shape ``(P, …)``, at least one filter.
    count : int
        Filters to choose from.
    """
    rows = weight.detach().flatten(1).double()
    n, most = rows.shape[1], float(rows[:count].abs().max())
    knobs = {
        "number": widgets.IntSlider(0, 0, min(count, len(rows)) - 1, description="filter", continuous_update=False),
        "percent": widgets.IntSlider(30, 0, 100, 2, description="α (% of max)", continuous_update=False),
        "turned": widgets.IntSlider(0, 0, n // 2, description="signs turned", continuous_update=False),
    }

    def draw(number: int, percent: int, turned: int) -> str:
        row = rows[number]
        largest = float(row.abs().max())
        scale, best = largest * percent / 100, float(row.abs().mean())
        panels = plots.axes(10, 3.0, columns=2)
        panels[0].hist(row.numpy(), bins=40, color=_BLUE, label="weights")
        for number_, end in enumerate((-scale, scale)):
            panels[0].axvline(end, color=_VERMILION, linestyle="--", label=None if number_ else "−α and α")
        panels[0].set(xlabel="weight", ylabel="how many", xlim=(-1.2 * most, 1.2 * most))
        panels[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2, frameon=False)
        curve = np.linspace(0, 1.2 * largest, 60)
        panels[1].plot(curve, [100 * distance(row, each, turned) for each in curve], color=_BLUE,
                       label="signs as chosen")
        panels[1].plot(curve, [100 * distance(row, each) for each in curve], ":", color=_BLACK, label="signs of W")
        left = distance(row, scale, turned)
        panels[1].plot(scale, min(100 * left, 200), "o", color=_VERMILION, markersize=9, label="α as chosen")
        panels[1].set(xlabel="α", ylabel="‖W − αB‖² (% of ‖W‖²)", ylim=(0, 200), xlim=(0, 1.2 * largest))
        panels[1].legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False, fontsize=8)
        words = (f"α = {scale:.4f}, {turned} of {n} signs turned: {100 * left:.1f} % of ‖W‖² is left; with "
                 f"α = mean |w| = {best:.4f} and the signs of W, {100 * distance(row, best):.1f} %")
        return captioned(words, plots.as_html(
            panels[0].figure, "A histogram of a filter's weights with lines at −α and α, and the squared distance "
            f"against α: a parabola, lowest at the mean absolute weight. {words}."))

    return explorer(draw, knobs)


def packed_product() -> widgets.Widget:
    """Two rows of signs as bits of one short word: exclusive or, count of ones, n − 2d, and the bits nobody uses."""
    knobs = {
        "length": widgets.IntSlider(12, 1, 16, description="n", continuous_update=False),
        "a": widgets.IntSlider(2741, 0, 2**16 - 1, description="a", continuous_update=False),
        "b": widgets.IntSlider(1753, 0, 2**16 - 1, description="b", continuous_update=False),
        "unused": widgets.ToggleButtons(options=["are 0", "are left over in b"], description="unused bits",
                                        style={"button_width": "initial"}),
    }

    def draw(length: int, a: int, b: int, unused: str) -> str:
        used = (1 << length) - 1
        a &= used
        b = b & used | (0 if unused == "are 0" else 0xFFFF & ~used)
        differ, exact = (a ^ b).bit_count(), length - 2 * ((a ^ b) & used).bit_count()
        rows = [("a", _bits(a, length)), ("b", _bits(b, length)), ("a xor b", _bits(a ^ b, length)),
                ("ones: places that differ, d", str(differ)),
                ("n − 2d", f"{length} − 2·{differ} = {length - 2 * differ}"), ("Σ of the products of ±1", str(exact))]
        right = "the product" if exact == length - 2 * differ else "wrong: bits that no place uses were counted"
        words = f"n = {length}, {differ} ones in a xor b: {length - 2 * differ}, {right}"
        return captioned(words, table(["step", "16 bits, bit 0 on the right; · where n ends"], rows))

    return explorer(draw, knobs)


def _bits(word: int, length: int) -> str:
    bits = f"{word:016b}"
    return f"{bits[: 16 - length]} · {bits[16 - length :]}" if length < 16 else bits


def clocks(weights: int, binary_per_clock: float, float_per_clock: float, filters: float = 1) -> dict[str, float]:
    """Clocks for one output: of floats, and of bits with the float operations for its scale.

    Parameters
    ----------
    weights : int
        n of the filter.
    binary_per_clock, float_per_clock : float
        Multiply-accumulates of each kind in a clock.
    filters : float
        Outputs at the place that share the work of packing; 0 leaves packing out, and one operation for the scale
        remains, as in XNOR-Net's paper.

    Returns
    -------
    dict
        ``float``, ``binary``, ``scale`` and ``packing`` in clocks, and ``faster``, floats over all else. Packing reads
        each of the n inputs once, at a float operation each, and its cost is divided among the filters.

    Examples
    --------
    >>> round(clocks(256 * 9, 64, 1, filters=0)["faster"], 2)
    62.27
    """
    found = {"float": weights / float_per_clock, "binary": weights / binary_per_clock, "scale": 1 / float_per_clock,
             "packing": weights / float_per_clock / filters if filters else 0.0}
    return {**found, "faster": found["float"] / (found["binary"] + found["scale"] + found["packing"])}


def speed_model() -> widgets.Widget:
    """Move what a processor does in a clock and the shape of a convolution: where does 58 times go?"""
    powers = [2**power for power in range(11)]
    knobs = {
        "binary": widgets.SelectionSlider(options=powers, value=64, description="bits a clock",
                                          continuous_update=False),
        "floats": widgets.SelectionSlider(options=powers[:7], value=1, description="floats a clock",
                                          continuous_update=False),
        "kernel": widgets.SelectionSlider(options=[1, 3, 5, 7, 11], value=3, description="kernel",
                                          continuous_update=False),
        "filters": widgets.SelectionSlider(options=[("not counted", 0), *((str(each), each) for each in powers)],
                                           value=0, description="packing, filters", continuous_update=False),
    }
    channels = 2 ** np.arange(0, 11)

    def draw(binary: int, floats: int, kernel: int, filters: int) -> str:
        axes = plots.axes(8, 3.2)
        for options, style, colour, label in (((64, 1, 0), ":", _BLACK, "the paper: 64 and 1, no packing"),
                                              ((binary, floats, filters), "o-", _BLUE, "as chosen")):
            axes.plot(channels, [clocks(int(each) * kernel**2, *options)["faster"] for each in channels], style,
                      color=colour, label=label)
        axes.axhline(1, color=_VERMILION, linestyle="--", linewidth=0.9, label="no gain")
        axes.set(xscale="log", yscale="log", xlabel="input channels", ylabel="times faster", ylim=(0.1, 1200))
        axes.set_xticks(channels, [str(each) for each in channels])
        axes.set_yticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1000"])
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=8)
        found = clocks(256 * kernel**2, binary, floats, filters)
        words = (f"256 channels, {kernel}×{kernel}, {binary} bits against {floats} floats a clock: "
                 f"{found['float']:,.1f} clocks against {found['binary']:,.1f} for bits, {found['scale']:,.3f} for the "
                 f"scale and {found['packing']:,.1f} for packing, {found['faster']:.2f} times faster")
        return captioned(words, plots.as_html(
            axes, "How many times faster against input channels, both logarithmic: as the paper counts, rising to 64, "
            f"and as chosen. {words}."))

    return explorer(draw, knobs)


def _image(axes: Axes, values: Tensor, title: str, largest: float) -> None:
    drawn = axes.imshow(values.numpy(), cmap="PuOr", vmin=-largest, vmax=largest)
    axes.set(title=title, xlabel="column (pixels)", ylabel="row (pixels)")
    axes.grid(False)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="weight")


def _bars(axes: Axes, errors: dict[str, float], chosen: str, dense: float) -> None:
    axes.barh(list(errors), list(errors.values()), color=[_VERMILION if each == chosen else _BLUE for each in errors])
    axes.axvline(dense, color=_BLACK, linestyle=":", label="floats")
    axes.set(xlabel="error (%)", ylabel="scales", xlim=(0, 100))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
