"""Messages: what goes in comes out, what is no plain data doesn't, and any bytes are read safely."""

import json
import math
import struct
from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nutshell.wire import codec
from nutshell.wire.codec import Limits, Malformed, NotPlain, TooLarge, decode, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), st.complex_numbers()
)
DTYPES = st.sampled_from(
    ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8"]
)
ARRAYS = DTYPES.flatmap(
    lambda name: arrays.arrays(np.dtype(name), arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
)
TENSORS = ARRAYS.map(lambda array: torch.from_numpy(array.astype(array.dtype.newbyteorder("="))))
SLICES = st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(1, 9))
LEAVES = st.one_of(
    NUMBERS,
    TEXT,
    st.binary(max_size=20),
    ARRAYS,
    TENSORS,
    SLICES,
    st.builds(range, st.integers(0, 99)),
    ARRAYS.filter(lambda a: a.size).map(lambda a: a.astype(a.dtype.newbyteorder("=")).ravel()[0]),
)
KEYS = st.one_of(TEXT, st.integers(-99, 99), st.booleans(), st.none(), st.tuples(TEXT, st.integers(-9, 9)))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXT, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def same(a, b):
    """Equal in type, shape, dtype and every bit that counts."""
    if isinstance(a, np.ndarray | np.generic):
        return (
            type(a) is type(b)
            and a.shape == b.shape
            and a.dtype == b.dtype.newbyteorder(a.dtype.byteorder)
            and np.array_equal(np.asarray(a), np.asarray(b), equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, torch.Tensor):
        return type(b) is torch.Tensor and a.dtype is b.dtype and same(a.numpy(), b.numpy())
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return (math.copysign(1, a) == math.copysign(1, b) and a == b) or (a != a and b != b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return a == b


@given(VALUES)
@settings(max_examples=120, deadline=None)
def test_what_goes_in_comes_out(value):
    assert same(value, decode(encode(value)))


@given(st.binary(max_size=200))
@settings(max_examples=120, deadline=None)
def test_random_bytes_are_refused(data):
    with pytest.raises((Malformed, TooLarge)):
        decode(data + b"!")


NODES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
        st.sampled_from(["<f4", "float32", "nan", "0x1"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "tuple",
                    "dict",
                    "map",
                    "float",
                    "int",
                    "complex",
                    "slice",
                    "range",
                    "dtype",
                    "bytes",
                    "array",
                    "scalar",
                    "tensor",
                    "meta",
                    "@x",
                    "unknown",
                ]
            ),
            inner,
            max_size=2,
        ),
    ),
    max_leaves=8,
)


def message(node, raw=b""):
    header = json.dumps(node).encode()
    return struct.pack("<QI", 4 + len(header) + len(raw), len(header)) + header + raw


@given(NODES, st.binary(max_size=16))
@settings(max_examples=250, deadline=None)
def test_hostile_headers_give_a_value_or_a_clean_refusal(node, raw):
    try:
        value = decode(message(node, raw))
    except (Malformed, TooLarge):
        return
    assert codec.is_plain(value)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_messages_give_a_value_or_a_clean_refusal(data):
    good = bytearray(encode({"a": [1.5, (np.arange(3), torch.ones(2))], "b": {1: "x"}}))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(good[: data.draw(st.integers(0, len(good)))] if data.draw(st.booleans()) else good))
    except (Malformed, TooLarge):
        return


@pytest.mark.parametrize(
    "node, raw",
    [
        ({"array": ["<f4", [2**40, 2**40]]}, b""),
        ({"array": ["<f4", [0, 2**63]]}, b""),
        ({"array": ["<f4", [0, 2**39, 2**39]]}, b""),
        ({"meta": ["float32", [2**39, 2**39]]}, b""),
        ({"array": ["O", [1]]}, b"12345678"),
        ({"tensor": ["float32", [-1]]}, b""),
        ({"tensor": ["float32", [1.0]]}, b"1234"),
        ({"array": ["<f4", [1] * 33]}, b"1234"),
        ({"scalar": ["<f4", [1]]}, b"1234"),
        ({"bytes": -1}, b""),
        ({"bytes": True}, b"x"),
        ([1], b"left over"),
        ({"map": [[[1], 2]]}, b""),
        ({"map": [[2**70, 2]]}, b""),
        ({"int": "9" * 10}, b"x"),
        ({"float": 1}, b""),
        ({"slice": [1, 2]}, b""),
        ({"range": [1, 2, 0]}, b""),
        ({"tuple": [], "dict": {}}, b""),
        ({}, b""),
        ({"@handle": 1}, b""),
        (2**80, b""),
        (1e999, b""),
    ],
)
def test_what_looks_like_data_and_is_none(node, raw):
    with pytest.raises(Malformed):
        decode(message(node, raw))


def test_a_lying_length_and_deep_nesting():
    with pytest.raises(Malformed):
        decode(struct.pack("<QI", 2**60, 4) + b"null")
    for depth in (60, 100_000):
        with pytest.raises(TooLarge):
            decode(message_of_text(b"[" * depth + b"]" * depth))


def message_of_text(header):
    return struct.pack("<QI", 4 + len(header), len(header)) + header


class LyingInt(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class LyingArray(np.ndarray):
    pass


class LyingTensor(torch.Tensor):
    pass


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value",
    [
        LyingInt(3),
        np.zeros(2).view(LyingArray),
        torch.zeros(2).as_subclass(LyingTensor),
        Pair(1, 2),
        type("D", (dict,), {})(a=1),
        np.ma.array([1.0]),
        np.array([object()]),
        np.array(["a"]),
        np.zeros(2, "datetime64[s]"),
        torch.eye(2).to_sparse(),
        {1, 2},
        object(),
        lambda: 1,
        int,
        {(): {frozenset(): 1}},
        codec.Tagged("handle", 1),
        True.__class__,
        np.longdouble(1),
    ],
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(NotPlain):
        encode([value])


@pytest.mark.parametrize(
    "value, want",
    [
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (torch.Size([2, 3]), (2, 3)),
        (bytearray(b"x"), b"x"),
        ({np.int64(3): 1}, {3: 1}),
        (torch.float16, torch.float16),
        (np.dtype(">f4"), np.dtype("<f4")),
    ],
)
def test_honest_relatives_of_plain_data_cross(value, want):
    got = decode(encode(value))
    assert got == want and type(got) is type(want)


def test_honest_tensors_cross_whatever_their_memory():
    square = torch.arange(12.0, requires_grad=True).reshape(3, 4).T
    for tensor in (
        square,
        square[::2],
        torch.nn.Parameter(square.detach()),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones((), dtype=torch.bfloat16),
        torch.ones(3).expand(5, 3),
    ):
        got = decode(encode(tensor))
        assert type(got) is torch.Tensor and not got.requires_grad and got.dtype is tensor.dtype
        assert torch.equal(got, tensor.detach())
    assert np.array_equal(decode(encode(np.eye(3)[::-1].T)), np.eye(3)[::-1].T)
    assert type(decode(encode(torch.linalg.svd(torch.eye(2))))) is tuple
    assert decode(encode(torch.empty(2, 10**6, device="meta"))).is_meta


def test_what_is_read_can_be_changed():
    got = decode(encode((np.zeros(2), torch.zeros(2))))
    got[0][0] = got[1][0] = 1
    assert got[0][0] == got[1][0] == 1


def test_bytes_that_are_no_booleans_become_booleans():
    array = decode(message({"array": ["|b1", [3]]}, b"\x00\x01\x07"))
    assert array.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "limits, value",
    [
        (Limits(size=1000), np.zeros(1000)),
        (Limits(size=1000), b"x" * 1000),
        (Limits(header=100), "x" * 200),
        (Limits(nodes=10), [0] * 20),
        (Limits(depth=5), [[[[[[[1]]]]]]]),
        (Limits(keys=3), dict.fromkeys(range(9))),
        (Limits(header=100), 1 << 3_000),
    ],
)
def test_bounds_hold_for_writer_and_reader(limits, value):
    with pytest.raises(TooLarge):
        encode(value, limits=limits)
    with pytest.raises(TooLarge):
        decode(encode(value), limits=limits)


def test_a_list_inside_itself_is_too_large():
    endless = []
    endless.append(endless)
    with pytest.raises(TooLarge):
        encode(endless)


@pytest.mark.parametrize("found", [range(101), range(10**15), range(-(2**80), 2**80, 3), range(10**9, 0, -1)])
def test_a_range_is_as_long_as_a_message_may_be(found):
    limits = Limits(nodes=100)
    assert decode(encode(range(100)), limits=limits) == range(100)
    with pytest.raises(TooLarge, match="more than 100 numbers"):
        encode(found, limits=limits)
    written = encode(found, limits=Limits(nodes=10**9)) if found.stop < 10**10 else None
    if written is not None:
        with pytest.raises(TooLarge, match="more than 100 numbers"):
            decode(written, limits=limits)
