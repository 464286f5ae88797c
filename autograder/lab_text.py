"""A lab's text, ``lab.md``: which cells it has, whether it agrees with the library and ``UNIT``, what is left out."""

import re

import jupytext
from nbformat import NotebookNode

from autograder.stubs import public_names
from autograder.units import Source
from nutshell.checks import Unit
from nutshell.errors import Refused

KINDS = ("exercise", "budget", "experiment")
MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN", "END HIDDEN", "BEGIN MARK SCHEME", "END MARK SCHEME")


def read_lab(source: Source) -> list[NotebookNode]:
    """The cells of a unit's ``lab.md``.

    Raises
    ------
    Refused
        If nbgrader's markers stand in it or in the library, or the lab, the library and ``UNIT`` don't name the same
        exercises and budgets, each once.
    """
    where = f"solutions/{source.unit.name}"
    source.lenders()  # refuses an exercise that nobody lends
    for file, text in (("lab.md", source.lab_text), ("reference.py", source.reference_text)):
        faults = [marker for marker in MARKERS if marker in text]
        if faults:
            raise Refused(f"{where}/{file}: the marker {faults[0]!r} is left over; release sets the markers itself.")
    cells = jupytext.reads(source.lab_text, fmt="md:myst").cells
    _agree(source, cells, where)
    return cells


def kind_of(cell: NotebookNode, where: str) -> str:
    """What a cell is, by its tag: an exercise, a budget, an experiment, or "" for what is given."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in KINDS]
    unknown = [tag for tag in cell.metadata.get("tags", []) if tag not in KINDS]
    if unknown and cell.cell_type == "code":
        raise Refused(f"{where}/lab.md: a cell has the tag {unknown[0]!r}; the tags are {', '.join(KINDS)}.")
    if len(tags) > 1:
        raise Refused(f"{where}/lab.md: a cell is tagged {' and '.join(tags)}; it can be one of them.")
    return tags[0] if tags else ""


def names_in(cell: NotebookNode) -> list[str]:
    """Names that a cell holds, one a line."""
    lines = (line.partition("#")[0].strip() for line in cell.source.splitlines())
    return [line for line in lines if line]


def _agree(source: Source, cells: list[NotebookNode], where: str) -> None:
    """Refuse a lab whose text, reference library and UNIT don't name the same exercises and budgets, each once."""
    named = {
        kind: [
            name
            for cell in cells
            if cell.cell_type == "code" and kind_of(cell, where) == kind
            for name in names_in(cell)
        ]
        for kind in ("exercise", "budget")
    }
    unit = {exercise.name for exercise in source.unit.exercises}
    own = {exercise.name for exercise in source.unit.exercises if not exercise.unit}
    budgets = {budget.name for budget in source.unit.budgets}
    library = set(public_names(source.reference_text))
    lab, lab_budgets = set(named["exercise"]), set(named["budget"])
    checked = {check.exercise for check in source.public_checks()}
    faults = {
        "lab.md names the exercise {}, which UNIT in checks.py lacks": lab - unit,
        "lab.md names the exercise {}, which reference.py lacks": lab & own - library,
        "UNIT has the exercise {}, which lab.md doesn't name": unit - lab,
        "UNIT has the exercise {}, which reference.py lacks": own - library,
        "reference.py has {}, which is no exercise of UNIT; begin the name of a helper with an underscore": library
        - own,
        "lab.md names the budget {}, which UNIT in checks.py lacks": lab_budgets - budgets,
        "UNIT has the budget {}, which lab.md doesn't name": budgets - lab_budgets,
        "UNIT has the exercise {}, and checks.py has no public check of it": own - checked,
        "{} names both an exercise and a budget": unit & budgets,
        "lab.md names {} twice": {name for names in named.values() for name in names if names.count(name) > 1},
    }
    said = [fault.format(", ".join(sorted(found))) for fault, found in faults.items() if found]
    if said:
        raise Refused(f"{where}: {'; '.join(said)}.")


def without_sections_left_out(cells: list[NotebookNode], unit: Unit) -> list[NotebookNode]:
    """Leave out the sections of exercises and budgets that the unit, as a classroom wants it, doesn't have.

    A section goes from a heading to the next heading of its level or above. If it also holds an exercise that stays,
    only the exercise's own cells go.
    """
    wanted = {exercise.name for exercise in unit.exercises} | {budget.name for budget in unit.budgets}

    def named(cell: NotebookNode) -> list[str]:
        tags = cell.metadata.get("tags", [])
        return names_in(cell) if cell.cell_type == "code" and ("exercise" in tags or "budget" in tags) else []

    kept = list(cells)
    for cell in cells:
        if not named(cell) or any(name in wanted for name in named(cell)):
            continue
        if not any(other is cell for other in kept):  # gone already, with the section that it shares with another
            continue
        section = _section(kept, kept.index(cell))
        if not any(name in wanted for inner in section for name in named(inner)):
            kept = [other for other in kept if not any(other is inner for inner in section)]
    for cell in kept:
        if named(cell):
            cell.source = "\n".join(name for name in named(cell) if name in wanted)
    return kept


def _section(cells: list[NotebookNode], index: int) -> list[NotebookNode]:
    start, level = next(((i, found) for i in range(index, -1, -1) if (found := _heading(cells[i])) > 1), (index, 6))
    end = next((i for i in range(index + 1, len(cells)) if 0 < _heading(cells[i]) <= level), len(cells))
    return cells[start:end] if start < index else cells[index : index + 1]


def _heading(cell: NotebookNode) -> int:
    """Level of the heading that a text cell begins with; 0 if it begins with none."""
    match = re.match(r"(#{1,6}) ", cell.source) if cell.cell_type == "markdown" else None
    return len(match[1]) if match else 0
