"""Explorers of unit 10: what a block costs, and a network built from blocks, counted and timed on the spot.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import statistics
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from torch import nn

from nutshell import meter, models, plots
from nutshell.explorers.common import captioned, explorer
from nutshell.meter import Report
from nutshell.models.blocks import BLOCKS, block, block_network

KINDS = tuple(BLOCKS)
_SIDE = 32  # of a CIFAR-10 image
_BLUE, _ORANGE, _RED, _BLACK, _SKY = (
    plots.PALETTE[name] for name in ("blue", "orange", "vermilion", "black", "sky"))  # fmt: skip


# One block -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def block_costs(channels: int, outputs: int, side: int) -> dict[str, dict[str, int]]:
    """Parameters and multiply-accumulates of each kind of block, by the meter.

    Parameters
    ----------
    channels, outputs : int
        C and P.
    side : int
        Height and width of its input, even.

    Returns
    -------
    dict
        By kind of block: ``parameters`` (of convolutions and normalisation), ``macs`` and ``activations``.

    Examples
    --------
    >>> costs = block_costs(64, 64, 16)
    >>> costs["plain"]["macs"], costs["separable"]["macs"]
    (9437184, 1196032)
    """
    found = {}
    for kind in KINDS:
        with torch.device("meta"):
            made = block(kind, channels, outputs).eval()
        report = meter.count(made, (1, channels, side, side))
        found[kind] = {"parameters": report.parameters, "macs": report.macs, "activations": report.total.activations}
    return found


def blocks() -> widgets.Widget:
    """Move channels, outputs and the size of the image: parameters and multiply-accumulates of all kinds of blocks."""
    knobs = {
        "channels": widgets.SelectionSlider(options=(8, 16, 32, 64, 128, 256), value=64, description="C (inputs)"),
        "outputs": widgets.SelectionSlider(options=(8, 16, 32, 64, 128, 256), value=64, description="P (outputs)"),
        "side": widgets.SelectionSlider(options=(4, 8, 16, 32), value=16, description="H = W (pixels)"),
    }

    def draw(channels: int, outputs: int, side: int) -> str:
        costs = block_costs(channels, outputs, side)
        panels = plots.axes(9, 3.4, columns=2, sharey=True)
        for axes, quantity, colour, unit in zip(panels, ("parameters", "macs"), (_BLUE, _ORANGE), (1e3, 1e6),
                                                strict=True):
            values = [costs[kind][quantity] / unit for kind in KINDS]
            axes.barh(KINDS, values, color=colour)
            axes.axvline(values[0], color=_BLACK, linestyle="--", linewidth=1)
            for place, value in enumerate(values):
                axes.text(value, place, f" {_times(values[0], value)}" if place else "", va="center", fontsize=8)
            axes.set(xlabel="MACs (millions)" if quantity == "macs" else "parameters (thousands)",
                     xlim=(0, 1.25 * max(values)))
        panels[0].set_ylabel("block")
        panels[0].invert_yaxis()
        least = min(KINDS, key=lambda kind: costs[kind]["macs"])
        words = (f"{channels} to {outputs} channels on {side}×{side} pixels: a plain 3×3 convolution takes "
                 f"{costs['plain']['parameters']:,} parameters and {costs['plain']['macs']:,} MACs, a {least} block "
                 f"the fewest MACs, {costs[least]['macs']:,}")
        return captioned(words, plots.as_html(panels[0].figure, f"Bars of parameters and of MACs for each kind of "
                                              f"block, a dashed line at the plain one. {words}."))

    return explorer(draw, knobs)


# A network of blocks -------------------------------------------------------------------------------------------------


def described(kinds: Sequence[str], width: int, depth: int) -> list[tuple[str, int]]:
    """The description of a network: a plain convolution, then for each stage some blocks and a pool.

    Parameters
    ----------
    kinds : sequence of str
        The block of each stage; the width doubles from one to the next.
    width : int
        Channels of the first stage.
    depth : int
        Blocks of a stage.

    Examples
    --------
    >>> described(("fire", "separable"), 16, 1)
    [('plain', 16), ('fire', 16), ('pool', 2), ('separable', 32), ('pool', 2)]
    """
    found = [("plain", width)]
    for stage, kind in enumerate(kinds):
        found += [(kind, width << stage)] * depth + [("pool", 2)]
    return found


def numbers(network: nn.Module) -> dict[str, Any]:
    """Count a network for one CIFAR-10 image.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images ``(N, 3, 32, 32)``.

    Returns
    -------
    dict
        ``parameters``, ``macs``, ``activations``, ``energy_uj`` (an estimate in fp32) and ``report``.
    """
    report = meter.count(network.eval(), (1, 3, _SIDE, _SIDE))
    return {"parameters": report.parameters, "macs": report.macs, "activations": report.total.activations,
            "energy_uj": meter.energy(report).total_uj, "report": report}


def milliseconds(*networks: nn.Module, runs: int = 15) -> list[float]:
    """Time one CIFAR-10 image through each network, in milliseconds, on one thread.

    The networks take turns, so that a machine that is busy for a moment is busy for all of them; the medians of the
    runs are given, after three turns that warm up. Several threads would wait for one another on a busy machine.
    """
    image = torch.zeros(1, 3, _SIDE, _SIDE)
    taken: list[list[float]] = [[] for _ in networks]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(3 + runs):
                for network, times in zip(networks, taken, strict=True):
                    before = time.perf_counter()
                    network(image)
                    times.append(1000 * (time.perf_counter() - before))
    finally:
        torch.set_num_threads(threads)
    return [statistics.median(times[3:]) for times in taken]


def by_block(report: Report, quantity: str = "macs") -> dict[str, int]:
    """A count for each top-level part of a network, in their order, those with none left out.

    Examples
    --------
    >>> by_block(meter.count(block_network((("plain", 8),)), (1, 3, 32, 32)))
    {'block1': 221184, 'classifier': 80}
    """
    found: dict[str, int] = {}
    for layer in report.layers:
        part = layer.name.split(".")[0]
        found[part] = found.get(part, 0) + getattr(layer, quantity)
    return {part: count for part, count in found.items() if count}


def builder() -> widgets.Widget:
    """Choose a block for each stage: parameters, MACs, an estimate of energy, and milliseconds measured on the spot.

    Networks that were tried stay on the map, beside the small VGG.
    """
    dense = models.build("vgg-small")
    vgg = numbers(dense)
    tried: dict[tuple, dict[str, Any]] = {}
    knobs = {
        **{f"stage{stage}": widgets.Dropdown(options=KINDS, value="plain", description=f"stage {stage}, {side}×{side}")
           for stage, side in ((1, 32), (2, 16), (3, 8))},
        "width": widgets.SelectionSlider(options=(8, 16, 24, 32, 48, 64), value=32, description="first width"),
        "depth": widgets.IntSlider(1, 1, 3, description="blocks a stage", continuous_update=False),
        "head": widgets.Dropdown(options=(("pooled", "pooled"), ("fully connected", "connected")), description="head"),
    }

    def draw(stage1: str, stage2: str, stage3: str, width: int, depth: int, head: str) -> str:
        chosen = (stage1, stage2, stage3), width, depth, head
        if chosen not in tried:
            network = block_network(described(*chosen[:3]), head=head)
            tried[chosen] = numbers(network)
            tried[chosen]["beside"], tried[chosen]["milliseconds"] = milliseconds(dense, network)
        found = tried[chosen]
        vgg["milliseconds"] = found["beside"]  # as timed in turns with this network
        panels = plots.axes(10, 3.4, columns=2, width_ratios=(1.1, 1))
        _stacked(panels[0], vgg["report"], found["report"])
        _map(panels[1], vgg, [entry for key, entry in tried.items() if key != chosen], found)
        words = (f"{found['parameters']:,} parameters ({_times(vgg['parameters'], found['parameters'])}), "
                 f"{found['macs'] / 1e6:.2f} million MACs ({_times(vgg['macs'], found['macs'])}), "
                 f"{found['energy_uj']:,.0f} µJ estimated ({_times(vgg['energy_uj'], found['energy_uj'])}), "
                 f"{found['milliseconds']:.2f} ms measured here, one image on one thread "
                 f"({_times(vgg['milliseconds'], found['milliseconds'])}); in brackets against the small VGG")
        return captioned(words, plots.as_html(
            panels[0].figure, "Left: bars of MACs for each block, of the small VGG and of the network built. Right: "
            f"milliseconds against MACs for all networks tried and the small VGG. {words}."))

    return explorer(draw, knobs)


# Drawing -------------------------------------------------------------------------------------------------------------


def _times(before: float, after: float) -> str:
    ratio = before / after
    return f"{ratio:.1f}× less" if ratio >= 1.05 else f"{1 / ratio:.1f}× more" if ratio <= 0.95 else "the same"


def _stacked(axes: Axes, before: Report, after: Report) -> None:
    most = 0.0
    for place, report in enumerate((before, after)):
        left = 0.0
        for number, (part, macs) in enumerate(by_block(report).items()):
            ground, ink = ((_BLUE, "white"), (_SKY, "black"))[number % 2]
            axes.barh(place, macs / 1e6, left=left, color=ground, edgecolor="white")
            if macs > 0.07 * before.macs:
                axes.text(left + macs / 2e6, place, part.removeprefix("block"), ha="center", va="center", fontsize=7,
                          color=ink)
            left += macs / 1e6
        most = max(most, left)
    axes.set_yticks([0, 1], ["small VGG", "yours"])
    axes.set(xlabel="MACs (millions), part by part", ylim=(1.6, -0.6), xlim=(0, 1.05 * most))


def _map(axes: Axes, vgg: dict[str, Any], others: Sequence[dict[str, Any]], chosen: dict[str, Any]) -> None:
    for found, marker, colour, label in (
        ([vgg], "s", _BLACK, "small VGG"), (others, "o", _SKY, "tried before"), ([chosen], "o", _RED, "yours"),
    ):  # fmt: skip
        if found:
            axes.plot([each["macs"] / 1e6 for each in found], [each["milliseconds"] for each in found], marker,
                      color=colour, label=label, markersize=8)
    slowest = max(each["milliseconds"] for each in (vgg, chosen, *others))
    axes.set(xlabel="MACs (millions)", ylabel="one image (ms)", xscale="log", ylim=(0, 1.15 * slowest))
    low = min(each["macs"] for each in (vgg, chosen, *others)) / 1e6
    high = max(each["macs"] for each in (vgg, chosen, *others)) / 1e6
    axes.set_xlim(low / 1.5, high * 1.5)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low / 1.5 <= tick <= high * 1.5]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=8)
