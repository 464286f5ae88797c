"""Ours and nbgrader's own commands on the same classroom, one after the other, in both orders."""

import csv
import json
import shutil
import sqlite3
from datetime import datetime

import pytest

from autograder import classroom, settings, units
from autograder.publisher import Publisher
from autograder.verdicts import ExerciseVerdict, SubmissionVerdict
from nutshell.wire.running import NOT_DONE, OK, Verdict
from tests.autograder.published import grades, submission

LAB = "01_tiny"
HALF = "def half(x):\n    return x / 2"
ROWS = """
SELECT s.id, s.first_name, a.name, sa.timestamp, sa.extension, n.name, sn.flagged, sn.late_submission_penalty, c.name,
    g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade, g.auto_comment, g.manual_comment
FROM student s
JOIN submitted_assignment sa ON sa.student_id = s.id JOIN assignment a ON a.id = sa.assignment_id
JOIN submitted_notebook sn ON sn.assignment_id = sa.id JOIN notebook n ON n.id = sn.notebook_id
JOIN (
    SELECT notebook_id, cell_id, auto_score, manual_score, extra_credit, needs_manual_grade,
        NULL auto_comment, NULL manual_comment FROM grade
    UNION ALL SELECT notebook_id, cell_id, NULL, NULL, NULL, NULL, auto_comment, manual_comment FROM comment
) g ON g.notebook_id = sn.id
JOIN base_cell c ON c.id = g.cell_id ORDER BY c.name"""


@pytest.fixture
def room(tiny, tmp_path, monkeypatch):
    """A classroom of the made-up unit where a student has handed in one of two exercises, a day late."""
    tiny()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("NUTSHELL_CLASSROOM", raising=False)
    folder = tmp_path / "room"
    classroom.make(folder)
    text = (folder / "classroom.toml").read_text().replace("# deadline = 2030-10-31", "deadline = 2026-02-28")
    (folder / "classroom.toml").write_text(text)
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    classroom.make(folder)
    work = submission(folder, "ada", LAB, {"half": HALF})
    place = folder / "submitted" / "ada" / LAB
    place.mkdir(parents=True)
    (place / f"{LAB}.ipynb").write_text(json.dumps(work.notebook))
    (place / "timestamp.txt").write_text("2026-03-01 12:30:00 UTC")
    return folder


def found(points=2.0):
    checks = {name: Verdict(name, f"{name}_is_right", "Ours says so", False, status)
              for name, status in (("half", OK), ("clip_at", NOT_DONE))}
    exercises = (ExerciseVerdict("half", points, 2, OK, (checks["half"],)),
                 ExerciseVerdict("clip_at", 0, 3, NOT_DONE, (checks["clip_at"],)))
    return SubmissionVerdict(f"key {points}", "tiny", "bubblewrap", "watchdog", exercises)


def publish(room, verdict):
    """As a run does; returns whether there was anything to do."""
    chosen = settings.read(room / settings.FILE, [source.unit for source in units.chosen(())])
    work = submission(room, "ada", LAB, {"half": HALF})
    with Publisher(room, chosen) as writer:
        needed = writer.needed(work, verdict.key)
        if needed:
            writer.publish([(chosen.units[0], work, verdict)])
    return needed


def stock(room, *steps):
    with classroom.nbgrader_api(room) as api:
        for step in steps:
            result = getattr(api, step)(LAB, "ada")
            assert result["success"], result


def rows(room):
    with sqlite3.connect(room / "gradebook.db") as database:
        return database.execute(ROWS).fetchall()


def table_of(room):
    return (room / "autograded" / "ada" / LAB / f"{LAB}.ipynb").read_text()


def test_ours_and_theirs_leave_the_same_rows_and_go_on_from_one_another(room, tmp_path):
    other = shutil.copytree(room, tmp_path / "other")
    stock(other, "autograde")
    assert publish(room, found())
    assert rows(room) == rows(other)
    assert {row[8]: row[9] for row in rows(room)} == {"check_half": 2, "check_clip_at": 0, "solution_half": None,
                                                      "solution_clip_at": None}
    assert [row[13] for row in rows(room) if row[8] == "solution_clip_at"] == ["No response."]
    assert rows(room)[0][7] == 2 and rows(room)[0][3].startswith(str(datetime(2026, 3, 1, 12, 30)))

    assert "Ours says so" not in table_of(other)
    before = grades(other, LAB, "ada")
    assert publish(other, found())  # after theirs
    assert grades(other, LAB, "ada") == before and "Ours says so" in table_of(other)

    stock(room, "autograde", "generate_feedback")  # after ours
    assert "Ours says so" not in table_of(room) and rows(room) == rows(other)
    assert publish(room, found()) and "Ours says so" in table_of(room)
    assert not publish(room, found())
    assert publish(room, found(points=0.5)) and grades(room, LAB, "ada")["check_half"][0] == 0.5


def test_nbgrader_makes_feedback_and_exports_marks_from_ours(room):
    publish(room, found(points=1.5))
    page = room / "feedback" / "ada" / LAB / f"{LAB}.html"
    assert "your feedback" in page.read_text()
    stock(room, "generate_feedback")
    text = page.read_text()
    assert "Ours says so" in text and "your feedback" not in text and "1.5" in text
    assert publish(room, found(points=1.5)) and "your feedback" in page.read_text()

    with classroom.nbgrader_api(room) as api, api.gradebook as gradebook:
        from nbgrader.plugins import CsvExportPlugin

        exporter = CsvExportPlugin()
        exporter.to = str(room / "grades.csv")
        exporter.export(gradebook)
    with (room / "grades.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["raw_score"], row["late_submission_penalty"], row["score"]) == ("1.5", "1.5", "0.0")
    assert row["max_score"] == "5.0"
