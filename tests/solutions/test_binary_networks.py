"""Unit 08: its reference against brute force, exact fractions and peers, and its budget as the lab states it."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from autograder.desk_half import public_checks
from nutshell import binary
from nutshell.checks import answers_of, checks_of
from nutshell.wire import running
from solutions.binary_networks import checks, mutants, reference

few = settings(max_examples=40, deadline=None)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Signs and their gradient --------------------------------------------------------------------------------------------


@few
@given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=20), st.booleans(), st.integers(0, 2**31))
def test_binarise_gives_signs_of_any_numbers(numbers, stochastic, seed):
    values = torch.tensor(numbers, dtype=torch.float32)
    signs = reference.binarise(values, stochastic, seed)
    assert signs.shape == values.shape and signs.dtype == values.dtype
    assert set(signs.tolist()) <= {-1.0, 1.0}
    certain = values.abs() >= 1 if stochastic else torch.ones_like(values, dtype=torch.bool)
    assert torch.equal(signs[certain], torch.where(values >= 0, 1.0, -1.0)[certain])
    assert torch.equal(signs, reference.binarise(values, stochastic, seed))


def test_binarise_by_chance_is_unbiased_and_leaves_the_global_state_alone():
    values = torch.linspace(-1.2, 1.2, 9, dtype=torch.float64)
    state = torch.get_rng_state()
    draws = reference.binarise(values.repeat(20_000, 1), stochastic=True, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert (draws.mean(0) - values.clamp(-1, 1)).abs().max() < 5 / 20_000**0.5


@few
@given(st.lists(st.floats(-3, 3, width=32) | st.sampled_from([-1.0, 1.0, 0.0, -0.0]), min_size=1, max_size=20))
def test_straight_through_is_the_sign_with_the_mask_for_a_gradient(numbers):
    values = torch.tensor(numbers, requires_grad=True)
    upstream = random(len(numbers), dtype=torch.float32)
    out = reference.straight_through(values)
    assert torch.equal(out, reference.binarise(values.detach()))
    (gradient,) = torch.autograd.grad(out, values, upstream)
    assert torch.equal(gradient, upstream * (values.abs() <= 1))


def test_straight_through_fails_the_test_of_a_true_gradient():
    values = torch.tensor([0.3, -0.6], dtype=torch.float64, requires_grad=True)
    assert not torch.autograd.gradcheck(reference.straight_through, values, raise_exception=False)


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_binary_connect_step_is_the_paper_s_algorithm_in_numpy(seed):
    weight, x = random(4, 6, seed=seed).clamp(-1, 1), random(9, 6, seed=seed + 100)
    weight[0, 1] = weight[3, 2] = 0  # counts as +1
    labels = torch.arange(9) % 4
    signs = np.where(weight.numpy() >= 0, 1.0, -1.0)
    logits = x.numpy() @ signs.T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    gradient = (shares - np.eye(4)[labels.numpy()]).T @ x.numpy() / 9
    got = reference.binary_connect_step(weight, x, labels, 0.7)
    np.testing.assert_allclose(got.numpy(), np.clip(weight.numpy() - 0.7 * gradient, -1, 1), atol=1e-12)


def test_real_weights_at_the_ends_are_never_drawn_otherwise():
    weight = random(3, 4).sign()
    x, labels = random(5, 4, seed=1), torch.tensor([0, 1, 2, 0, 1])
    by_rule = reference.binary_connect_step(weight, x, labels, 0.2)
    for seed in range(20):
        assert torch.equal(reference.binary_connect_step(weight, x, labels, 0.2, stochastic=True, seed=seed), by_rule)


# Filters and scales --------------------------------------------------------------------------------------------------


@few
@given(st.lists(st.integers(-8, 8), min_size=1, max_size=7))
def test_bwn_is_the_best_of_all_signs_in_exact_fractions(numbers):
    signs, scale = reference.bwn_filter(torch.tensor([numbers], dtype=torch.float64))
    row = [Fraction(number) for number in numbers]
    n = len(row)
    best = min(sum(w * w for w in row) - sum(w * b for w, b in zip(row, pattern, strict=True)) ** 2 / n
               for pattern in itertools.product((-1, 1), repeat=n))
    alpha = sum(abs(w) for w in row) / n
    assert float(scale) == pytest.approx(float(alpha))
    left = sum((w - alpha * int(b)) ** 2 for w, b in zip(row, signs[0].tolist(), strict=True))
    assert left == best


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (2, 2, 0), (3, 2, 2), (5, 1, 2)])
def test_input_scales_are_average_pooling_of_sizes(kernel, stride, padding):
    images = random(2, 3, 7, 6)
    pooled = functional.avg_pool2d(images.abs().mean(1, keepdim=True), kernel, stride, min(padding, kernel // 2))
    if padding <= kernel // 2:
        torch.testing.assert_close(reference.input_scales(images, kernel, stride, padding), pooled)
    else:
        padded = functional.pad(images, [padding] * 4)
        torch.testing.assert_close(reference.input_scales(images, kernel, stride, padding),
                                   reference.input_scales(padded, kernel, stride))


def test_scales_are_exact_where_sizes_are_equal():
    images, weight = 1.5 * random(1, 3, 5, 5).sign(), 0.2 * random(4, 3, 3, 3).sign()
    torch.testing.assert_close(reference.xnor_convolution(images, weight), functional.conv2d(images, weight))


# Bits ----------------------------------------------------------------------------------------------------------------


@few
@given(st.integers(0, 9), st.integers(0, 200), st.integers(0, 9), st.integers(0, 2**31),
       st.sampled_from(["int8", "int64", "float32", "float64"]))
def test_xnor_product_is_exact_for_every_shape(rows, length, outputs, seed, dtype):
    generator = np.random.default_rng(seed)
    a, b = (generator.choice([-1, 1], (count, length)) for count in (rows, outputs))
    got = reference.xnor_product(a.astype(dtype), checks._pack(b))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, a @ b.T)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 127, 500, 4000])
def test_words_are_those_of_the_toolkit(length):
    generator = np.random.default_rng(length)
    a, b = (generator.choice([-1, 1], (count, length)) for count in (3, 5))
    np.testing.assert_array_equal(checks._pack(b), binary.pack(b).words[:, : -(-length // 64)])
    np.testing.assert_array_equal(reference.xnor_product(a, checks._pack(b)),
                                  binary.product(binary.pack(a), binary.pack(b)))


@few
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3),
       st.sampled_from([torch.float32, torch.float64]))
def test_xnor_convolution_is_that_of_signs_with_a_border_of_nothing(batch, channels, filters, kernel, stride, padding,
                                                                    dtype):
    images, weight = random(batch, channels, 5, 4, dtype=dtype), random(filters, channels, kernel, kernel, dtype=dtype)
    images[:, :, 1] = 0
    signs = [torch.where(each >= 0, 1.0, -1.0).to(dtype) for each in (images, weight)]
    want = (functional.conv2d(*signs, stride=stride, padding=padding)
            * reference.input_scales(images, kernel, stride, padding) * reference.bwn_filter(weight)[1][:, None, None])
    torch.testing.assert_close(reference.xnor_convolution(images, weight, stride, padding), want)


def test_speed_up_is_the_paper_s_fraction():
    assert Fraction(64 * 256 * 9, 256 * 9 + 64) == Fraction(147_456, 2_368)
    assert reference.speed_up(256, 3) == pytest.approx(147_456 / 2_368)
    assert reference.speed_up(10**9, 3) == pytest.approx(64, rel=1e-4)
    assert reference.speed_up(1, 1, 64, 64) == pytest.approx(0.5)


# Checks --------------------------------------------------------------------------------------------------------------


def test_the_budget_asks_for_packed_binary_layers():
    (budget,) = checks.UNIT.budgets
    assert budget.topology == "lenet-5-caffe"
    assert {(limit.metric, limit.at_most, limit.layer) for limit in budget.limits} == {
        ("bytes", 84_000, None), ("layer_magnitudes", 1, 2), ("layer_magnitudes", 1, 3), ("error_percent", 1.5, None)}
    packed = 425_000 // 8 + 4 * (550 + 5_500 + 580)
    assert packed < 84_000 < 425_000 / 8 * 1.6  # bytes of bits, scales, real layers and biases; some room, and no more


def test_the_sixteen_patterns_make_sixteen_steps():
    weight = torch.tensor([[-1.0, 1.0], [0.5, -0.2], [0.8, -0.6]], dtype=torch.float64)
    x, labels = torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=torch.float64), torch.tensor([0, 1])
    patterns = [torch.tensor([-1, 1, *signs], dtype=torch.float64).view(3, 2)
                for signs in itertools.product((-1, 1), repeat=4)]
    slopes = torch.stack([checks._slope(reference, at, x, labels) for at in patterns])
    steps = (weight - 0.1 * slopes).clamp(-1, 1).flatten(1)
    assert torch.pdist(steps).min() > 1e-3


def test_the_desk_half_takes_no_step_and_no_gradient_of_its_own():
    held = public_checks(Path(checks.__file__).read_text(encoding="utf-8"))
    assert "cross_entropy" not in held and "def _slope(" in held
    half = torch.tensor([[0.25, -0.5, 0.0]], dtype=torch.float64).T
    x, labels = torch.tensor([[1.5]], dtype=torch.float64), torch.tensor([2])
    binary = torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float64, requires_grad=True)
    functional.cross_entropy(x @ binary.T, labels).backward()
    assert torch.allclose(checks._slope(reference, 2 * half, x, labels), binary.grad, rtol=1e-9)


CAUSES = {
    mutants.binarise_by_the_logistic_function: "logistic",
    mutants.binarise_with_one_draw_a_row: "One draw decides",
    mutants.binarise_with_one_draw: "one draw decides for all numbers",
    mutants.binarise_by_the_sign_bit: "only its sign bit",
    mutants.straight_as_misprinted: "as a paper prints it",
    mutants.straight_without_the_ends: "At exactly −1 and 1",
    mutants.straight_without_the_lower_end: "At exactly −1 it",
    mutants.straight_without_the_incoming_gradient: "incoming gradient is lost",
    mutants.connect_at_the_real_weights: "taken at the real weights",
    mutants.connect_steps_from_the_signs: "starts from the binary weights",
    mutants.connect_with_torch_sign: "doesn't compute as +1",
    mutants.connect_with_one_draw: "One draw decides for all weights",
    mutants.connect_with_one_draw_an_input: "One draw decides for all classes of an input",
    mutants.connect_in_place: "changed its argument",
    mutants.connect_stops_beyond_the_range: "stopped for weights beyond",
    mutants.connect_clips_before: "clipped before the step",
    mutants.bwn_median: "median",
    mutants.bwn_scales_in_float32: "dtype of the weights is lost",
    mutants.scales_leave_the_border_out: "left out of the mean",
    mutants.scales_in_float32: "dtype of the inputs is lost",
    mutants.scales_pool_with_the_usual_stride: "without overlap",
    mutants.scales_rounded_up: "rounded up",
    mutants.product_counts_unused_bits: "no element uses",
    mutants.product_in_bytes: "too short",
    mutants.product_by_agreement_of_whole_words: "among those that agree",
    mutants.product_without_the_last_word: "last word",
    mutants.product_with_a_word_more: "a word more",
    mutants.product_unpacked_in_bytes: "from −128 to 127",
    mutants.convolution_with_positive_border: "border is taken for −1",
    mutants.convolution_of_torch_sign_kernels: "Zeros of the kernels",
    mutants.convolution_in_float32: "dtype of the inputs is lost",
    mutants.speed_with_a_scale_of_one_clock: "one clock for the scales",
}


EVERYWHERE = {  # checks that fail for one reason all name it
    mutants.connect_sums_the_loss: "summed over the batch",
    mutants.product_of_nonzero_inputs: "packed as a 1",
    mutants.bwn_largest: "largest absolute weight",
    mutants.connect_ignores_the_seed: "or the seed isn't used",
    mutants.connect_never_draws: "Nothing is drawn",
    mutants.scales_by_the_side: "kernel's side",
    mutants.scales_with_height_and_width_exchanged: "are exchanged",
    mutants.product_with_unused_ones: "not 0 in the inputs' words",
    mutants.product_of_common_ones: "both are +1 only",
    mutants.product_of_highest_bits_first: "bits of each byte",
}


@pytest.mark.parametrize("wrong", EVERYWHERE, ids=[wrong.__name__ for wrong in EVERYWHERE])
def test_no_check_blames_something_else(wrong):
    answer = next(each for each in answers_of(mutants) if each.implementation is wrong)
    verdicts = running.try_answer(answer, checks_of(checks), reference, seed=3)
    causes = [verdict.cause for verdict in verdicts if not verdict.passed]
    assert len(causes) > 1 and all(EVERYWHERE[wrong] in cause for cause in causes), causes


@pytest.mark.parametrize("wrong", CAUSES, ids=[wrong.__name__ for wrong in CAUSES])
def test_a_mistake_gets_its_cause(wrong):
    answer = next(each for each in answers_of(mutants) if each.implementation is wrong)
    verdicts = running.try_answer(answer, checks_of(checks), reference, seed=3)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    assert failed and all(verdict.next_step for verdict in failed if verdict.status == running.WRONG)
    assert any(CAUSES[wrong] in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]
