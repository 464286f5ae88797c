"""What the meter found: operations, layers and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nutshell.errors import WrongUse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nutshell.meter.render import Rendering
    from nutshell.meter.table import Table


@dataclass(frozen=True)
class Operation:
    """One executed operation.

    Attributes
    ----------
    layer : str
        Path of the innermost module whose forward ran it; empty for the network itself.
    name, kind : str
        ATen name, such as ``"addmm"``, and what it is, such as ``"matrix product"``.
    macs, bias_adds, elementwise, binary : int
        Multiply-accumulates, additions of something stored, other element-wise operations, one-bit operations.
    read, written : int
        Elements of operands that are not stored, and of the result.
    dtype : str
        Of the widest operand, such as ``"float32"``.
    output_shape : tuple of int
        Shape of the result.
    """

    layer: str
    name: str
    kind: str
    macs: int
    bias_adds: int
    elementwise: int
    binary: int
    read: int
    written: int
    dtype: str
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Execution:
    """One execution of a module.

    Attributes
    ----------
    layer, kind : str
        Path and class of the module.
    leaf : bool
        Whether it has no modules inside.
    output_shape : tuple of int
        Shape of the first tensor that it returned; empty if there was none.
    """

    layer: str
    kind: str
    leaf: bool
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that belongs to the network, counted once however often it is shared.

    Attributes
    ----------
    layer, name : str
        Path of the module that owns it, and its name there.
    elements : int
        Values it stores.
    nonzero : int or None
        Those that are not zero, under the mask if the tensor is pruned; ``None`` on the meta device.
    kept : int or None
        Those that a pruning mask leaves; all of them without a mask.
    bytes : int
        Memory in its present dtype.
    weight : bool
        A parameter, or a persistent buffer that is multiplied with activations; other buffers are state.
    """

    layer: str
    name: str
    elements: int
    nonzero: int | None
    kept: int | None
    bytes: int
    weight: bool


@dataclass(frozen=True)
class LayerCount:
    """Counts of one layer, or of several together.

    Attributes
    ----------
    name : str
        Path in the network; empty for what the network's own forward does outside its modules.
    kind : str
        Class of the module.
    parameters : int
        Stored weights and biases, shared ones at the first layer that has them.
    nonzero : int or None
        Parameters that are not zero; ``None`` on the meta device, which has no values.
    buffers : int
        Other stored values, such as running statistics.
    bytes : int
        Memory of the parameters in their present dtype.
    macs : int
        Multiply-accumulates that were executed.
    bias_adds : int
        Additions of something stored.
    elementwise : mapping of str to int
        Other operations by kind: activation, pooling, normalisation, addition, …
    binary : int
        Operations on single bits.
    activations : int
        Elements that its operations produced.
    output_shape : tuple of int
        Shape of the last result, empty if it never ran.
    calls : int
        Times it was executed.
    """

    name: str
    kind: str
    parameters: int = 0
    nonzero: int | None = 0
    buffers: int = 0
    bytes: int = 0
    macs: int = 0
    bias_adds: int = 0
    elementwise: Mapping[str, int] = field(default_factory=dict)
    binary: int = 0
    activations: int = 0
    output_shape: tuple[int, ...] = ()
    calls: int = 0

    @property
    def flops(self) -> int:
        """Floating point operations of the multiply-accumulates: two each."""
        return 2 * self.macs

    @property
    def elementwise_total(self) -> int:
        """Element-wise operations of all kinds."""
        return sum(self.elementwise.values())

    @property
    def empty(self) -> bool:
        """Whether nothing is stored and nothing was counted."""
        return not any((self.parameters, self.buffers, self.macs, self.bias_adds, self.elementwise_total, self.binary,
                        self.activations))


def combine(name: str, kind: str, layers: Iterable[LayerCount]) -> LayerCount:
    """Add layers up; the output shape is the last one's, the calls are the most frequent one's.

    Examples
    --------
    >>> combine("total", "", [LayerCount("a", "Linear", macs=2), LayerCount("b", "Linear", macs=3)]).macs
    5
    """
    layers = list(layers)
    nonzeros = [layer.nonzero for layer in layers]
    elementwise: Counter[str] = Counter()
    for layer in layers:
        elementwise.update(layer.elementwise)
    return LayerCount(
        name,
        kind,
        parameters=sum(layer.parameters for layer in layers),
        nonzero=None if None in nonzeros else sum(n for n in nonzeros if n is not None),
        buffers=sum(layer.buffers for layer in layers),
        bytes=sum(layer.bytes for layer in layers),
        macs=sum(layer.macs for layer in layers),
        bias_adds=sum(layer.bias_adds for layer in layers),
        elementwise=dict(elementwise),
        binary=sum(layer.binary for layer in layers),
        activations=sum(layer.activations for layer in layers),
        output_shape=layers[-1].output_shape if layers else (),
        calls=max((layer.calls for layer in layers), default=0),
    )


@dataclass(frozen=True)
class Report:
    """Counts of a network for one input.

    Attributes
    ----------
    network : str
        Name or class of the network.
    input_shape : tuple of int
        With the batch in front; several inputs as a tuple of shapes.
    device : str
        Where it was executed for counting: ``"meta"`` unless the network needs values.
    layers : tuple of LayerCount
        In the order of execution; layers with nothing to count are left out.
    operations : tuple of Operation
        Every operation that cost something.
    executions : tuple of Execution
        Every module that ran.
    tensors : tuple of StoredTensor
        Everything stored.
    uncounted : tuple of str
        Operations without a rule, ``"name in layer"``; empty unless they were asked to be listed.
    """

    network: str
    input_shape: tuple
    device: str
    layers: tuple[LayerCount, ...]
    operations: tuple[Operation, ...] = field(repr=False)
    executions: tuple[Execution, ...] = field(repr=False)
    tensors: tuple[StoredTensor, ...] = field(repr=False)
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> LayerCount:
        """All layers together."""
        return combine("total", self.network, self.layers)

    @property
    def parameters(self) -> int:
        """Stored weights and biases, shared ones once."""
        return self.total.parameters

    @property
    def macs(self) -> int:
        """Executed multiply-accumulates."""
        return self.total.macs

    @property
    def flops(self) -> int:
        """Two for every multiply-accumulate."""
        return 2 * self.macs

    def __getitem__(self, name: str) -> LayerCount:
        """The layer with that path; the sum of its layers for a module that contains several."""
        inside = [layer for layer in self.layers if layer.name == name or layer.name.startswith(f"{name}.")]
        if not inside:
            names = ", ".join(layer.name or "(network)" for layer in self.layers)
            raise WrongUse(f"The report has no layer {name!r}. It has: {names}.")
        if len(inside) == 1 and inside[0].name == name:
            return inside[0]
        return combine(name, "", inside)

    def grouped(self, depth: int) -> tuple[LayerCount, ...]:
        """Layers put together by the first ``depth`` parts of their path: blocks at depth 1.

        Parameters
        ----------
        depth : int
            At least 1.
        """
        if depth < 1:
            raise WrongUse(f"depth={depth}: must be at least 1, the network's direct children.")
        groups: dict[str, list[LayerCount]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
        return tuple(m[0] if len(m) == 1 else combine(name, f"{len(m)} layers", m) for name, m in groups.items())

    def table(self, depth: int | None = None) -> Table:
        """A table with a row for each layer, or for each block at some depth, and a total."""
        from nutshell.meter.table import layer_table

        return layer_table(self, depth)

    def plot(self, quantities: Iterable[str] = ("parameters", "macs", "energy"), depth: int | None = None) -> Figure:
        """Horizontal bars for each layer; see :func:`nutshell.meter.plot.plot`."""
        from nutshell.meter.plot import plot

        return plot(self, tuple(quantities), depth)

    def alternative_text(self) -> str:
        """The report's main points in a few sentences, for readers who cannot see its plot."""
        from nutshell.meter.plot import alternative_text

        return alternative_text(self)

    def render(self, tool: str) -> Rendering:
        """The same network as another tool would count it; see :func:`nutshell.meter.render.render`."""
        from nutshell.meter.render import render

        return render(self, tool)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
