"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import math
from typing import Any
import numpy as np
import torch
from torch import nn
from nutshell.checks import check
from nutshell.expect import close, equal, raises, that

COSTS = ("output_shape", "parameters", "macs", "bias_adds", "activations")

ALEXNET = [
    {"kind": "conv", "outputs": 96, "kernel": 11, "stride": 4},
    {"kind": "pool", "kernel": 3, "stride": 2},
    {"kind": "conv", "outputs": 256, "kernel": 5, "padding": 2, "groups": 2},
    {"kind": "pool", "kernel": 3, "stride": 2},
    {"kind": "conv", "outputs": 384, "kernel": 3, "padding": 1},
    {"kind": "conv", "outputs": 384, "kernel": 3, "padding": 1, "groups": 2},
    {"kind": "conv", "outputs": 256, "kernel": 3, "padding": 1, "groups": 2},
    {"kind": "pool", "kernel": 3, "stride": 2},
    {"kind": "linear", "outputs": 4096},
    {"kind": "linear", "outputs": 4096},
    {"kind": "linear", "outputs": 1000},
]

LENET_5_CAFFE = [
    {"kind": "conv", "outputs": 20, "kernel": 5},
    {"kind": "pool", "kernel": 2},
    {"kind": "conv", "outputs": 50, "kernel": 5},
    {"kind": "pool", "kernel": 2},
    {"kind": "linear", "outputs": 500},
    {"kind": "linear", "outputs": 10},
]

TABLE = [
    {
        "name": name,
        "parameters": parameters,
        "compute": compute,
        "inputs": inputs,
        "outputs": outputs,
        "kernel": kernel,
        "positions": positions,
    }
    for name, parameters, compute, inputs, outputs, kernel, positions in (
        ("conv1", "35K", "105M", 3, 96, 11, 3025),
        ("conv2", "307K", "223M", 96, 256, 5, 729),
        ("conv3", "884K", "149M", 256, 384, 3, 169),
        ("conv4", "1.3M", "112M", 384, 384, 3, 169),
        ("conv5", "442K", "74M", 384, 256, 3, 169),
        ("fc6", "37M", "37M", 9216, 4096, 1, 1),
        ("fc7", "16M", "16M", 4096, 4096, 1, 1),
        ("fc8", "4M", "4M", 4096, 1000, 1, 1),
    )
]


def counted(layer: nn.Conv2d | nn.Linear, input_shape: tuple[int, ...]) -> dict:
    """Cost of one torch layer, from its own weights and from the shape of what comes out of it."""
    with torch.no_grad():
        shape = tuple(layer(torch.zeros(1, *input_shape)).shape[1:])
    activations = math.prod(shape)
    return {
        "output_shape": shape,
        "parameters": sum(p.numel() for p in layer.parameters()),
        "macs": activations * layer.weight[0].numel(),
        "bias_adds": activations if layer.bias is not None else 0,
        "activations": activations,
    }


def entry(got: Any, key: str, keys: tuple[str, ...]) -> Any:
    """One entry of a dict that the learner returned, or a message that says what the dict must hold."""
    that(
        isinstance(got, dict) and key in got,
        f"a dict with {', '.join(keys)}",
        type(got).__name__ if not isinstance(got, dict) else f"a dict with {', '.join(map(str, got)) or 'nothing'}",
        cause="The returned value has another form.",
        next_step="The docstring lists the keys under Returns.",
    )
    return got[key]


def same_cost(got: Any, want: dict, what: str, causes: dict[str, dict] | None = None) -> None:
    """Expect every entry of a cost; ``causes`` gives wrong values by entry and mistake."""
    for key in COSTS:
        name = {"output_shape": "the output's shape", "bias_adds": "the bias additions", "macs": "the MACs"}.get(
            key, f"the {key}"
        )
        equal(
            entry(got, key, COSTS),
            want[key],
            f"{name} of {what}",
            causes=(causes or {}).get(key),
            next_step="Work it out on paper for an input of 4×4 first, and print what you multiply.",
        )


def conv_causes(input_shape: tuple[int, ...], want: dict, kernel: int, groups: int) -> dict[str, dict]:
    """What usual mistakes give for a convolution."""
    _, *sides = want["output_shape"]
    activations, outputs = want["activations"], want["output_shape"][0]
    fan_in = want["macs"] // activations
    biases = outputs if want["bias_adds"] else 0
    return {
        "parameters": {
            "It leaves the biases out.": outputs * fan_in,
            "It adds biases that the layer doesn't have.": outputs * fan_in + outputs,
            "It forgets that with groups a filter sees a part of the channels only.": outputs * fan_in * groups
            + biases,
            "It has one bias for each output number; a convolution has one for each channel.": outputs * fan_in
            + activations,
            "It counts one kernel for each output channel; a kernel is as deep as its input.": outputs * kernel**2
            + biases,
        },
        "macs": {
            "It counts FLOPs; a MAC is two of them.": 2 * want["macs"],
            "It multiplies by the size of the input; there is one product for each output position.": outputs
            * fan_in
            * math.prod(input_shape[1:]),
            "It forgets that with groups a filter sees a part of the channels only.": want["macs"] * groups,
            "It adds the bias additions; they have an entry of their own.": want["macs"] + activations,
            "It forgets the positions: the kernel is used again at each of them.": outputs * fan_in,
        },
        "bias_adds": {"It counts the biases; each is added at every output position.": biases},
        "activations": {"It forgets the channels.": math.prod(sides)},
    }


def expect_convolution(learner: Any, input_shape: tuple[int, ...], options: dict) -> None:
    """Compare one convolution with torch's."""
    torch_options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True} | options
    layer = nn.Conv2d(input_shape[0], torch_options.pop("outputs"), torch_options.pop("kernel"), **torch_options)
    want = counted(layer, input_shape)
    causes = conv_causes(input_shape, want, options["kernel"], options.get("groups", 1))
    same_cost(
        learner.layer_cost(input_shape, **options), want, f"a convolution of {input_shape} with {options}", causes
    )


@check("layer_cost")
def linear_layers_have_a_weight_for_each_pair(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A linear layer has one weight for each pair of input and output, used once"""
    for input_shape, outputs, bias in (((784,), 300, True), ((300,), 100, False), ((50, 4, 4), 500, True)):
        inputs = math.prod(input_shape)
        want = {
            "output_shape": (outputs,),
            "parameters": inputs * outputs + outputs * bias,
            "macs": inputs * outputs,
            "bias_adds": outputs * bias,
            "activations": outputs,
        }
        got = learner.layer_cost(input_shape, outputs, bias=bias)
        same_cost(
            got,
            want,
            f"a linear layer from {input_shape} to {outputs}{'' if bias else ' without bias'}",
            {
                "parameters": {
                    "It leaves the biases out.": inputs * outputs,
                    "It adds biases that the layer doesn't have.": inputs * outputs + outputs,
                    "It takes the first size only; the layer flattens its input.": input_shape[0] * outputs
                    + outputs * bias,
                },
                "macs": {
                    "It counts FLOPs; a MAC is two of them.": 2 * inputs * outputs,
                    "It adds the bias additions; they have an entry of their own.": inputs * outputs + outputs,
                },
            },
        )


@check("layer_cost")
def alexnets_first_two_convolutions_to_the_digit(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet's first convolution takes 105,415,200 MACs, its second, in two groups, 223,948,800"""
    want = {
        "output_shape": (96, 55, 55),
        "parameters": 34_944,
        "macs": 105_415_200,
        "bias_adds": 290_400,
        "activations": 290_400,
    }
    same_cost(
        learner.layer_cost((3, 227, 227), 96, kernel=11, stride=4),
        want,
        "AlexNet's conv1",
        conv_causes((3, 227, 227), want, 11, 1),
    )
    want = {
        "output_shape": (256, 27, 27),
        "parameters": 307_456,
        "macs": 223_948_800,
        "bias_adds": 186_624,
        "activations": 186_624,
    }
    same_cost(
        learner.layer_cost((96, 27, 27), 256, kernel=5, padding=2, groups=2),
        want,
        "AlexNet's conv2, in two groups",
        conv_causes((96, 27, 27), want, 5, 2),
    )


@check("layer_cost")
def the_output_is_as_large_as_torch_makes_it(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Stride, padding and dilation give the output size of torch's convolution, on images that aren't square too"""
    for options in (
        {"kernel": 3, "stride": 2},
        {"kernel": 3, "stride": 2, "padding": 1},
        {"kernel": 3, "dilation": 2},
        {"kernel": 5, "stride": 3, "padding": 2, "dilation": 2},
        {"kernel": 2, "stride": 2, "bias": False},
    ):
        expect_convolution(learner, (2, 12, 17), {"outputs": 4, **options})


@check("layer_cost")
def impossible_layers_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Channels that don't divide, a kernel larger than the padded input and sizes of zero raise ValueError"""
    call = learner.layer_cost
    raises("ValueError", call, (6, 8, 8), 8, kernel=3, groups=4, why="4 groups don't divide 6 input channels")
    raises("ValueError", call, (8, 8, 8), 6, kernel=3, groups=4, why="4 groups don't divide 6 outputs")
    raises(
        "ValueError",
        call,
        (3, 8, 8),
        6,
        kernel=11,
        padding=1,
        why="a kernel of 11 is larger than 8 and twice the padding",
    )
    raises("ValueError", call, (3, 8, 8), 6, kernel=5, dilation=2, why="with dilation 2 a kernel of 5 spans 9 pixels")
    raises("ValueError", call, (3, 8, 8), 6, kernel=0, why="a kernel has at least one pixel")
    raises("ValueError", call, (3, 8, 8), 6, kernel=3, stride=0, why="a stride of 0 never arrives")
    raises("ValueError", call, (784,), 0, why="a layer has at least one output")
    raises("ValueError", call, (784,), 10, kernel=3, why="a convolution needs channels, height and width")

TOTALS = ("layers", "output_shape", "parameters", "macs", "bias_adds", "activations")


def same_network(got: Any, want: dict, what: str, causes: dict[str, dict] | None = None) -> None:
    """Expect the layers one by one, then the totals, so that the first layer that is wrong gets named."""
    layers = entry(got, "layers", TOTALS)
    that(
        isinstance(layers, list | tuple) and len(layers) == len(want["layers"]),
        f"{len(want['layers'])} layers",
        f"{len(layers)} layers" if isinstance(layers, list | tuple) else type(layers).__name__,
        cause="Every layer has a row, pools included.",
    )
    for number, (row, expected) in enumerate(zip(layers, want["layers"], strict=True), start=1):
        same_cost(row, expected, f"layer {number} of {what}")
    for key in TOTALS[1:]:
        equal(
            entry(got, key, TOTALS), want[key], f"the {key.replace('_', ' ')} of {what}", causes=(causes or {}).get(key)
        )


def torch_network(layers: list[dict], input_shape: tuple[int, ...]) -> dict:
    """Cost of a chain, by running torch's layers one after another and looking at each."""
    shape: tuple[int, ...] = tuple(input_shape)
    rows: list[dict] = []
    for layer in layers:
        options = {key: value for key, value in layer.items() if key not in ("kind", "outputs", "kernel")}
        if layer["kind"] == "pool":
            pool = nn.MaxPool2d(layer["kernel"], **options)
            shape = tuple(pool(torch.zeros(1, *shape)).shape[1:])
            rows.append(
                {"output_shape": shape, "parameters": 0, "macs": 0, "bias_adds": 0, "activations": math.prod(shape)}
            )
        elif layer["kind"] == "conv":
            rows.append(counted(nn.Conv2d(shape[0], layer["outputs"], layer["kernel"], **options), shape))
        else:
            shape = (math.prod(shape),)
            rows.append(counted(nn.Linear(shape[0], layer["outputs"], **options), shape))
        shape = rows[-1]["output_shape"]
    return {"layers": rows, "output_shape": shape, **{key: sum(row[key] for row in rows) for key in TOTALS[2:]}}


@check("network_cost")
def lenet_5_caffe_layer_by_layer(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """LeNet-5-Caffe has 431,080 parameters and takes 2,293,000 MACs, layer by layer"""
    want = torch_network(LENET_5_CAFFE, (1, 28, 28))
    same_network(learner.network_cost(LENET_5_CAFFE, (1, 28, 28)), want, "LeNet-5-Caffe")


@check("network_cost")
def alexnet_to_the_digit(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet has 60,965,224 parameters and takes 724,406,816 MACs"""
    got = learner.network_cost(ALEXNET, (3, 227, 227))
    equal(
        entry(got, "parameters", TOTALS),
        60_965_224,
        "AlexNet's parameters",
        causes={
            "It leaves the biases out.": 60_954_656,
            "It forgets the groups of conv2, conv4 and conv5.": 62_378_344,
        },
        next_step="Compare layers: conv1 to conv5 have 34,944, 307,456, 885,120, 663,936 and 442,624 parameters.",
    )
    equal(
        entry(got, "macs", TOTALS),
        724_406_816,
        "AlexNet's MACs",
        causes={
            "It counts FLOPs; a MAC is two of them.": 1_448_813_632,
            "It forgets the groups of conv2, conv4 and conv5.": 1_135_256_096,
        },
        next_step="Compare layer by layer: the convolutions' outputs are 55, 27, 13, 13 and 13 pixels wide.",
    )
    equal(entry(got, "bias_adds", TOTALS), 659_272, "AlexNet's bias additions")
    equal(entry(got, "output_shape", TOTALS), (1000,), "the shape of AlexNet's output")


@check("network_cost")
def a_misspelt_layer_is_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """An unknown kind, a misspelt key and a layer that doesn't fit raise ValueError"""
    call, shape = learner.network_cost, (3, 12, 12)
    raises(
        "ValueError",
        call,
        [{"kind": "convolution", "outputs": 4, "kernel": 3}],
        shape,
        why="there is no kind 'convolution'",
    )
    raises(
        "ValueError",
        call,
        [{"kind": "conv", "outputs": 4, "kernel": 3, "strides": 2}],
        shape,
        why="'strides' is not a key of conv",
    )
    raises(
        "ValueError", call, [{"kind": "linear", "outputs": 4, "groups": 2}], shape, why="a linear layer has no groups"
    )
    raises("ValueError", call, [{"kind": "pool", "kernel": 2, "outputs": 4}], shape, why="a pool keeps its channels")
    raises(
        "ValueError",
        call,
        [{"kind": "linear", "outputs": 4}, {"kind": "pool", "kernel": 2}],
        shape,
        why="a pool can't follow a linear layer",
    )
    raises(
        "ValueError",
        call,
        [{"kind": "conv", "outputs": 4, "kernel": 3, "groups": 2}],
        shape,
        why="2 groups don't divide 3 channels",
    )
    raises(
        "ValueError",
        call,
        [{"kind": "pool", "kernel": 8}, {"kind": "pool", "kernel": 3}],
        shape,
        why="one pixel is left for a window of 3",
    )

SIZES = ("bytes", "MB", "MiB")


def same_bytes(got: Any, size: int, what: str, causes: dict[str, Any] | None = None) -> None:
    """Expect all three units of a size; the bytes are exact."""
    equal(
        entry(got, "bytes", SIZES),
        size,
        f"the bytes of {what}",
        causes=causes,
        next_step="Take one layer of 3 parameters with 5 bits: 15 bits need 2 bytes.",
    )
    mega, mebi = size / 10**6, size / 2**20
    close(
        entry(got, "MB", SIZES),
        mega,
        f"the MB of {what}",
        rtol=1e-9,
        causes={"That is in MiB; 1 MB = 1,000,000 bytes.": mebi},
    )
    close(
        entry(got, "MiB", SIZES),
        mebi,
        f"the MiB of {what}",
        rtol=1e-9,
        causes={
            "That is in MB; 1 MiB = 2²⁰ bytes.": mega,
            "That divides by 1,024 once too little or too often.": size / 2**10,
        },
    )


@check("weight_bytes")
def alexnets_240_megabytes(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet in 32 bits takes 243.9 MB, which are 232.6 MiB"""
    same_bytes(
        learner.weight_bytes([60_965_224], [32]),
        243_860_896,
        "AlexNet in 32 bits",
        {"Those are bits; a byte has 8.": 60_965_224 * 32},
    )


@check("weight_bytes")
def a_layer_ends_at_a_whole_byte(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Each layer is packed with its own bits and rounded up to a whole byte"""
    same_bytes(
        learner.weight_bytes([3, 3], [5, 5]),
        4,
        "two layers of 3 parameters with 5 bits",
        {
            "It rounds the whole network up once; each layer starts at a whole byte.": 30 / 8,
            "It rounds down: the last bits need a byte too.": 2,
            "It gives each parameter whole bytes; they are packed.": 6,
        },
    )
    same_bytes(learner.weight_bytes([2], [1]), 1, "one layer of 2 bits")
    same_bytes(learner.weight_bytes([11, 7, 16], [3, 1, 8]), 5 + 1 + 16, "three layers with 3, 1 and 8 bits")


@check("weight_bytes")
def lists_that_do_not_match_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Lists of different lengths, negative counts and zero bits raise ValueError"""
    raises("ValueError", learner.weight_bytes, [10, 20], [8], why="two layers have only one number of bits")
    raises("ValueError", learner.weight_bytes, [10, -1], [8, 8], why="a layer can't have −1 parameters")
    raises("ValueError", learner.weight_bytes, [10], [0], why="0 bits hold nothing")

JOULES = ("arithmetic", "weights", "activations", "total")


def same_energy(got: Any, want: dict[str, float], what: str, causes: dict[str, dict] | None = None) -> None:
    """Expect all four energies."""
    for key in JOULES:
        value = want[key]
        usual = {
            "That is in pJ; 1 µJ are 10⁶ pJ.": value * 1e6,
            "That is in mJ.": value / 1e3,
            "That is in nJ.": value * 1e3,
        }
        close(
            entry(got, key, JOULES),
            value,
            f"the {key} energy of {what}, in µJ",
            rtol=1e-5,
            causes=(causes or {}).get(key, {}) | usual,
            next_step="Write down the unit of every factor: MACs × pJ for each, words × pJ for each.",
        )


def energies(arithmetic: float, weights: float, activations: float) -> dict[str, float]:
    """The four entries from three, all in µJ."""
    return {
        "arithmetic": arithmetic,
        "weights": weights,
        "activations": activations,
        "total": arithmetic + weights + activations,
    }


@check("inference_energy")
def alexnet_in_fp32_and_in_int8(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet: 3.33 mJ of arithmetic and 39.0 mJ of weights in fp32, 0.22 and 9.75 mJ in int8"""
    macs, parameters = 724_406_816, 60_965_224
    same_energy(
        learner.inference_energy(macs, parameters, 0),
        energies(3332.2713536, 39017.74336, 0),
        "AlexNet in fp32",
        {
            "arithmetic": {
                "It leaves the addition out; a MAC multiplies and adds.": macs * 3.7e-6,
                "It counts a multiplication and an addition for each FLOP.": macs * 9.2e-6,
            },
            "weights": {"640 pJ are for 32 bits, not for a byte.": parameters * 4 * 640e-6},
        },
    )
    same_energy(
        learner.inference_energy(macs, parameters, 0, "int8"),
        energies(217.3220448, 9754.43584, 0),
        "AlexNet in int8",
        {
            "arithmetic": {
                "It sums int8 products in 8 bits; the sum needs 32.": macs * 0.23e-6,
                "It leaves the addition out; a MAC multiplies and adds.": macs * 0.2e-6,
                "It uses the costs of fp32.": macs * 4.6e-6,
            },
            "weights": {"It moves a word of 32 bits for each weight of 8 bits.": parameters * 640e-6},
        },
    )


@check("inference_energy")
def what_fits_on_the_chip_is_cheap(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Weights, and activations, that fit into the on-chip memory cost 5 pJ a word instead of 640"""
    for parameters, activations, weights_pj, activations_pj in (
        (2048, 2049, 5, 640),
        (2049, 2048, 640, 5),
        (100_000, 40, 640, 5),
    ):
        same_energy(
            learner.inference_energy(0, parameters, activations),
            energies(0, parameters * weights_pj / 1e6, activations * activations_pj / 1e6),
            f"{parameters} weights and {activations} activations in fp32, with 8,192 bytes on the chip",
        )
    same_energy(
        learner.inference_energy(0, 8192, 8196, "int8"),
        energies(0, 2048 * 5 / 1e6, 2049 * 640 / 1e6),
        "8,192 weights and 8,196 activations in int8, with 8,192 bytes on the chip",
    )


@check("inference_energy")
def the_cost_of_memory_is_a_parameter(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A dearer DRAM and a larger memory on the chip change what they should"""
    same_energy(
        learner.inference_energy(10**6, 10**6, 0, dram_pj=1300.0),
        energies(4.6, 1300.0, 0),
        "a million weights at 1,300 pJ",
    )
    same_energy(
        learner.inference_energy(10**6, 10**6, 0, sram_bytes=4_000_000),
        energies(4.6, 5.0, 0),
        "a million weights with 4,000,000 bytes on the chip",
    )


@check("inference_energy")
def unknown_formats_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """An unknown number format and negative counts raise ValueError"""
    raises("ValueError", learner.inference_energy, 10, 10, 10, "fp8", why="the table has no fp8")
    raises("ValueError", learner.inference_energy, -1, 10, 10, why="there can't be −1 MACs")
    raises("ValueError", learner.inference_energy, 10, 10, -4, why="there can't be −4 activations")

RATES = ("latency_ms", "in_time", "frames_per_second", "milliwatts", "hours")


def same_rate(got: Any, want: dict, what: str, causes: dict[str, dict] | None = None) -> None:
    """Expect latency, verdict, rate, power and hours."""
    for key in RATES:
        value = entry(got, key, RATES)
        name = {
            "latency_ms": "the latency in ms",
            "in_time": "in time",
            "frames_per_second": "the images a second",
            "milliwatts": "the power in mW",
            "hours": "the hours",
        }[key]
        close(
            value,
            want[key],
            f"{name} of {what}",
            rtol=1e-6,
            causes=(causes or {}).get(key),
            next_step="Put the units beside the numbers: W = J/s, Wh / W = h.",
        )


@check("frame_rate")
def alexnet_at_half_a_gigaflop(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet at half a GFLOP a second takes 2.9 s an image and drops frames"""
    got = learner.frame_rate(724_406_816, 5e8, 42.35, 10.0)
    seconds = 1_448_813_632 / 5e8
    want = {
        "latency_ms": 1000 * seconds,
        "in_time": False,
        "frames_per_second": 1 / seconds,
        "milliwatts": 42.35 / seconds,
        "hours": 10_000 * seconds / 42.35,
    }
    same_rate(
        got,
        want,
        "AlexNet at half a GFLOP a second",
        {
            "latency_ms": {
                "It takes MACs for FLOPs; a MAC is two of them.": 500 * seconds,
                "That is in seconds.": seconds,
            },
            "frames_per_second": {
                "The device can't follow the camera; it looks at as many images as it has time for.": 30.0
            },
            "milliwatts": {"It draws power for images that it never looks at.": 42.35 * 30},
        },
    )


@check("frame_rate")
def a_fast_device_waits_for_the_camera(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A device faster than its camera works at the camera's rate"""
    got = learner.frame_rate(500_000_000, 1e11, 2.0, 6.0)
    want = {"latency_ms": 10.0, "in_time": True, "frames_per_second": 30.0, "milliwatts": 60.0, "hours": 100.0}
    same_rate(
        got,
        want,
        "1 GFLOP an image at 100 GFLOPs a second",
        {
            "latency_ms": {"It takes MACs for FLOPs; a MAC is two of them.": 5.0},
            "frames_per_second": {"The camera delivers only 30 images a second.": 100.0},
            "milliwatts": {
                "It works as fast as it can; the camera delivers only 30 images a second.": 200.0,
                "That is in watts.": 0.06,
            },
            "hours": {"It divides watt-hours by milliwatts.": 0.1, "It divides by the energy of one image.": 3000.0},
        },
    )
    got = learner.frame_rate(500_000_000, 1e11, 2.0, 6.0, idle_milliwatts=180.0)
    same_rate(
        got,
        want | {"milliwatts": 240.0, "hours": 25.0},
        "the same device with 180 mW drawn all the time",
        {
            "milliwatts": {
                "It leaves out what is drawn all the time.": 60.0,
                "It draws the idle power for each image.": 30 * 182.0,
            }
        },
    )


@check("frame_rate")
def each_camera_has_its_own_rate(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """10 ms an image are in time for 50 images a second, not for 200, and 50 ms are for 10"""
    for macs, fps, in_time, frames in ((5, 50.0, True, 50.0), (5, 200.0, False, 100.0), (25, 10.0, True, 10.0)):
        want = {"latency_ms": 2.0 * macs, "in_time": in_time, "frames_per_second": frames, "milliwatts": 2 * frames}
        got = learner.frame_rate(macs * 10**8, 1e11, 2.0, 6.0, fps=fps)
        same_rate(got, want | {"hours": 3000 / frames}, f"{2 * macs} ms an image at {fps:g} images a second")


@check("frame_rate")
def impossible_devices_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A device without speed, an empty battery and a camera without images raise ValueError"""
    raises("ValueError", learner.frame_rate, 10**6, 0.0, 1.0, 1.0, why="the device computes nothing")
    raises("ValueError", learner.frame_rate, 0, 1e9, 1.0, 1.0, why="no network has 0 MACs")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 0.0, why="the battery is empty")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 0.0, 1.0, why="no image costs no energy")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 1.0, fps=0.0, why="the camera delivers no image")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 1.0, idle_milliwatts=-1.0, why="power can't be negative")

FINDINGS = ("name", "parameter_groups", "compute_groups", "slip", "cut")


def same_findings(got: Any, want: list[dict], causes: dict[tuple[str, str], dict] | None = None) -> None:
    """Expect the findings row by row."""
    that(
        isinstance(got, list | tuple) and len(got) == len(want),
        f"one finding for each of the {len(want)} rows",
        f"{len(got)} findings" if isinstance(got, list | tuple) else type(got).__name__,
        next_step="Return every row, slip or not.",
    )
    for row, expected in zip(got, want, strict=True):
        for key in FINDINGS:
            equal(
                entry(row, key, FINDINGS),
                expected[key],
                f"{key} of {expected['name']}",
                causes=(causes or {}).get((expected["name"], key)),
                next_step="Write the two exact counts, with one group and with two, beside the printed number.",
            )


def finding(name: str, parameter_groups: list[int], compute_groups: list[int], cut: bool) -> dict:
    """A finding whose slip follows from the groups."""
    return {
        "name": name,
        "parameter_groups": parameter_groups,
        "compute_groups": compute_groups,
        "slip": not set(parameter_groups) & set(compute_groups),
        "cut": cut,
    }


@check("audit")
def the_slip_in_the_alexnet_table(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """In the AlexNet table one row pairs the parameters of one layer with the compute of another"""
    got = learner.audit(TABLE)
    want = [
        finding("conv1", [1], [1], False),
        finding("conv2", [2], [2], True),
        finding("conv3", [1], [1], True),
        finding("conv4", [1], [2], False),
        finding("conv5", [2], [2], True),
        finding("fc6", [1], [1], True),
        finding("fc7", [1], [1], True),
        finding("fc8", [1], [1], False),
    ]
    cut_off: dict = {"Printed numbers may be cut off: 884K is 884,736.": []}
    groups: dict = {"It takes every layer for one with one group; this one has two.": []}
    wrong: dict = {
        ("conv1", "parameter_groups"): {"Printed numbers may be rounded: 35K is 34,848.": []},
        ("conv1", "compute_groups"): {"It counts FLOPs; the column holds MACs.": [2]},
        ("conv2", "parameter_groups"): groups,
        ("conv2", "compute_groups"): cut_off,
        ("conv3", "parameter_groups"): cut_off,
        ("conv4", "slip"): {"Each number fits some layer, but both must fit the same one.": False},
    }
    same_findings(got, want, wrong)


@check("audit")
def rounded_and_cut_off_numbers(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A number fits when it is cut off or rounded at its own digits, and at no others"""
    layer = {"inputs": 64, "outputs": 300, "kernel": 3, "positions": 100}  # 172,800 weights, 17,280,000 MACs
    cases = [
        ("172K", "17M", [1], [1], True),
        ("173K", "17M", [1], [1], False),
        ("172.8K", "17.3M", [1], [1], False),
        ("172.8K", "17.2M", [1], [1], True),
        ("174K", "17M", [], [1], False),
        ("86K", "8.6M", [2], [2], False),
        ("0.17M", "17.28M", [1], [1], False),
        ("172.7K", "17.4M", [], [], False),
        ("86.4K", "17M", [2], [1], False),
    ]
    rows = [
        {"name": f"{parameters} and {compute}", "parameters": parameters, "compute": compute, **layer}
        for parameters, compute, *_ in cases
    ]
    want = [finding(str(row["name"]), *case[2:]) for row, case in zip(rows, cases, strict=True)]
    same_findings(learner.audit(rows), want)


@check("audit")
def a_number_without_a_unit_is_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A printed number without K, M or G raises ValueError"""
    row = TABLE[0]
    raises("ValueError", learner.audit, [row | {"parameters": "35"}], why="'35' has no unit")
    raises("ValueError", learner.audit, [row, row | {"compute": "105T"}], why="'105T' doesn't end in K, M or G")
