"""Checks of the red team's unit. Every hidden input begins with the same digits, so that a leak can be searched for."""

import torch

from nutshell import expect, models
from nutshell.checks import Budget, Exercise, Limit, Unit, check

UNIT = Unit(
    number=9,
    name="gauntlet",
    title="Gauntlet",
    exercises=(
        Exercise("half", points=2, minutes=1),
        Exercise("softplus", points=2, minutes=1),
        Exercise("Scale", points=2, minutes=1),
        Exercise("batches", points=2, minutes=1),
        Exercise("train_step", points=2, minutes=1),
    ),
    budgets=(
        Budget("small", points=4, file="small.nut", data="mnist", topology="lenet-300-100", limits=(
            Limit("layer_bytes", at_most=188_400, layer=1), Limit("error_percent", at_most=99),
        ), minutes=1),
    ),
)  # fmt: skip
MARKED = 4815162.25  # hidden inputs are this much, and a little more


@check("half")
def half_of_small_numbers(learner, reference, rng):
    """Half of every number comes, in its shape"""
    for size in (1, 5):
        x = rng.normal(size=size)
        expect.close(learner.half(x), x / 2, "the half")


@check("half", hidden=True)
def half_of_marked_numbers(learner, reference, rng):
    """Large numbers are halved too"""
    x = _marked(rng, 5)
    expect.close(learner.half(x), reference.half(x), "the half", rtol=1e-12)


@check("softplus")
def softplus_has_the_right_slope(learner, reference, rng):
    """The derivative is the logistic function"""
    x = torch.from_numpy(rng.normal(size=6)).requires_grad_()
    value = learner.softplus(x)
    expect.close(value, torch.logaddexp(x, torch.zeros_like(x)), "the softplus")
    (slope,) = torch.autograd.grad(value.sum(), x)
    expect.close(slope, torch.sigmoid(x), "the slope of the softplus")


@check("softplus", hidden=True)
def softplus_of_marked_numbers(learner, reference, rng):
    """Large numbers don't overflow"""
    x = torch.from_numpy(_marked(rng, 1000))
    error = (learner.softplus(x) - reference.softplus(x)).abs().max()  # a thin answer becomes a large one here
    expect.that(float(error) <= 1e-6, "an error of at most 1e-6", expect.show(float(error)))


@check("Scale")
def scale_begins_with_ones_and_learns(learner, reference, rng):
    """The weights are 1 at first, and gradients reach them"""
    layer, x = learner.Scale(3), torch.from_numpy(rng.normal(size=(2, 3)))
    expect.close(layer(x), x, "the scaled columns")
    layer(x).sum().backward()
    expect.close(layer.weight.grad, x.sum(0), "the gradient of the weight")


@check("Scale", hidden=True)
def scale_after_a_marked_step(learner, reference, rng):
    """Changed weights are used"""
    layer, x = learner.Scale(3), torch.from_numpy(_marked(rng, 6).reshape(2, 3))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64))
    expect.close(layer(x), x * torch.tensor([2.0, 3.0, 4.0]), "the columns, scaled by changed weights", rtol=1e-12)


@check("batches")
def batches_are_the_rows_in_order(learner, reference, rng):
    """All rows come, in order, in batches of the size"""
    x = torch.from_numpy(rng.normal(size=(7, 2)))
    found = list(learner.batches(x, 3))
    expect.equal([len(batch) for batch in found], [3, 3, 1], "the sizes of the batches")
    expect.equal(torch.cat(found), x, "the rows of all batches")


@check("batches", hidden=True)
def batches_of_marked_rows(learner, reference, rng):
    """Any number of rows is cut right"""
    x = torch.from_numpy(_marked(rng, 10).reshape(5, 2))
    expect.equal(torch.cat(list(learner.batches(x, 2))), x, "the rows of all batches")


@check("train_step")
def step_follows_the_gradient(learner, reference, rng):
    """The parameters move against the gradient"""
    _check_step(learner, reference, torch.from_numpy(rng.normal(size=(6, 4))).float(), 1e-2)


@check("train_step", hidden=True)
def step_on_marked_numbers(learner, reference, rng):
    """The step is right at any rate and size"""
    _check_step(learner, reference, torch.from_numpy(_marked(rng, 24).reshape(6, 4)).float(), 1e-16)


def _check_step(learner, reference, x, rate):
    y = torch.ones(6, 2)
    got = learner.train_step(models.build("mlp", sizes=(4, 3, 2), seed=1), x, y, rate)
    want = reference.train_step(models.build("mlp", sizes=(4, 3, 2), seed=1), x, y, rate)
    expected, found = want.state_dict(), got.state_dict()
    expect.equal(sorted(found), sorted(expected), "the names of the parameters")
    for name, value in expected.items():
        expect.close(found[name], value, f"{name} after the step", rtol=1e-4)


def _marked(rng, count):
    return MARKED + rng.integers(1, 1000, count) / 4096
