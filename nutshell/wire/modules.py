"""A module of the other end as a real ``nn.Module`` of this one."""

import sys
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from nutshell.expect import CheckFailed
from nutshell.wire.codec import Malformed
from nutshell.wire.connection import Connection, FarObject, Target
from nutshell.wire.errors import CannotCross, MissingAttribute, NotPlainData
from nutshell.wire.state import identical

_LIBRARIES = ("torch", "numpy", "nutshell.wire", "nutshell.expect")


def asked_by_library(depth: int = 2) -> bool:
    """Whether torch, NumPy or the toolkit asks, rather than a check: they ask everything what it is."""
    name = sys._getframe(depth).f_globals.get("__name__") or ""
    return name.startswith(_LIBRARIES)


class ModuleStandIn(FarObject, nn.Module):
    """A module of the other end: parameters and buffers live here, forward and backward passes cross."""

    def __init__(self, target: Target, root: "ModuleStandIn | None" = None, path: str = "") -> None:
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
            raise CannotCross(
                f"A child's own call can't cross (“{self._path}”): call the module, or have the exercise return it."
            )
        return self._target.connection.call(self._target, [], args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if (
            name.startswith("_")
            or name in self.__dict__.get("_parameters", ())
            or name in self.__dict__.get("_buffers", ())
            or name in self.__dict__.get("_modules", ())
        ):
            return super().__getattr__(name)
        path = [*self._path.split("."), name] if self._path else [name]
        found = self._target.connection.get(self._target, path)
        if isinstance(found, FarObject) and found._target.kind == "function":
            method: Any = type(found)
            return method(found._target.method_of(self._root, path))
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            name == "training"
            or name.startswith("_")
            or (name in self._parameters and isinstance(value, nn.Parameter))
            or (name in self._buffers and isinstance(value, Tensor))
        ):
            super().__setattr__(name, value)
        else:
            _no_surgery(self)

    def __getitem__(self, index: int | str) -> nn.Module:
        children = list(self._modules.values())
        found = self._modules.get(index) if isinstance(index, str) else children[index]
        if found is None:
            raise MissingAttribute(
                f"a child {index!r} of the module", f"{self._target.name} with {len(children)} children"
            )
        return found

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotPlainData("numbers", f"a module ({self._target.name})", "", "Return what the docstring says.")

    def __repr__(self) -> str:
        return f"<module {self._target.name} of the implementation>"

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        if asked_by_library():
            return type(self)
        raise CannotCross(
            "isinstance of a module of the other end can't be asked: compare outputs, parameters or state_dict."
        )

    def _give_state(self, grad: bool) -> tuple[dict[str, Tensor], list[str] | None, dict[str, bool]]:
        """What the other end doesn't know yet: changed tensors, which parameters need gradients, changed modes."""
        current = self._tensors
        state = {name: value.detach() for name, value in current.items() if not identical(value, self._sent.get(name))}
        self._sent.update({name: value.clone() for name, value in state.items()})
        grads = [name for name, value in self.named_parameters() if value.requires_grad] if grad else None
        modes = {name: child.training for name, child in self.named_modules(remove_duplicate=False)}
        return state, grads, modes

    def _take_state(self, state: dict[str, Tensor]) -> None:
        current = self._tensors
        for name, value in state.items():
            own = current.get(name)
            if own is None or type(value) is not Tensor or value.shape != own.shape or value.dtype is not own.dtype:
                raise CheckFailed(
                    "a module whose parameters keep their shapes",
                    f"another {name[:80]!r} after the call",
                    "The module is rebuilt by its own call.",
                    "Build its layers when it is made.",
                )
            with torch.no_grad():
                own.copy_(value)
            self._sent[name] = value.clone()

    def __deepcopy__(self, memo: Any) -> Any:
        raise CannotCross(
            "A module of the other end can't be copied: call the exercise once more, or keep its state_dict."
        )

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CannotCross("A module of the other end can't be pickled.")


def _no_hooks(self: Any, *_: Any, **__: Any) -> Any:
    raise CannotCross(
        "A hook can't see inside a module of the other end: count parameters, read state_dict or compare outputs."
    )


def _no_surgery(self: Any, *_: Any, **__: Any) -> Any:
    raise CannotCross("A module of the other end can't be rebuilt in place: have the exercise return the new module.")


_HOOKS = [name for name in dir(nn.Module) if name.startswith("register_") and name.endswith("_hook")]
_SURGERY = ["register_parameter", "register_buffer", "register_module", "add_module", "set_submodule"]
_SURGERY += ["__delattr__", "__setitem__", "__delitem__", "append", "insert", "extend", "pop"]
for _name in _HOOKS:
    setattr(ModuleStandIn, _name, _no_hooks)
for _name in _SURGERY:
    setattr(ModuleStandIn, _name, _no_surgery)


def make_module(
    connection: Connection, handle: int, name: str, modules: Any, parameters: Any, buffers: Any
) -> ModuleStandIn:
    """A module's stand-in, with a child for each of its modules."""
    root: ModuleStandIn | None = None
    tree: dict[str, ModuleStandIn] = {}
    for path, kind, training in modules:
        if type(path) is not str or type(kind) is not str or type(training) is not bool:
            raise Malformed("A module's description is none.")
        target = Target(connection, handle, f"{name}#{handle}", kind[:80], "module")
        child = ModuleStandIn(target, root, path)
        if root is None:
            root, target.find_module = child, weakref.ref(child)
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


def _tensor(value: Any) -> Tensor:
    if type(value) is not Tensor:
        raise Malformed("A tensor is none.")
    return value
