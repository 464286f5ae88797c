"""What a unit is made of."""

import json
import types
from dataclasses import asdict

import pytest

from nutshell import checks
from nutshell.checks import Budget, Exercise, Limit, Unit

UNIT = Unit(
    3,
    "low_rank",
    "Low rank",
    (Exercise("truncate", 2, 10), Exercise("cp", 0, 30, 3, extension=True)),
    (
        Budget(
            "first", 4, "a.nut", "mnist", "mlp", (Limit("layer_bytes", 100, layer=1), Limit("points_lost", 0.5, 0.5))
        ),
    ),
)


def module_with(**members):
    module = types.ModuleType("made_up")
    vars(module).update(members)
    return module


@checks.check("truncate", weight=2)
def first(learner, reference, rng):
    """The first line is the title.

    Nothing else is.
    """


@checks.check("truncate", hidden=True)
def second_check(learner, reference, rng):
    pass


@checks.mutant("truncate")
def wrong():
    """It keeps the smallest values."""


@checks.alternative("cp")
class Right:
    pass


def test_checks_are_found_in_order_with_what_the_decorator_said():
    found = checks.checks_of(module_with(second=second_check, first=first, other=3, wrong=wrong))
    assert [(check.name, check.exercise, check.hidden, check.weight) for check in found] == [
        ("second_check", "truncate", True, 1.0),
        ("first", "truncate", False, 2),
    ]
    assert [check.title for check in found] == ["second check", "The first line is the title."]
    assert checks.checks_of(module_with(first=first), "cp") == []
    assert found[1].function is first


def test_answers_are_found_with_their_titles():
    found = checks.answers_of(module_with(wrong=wrong, Right=Right, first=first, number=3, function=len))
    assert [(answer.exercise, answer.right, answer.title) for answer in found] == [
        ("truncate", False, "It keeps the smallest values."),
        ("cp", True, "Right"),
    ]


def test_a_subclass_of_an_answer_is_no_answer():
    assert checks.answers_of(module_with(other=type("Other", (Right,), {}))) == []


def test_a_unit_survives_json():
    assert checks.unit_from_data(json.loads(json.dumps(asdict(UNIT)))) == UNIT
    with pytest.raises(TypeError):
        checks.unit_from_data({**asdict(UNIT), "exercises": [{"name": "x", "points": 1, "minutes": 1, "mintues": 2}]})
    with pytest.raises(KeyError):
        checks.unit_from_data({"name": "x"})


def test_an_exercise_is_found_by_name():
    assert UNIT.exercise("cp").extension and UNIT.folder == "03_low_rank"
    with pytest.raises(KeyError, match="it has truncate, cp"):
        UNIT.exercise("tucker")
