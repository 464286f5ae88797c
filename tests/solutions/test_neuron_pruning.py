"""Unit 05: its checks accept what is right under any secret, its oracles hold, and its results keep their word."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional

from nutshell import artefact, results
from nutshell.checks import answers_of, checks_of
from nutshell.wire import running
from solutions.neuron_pruning import channels, checks, mutants, pipeline, recurrent, reference
from solutions.neuron_pruning.speed import compare

CHECKS = checks_of(checks)


def _name(answer):
    return answer.implementation.__name__


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The checks


def test_lab_names_the_budget():
    (budget,) = checks.UNIT.budgets
    assert budget.shrunk and budget.topology == "lenet-300-100"
    assert [(limit.metric, limit.at_most) for limit in budget.limits] == [("params", 66_652), ("error_percent", 2.2)]


CAUSES = [
    ("li_lo_penalty", "penalties_swapped", "swapped"),
    ("li_lo_penalty", "penalties_nan_at_zero", "infinite slope"),
    ("li_lo_penalty", "penalties_of_rows_twice", "Both are the lengths of rows"),
    ("group_soft_threshold", "threshold_is_hard", "aren't shortened"),
    ("group_soft_threshold", "threshold_along_the_other", "what dim means"),
    ("group_soft_threshold", "threshold_zero_by_zero", "0/0 is nan"),
    ("group_soft_threshold", "threshold_by_point", "Each point of a kernel"),
    ("group_soft_threshold", "threshold_with_a_small_number", "something small is added"),
    ("group_soft_threshold", "threshold_in_place", "changed what it was given"),
    ("dead_neurons", "dead_without_shift", "still puts out ReLU(b)"),
    ("dead_neurons", "dead_needs_no_bias", "A bias was taken for a connection"),
    ("dead_neurons", "dead_by_sums", "Sums were compared with zero"),
    ("shrink_linear", "shrink_by_sums", "Sums were compared with zero"),
    ("shrink_linear", "shrink_in_the_given_lists", "given list was changed"),
    ("shrink_linear", "shrink_adds_to_given_biases", "given tensor was changed"),
    ("shrink_linear", "shrink_forgets_to_fold", "not folded into the next biases"),
    ("shrink_linear", "shrink_in_one_pass", "who loses a reader later"),
    ("shrink_linear", "shrink_leaves_columns", "not the columns that read them"),
    ("shrink_convolution", "channels_forget_the_border", "At a padded border"),
    ("shrink_convolution", "channels_folded_once", "at every point of the next kernel"),
    ("shrink_convolution", "channels_always_relu", "where there is none"),
    ("shrink_convolution", "channels_add_to_the_given_bias", "changed what it was given"),
    ("channel_importance", "importance_cancels_images", "Images cancel"),
    ("prune_recurrent", "recurrent_one_threshold", "gates lose unequal shares"),
    ("drop_layers", "layers_that_go", "the blocks that go"),
]


@pytest.mark.parametrize(("exercise", "wrong", "cause"), CAUSES, ids=[case[1] for case in CAUSES])
def test_a_mistake_gets_its_cause_at_the_desk(exercise, wrong, cause):
    answer = next(answer for answer in answers_of(mutants) if _name(answer) == wrong)
    failed = [v for v in running.try_answer(answer, CHECKS, reference, include_hidden=False) if not v.passed]
    assert failed and all(verdict.next_step for verdict in failed)
    assert any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]
    assert answer.exercise == exercise


# The oracles

sides = st.integers(1, 6)


@settings(max_examples=30, deadline=None)
@given(sides, sides, st.floats(-3, 3), st.integers(0, 99))
def test_penalties_are_homogeneous_and_transpose(m, n, factor, seed):
    weight = _random(m, n, seed=seed)
    li, lo = reference.li_lo_penalty([weight])
    torch.testing.assert_close(reference.li_lo_penalty([factor * weight]), (abs(factor) * li, abs(factor) * lo))
    torch.testing.assert_close(reference.li_lo_penalty([weight.T]), (lo, li))
    assert float(li) <= float(weight.abs().sum()) + 1e-9
    assert float(li) >= float(weight.norm()) - 1e-9  # the triangle inequality


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.floats(0, 4), st.integers(0, 1), st.integers(0, 99))
def test_the_step_is_where_no_subgradient_pulls(m, n, threshold, dim, seed):
    weight = _random(m, n, seed=seed)
    weight[0] = 0
    after = reference.group_soft_threshold(weight, threshold, dim)
    for before, new in zip(weight.movedim(dim, 0), after.movedim(dim, 0), strict=True):
        pull = before - new  # threshold times a subgradient of the length
        if bool((new == 0).all()):
            assert float(pull.norm()) <= threshold + 1e-9
        else:
            torch.testing.assert_close(pull, threshold * new / new.norm())


def test_the_step_agrees_with_a_general_minimiser():
    group = _random(5).numpy()
    for threshold in (0.3, 1.0, 5.0):
        def cost(v, t=threshold):
            return 0.5 * ((v - group) ** 2).sum() + t * (v**2).sum() ** 0.5

        found = minimize(cost, group, method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-13, maxiter=20_000,
                                                                               maxfev=20_000, adaptive=True)).x
        (ours,) = reference.group_soft_threshold(torch.from_numpy(group)[None], threshold)
        assert cost(ours.numpy()) <= cost(found) + 1e-9
        torch.testing.assert_close(ours, torch.from_numpy(found), atol=1e-3, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.floats(0, 1), st.integers(0, 10_000))
def test_a_smaller_stack_has_the_outputs_of_the_masked_one(sizes, sparsity, seed):
    generator = torch.Generator().manual_seed(seed)
    weights, biases = [], []
    for n, m in pairwise(sizes):
        kept = torch.rand(m, n, generator=generator) >= sparsity
        weights.append(torch.randn(m, n, generator=generator, dtype=torch.float64) * kept)
        biases.append(torch.randn(m, generator=generator, dtype=torch.float64))
    small, small_biases = reference.shrink_linear(weights, biases)
    inputs = _random(7, sizes[0], seed=seed)
    torch.testing.assert_close(checks._run(small, small_biases, inputs), checks._run(weights, biases, inputs))
    for before, after in pairwise(small):
        assert bool((before != 0).any(1).all()) and bool((after != 0).any(0).all())
    assert small[0].shape[1] == sizes[0] and small[-1].shape[0] == sizes[-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2), st.booleans(), st.booleans())
def test_a_smaller_convolution_has_the_outputs_of_the_masked_one(seed, padding, relu, dense_next):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    channels_before = int(torch.randint(2, 7, (), generator=generator))
    weight, bias = random(channels_before, 2, 3, 3), random(channels_before)
    weight[1:][torch.rand(channels_before - 1, generator=generator) < 0.5] = 0
    following = random(3, channels_before * 16) if dense_next else random(3, channels_before, 2, 2)
    following.view(3, channels_before, -1)[:, 1:][:, torch.rand(channels_before - 1, generator=generator) < 0.3] = 0
    padding = 0 if dense_next else padding
    parts = (weight, bias, following, random(3))
    images = random(2, 2, 6, 6)

    def run(weight, bias, following, following_bias):
        x = functional.conv2d(images, weight, bias)
        x = x.relu() if relu else x
        if dense_next:
            return functional.linear(x.flatten(1), following, following_bias)
        return functional.conv2d(x, following, following_bias, padding=padding)

    torch.testing.assert_close(run(*reference.shrink_convolution(*parts, padding, relu)), run(*parts))


def test_a_gru_keeps_a_unit_at_zero_whose_new_gate_is_empty():
    gru = nn.GRU(3, 4, batch_first=True).double()
    with torch.no_grad():
        for value in gru.parameters():
            value.view(3, 4, -1)[2, 1] = 0  # reset, update, new: the new gate of unit 1
    assert bool((gru(_random(5, 7, 3))[0][:, :, 1] == 0).all())


def test_masks_of_a_real_gru_hold_through_training():
    plan = recurrent.Plan(hidden=4, epochs=1, batch_size=8)
    network = recurrent.RowReader(plan.hidden)
    matrices = {name: value for name, value in network.gru.named_parameters() if name.startswith("weight")}
    masks = reference.prune_recurrent(matrices, 1.0, 0.9)
    with torch.no_grad():
        for name, mask in masks.items():
            matrices[name].mul_(mask)
    assert recurrent.sparsity_of(network) == pytest.approx(0.9, abs=0.02)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_importance_is_exact_for_a_linear_layer():
    activations, weight = _random(6, 5), _random(5)
    gradients = weight.expand(6, 5)
    want = (activations * weight).abs().mean(0)
    torch.testing.assert_close(reference.channel_importance(activations, gradients), want)


def test_greedy_dropping_beats_a_single_ranking_where_blocks_make_up_for_each_other():
    blocks = checks._adders((1.0, 1.1, -1.5, 5.0))
    inputs = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    everything = checks._residual(blocks, range(4), inputs)
    greedy, once = reference.drop_layers(blocks, inputs, 2), mutants.layers_ranked_once(blocks, inputs, 2)
    away = [float((checks._residual(blocks, stay, inputs) - everything).norm()) for stay in (greedy, once)]
    assert away[0] < away[1]


# The pipelines


def test_a_masked_lenet_5_caffe_is_its_smaller_self():
    from nutshell import checkpoints
    from nutshell.data.dataset import Dataset, Split

    generator = torch.Generator().manual_seed(0)
    part = Split(torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8, generator=generator), torch.arange(16) % 10,
                 (0.13,), (0.31,))
    images = Dataset("noise", part, part, part, tuple("0123456789"))
    masked = channels.masked(checkpoints.load("lenet-5-caffe"), images, seed=0, images=16)
    small = channels.smaller(masked)
    widths = channels.WIDTHS
    assert [len(small.get_parameter(f"{layer}.bias")) for layer in widths] == list(widths.values())
    with torch.no_grad():
        torch.testing.assert_close(small(part.inputs()), masked(part.inputs()), atol=1e-4, rtol=1e-4)


def test_pruning_keeps_what_is_asked_for_and_what_was_pruned_stays():
    parameters = [_random(6, 5), _random(6)]
    masks = [torch.ones_like(parameter) for parameter in parameters]
    before = None
    for share in (0.8, 0.5, 0.25):
        pipeline.prune(parameters, masks, share)
        assert sum(int(mask.sum()) for mask in masks) == round(share * 36)
        assert before is None or all(bool((mask <= old).all()) for mask, old in zip(masks, before, strict=True))
        before = [mask.clone() for mask in masks]


def test_speeds_come_with_quartiles():
    networks = {name: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for name in ("dense", "masked")}
    found = compare({"tiny": networks})
    for batch in ("1", "64"):
        for values in found["tiny"][batch].values():
            for numbers in values.values():
                assert 0 < numbers["low"] <= numbers["median"] <= numbers["high"]


# The results


@pytest.fixture(scope="module")
def found():
    return results.load("neuron_pruning")


def test_lenet_300_100_is_physically_smaller(found):
    part = found["neurons"]
    assert len(part["seeds"]) >= 3 and part["dense_parameters"] == 266_610
    assert part["largest_difference_masked_shrunk"] < 1e-3
    small, sparse = part["rows"]["trained on"], part["rows"]["weights pruned too"]
    assert max(small["parameters"]) <= 266_610 / 5 and small["test_error_percent"]["mean"] <= 1.9
    assert max(sparse["nonzero"]) <= 266_610 / 10 and sparse["test_error_percent"]["mean"] <= 1.9
    for row in part["rows"].values():
        counted = [sum(n * m + m for n, m in zip([784, *widths], widths, strict=False)) for widths in row["layers"]]
        assert counted == row["parameters"]


def test_the_file_is_the_sparse_network_and_within_the_learners_budget(found):
    loaded = artefact.load(results.folder() / "neuron_pruning.nut")
    part = found["neurons"]
    sparse = part["rows"]["weights pruned too"]
    parameters = list(loaded.network.parameters())
    assert loaded.bytes == part["file_bytes"]
    assert sum(value.numel() for value in parameters) == sparse["parameters"][0]
    assert sparse["parameters"][0] <= checks.UNIT.budgets[0].limits[0].at_most
    assert sum(int((value != 0).sum()) for value in parameters) == sparse["nonzero"][0]


def test_a_gru_with_nine_zeros_in_ten_loses_less_than_a_point(found):
    part = found["recurrent"]
    assert len(part["seeds"]) >= 3
    assert min(part["rows"]["sparse"]["sparsity"]) >= 0.899
    assert part["points_lost"]["mean"] <= 1.0


def test_channels_and_clock_are_written_down_with_their_spread(found):
    rows = found["convolutions"]["rows"]
    assert rows["trained on"]["parameters"] == rows["shrunk"]["parameters"] < rows["dense"]["parameters"] / 10
    assert rows["masked"]["test_error_percent"] == rows["shrunk"]["test_error_percent"]
    for network in ("lenet-300-100", "lenet-5-caffe"):
        for batch in ("1", "64"):
            assert set(found["speed"][network][batch]) == {"dense", "masked", "shrunk"}
