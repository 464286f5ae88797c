"""The meter, rendered in each peer's convention, agrees with the peer to the digit on every network."""

import functools

import pytest
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from nutshell import meter, models
from nutshell.errors import WrongUse

# Networks whose convolutions take any image are compared on a small one, where a peer has to compute.
ANY_IMAGE = {"resnet-50": (3, 64, 64), "googlenet": (3, 96, 96), "yolov3": (3, 64, 64)}


@functools.cache
def _report(name, shape):
    return meter.count(models.build(name, device="meta"), (1, *shape))


def _by_torch(network, image):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops()


def _by_fvcore(network, image):
    analysis = FlopCountAnalysis(network, image)
    analysis.unsupported_ops_warnings(False).tracer_warnings("none")
    return analysis


def _by_torchinfo(network, image):
    return torchinfo.summary(network, input_data=image, verbose=0, device=image.device)


@pytest.mark.parametrize("name", models.INPUT_SHAPES)
def test_torch_and_torchinfo_agree_on_the_meta_device(name):
    shape = models.INPUT_SHAPES[name]
    network, image = models.build(name, device="meta").eval(), torch.empty(1, *shape, device="meta")
    summary, report = _by_torchinfo(network, image), _report(name, shape)
    assert int(report.render("torch")) == _by_torch(network, image)
    assert int(report.render("torchinfo")) == summary.total_mult_adds
    assert report.parameters == summary.total_params


@pytest.mark.parametrize("name", models.INPUT_SHAPES)
def test_fvcore_agrees_in_total_and_in_every_layer(name):
    shape = ANY_IMAGE.get(name, models.INPUT_SHAPES[name])
    # fvcore can't trace convolutions on meta; memory that nobody writes costs none.
    network = models.build(name, device="meta").to_empty(device="cpu").eval()
    analysis = _by_fvcore(network, torch.zeros(1, *shape))
    rendering = _report(name, shape).render("fvcore")
    assert rendering.total == analysis.total()
    ours = {layer: flops for layer, flops in rendering.layers.items() if layer}  # theirs sums up the network itself
    theirs = analysis.by_module()
    assert ours == {layer: theirs[layer] for layer in ours}


@pytest.mark.parametrize("batch", [1, 3])
def test_the_peers_agree_on_transposed_grouped_and_masked_layers_and_on_batches(batch):
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, bias=False), nn.GroupNorm(2, 8), nn.ReLU(), nn.BatchNorm2d(8, affine=False),
        nn.ConvTranspose2d(8, 4, 2, stride=2), nn.BatchNorm2d(4), nn.InstanceNorm2d(4),
        nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(3),
        nn.Flatten(), nn.Linear(36, 10), nn.LayerNorm(10), nn.Linear(10, 3),
    ).eval()  # fmt: skip
    image = torch.rand(batch, 4, 8, 8)
    report = meter.count(network, tuple(image.shape))
    assert int(report.render("torch")) == _by_torch(network, image)
    assert int(report.render("fvcore")) == _by_fvcore(network, image).total()
    prune.random_unstructured(network[-3], "weight", amount=0.5)
    masked = meter.count(network[-4:], (batch, 4, 3, 3))
    assert int(masked.render("torchinfo")) == _by_torchinfo(network[-4:], torch.rand(batch, 4, 3, 3)).total_mult_adds
    assert int(masked.render("torchinfo")) == batch * (180 + 10 + 20 + 33)  # half of the 360 weights are masked


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_torch_and_torchinfo_agree_on_recurrent_layers(kind):
    network, steps = kind(6, 5, num_layers=2, batch_first=True, device="meta"), torch.empty(2, 7, 6, device="meta")
    report = meter.count(network, (2, 7, 6))
    assert int(report.render("torch")) == _by_torch(network, steps)
    assert int(report.render("torchinfo")) == _by_torchinfo(network, steps).total_mult_adds


def test_a_rendering_says_what_it_counts_and_sums_its_layers():
    rendering = _report("lenet-5-caffe", (1, 28, 28)).render("torch")
    assert (rendering.unit, sum(rendering.layers.values())) == ("FLOPs", rendering.total)
    assert rendering.layers["conv1"] == 2 * 288_000 and "relu1" not in rendering.layers
    assert str(rendering) == "torch: 4,586,000 FLOPs (2 × MACs, nothing else)"


def test_an_unknown_tool_is_refused_with_the_tools_there_are():
    with pytest.raises(WrongUse, match=r"'thop'.*torchinfo, fvcore"):
        _report("lenet-5-caffe", (1, 28, 28)).render("thop")
