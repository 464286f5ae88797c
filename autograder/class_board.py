"""The class's leaderboard: everything handed in that reads the same images, on one board with the course's own.

A budget asks whether a network is inside its limits; here all of them meet. Places go by right answers a joule above
the contest's floor, and stars mark the Pareto front: whom nobody beats in bytes, energy and error together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autograder.class_pictures import as_image
from nutshell.board import Entry, Standing, floor_of

if TYPE_CHECKING:
    from autograder.class_budgets import Network
    from autograder.class_data import Report

FIGURES = ("bytes", "macs", "energy_uj", "error_percent")
MOST_DRAWN = 400  # more points than that are a cloud


@dataclass(frozen=True)
class ClassBoard:
    """One board of a class.

    Attributes
    ----------
    standing : Standing
        The course's own results are entries, too; whoever handed in is marked as ``own``.
    students : int
        Networks that students handed in.
    """

    standing: Standing
    students: int

    @property
    def front(self) -> str:
        """The Pareto front in words: names from the least energy to the least error."""
        best = sorted(self.standing.best(), key=lambda one: one.energy_uj)
        return ", ".join(f"{one.name} ({one.bytes:,} bytes, {one.energy_uj:,.3g} µJ, {one.error_percent:.2f} %)"
                         for one in best)  # fmt: skip

    def lines(self, most: int) -> list[tuple[str, ...]]:
        """The first rows of the table."""
        return self.standing.rows()[:most]

    def picture(self) -> str:
        """Error against energy as an image element; empty for a crowd."""
        if len(self.standing.entries) > MOST_DRAWN:
            return ""
        return as_image(self.standing.picture(), "Error against estimated energy of all networks handed in and of the "
                        f"course's own, both axes logarithmic. The Pareto front: {self.front}.")

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"students": self.students, **self.standing.as_data()}


def boards(report: "Report") -> tuple[ClassBoard, ...]:
    """A board for each part of a data set that at least two networks of students were measured on."""
    entries: dict[str, list[Entry]] = {}
    for lab in report.labs:
        for budget in lab.budgets:
            if len(budget.data) != 1:  # none, or a sign of trouble that the report speaks of elsewhere
                continue
            data = budget.data[0]
            here = entries.setdefault(data, [])
            here += [one for network in budget.networks if (one := _entry(network, lab.title, data))]
            own = _entry(budget.reference, lab.title, data) if budget.reference else None
            here += [own] if own else []
    found = []
    for data, there in entries.items():
        students = sum(one.own for one in there)
        if students > 1:
            ordered = sorted(set(there), key=lambda one: (one.order, not one.own, one.name))
            found.append(ClassBoard(Standing(tuple(ordered), (), data), students))
    return tuple(found)


def _entry(network: "Network", title: str, data: str) -> Entry | None:
    """A network that was measured whole; None if a figure is missing."""
    if any(key not in network.measured for key in FIGURES):
        return None
    name = f"{network.student or 'the course'}, {title}"
    figures = {key: network.measured[key] for key in FIGURES}
    return Entry(name, bool(network.student), int(figures["bytes"]), int(figures["macs"]), figures["energy_uj"],
                 figures["error_percent"], floor_of(data))  # fmt: skip
