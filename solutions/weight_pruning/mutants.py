"""Unit 04, weight pruning: wrong answers that some check must reject, and right ones that all checks must accept."""

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nutshell.checks import alternative, mutant

# magnitude_mask ------------------------------------------------------------------------------------------------------


def _one_of(sparsity, q):
    if (sparsity is None) == (q is None):
        raise ValueError("give sparsity or q")
    if sparsity is not None and not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity {sparsity}")
    if q is not None and q < 0:
        raise ValueError(f"q {q}")


def _smallest(sizes, count):
    mask = torch.ones(sizes.numel(), dtype=torch.bool)
    mask[sizes.flatten().argsort()[:count]] = False
    return mask.reshape(sizes.shape)


@mutant("magnitude_mask")
def mask_by_quantile(weight, sparsity=None, *, q=None):
    """A threshold at the quantile: equal magnitudes go or stay together"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q * weight.std(correction=0)
    if sparsity == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() > torch.quantile(weight.abs().flatten(), sparsity)


@mutant("magnitude_mask")
def mask_of_signed_weights(weight, sparsity=None, *, q=None):
    """Forgets the absolute value where it sorts"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q * weight.std(correction=0)
    return _smallest(weight, round(sparsity * weight.numel()))


@mutant("magnitude_mask")
def mask_of_what_goes(weight, sparsity=None, *, q=None):
    """True where a weight is pruned"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() < q * weight.std(correction=0)
    return ~_smallest(weight.abs(), round(sparsity * weight.numel()))


@mutant("magnitude_mask")
def mask_takes_sparsity_for_density(weight, sparsity=None, *, q=None):
    """The share is taken for the share that stays"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q * weight.std(correction=0)
    return _smallest(weight.abs(), round((1 - sparsity) * weight.numel()))


@mutant("magnitude_mask")
def mask_with_q_as_threshold(weight, sparsity=None, *, q=None):
    """q itself is the threshold, whatever the layer's spread"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q
    return _smallest(weight.abs(), round(sparsity * weight.numel()))


@mutant("magnitude_mask")
def mask_with_root_mean_square(weight, sparsity=None, *, q=None):
    """The deviation from zero instead of that from the mean"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q * weight.square().mean().sqrt()
    return _smallest(weight.abs(), round(sparsity * weight.numel()))


@mutant("magnitude_mask")
def mask_with_default_sparsity(weight, sparsity=None, *, q=None):
    """Doesn't mind being given both or neither"""
    if q is not None:
        _one_of(None, q)
        return weight.abs() >= q * weight.std(correction=0)
    _one_of(sparsity or 0.0, None)
    return _smallest(weight.abs(), round((sparsity or 0.0) * weight.numel()))


@mutant("magnitude_mask")
def mask_as_numbers(weight, sparsity=None, *, q=None):
    """Zeros and ones instead of truth values"""
    _one_of(sparsity, q)
    if q is not None:
        return (weight.abs() >= q * weight.std(correction=0)).float()
    return _smallest(weight.abs(), round(sparsity * weight.numel())).float()


@mutant("magnitude_mask")
def mask_above_the_threshold(weight, sparsity=None, *, q=None):
    """Weights exactly at the threshold go, zeros at q = 0 among them"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() > q * weight.std(correction=0)
    return _smallest(weight.abs(), round(sparsity * weight.numel()))


@mutant("magnitude_mask")
def mask_rounded_down(weight, sparsity=None, *, q=None):
    """Cuts the count off where it should be rounded"""
    _one_of(sparsity, q)
    if q is not None:
        return weight.abs() >= q * weight.std(correction=0)
    return _smallest(weight.abs(), int(sparsity * weight.numel()))


@alternative("magnitude_mask")
def mask_by_topk(weight, sparsity=None, *, q=None):
    """Takes the largest with topk"""
    _one_of(sparsity, q)
    if sparsity is None:
        return ~(weight.abs() < q * weight.std())
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    kept = weight.numel() - round(sparsity * weight.numel())
    mask[weight.abs().reshape(-1).topk(kept).indices] = True
    return mask.view(weight.shape)


@alternative("magnitude_mask")
def mask_by_ranks(weight, sparsity=None, *, q=None):
    """Ranks in NumPy, equal magnitudes by their position"""
    if (sparsity is None) + (q is None) != 1:
        raise ValueError("one of the two")
    sizes = np.abs(weight.detach().numpy())
    if q is not None:
        if not q >= 0:
            raise ValueError(q)
        return torch.from_numpy(sizes >= q * weight.numpy().std())
    if sparsity < 0 or sparsity > 1:
        raise ValueError(sparsity)
    ranks = np.empty(sizes.size, dtype=np.int64)
    ranks[np.argsort(sizes, axis=None, kind="stable")] = np.arange(sizes.size)
    return torch.from_numpy((ranks >= round(sparsity * sizes.size)).reshape(sizes.shape))


# sensitivity_scan ----------------------------------------------------------------------------------------------------


def _scan(network, inputs, labels, sparsities, *, axes=2, restore=True, fresh=True, score=None):
    score = score or (lambda wrong: 100 * wrong)
    found = {}
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim < axes:
                continue
            whole = weight.clone()
            found[name] = []
            for sparsity in sparsities:
                source = whole if fresh else weight.clone()
                weight.copy_(source * _smallest(source.abs(), round(sparsity * source.numel())))
                found[name].append(score((network(inputs).argmax(1) != labels).double().mean().item()))
            if restore:
                weight.copy_(whole)
    return found


@mutant("sensitivity_scan")
def scan_without_restoring(network, inputs, labels, sparsities):
    """Layers scanned before stay pruned"""
    return _scan(network, inputs, labels, sparsities, restore=False)


@mutant("sensitivity_scan")
def scan_pruning_on(network, inputs, labels, sparsities):
    """A sparsity begins with what the one before left"""
    return _scan(network, inputs, labels, sparsities, fresh=False)


@mutant("sensitivity_scan")
def scan_of_biases_too(network, inputs, labels, sparsities):
    """Every parameter is scanned"""
    return _scan(network, inputs, labels, sparsities, axes=1)


@mutant("sensitivity_scan")
def scan_as_shares(network, inputs, labels, sparsities):
    """Errors from 0 to 1"""
    return _scan(network, inputs, labels, sparsities, score=lambda wrong: wrong)


@mutant("sensitivity_scan")
def scan_of_accuracy(network, inputs, labels, sparsities):
    """Accuracy in percent"""
    return _scan(network, inputs, labels, sparsities, score=lambda wrong: 100 - 100 * wrong)


@mutant("sensitivity_scan")
def scan_of_all_layers_together(network, inputs, labels, sparsities):
    """All layers are pruned at once"""
    errors = []
    for sparsity in sparsities:
        cut = copy.deepcopy(network)
        with torch.no_grad():
            for weight in cut.parameters():
                if weight.ndim > 1:
                    weight.mul_(_smallest(weight.abs(), round(sparsity * weight.numel())))
            errors.append(100 * (cut(inputs).argmax(1) != labels).double().mean().item())
    return {name: errors for name, weight in network.named_parameters() if weight.ndim > 1}


@mutant("sensitivity_scan")
def scan_by_name(network, inputs, labels, sparsities):
    """Scans what is called weight: the scales of normalisations too"""
    found = {}
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("weight"):
                whole, found[name] = weight.clone(), []
                for sparsity in sparsities:
                    weight.copy_(whole * _smallest(whole.abs(), round(sparsity * whole.numel())))
                    found[name].append(100 * (network(inputs).argmax(1) != labels).double().mean().item())
                weight.copy_(whole)
    return found


@alternative("sensitivity_scan")
def scan_in_place(network, inputs, labels, sparsities):
    """In place, putting weights back"""
    return _scan(network, inputs, labels, sparsities)


@alternative("sensitivity_scan")
def scan_of_copies(network, inputs, labels, sparsities):
    """A new copy for every measurement"""
    found = {}
    for name, weight in network.named_parameters():
        if weight.dim() <= 1:
            continue
        found[name] = []
        for sparsity in sparsities:
            cut = copy.deepcopy(network).eval()
            order = torch.argsort(weight.detach().abs().reshape(-1))
            with torch.no_grad():
                cut.get_parameter(name).view(-1)[order[: round(sparsity * weight.numel())]] = 0.0
                right = int((cut(inputs).argmax(dim=1) == labels).sum())
            found[name].append(100.0 - 100.0 * right / len(labels))
    return found


# masked_training -----------------------------------------------------------------------------------------------------


def _mask_weights(network, masks):
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)


def _steps(network, batches, made, after_backward=None, after_step=None, clear=True):
    for inputs, labels in batches:
        if clear:
            made.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        if after_backward:
            after_backward()
        made.step()
        if after_step:
            after_step()
    return network


@mutant("masked_training")
def training_masked_at_the_end(network, masks, batches, optimiser):
    """Trains the whole network and masks it once, at the end"""
    _steps(network, batches, optimiser(network.parameters()))
    _mask_weights(network, masks)
    return network


@mutant("masked_training")
def training_masked_at_the_start(network, masks, batches, optimiser):
    """Masks once, at the start, and lets weights grow back"""
    _mask_weights(network, masks)
    return _steps(network, batches, optimiser(network.parameters()))


@mutant("masked_training")
def training_masked_after_steps_only(network, masks, batches, optimiser):
    """The first gradient is that of the whole network"""
    return _steps(network, batches, optimiser(network.parameters()), after_step=lambda: _mask_weights(network, masks))


@mutant("masked_training")
def training_with_masked_gradients_only(network, masks, batches, optimiser):
    """Masks gradients: pruned weights stay where they are, which isn't zero"""
    def mask_gradients():
        for name, mask in masks.items():
            network.get_parameter(name).grad.mul_(mask)

    return _steps(network, batches, optimiser(network.parameters()), after_backward=mask_gradients)


@mutant("masked_training")
def training_adds_gradients_up(network, masks, batches, optimiser):
    """Forgets zero_grad"""
    _mask_weights(network, masks)
    return _steps(network, batches, optimiser(network.parameters()), after_step=lambda: _mask_weights(network, masks),
                  clear=False)


@mutant("masked_training")
def training_of_masked_tensors_only(network, masks, batches, optimiser):
    """Biases, and whatever has no mask, aren't trained"""
    _mask_weights(network, masks)
    named = [network.get_parameter(name) for name in masks] or list(network.parameters())
    return _steps(network, batches, optimiser(named), after_step=lambda: _mask_weights(network, masks))


@mutant("masked_training")
def training_with_new_optimisers(network, masks, batches, optimiser):
    """A new optimiser for each batch, which forgets the momentum"""
    _mask_weights(network, masks)
    for batch in batches:
        _steps(network, [batch], optimiser(network.parameters()), after_step=lambda: _mask_weights(network, masks))
    return network


@mutant("masked_training")
def training_of_what_is_masked(network, masks, batches, optimiser):
    """Takes True for a weight that goes"""
    others = {name: ~mask for name, mask in masks.items()}
    _mask_weights(network, others)
    return _steps(network, batches, optimiser(network.parameters()), after_step=lambda: _mask_weights(network, others))


@alternative("masked_training")
def training_with_hooks(network, masks, batches, optimiser):
    """Hooks take masked gradients away"""
    _mask_weights(network, masks)
    hooks = [network.get_parameter(name).register_hook(lambda gradient, mask=mask: gradient * mask)
             for name, mask in masks.items()]
    _steps(network, batches, optimiser(network.parameters()))
    for hook in hooks:
        hook.remove()
    return network


@alternative("masked_training")
def training_with_masked_gradients(network, masks, batches, optimiser):
    """Zeros first, then no gradient ever reaches them"""
    _mask_weights(network, masks)

    def mask_gradients():
        for name, mask in masks.items():
            network.get_parameter(name).grad[~mask] = 0

    return _steps(network, batches, optimiser(network.parameters()), after_backward=mask_gradients)


@alternative("masked_training")
def training_through_the_mask(network, masks, batches, optimiser):
    """The mask is part of the forward pass, and of the weights at the end"""
    parameters = dict(network.named_parameters())
    made = optimiser(parameters.values())
    for inputs, labels in batches:
        used = {name: value * masks[name] if name in masks else value for name, value in parameters.items()}
        loss = functional.cross_entropy(torch.func.functional_call(network, used, (inputs,)), labels)
        gradients = torch.autograd.grad(loss, parameters.values())
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        made.step()
    _mask_weights(network, masks)
    return network


# gradual_sparsity ----------------------------------------------------------------------------------------------------


def _ramp(every, updates, final, initial):
    if every < 1 or updates < 1 or not 0 <= initial <= final <= 1:
        raise ValueError("no ramp")


@mutant("gradual_sparsity")
def ramp_straight(step, begin, every, updates, final, initial=0.0):
    """A straight line"""
    _ramp(every, updates, final, initial)
    return initial + (final - initial) * min(updates, max(0, step - begin) // every) / updates


@mutant("gradual_sparsity")
def ramp_slow_at_first(step, begin, every, updates, final, initial=0.0):
    """The cube of what is done"""
    _ramp(every, updates, final, initial)
    return initial + (final - initial) * (min(updates, max(0, step - begin) // every) / updates) ** 3


@mutant("gradual_sparsity")
def ramp_without_initial(step, begin, every, updates, final, initial=0.0):
    """Begins at zero"""
    _ramp(every, updates, final, initial)
    return final - final * (1 - min(updates, max(0, step - begin) // every) / updates) ** 3


@mutant("gradual_sparsity")
def ramp_at_every_step(step, begin, every, updates, final, initial=0.0):
    """Doesn't hold between updates"""
    _ramp(every, updates, final, initial)
    return final + (initial - final) * (1 - min(1.0, max(0.0, (step - begin) / (every * updates)))) ** 3


@mutant("gradual_sparsity")
def ramp_without_end(step, begin, every, updates, final, initial=0.0):
    """Goes on behind the last update"""
    _ramp(every, updates, final, initial)
    return final + (initial - final) * (1 - max(0, step - begin) // every / updates) ** 3


@mutant("gradual_sparsity")
def ramp_of_anything(step, begin, every, updates, final, initial=0.0):
    """Tests nothing"""
    done = min(max(updates, 1), max(0, step - begin) // max(every, 1))
    return final + (initial - final) * (1 - done / max(updates, 1)) ** 3


@mutant("gradual_sparsity")
def ramp_that_must_rise(step, begin, every, updates, final, initial=0.0):
    """Refuses a level ramp"""
    _ramp(every, updates, final, initial)
    if initial == final:
        raise ValueError("no rise")
    return final + (initial - final) * (1 - min(updates, max(0, step - begin) // every) / updates) ** 3


@mutant("gradual_sparsity")
def ramp_rounded(step, begin, every, updates, final, initial=0.0):
    """Rounds to the nearest update"""
    _ramp(every, updates, final, initial)
    return final + (initial - final) * (1 - min(updates, round(max(0, step - begin) / every)) / updates) ** 3


@alternative("gradual_sparsity")
def ramp_by_cases(step, begin, every, updates, final, initial=0.0):
    """Three cases"""
    if every <= 0 or updates <= 0 or initial < 0 or final > 1 or final < initial:
        raise ValueError("out of range")
    if step < begin:
        return initial
    if step >= begin + every * updates:
        return final
    left = 1 - math.floor((step - begin) / every) / updates
    return final - (final - initial) * left * left * left


@alternative("gradual_sparsity")
def ramp_of_steps(step, begin, every, updates, final, initial=0.0):
    """As the paper writes it, with the step of the last update"""
    if not (every >= 1 and updates >= 1 and 0.0 <= initial <= final <= 1.0):
        raise ValueError(f"{every}, {updates}, {initial}, {final}")
    last = begin + every * updates
    at = min(max(step, begin), last)
    at -= (at - begin) % every
    return float(final + (initial - final) * (1 - (at - begin) / (updates * every)) ** 3)


# csr_product ---------------------------------------------------------------------------------------------------------


def _products(values, columns, inputs):
    return values.reshape(-1, *[1] * (inputs.dim() - 1)) * inputs[columns]


@mutant("csr_product")
def product_with_lost_sums(values, columns, offsets, inputs):
    """An indexed += that adds to each row only once"""
    rows = torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff())
    result = torch.zeros(len(offsets) - 1, *inputs.shape[1:], dtype=inputs.dtype)
    result[rows] += _products(values, columns, inputs)
    return result


@mutant("csr_product")
def product_by_reduceat(values, columns, offsets, inputs):
    """np.add.reduceat, which gives an empty row the entry that follows"""
    products = _products(values, columns, inputs).numpy()
    starts = np.minimum(offsets[:-1].numpy(), max(0, len(products) - 1))
    return torch.from_numpy(np.add.reduceat(products, starts, axis=0))


@mutant("csr_product")
def product_transposed(values, columns, offsets, inputs):
    """Rows and columns are swapped"""
    rows = torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff())
    result = torch.zeros(len(offsets) - 1, *inputs.shape[1:], dtype=inputs.dtype)
    return result.index_add_(0, columns % len(result), _products(values, rows % len(inputs), inputs))


@mutant("csr_product")
def product_without_last_row(values, columns, offsets, inputs):
    """The loop ends a row early"""
    result = torch.zeros(len(offsets) - 1, *inputs.shape[1:], dtype=inputs.dtype)
    for row in range(len(offsets) - 2):
        chosen = slice(int(offsets[row]), int(offsets[row + 1]))
        result[row] = _products(values[chosen], columns[chosen], inputs).sum(0)
    return result


@mutant("csr_product")
def product_of_vectors_only(values, columns, offsets, inputs):
    """Multiplies several vectors by the wrong axis"""
    rows = torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff())
    sums = torch.zeros(len(offsets) - 1, dtype=inputs.dtype)
    return sums.index_add_(0, rows, values * inputs.reshape(len(inputs), -1)[columns, 0])


@mutant("csr_product")
def product_of_the_dense_matrix(values, columns, offsets, inputs):
    """Builds the dense matrix first"""
    matrix = torch.zeros(len(offsets) - 1, len(inputs), dtype=values.dtype)
    matrix[torch.arange(len(offsets) - 1).repeat_interleave(offsets.diff()), columns] = values
    return matrix @ inputs


@mutant("csr_product")
def product_in_single_precision(values, columns, offsets, inputs):
    """Zeros of the default dtype, whatever the values have"""
    result = torch.zeros(len(offsets) - 1, *inputs.shape[1:])
    for row in range(len(offsets) - 1):
        for place in range(offsets[row], offsets[row + 1]):
            result[row] += values[place] * inputs[columns[place]]
    return result


@alternative("csr_product")
def product_row_by_row(values, columns, offsets, inputs):
    """A loop over rows"""
    result = torch.zeros((len(offsets) - 1, *inputs.shape[1:]), dtype=values.dtype)
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        if end > start:
            result[row] = torch.tensordot(values[start:end], inputs[columns[start:end]], dims=1)
    return result


@alternative("csr_product")
def product_by_running_sums(values, columns, offsets, inputs):
    """Differences of a running sum, in float64"""
    products = _products(values.double(), columns, inputs.double())
    running = torch.cat([torch.zeros(1, *inputs.shape[1:], dtype=torch.float64), products.cumsum(0)])
    return (running[offsets[1:]] - running[offsets[:-1]]).to(values.dtype)


@alternative("csr_product")
def product_with_numpy(values, columns, offsets, inputs):
    """np.add.at, which adds again for equal indices"""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets.numpy()))
    result = np.zeros((len(offsets) - 1, *inputs.shape[1:]), dtype=values.numpy().dtype)
    np.add.at(result, rows, (values.numpy() * inputs.numpy()[columns.numpy()].T).T)
    return torch.from_numpy(result)


# GapCode -------------------------------------------------------------------------------------------------------------


def _gap_lists(weight, limit, late=0, padded=True, restart=True):
    gaps, values, run = [], [], 0
    for value in weight.flatten():
        if value != 0:
            gaps.append(run)
            values.append(value)
            run = 0
        else:
            run += 1
            if padded and run == limit + late:
                gaps.append(run - 1)
                values.append(torch.zeros_like(value))
                run = 0 if restart else 1
    while values and values[-1] == 0:
        gaps.pop()
        values.pop()
    kept = torch.stack(values) if values else torch.zeros(0, dtype=weight.dtype)
    return torch.tensor(gaps, dtype=torch.int64), kept


def _placed(gaps, values, shape, step=1):
    numbers = torch.zeros(math.prod(shape), dtype=values.dtype)
    place = -1
    for gap, value in zip(gaps.tolist(), values, strict=True):
        place += gap + step
        numbers[place] = value
    return numbers.reshape(shape)


@mutant("GapCode")
class CodeWithoutPadding:
    """Long gaps are written as they are"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight, self.limit, padded=False)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@mutant("GapCode")
class CodePaddingLate:
    """A padding zero after limit zeros, with a gap of the limit"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight, self.limit, late=1)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@mutant("GapCode")
class CodeOfDistances:
    """Distances between positions instead of zeros in between"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        gaps, values = _gap_lists(weight, self.limit)
        return gaps + 1, values

    def decode(self, gaps, values, shape):
        return _placed(gaps - 1, values, shape)


@mutant("GapCode")
class CodeWithoutRestart:
    """The padding zero is counted again as a zero of the next gap"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight, max(self.limit, 2), restart=False)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@mutant("GapCode")
class CodeThatDecodesDense:
    """Decodes as if numbers took no place of their own"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight, self.limit)

    def decode(self, gaps, values, shape):
        numbers = torch.zeros(max(math.prod(shape), int(gaps.sum()) + 1), dtype=values.dtype)
        numbers[gaps.cumsum(0)] = values
        return numbers[: math.prod(shape)].reshape(shape)


@mutant("GapCode")
class CodeWithTrailingZeros:
    """Pads zeros behind the last number too"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        numbers = torch.cat([weight.flatten(), torch.ones(1, dtype=weight.dtype)])
        gaps, values = _gap_lists(numbers, self.limit)
        return gaps[:-1], values[:-1]

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@mutant("GapCode")
class CodeInSinglePrecision:
    """Values go through Python and come back as float32"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        gaps, values = _gap_lists(weight, self.limit)
        return gaps, torch.tensor(values.tolist())

    def decode(self, gaps, values, shape):
        return _placed(gaps, values.float(), shape)


@mutant("GapCode")
class CodeThatRemembers:
    """Gathers gaps and values in the object: a second tensor comes behind the first"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit, self.gaps, self.values = limit, [], []

    def encode(self, weight):
        gaps, values = _gap_lists(weight, self.limit)
        self.gaps.append(gaps)
        self.values.append(values)
        return torch.cat(self.gaps), torch.cat(self.values)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@mutant("GapCode")
class CodeOfPositives:
    """Takes negative weights for zeros"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight.clamp_min(0), self.limit)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@alternative("GapCode")
class CodeByCounting:
    """Counts zero after zero"""

    def __init__(self, limit):
        if limit < 1:
            raise ValueError("at least one")
        self.limit = limit

    def encode(self, weight):
        return _gap_lists(weight, self.limit)

    def decode(self, gaps, values, shape):
        return _placed(gaps, values, shape)


@alternative("GapCode")
class CodeByRepeating:
    """Padding by whole-number division, all numbers at once"""

    def __init__(self, limit):
        if not limit >= 1:
            raise ValueError(limit)
        self.limit = limit

    def encode(self, weight):
        numbers = weight.reshape(-1)
        positions = torch.nonzero(numbers)[:, 0]
        runs = torch.diff(positions, prepend=positions.new_tensor([-1])) - 1
        padding = runs // self.limit
        last = torch.cumsum(padding + 1, 0) - 1
        gaps = torch.full((int((padding + 1).sum()),), self.limit - 1)
        values = torch.zeros(len(gaps), dtype=weight.dtype)
        gaps[last], values[last] = runs % self.limit, numbers[positions]
        return gaps, values

    def decode(self, gaps, values, shape):
        pieces = [torch.cat([values.new_zeros(int(gap)), value[None]]) for gap, value in zip(gaps, values, strict=True)]
        numbers = torch.cat([values.new_zeros(0), *pieces])
        return functional.pad(numbers, (0, math.prod(shape) - len(numbers))).view(shape)


# drop_pruning_step ---------------------------------------------------------------------------------------------------


def _probabilities(drop_out, drop_in):
    if min(drop_out, drop_in) < 0 or max(drop_out, drop_in) > 1:
        raise ValueError("probabilities")


@mutant("drop_pruning_step")
def step_without_return(weight, mask, threshold, drop_out, drop_in, draws):
    """Nothing drops in again"""
    _probabilities(drop_out, drop_in)
    return mask & ~((weight.abs() < threshold) & (draws < drop_out))


@mutant("drop_pruning_step")
def step_without_chance(weight, mask, threshold, drop_out, drop_in, draws):
    """Every small weight goes, as in plain magnitude pruning"""
    _probabilities(drop_out, drop_in)
    return mask & (weight.abs() >= threshold) | ~mask & (draws < drop_in)


@mutant("drop_pruning_step")
def step_of_any_size(weight, mask, threshold, drop_out, drop_in, draws):
    """Large weights drop out as well"""
    _probabilities(drop_out, drop_in)
    return mask & (draws >= drop_out) | ~mask & (draws < drop_in)


@mutant("drop_pruning_step")
def step_that_moves_twice(weight, mask, threshold, drop_out, drop_in, draws):
    """What has just gone may come back at once"""
    _probabilities(drop_out, drop_in)
    kept = mask & ~((weight.abs() < threshold) & (draws < drop_out))
    return kept | (draws < drop_in)


@alternative("drop_pruning_step")
def step_by_cases(weight, mask, threshold, drop_out, drop_in, draws):
    """One of three rules for each weight"""
    if not all(0 <= share <= 1 for share in (drop_out, drop_in)):
        raise ValueError("share")
    small = weight.abs() < threshold
    return torch.where(mask, torch.where(small, draws >= drop_out, True), draws < drop_in)


# rewind --------------------------------------------------------------------------------------------------------------


@mutant("rewind")
def rewind_of_masked_tensors_only(network, early, masks):
    """Biases keep their trained values"""
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).copy_(early[name] * mask)
    return network


@mutant("rewind")
def rewind_without_mask(network, early, masks):
    """Pruned weights are back too"""
    network.load_state_dict(early)
    return network


@mutant("rewind")
def rewind_of_pruned_weights(network, early, masks):
    """Pruned weights go back, kept ones stay trained"""
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name)[~mask] = early[name][~mask]
    return network


@mutant("rewind")
def rewind_changes_what_it_was_given(network, early, masks):
    """Masks the early weights themselves"""
    for name, mask in masks.items():
        early[name].mul_(mask)
    network.load_state_dict(early)
    return network


@alternative("rewind")
def rewind_by_masked_state(network, early, masks):
    """Loads a state that is masked already"""
    network.load_state_dict({name: value * masks[name] if name in masks else value for name, value in early.items()})
    return network


@alternative("rewind")
def rewind_of_a_copy(network, early, masks):
    """Fills a copy, tensor by tensor"""
    again = copy.deepcopy(network)
    for name, tensor in nn.Module.state_dict(again).items():
        tensor.copy_(torch.where(masks[name], early[name], 0.0) if name in masks else early[name])
    return again
