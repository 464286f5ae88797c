"""All attacks and controls in one run of the grader, and the table of what came and what was wanted."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.red_team.attack import FULL, NONE, REFUSED, Attack
from tests.red_team.left_behind import Watch
from tests.red_team.room import EXERCISES, POINTS, Found, Live, Room

STAND_IN = "stand-in"


@dataclass(frozen=True)
class Row:
    """An attack, what came of it, and in which ways that isn't as wanted."""

    attack: Attack
    verdict: str
    faults: tuple[str, ...]
    seconds: float = 0.0

    def as_data(self) -> dict[str, Any]:
        return dict(
            group=self.attack.group,
            name=self.attack.name,
            words=self.attack.words,
            verdict=self.verdict,
            wanted=list(self.attack.wanted),
            as_wanted=not self.faults,
            faults=list(self.faults),
            seconds=round(self.seconds, 2),
        )


@dataclass
class Table:
    """The rows, what was left behind, and what the grader said if it failed."""

    rows: list[Row] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    trouble: str = ""
    seconds: float = 0.0
    limited_by: str = ""

    @property
    def as_wanted(self) -> bool:
        return not (self.left or self.trouble or any(row.faults for row in self.rows))

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.attack.name == name)

    def as_data(self) -> dict[str, Any]:
        rows = [row.as_data() for row in self.rows]
        return dict(
            rows=rows,
            left_behind=self.left,
            trouble=self.trouble,
            as_wanted=self.as_wanted,
            seconds=round(self.seconds, 1),
            limited_by=self.limited_by,
        )


def run(place: Path, attacks: Iterable[Attack], level: str | None = None) -> Table:
    """Hand all attacks in, grade them in one run, and compare.

    Parameters
    ----------
    place : Path
        An empty folder; it is removed afterwards.
    attacks : iterable of Attack
        Each becomes a student.
    level : str, optional
        Isolation.
    """
    chosen, room, table = list(attacks), Room(place), Table()
    room.make()
    with room.bait():
        for attack in chosen:
            room.submit(attack)
        watch = Watch(room)
        done = room.grade(level or "-")
        table.left = [*watch.left(), *(f"a connection to {name}" for name in room.touched)]
        watch.end()
    table.left += seen_by_instructors(room)
    table.seconds = room.summary.get("seconds", 0.0)
    if done.returncode not in (0, 1) or not room.summary:
        table.trouble = f"The grader ended with {done.returncode}: {room.said[-3000:]}"
    found = room.found(chosen)
    table.limited_by = next((one.verdict["limited_by"] for one in found.values() if one.verdict.get("limited_by")), "")
    table.rows = [
        Row(
            attack,
            found[attack.name].status(attack.item),
            tuple(faults(attack, found[attack.name])),
            found[attack.name].verdict.get("seconds", 0.0),
        )
        for attack in chosen
    ]
    strangers = set(room.marks()) - {attack.folder for attack in chosen}
    table.left += [f"marks of {student}" for student in sorted(strangers)]
    room.clear()
    return table


def seen_by_instructors(room: Room) -> Iterator[str]:
    """Live markup, formulas and terminal codes in what the command prints and in the class report."""
    yield from (f"the terminal was sent {code!a}" for code in sorted({c for c in room.shown if c < " " and c != "\n"}))
    page = room.place / "report.html"
    yield from (f"the class report: {what}" for what in Live.of(page.read_text()))
    with page.with_suffix(".csv").open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file):
            yield from (
                f"the class's CSV: {cell!r}" for cell in row if cell[:1] in "=+-@\t\r" and cell and not number(cell)
            )


def number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def faults(attack: Attack, found: Found) -> Iterator[str]:
    """In which ways the grader's answer isn't what was demanded."""
    status = found.status(attack.item)
    if status not in attack.wanted:
        yield f"{status} instead of {' or '.join(attack.wanted)}{': ' + found.said()[:300] if found.said() else ''}"
    if status in ("UNGRADED", "INFRA"):
        return
    refused = status == REFUSED and bool(found.refused)
    yield from _marks(attack, found, refused)
    if attack.others and not refused:
        yield from _others(attack, found)
    if attack.says and not re.search(attack.says, found.said(), re.IGNORECASE):
        yield f"nothing said of {attack.says}: {found.said()[:300]!r}"
    if (
        attack.flag
        and not any(re.search(attack.flag, flag, re.IGNORECASE) for flag in found.flagged)
        and not _on_stand_in(found)
    ):
        yield f"no flag of {attack.flag}: {found.flagged}"
    yield from found.leaks


def _marks(attack: Attack, found: Found, refused: bool) -> Iterator[str]:
    if refused:
        if any(found.marks.values()):
            yield f"a refused submission has marks: {found.marks}"
        return
    mark, possible = found.marks.get(attack.item), POINTS[attack.item]
    if mark is None:
        yield f"no mark for {attack.item} in the gradebook"
    elif not 0 <= mark <= possible:
        yield f"a mark of {mark}"
    elif (attack.demands == NONE and mark != 0) or (attack.demands == FULL and mark != possible):
        yield f"{mark:g} of {possible:g} points for {attack.item}"


def _others(attack: Attack, found: Found) -> Iterator[str]:
    for name in EXERCISES:
        if name != attack.item and found.marks.get(name) != POINTS[name]:
            yield f"{name} has {found.marks.get(name)} of {POINTS[name]:g} points, {found.status(name)}"


def _on_stand_in(found: Found) -> bool:
    return any(STAND_IN in budget["data"] for budget in found.verdict.get("budgets", ()))
