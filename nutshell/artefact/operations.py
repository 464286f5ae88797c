"""The closed list of operations that a ``.nut`` file can hold. Each makes one module; none runs anything of the file's.

An operation without tensors is one line in :data:`OPERATIONS`; one with tensors is a subclass of :class:`Operation`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nutshell.artefact import shapes
from nutshell.artefact.binary import InputScales1d, InputScales2d, Sign
from nutshell.artefact.circulant import BlockCirculant
from nutshell.artefact.encodings.base import Form, Shape
from nutshell.artefact.options import MOST, Choice, Dimension, Flag, Option, Real, Sizes, Whole
from nutshell.artefact.scaling import Mean, Repeat, Scale
from nutshell.models.cifar import PaddedShortcut

Options = dict[str, Any]
ANY_RANK = frozenset({2, 3, 4, 5})


class Add(nn.Module):
    """The sum of two or more values."""

    def forward(self, *values: Tensor) -> Tensor:
        total = values[0] + values[1]
        for value in values[2:]:
            total = total + value
        return total


class Multiply(nn.Module):
    """The element-wise product of two values."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class Concatenate(nn.Module):
    """Values side by side along one dimension (1: channels)."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, self.dim)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes
    ----------
    name : str
        In the file.
    make : callable
        Takes the options by name and returns the module.
    module : type
        The module that is saved as this operation; the very type, since a subclass may compute something else.
    options : mapping of str to Option
        Options by the name of the module's attribute.
    dims : frozenset of int
        How many dimensions an input may have, the batch included.
    inputs : tuple of int
        Least and most inputs.
    fixed : mapping of str to object
        Attributes that the module must have for the operation to be the same.
    shape : callable
        Gives the output's shape from options and inputs' shapes; see :mod:`nutshell.artefact.shapes`.
    """

    name: str
    make: Callable[..., nn.Module]
    module: type[nn.Module]
    options: Mapping[str, Option] = field(default_factory=dict)
    dims: frozenset[int] = ANY_RANK
    inputs: tuple[int, int] = (1, 1)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    shape: Callable[[Options, Sequence[Shape]], Shape] = shapes.same
    tensors: ClassVar[Mapping[str, bool]] = {}  # local names, and whether they must be there

    def options_of(self, module: nn.Module) -> Options:
        """The options of a module; ``ValueError`` names one that can't be expressed."""
        for name, value in self.fixed.items():
            if getattr(module, name) != value:
                raise ValueError(f"{name}={getattr(module, name)!r} can't be expressed, only {value!r}")
        return {name: self._option(name, getattr(module, name)) for name in self.options}

    def read_options(self, written: Mapping[str, Any]) -> Options:
        """Check options from a file and fill in the defaults."""
        unknown = sorted(set(written) - set(self.options))
        if unknown:
            raise ValueError(f"{self.name} has no option {unknown[0]!r}; it has {', '.join(self.options) or 'none'}")
        missing = [name for name, o in self.options.items() if o.default is None and name not in written]
        if missing:
            raise ValueError(f"{self.name} needs the option {missing[0]!r}")
        return {name: self._option(name, written.get(name, option.default)) for name, option in self.options.items()}

    def build(self, options: Options, forms: Mapping[str, Form]) -> nn.Module:
        """Make the module; on the meta device no memory is taken. ``forms`` are those of its tensors by local name."""
        return self.make(**options)

    def place(self, tensor: str, part: str, forms: Mapping[str, Form]) -> str:
        """Name in the module's state of one part of a decoded tensor."""
        return tensor

    def output(self, options: Options, forms: Mapping[str, Form], inputs: Sequence[Shape]) -> Shape:
        """Shape of the output for one image, without the batch; ``ValueError`` says what doesn't fit."""
        for shape in inputs:
            if len(shape) + 1 not in self.dims or len(shape) != len(inputs[0]):
                raise ValueError(f"{self.name} can't take shape {list(shape)}")
        return self.shape(options, inputs)

    def macs(self, options: Options, forms: Mapping[str, Form], output: Shape) -> int:
        """Multiply-accumulates for one image."""
        return 0

    def _option(self, name: str, value: Any) -> Any:
        try:
            return self.options[name].read(value)
        except ValueError as error:
            raise ValueError(f"{name}={error}") from None


class Weighted(Operation):
    """A linear layer or a convolution. A weight of low rank makes two of them, in a row, named ``0`` and ``1``."""

    tensors: ClassVar[Mapping[str, bool]] = {"weight": True, "bias": False}

    def build(self, options: Options, forms: Mapping[str, Form]) -> nn.Module:
        weight, bias = forms["weight"], "bias" in forms
        expected = 2 if self.module is nn.Linear else 3 if self.module is nn.Conv1d else 4
        if len(weight.shape) != expected:
            raise ValueError(f"its weight has {len(weight.shape)} dimensions instead of {expected}")
        if weight.rank is None:
            return self._layer(weight.shape, bias, options)
        if options.get("groups", 1) != 1:
            raise ValueError("a weight of low rank in a convolution with groups isn't possible")
        parts = weight.parts
        return nn.Sequential(self._layer(parts["0"], False, options), self._layer(parts["1"], bias, {}))

    def place(self, tensor: str, part: str, forms: Mapping[str, Form]) -> str:
        if forms["weight"].rank is None:
            return tensor
        return f"{part or '1'}.{tensor}"

    def output(self, options: Options, forms: Mapping[str, Form], inputs: Sequence[Shape]) -> Shape:
        taken = super().output(options, forms, inputs)
        weight = forms["weight"].shape
        at = -1 if self.module is nn.Linear else 0
        wanted = weight[1] * options.get("groups", 1)
        if taken[at] != wanted:
            raise ValueError(f"takes {wanted} {'channels' if at == 0 else 'features'}, its input has {taken[at]}")
        if self.module is nn.Linear:
            return (*taken[:-1], weight[0])
        return (weight[0], *shapes.windows(options, weight[2:], taken[1:]))

    def macs(self, options: Options, forms: Mapping[str, Form], output: Shape) -> int:
        return multiply_accumulates(forms["weight"], output)

    def _layer(self, shape: Shape, bias: bool, options: Options) -> nn.Module:
        if self.module is nn.Linear:
            return nn.Linear(shape[1], shape[0], bias=bias)
        groups = options.get("groups", 1)
        if shape[0] % groups:
            raise ValueError(f"{shape[0]} output channels can't be shared among {groups} groups")
        return self.module(shape[1] * groups, shape[0], shape[2:], bias=bias, **options)

    def options_of(self, module: nn.Module) -> Options:
        if isinstance(module, nn.Linear):
            return {}
        if module.padding_mode != "zeros":
            raise ValueError(f"padding_mode={module.padding_mode!r} can't be expressed, only 'zeros'")
        padding = _padding(module)
        found = {name: getattr(module, name) for name in self.options} | {"padding": padding}
        return {name: self._option(name, value) for name, value in found.items()}


class Circulant(Operation):
    """A linear layer of circulant blocks; its weight holds their first columns, ``(rows, columns, block)``."""

    tensors: ClassVar[Mapping[str, bool]] = {"weight": True, "bias": False}

    def build(self, options: Options, forms: Mapping[str, Form]) -> nn.Module:
        shape, block = forms["weight"].shape, forms["weight"].shape[-1]
        expected = (-(-options["out_features"] // block), -(-options["in_features"] // block), block)
        if shape != expected or forms["weight"].rank is not None:
            raise ValueError(f"its weight has shape {list(shape)}, and first columns of {block} numbers for "
                             f"{options['in_features']} inputs and {options['out_features']} outputs {list(expected)}")
        return BlockCirculant(**options, block=block, bias="bias" in forms)

    def output(self, options: Options, forms: Mapping[str, Form], inputs: Sequence[Shape]) -> Shape:
        taken = super().output(options, forms, inputs)
        if taken[-1] != options["in_features"]:
            raise ValueError(f"takes {options['in_features']} features, its input has {taken[-1]}")
        return (*taken[:-1], options["out_features"])

    def macs(self, options: Options, forms: Mapping[str, Form], output: Shape) -> int:
        """As the meter counts them: real transforms of k points at k·log₂k, and complex products at four each."""
        rows, columns, block = forms["weight"].shape
        transforms = math.ceil(columns * block * math.log2(block)) + math.ceil(rows * block * math.log2(block))
        return math.prod(output[:-1]) * (transforms + 4 * rows * columns * (block // 2 + 1))


class BatchNorm(Operation):
    """Batch normalisation with the statistics that were learned: (x − mean) / √(variance + eps) · weight + bias."""

    tensors: ClassVar[Mapping[str, bool]] = {"weight": False, "bias": False, "running_mean": True, "running_var": True}

    def build(self, options: Options, forms: Mapping[str, Form]) -> nn.Module:
        if ("weight" in forms) != ("bias" in forms):
            raise ValueError("weight and bias must be there both, or neither")
        channels = forms["running_mean"].shape[0]
        return self.module(channels, eps=options["eps"], affine="weight" in forms)

    def output(self, options: Options, forms: Mapping[str, Form], inputs: Sequence[Shape]) -> Shape:
        channels = forms["running_mean"].shape[0]
        if inputs[0][0] != channels:
            raise ValueError(f"has {channels} channels, its input {inputs[0][0]}")
        return super().output(options, forms, inputs)

    def options_of(self, module: nn.Module) -> Options:
        if module.running_mean is None:
            raise ValueError("track_running_stats=False: without running statistics each image depends on its batch")
        counter: Any = module.num_batches_tracked
        seen = 0 if counter is None or counter.is_meta else int(counter)
        return {"eps": self._option("eps", module.eps), "batches": self._option("batches", seen)}


class Scaling(Operation):
    """A value times one stored number, or one for each channel."""

    tensors: ClassVar[Mapping[str, bool]] = {"weight": True}

    def build(self, options: Options, forms: Mapping[str, Form]) -> nn.Module:
        if len(forms["weight"].shape) != 1:
            raise ValueError(f"its weight has {len(forms['weight'].shape)} dimensions instead of 1")
        return Scale(forms["weight"].shape[0])

    def output(self, options: Options, forms: Mapping[str, Form], inputs: Sequence[Shape]) -> Shape:
        numbers = forms["weight"].shape[0]
        if numbers not in (1, inputs[0][0]):
            raise ValueError(f"has {numbers} numbers for {inputs[0][0]} channels")
        return super().output(options, forms, inputs)


def _padding(module: Any) -> Any:
    if module.padding == "valid":
        return 0
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        if any(each % 2 for each in total):
            raise ValueError("padding='same' that is wider on one side can't be expressed")
        return tuple(each // 2 for each in total)
    return module.padding


def _convolution(name: str, module: type[nn.Module], count: int) -> Operation:
    options: dict[str, Option] = dict(
        stride=Sizes(count, 1, MOST, (1,) * count), padding=Sizes(count, 0, MOST, (0,) * count),
        dilation=Sizes(count, 1, MOST, (1,) * count), groups=Whole(1, MOST, 1),
    )  # fmt: skip
    return Weighted(name, module, module, options, frozenset({count + 2}))


def _pool(name: str, module: type[nn.Module], count: int, **more: Option) -> Operation:
    options: dict[str, Option] = dict(
        kernel_size=Sizes(count, 1), stride=Sizes(count, 1), padding=Sizes(count, 0, MOST, (0,) * count),
        ceil_mode=Flag(), **more,
    )  # fmt: skip
    fixed: dict[str, Any] = {"return_indices": False} if module in (nn.MaxPool1d, nn.MaxPool2d) else {}
    if module is nn.AvgPool2d:
        fixed = {"divisor_override": None}
    return Operation(name, module, module, options, frozenset({count + 2}), fixed=fixed, shape=shapes.pool)


def _batch_norm(name: str, module: type[nn.Module], dims: frozenset[int]) -> Operation:
    options: dict[str, Option] = dict(eps=Real(0.0, 1.0, 1e-5), batches=Whole(0, 1 << 62, 0))
    return BatchNorm(name, module, module, options, dims)


def _each(name: str, module: type[nn.Module], **options: Option) -> Operation:
    return Operation(name, module, module, options)


_ALL = (
    Weighted("linear", nn.Linear, nn.Linear),
    Circulant("circulant", BlockCirculant, BlockCirculant,
              {"in_features": Whole(1, MOST), "out_features": Whole(1, MOST)}),
    _convolution("conv1d", nn.Conv1d, 1),
    _convolution("conv2d", nn.Conv2d, 2),
    _batch_norm("batch_norm1d", nn.BatchNorm1d, frozenset({2, 3})),
    _batch_norm("batch_norm2d", nn.BatchNorm2d, frozenset({4})),
    _pool("max_pool1d", nn.MaxPool1d, 1, dilation=Sizes(1, 1, MOST, (1,))),
    _pool("max_pool2d", nn.MaxPool2d, 2, dilation=Sizes(2, 1, MOST, (1, 1))),
    _pool("avg_pool1d", nn.AvgPool1d, 1, count_include_pad=Flag(True)),
    _pool("avg_pool2d", nn.AvgPool2d, 2, count_include_pad=Flag(True)),
    Operation("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool1d,
              {"output_size": Sizes(1, 1)}, frozenset({3}), shape=shapes.adaptive),
    Operation("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool2d,
              {"output_size": Sizes(2, 1)}, frozenset({4}), shape=shapes.adaptive),
    Operation("flatten", nn.Flatten, nn.Flatten, {"start_dim": Whole(1, 4, 1), "end_dim": Dimension()},
              shape=shapes.flatten),
    _each("relu", nn.ReLU),
    _each("relu6", nn.ReLU6),
    _each("leaky_relu", nn.LeakyReLU, negative_slope=Real(-1e3, 1e3, 0.01)),
    _each("sigmoid", nn.Sigmoid),
    _each("tanh", nn.Tanh),
    _each("silu", nn.SiLU),
    _each("gelu", nn.GELU, approximate=Choice(("none", "tanh"), "none")),
    Operation("local_response_norm", nn.LocalResponseNorm, nn.LocalResponseNorm,
              dict(size=Whole(1, 31), alpha=Real(0, 1e3, 1e-4), beta=Real(0, 1e3, 0.75), k=Real(0, 1e3, 1.0)),
              frozenset({3, 4})),
    _each("softmax", nn.Softmax, dim=Dimension()),
    _each("log_softmax", nn.LogSoftmax, dim=Dimension()),
    Operation("add", Add, Add, inputs=(2, 64), shape=shapes.broadcast),
    Operation("multiply", Multiply, Multiply, inputs=(2, 2), shape=shapes.broadcast),
    Operation("concatenate", Concatenate, Concatenate, {"dim": Whole(1, 4, 1)}, inputs=(1, 1024),
              shape=shapes.concatenate),
    Operation("padded_shortcut", PaddedShortcut, PaddedShortcut, {"new_channels": Whole(0, MOST)}, frozenset({4}),
              shape=shapes.padded_shortcut),
    Scaling("scale", Scale, Scale),
    Operation("repeat", Repeat, Repeat, {"times": Sizes(2, 1, 64)}, frozenset({4}), shape=shapes.repeat),
    Operation("mean", Mean, Mean, dims=frozenset({4}), shape=shapes.channels),
    _each("sign", Sign),
    Operation("input_scales1d", InputScales1d, InputScales1d, dims=frozenset({2}), shape=shapes.one_channel),
    Operation("input_scales2d", InputScales2d, InputScales2d,
              dict(kernel_size=Sizes(2, 1), stride=Sizes(2, 1, MOST, (1, 1)), padding=Sizes(2, 0, MOST, (0, 0))),
              frozenset({4}), shape=shapes.one_channel),
)  # fmt: skip

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
BY_MODULE: dict[type[nn.Module], Operation] = {operation.module: operation for operation in _ALL}
DROPPED: tuple[type[nn.Module], ...] = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)


def multiply_accumulates(form: Form, output: Shape) -> int:
    """Multiply-accumulates of a linear layer or convolution for one image, from its weight and its output's shape.

    Parameters
    ----------
    form : Form
        Of the weight.
    output : tuple of int
        Shape of the output without the batch; for a convolution channels first.

    Examples
    --------
    >>> multiply_accumulates(Form((300, 784)), (300,)), multiply_accumulates(Form((300, 784), 10), (300,))
    (235200, 10840)
    """
    positions = math.prod(output) // form.shape[0]
    return positions * form.elements
