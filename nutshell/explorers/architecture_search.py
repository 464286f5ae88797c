"""The explorers of unit 12: a search space, luck, a population that ages, a policy, nested kernels, and halving.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget. Where a network would have to be trained, its errors are looked up in a table that ships.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from nutshell import plots
from nutshell.explorers.common import captioned, explorer
from nutshell.search import Benchmark, Cap, Reinforce, SuccessiveHalving, run

_BLUE, _ORANGE, _GREEN, _RED, _BLACK, _SKY = (
    plots.PALETTE[name] for name in ("blue", "orange", "green", "vermilion", "black", "sky"))  # fmt: skip
_BLOCKS = {"down": _BLACK, "plain": _BLUE, "separable": _ORANGE, "fire": _GREEN}


# A space -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def networks(table: Benchmark) -> tuple[dict[str, Any], ...]:
    """The different networks of a table, with ``macs``, ``parameters``, ``error`` (validation, %) and ``seconds``."""
    found: dict[Any, dict[str, Any]] = {}
    for row in table.rows():
        architecture = {name: row[name] for name in table.space.decisions}
        found.setdefault(table.space.blocks(architecture), {
            "architecture": architecture, "macs": row["macs"], "parameters": row["parameters"],
            "error": row["validation_error_percent"][-1], "seconds": row["seconds"]})
    return tuple(found.values())


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the line under which no point lies: left to right, each lower than the one before.

    Examples
    --------
    >>> staircase([(2, 5), (1, 9), (3, 5), (4, 2)])
    [(1, 9), (2, 5), (4, 2)]
    """
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not corners or y < corners[-1][1]:
            corners.append((x, y))
    return corners


def space(table: Benchmark) -> widgets.Widget:
    """Take one option for each decision: the network, its cost, and its error among those of all others."""
    every = networks(table)
    ranked = sorted(one["error"] for one in every)
    decisions = table.space.decisions
    start = {"first": 16, "second": 32, "a": "separable", "b": "plain", "c": "none"}
    knobs = {name: widgets.ToggleButtons(options=options, description=name,
                                         value=start.get(name) if start.get(name) in options else options[0])
             for name, options in decisions.items()}
    for knob in knobs.values():
        knob.style.button_width = "90px"

    def draw(**architecture: Any) -> str:
        entry = table.look_up(architecture)
        error = entry.validation_error_percent[-1]
        panels = plots.axes(10, 3.4, columns=2, width_ratios=(1, 1.25))
        _network(panels[0], table, architecture)
        _cloud(panels[1], [(one["macs"] / 1e3, one["error"]) for one in every])
        panels[1].plot([entry.macs / 1e3], [error], "o", color=_RED, markersize=9, label="yours")
        panels[1].legend(fontsize=8)
        place = sum(other < error for other in ranked) + 1
        words = (f"{entry.parameters:,} parameters, {entry.macs:,} MACs, {error:.2f} % validation error: "
                 f"number {place} of {len(every)} networks")
        return captioned(words, plots.as_html(
            panels[0].figure, "Left, the feature maps of the network as boxes, as tall as the map and as wide as it "
            f"has channels. Right, error against MACs of all networks, yours marked, and the front. {words}."))

    return explorer(draw, knobs)


def _network(axes: Axes, table: Benchmark, architecture: dict[str, Any]) -> None:
    side, x, tallest, shown = table.space.size_of_image, 0.0, 0, set()
    for kind, width in table.space.blocks(architecture):
        if kind == "pool":
            side //= width
            continue
        side = (side + 1) // 2 if kind == "down" else side
        tallest = max(tallest, side)
        axes.add_patch(Rectangle((x, -side / 2), width, side, facecolor=_BLOCKS.get(kind, _SKY), edgecolor="white",
                                 label=None if kind in shown else {"down": "3×3, stride 2"}.get(kind, kind)))
        axes.text(x + width / 2, side / 2 + 0.2, f"{width}\n{side}×{side}", ha="center", fontsize=8)
        x += width + 4
        shown.add(kind)
    axes.set(xlim=(-2, 160), ylim=(-tallest, 1.7 * tallest), yticks=[], xlabel="channels, layer after layer",
             ylabel="pixels")
    axes.grid(False)
    axes.legend(fontsize=8, loc="upper right", ncols=2)


def _cloud(axes: Axes, points: Sequence[tuple[float, float]], label: str = "all networks") -> None:
    axes.plot(*zip(*points, strict=True), ".", color=_SKY, markersize=4, label=label)
    corners = staircase(points)
    axes.step(*zip(*corners, strict=True), where="post", color=_BLACK, linewidth=1, label="front")
    axes.set(xscale="log", yscale="log", xlabel="MACs (thousands)", ylabel="validation error (%)")
    ticks(axes, [x for x, _ in points], [y for _, y in points])


def ticks(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Plain numbers along logarithmic axes, for the values drawn there; an axis without values is left alone."""
    steps = [factor * 10.0**power for power in range(-3, 7) for factor in (1, 2, 5)]
    for values, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if len(values):
            inside = [step for step in steps if 0.9 * min(values) <= step <= 1.1 * max(values)]
            axis.set_ticks(inside, [f"{step:g}" for step in inside])
            axis.set_minor_locator(NullLocator())


# Luck ----------------------------------------------------------------------------------------------------------------


def best_of(errors: Sequence[float], trials: int) -> dict[str, float]:
    """The smallest of so many errors drawn at random: its mean and the middle 90 % of it, exactly, without drawing.

    The smallest of n draws is above the i-th smallest of N errors with the probability (1 − i/N)^n.

    Parameters
    ----------
    errors : sequence of float
        Of the whole space; draws may repeat.
    trials : int
        n, at least 1.

    Returns
    -------
    dict
        ``mean``, ``low`` and ``high``.

    Examples
    --------
    >>> best_of([1.0, 2.0], 2)
    {'mean': 1.25, 'low': 1.0, 'high': 2.0}
    """
    ordered = np.sort(np.asarray(errors, dtype=float))
    left = (1 - np.arange(len(ordered) + 1) / len(ordered)) ** trials
    low, high = (float(ordered[int(np.searchsorted(1 - left[1:], share))]) for share in (0.05, 0.95))
    return {"mean": float(ordered @ (left[:-1] - left[1:])), "low": low, "high": high}


def luck(table: Benchmark) -> widgets.Widget:
    """Choose how many networks a random search trains: how good is the best, and how likely is one of the top?"""
    errors = [one["error"] for one in networks(table)]
    ordered = sorted(errors)
    knobs = {
        "trials": widgets.SelectionSlider(options=(1, 2, 5, 10, 20, 40, 60, 100, 200, 400), value=20,
                                          description="trials"),
        "top": widgets.SelectionSlider(options=(1, 2, 5, 10, 20), value=5, description="top (%)"),
    }

    def draw(trials: int, top: int) -> str:
        panels = plots.axes(10, 3.2, columns=2)
        panels[0].hist(errors, bins=np.geomspace(ordered[0], ordered[-1], 40).tolist(), color=_SKY)
        panels[0].axvline(ordered[max(0, round(len(errors) * top / 100) - 1)], color=_ORANGE, linestyle="--",
                          label=f"top {top} %")
        found = best_of(errors, trials)
        panels[0].axvspan(found["low"], found["high"], color=_RED, alpha=0.25, label=f"best of {trials}")
        panels[0].set(xlabel="validation error (%)", ylabel="networks", xscale="log")
        ticks(panels[0], errors, [])
        panels[0].legend()
        counts = np.unique(np.geomspace(1, 400, 60).astype(int))
        lines = [best_of(errors, int(count)) for count in counts]
        panels[1].fill_between(counts, [line["low"] for line in lines], [line["high"] for line in lines], color=_SKY,
                               alpha=0.4, label="middle 90 %")
        panels[1].plot(counts, [line["mean"] for line in lines], color=_BLUE, label="mean")
        panels[1].axhline(ordered[0], color=_BLACK, linestyle=":", label="best there is")
        panels[1].plot([trials], [found["mean"]], "o", color=_RED, markersize=8)
        panels[1].set(xscale="log", xlabel="trials", ylabel="best error found (%)", ylim=(0, 1.1 * lines[0]["high"]))
        panels[1].legend()
        chance = 1 - (1 - top / 100) ** trials
        words = (f"{trials} trials at random: the best has {found['mean']:.2f} % error on average, "
                 f"{found['low']:.2f} to {found['high']:.2f} % nine times in ten; one of the top {top} % is among them "
                 f"with a probability of {100 * chance:.1f} %. The best of all has {ordered[0]:.2f} %")
        return captioned(words, plots.as_html(
            panels[0].figure, "Left, a histogram of the errors of all networks, with the range of the best of so many "
            f"draws. Right, the best error found against the number of trials, on average, and its range. {words}."))

    return explorer(draw, knobs)


# A population --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lineage:
    """A population as it was: who was born of whom, how well it seemed to do and how well it did, and who lived when.

    Attributes
    ----------
    seen, true : list of float
        Validation error in percent of each birth: as it was measured, with noise, and without.
    parents : list of int or None
        Number of the birth that each came from; None for founders.
    alive : list of list of int
        The members after each birth, oldest first.
    """

    seen: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)
    alive: list[list[int]] = field(default_factory=list)


@lru_cache(maxsize=256)
def lineage(table: Benchmark, dies: str = "oldest", noise: float = 0.0, births: int = 150, members: int = 20,
            rivals: int = 5, seed: int = 0) -> Lineage:
    """Let a population live on a table; whoever leaves is the oldest member or the one that seemed worst.

    Parameters
    ----------
    table : Benchmark
        What stands for training.
    dies : {"oldest", "worst"}
        Who leaves when a child is born.
    noise : float
        Standard deviation of the measured error, as a share of it: what another seed or another thousand images would
        change. A member keeps the error that it was measured with once.
    births, members, rivals : int
        Networks looked at in all, size of the population, and how many compete to become the parent.
    seed : int
    """
    chance, space, found = random.Random(seed), table.space, Lineage()
    genes: list[dict[str, Any]] = []
    living: list[int] = []
    for number in range(births):
        if number < members:
            parent, gene = None, space.decode(chance.randrange(space.size))
        else:
            parent = min(chance.sample(living, rivals), key=found.seen.__getitem__)
            decision, options = chance.choice([(name, each) for name, each in space.decisions.items() if len(each) > 1])
            gene = genes[parent] | {decision: chance.choice([one for one in options if one != genes[parent][decision]])}
        error = table.look_up(gene).validation_error_percent[-1]
        genes.append(gene)
        found.true.append(error)
        found.seen.append(error * max(0.05, 1 + noise * chance.gauss(0, 1)))
        found.parents.append(parent)
        living.append(number)
        if len(living) > members:
            living.remove(living[0] if dies == "oldest" else max(living, key=found.seen.__getitem__))
        found.alive.append(list(living))
    return found


def population(table: Benchmark) -> widgets.Widget:
    """Follow a population birth by birth; choose its size, how many rivals compete, who dies, and the scores' noise."""
    knobs: dict[str, widgets.Widget] = {
        "births": widgets.IntSlider(60, 1, 150, description="births", continuous_update=False),
        "members": widgets.IntSlider(20, 5, 50, description="population", continuous_update=False),
        "rivals": widgets.IntSlider(5, 1, 20, description="tournament", continuous_update=False),
        "noise": widgets.SelectionSlider(options=(0.0, 0.1, 0.2, 0.4), value=0.0, description="noise (share)"),
        "seed": widgets.IntSlider(0, 0, 19, description="seed", continuous_update=False),
        "dies": widgets.ToggleButtons(options=("oldest", "worst"), description="who dies"),
    }

    def draw(births: int, members: int, rivals: int, noise: float, seed: int, dies: str) -> str:
        rivals = min(rivals, members)
        found = lineage(table, dies, noise, 150, members, rivals, seed)
        alive = found.alive[births - 1]
        axes = plots.axes(9, 3.4)
        numbers = np.arange(births)
        for number in range(births):
            parent = found.parents[number]
            if parent is not None:
                axes.plot([parent, number], [found.true[parent], found.true[number]], color=_SKY, linewidth=0.5)
        axes.plot(numbers, found.true[:births], ".", color=_BLACK, markersize=4, label="dead")
        axes.plot(alive, [found.true[number] for number in alive], "o", color=_BLUE, markersize=5, label="alive")
        axes.plot(numbers, np.minimum.accumulate(found.true[:births]), color=_RED, label="best so far")
        if noise:
            axes.plot(alive, [found.seen[number] for number in alive], "x", color=_ORANGE, markersize=5,
                      label="as it was measured")
        axes.set(xlabel="birth", ylabel="validation error (%)", yscale="log", xlim=(-2, 152))
        ticks(axes, [], found.true)
        axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.16))
        mean = np.mean([found.true[number] for number in alive])
        oldest = births - 1 - min(alive)
        words = (f"After {births} births the members have {mean:.2f} % error on average, the best network seen "
                 f"{min(found.true[:births]):.2f} %; the oldest member is {oldest} births old")
        return captioned(words, plots.as_html(
            axes, "True validation error of each network against its birth, a line from parent to child, the members "
            f"that are alive marked, and the best so far. {words}."))

    return explorer(draw, knobs)


# A policy ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def learned(
    table: Benchmark, rate: float, seed: int, draws: int = 200
) -> tuple[list[dict[str, np.ndarray]], list[float]]:
    """Chances of every option before each draw of a policy that learns, and the error of what was drawn."""
    policy = Reinforce(table.space, Cap(), seed, epochs=table.most_epochs, rate=rate)
    chances, errors = [], []
    for _ in range(draws):
        chances.append({name: policy.chances(name) for name in table.space.decisions})
        trial = policy.ask()
        errors.append(table.evaluate(trial.architecture, trial.epochs)["error_percent"])
        policy.tell(trial, errors[-1])
    return chances, errors


def policy(table: Benchmark) -> widgets.Widget:
    """Follow a policy draw by draw: the chance of every option, and the errors of what it draws."""
    knobs = {
        "draws": widgets.IntSlider(100, 1, 200, description="draws", continuous_update=False),
        "rate": widgets.SelectionSlider(options=(0.05, 0.1, 0.2, 0.5, 1.0), value=0.2, description="rate"),
        "seed": widgets.IntSlider(0, 0, 9, description="seed", continuous_update=False),
    }
    decisions = table.space.decisions
    most = max(len(options) for options in decisions.values())

    def draw(draws: int, rate: float, seed: int) -> str:
        chances, errors = learned(table, rate, seed)
        now = chances[draws - 1]
        panels = plots.axes(10, 3.2, columns=2, width_ratios=(1, 1.2))
        grid = np.full((len(decisions), most), np.nan)
        for row, (name, options) in enumerate(decisions.items()):
            grid[row, : len(options)] = now[name]
            for column, option in enumerate(options):
                share = now[name][column]
                panels[0].text(column, row, f"{option}\n{100 * share:.0f} %", ha="center", va="center", fontsize=8,
                               color="white" if share > 0.6 else "black")
        panels[0].imshow(grid, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        panels[0].set_yticks(range(len(decisions)), list(decisions))
        panels[0].set(xticks=[], ylabel="decision", title="chance of each option")
        panels[0].grid(False)
        panels[1].plot(range(1, draws + 1), errors[:draws], ".", color=_BLACK, label="drawn")
        mean = [float(np.mean(errors[max(0, end - 20) : end])) for end in range(1, draws + 1)]
        panels[1].plot(range(1, draws + 1), mean, color=_BLUE, label="mean of the last 20")
        panels[1].set(xlabel="draw", ylabel="validation error (%)", yscale="log", xlim=(0, 202))
        ticks(panels[1], [], errors)
        panels[1].legend()
        favourite = " ".join(str(decisions[name][int(now[name].argmax())]) for name in decisions)
        sure = float(np.prod([values.max() for values in now.values()]))
        words = (f"Draw {draws}: the policy's favourite is {favourite}, with a probability of {100 * sure:.1f} %; the "
                 f"last 20 draws had {mean[-1]:.2f} % error on average, the best so far {min(errors[:draws]):.2f} %")
        return captioned(words, plots.as_html(
            panels[0].figure, "Left, a table of the chance of each option for each decision, darker for larger. Right, "
            f"the error of each network drawn, and their running mean. {words}."))

    return explorer(draw, knobs)


# Nested kernels ------------------------------------------------------------------------------------------------------


def used(inputs: int, outputs: int, kernel: int, largest: tuple[int, int, int] = (8, 16, 5)) -> np.ndarray:
    """Which numbers of the largest kernel a candidate uses: booleans, shape ``(outputs, inputs, side, side)``.

    Examples
    --------
    >>> int(used(4, 8, 3).sum())
    288
    """
    channels, filters, side = largest
    edge = (side - kernel) // 2
    taps = np.arange(side)
    middle = (taps >= edge) & (taps < side - edge)
    return ((np.arange(filters) < outputs)[:, None, None, None] & (np.arange(channels) < inputs)[:, None, None]
            & middle[:, None] & middle)


def nested() -> widgets.Widget:
    """Choose two candidates of one layer: which numbers of the one shared weight each uses, and which both."""
    options = {"in": (2, 4, 8), "out": (4, 8, 16), "K": (1, 3, 5)}
    start = {"A": (4, 16, 3), "B": (8, 8, 5)}
    knobs = {f"{who}_{what}": widgets.ToggleButtons(options=options[what], value=value,
                                                    description=f"{who}: {words}")
             for who, values in start.items()
             for what, words, value in zip(options, ("inputs", "outputs", "kernel"), values, strict=True)}
    for knob in knobs.values():
        knob.style.button_width = "60px"

    def draw(A_in: int, A_out: int, A_K: int, B_in: int, B_out: int, B_K: int) -> str:
        one, other = used(A_in, A_out, A_K), used(B_in, B_out, B_K)
        kinds = one + 2 * other  # 0 nobody, 1 A, 2 B, 3 both
        filters, channels, side, _ = kinds.shape
        colours = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)]
                            for colour in ("#DDDDDD", _BLUE, _ORANGE, _GREEN)], dtype=np.uint8)
        sheet = np.full((channels * (side + 1) - 1, filters * (side + 1) - 1, 3), 255, np.uint8)
        for row in range(filters):
            for column in range(channels):
                sheet[column * (side + 1) : column * (side + 1) + side,
                      row * (side + 1) : row * (side + 1) + side] = colours[kinds[row, column]]
        axes = plots.axes(9, 4.6)
        axes.imshow(sheet, interpolation="nearest")
        axes.set_xticks([side // 2 + (side + 1) * row for row in range(filters)], list(range(1, filters + 1)))
        axes.set_yticks([side // 2 + (side + 1) * column for column in range(channels)], list(range(1, channels + 1)))
        axes.set(xlabel="output", ylabel="input")
        axes.grid(False)
        for label, colour in (("A only", _BLUE), ("B only", _ORANGE), ("both", _GREEN), ("neither", "#DDDDDD")):
            axes.plot([], [], "s", color=colour, label=label)
        axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.12))
        both = int((one & other).sum())
        words = (f"A uses {one.sum():,} weights, B {other.sum():,}, and {both:,} of them are the same; {kinds.size:,} "
                 "are stored for all 27 candidates")
        return captioned(words, plots.as_html(
            axes, "The kernel of the largest candidate, a 5×5 square for each input and output, coloured by who uses "
            f"each weight. {words}."))

    return explorer(draw, knobs)


# Halving -------------------------------------------------------------------------------------------------------------


def rounds(table: Benchmark, start: int, seed: int) -> dict[str, Any]:
    """One group of successive halving on a table, and what training everybody to the end would have found.

    Parameters
    ----------
    table : Benchmark
    start : int
        Candidates of the first round.
    seed : int

    Returns
    -------
    dict
        ``curves``, a list of (errors after each epoch, epochs that were trained); ``spent`` epochs, ``whole`` epochs
        that all would have taken; ``found``, ``best`` and ``place``: the error of the winner, the smallest at the end,
        and the winner's place among all at the end.
    """
    strategy = SuccessiveHalving(table.space, Cap(), seed, epochs=table.most_epochs, first=start)
    budget = start * table.most_epochs
    trained: dict[Any, int] = {}
    spent = 0.0
    for outcome in run(strategy, table, budget, progress=False):
        key = table.space.blocks(outcome.architecture)
        if trained and outcome.epochs == min(trained.values()) and max(trained.values()) == table.most_epochs:
            break  # the next group begins
        trained[key] = outcome.epochs
        spent = outcome.spent
    curves = [(table.entries[key].validation_error_percent, epochs) for key, epochs in trained.items()]
    last = sorted(errors[-1] for errors, _ in curves)
    winner = min(errors[-1] for errors, epochs in curves if epochs == max(trained.values()))
    return {"curves": curves, "spent": spent, "whole": len(curves) * table.most_epochs, "found": winner,
            "best": last[0], "place": last.index(winner) + 1}


def halving(table: Benchmark) -> widgets.Widget:
    """Choose how many candidates start: learning curves end where training stopped, and go on dotted."""
    knobs = {
        "start": widgets.SelectionSlider(options=(4, 8, 16, 32, 64), value=16, description="candidates"),
        "seed": widgets.IntSlider(0, 0, 19, description="seed", continuous_update=False),
    }

    def draw(start: int, seed: int) -> str:
        found = rounds(table, start, seed)
        axes = plots.axes(7.5, 3.6)
        epochs = range(1, table.most_epochs + 1)
        for errors, done in found["curves"]:
            survived = done == table.most_epochs
            axes.plot(epochs, errors, ":", color=_BLACK, linewidth=0.6, alpha=0.6)
            axes.plot(epochs[:done], errors[:done], "o-", markersize=3, linewidth=1.6 if survived else 1,
                      color=_RED if survived else _BLUE)
        for style, colour, label in (("-", _BLUE, "trained, then dropped"), ("-", _RED, "trained to the end"),
                                     (":", _BLACK, "not trained")):
            axes.plot([], [], style, color=colour, label=label)
        axes.set(xlabel="epoch", ylabel="validation error (%)", yscale="log", xticks=list(epochs))
        ticks(axes, [], [error for errors, _ in found["curves"] for error in errors])
        axes.legend(fontsize=8)
        words = (f"{len(found['curves'])} different networks start, {found['spent']:.0f} epochs are trained in place "
                 f"of {found['whole']}; the winner has {found['found']:.2f} % error, number {found['place']} of them, "
                 f"and the best of them {found['best']:.2f} %")
        return captioned(words, plots.as_html(
            axes, "Validation error of each candidate after each epoch, ending where it was dropped, dotted beyond. "
            f"{words}."))

    return explorer(draw, knobs)
