"""The judge's end of the wire: stand-ins for functions, classes, modules, iterators and objects of the other end.

A check uses them as it would use the things themselves. A module's stand-in is a real ``nn.Module``: its parameters
live here, its forward pass crosses, its backward pass is a remote vector-Jacobian product. What can't cross raises
:class:`CannotCross` and says what to do instead; it never passes in silence.
"""

from typing import Any

from nutshell.wire import codec
from nutshell.wire.channel import Channel
from nutshell.wire.codec import Limits
from nutshell.wire.connection import Connection, FarObject, Packed, Target, field, inout
from nutshell.wire.errors import CannotCross, Missing, MissingAttribute, NotPlainData, OverBounds
from nutshell.wire.harness import ROOT
from nutshell.wire.modules import ModuleStandIn, asked_by_library, make_module

__all__ = [
    "CannotCross",
    "Implementation",
    "Missing",
    "MissingAttribute",
    "ModuleStandIn",
    "NotPlainData",
    "OverBounds",
    "StandIn",
    "inout",
]


class StandIn(FarObject):
    """A function, class, iterator or object of the other end. Using it as a value fails the check."""

    __slots__ = ("__weakref__", "_target")
    __hash__ = object.__hash__

    def __init__(self, target: Target) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._target.connection.get(self._target, [name])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._target.connection.call(self._target, self._target.path, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        raise CannotCross(
            f"An attribute of a stand-in can't be set ({self._target.name}.{name}); pass the value to the call."
        )

    def __delattr__(self, name: str) -> None:
        raise CannotCross(f"An attribute of a stand-in can't be deleted ({self._target.name}.{name}).")

    def __repr__(self) -> str:
        return f"<{self._target.name} of the implementation>"

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        if asked_by_library():
            return type(self)
        raise NotPlainData(
            "plain data",
            f"an object of class {self._target.name}",
            "The value is neither a number, a string, a tensor, an array, a list, a tuple nor a dict.",
            "Return plain data, as the docstring says.",
        )

    def __instancecheck__(self, instance: Any) -> bool:
        raise CannotCross(
            f"isinstance(…, {self._target.name}) can't be asked over the wire: test what it does or returns."
        )

    def __subclasscheck__(self, subclass: Any) -> bool:
        raise CannotCross(f"issubclass(…, {self._target.name}) can't be asked over the wire: test what it does.")

    def __deepcopy__(self, memo: Any) -> Any:
        raise CannotCross(f"{self._target.name} can't be copied: call the exercise once more.")

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CannotCross(f"{self._target.name} can't be pickled.")


def _not_a_value(self: Any, *_: Any) -> Any:
    raise NotPlainData(
        "plain data",
        f"an object of class {self._target.name}",
        "It can't be compared, counted or calculated with.",
        "Return plain data: a number, a tensor, an array, a list, a tuple or a dict.",
    )


_AS_VALUE = (  # special methods by which Python, NumPy or torch would take an object for a value
    *("eq", "ne", "lt", "le", "gt", "ge", "bool", "len", "iter", "next", "contains", "getitem", "setitem", "delitem"),
    *("int", "float", "complex", "index", "str", "bytes", "format", "round", "trunc", "floor", "ceil", "array"),
    *("neg", "pos", "abs", "invert", "add", "radd", "sub", "rsub", "mul", "rmul", "matmul", "rmatmul", "truediv"),
    *("rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "and", "rand", "or", "ror", "xor", "rxor"),
    *("enter", "exit", "await"),
)
for _name in _AS_VALUE:
    setattr(StandIn, f"__{_name}__", _not_a_value)
StandIn.__hash__ = object.__hash__  # type: ignore[assignment]


class FunctionStandIn(StandIn):
    """A function or method of the other end."""

    __slots__ = ()


class ClassStandIn(StandIn):
    """A class of the other end; calling it makes an object there."""

    __slots__ = ()


class ObjectStandIn(StandIn):
    """Any other object of the other end: its public attributes can be read and its methods called."""

    __slots__ = ()


class IteratorStandIn(StandIn):
    """A generator or iterator of the other end: one item crosses at a time."""

    __slots__ = ()

    def __iter__(self) -> "IteratorStandIn":
        return self

    def __len__(self) -> int:
        raise TypeError("An iterator has no length.")  # what list() expects of one

    def __next__(self) -> Any:
        target = self._target
        reply = target.connection.ask("next", target.label, target=Packed(target))
        if reply.get("stop") is True:
            raise StopIteration
        return field(reply, "value")

    def close(self) -> None:
        """End the generator there."""
        self._target.connection.dropped_later(self._target.handle)

    def send(self, value: Any) -> None:
        raise CannotCross("Nothing can be sent into a generator over the wire; pass it to the call.")

    throw = send


_KINDS: dict[str, type[StandIn]] = {"function": FunctionStandIn, "class": ClassStandIn, "iterator": IteratorStandIn}


def make(connection: Connection, handle: int, kind: str, name: str, **description: Any) -> Any:
    """The stand-in that a handle's description asks for."""
    if kind == "module":
        return make_module(connection, handle, name, **description)
    return _KINDS.get(kind, ObjectStandIn)(Target(connection, handle, f"{name}#{handle}", name, kind))


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
        connection = Connection(channel, make, limits)
        self._target = Target(connection, ROOT, "", "implementation", "root")
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
