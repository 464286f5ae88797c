"""Messages as bytes: a length, a JSON header and raw arrays. Plain data only, matched by exact type, inside bounds.

What is plain: ``None``, ``bool``, ``int``, ``float``, ``complex``, ``str``, ``bytes``, ``list``, ``tuple``, ``dict``,
``slice``, ``range``, dtypes, NumPy arrays and scalars, and dense torch tensors, of booleans, integers, floats and
complex numbers. A subclass of any of these is never plain, whatever it says of itself. Everything else is left to
``pack`` and ``unpack`` functions that the two ends bring: they turn a value into a :class:`Tagged` plain value and back.

>>> decode(encode({"rate": 0.5, "factors": (np.eye(2), None)}))
{'rate': 0.5, 'factors': (array([[1., 0.],
       [0., 1.]]), None)}
"""

import json
import math
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from nutshell.errors import NutshellError

_LENGTHS = struct.Struct("<QI")  # bytes that follow the first number; bytes of the header
_ARRAY_DTYPES = {np.dtype(name).str: np.dtype(name)
                 for name in ("?", "<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16")}
_TENSOR_DTYPES = {name: getattr(torch, name)
                  for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
                               "bfloat16", "float32", "float64", "complex64", "complex128")}
_TENSOR_NAMES = {dtype: name for name, dtype in _TENSOR_DTYPES.items()}
_RETURN_TYPES = {item for item in vars(torch.return_types).values() if isinstance(item, type) and issubclass(item, tuple)}
_RETURN_TYPES |= {type(np.linalg.svd(np.eye(1))), type(np.linalg.qr(np.eye(1))), type(np.linalg.eigh(np.eye(1))),
                  type(np.linalg.eig(np.eye(1))), type(np.linalg.slogdet(np.eye(1)))}
TUPLES = {tuple, torch.Size} | _RETURN_TYPES
DICTS = {dict, OrderedDict, defaultdict, Counter}
_PLAIN = {bool, int, float, complex, str, bytes, bytearray, list, slice, range, np.ndarray, torch.Tensor, torch.nn.Parameter,
          torch.dtype}
_SMALL = 1 << 60  # integers below this are plain JSON numbers; also keeps dictionary keys from colliding by design
_LARGEST_SIDE = 1 << 40


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
    writer = _Writer(pack, limits)
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
        root = json.loads(message[_LENGTHS.size:start].decode("ascii"), parse_constant=_no_constant)
    except RecursionError:
        raise TooLarge(f"The message is nested deeper than {limits.depth} levels.") from None
    except ValueError as error:
        raise Malformed(f"The message's header is not JSON: {error}") from None
    reader = _Reader(memoryview(message)[start:], unpack, limits)
    value = reader.value(root, 0)
    if reader.offset != len(reader.raw):
        raise Malformed(f"{len(reader.raw) - reader.offset:,} bytes of the message belong to nothing.")
    return value


def is_plain(value: Any) -> bool:
    """Whether a value's type is one that is written without being packed; what is inside it is not looked at."""
    kind = type(value)
    return (value is None or kind in _PLAIN or kind in TUPLES or kind in DICTS or kind is Tagged
            or issubclass(kind, np.dtype) or (issubclass(kind, np.generic) and kind.__module__ == "numpy"))


def length(prefix: bytes) -> int:
    """Bytes that follow the first 8 of a message, for reading one from a stream."""
    return struct.unpack("<Q", prefix)[0]


class _Writer:
    """Turns values into JSON nodes and collects the raw bytes of arrays, in the order the reader meets them."""

    def __init__(self, pack: Pack | None, limits: Limits) -> None:
        self.pack, self.limits = pack, limits
        self.blocks: list[bytes] = []
        self.size = self.nodes = 0

    def node(self, value: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise TooLarge(f"The message has more than {self.limits.nodes:,} values.")
        if depth > self.limits.depth:
            raise TooLarge(f"The message is nested deeper than {self.limits.depth} levels, or contains itself.")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else {"int": self._hexadecimal(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.node(item, depth + 1) for item in value]
        if kind in TUPLES:
            return {"tuple": [self.node(item, depth + 1) for item in tuple(value)]}
        if kind in DICTS:
            return self._dictionary(value, depth)
        if kind is Tagged:
            raise NotPlain("A tagged value can't be sent as data.")
        return self._packed(value, kind, depth)

    def _packed(self, value: Any, kind: type, depth: int) -> Any:
        tagged = self.pack(value) if self.pack else None
        if tagged is not None:
            return {"@" + tagged.tag: self.node(tagged.payload, depth + 1)}
        if kind is bytes or kind is bytearray:
            return {"bytes": self._block(bytes(value))}
        if kind is complex:
            return {"complex": [self.node(value.real, depth + 1), self.node(value.imag, depth + 1)]}
        if kind is slice:
            return {"slice": [self.node(part, depth + 1) for part in (value.start, value.stop, value.step)]}
        if kind is range:
            return {"range": [self.node(part, depth + 1) for part in (value.start, value.stop, value.step)]}
        if kind is torch.dtype and value in _TENSOR_NAMES:
            return {"dtype": _TENSOR_NAMES[value]}
        if kind is torch.Tensor or kind is torch.nn.Parameter:
            return self._tensor(value)
        if kind is np.ndarray:
            return {"array": self._array(value)}
        if issubclass(kind, np.generic) and kind.__module__ == "numpy":
            return {"scalar": self._array(np.asarray(value))}
        if issubclass(kind, np.dtype) and value.newbyteorder("<").str in _ARRAY_DTYPES:
            return {"array dtype": value.newbyteorder("<").str}
        raise NotPlain(f"{_a(kind)} is not plain data.")

    def _dictionary(self, value: dict, depth: int) -> Any:
        if all(type(key) is str for key in value):
            return {"dict": {key: self.node(item, depth + 1) for key, item in value.items()}}
        if len(value) > self.limits.keys:
            raise TooLarge(f"A dictionary has {len(value):,} entries; at most {self.limits.keys:,} are allowed.")
        return {"map": [[self._key(key, depth + 1), self.node(item, depth + 1)] for key, item in value.items()]}

    def _key(self, key: Any, depth: int) -> Any:
        if type(key) is tuple:
            return {"tuple": [self._key(part, depth + 1) for part in key]}
        if isinstance(key, np.generic):
            key = key.item()
        if type(key) not in (type(None), bool, int, float, str):
            raise NotPlain(f"{_a(type(key))} can't be the key of a dictionary that is sent; use strings or numbers.")
        return self.node(key, depth)

    def _hexadecimal(self, value: int) -> str:
        if value.bit_length() > 8 * self.limits.header:
            raise TooLarge(f"An integer of {value.bit_length():,} bits can't be sent.")
        return hex(value)

    def _array(self, value: np.ndarray) -> list:
        if value.dtype.newbyteorder("<").str not in _ARRAY_DTYPES:
            raise NotPlain(f"An array of dtype {value.dtype} is not plain data; use numbers or booleans.")
        value = value.astype(value.dtype.newbyteorder("<"), copy=False)
        self._room(value.nbytes)
        self._block(value.tobytes())
        return [value.dtype.str, list(value.shape)]

    def _tensor(self, value: torch.Tensor) -> dict:
        if value.layout is not torch.strided or value.dtype not in _TENSOR_NAMES:
            raise NotPlain(f"A tensor of layout {value.layout} and dtype {value.dtype} is not plain data; "
                           "use a dense tensor of numbers or booleans.")
        description = [_TENSOR_NAMES[value.dtype], list(value.shape)]
        if value.is_meta:
            return {"meta": description}
        self._room(value.numel() * value.element_size())
        value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if value.dtype is torch.bfloat16:
            value = value.view(torch.int16)
        self._block(value.numpy().tobytes())
        return {"tensor": description}

    def _room(self, size: int) -> None:
        if self.size + size > self.limits.size:
            raise TooLarge(f"The message has more than {self.limits.size:,} bytes of arrays.")

    def _block(self, data: bytes) -> int:
        self._room(len(data))
        self.blocks.append(data)
        self.size += len(data)
        return len(data)


class _Reader:
    """Turns JSON nodes back into values; trusts nothing."""

    def __init__(self, raw: memoryview, unpack: Unpack | None, limits: Limits) -> None:
        self.raw, self.unpack, self.limits = raw, unpack, limits
        self.offset = self.nodes = 0

    def value(self, node: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise TooLarge(f"The message has more than {self.limits.nodes:,} values.")
        if depth > self.limits.depth:
            raise TooLarge(f"The message is nested deeper than {self.limits.depth} levels.")
        if node is None or isinstance(node, bool | str):
            return node
        if isinstance(node, int):
            return _within(node)
        if isinstance(node, float):
            if not math.isfinite(node):
                raise Malformed("A number is too large for a float.")
            return node
        if isinstance(node, list):
            return [self.value(item, depth + 1) for item in node]
        if len(node) != 1:
            raise Malformed("A node has not exactly one tag.")
        (tag, payload), = node.items()
        if tag.startswith("@"):
            if self.unpack is None:
                raise Malformed(f"Nothing is known of {tag[:40]!r}.")
            return self.unpack(tag[1:], self.value(payload, depth + 1))
        reader = _READERS.get(tag)
        if reader is None:
            raise Malformed(f"Nothing is known of {tag[:40]!r}.")
        return reader(self, payload, depth)

    def _items(self, payload: Any, count: int | None = None) -> list:
        if not isinstance(payload, list) or (count is not None and len(payload) != count):
            raise Malformed("A node has a payload of the wrong kind.")
        return payload

    def _tuple(self, payload: Any, depth: int) -> tuple:
        return tuple(self.value(item, depth + 1) for item in self._items(payload))

    def _dict(self, payload: Any, depth: int) -> dict:
        if not isinstance(payload, dict):
            raise Malformed("A dictionary is none.")
        return {key: self.value(item, depth + 1) for key, item in payload.items()}

    def _map(self, payload: Any, depth: int) -> dict:
        if len(self._items(payload)) > self.limits.keys:
            raise TooLarge(f"A dictionary has {len(payload):,} entries; at most {self.limits.keys:,} are allowed.")
        found = {}
        for pair in payload:
            key, item = self._items(pair, 2)
            found[_key(self.value(key, depth + 1))] = self.value(item, depth + 1)
        return found

    def _float(self, payload: Any, depth: int) -> float:
        if payload not in ("nan", "inf", "-inf"):
            raise Malformed("A float is none.")
        return float(payload)

    def _int(self, payload: Any, depth: int) -> int:
        try:
            return int(payload, 16)  # hexadecimal is read in linear time, however long
        except (TypeError, ValueError):
            raise Malformed("A long integer is none.") from None

    def _complex(self, payload: Any, depth: int) -> complex:
        real, imaginary = (self.value(part, depth + 1) for part in self._items(payload, 2))
        if type(real) is not float or type(imaginary) is not float:
            raise Malformed("A complex number is none.")
        return complex(real, imaginary)

    def _slice(self, payload: Any, depth: int) -> slice:
        parts = [self.value(part, depth + 1) for part in self._items(payload, 3)]
        if any(type(part) not in (int, type(None)) for part in parts):
            raise Malformed("A slice is none.")
        return slice(*parts)

    def _range(self, payload: Any, depth: int) -> range:
        parts = [self.value(part, depth + 1) for part in self._items(payload, 3)]
        if any(type(part) is not int for part in parts) or parts[2] == 0:
            raise Malformed("A range is none.")
        return range(*parts)

    def _dtype(self, payload: Any, depth: int) -> torch.dtype:
        return _TENSOR_DTYPES[_choice(payload, _TENSOR_DTYPES)]

    def _array_dtype(self, payload: Any, depth: int) -> np.dtype:
        return _ARRAY_DTYPES[_choice(payload, _ARRAY_DTYPES)]

    def _bytes(self, payload: Any, depth: int) -> bytes:
        return bytes(self._take(payload))

    def _array(self, payload: Any, depth: int) -> np.ndarray:
        name, sides = self._items(payload, 2)
        return self._numbers(_ARRAY_DTYPES[_choice(name, _ARRAY_DTYPES)], self._shape(sides))

    def _scalar(self, payload: Any, depth: int) -> np.generic:
        array = self._array(payload, depth)
        if array.ndim:
            raise Malformed("A scalar has a shape.")
        return array[()]

    def _tensor(self, payload: Any, depth: int) -> torch.Tensor:
        name, sides = self._items(payload, 2)
        dtype = _TENSOR_DTYPES[_choice(name, _TENSOR_DTYPES)]
        carrier = np.dtype("<i2") if dtype is torch.bfloat16 else np.dtype(name).newbyteorder("<")
        tensor = torch.from_numpy(self._numbers(carrier, self._shape(sides)))
        return tensor.view(torch.bfloat16) if dtype is torch.bfloat16 else tensor

    def _meta(self, payload: Any, depth: int) -> torch.Tensor:
        name, sides = self._items(payload, 2)
        return torch.empty(self._shape(sides), dtype=_TENSOR_DTYPES[_choice(name, _TENSOR_DTYPES)], device="meta")

    def _shape(self, sides: Any) -> tuple[int, ...]:
        self._items(sides)
        if len(sides) > 32 or any(type(side) is not int or not 0 <= side < _LARGEST_SIDE for side in sides):
            raise Malformed("A shape is none.")
        product = math.prod(side or 1 for side in sides)  # zeros don't excuse the other sides
        if product >= 1 << 48:
            raise Malformed("A shape is larger than any array.")
        return tuple(sides)

    def _numbers(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        data = self._take(math.prod(shape) * dtype.itemsize)
        if dtype.kind == "b":  # a byte other than 0 and 1 would be a boolean that is neither
            return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
        return np.frombuffer(data, dtype).reshape(shape).copy()

    def _take(self, size: Any) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self.raw) - self.offset:
            raise Malformed("An array is longer than the message.")
        self.offset += size
        return self.raw[self.offset - size:self.offset]


_READERS: dict[str, Callable[[_Reader, Any, int], Any]] = {
    "tuple": _Reader._tuple, "dict": _Reader._dict, "map": _Reader._map, "float": _Reader._float, "int": _Reader._int,
    "complex": _Reader._complex, "slice": _Reader._slice, "range": _Reader._range, "dtype": _Reader._dtype,
    "array dtype": _Reader._array_dtype, "bytes": _Reader._bytes, "array": _Reader._array, "scalar": _Reader._scalar,
    "tensor": _Reader._tensor, "meta": _Reader._meta,
}


def _within(number: int) -> int:
    if not -_SMALL < number < _SMALL:
        raise Malformed("A long integer is not written as one.")
    return number


def _choice(name: Any, choices: dict) -> str:
    if type(name) is not str or name not in choices:
        raise Malformed("A dtype is none of those that cross.")
    return name


def _key(key: Any) -> Any:
    if type(key) is tuple:
        return tuple(_key(part) for part in key)
    if type(key) not in (type(None), bool, int, float, str) or (type(key) is int and not -_SMALL < key < _SMALL):
        raise Malformed("The key of a dictionary is none.")
    return key


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _a(kind: type) -> str:
    name = getattr(kind, "__qualname__", "object")
    return f"{'An' if name[:1].lower() in 'aeiou' else 'A'} {name}"
