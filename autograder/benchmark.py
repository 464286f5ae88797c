"""How fast ``nutshell grade`` is beside ``nbgrader autograde``, measured side by side on the same submissions.

    python -m autograder.benchmark

writes ``results/grading.json``. About half an hour on two cores, most of it nbgrader's; nothing else should run
meanwhile. Every submission differs from the others, in its text and in the network handed in, so nothing is found in a
cache. Ours are whole commands at full isolation, publishing and feedback included; nbgrader's is autograding alone,
without its feedback. The steady rate is that of the submissions by which a long run exceeds a short one, so that
start-up cancels out. Memory is what all processes of a command hold together (proportional set size), looked at every
half second; the rerun is the same command once more, with nothing changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import nbformat
from tqdm import tqdm

from autograder import classroom, settings, units
from autograder.demo import partly_wrong, solutions_of
from autograder.notebooks import to_bytes
from nutshell import results
from nutshell.checks import Unit
from nutshell.errors import Trouble

COMMAND = "python -m autograder.benchmark"
UNIT = "low_rank"
EXERCISE = "truncate"  # of the lab with one
SHORT = 5  # submissions of nbgrader's short run
NOISE = 1e-5  # relative, on the weights of the network handed in: another file, and the same error


@dataclass(frozen=True)
class Lab:
    """A lab to grade: its words, the exercises that stay (all if empty), and submissions.

    ``few`` are graded by both, to compare whole commands; ``many`` by ours, for the steady rate.
    """

    name: str
    words: str
    exercises: tuple[str, ...]
    few: int
    many: int


LABS = (
    Lab("one_exercise", "one exercise", (EXERCISE,), 50, 1000),
    Lab("whole_unit", "the whole of unit 03", (), 20, 150),
)


@click.command()
@click.option("--rounds", default=1, show_default=True, help="Each measures everything once.")
@click.option("--save/--no-save", "keep", default=True, show_default=True, help="Write results/grading.json.")
def main(rounds: int, keep: bool) -> None:
    """Measure both graders, in turns."""
    with tempfile.TemporaryDirectory(prefix="nutshell-benchmark-") as place:
        rooms = {lab.name: _made(Path(place) / lab.name, lab, lab.many) for lab in LABS}
        data = units.load(UNIT).unit.budgets[0].data
        measured: list[dict[str, Any]] = []
        for number in range(rounds):
            for lab in LABS:
                row = {"lab": lab.name, "round": number, **_measure(rooms[lab.name], lab)}
                measured.append(row)
                click.echo(f"{lab.words}: {_words(row)}")
            if keep:
                _save(measured, data)


def _save(measured: list[dict[str, Any]], data: str) -> None:
    labs = {
        lab.name: {"words": lab.words, "submissions": lab.few, "many": lab.many}
        | _together([row for row in measured if row["lab"] == lab.name])
        for lab in LABS
    }
    machine = f"{len(os.sched_getaffinity(0))} cores"
    results.save("grading", command=COMMAND, data=data, machine=machine, labs=labs, rounds=measured)


def _measure(room: Path, lab: Lab) -> dict[str, float]:
    """Seconds of the four runs, and what follows from them."""
    theirs_short, _, _ = _run(room, SHORT, _nbgrader)
    ours_short, _, memory_short = _run(room, lab.few, _nutshell)
    theirs_long, _, _ = _run(room, lab.few, _nbgrader)
    ours_long, again, memory_long = _run(room, lab.many, _nutshell, again=True)
    theirs_rate = 60 * (lab.few - SHORT) / (theirs_long - theirs_short)
    ours_rate = 60 * (lab.many - lab.few) / (ours_long - ours_short)
    return {
        "nbgrader_seconds": theirs_long,
        "nutshell_seconds": ours_short,
        "whole_command_ratio": theirs_long / ours_short,
        "nbgrader_a_minute": theirs_rate,
        "nutshell_a_minute": ours_rate,
        "steady_ratio": ours_rate / theirs_rate,
        "nutshell_long_seconds": ours_long,
        "unchanged_rerun_seconds": again,
        "nutshell_memory_mb": memory_short,
        "nutshell_long_memory_mb": memory_long,
    }


def _words(row: dict[str, Any]) -> str:
    return (
        f"whole command {row['nbgrader_seconds']:.1f} s against {row['nutshell_seconds']:.1f} s, "
        f"{row['whole_command_ratio']:.1f}×; steady {row['nbgrader_a_minute']:.1f} a minute against "
        f"{row['nutshell_a_minute']:.0f}, {row['steady_ratio']:.1f}×; long run {row['nutshell_long_seconds']:.0f} s, "
        f"unchanged again {row['unchanged_rerun_seconds']:.1f} s; memory {row['nutshell_memory_mb']:.0f} MB and "
        f"{row['nutshell_long_memory_mb']:.0f} MB"
    )


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name, value in rows[0].items() if isinstance(value, float)]
    if len(rows) < 2:
        return {name: {"mean": rows[0][name], "spread": None} for name in names}
    pairs = {name: results.mean_and_spread([row[name] for row in rows]) for name in names}
    return {name: {"mean": mean, "spread": spread} for name, (mean, spread) in pairs.items()}


def _made(folder: Path, lab: Lab, number: int) -> Path:
    """A classroom with that many submissions in ``waiting/``."""
    classroom.make(folder, (UNIT,))
    source = units.load(UNIT)
    if lab.exercises:
        names = [item.name for item in source.unit.exercises] + [item.name for item in source.unit.budgets]
        off = [name for name in names if name not in lab.exercises]
        text = (folder / settings.FILE).read_text(encoding="utf-8")
        points = "\n".join(f"{name} = false" for name in off)
        text = text.replace(f"[{UNIT}.points]", f"[{UNIT}.points]\n{points}\n#", 1)
        (folder / settings.FILE).write_text(text, encoding="utf-8")
        classroom.make(folder)
    unit = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())]).unit(UNIT)
    right, wrong = solutions_of(source, unit), partly_wrong(source, unit)
    released = folder / "release" / unit.folder
    networks = _networks(unit)
    for student in tqdm(range(number), desc=f"Handing in, {lab.words}", leave=False, disable=None):
        place = folder / "waiting" / f"student{student:04d}" / unit.folder
        shutil.copytree(released, place)
        notebook = nbformat.read(released / f"{unit.folder}.ipynb", as_version=nbformat.NO_CONVERT)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            answer = wrong.get(name.removeprefix("solution_")) if student % 3 == 2 else None
            if name in right:
                cell.source = f"{answer or right[name]}\n# written by student {student}"
        (place / f"{unit.folder}.ipynb").write_bytes(to_bytes(notebook))
        for file, content in next(networks).items():
            (place / file).write_bytes(content)
    return folder


def _networks(unit: Unit) -> Iterator[dict[str, bytes]]:
    """Endlessly, files to hand in for the unit's budgets, each a little different from the others."""
    import torch

    from nutshell import artefact

    generator = torch.Generator().manual_seed(0)
    while True:
        files = {}
        for budget in unit.budgets:
            found = artefact.load(results.folder() / budget.file)
            with torch.no_grad():
                for parameter in found.network.parameters():
                    parameter.mul_(1 + NOISE * torch.randn(parameter.shape, generator=generator))
            files[budget.file] = artefact.to_bytes(found.network, input_shape=found.input_shape)
        yield files


def _run(
    room: Path, number: int, command: Callable[[str], list[str]], again: bool = False
) -> tuple[float, float, float]:
    """A grader's whole command on the first submissions of a classroom, in a fresh copy of it.

    Returns
    -------
    seconds, seconds again, megabytes : float
        The second is 0 if it wasn't run again.
    """
    with tempfile.TemporaryDirectory(prefix="nutshell-benchmark-") as place:
        folder = Path(place) / "room"
        shutil.copytree(room, folder, ignore=shutil.ignore_patterns("waiting"))
        for student in sorted((room / "waiting").iterdir())[:number]:
            shutil.copytree(student, folder / "submitted" / student.name)
        unit = next((folder / "source").iterdir()).name
        seconds, most = _timed(command(unit), folder)
        graded = len(list((folder / "autograded").glob("*/*/*.ipynb")))
        if graded != number:
            raise Trouble(f"{command(unit)} graded {graded} of {number}.")
        return seconds, _timed(command(unit), folder)[0] if again else 0.0, most


def _timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of a command, and the most megabytes that its processes held together."""
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    most = 0.0
    with tempfile.TemporaryFile("w+") as said:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        while True:
            try:
                child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                most = max(most, _megabytes(child.pid))
        seconds = time.perf_counter() - started
        if child.returncode != 0:
            said.seek(0)
            raise Trouble(f"{' '.join(command)} ended with {child.returncode}:\n{said.read()[-2000:]}")
    return seconds, most


def _megabytes(pid: int) -> float:
    """Proportional set size of a process and all that it started."""
    found = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found = int(line.split()[1]) / 1024
        children = [
            int(word)
            for path in Path(f"/proc/{pid}/task").iterdir()
            for word in (path / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return found
    return found + sum(_megabytes(child) for child in children)


def _nutshell(unit: str) -> list[str]:
    return [str(Path(sys.executable).parent / "nutshell"), "grade", ".", "--assignment", unit]


def _nbgrader(unit: str) -> list[str]:
    return [str(Path(sys.executable).parent / "nbgrader"), "autograde", unit]


if __name__ == "__main__":
    main()
