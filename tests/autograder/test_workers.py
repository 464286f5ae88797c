"""Real workers with real sandboxes, on this machine and on a Dask cluster: the same verdicts, and nothing left over."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import nbformat
import pytest

from autograder import classroom, pool, units
from autograder.demo import solutions_of
from autograder.grading import grade
from nutshell.errors import Trouble

UNIT = "01_counting"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A classroom with one right submission, one with two wrong cells and one that is blank."""
    folder = tmp_path_factory.mktemp("workers") / "room"
    classroom.make(folder, ("counting",))
    source = units.load("counting")
    right = solutions_of(source, source.unit)
    wrong = right | {"solution_layer_cost": "import os\nos._exit(1)", "solution_audit": "1 / 0"}
    for student, texts in (("ada", right), ("ben", wrong), ("cleo", {})):
        place = folder / "submitted" / student / UNIT
        shutil.copytree(folder / "release" / UNIT, place)
        notebook = nbformat.read(place / f"{UNIT}.ipynb", as_version=4)
        for cell in notebook.cells:
            cell.source = texts.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        nbformat.write(notebook, place / f"{UNIT}.ipynb")
    return folder


def verdicts(folder: Path) -> dict[str, dict]:
    """What was found, by file, without the times."""
    found = {}
    for path in sorted((folder / "verdicts" / UNIT).glob("*.json")):
        verdict = json.loads(path.read_text())
        verdict.pop("seconds")
        for exercise in verdict["exercises"]:
            for check in exercise["checks"]:
                check.pop("seconds")
        found[path.name] = verdict
    return found


def forget(folder: Path) -> None:
    shutil.rmtree(folder / "verdicts", ignore_errors=True)


def descendants(pid: int) -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = int(path.parent.name), int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found |= {number} | descendants(number)
    return found


def sandboxes() -> set[int]:
    """Processes of this machine that serve children; other tests may run some too."""
    return {pid for pid in descendants(os.getpid()) if "fork_server" in command(pid)}


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_local_workers_and_a_cluster_find_the_same(room):
    from distributed import LocalCluster

    forget(room)
    local = grade(room, workers=2)
    marks = {row["student"]: row["points"] for row in local.marks}
    possible = units.load("counting").unit
    assert marks["ada"] == sum(exercise.points for exercise in possible.exercises) and marks["cleo"] == 0
    assert marks["ben"] == marks["ada"] - sum(possible.exercise(name).points for name in ("layer_cost", "audit"))
    assert not sandboxes(), "a sandbox is left after the run"
    before = verdicts(room)
    forget(room)
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster:
        remote = grade(room, scheduler=cluster.scheduler_address)
    assert remote.graded == 3 and verdicts(room) == before
    assert {row["student"]: row["points"] for row in remote.marks} == marks


def test_a_worker_that_is_killed_costs_nobody_a_mark(room):
    forget(room)
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            found = [pid for pid in descendants(os.getpid()) if "bwrap" in command(pid)]
            for pid in found[:1]:
                worker = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    found = grade(room, workers=1)
    thread.join()
    assert killed and not found.trouble and found.graded == 3
    assert len({row["points"] for row in found.marks}) == 3 and not sandboxes()


def test_no_scheduler_at_that_address_is_trouble(room, monkeypatch):
    monkeypatch.setattr(pool, "CONNECTING", 1.0)
    forget(room)
    with pytest.raises(Trouble, match="no Dask scheduler at"):
        grade(room, scheduler="tcp://127.0.0.1:1")
