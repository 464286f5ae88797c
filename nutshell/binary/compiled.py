"""The product of packed signs, and packing, as Numba compiles them.

Importing this module compiles, or loads what was compiled before.

Eight words lie side by side in a register of 512 bits. Numba has neither such registers nor a function that counts
ones; LLVM, which it compiles with, has both. Its ``ctpop`` is one instruction where the processor has AVX-512
VPOPCNTDQ, a few table look-ups with AVX2. The functions of :mod:`nutshell.binary.lanes` make them known to Numba.
"""

from typing import Any

import numpy as np
from numba import njit

from nutshell.binary.lanes import add_differences, eight, nothing, signs, spread, write

ROWS, PANELS = 4, 2  # of a tile: its 8 sums, with what they are made of, fit the 32 registers


def _tile(rows: np.ndarray, first: int, panels: np.ndarray, start: int, width: int) -> Any:
    """The differences of four rows from sixteen columns, in eight registers from the first word to the last.

    A word that was fetched is used at once by all that need it: six loads for eight exclusive ors, counts and
    additions. Kept in memory, the sums would be fetched and stored for each.
    """
    a, b, c, d = nothing(), nothing(), nothing(), nothing()
    e, f, g, h = nothing(), nothing(), nothing(), nothing()
    for word in range(width):
        near, far = eight(panels, start + 8 * word), eight(panels, start + 8 * (width + word))
        row = spread(rows, first + word)
        a, e = add_differences(a, row, near), add_differences(e, row, far)
        row = spread(rows, first + width + word)
        b, f = add_differences(b, row, near), add_differences(f, row, far)
        row = spread(rows, first + 2 * width + word)
        c, g = add_differences(c, row, near), add_differences(g, row, far)
        row = spread(rows, first + 3 * width + word)
        d, h = add_differences(d, row, near), add_differences(h, row, far)
    return a, b, c, d, e, f, g, h


def _one_row(rows: np.ndarray, first: int, panels: np.ndarray, start: int, width: int) -> Any:
    """The differences of one row from sixteen columns."""
    a, e = nothing(), nothing()
    for word in range(width):
        row = spread(rows, first + word)
        a = add_differences(a, row, eight(panels, start + 8 * word))
        e = add_differences(e, row, eight(panels, start + 8 * (width + word)))
    return a, e


def _multiply(rows: np.ndarray, panels: np.ndarray, numbers: int, result: np.ndarray) -> None:
    """Write the product of packed rows and packed columns into ``result``.

    Where the number of rows isn't a multiple of four, the last tile begins earlier and makes some rows again; the same
    goes for panels. Fewer than four rows are made one by one.

    Parameters
    ----------
    rows : ndarray
        uint64, shape ``(m, words)``.
    panels : ndarray
        uint64, shape ``(panels, words, 8)``, at least two panels, from :attr:`nutshell.binary.Packed.panels`.
    numbers : int
        Signs in a row.
    result : ndarray
        int32, shape ``(m, 8 · panels)``.
    """
    count, width = rows.shape
    across = panels.shape[0]
    line = 8 * across  # products of a row
    for pair in range(0, across, 2):
        panel = min(pair, across - 2)
        start, place = 8 * panel * width, 8 * panel
        if count < 4:
            for row in range(count):
                a, e = one_row(rows, row * width, panels, start, width)
                write(result, row * line + place, numbers, a)
                write(result, row * line + place + 8, numbers, e)
        else:
            for four in range(0, count, 4):
                row = min(four, count - 4)
                a, b, c, d, e, f, g, h = tile(rows, row * width, panels, start, width)
                at = row * line + place
                write(result, at, numbers, a)
                write(result, at + line, numbers, b)
                write(result, at + 2 * line, numbers, c)
                write(result, at + 3 * line, numbers, d)
                write(result, at + 8, numbers, e)
                write(result, at + line + 8, numbers, f)
                write(result, at + 2 * line + 8, numbers, g)
                write(result, at + 3 * line + 8, numbers, h)


def _pack(values: np.ndarray, numbers: int, bits: np.ndarray) -> None:
    """Write the signs of rows of numbers as bits, eight to a byte; what a row leaves of its last byte is 0.

    Parameters
    ----------
    values : ndarray
        float32, flat, m rows of n numbers.
    numbers : int
        n.
    bits : ndarray
        uint8, shape ``(m, b)`` with b at least ⌈n/8⌉; further bytes are left as they are.
    """
    whole = numbers // 8
    for row in range(bits.shape[0]):
        start = row * numbers
        for byte in range(whole):
            bits[row, byte] = signs(values, start + 8 * byte)
        if numbers % 8:
            last = 0
            for bit in range(numbers % 8):
                if values[start + 8 * whole + bit] >= 0:
                    last |= 1 << bit
            bits[row, whole] = last


def _compile(function: Any, types: str) -> Any:
    try:
        return njit(types, nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep what is compiled, as in a read-only container
        return njit(types, nogil=True)(function)


tile, one_row = njit(_tile), njit(_one_row)
multiply = _compile(_multiply, "void(uint64[:, ::1], uint64[:, :, ::1], int64, int32[:, ::1])")
pack = _compile(_pack, "void(float32[::1], int64, uint8[:, ::1])")
