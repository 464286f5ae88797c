"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import math
from fractions import Fraction
import numpy as np
import torch
from torch import Tensor
from nutshell import expect
from nutshell.checks import check

GRIDS = ((0.5, 3, 4), (0.25, 128, 8), (2.0, 0, 2), (0.125, 255, 8), (1.0, 17, 5))  # scale, zero point, bits


@check("quantization_parameters")
def levels_span_the_range(learner, reference, rng):
    """The lowest and the highest level are one range apart: 2^bits levels make 2^bits − 1 steps"""
    for low, high, bits in ((-1.0, 1.0, 8), (-3.0, 12.0, 4), (-0.5, 1.0, 2), (0.0, 6.0, 8)):
        _check_scale(learner, low, high, bits)


@check("quantization_parameters")
def zero_is_a_level(learner, reference, rng):
    """Zero is on the grid, at both ends within half a step, also where the range lies to one side of it"""
    for low, high, bits in ((-1.0, 2.0, 8), (-0.3, 6.1, 4), (0.25, 6.375, 8), (-5.0, -1.0, 8), (2.0, 2.0, 8),
                            (-1.0, 0.0, 3), (-0.61, 0.39, 2), (-0.4, 0.6, 2)):
        _check_scale(learner, low, high, bits)
        _check_zero(learner, low, high, bits)


@check("quantization_parameters", weight=0.5)
def a_range_of_nothing_but_zero(learner, reference, rng):
    """The range from 0 to 0 has scale 1 and zero point 0"""
    for bits in (8, 2):
        scale, zero = _parameters(learner, 0.0, 0.0, bits)
        expect.equal((scale, zero), (1.0, 0), "scale and zero point of the range from 0 to 0",
                     cause="A scale of 0 would divide by zero later on.",
                     next_step="Treat this one range apart.")


@check("quantization_parameters", weight=0.5)
def parameters_refuse_nonsense(learner, reference, rng):
    """A range upside down, and bits other than 2 to 8, are a ValueError"""
    expect.raises("ValueError", learner.quantization_parameters, 1.0, -1.0, why="low is 1 and high is −1")
    for bits in (1, 0, 9):
        expect.raises("ValueError", learner.quantization_parameters, -1.0, 1.0, bits,
                      why=f"bits must be 2 to 8 and they are {bits}")


def _check_scale(learner, low, high, bits):
    scale, _ = _parameters(learner, low, high, bits)
    length, levels = max(high, 0.0) - min(low, 0.0), 2**bits
    causes = {
        f"{levels} levels leave {levels - 1} gaps between them, as {levels} fence posts do.": length / levels,
        "That is one gap too many taken off.": length / (levels - 2),
        "The grid is made for 8 bits, whatever the bits.": length / 255,
    }
    if length != high - low:
        causes |= {"The range is not extended to contain 0.": (high - low) / (levels - 1)}
    causes |= {"The range is made as long on one side of 0 as on the other, and levels beyond it stand for nothing.":
               2 * max(-low, high) / (levels - 1)}
    expect.close(scale, length / (levels - 1), f"the scale of the range {low:g} to {high:g} with {bits} bits",
                 rtol=1e-6, atol=0, causes=causes, next_step="Draw the levels for 2 bits and count the gaps.")


def _check_zero(learner, low, high, bits):
    scale, zero = _parameters(learner, low, high, bits)
    most = 2**bits - 1
    what = f"the zero point of the range {low:g} to {high:g} with {bits} bits"
    expect.that(0 <= zero <= most, f"{what} from 0 to {most}", expect.show(zero),
                cause="0 itself must be one of the levels: padding, ReLU and pruned weights are made of it.",
                next_step="Extend the range first, so that low ≤ 0 ≤ high.")
    exact = -min(low, 0.0) / scale
    expect.that(abs(zero - exact) <= 0.5 + 1e-6, f"{what}, the whole number nearest to {exact:.4g}", expect.show(zero),
                cause=_first_cause(zero, {
                    "It is cut off, not rounded.": math.floor(exact), "It is rounded up.": math.ceil(exact),
                    "The sign is turned round: low is negative, and the zero point is not.": round(-exact),
                    "That is the level of the largest number, counted from 0.": round(max(high, 0.0) / scale)}),
                next_step="Which level, counted from the lowest, stands for the number 0?")


def _parameters(learner, low, high, bits) -> tuple[float, int]:
    got = learner.quantization_parameters(low, high, **({} if bits == 8 else {"bits": bits}))
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "a scale and a zero point", expect.show(got),
                next_step="Return the two as a tuple: return scale, zero_point.")
    scale, zero = (float(value) for value in got)
    expect.that(math.isfinite(scale) and scale > 0, "a scale above 0", expect.show(scale),
                cause="Numbers are divided by the scale later on." if scale == 0 else "",
                next_step="Print low, high and the length of the range.")
    expect.that(zero.is_integer(), "a zero point that is a whole number", expect.show(zero),
                cause="A zero point between two levels can't be written as a level, so 0 isn't on the grid.",
                next_step="Round it.")
    return scale, int(zero)


@check("AffineGrid")
def nearest_level(learner, reference, rng):
    """Every number becomes the level nearest to it"""
    for scale, zero, bits in GRIDS:
        level = rng.integers(0, 2**bits, 40)
        values = scale * (level - zero + rng.uniform(-0.45, 0.45, 40))
        _check_levels(learner, values, scale, zero, bits, level)


@check("AffineGrid", weight=0.5)
def halves_go_to_the_even_level(learner, reference, rng):
    """A number halfway between two levels goes to the one where x / S is even"""
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])
    for scale, zero in ((1.0, 7), (0.5, 8)):  # an odd zero point, too: it is added after rounding
        want = np.rint(values).astype(int) + zero
        _check_levels(learner, values * scale, scale, zero, 4, want)


@check("AffineGrid")
def beyond_the_ends(learner, reference, rng):
    """What lies beyond the grid becomes its nearest end, infinities too"""
    for scale, zero, bits in GRIDS:
        most = 2**bits - 1
        for values in ([scale * (most - zero + 1), scale * (-zero - 1), 1e6, -1e6], [np.inf, -np.inf]):
            _check_levels(learner, np.array(values), scale, zero, bits, np.array([most, 0] * (len(values) // 2)))


@check("AffineGrid", weight=1.5)
def what_levels_stand_for(learner, reference, rng):
    """Every level stands for S·(q − Z), below the zero point and above it"""
    for scale, zero, bits in (*GRIDS, (0.0173, 93, 8)):
        _check_numbers(learner, np.arange(2**bits), scale, zero, bits)


@check("AffineGrid", weight=0.5)
def zero_is_written_without_error(learner, reference, rng):
    """0 has the level Z, and Z stands for 0, with no error at all"""
    for scale, zero, bits in (*GRIDS, (0.0173, 93, 8), (1 / 3, 6, 3)):
        grid = _grid(learner, scale, zero, bits)
        what = f"on the grid with S = {scale:.4g}, Z = {zero}"
        level = _levels(grid.quantize(torch.zeros(1)), (1,), bits)
        expect.equal(int(level), zero, f"the level of 0 {what}", next_step="What is 0 / S, and what is added to it?")
        number = _numbers(grid.dequantize(torch.tensor([zero], dtype=torch.uint8)), (1,))
        expect.equal(float(number), 0.0, f"the number that the level {zero} stands for, {what}",
                     cause="Padding, dead neurons and pruned weights are 0, and an error there is made over and over.",
                     next_step="Subtract the zero point first, multiply then.")


@check("AffineGrid")
def levels_come_back(learner, reference, rng):
    """There and back: a level that is dequantised and quantised again is the same level, on the whole grid"""
    for scale, zero, bits in (*GRIDS, (0.0173, 93, 8)):
        _check_again(learner, scale, zero, bits)


def _grid(learner, scale, zero, bits):
    grid = learner.AffineGrid(scale, zero, **({} if bits == 8 else {"bits": bits}))
    expect.that(grid is not None, "a grid, with the methods quantize and dequantize", "None",
                next_step="Write a class; its __init__ keeps the scale, the zero point and the bits.")
    return grid


def _check_levels(learner, values, scale, zero, bits, want):
    got = _grid(learner, scale, zero, bits).quantize(torch.tensor(values, dtype=torch.float32))
    want, most = np.asarray(want), 2**bits - 1
    finite = np.nan_to_num(np.asarray(values, dtype=np.float64) / scale, posinf=1e9, neginf=-1e9)
    steps = np.rint(finite)

    def of(whole):
        return np.clip(whole, 0, most)

    causes = {
        "The zero point is missing.": of(steps),
        "The zero point is subtracted; it is subtracted on the way back.": of(steps - zero),
        "Numbers are cut off, not rounded.": of(np.trunc(finite) + zero),
        "Numbers are rounded down.": of(np.floor(finite) + zero),
        "Halves are rounded up.": of(np.floor(finite + 0.5) + zero),
        "The zero point is added before rounding: halves then follow its parity.": of(np.rint(finite + zero)),
        "Numbers are multiplied by the scale.": of(np.rint(finite * scale**2) + zero),
        "Levels beyond the ends wrap around: clip before the numbers become bytes.": np.mod(steps + zero, 256),
        "It clips to 8 bits, whatever the bits.": np.clip(steps + zero, 0, 255),
        "It clips before the zero point is added.": np.mod(of(steps) + zero, 256),
    }
    if np.isinf(values).any():
        causes |= {"Infinity is no whole number: clip while the numbers are still floats.": np.zeros(want.shape)}
    q = _levels(got, want.shape, bits, causes)
    expect.equal(q.numpy().astype(np.int64), want.astype(np.int64),
                 f"the levels with S = {scale:g}, Z = {zero}, {bits} bits",
                 causes={cause: np.asarray(value).astype(np.int64) for cause, value in causes.items()},
                 next_step="Follow one number by hand: divide by S, round, add Z, clip.")


def _check_numbers(learner, levels, scale, zero, bits):
    got = _grid(learner, scale, zero, bits).dequantize(torch.tensor(levels, dtype=torch.uint8))
    levels = np.asarray(levels, dtype=np.int64)
    expect.close(_numbers(got, levels.shape), scale * (levels - zero),
                 f"the numbers that {2**bits} levels stand for, S = {scale:g}, Z = {zero}", rtol=1e-5,
                 atol=1e-6 * scale, causes=_number_causes(levels, scale, zero),
                 next_step="Take the level below the zero point: it stands for −S.")


def _number_causes(levels, scale, zero):
    return {
        "Below the zero point the difference wraps around: bytes can't be negative.": scale * ((levels - zero) % 256),
        "The zero point is not subtracted.": scale * levels,
        "The zero point is added; it is added on the way there.": scale * (levels + zero),
        "The zero point is a level, so it is subtracted before the scale is multiplied in.": scale * levels - zero,
        "The scale is missing: these are steps, not numbers.": levels - zero,
        "Levels are divided by the scale.": (levels - zero) / scale,
        "int8 ends at 127: levels above it have become negative.": scale * ((levels + 128) % 256 - 128 - zero),
    }


def _check_again(learner, scale, zero, bits):
    grid, levels = _grid(learner, scale, zero, bits), torch.arange(2**bits, dtype=torch.uint8)
    numbers = _numbers(grid.dequantize(levels), levels.shape)
    again = _levels(grid.quantize(numbers.to(torch.float32)), levels.shape, bits)
    away = (again.int() - levels.int()).abs()
    expect.that(not away.any(), f"all {2**bits} levels back, S = {scale:g}, Z = {zero}",
                f"{int((away > 0).sum())} others, up to {int(away.max())} away",
                cause="Either way may be at fault; the checks of each say which.",
                next_step="Follow the first level that doesn't come back: level → number → level.")


def _numbers(got, shape) -> Tensor:
    expect.shape(got, tuple(shape), "the numbers")
    numbers = torch.as_tensor(got)
    expect.that(numbers.is_floating_point(), "numbers in floats", f"{numbers.dtype}".replace("torch.", ""),
                cause="What S·(q − Z) is lies between whole numbers.", next_step="Which of your steps makes it whole?")
    return numbers.detach()


def _levels(got, shape, bits, causes=None) -> Tensor:
    expect.shape(got, tuple(shape), "the levels")
    q = torch.as_tensor(got)
    name = str(q.dtype).removeprefix("torch.")
    expect.that(q.dtype == torch.uint8, "levels in uint8", f"levels in {name}",
                cause="Whole numbers in a float take as many bytes as before." if q.is_floating_point() else "",
                next_step="Change the type last, when all levels are between 0 and 2^bits − 1.")
    most = int(q.max()) if q.numel() else 0
    cause = _first_cause(q.numpy(), {} if causes is None else causes)
    expect.that(most <= 2**bits - 1, f"levels of at most {2**bits - 1}, since there are {bits} bits", f"{most}",
                cause=cause, next_step="Clip at both ends of the grid.")
    return q


@check("per_channel")
def each_output_has_its_scale(learner, reference, rng):
    """The largest absolute weight of each output becomes 2^(bits−1) − 1, whatever the others are"""
    for shape, bits in (((5, 7), 8), ((4, 6), 4), ((3, 9), 2)):
        _check_channels(learner, _weights(rng, shape), bits)


@check("per_channel")
def kernels_have_a_scale_for_each_output(learner, reference, rng):
    """A convolution's kernels: one scale for each output channel, over all its inputs and pixels"""
    _check_channels(learner, _weights(rng, (4, 3, 2, 5)), 8)
    _check_channels(learner, _weights(rng, (6, 1, 3, 3)), 3)


@check("per_channel", weight=0.5)
def an_output_of_zeros(learner, reference, rng):
    """An output whose weights are all 0 has scale 1 and levels 0"""
    weight = _weights(rng, (4, 5))
    weight[2] = 0
    _check_channels(learner, weight, 8)
    _check_channels(learner, torch.zeros(2, 3), 4)


def _weights(rng, shape) -> Tensor:
    """Weights whose outputs differ in size by several powers of ten."""
    sizes = 10.0 ** rng.uniform(-3, 2, (shape[0], *(1 for _ in shape[1:])))
    return torch.from_numpy(rng.standard_normal(shape) * sizes).float()


def _check_channels(learner, weight, bits):
    got = learner.per_channel(weight, **({} if bits == 8 else {"bits": bits}))
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "whole numbers and scales", expect.show(got),
                next_step="Return the two as a tuple: return q, scale.")
    q, scale = (torch.as_tensor(part).detach() for part in got)
    most = 2 ** (bits - 1) - 1
    as_many = scale.numel() == len(weight)
    expect.shape(scale, (len(weight),), f"scales of weights {tuple(weight.shape)}",
                 cause="There are as many as there should be; the axes that were kept are in the way." if as_many
                 else "There is one scale for each output, the first axis.",
                 next_step="Give them one axis." if as_many
                 else "Take the maximum over all axes but the first: flatten them beforehand.")
    rows = weight.double().flatten(1)
    largest = rows.abs().amax(1)
    per_row, empty = largest / most, largest == 0
    want = torch.where(empty, 1.0, per_row)
    whole = weight.double().abs().max()
    expect.close(scale.double(), want, f"the scales of {bits} bits", rtol=1e-5, atol=0, causes={
        "All outputs have the scale of the largest weight.": torch.full_like(want, float(whole / most)),
        "Outputs without weights need a scale all the same: 1.": per_row,
        "Levels reach to −2^(bits−1): then they aren't the same on both sides of 0.":
            torch.where(empty, 1.0, largest / (most + 1)),
        "The range is divided by all steps of an unsigned grid.": torch.where(empty, 1.0, largest / (2 * most + 1)),
        "The largest weight was taken, not the largest absolute one.":
            torch.where(empty, 1.0, rows.amax(1) / most),
        "The range from least to largest is divided by all steps; here 0 is in the middle of the grid.":
            torch.where(empty, 1.0, (rows.amax(1) - rows.amin(1)) / (2 * most + 1)),
        "It is for 8 bits, whatever the bits.": torch.where(empty, 1.0, largest / 127),
        "That is the scale's inverse.": torch.where(empty, 1.0, most / largest),
    }, next_step="Divide the weights of one output by its scale: the largest must give 2^(bits−1) − 1, or minus that.")
    expect.shape(q, tuple(weight.shape), "the whole numbers")
    expect.that(q.dtype == torch.int8, "whole numbers in int8", f"whole numbers in {q.dtype}".replace("torch.", ""),
                next_step="Change the type at the end; uint8 has no negative numbers.")
    rows = rows / want[:, None]
    found = q.double().flatten(1)
    away = (found - rows).abs().max().item() if rows.numel() else 0.0
    expect.that(away <= 0.5 + 1e-4, "weights at most half a step from their levels", f"{away:.3f} steps away",
                cause=_first_cause(found.numpy(), {"Weights are cut off, not rounded.": rows.trunc().numpy(),
                                                   "Weights are rounded down.": rows.floor().numpy()}),
                next_step="Multiply your whole numbers by the scales of their outputs and compare with the weights.")


@check("calibrate", weight=0.5)
def from_least_to_largest(learner, reference, rng):
    """"min-max" is the range of all that was seen"""
    for values in (rng.standard_normal(50), rng.random((3, 4, 5)), -1 - rng.random(7)):
        low, high = _range(learner.calibrate(torch.tensor(values, dtype=torch.float32)))
        expect.close((low, high), (float(values.min()), float(values.max())), "the range", rtol=1e-6,
                     next_step="The least and the largest of all numbers, over all axes.")


@check("calibrate")
def as_many_are_cut_off_at_either_end(learner, reference, rng):
    """"percentile" cuts off half of what is left out at either end"""
    for size, share in ((1001, 0.98), (501, 0.9), (201, 1.0)):
        values = rng.permutation(rng.standard_normal(size) ** 3)
        _check_percentile(learner, values, share)


@check("calibrate")
def a_range_with_the_least_error(learner, reference, rng):
    """"least squares": no range of the hundred gives a smaller mean squared error"""
    heavy = rng.standard_normal(400) ** 3
    for values, bits in ((heavy, 4), (rng.standard_normal(500), 2), (np.abs(heavy), 3)):
        _check_least_squares(learner, values, bits)


@check("calibrate", weight=0.5)
def unknown_method(learner, reference, rng):
    """A method that there isn't is a ValueError"""
    expect.raises("ValueError", learner.calibrate, torch.ones(3), method="median", why='"median" is none of the three')


def _range(got) -> tuple[float, float]:
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "a low and a high end", expect.show(got),
                next_step="Return the two as a tuple: return low, high.")
    low, high = (float(value) for value in got)
    expect.that(low <= high, "a low end that isn't above the high one", f"{low:g} and {high:g}",
                next_step="Return them in the order low, high.")
    return low, high


def _check_percentile(learner, values, share):
    options = {} if share is None else {"share": share}
    low, high = _range(learner.calibrate(torch.tensor(values), method="percentile", **options))
    share = 0.999 if share is None else share
    came, ordered = np.ravel(values), np.sort(np.ravel(values))
    cut = (1 - share) / 2

    def around(quantile):
        place = quantile * (len(ordered) - 1)
        return ordered[max(0, math.floor(place - 1e-6))], ordered[min(len(ordered) - 1, math.ceil(place + 1e-6))]

    causes = {
        "All that is left out is cut off at either end, twice as much as asked for.":
            np.quantile(ordered, [2 * cut, 1 - 2 * cut] if share >= 0.5 else [0, 1]),
        "Only the high end is cut.": np.array([ordered[0], np.quantile(ordered, share)]),
        "Nothing is cut off.": ordered[[0, -1]],
        "The share is not used.": np.quantile(ordered, [0.0005, 0.9995]),
        "These stand at the right places of the numbers as they came: sort them first.":
            np.sort(came[[int(cut * len(came)), len(came) - 1 - int(cut * len(came))]]),
    }
    slack = 1e-6 * (ordered[-1] - ordered[0])
    for got, (least, most), name in ((low, around(cut), "low"), (high, around(1 - cut), "high")):
        cause = next((cause for cause, ends in causes.items() if np.allclose(ends, (low, high), rtol=1e-5)), "")
        expect.that(least - slack <= got <= most + slack,
                    f"the {name} end of a share of {share:.4g} from {least:.5g} to {most:.5g}", f"{got:.5g}",
                    cause=cause, next_step="Count the numbers below your low end and above your high end.")


def _check_least_squares(learner, values, bits):
    low, high = _range(learner.calibrate(torch.tensor(values), bits=bits, method="least squares"))
    least, largest = float(np.min(values)), float(np.max(values))
    candidates = [(least * t / 100, largest * t / 100) for t in range(1, 101)]
    errors = [_error(values, *ends, bits) for ends in candidates]
    one_end = [(least, max(least, high)) for _, high in candidates]
    cause = _first_cause((low, high), {
        "That is the whole range: was its error compared with those of shorter ones?": (least, largest),
        "That is the range with the least error at 8 bits: are the bits used?":
            candidates[int(np.argmin([_error(values, *ends, 8) for ends in candidates]))],
        "That is the range with the largest error.": candidates[int(np.argmax(errors))],
        "The low end is never moved: both ends come closer together.":
            one_end[int(np.argmin([_error(values, *ends, bits) for ends in one_end]))],
        "Errors are squared first and added then; this range has the least mean *absolute* error.":
            candidates[int(np.argmin([_error(values, *ends, bits, 1) for ends in candidates]))],
    })
    error = _error(values, low, high, bits)
    expect.that(error <= min(errors) * (1 + 1e-4) + 1e-15,
                f"a range with a mean squared error of at most {min(errors):.5g} at {bits} bits", f"{error:.5g}",
                cause=cause, next_step="Plot the error against t: a short range clips, a long one has coarse steps.")


def _error(values, low, high, bits, power=2) -> float:
    """Mean squared distance between numbers and their levels on the grid of a range."""
    low, high, steps = min(low, 0.0), max(high, 0.0), 2**bits - 1
    scale = (high - low) / steps or 1.0
    zero = round(-low / scale)
    levels = np.clip(np.rint(np.asarray(values) / scale) + zero, 0, steps)
    return float(np.mean(np.abs(scale * (levels - zero) - values) ** power))


@check("fake_quantize")
def forward_is_on_the_grid(learner, reference, rng):
    """Forward: what quantising and dequantising gives, still in floats"""
    for scale, zero, bits in GRIDS:
        _check_forward(learner, rng, scale, zero, bits, torch.float32)


@check("fake_quantize", weight=2)
def gradient_goes_straight_through(learner, reference, rng):
    """Backward: inside the range the gradient passes unchanged, beyond its ends it is 0"""
    for scale, zero, bits in ((0.6, 3, 4), (0.25, 100, 8), (2.0, 0, 2)):
        _check_gradient(learner, rng, scale, zero, bits)


def _check_forward(learner, rng, scale, zero, bits, dtype):
    most = 2**bits - 1
    steps = np.concatenate([rng.integers(0, most + 1, 30) - zero + rng.uniform(-0.45, 0.45, 30), [-zero - 5, most + 3]])
    values = torch.tensor(scale * steps, dtype=dtype)
    got = learner.fake_quantize(values, scale, zero, **({} if bits == 8 else {"bits": bits}))
    expect.shape(got, tuple(values.shape), "the result")
    whole = np.clip(np.rint(steps) + zero, 0, most)
    expect.that(torch.as_tensor(got).is_floating_point(), "floats on the grid", f"{torch.as_tensor(got).dtype}",
                cause="Whole numbers have no gradient.", next_step="Dequantise again.")
    expect.close(_tensor(got), scale * (whole - zero),
                 f"numbers on the grid with S = {scale:g}, Z = {zero}, {bits} bits", rtol=1e-5, atol=1e-6 * scale,
                 causes={
        "Nothing is rounded.": scale * np.clip(steps, -zero, most - zero),
        "Nothing is clipped.": scale * np.rint(steps),
        "That is the level, not the number it stands for.": whole,
        "The zero point isn't taken off again.": scale * whole,
        "Levels are clipped to 8 bits, whatever the bits.": scale * (np.clip(np.rint(steps) + zero, 0, 255) - zero),
        "The ends are those of a grid without zero point.": scale * np.clip(np.rint(steps), 0, most),
        "The ends are those of a signed grid, as for weights.":
            scale * np.clip(np.rint(steps), -(most + 1) // 2, most // 2),
    }, next_step="Quantise and dequantise a few numbers by hand, one of them beyond the range.")
    expect.that(torch.as_tensor(got).dtype == dtype, f"{dtype}".replace("torch.", ""),
                f"{torch.as_tensor(got).dtype}".replace("torch.", ""), cause="The dtype of the values is lost.",
                next_step="Which of your steps changes it?")


def _check_gradient(learner, rng, scale, zero, bits):
    most = 2**bits - 1
    within = rng.uniform(-zero + 0.05, most - zero - 0.05, 20)
    steps = np.concatenate([[-zero - 0.7, -zero - 9, most - zero + 0.7, most - zero + 30], within])
    values = torch.tensor(scale * steps, dtype=torch.float64, requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal(len(steps)))
    out = learner.fake_quantize(values, scale, zero, **({} if bits == 8 else {"bits": bits}))
    expect.shape(out, tuple(values.shape), "the result")
    expect.that(isinstance(out, Tensor) and out.requires_grad, "a result with a gradient", "one without",
                cause="The way from the values to the result is cut, by detach, a change of type or numpy.",
                next_step="Which of your steps has a gradient? Add the others as constants.")
    (got,) = torch.autograd.grad(out, values, upstream, allow_unused=True)
    inside = torch.from_numpy(np.concatenate([np.zeros(4), np.ones(20)]))
    whole = np.rint(steps) + zero
    between = torch.from_numpy((whole > 0) & (whole < most)).double()
    below, above = (torch.from_numpy(end).double() for end in (steps < -zero, steps > most - zero))
    expect.close(torch.zeros_like(upstream) if got is None else got, inside * upstream + 0.0,
                 "the gradient, 4 numbers beyond the range and then 20 inside it", rtol=1e-6, atol=1e-9, causes={
        "Rounding has a gradient of 0 nearly everywhere, and nothing gets past it.": torch.zeros_like(upstream),
        "Beyond the ends the result doesn't change with x, yet the gradient passes.": upstream,
        "Inside and beyond are mixed up.": (1 - inside) * upstream,
        "Below the lower end the gradient passes.": (inside + below) * upstream,
        "Above the upper end the gradient passes.": (inside + above) * upstream,
        "What rounds to the lowest or the highest level is inside the range, too.": between * upstream,
        "The gradient is scaled by S.": scale * inside * upstream,
        "The gradient is divided by S.": inside * upstream / scale,
    }, next_step="Write y = constant + (something with the right gradient − the same as a constant).")


@check("int8_linear")
def layer_by_hand(learner, reference, rng):
    """A layer with few inputs, as exact fractions have it"""
    for inputs, outputs in ((3, 2), (6, 4)):
        _check_layer(learner, *_random_layer(rng, 4, inputs, outputs))


@check("int8_linear")
def halves_are_rounded_up(learner, reference, rng):
    """A half is rounded up, of negative numbers too: −2.5 becomes −2"""
    totals = np.arange(-9, 10, dtype=np.int64)
    for multiplier, shift in ((1, 1), (3, 1), (1, 2), (2**30, 31), (5, 3)):
        _check_totals(learner, totals, multiplier, shift, 60)


@check("int8_linear")
def outputs_saturate(learner, reference, rng):
    """Results below 0 become 0, above 255 become 255, and never wrap around"""
    _check_totals(learner, np.array([-1000, -61, -60, -59, 0, 194, 195, 196, 1000]), 2, 1, 60)


@check("int8_linear")
def long_sums_fit(learner, reference, rng):
    """A thousand inputs of the largest size: sums and products get the bits that they need"""
    q = torch.full((2, 1000), 255, dtype=torch.uint8)
    weight = torch.full((3, 1000), 127, dtype=torch.int8)
    weight[1] = -127
    weight[2, ::2] = -127
    bias = torch.tensor([-40, 40, 1000], dtype=torch.int32)
    multiplier, shift = torch.tensor([1717986918, 2147483647, 1073741824]), torch.tensor([48, 49, 35])
    _check_layer(learner, q, 3, weight, bias, multiplier, shift, 100)


def _random_layer(rng, batch, inputs, outputs):
    """Levels, zero point, weights, biases, multipliers, shifts and output zero point of a layer that uses its range."""
    q = torch.from_numpy(rng.integers(0, 256, (batch, inputs))).to(torch.uint8)
    weight = torch.from_numpy(rng.integers(-127, 128, (outputs, inputs))).to(torch.int8)
    bias = torch.from_numpy(rng.integers(-5000, 5000, outputs)).to(torch.int32)
    shift = torch.from_numpy(rng.integers(36, 40, outputs))
    spread = 60 / (74 * 73 * math.sqrt(inputs))  # of the outputs: about 60 levels
    multiplier = torch.clamp((spread * rng.uniform(0.5, 1.5) * 2.0 ** shift.double()).round().long(), 1, 2**31 - 1)
    return q, int(rng.integers(0, 256)), weight, bias, multiplier, shift, int(rng.integers(40, 200))


def _check_totals(learner, totals, multiplier, shift, zero):
    """One output for each total: the bias makes it, and the inputs are the zero point."""
    count = len(totals)
    q, weight = torch.full((1, 2), 9, dtype=torch.uint8), torch.full((count, 2), 5, dtype=torch.int8)
    bias = torch.tensor(totals, dtype=torch.int32)
    _check_layer(learner, q, 9, weight, bias, torch.full((count,), multiplier), torch.full((count,), shift), zero)


def _check_layer(learner, q, zero, weight, bias, multiplier, shift, out_zero):
    got = learner.int8_linear(q, zero, weight, bias, multiplier, shift, out_zero)
    whole = [part.numpy().astype(object) for part in (q, weight, bias)]
    totals = (whole[0] - zero) @ whole[1].T + whole[2]
    want = _requantised(totals, multiplier, shift, out_zero)
    q8 = _bytes(got, want.shape)
    expect.equal(q8.numpy().astype(np.int64), want, f"the layer's output, Z_x = {zero}, Z_y = {out_zero}",
                 causes=_layer_causes(whole[0] @ whole[1].T + whole[2], (whole[0] - zero) % 256 @ whole[1].T + whole[2],
                                      totals, whole[2], multiplier, shift, out_zero),
                 next_step="Print the sums, then the sums times M / 2^shift, for one output, and round by hand.")


def _layer_causes(without_zero, wrapped, totals, bias, multiplier, shift, out_zero):
    def again(sums, **options):
        return _requantised(sums, multiplier, shift, out_zero, **options)

    return {
        "The zero point of the inputs is not subtracted.": again(without_zero),
        "Below the zero point of the inputs the difference wraps around: bytes can't be negative.": again(wrapped),
        "The bias is missing.": again(totals - bias),
        "The bias is added after the scaling, and it isn't on the grid of the outputs.":
            np.clip(_requantised(totals - bias, multiplier, shift, 0, clip=False) + np.array(bias, dtype=np.int64)
                    + out_zero, 0, 255),
        "The zero point of the outputs is missing, or was scaled with the sums.":
            _requantised(totals, multiplier, shift, 0),
        "A right shift alone rounds down: add half first.": again(totals, rounding=math.floor),
        "Numbers are cut off towards 0.": again(totals, rounding=math.trunc),
        "Halves are rounded to the even neighbour; here they go up.": again(totals, rounding=round),
        "Negative halves are rounded away from 0; here they go up.": again(totals, rounding=_away_from_zero),
        "Results wrap around: clip before they become bytes.": again(totals, wrap=True),
        "Results are clipped before the zero point of the outputs is added.":
            np.mod(_requantised(totals, multiplier, shift, 0) + out_zero, 256),
        "All outputs have the multiplier and shift of the first.":
            _requantised(totals, multiplier[:1].expand_as(multiplier), shift[:1].expand_as(shift), out_zero),
        "The product of sum and multiplier overflows 32 bits.":
            again([[_signed(int(t) * int(m), 32) / m for t, m in zip(row, multiplier.tolist(), strict=True)]
                   for row in totals]) if int(multiplier.min()) > 0 else None,
        "The sum itself overflows 16 bits.": again([[_signed(int(t), 16) for t in row] for row in totals]),
    }


def _requantised(totals, multiplier, shift, zero, rounding=None, wrap=False, clip=True) -> np.ndarray:
    """Exact fractions: sums times M / 2^shift, rounded, halves up, plus the zero point, clipped."""
    rows = []
    for row in totals:
        line = []
        for total, m, s in zip(row, multiplier.tolist(), shift.tolist(), strict=True):
            exact = Fraction(total) * m / 2**s
            whole = (math.floor(exact + Fraction(1, 2)) if rounding is None else rounding(exact)) + zero
            line.append(whole % 256 if wrap else min(255, max(0, whole)) if clip else whole)
        rows.append(line)
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(multiplier))


def _away_from_zero(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2)) if value >= 0 else math.ceil(value - Fraction(1, 2))


def _signed(value: int, bits: int) -> int:
    """What is left of a whole number in two's complement of some bits."""
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def _bytes(got, shape) -> Tensor:
    expect.shape(got, tuple(shape), "the output")
    q = torch.as_tensor(got)
    expect.that(q.dtype == torch.uint8, "levels in uint8", f"{q.dtype}".replace("torch.", ""),
                next_step="Clip to 0 … 255, and change the type last.")
    return q


@check("fixed_point")
def nearest_fixed_point(learner, reference, rng):
    """To the nearest, in both ways of treating halves"""
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.0, 3.0, -3.0, 1.25, -1.25, 1.75])
    for bits, fraction in ((8, 0), (8, 4), (16, 8), (8, -3)):
        for rounding, rounded in (("half to even", np.rint(halves)), ("half up", np.floor(halves + 0.5))):
            _check_fixed(learner, halves * 2.0**-fraction, bits, fraction, rounding, rounded)


@check("fixed_point", weight=0.5)
def fixed_point_saturates(learner, reference, rng):
    """Beyond the ends it saturates, at −2^(bits−1) and 2^(bits−1) − 1"""
    for bits in (2, 8, 16):
        half = 2 ** (bits - 1)
        steps = np.array([-half - 1, -half, half - 1, half, 5 * half, -5 * half], dtype=float)
        for rounding in ("half to even", "half up", "stochastic"):
            _check_fixed(learner, steps / 4, bits, 2, rounding, np.clip(steps, -half, half - 1))


@check("fixed_point")
def stochastic_rounding_is_right_on_average(learner, reference, rng):
    """Stochastic rounding: one of the two neighbours, and the mean is the number itself"""
    for number in (0.3, -0.3, 2.75, -7.5):
        _check_stochastic(learner, number, 3)


@check("fixed_point", weight=0.5)
def unknown_rounding(learner, reference, rng):
    """A way to round that there isn't is a ValueError"""
    expect.raises("ValueError", learner.fixed_point, torch.ones(3), 8, 4, rounding="up",
                  why='"up" is none of the three')


def _check_fixed(learner, values, bits, fraction, rounding, want):
    got = learner.fixed_point(torch.tensor(values), bits, fraction, rounding=rounding)
    steps, half = np.asarray(values) * 2.0**fraction, 2 ** (bits - 1)
    expect.shape(got, np.shape(values), "the whole numbers")
    expect.close(_tensor(got), want, f"{bits} bits, {fraction} of them behind the point, {rounding}", causes={
        "Halves are rounded to even; here they go up.": np.rint(steps),
        "Halves are rounded up; here they go to the even neighbour.": np.floor(steps + 0.5),
        "Negative halves are rounded away from 0.": np.trunc(steps + np.where(steps < 0, -0.5, 0.5)),
        "Numbers are cut off.": np.trunc(steps),
        "The ends are the same on both sides; two's complement has one negative number more.":
            np.clip(want, 1 - half, half - 1),
        "The upper end is one too high: with it 2^(bits−1) needs a bit more.": np.clip(np.rint(steps), -half, half),
        "Numbers wrap around.": np.mod(np.rint(steps) + half, 2 * half) - half,
        "The point is on the other side: multiply by 2^fraction.":
            np.clip(np.rint(np.asarray(values) * 2.0**-fraction), -half, half - 1),
        "That is the number, not its whole number q.": np.asarray(want) * 2.0**-fraction,
    }, next_step="Multiply by 2^fraction, round, clip to what the bits can hold.")


def _check_stochastic(learner, number, fraction):
    count, steps = 20_000, number * 2.0**fraction
    got = _tensor(learner.fixed_point(torch.full((count,), number, dtype=torch.float64), 16, fraction,
                                      rounding="stochastic", seed=1))
    expect.shape(got, (count,), "the whole numbers")
    found = sorted({int(value) for value in got.tolist()})
    expect.that(set(found) <= {math.floor(steps), math.ceil(steps)},
                f"{steps:g} rounded to {math.floor(steps)} or {math.ceil(steps)}", ", ".join(map(str, found[:5])),
                cause="It is moved further than to its neighbours.",
                next_step="Draw from 0 to 1, and round down after.")
    spread = 0.5 / math.sqrt(count)
    mean = float(got.mean())
    expect.that(abs(mean - steps) <= 7 * spread, f"a mean of {steps:g} within {7 * spread:.2g}", f"{mean:.5g}",
                cause="The chance of going up isn't what is behind the point.",
                next_step="How likely must 2.75 become 3, so that the mean is 2.75?")


@check("int8_convolution")
def places_as_fractions_have_them(learner, reference, rng):
    """Every place of the output, as exact fractions have it"""
    _check_convolution(learner, rng, (2, 3, 5, 4), (4, 3, 2, 3), 1, 0)


@check("int8_convolution")
def padding_is_the_zero_point(learner, reference, rng):
    """Padding is zeros of the image: the whole number for 0 is the zero point"""
    _check_convolution(learner, rng, (1, 2, 4, 4), (3, 2, 3, 3), 1, 1)
    _check_convolution(learner, rng, (1, 1, 3, 3), (2, 1, 3, 3), 1, 2)


@check("int8_convolution", weight=0.5)
def strides(learner, reference, rng):
    """Strides, also where the image has pixels left over"""
    _check_convolution(learner, rng, (1, 2, 6, 7), (2, 2, 3, 3), 2, 0)
    _check_convolution(learner, rng, (1, 2, 5, 5), (2, 2, 1, 1), 3, 0)


def _check_convolution(learner, rng, images, kernels, stride, padding):
    _, _, _, bias, multiplier, shift, out_zero = _random_layer(rng, 1, int(np.prod(kernels[1:])), kernels[0])
    q, zero = torch.from_numpy(rng.integers(0, 256, images)).to(torch.uint8), int(rng.integers(20, 236))
    weight = torch.from_numpy(rng.integers(-127, 128, kernels)).to(torch.int8)
    options = ({"stride": stride} if stride > 1 else {}) | ({"padding": padding} if padding else {})
    got = learner.int8_convolution(q, zero, weight, bias, multiplier, shift, out_zero, **options)

    def result(fill=zero, stride=stride, padding=padding, flip=False):
        kernel = weight.flip(2, 3) if flip else weight
        return _convolved(q, zero, kernel, bias, multiplier, shift, out_zero, stride, padding, fill)

    want = result()
    causes = {
        "The border is made of the whole number 0, which stands for another number than 0.": result(fill=0),
        "The stride is not used.": result(stride=1),
        "The padding is not used.": result(padding=0),
        "The kernel is turned round: layers correlate, they don't convolve.": result(flip=True),
        "The zero point of the inputs is not subtracted.":
            _convolved(q, 0, weight, bias, multiplier, shift, out_zero, stride, padding, 0),
    }
    name = f"a {kernels} kernel on {images} images, stride {stride}, padding {padding}"
    came = tuple(getattr(got, "shape", ()))
    expect.shape(got, want.shape, f"the output of {name}",
                 cause=next((cause for cause, other in causes.items() if other.shape == came), ""),
                 next_step="Work out the places along one axis by hand.")
    expect.equal(_bytes(got, want.shape).numpy().astype(np.int64), want, f"the output of {name}", causes=causes,
                 cause="Some places or channels are summed up wrongly, or rounded otherwise.",
                 next_step="Take a kernel with a single 1 in it: which pixels come out?")


def _convolved(q, zero, weight, bias, multiplier, shift, out_zero, stride, padding, fill) -> np.ndarray:
    """Place by place in Python's whole numbers."""
    padded = np.pad(q.numpy().astype(np.int64), ((0, 0), (0, 0), (padding, padding), (padding, padding)),
                    constant_values=fill) - zero
    kernel, (height, width) = weight.numpy().astype(np.int64), weight.shape[2:]
    rows, columns = (padded.shape[2] - height) // stride + 1, (padded.shape[3] - width) // stride + 1
    totals = np.empty((len(q), len(weight), rows, columns), dtype=np.int64)
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, :, row * stride : row * stride + height, column * stride : column * stride + width]
            totals[:, :, row, column] = np.einsum("nchw,pchw->np", patch, kernel) + bias.numpy()
    flat = totals.transpose(0, 2, 3, 1).reshape(-1, len(weight)).tolist()
    return _requantised(flat, multiplier, shift, out_zero).reshape(len(q), rows, columns, -1).transpose(0, 3, 1, 2)


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    return torch.as_tensor(value).detach().double()


def _first_cause(got, causes) -> str:
    """The first known mistake whose result is this one."""
    value = np.asarray(got, dtype=np.float64)
    for cause, wrong in causes.items():
        other = np.asarray(wrong, dtype=np.float64)
        if value.shape == other.shape and np.allclose(value, other, rtol=1e-6, atol=1e-12):
            return cause
    return ""
