"""What is true of every unit: its reference and its alternatives pass under any secret, and its core fits its time."""

import pytest

from autograder import units
from nutshell.checks import Answer, checks_of
from nutshell.wire import running
from nutshell.wire.channel import Loopback
from nutshell.wire.standins import Implementation

SOURCES = {name: units.load(name) for name in units.names()}
WRITTEN = [name for name, source in SOURCES.items() if checks_of(source.checks)]  # the workshop borrows all of its own
SECRETS = range(1, 7)


def alternatives(name: str) -> list[Answer]:
    """Right answers that are written otherwise, to exercises that the unit doesn't borrow."""
    source = SOURCES[name]
    return [answer for answer in source.answers() if answer.right and source.home(answer.exercise) is source]


ALTERNATIVES = [(name, answer) for name in WRITTEN for answer in alternatives(name)]


@pytest.mark.parametrize("seed", [running.PUBLIC_SEED, *range(1, 9)])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_reference_passes_all_checks_over_the_wire(name, seed):
    source = SOURCES[name]
    checks = checks_of(source.checks)
    learner, truth = (Implementation(Loopback(vars(source.reference))) for _ in range(2))
    verdicts = running.run_checks(checks, learner, truth, seed)
    assert [verdict for verdict in verdicts if verdict.status != running.OK] == []
    assert len(verdicts) == len(checks)


@pytest.mark.parametrize(
    ("name", "answer"), ALTERNATIVES, ids=[f"{name}-{answer.implementation.__name__}" for name, answer in ALTERNATIVES]
)
def test_alternatives_are_accepted_under_other_secrets(name, answer):
    source = SOURCES[name]
    for seed in SECRETS:
        verdicts = running.try_answer(answer, checks_of(source.checks), source.reference, seed=seed)
        assert verdicts and [verdict for verdict in verdicts if not verdict.passed] == []


@pytest.mark.parametrize("name", WRITTEN)
def test_mutants_are_rejected_under_another_secret(name):
    source = SOURCES[name]
    wrong = [answer for answer in source.answers() if not answer.right and source.home(answer.exercise) is source]
    passed = [answer.implementation.__name__ for answer in wrong if all(
        verdict.passed for verdict in running.try_answer(answer, checks_of(source.checks), source.reference, seed=1))]
    assert wrong and passed == []


@pytest.mark.parametrize("name", WRITTEN)
def test_every_exercise_has_public_and_hidden_checks(name):
    source = SOURCES[name]
    for exercise in source.unit.exercises:
        assert {check.hidden for check in checks_of(source.checks, exercise.name)} == {False, True}, exercise.name


@pytest.mark.parametrize("name", WRITTEN)
def test_core_exercises_take_sixty_to_ninety_minutes_and_at_most_six_carry_points(name):
    core = [exercise for exercise in SOURCES[name].unit.exercises if not exercise.extension]
    assert len(core) <= 6 and all(exercise.points > 0 for exercise in core)
    assert 60 <= sum(exercise.minutes for exercise in core) <= 90
