"""Pictures in one style: colours that colour-blind readers can tell apart, labelled axes, and alternative text."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color universal design": eight colours that all common kinds of colour vision tell apart.
PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
_STYLE: dict[Any, Any] = {
    "axes.prop_cycle": plt.cycler(color=list(PALETTE.values())),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,  # bars hide the grid, not the other way round
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}


def axes(width: float = 6.5, height: float = 3.6, *, columns: int = 1, rows: int = 1, **options: Any) -> Any:
    """New axes in the course's style.

    Parameters
    ----------
    width, height : float
        Of the whole figure, in inches.
    columns, rows : int
        Panels of the figure.
    **options
        Passed to :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    matplotlib Axes, or an array of them if there are several panels
    """
    with plt.rc_context(_STYLE):
        figure, panels = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)  # shown by `show`, not a second time at the end of the cell
    return panels


def show(picture: Axes | Figure, alternative_text: str) -> None:
    """Show a picture with the text that a screen reader says in its place.

    Parameters
    ----------
    picture : Axes or Figure
        What to show.
    alternative_text : str
        One or two sentences: what is drawn and what is to be seen in it.

    Raises
    ------
    ValueError
        If the text is empty.
    """
    display(as_html(picture, alternative_text))


def as_html(picture: Axes | Figure, alternative_text: str) -> HTML:
    """The picture as an ``<img>`` element with its alternative text; see :func:`show`."""
    if not alternative_text.strip():
        raise ValueError("alternative_text is empty: say in a sentence what the picture shows.")
    buffer = io.BytesIO()
    figure = picture if isinstance(picture, Figure) else picture.get_figure(root=True)
    if figure is None:
        raise ValueError("These axes belong to no figure any more.")
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(alternative_text, quote=True)
    return HTML(f'<img src="data:image/png;base64,{data}" alt="{text}" style="max-width: 100%">')


def training_history(
    rows: Sequence[Mapping[str, float]], loss: str = "cross-entropy (nats)", error: str = "error (%)"
) -> Axes:
    """Losses on the left axis and the validation error, in percent, on the right one, by epoch.

    Parameters
    ----------
    rows : sequence of mapping
        As in :class:`nutshell.training.History`; at least one.
    loss, error : str
        What the axes are called.

    Returns
    -------
    matplotlib Axes
    """
    if not rows:
        raise ValueError("The history has no epoch yet: train first.")
    left = axes()
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["train_loss"] for row in rows], label="training loss")
    left.plot(epochs, [row["validation_loss"] for row in rows], "--", label="validation loss")
    left.set(xlabel="epoch", ylabel=loss)
    right = left.twinx()
    right.plot(epochs, [row["validation_error_percent"] for row in rows], ":", color=PALETTE["green"],
               label="validation error")
    right.set_ylabel(error)
    right.grid(False)
    lines = [*left.get_lines(), *right.get_lines()]
    left.legend(lines, [line.get_label() for line in lines])
    return left
