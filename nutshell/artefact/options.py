"""The numbers that an operation takes besides tensors, such as a stride: what is allowed, and how it is written."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

MOST = 1 << 16  # of any stride, padding, channel count …; keeps every product far from overflow


class Option(Protocol):
    """One option of an operation. A value at its default isn't written."""

    @property
    def default(self) -> Any:
        """What holds if the option isn't written; ``None`` if it must be."""

    def read(self, value: Any) -> Any:
        """Turn what JSON or a module holds into the option's value; ``ValueError`` says what is allowed."""


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds; ``default=None`` if it must be given."""

    low: int = 0
    high: int = MOST
    default: int | None = None

    def read(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError(f"{_short(value)}: must be a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Dimension:
    """A dimension of an image's values: from 1, or −1 for the last one. Never 0, which mixes the images of a batch."""

    default: int | None = -1

    def read(self, value: Any) -> int:
        if type(value) is not int or not (value == -1 or 1 <= value <= 4):
            raise ValueError(f"{_short(value)}: must be −1 or from 1 to 4; 0 are the images of a batch")
        return value


@dataclass(frozen=True)
class Sizes:
    """One whole number for each of ``count`` dimensions; a single number stands for all of them."""

    count: int
    low: int = 0
    high: int = MOST
    default: tuple[int, ...] | None = None

    def read(self, value: Any) -> tuple[int, ...]:
        values = (value,) * self.count if type(value) is int else value
        if not isinstance(values, tuple | list) or len(values) != self.count:
            raise ValueError(f"{_short(value)}: must be {self.count} whole number(s)")
        return tuple(Whole(self.low, self.high).read(each) for each in values)


@dataclass(frozen=True)
class Real:
    """A finite number between two bounds, both included."""

    low: float
    high: float
    default: float | None = None

    def read(self, value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not self.low <= value <= self.high:
            raise ValueError(f"{_short(value)}: must be a number from {self.low:g} to {self.high:g}")
        return float(value)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    default: bool = False

    def read(self, value: Any) -> bool:
        if type(value) is not bool:
            raise ValueError(f"{_short(value)}: must be true or false")
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    default: str

    def read(self, value: Any) -> str:
        if value not in self.words or type(value) is not str:
            raise ValueError(f"{_short(value)}: must be one of {', '.join(self.words)}")
        return value


def plain(value: Any) -> Any:
    """A value as JSON holds it: equal sizes as one number.

    Examples
    --------
    >>> plain((2, 2)), plain((1, 2)), plain(0.5)
    (2, [1, 2], 0.5)
    """
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
