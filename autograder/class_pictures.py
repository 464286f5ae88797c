"""The class report's pictures, SVG inside the page with alternative text; nothing rests on colour alone."""

import base64
import html
import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from nutshell.plots import PALETTE, axes
from nutshell.wire.running import OK
from nutshell.wire.show import number

if TYPE_CHECKING:
    from autograder.class_budgets import BudgetReport, Network
    from autograder.class_data import LabReport

MOST_VECTORS = 400  # points drawn one by one; more become pixels, which keeps the file small
MOST_LABELS = 5
_SETTINGS: dict[Any, Any] = {"svg.hashsalt": "nutshell", "svg.fonttype": "none", "font.size": 9.5}
_ON_WHITE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
Window = tuple[float, float, float, float]  # left, right, low, high
_KINDS = (  # status or share of marks, words, marker, colour
    ("full", "inside all limits, full marks", "o", "blue"),
    ("some", "over a limit, some marks left", "^", "orange"),
    ("none", "over a limit, no marks left", "X", "vermilion"),
)


def as_image(panel: Axes, alternative_text: str) -> str:
    """The picture as an ``<img>`` element that holds an SVG, sharp in print too."""
    buffer, figure = io.BytesIO(), panel.get_figure(root=True)
    assert figure is not None
    with plt.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the letters of every name
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(alternative_text, quote=True)}">'


def marks_words(lab: "LabReport") -> str:
    """The distribution of marks in words."""
    marks = lab.marks
    if not marks.count or marks.median is None:
        return "Nobody has marks yet."
    some = marks.mean, marks.median, marks.lower, marks.upper, marks.lowest, marks.highest
    mean, median, lower, upper, lowest, highest = (number(value or 0.0) for value in some)
    if marks.count == 1:
        return f"One submission has {median} of {number(marks.possible)} points."
    return (
        f"{marks.count:,} submissions have marks of {number(marks.possible)}: from {lowest} to {highest}, half of them "
        f"between {lower} and {upper}; median {median}, mean {mean}."
    )


def marks_picture(lab: "LabReport") -> str:
    """A histogram of the marks, with median and mean; empty if nobody has any."""
    points = [line.points for line in lab.students if line.points is not None]
    if not points or lab.marks.median is None or lab.marks.mean is None:
        return ""
    top = max(lab.marks.possible, max(points)) or 1.0
    width = _bin_width(top)
    bins = max(1, math.ceil(top / width - 1e-9))
    edges = [width * k for k in range(bins + 1)]
    with plt.rc_context(_SETTINGS):
        panel = axes(6.6, 2.9)
        counts, _, bars = panel.hist(points, bins=edges, color=PALETTE["sky"], edgecolor="white")
        label = [f"{count:,.0f}" if count else "" for count in counts]
        panel.bar_label(bars, label, fontsize=8.5, padding=1, bbox=_ON_WHITE)
        panel.axvline(lab.marks.median, color=PALETTE["black"], label=f"median {number(lab.marks.median)}")
        panel.axvline(lab.marks.mean, color=PALETTE["vermilion"], ls="--", label=f"mean {number(lab.marks.mean)}")
        panel.set(xlabel=f"points, of {number(lab.marks.possible)}", ylabel="students", xlim=(0, edges[-1]))
        panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=2))
        panel.grid(axis="x", visible=False)
        panel.margins(y=0.12)
        panel.figure.legend(loc="outside upper right", ncols=2, fontsize=8.5)
    return as_image(panel, f"Histogram of marks. {marks_words(lab)}")


def budget_words(budget: "BudgetReport") -> str:
    """What the picture of a budget shows, in words."""
    kinds = _sorted_by_kind(budget)
    said = "; ".join(f"{len(kinds[key]):,} {words}" for key, words, _, _ in _KINDS if kinds[key])
    best = [network for network in budget.networks if network.best]
    text = f"Networks by {budget.size_words} and accuracy: {said}."
    if best:
        smallest, most = min(best, key=lambda one: one.size), max(best, key=lambda one: one.accuracy)
        text += (
            f" The most accurate has {most.accuracy:.2f} % at {most.size:,.0f}; the smallest that none beats in both "
            f"has {smallest.accuracy:.2f} % at {smallest.size:,.0f}."
        )
    if budget.reference:
        text += f" The course's own result has {budget.reference.accuracy:.2f} % at {budget.reference.size:,.0f}."
    return text


def budget_picture(budget: "BudgetReport") -> str:
    """Every network as a point of size and accuracy, with limits, margins, the best and the reference result."""
    if not budget.networks:
        return ""
    window = _window(budget)
    with plt.rc_context(_SETTINGS):
        panel = axes(6.6, 4.0)
        _draw_limits(panel, budget, window)
        for key, words, marker, colour in _KINDS:
            _draw_points(panel, _sorted_by_kind(budget)[key], window, words, marker, PALETTE[colour])
        _draw_best(panel, budget, window)
        if budget.reference:
            x, y = _inside(budget.reference, window)
            panel.plot(x, y, "*", ms=20, color=PALETTE["green"], mec="black", mew=0.7, zorder=2.5, ls="none",
                       label="the course's own result")
        left, right, low, high = window
        panel.set(xlabel=budget.size_words, xlim=(left, right))
        part = "validation" if any(data.endswith(", validation") for data in budget.data) else "test"
        panel.set(ylabel=f"accuracy on the {part} images, %", ylim=(low, high))
        if _is_log(window):
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        panel.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        panel.figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    outside = sum(_inside(network, window) != (network.size, network.accuracy) for network in budget.networks)
    cut = f" {outside} of them lie beyond the picture and are drawn at its edge." if outside else ""
    return as_image(panel, budget_words(budget) + cut)


def _bin_width(top: float) -> float:
    """A round width that makes at most about twenty bars."""
    return next(width for width in _round_widths() if top / width <= 20)


def _round_widths() -> Any:
    yield from (0.25, 0.5)
    scale = 1
    while True:
        yield from (scale, 2 * scale, 5 * scale)
        scale *= 10


def _sorted_by_kind(budget: "BudgetReport") -> dict[str, list["Network"]]:
    kinds: dict[str, list[Network]] = {key: [] for key, *_ in _KINDS}
    for network in budget.networks:
        kinds["full" if network.status == OK else "some" if network.points > 0 else "none"].append(network)
    return kinds


def _window(budget: "BudgetReport") -> Window:
    """What part of the plane is shown: the limits with room around, and nine tenths of the networks at least."""
    sizes = sorted(network.size for network in budget.networks)
    accuracies = sorted(network.accuracy for network in budget.networks)
    marks = [value for value in (budget.size_limit, budget.size_ends_at) if value is not None]
    edges = [value for value in (budget.accuracy_limit, budget.accuracy_ends_at) if value is not None]
    if budget.reference:
        sizes, accuracies = sorted([*sizes, budget.reference.size]), sorted([*accuracies, budget.reference.accuracy])
    left, right = min(sizes[0], *marks) if marks else sizes[0], max(_quantile(sizes, 0.95), *marks, sizes[0])
    low, high = min(_quantile(accuracies, 0.05), *edges, accuracies[-1]), max(accuracies[-1], *edges, accuracies[0])
    room_x, room_y = 0.08 * (right - left) or 0.1 * right or 1.0, 0.1 * (high - low) or 0.5
    top = min(high + room_y, 100.0 + room_y / 2)
    return max(left - room_x, 0.9 * left), right + room_x, max(low - room_y, 0.0), top


def _is_log(window: Window) -> bool:
    return window[0] > 0 and window[1] / window[0] > 8


def _across(size: float, window: Window) -> float:
    """Where a size lies between left (0) and right (1)."""
    left, right = window[:2]
    return math.log(size / left) / math.log(right / left) if _is_log(window) else (size - left) / (right - left)


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def _inside(network: "Network", window: Window) -> tuple[float, float]:
    """Where a network is drawn: at the edge if it lies beyond."""
    left, right, low, high = window
    return min(max(network.size, left), right), min(max(network.accuracy, low), high)


def _draw_limits(panel: Axes, budget: "BudgetReport", window: Window) -> None:
    left, right, low, high = window
    size, accuracy = budget.size_limit, budget.accuracy_limit
    if size is not None or accuracy is not None:
        panel.fill_between(
            [left, right if size is None else size], low if accuracy is None else accuracy, high + 100,
            color=PALETTE["green"], alpha=0.09, lw=0, label="inside the limits: full marks",
        )
    for value, style, words in (
        (size, "-", "limit"), (budget.size_ends_at, ":", "no marks from here on"),
    ):
        if value is not None:
            panel.axvline(value, color="#444444", ls=style, lw=1.1, label=words)
    for value, style in ((accuracy, "-"), (budget.accuracy_ends_at, ":")):
        if value is not None:
            label = None if size is not None else {"-": "limit", ":": "no marks from here on"}[style]
            panel.axhline(value, color="#444444", ls=style, lw=1.1, label=label)


def _draw_points(
    panel: Axes, networks: list["Network"], window: Window, words: str, marker: str, colour: str
) -> None:
    if networks:
        places = [_inside(network, window) for network in networks]
        many = len(networks) > MOST_VECTORS
        panel.scatter(
            [x for x, _ in places], [y for _, y in places], s=10 if many else 42, marker=marker, color=colour,
            alpha=0.35 if many else 0.8, edgecolors="none" if many else "white", linewidths=0.5, zorder=3,
            label=f"{words} ({len(networks):,})", rasterized=many, clip_on=False,
        )


def _draw_best(panel: Axes, budget: "BudgetReport", window: Window) -> None:
    """The edge that nobody is beyond, with the names of some who are on it."""
    best = sorted((one for one in budget.networks if one.best), key=lambda one: one.size)
    if len(budget.networks) < 2:
        return
    places = sorted({_inside(network, window) for network in best})
    panel.plot([x for x, _ in places], [y for _, y in places], drawstyle="steps-post", color=PALETTE["blue"], lw=1,
               alpha=0.6, zorder=2, label="nobody is both smaller and more accurate")
    named: list[tuple[float, float]] = []
    _, _, low, high = window
    for network in sorted(best, key=lambda one: (-one.points, one.size)):  # the smallest within all limits first
        x, y = _inside(network, window)
        across, up = _across(x, window), (y - low) / (high - low)
        far = all(abs(across - a) > 0.15 or abs(up - b) > 0.06 for a, b in named)
        if far and len(named) < MOST_LABELS:
            same = sum((one.size, one.accuracy) == (network.size, network.accuracy) for one in best) - 1
            who = f"{network.student} and {same} more" if same else network.student
            side = 1 if across < 0.3 else -1  # above and left of these is nobody else, if there is room
            panel.annotate(who, (x, y), xytext=(6 * side, 6), textcoords="offset points",
                           ha="left" if side > 0 else "right", fontsize=8.5, parse_math=False,
                           bbox=_ON_WHITE, zorder=2.8)
            named.append((across, up))
