"""The graph of a network as plain data: nodes that refer to earlier values only, and a table of tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nutshell.artefact.encodings import ENCODINGS, Form
from nutshell.artefact.encodings.base import FLOATS, Settings, Shape
from nutshell.artefact.errors import BadArtefact
from nutshell.artefact.limits import Limits
from nutshell.artefact.operations import OPERATIONS, Operation, Options
from nutshell.artefact.options import plain

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", re.ASCII)
_LONGEST_NAME = 200
_KEYS = ("input", "nodes", "tensors", "shared", "dtype")


@dataclass(frozen=True)
class Node:
    """One step: an operation on earlier values.

    Attributes
    ----------
    name : str
        Path of its module in the network, such as ``"block1_1.conv1"``. A second node with the same name runs the same
        module again.
    operation : str
        One of :data:`nutshell.artefact.operations.OPERATIONS`.
    options : dict
        All of its options.
    inputs : tuple of int
        Numbers of values: 0 is the network's input, i the output of the i-th node.
    """

    name: str
    operation: str
    options: Options
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """One line of the table of tensors: what is stored, as the file declares it."""

    name: str
    shape: Shape
    size: int
    encoding: str
    settings: Settings
    form: Form


@dataclass(frozen=True)
class Graph:
    """A network without its numbers.

    Attributes
    ----------
    input_shape : tuple of int
        Of one image, without the batch: ``(C, H, W)``.
    dtype : str
        Of all its tensors, inputs and outputs.
    nodes : tuple of Node
        In the order of execution; the last one's output is the network's.
    shared : dict of str to str
        Further names of tensors that stand in several places, by the name that is stored.
    """

    input_shape: Shape
    dtype: str
    nodes: tuple[Node, ...]
    shared: Mapping[str, str]

    def modules(self) -> dict[str, Node]:
        """The first node of each module, by its name."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            found.setdefault(node.name, node)
        return found

    def places(self, forms: Mapping[str, Form]) -> dict[str, dict[str, Form]]:
        """Forms by module and local name, with shared tensors in all of their places."""
        everything = dict(forms) | {alias: forms[name] for alias, name in self.shared.items()}
        found: dict[str, dict[str, Form]] = {node.name: {} for node in self.nodes}
        for name, form in everything.items():
            module, _, local = name.rpartition(".")
            if module not in found:
                raise BadArtefact(f"tensor {name}", f"no node is called {module!r}.")
            found[module][local] = form
        return found


def write_graph(graph: Graph) -> dict[str, Any]:
    """A graph as JSON, with everything left out that goes without saying."""
    seen: set[str] = set()
    nodes = []
    for number, node in enumerate(graph.nodes, start=1):
        written: list[Any] = [node.name]
        operation = OPERATIONS[node.operation]
        options = {
            name: plain(value) for name, value in node.options.items() if value != operation.options[name].default
        }
        if node.name not in seen:
            written.append(node.operation)
        if node.inputs != (number - 1,):
            written.append(list(node.inputs))
        if node.name not in seen and options:
            written.append(options)
        seen.add(node.name)
        nodes.append(written)
    header: dict[str, Any] = {"input": list(graph.input_shape), "nodes": nodes}
    if graph.dtype != "float32":
        header["dtype"] = graph.dtype
    if graph.shared:
        header["shared"] = dict(graph.shared)
    return header


def read_header(header: Mapping[str, Any], limits: Limits) -> tuple[Graph, tuple[Entry, ...]]:
    """Check a header piece by piece and turn it into a graph and a table of tensors.

    Raises
    ------
    BadArtefact
        Naming the place and the rule. Nothing has been decoded or allocated by then.
    """
    unknown = sorted(set(header) - set(_KEYS))
    if unknown:
        raise BadArtefact("header", f"unknown key {_short(unknown[0])}; known are {', '.join(_KEYS)}.")
    shape = _shape(header.get("input"), "input", limits, least=1, most=4)
    dtype = header.get("dtype", "float32")
    if not isinstance(dtype, str) or dtype not in FLOATS:
        raise BadArtefact("dtype", f"{_short(dtype)}: must be one of {', '.join(FLOATS)}.")
    nodes = _nodes(header.get("nodes"), limits)
    table = _table(header.get("tensors", {}), dtype, limits)
    shared = _shared(header.get("shared", {}), table, limits)
    total = sum(entry.form.elements for entry in table)
    if total > limits.total_elements:
        raise BadArtefact("tensors", f"{total:,} numbers in all, more than the {limits.total_elements:,} allowed.")
    return Graph(shape, dtype, nodes, shared), table


def _nodes(written: Any, limits: Limits) -> tuple[Node, ...]:
    if not isinstance(written, list) or not written:
        raise BadArtefact("nodes", "a list with at least one node is needed.")
    if len(written) > limits.nodes:
        raise BadArtefact("nodes", f"{len(written):,} nodes, more than the {limits.nodes:,} allowed.")
    nodes: list[Node] = []
    known: dict[str, Node] = {}
    used = {len(written)}
    for number, item in enumerate(written, start=1):
        node = _node(item, number, known)
        known.setdefault(node.name, node)
        used.update(node.inputs)
        nodes.append(node)
    for number, node in enumerate(nodes, start=1):
        if number not in used:
            raise BadArtefact(f"node {node.name}", "nothing uses its output; only the last node may stand at the end.")
    _check_paths(known)
    return tuple(nodes)


def _node(item: Any, number: int, known: Mapping[str, Node]) -> Node:
    where = f"node number {number}"
    if not isinstance(item, list) or not 1 <= len(item) <= 4:
        raise BadArtefact(where, "must be a list: name, operation, inputs, options, the last ones if need be.")
    rest = list(item)
    name = _name(rest.pop(0), where)
    where = f"node {name}"
    operation_name = rest.pop(0) if rest and isinstance(rest[0], str) else None
    inputs = rest.pop(0) if rest and isinstance(rest[0], list) else [number - 1]
    options = rest.pop(0) if rest and isinstance(rest[0], dict) else {}
    if rest:
        raise BadArtefact(where, f"can't be read from {_short(rest[0])} on: the order is operation, inputs, options.")
    operation = _operation(where, operation_name, options, known.get(name))
    for value in inputs:
        if type(value) is not int or not 0 <= value < number:
            raise BadArtefact(where, f"input {_short(value)}: must be the number of an earlier value, "
                                     f"from 0 to {number - 1}.")
    least, most = operation.inputs
    if not least <= len(inputs) <= most:
        raise BadArtefact(where, f"{len(inputs)} inputs; {operation.name} takes from {least} to {most}.")
    if name in known:
        return Node(name, operation.name, known[name].options, tuple(inputs))
    try:
        return Node(name, operation.name, operation.read_options(options), tuple(inputs))
    except ValueError as error:
        raise BadArtefact(where, f"{error}.") from None


def _operation(where: str, name: str | None, options: Options, before: Node | None) -> Operation:
    if before is not None:
        if name is not None or options:
            raise BadArtefact(where, "stands twice; a second use of a module has inputs only.")
        return OPERATIONS[before.operation]
    if name not in OPERATIONS:
        raise BadArtefact(where, f"unknown operation {_short(name)}; known are {', '.join(OPERATIONS)}.")
    return OPERATIONS[name]


def _check_paths(modules: Mapping[str, Node]) -> None:
    for name in modules:
        parts = name.split(".")
        for end in range(1, len(parts)):
            if ".".join(parts[:end]) in modules:
                raise BadArtefact(f"node {name}", f"{'.'.join(parts[:end])!r} is a node itself and can't contain one.")


def _table(written: Any, dtype: str, limits: Limits) -> tuple[Entry, ...]:
    if not isinstance(written, dict):
        raise BadArtefact("tensors", "a JSON object is needed, names with what is stored.")
    if len(written) > limits.tensors:
        raise BadArtefact("tensors", f"{len(written):,} tensors, more than the {limits.tensors:,} allowed.")
    return tuple(_entry(name, item, dtype, limits) for name, item in written.items())


def _entry(name: str, item: Any, dtype: str, limits: Limits) -> Entry:
    name = _name(name, "tensors")
    where = f"tensor {name}"
    if not isinstance(item, list) or not 2 <= len(item) <= 4:
        raise BadArtefact(where, "must be a list: shape, bytes, encoding, settings, the last two left out if possible.")
    shape = _shape(item[0], where, limits, least=1, most=5)
    size = item[1]
    encoding = item[2] if len(item) > 2 else "dense"
    settings = item[3] if len(item) > 3 else {}
    if type(size) is not int or not 0 <= size <= limits.file_bytes:
        raise BadArtefact(where, f"{_short(size)} bytes: must be a whole number up to {limits.file_bytes:,}.")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise BadArtefact(where, f"unknown encoding {_short(encoding)}; known are {', '.join(ENCODINGS)}.")
    if not isinstance(settings, dict):
        raise BadArtefact(where, "settings must be a JSON object.")
    try:
        form = ENCODINGS[encoding].check(shape, dtype, settings, size)
    except ValueError as error:
        raise BadArtefact(where, f"{error}.") from None
    if form.elements > limits.tensor_elements:
        raise BadArtefact(where, f"{form.elements:,} numbers, more than the {limits.tensor_elements:,} allowed.")
    return Entry(name, shape, size, encoding, settings, form)


def _shared(written: Any, table: tuple[Entry, ...], limits: Limits) -> dict[str, str]:
    stored = {entry.name for entry in table}
    if not isinstance(written, dict) or len(written) > limits.tensors:
        raise BadArtefact("shared", f"a JSON object with at most {limits.tensors:,} names is needed.")
    for alias, name in written.items():
        _name(alias, "shared")
        if alias in stored:
            raise BadArtefact(f"shared tensor {alias}", "is stored as well; it can be only one of the two.")
        if not isinstance(name, str) or name not in stored:
            raise BadArtefact(f"shared tensor {alias}", f"stands for {_short(name)}, which isn't stored.")
    return dict(written)


def _shape(written: Any, where: str, limits: Limits, *, least: int, most: int) -> Shape:
    if not isinstance(written, list) or not least <= len(written) <= most:
        raise BadArtefact(where, f"shape {_short(written)}: must be a list of {least} to {most} numbers.")
    elements = 1
    for size in written:
        if type(size) is not int or not 1 <= size <= limits.tensor_elements:
            raise BadArtefact(where, f"shape {_short(written)}: each must be from 1 to {limits.tensor_elements:,}.")
        elements *= size
    if elements > limits.tensor_elements:
        raise BadArtefact(where, f"shape {_short(written)} has {elements:,} numbers, "
                                 f"more than the {limits.tensor_elements:,} allowed.")
    return tuple(written)


def _name(written: Any, where: str) -> str:
    if not isinstance(written, str) or len(written) > _LONGEST_NAME or not _NAME.fullmatch(written):
        raise BadArtefact(where, f"name {_short(written)}: must be letters, digits and _ with dots between, "
                                 f"at most {_LONGEST_NAME}.")
    return written


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
