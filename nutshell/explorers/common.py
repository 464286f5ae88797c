"""What every explorer is made of."""

from collections.abc import Callable, Mapping

import ipywidgets as widgets
from IPython.display import HTML

WIDTH = "420px"  # of a knob with its description: wide enough to aim at one of 300 ranks


def explorer(draw: Callable[..., str], knobs: Mapping[str, widgets.Widget]) -> widgets.Widget:
    """Knobs above a picture that follows them.

    Parameters
    ----------
    draw : callable
        Takes the knobs' values by name and returns HTML, such as that of :func:`nutshell.plots.as_html`.
    knobs : mapping of str to widget
        Sliders, menus and buttons, each with a ``value``.

    Returns
    -------
    ipywidgets.VBox
        The knobs in their order, then the picture.

    Examples
    --------
    >>> slider = widgets.IntSlider(3)
    >>> box = explorer(lambda rank: f"rank {rank}", {"rank": slider})
    >>> slider.value = 7
    >>> box.children[-1].value
    'rank 7'
    """
    picture = widgets.HTML()

    def update(change: object = None) -> None:
        picture.value = draw(**{name: knob.value for name, knob in knobs.items()})

    for knob in knobs.values():
        knob.style.description_width = "110px"
        if not isinstance(knob, widgets.ToggleButtons):  # buttons are as wide as their words
            knob.layout.width = WIDTH
        knob.observe(update, names="value")
    update()
    return widgets.VBox([*knobs.values(), picture])


def captioned(words: str, picture: HTML) -> str:
    """What an explorer's numbers come to, in bold, above its picture or table.

    Parameters
    ----------
    words : str
        HTML; one sentence, which a reader without the picture can do with.
    picture : IPython.display.HTML
        As :func:`nutshell.plots.as_html` and :func:`nutshell.explorers.tables.table` make it.

    Returns
    -------
    str
        What :func:`explorer` takes from ``draw``.

    Examples
    --------
    >>> captioned("rank 7", HTML("<img>"))
    '<p><b>rank 7</b></p><img>'
    """
    return f"<p><b>{words}</b></p>{picture.data}"
