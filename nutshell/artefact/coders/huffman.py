"""Huffman's code (1952): whole bits for each symbol, the shortest possible mean; only lengths are in the file.

The code is canonical (Schwartz and Kallick 1964): symbols in the order of their lengths and then of their numbers get
consecutive code words, so that the lengths alone give the code. The table has as many bits for each symbol as the
longest length needs; 0 stands for a symbol that doesn't occur, ℓ + 1 for a code word of ℓ bits. A single symbol has
a code word of 0 bits: there is nothing to tell apart.
"""

import heapq

import numpy as np

from nutshell.artefact.coders.bits import bytes_for, pack, read_length, unpack, write_length

Numbers = np.ndarray
LONGEST = 16  # bits of a code word, so that the next one can be looked up
_ABSENT = -1
_AT_A_TIME = 1 << 16  # bytes


def code_lengths(counts: Numbers) -> Numbers:
    """Bits of each symbol's code word: Σ count · length is as small as a prefix code can make it.

    Lengths stop at 16 bits, as those of Deflate do at 15: where the tree would be deeper, rare symbols are counted as
    more frequent than they are.

    Parameters
    ----------
    counts : ndarray of int
        How often each symbol occurs, at least one of them.

    Returns
    -------
    ndarray of int64
        −1 for symbols that don't occur. Σ 2^−length = 1 (Kraft's sum).

    Examples
    --------
    >>> code_lengths(np.array([5, 0, 2, 1, 1])).tolist()
    [1, -1, 2, 3, 3]
    """
    present = np.flatnonzero(counts)
    weights = [int(counts[symbol]) for symbol in present]
    lengths = _depths(weights)
    least = 1
    while max(lengths) > LONGEST:
        least *= 2
        lengths = _depths([max(weight, least) for weight in weights])
    found = np.full(len(counts), _ABSENT, np.int64)
    found[present] = lengths
    return found


def _depths(weights: list[int]) -> list[int]:
    """Depth of each leaf in Huffman's tree: the two lightest trees become one until there is one."""
    heap = [(weight, leaf) for leaf, weight in enumerate(weights)]
    heapq.heapify(heap)
    parents: dict[int, int] = {}
    while len(heap) > 1:
        (first, a), (second, b) = heapq.heappop(heap), heapq.heappop(heap)
        node = len(weights) + len(parents) // 2
        parents[a] = parents[b] = node
        heapq.heappush(heap, (first + second, node))
    depths = {heap[0][1]: 0}
    for node in sorted(parents, reverse=True):  # a parent is made after its children
        depths[node] = depths[parents[node]] + 1
    return [depths[leaf] for leaf in range(len(weights))]


def code_words(lengths: Numbers) -> Numbers:
    """The canonical code words of symbols with these lengths, as numbers; 0 where a symbol doesn't occur.

    Examples
    --------
    >>> [format(word, f"0{length}b") for word, length in zip(code_words(np.array([2, 1, 3, 3])), [2, 1, 3, 3])]
    ['10', '0', '110', '111']
    """
    words = np.zeros(len(lengths), np.int64)
    present = np.flatnonzero(lengths >= 0)
    order = present[np.argsort(lengths[present], kind="stable")]
    spans = np.int64(1) << (LONGEST - lengths[order])  # of all numbers of 16 bits, those that begin with the word
    words[order] = (np.cumsum(spans) - spans) >> (LONGEST - lengths[order])
    return words


def encode(symbols: Numbers, alphabet: int) -> bytes:
    """Write a table of lengths and the code words.

    Parameters
    ----------
    symbols : ndarray of int
        Shape ``(n,)``, from 0 to ``alphabet − 1``.
    alphabet : int
        How many symbols there can be.

    Examples
    --------
    >>> len(encode(np.zeros(1000, int), 16)), len(encode(np.arange(1000) % 2, 16))
    (3, 128)
    """
    if not len(symbols):
        return b""
    lengths = code_lengths(np.bincount(symbols))
    width = int(lengths.max() + 1).bit_length()
    table = write_length(len(lengths)) + bytes([width]) + pack(lengths + 1, width)
    return table + pack(code_words(lengths)[symbols], lengths[symbols])


def decode(payload: memoryview | bytes, count: int, alphabet: int) -> Numbers:
    """The inverse of :func:`encode`.

    Raises
    ------
    ValueError
        If the lengths aren't those of a complete prefix code, or the code words don't fill the payload.
    """
    if not count:
        if len(payload):
            raise ValueError(f"{len(payload):,} bytes for no symbols")
        return np.zeros(0, np.int64)
    listed, rest = read_length(payload, "symbols in the code table", alphabet)
    if not len(rest) or not 1 <= rest[0] <= (LONGEST + 1).bit_length():
        raise ValueError("the code table's width is missing or not from 1 to 5 bits")
    size = bytes_for(listed * rest[0])
    lengths = unpack(rest[1 : 1 + size], rest[0], listed) - 1
    _check(lengths)
    return _decode(rest[1 + size :], count, lengths)


def _check(lengths: Numbers) -> None:
    if lengths.max(initial=_ABSENT) > LONGEST:
        raise ValueError(f"a code word of {lengths.max()} bits, more than the {LONGEST} allowed")
    filled = int((1 << (LONGEST - lengths[lengths >= 0])).sum())
    if filled != 1 << LONGEST:
        raise ValueError(f"the code table's Kraft sum is {filled / (1 << LONGEST):.6g} instead of 1")


def _decode(payload: memoryview | bytes, count: int, lengths: Numbers) -> Numbers:
    longest = int(lengths.max())
    if not bytes_for(count * int(lengths[lengths >= 0].min())) <= len(payload) <= bytes_for(count * longest):
        raise ValueError(f"{len(payload):,} bytes can't be {count:,} code words of at most {longest} bits")
    if not longest:
        return np.full(count, int(lengths.argmax()), np.int64)
    order = np.argsort(np.where(lengths < 0, LONGEST + 1, lengths), kind="stable")[: int((lengths >= 0).sum())]
    symbol_of = np.repeat(order, 1 << (longest - lengths[order]))  # for every number of as many bits as the longest
    length_of = lengths[symbol_of].astype(np.uint8)
    data = np.concatenate([np.frombuffer(payload, np.uint8), np.zeros(3, np.uint8)]).astype(np.uint32)
    symbols = np.empty(count, np.int64)
    done, bit = 0, 0
    while done < count:
        block = data[bit // 8 : bit // 8 + _AT_A_TIME + 2]
        windows = _windows(block, longest)
        starts = _chain(length_of[windows].tobytes(), bit % 8, count - done)
        symbols[done : done + len(starts)] = symbol_of[windows[starts]]
        done += len(starts)
        bit = bit // 8 * 8 + starts[-1] + int(length_of[windows[starts[-1]]])
        if bit > 8 * len(payload):
            raise ValueError("the last code word is cut off")
    if bytes_for(bit) != len(payload) or (bit % 8 and payload[-1] & (255 >> bit % 8)):
        raise ValueError("something follows the last code word")
    return symbols


def _windows(block: Numbers, longest: int) -> Numbers:
    """At every bit the number that the next ``longest`` bits make."""
    words = block[:-2] << 16 | block[1:-1] << 8 | block[2:]
    shifts = (24 - longest - np.arange(8)).astype(np.uint32)
    return (words[:, None] >> shifts & (1 << longest) - 1).ravel()


def _chain(steps: bytes, bit: int, most: int) -> list[int]:
    """Where code words start, if the one at bit b ends at b + steps[b]."""
    starts = []
    end = len(steps)
    while bit < end and most:
        starts.append(bit)
        bit += steps[bit]
        most -= 1
    return starts
