"""The product of packed signs as Numba compiles it. Importing this module compiles, or loads what was compiled before.

Numba has no function that counts ones, LLVM has: ``ctpop``, which becomes VPOPCNTQ where the processor has it
(AVX-512 VPOPCNTDQ: eight words at once), and table look-ups in AVX2 elsewhere.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_TYPES = "void(uint64[:, ::1], uint64[:, ::1], int64, int32[:, ::1])"


@intrinsic
def count_ones(typing_context: Any, word: Any) -> Any:
    """The ones among the bits of a word."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), emit


@intrinsic
def widest_vectors(typing_context: Any) -> Any:
    """Says to LLVM that the calling function may use registers of 512 bits; of itself it prefers 256."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite lets only attributes through that it knows; this one is a pair of strings in LLVM's language.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), emit


def _multiply(rows: np.ndarray, columns: np.ndarray, numbers: int, result: np.ndarray) -> None:
    """Write the product of packed rows and columns into ``result``.

    For a row, four of its words at a time meet the same words of all columns, so that the inner loop runs over
    neighbours in memory and each sum is fetched and stored once in four.

    Parameters
    ----------
    rows : ndarray
        uint64, shape ``(m, w)``.
    columns : ndarray
        uint64, shape ``(w, p')``, from :attr:`nutshell.binary.Packed.columns`.
    numbers : int
        Signs in a row.
    result : ndarray
        int32, shape ``(m, p)``, p at most p'.
    """
    widest_vectors()  # type: ignore[call-arg]
    width, count = columns.shape
    ones = np.empty(count, dtype=np.uint64)
    for i in range(rows.shape[0]):
        row = rows[i]
        ones[:] = 0
        for t in range(0, width - 3, 4):
            a, b, c, d = row[t], row[t + 1], row[t + 2], row[t + 3]
            for j in range(count):
                ones[j] += (count_ones(a ^ columns[t, j]) + count_ones(b ^ columns[t + 1, j])
                            + count_ones(c ^ columns[t + 2, j]) + count_ones(d ^ columns[t + 3, j]))  # fmt: skip
        for t in range(width - width % 4, width):
            a = row[t]
            for j in range(count):
                ones[j] += count_ones(a ^ columns[t, j])
        for j in range(result.shape[1]):
            result[i, j] = numbers - 2 * np.int64(ones[j])


def _compile() -> Any:
    try:
        return njit(_TYPES, nogil=True, cache=True)(_multiply)
    except RuntimeError:  # nowhere to keep what is compiled, as in a read-only container
        return njit(_TYPES, nogil=True)(_multiply)


multiply = _compile()
