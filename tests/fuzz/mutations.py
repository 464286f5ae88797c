"""Hostile files from honest ones: changes to the header's JSON, with the check sum put right again."""

import copy
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nutshell import artefact, models
from nutshell.artefact import container
from nutshell.artefact.binary import InputScales1d, InputScales2d, Sign
from nutshell.artefact.circulant import BlockCirculant
from nutshell.artefact.operations import Multiply
from nutshell.models.blocks import block_network

LIMITS = artefact.Limits(file_bytes=1 << 20, header_bytes=1 << 14, nodes=64, tensors=64, tensor_elements=1 << 16,
                         total_elements=1 << 18, activations=1 << 18, macs=1 << 22)  # fmt: skip
INTERESTING: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, -1, 7, 64, 255, 65535, 65536, 1 << 31, 1 << 63, -(1 << 63), 10**40, 0.5, -0.5, 1e308,
    "", "fc1", "conv1", "0", "add", "linear", "conv2d", "flatten", "softmax", "concatenate", "max_pool2d", "sign",
    "input_scales2d", "dense", "low_rank", "sparse", "codebook", "affine", "fixed_point", "binary", "huffman", "ans",
    "fixed", "columns", ["dense"],
    ["codebook", {"k": 2}], ["affine", {"bits": 4}], {"limit": 4}, {"coder": "ans"}, {"k": 1}, {"bits": 2}, {"axis": 0},
    "float16", "float64", "int8", "forward", "__class__", "fc1.weight", "../x", "\u0000", "é",
    [], {}, [0], [1], [0, 0], [1, 1], [-1], [1, 2, 3], [[0]], {"dim": 1}, {"rank": 1}, {"stored": "float16"},
    "hashed", "frequency_hashed", "circulant", {"buckets": 2}, {"buckets": [1, 0, 1, 0, 1]}, {"buckets": 4, "seed": 9},
    {"padding": 2}, {"groups": 2}, {"stride": 0}, {"kernel_size": 2, "stride": 2}, "relu", "shared", "nodes",
)  # fmt: skip
Choose = Callable[[int], int]  # choose(n) gives a whole number from 0 to n − 1


def seeds() -> list[bytes]:
    """Small honest files that together use most of what a file can say."""
    torch.manual_seed(0)
    shape = (1, 8, 8)
    convolutional = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.Sigmoid(), nn.AvgPool2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3), nn.Softmax(1),
    )  # fmt: skip
    return [
        artefact.to_bytes(models.build("mlp", sizes=(64, 6, 3)), input_shape=shape,
                          encodings={"fc1.weight": artefact.LowRank(2), "fc2.weight": artefact.Dense("float16")}),
        artefact.to_bytes(convolutional.eval(), input_shape=shape, encodings={"0.weight": artefact.LowRank(2)}),
        artefact.to_bytes(Branches(), input_shape=shape),
        artefact.to_bytes(block_network((("fire", 4), ("octave+", 4)), activation="swish", last_keep=0.5, channels=1,
                                        size=4), input_shape=(1, 4, 4)),
        artefact.to_bytes(signs(), input_shape=(1, 4, 4), encodings={"conv.weight": artefact.Binary(stored="float16"),
                                                                     "fc.weight": artefact.Binary(axis=None)}),
        artefact.to_bytes(_shared_values(), input_shape=shape, encodings={
            "0.weight": artefact.FrequencyHashed([2, 1, 0, 1, 0], seed=3, values=artefact.Dense("float16")),
            "3.bias": artefact.Hashed(2), "5.weight": artefact.Hashed(5, seed=1, values=artefact.Codebook(3))}),
        *(artefact.to_bytes(_thinned(models.build("mlp", sizes=(64, 6, 3))), input_shape=shape, encodings=encodings)
          for encodings in _ENCODINGS),
    ]  # fmt: skip


_ENCODINGS: tuple[dict[str, artefact.Encoding], ...] = (
    {"fc1.weight": artefact.Sparse(limit=4), "fc1.bias": artefact.Codebook(4),
     "fc2.weight": artefact.Affine(4, axis=0), "fc2.bias": artefact.FixedPoint(7)},
    {"fc1.weight": artefact.Sparse(artefact.Codebook(5, coder="huffman"), limit=16, coder="huffman"),
     "fc1.bias": artefact.Affine(8, symmetric=True), "fc2.weight": artefact.Codebook(3, coder="huffman"),
     "fc2.bias": artefact.Sparse(artefact.FixedPoint(12, axis=0), coder="ans")},
    {"fc1.weight": artefact.Sparse(artefact.Codebook(5, coder="ans", stored="float16"), coder="ans", order="columns"),
     "fc1.bias": artefact.Sparse(artefact.Affine(3, coder="ans"), limit=1), "fc2.bias": artefact.Codebook(coder="ans"),
     "fc2.weight": artefact.FixedPoint(4, coder="ans")},
)  # fmt: skip


def signs() -> nn.Module:
    """Binary weights on signs, with input scales, as XNOR-Net has them."""
    network = XnorNetwork().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.sign() / 4)
    return network


class XnorNetwork(nn.Module):
    """A convolution on signs times its input scales, and a linear layer on signs times its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.Linear(48, 3, bias=False)
        self.sign, self.product = Sign(), Multiply()
        self.windows, self.rows = InputScales2d(3, 1, 1), InputScales1d()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.product(self.conv(self.sign(x)), self.windows(x)).flatten(1)
        return self.fc(self.sign(x)) * self.rows(x)


def _shared_values() -> nn.Module:
    """A convolution, circulant blocks that don't divide the sizes, and a linear layer."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), BlockCirculant(72, 7, 3), nn.Sigmoid(),
                         nn.Linear(7, 3)).eval()  # fmt: skip


def _thinned(network: nn.Module) -> nn.Module:
    """Two thirds of its weights zero, the rest of few values."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 20).round() / 20 * (torch.rand_like(parameter) < 1 / 3))
    return network


class Branches(nn.Module):
    """Two branches, a module used twice, a shared tensor, a sum and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.shortcut = models.cifar.PaddedShortcut(2)
        self.fc = nn.Linear(64, 3)
        self.tied = nn.Linear(64, 3)
        self.tied.weight = self.fc.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        x = self.shortcut(self.twice(self.twice(x)) + x)
        x = x.flatten(1)
        return torch.cat([self.fc(x), self.tied(x)], 1)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payloads of an honest file."""
    header, payloads = container.unpack(data)
    return header, bytes(payloads)


def join(header: Any, payloads: bytes) -> bytes:
    """A file with a right check sum around any header that JSON can write."""
    return container.seal(container.deflate(json.dumps(header).encode()), payloads)


def mutated(header: dict[str, Any], choose: Choose, times: int) -> dict[str, Any]:
    """A copy of a header with a few changes: a value replaced, removed, repeated, swapped or nudged."""
    header = copy.deepcopy(header)
    for _ in range(times):
        places = list(_places(header))
        if not places:
            return header
        parent, key = places[choose(len(places))]
        other, other_key = places[choose(len(places))]
        kind = choose(6)
        if kind == 0:
            parent[key] = copy.deepcopy(INTERESTING[choose(len(INTERESTING))])
        elif kind == 1:
            del parent[key]
        elif kind == 2 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == 3:
            parent[key] = copy.deepcopy(other[other_key])
        elif kind == 4 and type(parent[key]) is int:
            parent[key] += choose(7) - 3
        elif isinstance(parent, dict):
            parent[str(INTERESTING[choose(len(INTERESTING))])] = parent.pop(key)
    return header


def damaged(payloads: bytes, changes: bytes) -> bytes:
    """Payloads of the same length with a few bytes changed: two bytes say where, the next one to what."""
    found = bytearray(payloads)
    for place in range(0, len(changes) - 2, 3):
        found[int.from_bytes(changes[place : place + 2]) % len(found)] = changes[place + 2]
    return bytes(found)


def verdict(data: bytes) -> str:
    """Read a file as a grader does: "refused", or "read" after its network has run. Any other exception is a bug."""
    try:
        found = artefact.read(data, limits=LIMITS)
    except artefact.BadArtefact as error:
        assert error.where and error.what, repr(error)
        assert len(str(error)) < 2000, len(str(error))
        return "refused"
    assert found.bytes == len(data) == sum(row[3] for row in found.table())
    images = torch.randn(3, *found.input_shape, generator=torch.Generator().manual_seed(0)).to(found.dtype)
    with torch.inference_mode():
        outputs, alone = found.network(images), found.network(images[:1])
    assert tuple(outputs.shape) == (3, *found.shapes[-1]), (outputs.shape, found.shapes[-1])
    if found.dtype in (torch.float32, torch.float64):  # an image's outputs don't depend on the others of its batch
        size = alone.abs().nan_to_num(0, 0, 0).max().item()
        assert torch.allclose(outputs[:1], alone, 1e-3, 1e-3 * size, equal_nan=True)
    artefact.fingerprint(found.network)
    return "read"


def _places(value: Any) -> Any:
    """Every place inside a JSON value, as the container and the key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in list(items):
        yield value, key
        yield from _places(inside)
