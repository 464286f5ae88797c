"""``nutshell grade``: reads submissions, has workers judge what is new, keeps verdicts and hands them to the publisher.

Nothing is graded twice: a verdict is kept under a hash of all that it depends on. A run that was killed, at any moment,
goes on where it was.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tqdm import tqdm

from autograder import borrowed, classroom, intake, isolation, keys, ready, settings, units
from autograder.limits import Limits
from autograder.pool import Job, Pool
from autograder.publisher import SECRET, Publisher
from autograder.verdicts import Flag, Submission, SubmissionVerdict, Task, from_json
from autograder.worker import Orders
from nutshell.checks import Unit
from nutshell.errors import Refused, Trouble, WrongUse

MOST_TRIES = 3  # of a submission, while the trouble is the grader's own
BATCH = 25  # submissions in one transaction of the gradebook
SECONDS = 1.0  # a verdict waits for its transaction at most about that long


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    isolation : str
        Level at which new submissions were run.
    graded, known, published : int
        Submissions judged now, found judged already, and written to the gradebook now.
    refused, trouble : dict of (str, str) to str
        By student and assignment, why a submission wasn't graded: for what it is, or by the grader's own fault.
    flags : list of dict
        ``student, assignment, kind, about, words``.
    marks : list of dict
        ``student, assignment, points, possible``.
    budgets : list of dict
        Each budget of each submission, as the judge measured it.
    seconds : float
        How long it took.
    """

    isolation: str = ""
    graded: int = 0
    known: int = 0
    published: int = 0
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    trouble: dict[tuple[str, str], str] = field(default_factory=dict)
    flags: list[dict[str, str]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def as_data(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        refused = [dict(student=who, assignment=lab, reason=why) for (who, lab), why in sorted(self.refused.items())]
        trouble = [dict(student=who, assignment=lab, reason=why) for (who, lab), why in sorted(self.trouble.items())]
        return {**vars(self), "refused": refused, "trouble": trouble}


class Verdicts:
    """The verdicts of a classroom, one file each: ``verdicts/<assignment>/<key>.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "verdicts"

    def find(self, assignment: str, key: str) -> SubmissionVerdict | None:
        """A verdict, or None if there is none or its file is damaged."""
        try:
            return from_json((self.folder / assignment / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def keep(self, assignment: str, verdict: SubmissionVerdict) -> None:
        """Write a verdict; it is there whole or not at all."""
        place = self.folder / assignment
        try:
            place.mkdir(parents=True, exist_ok=True)
            unfinished = place / f"{verdict.key}.unfinished"
            unfinished.write_text(verdict.to_json(), encoding="utf-8")
            os.replace(unfinished, place / f"{verdict.key}.json")
        except OSError as error:
            raise Trouble(
                f"The verdict can't be written to {place} ({error.strerror}). Make room, then run the same command "
                "again: it goes on where it was."
            ) from None


def grade(
    folder: Path,
    *,
    assignments: Iterable[str] = (),
    students: Iterable[str] = (),
    workers: int | None = None,
    scheduler: str | None = None,
    level: str | None = None,
    limits: Limits | None = None,
    said: Callable[[str], None] | None = None,
) -> Summary:
    """Grade what was handed in, and publish marks and feedback.

    Parameters
    ----------
    folder : Path
        A classroom that :func:`autograder.classroom.make` made.
    assignments, students : iterable of str
        Names; all if empty.
    workers : int, optional
        Processes; as many as cores if left out.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers judge instead of local processes.
    level : str, optional
        Isolation; the best that works here if left out, never ``"process"``.
    limits : Limits, optional
        For each submission.
    said : callable, optional
        Told what an instructor should know of the isolation; standard error if left out.

    Raises
    ------
    WrongUse
        If the folder is no classroom, or a name is unknown.
    Trouble
        If nothing can be graded: no isolation, no data, a gradebook that stays locked.
    """
    started = time.perf_counter()
    run = Run(folder.resolve(), list(assignments), set(students), limits or Limits(), said)
    run.summary.isolation = run.choose(level)
    with Pool(workers, scheduler, run.orders) as pool, run:
        run.all(pool)
    for rows in (run.summary.marks, run.summary.budgets, run.summary.flags):
        rows.sort(key=lambda row: (row["assignment"], row["student"]))
    run.summary.seconds = time.perf_counter() - started
    return run.summary


class Run:
    """One call of :func:`grade`: what there is to do, and what was done."""

    def __init__(
        self,
        folder: Path,
        assignments: list[str],
        students: set[str],
        limits: Limits,
        said: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.limits, self.said = folder, limits, said
        self.settings = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())])
        self.chosen = [self.settings.unit(name) for name in assignments] or list(self.settings.units)
        self.seed = classroom.seed(folder)
        self.summary = Summary()
        self.verdicts = Verdicts(folder)
        self.networks: dict[str, dict[str, dict[str, str]]] = {unit.folder: {} for unit in self.chosen}
        self.waiting: list[tuple[Unit, Submission, SubmissionVerdict]] = []
        self.again: list[Job] = []
        self.since = time.monotonic()
        self._publisher: Publisher | None = None
        self.work = list(self._plan(students))
        self.bar: Any = None

    def choose(self, level: str | None) -> str:
        chosen = isolation.choose(level, self.said)
        secrets = tuple(str(self.folder / name) for name in (classroom.SEED, "gradebook.db", "source"))
        self.orders = Orders(chosen, self.limits, secrets)
        return chosen

    def _plan(self, students: set[str]) -> Iterator[tuple[Unit, str]]:
        found: set[str] = set()
        for unit in self.chosen:
            there = intake.students(self.folder, unit.folder)
            found.update(there)
            yield from ((unit, name) for name in there if not students or name in students)
        if students - found:
            missing = ", ".join(sorted(students - found))
            raise WrongUse(f"Nothing was handed in by {missing}: no such folder in {self.folder / 'submitted'}.")

    @property
    def publisher(self) -> Publisher:
        """Opened when it is first needed, while workers start: importing nbgrader takes seconds."""
        if self._publisher is None:
            self._publisher = Publisher(self.folder, self.settings)
            self._publisher.__enter__()
            for unit in dict.fromkeys(unit for unit, _ in self.work):
                self._publisher.check(unit)
        return self._publisher

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._publisher is not None:
            try:
                if error[0] is None or issubclass(error[0], KeyboardInterrupt):
                    self.publish()
            finally:
                self._publisher.__exit__(*error)

    def all(self, pool: "Pool") -> None:
        """Grade and publish everything, with a progress bar."""
        self.bar = tqdm(total=len(self.work), desc="Grading", unit="submission", disable=None, smoothing=0.05)
        with self.bar:
            for job in self.new_ones():
                while pool.full:
                    self.collect(pool)
                pool.submit(job)
            while pool.busy:
                self.collect(pool)
            while self.again:  # one at a time, so that one that ends its worker takes no other along
                pool.submit(self.again.pop())
                while pool.busy:
                    self.collect(pool)
            self.publish()
        self.compare_networks()

    def new_ones(self) -> Iterator[Job]:
        """Submissions without a verdict; those with one are published on the way where that is needed."""
        for unit in self.chosen:
            students = [student for other, student in self.work if other is unit]
            if not students:
                continue
            trouble = ready.not_ready(unit.folder, self.folder)
            if trouble:
                raise Trouble(f"{unit.folder} can't be graded: {trouble}")
            lab = intake.read_lab(self.folder, unit.folder)
            data = {ready.data_name(budget.data) for budget in unit.budgets}
            fixed = keys.unit_key(unit, self.seed, self.orders.level, self.limits, data)
            for student in students:
                try:
                    submission = intake.read(self.folder, lab, student)
                except (intake.BeingWritten, Trouble) as trouble:  # another run will find it whole
                    self.summary.trouble[student, unit.folder] = str(trouble)
                    self.bar.update()
                    continue
                except Refused as refused:
                    self.refuse(unit, student, str(refused))
                    continue
                key = keys.verdict_key(submission, fixed)
                verdict = self.verdicts.find(unit.folder, key)
                if verdict is None:
                    yield Job(Task(unit, submission, self.seed, key))
                else:
                    self.summary.known += 1
                    self.done(unit, submission, verdict)

    def refuse(self, unit: Unit, student: str, reason: str) -> None:
        try:
            student.encode()
        except UnicodeEncodeError:  # a folder's name that is no text: no gradebook and no page can hold it
            self.summary.refused[ascii(student)[1:-1], unit.folder] = reason
            self.bar.update()
            return
        self.summary.refused[student, unit.folder] = reason
        key = sha256(f"{unit.folder}\0{reason}".encode()).hexdigest()
        verdict = SubmissionVerdict(key, unit.name, self.orders.level, "", refused=reason)
        self.verdicts.keep(unit.folder, verdict)  # for the class report
        self.done(unit, Submission(student, unit.folder, (), {}, {}, key), verdict)

    def collect(self, pool: "Pool") -> None:
        """Take what workers have finished."""
        publisher = self.publisher  # opened here at the latest, while the workers are busy
        assert publisher is not None
        for job, outcome in pool.finished():
            unit, submission = job.task.unit, job.task.submission
            if isinstance(outcome, SubmissionVerdict):
                self.summary.graded += 1
                self.verdicts.keep(unit.folder, outcome)
                self.done(unit, submission, outcome)
            elif outcome.final or job.tries >= MOST_TRIES:
                self.summary.trouble[submission.student, unit.folder] = outcome.message
                self.bar.update()
            else:
                self.again.append(replace(job, tries=job.tries + 1))
        if self.waiting and (len(self.waiting) >= BATCH or time.monotonic() - self.since > SECONDS):
            self.publish()

    def done(self, unit: Unit, submission: Submission, verdict: SubmissionVerdict) -> None:
        """A submission has its verdict: note it, and queue it for the gradebook where that is needed."""
        who = dict(student=submission.student, assignment=unit.folder)
        self.note(who, verdict.flags)
        self.networks[unit.folder][submission.student] = borrowed.of_verdict(verdict)
        if not verdict.refused:
            self.summary.marks.append(who | dict(points=verdict.points, possible=verdict.possible))
            self.summary.budgets += [who | vars(budget) for budget in verdict.budgets]
        if self.publisher.needed(submission, verdict.key):
            files = {name: content for name, content in submission.files.items() if name == SECRET}
            self.waiting.append((unit, replace(submission, files=files), verdict))  # the others may be large
            if len(self.waiting) >= BATCH:
                self.publish()
        self.bar.update()

    def compare_networks(self) -> None:
        """Flag networks that are somebody else's too, for which the whole class has to be known."""
        graded = {(student, unit.folder) for unit, student in self.work}
        for unit in self.chosen:
            everybody = self.networks[unit.folder]
            if unit.budgets and len(everybody) < len(intake.students(self.folder, unit.folder)):
                everybody = borrowed.kept(self.folder, unit.folder) | everybody
            for student, flags in borrowed.borrowed(everybody).items():
                if (student, unit.folder) in graded:
                    self.note(dict(student=student, assignment=unit.folder), flags)

    def note(self, who: dict[str, str], flags: Iterable[Flag]) -> None:
        self.summary.flags += [who | dict(kind=f.kind, about=f.about, words=f.words) for f in flags]

    def publish(self) -> None:
        """Write what waits to the gradebook, in one transaction."""
        if self.waiting:
            self.publisher.publish(self.waiting)
            self.summary.published += len(self.waiting)
        self.waiting, self.since = [], time.monotonic()
