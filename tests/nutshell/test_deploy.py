"""A ``.nut`` file in ONNX Runtime gives the same numbers for every operation, and times are what they say."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nutshell import artefact, deploy, models
from nutshell.artefact import OPERATIONS, LowRank
from nutshell.artefact.binary import InputScales1d, InputScales2d, Sign
from nutshell.artefact.circulant import BlockCirculant
from nutshell.artefact.operations import Add, Concatenate, Multiply
from nutshell.artefact.scaling import Mean, Repeat, Scale
from nutshell.commands.deploy import deploy as command
from nutshell.deploy import export
from nutshell.errors import WrongUse
from nutshell.models.cifar import PaddedShortcut


class _Two(nn.Module):
    """An operation with two inputs, both made from the image."""

    def __init__(self, operation):
        super().__init__()
        self.left, self.right, self.operation = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), operation

    def forward(self, x):
        return self.operation(self.left(x), self.right(x))


def _seq(*modules):
    return nn.Sequential(*modules)


IMAGE, ROW = (2, 8, 6), (2, 12)
CASES = {
    "linear": (_seq(nn.Flatten(), nn.Linear(96, 5)), IMAGE),
    "linear without a bias": (_seq(nn.Flatten(), nn.Linear(96, 5, bias=False)), IMAGE),
    "linear on rows": (nn.Linear(12, 4), ROW),
    "convolution": (nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), IMAGE),
    "convolution, same": (nn.Conv2d(2, 3, 3, padding="same", bias=False), IMAGE),
    "convolution of rows": (nn.Conv1d(2, 3, 4, stride=2, padding=1), ROW),
    "batch norm": (nn.BatchNorm2d(2), IMAGE),
    "batch norm of rows": (nn.BatchNorm1d(2, affine=False), ROW),
    "maxima": (nn.MaxPool2d(3, stride=2, padding=1), IMAGE),
    "maxima, ceiling": (nn.MaxPool2d((2, 3), stride=(3, 2), ceil_mode=True), IMAGE),
    "maxima of rows": (nn.MaxPool1d(3), ROW),
    "means": (nn.AvgPool2d(3, stride=2, padding=1), IMAGE),
    "means without the border": (nn.AvgPool2d(3, padding=1, count_include_pad=False), IMAGE),
    "means of rows": (nn.AvgPool1d(2), ROW),
    "adaptive": (nn.AdaptiveAvgPool2d((4, 2)), IMAGE),
    "adaptive of rows": (nn.AdaptiveAvgPool1d(3), ROW),
    "flatten a part": (nn.Flatten(2), IMAGE),
    "leaky": (nn.LeakyReLU(0.2), IMAGE),
    "relu6": (_seq(nn.BatchNorm2d(2), nn.ReLU6()), IMAGE),
    "sigmoid and tanh": (_seq(nn.Sigmoid(), nn.Tanh()), IMAGE),
    "silu": (nn.SiLU(), IMAGE),
    "gelu": (nn.GELU(), IMAGE),
    "gelu by tanh": (nn.GELU(approximate="tanh"), IMAGE),
    "local response": (nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0), (7, 3, 3)),
    "softmax": (nn.Softmax(1), IMAGE),
    "log softmax": (nn.LogSoftmax(2), IMAGE),
    "add": (_Two(Add()), IMAGE),
    "multiply": (_Two(Multiply()), IMAGE),
    "concatenate": (_Two(Concatenate(1)), IMAGE),
    "shortcut": (PaddedShortcut(4), IMAGE),
    "scale": (Scale(2), IMAGE),
    "repeat": (Repeat((2, 3)), IMAGE),
    "mean": (Mean(), IMAGE),
    "sign": (Sign(), IMAGE),
    "sizes of rows": (InputScales1d(), (9,)),
    "sizes": (InputScales2d((3, 2), (2, 1), (1, 0)), IMAGE),
    "circulant": (_seq(nn.Flatten(), BlockCirculant(96, 10, 4)), IMAGE),
}


def _filled(network):
    """Parameters and statistics that aren't what they are at first."""
    generator = torch.Generator().manual_seed(1)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("name", CASES)
def test_every_operation_gives_the_same_numbers(name):
    network, shape = CASES[name]
    found = artefact.read(artefact.to_bytes(_filled(network), input_shape=shape))
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    session = deploy.Session(found)
    assert session.input_shape == shape
    with torch.inference_mode():
        torch.testing.assert_close(session(images), found.network(images), rtol=1e-4, atol=1e-4)


def test_every_operation_of_the_file_format_is_exported_and_tried():
    assert set(export.OPERATIONS) == set(OPERATIONS)
    tried = set()
    for network, shape in CASES.values():
        found = artefact.read(artefact.to_bytes(network.eval(), input_shape=shape))
        tried |= {node.operation for node in found.graph.nodes}
    assert tried | {"relu"} == set(OPERATIONS)


def test_low_rank_stays_two_layers():
    content = artefact.to_bytes(models.build("lenet-300-100"), input_shape=(1, 28, 28),
                                encodings={"fc1.weight": LowRank(7)})
    found = artefact.read(content)
    session = deploy.Session(found)
    images = torch.rand(2, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(session(images), found.network(images), rtol=1e-4, atol=1e-4)
    assert session.model_bytes < 4 * 50_000


def test_what_has_no_form_is_refused_with_its_place():
    found = artefact.read(artefact.to_bytes(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(3)), input_shape=IMAGE))
    with pytest.raises(deploy.CannotExport, match=r"1: means over .*8, 6"):
        deploy.to_onnx(found)


def test_times_are_one_an_answer_and_ordered():
    calls = []

    def run(image):
        calls.append(tuple(image.shape))

    images = torch.rand(3, 1, 4, 4)
    assert len(deploy.latencies(run, 10, 4, images)) == 10 and len(calls) == 14
    paced = deploy.at_rate(run, 500, 5, images)
    assert len(paced) == 5 and all(seconds >= 0 for seconds in paced) and set(calls) == {(1, 1, 4, 4)}
    found = deploy.summary([0.004, 0.001, 0.002, 0.003])
    assert (found.median, found.p95, found.worst) == (2000.0, 4000.0, 4000.0)
    assert found.frames_a_second == 500 and found.keeps_up(200) and not found.keeps_up(300)
    with pytest.raises(ValueError, match="no times"):
        deploy.summary([])


def test_the_command_writes_a_model_and_says_how_fast_it_is(tmp_path):
    file = tmp_path / "small.nut"
    artefact.save(models.build("lenet-300-100"), file, input_shape=(1, 28, 28))
    done = CliRunner().invoke(command, [str(file), "--answers", "4", "--fps", "1000", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["same"] and (tmp_path / "small.onnx").stat().st_size == said["onnx_bytes"]
    assert deploy.Session((tmp_path / "small.onnx").read_bytes()).input_shape == (1, 28, 28)
    assert said["one_image_us"]["answers"] == 4 and said["at_rate_us"]["answers"] == 1
    done = CliRunner().invoke(command, [str(file), "--answers", "3", "--fps", "1000"])
    assert "at 1000 frames a second" in done.output
    assert CliRunner().invoke(command, [str(tmp_path / "none.nut")]).exit_code != 0
    assert CliRunner().invoke(command, [str(file), "--fps", "0"]).exit_code != 0
    with pytest.raises(WrongUse, match="no folder"):
        CliRunner().invoke(command, [str(file), "--output", str(tmp_path / "none" / "m.onnx")], catch_exceptions=False)
