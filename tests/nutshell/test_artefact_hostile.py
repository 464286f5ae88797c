"""Damaged, oversized and hostile files are refused with what and where, and nothing else happens."""

import copy
import json
import os
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, models
from nutshell.artefact import BadArtefact, Limits, container
from nutshell.artefact.shapes import windows
from nutshell.errors import WrongUse
from tests.fuzz import mutations

HONEST = artefact.to_bytes(models.build("mlp", sizes=(4, 3, 2)), input_shape=(1, 2, 2),
                           encodings={"fc1.weight": artefact.LowRank(2)})  # fmt: skip
SEEDS = mutations.seeds()


def changed(change, payloads: bytes | None = None) -> bytes:
    """The honest file with its header changed and its check sum put right."""
    header, stored = mutations.split(HONEST)
    header = copy.deepcopy(header)
    result = change(header)
    return mutations.join(header if result is None else result, stored if payloads is None else payloads)


def test_the_honest_file_is_read():
    header, _ = mutations.split(HONEST)
    assert header == {
        "input": [1, 2, 2],
        "nodes": [["flatten", "flatten"], ["fc1", "linear"], ["relu1", "relu"], ["fc2", "linear"]],
        "tensors": {"fc1.weight": [[3, 4], 56, "low_rank", {"rank": 2}], "fc1.bias": [[3], 12],
                    "fc2.weight": [[2, 3], 24], "fc2.bias": [[2], 8]},
    }  # fmt: skip
    assert mutations.verdict(HONEST) == "read"


def put(*path_and_value):
    """A change that sets one place of the header."""
    *path, value = path_and_value

    def change(header):
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


HUGE = 1 << 40
HEADERS = [
    # shapes and sizes
    ("huge shape", put("tensors", "fc2.weight", [[1 << 20, 1 << 20], 24]), "tensor fc2.weight", "more than"),
    ("overflowing shape", put("tensors", "fc2.weight", [[HUGE, HUGE, HUGE], 24]), "tensor fc2.weight", "from 1 to"),
    ("zero in a shape", put("tensors", "fc2.weight", [[0, 3], 0]), "tensor fc2.weight", "from 1 to"),
    ("negative shape", put("tensors", "fc2.weight", [[-2, -3], 24]), "tensor fc2.weight", "from 1 to"),
    ("true as a size", put("tensors", "fc2.weight", [[2, True], 8]), "tensor fc2.weight", "from 1 to"),
    ("float as a size", put("tensors", "fc2.weight", [[2, 3.0], 24]), "tensor fc2.weight", "from 1 to"),
    ("no shape", put("tensors", "fc2.weight", [[], 4]), "tensor fc2.weight", "list of 1 to 5"),
    ("scalar entry", put("tensors", "fc2.weight", 24), "tensor fc2.weight", "must be a list"),
    ("payload too long", put("tensors", "fc2.weight", [[2, 3], 28]), "tensor fc2.weight", "takes 24"),
    ("negative payload", put("tensors", "fc2.weight", [[2, 3], -24]), "tensor fc2.weight", "up to"),
    ("other shape", put("tensors", "fc2.weight", [[3, 2], 24]), "tensor fc2.bias", "where [3] is needed"),
    ("bias of another length", put("tensors", "fc2.bias", [[3], 12]), "tensor fc2.bias", "where [2] is needed"),
    ("another tensor on top", put("tensors", "fc3.weight", [[2], 8]), "tensor fc3.weight", "no node"),
    ("tensor of a node without", put("tensors", "relu1.weight", [[2], 8]), "tensor relu1.weight", "no such tensor"),
    ("missing tensor", lambda h: h["tensors"].pop("fc2.weight") and None, "node fc2", "missing"),
    ("missing payload", lambda h: h["tensors"].pop("fc2.bias") and None, "payloads", "adds up to"),
    # encodings
    ("unknown encoding", put("tensors", "fc1.weight", 2, "pickle"), "tensor fc1.weight", "unknown encoding"),
    ("encoding of another type", put("tensors", "fc1.weight", 2, ["dense"]), "tensor fc1.weight", "unknown encoding"),
    ("rank 0", put("tensors", "fc1.weight", 3, {"rank": 0}), "tensor fc1.weight", "from 1 to 3"),
    ("huge rank", put("tensors", "fc1.weight", 3, {"rank": HUGE}), "tensor fc1.weight", "from 1 to 3"),
    ("rank missing", put("tensors", "fc1.weight", 3, {}), "tensor fc1.weight", "rank None"),
    ("text as rank", put("tensors", "fc1.weight", 3, {"rank": "2"}), "tensor fc1.weight", "rank '2'"),
    ("numbers hidden in settings", put("tensors", "fc1.weight", 3, {"rank": 2, "more": [1] * 50}),
     "tensor fc1.weight", "unknown setting"),
    ("settings of another type", put("tensors", "fc1.weight", 3, []), "tensor fc1.weight", "settings"),
    ("unknown stored dtype", put("tensors", "fc2.bias", [[2], 8, "dense", {"stored": "object"}]),
     "tensor fc2.bias", "stored as"),
    ("low rank of a vector", put("tensors", "fc2.bias", [[2], 8, "low_rank", {"rank": 1}]),
     "tensor fc2.bias", "matrix"),
    # graph
    ("unknown operation", put("nodes", 2, ["relu1", "eval"]), "node relu1", "unknown operation"),
    ("operation missing", put("nodes", 2, ["relu1"]), "node relu1", "unknown operation"),
    ("a cycle", put("nodes", 1, ["fc1", "linear", [4]]), "node fc1", "earlier value"),
    ("itself as input", put("nodes", 1, ["fc1", "linear", [2]]), "node fc1", "earlier value"),
    ("negative input", put("nodes", 1, ["fc1", "linear", [-1]]), "node fc1", "earlier value"),
    ("true as input", put("nodes", 1, ["fc1", "linear", [True]]), "node fc1", "earlier value"),
    ("too many inputs", put("nodes", 2, ["relu1", "relu", [2, 2]]), "node relu1", "from 1 to 1"),
    ("no inputs", put("nodes", 2, ["relu1", "relu", []]), "node relu1", "from 1 to 1"),
    ("unused node", put("nodes", 3, ["fc2", "linear", [2]]), "node relu1", "nothing uses"),
    ("unknown option", put("nodes", 2, ["relu1", "relu", {"inplace": True}]), "node relu1", "no option"),
    ("name twice", put("nodes", 2, ["fc1", "relu"]), "node fc1", "stands twice"),
    ("name inside a node", put("nodes", 2, ["fc1.relu", "relu"]), "node fc1.relu", "can't contain"),
    ("name of an attribute", put("nodes", 2, ["forward", "relu"]), "node forward", "attribute"),
    ("name of a magic attribute", put("nodes", 2, ["__class__", "relu"]), "node __class__", "attribute"),
    ("private name", put("nodes", 2, ["_steps", "relu"]), "node _steps", "attribute"),
    ("path as name", put("nodes", 2, ["../relu", "relu"]), "node number 3", "letters, digits"),
    ("markup as name", put("nodes", 2, ["<script>", "relu"]), "node number 3", "letters, digits"),
    ("long name", put("nodes", 2, ["r" * 1000, "relu"]), "node number 3", "at most 200"),
    ("node of another type", put("nodes", 2, "relu"), "node number 3", "must be a list"),
    ("wrong order", put("nodes", 2, ["relu1", "relu", {}, [1]]), "node relu1", "the order is"),
    ("no nodes", put("nodes", []), "nodes", "at least one"),
    ("softmax over the batch", put("nodes", 2, ["relu1", "softmax", {"dim": 0}]), "node relu1", "images of a batch"),
    ("concatenated images", put("nodes", 2, ["relu1", "concatenate", {"dim": 0}]), "node relu1", "from 1 to 4"),
    ("softmax over a dimension that isn't there", put("nodes", 2, ["relu1", "softmax", {"dim": 2}]),
     "node relu1", "has 2 dimensions"),
    ("flatten with the batch", put("nodes", 0, ["flatten", "flatten", {"start_dim": 0}]), "node flatten", "from 1 to"),
    ("convolution with a matrix", put("nodes", 3, ["fc2", "conv2d"]), "node fc2", "2 dimensions instead of 4"),
    ("pool of a vector", put("nodes", 2, ["relu1", "max_pool1d", {"kernel_size": 1, "stride": 1}]),
     "node relu1", "can't take shape"),
    ("shapes that don't fit", put("nodes", 2, ["relu1", "add", [1, 2]]), "node relu1", "don't fit together"),
    # the rest
    ("unknown key", put("code", "import os"), "header", "unknown key"),
    ("unknown dtype", put("dtype", "complex64"), "dtype", "must be one of"),
    ("dtype of another type", put("dtype", ["float32"]), "dtype", "must be one of"),
    ("another dtype", put("dtype", "float16"), "tensor fc1.weight", "take 28"),
    ("no input", lambda h: h.pop("input") and None, "input", "must be a list"),
    ("huge input", put("input", [1, 1 << 20, 1 << 20]), "input", "more than"),
    ("external data", put("tensors", "fc2.bias", [[2], 8, "dense", {"location": "../../etc/passwd"}]),
     "tensor fc2.bias", "unknown setting"),
    ("shared with nothing", put("shared", {"fc2.bias2": "fc9.bias"}), "shared tensor fc2.bias2", "isn't stored"),
    ("stored and shared", put("shared", {"fc2.bias": "fc1.bias"}), "shared tensor fc2.bias", "stored as well"),
    ("shared of another type", put("shared", []), "shared", "JSON object"),
    ("a list as header", lambda h: [h], "header", "JSON object"),
    ("a number as header", lambda h: 7, "header", "JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "where", "what"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_hostile_headers_are_refused_with_what_and_where(change, where, what):
    with pytest.raises(BadArtefact) as refused:
        artefact.read(changed(change))
    assert where in refused.value.where, str(refused.value)
    assert what in refused.value.what, str(refused.value)


@pytest.mark.parametrize(("text", "what"), [
    (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    (b'{"input":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001, "nested too deeply"),
    (b'{"input":[1],"input":[2]}', "stands twice"),
    (b'{"tensors":{"a.weight":[[1],4],"a.weight":[[1],4]}}', "stands twice"),
    (b'{"input":[NaN]}', "not a number"), (b'{"input":[-Infinity]}', "not a number"),
    (b'{"input":[' + b"9" * 5000 + b"]}", "JSON"),
    (b'{"input":', "JSON"), (b"", "JSON"), (b"\xff\xfe{}", "JSON"), (b'{"input":[1]} {}', "JSON"),
])  # fmt: skip
def test_headers_that_are_no_json_of_ours_are_refused(text, what):
    with pytest.raises(BadArtefact, match=what) as refused:
        artefact.read(container.seal(container.deflate(text), b""))
    assert refused.value.where == "header"


def test_a_header_bomb_is_refused_before_it_unfolds():
    bomb = container.deflate(b'{"input":[' + b" " * 30_000_000 + b"1]}")
    assert len(bomb) < 40_000
    tracemalloc.start()
    with pytest.raises(BadArtefact, match="once decompressed"):
        artefact.read(container.seal(bomb, b""))
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("header", [
    container.deflate(b"{}")[:-1], container.deflate(b"{}") + b"\0", zlib.compress(b"{}"), b"", b"\x07",
], ids=["cut", "more behind", "with a zlib header", "empty", "reserved block"])  # fmt: skip
def test_broken_compression_is_refused(header):
    with pytest.raises(BadArtefact) as refused:
        artefact.read(container.seal(header, b""))
    assert refused.value.where == "header"


def test_bytes_behind_the_payloads_are_refused():
    with pytest.raises(BadArtefact, match="adds up to"):
        artefact.read(changed(lambda header: None, mutations.split(HONEST)[1] + b"\0"))


def test_a_header_longer_than_the_file_is_refused():
    body = b"NUT1" + (1 << 31).to_bytes(4, "little") + b"abc"
    with pytest.raises(BadArtefact, match="length of the header"):
        artefact.read(body + zlib.crc32(body).to_bytes(4, "little"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 15, 20])
def test_numbers_that_are_none_are_refused(value, place):
    payloads = bytearray(mutations.split(HONEST)[1])
    payloads[4 * place : 4 * place + 4] = np.float32(value).tobytes()
    with pytest.raises(BadArtefact, match="infinite or not a number"):
        artefact.read(changed(lambda header: None, bytes(payloads)))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(HONEST) - 1), st.integers(1, 255))
def test_every_flipped_byte_is_found(place, flip):
    damaged = bytearray(HONEST)
    damaged[place] ^= flip
    with pytest.raises(BadArtefact):
        artefact.read(bytes(damaged))


def test_every_truncation_is_found():
    for length in range(len(HONEST)):
        with pytest.raises(BadArtefact):
            artefact.read(HONEST[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    for guess in (data, b"NUT1" + data, container.seal(data, b""), container.seal(container.deflate(data), data)):
        with pytest.raises(BadArtefact):
            artefact.read(guess)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_change_of_a_header_gives_a_network_that_runs_or_is_refused(data, times, random):
    header, payloads = mutations.split(data)
    mutations.verdict(mutations.join(mutations.mutated(header, random.randrange, times), payloads))


REGRESSIONS = {
    "softmax along a dimension that isn't there, found by atheris": {
        "input": [4], "nodes": [["0", "softmax", {"dim": 2}], ["1", "log_softmax"]]},
}  # fmt: skip


@pytest.mark.parametrize("header", REGRESSIONS.values(), ids=REGRESSIONS)
def test_what_fuzzing_found_stays_mended(header):
    with pytest.raises(BadArtefact):
        artefact.read(mutations.join(header, b""))


# Limits: each is what stops the file, at the number it names and not one below.


@pytest.mark.parametrize(("limit", "enough"), [
    ("file_bytes", len(HONEST)), ("nodes", 4), ("tensors", 4), ("tensor_elements", 14), ("total_elements", 25),
    ("activations", 4 + 4 + 2 + 3 + 3 + 2), ("macs", 2 * (3 + 4) + 6),
])  # fmt: skip
def test_each_limit_holds_to_the_number(limit, enough):
    assert artefact.read(HONEST, limits=Limits(**{limit: enough})).bytes == len(HONEST)
    with pytest.raises(BadArtefact, match=r"more than|up to"):
        artefact.read(HONEST, limits=Limits(**{limit: enough - 1}))


def test_small_files_that_ask_for_much_are_refused_quickly():
    """A convolution used again and again, a sum that doubles, a wide border: little to store and much to compute."""
    def convolutions(count, **options):
        return {"input": [1, 64, 64],
                "nodes": [["c", "conv2d", options]] + [["c"]] * (count - 1),
                "tensors": {"c.weight": [[1, 1, 65, 65], 4 * 65 * 65]}}  # fmt: skip

    doubling = {"input": [4], "nodes": [[f"c{i}", "concatenate", [i, i]] for i in range(200)]}
    started = time.process_time()
    for header, payload in [
        (convolutions(2000, padding=32), 4 * 65 * 65), (convolutions(1, padding=60_000), 4 * 65 * 65), (doubling, 0),
    ]:  # fmt: skip
        with pytest.raises(BadArtefact, match="by then"):
            artefact.read(mutations.join(header, bytes(payload)))
    assert time.process_time() - started < 20


def test_nothing_is_decoded_before_everything_is_checked(monkeypatch):
    monkeypatch.setattr(artefact.Dense, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(BadArtefact, match="earlier value"):
        artefact.read(changed(put("nodes", 1, ["fc1", "linear", [4]])))
    with pytest.raises(BadArtefact, match="adds up"):
        artefact.read(changed(lambda header: None, b""))


# Files


def test_errors_name_the_file(tmp_path):
    (tmp_path / "mine.nut").write_bytes(HONEST[:-1])
    with pytest.raises(BadArtefact, match=r"mine\.nut: check sum"):
        artefact.load(tmp_path / "mine.nut")


def test_other_formats_are_named(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.nut")
    with pytest.raises(BadArtefact, match=r"not a \.nut file"):
        artefact.load(tmp_path / "a.nut")


def test_what_is_no_file_is_wrong_use(tmp_path):
    os.mkfifo(tmp_path / "pipe.nut")
    for path in (tmp_path, tmp_path / "none.nut", tmp_path / "pipe.nut"):
        with pytest.raises(WrongUse):
            artefact.load(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "a.nut").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(BadArtefact, match="more than"):
        artefact.load(tmp_path / "a.nut")


# Shapes are inferred in plain numbers; torch says the same.


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 4), padding=st.integers(0, 3),
       dilation=st.integers(1, 3), ceil=st.booleans())  # fmt: skip
def test_windows_are_counted_as_torch_counts_them(size, kernel, stride, padding, dilation, ceil):
    options = dict(stride=(stride,), padding=(padding,), dilation=(dilation,))
    images = torch.zeros(1, 1, size)
    if ceil:
        padding = min(padding, kernel // 2)
        options |= dict(padding=(padding,), ceil_mode=True)
        layer: nn.Module = nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=True)
    else:
        layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    try:
        expected = tuple(layer(images).shape[2:])
    except RuntimeError:
        with pytest.raises(ValueError):
            windows(options, (kernel,), (size,))
    else:
        assert windows(options, (kernel,), (size,)) == expected


def test_json_of_a_header_is_compact():
    header, _ = container.unpack(HONEST)
    assert len(container.deflate(json.dumps(header, separators=(",", ":")).encode())) < 160
