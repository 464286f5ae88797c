"""The same number of bits for every symbol: ⌈log₂ k⌉ of an alphabet of k."""

import numpy as np

from nutshell.artefact.coders.bits import bytes_for, pack, unpack, width_of

Numbers = np.ndarray


def encode(symbols: Numbers, alphabet: int) -> bytes:
    """Write symbols from 0 to ``alphabet − 1`` in ⌈log₂ alphabet⌉ bits each.

    Examples
    --------
    >>> len(encode(np.arange(16), 16)), len(encode(np.zeros(16, int), 1))
    (8, 0)
    """
    return pack(symbols, width_of(alphabet))


def size(count: int, alphabet: int) -> int:
    """Bytes of so many symbols.

    Examples
    --------
    >>> size(16, 16)
    8
    """
    return bytes_for(count * width_of(alphabet))


def decode(payload: memoryview | bytes, count: int, alphabet: int) -> Numbers:
    """The inverse of :func:`encode`.

    Raises
    ------
    ValueError
        If the payload has another length, or a symbol isn't one of the alphabet.
    """
    symbols = unpack(payload, width_of(alphabet), count)
    if symbols.max(initial=0) >= alphabet:
        raise ValueError(f"symbol {symbols.max()} of an alphabet of {alphabet}, numbered from 0")
    return symbols
