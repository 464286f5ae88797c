"""A classroom of the made-up unit: made, graded by stock nbgrader, changed by classroom.toml, and left alone."""

import json
import shutil
import stat
from datetime import datetime

import nbformat
import pytest
from click.testing import CliRunner
from nbgrader.api import Gradebook

from autograder import classroom
from autograder.commands.classroom import classroom as command
from nutshell.errors import NutshellError, Refused, Trouble, WrongUse

RIGHT = {
    "half": "def half(x):\n    return x / 2",
    "clip_at": """def clip_at(x, limit):
    if limit < 0:
        raise ValueError(limit)
    return np.minimum(x, limit)""",
}
NOISY = """import sys, warnings
from tqdm import tqdm
def half(x):
    warnings.warn("careful")
    print("to standard error", file=sys.stderr)
    for _ in tqdm(range(3)):
        pass
    return x / 2"""
SECRETIVE = """def half(x):
    print("seen", x)
    if abs(x).max() > 1e6:
        raise KeyError(f"seen {x}")
    return x / 2"""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Where the first classroom is kept, to be copied: making its database takes seconds."""
    return tmp_path_factory.mktemp("first") / "room"


@pytest.fixture
def made(first, tiny, tmp_path, monkeypatch):
    """A classroom of its own, and the made-up unit where the kernels find it too."""
    tiny()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("NUTSHELL_CLASSROOM", raising=False)
    if not first.exists():
        classroom.make(first)
    shutil.copytree(first, tmp_path / "room")
    return tmp_path / "room"


def _submit(room, student, cells, without=()):
    notebook = nbformat.read(room / "release" / "01_tiny" / "01_tiny.ipynb", as_version=4)
    for cell in notebook.cells:
        exercise = cell.metadata.get("nbgrader", {}).get("grade_id", "").removeprefix("solution_")
        cell.source = cells.get(exercise, cell.source)
    notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") not in without]
    place = room / "submitted" / student / "01_tiny"
    place.mkdir(parents=True)
    nbformat.write(notebook, place / "01_tiny.ipynb")


def _grade(room, student):
    with classroom.nbgrader_api(room) as api:
        for step in (api.autograde, api.generate_feedback):
            result = step("01_tiny", student)
            assert result["success"], result
        assert not any(row["needs_manual_grade"] for row in api.get_submissions("01_tiny") if row["student"] == student)
    return _scores(room, student), (room / "feedback" / student / "01_tiny" / "01_tiny.html").read_text()


def _scores(room, student):
    with Gradebook(f"sqlite:///{room}/gradebook.db") as gradebook:
        names = ("half", "clip_at")
        grades = {name: gradebook.find_grade(f"check_{name}", "01_tiny", "01_tiny", student) for name in names}
        return {name: (grade.score, grade.max_score) for name, grade in grades.items()}


def test_stock_nbgrader_grades_blank_right_partial_noisy_and_mutilated_submissions(made):
    clip = "def clip_at(x, limit):\n    return np.minimum(x, limit)"
    _submit(made, "blank", {})
    _submit(made, "right", RIGHT, without=("given_1", "check_half", "check_clip_at"))  # put back before grading
    _submit(made, "noisy", {"half": NOISY, "clip_at": clip}, without=("solution_nothing",))
    _submit(made, "secretive", {"half": SECRETIVE}, without=("solution_clip_at", "check_clip_at"))

    scores, feedback = _grade(made, "blank")
    assert scores == {"half": (0, 2), "clip_at": (0, 3)} and "not written yet" in feedback
    scores, feedback = _grade(made, "right")
    assert scores == {"half": (2, 2), "clip_at": (3, 3)} and "Large numbers are halved too" in feedback
    scores, feedback = _grade(made, "noisy")  # the clip refuses nothing: one of three weights
    assert scores == {"half": (2, 2), "clip_at": (1, 3)} and "The arguments are not tested." in feedback
    scores, feedback = _grade(made, "secretive")
    assert scores == {"half": (1, 2), "clip_at": (0, 3)}
    assert "KeyError (its message is not shown for a hidden check)" in feedback
    hidden_only = feedback.split("KeyError (its")[1]
    assert "seen [" not in hidden_only and "seen [" in feedback  # what is printed in a public check may be seen


def test_a_second_call_changes_nothing_and_settings_take_effect(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file() and path.suffix != ".db"}
    assert classroom.make(made).unchanged == ["01_tiny"]
    assert before == {path: path.stat().st_mtime_ns for path in before}

    text = (made / "classroom.toml").read_text()
    text = text.replace("# half = 2", "half = 2.5").replace("# deadline = 2030", "deadline = 2031")
    (made / "classroom.toml").write_text(text)
    assert classroom.make(made).released == ["01_tiny"]
    with Gradebook(f"sqlite:///{made}/gradebook.db") as gradebook:
        assignment = gradebook.find_assignment("01_tiny")
        assert assignment.max_score == 5.5 and assignment.duedate == datetime(2031, 10, 31, 22, 59)
    released = (made / "release" / "01_tiny" / "01_tiny.ipynb").read_text()
    assert '"points": 2.5' in released and "· 2.5 points ·" in released
    assert (
        json.loads((made / "release" / "01_tiny" / "desk" / "unit.json").read_text())["exercises"][0]["points"] == 2.5
    )


def test_a_deadline_that_was_moved_is_told(made):
    template = (made / "classroom.toml").read_text()
    (made / "classroom.toml").write_text(template.replace("# deadline = 2030", "deadline = 2031"))
    called = classroom.make(made)
    assert called.unchanged == ["01_tiny"] and called.notes == ["01_tiny is due 2031-10-31 22:59 UTC now."]
    assert classroom.make(made).notes == []
    (made / "classroom.toml").write_text(template)
    assert classroom.make(made).notes == ["01_tiny has no deadline any more."]


def test_the_course_s_name_is_fixed(made):
    text = (made / "classroom.toml").read_text()
    (made / "classroom.toml").write_text(text.replace('course = "nutshell"', 'course = "autumn"'))
    with pytest.raises(WrongUse, match=r"fixed when the classroom is made; it is 'nutshell' in nbgrader_config\.py"):
        classroom.make(made)


def test_cells_never_come_or_go_under_submissions(made):
    with Gradebook(f"sqlite:///{made}/gradebook.db") as gradebook:
        gradebook.update_or_create_student("ada")
        gradebook.update_or_create_submission("01_tiny", "ada")
    text = (made / "classroom.toml").read_text()
    (made / "classroom.toml").write_text(text.replace("# half = 2", "half = false"))
    with pytest.raises(Refused, match=r"check_half, solution_half.*0 points"):
        classroom.make(made)
    (made / "classroom.toml").write_text(text.replace("# half = 2", "half = 0"))
    assert classroom.make(made).released == ["01_tiny"]
    assert _scores(made, "ada") == {"half": (0, 0), "clip_at": (0, 3)}  # ungraded, with the new points


def test_secrets_stay_in_the_classroom(made):
    seed = made / "secret_seed"
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    secret = seed.read_text().strip()
    assert classroom.seed(made) == int(secret, 16) and len(secret) == 32
    for path in (made / "release").rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert secret not in text and "grade_here" not in text and "0.5 * x" not in text and "12345" not in text
    assert "grade_here" in (made / "source" / "01_tiny" / "01_tiny.ipynb").read_text()
    assert classroom.find(made / "release" / "01_tiny") == made
    seed.write_text("not a number")
    with pytest.raises(Trouble, match="backup"):
        classroom.seed(made)


def test_every_classroom_draws_its_own_secret_once(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        classroom.draw_seed(folder)
    seeds = [classroom.seed(folder) for folder in folders]
    classroom.draw_seed(folders[0])
    assert seeds[0] != seeds[1] and classroom.seed(folders[0]) == seeds[0]


def test_wrong_uses_are_named(made, tmp_path):
    run = CliRunner().invoke
    again = run(command, [str(made), "--units", "tiny"])
    assert isinstance(again.exception, WrongUse) and "units = […]" in str(again.exception)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    full = run(command, [str(tmp_path / "full")])
    assert isinstance(full.exception, WrongUse) and "empty folder" in str(full.exception)
    unknown = run(command, [str(tmp_path / "new"), "--units", "tyni"])
    assert isinstance(unknown.exception, NutshellError) and not (tmp_path / "new").exists()
    with pytest.raises(Trouble, match="inside a classroom only"):
        classroom.find(tmp_path)
    said = run(command, [str(made), "--json"])
    assert json.loads(said.stdout) == {"folder": str(made), "released": [], "unchanged": ["01_tiny"], "notes": []}


def test_renamed_cells_run_as_plain_ones_and_the_lab_s_own_are_put_back(made):
    _submit(made, "renamer", RIGHT)
    path = made / "submitted" / "renamer" / "01_tiny" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade_id") in ("check_half", "solution_clip_at", "check_clip_at"):
            marks["grade_id"] = f"my_{marks['grade_id']}"
    nbformat.write(notebook, path)
    scores, _ = _grade(made, "renamer")
    assert scores == {"half": (2, 2), "clip_at": (3, 3)}
    ids = [cell.id for cell in nbformat.read(made / "autograded/renamer/01_tiny/01_tiny.ipynb", as_version=4).cells]
    assert len(ids) == len(set(ids))


def test_the_grader_s_own_trouble_leaves_a_submission_ungraded(made):
    _submit(made, "unlucky", RIGHT)
    secret = (made / "secret_seed").read_bytes()
    (made / "secret_seed").unlink()
    with classroom.nbgrader_api(made) as api:
        result = api.autograde("01_tiny", "unlucky")
        assert not result["success"] and "secret_seed can't be read" in result["log"]
        assert not (made / "autograded" / "unlucky" / "01_tiny").exists()
        (submission,) = [row for row in api.get_submissions("01_tiny") if row["student"] == "unlucky"]
        assert not submission["autograded"]
    (made / "secret_seed").write_bytes(secret)
    assert _grade(made, "unlucky")[0] == {"half": (2, 2), "clip_at": (3, 3)}
