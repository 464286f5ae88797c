"""The explorers of unit 05: what a penalty's step does to a group, two ways to take it, a network with fewer neurons.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from nutshell import models, plots
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.training import evaluate

PENALTIES = {"length (group)": "group", "magnitudes (lasso)": "lasso", "squares (decay)": "decay"}
SCORES = {"in × out": "both", "incoming": "in", "at random": "random"}
_BLUE, _ORANGE, _GREEN, _BLACK = (plots.PALETTE[name] for name in ("blue", "orange", "green", "black"))


def proximal_step(points: np.ndarray, threshold: float, penalty: str = "group") -> np.ndarray:
    """Where one proximal step takes groups of weights: ``argmin_v ½‖v − w‖² + threshold · penalty(v)``.

    Parameters
    ----------
    points : ndarray
        Shape ``(N, d)``, one group a row.
    threshold : float
        At least 0.
    penalty : {"group", "lasso", "decay"}
        The group's length, the sum of its magnitudes, or half of its squared length.

    Examples
    --------
    >>> points = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> for penalty in ("group", "lasso", "decay"):
    ...     print(penalty, proximal_step(points, 1.0, penalty).round(2).tolist())
    group [[2.4, 3.2], [0.0, 0.0]]
    lasso [[2.0, 3.0], [0.0, 0.0]]
    decay [[1.5, 2.0], [0.15, 0.2]]
    """
    if penalty == "decay":
        return points / (1 + threshold)
    if penalty == "lasso":
        return np.sign(points) * np.maximum(np.abs(points) - threshold, 0)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.maximum(0, 1 - threshold / np.maximum(lengths, 1e-300))


def paths(start: float, goal: float, penalty: float, rate: float, steps: int) -> dict[str, np.ndarray]:
    """Lengths of one group while ``½(w − goal)² + penalty·|w|`` is made small, by subgradients and by proximal steps.

    Parameters
    ----------
    start, goal : float
        Where the group starts along its direction, and where the loss alone would have it.
    penalty, rate : float
        λ and the learning rate.
    steps : int
        At least 1.

    Returns
    -------
    dict of str to ndarray
        ``"subgradient"`` and ``"proximal"``, each of ``steps + 1`` values.

    Examples
    --------
    >>> found = paths(start=1.0, goal=0.5, penalty=1.0, rate=0.3, steps=20)
    >>> bool((found["subgradient"] == 0).any()), float(found["proximal"][-1])
    (False, 0.0)
    """
    found = {"subgradient": [start], "proximal": [start]}
    for _ in range(steps):
        w = found["subgradient"][-1]
        found["subgradient"].append(w - rate * (w - goal + penalty * float(np.sign(w))))
        w = found["proximal"][-1]
        w -= rate * (w - goal)
        found["proximal"].append(float(np.sign(w)) * max(0.0, abs(w) - rate * penalty))
    return {name: np.array(values) for name, values in found.items()}


def scores(network: nn.Module, layer: int, score: str = "both") -> Tensor:
    """How much each neuron of a hidden layer seems to matter, from the weights alone.

    Parameters
    ----------
    network : torch.nn.Module
        With layers ``fc1``, ``fc2``, ….
    layer : int
        Number of the hidden layer, from 1.
    score : {"both", "in", "random"}
        Length of the incoming weights times that of the outgoing ones, the first of them, or random numbers.
    """
    incoming = network.get_parameter(f"fc{layer}.weight").detach().norm(dim=1)
    if score == "random":
        return torch.rand(len(incoming), generator=torch.Generator().manual_seed(layer))
    outgoing = network.get_parameter(f"fc{layer + 1}.weight").detach().norm(dim=0)
    return incoming if score == "in" else incoming * outgoing


def with_fewer(network: nn.Module, widths: Sequence[int], score: str = "both") -> nn.Module:
    """The network with only the highest-scoring neurons of each hidden layer, and smaller matrices.

    Parameters
    ----------
    network : torch.nn.Module
        A multilayer perceptron of :func:`nutshell.models.mlp`.
    widths : sequence of int
        Neurons that stay in each hidden layer, at least 1.
    score : str
        As in :func:`scores`.

    Examples
    --------
    >>> small = with_fewer(models.build("mlp", sizes=(12, 8, 6, 3)), (4, 2))
    >>> [tuple(parameter.shape) for parameter in small.parameters()]
    [(4, 12), (4,), (2, 4), (2,), (3, 2), (3,)]
    """
    inputs = network.get_parameter("fc1.weight").shape[1]
    stay = [torch.arange(inputs)]
    stay += [scores(network, number, score).topk(width).indices.sort().values
             for number, width in enumerate(widths, start=1)]
    last = network.get_parameter(f"fc{len(widths) + 1}.bias")
    stay.append(torch.arange(len(last)))
    small = models.build("mlp", sizes=tuple(len(kept) for kept in stay))
    with torch.no_grad():
        for number in range(1, len(widths) + 2):
            rows, columns = stay[number], stay[number - 1]
            weight = network.get_parameter(f"fc{number}.weight")
            small.get_parameter(f"fc{number}.weight").copy_(weight[rows][:, columns])
            small.get_parameter(f"fc{number}.bias").copy_(network.get_parameter(f"fc{number}.bias")[rows])
    return small.eval()


def step() -> widgets.Widget:
    """Choose a penalty and its strength, and see where one proximal step takes groups of two weights."""
    knobs = {
        "penalty": widgets.ToggleButtons(options=PENALTIES, description="penalty"),
        "threshold": widgets.FloatSlider(0.4, min=0, max=1.5, step=0.05, description="threshold",
                                         continuous_update=False),
    }
    side = np.linspace(-1.4, 1.4, 10)  # no point on an axis
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)

    def draw(penalty: str, threshold: float) -> str:
        after = proximal_step(points, threshold, penalty)
        empty, thin = (after == 0).all(1), (after == 0).any(1)
        axes = plots.axes(4.8, 4.4)
        moves = after - points
        axes.quiver(*points.T, *moves.T, angles="xy", scale_units="xy", scale=1, width=0.003, color=_BLACK, alpha=0.5)
        for chosen, colour, marker, label in ((~thin, _BLUE, "o", "both weights left"),
                                              (thin & ~empty, _ORANGE, "s", "one weight left"),
                                              (empty, plots.PALETTE["vermilion"], "x", "group empty")):
            axes.plot(*points[chosen].T, marker, markersize=4, color=colour, label=f"{label}: {int(chosen.sum())}")
        axes.set(xlabel="first weight of the group", ylabel="second weight", aspect="equal")
        axes.figure.legend(loc="outside upper center", ncols=3, fontsize=8)
        words = (f"threshold {threshold:.2f}: of {len(points)} groups {int(empty.sum())} become empty, "
                 f"{int((thin & ~empty).sum())} lose one of their two weights")
        return captioned(words, plots.as_html(
            axes, f"Points in the plane, each a group of two weights, with arrows to where the step takes it; {words}."
        ))

    return explorer(draw, knobs)


def ways() -> widgets.Widget:
    """Move penalty and learning rate, and follow one group under subgradient and under proximal steps."""
    knobs = {
        "penalty": widgets.FloatSlider(0.8, min=0, max=1.5, step=0.05, description="penalty λ",
                                       continuous_update=False),
        "rate": widgets.FloatSlider(0.2, min=0.02, max=0.6, step=0.02, description="learning rate",
                                    continuous_update=False),
    }

    def draw(penalty: float, rate: float) -> str:
        found = paths(1.0, 0.5, penalty, rate, 40)
        axes = plots.axes(height=3.2)
        axes.plot(found["subgradient"], "o-", markersize=3, color=_ORANGE, label="subgradient")
        axes.plot(found["proximal"], "s-", markersize=3, color=_BLUE, label="proximal step")
        axes.axhline(max(0.0, 0.5 - penalty), color=_BLACK, linestyle="--", label="best value")
        axes.set(xlabel="step", ylabel="length of the group, with its sign", ylim=(-0.6, 1.1))
        axes.legend(ncols=3, loc="upper right")
        last = np.abs(found["subgradient"][-10:])
        zeros = int((found["proximal"] == 0).sum())
        words = (f"λ = {penalty:.2f}, learning rate {rate:.2f}: the last ten subgradient steps end between "
                 f"{last.min():.3f} and {last.max():.3f} away from zero, the proximal ones are exactly zero "
                 f"{zeros} times of {len(found['proximal'])}")
        return captioned(words, plots.as_html(axes, f"Length of one group against steps. {words}."))

    return explorer(draw, knobs)


def fewer_neurons(network: nn.Module, part: Split) -> widgets.Widget:
    """Choose how many neurons of the two hidden layers stay, and see the matrices, the parameters and the error.

    Parameters
    ----------
    network : torch.nn.Module
        A trained multilayer perceptron with two hidden layers.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    """
    layers = [network.get_parameter(f"fc{number}.weight").shape for number in (1, 2, 3)]
    before = sum(parameter.numel() for parameter in network.parameters())
    knobs = {
        "first": widgets.IntSlider(layers[0][0] // 2, 1, layers[0][0], description="first layer",
                                   continuous_update=False),
        "second": widgets.IntSlider(layers[1][0] // 2, 1, layers[1][0], description="second layer",
                                    continuous_update=False),
        "score": widgets.ToggleButtons(options=SCORES, description="kept by"),
    }

    def draw(first: int, second: int, score: str) -> str:
        small = with_fewer(network, (first, second), score)
        size = sum(parameter.numel() for parameter in small.parameters())
        error = evaluate(small, part)[1]
        axes = plots.axes(8, 2.9)
        after = [small.get_parameter(f"fc{number}.weight").shape for number in (1, 2, 3)]
        _matrices(axes, layers, after)
        names = {value: name for name, value in SCORES.items()}
        words = (f"{first} and {second} neurons kept by “{names[score]}”: {size:,} parameters instead of {before:,}, "
                 f"{before / size:.2f} times fewer, {error:.2f} % error on {len(part):,} images, nothing trained")
        return captioned(words, plots.as_html(
            axes, f"Three weight matrices as rectangles, drawn to scale, and inside each what is left. {words}."))

    return explorer(draw, knobs)


def _matrices(axes: Axes, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> None:
    """Rectangles to scale: columns are a layer's inputs, rows its outputs."""
    left, gap = 0.0, 60.0
    tallest = max(rows for rows, _ in before)
    for number, ((rows, columns), (less, fewer)) in enumerate(zip(before, after, strict=True), start=1):
        axes.add_patch(Rectangle((left, -rows), columns, rows, facecolor="none", edgecolor=_BLACK, linestyle="--",
                                 label="before" if number == 1 else None))
        axes.add_patch(Rectangle((left, -less), fewer, less, facecolor=_BLUE, alpha=0.6,
                                 label="left" if number == 1 else None))
        axes.text(left, 12, f"fc{number}: {less}×{fewer}", fontsize=8)
        left += columns + gap
    axes.set(xlim=(-10, left), ylim=(-tallest - 10, 60), aspect="equal", xlabel="inputs of the layers",
             ylabel="outputs")
    axes.set_xticks([])
    axes.set_yticks([0, -100, -200, -300], ["0", "100", "200", "300"])
    axes.grid(False)
    axes.legend(loc="lower right")
