"""A unit that borrows exercises of others: release, desk, grading, answers and keys work as in the unit that lends."""

import sys
from dataclasses import replace

import nbformat
import numpy as np
import pytest

from autograder import keys, stock, units
from autograder.answers import judge_all, judge_answer, not_given, too_few
from autograder.demo import partly_wrong, solutions_of
from autograder.desk_half import desk_files
from autograder.judge import grade
from autograder.limits import Limits
from autograder.release import build_lab
from autograder.sandbox import Sandbox
from autograder.trial import over_the_wire
from autograder.verdicts import Cell, Submission, Task
from nutshell.checks import checks_of
from nutshell.errors import Refused, WrongUse
from nutshell.wire import desk, lab

CHECKS = '''"""Checks of a unit that has one exercise of its own and borrows another."""

from nutshell import expect
from nutshell.checks import Exercise, Unit, check
from solutions.tiny.checks import UNIT as TINY

UNIT = Unit(0, "guest", "Guest", (TINY.lend("half", points=4, minutes=2), Exercise("double", points=1, minutes=1)))


@check("double")
def half_is_half(learner, reference, rng):
    """Two of a kind (the name is one that the lender has too)"""
    expect.equal(learner.double(3), reference.double(3), "twice three")
'''
LAB = """---
kernelspec:
  name: python3
  display_name: Python 3
---

# Guest

```{code-cell} ipython3
import numpy as np

from nutshell import check, open_lab

open_lab("guest")
```

```{code-cell} ipython3
:tags: [exercise]

half
double
```
"""
REFERENCE = '''"""Doubles."""


def double(x: int) -> int:
    """Twice x."""
    return 2 * x
'''


@pytest.fixture
def guest(tiny, monkeypatch):
    """A unit beside the made-up one, which lends it ``half``; ``guest(checks=(old, new))`` changes the lender."""

    def make(**replaced):
        folder = tiny(**replaced).folder.with_name("guest")
        for module in [name for name in sys.modules if name.startswith("solutions.guest")]:
            monkeypatch.delitem(sys.modules, module)
        folder.mkdir(exist_ok=True)
        texts = {"__init__.py": "", "checks.py": CHECKS, "lab.md": LAB, "reference.py": REFERENCE}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return units.load("guest")

    return make


def test_nothing_is_written_twice_and_the_lab_says_whose_exercise_it_is(guest):
    source = guest()
    lab = build_lab(source)
    notebook = nbformat.reads(lab.files["00_guest.ipynb"].decode(), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "**`half`** · exercise · 4 points · 2 minutes · ★ · from *01 Tiny*" in text
    assert "**`double`** · exercise · 1 point · 1 minutes · ★\n" in text + "\n"
    assert "0.5 * x" not in text and "0.5 * x" in solutions_of(source, source.unit)["solution_half"]
    assert set(lab.files) == {
        "00_guest.ipynb", "desk/unit.json", "desk/public_checks.py", "desk/replies.bin",
        "desk/tiny/public_checks.py", "desk/tiny/replies.bin",
    }  # fmt: skip
    lent = lab.files["desk/tiny/public_checks.py"].decode()
    assert "half_is_half" in lent and "clip" not in lent and "half_of_large_numbers" not in lent and "12345" not in lent


def test_a_lab_of_its_own_has_the_unit_json_that_it_always_had(tiny):
    assert b'"unit"' not in desk_files(tiny())["unit.json"]


def test_the_desk_judges_own_and_borrowed_exercises(guest, tmp_path):
    source = guest()
    for name, content in build_lab(source).files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    opened = desk.load(tmp_path)
    assert opened.unit == source.unit
    right = over_the_wire({"half": lambda x: x / 2, "double": lambda x: x + x})
    wrong = over_the_wire({"half": lambda x: x / 3, "double": lambda x: x})
    for exercise in opened.unit.exercises:
        assert all(verdict.passed for verdict in opened.judge(exercise, right))
        assert not any(verdict.passed for verdict in opened.judge(exercise, wrong))
    (tmp_path / "desk" / "tiny" / lab.REPLIES).write_bytes(b"x")
    with pytest.raises(WrongUse, match="is damaged"):
        desk.load(tmp_path)
    (tmp_path / "desk" / "tiny" / lab.CHECKS).unlink()
    with pytest.raises(WrongUse, match=r"lacks tiny/public_checks\.py"):
        desk.load(tmp_path)


def test_replies_recorded_elsewhere_are_kept_for_a_borrowed_exercise_too(guest, tmp_path):
    files = build_lab(guest(checks=("2 * learner.half(x), x,", "learner.half(x), reference.half(x),"))).files
    other = build_lab(
        guest(checks=("2 * learner.half(x), x,", "learner.half(x), reference.half(x),"),
              reference=("0.5 * x", "0.5 * x * (1 + 1e-12)"))
    ).files  # fmt: skip
    name = "desk/tiny/replies.bin"
    assert files[name] != other[name]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(other[name])
    again = build_lab(guest(checks=("2 * learner.half(x), x,", "learner.half(x), reference.half(x),")), folder=tmp_path)
    assert again.files[name] == other[name]


def test_a_change_in_the_unit_that_lends_changes_the_verdicts_key(guest):
    source = guest()

    def key():
        return keys.unit_key(source.unit, 1, "bubblewrap", Limits(), ())

    before = key()
    assert before == key()
    for name in ("checks.py", "reference.py"):
        path = source.folder.with_name("tiny") / name
        path.write_text(path.read_text() + "\n# changed\n")
        assert key() != before
        before = key()


def test_an_exercise_that_nobody_lends_is_refused(guest):
    source = guest()
    odd = replace(source, unit=replace(source.unit, exercises=(replace(source.unit.exercises[1], unit="tiny"),)))
    with pytest.raises(Refused, match="borrows double from tiny, which has no such exercise"):
        build_lab(odd)


@pytest.mark.parametrize(("cell", "share"), [("x / 2", 1.0), ("np.where(np.abs(x) < 1e6, x / 2, x)", 0.5), ("x", 0.0)])
def test_both_graders_judge_a_borrowed_exercise_by_public_and_hidden_checks(guest, cell, share):
    source = guest()
    text = f"def half(x):\n    return {cell}\n"
    names = {"np": np}
    exec(text, names)
    exercise = source.unit.exercise("half")
    assert stock.grade_exercise(source, exercise, names, 5) == 4 * share
    files = {f"desk/{name}": content for name, content in desk_files(source).items()}
    cells = (Cell("given_1", "import numpy as np\nimport nutshell\nnutshell.open_lab('guest')"),
             Cell("solution_half", text), Cell("solution_double", "def double(x):\n    return 2 * x"))
    with Sandbox("process") as box:
        verdict = grade(Task(source.unit, Submission("ada", "00_guest", cells, files, {}, ""), 5, ""), box)
    assert not verdict.cells
    assert [one.points for one in verdict.exercises] == [4 * share, 1]
    assert {check.hidden for check in verdict.exercises[0].checks} == {False, True}


def test_answers_come_from_the_unit_that_lends(guest):
    source = guest()
    outcomes = list(judge_all([source]))
    assert [(one.unit, one.exercise, one.as_wanted) for one in outcomes] == [("guest", "half", True)] * 2
    assert not any(not_given(source, answer) for answer in source.answers())
    assert [line for line in too_few(source) if "double" in line]  # its own has none
    assert partly_wrong(source, source.unit)["double"] == ""
    changed = guest(checks=('@check("half", hidden=True)', '@check("clip_at", hidden=True)'))
    judged = [judge_answer(changed, answer) for answer in changed.answers()]
    assert [one.answer for one in judged if not one.as_wanted] == ["half_of_small_numbers"]


def test_the_answers_of_an_exercise_that_is_not_borrowed_are_left_out(guest):
    source = guest()
    assert {answer.exercise for answer in source.answers()} == {"half"}
    assert {answer.exercise for answer in source.lenders()["tiny"].answers()} == {"half", "clip_at"}
    assert checks_of(source.checks, "half") == [] and len(checks_of(source.home("half").checks, "half")) == 2
