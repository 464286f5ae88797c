"""Unit 07: its checks accept what is right under any secret, its library agrees with independent oracles."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import nn

from nutshell import artefact, models, results
from nutshell.artefact.coders import huffman as toolkit
from nutshell.checks import Answer, checks_of
from nutshell.wire import running
from solutions.deep_compression import checks, mutants, reference

CHECKS = checks_of(checks)
numbers = st.lists(st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 2)), min_size=1, max_size=25)


def test_the_budget_is_thirty_times_fewer_bytes():
    (budget,) = checks.UNIT.budgets
    assert budget.topology == "lenet-300-100"
    assert [(limit.metric, round(limit.at_most, 6)) for limit in budget.limits] == [
        ("bytes", 35_548.0), ("error_percent", 2.2)]


# Causes ---------------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("codebook", mutants.codebook_without_rounds, "no round has been done"),
    ("codebook", mutants.codebook_by_medians, "medians of the members"),
    ("codebook", mutants.codebook_of_nans, "mean of no members"),
    ("codebook", mutants.codebook_drops_lonely_centroids, "were dropped"),
    ("codebook", mutants.codebook_of_zeros_for_lonely, "was moved; it stays"),
    ("codebook", mutants.codebook_in_middles_of_bins, "middles of q equal parts"),
    ("codebook", mutants.codebook_density_of_ends, "begin at 0 and end at 1"),
    ("codebook", mutants.codebook_of_different_values, "counts several times"),
    ("codebook", mutants.codebook_one_after_the_other, "before any centroid moves"),
    ("codebook", mutants.codebook_fills_lonely_centroids, "was moved; it stays"),
    ("codebook", mutants.codebook_ignores_seed, "seed isn't used"),
    ("share", mutants.share_trusts_the_order, "taken for granted"),
    ("share", mutants.share_gives_zeros_a_centroid, "Pruned weights got a centroid"),
    ("share", mutants.share_wraps_around, "counts from the end"),
    ("share", mutants.share_prunes_the_zero_centroid, "Pruned weights are exactly 0"),
    ("share", mutants.share_prunes_small_weights, "Pruned weights are exactly 0"),
    ("centroid_gradient", mutants.gradient_of_means, "means over the members"),
    ("centroid_gradient", mutants.gradient_counts_pruned, "count for the last centroid"),
    ("centroid_gradient", mutants.gradient_leaves_out_the_first, "its members are left out"),
    ("centroid_gradient", mutants.gradient_clamps, "count for the first centroid"),
    ("centroid_gradient", mutants.gradient_overwrites, "overwrite one another"),
    ("centroid_gradient", mutants.gradient_too_short, "Centroids at the end"),
    ("centroid_gradient", mutants.gradient_of_the_nearest, "Only the first member"),
    ("huffman_code", mutants.code_of_equal_lengths, "words of equal length cost"),
    ("huffman_code", mutants.code_of_shannon, "each is rounded up"),
    ("huffman_code", mutants.code_with_words_for_nobody, "don't occur have words"),
    ("huffman_code", mutants.code_straight_from_the_tree, "wrong symbols of their length"),
    ("huffman_code", mutants.code_of_one_bit_at_least, "says it all"),
    ("huffman_decode", mutants.decode_to_the_end, "reads on to the last bit"),
    ("pipeline", mutants.pipeline_layer_by_layer, "Each layer was pruned by the same share"),
    ("pipeline", mutants.pipeline_lets_go, "Pruned weights came back"),
    ("pipeline", mutants.pipeline_without_huffman, "words of equal length"),
    ("pipeline", mutants.pipeline_at_once, "to the last share at once"),
    ("pipeline", mutants.pipeline_stores_zeros, "Zeros are stored one by one"),
    ("pipeline", mutants.pipeline_leaves_centroids, "centroids are not trained"),
    ("sharing_rate", mutants.rate_without_codebook, "codebook takes bits too"),
    ("sharing_rate", mutants.rate_of_broken_bits, "whole bits"),
    ("sharing_rate", mutants.rate_of_the_slide, "natural one"),
    ("optimal_codebook", mutants.optimum_of_lloyd, "where Lloyd's rounds end"),
    ("optimal_codebook", mutants.optimum_of_equal_parts, "parts of equal numbers"),
    ("optimal_codebook", mutants.optimum_at_the_gaps, "at the widest gaps"),
]


@pytest.mark.parametrize(("exercise", "wrong", "cause"), MISTAKES, ids=[f"{m[0]}-{m[1].__name__}" for m in MISTAKES])
def test_a_mistake_gets_its_cause_from_a_public_check(exercise, wrong, cause):
    own = [check for check in CHECKS if check.exercise == exercise]
    verdicts = running.try_answer(Answer(exercise, wrong, right=False), own, reference, include_hidden=False)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    assert any(cause in verdict.cause for verdict in failed), [(v.check, v.cause) for v in failed]
    assert all(verdict.next_step for verdict in failed if verdict.status == running.WRONG)


# Codebooks ------------------------------------------------------------------------------------------------------------


def _objective(values, centroids):
    return float(((values[:, None] - centroids).abs().min(1).values ** 2).sum())


@settings(max_examples=60, deadline=None)
@given(numbers, st.sampled_from(["linear", "density", "random"]), st.data())
def test_lloyd_never_rises_and_never_beats_the_optimum(values, start, draw):
    values = torch.tensor(values, dtype=torch.float64)
    q = draw.draw(st.integers(1, len(values)))
    sums = [_objective(values, reference.codebook(values, q, start, 1, rounds)) for rounds in range(6)]
    best = _objective(values, reference.optimal_codebook(values, q))
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(sums))
    assert best <= sums[-1] + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3, allow_nan=False), min_size=1, max_size=9), st.integers(1, 4))
def test_the_optimum_is_that_of_all_ways_to_cut(values, q):
    x = sorted(values)
    if q > len(x):
        return
    best = math.inf
    for cuts in itertools.combinations(range(1, len(x)), q - 1):
        parts = [x[a:b] for a, b in itertools.pairwise([0, *cuts, len(x)])]
        best = min(best, sum(sum((v - sum(p) / len(p)) ** 2 for v in p) for p in parts))
    tensor = torch.tensor(values, dtype=torch.float64)
    found = reference.optimal_codebook(tensor, q)
    assert found.shape == (q,) and bool((found.diff() >= 0).all())
    assert _objective(tensor, found) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("q", [2, 5, 9])
def test_codebook_is_that_of_scikit_learn_from_the_same_start(q):
    values = torch.randn(500, generator=torch.Generator().manual_seed(q), dtype=torch.float64)
    start = np.linspace(float(values.min()), float(values.max()), q)[:, None]
    theirs = KMeans(q, init=start, n_init=1, max_iter=1000, tol=0).fit(values[:, None].numpy())
    ours = reference.codebook(values, q, rounds=1000)
    assert ours.numpy() == pytest.approx(np.sort(theirs.cluster_centers_[:, 0]), abs=1e-9)
    assert _objective(values, ours) == pytest.approx(theirs.inertia_)


def test_codebook_keeps_dtype_and_leaves_the_values_alone():
    values = torch.tensor([3.0, 1.0, 2.0])
    assert reference.codebook(values, 2).dtype == torch.float32
    assert values.tolist() == [3.0, 1.0, 2.0]


# Sharing --------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(numbers, numbers)
def test_share_points_at_the_nearest_and_keeps_zeros(weights, centroids):
    weight, book = torch.tensor(weights), torch.tensor(centroids)
    indices, shared = reference.share(weight, book)
    assert torch.equal(indices == -1, weight == 0)
    assert torch.equal(shared, torch.where(weight == 0, 0.0, book[indices]))
    nearest = (weight[:, None] - book).abs().min(1).values
    assert torch.allclose((weight - shared).abs()[weight != 0], nearest[weight != 0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30))
def test_centroid_gradient_is_that_of_autograd(places):
    indices = torch.tensor(places)
    book = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weights = torch.where(indices < 0, 0.0, book[indices])
    gradient = torch.arange(1.0, len(places) + 1, dtype=torch.float64)
    (want,) = torch.autograd.grad(weights, book, gradient)
    assert torch.allclose(reference.centroid_gradient(gradient, indices, 5), want)


def test_figure_3_of_the_paper():
    indices, gradient = (torch.tensor(part) for part in checks.FIGURE_3)
    found = reference.centroid_gradient(gradient, indices, 4)
    assert found.tolist() == pytest.approx([-0.03, 0.04, 0.02, 0.04], abs=1e-6)


def test_sixteen_weights_and_four_centroids_make_exactly_3_2():
    assert reference.sharing_rate(16, 4) == 3.2


# Huffman's code -------------------------------------------------------------------------------------------------------

some_counts = st.dictionaries(st.integers(0, 60), st.integers(0, 40), min_size=1, max_size=30).filter(
    lambda counts: any(counts.values()))


def _cost(code, counts):
    return sum(counts[symbol] * len(word) for symbol, word in code.items())


@settings(max_examples=100, deadline=None)
@given(some_counts)
def test_huffman_code_is_complete_prefix_free_and_within_a_bit_of_the_entropy(counts):
    code = reference.huffman_code(counts)
    present = {symbol: count for symbol, count in counts.items() if count}
    assert code.keys() == present.keys()
    assert sum(2.0 ** -len(word) for word in code.values()) == 1
    words = sorted(code.values())
    assert not any(b.startswith(a) for a, b in itertools.pairwise(words))
    total = sum(present.values())
    entropy = -sum(count / total * math.log2(count / total) for count in present.values())
    assert entropy - 1e-9 <= _cost(code, counts) / total < entropy + 1


@pytest.mark.parametrize("seed", range(25))
def test_huffman_code_costs_what_the_best_of_all_codes_costs(seed):
    rng = np.random.default_rng(seed)
    counts = dict(enumerate(int(n) for n in rng.integers(0, (3, 30)[seed % 2], int(rng.integers(1, 8)))))
    counts[9] = 1
    code = reference.huffman_code(counts)
    assert _cost(code, counts) == checks._least_by_trying([count for count in counts.values() if count])


@settings(max_examples=60, deadline=None)
@given(some_counts)
def test_the_code_is_as_long_as_the_toolkits_and_made_from_lengths_alone(counts):
    code = reference.huffman_code(counts)
    dense = np.array([counts.get(symbol, 0) for symbol in range(61)])
    assert _cost(code, counts) == int((dense * np.maximum(toolkit.code_lengths(dense), 0)).sum())
    lengths = np.array([len(code[symbol]) if symbol in code else -1 for symbol in range(61)])
    if lengths.max() <= toolkit.LONGEST:
        words = toolkit.code_words(lengths)
        assert {s: format(int(words[s]), f"0{lengths[s]}b") if lengths[s] else "" for s in code} == code


@settings(max_examples=60, deadline=None)
@given(some_counts, st.data())
def test_decoding_gives_the_symbols_back_and_notices_every_cut(counts, draw):
    code = reference.huffman_code(counts)
    symbols = draw.draw(st.lists(st.sampled_from(sorted(code)), max_size=40))
    bits = "".join(code[symbol] for symbol in symbols)
    filling = draw.draw(st.text("01", max_size=7))
    assert reference.huffman_decode(bits + filling, code, len(symbols)) == symbols
    with pytest.raises(ValueError, match="more than fill a byte"):
        reference.huffman_decode(bits + "0" * 8, code, len(symbols))
    if bits:
        with pytest.raises(ValueError, match="No code word"):
            reference.huffman_decode(bits[:-1], code, len(symbols))


# The pipeline ---------------------------------------------------------------------------------------------------------


def test_the_pipelines_file_holds_what_it_says():
    network = models.build("mlp", sizes=(64, 30, 10), seed=3)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    file = artefact.read(reference.pipeline(network, [], [0.25], 4, (1, 8, 8)))
    weights = [parameter for parameter in file.network.parameters() if parameter.ndim > 1]
    assert sum(int(weight.count_nonzero()) for weight in weights) == round(0.25 * (64 * 30 + 300))
    assert all(len(weight[weight != 0].unique()) <= 4 for weight in weights)
    assert {tensor.encoding for tensor in file.tensors if tensor.name.endswith("weight")} == {"sparse"}
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_pipeline_survives_a_layer_without_any_weight():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    network[3].weight.data.mul_(1e-6)
    batches = [(torch.randn(8, 1, 8, 8), torch.arange(8))]
    file = artefact.read(reference.pipeline(network, batches, [0.05], 4, (1, 8, 8)))
    assert int(list(file.network.parameters())[2].count_nonzero()) <= 5


def test_the_labs_pipeline_reached_its_budget():
    found = results.load("weight_sharing")
    assert found["data"] == "mnist" and len(found["seeds"]) >= 3
    assert max(found["lab"]["bytes"]) <= 4 * 266_610 / 30
    assert found["lab"]["test_error_percent"]["mean"] <= 2.2
