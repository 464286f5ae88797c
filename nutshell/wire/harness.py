"""The learner's end of the wire: runs cells, looks up names, calls, and answers with plain data or handles.

It knows neither checks nor reference. Six verbs, each a method: ``run``, ``get``, ``call``, ``vjp``, ``next`` and
``drop``.
Objects that are not plain data stay here; the other end gets a handle and a description.
"""

import inspect
import linecache
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nutshell.wire import codec, toolkit
from nutshell.wire.blame import describe
from nutshell.wire.codec import Limits, Malformed, NotPlain, Tagged, TooLarge
from nutshell.wire.state import State, describe_module, tensors

ROOT = 0  # the handle of the namespace itself


class Harness:
    """Answers requests on one namespace.

    Parameters
    ----------
    namespace : dict or module
        Where names are looked up and cells are run.
    shell : IPython.core.interactiveshell.InteractiveShell, optional
        Runs the cells, so that magics work; without it they are plain Python.
    limits : Limits
        Bounds of each message, both ways.
    """

    def __init__(
        self, namespace: dict[str, Any] | types.ModuleType, *, shell: Any = None, limits: Limits = codec.DEFAULT_LIMITS
    ) -> None:
        self.namespace = vars(namespace) if isinstance(namespace, types.ModuleType) else namespace
        self.shell, self.limits = shell, limits
        self.held: dict[int, Any] = {}
        self.known: dict[int, State] = {}
        self.handle_of: dict[int, int] = {}
        self.last = ROOT

    def answer(self, message: bytes) -> bytes:
        """One request's reply, whatever the learner's code does; only KeyboardInterrupt passes."""
        exchange = _Exchange(self)
        try:
            request = codec.decode(message, unpack=exchange.unpack, limits=self.limits)
            verb = request.pop("verb")
            reply = getattr(exchange, f"verb_{verb}")(**request)
            return codec.encode(reply, pack=exchange.pack, limits=self.limits)
        except KeyboardInterrupt:
            raise
        except TooLarge as error:
            return codec.encode({"over": str(error)})
        except NotPlain as error:
            return codec.encode({"refused": str(error)})
        except BaseException as error:  # SystemExit from a learner's function is an answer like any other
            return codec.encode({"error": describe(error)})

    def hold(self, item: Any) -> int:
        """The handle of an object, a new one if it has none."""
        handle = self.handle_of.get(id(item))
        if handle is None:
            self.last += 1
            handle = self.handle_of[id(item)] = self.last
            self.held[handle] = item
        return handle

    def find(self, handle: int) -> Any:
        if handle not in self.held:
            raise Malformed(f"There is no handle {handle}.")
        return self.held[handle]

    def forget(self, handle: int) -> None:
        item = self.held.pop(handle, None)
        self.known.pop(handle, None)
        self.handle_of.pop(id(item), None)
        if isinstance(item, types.GeneratorType):
            item.close()


@dataclass
class Tape:
    """What a vector-Jacobian product needs: the outputs, and the inputs and parameters they depend on."""

    outputs: list[Tensor]
    inputs: list[Tensor]


@dataclass
class _Exchange:
    """One request and its reply: the leaves that came in, the modules that were touched, the outputs that go back."""

    harness: Harness
    leaves: dict[int, Tensor] = field(default_factory=dict)
    modules: dict[int, list[str]] = field(default_factory=dict)  # handle -> parameters that require gradients
    outputs: list[Tensor] | None = None

    def verb_run(self, cells: list[str]) -> dict:
        return {"value": [self._run_cell(number, cell) for number, cell in enumerate(cells, start=1)]}

    def verb_get(self, target: Any, path: list[str]) -> dict:
        missing = self._missing(target, path)
        return {"missing": missing} if missing else {"value": self._walk(target, path)}

    def verb_call(self, target: Any, path: list[str], args: tuple, kwargs: dict, grad: bool, inout: list) -> dict:
        missing = self._missing(target, path)
        if missing:
            return {"missing": missing}
        with torch.enable_grad():
            value = self._walk(target, path)(*args, **kwargs)
        contents = [args[key] if isinstance(key, int) else kwargs[key] for key in inout]
        inputs = [self.leaves[key] for key in sorted(self.leaves)]
        inputs += [parameter for handle, names in self.modules.items() for parameter in self._parameters(handle, names)]
        if grad and inputs:
            self.outputs = []
        # Encoding the value finds the differentiable outputs, so the tape is filled while the reply is written.
        tape = self.harness.hold(Tape(self.outputs, inputs)) if self.outputs is not None else None
        states = [(handle, self.harness.known[handle].changes(self.harness.find(handle))) for handle in self.modules]
        return {"value": _Differentiable(value) if tape else value, "tape": tape, "inout": contents, "states": states}

    def verb_vjp(self, tape: int, cotangents: list) -> dict:
        held = self.harness.find(tape)
        pairs = [
            (output, cotangent)
            for output, cotangent in zip(held.outputs, cotangents, strict=True)
            if cotangent is not None
        ]
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                [output for output, _ in pairs],
                held.inputs,
                [c for _, c in pairs],
                allow_unused=True,
                retain_graph=True,
            )
        return {"value": list(gradients)}

    def verb_next(self, target: Any) -> dict:
        try:
            return {"value": next(target)}
        except StopIteration:
            return {"stop": True}

    def verb_drop(self, handles: list[int]) -> dict:
        for handle in handles:
            self.harness.forget(handle)
        return {"value": None}

    def unpack(self, tag: str, payload: Any) -> Any:
        if tag == "root":
            return self.harness.namespace
        if tag == "handle":
            return self.harness.find(payload)
        if tag == "module":
            return self._touched(**payload)
        if tag == "leaf":
            number, value = payload
            return self.leaves.setdefault(number, value.requires_grad_())
        return toolkit.unpack(tag, payload)

    def pack(self, value: Any) -> Tagged | None:
        if type(value) is _Differentiable:
            return Tagged("differentiable", self._marked(value.value))
        if type(value) is _Output:
            return Tagged("output", (value.number, value.value.detach()))
        if codec.is_plain(value):
            return None
        handle = self.harness.hold(value)
        return Tagged("handle", {"handle": handle, **self._description(handle, value)})

    def _marked(self, value: Any) -> Any:
        """The value with each tensor that has a gradient replaced by its number on the tape."""
        if type(value) is Tensor and value.requires_grad:
            assert self.outputs is not None
            self.outputs.append(value)
            return _Output(len(self.outputs) - 1, value)
        if type(value) is list:
            return [self._marked(item) for item in value]
        if type(value) in codec.TUPLES:
            return tuple(self._marked(item) for item in tuple(value))
        if type(value) in codec.DICTS:
            return {key: self._marked(item) for key, item in value.items()}
        return value

    def _description(self, handle: int, value: Any) -> dict:
        name = getattr(value, "__name__", None)
        description = {"kind": _kind(value), "name": name if type(name) is str else type(value).__name__}
        if isinstance(value, nn.Module):
            description |= describe_module(value)
            if handle not in self.harness.known:
                self.harness.known[handle] = State(value)
        return description

    def _touched(
        self, handle: int, state: dict[str, Tensor], grads: list[str] | None, modes: dict[str, bool]
    ) -> nn.Module:
        module = self.harness.find(handle)
        current = tensors(module)
        with torch.no_grad():
            for name, value in state.items():
                if current[name].dtype is value.dtype and current[name].shape == value.shape:
                    current[name].copy_(value)  # in place, so that a gradient taken across a step is an error here too
                else:
                    current[name].data = value
        self.harness.known[handle].know(state)
        children = dict(module.named_modules(remove_duplicate=False))
        for name, training in modes.items():
            children[name].training = training
        for name, parameter in module.named_parameters() if grads is not None else ():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(name in (grads or ()))
        self.modules[handle] = grads or []
        return module

    def _parameters(self, handle: int, names: list[str]) -> list[Tensor]:
        current = tensors(self.harness.find(handle))
        return [current[name] for name in names]

    def _walk(self, target: Any, path: list[str]) -> Any:
        for name in path:
            target = target[name] if target is self.harness.namespace else getattr(target, name)
        return target

    def _missing(self, target: Any, path: list[str]) -> str | None:
        if target is self.harness.namespace:
            if path and path[0] not in target:
                return path[0]
            return None
        for name in path:
            if inspect.getattr_static(target, name, _NOTHING) is _NOTHING and not hasattr(target, name):
                return name
            target = getattr(target, name)
        return None

    def _run_cell(self, number: int, cell: str) -> dict | None:
        if self.shell is not None:
            result = self.shell.run_cell(cell, store_history=False)
            error = result.error_before_exec or result.error_in_exec
            return describe(error) if error is not None else None
        filename = f"<cell {number}>"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
        try:
            exec(compile(cell, filename, "exec"), self.harness.namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return describe(error)
        return None

    @property
    def shell(self) -> Any:
        return self.harness.shell


@dataclass
class _Differentiable:
    value: Any


@dataclass
class _Output:
    number: int
    value: Tensor


_NOTHING = object()


def _kind(value: Any) -> str:
    if isinstance(value, nn.Module):
        return "module"
    if isinstance(value, type):
        return "class"
    if isinstance(value, Iterator) and not isinstance(value, nn.Module):
        return "iterator"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | types.MethodWrapperType):
        return "function"
    return "object"
