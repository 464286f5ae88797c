"""Reading what was handed in: what is refused and in which words, and that nothing outside the folder is ever read."""

import json
import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder import hand_in as reading
from autograder import intake
from autograder.released import Lab
from autograder.units import Source
from autograder.verdicts import Submission
from nutshell.errors import Refused, Trouble
from tests.autograder import released_lab
from tests.autograder.released_lab import NAME, as_notebook, changed, code, filled_in, hand_in, name_of

NOTEBOOK = f"{NAME}.ipynb"
SECRET = b"the instructor's secret"
FUZZED = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def lab(tiny: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(reading, "PAUSE", 0)
    (tmp_path / "secret").write_bytes(SECRET)
    return released_lab.write_classroom(tmp_path, tiny())


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Path:
    """The folder of Ada's submission, with both exercises solved."""
    return hand_in(tmp_path, filled_in(tmp_path))


@pytest.fixture
def read(lab: Lab, tmp_path: Path) -> Callable[..., Submission]:
    return lambda student="ada": intake.read(tmp_path, lab, student)


@pytest.fixture
def refusal(read: Callable[..., Submission]) -> Callable[..., str]:
    """Why reading is refused; the message says what, which rule, and the way out."""

    def why(student: str = "ada") -> str:
        with pytest.raises(Refused) as refused:
            read(student)
        message = str(refused.value)
        assert message.startswith("submitted/") and message.endswith(".") and "\n" not in message
        assert len(message) < 600
        return message

    return why


# ---- the lab


def test_a_lab_is_what_learners_got(lab: Lab) -> None:
    kinds = {cell.name: cell.kind for cell in lab.named}
    assert kinds == {
        "given_1": "given", "solution_half": "solution", "check_half": "check",
        "solution_clip_at": "solution", "check_clip_at": "check", "given_2": "given",
    }  # fmt: skip
    text = "\n".join(cell.source for cell in lab.cells)
    assert "0.5 * x" not in text and "grade_here" not in text and "raise NotImplementedError" in text
    assert dict(lab.files) == {"desk/unit.json": b"{}"}


def test_a_lab_whose_release_is_stale_or_missing_is_the_instructor_s_trouble(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "release" / NAME / NOTEBOOK
    notebook = json.loads(path.read_bytes())
    path.write_text(json.dumps(notebook | {"cells": notebook["cells"][3:]}))
    with pytest.raises(Trouble, match=r"has other cells than .* nutshell classroom"):
        intake.read_lab(tmp_path, NAME)
    path.unlink()
    with pytest.raises(Trouble, match="nutshell classroom"):
        intake.read_lab(tmp_path, NAME)


# ---- whose work there is


def test_students_are_the_folders_with_this_lab_and_links(lab: Lab, tmp_path: Path) -> None:
    assert intake.students(tmp_path, NAME) == []
    for student in ("zoe", "ada", ".hidden", "Ünal İ"):
        hand_in(tmp_path, [], student)
    (tmp_path / "submitted" / "other" / "02_other").mkdir(parents=True)
    (tmp_path / "submitted" / "linked").symlink_to(tmp_path)
    (tmp_path / "submitted" / "ada.zip").write_bytes(b"")
    assert intake.students(tmp_path, NAME) == ["ada", "linked", "zoe", "Ünal İ"]


@pytest.mark.parametrize("student", ["../x", "a/b", "..", "", ".git", "-rf", "a\nb", "a\u202eb", "x" * 256, " a", "\0"])
def test_a_student_s_strange_name_is_refused(refusal: Callable[..., str], student: str) -> None:
    assert "name" in refusal(student)


def test_a_student_who_handed_nothing_in_is_named(refusal: Callable[..., str]) -> None:
    assert refusal("eve") == f"submitted/eve/{NAME} isn't there. Hand in the lab's folder under that name."


# ---- files


def test_files_are_read_as_bytes_and_what_programs_leave_behind_is_not(
    place: Path, read: Callable[..., Submission]
) -> None:
    kept = {"tiny.nut": b"\0\1", "-notes.txt": b"", "data/deep/x.csv": b"1", "data/timestamp.txt": b"2", "ü ñ.py": b"3"}
    left_out = [".git/config", "__pycache__/a.pyc", ".ipynb_checkpoints/a.ipynb", "data/__pycache__/b.pyc", ".DS_Store"]
    for name, content in [*kept.items(), *((name, b"no") for name in left_out)]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    assert read().files == kept | {"desk/unit.json": b"{}"}


def test_the_released_desk_is_put_in_place_of_the_learner_s(place: Path, read: Callable[..., Submission]) -> None:
    (place / "desk").mkdir()
    (place / "desk" / "progress.json").write_bytes(b"mine")
    (place / "desk" / "unit.json").write_bytes(b"{}")
    assert read().notes == ()
    (place / "desk" / "unit.json").write_bytes(b"[]")
    (place / "desk" / "more.py").write_bytes(b"")
    assert read().files == {"desk/unit.json": b"{}"}
    assert read().notes == ("desk/more.py, desk/unit.json had been changed or added; desk/ counts as released",)


def test_a_file_called_desk_gives_way_to_the_folder(place: Path, read: Callable[..., Submission]) -> None:
    (place / "desk").write_bytes(b"")
    assert read().files == {"desk/unit.json": b"{}"}


@pytest.mark.parametrize("target", ["secret", "release", "missing", "/dev/zero"])
@pytest.mark.parametrize("name", ["tiny.nut", "data/tiny.nut", "desk", NOTEBOOK])
def test_a_link_is_refused(place: Path, tmp_path: Path, refusal: Callable[..., str], name: str, target: str) -> None:
    path = place / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / target)
    assert refusal() == (
        f"submitted/ada/{NAME}/{name} is a link, and only files are read. Put the file itself in its place."
    )


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_on_the_way_that_is_a_link_is_refused(
    place: Path, tmp_path: Path, refusal: Callable[..., str], depth: int, target: str
) -> None:
    path = [place.parent, place][depth]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / target)
    assert refusal().startswith(f"{path.relative_to(tmp_path)} is a link, not a folder. Put the folder")


def test_submitted_itself_may_be_a_link(place: Path, tmp_path: Path, read: Callable[..., Submission]) -> None:
    (tmp_path / "submitted").rename(tmp_path / "share")
    (tmp_path / "submitted").symlink_to(tmp_path / "share")
    assert read().notes == ()


def test_pipes_and_sockets_are_refused_and_not_waited_for(place: Path, refusal: Callable[..., str]) -> None:
    os.mkfifo(place / "pipe")
    assert "/pipe is a pipe" in refusal()
    (place / "pipe").unlink()
    here = os.getcwd()
    os.chdir(place)  # a socket's whole path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        os.chdir(here)
        assert "/socket is a socket" in refusal()


def test_a_file_where_the_folder_should_be_is_refused(place: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    hand_in(tmp_path, [], "ben")
    (tmp_path / "submitted" / "ben" / NAME / NOTEBOOK).unlink()
    (tmp_path / "submitted" / "ben" / NAME).rmdir()
    (tmp_path / "submitted" / "ben" / NAME).write_bytes(b"")
    assert "is a file, not a folder" in refusal("ben")


def test_what_may_not_be_read_is_refused(
    place: Path, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading.os, "read", denied)  # as root, permissions alone don't stop anybody
    assert "can't be read (Permission denied)" in refusal()


def test_a_failing_disk_is_not_the_learner_s_fault(
    place: Path, read: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reading.os, "read", failing)
    with pytest.raises(Trouble, match="Input/output error"):
        read()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a\nb", r"a\nb has a name that holds characters that can't be seen"),
        ("a\x1b[31m", "can't be seen"),
        ("gpj.\u202eexe", "can't be seen"),
        (b"\xff\xfe", "can't be seen"),
        ("..\\x", "holds a slash or backslash"),
        (" x", "begins or ends with a space"),
        ("01_TINY.ipynb", f"differs from {NOTEBOOK} by upper and lower case or by Unicode form only"),
        ("０1_tiny.ipynb", "by Unicode form only"),
    ],
)
def test_a_file_s_strange_name_is_refused(place: Path, refusal: Callable[..., str], name: Any, rule: str) -> None:
    with open(os.path.join(os.fsencode(place), os.fsencode(name)), "wb"):
        assert rule in refusal()


def test_sizes_are_bounded_before_anything_is_read(place: Path, refusal: Callable[..., str]) -> None:
    with open(place / "big.nut", "wb") as file:
        file.truncate(64 * 2**20 + 1)
    assert "big.nut has 67,108,865 bytes, and may have 67,108,864. Make it smaller." in refusal()
    (place / "big.nut").unlink()
    with open(place / NOTEBOOK, "r+b") as file:
        file.truncate(20 * 2**20 + 1)
    assert f"{NOTEBOOK} has 20,971,521 bytes, and may have 20,971,520" in refusal()


def test_sizes_together_numbers_and_depth_are_bounded(
    place: Path, read: Callable[..., Submission], refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(199):
        (place / f"{number}.txt").write_bytes(b"1234567890")
    read()
    monkeypatch.setattr(reading, "MOST_TOGETHER", 4_000)
    assert "has more than 4,000 bytes together" in refusal()
    (place / "one_more.txt").write_bytes(b"")
    assert "holds more than 200 files or 100 folders" in refusal()


def test_folders_are_bounded_in_number_and_depth(place: Path, refusal: Callable[..., str]) -> None:
    (place / "/".join("d" * 13)).mkdir(parents=True)
    assert "lies deeper than 12 folders" in refusal()
    for number in range(101):
        (place / str(number)).mkdir()
    assert "holds more than 200 files or 100 folders" in refusal()


# ---- files that change while they are read


def test_a_file_that_grows_while_it_is_read_is_read_again(
    place: Path, read: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "tiny.nut").write_bytes(b"half")
    honest, written = os.read, []

    def read_meanwhile(fd: int, size: int) -> bytes:
        part = honest(fd, size)
        if not written and part.startswith(b"half"):
            written.append((place / "tiny.nut").write_bytes(b"half and half"))
        return part

    monkeypatch.setattr(reading.os, "read", read_meanwhile)
    assert read().files["tiny.nut"] == b"half and half"


def test_a_file_that_changes_after_it_was_read_is_read_again(
    place: Path, read: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "a.nut").write_bytes(b"old")
    (place / "b.nut").write_bytes(b"b")
    honest, written = os.read, []

    def read_meanwhile(fd: int, size: int) -> bytes:
        part = honest(fd, size)
        if not written and part == b"b":
            written.append((place / "a.nut").write_bytes(b"new"))
            os.utime(place / "a.nut", ns=(1, 1))
        return part

    monkeypatch.setattr(reading.os, "read", read_meanwhile)
    assert read().files["a.nut"] == b"new"


def test_a_folder_that_never_stands_still_is_refused_for_now(
    place: Path, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.read

    def read_meanwhile(fd: int, size: int) -> bytes:
        with open(place / "log.txt", "ab") as file:
            file.write(b"x")
        return honest(fd, size)

    monkeypatch.setattr(reading.os, "read", read_meanwhile)
    assert "is being written. Grade it again when it is complete." in refusal()
    with pytest.raises(intake.BeingWritten):
        raise intake.BeingWritten


@pytest.mark.parametrize(
    ("what", "look", "rule"),
    [
        ("file", 1, "data/secret is a link"),
        ("pipe", 1, "data/secret is a pipe"),
        ("folder", 1, "data is a link"),
        ("folder", 2, "data is a link"),
    ],
)
def test_what_is_swapped_between_two_looks_is_not_read(
    place: Path,
    tmp_path: Path,
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    look: int,
    rule: str,
) -> None:
    (place / "data").mkdir()
    (place / "data" / "secret").write_bytes(b"harmless")
    honest_stat, honest_read, seen = os.stat, os.read, []
    victim = place / "data" if what == "folder" else place / "data" / "secret"
    looks: list[Any] = []

    def stat_and_swap(path: Any, **more: Any) -> os.stat_result:
        found = honest_stat(path, **more)
        looks.extend([path] if path == victim.name else [])
        if len(looks) == look and not os.path.lexists(tmp_path / "away"):
            os.rename(victim, tmp_path / "away")
            if what == "pipe":
                os.mkfifo(victim)
            else:
                os.symlink(tmp_path / "secret" if what == "file" else tmp_path, victim)
        return found

    def watch(fd: int, size: int) -> bytes:
        seen.append(honest_read(fd, size))
        return seen[-1]

    monkeypatch.setattr(reading.os, "stat", stat_and_swap)
    monkeypatch.setattr(reading.os, "read", watch)
    assert f"/{NAME}/{rule}" in refusal()
    assert SECRET not in seen and b"" not in seen


# ---- the time


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2030-10-31 22:59:00 UTC", datetime(2030, 10, 31, 22, 59)),
        ("2030-10-31 22:59:00.123456 UTC\n", datetime(2030, 10, 31, 22, 59, 0, 123456)),
        ("2030-10-31 23:59:00 Europe/Berlin", datetime(2030, 10, 31, 22, 59)),
        ("2030-10-31T23:59:00+01:00", datetime(2030, 10, 31, 22, 59)),
        ("", None),
    ],
)
def test_the_time_is_read_as_nbgrader_reads_it(
    place: Path, read: Callable[..., Submission], text: str, when: datetime | None
) -> None:
    from nbgrader.utils import parse_utc

    (place / "timestamp.txt").write_text(text)
    assert read().handed_in == when == (parse_utc(text.strip()) if text else None)
    assert "timestamp.txt" not in read().files


def test_without_a_time_there_is_none(place: Path, read: Callable[..., Submission]) -> None:
    assert read().handed_in is None


@pytest.mark.parametrize(
    "text", [b"soon", b"\xff", b"2030-13-31 22:59:00 UTC", b"9" * 99, b"1" * 10_000, b"2030-10-31 22:59:00 /dev/zero"]
)
def test_what_is_no_time_is_refused(place: Path, refusal: Callable[..., str], text: bytes) -> None:
    (place / "timestamp.txt").write_bytes(text)
    assert "timestamp.txt isn't a date such as 2030-10-31 22:59:00 UTC. Correct or delete it." in refusal()


# ---- notebooks


def test_a_missing_notebook_is_named_and_so_is_the_only_other_one(place: Path, refusal: Callable[..., str]) -> None:
    (place / NOTEBOOK).rename(place / "lab (1).ipynb")
    assert refusal() == (
        f"submitted/ada/{NAME}/{NOTEBOOK} is missing; the only notebook is 'lab (1).ipynb'. "
        f"Hand it in as {NOTEBOOK}, beside the folder desk."
    )
    (place / "lab (2).ipynb").write_bytes(b"")
    assert "is missing; there are 2 others. Hand in the lab's notebook under the name" in refusal()


DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "isn't valid JSON"),
        (b"\x80\x04K\x01.", "isn't text in UTF-8"),
        (b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested too deeply"),
        (b"[" * 1_000_001, "has more than 1,000,000 brackets"),
        (b"[]", "no JSON object with a list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "no JSON object with a list of cells"),
        (b'{"nbformat": 3, "worksheets": []}', "has the format 3, and must have nbformat 4"),
        (b'{"nbformat": 4}', "must have nbformat 4"),
        (b'{"nbformat": true, "cells": []}', "must have nbformat 4"),
        (b'{"cells": []}', "has the format None"),
        (b'{"nbformat": 4, "cells": [], "cells": []}', "the key 'cells' stands twice in one object"),
        (as_notebook([]).replace(b"4,", b"9" * 5000 + b",", 1), "isn't valid JSON"),
        (as_notebook([code("")] * 2001), "has 2,001 cells, and may have 2,000"),
        (as_notebook([[]]), "cell 1 is no cell"),  # type: ignore[list-item]
        (as_notebook([code(""), {"source": ""}]), "cell 2 is no cell"),
        (as_notebook([code(1)]), "the source of cell 1 is neither a text nor a list of lines"),  # type: ignore[arg-type]
        (as_notebook([code(["a", 1])]), "the source of cell 1 is neither"),  # type: ignore[arg-type]
        (as_notebook([{"cell_type": "code"}]), "the source of cell 1 is neither"),
    ],
)
def test_a_damaged_notebook_is_refused(lab: Lab, tmp_path: Path, refusal: Callable, content: bytes, rule: str) -> None:
    hand_in(tmp_path, content)
    message = refusal()
    assert rule in message and NOTEBOOK in message


def test_odd_but_readable_notebooks_are_read(lab: Lab, tmp_path: Path, read: Callable[..., Submission]) -> None:
    cells = filled_in(tmp_path)
    for cell in cells:
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell.pop("id")
    odd = [
        code("x = '\ud800'"),
        code("y", metadata=[]),
        code("z", metadata={"nbgrader": 1}),
    ]
    hand_in(tmp_path, b"\xef\xbb\xbf" + as_notebook([*cells, *odd], nbformat_minor=2))
    submission = read()
    assert submission.notes == ()
    assert [cell.source for cell in submission.cells[-3:]] == ["x = '?'", "y", "z"]


@FUZZED
@given(content=st.binary(max_size=300))
def test_bytes_as_notebook_are_refused_and_nothing_else(
    lab: Lab, tmp_path: Path, read: Callable[..., Submission], content: bytes
) -> None:
    hand_in(tmp_path, content)
    with pytest.raises(Refused):
        read()


@FUZZED
@given(data=st.data())
def test_a_notebook_with_flipped_bytes_is_read_or_refused(
    lab: Lab, tmp_path: Path, read: Callable[..., Submission], data: st.DataObject
) -> None:
    content = bytearray((tmp_path / "release" / NAME / NOTEBOOK).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    hand_in(tmp_path, bytes(content))
    read_or_refused(read)


def json_like() -> st.SearchStrategy[Any]:
    simple = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
    return st.recursive(
        simple, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
    )


@FUZZED
@given(data=st.data())
def test_a_notebook_with_parts_of_another_kind_is_read_or_refused(
    lab: Lab, tmp_path: Path, read: Callable[..., Submission], data: st.DataObject
) -> None:
    cells = filled_in(tmp_path)
    at, odd = data.draw(st.integers(0, len(cells) - 1)), data.draw(json_like())
    cell: Any = cells[at]
    match data.draw(
        st.sampled_from(["cell", "metadata", "nbgrader", "grade_id", "points", "source", "type", "notebook"])
    ):
        case "cell":
            cells[at] = odd
        case "metadata":
            cell["metadata"] = odd
        case "nbgrader":
            cell["metadata"]["nbgrader"] = odd
        case "grade_id":
            cell["metadata"]["nbgrader"] = {"grade_id": odd}
        case "points":
            cell["metadata"].setdefault("nbgrader", {})["points"] = odd
        case "source":
            cell["source"] = [odd]
        case "type":
            cell["cell_type"] = odd
        case _:
            cells = odd
    hand_in(tmp_path, as_notebook(cells))
    read_or_refused(read)


def read_or_refused(read: Callable[..., Submission]) -> None:
    from autograder import rebuild

    try:
        submission = read()
    except Refused:
        return
    given_cells = [cell.name for cell in submission.cells if cell.name.startswith("given_")]
    assert given_cells == ["given_1", "given_2"]
    json.dumps(submission.notes).encode()
    "".join(cell.source for cell in submission.cells).encode()
    assert rebuild.digest(submission.cells, submission.files, submission.notebook["cells"]) == submission.digest


def test_two_submissions_with_the_same_work_have_the_same_digest(
    lab: Lab, tmp_path: Path, read: Callable[..., Submission]
) -> None:
    cells = filled_in(tmp_path)
    for student, work in (("ada", cells), ("ben", cells)):
        hand_in(tmp_path, work, student)
    hand_in(tmp_path, changed(cells, "solution_half", lambda cell: cell.update(source="half = 1")), "cleo")
    assert read("ada").digest == read("ben").digest != read("cleo").digest
    assert name_of(cells[1]) == "given_1"
