"""Only what isn't zero: its positions as gaps, its values in another encoding."""

import numpy as np
import torch
from torch import Tensor

from nutshell.artefact.coders import CODERS, ans, coder_name
from nutshell.artefact.coders.bits import read_length, write_length
from nutshell.artefact.encodings import values as inside
from nutshell.artefact.encodings.base import (
    DTYPES,
    Encoding,
    Form,
    Settings,
    Shape,
    elements_of,
    setting,
)

LARGEST_LIMIT = 1 << 24
_ORDERS = ("rows", "columns")
_LIMITS = tuple(1 << bits for bits in range(1, 13))


class Sparse(Encoding):
    """For each number that isn't zero the gap before it, and the number itself in an encoding of one's choice.

    A gap is how many zeros stand between a number and the one before. Gaps from 0 to ``limit − 1`` can be written, in
    ⌈log₂ limit⌉ bits; a longer one is broken up by a padding zero after each ``limit − 1`` zeros, so that a gap of g
    costs ⌊g / limit⌋ of them (Deep Compression, Han, Mao and Dally 2016, section 2 and figure 2). Zeros at the end
    aren't written at all. Positions are lossless, and so is everything if ``values`` is.

    Parameters
    ----------
    values : Encoding, optional
        ``Dense``, ``Codebook``, ``Affine`` or ``FixedPoint``, for numbers and padding zeros; ``Dense()`` if left out.
    limit : int, optional
        How many different gaps there are, from 1 to 2^24. Left out: the power of two from 2 to 4096 with the fewest
        bytes, and none for ``coder="ans"``.
    coder : {"fixed", "huffman", "ans"}
        How gaps are written: packed, in Huffman's code, or by asymmetric numeral systems in classes of similar length.
    order : {"rows", "columns"}
        Whether gaps run through the matrix ``(m, …)`` row by row, along the inputs of a unit, or column by column,
        along the units that take an input: shorter where some inputs matter to nobody.

    Examples
    --------
    >>> weight = torch.zeros(300, 784)
    >>> weight[7, 100:110] = 0.5
    >>> settings, payload = Sparse(limit=256).encode(weight)
    >>> settings, (7 * 784 + 100) // 256  # padding zeros before the first number
    ({'limit': 256}, 21)
    >>> len(payload)  # 31 gaps of 8 bits, 31 numbers of 32; two more bytes say how many these are
    157
    >>> torch.equal(Sparse.decode(memoryview(payload), (300, 784), "float32", settings)[""], weight)
    True
    """

    name = "sparse"

    def __init__(self, values: Encoding | None = None, *, limit: int | None = None, coder: str = "fixed",
                 order: str = "rows") -> None:  # fmt: skip
        values = inside.allowed(values, "Sparse")
        if limit is not None and not 1 <= limit <= LARGEST_LIMIT:
            raise ValueError(f"Sparse: limit={limit}; choose from 1 to {LARGEST_LIMIT:,}.")
        if order not in _ORDERS:
            raise ValueError(f"Sparse: order={order!r}; choose one of {', '.join(_ORDERS)}.")
        self.values, self.limit, self.coder, self.order = values, limit, coder_name(coder), order

    @property
    def lossless(self) -> bool:
        return self.values.lossless

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        matrix = tensor.detach().cpu().reshape(tensor.shape[0], -1)
        numbers = (matrix.T if self.order == "columns" else matrix).reshape(-1)
        if self.limit is not None or self.coder == "ans":
            return self._encode(numbers, self.limit)
        return min((self._encode(numbers, limit) for limit in _LIMITS), key=lambda each: len(each[1]))

    def _encode(self, numbers: Tensor, limit: int | None) -> tuple[Settings, bytes]:
        gaps, positions = gaps_of(numbers.nonzero().flatten().numpy(), limit)
        inner, payload = self.values.encode(numbers[torch.from_numpy(positions)])
        coded = ans.encode_classes(gaps) if self.coder == "ans" else CODERS[self.coder].encode(gaps, limit or 1)
        settings: Settings = {} if limit is None else {"limit": limit}
        if self.coder != "fixed":
            settings["coder"] = self.coder
        if self.order != "rows":
            settings["order"] = self.order
        settings |= inside.written(self.values, inner)
        return settings, write_length(len(gaps)) + write_length(len(coded)) + coded + payload

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "limit", "coder", "order", "values")
        coder, limit = coder_name(settings.get("coder", "fixed")), settings.get("limit")
        if (limit is not None or coder != "ans") and (type(limit) is not int or not 1 <= limit <= LARGEST_LIMIT):
            raise ValueError(f"limit {limit!r}: must be from 1 to {LARGEST_LIMIT:,}")
        if settings.get("order", "rows") not in _ORDERS:
            raise ValueError(f"order {settings['order']!r}; possible are {', '.join(_ORDERS)}")
        inside.read(settings)
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        elements, limit, kind, inner = elements_of(shape), settings.get("limit"), *inside.read(settings)
        count, rest = read_length(payload, "stored numbers", elements)
        size, rest = read_length(rest, "bytes of gaps", len(payload))
        coder = settings.get("coder", "fixed")
        try:
            gaps = (ans.decode_classes(rest[:size], count) if coder == "ans"
                    else CODERS[coder].decode(rest[:size], count, limit or 1))
        except ValueError as error:
            raise ValueError(f"gaps: {error}") from None
        if limit is not None and gaps.max(initial=0) >= limit:
            raise ValueError(f"gaps: one of {gaps.max():,} zeros, but the limit is {limit:,}")
        positions = np.cumsum(gaps + 1) - 1
        if count and positions[-1] >= elements:
            raise ValueError(f"gaps: they end at number {positions[-1]:,} of {elements:,}, counted from 0")
        try:
            form = kind.check((count,), dtype, inner, len(rest) - size)
            values = kind.decode(rest[size:], form.shape, dtype, inner)[""]
        except ValueError as error:
            raise ValueError(f"values: {error}") from None
        numbers = torch.zeros(elements, dtype=DTYPES[dtype])
        numbers[torch.from_numpy(positions)] = values
        if settings.get("order") == "columns":
            numbers = numbers.reshape(-1, shape[0]).T.contiguous()
        return {"": numbers.reshape(shape)}


def gaps_of(positions: np.ndarray, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Gaps before numbers at these ascending positions, and the positions with those of padding zeros among them.

    Examples
    --------
    >>> gaps, positions = gaps_of(np.array([1, 4, 15]), 8)  # figure 2 of Han et al.
    >>> gaps.tolist(), positions.tolist()
    ([1, 2, 7, 2], [1, 4, 12, 15])
    """
    gaps = np.diff(positions, prepend=-1) - 1
    if limit is None:
        return gaps, positions
    padding = gaps // limit
    starts = np.repeat(positions - gaps - 1, padding)  # where the zeros begin, less one
    number = np.arange(len(starts)) - np.repeat(np.cumsum(padding) - padding, padding)
    everything = np.sort(np.concatenate([positions, starts + limit * (number + 1)]))
    return np.diff(everything, prepend=-1) - 1, everything
