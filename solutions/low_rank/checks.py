"""Unit 03, low rank: exercises, points, budget, and the checks of what a learner writes."""

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import expect
from nutshell.checks import Budget, Exercise, Limit, Unit, check

UNIT = Unit(
    number=3,
    name="low_rank",
    title="Low rank",
    exercises=(
        Exercise("compression_rate", points=1, minutes=8),
        Exercise("break_even_rank", points=1, minutes=8),
        Exercise("truncate", points=2, minutes=10),
        Exercise("rank_for_energy", points=2, minutes=10),
        Exercise("factorise", points=3, minutes=15, difficulty=2),
        Exercise("tucker2", points=3, minutes=25, difficulty=3),
        Exercise("cp_decompose", points=0, minutes=30, difficulty=3, extension=True),
        Exercise("orthogonal_matching_pursuit", points=0, minutes=20, difficulty=2, extension=True),
    ),
    budgets=(
        Budget(
            name="first_layer",
            points=4,
            file="low_rank.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(
                Limit("layer_bytes", at_most=235_500 * 4 / 5, layer=1),  # 235,200 weights and 300 biases, 4 bytes each
                Limit("points_lost", at_most=0.5, margin=0.5),
            ),
            minutes=15,
        ),
    ),
)

SHAPES = ((9, 5), (5, 9), (6, 6))  # tall, wide, square


# Rates ---------------------------------------------------------------------------------------------------------------


@check("compression_rate")
def rate_with_sigma_stored(learner, reference, rng):
    """With Σ stored, the rate is the matrix's numbers over those of U, Σ and Vᵀ"""
    for m, n, k in ((784, 300, 50), (300, 100, 10), (100, 300, 100), (7, 7, 1)):
        _check_rate(learner, reference, m, n, k, False)


@check("compression_rate")
def rate_with_sigma_absorbed(learner, reference, rng):
    """With Σ absorbed, only two matrices are stored, and 300×100 at rank 75 breaks even"""
    for m, n, k in ((300, 100, 75), (784, 300, 30), (100, 300, 75), (4, 4, 2)):
        _check_rate(learner, reference, m, n, k, True)


@check("compression_rate", weight=0.5)
def rate_refuses_impossible_ranks(learner, reference, rng):
    """A rank below 1 or above the smaller side is a ValueError"""
    for m, n, k in ((300, 100, 0), (300, 100, -1), (300, 100, 101), (100, 300, 101)):
        expect.raises("ValueError", learner.compression_rate, m, n, k,
                      why=f"a {m}×{n} matrix has ranks 1 to {min(m, n)} and k is {k}")


@check("compression_rate", hidden=True)
def rate_of_any_matrix(learner, reference, rng):
    """The rate is right for matrices of any size, in both conventions"""
    for _ in range(6):
        m, n = (int(side) for side in rng.integers(1, 5000, 2))
        k = int(rng.integers(1, min(m, n) + 1))
        for absorbed in (False, True):
            _check_rate(learner, reference, m, n, k, absorbed)


@check("break_even_rank")
def every_smaller_rank_saves(learner, reference, rng):
    """One rank below saves numbers, the rank itself doesn't"""
    for m, n, want in ((784, 300, 217), (300, 100, 75), (800, 500, 308), (400, 120, 93), (1152, 100, 92)):
        _check_break_even(learner, reference, m, n, False, want)


@check("break_even_rank")
def nothing_is_saved_at_a_rate_of_one(learner, reference, rng):
    """With Σ absorbed, 300×100 breaks even at 75 and 1152×100 at 93: where the numbers are equal, nothing is saved"""
    for m, n, want in ((300, 100, 75), (100, 300, 75), (1152, 100, 93), (600, 300, 200), (784, 300, 217), (2, 2, 1)):
        _check_break_even(learner, reference, m, n, True, want)


@check("break_even_rank", hidden=True)
def break_even_of_any_matrix(learner, reference, rng):
    """The break-even rank is right for matrices of any size, in both conventions"""
    sizes = [tuple(int(side) for side in rng.integers(1, 1000, 2)) for _ in range(5)]
    exact = [(int(a * (a + b)), int(b * (a + b))) for a, b in rng.integers(1, 30, (3, 2))]  # mn/(m+n) is whole
    apart = [(int(a), int(a) + 1) for a in 2 * rng.integers(2, 500, 2)]  # mn/(m+n+1) is whole, the other is not
    for m, n in sizes + exact + apart:
        for absorbed in (False, True):
            want = next(k for k in range(1, m * n + 1) if k * (m + n + (not absorbed)) >= m * n)
            _check_break_even(learner, reference, m, n, absorbed, want)


def _check_rate(learner, reference, m, n, k, absorbed):
    want = reference.compression_rate(m, n, k, absorbed=absorbed)
    other = reference.compression_rate(m, n, k, absorbed=not absorbed)
    two_matrices = want if absorbed else other
    expect.close(
        learner.compression_rate(m, n, k, **({"absorbed": True} if absorbed else {})), want,
        f"the rate of a {m}×{n} matrix at rank {k}, Σ {'absorbed' if absorbed else 'stored'}",
        causes={
            "It is upside down: above 1 should mean smaller.": 1 / want,
            "Σ is counted although it is absorbed." if absorbed else "The k singular values are not counted.": other,
            "Σ is counted as a k×k matrix, but only its diagonal is stored.": 1 / (1 / two_matrices + k * k / (m * n)),
            "U and V are counted whole: only k columns of each are kept.": m * n / (m * m + n * n + min(m, n)),
            "The rate is rounded down.": int(want),
        },
        rtol=1e-9, next_step="Write down the shapes of U, Σ and Vᵀ after truncation, and count their numbers.")


def _check_break_even(learner, reference, m, n, absorbed, want):
    got = learner.break_even_rank(m, n, **({"absorbed": True} if absorbed else {}))
    what = f"the break-even rank of a {m}×{n} matrix, Σ {'absorbed' if absorbed else 'stored'}"
    next_step = "Count the numbers of the factors at your k and at k − 1, and compare with the matrix."
    expect.that(isinstance(got, int) or float(got).is_integer(), f"{what}, a whole number", expect.show(got),
                cause="A rank is a whole number.", next_step=next_step)
    expect.equal(
        got, want, what,
        causes={
            "It is for the other convention of Σ: is `absorbed` used?":
                reference.break_even_rank(m, n, absorbed=not absorbed),
            "That is the largest rank that still saves; one more breaks even.": want - 1,
            "One too many: at the rank before, the factors hold as many numbers already.": want + 1,
        },
        next_step=next_step)


# Truncation ----------------------------------------------------------------------------------------------------------


@check("truncate", weight=3)
def error_is_the_tail(learner, reference, rng):
    """The squared error is the sum of the squared singular values left out: tall, wide and square"""
    for shape in SHAPES:
        weight, sigma = _with_spectrum(rng, *shape)
        for rank in (1, 3, 4):
            got = learner.truncate(weight, rank)
            expect.shape(got, shape, f"truncate of a {shape} matrix",
                         next_step="Multiply the truncated factors out again.")
            _check_tail(got, weight, sigma, rank)


@check("truncate")
def rank_is_no_higher(learner, reference, rng):
    """The result has the rank that was asked for"""
    weight, _ = _with_spectrum(rng, 8, 6)
    for rank in (1, 2, 5):
        got = int(torch.linalg.matrix_rank(_tensor(learner.truncate(weight, rank)), rtol=1e-9))
        expect.equal(got, rank, "the rank of the result", causes={"Nothing was left out.": 6},
                     next_step="Look at torch.linalg.svdvals of your result.")


@check("truncate", weight=0.5)
def full_rank_changes_nothing(learner, reference, rng):
    """At full rank the matrix comes back, ties and zeros among the singular values included"""
    repeated, _ = _with_spectrum(rng, 7, 4, sigma=(2.0, 2.0, 2.0, 0.0))
    for weight in (torch.from_numpy(rng.standard_normal((4, 7))), repeated):
        expect.close(learner.truncate(weight, 4), weight, "a matrix at its full rank", atol=1e-9,
                     next_step="With all singular values kept, U Σ Vᵀ is W again: compare the three shapes.")


@check("truncate", weight=0.5)
def truncate_refuses_impossible_ranks(learner, reference, rng):
    """A rank below 1 or above the smaller side is a ValueError"""
    weight = torch.from_numpy(rng.standard_normal((6, 4)))
    for matrix, rank in ((weight, 0), (weight, -1), (weight, 5), (weight.T.contiguous(), 5)):
        expect.raises("ValueError", learner.truncate, matrix, rank,
                      why=f"a matrix of shape {tuple(matrix.shape)} has ranks 1 to 4 and the rank is {rank}")


@check("truncate", hidden=True)
def no_rival_comes_closer(learner, reference, rng):
    """Eckart–Young: no other matrix of that rank is closer, ties among the singular values included"""
    spectrum = (3.0, 2.0, 2.0, 2.0, 1.0, 0.5)
    for shape, dtype in (((30, 20), torch.float32), ((6, 8), torch.float64), ((12, 6), torch.float64)):
        sigma = spectrum if min(shape) == 6 else None
        weight, _ = _with_spectrum(rng, *shape, sigma=sigma)
        weight = weight.to(dtype)
        rank = int(rng.integers(2, 5))
        error = (_tensor(learner.truncate(weight, rank)) - weight.double()).norm().item()
        best = min(_error_of_rival(rng, weight.double(), rank) for _ in range(25))
        expect.that(error <= best * (1 + 1e-4), f"no matrix of rank {rank} closer than yours, at {error:.4g}",
                    f"a random rival at a distance of {best:.4g}", cause="These are not the largest singular values.",
                    next_step="Compare the columns of U and the rows of Vᵀ that you keep.")


@check("truncate", hidden=True)
def truncate_any_matrix(learner, reference, rng):
    """The error is the tail for matrices of any shape"""
    for _ in range(4):
        shape = tuple(int(side) for side in rng.integers(2, 40, 2))
        weight, sigma = _with_spectrum(rng, *shape)
        rank = int(rng.integers(1, min(shape) + 1))
        _check_tail(learner.truncate(weight, rank), weight, sigma, rank)


def _check_tail(got, weight, sigma, rank):
    squares = sigma.double() ** 2
    error = float(((_tensor(got) - weight.double()) ** 2).sum())
    expect.close(
        error, float(squares[rank:].sum()),
        f"the squared error of a {tuple(weight.shape)} matrix at rank {rank}", rtol=1e-6, atol=1e-9,
        causes={
            "The smallest singular values were kept, not the largest.": float(squares[: len(sigma) - rank].sum()),
            "One singular value too many was kept.": float(squares[rank + 1 :].sum()),
            "One singular value too few was kept.": float(squares[rank - 1 :].sum()),
            "Nothing was left out.": 0.0,
            "Σ is missing: U_k V_kᵀ alone has the wrong sizes.":
                float(squares[rank:].sum() + ((sigma[:rank] - 1) ** 2).sum()),
        },
        next_step="Note that torch.linalg.svd returns Vᵀ, not V: its rows are the right singular vectors.")


@check("rank_for_energy")
def smallest_rank_that_keeps_enough(learner, reference, rng):
    """The smallest k whose squared singular values reach the share"""
    for sigma, energy, want in (((4, 2, 2, 1), 0.75, 2), ((4, 2, 2, 1), 0.875, 3), ((4, 2, 2, 1), 0.5, 1),
                                ((5, 1, 1, 1, 1), 0.9375, 4)):
        _check_energy(learner, sigma, energy, want)


@check("rank_for_energy")
def exactly_enough_is_enough(learner, reference, rng):
    """A rank that keeps exactly the share is enough, ties included"""
    for energy, want in ((0.25, 1), (0.5, 2), (0.75, 3), (0.5625, 3)):
        _check_energy(learner, (2, 2, 2, 2), energy, want)


@check("rank_for_energy", weight=0.5)
def all_energy_needs_all_that_is_not_zero(learner, reference, rng):
    """For an energy of 1, the rank is the number of singular values above 0"""
    for sigma, want in (((3, 1, 0, 0), 2), ((1,), 1), ((2, 2, 1), 3)):
        _check_energy(learner, sigma, 1.0, want)


@check("rank_for_energy", weight=0.5)
def energy_is_a_share(learner, reference, rng):
    """An energy of 0, below or above 1 is a ValueError"""
    sigma = torch.tensor([2.0, 1.0])
    for energy in (0.0, -0.5, 1.5, 90.0):
        expect.raises("ValueError", learner.rank_for_energy, sigma, energy,
                      why=f"energy is a share above 0 and at most 1 and it is {energy}")


@check("rank_for_energy", hidden=True)
def rank_for_any_energy(learner, reference, rng):
    """The rank is right for any spectrum and share, compared with exact fractions"""
    for _ in range(12):
        sigma = sorted((int(value) for value in rng.integers(0, 30, int(rng.integers(1, 25)))), reverse=True)
        sigma[0] += 1
        share = Fraction(int(rng.integers(1, 65)), 64)  # a power of two below: no rounding in any float
        total = sum(value**2 for value in sigma)
        want = next(k for k in range(1, len(sigma) + 1) if sum(v**2 for v in sigma[:k]) >= share * total)
        _check_energy(learner, tuple(sigma), float(share), want)


def _check_energy(learner, sigma, energy, want):
    values = torch.tensor(sigma, dtype=torch.float32)
    plain = next((k for k in range(1, len(sigma) + 1) if sum(sigma[:k]) >= energy * sum(sigma)), len(sigma))
    causes = {
        "That is the index of the last one kept, counted from 0.": want - 1,
        "One too many: a rank that keeps exactly the share is enough.": want + 1,
    }
    if plain != want:
        causes = {"The singular values are summed, not their squares.": plain} | causes
    expect.equal(learner.rank_for_energy(values, energy), want,
                 f"the rank for an energy of {energy:g} of the singular values {', '.join(map(str, sigma))}",
                 causes=causes, next_step="Write the running sums of the squares under the singular values.")


# Factored layers -----------------------------------------------------------------------------------------------------


@check("factorise")
def two_smaller_layers(learner, reference, rng):
    """The layer holds rank·(inputs + outputs) weights and one bias, nothing else"""
    for outputs, inputs, rank in ((30, 78, 5), (20, 8, 3), (8, 8, 1)):
        weight, _ = _with_spectrum(rng, outputs, inputs)
        layer = learner.factorise(weight, torch.ones(outputs, dtype=torch.float64), rank)
        _check_sizes(layer, [(rank, inputs), (outputs, rank), (outputs,)],
                     {"The factors were multiplied together again: the layer is as large as before.":
                      [(outputs, inputs), (outputs,)],
                      "The first layer has a bias too.": [(rank, inputs), (rank,), (outputs, rank), (outputs,)]})


@check("factorise", weight=2)
def computes_the_truncated_layer(learner, reference, rng):
    """The two layers compute W_k x + b, for tall, wide and square W"""
    for shape in SHAPES:
        _check_layer(learner, rng, shape, rank=3)


@check("factorise")
def full_rank_computes_the_layer(learner, reference, rng):
    """At full rank they compute what the layer computed"""
    for shape in SHAPES:
        _check_layer(learner, rng, shape, rank=min(shape))


@check("factorise", weight=0.5)
def factorise_without_bias(learner, reference, rng):
    """A layer without a bias gets none"""
    weight, _ = _with_spectrum(rng, 6, 9)
    _check_sizes(learner.factorise(weight, None, 2), [(2, 9), (6, 2)], {"A bias was added.": [(2, 9), (6, 2), (6,)]})
    _check_layer(learner, rng, (6, 9), rank=2, with_bias=False)


@check("factorise", weight=0.5)
def factorise_refuses_impossible_ranks(learner, reference, rng):
    """A rank below 1 or above the smaller side is a ValueError"""
    weight = torch.from_numpy(rng.standard_normal((6, 4)))
    for rank in (0, -2, 5):
        expect.raises("ValueError", learner.factorise, weight, None, rank,
                      why=f"a layer of shape (6, 4) has ranks 1 to 4 and the rank is {rank}")


@check("factorise", hidden=True)
def factors_can_be_trained(learner, reference, rng):
    """Every factor and the bias get a gradient, so that the layer can be fine-tuned"""
    weight, _ = _with_spectrum(rng, 7, 10)
    layer = _layer(learner.factorise(weight, torch.zeros(7, dtype=torch.float64), 3), weight.dtype)
    inputs = torch.from_numpy(rng.standard_normal((5, 10)))
    cotangent = torch.from_numpy(rng.standard_normal((5, 7)))
    (layer(inputs) * cotangent).sum().backward()
    for parameter in layer.parameters():
        expect.that(parameter.requires_grad and parameter.grad is not None and bool(parameter.grad.abs().sum() > 0),
                    f"a gradient for the parameter of shape {tuple(parameter.shape)}", "none",
                    cause="It is not a parameter of a layer, or was made without gradients.",
                    next_step="Copy the numbers into the weights of nn.Linear under torch.no_grad().")


@check("factorise", hidden=True, weight=2)
def factorise_any_layer(learner, reference, rng):
    """The layer is right for any shape, rank and dtype"""
    for dtype in (torch.float32, torch.float64, torch.float64):
        shape = tuple(int(side) for side in rng.integers(2, 30, 2))
        _check_layer(learner, rng, shape, int(rng.integers(1, min(shape) + 1)), bool(rng.integers(2)), dtype)


def _check_layer(learner, rng, shape, rank, with_bias=True, dtype=torch.float64):
    u, sigma, vt = (part.to(dtype) for part in _planted_svd(rng, *shape))
    weight = (u * sigma) @ vt
    bias = torch.from_numpy(rng.standard_normal(shape[0])).to(dtype) if with_bias else None
    inputs = torch.from_numpy(rng.standard_normal((4, shape[1]))).to(dtype)
    layer = learner.factorise(weight, bias, rank)
    left, values, right = u[:, :rank], sigma[:rank], vt[:rank]
    shift = torch.zeros(shape[0], dtype=dtype) if bias is None else bias
    want = inputs @ ((left * values) @ right).T + shift
    _check_forward(layer, inputs, want, f"the output of a layer {shape} at rank {rank}", 1e-3 if dtype == torch.float32
                   else 1e-8, {
        "The bias is missing.": want - shift,
        "Σ is in both factors: it counts twice.": inputs @ ((left * values**2) @ right).T + shift,
        "Σ is in neither factor.": inputs @ (left @ right).T + shift,
    }, "Multiply the two weight matrices and compare the product with U_k Σ_k V_kᵀ.")


# Tucker-2 ------------------------------------------------------------------------------------------------------------


@check("tucker2", weight=0.5)
def three_smaller_convolutions(learner, reference, rng):
    """The layer holds C·R₁ + K²·R₁·R₂ + R₂·P weights and one bias, nothing else"""
    weight = torch.from_numpy(rng.standard_normal((12, 6, 3, 3)))
    layer = learner.tucker2(weight, torch.ones(12, dtype=torch.float64), 2, 5)
    _check_sizes(layer, [(2, 6, 1, 1), (5, 2, 3, 3), (12, 5, 1, 1), (12,)], {
        "rank_in and rank_out are swapped.": [(5, 6, 1, 1), (2, 5, 3, 3), (12, 2, 1, 1), (12,)],
        "Every convolution has a bias; only the last one needs one.":
            [(2, 6, 1, 1), (2,), (5, 2, 3, 3), (5,), (12, 5, 1, 1), (12,)],
        "The factors were multiplied together again.": [(12, 6, 3, 3), (12,)],
    })
    _check_sizes(learner.tucker2(weight, None, 2, 5), [(2, 6, 1, 1), (5, 2, 3, 3), (12, 5, 1, 1)], {
        "A bias was added to a layer that has none.": [(2, 6, 1, 1), (5, 2, 3, 3), (12, 5, 1, 1), (12,)]})


@check("tucker2")
def full_ranks_compute_the_convolution(learner, reference, rng):
    """At full ranks the three compute the convolution, stride, padding and bias included"""
    for shape, stride, padding in (((5, 3, 3, 3), 1, 0), ((4, 6, 3, 3), 2, 1), ((6, 4, 5, 5), 1, 2)):
        weight = torch.from_numpy(rng.standard_normal(shape))
        _check_convolution(learner, rng, weight, shape[1], shape[0], stride, padding)


@check("tucker2", weight=3)
def planted_ranks_are_found(learner, reference, rng):
    """A kernel made of few channels is reproduced at just those ranks"""
    for shape, rank_in, rank_out in (((10, 8, 3, 3), 3, 2), ((6, 9, 1, 3), 2, 4)):
        weight = _planted_kernel(rng, shape, rank_in, rank_out)
        _check_convolution(learner, rng, weight, rank_in, rank_out, 1, 1)


@check("tucker2", weight=0.5)
def tucker_refuses_impossible_ranks(learner, reference, rng):
    """A rank below 1 or above its number of channels is a ValueError"""
    weight = torch.from_numpy(rng.standard_normal((6, 4, 3, 3)))
    for rank_in, rank_out in ((0, 3), (3, 0), (5, 3), (3, 7)):
        expect.raises("ValueError", learner.tucker2, weight, None, rank_in, rank_out,
                      why=f"there are 4 input and 6 output channels and the ranks are {rank_in} and {rank_out}")


@check("tucker2", hidden=True, weight=3)
def error_is_within_the_tails(learner, reference, rng):
    """The squared error is no more than the two unfoldings' tails together"""
    for _ in range(3):
        outputs, inputs = (int(channels) for channels in rng.integers(3, 12, 2))
        weight = torch.from_numpy(rng.standard_normal((outputs, inputs, 3, 3)))
        rank_in, rank_out = int(rng.integers(1, inputs)), int(rng.integers(1, outputs))
        tails = [float((torch.linalg.svdvals(unfolded)[rank:] ** 2).sum()) for unfolded, rank in
                 ((weight.transpose(0, 1).flatten(1), rank_in), (weight.flatten(1), rank_out))]
        impulses = torch.zeros(inputs, inputs, 5, 5, dtype=torch.float64)
        impulses[torch.arange(inputs), torch.arange(inputs), 2, 2] = 1.0  # the answer to an impulse is the kernel
        layer = _layer(learner.tucker2(weight, None, rank_in, rank_out), weight.dtype)
        error = float(((layer(impulses).detach() - functional.conv2d(impulses, weight)) ** 2).sum())
        expect.that(max(tails) * (1 - 1e-6) <= error <= sum(tails) * (1 + 1e-6),
                    f"a squared error from {max(tails):.4g} to {sum(tails):.4g} for ranks {rank_in} and {rank_out}",
                    f"{error:.4g}", cause="The bases are not the leading singular vectors of the two unfoldings.",
                    next_step="Unfold so that one row is one channel: move its axis to the front, then flatten.")


@check("tucker2", hidden=True, weight=0.5)
def tucker_of_any_kernel(learner, reference, rng):
    """Oblong kernels, unfoldings with few columns, and any stride and padding"""
    for shape in ((3, 5, 1, 4), (9, 2, 1, 1), (2, 9, 1, 1), (4, 4, 5, 2)):
        weight = torch.from_numpy(rng.standard_normal(shape))
        _check_convolution(learner, rng, weight, shape[1], shape[0], int(rng.integers(1, 4)), int(rng.integers(0, 3)))


def _check_convolution(learner, rng, weight, rank_in, rank_out, stride, padding):
    bias = torch.from_numpy(rng.standard_normal(weight.shape[0]))
    images = torch.from_numpy(rng.standard_normal((2, weight.shape[1], 17, 15)))
    layer = learner.tucker2(weight, bias, rank_in, rank_out, stride=stride, padding=padding)
    want = functional.conv2d(images, weight, bias, stride=stride, padding=padding)
    # What comes of a stride on a 1×1 convolution has the right shape: it drops every other pixel before the kernel.
    thinned = functional.conv2d(images[:, :, ::stride, ::stride], weight, bias, padding=padding)
    _check_forward(layer, images, want, f"the output for a kernel {tuple(weight.shape)} at ranks {rank_in} and "
                   f"{rank_out}, stride {stride}, padding {padding}", 1e-8, {
        "The bias is missing.": want - bias[:, None, None],
        "The stride is not used.": functional.conv2d(images, weight, bias, padding=padding),
        "The padding is not used.": functional.conv2d(images, weight, bias, stride=stride),
        "The stride is on the first 1×1 convolution: pixels are dropped before the kernel sees them.": thinned,
        "The kernel was reshaped, not unfolded: entries of different input channels got mixed.":
            functional.conv2d(images, _reshaped(weight, rank_in, rank_out), bias, stride=stride, padding=padding),
    }, "Multiply core and bases out with torch.einsum and compare with the kernel: is each row of an unfolding one "
       "channel?")


def _reshaped(weight: Tensor, rank_in: int, rank_out: int) -> Tensor:
    """The kernel that comes out if the input channels' basis is that of a reshaped kernel."""
    mixed = torch.linalg.svd(weight.reshape(weight.shape[1], -1))[0][:, :rank_in]
    basis = torch.linalg.svd(weight.flatten(1))[0][:, :rank_out]
    return torch.einsum("pchw,ps,qs,cr,dr->qdhw", weight, basis, basis, mixed, mixed)


# Extensions ----------------------------------------------------------------------------------------------------------


@check("cp_decompose")
def planted_products_are_found(learner, reference, rng):
    """A tensor made of few outer products is reproduced"""
    for shape, rank in (((5, 6, 7), 1), ((6, 5, 4), 2), ((4, 7, 5), 3)):
        tensor = _planted_tensor(rng, shape, rank)
        _check_products(learner, tensor, rank)


@check("cp_decompose", weight=0.5)
def cp_refuses_no_products_and_no_sweeps(learner, reference, rng):
    """A rank or a number of sweeps below 1 is a ValueError"""
    tensor = torch.from_numpy(rng.standard_normal((3, 3, 3)))
    for rank, sweeps in ((0, 10), (2, 0)):
        expect.raises("ValueError", learner.cp_decompose, tensor, rank, sweeps=sweeps,
                      why=f"both must be at least 1 and rank is {rank}, sweeps is {sweeps}")


@check("cp_decompose", hidden=True)
def more_sweeps_are_never_worse(learner, reference, rng):
    """Each least-squares problem lowers the error or leaves it"""
    tensor = torch.from_numpy(rng.standard_normal((5, 6, 4)))
    errors = []
    for sweeps in (1, 2, 5, 20):
        factors = learner.cp_decompose(tensor, 3, sweeps=sweeps, seed=1)
        errors.append(float((_outer(factors, tensor.shape, 3) - tensor).norm()))
        expect.that(errors[-1] <= min(errors) * (1 + 1e-6),
                    f"an error of at most {min(errors):.6g} after {sweeps} sweeps", f"{errors[-1]:.6g}",
                    cause="A factor is not the least-squares solution for the other two.",
                    next_step="Print the error after every single update: which of the three raises it?")
    expect.that(errors[-1] < float(tensor.norm()), "a smaller error than that of zeros", f"{errors[-1]:.6g}")


@check("cp_decompose", hidden=True)
def products_of_any_tensor(learner, reference, rng):
    """Tensors of any shape, also with rank above a side"""
    shape = tuple(int(side) for side in rng.permutation([4, 6, 8]))
    tensor = _planted_tensor(rng, shape, 3)
    _check_products(learner, tensor, 3)
    _check_products(learner, _planted_tensor(rng, (2, 9, 2), 1), 4)


@check("orthogonal_matching_pursuit")
def planted_code_is_found(learner, reference, rng):
    """A code with few entries is found exactly, also when weights are negative"""
    dictionary = _incoherent_dictionary()
    for nonzeros in (1, 2, 4):
        code = _sparse_code(rng, dictionary.shape[1], nonzeros)
        _check_code(learner.orthogonal_matching_pursuit(dictionary, dictionary @ code, nonzeros), dictionary, code)


@check("orthogonal_matching_pursuit")
def rest_is_orthogonal(learner, reference, rng):
    """What is left is orthogonal to every atom taken: their weights are fitted anew together"""
    dictionary = functional.normalize(torch.from_numpy(rng.standard_normal((12, 30))), dim=0)
    signal = torch.from_numpy(rng.standard_normal(12))
    for nonzeros in (2, 5):
        code = _tensor(learner.orthogonal_matching_pursuit(dictionary, signal, nonzeros))
        expect.shape(code, (30,), "the code")
        taken = code != 0
        expect.equal(int(taken.sum()), nonzeros, "the number of atoms taken",
                     next_step="Count the entries of the code that are not zero.")
        products = dictionary[:, taken].T @ (signal - dictionary @ code)
        expect.close(products, torch.zeros(nonzeros), "the inner products of what is left with the atoms taken",
                     atol=1e-9, cause="Weights found earlier are kept when another atom joins.",
                     next_step="Solve one least-squares problem for all atoms taken so far.")


@check("orthogonal_matching_pursuit", weight=0.5)
def pursuit_refuses_impossible_numbers(learner, reference, rng):
    """A number of atoms below 1 or above what the dictionary allows is a ValueError"""
    for nonzeros in (0, -1, 4):
        expect.raises("ValueError", learner.orthogonal_matching_pursuit, torch.eye(3), torch.ones(3), nonzeros,
                      why=f"a dictionary of 3×3 allows 1 to 3 atoms and nonzeros is {nonzeros}")


@check("orthogonal_matching_pursuit", hidden=True)
def pursuit_is_greedy_step_by_step(learner, reference, rng):
    """Every atom is the one with the largest inner product at its turn"""
    for _ in range(3):
        dictionary = functional.normalize(torch.from_numpy(rng.standard_normal((10, 25))), dim=0)
        signal = torch.from_numpy(rng.standard_normal(10))
        nonzeros = int(rng.integers(2, 7))
        want = _pursue(dictionary.numpy(), signal.numpy(), nonzeros)
        _check_code(learner.orthogonal_matching_pursuit(dictionary, signal, nonzeros), dictionary, want)


@check("orthogonal_matching_pursuit", hidden=True)
def nothing_left_to_explain(learner, reference, rng):
    """More atoms than the signal needs change nothing, and a signal of zeros has the code zero"""
    dictionary = _incoherent_dictionary()
    code = _sparse_code(rng, dictionary.shape[1], 2)
    _check_code(learner.orthogonal_matching_pursuit(dictionary, dictionary @ code, 4), dictionary, code)
    nothing = torch.zeros(dictionary.shape[0], dtype=torch.float64)
    _check_code(learner.orthogonal_matching_pursuit(dictionary, nothing, 3), dictionary, torch.zeros_like(code))


def _check_products(learner, tensor, rank):
    """One start in ten isn't there after 60 sweeps; that twelve in a row aren't is the mistake of the code."""
    error = float("inf")
    for seed in range(12):
        factors = learner.cp_decompose(tensor, rank, sweeps=60, seed=seed)
        error = min(error, float((_outer(factors, tensor.shape, rank) - tensor).norm() / tensor.norm()))
        if error <= 0.01:
            return
    expect.that(False, f"a relative error of at most 0.01 for a {tuple(tensor.shape)} tensor at rank {rank}, from one "
                "of twelve seeds", f"{error:.3g}",
                cause="Unfolding and Khatri–Rao product may not run through the axes in one order.",
                next_step="Try rank 1, where T[i, j, k] = a[i]·b[j]·c[k] can be followed by hand.")


def _outer(factors, shape, rank):
    expect.that(isinstance(factors, list | tuple) and len(factors) == 3, "three factors", expect.show(factors),
                next_step="Return A, B and C as a tuple.")
    for factor, size, name in zip(factors, shape, "ABC", strict=True):
        expect.shape(factor, (size, rank), f"factor {name}")
    return torch.einsum("ir,jr,kr->ijk", *(_tensor(factor) for factor in factors))


def _check_code(got, dictionary, want):
    got, want = _tensor(got), torch.as_tensor(want)
    expect.shape(got, tuple(want.shape), "the code", next_step="A code has one entry for each atom.")
    atoms, right = (set(code.abs().gt(1e-8).nonzero().flatten().tolist()) for code in (got, want))
    cause = ("These are not the atoms with the largest absolute inner products, each at its turn." if atoms != right
             else "The atoms are right and their weights aren't: are they fitted together?")
    expect.that(torch.allclose(got, want, rtol=1e-6, atol=1e-8), _entries(want), _entries(got), cause=cause,
                next_step="Print which atom joins at each turn, and the length of what is left: it must never grow.")


def _entries(code: Tensor) -> str:
    taken = code.abs().gt(1e-8).nonzero().flatten().tolist()
    weights = ", ".join(f"{code[atom]:.4g}" for atom in taken[:6])
    return f"atoms {taken[:6]} with weights {weights}{', …' * (len(taken) > 6)}" if taken else "no atom"


# Helpers -------------------------------------------------------------------------------------------------------------


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    return torch.as_tensor(value).detach().double()


def _layer(value, dtype: torch.dtype | None = None) -> nn.Module:
    """The value if it is a network, and one whose parameters have the dtype of the weight that was given."""
    expect.that(isinstance(value, nn.Module), "a network, such as nn.Sequential(…)", expect.show(value),
                cause="The factors are needed as layers that can run and be trained.",
                next_step="Put the numbers into the weights of layers, and the layers into nn.Sequential.")
    if dtype is not None:
        found = " and ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in value.parameters()}))
        wanted = str(dtype).removeprefix("torch.")
        expect.that(found == wanted, f"layers in {wanted}, the dtype of the weight", f"layers in {found or 'no dtype'}",
                    cause=f"Your layers are {found} and the weight is {wanted}." if found else "There is no parameter.",
                    next_step="A new layer is float32 unless it is told otherwise: see which dtype it can be given.")
    return value


def _basis(rng: np.random.Generator, size: int, columns: int) -> Tensor:
    return torch.from_numpy(np.linalg.qr(rng.standard_normal((size, columns)))[0])


def _planted_svd(rng, m: int, n: int, sigma=None) -> tuple[Tensor, Tensor, Tensor]:
    """U, Σ and Vᵀ of a random m×n matrix; the singular values fall from 3, apart from each other, if not given."""
    if sigma is None:
        gaps = 0.01 + rng.random(min(m, n))
        sigma = 3 * np.cumsum(gaps)[::-1] / gaps.sum()
    values = torch.tensor(np.array(sigma))
    return _basis(rng, m, len(values)), values, _basis(rng, n, len(values)).T


def _with_spectrum(rng, m: int, n: int, sigma=None) -> tuple[Tensor, Tensor]:
    """A random m×n matrix and its singular values."""
    u, values, vt = _planted_svd(rng, m, n, sigma)
    return (u * values) @ vt, values


def _error_of_rival(rng, weight: Tensor, rank: int) -> float:
    basis = _basis(rng, weight.shape[0], rank)
    for _ in range(int(rng.integers(0, 5))):  # some rivals are good: a few steps towards the leading directions
        basis = torch.linalg.qr(weight @ (weight.T @ basis))[0]
    return (basis @ (basis.T @ weight) - weight).norm().item()


def _planted_kernel(rng, shape, rank_in: int, rank_out: int) -> Tensor:
    outputs, inputs, height, width = shape
    core = torch.from_numpy(rng.standard_normal((rank_out, rank_in, height, width)))
    return torch.einsum("srhw,ps,cr->pchw", core, _basis(rng, outputs, rank_out), _basis(rng, inputs, rank_in))


def _planted_tensor(rng, shape, rank: int) -> Tensor:
    factors = [functional.normalize(torch.from_numpy(rng.standard_normal((size, rank))), dim=0) for size in shape]
    return torch.einsum("ir,jr,kr,r->ijk", *factors, torch.from_numpy(1 + rng.random(rank)))


def _incoherent_dictionary() -> Tensor:
    """Unit vectors and a Hadamard basis of 64 dimensions: two atoms have an inner product of at most 1/8.

    Up to four atoms are always found (Tropp 2004: fewer than (1 + 8) / 2).
    """
    hadamard = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(6):
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
    return torch.cat([torch.eye(64, dtype=torch.float64), hadamard / 8], 1)


def _sparse_code(rng, atoms: int, nonzeros: int) -> Tensor:
    code = torch.zeros(atoms, dtype=torch.float64)
    chosen = rng.choice(atoms, nonzeros, replace=False)
    code[chosen] = torch.from_numpy((1 + rng.random(nonzeros)) * np.where(np.arange(nonzeros) % 2, 1, -1))
    return code


def _pursue(dictionary: np.ndarray, signal: np.ndarray, nonzeros: int) -> Tensor:
    taken: list[int] = []
    code, rest = np.zeros(dictionary.shape[1]), signal
    for _ in range(nonzeros):
        taken.append(int(np.argmax(np.abs(dictionary.T @ rest))))
        weights = np.linalg.lstsq(dictionary[:, taken], signal, rcond=None)[0]
        rest = signal - dictionary[:, taken] @ weights
    code[taken] = weights
    return torch.from_numpy(code)


def _check_sizes(layer: nn.Module, want, causes) -> None:
    """Parameters of the wanted shapes, in any order; a message shows them in the order of the layers."""
    shapes = [tuple(parameter.shape) for parameter in _layer(layer).parameters()]
    cause = next((cause for cause, value in causes.items() if sorted(shapes) == sorted(value)), "")
    vectors, wanted = (sum(len(shape) == 1 for shape in kept) for kept in (shapes, want))
    next_step = "Write the shapes of the factors on paper; a layer keeps (outputs, inputs)."
    if vectors != wanted:
        next_step = "See which of your layers has a bias, and give that option to each of them."
    expect.that(sorted(shapes) == sorted(want), f"the shapes of the layer's parameters = {expect.show(want)}",
                expect.show(shapes), cause=cause, next_step=next_step)
    stored, counted = (sum(t.numel() for t in kept) for kept in (layer.state_dict().values(), layer.parameters()))
    expect.equal(stored, counted, "the numbers that the layer stores", cause="A copy of the old weights is kept.",
                 next_step="Look at layer.state_dict(): all that it names is stored.")


def _check_forward(layer: nn.Module, inputs: Tensor, want: Tensor, what: str, tolerance: float, causes, next_step):
    with torch.no_grad():
        got = _layer(layer, inputs.dtype)(inputs)
    same_size = isinstance(got, Tensor) and got.shape == want.shape
    expect.close(got, want, what, rtol=tolerance, atol=tolerance, causes=causes,
                 cause="The weights make up another kernel or matrix." if same_size else "The output has another size.",
                 next_step=next_step if same_size else "Compare the sizes, the stride and the padding of each layer.")
