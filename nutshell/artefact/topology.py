"""Which network a graph is, apart from how it was compressed.

A network is brought to a canonical form, in which layers that follow one another with nothing non-linear between are
one layer. A factorised LeNet-300-100 then is LeNet-300-100, and a small CNN isn't, whatever its file is called.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from nutshell.artefact.encodings.base import Form, Shape
from nutshell.artefact.graph import Graph
from nutshell.artefact.limits import Limits
from nutshell.artefact.network import infer
from nutshell.artefact.trace import trace

_CONVOLUTIONS = ("conv1d", "conv2d")
_COMMUTATIVE = ("add", "multiply")


@dataclass(frozen=True)
class Step:
    """One operation of the canonical form.

    Attributes
    ----------
    operation : str
        One of the closed list.
    widths : tuple of int
        Inputs and outputs of a layer with weights: features or channels; empty for other operations.
    settings : tuple
        Everything else that must be equal: kernel, stride, padding, …
    inputs : tuple of int
        Numbers of steps; −1 is the network's input.
    modules : tuple of str
        Paths of the modules that it was made of.
    """

    operation: str
    widths: tuple[int, ...]
    settings: tuple[tuple[str, Any], ...]
    inputs: tuple[int, ...]
    modules: tuple[str, ...]

    @property
    def words(self) -> str:
        """Such as ``"linear 784→300"`` or ``"conv2d 1→20 5×5"``."""
        text = self.operation
        if self.widths:
            text += f" {self.widths[0]}→{self.widths[1]}"
        kernel = dict(self.settings).get("kernel_size")
        return text + (" " + "×".join(map(str, kernel)) if kernel else "")


@dataclass(frozen=True)
class Topology:
    """A network's canonical form.

    Attributes
    ----------
    input_shape : tuple of int
        Of one image.
    steps : tuple of Step
        In an order that depends on the structure alone; the last one is the output.
    order : tuple of int
        Numbers of the steps with weights in the order of execution: the layers, from the first to the last.
    """

    input_shape: Shape
    steps: tuple[Step, ...]
    order: tuple[int, ...]

    @property
    def words(self) -> str:
        """The steps in words, without those that every network has."""
        words = [step.words for step in self.steps]
        shown = words if len(words) <= 14 else [*words[:12], f"… {len(words) - 13} more …", words[-1]]
        return f"{'×'.join(map(str, self.input_shape))} image, {', '.join(shown)}"

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps with weights, in the order of execution."""
        return tuple(self.steps[number] for number in self.order)


def topology_of(graph: Graph, forms: Mapping[str, Form], shapes: Sequence[Shape]) -> Topology:
    """The canonical form of a graph.

    Parameters
    ----------
    graph : Graph
        From a file, or from a trace.
    forms : mapping of str to Form
        Of its tensors.
    shapes : sequence of tuple of int
        Of its values, as :class:`~nutshell.artefact.read.Artefact` has them.
    """
    steps, output = _steps(graph, forms, shapes)
    while output >= 0 and steps[output].operation in ("softmax", "log_softmax"):  # the largest stays the largest
        output = steps.pop(output).inputs[0]
    return _ordered(graph.input_shape, *_merge(steps, output))


def topology_of_network(network: nn.Module, input_shape: Shape) -> Topology:
    """The canonical form of a module.

    Examples
    --------
    >>> from nutshell import models
    >>> topology_of_network(models.build("lenet-300-100"), (1, 28, 28)).words
    '1×28×28 image, flatten, linear 784→300, relu, linear 300→100, relu, linear 100→10'
    """
    graph, tensors = trace(network, input_shape, values=False)
    forms = {name: Form(tuple(tensor.shape)) for name, tensor in tensors.items()}
    return topology_of(graph, forms, infer(graph, forms, Limits(macs=1 << 45, activations=1 << 40)).shapes)


def difference(found: Topology, expected: Topology, *, shrunk: bool = False) -> str:
    """Say in words where two networks differ first; empty if they are the same.

    Parameters
    ----------
    found, expected : Topology
        What was handed in, and what was asked for.
    shrunk : bool
        Whether layers may be narrower than expected, as after pruning neurons; inputs and outputs stay.
    """
    if found.input_shape != expected.input_shape:
        return f"it takes images of shape {list(found.input_shape)} instead of {list(expected.input_shape)}"
    for number, (one, other) in enumerate(zip(found.steps, expected.steps, strict=False), start=1):
        fits = one.widths == other.widths
        if shrunk and one.widths and other.widths:
            fits = all(a <= b for a, b in zip(one.widths, other.widths, strict=True))
            if number == len(expected.steps):
                fits = fits and one.widths[1] == other.widths[1]
        same = (one.operation, one.settings, one.inputs) == (other.operation, other.settings, other.inputs)
        if same and fits:
            continue
        detail = "" if one.words != other.words else " with other settings or inputs"
        return f"step {number} is {one.words}{detail} instead of {other.words}"
    if len(found.steps) != len(expected.steps):
        return f"it has {len(found.steps)} steps instead of {len(expected.steps)}"
    return ""


def _steps(graph: Graph, forms: Mapping[str, Form], shapes: Sequence[Shape]) -> tuple[dict[int, Step], int]:
    """One step a node, by its number in the graph, without what does nothing; and the number of the output."""
    places = graph.places(forms)
    steps: dict[int, Step] = {}
    same: dict[int, int] = {0: -1}  # values by number in the graph → the step that makes them
    for number, node in enumerate(graph.nodes, start=1):
        inputs = tuple(same[value] for value in node.inputs)
        if node.operation == "flatten" and len(shapes[node.inputs[0]]) == 1:
            same[number] = inputs[0]
            continue
        same[number] = number
        settings = {key: value for key, value in node.options.items() if key not in ("batches", "eps")}
        widths: tuple[int, ...] = ()
        operation = node.operation
        if operation == "circulant":  # a linear layer whose weights are fewer
            operation, widths = "linear", (settings.pop("in_features"), settings.pop("out_features"))
        if node.operation in ("linear", *_CONVOLUTIONS):
            shape = places[node.name]["weight"].shape
            widths = (shape[1] * settings.get("groups", 1), shape[0])
            if node.operation in _CONVOLUTIONS:
                settings["kernel_size"] = shape[2:]
        steps[number] = Step(operation, widths, tuple(sorted(settings.items())), inputs, (node.name,))
    return steps, same[len(graph.nodes)]


def _merge(steps: Mapping[int, Step], output: int) -> tuple[dict[int, Step], int]:
    """Make one layer of each chain of layers, and fold batch normalisation into the layer before it."""
    users = Counter(value for step in steps.values() for value in step.inputs)
    merged: dict[int, Step] = {}
    same: dict[int, int] = {-1: -1}
    for number, step in steps.items():
        alone = users[step.inputs[0]] == 1  # nothing else sees what stands between the two
        step = replace(step, inputs=tuple(same[value] for value in step.inputs))
        before = step.inputs[0]
        both = _together(merged[before], step) if alone and before in merged else None
        same[number] = number if both is None else before
        merged[same[number]] = both or step
    return merged, same[output]


def _together(first: Step, second: Step) -> Step | None:
    """Two steps as one layer, or None if they aren't one."""
    modules = first.modules + second.modules
    if second.operation.startswith("batch_norm") and first.widths:
        return replace(first, modules=modules)
    if first.operation != second.operation or not first.widths:
        return None
    if first.operation == "linear":
        return replace(first, widths=(first.widths[0], second.widths[1]), modules=modules)
    settings = _composed(dict(first.settings), dict(second.settings))
    widths = (first.widths[0], second.widths[1])
    if settings is None:
        return None
    return replace(first, widths=widths, settings=tuple(sorted(settings.items())), modules=modules)


def _composed(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | None:
    """Settings of one convolution after another, dimension by dimension: a kernel of a + stride·(b − 1) and so on."""
    columns = []
    each = ("kernel_size", "stride", "padding", "dilation")
    for ka, sa, pa, da, kb, sb, pb, db in zip(*(a[key] for key in each), *(b[key] for key in each), strict=True):
        if ka == 1:
            columns.append((kb, sa * sb, pa + sa * pb, sa * db if kb > 1 else 1))
        elif kb == 1:
            columns.append((ka, sa * sb, pa + sa * pb, da))
        elif da == db == 1 or sa * db == da:
            columns.append((ka + (kb - 1) * (sa if da == 1 else 1), sa * sb, pa + sa * pb, da))
        else:
            return None
    return dict(zip(each, zip(*columns, strict=True), strict=True)) | {"groups": 1}


def _ordered(input_shape: Shape, steps: Mapping[int, Step], output: int) -> Topology:
    """Number the steps by depth-first search from the output; the order of summands doesn't matter."""
    keys: dict[int, int] = {-1: 0}
    for number, step in steps.items():
        inside = [keys[value] for value in step.inputs]
        keys[number] = zlib.crc32(repr((step.operation, step.settings, _sorted(step, inside))).encode())
    found: dict[int, int] = {-1: -1}
    ordered: list[Step] = []
    for number in _depth_first(steps, output, keys):
        step = steps[number]
        inputs = [found[value] for value in step.inputs]
        found[number] = len(ordered)
        ordered.append(replace(step, inputs=tuple(_sorted(step, inputs))))
    layers = sorted(number for number, step in steps.items() if step.widths)
    return Topology(input_shape, tuple(ordered), tuple(found[number] for number in layers))


def _sorted(step: Step, values: list[int]) -> list[int]:
    return sorted(values) if step.operation in _COMMUTATIVE else values


def _depth_first(steps: Mapping[int, Step], output: int, keys: Mapping[int, int]) -> Iterator[int]:
    """Numbers of the steps, each after its inputs."""
    done, waiting = {-1}, [output]
    while waiting:
        number = waiting[-1]
        if number in done:
            waiting.pop()
            continue
        inputs = list(steps[number].inputs)
        if steps[number].operation in _COMMUTATIVE:
            inputs.sort(key=lambda value: keys[value])
        missing = [value for value in inputs if value not in done]
        if missing:
            waiting.append(missing[0])
        else:
            done.add(number)
            yield number
