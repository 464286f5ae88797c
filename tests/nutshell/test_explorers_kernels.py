"""The picture of kernels shows as many weights as a layer has, and where they are."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from nutshell.explorers import kernels


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 2), (3, 4), (1, 1), ((3, 1), 4), ((1, 3), 4)])
def test_every_weight_is_drawn_where_it_acts(kernel, groups):
    layer = nn.Conv2d(4, 8, kernel, groups=groups, bias=False)
    nn.init.ones_(layer.weight)
    drawn = kernels.weight_map(layer)
    assert int((drawn == 1).sum()) == layer.weight.numel()
    for c in range(4):
        image = torch.zeros(1, 4, *layer.kernel_size)
        image[0, c] = 1  # what reaches an output is the number of its weights for this input
        reached = layer(image)[0, :, 0, 0]
        seen = [int((drawn[4 * p + 1 : 4 * p + 4, 4 * c + 1 : 4 * c + 4] == 1).sum()) for p in range(8)]
        assert reached.tolist() == seen


def test_a_small_kernel_is_in_the_middle():
    drawn = kernels.weight_map(nn.Conv2d(1, 1, (3, 1)))
    assert np.array_equal(drawn[1:4, 1:4], [[0, 1, 0]] * 3)
    assert np.array_equal(np.argwhere(kernels.weight_map(nn.Conv2d(1, 1, 1)) == 1), [[2, 2]])


def test_the_picture_says_how_many_weights_there_are():
    shown = kernels.kernels({"whole": nn.Conv2d(4, 4, 3), "1×1": nn.Conv2d(4, 4, 1)}).data
    (text,) = re.findall(r'alt="([^"]+)"', shown)
    assert "whole 144, 1×1 16" in text and "base64," in shown
