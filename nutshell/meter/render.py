"""One network, counted by the conventions of other tools.

The report holds what was executed; each tool makes another number of it. The rules are those of torchinfo 1.8, fvcore
0.1.5, ptflops 0.7 and of torch's own ``FlopCounterMode``, for convolutions, linear layers, normalisation, pools and
activations as modules. Recurrent layers and attention are fused in some of these tools and counted in no common way.
ptflops' "pytorch" backend is taken with ``count_functional`` off: with it, version 0.7.5 counts a ReLU twice, as a
module and as the function that the module calls.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from nutshell.errors import WrongUse
from nutshell.meter.names import RESAMPLING
from nutshell.meter.report import Operation, Report

# What each tool looks at: ATen names that its own table has.
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "_convolution"}
_TORCH = _PRODUCTS | {f"_scaled_dot_product_{kind}_attention" for kind in ("flash", "efficient", "cudnn")}
_PTFLOPS_ATEN = {"mm", "addmm", "bmm", "convolution", "_convolution"}
_FVCORE_PRODUCTS = _PRODUCTS | {"mv", "addmv", "dot"}  # it sees linear, matmul and einsum before torch takes them apart
_FVCORE_RESAMPLING = {"upsample_nearest2d", "upsample_bilinear2d", "grid_sampler_2d"}
_PTFLOPS_ACTIVATIONS = {"ReLU", "ReLU6", "PReLU", "ELU", "LeakyReLU", "GELU"}


@dataclass(frozen=True)
class Rendering:
    """A network's count by another tool's convention.

    Attributes
    ----------
    tool, unit : str
        Whose convention, and what it counts.
    total : int
        Over all layers.
    layers : dict of str to int
        By path; layers that cost nothing are left out.
    rule : str
        The convention in words.
    """

    tool: str
    unit: str
    total: int
    layers: dict[str, int]
    rule: str

    def __int__(self) -> int:
        return self.total

    def __str__(self) -> str:
        return f"{self.tool}: {self.total:,} {self.unit} ({self.rule})"


def render(report: Report, tool: str) -> Rendering:
    """Render a report in the convention of a tool.

    Parameters
    ----------
    report : Report
        From :func:`nutshell.meter.count`.
    tool : {"torchinfo", "fvcore", "ptflops-aten", "ptflops-pytorch", "torch"}
        Whose convention.

    Returns
    -------
    Rendering

    Raises
    ------
    WrongUse
        If the tool isn't known.

    Examples
    --------
    >>> from nutshell import meter, models
    >>> report = meter.count(models.build("lenet-5-caffe"), (1, 1, 28, 28))
    >>> for tool in TOOLS:
    ...     print(tool, int(render(report, tool)))
    torchinfo 2308230
    fvcore 2293000
    ptflops-aten 2308230
    ptflops-pytorch 2323450
    torch 4586000
    """
    if tool not in TOOLS:
        raise WrongUse(f"There is no rule for {tool!r}. Choose one of: {', '.join(TOOLS)}.")
    unit, rule, count = TOOLS[tool]
    layers = {layer: number for layer, number in count(report).items() if number}
    return Rendering(tool, unit, sum(layers.values()), layers, rule)


def _by_operation(cost: Callable[[Operation], int]) -> Callable[[Report], dict[str, int]]:
    def count(report: Report) -> dict[str, int]:
        layers: Counter[str] = Counter()
        for operation in report.operations:
            layers[operation.layer] += cost(operation)
        return dict(layers)

    return count


def _torch(operation: Operation) -> int:
    return 2 * operation.macs if operation.name in _TORCH else 0


def _fvcore(operation: Operation) -> int:
    if operation.name in _FVCORE_PRODUCTS:
        return operation.macs
    if operation.kind == "normalisation":
        return operation.elementwise
    if operation.kind == "pooling" and operation.name in ("mean", "_adaptive_avg_pool2d"):
        return operation.read
    if operation.name in _FVCORE_RESAMPLING:
        return operation.written * max(RESAMPLING[operation.name], 1)
    return 0


def _ptflops_aten(operation: Operation) -> int:
    return operation.macs + operation.bias_adds if operation.name in _PTFLOPS_ATEN else 0


def _ptflops_pytorch(report: Report) -> dict[str, int]:
    kinds = {layer.name: layer.kind for layer in report.layers}
    layers: Counter[str] = Counter()
    for operation in report.operations:
        kind = kinds.get(operation.layer, "")
        extra = 0
        if "Pool" in kind:
            extra = operation.read
        elif "Norm" in kind and operation.kind == "normalisation":
            extra = min(2 * operation.written, operation.elementwise)
        elif kind == "Upsample" or kind in _PTFLOPS_ACTIVATIONS:
            extra = operation.written
        layers[operation.layer] += operation.macs + operation.bias_adds + extra
    return dict(layers)


def _torchinfo(report: Report) -> dict[str, int]:
    """Parameters times positions for each execution of an innermost module; functional calls are not seen."""
    parameters = defaultdict(list)
    for tensor in report.tensors:
        parameters[tensor.layer].append(tensor)
    layers: Counter[str] = Counter()
    for execution in report.executions:
        if not execution.leaf:
            continue
        shape = execution.output_shape
        for tensor in parameters[execution.layer]:
            name = tensor.name.removesuffix("_orig")
            elements = tensor.elements if tensor.kept is None else tensor.kept
            if not tensor.weight or not shape or not ("weight" in name or "bias" in name):
                continue
            if name not in ("weight", "bias"):
                positions = math.prod(shape[:2])  # a recurrent layer
            elif "Conv" in execution.kind:
                positions = math.prod((*shape[:1], *shape[2:]))
            else:
                positions = shape[0]
            layers[execution.layer] += elements * positions
    return dict(layers)


TOOLS: dict[str, tuple[str, str, Callable[[Report], dict[str, int]]]] = {
    "torchinfo": (
        "mult-adds", "MACs and biases; batch normalisation as batch × parameters; pruning masks honoured", _torchinfo,
    ),
    "fvcore": (
        "flops", "MACs without biases; normalisation, adaptive pools and resampling counted", _by_operation(_fvcore),
    ),
    "ptflops-aten": ("MACs", "MACs and biases, nothing else", _by_operation(_ptflops_aten)),
    "ptflops-pytorch": (
        "MACs", "MACs and biases; modules of ReLU, pools and normalisation added as MACs", _ptflops_pytorch,
    ),
    "torch": ("FLOPs", "2 × MACs, nothing else", _by_operation(_torch)),
}
