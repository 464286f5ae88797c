"""Unit 13: its reference against other ways to the same numbers, its checks against mistakes, its training held."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import nn

from nutshell import artefact, pipelines
from nutshell.checks import Answer, checks_of
from nutshell.data.dataset import Dataset, Split
from nutshell.wire import running
from solutions.in_a_nutshell import checks, mutants, orders, reference, training

EXERCISES = {exercise.name: exercise for exercise in checks.UNIT.exercises}


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Bits ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_bits_are_scipys_entropy_of_one_source(kept, counts):
    shares = [count / sum(counts) for count in counts]
    symbols = [1 - kept, *(kept * share for share in shares)]
    assert reference.bits_per_weight(kept, shares) == pytest.approx(entropy(symbols, base=2), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(1, 64))
def test_ratios_never_multiply(kept, centroids):
    bits = reference.bits_per_weight(kept, [1 / centroids] * centroids)
    assert bits > kept * math.log2(centroids)


@pytest.mark.parametrize(("kept", "centroids"), [(0.1, 16), (0.5, 4), (0.02, 8), (1.0, 16)])
def test_a_file_comes_close_to_the_bound_and_never_below_it(kept, centroids):
    rng = np.random.default_rng(0)
    values = np.where(rng.random(60_000) < kept, 1 + rng.integers(0, centroids, 60_000), 0).astype(np.float32)
    weight = torch.from_numpy(values.reshape(200, 300))
    there = weight[weight != 0]
    shares = [float((there == value).double().mean()) for value in there.unique()]
    bound = reference.bits_per_weight(float((weight != 0).double().mean()), shares) * weight.numel() / 8
    encoding = artefact.Codebook(coder="ans") if kept == 1 else artefact.Sparse(
        artefact.Codebook(coder="ans"), limit=512, coder="ans")
    payload = encoding.encode(weight)[1]
    assert bound < len(payload) < 1.05 * bound + 600  # tables and codebook


# Orders --------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_prunings_are_nested(m, n, a, b, seed):
    weight = _normal(m, n, seed=seed)
    assert reference.commutator(weight, ("prune", a), ("prune", b)) == 0
    assert reference.commutator(weight, ("rows", a), ("rows", b)) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 1000))
def test_truncations_are_nested(m, n, a, b, seed):
    assert reference.commutator(_normal(m, n, seed=seed), ("rank", a), ("rank", b)) < 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.floats(0, 0.95), st.integers(0, 1000))
def test_rounding_and_pruning_differ_in_ties_only(size, bits, share, seed):
    """Where the two orders differ, the rounded magnitudes on both sides of the cut are the same."""
    weight = _normal(1, size, seed=seed)
    one = pipelines.apply_all(weight, [("prune", share), ("round", bits)])
    other = pipelines.apply_all(weight, [("round", bits), ("prune", share)])
    gone = round(share * size)
    if gone < size:  # the largest one stays, and with it the grid
        level = pipelines.apply(weight, ("round", bits)).abs().flatten().sort().values
        where = (one - other).abs().flatten() > 1e-12
        sizes = torch.maximum(one.abs(), other.abs()).flatten()[where]
        torch.testing.assert_close(sizes, level[gone - 1].expand_as(sizes))


@given(st.sampled_from(sorted(pipelines.STEPS)), st.sampled_from(sorted(pipelines.STEPS)), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_the_commutator_is_symmetric_and_free_of_scale(one, other, seed):
    amounts = {"prune": 0.5, "round": 4, "rank": 0.5, "rows": 0.5, "sign": 0.0}
    weight, first, second = _normal(6, 8, seed=seed), (one, amounts[one]), (other, amounts[other])
    there = reference.commutator(weight, first, second)
    assert reference.commutator(weight, second, first) == pytest.approx(there, abs=1e-9)
    assert reference.commutator(4 * weight, first, second) == pytest.approx(there, abs=1e-9)


@pytest.mark.parametrize(("step", "word"), [
    (("prune", 1.5), "share"), (("round", 1), "bits"), (("round", 2.5), "bits"), (("rank", 0.0), "share"),
    (("squash", 1), "no step"), (("rows", -1), "share"),
])
def test_steps_that_can_not_be_are_refused(step, word):
    with pytest.raises(ValueError, match=word):
        pipelines.apply(torch.eye(3), step)


def test_steps_leave_the_weights_alone():
    weight = _normal(4, 5)
    before = weight.clone()
    for name, amount in (("prune", 0.5), ("round", 3), ("rank", 0.5), ("rows", 0.5), ("sign", 0)):
        pipelines.apply(weight, (name, amount))
        assert torch.equal(weight, before)
    assert torch.equal(pipelines.apply(torch.zeros(2, 2), ("round", 4)), torch.zeros(2, 2))


# Two at once ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 14), st.integers(2, 14), st.integers(0, 1000), st.data())
def test_rounds_never_move_away(m, n, seed, draw):
    weight = _normal(m, n, seed=seed)
    rank, kept = draw.draw(st.integers(0, min(m, n))), draw.draw(st.integers(0, m * n))
    errors = []
    for rounds in (1, 2, 3, 6):
        low, sparse = reference.low_rank_plus_sparse(weight, rank, kept, rounds)
        assert int((sparse != 0).sum()) <= kept
        assert int(torch.linalg.matrix_rank(low, rtol=1e-9)) <= rank
        errors.append(float((weight - low - sparse).norm()))
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))


def test_the_parts_are_stationary():
    weight = checks._planted(np.random.default_rng(3), (24, 18), 2, 8)
    low, sparse = reference.low_rank_plus_sparse(weight, 2, 8, 40)
    again, _ = reference.low_rank_plus_sparse(weight - sparse, 2, 0, 1)
    torch.testing.assert_close(low, again)


# A camera ------------------------------------------------------------------------------------------------------------


def _ticking(durations, period):
    """The same stream, a microsecond at a time: what has come is looked at when the network is free."""
    seen, due, newest, last, now = [], list(durations), -1, -1, 0
    free_at = 0
    while due:
        if now % period == 0:
            newest = now // period
        while due and now >= free_at and newest > last:
            last = newest
            free_at = now + due.pop(0)
            seen.append((last, free_at - last * period))
        now += 1
    return seen


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 15))
def test_a_camera_is_a_clock(durations, period):
    assert reference.camera(durations, period) == _ticking(durations, period)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 100))
def test_frames_rise_and_ages_are_bounded(durations, period):
    seen = reference.camera(durations, period)
    frames = [frame for frame, _ in seen]
    assert frames == sorted(set(frames)) and frames[0] == 0
    assert all(duration <= age < duration + period for duration, (_, age) in zip(durations, seen, strict=True))


# The contest ---------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 64), st.integers(0, 64), st.integers(0, 10), st.integers(1, 30_000), st.integers(1, 900))
def test_the_score_is_exact(right, floor, power, images, limit):
    accuracy, seconds = right / 64, 2.0**-power
    score = reference.contest_score(accuracy, 4.0, seconds, floor=floor / 64, images=images, limit=float(limit))
    done = min(images, int(Fraction(limit) / Fraction(seconds)))
    passed = done and Fraction(right, 64) * done >= Fraction(floor, 64) * images
    assert score == pytest.approx(accuracy / 4e-6 if passed else 0.0)


# Looking inside ------------------------------------------------------------------------------------------------------


def test_maps_add_up_to_the_logits_of_a_network_with_pooling():
    trunk = nn.Sequential(nn.Conv2d(1, 7, 3), nn.ReLU())
    head = nn.Linear(7, 5)
    image = torch.randn(1, 1, 9, 8)
    features = trunk(image)[0].detach()
    logits = head(features.mean((1, 2))).detach()
    for label in range(5):
        found = reference.class_activation_map(features, head.weight.detach(), label)
        assert float(found.mean() + head.bias[label].detach()) == pytest.approx(float(logits[label]), abs=1e-5)


def test_a_square_as_large_as_the_image_leaves_the_bias():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    image = _normal(1, 4, 4)
    found = reference.occlusion_map(network, image, 1, 4)
    torch.testing.assert_close(found[0, 0], network(image[None])[0, 1] - network[1].bias[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 1), st.integers(0, 100))
def test_dissection_counts_places(count, height, width, share, seed):
    rng = np.random.default_rng(seed)
    activations = torch.from_numpy(rng.permutation(count * height * width).reshape(count, height, width)).double()
    masks = torch.from_numpy(rng.random((count, height, width)) < 0.4)
    order = activations.flatten().argsort(descending=True)
    on = set(order[: max(1, round(share * len(order)))].tolist())
    shown = set(masks.flatten().nonzero().flatten().tolist())
    assert reference.dissect(activations, masks, share) == pytest.approx(len(on & shown) / len(on | shown))


# Checks against mistakes ---------------------------------------------------------------------------------------------


CAUSES = [
    ("bits_per_weight", mutants.bits_without_positions, "positions are missing"),
    ("bits_per_weight", mutants.bits_with_a_mask, "mask of one bit"),
    ("bits_per_weight", mutants.bits_half_an_entropy, "half of the positions"),
    ("bits_per_weight", mutants.bits_in_nats, "nats"),
    ("bits_per_weight", mutants.bits_of_kept_positions, "kept weights only"),
    ("bits_per_weight", mutants.bits_of_no_number, "makes no number"),
    ("commutator", mutants.commutator_not_relative, "isn't divided"),
    ("commutator", mutants.commutator_side_by_side, "side by side"),
    ("commutator", mutants.commutator_spectral, "spectral"),
    ("commutator", mutants.commutator_of_norms, "norms are compared"),
    ("low_rank_plus_sparse", mutants.parts_turned_round, "L first"),
    ("low_rank_plus_sparse", mutants.parts_that_grow, "grows from round to round"),
    ("low_rank_plus_sparse", mutants.parts_without_signs, "have signs"),
    ("low_rank_plus_sparse", mutants.parts_in_place, "changed in place"),
    ("low_rank_plus_sparse", mutants.parts_dense, "dense"),
    ("low_rank_plus_sparse", mutants.parts_in_one_round, "Only one round"),
    ("camera", mutants.camera_with_a_queue, "queue up"),
    ("camera", mutants.camera_without_waiting, "waiting not"),
    ("camera", mutants.camera_that_cannot_wait, "before it has come"),
    ("camera", mutants.camera_of_fresh_pictures, "when the network begins"),
    ("contest_score", mutants.score_of_parts_of_images, "part of one doesn't count"),
    ("contest_score", mutants.score_only_in_time, "time is over"),
    ("contest_score", mutants.score_in_microjoules, "microjoules"),
    ("contest_score", mutants.score_with_a_floor_on_the_reached, "what was reached"),
    ("contest_score", mutants.score_above_the_floor_only, "enough"),
    ("class_activation_map", mutants.map_cut_off, "cut off at 0"),
    ("occlusion_map", mutants.occlusion_piles_up, "stay blanked"),
    ("class_activation_map", mutants.map_over_the_places, "divided by the places"),
    ("occlusion_map", mutants.occlusion_in_place, "blanked in the image itself"),
    ("occlusion_map", mutants.occlusion_of_one_channel, "Only the first channel"),
    ("dissect", mutants.dissect_by_quantile, "place too many"),
    ("dissect", mutants.dissect_over_the_concept, "concept's places"),
]


@pytest.mark.parametrize(("exercise", "wrong", "cause"), CAUSES, ids=[wrong.__name__ for _, wrong, _ in CAUSES])
def test_a_mistake_gets_its_cause(exercise, wrong, cause):
    verdicts = running.try_answer(Answer(exercise, wrong, right=False), checks_of(checks), reference)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    assert failed and any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]
    assert all(verdict.next_step for verdict in failed)


# Training ------------------------------------------------------------------------------------------------------------


def _few(count=64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    part = Split(images, torch.arange(count) % 10, (0.0,), (1.0,))
    return Dataset("noise", part, part, part, tuple("0123456789"))


def test_the_entry_is_trained_on_the_grid_that_its_file_keeps(tmp_path):
    plan = training.Plan(epochs=1, rounded_epochs=1, batch_size=32)
    network = training.train(training.entry(seed=1), _few(), plan, 0, None, tmp_path / "state", on_grid=True)
    stored = artefact.read(artefact.to_bytes(network, input_shape=(1, 28, 28),
                                             encodings=training.encodings(network, plan.bits)))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(stored.network.get_parameter(name), parameter, rtol=1e-5, atol=1e-7)
        if parameter.ndim > 1:
            assert max(len(row.unique()) for row in parameter.detach().flatten(1)) <= 2**plan.bits - 1


def test_an_interrupted_training_goes_on(tmp_path):
    plan = training.Plan(epochs=2, batch_size=32)
    whole = training.train(training.entry(), _few(), plan, 0, None, tmp_path / "whole")
    training.train(training.entry(), _few(), plan, 0, None, tmp_path / "again")
    again = training.train(training.entry(seed=9), _few(), plan, 0, None, tmp_path / "again")
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(again.get_parameter(name), parameter)


def test_activations_of_the_entry_fit_into_eight_kilobytes():
    found = artefact.read(artefact.to_bytes(training.entry(), input_shape=(1, 28, 28)))
    assert max(4 * math.prod(shape) for shape in found.shapes) <= 8192
    assert found.macs == 34_656


@pytest.mark.parametrize("order", [("prune", "share"), ("share", "prune"), ("rank", "prune", "share"),
                                   ("prune", "share", "rank"), ("share", "rank", "prune")])
def test_training_on_holds_what_can_be_held(order, monkeypatch):
    plan = orders.Plan("lenet-300-100", "fc1", 5, 0.1, 8, training_recipe())
    network = orders.models.build("lenet-300-100", seed=0)
    done = ()
    for step in order:
        done = (*done, step)
        network = orders.tuned(orders.step(network, step, plan), done, plan, _few(), 0)
    held = order[order.index("rank") + 1 :] if "rank" in order else order
    inside = [weight for name, weight in orders.weights(network).items() if name.startswith("fc1")]
    assert len(inside) == (2 if "rank" in order else 1)
    for weight in inside:
        if "prune" in held:
            assert float((weight == 0).double().mean()) >= 0.89
        if "share" in held:
            assert len(weight[weight != 0].unique()) <= 8
        if not held:
            assert len(weight.unique()) > 100 and not (weight == 0).any()
    for name in ("fc2.weight", "fc3.weight"):
        assert float((network.get_parameter(name) == 0).double().mean()) >= 0.89


def training_recipe():
    from nutshell.training import Recipe

    return Recipe(epochs=1, batch_size=32)


def test_what_is_stored_is_the_network():
    plan = orders.Plan("lenet-300-100", "fc1", 5, 0.1, 8, training_recipe())
    network = orders.models.build("lenet-300-100", seed=0)
    for name in ("rank", "prune", "share"):
        network = orders.step(network, name, plan)
    for coder in ("fixed", "ans"):
        found = artefact.read(artefact.to_bytes(network, input_shape=(1, 28, 28),
                                                encodings=orders.encodings(network, coder)))
        images = torch.rand(3, 1, 28, 28)
        torch.testing.assert_close(found.network(images), network(images), rtol=1e-4, atol=1e-4)
