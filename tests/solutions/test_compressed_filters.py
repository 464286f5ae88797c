"""Unit 09: its reference against other ways to the same numbers, and its checks against mistakes."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell.artefact import FrequencyHashed, Hashed
from nutshell.artefact.circulant import BlockCirculant
from nutshell.checks import Answer, checks_of
from nutshell.explorers import compressed_filters as explorers
from nutshell.wire import running
from solutions.compressed_filters import checks, mutants, reference

EXERCISES = {exercise.name: exercise for exercise in checks.UNIT.exercises}


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Cosines -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_the_basis_is_scipys_orthonormal_dct(size, seed):
    basis, signal = reference.dct_basis(size), _normal(size, seed=seed)
    torch.testing.assert_close(basis @ signal, torch.from_numpy(scipy.fft.dct(signal.numpy(), norm="ortho")))
    torch.testing.assert_close((basis @ signal).square().sum(), signal.square().sum())  # Parseval
    torch.testing.assert_close(basis.T @ (basis @ signal), signal)


def test_leaving_coefficients_out_costs_their_squares():
    basis, image = reference.dct_basis(9), _normal(9, 9)
    coefficients = basis @ image @ basis.T
    kept = torch.where(torch.arange(9)[:, None] + torch.arange(9) < 7, coefficients, 0.0)
    error = (basis.T @ kept @ basis - image).square().sum()
    torch.testing.assert_close(error, (coefficients - kept).square().sum())


# Hashing -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4), st.integers(1, 60), st.integers(0, 10_000))
def test_buckets_are_those_of_the_file_format(shape, buckets, seed):
    index, sign = reference.bucket_hash(tuple(shape), buckets, seed)
    assert tuple(index.shape) == tuple(sign.shape) == tuple(shape)
    values = torch.arange(1.0, buckets + 1)
    virtual = values[index] * sign
    if buckets <= virtual.numel():
        settings_, payload = Hashed(buckets, seed=seed).encode(virtual)
        read = Hashed.decode(memoryview(payload), tuple(shape), "float32", settings_)[""]
        assert torch.equal(read, virtual)


def test_places_meet_as_often_as_chance_says_and_signs_are_independent():
    index, sign = reference.bucket_hash((300, 200), 64, seed=7)
    counts = torch.bincount(index.flatten(), minlength=64).double()
    assert 30 < float(((counts - counts.mean()) ** 2 / counts.mean()).sum()) < 110  # χ² with 63 degrees of freedom
    sums = torch.zeros(64, dtype=torch.float64).index_add(0, index.flatten(), sign.flatten().double())
    assert 30 < float((sums**2 / counts).sum()) < 110
    near = (index[:, 1:] == index[:, :-1]).double().mean(), (index[1:] == index[:-1]).double().mean()
    assert all(abs(float(share) - 1 / 64) < 0.003 for share in near)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.integers(0, 100))
def test_the_gradient_of_a_bucket_is_the_signed_sum(inputs, outputs, buckets, seed):
    layer = reference.hashed_layer(inputs, outputs, buckets, seed).double()
    x, cotangent = _normal(3, inputs, seed=seed), _normal(3, outputs, seed=seed + 1)
    (layer(x) * cotangent).sum().backward()
    index, sign = reference.bucket_hash((outputs, inputs), buckets, seed)
    slopes = cotangent.T @ x
    want = torch.stack([(sign * slopes)[index == bucket].sum() for bucket in range(buckets)])
    torch.testing.assert_close(layer.weight.grad, want)
    torch.testing.assert_close(layer.bias.grad, cotangent.sum(0))


def test_gradients_agree_with_finite_differences():
    layer = reference.hashed_layer(5, 4, 6, seed=3).double()
    x = _normal(2, 5).requires_grad_()

    def run(weight, bias, x):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,)).tanh()

    assert torch.autograd.gradcheck(run, (layer.weight, layer.bias, x))
    values = [_normal(size, seed=size).requires_grad_() for size in (2, 3, 1)]
    basis = reference.dct_basis(2)
    assert torch.autograd.gradcheck(lambda *bands: reference.fresh_filter(list(bands), (2, 3, 2, 2), basis), values)
    vectors, inputs = _normal(2, 3, 5).requires_grad_(), _normal(2, 15).requires_grad_()
    assert torch.autograd.gradcheck(reference.circulant_product, (vectors, inputs))


def test_the_layer_is_stored_as_its_buckets():
    layer = reference.hashed_layer(784, 300, 29_400)
    stored = sum(tensor.nbytes for tensor in layer.state_dict().values())
    assert stored == 4 * (29_400 + 300)
    held = [value for value in vars(layer).values() if isinstance(value, torch.Tensor)]
    assert held == [] and list(layer.buffers()) == []


# Frequencies in buckets ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 500), st.data())
def test_kernels_are_those_of_the_file_format(outputs, inputs, side, seed, draw):
    shape = (outputs, inputs, side, side)
    members = [outputs * inputs * min(band + 1, 2 * side - 1 - band) for band in range(2 * side - 1)]
    counts = [draw.draw(st.integers(1, most)) for most in members]
    values = [_normal(count, seed=number) for number, count in enumerate(counts)]
    kernels = reference.fresh_filter(values, shape, reference.dct_basis(side), seed)
    coefficients = scipy.fft.dctn(kernels.numpy(), axes=(2, 3), norm="ortho")
    for u in range(side):
        for v in range(side):
            nearest = np.abs(np.abs(coefficients[:, :, u, v])[..., None] - values[u + v].abs().numpy()).min(-1)
            assert nearest.max() < 1e-9
    settings_, payload = FrequencyHashed(counts, seed=seed).encode(kernels)
    read = FrequencyHashed.decode(memoryview(payload), shape, "float64", settings_)[""]
    torch.testing.assert_close(read, kernels)


# Circulant blocks ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 3))
def test_the_product_is_that_of_scipys_circulant_matrices(rows, columns, size, batch):
    vectors, inputs = _normal(rows, columns, size, seed=size), _normal(batch, columns * size, seed=batch)
    dense = np.block([[scipy.linalg.circulant(vectors[i, j].numpy()) for j in range(columns)] for i in range(rows)])
    torch.testing.assert_close(reference.circulant_product(vectors, inputs), inputs @ torch.from_numpy(dense).T)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_the_toolkits_layer_has_the_same_convention(size):
    layer = BlockCirculant(3 * size, 2 * size, size).double()
    x = _normal(4, 3 * size)
    torch.testing.assert_close(layer(x), reference.circulant_product(layer.weight, x) + layer.bias)


def test_first_rows_are_first_columns_with_a_conjugate():
    vectors, inputs = _normal(2, 2, 5), _normal(3, 10)
    rows = np.block([[scipy.linalg.circulant(vectors[i, j].numpy()).T for j in range(2)] for i in range(2)])
    wrong = mutants.circulant_by_first_rows(vectors, inputs)
    torch.testing.assert_close(wrong, inputs @ torch.from_numpy(rows).T)
    assert not torch.allclose(wrong, reference.circulant_product(vectors, inputs))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
def test_a_cell_is_torchs_lstm_with_dense_matrices(rows, columns, size):
    w, u = _normal(4 * rows, columns, size, seed=1), _normal(4 * rows, rows, size, seed=2)
    lstm = nn.LSTMCell(columns * size, rows * size).double()
    bias = _normal(4 * rows * size, seed=3)
    with torch.no_grad():
        lstm.weight_ih.copy_(reference.circulant_product(w, torch.eye(columns * size, dtype=torch.float64)).T)
        lstm.weight_hh.copy_(reference.circulant_product(u, torch.eye(rows * size, dtype=torch.float64)).T)
        lstm.bias_ih.copy_(bias)
        lstm.bias_hh.zero_()
    x, h, c = _normal(2, columns * size), _normal(2, rows * size, seed=5), _normal(2, rows * size, seed=6)
    got = reference.circulant_cell(x, h, c, w, u, bias)
    torch.testing.assert_close(got, lstm(x, (h, c)))
    seen = reference.circulant_cell(x, h, c, w, u, bias, torch.zeros(3, rows * size, dtype=torch.float64))
    torch.testing.assert_close(seen, got)


# Checks --------------------------------------------------------------------------------------------------------------


def _failed(name, wrong, seed=None):
    options = {} if seed is None else {"seed": seed}
    verdicts = running.try_answer(Answer(name, wrong, right=False), checks_of(checks), reference, **options)
    return [verdict for verdict in verdicts if not verdict.passed]


def _layer_with_a_fixed_sign(inputs, outputs, buckets, seed=0):
    class Fixed(mutants._Layer):
        def matrix(self):
            return super().matrix() + 1.0

    return Fixed(inputs, outputs, buckets, seed)


def _layer_of_doubled_buckets(inputs, outputs, buckets, seed=0):
    class Doubled(mutants._Layer):
        def matrix(self):
            return 2 * super().matrix()

    return Doubled(inputs, outputs, buckets, seed)


def _layer_of_another_hash(inputs, outputs, buckets, seed=0):
    return mutants._Layer(inputs, outputs, buckets, seed + 77)


def _fresh_scaled(values, shape, basis, seed=0):
    return 2 * reference.fresh_filter(values, shape, basis, seed)


def _cell_of_torch_order_of_bias(inputs, hidden, memory, w, u, bias, peepholes=None):
    return reference.circulant_cell(inputs, hidden, memory, w, u, torch.zeros_like(bias), peepholes)


def test_a_gradient_of_wrong_kernels_says_so():
    failed = _failed("fresh_filter", mutants.fresh_with_the_forward_dct)
    assert any("The kernels themselves aren't right yet" in verdict.cause for verdict in failed)


def test_complex_numbers_are_named_by_every_check_of_the_product():
    failed = [verdict for verdict in _failed("circulant_product", mutants.circulant_left_complex) if not verdict.hidden]
    assert len(failed) > 3 and all(verdict.got == "complex ones" for verdict in failed)


MISTAKES = [
    ("dct_basis", mutants.dct_transposed, "transposed"),
    ("dct_basis", mutants.dct_without_scaling, "aren't scaled to length 1"),
    ("dct_basis", mutants.dct_with_one_factor, "another factor"),
    ("dct_basis", mutants.dct_at_the_edges, "left edges"),
    ("dct_basis", mutants.dct_in_float32, "computed in float32"),
    ("dct_basis", mutants.dct_of_whole_places, "computed in float32, or with a rounded π"),
    ("bucket_hash", mutants.hash_with_whole_signs, "stays one"),
    ("bucket_hash", mutants.hash_with_double_signs, "float64 matrix"),
    ("bucket_hash", mutants.hash_with_the_sign_of_the_bucket, "modulo an even number"),
    ("bucket_hash", mutants.hash_without_signs, "All signs are 1"),
    ("bucket_hash", mutants.hash_of_row_plus_column, "along a diagonal"),
    ("bucket_hash", mutants.hash_from_one, "counted from"),
    ("bucket_hash", mutants.hash_of_the_seed_itself, "2·seed"),
    ("hashed_layer", mutants.layer_with_tables, "larger than the matrix"),
    ("hashed_layer", mutants.layer_with_a_matrix, "whole matrix is stored"),
    ("hashed_layer", mutants.layer_with_unsigned_gradient, "signs are missing in the gradient"),
    ("hashed_layer", mutants.layer_with_mean_gradient, "mean over a bucket"),
    ("hashed_layer", mutants.layer_drawn_anew, "drawn anew"),
    ("hashed_layer", mutants.layer_with_equal_rows, "same keys"),
    ("hashed_layer", _layer_with_a_fixed_sign, "aren't linear in the buckets"),
    ("hashed_layer", _layer_of_doubled_buckets, "added, averaged or scaled"),
    ("hashed_layer", mutants.layer_that_keeps_its_matrix, "made once and kept"),
    ("hashed_layer", mutants.layer_with_an_activation, "an activation too many"),
    ("hashed_layer", mutants.layer_with_one_hash, "come from the hash for the buckets"),
    ("hashed_layer", mutants.layer_with_keys_by_column, "counted down the columns"),
    ("hashed_layer", mutants.layer_of_the_seed_itself, "it is 2·seed"),
    ("hashed_layer", mutants.layer_with_turned_signs, "turned round"),
    ("hashed_layer", mutants.layer_that_squeezes, "A single image loses its axis"),
    ("hashed_layer", mutants.layer_that_starts_by_its_seed, "of the hash alone"),
    ("fresh_filter", mutants.fresh_without_inverse, "inverse DCT is missing"),
    ("fresh_filter", mutants.fresh_by_the_larger_frequency, "larger of the two"),
    ("fresh_filter", mutants.fresh_of_one_pool, "one pool"),
    ("fresh_filter", mutants.fresh_in_one_direction, "Only one direction"),
    ("fresh_filter", mutants.fresh_in_float32, "dtype of the values is lost"),
    ("fresh_filter", _fresh_scaled, ""),
    ("circulant_product", mutants.circulant_by_first_rows, "first rows"),
    ("circulant_product", mutants.circulant_for_even_blocks, "Without n="),
    ("circulant_product", mutants.circulant_with_strided_blocks, "neighbours"),
    ("circulant_product", mutants.circulant_along_the_wrong_axis, "last axis is the one of k"),
    ("circulant_product", mutants.circulant_of_whole_blocks, "but 2 in place of 3"),
    ("circulant_product", mutants.circulant_that_broadcasts, "but 1 in place of 3"),
    ("circulant_cell", mutants.cell_that_sees_old_memory, "sees the old memory"),
    ("circulant_cell", mutants.cell_in_float64, "in another dtype"),
    ("circulant_cell", mutants.cell_that_lets_old_memory_out, "the old memory that comes out"),
    ("circulant_cell", mutants.cell_with_a_relu, "through a ReLU"),
    ("circulant_cell", _cell_of_torch_order_of_bias, ""),
]


@pytest.mark.parametrize(("name", "wrong", "cause"), MISTAKES, ids=[f"{m[0]}-{m[1].__name__}" for m in MISTAKES])
def test_a_mistake_gets_its_cause_and_a_next_step(name, wrong, cause):
    failed = _failed(name, wrong)
    assert failed and all(verdict.next_step for verdict in failed)
    assert any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]
    assert "RAISED" not in [verdict.status for verdict in failed]


def test_causes_belong_to_their_mistake():
    """Two mistakes that give the same numbers at a small size aren't taken for one another."""
    for verdict in _failed("dct_basis", mutants.dct_without_scaling):
        assert "another factor" not in verdict.cause
    for seed in range(1, 6):
        for verdict in _failed("bucket_hash", mutants.hash_without_signs, seed):
            assert "turned round" not in verdict.cause


def test_a_slip_in_the_hash_costs_a_layer_one_check():
    """All others judge it by what it shares, not by which places."""
    slips = (_layer_of_another_hash, mutants.layer_of_the_seed_itself, mutants.layer_with_keys_by_column,
             mutants.layer_with_one_hash, mutants.layer_with_turned_signs, mutants.layer_of_random_tables)
    for slip in slips:
        assert [verdict.check for verdict in _failed("hashed_layer", slip)] == ["the_hash_is_that_of_the_seed"]


def test_a_slip_in_the_dtype_of_the_cosines_costs_one_check():
    for seed in range(3):
        for slip in (mutants.dct_in_float32, mutants.dct_of_whole_places):
            assert [verdict.check for verdict in _failed("dct_basis", slip, seed)] == ["cosines_are_precise"]


def test_a_layer_that_ignores_its_input_is_no_layer():
    def constant(inputs, outputs, buckets, seed=0):
        class Constant(mutants._Layer):
            def forward(self, x):
                return functional.linear(torch.ones_like(x), self.matrix(), self.bias)

        return Constant(inputs, outputs, buckets, seed)

    assert len(_failed("hashed_layer", constant)) >= 3


def test_budget_leaves_room_for_an_eighth_of_the_weights_and_no_more():
    (budget,) = checks.UNIT.budgets
    assert (budget.topology, budget.data) == ("lenet-300-100", "mnist")
    limits = {limit.metric: limit for limit in budget.limits}
    numbers = 266_200 // 8 + 410
    assert 4 * numbers < limits["bytes"].at_most < 4 * numbers * 1.02
    assert (limits["points_lost"].at_most, limits["points_lost"].margin) == (1.0, 0.5)


def test_sketches_are_right_on_average_with_signs_only():
    images = torch.rand(30, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = images @ images.T
    off = {signs: torch.stack([explorers.sketch(images, 16, seed, signs) @ explorers.sketch(images, 16, seed, signs).T
                               - exact for seed in range(300)]).mean(0) for signs in (True, False)}
    apart = ~torch.eye(30, dtype=torch.bool)
    assert float(off[True][apart].mean().abs()) < 0.02 * float(exact[apart].mean())
    sums = images.sum(1)
    want = (torch.outer(sums, sums) - exact)[apart].mean() / 16  # every pair of different places meets once in B
    assert math.isclose(float(off[False][apart].mean()), float(want), rel_tol=0.05)
