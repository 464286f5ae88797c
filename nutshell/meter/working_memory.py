"""How many bytes of tensors a computation holds at once, beside those that were there before."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Sees every tensor that an operation of torch makes, and when its memory goes."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = 0
        self.places: set[int] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = filter(_is_tensor, tree_leaves((args, kwargs)))
        arguments = {tensor.untyped_storage().data_ptr() for tensor in given}
        result = operation(*args, **(kwargs or {}))
        for tensor in filter(_is_tensor, tree_leaves(result)):
            storage = tensor.untyped_storage()
            place, size = storage.data_ptr(), storage.nbytes()
            if size and place not in self.places and place not in arguments:  # a view has its argument's memory
                self.places.add(place)
                self.held += size
                self.most = max(self.most, self.held)
                weakref.finalize(storage, self.gone, place, size)
        return result

    def gone(self, place: int, size: int) -> None:
        self.places.discard(place)
        self.held -= size


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most bytes that tensors made by a call take at any one time.

    Tensors that were there before aren't counted, nor what an operation of torch needs inside.

    Parameters
    ----------
    call : callable
        Takes no arguments.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> numbers = torch.zeros(1000)
    >>> peak_bytes(lambda: numbers.exp().sum()), peak_bytes(lambda: numbers.view(10, 100))
    (4004, 0)
    """
    with _Watch() as watch:
        call()
    return watch.most
