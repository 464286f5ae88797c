"""What each operation of torch costs: multiply-accumulates, bias additions, element-wise and binary operations.

An operation reaches the meter under its ATen name, after torch has taken composite functions apart: ``F.linear`` as
``addmm``, ``torch.einsum`` as ``bmm``, a GRU as matrix products, sigmoids and products. :func:`rule_of` finds its rule;
an operation without one is never taken for free.

Conventions. A complex multiply-accumulate is four. A matrix in a sparse layout costs its stored values only. A pool
costs its window for every output, a reduction its input, a softmax three operations an element, normalisation two an
element with stored statistics and five otherwise (four without scale and shift), any other element-wise function one
an element. A Fourier transform of n complex points is n/2·log₂n butterflies of one complex product: 2·n·log₂n
multiply-accumulates, half of that for real points. Moving, indexing and filling cost nothing. What is written as a
product and a sum, ``(x * w).sum(-1)``, is counted as it runs: element-wise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nutshell.meter import names


@dataclass(frozen=True)
class Cost:
    """What one operation costs, by kind.

    Attributes
    ----------
    kind : str
        Such as ``"convolution"``, ``"matrix product"``, ``"activation"``, ``"pooling"``.
    macs, bias_adds, elementwise, binary : int
        Multiply-accumulates, bias additions, element-wise operations, one-bit operations.
    written : int or None
        Elements produced; ``None`` stands for the whole output.
    """

    kind: str
    macs: int = 0
    bias_adds: int = 0
    elementwise: int = 0
    binary: int = 0
    written: int | None = None


@dataclass(frozen=True)
class Call:
    """An executed operation as the rules see it.

    Attributes
    ----------
    name : str
        ATen name without namespace, overload and the underscore of in-place variants.
    arguments : dict
        Arguments by the names of the operation's schema, left-out ones with their default.
    out : object
        What it returned.
    stored : callable
        Says whether a tensor belongs to the network: a parameter, a buffer, or made from these alone.
    """

    name: str
    arguments: dict[str, Any]
    out: Any
    stored: Callable[[Tensor], bool]

    @property
    def output(self) -> Tensor:
        return self.out[0] if isinstance(self.out, tuple | list) else self.out

    def values(self) -> list[Any]:
        return list(self.arguments.values())


Rule = Callable[[Call], Iterator[Cost]]


def rule_of(func: Any) -> Rule | None:
    """The rule of an ATen operation, or ``None`` if the meter has none.

    Examples
    --------
    >>> rule_of(torch.ops.aten.addmm.default).__name__
    '_matrix_product'
    >>> rule_of(torch.ops.aten.view.default).__name__
    '_free'
    >>> rule_of(torch.ops.aten._linalg_svd.default) is None
    True
    """
    name = name_of(func)
    if name in _RULES:
        return _RULES[name]
    if _is_pointwise(func, name):
        return _pointwise
    returns = func._schema.returns
    if returns and all(r.alias_info is not None and not r.alias_info.is_write for r in returns):
        return _free  # a view
    if returns and not any("Tensor" in str(r.type) for r in returns):
        return _free  # a question about a tensor, such as its size
    return None


def name_of(func: Any) -> str:
    """Name of an operation without namespace, overload and the underscore of in-place variants.

    Examples
    --------
    >>> name_of(torch.ops.aten.add_.Tensor), name_of(torch.ops.aten._softmax.default)
    ('add', '_softmax')
    """
    namespace, name = func._schema.name.split("::")
    if namespace != "aten":
        return f"{namespace}::{name}"
    return name if name.startswith("__") else name.rstrip("_")


def _is_pointwise(func: Any, name: str) -> bool:
    # In-place variants often lack the tag that the plain operation has.
    plain = getattr(getattr(torch.ops.aten, name, None), func._overloadname, func)
    return torch.Tag.pointwise in func.tags or torch.Tag.pointwise in plain.tags


def _free(call: Call) -> Iterator[Cost]:
    return iter(())


def _pointwise(call: Call) -> Iterator[Cost]:
    out, name = call.output, call.name
    if name in names.BINARY:
        bits = 1 if out.dtype == torch.bool else 8 * out.element_size()
        yield Cost("binary", binary=out.numel() * bits)
        return
    complex_ = out.is_complex()
    if name in names.ADDITIONS:
        tensors = [a for a in call.values() if isinstance(a, Tensor)]
        adds = out.numel() * (2 if complex_ else 1)
        if len(tensors) == 2 and call.stored(tensors[0]) != call.stored(tensors[1]):
            yield Cost("bias", bias_adds=adds, written=0)
        else:
            yield Cost("addition", elementwise=adds)
    elif name in names.MULTIPLICATIONS:
        yield Cost("multiplication", elementwise=out.numel() * (6 if complex_ else 1))
    else:
        yield Cost("activation" if name in names.ACTIVATIONS else "other", elementwise=out.numel())


def _convolution(call: Call) -> Iterator[Cost]:
    x, weight, bias, *_ = call.values()
    pixels = (x if call.arguments["transposed"] else call.output).shape[2:]
    macs = x.shape[0] * math.prod(pixels) * weight.numel() * _complex(call.output)
    yield Cost("convolution", macs=macs, bias_adds=0 if bias is None else call.output.numel())


def _matrix_product(call: Call) -> Iterator[Cost]:
    *added, a, b = [v for v in call.values() if isinstance(v, Tensor)]
    yield Cost("matrix product", macs=_products(call, a, b) * _complex(call.output), **_bias(call, added))
    if added and not call.stored(added[0]):
        yield Cost("addition", elementwise=call.output.numel(), written=0)


def _products(call: Call, a: Tensor, b: Tensor) -> int:
    if a.layout is not torch.strided:
        return stored_values(a).numel() * (b.shape[-1] if b.dim() > 1 else 1)
    if b.layout is not torch.strided:
        return stored_values(b).numel() * (a.shape[-2] if a.dim() > 1 else 1)
    batch = a.shape[0] if call.name == "addbmm" else 1
    return call.output.numel() * a.shape[-1] * batch


def _bias(call: Call, added: Sequence[Tensor]) -> dict[str, int]:
    return {"bias_adds": call.output.numel()} if added and call.stored(added[0]) else {}


def _outer(call: Call) -> Iterator[Cost]:
    yield Cost("matrix product", macs=call.output.numel() * _complex(call.output))
    yield Cost("addition", elementwise=call.output.numel(), written=0)


def _trilinear(call: Call) -> Iterator[Cost]:
    a, b, c, *_ = call.values()
    dims = [call.arguments[name] for name in ("expand1", "expand2", "expand3")]
    shapes = [_expanded(tensor.shape, at) for tensor, at in zip((a, b, c), dims, strict=True)]
    terms = math.prod(max(sizes) for sizes in zip(*shapes, strict=True))
    yield Cost("matrix product", macs=terms)
    yield Cost("multiplication", elementwise=terms, written=0)


def _expanded(shape: Sequence[int], at: Sequence[int]) -> list[int]:
    sizes = list(shape)
    for position in sorted(at):
        sizes.insert(position, 1)
    return sizes


def _distance(call: Call) -> Iterator[Cost]:
    first = call.values()[0]
    yield Cost("matrix product", macs=call.output.numel() * first.shape[-1])


def _attention(call: Call) -> Iterator[Cost]:
    query, key, value, *_ = call.values()
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    yield Cost("matrix product", macs=scores * (query.shape[-1] + value.shape[-1]))
    yield Cost("softmax", elementwise=3 * scores, written=scores)


def _lstm_layer(call: Call) -> Iterator[Cost]:
    x, weight_ih, weight_hh, *_ = call.values()
    if call.arguments["mode"] != 2:  # torch hands only LSTMs to oneDNN
        raise NotImplementedError(f"mkldnn_rnn_layer with mode {call.arguments['mode']}: the meter knows LSTMs only.")
    steps, cells = x.shape[0] * x.shape[1], x.shape[0] * x.shape[1] * call.arguments["hidden_size"]
    gates, biased = 4 * cells, call.arguments["has_biases"]
    macs = steps * (weight_ih.numel() + weight_hh.numel())
    yield Cost("matrix product", macs=macs, bias_adds=2 * gates if biased else 0, written=2 * gates)
    yield Cost("addition", elementwise=gates + cells, written=gates + cells)
    yield Cost("activation", elementwise=gates + cells, written=gates + cells)
    yield Cost("multiplication", elementwise=3 * cells, written=3 * cells)


def _window_pool(call: Call) -> Iterator[Cost]:
    dims, window = names.WINDOW_POOLS[call.name], call.values()[1]
    size = math.prod(window) if len(window) == dims else window[0] ** dims
    yield Cost("pooling", elementwise=call.output.numel() * size)


def _adaptive_pool(call: Call) -> Iterator[Cost]:
    yield Cost("pooling", elementwise=call.values()[0].numel())


def _reduction(call: Call) -> Iterator[Cost]:
    x = call.values()[0]
    dims, keep = call.arguments.get("dim"), call.arguments.get("keepdim", False)
    # What F.adaptive_avg_pool2d(x, 1) becomes; torch makes no difference between the two either.
    pool = call.name == "mean" and keep and sorted(d % x.dim() for d in dims or ()) in ([2, 3], [2, 3, 4])
    yield Cost("pooling" if pool else "reduction", elementwise=x.numel())


def _softmax(call: Call) -> Iterator[Cost]:
    yield Cost("softmax", elementwise=3 * call.output.numel())


def _batch_norm(call: Call) -> Iterator[Cost]:
    training = call.arguments.get("training", "no_training" not in call.name and "no_update" not in call.name)
    affine = call.arguments["weight"] is not None
    yield Cost("normalisation", elementwise=call.output.numel() * ((5 if affine else 4) if training else 1 + affine))


def _norm(call: Call) -> Iterator[Cost]:
    yield Cost("normalisation", elementwise=call.output.numel() * (4 if call.arguments.get("weight") is None else 5))


def _resampling(call: Call) -> Iterator[Cost]:
    yield Cost("resampling", elementwise=names.RESAMPLING[call.name] * call.output.numel())


def _dropout(call: Call) -> Iterator[Cost]:
    yield Cost("multiplication", elementwise=call.output.numel() if call.arguments["train"] else 0)


def _scatter_add(call: Call) -> Iterator[Cost]:
    sources = [v for v in call.values() if isinstance(v, Tensor)]
    yield Cost("addition", elementwise=sources[-1].numel())


def _embedding_bag(call: Call) -> Iterator[Cost]:
    table, indices, *_ = call.values()
    yield Cost("addition", elementwise=indices.numel() * table.shape[-1])


def _fold(call: Call) -> Iterator[Cost]:
    yield Cost("addition", elementwise=call.values()[0].numel())


def _fourier(call: Call) -> Iterator[Cost]:
    x, dims = call.values()[0], call.arguments["dim"]
    real = call.name != "_fft_c2c"
    grid = call.output if call.name == "_fft_c2r" else x
    points = [grid.shape[d] for d in dims]
    macs = sum(2 * grid.numel() * math.log2(n) for n in points if n > 1) / (2 if real else 1)
    yield Cost("transform", macs=math.ceil(macs))


def _complex(out: Tensor) -> int:
    return 4 if out.is_complex() else 1


def stored_values(sparse: Tensor) -> Tensor:
    """The values that a sparse tensor holds, in any of torch's sparse layouts."""
    return sparse._values() if sparse.layout is torch.sparse_coo else sparse.values()


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = dict.fromkeys(names.FREE, _free)
    pointwise = names.ACTIVATIONS | names.ADDITIONS | names.MULTIPLICATIONS | names.BINARY
    rules |= dict.fromkeys(pointwise, _pointwise) | dict.fromkeys(names.REDUCTIONS, _reduction)
    rules |= dict.fromkeys(names.SOFTMAX, _softmax) | dict.fromkeys(names.BATCH_NORMS, _batch_norm)
    rules |= dict.fromkeys(names.OTHER_NORMS, _norm) | dict.fromkeys(names.WINDOW_POOLS, _window_pool)
    rules |= dict.fromkeys(names.ADAPTIVE_POOLS, _adaptive_pool) | dict.fromkeys(names.RESAMPLING, _resampling)
    rules |= dict.fromkeys(names.CONVOLUTIONS, _convolution)
    rules |= dict.fromkeys(names.PRODUCTS, _matrix_product)
    rules |= dict.fromkeys(names.FOURIER, _fourier)
    rules |= dict.fromkeys(names.ATTENTION, _attention) | dict.fromkeys(names.SCATTER_ADDITIONS, _scatter_add)
    return rules | {
        "addr": _outer,
        "_trilinear": _trilinear,
        "_cdist_forward": _distance,
        "_euclidean_dist": _distance,
        "mkldnn_rnn_layer": _lstm_layer,
        "native_dropout": _dropout,
        "_embedding_bag": _embedding_bag,
        "_embedding_bag_forward_only": _embedding_bag,
        "col2im": _fold,
    }


_RULES = _table()
