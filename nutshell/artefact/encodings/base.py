"""What an encoding of a tensor is, and numbers as bytes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]
Settings = dict[str, Any]

FLOATS = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}
INTEGERS = {
    "int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
}  # fmt: skip
DTYPES = FLOATS | INTEGERS
_AS_BYTES = {
    "float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": "<i2",
    "int8": "i1", "uint8": "u1", "int16": "<i2", "int32": "<i4", "int64": "<i8",
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """What a tensor decodes to: the tensor itself, or two factors that are run one after the other.

    Attributes
    ----------
    shape : tuple of int
        Shape of the tensor as the layer means it.
    rank : int, optional
        Of two factors ``(rank, *shape[1:])`` and ``(shape[0], rank, 1, …)``; ``None`` if it decodes to one tensor.

    Examples
    --------
    >>> Form((300, 784), 10).parts
    {'0': (10, 784), '1': (300, 10)}
    """

    shape: Shape
    rank: int | None = None

    @property
    def parts(self) -> dict[str, Shape]:
        """Shapes of the decoded tensors, by the name of the part: ``""``, or ``"0"`` and ``"1"``."""
        if self.rank is None:
            return {"": self.shape}
        return {"0": (self.rank, *self.shape[1:]), "1": (self.shape[0], self.rank, *(1 for _ in self.shape[2:]))}

    @property
    def elements(self) -> int:
        """How many numbers it decodes to."""
        return sum(math.prod(shape) for shape in self.parts.values())


class Encoding(ABC):
    """A way to write a tensor. An instance holds the encoder's choices; the decoder needs only the file.

    A new encoding is one module with one subclass, and one line in ``nutshell/artefact/encodings/__init__.py``.
    ``check`` and ``decode`` see what a stranger wrote: they raise ``ValueError`` with the rule in words, and
    nothing else, and ``check`` refuses every key of ``settings`` that it doesn't know, since settings aren't counted
    as bytes of the tensor. Whatever grows with the tensor belongs in the payload.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def lossless(self) -> bool:
        """Whether every tensor comes back bit for bit."""

    @abstractmethod
    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        """Write a finite tensor: settings (a few small JSON values; keys at their default left out) and payload."""

    @classmethod
    @abstractmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        """Say what will be decoded, from what the header declares, without decoding and without memory."""

    @classmethod
    @abstractmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> Mapping[str, Tensor]:
        """Decode what ``check`` accepted: tensors of ``dtype`` by the names and shapes of ``Form.parts``."""


def setting(settings: Settings, *known: str) -> None:
    """Refuse settings with keys that an encoding doesn't know."""
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}; known are {', '.join(known) or 'none'}")


def stored_dtype(settings: Settings, dtype: str) -> str:
    """The dtype that numbers are stored in: the setting ``stored``, or the network's own."""
    stored = settings.get("stored", dtype)
    if not isinstance(stored, str) or stored not in DTYPES:
        raise ValueError(f"stored as {stored!r}; possible are {', '.join(DTYPES)}")
    return stored


def elements_of(shape: Shape) -> int:
    """How many numbers a tensor has."""
    return math.prod(shape)


def size_of(shape: Shape, dtype: str) -> int:
    """Bytes of a tensor in plain numbers."""
    return elements_of(shape) * DTYPES[dtype].itemsize


def whole(settings: Settings, name: str, least: int, most: int) -> int:
    """A setting that must be a whole number within bounds."""
    value = settings.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} {value!r}: must be from {least} to {most}")
    return value


def axis_of(settings: Settings, shape: Shape) -> int:
    """How many channels have a grid of their own: one for all, or by the setting ``axis`` one for each."""
    axis = settings.get("axis")
    if "axis" in settings and (type(axis) is not int or axis != 0):
        raise ValueError(f"axis {axis!r}: must be 0 or left out")
    return 1 if axis is None else shape[0]


def per_channel(given: Any, channels: int, what: str) -> np.ndarray:
    """One number, or one for each channel, as an array of one for each channel."""
    numbers = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64).ravel()
    if len(numbers) not in (1, channels):
        raise ValueError(f"{len(numbers)} numbers as {what}; give one, or {channels}")
    return np.broadcast_to(numbers, channels)


def dtype_name(tensor: Tensor) -> str:
    """``"float32"`` for ``torch.float32``."""
    return str(tensor.dtype).removeprefix("torch.")


def to_bytes(tensor: Tensor, stored: str) -> bytes:
    """Numbers one after the other, little-endian, the last dimension fastest.

    Raises
    ------
    ValueError
        If ``stored`` is an integer dtype that can't hold the values exactly, or a float dtype in which one overflows.
    """
    kept = tensor.detach().cpu().to(DTYPES[stored])
    if stored in INTEGERS and not torch.equal(kept.to(tensor.dtype), tensor.detach().cpu()):
        raise ValueError(f"its values aren't all whole numbers that {stored} can hold")
    if stored in FLOATS and not torch.isfinite(kept).all():
        raise ValueError(f"a value is too large for {stored}")
    if stored == "bfloat16":
        kept = kept.view(torch.int16)
    return kept.contiguous().numpy().astype(_AS_BYTES[stored]).tobytes()


def from_bytes(payload: memoryview | bytes, shape: Shape, stored: str, dtype: str) -> Tensor:
    """The inverse of :func:`to_bytes`, in its own memory, converted to ``dtype``.

    Examples
    --------
    >>> from_bytes(to_bytes(torch.tensor([[1.5, 2.0]]), "float16"), (1, 2), "float16", "float32")
    tensor([[1.5000, 2.0000]])
    """
    kind = np.dtype(_AS_BYTES[stored])
    numbers = torch.from_numpy(np.frombuffer(payload, kind).astype(kind.newbyteorder("="), copy=True))
    if stored == "bfloat16":
        numbers = numbers.view(torch.bfloat16)
    return numbers.reshape(shape).to(DTYPES[dtype])
