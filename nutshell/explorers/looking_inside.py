"""What the units of LeNet-5-Caffe stand for: strokes as concepts, and where a unit is most excited.

A unit is one channel of a convolution. Network dissection (Bau, Zhou, Khosla, Oliva and Torralba 2017, arXiv
1704.05796) marks the places where it is most excited and compares them with marks of concepts that people have names
for. Digits are made of strokes, so the concepts here are directions of strokes, loops and ink, marked by arithmetic on
the image alone.
"""

import math
from functools import lru_cache

import ipywidgets as widgets
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact, checkpoints, data, plots, results
from nutshell.explorers.common import captioned, explorer

DIRECTIONS = {"level stroke": 0, "rising stroke": 45, "upright stroke": 90, "falling stroke": 135}  # degrees
CONCEPTS = (*DIRECTIONS, "loop", "ink")
PLACES = {"conv1": (1, 2), "conv2": (2, 6)}  # pixels between a layer's places, and pixels before the first
NETWORKS = {"dense": None, "pruned, shared, coded": "lenet-5-caffe", "binary weights": "lenet-5-caffe-bwn",
            "binary weights and inputs": "lenet-5-caffe-xnor"}  # fmt: skip
SHARE = 0.01  # of all places, those at which a unit counts as excited
_INK, _PAPER, _CLEAR = 128, 64, 0.5  # least grey of ink, most grey of paper, least clearness of a direction
_IMAGES, _SHOWN = 500, 8
_UNITS = {"conv1": 20, "conv2": 50}
_IN_BLOCKS = {"conv2": "block2.product"}  # an XNOR network's second convolution, its input scales applied


def strokes(images: Tensor) -> dict[str, Tensor]:
    """Mark where a concept is: strokes in four directions, the insides of loops, and ink.

    A stroke's direction is at right angles to the main direction of the grey values' gradients around a pixel, by the
    structure tensor; a loop is paper that can't be reached from the border.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 1, H, W)``, bright ink on dark paper.

    Returns
    -------
    dict of str to Tensor
        For each of :data:`CONCEPTS` bool masks of shape ``(N, H, W)``.

    Examples
    --------
    >>> images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    >>> images[0, 0, 12:15, 4:24] = 255
    >>> {name: int(mask[0, 13, 10]) for name, mask in strokes(images).items() if mask[0, 13, 10]}
    {'level stroke': 1, 'ink': 1}
    """
    grey = images.float()
    ink = images[:, 0] >= _INK
    angle, clearness = _directions(grey)
    found = {}
    for name, degrees in DIRECTIONS.items():
        away = (angle - math.radians(degrees) + math.pi / 2) % math.pi - math.pi / 2
        found[name] = ink & (clearness >= _CLEAR) & (away.abs() <= math.pi / 8)
    return found | {"loop": _enclosed(images[:, 0] < _PAPER), "ink": ink}


def _directions(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Direction of strokes in radians, anticlockwise from level, and how clear it is, from 0 to 1."""
    slope = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None]
    across, down = functional.conv2d(grey, slope, padding=1), functional.conv2d(grey, slope.mT, padding=1)

    def around(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, 5, stride=1, padding=2)[:, 0]

    xx, yy, xy = around(across**2), around(down**2), around(-across * down)  # rows count downwards
    gradient = torch.atan2(2 * xy, xx - yy) / 2
    clearness = ((xx - yy) ** 2 + 4 * xy**2).sqrt() / (xx + yy).clamp(min=1e-9)
    return gradient + math.pi / 2, clearness


def _enclosed(paper: Tensor) -> Tensor:
    """Paper that no walk over paper, upright and level, reaches from the border."""
    frame = functional.pad(paper, (1, 1, 1, 1), value=True)
    outside = torch.zeros_like(frame)
    outside[:, 0] = outside[:, -1] = outside[:, :, 0] = outside[:, :, -1] = True
    while True:
        grown = outside.clone()
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown[:, :, 1:] |= outside[:, :, :-1]
        grown[:, :, :-1] |= outside[:, :, 1:]
        grown &= frame
        if torch.equal(grown, outside):
            return (frame & ~outside)[:, 1:-1, 1:-1]
        outside = grown


def excitement(network: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """A convolution's outputs, laid over the image: each place's value on the pixels in the middle of what it saw.

    Parameters
    ----------
    network : torch.nn.Module
        A LeNet-5-Caffe, from a checkpoint or a file.
    layer : {"conv1", "conv2"}
        Which convolution.
    inputs : Tensor
        Shape ``(N, 1, 28, 28)``.

    Returns
    -------
    Tensor
        Shape ``(N, units, 28, 28)``; −∞ along the border, where no place has its middle.
    """
    kept: list[Tensor] = []
    modules = dict(network.named_modules())
    module = modules[layer if layer in modules else _IN_BLOCKS[layer]]
    handle = module.register_forward_hook(lambda module, given, output: kept.append(output.detach()))
    try:
        with torch.inference_mode():
            network(inputs)
    finally:
        handle.remove()
    step, first = PLACES[layer]
    spread = kept[0].repeat_interleave(step, dim=-2).repeat_interleave(step, dim=-1)
    after = inputs.shape[-1] - first - spread.shape[-1]
    return functional.pad(spread, (first, after, first, after), value=float("-inf"))


def excited(values: Tensor, share: float = SHARE) -> Tensor:
    """Mark the places of each unit, over all images, that are among its ``share`` most excited.

    Parameters
    ----------
    values : Tensor
        Of :func:`excitement`.
    share : float
        Of the places that aren't −∞.

    Returns
    -------
    Tensor
        bool, of the same shape.

    Examples
    --------
    >>> excited(torch.arange(8.0).reshape(2, 1, 2, 2), share=0.25).flatten().tolist()
    [False, False, False, False, False, False, True, True]
    """
    units = values.transpose(0, 1).flatten(1)
    places = int(torch.isfinite(units[0]).sum())
    thresholds = units.topk(max(1, round(share * places)), dim=1).values[:, -1]
    return values >= thresholds[None, :, None, None]


def agreement(network: nn.Module, layer: str, images: Tensor, inputs: Tensor) -> Tensor:
    """How well the excited places of each unit agree with each concept: intersection over union, over all images.

    Returns
    -------
    Tensor
        Shape ``(units, concepts)``, 0 to 1; concepts in the order of :data:`CONCEPTS`.
    """
    values = excitement(network, layer, inputs)
    on, inside = excited(values), torch.isfinite(values[:1, :1])
    scores = []
    for mask in strokes(images).values():
        seen = mask[:, None] & inside
        scores.append((on & seen).sum((0, 2, 3)) / (on | seen).sum((0, 2, 3)).clamp(min=1))
    return torch.stack(scores, dim=1)


def standing_for(scores: Tensor, least: float = 0.04) -> list[str | None]:
    """What each unit stands for: the concept with which it agrees best, or None below the least agreement.

    Parameters
    ----------
    scores : Tensor
        Of :func:`agreement`.
    least : float
        Intersection over union; 0.04 is what Bau and others ask for.

    Examples
    --------
    >>> standing_for(torch.tensor([[0.01, 0.3, 0, 0, 0, 0.1], [0.01, 0.02, 0, 0, 0, 0]]))
    ['rising stroke', None]
    """
    return [CONCEPTS[int(row.argmax())] if row.max() >= least else None for row in scores]


@lru_cache(maxsize=8)
def _looked_at(name: str, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Validation images, excited places and agreement of one of the networks."""
    part = data.mnist().validation
    chosen = slice(0, _IMAGES)
    network = network_of(name)
    images, inputs = part.images[chosen], part.inputs(chosen)
    return images, excited(excitement(network, layer, inputs)), agreement(network, layer, images, inputs)


def network_of(name: str) -> nn.Module:
    """One of :data:`NETWORKS`, in evaluation mode."""
    file = NETWORKS[name]
    if file is None:
        return checkpoints.load("lenet-5-caffe")
    return artefact.load(results.folder() / f"{file}.nut").network.eval()


def draw_unit(network: str, layer: str, unit: int) -> str:
    """The images on which a unit is excited at most places, with these places outlined, as HTML."""
    images, on, scores = _looked_at(network, layer)
    best = int(scores[unit].argmax())
    order = on[:, unit].sum((1, 2)).argsort(descending=True)[:_SHOWN]
    panels = plots.axes(8, 1.35, columns=_SHOWN)
    for axes, number in zip(panels, order.tolist(), strict=True):
        axes.imshow(images[number, 0].numpy(), cmap="gray_r")
        axes.contour(on[number, unit].float().numpy(), levels=[0.5], colors=[plots.PALETTE["vermilion"]])
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    words = (f"Unit {unit} of {layer}, {network}: best agreement with “{CONCEPTS[best]}”, {scores[unit, best]:.0%} of "
             f"the places that either marks.")  # fmt: skip
    return captioned(words, plots.as_html(panels[0], f"{_SHOWN} digits with the places outlined at which the unit is "
                                          f"most excited. {words}"))


def units() -> widgets.Widget:
    """Choose a network, a layer and a unit, and see what excites it."""
    layer = widgets.ToggleButtons(options=list(PLACES), description="layer")
    unit = widgets.IntSlider(3, 0, _UNITS["conv1"] - 1, description="unit", continuous_update=False)
    layer.observe(lambda change: setattr(unit, "max", _UNITS[change.new] - 1), names="value")
    return explorer(draw_unit, {
        "network": widgets.Dropdown(options=list(NETWORKS), description="network"), "layer": layer, "unit": unit,
    })  # fmt: skip
