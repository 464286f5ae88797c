"""From a module to a graph, by symbolic tracing with ``torch.fx``: what a file can't express is refused by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from nutshell.artefact.encodings.base import FLOATS, Shape, dtype_name
from nutshell.artefact.errors import CannotSave
from nutshell.artefact.functions import FUNCTIONS, METHODS, scale_of
from nutshell.artefact.graph import Graph, Node
from nutshell.artefact.operations import BY_MODULE, DROPPED
from nutshell.artefact.scaling import Scale


def trace(network: nn.Module, input_shape: Shape, *, values: bool = True) -> tuple[Graph, dict[str, Tensor]]:
    """Find the graph of a network in evaluation mode, and its tensors.

    Parameters
    ----------
    network : torch.nn.Module
        Its ``forward`` takes one tensor and returns one. Layers are saved under their own paths, functions such as
        ``torch.flatten`` under the name that the trace gives them; dropout and ``nn.Identity`` are left out.
    input_shape : tuple of int
        Shape of one image, ``(C, H, W)``.
    values : bool
        Whether the tensors must hold numbers that can be saved; a topology needs their shapes only.

    Returns
    -------
    graph : Graph
        Without sizes of tensors.
    tensors : dict of str to Tensor
        By name; a tensor that stands in several places once, under its first name.

    Raises
    ------
    CannotSave
        Naming the module or function, and what can be expressed.
    """
    if type(network) in BY_MODULE:
        network = nn.Sequential(network)  # so that it has a name: "0"
    was_training = {name: module.training for name, module in network.named_modules()}
    network.eval()
    try:
        tracer = _Tracer()
        traced = tracer.run(network)
        return _Converter(network, traced, input_shape, values).convert()
    finally:
        for name, module in network.named_modules():
            module.training = was_training[name]


class _Tracer(fx.Tracer):
    """Stops at every module of the closed list and remembers where it is, so that a failure can be named."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return _kind(module) in BY_MODULE or type(module) in DROPPED or super().is_leaf_module(module, name)

    def call_module(self, module: nn.Module, forward: Callable, args: Any, kwargs: Any) -> Any:
        self.path.append(f"{self.path_of_module(module)} ({type(module).__name__})")
        result = super().call_module(module, forward, args, kwargs)
        self.path.pop()  # not after an exception: the path then names the module that failed
        return result

    def run(self, network: nn.Module) -> fx.Graph:
        try:
            graph = self.trace(network)
        except Exception as error:  # whatever a stranger's forward raises when it is run on symbols
            place = self.path[-1] if self.path else type(network).__name__
            raise CannotSave(f"{place} can't be traced: {type(error).__name__}: {error}. Its forward must do the same "
                             f"for every input. {possible()}") from error
        for node in reversed(graph.nodes):
            if not node.users and node.op not in ("placeholder", "output"):
                graph.erase_node(node)
        return graph


def possible() -> str:
    """The closed list in words, for messages."""
    names = ", ".join(sorted(kind.__name__ for kind in (*BY_MODULE, *DROPPED)))
    return f"A .nut file can hold: {names}, and the functions that do the same."


class _Converter:
    """Turns the nodes of a trace into nodes of a graph, one by one."""

    def __init__(self, network: nn.Module, traced: fx.Graph, input_shape: Shape, checked: bool) -> None:
        self.network, self.traced, self.input_shape, self.checked = network, traced, input_shape, checked
        self.values: dict[fx.Node, Any] = {}
        self.nodes: list[Node] = []
        self.modules: dict[str, nn.Module] = {}
        self.names = {name for name, _ in network.named_modules()}
        self.stored: dict[str, Scale] = {}  # parameters outside of layers, by their paths
        self.constants: list[Scale] = []

    def convert(self) -> tuple[Graph, dict[str, Tensor]]:
        output: Any = None
        for node in self.traced.nodes:
            if node.op == "placeholder":
                self._input(node)
            elif node.op == "output":
                output = node.args[0]
            elif node.op == "call_module":
                self._module(node)
            elif node.op == "get_attr":
                self._stored(node)
            else:
                self._function(node)
        if not isinstance(output, fx.Node):
            raise CannotSave("The network returns something other than one tensor.")
        if not self.nodes:
            raise CannotSave("The network computes nothing: a .nut file needs at least one operation.")
        if self.values[output] != len(self.nodes):
            raise CannotSave("The network's last operation isn't what it returns.")
        return self._with_tensors()

    def _input(self, node: fx.Node) -> None:
        if self.values:
            raise CannotSave(f"forward takes more than one argument ({node.target}); a .nut file has one input.")
        self.values[node] = 0

    def _stored(self, node: fx.Node) -> None:
        """A parameter or buffer that stands outside of a layer: it may scale a value, and nothing else."""
        path = str(node.target)
        owner, _, name = path.rpartition(".")
        if path not in self.stored:
            try:
                self.stored[path] = scale_of(getattr(self.network.get_submodule(owner), name))
            except ValueError as error:
                raise CannotSave(f"{path} is used outside of a layer ({error}). {possible()}") from None
        self.values[node] = self.stored[path]

    def _module(self, node: fx.Node) -> None:
        path = str(node.target)
        module = self.network.get_submodule(path)
        if type(module) in DROPPED:
            self.values[node] = self._value(node.args[0], path)
        elif _kind(module) not in BY_MODULE:
            raise CannotSave(f"{path} is a {type(module).__name__}, which can't be expressed. {possible()}")
        else:
            self._append(node, path, module, list(node.args) + list(node.kwargs.values()))

    def _function(self, node: fx.Node) -> None:
        name = getattr(node.target, "__name__", str(node.target))
        handler = FUNCTIONS.get(node.target) or METHODS.get(name if node.op == "call_method" else "")
        where = f"{name}(…) in {self._owner(node)}"
        if handler is None:
            raise CannotSave(f"{where} can't be expressed. {possible()}")
        args = [self._argument(each) for each in node.args]
        kwargs = {key: self._argument(value) for key, value in node.kwargs.items()}
        try:
            result = handler(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise CannotSave(f"{where} can't be expressed with these arguments ({error}). {possible()}") from None
        if not isinstance(result, tuple):
            self.values[node] = result
        elif result[0] is None:  # nothing to compute
            self.values[node] = self._value(result[1][0], where)
        else:
            self._append(node, self._path(node, result[0]), *result)

    def _path(self, node: fx.Node, module: nn.Module) -> str:
        """Where a function's module stands: a stored number under its own path, the rest under the trace's name."""
        for path, scale in self.stored.items():
            if scale is module and _kind(self.network.get_submodule(path.rpartition(".")[0])) not in BY_MODULE:
                return path
        if isinstance(module, Scale):
            self.constants += [module] if module not in self.stored.values() else []
        return self._free(node.name)

    def _append(self, node: fx.Node, path: str, module: nn.Module, inputs: list[Any]) -> None:
        operation = BY_MODULE[_kind(module)]
        try:
            options = operation.options_of(module)
        except ValueError as error:
            raise CannotSave(f"{path} ({type(module).__name__}): {error}.") from None
        self.modules[path] = module
        values = tuple(self._value(value, path) for value in inputs)
        self.nodes.append(Node(path, operation.name, options, values))
        self.values[node] = len(self.nodes)

    def _value(self, what: Any, where: str) -> int:
        found = self.values.get(what) if isinstance(what, fx.Node) else None
        if type(found) is not int:
            raise CannotSave(f"{where} takes {what!r}, which isn't the output of a layer. "
                             f"Numbers can scale a value, and nothing else. {possible()}")
        return found

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node) and type(self.values.get(argument)) is not int:
            return self.values.get(argument)
        if isinstance(argument, tuple | list):
            return type(argument)(self._argument(each) for each in argument)
        return argument

    def _owner(self, node: fx.Node) -> str:
        path, kind = next(reversed((node.meta.get("nn_module_stack") or {}).values()), ("", type(self.network)))
        return f"{path} ({getattr(kind, '__name__', kind)})" if path else type(self.network).__name__

    def _free(self, name: str) -> str:
        while name in self.names or hasattr(nn.Module, name):
            name += "_"
        self.names.add(name)
        return name

    def _with_tensors(self) -> tuple[Graph, dict[str, Tensor]]:
        own = [tensor for tensor in self.network.state_dict().values() if tensor.is_floating_point()]
        for scale in self.constants:
            scale.to(own[0]) if own else scale.float()
        tensors: dict[str, Tensor] = {}
        shared: dict[str, str] = {}
        first: dict[int, str] = {}
        for path, module in self.modules.items():
            for local in BY_MODULE[_kind(module)].tensors:
                tensor = getattr(module, local)
                if tensor is None:
                    continue
                name = f"{path}.{local}"
                if self.checked:
                    _check_tensor(name, tensor)
                if id(tensor) in first:
                    shared[name] = first[id(tensor)]
                else:
                    first[id(tensor)] = name
                    tensors[name] = tensor
        dtype = _one_dtype(tensors)
        return Graph(tuple(self.input_shape), dtype, tuple(self.nodes), shared), tensors


def _kind(module: nn.Module) -> type:
    """The module's type, looking through ``torch.nn.utils.parametrize``, whose weight is an ordinary tensor to read."""
    return type(module).__bases__[0] if parametrize.is_parametrized(module) else type(module)


def _check_tensor(name: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise CannotSave(f"{name} is on the meta device: it has a shape and no numbers. Build the network on the CPU.")
    if dtype_name(tensor) not in FLOATS:
        raise CannotSave(f"{name} is {dtype_name(tensor)}; layers run in {', '.join(FLOATS)}.")
    if not torch.isfinite(tensor).all():
        raise CannotSave(f"{name} has values that are infinite or not a number (NaN).")


def _one_dtype(tensors: dict[str, Tensor]) -> str:
    names = {dtype_name(tensor): name for name, tensor in tensors.items()}
    if len(names) > 1:
        each = " and ".join(f"{name} is {dtype}" for dtype, name in names.items())
        raise CannotSave(f"{each}; a network needs one dtype throughout, such as network.float().")
    return next(iter(names), "float32")
