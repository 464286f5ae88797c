"""What a learner calls in a lab: ``open_lab``, ``check``, ``progress`` and ``hand_in``.

The desk holds a unit's description, its public checks and the recorded replies of the reference, all in the folder
``desk`` beside the notebook. The reference and the hidden checks are not here.
"""

import difflib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nutshell.checks import Budget, Check, Exercise, Unit, checks_of, unit_from_data
from nutshell.errors import NutshellError, WrongUse
from nutshell.wire import show
from nutshell.wire.channel import Loopback
from nutshell.wire.running import PUBLIC_SEED, Replies, Verdict, points, run_checks
from nutshell.wire.show import Points, Shown
from nutshell.wire.standins import Implementation

FOLDER, UNIT, CHECKS, REPLIES, PROGRESS = "desk", "unit.json", "public_checks.py", "replies.bin", "progress.json"
EXPERIMENT = "%%experiment"


@dataclass
class Desk:
    """An opened lab.

    Attributes
    ----------
    folder : Path
        The lab's folder, in which the notebook lies.
    unit : Unit
        What there is to do.
    checks : tuple of Check
        The public ones.
    replies : Replies
        What the reference answered.
    done : dict
        By exercise or budget: points, passed checks, number of checks, and when.
    """

    folder: Path
    unit: Unit
    checks: tuple[Check, ...]
    replies: Replies
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def judge(self, exercise: Exercise, learner: Implementation) -> list[Verdict]:
        """Run the public checks of an exercise."""
        own = [check for check in self.checks if check.exercise == exercise.name]
        return run_checks(own, learner, self.replies, PUBLIC_SEED, include_hidden=False)

    def remember(self, name: str, earned: float, passed: int, of: int) -> None:
        """Keep a result for ``progress``, in the lab's folder where it is the learner's own."""
        self.done[name] = dict(points=earned, passed=passed, of=of, when=time.strftime("%Y-%m-%d %H:%M"))
        if self.folder.parent.name == "labs" or "NBGRADER_EXECUTION" in os.environ:
            return  # as released, or a grader's copy: nothing is written there
        path = self.folder / FOLDER / PROGRESS
        try:
            path.write_text(json.dumps(dict(unit=self.unit.name, done=self.done), indent=1) + "\n")
        except OSError as error:
            show.write(f"(Progress lasts for this session only: {path} can't be written, {error.strerror}.)")


_open: Desk | None = None


def load(folder: Path) -> Desk:
    """Read the desk half of a lab.

    Parameters
    ----------
    folder : Path
        The lab's folder.

    Raises
    ------
    WrongUse
        If there is no ``desk`` in it, or one that is incomplete.
    """
    place = folder / FOLDER
    missing = [name for name in (UNIT, CHECKS, REPLIES) if not (place / name).is_file()]
    if missing:
        raise WrongUse(f"{place} lacks {', '.join(missing)}. Open the lab in the folder in which it was handed out, or copy that "
                       f"folder's “{FOLDER}” beside the notebook.")
    try:
        unit = unit_from_data(json.loads((place / UNIT).read_text(encoding="utf-8")))
        replies = Replies((place / REPLIES).read_bytes())
    except (ValueError, KeyError, TypeError, NutshellError) as error:
        raise WrongUse(f"{place} is damaged ({error}). Copy it once more from the lab as it was handed out.") from error
    return Desk(folder, unit, tuple(checks_of(_module(place / CHECKS, unit.name))), replies, _remembered(place))


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
    global _open
    _prepare_shell()
    grading = "NBGRADER_EXECUTION" in os.environ
    candidates = [Path(folder)] if folder is not None else list(_candidates(sys._getframe(1).f_globals))
    for candidate in candidates:
        if (candidate / FOLDER / UNIT).is_file():
            found = load(candidate.resolve())
            if found.unit.name == name:
                _open = found
                if not grading:
                    show.write(_welcome(found.unit))
                return
    if grading:  # the grader brings its own checks
        _open = None
        return
    raise WrongUse(f"There is no “{FOLDER}” folder for the lab {name!r} in {candidates[0].resolve()}. Open the notebook in the "
                   "folder in which it was handed out.")


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
    name = exercise if isinstance(exercise, str) else getattr(exercise, "__name__", str(exercise))
    if _open is None and "NBGRADER_EXECUTION" in os.environ:
        return Points(0.0, "The grader brings its own checks.", "<p>The grader brings its own checks.</p>")
    desk = _opened()
    for budget in desk.unit.budgets:
        if budget.name == name:
            found = budget_result(budget, desk.folder / budget.file, part="validation")
            desk.remember(name, float(found), int(found >= budget.points), 1)
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


def budget_result(budget: Budget, path: Path, part: str = "validation") -> Points:
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
        said = f"{path.name} is not there yet: hand_in(network, \"{path.name}\") makes it."
        return Points(0.0, f"{caption}\n{said}", show.table_as_html(caption, ("Result",), [("✗ not handed in yet",)], [said]))
    from nutshell.budget import judge

    judged = judge(budget, path, part=part)
    earned = min(max(float(judged.points), 0.0), budget.points)
    return Points(earned, f"{judged}\n{note}".strip(), f"{judged._repr_html_()}<p>{note}</p>")


def progress() -> Shown:
    """Show the points of each exercise of this lab, and of the labs beside it, as of the last check."""
    desk = _opened()
    columns = ("", "exercise", "points", "checks passed", "last checked")
    rows = [_progress_row(item, desk.done.get(item.name)) for item in (*desk.unit.exercises, *desk.unit.budgets)]
    caption = _total(desk.unit, desk.done)
    units = [_total(unit, done) for unit, done in _beside(desk)]
    notes = [show.LATER, *(["The other labs here:", *units] if units else [])]
    shown = Shown(show.table_as_text(caption, columns, rows, notes), show.table_as_html(caption, columns, rows, notes))
    if not show.in_notebook():
        show.write(shown.text)
        return Shown("", "")
    return shown


def hand_in(network: Any, file: str | None = None, *, encodings: Any = None, input_shape: tuple[int, ...] | None = None) -> Points:
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
    """
    desk = _opened()
    budget = _budget(desk.unit, file)
    path = desk.folder / budget.file
    if "NBGRADER_EXECUTION" in os.environ:
        return Points(0.0, "What was handed in counts.", f"<p>{budget.file} is graded as it was handed in.</p>")
    from nutshell import artefact, models

    artefact.save(network, path, input_shape=input_shape or models.INPUT_SHAPES[budget.topology], encodings=encodings or {})
    found = budget_result(budget, path)
    desk.remember(budget.name, float(found), int(found >= budget.points), 1)
    return _shown(found)


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
    names = [item.name for item in (*unit.exercises, *unit.budgets)]
    near = difflib.get_close_matches(name, names, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"This lab has no exercise {name!r}.{meant} It has: {', '.join(names)}."


def _shown(found: Points) -> Points:
    if not show.in_notebook():
        show.write(found.text)
    return found


def _welcome(unit: Unit) -> str:
    total = sum(item.points for item in (*unit.exercises, *unit.budgets))
    return (f"{unit.title}: {len(unit.exercises)} exercises, {show.number(total)} points. check(\"{unit.exercises[0].name}\") tests "
            "one of them, progress() shows all.")


def _progress_row(item: Exercise | Budget, done: dict[str, Any] | None) -> tuple[str, ...]:
    of = f"{show.number(item.points)}" if item.points else "extension"
    if done is None:
        return "·", item.name, f"– of {of}" if item.points else of, "not checked yet", ""
    full = done["passed"] == done["of"]
    earned = f"{show.number(done['points'])} of {of}" if item.points else of
    return "✓" if full else "✗", item.name, earned, f"{done['passed']} of {done['of']}", done["when"]


def _total(unit: Unit, done: dict[str, dict[str, Any]]) -> str:
    items = (*unit.exercises, *unit.budgets)
    of = sum(item.points for item in items)
    earned = sum(done[item.name]["points"] for item in items if item.name in done)
    return f"{unit.number:02d} {unit.title}: {show.bar(earned / of if of else 0)} {show.number(earned)} of {show.number(of)} points"


def _beside(desk: Desk) -> Iterable[tuple[Unit, dict[str, Any]]]:
    for path in sorted(desk.folder.parent.glob(f"*/{FOLDER}/{PROGRESS}")):
        if path.parent.parent.resolve() == desk.folder:
            continue
        try:
            yield unit_from_data(json.loads((path.parent / UNIT).read_text(encoding="utf-8"))), _remembered(path.parent)
        except (OSError, ValueError, KeyError, TypeError) as error:
            show.write(f"({path.parent} can't be read: {error}.)")


def _remembered(place: Path) -> dict[str, dict[str, Any]]:
    """Earlier results; a file that isn't as this module writes it counts as none."""
    path = place / PROGRESS
    if not path.is_file():
        return {}
    try:
        done = json.loads(path.read_text(encoding="utf-8"))["done"]
        return {str(name): dict(points=float(row["points"]), passed=int(row["passed"]), of=int(row["of"]), when=str(row["when"]))
                for name, row in done.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _module(path: Path, name: str) -> ModuleType:
    """The public checks as a module, loaded by path."""
    module_name = f"nutshell_public_checks_{name}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    if specification is None or specification.loader is None:
        raise WrongUse(f"{path} can't be loaded.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module
    specification.loader.exec_module(module)
    return module


def _candidates(names: dict[str, Any]) -> Iterable[Path]:
    """Folders in which the notebook may lie: the current one, and what Jupyter or VS Code say of the notebook."""
    yield Path.cwd()
    for said in (os.environ.get("JPY_SESSION_NAME"), names.get("__vsc_ipynb_file__"), names.get("__session__")):
        if isinstance(said, str) and said.endswith(".ipynb"):
            yield Path(said).parent


def _prepare_shell() -> None:
    """Under IPython: run or skip experiments; under stock nbgrader: keep what goes to standard error from costing marks."""
    shell = show._shell()
    if shell is not None:
        transformers = shell.input_transformers_cleanup
        transformers[:] = [item for item in transformers if getattr(item, "__name__", "") != experiment_cells.__name__]
        transformers.append(experiment_cells)
    if "NBGRADER_EXECUTION" in os.environ and hasattr(sys.stderr, "name") and type(sys.stderr).__module__.startswith("ipykernel"):
        sys.stderr.name = "stdout"  # stock nbgrader gives no marks to a cell that warns or shows a progress bar


def experiment_cells(lines: list[str]) -> list[str]:
    """IPython's view of a cell that begins with ``%%experiment``: its body, or nothing where experiments are skipped.

    Examples
    --------
    >>> experiment_cells(["%%experiment\\n", "train()\\n"])
    ['# an experiment: skipped at grading\\n', 'train()\\n']
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None or not is_experiment(lines[first]):
        return lines
    if "NBGRADER_EXECUTION" in os.environ:
        return ['print("An experiment: skipped at grading.")\n']
    return [*lines[:first], "# an experiment: skipped at grading\n", *lines[first + 1:]]


def is_experiment(source: str) -> bool:
    """Whether a cell's text begins with ``%%experiment``."""
    words = source.split(maxsplit=1)
    return bool(words) and words[0] == EXPERIMENT
