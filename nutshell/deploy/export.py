"""A ``.nut`` file's graph as an ONNX graph, node by node; weights become float32 constants again.

ONNX has no codebooks, hashes or gap codes: what was small on disk is decoded, and the model holds four bytes a number.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from nutshell.artefact import Artefact, Node
from nutshell.errors import Refused

OPSET = 17
Shapes = list[tuple[int, ...]]


class CannotExport(Refused):
    """An operation that has no form in ONNX here; the message names it and its place."""


class Maker:
    """Nodes and constants in the making; every method adds to them and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Tensor | np.ndarray | list[int]) -> str:
        """A constant; tensors of any floating dtype become float32, lists int64."""
        if isinstance(value, Tensor):
            value = value.detach().float().contiguous().numpy()
        elif isinstance(value, list):
            value = np.array(value, np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, *inputs: str, **options: Any) -> str:
        """One node with one output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **options))
        return name

    def number(self, value: float) -> str:
        """A constant of no dimensions."""
        return self.constant(np.array(value, np.float32))


def to_onnx(found: Artefact) -> bytes:
    """An artefact as an ONNX model with a free batch size; its input is called ``input``, its output ``output``.

    Parameters
    ----------
    found : Artefact
        From :func:`nutshell.artefact.load` or :func:`~nutshell.artefact.read`.

    Returns
    -------
    bytes
        The model, opset 17, checked; a file of it runs on every ONNX runtime.

    Raises
    ------
    CannotExport
        If an operation has no form in ONNX here.

    Examples
    --------
    >>> from nutshell import artefact, models
    >>> network = models.build("lenet-300-100")
    >>> model = to_onnx(artefact.read(artefact.to_bytes(network, input_shape=(1, 28, 28))))
    >>> [node.op_type for node in onnx.load_from_string(model).graph.node]
    ['Flatten', 'Gemm', 'Relu', 'Gemm', 'Relu', 'Gemm', 'Identity']
    """
    maker, values = Maker(), ["input"]
    for node, shape in zip(found.graph.nodes, found.shapes[1:], strict=True):
        module = found.network.get_submodule(node.name)
        shapes = [found.shapes[number] for number in node.inputs]
        values.append(_add(maker, node, module, [values[number] for number in node.inputs], [*shapes, shape]))
    maker.nodes.append(helper.make_node("Identity", [values[-1]], ["output"]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *found.input_shape])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", *found.shapes[-1]])]
    graph = helper.make_graph(maker.nodes, "network", inputs, outputs, maker.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _add(maker: Maker, node: Node, module: Any, inputs: list[str], shapes: Shapes) -> str:
    """One node of the artefact; ``shapes`` are those of its inputs and, last, of its output."""
    if node.operation not in OPERATIONS:
        raise CannotExport(f"{node.name} is a {node.operation}, which isn't exported; these are: "
                           f"{', '.join(OPERATIONS)}.")
    try:
        return OPERATIONS[node.operation](maker, module, inputs, shapes)
    except CannotExport as error:
        raise CannotExport(f"{node.name}: {error}") from None


def _linear(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    x = inputs[0]
    for layer in _parts(module):
        weight, bias = layer.weight, layer.bias
        if len(shapes[0]) == 1:
            x = maker.add("Gemm", x, *map(maker.constant, [weight] if bias is None else [weight, bias]), transB=1)
        else:
            x = maker.add("MatMul", x, maker.constant(weight.detach().T))
            x = x if bias is None else maker.add("Add", x, maker.constant(bias))
    return x


def _convolution(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    x = inputs[0]
    for layer in _parts(module):
        pads = [0] * len(layer.kernel_size) if layer.padding == "valid" else list(layer.padding)
        tensors = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        x = maker.add("Conv", x, *map(maker.constant, tensors), strides=list(layer.stride), pads=pads * 2,
                      dilations=list(layer.dilation), group=layer.groups)
    return x


def _parts(module: Any) -> list[Any]:
    """A layer, or the two that a weight of low rank makes of it."""
    return list(module) if isinstance(module, nn.Sequential) else [module]


def _circulant(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    """As the dense matrix that it stands for: there is no such product in ONNX."""
    with torch.no_grad():
        bias = 0.0 if module.bias is None else module.bias
        matrix = (module(torch.eye(module.in_features, dtype=module.weight.dtype)) - bias).T
    tensors = [matrix] if module.bias is None else [matrix, module.bias]
    return maker.add("Gemm", inputs[0], *map(maker.constant, tensors), transB=1)


def _batch_norm(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    ones, zeros = torch.ones_like(module.running_var), torch.zeros_like(module.running_mean)
    parts = (ones if module.weight is None else module.weight, zeros if module.bias is None else module.bias,
             module.running_mean, module.running_var)  # fmt: skip
    return maker.add("BatchNormalization", inputs[0], *map(maker.constant, parts), epsilon=module.eps)


def _pool(kind: str) -> Callable[..., str]:
    def pool(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
        sides = len(shapes[0]) - 1

        def each(value: Any) -> list[int]:
            return [value] * sides if isinstance(value, int) else list(value)

        options: dict[str, Any] = {"kernel_shape": each(module.kernel_size), "strides": each(module.stride),
                                   "pads": each(module.padding) * 2, "ceil_mode": int(module.ceil_mode)}  # fmt: skip
        if kind == "MaxPool":
            options["dilations"] = each(module.dilation)
        elif module.ceil_mode and module.count_include_pad:
            raise CannotExport("a mean over windows that stand over the edge means another thing in ONNX.")
        else:
            options["count_include_pad"] = int(module.count_include_pad)
        return maker.add(kind, inputs[0], **options)

    return pool


def _adaptive(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    before, after = shapes[0][1:], shapes[-1][1:]
    if any(a % b for a, b in zip(before, after, strict=True)):
        raise CannotExport(f"means over {before} can't be shared evenly among {after}.")
    sizes = [a // b for a, b in zip(before, after, strict=True)]
    return maker.add("AveragePool", inputs[0], kernel_shape=sizes, strides=sizes)


def _reshape(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    if len(shapes[-1]) == 1:
        return maker.add("Flatten", inputs[0], axis=1)
    return maker.add("Reshape", inputs[0], maker.constant([0, *shapes[-1]]))


def _plain(kind: str, *attributes: str) -> Callable[..., str]:
    """An operation that ONNX has as well; attributes are taken over by their names in both."""
    names = dict(pair.split("=") for pair in attributes)

    def make(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
        options = {ours: getattr(module, theirs) for ours, theirs in names.items()}
        return maker.add(kind, *inputs, **options)

    return make


def _relu6(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    return maker.add("Clip", inputs[0], maker.number(0.0), maker.number(6.0))


def _silu(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    return maker.add("Mul", inputs[0], maker.add("Sigmoid", inputs[0]))


def _gelu(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    x = inputs[0]
    if module.approximate == "tanh":
        cube = maker.add("Mul", maker.add("Mul", x, x), maker.add("Mul", x, maker.number(0.044715)))
        inner = maker.add("Tanh", maker.add("Mul", maker.add("Add", x, cube), maker.number((2 / np.pi) ** 0.5)))
    else:
        inner = maker.add("Erf", maker.add("Mul", x, maker.number(0.5**0.5)))
    return maker.add("Mul", maker.add("Mul", x, maker.number(0.5)), maker.add("Add", inner, maker.number(1.0)))


def _added(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    return maker.add("Sum", *inputs) if len(inputs) > 2 else maker.add("Add", *inputs)


def _shortcut(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    starts, ends, axes, steps = ([0, 0], list(shapes[0][1:]), [2, 3], [2, 2])
    x = maker.add("Slice", inputs[0], *map(maker.constant, (starts, ends, axes, steps)))
    half = module.new_channels // 2
    return maker.add("Pad", x, maker.constant([0, half, 0, 0, 0, half, 0, 0])) if half else x


def _scale(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    weight = module.weight.detach().reshape(-1, *[1] * (len(shapes[0]) - 1))
    return maker.add("Mul", inputs[0], maker.constant(weight))


def _repeat(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    scales = maker.constant(np.array([1, 1, *module.times], np.float32))
    return maker.add("Resize", inputs[0], "", scales, mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")


def _mean(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    return maker.add("ReduceMean", inputs[0], axes=[2, 3], keepdims=0)


def _sign(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    there = maker.add("GreaterOrEqual", inputs[0], maker.number(0.0))
    return maker.add("Where", there, maker.number(1.0), maker.number(-1.0))


def _sizes1d(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    return maker.add("ReduceMean", maker.add("Abs", inputs[0]), axes=[1], keepdims=1)


def _sizes2d(maker: Maker, module: Any, inputs: list[str], shapes: Shapes) -> str:
    def pair(value: int | tuple[int, ...]) -> list[int]:
        return [value] * 2 if isinstance(value, int) else list(value)

    sizes = maker.add("ReduceMean", maker.add("Abs", inputs[0]), axes=[1], keepdims=1)
    return maker.add("AveragePool", sizes, kernel_shape=pair(module.kernel_size), strides=pair(module.stride),
                     pads=pair(module.padding) * 2, count_include_pad=1)


OPERATIONS: dict[str, Callable[[Maker, Any, list[str], Shapes], str]] = {
    "linear": _linear, "conv1d": _convolution, "conv2d": _convolution, "circulant": _circulant,
    "batch_norm1d": _batch_norm, "batch_norm2d": _batch_norm,
    "max_pool1d": _pool("MaxPool"), "max_pool2d": _pool("MaxPool"),
    "avg_pool1d": _pool("AveragePool"), "avg_pool2d": _pool("AveragePool"),
    "adaptive_avg_pool1d": _adaptive, "adaptive_avg_pool2d": _adaptive, "flatten": _reshape,
    "relu": _plain("Relu"), "relu6": _relu6, "leaky_relu": _plain("LeakyRelu", "alpha=negative_slope"),
    "sigmoid": _plain("Sigmoid"), "tanh": _plain("Tanh"), "silu": _silu, "gelu": _gelu,
    "local_response_norm": _plain("LRN", "size=size", "alpha=alpha", "beta=beta", "bias=k"),
    "softmax": _plain("Softmax", "axis=dim"), "log_softmax": _plain("LogSoftmax", "axis=dim"),
    "add": _added, "multiply": _plain("Mul"), "concatenate": _plain("Concat", "axis=dim"),
    "padded_shortcut": _shortcut, "scale": _scale, "repeat": _repeat, "mean": _mean, "sign": _sign,
    "input_scales1d": _sizes1d, "input_scales2d": _sizes2d,
}  # fmt: skip
