"""classroom.toml: what it changes, and that nothing misspelt is ignored."""

from dataclasses import replace
from datetime import datetime

import pytest

from autograder import settings
from nutshell.checks import Budget, Exercise, Limit, Unit
from nutshell.errors import WrongUse

UNITS = [
    Unit(1, "counting", "Counting", (Exercise("cost", 2, 5), Exercise("rate", 1, 5))),
    Unit(
        3,
        "low_rank",
        "Low rank",
        (Exercise("truncate", 2, 5), Exercise("cp", 0, 5, extension=True)),
        (
            Budget(
                "first_layer",
                4,
                "a.nut",
                "mnist",
                "lenet-300-100",
                (Limit("layer_bytes", 1000, layer=1), Limit("points_lost", 0.5, margin=0.5)),
            ),
        ),
    ),
]


def _read(tmp_path, text):
    (tmp_path / "classroom.toml").write_text(text, encoding="utf-8")
    return settings.read(tmp_path / "classroom.toml", UNITS)


def test_template_changes_nothing(tmp_path):
    read = _read(tmp_path, settings.template(UNITS, ["counting", "low_rank"]))
    assert read == settings.Settings("nutshell", tuple(UNITS), {})


def test_template_with_its_comments_taken_away_says_the_same(tmp_path):
    text = settings.template(UNITS, ["counting", "low_rank"])
    head, *rest = text.splitlines()[3:]
    live = "\n".join([head, *(line.removeprefix("# ") for line in rest if not line.startswith("# ──"))])
    read = _read(tmp_path, live)
    assert read.units[0] == UNITS[0]
    assert read.units[1].budgets[0].limits == (Limit("layer_bytes", 1000, 100, 1), Limit("points_lost", 0.5, 0.5))
    assert read.deadlines == dict.fromkeys(("counting", "low_rank"), datetime(2030, 10, 31, 22, 59))


def test_points_limits_units_and_exercises_left_out(tmp_path):
    read = _read(
        tmp_path,
        """
units = ["low_rank"]
[low_rank.points]
truncate = false
cp = 1.5
first_layer = 8
[low_rank.limits.first_layer]
points_lost = { at_most = 1 }
layer_bytes_1 = { margin = 0 }
""",
    )
    (unit,) = read.units
    assert unit.exercises == (Exercise("cp", 1.5, 5, extension=True),)
    assert unit.budgets[0].points == 8
    assert unit.budgets[0].limits == (Limit("layer_bytes", 1000, 0, layer=1), Limit("points_lost", 1, margin=0.5))
    with pytest.raises(WrongUse, match="low_rank"):
        read.unit("counting")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("curse = 1", r"unknown 'curse'. Did you mean 'course'\? Choose from: course, units, counting, low_rank"),
        ('units = ["low_rnak"]', r"unknown 'units.low_rnak'. Did you mean 'low_rank'\?"),
        ('units = "low_rank"', "must be a list"),
        ("units = []", "must be a list"),
        ("course = 3", "must be a name"),
        ("[low_rank]\npoint = {}", r"'low_rank.point'. Did you mean 'points'\?"),
        ("[low_rank.points]\ntruncat = 1", r"'low_rank.points.truncat'. Did you mean 'truncate'\?"),
        ("[low_rank.points]\ntruncate = -1", "from 0 up"),
        ("[low_rank.points]\ntruncate = true", "from 0 up"),
        ("[low_rank.points]\ntruncate = nan", "from 0 up"),
        ("[low_rank.limits]\nfirst = {}", "Choose from: first_layer"),
        ("[low_rank.limits.first_layer]\nlayer_bytes = {}", r"Did you mean 'layer_bytes_1'\?"),
        ("[low_rank.limits.first_layer]\npoints_lost = 1", "must be a table"),
        ("[low_rank.limits.first_layer.points_lost]\natmost = 1", r"Did you mean 'at_most'\?"),
        ("[low_rank.limits.first_layer.points_lost]\nat_most = '1'", "from 0 up"),
        ("[low_rank.limits.first_layer.layer_bytes_1]\nat_most = 0", "must be above 0"),
        ("[low_rank]\ndeadline = 2030-01-01T10:00:00", "difference from UTC"),
        ("[low_rank]\ndeadline = '2030-01-01T10:00:00Z'", "difference from UTC"),
        ("[counting.points]\ncost = false\nrate = false", "leaves nothing"),
        ("[counting.limits.x]", "there are none"),
        ("units =", "isn't valid TOML"),
    ],
)
def test_every_slip_is_named_with_file_key_and_choices(tmp_path, text, said):
    with pytest.raises(WrongUse, match=said) as error:
        _read(tmp_path, text)
    assert "classroom.toml" in str(error.value)


def test_a_folder_that_is_no_classroom_is_named_and_what_makes_one(tmp_path):
    with pytest.raises(WrongUse, match=r"is no classroom: .* make one with: nutshell classroom"):
        settings.read(tmp_path / "classroom.toml", UNITS)


def test_all_exercises_of_a_section_can_be_left_out():
    from autograder import units
    from autograder.notebooks import source_notebook

    source = units.load("low_rank")
    kept = replace(source.unit, exercises=tuple(e for e in source.unit.exercises if e.name == "truncate"), budgets=())
    cells = source_notebook(source, kept).cells
    names = {cell.metadata.get("nbgrader", {}).get("grade_id", "") for cell in cells}
    assert {name for name in names if name.startswith("check_")} == {"check_truncate"}
