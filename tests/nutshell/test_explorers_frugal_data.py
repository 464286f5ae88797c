"""The explorers of unit 02 show numbers that agree with the mathematics, and pictures with words."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nutshell import meter, models
from nutshell.explorers import frugal_data as frugal

FRAMES = torch.randint(0, 256, (4, 3, 32, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ANGLES = torch.tensor([0.5, -0.25, 0.0, 1.0])
OFF = [10.0, 12.0, 11.0, 10.5, 11.5, 10.2]
ON = [9.0, 11.5, 10.5, 10.4, 10.0, 10.1]


def test_the_interval_is_scipys():
    interval = stats.ttest_rel(ON, OFF).confidence_interval(0.95)
    assert frugal.known_to(OFF, ON)[1:] == pytest.approx((interval.low, interval.high))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 3), st.floats(-2, 2), st.floats(0.05, 1.9))
def test_descent_arrives_below_the_stable_rate_and_not_above(scale, offset, share):
    steepest = np.linalg.eigvalsh([[scale**2 + offset**2, offset], [offset, 1.0]])[-1]
    best = np.array([1.0, -offset / scale])
    distances = np.hypot(*(frugal.descent_path(scale, offset, share / steepest, 300) - best).T)
    assert distances[-1] <= distances[0] * scale + np.abs(best).sum() + 1
    assert np.hypot(*(frugal.descent_path(scale, offset, 3 / steepest, 300)[-1] - best)) > 1e3


def test_a_round_bowl_takes_one_step():
    assert frugal.descent_path(1.0, 0.0, 1.0, 3)[1:].tolist() == [[1.0, 0.0]] * 3


def test_macs_are_those_of_the_meter():
    conv = models.build("pilotnet").conv1
    assert frugal.convolution_macs(3, 66, 200) == meter.count(conv, (1, 3, 66, 200)).total.macs


def test_cheaper_pictures():
    assert torch.equal(frugal.cheaper(FRAMES[0], "green", 1.0, cut=False), FRAMES[0, 1:2])
    assert frugal.cheaper(FRAMES[0], "grey", 0.5, cut=True).shape == (1, 8, 20)  # rows 12 to 26
    flat = torch.full((3, 32, 40), 77, dtype=torch.uint8)
    assert frugal.cheaper(flat, "grey", 0.25, cut=False).unique().tolist() == [77]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_whoever_passes_a_room_leaves_it_once(count, places, seed):
    order = frugal.passing(count, places, seed)
    assert sorted(order) == list(range(count))
    assert all(number - place < places for place, number in enumerate(order))


def test_triangles_decay():
    assert frugal.triangles(9, 2, 0.5).tolist() == [0, 0.5, 1, 0.5, 0, 0.25, 0.5, 0.25, 0]


EXPLORERS = {
    "noise": lambda: frugal.noise(OFF, ON, "It"), "descent": frugal.descent, "look": lambda: frugal.look(FRAMES),
    "turned": lambda: frugal.turned(FRAMES, ANGLES, 1.0), "buffer": lambda: frugal.buffer(120),
    "rates": lambda: frugal.rates(100),
}


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_position_draws_a_picture_with_words(name):
    *knobs, shown = EXPLORERS[name]().children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            values = [option[1] if isinstance(option, tuple) else option for option in knob.options]
            knob.value = next(value for value in reversed(values) if value != knob.value)
        elif isinstance(knob.value, bool):
            knob.value = not knob.value
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_the_steering_is_hidden_until_it_is_asked_for():
    box = frugal.turned(FRAMES, ANGLES, 1.0)
    mirror, shift, answer = box.children[1:4]
    mirror.value, shift.value = True, 4
    assert "steer how?" in box.children[-1].value
    answer.value = True
    assert f"{-0.5 + 4 / 40:+.2f}" in box.children[-1].value


def test_a_verdict_needs_the_whole_interval():
    box = frugal.noise(OFF, ON, "It")
    assert "noise: 0 lies within" in box.children[-1].value
    box.children[0].value = 6
    assert "ms: less" in box.children[-1].value


def test_bars_and_frames_have_labels():
    axes = frugal.bars([("a", -2, -1), ("b", -1, 1)], "ms", [False, True])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    figure = frugal.frames(FRAMES[:2], ANGLES[:2])
    assert [panel.get_title() for panel in figure.axes] == ["+0.50", "-0.25"]
    assert all(panel.get_xlabel() for panel in figure.axes)
