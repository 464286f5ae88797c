"""A grading run: nothing twice, nothing lost, the grader's own trouble never a mark. Workers are made up here."""

import json
import shutil
from dataclasses import replace

import nbformat
import pytest
from click.testing import CliRunner

from autograder import classroom, grading, intake, isolation, keys
from autograder.commands.grade import grade as command
from autograder.grading import MOST_TRIES, Verdicts, grade
from autograder.limits import Limits
from autograder.verdicts import ExerciseVerdict, Flag, SubmissionVerdict
from autograder.worker import Failure
from nutshell.errors import Trouble, WrongUse
from nutshell.wire.running import Verdict


class Workers:
    """A pool that answers with what ``outcome`` says of a task, and counts."""

    asked: list[str]
    most = 0

    def __init__(self, workers, scheduler, orders):
        self.jobs = []

    full = property(lambda self: len(self.jobs) >= 4)
    busy = property(lambda self: bool(self.jobs))

    def submit(self, job):
        type(self).asked.append(job.task.submission.student)
        self.jobs.append(job)
        type(self).most = max(self.most, len(self.jobs))

    def finished(self):
        job = self.jobs.pop(0)
        yield job, type(self).outcome(job)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    @staticmethod
    def outcome(job):
        return verdict(job.task)


def verdict(task, share=1.0):
    checks = (Verdict("half", "half_is_half", "Twice the half is the whole", False, "OK" if share else "WRONG"),)
    exercises = tuple(ExerciseVerdict(e.name, share * e.points, e.points, checks[0].status, checks)
                      for e in task.unit.exercises)
    return SubmissionVerdict(task.key, task.unit.name, "bubblewrap", "watchdog", exercises)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the classroom that the tests copy is made, by the first of them: it takes seconds."""
    return tmp_path_factory.mktemp("made") / "room"


@pytest.fixture
def room(tiny, tmp_path, monkeypatch, made):
    """A classroom with three submissions, and made-up workers."""
    tiny()
    folder = tmp_path / "room"
    if not made.is_dir():
        classroom.make(made)
    shutil.copytree(made, folder)
    for student in ("ada", "ben", "cleo"):
        shutil.copytree(folder / "release" / "01_tiny", folder / "submitted" / student / "01_tiny")
        write(folder, student, f"# {student}")
    pool = type("Pool", (Workers,), {"asked": [], "most": 0})
    monkeypatch.setattr(grading, "Pool", pool)
    monkeypatch.setattr(isolation, "choose", lambda level, said=None: level or "bubblewrap")
    return folder, pool


def write(folder, student, text):
    path = folder / "submitted" / student / "01_tiny" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source = text
    next(cell for cell in notebook.cells if cell.get("id") == "solution-half").source = text
    nbformat.write(notebook, path)


def marks(folder):
    with classroom.nbgrader_api(folder) as api, api.gradebook as gradebook:
        found = gradebook.find_assignment("01_tiny").submissions
        return {submission.student.id: submission.score for submission in found}


def test_everything_is_graded_and_published_once(room):
    folder, pool = room
    first = grade(folder)
    assert (first.graded, first.known, first.published) == (3, 0, 3) and sorted(pool.asked) == ["ada", "ben", "cleo"]
    assert marks(folder) == {"ada": 5.0, "ben": 5.0, "cleo": 5.0}
    assert [row["student"] for row in first.marks] == ["ada", "ben", "cleo"]
    again = grade(folder)
    assert (again.graded, again.known, again.published) == (0, 3, 0) and len(pool.asked) == 3


def test_what_was_handed_in_anew_is_graded_anew_and_nothing_else(room):
    folder, pool = room
    grade(folder)
    pool.asked.clear()
    write(folder, "ben", "# better")
    pool.outcome = staticmethod(lambda job: verdict(job.task, 0.0))
    again = grade(folder)
    assert pool.asked == ["ben"] and (again.graded, again.known, again.published) == (1, 2, 1)
    assert marks(folder) == {"ada": 5.0, "ben": 0.0, "cleo": 5.0}


def test_the_same_work_of_two_learners_is_judged_once_a_run_but_published_for_both(room):
    folder, pool = room
    write(folder, "ada", "# the same")
    grade(folder, students=["ada"])
    write(folder, "ben", "# the same")
    found = grade(folder, students=["ben"])
    assert pool.asked == ["ada"] and (found.known, found.published) == (1, 1)


def test_a_damaged_verdict_is_made_anew(room):
    folder, pool = room
    grade(folder)
    for path in (folder / "verdicts" / "01_tiny").glob("*.json"):
        path.write_text(path.read_text()[: len(path.read_text()) // 2])
    assert grade(folder).graded == 3 and len(pool.asked) == 6


def test_verdicts_that_were_never_published_are(room, monkeypatch):
    folder, pool = room
    with monkeypatch.context() as killed:
        killed.setattr(grading.Publisher, "publish", lambda self, items: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            grade(folder)
    assert marks(folder) == {}
    again = grade(folder)
    assert again.published == 3 and again.graded + again.known == 3 and len(pool.asked) <= 6
    assert marks(folder) == {"ada": 5.0, "ben": 5.0, "cleo": 5.0}


def test_the_grader_s_own_trouble_is_tried_again_alone_and_never_a_mark(room):
    folder, pool = room
    together = []

    def outcome(job):
        if job.task.submission.student == "ben":
            together.append(job.tries)
            return Failure("the sandbox is gone")
        return verdict(job.task)

    pool.outcome = staticmethod(outcome)
    found = grade(folder)
    assert together == list(range(1, MOST_TRIES + 1))
    assert found.trouble == {("ben", "01_tiny"): "the sandbox is gone"} and found.published == 2
    assert marks(folder) == {"ada": 5.0, "cleo": 5.0}
    pool.outcome = staticmethod(lambda job: verdict(job.task))
    assert grade(folder).graded == 1 and marks(folder)["ben"] == 5.0


def test_trouble_that_no_other_try_can_mend_is_told_at_once(room):
    folder, pool = room
    pool.outcome = staticmethod(lambda job: Failure("a check is wrong", final=True))
    assert len(grade(folder).trouble) == 3 and len(pool.asked) == 3


def test_trouble_keeps_the_mark_that_was_there(room):
    folder, pool = room
    grade(folder)
    write(folder, "ben", "# better")
    pool.outcome = staticmethod(lambda job: Failure("gone"))
    grade(folder)
    assert marks(folder)["ben"] == 5.0


def test_a_refused_submission_costs_no_other_and_says_why(room):
    folder, _ = room
    (folder / "submitted" / "ben" / "01_tiny" / "01_tiny.ipynb").write_text("{")
    found = grade(folder)
    assert list(found.refused) == [("ben", "01_tiny")] and found.graded == 2
    assert marks(folder) == {"ada": 5.0, "cleo": 5.0}
    page = (folder / "feedback" / "ben" / "01_tiny" / "01_tiny.html").read_text()
    assert "not a notebook" in page or "JSON" in page


@pytest.mark.parametrize("error", [intake.BeingWritten("is being written"), Trouble("the disk can't be read")])
def test_a_submission_that_can_t_be_read_now_is_left_for_later(room, monkeypatch, error):
    folder, _ = room
    whole = intake.read

    def read(classroom, lab, student):
        if student == "ben":
            raise error
        return whole(classroom, lab, student)

    with monkeypatch.context() as once:
        once.setattr(intake, "read", read)
        found = grade(folder)
    assert found.trouble == {("ben", "01_tiny"): str(error)} and not found.refused and found.graded == 2
    assert grade(folder).graded == 1


def test_few_submissions_are_under_way_at_a_time(room):
    folder, pool = room
    for number in range(12):
        shutil.copytree(folder / "submitted" / "ada", folder / "submitted" / f"s{number}")
        write(folder, f"s{number}", f"# {number}")
    assert grade(folder).graded == 15 and pool.most <= 4


def test_names_that_nobody_has_are_wrong_use(room):
    folder, _ = room
    with pytest.raises(WrongUse, match="Nothing was handed in by zoe"):
        grade(folder, students=["ada", "zoe"])
    with pytest.raises(WrongUse, match="doesn't hand out"):
        grade(folder, assignments=["nothing"])
    with pytest.raises(WrongUse, match="classroom"):
        grade(folder / "submitted")


def test_points_that_the_gradebook_doesn_t_know_yet_stop_it_before_marks(room):
    folder, _ = room
    text = (folder / "classroom.toml").read_text()
    (folder / "classroom.toml").write_text(text.replace("[tiny.points]", "[tiny.points]\nhalf = 7\n#"))
    with pytest.raises(Trouble, match="nutshell classroom"):
        grade(folder)
    assert marks(folder) == {}


def test_flags_reach_the_summary_and_never_the_mark(room):
    folder, pool = room
    pool.outcome = staticmethod(lambda job: replace(verdict(job.task), flags=(Flag("odd", "half", "Look here."),)))
    found = grade(folder, students=["ada"])
    flag = {"student": "ada", "assignment": "01_tiny", "kind": "odd", "about": "half", "words": "Look here."}
    assert flag in found.flags
    assert marks(folder) == {"ada": 5.0}


@pytest.mark.parametrize("change", ["limits", "isolation", "seed", "points", "checks", "submission", "data"])
def test_a_key_depends_on_everything(change, tiny):
    source = tiny()

    def key(limits=None, isolation="bubblewrap", seed=1, unit=source.unit, submission="d", data=("mnist",)):
        one = grading.Submission("ada", "01_tiny", (), {}, {}, submission)
        return keys.verdict_key(one, keys.unit_key(unit, seed, isolation, limits or Limits(), data))

    before = key()
    assert before == key() and len(before) == 64
    exercises = (replace(source.unit.exercises[0], points=9), *source.unit.exercises[1:])
    changed = {
        "limits": dict(limits=Limits(request=1.0)),
        "isolation": dict(isolation="process"),
        "seed": dict(seed=2),
        "points": dict(unit=replace(source.unit, exercises=exercises)),
        "submission": dict(submission="e"),
        "data": dict(data=("mnist (stand-in)",)),
    }
    if change == "checks":
        path = source.folder / "checks.py"
        path.write_text(path.read_text() + "\n# stricter\n")
    assert key(**changed.get(change, {})) != before


def test_a_full_disk_is_trouble_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    kept = SubmissionVerdict("ab", "tiny", "bubblewrap", "watchdog")
    with monkeypatch.context() as disk:
        disk.setattr(grading.os, "replace", full)
        with pytest.raises(Trouble, match="No space left"):
            Verdicts(tmp_path).keep("01_tiny", kept)
    assert Verdicts(tmp_path).find("01_tiny", "ab") is None
    Verdicts(tmp_path).keep("01_tiny", kept)
    assert Verdicts(tmp_path).find("01_tiny", "ab") == kept


def test_the_command_prints_one_object_and_ends_with_the_code_it_promises(room):
    folder, pool = room
    done = CliRunner().invoke(command, [str(folder), "--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0 and said["graded"] == 3 and said["isolation"] == "bubblewrap"
    (folder / "submitted" / "ada" / "01_tiny" / "01_tiny.ipynb").unlink()
    assert CliRunner().invoke(command, [str(folder)]).exit_code == 1
    write(folder, "ben", "# other")
    pool.outcome = staticmethod(lambda job: Failure("gone"))
    lost = CliRunner().invoke(command, [str(folder)])
    assert lost.exit_code == 3 and "by no fault of theirs" in lost.stdout


def test_students_are_those_who_handed_in(room):
    folder, _ = room
    assert intake.students(folder, "01_tiny") == ["ada", "ben", "cleo"]
