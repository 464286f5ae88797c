"""JSON nodes and raw bytes as plain values; nothing that is read is trusted."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nutshell.wire.plain import ARRAY_DTYPES, SMALL, TENSOR_DTYPES, Limits, Malformed, TooLarge, Unpack

_LARGEST_SIDE = 1 << 40


class Reader:
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
        ((tag, payload),) = node.items()
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
        found = range(*parts)
        if found[self.limits.nodes :]:  # it takes no room, and whoever adds it up would be busy for ever
            raise TooLarge(f"A range has more than {self.limits.nodes:,} numbers.")
        return found

    def _dtype(self, payload: Any, depth: int) -> torch.dtype:
        return TENSOR_DTYPES[_choice(payload, TENSOR_DTYPES)]

    def _array_dtype(self, payload: Any, depth: int) -> np.dtype:
        return ARRAY_DTYPES[_choice(payload, ARRAY_DTYPES)]

    def _bytes(self, payload: Any, depth: int) -> bytes:
        return bytes(self._take(payload))

    def _array(self, payload: Any, depth: int) -> np.ndarray:
        name, sides = self._items(payload, 2)
        return self._numbers(ARRAY_DTYPES[_choice(name, ARRAY_DTYPES)], self._shape(sides))

    def _scalar(self, payload: Any, depth: int) -> np.generic:
        array = self._array(payload, depth)
        if array.ndim:
            raise Malformed("A scalar has a shape.")
        return array.reshape(1)[0]

    def _tensor(self, payload: Any, depth: int) -> torch.Tensor:
        name, sides = self._items(payload, 2)
        dtype = TENSOR_DTYPES[_choice(name, TENSOR_DTYPES)]
        carrier = np.dtype("<i2") if dtype is torch.bfloat16 else np.dtype(name).newbyteorder("<")
        tensor = torch.from_numpy(self._numbers(carrier, self._shape(sides)))
        return tensor.view(torch.bfloat16) if dtype is torch.bfloat16 else tensor

    def _meta(self, payload: Any, depth: int) -> torch.Tensor:
        name, sides = self._items(payload, 2)
        return torch.empty(self._shape(sides), dtype=TENSOR_DTYPES[_choice(name, TENSOR_DTYPES)], device="meta")

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
        return self.raw[self.offset - size : self.offset]


_READERS: dict[str, Callable[[Reader, Any, int], Any]] = {
    "tuple": Reader._tuple,
    "dict": Reader._dict,
    "map": Reader._map,
    "float": Reader._float,
    "int": Reader._int,
    "complex": Reader._complex,
    "slice": Reader._slice,
    "range": Reader._range,
    "dtype": Reader._dtype,
    "array dtype": Reader._array_dtype,
    "bytes": Reader._bytes,
    "array": Reader._array,
    "scalar": Reader._scalar,
    "tensor": Reader._tensor,
    "meta": Reader._meta,
}


def _within(number: int) -> int:
    if not -SMALL < number < SMALL:
        raise Malformed("A long integer is not written as one.")
    return number


def _choice(name: Any, choices: dict) -> str:
    if type(name) is not str or name not in choices:
        raise Malformed("A dtype is none of those that cross.")
    return name


def _key(key: Any) -> Any:
    if type(key) is tuple:
        return tuple(_key(part) for part in key)
    if type(key) not in (type(None), bool, int, float, str) or (type(key) is int and not -SMALL < key < SMALL):
        raise Malformed("The key of a dictionary is none.")
    return key
