"""The meter hits every figure of the papers that the course quotes, and shows where a paper's own figure slips."""

import pytest
import torch

from nutshell import meter, models
from nutshell.models.imagenet import alexnet, resnet_50


@pytest.fixture(scope="module")
def counted():
    """Reports of networks on the meta device, each made once."""
    reports = {}

    def report(name, **options):
        key = name, *sorted(options.items())
        if key not in reports:
            network = models.build(name, device="meta", **options)
            shape = (3, 40, 40) if options.get("variant") == "small" else models.INPUT_SHAPES[name]
            reports[key] = meter.count(network, (1, *shape))
        return reports[key]

    return report


def _weights(report, layer):
    return sum(t.elements for t in report.tensors if t.name == "weight" and f"{t.layer}.".startswith(f"{layer}."))


ALEXNET = {  # layer: weights, multiply-accumulates
    "conv1": (34_848, 105_415_200),
    "conv2": (307_200, 223_948_800),
    "conv3": (884_736, 149_520_384),
    "conv4": (663_552, 112_140_288),
    "conv5": (442_368, 74_760_192),
    "fc6": (37_748_736, 37_748_736),
    "fc7": (16_777_216, 16_777_216),
    "fc8": (4_096_000, 4_096_000),
}


def test_alexnet_layer_by_layer(counted):
    report = counted("alexnet")
    assert {layer: (_weights(report, layer), report[layer].macs) for layer in ALEXNET} == ALEXNET
    assert report.macs == sum(macs for _, macs in ALEXNET.values()) == 724_406_816
    assert report.flops == 1_448_813_632


def test_alexnet_is_243_9_megabytes_and_232_6_mebibytes(counted):
    total = counted("alexnet").total
    assert (total.parameters, total.bytes) == (60_965_224, 243_860_896)
    assert (round(total.bytes / 1e6, 1), round(total.bytes / 2**20, 1)) == (243.9, 232.6)


@pytest.mark.parametrize(
    ("layer", "weights", "millions"),
    [("conv2", 614_400, 447.9), ("conv4", 1_327_104, 224.3), ("conv5", 884_736, 149.5)],
)
def test_alexnet_without_groups(layer, weights, millions):
    with torch.device("meta"):
        report = meter.count(alexnet(groups=1), (1, 3, 227, 227))
    assert _weights(report, layer) == weights
    assert round(report[layer].macs / 1e6, 1) == millions


@pytest.mark.parametrize(("name", "percent"), [("alexnet", 96.2), ("vgg-16", 89.4)])
def test_the_share_of_parameters_in_fully_connected_layers(counted, name, percent):
    report = counted(name)
    linear = sum(layer.parameters for layer in report.layers if layer.kind == "Linear")
    assert round(100 * linear / report.parameters, 1) == percent


def test_vgg_16_executes_15_470_billion_multiply_accumulates(counted):
    report = counted("vgg-16")
    assert (report.parameters, report.macs) == (138_357_544, 15_470_264_320)


def test_resnet_50_executes_3_858_billion_with_the_papers_strides(counted):
    report = counted("resnet-50")
    assert (report.parameters, report.macs) == (25_557_032, 3_857_973_248)
    assert (round(report.total.bytes / 1e6, 1), round(report.total.bytes / 2**20, 1)) == (102.2, 97.5)
    with torch.device("meta"):
        later = meter.count(resnet_50(stride_in_3x3=True), (1, 3, 224, 224))
    assert (later.parameters, later.macs) == (25_557_032, 4_089_184_256)


def test_yolov3_at_320_executes_19_49_billion_and_39_billion_flops(counted):
    report = counted("yolov3")
    assert (report.parameters, report.macs) == (61_949_149, 19_486_412_800)
    assert (round(report.macs / 1e9, 2), round(report.flops / 1e9)) == (19.49, 39)


# Table 1 of the paper: parameters in thousands, operations in millions.
GOOGLENET = {
    "conv1": (2.7, 34),
    "conv2": (112, 360),
    "inception3a": (159, 128),
    "inception3b": (380, 304),
    "inception4a": (364, 73),
    "inception4b": (437, 88),
    "inception4c": (463, 100),
    "inception4d": (580, 119),
    "inception4e": (840, 170),
    "inception5a": (1072, 54),
    "inception5b": (1388, 71),
    "classifier": (1000, 1),
}


def test_googlenets_own_table_sums_to_6_8_million_and_2_07_times_alexnet(counted):
    thousands, millions = (sum(column) for column in zip(*GOOGLENET.values(), strict=True))
    alexnet_report = counted("alexnet")
    assert (round(thousands, 1), millions) == (6797.7, 1502)
    assert round(alexnet_report.parameters / (1000 * thousands), 1) == 9.0
    assert round(1e6 * millions / alexnet_report.macs, 2) == 2.07


def test_googlenet_counted_is_6_998_552_parameters_and_2_18_times_alexnet(counted):
    """The table's first row takes 7×7×3×64 for 2.7K weights and 34M operations; counted, 9,408 and 118.0M."""
    report, alexnet_report = counted("googlenet"), counted("alexnet")
    assert (report.parameters, report.macs) == (6_998_552, 1_582_671_872)
    assert (_weights(report, "conv1"), report["conv1"].macs) == (9_408, 118_013_952)
    weights = sum(tensor.elements for tensor in report.tensors if tensor.name == "weight")
    assert (weights, round(weights / 1024)) == (6_990_272, 6826)  # thousands of 1024, as the table has them
    assert round(report.macs / alexnet_report.macs, 2) == 2.18


def test_googlenets_table_holds_for_its_operations_but_for_two_rows(counted):
    report = counted("googlenet")
    counts = {layer: report[layer].macs / 1e6 for layer in GOOGLENET}
    counts["conv2"] += report["reduce2"].macs / 1e6
    off = {layer for layer, (_, millions) in GOOGLENET.items() if abs(counts[layer] - millions) >= 1}
    assert off == {"conv1", "inception5a"}


def test_the_inception_branch_of_the_errata():
    """A 5×5 convolution from 192 to 32 channels, and the same behind a 1×1 reduction to 16, on 28×28."""
    direct = torch.nn.Conv2d(192, 32, 5, padding=2, bias=False)
    squeeze, widen = torch.nn.Conv2d(192, 16, 1, bias=False), torch.nn.Conv2d(16, 32, 5, padding=2, bias=False)
    reduced = torch.nn.Sequential(squeeze, widen)
    before, after = (meter.count(network, (1, 192, 28, 28)) for network in (direct, reduced))
    assert (after.parameters, before.macs, after.macs) == (15_872, 120_422_400, 12_443_648)
    assert round(before.parameters / after.parameters, 2) == round(before.macs / after.macs, 2) == 9.68


@pytest.mark.parametrize(
    ("variant", "parameters", "macs"),
    [("paper", 252_219, 26_876_342), ("one-dense", 132_501, 26_756_784), ("small", 80_213, 6_963_530)],
)
def test_pilotnets_parameters_have_biases_and_its_multiply_accumulates_have_not(counted, variant, parameters, macs):
    report = counted("pilotnet", variant=variant)
    assert (report.parameters, report.macs) == (parameters, macs)
    assert report.total.bias_adds > 0  # a column of their own


@pytest.mark.parametrize(("name", "parameters", "macs"), [
    ("lenet-300-100", 266_610, 266_200), ("lenet-5-caffe", 431_080, 2_293_000), ("lenet-5", 61_706, 416_520),
    ("resnet-20", 269_722, 40_551_040),
])  # fmt: skip
def test_small_networks(counted, name, parameters, macs):
    assert (counted(name).parameters, counted(name).macs) == (parameters, macs)


def test_lenet_5_caffe_under_every_rule(counted):
    report = counted("lenet-5-caffe")
    assert {tool: int(report.render(tool)) for tool in meter.TOOLS} == {
        "fvcore": 2_293_000,
        "torchinfo": 2_308_230,
        "ptflops-aten": 2_308_230,
        "ptflops-pytorch": 2_323_450,
        "torch": 4_586_000,
    }
