"""The explorers of unit 03 show numbers that agree with the mathematics, and pictures with words."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from nutshell import models
from nutshell.data.dataset import Split
from nutshell.explorers import low_rank


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 6, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(20) % 3, (0.0,), (1.0,))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_numbers_of_a_rank(rows, columns, draw):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
    rank = draw.draw(st.integers(1, min(rows, columns)))
    spectrum = low_rank.Spectrum.of(weight)
    found = spectrum.numbers(rank)
    distance = float((spectrum.at(rank) - weight).norm() / weight.norm())
    assert found["distance"] == pytest.approx(distance, abs=1e-6)
    assert found["energy"] == pytest.approx(1 - distance**2, abs=1e-9)
    assert found["rate"] == pytest.approx(rows * columns / found["stored"])


def test_with_rank_leaves_the_network_alone():
    network = models.build("mlp", sizes=(30, 8, 3))
    before = network.fc1.weight.clone()
    changed = low_rank.with_rank(network, "fc1", low_rank.Spectrum.of(network.fc1.weight), 2)
    assert torch.equal(network.fc1.weight, before)
    assert int(torch.linalg.matrix_rank(changed.fc1.weight.detach(), rtol=1e-5)) == 2


def test_full_rank_has_the_networks_own_error(part):
    from nutshell.training import evaluate

    network = models.build("mlp", sizes=(30, 8, 3))
    assert low_rank.errors_by_rank(network, "fc1", part, (8,)) == {8: evaluate(network, part)[1]}


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (3, 7, 1, 2), (9, 2, 1, 1)])
def test_tucker_map_is_the_error_of_the_three_convolutions(shape):
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = low_rank.TuckerMap.of(kernel)
    a = torch.linalg.svd(kernel.transpose(0, 1).flatten(1))[0]
    b = torch.linalg.svd(kernel.flatten(1))[0]
    for rank_in in range(1, shape[1] + 1):
        for rank_out in range(1, shape[0] + 1):
            down, up = a[:, :rank_in], b[:, :rank_out]
            again = torch.einsum("pchw,ps,cr,qs,dr->qdhw", kernel, up, down, up, down)
            want = float((again - kernel).norm() / kernel.norm())
            assert found.distances[rank_out - 1, rank_in - 1] == pytest.approx(want, abs=1e-7)


def test_tucker_counts_are_those_of_the_meter():
    found = low_rank.TuckerMap.of(torch.randn(6, 4, 3, 3))
    images = torch.zeros(1, 4, 10, 10)
    kernels = [torch.zeros(2, 4, 1, 1), torch.zeros(5, 2, 3, 3), torch.zeros(6, 5, 1, 1)]
    macs = 0
    for kernel in kernels:
        images = functional.conv2d(images, kernel)
        macs += images.shape[2] * images.shape[3] * kernel.numel()
    assert found.weights(2, 5) == sum(kernel.numel() for kernel in kernels)
    assert found.macs(2, 5, 10) == macs


def _explorer(name, part):
    network = models.build("mlp", sizes=(30, 8, 3))
    return {
        "picture": lambda: low_rank.picture(part.images, part.labels),
        "layer": lambda: low_rank.layer_rank(network, part, shape=(6, 5)),
        "tucker": lambda: low_rank.tucker(torch.randn(6, 4, 3, 3), 10),
    }[name]()


@pytest.mark.parametrize("name", ["picture", "layer", "tucker"])
def test_every_position_draws_a_picture_with_words(part, name):
    box = _explorer(name, part)
    *knobs, shown = box.children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1]
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60
        assert "base64," in shown.value


def test_layer_words_say_bytes_and_error(part):
    box = _explorer("layer", part)
    box.children[0].value = 2
    words = re.sub("<img.*", "", box.children[-1].value)
    assert f"{2 * (30 + 8) * 4 / 1000:,.1f} KB" in words
    assert f"{30 * 8 / (2 * 38):.2f} times smaller" in words
    assert np.isfinite(float(re.search(r"([\d.]+) % error", words)[1]))


def test_a_digit_is_named_above_its_picture(part):
    box = low_rank.picture(part.images, part.labels)
    assert "Digit 0 at rank 4" in box.children[-1].value
    box.children[0].value = 4
    assert "Digit 1 at rank 4" in box.children[-1].value


def test_starts_are_told_apart_by_where_they_end():
    errors = low_rank._errors_of_starts((5, 4, 3), 2, 6, 30)
    found = sum(line[-1] <= 0.01 for line in errors)
    assert found >= 1
    assert all(later <= earlier + 1e-4 for line in errors for earlier, later in itertools.pairwise(line))
    text = low_rank.starts((5, 4, 3), 2, 6, 30).data
    assert f"from 6 starts: {found} fall to rounding error" in text and "base64," in text


def test_sliders_are_wide_enough_to_aim(part):
    for knob in low_rank.layer_rank(models.build("mlp", sizes=(30, 8, 3)), part, shape=(6, 5)).children[:-1]:
        assert int(knob.layout.width.removesuffix("px")) >= 400
