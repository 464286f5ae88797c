"""The explorers of unit 01: a convolution's knobs, where six networks spend theirs, a battery at 30 images a second.

Each explorer is a widget around a plain function that returns the numbers shown, so that lessons and tests can use
the numbers without the widget.
"""

from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from torch import nn

from nutshell import meter, models, plots
from nutshell.explorers.common import explorer
from nutshell.meter import Report

NETWORKS = ("pilotnet", "alexnet", "googlenet", "resnet-50", "vgg-16", "yolov3")
QUANTITIES = ("parameters", "MACs", "activations")
KINDS = {"convolution": plots.PALETTE["blue"], "linear": plots.PALETTE["orange"], "other": plots.PALETTE["green"]}
FORMATS = {"fp32": "float32", "int8": "int8"}  # what the meter calls them
_BARS = 20  # layers that one picture can show and still be read


@lru_cache(maxsize=32)
def report_of(name: str) -> Report:
    """Count a network of :mod:`nutshell.models` for one image, without memory for its weights.

    Parameters
    ----------
    name : str
        Such as ``"alexnet"``.

    Examples
    --------
    >>> report_of("alexnet").total.macs
    724406816
    """
    return meter.count(models.build(name, device="meta"), (1, *models.INPUT_SHAPES[name]))


def kind_of(layer: Any) -> str:
    """``"convolution"``, ``"linear"`` or ``"other"``, for the colours of the bars."""
    return {"Conv2d": "convolution", "Linear": "linear"}.get(layer.kind, "other")


def shares(name: str) -> dict[str, dict[str, float]]:
    """Percent of a network's parameters, MACs and activations in convolutions, linear layers and others.

    Examples
    --------
    >>> round(shares("alexnet")["parameters"]["linear"], 1)
    96.2
    """
    report = report_of(name)
    found = {quantity: dict.fromkeys(KINDS, 0.0) for quantity in QUANTITIES}
    for layer in report.layers:
        for quantity in QUANTITIES:
            total = getattr(report.total, quantity.lower())
            found[quantity][kind_of(layer)] += 100 * getattr(layer, quantity.lower()) / total
    return found


def convolution_numbers(channels: int, outputs: int, kernel: int, stride: int, groups: int, side: int) -> dict:
    """Count one convolution on a square image, padded by half its kernel.

    Returns
    -------
    dict
        ``output side``, ``parameters``, ``MACs``, ``activations`` and ``energy (µJ)`` (fp32, weights from DRAM).

    Raises
    ------
    ValueError
        If ``groups`` doesn't divide the channels.

    Examples
    --------
    >>> convolution_numbers(channels=64, outputs=64, kernel=3, stride=1, groups=1, side=56)["MACs"]
    115605504
    """
    with torch.device("meta"):
        layer = nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, groups=groups)
    report = meter.count(layer, (1, channels, side, side))
    return {
        "output side": report.layers[0].output_shape[-1],
        "parameters": report.total.parameters,
        "MACs": report.total.macs,
        "activations": report.total.activations,
        "energy (µJ)": energy_uj(report),
    }


def energy_uj(report: Report, number: str = "fp32") -> float:
    """Energy of one inference in µJ by the model of :func:`nutshell.meter.energy`, an estimate for 45 nm."""
    return meter.energy(report, arithmetic=FORMATS[number]).total_uj


def battery_numbers(
    name: str, number: str, gflops: float, watt_hours: float, idle_milliwatts: float, fps: float
) -> dict:
    """Latency, power and hours of a network on a device that is fed by a camera and a battery.

    Parameters
    ----------
    name : str
        A network of :mod:`nutshell.models`.
    number : {"fp32", "int8"}
        Number format of weights and activations, for the energy.
    gflops : float
        Speed of the device in 10⁹ floating-point operations a second.
    watt_hours, idle_milliwatts, fps : float
        Charge of the battery, power drawn always, images of the camera in a second.

    Returns
    -------
    dict
        ``latency_ms``, ``frames_per_second``, ``milliwatts``, ``hours``, ``millijoules`` for one image.
    """
    report = report_of(name)
    seconds = report.flops / (gflops * 1e9)
    frames = min(fps, 1 / seconds)
    millijoules = energy_uj(report, number) / 1000
    milliwatts = millijoules * frames + idle_milliwatts
    return {"latency_ms": 1000 * seconds, "frames_per_second": frames, "milliwatts": milliwatts,
            "hours": 1000 * watt_hours / milliwatts, "millijoules": millijoules}


def plot_network(name: str, quantity: str = "parameters") -> Axes:
    """Bars of one quantity for each layer that has any of it, in the order of the network, coloured by kind.

    Networks with many layers are drawn by blocks, and a block has a bar of each kind, on top of one another.
    """
    report, key = report_of(name), quantity.lower()
    depth = next((d for d in (9, 3, 2, 1) if len(_blocks(report, key, d)) <= _BARS), 1)
    blocks = _blocks(report, key, depth)
    axes = plots.axes(height=1.4 + 0.2 * len(blocks))
    left = dict.fromkeys(blocks, 0.0)
    for kind, colour in KINDS.items():
        values = [block[kind] / 1e6 for block in blocks.values()]
        if any(values):
            axes.barh(list(blocks), values, left=list(left.values()), color=colour, label=kind)
        left = {block: left[block] + value for block, value in zip(blocks, values, strict=True)}
    total = sum(left.values())
    axes.set(xlabel=f"{quantity} (millions)", ylabel="layer" if depth == 9 else "block",
             title=f"{name}: {total:,.2f} million {quantity}")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.legend()
    return axes


def _blocks(report: Report, key: str, depth: int) -> dict[str, dict[str, float]]:
    blocks: dict[str, dict[str, float]] = {}
    for layer in report.layers:
        name = ".".join(layer.name.split(".")[:depth]) or "(network)"
        blocks.setdefault(name, dict.fromkeys(KINDS, 0.0))[kind_of(layer)] += getattr(layer, key)
    return {name: block for name, block in blocks.items() if any(block.values())}


def describe_network(name: str, quantity: str) -> str:
    """The picture of :func:`plot_network` in words."""
    part = shares(name)[quantity]
    report = report_of(name)
    largest = max(report.layers, key=lambda layer: getattr(layer, quantity.lower()))
    return (f"Bars of the {quantity} of {name} by layer, {getattr(report.total, quantity.lower()):,} in total: "
            f"{part['convolution']:.1f} % in convolutions, {part['linear']:.1f} % in linear layers. "
            f"The largest single layer is {largest.name} with {getattr(largest, quantity.lower()):,}.")


def plot_battery(numbers: dict, fps: float, idle_milliwatts: float) -> Axes:
    """Latency against the camera's interval, and what draws the power."""
    time, power = plots.axes(width=8.5, height=1.9, columns=2)
    time.barh([""], [numbers["latency_ms"]], color=plots.PALETTE["blue"])
    time.axvline(1000 / fps, color=plots.PALETTE["black"], linestyle="--", label=f"next image, {1000 / fps:.3g} ms")
    limits = (0.1, max(1e4, 2 * numbers["latency_ms"]))
    time.set(xscale="log", xlabel="latency of one image (ms)", ylabel="network", xlim=limits)
    computing = numbers["milliwatts"] - idle_milliwatts
    power.barh([""], [computing], color=plots.PALETTE["blue"], label="network")
    power.barh([""], [idle_milliwatts], left=[computing], color=plots.PALETTE["orange"], hatch="//", edgecolor="white",
               label="idle")
    power.set(xlabel="power (mW)")
    time.figure.legend(loc="outside upper center", ncols=3)
    return time


def convolution() -> widgets.Widget:
    """Move a convolution's knobs and see its parameters, MACs, activations and energy against where you started."""
    start = {"channels": 64, "outputs": 64, "kernel": 3, "stride": 1, "groups": 1, "side": 56}
    choices = {"channels": (1, 3, 16, 32, 64, 128, 256), "outputs": (16, 32, 64, 128, 256), "kernel": (1, 3, 5, 7, 11),
               "stride": (1, 2, 4), "groups": (1, 2, 4, 16, 64), "side": (14, 28, 56, 112, 224)}
    labels = {"channels": "channels in", "outputs": "channels out", "kernel": "kernel", "stride": "stride",
              "groups": "groups", "side": "image side"}
    knobs = {key: widgets.SelectionSlider(options=choices[key], value=start[key], description=labels[key],
                                          continuous_update=False) for key in choices}
    before = convolution_numbers(**start)

    def draw(**now: int) -> str:
        if now["channels"] % now["groups"] or now["outputs"] % now["groups"]:
            return f"<p>{now['groups']} groups don't divide {now['channels']} and {now['outputs']} channels.</p>"
        numbers = convolution_numbers(**now)
        names = list(numbers)[1:]
        ratios = [numbers[key] / before[key] for key in names]
        axes = plots.axes(height=2.6)
        axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=plots.PALETTE["blue"], label="now")
        axes.axvline(1, color=plots.PALETTE["black"], linestyle="--", label="at the start: 64 → 64, 3×3, side 56")
        limits = (min(0.01, *ratios) / 2, max(100, *ratios) * 2)
        axes.set(xscale="log", xlabel="times the layer at the start", ylabel="cost", xlim=limits)
        axes.invert_yaxis()
        axes.figure.legend(loc="outside upper center", ncols=2)
        words = ", ".join(f"{key} {round(value, 2):,}" for key, value in numbers.items())
        return f"<p>{words}</p>" + plots.as_html(axes, f"Bars of what the layer costs against the start: {words}.").data

    return explorer(draw, knobs)


def networks() -> widgets.Widget:
    """Choose a network and a quantity, and see which layers hold it."""
    knobs = {"name": widgets.Dropdown(options=NETWORKS, value="alexnet", description="network"),
             "quantity": widgets.ToggleButtons(options=QUANTITIES, description="bars of")}

    def draw(name: str, quantity: str) -> str:
        report, part = report_of(name), shares(name)
        rows = "".join(f"<tr><td>{key}</td><td>{getattr(report.total, key.lower()):,}</td>" +
                       "".join(f"<td>{part[key][kind]:.1f} %</td>" for kind in KINDS) + "</tr>" for key in QUANTITIES)
        table = f"<table><tr><th></th><th>total</th>{''.join(f'<th>{kind}</th>' for kind in KINDS)}</tr>{rows}</table>"
        return table + plots.as_html(plot_network(name, quantity), describe_network(name, quantity)).data

    return explorer(draw, knobs)


def battery() -> widgets.Widget:
    """Choose a network, a device and a battery, and see whether it keeps up with the camera and how long it lasts."""
    def slider(value: float, least: float, most: float, step: float, label: str) -> widgets.FloatSlider:
        return widgets.FloatSlider(value, min=least, max=most, step=step, description=label, continuous_update=False)

    knobs = {
        "name": widgets.Dropdown(options=NETWORKS, value="pilotnet", description="network"),
        "number": widgets.ToggleButtons(options=tuple(FORMATS), description="numbers"),
        "gflops": widgets.FloatLogSlider(value=10, min=-1, max=4, description="GFLOP/s", continuous_update=False),
        "watt_hours": slider(10, 0.5, 50, 0.5, "battery Wh"),
        "idle_milliwatts": slider(100, 0, 2000, 50, "idle mW"),
        "fps": slider(30, 1, 120, 1, "images/s"),
    }

    def draw(**now: Any) -> str:
        numbers = battery_numbers(**now)
        late = numbers["frames_per_second"] < now["fps"] * (1 - 1e-9)
        words = (f"{now['name']} in {now['number']}: {numbers['latency_ms']:,.1f} ms an image, "
                 f"{numbers['frames_per_second']:.3g} of {now['fps']:g} images a second"
                 f"{' (the rest are dropped)' if late else ''}, {numbers['millijoules']:,.2f} mJ an image, "
                 f"{numbers['milliwatts']:,.0f} mW, {numbers['hours']:,.1f} hours")
        note = "Estimated energy for 45 nm; a real device draws more than its arithmetic and its memory."
        picture = plots.as_html(plot_battery(numbers, now["fps"], now["idle_milliwatts"]), f"Bars: {words}.")
        return f"<p><b>{words}</b><br>{note}</p>{picture.data}"

    return explorer(draw, knobs)
