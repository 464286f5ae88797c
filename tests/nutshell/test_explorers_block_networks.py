"""What blocks and networks of blocks cost, as unit 10's explorers say it, agrees with formulas and meter."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import meter, models
from nutshell.explorers import block_networks
from nutshell.models.blocks import block_network


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([8, 16, 64]), st.sampled_from([8, 32]), st.sampled_from([4, 8]))
def test_costs_are_those_of_the_formulas(channels, outputs, side):
    costs = block_networks.block_costs(channels, outputs, side)
    inner, half = outputs // 4, outputs // 2
    weights = {
        "plain": 9 * channels * outputs,
        "two plain": 9 * outputs * (channels + outputs),
        "bottleneck": channels * inner + 9 * inner**2 + inner * outputs,
        "fire": channels * inner + inner * half + 9 * inner * half,
        "separable": 9 * channels + channels * outputs,
        "flattened": outputs * (channels + 6),
        "grouped": 9 * channels * channels // 4 + channels * outputs,
    }
    assert set(costs) == set(block_networks.KINDS)
    for kind, expected in weights.items():
        assert costs[kind]["macs"] == expected * side**2, kind
    assert costs["octave"]["macs"] == costs["two plain"]["macs"] * 5 // 8
    assert costs["octave"]["parameters"] >= costs["two plain"]["parameters"] - 2 * outputs


def test_a_network_is_described_stage_by_stage():
    assert block_networks.described(("fire", "plain", "separable"), 8, 2) == [
        ("plain", 8), ("fire", 8), ("fire", 8), ("pool", 2), ("plain", 16), ("plain", 16), ("pool", 2),
        ("separable", 32), ("separable", 32), ("pool", 2)]  # fmt: skip


def test_numbers_of_a_network_are_the_meters():
    network = block_network(block_networks.described(("separable", "fire"), 8, 1))
    found, report = block_networks.numbers(network), meter.count(network.eval(), (1, 3, 32, 32))
    assert (found["parameters"], found["macs"]) == (report.parameters, report.macs)
    assert found["energy_uj"] == meter.energy(report).total_uj
    for quantity, total in (("macs", report.macs), ("parameters", report.parameters)):
        assert sum(block_networks.by_block(report, quantity).values()) == total
    assert list(block_networks.by_block(report)) == ["block1", "block2", "block4", "classifier"]


def test_the_time_is_the_median_of_the_runs_that_follow_the_warm_up(monkeypatch):
    seconds = [9, 9, 9, 9, 9, 9, 0.001, 0.010, 0.003, 0.030, 0.002, 0.020]  # two networks that take turns
    ticks = iter([tick for number, took in enumerate(seconds) for tick in (100 * number, 100 * number + took)])
    monkeypatch.setattr(block_networks.time, "perf_counter", lambda: next(ticks))
    seen, threads = [], torch.get_num_threads()
    watch = nn.Identity()
    watch.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    assert block_networks.milliseconds(watch, nn.Identity(), runs=3) == pytest.approx([2.0, 20.0])
    assert set(seen) == {1} and torch.get_num_threads() == threads


def test_words_compare_in_both_directions():
    assert block_networks._times(10, 5) == "2.0× less" and block_networks._times(5, 10) == "2.0× more"
    assert block_networks._times(10, 10.1) == "the same"


@pytest.mark.parametrize("name", ["blocks", "builder"])
def test_every_position_draws_a_picture_with_words(name, monkeypatch):
    monkeypatch.setattr(block_networks, "milliseconds", lambda *networks: [1.5] * len(networks))
    box = getattr(block_networks, name)()
    *knobs, shown = box.children
    for knob in knobs:
        before, start = shown.value, knob.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1][1] if isinstance(knob.options[-1], tuple) else knob.options[-1]
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60
        assert "base64," in shown.value
        knob.value = start


def test_the_builder_says_what_the_network_costs_and_remembers_what_was_tried():
    box = block_networks.builder()
    box.children[0].value = "separable"
    words = re.sub("<img.*", "", box.children[-1].value)
    report = meter.count(block_network(block_networks.described(("separable", "plain", "plain"), 32, 1)).eval(),
                         (1, 3, 32, 32))
    vgg = meter.count(models.build("vgg-small").eval(), (1, 3, 32, 32))
    assert f"{report.parameters:,} parameters ({block_networks._times(vgg.parameters, report.parameters)})" in words
    assert f"{report.macs / 1e6:.2f} million MACs" in words
    assert re.search(r"\d\.\d\d ms measured here", words)
    again = box.children[-1].value
    box.children[0].value = "plain"
    box.children[0].value = "separable"
    assert re.sub("<img.*", "", box.children[-1].value) == re.sub("<img.*", "", again)  # not timed anew
