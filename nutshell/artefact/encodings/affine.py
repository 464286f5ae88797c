"""Whole numbers of 2 to 8 bits with a scale and a zero point."""

import numpy as np
import torch
from torch import Tensor

from nutshell.artefact.coders import CODERS, coder_name
from nutshell.artefact.coders.fixed import size as packed_size
from nutshell.artefact.encodings.base import (
    DTYPES,
    Encoding,
    Form,
    Settings,
    Shape,
    axis_of,
    elements_of,
    per_channel,
    setting,
    whole,
)

BITS = range(2, 9)
_SMALLEST = float(np.finfo(np.float32).tiny)


class Affine(Encoding):
    """x ≈ S·(q − Z) with whole q from 0 to 2^b − 1, a scale S and a zero point Z of the same b bits.

    Jacob et al. 2018 (1712.05877), section 2.1. Zero is representable: Z is a whole number. q = ⌊x/S⌉ + Z, halves to
    even, saturated; so a number that is on the grid comes back as it is. Scales are float32 in the file. Unless they
    are given, they are the smallest ones that keep every number in range.

    Parameters
    ----------
    bits : int
        b, from 2 to 8.
    axis : int, optional
        0 for a scale and a zero point for each output channel; left out, there is one of each.
    symmetric : bool
        Z = 2^(b−1) and not in the file, and q − Z from −(2^(b−1) − 1) on, as integer kernels like it for weights.
    scale : Tensor or float, optional
        S, positive: one, or one for each channel.
    zero_point : Tensor or int, optional
        Z, together with ``scale`` and not with ``symmetric``.
    coder : {"fixed", "huffman", "ans"}
        How q is written: in b bits, or entropy-coded.

    Examples
    --------
    >>> weight = torch.tensor([[-0.5, 0.0, 0.7], [0.1, 0.25, 1.0]])
    >>> settings, payload = Affine(4).encode(weight)
    >>> settings, len(payload)  # 4 bytes for S, half a byte for Z, 6 numbers of half a byte
    ({'bits': 4}, 8)
    >>> Affine.decode(memoryview(payload), (2, 3), "float32", settings)[""]
    tensor([[-0.5000,  0.0000,  0.7000],
            [ 0.1000,  0.2000,  1.0000]])
    """

    name = "affine"

    def __init__(self, bits: int = 8, *, axis: int | None = None, symmetric: bool = False,
                 scale: Tensor | float | None = None, zero_point: Tensor | int | None = None,
                 coder: str = "fixed") -> None:  # fmt: skip
        if bits not in BITS:
            raise ValueError(f"Affine: bits={bits}; choose from {BITS[0]} to {BITS[-1]}.")
        if axis not in (None, 0):
            raise ValueError(f"Affine: axis={axis}; choose 0 (output channels) or None (one scale).")
        if zero_point is not None and (symmetric or scale is None):
            raise ValueError("Affine: zero_point goes with scale and without symmetric.")
        self.bits, self.axis, self.symmetric, self.coder = bits, axis, symmetric, coder_name(coder)
        self.scale, self.zero_point = scale, zero_point

    @property
    def lossless(self) -> bool:
        return False

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        channels = tensor.shape[0] if self.axis == 0 else 1
        values = tensor.detach().cpu().double().contiguous().numpy().reshape(channels, -1)
        if not np.isfinite(values).all():
            raise ValueError("has values that are infinite or not a number (NaN)")
        scale, zero = self._grid(values, channels)
        low = 1 if self.symmetric else 0
        whole_numbers = np.rint(values / scale[:, None].astype(np.float64)) + zero[:, None]
        q = np.clip(whole_numbers, low, (1 << self.bits) - 1).astype(np.int64).ravel()
        settings: Settings = {"bits": self.bits}
        settings |= {"axis": 0} if self.axis == 0 else {}
        settings |= {"symmetric": True} if self.symmetric else {}
        settings |= {"coder": self.coder} if self.coder != "fixed" else {}
        grid = scale.astype("<f4").tobytes()
        if self.symmetric:
            return settings, grid + CODERS[self.coder].encode(q, 1 << self.bits)
        if self.coder == "fixed":
            return settings, grid + CODERS["fixed"].encode(np.concatenate([zero, q]), 1 << self.bits)
        return settings, grid + zero.astype(np.uint8).tobytes() + CODERS[self.coder].encode(q, 1 << self.bits)

    def _grid(self, values: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
        most, middle = (1 << self.bits) - 1, 1 << (self.bits - 1)
        if self.scale is not None:
            scale = per_channel(self.scale, channels, "scale").astype(np.float32)
            if not (np.isfinite(scale).all() and scale.min() > 0):
                raise ValueError("scales must be positive and finite in float32")
            zero = np.rint(per_channel(middle if self.zero_point is None else self.zero_point, channels, "zero point"))
            if zero.min() < 0 or zero.max() > most:
                raise ValueError(f"zero points must be from 0 to {most}")
            return scale, zero.astype(np.int64)
        least, largest = values.min(1, initial=0.0), values.max(1, initial=0.0)
        if self.symmetric:
            span, steps = np.maximum(-least, largest), middle - 1
        else:
            span, steps = largest - least, most
        scale = np.where(span > 0, np.maximum(span / steps, _SMALLEST), 1.0).astype(np.float32)
        zero = np.full(channels, middle) if self.symmetric else np.rint(-least / scale).clip(0, most)
        return scale, zero.astype(np.int64)

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "bits", "axis", "symmetric", "coder")
        bits = whole(settings, "bits", BITS[0], BITS[-1])
        channels, coder = axis_of(settings, shape), coder_name(settings.get("coder", "fixed"))
        if type(settings.get("symmetric", False)) is not bool:
            raise ValueError(f"symmetric {settings['symmetric']!r}: must be true or false")
        zeros = 0 if settings.get("symmetric") else channels
        if coder == "fixed" and size != 4 * channels + packed_size(zeros + elements_of(shape), 1 << bits):
            raise ValueError(f"{size:,} bytes, but {elements_of(shape):,} numbers of {bits} bits with scales and zero "
                             f"points take {4 * channels + packed_size(zeros + elements_of(shape), 1 << bits):,}")
        if coder != "fixed" and size < 4 * channels + zeros:
            raise ValueError(f"{size:,} bytes, but scales and zero points alone take {4 * channels + zeros:,}")
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        bits, channels, coder = settings["bits"], axis_of(settings, shape), settings.get("coder", "fixed")
        scale = np.frombuffer(payload[: 4 * channels], "<f4").astype(np.float64)
        rest, count = payload[4 * channels :], elements_of(shape)
        if not (np.isfinite(scale).all() and scale.min(initial=1) > 0):
            raise ValueError("a scale isn't positive and finite")
        zero = np.full(channels, 1 << (bits - 1))
        if settings.get("symmetric"):
            q = CODERS[coder].decode(rest, count, 1 << bits)
        elif coder == "fixed":
            both = CODERS["fixed"].decode(rest, channels + count, 1 << bits)
            zero, q = both[:channels], both[channels:]
        else:
            zero = np.frombuffer(rest[:channels], np.uint8).astype(np.int64)
            q = CODERS[coder].decode(rest[channels:], count, 1 << bits)
        if zero.max(initial=0) >= 1 << bits:
            raise ValueError(f"a zero point of {zero.max()} in {bits} bits")
        values = (q.reshape(channels, -1) - zero[:, None]) * scale[:, None]
        return {"": torch.from_numpy(values).to(DTYPES[dtype]).reshape(shape)}
