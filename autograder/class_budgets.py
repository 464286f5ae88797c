"""A budget over a class: every network handed in as a point of size and accuracy, with limits, margins and the best."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autograder.class_findings import Message, Messages, by_status
from autograder.class_names import Names
from autograder.settings import limit_key
from autograder.verdicts import BudgetVerdict
from nutshell.budget import METRICS, BudgetResult, margin_of
from nutshell.checks import Budget, Limit

ERRORS = ("error_percent", "points_lost")  # metrics that stand on the other axis


@dataclass(frozen=True)
class Column:
    """A limit of a budget, as the report shows it.

    Attributes
    ----------
    key, words : str
        Name as in ``classroom.toml``, and what is measured, with its unit.
    limit, ends_at : float
        Where full marks end, and where marks end.
    digits : int
        Decimals that are shown.
    """

    key: str
    words: str
    limit: float
    ends_at: float
    digits: int


@dataclass(frozen=True)
class Network:
    """One network that was measured.

    Attributes
    ----------
    student : str
        Whose it is; empty for the reference result.
    status : str
        OK with all points, else WRONG.
    points : float
        Marks from the budget's limits.
    values : dict of str to float
        What was measured, by :attr:`Column.key`.
    measured : dict of str to float
        All figures, as ``nutshell measure`` gives them.
    size, accuracy : float
        Where it stands in the picture: the limited size, or bytes of the file, and percent of the test images.
    best : bool
        Whether no other network is at once as small and as accurate as this one.
    """

    student: str
    status: str
    points: float
    values: Mapping[str, float]
    measured: Mapping[str, float]
    size: float
    accuracy: float
    best: bool = False


@dataclass(frozen=True)
class BudgetReport:
    """One budget over the class.

    Attributes
    ----------
    name, file : str
        The budget, and the file that is handed in for it.
    possible : float
        Marks for full success.
    data : tuple of str
        What networks were measured on; more than one is a sign of trouble.
    columns : tuple of Column
        Its limits.
    counts : dict of str to int
        Students by status: OK, WRONG, REFUSED, NOT DONE.
    networks : tuple of Network
        Best first: by marks, then accuracy, then size.
    reference : Network, optional
        The course's own result, measured alike.
    no_reference : str
        Why it isn't there.
    size_words : str
        What the picture's axis of sizes shows.
    size_limit, size_ends_at, accuracy_limit, accuracy_ends_at : float, optional
        Where full marks end and where marks end in the picture; None if the budget doesn't limit it.
    refusals : tuple of Message
        Why files weren't measured.
    mean : float, optional
        Marks as they stand in the gradebook, on average.
    """

    name: str
    file: str
    possible: float
    data: tuple[str, ...]
    columns: tuple[Column, ...]
    counts: Mapping[str, int]
    networks: tuple[Network, ...]
    reference: Network | None = None
    no_reference: str = ""
    size_words: str = ""
    size_limit: float | None = None
    size_ends_at: float | None = None
    accuracy_limit: float | None = None
    accuracy_ends_at: float | None = None
    refusals: tuple[Message, ...] = ()
    mean: float | None = None


class BudgetTally:
    """Collects one budget's verdicts."""

    def __init__(self, budget: Budget, names: Names) -> None:
        self.budget, self._names = budget, names
        self.columns = tuple(_column(limit) for limit in budget.limits)
        sizes = [limit for limit in budget.limits if limit.metric not in ERRORS]
        sizes.sort(key=lambda limit: "bytes" not in limit.metric)
        self._size = limit_key(sizes[0]) if sizes else ""
        self._dense: float | None = None  # error of the uncompressed network, where a limit counts from there
        self._counts, self._data, self._refusals = Counter[str](), Counter[str](), Messages(names)
        self._networks: list[Network] = []

    @property
    def measured(self) -> bool:
        """Whether any network was."""
        return bool(self._networks)

    def add(self, student: str, verdict: BudgetVerdict) -> None:
        """One student's."""
        self._counts[verdict.status] += 1
        if verdict.reason and verdict.status == "REFUSED":
            self._refusals.add_text(student, verdict.status, verdict.reason)
        network = self._network(self._names(student), verdict.status, verdict.points, verdict.rows, verdict.measured)
        if network is not None:
            self._networks.append(network)
            self._data[verdict.data] += 1

    def report(self, marks: Sequence[float], reference: "BudgetResult | str" = "") -> BudgetReport:
        """What was collected.

        Parameters
        ----------
        marks : sequence of float
            Those in the gradebook.
        reference : BudgetResult or str
            The course's own result, or why there is none.
        """
        networks = _with_best(self._networks)
        networks.sort(key=lambda network: (-network.points, -network.accuracy, network.size, network.student))
        limits = {column.key: column for column in self.columns}
        size = limits.get(self._size)
        accuracy = _accuracy_limits(limits, self._dense)
        return BudgetReport(
            name=self.budget.name,
            file=self.budget.file,
            possible=self.budget.points,
            data=tuple(sorted(self._data)),
            columns=self.columns,
            counts={status: self._counts[status] for status in by_status(self._counts)},
            networks=tuple(networks),
            reference=None if isinstance(reference, str) else self._reference(reference),
            no_reference=reference if isinstance(reference, str) else "",
            size_words=size.words if size else METRICS["bytes"].row,
            size_limit=size.limit if size else None,
            size_ends_at=size.ends_at if size else None,
            accuracy_limit=accuracy[0],
            accuracy_ends_at=accuracy[1],
            refusals=self._refusals.commonest()[0],
            mean=sum(marks) / len(marks) if marks else None,
        )

    def _network(
        self, who: str, status: str, points: float, rows: Sequence[Mapping[str, Any]], measured: Mapping[str, Any]
    ) -> Network | None:
        """A point of the picture; None for what wasn't measured, or was under other limits than today's."""
        said = {str(row.get("metric")): row.get("value") for row in rows}
        names = {limit_key(limit): _row_name(limit) for limit in self.budget.limits}
        values = _numbers({key: said.get(name) for key, name in names.items()})
        figures = _numbers(measured)
        size = values.get(self._size) if self._size else figures.get("bytes")
        if size is None or "error_percent" not in figures:
            return None
        if "points_lost" in values:
            self._dense = figures["error_percent"] - values["points_lost"]
        return Network(who, status, points, values, figures, size, 100.0 - figures["error_percent"])

    def _reference(self, result: BudgetResult) -> Network | None:
        if result.measurement is None or (self._data and result.data not in self._data):
            return None
        rows = [{"metric": row.metric, "value": row.value} for row in result.rows]
        return self._network("", "OK", result.points, rows, result.measurement.to_dict())


def reference_result(budget: Budget) -> BudgetResult | str:
    """The course's own result, measured here, or why it isn't; nothing is downloaded for it."""
    from nutshell.budget import judge
    from nutshell.data import source_of
    from nutshell.data.sources import cache_folder, data_folder, locate
    from nutshell.errors import NutshellError

    try:
        kept = own_result(budget)
        if kept is None:
            return f"results/ has no {budget.file}"
        places = [place for place in (data_folder(), cache_folder()) if place is not None]
        if not any(locate(source_of(budget.data), place) for place in places):
            return f"{budget.data} isn't on this machine; nutshell data fetch {budget.data} gets it"
        result = judge(budget, kept)
    except NutshellError as error:
        return str(error)
    return result.reason or result


def own_result(budget: Budget) -> Path | None:
    """The course's own result for a budget: ``results/<file>``, else its topology's, ``results/<topology>.nut``."""
    from nutshell import results

    places = (results.folder() / budget.file, results.folder() / f"{budget.topology}.nut")
    return next((place for place in places if place.is_file()), None)


def _column(limit: Limit) -> Column:
    metric = METRICS[limit.metric]
    ends = limit.at_most + margin_of(limit)
    return Column(limit_key(limit), metric.row.format(layer=limit.layer), limit.at_most, ends, metric.digits)


def _row_name(limit: Limit) -> str:
    """As :class:`nutshell.budget.Row` names it."""
    return limit.metric if limit.layer is None else f"{limit.metric} of layer {limit.layer}"


def _accuracy_limits(limits: Mapping[str, Column], dense: float | None) -> tuple[float | None, float | None]:
    """Accuracy in percent below which marks fall, and at which they end: the stricter of the limits on errors."""
    found = []
    if "error_percent" in limits:
        found.append((limits["error_percent"].limit, limits["error_percent"].ends_at))
    if "points_lost" in limits and dense is not None:
        found.append((dense + limits["points_lost"].limit, dense + limits["points_lost"].ends_at))
    return (100.0 - min(found)[0], 100.0 - min(found)[1]) if found else (None, None)


def _with_best(networks: Sequence[Network]) -> list[Network]:
    """The same, with those marked that no other network beats in both size and accuracy."""
    found: list[Network] = []
    most = float("-inf")
    for network in sorted(networks, key=lambda network: (network.size, -network.accuracy)):
        best = network.accuracy > most or bool(found and found[-1].best and _same_place(found[-1], network))
        most = max(most, network.accuracy)
        found.append(replace(network, best=best))
    return found


def _same_place(one: Network, other: Network) -> bool:
    return (one.size, one.accuracy) == (other.size, other.accuracy)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers."""
    found = {key: value for key, value in values.items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
