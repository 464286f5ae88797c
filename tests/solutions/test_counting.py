"""Unit 01: the reference counts to the digit, and what the lesson, the lab and the results say is what it counts."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autograder.desk_half import public_checks
from nutshell import results
from nutshell.checks import answers_of, checks_of
from nutshell.wire.channel import Loopback
from nutshell.wire.direct import Direct
from nutshell.wire.running import OK, run_checks
from nutshell.wire.standins import Implementation
from solutions.counting import checks, experiment, mutants, reference

LESSON = Path(__file__).parents[2] / "course" / "text" / "01_counting.md"


@pytest.mark.parametrize("seed", range(8))
def test_the_reference_passes_under_any_seed(seed):
    names = {exercise.name: getattr(reference, exercise.name) for exercise in checks.UNIT.exercises}
    over_the_wire = Implementation(Loopback(names))
    verdicts = run_checks(checks_of(checks), over_the_wire, over_the_wire, seed, authoring=True)
    assert [verdict for verdict in verdicts if verdict.status != OK] == []


WRONG_ANSWERS = [answer for answer in answers_of(mutants) if not answer.right]


@pytest.mark.parametrize("answer", WRONG_ANSWERS, ids=lambda answer: answer.implementation.__name__)
def test_public_checks_know_no_answer_but_the_references(answer):
    public = [check for check in checks_of(checks, answer.exercise) if not check.hidden]
    counting = [check for check in public if not check.name.endswith("_refused")]
    wrong = Direct({answer.exercise: answer.implementation})
    verdicts = run_checks(counting, wrong, wrong, 0, authoring=True)
    assert len(counting) >= 2 and [verdict for verdict in verdicts if verdict.status != OK] == []


def test_the_desk_half_has_no_way_of_its_own_to_count():
    held = public_checks(Path(checks.__file__).read_text(encoding="utf-8"))
    oracles = ("counted", "torch_network", "sizes", "energies", "finding", "printed")
    assert all(callable(getattr(checks, name)) and f"def {name}(" not in held for name in oracles)
    assert "torch." not in held and "nn." not in held


small = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(channels=small, filters=small, groups=small, height=st.integers(1, 12), width=st.integers(1, 12), kernel=small,
       stride=small, padding=st.integers(0, 3), dilation=st.integers(1, 3), bias=st.booleans())
def test_layer_cost_agrees_with_torch_or_refuses_with_it(
    channels, filters, groups, height, width, kernel, stride, padding, dilation, bias
):
    shape, outputs = (channels * groups, height, width), filters * groups
    layer = nn.Conv2d(shape[0], outputs, kernel, stride, padding, dilation, groups, bias)
    try:
        image = layer(torch.zeros(1, *shape))[0]
    except RuntimeError:  # torch: the kernel is larger than the padded input
        with pytest.raises(ValueError, match="spans"):
            reference.layer_cost(shape, outputs, kernel, stride, padding, dilation, groups, bias)
        return
    cost = reference.layer_cost(shape, outputs, kernel, stride, padding, dilation, groups, bias)
    assert cost["output_shape"] == tuple(image.shape)
    assert cost["parameters"] == sum(p.numel() for p in layer.parameters())
    assert cost["macs"] == image.numel() * layer.weight[0].numel()
    assert cost["bias_adds"] == (image.numel() if bias else 0)


@pytest.mark.parametrize(("shape", "outputs", "bias"), [((784,), 300, True), ((300,), 100, False),
                                                         ((50, 4, 4), 500, True), ((1,), 1, True)])
def test_linear_layers_agree_with_torch(shape, outputs, bias):
    inputs = math.prod(shape)
    want = checks.counted(nn.Linear(inputs, outputs, bias), (inputs,))
    assert reference.layer_cost(shape, outputs, bias=bias) == want


@pytest.mark.parametrize(("layers", "shape"), [(checks.LENET_5_CAFFE, (1, 28, 28)), (checks.ALEXNET, (3, 227, 227))])
def test_networks_agree_with_torch(layers, shape):
    assert reference.network_cost(layers, shape) == checks.torch_network(layers, shape)


def test_alexnet_layer_by_layer_as_the_errata_have_it():
    cost = reference.network_cost(checks.ALEXNET, (3, 227, 227))
    weights = [row["parameters"] - row["output_shape"][0] for row in cost["layers"] if row["macs"]]
    assert weights == [34_848, 307_200, 884_736, 663_552, 442_368, 37_748_736, 16_777_216, 4_096_000]
    macs = [row["macs"] for row in cost["layers"] if row["macs"]]
    assert macs == [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192, 37_748_736, 16_777_216, 4_096_000]
    assert (cost["parameters"], cost["macs"]) == (60_965_224, 724_406_816)
    assert (cost["bias_adds"], cost["activations"], cost["output_shape"]) == (659_272, 781_736, (1000,))
    lenet = reference.network_cost(checks.LENET_5_CAFFE, (1, 28, 28))
    assert (lenet["parameters"], lenet["macs"], lenet["macs"] + lenet["bias_adds"]) == (431_080, 2_293_000, 2_308_230)


def test_alexnet_without_groups_as_the_errata_have_it():
    layers = [{key: layer[key] for key in layer if key != "groups"} for layer in checks.ALEXNET]
    rows = reference.network_cost(layers, (3, 227, 227))["layers"]
    assert [rows[n]["parameters"] - rows[n]["output_shape"][0] for n in (2, 5, 6)] == [614_400, 1_327_104, 884_736]
    cost = reference.network_cost(layers, (3, 227, 227))
    assert (cost["parameters"], cost["macs"]) == (62_378_344, 1_135_256_096)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 33)), max_size=5))
def test_weight_bytes_are_those_of_packed_bits(layers):
    counts, bits = [count for count, _ in layers], [width for _, width in layers]
    packed = sum(np.packbits(np.ones(count * width, np.uint8)).size for count, width in layers)
    size = reference.weight_bytes(counts, bits)
    assert size["bytes"] == packed
    assert math.isclose(size["MiB"] * 1.048576, size["MB"])


def test_energies_of_the_reference_table():
    fp32 = reference.inference_energy(724_406_816, 60_965_224, 0)
    int8 = reference.inference_energy(724_406_816, 60_965_224, 0, "int8")
    rounded = [round(energy[key] / 1000, 2) for energy in (fp32, int8) for key in ("arithmetic", "weights")]
    assert rounded == [3.33, 39.02, 0.22, 9.75]
    assert round(20 * reference.inference_energy(0, 10**9, 0)["total"] / 1e6, 1) == 12.8  # W


@pytest.mark.parametrize(("counts", "number", "picojoules"), [
    ((0, 2048, 2049), "fp32", (0, 2048 * 5, 2049 * 640)), ((0, 2049, 2048), "fp32", (0, 2049 * 640, 2048 * 5)),
    ((0, 100_000, 40), "fp32", (0, 64_000_000, 200)), ((0, 8192, 8196), "int8", (0, 2048 * 5, 2049 * 640)),
    ((724_406_816, 60_965_224, 0), "int8", (724_406_816 * 0.3, 60_965_224 * 160, 0)),
])
def test_energies_by_hand(counts, number, picojoules):
    want = checks.energies(*(energy / 1e6 for energy in picojoules))
    assert reference.inference_energy(*counts, number) == pytest.approx(want)


@pytest.mark.parametrize(("device", "options", "want"), [
    ((500_000_000, 1e11, 2.0, 6.0), {}, (10, True, 30, 60, 100)),
    ((500_000_000, 1e11, 2.0, 6.0), {"idle_milliwatts": 180.0}, (10, True, 30, 240, 25)),
    ((500_000_000, 1e11, 2.0, 6.0), {"fps": 50.0}, (10, True, 50, 100, 60)),
    ((500_000_000, 1e11, 2.0, 6.0), {"fps": 200.0}, (10, False, 100, 200, 30)),
    ((2_500_000_000, 1e11, 2.0, 6.0), {"fps": 10.0}, (50, True, 10, 20, 300)),
    ((724_406_816, 5e8, 42.35, 10.0), {}, (2897.627264, False, 1 / 2.897627264, 42.35 / 2.897627264, 684.209507)),
])
def test_frame_rates_by_hand(device, options, want):
    assert tuple(reference.frame_rate(*device, **options).values()) == pytest.approx(want)


def test_the_audit_finds_conv4_alone():
    findings = [
        checks.finding("conv1", [1], [1], False), checks.finding("conv2", [2], [2], True),
        checks.finding("conv3", [1], [1], True), checks.finding("conv4", [1], [2], False),
        checks.finding("conv5", [2], [2], True), checks.finding("fc6", [1], [1], True),
        checks.finding("fc7", [1], [1], True), checks.finding("fc8", [1], [1], False),
    ]
    assert reference.audit(checks.TABLE) == findings
    assert [row["name"] for row in findings if row["slip"]] == ["conv4"]


@pytest.mark.parametrize(("parameters", "compute", "want"), [  # of 172,800 weights and 17,280,000 MACs
    ("172K", "17M", ([1], [1], True)), ("173K", "17M", ([1], [1], False)), ("172.8K", "17.3M", ([1], [1], False)),
    ("172.8K", "17.2M", ([1], [1], True)), ("174K", "17M", ([], [1], False)), ("86K", "8.6M", ([2], [2], False)),
    ("0.17M", "17.28M", ([1], [1], False)), ("172.7K", "17.4M", ([], [], False)), ("86.4K", "17M", ([2], [1], False)),
])
def test_audits_by_hand(parameters, compute, want):
    layer = {"inputs": 64, "outputs": 300, "kernel": 3, "positions": 100}
    row = {"name": "layer", "parameters": parameters, "compute": compute, **layer}
    assert reference.audit([row]) == [checks.finding("layer", *want)]


def test_the_lab_gives_what_the_checks_use():
    lab = (Path(reference.__file__).parent / "lab.md").read_text(encoding="utf-8")
    given: dict = {}
    exec(re.search(r"^ALEXNET = \[.*?^\]", lab, re.S | re.M)[0], given)
    exec(re.search(r"^COLUMNS = .*?^\]\]", lab, re.S | re.M)[0], given)
    assert given["ALEXNET"] == checks.ALEXNET
    assert given["TABLE"] == checks.TABLE


@pytest.mark.parametrize("name", ("pilotnet", "alexnet", "resnet-50"))
def test_counts_in_the_results_are_what_the_meter_counts(name):
    assert results.load("counting")["networks"][name] == experiment.counts(name)


def alexnet_macs() -> int:
    return reference.network_cost(checks.ALEXNET, (3, 227, 227))["macs"]


FIGURES = {  # what the answers of the lesson's puzzles say, computed again
    "724,406,816 MACs": lambda: f"{alexnet_macs():,} MACs",
    "1,448,813,632 FLOPs": lambda: f"{2 * alexnet_macs():,} FLOPs",
    "3,072 + 12,800 = 15,872": lambda: f"{16 * 192:,} + {32 * 25 * 16:,} = {16 * 192 + 32 * 25 * 16:,}",
    "9.68 times fewer": lambda: f"{32 * 25 * 192 / (16 * 192 + 32 * 25 * 16):.2f} times fewer",
    "120,422,400 to 12,443,648": lambda: " to ".join(f"{28 * 28 * n:,}" for n in (32 * 25 * 192, 15_872)),
    "2.07 times AlexNet's": lambda: f"{1.5e9 / alexnet_macs():.2f} times AlexNet's",
    "weights in its first layer are 9,408": lambda: f"weights in its first layer are {7 * 7 * 3 * 64:,}",
    "102.2 MB, or 97.5 MiB": lambda: f"{25_557_032 * 4 / 1e6:.1f} MB, or {25_557_032 * 4 / 2**20:.1f} MiB",
    "2.9 s": lambda: f"{2 * alexnet_macs() / 5e8:.1f} s",
    "43 GFLOP/s, 87 times": lambda: f"{60 * alexnet_macs() / 1e9:.0f} GFLOP/s, {60 * alexnet_macs() / 5e8:.0f} times",
}


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_in_the_puzzles_are_right(figure):
    assert FIGURES[figure]() == figure
    assert figure in " ".join(LESSON.read_text(encoding="utf-8").split())
