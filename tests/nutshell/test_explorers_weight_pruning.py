"""The explorers of unit 04 show numbers that agree with the mathematics, and pictures with words."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import models
from nutshell.data.dataset import Split
from nutshell.explorers import weight_pruning
from nutshell.training import evaluate


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 6, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(20) % 3, (0.0,), (1.0,))


@pytest.fixture
def network():
    return models.build("mlp", sizes=(30, 8, 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(0, 1))
def test_threshold_leaves_its_share_below(count, share):
    weight = torch.randn(count, generator=torch.Generator().manual_seed(count))
    least = weight_pruning.threshold_for([weight[: count // 2], weight[count // 2 :]], share)
    assert int((weight.abs() < least).sum()) == round(share * count)


def test_with_share_changes_a_copy_of_the_layers_meant(network):
    before = {name: weight.clone() for name, weight in weight_pruning.weights_of(network).items()}
    one = weight_pruning.weights_of(weight_pruning.with_share(network, "fc1.weight", 0.5))
    assert int((one["fc1.weight"] == 0).sum()) == 120 and torch.equal(one["fc2.weight"], before["fc2.weight"])
    both = weight_pruning.weights_of(weight_pruning.with_share(network, weight_pruning.ALL, 0.5))
    assert sum(int((weight == 0).sum()) for weight in both.values()) == 132
    assert all(torch.equal(weight, before[name]) for name, weight in weight_pruning.weights_of(network).items())


def test_nothing_pruned_is_the_networks_own_error(network, part):
    errors = weight_pruning.errors_by_share(network, weight_pruning.ALL, part, (0.0, 1.0))
    assert errors[0.0] == evaluate(network, part)[1]
    assert list(errors) == [0.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 10), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))
def test_narangs_threshold_ends_where_it_should(q, start, slow, steep):
    ramp, end = start + slow, start + slow + steep
    values = [weight_pruning.narang_threshold(step, q, start, ramp, end) for step in range(end + 5)]
    assert values[start] == 0 and values[end] == pytest.approx(q) and values[-1] == values[end]
    assert values[ramp + 1] - values[ramp] == pytest.approx(1.5 * (values[ramp] - values[ramp - 1]))


def test_half_of_the_cubic_is_seven_eighths():
    assert weight_pruning.cubic(0.5, 0.8) == pytest.approx(0.7)
    assert weight_pruning.cubic(-1, 0.8, 0.2) == pytest.approx(0.2)
    assert weight_pruning.cubic(2, 0.8, 0.2) == 0.8


def test_all_ramps_end_at_the_same_sparsity():
    sizes = torch.randn(5000, generator=torch.Generator().manual_seed(0)).abs().sort().values
    for values in weight_pruning.sparsities(sizes, 10, 60, 0.9, 100).values():
        assert values[0] == 0 and values[-1] == pytest.approx(0.9, abs=1e-3) and len(values) == 101


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_padding_of_independent_weights_is_as_expected(bits):
    density, limit = 0.1, 1 << bits
    weight = (torch.rand(200_000, generator=torch.Generator().manual_seed(0)) < density).float()
    found = weight_pruning.gap_cost(weight, bits, 6)
    expected = weight_pruning.expected_padding(density, limit) * found["numbers"]
    assert found["padding"] == pytest.approx(expected, rel=0.02)
    assert found["bytes"] == (found["numbers"] + found["padding"]) * (bits + 6) / 8


def test_padding_is_the_sum_over_the_runs():
    weight = torch.zeros(100)
    weight[[0, 9, 26, 90]] = 1.0  # runs of 0, 8, 16 and 63
    assert weight_pruning.gap_cost(weight, 3)["padding"] == 0 + 1 + 2 + 7


def _explorer(name, network, part):
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    return {
        "threshold": lambda: weight_pruning.threshold(network, part, shape=(6, 5)),
        "ramps": lambda: weight_pruning.ramps(weight),
        "gaps": lambda: weight_pruning.gaps(weight),
    }[name]()


@pytest.mark.parametrize("name", ["threshold", "ramps", "gaps"])
def test_every_knob_draws_another_picture_with_words(name, network, part):
    *knobs, shown = _explorer(name, network, part).children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1]
        elif isinstance(knob.value, tuple):
            knob.value = (knob.min, knob.max)
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_threshold_says_what_is_left(network, part):
    box = weight_pruning.threshold(network, part, shape=(6, 5))
    box.children[1].value = 50
    words = re.sub("<img.*", "", box.children[-1].value)
    assert "132 weights left" in words
    assert np.isfinite(float(re.search(r"([\d.]+) % error", words)[1]))


def test_a_ramp_of_no_length_still_draws(network, part):
    box = weight_pruning.ramps(torch.randn(100))
    box.children[0].value = (100, 100)
    box.children[0].value = (0, 0)
    assert "Ramp from step 0 to 2" in box.children[-1].value
