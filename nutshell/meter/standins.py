"""Running a network on other tensors than its own, and leaving it exactly as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_DICTS = ("_parameters", "_buffers", "_modules")


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Put every attribute of every module back afterwards, and torch's random state; run the block in ``eval`` mode.

    Modules may cache tensors, count their calls or be swapped to stand-ins inside the block: none of it stays.
    """
    saved = [(m, dict(vars(m)), [dict(vars(m)[name]) for name in _DICTS]) for m in network.modules()]
    cuda = sorted({t.device.index or 0 for t in network.parameters() if t.device.type == "cuda"})
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one fused operation would hide the modules inside
        with torch.random.fork_rng(devices=cuda), torch.no_grad():
            for module, _, _ in saved:
                vars(module)["training"] = False
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        for module, attributes, dicts in saved:
            vars(module).clear()
            vars(module).update(attributes)
            for name, contents in zip(_DICTS, dicts, strict=True):
                vars(module)[name].clear()
                vars(module)[name].update(contents)


def on_meta(network: nn.Module) -> dict[int, Tensor]:
    """Swap every tensor of the network for one of the same shape and strides on the meta device.

    Call it inside :func:`untouched` only.

    Returns
    -------
    dict
        The stand-in for each tensor, by the ``id`` of the tensor.
    """


    def shape_of(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta")

    return _swap(network, shape_of)


def on_copies(network: nn.Module) -> dict[int, Tensor]:
    """Swap buffers and other tensors for copies, so that running statistics and caches stay; parameters stay shared."""
    return _swap(network, lambda tensor: tensor if isinstance(tensor, nn.Parameter) else tensor.clone())


def fits_meta(network: nn.Module) -> bool:
    """Whether all stored tensors are plain and dense, so that shapes alone say what an operation costs."""
    tensors = [*network.parameters(), *network.buffers()]
    return all(t.layout is torch.strided and type(t) in (Tensor, nn.Parameter, nn.Buffer) for t in tensors)


def _swap(network: nn.Module, make: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
    known: dict[int, Tensor] = {}

    def stand_in(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in known:
            made = make(value)
            parameter = isinstance(value, nn.Parameter) and not isinstance(made, nn.Parameter)
            known[id(value)] = nn.Parameter(made, requires_grad=False) if parameter else made
        return known[id(value)]

    for module in network.modules():
        attributes = vars(module)
        for name in ("_parameters", "_buffers"):
            for key, tensor in attributes[name].items():
                attributes[name][key] = stand_in(tensor)
        for name, value in list(attributes.items()):
            plain = isinstance(value, Tensor | list | tuple | dict) and name not in _DICTS
            if plain and any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value)):
                attributes[name] = pytree.tree_map(stand_in, value)  # such as the weights that an LSTM keeps in a list
    return known
