"""Two explorers of unit 11 on made-up tasks: what few examples teach with labels and with soft targets, and two means.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import math
from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes

from nutshell import plots
from nutshell.explorers.common import captioned, explorer
from nutshell.explorers.student_and_teacher import Answers

_BLUE, _ORANGE, _GREEN = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["green"]
_VERMILION, _BLACK, _SKY = plots.PALETTE["vermilion"], plots.PALETTE["black"], plots.PALETTE["sky"]


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Examples of a made-up task: places from −3 to 3, the chance of a yes at each, and labels drawn by that chance."""
    generator = np.random.default_rng(seed)
    places = generator.uniform(-3, 3, count)
    chance = chance_of_yes(places)
    return places, chance, (generator.uniform(size=count) < chance).astype(float)


def chance_of_yes(places: np.ndarray) -> np.ndarray:
    """What the teacher of the made-up task knows: the chance of a yes at each place."""
    return 1 / (1 + np.exp(-2.5 * np.sin(1.4 * places)))


def learned(places: np.ndarray, targets: np.ndarray, seen: np.ndarray, degree: int = 5) -> np.ndarray:
    """A small student's chances of a yes: its log-odds are a polynomial, fitted by maximum likelihood.

    Parameters
    ----------
    places, targets : ndarray
        Examples, shape ``(n,)``; a target is a label 0 or 1, or a chance.
    seen : ndarray
        Where the student is asked, shape ``(m,)``.
    degree : int
        Of the polynomial.

    Returns
    -------
    ndarray
        Shape ``(m,)``.
    """
    features = np.polynomial.legendre.legvander(places / 3, degree)
    weights = np.zeros(degree + 1)
    for _ in range(30):  # Newton's method, with a little decay so that few labels can't drive weights to infinity
        q = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (q - targets) + 1e-2 * weights
        curvature = (features * (q * (1 - q))[:, None]).T @ features + 1e-2 * np.eye(degree + 1)
        step = np.linalg.solve(curvature, slope)
        weights = weights - step * min(1.0, 3 / np.abs(step).max(initial=1e-9))
    return 1 / (1 + np.exp(-np.clip(np.polynomial.legendre.legvander(seen / 3, degree) @ weights, -30, 30)))


@lru_cache(maxsize=64)
def misses(count: int, soft: bool, draws: int = 20) -> tuple[float, ...]:
    """How far students of ``count`` examples are from the teacher: mean distance of the chances, one for each draw."""
    seen = np.linspace(-3, 3, 61)
    truth, found = chance_of_yes(seen), []
    for seed in range(draws):
        places, chance, labels = drawn(count, seed)
        found.append(float(np.abs(learned(places, chance if soft else labels, seen) - truth).mean()))
    return tuple(found)


def few(draws: int = 20) -> widgets.Widget:
    """Move the number of examples: what students make of labels, and what of soft targets for the same places."""
    counts = (8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024)
    knobs = {
        "count": widgets.SelectionSlider(options=counts, value=32, description="examples", continuous_update=False),
        "targets": widgets.ToggleButtons(options=["labels", "soft targets"], description="learn from"),
    }
    seen = np.linspace(-3, 3, 121)

    def draw(count: int, targets: str) -> str:
        soft = targets == "soft targets"
        panels = plots.axes(10, 3.0, columns=2, width_ratios=(1.3, 1))
        for seed in range(draws):
            places, chance, labels = drawn(count, seed)
            line = learned(places, chance if soft else labels, seen)
            panels[0].plot(seen, line, color=_SKY, linewidth=0.7, label="students, a draw each" if seed == 0 else None)
        places, chance, labels = drawn(count, 0)
        panels[0].plot(places, chance if soft else labels, "x", color=_ORANGE, markersize=4, label="examples of one")
        panels[0].plot(seen, chance_of_yes(seen), color=_BLACK, label="teacher")
        panels[0].set(xlabel="place", ylabel="chance of a yes", ylim=(-0.05, 1.3))
        panels[0].legend(ncols=3, fontsize=8, loc="upper center")
        for kind, colour, style in ((False, _VERMILION, "s--"), (True, _BLUE, "o-")):
            panels[1].plot(counts, [np.mean(misses(n, kind, draws)) for n in counts], style, color=colour,
                           markersize=4, label="soft targets" if kind else "labels")
        panels[1].axvline(count, color=_BLACK, linewidth=0.8)
        panels[1].set(xscale="log", yscale="log", xlabel="examples", ylabel="mean distance from the teacher")
        panels[1].legend(fontsize=8)
        here = np.array(misses(count, soft, draws))
        words = (f"{count} examples with {targets}: {here.mean():.3f} away on average, from {here.min():.3f} to "
                 f"{here.max():.3f} over {draws} draws")
        return captioned(words, plots.as_html(
            panels[0].figure, "Chances that twenty students learned, each from a draw of its own, around the teacher's "
            f"curve; and the mean distance against the number of examples, for labels and for soft targets. {words}."))

    return explorer(draw, knobs)


def mixtures(members: np.ndarray) -> dict[str, np.ndarray]:
    """Two ways to one distribution from several.

    Parameters
    ----------
    members : ndarray
        Distributions, shape ``(M, C)``, none with a 0.

    Returns
    -------
    dict
        ``arithmetic`` and ``geometric``, shape ``(C,)``, each adding up to 1.

    Examples
    --------
    >>> found = mixtures(np.array([[0.9, 0.1], [0.5, 0.5]]))
    >>> found["arithmetic"].round(2).tolist(), found["geometric"].round(2).tolist()
    ([0.7, 0.3], [0.75, 0.25])
    """
    roots = np.exp(np.log(members).mean(0))
    return {"arithmetic": members.mean(0), "geometric": roots / roots.sum()}


def means() -> widgets.Widget:
    """Move what two teachers say about three classes: their two means, as bars and in the triangle of all answers."""
    def odds(value: float, name: str) -> widgets.Widget:
        return widgets.FloatSlider(value, min=-8, max=8, step=0.5, description=name, continuous_update=False)

    knobs = {"first_a": odds(3, "1st: logit of A"), "first_c": odds(-6, "1st: logit of C"),
             "second_b": odds(2, "2nd: logit of B"), "second_c": odds(3, "2nd: logit of C")}

    def draw(first_a: float, first_c: float, second_b: float, second_c: float) -> str:
        logits = torch.tensor([[first_a, 0.0, first_c], [0.0, second_b, second_c]])
        members = Answers.of(logits).at(1.0)
        found = mixtures(members)
        panels = plots.axes(10, 3.2, columns=2, width_ratios=(1.4, 1))
        shown = {"1st teacher": members[0], "2nd teacher": members[1], "arithmetic mean": found["arithmetic"],
                 "geometric mean": found["geometric"]}
        styles = ((_SKY, "o"), (_GREEN, "s"), (_ORANGE, "D"), (_BLUE, "^"))
        for offset, (name, p), (colour, mark) in zip((-0.3, -0.1, 0.1, 0.3), shown.items(), styles, strict=True):
            panels[0].bar(np.arange(3) + offset, p, 0.2, color=colour, label=name)
            panels[1].plot(*_in_triangle(p), mark, color=colour, markersize=9, markeredgecolor=_BLACK)
        panels[0].set(xticks=range(3), xticklabels="ABC", xlabel="class", ylabel="probability", ylim=(0, 1.3))
        panels[0].legend(ncols=2, fontsize=8)
        _triangle(panels[1], members)
        words = (f"class C: {members[0, 2]:.4f} says the 1st, {members[1, 2]:.4f} the 2nd; "
                 f"{found['arithmetic'][2]:.4f} the arithmetic mean, {found['geometric'][2]:.4f} the geometric")
        return captioned(words, plots.as_html(
            panels[0].figure, "Bars of what two teachers and their two means say about three classes, and the same "
            "four points in a triangle whose corners are the classes; the arithmetic mean lies halfway on the straight "
            f"line between the teachers. {words}."))

    return explorer(draw, knobs)


def _in_triangle(p: np.ndarray) -> tuple[float, float]:
    """Where three probabilities lie in a triangle with A on the left, B on the right and C on top."""
    return float(p[1] + p[2] / 2), float(p[2] * math.sqrt(3) / 2)


def _triangle(axes: Axes, members: np.ndarray) -> None:
    corners = np.array([_in_triangle(corner) for corner in np.eye(3)])
    axes.fill(*corners.T, fill=False, edgecolor=_BLACK)
    for corner, name, (x, y) in zip(corners, "ABC", ((-0.06, -0.06), (0.06, -0.06), (0, 0.05)), strict=True):
        axes.text(corner[0] + x, corner[1] + y, name, ha="center", va="center")
    axes.plot(*np.array([_in_triangle(p) for p in members]).T, color=_BLACK, linewidth=0.7)
    path = np.linspace(0, 1, 41)[:, None] * np.log(members[0]) + np.linspace(1, 0, 41)[:, None] * np.log(members[1])
    between = np.exp(path - path.max(1, keepdims=True))
    between /= between.sum(1, keepdims=True)
    axes.plot(*np.array([_in_triangle(p) for p in between]).T, "--", color=_BLUE, linewidth=0.7)
    axes.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.12, 1.0), title="all answers to three classes")
    axes.axis("off")
