"""Watches every operation of torch while a network runs, and knows which module it belongs to."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nutshell.errors import Refused
from nutshell.meter import signs
from nutshell.meter.report import Execution, Operation
from nutshell.meter.rules import Call, name_of, rule_of
from nutshell.meter.stored import place_of

_WIDTHS = {torch.complex64: "float32", torch.complex128: "float64", torch.complex32: "float16"}


class Uncounted(Refused):
    """The network ran an operation that the meter has no rule for."""


class Recorder(TorchDispatchMode):
    """Records what each operation costs and which module ran it; a context manager.

    Parameters
    ----------
    network : torch.nn.Module
        Its modules are followed by hooks as long as the context lasts. Modules that are not registered in it are taken
        for part of the module that calls them.
    stand_ins : mapping of int to Tensor
        The network's tensors, by the ``id`` of what they stand for.
    originals : mapping of int to Tensor
        The network's tensors with their values, by their ``id``.
    strict : bool
        Raise :class:`Uncounted` at an operation without a rule; otherwise note it in ``uncounted``.
    """

    def __init__(
        self, network: nn.Module, stand_ins: Mapping[int, Tensor], originals: Mapping[int, Tensor], strict: bool = True
    ) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.executions: list[Execution] = []
        self.order: list[str] = []
        self.uncounted: list[str] = []
        self._strict = strict
        self._stack: list[str] = []
        self._handles: list[Any] = []
        self._paths = {module: path for path, module in network.named_modules()}
        self._stand_ins = stand_ins
        # Stored tensors by their memory; kept alive, so that no later tensor can take the same place.
        self._stored: dict[int, Tensor] = {place_of(tensor): tensor for tensor in stand_ins.values()}
        self._originals = {place_of(tensor): originals[id_] for id_, tensor in stand_ins.items() if id_ in originals}
        self._multiplied: set[int] = set()
        self._signs: dict[int, Tensor] = {}  # values of ±1 by their memory; kept alive too

    def multiplied(self) -> set[int]:
        """``id`` of the network's tensors that were operands of multiply-accumulates."""
        return {id_ for id_, tensor in self._stand_ins.items() if place_of(tensor) in self._multiplied}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import the whole compiler, two seconds, to keep it from compiling us

    def __enter__(self) -> "Recorder":
        for module in self._paths:
            self._handles.append(module.register_forward_pre_hook(self._enter_module, prepend=True))
            self._handles.append(module.register_forward_hook(self._leave_module))
        return super().__enter__()

    def __exit__(self, *problem: Any) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*problem)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        rule = rule_of(func)
        if rule is None:  # a composite that reached us whole, as all do in inference mode
            with _again(self):
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if self._signs and func._schema.is_mutable:
            for changed in pytree.tree_leaves(args):
                if isinstance(changed, Tensor):
                    self._signs.pop(place_of(changed), None)
        call = Call(name_of(func), _named(func, args, kwargs), out, self._is_stored)
        if rule is None:
            self._complain(call.name)
        else:
            self._note(call, list(rule(call)))
        return out

    def _note(self, call: Call, costs: list[Any]) -> None:
        operands = [leaf for leaf in pytree.tree_leaves(call.values()) if isinstance(leaf, Tensor)]
        live = [tensor for tensor in operands if not self._is_stored(tensor)]
        made_of_stored = bool(operands) and not live
        if made_of_stored:
            for tensor in pytree.tree_leaves(call.out):
                if isinstance(tensor, Tensor):
                    self._stored.setdefault(place_of(tensor), tensor)
        if any(cost.macs for cost in costs):
            self._multiplied.update(place_of(tensor) for tensor in operands)
            weight = self._weight_of_signs(call.name, operands)
            if weight is not None:
                costs = signs.on_bits(call, costs, weight)
        if costs:
            self.order.append(self._layer)
        read = 0 if not costs else sum(self._elements(tensor) for tensor in live)
        for cost in costs:
            written = call.output.numel() if cost.written is None else cost.written
            self.operations.append(
                Operation(
                    self._layer, call.name, cost.kind, cost.macs, cost.bias_adds, cost.elementwise, cost.binary,
                    read, 0 if made_of_stored else written, _widest(operands), tuple(call.output.shape),
                )
            )
            read = 0  # the operands are read once, whatever is done with them

    def _weight_of_signs(self, name: str, operands: list[Tensor]) -> Tensor | None:
        """The stored weights ±α of a product whose other operand is signs, or ``None`` if it isn't one."""
        live = [tensor for tensor in operands if not self._is_stored(tensor)]
        if len(live) != 1 or place_of(live[0]) not in self._signs:
            return None
        weight = max((tensor for tensor in operands if self._is_stored(tensor)), key=Tensor.dim, default=None)
        if weight is not None and weight.is_meta and place_of(weight) in self._originals:
            whole = self._originals[place_of(weight)].detach()
            start = whole.storage_offset() + weight.storage_offset()
            weight = whole.as_strided(weight.size(), weight.stride(), start)
        return weight if weight is not None and signs.is_scaled_signs(name, weight) else None

    def _complain(self, name: str) -> None:
        where = self._layer or "the network's own forward"
        if self._strict:
            raise Uncounted(
                f"The meter has no rule for {name}, which ran in {where}: its cost would be missing from the total. "
                'count(..., unknown="list") counts the rest and names it in report.uncounted.'
            )
        self.uncounted.append(f"{name} in {where}")

    @property
    def _layer(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        self._stack.append(self._paths[module])
        if not any(True for _ in module.children()):
            self.order.append(self._paths[module])

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        first = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
        shape = () if first is None else tuple(first.shape)
        if first is not None and getattr(module, "puts_out_signs", False):
            self._signs[place_of(first)] = first
        leaf = not any(True for _ in module.children())
        self.executions.append(Execution(self._stack.pop(), type(module).__name__, leaf, shape))

    def _elements(self, tensor: Tensor) -> int:
        """Elements that are read: signs are taken to be packed."""
        return -(-tensor.numel() // signs.PACKED) if place_of(tensor) in self._signs else tensor.numel()

    def _is_stored(self, tensor: Tensor) -> bool:
        return place_of(tensor) in self._stored


class _again:
    """Puts a mode back on while one of its own handlers runs, without entering and leaving modules anew."""

    def __init__(self, mode: TorchDispatchMode) -> None:
        self._mode = mode

    def __enter__(self) -> None:
        TorchDispatchMode.__enter__(self._mode)

    def __exit__(self, *problem: Any) -> None:
        TorchDispatchMode.__exit__(self._mode, *problem)


def _named(func: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    named = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            named[argument.name] = args[position]
        else:
            named[argument.name] = kwargs.get(argument.name, argument.default_value)
    return named


def _widest(operands: list[Tensor]) -> str:
    dtypes = {tensor.dtype for tensor in operands if tensor.dim() > 0} or {tensor.dtype for tensor in operands}
    if not dtypes:
        return "float32"
    floating = [dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]
    widest = max(floating or dtypes, key=lambda dtype: dtype.itemsize)
    return _WIDTHS.get(widest, str(widest).removeprefix("torch."))
