"""Quantization: whole numbers in place of floats, and arithmetic that needs no others.

Notation of the unit: a number x is written as ``x ≈ S·(q − Z)`` with a whole number q, a scale S > 0 and a zero point
Z, which is a whole number too. With b bits, q is 0 to 2^b − 1 where a zero point is in use (activations), and
−(2^(b−1) − 1) to 2^(b−1) − 1 where Z = 0 (weights). A step is S; ⌊x⌉ is x rounded to the nearest whole number.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def quantization_parameters(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    """Scale and zero point of the grid of 2^bits levels that covers a range, with 0 on the grid.

    The range is first extended, if need be, so that it contains 0. Then ``S = (high − low) / (2^bits − 1)`` and
    ``Z = ⌊−low / S⌉``, halves to even (Jacob et al. 2018, arXiv 1712.05877, sections 2.1 and 3).

    Parameters
    ----------
    low, high : float
        Least and largest number to be written, finite, ``low <= high``.
    bits : int
        b, from 2 to 8.

    Returns
    -------
    scale : float
        S > 0; 1.0 for a range that holds nothing but 0.
    zero_point : int
        Z, from 0 to 2^bits − 1: the whole number that stands for 0.

    Raises
    ------
    ValueError
        If low is above high, or bits is not 2 to 8.

    Examples
    --------
    >>> quantization_parameters(-1.0, 3.0, bits=2)
    (1.3333333333333333, 1)
    >>> quantization_parameters(0.25, 6.375)
    (0.025, 0)
    """
    if low > high:
        raise ValueError(f"low={low}, high={high}: low must not be above high.")
    if not 2 <= bits <= 8:
        raise ValueError(f"bits={bits}: must be 2 to 8.")
    low, high = min(low, 0.0), max(high, 0.0)
    largest = 2**bits - 1
    scale = (high - low) / largest
    if scale == 0:
        return 1.0, 0
    return scale, min(round(-low / scale), largest)


class AffineGrid:
    """Numbers as levels of a grid, and back: ``x ≈ S·(q − Z)``.

    0 is written without error: its level is Z, and Z stands for it. A number that is on the grid comes back as it was,
    any other number inside the range as its nearest neighbour on the grid, at most half a step away (Jacob et al. 2018,
    arXiv 1712.05877, section 2.1).

    Parameters
    ----------
    scale : float
        S > 0.
    zero_point : int
        Z, from 0 to 2^bits − 1.
    bits : int
        b, from 2 to 8.

    Examples
    --------
    >>> grid = AffineGrid(scale=0.5, zero_point=3, bits=4)
    >>> q = grid.quantize(torch.tensor([-9.0, -0.5, 0.0, 0.25, 0.75, 99.0]))
    >>> q
    tensor([ 0,  2,  3,  3,  5, 15], dtype=torch.uint8)
    >>> grid.dequantize(q)
    tensor([-1.5000, -0.5000,  0.0000,  0.0000,  1.0000,  6.0000])
    """

    def __init__(self, scale: float, zero_point: int, bits: int = 8) -> None:
        """Keep what describes the grid."""
        self.scale, self.zero_point, self.largest = scale, zero_point, 2**bits - 1

    def quantize(self, values: Tensor) -> Tensor:
        """Levels ``q = ⌊x / S⌉ + Z``, halves to even, saturated: uint8, same shape, from 0 to 2^bits − 1.

        ``values`` are float32 or float64, of any shape; infinities too, but no NaN. What lies beyond the ends of the
        grid becomes the nearest end; it never wraps around.
        """
        whole = torch.round(values / self.scale) + self.zero_point
        return whole.clamp(0, self.largest).to(torch.uint8)

    def dequantize(self, levels: Tensor) -> Tensor:
        """The numbers that levels (uint8, any shape) stand for, ``S·(q − Z)``: float32, same shape."""
        return self.scale * (levels.to(torch.int32) - self.zero_point).float()


def per_channel(weight: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """Write a layer's weights as signed whole numbers, with a scale for each output and without zero points.

    The largest absolute weight of each output becomes 2^(bits−1) − 1: ``S_p = max|w_p| / (2^(bits−1) − 1)`` and
    ``q = ⌊w / S_p⌉``, halves to even (Krishnamoorthi 2018, arXiv 1806.08342, section 3.1).

    Parameters
    ----------
    weight : Tensor
        Float, shape ``(P, …)``: outputs first, as ``nn.Linear`` and ``nn.Conv2d`` keep it; left as it is.
    bits : int
        From 2 to 8.

    Returns
    -------
    q : Tensor
        int8, the shape of the weight, from −(2^(bits−1) − 1) to 2^(bits−1) − 1.
    scale : Tensor
        Shape ``(P,)``, in the dtype of the weight, each above 0; 1 for an output whose weights are all 0.

    Examples
    --------
    >>> q, scale = per_channel(torch.tensor([[0.5, -1.0], [0.0, 0.0], [-4.0, 8.0]]), bits=3)
    >>> q.tolist(), [round(each, 4) for each in scale.tolist()]
    ([[2, -3], [0, 0], [-2, 3]], [0.3333, 1.0, 2.6667])
    """
    largest = 2 ** (bits - 1) - 1
    rows = weight.detach().flatten(1)
    scale = rows.abs().amax(1) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    q = torch.round(rows / scale[:, None]).clamp(-largest, largest)
    return q.to(torch.int8).reshape(weight.shape), scale


def calibrate(values: Tensor, bits: int = 8, method: str = "min-max", share: float = 0.999) -> tuple[float, float]:
    """The range that a grid should cover, judged by numbers that were seen.

    - ``"min-max"``: from the least to the largest number.
    - ``"percentile"``: from the quantile ``(1 − share) / 2`` to the quantile ``(1 + share) / 2``, so that the given
      share of the numbers lies within and as many are cut off at either end.
    - ``"least squares"``: of the ranges ``(t·least, t·largest)``, t = 0.01, 0.02, …, 1, the one whose grid has the
      least mean squared error after quantising and dequantising these numbers. A finer search is welcome.

    The grid of a range is that of ``quantization_parameters``: the range extended to contain 0, S = length / (2^bits −
    1), Z = ⌊−low / S⌉.

    Parameters
    ----------
    values : Tensor
        Float, any shape, at least one number, all finite.
    bits : int
        From 2 to 8; matters for ``"least squares"`` only.
    method : str
        One of the three.
    share : float
        For ``"percentile"``: above 0 and at most 1.

    Returns
    -------
    low, high : float
        The range.

    Raises
    ------
    ValueError
        If there is no such method.

    Examples
    --------
    >>> seen = torch.cat([torch.linspace(0, 1, 1001), torch.tensor([2.0])])
    >>> calibrate(seen)
    (0.0, 2.0)
    >>> calibrate(seen, bits=3, method="least squares")
    (0.0, 0.96)
    """
    seen = values.detach().double().flatten()
    least, largest = seen.min().item(), seen.max().item()
    if method == "min-max":
        return least, largest
    if method == "percentile":
        ends = torch.tensor([(1 - share) / 2, (1 + share) / 2], dtype=seen.dtype)
        low, high = torch.quantile(seen, ends).tolist()
        return low, high
    if method != "least squares":
        raise ValueError(f'method={method!r}: must be "min-max", "percentile" or "least squares".')
    steps, best, found = 2**bits - 1, math.inf, (least, largest)
    for percent in range(100, 0, -1):
        low, high = least * percent / 100, largest * percent / 100
        scale = (max(high, 0.0) - min(low, 0.0)) / steps or 1.0
        zero = round(-min(low, 0.0) / scale)
        whole = (torch.round(seen / scale) + zero).clamp(0, steps)
        error = ((scale * (whole - zero) - seen) ** 2).mean().item()
        if error < best:
            best, found = error, (low, high)
    return found


def fake_quantize(values: Tensor, scale: float, zero_point: int, bits: int = 8) -> Tensor:
    """Quantise and dequantise in floats, with the straight-through gradient, so that training feels the grid.

    Forward: ``S·(clip(⌊x / S⌉ + Z, 0, 2^bits − 1) − Z)``. Backward: rounding would give a gradient of 0 almost
    everywhere; the straight-through estimator takes it for the identity (Bengio et al. 2013, arXiv 1308.3432). Where x
    lies inside the range of the grid, the gradient passes unchanged; beyond its ends it is 0.

    Parameters
    ----------
    values : Tensor
        x, float32 or float64, any shape.
    scale : float
        S > 0.
    zero_point : int
        Z, from 0 to 2^bits − 1.
    bits : int
        From 2 to 8.

    Returns
    -------
    Tensor
        Same shape and dtype, on the grid; differentiable with respect to ``values``.

    Examples
    --------
    >>> x = torch.tensor([-9.0, 0.3, 0.7, 9.0], requires_grad=True)
    >>> y = fake_quantize(x, scale=0.5, zero_point=1, bits=3)
    >>> y.detach(), torch.autograd.grad(y.sum(), x)[0]
    (tensor([-0.5000,  0.5000,  0.5000,  3.0000]), tensor([0., 1., 1., 0.]))
    """
    inside = values.clamp(-scale * zero_point, scale * (2**bits - 1 - zero_point))
    rounded = scale * torch.round(inside.detach() / scale)
    return rounded + (inside - inside.detach())  # a value of rounded, the gradient of inside


def int8_linear(inputs: Tensor, input_zero: int, weight: Tensor, bias: Tensor, multiplier: Tensor, shift: Tensor,
                output_zero: int) -> Tensor:
    """A linear layer on whole numbers: multiply, add, and requantise to the grid of the next layer.

    With ``x = S_x·(q_x − Z_x)``, ``w_p = S_p·q_w`` and ``y = S_y·(q_y − Z_y)`` the layer ``y = W x + b`` becomes

    ``q_y = clip(⌊(Σ (q_x − Z_x)·q_w + q_b) · M_p / 2^shift_p⌉ + Z_y, 0, 255)``

    with ``q_b = ⌊b / (S_x·S_p)⌉`` and ``M_p / 2^shift_p ≈ S_x·S_p / S_y``, both worked out beforehand (Jacob et al.
    2018, arXiv 1712.05877, section 2). ⌊·⌉ rounds halves up, also of negative numbers (−2.5 to −2), as adding half and
    shifting right does. Everything is exact: no number on the way is a float.

    Parameters
    ----------
    inputs : Tensor
        q_x, uint8, shape ``(N, inputs)``.
    input_zero : int
        Z_x, 0 to 255.
    weight : Tensor
        q_w, int8, shape ``(outputs, inputs)``.
    bias : Tensor
        q_b, int32, shape ``(outputs,)``. The sum with the bias fits 32 bits.
    multiplier : Tensor
        M, int64, shape ``(outputs,)``, each from 0 to 2³¹ − 1.
    shift : Tensor
        int64, shape ``(outputs,)``, each from 1 to 61.
    output_zero : int
        Z_y, 0 to 255.

    Returns
    -------
    Tensor
        q_y, uint8, shape ``(N, outputs)``.

    Examples
    --------
    >>> q = torch.tensor([[10, 20]], dtype=torch.uint8)
    >>> weight, bias = torch.tensor([[3, -2], [100, 100]], dtype=torch.int8), torch.tensor([5, 0], dtype=torch.int32)
    >>> int8_linear(q, 8, weight, bias, torch.tensor([1, 3]), torch.tensor([1, 2]), output_zero=10)
    tensor([[  4, 255]], dtype=torch.uint8)
    """
    total = (inputs.to(torch.int32) - input_zero) @ weight.to(torch.int32).T + bias
    half = 1 << (shift - 1)
    scaled = (total.to(torch.int64) * multiplier + half) >> shift
    return (scaled + output_zero).clamp(0, 255).to(torch.uint8)


def fixed_point(values: Tensor, bits: int, fraction: int, rounding: str = "half to even", seed: int = 0) -> Tensor:
    """Numbers in the Q-format: whole numbers of some bits with a binary point, ``x ≈ q·2^(−fraction)``.

    q is x·2^fraction rounded, in two's complement, saturated at −2^(bits−1) and 2^(bits−1) − 1. Three ways to round:

    - ``"half to even"``: to the nearest, halves to the even neighbour;
    - ``"half up"``: to the nearest, halves upwards (−2.5 to −2);
    - ``"stochastic"``: up with a probability equal to the part behind the point, down otherwise, so that the mean
      is right (Gupta et al. 2015, arXiv 1502.02551, section 3).

    Parameters
    ----------
    values : Tensor
        x, float32 or float64, any shape, finite.
    bits : int
        Of q with its sign, from 2 to 16.
    fraction : int
        Bits behind the point, from −16 to 30; it may be negative or above ``bits``.
    rounding : str
        One of the three.
    seed : int
        Of what is random in stochastic rounding.

    Returns
    -------
    Tensor
        q, int32, same shape.

    Raises
    ------
    ValueError
        If there is no such rounding.

    Examples
    --------
    >>> fixed_point(torch.tensor([0.625, -0.625, 0.875, 9.0]), bits=4, fraction=2)
    tensor([ 2, -2,  4,  7], dtype=torch.int32)
    >>> fixed_point(torch.tensor([0.625, -0.625]), bits=4, fraction=2, rounding="half up")
    tensor([ 3, -2], dtype=torch.int32)
    """
    scaled = values.detach().double() * 2.0**fraction
    if rounding == "half to even":
        whole = torch.round(scaled)
    elif rounding == "half up":
        whole = torch.floor(scaled + 0.5)
    elif rounding == "stochastic":
        generator = torch.Generator().manual_seed(seed)
        whole = torch.floor(scaled + torch.rand(scaled.shape, generator=generator, dtype=scaled.dtype))
    else:
        raise ValueError(f'rounding={rounding!r}: must be "half to even", "half up" or "stochastic".')
    half = 2 ** (bits - 1)
    return whole.clamp(-half, half - 1).to(torch.int32)


def int8_convolution(inputs: Tensor, input_zero: int, weight: Tensor, bias: Tensor, multiplier: Tensor, shift: Tensor,
                     output_zero: int, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution on whole numbers; the arithmetic is that of ``int8_linear`` at every place.

    Padding means zeros around the *image*, as in ``nn.Conv2d``; the whole number that stands for 0 is Z_x.

    Parameters
    ----------
    inputs : Tensor
        q_x, uint8, shape ``(N, C, H, W)``.
    input_zero : int
        Z_x, 0 to 255.
    weight : Tensor
        q_w, int8, shape ``(P, C, K_h, K_w)``, without groups.
    bias, multiplier, shift : Tensor
        int32, int64 and int64, shape ``(P,)``, as in ``int8_linear``.
    output_zero : int
        Z_y, 0 to 255.
    stride, padding : int
        Of the convolution.

    Returns
    -------
    Tensor
        q_y, uint8, shape ``(N, P, H', W')``.

    Examples
    --------
    >>> image = torch.full((1, 1, 3, 3), 7, dtype=torch.uint8)
    >>> kernel, bias = torch.ones(1, 1, 3, 3, dtype=torch.int8), torch.zeros(1, dtype=torch.int32)
    >>> one, shift = torch.tensor([2]), torch.tensor([1])
    >>> int8_convolution(image, 5, kernel, bias, one, shift, output_zero=0, padding=1)[0, 0].tolist()
    [[8, 12, 8], [12, 18, 12], [8, 12, 8]]
    """
    height, width = weight.shape[2:]
    centred = functional.pad(inputs.to(torch.int32) - input_zero, (padding,) * 4)
    patches = centred.unfold(2, height, stride).unfold(3, width, stride)  # (N, C, H', W', K_h, K_w)
    batch, _, rows, columns = patches.shape[:4]
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(batch * rows * columns, -1)
    total = flat @ weight.to(torch.int32).flatten(1).T + bias
    half = 1 << (shift - 1)
    scaled = (total.to(torch.int64) * multiplier + half) >> shift
    whole = (scaled + output_zero).clamp(0, 255).to(torch.uint8)
    return whole.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2).contiguous()
