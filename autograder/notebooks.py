"""From a lab's text and the reference library to nbgrader's source notebook, and from that to the one for learners.

The source notebook is the instructor's: it holds the solutions and the hidden part of each check cell. nbgrader's own
preprocessors take both out again, here and in ``nbgrader generate_assignment``.
"""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.lab_text import MARKERS, kind_of, names_in, read_lab, without_sections_left_out
from autograder.stubs import STUB, bound_names, needed_names, solution_cell
from autograder.units import Source
from nutshell.budget import METRICS, check_limit, margin_of
from nutshell.checks import Budget, Exercise, Unit
from nutshell.errors import Refused

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def source_notebook(source: Source, unit: Unit | None = None) -> NotebookNode:
    """The instructor's notebook of a unit.

    Parameters
    ----------
    source : Source
        The unit as its author wrote it.
    unit : Unit, optional
        The unit as a classroom wants it: other points, other limits, exercises left out with their sections.

    Raises
    ------
    Refused
        If the lab's text, the reference library and ``UNIT`` don't name the same exercises, or the lab can't be built.
    """
    unit = unit or source.unit
    where = f"solutions/{source.unit.name}"
    notebook = new_notebook(metadata=_metadata(unit), cells=[])
    given = 0
    for cell in without_sections_left_out(read_lab(source), unit):
        kind = kind_of(cell, where)
        if cell.cell_type != "code":
            notebook.cells.append(_text(cell.source, f"text-{len(notebook.cells) + 1}"))
        elif kind == "exercise":
            for name in names_in(cell):
                home = source.home(name)
                solution = solution_cell(home.reference_text, name, f"solutions/{home.unit.name}/reference.py")
                notebook.cells += _exercise_cells(unit.exercise(name), solution, unit.name, home.unit)
        elif kind == "budget":
            for name in names_in(cell):
                notebook.cells += _budget_cells(_budget(unit, name), unit.name)
        elif kind == "experiment":
            notebook.cells.append(
                new_code_cell(f"%%experiment\n{cell.source}", id=f"experiment-{len(notebook.cells) + 1}")
            )
        else:
            given += 1
            notebook.cells.append(_code(cell.source, f"given_{given}", locked=True))
    faults = list(_not_compiling(notebook))
    if faults:
        raise Refused(f"{where}/lab.md: {'; '.join(faults)}.")
    _defined(notebook, where)
    return notebook


def release_notebook(source: NotebookNode) -> NotebookNode:
    """The learner's notebook: nbgrader's own steps take out solutions and hidden tests and lock what is given."""
    from nbgrader import preprocessors as steps
    from traitlets.config import Config

    config = Config()
    config.ClearSolutions.code_stub = {"python": STUB}
    config.NbGraderPreprocessor.enabled = True
    notebook, resources = deepcopy(source), {"nbgrader": {"assignment": "", "notebook": "", "student": "."}}
    for step in (
        steps.LockCells,
        steps.ClearSolutions,
        steps.ClearOutput,
        steps.CheckCellMetadata,
        steps.ClearHiddenTests,
        steps.ClearMarkScheme,
        steps.ComputeChecksums,
        steps.CheckCellMetadata,
    ):
        notebook, resources = step(config=config).preprocess(notebook, resources)
    return sealed(notebook)


def lesson_notebook(text: str) -> NotebookNode:
    """A lesson's notebook from its MyST text, without outputs."""
    read = jupytext.reads(text, fmt="md:myst")
    jupytext_metadata = {key: value for key, value in read.metadata.get("jupytext", {}).items() if key == "formats"}
    metadata: dict[str, Any] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if jupytext_metadata:
        metadata["jupytext"] = jupytext_metadata
    cells = []
    for number, cell in enumerate(read.cells, 1):
        make = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        cells.append(make(cell.source, id=f"{cell.cell_type}-{number}", metadata=cell.metadata))
    return sealed(new_notebook(metadata=metadata, cells=cells))


def sealed(notebook: NotebookNode) -> NotebookNode:
    """Write down the hash of all cells' text in the notebook, so that an edit by hand shows."""
    notebook.metadata.setdefault("nutshell", NotebookNode())["text_sha256"] = text_hash(notebook)
    return notebook


def edited_by_hand(notebook: NotebookNode) -> bool:
    """Whether a cell was changed, added or removed since the notebook was made; outputs don't count."""
    return notebook.metadata.get("nutshell", {}).get("text_sha256") != text_hash(notebook)


def text_hash(notebook: NotebookNode) -> str:
    """SHA-256 of the types and sources of all cells."""
    text = json.dumps([[cell.cell_type, cell.source] for cell in notebook.cells], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_bytes(notebook: NotebookNode) -> bytes:
    """The notebook's file, the same bytes for the same notebook."""
    nbformat.validate(notebook)
    return (nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n").encode()


def leftovers(notebook: NotebookNode) -> Iterator[str]:
    """What a learner's notebook must not hold, in words: markers, cells that don't compile, missing stubs, outputs."""
    for cell in notebook.cells:
        name = _name(cell)
        for marker in MARKERS:
            if marker in cell.source:
                yield f"cell {name}: the marker {marker!r} is left over"
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            yield f"cell {name}: it holds outputs"
        if cell.metadata.get("nbgrader", {}).get("solution") and STUB not in cell.source:
            yield f"cell {name}: it has no stub"
    yield from _not_compiling(notebook)


def _not_compiling(notebook: NotebookNode) -> Iterator[str]:
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in notebook.cells:
        try:
            if cell.cell_type == "code":
                text = TransformerManager().transform_cell(cell.source.removeprefix("%%experiment\n"))
                compile(text, _name(cell), "exec")
        except SyntaxError as error:
            yield f"cell {_name(cell)}: it doesn't compile, line {error.lineno}: {error.msg}"


def _name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", cell.id)


def _metadata(unit: Unit) -> dict[str, Any]:
    return {"kernelspec": KERNEL, "language_info": {"name": "python"}, "nutshell": {"unit": unit.name}}


def _text(text: str, cell_id: str) -> NotebookNode:
    return new_markdown_cell(text, id=cell_id)


def _code(
    text: str, grade_id: str, *, locked: bool = False, solution: bool = False, points: float | None = None
) -> NotebookNode:
    marks: dict[str, Any] = {
        "grade": points is not None,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        marks["points"] = points
    return new_code_cell(text, id=grade_id.replace("_", "-")[:64], metadata={"nbgrader": marks})


def _exercise_cells(exercise: Exercise, solution: str, unit: str, home: Unit) -> list[NotebookNode]:
    what = "extension" if exercise.extension else "exercise"
    stars = "★" * exercise.difficulty
    about = f"**`{exercise.name}`** · {what} · {_marks(exercise.points)} · {exercise.minutes} minutes · {stars}"
    if exercise.unit:
        about += f" · from *{home.number:02d} {home.title}*"
    return [
        _text(about, f"about-{exercise.name}".replace("_", "-")[:64]),
        _code(solution, f"solution_{exercise.name}", solution=True),
        _check_cell(exercise.name, exercise.points, unit),
    ]


def _what(budget: Budget) -> str:
    return f"a network beside {budget.topology}" if budget.any_network else f"a compressed {budget.topology}"


def _budget_cells(budget: Budget, unit: str) -> list[NotebookNode]:
    for limit in budget.limits:
        check_limit(limit)
    lines = [
        f"**`{budget.name}`** · budget · {_marks(budget.points)} · {budget.minutes} minutes · hand in `{budget.file}`, "
        f"{_what(budget)}, measured on the test images of {budget.data}",
        "",
        "| measured | full marks up to | none from |",
        "|---|---|---|",
    ]
    for limit in budget.limits:
        metric = METRICS[limit.metric]
        words = metric.words if limit.layer is None else f"{metric.words}, layer {limit.layer}"
        words = words.replace("|", "\\|")  # else it ends the cell of a Markdown table
        full, none = (f"{value:,.{metric.digits}f}" for value in (limit.at_most, limit.at_most + margin_of(limit)))
        lines.append(f"| {words} | {full} | {none if margin_of(limit) else f'none above {full}'} |")
    return [
        _text("\n".join(lines), f"about-{budget.name}".replace("_", "-")[:64]),
        _check_cell(budget.name, budget.points, unit),
    ]


def _budget(unit: Unit, name: str) -> Budget:
    return next(budget for budget in unit.budgets if budget.name == name)


def _check_cell(name: str, points: float, unit: str) -> NotebookNode:
    lines = [
        f'check("{name}")',
        "### BEGIN HIDDEN TESTS",
        "from autograder.stock import grade_here",
        f'grade_here("{name}", "{unit}")',
        "### END HIDDEN TESTS",
    ]
    return _code("\n".join(lines), f"check_{name}", locked=True, points=points)


def _marks(points: float) -> str:
    return f"{points:g} {'point' if points == 1 else 'points'}" if points else "no points"


def _defined(notebook: NotebookNode, where: str) -> None:
    """Refuse solutions that need more than what the given cells import: a learner's stub would lack it too."""
    given: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type != "code" or "nbgrader" not in cell.metadata:
            continue
        if cell.metadata.nbgrader.grade_id.startswith("given_"):
            given |= bound_names(cell.source)
        elif cell.metadata.nbgrader.solution:
            missing = needed_names(cell.source) - given
            if missing:
                name = cell.metadata.nbgrader.grade_id.removeprefix("solution_")
                raise Refused(
                    f"{where}: {name} in reference.py uses {', '.join(sorted(missing))}, which no given cell of lab.md "
                    f"before it imports or defines. Import it in the lab's first cell, or do without."
                )
