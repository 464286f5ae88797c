"""Asymmetric numeral systems (Duda 2013) with static frequencies: fractions of bits, so the mean length is the entropy.

A state x takes in a symbol of frequency f out of M = 2^p, with all smaller symbols together c, by
x ↦ ⌊x/f⌋·M + c + x mod f, which multiplies it by M/f, or −log₂(f/M) bits more. It gives symbols back in reverse:
s is where x mod M lies among the sums c, and x ↦ f·⌊x/M⌋ + x mod M − c. Between 2^16 and 2^32 the state is kept by
moving 16 bits at a time out of it and back in. Several states share one stream of words, so that NumPy decodes them
side by side (the lanes of Giesen 2014, "Interleaved entropy coders", 1402.3392).

The encoder starts each state at 2^16, where the decoder must arrive.
"""

import numpy as np

from nutshell.artefact.coders.bits import bytes_for, pack, read_length, unpack, write_length

Numbers = np.ndarray
LARGEST_ALPHABET = 4096
PRECISIONS = range(3, 15)  # p: bits of a frequency
MANTISSAS = range(5)
_START = 1 << 16
_LANE = 2048  # symbols to a state
_SIDE_BY_SIDE = 24  # lanes from which on NumPy is faster than a loop over symbols


def encode(symbols: Numbers, alphabet: int) -> bytes:
    """Write a table of frequencies, the states and the words.

    Parameters
    ----------
    symbols : ndarray of int
        Shape ``(n,)``, from 0 to ``alphabet − 1``.
    alphabet : int
        How many symbols there can be, at most 4096.

    Examples
    --------
    >>> symbols = np.arange(8000) % 8 // 7
    >>> entropy = 8000 * (1/8 * 3 + 7/8 * np.log2(8/7)) / 8  # bytes
    >>> round(entropy), len(encode(symbols, 2))
    (544, 555)
    """
    if alphabet > LARGEST_ALPHABET:
        raise ValueError(f"an alphabet of {alphabet:,} symbols, more than the {LARGEST_ALPHABET:,} of this coder")
    if not len(symbols):
        return b""
    table, frequencies = _best_table(np.bincount(symbols))
    return table + (_encode(symbols, frequencies) if frequencies.max() < frequencies.sum() else b"")


def decode(payload: memoryview | bytes, count: int, alphabet: int) -> Numbers:
    """The inverse of :func:`encode`.

    Raises
    ------
    ValueError
        If the table makes no sense, or states and words don't end where the encoder began.
    """
    if alphabet > LARGEST_ALPHABET:
        raise ValueError(f"an alphabet of {alphabet:,} symbols, more than the {LARGEST_ALPHABET:,} of this coder")
    if not count:
        if len(payload):
            raise ValueError(f"{len(payload):,} bytes for no symbols")
        return np.zeros(0, np.int64)
    frequencies, rest = _read_table(memoryview(payload), alphabet)
    if len(frequencies) and frequencies[-1] == frequencies.sum():  # one symbol: there is nothing to tell apart
        if len(rest):
            raise ValueError(f"{len(rest):,} bytes follow, though only one symbol occurs")
        return np.full(count, len(frequencies) - 1, np.int64)
    return _decode(rest, count, frequencies)


def encode_classes(numbers: Numbers) -> bytes:
    """Write numbers of any size from 0 to 2^32 − 1: their classes entropy-coded, the remaining bits as they are.

    A class is a range of numbers with the same leading bits, as in Deflate's distances (RFC 1951, 3.2.5): the
    exponent and the first m bits after the leading one; m is chosen for the fewest bytes.

    Examples
    --------
    >>> gaps = np.array([0, 3, 70, 12, 100_000])
    >>> decode_classes(encode_classes(gaps), 5).tolist()
    [0, 3, 70, 12, 100000]
    """
    if not len(numbers):
        return b""
    written = []
    for mantissa in MANTISSAS:
        classes, widths = _classes(numbers, mantissa)
        extra = pack(numbers & (1 << widths) - 1, widths)
        coded = encode(classes, LARGEST_ALPHABET)
        written.append(bytes([mantissa]) + write_length(len(coded)) + coded + extra)
    return min(written, key=len)


def decode_classes(payload: memoryview | bytes, count: int) -> Numbers:
    """The inverse of :func:`encode_classes`."""
    if not count:
        if len(payload):
            raise ValueError(f"{len(payload):,} bytes for no numbers")
        return np.zeros(0, np.int64)
    if not len(payload) or payload[0] not in MANTISSAS:
        raise ValueError(f"the bits after the leading one must be from 0 to {MANTISSAS[-1]}")
    mantissa = payload[0]
    size, rest = read_length(memoryview(payload)[1:], "bytes of classes", len(payload))
    classes = decode(rest[:size], count, (33 - mantissa) << mantissa)
    widths = np.maximum((classes >> mantissa) - 1, 0)
    leading = np.where(classes >> mantissa, (classes & (1 << mantissa) - 1) + (1 << mantissa), classes)
    return (leading << widths) + unpack(rest[size:], widths)


def _classes(numbers: Numbers, mantissa: int) -> tuple[Numbers, Numbers]:
    """Class of each number, and how many bits are left."""
    exponents = np.frexp(numbers.astype(np.float64))[1] - 1  # ⌊log₂⌋, exact for whole numbers
    widths = np.maximum(exponents - mantissa, 0).astype(np.int64)
    return (numbers >> widths) + (widths << mantissa), widths


def _best_table(counts: Numbers) -> tuple[bytes, Numbers]:
    """The table with the fewest bits for itself and the symbols, and its frequencies."""
    present = np.flatnonzero(counts)
    if len(present) == 1:
        return bytes([0]) + write_length(len(counts)), (counts > 0).astype(np.int64)
    tried = []
    for precision in PRECISIONS:
        if 1 << precision >= len(present):
            frequencies = _frequencies(counts, 1 << precision)
            cost = (counts[present] * (precision - np.log2(frequencies[present]))).sum()
            tried.append((precision * len(counts) + cost, precision, frequencies))
    _, precision, frequencies = min(tried, key=lambda each: each[0])
    return bytes([precision]) + write_length(len(counts)) + pack(frequencies[:-1], precision), frequencies


def _read_table(payload: memoryview, alphabet: int) -> tuple[Numbers, memoryview]:
    """Frequencies, whose last one is what is missing to 2^p, and what follows."""
    if not len(payload) or payload[0] not in (0, *PRECISIONS):
        raise ValueError(f"the table's precision must be 0 or from {PRECISIONS[0]} to {PRECISIONS[-1]} bits")
    precision = payload[0]
    listed, rest = read_length(payload[1:], "symbols in the table of frequencies", alphabet)
    if not listed:
        raise ValueError("no symbols in the table of frequencies")
    if not precision:
        return (np.arange(listed) == listed - 1).astype(np.int64), rest
    size = bytes_for(precision * (listed - 1))
    first = unpack(rest[:size], precision, listed - 1)
    last = (1 << precision) - int(first.sum())
    if last < 1 or listed < 2 or last == 1 << precision:
        raise ValueError(f"frequencies of {listed} symbols that don't add up to {1 << precision:,}")
    return np.append(first, last), rest[size:]


def _frequencies(counts: Numbers, total: int) -> Numbers:
    """Whole frequencies near the counts' shares, at least 1 where a symbol occurs, that add up to ``total``."""
    frequencies = np.where(counts, np.maximum(counts * total // counts.sum(), 1), 0)
    present = np.flatnonzero(counts)
    while (missing := total - int(frequencies.sum())) != 0:
        step = 1 if missing > 0 else -1
        now = frequencies[present]
        after = np.maximum(now + step, 1)
        gain = counts[present] * np.log2(after / now)
        if step < 0:
            gain[now == 1] = -np.inf
        chosen = present[np.argsort(-gain, kind="stable")[: min(abs(missing), max(1, len(present) // 8))]]
        frequencies[chosen[frequencies[chosen] + step >= 1]] += step
    return frequencies


def _lanes(count: int) -> int:
    return max(1, count // _LANE)


def _encode(symbols: Numbers, frequencies: Numbers) -> bytes:
    """From the last symbol to the first; symbol i belongs to lane i mod lanes."""
    precision = int(frequencies.sum()).bit_length() - 1
    below = np.cumsum(frequencies) - frequencies
    lanes = _lanes(len(symbols))
    states = np.full(lanes, _START, np.int64)
    words = []
    for start in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        step = symbols[start : start + lanes]
        frequency, x = frequencies[step], states[: len(step)]
        full = x >= frequency << 32 - precision
        words.append(x[full] & 0xFFFF)
        x = np.where(full, x >> 16, x)
        states[: len(step)] = (x // frequency << precision) + x % frequency + below[step]
    return states.astype("<u4").tobytes() + np.concatenate(words[::-1]).astype("<u2").tobytes()


def _decode(payload: memoryview, count: int, frequencies: Numbers) -> Numbers:
    lanes = _lanes(count)
    if len(payload) < 4 * lanes or len(payload) % 2:
        raise ValueError(f"{len(payload):,} bytes of states and words; {lanes} states of 4 bytes and words of 2 needed")
    states = np.frombuffer(payload[: 4 * lanes], "<u4").astype(np.int64)
    words = np.frombuffer(payload[4 * lanes :], "<u2").astype(np.int64)
    if states.min() < _START:
        raise ValueError(f"a state of {states.min():,}, below 2^16")
    run = _side_by_side if lanes >= _SIDE_BY_SIDE else _one_by_one
    try:
        symbols, used, arrived = run(states, words, count, frequencies)
    except IndexError:
        raise ValueError("the words end before the last symbol") from None
    if used != len(words) or not arrived:
        raise ValueError("states and words don't end where the encoder began")
    return symbols


def _side_by_side(states: Numbers, words: Numbers, count: int, frequencies: Numbers) -> tuple[Numbers, int, bool]:
    precision, symbol_at, frequency_at, offset_at = _lookup(frequencies)
    symbols = np.empty(count, np.int64)
    lanes, used = len(states), 0
    for start in range(0, count, lanes):
        x = states[: count - start]
        slots = x & (1 << precision) - 1
        symbols[start : start + lanes] = symbol_at[slots]
        x = frequency_at[slots] * (x >> precision) + offset_at[slots]
        low = np.flatnonzero(x < _START)
        taken = words[used : used + len(low)]
        if len(taken) < len(low):
            raise IndexError
        x[low] = x[low] << 16 | taken
        used += len(low)
        states[: len(x)] = x
    return symbols, used, bool((states == _START).all())


def _one_by_one(states: Numbers, words: Numbers, count: int, frequencies: Numbers) -> tuple[Numbers, int, bool]:
    """The same in plain numbers, several times faster for a few lanes."""
    precision, *tables = _lookup(frequencies)
    symbol_at, frequency_at, offset_at = (table.tolist() for table in tables)
    xs, stream, lanes, mask, used = states.tolist(), words.tolist(), len(states), (1 << precision) - 1, 0
    symbols = []
    for number in range(count):
        lane = number % lanes
        x = xs[lane]
        slot = x & mask
        symbols.append(symbol_at[slot])
        x = frequency_at[slot] * (x >> precision) + offset_at[slot]
        if x < _START:
            x = x << 16 | stream[used]
            used += 1
        xs[lane] = x
    return np.array(symbols, np.int64), used, all(x == _START for x in xs)


def _lookup(frequencies: Numbers) -> tuple[int, Numbers, Numbers, Numbers]:
    """For each slot from 0 to M − 1 its symbol, the symbol's frequency, and the slot's number within the symbol."""
    symbol_at = np.repeat(np.arange(len(frequencies)), frequencies)
    below = np.cumsum(frequencies) - frequencies
    total = len(symbol_at)
    return total.bit_length() - 1, symbol_at, frequencies[symbol_at], np.arange(total) - below[symbol_at]
