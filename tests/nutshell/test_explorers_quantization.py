"""The explorers of unit 06 show numbers that agree with the mathematics, and pictures with words."""

import math
import re
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import models
from nutshell.data.dataset import Split
from nutshell.explorers import quantization
from nutshell.training import evaluate


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 6, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(20) % 3, (0.0,), (1.0,))


@settings(max_examples=50, deadline=None)
@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(2, 8))
def test_a_grid_has_zero_and_reaches_the_ends(one, other, bits):
    low, high = sorted((one, other))
    grid = quantization.Grid.of(low, high, bits)
    assert float(grid.at(torch.zeros(1, dtype=torch.float64))) == 0
    reached = grid.ends
    assert reached[0] <= 0 <= reached[1]
    if low == high == 0:
        return  # any grid with a zero will do
    assert abs(reached[0] - min(low, 0)) <= grid.scale * (0.5 + 1e-9)
    assert abs(reached[1] - max(high, 0)) <= grid.scale * (0.5 + 1e-9)


def test_rounding_and_clipping_add_up():
    values = torch.randn(3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for bits, high in ((2, 1.0), (4, 3.0), (8, 10.0)):
        grid = quantization.Grid.of(-high, high, bits)
        found = grid.errors(values)
        assert found["rounding"] + found["clipping"] == pytest.approx(float(((grid.at(values) - values) ** 2).mean()))
        assert found["rounding"] <= grid.scale**2 / 4 * (1 + 1e-9)
    assert found["clipping"] == found["clipped"] == 0
    apart = quantization.Grid(1.0, 0, 2).errors(torch.tensor([3.25, 3.75], dtype=torch.float64))
    assert (apart["clipped"], apart["rounding"], apart["clipping"]) == (0.5, 0.03125, 0.28125)


def test_with_bits_leaves_the_network_alone_and_keeps_few_levels():
    network = models.build("mlp", sizes=(30, 8, 3))
    before = network.fc1.weight.clone()
    for by_output in (False, True):
        changed = quantization.with_bits(network, 3, by_output)
        assert torch.equal(network.fc1.weight, before)
        assert all(len(row.unique()) <= 7 for row in changed.fc1.weight)
        assert torch.equal(changed.fc1.bias, network.fc1.bias)
    assert (changed.fc1.weight - before).abs().amax(1).le(before.abs().amax(1) / 6 * 1.001).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-9, 0.01), st.integers(0, 255))
def test_requantised_is_the_exact_number_rounded(total, factor, zero):
    found = quantization.requantised(total, factor, zero)
    exact = Fraction(total * found["multiplier"], 2 ** found["shift"])
    assert found["rounded"] == math.floor(exact + Fraction(1, 2))
    assert found["level"] == min(255, max(0, found["rounded"] + zero))
    assert abs(found["product"]) < 2**62


def _explorer(name, part):
    return {
        "layer": lambda: quantization.layer_bits(models.build("mlp", sizes=(30, 8, 3)), part, shape=(6, 5)),
        "grid": lambda: quantization.grid(torch.randn(200, generator=torch.Generator().manual_seed(0)), "weight"),
        "requantisation": quantization.requantisation,
    }[name]()


@pytest.mark.parametrize("name", ["layer", "grid", "requantisation"])
def test_every_position_draws_something_new_with_words(part, name):
    *knobs, shown = _explorer(name, part).children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1]
        elif name == "requantisation" and hasattr(knob, "base"):
            knob.value = 0.001
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        if name == "requantisation":
            assert "clipped to a byte" in shown.value
        else:
            (text,) = re.findall(r'alt="([^"]+)"', shown.value)
            assert len(text) > 60 and "base64," in shown.value


def test_words_of_the_layer_say_bytes_and_error(part):
    network = models.build("mlp", sizes=(30, 8, 3))
    box = quantization.layer_bits(network, part, shape=(6, 5))
    box.children[0].value = 2
    words = re.sub("<img.*", "", box.children[-1].value)
    size = (30 * 8 + 8 * 3) / 4 + 2 * 4
    assert f"{size / 1000:,.1f} KB" in words and f"{4 * (30 * 8 + 8 * 3) / size:.2f} times smaller" in words
    assert f"{evaluate(quantization.with_bits(network, 2, False), part)[1]:.2f} % error" in words
