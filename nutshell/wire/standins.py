"""The judge's end of the wire: stand-ins for functions, classes, modules, iterators and objects of the other end.

A check uses them as it would use the things themselves. A module's stand-in is a real ``nn.Module``: its parameters live
here, its forward pass crosses, its backward pass is a remote vector-Jacobian product. What can't cross raises
:class:`CannotCross` and says what to do instead; it never passes in silence.
"""

import sys
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from nutshell.errors import NutshellError
from nutshell.expect import CheckFailed, LearnerRaised
from nutshell.wire import codec, toolkit
from nutshell.wire.channel import Channel
from nutshell.wire.codec import Limits, Malformed, NotPlain, Tagged, TooLarge, WireError
from nutshell.wire.harness import ROOT

_LIBRARIES = ("torch", "numpy", "nutshell.wire", "nutshell.expect")


class CannotCross(NutshellError):
    """The author's error: a check does what the wire can't carry. The message says what to do instead."""

    exit_code = 3


class OverBounds(NutshellError):
    """What the learner's end sent is over the bounds of a message, or no message at all: the verdict OUTPUT."""


class NotPlainData(CheckFailed):
    """A learner's object was used as a value; only plain data can be compared."""


class Missing(NutshellError, AttributeError):
    """The exercise isn't there: the verdict NOT DONE."""


class MissingAttribute(CheckFailed, AttributeError):
    """An object that the learner's code returned lacks an attribute."""


class inout:  # noqa: N801 - written in checks like a keyword
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


class Connection:
    """Requests and replies over one channel, and the stand-ins that are alive."""

    def __init__(self, channel: Channel, limits: Limits = codec.DEFAULT_LIMITS) -> None:
        self.channel, self.limits = channel, limits
        self.alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.dropped: list[int] = []

    def ask(self, verb: str, label: str, **fields: Any) -> dict:
        """One request; its reply as a dictionary, or the error that the other end reports."""
        return self.exchange(_Exchange(self), verb, label, fields)

    def exchange(self, exchange: "_Exchange", verb: str, label: str, fields: dict) -> dict:
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

    def call(self, target: "_Target", path: list[str], args: tuple, kwargs: dict) -> Any:
        """Call what the path leads to, with gradients where the arguments or the module's parameters ask for them."""
        marked = {key: item for key, item in [*enumerate(args), *kwargs.items()] if type(item) is inout}
        args = tuple(item.value if type(item) is inout else item for item in args)
        kwargs = {key: item.value if type(item) is inout else item for key, item in kwargs.items()}
        exchange = _Exchange(self, torch.is_grad_enabled())
        fields = dict(target=_Packed(target), path=path, args=args, kwargs=kwargs, grad=exchange.grad, inout=list(marked))
        reply = self.exchange(exchange, "call", ".".join([target.label, *path]), fields)
        if "missing" in reply:
            raise _missing(target, reply["missing"])
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

    def get(self, target: "_Target", path: list[str]) -> Any:
        reply = self.ask("get", ".".join([target.label, *path]), target=_Packed(target), path=path)
        if "missing" in reply:
            raise _missing(target, reply["missing"])
        return _field(reply, "value")

    def stand_in(self, handle: Any, kind: Any, name: Any, **description: Any) -> Any:
        """The stand-in of a handle: the one that lives, or a new one."""
        if type(handle) is not int or type(kind) is not str or type(name) is not str:
            raise Malformed("A handle's description is none.")
        found = self.alive.get(handle)
        if found is None:
            name = name[:80]
            if kind == "module":
                found = _module(self, handle, name, **description)
            else:
                found = _KINDS.get(kind, ObjectStandIn)(_Target(self, handle, f"{name}#{handle}", name))
            self.alive[handle] = found
            weakref.finalize(found, self.dropped_later, handle)
        return found

    def dropped_later(self, handle: int) -> None:
        self.dropped.append(handle)


class _Target:
    """An object of the other end that can be asked for: its connection, handle, name, and its module if it is one."""

    def __init__(self, connection: Connection, handle: int, label: str, name: str, module: "ModuleStandIn | None" = None) -> None:
        self.connection, self.handle, self.label, self.name = connection, handle, label, name
        self._module = weakref.ref(module) if module is not None else None

    @property
    def module(self) -> "ModuleStandIn | None":
        return self._module() if self._module is not None else None


class _Packed:
    """A target in the header of a request, so that it isn't mistaken for an argument."""

    def __init__(self, target: _Target) -> None:
        self.target = target


class _Exchange:
    """One request and its reply: which tensors need gradients, which modules take part, which outputs come back."""

    def __init__(self, connection: Connection, grad: bool = False) -> None:
        self.connection, self.grad = connection, grad
        self.leaves: dict[int, tuple[int, Tensor]] = {}
        self.modules: dict[int, ModuleStandIn] = {}
        self.parameters: dict[int, list[Tensor]] = {}
        self.outputs: dict[int, Tensor] = {}

    def pack(self, value: Any) -> Tagged | None:
        if type(value) is _Packed:
            target = value.target
            return self._module(target.module) if target.module is not None else _handle(target.handle)
        if type(value) is Tensor or type(value) is nn.Parameter:
            return self._leaf(value) if self.grad and value.requires_grad else None
        if codec.is_plain(value):
            return None
        if isinstance(value, StandIn | ModuleStandIn):
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
            raise CannotCross(f"{target.name} belongs to the other implementation: an object of the learner's can't be "
                              "given to the reference, nor one of the reference's to the learner. Send plain data, or a "
                              "network of the toolkit's: models.build(name, seed=…).")
        if isinstance(value, ModuleStandIn):
            if value._path:
                raise CannotCross("A child of a module can't be sent alone; send the module, or have the exercise return the child.")
            return self._module(value)
        return _handle(target.handle)

    def _module(self, module: "ModuleStandIn") -> Tagged:
        handle = module._target.handle
        if handle not in self.modules:
            self.modules[handle] = module
            self.parameters[handle] = []
        state, grads, modes = module._give_state(self.grad)
        self.parameters[handle] = [module._tensors[name] for name in grads or ()]
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
        gradients = _field(reply, "value")
        if type(gradients) is not list or len(gradients) != len(ctx.shapes):
            raise OverBounds("What came back is not a list of gradients.")
        for gradient, (shape, dtype) in zip(gradients, ctx.shapes, strict=True):
            if gradient is not None and (type(gradient) is not Tensor or gradient.shape != shape or gradient.dtype is not dtype):
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


def _asked_by_library(depth: int = 2) -> bool:
    """Whether torch, NumPy or the toolkit asks, rather than a check: they ask everything what it is."""
    name = sys._getframe(depth).f_globals.get("__name__") or ""
    return name.startswith(_LIBRARIES)


class StandIn:
    """A function, class, iterator or object of the other end. Using it as a value fails the check."""

    __slots__ = ("__weakref__", "_target")
    __hash__ = object.__hash__

    def __init__(self, target: _Target) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._target.connection.get(self._target, [name])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._target.connection.call(self._target, [], args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        raise CannotCross(f"An attribute of a stand-in can't be set ({self._target.name}.{name}); pass the value to the call.")

    def __delattr__(self, name: str) -> None:
        raise CannotCross(f"An attribute of a stand-in can't be deleted ({self._target.name}.{name}).")

    def __repr__(self) -> str:
        return f"<{self._target.name} of the implementation>"

    @property
    def __class__(self) -> type:  # type: ignore[override]
        if _asked_by_library():
            return type(self)
        raise NotPlainData("plain data", f"an object of class {self._target.name}", "The value is neither a number, a string, "
                           "a tensor, an array, a list, a tuple nor a dict.", "Return plain data, as the docstring says.")

    def __instancecheck__(self, instance: Any) -> bool:
        raise CannotCross(f"isinstance(…, {self._target.name}) can't be asked over the wire: test what it does, its outputs or its sizes.")

    def __subclasscheck__(self, subclass: Any) -> bool:
        raise CannotCross(f"issubclass(…, {self._target.name}) can't be asked over the wire: test what it does.")

    def __deepcopy__(self, memo: Any) -> Any:
        raise CannotCross(f"{self._target.name} can't be copied: call the exercise once more.")

    __copy__ = __deepcopy__

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CannotCross(f"{self._target.name} can't be pickled.")


def _not_a_value(self: Any, *_: Any) -> Any:
    raise NotPlainData("plain data", f"an object of class {self._target.name}", "It can't be compared, counted or calculated with.",
                       "Return plain data: a number, a tensor, an array, a list, a tuple or a dict.")


_AS_VALUE = ("eq ne lt le gt ge bool len iter next contains getitem setitem delitem int float complex index str bytes format round "
             "trunc floor ceil neg pos abs invert add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod "
             "rmod pow rpow and rand or ror xor rxor array enter exit await").split()
for _name in _AS_VALUE:
    setattr(StandIn, f"__{_name}__", _not_a_value)
StandIn.__hash__ = object.__hash__  # type: ignore[method-assign]


class FunctionStandIn(StandIn):
    """A function or method of the other end."""

    __slots__ = ()


class ClassStandIn(StandIn):
    """A class of the other end; calling it makes an object there."""

    __slots__ = ()


class ObjectStandIn(StandIn):
    """Any other object of the other end: its public attributes can be read and its methods called."""

    __slots__ = ()


class MethodStandIn(StandIn):
    """A method of a module: its call takes the module's state and gradients along."""

    __slots__ = ("_module", "_path")

    def __init__(self, module: "ModuleStandIn", path: list[str]) -> None:
        super().__init__(module._root._target)
        object.__setattr__(self, "_module", module._root)
        object.__setattr__(self, "_path", path)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._target.connection.call(self._target, self._path, args, kwargs)


class IteratorStandIn(StandIn):
    """A generator or iterator of the other end: one item crosses at a time."""

    __slots__ = ()

    def __iter__(self) -> "IteratorStandIn":
        return self

    def __next__(self) -> Any:
        target = self._target
        reply = target.connection.ask("next", target.label, target=_Packed(target))
        if reply.get("stop") is True:
            raise StopIteration
        return _field(reply, "value")

    def close(self) -> None:
        """End the generator there."""
        self._target.connection.dropped_later(self._target.handle)

    def send(self, value: Any) -> None:
        raise CannotCross("Nothing can be sent into a generator over the wire; pass it to the call.")

    throw = send


_KINDS: dict[str, type[StandIn]] = {"function": FunctionStandIn, "class": ClassStandIn, "iterator": IteratorStandIn}


def _no_hooks(self: Any, *_: Any, **__: Any) -> Any:
    raise CannotCross("A hook can't see inside a module of the other end: count its parameters, read its state_dict or compare outputs.")


def _no_surgery(self: Any, *_: Any, **__: Any) -> Any:
    raise CannotCross("A module of the other end can't be rebuilt in place: have the exercise return the new module.")


class ModuleStandIn(nn.Module):
    """A module of the other end: parameters and buffers live here, forward and backward passes cross."""

    def __init__(self, target: _Target, root: "ModuleStandIn | None" = None, path: str = "") -> None:
        super().__init__()
        put = object.__setattr__
        put(self, "_target", target)
        put(self, "_parent_root", root)  # kept alive by its children, since their attributes are asked of it
        put(self, "_path", path)
        put(self, "_sent", {})

    @property
    def _root(self) -> "ModuleStandIn":
        return self if self._parent_root is None else self._parent_root

    @property
    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.named_parameters()) | dict(self.named_buffers())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The other end's forward pass."""
        if self._path:
            raise CannotCross(f"A child's own call can't cross (“{self._path}”): call the module, or have the exercise return the child.")
        return self._target.connection.call(self._target, [], args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self.__dict__.get("_parameters", ()) or name in self.__dict__.get("_buffers", ()) \
                or name in self.__dict__.get("_modules", ()):
            return super().__getattr__(name)
        path = [*self._path.split("."), name] if self._path else [name]
        found = self._target.connection.get(self._target, path)
        return MethodStandIn(self, path) if type(found) is FunctionStandIn else found

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "training" or name.startswith("_") or (name in self._parameters and isinstance(value, nn.Parameter)) \
                or (name in self._buffers and isinstance(value, Tensor)):
            super().__setattr__(name, value)
        else:
            _no_surgery(self)

    def __getitem__(self, index: int | str) -> nn.Module:
        children = list(self._modules.values())
        found = self._modules.get(index) if isinstance(index, str) else children[index]
        if found is None:
            raise MissingAttribute(f"a child {index!r} of the module", f"{self._target.name} with {len(children)} children")
        return found

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotPlainData("numbers", f"a module ({self._target.name})", "", "Return what the docstring says.")

    def __repr__(self) -> str:
        return f"<module {self._target.name} of the implementation>"

    @property
    def __class__(self) -> type:  # type: ignore[override]
        if _asked_by_library():
            return type(self)
        raise CannotCross("isinstance of a module of the other end can't be asked: compare outputs, parameters or state_dict.")

    def _give_state(self, grad: bool) -> tuple[dict[str, Tensor], list[str] | None, dict[str, bool]]:
        """What the other end doesn't know yet: changed tensors, which parameters need gradients, changed modes."""
        current = self._tensors
        state = {name: value.detach() for name, value in current.items() if not _same(value, self._sent.get(name))}
        self._sent.update({name: value.clone() for name, value in state.items()})
        grads = [name for name, value in self.named_parameters() if value.requires_grad] if grad else None
        modes = {name: child.training for name, child in self.named_modules(remove_duplicate=False)}
        return state, grads, modes

    def _take_state(self, state: dict[str, Tensor]) -> None:
        current = self._tensors
        for name, value in state.items():
            own = current.get(name)
            if own is None or type(value) is not Tensor or value.shape != own.shape or value.dtype is not own.dtype:
                raise CheckFailed("a module whose parameters keep their shapes", f"another {name[:80]!r} after the call",
                                  "The module is rebuilt by its own call.", "Build its layers when it is made.")
            with torch.no_grad():
                own.copy_(value)
            self._sent[name] = value.clone()

    def __deepcopy__(self, memo: Any) -> Any:
        raise CannotCross("A module of the other end can't be copied: call the exercise once more, or keep its state_dict.")

    __copy__ = __deepcopy__

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CannotCross("A module of the other end can't be pickled.")


for _name in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_backward_hook",
              "register_full_backward_pre_hook", "register_state_dict_pre_hook", "register_load_state_dict_pre_hook",
              "register_load_state_dict_post_hook", "register_state_dict_post_hook"):
    setattr(ModuleStandIn, _name, _no_hooks)
for _name in ("register_parameter", "register_buffer", "add_module", "register_module", "set_submodule", "__delattr__",
              "__setitem__", "__delitem__", "append", "insert", "extend", "pop"):
    setattr(ModuleStandIn, _name, _no_surgery)


def _module(connection: Connection, handle: int, name: str, modules: Any, parameters: Any, buffers: Any) -> ModuleStandIn:
    """A module's stand-in, with a child for each of its modules."""
    root: ModuleStandIn | None = None
    tree: dict[str, ModuleStandIn] = {}
    for path, kind, training in modules:
        if type(path) is not str or type(kind) is not str or type(training) is not bool:
            raise Malformed("A module's description is none.")
        target = _Target(connection, handle, f"{name}#{handle}", kind[:80])
        child = ModuleStandIn(target, root, path)
        if root is None:
            root, child._target._module = child, weakref.ref(child)
        child.training = training
        tree[path] = child
        if path:
            parent, _, own = path.rpartition(".")
            tree[parent]._modules[own] = child
    assert root is not None
    for path, value, grad in parameters:
        parent, _, own = path.rpartition(".")
        if type(value) is str:  # tied to an earlier one
            first, _, name = value.rpartition(".")
            tree[parent]._parameters[own] = tree[first]._parameters[name]
        else:
            tree[parent]._parameters[own] = nn.Parameter(_tensor(value), requires_grad=grad)
            root._sent[path] = value.clone()
    for path, value, persistent in buffers:
        parent, _, own = path.rpartition(".")
        tree[parent]._buffers[own] = _tensor(value)
        root._sent[path] = value.clone()
        if not persistent:
            tree[parent]._non_persistent_buffers_set.add(own)
    return root


class Implementation:
    """An implementation behind a channel: its exercises are attributes.

    Parameters
    ----------
    channel : Channel
        Leads to a :class:`nutshell.wire.harness.Harness`, or replays one.
    limits : Limits
        Bounds of each message.

    Examples
    --------
    >>> from nutshell.wire.channel import Loopback
    >>> Implementation(Loopback({"double": lambda x: 2 * x})).double(21)
    42
    """

    def __init__(self, channel: Channel, limits: Limits = codec.DEFAULT_LIMITS) -> None:
        connection = Connection(channel, limits)
        self._target = _Target(connection, ROOT, "", "implementation")
        self._found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._found:
            found = self._target.connection.get(self._target, [name])
            if type(found) not in (FunctionStandIn, ClassStandIn):
                return found
            self._found[name] = found
        return self._found[name]


def _handle(handle: int) -> Tagged:
    return Tagged("root", None) if handle == ROOT else Tagged("handle", handle)


def _without_errors(reply: dict) -> dict:
    if "over" in reply:
        raise OverBounds(str(reply["over"])[:500])
    if "refused" in reply:
        raise NotPlainData("plain data", str(reply["refused"])[:500], "", "Return numbers, tensors, arrays, lists, tuples or dicts.")
    if "error" in reply:
        error = reply["error"]
        if type(error) is not dict:
            raise OverBounds("What came back is no error.")
        texts = [str(error.get(key, ""))[:4000] for key in ("kind", "message", "traceback")]
        raise LearnerRaised(*texts, not_done=error.get("stub") is True)
    return reply


def _missing(target: _Target, name: Any) -> Exception:
    if target.handle == ROOT:
        return Missing(f"{name} is not there.")
    return MissingAttribute(f"an attribute {name!r}", f"an object of class {target.name} without it", "",
                            "Name the attributes as the docstring says.")


def _field(reply: dict, name: str) -> Any:
    if name not in reply:
        raise OverBounds("What came back is not a reply.")
    return reply[name]


def _tensor(value: Any) -> Tensor:
    if type(value) is not Tensor:
        raise Malformed("A tensor is none.")
    return value


def _same(value: Tensor, known: Tensor | None) -> bool:
    return known is not None and value.dtype is known.dtype and value.shape == known.shape \
        and (value.is_meta or torch.equal(value.detach(), known))


def _advice(value: Any) -> str:
    """What to do instead of sending this value."""
    name = type(value).__name__
    if isinstance(value, nn.Module):
        return (f"A {name} can't cross: build the network from the toolkit, models.build(\"mlp\", sizes=…, seed=…), or from plain "
                "layers of torch.nn without hooks or tied weights; it crosses as a specification and a state.")
    if isinstance(value, torch.optim.Optimizer):
        return f"An optimiser can't cross ({name}): give a factory, functools.partial(torch.optim.SGD, lr=0.1)."
    if isinstance(value, torch.Generator) or name in ("Generator", "RandomState"):
        return f"A random {name} can't cross: give a seed, an int."
    if isinstance(value, Tensor) or name == "ndarray" or type(value).__mro__[1:2] and issubclass(type(value), (dict, list, tuple, str, int, float)):
        return f"{name} is a subclass, and only exact types cross: convert it to plain data first."
    if hasattr(value, "__next__") or isinstance(value, torch.utils.data.DataLoader):
        return f"A loader or iterator can't cross ({name}): send a list of batches."
    if callable(value):
        return (f"{getattr(value, '__name__', name)} can't cross: there are no calls back. Losses, activations and optimisers of torch "
                "cross by name, and functools.partial of them; see nutshell.wire.toolkit.NAMED.")
    return f"A {name} can't cross: send plain data."
