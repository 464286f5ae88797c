"""Faults that grading survives: nothing lost, nothing twice, and an unchanged rerun does no work."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.red_team import kill
from tests.red_team.attack import OK, Attack, half
from tests.red_team.left_behind import descendants
from tests.red_team.room import HERE, LAB, POINTS, Room

SLOW = half("import time\ndef half(x):\n    time.sleep(0.3)\n    return x / 2\n")
FULL = {name: points for name, points in POINTS.items() if name != "small"} | {"small": 0.0}
WRONG_MARKS = FULL | {"half": 0.0}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A classroom with three right answers, one of them slow, and a wrong one; not graded."""
    room = Room(tmp_path_factory.mktemp("template"))
    room.make()
    for name in ("ada", "ben"):
        room.submit(Attack(name, "", (OK,)))
    room.submit(Attack("cleo", "", (OK,), SLOW))
    room.submit(Attack("dora", "", ("WRONG",), half("def half(x):\n    return x / 3\n")))
    return room


@pytest.fixture
def room(template, tmp_path):
    """A copy of it."""
    made = Room(tmp_path)
    for folder in (made.home, made.tmp):
        folder.mkdir()
    shutil.copytree(template.folder, made.folder, symlinks=True)
    made.release, made.solutions = template.release, template.solutions
    return made


def wanted(**changed):
    return {"ada": FULL, "ben": FULL, "cleo": FULL, "dora": WRONG_MARKS} | changed


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def rows_of(room):
    return kill.outcome(room)["rows"]


def finished(grading):
    said, complaint = grading.communicate(timeout=300)
    return grading.returncode, said, complaint


def test_killed_at_random_moments_it_ends_with_the_same_marks(tmp_path):
    found = kill.run(tmp_path / "kill", times=2, seed=3, students=6)
    assert found.faults == [] and len(found.moments) == 2


def test_a_worker_lost_costs_nobody_a_mark(room):
    grading = room.start("grade", str(room.folder))
    until(lambda: any("bwrap" in words for words in descendants(grading.pid).values()) or grading.poll() is not None)
    workers = [
        pid for pid, words in descendants(grading.pid).items() if "multiprocessing" in words and "tracker" not in words
    ]
    for pid in workers[-2:]:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
    code, said, complaint = finished(grading)
    assert code == 0, complaint
    assert room.marks() == wanted() and not json.loads(said)["trouble"]


def test_of_two_graders_at_once_one_does_the_work(room):
    both = [room.start("grade", str(room.folder)) for _ in range(2)]
    ends = [finished(grading) for grading in both]
    assert sorted(end[0] for end in ends) in ([0, 0], [0, 3]), ends
    assert all("Another grader" in end[2] for end in ends if end[0] == 3)
    assert room.marks() == wanted() and rows_of(room)["submitted_assignment"] == 4


def test_a_gradebook_that_is_locked_for_a_while_is_waited_for(room):
    with contextlib.closing(sqlite3.connect(room.folder / "gradebook.db", isolation_level=None)) as base:
        base.execute("BEGIN EXCLUSIVE")
        grading = room.start("grade", str(room.folder))
        time.sleep(10)
        base.execute("ROLLBACK")
        code, _, complaint = finished(grading)
    assert code == 0, complaint
    assert room.marks() == wanted()


def test_a_full_disk_is_said_and_costs_nothing(room, tmp_path):
    script = f"""
set -e
mkdir {tmp_path}/small
mount -t tmpfs -o size=64m tmpfs {tmp_path}/small
cp -a {room.folder} {tmp_path}/small/room
dd if=/dev/zero of={tmp_path}/small/ballast bs=64k status=none || true
set +e
{sys.executable} {HERE}/grader.py grade {tmp_path}/small/room > {tmp_path}/first 2>&1
echo $? > {tmp_path}/first.code
set -e
rm {tmp_path}/small/ballast
{sys.executable} {HERE}/grader.py grade {tmp_path}/small/room > {tmp_path}/second
rm -rf {room.folder}
cp -a {tmp_path}/small/room {room.folder}
"""
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*own, "sh", "-c", script], env=room.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "first").read_text()
    assert (tmp_path / "first.code").read_text().strip() == "3", said
    assert "space" in said or "room" in said, said
    assert room.marks() == wanted()


def test_handed_in_again_while_it_is_graded_the_newer_one_counts_in_the_end(room):
    grading = room.start("grade", str(room.folder))
    until(lambda: any("bwrap" in words for words in descendants(grading.pid).values()) or grading.poll() is not None)
    newer = room.notebook(Attack("ada", "", (OK,), half("def half(x):\n    return x / 5\n")))
    path = room.folder / "submitted" / "ada" / LAB / f"{LAB}.ipynb"
    for part in (path.read_bytes()[:1000], json.dumps(newer).encode()):  # half of it first, as uploads are
        path.write_bytes(part)
        time.sleep(0.3)
    code, _, complaint = finished(grading)
    assert code in (0, 1), complaint
    assert {student: marks for student, marks in room.marks().items() if student != "ada"} == {
        student: marks for student, marks in wanted().items() if student != "ada"
    }
    assert room.grade().returncode == 0, room.said
    assert room.marks() == wanted(ada=WRONG_MARKS) and rows_of(room)["submitted_assignment"] == 4


def test_reruns_do_what_has_changed_and_nothing_else(room, monkeypatch, tmp_path):
    assert room.grade().returncode == 0, room.said
    assert room.marks() == wanted() and room.summary["graded"] == 4
    before = kill.outcome(room), (room.folder / "gradebook.db").read_bytes()
    assert room.grade().returncode == 0, room.said
    assert (room.summary["graded"], room.summary["known"], room.summary["published"]) == (0, 4, 0)
    assert (kill.outcome(room), (room.folder / "gradebook.db").read_bytes()) == before

    place = room.folder / "submitted"
    worse = room.notebook(Attack("ada", "", (OK,), half("def half(x):\n    return x / 5\n")))
    (place / "ada" / LAB / f"{LAB}.ipynb").write_text(json.dumps(worse))
    honest = (place / "ben" / LAB / f"{LAB}.ipynb").read_bytes()
    (place / "ben" / LAB / f"{LAB}.ipynb").write_text("no notebook")
    assert room.grade().returncode == 1, room.said  # a worse answer lowers the mark, a refused one keeps it
    assert room.marks() == wanted(ada=WRONG_MARKS)
    assert [row["student"] for row in room.summary["refused"]] == ["ben"] and room.summary["graded"] == 1

    (place / "ben" / LAB / f"{LAB}.ipynb").write_bytes(honest)
    shutil.copytree(HERE / "solutions", tmp_path / "units" / "solutions")
    unit = tmp_path / "units" / "solutions" / "gauntlet"
    for name, old, new in (("checks.py", "x / 2", "x / 3"), ("reference.py", "0.5 * x", "x / 3")):
        text = (unit / name).read_text()
        assert old in text
        (unit / name).write_text(text.replace(old, new))
    monkeypatch.setenv("NUTSHELL_UNITS", str(tmp_path / "units"))
    assert room.grade().returncode == 0, room.said  # changed checks: everything is graded anew
    assert (room.summary["graded"], room.summary["known"]) == (4, 0)
    assert room.marks() == dict.fromkeys(("ada", "ben", "cleo"), WRONG_MARKS) | {"dora": FULL}
