"""Checks are tested by answers: every mutant is rejected with a helpful message, every alternative is accepted."""

import pytest

from autograder import units
from autograder.answers import judge_answer, too_few
from nutshell.checks import answers_of

NAMES = units.names()
ANSWERS = [(name, answer) for name in NAMES for answer in answers_of(units.load(name).mutants)]


@pytest.mark.parametrize(
    ("name", "answer"), ANSWERS, ids=[f"{name}-{answer.implementation.__name__}" for name, answer in ANSWERS]
)
def test_answer_is_judged_rightly_directly_and_over_the_wire(name, answer):
    outcome = judge_answer(units.load(name), answer)
    for way in (outcome.directly, outcome.over_wire):
        if answer.right:
            assert way.accepted, f"{way.check} refuses {answer.title!r}: {way.message}"
        else:
            assert not way.accepted, f"no check of {answer.exercise} notices: {answer.title}"
            assert len(way.message.split()) >= 6, f"{way.check} doesn't help: {way.message!r}"
    assert outcome.as_wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_as_many_answers_as_the_syllabus_asks(name):
    assert too_few(units.load(name)) == []


def test_units_are_found():
    assert {"counting", "low_rank"} <= set(NAMES)
    assert len(ANSWERS) == len({(name, answer.implementation.__name__) for name, answer in ANSWERS})
