"""The desk: what a learner calls, sees and hands in."""

import json
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

import nutshell
from nutshell.checks import Budget, Exercise, Limit
from nutshell.errors import WrongUse
from nutshell.wire import desk, shell, show
from nutshell.wire.running import NOT_DONE, OK, WRONG, Verdict
from tests.nutshell.wire import made_up_checks, made_up_reference
from tests.nutshell.wire.lab_on_disk import write_desk


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """An opened lab; the current folder is its own."""
    folder = write_desk(tmp_path / "my_labs" / "90_made_up")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(desk, "_open", None)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    desk.open_lab("made_up")
    return folder


def run(source, **names):
    """Run a cell's text as a notebook would, and give its names."""
    names = {"__name__": "__main__", **names}
    exec(compile(source, "<cell>", "exec"), names)
    return names


def test_check_returns_points_and_prints_in_a_terminal(lab, capsys):
    names = run(
        "from nutshell import check\ndef scale(weights, factor):\n"
        "    return {'weights': weights + factor, 'largest': 1.0}\npoints = check('scale')"
    )
    points, printed = names["points"], capsys.readouterr().out
    assert isinstance(points, float) and points == 0 and repr(points) == "0.0" and f"{points:.1f}" == "0.0"
    for part in (
        "scale: 0 of 4 points",
        "expected",
        "got",
        "likely cause: It adds instead.",
        "A negative factor is a ValueError",
        "Hidden checks run at grading",
    ):
        assert part in printed, part
    assert run("from nutshell import check\np = check('scale')", **vars(made_up_reference))["p"] == 4


def test_check_takes_the_function_itself(lab):
    assert desk.check(made_up_reference.scale) == 4
    assert desk.check(made_up_reference.Codebook) == 1


def test_check_without_a_definition_is_not_done(lab, capsys):
    assert run("from nutshell import check\np = check('batches')")["p"] == 0
    printed = capsys.readouterr().out
    assert "not written yet" in printed and "Run the cell that defines it" in printed


def test_check_names_what_there_is(lab):
    with pytest.raises(WrongUse, match=r"Did you mean 'scale'\? It has: scale, Codebook"):
        desk.check("scales")


def test_the_table_is_html_that_holds_no_markup_of_the_learners(lab):
    evil = "<script>alert(1)</script>\x1b[31m"

    def scale(weights, factor):
        raise RuntimeError(evil)

    points = desk.check(scale)
    markup = points._repr_html_()
    assert (
        "<script>" not in markup and "&lt;script&gt;" in markup and "\x1b" not in markup and "\x1b" not in points.text
    )
    tags = Tags(markup)
    assert tags.count("caption") == 1 and tags.count("th", scope="col") == 6 and tags.count("th", scope="row") == 2
    assert "raised an error" in markup and "not yet right" in markup  # in words, not by colour


class Tags(HTMLParser):
    """Start tags of a text, to count."""

    def __init__(self, markup):
        super().__init__()
        self.found, self.open = [], []
        self.feed(markup)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def count(self, name, **attributes):
        return sum(tag == name and attributes.items() <= found.items() for tag, found in self.found)


def test_progress_shows_exercises_units_and_lasts(lab, capsys, monkeypatch):
    desk.check(made_up_reference.scale)
    run("from nutshell import check\ncheck('batches')")
    desk.check(made_up_reference.prune_)
    capsys.readouterr()
    desk.progress()
    printed = capsys.readouterr().out
    assert "90 Made up: ████████" in printed and "4 of 9 points" in printed and "not checked yet" in printed
    assert "extension" in printed and "0 of 1" in printed and "Hidden checks run at grading" in printed
    desk.open_lab("made_up")
    assert desk._open.done["scale"]["points"] == 4
    neighbour = write_desk(
        lab.parent / "91_other", replace(made_up_checks.UNIT, number=91, name="other", title="Other")
    )
    desk.open_lab("other", neighbour)
    capsys.readouterr()
    desk.progress()
    assert "90 Made up" in capsys.readouterr().out
    (lab / "desk" / "progress.json").write_text("{broken")
    desk.open_lab("made_up")
    assert desk._open.done == {}


def test_nothing_is_written_into_labs_as_released(tmp_path, monkeypatch):
    folder = write_desk(tmp_path / "labs" / "90_made_up")
    desk.open_lab("made_up", folder)
    desk.check(made_up_reference.scale)
    assert not (folder / "desk" / "progress.json").exists() and desk._open.done["scale"]["points"] == 4


def test_opening_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(desk, "_open", None)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    with pytest.raises(WrongUse, match="no “desk” folder for the lab 'made_up'"):
        desk.open_lab("made_up")
    for call in (lambda: desk.check("scale"), desk.progress, lambda: desk.hand_in(None)):
        with pytest.raises(WrongUse, match="No lab is open"):
            call()
    folder = write_desk(tmp_path / "lab")
    with pytest.raises(WrongUse):
        desk.open_lab("another", folder)
    (folder / "desk" / "replies.bin").write_bytes(b"damaged")
    with pytest.raises(WrongUse, match="damaged"):
        desk.open_lab("made_up", folder)
    (folder / "desk" / "replies.bin").unlink()
    with pytest.raises(WrongUse, match=r"lacks replies\.bin"):
        desk.open_lab("made_up", folder)


def test_the_notebooks_folder_is_found_from_jupyter(tmp_path, monkeypatch):
    folder = write_desk(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "90_made_up.ipynb"))
    desk.open_lab("made_up")
    assert desk._open.folder == folder.resolve()


def test_the_desk_is_what_the_package_exports():
    assert nutshell.check is desk.check and nutshell.open_lab is desk.open_lab and nutshell.progress is desk.progress
    assert nutshell.hand_in is desk.hand_in


BUDGET = Budget(
    "small", points=4, file="small.nut", data="mnist", topology="mlp", limits=(Limit("bytes", at_most=1e6),)
)


def test_a_budget_that_is_not_handed_in_has_no_points(tmp_path):
    found = desk.budget_result(BUDGET, tmp_path / "small.nut")
    assert found == 0 and "hand_in(network" in found.text and "not handed in" in found._repr_html_()


def test_hand_in_asks_for_a_file_of_the_lab(lab):
    with pytest.raises(WrongUse, match="no file at all"):
        desk.hand_in(torch.nn.Linear(1, 1), "big.nut")


def test_handing_in_is_measured_on_validation_and_remembered(tmp_path, monkeypatch, capsys):
    from nutshell import budget, models

    folder = write_desk(tmp_path / "lab", replace(made_up_checks.UNIT, budgets=(BUDGET,)))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    asked = []

    class Judged:
        points = 3.0
        on_stand_in = True

        def __str__(self):
            return "small: 3 of 4 points"

        def _repr_html_(self):
            return "<p>small</p>"

    monkeypatch.setattr(
        budget, "judge", lambda budget, path, part: asked.append((budget.name, path.name, part)) or Judged()
    )
    desk.open_lab("made_up", folder)
    points = desk.hand_in(models.build("mlp", sizes=(784, 3, 10)))
    assert points == 3 and (folder / "small.nut").stat().st_size > 784 * 3 * 4
    assert desk.check("small") == 3 and asked == [("small", "small.nut", "validation")] * 2
    assert "The test images come at grading." in capsys.readouterr().out
    desk.open_lab("made_up", folder)
    desk.progress()
    assert f"small: {budget.STAND_IN}." in capsys.readouterr().out and desk._open.done["small"]["points"] == 3
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    before = (folder / "small.nut").read_bytes()
    desk.hand_in(models.build("mlp", sizes=(784, 5, 10)))
    assert (folder / "small.nut").read_bytes() == before  # what was handed in counts


def test_under_stock_nbgrader_the_grader_brings_its_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    desk.open_lab("made_up")
    assert desk.check("scale") == 0 and desk.hand_in(object()) == 0 and repr(desk.progress()) == ""
    assert capsys.readouterr().out == "" and desk._open is None


def test_standard_error_is_named_output_under_stock_nbgrader(monkeypatch):
    stream = type("OutStream", (), {"__module__": "ipykernel.iostream", "name": "stderr", "write": lambda *_: None})()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    shell.prepare()
    assert stream.name == "stderr"
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    shell.prepare()
    assert stream.name == "stdout"


def test_experiments_run_or_are_skipped(monkeypatch):
    cell = ["\n", "%%experiment\n", "x = 1\n"]
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    assert run("".join(shell.experiment_cells(cell)))["x"] == 1
    assert len(shell.experiment_cells(cell)) == 3  # line numbers stay
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert "x" not in run("".join(shell.experiment_cells(cell)))
    assert shell.experiment_cells(["x = 1\n", "%%experiment\n"]) == ["x = 1\n", "%%experiment\n"]
    assert shell.experiment_cells([]) == [] and not shell.is_experiment("%%experimental\n")


def test_experiments_in_a_real_shell(monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    real = InteractiveShell()
    monkeypatch.setattr(shell, "current", lambda: real)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    shell.prepare()
    shell.prepare()
    assert real.input_transformers_cleanup.count(shell.experiment_cells) == 1
    assert real.run_cell("%%experiment\nx = 40 + 2\nx").result == 42
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert real.run_cell("%%experiment\ny = 1").success and "y" not in real.user_ns


def test_a_table_for_a_notebook_is_not_printed(lab, monkeypatch, capsys):
    monkeypatch.setattr(shell, "in_notebook", lambda: True)
    capsys.readouterr()
    points, overview = desk.check(made_up_reference.scale), desk.progress()
    assert capsys.readouterr().out == "" and "scale" in points._repr_html_() and "<table>" in overview._repr_html_()
    assert repr(overview).startswith("90 Made up")


def test_words_for_every_status_and_no_marks_beyond_them():
    exercise = Exercise("f", points=2, minutes=1)
    rows = [Verdict("f", "a", "A", False, OK, weight=1), Verdict("f", "b", "B", True, WRONG, "1", "2", weight=1)]
    points = show.of_exercise(exercise, rows, 1.0)
    assert points == 1 and "(hidden)" in points.text and show.LATER not in points.text
    blank = show.of_exercise(exercise, [replace(rows[0], status=NOT_DONE)] * 3, 0.0)
    assert blank.text.count("not written yet") == 1 and "0 of 3 checks" in blank.text
    assert show.bar(-1) == "░" * 20 and show.bar(7) == "█" * 20
    assert json.loads(json.dumps(points)) == 1.0


def test_interrupting_an_endless_loop_ends_the_exercise_and_says_where(lab, capsys):
    loop = (
        "from nutshell import check\nseen = []\ndef scale(weights, factor):\n    seen.append(factor)\n"
        "    while True:\n        stop(seen)\npoints = check('scale')"
    )

    def stop(seen):
        raise KeyboardInterrupt

    names, printed = run(loop, stop=stop), capsys.readouterr().out
    assert names["points"] == 0 and len(names["seen"]) == 1  # the others are not run
    assert "stopped by you, in scale, line 6 of your cell" in printed and "a loop that doesn't end" in printed.lower()
    assert "not run: " in printed and desk._open.done["scale"]["passed"] == 0
    assert run("from nutshell import check\np = check('scale')", **vars(made_up_reference))["p"] == 4


def test_warnings_of_the_learners_code_are_quiet_while_checks_run_only(lab):
    def scale(weights, factor):
        warnings.warn("odd", stacklevel=1)
        return made_up_reference.scale(weights, factor)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert desk.check(scale) == 4 and caught == []
        warnings.warn("heard", stacklevel=1)
        assert len(caught) == 1


@pytest.mark.parametrize("wrong", [made_up_reference.scale, torch.nn.Linear, None, "net"])
def test_what_is_no_network_is_not_handed_in(tmp_path, monkeypatch, wrong):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    desk.open_lab("made_up", write_desk(tmp_path / "lab", replace(made_up_checks.UNIT, budgets=(BUDGET,))))
    with pytest.raises(WrongUse, match=r"wants a network, an nn\.Module, .* got (the|None|a value)"):
        desk.hand_in(wrong)


def test_a_notebook_shows_an_errors_message_and_no_traceback(lab, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    real = InteractiveShell(colors="nocolor")
    capsys.readouterr()
    real.run_cell("from nutshell import check\ncheck('scales')")
    printed = capsys.readouterr()
    assert "Did you mean 'scale'?" in printed.out and "Traceback" not in printed.out + printed.err
    assert "desk.py" not in printed.out


def test_budgets_come_before_extensions(lab):
    unit = replace(made_up_checks.UNIT, budgets=(BUDGET,))
    assert [item.name for item in desk._items(unit)][-2:] == ["small", "prune_"]
