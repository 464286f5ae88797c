"""A module's tensors: what describes it, and what has changed since the other end heard of it."""

import torch
from torch import Tensor, nn

from nutshell.wire.codec import NotPlain


class State:
    """The tensors of a module as the other end knows them, to send only what has changed since."""

    def __init__(self, module: nn.Module) -> None:
        self.values = {name: value.detach().clone() for name, value in tensors(module).items()}

    def changes(self, module: nn.Module) -> dict[str, Tensor]:
        """Tensors that differ from what the other end knows; from now on it knows them."""
        found = {}
        for name, value in tensors(module).items():
            known = self.values.get(name)
            value = value.detach()
            if not identical(value, known):
                found[name] = value
                self.values[name] = value.clone()
        return found

    def know(self, changes: dict[str, Tensor]) -> None:
        """Note what the other end has sent."""
        self.values.update({name: value.clone() for name, value in changes.items()})


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name, shared ones once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def describe_module(module: nn.Module) -> dict:
    """What a stand-in of a module is made from."""
    seen: dict[int, str] = {}
    parameters: list[tuple[str, Tensor | str, bool]] = []  # a tied one is the name of the first
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise NotPlain("A module with lazy parameters can't be used before its first call; give the sizes.")
        first = seen.setdefault(id(parameter), name)
        value = first if first != name else parameter.detach().as_subclass(Tensor)
        parameters.append((name, value, parameter.requires_grad))
    persistent = set(module.state_dict(keep_vars=True))
    buffers = [(name, buffer.detach(), name in persistent) for name, buffer in module.named_buffers()]
    modules = [
        (name, type(child).__name__, child.training) for name, child in module.named_modules(remove_duplicate=False)
    ]
    return dict(modules=modules, parameters=parameters, buffers=buffers)


def identical(a: Tensor, b: Tensor | None) -> bool:
    """Whether two tensors are the same bits as far as anybody can tell; a NaN counts as a change."""
    if b is None or a.dtype is not b.dtype or a.shape != b.shape or a.device != b.device:
        return False
    return a.is_meta or torch.equal(a.detach(), b)
