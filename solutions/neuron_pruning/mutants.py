"""Unit 05, neuron pruning: wrong answers that some check must reject, and right ones that all checks must accept."""

import torch
from torch import nn
from torch.nn import functional

from nutshell.checks import alternative, mutant

# li_lo_penalty -------------------------------------------------------------------------------------------------------


@mutant("li_lo_penalty")
def penalties_swapped(weights):
    """Takes a column for what comes in"""
    li = sum(w.transpose(0, 1).flatten(1).norm(dim=1).sum() for w in weights)
    lo = sum(w.flatten(1).norm(dim=1).sum() for w in weights)
    return li, lo


@mutant("li_lo_penalty")
def penalties_squared(weights):
    """Squares: that is weight decay, which empties nothing"""
    both = sum((w**2).sum() for w in weights)
    return both, both


@mutant("li_lo_penalty")
def penalties_of_magnitudes(weights):
    """Sums of magnitudes, which empty weights and not neurons"""
    both = sum(w.abs().sum() for w in weights)
    return both, both


@mutant("li_lo_penalty")
def penalties_nan_at_zero(weights):
    """The root of the sum of squares, whose slope at zero is infinite"""
    li = sum((w.flatten(1) ** 2).sum(1).sqrt().sum() for w in weights)
    lo = sum((w.transpose(0, 1).flatten(1) ** 2).sum(1).sqrt().sum() for w in weights)
    return li, lo


@mutant("li_lo_penalty")
def penalties_by_point(weights):
    """Each point of a kernel is a group of its own"""
    return sum(w.norm(dim=1).sum() for w in weights), sum(w.norm(dim=0).sum() for w in weights)


@mutant("li_lo_penalty")
def penalties_without_gradient(weights):
    """Plain numbers, through which no gradient flows"""
    li = sum(w.flatten(1).norm(dim=1).sum().item() for w in weights)
    lo = sum(w.transpose(0, 1).flatten(1).norm(dim=1).sum().item() for w in weights)
    return li, lo


@mutant("li_lo_penalty")
def penalties_of_the_last_layer(weights):
    """Forgets to add the layers up"""
    for w in weights:
        li = w.flatten(1).norm(dim=1).sum()
        lo = w.transpose(0, 1).flatten(1).norm(dim=1).sum()
    return li, lo


@mutant("li_lo_penalty")
def penalties_of_rows_twice(weights):
    """Takes rows for both"""
    both = sum(w.flatten(1).norm(dim=1).sum() for w in weights)
    return both, both


@alternative("li_lo_penalty")
def penalties_by_loops(weights):
    """Neuron by neuron"""
    li, lo = [], []
    for w in weights:
        li += [torch.linalg.vector_norm(w[neuron]) for neuron in range(w.shape[0])]
        lo += [torch.linalg.vector_norm(w[:, neuron]) for neuron in range(w.shape[1])]
    return torch.stack(li).sum(), torch.stack(lo).sum()


@alternative("li_lo_penalty")
def penalties_with_a_safe_root(weights):
    """Roots of sums of squares, taken only where they aren't zero"""
    totals = []
    for dim in (0, 1):
        parts = []
        for w in weights:
            squares = w.pow(2).sum([axis for axis in range(w.ndim) if axis != dim])
            parts.append(squares[squares > 0].sqrt().sum())
        totals.append(sum(parts))
    return tuple(totals)


# group_soft_threshold ------------------------------------------------------------------------------------------------


def _lengths(weight, dim):
    others = [axis for axis in range(weight.ndim) if axis != dim]
    return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


def _not_negative(threshold):
    if threshold < 0:
        raise ValueError(f"threshold {threshold} is below 0")


@mutant("group_soft_threshold")
def threshold_each_weight(weight, threshold, dim=0):
    """The step of the lasso: each weight on its own"""
    _not_negative(threshold)
    return weight.sign() * (weight.abs() - threshold).clamp_min(0)


@mutant("group_soft_threshold")
def threshold_is_hard(weight, threshold, dim=0):
    """Empties short groups and leaves long ones as they are"""
    _not_negative(threshold)
    return weight * (_lengths(weight, dim) > threshold)


@mutant("group_soft_threshold")
def threshold_turns_round(weight, threshold, dim=0):
    """No maximum with 0: short groups come out turned round"""
    _not_negative(threshold)
    return weight * (1 - threshold / _lengths(weight, dim).clamp_min(1e-12))


@mutant("group_soft_threshold")
def threshold_zero_by_zero(weight, threshold, dim=0):
    """A group of zeros becomes nan"""
    _not_negative(threshold)
    lengths = _lengths(weight, dim)
    return weight * (lengths - threshold).clamp_min(0) / lengths


@mutant("group_soft_threshold")
def threshold_along_the_other(weight, threshold, dim=0):
    """Takes dim for the axis to sum over"""
    _not_negative(threshold)
    return weight * (1 - threshold / weight.norm(dim=dim, keepdim=True).clamp_min(1e-30)).clamp_min(0)


@mutant("group_soft_threshold")
def threshold_by_share(weight, threshold, dim=0):
    """Shrinks each group by a share, so that none gets to zero"""
    _not_negative(threshold)
    return weight / (1 + threshold / _lengths(weight, dim).clamp_min(1e-30))


@mutant("group_soft_threshold")
def threshold_of_any_sign(weight, threshold, dim=0):
    """A negative threshold makes groups longer"""
    return weight * (1 - threshold / _lengths(weight, dim).clamp_min(1e-30)).clamp_min(0)


@mutant("group_soft_threshold")
def threshold_in_place(weight, threshold, dim=0):
    """Changes the weights that it is given"""
    _not_negative(threshold)
    return weight.mul_((1 - threshold / _lengths(weight, dim).clamp_min(1e-30)).clamp_min(0))


@mutant("group_soft_threshold")
def threshold_with_a_small_number(weight, threshold, dim=0):
    """Adds something to the length against a division by zero: none is quite as long as it should be"""
    _not_negative(threshold)
    return weight * (1 - threshold / (_lengths(weight, dim) + 1e-8)).clamp_min(0)


@mutant("group_soft_threshold")
def threshold_by_point(weight, threshold, dim=0):
    """Each point of a kernel is a group of its own"""
    _not_negative(threshold)
    lengths = weight.norm(dim=1 - dim, keepdim=True)
    return weight * torch.where(lengths > threshold, 1 - threshold / lengths, 0)


@alternative("group_soft_threshold")
def threshold_by_unit_vectors(weight, threshold, dim=0):
    """Direction times the shorter length"""
    if not threshold >= 0:
        raise ValueError("threshold")
    groups = weight.transpose(0, dim).flatten(1)
    shorter = (groups.norm(dim=1, keepdim=True) - threshold).clamp_min(0)
    changed = functional.normalize(groups, dim=1) * shorter
    return changed.reshape(weight.transpose(0, dim).shape).transpose(0, dim)


@alternative("group_soft_threshold")
def threshold_by_loops(weight, threshold, dim=0):
    """Group by group"""
    if threshold < 0:
        raise ValueError("threshold")
    result = torch.zeros_like(weight)
    for number in range(weight.shape[dim]):
        group = weight.select(dim, number)
        length = float(group.norm())
        if length > threshold:
            result.select(dim, number).copy_(group * (1 - threshold / length))
    return result


# dead_neurons --------------------------------------------------------------------------------------------------------


@mutant("dead_neurons")
def dead_only_without_inputs(weight, bias, following):
    """Misses those that nobody reads"""
    dead = (weight == 0).all(1)
    return dead, following[:, dead] @ bias[dead].relu()


@mutant("dead_neurons")
def dead_only_without_readers(weight, bias, following):
    """Misses those without incoming connections"""
    dead = (following == 0).all(0)
    return dead, torch.zeros(len(following), dtype=weight.dtype)


@mutant("dead_neurons")
def dead_without_shift(weight, bias, following):
    """Takes a neuron without inputs for one that puts out 0"""
    dead = (weight == 0).all(1) | (following == 0).all(0)
    return dead, torch.zeros(len(following), dtype=weight.dtype)


@mutant("dead_neurons")
def dead_without_relu(weight, bias, following):
    """Folds the bias itself, also where ReLU makes it 0"""
    dead = (weight == 0).all(1) | (following == 0).all(0)
    return dead, following[:, dead] @ bias[dead]


@mutant("dead_neurons")
def dead_needs_no_bias(weight, bias, following):
    """Takes the bias for a connection"""
    dead = ((weight == 0).all(1) & (bias == 0)) | (following == 0).all(0)
    return dead, following[:, dead] @ bias[dead].relu()


@mutant("dead_neurons")
def dead_if_nearly(weight, bias, following):
    """Takes small weights for none"""
    dead = (weight.abs() < 1e-4).all(1) | (following.abs() < 1e-4).all(0)
    return dead, following[:, dead] @ bias[dead].relu()


@mutant("dead_neurons")
def dead_are_the_living(weight, bias, following):
    """Marks those that stay"""
    dead = (weight == 0).all(1) | (following == 0).all(0)
    return ~dead, following[:, dead] @ bias[dead].relu()


@mutant("dead_neurons")
def dead_by_sums(weight, bias, following):
    """Takes weights that add up to zero for none"""
    dead = (weight.sum(1) == 0) | (following.sum(0) == 0)
    return dead, following[:, dead] @ bias[dead].relu()


@mutant("dead_neurons")
def dead_below_a_billionth(weight, bias, following):
    """Takes very short rows and columns for empty ones"""
    dead = (weight.norm(dim=1) < 1e-9) | (following.norm(dim=0) < 1e-9)
    return dead, following[:, dead] @ bias[dead].relu()


@alternative("dead_neurons")
def dead_by_loops(weight, bias, following):
    """Neuron by neuron"""
    dead, shift = [], torch.zeros(len(following), dtype=weight.dtype)
    for neuron in range(len(weight)):
        comes_in, goes_out = bool(weight[neuron].any()), bool(following[:, neuron].any())
        dead.append(not (comes_in and goes_out))
        if not comes_in:
            shift = shift + following[:, neuron] * max(float(bias[neuron]), 0.0)
    return torch.tensor(dead), shift


@alternative("dead_neurons")
def dead_by_trying(weight, bias, following):
    """Counts connections, and finds the shift by running the layer on an input of zeros"""
    dead = (weight.count_nonzero(1) == 0) + (following.count_nonzero(0) == 0)
    hidden = functional.relu(functional.linear(torch.zeros(1, weight.shape[1], dtype=weight.dtype), weight, bias))
    return dead, functional.linear(hidden * dead, following)[0]


# shrink_linear -------------------------------------------------------------------------------------------------------


def _take_out(weights, biases, layer, fold=True, relu=True, rows_only=False):
    dead = (weights[layer] == 0).all(1) | (weights[layer + 1] == 0).all(0)
    constant = biases[layer][dead].relu() if relu else biases[layer][dead]
    if fold:
        biases[layer + 1] = biases[layer + 1] + weights[layer + 1][:, dead] @ constant
    weights[layer], biases[layer] = weights[layer][~dead], biases[layer][~dead]
    if not rows_only:
        weights[layer + 1] = weights[layer + 1][:, ~dead]
    return bool(dead.any())


@mutant("shrink_linear")
def shrink_forgets_to_fold(weights, biases):
    """Neurons without inputs are taken for zeros"""
    weights, biases = list(weights), list(biases)
    while any([_take_out(weights, biases, layer, fold=False) for layer in range(len(weights) - 1)]):
        pass
    return weights, biases


@mutant("shrink_linear")
def shrink_folds_without_relu(weights, biases):
    """Folds the bias itself"""
    weights, biases = list(weights), list(biases)
    while any([_take_out(weights, biases, layer, relu=False) for layer in range(len(weights) - 1)]):
        pass
    return weights, biases


@mutant("shrink_linear")
def shrink_in_one_pass(weights, biases):
    """One pass from first to last: who loses a reader later stays"""
    weights, biases = list(weights), list(biases)
    for layer in range(len(weights) - 1):
        _take_out(weights, biases, layer)
    return weights, biases


@mutant("shrink_linear")
def shrink_backwards_in_one_pass(weights, biases):
    """One pass from last to first: who loses an input later stays"""
    weights, biases = list(weights), list(biases)
    for layer in reversed(range(len(weights) - 1)):
        _take_out(weights, biases, layer)
    return weights, biases


@mutant("shrink_linear")
def shrink_only_masks(weights, biases):
    """Returns the stack as it came: zeros, and nothing smaller"""
    return list(weights), list(biases)


@mutant("shrink_linear")
def shrink_leaves_columns(weights, biases):
    """Rows go and the columns that read them stay"""
    weights, biases = list(weights), list(biases)
    for layer in range(len(weights) - 1):
        _take_out(weights, biases, layer, rows_only=True)
    return weights, biases


@mutant("shrink_linear")
def shrink_takes_inputs_too(weights, biases):
    """Inputs of the whole stack go as well, so that images no longer fit"""
    weights, biases = list(weights), list(biases)
    while any([_take_out(weights, biases, layer) for layer in range(len(weights) - 1)]):
        pass
    weights[0] = weights[0][:, (weights[0] != 0).any(0)]
    return weights, biases


@mutant("shrink_linear")
def shrink_by_sums(weights, biases):
    """Takes weights that add up to zero for none"""
    weights, biases = list(weights), list(biases)
    before = None
    while before != (before := [len(bias) for bias in biases]):
        for layer in range(len(weights) - 1):
            live = (weights[layer].sum(1) != 0) & (weights[layer + 1].sum(0) != 0)
            biases[layer + 1] = biases[layer + 1] + weights[layer + 1][:, ~live] @ biases[layer][~live].relu()
            weights[layer], biases[layer] = weights[layer][live], biases[layer][live]
            weights[layer + 1] = weights[layer + 1][:, live]
    return weights, biases


@mutant("shrink_linear")
def shrink_in_the_given_lists(weights, biases):
    """Writes into the lists that it is given"""
    while any([_take_out(weights, biases, layer) for layer in range(len(weights) - 1)]):
        pass
    return weights, biases


@mutant("shrink_linear")
def shrink_adds_to_given_biases(weights, biases):
    """Folds with +=, into the caller's own biases"""
    small, folded = list(weights), list(biases)
    for layer in range(len(small) - 1):
        dead = (small[layer] == 0).all(1) | (small[layer + 1] == 0).all(0)
        folded[layer + 1] += small[layer + 1][:, dead] @ folded[layer][dead].relu()
    small, folded = list(weights), list(biases)
    while any([_take_out(small, folded, layer, fold=False) for layer in range(len(small) - 1)]):
        pass
    return small, folded


@mutant("shrink_linear")
def shrink_leaves_one_neuron(weights, biases):
    """Never empties a layer"""
    weights, biases = list(weights), list(biases)
    before = None
    while before != (before := [len(bias) for bias in biases]):
        for layer in range(len(weights) - 1):
            dead = (weights[layer] == 0).all(1) | (weights[layer + 1] == 0).all(0)
            dead[0] &= not dead.all()
            biases[layer + 1] = biases[layer + 1] + weights[layer + 1][:, dead] @ biases[layer][dead].relu()
            weights[layer], biases[layer] = weights[layer][~dead], biases[layer][~dead]
            weights[layer + 1] = weights[layer + 1][:, ~dead]
    return weights, biases


@alternative("shrink_linear")
def shrink_forth_and_back(weights, biases):
    """One pass to the last layer for who is fed, one back for who is read: more is never needed"""
    weights, biases = [w.clone() for w in weights], [b.clone() for b in biases]
    layers = range(len(weights) - 1)
    for layer in [*layers, *reversed(layers)]:
        _take_out(weights, biases, layer)
    return weights, biases


@alternative("shrink_linear")
def shrink_by_reach(weights, biases):
    """Finds who is fed and who is read first, folds constants layer by layer, and cuts once at the end"""
    fed = [torch.ones(weights[0].shape[1], dtype=torch.bool)]
    constant = [torch.zeros(weights[0].shape[1], dtype=weights[0].dtype)]
    new_biases = []
    for weight, bias in zip(weights, biases, strict=True):
        new_biases.append(bias + weight[:, ~fed[-1]] @ constant[-1][~fed[-1]])
        fed.append(((weight != 0) & fed[-1]).any(1))
        constant.append(new_biases[-1].relu())
    read = [torch.ones(len(biases[-1]), dtype=torch.bool)]
    for weight in reversed(weights[1:]):
        read.insert(0, ((weight != 0) & read[0][:, None]).any(0))
    stay = [torch.ones(weights[0].shape[1], dtype=torch.bool)]
    stay += [one & other for one, other in zip(fed[1:-1], read[:-1], strict=True)] + [read[-1]]
    small = [weight[stay[number + 1]][:, stay[number]] for number, weight in enumerate(weights)]
    return small, [bias[stay[number + 1]] for number, bias in enumerate(new_biases)]


@alternative("shrink_linear")
def shrink_one_neuron_at_a_time(weights, biases):
    """Takes out a single neuron, and starts again"""
    weights, biases = [w.clone() for w in weights], [b.clone() for b in biases]
    found = True
    while found:
        found = False
        for layer in range(len(weights) - 1):
            for neuron in range(len(biases[layer])):
                if weights[layer][neuron].any() and weights[layer + 1][:, neuron].any():
                    continue
                if not weights[layer][neuron].any():
                    biases[layer + 1] += weights[layer + 1][:, neuron] * biases[layer][neuron].clamp_min(0)
                rest = [other for other in range(len(biases[layer])) if other != neuron]
                weights[layer], biases[layer] = weights[layer][rest], biases[layer][rest]
                weights[layer + 1] = weights[layer + 1][:, rest]
                found = True
                break
    return weights, biases


# shrink_convolution --------------------------------------------------------------------------------------------------


def _shrink(weight, bias, following, following_bias, padding, relu, border=True, fold="sum", unread=True):
    readings = following.reshape(len(following), len(weight), -1)
    constant = bias.relu() if relu else bias
    gone = (weight == 0).flatten(1).all(1)
    if padding and border:
        gone = gone & (constant == 0)
    if unread:
        gone = gone | (readings == 0).all(2).all(0)
    shift = getattr(readings[:, gone], fold)(2) @ constant[gone] if fold else 0
    kept = readings[:, ~gone]
    kept = kept.reshape(len(following), -1, *following.shape[2:])
    return weight[~gone], bias[~gone], kept, following_bias + shift


@mutant("shrink_convolution")
def channels_without_folding(weight, bias, following, following_bias, padding=0, relu=True):
    """Silent channels are taken for zeros"""
    return _shrink(weight, bias, following, following_bias, padding, relu, fold="")


@mutant("shrink_convolution")
def channels_folded_once(weight, bias, following, following_bias, padding=0, relu=True):
    """Folds the constant as if the next layer read it at one point"""
    return _shrink(weight, bias, following, following_bias, padding, relu, fold="mean")


@mutant("shrink_convolution")
def channels_forget_the_border(weight, bias, following, following_bias, padding=0, relu=True):
    """Folds constants also where the next convolution pads with zeros"""
    return _shrink(weight, bias, following, following_bias, padding, relu, border=False)


@mutant("shrink_convolution")
def channels_always_relu(weight, bias, following, following_bias, padding=0, relu=True):
    """ReLU also where there is none"""
    return _shrink(weight, bias, following, following_bias, padding, True)


@mutant("shrink_convolution")
def channels_unread_stay(weight, bias, following, following_bias, padding=0, relu=True):
    """Channels that nobody reads are kept"""
    return _shrink(weight, bias, following, following_bias, padding, relu, unread=False)


@mutant("shrink_convolution")
def channels_padded_stay(weight, bias, following, following_bias, padding=0, relu=True):
    """Before a padded convolution all silent channels are kept, also those that put out 0"""
    gone = (weight == 0).flatten(1).all(1) if not padding else torch.zeros(len(weight), dtype=torch.bool)
    gone = gone | (following.reshape(len(following), len(weight), -1) == 0).all(2).all(0)
    readings = following.reshape(len(following), len(weight), -1)
    shift = readings[:, gone].sum(2) @ (bias[gone].relu() if relu else bias[gone])
    kept = readings[:, ~gone].reshape(len(following), -1, *following.shape[2:])
    return weight[~gone], bias[~gone], kept, following_bias + shift


@mutant("shrink_convolution")
def channels_interleaved(weight, bias, following, following_bias, padding=0, relu=True):
    """Takes the flattened places for the slow axis: of a linear layer the wrong columns go"""
    if following.ndim == 4:
        return _shrink(weight, bias, following, following_bias, padding, relu)
    mixed = following.reshape(len(following), -1, len(weight)).transpose(1, 2).flatten(1)
    w, b, kept, shifted = _shrink(weight, bias, mixed, following_bias, padding, relu)
    return w, b, kept.reshape(len(following), len(w), -1).transpose(1, 2).flatten(1), shifted


@mutant("shrink_convolution")
def channels_by_sums(weight, bias, following, following_bias, padding=0, relu=True):
    """Takes kernels that add up to zero for empty ones"""
    silent = weight.sum((1, 2, 3)) == 0
    return _shrink(torch.where(silent[:, None, None, None], 0, weight), bias, following, following_bias, padding, relu)


@mutant("shrink_convolution")
def channels_add_to_the_given_bias(weight, bias, following, following_bias, padding=0, relu=True):
    """Folds with +=, into the caller's own bias"""
    small = _shrink(weight, bias, following, torch.zeros_like(following_bias), padding, relu)
    following_bias += small[3]
    return *small[:3], following_bias


@mutant("shrink_convolution")
def channels_negative_are_silent(weight, bias, following, following_bias, padding=0, relu=True):
    """At a padded border a bias of 0 or below counts as 0, also without ReLU"""
    if padding and not relu:
        silent = (weight == 0).flatten(1).all(1) & (bias <= 0)
        return _shrink(weight, torch.where(silent, 0, bias), following, following_bias, padding, relu)
    return _shrink(weight, bias, following, following_bias, padding, relu)


@alternative("shrink_convolution")
def channels_by_loops(weight, bias, following, following_bias, padding=0, relu=True):
    """Channel by channel"""
    places = following.shape[1] // len(weight)
    keep, shift = [], following_bias.clone()
    for channel in range(len(weight)):
        reads = following[:, channel * places : (channel + 1) * places]
        constant = float(bias[channel])
        if relu and constant < 0:
            constant = 0.0
        silent = not weight[channel].any()
        if not reads.any() or (silent and (padding == 0 or constant == 0)):
            shift += constant * reads.flatten(1).sum(1) if silent else 0
        else:
            keep.append(channel)
    columns = [channel * places + place for channel in keep for place in range(places)]
    return weight[keep], bias[keep], following[:, columns], shift


@alternative("shrink_convolution")
def channels_by_running(weight, bias, following, following_bias, padding=0, relu=True):
    """Finds the shift by running the next layer on the constants alone"""
    channels = len(weight)
    reads = following.view(len(following), channels, -1)
    constant = torch.relu(bias) if relu else bias
    silent = weight.abs().sum((1, 2, 3)) == 0
    gone = silent & (torch.tensor(padding == 0) | (constant == 0)) | (reads.abs().sum((0, 2)) == 0)
    planes = (constant * (gone & silent))[:, None].expand(channels, reads.shape[2])
    shift = functional.linear(planes.reshape(1, -1), reads.flatten(1))[0]
    index = torch.nonzero(~gone).flatten()
    kept = reads.index_select(1, index)
    kept = kept.view(len(following), len(index), *following.shape[2:]) if following.ndim == 4 else kept.flatten(1)
    return weight.index_select(0, index), bias.index_select(0, index), kept, following_bias + shift


# channel_importance --------------------------------------------------------------------------------------------------


def _same_shapes(activations, gradients):
    if activations.shape != gradients.shape:
        raise ValueError("shapes")
    return activations.flatten(2) if activations.ndim > 2 else activations[:, :, None], (
        gradients.flatten(2) if gradients.ndim > 2 else gradients[:, :, None])


@mutant("channel_importance")
def importance_of_sizes_of_places(activations, gradients):
    """Takes sizes place by place, where they may cancel"""
    a, g = _same_shapes(activations, gradients)
    return (a * g).abs().sum(2).mean(0)


@mutant("channel_importance")
def importance_cancels_images(activations, gradients):
    """Averages before taking the size: images cancel"""
    a, g = _same_shapes(activations, gradients)
    return (a * g).sum(2).mean(0).abs()


@mutant("channel_importance")
def importance_with_sign(activations, gradients):
    """Keeps the sign, so that a change for the better counts as unimportant"""
    a, g = _same_shapes(activations, gradients)
    return (a * g).sum(2).mean(0)


@mutant("channel_importance")
def importance_without_gradients(activations, gradients):
    """How loud a channel is, not how much it matters"""
    a, _ = _same_shapes(activations, gradients)
    return a.sum(2).abs().mean(0)


@mutant("channel_importance")
def importance_by_place(activations, gradients):
    """Averages over the places"""
    a, g = _same_shapes(activations, gradients)
    return (a * g).mean(2).abs().mean(0)


@mutant("channel_importance")
def importance_of_any_shapes(activations, gradients):
    """Lets gradients be broadcast"""
    products = activations * gradients
    return (products.flatten(2).sum(2) if products.ndim > 2 else products).abs().mean(0)


@alternative("channel_importance")
def importance_by_einsum(activations, gradients):
    """One einsum over the places"""
    a, g = _same_shapes(activations, gradients)
    return torch.einsum("npk,npk->np", a, g).abs().sum(0) / len(a)


@alternative("channel_importance")
def importance_by_loops(activations, gradients):
    """Channel by channel, image by image"""
    if tuple(activations.shape) != tuple(gradients.shape):
        raise ValueError("shapes")
    found = []
    for channel in range(activations.shape[1]):
        pairs = zip(activations[:, channel], gradients[:, channel], strict=True)
        changes = [abs(float((one * other).sum())) for one, other in pairs]
        found.append(sum(changes) / len(changes))
    return torch.tensor(found)


# Extensions ----------------------------------------------------------------------------------------------------------


def _shares(done, sparsity):
    if not 0 <= done <= 1 or not 0 <= sparsity <= 1:
        raise ValueError(f"{done}, {sparsity}")


def _gate_masks(state, share, gates):
    masks = {}
    for name, value in state.items():
        if value.ndim == 2:
            parts = []
            for gate in value.chunk(gates):
                mask = torch.ones(gate.numel(), dtype=torch.bool)
                mask[gate.abs().flatten().sort(stable=True).indices[: round(share * gate.numel())]] = False
                parts.append(mask.view(gate.shape))
            masks[name] = torch.cat(parts)
    return masks


@mutant("prune_recurrent")
def recurrent_straight_ramp(state, done, sparsity, gates=3):
    """The ramp is a straight line"""
    _shares(done, sparsity)
    return _gate_masks(state, sparsity * done, gates)


@mutant("prune_recurrent")
def recurrent_one_threshold(state, done, sparsity, gates=3):
    """One threshold for the whole matrix: a gate with small weights is starved"""
    _shares(done, sparsity)
    return _gate_masks(state, sparsity * (1 - (1 - done) ** 3), 1)


@mutant("prune_recurrent")
def recurrent_values_not_sizes(state, done, sparsity, gates=3):
    """Takes the smallest values, so the largest negative weights go"""
    _shares(done, sparsity)
    return _gate_masks({name: value - value.min() for name, value in state.items()},
                       sparsity * (1 - (1 - done) ** 3), gates)


@mutant("prune_recurrent")
def recurrent_biases_too(state, done, sparsity, gates=3):
    """Prunes the biases as well"""
    _shares(done, sparsity)
    share = sparsity * (1 - (1 - done) ** 3)
    return _gate_masks(state, share, gates) | {
        name: value.abs() > value.abs().quantile(share) for name, value in state.items() if value.ndim == 1}


@mutant("prune_recurrent")
def recurrent_ties_go(state, done, sparsity, gates=3):
    """All weights no larger than the threshold go, ties included"""
    _shares(done, sparsity)
    share, masks = sparsity * (1 - (1 - done) ** 3), {}
    for name, value in state.items():
        if value.ndim == 2:
            sizes = value.abs().reshape(gates, -1)
            count = round(share * sizes.shape[1])
            least = sizes.sort(1).values[:, count - 1 : count] if count else -torch.ones(gates, 1)
            masks[name] = (sizes > least).view(value.shape)
    return masks


@alternative("prune_recurrent")
def recurrent_by_chunks(state, done, sparsity, gates=3):
    """Gate by gate, with sorted indices"""
    _shares(done, sparsity)
    return _gate_masks(state, sparsity * (1 - (1 - done) ** 3), gates)


def _stack_outputs(blocks, chosen, inputs):
    x = inputs
    for number in chosen:
        x = x + functional.linear(functional.relu(functional.linear(x, blocks[number][0])), blocks[number][1])
    return x


def _moves(blocks, stay, inputs, than):
    return {number: float((_stack_outputs(blocks, [other for other in stay if other != number], inputs) - than).norm())
            for number in stay}


def _right_number(blocks, drop):
    if drop < 0 or drop > len(blocks):
        raise ValueError(drop)


@mutant("drop_layers")
def layers_ranked_once(blocks, inputs, drop):
    """Ranks the blocks once and drops the lowest"""
    _right_number(blocks, drop)
    stay = range(len(blocks))
    moved = _moves(blocks, stay, inputs, _stack_outputs(blocks, stay, inputs))
    return sorted(sorted(stay, key=moved.get)[drop:])


@mutant("drop_layers")
def layers_against_the_turn_before(blocks, inputs, drop):
    """Compares with the stack as it is now, so that small steps add up unseen"""
    _right_number(blocks, drop)
    stay = list(range(len(blocks)))
    for _ in range(drop):
        moved = _moves(blocks, stay, inputs, _stack_outputs(blocks, stay, inputs))
        stay.remove(min(stay, key=moved.get))
    return stay


@mutant("drop_layers")
def layers_by_weight(blocks, inputs, drop):
    """Drops the blocks with the smallest weights, whatever comes in"""
    _right_number(blocks, drop)
    sizes = [float(a.norm() + b.norm()) for a, b in blocks]
    return sorted(sorted(range(len(blocks)), key=sizes.__getitem__)[drop:])


@mutant("drop_layers")
def layers_that_go(blocks, inputs, drop):
    """Returns what goes, not what stays"""
    _right_number(blocks, drop)
    stay = list(range(len(blocks)))
    whole = _stack_outputs(blocks, stay, inputs)
    for _ in range(drop):
        moved = _moves(blocks, stay, inputs, whole)
        stay.remove(min(stay, key=moved.get))
    return [number for number in range(len(blocks)) if number not in stay]


@alternative("drop_layers")
def layers_as_modules(blocks, inputs, drop):
    """Runs the blocks as modules, and switches them off one by one"""
    if not 0 <= drop <= len(blocks):
        raise ValueError("drop")
    layers = nn.ModuleList()
    for a, b in blocks:
        first = nn.Linear(a.shape[1], a.shape[0], bias=False, dtype=a.dtype)
        second = nn.Linear(b.shape[1], b.shape[0], bias=False, dtype=b.dtype)
        with torch.no_grad():
            first.weight.copy_(a)
            second.weight.copy_(b)
        layers.append(nn.Sequential(first, nn.ReLU(), second))

    @torch.no_grad()
    def run(off):
        x = inputs
        for number, layer in enumerate(layers):
            x = x if number in off else x + layer(x)
        return x

    off, whole = set(), run(set())
    for _ in range(drop):
        left = [number for number in range(len(layers)) if number not in off]
        off.add(min(left, key=lambda number: ((run(off | {number}) - whole) ** 2).sum().item()))
    return [number for number in range(len(layers)) if number not in off]
