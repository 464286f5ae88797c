"""Shapes of what operations put out, from the shapes of what they take, in plain numbers and without the batch.

Each function takes the options of an operation and its inputs' shapes, and raises ``ValueError`` with the rule in words
if they don't fit. Nothing is computed and no memory is taken, however large the shapes are.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]
Options = Mapping[str, Any]


def same(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Element-wise: the input's shape; an option ``dim`` must be one of its dimensions, the batch being 0."""
    _dimension(options, "dim", inputs[0])
    return inputs[0]


def flatten(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Dimensions from ``start_dim`` to ``end_dim`` become one.

    Examples
    --------
    >>> flatten({"start_dim": 1, "end_dim": -1}, [(20, 4, 4)])
    (320,)
    """
    shape = inputs[0]
    _dimension(options, "start_dim", shape)
    _dimension(options, "end_dim", shape)
    start = options["start_dim"] - 1
    end = len(shape) if options["end_dim"] == -1 else options["end_dim"]
    if end <= start:
        raise ValueError(f"flattens from dimension {start + 1} to {end}: the order is wrong")
    return (*shape[:start], math.prod(shape[start:end]), *shape[end:])


def broadcast(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Equal shapes, or 1 where they differ; as many dimensions each.

    Examples
    --------
    >>> broadcast({}, [(8, 4, 4), (8, 1, 1)])
    (8, 4, 4)
    """
    for sizes in zip(*inputs, strict=True):
        if len({size for size in sizes if size != 1}) > 1:
            raise ValueError(f"shapes {' and '.join(map(_show, inputs[:4]))} don't fit together")
    return tuple(max(sizes) for sizes in zip(*inputs, strict=True))


def concatenate(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Sizes along ``dim`` add up, the others are equal."""
    _dimension(options, "dim", inputs[0])
    along = options["dim"] - 1
    others = {shape[:along] + shape[along + 1 :] for shape in inputs}
    if len(others) > 1:
        raise ValueError(f"shapes {' and '.join(map(_show, inputs[:4]))} differ in more than dimension {along + 1}")
    return (*inputs[0][:along], sum(shape[along] for shape in inputs), *inputs[0][along + 1 :])


def adaptive(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Channels as they are, positions as the option says."""
    return (inputs[0][0], *options["output_size"])


def channels(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Channels alone."""
    return (inputs[0][0],)


def repeat(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Channels as they are, positions times as many.

    Examples
    --------
    >>> repeat({"times": (2, 3)}, [(8, 5, 5)])
    (8, 10, 15)
    """
    count, *sizes = inputs[0]
    return (count, *(size * times for size, times in zip(sizes, options["times"], strict=True)))


def padded_shortcut(options: Options, inputs: Sequence[Shape]) -> Shape:
    """More channels, every second pixel."""
    channels, height, width = inputs[0]
    return (channels + options["new_channels"], (height + 1) // 2, (width + 1) // 2)


def pool(options: Options, inputs: Sequence[Shape]) -> Shape:
    """Channels as they are, windows along the others; padding is at most half a window."""
    for kernel, padding in zip(options["kernel_size"], options["padding"], strict=True):
        if padding > kernel // 2:
            raise ValueError(f"padding {padding} is more than half of its window, {kernel}")
    return (inputs[0][0], *windows(options, options["kernel_size"], inputs[0][1:]))


def one_channel(options: Options, inputs: Sequence[Shape]) -> Shape:
    """The mean over channels or features: one of them is left, and windows along the others if the options have any.

    Examples
    --------
    >>> one_channel({}, [(800,)]), one_channel(dict(kernel_size=(5, 5), stride=(1, 1), padding=(0, 0)), [(20, 12, 12)])
    ((1,), (1, 8, 8))
    """
    if "kernel_size" not in options:
        return (1, *inputs[0][1:])
    return (1, *pool(options, inputs)[1:])


def windows(options: Options, kernel_size: Shape, sizes: Shape) -> Shape:
    """How many windows fit along each dimension: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1.

    With ``ceil_mode`` it is rounded up, but no window begins in the padding behind.

    Examples
    --------
    >>> windows({"stride": (2,), "padding": (1,)}, (3,), (28,))
    (14,)
    """
    found = []
    for number, (size, kernel) in enumerate(zip(sizes, kernel_size, strict=True)):
        stride, padding = options["stride"][number], options["padding"][number]
        dilation = options["dilation"][number] if "dilation" in options else 1
        room = size + 2 * padding - dilation * (kernel - 1) - 1
        count = (room + (stride - 1 if options.get("ceil_mode") else 0)) // stride + 1
        if options.get("ceil_mode") and (count - 1) * stride >= size + padding:
            count -= 1
        if count < 1:
            raise ValueError(f"a window of {dilation * (kernel - 1) + 1} is wider than {size} with padding {padding}")
        found.append(count)
    return tuple(found)


def _dimension(options: Options, name: str, shape: Shape) -> None:
    if options.get(name, 0) > len(shape):
        raise ValueError(f"{name}={options[name]}, but its input has {len(shape) + 1} dimensions with the batch")


def _show(shape: Shape) -> str:
    return str(list(shape))
