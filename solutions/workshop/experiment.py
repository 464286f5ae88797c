"""The workshop with the clock: its lab is run with its solutions, top to bottom, and each part's computing time kept.

    python -m solutions.workshop.experiment

writes ``results/workshop.json``, ``results/workshop.nut`` (the file that the lab hands in) and the table of times in
``docs/workshop.md``, in about two minutes. What is timed is computing in one thread, with the solutions there; the
minutes that people take are a plan. Beside it stand the two techniques that are shown: products of signs against
floats, and students of few images with and without a teacher, three seeds, on validation images. The test images are
looked at once, for the file handed in.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import nbformat
import numpy as np
import torch

from autograder import units
from autograder.notebooks import source_notebook
from autograder.release import build_lab
from nutshell import binary, checkpoints, data, measure, results
from nutshell.data.dataset import Dataset
from nutshell.explorers.workshop import taught

COMMAND = "python -m solutions.workshop.experiment"
SEEDS = (0, 1, 2)
EXAMPLES = (200, 500, 1000, 2000)
PRODUCTS = ((1, 784, 300), (1, 1024, 1024), (1, 4096, 4096), (64, 1024, 1024))
AFTER = """
import json
from dataclasses import asdict
print("STEPS " + json.dumps([asdict(step) for step in path.steps]))
"""


@click.command()
def main() -> None:
    """Time the workshop, and measure what it shows."""
    with tempfile.TemporaryDirectory(prefix="nutshell-workshop-") as scratch:
        parts, steps, handed_in = timed_run(Path(scratch))
        shutil.copyfile(handed_in, results.folder() / "workshop.nut")
    images = data.mnist()
    reference = measure.measure(results.folder() / "workshop.nut", images, "test")
    torch.set_num_threads(1)
    students = distillation(images)
    file = results.save(
        "workshop", command=COMMAND, data=images.name, network="lenet-300-100", steps=steps, parts=parts,
        computing_seconds=round(sum(part["seconds"] for part in parts), 1),
        machine=f"{platform.machine()}, one thread",
        reference={"bytes": reference.bytes, "rate": 4 * 266_610 / reference.bytes,
                   "test_error_percent": reference.error_percent},
        distillation=students, xnor=products())  # fmt: skip
    measured = results.load("workshop")
    quote(clock_table(measured), results.folder().parent / "docs" / "workshop.md")
    click.echo(clock_table(measured))
    click.echo(f"{file}: {reference.bytes:,} bytes, {reference.error_percent:.2f} % of the test images wrong.")


def timed_run(scratch: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Path]:
    """Run the lab with its solutions in a folder of its own.

    Returns
    -------
    parts : list of dict
        ``name`` of each part of the lab and its computing ``seconds``.
    steps : list of dict
        Bytes and errors, as the lab's picture shows them.
    file : Path
        What it handed in.
    """
    from nbclient import NotebookClient

    source = units.load("workshop")
    lab = build_lab(source)
    place = scratch / source.unit.folder
    for name, content in lab.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    notebook = source_notebook(source)
    for cell in notebook.cells:  # the hidden tests are the grader's
        cell.source = cell.source.partition("### BEGIN HIDDEN TESTS")[0].rstrip()
    notebook.cells.append(nbformat.v4.new_code_cell(AFTER))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}})
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})  # the same numbers everywhere
    said = "".join(out.get("text", "") for out in notebook.cells[-1].outputs)
    return parts_of(notebook.cells), json.loads(said.partition("STEPS ")[2]), place / source.unit.budgets[0].file


def parts_of(cells: list[Any]) -> list[dict[str, Any]]:
    """Computing time of each part, from one heading of the second level to the next.

    Examples
    --------
    >>> from nbformat.v4 import new_code_cell, new_markdown_cell
    >>> ran = new_code_cell("x", metadata={"execution": {"iopub.execute_input": "2026-01-01T00:00:00Z",
    ...                                                  "iopub.status.idle": "2026-01-01T00:00:02.5Z"}})
    >>> parts_of([ran, new_markdown_cell("## 1 · Count"), ran, ran])
    [{'name': 'Set-up', 'seconds': 2.5}, {'name': '1 · Count', 'seconds': 5.0}]
    """
    parts: list[dict[str, Any]] = [{"name": "Set-up", "seconds": 0.0}]
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            parts.append({"name": cell.source.splitlines()[0][3:], "seconds": 0.0})
        clock = cell.metadata.get("execution", {})
        if "iopub.execute_input" in clock:
            begun, ended = (datetime.fromisoformat(clock[key]) for key in ("iopub.execute_input", "iopub.status.idle"))
            parts[-1]["seconds"] += (ended - begun).total_seconds()
    return [{**part, "seconds": round(part["seconds"], 1)} for part in parts]


def clock_table(measured: dict[str, Any]) -> str:
    """The computing time of each part, for the facilitator's page."""
    rows = [f"| {part['name']} | {part['seconds']:.1f} |" for part in measured["parts"]]
    total = f"| together, on {measured['machine']} | {measured['computing_seconds']:.1f} |"
    return "\n".join(["| part | computing, seconds |", "|---|---|", *rows, total])


def quote(table: str, page: Path) -> None:
    """Put the table between the page's marks."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- clock -->\n")
    after = rest.partition("<!-- /clock -->")[2]
    page.write_text(f"{before}{mark}{table}\n<!-- /clock -->{after}", encoding="utf-8")


def distillation(images: Dataset) -> dict[str, Any]:
    """Students of few images, by labels alone and with the shipped network as their teacher."""
    teacher = checkpoints.load("lenet-300-100")
    rows = []
    for examples in EXAMPLES:
        alone = [taught(images, examples, seed=seed)[1] for seed in SEEDS]
        helped = [taught(images, examples, teacher, seed=seed)[1] for seed in SEEDS]
        rows.append({"images": examples, "labels_error_percent": summary(alone),
                     "teacher_error_percent": summary(helped)})  # fmt: skip
        click.echo(f"{examples} images: {alone} by labels, {helped} with a teacher")
    return {"seeds": list(SEEDS), "hidden_units": 30, "temperature": 4.0, "weight": 0.9, "part": "validation",
            "rows": rows}  # fmt: skip


def products() -> dict[str, Any]:
    """A product of signs as floats and packed, one thread each: the shortest of many calls, in microseconds."""
    generator = np.random.default_rng(0)
    rows = []
    for images, inputs, outputs in PRODUCTS:
        left = generator.choice([-1.0, 1.0], (images, inputs)).astype(np.float32)
        right = generator.choice([-1.0, 1.0], (outputs, inputs)).astype(np.float32)
        signs, weights = torch.from_numpy(left), torch.from_numpy(right)
        bits_left, bits_right = binary.pack(left), binary.pack(right)
        if not np.array_equal(binary.product(bits_left, bits_right), left @ right.T):
            raise AssertionError("The packed product isn't the float one.")
        float_us = shortest(partial(torch.matmul, signs, weights.T))
        packed_us = shortest(partial(binary.product, bits_left, bits_right))
        sizes = {"float_bytes": right.nbytes, "packed_bytes": bits_right.words.nbytes}
        rows.append({"images": images, "inputs": inputs, "outputs": outputs, "float_us": float_us,
                     "packed_us": packed_us, **sizes})  # fmt: skip
    return {"threads": torch.get_num_threads(), "float": "torch, float32", "packed": "NumPy, uint64", "rows": rows}


def shortest(call: Callable[[], object], seconds: float = 4.0) -> float:
    """Shortest of the calls that fit into so many seconds, in microseconds."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 3:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return round(1e6 * min(taken), 1)


def summary(values: list[float]) -> dict[str, Any]:
    """Each value, their mean and their standard deviation."""
    return {"each": values, "mean": statistics.mean(values), "spread": statistics.stdev(values)}


if __name__ == "__main__":
    main()
