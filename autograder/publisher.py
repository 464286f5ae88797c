"""The one writer of a classroom's marks: nbgrader's gradebook, the copies that formgrader shows, and the feedback.

Everything can be written again: what has been published is remembered last, in a record of each submission, so a grader
that was killed publishes again what isn't recorded, and gets the same.
"""

import hashlib
import json
import math
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, chdir
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autograder import feedback
from autograder.classroom import CONFIGURATION
from autograder.entries import Entry, Graded, Layout
from autograder.gradebook import opened
from autograder.penalties import Penalties
from autograder.settings import Settings
from autograder.verdicts import BudgetVerdict, ExerciseVerdict, Submission, SubmissionVerdict
from nutshell.checks import Budget, Exercise, Unit
from nutshell.errors import Trouble
from nutshell.wire.running import INFRA

RECORDS = "published"  # in verdicts/<assignment>/, one file a student
LOCK, HOLDER = "grading.lock", "grading.json"  # in verdicts/
SECRET = "submission_secret.txt"  # by which nbgrader's exchange gives feedback back

Item = tuple[Unit, Submission, SubmissionVerdict]


@dataclass
class _Assignment:
    """What is known of an assignment: its rows at the start, its source, and the digests of the gradebook's rows."""

    layout: Layout
    digests: dict[str, str]
    lab: Any = None


class Publisher:
    """Writes marks and feedback of a classroom; while it is open, no other does.

    Parameters
    ----------
    folder : Path
        The classroom.
    settings : Settings
        What ``classroom.toml`` says.

    Raises
    ------
    Trouble
        On entering, if another grader is at work here, or nbgrader's settings can't be used.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder.resolve(), settings
        self._open = ExitStack()
        self._assignments: dict[str, _Assignment] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(_lock(self.folder / "verdicts"))
            self._course, config = _nbgrader(self.folder)
            self._gradebook = opening.enter_context(opened(self._course.db_url, self.folder))
            self._penalties = Penalties(config, self.folder)
            looks = (self.folder / CONFIGURATION).read_bytes() + feedback.looks()
            self._looks = hashlib.sha256(looks).hexdigest()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def check(self, unit: Unit) -> None:
        """See that the gradebook holds this unit as ``classroom.toml`` wants it, before anything is graded.

        Raises
        ------
        Trouble
            Naming what differs.
        """
        items: tuple[Exercise | Budget, ...] = (*unit.exercises, *unit.budgets)
        wanted = {f"check_{item.name}": float(item.points) for item in items}
        self._agree(self._assignment(unit.folder).layout, wanted)

    def needed(self, submission: Submission, key: str) -> bool:
        """Whether a verdict has yet to be published: it is another one, or gradebook or files have changed since.

        Parameters
        ----------
        submission : Submission
            As handed in now.
        key : str
            Of its verdict.
        """
        record = _read(self._record(submission))
        files = record.pop("files", None)
        return (
            record != self._stamp(submission, key)
            or not isinstance(files, dict)
            or any(_state(self.folder / name) != state for name, state in files.items())
        )

    def publish(self, items: Iterable[Item]) -> None:
        """Publish verdicts: rows in one transaction for each assignment, then files, then records.

        Parameters
        ----------
        items : iterable of (Unit, Submission, SubmissionVerdict)
            One for each student and assignment. A refused submission gets feedback with the reason, and keeps the marks
            that it has.

        Raises
        ------
        Trouble
            If the gradebook is locked or doesn't fit, or a file can't be written. What was published before stays.
        """
        by_assignment: dict[str, list[Item]] = {}
        for item in items:
            by_assignment.setdefault(item[1].assignment, []).append(item)
        for name, group in by_assignment.items():
            assignment = self._assignment(name)
            graded = [self._graded(assignment.layout, *item) for item in group if not item[2].refused]
            entries = self._gradebook.write(assignment.layout, graded, self._penalties.of) if graded else {}
            refused = [item[1].student for item in group if item[2].refused]
            entries |= self._gradebook.entries(assignment.layout, refused) if refused else {}
            for unit, submission, verdict in group:
                record = self._record(submission)
                entry = entries.get(submission.student)
                files = self._write_files(assignment, unit, submission, verdict, entry)
                if entry is not None:
                    assignment.digests[submission.student] = entry.digest(assignment.layout.duedate)
                stamp = {**self._stamp(submission, verdict.key), "files": files}
                _write(record, json.dumps(stamp).encode())

    def _assignment(self, name: str) -> _Assignment:
        if name not in self._assignments:
            layout = self._gradebook.layout(name)
            entries = self._gradebook.entries(layout)
            digests = {student: entry.digest(layout.duedate) for student, entry in entries.items()}
            self._assignments[name] = _Assignment(layout, digests)
        return self._assignments[name]

    def _graded(self, layout: Layout, unit: Unit, submission: Submission, verdict: SubmissionVerdict) -> Graded:
        items: tuple[ExerciseVerdict | BudgetVerdict, ...] = (*verdict.exercises, *verdict.budgets)
        who = f"{submission.student}'s {submission.assignment}"
        for item in items:
            checks = getattr(item, "checks", ())
            if item.status == INFRA or any(check.status == INFRA for check in checks):
                raise Trouble(f"{who}: {item.name} could not be graded, and trouble of the grader's is no mark.")
            if not math.isfinite(item.points):
                raise Trouble(f"{who}: {item.name} got {item.points} points, which is no mark. This is a bug.")
        self._agree(layout, {f"check_{item.name}": float(item.possible) for item in items})
        points = {f"check_{item.name}": min(max(float(item.points), 0.0), float(item.possible)) for item in items}
        answers = {cell.name: cell.source for cell in submission.cells}
        return Graded(submission.student, submission.handed_in, points, answers)

    def _agree(self, layout: Layout, wanted: Mapping[str, float]) -> None:
        here = {name: marks for name, (_, marks) in layout.grade_cells.items() if name.startswith("check_")}
        if here == wanted:
            return
        said = [f"{name.removeprefix('check_')} isn't in the gradebook" for name in sorted(wanted.keys() - here.keys())]
        said += [f"{name.removeprefix('check_')} is only in the gradebook" for name in sorted(here.keys() - wanted)]
        said += [
            f"{name.removeprefix('check_')} has {here[name]:g} points in the gradebook and {wanted[name]:g} now"
            for name in sorted(here.keys() & wanted.keys()) if here[name] != wanted[name]
        ]
        raise Trouble(f"{layout.name}: {'; '.join(said)}. Run: nutshell classroom {self.folder}, then grade again.")

    def _write_files(
        self, assignment: _Assignment, unit: Unit, submission: Submission, verdict: SubmissionVerdict,
        entry: Entry | None,
    ) -> dict[str, list[int]]:
        """Write a student's files; returns what they are now, by path below the classroom."""
        name, student = submission.assignment, submission.student
        copies = self._place(self._course.autograded_directory, student, name)
        pages = self._place(self._course.feedback_directory, student, name)
        files: dict[Path, bytes] = {}
        if not verdict.refused:
            notebook = self._for_formgrader(assignment, submission, feedback.outputs(unit, verdict))
            files[copies / f"{name}.ipynb"] = notebook
            files |= {copies / file: content for file, content in self._passed_on(submission).items()}
        files |= {pages / file: content for file, content in self._passed_on(submission).items()}
        text = feedback.page(unit, submission, verdict, entry, assignment.layout.duedate)
        files[pages / f"{name}.html"] = text.encode()
        for path, content in files.items():
            _write(path, content, self._mode(path))
        return {str(path.relative_to(self.folder)): _state(path) for path in files}

    def _mode(self, path: Path) -> int:
        """As nbgrader leaves files: copies for reading only, feedback for its owner to change."""
        if self._course.groupshared:
            return 0o664
        return 0o444 if path.suffix == ".ipynb" else 0o644

    def _passed_on(self, submission: Submission) -> dict[str, bytes]:
        """The files by which nbgrader knows when a submission came, and gives its feedback back."""
        found = {SECRET: submission.files[SECRET]} if SECRET in submission.files else {}
        if submission.handed_in:  # not a copy: nbgrader ends where such a file holds no time
            found["timestamp.txt"] = f"{submission.handed_in:%Y-%m-%d %H:%M:%S.%f} UTC\n".encode()
        return found

    def _for_formgrader(self, assignment: _Assignment, submission: Submission, outputs: Mapping[str, str]) -> bytes:
        from autograder import intake, rebuild

        if assignment.lab is None:
            assignment.lab = intake.read_lab(self.folder, submission.assignment)
        return rebuild.for_formgrader(assignment.lab, submission, outputs)

    def _place(self, step: str, student: str, assignment: str) -> Path:
        """A student's folder; never one that a link leads to."""
        place = Path(self._course.format_path(step, student, assignment))
        for folder in (place.parent, place):
            if folder.is_symlink():
                raise Trouble(f"{folder} is a link, and the grader writes through none. Remove it, and grade again.")
        return place

    def _record(self, submission: Submission) -> Path:
        student = submission.student
        if Path(student).name != student or student in ("", ".", ".."):
            raise Trouble(f"{student!r} can't be a student's name: it must be the name of one folder.")
        return self.folder / "verdicts" / submission.assignment / RECORDS / student

    def _stamp(self, submission: Submission, key: str) -> dict[str, Any]:
        """All that published marks and feedback depend on: verdict, submission, gradebook, settings."""
        handed_in = submission.handed_in.isoformat() if submission.handed_in else None
        work = json.dumps([submission.digest, handed_in, submission.notes])
        return {
            "key": key,
            "submission": hashlib.sha256(work.encode()).hexdigest(),
            "gradebook": self._assignment(submission.assignment).digests.get(submission.student, ""),
            "looks": self._looks,
        }


def _nbgrader(folder: Path) -> tuple[Any, Any]:
    """nbgrader's view of the course directory, and its settings, read from there as nbgrader does."""
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    with chdir(folder):
        try:
            config = PyFileConfigLoader(CONFIGURATION, path=str(folder)).load_config()
        except Exception as error:  # the file is anybody's code
            raise Trouble(f"{folder / CONFIGURATION} can't be used: {type(error).__name__}: {error}") from error
    config.CourseDirectory.root = str(folder)
    return CourseDirectory(config=config), config


def _lock(folder: Path) -> Any:
    """The lock of a classroom's grader, held until it is closed; ``Trouble`` if another holds it."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        with ExitStack() as held:
            held.enter_context(lock)
            now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
            _write(folder / HOLDER, json.dumps(holder).encode())
            return held.pop_all()
    except Timeout:
        raise Trouble(
            f"Another grader is at work on {folder.parent}{_holder(folder / HOLDER)}. Wait until it is done, or end it."
        ) from None
    except OSError as error:
        raise Trouble(f"{folder} can't be written: {error.strerror or error}.") from error


def _holder(path: Path) -> str:
    said = _read(path)
    return f": process {said['pid']} on {said['host']}, since {said['since']}" if "pid" in said else ""


def _read(path: Path) -> dict[str, Any]:
    """A JSON object that was written here; empty if there is none, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _state(path: Path) -> list[int]:
    """Size and time of a file, by which a change of it shows; nothing if it isn't there."""
    try:
        found = path.lstat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _write(path: Path, content: bytes, mode: int = 0o644) -> Path:
    """Write a file all at once: its name never stands for half of it, and never leads elsewhere."""
    if _holds(path, content):  # replacing a file waits for the disk on some file systems
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".unfinished", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Trouble(
            f"{path} can't be written: {error.strerror or error}. Make room or give the right to write there, and "
            "grade again; nothing is lost."
        ) from error
    return path
