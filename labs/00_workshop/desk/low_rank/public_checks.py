"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import numpy as np
import torch
from torch import Tensor, nn
from nutshell import expect
from nutshell.checks import check

SHAPES = ((9, 5), (5, 9), (6, 6))  # tall, wide, square


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
