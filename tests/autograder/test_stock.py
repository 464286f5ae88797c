"""The hidden part of a check cell: the classroom's points, limits and seed, and marks that nbgrader can read."""

from types import SimpleNamespace

import IPython
import pytest

from autograder import classroom, demo, stock, units
from nutshell.checks import Exercise
from nutshell.errors import Trouble, WrongUse


@pytest.fixture
def submission(tmp_path, monkeypatch):
    """An autograded submission's folder inside a classroom of unit 03 with points and limits of its own."""
    (tmp_path / "classroom.toml").write_text("""
units = ["low_rank"]
[low_rank.points]
break_even_rank = 6
first_layer = 8
[low_rank.limits.first_layer]
layer_bytes_1 = { at_most = 177480, margin = 37680 }
points_lost = { at_most = 5 }
""")
    classroom.draw_seed(tmp_path)
    place = tmp_path / "autograded" / "ada" / "03_low_rank"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.delenv("NUTSHELL_CLASSROOM", raising=False)
    return place


def _with(monkeypatch, **names):
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns=names))


def test_points_are_the_classroom_s_and_partial(submission, monkeypatch):
    right = units.load("low_rank").reference.break_even_rank
    _with(monkeypatch, break_even_rank=right)
    assert repr(stock.grade_here("break_even_rank", "low_rank")) == "6.0"
    _with(monkeypatch, break_even_rank=lambda m, n, absorbed=False: right(m, n))
    partly = stock.grade_here("break_even_rank", "low_rank")
    assert repr(partly) == repr(float(partly)) and 0 < partly < 6
    assert "(hidden)" in partly._repr_html_()
    _with(monkeypatch)
    assert stock.grade_here("break_even_rank", "low_rank") == 0


def test_budgets_are_judged_on_test_images_by_the_classroom_s_limits(submission, monkeypatch):
    _with(monkeypatch)
    assert stock.grade_here("first_layer", "low_rank") == 0  # nothing handed in
    (budget,) = units.load("low_rank").unit.budgets
    demo.hand_in(budget, submission / budget.file, right=False)  # 196,320 bytes
    points = stock.grade_here("first_layer", "low_rank")
    assert points == pytest.approx(8 * 0.5) and ", test" in points._repr_html_() and "177,480" in points._repr_html_()


def test_another_unit_or_no_classroom_is_an_error_and_no_mark(submission, tmp_path, monkeypatch):
    _with(monkeypatch)
    with pytest.raises(WrongUse, match="doesn't hand out the unit 'counting'"):
        stock.grade_here("layer_cost", "counting")
    monkeypatch.setenv("NUTSHELL_CLASSROOM", str(tmp_path / "elsewhere"))
    with pytest.raises(Trouble, match="elsewhere"):
        stock.grade_here("break_even_rank", "low_rank")


def test_the_secret_draws_the_hidden_cases_and_marks_never_exceed_the_cell_s(tiny, capsys):
    source = tiny()
    seen = []

    def half(x):
        print("seen", x)
        seen.append(float(x[0]))
        return x / 2

    exercise = Exercise("half", points=0.1 + 0.2, minutes=1)
    for seed in (1, 1, 2):
        assert stock.grade_exercise(source, exercise, {"half": half}, seed) <= exercise.points
    hidden = [value for value in seen if abs(value) > 20]
    assert len(hidden) == 3 and hidden[0] == hidden[1] != hidden[2]
    printed = capsys.readouterr().out
    assert "seen" in printed and "e+0" not in printed  # public inputs are seen, hidden ones never printed


def test_hidden_checks_keep_their_cases_to_themselves(tiny):
    source = tiny()
    exercise = source.unit.exercise("half")
    small_only = source.mutants.half_of_small_numbers
    table = stock.grade_exercise(source, exercise, {"half": small_only}, 1)._repr_html_()
    assert "the case is hidden" in table and "Large numbers are halved too" in table and "e+0" not in table


def test_an_endless_loop_costs_its_exercise_and_nothing_else(tiny, monkeypatch):
    source = tiny()
    monkeypatch.setattr(stock, "SECONDS", 0.2)

    def half(x):
        while True:
            pass

    points = stock.grade_exercise(source, source.unit.exercise("half"), {"half": half}, 1)
    assert points == 0 and "none within 0.2 seconds" in points._repr_html_()
    assert stock.grade_exercise(source, source.unit.exercise("half"), {"half": lambda x: x / 2}, 1) == 2
