"""Unit 08, binary networks: wrong answers that some check must reject, and right ones that all checks must accept."""

import numpy as np
import torch
from torch.nn import functional

from nutshell.checks import alternative, mutant

# binarise ------------------------------------------------------------------------------------------------------------


def _uniform(values, seed):
    return torch.rand(values.shape, generator=torch.Generator().manual_seed(seed), dtype=values.dtype)


@mutant("binarise")
def binarise_with_torch_sign(values, stochastic=False, seed=0):
    """torch.sign leaves 0 at 0"""
    if stochastic:
        return torch.where(_uniform(values, seed) < (values + 1) / 2, 1.0, -1.0).to(values.dtype)
    return torch.sign(values)


@mutant("binarise")
def binarise_by_the_logistic_function(values, stochastic=False, seed=0):
    """The probability is the logistic function"""
    positive = _uniform(values, seed) < torch.sigmoid(values) if stochastic else values >= 0
    return torch.where(positive, 1.0, -1.0).to(values.dtype)


@mutant("binarise")
def binarise_with_x_for_the_probability(values, stochastic=False, seed=0):
    """x itself is the probability of +1"""
    positive = _uniform(values, seed) < values if stochastic else values >= 0
    return torch.where(positive, 1.0, -1.0).to(values.dtype)


@mutant("binarise")
def binarise_to_bits(values, stochastic=False, seed=0):
    """Zeros and ones"""
    positive = _uniform(values, seed) < (values + 1) / 2 if stochastic else values >= 0
    return positive.to(values.dtype)


@mutant("binarise")
def binarise_with_one_draw_a_row(values, stochastic=False, seed=0):
    """One draw for each row"""
    if not stochastic:
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
    draws = torch.rand(len(values) if values.ndim else 1, generator=torch.Generator().manual_seed(seed))
    draws = draws.reshape(-1, *[1] * (values.ndim - 1)) if values.ndim else draws[0]
    return torch.where(draws < (values + 1) / 2, 1.0, -1.0).to(values.dtype)


@mutant("binarise")
def binarise_ignores_the_seed(values, stochastic=False, seed=0):
    """The global random state decides"""
    positive = torch.rand_like(values) < (values + 1) / 2 if stochastic else values >= 0
    return torch.where(positive, 1.0, -1.0).to(values.dtype)


@mutant("binarise")
def binarise_in_float32(values, stochastic=False, seed=0):
    """The dtype is lost"""
    positive = _uniform(values, seed) < (values + 1) / 2 if stochastic else values >= 0
    return torch.where(positive, 1.0, -1.0).to(torch.float32)


@mutant("binarise")
def binarise_turned_round(values, stochastic=False, seed=0):
    """Chance prefers the other sign"""
    positive = _uniform(values, seed) > (values + 1) / 2 if stochastic else values >= 0
    return torch.where(positive, 1.0, -1.0).to(values.dtype)


@mutant("binarise")
def binarise_by_the_sign_bit(values, stochastic=False, seed=0):
    """−0 has its sign bit set, and becomes −1"""
    if stochastic:
        return torch.where(_uniform(values, seed) < (values + 1) / 2, 1.0, -1.0).to(values.dtype)
    return torch.copysign(torch.ones_like(values), values)


@mutant("binarise")
def binarise_with_one_draw(values, stochastic=False, seed=0):
    """One draw for all numbers"""
    if not stochastic:
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
    draw = torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=values.dtype)
    return torch.where(draw < (values + 1) / 2, 1.0, -1.0).to(values.dtype)


@alternative("binarise")
def binarise_by_noise(values, stochastic=False, seed=0):
    """Noise from −1 to 1 is added, and one comparison serves both kinds"""
    noise = 2 * _uniform(values, seed) - 1 if stochastic else 0.0
    return 2 * (values + noise >= 0).to(values.dtype) - 1


@alternative("binarise")
def binarise_by_bernoulli(values, stochastic=False, seed=0):
    """torch.bernoulli of the clipped probability"""
    if stochastic:
        probability = ((values + 1) / 2).clamp(0, 1)
        return 2 * torch.bernoulli(probability, generator=torch.Generator().manual_seed(seed)) - 1
    return 2 * (values >= 0).to(values.dtype) - 1


@alternative("binarise")
def binarise_by_numpy(values, stochastic=False, seed=0):
    """NumPy's generator, and a threshold for both kinds"""
    x = values.numpy()
    threshold = 2 * np.random.default_rng(seed).random(x.shape) - 1 if stochastic else 0.0
    signs = np.where(x > threshold if stochastic else x >= threshold, 1, -1).astype(x.dtype)
    return torch.from_numpy(np.asarray(signs))


# straight_through ----------------------------------------------------------------------------------------------------


def _with_gradient(values, slope):
    """The signs, with a slope for the gradient."""
    signs = torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
    passed = values * slope.detach()
    return signs + (passed - passed.detach())


@mutant("straight_through")
def straight_with_the_true_gradient(values):
    """torch.sign and its gradient of 0"""
    return torch.sign(values) + (values == 0).to(values.dtype)


@mutant("straight_through")
def straight_everywhere(values):
    """The gradient passes beyond ±1, too"""
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype) + (values - values.detach())


@mutant("straight_through")
def straight_as_misprinted(values):
    """r·1{|r| ≤ 1}, as XNOR-Net's paper prints it"""
    return _with_gradient(values, values * (values.abs() <= 1))


@mutant("straight_through")
def straight_without_the_ends(values):
    """|x| < 1"""
    return _with_gradient(values, values.abs() < 1)


@mutant("straight_through")
def straight_without_the_lower_end(values):
    """−1 < x ≤ 1"""
    return _with_gradient(values, (values > -1) & (values <= 1))


@mutant("straight_through")
def straight_through_tanh(values):
    """The gradient of tanh"""
    return _with_gradient(values, 1 - values.tanh() ** 2)


@mutant("straight_through")
def straight_keeps_zero(values):
    """0 stays 0"""
    inside = values.clamp(-1, 1)
    return torch.sign(values).detach() + (inside - inside.detach())


@mutant("straight_through")
def straight_clips_only(values):
    """The straight line without the sign"""
    return values.clamp(-1, 1)


@mutant("straight_through")
def straight_without_gradient(values):
    """A comparison cuts the way back"""
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return torch.where(values < 0, -1.0, 1.0).to(values.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        return gradient * (values.abs() <= 1)


class _Mask(_Sign):
    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        return (values.abs() <= 1).to(values.dtype)


@mutant("straight_through")
def straight_without_the_incoming_gradient(values):
    """Backward returns the mask alone"""
    return _Mask.apply(values)


@alternative("straight_through")
def straight_by_a_function_of_its_own(values):
    """A torch.autograd.Function"""
    return _Sign.apply(values)


@alternative("straight_through")
def straight_by_hardtanh(values):
    """A mask, and the value put in afterwards"""
    inside = torch.where(values.abs() <= 1, values, values.detach())
    return inside + (2.0 * (values >= 0).to(values.dtype) - 1 - inside).detach()


# binary_connect_step -------------------------------------------------------------------------------------------------


def _signs_of(weight, stochastic=False, seed=0):
    positive = _uniform(weight, seed) < (weight + 1) / 2 if stochastic else weight >= 0
    return torch.where(positive, 1.0, -1.0).to(weight.dtype)


def _gradient_at(weight, inputs, labels, reduction="mean"):
    weight = weight.detach().clone().requires_grad_()
    loss = functional.cross_entropy(inputs @ weight.T, labels, reduction=reduction)
    return torch.autograd.grad(loss, weight)[0]


@mutant("binary_connect_step")
def connect_at_the_real_weights(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The gradient is taken at the real weights"""
    return (weight - learning_rate * _gradient_at(weight, inputs, labels)).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_steps_from_the_signs(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The step starts from the binary weights"""
    binary = _signs_of(weight, stochastic, seed)
    return (binary - learning_rate * _gradient_at(binary, inputs, labels)).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_without_clipping(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """Nothing is clipped"""
    return weight - learning_rate * _gradient_at(_signs_of(weight, stochastic, seed), inputs, labels)


@mutant("binary_connect_step")
def connect_returns_signs(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The new weights are binary"""
    binary = _signs_of(weight, stochastic, seed)
    return _signs_of(weight - learning_rate * _gradient_at(binary, inputs, labels))


@mutant("binary_connect_step")
def connect_sums_the_loss(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The loss is summed over the batch"""
    binary = _signs_of(weight, stochastic, seed)
    return (weight - learning_rate * _gradient_at(binary, inputs, labels, "sum")).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_never_draws(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """Always the sign"""
    return (weight - learning_rate * _gradient_at(_signs_of(weight), inputs, labels)).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_draws_twice(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The loss has other binary weights than the gradient"""
    forward, backward = (_signs_of(weight, stochastic, seed + more) for more in (0, 10**6))
    probabilities = torch.softmax(inputs @ forward.T, 1) * 0.5 + torch.softmax(inputs @ backward.T, 1) * 0.5
    gradient = (probabilities - functional.one_hot(labels, len(weight))).T @ inputs / len(inputs)
    return (weight - learning_rate * gradient).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_with_torch_sign(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """A weight of 0 computes as 0"""
    binary = _signs_of(weight, stochastic, seed) if stochastic else torch.sign(weight)
    return (weight - learning_rate * _gradient_at(binary, inputs, labels)).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_uphill(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The gradient is added"""
    return (weight + learning_rate * _gradient_at(_signs_of(weight, stochastic, seed), inputs, labels)).clamp(-1, 1)


def _connect_with_draws(draws, weight, inputs, labels, learning_rate, stochastic):
    signs = torch.where(draws < (weight + 1) / 2, 1.0, -1.0).to(weight.dtype) if stochastic else _signs_of(weight)
    return (weight - learning_rate * _gradient_at(signs, inputs, labels)).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_with_one_draw(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """One draw for all weights"""
    return _connect_with_draws(_uniform(weight[:1, :1], seed), weight, inputs, labels, learning_rate, stochastic)


@mutant("binary_connect_step")
def connect_with_one_draw_an_input(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """All classes share the draws of their inputs"""
    return _connect_with_draws(_uniform(weight[:1], seed), weight, inputs, labels, learning_rate, stochastic)


@mutant("binary_connect_step")
def connect_ignores_the_seed(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """Always drawn with seed 0"""
    return _connect_with_draws(_uniform(weight, 0), weight, inputs, labels, learning_rate, stochastic)


@mutant("binary_connect_step")
def connect_in_place(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The weights that were given are changed"""
    gradient = _gradient_at(_signs_of(weight, stochastic, seed), inputs, labels)
    return weight.sub_(learning_rate * gradient).clamp_(-1, 1)


@mutant("binary_connect_step")
def connect_stops_beyond_the_range(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """A straight-through gradient of the real weights, which is 0 beyond ±1"""
    gradient = _gradient_at(_signs_of(weight, stochastic, seed), inputs, labels) * (weight.abs() <= 1)
    return (weight - learning_rate * gradient).clamp(-1, 1)


@mutant("binary_connect_step")
def connect_clips_before(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """Weights are clipped before the step as well as after it"""
    gradient = _gradient_at(_signs_of(weight, stochastic, seed), inputs, labels)
    return (weight.clamp(-1, 1) - learning_rate * gradient).clamp(-1, 1)


@alternative("binary_connect_step")
def connect_by_a_layer(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """A linear layer that holds the binary weights, and a step in place on a copy"""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(_signs_of(weight, stochastic, seed))
    with torch.enable_grad():
        functional.cross_entropy(layer(inputs), labels).backward()
    return weight.detach().clone().sub_(learning_rate * layer.weight.grad).clamp_(-1, 1)


@alternative("binary_connect_step")
def connect_by_hand(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """The gradient of the cross-entropy written out, and torch.bernoulli"""
    if stochastic:
        generator = torch.Generator().manual_seed(seed)
        binary = 2 * torch.bernoulli(((weight + 1) / 2).clamp(0, 1), generator=generator) - 1
    else:
        binary = 2 * (weight >= 0).to(weight.dtype) - 1
    errors = torch.softmax(inputs @ binary.T, 1)
    errors[torch.arange(len(labels)), labels] -= 1
    return torch.clip(weight - learning_rate * (errors.T @ inputs) / len(labels), -1, 1)


@alternative("binary_connect_step")
def connect_straight_through(weight, inputs, labels, learning_rate, stochastic=False, seed=0):
    """Autograd through the real weights, with a gradient that passes straight through"""
    real = weight.detach().clone().requires_grad_()
    threshold = 2 * _uniform(weight, seed) - 1 if stochastic else torch.zeros_like(weight)
    positive = real > threshold if stochastic else real >= threshold
    binary = torch.where(positive, 1.0, -1.0).to(weight.dtype) + (real - real.detach())
    functional.cross_entropy(functional.linear(inputs, binary), labels).backward()
    with torch.no_grad():
        return torch.minimum(torch.maximum(real - learning_rate * real.grad, torch.tensor(-1.0)), torch.tensor(1.0))


# bwn_filter ----------------------------------------------------------------------------------------------------------


def _positive(weight):
    return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)


@mutant("bwn_filter")
def bwn_largest(weight):
    """α is the largest absolute weight"""
    return _positive(weight), weight.abs().flatten(1).amax(1)


@mutant("bwn_filter")
def bwn_root_of_the_mean_square(weight):
    """α is the root of the mean square"""
    return _positive(weight), (weight**2).flatten(1).mean(1).sqrt()


@mutant("bwn_filter")
def bwn_one_for_all(weight):
    """One α for the whole layer"""
    return _positive(weight), weight.abs().mean().expand(len(weight)).clone()


@mutant("bwn_filter")
def bwn_over_one_axis(weight):
    """The mean is taken over the second axis only"""
    return _positive(weight), weight.abs().mean(1)


@mutant("bwn_filter")
def bwn_mean_of_signed_weights(weight):
    """α is the mean of the weights, signs included"""
    return _positive(weight), weight.flatten(1).mean(1)


@mutant("bwn_filter")
def bwn_keeps_zeros(weight):
    """torch.sign, and a mean without the zeros"""
    size = weight.abs().flatten(1)
    return torch.sign(weight), size.sum(1) / (size > 0).sum(1).clamp_min(1)


@mutant("bwn_filter")
def bwn_scaled_already(weight):
    """α is multiplied into the signs"""
    scale = weight.abs().flatten(1).mean(1)
    return _positive(weight) * scale.reshape(-1, *[1] * (weight.ndim - 1)), scale


@mutant("bwn_filter")
def bwn_median(weight):
    """α is the median of the absolute weights"""
    return _positive(weight), weight.abs().flatten(1).median(1).values


@mutant("bwn_filter")
def bwn_scales_in_float32(weight):
    """α loses the dtype"""
    return _positive(weight), weight.abs().float().flatten(1).mean(1)


@alternative("bwn_filter")
def bwn_by_projection(weight):
    """α as the projection on the signs, ⟨W, B⟩ / n"""
    signs = 1 - 2 * (weight < 0).to(weight.dtype)
    rows = weight.reshape(len(weight), -1)
    return signs, torch.einsum("pn,pn->p", rows, signs.reshape(len(weight), -1)) / rows.shape[1]


@alternative("bwn_filter")
def bwn_by_norms(weight):
    """The sum norm of each filter over the number of its weights, as a list"""
    scale = torch.stack([torch.linalg.vector_norm(each, ord=1) / each.numel() for each in weight])
    return [torch.sign(weight) + (weight == 0).to(weight.dtype), scale]


# input_scales --------------------------------------------------------------------------------------------------------


@mutant("input_scales")
def scales_mean_before_absolute(inputs, kernel, stride=1, padding=0):
    """The absolute value is taken after the mean"""
    return functional.avg_pool2d(inputs.mean(1, keepdim=True), kernel, stride, padding).abs()


@mutant("input_scales")
def scales_leave_the_border_out(inputs, kernel, stride=1, padding=0):
    """The zeros of the border are left out of the mean"""
    size = functional.pad(inputs.abs().mean(1, keepdim=True), [padding] * 4)
    inside = functional.pad(torch.ones_like(inputs[:, :1]), [padding] * 4)
    box = torch.ones(1, 1, kernel, kernel, dtype=inputs.dtype)
    sums, counts = (functional.conv2d(each, box, stride=stride) for each in (size, inside))
    return sums / counts.clamp_min(1)


@mutant("input_scales")
def scales_add_channels(inputs, kernel, stride=1, padding=0):
    """Channels are added, not averaged"""
    return functional.avg_pool2d(functional.pad(inputs.abs().sum(1, keepdim=True), [padding] * 4), kernel, stride)


@mutant("input_scales")
def scales_for_each_channel(inputs, kernel, stride=1, padding=0):
    """A scale for each channel"""
    return functional.avg_pool2d(functional.pad(inputs.abs(), [padding] * 4), kernel, stride)


@mutant("input_scales")
def scales_add_the_window(inputs, kernel, stride=1, padding=0):
    """A box of ones"""
    box = torch.ones(1, 1, kernel, kernel, dtype=inputs.dtype)
    return functional.conv2d(inputs.abs().mean(1, keepdim=True), box, stride=stride, padding=padding)


@mutant("input_scales")
def scales_pool_with_the_usual_stride(inputs, kernel, stride=1, padding=0):
    """avg_pool2d's own stride, which is the kernel's side"""
    return functional.avg_pool2d(functional.pad(inputs.abs().mean(1, keepdim=True), [padding] * 4), kernel)


@mutant("input_scales")
def scales_by_the_side(inputs, kernel, stride=1, padding=0):
    """A box of 1 / kernel"""
    box = torch.full((1, 1, kernel, kernel), 1 / kernel, dtype=inputs.dtype)
    return functional.conv2d(inputs.abs().mean(1, keepdim=True), box, stride=stride, padding=padding)


@mutant("input_scales")
def scales_with_a_border_of_half_a_kernel_at_most(inputs, kernel, stride=1, padding=0):
    """avg_pool2d's own padding, which ends at half of the kernel"""
    return functional.avg_pool2d(inputs.abs().mean(1, keepdim=True), kernel, stride, padding)


@mutant("input_scales")
def scales_with_the_border_for_the_same_size(inputs, kernel, stride=1, padding=0):
    """The border is half as wide as the kernel, whatever padding says"""
    return functional.avg_pool2d(inputs.abs().mean(1, keepdim=True), kernel, stride, kernel // 2)


@mutant("input_scales")
def scales_with_height_and_width_exchanged(inputs, kernel, stride=1, padding=0):
    """Places in the order of the width"""
    return scales_by_pooling(inputs, kernel, stride, padding).mT


@mutant("input_scales")
def scales_rounded_up(inputs, kernel, stride=1, padding=0):
    """Windows that stick out at the end count as well"""
    size = functional.pad(inputs.abs().mean(1, keepdim=True), [padding] * 4)
    return functional.avg_pool2d(size, kernel, stride, ceil_mode=True)


@mutant("input_scales")
def scales_in_float32(inputs, kernel, stride=1, padding=0):
    """The dtype is lost"""
    return scales_by_pooling(inputs, kernel, stride, padding).float()


@alternative("input_scales")
def scales_by_one_convolution(inputs, kernel, stride=1, padding=0):
    """A box over all channels at once"""
    box = torch.full((1, inputs.shape[1], kernel, kernel), 1 / (inputs.shape[1] * kernel**2), dtype=inputs.dtype)
    return functional.conv2d(inputs.abs(), box, stride=stride, padding=padding)


@alternative("input_scales")
def scales_by_pooling(inputs, kernel, stride=1, padding=0):
    """Average pooling of the padded mean size"""
    size = functional.pad(inputs.abs().mean(dim=1, keepdim=True), (padding, padding, padding, padding))
    return functional.avg_pool2d(size, kernel, stride=stride)


@alternative("input_scales")
def scales_by_unfolding(inputs, kernel, stride=1, padding=0):
    """Windows cut out, all channels at once"""
    padded = functional.pad(inputs.abs(), (padding, padding, padding, padding))
    windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return windows.mean((1, 4, 5))[:, None]


# xnor_product --------------------------------------------------------------------------------------------------------


def _pack_rows(ones, words, order="little"):
    packed = np.zeros((len(ones), 8 * words), dtype=np.uint8)
    packed[:, : -(-ones.shape[1] // 8)] = np.packbits(ones, axis=1, bitorder=order)
    return packed.view(np.uint64)


def _whole_rows(inputs, words, fill):
    """The inputs' ones in whole words, with the bits that no element uses filled in."""
    ones = np.full((len(inputs), 64 * words), fill, dtype=bool)
    ones[:, : inputs.shape[1]] = inputs > 0
    return ones


def _different(inputs, packed_weight, order="little"):
    ours = _pack_rows(inputs > 0, packed_weight.shape[1], order)
    return np.bitwise_count(ours[:, None] ^ packed_weight[None]).sum(2, dtype=np.int32)


@mutant("xnor_product")
def product_counts_differences(inputs, packed_weight):
    """The number of places that differ"""
    return _different(inputs, packed_weight)


@mutant("xnor_product")
def product_takes_differences_off_once(inputs, packed_weight):
    """n − d in place of n − 2·d"""
    return inputs.shape[1] - _different(inputs, packed_weight)


@mutant("xnor_product")
def product_counts_unused_bits(inputs, packed_weight):
    """The length of whole words in place of n"""
    return np.int32(64 * packed_weight.shape[1]) - 2 * _different(inputs, packed_weight)


@mutant("xnor_product")
def product_of_highest_bits_first(inputs, packed_weight):
    """np.packbits in its usual order"""
    return np.int32(inputs.shape[1]) - 2 * _different(inputs, packed_weight, "big")


@mutant("xnor_product")
def product_of_signed_words(inputs, packed_weight):
    """np.bitwise_count of signed integers counts the bits of the absolute value"""
    ours = _pack_rows(inputs > 0, packed_weight.shape[1]).view(np.int64)
    different = np.bitwise_count(ours[:, None] ^ packed_weight.view(np.int64)[None]).sum(2, dtype=np.int32)
    return np.int32(inputs.shape[1]) - 2 * different


@mutant("xnor_product")
def product_in_bytes(inputs, packed_weight):
    """Counts are added up in bytes"""
    ours = _pack_rows(inputs > 0, packed_weight.shape[1])
    different = np.bitwise_count(ours[:, None] ^ packed_weight[None]).sum(2, dtype=np.uint8)
    return np.int32(inputs.shape[1]) - 2 * different.astype(np.int32)


@mutant("xnor_product")
def product_of_nonzero_inputs(inputs, packed_weight):
    """Packs what isn't 0: a −1 becomes a 1, too"""
    return np.int32(inputs.shape[1]) - 2 * _different(np.abs(inputs), packed_weight)


@mutant("xnor_product")
def product_wraps_below_zero(inputs, packed_weight):
    """An unsigned result"""
    return (np.uint8(inputs.shape[1] % 256) - np.uint8(2) * _different(inputs, packed_weight).astype(np.uint8)
            ).astype(np.int32)


@mutant("xnor_product")
def product_with_unused_ones(inputs, packed_weight):
    """The inputs' last word is filled with ones"""
    ones = _whole_rows(inputs, packed_weight.shape[1], True)
    return np.int32(inputs.shape[1]) - 2 * _different(ones, packed_weight)


@mutant("xnor_product")
def product_by_agreement_of_whole_words(inputs, packed_weight):
    """XNOR: the unused bits agree as well, and are counted"""
    ours = _pack_rows(inputs > 0, packed_weight.shape[1])
    agree = np.bitwise_count(~(ours[:, None] ^ packed_weight)).sum(2, dtype=np.int32)
    return 2 * agree - np.int32(inputs.shape[1])


@mutant("xnor_product")
def product_without_the_last_word(inputs, packed_weight):
    """n // 64 words: what is left of the row is dropped"""
    words = inputs.shape[1] // 64
    return np.int32(inputs.shape[1]) - 2 * _different(inputs[:, : 64 * words], packed_weight[:, :words])


@mutant("xnor_product")
def product_of_common_ones(inputs, packed_weight):
    """Bits are joined by and: two −1 don't agree"""
    ours = _pack_rows(inputs > 0, packed_weight.shape[1])
    return 2 * np.bitwise_count(ours[:, None] & packed_weight).sum(2, dtype=np.int32) - np.int32(inputs.shape[1])


@mutant("xnor_product")
def product_with_a_word_more(inputs, packed_weight):
    """n // 64 + 1 words, also where n fills them"""
    ours = _pack_rows(inputs > 0, inputs.shape[1] // 64 + 1)
    different = np.bitwise_count(ours[:, None] ^ packed_weight).sum(2, dtype=np.int32)
    return np.int32(inputs.shape[1]) - 2 * different


@mutant("xnor_product")
def product_unpacked_in_bytes(inputs, packed_weight):
    """Weights are unpacked, and sums of products wrap around in eight bits"""
    ones = np.unpackbits(packed_weight.view(np.uint8), axis=1, bitorder="little")[:, : inputs.shape[1]]
    return (inputs.astype(np.int8) @ (2 * ones.astype(np.int8) - 1).T).astype(np.int32)


@alternative("xnor_product")
def product_by_agreement(inputs, packed_weight):
    """XNOR: counts the places that agree, less the unused bits"""
    rows, length = inputs.shape
    words = packed_weight.shape[1]
    ours = _pack_rows(np.asarray(inputs) > 0, words)
    agree = np.zeros((rows, len(packed_weight)), dtype=np.int64)
    for row in range(rows):
        agree[row] = np.bitwise_count(~(ours[row] ^ packed_weight)).sum(1, dtype=np.int64)
    return (2 * (agree - (64 * words - length)) - length).astype(np.int32)


@alternative("xnor_product")
def product_by_bytes(inputs, packed_weight):
    """Bytes in place of words, and a table of 256 counts"""
    counts = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int32)
    ones = np.packbits(np.asarray(inputs) == 1, axis=1, bitorder="little")
    theirs = np.ascontiguousarray(packed_weight).view(np.uint8)[:, : ones.shape[1]] if ones.shape[1] else ones[:0]
    if not ones.shape[1]:
        return np.zeros((len(inputs), len(packed_weight)), dtype=np.int32)
    different = counts[ones[:, None] ^ theirs[None]].sum(2)
    return (inputs.shape[1] - 2 * different).astype(np.int32)


# Extensions ----------------------------------------------------------------------------------------------------------


def _convolve(inputs, weight, stride, padding, border=None, zero=1.0):
    images = torch.where(inputs == 0, zero, torch.where(inputs > 0, 1.0, -1.0)).to(inputs.dtype)
    if border is not None:
        images = functional.pad(images, [padding] * 4, value=border)
    products = functional.conv2d(images, _positive(weight), stride=stride, padding=padding if border is None else 0)
    size = functional.pad(inputs.abs().mean(1, keepdim=True), [padding] * 4)
    return products, functional.avg_pool2d(size, weight.shape[-1], stride), weight.abs().mean((1, 2, 3))[:, None, None]


@mutant("xnor_convolution")
def convolution_with_positive_border(inputs, weight, stride=1, padding=0):
    """The border is padded after packing: its zeros become −1"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding, border=-1.0)
    return products * scales * alpha


@mutant("xnor_convolution")
def convolution_with_border_of_ones(inputs, weight, stride=1, padding=0):
    """The border is padded before the sign is taken: its zeros become +1"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding, border=1.0)
    return products * scales * alpha


@mutant("xnor_convolution")
def convolution_without_input_scales(inputs, weight, stride=1, padding=0):
    """A is left out"""
    products, _, alpha = _convolve(inputs, weight, stride, padding)
    return products * alpha


@mutant("xnor_convolution")
def convolution_of_torch_sign(inputs, weight, stride=1, padding=0):
    """Zeros of the image count as nothing"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding, zero=0.0)
    return products * scales * alpha


@mutant("xnor_convolution")
def convolution_of_torch_sign_kernels(inputs, weight, stride=1, padding=0):
    """Zeros of the kernels count as nothing"""
    _, scales, alpha = _convolve(inputs, weight, stride, padding)
    return functional.conv2d(_positive(inputs), weight.sign(), stride=stride, padding=padding) * scales * alpha


@mutant("xnor_convolution")
def convolution_in_float32(inputs, weight, stride=1, padding=0):
    """The dtype is lost"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding)
    return (products * scales * alpha).float()


@alternative("xnor_convolution")
def convolution_in_floats(inputs, weight, stride=1, padding=0):
    """The convolution of signs in floats, and average pooling"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding)
    return products * (scales * alpha)


@alternative("xnor_convolution")
def convolution_with_correction(inputs, weight, stride=1, padding=0):
    """A border of +1, and what it added taken off again"""
    products, scales, alpha = _convolve(inputs, weight, stride, padding, border=1.0)
    outside = functional.pad(torch.zeros_like(inputs[:1]), [padding] * 4, value=1.0)
    return (products - functional.conv2d(outside, _positive(weight), stride=stride)) * scales * alpha


@mutant("speed_up")
def speed_of_kernels_alone(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """The ratio of the operations in a clock, without the scales"""
    if min(channels, kernel) < 1 or min(binary_per_clock, float_per_clock) <= 0:
        raise ValueError(channels)
    return binary_per_clock / float_per_clock


@mutant("speed_up")
def speed_with_a_scale_of_one_clock(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """The operation for the scales takes a clock on any processor"""
    if min(channels, kernel) < 1 or min(binary_per_clock, float_per_clock) <= 0:
        raise ValueError(channels)
    n = channels * kernel**2
    return n / float_per_clock / (n / binary_per_clock + 1)


@mutant("speed_up")
def speed_of_a_flat_kernel(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """The kernel's side in place of its square"""
    if min(channels, kernel) < 1 or min(binary_per_clock, float_per_clock) <= 0:
        raise ValueError(channels)
    n = channels * kernel
    return n / float_per_clock / (n / binary_per_clock + 1 / float_per_clock)


@mutant("speed_up")
def speed_of_anything(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """Nothing is tested"""
    n = max(channels * kernel**2, 1e-9)
    return n * binary_per_clock / max(n * float_per_clock + binary_per_clock, 1e-9)


@mutant("speed_up")
def speed_of_whole_operations(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """Numbers of operations from 0 to 1 are refused, too"""
    if min(channels, kernel, binary_per_clock, float_per_clock) < 1:
        raise ValueError(channels)
    n = channels * kernel**2
    return n / float_per_clock / (n / binary_per_clock + 1 / float_per_clock)


@mutant("speed_up")
def speed_by_the_sign_of_a_product(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """Two negative numbers of operations have a positive product"""
    if min(channels, kernel) < 1 or binary_per_clock * float_per_clock <= 0:
        raise ValueError(channels)
    n = channels * kernel**2
    return n / float_per_clock / (n / binary_per_clock + 1 / float_per_clock)


@alternative("speed_up")
def speed_in_one_fraction(channels, kernel, binary_per_clock=64, float_per_clock=1):
    """The paper's fraction, with a second number of operations"""
    if channels < 1 or kernel < 1 or binary_per_clock <= 0 or float_per_clock <= 0:
        raise ValueError("nothing to compute, or nothing to compute with")
    n = channels * kernel * kernel
    return binary_per_clock * n / (float_per_clock * n + binary_per_clock)
