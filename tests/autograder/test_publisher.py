"""The publisher: rows as nbgrader makes them, instructors' marks kept, and nothing done twice, lost or half done."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder import classroom, gradebook, publisher, settings, units
from autograder.publisher import Publisher
from nutshell.errors import Trouble
from nutshell.wire.running import INFRA, NOT_DONE, RAISED, WRONG
from tests.autograder import published as made_up
from tests.autograder.published import IN_TIME, exercise, grades, verdict

LAB = "03_low_rank"
DEADLINE = "[low_rank]\ndeadline = 2026-03-01T12:00:00Z\n"
PLUGIN = """
from nbgrader.plugins import LateSubmissionPlugin
class Tenth(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return {"none": None, "all": 99.0, "less": -1.0, "odd": float("nan")}.get(student_id, 0.1 * score)
c.AssignLatePenalties.plugin_class = Tenth
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Where the first classroom is kept, to be copied."""
    folder = tmp_path_factory.mktemp("first") / "room"
    classroom.make(folder, ("low_rank",))
    return folder


@pytest.fixture
def room(first, tmp_path):
    return Path(shutil.copytree(first, tmp_path / "room"))


def opened(room):
    return Publisher(room, settings.read(room / settings.FILE, [source.unit for source in units.chosen(())]))


@pytest.fixture
def unit():
    return units.load("low_rank").unit


def submission(room, student="ada", **changes):
    return made_up.submission(room, student, LAB, **changes)


def publish(room, unit, *pairs):
    with opened(room) as writer:
        writer.publish([(unit, work, found) for work, found in pairs])


def needed(room, work, key):
    with opened(room) as writer:
        return writer.needed(work, key)


def page(room, student="ada"):
    return (room / "feedback" / student / LAB / f"{LAB}.html").read_text(encoding="utf-8")


def in_gradebook(room, change, student="ada"):
    """Change a student's rows as formgrader does."""
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        change(book.find_submission_notebook(LAB, LAB, student))
        book.db.commit()


def mark_by_hand(score, extra=None):
    def change(notebook):
        (grade,) = [grade for grade in notebook.grades if grade.name == "check_truncate"]
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = score, extra, False

    return change


def comment(text):
    def change(notebook):
        (found,) = [found for found in notebook.comments if found.name == "solution_truncate"]
        found.manual_comment = text

    return change


def test_marks_stand_on_check_cells_and_nothing_waits_for_an_instructor(room, unit):
    publish(room, unit, (submission(room), verdict(unit, {"truncate": WRONG, "factorise": NOT_DONE}, value=1.05)))
    found = grades(room, LAB, "ada")
    assert found["check_truncate"] == (0, None, 0, 2, False, True)
    assert found["check_factorise"] == (0, None, 0, 3, False, True)
    assert found["check_tucker2"] == (3, None, 3, 3, False, False)
    assert found["check_first_layer"] == (pytest.approx(2), None, pytest.approx(2), 4, False, True)
    assert set(found) == {f"check_{item.name}" for item in (*unit.exercises, *unit.budgets)}


def test_grading_again_replaces_and_never_adds(room, unit):
    publish(room, unit, (submission(room), verdict(unit)), (submission(room, "ben"), verdict(unit)))
    before = rows(room)
    publish(room, unit, (submission(room), verdict(unit, {"truncate": RAISED})))
    after = rows(room)
    assert {table: len(rows) for table, rows in after.items()} == {table: len(rows) for table, rows in before.items()}
    assert after["comment"] == before["comment"] and after["student"] == before["student"]
    changed = [(old, new) for old, new in zip(before["grade"], after["grade"], strict=True) if old != new]
    assert [(old["auto_score"], new["auto_score"]) for old, new in changed] == [(2, 0)]


def rows(room):
    with sqlite3.connect(room / "gradebook.db") as database:
        database.row_factory = sqlite3.Row
        tables = ("student", "submitted_assignment", "submitted_notebook", "grade", "comment")
        found = {table: database.execute(f"SELECT * FROM {table} ORDER BY id") for table in tables}
        return {table: [dict(row) for row in rows] for table, rows in found.items()}


def test_what_an_instructor_gave_and_wrote_stays_and_a_changed_mark_below_it_asks_for_a_look(room, unit):
    wrong = verdict(unit, {"truncate": WRONG})
    publish(room, unit, (submission(room), wrong))
    in_gradebook(room, mark_by_hand(1.5, extra=0.5))
    in_gradebook(room, comment("Nearly!"))
    publish(room, unit, (submission(room), wrong))
    assert grades(room, LAB, "ada")["check_truncate"] == (0, 1.5, 2.0, 2, False, True)
    publish(room, unit, (submission(room), verdict(unit)))
    assert grades(room, LAB, "ada")["check_truncate"] == (2, 1.5, 2.0, 2, True, False)
    publish(room, unit, (submission(room), verdict(unit)))
    assert grades(room, LAB, "ada")["check_truncate"] == (2, 1.5, 2.0, 2, True, False)  # until somebody has looked
    assert "Nearly!" in page(room)


def test_an_unchanged_submission_is_not_published_again_and_whatever_changes_makes_it_so(room, unit):
    work, found = submission(room), verdict(unit, {"truncate": WRONG})
    assert needed(room, work, found.key)
    publish(room, unit, (work, found))
    assert not needed(room, work, found.key)
    with opened(room) as writer:  # and also within the run that published
        writer.publish([(unit, work, found)])
        assert not writer.needed(work, found.key)

    assert needed(room, work, "another key")
    assert needed(room, submission(room, notes=("a cell was put back",)), found.key)
    assert needed(room, submission(room, handed_in=IN_TIME + timedelta(hours=1)), found.key)
    assert needed(room, submission(room, "ben"), found.key)
    for change in (comment("Nearly!"), mark_by_hand(1.0), mark_by_hand(1.0, 0.25)):
        in_gradebook(room, change)
        assert needed(room, work, found.key)
        publish(room, unit, (work, found))
        assert not needed(room, work, found.key)
    assert "Nearly!" in page(room)


@pytest.mark.parametrize("lost", [f"autograded/ada/{LAB}/{LAB}.ipynb", f"feedback/ada/{LAB}/{LAB}.html",
                                  f"autograded/ada/{LAB}/timestamp.txt", f"verdicts/{LAB}/published/ada"])
def test_a_file_that_is_gone_or_cut_is_written_again(room, unit, lost):
    work, found = submission(room), verdict(unit)
    publish(room, unit, (work, found))
    whole = (room / lost).read_bytes()
    (room / lost).chmod(0o644)
    for damage in (lambda: (room / lost).write_bytes(whole[:10]), (room / lost).unlink):
        damage()
        assert needed(room, work, found.key)
        publish(room, unit, (work, found))
        assert len((room / lost).read_bytes()) == len(whole) and not needed(room, work, found.key)


def test_new_settings_and_deadlines_make_feedback_anew(room, unit):
    work, found = submission(room), verdict(unit)
    publish(room, unit, (work, found))
    set_deadline(room)
    assert needed(room, work, found.key)
    publish(room, unit, (work, found))
    (room / "nbgrader_config.py").write_text((room / "nbgrader_config.py").read_text() + "# edited\n")
    assert needed(room, work, found.key)


def set_deadline(room):
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        book.update_or_create_assignment(LAB, duedate=datetime(2026, 3, 1, 12))


def test_late_submissions_lose_what_nbgrader_s_plugin_says(room, unit):
    set_deadline(room)
    config = room / "nbgrader_config.py"
    config.write_text(config.read_text() + PLUGIN)
    late = {name: submission(room, name) for name in ("ada", "none", "all", "less")}
    in_time = submission(room, "eve", handed_in=datetime(2026, 3, 1, 11))
    publish(room, unit, *((work, verdict(unit)) for work in (*late.values(), in_time)))
    found = {name: penalty(room, name) for name in (*late, "eve")}
    assert found == {"ada": pytest.approx(1.6), "none": None, "all": 16, "less": 0, "eve": None}
    assert "14.4 of 16 points" in page(room) and "30 minutes late" in page(room)

    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        book.grant_extension(LAB, "ada", hours=1)
    assert needed(room, late["ada"], verdict(unit).key)
    publish(room, unit, (late["ada"], verdict(unit)))
    assert penalty(room, "ada") is None and "late" not in page(room)
    with pytest.raises(Trouble, match=r"Tenth, the plugin for late submissions, failed on odd .*nan"):
        publish(room, unit, (submission(room, "odd"), verdict(unit)))


def penalty(room, student):
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        return book.find_submission_notebook(LAB, LAB, student).late_submission_penalty


def test_nbgrader_s_own_methods_of_penalty_hold(room, unit):
    set_deadline(room)
    config = room / "nbgrader_config.py"
    config.write_text(config.read_text() + "c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    publish(room, unit, (submission(room), verdict(unit)))
    assert penalty(room, "ada") == 16 and "0 of 16 points" in page(room)
    config.write_text(config.read_text() + "c.AssignLatePenalties.plugin_class = 'nowhere.Plugin'\n")
    with pytest.raises(Trouble, match="plugin for late submissions can't be used"):
        publish(room, unit, (submission(room), verdict(unit)))


@pytest.mark.parametrize(("points", "kept"), [(-1.0, 0), (500.0, 2), (0.3, 0.3)])
def test_marks_stay_between_none_and_all(room, unit, points, kept):
    publish(room, unit, (submission(room), with_points(unit, points)))
    assert grades(room, LAB, "ada")["check_truncate"][0] == kept


def with_points(unit, points, **changes):
    found = verdict(unit)
    return replace(found, exercises=tuple(
        replace(item, points=points, **changes) if item.name == "truncate" else item for item in found.exercises))


@pytest.mark.parametrize("points", [float("nan"), float("inf")])
def test_what_is_no_number_or_the_grader_s_own_trouble_is_never_a_mark(room, unit, points):
    with pytest.raises(Trouble, match="no mark"):
        publish(room, unit, (submission(room), with_points(unit, points)))
    with pytest.raises(Trouble, match="no mark"):
        publish(room, unit, (submission(room), with_points(unit, 0.0, status=INFRA)))
    assert rows(room)["grade"] == []


def test_exercises_that_the_gradebook_lacks_or_has_otherwise_are_named(room, unit):
    fewer = replace(unit, exercises=unit.exercises[1:])
    with opened(room) as writer:
        writer.check(unit)
        with pytest.raises(Trouble, match=r"compression_rate is only in the gradebook\. Run: nutshell classroom"):
            writer.check(fewer)
        with pytest.raises(Trouble, match="truncate has 2 points in the gradebook and 5 now"):
            writer.publish([(unit, submission(room), with_points(unit, 1.0, possible=5.0))])
        extra = replace(verdict(unit), exercises=(*verdict(unit).exercises, exercise("stranger", 1.0)))
        with pytest.raises(Trouble, match="stranger isn't in the gradebook"):
            writer.publish([(unit, submission(room), extra)])
        with pytest.raises(Trouble, match="doesn't know 09_nothing"):
            writer.publish([(unit, replace(submission(room), assignment="09_nothing"), verdict(unit))])
    assert rows(room)["grade"] == []


def test_a_refused_submission_gets_a_reason_and_keeps_its_marks(room, unit):
    reason = "It holds a link: a -> /etc/passwd."
    refused = verdict(unit, key="of the refused", exercises=(), budgets=(), refused=reason)
    publish(room, unit, (submission(room, "ben"), refused))
    assert rows(room)["grade"] == [] and "a -&gt; /etc/passwd" in page(room, "ben")
    assert not (room / "autograded" / "ben").exists()
    assert not needed(room, submission(room, "ben"), refused.key)

    publish(room, unit, (submission(room), verdict(unit)))
    before = rows(room)
    publish(room, unit, (submission(room), refused))
    assert rows(room) == before and "Marks given before still stand: 16 of 16." in page(room)
    assert not needed(room, submission(room), refused.key)


def test_files_are_as_nbgrader_leaves_them(room, unit):
    work = submission(room, files={"submission_secret.txt": b"s3cret", "timestamp.txt": b"never", "x.nut": b"1"})
    publish(room, unit, (work, verdict(unit)))
    copies, pages = room / "autograded" / "ada" / LAB, room / "feedback" / "ada" / LAB
    assert sorted(path.name for path in copies.iterdir()) == [f"{LAB}.ipynb", "submission_secret.txt", "timestamp.txt"]
    assert sorted(path.name for path in pages.iterdir()) == [f"{LAB}.html", "submission_secret.txt", "timestamp.txt"]
    with classroom.nbgrader_api(room) as api:
        assert api.coursedir.get_existing_timestamp(str(copies)) == IN_TIME
        (row,) = api.get_submissions(LAB)
        assert row["autograded"] and row["score"] == 16 and not row["needs_manual_grade"]
    cells = json.loads((copies / f"{LAB}.ipynb").read_text())["cells"]
    shown = {cell["metadata"]["nbgrader"]["grade_id"]: cell.get("outputs") for cell in cells
             if "nbgrader" in cell["metadata"]}
    names = [f"check_{item.name}" for item in (*unit.exercises, *unit.budgets)]
    assert all("<table>" in shown[name][0]["data"]["text/html"] for name in names)


@pytest.mark.parametrize("place", ["autograded/ada", f"autograded/ada/{LAB}", "feedback/ada", f"feedback/ada/{LAB}"])
def test_nothing_is_written_through_a_link(room, unit, tmp_path, place):
    (tmp_path / "elsewhere").mkdir()
    (room / place).parent.mkdir(parents=True, exist_ok=True)
    (room / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Trouble, match="is a link"):
        publish(room, unit, (submission(room), verdict(unit)))
    assert list((tmp_path / "elsewhere").rglob("*")) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(room, unit, tmp_path):
    (tmp_path / "precious").write_text("mine")
    page_of = room / "feedback" / "ada" / LAB / f"{LAB}.html"
    page_of.parent.mkdir(parents=True)
    page_of.symlink_to(tmp_path / "precious")
    publish(room, unit, (submission(room), verdict(unit)))
    assert (tmp_path / "precious").read_text() == "mine" and not page_of.is_symlink()
    page_of.rename(tmp_path / "same")  # and just so where it leads to the right text
    page_of.symlink_to(tmp_path / "same")
    publish(room, unit, (submission(room), verdict(unit)))
    assert not page_of.is_symlink()


@pytest.mark.parametrize("name", ["..", "", ".", "a/b"])
def test_a_name_that_is_a_path_is_no_student(room, unit, name):
    with pytest.raises(Trouble, match="can't be a student's name"):
        publish(room, unit, (submission(room, name), verdict(unit)))


def test_a_second_grader_is_told_who_is_at_work(room):
    script = ("import sys; from pathlib import Path; from autograder import settings, units; "
              "from autograder.publisher import Publisher; from nutshell.errors import Trouble\n"
              "try:\n  Publisher(Path(sys.argv[1]), None).__enter__()\nexcept Trouble as trouble:\n  print(trouble)")
    with opened(room):
        said = subprocess.run([sys.executable, "-c", script, str(room)], capture_output=True, text=True).stdout
    assert f"Another grader is at work on {room}: process {os.getpid()} on " in said and "since 20" in said
    with opened(room):  # and the first one's end frees the classroom
        pass


def test_a_locked_gradebook_is_waited_for_and_then_named(room, unit, monkeypatch):
    monkeypatch.setattr(gradebook, "PATIENCE", 1.5)
    work = (unit, submission(room), verdict(unit))
    other = sqlite3.connect(room / "gradebook.db", isolation_level=None)
    with opened(room) as writer:
        writer.check(unit)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Trouble, match=r"in use by others for 2 seconds \(database is locked\).*formgrader"):
            writer.publish([work])
        waits = []
        monkeypatch.setattr(gradebook.time, "sleep", lambda seconds: (waits.append(seconds), other.rollback()))
        writer.publish([work])
        assert waits == [0.05]
    other.close()
    assert grades(room, LAB, "ada")["check_truncate"][0] == 2


def test_without_its_database_a_classroom_is_sent_to_be_made(room, unit):
    (room / "gradebook.db").unlink()
    with opened(room) as writer, pytest.raises(Trouble, match="Run: nutshell classroom"):
        writer.check(unit)


def test_a_database_without_its_driver_is_named_and_no_password_is(room, tmp_path):
    with pytest.raises(Trouble, match=r"db_url nothing://me:\*\*\*@here/db can't be used") as said:
        gradebook.Gradebook("nothing://me:s3cret@here/db", room)
    assert "s3cret" not in str(said.value)


def test_a_full_disk_leaves_nothing_half_written_and_the_next_run_goes_on(room, unit, monkeypatch):
    work, found, replaced = submission(room), verdict(unit), os.replace

    def full(source, target):
        if str(target).endswith(".html"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replaced(source, target)

    monkeypatch.setattr(publisher.os, "replace", full)
    with pytest.raises(Trouble, match="No space left on device"):
        publish(room, unit, (work, found))
    assert not list(room.rglob("*.unfinished")) and not (room / "feedback" / "ada" / LAB / f"{LAB}.html").exists()
    monkeypatch.undo()
    assert needed(room, work, found.key)
    publish(room, unit, (work, found))
    assert not needed(room, work, found.key) and grades(room, LAB, "ada")["check_truncate"][0] == 2


def test_an_end_at_any_moment_loses_nothing_and_doubles_nothing(room, unit, tmp_path, monkeypatch):
    """Every file's and every statement's turn to be the last thing that happened."""
    work, found = submission(room), verdict(unit, {"truncate": WRONG})
    steps = []

    class Killed(BaseException):
        pass

    def end_before(last):
        def counted(step):
            def run(*arguments):
                if len(steps) == last:
                    raise Killed
                steps.append(step)
                return step(*arguments)

            return run

        steps.clear()
        monkeypatch.undo()
        monkeypatch.setattr(gradebook.rows, "insert_missing", counted(gradebook.rows.insert_missing))
        monkeypatch.setattr(gradebook.rows, "update_changed", counted(gradebook.rows.update_changed))
        monkeypatch.setattr(publisher.os, "replace", counted(os.replace))

    whole = Path(shutil.copytree(room, tmp_path / "whole"))
    end_before(None)
    publish(whole, unit, (work, found))
    assert len(steps) == 8  # who grades, rows added, rows changed, notebook, two times, page, record
    for last in range(len(steps)):
        cut = Path(shutil.copytree(room, tmp_path / f"cut {last}"))
        end_before(last)
        with pytest.raises(Killed):
            publish(cut, unit, (work, found))
        monkeypatch.undo()
        assert needed(cut, work, found.key)
        publish(cut, unit, (work, found))
        assert not needed(cut, work, found.key)
        assert grades(cut, LAB, "ada") == grades(whole, LAB, "ada") and page(cut) == page(whole)
        assert {table: len(found) for table, found in rows(cut).items()} == {
            "student": 1, "submitted_assignment": 1, "submitted_notebook": 1, "grade": 9, "comment": 8}
