"""Source and release notebooks of a made-up unit."""

import re
from dataclasses import replace

import nbformat
import pytest
from nbgrader.utils import compute_checksum, is_grade, is_locked, is_solution

from autograder import units
from autograder.notebooks import (
    edited_by_hand,
    leftovers,
    lesson_notebook,
    release_notebook,
    source_notebook,
    to_bytes,
)
from autograder.stubs import STUB
from nutshell.errors import Refused


def _ids(notebook):
    return [cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata]


def test_source_has_solutions_and_hidden_tests_and_release_has_neither(tiny):
    source = source_notebook(tiny())
    ids = ["given_1", "solution_half", "check_half", "solution_clip_at", "check_clip_at", "given_2"]
    assert _ids(source) == ids
    by_id = {cell.metadata.nbgrader.grade_id: cell for cell in source.cells if "nbgrader" in cell.metadata}
    assert "return 0.5 * x" in by_id["solution_half"].source and is_solution(by_id["solution_half"])
    assert 'grade_here("half", "tiny")' in by_id["check_half"].source and is_grade(by_id["check_half"])
    assert by_id["check_half"].metadata.nbgrader.points == 2 and is_locked(by_id["given_1"])

    release = release_notebook(source)
    text = nbformat.writes(release)
    assert not list(leftovers(release)) and _ids(release) == ids
    assert "0.5 *" not in text and "grade_here" not in text and "np.minimum" not in text
    stub = next(cell for cell in release.cells if cell.id == "solution-half").source
    assert stub.startswith("def half(x: np.ndarray) -> np.ndarray:") and stub.endswith(STUB)
    for cell in release.cells:
        if "nbgrader" in cell.metadata:
            assert cell.metadata.nbgrader.checksum == compute_checksum(cell)
            assert cell.metadata.deletable is False and cell.metadata.get("editable", True) is is_solution(cell)


def test_bytes_are_the_same_every_time(tiny):
    source = tiny()
    first, second = (release_notebook(source_notebook(source)) for _ in range(2))
    assert to_bytes(first) == to_bytes(second)
    assert len({cell.id for cell in first.cells}) == len(first.cells)


def test_experiments_are_marked_to_be_skipped(tiny):
    (cell,) = [cell for cell in source_notebook(tiny()).cells if cell.id.startswith("experiment")]
    assert cell.source == "%%experiment\nprint(half(np.ones(2)))" and "nbgrader" not in cell.metadata


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (dict(lab=("clip_at\n```", "clip\n```")), "lab.md names the exercise clip, which UNIT .* lacks"),
        (dict(lab=("\nclip_at\n```", "\n```")), "UNIT has the exercise clip_at, which lab.md doesn't name"),
        (dict(reference=("def half", "def halve")), "reference.py lacks.*reference.py has halve, which is no exercise"),
        (dict(lab=("half\n```", "half\nhalf\n```")), "names half twice"),
        (dict(lab=("tags: [exercise]", "tags: [excercise]")), "the tag 'excercise'; the tags are"),
        (dict(checks=('@check("clip_at"', '@check("half"')), "no public check of it"),
        (dict(reference=("0.5 * x", "clip_at(2 * x, 1) / _two")), "half in reference.py uses _two, clip_at"),
        (dict(lab=("import numpy as np\n\n", "import numpy\n\n")), "uses np, which no given cell"),
    ],
)
def test_texts_that_do_not_agree_are_refused(tiny, replaced, said):
    with pytest.raises(Refused, match=said):
        source_notebook(tiny(**replaced))


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (
            dict(lab=("progress()", "### BEGIN HIDDEN TESTS\nprogress()")),
            "lab.md: the marker 'BEGIN HIDDEN' is left over",
        ),
        (dict(lab=("Write `half`.", "BEGIN SOLUTION")), "lab.md: the marker 'BEGIN SOLUTION' is left over"),
        (dict(reference=("# one product", "### END SOLUTION")), "reference.py: the marker 'END SOLUTION' is left over"),
        (dict(lab=("progress()", "progress(")), "given_2: it doesn't compile, line 1"),
        (dict(lab=("print(half", "print half")), "experiment-7: it doesn't compile, line 1"),
    ],
)
def test_markers_and_cells_that_do_not_compile_are_refused(tiny, replaced, said):
    with pytest.raises(Refused, match=said):
        source_notebook(tiny(**replaced))


def test_leftovers_of_a_learner_s_notebook_are_found(tiny):
    source = source_notebook(tiny())
    found = list(leftovers(source))  # as if nothing had been taken out
    assert any("'BEGIN SOLUTION' is left over" in line for line in found)
    assert any("'END HIDDEN' is left over" in line for line in found)
    assert "cell solution_half: it has no stub" in found
    release = release_notebook(source)
    release.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]
    assert list(leftovers(release)) == ["cell given_1: it holds outputs"]


def test_a_classroom_s_unit_changes_points_and_leaves_out_sections(tiny):
    source = tiny()
    clip = source.unit.exercise("clip_at")
    only = source_notebook(source, replace(source.unit, exercises=(replace(clip, points=7),)))
    assert _ids(only) == ["given_1", "solution_clip_at", "check_clip_at", "given_2"]
    text = "\n".join(cell.source for cell in only.cells)
    assert "## Halves" not in text and "## The end" in text and "print(half" not in text and "· 7 points ·" in text


def test_bars_in_the_words_of_a_limit_leave_the_table_whole():
    source = units.load("binary_networks")
    (table,) = (cell.source for cell in source_notebook(source).cells if "| full marks up to |" in cell.source)
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert any("\\|w\\|" in row for row in rows)
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {5}  # three cells, and nothing before and behind


def test_edits_show_and_outputs_do_not(tiny):
    notebook = release_notebook(source_notebook(tiny()))
    assert not edited_by_hand(notebook)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]
    assert not edited_by_hand(notebook)
    notebook.cells[3].source += " "
    assert edited_by_hand(notebook)


def test_lessons_are_deterministic_and_without_outputs():
    text = "---\njupytext:\n  formats: ipynb,text//md:myst\n---\n\n# A\n\n```{code-cell} ipython3\n1 + 1\n```\n"
    first, second = (to_bytes(lesson_notebook(text)) for _ in range(2))
    assert first == second
    notebook = nbformat.reads(first.decode(), as_version=4)
    assert [cell.id for cell in notebook.cells] == ["markdown-1", "code-2"] and not notebook.cells[1].outputs
    assert notebook.metadata.kernelspec.name == "python3"
