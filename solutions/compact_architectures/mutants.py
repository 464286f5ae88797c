"""Unit 10, compact architectures: wrong answers that some check must reject, and right ones that all must accept."""

import torch
from torch import nn
from torch.nn import functional

from nutshell.checks import alternative, mutant

# Fire ----------------------------------------------------------------------------------------------------------------


class _FireLayers(nn.Module):
    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand1, 1)
        self.expand3 = nn.Conv2d(squeeze, expand3, 3, padding=1)


@mutant("Fire")
class FireWithoutReluBetween(_FireLayers):
    """No ReLU after the squeeze"""

    def forward(self, x):
        few = self.squeeze(x)
        return torch.cat([self.expand1(few).relu(), self.expand3(few).relu()], 1)


@mutant("Fire")
class FireWithoutReluAfter(_FireLayers):
    """No ReLU after the convolutions that expand"""

    def forward(self, x):
        few = self.squeeze(x).relu()
        return torch.cat([self.expand1(few), self.expand3(few)], 1)


@mutant("Fire")
class FireThreesFirst(_FireLayers):
    """The outputs of the 3×3 come first"""

    def forward(self, x):
        few = self.squeeze(x).relu()
        return torch.cat([self.expand3(few), self.expand1(few)], 1).relu()


@mutant("Fire")
class FireInARow(nn.Module):
    """The 3×3 follows the 1×1, where it should stand beside it"""

    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand1, 1)
        self.expand3 = nn.Conv2d(expand1, expand3, 3, padding=1)

    def forward(self, x):
        y = self.expand1(self.squeeze(x).relu()).relu()
        return torch.cat([y, self.expand3(y).relu()], 1)


@mutant("Fire")
class FireWithoutPadding(nn.Module):
    """The 3×3 is not padded, so the two don't fit together, or the 1×1 is cut to size"""

    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand1, 1)
        self.expand3 = nn.Conv2d(squeeze, expand3, 3)

    def forward(self, x):
        few = self.squeeze(x).relu()
        return torch.cat([self.expand1(few)[:, :, 1:-1, 1:-1], self.expand3(few)], 1).relu()


@mutant("Fire")
class FireThatSeesAll(nn.Module):
    """The 3×3 sees the input itself: the most expensive part is not squeezed"""

    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand1, 1)
        self.expand3 = nn.Conv2d(channels, expand3, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.expand1(self.squeeze(x).relu()).relu(), self.expand3(x).relu()], 1)


@alternative("Fire")
class FireOfSequentials(nn.Module):
    """Layers in sequences, the ReLU once for both halves"""

    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, squeeze, 1), nn.ReLU(inplace=True))
        self.wide = nn.ModuleList([nn.Conv2d(squeeze, expand1, 1), nn.Conv2d(squeeze, expand3, 3, padding="same")])

    def forward(self, x):
        x = self.narrow(x)
        return torch.relu(torch.cat([layer(x) for layer in self.wide], dim=-3))


@alternative("Fire")
class FireIntoOneTensor(nn.Module):
    """Writes both halves into a tensor of the right size"""

    def __init__(self, channels, squeeze, expand1, expand3):
        super().__init__()
        self.c = nn.Conv2d(squeeze, expand3, (3, 3), padding=(1, 1))
        self.b = nn.Conv2d(squeeze, expand1, kernel_size=1)
        self.a = nn.Conv2d(channels, squeeze, kernel_size=1)

    def forward(self, x):
        few = functional.relu(self.a(x))
        ones, threes = self.b(few), self.c(few)
        both = torch.zeros(len(x), ones.shape[1] + threes.shape[1], *x.shape[2:], dtype=x.dtype)
        both[:, : ones.shape[1]] = ones
        both[:, ones.shape[1] :] = threes
        return both.clamp(min=0)


# depthwise_separable -------------------------------------------------------------------------------------------------


def _two(channels, outputs, kernel, stride, groups=None, padding=None, biases=(False, True), pointwise_stride=1):
    if kernel % 2 == 0:
        raise ValueError(kernel)
    return [
        nn.Conv2d(channels, channels, kernel, stride=stride, padding=kernel // 2 if padding is None else padding,
                  groups=channels if groups is None else groups, bias=biases[0]),
        nn.Conv2d(channels, outputs, 1, stride=pointwise_stride, bias=biases[1]),
    ]


@mutant("depthwise_separable")
def separable_forgets_groups(channels, outputs, kernel=3, stride=1):
    """The first convolution is a whole one: more expensive than before"""
    return nn.Sequential(*_two(channels, outputs, kernel, stride, groups=1))


@mutant("depthwise_separable")
def separable_with_relu(channels, outputs, kernel=3, stride=1):
    """A ReLU between the two, as the paper's network has after normalisation"""
    first, second = _two(channels, outputs, kernel, stride)
    return nn.Sequential(first, nn.ReLU(), second)


@mutant("depthwise_separable")
def separable_pointwise_first(channels, outputs, kernel=3, stride=1):
    """Mixes channels first and filters P of them"""
    if kernel % 2 == 0:
        raise ValueError(kernel)
    return nn.Sequential(
        nn.Conv2d(channels, outputs, 1, bias=False),
        nn.Conv2d(outputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=outputs),
    )


@mutant("depthwise_separable")
def separable_strides_late(channels, outputs, kernel=3, stride=1):
    """The stride is on the 1×1 convolution: the same output for four times the work"""
    return nn.Sequential(*_two(channels, outputs, kernel, 1, pointwise_stride=stride))


@mutant("depthwise_separable")
def separable_pads_by_one(channels, outputs, kernel=3, stride=1):
    """Pads by one whatever the kernel"""
    return nn.Sequential(*_two(channels, outputs, kernel, stride, padding=1))


@mutant("depthwise_separable")
def separable_two_biases(channels, outputs, kernel=3, stride=1):
    """Both convolutions have a bias"""
    return nn.Sequential(*_two(channels, outputs, kernel, stride, biases=(True, True)))


@mutant("depthwise_separable")
def separable_takes_even_kernels(channels, outputs, kernel=3, stride=1):
    """Even kernels pass in silence, and the image grows"""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
        nn.Conv2d(channels, outputs, 1),
    )


@alternative("depthwise_separable")
def separable_with_names(channels, outputs, kernel=3, stride=1):
    """Layers with names, padding worked out from the kernel"""
    if not kernel % 2:
        raise ValueError("even")
    block = nn.Sequential()
    block.add_module("depthwise", nn.Conv2d(channels, channels, (kernel, kernel), (stride, stride),
                                            (kernel - 1) // 2, 1, channels, False))
    block.add_module("pointwise", nn.Conv2d(channels, outputs, (1, 1)))
    return block


@alternative("depthwise_separable")
def separable_one_by_one(channels, outputs, kernel=3, stride=1):
    """Copies filters one by one into a grouped convolution of its own making"""
    if kernel not in range(1, 999, 2):
        raise ValueError("even")
    depthwise = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels)
    depthwise.bias = None
    with torch.no_grad():
        for filters in depthwise.weight:
            filters.normal_(std=1 / kernel)
    return nn.Sequential(depthwise, nn.Conv2d(in_channels=channels, out_channels=outputs, kernel_size=1, bias=True))


# flattened -----------------------------------------------------------------------------------------------------------


def _thin(kernels, bias, paddings, biased=2):
    layers = []
    for number, (kernel, padding) in enumerate(zip(kernels, paddings, strict=True)):
        groups = 1 if number == 0 else len(kernel)
        layer = nn.Conv2d(kernel.shape[1] * groups, len(kernel), tuple(kernel.shape[2:]), padding=padding,
                          groups=groups, bias=bias is not None and number == biased, dtype=kernel.dtype)
        layer.weight = nn.Parameter(kernel.contiguous())
        if layer.bias is not None:
            layer.bias = nn.Parameter(bias.clone())
        layers.append(layer)
    return nn.Sequential(*layers)


def _check_axes(lateral, vertical, horizontal):
    if len({len(lateral), len(vertical), len(horizontal)}) > 1:
        raise ValueError("filters")
    if not vertical.shape[1] % 2 or not horizontal.shape[1] % 2:
        raise ValueError("even")
    return lateral[:, :, None, None], vertical[:, None, :, None], horizontal[:, None, None, :]


@mutant("flattened")
def flattened_multiplies_out(lateral, vertical, horizontal, bias):
    """One convolution with the outer product: as large as before"""
    _check_axes(lateral, vertical, horizontal)
    kernel = torch.einsum("pc,py,px->pcyx", lateral, vertical, horizontal)
    layer = nn.Conv2d(kernel.shape[1], len(kernel), tuple(kernel.shape[2:]), bias=bias is not None, dtype=kernel.dtype,
                      padding=(kernel.shape[2] // 2, kernel.shape[3] // 2))
    layer.weight = nn.Parameter(kernel)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return nn.Sequential(layer)


@mutant("flattened")
def flattened_turned(lateral, vertical, horizontal, bias):
    """Vertical filters lie, horizontal ones stand"""
    a, v, h = _check_axes(lateral, vertical, horizontal)
    v, h = v.transpose(2, 3), h.transpose(2, 3)
    return _thin((a, v, h), bias, (0, (0, v.shape[3] // 2), (h.shape[2] // 2, 0)))


@mutant("flattened")
def flattened_bias_first(lateral, vertical, horizontal, bias):
    """The bias is in the first convolution"""
    a, v, h = _check_axes(lateral, vertical, horizontal)
    return _thin((a, v, h), bias, (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)), biased=0)


@mutant("flattened")
def flattened_unpadded(lateral, vertical, horizontal, bias):
    """No padding"""
    return _thin(_check_axes(lateral, vertical, horizontal), bias, (0, 0, 0))


@mutant("flattened")
def flattened_mixes_everywhere(lateral, vertical, horizontal, bias):
    """The thin convolutions have no groups: matrices with the filters on the diagonal"""
    a, v, h = _check_axes(lateral, vertical, horizontal)
    layers = [_thin((a,), None, (0,))[0]]
    for kernel, padding in ((v, (v.shape[2] // 2, 0)), (h, (0, h.shape[3] // 2))):
        last = kernel is h and bias is not None
        layer = nn.Conv2d(len(a), len(a), tuple(kernel.shape[2:]), padding=padding, bias=last, dtype=a.dtype)
        whole = torch.zeros_like(layer.weight)
        for place in range(len(a)):
            whole[place, place] = kernel[place, 0]
        layer.weight = nn.Parameter(whole)
        if last:
            layer.bias = nn.Parameter(bias.clone())
        layers.append(layer)
    return nn.Sequential(*layers)


@mutant("flattened")
def flattened_float32_only(lateral, vertical, horizontal, bias):
    """Layers in the default dtype, whatever the dtype of the filters"""
    a, v, h = (kernel.float() for kernel in _check_axes(lateral, vertical, horizontal))
    return _thin((a, v, h), None if bias is None else bias.float(), (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)))


@mutant("flattened")
def flattened_takes_anything(lateral, vertical, horizontal, bias):
    """Even kernels pass in silence"""
    if len({len(lateral), len(vertical), len(horizontal)}) > 1:
        raise ValueError("filters")
    a, v, h = lateral[:, :, None, None], vertical[:, None, :, None], horizontal[:, None, None, :]
    return _thin((a, v, h), bias, (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)))


@mutant("flattened")
def flattened_float64_only(lateral, vertical, horizontal, bias):
    """Layers in float64, whatever the dtype of the filters"""
    a, v, h = (kernel.double() for kernel in _check_axes(lateral, vertical, horizontal))
    return _thin((a, v, h), None if bias is None else bias.double(), (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)))


@mutant("flattened")
def flattened_compares_two(lateral, vertical, horizontal, bias):
    """The thin filters are as many as each other; those across the channels are not counted"""
    a, v, h = _check_axes(vertical, vertical, horizontal)
    p, a = len(lateral), lateral[:, :, None, None]
    return _thin((a, v[:p], h[:p]), bias, (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)))


@mutant("flattened")
def flattened_scales_in_place(lateral, vertical, horizontal, bias):
    """Moves the length of the filters into the first ones, in the tensors that were given"""
    _check_axes(lateral, vertical, horizontal)
    for thin in (vertical, horizontal):
        length = thin.norm(dim=1, keepdim=True)
        thin /= length
        lateral *= length
    a, v, h = _check_axes(lateral, vertical, horizontal)
    return _thin((a, v, h), bias, (0, (v.shape[2] // 2, 0), (0, h.shape[3] // 2)))


@alternative("flattened")
def flattened_horizontal_first(lateral, vertical, horizontal, bias):
    """Along the rows before down the columns"""
    a, v, h = _check_axes(lateral, vertical, horizontal)
    return _thin((a, h, v), bias, (0, (0, h.shape[3] // 2), (v.shape[2] // 2, 0)))


@alternative("flattened")
def flattened_with_names(lateral, vertical, horizontal, bias):
    """Layers with names, "same" padding, and the weights loaded as a state"""
    p, c = lateral.shape
    if vertical.shape[0] != p or horizontal.shape[0] != p or 0 in (vertical.shape[1] % 2, horizontal.shape[1] % 2):
        raise ValueError("shapes")
    block = nn.Sequential()
    block.add_module("across", nn.Conv2d(c, p, 1, bias=False))
    block.add_module("down", nn.Conv2d(p, p, (vertical.shape[1], 1), padding="same", groups=p, bias=False))
    block.add_module("along", nn.Conv2d(p, p, (1, horizontal.shape[1]), padding="same", groups=p,
                                        bias=bias is not None))
    state = {"across.weight": lateral.reshape(p, c, 1, 1), "down.weight": vertical.reshape(p, 1, -1, 1),
             "along.weight": horizontal.reshape(p, 1, 1, -1)}
    if bias is not None:
        state["along.bias"] = bias
    block = block.to(lateral.dtype)
    block.load_state_dict(state)
    return block


# pooled_head ---------------------------------------------------------------------------------------------------------


def _pooled(weight, bias, pool=None):
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.clone())
    return nn.Sequential(pool or nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def _cube(weight, channels):
    if weight.shape[1] % channels:
        raise ValueError(channels)
    return weight.reshape(weight.shape[0], channels, -1)


@mutant("pooled_head")
def pooled_head_of_means(weight, bias, channels):
    """Averages the weights over the places, and the features too"""
    return _pooled(_cube(weight, channels).mean(2), bias)


@mutant("pooled_head")
def pooled_head_place_by_place(weight, bias, channels):
    """Takes the flattened features for places first, channels last"""
    _cube(weight, channels)
    return _pooled(weight.reshape(weight.shape[0], -1, channels).sum(1), bias)


@mutant("pooled_head")
def pooled_head_of_maxima(weight, bias, channels):
    """Pools with the largest value"""
    return _pooled(_cube(weight, channels).sum(2), bias, nn.AdaptiveMaxPool2d(1))


@mutant("pooled_head")
def pooled_head_at_random(weight, bias, channels):
    """A new linear layer: what was trained is thrown away"""
    classes = _cube(weight, channels).shape[0]
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes, dtype=weight.dtype))


@mutant("pooled_head")
def pooled_head_of_any_channels(weight, bias, channels):
    """Columns that don't fit are cut off"""
    places = max(weight.shape[1] // channels, 1)
    kept = weight[:, : places * channels]
    kept = functional.pad(kept, (0, places * channels - kept.shape[1]))
    return _pooled(kept.reshape(weight.shape[0], channels, places).sum(2), bias)


@mutant("pooled_head")
def pooled_head_for_squares(weight, bias, channels):
    """Knows the old image's size and takes no other"""
    cube = _cube(weight, channels)
    side = int(cube.shape[2] ** 0.5)
    return _pooled(cube.sum(2), bias, nn.AvgPool2d((side, cube.shape[2] // side)))


@mutant("pooled_head")
def pooled_head_adds_in_place(weight, bias, channels):
    """Adds the other places to the first, in the weight that was given"""
    cube = _cube(weight, channels)
    cube[:, :, 0] += cube[:, :, 1:].sum(2)
    return _pooled(cube[:, :, 0].clone(), bias)


@alternative("pooled_head")
def pooled_head_by_a_convolution(weight, bias, channels):
    """A 1×1 convolution to the classes first, then the mean of its maps"""
    cube = _cube(weight, channels).sum(2)
    layer = nn.Conv2d(channels, len(cube), 1, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(cube[:, :, None, None])
        layer.bias.copy_(bias)
    return nn.Sequential(layer, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1))


class _MeanHead(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, features):
        return torch.einsum("nchw,kc->nk", features, self.weight) / features[0, 0].numel() + self.bias


@alternative("pooled_head")
def pooled_head_as_a_module(weight, bias, channels):
    """Adds up by indices, in a module of its own"""
    if weight.shape[1] % channels != 0:
        raise ValueError("channels")
    owner = torch.arange(weight.shape[1]) // (weight.shape[1] // channels)
    sums = torch.zeros(weight.shape[0], channels, dtype=weight.dtype).index_add_(1, owner, weight)
    return _MeanHead(sums, bias)


# oct_convolution -----------------------------------------------------------------------------------------------------


def _octave_of(high, low, weight, low_outputs, pool=None, rise=None, early=False, order=1):
    if not 0 <= low_outputs < len(weight):
        raise ValueError("low_outputs")
    if high.shape[1] + (0 if low is None else low.shape[1]) != weight.shape[1]:
        raise ValueError("channels")
    if (low is not None or low_outputs) and any(side % 2 for side in high.shape[2:]):
        raise ValueError("odd")
    pool = pool or (lambda x: functional.avg_pool2d(x, 2))
    rise = rise or (lambda x: functional.interpolate(x, scale_factor=2))
    c, cut, edge = high.shape[1], len(weight) - low_outputs, weight.shape[-1] // 2

    def conv(x, kernel):
        return functional.conv2d(x, kernel, padding=edge)

    rows = (weight[:cut], weight[cut:]) if order == 1 else (weight[low_outputs:], weight[:low_outputs])
    up = conv(high, rows[0][:, :c])
    down = None
    if low_outputs:
        down = pool(conv(high, rows[1][:, :c])) if early else conv(pool(high), rows[1][:, :c])
    if low is not None:
        up = up + (conv(rise(low), rows[0][:, c:]) if early else rise(conv(low, rows[0][:, c:])))
        down = down + conv(low, rows[1][:, c:]) if low_outputs else None
    return up, down


@mutant("oct_convolution")
def octave_skips_pixels(high, low, weight, low_outputs):
    """Takes every second pixel, where it should average"""
    return _octave_of(high, low, weight, low_outputs, pool=lambda x: x[:, :, ::2, ::2])


@mutant("oct_convolution")
def octave_takes_the_largest(high, low, weight, low_outputs):
    """Pools with the largest value"""
    return _octave_of(high, low, weight, low_outputs, pool=lambda x: functional.max_pool2d(x, 2))


@mutant("oct_convolution")
def octave_interpolates(high, low, weight, low_outputs):
    """Bilinear, not nearest"""
    return _octave_of(high, low, weight, low_outputs,
                      rise=lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"))


@mutant("oct_convolution")
def octave_convolves_large(high, low, weight, low_outputs):
    """Changes resolution on the wrong side: nothing is saved between the two"""
    return _octave_of(high, low, weight, low_outputs, early=True)


@mutant("oct_convolution")
def octave_low_outputs_first(high, low, weight, low_outputs):
    """Takes the first rows of the weight for the low outputs"""
    return _octave_of(high, low, weight, low_outputs, order=-1)


@mutant("oct_convolution")
def octave_without_exchange(high, low, weight, low_outputs):
    """The two resolutions don't speak with one another"""
    high_again, low_again = _octave_of(high, low, weight, low_outputs)
    if low is None or low_again is None:
        return high_again, low_again
    c, cut, edge = high.shape[1], len(weight) - low_outputs, weight.shape[-1] // 2
    return (functional.conv2d(high, weight[:cut, :c], padding=edge),
            functional.conv2d(low, weight[cut:, c:], padding=edge))


@mutant("oct_convolution")
def octave_empty_for_none(high, low, weight, low_outputs):
    """An empty tensor where there is no low output"""
    found = _octave_of(high, low, weight, low_outputs)
    return found[0], torch.zeros(len(high), 0, 1, 1) if found[1] is None else found[1]


@mutant("oct_convolution")
def octave_rounds_odd_sides(high, low, weight, low_outputs):
    """Odd sides pass in silence, and a row is lost"""
    if low is not None or low_outputs:
        high = high[:, :, : high.shape[2] // 2 * 2, : high.shape[3] // 2 * 2]
    return _octave_of(high, low, weight, low_outputs)


@alternative("oct_convolution")
def octave_with_empty_parts(high, low, weight, low_outputs):
    """Gathers the contributions of each output in a list, by matrix products over unfolded windows"""
    if low_outputs not in range(len(weight)):
        raise ValueError("low_outputs")
    parts = [high] if low is None else [high, low]
    if sum(part.shape[1] for part in parts) != weight.shape[1]:
        raise ValueError("channels")
    if len(parts) + (low_outputs > 0) > 1 and (high.shape[2] % 2 or high.shape[3] % 2):
        raise ValueError("odd")
    k = weight.shape[-1]

    def conv(x, kernel):
        windows = functional.unfold(x, k, padding=(k - 1) // 2)
        return (kernel.reshape(len(kernel), -1) @ windows).reshape(len(x), len(kernel), *x.shape[2:])

    def half(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    cut, c = len(weight) - low_outputs, high.shape[1]
    to_high = [conv(high, weight[:cut, :c])]
    to_low = [conv(half(high), weight[cut:, :c])] if low_outputs else []
    if low is not None:
        to_high.append(torch.kron(conv(low, weight[:cut, c:]), torch.ones(2, 2, dtype=low.dtype)))
        to_low += [conv(low, weight[cut:, c:])] if low_outputs else []
    return sum(to_high), sum(to_low) if to_low else None


@alternative("oct_convolution")
def octave_over_outputs(high, low, weight, low_outputs):
    """Convolves all outputs at both resolutions and takes what is needed"""
    if low_outputs < 0 or low_outputs >= weight.shape[0]:
        raise ValueError("low_outputs")
    c_low = 0 if low is None else low.size(1)
    if weight.shape[1] != high.size(1) + c_low:
        raise ValueError("channels")
    if (c_low or low_outputs) and (high.size(2) % 2 == 1 or high.size(3) % 2 == 1):
        raise ValueError("odd")
    from_high, from_low = weight.split([high.size(1), c_low], dim=1)
    cut, padding = weight.shape[0] - low_outputs, weight.shape[2] // 2
    new_high = functional.conv2d(high, from_high, padding=padding)[:, :cut]
    new_low = None
    if low_outputs:
        new_low = functional.conv2d(functional.adaptive_avg_pool2d(high, (high.size(2) // 2, high.size(3) // 2)),
                                    from_high, padding=padding)[:, cut:]
    if c_low:
        both = functional.conv2d(low, from_low, padding=padding)
        new_high = new_high + nn.Upsample(scale_factor=2)(both[:, :cut])
        new_low = new_low + both[:, cut:] if low_outputs else None
    return [new_high, new_low]


# Swapout -------------------------------------------------------------------------------------------------------------


class _Swap(nn.Module):
    def __init__(self, branch, block, blocks, last=0.5):
        super().__init__()
        if block < 1 or block > blocks or last < 0 or last > 1:
            raise ValueError("block, blocks or last")
        self.branch, self.keep = branch, 1 - (1 - last) * block / blocks

    def draw(self, x):
        return (torch.rand(x.shape) < self.keep).to(x.dtype)

    def mean(self, x, y):
        return self.keep * (x + y)

    def forward(self, x):
        y = self.branch(x)
        return self.draw(x) * x + self.draw(x) * y if self.training else self.mean(x, y)


@mutant("Swapout")
class SwapoutOneMask(_Swap):
    """One mask for both: a unit is whole or dropped"""

    def forward(self, x):
        y = self.branch(x)
        return self.draw(x) * (x + y) if self.training else self.mean(x, y)


@mutant("Swapout")
class SwapoutByImage(_Swap):
    """One coin for an image: stochastic depth"""

    def draw(self, x):
        return (torch.rand(len(x), 1, 1, 1) < self.keep).to(x.dtype)


@mutant("Swapout")
class SwapoutByChannel(_Swap):
    """One coin for a channel"""

    def draw(self, x):
        return (torch.rand(*x.shape[:2], 1, 1) < self.keep).to(x.dtype)


@mutant("Swapout")
class SwapoutForTheBatch(_Swap):
    """The same coins for every image of the batch"""

    def draw(self, x):
        return (torch.rand(x.shape[1:]) < self.keep).to(x.dtype)


@mutant("Swapout")
class SwapoutScaled(_Swap):
    """Divides what is kept by keep, as dropout does, and leaves evaluation alone"""

    def draw(self, x):
        return super().draw(x) / max(self.keep, 1e-6)

    def mean(self, x, y):
        return x + y


@mutant("Swapout")
class SwapoutForgetsTheMean(_Swap):
    """Nothing is scaled in evaluation"""

    def mean(self, x, y):
        return x + y


@mutant("Swapout")
class SwapoutThrowsAlways(_Swap):
    """Coins are thrown in evaluation too"""

    def forward(self, x):
        return self.draw(x) * x + self.draw(x) * self.branch(x)


@mutant("Swapout")
class SwapoutSkipsOnly(_Swap):
    """X always passes; only the branch is dropped"""

    def forward(self, x):
        y = self.branch(x)
        return x + self.draw(x) * y if self.training else x + self.keep * y


@mutant("Swapout")
class SwapoutDropsByKeep(_Swap):
    """keep is the probability to drop"""

    def draw(self, x):
        return (torch.rand(x.shape) >= self.keep).to(x.dtype)


@mutant("Swapout")
class SwapoutCountsFromZero(_Swap):
    """The schedule begins with keep = 1 at the first block"""

    def __init__(self, branch, block, blocks, last=0.5):
        super().__init__(branch, block, blocks, last)
        self.keep = 1 - (1 - last) * (block - 1) / max(blocks - 1, 1)


@mutant("Swapout")
class SwapoutThrowsOnce(_Swap):
    """Coins are thrown in the first call and kept"""

    def forward(self, x):
        y = self.branch(x)
        if not self.training:
            return self.mean(x, y)
        if not hasattr(self, "masks"):
            self.masks = self.draw(x), self.draw(x)
        return self.masks[0] * x + self.masks[1] * y


@mutant("Swapout")
class SwapoutWithRelu(_Swap):
    """A ReLU after the sum, as a residual block has"""

    def forward(self, x):
        return super().forward(x).relu()


@mutant("Swapout")
class SwapoutWithReluInTraining(_Swap):
    """A ReLU after the sum in training only"""

    def forward(self, x):
        y = super().forward(x)
        return y.relu() if self.training else y


@mutant("Swapout")
class SwapoutMasksTheInput(_Swap):
    """The branch is given the masked input, where its output should be masked"""

    def forward(self, x):
        if not self.training:
            return self.mean(x, self.branch(x))
        return self.draw(x) * x + self.branch(self.draw(x) * x)


@mutant("Swapout")
class SwapoutMasksInside(_Swap):
    """The coin and its mean go into the branch"""

    def forward(self, x):
        masks = (self.draw(x), self.draw(x)) if self.training else (self.keep, self.keep)
        return masks[0] * x + self.branch(masks[1] * x)


@mutant("Swapout")
class SwapoutOfImages(_Swap):
    """Takes images only: four axes"""

    def draw(self, x):
        images, channels, height, width = x.shape
        return (torch.rand(images, channels, height, width) < self.keep).to(x.dtype)


@mutant("Swapout")
class SwapoutTrainsKeep(_Swap):
    """keep is a parameter"""

    def __init__(self, branch, block, blocks, last=0.5):
        super().__init__(branch, block, blocks, last)
        self.keep = nn.Parameter(torch.tensor(self.__dict__.pop("keep")))


@alternative("Swapout")
class SwapoutByDropout(nn.Module):
    """Uses dropout's masks, and takes its scaling back"""

    def __init__(self, branch, block, blocks, last=0.5):
        super().__init__()
        if block not in range(1, blocks + 1) or not 0.0 <= last <= 1.0:
            raise ValueError("arguments")
        share = block / blocks
        self.keep = (1 - share) + share * last
        self.branch = branch

    def forward(self, x):
        y = self.branch(x)
        if self.training:
            return self.keep * (functional.dropout(x, 1 - self.keep) + functional.dropout(y, 1 - self.keep))
        return self.keep * x + self.keep * y


@alternative("Swapout")
class SwapoutByCases(nn.Module):
    """Draws one of the four cases for each unit"""

    def __init__(self, branch, block, blocks, last=0.5):
        super().__init__()
        if block < 1 or block > blocks or not 0 <= last <= 1:
            raise ValueError(f"block {block}, blocks {blocks}, last {last}")
        self.way = branch
        self.keep = 1 - block * (1 - last) / blocks

    def forward(self, x):
        y, k = self.way(x), self.keep
        if not self.training:
            return k * x + k * y
        cases = torch.stack([torch.zeros_like(x), x, y, x + y])
        chances = torch.tensor([(1 - k) ** 2, k * (1 - k), (1 - k) * k, k * k])
        drawn = torch.multinomial(chances, x.numel(), replacement=True).reshape(1, *x.shape)
        return cases.gather(0, drawn)[0]


# Residual ------------------------------------------------------------------------------------------------------------


class _Bottleneck(nn.Module):
    def __init__(self, channels, width, outputs, stride=1):
        super().__init__()
        self.a, self.c = nn.Conv2d(channels, width, 1), nn.Conv2d(width, outputs, 1)
        self.b = nn.Conv2d(width, width, 3, stride, 1)
        self.project = None
        if channels != outputs or stride != 1:
            self.project = nn.Conv2d(channels, outputs, 1, stride, bias=False)
        self.c.weight.data.zero_()
        self.c.bias.data.zero_()

    def branch(self, x):
        return self.c(self.b(self.a(x).relu()).relu())

    def way(self, x):
        return x if self.project is None else self.project(x)

    def forward(self, x):
        return (self.way(x) + self.branch(x)).relu()


@mutant("Residual")
class ResidualReluEarly(_Bottleneck):
    """ReLU on the branch, then the sum"""

    def forward(self, x):
        return self.way(x) + self.branch(x).relu()


@mutant("Residual")
class ResidualWithoutShortcut(_Bottleneck):
    """A bottleneck without its shortcut"""

    def forward(self, x):
        return self.branch(x).relu()


@mutant("Residual")
class ResidualStartsAnywhere(_Bottleneck):
    """The last convolution starts at random"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.c.reset_parameters()


@mutant("Residual")
class ResidualAlwaysProjects(_Bottleneck):
    """A 1×1 convolution in every shortcut"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.project = nn.Conv2d(channels, outputs, 1, stride, bias=False)


@mutant("Residual")
class ResidualForgetsStride(_Bottleneck):
    """A projection only where channels change: with a stride and equal channels pixels are dropped without one"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.stride = stride
        if channels == outputs:
            self.project = None

    def way(self, x):
        return x[:, :, :: self.stride, :: self.stride] if self.project is None else self.project(x)


@mutant("Residual")
class ResidualStridesLate(_Bottleneck):
    """The stride is on the last 1×1: the same output, and the 3×3 works for places that are dropped"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.b.stride, self.c.stride = (1, 1), (stride, stride)


@mutant("Residual")
class ResidualOfAZeroShortcut(_Bottleneck):
    """The convolution of the shortcut starts at 0 too: nothing comes out"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        if self.project is not None:
            nn.init.zeros_(self.project.weight)


@mutant("Residual")
class ResidualOfAZeroBranch(_Bottleneck):
    """The whole branch starts at 0: no gradient ever reaches its weights"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        for layer in (self.a, self.b):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


@mutant("Residual")
class ResidualStartsAnywhereWhereItProjects(_Bottleneck):
    """The last convolution starts at 0 only where the shortcut is the input"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        if self.project is not None:
            self.c.reset_parameters()


@alternative("Residual")
class ResidualWithItsOwnStart(_Bottleneck):
    """Biases from 0 and weights drawn in another way; the shortcut drops places before its convolution"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.stride = stride
        for layer in (self.a, self.b):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        if self.project is not None:
            self.project = nn.Conv2d(channels, outputs, 1, bias=False)

    def way(self, x):
        return x if self.project is None else self.project(x[:, :, :: self.stride, :: self.stride])


class _OwnConvolution(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / (inputs * kernel**2) ** 0.5)
        self.bias, self.step = nn.Parameter(torch.zeros(outputs)), stride

    def forward(self, x):
        return functional.conv2d(x, self.weight, self.bias, self.step, self.weight.shape[2] // 2)


@alternative("Residual")
class ResidualOfOwnConvolutions(_Bottleneck):
    """Convolutions of its own making"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__(channels, width, outputs, stride)
        self.a, self.b = _OwnConvolution(channels, width, 1), _OwnConvolution(width, width, 3, stride)


@alternative("Residual")
class ResidualOfSequentials(nn.Module):
    """Branch and shortcut as sequences, the shortcut an empty one where it is the input"""

    def __init__(self, channels, width, outputs, stride=1):
        super().__init__()
        last = nn.Conv2d(width, outputs, 1)
        nn.init.constant_(last.weight, 0.0)
        nn.init.constant_(last.bias, 0.0)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(True),
            nn.Conv2d(width, width, 3, padding=1, stride=stride), nn.ReLU(True), last,
        )  # fmt: skip
        changes = (channels, 1) != (outputs, stride)
        projection = [nn.Conv2d(channels, outputs, 1, stride, bias=False)] if changes else []
        self.shortcut = nn.Sequential(*projection)

    def forward(self, x):
        return torch.clamp(self.layers(x) + self.shortcut(x), min=0)


# Swish ---------------------------------------------------------------------------------------------------------------


@mutant("Swish")
class SwishBetaOutside(nn.Module):
    """β before σ"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x):
        return self.beta * x * torch.sigmoid(x)


@mutant("Swish")
class SwishBetaTwice(nn.Module):
    """SiLU of βx: β before σ as well as inside"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x):
        return functional.silu(self.beta * x)


@mutant("Swish")
class SwishFixed(nn.Module):
    """β is a number, no parameter"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = beta

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


@mutant("Swish")
class SwishOverflows(nn.Module):
    """Written with exp, whose gradient is not finite for large numbers"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x):
        return x / (1 + torch.exp(-self.beta * x))


@mutant("Swish")
class SwishByDivision(nn.Module):
    """By torch's SiLU, scaled: β = 0 divides by zero"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x):
        return functional.silu(self.beta * x) / self.beta


@mutant("Swish")
class SwishOfTheFirstBeta(nn.Module):
    """Uses the number that it was made with, not the parameter"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.beta, self.start = nn.Parameter(torch.tensor(float(beta))), float(beta)

    def forward(self, x):
        return x * torch.sigmoid(self.start * x) + 0 * self.beta


@alternative("Swish")
class SwishByTanh(nn.Module):
    """By the hyperbolic tangent, β with a dimension"""

    def __init__(self, beta=1.0):
        super().__init__()
        self.steepness = nn.Parameter(torch.full((1,), float(beta)))

    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(0.5 * self.steepness * x))


# Inception -----------------------------------------------------------------------------------------------------------


class _Four(nn.Module):
    def __init__(self, channels, ones, reduce3, threes, reduce5, fives, pooled):
        super().__init__()
        self.one, self.three0 = nn.Conv2d(channels, ones, 1), nn.Conv2d(channels, reduce3, 1)
        self.three, self.five0 = nn.Conv2d(reduce3, threes, 3, padding=1), nn.Conv2d(channels, reduce5, 1)
        self.five1, self.five2 = nn.Conv2d(reduce5, fives, 3, padding=1), nn.Conv2d(fives, fives, 3, padding=1)
        self.pooled = nn.Conv2d(channels, pooled, 1)

    def pool(self, x):
        return functional.max_pool2d(x, 3, stride=1, padding=1)

    def branches(self, x):
        five = self.five2(self.five1(self.five0(x).relu()).relu()).relu()
        return [self.one(x).relu(), self.three(self.three0(x).relu()).relu(), five, self.pooled(self.pool(x)).relu()]

    def forward(self, x):
        return torch.cat(self.branches(x), 1)


@mutant("Inception")
class InceptionPoolsFirst(_Four):
    """The branch with the pool comes first"""

    def forward(self, x):
        *others, last = self.branches(x)
        return torch.cat([last, *others], 1)


@mutant("Inception")
class InceptionAverages(_Four):
    """An average pool"""

    def pool(self, x):
        return functional.avg_pool2d(x, 3, stride=1, padding=1)


@mutant("Inception")
class InceptionNaive(nn.Module):
    """Without the 1×1 convolutions that reduce"""

    def __init__(self, channels, ones, reduce3, threes, reduce5, fives, pooled):
        super().__init__()
        self.one, self.three = nn.Conv2d(channels, ones, 1), nn.Conv2d(channels, threes, 3, padding=1)
        self.five1, self.five2 = nn.Conv2d(channels, fives, 3, padding=1), nn.Conv2d(fives, fives, 3, padding=1)
        self.pooled = nn.Conv2d(channels, pooled, 1)

    def forward(self, x):
        large = functional.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([self.one(x), self.three(x), self.five2(self.five1(x).relu()), self.pooled(large)], 1).relu()


@mutant("Inception")
class InceptionLinearInside(_Four):
    """ReLU only at the end of each branch"""

    def branches(self, x):
        return [self.one(x).relu(), self.three(self.three0(x)).relu(), self.five2(self.five1(self.five0(x))).relu(),
                self.pooled(self.pool(x)).relu()]


@mutant("Inception")
class InceptionLinearBetween(_Four):
    """No ReLU between the two 3×3"""

    def branches(self, x):
        ones, threes, _, pooled = super().branches(x)
        return [ones, threes, self.five2(self.five1(self.five0(x).relu())).relu(), pooled]


@alternative("Inception")
class InceptionOfBranches(nn.Module):
    """Branches in a list, made by a helper"""

    def __init__(self, channels, ones, reduce3, threes, reduce5, fives, pooled):
        super().__init__()

        def layers(*sizes):
            made, inputs = [], channels
            for outputs, kernel in sizes:
                made += [nn.Conv2d(inputs, outputs, kernel, padding="same"), nn.ReLU()]
                inputs = outputs
            return nn.Sequential(*made)

        self.ways = nn.ModuleList([
            layers((ones, 1)), layers((reduce3, 1), (threes, 3)), layers((reduce5, 1), (fives, 3), (fives, 3)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), *layers((pooled, 1))),
        ])

    def forward(self, x):
        return torch.cat([way(x) for way in self.ways], dim=1)
