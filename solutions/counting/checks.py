"""The checks of unit 01.

Learners hold the public checks: what those expect is the reference's answer, which the desk replays, and the mistakes
they know are worked out from it or from the reference's answer to another question. Hidden checks count anew: with
torch's own layers, by packing bits, from the table of energies, or by planting slips.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from nutshell.checks import Exercise, Unit, check
from nutshell.expect import close, equal, raises, that

UNIT = Unit(
    number=1,
    name="counting",
    title="Counting",
    exercises=(
        Exercise("layer_cost", points=5, minutes=15, difficulty=1),
        Exercise("network_cost", points=5, minutes=20, difficulty=2),
        Exercise("weight_bytes", points=3, minutes=8, difficulty=1),
        Exercise("inference_energy", points=4, minutes=12, difficulty=2),
        Exercise("frame_rate", points=3, minutes=10, difficulty=1),
        Exercise("audit", points=5, minutes=20, difficulty=3),
    ),
)

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

# AlexNet as a table of lecture slides prints it: parameters, compute, and the layer itself.
COLUMNS = ("name", "parameters", "compute", "inputs", "outputs", "kernel", "positions")
TABLE = [
    dict(zip(COLUMNS, row, strict=True))
    for row in (
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


def layer_mistakes(reference: Any, want: dict, input_shape: tuple[int, ...], options: dict) -> dict[str, dict]:
    """What usual mistakes give for a layer: by the right cost, and by those of other layers."""
    without_bias, with_bias = (
        reference.layer_cost(input_shape, **options | {"bias": bias})["parameters"] for bias in (False, True)
    )
    parameters = {
        "It leaves the biases out.": without_bias,
        "It adds biases that the layer doesn't have.": with_bias,
    }
    macs = {
        "It counts FLOPs; a MAC is two of them.": 2 * want["macs"],
        "It adds the bias additions; they have an entry of their own.": want["macs"] + want["activations"],
    }
    if "kernel" not in options:
        first = reference.layer_cost(input_shape[:1], **options)["parameters"]
        return {
            "parameters": parameters | {"It takes the first size only; the layer flattens its input.": first},
            "macs": macs,
        }
    kernel, sides = options["kernel"], input_shape[1:]
    fewer = (options["outputs"], *(side - 1 for side in want["output_shape"][1:]))
    larger = reference.layer_cost((input_shape[0], *(side + 1 for side in sides)), **options)["output_shape"]
    undilated = reference.layer_cost(input_shape, **options | {"dilation": 1})["output_shape"]
    ungrouped = reference.layer_cost(input_shape, **options | {"groups": 1})
    flat = reference.layer_cost((1, *sides), **options | {"groups": 1})
    place = {"stride": 1, "padding": 0, "dilation": 1}
    once = reference.layer_cost((input_shape[0], kernel, kernel), **options | place)["macs"]
    groups = "It forgets that with groups a filter sees a part of the channels only."
    return {
        "output_shape": {
            "The kernel has one place too many: on 3 pixels, a kernel of 3 has a single place.": larger,
            "A place is missing: the first one counts too, before any step.": fewer,
            "It forgets the dilation: a kernel with gaps spans more pixels.": undilated,
        },
        "parameters": parameters
        | {
            groups: ungrouped["parameters"],
            "It has one bias for each output number; a convolution has one for each channel.": without_bias
            + want["bias_adds"],
            "It counts one kernel for each output channel; a kernel is as deep as its input.": flat["parameters"],
        },
        "macs": {
            "It multiplies by the size of the input; there is one product for each output position.": once
            * math.prod(sides),
            groups: ungrouped["macs"],
            "It forgets the positions: the kernel is used again at each of them.": once,
        }
        | macs,
        "bias_adds": {
            "It counts the biases; each is added at every output position.": want["parameters"] - without_bias
        },
        "activations": {"It forgets the channels.": want["activations"] // options["outputs"]},
    }


def expect_layer(
    learner: Any, reference: Any, what: str, input_shape: tuple[int, ...], want: dict | None = None, **options: Any
) -> None:
    """Compare the cost of one layer with the reference's, or with what a check knows better."""
    want = want or reference.layer_cost(input_shape, **options)
    mistakes = layer_mistakes(reference, want, input_shape, options)
    same_cost(learner.layer_cost(input_shape, **options), want, what, mistakes)


# ---- layer_cost


@check("layer_cost")
def linear_layers_have_a_weight_for_each_pair(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A linear layer has one weight for each pair of input and output, used once"""
    for input_shape, outputs, bias in (((784,), 300, True), ((300,), 100, False), ((50, 4, 4), 500, True)):
        what = f"a linear layer from {input_shape} to {outputs}{'' if bias else ' without bias'}"
        expect_layer(learner, reference, what, input_shape, outputs=outputs, bias=bias)


@check("layer_cost")
def alexnets_first_two_convolutions_to_the_digit(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet's first convolution takes 105,415,200 MACs, its second, in two groups, 223,948,800"""
    expect_layer(learner, reference, "AlexNet's conv1", (3, 227, 227), outputs=96, kernel=11, stride=4)
    what = "AlexNet's conv2, in two groups"
    expect_layer(learner, reference, what, (96, 27, 27), outputs=256, kernel=5, padding=2, groups=2)


@check("layer_cost")
def the_output_is_as_large_as_torch_makes_it(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Stride, padding and dilation give the output size of torch's convolution, on images that aren't square too"""
    cases: tuple[dict[str, Any], ...] = (
        {"kernel": 3, "stride": 2},
        {"kernel": 3, "stride": 2, "padding": 1},
        {"kernel": 3, "dilation": 2},
        {"kernel": 5, "stride": 3, "padding": 2, "dilation": 2},
        {"kernel": 2, "stride": 2, "bias": False},
    )
    for options in cases:
        what = f"a convolution of (2, 12, 17) to 4 channels with {options}"
        expect_layer(learner, reference, what, (2, 12, 17), outputs=4, **options)


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


def expect_torchs(learner: Any, reference: Any, input_shape: tuple[int, ...], options: dict) -> None:
    """Compare one convolution with torch's."""
    torch_options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True} | options
    layer = nn.Conv2d(input_shape[0], torch_options.pop("outputs"), torch_options.pop("kernel"), **torch_options)
    what = f"a convolution of {input_shape} with {options}"
    expect_layer(learner, reference, what, input_shape, counted(layer, input_shape), **options)


def convolution(rng: np.random.Generator, **fixed: Any) -> tuple[tuple[int, ...], dict]:
    """A random input shape and the options of a convolution that fits it."""
    groups = int(fixed.get("groups", rng.choice([1, 2, 3])))
    options = {
        "outputs": groups * int(rng.integers(1, 5)),
        "kernel": int(rng.choice([1, 2, 3, 5])),
        "stride": int(rng.integers(1, 4)),
        "padding": int(rng.integers(0, 3)),
        "dilation": int(rng.integers(1, 3)),
        "groups": groups,
        "bias": bool(rng.integers(2)),
        **fixed,
    }
    channels = options["groups"] * int(rng.integers(1, 4))
    return (channels, int(rng.integers(10, 17)), int(rng.integers(10, 17))), options


@check("layer_cost", hidden=True)
def random_convolutions_agree_with_torch(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Random convolutions cost what torch's own layers show"""
    for fixed in (
        {},
        {},
        {},
        {"groups": 3, "kernel": 3},
        {"padding": 2, "stride": 2},
        {"kernel": 3, "dilation": 2},
        {"kernel": 1},
    ):
        expect_torchs(learner, reference, *convolution(rng, **fixed))


@check("layer_cost", hidden=True)
def the_smallest_and_the_depthwise_layer(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A kernel exactly as large as the padded input, and one group for each channel, are layers too"""
    side = int(rng.integers(3, 7))
    expect_torchs(learner, reference, (2, side, side + 2), {"outputs": 3, "kernel": side})
    expect_torchs(learner, reference, (2, side, side), {"outputs": 3, "kernel": side + 2, "padding": 1})
    channels = int(rng.integers(5, 9))
    expect_torchs(
        learner, reference, (channels, 9, 9), {"outputs": channels, "kernel": 3, "padding": 1, "groups": channels}
    )
    expect_torchs(
        learner, reference, (channels, 9, 9), {"outputs": 2 * channels, "kernel": 3, "groups": channels, "bias": False}
    )
    same_cost(learner.layer_cost((1,), 1), counted(nn.Linear(1, 1), (1,)), "the smallest layer of all")


# ---- network_cost

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


@check("network_cost")
def lenet_5_caffe_layer_by_layer(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """LeNet-5-Caffe has 431,080 parameters and takes 2,293,000 MACs, layer by layer"""
    want = reference.network_cost(LENET_5_CAFFE, (1, 28, 28))
    same_network(learner.network_cost(LENET_5_CAFFE, (1, 28, 28)), want, "LeNet-5-Caffe")


@check("network_cost")
def alexnet_to_the_digit(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet has 60,965,224 parameters and takes 724,406,816 MACs"""
    want = reference.network_cost(ALEXNET, (3, 227, 227))
    got = learner.network_cost(ALEXNET, (3, 227, 227))
    equal(
        entry(got, "parameters", TOTALS),
        want["parameters"],
        "AlexNet's parameters",
        causes={
            "It leaves the biases out.": 60_954_656,
            "It forgets the groups of conv2, conv4 and conv5.": 62_378_344,
        },
        next_step="Compare layers: conv1 to conv5 have 34,944, 307,456, 885,120, 663,936 and 442,624 parameters.",
    )
    equal(
        entry(got, "macs", TOTALS),
        want["macs"],
        "AlexNet's MACs",
        causes={
            "It counts FLOPs; a MAC is two of them.": 2 * want["macs"],
            "It forgets the groups of conv2, conv4 and conv5.": 1_135_256_096,
        },
        next_step="Compare layer by layer: the convolutions' outputs are 55, 27, 13, 13 and 13 pixels wide.",
    )
    for key in ("bias_adds", "activations", "output_shape"):
        equal(entry(got, key, TOTALS), want[key], f"AlexNet's {key.replace('_', ' ')}")


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


@check("network_cost", hidden=True)
def random_networks_agree_with_torch(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Random chains of layers cost what torch's own layers show"""
    for _ in range(4):
        groups = int(rng.choice([1, 2]))
        layers = [
            {
                "kind": "conv",
                "outputs": 2 * int(rng.integers(1, 5)),
                "kernel": int(rng.choice([3, 5])),
                "stride": int(rng.integers(1, 3)),
                "padding": int(rng.integers(0, 3)),
                "bias": bool(rng.integers(2)),
            },
            {
                "kind": "pool",
                "kernel": int(rng.choice([2, 3])),
                "stride": int(rng.integers(1, 3)),
                "padding": int(rng.integers(0, 2)),
            },
            {"kind": "conv", "outputs": 2 * int(rng.integers(1, 5)), "kernel": 3, "padding": 1, "groups": groups},
            {"kind": "pool", "kernel": int(rng.choice([2, 3]))},
            {"kind": "linear", "outputs": int(rng.integers(1, 30)), "bias": bool(rng.integers(2))},
            {"kind": "linear", "outputs": int(rng.integers(1, 30))},
        ]
        shape = (int(rng.integers(1, 5)), int(rng.integers(20, 30)), int(rng.integers(20, 30)))
        same_network(learner.network_cost(layers, shape), torch_network(layers, shape), f"a random chain on {shape}")


@check("network_cost", hidden=True)
def short_networks(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """No layer costs nothing, and a network of linear layers needs no image"""
    same_network(learner.network_cost([], (3, 8, 9)), torch_network([], (3, 8, 9)), "no layer at all")
    widths = [int(n) for n in rng.integers(1, 200, size=3)]
    layers = [{"kind": "linear", "outputs": n} for n in widths]
    same_network(learner.network_cost(layers, (784,)), torch_network(layers, (784,)), f"linear layers of {widths}")
    pools = [{"kind": "pool", "kernel": 3, "stride": 2}, {"kind": "pool", "kernel": 2}]
    same_network(learner.network_cost(pools, (5, 14, 11)), torch_network(pools, (5, 14, 11)), "two pools")


# ---- weight_bytes

SIZES = ("bytes", "MB", "MiB")


def same_bytes(got: Any, want: dict, what: str, causes: dict[str, Any] | None = None) -> None:
    """Expect all three units of a size; the bytes are exact."""
    equal(
        entry(got, "bytes", SIZES),
        want["bytes"],
        f"the bytes of {what}",
        causes=causes,
        next_step="Take one layer of 3 parameters with 5 bits: 15 bits need 2 bytes.",
    )
    close(
        entry(got, "MB", SIZES),
        want["MB"],
        f"the MB of {what}",
        rtol=1e-9,
        causes={"That is in MiB; 1 MB = 1,000,000 bytes.": want["MiB"]},
    )
    close(
        entry(got, "MiB", SIZES),
        want["MiB"],
        f"the MiB of {what}",
        rtol=1e-9,
        causes={"That is in MB; 1 MiB = 2²⁰ bytes.": want["MB"], "That is in KiB.": 1024 * want["MiB"]},
    )


def expect_bytes(
    learner: Any, reference: Any, counts: list[int], bits: list[int], causes: dict[str, Any] | None = None
) -> None:
    """Compare the size of a network with the reference's."""
    want = reference.weight_bytes(counts, bits)
    what = f"layers of {counts} parameters with {bits} bits"
    same_bytes(learner.weight_bytes(counts, bits), want, what, causes)


@check("weight_bytes")
def alexnets_240_megabytes(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet in 32 bits takes 243.9 MB, which are 232.6 MiB"""
    expect_bytes(learner, reference, [60_965_224], [32], {"Those are bits; a byte has 8.": 1_950_887_168})


@check("weight_bytes")
def a_layer_ends_at_a_whole_byte(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Each layer is packed with its own bits and rounded up to a whole byte"""
    causes = {
        "It doesn't round; a file has whole bytes.": 3.75,
        "It rounds down: the last bits need a byte too.": 2,
        "It gives each parameter whole bytes; they are packed.": 6,
    }
    expect_bytes(learner, reference, [3, 3], [5, 5], causes)
    expect_bytes(learner, reference, [2], [1])
    causes = {"It rounds the whole network up once; each layer starts at a whole byte.": 21}
    expect_bytes(learner, reference, [11, 7, 16], [3, 1, 8], causes)


@check("weight_bytes")
def lists_that_do_not_match_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Lists of different lengths, negative counts and zero bits raise ValueError"""
    raises("ValueError", learner.weight_bytes, [10, 20], [8], why="two layers have only one number of bits")
    raises("ValueError", learner.weight_bytes, [10, -1], [8, 8], why="a layer can't have −1 parameters")
    raises("ValueError", learner.weight_bytes, [10], [0], why="0 bits hold nothing")


def sizes(size: int) -> dict:
    """The three entries for so many bytes."""
    return {"bytes": size, "MB": size / 10**6, "MiB": size / 2**20}


@check("weight_bytes", hidden=True)
def random_layers_fill_their_bytes(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Random layers take the bytes into which their bits really pack"""
    for _ in range(5):
        counts, bits = [int(n) for n in rng.integers(1, 300, size=4)], [int(n) for n in rng.integers(1, 33, size=4)]
        size = sum(
            np.packbits(np.ones(count * width, np.uint8)).size for count, width in zip(counts, bits, strict=True)
        )
        what = f"layers of {counts} parameters with {bits} bits"
        same_bytes(learner.weight_bytes(counts, bits), sizes(size), what)


@check("weight_bytes", hidden=True)
def nothing_and_very_much(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """No layer and an empty layer take no bytes; a large count stays exact"""
    same_bytes(learner.weight_bytes([], []), sizes(0), "no layer")
    same_bytes(learner.weight_bytes([0, 1], [8, 1]), sizes(1), "an empty layer and a single bit")
    count = 8 * int(rng.integers(10**11, 10**12)) + 1
    same_bytes(learner.weight_bytes([count], [3]), sizes(3 * (count // 8) + 1), f"{count} parameters with 3 bits")


# ---- inference_energy

JOULES = ("arithmetic", "weights", "activations", "total")


def same_energy(
    got: Any,
    want: dict[str, float],
    what: str,
    causes: dict[str, dict] | None = None,
    next_step: str = "Write down the unit of every factor: MACs × pJ for each, words × pJ for each.",
) -> None:
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
            next_step=next_step,
        )


@check("inference_energy")
def alexnet_in_fp32_and_in_int8(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """AlexNet: 3.33 mJ of arithmetic and 39.0 mJ of weights in fp32, 0.22 and 9.75 mJ in int8"""
    macs, parameters = 724_406_816, 60_965_224
    fp32, int8 = (reference.inference_energy(macs, parameters, 0, number) for number in ("fp32", "int8"))
    same_energy(
        learner.inference_energy(macs, parameters, 0),
        fp32,
        "AlexNet in fp32",
        {
            "arithmetic": {
                "It leaves the addition out; a MAC multiplies and adds.": 2680.3052,
                "It counts a multiplication and an addition for each FLOP.": 2 * fp32["arithmetic"],
            },
            "weights": {"640 pJ are for 32 bits, not for a byte.": 4 * fp32["weights"]},
        },
    )
    same_energy(
        learner.inference_energy(macs, parameters, 0, "int8"),
        int8,
        "AlexNet in int8",
        {
            "arithmetic": {
                "It sums int8 products in 8 bits; the sum needs 32.": 166.61357,
                "It leaves the addition out; a MAC multiplies and adds.": 144.88136,
                "It uses the costs of fp32.": fp32["arithmetic"],
            },
            "weights": {"It moves a word of 32 bits for each weight of 8 bits.": fp32["weights"]},
        },
    )


@check("inference_energy")
def what_fits_on_the_chip_is_cheap(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Weights, and activations, that fit into the on-chip memory cost 5 pJ a word instead of 640"""
    for parameters, activations, number in (
        (2048, 2049, "fp32"),
        (2049, 2048, "fp32"),
        (100_000, 40, "fp32"),
        (8192, 8196, "int8"),
    ):
        outside, inside = (
            reference.inference_energy(0, parameters, activations, number, sram_bytes=size) for size in (0, 10**12)
        )
        same_energy(
            learner.inference_energy(0, parameters, activations, number),
            reference.inference_energy(0, parameters, activations, number),
            f"{parameters:,} weights and {activations:,} activations in {number}, with 8,192 bytes on the chip",
            {
                key: {
                    "It fetches from DRAM what fits on the chip; what just fills the memory there fits.":
                        outside[key],
                    "It takes from the on-chip memory what doesn't fit: are both sizes in bytes?": inside[key],
                }
                for key in ("weights", "activations")
            },
            "Work out by hand how many bytes they take, weights and activations each, and compare with 8,192.",
        )


@check("inference_energy")
def the_cost_of_memory_is_a_parameter(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A dearer DRAM and a larger memory on the chip change what they should"""
    for option, what in (
        ({"dram_pj": 1300.0}, "a million weights at 1,300 pJ"),
        ({"sram_bytes": 4_000_000}, "a million weights with 4,000,000 bytes on the chip"),
    ):
        want = reference.inference_energy(10**6, 10**6, 0, **option)
        usual = reference.inference_energy(10**6, 10**6, 0)["weights"]
        causes = {"weights": {f"It doesn't use {next(iter(option))}, but the usual value.": usual}}
        next_step = "Look at each place where your code has 640 or 8,192 written out."
        same_energy(learner.inference_energy(10**6, 10**6, 0, **option), want, what, causes, next_step)


@check("inference_energy")
def unknown_formats_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """An unknown number format and negative counts raise ValueError"""
    raises("ValueError", learner.inference_energy, 10, 10, 10, "fp8", why="the table has no fp8")
    raises("ValueError", learner.inference_energy, -1, 10, 10, why="there can't be −1 MACs")
    raises("ValueError", learner.inference_energy, 10, 10, -4, why="there can't be −4 activations")


def energies(arithmetic: float, weights: float, activations: float) -> dict[str, float]:
    """The four entries from three, all in µJ."""
    return {
        "arithmetic": arithmetic,
        "weights": weights,
        "activations": activations,
        "total": arithmetic + weights + activations,
    }


@check("inference_energy", hidden=True)
def random_networks_by_the_formula(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Random counts cost what the table says, in all three formats"""
    for number, bits, mac in (("fp32", 32, 4.6), ("fp16", 16, 1.5), ("int8", 8, 0.3)):
        macs, dram = int(rng.integers(10**6, 10**9)), float(rng.uniform(600, 1300))
        parameters, activations = (4 * int(n) for n in rng.integers(10**4, 10**7, size=2))
        want = energies(macs * mac / 1e6, parameters * bits / 32 * dram / 1e6, activations * bits / 32 * dram / 1e6)
        same_energy(
            learner.inference_energy(macs, parameters, activations, number, dram_pj=dram),
            want,
            f"{macs} MACs, {parameters} weights and {activations} activations in {number} at {dram:.1f} pJ",
        )
        same_energy(
            learner.inference_energy(macs, 1024, 512, number, dram_pj=dram),
            energies(macs * mac / 1e6, 1024 * bits / 32 * 5e-6, 512 * bits / 32 * 5e-6),
            f"{macs} MACs with 1,024 weights and 512 activations in {number}",
        )


@check("inference_energy", hidden=True)
def nothing_costs_nothing(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """No operation and no weight cost no energy, and a chip without memory fetches everything"""
    same_energy(learner.inference_energy(0, 0, 0), energies(0, 0, 0), "nothing")
    count = 4 * int(rng.integers(1, 100))
    same_energy(
        learner.inference_energy(0, count, count, sram_bytes=0),
        energies(0, count * 640e-6, count * 640e-6),
        f"{count} weights and activations without on-chip memory",
    )


# ---- frame_rate

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
    device = (724_406_816, 5e8, 42.35, 10.0)
    want = reference.frame_rate(*device)
    same_rate(
        learner.frame_rate(*device),
        want,
        "AlexNet at half a GFLOP a second",
        {
            "latency_ms": {
                "It takes MACs for FLOPs; a MAC is two of them.": want["latency_ms"] / 2,
                "That is in seconds.": want["latency_ms"] / 1000,
            },
            "frames_per_second": {
                "The device can't follow the camera; it looks at as many images as it has time for.": 30.0
            },
            "milliwatts": {"It draws power for images that it never looks at.": 1270.5},
            "hours": {"It divides watt-hours by milliwatts.": want["hours"] / 1000},
        },
    )


@check("frame_rate")
def a_fast_device_waits_for_the_camera(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A device faster than its camera works at the camera's rate"""
    device = (500_000_000, 1e11, 2.0, 6.0)
    want = reference.frame_rate(*device)
    same_rate(
        learner.frame_rate(*device),
        want,
        "1 GFLOP an image at 100 GFLOPs a second",
        {
            "latency_ms": {"It takes MACs for FLOPs; a MAC is two of them.": want["latency_ms"] / 2},
            "frames_per_second": {"The camera delivers only 30 images a second.": 100.0},
            "milliwatts": {
                "It works as fast as it can; the camera delivers only 30 images a second.": 200.0,
                "That is in watts.": want["milliwatts"] / 1000,
            },
            "hours": {
                "It divides watt-hours by milliwatts.": want["hours"] / 1000,
                "It divides by the energy of one image.": 3000.0,
            },
        },
    )
    same_rate(
        learner.frame_rate(*device, idle_milliwatts=180.0),
        reference.frame_rate(*device, idle_milliwatts=180.0),
        "the same device with 180 mW drawn all the time",
        {
            "milliwatts": {
                "It leaves out what is drawn all the time.": want["milliwatts"],
                "It draws the idle power for each image.": 5460.0,
            }
        },
    )


@check("frame_rate")
def each_camera_has_its_own_rate(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """10 ms an image are in time for 50 images a second, not for 200, and 50 ms are for 10"""
    for macs, fps in ((5 * 10**8, 50.0), (5 * 10**8, 200.0), (25 * 10**8, 10.0)):
        want = reference.frame_rate(macs, 1e11, 2.0, 6.0, fps=fps)
        got = learner.frame_rate(macs, 1e11, 2.0, 6.0, fps=fps)
        causes = {
            "latency_ms": {
                "It takes MACs for FLOPs; a MAC is two of them.": want["latency_ms"] / 2,
                "That is in seconds.": want["latency_ms"] / 1000,
            },
            "in_time": {"It compares another way round, or with another rate than fps.": not want["in_time"]},
            "frames_per_second": {
                "It takes 30 images a second for every camera.": 30.0,
                "It takes the camera's rate, though the device may be slower.": fps,
            },
        }
        same_rate(got, want, f"{macs:,} MACs an image at 100 GFLOPs and {fps:g} images a second", causes)


@check("frame_rate")
def impossible_devices_are_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A device without speed, an empty battery and a camera without images raise ValueError"""
    raises("ValueError", learner.frame_rate, 10**6, 0.0, 1.0, 1.0, why="the device computes nothing")
    raises("ValueError", learner.frame_rate, 0, 1e9, 1.0, 1.0, why="no network has 0 MACs")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 0.0, why="the battery is empty")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 0.0, 1.0, why="no image costs no energy")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 1.0, fps=0.0, why="the camera delivers no image")
    raises("ValueError", learner.frame_rate, 10**6, 1e9, 1.0, 1.0, idle_milliwatts=-1.0, why="power can't be negative")


@check("frame_rate", hidden=True)
def random_devices(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Random devices, slower and faster than their cameras"""
    for slack in (0.3, 0.9, 1.2, 4.0):
        fps, macs = float(rng.uniform(5, 60)), int(rng.integers(10**6, 10**10))
        seconds = slack / fps
        speed, energy, battery, idle = 2 * macs / seconds, *(float(x) for x in rng.uniform(0.5, 50, size=3))
        frames = min(fps, 1 / seconds)
        power = energy * frames + idle
        want = {
            "latency_ms": 1000 * seconds,
            "in_time": slack < 1,
            "frames_per_second": frames,
            "milliwatts": power,
            "hours": battery * 1000 / power,
        }
        got = learner.frame_rate(macs, speed, energy, battery, fps=fps, idle_milliwatts=idle)
        same_rate(got, want, f"{macs} MACs at {speed:.3g} FLOPs and {fps:.3g} images a second")


# ---- audit

FINDINGS = ("name", "parameter_groups", "compute_groups", "slip", "cut")


def same_findings(got: Any, want: list[dict]) -> None:
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
                causes=finding_mistakes(expected, key),
                next_step="Write the two exact counts, with one group and with two, beside the printed number.",
            )


def finding_mistakes(expected: dict, key: str) -> dict[str, Any]:
    """What usual mistakes find instead."""
    if key == "slip":
        return {
            "Each number fits some layer, but both must fit the same one.": False,
            "Both numbers fit the same layer.": True,
        }
    if not key.endswith("groups"):
        return {}
    why = "Printed numbers may be cut off: 884K is 884,736." if expected["cut"] else "Numbers may be rounded: see 35K."
    if expected[key] == [2]:
        why = f"A layer may have been counted with two groups. {why}"
    flops = {"It counts FLOPs; the column holds MACs.": [2]} if key == "compute_groups" else {}
    return {why: []} | flops


@check("audit")
def the_slip_in_the_alexnet_table(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """In the AlexNet table one row pairs the parameters of one layer with the compute of another"""
    same_findings(learner.audit(TABLE), reference.audit(TABLE))


@check("audit")
def rounded_and_cut_off_numbers(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A number fits when it is cut off or rounded at its own digits, and at no others"""
    layer = {"inputs": 64, "outputs": 300, "kernel": 3, "positions": 100}
    rows = [
        {"name": f"{parameters} and {compute}", "parameters": parameters, "compute": compute, **layer}
        for parameters, compute in (
            ("172K", "17M"),
            ("173K", "17M"),
            ("172.8K", "17.3M"),
            ("172.8K", "17.2M"),
            ("174K", "17M"),
            ("86K", "8.6M"),
            ("0.17M", "17.28M"),
            ("172.7K", "17.4M"),
            ("86.4K", "17M"),
        )
    ]
    same_findings(learner.audit(rows), reference.audit(rows))


@check("audit")
def a_number_without_a_unit_is_refused(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """A printed number without K, M or G raises ValueError"""
    row = TABLE[0]
    raises("ValueError", learner.audit, [row | {"parameters": "35"}], why="'35' has no unit")
    raises("ValueError", learner.audit, [row, row | {"compute": "105T"}], why="'105T' doesn't end in K, M or G")


def finding(name: str, parameter_groups: list[int], compute_groups: list[int], cut: bool) -> dict:
    """A finding whose slip follows from the groups."""
    return {
        "name": name,
        "parameter_groups": parameter_groups,
        "compute_groups": compute_groups,
        "slip": not set(parameter_groups) & set(compute_groups),
        "cut": cut,
    }


def printed(count: float, unit: str, digits: int, cut: bool) -> str:
    """A count as a table prints it, cut off or rounded; integer arithmetic, so that no float gets in the way."""
    scale = {"K": 10**3, "M": 10**6, "G": 10**9}[unit]
    steps = int(count) * 10**digits
    whole = steps // scale if cut else (2 * steps + scale) // (2 * scale)
    return f"{whole / 10**digits:.{digits}f}{unit}"


@check("audit", hidden=True)
def slips_planted_at_random(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """Slips planted in a random table are found, and only they"""
    rows, want = [], []
    for number in range(12):
        layer = {
            "inputs": 2 * int(rng.integers(40, 400)),
            "outputs": 2 * int(rng.integers(60, 400)),
            "kernel": int(rng.choice([3, 5])),
            "positions": int(rng.integers(100, 3000)),
        }
        weights = layer["inputs"] * layer["outputs"] * layer["kernel"] ** 2
        groups = [int(g) for g in rng.integers(1, 3, size=2)]
        cut = [bool(c) for c in rng.integers(2, size=2)]
        texts = [
            printed(count / g, unit, 2, c)
            for count, unit, g, c in zip((weights, weights * layer["positions"]), "MG", groups, cut, strict=True)
        ]
        only_cut = any(
            text != printed(count / g, unit, 2, False)
            for text, count, unit, g in zip(texts, (weights, weights * layer["positions"]), "MG", groups, strict=True)
        )
        rows.append({"name": f"layer {number}", "parameters": texts[0], "compute": texts[1], **layer})
        want.append(finding(f"layer {number}", groups[:1], groups[1:], only_cut))
    same_findings(learner.audit(rows), want)


@check("audit", hidden=True)
def a_table_without_rows(learner: Any, reference: Any, rng: np.random.Generator) -> None:
    """An empty table has no slips, and a row that fits nothing is one"""
    same_findings(learner.audit([]), [])
    row = {
        "name": "lost",
        "parameters": "5K",
        "compute": "900G",
        "inputs": 10,
        "outputs": 20,
        "kernel": 3,
        "positions": 50,
    }
    same_findings(learner.audit([row]), [finding("lost", [], [], False)])
