"""The explorers of unit 13: orders of techniques, where bits go, two techniques at once, a camera's frames, a contest.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from nutshell import plots
from nutshell.board import Entry
from nutshell.explorers.common import captioned, explorer
from nutshell.pipelines import Step, apply_all

_BLUE, _ORANGE, _BLACK = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["black"]
_GREEN, _VERMILION, _SKY = plots.PALETTE["green"], plots.PALETTE["vermilion"], plots.PALETTE["sky"]
AMOUNTS: dict[str, Step] = {
    "prune 80 %": ("prune", 0.8), "round to 8 bits": ("round", 8), "a quarter of the rank": ("rank", 0.25),
    "half of the neurons": ("rows", 0.5), "signs only": ("sign", 0.0),
}  # fmt: skip


# Orders --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Orders:
    """A matrix after two steps, one way round and the other.

    Attributes
    ----------
    results : tuple of Tensor
        First step first, and second step first.
    apart : float
        Their distance relative to the matrix.
    """

    results: tuple[Tensor, Tensor]
    apart: float

    @classmethod
    def of(cls, weight: Tensor, one: Step, other: Step) -> "Orders":
        """Do both.

        Examples
        --------
        >>> Orders.of(torch.eye(2), ("prune", 0.5), ("prune", 0.25)).apart
        0.0
        """
        weight = weight.detach()
        results = apply_all(weight, [one, other]), apply_all(weight, [other, one])
        return cls(results, float((results[0] - results[1]).norm() / weight.norm()))

    def structure(self, which: int) -> dict[str, float]:
        """What is left: share of zeros in percent, rank, and the number of different values."""
        matrix = self.results[which].double()
        sigma = torch.linalg.svdvals(matrix)
        return {"zeros": 100 * float((matrix == 0).double().mean()), "values": len(matrix.float().unique()),
                "rank": int((sigma > 1e-5 * sigma[0]).sum()) if float(sigma[0]) else 0}  # fmt: skip


def orders(weight: Tensor) -> widgets.Widget:
    """Choose two techniques: a layer's weights after both, in either order, and what is left of each one's structure.

    Parameters
    ----------
    weight : Tensor
        Shape ``(m, n)``; a corner of 40 × 40 is drawn.
    """
    knobs = {
        "one": widgets.Dropdown(options=list(AMOUNTS), value="prune 80 %", description="one"),
        "other": widgets.Dropdown(options=list(AMOUNTS), value="a quarter of the rank", description="other"),
    }
    found = {(a, b): Orders.of(weight, AMOUNTS[a], AMOUNTS[b]) for a in AMOUNTS for b in AMOUNTS}
    largest = float(weight.detach().abs().max())

    def draw(one: str, other: str) -> str:
        here = found[one, other]
        panels = plots.axes(9, 3.4, columns=2)
        parts = []
        for which, (first, second) in enumerate(((one, other), (other, one))):
            left = here.structure(which)
            parts.append(f"{first}, then {second}: {left['zeros']:.0f} % zeros, rank {left['rank']}, "
                         f"{left['values']:,} values")
            corner = here.results[which][:40, :40].numpy()
            drawn = panels[which].imshow(corner, cmap="PuOr", vmin=-largest, vmax=largest)
            panels[which].set(title=f"{first},\nthen {second}", xlabel="input", ylabel="neuron")
            panels[which].grid(False)
        panels[0].figure.colorbar(drawn, ax=list(panels), shrink=0.8, label="weight")
        words = f"{'They commute' if here.apart < 1e-6 else f'{100 * here.apart:.1f} % apart'}. " + "; ".join(parts)
        return captioned(words, plots.as_html(
            panels[0].figure, f"A corner of the weights after two techniques in one order and in the other. {words}."))

    return explorer(draw, knobs)


# Bits ----------------------------------------------------------------------------------------------------------------


def bits(kept: float, centroids: int) -> dict[str, float]:
    """Bits a weight by what they say, for equally frequent centroids; and the rates that follow and that one hopes for.

    Examples
    --------
    >>> found = bits(0.5, 4)
    >>> found["positions"], found["values"], found["hoped_for"], round(found["rate"], 2)
    (1.0, 1.0, 32.0, 16.0)
    """
    positions = -sum(p * math.log2(p) for p in (kept, 1 - kept) if p > 0)
    values = kept * math.log2(centroids)
    total = positions + values
    return {"positions": positions, "values": values, "hoped_for": 32 / values if values else math.inf,
            "rate": 32 / total if total else math.inf}  # fmt: skip


def information() -> widgets.Widget:
    """Move the share of weights kept and the number of centroids: what the bits say, and what the ratios promise."""
    shares = np.geomspace(0.005, 1, 60)
    knobs = {
        "kept": widgets.IntSlider(10, 1, 100, description="kept (%)", continuous_update=False),
        "centroids": widgets.SelectionSlider(options=[2, 4, 8, 16, 32, 64, 256], value=16, description="centroids",
                                             continuous_update=False),
    }  # fmt: skip

    def draw(kept: int, centroids: int) -> str:
        here = bits(kept / 100, centroids)
        panels = plots.axes(9, 3.2, columns=2, width_ratios=(1, 1.5))
        panels[0].bar(["bits"], [here["positions"]], color=_ORANGE, label="where")
        panels[0].bar(["bits"], [here["values"]], bottom=[here["positions"]], color=_BLUE, label="which centroid")
        panels[0].set(ylabel="bits a weight", ylim=(0, 8.5), xlim=(-1, 1))
        panels[0].legend(loc="upper right")
        curves = [bits(float(share), centroids) for share in shares]
        panels[1].plot(100 * shares, [each["hoped_for"] for each in curves], "--", color=_BLACK,
                       label="product of the ratios")
        panels[1].plot(100 * shares, [each["rate"] for each in curves], color=_BLUE, label="best possible")
        panels[1].plot([kept], [here["rate"]], "o", color=_VERMILION, label="chosen")
        panels[1].set(xscale="log", yscale="log", xlabel="weights kept (%)", ylabel="times smaller")
        panels[1].legend()
        words = (f"{kept} % kept, {centroids} centroids: {here['positions']:.2f} bits say where and "
                 f"{here['values']:.2f} which; {here['rate']:.0f} times smaller, not {here['hoped_for']:.0f}")
        return captioned(words, plots.as_html(
            panels[0].figure, "Bits a weight, split into positions and centroids, and how many times smaller a layer "
            f"gets against the share kept: the best possible lies below the product of the ratios. {words}."))

    return explorer(draw, knobs)


# Two at once ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixture:
    """A matrix as low rank plus single numbers, for several ways to share out the same room.

    Attributes
    ----------
    shares : tuple of float
        Of the room that the part of low rank takes.
    ranks, singles : tuple of int
        What that room holds.
    away : tuple of float
        Relative distance from the matrix.
    """

    shares: tuple[float, ...]
    ranks: tuple[int, ...]
    singles: tuple[int, ...]
    away: tuple[float, ...]

    @classmethod
    def of(cls, weight: Tensor, room: float, steps: int = 6, rounds: int = 3) -> "Mixture":
        """Share out ``room``, a share of the matrix's numbers; a single number takes two, itself and its place."""
        weight = weight.detach()
        m, n = weight.shape
        numbers = room * m * n
        most = min(m, n, int(numbers // (m + n)))
        ranks = sorted({round(most * step / steps) for step in range(steps + 1)})
        found = [(rank, int((numbers - rank * (m + n)) // 2)) for rank in ranks]
        away = [_fitted(weight, rank, single, rounds) for rank, single in found]
        return cls(tuple(rank * (m + n) / numbers for rank, _ in found), tuple(rank for rank, _ in found),
                   tuple(single for _, single in found), tuple(away))


def _fitted(weight: Tensor, rank: int, singles: int, rounds: int) -> float:
    """Distance after fitting both parts in turn, relative; leading directions come from the smaller Gram matrix."""
    tall = weight if weight.shape[0] <= weight.shape[1] else weight.T
    beside = torch.zeros_like(tall)
    for _ in range(rounds):
        fit = tall - beside
        basis = torch.linalg.eigh(fit @ fit.T)[1][:, len(fit) - rank :]
        rest = tall - basis @ (basis.T @ fit)
        cut = rest.abs().flatten().kthvalue(rest.numel() - singles).values if singles else rest.abs().max()
        beside = torch.where(rest.abs() > cut, rest, torch.zeros_like(rest))
    return float((rest - beside).norm() / tall.norm())


def mixture(weight: Tensor, rooms: Sequence[float] = (0.05, 0.1, 0.2, 0.4)) -> widgets.Widget:
    """Choose how much room there is: the error of low rank alone, of single numbers alone, and of all mixtures.

    Parameters
    ----------
    weight : Tensor
        Shape ``(m, n)``.
    rooms : sequence of float
        Shares of the matrix's numbers to choose from.
    """
    found = {f"{100 * room:g} %": Mixture.of(weight, room) for room in rooms}
    knobs = {"room": widgets.ToggleButtons(options=list(found), value=list(found)[1], description="room")}

    def draw(room: str) -> str:
        here = found[room]
        best = int(np.argmin(here.away))
        axes = plots.axes(7.5, 3.2)
        for name, other in found.items():
            chosen = name == room
            axes.plot([100 * share for share in other.shares], [100 * each for each in other.away], ".-",
                      color=_BLUE if chosen else _SKY, linewidth=2 if chosen else 0.8,
                      label=f"{name} of the numbers" if chosen else None)
        axes.plot([100 * here.shares[best]], [100 * here.away[best]], "o", color=_VERMILION, label="best mixture")
        axes.set(xlabel="room for the part of low rank (%)", ylabel="distance from W (%)", ylim=(0, None))
        axes.legend()
        words = (f"In {room} of the numbers: single numbers alone {100 * here.away[0]:.1f} % away, low rank alone "
                 f"{100 * here.away[-1]:.1f} %, rank {here.ranks[best]} with {here.singles[best]:,} single numbers "
                 f"{100 * here.away[best]:.1f} %")
        return captioned(words, plots.as_html(
            axes, f"Relative distance against the share of the room that the part of low rank takes. {words}."))

    return explorer(draw, knobs)


# A camera ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """What becomes of a camera's frames, in milliseconds.

    Attributes
    ----------
    came, began, done : tuple of float
        For each frame that was looked at: when it came, when the network took it, and when it was through.
    lost : tuple of float
        When the frames came that nobody looked at.
    """

    came: tuple[float, ...]
    began: tuple[float, ...]
    done: tuple[float, ...]
    lost: tuple[float, ...]

    @classmethod
    def of(cls, answer: float, spread: float, frames_a_second: float, until: float, seed: int = 0) -> "Stream":
        """Answers of a mean time, some longer than others, until a moment; the newest frame is always taken.

        Parameters
        ----------
        answer, spread : float
            Mean time of an answer in milliseconds, and the standard deviation of its logarithm.
        frames_a_second : float
            Of the camera.
        until : float
            Milliseconds that are played.
        seed : int
            Of the times.
        """
        rng = np.random.default_rng(seed)
        gap, now, last = 1000 / frames_a_second, 0.0, -1
        seen: list[tuple[float, float, float]] = []
        lost: list[float] = []
        while now < until:
            newest = max(last + 1, math.floor(now / gap + 1e-9))
            lost += [number * gap for number in range(last + 1, newest)]
            began = max(now, newest * gap)
            now = began + answer * float(np.exp(spread * rng.standard_normal() - spread**2 / 2))
            seen.append((newest * gap, began, now))
            last = newest
        came, begun, done = zip(*seen, strict=True)
        return cls(came, begun, done, tuple(lost))

    @property
    def ages(self) -> list[float]:
        """Milliseconds from a frame's coming to its answer."""
        return [done - came for came, done in zip(self.came, self.done, strict=True)]


def camera() -> widgets.Widget:
    """Move an answer's time, its spread and the camera's rate: which frames are looked at, and how old they get."""
    knobs = {
        "answer": widgets.FloatSlider(45, min=5, max=120, step=5, description="answer (ms)", continuous_update=False),
        "spread": widgets.FloatSlider(0.0, min=0, max=0.6, step=0.1, description="spread", continuous_update=False),
        "rate": widgets.IntSlider(30, 5, 60, description="frames/s", continuous_update=False),
    }

    def draw(answer: float, spread: float, rate: int) -> str:
        here = Stream.of(answer, spread, rate, until=400)
        axes = plots.axes(9, 2.8)
        for came, began, done in zip(here.came, here.began, here.done, strict=True):
            axes.plot([came, began], [1, 0.55], color=_ORANGE, linewidth=1)
            axes.barh(0.5, done - began, left=began, height=0.12, color=_BLUE, edgecolor="white")
        axes.plot(here.came, [1] * len(here.came), "o", color=_GREEN, label="frame that is looked at")
        axes.plot(here.lost, [1] * len(here.lost), "x", color=_VERMILION, label="frame that is lost")
        axes.plot([], [], color=_ORANGE, label="waiting")
        axes.plot([], [], color=_BLUE, linewidth=6, label="network at work")
        axes.set(xlabel="time (ms)", xlim=(-10, 410), ylim=(0.3, 1.5))
        axes.set_yticks([0.5, 1], ["network", "camera"])
        axes.grid(False)
        axes.legend(ncols=4, loc="upper center", fontsize=8)
        lost = len(here.lost) / (len(here.lost) + len(here.came))
        words = (f"{answer:g} ms an answer at {rate} frames a second: {100 * lost:.0f} % of the frames lost, pictures "
                 f"{np.mean(here.ages):.0f} ms old on average and {max(here.ages):.0f} at worst when the answer comes")
        return captioned(words, plots.as_html(
            axes, "A line of time: frames as they come, those that are lost, and the network at work below. "
            f"{words}."))

    return explorer(draw, knobs)


# The contest ---------------------------------------------------------------------------------------------------------


def winner(entries: Sequence[Entry], floor: float) -> Entry | None:
    """Who has most right answers a joule among those with at least that share of right answers; None if nobody has."""
    there = [one for one in entries if 1 - one.error_percent / 100 >= floor - 1e-9]
    return max(there, key=lambda one: (1 - one.error_percent / 100) / one.energy_uj, default=None)


def contest(entries: Sequence[Entry]) -> widgets.Widget:
    """Move the floor on accuracy: who wins by right answers a joule?

    Parameters
    ----------
    entries : sequence of Entry
        As :func:`nutshell.board.standing` has them; the silliest network of all is added.
    """
    silly = Entry("always the same digit", False, 200, 0, 1e-3, 90.0)
    all_of_them = [*entries, silly]
    knobs = {"floor": widgets.FloatSlider(98, min=0, max=99.5, step=0.1, description="floor (%)", readout_format=".1f",
                                          continuous_update=False)}  # fmt: skip

    def draw(floor: float) -> str:
        axes = plots.axes(8, 3.6)
        best = winner(all_of_them, floor / 100)
        for inside, colour, label in ((True, _BLUE, "above the floor"), (False, _ORANGE, "below")):
            shown = [one for one in all_of_them if (100 - one.error_percent >= floor - 1e-9) is inside]
            axes.plot([one.error_percent for one in shown], [_score(one) for one in shown], "o" if inside else "x",
                      color=colour, label=label)
        if best:
            axes.plot([best.error_percent], [_score(best)], "*", color=_VERMILION, markersize=16, label="winner")
        axes.axvline(100 - floor, color=_BLACK, linestyle="--", linewidth=0.8, label="floor")
        axes.set(xscale="log", yscale="log", xlabel="error (%)", ylabel="right answers a joule")
        ticks = [0.5, 1, 2, 5, 10, 90]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.legend(loc="upper left", fontsize=8)
        words = (f"With a floor of {floor:.1f} % the winner is “{best.name}”: {100 - best.error_percent:.2f} % right, "
                 f"{_score(best):,.0f} right answers a joule" if best else f"Nobody reaches {floor:.1f} %")
        return captioned(words, plots.as_html(
            axes, "Right answers a joule against error for all entries, with the floor as a dashed line and a star at "
            f"the winner. {words}."))

    return explorer(draw, knobs)


def _score(entry: Entry) -> float:
    return (1 - entry.error_percent / 100) / (entry.energy_uj * 1e-6)


def commutators(weight: Tensor) -> Axes:
    """A map of how far the two orders are apart, for all pairs of :data:`AMOUNTS`."""
    names = list(AMOUNTS)
    apart = np.array([[100 * Orders.of(weight, AMOUNTS[a], AMOUNTS[b]).apart for b in names] for a in names])
    axes = plots.axes(6.6, 4.2)
    drawn = axes.imshow(apart, cmap="cividis_r", vmin=0)
    for row in range(len(names)):
        for column in range(len(names)):
            axes.text(column, row, f"{apart[row, column]:.1f}", ha="center", va="center",
                      color="white" if apart[row, column] > apart.max() / 2 else "black", fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.figure.colorbar(drawn, ax=axes, label="distance of the two orders (% of ‖W‖)")
    return axes
