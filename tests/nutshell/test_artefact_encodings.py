"""Sparse, codebook, affine and fixed-point tensors: what comes back, what it costs and what is refused."""

import json
import math
import time
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import artefact, models, results
from nutshell.artefact import (
    Affine,
    BadArtefact,
    CannotSave,
    Codebook,
    Dense,
    Encoding,
    FixedPoint,
    LowRank,
    Sparse,
)
from nutshell.artefact.coders import CODERS
from nutshell.artefact.encodings.sparse import gaps_of
from tests.fuzz import mutations

CODER = st.sampled_from(sorted(CODERS))
ORDER = st.sampled_from(["rows", "columns"])
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
EXTREMES = (0.0, 1.0, -1.0, 1e-45, 1.2e-38, -3.4028235e38, 3.4028235e38, 65504.0, 0.1)


def there_and_back(encoding: Encoding, tensor: torch.Tensor, dtype: str = "float32") -> torch.Tensor:
    settings_, payload = encoding.encode(tensor)
    form = type(encoding).check(tuple(tensor.shape), dtype, settings_, len(payload))
    assert form.parts == {"": tuple(tensor.shape)}
    return type(encoding).decode(memoryview(payload), tuple(tensor.shape), dtype, settings_)[""]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


@st.composite
def sparse_tensors(draw) -> torch.Tensor:
    """From nothing but zeros to none at all, with few or many different values."""
    shape = draw(SHAPES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    tensor = torch.randn(shape, generator=generator)
    if draw(st.booleans()):
        tensor = (2 * tensor).round() / 2
    kept = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    return tensor * (torch.rand(shape, generator=generator) < kept)


VALUES = st.one_of(
    st.builds(Dense), st.builds(Codebook, coder=CODER), st.builds(Codebook, st.just(20_000), coder=CODER),
)  # fmt: skip
LIMITS = st.none() | st.sampled_from([1, 2, 3, 4, 8, 256]) | st.integers(1, 1 << 24)


# Sparse


@settings(max_examples=200, deadline=None)
@given(tensor=sparse_tensors(), values=VALUES, limit=LIMITS, coder=CODER, order=ORDER)
def test_sparse_tensors_come_back_bit_for_bit(tensor, values, limit, coder, order):
    if coder == "huffman" and limit is not None and limit > 4096:
        limit = 4096
    encoding = Sparse(values, limit=limit, coder=coder, order=order)
    assert same(there_and_back(encoding, tensor), tensor)
    assert encoding.lossless == values.lossless


@pytest.mark.parametrize("coder", ["fixed", "huffman", "ans"])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 16])
def test_gaps_at_every_length_around_the_limit(limit, coder):
    for gap in range(4 * limit + 2):
        for last in (0, 1, gap):
            tensor = torch.zeros(gap + 1 + gap + 1 + last)
            tensor[gap] = tensor[2 * gap + 1] = 0.5
            gaps, positions = gaps_of(np.flatnonzero(tensor), limit)
            assert len(gaps) - 2 == 2 * (gap // limit)  # padding zeros
            assert gaps.max(initial=0) < limit and np.array_equal(np.cumsum(gaps + 1) - 1, positions)
            assert same(there_and_back(Sparse(Codebook(), limit=limit, coder=coder), tensor), tensor)


@settings(max_examples=100, deadline=None)
@given(gaps=st.lists(st.integers(0, 100), max_size=20), limit=st.integers(1, 40))
def test_padding_is_the_sum_of_gap_over_limit_rounded_down(gaps, limit):
    positions = np.cumsum(np.array(gaps, dtype=np.int64) + 1) - 1
    written, padded = gaps_of(positions, limit)
    assert len(written) - len(gaps) == sum(gap // limit for gap in gaps)
    assert set(positions) <= set(padded) and (np.diff(padded) > 0).all()


def test_the_example_of_deep_compression():
    tensor = torch.zeros(16)
    tensor[[1, 4, 15]] = torch.tensor([3.4, 0.9, 1.7])
    settings_, payload = Sparse(limit=8).encode(tensor)
    assert settings_ == {"limit": 8}
    assert len(payload) == 1 + 1 + 2 + 4 * 4  # two lengths, 4 gaps of 3 bits, 3 numbers and a padding zero


def test_without_a_limit_the_cheapest_is_taken():
    tensor = torch.zeros(3000)
    tensor[::37] = 1.0
    best = Sparse(Codebook()).encode(tensor)
    sizes = {limit: len(Sparse(Codebook(), limit=limit).encode(tensor)[1]) for limit in (2, 16, 32, 64, 128, 4096)}
    assert len(best[1]) == min(sizes.values()) == sizes[64] and best[0]["limit"] == 64


def test_columns_are_shorter_where_inputs_are_unused():
    tensor = torch.zeros(100, 200)
    tensor[:, 50:60] = 0.5
    rows, columns = (len(Sparse(Codebook(), coder="ans", order=order).encode(tensor)[1]) for order in
                     ("rows", "columns"))  # fmt: skip
    assert columns < rows


@pytest.mark.parametrize("values", [LowRank(2), Sparse(), None, "dense"])
def test_values_are_in_an_encoding_of_one_tensor(values):
    if values is None:
        assert Sparse(values).values.name == "dense"
    else:
        with pytest.raises(ValueError, match="aren't possible"):
            Sparse(values)


@settings(max_examples=60, deadline=None)
@given(tensor=sparse_tensors(), coder=CODER, symmetric=st.booleans())
def test_zeros_stay_zeros_under_every_kind_of_values(tensor, coder, symmetric):
    for values in (Affine(4, coder=coder, symmetric=symmetric), FixedPoint(5, coder=coder), Codebook(3, coder=coder),
                   Codebook(centroids=torch.tensor([0.3, -0.2]), coder=coder)):  # fmt: skip
        back = there_and_back(Sparse(values, limit=4), tensor)
        assert (back[tensor == 0] == 0).all()
        assert torch.isfinite(back).all()


# Codebook


@settings(max_examples=200, deadline=None)
@given(tensor=sparse_tensors(), coder=CODER, extra=st.integers(0, 3))
def test_tensors_of_few_values_come_back_bit_for_bit(tensor, coder, extra):
    different = len(tensor.unique())
    encoding = Codebook(different + extra, coder=coder)
    assert same(there_and_back(encoding, tensor), tensor)
    assert encoding.encode(tensor)[0]["k"] == different


@settings(max_examples=60, deadline=None)
@given(tensor=sparse_tensors(), k=st.integers(1, 8), coder=CODER)
def test_shared_tensors_have_at_most_k_values_and_keep_their_zeros(tensor, k, coder):
    back = there_and_back(Codebook(k, coder=coder), tensor)
    assert len(back.unique()) <= k
    assert (back[tensor == 0] == 0).all()
    assert same(there_and_back(Codebook(k, coder=coder), back), back)


def test_given_centroids_take_what_is_nearest():
    back = there_and_back(Codebook(centroids=torch.tensor([2.0, -1.0, 0.5])), torch.tensor([[9.0, -0.3, 0.6, -7.0]]))
    assert back.tolist() == [[2.0, -1.0, 0.5, -1.0]]


@pytest.mark.parametrize(("k", "bits"), [(1, 0), (2, 1), (3, 2), (16, 4), (17, 5), (256, 8), (257, 9)])
def test_indices_take_log2_k_bits_and_centroids_their_own(k, bits):
    tensor = torch.arange(k, dtype=torch.float32).repeat(40)
    assert len(Codebook(k).encode(tensor)[1]) == math.ceil(40 * k * bits / 8) + 4 * k
    assert len(Codebook(k, stored="float16").encode(tensor)[1]) == math.ceil(40 * k * bits / 8) + 2 * k
    assert same(there_and_back(Codebook(stored="float16"), tensor), tensor)


def test_the_rate_of_han_2016_for_16_weights_and_4_centroids_is_3_2():
    tensor = torch.tensor([2.0, -1, 1.5, 0]).repeat(4).reshape(4, 4)
    assert 16 * 4 / len(Codebook(4).encode(tensor)[1]) == 3.2


def test_centroids_that_rounding_makes_one_are_one():
    tensor = torch.tensor([1.0, 1.0 + 2**-20, 3.0])
    settings_, payload = Codebook(stored="float16").encode(tensor)
    assert settings_["k"] == 2 and len(payload) == 5


# Grids


@settings(max_examples=200, deadline=None)
@given(data=st.data(), bits=st.integers(2, 8), symmetric=st.booleans(), axis=st.sampled_from([None, 0]), coder=CODER)
def test_what_is_on_the_grid_comes_back_bit_for_bit(data, bits, symmetric, axis, coder):
    shape = data.draw(SHAPES)
    channels = shape[0] if axis == 0 else 1
    seed = data.draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    scale = np.float32(2.0) ** generator.uniform(-20, 20, channels).astype(np.float32)
    zero = np.full(channels, 1 << bits - 1) if symmetric else generator.integers(0, 1 << bits, channels)
    q = generator.integers(symmetric, 1 << bits, (channels, math.prod(shape) // channels))
    on_grid = torch.from_numpy(((q - zero[:, None]) * scale[:, None].astype(np.float64)).astype(np.float32))
    given_zero = {} if symmetric else {"zero_point": torch.tensor(zero)}
    encoding = Affine(bits, axis=axis, symmetric=symmetric, scale=torch.tensor(scale), coder=coder, **given_zero)
    assert same(there_and_back(encoding, on_grid.reshape(shape)), on_grid.reshape(shape))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), bits=st.integers(2, 8), symmetric=st.booleans(), axis=st.sampled_from([None, 0]))
def test_affine_numbers_are_at_most_half_a_step_off_and_zero_is_exact(data, bits, symmetric, axis):
    tensor = data.draw(sparse_tensors()) + data.draw(st.sampled_from([0.0, 5.0, -5.0]))
    back = there_and_back(Affine(bits, axis=axis, symmetric=symmetric), tensor)
    matrix = tensor.reshape(tensor.shape[0] if axis == 0 else 1, -1).double()
    least, largest = matrix.min(1).values.clamp(max=0), matrix.max(1).values.clamp(min=0)
    step = torch.maximum(-least, largest) / (2 ** (bits - 1) - 1) if symmetric else (largest - least) / (2**bits - 1)
    slack = 1.0 if not symmetric else 0.5  # Z is rounded, which shifts the range by up to half a step
    off = (back.double().reshape(matrix.shape) - matrix).abs()
    assert (off <= (slack + 1e-4) * step[:, None] + 1e-12).all()
    assert (back[tensor == 0] == 0).all()


@settings(max_examples=100, deadline=None)
@given(bits=st.integers(2, 16), fraction=st.integers(-20, 30), seed=st.integers(0, 2**32), coder=CODER)
def test_fixed_point_is_exact_rational_arithmetic(bits, fraction, seed, coder):
    if coder == "ans" and bits > 12:
        coder = "fixed"
    generator = np.random.default_rng(seed)
    half = 1 << bits - 1
    values = (generator.uniform(-1.2, 1.2, 30) * half * 2.0**-fraction).astype(np.float32)
    expected = []
    for value in values:
        q = round(Fraction(float(value)) * Fraction(2) ** fraction)  # halves to even
        expected.append(float(Fraction(max(-half, min(half - 1, q))) / Fraction(2) ** fraction))
    back = there_and_back(FixedPoint(bits, fraction=fraction, coder=coder), torch.from_numpy(values))
    assert back.tolist() == expected
    assert same(there_and_back(FixedPoint(bits, fraction=fraction, coder=coder), back), back)


@settings(max_examples=200, deadline=None)
@given(tensor=sparse_tensors(), bits=st.integers(2, 16), axis=st.sampled_from([None, 0]),
       power=st.integers(-60, 60))  # fmt: skip
def test_the_binary_point_is_as_far_left_as_nothing_saturates(tensor, bits, axis, power):
    tensor = tensor * 2.0**power
    encoding = FixedPoint(bits, axis=axis)
    matrix = tensor.reshape(tensor.shape[0] if axis == 0 else 1, -1).double().numpy()
    half = 1 << bits - 1
    for row, fraction in zip(matrix, encoding._fraction(matrix, len(matrix)), strict=True):
        if row.any() and -127 < fraction < 126:
            for shift, fits in ((0, True), (1, False)):
                q = np.rint(np.ldexp(row, fraction + shift))
                assert (q.min() >= -half and q.max() <= half - 1) == fits
    off = (there_and_back(encoding, tensor).double() - tensor.double()).abs().max()
    assert off <= tensor.double().abs().max() / (half - 0.5) + 1e-30


def test_symmetric_grids_have_as_many_steps_below_zero_as_above():
    back = there_and_back(Affine(4, symmetric=True, scale=1.0), torch.tensor([-100.0, -7.4, 0.5, 1.5, 7.4, 100.0]))
    assert back.tolist() == [-7, -7, 0, 2, 7, 7]
    assert there_and_back(Affine(4, scale=1.0), torch.tensor([-100.0, 100.0])).tolist() == [-8, 7]


@pytest.mark.parametrize(("encoding", "size"), [
    (Affine(8), 4 + 1 + 12), (Affine(8, symmetric=True), 4 + 12), (Affine(4, axis=0), 3 * 4 + 8), (Affine(2), 4 + 4),
    (Affine(3, axis=0, symmetric=True), 12 + 5), (FixedPoint(16), 1 + 24), (FixedPoint(5, axis=0), 3 + 8),
])  # fmt: skip
def test_grids_take_what_they_say(encoding, size):
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert len(encoding.encode(tensor)[1]) == size


# Edges that all of them share


ALL = [Sparse(), Sparse(Codebook(coder="ans"), coder="ans", order="columns"), Sparse(Affine(8)), Sparse(FixedPoint(16)),
       Codebook(), Codebook(coder="huffman"), Affine(8), Affine(2, axis=0), Affine(4, symmetric=True, coder="ans"),
       FixedPoint(16), FixedPoint(2, axis=0), Dense()]  # fmt: skip


@pytest.mark.parametrize("encoding", ALL, ids=lambda e: f"{e.name} {vars(e)}"[:60])
def test_zeros_one_value_and_one_element_come_back(encoding):
    for tensor in (torch.zeros(3, 5), torch.full((2, 3), 0.5), torch.zeros(1), torch.tensor([[-0.25]]),
                   torch.tensor([0.0, 0, 0, 0.5]), torch.tensor([-0.5, 0, 0])):  # fmt: skip
        assert torch.allclose(there_and_back(encoding, tensor), tensor, rtol=1e-6)


@pytest.mark.parametrize("encoding", ALL, ids=lambda e: f"{e.name} {vars(e)}"[:60])
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_come_back_as_what_they_are(encoding, dtype):
    tensor = torch.tensor([[0.5, 0.0, -1.0], [1.0, 0.0, 0.5]], dtype=getattr(torch, dtype))
    back = there_and_back(encoding, tensor, dtype)
    assert back.dtype == tensor.dtype
    if encoding.lossless:
        assert torch.equal(back, tensor)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=8), st.sampled_from(ALL))
def test_extremes_come_back_or_are_refused(values, encoding):
    tensor = torch.tensor(values)
    try:
        back = there_and_back(encoding, tensor)
    except ValueError as error:
        assert str(error)
    else:
        if encoding.lossless:
            assert same(back, tensor)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("encoding", ALL, ids=lambda e: f"{e.name} {vars(e)}"[:60])
def test_infinite_weights_are_refused_when_saving(encoding, value):
    network = models.build("mlp", sizes=(4, 3, 2))
    with torch.no_grad():
        network.fc1.weight[1, 1] = value
    with pytest.raises(CannotSave, match="infinite or not a number"):
        artefact.to_bytes(network, input_shape=(1, 2, 2), encodings={"fc1.weight": encoding})


@pytest.mark.parametrize("build", [
    lambda: Codebook(0), lambda: Codebook(1 << 17), lambda: Codebook(3, centroids=torch.ones(3)),
    lambda: Codebook(4, coder="zip"), lambda: Codebook(4, stored="int7"), lambda: Sparse(limit=0),
    lambda: Sparse(limit=1 << 25), lambda: Sparse(coder="lzma"), lambda: Sparse(order="diagonal"), lambda: Affine(1),
    lambda: Affine(9), lambda: Affine(8, axis=1), lambda: Affine(8, zero_point=3),
    lambda: Affine(8, symmetric=True, scale=1.0, zero_point=3), lambda: FixedPoint(17), lambda: FixedPoint(8, axis=2),
])  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize("encoding", [
    Affine(8, scale=torch.ones(2)), Affine(8, scale=0.0), Affine(8, scale=math.nan), Affine(8, scale=-1.0),
    Affine(4, scale=1.0, zero_point=16), FixedPoint(8, fraction=200), FixedPoint(8, fraction=torch.tensor([0.5])),
])  # fmt: skip
def test_grids_that_do_not_fit_the_tensor_are_refused(encoding):
    with pytest.raises(ValueError):
        encoding.encode(torch.randn(3, 4))


# In a file


def test_a_compressed_lenet_comes_back():
    network = models.build("lenet-300-100", seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 64).round() / 64 * (torch.rand_like(parameter) < 0.05))
    shared = Sparse(Codebook(16, coder="huffman"), limit=256, coder="huffman")
    small = Sparse(Codebook(16, coder="ans", stored="float16"), coder="ans", order="columns")
    for encoding, most in ((shared, 14_000), (small, 13_000)):
        data = artefact.to_bytes(network, input_shape=(1, 28, 28),
                                 encodings=dict.fromkeys(dict(network.named_parameters()), encoding))  # fmt: skip
        found = artefact.read(data)
        assert len(data) < most
        for name, parameter in network.named_parameters():
            assert torch.equal(found.network.get_parameter(name), parameter)
        assert found.bytes - sum(tensor.bytes for tensor in found.tensors) < 130  # graph and header


def test_files_of_the_first_version_are_read():
    header, payloads = mutations.split(artefact.to_bytes(models.build("mlp", sizes=(4, 3, 2)), input_shape=(1, 2, 2)))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = compressor.compress(json.dumps(header).encode()) + compressor.flush()
    body = b"NUT1" + len(text).to_bytes(4, "little") + text + payloads
    found = artefact.read(body + zlib.crc32(body).to_bytes(4, "little"))
    assert found.fingerprint == artefact.read(mutations.join(header, payloads)).fingerprint


def test_the_file_in_the_results_is_read():
    found = artefact.load(results.folder() / "low_rank.nut")
    assert found.network.get_parameter("fc1.0.weight").shape[1] == 784


# Hostile files: what `check` and `decode` refuse, by encoding. Codes and tables themselves: test_artefact_coders.py.


def hostile(encoding: str, settings_: dict, payload: bytes, shape=(3, 4)) -> bytes:
    header = {"input": [shape[1]], "nodes": [["fc", "linear"]],
              "tensors": {"fc.weight": [list(shape), len(payload), encoding, settings_]}}  # fmt: skip
    return mutations.join(header, payload)


ONES = b"\x00\x00\x80\x3f"
ANS = {"coder": "ans"}


@pytest.mark.parametrize(("encoding", "settings_", "payload", "words"), [
    ("codebook", {"k": 2}, bytes(8 + 2), None), ("codebook", {"k": 2}, bytes(8 + 1), "take 10"),
    ("codebook", {}, bytes(10), "k=None"), ("codebook", {"k": 0}, bytes(2), "from 1 to 12"),
    ("codebook", {"k": 13}, bytes(60), "from 1 to 12"), ("codebook", {"k": True}, bytes(6), "k=True"),
    ("codebook", {"k": 1 << 40}, bytes(10), "from 1 to 12"), ("codebook", {"k": 2, "x": 1}, bytes(10), "unknown"),
    ("codebook", {"k": 3}, ONES * 3 + b"\xff" * 3, "alphabet of 3"),
    ("codebook", {"k": 2}, b"\xff" * 8 + b"\xff\xf0", "infinite"),
    ("codebook", {"k": 2, "coder": "zip"}, bytes(10), "coder 'zip'"), ("codebook", {"k": 2} | ANS, b"abc", "alone"),
    ("codebook", {"k": 2} | ANS, bytes(8), "precision"), ("codebook", {"k": 2, "stored": 3}, bytes(9), "stored as"),
    ("affine", {"bits": 8}, ONES + bytes(13), None), ("affine", {"bits": 8}, ONES + bytes(12), "take 17"),
    ("affine", {"bits": 9}, bytes(20), "from 2 to 8"), ("affine", {"bits": 1}, bytes(20), "from 2 to 8"),
    ("affine", {}, bytes(20), "bits None"), ("affine", {"bits": 8, "axis": 1}, bytes(17), "axis 1"),
    ("affine", {"bits": 8, "axis": False}, bytes(17), "axis False"),
    ("affine", {"bits": 8, "symmetric": 1}, bytes(16), "true or false"),
    ("affine", {"bits": 8}, bytes(17), "positive"), ("affine", {"bits": 8}, b"\xff" * 17, "positive"),
    ("affine", {"bits": 8}, b"\xff\xff\x7f\x7f" + b"\xff" + bytes(12), "infinite"),
    ("affine", {"bits": 4, "coder": "huffman"}, ONES + b"\x10\x01\x01\x80", "zero point of 16"),
    ("affine", {"bits": 4, "coder": "huffman"}, b"ab", "alone take 5"),
    ("fixed_point", {"bits": 16}, bytes(25), None), ("fixed_point", {"bits": 16}, bytes(24), "take 25"),
    ("fixed_point", {"bits": 17}, bytes(30), "from 2 to 16"), ("fixed_point", {"bits": 8}, b"\x80" * 13, "fraction"),
    ("fixed_point", {"bits": 16} | ANS, bytes(9), "alphabet"), ("fixed_point", {"bits": 4} | ANS, b"", "alone"),
    ("sparse", {"limit": 8}, b"\x01\x01\x20" + ONES, None), ("sparse", {"limit": 8}, b"\x00\x00", None),
    ("sparse", {}, b"\x00\x00", "limit None"), ("sparse", {"limit": 0}, b"\x00\x00", "limit 0"),
    ("sparse", {"limit": 1 << 30}, b"\x00\x00", "limit"), ("sparse", {"limit": 8}, b"", "cut off"),
    ("sparse", {"limit": 8}, b"\x0d\x05" + bytes(57), "13 stored numbers, more than the 12"),
    ("sparse", {"limit": 8}, b"\xff\xff\xff\xff\x7f", "stored numbers, more than"),
    ("sparse", {"limit": 8}, b"\x01\x7f\x00", "bytes of gaps, more than"),
    ("sparse", {"limit": 8}, b"\x02\x01\xfc" + ONES * 2, "end at number 15 of 12"),
    ("sparse", {"limit": 16}, b"\x01\x01\xb0" + ONES, None),
    ("sparse", {"limit": 16}, b"\x01\x01\xc0" + ONES, "at number 12"),
    ("sparse", {"limit": 8}, b"\x01\x02\x00\x00" + ONES, "gaps: 2 bytes"),
    ("sparse", {"limit": 6}, b"\x01\x01\xe0" + ONES, "symbol 7 of an alphabet of 6"),
    ("sparse", {"limit": 8}, b"\x01\x01\x20" + ONES + b"a", "values: 5 bytes"),
    ("sparse", {"limit": 8, "order": "z"}, b"\x00\x00", "order 'z'"),
    ("sparse", {"limit": 8, "order": []}, b"\x00\x00", "order"),
    ("sparse", {"limit": 8, "values": "dense"}, b"\x00\x00", "must be a list"),
    ("sparse", {"limit": 8, "values": ["sparse"]}, b"\x00\x00", "values in 'sparse'"),
    ("sparse", {"limit": 8, "values": [["dense"]]}, b"\x00\x00", "values in"),
    ("sparse", {"limit": 8, "values": ["dense", 3]}, b"\x00\x00", "JSON object"),
    ("sparse", {"limit": 8, "values": ["codebook", {"k": 2}]}, b"\x01\x01\x20" + ONES * 2, "values: k=2"),
    ("sparse", {"limit": 8, "values": ["codebook", {"k": 0}]}, b"\x00\x00", None),
    ("sparse", ANS, b"\x01\x00", "leading one"), ("sparse", ANS, b"\x01\x01\x09", "leading one"),
    ("sparse", ANS, b"\x01\x04\x04\x02\x00\x1f" + ONES, "end at number"),
    ("sparse", {"limit": 4} | ANS, b"\x01\x04\x02\x02\x00\x05" + ONES, "but the limit is 4"),
])  # fmt: skip
def test_hostile_tensors_are_refused_with_the_rule(encoding, settings_, payload, words):
    data = hostile(encoding, settings_, payload)
    if words is None:
        assert artefact.read(data).network.fc.weight.shape == (3, 4)
    else:
        with pytest.raises(BadArtefact, match=words) as refused:
            artefact.read(data)
        assert refused.value.where == "tensor fc.weight"


@settings(max_examples=300, deadline=None)
@given(data=st.data(), tensor=sparse_tensors(), encoding=st.sampled_from(ALL))
def test_damaged_payloads_are_refused_or_decode_to_the_shape(data, tensor, encoding):
    settings_, payload = encoding.encode(tensor)
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed
    kind, shape = type(encoding), tuple(tensor.shape)
    try:
        kind.check(shape, "float32", settings_, len(changed))
        back = kind.decode(memoryview(bytes(changed)), shape, "float32", settings_)[""]
    except ValueError as error:
        assert str(error)
    else:
        assert tuple(back.shape) == shape and back.dtype == torch.float32


@pytest.mark.parametrize(("encoding", "settings_", "payload"), [
    ("codebook", {"k": 1}, ONES), ("codebook", {"k": 1} | ANS, ONES + b"\x00\x01"),
    ("sparse", {"limit": 1} | {"values": ["codebook", {"k": 1}]}, b"\x80\x80\x80\x08\x00" + ONES),
    ("codebook", {"k": 2} | ANS, ONES * 2 + b"\x0e\x02" + b"\xff\xfc" + bytes(4 * 8192)),
])  # fmt: skip
def test_small_files_that_ask_for_many_numbers_are_quick(encoding, settings_, payload):
    """A code of no bits can stand for as many numbers as a tensor may have: done side by side, in seconds at most."""
    started = time.process_time()
    try:
        artefact.read(hostile(encoding, settings_, payload, (4096, 4096)))
    except BadArtefact as error:
        assert error.where == "tensor fc.weight"
    assert time.process_time() - started < 20
