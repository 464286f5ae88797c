"""Explorers for the lesson on frugal data: noise, steps downhill, cheaper pictures, turned roads, buffers, rates."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional

from nutshell import plots
from nutshell.explorers.common import captioned, explorer
from nutshell.resources import half_width

_BLUE, _ORANGE, _BLACK, _RED = (plots.PALETTE[name] for name in ("blue", "orange", "black", "vermilion"))
FILTERS, SIDE, STRIDE = 24, 5, 2  # PilotNet's first convolution
GREY = (0.299, 0.587, 0.114)
ROAD = (60 / 160, 135 / 160)  # rows of the track's frames that show the road


# Noise ---------------------------------------------------------------------------------------------------------------


def known_to(off: Sequence[float], on: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference on − off of paired measurements and the ends of its 95 % interval.

    Examples
    --------
    >>> [round(value, 2) for value in known_to([9.0, 11.0, 10.0], [7.0, 9.5, 7.5])]
    [-2.0, -3.24, -0.76]
    """
    differences = [b - a for a, b in zip(off, on, strict=True)]
    change = sum(differences) / len(differences)
    half = half_width(differences)
    return change, change - half, change + half


def noise(off: Sequence[float], on: Sequence[float], technique: str, unit: str = "ms") -> widgets.Widget:
    """Move the number of pairs: the interval of the mean difference, and the pairs that it is made from.

    Parameters
    ----------
    off, on : sequence of float
        Paired measurements, at least three.
    technique : str
        What is on.
    unit : str
        Of the measurements.
    """
    knobs = {"pairs": widgets.IntSlider(2, 2, len(off), description="pairs", continuous_update=False)}
    every = [known_to(off[:n], on[:n]) for n in range(2, len(off) + 1)]
    least, most = min(*off, *on), max(*off, *on)
    bottom, top = least - 0.1 * (most - least), most + 0.4 * (most - least)  # room for the legend

    def draw(pairs: int) -> str:
        change, low, high = every[pairs - 2]
        panels = plots.axes(10, 3.0, columns=2)
        numbers = range(1, pairs + 1)
        panels[0].plot(numbers, off[:pairs], "o", color=_BLUE, label="off")
        panels[0].plot(numbers, on[:pairs], "s", color=_ORANGE, label="on")
        panels[0].set(xlabel="pair", ylabel=f"a step ({unit})", ylim=(bottom, top))
        panels[0].legend(loc="upper right", ncols=2)
        counts = range(2, pairs + 1)
        lows, highs = zip(*(row[1:] for row in every[: pairs - 1]), strict=True)
        panels[1].fill_between(counts, lows, highs, color=_BLUE, alpha=0.25, label="95 % interval")
        panels[1].plot(counts, [row[0] for row in every[: pairs - 1]], color=_BLUE, label="mean difference")
        panels[1].errorbar([pairs], [change], [[change - low], [high - change]], fmt="o", color=_BLUE, capsize=4)
        panels[1].axhline(0, color=_BLACK, linestyle="--")
        panels[1].set(xlabel="pairs measured", ylabel=f"on − off ({unit})", xlim=(1.8, max(3, pairs) + 0.2))
        far = max(abs(value) for value in every[min(2, len(every) - 1)][1:])
        panels[1].set_ylim(-2 * far, 2 * far)
        panels[1].legend(loc="upper right")
        for panel in panels:
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        verdict = "less" if high < 0 else "more" if low > 0 else "noise: 0 lies within"
        words = (f"{technique}, {pairs} pairs: {change:+.3f} {unit} a step, known to lie from {low:+.3f} to "
                 f"{high:+.3f} {unit}: {verdict}")
        return captioned(words, plots.as_html(
            panels[0].figure, "Times of steps with the technique off and on, and the mean difference with its interval "
            f"against the number of pairs: a funnel that narrows. {words}."))

    return explorer(draw, knobs)


# Steps downhill ------------------------------------------------------------------------------------------------------


def descent_path(scale: float, offset: float, rate: float, steps: int = 40) -> np.ndarray:
    """Gradient descent on the squared error of a line through points whose inputs are ``scale · x + offset``.

    With mean-zero, unit-variance x the error of weight w and bias b is ``½((scale·w − 1)² + (offset·w + b)²)``, up to a
    constant: a round bowl at scale 1 and offset 0, and a long narrow valley at 255 and 128.

    Parameters
    ----------
    scale, offset : float
        Standard deviation and mean of the inputs.
    rate : float
        Learning rate.
    steps : int
        Steps from ``(0, 1)``.

    Returns
    -------
    ndarray
        Shape ``(steps + 1, 2)``: w·scale and b on the way, capped where it runs away.

    Examples
    --------
    >>> descent_path(1, 0, 1.0)[1].tolist()
    [1.0, 0.0]
    """
    w, b = 0.0, 1.0
    path = [(w * scale, b)]
    for _ in range(steps):
        shared = offset * w + b
        w, b = w - rate * (scale * (scale * w - 1) + offset * shared), b - rate * shared
        w, b = float(np.clip(w, -1e6, 1e6)), float(np.clip(b, -1e6, 1e6))
        path.append((w * scale, b))
    return np.array(path)


def descent() -> widgets.Widget:
    """Choose what the inputs look like and a learning rate: forty steps of gradient descent on a line's error."""
    inputs = {"mean 0, deviation 1": (1.0, 0.0), "0 … 1 (MNIST: mean 0.13)": (0.31, 0.13), "0 … 1, bright": (0.31, 0.7),
              "bytes (mean 33, deviation 79)": (79.0, 33.0)}
    knobs = {
        "kind": widgets.Dropdown(options=list(inputs), value="0 … 1, bright", description="inputs"),
        "exponent": widgets.FloatSlider(-0.5, min=-6, max=0.4, step=0.1, description="log₁₀ of rate",
                                        continuous_update=False),
    }

    def draw(kind: str, exponent: float) -> str:
        scale, offset = inputs[kind]
        path = descent_path(scale, offset, 10.0**exponent)
        curvature = np.linalg.eigvalsh([[scale**2 + offset**2, offset], [offset, 1.0]])
        axes = plots.axes(6.5, 4.0)
        across, up = np.meshgrid(np.linspace(-0.6, 2.6, 120), np.linspace(-2.8, 1.6, 120))
        error = 0.5 * ((across - 1) ** 2 + (offset * across / scale + up) ** 2)
        axes.contour(across, up, error, levels=[0.01, 0.05, 0.15, 0.4, 0.8, 1.5, 3], colors=_BLACK, linewidths=0.6)
        axes.plot(*path.T, ".-", color=_BLUE, label="40 steps")
        best = (1.0, -offset / scale)
        axes.plot(*best, "*", color=_RED, markersize=12, label="least error")
        axes.set(xlim=(-0.6, 2.6), ylim=(-2.8, 1.6), xlabel="weight × deviation of the input", ylabel="bias")
        axes.legend(loc="upper right")
        away = float(np.hypot(*(path[-1] - best)))
        ends = "runs away" if away > 10 or not np.isfinite(away) else f"ends {away:.2f} from the best"
        words = (f"Inputs {kind}, rate {10.0**exponent:.2g}: {ends}. The valley is "
                 f"{curvature[1] / curvature[0]:,.1f} times as steep across as along; rates up to "
                 f"{2 / curvature[1]:.2g} are stable")
        return captioned(words, plots.as_html(
            axes, f"Contours of the error over weight and bias, with the path of forty steps of descent. {words}."))

    return explorer(draw, knobs)


# What a picture costs ------------------------------------------------------------------------------------------------


def convolution_macs(channels: int, height: int, width: int) -> int:
    """Multiply-accumulates of PilotNet's first convolution, 24 filters of 5×5 with stride 2, on an image.

    Examples
    --------
    >>> convolution_macs(3, 66, 200)
    5468400
    """
    places = [(side - SIDE) // STRIDE + 1 for side in (height, width)]
    return FILTERS * channels * SIDE * SIDE * places[0] * places[1]


def cheaper(image: Tensor, channels: str, size: float, cut: bool) -> Tensor:
    """A picture with less in it: cut to the rows of the road, stripped of channels, rescaled; uint8 ``(C, H, W)``."""
    height = image.shape[1]
    if cut:
        image = image[:, round(ROAD[0] * height) : round(ROAD[1] * height)]
    if channels == "grey":
        image = (image.float() * torch.tensor(GREY)[:, None, None]).sum(0, keepdim=True).round().to(torch.uint8)
    elif channels != "colour":
        image = image[[("red", "green", "blue").index(channels)]]
    sides = [max(SIDE, round(side * size)) for side in image.shape[1:]]
    return functional.interpolate(image[None].float(), sides, mode="area")[0].round().to(torch.uint8)


def look(images: Tensor) -> widgets.Widget:
    """Strip channels, rescale and cut a frame: what is left to see, its bytes, and the work of a first layer.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 3, H, W)``, at least one.
    """
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="frame", continuous_update=False),
        "channels": widgets.Dropdown(options=["colour", "grey", "red", "green", "blue"], description="channels"),
        "size": widgets.Dropdown(options=[("whole", 1.0), ("a half", 0.5), ("a quarter", 0.25), ("an eighth", 0.125)],
                                 description="size"),
        "cut": widgets.Checkbox(False, description="cut to the road"),
    }

    def draw(number: int, channels: str, size: float, cut: bool) -> str:
        whole, less = images[number], cheaper(images[number], channels, size, cut)
        before, after = convolution_macs(*whole.shape), convolution_macs(*less.shape)
        figure = pictures([whole, less], [f"{whole.shape[0]}×{whole.shape[1]}×{whole.shape[2]}",
                                          f"{less.shape[0]}×{less.shape[1]}×{less.shape[2]}"])
        words = (f"{less.numel():,} bytes instead of {whole.numel():,}: {whole.numel() / less.numel():.1f}× fewer; "
                 f"a first layer of {FILTERS} filters does {after / 1e6:.2f} million MACs, not {before / 1e6:.2f}")
        return captioned(words, plots.as_html(figure, f"A frame as it was taken, and what is left of it. {words}."))

    return explorer(draw, knobs)


def pictures(images: Sequence[Tensor], titles: Sequence[str]) -> Figure:
    """Pictures side by side, colour or grey, each with a title.

    Parameters
    ----------
    images : sequence of Tensor
        uint8, shape ``(3, H, W)`` or ``(1, H, W)``, sizes may differ.
    titles : sequence of str
        One for each.
    """
    panels = np.atleast_1d(plots.axes(min(11.0, 3.4 * len(images)), 2.4, columns=len(images)))
    for axes, image, title in zip(panels, images, titles, strict=True):
        _image(axes, image, title)
    return panels[0].figure


def _image(axes: Axes, image: Tensor, title: str) -> None:
    axes.imshow((image.permute(1, 2, 0) if len(image) == 3 else image[0]).numpy(), cmap="gray", vmin=0, vmax=255)
    axes.set(title=title, xlabel="column (pixels)", ylabel="row (pixels)")
    axes.grid(False)


# Turned roads --------------------------------------------------------------------------------------------------------


def frames(images: Tensor, angles: Tensor, titles: Sequence[str] | None = None) -> Figure:
    """Frames of a camera, each with a line from the bottom that points where the wheel does.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 3, H, W)``, one to six.
    angles : Tensor
        Steering from −1 (left) to 1 (right), shape ``(N,)``.
    titles : sequence of str, optional
        The angles if left out.
    """
    titles = [f"{angle:+.2f}" for angle in angles.tolist()] if titles is None else titles
    figure = pictures(list(images), titles)
    height, width = images.shape[2:]
    for axes, angle in zip(figure.axes, angles.tolist(), strict=True):
        turned = np.radians(60 * float(np.clip(angle, -1, 1)))  # 25 degrees would hardly be seen
        length = 0.7 * height
        axes.plot([width / 2, width / 2 + length * np.sin(turned)], [height - 1, height - 1 - length * np.cos(turned)],
                  color=_RED, linewidth=3)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return figure


def turned(images: Tensor, angles: Tensor, per_width: float) -> widgets.Widget:
    """Mirror and move a frame; the steering is to be guessed before it is shown.

    Parameters
    ----------
    images, angles : Tensor
        As for :func:`frames`, at least one.
    per_width : float
        Change of the steering for a shift by the whole width.
    """
    width = images.shape[3]
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="frame", continuous_update=False),
        "mirror": widgets.Checkbox(False, description="mirror"),
        "shift": widgets.IntSlider(0, -width // 5, width // 5, description="move by", continuous_update=False),
        "answer": widgets.Checkbox(False, description="show the steering"),
    }

    def draw(number: int, mirror: bool, shift: int, answer: bool) -> str:
        image, angle = images[number], float(angles[number])
        moved = image.flip(-1) if mirror else image
        columns = [min(max(column - shift, 0), width - 1) for column in range(width)]
        now = (-angle if mirror else angle) + per_width * shift / width
        pair = torch.stack([image, moved[:, :, columns]])
        done = [*(["mirrored"] if mirror else []), *([f"moved by {shift} pixels"] if shift else [])]
        did = " and ".join(done) or "as it was"
        titles = [f"driver: {angle:+.2f}", f"{now:+.2f}" if answer else "?"]
        words = f"Frame {number}, {did}: steer {f'{now:+.2f}' if answer else 'how?'}"
        shown = frames(pair, torch.tensor([angle, now]), titles)
        if not answer:
            shown.axes[1].lines[0].set_visible(False)
        return captioned(words, plots.as_html(
            shown, f"A frame of the track with the driver's steering, and the same frame mirrored or moved. {words}."))

    return explorer(draw, knobs)


# Buffers -------------------------------------------------------------------------------------------------------------


def passing(count: int, places: int, seed: int = 0) -> list[int]:
    """In which order numbers leave a waiting room with so many places, if chance calls one whenever it is full.

    Examples
    --------
    >>> passing(4, 1), sorted(passing(50, 7)) == list(range(50))
    ([0, 1, 2, 3], True)
    """
    rng = np.random.default_rng(seed)
    room: list[int] = []
    left = []
    for number in range(count):
        room.append(number)
        if len(room) == places:
            left.append(room.pop(int(rng.integers(places))))
    return left + rng.permutation(room).astype(int).tolist()


def buffer(count: int = 600) -> widgets.Widget:
    """Move the places of a buffer: how well images that come sorted by class are mixed, and how many it holds.

    Parameters
    ----------
    count : int
        Images on the shelf; they stand there in six classes, one after the other.
    """
    knobs = {"places": widgets.IntSlider(20, 1, count, description="buffer", continuous_update=False)}
    colours = [plots.PALETTE[name] for name in ("blue", "orange", "green", "vermilion", "purple", "sky")]

    def draw(places: int) -> str:
        order = np.array(passing(count, places))
        kinds = order * 6 // count
        panels = plots.axes(10, 3.0, columns=2)
        for kind, colour in enumerate(colours):
            chosen = kinds == kind
            panels[0].plot(np.flatnonzero(chosen), order[chosen], ".", markersize=3, color=colour)
        panels[0].set(xlabel="place in the stream", ylabel="place on the shelf")
        batches = kinds[: count // 30 * 30].reshape(-1, 30)
        shares = [np.bincount(batch, minlength=6) / 30 for batch in batches]
        floor = np.zeros(len(batches))
        for kind, colour in enumerate(colours):
            part = np.array([share[kind] for share in shares])
            panels[1].bar(range(1, len(batches) + 1), 100 * part, bottom=100 * floor, color=colour, width=1.0)
            floor += part
        panels[1].set(xlabel="batch of 30", ylabel="share of each class (%)", ylim=(0, 100))
        panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        mixed = float(np.mean([(share > 0).sum() for share in shares]))
        words = (f"A buffer of {places}: {min(places + 30, count)} of {count} images in memory, {mixed:.1f} of 6 "
                 "classes in the mean batch")
        return captioned(words, plots.as_html(
            panels[0].figure, "Each image's place in the stream against its place on the shelf, a band as wide as the "
            f"buffer, and the classes in each batch as stacked bars. {words}."))

    return explorer(draw, knobs)


# Rates ---------------------------------------------------------------------------------------------------------------


def triangles(steps: int, half: int, decay: float) -> np.ndarray:
    """Heights of a triangular wave from 0 to 1, shape ``(steps,)``, each triangle ``decay`` times as high."""
    at = np.arange(steps)
    return np.interp(at % (2 * half), [0, half, 2 * half], [0, 1, 0]) * decay ** (at // (2 * half))


def rates(steps: int = 400) -> widgets.Widget:
    """Move the length and the decay of a cycle of learning rates."""
    knobs = {
        "half": widgets.IntSlider(50, 5, steps // 2, 5, description="half a cycle", continuous_update=False),
        "decay": widgets.FloatSlider(1.0, min=0.2, max=1.0, step=0.1, description="decay", continuous_update=False),
    }

    def draw(half: int, decay: float) -> str:
        axes = plots.axes(6.5, 3.0)
        wave = 0.05 + 0.95 * triangles(steps, half, decay)
        axes.plot(wave, color=_BLUE, label="triangles")
        axes.plot(0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps)), "--", color=_ORANGE, label="half a cosine")
        axes.set(xlabel="step", ylabel="share of the highest rate", ylim=(0, 1.3))
        axes.legend(loc="upper right", ncols=2)
        words = (f"{-(-steps // (2 * half))} cycle(s) of {2 * half} steps; in the mean {100 * wave.mean():.0f} % of "
                 "the highest rate")
        return captioned(words, plots.as_html(axes, "A triangular wave of learning rates over the steps of a training, "
                                                    f"beside half a cosine. {words}."))

    return explorer(draw, knobs)


def bars(rows: Sequence[tuple[str, float, float]], unit: str, noise_only: Sequence[bool]) -> Any:
    """Changes with their intervals as horizontal bars, those that may be noise in grey.

    Parameters
    ----------
    rows : sequence of (str, float, float)
        Name, low and high end of the interval.
    unit : str
        Of the change.
    noise_only : sequence of bool
        Whether the interval holds 0, for each row.

    Returns
    -------
    matplotlib Axes
    """
    axes = plots.axes(7, 0.8 + 0.42 * len(rows))
    for place, ((_, low, high), only) in enumerate(zip(rows, noise_only, strict=True)):
        middle = (low + high) / 2
        axes.errorbar(middle, -place, xerr=[[middle - low], [high - middle]], fmt="o" if only else "s", capsize=4,
                      color="#777777" if only else _BLUE)
    axes.axvline(0, color=_BLACK, linestyle="--")
    axes.set_yticks([-place for place in range(len(rows))], [name for name, *_ in rows])
    axes.set(xlabel=unit, ylim=(-len(rows) + 0.4, 0.6))
    return axes
