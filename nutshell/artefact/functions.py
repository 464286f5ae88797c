"""Functions and methods that a trace may meet, such as ``functional.relu`` or ``x.flatten(1)``, as modules.

A handler takes the call's arguments and returns the module and its inputs, ``None`` for the module where nothing is
computed, or something that isn't a value, such as the batch size. ``TypeError`` and ``ValueError`` refuse the call.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nutshell.artefact.operations import Add, Concatenate, Multiply

_BATCH = object()  # stands for x.size(0) and the like
_SIZES = object()  # stands for x.shape
Call = tuple[nn.Module | None, list[Any]]


def _view(x: Any, *sizes: Any) -> Call:
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    if len(sizes) == 2 and (sizes[0] is _BATCH or sizes[0] == -1) and isinstance(sizes[1], int):
        return nn.Flatten(), [x]  # save() compares outputs, so a wrong size is found
    raise ValueError(f"only view(x.size(0), -1) can be expressed, which flattens, not {len(sizes)} sizes")


def _getitem(x: Any, index: Any) -> Any:
    if x is _SIZES and index == 0:
        return _BATCH
    raise ValueError("only the batch size, x.shape[0], can be taken from a value")


def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Call:
    return nn.Flatten(start_dim, end_dim), [input]


def _max_pool(module: type[nn.Module]) -> Callable[..., Call]:
    def handle(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Call:
        return module(kernel_size, stride, padding, dilation, return_indices, ceil_mode), [input]

    return handle


def _avg_pool(module: type[nn.Module]) -> Callable[..., Call]:
    def handle(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) -> Call:
        return module(kernel_size, stride, padding, ceil_mode, count_include_pad), [input]

    return handle


def _adaptive(module: type[nn.Module]) -> Callable[..., Call]:
    return lambda input, output_size: (module(output_size), [input])


def _plain(module: type[nn.Module]) -> Callable[..., Call]:
    return lambda input, inplace=False: (module(), [input])


def _softmax(module: type[nn.Module]) -> Callable[..., Call]:
    return lambda input, dim=None, _stacklevel=3, dtype=None: (module(-1 if dim is None else dim), [input])


def _two(module: type[nn.Module]) -> Callable[..., Call]:
    return lambda input, other: (module(), [input, other])


def _concatenate(tensors: Any, dim: int = 0) -> Call:
    return Concatenate(dim), list(tensors)


def _nothing(input: Any, *_: Any, **__: Any) -> Call:
    return None, [input]


def _table(names: str, handler: Callable, *homes: Any) -> dict[Any, Callable]:
    """The functions of these names in these modules, all with the same handler."""
    return {getattr(home, name): handler for home in homes for name in names.split() if hasattr(home, name)}


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **_table("relu relu_", _plain(nn.ReLU), torch, functional),
    **_table("relu6", _plain(nn.ReLU6), functional),
    **_table("sigmoid", _plain(nn.Sigmoid), torch, functional),
    **_table("tanh", _plain(nn.Tanh), torch, functional),
    **_table("silu", _plain(nn.SiLU), functional),
    **_table("flatten", _flatten, torch),
    **_table("softmax", _softmax(nn.Softmax), torch, functional),
    **_table("log_softmax", _softmax(nn.LogSoftmax), torch, functional),
    **_table("add iadd", _two(Add), operator),
    **_table("add", _two(Add), torch),
    **_table("mul imul", _two(Multiply), operator),
    **_table("mul", _two(Multiply), torch),
    **_table("cat concat concatenate", _concatenate, torch),
    **_table("dropout dropout1d dropout2d alpha_dropout", _nothing, functional),
    **_table("max_pool1d", _max_pool(nn.MaxPool1d), torch, functional),
    **_table("max_pool2d", _max_pool(nn.MaxPool2d), torch, functional),
    **_table("avg_pool1d", _avg_pool(nn.AvgPool1d), torch, functional),
    **_table("avg_pool2d", _avg_pool(nn.AvgPool2d), torch, functional),
    **_table("adaptive_avg_pool1d", _adaptive(nn.AdaptiveAvgPool1d), torch, functional),
    **_table("adaptive_avg_pool2d", _adaptive(nn.AdaptiveAvgPool2d), functional),
    **_table("getitem", _getitem, operator),
    getattr: lambda x, name: _SIZES if name == "shape" else _no_attribute(name),
}
METHODS: dict[str, Callable[..., Any]] = {
    "relu": _plain(nn.ReLU), "relu_": _plain(nn.ReLU), "sigmoid": _plain(nn.Sigmoid), "tanh": _plain(nn.Tanh),
    "flatten": _flatten, "softmax": _softmax(nn.Softmax), "log_softmax": _softmax(nn.LogSoftmax),
    "add": _two(Add), "add_": _two(Add), "mul": _two(Multiply), "mul_": _two(Multiply),
    "view": _view, "reshape": _view, "contiguous": _nothing,
    "size": lambda x, dim=None: _SIZES if dim is None else _getitem(_SIZES, dim),
}  # fmt: skip


def _no_attribute(name: str) -> Any:
    raise ValueError(f"the attribute {name} of a value can't be used")
