"""How whole numbers are written: packed, or entropy-coded with the code's table in the file.

A coder is a module with ``encode(symbols, alphabet) -> bytes`` and ``decode(payload, count, alphabet) -> symbols``;
what it needs besides the number of symbols and the size of the alphabet is in its bytes. ``decode`` sees what a
stranger wrote: it takes memory in proportion to ``count``, which the caller has bounded, and raises ``ValueError``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nutshell.artefact.coders import ans, fixed, huffman


class Coder(NamedTuple):
    """Two inverse functions; see the module."""

    encode: Callable[[np.ndarray, int], bytes]
    decode: Callable[[memoryview, int, int], np.ndarray]


CODERS = {
    "fixed": Coder(fixed.encode, fixed.decode),
    "huffman": Coder(huffman.encode, huffman.decode),
    "ans": Coder(ans.encode, ans.decode),
}


def coder_name(given: Any) -> str:
    """A coder's name; ``ValueError`` if there is none of it.

    Examples
    --------
    >>> coder_name("huffman")
    'huffman'
    """
    if not isinstance(given, str) or given not in CODERS:
        raise ValueError(f"coder {given!r}; possible are {', '.join(CODERS)}")
    return given
