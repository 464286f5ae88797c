"""What a ``.nut`` file really is: its bytes, and the network in it counted and run. Nothing that it claims is used."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nutshell.errors import Refused, WrongUse

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nutshell.artefact import Artefact, Limits
    from nutshell.data.dataset import Dataset, Split

Part = Literal["test", "validation", "train"]
_AT_A_TIME = 1 << 25  # numbers that are computed together, which bounds the memory of a run
_KEYS = ("bytes", "params", "nonzero", "macs", "energy_uj", "accuracy", "error_percent")
_HEAD = ("tensor", "encoding", "shape", "bytes", "share")


@dataclass(frozen=True)
class Measurement:
    """The figures of one file.

    Attributes
    ----------
    bytes : int
        Size of the file.
    params : int
        Parameters that the decoded network has; shared ones count once.
    nonzero : int
        Those that aren't zero.
    macs : int
        Multiply-accumulates for one image.
    energy_uj : float
        Estimated energy for one image, in microjoules; see ``assumption``.
    accuracy : float or None
        Share of images classified correctly, 0 to 1; ``None`` if it wasn't run on data, or labels are numbers.
    error_percent : float or None
        Share of images classified wrongly, 0 to 100; where labels are numbers, see :func:`steering_error`.
    data : str or None
        Data set and part that it was run on.
    tensors : tuple
        Rows of name, encoding, shape, bytes and share of the file; they add up to the file.
    assumption : str
        What the estimate of energy rests on.
    hits : Tensor or None
        bool, one an image: whether it was classified correctly.
    binary : int
        Binary operations for one image, two for each product of signs; see :mod:`nutshell.meter.signs`.
    """

    bytes: int
    params: int
    nonzero: int
    macs: int
    energy_uj: float
    accuracy: float | None
    error_percent: float | None
    data: str | None
    tensors: tuple[tuple[str, str, tuple[int, ...], int, float], ...] = field(default=(), repr=False)
    assumption: str = field(default="", repr=False)
    hits: "Tensor | None" = field(default=None, repr=False, compare=False)
    binary: int = 0

    @property
    def energy_per_hit(self) -> float:
        """Microjoules for each image read correctly, a million over right answers a joule; finite if none is right."""
        return self.energy_uj / max(self.accuracy or 0.0, 1e-6)

    def to_dict(self) -> dict[str, Any]:
        """The seven figures by name, as ``nutshell measure --json`` prints them."""
        return {key: getattr(self, key) for key in _KEYS}

    def rows(self) -> list[tuple[str, str]]:
        """The figures with their units, in words."""
        rows = [
            ("bytes", f"{self.bytes:,}"),
            ("parameters", f"{self.params:,} ({self.nonzero:,} not zero)"),
            ("multiply-accumulates", f"{self.macs:,} an image"),
            *([("binary operations", f"{self.binary:,} an image")] if self.binary else []),
            ("energy", f"{self.energy_uj:,.3g} µJ an image, estimated"),
        ]
        if self.accuracy is not None:
            rows += [("accuracy", f"{100 * self.accuracy:.2f} %"), ("error", f"{self.error_percent:.2f} %")]
        elif self.error_percent is not None:
            rows += [("error", f"{self.error_percent:.2f} % of full lock, root mean square")]
        if self.data is not None:
            rows += [("measured on", str(self.data))]
        return rows

    def __str__(self) -> str:
        parts = [text_table(_HEAD, _tensor_rows(self)), text_table((), self.rows()), self.assumption]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        return (html_table((), self.rows(), "The network")
                + html_table(_HEAD, _tensor_rows(self), "Where the bytes go")
                + f"<p>{html.escape(self.assumption)}</p>")


def measure(
    path: "str | Path | Artefact",
    data: "str | Dataset | None" = None,
    part: Part = "test",
    *,
    limits: "Limits | None" = None,
) -> Measurement:
    """Decode a ``.nut`` file, count the network and run it.

    Parameters
    ----------
    path : str, Path or Artefact
        The file, or what :func:`nutshell.artefact.load` made of it.
    data : str or Dataset, optional
        Name for :func:`nutshell.data.load`, or a data set; left out, nothing is run.
    part : {"test", "validation", "train"}
        Which images.
    limits : Limits, optional
        How large file and network may be, and how much may be computed.

    Returns
    -------
    Measurement

    Raises
    ------
    Refused
        If the file is damaged or hostile, or the network doesn't fit the data.
    WrongUse
        If there is no such file, data set or part.
    """
    from nutshell import artefact, meter

    limits = limits or artefact.Limits()
    found = path if isinstance(path, artefact.Artefact) else artefact.load(path, limits=limits)
    report = meter.count(found.network, (1, *found.input_shape))
    stored = sum(tensor.bytes for tensor in found.tensors)
    energy = meter.energy(
        report,
        bytes_per_weight=stored / report.total.parameters if report.total.parameters else found.dtype.itemsize,
        bytes_per_activation=found.dtype.itemsize,
        arithmetic="float32" if found.graph.dtype == "float64" else None,  # the model has no figure for 64 bits
    )
    seen, used, right, images, off = None, None, 0, 0, None
    if data is not None:
        dataset = _dataset(data, found.input_shape)
        used = f"{dataset.name}, {part}"
        if dataset.classes:
            seen = run(found, _part(dataset, part), len(dataset.classes), limits)
            right, images = int(seen.sum()), len(seen)
        else:
            off = steering_error(found, _part(dataset, part), limits)
    return Measurement(
        bytes=found.bytes,
        params=report.total.parameters,
        nonzero=report.total.nonzero or 0,
        macs=report.total.macs,
        energy_uj=energy.total_uj,
        accuracy=None if seen is None else right / images,
        error_percent=off if seen is None else 100 * (images - right) / images,
        data=used,
        tensors=tuple(found.table()),
        assumption=str(energy.assumption),
        hits=seen,
        binary=report.total.binary,
    )


def run(found: "Artefact", images: "Split", classes: int, limits: "Limits | None" = None) -> "Tensor":
    """Which images a file's network classifies correctly, in batches that keep memory bounded; see :func:`hits`.

    Raises
    ------
    Refused
        If the network doesn't take such images, doesn't put out one number for each class, or would compute too long.
    """
    from nutshell import artefact

    limits = limits or artefact.Limits()
    shape, outputs = tuple(images.images.shape[1:]), found.shapes[-1]
    if shape != found.input_shape:
        raise Refused(f"The network takes images of shape {list(found.input_shape)}, the data have {list(shape)}.")
    if outputs != (classes,):
        raise Refused(f"The network puts out shape {list(outputs)}, the data have {classes} classes.")
    _check_work(found, len(images), limits)
    batch = max(1, min(1000, _AT_A_TIME // found.activations))
    return hits(found.network, images, found.dtype, batch)


def steering_error(found: "Artefact", images: "Split", limits: "Limits | None" = None) -> float:
    """How far a file's network is from labels that are numbers: 100 times the root of the mean squared error.

    For steering from −1 to 1 that is percent of full lock. It is infinite if an output isn't finite.

    Raises
    ------
    Refused
        If the network doesn't take such images, doesn't put out one number, or would compute too long.
    """
    import torch

    from nutshell import artefact

    limits = limits or artefact.Limits()
    shape = tuple(images.images.shape[1:])
    if shape != found.input_shape:
        raise Refused(f"The network takes images of shape {list(found.input_shape)}, the data have {list(shape)}.")
    if found.shapes[-1] != (1,):
        raise Refused(f"The network puts out shape {list(found.shapes[-1])}, the labels are one number each.")
    _check_work(found, len(images), limits)
    off, batch = 0.0, max(1, min(1000, _AT_A_TIME // found.activations))
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            chosen = slice(start, start + batch)
            outputs = found.network(images.inputs(chosen).to(found.dtype)).flatten()
            off += (outputs.double() - images.labels[chosen]).square().sum().item()
    return 100 * math.sqrt(off / len(images)) if math.isfinite(off) else math.inf


def hits(network: "nn.Module", images: "Split", dtype: "torch.dtype | None" = None, batch: int = 1000) -> "Tensor":
    """Which images a network classifies correctly; ``False`` where an output isn't finite.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    images : Split
        Images and labels.
    dtype : torch.dtype, optional
        Of the network's inputs; float32 if left out.
    batch : int
        Images at a time.

    Returns
    -------
    Tensor
        bool, one an image.
    """
    import torch

    found = torch.zeros(len(images), dtype=torch.bool)
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            chosen = slice(start, start + batch)
            logits = network(images.inputs(chosen).to(dtype or torch.float32))
            found[chosen] = (logits.argmax(1) == images.labels[chosen]) & torch.isfinite(logits).all(1)
    return found


def _check_work(found: "Artefact", images: int, limits: "Limits") -> None:
    macs = found.macs * images
    if macs > limits.run_macs:
        raise Refused(f"{images:,} images would take {macs:,} multiply-accumulates, "
                      f"more than the {limits.run_macs:,} allowed.")


def _dataset(data: "str | Dataset", shape: "tuple[int, ...]") -> "Dataset":
    """The data set; pictures in files are looked at in the size that the network takes."""
    from nutshell.data import load
    from nutshell.data.catalogue import SOURCES
    from nutshell.data.folders import FolderSource

    if not isinstance(data, str):
        return data
    sized = isinstance(SOURCES.get(data), FolderSource) and len(shape) == 3 and shape[0] in (1, 3)
    return load(data, shape=shape) if sized else load(data)


def _part(dataset: "Dataset", part: str) -> "Split":
    if part not in ("test", "validation", "train"):
        raise WrongUse(f"part={part!r}: choose test, validation or train.")
    return getattr(dataset, part)


def _tensor_rows(measured: Measurement) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (name, encoding, "×".join(map(str, shape)), f"{size:,}", f"{100 * share:.1f} %")
        for name, encoding, shape, size, share in measured.tensors
    ]
    return [*rows, ("total", "", "", f"{measured.bytes:,}", "100.0 %")]


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, numbers to the right.

    Examples
    --------
    >>> print(text_table(("layer", "bytes"), [("fc1", "1,200"), ("fc2", "40")]))
    layer  bytes
    fc1    1,200
    fc2       40
    """
    lines = [head, *rows] if head else list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    right = [all(row[column][:1].isdigit() or not row[column] for row in rows) and bool(head)
             for column in range(len(widths))]
    return "\n".join(
        "  ".join(cell.rjust(width) if to_right else cell.ljust(width)
                  for cell, width, to_right in zip(line, widths, right, strict=True)).rstrip()
        for line in lines)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """The same as HTML, with everything escaped; the first cell of a row is its heading.

    Examples
    --------
    >>> html_table((), [("error", "<1 %")], "Figures")
    '<table><caption>Figures</caption><tbody><tr><th scope="row">error</th><td>&lt;1 %</td></tr></tbody></table>'
    """
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    top = f"<thead><tr>{top}</tr></thead>" if top else ""
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>' + "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        + "</tr>" for first, *rest in rows)
    return f"<table>{title}{top}<tbody>{body}</tbody></table>"
