"""Strokes are where they were drawn, places lie over what they saw, and agreement is what counting by hand finds."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from torch import nn

from nutshell import models
from nutshell.explorers import looking_inside as inside


def drawn(*points: tuple[int, int]) -> torch.Tensor:
    """A thick line through points (row, column) on dark paper."""
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    for (row, column), (to_row, to_column) in pairwise(points):
        for t in torch.linspace(0, 1, 60):
            r, c = round(float(row + t * (to_row - row))), round(float(column + t * (to_column - column)))
            image[0, 0, r - 1 : r + 2, c - 1 : c + 2] = 255
    return image


@pytest.mark.parametrize(("name", "ends"), [
    ("level stroke", ((14, 4), (14, 23))), ("upright stroke", ((4, 14), (23, 14))),
    ("rising stroke", ((22, 5), (5, 22))), ("falling stroke", ((5, 5), (22, 22))),
])  # fmt: skip
def test_a_line_is_a_stroke_in_its_own_direction(name, ends):
    found = inside.strokes(drawn(*ends))
    assert found[name][0, 14, 14]
    most = max(inside.DIRECTIONS, key=lambda direction: int(found[direction].sum()))
    assert most == name and not found["loop"].any()


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(np.uint8, (1, 1, 28, 28)))
def test_turning_the_page_turns_the_directions(pixels):
    image = torch.from_numpy(pixels)
    before, after = inside.strokes(image), inside.strokes(image.rot90(1, (2, 3)))
    names = dict(zip(inside.CONCEPTS, inside.CONCEPTS, strict=True))
    turned = names | {"level stroke": "upright stroke", "upright stroke": "level stroke",
                      "rising stroke": "falling stroke", "falling stroke": "rising stroke"}  # fmt: skip
    for name, other in turned.items():
        apart = (before[name].rot90(1, (1, 2)) ^ after[other]).sum()
        assert apart <= 0.01 * 28 * 28  # a direction on the border between two may fall to either side


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))))
def test_loops_are_the_holes_that_scipy_fills(paper):
    found = inside._enclosed(torch.from_numpy(paper)).numpy()
    for one, expected in zip(found, paper, strict=True):
        assert (one == (ndimage.binary_fill_holes(~expected) & expected)).all()


def picker() -> nn.Sequential:
    """A LeNet-5-Caffe whose first units pass on the pixel in the middle of what they see."""
    network = models.build("lenet-5-caffe", seed=0).eval()
    with torch.no_grad():
        for layer in (network.conv1, network.conv2):
            layer.weight[0] = 0
            layer.weight[0, 0, 2, 2] = 1
            layer.bias[0] = 0
    return network


def test_places_of_the_first_layer_lie_over_their_pixels():
    image = torch.rand(2, 1, 28, 28)
    seen = inside.excitement(picker(), "conv1", image)[:, 0]
    torch.testing.assert_close(seen[:, 2:26, 2:26], image[:, 0, 2:26, 2:26])
    assert torch.isinf(seen[:, :2]).all() and torch.isinf(seen[:, 26:]).all()


def test_places_of_the_second_layer_lie_over_the_two_by_two_pixels_in_their_middle():
    image = torch.rand(2, 1, 28, 28)
    seen = inside.excitement(picker(), "conv2", image)[:, 0]
    pooled = nn.functional.max_pool2d(image, 2)[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(seen[:, 6:22, 6:22], pooled[:, 6:22, 6:22])
    assert torch.isinf(seen[:, :, 22:]).all()


def test_the_hook_is_gone_afterwards():
    network = picker()
    inside.excitement(network, "conv1", torch.rand(1, 1, 28, 28))
    assert not network.conv1._forward_hooks


@given(st.integers(1, 40), st.floats(0.01, 1))
def test_a_share_of_the_finite_places_is_excited(places, share):
    values = torch.full((1, 1, 1, 50), float("-inf"))
    values[..., :places] = torch.randperm(places).float()
    on = inside.excited(values, share)
    assert int(on.sum()) == max(1, round(share * places)) and not on[..., places:].any()


def test_agreement_is_what_counting_by_hand_finds():
    images = drawn((14, 4), (14, 23))
    network, inputs = picker(), images.float() / 255
    on = inside.excited(inside.excitement(network, "conv1", inputs))[0, 0]
    ink = inside.strokes(images)["ink"][0].clone()
    ink[:2] = ink[26:] = ink[:, :2] = ink[:, 26:] = False  # where no place has its middle
    scores = inside.agreement(network, "conv1", images, inputs)
    assert scores.shape == (20, len(inside.CONCEPTS))
    assert scores[0, -1] == pytest.approx(int((on & ink).sum()) / int((on | ink).sum()))


@pytest.mark.parametrize("name", inside.NETWORKS)
@pytest.mark.parametrize("layer", inside.PLACES)
def test_every_network_of_the_explorer_can_be_looked_into(name, layer):
    seen = inside.excitement(inside.network_of(name), layer, torch.rand(1, 1, 28, 28))
    assert seen.shape == (1, {"conv1": 20, "conv2": 50}[layer], 28, 28)


def test_the_explorer_says_in_words_what_it_draws():
    box = inside.units()
    box.children[2].value = 7
    assert "Unit 7 of conv1, dense" in box.children[-1].value and "alt=" in box.children[-1].value


def test_the_slider_ends_where_the_layer_does():
    box = inside.units()
    box.children[1].value = "conv2"
    assert box.children[2].max == 49
    box.children[2].value = 49
    box.children[1].value = "conv1"
    assert box.children[2].max == 19 and box.children[2].value == 19
