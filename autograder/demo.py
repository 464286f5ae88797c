"""``nutshell demo``: the round trip on made-up submissions, from labs to marks and feedback, without a browser."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from autograder import classroom, grading, isolation, settings, units
from autograder.answers import not_given, text_of
from autograder.class_budgets import own_result
from autograder.notebooks import source_notebook, to_bytes
from autograder.ready import STAND_INS
from autograder.stubs import BEGIN, END
from autograder.units import Source
from nutshell.checks import Answer, Budget, Exercise, Unit, checks_of
from nutshell.errors import Trouble
from nutshell.wire.running import points, try_answer

if TYPE_CHECKING:
    from nbgrader.apps.api import NbGraderAPI
    from torch.nn import Module

    from nutshell.artefact import LowRank

RIGHT, PARTLY, BLANK = "ada", "ben", "cleo"
STUDENTS = {RIGHT: "all right", PARTLY: "partly wrong", BLANK: "blank"}


@dataclass(frozen=True)
class Mark:
    """Points of one student for one exercise or budget."""

    student: str
    unit: str
    name: str
    points: float
    possible: float


@dataclass
class Report:
    """What the demo did: the classroom's folder, marks, measured budgets, and where the feedback lies."""

    folder: Path
    marks: list[Mark] = field(default_factory=list)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[Path] = field(default_factory=list)
    graded: int = 0
    isolation: str = ""

    def as_data(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "graded_now": self.graded,
            "isolation": self.isolation,
            "marks": [vars(mark) for mark in self.marks],
            "budgets": self.budgets,
            "feedback": [str(path) for path in self.feedback],
        }


def run(folder: Path, wanted: tuple[str, ...] = ()) -> Report:
    """Make a classroom, hand in for three students, grade what is new, and read the marks.

    Parameters
    ----------
    folder : Path
        Where the classroom is made; one that the demo made earlier is used again.
    wanted : tuple of str
        Units; all if empty.
    """
    existing = (folder / settings.FILE).is_file()
    classroom.make(folder, () if existing else wanted)
    chosen = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())])
    work = [(unit, student) for unit in chosen.units for student in STUDENTS]
    for unit, student in tqdm(work, desc="Handing in", unit="submission", leave=False, disable=None):
        submit(folder, units.load(unit.name), unit, student)
    with _stand_ins_allowed():
        summary = grading.grade(folder, level=_level())
    for reason in (*summary.trouble.values(), *summary.refused.values()):
        raise Trouble(reason)
    report = Report(folder, graded=summary.graded, budgets=summary.budgets, isolation=summary.isolation)
    with classroom.nbgrader_api(folder) as api:
        for unit, student in work:
            report.marks += _marks(api, unit, student)
            report.feedback.append(folder / "feedback" / student / unit.folder / f"{unit.folder}.html")
    return report


def _level() -> str:
    """The best isolation there is here; a mere process where there is none, since these students are made up."""
    try:
        return isolation.choose(None)
    except Trouble:
        return "process"


@contextlib.contextmanager
def _stand_ins_allowed() -> Iterator[None]:
    """Let budgets be judged on a stand-in for their data: marks of made-up students mean nothing anyway."""
    before = os.environ.get(STAND_INS)
    os.environ[STAND_INS] = "1"
    try:
        yield
    finally:
        os.environ.pop(STAND_INS)
        if before is not None:
            os.environ[STAND_INS] = before


def submit(folder: Path, source: Source, unit: Unit, student: str) -> None:
    """Write a student's submission, unless it is there and as new as the lab that was handed out."""
    name = f"{unit.folder}.ipynb"
    place, released = folder / "submitted" / student / unit.folder, folder / "release" / unit.folder / name
    if _newer(place / name, released):
        return
    notebook = nbformat.read(released, as_version=nbformat.NO_CONVERT)
    shutil.copytree(released.parent / "desk", place / "desk", dirs_exist_ok=True)
    for budget in unit.budgets:
        if student != BLANK:
            hand_in(budget, place / budget.file, right=student == RIGHT)
    (place / name).write_bytes(to_bytes(_filled_in(notebook, source, unit, student)))


def _newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime >= than.stat().st_mtime


def hand_in(budget: Budget, path: Path, right: bool) -> None:
    """Put a network beside a submission: the course's own result, or one that is too large.

    Where there is no result of the course, a low-rank form of the shipped network stands in for it.
    """
    from nutshell import artefact, checkpoints, models
    from nutshell.models import INPUT_SHAPES

    kept = own_result(budget)
    if right and kept:
        shutil.copy(kept, path)
        return
    if budget.any_network:  # the network that it is compared with, which computes too much
        artefact.save(models.build(budget.topology), path, input_shape=INPUT_SHAPES[budget.topology])
        return
    network = checkpoints.load(budget.topology)
    encodings = _low_rank(network, budget, room=0.0 if right else 0.5)
    artefact.save(network, path, input_shape=INPUT_SHAPES[budget.topology], encodings=encodings)


def _low_rank(network: "Module", budget: Budget, room: float) -> "dict[str, LowRank]":
    """How to store linear layers so that each uses up its limit in bytes, and a share of the margin beyond it."""
    from torch.nn import Linear

    from nutshell.artefact import LowRank
    from nutshell.budget import margin_of

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, Linear)]
    encodings = {}
    for limit in budget.limits:
        if limit.metric == "layer_bytes" and limit.layer is not None:
            name, layer = layers[limit.layer - 1]
            numbers = (limit.at_most + room * margin_of(limit)) / 4 - layer.out_features
            encodings[f"{name}.weight"] = LowRank(int(numbers / (layer.in_features + layer.out_features)))
    return encodings


def partly_wrong(source: Source, unit: Unit) -> dict[str, str]:
    """What goes wrong in every second exercise: of the mutants that a lab's cell can hold, the one with most points.

    Where none can be held, the exercise stays a stub.
    """
    mutants = [answer for answer in source.answers() if not answer.right and not not_given(source, answer)]
    chosen = {}
    for exercise in unit.exercises[1::2]:
        texts = {text_of(answer): _share(source, answer) for answer in mutants if answer.exercise == exercise.name}
        chosen[exercise.name] = _best(texts)
    return chosen


def _best(shares: dict[str, float]) -> str:
    return max(shares, key=lambda text: shares[text], default="")


def _filled_in(notebook: NotebookNode, source: Source, unit: Unit, student: str) -> NotebookNode:
    solutions = solutions_of(source, unit) if student != BLANK else {}
    wrong = partly_wrong(source, unit) if student == PARTLY else {}
    for cell in notebook.cells:
        answer = wrong.get(_grade_id(cell).removeprefix("solution_"), solutions.get(_grade_id(cell)))
        cell.source = answer or cell.source
    return notebook


def solutions_of(source: Source, unit: Unit) -> dict[str, str]:
    """The solutions of a lab by grade id, as a learner would write them."""
    cells = source_notebook(source, unit).cells
    solutions = {_grade_id(cell): cell.source for cell in cells if cell.metadata.get("nbgrader", {}).get("solution")}
    return {name: _without_marks(text) for name, text in solutions.items()}


def _without_marks(text: str) -> str:
    """A solution as a learner writes it: without the marks between which release puts the stub."""
    return "\n".join(line for line in text.splitlines() if line.strip() not in (BEGIN, END))


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _share(source: Source, answer: Answer) -> float:
    home = source.home(answer.exercise)
    verdicts = try_answer(answer, checks_of(home.checks), home.reference)
    return points(Exercise(answer.exercise, 1, 1), verdicts)


def _marks(api: "NbGraderAPI", unit: Unit, student: str) -> Iterator[Mark]:
    with api.gradebook as gradebook:
        names = [*(exercise.name for exercise in unit.exercises), *(budget.name for budget in unit.budgets)]
        for name in names:
            grade = gradebook.find_grade(f"check_{name}", unit.folder, unit.folder, student)
            yield Mark(student, unit.name, name, float(grade.score), float(grade.max_score))
