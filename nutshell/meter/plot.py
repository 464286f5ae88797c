"""A report as horizontal bars: where a network keeps its parameters and spends its work."""

from typing import TYPE_CHECKING

from nutshell.errors import WrongUse
from nutshell.meter.energy import energy
from nutshell.meter.report import LayerCount, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_BARS = 30  # a taller picture is put together by blocks
# Quantity: label of the axis with its unit, colour in nutshell.plots.PALETTE.
QUANTITIES = {
    "parameters": ("parameters (thousands)", "blue", 1e3),
    "macs": ("multiply-accumulates (millions)", "orange", 1e6),
    "activations": ("activations written (thousands)", "green", 1e3),
    "energy": ("energy (µJ, estimate)", "vermilion", 1e6),
}


def plot(report: Report, quantities: tuple[str, ...], depth: int | None = None) -> "Figure":
    """Draw a panel of horizontal bars, one for each layer, for every quantity.

    Parameters
    ----------
    report : Report
        From :func:`nutshell.meter.count`.
    quantities : tuple of str
        Of :data:`QUANTITIES`.
    depth : int, optional
        Puts layers together by the first parts of their path; chosen so that at most 30 bars are left if left out.

    Returns
    -------
    matplotlib Figure
        For :func:`nutshell.plots.show` with ``report.alternative_text()``.

    Raises
    ------
    WrongUse
        If a quantity isn't known.
    """
    from nutshell import plots

    unknown = [quantity for quantity in quantities if quantity not in QUANTITIES]
    if unknown or not quantities:
        raise WrongUse(f"quantities={quantities}: choose from {', '.join(QUANTITIES)}.")
    groups = _groups(report, depth)
    joules = _energies(report, groups) if "energy" in quantities else {}
    width, height = 3.4 * len(quantities) + 1, 0.8 + 0.24 * len(groups)
    panels = plots.axes(width, height, columns=len(quantities), squeeze=False, sharey=True)[0]
    names = [layer.name or "(network)" for layer in groups]
    for panel, quantity in zip(panels, quantities, strict=True):
        label, colour, unit = QUANTITIES[quantity]
        values = [(joules[layer.name] if quantity == "energy" else getattr(layer, quantity)) / unit for layer in groups]
        panel.barh(range(len(names)), values, color=plots.PALETTE[colour])
        panel.set(xlabel=label, yticks=range(len(names)), yticklabels=names)
    panels[0].set_ylabel("layer")
    panels[0].invert_yaxis()
    return panels[0].figure


def alternative_text(report: Report) -> str:
    """The report's main points in words.

    Examples
    --------
    >>> from nutshell import meter, models
    >>> print(alternative_text(meter.count(models.build("lenet-5-caffe"), (1, 1, 28, 28))))
    Bars by layer of Sequential: 431,080 parameters, fc1 having most of all (92.9 %);
    2,293,000 multiply-accumulates, conv2 having most of all (69.8 %).
    """
    groups = _groups(report, None)
    parts = []
    for quantity, name in (("parameters", "parameters"), ("macs", "multiply-accumulates")):
        total = getattr(report.total, quantity)
        text = f"{total:,} {name}"
        if total:
            values = {layer.name: getattr(layer, quantity) for layer in groups}
            top = max(values, key=lambda layer: values[layer])
            text += f", {top or 'the network itself'} having most of all ({100 * values[top] / total:.1f} %)"
        parts.append(text)
    return f"Bars by layer of {report.network}: {'; '.join(parts)}."


def _groups(report: Report, depth: int | None) -> tuple[LayerCount, ...]:
    if depth is not None:
        return report.grouped(depth)
    layers = tuple(layer for layer in report.layers if layer.parameters or layer.macs)
    if len(layers) <= _MOST_BARS:
        return layers
    depths = (report.grouped(depth) for depth in (3, 2, 1))
    return next((groups for groups in depths if len(groups) <= _MOST_BARS), report.grouped(1))


def _energies(report: Report, groups: tuple[LayerCount, ...]) -> dict[str, float]:
    layers = energy(report).layers
    inside = {g.name: [e for e in layers if e.name == g.name or e.name.startswith(f"{g.name}.")] for g in groups}
    return {name: sum(layer.total for layer in found) for name, found in inside.items()}
