"""How fast ``nutshell grade`` is beside ``nbgrader autograde``, measured side by side on the same submissions.

    python -m autograder.benchmark

writes ``results/grading.json``. About half an hour on two cores, most of it nbgrader's; nothing else should run
meanwhile. Every submission differs from the others, in its text and in the network handed in, so nothing is found in a
cache. Ours are whole commands at full isolation, publishing and feedback included; nbgrader's is autograding alone,
without its feedback. The steady rate is that of the submissions by which a long run exceeds a short one, so that
start-up cancels out.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
SHORT = 10  # submissions of nbgrader's short run
NOISE = 1e-5  # relative, on the weights of the network handed in: another file, and the same error


@dataclass(frozen=True)
class Lab:
    """A lab to grade: its words, the exercises that stay (all if empty), and the submissions of our long run."""

    name: str
    words: str
    exercises: tuple[str, ...]
    many: int


LABS = (
    Lab("one_exercise", "one exercise", (EXERCISE,), 350),
    Lab("whole_unit", "the whole of unit 03", (), 150),
)


@click.command()
@click.option("--submissions", default=50, show_default=True, help="Of the whole command that is compared.")
@click.option("--rounds", default=3, show_default=True, help="Each measures everything once.")
@click.option("--save/--no-save", "keep", default=True, show_default=True, help="Write results/grading.json.")
def main(submissions: int, rounds: int, keep: bool) -> None:
    """Measure both graders, in turns."""
    with tempfile.TemporaryDirectory(prefix="nutshell-benchmark-") as place:
        rooms = {lab.name: _made(Path(place) / lab.name, lab, max(lab.many, submissions)) for lab in LABS}
        data = units.load(UNIT).unit.budgets[0].data
        measured: list[dict[str, Any]] = []
        for number in range(rounds):
            for lab in LABS:
                row = {"lab": lab.name, "round": number, **_measure(rooms[lab.name], lab, submissions)}
                measured.append(row)
                click.echo(f"{lab.words}: {_words(row)}")
    labs = {lab.name: {"words": lab.words, **_together([r for r in measured if r["lab"] == lab.name])} for lab in LABS}
    if keep:
        machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"
        results.save(
            "grading", command=COMMAND, data=data, machine=machine, submissions=submissions, labs=labs, rounds=measured
        )


def _measure(room: Path, lab: Lab, submissions: int) -> dict[str, float]:
    """Seconds of the four runs, and what follows from them."""
    theirs_short = _run(room, SHORT, _nbgrader)
    ours_short = _run(room, submissions, _nutshell)
    theirs_long = _run(room, submissions, _nbgrader)
    ours_long = _run(room, lab.many, _nutshell)
    theirs_rate = 60 * (submissions - SHORT) / (theirs_long - theirs_short)
    ours_rate = 60 * (lab.many - submissions) / (ours_long - ours_short)
    return {
        "nbgrader_seconds": theirs_long,
        "nutshell_seconds": ours_short,
        "whole_command_ratio": theirs_long / ours_short,
        "nbgrader_a_minute": theirs_rate,
        "nutshell_a_minute": ours_rate,
        "steady_ratio": ours_rate / theirs_rate,
    }


def _words(row: dict[str, Any]) -> str:
    return (
        f"whole command {row['nbgrader_seconds']:.1f} s against {row['nutshell_seconds']:.1f} s, "
        f"{row['whole_command_ratio']:.1f}×; steady {row['nbgrader_a_minute']:.1f} a minute against "
        f"{row['nutshell_a_minute']:.0f}, {row['steady_ratio']:.1f}×"
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


def _run(room: Path, number: int, command: Any) -> float:
    """Seconds of a grader's whole command on the first submissions of a classroom, in a fresh copy of it."""
    with tempfile.TemporaryDirectory(prefix="nutshell-benchmark-") as place:
        folder = Path(place) / "room"
        shutil.copytree(room, folder, ignore=shutil.ignore_patterns("waiting"))
        for student in sorted((room / "waiting").iterdir())[:number]:
            shutil.copytree(student, folder / "submitted" / student.name)
        unit = next((folder / "source").iterdir()).name
        environment = {**os.environ, "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
        started = time.perf_counter()
        done = subprocess.run(command(unit), cwd=folder, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        graded = sorted((folder / "autograded").glob("*/*/*.ipynb"))
        if done.returncode != 0 or len(graded) != number:
            raise Trouble(f"{command(unit)} graded {len(graded)} of {number}:\n{done.stderr[-2000:]}")
    return seconds


def _nutshell(unit: str) -> list[str]:
    return [str(Path(sys.executable).parent / "nutshell"), "grade", ".", "--assignment", unit]


def _nbgrader(unit: str) -> list[str]:
    return [str(Path(sys.executable).parent / "nbgrader"), "autograde", unit]


if __name__ == "__main__":
    main()
