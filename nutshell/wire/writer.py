"""Plain values as JSON nodes and raw bytes."""

import math
from typing import Any

import numpy as np
import torch

from nutshell.wire.plain import (
    ARRAY_DTYPES,
    DICTS,
    SMALL,
    TENSOR_NAMES,
    TUPLES,
    Limits,
    NotPlain,
    Pack,
    Tagged,
    TooLarge,
)


class Writer:
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
            return value if -SMALL < value < SMALL else {"int": self._hexadecimal(value)}
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
            if value[self.limits.nodes :]:
                raise TooLarge(f"A range has more than {self.limits.nodes:,} numbers.")
            return {"range": [self.node(part, depth + 1) for part in (value.start, value.stop, value.step)]}
        if kind is torch.dtype and value in TENSOR_NAMES:
            return {"dtype": TENSOR_NAMES[value]}
        if kind is torch.Tensor or kind is torch.nn.Parameter:
            return self._tensor(value)
        if kind is np.ndarray:
            return {"array": self._array(value)}
        if issubclass(kind, np.generic) and kind.__module__ == "numpy":
            return {"scalar": self._array(np.asarray(value))}
        if issubclass(kind, np.dtype) and value.newbyteorder("<").str in ARRAY_DTYPES:
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
        if value.dtype.newbyteorder("<").str not in ARRAY_DTYPES:
            raise NotPlain(f"An array of dtype {value.dtype} is not plain data; use numbers or booleans.")
        value = value.astype(value.dtype.newbyteorder("<"), copy=False)
        self._room(value.nbytes)
        self._block(value.tobytes())
        return [value.dtype.str, list(value.shape)]

    def _tensor(self, value: torch.Tensor) -> dict:
        if value.layout is not torch.strided or value.dtype not in TENSOR_NAMES:
            raise NotPlain(
                f"A tensor of layout {value.layout} and dtype {value.dtype} is not plain data; "
                "use a dense tensor of numbers or booleans."
            )
        description = [TENSOR_NAMES[value.dtype], list(value.shape)]
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


def _a(kind: type) -> str:
    name = getattr(kind, "__qualname__", "object")
    return f"{'An' if name[:1].lower() in 'aeiou' else 'A'} {name}"
