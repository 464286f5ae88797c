"""The learner's copies: made once, never written over, newer releases beside."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nutshell import workspace
from nutshell.errors import Trouble, WrongUse
from nutshell.workspace import copy_labs, find_course

NOTEBOOK = "03_low_rank/03_low_rank.ipynb"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    release(tmp_path, notebook="release 1", desk="checks 1")
    return tmp_path


def release(course: Path, notebook: str, desk: str) -> None:
    lab = course / "labs" / "03_low_rank"
    (lab / "desk").mkdir(parents=True, exist_ok=True)
    (lab / "03_low_rank.ipynb").write_text(notebook)
    (lab / "desk" / "public_checks.py").write_text(desk)


def read(course: Path, name: str) -> str:
    return (course / "my_labs" / name).read_text()


def whats(course: Path) -> list[str]:
    return [copy.what for copy in copy_labs(course)]


def test_the_first_opening_copies_everything_and_the_second_nothing(course: Path) -> None:
    assert whats(course) == ["new"]
    assert read(course, NOTEBOOK) == "release 1"
    assert read(course, "03_low_rank/desk/public_checks.py") == "checks 1"
    assert whats(course) == ["same"]


def test_work_is_kept(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).write_text("my work")
    assert whats(course) == ["same"]
    assert read(course, NOTEBOOK) == "my work"


def test_a_newer_release_arrives_beside_work_once_with_its_own_desk(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).write_text("my work")
    release(course, notebook="release 2", desk="checks 2")
    (copy,) = copy_labs(course)
    assert copy.what == "beside" and copy.folder.name == "03_low_rank_release_2"
    assert "newer release" in copy.message and str(copy.folder) in copy.message
    assert read(course, NOTEBOOK) == "my work"
    assert read(course, "03_low_rank/desk/public_checks.py") == "checks 1"
    page = workspace.write_start(course, [copy]).read_text()
    assert "[03_low_rank](03_low_rank/03_low_rank.ipynb)" in page
    assert "[03_low_rank_release_2 (newer release)](03_low_rank_release_2/03_low_rank.ipynb)" in page
    assert read(course, "03_low_rank_release_2/03_low_rank.ipynb") == "release 2"
    assert read(course, "03_low_rank_release_2/desk/public_checks.py") == "checks 2"
    assert whats(course) == ["same"]


def test_a_third_release_follows_the_copy_that_nobody_has_changed(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).write_text("my work")
    release(course, notebook="release 2", desk="checks 2")
    copy_labs(course)
    release(course, notebook="release 3", desk="checks 3")
    assert whats(course) == ["updated"]
    assert read(course, NOTEBOOK) == "my work"
    assert read(course, "03_low_rank_release_2/03_low_rank.ipynb") == "release 3"


def test_mended_checks_reach_work_in_progress(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).write_text("my work")
    release(course, notebook="release 1", desk="checks mended")
    assert whats(course) == ["updated"]
    assert read(course, NOTEBOOK) == "my work"
    assert read(course, "03_low_rank/desk/public_checks.py") == "checks mended"


def test_a_deleted_notebook_comes_back_as_released(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).unlink()
    assert whats(course) == ["updated"]
    assert read(course, NOTEBOOK) == "release 1"


@pytest.mark.parametrize("record", [
    "", "not json", "[]", '{"03_low_rank": 3}', '{"03_low_rank": {"folder": "../x", "files": {}}}',
])
def test_without_a_readable_record_everything_changed_counts_as_work(course: Path, record: str) -> None:
    copy_labs(course)
    (course / "my_labs" / NOTEBOOK).write_text("my work")
    (course / "my_labs" / workspace.RECORD).write_text(record)
    assert whats(course) == ["beside"]
    assert read(course, NOTEBOOK) == "my work"


def test_a_copy_that_broke_off_is_made_anew(course: Path) -> None:
    unfinished = course / "my_labs" / ".03_low_rank.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "03_low_rank.ipynb").write_text("rel")
    assert whats(course) == ["new"]
    assert read(course, NOTEBOOK) == "release 1"
    assert not unfinished.exists()


def test_a_learners_own_files_and_outputs_of_the_release_folder_stay_where_they_are(course: Path) -> None:
    copy_labs(course)
    (course / "my_labs" / "03_low_rank" / "low_rank.nut").write_bytes(b"mine")
    (course / "labs" / "03_low_rank" / "__pycache__").mkdir()
    (course / "labs" / "03_low_rank" / "__pycache__" / "x.pyc").write_bytes(b"no")
    (course / "labs" / "03_low_rank" / "link.txt").symlink_to("/etc/hostname")
    assert whats(course) == ["same"]
    files = {path.name for path in (course / "my_labs" / "03_low_rank").rglob("*")}
    assert files == {"03_low_rank.ipynb", "desk", "public_checks.py", "low_rank.nut"}


def test_a_read_only_release_gives_a_copy_that_can_be_written(course: Path) -> None:
    released = course / "labs" / NOTEBOOK
    released.chmod(0o444)
    copy_labs(course)
    assert (course / "my_labs" / NOTEBOOK).stat().st_mode & 0o200


def test_a_my_labs_that_cannot_be_written_is_said_with_the_way_out(course: Path) -> None:
    (course / "my_labs").write_text("a file where the folder should be")
    with pytest.raises(Trouble, match=r"my_labs.*make it writable"):
        copy_labs(course)


STEPS = st.lists(st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("release"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("forget")),
    st.tuples(st.just("open")),
), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_the_order_no_work_is_lost_and_the_newest_release_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple]
) -> None:
    course = tmp_path_factory.mktemp("course")
    release(course, "r0", "d0")
    (copy,) = copy_labs(course)
    written = {}
    for number, step in enumerate(steps):
        if step[0] == "write":
            path = copy.folder / "03_low_rank.ipynb"
            path.write_text(f"work {number} {step[1]}")
            written[path] = path.read_text()
        elif step[0] == "release":
            release(course, f"r{step[1]}", f"d{step[2]}")
        elif step[0] == "forget":
            (course / "my_labs" / workspace.RECORD).unlink(missing_ok=True)
        else:
            (copy,) = copy_labs(course)
        assert all(path.read_text() == work for path, work in written.items())
    (copy,) = copy_labs(course)
    notebook = copy.folder / "03_low_rank.ipynb"
    released = json.loads((course / "my_labs" / workspace.RECORD).read_text())["03_low_rank"]["files"]
    assert notebook in written or notebook.read_bytes() == (course / "labs" / NOTEBOOK).read_bytes()
    assert released == workspace._checksums(course / "labs" / "03_low_rank")


def test_the_course_is_found_from_inside_it(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_course(course / "labs" / "03_low_rank" / "desk") == course
    monkeypatch.chdir(course / "labs")
    assert find_course() == course


def test_no_course_is_wrong_use_and_says_what_would_be_one(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"no labs/NN_name/.*nutshell release"):
        find_course(tmp_path)
