"""The product of two matrices of signs, in three versions: plain, NumPy's, and compiled by Numba.

A row a of n signs times another, b, is the number of places where they agree minus those where they differ:
⟨a, b⟩ = n − 2·popcount(a xor b), with the bits that fill the last word equal in both (Courbariaux and Hubara 2016,
arXiv 1602.02830; Rastegari et al. 2016, arXiv 1603.05279, section 3.2). All versions are exact.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np

from nutshell.binary.packing import Packed
from nutshell.errors import WrongUse

_BLOCK = 1 << 14  # words of which NumPy makes one difference: 128 KB, small enough for the second cache
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
    if threads == 1 or kernel != "numba" or len(left) < 2 * threads:
        return KERNELS[kernel](left, right)
    _compiled()  # once, and not in every thread
    bounds = [len(left) * part // threads for part in range(threads + 1)]
    result = np.empty((len(left), len(right)), dtype=np.int32)
    right.columns  # noqa: B018 – made here, once
    jobs = [_pool(threads).submit(_numba_into, left.words[a:b], right, result[a:b])
            for a, b in pairwise(bounds)]  # fmt: skip
    for job in jobs:
        job.result()
    return result


def plain(left: Packed, right: Packed) -> np.ndarray:
    """The definition, number by number, with Python's own whole numbers: a row is one long number."""
    rows, columns = ([int.from_bytes(row.tobytes(), "little") for row in side.words] for side in (left, right))
    result = [[left.numbers - 2 * (a ^ b).bit_count() for b in columns] for a in rows]
    return np.array(result, dtype=np.int32).reshape(len(left), len(right))


def with_numpy(left: Packed, right: Packed) -> np.ndarray:
    """A loop over words, each for many pairs of rows at once, in buffers that stay in the cache.

    The longer side lies along the inner axis. Ones are added up in bytes, three words at a time: narrow numbers are
    quick to add. ``bitwise_count`` needs uint64; of a signed number it would count the ones of its absolute value.
    """
    if len(left) > len(right):
        return np.ascontiguousarray(with_numpy(right, left).T)
    inner, width = len(right), right.words.shape[1]
    columns, result = np.ascontiguousarray(right.words.T), np.empty((len(left), inner), dtype=np.int32)
    block = max(1, _BLOCK // max(inner, 1))
    differences = np.empty((block, inner), dtype=np.uint64)
    ones, few = np.empty((2, block, inner), dtype=np.uint8)
    for start in range(0, len(left), block):
        rows = left.words[start : start + block]
        size = len(rows)
        found = result[start : start + size]
        found[:] = 0
        for word in range(width):
            into = ones if word % _BYTE else few
            np.bitwise_xor(rows[:, word, None], columns[word], out=differences[:size])
            np.bitwise_count(differences[:size], out=into[:size])
            if word % _BYTE:
                np.add(few[:size], ones[:size], out=few[:size])
            if word % _BYTE == _BYTE - 1 or word == width - 1:
                np.add(found, few[:size], out=found)
    result *= -2
    result += left.numbers
    return result


def with_numba(left: Packed, right: Packed) -> np.ndarray:
    """Every row's sums in registers as wide as the processor has; see :mod:`nutshell.binary.compiled`."""
    result = np.empty((len(left), len(right)), dtype=np.int32)
    _numba_into(left.words, right, result)
    return result


def _numba_into(rows: np.ndarray, right: Packed, result: np.ndarray) -> None:
    _compiled()(np.ascontiguousarray(rows), right.columns, right.numbers, result)


@cache
def _compiled() -> Callable[[np.ndarray, np.ndarray, int, np.ndarray], None]:
    """Numba's kernel, imported when it is first needed: the import alone takes most of a second."""
    from nutshell.binary.compiled import multiply

    return multiply


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


KERNELS: dict[str, Callable[[Packed, Packed], np.ndarray]] = {
    "plain": plain, "numpy": with_numpy, "numba": with_numba,
}  # fmt: skip
