"""Unit 03: its checks accept what is right under any secret, and its results keep their word."""

import pytest
import torch

from nutshell import artefact, results
from nutshell.checks import answers_of, checks_of
from nutshell.wire import running
from nutshell.wire.channel import Loopback
from nutshell.wire.standins import Implementation
from solutions.low_rank import checks, mutants, reference

CHECKS = checks_of(checks)


def _name(answer):
    return answer.implementation.__name__


@pytest.mark.parametrize("seed", [running.PUBLIC_SEED, 1, 2, 3])
def test_reference_passes_all_checks_over_the_wire(seed):
    learner, truth = (Implementation(Loopback(vars(reference))) for _ in range(2))
    verdicts = running.run_checks(CHECKS, learner, truth, seed)
    assert [verdict for verdict in verdicts if verdict.status != running.OK] == []
    assert len(verdicts) == len(CHECKS)


@pytest.mark.parametrize("answer", [answer for answer in answers_of(mutants) if answer.right], ids=_name)
def test_alternatives_are_accepted_under_other_secrets(answer):
    for seed in (1, 2):
        verdicts = running.try_answer(answer, CHECKS, reference, seed=seed)
        assert [verdict for verdict in verdicts if not verdict.passed] == []


def test_every_exercise_has_public_and_hidden_checks():
    for exercise in checks.UNIT.exercises:
        hidden = {check.hidden for check in CHECKS if check.exercise == exercise.name}
        assert hidden == {False, True}, exercise.name


def test_core_exercises_take_sixty_to_ninety_minutes():
    core = [exercise for exercise in checks.UNIT.exercises if not exercise.extension]
    assert len(core) <= 6
    assert 60 <= sum(exercise.minutes for exercise in core) <= 90


LARGEST_RANKS_THAT_SAVE = [(784, 300, 216), (300, 100, 74), (800, 500, 307), (400, 120, 92)]


@pytest.mark.parametrize(("m", "n", "largest_that_saves"), LARGEST_RANKS_THAT_SAVE)
def test_ranks_of_the_known_layers(m, n, largest_that_saves):
    assert reference.break_even_rank(m, n) == largest_that_saves + 1
    assert reference.compression_rate(m, n, largest_that_saves) > 1
    assert reference.compression_rate(m, n, largest_that_saves + 1) <= 1


def test_300_by_100_breaks_even_exactly():
    assert reference.break_even_rank(300, 100, absorbed=True) == 75
    assert reference.compression_rate(300, 100, 75, absorbed=True) == 1.0


def test_lab_names_the_budget_of_the_first_layer():
    (budget,) = checks.UNIT.budgets
    assert budget.topology == "lenet-300-100"
    assert [(limit.metric, limit.at_most, limit.layer) for limit in budget.limits] == [
        ("layer_bytes", 188_400, 1), ("points_lost", 0.5, None)]


def test_reference_result_is_reached_and_its_file_is_that_network():
    found = results.load("low_rank")
    reached = found["reference"]
    assert found["data"] == "mnist"
    assert len(found["seeds"]) >= 3
    assert reached["first_layer_rate"] >= 7
    assert reached["points_lost"]["mean"] <= 0.2
    loaded = artefact.load(results.folder() / "low_rank.nut")
    assert loaded.bytes == reached["file_bytes"]
    shapes = {tuple(parameter.shape) for parameter in loaded.network.parameters()}
    assert {(reached["rank"], 784), (300, reached["rank"])} <= shapes


def test_factors_are_as_far_apart_as_the_theory_says():
    weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(weight)
    for rank in (1, 7, 19):
        layer = reference.factorise(weight, None, rank)
        product = layer[1].weight @ layer[0].weight
        torch.testing.assert_close((weight - product).square().sum(), values[rank:].square().sum())
