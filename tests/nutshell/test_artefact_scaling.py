"""What compact blocks compute between layers is saved: stored numbers, constants, upsampling and means over places."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import artefact, meter, models
from nutshell.artefact import BadArtefact, CannotSave
from nutshell.models.blocks import BLOCKS, MORE_BLOCKS, Swish, block_network
from tests.fuzz import mutations

IMAGE = (3, 8, 8)


def found_of(network: nn.Module, input_shape=IMAGE) -> artefact.Artefact:
    """Saved and read, with equal outputs on images that saving hasn't seen."""
    found = artefact.read(artefact.to_bytes(network, input_shape=input_shape))
    images = torch.randn(3, *input_shape, dtype=found.dtype)
    with torch.no_grad():
        torch.testing.assert_close(found.network(images), network.eval()(images), rtol=1e-5, atol=1e-5)
    return found


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class OwnSwish(nn.Module):
    """As a learner writes it."""

    def __init__(self, beta: torch.Tensor):
        super().__init__()
        self.beta = nn.Parameter(beta)

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
def test_swish_keeps_its_trained_beta(shape):
    beta = torch.randn(shape)
    network = nn.Sequential(nn.Conv2d(3, 3, 3), OwnSwish(beta))
    found = found_of(network)
    assert [node.operation for node in found.graph.nodes] == ["conv2d", "scale", "sigmoid", "multiply"]
    assert torch.equal(found.network.get_submodule("1.beta").weight, beta.flatten())
    assert size(found.network) == 84 + beta.numel()


def test_a_parameter_used_twice_is_stored_once():
    shared = OwnSwish(torch.tensor(0.7))
    found = found_of(nn.Sequential(shared, nn.Conv2d(3, 3, 1), shared))
    assert [node.name for node in found.graph.nodes].count("0.beta") == 2
    assert [tensor.name for tensor in found.tensors].count("0.beta.weight") == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_constants_scale_in_the_networks_own_dtype(dtype):
    class Expected(nn.Module):  # Swapout's expectation
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return 0.8 * x + self.conv(x) * 0.75 / 3

    network = Expected().to(dtype)
    found = artefact.read(artefact.to_bytes(network, input_shape=IMAGE))
    images = torch.randn(2, *IMAGE, dtype=dtype)
    most = 1e-2 if dtype == torch.bfloat16 else 1e-6  # torch rounds a constant's product, not the constant
    torch.testing.assert_close(found.network(images), network(images), rtol=most, atol=most)
    scales = [module.weight for module in found.network.modules() if isinstance(module, artefact.scaling.Scale)]
    assert [scale.dtype for scale in scales] == [dtype] * 3 and scales[0].item() == torch.tensor(0.8, dtype=dtype)


@pytest.mark.parametrize("up", [
    lambda x: functional.interpolate(x, scale_factor=2), lambda x: functional.interpolate(x, scale_factor=(2.0, 2)),
    lambda x: x.repeat_interleave(2, -2).repeat_interleave(2, dim=-1),
    lambda x: torch.repeat_interleave(torch.repeat_interleave(x, 2, 3), 2, 2),
])  # fmt: skip
@pytest.mark.parametrize("mean", [
    lambda x: x.mean((2, 3)), lambda x: torch.mean(x, dim=(-1, -2)), lambda x: x.mean([2, 3], keepdim=True).flatten(1),
])  # fmt: skip
def test_octave_paths_and_pooled_heads_as_people_write_them(up, mean):
    class Paths(nn.Module):
        def __init__(self):
            super().__init__()
            self.high, self.low = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(mean(self.high(x) + up(self.low(functional.avg_pool2d(x, 2)))))

    assert found_of(Paths()).macs == 4 * 27 * (64 + 16) + 8


@pytest.mark.parametrize("kind", [f"{kind}{shortcut}" for kind in BLOCKS | MORE_BLOCKS for shortcut in ("", "+")])
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_every_block_is_saved(kind, activation):
    network = block_network((("down", 8), (kind.removesuffix("+"), 8), (kind, 8)), activation=activation, size=16,
                            last_keep=0.5)  # fmt: skip
    network(torch.randn(4, 3, 16, 16))  # so that the running statistics are not the initial ones
    found = found_of(network, (3, 16, 16))
    assert found.macs == meter.count(network, (1, 3, 16, 16)).total.macs
    assert size(found.network) == size(network) + (kind[-1] == "+")  # the chance to keep, a constant of the shortcut


class Refused(nn.Module):
    def __init__(self, compute):
        super().__init__()
        self.conv, self.compute = nn.Conv2d(3, 3, 1), compute
        self.bias, self.table = nn.Parameter(torch.ones(3, 1, 1)), nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return self.compute(self, self.conv(x))


@pytest.mark.parametrize(("compute", "words"), [
    (lambda self, x: x + self.bias, "can scale a value, and nothing else"),
    (lambda self, x: x * self.table, r"table is used outside of a layer .*\[8, 8\]"),
    (lambda self, x: x * torch.sigmoid(self.bias), "can scale a value, and nothing else"),
    (lambda self, x: x / x, "divided by a constant only"),
    (lambda self, x: x / 0, "divided by a constant only"),
    (lambda self, x: x * float("inf"), "infinite"),
    (lambda self, x: functional.interpolate(x, scale_factor=1.5), "whole scale_factor"),
    (lambda self, x: functional.interpolate(x, size=16), "whole scale_factor"),
    (lambda self, x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "whole scale_factor"),
    (lambda self, x: functional.interpolate(x, scale_factor=65), "from 1 to 64"),
    (lambda self, x: x.repeat_interleave(2, 1), "along height or width"),
    (lambda self, x: x.mean(1), "over height and width"),
    (lambda self, x: x.mean((1, 3)), "over height and width"),
])  # fmt: skip
def test_what_cannot_be_expressed_is_refused_by_name(compute, words):
    with pytest.raises(CannotSave, match=words):
        artefact.to_bytes(Refused(compute), input_shape=IMAGE)


HONEST = artefact.to_bytes(block_network((("octave", 4),), activation="swish", size=4), input_shape=(3, 4, 4))


def place(header, operation: str) -> list:
    return next(node for node in header["nodes"] if operation in node[1:2])


@pytest.mark.parametrize(("change", "what"), [
    (lambda h: place(h, "repeat").append({"times": 0}), "read from"),
    (lambda h: place(h, "repeat").__setitem__(-1, {"times": 65}), "from 1 to 64"),
    (lambda h: place(h, "repeat").__setitem__(-1, {"times": [2, 2, 2]}), "2 whole number"),
    (lambda h: place(h, "repeat").__setitem__(-1, {"times": 64}), "don't fit|more than"),
    (lambda h: h["tensors"].pop("block1.act.beta.weight") and None, "missing"),
    (lambda h: h["tensors"].__setitem__("block1.act.beta.weight", [[1, 1], 4]), "2 dimensions instead of 1"),
    (lambda h: place(h, "scale").append({"weight": 3}), "no option|read from"),
    (lambda h: place(h, "scale").__setitem__(1, "mean"), "no such tensor"),
])  # fmt: skip
def test_hostile_headers_are_refused(change, what):
    header, payloads = mutations.split(HONEST)
    change(header)
    with pytest.raises(BadArtefact, match=what):
        artefact.read(mutations.join(header, payloads))


def test_as_many_numbers_as_channels_or_one():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), OwnSwish(torch.ones(3, 1, 1)))
    header, payloads = mutations.split(artefact.to_bytes(network, input_shape=IMAGE))
    header["tensors"]["1.beta.weight"] = [[2], 8]
    with pytest.raises(BadArtefact, match="2 numbers for 3 channels"):
        artefact.read(mutations.join(header, payloads[:-4]))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.data())
def test_no_change_of_the_header_does_more_than_refuse(times, data):
    header, payloads = mutations.split(HONEST)
    changed = mutations.mutated(header, lambda count: data.draw(st.integers(0, count - 1)), times)
    mutations.verdict(mutations.join(changed, payloads))


def test_a_detector_that_joins_its_scales_is_saved():
    """YOLOv3 itself puts out three tensors, and has more weights than a file may; its blocks are these."""
    from nutshell.models.yolov3 import ConvUnit, DarknetBlock, Detector

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.down = ConvUnit(3, 8, 3), ConvUnit(8, 16, 3, stride=2)
            self.block = DarknetBlock(16)
            self.deep, self.reduce, self.fine = Detector(16, 8, 6), ConvUnit(8, 8, 1), Detector(16, 8, 6)

        def forward(self, x):
            high = self.stem(x)
            x, coarse = self.deep(self.block(self.down(high)))
            x = functional.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
            _, fine = self.fine(torch.cat((x, high), dim=1))
            return torch.cat((coarse.flatten(1), fine.flatten(1)), dim=1)

    found_of(Small())
    with pytest.raises(CannotSave, match="other than one tensor"):
        artefact.to_bytes(models.build("yolov3", device="meta"), input_shape=(3, 32, 32))


def test_swish_of_the_toolkit_starts_as_silu():
    x = torch.randn(50)
    torch.testing.assert_close(Swish()(x), functional.silu(x))
    assert Swish().beta.requires_grad and not Swish(trained=False).beta.requires_grad
