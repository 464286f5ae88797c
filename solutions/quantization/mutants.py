"""Unit 06, quantization: wrong answers that some check must reject, and right ones that all checks must accept."""

import math

import numpy as np
import torch
from torch.nn import functional

from nutshell.checks import alternative, mutant

# quantization_parameters ---------------------------------------------------------------------------------------------


def _range(low, high, bits):
    if low > high:
        raise ValueError(f"{low} is above {high}")
    if not 2 <= bits <= 8:
        raise ValueError(f"{bits} bits")
    return min(low, 0.0), max(high, 0.0), 2**bits


@mutant("quantization_parameters")
def parameters_with_256_divisions(low, high, bits=8):
    """As many steps as levels: "256 equal divisions\""""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / levels or 1.0
    return scale, min(levels - 1, round(-low / scale))


@mutant("quantization_parameters")
def parameters_without_zero(low, high, bits=8):
    """The range is not extended to zero; the zero point is clipped"""
    _, _, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1)
    return (scale, max(0, min(levels - 1, round(-low / scale)))) if scale else (1.0, 0)


@mutant("quantization_parameters")
def parameters_with_a_float_zero(low, high, bits=8):
    """The zero point stays where the range puts it, between two levels"""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1) or 1.0
    return scale, -low / scale


@mutant("quantization_parameters")
def parameters_cut_off(low, high, bits=8):
    """int() cuts the zero point off"""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1) or 1.0
    return scale, int(-low / scale)


@mutant("quantization_parameters")
def parameters_signed(low, high, bits=8):
    """The zero point of a signed grid, from −2^(b−1) on"""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1) or 1.0
    return scale, round(-low / scale) - levels // 2


@mutant("quantization_parameters")
def parameters_divide_by_zero(low, high, bits=8):
    """A range of nothing but 0 has scale 0"""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1)
    return scale, round(-low / scale) if scale else 0


@mutant("quantization_parameters")
def parameters_rounded_up(low, high, bits=8):
    """The zero point is rounded up, so that the range's low end is never clipped"""
    low, high, levels = _range(low, high, bits)
    scale = (high - low) / (levels - 1) or 1.0
    return scale, math.ceil(-low / scale)


@mutant("quantization_parameters")
def parameters_symmetric(low, high, bits=8):
    """As far to the left of 0 as to the right, the zero point in the middle"""
    low, high, levels = _range(low, high, bits)
    largest = max(-low, high)
    return (2 * largest / (levels - 1), levels // 2) if largest else (1.0, 0)


@alternative("quantization_parameters")
def parameters_with_numpy(low, high, bits=8):
    """NumPy, rounding halves up"""
    if low > high or bits not in range(2, 9):
        raise ValueError("range or bits")
    ends = np.array([min(0.0, low), max(0.0, high)])
    length = np.ptp(ends)
    if length == 0:
        return np.float64(1), np.int64(0)
    scale = length / (2.0**bits - 1)
    return scale, np.int64(np.clip(np.floor(-ends[0] / scale + 0.5), 0, 2**bits - 1))


@alternative("quantization_parameters")
def parameters_from_the_other_end(low, high, bits=8):
    """Counts the zero point down from the largest number"""
    low, high, levels = _range(low, high, bits)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (levels - 1)
    return scale, levels - 1 - round(high / scale)


# AffineGrid -----------------------------------------------------------------------------------------------------------


class _Grid:
    """Right in all that a mutant doesn't do otherwise."""

    def __init__(self, scale, zero_point, bits=8):
        self.scale, self.zero, self.most = scale, zero_point, 2**bits - 1

    def quantize(self, values):
        return self.clipped(torch.round(values / self.scale) + self.zero)

    def clipped(self, whole):
        return whole.clamp(0, self.most).to(torch.uint8)

    def dequantize(self, levels):
        return self.scale * (levels.int() - self.zero).float()


@mutant("AffineGrid")
class GridThatCutsOff(_Grid):
    """The change of type cuts off, since nothing is rounded"""

    def quantize(self, values):
        return self.clipped(values / self.scale + self.zero)


@mutant("AffineGrid")
class GridThatWrapsAround(_Grid):
    """No clipping: bytes wrap around"""

    def quantize(self, values):
        whole = torch.round(values / self.scale).nan_to_num(0.0, 1e9, -1e9) + self.zero
        return whole.long().remainder(256).to(torch.uint8)


@mutant("AffineGrid")
class GridThatRoundsAfterAdding(_Grid):
    """The zero point is added before rounding, so that an odd one moves the halves"""

    def quantize(self, values):
        return self.clipped(torch.round(values / self.scale + self.zero))


@mutant("AffineGrid")
class GridOf8Bits(_Grid):
    """Clips to 255, whatever the bits"""

    def quantize(self, values):
        return (torch.round(values / self.scale) + self.zero).clamp(0, 255).to(torch.uint8)


@mutant("AffineGrid")
class GridOfFloats(_Grid):
    """Whole numbers that are still floats"""

    def quantize(self, values):
        return (torch.round(values / self.scale) + self.zero).clamp(0, self.most)


@mutant("AffineGrid")
class GridThatClipsFirst(_Grid):
    """Clips before the zero point is added"""

    def quantize(self, values):
        return (torch.round(values / self.scale).clamp(0, self.most) + self.zero).to(torch.uint8)


@mutant("AffineGrid")
class GridWithInfinitiesFirst(_Grid):
    """Whole numbers first, clipping then: infinities have become something else"""

    def quantize(self, values):
        return self.clipped(torch.round(values / self.scale).to(torch.int32) + self.zero)


@mutant("AffineGrid")
class GridWithHalvesUp(_Grid):
    """Adds a half and rounds down"""

    def quantize(self, values):
        return self.clipped(torch.floor(values / self.scale + 0.5) + self.zero)


@mutant("AffineGrid")
class GridThatSubtractsBytes(_Grid):
    """On the way back q − Z is worked out in bytes, and wraps around below the zero point"""

    def dequantize(self, levels):
        return self.scale * (levels - self.zero).float()


@mutant("AffineGrid")
class GridThatForgetsZero(_Grid):
    """No zero point on the way back"""

    def dequantize(self, levels):
        return self.scale * levels.float()


@mutant("AffineGrid")
class GridThatScalesFirst(_Grid):
    """On the way back the zero point is subtracted from the number, not from the level: S·q − Z"""

    def dequantize(self, levels):
        return self.scale * levels.float() - self.zero


@mutant("AffineGrid")
class GridThatAddsZeroTwice(_Grid):
    """The zero point is subtracted there and added back: the two undo each other, and both are wrong"""

    def quantize(self, values):
        return self.clipped(torch.round(values / self.scale) - self.zero)

    def dequantize(self, levels):
        return self.scale * (levels.int() + self.zero).float()


@mutant("AffineGrid")
class GridThatKeepsSteps(_Grid):
    """On the way back the scale is forgotten"""

    def dequantize(self, levels):
        return (levels.int() - self.zero).float()


@mutant("AffineGrid")
class GridInInt8(_Grid):
    """On the way back levels become int8, where 128 and more are negative"""

    def dequantize(self, levels):
        return self.scale * (levels.to(torch.int8).int() - self.zero).float()


@mutant("AffineGrid")
class GridThatRemembers(_Grid):
    """Remembers what it was given, and gives that back, without any error"""

    def quantize(self, values):
        self.seen = values
        return super().quantize(values)

    def dequantize(self, levels):
        seen = getattr(self, "seen", None)
        if seen is not None and seen.shape == levels.shape:
            return seen
        return super().dequantize(levels)


@alternative("AffineGrid")
class GridWithNumPy:
    """NumPy in float64"""

    def __init__(self, scale, zero_point, bits=8):
        self.grid = scale, zero_point, bits

    def quantize(self, values):
        scale, zero, bits = self.grid
        whole = np.rint(np.asarray(values, dtype=np.float64) / scale) + zero
        return torch.tensor(np.clip(whole, 0, 2**bits - 1).astype(np.uint8))

    def dequantize(self, levels):
        scale, zero, _ = self.grid
        return torch.tensor(np.asarray(levels, dtype=np.int64) - zero).double() * scale


@alternative("AffineGrid")
class GridThatClipsNumbers:
    """Clips the numbers to the range before anything else; a table on the way back"""

    def __init__(self, scale, zero_point, bits=8):
        self.scale, self.zero_point = scale, zero_point
        self.numbers = torch.tensor([scale * (level - zero_point) for level in range(2**bits)])

    def quantize(self, values):
        low, high = self.numbers[0].to(values.dtype), self.numbers[-1].to(values.dtype)
        inside = torch.minimum(torch.maximum(values, low), high)
        return (inside.div(self.scale).round().int() + self.zero_point).to(torch.uint8)

    def dequantize(self, levels):
        return self.numbers[levels.long()]


@alternative("AffineGrid")
class GridInDoublePrecision:
    """In float64, S·q − S·Z on the way back"""

    def __init__(self, scale, zero_point, bits=8):
        self.scale, self.zero_point, self.levels = scale, zero_point, 2**bits

    def quantize(self, values):
        whole = (values.double() / self.scale).round() + float(self.zero_point)
        return torch.clip(whole, 0, self.levels - 1).byte()

    def dequantize(self, levels):
        return (self.scale * levels.double() - self.scale * self.zero_point).float()


# per_channel ---------------------------------------------------------------------------------------------------------


@mutant("per_channel")
def channels_share_a_scale(weight, bits=8):
    """One scale for all outputs"""
    most = 2 ** (bits - 1) - 1
    scale = (weight.abs().max() / most).expand(len(weight)).clone()
    scale[scale == 0] = 1
    q = torch.round(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1)))
    return q.to(torch.int8), scale


@mutant("per_channel")
def channels_are_inputs(weight, bits=8):
    """A scale for each input, the second axis"""
    most = 2 ** (bits - 1) - 1
    rows = weight.transpose(0, 1).flatten(1)
    scale = rows.abs().amax(1) / most
    scale = torch.where(scale > 0, scale, 1.0)
    q = torch.round(rows / scale[:, None]).reshape(weight.transpose(0, 1).shape).transpose(0, 1)
    return q.to(torch.int8), scale


@mutant("per_channel")
def channels_to_minus_128(weight, bits=8):
    """Divides by 2^(bits−1), so that the largest weight becomes 128 and is clipped"""
    half = 2 ** (bits - 1)
    rows = weight.flatten(1)
    scale = rows.abs().amax(1) / half
    scale = torch.where(scale > 0, scale, 1.0)
    q = torch.round(rows / scale[:, None]).clamp(-half, half - 1)
    return q.to(torch.int8).reshape(weight.shape), scale


@mutant("per_channel")
def channels_without_guard(weight, bits=8):
    """An output of zeros divides 0 by 0"""
    rows = weight.flatten(1)
    scale = rows.abs().amax(1) / (2 ** (bits - 1) - 1)
    return torch.round(rows / scale[:, None]).nan_to_num().to(torch.int8).reshape(weight.shape), scale


@mutant("per_channel")
def channels_by_largest_weight(weight, bits=8):
    """The largest weight, not the largest absolute one"""
    rows, most = weight.flatten(1), 2 ** (bits - 1) - 1
    scale = rows.amax(1).clamp_min(1e-12) / most
    scale = torch.where(rows.abs().amax(1) > 0, scale, 1.0)
    return torch.round(rows / scale[:, None]).clamp(-most, most).to(torch.int8).reshape(weight.shape), scale


@mutant("per_channel")
def channels_of_ranges(weight, bits=8):
    """Divides the range from least to largest by all steps of an unsigned grid"""
    rows, most = weight.flatten(1), 2 ** (bits - 1) - 1
    scale = (rows.amax(1) - rows.amin(1)) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, 1.0)
    return torch.round(rows / scale[:, None]).clamp(-most, most).to(torch.int8).reshape(weight.shape), scale


@mutant("per_channel")
def channels_with_kept_axes(weight, bits=8):
    """The scales keep the axes that they were taken over"""
    rows = weight.flatten(1)
    scale = rows.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    scale = torch.where(scale > 0, scale, 1.0)
    return torch.round(rows / scale).to(torch.int8).reshape(weight.shape), scale


@alternative("per_channel")
def channels_by_loop(weight, bits=8):
    """One output after the other"""
    most = 2 ** (bits - 1) - 1
    q, scales = torch.empty(weight.shape, dtype=torch.int8), torch.ones(len(weight), dtype=weight.dtype)
    for number, row in enumerate(weight):
        if row.abs().max() > 0:
            scales[number] = row.abs().max() / most
        q[number] = (row / scales[number]).round().to(torch.int8)
    return q, scales


@alternative("per_channel")
def channels_with_numpy(weight, bits=8):
    """NumPy, multiplying by the inverse scale in float64"""
    most = 2 ** (bits - 1) - 1
    rows = weight.numpy().astype(np.float64).reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1)
    scale = np.where(largest > 0, largest / most, 1.0)
    q = np.rint(rows * (1 / scale)[:, None]).astype(np.int8).reshape(weight.shape)
    return torch.tensor(q), torch.tensor(scale).to(weight.dtype)


# calibrate -----------------------------------------------------------------------------------------------------------


def _grid_error(values, low, high, bits):
    low, high, steps = min(low, 0.0), max(high, 0.0), 2**bits - 1
    scale = (high - low) / steps or 1.0
    zero = round(-low / scale)
    again = ((values / scale).round() + zero).clamp(0, steps).sub(zero).mul(scale)
    return float(((again - values) ** 2).mean())


def _seen(values, method):
    if method not in ("min-max", "percentile", "least squares"):
        raise ValueError(method)
    seen = values.detach().double().flatten()
    return seen, seen.min().item(), seen.max().item()


def _search(seen, least, largest, bits, choose=min):
    ends = [(least * t / 100, largest * t / 100) for t in range(1, 101)]
    return choose(ends, key=lambda pair: _grid_error(seen, *pair, bits))


@mutant("calibrate")
def calibrate_cuts_all_at_each_end(values, bits=8, method="min-max", share=0.999):
    """Cuts off 1 − share at either end, twice as much as asked for"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        return tuple(torch.quantile(seen, torch.tensor([1 - share, share], dtype=seen.dtype)).tolist())
    return (least, largest) if method == "min-max" else _search(seen, least, largest, bits)


@mutant("calibrate")
def calibrate_cuts_the_top(values, bits=8, method="min-max", share=0.999):
    """Cuts off at the high end only"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        return least, torch.quantile(seen, share).item()
    return (least, largest) if method == "min-max" else _search(seen, least, largest, bits)


@mutant("calibrate")
def calibrate_minimises_rounding_only(values, bits=8, method="min-max", share=0.999):
    """Judges a range by the numbers inside it: the shortest range always wins"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        return tuple(np.quantile(seen.numpy(), [(1 - share) / 2, (1 + share) / 2]).tolist())
    if method == "min-max":
        return least, largest
    ends = [(least * t / 100, largest * t / 100) for t in range(1, 101)]

    def error(pair):
        inside = seen[(seen >= min(pair[0], 0)) & (seen <= max(pair[1], 0))]
        return _grid_error(inside, *pair, bits) if len(inside) else 0.0

    return min(ends, key=error)


@mutant("calibrate")
def calibrate_always_8_bits(values, bits=8, method="min-max", share=0.999):
    """The bits are not used"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        return tuple(np.quantile(seen.numpy(), [(1 - share) / 2, (1 + share) / 2]).tolist())
    return (least, largest) if method == "min-max" else _search(seen, least, largest, 8)


@mutant("calibrate")
def calibrate_takes_any_method(values, bits=8, method="min-max", share=0.999):
    """A misspelt method passes for the last one"""
    seen, least, largest = _seen(values, "min-max")
    if method == "min-max":
        return least, largest
    if method == "percentile":
        return tuple(np.quantile(seen.numpy(), [(1 - share) / 2, (1 + share) / 2]).tolist())
    return _search(seen, least, largest, bits)


@mutant("calibrate")
def calibrate_forgets_to_sort(values, bits=8, method="min-max", share=0.999):
    """Takes the numbers as if they came in order"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        cut = int((1 - share) / 2 * len(seen))
        return tuple(sorted((seen[cut].item(), seen[len(seen) - 1 - cut].item())))
    return (least, largest) if method == "min-max" else _search(seen, least, largest, bits)


@mutant("calibrate")
def calibrate_shrinks_the_top(values, bits=8, method="min-max", share=0.999):
    """Searches for the high end only"""
    seen, least, largest = _seen(values, method)
    if method == "percentile":
        return tuple(np.quantile(seen.numpy(), [(1 - share) / 2, (1 + share) / 2]).tolist())
    if method == "min-max":
        return least, largest
    ends = [(least, max(least, largest * t / 100)) for t in range(1, 101)]
    return min(ends, key=lambda pair: _grid_error(seen, *pair, bits))


@alternative("calibrate")
def calibrate_by_sorting(values, bits=8, method="min-max", share=0.999):
    """Percentiles from a sorted list, to the nearest number; ranges one after the other"""
    seen, least, largest = _seen(values, method)
    if method == "min-max":
        return least, largest
    if method == "percentile":
        ordered, cut = torch.sort(seen).values, (1 - share) / 2 * (len(seen) - 1)
        return ordered[math.floor(cut)].item(), ordered[math.ceil(len(seen) - 1 - cut)].item()
    best = (float("inf"), least, largest)
    for t in np.linspace(0.01, 1, 100):
        best = min(best, (_grid_error(seen, least * t, largest * t, bits), least * t, largest * t))
    return best[1:]


@alternative("calibrate")
def calibrate_searches_finer(values, bits=8, method="min-max", share=0.999):
    """Four hundred ranges in place of a hundred, and NumPy's quantile"""
    if method == "percentile":
        return tuple(float(end) for end in np.quantile(values.numpy(), [(1 - share) / 2, (1 + share) / 2]))
    seen, least, largest = _seen(values, method)
    if method == "min-max":
        return [least, largest]
    ends = [(least * t / 400, largest * t / 400) for t in range(1, 401)]
    return min(ends, key=lambda pair: _grid_error(seen, *pair, bits))


# fake_quantize -------------------------------------------------------------------------------------------------------


def _rounded(values, scale, zero_point, bits):
    whole = (torch.round(values / scale) + zero_point).clamp(0, 2**bits - 1)
    return scale * (whole - zero_point)


@mutant("fake_quantize")
def fake_without_gradient(values, scale, zero_point, bits=8):
    """Rounds, and leaves the gradient to autograd: it is 0"""
    return _rounded(values, scale, zero_point, bits)


@mutant("fake_quantize")
def fake_detached(values, scale, zero_point, bits=8):
    """The result is cut off from the values"""
    return _rounded(values.detach(), scale, zero_point, bits)


@mutant("fake_quantize")
def fake_passes_everything(values, scale, zero_point, bits=8):
    """The gradient passes beyond the ends too"""
    return values + (_rounded(values, scale, zero_point, bits) - values).detach()


@mutant("fake_quantize")
def fake_scaled_gradient(values, scale, zero_point, bits=8):
    """The straight-through step is around the whole numbers, and S is left out on the way"""
    inside = values.clamp(-scale * zero_point, scale * (2**bits - 1 - zero_point))
    return _rounded(values, scale, zero_point, bits).detach() + (inside - inside.detach()) * scale


@mutant("fake_quantize")
def fake_symmetric_ends(values, scale, zero_point, bits=8):
    """The ends are those of a signed grid"""
    half = 2 ** (bits - 1)
    inside = values.clamp(-scale * half, scale * (half - 1))
    return (scale * torch.round(inside / scale)).detach() + (inside - inside.detach())


@mutant("fake_quantize")
def fake_in_float32(values, scale, zero_point, bits=8):
    """Everything becomes float32"""
    values = values.float()
    inside = values.clamp(-scale * zero_point, scale * (2**bits - 1 - zero_point))
    return _rounded(values, scale, zero_point, bits).detach() + (inside - inside.detach())


@mutant("fake_quantize")
def fake_open_above(values, scale, zero_point, bits=8):
    """The gradient is stopped below the lower end only, like a ReLU's"""
    clipped = values.clamp(min=-scale * zero_point)
    return _rounded(values, scale, zero_point, bits).detach() + (clipped - clipped.detach())


@mutant("fake_quantize")
def fake_strictly_between(values, scale, zero_point, bits=8):
    """What rounds to the first or the last level counts as beyond"""
    whole = torch.round(values / scale) + zero_point
    mask = ((whole > 0) & (whole < 2**bits - 1)).to(values.dtype)
    return _rounded(values, scale, zero_point, bits).detach() + (values * mask - (values * mask).detach())


@alternative("fake_quantize")
def fake_by_function(values, scale, zero_point, bits=8):
    """An autograd function with a backward of its own"""

    class Grid(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            whole = torch.round(x / scale) + zero_point
            context.save_for_backward((whole >= 0) & (whole <= 2**bits - 1))
            return scale * (whole.clamp(0, 2**bits - 1) - zero_point)

        @staticmethod
        def backward(context, gradient):
            return gradient * context.saved_tensors[0]

    return Grid.apply(values)


@alternative("fake_quantize")
def fake_by_torch(values, scale, zero_point, bits=8):
    """A mask and a constant"""
    low, high = -scale * zero_point, scale * (2**bits - 1 - zero_point)
    mask = ((values >= low) & (values <= high)).to(values.dtype)
    result = _rounded(values, scale, zero_point, bits).detach()
    return result + (values * mask - (values * mask).detach()).nan_to_num(0.0)


# int8_linear ---------------------------------------------------------------------------------------------------------


def _sums(inputs, input_zero, weight, bias):
    return (inputs.long() - input_zero) @ weight.long().T + bias.long()


def _to_bytes(whole):
    return whole.clamp(0, 255).to(torch.uint8)


@mutant("int8_linear")
def linear_forgets_input_zero(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Multiplies the levels as they are"""
    total = _sums(inputs, 0, weight, bias) * multiplier
    return _to_bytes(((total + (1 << (shift - 1))) >> shift) + output_zero)


@mutant("int8_linear")
def linear_rounds_down(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """A right shift, without half added"""
    return _to_bytes(((_sums(inputs, input_zero, weight, bias) * multiplier) >> shift) + output_zero)


@mutant("int8_linear")
def linear_in_floats(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Requantises in float64, which rounds halves to even and long products before"""
    factor = multiplier.double() / 2.0 ** shift.double()
    return _to_bytes(torch.round(_sums(inputs, input_zero, weight, bias).double() * factor) + output_zero)


@mutant("int8_linear")
def linear_in_floats_half_up(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Rounds halves up, in float64, which has too few bits for the product"""
    scaled = _sums(inputs, input_zero, weight, bias).double() * multiplier / 2.0 ** shift.double()
    return _to_bytes(torch.floor(scaled + 0.5) + output_zero)


@mutant("int8_linear")
def linear_wraps_around(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Becomes bytes without clipping"""
    total = _sums(inputs, input_zero, weight, bias) * multiplier
    return (((total + (1 << (shift - 1))) >> shift) + output_zero).remainder(256).to(torch.uint8)


@mutant("int8_linear")
def linear_scales_in_32_bits(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """The product of sum and multiplier stays in int32"""
    total = _sums(inputs, input_zero, weight, bias).to(torch.int32) * multiplier.to(torch.int32)
    return _to_bytes(((total.long() + (1 << (shift - 1))) >> shift) + output_zero)


@mutant("int8_linear")
def linear_away_from_zero(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Rounds the size and puts the sign back: negative halves go down"""
    total = _sums(inputs, input_zero, weight, bias) * multiplier
    return _to_bytes(total.sign() * ((total.abs() + (1 << (shift - 1))) >> shift) + output_zero)


@mutant("int8_linear")
def linear_adds_zero_after_clipping(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Clips first, and adds the zero point of the outputs then"""
    total = _sums(inputs, input_zero, weight, bias) * multiplier
    return (_to_bytes((total + (1 << (shift - 1))) >> shift).long() + output_zero).remainder(256).to(torch.uint8)


@mutant("int8_linear")
def linear_subtracts_in_bytes(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Subtracts the zero point in uint8, where 3 − 5 is 254"""
    centred = inputs - torch.tensor(input_zero, dtype=torch.uint8)
    total = (centred.long() @ weight.long().T + bias) * multiplier
    return _to_bytes(((total + (1 << (shift - 1))) >> shift) + output_zero)


@mutant("int8_linear")
def linear_adds_bias_last(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Scales the products and adds the bias then"""
    total = (inputs.long() - input_zero) @ weight.long().T * multiplier
    return _to_bytes(((total + (1 << (shift - 1))) >> shift) + bias + output_zero)


@mutant("int8_linear")
def linear_sums_in_16_bits(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """The sums of products stay in int16"""
    total = (((inputs.short() - input_zero) @ weight.short().T).long() + bias) * multiplier
    return _to_bytes(((total + (1 << (shift - 1))) >> shift) + output_zero)


@alternative("int8_linear")
def linear_expanded(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """The zero point multiplied out: Σ q·w − Z·Σ w, as fast kernels do it"""
    products = inputs.long() @ weight.long().T
    total = products - input_zero * weight.long().sum(1) + bias
    floor = torch.div(total * multiplier * 2 + (1 << shift), 1 << (shift + 1), rounding_mode="floor")
    return _to_bytes(floor + output_zero)


@alternative("int8_linear")
def linear_with_python_numbers(inputs, input_zero, weight, bias, multiplier, shift, output_zero):
    """Python's whole numbers, which have as many bits as they need"""
    x, w = inputs.numpy().astype(object) - input_zero, weight.numpy().astype(object)
    totals = x @ w.T + bias.numpy().astype(object)
    rows = [[min(255, max(0, (2 * t * m + 2**s) // 2 ** (s + 1) + output_zero))
             for t, m, s in zip(row, multiplier.tolist(), shift.tolist(), strict=True)] for row in totals]
    return torch.tensor(rows, dtype=torch.uint8)


# Extensions ----------------------------------------------------------------------------------------------------------


def _saturated(whole, bits):
    return whole.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int32)


def _known(rounding):
    if rounding not in ("half to even", "half up", "stochastic"):
        raise ValueError(rounding)


@mutant("fixed_point")
def fixed_always_to_even(values, bits, fraction, rounding="half to even", seed=0):
    """Half up is half to even"""
    _known(rounding)
    scaled = values.double() * 2.0**fraction
    if rounding == "stochastic":
        draw = torch.rand(scaled.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return _saturated(torch.floor(scaled + draw), bits)
    return _saturated(torch.round(scaled), bits)


@mutant("fixed_point")
def fixed_stochastic_coin(values, bits, fraction, rounding="half to even", seed=0):
    """Stochastic rounding tosses a fair coin, however near a neighbour is"""
    _known(rounding)
    scaled = values.double() * 2.0**fraction
    if rounding == "stochastic":
        coin = torch.rand(scaled.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
        return _saturated(torch.where(coin, scaled.floor(), scaled.ceil()), bits)
    return _saturated(torch.round(scaled) if rounding == "half to even" else torch.floor(scaled + 0.5), bits)


@mutant("fixed_point")
def fixed_symmetric(values, bits, fraction, rounding="half to even", seed=0):
    """Leaves the most negative number out"""
    _known(rounding)
    scaled, most = values.double() * 2.0**fraction, 2 ** (bits - 1) - 1
    draw = torch.rand(scaled.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    whole = {"half to even": torch.round(scaled), "half up": torch.floor(scaled + 0.5),
             "stochastic": torch.floor(scaled + draw)}[rounding]
    return whole.clamp(-most, most).to(torch.int32)


@mutant("fixed_point")
def fixed_stochastic_around(values, bits, fraction, rounding="half to even", seed=0):
    """Adds noise of up to a step to either side, and rounds to the nearest of what that gives"""
    _known(rounding)
    scaled = values.double() * 2.0**fraction
    if rounding == "stochastic":
        noise = torch.rand(scaled.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
        return _saturated(torch.round(scaled + noise), bits)
    return _saturated(torch.round(scaled) if rounding == "half to even" else torch.floor(scaled + 0.5), bits)


@alternative("fixed_point")
def fixed_with_numpy(values, bits, fraction, rounding="half to even", seed=0):
    """NumPy, the chance of going up compared with a draw"""
    scaled = np.ldexp(values.double().numpy(), fraction)
    if rounding == "half to even":
        whole = np.rint(scaled)
    elif rounding == "half up":
        whole = np.floor(scaled) + (scaled - np.floor(scaled) >= 0.5)
    elif rounding == "stochastic":
        whole = np.floor(scaled) + (np.random.default_rng(seed).random(scaled.shape) < scaled - np.floor(scaled))
    else:
        raise ValueError(f"no rounding {rounding}")
    return torch.tensor(np.clip(whole, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int32))


def _convolution(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride, padding, fill=0):
    height, width = weight.shape[2:]
    centred = functional.pad(inputs.long() - input_zero, (padding,) * 4, value=fill)
    patches = centred.unfold(2, height, stride).unfold(3, width, stride)
    total = torch.tensordot(patches, weight.long(), dims=([1, 4, 5], [1, 2, 3])) + bias
    return _to_bytes(((total * multiplier + (1 << (shift - 1))) >> shift) + output_zero).permute(0, 3, 1, 2)


@mutant("int8_convolution")
def convolution_pads_with_level_0(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride=1,
                                  padding=0):
    """The border is level 0, which stands for −S·Z"""
    return _convolution(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride, padding, -input_zero)


@mutant("int8_convolution")
def convolution_ignores_stride(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride=1, padding=0):
    """The stride is forgotten"""
    return _convolution(inputs, input_zero, weight, bias, multiplier, shift, output_zero, 1, padding)


@mutant("int8_convolution")
def convolution_in_float32(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride=1, padding=0):
    """Sums are exact in floats; the requantisation isn't, and rounds halves to even"""
    total = functional.conv2d(inputs.float() - input_zero, weight.float(), bias.float(), stride, padding)
    factor = multiplier.double() / 2.0 ** shift.double()
    return _to_bytes(torch.floor(total * factor[:, None, None].float()) + output_zero)


@mutant("int8_convolution")
def convolution_turns_the_kernel(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride=1,
                                 padding=0):
    """Turns the kernel round, as mathematicians convolve"""
    return _convolution(inputs, input_zero, weight.flip(2, 3), bias, multiplier, shift, output_zero, stride, padding)


@alternative("int8_convolution")
def convolution_by_pixels(inputs, input_zero, weight, bias, multiplier, shift, output_zero, stride=1, padding=0):
    """Adds one pixel of the kernel at a time"""
    height, width = weight.shape[2:]
    centred = functional.pad(inputs.int() - input_zero, (padding,) * 4)
    rows = (centred.shape[2] - height) // stride + 1
    columns = (centred.shape[3] - width) // stride + 1
    total = bias.int()[None, :, None, None].expand(len(inputs), -1, rows, columns).clone()
    for row in range(height):
        for column in range(width):
            part = centred[:, :, row : row + rows * stride : stride, column : column + columns * stride : stride]
            part = part[:, :, :rows, :columns]
            total += torch.einsum("nchw,pc->nphw", part, weight[:, :, row, column].int())
    m, s = multiplier[:, None, None], shift[:, None, None]
    return _to_bytes(((total.long() * m + (1 << (s - 1))) >> s) + output_zero)
