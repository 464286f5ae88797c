"""A picture of which weights a convolution has: all pairs of channels, the kernel of each as a small grid."""

from collections.abc import Mapping

import numpy as np
from IPython.display import HTML
from matplotlib.colors import ListedColormap
from torch import nn

from nutshell import plots

_NONE, _WEIGHT, _EDGE = 0, 1, 2


def weight_map(layer: nn.Conv2d, side: int = 3) -> np.ndarray:
    """Where a convolution has a weight: a grid of outputs (rows) and inputs (columns), each a square of pixels.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        Its kernel fits into the square, in whose middle it is drawn.
    side : int
        Pixels of a square, odd.

    Returns
    -------
    ndarray
        Shape ``(P·(side + 1) + 1, C·(side + 1) + 1)``: 1 for a weight, 0 for none, 2 for the lines between squares.

    Examples
    --------
    >>> drawn = weight_map(nn.Conv2d(4, 4, 3, groups=4))
    >>> drawn.shape, int((drawn == 1).sum())
    ((17, 17), 36)
    """
    outputs, per_group, height, width = layer.weight.shape
    step = side + 1
    drawn = np.full((outputs * step + 1, layer.in_channels * step + 1), _EDGE)
    top, left = (side - height) // 2, (side - width) // 2
    for p in range(outputs):
        group = p * layer.groups // outputs
        for c in range(layer.in_channels):
            square = np.full((side, side), _NONE)
            if group * per_group <= c < (group + 1) * per_group:
                square[top : top + height, left : left + width] = _WEIGHT
            drawn[1 + p * step : 1 + p * step + side, 1 + c * step : 1 + c * step + side] = square
    return drawn


def kernels(layers: Mapping[str, nn.Conv2d], columns: int = 3) -> HTML:
    """Draw the weights of several convolutions.

    Parameters
    ----------
    layers : mapping of str to torch.nn.Conv2d
        By title.
    columns : int
        Pictures in a row.

    Returns
    -------
    IPython.display.HTML
        The picture, with alternative text that says how many weights each has.
    """
    rows = -(-len(layers) // columns)
    panels = plots.axes(3.0 * columns, 3.1 * rows, rows=rows, columns=columns)
    colours = ListedColormap(["white", plots.PALETTE["blue"], "#dddddd"])
    counts = []
    for axes in np.ravel(panels):
        axes.set_visible(False)
    for axes, (title, layer) in zip(np.ravel(panels), layers.items(), strict=False):
        axes.set_visible(True)
        axes.imshow(weight_map(layer), cmap=colours, vmin=0, vmax=2, interpolation="nearest")
        axes.set(title=f"{title}: {layer.weight.numel():,}", xlabel=f"{layer.in_channels} inputs",
                 ylabel=f"{layer.out_channels} outputs", xticks=[], yticks=[])
        axes.grid(False)
        counts.append(f"{title} {layer.weight.numel():,}")
    return plots.as_html(np.ravel(panels)[0].figure, "Grids of kernels, outputs against inputs, in which every weight "
                         f"is a filled pixel. Weights: {', '.join(counts)}.")
