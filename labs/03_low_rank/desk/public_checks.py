"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from nutshell import expect
from nutshell.checks import check

SHAPES = ((9, 5), (5, 9), (6, 6))  # tall, wide, square


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
