"""Counting a network from what it really executes."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nutshell.errors import WrongUse
from nutshell.meter import standins
from nutshell.meter.recorder import Recorder, Uncounted
from nutshell.meter.report import LayerCount, Operation, Report, StoredTensor
from nutshell.meter.stored import stored_tensors

# Stored values and inputs up to which a network on the CPU is simply run there: torch loads its shape functions for
# the meta device only when they are needed, which takes seconds.
_SMALL = 2_000_000


def count(
    network: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    *,
    inputs: Tensor | Sequence[Tensor] | None = None,
    dtype: torch.dtype | None = None,
    device: str | None = None,
    unknown: str = "refuse",
    name: str | None = None,
) -> Report:
    """Count parameters, multiply-accumulates and all other operations of a network, from one execution of it.

    The network runs as it does at inference (``eval`` mode, no gradients). All but small networks run on tensors of the
    meta device, which have shapes and no values, so that counting is quick and takes no memory. Functional calls,
    groups, shared weights and recurrent layers count what they execute; a masked dense layer counts dense; a layer
    of weights ±α on signs counts binary operations, see :mod:`nutshell.meter.signs`. The
    network, its statistics and the random state are left as they were.

    Parameters
    ----------
    network : torch.nn.Module
        On any device, with any floating dtype.
    input_shape : sequence of int
        With the batch in front, such as ``(1, 3, 224, 224)``. A sequence of shapes for a network of several inputs.
    inputs : Tensor or sequence of Tensor, optional
        Instead of ``input_shape``, for networks that depend on values.
    dtype : torch.dtype, optional
        Of the input; that of the network's first floating tensor if left out.
    device : str, optional
        ``"meta"``, or ``"own"`` for the network's own device. If left out, a small network on the CPU runs there, any
        other on meta, or on its own device if it needs values.
    unknown : {"refuse", "list"}
        What to do with an operation that the meter has no rule for.
    name : str, optional
        What the report calls the network; its class if left out.

    Returns
    -------
    Report
        Counts per layer and in total; prints as a table.

    Raises
    ------
    WrongUse
        If the network cannot run on that input, or has parameters without a shape.
    Uncounted
        If the meter has no rule for an operation and ``unknown`` is ``"refuse"``.

    Examples
    --------
    >>> report = count(nn.Linear(784, 300), (1, 784))
    >>> report.total.parameters, report.macs, report.flops, report.total.bias_adds
    (235500, 235200, 470400, 300)
    """
    if unknown not in ("refuse", "list") or device not in (None, "meta", "own"):
        raise WrongUse(f'unknown={unknown!r}, device={device!r}: choose "refuse" or "list", and "meta", "own" or None.')
    if (input_shape is None) == (inputs is None):
        raise WrongUse("Give either input_shape, such as (1, 3, 224, 224), or inputs.")
    if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
        raise WrongUse("The network has lazy parameters without a shape: run it once on an input, then count it.")
    given = _inputs(network, input_shape, inputs, dtype)
    recorder, used = _execute(network, given, device, unknown == "refuse")
    tensors = stored_tensors(network, recorder.multiplied())
    shapes = tuple(tuple(tensor.shape) for tensor in given)
    return Report(
        network=name or type(network).__name__,
        input_shape=shapes[0] if len(shapes) == 1 else shapes,
        device=used,
        layers=_layers(network, recorder, tensors),
        operations=tuple(recorder.operations),
        executions=tuple(recorder.executions),
        tensors=tensors,
        uncounted=tuple(recorder.uncounted),
    )


def _inputs(network: nn.Module, input_shape: Any, inputs: Any, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
    if inputs is not None:
        return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    several = bool(input_shape) and all(isinstance(shape, tuple | list) for shape in input_shape)
    shapes = [tuple(shape) for shape in (input_shape if several else [input_shape])]
    for shape in shapes:
        if not shape or any(type(size) is not int or size < 1 for size in shape):
            raise WrongUse(f"input_shape={input_shape}: give whole numbers from 1, the batch first: (1, 3, 224, 224).")
    if dtype is None:
        floating = (t.dtype for t in (*network.parameters(), *network.buffers()) if t.is_floating_point())
        dtype = next(floating, torch.get_default_dtype())
    return tuple(torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)


def _execute(network: nn.Module, given: tuple[Tensor, ...], device: str | None, strict: bool) -> tuple[Recorder, str]:
    """Run on meta, or on the network's own device where asked to, where meta cannot tell, or where it is quicker."""
    stored = [*network.parameters(), *network.buffers()]
    own = next((tensor.device for tensor in stored), torch.device("cpu"))
    must_meta = device == "meta" or own.type == "meta"
    small = own.type == "cpu" and sum(tensor.numel() for tensor in (*stored, *given)) <= _SMALL
    if must_meta or (device is None and not small and standins.fits_meta(network)):
        try:
            return _run(network, [tensor.to("meta") for tensor in given], standins.on_meta, strict), "meta"
        except Uncounted:
            raise
        except Exception as error:
            if must_meta:
                raise _cannot_run(network, given, error) from error
            # Values are needed, say for a branch: the network's own device decides, and raises what is really wrong.
    # Zeros are valid numbers and valid indices.
    real = [torch.zeros(t.shape, dtype=t.dtype, device=own) if t.is_meta else t.to(own) for t in given]
    try:
        return _run(network, real, standins.on_copies, strict), str(own)
    except Uncounted:
        raise
    except Exception as error:
        raise _cannot_run(network, given, error) from error


def _run(network: nn.Module, inputs: list[Tensor], stand_in: Any, strict: bool) -> Recorder:
    originals = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    with standins.untouched(network):
        recorder = Recorder(network, stand_in(network), originals, strict)
        with recorder:
            network(*inputs)
    return recorder


def _cannot_run(network: nn.Module, given: tuple[Tensor, ...], error: Exception) -> WrongUse:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given)
    return WrongUse(f"{type(network).__name__} does not run on an input of shape {shapes}: {error}")


def _layers(network: nn.Module, recorder: Recorder, tensors: tuple[StoredTensor, ...]) -> tuple[LayerCount, ...]:
    stored, done, shapes = defaultdict(list), defaultdict(list), {}
    calls = Counter(execution.layer for execution in recorder.executions)
    for tensor in tensors:
        stored[tensor.layer].append(tensor)
    for operation in recorder.operations:
        done[operation.layer].append(operation)
        shapes[operation.layer] = operation.output_shape
    shapes |= {execution.layer: execution.output_shape for execution in recorder.executions if execution.leaf}
    kinds = {path: type(module).__name__ for path, module in network.named_modules()}
    paths = dict.fromkeys([*recorder.order, *stored])  # what never ran comes last
    layers = (_layer(p, kinds[p], stored[p], done[p], shapes.get(p, ()), calls[p]) for p in paths)
    return tuple(layer for layer in layers if not layer.empty)


def _layer(
    path: str, kind: str, stored: list[StoredTensor], done: list[Operation], shape: tuple[int, ...], calls: int
) -> LayerCount:
    weights = [tensor for tensor in stored if tensor.weight]
    elementwise: Counter[str] = Counter()
    for operation in done:
        if operation.elementwise:
            elementwise[operation.kind] += operation.elementwise
    nonzeros = [tensor.nonzero for tensor in weights]
    return LayerCount(
        path,
        kind,
        parameters=sum(tensor.elements for tensor in weights),
        nonzero=None if None in nonzeros else sum(n for n in nonzeros if n is not None),
        buffers=sum(tensor.elements for tensor in stored if not tensor.weight),
        bytes=sum(tensor.bytes for tensor in weights),
        macs=sum(operation.macs for operation in done),
        bias_adds=sum(operation.bias_adds for operation in done),
        elementwise=dict(elementwise),
        binary=sum(operation.binary for operation in done),
        activations=sum(operation.written for operation in done),
        output_shape=shape,
        calls=calls,
    )
