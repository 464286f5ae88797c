"""The explorers of unit 04: a threshold on weights, ramps of sparsity, and the gaps between what is left.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import copy

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from nutshell import plots
from nutshell.artefact.encodings.sparse import gaps_of
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.training import evaluate

ALL = "all layers, one threshold"
_SHARES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.88, 0.91, 0.94, 0.96, 0.98, 0.99)  # points of a curve
_BITS = range(1, 13)  # of a gap
_BLUE, _ORANGE, _BLACK, _RED = (plots.PALETTE[name] for name in ("blue", "orange", "black", "vermilion"))


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The weight tensors of a network by name: parameters with two axes or more.

    Examples
    --------
    >>> list(weights_of(nn.Sequential(nn.Linear(3, 2))))
    ['0.weight']
    """
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.ndim > 1}


def threshold_for(weights: list[Tensor], share: float) -> float:
    """The magnitude below which a share of all these weights lies: 0 for none, infinity for all.

    Examples
    --------
    >>> threshold_for([torch.tensor([1.0, -4.0]), torch.tensor([2.0, 3.0])], 0.5)
    3.0
    """
    sizes = torch.cat([weight.flatten() for weight in weights]).abs().sort().values
    count = round(share * len(sizes))
    return float("inf") if count == len(sizes) else 0.0 if not count else float(sizes[count])


def with_share(network: nn.Module, layer: str, share: float) -> nn.Module:
    """A copy of a network with the smallest weights of one layer at zero, or of all layers together (:data:`ALL`)."""
    changed = copy.deepcopy(network)
    chosen = {name: weight for name, weight in weights_of(changed).items() if layer in (ALL, name)}
    least = threshold_for(list(chosen.values()), share)
    for weight in chosen.values():
        weight.mul_(weight.abs() >= least)
    return changed


def errors_by_share(
    network: nn.Module, layer: str, part: Split, shares: tuple[float, ...] = _SHARES
) -> dict[float, float]:
    """Error in percent on some images when each of the shares goes, without retraining."""
    return {share: evaluate(with_share(network, layer, share), part)[1] for share in shares}


def threshold(network: nn.Module, part: Split, shape: tuple[int, int] = (28, 28)) -> widgets.Widget:
    """Move the share of weights that go: the threshold among them, a neuron before and after, and the error.

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier; its first weight tensor sees the image.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    shape : tuple of int
        Height and width of the images.
    """
    weights = weights_of(network)
    first = next(iter(weights))
    busiest = int(weights[first].flatten(1).norm(dim=1).argmax())
    curves: dict[str, dict[float, float]] = {}
    knobs = {
        "layer": widgets.Dropdown(options=[ALL, *weights], description="prune"),
        "percent": widgets.FloatSlider(70, min=0, max=99.5, step=0.5, description="share (%)",
                                       continuous_update=False),
    }  # fmt: skip

    def draw(layer: str, percent: float) -> str:
        if layer not in curves:
            curves[layer] = errors_by_share(network, layer, part)
        share = percent / 100
        chosen = [weight for name, weight in weights.items() if layer in (ALL, name)]
        least, changed = threshold_for(chosen, share), with_share(network, layer, share)
        error = evaluate(changed, part)[1]
        panels = plots.axes(10.5, 2.9, columns=3, width_ratios=(1.5, 1, 1.5))
        _histogram(panels[0], torch.cat([weight.flatten() for weight in chosen]), least)
        name = first if layer in (ALL, first) else layer
        row = weights_of(changed)[name].flatten(1)[busiest if name == first else 0]
        _neuron(panels[1], row, shape if name == first else None, float(weights[name].abs().max()))
        _curve(panels[2], curves[layer], percent, error)
        spread = float(torch.cat([weight.flatten() for weight in chosen]).std())
        left = sum(int((weight != 0).sum()) for weight in weights_of(changed).values())
        words = (f"{percent:g} % gone from {layer.replace(',', ' by')}: below {least:.4f}, {least / spread:.2f} "
                 f"standard deviations; {left:,} weights left, "
                 f"{error:.2f} % error on {len(part):,} images without retraining")
        return captioned(words, plots.as_html(
            panels[0].figure, "A histogram of the weights with the threshold on both sides of zero, one neuron's "
            f"weights after pruning, and the error against the share that goes. {words}."))  # fmt: skip

    return explorer(draw, knobs)


def cubic(done: float, final: float, initial: float = 0.0) -> float:
    """Sparsity when a share of the ramp is done, by Zhu and Gupta (2017): final + (initial − final)·(1 − done)³.

    Examples
    --------
    >>> cubic(0.5, 1.0)
    0.875
    """
    return final + (initial - final) * (1 - min(1.0, max(0.0, done))) ** 3


def narang_threshold(step: int, q: float, start: int, ramp: int, end: int) -> float:
    """Threshold at a step of Narang et al. (2017): a slow slope from ``start``, one 1.5 times as steep from ``ramp``.

    The slopes are such that the threshold is ``q`` at ``end`` and stays there.

    Parameters
    ----------
    step : int
        Step of training.
    q : float
        Last threshold; the authors take the 90th percentile of a trained network's magnitudes.
    start, ramp, end : int
        Steps at which the first slope begins, the second begins, and the threshold stays, in this order.

    Examples
    --------
    >>> [narang_threshold(step, 5.0, 0, 4, 8) for step in (0, 4, 8, 99)]
    [0.0, 2.0, 5.0, 5.0]
    """
    slope = 2 * q / (2 * (ramp - start) + 3 * (end - ramp))
    step = min(end, max(start, step))
    return slope * (min(step, ramp) - start) + 1.5 * slope * max(0, step - ramp)


def ramps(weight: Tensor, steps: int = 100) -> widgets.Widget:
    """Move the ends of a ramp: sparsity by step for the cubic, a straight line, one cut, and Narang's threshold.

    Parameters
    ----------
    weight : Tensor
        Trained weights, on which Narang's threshold is tried; they are not trained on here.
    steps : int
        Steps of training, of any length, at least 20.
    """
    sizes = weight.detach().abs().flatten().sort().values
    knobs = {
        "ends": widgets.IntRangeSlider(value=(steps // 10, 7 * steps // 10), min=0, max=steps, description="ramp",
                                       continuous_update=False),
        "percent": widgets.IntSlider(90, 10, 99, description="final (%)", continuous_update=False),
    }  # fmt: skip

    def draw(ends: tuple[int, int], percent: int) -> str:
        start = min(ends[0], steps - 2)
        end = max(start + 2, ends[1])
        found = sparsities(sizes, start, end, percent / 100, steps)
        panels = plots.axes(9, 3.2, columns=2)
        for (name, values), style in zip(found.items(), ("-", "--", ":", "-."), strict=True):
            panels[0].plot(100 * np.array(values), style, label=name)
            kept = 1 - np.array(values)
            panels[1].plot(range(1, steps + 1), 100 * (kept[:-1] - kept[1:]) / kept[:-1], style, label=name)
        panels[0].set(xlabel="step", ylabel="sparsity (%)", ylim=(0, 100))
        panels[1].set(xlabel="step", ylabel="of those left, gone in a step (%)", yscale="symlog", ylim=(0, 100))
        panels[1].set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        panels[0].legend(fontsize=8)
        half = (start + end) // 2
        words = (f"Ramp from step {start} to {end}, to {percent} %: half-way the cubic has "
                 f"{100 * found['cubic'][half]:.1f} %, the straight line {100 * found['straight line'][half]:.1f} %, "
                 f"Narang's threshold {100 * found['threshold (Narang)'][half]:.1f} %")
        return captioned(words, plots.as_html(
            panels[0].figure, "Sparsity against the step of training for four ways of pruning, and beside it the share "
            f"of the weights still left that goes in each step. {words}."))  # fmt: skip

    return explorer(draw, knobs)


def sparsities(sizes: Tensor, start: int, end: int, final: float, steps: int) -> dict[str, list[float]]:
    """Sparsity at each step, 0 to ``steps``, for the four ways that :func:`ramps` draws.

    Parameters
    ----------
    sizes : Tensor
        Magnitudes in ascending order, for the threshold.
    start, end : int
        Of the ramp, ``end`` at least two steps later.
    final : float
        Sparsity in the end.
    steps : int
        Last step.
    """
    last = float(sizes[min(len(sizes) - 1, round(final * len(sizes)))])
    ramp = start + (end - start) // 4
    limits = torch.tensor([narang_threshold(step, last, start, ramp, end) for step in range(steps + 1)])
    below = torch.searchsorted(sizes, limits.to(sizes.dtype)) / len(sizes)
    done = [(step - start) / (end - start) for step in range(steps + 1)]
    return {
        "cubic": [cubic(share, final) for share in done],
        "straight line": [final * min(1.0, max(0.0, share)) for share in done],
        "one cut": [final * (share > 0) for share in done],
        "threshold (Narang)": below.tolist(),
    }


def gap_cost(weight: Tensor, bits: int, value_bits: int = 16) -> dict[str, float]:
    """What a sparse tensor costs as gaps and values.

    Parameters
    ----------
    weight : Tensor
        With zeros; any shape, read row by row.
    bits : int
        For a gap, so that 0 to 2^bits − 1 zeros can be written.
    value_bits : int
        For a value.

    Returns
    -------
    dict
        ``numbers`` that aren't zero, ``padding`` zeros written, and ``bytes`` of both together.

    Examples
    --------
    >>> gap_cost(torch.tensor([0.0] * 8 + [1.0]), bits=3, value_bits=5)
    {'numbers': 1, 'padding': 1, 'bytes': 2.0}
    """
    positions = weight.detach().flatten().nonzero().flatten().numpy()
    written = len(gaps_of(positions, 1 << bits)[0])
    return {"numbers": len(positions), "padding": written - len(positions), "bytes": written * (bits + value_bits) / 8}


def expected_padding(density: float, limit: int) -> float:
    """Padding zeros for each number, where every weight is kept independently with a probability.

    A run of zeros is at least g long with probability (1 − density)^g, so ⌊run / limit⌋ has the mean
    Σ_j (1 − density)^(j·limit) = r / (1 − r) with r = (1 − density)^limit.

    Examples
    --------
    >>> expected_padding(0.5, 1)
    1.0
    """
    rest = (1 - density) ** limit
    return rest / (1 - rest)


def gaps(weight: Tensor) -> widgets.Widget:
    """Move sparsity and the bits of a gap: how long the runs of zeros are, what padding costs, and the bytes.

    Parameters
    ----------
    weight : Tensor
        Trained weights of a layer; the smallest are put to zero here.
    """
    knobs = {
        "percent": widgets.FloatSlider(92, min=50, max=99.5, step=0.5, description="sparsity (%)",
                                       continuous_update=False),
        "bits": widgets.IntSlider(5, min(_BITS), max(_BITS), description="bits of a gap", continuous_update=False),
        "value_bits": widgets.Dropdown(options=[5, 8, 16, 32], value=5, description="bits of a value"),
    }  # fmt: skip

    def draw(percent: float, bits: int, value_bits: int) -> str:
        sparse = weight.detach() * (weight.detach().abs() >= threshold_for([weight.detach()], percent / 100))
        runs = gaps_of(sparse.flatten().nonzero().flatten().numpy(), None)[0]
        costs = {each: gap_cost(sparse, each, value_bits) for each in _BITS}
        best, found = min(costs, key=lambda each: costs[each]["bytes"]), costs[bits]
        expected = expected_padding(1 - percent / 100, 1 << bits) * found["numbers"]
        panels = plots.axes(9, 3.0, columns=2)
        panels[0].hist(runs, bins=np.arange(0, 128), log=True, color=_BLUE, label="runs of zeros")
        panels[0].axvline(1 << bits, color=_RED, linestyle="--", label=f"limit {1 << bits}")
        panels[0].set(xlabel="zeros before a number", ylabel="how often", xlim=(0, 128))
        panels[0].legend()
        panels[1].plot(list(costs), [cost["bytes"] / 1000 for cost in costs.values()], "o-", color=_BLUE,
                       label="gaps, values and padding")
        panels[1].plot([bits], [found["bytes"] / 1000], "o", color=_RED, markersize=9, label=f"{bits} bits")
        panels[1].axhline(weight.numel() * value_bits / 8000, color=_BLACK, linestyle="--", label="dense")
        panels[1].set(xlabel="bits of a gap", ylabel="layer (KB)", yscale="log")
        panels[1].yaxis.set_major_formatter("{x:g}")
        panels[1].yaxis.set_minor_formatter("{x:g}")
        panels[1].legend(fontsize=8)
        words = (f"{found['numbers']:,} numbers and {found['padding']:,} padding zeros ({expected:,.0f} if positions "
                 f"were independent): {found['bytes'] / 1000:,.1f} KB with gaps of {bits} bits; best are {best} bits, "
                 f"{costs[best]['bytes'] / 1000:,.1f} KB")
        return captioned(words, plots.as_html(
            panels[0].figure, "A histogram of the runs of zeros with the limit of a gap, and the layer's kilobytes "
            f"against the bits of a gap, with a minimum in between. {words}."))  # fmt: skip

    return explorer(draw, knobs)


def _histogram(axes: Axes, values: Tensor, least: float) -> None:
    numbers = values.numpy()
    edges = np.linspace(numbers.min(), numbers.max(), 160).tolist()
    stays = np.abs(numbers) >= least
    axes.hist([numbers[stays], numbers[~stays]], bins=edges, stacked=True, color=[_BLUE, _ORANGE],
              label=["kept", "gone"])
    axes.set(xlabel="weight", ylabel="how many", yscale="log", title="weights")
    axes.legend(fontsize=8)


def _neuron(axes: Axes, row: Tensor, shape: tuple[int, int] | None, largest: float) -> None:
    image = row.view(shape) if shape is not None and row.numel() == shape[0] * shape[1] else row.view(1, -1)
    axes.imshow(image.numpy(), cmap="PuOr", vmin=-largest, vmax=largest, aspect="equal" if len(image) > 1 else "auto")
    axes.set(title="a neuron's weights", xlabel="column (pixels)" if len(image) > 1 else "input")
    axes.set_yticks([])
    axes.grid(False)


def _curve(axes: Axes, curve: dict[float, float], percent: float, error: float) -> None:
    axes.plot([100 * share for share in curve], list(curve.values()), ".-", color=_BLUE, label="without retraining")
    axes.plot([percent], [error], "o", color=_RED, markersize=9, label=f"{percent:g} %")
    axes.set(xlabel="share of the weights gone (%)", ylabel="error (%)", ylim=(0, 100), xlim=(0, 100))
    axes.legend(fontsize=8)
