"""Unit 05, neuron pruning: exercises, points, budget, and the checks of what a learner writes."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nutshell import expect
from nutshell.checks import Budget, Exercise, Limit, Unit, check
from nutshell.wire.standins import inout

UNIT = Unit(
    number=5,
    name="neuron_pruning",
    title="Neuron pruning",
    exercises=(
        Exercise("li_lo_penalty", points=2, minutes=10),
        Exercise("group_soft_threshold", points=2, minutes=12, difficulty=2),
        Exercise("dead_neurons", points=2, minutes=12),
        Exercise("shrink_linear", points=3, minutes=18, difficulty=2),
        Exercise("shrink_convolution", points=3, minutes=22, difficulty=3),
        Exercise("channel_importance", points=2, minutes=10),
        Exercise("prune_recurrent", points=0, minutes=20, difficulty=2, extension=True),
        Exercise("drop_layers", points=0, minutes=20, difficulty=2, extension=True),
    ),
    budgets=(
        Budget(
            name="small_network",
            points=4,
            file="neuron_pruning.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(
                Limit("params", at_most=266_610 // 4),
                Limit("error_percent", at_most=2.2, margin=0.5),
            ),
            minutes=20,
            shrunk=True,
        ),
    ),
)


# The regularisers ----------------------------------------------------------------------------------------------------


@check("li_lo_penalty")
def rows_for_li_columns_for_lo(learner, reference, rng):
    """li adds up the lengths of rows, lo those of columns, over all layers"""
    _check_penalty(learner, [torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)])
    _check_penalty(learner, [_normal(rng, 6, 9), _normal(rng, 4, 6)])


@check("li_lo_penalty")
def a_channel_is_a_neuron(learner, reference, rng):
    """Of a kernel, a group is all that comes in to an output channel, or goes out from an input channel"""
    _check_penalty(learner, [_normal(rng, 5, 3, 2, 2), _normal(rng, 4, 5, 3, 3)])


@check("li_lo_penalty")
def lengths_grow_with_the_weights(learner, reference, rng):
    """Weights c times as large have |c| times the penalty, and a transposed matrix swaps the two"""
    weight = _normal(rng, 5, 8)
    li, lo = _pair(learner.li_lo_penalty([weight]), "li and lo")
    for factor in (3.0, -2.0, 0.0):
        got = _pair(learner.li_lo_penalty([factor * weight]), "li and lo")
        expect.close([float(value) for value in got], [abs(factor) * float(li), abs(factor) * float(lo)],
                     f"li and lo of {factor:g} times the weights", rtol=1e-9, atol=1e-9,
                     causes={"The lengths are squared.": [factor**2 * float(li), factor**2 * float(lo)]},
                     next_step="A length is a root: with squares no group is ever emptied.")
    got = _pair(learner.li_lo_penalty([weight.T.contiguous()]), "li and lo")
    expect.close([float(value) for value in got], [float(lo), float(li)], "li and lo of the transposed matrix",
                 rtol=1e-9, next_step="What comes in is a row; transposed, it is a column.")


@check("li_lo_penalty")
def an_empty_group_has_gradient_zero(learner, reference, rng):
    """Gradients flow, and that of a group of zeros is 0, not nan"""
    weight = _normal(rng, 4, 5)
    weight[1], weight[:, 3] = 0, 0
    for number, name in ((0, "li"), (1, "lo")):
        leaf = weight.clone().requires_grad_()
        value = _pair(learner.li_lo_penalty([leaf]), "li and lo")[number]
        expect.that(isinstance(value, Tensor) and value.requires_grad, f"{name} as a tensor with a gradient",
                    expect.show(value), cause="It was turned into a plain number on the way.",
                    next_step="Stay with tensors: no .item(), no float(), no NumPy.")
        value.backward()
        others = weight.norm(dim=1 - number, keepdim=True)
        want = torch.where(others > 0, weight / others, 0)
        expect.close(leaf.grad, want, f"the gradient of {name}: each group over its length, 0 for an empty one",
                     rtol=1e-9, causes={"The root has an infinite slope at 0.":
                                        torch.where(others > 0, want, torch.nan)},
                     next_step="Differentiate √s at s = 0 by hand, and see which function of torch knows about it.")


@check("li_lo_penalty", hidden=True)
def penalty_of_any_stack(learner, reference, rng):
    """The penalties are right for any number of layers of any kind and dtype"""
    for dtype in (torch.float64, torch.float32):
        shapes = [tuple(int(side) for side in rng.integers(1, 9, 2)) for _ in range(3)] + [(3, 2, 5, 1), (7, 3, 1, 1)]
        _check_penalty(learner, [_normal(rng, *shape).to(dtype) for shape in shapes], 1e-5)
    _check_penalty(learner, [torch.zeros(3, 4, dtype=torch.float64)])


def _check_penalty(learner, weights, rtol=1e-9):
    def lengths(axis, order=2):
        return sum(float((weight.transpose(0, axis).flatten(1).abs() ** order).sum(1).pow(1 / order).sum())
                   for weight in weights)

    li, lo = lengths(0), lengths(1)
    got = _pair(learner.li_lo_penalty(weights), "li and lo")
    causes = {
        "They are swapped: torch keeps what comes in to a neuron in a row.": [lo, li],
        "Both are the lengths of rows.": [li, li],
        "Both are the lengths of columns.": [lo, lo],
        "Magnitudes are added up: that empties single weights, not groups.": [lengths(0, 1)] * 2,
        "The lengths are squared.": [sum(float((weight**2).sum()) for weight in weights)] * 2,
        "Each layer is one group.": [sum(float(weight.norm()) for weight in weights)] * 2,
    }
    if any(weight.ndim == 4 for weight in weights):
        flat = [sum(float(weight.norm(dim=axis).sum()) for weight in weights) for axis in (1, 0)]
        causes["Each point of a kernel makes a group of its own."] = flat
    shapes = ", ".join("×".join(map(str, weight.shape)) for weight in weights)
    expect.close([float(value) for value in got], [li, lo], f"li and lo of layers {shapes}", rtol=rtol, atol=1e-9,
                 causes=causes, next_step="Work out both for [[3, 4], [0, 0]] on paper: li is 5 and lo is 7.")


# The proximal step ---------------------------------------------------------------------------------------------------


@check("group_soft_threshold")
def lengths_fall_by_the_threshold(learner, reference, rng):
    """Every group longer than the threshold gets shorter by just that, and keeps its direction"""
    weight = torch.tensor([[3.0, 4.0], [-6.0, 8.0], [0.6, 0.8]], dtype=torch.float64)
    _check_prox(learner, weight, 2.0, 0)
    _check_prox(learner, weight, 2.0, 1)
    _check_prox(learner, _normal(rng, 7, 5), 1.5, 0)


@check("group_soft_threshold")
def short_groups_become_exact_zeros(learner, reference, rng):
    """Groups no longer than the threshold are exact zeros; a threshold of 0 changes nothing"""
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0], [6.0, 8.0]], dtype=torch.float64)
    got = _tensor(learner.group_soft_threshold(weight, 5.0))
    expect.shape(got, (4, 2), "what comes back")
    expect.that(not bool(got.isnan().any()), "numbers", "nan", cause="A group of zeros has length 0: 0/0 is nan.",
                next_step="Decide what happens to such a group before you divide.")
    expect.equal((got == 0).all(1).tolist(), [True, True, True, False],
                 "whether the groups of length 5, 1, 0 and 10 are exactly zero at a threshold of 5",
                 next_step="Follow a group that is shorter than the threshold: a length can't be negative.")
    for dim in (0, 1):
        expect.close(learner.group_soft_threshold(weight, 0.0, dim), weight, "weights after a threshold of 0",
                     next_step="Put a threshold of 0 into the formula; what happens where the length is 0, too?")


@check("group_soft_threshold")
def groups_of_a_kernel(learner, reference, rng):
    """Of a kernel, a group is an output channel (dim 0) or an input channel (dim 1)"""
    for threshold in (1.2, 4.5):
        for dim in (0, 1):
            _check_prox(learner, _normal(rng, 5, 3, 3, 3), threshold, dim)


@check("group_soft_threshold", weight=0.5)
def a_negative_threshold_is_refused(learner, reference, rng):
    """A threshold below 0 is a ValueError"""
    for threshold in (-0.5, -1e-9):
        expect.raises("ValueError", learner.group_soft_threshold, torch.ones(2, 2), threshold,
                      why=f"the threshold is {threshold:g}, and the step only ever shortens")


@check("group_soft_threshold", weight=0.5)
def the_weights_are_left_as_they_are(learner, reference, rng):
    """What comes back is a new tensor; the weights that came in are as they were"""
    weight = _normal(rng, 4, 3)
    _check_unchanged([weight], ["the weights"], lambda given: learner.group_soft_threshold(inout(given), 1.0))


@check("group_soft_threshold", hidden=True)
def nothing_is_better_than_the_step(learner, reference, rng):
    """No rival makes ½‖V − W‖² + t·Σ‖V_g‖ smaller"""
    for dim in (0, 1):
        weight, threshold = _normal(rng, 4, 6), float(0.5 + 2 * rng.random())
        got = _tensor(learner.group_soft_threshold(weight, threshold, dim))

        def cost(v, weight=weight, threshold=threshold, dim=dim):
            return float(0.5 * ((v - weight) ** 2).sum() + threshold * v.norm(dim=1 - dim).sum())

        rivals = [got + 0.1 * float(rng.random()) * _normal(rng, 4, 6) for _ in range(40)]
        rivals += [factor * got for factor in (0.9, 1.1)] + [weight, 0 * weight, 0.5 * (got + weight)]
        best = min(cost(rival) for rival in rivals)
        expect.that(cost(got) <= best + 1e-9, f"no rival below yours, {cost(got):.6g}", f"one at {best:.6g}",
                    cause="This is not the minimum of ½‖V − W‖² + t·Σ‖V_g‖.",
                    next_step="Set the derivative with respect to one group's length to zero.")


@check("group_soft_threshold", hidden=True)
def step_on_any_weights(learner, reference, rng):
    """The step is right for any shape, threshold and dtype"""
    for dtype in (torch.float64, torch.float32, torch.float64):
        shape = tuple(int(side) for side in rng.integers(2, 12, int(rng.choice([2, 4]))))
        weight = _normal(rng, *shape).to(dtype)
        weight[int(rng.integers(shape[0]))] = 0
        dim = int(rng.integers(2))
        lengths = weight.transpose(0, dim).flatten(1).norm(dim=1)
        _check_prox(learner, weight, float(lengths.median()) + 0.01, dim, 1e-5)


def _check_unchanged(tensors, names, call):
    """The call must leave the tensors that it is given as they are."""
    before = [tensor.clone() for tensor in tensors]
    call(*tensors)
    for tensor, was, name in zip(tensors, before, names, strict=True):
        expect.equal(tensor, was, f"{name} after the call",
                     cause="The function changed what it was given: an assignment to a part of it, +=, or a method "
                     "that ends in an underscore.", next_step="Work on a copy, or make a new tensor.")


def _check_prox(learner, weight, threshold, dim, tolerance=1e-9):
    groups = weight.transpose(0, dim).flatten(1)
    lengths = groups.norm(dim=1, keepdim=True)
    factor = torch.where(lengths > threshold, 1 - threshold / lengths, 0)

    def back(changed):
        return changed.reshape(weight.transpose(0, dim).shape).transpose(0, dim)

    if weight.ndim == 2:
        other = weight.norm(dim=dim, keepdim=True)
    else:
        other = weight.transpose(0, 1 - dim).flatten(1).norm(dim=1).view(*[-1 if a == 1 - dim else 1 for a in range(4)])
    causes = {
        "The other groups were taken: see what dim means.":
            weight * torch.where(other > threshold, 1 - threshold / other, 0),
        "Each weight was thresholded on its own.": weight.sign() * (weight.abs() - threshold).clamp_min(0),
        "Short groups are emptied, but long ones aren't shortened.": back(groups * (lengths > threshold)),
        "Short groups are turned round: a length fell below 0.": back(groups * (1 - threshold / lengths)),
        "All of the weights were taken as one group.": weight * max(0.0, 1 - threshold / float(weight.norm())),
    }
    if weight.ndim == 4:
        points = weight.norm(dim=1 - dim, keepdim=True)
        causes["Each point of a kernel makes a group of its own."] = weight * torch.where(
            points > threshold, 1 - threshold / points, 0)
    what = f"weights {'×'.join(map(str, weight.shape))} after a threshold of {threshold:.3g} along dim {dim}"
    got = _tensor(learner.group_soft_threshold(weight, threshold, dim))
    want = back(groups * factor)
    nearly = got.shape == want.shape and bool((got - want).abs().max() < 1e-4)
    expect.close(got, want, what, rtol=tolerance, atol=tolerance, causes=None if nearly else causes,
                 cause="Nearly, but not exactly: something small is added to a length, or the dtype changes on the way."
                 if nearly else "",
                 next_step="Print the length of each group before and after: it should fall by the threshold.")


# Neurons without connections -----------------------------------------------------------------------------------------


@check("dead_neurons")
def both_kinds_are_found(learner, reference, rng):
    """A neuron is dead if nothing comes in, or nothing goes out; its bias is no connection"""
    weight, bias, following = _hidden_layer(rng, 6, 8, 5, silent=(1, 3, 4), unread=(4, 6))
    bias[1], bias[2], bias[3] = 0.7, 0.0, 0.0
    _check_dead(learner, weight, bias, following, (1, 3, 4, 6))
    weight[0] = 1e-12  # small, and yet connected
    weight[0, 1:] = 0
    _check_dead(learner, weight, bias, following, (1, 3, 4, 6))


@check("dead_neurons")
def weights_that_cancel_are_weights(learner, reference, rng):
    """Weights that add up to zero are connections all the same, coming in or going out"""
    weight = torch.tensor([[1.0, -1.0], [0.0, 0.0], [2.0, 1.0], [-3.0, 3.0]], dtype=torch.float64)
    following = torch.tensor([[1.0, 2.0, 4.0, 1.0], [1.0, 1.0, -4.0, 2.0]], dtype=torch.float64)
    _check_dead(learner, weight, _normal(rng, 4), following, (1,), {
        "Sums were compared with zero: 1 and −1 add up to it, and are two connections.": [0, 1, 2, 3]})


@check("dead_neurons")
def the_shift_makes_up_for_them(learner, reference, rng):
    """With the shift added to the next biases, the outputs are the same without the dead"""
    weight, bias, following = _hidden_layer(rng, 6, 8, 5, silent=(0, 3, 5), unread=(2,))
    bias[0], bias[3], bias[5] = 0.8, -0.9, 1.7
    _check_shift(learner, rng, weight, bias, following)


@check("dead_neurons", hidden=True)
def none_dead_and_all_dead(learner, reference, rng):
    """Nothing dead gives a shift of zeros, all dead the whole constant"""
    weight, bias, following = _hidden_layer(rng, 4, 6, 3)
    _check_dead(learner, weight, bias, following, ())
    _check_shift(learner, rng, weight, bias, following)
    _check_dead(learner, 0 * weight, bias, following, range(6))
    _check_shift(learner, rng, 0 * weight, bias, following)


@check("dead_neurons", hidden=True)
def any_layer_keeps_its_outputs(learner, reference, rng):
    """Dead neurons and shift are right for any layer"""
    for _ in range(4):
        n, hidden, m = (int(size) for size in rng.integers(2, 12, 3))
        silent, unread = (tuple(np.flatnonzero(rng.random(hidden) < 0.3).tolist()) for _ in range(2))
        weight, bias, following = _hidden_layer(rng, n, hidden, m, silent, unread)
        _check_dead(learner, weight, bias, following, sorted({*silent, *unread}))
        _check_shift(learner, rng, weight, bias, following)


def _check_dead(learner, weight, bias, following, want, causes=None):
    dead, shift = _pair(learner.dead_neurons(weight, bias, following), "the dead neurons and the shift")
    expect.shape(dead, (len(weight),), "the dead neurons", next_step="One True or False for each hidden neuron.")
    expect.shape(shift, (len(following),), "the shift", next_step="One number for each output of the next layer.")
    silent = torch.nonzero((weight == 0).all(1)).flatten().tolist()
    unread = torch.nonzero((following == 0).all(0)).flatten().tolist()
    got = torch.nonzero(_tensor(dead)).flatten().tolist()
    expect.equal(got, sorted(want), "the numbers of the dead neurons", causes=(causes or {}) | {
        "Only those without incoming connections were found.": silent,
        "Only those without outgoing connections were found.": unread,
        "A neuron needs one of the two to be dead, not both.": sorted(set(silent) & set(unread)),
        "Those that live were marked.": sorted(set(range(len(weight))) - set(want)),
        "A bias was taken for a connection.":
            sorted(set(unread) | {neuron for neuron in silent if float(bias[neuron]) == 0}),
        "A weight above 0 in size is a connection, however small.":
            sorted({*unread, *torch.nonzero((weight.abs() < 1e-4).all(1)).flatten().tolist()}),
    }, next_step="Look at the neuron's row in this layer and at its column in the next.")


def _check_shift(learner, rng, weight, bias, following):
    dead, shift = _pair(learner.dead_neurons(weight, bias, following), "the dead neurons and the shift")
    silent = (weight == 0).all(1)
    inputs = _normal(rng, 5, weight.shape[1])
    hidden = functional.linear(inputs, weight, bias).relu()
    gone = _tensor(dead).bool()
    expect.shape(gone, (len(weight),), "the dead neurons", next_step="One True or False for each hidden neuron.")
    expect.shape(shift, (len(following),), "the shift", next_step="One number for each output of the next layer.")
    got = hidden[:, ~gone] @ following[:, ~gone].T + _tensor(shift)
    rest = hidden[:, ~silent] @ following[:, ~silent].T
    expect.close(got, hidden @ following.T, "the next layer's sums without the dead, and with the shift", atol=1e-9,
                 causes={
                     "The shift is missing: a neuron without inputs still puts out ReLU(b).": rest,
                     "ReLU is missing: a negative bias puts out 0.": rest + following[:, silent] @ bias[silent],
                     "The shift has the wrong sign.": rest - following[:, silent] @ bias[silent].relu(),
                 }, next_step="Feed the layer zeros, then ones: what does a neuron without inputs put out?")


# Smaller stacks ------------------------------------------------------------------------------------------------------


@check("shrink_linear", weight=2)
def the_outputs_stay(learner, reference, rng):
    """The smaller stack has the outputs of the masked one"""
    weights, biases = _stack(rng, (6, 9, 8, 4), 0.3)
    for layer, neurons in ((0, [2, 5]), (1, [0, 6])):
        weights[layer][neurons] = 0
        biases[layer][neurons] = torch.tensor([0.9, -0.8], dtype=torch.float64)
    _check_outputs(learner, rng, weights, biases)


@check("shrink_linear")
def the_layers_get_smaller(learner, reference, rng):
    """Neurons without connections are gone; inputs and outputs are all there"""
    weights, biases = _stack(rng, (5, 8, 7, 3), 0.0)
    weights[0][[1, 6]] = 0
    weights[1][[0, 2, 3]] = 0
    weights[2][:, 5] = 0
    weights[0][:, 4], weights[2][1] = 0, 0  # an input and an output without connections stay
    _check_sizes(learner, weights, biases, [(6, 5), (3, 6), (3, 3)], {
        "Nothing was taken out.": [(8, 5), (7, 8), (3, 7)],
        "Rows went, but not the columns that read them.": [(6, 5), (3, 8), (3, 7)],
        "An input or an output was taken out; those stay.": [(6, 4), (3, 6), (2, 3)],
        "Neurons that nobody reads are still there.": [(6, 5), (4, 6), (3, 4)],
    })


@check("shrink_linear")
def one_leads_to_another(learner, reference, rng):
    """A neuron whose last reader, or last input, is gone has no connection either"""
    weights, biases = _stack(rng, (4, 3, 3, 3, 2), 0.0)
    weights[3][:, 0] = 0  # nobody reads neuron 0 of the third layer,
    weights[2][1:, 0] = 0  # which alone reads neuron 0 of the second,
    weights[1][1:, 0] = 0  # which alone reads neuron 0 of the first
    weights[0][2] = 0  # nothing comes in to neuron 2 of the first,
    weights[1][2, :2] = 0  # which alone feeds neuron 2 of the second
    once = [(2, 4), (3, 2), (2, 3), (2, 2)]
    _check_sizes(learner, weights, biases, [(1, 4), (1, 1), (2, 1), (2, 2)],
                 {"Only one round was made: look again after neurons went.": once,
                  "One pass from the first layer to the last misses who loses a reader later.":
                      [(2, 4), (2, 2), (2, 2), (2, 2)],
                  "One pass from the last layer to the first misses who loses an input later.":
                      [(1, 4), (2, 1), (2, 2), (2, 2)]})
    _check_outputs(learner, rng, weights, biases)


@check("shrink_linear", weight=0.5)
def cancelling_weights_stay(learner, reference, rng):
    """A neuron whose weights add up to zero is connected, and stays"""
    weights, biases = _stack(rng, (2, 3, 2, 2), 0.0)
    weights[0][1] = torch.tensor([2.0, -2.0])
    weights[1][:, 2] = torch.tensor([-1.0, 1.0])
    _check_sizes(learner, weights, biases, [(3, 2), (2, 3), (2, 2)], {
        "Sums were compared with zero: 2 and −2 add up to it, and are two connections.": [(1, 2), (2, 1), (2, 2)]})


@check("shrink_linear", weight=0.5)
def the_given_stack_is_left_as_it_is(learner, reference, rng):
    """The weights and biases that came in are as they were, lists and tensors"""
    for number, name in ((0, "weights"), (1, "biases")):
        given = _stack(rng, (3, 4, 3, 2), 0.0)
        given[0][0][1] = 0
        given[1][0][1] = 2.0  # a constant to fold
        before = [tensor.clone() for tensor in given[number]]
        learner.shrink_linear(*(inout(part) if place == number else part for place, part in enumerate(given)))
        expect.equal([tuple(tensor.shape) for tensor in given[number]], [tuple(tensor.shape) for tensor in before],
                     f"the shapes of the given {name} after the call", cause="The given list was changed.",
                     next_step="Make lists of your own first.")
        expect.close(given[number], before, f"the given {name} after the call",
                     cause="A given tensor was changed: by += or by an assignment to a part of it.",
                     next_step="Make a new tensor where numbers change.")


@check("shrink_linear", weight=0.5)
def a_stack_that_is_all_connected_stays(learner, reference, rng):
    """Without dead neurons, and for a single layer, nothing changes"""
    for sizes in ((4, 6, 3), (5, 2)):
        weights, biases = _stack(rng, sizes, 0.0)
        small, small_biases = _pair(learner.shrink_linear(weights, biases), "weights and biases")
        expect.close(list(small), weights, "the weights of a stack without dead neurons",
                     next_step="See which neuron went, and look at its row and its column.")
        expect.close(list(small_biases), biases, "its biases", next_step="Nothing was folded, so nothing is added.")


@check("shrink_linear", hidden=True, weight=2)
def any_stack_keeps_its_outputs(learner, reference, rng):
    """Outputs and sizes are right for stacks of any depth and sparsity"""
    for depth in (2, 3, 4, 5):
        weights, biases = _stack(rng, tuple(int(size) for size in rng.integers(3, 9, depth + 1)), 0.6)
        for weight in weights:
            weight[rng.random(len(weight)) < 0.2] = 0
        _check_outputs(learner, rng, weights, biases)
        want, _ = reference.shrink_linear(weights, biases)
        _check_sizes(learner, weights, biases, [tuple(weight.shape) for weight in want], {})


@check("shrink_linear", hidden=True)
def a_whole_layer_may_go(learner, reference, rng):
    """If all neurons of a layer are dead, the outputs are constant, and still right"""
    weights, biases = _stack(rng, (4, 5, 6, 3), 0.0)
    weights[1][:] = 0
    biases[1][:] = torch.from_numpy(rng.random(6) + 0.1)
    _check_outputs(learner, rng, weights, biases)
    _check_sizes(learner, weights, biases, [(0, 4), (0, 0), (3, 0)],
                 {"A neuron was kept so that no layer is empty; a layer may be.": [(1, 4), (1, 1), (3, 1)]})


def _check_outputs(learner, rng, weights, biases):
    small, small_biases = _pair(learner.shrink_linear([weight.clone() for weight in weights],
                                                      [bias.clone() for bias in biases]), "weights and biases")
    expect.equal((len(small), len(small_biases)), (len(weights), len(biases)), "the number of weights and of biases",
                 next_step="The stack keeps its number of layers.")
    inputs = _normal(rng, 6, weights[0].shape[1])
    for number, (before, after) in enumerate(pairwise(small), start=1):
        expect.equal(after.shape[1], before.shape[0], f"the inputs of layer {number + 1} after layer {number} was "
                     "shrunk", cause="A row that goes takes the next layer's column along.",
                     next_step="Use one mask for the rows here, the biases here and the columns there.")
    expect.shape(small[0], (small[0].shape[0], inputs.shape[1]), "the first weight",
                 next_step="The inputs of the stack all stay.")
    for number, (weight, bias) in enumerate(zip(small, small_biases, strict=True), start=1):
        expect.shape(bias, (weight.shape[0],), f"the biases of layer {number}",
                     next_step="Each neuron that stays keeps its bias.")
    causes = {"What silent neurons put out was not folded into the next biases.": _without_folding(weights, biases,
                                                                                                   inputs),
              "Biases were folded without ReLU.": _without_folding(weights, biases, inputs, fold=True)}
    expect.close(_run([_tensor(weight) for weight in small], [_tensor(bias) for bias in small_biases], inputs),
                 _run(weights, biases, inputs), "the outputs of the smaller stack", rtol=1e-8, atol=1e-8,
                 causes=causes, next_step="Take out one neuron at a time, and compare the outputs after each.")


def _without_folding(weights, biases, inputs, fold=False):
    """Outputs if a neuron without incoming connections puts out nothing, or its bias without ReLU."""
    x = inputs
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = functional.linear(x, weight, bias)
        if number < len(weights) - 1:
            silent = (weight == 0).all(1)
            x = torch.where(silent, bias if fold else torch.zeros_like(bias), x.relu())
    return x


def _check_sizes(learner, weights, biases, want, causes):
    small, _ = _pair(learner.shrink_linear([weight.clone() for weight in weights],
                                           [bias.clone() for bias in biases]), "weights and biases")
    expect.equal([tuple(weight.shape) for weight in small], want, "the shapes of the smaller weights", causes=causes,
                 next_step="List rows and columns that are all zero, take those neurons out, and list again.")


@check("shrink_convolution", weight=2)
def next_convolution_sees_the_same(learner, reference, rng):
    """Before another convolution the outputs stay, and silent and unread channels are gone"""
    parts = _convolution(rng, (7, 3, 3, 3), (4, 7, 2, 2), silent=(1, 5), unread=(2,))
    _check_convolution(learner, rng, *parts, gone=(1, 2, 5))
    parts = _convolution(rng, (5, 2, 1, 3), (3, 5, 3, 1), silent=(0, 4), unread=(4,))
    _check_convolution(learner, rng, *parts, gone=(0, 4))


@check("shrink_convolution")
def next_linear_layer_sees_the_same(learner, reference, rng):
    """Before a linear layer a channel takes all of its places along"""
    parts = _convolution(rng, (6, 2, 3, 3), (5, 6 * 16), silent=(0, 3), unread=(5,))
    _check_convolution(learner, rng, *parts, gone=(0, 3, 5))


@check("shrink_convolution")
def zeros_at_the_border(learner, reference, rng):
    """If the next convolution pads with zeros, a silent channel goes only if its constant is 0"""
    weight, bias, following, following_bias = _convolution(rng, (6, 2, 3, 3), (3, 6, 3, 3), silent=(1, 2), unread=(4,))
    bias[1], bias[2] = 0.7, -0.4
    _check_convolution(learner, rng, weight, bias, following, following_bias, gone=(2, 4), padding=1)


@check("shrink_convolution")
def without_relu_a_negative_constant_counts(learner, reference, rng):
    """If no ReLU stands between, a silent channel puts out its bias, also a negative one"""
    weight, bias, following, following_bias = _convolution(rng, (5, 2, 3, 3), (3, 5, 2, 2), silent=(0, 2))
    bias[0], bias[2] = -0.8, 0.5
    _check_convolution(learner, rng, weight, bias, following, following_bias, gone=(0, 2), relu=False)
    bias[2] = 0.0
    _check_convolution(learner, rng, weight, bias, following, following_bias, gone=(2,), padding=1, relu=False)


@check("shrink_convolution", weight=0.5)
def cancelling_kernels_stay(learner, reference, rng):
    """A channel whose kernel, or whose readings, add up to zero is connected, and stays"""
    weight, bias, following, following_bias = _convolution(rng, (4, 1, 2, 2), (2, 4, 2, 1), silent=(3,))
    weight[0] = torch.tensor([[[1.0, -1.0], [2.0, -2.0]]])
    following[:, 1] = torch.tensor([[[3.0], [-3.0]], [[-1.0], [1.0]]])
    _check_convolution(learner, rng, weight, bias, following, following_bias, gone=(3,))


@check("shrink_convolution", weight=0.5)
def the_given_layers_are_left_as_they_are(learner, reference, rng):
    """Weights and biases that came in are as they were"""
    parts = _convolution(rng, (4, 2, 2, 2), (3, 4, 2, 2), silent=(1,), unread=(2,))
    parts[1][1] = 1.5  # a constant to fold
    names = ["the weight", "the bias", "the next layer's weight", "the next layer's bias"]
    _check_unchanged(parts, names, lambda *given: learner.shrink_convolution(*(inout(part) for part in given)))


@check("shrink_convolution", hidden=True, weight=2)
def any_two_layers(learner, reference, rng):
    """Outputs and sizes are right for any two layers"""
    for padding, relu in ((0, True), (1, True), (0, False), (2, False)):
        channels = int(rng.integers(3, 10))
        silent, unread = (tuple((1 + np.flatnonzero(rng.random(channels - 1) < 0.4)).tolist()) for _ in range(2))
        parts = _convolution(rng, (channels, 2, 3, 3), (4, channels, 3, 3), silent, unread)
        constant = parts[1].relu() if relu else parts[1]
        gone = {*unread, *(channel for channel in silent if not padding or constant[channel] == 0)}
        _check_convolution(learner, rng, *parts, gone=sorted(gone), padding=padding, relu=relu)


@check("shrink_convolution", hidden=True)
def pooling_between_changes_nothing(learner, reference, rng):
    """With pooling between the two the outputs stay as well"""
    for following in ((3, 6, 2, 2), (4, 6 * 4)):
        parts = _convolution(rng, (6, 2, 3, 3), following, silent=(2, 5), unread=(0,))
        _check_convolution(learner, rng, *parts, gone=(0, 2, 5), relu=following == (3, 6, 2, 2), pool=True)


def _check_convolution(learner, rng, weight, bias, following, following_bias, gone, padding=0, relu=True, pool=False):
    got = learner.shrink_convolution(weight, bias, following, following_bias, padding, relu)
    expect.that(isinstance(got, list | tuple) and len(got) == 4, "four tensors: weight, bias, following and its bias",
                expect.show(got), next_step="Return them in the order in which they came in.")
    small = [_tensor(tensor) for tensor in got]
    stay = len(weight) - len(gone)
    places = following.shape[1] // len(weight)
    want = [(stay, *weight.shape[1:]), (stay,), (len(following), stay * places, *following.shape[2:]),
            (len(following),)]
    shapes = [tuple(tensor.shape) for tensor in small]
    if shapes != want:
        silent, unread = (weight == 0).flatten(1).all(1), _unread(weight, following)
        keep = torch.ones(len(weight), dtype=torch.bool)
        keep[list(gone)] = False
        stayed = {
            "Readings and channels don't fit together.": keep,
            "Nothing was taken out.": torch.ones_like(keep),
            "At a padded border the next convolution reads zeros where the constant was." if padding else
            "A silent channel stayed, or a living one went.": ~(silent | unread),
            "Channels that nobody reads are still there.": keep | (unread & ~silent),
            "Silent channels are still there.": ~unread,
        }
        cause = next((cause for cause, mask in stayed.items() if shapes[0] == weight[mask].shape
                      and torch.equal(small[0], weight[mask].double())), "")
        expect.that(False, f"shapes {want}", f"{shapes}", cause=cause, next_step="Count the channels that stay first; "
                    "a linear layer reads each channel at all of its places in a row.")
    inputs = _normal(rng, 3, weight.shape[1], weight.shape[2] + 3 + pool, weight.shape[3] + 3 + pool)
    if following.ndim == 2:
        side = round(places**0.5) * (2 if pool else 1)
        inputs = _normal(rng, 3, weight.shape[1], side + weight.shape[2] - 1, side + weight.shape[3] - 1)

    def run(weight, bias, following, following_bias):
        x = functional.conv2d(inputs, weight, bias)
        x = x.relu() if relu else x
        x = functional.max_pool2d(x, 2) if pool else x
        if following.ndim == 2:
            return functional.linear(x.flatten(1), following, following_bias)
        return functional.conv2d(x, following, following_bias, padding=padding)

    expected = run(weight, bias, following, following_bias)
    keep = torch.ones(len(weight), dtype=torch.bool)
    keep[list(gone)] = False
    readings = following.reshape(len(following), len(weight), -1)
    constant = bias.relu() if relu else bias
    shift = readings[:, ~keep].sum(2) @ constant[~keep]
    bare = readings[:, ~keep].sum(2) @ (bias if relu else bias.relu())[~keep]
    once = readings[:, ~keep].mean(2) @ constant[~keep]
    side = (slice(None), slice(None)) + (None,) * (expected.ndim - 2)
    expect.close(run(*small), expected, f"the outputs after {len(gone)} of {len(weight)} channels went", rtol=1e-8,
                 atol=1e-8, causes={
                     "What silent channels put out was not folded into the next biases.": expected - shift[None][side],
                     "The constant is read at every point of the next kernel, not once.":
                         expected + (once - shift)[None][side],
                     "ReLU was applied where there is none." if not relu else "Biases were folded without ReLU.":
                         expected + (bare - shift)[None][side],
                 }, next_step="Take a single silent channel with bias 1: by how much does the next layer's sum change?")


def _unread(weight, following):
    return (following.reshape(len(following), len(weight), -1) == 0).all(2).all(0)


# Which channels matter -----------------------------------------------------------------------------------------------


@check("channel_importance")
def importance_is_the_change_of_a_linear_loss(learner, reference, rng):
    """For a loss that is linear in the activations, it is just the change when the channel is zeroed"""
    activations, slopes = _normal(rng, 1, 4, 3, 3), _normal(rng, 1, 4, 3, 3)
    changes = []
    for channel in range(4):
        without = activations.clone()
        without[:, channel] = 0
        changes.append(abs(float((without * slopes).sum() - (activations * slopes).sum())))
    _check_importance(learner, activations, slopes, torch.tensor(changes, dtype=torch.float64))


@check("channel_importance")
def places_cancel_and_images_do_not(learner, reference, rng):
    """Places are added up with their signs, images by size"""
    activations = torch.ones(2, 2, 1, 2, dtype=torch.float64)
    gradients = torch.tensor([[[[3.0, -1.0]], [[1.0, 1.0]]], [[[-1.0, -1.0]], [[-1.0, -1.0]]]], dtype=torch.float64)
    _check_importance(learner, activations, gradients)
    _check_importance(learner, _normal(rng, 6, 3, 4, 2), _normal(rng, 6, 3, 4, 2))


@check("channel_importance")
def neurons_have_no_places(learner, reference, rng):
    """The neurons of a linear layer, (N, P), are treated alike"""
    _check_importance(learner, _normal(rng, 7, 5), _normal(rng, 7, 5))


@check("channel_importance", weight=0.5)
def shapes_must_agree(learner, reference, rng):
    """Activations and gradients of different shapes are a ValueError"""
    for one, other in (((2, 3, 4, 4), (2, 3, 1, 1)), ((2, 3), (2, 1))):
        expect.raises("ValueError", learner.channel_importance, torch.ones(one), torch.ones(other),
                      why=f"activations of shape {one} don't belong to gradients of shape {other}")


@check("channel_importance", hidden=True)
def importance_is_the_slope_of_a_real_loss(learner, reference, rng):
    """It is the slope of each image's cross-entropy while a channel fades"""
    images, kernel, weight = _normal(rng, 5, 2, 6, 6), _normal(rng, 4, 2, 3, 3), _normal(rng, 3, 4 * 16)
    labels = torch.from_numpy(rng.integers(0, 3, 5))
    activations = functional.conv2d(images, kernel).relu().requires_grad_()
    functional.cross_entropy(activations.flatten(1) @ weight.T / 10, labels, reduction="sum").backward()
    want = []
    for channel in range(4):
        gate = torch.ones(4, 1, 1, dtype=torch.float64)
        losses = []
        for fade in (1e-5, -1e-5):
            gate[channel] = 1 + fade
            logits = (activations.detach() * gate).flatten(1) @ weight.T / 10
            losses.append(functional.cross_entropy(logits, labels, reduction="none"))
        want.append(((losses[0] - losses[1]) / 2e-5).abs().mean())
    expect.close(learner.channel_importance(activations.detach(), activations.grad), torch.stack(want),
                 "the importance of four channels, by finite differences", rtol=1e-5, atol=1e-7,
                 next_step="Multiply a channel by 1 − ε, and see how the loss of one image changes.")


@check("channel_importance", hidden=True)
def importance_of_any_channels(learner, reference, rng):
    """It is right for any shape and dtype"""
    for dtype in (torch.float32, torch.float64):
        shape = tuple(int(side) for side in rng.integers(1, 8, 4))
        _check_importance(learner, _normal(rng, *shape).to(dtype), _normal(rng, *shape).to(dtype), tolerance=1e-4)


def _check_importance(learner, activations, gradients, want=None, tolerance=1e-6):
    products = (activations * gradients).double()
    changes = products.flatten(2).sum(2) if products.ndim > 2 else products
    want = changes.abs().mean(0) if want is None else want
    sizes = products.abs().flatten(2).sum(2) if products.ndim > 2 else products.abs()
    places = max(1, products[0, 0].numel())
    causes = {
        "Each place's size is taken: places of one image may cancel.": sizes.mean(0),
        "Images cancel: take each one's size before you average.": changes.mean(0).abs(),
        "The images are added up, not averaged.": changes.abs().sum(0),
        "The places are averaged, not added up.": changes.abs().mean(0) / places,
        "The sign is kept: a change for the better counts as well.": changes.mean(0),
        "The gradients are left out.": activations.double().flatten(2).sum(2).abs().mean(0) if products.ndim > 2
        else activations.double().abs().mean(0),
    }
    expect.close(learner.channel_importance(activations, gradients), want,
                 f"the importance of {want.shape[0]} channels in {products.shape[0]} images", rtol=tolerance,
                 atol=tolerance, causes=causes,
                 next_step="For one image and one channel: by how much does the loss change if its values become 0?")


# Extensions ----------------------------------------------------------------------------------------------------------


@check("prune_recurrent")
def zeros_follow_the_ramp(learner, reference, rng):
    """In each gate the share of zeros is sparsity · (1 − (1 − done)³)"""
    state = _recurrent(rng, 4, 6)
    for done, sparsity in ((0.0, 0.9), (0.5, 0.8), (1.0, 0.75), (0.2, 1.0)):
        masks = _masks(learner.prune_recurrent(state, done, sparsity), state)
        for name, mask in masks.items():
            share = sparsity * (1 - (1 - done) ** 3)
            _check_zeros(mask, share, 3, f"{name}, {100 * done:.0f} % of the way to a sparsity of {sparsity}", {
                "The ramp is a straight line.": sparsity * done,
                "The ramp was forgotten.": sparsity,
                "The ramp is upside down: it rises fast first.": sparsity * done**3,
                "Zeros and ones are swapped: False is for a weight that goes.": 1 - share,
            })


@check("prune_recurrent")
def smallest_of_each_gate_go(learner, reference, rng):
    """Within a gate the smallest magnitudes go, and no gate pays for another"""
    state = _recurrent(rng, 5, 6)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        state[name][:6] *= 20  # the reset gate has larger weights than the other two
    for name, mask in _masks(learner.prune_recurrent(state, 1.0, 0.5), state).items():
        _check_zeros(mask, 0.5, 3, f"{name}, whose first gate has larger weights", {})
        for sizes, kept in zip(state[name].abs().chunk(3), mask.chunk(3), strict=True):
            expect.that(float(sizes[kept].min()) >= float(sizes[~kept].max()), "the smallest magnitudes to go",
                        f"{float(sizes[kept].min()):.3g} kept and {float(sizes[~kept].max()):.3g} gone",
                        cause="Magnitudes count, not values: −3 is larger than 0.1.",
                        next_step="Print the weights of one gate, sorted, with their masks.")


@check("prune_recurrent")
def matrices_only(learner, reference, rng):
    """Every matrix of every layer has a mask, no bias has one"""
    state = _recurrent(rng, 3, 4)
    state |= {name.replace("l0", "l1"): value for name, value in _recurrent(rng, 4, 4).items()}
    _masks(learner.prune_recurrent(state, 1.0, 0.5), state)


@check("prune_recurrent", weight=0.5)
def shares_are_from_0_to_1(learner, reference, rng):
    """A done or a sparsity below 0 or above 1 is a ValueError"""
    state = _recurrent(rng, 2, 2)
    for done, sparsity in ((1.1, 0.5), (-0.1, 0.5), (0.5, 90.0), (0.5, -0.1)):
        expect.raises("ValueError", learner.prune_recurrent, state, done, sparsity,
                      why=f"both are shares, and done is {done}, sparsity {sparsity}")


@check("prune_recurrent", hidden=True)
def masks_only_lose(learner, reference, rng):
    """Along the ramp a mask only loses, until the ends of sparsity, and other layers have other gates"""
    for gates in (1, 3, 4):
        state = _recurrent(rng, 5, 3, gates)
        before = None
        for done in (0.0, 0.1, 0.4, 0.8, 1.0):
            masks = _masks(learner.prune_recurrent(state, done, 1.0, gates), state)
            for name, mask in masks.items():
                _check_zeros(mask, 1 - (1 - done) ** 3, gates, f"{name} with {gates} gates", {})
                expect.that(before is None or bool((before[name] | ~mask).all()), "no weight to come back",
                            "one that went and came back", next_step="Sort once by magnitude, and take more each time.")
            before = masks


@check("prune_recurrent", hidden=True)
def ties_are_broken(learner, reference, rng):
    """With equal magnitudes the count still holds"""
    state = {name: torch.ones_like(value) * torch.from_numpy(rng.choice([-1.0, 1.0], tuple(value.shape)))
             for name, value in _recurrent(rng, 4, 5).items()}
    for name, mask in _masks(learner.prune_recurrent(state, 1.0, 0.6), state).items():
        _check_zeros(mask, 0.6, 3, f"{name} with all magnitudes equal", {
            "All ties went.": 1.0, "All ties stayed.": 0.0})


def _masks(got, state):
    expect.that(isinstance(got, dict), "a dict of masks", expect.show(got),
                next_step="Return one mask for each matrix, by its name.")
    want = sorted(name for name in state if name.startswith("weight"))
    cause = "Biases are few and stay." if any(name.startswith("bias") for name in got) else ""
    expect.equal(sorted(got), want, "the names of the masks", cause=cause,
                 next_step="Matrices are called weight_…; go through all names of the state.")
    for name in want:
        expect.shape(got[name], tuple(state[name].shape), f"the mask of {name}",
                     next_step="A mask has the shape of its matrix.")
    return {name: _tensor(got[name]).bool() for name in want}


def _check_zeros(mask, share, gates, what, causes):
    blocks = mask.reshape(gates, -1)
    entries = blocks.shape[1]
    want = round(share * entries)
    got = (~blocks).sum(1).tolist()
    known = {cause: [round(wrong * entries)] * gates for cause, wrong in causes.items()}
    if gates > 1 and len(set(got)) > 1:
        known["Each gate has to lose its own smallest, and here gates lose unequal shares."] = got
    expect.equal(got, [want] * gates, f"the zeros in each gate of {what}", causes=known,
                 next_step="Split the matrix into its gates, count the entries of one, and work out how many go.")


@check("drop_layers")
def what_adds_nothing_goes_first(learner, reference, rng):
    """Blocks that add nothing, or little, go first"""
    blocks = _blocks(rng, 5, 4, 3)
    blocks[1] = (blocks[1][0], 0 * blocks[1][1])
    blocks[3] = (1e-3 * blocks[3][0], blocks[3][1])
    inputs = _normal(rng, 9, 4)
    _check_drop(learner, blocks, inputs, 1)
    _check_drop(learner, blocks, inputs, 2)


@check("drop_layers")
def one_after_another(learner, reference, rng):
    """After each turn the rest is judged anew, against the outputs of the whole stack"""
    for sizes in ((1.0, 1.1, -1.5, 5.0), (4.0, -1.0, 1.3, 1.1, 6.0)):
        _check_drop(learner, _adders(sizes), torch.tensor([[0.0, 1.0]], dtype=torch.float64), 2)


@check("drop_layers", weight=0.5)
def no_more_than_there_are(learner, reference, rng):
    """A number below 0 or above that of the blocks is a ValueError"""
    blocks = _blocks(rng, 3, 2, 2)
    for drop in (-1, 4):
        expect.raises("ValueError", learner.drop_layers, blocks, torch.ones(1, 2), drop,
                      why=f"there are 3 blocks and drop is {drop}")


@check("drop_layers", hidden=True)
def any_stack_of_blocks(learner, reference, rng):
    """The choice is right for any stack"""
    for _ in range(3):
        count = int(rng.integers(3, 7))
        blocks = _blocks(rng, count, 3, 4)
        _check_drop(learner, blocks, _normal(rng, 8, 3), int(rng.integers(1, count)))


@check("drop_layers", hidden=True)
def none_and_all(learner, reference, rng):
    """Dropping none keeps all, dropping all keeps none"""
    blocks = _blocks(rng, 4, 3, 2)
    _check_drop(learner, blocks, _normal(rng, 5, 3), 0)
    _check_drop(learner, blocks, _normal(rng, 5, 3), 4)


def _check_drop(learner, blocks, inputs, drop):
    everything = list(range(len(blocks)))

    def moved(stay, than):
        return float((_residual(blocks, stay, inputs) - _residual(blocks, than, inputs)).norm())

    def without(stay, number):
        return [other for other in stay if other != number]

    stay = relative = everything
    for _ in range(drop):
        here, there = stay, relative
        stay = without(stay, min(here, key=lambda number: moved(without(here, number), everything)))
        relative = without(relative, min(there, key=lambda number: moved(without(there, number), there)))
    single = sorted(everything, key=lambda number: moved(without(everything, number), everything))
    expect.equal(list(learner.drop_layers(blocks, inputs, drop)), stay, f"the blocks that stay of {len(blocks)} when "
                 f"{drop} go", causes={
                     "Those are the blocks that go.": [number for number in everything if number not in stay],
                     "The rest must be judged again after each turn, against the whole stack.": sorted(single[drop:]),
                     "Each turn was compared with the turn before, not with the whole stack.": relative,
                     "Those that move the outputs most went.": sorted(single[: len(blocks) - drop]),
                     "They come in the order of their importance, not of the stack.": stay[::-1],
                 }, next_step="Write down, for each block, how far the outputs move without it.")


# Helpers -------------------------------------------------------------------------------------------------------------


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    tensor = torch.as_tensor(value).detach()
    return tensor if tensor.dtype is torch.bool else tensor.double()


def _pair(value, what):
    expect.that(isinstance(value, list | tuple) and len(value) == 2, f"{what}, as a tuple of two", expect.show(value),
                next_step="Return both, separated by a comma.")
    return value


def _normal(rng, *shape) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def _hidden_layer(rng, n, hidden, m, silent=(), unread=()):
    """Weight, bias and the next layer's weight, with some rows and columns of zeros."""
    weight, bias, following = _normal(rng, hidden, n), _normal(rng, hidden), _normal(rng, m, hidden)
    weight[list(silent)] = 0
    following[:, list(unread)] = 0
    return weight, bias, following


def _stack(rng, sizes, sparsity):
    """Weights and biases of a stack, with a share of random zeros."""
    weights = [_normal(rng, m, n) * torch.from_numpy(rng.random((m, n)) >= sparsity)
               for n, m in pairwise(sizes)]
    return weights, [_normal(rng, m) for m in sizes[1:]]


def _run(weights, biases, x):
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        x = functional.linear(x, weight, bias)
        x = x.relu() if number < len(weights) else x
    return x


def _convolution(rng, shape, following_shape, silent=(), unread=()):
    """A convolution and the layer that comes next, with silent channels and channels that are not read."""
    weight, bias, following = _normal(rng, *shape), _normal(rng, shape[0]), _normal(rng, *following_shape)
    weight[list(silent)] = 0
    following.view(len(following), shape[0], -1)[:, list(unread)] = 0
    return weight, bias, following, _normal(rng, len(following))


def _recurrent(rng, inputs, hidden, gates=3):
    """The state of a recurrent layer, named as torch names it."""
    return {"weight_ih_l0": _normal(rng, gates * hidden, inputs), "weight_hh_l0": _normal(rng, gates * hidden, hidden),
            "bias_ih_l0": _normal(rng, gates * hidden), "bias_hh_l0": _normal(rng, gates * hidden)}


def _blocks(rng, count, n, hidden):
    return [(_normal(rng, hidden, n), 0.5 * _normal(rng, n, hidden)) for _ in range(count)]


def _adders(sizes):
    """Blocks that each add a number to the first coordinate, if the second is 1."""
    a = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    return [(a, torch.tensor([[size], [0.0]], dtype=torch.float64)) for size in sizes]


def _residual(blocks, chosen, x):
    for number in chosen:
        a, b = blocks[number]
        x = x + (x @ a.T).relu() @ b.T
    return x
