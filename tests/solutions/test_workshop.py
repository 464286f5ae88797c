"""The workshop borrows all that it checks, keeps to its two hours, and quotes what was measured."""

import re
from pathlib import Path

import pytest

from autograder import units
from autograder.class_budgets import reference_result
from autograder.lab_text import kind_of, read_lab
from nutshell import results
from nutshell.checks import checks_of
from nutshell.workspace import find_course
from solutions.workshop import experiment

SOURCE = units.load("workshop")
MEASURED = results.load("workshop")
PLAN = {"1 · Count": 10, "2 · Rank": 20, "3 · Mask": 20, "4 · Eight bits": 15, "5 · Codebook and Huffman": 25,
        "6 · Hand in": 15, "7 · Shown": 10}  # fmt: skip
PAGE = (find_course(Path(__file__)) / "docs" / "workshop.md").read_text(encoding="utf-8")


def test_nothing_of_the_workshop_is_written_twice():
    assert all(exercise.unit for exercise in SOURCE.unit.exercises) and checks_of(SOURCE.checks) == []
    assert set(SOURCE.lenders()) == {"counting", "low_rank", "weight_pruning", "quantization", "deep_compression"}
    assert not (SOURCE.folder / "mutants.py").exists()
    for exercise in SOURCE.unit.exercises:
        hidden = [check.hidden for check in checks_of(SOURCE.home(exercise.name).checks, exercise.name)]
        assert set(hidden) == {True, False}, exercise.name


def test_two_hours_hold_it():
    assert sum(PLAN.values()) + 5 == 120
    minutes: dict[str, int] = dict.fromkeys(PLAN, 0)
    known = {one.name: one.minutes for one in (*SOURCE.unit.exercises, *SOURCE.unit.budgets)}
    part = ""
    for cell in read_lab(SOURCE):
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            part = cell.source.splitlines()[0][3:]
        elif cell.cell_type == "code" and kind_of(cell, "") in ("exercise", "budget"):
            minutes[part] += sum(known[name] for name in cell.source.split())
    assert all(minutes[name] <= PLAN[name] - 2 for name in PLAN), minutes  # time to talk, too


@pytest.mark.parametrize(("name", "planned"), PLAN.items())
def test_the_lab_and_the_facilitators_page_have_the_same_plan(name, planned):
    assert f"| {planned} | {name} |" in SOURCE.lab_text
    assert re.search(rf"\| {re.escape(name)} \| {planned}′ \|", PAGE)


def test_the_facilitators_page_quotes_the_clock():
    stands = re.search(r"<!-- clock -->\n(.*)\n<!-- /clock -->", PAGE, re.DOTALL)
    assert stands and stands[1] == experiment.clock_table(MEASURED), f"run: {experiment.COMMAND}"
    assert [part["name"] for part in MEASURED["parts"]] == ["Set-up", *PLAN]
    assert MEASURED["computing_seconds"] < 120


def test_the_steps_shrink_as_the_lesson_says():
    steps = {step["name"]: step for step in MEASURED["steps"]}
    names = list(steps)
    assert steps[names[-1]]["bytes"] < steps[names[-2]]["bytes"]
    assert steps[names[-1]]["error_percent"] == steps[names[-2]]["error_percent"]  # Huffman's code loses nothing
    assert steps[names[-2]]["rate"] < 30 < steps[names[-1]]["rate"]  # and it is what carries the file past the budget


def test_a_teacher_helps_wherever_it_was_measured():
    for row in MEASURED["distillation"]["rows"]:
        assert row["teacher_error_percent"]["mean"] < row["labels_error_percent"]["mean"]
    assert all(row["packed_bytes"] * 32 == row["float_bytes"] for row in MEASURED["xnor"]["rows"]
               if row["inputs"] % 64 == 0)  # fmt: skip


def test_the_file_that_ships_keeps_the_budget_on_test_images():
    found = reference_result(SOURCE.unit.budgets[0])
    assert not isinstance(found, str), found
    assert found.points == SOURCE.unit.budgets[0].points and found.data == "mnist, test"
    assert found.measurement.bytes == MEASURED["reference"]["bytes"]
    assert found.measurement.error_percent == pytest.approx(MEASURED["reference"]["test_error_percent"], abs=0.02)
