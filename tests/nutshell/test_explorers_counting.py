"""The explorers of unit 01: right numbers, pictures with labels, and knobs that do what they say."""

import ipywidgets as widgets
import pytest

from nutshell import models
from nutshell.explorers import counting
from nutshell.explorers.tables import table


def knob(explorer: widgets.Widget, label: str) -> widgets.Widget:
    return next(child for child in explorer.children if child.description == label)


def picture(explorer: widgets.Widget) -> str:
    return explorer.children[-1].value


def test_a_convolution_counts_as_by_hand():
    numbers = counting.convolution_numbers(channels=16, outputs=32, kernel=3, stride=2, groups=4, side=14)
    assert numbers["output side"] == 7
    assert numbers["parameters"] == 32 * 4 * 9 + 32
    assert numbers["MACs"] == 32 * 7 * 7 * 4 * 9
    assert numbers["activations"] == 32 * 7 * 7


def test_the_convolution_explorer_follows_its_knobs():
    explorer = counting.convolution()
    before = picture(explorer)
    knob(explorer, "stride").value = 4
    assert picture(explorer) != before and "output side 14" in picture(explorer)


def test_groups_that_do_not_divide_are_said_in_words():
    explorer = counting.convolution()
    knob(explorer, "channels in").value = 3
    knob(explorer, "groups").value = 4
    assert "4 groups don&#x27;t divide" in picture(explorer) or "4 groups don't divide 3" in picture(explorer)
    knob(explorer, "groups").value = 1
    assert "<img" in picture(explorer)


@pytest.mark.parametrize("name", counting.NETWORKS)
def test_shares_add_up_and_most_work_is_in_convolutions(name):
    for parts in counting.shares(name).values():
        assert sum(parts.values()) == pytest.approx(100)
    assert counting.shares(name)["MACs"]["convolution"] > 90


def test_shares_of_the_errata():
    assert round(counting.shares("alexnet")["parameters"]["linear"], 1) == 96.2
    assert round(counting.shares("vgg-16")["parameters"]["linear"], 1) == 89.4


@pytest.mark.parametrize("quantity", counting.QUANTITIES)
def test_every_bar_of_a_network_is_drawn_and_labelled(quantity):
    for name in ("alexnet", "googlenet"):
        axes = counting.plot_network(name, quantity)
        drawn = sum(bar.get_width() for bar in axes.patches) * 1e6
        assert drawn == pytest.approx(getattr(counting.report_of(name).total, quantity.lower()))
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_legend()
        assert len(axes.get_yticks()) <= 20


def test_the_network_explorer_shows_totals_and_words():
    explorer = counting.networks()
    assert "60,965,224" in picture(explorer) and 'alt="Bars of the parameters of alexnet' in picture(explorer)
    knob(explorer, "bars of").value = "MACs"
    knob(explorer, "network").value = "vgg-16"
    assert "15,470,264,320" in picture(explorer) and "MACs of vgg-16" in picture(explorer)


def test_a_battery_by_hand():
    slow = counting.battery_numbers("alexnet", "fp32", gflops=0.5, watt_hours=10, idle_milliwatts=0, fps=30)
    assert slow["latency_ms"] == pytest.approx(2 * 724_406_816 / 0.5e9 * 1000)
    assert slow["frames_per_second"] == pytest.approx(1000 / slow["latency_ms"])
    fast = counting.battery_numbers("alexnet", "fp32", gflops=1000, watt_hours=10, idle_milliwatts=500, fps=30)
    assert fast["frames_per_second"] == 30
    assert fast["milliwatts"] == pytest.approx(30 * fast["millijoules"] + 500)
    assert fast["hours"] == pytest.approx(10_000 / fast["milliwatts"])


def test_int8_costs_less_than_fp32():
    fp32, int8 = (counting.battery_numbers("pilotnet", number, 10, 10, 0, 30) for number in ("fp32", "int8"))
    assert int8["millijoules"] < fp32["millijoules"] / 3


def test_the_battery_explorer_says_when_images_are_dropped():
    explorer = counting.battery()
    assert "dropped" not in picture(explorer)
    knob(explorer, "network").value = "yolov3"
    assert "dropped" in picture(explorer)


def test_networks_are_those_that_the_models_know():
    assert set(counting.NETWORKS) <= set(models.INPUT_SHAPES)


def test_a_table_escapes_and_refuses_ragged_rows():
    assert "&lt;b&gt;" in table(["what"], [["<b>"]]).data
    with pytest.raises(ValueError, match="1 values for 2 headings"):
        table(["what", "how many"], [["weights"]])
