"""What a learner calls in a lab: ``open_lab``, ``check``, ``progress`` and ``hand_in``.

The desk holds a unit's description, its public checks and the recorded replies of the reference, all in the folder
``desk`` beside the notebook. The reference and the hidden checks are not here.
"""

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from nutshell.checks import Budget, Exercise, Unit, unit_from_data
from nutshell.errors import WrongUse
from nutshell.wire import shell, show
from nutshell.wire.channel import Loopback
from nutshell.wire.lab import FOLDER, PROGRESS, UNIT, Desk, load, remembered
from nutshell.wire.running import Verdict, points
from nutshell.wire.show import Points, Shown
from nutshell.wire.standins import Implementation

_open: Desk | None = None


def open_lab(name: str, folder: str | Path | None = None) -> None:
    """Open a lab: find its checks, and let cells that begin with ``%%experiment`` run.

    Parameters
    ----------
    name : str
        Name of the unit, such as ``"low_rank"``.
    folder : str or Path, optional
        The lab's folder; the notebook's own if left out.

    Raises
    ------
    WrongUse
        If no desk for this unit lies there.
    """
    names = sys._getframe(1).f_globals
    with show.message_only():
        _open_lab(name, [Path(folder)] if folder is not None else list(_candidates(names)))


def _open_lab(name: str, candidates: list[Path]) -> None:
    global _open
    shell.prepare()
    if _graded():  # the grader brings its own checks
        _open = None
        return
    grading = "NBGRADER_EXECUTION" in os.environ
    for candidate in candidates:
        if (candidate / FOLDER / UNIT).is_file():
            found = load(candidate.resolve())
            if found.unit.name == name:
                _open = found
                if not grading:
                    show.write(_welcome(found.unit))
                return
    if grading:
        _open = None
        return
    raise WrongUse(
        f"There is no “{FOLDER}” folder for the lab {name!r} in {candidates[0].resolve()}. Open the notebook in the "
        "folder in which it was handed out."
    )


def _graded() -> bool:
    """Whether this is a grader's run of the notebook, which has no use for the desk."""
    return os.environ.get("NBGRADER_EXECUTION") == "autograde"


def check(exercise: str | Callable) -> Points:
    """Run the public checks of an exercise, or measure a budget's file on the validation images.

    Parameters
    ----------
    exercise : str or callable
        Name of an exercise or a budget, or the function or class itself.

    Returns
    -------
    float
        Points so far, with a table as its HTML representation; in a terminal the table is printed.

    Raises
    ------
    WrongUse
        If nothing has that name, or no lab is open.
    """
    names = sys._getframe(1).f_globals
    with show.message_only():
        return _check(exercise, names)


def _check(exercise: str | Callable, names: dict[str, Any]) -> Points:
    name = exercise if isinstance(exercise, str) else getattr(exercise, "__name__", str(exercise))
    if _graded() or (_open is None and "NBGRADER_EXECUTION" in os.environ):
        return Points(0.0, "The grader brings its own checks.", "<p>The grader brings its own checks.</p>")
    desk = _opened()
    for budget in desk.unit.budgets:
        if budget.name == name:
            found = budget_result(budget, desk.folder / budget.file, part="validation")
            desk.remember(name, float(found), int(found >= budget.points), 1, found.note)
            return _shown(found)
    if name not in [item.name for item in desk.unit.exercises]:
        raise WrongUse(_unknown(name, desk.unit))
    item = desk.unit.exercise(name)
    if not isinstance(exercise, str):
        names = {**names, name: exercise}
    verdicts = desk.judge(item, Implementation(Loopback(names)))
    earned = points(item, verdicts)
    desk.remember(name, earned, sum(verdict.passed for verdict in verdicts), len(verdicts))
    return _shown(result(item, verdicts, earned))


def result(exercise: Exercise, verdicts: Sequence[Verdict], earned: float | None = None) -> Points:
    """Points of an exercise with its table, as ``check`` returns them and as a check cell's last value at grading."""
    return show.of_exercise(exercise, verdicts, points(exercise, verdicts) if earned is None else earned)


def budget_result(budget: Budget, path: Path, part: Literal["test", "validation"] = "validation") -> Points:
    """Points of a budget with its table.

    Parameters
    ----------
    budget : Budget
        Its limits.
    path : Path
        The ``.nut`` file.
    part : {"validation", "test"}
        Images it is measured on.
    """
    note = "The test images come at grading." if part == "validation" else ""
    if not path.is_file():
        caption = f"{budget.name}: 0 of {show.number(budget.points)} points"
        said = f'{path.name} is not there yet: hand_in(network, "{path.name}") makes it.'
        return Points(
            0.0, f"{caption}\n{said}", show.table_as_html(caption, ("Result",), [("✗ not handed in yet",)], [said])
        )
    from nutshell.budget import STAND_IN, judge

    judged = judge(budget, path, part=part)
    earned = min(max(float(judged.points), 0.0), budget.points)
    markup = show.framed(f"{judged._repr_html_()}<p>{note}</p>")
    return Points(earned, f"{judged}\n{note}".strip(), markup, STAND_IN if judged.on_stand_in else "")


def progress() -> Shown:
    """Show the points of each exercise of this lab, and of the labs beside it, as of the last check."""
    if _graded():
        return Shown("", "")
    with show.message_only():
        return _progress(_opened())


def _progress(desk: Desk) -> Shown:
    columns = ("", "exercise", "points", "checks passed", "last checked")
    rows = [_progress_row(item, desk.done.get(item.name)) for item in _items(desk.unit)]
    caption = _total(desk.unit, desk.done)
    units = [_total(unit, done) for unit, done in _beside(desk)]
    said = [f"{name}: {done['note']}." for name, done in desk.done.items() if done.get("note")]
    notes = [*said, show.LATER, *(["The other labs here:", *units] if units else [])]
    shown = Shown(show.table_as_text(caption, columns, rows, notes), show.table_as_html(caption, columns, rows, notes))
    if not shell.in_notebook():
        show.write(shown.text)
        return Shown("", "")
    return shown


def hand_in(
    network: Any, file: str | None = None, *, encodings: Any = None, input_shape: tuple[int, ...] | None = None
) -> Points:
    """Save a network as the ``.nut`` file that a budget asks for, and measure it on the validation images.

    Parameters
    ----------
    network : torch.nn.Module
        What to hand in; it is saved in evaluation mode.
    file : str, optional
        Name of the file, beside the notebook; may be left out where the lab has one budget.
    encodings : mapping of str to Encoding, optional
        How tensors are stored, by name; dense if left out.
    input_shape : tuple of int, optional
        Channels, height and width of one image; those of the budget's network if left out.

    Returns
    -------
    float
        Points of the budget, with its table.

    Raises
    ------
    WrongUse
        If it is no network, the lab asks for no such file, or no lab is open.
    """
    if _graded():
        return Points(0.0, "What was handed in counts.", "<p>What was handed in counts.</p>")
    with show.message_only():
        return _hand_in(_opened(), network, file, encodings, input_shape)


def _hand_in(
    desk: Desk, network: Any, file: str | None, encodings: Any, input_shape: tuple[int, ...] | None
) -> Points:
    budget = _budget(desk.unit, file)
    path = desk.folder / budget.file
    if "NBGRADER_EXECUTION" in os.environ:
        return Points(0.0, "What was handed in counts.", f"<p>{budget.file} is graded as it was handed in.</p>")
    from torch import nn

    from nutshell import artefact, models

    if not isinstance(network, nn.Module):
        raise WrongUse(
            f"hand_in wants a network, an nn.Module, as its first argument, and got {_kind(network)}. If that makes "
            "the network, call it and hand in what it returns."
        )
    artefact.save(
        network, path, input_shape=input_shape or models.INPUT_SHAPES[budget.topology], encodings=encodings or {}
    )
    found = budget_result(budget, path)
    desk.remember(budget.name, float(found), int(found >= budget.points), 1, found.note)
    return _shown(found)


def _kind(value: Any) -> str:
    """What a value is, in words: ``the function compress``."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _budget(unit: Unit, file: str | None) -> Budget:
    found = [budget for budget in unit.budgets if file in (None, budget.file, budget.name)]
    if len(found) != 1:
        names = ", ".join(f'"{budget.file}"' for budget in unit.budgets) or "no file at all"
        raise WrongUse(f"{file!r} is not a file that this lab asks for; it asks for {names}.")
    return found[0]


def _opened() -> Desk:
    if _open is None:
        raise WrongUse("No lab is open. Run the first cell, with open_lab(…), and then this one again.")
    return _open


def _unknown(name: str, unit: Unit) -> str:
    names = [item.name for item in _items(unit)]
    near = difflib.get_close_matches(name, names, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"This lab has no exercise {name!r}.{meant} It has: {', '.join(names)}."


def _shown(found: Points) -> Points:
    if not shell.in_notebook():
        show.write(found.text)
    return found


def _welcome(unit: Unit) -> str:
    total = sum(item.points for item in _items(unit))
    return (
        f"{unit.title}: {len(unit.exercises)} exercises, {show.number(total)} points. "
        f'check("{unit.exercises[0].name}") tests one of them, progress() shows all.'
    )


def _items(unit: Unit) -> list[Exercise | Budget]:
    """What there is to do: exercises, budgets, and then the extensions."""
    core = [item for item in unit.exercises if not item.extension]
    return [*core, *unit.budgets, *(item for item in unit.exercises if item.extension)]


def _progress_row(item: Exercise | Budget, done: dict[str, Any] | None) -> tuple[str, ...]:
    of = f"{show.number(item.points)}" if item.points else "extension"
    if done is None:
        return "·", item.name, f"– of {of}" if item.points else of, "not checked yet", ""
    full = done["passed"] == done["of"]
    earned = f"{show.number(done['points'])} of {of}" if item.points else of
    return "✓" if full else "✗", item.name, earned, f"{done['passed']} of {done['of']}", done["when"]


def _total(unit: Unit, done: dict[str, dict[str, Any]]) -> str:
    items = _items(unit)
    of = sum(item.points for item in items)
    earned = sum(done[item.name]["points"] for item in items if item.name in done)
    return show.total(unit, earned, of)


def _beside(desk: Desk) -> Iterable[tuple[Unit, dict[str, Any]]]:
    for path in sorted(desk.folder.parent.glob(f"*/{FOLDER}/{PROGRESS}")):
        if path.parent.parent.resolve() == desk.folder:
            continue
        try:
            yield unit_from_data(json.loads((path.parent / UNIT).read_text(encoding="utf-8"))), remembered(path.parent)
        except (OSError, ValueError, KeyError, TypeError) as error:
            show.write(f"({path.parent} can't be read: {error}.)")


def _candidates(names: dict[str, Any]) -> Iterable[Path]:
    """Folders in which the notebook may lie: the current one, and what Jupyter or VS Code say of the notebook."""
    yield Path.cwd()
    for said in (os.environ.get("JPY_SESSION_NAME"), names.get("__vsc_ipynb_file__"), names.get("__session__")):
        if isinstance(said, str) and said.endswith(".ipynb"):
            yield Path(said).parent
