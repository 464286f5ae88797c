"""Unit 10, compact architectures: exercises, points, budget, and the checks of what a learner writes."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import expect
from nutshell.checks import Budget, Exercise, Limit, Unit, check
from nutshell.wire.standins import inout

UNIT = Unit(
    number=10,
    name="compact_architectures",
    title="Compact architectures",
    exercises=(
        Exercise("Fire", points=2, minutes=12),
        Exercise("depthwise_separable", points=2, minutes=10),
        Exercise("flattened", points=3, minutes=15, difficulty=2),
        Exercise("pooled_head", points=2, minutes=12, difficulty=2),
        Exercise("oct_convolution", points=3, minutes=20, difficulty=3),
        Exercise("Swapout", points=3, minutes=15, difficulty=2),
        Exercise("Residual", points=0, minutes=15, difficulty=2, extension=True),
        Exercise("Swish", points=0, minutes=8, extension=True),
        Exercise("Inception", points=0, minutes=15, difficulty=2, extension=True),
    ),
    budgets=(
        Budget(
            name="blocks",
            points=4,
            file="compact_architectures.nut",
            data="cifar-10",
            topology="vgg-small",
            any_network=True,
            limits=(
                Limit("macs", at_most=38_653_952 // 4),  # those of the small VGG
                Limit("error_percent", at_most=26.5),
            ),
            minutes=20,
        ),
    ),
)

EIGHT = 1e-8  # tolerance in float64
FOUR = 1e-4  # and in float32


# Fire ----------------------------------------------------------------------------------------------------------------


@check("Fire")
def three_convolutions(learner, reference, rng):
    """The block holds C·S + S·E₁ + 9·S·E₃ weights and a bias for each of three convolutions, nothing else"""
    for c, s, e1, e3 in ((12, 3, 4, 5), (6, 7, 2, 4)):
        want = _fire_shapes(c, s, e1, e3)
        _check_sizes(learner.Fire(c, s, e1, e3), want, {
            "The convolutions that expand see the input itself, not what was squeezed.":
                [(s, c, 1, 1), (s,), (e1, c, 1, 1), (e1,), (e3, c, 3, 3), (e3,)],
            "The 3×3 sees the input itself, not what was squeezed: the dearest part is not made cheaper.":
                [(s, c, 1, 1), (s,), (e1, s, 1, 1), (e1,), (e3, c, 3, 3), (e3,)],
            "There is no bias; each convolution has one.": [shape for shape in want if len(shape) == 4],
            "Both convolutions that expand are 3×3.": [(s, c, 1, 1), (s,), (e1, s, 3, 3), (e1,), (e3, s, 3, 3), (e3,)],
            "The squeeze is 3×3: then it costs as much as what it saves.":
                [(s, c, 3, 3), (s,), (e1, s, 1, 1), (e1,), (e3, s, 3, 3), (e3,)],
            "The convolutions stand in a row: the 3×3 sees what the 1×1 put out, not what was squeezed.":
                [(s, c, 1, 1), (s,), (e1, s, 1, 1), (e1,), (e3, e1, 3, 3), (e3,)],
        })


@check("Fire", weight=2)
def fire_is_its_definition(learner, reference, rng):
    """Squeeze, ReLU; then 1×1 and 3×3 side by side, ReLU, the 1×1 first: equal numbers for the same weights"""
    _check_fire(learner, rng, (5, 3, 4, 2), (2, 5, 6, 7))
    _check_fire(learner, rng, (4, 6, 3, 5), (1, 4, 5, 5))


@check("Fire", weight=0.5)
def fire_keeps_height_and_width(learner, reference, rng):
    """Images of any size keep it, down to a single pixel"""
    for size in ((1, 1), (1, 9), (2, 3)):
        _check_fire(learner, rng, (3, 2, 4, 5), (1, 3, *size))


@check("Fire", hidden=True, weight=2)
def fire_of_any_sizes(learner, reference, rng):
    """Blocks of any sizes equal the definition"""
    for _ in range(3):
        sizes = tuple(int(size) for size in rng.permutation(np.arange(2, 12))[:4])
        _check_fire(learner, rng, sizes, (2, sizes[0], int(rng.integers(1, 8)), int(rng.integers(1, 8))))


@check("Fire", hidden=True, weight=0.5)
def fire_can_be_trained(learner, reference, rng):
    """Every weight and bias gets its gradient"""
    module, (w0, b0, w1, b1, w3, b3) = _parts(learner.Fire(4, 3, 5, 2), _fire_shapes(4, 3, 5, 2), rng)
    x = _images(rng, 3, 4, 5, 5)
    _check_gradients(module, x, _fire(x, w0, b0, w1, b1, w3, b3), rng)


def _fire_shapes(c, s, e1, e3):
    return [(s, c, 1, 1), (s,), (e1, s, 1, 1), (e1,), (e3, s, 3, 3), (e3,)]


def _fire(x, w0, b0, w1, b1, w3, b3, linear=()):
    """The definition; the convolutions whose numbers are in ``linear`` have no ReLU."""

    def after(y, number):
        return y if number in linear else functional.relu(y)

    few = after(functional.conv2d(x, w0, b0), 0)
    ones, threes = functional.conv2d(few, w1, b1), functional.conv2d(few, w3, b3, padding=1)
    return torch.cat([after(ones, 1), after(threes, 2)], 1)


def _check_fire(learner, rng, sizes, shape):
    module, parts = _parts(learner.Fire(*sizes), _fire_shapes(*sizes), rng)
    x = _images(rng, *shape)
    with torch.no_grad():
        want = _fire(x, *parts)
        ones, threes = want.split([sizes[2], sizes[3]], 1)
        causes = {
            "The ReLU after the squeeze is missing.": _fire(x, *parts, linear=(0,)),
            "The ReLU after the 1×1 that expands is missing.": _fire(x, *parts, linear=(1,)),
            "The ReLU after the 3×3 is missing.": _fire(x, *parts, linear=(2,)),
            "The ReLU after the convolutions that expand is missing.": _fire(x, *parts, linear=(1, 2)),
            "There is no ReLU.": _fire(x, *parts, linear=(0, 1, 2)),
            "The 3×3 comes first; the outputs of the 1×1 do.": torch.cat([threes, ones], 1),
            "Nothing of the 3×3 is put out.": ones,
        }
    _check_output(module, x, want, f"the output of a fire block {sizes} for {tuple(x.shape)}", FOUR, causes,
                  "Print the shape and the least number after each step: no ReLU puts out numbers below 0.")


# Depthwise separable -------------------------------------------------------------------------------------------------


@check("depthwise_separable")
def one_filter_a_channel(learner, reference, rng):
    """The block holds C·K² + C·P weights and P biases, nothing else"""
    for c, p, k in ((6, 10, 3), (8, 4, 5), (3, 5, 1)):
        _check_sizes(learner.depthwise_separable(c, p, k), [(c, 1, k, k), (p, c, 1, 1), (p,)], {
            "The first convolution mixes channels: it has a filter for each pair of them.":
                [(c, c, k, k), (p, c, 1, 1), (p,)],
            "The first convolution has a bias too.": [(c, 1, k, k), (c,), (p, c, 1, 1), (p,)],
            "The second convolution has no bias.": [(c, 1, k, k), (p, c, 1, 1)],
            "The order is the other way round: channels are mixed first.": [(p, c, 1, 1), (p, 1, k, k), (p,)],
            "The second convolution looks around too; it is 1×1.": [(c, 1, k, k), (p, c, k, k), (p,)],
            "That is the convolution that should be split.": [(p, c, k, k), (p,)],
        })


@check("depthwise_separable", weight=2)
def separable_is_two_steps(learner, reference, rng):
    """Filter each channel by itself, then mix the channels at each place: equal numbers for the same weights"""
    _check_separable(learner, rng, 4, 6, 3, 1, (2, 4, 6, 5))
    _check_separable(learner, rng, 5, 3, 5, 1, (1, 5, 7, 6))
    _check_separable(learner, rng, 3, 4, 3, 2, (1, 3, 8, 7))


@check("depthwise_separable", weight=0.5)
def stride_drops_places_early(learner, reference, rng):
    """The stride is on the first convolution, so that the second works on few places"""
    layers = list(_network(learner.depthwise_separable(4, 6, 3, stride=2)).children())
    expect.equal(len(layers), 2, "the number of layers", causes={"Something stands between the two.": 3},
                 next_step="Two convolutions in nn.Sequential, nothing between.")
    found = [tuple(layer.stride) for layer in layers]
    expect.equal(found, [(2, 2), (1, 1)], "the strides of the two convolutions",
                 causes={"The 1×1 convolution has the stride: the output is the same, but the depthwise one computes "
                         "four times as many places as are used.": [(1, 1), (2, 2)],
                         "Both have the stride: the image shrinks twice.": [(2, 2), (2, 2)],
                         "The stride is not used.": [(1, 1), (1, 1)]},
                 next_step="Count the multiplications of either order for a 32×32 image.")


@check("depthwise_separable", weight=0.5)
def separable_refuses_even_kernels(learner, reference, rng):
    """An even kernel is a ValueError"""
    for kernel in (2, 4):
        expect.raises("ValueError", learner.depthwise_separable, 3, 4, kernel,
                      why=f"a kernel of side {kernel} has no middle")


@check("depthwise_separable", hidden=True, weight=2)
def separable_of_any_sizes(learner, reference, rng):
    """Blocks of any sizes equal the two steps"""
    for _ in range(4):
        c, p = (int(size) for size in rng.permutation(np.arange(2, 9))[:2])
        k, stride = int(rng.choice([1, 3, 5])), int(rng.integers(1, 4))
        _check_separable(learner, rng, c, p, k, stride, (1, c, int(rng.integers(1, 10)), int(rng.integers(1, 10))))


@check("depthwise_separable", hidden=True)
def separable_is_one_convolution(learner, reference, rng):
    """It is a convolution whose kernel is W[p, c] = mixing[p, c] · filter[c], borders included"""
    shapes = [(4, 1, 3, 3), (5, 4, 1, 1), (5,)]
    module, (filters, mixing, bias) = _parts(learner.depthwise_separable(4, 5), shapes, rng)
    x = _images(rng, 2, 4, 4, 3)
    kernel = mixing * filters[:, 0]
    looked = functional.conv2d(x, filters, padding=1, groups=4)
    causes = {"There is a ReLU between the two; here nothing is.": functional.conv2d(looked.relu(), mixing, bias)}
    want = functional.conv2d(x, kernel, bias, padding=1)
    _check_output(module, x, want, "the output as one convolution", FOUR, causes,
                  "Look at the pixels at the border first: do inside and border agree?")


def _check_separable(learner, rng, c, p, k, stride, shape):
    given = () if (k, stride) == (3, 1) else (k, stride)
    module, (filters, mixing, bias) = _parts(learner.depthwise_separable(c, p, *given),
                                             [(c, 1, k, k), (p, c, 1, 1), (p,)], rng)
    x = _images(rng, *shape)

    def two_steps(between=_same, step=stride, edge=k // 2):
        if min(x.shape[2:]) + 2 * edge < k:
            return torch.zeros(0)
        looked = [functional.conv2d(x[:, i : i + 1], filters[i : i + 1], stride=step, padding=edge) for i in range(c)]
        return torch.einsum("nchw,pc->nphw", between(torch.cat(looked, 1)), mixing[:, :, 0, 0]) + bias[:, None, None]

    causes = {"There is a ReLU between the two; here nothing is.": two_steps(functional.relu),
              "There is a ReLU at the end; here is none.": functional.relu(two_steps())}
    if stride > 1:
        causes["The stride is not used."] = two_steps(step=1)
    if k > 1:
        causes["The input is not padded."] = two_steps(edge=0)
    _check_output(module, x, two_steps(), f"the output for C = {c}, P = {p}, K = {k}, stride {stride}", FOUR, causes,
                  "Try one channel and one output: then the block is a plain convolution times a number.")


# Flattened -----------------------------------------------------------------------------------------------------------


@check("flattened")
def three_thin_convolutions(learner, reference, rng):
    """The block holds P·(C + K_y + K_x) weights and one bias, nothing else"""
    for p, c, height, width in ((7, 4, 3, 5), (3, 6, 5, 1)):
        given = _axes(rng, p, c, height, width)
        want = [(p, c, 1, 1), (p, 1, height, 1), (p, 1, 1, width), (p,)]
        layer = learner.flattened(*given)
        _check_sizes(layer, want, {
            "Height and width are swapped.": [(p, c, 1, 1), (p, 1, 1, height), (p, 1, width, 1), (p,)],
            "The outer product was multiplied out: nothing is smaller.": [(p, c, height, width), (p,)],
            "Every convolution has a bias; only the last one needs one.": [*want, (p,), (p,)],
            "The bias is missing.": want[:-1],
            "The thin convolutions mix channels: they have a filter for each pair.":
                [(p, c, 1, 1), (p, p, height, 1), (p, p, 1, width), (p,)],
        })
        _check_dtype(layer, torch.float64, "`lateral`")
        _check_sizes(learner.flattened(*given[:3], None), want[:-1], {"A bias was added.": want})


@check("flattened", weight=2)
def flattened_is_the_outer_product(learner, reference, rng):
    """It computes the convolution with W[p, c, y, x] = lateral · vertical · horizontal, borders included"""
    _check_flattened(learner, rng, 4, 3, 3, 3, (2, 3, 6, 5))
    _check_flattened(learner, rng, 3, 4, 5, 3, (1, 4, 7, 7))
    _check_flattened(learner, rng, 5, 2, 1, 5, (1, 2, 3, 3), with_bias=False)
    _check_flattened(learner, rng, 3, 2, 3, 5, (1, 2, 4, 5), dtype=torch.float32)


@check("flattened", weight=0.5)
def flattened_refuses_what_does_not_fit(learner, reference, rng):
    """Different numbers of filters, and even kernels, are a ValueError"""
    lateral, vertical, horizontal, bias = _axes(rng, 4, 3, 3, 3)
    for counts in ((4, 3, 4), (4, 4, 2), (3, 4, 4), (4, 3, 3)):
        given = [part[:count] for part, count in zip((lateral, vertical, horizontal), counts, strict=True)]
        expect.raises("ValueError", learner.flattened, *given, bias[: counts[0]],
                      why=f"there are {counts[0]}, {counts[1]} and {counts[2]} filters and every output needs one of "
                      "each")
    for even in ((vertical[:, :2], horizontal), (vertical, horizontal[:, :2])):
        expect.raises("ValueError", learner.flattened, lateral, *even, bias, why="a side of the kernel is 2, no middle")


@check("flattened", weight=0.5)
def filters_are_left_as_they_are(learner, reference, rng):
    """The filters and the bias that are given are as they were after the call"""
    names = ["lateral", "vertical", "horizontal", "the bias"]
    _check_unchanged(_axes(rng, 4, 3, 3, 5), names, learner.flattened)


@check("flattened", hidden=True, weight=2)
def flattened_of_any_sizes(learner, reference, rng):
    """Any numbers of filters, sides and images, with a bias and without, in both dtypes"""
    for _ in range(5):
        p, c = (int(size) for size in rng.integers(1, 9, 2))
        height, width = (int(side) for side in rng.choice([1, 3, 5, 7], 2))
        shape = (int(rng.integers(1, 4)), c, int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        dtype = (torch.float64, torch.float32)[int(rng.integers(2))]
        _check_flattened(learner, rng, p, c, height, width, shape, bool(rng.integers(2)), dtype)


@check("flattened", hidden=True, weight=0.5)
def flattened_can_be_trained(learner, reference, rng):
    """Every factor and the bias get a gradient"""
    layer = _network(learner.flattened(*_axes(rng, 4, 3, 3, 5)))
    _check_dtype(layer, torch.float64, "`lateral`")
    (layer(_images(rng, 2, 3, 6, 6).double()) ** 2).sum().backward()
    _check_some_gradient(layer)


def _axes(rng, p, c, height, width):
    return tuple(torch.from_numpy(rng.standard_normal(shape)) for shape in ((p, c), (p, height), (p, width), (p,)))


def _check_flattened(learner, rng, p, c, height, width, shape, with_bias=True, dtype=torch.float64):
    lateral, vertical, horizontal, bias = (part.to(dtype) for part in _axes(rng, p, c, height, width))
    given = bias if with_bias else None
    layer = learner.flattened(lateral, vertical, horizontal, given)
    _check_dtype(layer, dtype, "`lateral`")
    _check_sizes(layer, [(p, c, 1, 1), (p, 1, height, 1), (p, 1, 1, width), *[(p,)] * with_bias], {
        "The outer product was multiplied out: nothing is smaller.": [(p, c, height, width), *[(p,)] * with_bias],
        "The thin convolutions mix channels: they have a filter for each pair.":
            [(p, c, 1, 1), (p, p, height, 1), (p, p, 1, width), *[(p,)] * with_bias],
        "Height and width are swapped.": [(p, c, 1, 1), (p, 1, 1, height), (p, 1, width, 1), *[(p,)] * with_bias],
    })
    x = _images(rng, *shape).to(dtype)
    edge = (height // 2, width // 2)

    def convolved(first, second, third=lateral, edge=edge, b=given, inputs=x):
        if inputs.shape[2] + 2 * edge[0] < first.shape[1] or inputs.shape[3] + 2 * edge[1] < second.shape[1]:
            return torch.zeros(0)
        kernel = torch.einsum("pc,py,px->pcyx", third, first, second)
        return functional.conv2d(inputs, kernel, b, padding=edge)

    causes = {"The input is not padded.": convolved(vertical, horizontal, edge=(0, 0)),
              "There is a ReLU at the end; here is none.": convolved(vertical, horizontal).relu(),
              "A filter is the wrong way round: a convolution here doesn't flip its kernel.":
                  convolved(vertical.flip(1), horizontal.flip(1))}
    if with_bias:
        causes |= {"The bias is missing.": convolved(vertical, horizontal, b=None),
                   "The bias is in the first convolution, where the later ones multiply it.":
                       _late_bias(x, lateral, vertical, horizontal, bias)}
    if height == width:
        causes["Vertical and horizontal are swapped."] = convolved(horizontal, vertical)
    elif height != width:
        causes["Height and width of the padding are swapped."] = convolved(vertical, horizontal, edge=edge[::-1])
    _check_output(layer, x, convolved(vertical, horizontal), f"the output for P = {p}, C = {c} and a kernel of "
                  f"{height}×{width}", EIGHT if dtype == torch.float64 else FOUR, causes,
                  "Take one channel, one output and ones for two of the three filters, and follow the third.")


def _late_bias(x, lateral, vertical, horizontal, bias):
    y = functional.conv2d(x, lateral[:, :, None, None], bias)
    y = functional.conv2d(y, vertical[:, None, :, None], padding=(vertical.shape[1] // 2, 0), groups=len(vertical))
    return functional.conv2d(y, horizontal[:, None, None, :], padding=(0, horizontal.shape[1] // 2),
                             groups=len(horizontal))


# Pooled head ---------------------------------------------------------------------------------------------------------


@check("pooled_head")
def a_weight_a_channel(learner, reference, rng):
    """The head holds classes·channels weights and the bias, nothing else"""
    for classes, channels, places in ((10, 6, 16), (3, 8, 9)):
        weight, bias = _head(rng, classes, channels, places)
        head = _network(learner.pooled_head(weight, bias, channels))
        stored = sum(value.numel() for value in head.state_dict().values())
        trained = sum(parameter.numel() for parameter in head.parameters())
        want = classes * channels + classes
        causes = {"The head is as large as before.": weight.numel() + classes, "The bias is missing.": want - classes,
                  "It keeps a weight for each place, not for each channel.": classes * places + classes}
        for number, what in ((trained, "the head's parameters"), (stored, "the numbers that the head stores")):
            expect.equal(number, want, f"{what}, for {channels} channels and {classes} classes", causes=causes,
                         next_step="After the pool there is one number for each channel.")
        _check_dtype(head, torch.float64, "the weight")


@check("pooled_head", weight=1.5)
def features_that_are_the_same_everywhere(learner, reference, rng):
    """On features that are the same at every place, both heads give the same scores"""
    for classes, channels, side in ((4, 3, 4), (10, 5, 2), (3, 6, 1)):
        _check_head(learner, rng, classes, channels, (side, side), flat=True)


@check("pooled_head", weight=1.5)
def scores_of_the_mean(learner, reference, rng):
    """On any features the scores are those of their mean over the places"""
    _check_head(learner, rng, 4, 3, (4, 4))
    _check_head(learner, rng, 5, 6, (2, 3))


@check("pooled_head", weight=0.5)
def any_height_and_width(learner, reference, rng):
    """The head takes larger and smaller images than the old one did"""
    for size in ((7, 5), (1, 1), (2, 9)):
        _check_head(learner, rng, 3, 4, (4, 4), size=size)


@check("pooled_head", weight=0.5)
def channels_must_fit(learner, reference, rng):
    """Columns that are not a multiple of the channels are a ValueError"""
    weight, bias = _head(rng, 3, 4, 5)
    for channels in (3, 7, 40):
        expect.raises("ValueError", learner.pooled_head, weight, bias, channels,
                      why=f"20 columns can't be shared among {channels} channels")


@check("pooled_head", weight=0.5)
def trained_head_is_left_as_it_is(learner, reference, rng):
    """The weight and the bias that are given are as they were after the call"""
    _check_unchanged(_head(rng, 3, 4, 6), ["the weight", "the bias"], lambda *given: learner.pooled_head(*given, 4))


@check("pooled_head", hidden=True)
def no_pooled_head_is_closer(learner, reference, rng):
    """Written out as a fully connected head, no other pooled head is closer in the sum of squares"""
    classes, channels, places = 3, int(rng.integers(2, 6)), int(rng.integers(2, 10))
    weight, bias = _head(rng, classes, channels, places)
    head = _network(learner.pooled_head(weight, bias, channels))
    with torch.no_grad():
        v = (head(torch.eye(channels, dtype=torch.float64)[:, :, None, None]) - bias).T  # (classes, channels)
    cube = weight.view(classes, channels, places)
    expect.shape(v, (classes, channels), "the scores of one channel at a time")
    error = float(((v[:, :, None] / places - cube) ** 2).sum())
    rivals = [v + torch.from_numpy(size * rng.standard_normal(v.shape)) for size in 8 * (0.1, 0.01, 0.001)]
    rivals += [v * factor for factor in (1 / places, places, 0.9, 1.1)]
    best = min(float(((rival[:, :, None] / places - cube) ** 2).sum()) for rival in rivals)
    expect.that(error <= best * (1 + 1e-9), f"no pooled head closer than yours, at {error:.6g}",
                f"a rival at {best:.6g}", cause="These weights are not the closest.",
                next_step="Which single number is closest, in squares, to a row of numbers?")


@check("pooled_head", hidden=True, weight=1.5)
def pooled_head_of_any_sizes(learner, reference, rng):
    """Heads of any sizes and both dtypes, with gradients"""
    for dtype in (torch.float64, torch.float32):
        classes, channels = (int(size) for size in rng.integers(2, 9, 2))
        sides = tuple(int(side) for side in rng.integers(1, 6, 2))
        _check_head(learner, rng, classes, channels, sides, dtype=dtype)
    weight, bias = _head(rng, 3, 4, 4)
    head = _network(learner.pooled_head(weight, bias, 4))
    (head(torch.from_numpy(rng.standard_normal((2, 4, 2, 2)))) ** 2).sum().backward()
    _check_some_gradient(head)


def _head(rng, classes, channels, places):
    return (torch.from_numpy(rng.standard_normal((classes, channels * places))),
            torch.from_numpy(rng.standard_normal(classes)))


def _check_head(learner, rng, classes, channels, sides, size=None, flat=False, dtype=torch.float64):
    height, width = sides
    weight, bias = (part.to(dtype) for part in _head(rng, classes, channels, height * width))
    features = torch.from_numpy(rng.standard_normal((5, channels, *(size or sides)))).to(dtype)
    if flat:
        features = features[:, :, :1, :1].expand(-1, -1, height, width).contiguous()
    head = learner.pooled_head(weight, bias, channels)
    cube, mean = weight.view(classes, channels, -1), features.mean((2, 3))
    want = mean @ cube.sum(2).T + bias
    causes = {
        "The bias is missing, or not the one that was given.": want - bias,
        "The weights are averaged over the places; the pool has divided by their number already.":
            mean @ cube.mean(2).T + bias,
        "Flattened features hold one channel after another; here the weights are taken apart place by place.":
            mean @ weight.view(classes, -1, channels).sum(1).T + bias,
        "The features are added up over the places, not averaged.": features.sum((2, 3)) @ cube.sum(2).T + bias,
        "The largest feature is taken, not the mean.": features.amax((2, 3)) @ cube.sum(2).T + bias,
        "Only the weights of the first place are used.": mean @ cube[:, :, 0].T + bias,
    }
    side = math.isqrt(height * width)  # of the pool that takes the old image for a square
    for pool in ((height, width), (side, side), (side, height * width // side)):
        seen = features[:, :, : pool[0], : pool[1]].mean((2, 3)) @ cube.sum(2).T + bias
        causes |= {f"Only the first {pool[0]}×{pool[1]} places are averaged: the pool has a size of its own, and it "
                   "should take in images of any.": seen}
    causes = {cause: value for cause, value in causes.items() if not torch.allclose(value, want)}
    sums = cube.sum(2)
    carried = any(torch.allclose(kept.detach().reshape(-1), total.reshape(-1), FOUR, FOUR)
                  for kept in _network(head).parameters() for total in (sums, sums.T)
                  if kept.dtype == dtype and kept.numel() == total.numel())
    otherwise = ("The weights are right; what they are multiplied with is not the mean over all places, or something "
                 "is added." if carried else "These are the scores of other weights: is what was trained carried over?")
    what = "the scores on features that are the same everywhere" if flat else "the scores"
    _check_output(head, features, want, f"{what}, {channels} channels of {features.shape[2]}×{features.shape[3]}",
                  EIGHT if dtype == torch.float64 else FOUR, causes,
                  "Take one channel, one class and two places, and write both heads down.", otherwise)


# Octave --------------------------------------------------------------------------------------------------------------

PATHS = ("from high to high", "from low to high", "from high to low", "from low to low")


@check("oct_convolution", weight=0.5)
def without_low_channels_it_is_plain(learner, reference, rng):
    """With no low channels it is a plain convolution, and there is no low output"""
    for shape, p, k in (((2, 3, 6, 4), 5, 3), ((1, 2, 5, 7), 3, 5), ((1, 4, 3, 3), 2, 1)):
        high, weight = torch.from_numpy(rng.standard_normal(shape)), _kernel(rng, p, shape[1], k)
        got = _pair(learner.oct_convolution(high, None, weight, 0))
        expect.that(got[1] is None, "None for the low outputs, of which there are none", expect.show(got[1]),
                    next_step="What is there to put out if low_outputs is 0?")
        expect.close(got[0], functional.conv2d(high, weight, padding=k // 2), "a plain convolution", rtol=EIGHT,
                     atol=EIGHT, causes={"The input is not padded.": functional.conv2d(high, weight)},
                     next_step="Compare with functional.conv2d on the same tensors.")


@check("oct_convolution", weight=2)
def four_paths_one_by_one(learner, reference, rng):
    """Each of the four paths by itself: the other three quarters of the kernel are zero"""
    for path in range(4):
        _check_octave(learner, rng, 3, 2, 4, 3, 3, (4, 6), paths=(path,))


@check("oct_convolution", weight=1.5)
def paths_add_up(learner, reference, rng):
    """All four together, and at the ends of a network, where one side has no low channels"""
    _check_octave(learner, rng, 3, 2, 4, 3, 3, (6, 4))
    _check_octave(learner, rng, 3, 0, 4, 2, 3, (4, 4))
    _check_octave(learner, rng, 2, 3, 5, 0, 3, (4, 6))
    _check_octave(learner, rng, 1, 1, 2, 1, 5, (2, 2))


@check("oct_convolution", weight=0.5)
def octave_refuses_what_does_not_fit(learner, reference, rng):
    """Odd sides with a low resolution, channels that don't add up, and too many low outputs are a ValueError"""
    high, low, weight = torch.ones(1, 3, 4, 4), torch.ones(1, 2, 2, 2), torch.ones(4, 5, 3, 3)
    call = learner.oct_convolution
    expect.raises("ValueError", call, torch.ones(1, 3, 5, 4), None, torch.ones(4, 3, 3, 3), 1, why="the height is 5")
    expect.raises("ValueError", call, torch.ones(1, 3, 4, 7), low, weight, 0, why="the width is 7")
    expect.raises("ValueError", call, high, None, weight, 1, why="there are 3 input channels and the weight has 5")
    expect.raises("ValueError", call, high, low, torch.ones(4, 3, 3, 3), 1, why="3 + 2 channels come and 3 are wanted")
    for outputs in (4, -1, 5):
        expect.raises("ValueError", call, high, low, weight, outputs, why=f"of 4 outputs {outputs} should be low")


@check("oct_convolution", hidden=True, weight=2)
def octave_of_any_sizes(learner, reference, rng):
    """Any numbers of high and low channels, kernels and images"""
    for _ in range(5):
        high, low, p = (int(size) for size in rng.integers([1, 0, 2], [5, 5, 8]))
        sides = tuple(2 * int(side) for side in rng.integers(1, 5, 2))
        _check_octave(learner, rng, high, low, p, int(rng.integers(0, p)), int(rng.choice([1, 3, 5])), sides)


@check("oct_convolution", hidden=True)
def constant_images_see_no_octaves(learner, reference, rng):
    """With a 1×1 kernel, an image that is the same everywhere comes out as from a plain convolution"""
    c_high, c_low, p = (int(size) for size in rng.integers(1, 5, 3))
    p += 1
    low_outputs, weight = int(rng.integers(1, p)), _kernel(rng, p, c_high + c_low, 1)
    colour = torch.from_numpy(rng.standard_normal((1, c_high + c_low, 1, 1)))
    got = _pair(learner.oct_convolution(colour[:, :c_high].expand(-1, -1, 4, 4).contiguous(),
                                        colour[:, c_high:].expand(-1, -1, 2, 2).contiguous(), weight, low_outputs))
    want = functional.conv2d(colour, weight)
    for part, outputs, side, what in ((got[0], want[:, : p - low_outputs], 4, "high"),
                                      (got[1], want[:, p - low_outputs :], 2, "low")):
        expect.close(part, outputs.expand(-1, -1, side, side), f"the {what} output of an image of one colour",
                     rtol=EIGHT, atol=EIGHT, cause="Averaging and repeating leave one colour as it is.",
                     next_step="Which of the four paths changes the size of the numbers?")


def _kernel(rng, p, c, k):
    return torch.from_numpy(rng.standard_normal((p, c, k, k)))


def _octave(high, low, weight, low_outputs, pool=None, rise=None, late=True):
    """The definition by four paths, and what common mistakes make of it."""
    pool = pool or (lambda x: functional.avg_pool2d(x, 2))
    rise = rise or (lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    cut, c, edge = len(weight) - low_outputs, high.shape[1], weight.shape[-1] // 2

    def convolved(x, kernel):
        return functional.conv2d(x, kernel, padding=edge)

    new_high, new_low = convolved(high, weight[:cut, :c]), None
    if low is not None:
        from_low = weight[:cut, c:]
        new_high = new_high + (rise(convolved(low, from_low)) if late else convolved(rise(low), from_low))
    if low_outputs:
        new_low = convolved(pool(high), weight[cut:, :c]) if late else pool(convolved(high, weight[cut:, :c]))
        new_low = new_low if low is None else new_low + convolved(low, weight[cut:, c:])
    return new_high, new_low


def _check_octave(learner, rng, c_high, c_low, p, low_outputs, k, sides, paths=range(4)):
    height, width = sides
    high = torch.from_numpy(rng.standard_normal((2, c_high, height, width)))
    low = torch.from_numpy(rng.standard_normal((2, c_low, height // 2, width // 2))) if c_low else None
    weight, cut = _kernel(rng, p, c_high + c_low, k), p - low_outputs
    for path, (rows, columns) in enumerate(itertools.product((slice(0, cut), slice(cut, p)),
                                                             (slice(0, c_high), slice(c_high, c_high + c_low)))):
        if path not in paths:
            weight[rows, columns] = 0
    want = _octave(high, low, weight, low_outputs)
    got = _pair(learner.oct_convolution(high, low, weight, low_outputs))
    swapped = torch.cat([weight[:, c_low:], weight[:, :c_low]], 1) if c_low else None
    turned = torch.cat([weight[low_outputs:], weight[:low_outputs]]) if low_outputs else None
    wrong = {
        "A high channel becomes low by taking every second pixel, not by averaging four.":
            _octave(high, low, weight, low_outputs, pool=lambda x: x[:, :, ::2, ::2]),
        "The largest of four pixels is taken, not their mean.":
            _octave(high, low, weight, low_outputs, pool=lambda x: functional.max_pool2d(x, 2)),
        "What comes from low is interpolated between pixels; here each is repeated.":
            _octave(high, low, weight, low_outputs,
                    rise=lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear")),
        "Resolution is changed on the wrong side of the convolution: it should run where pixels are few.":
            _octave(high, low, weight, low_outputs, late=False),
        "From low to high nothing comes.": _octave(high, None, weight[:, :c_high], low_outputs),
    }
    if swapped is not None:
        wrong["The weight's input channels come high first, then low."] = _octave(high, low, swapped, low_outputs)
    if turned is not None:
        wrong["The weight's outputs come high first, then low."] = _octave(high, low, turned, low_outputs)
    what = f"the path {PATHS[paths[0]]}" if len(paths) == 1 else "all paths together"
    for place, name in enumerate(("high", "low")):
        if want[place] is None:
            expect.that(got[place] is None, "None for the low outputs: there are none", expect.show(got[place]))
            continue
        expect.close(got[place], want[place], f"the {name} output, {what}", rtol=EIGHT, atol=EIGHT,
                     causes={cause: value[place] for cause, value in wrong.items() if value[place] is not None
                             and not torch.allclose(value[place], want[place])},
                     next_step="Set all but one quarter of the weight to zero, and follow that path by itself.")


def _pair(value):
    expect.that(isinstance(value, tuple | list) and len(value) == 2, "two outputs, high and low", expect.show(value),
                next_step="Return both, the low one None where there is none.")
    return value


# Swapout -------------------------------------------------------------------------------------------------------------


@check("Swapout")
def keep_falls_in_a_line(learner, reference, rng):
    """keep = 1 − (1 − last) · block / blocks, for both masks"""
    for block, blocks, last, want in ((1, 4, 0.5, 0.875), (4, 4, 0.5, 0.5), (2, 4, 0.0, 0.5), (3, 3, 1.0, 1.0),
                                      (1, 1, 0.25, 0.25), (2, 5, 0.5, 0.8)):
        given = (block, blocks) if last == 0.5 else (block, blocks, last)
        keep = learner.Swapout(nn.ReLU(), *given).keep
        expect.that(isinstance(keep, float | int), "keep as a number of Python", f"a {type(keep).__name__}",
                    cause="keep follows from the schedule: nothing trains it, and as a tensor it is rounded to the "
                    "tensor's dtype." if isinstance(keep, Tensor) else "",
                    next_step="Leave it the float that the formula gives.")
        expect.close(keep, want, f"keep of block {block} of {blocks}, last {last:g}",
                     rtol=1e-9, causes={
                         "Blocks are counted from 1: the first one drops a little already.":
                             1 - (1 - last) * (block - 1) / max(blocks - 1, 1),
                         "Every block has the last one's.": last,
                         "That is the probability to drop.": 1 - want,
                         "Early blocks should drop less than late ones.": last + (1 - last) * block / blocks},
                     next_step="Write down keep for all blocks of four: it ends at last.")


@check("Swapout", weight=2)
def every_unit_has_four_cases(learner, reference, rng):
    """In training a unit puts out 0, X, F(X) or X + F(X), each as often as two independent coins say"""
    for block, blocks, last in ((2, 2, 0.5), (1, 1, 0.8), (3, 4, 0.6)):
        _check_cases(*_thrown(learner, rng, block, blocks, last))


@check("Swapout", weight=0.5)
def inputs_of_one_or_two_axes(learner, reference, rng):
    """A branch that takes other shapes than images gets its coins too"""
    _check_cases(*_thrown(learner, rng, 2, 2, 0.5, (1500, 6)))
    _near_cases(*_thrown(learner, rng, 2, 2, 0.5, (48,)))


@check("Swapout")
def coins_are_thrown_for_every_unit_and_call(learner, reference, rng):
    """Every image, channel and place has coins of its own, thrown anew in every call"""
    _check_own_coins(learner, rng, 2, 2, 0.5)


@check("Swapout", weight=0.5)
def ends_of_the_probability(learner, reference, rng):
    """keep = 1 is a residual block, keep = 0 puts out nothing"""
    x, branch = _signed(rng)
    for last, words in ((1.0, "X + F(X)"), (0.0, "0")):
        got = learner.Swapout(branch, 3, 3, last).train()(x)
        expect.close(got, last * (x + _f(x)), f"the output with keep = {last:g}, which is {words}", rtol=FOUR,
                     atol=FOUR, causes={"Only F(X) is put out.": _f(x), "Only X is put out.": x,
                                        "Both are put out: nothing is dropped.": x + _f(x),
                                        CUT: last * (x + _f(x)).relu(), FED: last * x + _f(last * x)},
                     next_step="Which values can a draw from 0 to below 1 have, and how is it compared?")


@check("Swapout")
def evaluation_is_the_mean(learner, reference, rng):
    """In evaluation it is the mean, keep · (X + F(X)), the same in every call"""
    for block, blocks, last in ((2, 2, 0.5), (1, 4, 0.2)):
        _check_mean(learner, rng, block, blocks, last)


@check("Swapout", weight=0.5)
def swapout_refuses_nonsense(learner, reference, rng):
    """A block that isn't there, and a probability that is none, are a ValueError"""
    for block, blocks, last in ((0, 3, 0.5), (4, 3, 0.5), (1, 3, 1.5), (1, 3, -0.1)):
        expect.raises("ValueError", learner.Swapout, nn.ReLU(), block, blocks, last,
                      why=f"block is {block} of {blocks} and last is {last:g}")


@check("Swapout", hidden=True, weight=2)
def cases_of_any_schedule(learner, reference, rng):
    """The four cases come as often as they should for any block, and the mean is theirs"""
    blocks = int(rng.integers(2, 7))
    block, last = int(rng.integers(1, blocks + 1)), float(rng.uniform(0.2, 0.7))
    _check_cases(*_thrown(learner, rng, block, blocks, last))
    _check_own_coins(learner, rng, blocks, blocks, last)
    _check_mean(learner, rng, block, blocks, last)


@check("Swapout", hidden=True)
def gradients_pass_where_units_passed(learner, reference, rng):
    """The gradient goes the way that the unit went, into the branch's own parameters too"""
    x, branch = _signed(rng)
    block = _network(learner.Swapout(branch, 1, 1, 0.6)).train()
    expect.equal(sorted(_shapes(block)), [(4,), (4, 1, 1, 1)], "the parameters of the block, which are the branch's",
                 cause="The branch is not part of the block, or something was added.",
                 next_step="Keep the branch as an attribute of the module, set after super().__init__().")
    x.requires_grad_()
    y = block(x)
    y.sum().backward()
    near = _near_cases(x.detach(), y.detach(), 0.6)
    slopes = (near * torch.tensor([0.0, 1, 4, 5]).view(-1, 1, 1, 1, 1)).sum(0)  # of 0, X, F(X) and X + F(X)
    expect.close(x.grad, slopes, "the gradient of the sum by X", rtol=FOUR, atol=FOUR,
                 cause="A mask is drawn again, or a way is cut off from the gradient.",
                 next_step="Multiply the masks with X and F(X) once, and detach nothing.")
    passed = near[2] | near[3]
    wanted = {4: (x.detach() * passed).sum((0, 2, 3)).view(-1, 1, 1, 1), 1: passed.sum((0, 2, 3))}
    for parameter in block.parameters():
        what = "weights" if parameter.ndim == 4 else "bias"
        expect.close(parameter.grad, wanted[parameter.ndim], f"the gradient of the sum by the branch's {what}",
                     rtol=FOUR, atol=1e-3, next_step=f"A unit whose F(X) was dropped says nothing about the {what} "
                     "of F.")


CUT = "What is negative is cut off: no ReLU follows here."
FED = "Where F(X) is dropped, F(0) is put out: the coin is for what comes out of the branch, not for what goes in."


def _f(x):
    return 4 * x + 0.5


def _signed(rng, shape=(64, 4, 6, 6)):
    """Numbers from 1 to 2, half of them negative, and a branch that makes 4x + 0.5 of each by itself."""
    if len(shape) == 4:
        branch = nn.Conv2d(shape[1], shape[1], 1, groups=shape[1])
        weight = torch.full((shape[1], 1, 1, 1), 4.0)
    else:
        branch, weight = nn.Linear(shape[-1], shape[-1]), 4 * torch.eye(shape[-1])
    branch.load_state_dict({"weight": weight, "bias": torch.full((len(weight),), 0.5)})
    signs = rng.choice([-1.0, 1.0], shape)
    return torch.from_numpy(signs * (1 + rng.random(shape))).float(), branch


def _thrown(learner, rng, block, blocks, last, shape=(64, 4, 6, 6)):
    """What came in, what each unit put out, and keep."""
    x, branch = _signed(rng, shape)
    got = learner.Swapout(branch, block, blocks, last).train()(x)
    expect.shape(got, shape, "the output", next_step="Both masks have the shape of X.")
    return x, got.detach(), 1 - (1 - last) * block / blocks


CASES = ("0", "X", "F(X)", "X + F(X)")


def _near_cases(x, y, keep):
    """Which of the cases each unit is, shape (4, …); every unit must be one."""

    def near(values, scale=1.0):
        return torch.stack([(scale * y - value).abs() < 1e-3 for value in values])

    found = near((0 * x, x, _f(x), x + _f(x)))
    odd = ~found.any(0)
    cause = "A unit puts out something else than one of the four."
    if bool(near([keep * (x + _f(x))]).any(0)[odd].all()):
        cause = "In training the mean is put out: the coins are thrown in training, the mean is for evaluation."
    elif bool(near((x, _f(x), x + _f(x)), keep).any(0)[odd].all()):
        cause = "What is kept is divided by keep, as dropout does; here it stays as it is."
    elif bool(near((_f(0 * x), x + _f(0 * x)))[:, odd].any(0).all()):
        cause = FED
    expect.that(not bool(odd.any()), "0, X, F(X) or X + F(X) from every unit, in training",
                f"{float(odd.double().mean()):.0%} of the units with something else", cause=cause,
                next_step="Print x, F(x) and the output side by side for a branch that you can follow by hand.")
    return found


def _check_cases(x, y, keep):
    near = _near_cases(x, y, keep)
    shares = near.double().flatten(1).mean(1).tolist()
    none_below = bool((y >= 0).all() and (y > 0).any())
    wanted = [(1 - keep) ** 2, keep * (1 - keep), (1 - keep) * keep, keep**2]
    causes = {
        "Both masks are the same throw: X alone and F(X) alone never come.": [1 - keep, 0, 0, keep],
        "One mask is the other's opposite.": [0, keep, 1 - keep, 0],
        "keep is used as the probability to drop.": wanted[::-1],
        "X always passes; it has a mask of its own.": [0, 1 - keep, 0, keep],
        "F(X) always passes; it has a mask of its own.": [0, 0, 1 - keep, keep],
    }
    numbers = x.numel()

    def fits(a, b):
        return all(abs(x - y) <= 6 * (max(y * (1 - y), 1e-4) / numbers) ** 0.5
                   for x, y in zip(a, b, strict=True))

    uneven = all(abs(share - value) < 0.2 for share, value in zip(shares, wanted, strict=True))
    otherwise = "That is too uneven for coins thrown for every unit by itself: do units share one?" if uneven else ""
    likely = (words for words, value in causes.items() if fits(shares, value) and not fits(wanted, value))
    cause = CUT if none_below else next(likely, otherwise)

    def shown(numbers):
        return ", ".join(f"{share:.2f} for {name}" for share, name in zip(numbers, CASES, strict=True))

    expect.that(fits(shares, wanted), f"shares of the cases of about {shown(wanted)}", shown(shares), cause=cause,
                next_step="Two coins, each with the probability keep: multiply their probabilities.")


def _check_own_coins(learner, rng, block, blocks, last):
    x, branch = _signed(rng)
    module = learner.Swapout(branch, block, blocks, last).train()
    keep = 1 - (1 - last) * block / blocks
    near, then = (_near_cases(x, module(x).detach(), keep) for _ in range(2))
    some = near[1:].any(0)  # where X is negative, so are F(X) and the sum
    expect.that(bool(some[x < 0].any()) or not bool(some.any()), "outputs below 0 as well, where X is negative", "none",
                cause=CUT, next_step="Which steps follow the sum?")
    alike = keep**2 + (1 - keep) ** 2  # how often two coins fall alike
    for case, which in ((1, "X"), (2, "F(X)")):
        one, two = (cases[case] | cases[3] for cases in (near, then))
        expect.that(not bool(one.all()), f"{which} in some units only", f"{which} in all units",
                    cause=f"{which} always passes; it has a coin of its own.", next_step="How many masks are drawn?")
        pairs = {"another call": (one, two), "the next image": (one[1:], one[:-1]),
                 "the next channel": (one[:, 1:], one[:, :-1]), "the next row": (one[:, :, 1:], one[:, :, :-1]),
                 "the next column": (one[..., 1:], one[..., :-1])}
        for other, (a, b) in pairs.items():
            found, bound = float((a == b).double().mean()), 10 * (alike * (1 - alike) / a.numel()) ** 0.5
            expect.that(abs(found - alike) <= bound, f"the coin of {which} to fall as in {other} about "
                        f"{alike:.0%} of the time", f"{found:.0%}",
                        cause=f"A unit and its neighbour in {other} share a coin." if found > alike else "",
                        next_step="Which shape does the mask have, and where is it drawn?")


def _check_mean(learner, rng, block, blocks, last):
    x, branch = _signed(rng)
    module = learner.Swapout(branch, block, blocks, last).eval()
    keep = 1 - (1 - last) * block / blocks
    got, both = module(x), x + _f(x)
    expect.close(got, keep * both, f"the output in evaluation with keep = {keep:g}", rtol=FOUR, atol=FOUR, causes={
        "Nothing is scaled: the mean of a coin is keep.": both,
        "Only F(X) is scaled; X has a coin as well.": x + keep * _f(x),
        "Only X is scaled; F(X) has a coin as well.": keep * x + _f(x),
        "It is scaled by keep twice.": keep**2 * both,
        "It is scaled by the probability to drop.": (1 - keep) * both,
        "Nothing comes from the branch.": keep * x,
        "The branch is given keep · X; the mean is that of what comes out of it.": keep * x + _f(keep * x),
        CUT: keep * both.relu(),
    }, cause="Coins are thrown in evaluation too: look at self.training." if not torch.equal(module(x), got) else "",
        next_step="Each mask is 1 with the probability keep: what is its mean?")


# Residual ------------------------------------------------------------------------------------------------------------


@check("Residual")
def a_shortcut_where_shapes_differ(learner, reference, rng):
    """The shortcut has weights only where channels or places change"""
    for c, w, o, stride in ((6, 2, 6, 1), (6, 2, 5, 1), (6, 2, 6, 2)):
        branch = _branch_shapes(c, w, o)
        projection = [] if (c, stride) == (o, 1) else [(o, c, 1, 1)]
        _check_sizes(learner.Residual(c, w, o, stride), branch + projection, {
            "The shortcut has weights where the input itself would do.": [*branch, (o, c, 1, 1)],
            "The shortcut has a bias; the branch has one already.": [*branch, (o, c, 1, 1), (o,)],
            "The convolutions of the branch have no bias.":
                [shape for shape in branch if len(shape) > 1] + projection,
            "What changes channels or places has to have weights: the shortcut is a convolution there.":
                branch if projection else [],
            "There is no bottleneck: the 3×3 convolution sees all channels.": [(o, c, 3, 3), (o,), (o, o, 3, 3), (o,)],
        })


@check("Residual")
def starts_as_its_shortcut(learner, reference, rng):
    """Before any training the branch adds nothing, and only its last convolution is zero"""
    x = _images(rng, 2, 4, 6, 6)
    module = _network(learner.Residual(4, 2, 4))
    expect.close(module(x), x.relu(), "the output of a new block, whose shortcut is the input", rtol=FOUR, atol=FOUR,
                 causes={"The ReLU behind the sum is missing.": x, "Nothing comes from the shortcut.": 0 * x},
                 cause=_last_at_start(module, 4), next_step=START)
    _check_only_last_is_zero(learner, x)


@check("Residual", weight=0.5)
def stride_is_on_the_three_by_three(learner, reference, rng):
    """Of the branch's convolutions the 3×3 has the stride"""
    module = learner.Residual(5, 3, 6, 2)
    _check_sizes(module, [*_branch_shapes(5, 3, 6), (6, 5, 1, 1)], {}, ANOTHER)
    layers = {tuple(layer._parameters["weight"].shape): layer for layer in module.modules()
              if layer._parameters.get("weight") is not None}
    found = [getattr(layers.get(shape), "stride", None) for shape in _branch_shapes(5, 3, 6)[::2]]
    if not all(isinstance(stride, tuple) for stride in found):
        return  # convolutions of the learner's own making: nothing tells where the stride is
    expect.equal(found, [(1, 1), (2, 2), (1, 1)], "the strides of the three convolutions of the branch", causes={
        "The last 1×1 has the stride: the output is the same, but the 3×3 computes four times as many places as are "
        "used.": [(1, 1), (1, 1), (2, 2)],
        "The first 1×1 has the stride: places are gone before the 3×3 has seen them.": [(2, 2), (1, 1), (1, 1)],
        "No convolution of the branch has the stride.": [(1, 1), (1, 1), (1, 1)],
    }, next_step="Count the multiplications of the 3×3 for a 32×32 image.")


@check("Residual", weight=2)
def residual_is_its_definition(learner, reference, rng):
    """Equal numbers for the same weights, with both shortcuts"""
    _check_residual(learner, rng, 5, 2, 5, 1, (2, 5, 6, 7))
    _check_residual(learner, rng, 4, 3, 6, 1, (1, 4, 5, 5))
    _check_residual(learner, rng, 5, 2, 6, 2, (1, 5, 8, 7))


@check("Residual", hidden=True, weight=2)
def residual_of_any_sizes(learner, reference, rng):
    """Blocks of any sizes equal the definition, a stride with equal channels included"""
    for stride in (1, 2, 2):
        c, w, o = (int(size) for size in rng.permutation(np.arange(2, 10))[:3])
        o = c if rng.integers(2) else o
        _check_residual(learner, rng, c, w, o, stride, (1, c, int(rng.integers(2, 9)), int(rng.integers(2, 9))))


START = "What comes out of a branch whose last layer is zero, weight and bias? And after the sum?"


def _check_only_last_is_zero(learner, x):
    """A new block with weights in its shortcut: these are not 0, nor are the branch's but for the last."""
    module = learner.Residual(4, 2, 5)
    _check_sizes(module, [*_branch_shapes(4, 2, 5), (5, 4, 1, 1)], {}, ANOTHER)
    new = {tuple(parameter.shape): parameter.detach() for parameter in module.parameters()}
    for shape, which in (((5, 4, 1, 1), "shortcut"), ((2, 4, 1, 1), "branch"), ((2, 2, 3, 3), "branch")):
        expect.that(bool(new[shape].any()), f"a weight of shape {shape} in the {which} that is not all 0", "zeros",
                    cause="Another convolution than the last of the branch starts with a weight of 0 too.",
                    next_step="What comes out of the block, and which gradients, if two layers are zero?")
    way = functional.conv2d(x, new[5, 4, 1, 1])
    _check_output(module, x, way.relu(), "the output of a new block, whose shortcut is a convolution", FOUR,
                  {"The ReLU behind the sum is missing.": way}, START, _last_at_start(module, 5))


def _last_at_start(module, outputs):
    """What is wrong with the last convolution of a new branch of width 2, in words."""
    shapes = (outputs, 2, 1, 1), (outputs,)
    nonzero = any(bool(parameter.any()) for parameter in module.parameters() if tuple(parameter.shape) in shapes)
    return "The last convolution of the branch doesn't start at zero, or its bias doesn't." if nonzero else ""


def _branch_shapes(c, w, o):
    return [(w, c, 1, 1), (w,), (w, w, 3, 3), (w,), (o, w, 1, 1), (o,)]


def _check_residual(learner, rng, c, w, o, stride, shape):
    projected = (c, stride) != (o, 1)
    shapes = _branch_shapes(c, w, o) + ([(o, c, 1, 1)] if projected else [])
    module, parts = _parts(learner.Residual(c, w, o, stride), shapes, rng)
    x = _images(rng, *shape)
    w1, b1, w2, b2, w3, b3 = parts[:6]

    def branch(first=functional.relu, second=functional.relu):
        y = first(functional.conv2d(x, w1, b1))
        return functional.conv2d(second(functional.conv2d(y, w2, b2, stride=stride, padding=1)), w3, b3)

    way = functional.conv2d(x, parts[6], stride=stride) if projected else x
    want = (way + branch()).relu()
    _check_output(module, x, want, f"the output of a block {c}-{w}-{o} with stride {stride}", FOUR, {
        "The ReLU behind the sum is missing.": way + branch(),
        "The ReLU comes before the sum, and none after it.": way + branch().relu(),
        "Nothing comes from the shortcut.": branch().relu(),
        "Nothing comes from the branch.": way.relu(),
        "The ReLU before the 3×3 is missing.": (way + branch(_same)).relu(),
        "The ReLU after the 3×3 is missing.": (way + branch(second=_same)).relu(),
        "The branch has no ReLU inside.": (way + branch(_same, _same)).relu(),
        "There is a ReLU at the end of the branch; here is none before the sum.": (way + branch().relu()).relu(),
    }, "Set the branch's weights to zero, then the shortcut's: each alone is easy to follow.")


# Swish ---------------------------------------------------------------------------------------------------------------


@check("Swish")
def beta_is_one_parameter(learner, reference, rng):
    """β is one number, starts where it was told to, and is trained"""
    for beta in (1.0, 0.25):
        module = _network(learner.Swish() if beta == 1.0 else learner.Swish(beta))
        values = [value for parameter in module.parameters() for value in parameter.detach().flatten().tolist()]
        expect.close(values, [beta], "the module's parameters", rtol=1e-6,
                     causes={"β is no parameter: nothing can train it.": []},
                     next_step="nn.Parameter makes a tensor one of the module's parameters.")


@check("Swish", weight=2)
def swish_and_its_limits(learner, reference, rng):
    """x · σ(βx): x / 2 at β = 0, nearly the ReLU at a large β, and for any β in between"""
    x = torch.cat([torch.linspace(-4, 4, 9), torch.from_numpy(rng.standard_normal(7)).float()])
    for beta in (2.5, 0.0, 1.0, -1.5, 50.0):  # at 0 and ±1 some mistakes look alike
        _check_swish(learner, x, beta)


@check("Swish")
def swish_gradients(learner, reference, rng):
    """The gradients by x and by β are those of x · σ(βx)"""
    for beta in (2.0, 0.5):
        _check_swish_gradients(learner, torch.from_numpy(rng.standard_normal((3, 4))).float(), beta)


@check("Swish", hidden=True)
def swish_stays_finite(learner, reference, rng):
    """Output and gradients are finite for numbers as large as ±10,000"""
    _check_swish(learner, torch.tensor([-1e4, -200.0, 0.0, 200.0, 1e4]), 1.0)
    _check_swish_gradients(learner, torch.tensor([-1e4, -200.0, 0.0, 200.0, 1e4]), 2.0)


@check("Swish", hidden=True)
def swish_of_any_beta(learner, reference, rng):
    """A β that training has moved is the β that is used"""
    for shape in ((5,), (2, 3, 4, 4)):
        x = torch.from_numpy(rng.standard_normal(shape)).float()
        _check_swish(learner, x, float(rng.uniform(-3, 3)), start=1.0)
        _check_swish_gradients(learner, x, float(rng.uniform(-3, 3)))


def _check_swish(learner, x, beta, start=None):
    module = _network(learner.Swish(beta if start is None else start))
    if start is not None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(beta)
    want = x * torch.sigmoid(beta * x)
    causes = {"The number that the module was made with is used, not its parameter.":
                  x * torch.sigmoid((beta if start is None else start) * x),
              "β is not used.": x * torch.sigmoid(x), "β stands before σ, not inside.": beta * x * torch.sigmoid(x),
              "β stands before σ as well as inside.": beta * x * torch.sigmoid(beta * x),
              "σ is the logistic function, not the hyperbolic tangent.": x * torch.tanh(beta * x),
              "The sign inside σ is the other one.": x * torch.sigmoid(-beta * x),
              "The x before σ is missing.": torch.sigmoid(beta * x)}
    if beta == 0:
        causes["Something is divided by β, which is 0 here."] = torch.full_like(x, torch.nan)
    _check_output(module, x, want, f"x · σ(βx) at β = {beta:.3g}", 1e-5,
                  {cause: value for cause, value in causes.items() if not torch.allclose(value, want)},
                  "At β = 0 the output is half of the input: what is yours?")


def _check_swish_gradients(learner, x, beta):
    module = _network(learner.Swish(beta))
    x = x.clone().requires_grad_()
    output = module(x)
    output.sum().backward()
    s = torch.sigmoid(beta * x.detach())
    by_x, by_beta = s + beta * x.detach() * s * (1 - s), (x.detach() ** 2 * s * (1 - s)).sum()
    step = "Write x · σ(βx) with torch.sigmoid, and let autograd do the rest."
    broken = "Something overflows on the way: exp of a large number is infinite."
    right = output.shape == x.shape and torch.allclose(output.detach(), x.detach() * s, 1e-5, 1e-5)
    other = "" if right else "The output is that of another function already: see the check that compares it."
    expect.close(x.grad, by_x, f"the gradient by x at β = {beta:g}", rtol=FOUR, atol=1e-5, next_step=step,
                 cause=other if x.grad is not None and x.grad.isfinite().all() else broken)
    grads = [parameter.grad for parameter in module.parameters()]
    expect.that(len(grads) == 1 and grads[0] is not None, "a gradient for β", "none",
                cause="β isn't a parameter, or is taken out of the computation.", next_step=step)
    expect.close(grads[0].reshape(()), by_beta, f"the gradient by β at β = {beta:g}", rtol=FOUR, atol=1e-4,
                 causes={"The output doesn't depend on the parameter.": torch.tensor(0.0)},
                 cause=other if grads[0].isfinite().all() else broken, next_step=step)


# Inception -----------------------------------------------------------------------------------------------------------


@check("Inception")
def four_branches(learner, reference, rng):
    """The block holds seven convolutions with a bias each, nothing else"""
    row = (9, 2, 3, 4, 5, 6, 7)
    want = _inception_shapes(*row)
    c, _, _, _, r5, fives, _ = row
    _check_sizes(learner.Inception(*row), want, {
        "There is one 5×5; here two 3×3 stand in its place.":
            [*want[:8], (fives, r5, 5, 5), (fives,), *want[12:]],
        "The two 3×3 of the third branch have different numbers of outputs; both have `fives`.":
            [*want[:8], (r5, r5, 3, 3), (r5,), (fives, r5, 3, 3), (fives,), *want[12:]],
        "The convolutions have no bias.": [shape for shape in want if len(shape) > 1],
        "The branches lack the 1×1 that reduces: the larger kernels see all channels.":
            [*want[:2], (row[3], c, 3, 3), (row[3],), (fives, c, 3, 3), (fives,), (fives, fives, 3, 3), (fives,),
             *want[12:]],
    })


@check("Inception", weight=2)
def inception_is_its_definition(learner, reference, rng):
    """Four branches in their order: equal numbers for the same weights"""
    _check_inception(learner, rng, (9, 2, 3, 4, 5, 6, 7), (2, 9, 5, 6))
    _check_inception(learner, rng, (3, 5, 4, 2, 7, 8, 6), (1, 3, 4, 4))


@check("Inception", hidden=True, weight=2)
def inception_of_any_sizes(learner, reference, rng):
    """Rows of any numbers equal the definition"""
    for _ in range(3):
        row = tuple(int(size) for size in rng.permutation(np.arange(2, 13))[:7])
        _check_inception(learner, rng, row, (1, row[0], int(rng.integers(1, 7)), int(rng.integers(1, 7))))


def _inception_shapes(c, ones, r3, threes, r5, fives, pooled):
    weights = [(ones, c, 1, 1), (r3, c, 1, 1), (threes, r3, 3, 3), (r5, c, 1, 1), (fives, r5, 3, 3),
               (fives, fives, 3, 3), (pooled, c, 1, 1)]
    return [shape for weight in weights for shape in (weight, weight[:1])]


LAYERS = ("the 1×1 of the first branch", "the 1×1 that reduces in the second branch", "the 3×3 of the second branch",
          "the 1×1 that reduces in the third branch", "the first 3×3 of the third branch",
          "the second 3×3 of the third branch", "the 1×1 of the branch with the pool")


def _check_inception(learner, rng, row, shape):
    module, parts = _parts(learner.Inception(*row), _inception_shapes(*row), rng)
    x = _images(rng, *shape)

    def branches(linear=(), pool=lambda y: functional.max_pool2d(y, 3, 1, 1)):
        def layer(y, number):
            weight, bias = parts[2 * number : 2 * number + 2]
            y = functional.conv2d(y, weight, bias, padding=weight.shape[-1] // 2)
            return y if number in linear else functional.relu(y)

        return [layer(x, 0), layer(layer(x, 1), 2), layer(layer(layer(x, 3), 4), 5), layer(pool(x), 6)]

    want = branches()
    _check_output(module, x, torch.cat(want, 1), f"the output of a block {row}", FOUR, {
        **{f"The ReLU after {name} is missing.": torch.cat(branches((number,)), 1)
           for number, name in enumerate(LAYERS)},
        "The ReLU inside the branches is missing.": torch.cat(branches((1, 3, 4)), 1),
        "The ReLU at the end of the branches is missing.": torch.cat(branches((0, 2, 5, 6)), 1),
        "There is no ReLU.": torch.cat(branches(range(7)), 1),
        "The pool takes the mean, not the largest.":
            torch.cat(branches(pool=lambda y: functional.avg_pool2d(y, 3, 1, 1)), 1),
        "The last branch has no pool.": torch.cat(branches(pool=_same), 1),
        "The branch with the pool comes first; it is the last one.": torch.cat([want[3], *want[:3]], 1),
        "The branches stand in the other order.": torch.cat(want[::-1], 1),
    }, "Compare branch by branch: the first outputs are those of the 1×1 alone.")


# Helpers -------------------------------------------------------------------------------------------------------------


def _same(x):
    return x


def _images(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape)).float()


def _network(value) -> nn.Module:
    expect.that(isinstance(value, nn.Module), "a network, such as nn.Sequential(…)", expect.show(value),
                cause="The layers are needed as a module that can run and be trained.",
                next_step="Return an nn.Module; a class derives from it.")
    return value


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in module.parameters()]


def _check_sizes(module, want, causes, otherwise="") -> None:
    """Parameters of the wanted shapes, in any order, and nothing stored beside them."""
    shapes = _shapes(_network(module))
    cause = next((words for words, value in causes.items() if sorted(shapes) == sorted(value)), otherwise)
    expect.that(sorted(shapes) == sorted(want), f"the shapes of the parameters = {expect.show(want)}",
                expect.show(shapes), cause=cause,
                next_step="A convolution keeps (outputs, inputs of a group, height, width): compare shape by shape.")
    stored, counted = (sum(t.numel() for t in kept) for kept in (module.state_dict().values(), module.parameters()))
    expect.equal(stored, counted, "the numbers that the block stores", cause="Something is kept beside the parameters.",
                 next_step="Look at state_dict() of your block: all that it names is stored.")


ANOTHER = "Weights of such shapes make up another block: see the check that counts them."


def _parts(module, shapes, rng) -> tuple[nn.Module, list[Tensor]]:
    """The module with new weights, and these in the order of the shapes; equal shapes get equal numbers."""
    _check_sizes(module, shapes, {}, ANOTHER)
    numbers = {shape: torch.from_numpy(rng.standard_normal(shape)).float() for shape in dict.fromkeys(shapes)}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(numbers[tuple(parameter.shape)])
    return module, [numbers[shape] for shape in shapes]


def _check_unchanged(tensors, names, call) -> None:
    """The call must leave the tensors that it is given as they are."""
    before = [tensor.clone() for tensor in tensors]
    call(*(inout(tensor) for tensor in tensors))
    for tensor, was, name in zip(tensors, before, names, strict=True):
        expect.equal(tensor, was, f"{name} after the call",
                     cause="The function changed what it was given: an assignment to a part of it, +=, or a method "
                     "that ends in an underscore.", next_step="Work on a copy, or make a new tensor.")


def _check_dtype(module, dtype: torch.dtype, of: str) -> None:
    found = " and ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()}))
    wanted = str(dtype).removeprefix("torch.")
    expect.that(found == wanted, f"layers in {wanted}, the dtype of {of}", f"layers in {found}",
                cause=f"Your layers are {found} and {of} is {wanted}.",
                next_step="A new layer is float32 unless it is told otherwise: see which dtype it can be given.")


def _check_output(module, x, want, what, tolerance, causes, next_step, cause="") -> None:
    with torch.no_grad():
        got = _network(module)(x)
    same_size = isinstance(got, Tensor) and got.shape == want.shape
    where = _first_difference(got, want, tolerance) if same_size else ""
    expect.close(got, want, what + where, rtol=tolerance, atol=tolerance, causes=causes,
                 cause=cause if same_size else "The output has another size.",
                 next_step=next_step if same_size else "Print the shape after each step, and compare the padding.")


def _first_difference(got, want, tolerance) -> str:
    """The first place where two arrays differ, in words, where it is not among the six numbers that a message shows."""
    if not got.is_floating_point():
        return ""
    near = torch.isclose(got.double(), want.double(), tolerance, tolerance, equal_nan=True)
    places = (~near).flatten().nonzero()
    if not len(places) or places[0] < 6:
        return ""
    place = tuple(int(index) for index in np.unravel_index(int(places[0]), tuple(want.shape)))
    return f" (first at {list(place)}: {expect.show(want[place])}, not {expect.show(got[place])})"


def _check_gradients(module, x, want, rng) -> None:
    """The gradient of every parameter is there and not zero; the output is the wanted one."""
    got = module(x)
    expect.close(got, want, "the output", rtol=FOUR, atol=FOUR,
                 cause="Its gradients are looked at once its output is right.",
                 next_step="See the check that compares the block with its definition.")
    (got * torch.from_numpy(rng.standard_normal(tuple(got.shape))).float()).sum().backward()
    _check_some_gradient(module)


def _check_some_gradient(module) -> None:
    for parameter in module.parameters():
        expect.that(parameter.requires_grad and parameter.grad is not None and bool(parameter.grad.abs().sum() > 0),
                    f"a gradient for the parameter of shape {tuple(parameter.shape)}", "none",
                    cause="It is not a parameter of a layer, or was made without gradients.",
                    next_step="Copy the numbers into the weights of layers under torch.no_grad().")
