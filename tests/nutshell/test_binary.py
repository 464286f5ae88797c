"""Products of signs on packed bits: exactly the product of ±1, in every version and for every shape."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import binary
from nutshell.binary import packing, products
from nutshell.errors import WrongUse

KERNELS = tuple(binary.KERNELS)
few = st.one_of(st.integers(0, 20), st.sampled_from([31, 33, 64]))
numbers = st.one_of(st.integers(0, 200), st.sampled_from([63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257]))


def signs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int64), shape)


@settings(max_examples=80, deadline=None)
@given(few, numbers, few, st.integers(0, 99), st.sampled_from(KERNELS), st.integers(1, 3))
def test_the_product_is_exactly_that_of_plus_and_minus_one(rows, length, columns, seed, kernel, threads):
    left, right = signs(seed, rows, length), signs(seed + 1, columns, length)
    found = binary.product(binary.pack(left), binary.pack(right), kernel, threads)
    assert found.dtype == np.int32 and found.shape == (rows, columns)
    assert np.array_equal(found, left @ right.T)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_long_row_against_itself_and_its_opposite_fills_every_counter(kernel, sign):
    row = signs(0, 1, 70_001)
    assert binary.product(binary.pack(row), binary.pack(sign * row), kernel).tolist() == [[sign * 70_001]]


@pytest.mark.parametrize("length", [384, 333, 400, 300])  # the last of three words at a time is whole, or lacks some
@pytest.mark.parametrize("kernel", KERNELS)
def test_many_rows_are_cut_into_blocks_of_which_the_last_is_smaller(kernel, length, monkeypatch):
    monkeypatch.setattr(products, "_BLOCK", 64)
    monkeypatch.setattr(products, "_CACHE", 40)
    monkeypatch.setattr(products, "_WORTH", 1)
    left, right = signs(0, 45, length), signs(1, 23, length)
    right[:3] = -left[:3]  # all bits of their words differ, the most that can be counted
    for a, b in ((left, right), (right, left)):
        for threads in (1, 2, 3, 50):
            assert np.array_equal(binary.product(binary.pack(a), binary.pack(b), kernel, threads), a @ b.T)


def test_rows_that_are_views_and_weights_that_are_used_again():
    left, right = signs(0, 40, 100), binary.pack(signs(1, 9, 100))
    whole = binary.pack(left)
    some = binary.Packed(whole.words[::3], 100)
    for kernel in KERNELS:
        expected = left[::3] @ signs(1, 9, 100).T
        assert np.array_equal(binary.product(some, right, kernel), expected)
        assert np.array_equal(binary.product(some, right, kernel), expected)


@settings(max_examples=60, deadline=None)
@given(few, numbers, st.integers(0, 99), st.sampled_from(["numpy", "numba"]))
def test_packing_keeps_every_sign_and_fills_with_zeros(rows, length, seed, kernel):
    values = np.random.default_rng(seed).standard_normal((rows, length)).astype(np.float32)
    values[:, ::3] = 0.0
    values[:, ::5] = -0.0
    packed = binary.pack(values, kernel)
    assert packed.numbers == length and len(packed) == rows
    assert packed.words.dtype == np.uint64 and packed.words.shape == (rows, -(-length // 64))
    bits = np.unpackbits(packed.words.view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(bits[:, :length], values >= 0) and not bits[:, length:].any()


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.int64, np.float16])
def test_any_real_numbers_can_be_packed(dtype):
    values = signs(0, 3, 70).astype(dtype)
    for kernel in ("numpy", "numba"):
        assert np.array_equal(binary.pack(values, kernel).words, binary.pack(signs(0, 3, 70)).words)


def test_infinities_have_signs_in_both_ways_of_packing():
    values = np.array([[np.inf, -np.inf, np.nan] * 5], dtype=np.float32)
    assert np.array_equal(binary.pack(values, "numba").words, binary.pack(values).words)


def test_panels_are_aligned_and_filled():
    packed = binary.pack(signs(0, 19, 130))
    panels = packed.panels
    assert panels.shape == (3, 3, 8) and panels.ctypes.data % 64 == 0
    assert np.array_equal(panels.transpose(0, 2, 1).reshape(24, 3)[:19], packed.words)
    assert not panels.transpose(0, 2, 1).reshape(24, 3)[19:].any()
    assert packed.panels is panels
    assert packing.aligned(0, 3).shape == (0, 3)


def test_rows_of_different_lengths_and_unknown_kernels_are_refused():
    with pytest.raises(WrongUse, match="Rows of 3 and of 4 signs"):
        binary.product(binary.pack(signs(0, 2, 3)), binary.pack(signs(0, 2, 4)))
    with pytest.raises(WrongUse, match="kernel='cuda': choose one of plain, numpy, numba"):
        binary.product(binary.pack(signs(0, 2, 3)), binary.pack(signs(0, 2, 3)), "cuda")


def test_numpys_buffer_is_as_large_afterwards_as_before():
    with np.errstate():  # whatever this test does, others find what they had
        np.setbufsize(4096)
        binary.product(binary.pack(signs(0, 30, 500)), binary.pack(signs(1, 40, 500)), "numpy")
        assert np.getbufsize() == 4096


def sign(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x >= 0, 1.0, -1.0)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3), st.sampled_from([1, 2, 7, 8, 9, 20, 64]), st.integers(1, 9),
       st.sampled_from(KERNELS))
def test_a_packed_convolution_equals_torchs_on_signs_borders_too(data, images, channels, filters, kernel):
    size = st.integers(1, 3)
    window, stride = (data.draw(size), data.draw(size)), (data.draw(size), data.draw(size))
    padding = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    height, width = data.draw(st.integers(window[0], 7)), data.draw(st.integers(window[1], 7))
    layer = nn.Conv2d(channels, filters, window, stride, padding, bias=data.draw(st.booleans()))
    layer.weight.data = sign(layer.weight.data)  # α = 1, so that sums are whole
    if layer.bias is not None:
        layer.bias.data.round_()
    x = torch.randn(images, channels, height, width)
    x[torch.rand_like(x) < 0.1] = 0.0
    found = binary.PackedConv2d(layer, kernel)(x)
    assert torch.equal(found, layer(sign(x)).detach())
    again = binary.PackedConv2d(layer, kernel)(x.to(memory_format=torch.channels_last))
    assert torch.equal(again, found)


def test_one_layer_takes_images_of_several_sizes():
    layer = nn.Conv2d(5, 3, 3, padding=1, bias=False)
    layer.weight.data = sign(layer.weight.data)
    packed = binary.PackedConv2d(layer)
    for size in (4, 7, 4, 5):
        x = torch.randn(2, 5, size, size + 1)
        assert torch.equal(packed(x), layer(sign(x)).detach())


@pytest.mark.parametrize("kernel", KERNELS)
def test_alpha_is_the_mean_size_of_a_filters_weights(kernel):
    layer, x = nn.Linear(70, 6), torch.randn(4, 70)
    alpha = layer.weight.detach().abs().mean(1, keepdim=True)
    expected = functional.linear(sign(x), alpha * sign(layer.weight.detach()), layer.bias.detach())
    assert torch.allclose(binary.PackedLinear(layer, kernel)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "circular", "padding": 1},
                                     {"padding": "same"}])
def test_other_convolutions_are_refused(options):
    with pytest.raises(WrongUse, match="only one group, no dilation, and zeros for padding"):
        binary.PackedConv2d(nn.Conv2d(4, 4, 3, **options))
    assert binary.PackedConv2d(nn.Conv2d(4, 4, 3, padding="valid"))(torch.zeros(1, 4, 3, 3)).shape == (1, 4, 1, 1)


class Sign(nn.Module):
    def forward(self, x):
        return sign(x)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_network_on_bits_says_the_same_and_leaves_the_original(kernel):
    network = nn.Sequential(nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), Sign(), nn.Conv2d(12, 8, 3, padding=1),
                            nn.Flatten(), nn.BatchNorm1d(288), Sign(), nn.Linear(288, 5)).eval()
    for layer in (network[3], network[7]):
        weight = layer.weight.data
        weight.copy_(sign(weight) * weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True))
    before, x = copy.deepcopy(network.state_dict()), torch.randn(3, 1, 8, 8)
    packed = binary.on_bits(network, ["3", "7"], ["2", "6"], kernel=kernel, threads=2)
    assert torch.allclose(packed(x), network(x), rtol=1e-4, atol=1e-4)
    assert type(packed[3]) is binary.PackedConv2d and type(packed[2]) is nn.Identity and packed[3].threads == 2
    assert type(network[3]) is nn.Conv2d and type(network[2]) is Sign
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(WrongUse, match=r"1 is a BatchNorm2d: only nn\.Linear and nn\.Conv2d"):
        binary.on_bits(network, ["1"])


def test_numba_is_imported_when_it_is_asked_for_and_not_before():
    code = ("import sys, numpy as np\nfrom nutshell import binary\nrows = binary.pack(np.ones((2, 3)))\n"
            "binary.product(rows, rows)\nprint('numba' in sys.modules)\n"
            "binary.product(rows, rows, 'numba')\nprint('numba' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_numba_keeps_what_it_compiled_where_it_can_and_goes_without_where_it_cannot(monkeypatch):
    from nutshell.binary import compiled

    kept: list[bool] = []

    def njit(types, nogil, cache=False):
        kept.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled._compile(len, "void()") is len and kept == [True, False]
