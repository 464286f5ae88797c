"""What is plain data, and the bounds and errors of messages."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from nutshell.errors import NutshellError

ARRAY_DTYPES = {
    np.dtype(name).str: np.dtype(name)
    for name in ("?", "<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16")
}
TENSOR_DTYPES = {
    name: getattr(torch, name)
    for name in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    )
}
TENSOR_NAMES = {dtype: name for name, dtype in TENSOR_DTYPES.items()}
_RETURN_TYPES = {
    item for item in vars(torch.return_types).values() if isinstance(item, type) and issubclass(item, tuple)
}
_RETURN_TYPES |= {
    type(np.linalg.svd(np.eye(1))),
    type(np.linalg.qr(np.eye(1))),
    type(np.linalg.eigh(np.eye(1))),
    type(np.linalg.eig(np.eye(1))),
    type(np.linalg.slogdet(np.eye(1))),
}
TUPLES = {tuple, torch.Size} | _RETURN_TYPES
DICTS = {dict, OrderedDict, defaultdict, Counter}
_PLAIN = {
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    slice,
    range,
    np.ndarray,
    torch.Tensor,
    torch.nn.Parameter,
    torch.dtype,
}
SMALL = 1 << 60  # integers below this are plain JSON numbers; also keeps dictionary keys from colliding by design


@dataclass(frozen=True)
class Limits:
    """Bounds of one message, kept by whoever writes it and tested again by whoever reads it.

    Attributes
    ----------
    size : int
        Bytes of the whole message.
    header : int
        Bytes of its JSON header.
    nodes : int
        Values in it, containers included.
    depth : int
        Containers inside containers.
    keys : int
        Entries of one dictionary whose keys aren't strings.
    """

    size: int = 64 << 20
    header: int = 8 << 20
    nodes: int = 500_000
    depth: int = 50
    keys: int = 20_000


DEFAULT_LIMITS = Limits()


class WireError(NutshellError):
    """A message that can't be written or read."""


class TooLarge(WireError):
    """A message over one of its :class:`Limits`."""


class Malformed(WireError):
    """Bytes that are no message."""


class NotPlain(WireError):
    """A value that is not plain data and that nobody packs."""


class Tagged(NamedTuple):
    """What ``pack`` makes of a value: a tag and a value that is plain, or can be packed in turn."""

    tag: str
    payload: Any


Pack = Callable[[Any], Tagged | None]
Unpack = Callable[[str, Any], Any]


def is_plain(value: Any) -> bool:
    """Whether a value's type is one that is written without being packed; what is inside it is not looked at."""
    kind = type(value)
    return (
        value is None
        or kind in _PLAIN
        or kind in TUPLES
        or kind in DICTS
        or kind is Tagged
        or issubclass(kind, np.dtype)
        or (issubclass(kind, np.generic) and kind.__module__ == "numpy")
    )
