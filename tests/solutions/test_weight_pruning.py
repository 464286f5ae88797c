"""Unit 04: oracles for the reference, checks that accept what is right under any secret, and results that keep word."""

import copy
import inspect
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from nutshell import models, results
from nutshell.artefact.encodings.sparse import gaps_of
from nutshell.checks import Answer, answers_of, checks_of
from nutshell.data.dataset import Dataset, Split
from nutshell.wire import running
from solutions.weight_pruning import checks, experiment, mutants, reference, training

CHECKS = checks_of(checks)
EXAMPLES = settings(max_examples=40, deadline=None)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


def _name(answer):
    return answer.implementation.__name__


def _drawn(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# The unit ------------------------------------------------------------------------------------------------------------


def test_the_budget_is_a_twelfth_of_the_network():
    (budget,) = checks.UNIT.budgets
    numbers = sum(parameter.numel() for parameter in models.build(budget.topology).parameters())
    assert [(limit.metric, limit.at_most) for limit in budget.limits] == [
        ("nonzero", numbers // 12), ("error_percent", 2.0)]


CAUSES = [
    ("mask_of_signed_weights", "with their signs"),
    ("mask_of_what_goes", "True and False are swapped"),
    ("mask_with_q_as_threshold", "q itself is the threshold"),
    ("mask_with_root_mean_square", "root mean square"),
    ("mask_by_quantile", "Equal magnitudes fall together"),
    ("scan_without_restoring", "scanned before stay pruned"),
    ("scan_pruning_on", "from one sparsity to the next"),
    ("scan_of_all_layers_together", "pruned together"),
    ("training_masked_at_the_end", "Masked only at the end"),
    ("training_masked_at_the_start", "They grew back"),
    ("training_masked_after_steps_only", "still at work"),
    ("training_with_masked_gradients_only", "kept their old values"),
    ("training_adds_gradients_up", "Gradients of earlier batches"),
    ("training_of_masked_tensors_only", "Some parameters were not trained"),
    ("ramp_straight", "straight line"),
    ("ramp_slow_at_first", "begins slowly"),
    ("ramp_at_every_step", "the mask is held"),
    ("ramp_without_end", "beyond the last update"),
    ("product_with_lost_sums", "only one is kept"),
    ("product_by_reduceat", "A row without entries"),
    ("product_transposed", "transposed"),
    ("product_without_last_row", "The last row is missing"),
    ("CodeWithoutPadding", "No padding zeros"),
    ("CodePaddingLate", "too late"),
    ("CodeOfDistances", "These are distances"),
    ("CodeWithoutRestart", "counted twice"),
    ("CodeThatDecodesDense", "take a place each"),
    ("CodeWithTrailingZeros", "behind the last number"),
    ("CodeThatRemembers", "kept from one call to the next"),
    ("mask_above_the_threshold", "exactly at the threshold"),
    ("scan_by_name", "single axis"),
    ("training_with_new_optimisers", "forgets its momentum"),
    ("training_of_what_is_masked", "True means that a weight stays"),
    ("training_masked_after_steps_only", "In the first step"),
    ("ramp_rounded", "nearest update"),
    ("product_in_single_precision", "Precision is lost"),
    ("step_without_chance", "deterministic"),
    ("step_that_moves_twice", "in the same step"),
    ("rewind_without_mask", "must stay zero"),
    ("rewind_of_masked_tensors_only", "biases too"),
]


@pytest.mark.parametrize(("name", "cause"), CAUSES, ids=[name for name, _ in CAUSES])
def test_a_mistake_gets_its_cause(name, cause):
    answer = next(answer for answer in answers_of(mutants) if _name(answer) == name)
    failed = [v for v in running.try_answer(answer, CHECKS, reference) if not v.passed]
    assert any(cause in v.cause and v.status == running.WRONG for v in failed), [v.cause for v in failed]


@pytest.mark.parametrize(("exercise", "before", "after", "cause"), [
    ("gradual_sparsity", "min(updates, max(0, step - begin) // every)", "min(updates, (step - begin) // every)",
     "no update"),
    ("gradual_sparsity", "max(0, step - begin)", "max(0, step)", "counted from 0"),
    ("masked_training", "for inputs, labels in batches:", "for inputs, labels in batches[:1]:", "first batch"),
])  # fmt: skip
def test_an_edited_reference_gets_its_cause(exercise, before, after, cause):
    source = inspect.getsource(getattr(reference, exercise))
    assert before in source
    names = dict(vars(reference))
    exec(compile(source.replace(before, after), "edited", "exec"), names)
    verdicts = running.try_answer(Answer(exercise, names[exercise], right=False), CHECKS, reference)
    assert any(cause in v.cause for v in verdicts if not v.passed)


# Masks ---------------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(shapes, st.integers(0, 50), st.floats(0, 1))
def test_a_mask_prunes_exactly_its_share_and_the_smallest(shape, seed, sparsity):
    weight = _drawn(shape, seed)
    mask = reference.magnitude_mask(weight, sparsity)
    assert mask.shape == weight.shape and mask.dtype is torch.bool
    assert int((~mask).sum()) == round(sparsity * weight.numel())
    if mask.any() and not mask.all():
        assert weight[~mask].abs().max() <= weight[mask].abs().min()


@EXAMPLES
@given(st.integers(1, 40), st.floats(0, 1), st.sampled_from([0.0, 2.5]))
def test_equal_magnitudes_don_t_fall_together(count, sparsity, value):
    signs = 1 - 2.0 * (torch.arange(count) % 2)
    assert int((~reference.magnitude_mask(value * signs, sparsity)).sum()) == round(sparsity * count)


def test_an_empty_tensor_has_an_empty_mask():
    assert reference.magnitude_mask(torch.zeros(0, 3), 0.5).shape == (0, 3)


@pytest.mark.parametrize("sparsity", [0.25, 0.6, 0.9])
def test_torchs_own_pruning_agrees(sparsity):
    layer = nn.Linear(20, 15)
    want = reference.magnitude_mask(layer.weight.detach(), sparsity)
    prune.l1_unstructured(layer, "weight", amount=sparsity)
    assert torch.equal(layer.weight_mask.bool(), want)


@pytest.mark.parametrize("q", [0.3, 1.0, 2.0])
def test_a_threshold_on_normal_weights_prunes_the_error_function(q):
    weight = _drawn((400, 500), 0, torch.float32)
    share = 1 - reference.magnitude_mask(weight, q=q).double().mean().item()
    assert share == pytest.approx(math.erf(q / math.sqrt(2)), abs=0.005)
    scaled = reference.magnitude_mask(1000 * weight, q=q)
    assert torch.equal(scaled, reference.magnitude_mask(weight, q=q))


# Training and scanning -----------------------------------------------------------------------------------------------


def _batches(count=5, classes=3):
    generator = torch.Generator().manual_seed(7)
    return [(torch.randn(6, 5, generator=generator), torch.randint(classes, (6,), generator=generator))
            for _ in range(count)]


@pytest.mark.parametrize("optimiser", [
    partial(torch.optim.SGD, lr=0.3, momentum=0.9, weight_decay=0.02, nesterov=True),
    partial(torch.optim.Adam, lr=0.05, weight_decay=0.01),
    partial(torch.optim.AdamW, lr=0.05, amsgrad=True),
    partial(torch.optim.RMSprop, lr=0.02, momentum=0.5),
    partial(torch.optim.Adagrad, lr=0.1),
])  # fmt: skip
def test_masked_training_equals_training_the_kept_weights_alone(optimiser):
    network = models.build("mlp", sizes=(5, 6, 3), seed=3)
    masks = {name: reference.magnitude_mask(network.get_parameter(name).detach(), 0.6)
             for name in ("fc1.weight", "fc2.weight", "fc1.bias")}
    want = checks._kept_alone(copy.deepcopy(network), masks, _batches(), optimiser)
    trained = reference.masked_training(network, masks, _batches(), optimiser)
    for name, value in trained.named_parameters():
        torch.testing.assert_close(value.detach(), want[name], rtol=1e-3, atol=1e-4)
        if name in masks:
            assert (value[~masks[name]] == 0).all()


def test_batches_may_come_from_a_generator():
    network = reference.masked_training(models.build("mlp", sizes=(5, 6, 3)), {}, iter(_batches()), torch.optim.Adam)
    again = reference.masked_training(models.build("mlp", sizes=(5, 6, 3)), {}, _batches(), torch.optim.Adam)
    assert torch.equal(network.fc1.weight, again.fc1.weight)


def test_a_scan_leaves_the_network_and_its_mode_alone():
    network = models.build("mlp", sizes=(5, 6, 3)).train()
    before = copy.deepcopy(network.state_dict())
    inputs = _drawn((60, 5), 1, torch.float32)
    found = reference.sensitivity_scan(network, inputs, network(inputs).argmax(1), [0.0, 0.5, 1.0])
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [errors[0] for errors in found.values()] == [0.0, 0.0]


def test_rewinding_twice_gives_the_same():
    network, other = (models.build("mlp", sizes=(5, 6, 3), seed=seed) for seed in (0, 1))
    early = dict(other.state_dict())
    masks = {"fc1.weight": _drawn((6, 5), 0) > 0}
    untouched = copy.deepcopy(early)
    first = copy.deepcopy(reference.rewind(network, early, masks).state_dict())
    reference.masked_training(network, masks, _batches(), torch.optim.Adam)
    again = reference.rewind(network, early, masks).state_dict()
    assert all(torch.equal(first[name], value) for name, value in again.items())
    assert all(torch.equal(untouched[name], value) for name, value in early.items())


# The ramp ------------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_a_ramp_rises_between_its_ends(begin, every, updates, one, other):
    initial, final = sorted((one, other))
    ramp = [reference.gradual_sparsity(step, begin, every, updates, final, initial)
            for step in range(begin + every * (updates + 2))]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(ramp))
    assert ramp[0] == pytest.approx(initial) and ramp[-1] == pytest.approx(final)
    assert len({round(value, 12) for value in ramp}) <= updates + 1


# Sparse rows and gaps ------------------------------------------------------------------------------------------------


@EXAMPLES
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 9),
       st.sampled_from([(), (1,), (4,)]))
def test_csr_product_agrees_with_scipy(rows, columns, density, seed, batch):
    generator = np.random.default_rng(seed)
    matrix = scipy.sparse.random_array((rows, columns), density=density, rng=generator, format="csr")
    inputs = generator.standard_normal((columns, *batch))
    got = reference.csr_product(torch.from_numpy(matrix.data), torch.from_numpy(matrix.indices.astype(np.int64)),
                                torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(inputs))
    np.testing.assert_allclose(got.numpy(), matrix @ inputs, atol=1e-12)


def test_a_matrix_without_rows_or_entries():
    none = torch.zeros(0, dtype=torch.int64)
    assert reference.csr_product(torch.zeros(0), none, torch.zeros(1, dtype=torch.int64), torch.ones(3)).shape == (0,)
    empty = reference.csr_product(torch.zeros(0), none, torch.zeros(4, dtype=torch.int64), torch.ones(3, 2))
    assert torch.equal(empty, torch.zeros(3, 2))


@EXAMPLES
@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.5, -2.0]), max_size=60), st.integers(1, 9))
def test_gaps_round_trip_and_agree_with_the_artefact(numbers, limit):
    weight = torch.tensor(numbers, dtype=torch.float32)
    code = reference.GapCode(limit)
    gaps, values = code.encode(weight)
    assert torch.equal(code.decode(gaps, values, weight.shape), weight)
    want_gaps, places = gaps_of(weight.nonzero().flatten().numpy(), limit)
    assert gaps.tolist() == want_gaps.tolist() and values.tolist() == weight[torch.from_numpy(places)].tolist()
    assert int((values == 0).sum()) == sum(run // limit for run in checks._runs(weight))


@pytest.mark.parametrize("limit", [1, 2, 5, 8])
def test_every_run_length_around_the_limit(limit):
    code = reference.GapCode(limit)
    for run in range(3 * limit + 3):
        weight = torch.zeros(2, run + 2)
        weight[1, run] = -1.0
        gaps, values = code.encode(weight)
        assert len(values) - 1 == (2 * run + 2) // limit
        assert torch.equal(code.decode(gaps, values, (2, run + 2)), weight)


def test_drop_pruning_reaches_its_balance():
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(100, 100, dtype=torch.bool)
    for _ in range(60):
        draws = torch.rand(mask.shape, generator=generator)
        mask = reference.drop_pruning_step(torch.full(mask.shape, 0.1) * mask, mask, 0.5, 0.2, 0.05, draws)
    assert (~mask).double().mean().item() == pytest.approx(0.2 / 0.25, abs=0.02)


# The pipeline and its results ----------------------------------------------------------------------------------------


def _tiny():
    generator = torch.Generator().manual_seed(0)
    part = Split(torch.randint(0, 256, (600, 1, 28, 28), dtype=torch.uint8, generator=generator),
                 torch.randint(10, (600,), generator=generator), (0.5,), (0.5,))
    return Dataset("noise", part, part, part, tuple("0123456789"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("keep", [0.1, experiment.HAN["lenet-300-100"]], ids=["one threshold", "by layer"])
def test_the_pipeline_keeps_what_the_plan_says(keep, precision):
    network, plan = models.build("lenet-300-100"), training.Plan(keep, epochs=20, precision=precision, shift=1)
    before = copy.deepcopy(network.state_dict())
    small = training.pruned(network, _tiny(), plan, 0)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    shares = experiment.row([small])["layers"]
    if isinstance(keep, dict):
        assert {name: share for name, (share,) in shares.items()} == pytest.approx(keep, abs=1e-3)
    else:
        assert sum(int((w != 0).sum()) for w in small.parameters() if w.ndim > 1) == pytest.approx(26_620, abs=30)


def test_given_masks_are_held_from_the_start():
    masks = training.masks_of(models.build("lenet-300-100", seed=5), 0.2)
    small = training.pruned(models.build("lenet-300-100"), _tiny(), training.Plan(1.0, epochs=1, ramp=0.0), 0, masks)
    assert all((small.get_parameter(name)[~mask] == 0).all() for name, mask in masks.items())


def test_the_learning_rate_is_level_and_falls():
    plan = training.Plan(0.1, ramp=0.5, learning_rate=1.0)
    rates = [training.learning_rate(plan, step, 100) for step in range(100)]
    assert rates[:50] == [1.0] * 50
    assert all(later < earlier for earlier, later in pairwise(rates[50:99])) and rates[-1] > 0


def test_reference_results_are_reached():
    found = results.load("weight_pruning")
    assert found["data"] == "mnist"
    for part in ("rates", "shifts"):
        assert len(found[part]["seeds"]) >= 3, part
    rates, shifts = found["rates"], found["shifts"]
    assert rates["reference"]["rate"] >= 12
    dense = min(rates[name]["test_error_percent"]["mean"] for name in ("dense", "dense_alike"))
    assert rates["reference"]["test_error_percent"]["mean"] <= dense + 0.005
    assert shifts["reference"]["rate"] >= 30
    assert shifts["reference"]["test_error_percent"]["mean"] <= 1.7
    assert found["han"]["lenet-300-100"]["han_shares"]["rate"] >= 12
    assert found["han"]["lenet-5-caffe"]["han_shares"]["rate"] >= 11


def test_speed_was_measured_for_one_vector_and_for_64():
    rows = results.load("weight_pruning_speed")["rows"]
    assert {(row["batch"], row["density"]) for row in rows} >= {(batch, density) for batch in (1, 64)
                                                                for density in (1.0, 0.1, 0.01)}
