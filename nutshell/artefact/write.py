"""Saving a network as one ``.nut`` file."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from nutshell.artefact.container import pack
from nutshell.artefact.encodings import Dense, Encoding, Form
from nutshell.artefact.encodings.base import DTYPES, dtype_name
from nutshell.artefact.errors import BadArtefact, CannotSave
from nutshell.artefact.graph import Graph, write_graph
from nutshell.artefact.limits import Limits
from nutshell.artefact.network import build
from nutshell.artefact.read import counters, read
from nutshell.artefact.trace import trace
from nutshell.errors import WrongUse


def save(
    network: nn.Module,
    path: str | Path,
    *,
    input_shape: tuple[int, ...],
    encodings: Mapping[str, Encoding] | None = None,
    limits: Limits | None = None,
) -> int:
    """Write a network, as it is in evaluation mode, to a ``.nut`` file; see :func:`to_bytes`.

    Parameters
    ----------
    network : torch.nn.Module
        Not changed.
    path : str or Path
        The file; it is replaced as a whole, or not at all if saving fails.
    input_shape : tuple of int
        Shape of one image, ``(C, H, W)``.
    encodings : mapping of str to Encoding, optional
        By tensor, such as ``{"fc1.weight": LowRank(40)}``; the others are stored dense.
    limits : Limits, optional
        What the file must keep to, since readers will ask for it.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    CannotSave
        If the network can't be expressed; nothing is written then.
    """
    data = to_bytes(network, input_shape=input_shape, encodings=encodings, limits=limits)
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)
    return len(data)


def to_bytes(
    network: nn.Module,
    *,
    input_shape: tuple[int, ...],
    encodings: Mapping[str, Encoding] | None = None,
    limits: Limits | None = None,
) -> bytes:
    """The bytes of a ``.nut`` file. The same network gives the same bytes.

    The graph is run beside the network on two random images before it is written, and the bytes are read back, so
    that a file which means something else, or which a reader would refuse, isn't made.

    Raises
    ------
    CannotSave
        If the network can't be expressed, or an encoding doesn't fit its tensor.
    WrongUse
        If ``encodings`` names a tensor that isn't there.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> data = to_bytes(network, input_shape=(1, 28, 28))
    >>> 0 < len(data) - 4 * 7850 < 150  # header, graph and check sum
    True
    """
    with torch.no_grad():
        graph, tensors = trace(network, tuple(input_shape))
        _compare(network, graph, tensors)
        table, payloads = _encode(graph, tensors, encodings or {})
        data = pack(write_graph(graph) | {"tensors": table}, payloads)
        try:
            read(data, limits=limits)
        except BadArtefact as error:
            raise CannotSave(f"The file would be refused by its readers: {error}") from None
    return data


def _encode(
    graph: Graph, tensors: Mapping[str, Tensor], encodings: Mapping[str, Encoding]
) -> tuple[dict[str, list], list[bytes]]:
    _check_names(graph, tensors, encodings)
    table: dict[str, list] = {}
    payloads = []
    for name, tensor in tensors.items():
        encoding = encodings.get(name, Dense())
        try:
            settings, payload = encoding.encode(tensor)
        except ValueError as error:
            raise CannotSave(f"{name} can't be stored as {encoding.name}: {error}.") from None
        table[name] = [list(tensor.shape), len(payload)]
        if encoding.name != "dense" or settings:
            table[name] += [encoding.name] + ([settings] if settings else [])
        payloads.append(payload)
    return table, payloads


def _check_names(graph: Graph, tensors: Mapping[str, Tensor], encodings: Mapping[str, Encoding]) -> None:
    for name, encoding in encodings.items():
        if name in graph.shared:
            raise WrongUse(f"encodings: {name} is the same tensor as {graph.shared[name]}; name that one.")
        if name not in tensors:
            near = get_close_matches(name, tensors, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise WrongUse(f"encodings: there is no tensor {name!r}. {hint}There are: {', '.join(tensors)}.")
        if not isinstance(encoding, Encoding):
            raise WrongUse(f"encodings[{name!r}] is {type(encoding).__name__}; give an encoding such as LowRank(40).")


def _compare(network: nn.Module, graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """Run network and graph side by side: hooks and other things that a trace doesn't see make them differ."""
    copy, places = build(graph, {name: Form(tuple(tensor.shape)) for name, tensor in tensors.items()})
    state = {target: tensors[name] for name, parts in places.items() for target in parts[""]}
    copy.load_state_dict(state | counters(graph), strict=True, assign=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *graph.input_shape, generator=generator).to(DTYPES[graph.dtype])
    device = next(iter(tensors.values()), images).device
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.random.fork_rng(devices=[]):
            expected = network.eval()(images.to(device))
        found = copy(images.to(device))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise CannotSave(f"The network can't run on images of shape {list(graph.input_shape)}: {error}") from None
    finally:
        for module, mode in modes.items():
            module.training = mode
    tolerance = 1e-3 if dtype_name(images) in ("float32", "float64") else 0.1
    scale = expected.abs().nan_to_num(0, 0, 0).max().clamp(min=1e-6).item()
    same_shape = found.shape == expected.shape
    if not same_shape or not torch.allclose(found, expected, tolerance, tolerance * scale, equal_nan=True):
        raise CannotSave("The network computes something that its layers alone don't: a hook, a changed forward or a "
                         "call that tracing can't see. Put it into layers.")
