"""Signs as bits, 64 to a word."""

from dataclasses import dataclass
from functools import cached_property

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
        """The words transposed, rows filled with 0 to a multiple of 8 and aligned to 64 bytes, for whole registers.

        uint64, shape ``(words, ⌈rows / 8⌉·8)``; made once and kept, as a layer keeps its weights.
        """
        rows, width = self.words.shape
        columns = aligned(width, LANES * -(-rows // LANES))
        columns[:, :rows] = self.words.T
        columns[:, rows:] = 0
        return columns


def pack(signs: np.ndarray) -> Packed:
    """Keep one bit of every number: 1 where it is at least 0, 0 where it is below.

    Parameters
    ----------
    signs : ndarray
        Shape ``(rows, numbers)``, any real dtype; ±1, or numbers whose signs are meant, with sign(0) = +1.

    Returns
    -------
    Packed
        4 bytes of float32 become an eighth of a byte: 32 times less.

    Examples
    --------
    >>> pack(np.array([[1, -1, 1, 1]])).words.tolist()
    [[13]]
    """
    return pad(np.packbits(signs >= 0, axis=1, bitorder="little"), signs.shape[1])


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


def aligned(rows: int, numbers: int) -> np.ndarray:
    """Memory for uint64 of shape ``(rows, numbers)`` that begins at a multiple of 64 bytes; not initialised."""
    memory = np.empty(8 * rows * numbers + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + 8 * rows * numbers].view(np.uint64).reshape(rows, numbers)
