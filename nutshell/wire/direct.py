"""An implementation called directly, without the wire: for comparing how mutants are judged both ways."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from nutshell.expect import LearnerRaised
from nutshell.wire.harness import describe
from nutshell.wire.standins import Missing, inout


class Direct:
    """A namespace whose functions are called as they are; what they raise becomes :class:`LearnerRaised`.

    Arguments are copied, as they are on the wire, but for those marked ``inout``.

    Examples
    --------
    >>> Direct({"double": lambda x: 2 * x}).double(21)
    42
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._namespace:
            raise Missing(f"{name} is not there.")
        found = self._namespace[name]
        if not callable(found) or isinstance(found, nn.Module):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = tuple(_copied(item) for item in args), {key: _copied(item) for key, item in kwargs.items()}
            result = _told(found, *args, **kwargs)
            return _items(result) if isinstance(result, Generator) else result

        return call


def _told(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns; what it raises becomes :class:`LearnerRaised`."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        said = describe(error)
        raise LearnerRaised(said["kind"], said["message"], said["traceback"], not_done=said["stub"]) from error


def _items(generator: Generator) -> Generator:
    """The items of a generator, whose errors come when an item is asked for."""
    end = object()
    while (item := _told(next, generator, end)) is not end:
        yield item


def _copied(value: Any) -> Any:
    if type(value) is inout:
        return value.value
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) is torch.Tensor and not value.requires_grad:
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value
