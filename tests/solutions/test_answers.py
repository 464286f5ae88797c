"""Checks are tested by answers: every mutant is rejected with a helpful message, every alternative is accepted."""

import pytest

from autograder import units
from autograder.answers import judge_answer, not_given, too_few
from autograder.sandbox import Sandbox
from nutshell.checks import Answer


def own(name: str) -> list[Answer]:
    """Answers to the exercises that a unit doesn't borrow: those are judged where they are written."""
    source = units.load(name)
    return [answer for answer in source.answers() if source.home(answer.exercise) is source]


NAMES = units.names()
ANSWERS = [(name, answer) for name in NAMES for answer in own(name)]


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
def test_a_labs_cell_can_hold_every_answer(name):
    source = units.load(name)
    missing = {answer.implementation.__name__: not_given(source, answer) for answer in source.answers()}
    assert {answer: names for answer, names in missing.items() if names} == {}


def test_some_answers_are_judged_the_same_in_the_sandbox():
    """A mutant and an alternative of each unit; ``nutshell mutants --sandbox`` runs all."""
    chosen = ["forgets_groups", "runs_it_on_the_meta_device", "tucker_cuts_the_core", "factorise_by_eigenvectors"]
    with Sandbox("bubblewrap") as box:
        for name, answer in ANSWERS:
            if answer.implementation.__name__ in chosen:
                outcome = judge_answer(units.load(name), answer, box)
                assert outcome.as_wanted and outcome.in_sandbox.accepted == answer.right
                assert outcome.in_sandbox.check == outcome.over_wire.check
                chosen.remove(answer.implementation.__name__)
    assert chosen == []


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_as_many_answers_as_the_syllabus_asks(name):
    assert too_few(units.load(name)) == []


def test_units_are_found():
    assert {"counting", "low_rank"} <= set(NAMES)
    assert len(ANSWERS) == len({(name, answer.implementation.__name__) for name, answer in ANSWERS})
