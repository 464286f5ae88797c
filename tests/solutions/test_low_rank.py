"""Unit 03: its checks accept what is right under any secret, and its results keep their word."""

import pytest
import torch

from nutshell import artefact, results
from solutions.low_rank import checks, reference

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
