"""``nutshell classroom DIR``: a course directory for nbgrader, with the units released and registered."""

import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from autograder import settings, units
from autograder.release import Lab, build_lab
from autograder.settings import FILE, Settings
from autograder.stubs import STUB
from nutshell.errors import Refused, Trouble, WrongUse

if TYPE_CHECKING:
    from nbgrader.apps.api import NbGraderAPI

SEED = "secret_seed"
CONFIGURATION = "nbgrader_config.py"

_CONFIGURATION_TEXT = """# nbgrader's settings for this classroom. Yours to edit: nutshell classroom writes them once.

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = {course!r}
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "{seed}", ".venv", "*.unfinished"]

# What a learner finds in place of a solution.
c.ClearSolutions.code_stub = {{"python": {stub!r}}}

# Seconds for one cell; a check cell runs public and hidden checks, a budget's measures a network on the test images.
c.ExecutePreprocessor.timeout = 180
c.ExecutePreprocessor.startup_timeout = 180
c.Execute.extra_arguments = ["--log-level=ERROR"]

# A submission stays ungraded while the grader itself is not ready: no secret seed, a broken unit, data that stand in.
# Given cells and check cells that a learner deleted are put back before the others are compared with the source.
c.Autograde.sanitize_preprocessors = [
    "autograder.restore.ReadyToGrade",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "autograder.restore.RestoreCells",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
"""

_README_TEXT = """A classroom of the course Neural networks in a nutshell

classroom.toml       units, exercises, points, limits, deadlines; after an edit run:  nutshell classroom .
{seed}          draws the hidden checks of this classroom; keep it to yourself, and keep it
nbgrader_config.py   nbgrader's own settings
source/              the instructor's notebooks, with solutions and hidden checks
release/             what learners get: hand out the folder of a unit, with its desk/ inside
submitted/           put what comes back here:  submitted/STUDENT/{example}/{example}.ipynb and the .nut files

Run these in this folder, with the course's environment active (its programs on PATH):

  nutshell grade .                         grade what is new: isolated, in parallel, into gradebook and feedback/
  nutshell report .                        the class on one page, and a table for a spreadsheet
  nbgrader export                          marks as grades.csv
  jupyter lab                              then Formgrader in the Nbgrader menu

nutshell ends with 0 when all went well, 1 when the answer is no (a submission was refused), 2 when the call was wrong,
3 for trouble of the machine, which never costs a learner a mark. Where only a stand-in for a budget's data set is to
be had, nothing is graded; to rehearse with stand-ins, set NUTSHELL_ALLOW_STAND_INS=1. docs/instructors.md, in the
course's folder, says more.

A submission must keep its notebook's name, {example}.ipynb. Given cells and check cells are put back as they were.

nbgrader's own grading works here too: nbgrader autograde {example}, then nbgrader generate_feedback {example}.
Learners' code runs in the same process as the checks then, so these marks are untrusted: somebody who tries can forge
them, and what learners' code prints or stores can carry the hidden cases into the feedback. One check may take 30
seconds (not on Windows), and "checksum has changed" warnings are expected.
"""


@dataclass
class Made:
    """What a call of :func:`make` did: names of units released anew, those up to date, and things to be told."""

    folder: Path
    released: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make(folder: Path, wanted: tuple[str, ...] = ()) -> Made:
    """Make a classroom, or bring one up to date with ``classroom.toml`` and ``solutions/``.

    Submissions, marks, feedback, the secret seed and nbgrader's settings are never touched once they are there.

    Parameters
    ----------
    folder : Path
        The course directory; made if it isn't there.
    wanted : tuple of str
        Units to hand out, for a new classroom; all of them if empty.

    Raises
    ------
    WrongUse
        If the folder holds something else, or ``classroom.toml`` is wrong.
    Refused
        If a unit can't be released, or cells would change under submissions that are there.
    """
    sources = {source.unit.name: source for source in units.chosen(())}
    names = [units.load(name).unit.name for name in wanted] or list(sources)
    _start(folder, [source.unit for source in sources.values()], names, asked=bool(wanted))
    chosen = settings.read(folder / FILE, [source.unit for source in sources.values()])
    _write_once(folder / CONFIGURATION, _CONFIGURATION_TEXT.format(course=chosen.course, stub=STUB, seed=SEED))
    _write_once(folder / "README.txt", _README_TEXT.format(seed=SEED, example=chosen.units[0].folder))
    _same_course(folder, chosen)
    (folder / "submitted").mkdir(exist_ok=True)
    made = Made(folder)
    with nbgrader_api(folder) as api:
        for unit in tqdm(chosen.units, desc="Releasing", unit="unit", leave=False, disable=None):
            lab = build_lab(sources[unit.name], unit, folder / "source" / unit.folder)
            renewed = _release(api, folder, lab)
            if (moved := _register_deadline(api, chosen, lab)) is not None:
                made.notes.append(moved)
            (made.released if renewed else made.unchanged).append(unit.folder)
        handed_out = {unit.folder for unit in chosen.units}
        made.notes += [
            f"source/{path.name} stays, with its submissions and marks, though {FILE} no longer names it."
            for path in sorted((folder / "source").glob("*"))
            if path.name not in handed_out
        ]
    return made


def find(start: Path | None = None) -> Path:
    """The classroom that a folder lies in: ``NUTSHELL_CLASSROOM``, else the first one with ``classroom.toml`` upwards.

    Raises
    ------
    Trouble
        If there is none.
    """
    named = os.environ.get("NUTSHELL_CLASSROOM")
    here = (start or Path.cwd()).resolve()
    for place in [Path(named)] if named else [here, *here.parents]:
        if (place / FILE).is_file():
            return place
    raise Trouble(
        f"No {FILE} in {named or here} or above it: hidden checks run inside a classroom only. "
        "Make one with: nutshell classroom DIR"
    )


def seed(folder: Path) -> int:
    """The classroom's secret: a whole number below 2¹²⁸ from which its hidden cases are drawn."""
    try:
        return int((folder / SEED).read_text(encoding="ascii").strip(), 16)
    except (OSError, ValueError) as error:
        raise Trouble(
            f"The secret seed {folder / SEED} can't be read ({error}). Restore it from a backup; a new one, made by "
            f"deleting it and running nutshell classroom {folder}, changes the hidden cases."
        ) from None


def draw_seed(folder: Path) -> None:
    """Write a classroom's secret, readable by its owner alone; one that is there stays."""
    if (folder / SEED).exists():
        return
    handle = os.open(folder / SEED, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{secrets.randbits(128):032x}\n")


@contextmanager
def nbgrader_api(folder: Path) -> Iterator["NbGraderAPI"]:
    """nbgrader's API on a classroom, with the programs that nbgrader calls by name on ``PATH``."""
    from nbgrader.api import Gradebook
    from nbgrader.apps.api import NbGraderAPI
    from sqlalchemy.exc import SAWarning
    from traitlets.config import PyFileConfigLoader

    before = os.environ.get("PATH", "")
    programs = str(Path(sys.executable).parent)  # alembic stands there, beside a virtual environment's Python
    os.environ["PATH"] = programs + os.pathsep + before
    try:
        config = PyFileConfigLoader(CONFIGURATION, path=str(folder.resolve())).load_config()
        config.CourseDirectory.root = str(folder.resolve())
        config.NbGraderAPI.log_level = "ERROR"
        api = NbGraderAPI(config=config)
        for course in (api.coursedir.course_id, "default_course"):  # both rows must be there before two processes start
            Gradebook(api.coursedir.db_url, course).close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, about rows that it adds a line later
            yield api
    finally:
        os.environ["PATH"] = before


def _start(folder: Path, all_units: list[Any], names: list[str], asked: bool) -> None:
    if (folder / FILE).is_file():
        if asked:
            raise WrongUse(
                f"{folder / FILE} says which units this classroom hands out; edit its line units = […] and run "
                f"nutshell classroom {folder} without --units."
            )
    else:
        if folder.is_dir() and any(folder.iterdir()):
            raise WrongUse(f"{folder} holds other things and no {FILE}; name a new or empty folder.")
        if not all_units:
            raise WrongUse("There is no unit in solutions/ to hand out.")
        folder.mkdir(parents=True, exist_ok=True)
        _write_once(folder / FILE, settings.template(all_units, names))
    draw_seed(folder)


def _same_course(folder: Path, chosen: Settings) -> None:
    from traitlets.config import PyFileConfigLoader

    written = PyFileConfigLoader(CONFIGURATION, path=str(folder.resolve())).load_config().CourseDirectory.course_id
    if isinstance(written, str) and written != chosen.course:
        raise WrongUse(
            f"{folder / FILE}: course = {chosen.course!r}, but it is fixed when the classroom is made; it is "
            f"{written!r} in {CONFIGURATION}, and its marks are kept under that name. Change it back."
        )


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def _release(api: "NbGraderAPI", folder: Path, lab: Lab) -> bool:
    """Write ``source/`` and have nbgrader make ``release/`` of it; nothing is done if both are up to date."""
    name = lab.unit.folder
    place = folder / "source" / name
    files = {**lab.files, f"{name}.ipynb": lab.instructor}
    same = all((place / path).is_file() and (place / path).read_bytes() == content for path, content in files.items())
    if same and (folder / "release" / name / f"{name}.ipynb").is_file() and api.get_notebooks(name):
        return False
    _keep_cells(api, lab)
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    result = api.generate_assignment(name)
    if not result["success"]:
        (place / f"{name}.ipynb").unlink()  # so that the next call tries again
        raise Trouble(f"nbgrader could not release {name}: {result.get('log') or result.get('error')}")
    return True


def _keep_cells(api: "NbGraderAPI", lab: Lab) -> None:
    """Refuse to add or remove cells under submissions that are in the gradebook; nbgrader can't."""
    import nbformat
    from nbgrader.api import MissingEntry

    name = lab.unit.folder
    with api.gradebook as gradebook:
        try:
            notebook = gradebook.find_notebook(name, name)
        except MissingEntry:
            return
        if not notebook.submissions:
            return
        before = {cell.name for cell in notebook.source_cells}
    cells = nbformat.reads(lab.instructor.decode(), as_version=nbformat.NO_CONVERT).cells
    after = {cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata}
    if before != after:
        raise Refused(
            f"{name} has submissions in the gradebook, so cells can't come or go: {', '.join(sorted(before ^ after))}. "
            f"To stop counting an exercise, give it 0 points in {FILE} and don't leave it out."
        )


def _register_deadline(api: "NbGraderAPI", chosen: Settings, lab: Lab) -> str | None:
    """Give the gradebook an assignment's deadline; what to say if it had another one."""
    from nbgrader.api import MissingEntry

    name, wanted = lab.unit.folder, chosen.deadlines.get(lab.unit.name)
    with api.gradebook as gradebook:
        try:
            before = gradebook.find_assignment(name).duedate
        except MissingEntry:
            before = None
        after = gradebook.update_or_create_assignment(name, duedate=wanted).duedate
    if before == after:
        return None
    return f"{name} is due {after:%Y-%m-%d %H:%M} UTC now." if after else f"{name} has no deadline any more."
