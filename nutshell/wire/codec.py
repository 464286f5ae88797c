"""Messages as bytes: a length, a JSON header and raw arrays. Plain data only, matched by exact type, inside bounds.

What is plain: ``None``, ``bool``, ``int``, ``float``, ``complex``, ``str``, ``bytes``, ``list``, ``tuple``, ``dict``,
``slice``, ``range``, dtypes, NumPy arrays and scalars, and dense torch tensors, of booleans, integers, floats and
complex numbers. A subclass of any of these is never plain, whatever it says of itself. Everything else is left to
``pack`` and ``unpack`` functions of the two ends: they turn a value into a :class:`Tagged` plain value and back.

>>> import numpy as np
>>> decode(encode({"rate": 0.5, "factors": (np.eye(2), None)}))
{'rate': 0.5, 'factors': (array([[1., 0.],
       [0., 1.]]), None)}
"""

import json
import struct
from typing import Any

from nutshell.wire.plain import (
    DEFAULT_LIMITS,
    DICTS,
    TUPLES,
    Limits,
    Malformed,
    NotPlain,
    Pack,
    Tagged,
    TooLarge,
    Unpack,
    WireError,
    is_plain,
)
from nutshell.wire.reader import Reader
from nutshell.wire.writer import Writer

__all__ = [
    "DEFAULT_LIMITS",
    "DICTS",
    "TUPLES",
    "Limits",
    "Malformed",
    "NotPlain",
    "Pack",
    "Tagged",
    "TooLarge",
    "Unpack",
    "WireError",
    "decode",
    "encode",
    "is_plain",
    "length",
]

_LENGTHS = struct.Struct("<QI")  # bytes that follow the first number; bytes of the header


def encode(value: Any, *, pack: Pack | None = None, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Write a value as bytes.

    Parameters
    ----------
    value
        Plain data, and whatever ``pack`` understands.
    pack : callable, optional
        Called with each value that is no scalar or built-in container; returns ``Tagged`` or None.
    limits : Limits
        Bounds.

    Raises
    ------
    TooLarge
        Over a bound, or containing itself.
    NotPlain
        For a value that can't be written.
    """
    writer = Writer(pack, limits)
    header = json.dumps(writer.node(value, 0), separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(header) > limits.header:
        raise TooLarge(f"The message's header has {len(header):,} bytes; at most {limits.header:,} are allowed.")
    body = _LENGTHS.size - 8 + len(header) + writer.size
    if body > limits.size:
        raise TooLarge(f"The message has {body:,} bytes; at most {limits.size:,} are allowed.")
    return b"".join([_LENGTHS.pack(body, len(header)), header, *writer.blocks])


def decode(message: bytes, *, unpack: Unpack | None = None, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Read what :func:`encode` wrote; any other bytes give :class:`Malformed` or :class:`TooLarge`, nothing else.

    Parameters
    ----------
    message : bytes
        One whole message.
    unpack : callable, optional
        Called with the tag and the payload of what ``pack`` wrote; may raise ``Malformed``.
    limits : Limits
        Bounds.
    """
    if len(message) > limits.size + 8:
        raise TooLarge(f"The message has {len(message):,} bytes; at most {limits.size:,} are allowed.")
    if len(message) < _LENGTHS.size:
        raise Malformed(f"A message of {len(message)} bytes is too short to be one.")
    body, header_size = _LENGTHS.unpack_from(message)
    if body != len(message) - 8:
        raise Malformed(f"The message says {body:,} bytes and has {len(message) - 8:,}.")
    if header_size > limits.header:
        raise TooLarge(f"The message's header has {header_size:,} bytes; at most {limits.header:,} are allowed.")
    start = _LENGTHS.size + header_size
    if start > len(message):
        raise Malformed("The message ends inside its header.")
    try:
        root = json.loads(message[_LENGTHS.size : start].decode("ascii"), parse_constant=_no_constant)
    except RecursionError:
        raise TooLarge(f"The message is nested deeper than {limits.depth} levels.") from None
    except ValueError as error:
        raise Malformed(f"The message's header is not JSON: {error}") from None
    reader = Reader(memoryview(message)[start:], unpack, limits)
    value = reader.value(root, 0)
    if reader.offset != len(reader.raw):
        raise Malformed(f"{len(reader.raw) - reader.offset:,} bytes of the message belong to nothing.")
    return value


def length(prefix: bytes) -> int:
    """Bytes that follow the first 8 of a message, for reading one from a stream."""
    return struct.unpack("<Q", prefix)[0]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
