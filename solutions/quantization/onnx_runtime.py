"""ONNX Runtime beside our own arithmetic: the same grids in its kernels, and its own quantiser on the float network.

Graphs are built with ``onnx.helper``, node by node. With our grids the graph is in the QDQ form: DequantizeLinear
before and QuantizeLinear after each layer, which the runtime fuses into integer kernels.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

from solutions.quantization.integer_network import IntegerNetwork, steps_of

OPSET = 17


class _Graph:
    """Nodes and constants in the making; every method adds to them and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, inputs: list[str], **options: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **options))
        return name

    def dequantized(self, whole: Tensor, scale: Tensor) -> str:
        """A constant of whole numbers with a scale for each output and zero point 0."""
        parts = [whole.numpy(), scale.float().numpy(), np.zeros(len(scale), whole.numpy().dtype)]
        return self.add("DequantizeLinear", [self.constant(part) for part in parts], axis=0)

    def layer(self, x: str, weight: str, bias: str, dimensions: int) -> str:
        if dimensions == 4:
            return self.add("Conv", [x, weight, bias])
        return self.add("Gemm", [self.add("Flatten", [x]), weight, bias], transB=1)

    def model(self, output: str, kind: int, shape: tuple[int, ...]) -> bytes:
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shape])]
        outputs = [helper.make_tensor_value_info(output, kind, ["N", 10])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(made)
        return made.SerializeToString()


def float_model(network: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> bytes:
    """The float network as an ONNX model; its output are the logits."""
    graph, x = _Graph(), "input"
    for weight, bias, relu, pool in steps_of(network):
        x = graph.layer(x, graph.constant(weight.contiguous().numpy()), graph.constant(bias.numpy()), weight.ndim)
        x = graph.add("Relu", [x]) if relu else x
        x = graph.add("MaxPool", [x], kernel_shape=[pool] * 2, strides=[pool] * 2) if pool > 1 else x
    return graph.model(x, TensorProto.FLOAT, shape)


def integer_model(network: IntegerNetwork, shape: tuple[int, ...] = (1, 28, 28)) -> bytes:
    """Our whole numbers and grids as an ONNX model in the QDQ form; its output are the logits' levels, uint8."""
    graph = _Graph()

    def grid(scale: float, zero: int) -> list[str]:
        return [graph.constant(np.array(scale, np.float32)), graph.constant(np.array(zero, np.uint8))]

    before = grid(*network.input_grid)
    q = graph.add("QuantizeLinear", ["input", *before])
    for layer in network.layers:
        x = graph.add("DequantizeLinear", [q, *before])
        weight = graph.dequantized(layer.weight, layer.weight_scale)
        bias = graph.dequantized(layer.bias, layer.weight_scale * layer.before[0])
        before = grid(*layer.after)
        q = graph.add("QuantizeLinear", [graph.layer(x, weight, bias, layer.weight.ndim), *before])
        if layer.pool > 1:
            x = graph.add("DequantizeLinear", [q, *before])
            x = graph.add("MaxPool", [x], kernel_shape=[layer.pool] * 2, strides=[layer.pool] * 2)
            q = graph.add("QuantizeLinear", [x, *before])
    return graph.model(q, TensorProto.UINT8, shape)


class _Images(CalibrationDataReader):
    def __init__(self, inputs: Tensor) -> None:
        self.parts: Iterator[Tensor] = iter(inputs.split(100))

    def get_next(self) -> dict[str, np.ndarray] | None:
        part = next(self.parts, None)
        return None if part is None else {"input": part.numpy()}


def quantized_by_onnx_runtime(model: bytes, seen: Tensor) -> bytes:
    """ONNX Runtime's own static quantisation: int8 weights with a scale for each output, uint8 activations, min-max."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(model)
        quantize_static(str(before), str(after), _Images(seen), quant_format=QuantFormat.QDQ, per_channel=True,
                        weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
        return after.read_bytes()


def session(model: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread of the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: bytes, inputs: Tensor, batch_size: int = 500) -> Tensor:
    """What a model puts out for inputs ``(N, C, H, W)``."""
    made = session(model)
    parts = [made.run(None, {"input": part.numpy()})[0] for part in inputs.split(batch_size)]
    return torch.cat([torch.from_numpy(part) for part in parts])
