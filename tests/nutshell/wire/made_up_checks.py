"""The checks of the made-up unit."""

import numpy as np
import torch
from torch import nn

from nutshell import expect
from nutshell.checks import Exercise, Unit, check
from nutshell.wire import inout

UNIT = Unit(
    90,
    "made_up",
    "Made up",
    (
        Exercise("scale", points=4, minutes=5),
        Exercise("Codebook", points=1, minutes=5),
        Exercise("factorised", points=3, minutes=5, difficulty=2),
        Exercise("batches", points=1, minutes=5),
        Exercise("prune_", points=0, minutes=5, extension=True),
    ),
)


@check("scale", weight=3)
def scales_every_weight(learner, reference, rng):
    """Every weight is multiplied"""
    weights = rng.standard_normal((3, 4))
    got, want = learner.scale(weights, 2.5), reference.scale(weights, 2.5)
    expect.close(got["weights"], want["weights"], "the weights", causes={"It adds instead.": weights + 2.5})
    expect.close(got["largest"], want["largest"], "the largest")


@check("scale")
def refuses_negative_factors(learner, reference, rng):
    """A negative factor is a ValueError"""
    expect.raises("ValueError", learner.scale, np.ones(2), -1.0, why="the factor is −1")


@check("Codebook")
def decodes(learner, reference, rng):
    """Numbers stand for values"""
    book = learner.Codebook([0.5, -1.0, 2.0])
    expect.equal(book.decode([2, 0, 0]), [2.0, 0.5, 0.5], "the decoded numbers")
    expect.equal(book.values, [0.5, -1.0, 2.0], "the values")


@check("factorised")
def is_smaller_and_learns(learner, reference, rng):
    """The factors compute the layer at full rank, are fewer numbers below it, and gradients reach them"""
    layer = nn.Linear(6, 5)
    inputs = torch.from_numpy(rng.standard_normal((7, 6)).astype(np.float32)).requires_grad_()
    full, small = learner.factorised(layer, 5), learner.factorised(layer, 2)
    expect.close(full(inputs), layer(inputs), "the outputs", rtol=1e-3, atol=1e-4)
    expect.equal(sum(p.numel() for p in small.parameters()), 2 * (6 + 5) + 5, "the number of parameters")
    before = small(inputs).square().sum()
    optimiser = torch.optim.SGD(small.parameters(), lr=0.01)
    before.backward()
    optimiser.step()
    expect.that(small(inputs).square().sum() < before, "a smaller loss after a step", "one that isn't")
    expect.shape(inputs.grad, (7, 6), "the gradient of the inputs")


@check("batches")
def yields_in_order(learner, reference, rng):
    """Batches come in order, the last one may be smaller"""
    expect.equal(list(learner.batches([1, 2, 3, 4, 5], 2)), [[1, 2], [3, 4], [5]], "the batches")


@check("prune_")
def changes_in_place(learner, reference, rng):
    """Small weights become zero in the array itself"""
    weights = rng.standard_normal(50)
    want = np.where(abs(weights) < 0.5, 0, weights)
    expect.equal(learner.prune_(inout(weights), 0.5), int((want == 0).sum()), "the number of zeros")
    expect.equal(weights, want, "the weights")
