"""The product of two matrices of signs, in three versions: plain, NumPy's, and compiled by Numba.

A row a of n signs times another, b, is the number of places where they agree minus those where they differ:
⟨a, b⟩ = n − 2·popcount(a xor b), with the bits that fill the last word equal in both (Courbariaux and Hubara 2016,
arXiv 1602.02830; Rastegari et al. 2016, arXiv 1603.05279, section 3.2). All versions are exact.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from nutshell.binary.packing import Packed
from nutshell.errors import WrongUse

_BLOCK = 1 << 15  # pairs of rows that NumPy takes at a time: 3 · 256 KB of differences, in the second cache
_BUFFER = 2048  # numbers; if it is much longer than the inner axis, NumPy 2.4 copies a broadcast operand, which is slow
_CACHE = 1 << 15  # words of rows that Numba's version takes at a time: 256 KB
_WORTH = 1 << 21  # products of words below which sharing them out takes longer than it saves
_BYTE = 3  # words whose ones surely fit a byte: 3 · 64 = 192


def product(left: Packed, right: Packed, kernel: str = "numpy", threads: int = 1) -> np.ndarray:
    """Multiply rows of signs: the matrix of all ⟨left[i], right[j]⟩.

    Parameters
    ----------
    left, right : Packed
        Rows of equally many signs. What is used again and again, such as weights, is best on the right.
    kernel : {"plain", "numpy", "numba"}
        Which version; Numba's is compiled when it is first used, some seconds, and kept on disk for the next process.
    threads : int
        Threads of Numba's version.

    Returns
    -------
    ndarray
        int32, shape ``(len(left), len(right))``, exactly the product of the matrices of ±1.

    Raises
    ------
    WrongUse
        If the rows aren't equally long, or there is no such kernel.

    Examples
    --------
    >>> from nutshell.binary import pack
    >>> rows, weights = pack(np.ones((2, 70))), pack(-np.ones((1, 70)))
    >>> product(rows, weights, "plain").tolist()
    [[-70], [-70]]
    """
    if left.numbers != right.numbers or left.words.shape[1] != right.words.shape[1]:
        raise WrongUse(f"Rows of {left.numbers} and of {right.numbers} signs: they must be equally long, packed alike.")
    if kernel not in KERNELS:
        raise WrongUse(f"kernel={kernel!r}: choose one of {', '.join(KERNELS)}.")
    return with_numba(left, right, threads) if kernel == "numba" else KERNELS[kernel](left, right)


def plain(left: Packed, right: Packed) -> np.ndarray:
    """The definition, number by number, with Python's own whole numbers: a row is one long number."""
    rows, columns = ([int.from_bytes(row.tobytes(), "little") for row in side.words] for side in (left, right))
    result = [[left.numbers - 2 * (a ^ b).bit_count() for b in columns] for a in rows]
    return np.array(result, dtype=np.int32).reshape(len(left), len(right))


def with_numpy(left: Packed, right: Packed) -> np.ndarray:
    """Three words at a time, for many pairs of rows at once, in buffers that stay in the second cache.

    The longer side lies along the inner axis. Ones of three words are added up in bytes, since narrow numbers are
    quick to add. ``bitwise_count`` needs uint64; of a signed number it would count the ones of its absolute value.
    """
    if len(left) > len(right):
        return np.ascontiguousarray(with_numpy(right, left).T)
    (outer, width), inner = left.words.shape, len(right)
    rows, columns = left.columns, right.columns
    wide = np.uint16 if left.numbers < 1 << 16 else np.uint32
    if outer * inner * width <= _BLOCK:  # what is small is done in one step
        counts = np.bitwise_count(rows[:, :, None] ^ columns[:, None])
        found = np.multiply(np.add.reduce(counts, axis=0, dtype=wide), -2, dtype=np.int32)
        found += left.numbers
        return found
    result = np.empty((outer, inner), dtype=np.int32)
    parts = -(-outer * inner // _BLOCK)  # of equal size
    block = -(-outer // parts)
    differences = np.empty((_BYTE, block, inner), dtype=np.uint64)
    counts = np.empty_like(differences, dtype=np.uint8)
    few = np.empty((block, inner), dtype=np.uint8)
    ones = np.empty((block, inner), dtype=wide)
    with np.errstate():  # gives the size of NumPy's buffer back
        np.setbufsize(max(16, min(_BUFFER, 2 * inner // 16 * 16)))  # a multiple of 16
        for start in range(0, outer, block):
            size = min(block, outer - start)
            ones[:] = 0
            for word in range(0, width, _BYTE):
                now = slice(min(_BYTE, width - word)), slice(size)
                np.bitwise_xor(rows[word : word + _BYTE, start : start + size, None],
                               columns[word : word + _BYTE, None], out=differences[now])  # fmt: skip
                np.bitwise_count(differences[now], out=counts[now])
                np.add.reduce(counts[now], axis=0, dtype=np.uint8, out=few[:size])
                np.add(ones[:size], few[:size], out=ones[:size])
            found = result[start : start + size]
            np.multiply(ones[:size], -2, out=found, dtype=np.int32)
            found += left.numbers
    return result


def with_numba(left: Packed, right: Packed, threads: int = 1) -> np.ndarray:
    """Four rows by sixteen columns at a time, in registers; see :mod:`nutshell.binary.compiled`.

    Numba lets go of Python's lock, so that plain threads share the rows.
    """
    multiply = _compiled()
    words, panels = np.ascontiguousarray(left.words), right.panels
    rows, columns = len(words), len(right)
    across, width, lanes = panels.shape
    result = np.empty((rows, across * lanes), dtype=np.int32)
    if rows * columns * width < _WORTH:  # in one go: with a few rows Python takes longer than the kernel
        multiply(words, panels, left.numbers, result)
        return result[:, :columns]
    step = max(4, min(_CACHE // width, -(-rows // threads)))

    def part(first: int) -> None:
        multiply(words[first : first + step], panels, left.numbers, result[first : first + step])

    starts = range(0, rows, step)
    others = [_pool(threads).submit(part, start) for start in starts if threads > 1 and start % (threads * step)]
    for start in starts if threads == 1 else starts[::threads]:  # this thread has its share too
        part(start)
    for job in others:
        job.result()
    return result[:, :columns]


@cache
def _compiled() -> Callable[..., None]:
    from nutshell.binary.compiled import multiply  # only here: the import takes most of a second

    return multiply


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads


KERNELS: dict[str, Callable[[Packed, Packed], np.ndarray]] = {
    "plain": plain, "numpy": with_numpy, "numba": with_numba,
}  # fmt: skip
