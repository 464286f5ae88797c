"""Networks at work in the notebook: name what one draws, steer along recorded frames, read a hand before a camera."""

import base64
import html
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import HTML
from PIL import Image, ImageDraw
from torch import Tensor, nn

from nutshell import regions
from nutshell.artefact import Artefact
from nutshell.data.albums import View, look, scale
from nutshell.data.dataset import Dataset, Split
from nutshell.explorers.browser import Camera, Sheet, Stroke
from nutshell.plots import PALETTE

Style = Literal["mnist", "quickdraw"]
Network = nn.Module | Artefact
Networks = Network | Mapping[str, Network]
SIDE = 28  # pixels of a sketch
PLAIN = Split(torch.zeros(0, 1, 28, 28, dtype=torch.uint8), torch.zeros(0).long(), (0.0,), (1.0,))  # pixels / 255
FINE = 8  # dots to a pixel, before a sketch is made small
# What is on the sheet at first: a seven, and a fish.
EXAMPLES: dict[Style, list[Stroke]] = {
    "mnist": [[(0.3, 0.25), (0.7, 0.25), (0.48, 0.85)], [(0.42, 0.55), (0.66, 0.55)]],
    "quickdraw": [[(0.75, 0.5), (0.6, 0.36), (0.4, 0.32), (0.2, 0.42), (0.12, 0.52), (0.22, 0.64), (0.42, 0.7),
                   (0.6, 0.64), (0.75, 0.5), (0.9, 0.34), (0.9, 0.68), (0.75, 0.5)], [(0.28, 0.47), (0.29, 0.48)]],
}  # fmt: skip


def rasterise(strokes: Sequence[Stroke], style: Style) -> np.ndarray:
    """Make a drawing look as a data set's drawings do, which decides whether a network can read it.

    MNIST's digits are scaled to 20 pixels and put with their centre of mass in the middle of 28×28 (LeCun et al.
    1998, section III.A). Those of Quick, Draw! fill 26 pixels of 28, with thinner lines.

    Parameters
    ----------
    strokes : sequence of strokes
        As :attr:`nutshell.explorers.browser.Sheet.strokes`; empty for an empty sheet.
    style : {"mnist", "quickdraw"}
        Whose.

    Returns
    -------
    numpy.ndarray
        uint8, shape ``(1, 28, 28)``, white on black.

    Examples
    --------
    >>> picture = rasterise([[(0.1, 0.1), (0.1, 0.6)]], "quickdraw")[0]
    >>> [int(side) for side in np.flatnonzero(picture.max(1) > 64)[[0, -1]]]
    [1, 26]
    """
    points = np.array([point for stroke in strokes for point in stroke], dtype=float).reshape(-1, 2)
    if not len(points):
        return np.zeros((1, SIDE, SIDE), np.uint8)
    span, line = (20, 2.6) if style == "mnist" else (26, 1.8)
    low, high = points.min(0), points.max(0)
    by = FINE * (span - line) / max(*(high - low), 0.05)
    middle = FINE * SIDE / 2
    image = Image.new("L", (FINE * SIDE, FINE * SIDE))
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        dots = [tuple(middle + by * (np.array(point) - (low + high) / 2)) for point in stroke]
        _line(pen, dots, FINE * line)
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return (_by_mass(pixels) if style == "mnist" else pixels)[None]


def _line(pen: ImageDraw.ImageDraw, dots: list[tuple[float, ...]], width: float) -> None:
    flat = [float(value) for dot in dots for value in dot]
    if len(dots) > 1:
        pen.line(flat, fill=255, width=round(width))
    for x, y in dots:  # round ends and joints
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)


def _by_mass(pixels: np.ndarray) -> np.ndarray:
    """Move a picture by whole pixels, so that its centre of mass comes to the middle; what leaves the edge is lost."""
    mass = pixels.sum(dtype=float)
    shifts = []
    for axis in (0, 1):
        centre = (pixels.sum(1 - axis) * np.arange(SIDE)).sum() / mass
        shifts.append(max(-4, min(4, round((SIDE - 1) / 2 - centre))))  # the border, so nothing comes round
    return np.roll(pixels, shifts, (0, 1))


class Answer(NamedTuple):
    """What a network says to a picture.

    Attributes
    ----------
    values : list of float
        Probabilities of the classes, or a single number such as the steering.
    milliseconds : float
        How long it took, one picture at a time.
    """

    values: list[float]
    milliseconds: float


def look_at(network: Network, pixels: np.ndarray, part: Split) -> Answer:
    """Show a network one picture of a data set, in the size that it takes.

    Parameters
    ----------
    network : torch.nn.Module or Artefact
        A module takes pictures as they are; what was read from a ``.nut`` file says which size it takes.
    pixels : numpy.ndarray
        uint8, shape ``(C, H, W)``.
    part : Split
        Whose ``mean`` and ``std`` inputs are standardised with.
    """
    if isinstance(network, Artefact):
        if tuple(pixels.shape) != network.input_shape:
            channels, height, width = network.input_shape
            pixels = scale(pixels, View((channels, height, width)))
        network = network.network
    if len(pixels) != len(part.mean):
        part = replace(part, mean=(sum(part.mean) / len(part.mean),), std=(sum(part.std) / len(part.std),))
    picture = torch.from_numpy(np.array(pixels))  # a copy: what was decoded can't be written to
    return ask(network, part.standardise(picture[None]))


def ask(network: nn.Module, inputs: Tensor) -> Answer:
    """Ask a network about one picture, ``(1, C, H, W)``.

    Examples
    --------
    >>> ask(nn.Flatten(), torch.zeros(1, 1, 1, 2)).values
    [0.5, 0.5]
    """
    network.eval()
    with torch.inference_mode():
        start = time.perf_counter()
        outputs = network(inputs).float().flatten()
        seconds = time.perf_counter() - start
    values = outputs if len(outputs) == 1 else outputs.softmax(0)
    return Answer(values.tolist(), 1000 * seconds)


def sketchpad(networks: Networks, classes: Sequence[str], style: Style = "mnist", part: Split | None = None
              ) -> widgets.Widget:
    """Draw, and see what networks make of it while you do.

    Parameters
    ----------
    networks : torch.nn.Module, Artefact, or mapping of str to them
        Take ``(1, 1, 28, 28)``; several, such as a large one and a small one, answer side by side.
    classes : sequence of str
        What their outputs stand for.
    style : {"mnist", "quickdraw"}
        Whose drawings they have learned; see :func:`rasterise`.
    part : Split, optional
        Whose ``mean`` and ``std`` inputs are standardised with; pixels / 255 if left out.

    Returns
    -------
    ipywidgets.HBox
        The sheet, and beside it what the networks are shown and what they say.
    """
    named, learned = _named(networks), PLAIN if part is None else part
    sheet = Sheet(strokes=EXAMPLES[style], width=0.08 if style == "mnist" else 0.04,
                  label="A sheet to draw on; beside it stands what the networks see and say")
    words = widgets.HTML()

    def follow(change: object = None) -> None:
        pixels = rasterise(sheet.strokes, style)
        rows = {name: look_at(network, pixels, learned) for name, network in named.items()} if pixels.any() else {}
        words.value = _seen(pixels, "what the networks see") + (
            _bars(rows, classes) if rows else "<p>Draw something.</p>")

    sheet.observe(follow, names="strokes")
    follow()
    return widgets.HBox([sheet, words])


def live(networks: Networks, data: Dataset, part: Literal["test", "validation", "train"] = "validation", *,
         camera: Callable[[np.ndarray], np.ndarray | None] | None = None, every: int = 200) -> widgets.Widget:
    """Play recorded pictures to networks, one after the other, and frames of a camera where there is one.

    Parameters
    ----------
    networks : torch.nn.Module, Artefact, or mapping of str to them
        One or several, side by side. What was read from a ``.nut`` file is given pictures in the size that it takes.
    data : Dataset
        With classes, or without for a steering angle.
    part : {"test", "validation", "train"}
        Which pictures.
    camera : callable, optional
        Turns a frame, uint8 ``(3, H, W)``, into a picture such as the data set's, or into ``None`` where there is
        nothing to be seen; :func:`hand` does for gestures. With it comes a button that starts the browser's camera.
    every : int
        Milliseconds from one recorded picture to the next.

    Returns
    -------
    ipywidgets.VBox
        Knobs, the picture, and what the networks say.
    """
    named, pictures = _named(networks), getattr(data, part)
    play = widgets.Play(min=0, max=len(pictures) - 1, interval=every)
    slider = widgets.IntSlider(0, 0, len(pictures) - 1, description="picture")
    widgets.jslink((play, "value"), (slider, "value"))
    screen = widgets.HTML()

    def show(pixels: np.ndarray, label: float | None) -> str:
        rows = {name: look_at(network, pixels, pictures) for name, network in named.items()}
        said = _bars(rows, data.classes, label) if data.classes else _wheels(rows, label)
        return _seen(pixels, "recorded" if label is not None else "the camera") + said

    def recorded(change: object = None) -> None:
        screen.value = show(pictures.images[slider.value].numpy(), float(pictures.labels[slider.value]))

    slider.observe(recorded, names="value")
    recorded()
    knobs: list[widgets.Widget] = [widgets.HBox([play, slider])]
    if camera is not None:
        knobs.append(_with_camera(camera, lambda pixels: show(pixels, None), screen))
    return widgets.VBox([*knobs, screen])


def _with_camera(see: Callable[[np.ndarray], np.ndarray | None], show: Callable[[np.ndarray], str],
                 screen: widgets.HTML) -> Camera:
    eye = Camera()

    def arrived(change: object = None) -> None:
        try:
            picture = see(look(eye.frame, View((3, eye.shape[1], eye.shape[0])), "camera"))
            screen.value = "<p>Nothing to be seen in the frame.</p>" if picture is None else show(picture)
        finally:
            eye.answered += 1  # whatever came of it, so that the next frame comes

    eye.observe(arrived, names="frame")
    return eye


def hand(frame: np.ndarray) -> np.ndarray | None:
    """A hand before the camera as a gesture's silhouette, found by its colour; ``None`` if there is none.

    Parameters
    ----------
    frame : numpy.ndarray
        uint8, shape ``(3, H, W)``.
    """
    return regions.silhouette(regions.skin(frame))


def _named(networks: Networks) -> Mapping[str, Network]:
    return networks if isinstance(networks, Mapping) else {"network": networks}


def _seen(pixels: np.ndarray, words: str) -> str:
    """A picture, enlarged so that its pixels can be told apart, with its caption."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    by = max(1, 224 // max(image.size))
    buffer = io.BytesIO()
    image.resize((by * image.width, by * image.height), Image.Resampling.NEAREST).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f"{image.width}×{image.height}"
    return ('<div style="display: inline-block; vertical-align: top; margin: 0 16px">'
            f'<img alt="{words}, {size} pixels" src="data:image/png;base64,{data}"><br>{words}, {size}</div>')


def _bars(rows: Mapping[str, Answer], classes: Sequence[str], label: float | None = None, most: int = 3) -> str:
    """The likeliest classes of each network as bars with their percentages; the right one is marked."""
    parts = []
    for name, answer in rows.items():
        best = sorted(range(len(classes)), key=lambda at: -answer.values[at])[:most]
        lines = "".join(
            f'<tr><th scope="row" style="text-align: left; font-weight: normal">{html.escape(classes[at])}'
            f'{" ✓" if at == label else ""}</th><td style="text-align: left"><div style="background: '
            f'{PALETTE["blue"]}; height: 12px; width: {round(160 * answer.values[at])}px; display: inline-block"></div>'
            f" {100 * answer.values[at]:.0f} %</td></tr>" for at in best)
        said = html.escape(f"{name}: {classes[best[0]]}")
        parts.append(f'<table><caption style="white-space: nowrap"><b>{said}</b>, {answer.milliseconds:.1f} ms'
                     f"</caption>{lines}</table>")
    return f'<div style="display: inline-block; vertical-align: top">{"".join(parts)}</div>'


def _wheels(rows: Mapping[str, Answer], label: float | None) -> str:
    """The steering of the driver and of each network on one scale from full left to full right."""
    found: list[tuple[str, float, float | None]] = [("driver", label, None)] if label is not None else []
    found += [(name, answer.values[0], answer.milliseconds) for name, answer in rows.items()]
    lines = []
    for number, (name, steering, milliseconds) in enumerate(found):
        colour = PALETTE["black"] if number == 0 and label is not None else PALETTE["blue"]
        at = 50 + 50 * max(-1.0, min(1.0, steering))
        taken = "" if milliseconds is None else f"{milliseconds:.1f} ms"
        lines.append(
            f'<tr><th scope="row" style="text-align: left; font-weight: normal">{html.escape(name)}</th><td><div style='
            f'"position: relative; width: 240px; height: 14px; background: linear-gradient(to right, #ddd 49.5%, #999 '
            f'49.5%, #999 50.5%, #ddd 50.5%)"><div style="position: absolute; left: calc({at:.1f}% - 4px); width: 8px; '
            f'height: 14px; background: {colour}"></div></div></td><td>{steering:+.2f}</td><td>{taken}</td></tr>')
    return ('<table style="display: inline-block; vertical-align: top"><caption>steering, from −1 (left) to +1 (right)'
            f"</caption>{''.join(lines)}</table>")


def picture_of(widget: widgets.Widget) -> HTML:
    """What a sketchpad or a live demo shows at the moment, for a page without a kernel."""
    shown = [child.value for child in widget.children if isinstance(child, widgets.HTML)]
    return HTML("".join(shown))
