"""Whole numbers of 2 to 16 bits with a binary point."""

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

BITS = range(2, 17)
FRACTIONS = range(-127, 127)


class FixedPoint(Encoding):
    """x ≈ q·2^−f with whole q of b bits in two's complement, from −2^(b−1) to 2^(b−1) − 1: the Q-format.

    f bits stand behind the binary point; it may be negative or more than b. q = ⌊x·2^f⌉, halves to even, saturated.

    Parameters
    ----------
    bits : int
        b, from 2 to 16.
    fraction : int or Tensor, optional
        f, one or one for each channel, from −127 to 126. Left out: the largest for which no number saturates.
    axis : int, optional
        0 for a binary point for each output channel; left out, there is one.
    coder : {"fixed", "huffman", "ans"}
        How q is written: in b bits, or entropy-coded (``"ans"`` up to 12 bits).

    Examples
    --------
    >>> settings, payload = FixedPoint(8).encode(torch.tensor([0.5, -0.75, 0.1]))
    >>> settings, len(payload)  # a byte for f, one for each number
    ({'bits': 8}, 4)
    >>> FixedPoint.decode(memoryview(payload), (3,), "float32", settings)[""]  # f = 7: 13/128
    tensor([ 0.5000, -0.7500,  0.1016])
    """

    name = "fixed_point"

    def __init__(self, bits: int = 8, *, fraction: Tensor | int | None = None, axis: int | None = None,
                 coder: str = "fixed") -> None:  # fmt: skip
        if bits not in BITS:
            raise ValueError(f"FixedPoint: bits={bits}; choose from {BITS[0]} to {BITS[-1]}.")
        if axis not in (None, 0):
            raise ValueError(f"FixedPoint: axis={axis}; choose 0 (output channels) or None (one binary point).")
        self.bits, self.fraction, self.axis, self.coder = bits, fraction, axis, coder_name(coder)

    @property
    def lossless(self) -> bool:
        return False

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        channels = tensor.shape[0] if self.axis == 0 else 1
        values = tensor.detach().cpu().double().contiguous().numpy().reshape(channels, -1)
        if not np.isfinite(values).all():
            raise ValueError("has values that are infinite or not a number (NaN)")
        fraction, half = self._fraction(values, channels), 1 << (self.bits - 1)
        q = np.clip(np.rint(np.ldexp(values, fraction[:, None])), -half, half - 1).astype(np.int64)
        settings: Settings = {"bits": self.bits}
        settings |= {"axis": 0} if self.axis == 0 else {}
        settings |= {"coder": self.coder} if self.coder != "fixed" else {}
        coded = CODERS[self.coder].encode((q + half).ravel(), 1 << self.bits)
        return settings, fraction.astype(np.int8).tobytes() + coded

    def _fraction(self, values: np.ndarray, channels: int) -> np.ndarray:
        if self.fraction is not None:
            given = per_channel(self.fraction, channels, "fraction")
            if given.min() < FRACTIONS[0] or given.max() > FRACTIONS[-1] or (given != np.rint(given)).any():
                raise ValueError(f"fractions must be whole numbers from {FRACTIONS[0]} to {FRACTIONS[-1]}")
            return given.astype(np.int64)
        half = 1 << (self.bits - 1)
        least, largest = values.min(1, initial=0.0), values.max(1, initial=0.0)
        size = np.maximum(largest, -least)
        fraction = np.where(size > 0, self.bits - np.frexp(size)[1], 0)
        for _ in range(2):  # the first guess is at most two too large
            fraction -= ((np.rint(np.ldexp(largest, fraction)) > half - 1)
                         | (np.rint(np.ldexp(least, fraction)) < -half))
        return fraction.clip(FRACTIONS[0], FRACTIONS[-1])

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "bits", "axis", "coder")
        bits = whole(settings, "bits", BITS[0], BITS[-1])
        channels, coder = axis_of(settings, shape), coder_name(settings.get("coder", "fixed"))
        expected = channels + packed_size(elements_of(shape), 1 << bits)
        if coder == "fixed" and size != expected:
            raise ValueError(f"{size:,} bytes, but {elements_of(shape):,} numbers of {bits} bits with their binary "
                             f"points take {expected:,}")
        if size < channels:
            raise ValueError(f"{size:,} bytes, but binary points alone take {channels:,}")
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        bits, channels = settings["bits"], axis_of(settings, shape)
        fraction = np.frombuffer(payload[:channels], np.int8).astype(np.int64)
        coded = CODERS[settings.get("coder", "fixed")].decode(payload[channels:], elements_of(shape), 1 << bits)
        if not set(fraction.tolist()) <= set(FRACTIONS):
            raise ValueError(f"a fraction outside of {FRACTIONS[0]} to {FRACTIONS[-1]}")
        values = np.ldexp((coded - (1 << (bits - 1))).reshape(channels, -1).astype(np.float64), -fraction[:, None])
        return {"": torch.from_numpy(values).to(DTYPES[dtype]).reshape(shape)}
