"""A submission's notebook put together again: given and check cells as released, everything else as handed in.

A lab's named cells are of four kinds: *given* ones run exactly as released and in that order, *solution* cells hold the
learner's text, *check* cells run nowhere (the judge runs the checks), and *text* is read by people. Everything that the
learner added is a plain cell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograder.placing import place_of, places
from autograder.released import CHECK, GIVEN, Lab, LabCell

MOST_NOTES = 30
SETTINGS = ("grade", "solution", "locked", "task", "points")


@dataclass(frozen=True)
class Piece:
    """A cell of the notebook put together again.

    Attributes
    ----------
    released : LabCell or None
        The named cell that it is; None for a plain one.
    type, source : str
        Of the learner's cell; as released for given and check cells.
    number : int
        Its place in the learner's notebook, from 1; 0 if it wasn't there.
    """

    released: LabCell | None
    type: str
    source: str
    number: int = 0

    @property
    def name(self) -> str:
        return self.released.name if self.released else f"cell {self.number}"

    @property
    def kind(self) -> str:
        return self.released.kind if self.released else ""


def rebuilt(lab: Lab, cells: Sequence[Mapping[str, Any]]) -> tuple[list[Piece], list[str]]:
    """Put a learner's notebook together again.

    Parameters
    ----------
    lab : Lab
        The lab as released.
    cells : sequence of dict
        The learner's: ``cell_type``, ``source`` (str) and ``metadata``.

    Returns
    -------
    list of Piece
        Every named cell of the lab but deleted solutions, and every other cell of the learner's, in order.
    list of str
        What was put right, in words.
    """
    first, notes = _first(lab, cells)
    fixed = [cell for cell in lab.named if cell.kind in (GIVEN, CHECK)]
    taken = {first[cell.name] for cell in fixed if cell.name in first}
    names = {index: cell for cell in lab.named if (index := first.get(cell.name)) is not None}
    own = [index for index in range(len(cells)) if index not in taken]
    where = places(lab.named, first, own)
    notes += _changes(fixed, first, cells)
    moved = [cell.name for cell in fixed if cell.name in first and where[cell.name] != place_of(own, first[cell.name])]
    notes += [f"the {_words(lab, name)} had been moved" for name in moved]
    pieces: list[Piece] = []
    for position in range(len(own) + 1):
        for cell in fixed:
            if where[cell.name] == position:
                pieces.append(Piece(cell, cell.type, cell.source, first.get(cell.name, -1) + 1))
        pieces += [
            Piece(names.get(index), cells[index]["cell_type"], cells[index]["source"], index + 1)
            for index in own[position : position + 1]
        ]
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES - 1 :] = [f"and {len(notes) - MOST_NOTES + 1} more of that kind"]
    return pieces, notes


def _first(lab: Lab, cells: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], list[str]]:
    """Which of the learner's cells counts as which named one: the first of that name and type."""
    known = {cell.name: cell for cell in lab.named}
    first: dict[str, int] = {}
    notes = []
    for index, cell in enumerate(cells):
        name = _grade_id(cell)
        if name is None:
            continue
        which = f"cell {index + 1}"
        if name not in known:
            notes.append(f"{which} is named {_short(name)}, which this lab doesn't have; it counts as an added cell")
        elif cell["cell_type"] != known[name].type:
            kinds = f"a {_short(cell['cell_type'])} cell, not {known[name].type}"
            notes.append(f"{which} is named {name} but is {kinds}; it counts as an added cell")
        elif name in first:
            notes.append(f"{which} is a second {name}; it counts as an added cell")
        else:
            first[name] = index
    for known_cell in lab.named:
        if known_cell.name not in first:
            back = "was missing; it is put back" if known_cell.kind in (GIVEN, CHECK) else "is missing"
            notes.append(f"the {_words(lab, known_cell.name)} {back}")
    return first, notes


def _changes(fixed: Iterable[LabCell], first: Mapping[str, int], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    for cell in fixed:
        if cell.name not in first:
            continue
        handed_in, marks = cells[first[cell.name]], cell.content["metadata"]["nbgrader"]
        if handed_in["source"].strip() != cell.source.strip():
            notes.append(f"the text of {cell.name} had been changed; it counts as released")
        said = handed_in["metadata"]["nbgrader"]
        odd = [f"{key} = {_short(said.get(key))}" for key in SETTINGS if said.get(key) != marks.get(key)]
        if odd:
            notes.append(f"the settings of {cell.name} had been changed ({', '.join(odd)}); they count as released")
    return notes


def _grade_id(cell: Mapping[str, Any]) -> str | None:
    name = cell["metadata"].get("nbgrader", {}).get("grade_id")
    return name if isinstance(name, str) else None


def _words(lab: Lab, name: str) -> str:
    kind = next(cell.kind for cell in lab.named if cell.name == name)
    return f"{kind} cell {name}"


def _short(value: Any) -> str:
    """A value of the learner's in a note: as Python writes it, cut."""
    said = ascii(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}…"
