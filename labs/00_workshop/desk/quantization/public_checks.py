"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import math
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


def _first_cause(got, causes) -> str:
    """The first known mistake whose result is this one."""
    value = np.asarray(got, dtype=np.float64)
    for cause, wrong in causes.items():
        other = np.asarray(wrong, dtype=np.float64)
        if value.shape == other.shape and np.allclose(value, other, rtol=1e-6, atol=1e-12):
            return cause
    return ""
