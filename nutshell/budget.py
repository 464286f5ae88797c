"""Budgets: a ``.nut`` file against limits that the grader measures itself.

Full marks at the limit, falling in a straight line to none at the limit plus its margin; the smallest share of all
limits counts. The network must be a compressed form of the topology that the budget names.

>>> from nutshell.checks import Limit
>>> share_left(188_160, Limit("layer_bytes", at_most=188_160, layer=1))
1.0
>>> round(share_left(2.2, Limit("error_percent", at_most=2.0)), 3)
0.6
"""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nutshell.errors import Refused, WrongUse

if TYPE_CHECKING:
    from nutshell.artefact import Artefact, Limits
    from nutshell.artefact.topology import Step, Topology
    from nutshell.checks import Budget, Limit
    from nutshell.data.dataset import Dataset, Split
    from nutshell.measure import Measurement


@dataclass(frozen=True)
class Metric:
    """Something that a budget can limit.

    Attributes
    ----------
    words : str
        What it is, with its unit.
    row : str
        The same as a row of a result names it; ``{layer}`` stands for the layer's number.
    over : str
        Likely cause and next step where the limit is missed, in words that fit every unit.
    by_layer : bool
        Whether a limit on it names a layer.
    margin : float, optional
        Where marks end, above the limit; a tenth of the limit if ``None``.
    digits : int
        Decimals that are shown.
    """

    words: str
    row: str
    over: str
    by_layer: bool = False
    margin: float | None = None
    digits: int = 0


_BYTES = "Too much is stored. Encode it smaller: a lower rank, fewer bits, or fewer weights."
_WEIGHTS = "Too much is left of the network. Use a lower rank or fewer channels, or remove more."
_WORK = "Too much is computed. Use a lower rank or fewer channels in the layers that compute most."
_ERROR = "Too much was lost. Compress less strongly, or train on after compressing."
_MISREAD = "Too many images are misread. Train longer or in a better way, or compress less strongly."

METRICS: dict[str, Metric] = {
    "bytes": Metric("size of the file, bytes", "bytes of the file", _BYTES),
    "params": Metric("parameters", "parameters", _WEIGHTS),
    "nonzero": Metric("parameters that aren't zero", "parameters that aren't zero",
                      "Too few weights are zero. Set more of them to zero, then train on with those held there."),
    "macs": Metric("multiply-accumulates for one image", "multiply-accumulates for one image", _WORK),
    "energy_uj": Metric("estimated energy for one image, µJ", "estimated energy for one image, µJ",
                        "Too much is computed, or too many bytes are moved. Compute less, or store weights smaller.",
                        digits=3),
    "energy_per_hit": Metric("estimated energy for each image that is read correctly, µJ",
                             "estimated energy for each image read correctly, µJ",
                             "Too much is computed or moved, or too little is read correctly. Compute less, or let "
                             "weights and activations fit into on-chip memory.", digits=3),
    "error_percent": Metric("error, %", "error, % of the images", _MISREAD, margin=0.5, digits=2),
    "points_lost": Metric("error above the uncompressed network's, points",
                          "percentage points of accuracy lost", _ERROR,
                          margin=0.5, digits=2),
    "layer_bytes": Metric("bytes of the layer's tensors", "bytes of layer {layer}", _BYTES, by_layer=True),
    "layer_params": Metric("parameters of the layer", "parameters of layer {layer}", _WEIGHTS, by_layer=True),
    "layer_magnitudes": Metric(
        "different magnitudes |w| within one filter of the layer, the most of all filters",
        "different magnitudes |w| within a filter of layer {layer}",
        "Some filter has weights other than +α and −α. Put the binary weights into the network that you save, not the "
        "real ones that training keeps.",
        by_layer=True, margin=0.0),
}  # fmt: skip
STAND_IN = "measured on a stand-in, not on the real images: these figures mean nothing for grading"


@dataclass(frozen=True)
class Row:
    """One limit and how it was met.

    Attributes
    ----------
    metric : str
        Name, with the layer's number for a metric of one layer.
    value, limit, ends_at : float
        What was measured, where full marks end and where marks end.
    share : float
        Of the marks, 0 to 1.
    digits : int
        Decimals that are shown.
    words : str
        What was measured, with its unit, for people; the metric's name if empty.
    over : str
        Likely cause and next step where the limit is missed.
    """

    metric: str
    value: float
    limit: float
    ends_at: float
    share: float
    digits: int = 0
    words: str = ""
    over: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """What is measured, result, value, limit, where marks end and share, as they are shown."""
        value, limit, ends = (f"{number:,.{self.digits}f}" for number in (self.value, self.limit, self.ends_at))
        return self.words or self.metric, self.result, value, limit, ends, f"{100 * self.share:.0f} %"

    @property
    def result(self) -> str:
        """``✓ within the limit``: a sign and words."""
        if self.share >= 1:
            return "✓ within the limit"
        return "✗ over the limit, some marks left" if self.share > 0 else "✗ over the limit, no marks left"

    @property
    def advice(self) -> str:
        """Likely cause and next step; empty where the limit is kept."""
        return f"{self.words or self.metric}: {self.over}" if self.share < 1 and self.over else ""


@dataclass(frozen=True)
class BudgetResult:
    """A judged budget.

    Attributes
    ----------
    budget : str
        Its name.
    points : float
        The marks: ``possible`` times the smallest share.
    possible : float
        Marks for full success.
    rows : tuple of Row
        One for each limit; empty if the file was refused.
    reason : str
        Why the file was refused; empty if it wasn't.
    data : str
        Data set and part that it was measured on.
    fingerprint : str
        Hash of the decoded weights, by which copies are found; empty if the file was refused unread.
    measurement : Measurement, optional
        All figures of the file.
    """

    budget: str
    points: float
    possible: float
    rows: tuple[Row, ...] = ()
    reason: str = ""
    data: str = ""
    fingerprint: str = ""
    measurement: "Measurement | None" = None

    @property
    def share(self) -> float:
        """Of the marks, 0 to 1."""
        return min((row.share for row in self.rows), default=0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What stands below the table: whether the images are a stand-in, and what to do about each missed limit."""
        stand_in = (STAND_IN[0].upper() + STAND_IN[1:] + ".",) if self.on_stand_in else ()
        return (*stand_in, *(row.advice for row in self.rows if row.advice))

    @property
    def on_stand_in(self) -> bool:
        """Whether it was measured on other images than the real ones."""
        return "stand-in" in self.data

    @property
    def caption(self) -> str:
        """``first_layer: 2.32 of 4 points, measured on mnist, test``."""
        head = f"{self.budget}: {_points(self.points)} of {_points(self.possible)} points"
        return f"{head}. {self.reason}" if self.reason else f"{head}, measured on {self.data}"

    def __str__(self) -> str:
        from nutshell.measure import text_table

        table = text_table(_HEAD, [row.cells for row in self.rows]) if self.rows else ""
        return "\n".join(part for part in (self.caption, table, *self.notes) if part)

    def _repr_html_(self) -> str:
        from nutshell.measure import html_table

        below = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        if not self.rows:
            return f"<p>{html.escape(self.caption)}</p>{below}"
        return html_table(_HEAD, [row.cells for row in self.rows], self.caption) + below


_HEAD = ("what is measured", "result", "measured", "limit", "no marks from", "marks left")


def _points(value: float) -> str:
    """Points as people write them, to two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def check_limit(limit: "Limit") -> None:
    """Refuse a limit that can't be judged: an unknown metric, a missing or needless layer, numbers out of range.

    Raises
    ------
    WrongUse
        Naming the value and the choices, so that a misspelt key is never ignored.

    Examples
    --------
    >>> from nutshell.checks import Limit
    >>> check_limit(Limit("layer_bytes", at_most=1000, layer=1))
    """
    if limit.metric not in METRICS:
        near = get_close_matches(str(limit.metric), METRICS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise WrongUse(f"A budget can't limit {limit.metric!r}.{hint} It can limit: {', '.join(METRICS)}.")
    by_layer = METRICS[limit.metric].by_layer
    if by_layer and (not isinstance(limit.layer, int) or limit.layer < 1):
        raise WrongUse(f"{limit.metric}: layer={limit.layer!r}, give the number of a layer, from 1.")
    if not by_layer and limit.layer is not None:
        raise WrongUse(f"{limit.metric} is of the whole network: leave layer={limit.layer!r} out.")
    if not math.isfinite(limit.at_most) or limit.at_most < 0:
        raise WrongUse(f"{limit.metric}: at_most={limit.at_most!r}, must be a number that isn't negative.")
    if limit.margin is not None and not (math.isfinite(limit.margin) and limit.margin >= 0):
        raise WrongUse(f"{limit.metric}: margin={limit.margin!r}, must be a number that isn't negative.")


def margin_of(limit: "Limit") -> float:
    """How far above a limit the marks end: its own margin, or the metric's, or a tenth of the limit."""
    if limit.margin is not None:
        return limit.margin
    usual = METRICS[limit.metric].margin
    return limit.at_most / 10 if usual is None else usual


def share_left(value: float, limit: "Limit") -> float:
    """Share of the marks that a limit leaves: 1 up to it, then ``1 − (value − limit)/margin``, never below 0.

    Parameters
    ----------
    value : float
        What was measured, in the metric's unit.
    limit : Limit
        With or without its own margin; a margin of 0 is a sharp edge.

    Returns
    -------
    float
        0 to 1; 0 for a value that isn't a number.
    """
    if value <= limit.at_most:
        return 1.0
    margin = margin_of(limit)
    return max(0.0, 1 - (value - limit.at_most) / margin) if margin > 0 and math.isfinite(value) else 0.0


def judge(
    budget: "Budget",
    path: str | Path | bytes,
    part: Literal["test", "validation"] = "test",
    *,
    limits: "Limits | None" = None,
) -> BudgetResult:
    """Judge a file against a budget.

    Parameters
    ----------
    budget : Budget
        From a unit's ``checks.py``.
    path : str, Path or bytes
        The ``.nut`` file, or what is in it.
    part : {"test", "validation"}
        Learners tune on validation, marks are given on test.
    limits : Limits, optional
        How large file and network may be.

    Returns
    -------
    BudgetResult
        With a reason and no points if the file is missing, damaged or hostile, or holds another network than a
        compressed form of the topology.

    Raises
    ------
    WrongUse
        If the budget itself is wrong: a metric, layer, network or data set that doesn't exist.
    """
    from nutshell import artefact
    from nutshell.measure import measure

    for limit in budget.limits:
        check_limit(limit)
    expected = _expected(budget.topology)
    for limit in budget.limits:
        if budget.any_network and limit.layer is not None:
            raise WrongUse(f"{limit.metric}: layer={limit.layer}, but any network may be handed in, and layers differ.")
        if limit.layer is not None and limit.layer > len(expected.layers):
            raise WrongUse(f"{limit.metric}: layer={limit.layer}, but {budget.topology} has {len(expected.layers)}.")
    if not isinstance(path, bytes) and not Path(path).is_file():
        return _refused(budget, f"There is no file {Path(path).name}: hand a network in first.")
    try:
        found = artefact.read(path, limits=limits) if isinstance(path, bytes) else artefact.load(path, limits=limits)
        layers = _matching_layers(found, expected, budget)
    except Refused as error:
        return _refused(budget, str(error))
    data = images(budget.data)  # a damaged copy of the data isn't the learner's fault, and ends the judging
    try:
        measured = measure(found, data, part, limits=limits)
    except Refused as error:
        return _refused(budget, str(error))
    rows = []
    for limit in budget.limits:
        if limit.metric == "points_lost":
            value = round(float(measured.error_percent or 0) - _dense_error(budget.topology, data, part), 9)
        else:
            value = _value(limit, measured, found, layers)
        rows.append(_row(limit, value))
    share = min((row.share for row in rows), default=1.0)
    return BudgetResult(budget.name, budget.points * share, budget.points, tuple(rows), "", str(measured.data),
                        found.fingerprint, measured)


_READY = 1 << 26  # bytes; the inputs of larger parts are worked out anew for each network
_kept: dict[str, tuple[Any, "Dataset"]] = {}


def images(name: str) -> "Dataset":
    """A data set to measure on: test and validation images, read once a process as long as the files stay as they are.

    Parameters
    ----------
    name : str
        For :func:`nutshell.data.load`.

    Returns
    -------
    Dataset
        Its ``train`` is empty, which saves memory.
    """
    from dataclasses import replace

    from nutshell import data
    from nutshell.data.sources import stamp

    now = stamp(data.source_of(name))
    if name not in _kept or _kept[name][0] != now:
        whole = data.load(name)
        none = replace(whole.train, images=whole.train.images[:0].clone(), labels=whole.train.labels[:0].clone())
        kept = replace(whole, train=none, validation=_ready(whole.validation), test=_ready(whole.test))
        _kept[name] = (now, kept)
    return _kept[name][1]


def _ready(part: "Split") -> "Split":
    """The part on its own, apart from the whole data set's memory; its inputs are kept if they are small."""
    from nutshell.data.dataset import ReadySplit, Split

    kind = ReadySplit if part.images.numel() * 4 <= _READY else Split
    return kind(part.images.clone(), part.labels.clone(), part.mean, part.std)


def _refused(budget: "Budget", reason: str) -> BudgetResult:
    return BudgetResult(budget.name, 0.0, budget.points, reason=reason)


@lru_cache(maxsize=16)
def _expected(name: str) -> "Topology":
    from nutshell import models
    from nutshell.artefact.topology import topology_of_network

    if name not in models.BUILDERS:
        raise WrongUse(f"There is no network called {name!r}. Choose one of: {', '.join(sorted(models.BUILDERS))}.")
    return topology_of_network(models.build(name, device="meta"), models.INPUT_SHAPES[name])


def _matching_layers(found: "Artefact", expected: "Topology", budget: "Budget") -> tuple["Step", ...]:
    """The file's layers, numbered as in the topology; refused if it is another network."""
    from nutshell.artefact.topology import difference, topology_of

    forms = {tensor.name: tensor.form for tensor in found.tensors}
    here = topology_of(found.graph, forms, found.shapes)
    if budget.any_network:
        outputs = expected.layers[-1].widths[1]
        if found.input_shape == expected.input_shape and found.shapes[-1] == (outputs,):
            return here.layers
        raise Refused(f"It takes images of shape {list(found.input_shape)} and puts out {list(found.shapes[-1])}; "
                      f"needed are {list(expected.input_shape)} and [{outputs}].")
    reason = difference(here, expected, shrunk=budget.shrunk)
    if reason:
        narrower = " Layers may be narrower." if budget.shrunk else ""
        raise Refused(f"This isn't {budget.topology}: {reason}. The file holds: {here.words}. Expected, after layers "
                      f"in a row are taken together: {expected.words}.{narrower}")
    return tuple(here.steps[number] for number in expected.order)


def _value(limit: "Limit", measured: "Measurement", found: "Artefact", layers: tuple["Step", ...]) -> float:
    if METRICS[limit.metric].by_layer:
        return _LAYER_VALUES[limit.metric](found, layers[(limit.layer or 1) - 1].modules)
    return float(getattr(measured, limit.metric))


def _layer_bytes(found: "Artefact", modules: tuple[str, ...]) -> float:
    """Payloads of a layer's tensors; one that is shared with another layer counts in both."""
    return sum(tensor.bytes for tensor in found.tensors if tensor.name in _tensors_of(found, modules))


def _layer_params(found: "Artefact", modules: tuple[str, ...]) -> float:
    return sum(tensor.form.elements for tensor in found.tensors
               if tensor.name in _tensors_of(found, modules) and ".running_" not in tensor.name)


def _layer_magnitudes(found: "Artefact", modules: tuple[str, ...]) -> float:
    """The most different |w| that a filter (a row of the weight) has; 1 for binary weights ±α."""
    import torch

    most = 0
    for module in modules:
        for weight in found.network.get_submodule(module).parameters():
            if weight.ndim > 1:
                sizes = weight.detach().abs().flatten(1).sort(1).values
                most = max(most, 1 + int((torch.diff(sizes, dim=1) > 0).sum(1).max()))
    return most


def _tensors_of(found: "Artefact", modules: tuple[str, ...]) -> set[str]:
    names = {tensor.name: tensor.name for tensor in found.tensors} | dict(found.graph.shared)
    return {stored for name, stored in names.items() if name.rpartition(".")[0] in modules}


_LAYER_VALUES: dict[str, Callable[["Artefact", tuple[str, ...]], float]] = {
    "layer_bytes": _layer_bytes,
    "layer_params": _layer_params,
    "layer_magnitudes": _layer_magnitudes,
}


_dense_errors: dict[tuple[str, str, str], float] = {}


def _dense_error(topology: str, data: "Dataset", part: str) -> float:
    """Error in percent of the shipped checkpoint on the same images; run once a process."""
    from nutshell import checkpoints
    from nutshell.training import evaluate

    key = (topology, data.name, part)
    if key not in _dense_errors:
        _dense_errors[key] = evaluate(checkpoints.load(topology), getattr(data, part))[1]
    return _dense_errors[key]


def _row(limit: "Limit", value: float) -> Row:
    metric = METRICS[limit.metric]
    name = limit.metric if limit.layer is None else f"{limit.metric} of layer {limit.layer}"
    ends = limit.at_most + margin_of(limit)
    return Row(name, value, limit.at_most, ends, share_left(value, limit), metric.digits,
               metric.row.format(layer=limit.layer), metric.over)
