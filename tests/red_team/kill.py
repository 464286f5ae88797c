"""``python -m tests.red_team.kill --times 100``: interrupt grading at random moments, and end with the same marks.

The coordinator, a worker or a sandbox is killed by SIGKILL at a moment drawn at random over the length of a whole run;
then grading is started again. What it ends with is compared with an uninterrupted run: marks, verdicts, feedback, rows
of the gradebook; and no process, mount or file may be left.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from tests.red_team.attack import CRASH, NOT_DONE, OK, RAISED, WRONG, Attack, half
from tests.red_team.catalogue.hand_ins import honest
from tests.red_team.left_behind import Watch, descendants
from tests.red_team.room import REPOSITORY, Room

RESULTS = REPOSITORY / "results" / "kill_test.json"
TARGETS = ("coordinator", "coordinator", "worker", "sandbox")


def submissions(count: int) -> list[Attack]:
    """A class of all kinds, no two alike."""
    kinds = [
        ("right", "return x / 2", OK),
        ("wrong", "return x / 3", WRONG),
        ("raises", "raise ValueError(x)", RAISED),
        ("crashes", "import os; os._exit(0)", CRASH),
        ("stub", "raise NotImplementedError", NOT_DONE),
    ]
    made = []
    for number in range(count):
        name, body, status = kinds[number % len(kinds)]
        files = {"small.nut": honest(number)} if number % 8 == 3 else {}
        code = half(f"# {number}\ndef half(x):\n    {body}\n")
        made.append(Attack(f"{name} {number}", "", (status,), code, files=files))
    return made


@dataclass
class Killed:
    """What a kill test found.

    Attributes
    ----------
    moments : list of dict
        Who was killed, after how many seconds, and whether grading went on by itself.
    rounds : int
        Classrooms that were graded to the end.
    faults : list of str
        In which ways one ended otherwise than without interruptions.
    """

    moments: list[dict[str, Any]] = field(default_factory=list)
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(place: Path, times: int, seed: int, students: int = 20) -> Killed:
    """Interrupt grading a number of times.

    Parameters
    ----------
    place : Path
        An empty folder.
    times : int
        Kills in all.
    seed : int
        Draws moments and targets.
    students : int
        Submissions of the class.
    """
    chance, started, found = random.Random(seed), time.monotonic(), Killed()
    room = Room(place)
    room.make()
    for submission in submissions(students):
        room.submit(submission)
    template = place / "template"
    shutil.copytree(room.folder, template, symlinks=True)
    watch = Watch(room)
    begun = time.monotonic()
    done = room.grade()
    length = time.monotonic() - begun
    if done.returncode not in (0, 1):
        raise RuntimeError(f"Without any kill, grading ended with {done.returncode}: {room.said[-2000:]}")
    wanted, bar = outcome(room), tqdm(total=times, desc="Killing", unit="kill", mininterval=1)
    while len(found.moments) < times:
        shutil.rmtree(room.folder)
        shutil.copytree(template, room.folder, symlinks=True)
        length = interrupted(room, chance, length, times, found, bar)
        found.rounds += 1
        got = outcome(room)
        found.faults += [
            f"round {found.rounds}: {name} differs: {_difference(wanted[name], got[name])}"
            for name in wanted
            if got[name] != wanted[name]
        ]
        found.faults += [f"round {found.rounds}: {left}" for left in watch.left()]
        watch.end()
    bar.close()
    found.seconds = time.monotonic() - started
    room.clear()
    return found


def interrupted(room: Room, chance: random.Random, length: float, times: int, found: Killed, bar: Any) -> float:
    """Grade a classroom to the end, killing on the way as long as kills are left; how long a run is now."""
    while True:
        grading = room.start("grade", str(room.folder))
        killed, begun = [], time.monotonic()
        while len(found.moments) < times and grading.poll() is None:  # a worker's end doesn't end the run: kill again
            target = chance.choice(TARGETS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                grading.wait(chance.uniform(0, length))
            if grading.poll() is None and kill(grading.pid, target, chance):
                killed.append(dict(target=target, seconds=round(time.monotonic() - begun, 2)))
                found.moments.append(killed[-1])
                bar.update()
        said, complaint = grading.communicate(timeout=600)
        complete = grading.returncode in (0, 1) and said.startswith("{")  # an exception of Python's ends with 1 too
        for moment in killed:
            moment["went_on"] = complete
        if complete:
            return length if killed else min(length, time.monotonic() - begun)
        if not killed:
            found.faults.append(f"grading ended with {grading.returncode}: {complaint[-1000:] or said[-1000:]}")
            return length


def kill(coordinator: int, target: str, chance: random.Random) -> bool:
    """Kill the coordinator, or one of its workers or sandboxes; False if there is none yet."""
    pids = [coordinator]
    if target != "coordinator":
        below = descendants(coordinator)
        word = "multiprocessing.forkserver" if target == "worker" else "bwrap"
        pids = [pid for pid, words in below.items() if word in words.split(" --")[0]]
    if not pids:
        return False
    with contextlib.suppress(ProcessLookupError):  # it has ended a moment ago
        os.kill(chance.choice(pids), signal.SIGKILL)
        return True
    return False


def outcome(room: Room) -> dict[str, Any]:
    """What grading has made: marks, statuses, rows of the gradebook, pages, and files that were never finished."""
    verdicts = room.verdicts()
    statuses = {
        student: [(one["name"], one["status"], one["points"]) for one in (*verdict["exercises"], *verdict["budgets"])]
        for student, verdict in verdicts.items()
    }
    with contextlib.closing(sqlite3.connect(room.folder / "gradebook.db")) as base:
        tables = ("student", "submitted_assignment", "submitted_notebook", "grade", "comment")
        rows = {name: base.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    pages = sorted(
        str(path.relative_to(room.folder))
        for step in ("feedback", "autograded")
        for path in (room.folder / step).rglob("*")
        if path.is_file()
    )
    unfinished = sorted(path.name for path in room.folder.rglob("*.unfinished"))
    return dict(marks=room.marks(), statuses=statuses, rows=rows, pages=pages, unfinished=unfinished)


def _difference(wanted: Any, got: Any) -> str:
    if isinstance(wanted, dict):
        return "; ".join(
            f"{key}: {got.get(key)} instead of {wanted.get(key)}"
            for key in sorted({*wanted, *got})
            if got.get(key) != wanted.get(key)
        )[:500]
    return f"{sorted(set(got) ^ set(wanted))}"[:500]


@click.command()
@click.option("--times", default=100, show_default=True, help="Kills.")
@click.option("--students", default=20, show_default=True, help="Submissions.")
@click.option("--seed", default=1, show_default=True, help="Draws moments and targets.")
@click.option("--write", is_flag=True, help=f"Write results/{RESULTS.name}.")
def main(times: int, students: int, seed: int, write: bool) -> None:
    """Interrupt grading at random moments; 1 if it ends otherwise than without interruptions."""
    with tempfile.TemporaryDirectory(prefix="nutshell-kill-", ignore_cleanup_errors=True) as place:
        found = run(Path(place), times, seed, students)
    counts = {target: sum(moment["target"] == target for moment in found.moments) for target in dict.fromkeys(TARGETS)}
    data = dict(
        command=f"python -m tests.red_team.kill --times {times} --students {students} --seed {seed} --write",
        data=f"{students} submissions made up by the test",
        kills=len(found.moments),
        by_target=counts,
        students=students,
        rounds=found.rounds,
        faults=found.faults,
        went_on_by_itself=sum(moment["went_on"] for moment in found.moments),
        seconds=round(found.seconds),
        moments=found.moments,
    )
    if write:
        RESULTS.write_text(json.dumps(data, indent=1) + "\n")
    words = ", ".join(f"{count} of a {target}" for target, count in counts.items())
    print(
        f"{len(found.moments)} kills ({words}) in {found.rounds} rounds of {students} submissions, "
        f"{found.seconds:.0f} s."
    )
    print(
        "\n".join(found.faults)
        or "Marks, verdicts, feedback and rows of the gradebook are those of an uninterrupted run; "
        "nothing was left behind."
    )
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
