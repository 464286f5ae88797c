"""A lab notebook outside JupyterLab: its cells run in a child process and a copy of the folder, the checks here."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nutshell.checks import Budget, Exercise
from nutshell.errors import Trouble, WrongUse
from nutshell.wire import codec, desk
from nutshell.wire.channel import Ended
from nutshell.wire.lab import Desk, load
from nutshell.wire.process import Process
from nutshell.wire.running import CRASH, NOT_DONE, OUTPUT, TIMEOUT, Verdict, points
from nutshell.wire.shell import is_experiment
from nutshell.wire.standins import Implementation

MOST_RESTARTS = 5  # each may cost the whole time limit
ENDS = (TIMEOUT, CRASH, OUTPUT)


@dataclass(frozen=True)
class Cell:
    """A code cell: its number among the notebook's cells, from 1, and its text."""

    number: int
    source: str


@dataclass(frozen=True)
class Outcome:
    """What the checks of one exercise, or the measure of one budget, say; ``file`` says which file was measured."""

    item: Exercise | Budget
    points: float
    verdicts: list[Verdict] = field(default_factory=list)
    text: str = ""
    file: str = ""
    note: str = ""

    @property
    def passed(self) -> bool:
        if isinstance(self.item, Budget):
            return self.points >= self.item.points
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    @property
    def open_extension(self) -> bool:
        """An extension that nobody has begun doesn't fail a notebook."""
        return (
            isinstance(self.item, Exercise) and self.item.extension and all(v.status == NOT_DONE for v in self.verdicts)
        )


def cells_of(path: Path, experiments: bool = False) -> list[Cell]:
    """The learner's code cells in order: check cells are left out, and so are experiments unless they are asked for.

    Raises
    ------
    WrongUse
        If the file is no notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found = [
            (number, cell.get("metadata", {}).get("nbgrader", {}), "".join(cell["source"]))
            for number, cell in enumerate(cells, start=1)
            if cell["cell_type"] == "code"
        ]
    except OSError as error:
        raise WrongUse(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WrongUse(f"{path} is not a notebook: it is not JSON with a list of cells.") from None
    return [
        Cell(number, source)
        for number, marks, source in found
        if not (marks.get("grade") and not marks.get("solution")) and (experiments or not is_experiment(source))
    ]


class Session:
    """The learner's cells, run in a child process and a copy of their folder; begun anew when the child has ended.

    Parameters
    ----------
    cells : sequence of Cell
        What to run. A cell that raises doesn't stop the next; one that ends the child is left out from then on.
    folder : Path
        The notebook's; the cells run in a copy of it, which ends with the session.
    time_limit : float
        Seconds for one cell, and for one call by a check.

    Attributes
    ----------
    folder : Path
        The copy.
    errors : dict
        By number of cell, what went wrong in it.
    """

    def __init__(self, cells: Iterable[Cell], folder: Path, time_limit: float) -> None:
        self.cells, self.time_limit = list(cells), time_limit
        self._scratch = tempfile.TemporaryDirectory(prefix="nutshell-check-", ignore_cleanup_errors=True)
        self.folder = copy_of(folder, Path(self._scratch.name))
        self.errors: dict[int, str] = {}
        self._process: Process | None = None
        self._starts = 0

    def learner(self) -> Implementation:
        """The implementation that the cells make."""
        while self._process is None or self._process.ended is not None:
            if self._starts > MOST_RESTARTS:
                break
            self._start()
        assert self._process is not None
        return Implementation(self._process)

    def close(self) -> None:
        """End the child and delete the copy."""
        if self._process is not None:
            self._process.close()
        self._scratch.cleanup()

    def _start(self) -> None:
        if self._process is not None:
            self._process.close()
        self._starts += 1
        self._process = Process(self.folder, self.time_limit)
        for cell in list(self.cells):
            try:
                reply = self._process.request("run", codec.encode({"verb": "run", "cells": [cell.source]}))
            except Ended as ended:
                self.errors[cell.number] = f"{ended.status}: {ended}"
                self.cells.remove(cell)
                return
            error = _error_of(reply)
            if error:
                self.errors[cell.number] = error


def copy_of(folder: Path, into: Path) -> Path:
    """A copy of a lab's folder, with what its links lead to, so that nothing done in it changes the learner's.

    Raises
    ------
    Trouble
        If it can't be copied: no room, or a file that may not be read.
    """

    def leave_out(place: str, names: list[str]) -> list[str]:
        found = [name for name in names if name in (".git", ".ipynb_checkpoints", "__pycache__")]
        here = Path(place).resolve()
        odd = [name for name in names if not (here / name).is_file() and not (here / name).is_dir()]  # sockets, pipes
        around = [
            name
            for name in names
            if (here / name).is_symlink() and here.is_relative_to(Path(os.path.realpath(here / name)))
        ]
        return [*found, *odd, *around]

    target = into / folder.resolve().name
    try:
        shutil.copytree(folder, target, ignore=leave_out)
    except OSError as error:
        raise Trouble(f"{folder} can't be copied to run its notebook in the copy: {error}") from None
    return target


def check_notebook(
    path: Path, *, experiments: bool = False, time_limit: float = 60.0
) -> "tuple[Desk, Session, Iterator[Outcome]]":
    """Run a notebook's cells in a copy of its folder, and the public checks on what they define.

    Parameters
    ----------
    path : Path
        The notebook, with ``desk/`` beside it.
    experiments : bool
        Whether cells that begin with ``%%experiment`` run too; budgets are then measured on what they made.
    time_limit : float
        Seconds for one cell, and for one call by a check.

    Returns
    -------
    Desk, Session, iterator of Outcome
        The outcomes are computed as they are asked for; the session ends with the last.
    """
    cells = cells_of(path, experiments)
    opened = load(path.resolve().parent)
    session = Session(cells, opened.folder, time_limit)
    return opened, session, _outcomes(opened, session, experiments)


def _outcomes(opened: Desk, session: Session, experiments: bool) -> Iterator[Outcome]:
    try:
        if experiments:
            session.learner()  # they make what is measured, also where there is no exercise
        for exercise in opened.unit.exercises:
            verdicts = opened.judge(exercise, session.learner())
            yield Outcome(exercise, points(exercise, verdicts), verdicts, desk.result(exercise, verdicts).text)
        for budget in opened.unit.budgets:
            path, said = _measured(budget, opened.folder, session.folder if experiments else None)
            found = desk.budget_result(budget, path)
            yield Outcome(budget, float(found), text=f"{found.text}\n{said}".strip(), file=said, note=found.note)
    finally:
        session.close()


def _measured(budget: Budget, folder: Path, scratch: Path | None) -> tuple[Path, str]:
    """The file that a budget is measured on, and which one that is, in words."""
    handed_in, made = folder / budget.file, (scratch or folder) / budget.file
    there = handed_in.is_file()
    if scratch is not None and made.is_file() and not (there and made.read_bytes() == handed_in.read_bytes()):
        beside = "is as it was" if there else "is still missing"
        return made, f"Measured: {budget.file} as the experiments made it in a copy; the one handed in {beside}."
    return handed_in, f"Measured: {budget.file} as handed in." if there else ""


def _error_of(reply: bytes) -> str:
    """What went wrong in a cell, from the reply to ``run``; empty if nothing did."""
    try:
        said: Any = codec.decode(reply)
        error = said.get("error") or said["value"][0]
        return f"{error['kind']}: {error['message']}" if error else ""
    except (codec.WireError, KeyError, IndexError, TypeError, AttributeError):
        return "the reply to this cell can't be read"
