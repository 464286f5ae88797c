"""Unit 12: its reference holds what the papers say, against oracles and peers, and its results keep their word."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, meter, results
from nutshell.checks import Answer, checks_of
from nutshell.wire import running
from solutions.architecture_search import checks, mutants, reference
from solutions.architecture_search.real import FILE

SMALL = {(a, b): float(3 * a + b) for a in range(3) for b in range(3)}


def network(space, architecture):
    """The network that an architecture of the space stands for."""
    layers, channels = [], space.channels
    for kernel, width in zip(architecture[::2], architecture[1::2], strict=True):
        layers += [nn.Conv2d(channels, space.widths[width], space.kernels[kernel], padding="same"), nn.ReLU(),
                   nn.MaxPool2d(2)]
        channels = space.widths[width]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, space.classes))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_costs_are_the_meters(draw):
    kernels = tuple(draw.draw(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=3)))
    widths = tuple(draw.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    stages = draw.draw(st.integers(1, 3))
    space = reference.SearchSpace(kernels, widths, stages, draw.draw(st.integers(2**stages, 20)), 2, 3)
    architecture = tuple(draw.draw(st.integers(0, len(options) - 1)) for options in (kernels, widths) * stages)
    counted = meter.count(network(space, architecture), (1, 2, space.side, space.side))
    assert space.cost(architecture) == (counted.parameters, counted.macs)


def test_samples_lie_under_both_caps_and_a_cap_too_low_is_refused():
    space = reference.SearchSpace((1, 3), (2, 4), 2, side=8)
    least = min(space.cost(one) for one in itertools.product(range(2), repeat=4))
    assert set(space.sample(20, *least)) == {(0, 0, 0, 0)}
    with pytest.raises(ValueError, match="No network"):
        space.sample(1, least[0] - 1, 10**9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 10**6))
def test_a_mutation_is_a_neighbour(options, seed):
    architecture = tuple(random.Random(seed).randrange(number) for number in options)
    if max(options) == 1:
        with pytest.raises(ValueError, match="only one"):
            reference.mutate(architecture, tuple(options), seed)
        return
    found = reference.mutate(architecture, tuple(options), seed)
    assert sum(a != b for a, b in zip(found, architecture, strict=True)) == 1
    assert all(0 <= option < number for option, number in zip(found, options, strict=True))


def test_the_oldest_dies_even_if_it_is_the_best():
    for seed in range(30):
        born = reference.ageing_evolution(SMALL, (3, 3), 4, 4, 60, seed)
        for number in range(4, 60):
            alive = range(number - 4, number)
            assert born[number][1] in alive
            assert SMALL[born[born[number][1]][0]] == max(SMALL[born[one][0]] for one in alive)


def test_evolution_beats_luck_where_neighbours_are_alike():
    options = (4,) * 5
    scores = {one: float(sum(one)) for one in itertools.product(range(4), repeat=5)}
    evolved = [max(scores[a] for a, _ in reference.ageing_evolution(scores, options, 10, 4, 60, seed))
               for seed in range(20)]
    lucky = [max(random.Random(seed).choices(list(scores.values()), k=60)) for seed in range(20)]
    assert np.mean(evolved) > np.mean(lucky) + 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(2, 3), st.floats(-3, 3), st.integers(0, 1000))
def test_the_expected_step_is_the_gradient_whatever_the_baseline(places, options, baseline, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(places, options, generator=generator, dtype=torch.float64)
    space = torch.tensor(list(itertools.product(range(options), repeat=places)))
    rewards = torch.randn(len(space), generator=generator, dtype=torch.float64)
    leaf = logits.clone().requires_grad_()
    chances = leaf.softmax(1)[torch.arange(places), space].prod(1)
    (want,) = torch.autograd.grad(chances @ rewards, leaf)
    steps = torch.stack([reference.reinforce_step(logits, one[None], reward[None], 1.0, baseline) - logits
                         for one, reward in zip(space, rewards, strict=True)])
    torch.testing.assert_close(torch.einsum("a,apo->po", chances.detach(), steps), want)


def test_reinforcement_finds_the_best_of_a_small_space():
    logits, generator = torch.zeros(2, 3), torch.Generator().manual_seed(0)
    for _ in range(200):
        actions = torch.multinomial(logits.softmax(1), 8, replacement=True, generator=generator).T
        rewards = torch.tensor([SMALL[tuple(one)] for one in actions.tolist()])
        logits = reference.reinforce_step(logits, actions, rewards, 0.3, float(rewards.mean()))
    assert logits.argmax(1).tolist() == [2, 2] and logits.softmax(1).amax(1).min() > 0.9


def test_candidates_live_in_one_weight():
    layer = reference.SharedConv(6, 8, 5)
    x = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    whole = nn.functional.conv2d(x, layer.conv.weight, layer.conv.bias, padding=2)
    torch.testing.assert_close(layer(x, 8, 5), whole)
    torch.testing.assert_close(layer(x, 3, 5), whole[:, :3])
    with torch.no_grad():
        layer.conv.weight[:, :, [0, 0, 4, 4], [0, 4, 0, 4]] = 0
        layer.conv.weight[:, :, :1] = layer.conv.weight[:, :, 4:] = 0
        layer.conv.weight[..., :1] = layer.conv.weight[..., 4:] = 0
    torch.testing.assert_close(layer(x, 8, 3), layer(x, 8, 5))  # a ring of zeros is no kernel at all


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14))
def test_front_and_hypervolume_belong_together(points):
    table, corner = torch.tensor(points, dtype=torch.float64).view(-1, 2), torch.tensor([6.0, 6.0], dtype=torch.float64)
    front = reference.pareto_front(table)
    area = reference.hypervolume(table, corner)
    assert area == sum(any(a <= x and b <= y for a, b in points) for x in range(6) for y in range(6))
    assert reference.hypervolume(table[front], corner) == area
    kinds = Counter(map(tuple, table[front].tolist()))
    for point in kinds:  # each different point of the front is needed
        others = table[[row for row in front if tuple(table[row].tolist()) != point]]
        assert reference.hypervolume(others.view(-1, 2), corner) < area


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(2, 4), st.data())
def test_halving_looks_at_nothing_that_it_has_not_trained(candidates, epochs, rate, draw):
    first = draw.draw(st.integers(1, epochs))
    errors = torch.rand(candidates, epochs, generator=torch.Generator().manual_seed(candidates), dtype=torch.float64)
    rounds, spent = reference.successive_halving(errors, rate, first)
    hidden = errors.clone()
    trained = [max(done for done, alive in rounds if number in alive) for number in range(candidates)]
    for number, done in enumerate(trained):
        hidden[number, done:] = torch.nan
    assert reference.successive_halving(hidden, rate, first) == (rounds, spent)
    assert spent == sum(trained) and rounds[0] == (first, list(range(candidates)))
    for (before, many), (after, few) in itertools.pairwise(rounds):
        assert after == min(epochs, before * rate) and len(few) == max(1, len(many) // rate) and set(few) < set(many)


def _verdicts(exercise, wrong):
    answer = Answer(exercise, wrong, right=False)
    return [v for v in running.try_answer(answer, checks_of(checks), reference, include_hidden=False) if not v.passed]


CAUSES = [
    ("SearchSpace", mutants.SpaceWithoutBiases, "biases of the convolutions"),
    ("SearchSpace", mutants.SpaceThatRoundsUp, "rounds down"),
    ("SearchSpace", mutants.SpaceThatShrinks, "prefers"),
    ("SearchSpace", mutants.SpaceOfOneDraw, "anew with the same seed"),
    ("SearchSpace", mutants.SpaceOfThinFilters, "kernel × kernel"),
    ("mutate", mutants.mutate_from_all, "the old one among them"),
    ("mutate", mutants.mutate_with_two_generators, "two generators of the same seed"),
    ("mutate", mutants.mutate_where_nothing_can_change, "no other one"),
    ("ageing_evolution", mutants.evolution_kills_the_worst, "best never leaves"),
    ("ageing_evolution", mutants.evolution_that_spares_the_best, "best never leaves"),
    ("ageing_evolution", mutants.evolution_that_buries_first, "leaves before the tournament"),
    ("ageing_evolution", mutants.evolution_with_one_seed, "same seed at every birth"),
    ("ageing_evolution", mutants.evolution_with_places_as_parents, "counted in the population"),
    ("ageing_evolution", mutants.evolution_from_a_clone, "drawn once and copied"),
    ("reinforce_step", mutants.reinforce_only_what_was_taken, "has to go down"),
    ("reinforce_step", mutants.reinforce_in_place, "changed in place"),
    ("reinforce_step", mutants.reinforce_in_turn, "where the last one ended"),
    ("reinforce_step", mutants.reinforce_averages_places, "is their sum"),
    ("SharedConv", mutants.SharedCorner, "corner"),
    ("SharedConv", mutants.SharedFromHalf, "kernel // 2"),
    ("pareto_front", mutants.front_as_a_mask, "whether it is on the front"),
    ("pareto_front", mutants.front_of_the_nowhere_beaten, "smaller in any number"),
    ("pareto_front", mutants.front_where_equals_kill, "Equal points"),
    ("successive_halving", mutants.halving_knows_the_end, "of the last epoch"),
    ("successive_halving", mutants.halving_knows_the_next_epoch, "of the next epoch"),
    ("successive_halving", mutants.halving_stops_at_one, "A round is missing"),
    ("hypervolume", mutants.volume_of_trapezes, "Slanted lines"),
]


@pytest.mark.parametrize(("exercise", "wrong", "cause"), CAUSES, ids=[one[1].__name__ for one in CAUSES])
def test_a_mistake_gets_its_cause(exercise, wrong, cause):
    failed = _verdicts(exercise, wrong)
    assert failed and all(verdict.next_step for verdict in failed)
    assert any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]


def test_the_budget_is_a_cap_on_parameters_macs_and_error():
    (budget,) = checks.UNIT.budgets
    assert budget.any_network and [limit.metric for limit in budget.limits] == ["params", "macs", "error_percent"]
    space = reference.SearchSpace((1, 3, 5), (4, 8, 16), 3)
    inside = [space.cost(one) for one in itertools.product(range(3), repeat=6)]
    fitting = sum(p <= budget.limits[0].at_most and m <= budget.limits[1].at_most for p, m in inside)
    assert 50 < fitting < 600  # a cap that leaves a choice


def test_results_are_over_many_seeds_under_one_cap():
    found = results.load("architecture_search")
    assert found["runs"] >= 20
    names = [row["name"] for row in found["searches"]]
    assert {"random", "ageing evolution", "reinforcement", "successive halving"} <= set(names)
    for row in found["searches"]:
        assert row["runs"] == found["runs"]
        volume = row["hypervolume"]
        assert 0 < volume["low"] <= volume["mean"] <= volume["high"] <= 1
        best = row["best_validation_error_percent"]
        assert min(error for _, error in found["front"]) - 1e-9 <= best["low"] <= best["high"]
        assert all(macs <= found["cap"]["macs"] for macs, _ in row["front"])


def test_the_network_found_is_the_file_and_keeps_its_cap():
    real = results.load("architecture_search")["real"]
    if not real.get("chosen", {}).get("file"):
        assert not (results.folder() / FILE).exists()
        return
    loaded = artefact.load(results.folder() / real["chosen"]["file"])
    assert loaded.bytes == real["chosen"]["bytes"]
    assert loaded.macs == real["chosen"]["macs"] <= real["cap"]["macs"]
    assert math.isclose(sum(p.numel() for p in loaded.network.parameters()), real["chosen"]["parameters"])
    assert real["chosen"]["parameters"] <= real["cap"]["parameters"] and real["cpu_minutes"] <= 10
