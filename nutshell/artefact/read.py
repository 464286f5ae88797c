"""Reading a ``.nut`` file: everything is checked before anything is decoded, and nothing of it is ever run as code."""

import hashlib
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from nutshell.artefact.container import unpack
from nutshell.artefact.encodings import ENCODINGS
from nutshell.artefact.encodings.base import DTYPES, Form, Shape
from nutshell.artefact.errors import BadArtefact
from nutshell.artefact.graph import Entry, Graph, read_header
from nutshell.artefact.limits import Limits
from nutshell.artefact.network import Network, build, infer
from nutshell.artefact.operations import OPERATIONS
from nutshell.errors import WrongUse


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes
    ----------
    name : str
        Such as ``"fc1.weight"``.
    encoding : str
        How it is stored.
    shape : tuple of int
        Shape that the layer means; factors of low rank have other ones.
    bytes : int
        Length of its payload.
    form : Form
        What it decodes to.
    """

    name: str
    encoding: str
    shape: Shape
    bytes: int
    form: Form


@dataclass(frozen=True)
class Artefact:
    """What a ``.nut`` file holds.

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode, on the CPU.
    graph : Graph
        Its nodes.
    tensors : tuple of StoredTensor
        In the order of the file; a shared tensor once.
    bytes : int
        Size of the file: all payloads and the header.
    shapes : tuple of tuple of int
        Of the input and of each node's output, for one image.
    macs : int
        Multiply-accumulates of linear layers and convolutions for one image.
    activations : int
        Numbers that all nodes together put out for one image, the input included.
    """

    network: nn.Module
    graph: Graph
    tensors: tuple[StoredTensor, ...]
    bytes: int
    shapes: tuple[Shape, ...]
    macs: int
    activations: int

    @property
    def input_shape(self) -> Shape:
        """Of one image, without the batch: ``(C, H, W)``."""
        return self.graph.input_shape

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs, outputs and weights."""
        return DTYPES[self.graph.dtype]

    @cached_property
    def fingerprint(self) -> str:
        """See :func:`fingerprint`."""
        return fingerprint(self.network)

    def table(self) -> list[tuple[str, str, Shape, int, float]]:
        """Rows of name, encoding, shape, bytes and share of the file, the header last; they add up to the file."""
        rows = [(t.name, t.encoding, t.shape, t.bytes) for t in self.tensors]
        rows.append(("header and graph", "", (), self.bytes - sum(t.bytes for t in self.tensors)))
        return [(*row, row[3] / self.bytes) for row in rows]


def load(path: str | Path, *, limits: Limits | None = None) -> Artefact:
    """Read a ``.nut`` file.

    Parameters
    ----------
    path : str or Path
        A regular file.
    limits : Limits, optional
        How large file and network may be.

    Raises
    ------
    BadArtefact
        If the file is damaged, too large or says something that isn't allowed: what and where.
    WrongUse
        If there is no such file.
    """
    path, limits = Path(path), limits or Limits()
    try:
        found = path.stat()
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror}. Give the path of a .nut file.") from None
    if not stat.S_ISREG(found.st_mode):
        raise WrongUse(f"{path} is not a file. Give the path of a .nut file.")
    try:
        if found.st_size > limits.file_bytes:
            raise BadArtefact("file", f"{found.st_size:,} bytes, more than the {limits.file_bytes:,} allowed.")
        with path.open("rb") as file:
            data = file.read(limits.file_bytes + 1)  # it may have grown since
        return read(data, limits=limits)
    except BadArtefact as error:
        raise BadArtefact(error.where, error.what, path.name) from None


def read(data: bytes, *, limits: Limits | None = None) -> Artefact:
    """Read the bytes of a ``.nut`` file; see :func:`load`.

    The order matters: header, graph and table, then shapes, multiply-accumulates and activations, and only
    then are tensors decoded, each of a size that was allowed.
    """
    limits = limits or Limits()
    header, payloads = unpack(data, limits)
    graph, table = read_header(header, limits)
    forms = {entry.name: entry.form for entry in table}
    network, places = build(graph, forms)
    inferred = infer(graph, forms, limits)
    stored = sum(entry.size for entry in table)
    if stored != len(payloads):
        raise BadArtefact("payloads", f"{len(payloads):,} bytes, but the table of tensors adds up to {stored:,}.")
    _fill(network, graph, table, places, payloads)
    tensors = tuple(StoredTensor(e.name, e.encoding, e.shape, e.size, e.form) for e in table)
    return Artefact(network, graph, tensors, len(data), *inferred)


def fingerprint(network: nn.Module) -> str:
    """A hash of a network's weights, by which the same network is known again under other names or encodings.

    Parameters
    ----------
    network : torch.nn.Module
        Parameters and buffers are taken in the order of the modules, without their names; for a network that was read
        from a file, in the order of execution.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Examples
    --------
    >>> a, b = nn.Linear(2, 1), nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
    >>> _ = b[1].load_state_dict(a.state_dict())
    >>> fingerprint(a) == fingerprint(b)
    True
    """
    digest = hashlib.sha256()
    for tensor in _weights(network):
        numbers = tensor.detach().cpu().contiguous()
        digest.update(f"{numbers.dtype} {list(numbers.shape)};".encode())
        digest.update(numbers.view(torch.uint8).numpy().tobytes() if numbers.ndim else repr(numbers.item()).encode())
    return digest.hexdigest()


def _weights(network: nn.Module) -> list[Tensor]:
    modules = [network.get_submodule(name) for name in network.order] if isinstance(network, Network) else [network]
    found: dict[int, Tensor] = {}  # by address, so that a shared tensor counts once, where it is first
    for module in modules:
        for name, tensor in module.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                found.setdefault(tensor.data_ptr(), tensor)
    return list(found.values())


def _fill(
    network: Network, graph: Graph, table: tuple[Entry, ...], places: dict[str, dict[str, list[str]]],
    payloads: memoryview,
) -> None:
    """Decode tensor after tensor into the network."""
    state: dict[str, Tensor] = counters(graph)
    start = 0
    for entry in table:
        payload = payloads[start : start + entry.size]
        start += entry.size
        where = f"tensor {entry.name}"
        try:
            parts = ENCODINGS[entry.encoding].decode(payload, entry.shape, graph.dtype, entry.settings)
        except ValueError as error:
            raise BadArtefact(where, f"{error}.") from None
        for part, tensor in parts.items():
            if not torch.isfinite(tensor).all():
                raise BadArtefact(where, "has values that are infinite or not a number (NaN).")
            targets = places[entry.name][part]
            one = tensor if "running_" in targets[0].rpartition(".")[2] else nn.Parameter(tensor)
            state |= dict.fromkeys(targets, one)
    network.load_state_dict(state, strict=True, assign=True)


def counters(graph: Graph) -> dict[str, Tensor]:
    """The batch counters of batch normalisation, which are options of the graph."""
    return {
        f"{name}.num_batches_tracked": torch.tensor(node.options["batches"])
        for name, node in graph.modules().items()
        if "batches" in OPERATIONS[node.operation].options
    }
