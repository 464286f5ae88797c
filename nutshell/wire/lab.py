"""A lab on disk: the folder ``desk`` beside its notebook, with what is known of earlier results.

Checks and replies of borrowed exercises lie in ``desk`` in a folder of the unit that lends them.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nutshell.checks import Check, Exercise, Unit, checks_of, unit_from_data
from nutshell.errors import NutshellError, WrongUse
from nutshell.wire import show
from nutshell.wire.running import Replies, Verdict, run_at_desk
from nutshell.wire.standins import Implementation

FOLDER, UNIT, CHECKS, REPLIES, PROGRESS = "desk", "unit.json", "public_checks.py", "replies.bin", "progress.json"


@dataclass(frozen=True)
class Half:
    """Public checks of exercises that are written in one unit, and what its reference answered them."""

    checks: tuple[Check, ...]
    replies: Replies


@dataclass
class Desk:
    """An opened lab.

    Attributes
    ----------
    folder : Path
        The lab's folder, in which the notebook lies.
    unit : Unit
        What there is to do.
    halves : dict of str to Half
        By name of the unit that lends the exercises; ``""`` for the unit's own.
    done : dict
        By exercise or budget: points, passed checks, number of checks, when, and a note for ``progress``.
    """

    folder: Path
    unit: Unit
    halves: dict[str, Half]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def judge(self, exercise: Exercise, learner: Implementation) -> list[Verdict]:
        """Run the public checks of an exercise."""
        half = self.halves[exercise.unit]
        own = [check for check in half.checks if check.exercise == exercise.name]
        return run_at_desk(own, learner, half.replies)

    def remember(self, name: str, earned: float, passed: int, of: int, note: str = "") -> None:
        """Keep a result for ``progress``, in the lab's folder where it is the learner's own."""
        self.done[name] = dict(points=earned, passed=passed, of=of, when=time.strftime("%Y-%m-%d %H:%M"), note=note)
        if self.folder.parent.name == "labs" or "NBGRADER_EXECUTION" in os.environ:
            return  # as released, or a grader's copy: nothing is written there
        path = self.folder / FOLDER / PROGRESS
        try:
            path.write_text(json.dumps(dict(unit=self.unit.name, done=self.done), indent=1) + "\n")
        except OSError as error:
            show.write(f"(Progress lasts for this session only: {path} can't be written, {error.strerror}.)")


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
    _all_there(place, [UNIT, CHECKS, REPLIES])
    try:
        unit = unit_from_data(json.loads((place / UNIT).read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(place, error) from error
    lenders = sorted({exercise.unit for exercise in unit.exercises if exercise.unit})
    _all_there(place, [f"{lender}/{name}" for lender in lenders for name in (CHECKS, REPLIES)])
    try:
        replies = {name: Replies((place / name / REPLIES).read_bytes()) for name in ("", *lenders)}
    except (ValueError, NutshellError) as error:
        raise _damaged(place, error) from error
    halves = {
        name: Half(tuple(checks_of(_module(place / name / CHECKS, f"{unit.name}_{name}".rstrip("_")))), found)
        for name, found in replies.items()
    }
    return Desk(folder, unit, halves, remembered(place))


def _damaged(place: Path, error: Exception) -> WrongUse:
    return WrongUse(f"{place} is damaged ({error}). Copy it once more from the lab as it was handed out.")


def _all_there(place: Path, names: list[str]) -> None:
    missing = [name for name in names if not (place / name).is_file()]
    if missing:
        raise WrongUse(
            f"{place} lacks {', '.join(missing)}. Open the lab in the folder in which it was handed out, or copy that "
            f"folder's “{FOLDER}” beside the notebook."
        )


class _Unwritten(importlib.machinery.SourceFileLoader):
    """Loads a module and leaves no ``__pycache__`` among the learner's files."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written."""


def _module(path: Path, name: str) -> ModuleType:
    """The public checks as a module, loaded by path."""
    module_name = f"nutshell_public_checks_{name}"
    loader = _Unwritten(module_name, str(path))
    specification = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    if specification is None or specification.loader is None:
        raise WrongUse(f"{path} can't be loaded.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module
    specification.loader.exec_module(module)
    return module


def remembered(place: Path) -> dict[str, dict[str, Any]]:
    """Earlier results; a file that isn't as this module writes it counts as none."""
    path = place / PROGRESS
    if not path.is_file():
        return {}
    try:
        done = json.loads(path.read_text(encoding="utf-8"))["done"]
        return {
            str(name): dict(
                points=float(row["points"]),
                passed=int(row["passed"]),
                of=int(row["of"]),
                when=str(row["when"]),
                note=str(row.get("note", "")),
            )
            for name, row in done.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
