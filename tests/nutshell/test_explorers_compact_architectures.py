"""The explorers of unit 10 show numbers that agree with formulas and meter, and pictures with words."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import meter
from nutshell.explorers import compact_architectures as compact


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_octaves_follow_their_formulas(alpha):
    found = compact.octave_numbers(alpha)
    assert found["macs"] == pytest.approx(1 - 0.75 * alpha * (2 - alpha))
    assert found["activations"] == pytest.approx(1 - 0.75 * alpha)
    assert found["parameters"] == 1
    low, high = int(64 * round(alpha * 8) / 8), 64 - int(64 * round(alpha * 8) / 8)
    macs = sum(meter.count(nn.Conv2d(c, p, 3, padding=1, bias=False), (1, c, side, side)).macs
               for c, p, side in ((high, high, 8), (low, high, 4), (high, low, 4), (low, low, 4)) if c and p)
    assert compact.octave_numbers(low / 64)["macs"] == pytest.approx(macs / (9 * 64 * 64 * 64))


def test_halves_of_an_image_add_up_and_the_low_one_is_flat():
    image = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))
    low, rest = compact.halves(image)
    torch.testing.assert_close(low + rest, image)
    assert torch.equal(low[:, ::2, ::2], low[:, 1::2, 1::2]) and torch.equal(low[:, ::2, ::2], low[:, ::2, 1::2])
    torch.testing.assert_close(low[:, ::2, ::2], nn.functional.avg_pool2d(image[None], 2)[0])


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.integers(0, 9))
def test_coins_fall_as_often_as_they_should(keep, seed):
    cases = compact.thrown(keep, 60, seed)
    for case, share in enumerate(((1 - keep) ** 2, keep * (1 - keep), (1 - keep) * keep, keep**2)):
        bound = 6 * (max(share * (1 - share), 1e-4) / cases.numel()) ** 0.5
        assert abs(float((cases == case).double().mean()) - share) <= bound


def test_the_slope_in_words_is_autograds():
    x = torch.tensor(-1.0, requires_grad=True)
    (x * torch.sigmoid(2.5 * x)).backward()
    assert compact._slope(-1.0, 2.5) == pytest.approx(x.grad.item())


@pytest.mark.parametrize("name", ["coins", "swish", "octaves"])
def test_every_position_draws_a_picture_with_words(name):
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    box = {"coins": compact.coins, "swish": compact.swish,
           "octaves": lambda: compact.octaves(images, ["cat", "frog", "ship"])}[name]()
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
