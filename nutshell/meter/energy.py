"""Energy of an inference by the 45 nm figures of Horowitz (ISSCC 2014): an estimate, never a measurement.

Energy = Σ operations × pJ of their widest operand + 32-bit words of weights and activations moved × pJ of the smallest
level that holds them.

>>> fetch_power(1e9, per_second=20)  # a billion connections fetched from DRAM, twenty times a second
12.8
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nutshell.errors import WrongUse
from nutshell.meter.report import Operation, Report

if TYPE_CHECKING:
    from nutshell.meter.table import Table

MULTIPLY = {"int8": 0.2, "int32": 3.1, "float16": 1.1, "float32": 3.7}  # pJ
ADD = {"int8": 0.03, "int16": 0.05, "int32": 0.1, "float16": 0.4, "float32": 0.9}  # pJ
DRAM = 640.0  # pJ for 32 bits, the low end: 1.3 to 2.6 nJ for 64 bits
BINARY_WORD = 2 * ADD["int32"]  # pJ for one operation on 64 bits, taken for two 32-bit integer additions

_ACCUMULATOR = {"int8": "int32", "int32": "int32", "float16": "float16", "float32": "float32"}
_BYTES = {"int8": 1, "int32": 4, "float16": 2, "float32": 4}
# Figures used for formats that the table leaves out.
_AS = {"bfloat16": "float16", "uint8": "int8", "bool": "int8", "int16": "int32", "int64": "int32"}


@dataclass(frozen=True)
class Level:
    """A level of memory: what it holds, and the energy of 32 bits from it.

    Attributes
    ----------
    name : str
        What people call it.
    bytes : float
        Capacity; ``math.inf`` for the last level.
    picojoules : float
        For 32 bits.
    """

    name: str
    bytes: float
    picojoules: float


REGISTERS = Level("register file", 512, 1.0)
SRAM = Level("8 KB SRAM", 8192, 5.0)


@dataclass(frozen=True)
class LayerEnergy:
    """Energy of one layer in picojoules; the fields are those of :class:`Energy`."""

    name: str
    multiply_accumulates: float
    bias_additions: float
    elementwise: float
    binary: float
    weights: float
    activations: float

    @property
    def total(self) -> float:
        """All parts, in picojoules."""
        return sum(getattr(self, part) for part in PARTS)


PARTS = ("multiply_accumulates", "bias_additions", "elementwise", "binary", "weights", "activations")


@dataclass(frozen=True)
class Energy:
    """Estimated energy of one inference, by layer; all parts in picojoules.

    Attributes
    ----------
    layers : tuple of LayerEnergy
        In the order of the report.
    assumption : str
        What the estimate rests on; printed with it.
    """

    layers: tuple[LayerEnergy, ...] = field(repr=False)
    assumption: str

    def part(self, name: str) -> float:
        """One of :data:`PARTS`, over all layers, in picojoules."""
        return sum(getattr(layer, name) for layer in self.layers)

    @property
    def arithmetic(self) -> float:
        """Multiply-accumulates and bias additions, in picojoules."""
        return self.part("multiply_accumulates") + self.part("bias_additions")

    @property
    def weights(self) -> float:
        """Fetching every weight once, in picojoules."""
        return self.part("weights")

    @property
    def activations(self) -> float:
        """Reading and writing activations, in picojoules."""
        return self.part("activations")

    @property
    def total(self) -> float:
        """All parts, in picojoules."""
        return sum(self.part(name) for name in PARTS)

    @property
    def total_uj(self) -> float:
        """All parts, in microjoules."""
        return self.total / 1e6

    def table(self) -> "Table":
        """A row for each part, with the assumption below."""
        from nutshell.meter.table import energy_table

        return energy_table(self)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def energy(
    report: Report,
    bytes_per_weight: float | None = None,
    *,
    bytes_per_activation: float | None = None,
    arithmetic: str | None = None,
    dram: float = DRAM,
    binary_word: float = BINARY_WORD,
) -> Energy:
    """Estimate the energy of the counted inference.

    Every multiply-accumulate costs a multiplication and an addition of its widest operand's format; an integer product
    accumulates in int32. Every bias addition and element-wise operation costs an addition. Every weight is fetched once
    an inference, from the smallest level that holds all weights together; every operand that isn't stored is read and
    every result written once, in the smallest level that holds the larger of the two.

    Parameters
    ----------
    report : Report
        From :func:`nutshell.meter.count`.
    bytes_per_weight : float, optional
        As stored; the size of the arithmetic's format if left out, 4 for float32. Fractions are welcome: serialised
        bytes over parameters.
    bytes_per_activation : float, optional
        As moved; the size of the arithmetic's format if left out.
    arithmetic : {"float32", "float16", "int32", "int8"}, optional
        Format that the network computes in, whatever it was counted in. If left out, each operation's widest operand
        decides: weights stored in one byte and decoded to float32 still cost float32 arithmetic.
    dram : float
        Picojoules for 32 bits from DRAM.
    binary_word : float
        Picojoules for one binary operation on 64 packed bits; a product of signs takes two, see
        :mod:`nutshell.meter.signs`.

    Returns
    -------
    Energy
        In picojoules and microjoules, with its assumption.

    Raises
    ------
    WrongUse
        If there is no figure for the format, or a size isn't positive.

    Examples
    --------
    >>> import torch
    >>> from nutshell import meter
    >>> with torch.device("meta"):
    ...     report = meter.count(torch.nn.Linear(1000, 1000, bias=False), (1, 1000))
    >>> round(energy(report).arithmetic / 1e6, 2), round(energy(report).weights / 1e6, 2)  # µJ
    (4.6, 640.0)
    >>> int8 = energy(report, arithmetic="int8")
    >>> round(int8.arithmetic / 1e6, 2), round(int8.weights / 1e6, 2)
    (0.3, 160.0)
    """
    if arithmetic is not None and arithmetic not in MULTIPLY:
        raise WrongUse(f"There is no figure for {arithmetic!r} at 45 nm. Choose one of: {', '.join(MULTIPLY)}.")
    size = _BYTES[arithmetic or "float32"]
    per_weight = size if bytes_per_weight is None else bytes_per_weight
    per_activation = size if bytes_per_activation is None else bytes_per_activation
    if min(per_weight, per_activation) <= 0 or min(dram, binary_word) < 0:
        raise WrongUse(
            f"bytes_per_weight={per_weight}, bytes_per_activation={per_activation}, dram={dram}, "
            f"binary_word={binary_word}: sizes must be above 0, energies at least 0."
        )
    memory = (REGISTERS, SRAM, Level("DRAM", float("inf"), dram))
    home = _level(memory, report.total.parameters * per_weight)
    layers = {layer.name: [0.0] * len(PARTS) for layer in report.layers}
    for layer in report.layers:
        layers[layer.name][4] = layer.parameters * per_weight / 4 * home.picojoules
    for operation in report.operations:
        costs = _operation_cost(operation, arithmetic, binary_word, per_activation, memory)
        before = layers.setdefault(operation.layer, [0.0] * len(PARTS))
        layers[operation.layer] = [a + b for a, b in zip(before, costs, strict=True)]
    return Energy(
        tuple(LayerEnergy(name, *parts) for name, parts in layers.items()),
        _assumption(arithmetic, per_weight, per_activation, home, dram, binary_word if report.total.binary else None),
    )


def fetch_power(values: float, *, per_second: float, bytes_per_value: float = 4, picojoules: float = DRAM) -> float:
    """Power of fetching values from memory again and again, in watts.

    Parameters
    ----------
    values : float
        Values fetched each time.
    per_second : float
        Times a second, in hertz.
    bytes_per_value : float
        4 for float32.
    picojoules : float
        For 32 bits; DRAM's if left out.

    Examples
    --------
    >>> round(fetch_power(60_965_224, per_second=30), 2)  # AlexNet's weights for a film
    1.17
    """
    return values * bytes_per_value / 4 * picojoules * per_second / 1e12


def _operation_cost(
    operation: Operation, arithmetic: str | None, binary_word: float, per_activation: float, memory: tuple[Level, ...]
) -> list[float]:
    number = arithmetic or _AS.get(operation.dtype, operation.dtype)
    if number not in MULTIPLY:
        raise WrongUse(
            f"{operation.name} in {operation.layer or 'the network itself'} computes in {operation.dtype}, for which "
            f"there is no figure at 45 nm. Say what it would run in: arithmetic=\"float32\", for example."
        )
    accumulator = _ACCUMULATOR[number]
    largest = max(operation.read, operation.written)
    words = (operation.read + operation.written) * per_activation / 4
    return [
        operation.macs * (MULTIPLY[number] + ADD[accumulator]),
        operation.bias_adds * ADD[accumulator],
        operation.elementwise * ADD[number],
        operation.binary / 64 * binary_word,
        0.0,
        words * _level(memory, largest * per_activation).picojoules,
    ]


def _level(memory: tuple[Level, ...], size: float) -> Level:
    return next(level for level in memory if size <= level.bytes)


def _bytes(size: float) -> str:
    return "1 byte" if size == 1 else f"{size:.3g} bytes"


def _assumption(
    arithmetic: str | None, per_weight: float, per_activation: float, home: Level, dram: float, word: float | None
) -> str:
    number = arithmetic or "the widest operand's format"
    binary = "" if word is None else (
        f" A binary operation on 64 packed bits costs {word:g} pJ, "
        "as two integer additions of 32 bits would; a product of signs is two of them, exclusive or and counting."
    )
    return (
        "An estimate under stated assumptions, not a measurement: 45 nm figures (Horowitz 2014), arithmetic in "
        f"{number}; {_bytes(per_weight)} a weight, each fetched once an inference from {home.name} "
        f"({home.picojoules:g} pJ for 32 bits); {_bytes(per_activation)} an activation, read and written once in the "
        f"smallest of {REGISTERS.bytes}-byte registers (1 pJ), {SRAM.name} (5 pJ) and DRAM ({dram:g} pJ) that holds "
        f"it.{binary}"
    )
