"""Weights of one bit, signs of activations and input scales: what comes back, what it costs and what is refused."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import artefact, budget, models
from nutshell.artefact import BadArtefact, Binary, CannotSave
from nutshell.artefact.binary import InputScales1d, InputScales2d, Sign
from nutshell.artefact.operations import Multiply
from nutshell.checks import Budget, Limit
from nutshell.data.dataset import Dataset, Split
from tests.fuzz import mutations

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def there_and_back(encoding: Binary, tensor: torch.Tensor, dtype: str = "float32") -> torch.Tensor:
    settings_, payload = encoding.encode(tensor)
    assert Binary.check(tuple(tensor.shape), dtype, settings_, len(payload)).parts == {"": tuple(tensor.shape)}
    return Binary.decode(memoryview(payload), tuple(tensor.shape), dtype, settings_)[""]


def binary(shape: tuple[int, ...], seed: int, alpha: torch.Tensor | float) -> torch.Tensor:
    signs = 2.0 * torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) - 1
    return signs * torch.as_tensor(alpha).reshape(-1, *(1,) * (len(shape) - 1))


# The encoding


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32), dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16"]))
def test_binary_weights_come_back_bit_for_bit_at_a_bit_each(shape, seed, dtype):
    alpha = torch.rand(shape[0], generator=torch.Generator().manual_seed(seed)).to(getattr(torch, dtype))
    tensor = binary(shape, seed, alpha).to(alpha.dtype)
    assert torch.equal(there_and_back(Binary(), tensor, dtype), tensor)
    assert len(Binary().encode(tensor)[1]) == alpha.itemsize * len(alpha) + -(-tensor.numel() // 8)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32), alpha=st.sampled_from([1.0, 0.5, 3e-3]))
def test_one_alpha_for_all_costs_one_number(shape, seed, alpha):
    tensor = binary(shape, seed, alpha)
    assert torch.equal(there_and_back(Binary(axis=None), tensor), tensor)
    assert len(Binary(axis=None, stored="float16").encode(tensor)[1]) == 2 + -(-tensor.numel() // 8)


def test_the_bits_are_those_of_packbits_and_alpha_is_rounded_only_where_asked():
    tensor = binary((3, 7), 5, torch.tensor([0.1, 0.2, 0.3]))
    settings_, payload = Binary(stored="float16").encode(tensor)
    assert payload == np.array([0.1, 0.2, 0.3], "<f2").tobytes() + np.packbits(tensor.numpy() > 0).tobytes()
    back = Binary.decode(memoryview(payload), (3, 7), "float32", settings_)[""]
    assert torch.equal(back, tensor.half().float()) and not torch.equal(back, tensor)


def test_zeros_are_a_filter_of_no_size():
    for zeros in (torch.zeros(2, 5), -torch.zeros(2, 5)):
        assert torch.equal(there_and_back(Binary(), zeros), torch.zeros(2, 5))


@pytest.mark.parametrize(("tensor", "encoding", "words"), [
    (torch.tensor([[0.5, -0.5], [1.0, 0.0]]), Binary(), "1 of 2 filters have weights of more than one size"),
    (torch.randn(4, 3), Binary(), "4 of 4 filters"),
    (binary((2, 3), 0, torch.tensor([1.0, 2.0])), Binary(axis=None), "it has"),
    (torch.full((1, 2), 1e6), Binary(stored="float16"), "too large for float16"),
    (torch.tensor([[float("inf")] * 2]), Binary(), "infinite"), (torch.tensor([[float("nan")] * 2]), Binary(), "NaN"),
])  # fmt: skip
def test_what_is_not_binary_is_refused_by_the_encoder(tensor, encoding, words):
    with pytest.raises(ValueError, match=words):
        encoding.encode(tensor)


@pytest.mark.parametrize("wrong", [dict(axis=1), dict(stored="int8"), dict(stored="float8")])
def test_wrong_choices_are_refused(wrong):
    with pytest.raises(ValueError, match="choose"):
        Binary(**wrong)


NAN, MINUS, HALF = (np.array([value], "<f4").tobytes() for value in (float("nan"), -1.0, 0.5))


@pytest.mark.parametrize(("written", "payload", "words"), [
    ({}, HALF + b"\xff\xf0", None), ({}, HALF + b"\xff\xf1", "behind the last"), ({}, HALF + b"\xff", "take 6"),
    ({}, HALF + b"\xff\xf0\x00", "take 6"), ({}, b"", "take 6"), ({}, NAN + b"\xff\xf0", "not a number"),
    ({}, MINUS + b"\xff\xf0", "below 0"), ({"axis": 0}, 3 * HALF + b"\xff\xf0", None),
    ({"axis": 1}, HALF + b"\xff\xf0", "axis"), ({"axis": False}, 3 * HALF + b"\xff\xf0", "axis"),
    ({"stored": "int8"}, b"\x01\xff\xf0", "possible are float32"), ({"stored": "float16"}, b"\x00\x38\xff\xf0", None),
    ({"stored": ["float16"]}, b"\x00\x38\xff\xf0", "stored as"), ({"bits": 1}, HALF + b"\xff\xf0", "unknown setting"),
    ({"alpha": [0.5]}, HALF + b"\xff\xf0", "unknown setting"), ({}, np.array([np.inf], "<f4").tobytes() + b"\xff\xf0",
                                                                "infinite"),
])  # fmt: skip
def test_hostile_files_are_refused_with_what_and_where(written, payload, words):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    header, _ = mutations.split(artefact.to_bytes(network, input_shape=(1, 2, 2)))
    header["tensors"]["1.weight"] = [[3, 4], len(payload), "binary", written]
    if words is None:
        weight = artefact.read(mutations.join(header, payload)).network.get_submodule("1").weight
        assert weight.abs().unique().tolist() == [0.5] and int((weight > 0).sum()) == 12
        return
    with pytest.raises(BadArtefact, match=words) as caught:
        artefact.read(mutations.join(header, payload))
    assert caught.value.where == "tensor 1.weight"


# The operations


class Xnor(nn.Module):
    """A convolution and a linear layer on signs, with input scales."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.sign, self.flatten = nn.BatchNorm2d(2), Sign(), nn.Flatten()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.scales, self.product = InputScales2d(3, 2, 1), Multiply()
        self.fc, self.row_scales = nn.Linear(64, 3), InputScales1d()
        with torch.no_grad():
            for layer in (self.conv, self.fc):
                layer.weight.copy_(binary(tuple(layer.weight.shape), 1, torch.rand(len(layer.weight))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        x = self.product(self.conv(self.sign(x)), self.scales(x))
        x = self.flatten(x)
        return self.fc(self.sign(x)) * self.row_scales(x)


def xnor_bytes(network: nn.Module) -> bytes:
    return artefact.to_bytes(network, input_shape=(2, 8, 8),
                             encodings={"conv.weight": Binary(), "fc.weight": Binary(stored="float16")})


def test_a_network_on_signs_comes_back_as_it_was_with_its_shapes_known_beforehand():
    network = Xnor().eval()
    found = artefact.read(xnor_bytes(network))
    x = torch.randn(5, 2, 8, 8)
    assert found.shapes[2:6] == ((2, 8, 8), (4, 4, 4), (1, 4, 4), (4, 4, 4)) and found.macs == 16 * 72 + 192
    assert torch.allclose(found.network(x), network(x), rtol=2e-3, atol=1e-3)
    assert torch.equal(found.network.conv.weight, network.conv.weight)
    assert {t.name: t.bytes for t in found.tensors if t.encoding == "binary"} == {
        "conv.weight": 16 + 9, "fc.weight": 6 + 24}
    assert xnor_bytes(found.network) == xnor_bytes(artefact.read(xnor_bytes(found.network)).network)


@settings(max_examples=40, deadline=None)
@given(channels=st.integers(1, 5), size=st.integers(3, 9), kernel=st.integers(1, 3), stride=st.integers(1, 3),
       seed=st.integers(0, 1000), data=st.data())  # fmt: skip
def test_input_scales_are_the_convolution_of_mean_sizes_with_a_box(channels, size, kernel, stride, seed, data):
    padding = data.draw(st.integers(0, kernel // 2))
    x = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(seed))
    box = torch.full((1, channels, kernel, kernel), 1 / (channels * kernel**2))
    expected = functional.conv2d(x.abs(), box, stride=stride, padding=padding)
    assert torch.allclose(InputScales2d(kernel, stride, padding)(x), expected, atol=1e-6)
    flat = x.flatten(1)
    assert torch.allclose(InputScales1d()(flat), functional.conv1d(
        flat.abs()[:, None], torch.full((1, 1, flat.shape[1]), 1 / flat.shape[1]))[:, 0], atol=1e-6)


def test_signs_are_never_zero_and_keep_the_dtype():
    x = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 3.0, float("-inf")])
    for dtype in (torch.float32, torch.float64):
        assert Sign()(x.to(dtype)).tolist() == [1, 1, 1, -1, 1, -1] and Sign()(x.to(dtype)).dtype == dtype


@pytest.mark.parametrize(("change", "words"), [
    ({"kernel_size": 11, "stride": 2, "padding": 1}, "wider"), ({"kernel_size": 3, "stride": 2, "padding": 2}, "half"),
    ({"kernel_size": 0}, "from 1"), ({"stride": 2}, "needs the option"), ({"kernel_size": 3, "dim": 1}, "no option"),
    ({"kernel_size": [3, 3, 3]}, "2 whole number"), ({"kernel_size": 3}, "don't fit together"),
])  # fmt: skip
def test_input_scales_that_fit_no_layer_are_refused(change, words):
    header, payloads = mutations.split(xnor_bytes(Xnor().eval()))
    node = next(node for node in header["nodes"] if node[0] == "scales")
    node[-1] = change
    with pytest.raises(BadArtefact, match=words):
        artefact.read(mutations.join(header, payloads))


def test_a_sign_that_trains_is_another_module_and_is_refused():
    class Through(Sign):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + (super().forward(x) - x).detach()

    with pytest.raises(CannotSave, match="Through"):
        artefact.to_bytes(nn.Sequential(nn.Flatten(), Through(), nn.Linear(4, 2)), input_shape=(1, 2, 2))


# A budget on binary weights


@pytest.fixture
def blank(monkeypatch):
    part = Split(torch.zeros(20, 1, 28, 28, dtype=torch.uint8), torch.arange(20) % 10, (0.0,), (1.0,))
    monkeypatch.setattr("nutshell.data.load", lambda name: Dataset("blank", part, part, part, tuple("0123456789")))
    monkeypatch.setattr(budget, "_kept", {})


BINARY = Budget("b", 4, "b.nut", "mnist", "lenet-5-caffe",
                (Limit("layer_magnitudes", 1, layer=2), Limit("layer_magnitudes", 1, layer=3)))  # fmt: skip


def test_a_filter_of_one_magnitude_is_binary_and_one_of_two_is_not(blank):
    network = models.build("lenet-5-caffe")
    for layer in (network.conv2, network.fc1):
        layer.weight.data = binary(tuple(layer.weight.shape), 2, torch.rand(len(layer.weight)))
    packed = {"conv2.weight": Binary(stored="float16"), "fc1.weight": Binary()}
    result = budget.judge(BINARY, artefact.to_bytes(network, input_shape=(1, 28, 28), encodings=packed))
    assert result.points == 4 and [row.value for row in result.rows] == [1, 1]
    plain = budget.judge(BINARY, artefact.to_bytes(network, input_shape=(1, 28, 28)))  # dense, and as binary as before
    assert plain.points == 4
    other = copy.deepcopy(network)
    other.fc1.weight.data[3, 5] *= 2
    result = budget.judge(BINARY, artefact.to_bytes(other, input_shape=(1, 28, 28)))
    assert result.points == 0 and [row.value for row in result.rows] == [1, 2]
    assert "other than +α and −α" in str(result)
