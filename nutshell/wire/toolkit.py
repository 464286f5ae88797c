"""What both ends of the wire build from the toolkit: layers and networks by specification and state, functions by name.

A judge's module crosses when it is made of the layers below, or came from :func:`nutshell.models.build`: its
specification and its state are sent, never the object. Losses, activations and optimisers cross by name, and so does
a ``functools.partial`` of one of them. Only the judge sends these; from a learner they are refused.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nutshell import models
from nutshell.wire.codec import Malformed, Tagged

_POOL = ("kernel_size", "stride", "padding")
_CONVOLUTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "padding_mode",
)
_BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
LAYERS: dict[str, tuple[str, ...]] = {  # what a layer's constructor takes, readable as attributes of the layer
    "Linear": ("in_features", "out_features", "bias"),
    "Conv1d": _CONVOLUTION,
    "Conv2d": _CONVOLUTION,
    "Conv3d": _CONVOLUTION,
    "BatchNorm1d": _BATCH_NORM,
    "BatchNorm2d": _BATCH_NORM,
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    "RNN": (*_RECURRENT, "nonlinearity"),
    "GRU": _RECURRENT,
    "LSTM": _RECURRENT,
    "Embedding": ("num_embeddings", "embedding_dim"),
    "MaxPool1d": (*_POOL, "dilation", "ceil_mode"),
    "MaxPool2d": (*_POOL, "dilation", "ceil_mode"),
    "AvgPool1d": _POOL,
    "AvgPool2d": (*_POOL, "ceil_mode", "count_include_pad"),
    "AdaptiveAvgPool1d": ("output_size",),
    "AdaptiveAvgPool2d": ("output_size",),
    "AdaptiveMaxPool2d": ("output_size",),
    "Flatten": ("start_dim", "end_dim"),
    "Unflatten": ("dim", "unflattened_size"),
    "Identity": (),
    "Dropout": ("p",),
    "Dropout2d": ("p",),
    "ReLU": (),
    "ReLU6": (),
    "Tanh": (),
    "Sigmoid": (),
    "SiLU": (),
    "GELU": ("approximate",),
    "Softplus": ("beta", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "Hardtanh": ("min_val", "max_val"),
    "Softmax": ("dim",),
    "LogSoftmax": ("dim",),
    "CrossEntropyLoss": ("reduction", "label_smoothing"),
    "MSELoss": ("reduction",),
    "L1Loss": ("reduction",),
    "NLLLoss": ("reduction",),
    "KLDivLoss": ("reduction", "log_target"),
    "BCELoss": ("reduction",),
    "BCEWithLogitsLoss": ("reduction",),
    "SmoothL1Loss": ("reduction", "beta"),
    "Sequential": (),
    "ModuleList": (),
}
_CONTAINERS = ("Sequential", "ModuleList")


def _named() -> dict[str, Callable]:
    functions = (
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "softplus",
        "hardtanh",
        "tanh",
        "sigmoid",
        "softmax",
        "log_softmax",
        "cross_entropy",
        "mse_loss",
        "l1_loss",
        "nll_loss",
        "kl_div",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    )
    found: dict[str, Callable] = {f"torch.nn.functional.{name}": getattr(functional, name) for name in functions}
    found |= {
        f"torch.{name}": getattr(torch, name)
        for name in ("relu", "tanh", "sigmoid", "softmax", "log_softmax", "sign", "abs", "square", "exp", "sin", "cos")
    }
    found |= {
        f"torch.optim.{name}": getattr(torch.optim, name) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
    }
    found |= {
        f"torch.optim.lr_scheduler.{name}": getattr(torch.optim.lr_scheduler, name)
        for name in ("StepLR", "MultiStepLR", "CosineAnnealingLR", "ExponentialLR", "OneCycleLR", "CyclicLR")
    }
    found |= {f"torch.nn.{name}": getattr(nn, name) for name in LAYERS}
    found |= {
        f"numpy.{name}": getattr(np, name)
        for name in (
            "tanh",
            "exp",
            "abs",
            "sign",
            "square",
            "float16",
            "float32",
            "float64",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "bool_",
        )
    }
    return found | {kind.__name__: kind for kind in (bool, int, float, complex, str)}


NAMED = _named()
_NAME_OF = {id(item): name for name, item in NAMED.items()}


def pack(value: Any) -> Tagged | None:
    """A judge's module, named function or partial as tagged plain data; None for anything else."""
    if id(value) in _NAME_OF:
        return Tagged("named", _NAME_OF[id(value)])
    if type(value) is functools.partial and id(value.func) in _NAME_OF:
        return Tagged("partial", (_NAME_OF[id(value.func)], value.args, dict(value.keywords)))
    if isinstance(value, nn.Module):
        layers = _layers(value)
        if layers is not None:
            return Tagged("layers", layers)
        specification = value.__dict__.get("specification")
        if specification is not None:
            name, options = specification
            return Tagged("network", dict(name=name, options=options, **_state(value)))
    return None


def unpack(tag: str, payload: Any) -> Any:
    """What :func:`pack` packed, built anew."""
    if tag == "named":
        return NAMED[payload]
    if tag == "partial":
        name, args, keywords = payload
        return functools.partial(NAMED[name], *args, **keywords)
    if tag == "layers":
        return _built(payload)
    if tag == "network":
        return _loaded(models.build(payload["name"], device="meta", **payload["options"]), payload)
    raise Malformed(f"Nothing is known of {tag!r}.")


def _layers(module: nn.Module) -> dict | None:
    """A module as kinds, options and states of its layers, or None if it is made of anything else."""
    kind = type(module).__name__
    if kind not in LAYERS or type(module) is not getattr(nn, kind) or _hooked(module):
        return None
    if kind not in _CONTAINERS:
        options = {name: getattr(module, name) for name in LAYERS[kind]}
        if "bias" in options:
            options["bias"] = bool(options["bias"]) if kind in ("RNN", "GRU", "LSTM") else module.bias is not None
        return dict(kind=kind, options=options, **_state(module))
    children = {name: _layers(child) for name, child in module.named_children()}
    if None in children.values() or _tied(module) or len(children) != len(module._modules):
        return None
    return dict(kind=kind, children=children, training=module.training)


def _built(payload: dict) -> nn.Module:
    kind = payload["kind"]
    if kind not in _CONTAINERS:
        with torch.device("meta"):  # the state that came replaces the random weights, so none are drawn
            return _loaded(getattr(nn, kind)(**payload["options"]), payload)
    container = getattr(nn, kind)()
    for name, child in payload["children"].items():
        container.add_module(name, _built(child))
    container.training = payload["training"]
    return container


def _state(module: nn.Module) -> dict:
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    modes = {name: child.training for name, child in module.named_modules()}
    return dict(state=dict(module.state_dict()), frozen=frozen, modes=modes)


def _loaded(module: nn.Module, payload: dict) -> nn.Module:
    module.load_state_dict(payload["state"], assign=True)
    for name in payload["frozen"]:
        module.get_parameter(name).requires_grad_(False)
    for name, child in module.named_modules():
        child.training = payload["modes"].get(name, module.training)
    return module


def _hooked(module: nn.Module) -> bool:
    return any(
        getattr(module, name)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )


def _tied(module: nn.Module) -> bool:
    return len(list(module.named_parameters(remove_duplicate=False))) != len(list(module.parameters()))
