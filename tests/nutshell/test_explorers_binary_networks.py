"""The explorers of unit 08 show numbers that agree with the mathematics, and pictures with words."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import models
from nutshell.data.dataset import Split
from nutshell.explorers import binary_networks
from nutshell.training import evaluate


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 6, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(20) % 3, (0.0,), (1.0,))


def test_with_signs_leaves_the_network_alone_and_keeps_one_size_a_filter():
    network = models.build("mlp", sizes=(30, 8, 3))
    before = network.fc1.weight.clone()
    for scales in binary_networks.SCALES:
        changed = binary_networks.with_signs(network, ["fc1"], scales)
        assert torch.equal(network.fc1.weight, before)
        assert torch.equal(changed.fc1.weight.sign(), torch.where(before < 0, -1.0, 1.0))
        assert torch.equal(changed.fc2.weight, network.fc2.weight)
        sizes = changed.fc1.weight.abs()
        assert all(len(row.unique()) == 1 for row in sizes)
    torch.testing.assert_close(sizes[:, 0], before.abs().mean(1))


def test_layer_signs_says_the_error_and_the_bytes_of_what_is_chosen(part):
    network = models.build("mlp", sizes=(30, 8, 3))
    box = binary_networks.layer_signs(network, part, shape=(6, 5))
    box.children[0].value, box.children[1].value = "all", binary_networks.SCALES[2]
    error = evaluate(binary_networks.with_signs(network, ["fc1", "fc2"], binary_networks.SCALES[2]), part)[1]
    words = re.sub("<img.*", "", box.children[-1].value)
    size = (240 + 24) / 8 + 4 * (8 + 3)
    assert f"{error:.2f} % error" in words and f"{size / 1000:,.1f} KB" in words
    assert f"{4 * (240 + 24) / size:.2f} times smaller" in words


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.1, 2), st.floats(0.001, 0.2), st.sampled_from([-1, 1]))
def test_no_sign_turns_with_the_misprinted_gradient_or_the_true_one(start, slope, rate, side):
    for gradient in ("as misprinted", "the true one"):
        for way in (-1, 1):
            path = binary_networks.paths(side * start, way * slope, rate, 50, gradient)
            assert (np.sign(path) == side).all()
    straight = binary_networks.paths(side * start, side * slope, rate, int(2 / (slope * rate)) + 2, "straight through")
    assert np.sign(straight[-1]) == -side


def test_misprinted_gradient_runs_away_below_zero():
    path = binary_networks.paths(-0.4, -1.0, 0.05, 40, "as misprinted")  # the loss wants +1
    assert (np.diff(path) <= 0).all() and path[-1] < -1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=10).filter(lambda row: max(map(abs, row)) > 0.01),
       st.floats(0, 5), st.data())
def test_distance_is_least_at_the_mean_size_with_the_weights_own_signs(row, scale, draw):
    weight = torch.tensor(row, dtype=torch.float64)
    best = binary_networks.distance(weight, float(weight.abs().mean()))
    assert best <= binary_networks.distance(weight, scale, draw.draw(st.integers(0, len(row)))) + 1e-9
    left = 1 - len(row) * float(weight.abs().mean()) ** 2 / float((weight**2).sum())
    assert best == pytest.approx(left, abs=1e-9)


def test_clocks_are_the_paper_s_without_packing_and_fewer_filters_pay_more():
    found = binary_networks.clocks(256 * 9, 64, 1, filters=0)
    assert found["faster"] == pytest.approx(float(Fraction(147_456, 2_368)))
    assert binary_networks.clocks(600, 64, 4, filters=10)["packing"] == 600 / 4 / 10
    shared = [binary_networks.clocks(256 * 9, 512, 32, filters)["faster"] for filters in (1, 8, 64, 512)]
    assert shared == sorted(shared) and shared[0] < 1 < shared[-1] < 16


@pytest.mark.parametrize("length", [1, 7, 12, 16])
def test_packed_product_is_that_of_signs(length):
    box = binary_networks.packed_product()
    box.children[0].value, box.children[1].value, box.children[2].value = length, 0b1011_0110_0101_1100, 0x0F3A
    a, b = ([1 if word >> bit & 1 else -1 for bit in range(length)] for word in (0b1011_0110_0101_1100, 0x0F3A))
    product = sum(x * y for x, y in zip(a, b, strict=True))
    assert f": {product}, the product" in box.children[-1].value
    box.children[3].value = "are left over in b"
    assert (", the product<" in box.children[-1].value) == (length == 16)


def _explorer(name, part):
    return {
        "signs": lambda: binary_networks.layer_signs(models.build("mlp", sizes=(30, 8, 3)), part, shape=(6, 5)),
        "training": binary_networks.sign_training,
        "scale": lambda: binary_networks.filter_scale(torch.linspace(-1, 1.2, 108).reshape(4, 3, 3, 3)),
        "bits": binary_networks.packed_product,
        "speed": binary_networks.speed_model,
    }[name]()


@pytest.mark.parametrize("name", ["signs", "training", "scale", "bits", "speed"])
def test_every_position_draws_a_picture_with_words(part, name):
    box = _explorer(name, part)
    *knobs, shown = box.children
    for knob in knobs:
        before, was = shown.value, knob.value
        if hasattr(knob, "options"):
            values = [each[1] if isinstance(each, tuple) else each for each in knob.options]
            knob.value = values[-1] if knob.value != values[-1] else values[0]
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before, knob.description
        if name == "bits":
            assert "<table>" in shown.value and "a xor b" in shown.value
        else:
            (text,) = re.findall(r'alt="([^"]+)"', shown.value)
            assert len(text) > 60 and "base64," in shown.value
        assert "nan" not in shown.value.split("<img")[0]
        knob.value = was


def test_knobs_are_wide_enough_to_aim():
    for knob in binary_networks.packed_product().children[:3]:
        assert int(knob.layout.width.removesuffix("px")) >= 400
