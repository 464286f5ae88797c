"""Kernels as the frequencies of their filters, which share values within bands."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nutshell.artefact.encodings import values as inside
from nutshell.artefact.encodings.base import DTYPES, Encoding, Form, Settings, Shape, elements_of, setting
from nutshell.artefact.encodings.hashing import checked_seed, drawn, means

LARGEST_KERNEL = 16
_AT_A_TIME = 1 << 18  # numbers that are transformed together, which bounds the memory


class FrequencyHashed(Encoding):
    """The discrete cosine transform of each filter, hashed: low and high frequencies into buckets of their own.

    FreshNets (Chen et al. 2016, 1506.04449, section 4). A kernel ``(m, c, h, w)`` holds m·c filters; with the
    orthonormal DCT-II, F = D_h·V·D_wᵀ, coefficient (u, v) belongs to band u + v, from 0, the mean, to h + w − 2. A band
    with K_j buckets stores K_j values, and a band with none is zero. Smooth filters need few for high frequencies.
    Coefficient p, counted through the whole kernel as numbers are, lies in bucket h(p) of its band and has the sign
    ξ(p) of :mod:`nutshell.artefact.encodings.hashing`. Of other kernels the nearest of this form is stored. Cosines and
    sums are worked out in float64, in the order of the frequencies, and rounded to the network's dtype once.

    Parameters
    ----------
    buckets : sequence of int
        K_0, K_1, …: one for each of the h + w − 1 bands, low to high, at most as many as the band has coefficients.
    seed : int
        From 0 to 2³¹ − 1; choose another one for each tensor.
    values : Encoding, optional
        For all values together: ``Dense``, ``Codebook``, ``Affine`` or ``FixedPoint``; ``Dense()`` if left out.

    Examples
    --------
    >>> kernel = torch.ones(4, 2, 3, 3)
    >>> settings, payload = FrequencyHashed([3, 2, 0, 0, 0]).encode(kernel)
    >>> settings, len(payload)
    ({'buckets': [3, 2, 0, 0, 0]}, 20)
    """

    name = "frequency_hashed"

    def __init__(self, buckets: Sequence[int], seed: int = 0, *, values: Encoding | None = None) -> None:
        self.buckets, self.seed = [int(each) for each in buckets], checked_seed(seed)
        self.values = inside.allowed(values, "FrequencyHashed")

    @property
    def lossless(self) -> bool:
        return False

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        shape = tuple(tensor.shape)
        starts = _starts(self.buckets, shape)
        numbers = _transform(tensor.detach().cpu().double().numpy().copy(), inverse=False).ravel()
        nearest = means(numbers, self.seed, int(starts[-1]), lambda where, draw: _places(where, draw, shape, starts))
        inner, payload = self.values.encode(torch.from_numpy(nearest).to(tensor.dtype))
        settings: Settings = {"buckets": self.buckets} | ({"seed": self.seed} if self.seed else {})
        return settings | inside.written(self.values, inner), payload

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "buckets", "seed", "values")
        starts = _starts(settings.get("buckets"), shape)
        checked_seed(settings.get("seed", 0))
        inside.checked(settings, int(starts[-1]), dtype, size)
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        kind, inner = inside.read(settings)
        starts = _starts(settings["buckets"], shape)
        values = kind.decode(payload, (int(starts[-1]),), dtype, inner)[""].double().numpy()
        numbers = np.zeros(elements_of(shape))
        for where, draw, negative in drawn(len(numbers), settings.get("seed", 0)):
            place, kept = _places(where, draw, shape, starts)
            piece = np.zeros(len(place))
            piece[kept] = values[place[kept]]
            numbers[where] = np.where(negative, -piece, piece)
        kernel = _transform(numbers.reshape(shape), inverse=True)
        return {"": torch.from_numpy(kernel).to(DTYPES[dtype])}


def _starts(buckets: object, shape: Shape) -> np.ndarray:
    """Where each band's values start among all, and at the end how many there are; refuses what doesn't fit."""
    if len(shape) != 4 or max(shape[2:]) > LARGEST_KERNEL:
        raise ValueError(f"shape {list(shape)}: only a kernel (m, c, h, w) has frequency bands, with h "
                         f"and w at most {LARGEST_KERNEL}")
    bands = shape[2] + shape[3] - 1
    if not isinstance(buckets, list) or len(buckets) != bands or any(type(each) is not int for each in buckets):
        raise ValueError(f"buckets must be a list of {bands} whole numbers, one for each band")
    sizes = np.bincount(np.add.outer(np.arange(shape[2]), np.arange(shape[3])).ravel()) * shape[0] * shape[1]
    for band, (count, size) in enumerate(zip(buckets, sizes.tolist(), strict=True)):
        if not 0 <= count <= size:
            raise ValueError(f"{count:,} buckets for band {band}: must be from 0 to {size:,}")
    if not any(buckets):
        raise ValueError("no band has buckets: one must have at least one")
    return np.concatenate([[0], np.cumsum(buckets)])


def _places(where: slice, draw: np.ndarray, shape: Shape, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each coefficient's value, and whether its band has values at all."""
    inside_filter = np.arange(where.start, where.stop) % (shape[2] * shape[3])
    band = inside_filter // shape[3] + inside_filter % shape[3]
    count = np.diff(starts)[band]
    return starts[band] + draw % np.maximum(count, 1), count > 0


def _transform(kernel: np.ndarray, *, inverse: bool) -> np.ndarray:
    """The DCT-II of each filter, or its inverse, in place, a few filters at a time."""
    filters = kernel.reshape(-1, *kernel.shape[2:])
    together = max(1, _AT_A_TIME // (kernel.shape[2] * kernel.shape[3]))
    for start in range(0, len(filters), together):
        filters[start : start + together] = _piece(filters[start : start + together], inverse)
    return filters.reshape(kernel.shape)


def _piece(filters: np.ndarray, inverse: bool) -> np.ndarray:
    for axis in (1, 2):
        matrix = _cosines(filters.shape[axis])
        matrix = matrix.T if inverse else matrix
        moved = np.moveaxis(filters, axis, -1)
        total = np.zeros(moved.shape)
        for index in range(moved.shape[-1]):  # one after the other: a matrix product may add up in any order
            total += moved[..., index, None] * matrix[:, index]
        filters = np.moveaxis(total, -1, axis)
    return filters


def _cosines(size: int) -> np.ndarray:
    """Rows are frequencies: √(2/n)·cos(π(2i + 1)u / 2n), the first one √(1/n)."""
    rows = [[math.sqrt((1 if u == 0 else 2) / size) * math.cos(math.pi * (2 * i + 1) * u / (2 * size))
             for i in range(size)] for u in range(size)]  # fmt: skip
    return np.array(rows)
