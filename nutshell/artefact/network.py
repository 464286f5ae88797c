"""A network made from a graph: its modules are real ``nn.Linear``, ``nn.Conv2d``, …, run in the graph's order."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nutshell.artefact.encodings.base import Form, Shape
from nutshell.artefact.errors import BadArtefact
from nutshell.artefact.graph import Graph
from nutshell.artefact.limits import Limits
from nutshell.artefact.operations import OPERATIONS, Weighted


class Network(nn.Module):
    """Runs the nodes of a graph in order; a value is let go after its last use.

    Modules stand at the paths that the graph names, so ``network.fc1.weight`` is what it was in the network that was
    saved, and ``state_dict``, hooks and the meter see ordinary layers.
    """

    def __init__(self, graph: Graph, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._steps = tuple((node.name, node.inputs) for node in graph.nodes)
        last_use = {value: step for step, (_, inputs) in enumerate(self._steps) for value in inputs}
        self._let_go = tuple(
            tuple(value for value in set(inputs) if last_use[value] == step)
            for step, (_, inputs) in enumerate(self._steps)
        )
        for name, module in modules.items():
            _put(self, name, module)

    @property
    def order(self) -> tuple[str, ...]:
        """Paths of the modules in the order of execution, each once."""
        return tuple(dict.fromkeys(name for name, _ in self._steps))

    def forward(self, x: Tensor) -> Tensor:
        values = {0: x}
        for number, (name, inputs) in enumerate(self._steps, start=1):
            values[number] = self.get_submodule(name)(*(values[value] for value in inputs))
            for value in self._let_go[number - 1]:
                del values[value]
        return values[len(self._steps)]


class Inferred(NamedTuple):
    """What is known of a network before it runs, for one image.

    Attributes
    ----------
    shapes : tuple of tuple of int
        Of all values, without the batch; the first is the input's.
    macs : int
        Multiply-accumulates of layers.
    activations : int
        Numbers that all nodes put out together, the input included.
    """

    shapes: tuple[Shape, ...]
    macs: int
    activations: int


def build(graph: Graph, forms: Mapping[str, Form]) -> tuple[Network, dict[str, dict[str, list[str]]]]:
    """Make the network on the meta device, so far without memory, and say where its tensors go.

    Parameters
    ----------
    graph : Graph
        From a file or a trace.
    forms : mapping of str to Form
        Of the stored tensors, by name.

    Returns
    -------
    network : Network
        On the meta device, in evaluation mode.
    places : dict
        For each stored tensor and each part of it, names in the network's state (several for a shared one).

    Raises
    ------
    BadArtefact
        If nodes and tensors don't fit together.
    """
    by_module = graph.places(forms)
    modules: dict[str, nn.Module] = {}
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        for name, node in graph.modules().items():
            operation, given = OPERATIONS[node.operation], by_module[name]
            _check_tensors(name, operation.tensors, given)
            try:
                modules[name] = operation.build(node.options, given)
            except (ValueError, RuntimeError, OverflowError) as error:
                raise BadArtefact(f"node {name}", f"{_first_line(error)}.") from None
    network = Network(graph, modules)
    places: dict[str, dict[str, list[str]]] = {name: {} for name in forms}
    state = network.state_dict()
    for name, stored in [(name, name) for name in forms] + list(graph.shared.items()):
        module, _, local = name.rpartition(".")
        operation = OPERATIONS[graph.modules()[module].operation]
        for part, shape in forms[stored].parts.items():
            target = f"{module}.{operation.place(local, part, by_module[module])}"
            if tuple(state[target].shape) != shape:
                raise BadArtefact(f"tensor {name}", f"shape {list(shape)} where {list(state[target].shape)} is needed.")
            places[stored].setdefault(part, []).append(target)
    return network.eval(), places


def infer(graph: Graph, forms: Mapping[str, Form], limits: Limits) -> Inferred:
    """Find shapes and work node by node, as far as the limits allow; nothing is run and no memory is taken.

    Raises
    ------
    BadArtefact
        If a node doesn't fit its inputs, or a limit is passed.
    """
    by_module = graph.places(forms)
    shapes = [graph.input_shape]
    activations, macs = math.prod(graph.input_shape), 0
    for node in graph.nodes:
        where, given = f"node {node.name}", by_module[node.name]
        try:
            output = OPERATIONS[node.operation].output(node.options, given, [shapes[value] for value in node.inputs])
        except ValueError as error:
            raise BadArtefact(where, f"{error}.") from None
        activations += math.prod(output)
        if isinstance(OPERATIONS[node.operation], Weighted):
            weight = given["weight"]
            activations += math.prod(output) // weight.shape[0] * (weight.rank or 0)
        macs += OPERATIONS[node.operation].macs(node.options, given, output)
        if activations > limits.activations:
            raise BadArtefact(where, f"more than {limits.activations:,} numbers are computed for one image by then.")
        if macs > limits.macs:
            raise BadArtefact(where, f"more than {limits.macs:,} multiply-accumulates for one image by then.")
        shapes.append(output)
    return Inferred(tuple(shapes), macs, activations)


def _check_tensors(name: str, wanted: Mapping[str, bool], given: Mapping[str, Form]) -> None:
    for local, needed in wanted.items():
        if needed and local not in given:
            raise BadArtefact(f"node {name}", f"its tensor {name}.{local} is missing.")
    for local in given:
        if local not in wanted:
            known = ", ".join(wanted) or "none"
            raise BadArtefact(f"tensor {name}.{local}", f"the node has no such tensor; it has {known}.")
    for local, form in given.items():
        if form.rank is not None and (local != "weight" or "running_mean" in wanted):
            raise BadArtefact(f"tensor {name}.{local}", "only the weight of a linear layer or convolution has a rank.")


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    *parents, last = path.split(".")
    for part in parents:
        child = root._modules.get(part)
        if child is None:
            _check_free(root, part, path)
            child = nn.Module()
            root.add_module(part, child)
        root = child
    _check_free(root, last, path)
    root.add_module(last, module)


def _check_free(module: nn.Module, name: str, path: str) -> None:
    if hasattr(module, name):
        raise BadArtefact(f"node {path}", f"{name!r} can't be a module's name: every module has such an attribute.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")[:200] if str(error).strip() else type(error).__name__
