"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import torch
from torch import Tensor
from nutshell import expect
from nutshell.checks import check


@check("magnitude_mask")
def exactly_that_many_go(learner, reference, rng):
    """A share s of N weights prunes round(s·N) of them, in tensors of any shape"""
    for shape, sparsity, want in (((4, 5), 0.5, 10), ((30,), 0.9, 27), ((3, 2, 2, 2), 0.25, 6), ((7, 3), 0.1, 2),
                                  ((5, 3), 0.25, 4), ((7, 3), 0.6, 13)):  # of 3.75 and of 12.6 weights
        _check_count(learner, torch.from_numpy(rng.standard_normal(shape)), sparsity, want)


@check("magnitude_mask", weight=1.5)
def small_magnitudes_go(learner, reference, rng):
    """No weight that went is larger in magnitude than one that stayed, negative ones included"""
    for shape, sparsity in (((6, 5), 0.5), ((40,), 0.8), ((5, 2, 3, 3), 0.3)):
        _check_order(learner, torch.from_numpy(rng.standard_normal(shape)), sparsity)


@check("magnitude_mask", weight=0.5)
def equal_magnitudes_are_not_pruned_together(learner, reference, rng):
    """Where magnitudes are equal, still exactly the share goes"""
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0])
    for weight, sparsity, want in ((signs, 0.5, 4), (signs.reshape(2, 4), 0.25, 2), (torch.zeros(10), 0.3, 3)):
        _check_count(learner, weight, sparsity, want)


@check("magnitude_mask", weight=0.5)
def nothing_and_everything(learner, reference, rng):
    """A share of 0 keeps all weights, zeros included; a share of 1 keeps none"""
    weight = torch.tensor([[0.0, 2.0], [-1.0, 0.0]])
    for sparsity, want in ((0.0, 0), (1.0, 4), (0, 0), (1, 4)):
        _check_count(learner, weight, sparsity, want)


@check("magnitude_mask", weight=1.5)
def threshold_of_q_deviations(learner, reference, rng):
    """With q, exactly the weights below q standard deviations go: each tensor has its own threshold"""
    weight = torch.tensor([4.0, -1.0, 1.0, -4.0, 0.5, 2.0, -2.0, -0.5])  # σ is 2.30, or 2.46 divided by N − 1
    for scale in (1.0, 100.0):
        for q, want in ((0.0, 8), (0.3, 6), (0.6, 4), (1.0, 2), (3.0, 0)):
            _check_threshold(learner, scale * weight, q, want)
    far = torch.tensor([[14.0, 9.0, 11.0, 6.0], [10.2, 12.0, 8.0, 9.8]])  # from zero, and near their mean
    for q, want in ((1.0, 8), (3.5, 6)):
        _check_threshold(learner, far, q, want)
    kept = int(_mask(learner.magnitude_mask(torch.tensor([0.0, 2.0, -1.0, 0.0]), q=0.0), (4,)).sum())
    expect.equal(kept, 4, "the number of weights kept of [0, 2, −1, 0] at q = 0",
                 causes={"Weights exactly at the threshold go: they stay.": 2},
                 next_step="What is the threshold at q = 0, and is any magnitude below it?")


@check("magnitude_mask", weight=0.5)
def one_way_of_choosing_inside_its_range(learner, reference, rng):
    """Neither or both of sparsity and q, a share outside 0 to 1, or a q below 0 is a ValueError"""
    weight = torch.tensor([1.0, 2.0, -3.0])
    for keywords in ({}, {"sparsity": 0.5, "q": 1.0}, {"sparsity": 0.0, "q": 0.0}):
        expect.raises("ValueError", learner.magnitude_mask, weight, **keywords,
                      why=f"exactly one of sparsity and q must be given and the call gives {keywords or 'neither'}")
    for keywords in ({"sparsity": -0.1}, {"sparsity": 1.1}, {"sparsity": 90.0}, {"q": -1.0}):
        expect.raises("ValueError", learner.magnitude_mask, weight, **keywords,
                      why=f"a share is from 0 to 1, a q at least 0, and the call gives {keywords}")


def _mask(value, shape) -> Tensor:
    expect.shape(value, tuple(shape), "the mask", next_step="A mask has the shape of the weights.")
    value = torch.as_tensor(value)
    expect.that(value.dtype is torch.bool, "a mask of dtype bool", f"dtype {str(value.dtype).removeprefix('torch.')}",
                cause="True means a weight stays; numbers would be taken for indices where a mask selects.",
                next_step="A comparison gives bool; so does tensor.bool().")
    return value


def _check_count(learner, weight, sparsity, want):
    pruned = int((~_mask(learner.magnitude_mask(weight, sparsity), weight.shape)).sum())
    many = weight.numel()
    expect.equal(
        pruned, want, f"the number of weights pruned of {many} at a share of {sparsity:.4g}",
        causes={"True and False are swapped (True means that a weight stays), or the share is taken for what stays.":
                many - want}
        | ({f"{sparsity * many:.4g} is cut off: the nearest whole number is wanted.": int(sparsity * many)}
           if want > sparsity * many + 1e-6 else {}),
        cause="Equal magnitudes fall together where weights are compared with a threshold." if
        weight.abs().unique().numel() < many else "", next_step="Count first, then prune that many by their positions.")


def _check_order(learner, weight, sparsity):
    mask = _mask(learner.magnitude_mask(weight, sparsity), weight.shape)
    sizes = weight.abs()
    if mask.all() or not mask.any():
        return
    gone, stayed = float(sizes[~mask].max()), float(sizes[mask].min())
    by_value = float(weight[~mask].max()) <= float(weight[mask].min())
    expect.that(
        gone <= stayed, f"every weight that goes to be at most as large as the smallest that stays, {stayed:.4g}",
        f"one of magnitude {gone:.4g} gone",
        cause="Weights are compared with their signs: a strongly negative weight matters as much as a positive one."
        if by_value else "The large ones go, or the positions don't match the weights.",
        next_step="Print weights and mask side by side, sorted by magnitude.")


def _check_threshold(learner, weight, q, want):
    mask = _mask(learner.magnitude_mask(weight, q=q), weight.shape)
    sizes = weight.abs().double()
    root_mean_square = float(sizes.square().mean().sqrt())
    expect.equal(
        int(mask.sum()), want, f"the number of weights kept at q = {q:.4g}",
        causes={
            "q itself is the threshold: it counts standard deviations of this tensor's weights.":
                int((sizes >= q).sum()),
            "That is the root mean square: the standard deviation is taken around the mean.":
                int((sizes >= q * root_mean_square).sum()),
            "The threshold is q times the mean magnitude, not the standard deviation.":
                int((sizes >= q * sizes.mean()).sum()),
            "The deviation is that of the magnitudes, not of the weights.": int((sizes >= q * sizes.std()).sum()),
            "The threshold is the variance times q: a root is missing.":
                int((sizes >= q * weight.double().var()).sum()),
            "True and False are swapped: True means that a weight stays.": weight.numel() - want,
        },
        next_step="Print the standard deviation, the threshold, and the magnitudes in order.")
    if 0 < want < weight.numel():
        expect.that(bool(sizes[mask].min() > sizes[~mask].max()), "the largest magnitudes to stay", "others",
                    next_step="Compare magnitudes with the threshold, not signed weights.")
