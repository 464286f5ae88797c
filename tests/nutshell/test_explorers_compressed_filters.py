"""The explorers of unit 09 show numbers that agree with the mathematics, and pictures with words."""

import re

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.explorers import compressed_filters as explorers


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 100))
def test_frequencies_are_scipys(side, count, seed):
    pictures = torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = explorers.Frequencies.of(pictures)
    np.testing.assert_allclose(found.coefficients, scipy.fft.dctn(pictures.numpy(), axes=(1, 2), norm="ortho"),
                               atol=1e-12)
    np.testing.assert_allclose(found.up_to(2 * side), pictures.numpy(), atol=1e-12)


def test_what_is_left_out_is_the_distance():
    picture = torch.rand(7, 7, dtype=torch.float64)
    found = explorers.Frequencies.of(picture)
    for band in range(13):
        away = float(((found.up_to(band) - picture.numpy()) ** 2).sum() / picture.square().sum())
        assert away == pytest.approx(found.energy()[band + 1 :].sum(), abs=1e-12)
    assert found.energy().sum() == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.sampled_from([1, 2, 4, 8, 16, 64]), st.floats(0.1, 1))
def test_buckets_by_band_spend_the_budget(side, filters, rate, falling):
    counts = explorers.by_band((filters, 2, side, side), rate, falling)
    members = [2 * filters * min(band + 1, 2 * side - 1 - band) for band in range(2 * side - 1)]
    assert len(counts) == 2 * side - 1
    assert all(1 <= count <= most for count, most in zip(counts, members, strict=True))
    total = 2 * filters * side**2 / rate
    assert abs(sum(counts) - max(total, len(counts))) <= len(counts)
    shares = [count / most for count, most in zip(counts, members, strict=True)]
    apart = [1 / most for most in members]  # rounding, and the one bucket that each band has
    assert all(b <= a + max(slack, other) * 1.01 for a, b, slack, other in
               zip(shares, shares[1:], apart, apart[1:], strict=False))


@pytest.mark.parametrize(("side", "size"), [(4, 1), (6, 3), (8, 8), (12, 4)])
def test_blocks_are_circulant(side, size):
    count = side // size
    vectors = np.random.default_rng(0).standard_normal((count, count, size))
    matrix = explorers.Blocks(side, size).matrix()
    rows = explorers.Blocks(side, size).matrix(rows_first=True)
    for i in range(count):
        for j in range(count):
            here = np.s_[i * size : (i + 1) * size, j * size : (j + 1) * size]
            np.testing.assert_array_equal(matrix[here], scipy.linalg.circulant(matrix[here][:, 0]))
            np.testing.assert_array_equal(rows[here], matrix[here].T)
            np.testing.assert_array_equal(matrix[here][:, 0], vectors[i, j])
    assert len(np.unique(matrix)) == explorers.Blocks(side, size).numbers()["stored"] == count**2 * size


def _explorer(name):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return {
        "picture": lambda: explorers.picture(images, torch.arange(5)),
        "buckets": lambda: explorers.buckets(images.flatten(1).float() / 255, pairs=20),
        "bands": lambda: explorers.bands(torch.randn(16, 8, 5, 5, generator=generator)),
        "circulant": lambda: explorers.circulant(side=8, layer=64),
    }[name]()


@pytest.mark.parametrize("name", ["picture", "buckets", "bands", "circulant"])
def test_every_knob_draws_another_picture_with_words(name):
    *knobs, shown = _explorer(name).children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = next(option for option in reversed(knob.options) if option != knob.value)
        elif isinstance(knob.value, bool):
            knob.value = not knob.value
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_words_say_what_is_drawn():
    box = _explorer("picture")
    box.children[1].value = 2
    assert "Digit 0 in bands 0 to 2: 6 coefficients instead of 64" in box.children[-1].value
    box = _explorer("circulant")
    box.children[0].value = 8
    assert "64×64 weights are 512 numbers, 8 times fewer" in box.children[-1].value
    box = _explorer("bands")
    box.children[0].value = 4
    assert "801 buckets for 3,200 weights" in box.children[-1].value
