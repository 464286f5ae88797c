"""Requests and replies over one channel: what is sent along, what comes back, and the gradients of a call."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nutshell.expect import CheckFailed, LearnerRaised
from nutshell.wire import codec, toolkit
from nutshell.wire.channel import Channel
from nutshell.wire.codec import Limits, Malformed, NotPlain, Tagged, TooLarge, WireError
from nutshell.wire.errors import CannotCross, Missing, MissingAttribute, NotPlainData, OverBounds
from nutshell.wire.harness import ROOT


class inout:
    """Mark an argument whose contents the learner's code is to change: ``learner.step_(inout(weights))``.

    Parameters
    ----------
    value : ndarray, Tensor, list or dict
        After the call it holds what the learner's code left in it; shape and dtype stay.
    """

    def __init__(self, value: Any) -> None:
        if not isinstance(value, torch.Tensor | list | dict) and type(value).__name__ != "ndarray":
            raise CannotCross(f"inout takes an array, a tensor, a list or a dict, not {type(value).__name__}.")
        self.value = value

    def take(self, contents: Any) -> None:
        """Copy the contents that came back into the argument."""
        value = self.value
        if isinstance(value, list) and type(contents) is list:
            value[:] = contents
        elif isinstance(value, dict) and type(contents) is dict:
            value.clear()
            value.update(contents)
        elif isinstance(value, torch.Tensor) and isinstance(contents, torch.Tensor) and value.shape == contents.shape:
            value.data.copy_(contents)
        elif not isinstance(value, list | dict | torch.Tensor) and getattr(contents, "shape", None) == value.shape:
            value[...] = contents
        else:
            raise CheckFailed("an argument changed in place", "an argument of another type or shape")


class FarObject:
    """What all stand-ins have in common."""

    __slots__ = ()
    _target: "Target"


class Connection:
    """Requests and replies over one channel, and the stand-ins that are alive."""

    def __init__(self, channel: Channel, make: Callable[..., Any], limits: Limits = codec.DEFAULT_LIMITS) -> None:
        self.channel, self.make, self.limits = channel, make, limits
        self.alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.dropped: list[int] = []

    def ask(self, verb: str, label: str, **fields: Any) -> dict:
        """One request; its reply as a dictionary, or the error that the other end reports."""
        return self.exchange(Exchange(self), verb, label, fields)

    def exchange(self, exchange: "Exchange", verb: str, label: str, fields: dict) -> dict:
        if self.dropped:
            gone, self.dropped = self.dropped, []
            self.channel.request("drop", codec.encode({"verb": "drop", "handles": gone}))
        try:
            message = codec.encode({"verb": verb, **fields}, pack=exchange.pack, limits=self.limits)
        except (TooLarge, NotPlain) as error:
            raise CannotCross(f"An argument can't cross: {error}") from None
        answer = self.channel.request(f"{verb} {label}", message)
        try:
            reply = codec.decode(answer, unpack=exchange.unpack, limits=self.limits)
            if type(reply) is not dict:
                raise Malformed("A reply is no dictionary.")
        except WireError as error:
            raise OverBounds(f"What came back can't be read: {error}") from None
        return _without_errors(reply)

    def call(self, target: "Target", path: list[str], args: tuple, kwargs: dict) -> Any:
        """Call what the path leads to, with gradients where the arguments or the module's parameters ask for them."""
        marked = {key: item for key, item in [*enumerate(args), *kwargs.items()] if type(item) is inout}
        args = tuple(item.value if type(item) is inout else item for item in args)
        kwargs = {key: item.value if type(item) is inout else item for key, item in kwargs.items()}
        exchange = Exchange(self, torch.is_grad_enabled())
        fields = dict(
            target=Packed(target), path=path, args=args, kwargs=kwargs, grad=exchange.grad, inout=list(marked)
        )
        reply = self.exchange(exchange, "call", ".".join([target.label, *path]), fields)
        if "missing" in reply:
            raise missing(target, reply["missing"])
        try:
            contents, states, tape = reply["inout"], reply["states"], reply["tape"]
            for item, content in zip(marked.values(), contents, strict=True):
                item.take(content)
            for handle, state in states:
                exchange.modules[handle]._take_state(state)
            value = reply["value"]
            if tape is not None:
                value = exchange.connect(value, tape)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise OverBounds(f"What came back is not a reply: {type(error).__name__}") from None
        return value

    def get(self, target: "Target", path: list[str]) -> Any:
        reply = self.ask("get", ".".join([target.label, *path]), target=Packed(target), path=path)
        if "missing" in reply:
            raise missing(target, reply["missing"])
        return field(reply, "value")

    def stand_in(self, handle: Any, kind: Any, name: Any, **description: Any) -> Any:
        """The stand-in of a handle: the one that lives, or a new one."""
        if type(handle) is not int or type(kind) is not str or type(name) is not str:
            raise Malformed("A handle's description is none.")
        found = self.alive.get(handle)
        if found is None:
            found = self.alive[handle] = self.make(self, handle, kind, name[:80], **description)
            weakref.finalize(found, self.dropped_later, handle)
        return found

    def dropped_later(self, handle: int) -> None:
        self.dropped.append(handle)


class Target:
    """An object of the other end that can be asked for.

    Attributes
    ----------
    handle : int
        Its number there.
    label, name : str
        For recordings, and for people.
    kind : str
        ``"function"``, ``"class"``, ``"iterator"``, ``"module"`` or ``"object"``.
    path : list of str
        From the object to what a call calls: empty, or a method.
    """

    def __init__(self, connection: Connection, handle: int, label: str, name: str, kind: str) -> None:
        self.connection, self.handle, self.label, self.name, self.kind = connection, handle, label, name, kind
        self.path: list[str] = []
        self.find_module: Callable[[], Any] = lambda: None

    def method_of(self, module: Any, path: list[str]) -> "Target":
        """The same as a method of a module, whose state and gradients its calls take along."""
        own = module._target
        target = Target(self.connection, own.handle, own.label, self.name, self.kind)
        target.path, target.find_module = path, lambda: module  # keeps the module alive
        return target


class Packed:
    """A target in the header of a request, so that it isn't mistaken for an argument."""

    def __init__(self, target: Target) -> None:
        self.target = target


class Exchange:
    """One request and its reply: which tensors need gradients, which modules take part, which outputs come back."""

    def __init__(self, connection: Connection, grad: bool = False) -> None:
        self.connection, self.grad = connection, grad
        self.leaves: dict[int, tuple[int, Tensor]] = {}
        self.modules: dict[int, Any] = {}
        self.parameters: dict[int, list[Tensor]] = {}
        self.outputs: dict[int, Tensor] = {}

    def pack(self, value: Any) -> Tagged | None:
        if type(value) is Packed:
            target = value.target
            module = target.find_module()
            return _handle(target.handle) if module is None else self._module(module)
        if type(value) is Tensor or type(value) is nn.Parameter:
            return self._leaf(value) if self.grad and value.requires_grad else None
        if codec.is_plain(value):
            return None
        if isinstance(value, FarObject):
            return self._stand_in(value)
        tagged = toolkit.pack(value)
        if tagged is None:
            raise CannotCross(_advice(value))
        return tagged

    def _leaf(self, value: Tensor) -> Tagged:
        number, _ = self.leaves.setdefault(id(value), (len(self.leaves), value))
        return Tagged("leaf", (number, value.detach()))

    def _stand_in(self, value: Any) -> Tagged:
        target = object.__getattribute__(value, "_target")
        if target.connection is not self.connection:
            raise CannotCross(
                f"{target.name} belongs to the other implementation: an object of the learner's can't be "
                "given to the reference, nor one of the reference's to the learner. Send plain data, or a "
                "network of the toolkit's: models.build(name, seed=…)."
            )
        if isinstance(value, nn.Module):
            if value._path:
                raise CannotCross(
                    "A child of a module can't be sent alone; send the module, or have the exercise return the child."
                )
            return self._module(value)
        return _handle(target.handle)

    def _module(self, module: Any) -> Tagged:
        handle = module._target.handle
        if handle not in self.modules:
            self.modules[handle] = module
            self.parameters[handle] = []
        state, grads, modes = module._give_state(self.grad)
        current = module._tensors  # once: making it takes as long as the module is large
        self.parameters[handle] = [current[name] for name in grads or ()]
        return Tagged("module", dict(handle=handle, state=state, grads=grads, modes=modes))

    def unpack(self, tag: str, payload: Any) -> Any:
        try:
            if tag == "handle":
                return self.connection.stand_in(**payload)
            if tag == "differentiable":
                return payload
            if tag == "output":
                number, value = payload
                if type(number) is int and type(value) is Tensor and number not in self.outputs and self.grad:
                    self.outputs[number] = value
                    return value
        except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
            raise Malformed(f"A reply holds what is none: {type(error).__name__}") from None
        raise Malformed(f"Nothing is known of {tag[:40]!r}.")

    def connect(self, value: Any, tape: int) -> Any:
        """The value with its differentiable tensors made outputs of the remote vector-Jacobian product."""
        inputs = [leaf for _, leaf in self.leaves.values()]
        inputs += [parameter for parameters in self.parameters.values() for parameter in parameters]
        call = _Call(self.connection, tape, [self.outputs[number] for number in range(len(self.outputs))])
        weakref.finalize(call, self.connection.dropped_later, tape)
        if not call.outputs:
            return value
        old, call.outputs = call.outputs, []
        return _swapped(value, {id(a): b for a, b in zip(old, _Remote.apply(call, old, *inputs), strict=True)})


class _Call:
    """What the backward pass needs to ask for: it lives as long as the graph."""

    def __init__(self, connection: Connection, tape: int, outputs: list[Tensor]) -> None:
        self.connection, self.tape, self.outputs = connection, tape, outputs


class _Remote(torch.autograd.Function):
    """The learner's call as one node of the judge's graph."""

    @staticmethod
    def forward(ctx: Any, call: _Call, outputs: list[Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.shapes = [(tensor.shape, tensor.dtype) for tensor in inputs]
        ctx.set_materialize_grads(False)
        return tuple(output.clone() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise CannotCross("A second derivative can't cross: have the exercise return the gradient.")
        call = ctx.call
        reply = call.connection.ask("vjp", "gradient", tape=call.tape, cotangents=list(cotangents))
        gradients = field(reply, "value")
        if type(gradients) is not list or len(gradients) != len(ctx.shapes):
            raise OverBounds("What came back is not a list of gradients.")
        for gradient, (shape, dtype) in zip(gradients, ctx.shapes, strict=True):
            if gradient is not None and (
                type(gradient) is not Tensor or gradient.shape != shape or gradient.dtype is not dtype
            ):
                raise OverBounds("What came back is not the gradient of its input.")
        return (None, None, *gradients)


def _swapped(value: Any, new: dict[int, Tensor]) -> Any:
    if id(value) in new:
        return new[id(value)]
    if type(value) is list:
        return [_swapped(item, new) for item in value]
    if type(value) is tuple:
        return tuple(_swapped(item, new) for item in value)
    if type(value) is dict:
        return {key: _swapped(item, new) for key, item in value.items()}
    return value


def _handle(handle: int) -> Tagged:
    return Tagged("root", None) if handle == ROOT else Tagged("handle", handle)


def _without_errors(reply: dict) -> dict:
    if "over" in reply:
        raise OverBounds(str(reply["over"])[:500])
    if "refused" in reply:
        raise NotPlainData(
            "plain data", str(reply["refused"])[:500], "", "Return numbers, tensors, arrays, lists, tuples or dicts."
        )
    if "error" in reply:
        error = reply["error"]
        if type(error) is not dict:
            raise OverBounds("What came back is no error.")
        texts = [str(error.get(key, ""))[:4000] for key in ("kind", "message", "traceback")]
        raise LearnerRaised(*texts, not_done=error.get("stub") is True)
    return reply


def missing(target: Target, name: Any) -> Exception:
    if target.handle == ROOT:
        return Missing(f"{name} is not there.")
    return MissingAttribute(
        f"an attribute {name!r}",
        f"an object of class {target.name} without it",
        "",
        "Name the attributes as the docstring says.",
    )


def field(reply: dict, name: str) -> Any:
    if name not in reply:
        raise OverBounds("What came back is not a reply.")
    return reply[name]


_PLAIN_BASES = (Tensor, np.ndarray, dict, list, tuple, str, bytes, int, float, complex)


def _advice(value: Any) -> str:
    """What to do instead of sending this value."""
    name = type(value).__name__
    if isinstance(value, nn.Module):
        return (
            f'A {name} can\'t cross: build the network from the toolkit, models.build("mlp", sizes=…, seed=…), or from '
            "plain layers of torch.nn without hooks or tied weights; it crosses as a specification and a state."
        )
    if isinstance(value, torch.optim.Optimizer):
        return f"An optimiser can't cross ({name}): give a factory, functools.partial(torch.optim.SGD, lr=0.1)."
    if isinstance(value, torch.Generator) or name in ("Generator", "RandomState"):
        return f"A random {name} can't cross: give a seed, an int."
    if isinstance(value, _PLAIN_BASES):
        return f"{name} is a subclass, and only exact types cross: convert it to plain data first."
    if hasattr(value, "__next__") or isinstance(value, torch.utils.data.DataLoader):
        return f"A loader or iterator can't cross ({name}): send a list of batches."
    if callable(value):
        return (
            f"{getattr(value, '__name__', name)} can't cross: there are no calls back. Losses, activations and "
            "optimisers of torch cross by name, and functools.partial of them; see nutshell.wire.toolkit.NAMED."
        )
    return f"A {name} can't cross: send plain data."
