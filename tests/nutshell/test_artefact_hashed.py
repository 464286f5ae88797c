"""Hashed and frequency-hashed tensors and circulant layers: what comes back, what it costs and what is refused."""

import math
import random
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, linalg
from torch import nn

from nutshell import artefact, meter, models
from nutshell.artefact import (
    BadArtefact,
    CannotSave,
    Codebook,
    Dense,
    FixedPoint,
    FrequencyHashed,
    Hashed,
    LowRank,
    Sparse,
)
from nutshell.artefact.circulant import BlockCirculant
from nutshell.artefact.encodings.hashing import drawn
from nutshell.artefact.topology import difference, topology_of_network
from nutshell.hashing import mix
from tests.fuzz import mutations

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
SEED = st.integers(0, (1 << 31) - 1)
IMAGE = (1, 28, 28)


def there_and_back(encoding, tensor: torch.Tensor, dtype: str = "float32") -> torch.Tensor:
    settings_, payload = encoding.encode(tensor)
    form = type(encoding).check(tuple(tensor.shape), dtype, settings_, len(payload))
    assert form.parts == {"": tuple(tensor.shape)}
    return type(encoding).decode(memoryview(payload), tuple(tensor.shape), dtype, settings_)[""]


def spread_out(values: torch.Tensor, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """V = ξ·w[h], one number after the other, in Python's own integers."""
    def f(x: int) -> int:
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = (x ^ (x >> shift)) * factor % (1 << 32)
        return x ^ (x >> 16)

    found = torch.empty(math.prod(shape), dtype=values.dtype)
    for place in range(len(found)):
        value = values[f(place ^ f(2 * seed % (1 << 32))) % len(values)]
        found[place] = -value if f(place ^ f((2 * seed + 1) % (1 << 32))) % 2 else value
    return found.reshape(shape)


# Hashed


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=SEED, buckets=st.integers(1, 40), data=st.data())
def test_hashed_tensors_come_back_bit_for_bit_from_their_buckets_alone(shape, seed, buckets, data):
    buckets = min(buckets, math.prod(shape))
    values = torch.randn(buckets, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    tensor = spread_out(values, shape, seed)
    settings_, payload = Hashed(buckets, seed).encode(tensor)
    assert len(payload) == 4 * buckets and set(settings_) <= {"buckets", "seed"}
    assert torch.equal(there_and_back(Hashed(buckets, seed), tensor), tensor)


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, seed=SEED, share=st.floats(0.01, 1))
def test_of_any_tensor_the_nearest_is_stored(shape, seed, share):
    """The rest is orthogonal to every bucket: its signed sum there is zero."""
    tensor = torch.randn(shape, dtype=torch.float64)
    buckets = max(1, int(share * tensor.numel()))
    rest = (tensor - there_and_back(Hashed(buckets, seed), tensor, "float64")).flatten()
    places = torch.arange(len(rest))
    sign = 1 - 2 * (mix(places, 2 * seed + 1) % 2)
    sums = torch.zeros(buckets, dtype=torch.float64).index_add_(0, mix(places, 2 * seed) % buckets, sign * rest)
    assert sums.abs().max() < 1e-12 * max(1, len(rest))


@pytest.mark.parametrize("values", [Dense("float16"), Codebook(4, coder="huffman"), FixedPoint(8)])
def test_buckets_may_be_stored_in_another_encoding(values):
    tensor = torch.randn(30, 20)
    nearest = there_and_back(Hashed(50, 3), tensor)
    found = there_and_back(Hashed(50, 3, values=values), tensor)
    assert (found - nearest).abs().max() < 0.5 and len(found.abs().unique()) <= 50
    settings_, payload = Hashed(50, 3, values=values).encode(tensor)
    assert settings_["values"][0] == values.name and len(payload) < 4 * 50


def test_the_known_hash_and_pieces_of_any_size(monkeypatch):
    assert mix(torch.arange(3), 0).tolist() == [0, 0x514E28B7, 0x30F4C306]  # MurmurHash3's finaliser of 0, 1, 2
    whole = list(drawn(1000, 5))
    monkeypatch.setattr("nutshell.artefact.encodings.hashing._AT_A_TIME", 7)
    pieces = list(drawn(1000, 5))
    assert len(whole) == 1 and len(pieces) == 143
    assert all(np.array_equal(whole[0][i], np.concatenate([piece[i] for piece in pieces])) for i in (1, 2))


def test_a_network_of_hashed_layers_is_as_small_as_its_buckets():
    network = models.build("lenet-300-100")
    encodings = {"fc1.weight": Hashed(3317, 1), "fc2.weight": Hashed(423, 2), "fc3.weight": Hashed(14, 3)}
    data = artefact.to_bytes(network, input_shape=IMAGE, encodings=encodings)
    assert 4 * (3317 + 423 + 14 + 410) < len(data) < 4 * 4164 + 200
    found = artefact.read(data)
    assert found.macs == 266_200 and type(found.network.fc1) is nn.Linear  # it runs as a dense one
    assert len(found.network.fc1.weight.abs().unique()) <= 3317
    assert artefact.to_bytes(found.network, input_shape=IMAGE, encodings=encodings) == data


# Frequencies


def coefficients(kernel: torch.Tensor) -> np.ndarray:
    return fft.dctn(kernel.double().numpy(), axes=(2, 3), norm="ortho")


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), seed=SEED,
       data=st.data())  # fmt: skip
def test_frequencies_are_those_of_the_dct_and_hashed_by_band(shape, seed, data):
    m, c, h, w = shape
    band = np.add.outer(np.arange(h), np.arange(w))
    sizes = [int((band == each).sum()) * m * c for each in range(h + w - 1)]
    buckets = [data.draw(st.integers(0, size)) for size in sizes]
    buckets[data.draw(st.integers(0, len(sizes) - 1))] = 1
    kernel = torch.randn(shape, dtype=torch.float64)
    found = there_and_back(FrequencyHashed(buckets, seed), kernel, "float64")
    before, after = coefficients(kernel), coefficients(found)
    places = torch.arange(kernel.numel()).reshape(shape)
    index, sign = mix(places, 2 * seed).numpy(), 1 - 2 * (mix(places, 2 * seed + 1) % 2).numpy()
    for each, count in enumerate(buckets):
        here = np.broadcast_to(band == each, shape)
        if not count:
            assert np.abs(after[here]).max() < 1e-12
        for bucket in range(count):
            members = here & (index % count == bucket)
            if members.any():
                expected = (sign * before)[members].mean()
                np.testing.assert_allclose((sign * after)[members], expected, atol=1e-12)


def test_kernels_of_that_form_come_back_and_cost_their_buckets():
    buckets = [10, 8, 6, 4, 2]
    once = there_and_back(FrequencyHashed(buckets, 4), torch.randn(20, 10, 3, 3))
    settings_, payload = FrequencyHashed(buckets, 4).encode(once)
    assert len(payload) == 4 * 30 and settings_ == {"buckets": buckets, "seed": 4}
    torch.testing.assert_close(there_and_back(FrequencyHashed(buckets, 4), once), once, rtol=0, atol=1e-6)


def test_pieces_of_filters_are_transformed_alike(monkeypatch):
    kernel = torch.randn(7, 5, 3, 4)
    whole = there_and_back(FrequencyHashed([3, 3, 3, 3, 3, 3]), kernel)
    monkeypatch.setattr("nutshell.artefact.encodings.frequency_hashed._AT_A_TIME", 30)
    assert torch.equal(there_and_back(FrequencyHashed([3, 3, 3, 3, 3, 3]), kernel), whole)


# Refusals


@pytest.mark.parametrize("build", [
    lambda: Hashed(0), lambda: Hashed(2.5), lambda: Hashed(3, seed=-1), lambda: Hashed(3, seed=1 << 31),
    lambda: Hashed(3, values=LowRank(1)), lambda: Hashed(3, values=Sparse()), lambda: FrequencyHashed([1], seed=True),
])  # fmt: skip
def test_wrong_choices_are_refused_at_once(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize(("tensor", "encoding", "what"), [
    ("fc1.weight", Hashed(999_999), "999,999 buckets for 235,200 numbers"),
    ("fc1.weight", FrequencyHashed([1, 1, 1]), "only a kernel"),
])  # fmt: skip
def test_what_does_not_fit_its_tensor_cannot_be_saved(tensor, encoding, what):
    with pytest.raises(CannotSave, match=what):
        artefact.to_bytes(models.build("lenet-300-100"), input_shape=IMAGE, encodings={tensor: encoding})


SMALL = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), BlockCirculant(8, 5, 3), nn.Linear(5, 2))
HEADER, PAYLOADS = mutations.split(artefact.to_bytes(SMALL, input_shape=(1, 4, 4), encodings={
    "0.weight": FrequencyHashed([1, 1, 1, 0, 0], seed=2), "3.weight": Hashed(4, seed=5)}))  # fmt: skip


@pytest.mark.parametrize(("tensor", "change", "what"), [
    ("3.weight", {"buckets": 0}, "buckets 0"), ("3.weight", {"buckets": 11}, "from 1 to 10"),
    ("3.weight", {"buckets": True}, "buckets True"), ("3.weight", {"buckets": [4]}, "buckets"),
    ("3.weight", {"buckets": 5}, "values: 16 bytes, but shape .5. in float32 takes 20"),
    ("3.weight", {"seed": -1}, "seed -1"), ("3.weight", {"seed": 1 << 31}, "seed"), ("3.weight", {"seed": 0.5}, "seed"),
    ("3.weight", {"more": 1}, "unknown setting"), ("3.weight", {"values": ["hashed", {}]}, "values in"),
    ("3.weight", {"values": "dense"}, "values must be a list"), ("3.weight", {"values": ["dense", []]}, "JSON object"),
    ("0.weight", {"buckets": 3}, "list of 5"), ("0.weight", {"buckets": [1, 1, 1, 0]}, "list of 5"),
    ("0.weight", {"buckets": [3, 0, 0, 0, 0]}, "band 0: must be from 0 to 2"),
    ("0.weight", {"buckets": [1, 1, 1, -1, 1]}, "band 3"), ("0.weight", {"buckets": [0, 0, 0, 0, 0]}, "at least one"),
    ("0.weight", {"buckets": [1, 1, 1, 0, 1]}, "values: 12 bytes"),
    ("0.weight", {"buckets": [1, 1, 1, 0, False]}, "list of 5"),
])  # fmt: skip
def test_hostile_settings_are_refused(tensor, change, what):
    table = {**HEADER["tensors"]}
    entry = list(table[tensor])
    entry[3] = entry[3] | change
    table[tensor] = entry
    with pytest.raises(BadArtefact, match=what) as refused:
        artefact.read(mutations.join(HEADER | {"tensors": table}, PAYLOADS))
    assert refused.value.where == f"tensor {tensor}"


@pytest.mark.parametrize(("options", "what"), [
    ({"in_features": 9}, "takes 9 features, its input has 8"), ({"in_features": 7}, "takes 7 features"),
    ({"in_features": 10}, "first columns of 3 numbers for 10 inputs"), ({"out_features": 7}, "7 outputs"),
    ({"in_features": 1 << 40}, "from 1 to"), ({"out_features": 0}, "from 1 to"), ({"block": 3}, "no option"),
])  # fmt: skip
def test_hostile_circulant_layers_are_refused(options, what):
    nodes = [list(node) for node in HEADER["nodes"]]
    nodes[2][2] = nodes[2][2] | options
    with pytest.raises(BadArtefact, match=what):
        artefact.read(mutations.join(HEADER | {"nodes": nodes}, PAYLOADS))


def test_a_circulant_weight_of_low_rank_is_refused():
    table = HEADER["tensors"] | {"2.weight": [[2, 3, 3], 4 * 11, "low_rank", {"rank": 1}]}
    with pytest.raises(BadArtefact, match="node 2"):
        artefact.read(mutations.join(HEADER | {"tensors": table}, PAYLOADS))


def test_damaged_payloads_and_headers_are_read_or_refused():
    choose = random.Random(0)
    mutations.verdict(mutations.join(HEADER, PAYLOADS))
    for _ in range(300):
        header = mutations.mutated(HEADER, choose.randrange, choose.randrange(1, 4))
        mutations.verdict(mutations.join(header, mutations.damaged(PAYLOADS, choose.randbytes(9))))


def test_large_tensors_from_few_bytes_take_seconds():
    """As many numbers as a file may hold, from 4 bytes."""
    started = time.process_time()
    bands = {"buckets": [0] * 30 + [1]}
    for shape, name, settings_ in (((1 << 12, 1 << 12), "hashed", {"buckets": 1}),
                                   ((1 << 8, 1 << 8, 16, 16), "frequency_hashed", bands)):  # fmt: skip
        kind = artefact.ENCODINGS[name]
        kind.check(shape, "float32", settings_, 4)
        found = kind.decode(memoryview(np.float32(1).tobytes()), shape, "float32", settings_)[""]
        assert tuple(found.shape) == shape and 0.1 < found.abs().max() < 1.1
    assert time.process_time() - started < 60


# Circulant layers


@settings(max_examples=40, deadline=None)
@given(inputs=st.integers(1, 30), outputs=st.integers(1, 30), data=st.data())
def test_a_circulant_layer_is_the_dense_one_of_its_blocks(inputs, outputs, data):
    block = data.draw(st.integers(1, max(inputs, outputs)))
    layer = BlockCirculant(inputs, outputs, block).double().eval()
    matrix = np.block([[linalg.circulant(column) for column in row] for row in layer.weight.detach().numpy()])
    x = torch.randn(3, inputs, dtype=torch.float64)
    expected = x @ torch.from_numpy(matrix[:outputs, :inputs]).T + layer.bias
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.train()(x), expected)
    assert layer.weight.numel() == -(-inputs // block) * -(-outputs // block) * block
    torch.testing.assert_close(layer(x[0]), expected[0])


def test_gradients_of_a_circulant_layer_are_those_of_its_blocks():
    layer = BlockCirculant(7, 5, 3).double()
    x = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,)),
                                    (x, layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_()))


def test_the_spectrum_follows_the_weights():
    layer = BlockCirculant(6, 4, 2).eval()
    before = layer(torch.ones(1, 6))
    layer.train()
    assert layer.spectrum is None
    with torch.no_grad():
        layer.weight.mul_(2)
    assert not torch.allclose(layer.eval()(torch.ones(1, 6)), before)
    layer.load_state_dict(BlockCirculant(6, 4, 2).state_dict())
    torch.testing.assert_close(layer.spectrum, torch.fft.rfft(layer.weight.detach()))


@pytest.mark.parametrize("blocks", [(8, 8), (7, 12), (1, 300), (784, 5)])
def test_circulant_networks_count_what_they_do_and_are_lenets(blocks):
    network = models.build("lenet-300-100")
    network.fc1, network.fc2 = BlockCirculant(784, 300, blocks[0]), BlockCirculant(300, 100, blocks[1])
    data = artefact.to_bytes(network, input_shape=IMAGE)
    found = artefact.read(data)
    counted = meter.count(found.network, (1, *IMAGE)).total
    assert counted.macs == found.macs and counted.parameters == sum(p.numel() for p in network.parameters())
    assert len(data) < 4 * counted.parameters + 250
    lenet = models.build("lenet-300-100")
    assert difference(topology_of_network(found.network, IMAGE), topology_of_network(lenet, IMAGE)) == ""
    x = torch.rand(2, *IMAGE)
    torch.testing.assert_close(found.network(x), network.eval()(x))
    assert artefact.to_bytes(found.network, input_shape=IMAGE) == data


def test_first_columns_may_be_quantised():
    network = nn.Sequential(nn.Flatten(), BlockCirculant(16, 6, 4))
    size = {name: len(artefact.to_bytes(network, input_shape=(1, 4, 4), encodings={"1.weight": encoding}))
            for name, encoding in (("dense", Dense()), ("half", Dense("float16")))}  # fmt: skip
    assert size["dense"] - 2 * network[1].weight.numel() < size["half"] < size["dense"]
