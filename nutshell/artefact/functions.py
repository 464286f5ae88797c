"""Functions and methods that a trace may meet, such as ``functional.relu`` or ``x.flatten(1)``, as modules.

A handler takes the call's arguments and returns the module and its inputs, ``None`` for the module where nothing is
computed, or something that isn't a value, such as the batch size. ``TypeError`` and ``ValueError`` refuse the call.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.artefact.operations import Add, Concatenate, Multiply
from nutshell.artefact.scaling import Mean, Repeat, Scale

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


def _product(input: Any, other: Any) -> Call:
    """Of two values, or of a value and a number: a constant, or the network's own, which comes as its Scale."""
    if isinstance(input, int | float | Scale):
        input, other = other, input
    if isinstance(other, int | float) and not isinstance(other, bool):
        other = scale_of(torch.tensor(float(other), dtype=torch.float64))
    return (other, [input]) if isinstance(other, Scale) else (Multiply(), [input, other])


def _quotient(input: Any, other: Any) -> Call:
    if not isinstance(other, int | float) or other == 0:
        raise ValueError("a value can be divided by a constant only")
    return _product(input, 1 / other)


def scale_of(tensor: Tensor) -> Scale:
    """A stored number, or one for each channel of shape ``(C, 1, 1)`` or ``(1, C, 1, 1)``, as a module that scales.

    Raises
    ------
    ValueError
        If the shape is another.
    """
    sizes = tuple(tensor.shape)
    if tensor.numel() != 1 and not (len(sizes) in (3, 4) and tensor.numel() == sizes[-3]):
        raise ValueError(f"numbers of shape {list(sizes)}: must be one, or one a channel, [C, 1, 1]")
    module = Scale(1).to(tensor.dtype)
    module.weight = nn.Parameter(tensor.detach().reshape(-1), requires_grad=False)
    return module


def _interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None,
                 recompute_scale_factor=None, antialias=False) -> Call:  # fmt: skip
    times = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    whole = all(isinstance(each, int | float) and each == int(each) for each in times)
    if size is not None or mode != "nearest" or not whole or len(times) != 2:
        raise ValueError("only a whole scale_factor with mode='nearest' can be expressed")
    return Repeat((int(times[0]), int(times[1]))), [input]


def _repeat_interleave(input, repeats, dim=None, output_size=None) -> Call:
    if not isinstance(repeats, int) or dim not in (2, 3, -1, -2):
        raise ValueError("only a whole number of times along height or width")
    return Repeat((repeats, 1) if dim in (2, -2) else (1, repeats)), [input]


def _mean(input, dim=None, keepdim=False) -> Call:
    if not isinstance(dim, tuple | list) or sorted(each % 4 for each in dim) != [2, 3]:
        raise ValueError("only the mean over height and width, dim=(2, 3)")
    return (nn.AdaptiveAvgPool2d(1) if keepdim else Mean()), [input]


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
    **_table("mul imul", _product, operator),
    **_table("mul multiply", _product, torch),
    **_table("truediv itruediv", _quotient, operator),
    **_table("div", _quotient, torch),
    **_table("interpolate", _interpolate, functional),
    **_table("repeat_interleave", _repeat_interleave, torch),
    **_table("mean", _mean, torch),
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
    "add": _two(Add), "add_": _two(Add), "mul": _product, "mul_": _product,
    "div": _quotient, "mean": _mean, "repeat_interleave": _repeat_interleave,
    "view": _view, "reshape": _view, "contiguous": _nothing,
    "size": lambda x, dim=None: _SIZES if dim is None else _getitem(_SIZES, dim),
}  # fmt: skip


def _no_attribute(name: str) -> Any:
    raise ValueError(f"the attribute {name} of a value can't be used")
