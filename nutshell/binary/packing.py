"""Signs as bits, 64 to a word."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

WORD = 64  # bits
LANES = 8  # words in the widest registers, 64 bytes; also a cache line


@dataclass(frozen=True)
class Packed:
    """Rows of signs, one bit each.

    Attributes
    ----------
    words : ndarray
        uint64, shape ``(rows, ⌈numbers / 64⌉)`` or wider: 1 for +1, 0 for −1 and for what fills the row.
    numbers : int
        Signs in a row; the rest of its bits are 0.
    """

    words: np.ndarray
    numbers: int

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def columns(self) -> np.ndarray:
        """The words turned round, uint64, shape ``(words, rows)``: made once and kept, as :attr:`panels` are."""
        return np.ascontiguousarray(self.words.T)

    @cached_property
    def panels(self) -> np.ndarray:
        """The words in panels of eight rows, a panel's first words side by side, then its second ones, and so on.

        uint64, shape ``(panels, words, 8)``, at least two panels, filled with rows of 0, aligned to 64 bytes: what
        registers of eight words take. Made once and kept, as a layer keeps its weights.
        """
        rows, width = self.words.shape
        panels = aligned(max(2, -(-rows // LANES)), width, LANES)
        filled = np.zeros((len(panels) * LANES, width), dtype=np.uint64)
        filled[:rows] = self.words
        panels[:] = filled.reshape(len(panels), LANES, width).transpose(0, 2, 1)
        return panels


def pack(signs: np.ndarray, kernel: str = "numpy") -> Packed:
    """Keep one bit of every number: 1 where it is at least 0, 0 where it is below.

    Parameters
    ----------
    signs : ndarray
        Shape ``(rows, numbers)``, any real dtype; ±1, or numbers whose signs are meant, with sign(0) = +1.
    kernel : {"numpy", "plain", "numba"}
        Numba's version takes float32, and is used for nothing else.

    Returns
    -------
    Packed
        4 bytes of float32 become an eighth of a byte: 32 times less.

    Examples
    --------
    >>> pack(np.array([[1, -1, 1, 1]])).words.tolist()
    [[13]]
    """
    return pad(sign_bytes(signs, kernel), signs.shape[1])


def sign_bytes(values: np.ndarray, kernel: str = "numpy") -> np.ndarray:
    """The signs of rows of numbers, eight to a byte: uint8, shape ``(rows, ⌈numbers / 8⌉)``, the rest filled with 0."""
    if kernel != "numba" or values.dtype != np.float32:
        return np.packbits(values >= 0, axis=1, bitorder="little")
    from nutshell.binary import compiled  # only here: the import takes most of a second

    rows, numbers = values.shape
    bits = np.empty((rows, -(-numbers // 8)), dtype=np.uint8)
    compiled.pack(np.ascontiguousarray(values).ravel(), numbers, bits)
    return bits


def pad(bits: np.ndarray, numbers: int) -> Packed:
    """Rows of bytes, filled with zeros to whole words.

    Parameters
    ----------
    bits : ndarray
        uint8, shape ``(rows, bytes)``; the first sign is a byte's lowest bit.
    numbers : int
        Signs that they stand for, at most eight a byte.
    """
    rows, size = bits.shape
    filled = np.zeros((rows, 8 * -(-size // 8)), dtype=np.uint8)
    filled[:, :size] = bits
    return Packed(filled.view("<u8"), numbers)


def aligned(*shape: int) -> np.ndarray:
    """Memory for uint64 that begins at a multiple of 64 bytes; not initialised."""
    size = 8 * prod(shape)
    memory = np.empty(size + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.uint64).reshape(shape)
