"""Unit 03, low rank: wrong answers that some check must reject, and right ones that all checks must accept."""

import math

import numpy as np
import torch
from torch import nn

from nutshell.checks import alternative, mutant

# compression_rate ----------------------------------------------------------------------------------------------------


@mutant("compression_rate")
def rate_forgets_sigma(m, n, k, absorbed=False):
    """The singular values are never counted"""
    if not 1 <= k <= min(m, n):
        raise ValueError(k)
    return m * n / (k * (m + n))


@mutant("compression_rate")
def rate_with_square_sigma(m, n, k, absorbed=False):
    """Σ is counted as a k×k matrix"""
    if not 1 <= k <= min(m, n):
        raise ValueError(k)
    return m * n / (k * (m + n) + (0 if absorbed else k * k))


@mutant("compression_rate")
def rate_upside_down(m, n, k, absorbed=False):
    """Compressed over uncompressed"""
    if not 1 <= k <= min(m, n):
        raise ValueError(k)
    return k * (m + n + (0 if absorbed else 1)) / (m * n)


@mutant("compression_rate")
def rate_of_any_k(m, n, k, absorbed=False):
    """Ranks that a matrix cannot have are accepted"""
    return m * n / (k * (m + n + (not absorbed))) if k else math.inf


@mutant("compression_rate")
def rate_rounded(m, n, k, absorbed=False):
    """Integer division"""
    if not 1 <= k <= min(m, n):
        raise ValueError(k)
    return m * n // (k * (m + n + (not absorbed)))


@alternative("compression_rate")
def rate_from_shapes(m, n, k, absorbed=False):
    """Counts the numbers of arrays"""
    if k < 1 or k > m or k > n:
        raise ValueError(f"rank {k}")
    parts = [np.empty((m, k)), np.empty((k, n))] + ([] if absorbed else [np.empty(k)])
    return float(m * n / sum(part.size for part in parts))


@alternative("compression_rate")
def rate_as_product(m, n, k, absorbed=False):
    """As a product of two quotients, checking the rank last"""
    rate = (m / max(k, 1)) * (n / (m + n + int(not absorbed)))
    if k not in range(1, min(m, n) + 1):
        raise ValueError("rank")
    return rate


# break_even_rank -----------------------------------------------------------------------------------------------------


@mutant("break_even_rank")
def break_even_rounded_down(m, n, absorbed=False):
    """The largest rank that still saves, or breaks even"""
    return m * n // (m + n + (not absorbed))


@mutant("break_even_rank")
def break_even_plus_one(m, n, absorbed=False):
    """Rounds down and adds one, which is one too many where the division is exact"""
    return m * n // (m + n + (not absorbed)) + 1


@mutant("break_even_rank")
def break_even_ignores_convention(m, n, absorbed=False):
    """Always with Σ stored"""
    return math.ceil(m * n / (m + n + 1))


@mutant("break_even_rank")
def break_even_rounded(m, n, absorbed=False):
    """Rounds to the nearest"""
    return round(m * n / (m + n + (not absorbed)))


@alternative("break_even_rank")
def break_even_by_search(m, n, absorbed=False):
    """Tries one rank after another"""
    k = 1
    while m * n > k * (m + n) + (0 if absorbed else k):
        k += 1
    return k


@alternative("break_even_rank")
def break_even_by_ceil(m, n, absorbed=False):
    """Rounds the quotient up"""
    return math.ceil(m * n / (m + n if absorbed else m + n + 1))


# truncate ------------------------------------------------------------------------------------------------------------


@mutant("truncate")
def truncate_keeps_smallest(weight, rank):
    """Keeps the smallest singular values, as if they were sorted the other way round"""
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(rank)
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return (u[:, -rank:] * sigma[-rank:]) @ vt[-rank:]


@mutant("truncate")
def truncate_takes_v_for_vt(weight, rank):
    """Takes Vᵀ for V and transposes it again"""
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(rank)
    u, sigma, v = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank] @ torch.diag(sigma[:rank]) @ v[:, :rank].T


@mutant("truncate")
def truncate_one_too_many(weight, rank):
    """Keeps rank + 1 values"""
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(rank)
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, : rank + 1] @ torch.diag(sigma[: rank + 1]) @ vt[: rank + 1]


@mutant("truncate")
def truncate_without_sigma(weight, rank):
    """Forgets Σ"""
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(rank)
    u, _, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank] @ vt[:rank]


@mutant("truncate")
def truncate_accepts_any_rank(weight, rank):
    """A rank that the matrix cannot have passes in silence"""
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return (u[:, :rank] * sigma[:rank]) @ vt[:rank]


@mutant("truncate")
def truncate_by_columns(weight, rank):
    """Keeps the longest columns instead of singular directions"""
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(rank)
    kept = torch.zeros_like(weight)
    longest = weight.norm(dim=0).topk(rank).indices
    kept[:, longest] = weight[:, longest]
    return kept


@alternative("truncate")
def truncate_by_projection(weight, rank):
    """Projects on the leading eigenvectors of W Wᵀ"""
    if rank < 1 or rank > min(weight.shape):
        raise ValueError(f"no rank {rank}")
    basis = torch.linalg.eigh(weight @ weight.T)[1][:, -rank:]
    return basis @ (basis.T @ weight)


@alternative("truncate")
def truncate_with_numpy(weight, rank):
    """NumPy, setting small values to zero, with full matrices"""
    if rank not in range(1, min(weight.shape) + 1):
        raise ValueError(f"no rank {rank}")
    u, sigma, vt = np.linalg.svd(weight.numpy())
    sigma = np.where(np.arange(len(sigma)) < rank, sigma, 0)
    return torch.from_numpy(u[:, : len(sigma)] @ np.diag(sigma) @ vt[: len(sigma)])


# rank_for_energy -----------------------------------------------------------------------------------------------------


@mutant("rank_for_energy")
def energy_without_squares(singular_values, energy):
    """Sums the singular values, not their squares"""
    if not 0 < energy <= 1:
        raise ValueError(energy)
    kept = singular_values.double().cumsum(0)
    return int((kept < energy * kept[-1]).sum()) + 1


@mutant("rank_for_energy")
def energy_index_from_zero(singular_values, energy):
    """Returns the index of the last value kept"""
    if not 0 < energy <= 1:
        raise ValueError(energy)
    kept = (singular_values**2).cumsum(0)
    return int((kept < energy * kept[-1]).sum())


@mutant("rank_for_energy")
def energy_strictly_above(singular_values, energy):
    """Wants more than the share"""
    if not 0 < energy <= 1:
        raise ValueError(energy)
    kept = (singular_values.double() ** 2).cumsum(0)
    return min(int((kept <= energy * kept[-1]).sum()) + 1, len(kept))


@mutant("rank_for_energy")
def energy_in_percent(singular_values, energy):
    """Takes shares and percentages alike"""
    share = energy if energy <= 1 else energy / 100
    kept = (singular_values.double() ** 2).cumsum(0)
    return int((kept < share * kept[-1]).sum()) + 1


@alternative("rank_for_energy")
def energy_by_loop(singular_values, energy):
    """Adds up in a loop"""
    if energy <= 0 or energy > 1:
        raise ValueError("energy")
    squares = [float(value) ** 2 for value in singular_values]
    kept = 0.0
    for k, square in enumerate(squares, start=1):
        kept += square
        if kept >= energy * sum(squares):
            return k
    return len(squares)


@alternative("rank_for_energy")
def energy_by_searchsorted(singular_values, energy):
    """Searches the running share, in float32"""
    if not (energy > 0 and energy <= 1):
        raise ValueError("energy")
    kept = torch.cumsum(singular_values.square(), 0)
    return torch.searchsorted(kept / kept[-1], energy).item() + 1


# factorise -----------------------------------------------------------------------------------------------------------


def _svd(weight, rank):
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"no rank {rank}")
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank], sigma[:rank], vt[:rank]


def _linear(weight, bias=None):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


@mutant("factorise")
def factorise_multiplies_back(weight, bias, rank):
    """One dense layer with the truncated matrix: not smaller at all"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear((u * sigma) @ vt, bias))


@mutant("factorise")
def factorise_sigma_twice(weight, bias, rank):
    """Σ in both factors"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear(sigma[:, None] * vt), _linear(u * sigma, bias))


@mutant("factorise")
def factorise_without_sigma(weight, bias, rank):
    """Σ in neither factor"""
    u, _, vt = _svd(weight, rank)
    return nn.Sequential(_linear(vt), _linear(u, bias))


@mutant("factorise")
def factorise_loses_bias(weight, bias, rank):
    """The bias keeps its random start"""
    u, sigma, vt = _svd(weight, rank)
    second = nn.Linear(rank, weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        second.weight.copy_(u * sigma)
    return nn.Sequential(_linear(vt), second)


@mutant("factorise")
def factorise_two_biases(weight, bias, rank):
    """The first layer has a bias of zeros"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear(vt, torch.zeros(rank, dtype=weight.dtype)), _linear(u * sigma, bias))


@mutant("factorise")
def factorise_frozen(weight, bias, rank):
    """Factors that get no gradient"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear(vt), _linear(u * sigma, bias)).requires_grad_(False)


@mutant("factorise")
def factorise_float32_only(weight, bias, rank):
    """Layers in the default dtype, whatever the dtype of the weight"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear(vt.float()), _linear((u * sigma).float(), None if bias is None else bias.float()))


@alternative("factorise")
def factorise_sigma_left(weight, bias, rank):
    """Σ absorbed in U, weights set as new parameters"""
    u, sigma, vt = _svd(weight, rank)
    return nn.Sequential(_linear(vt), _linear(u * sigma, bias))


@alternative("factorise")
def factorise_by_eigenvectors(weight, bias, rank):
    """Projects on the leading eigenvectors of W Wᵀ, layers with names"""
    if rank < 1 or rank > min(weight.shape):
        raise ValueError("rank")
    basis = torch.linalg.eigh(weight.double() @ weight.double().T)[1][:, -rank:].to(weight.dtype)
    layers = nn.Sequential()
    layers.add_module("compress", _linear(basis.T @ weight))
    layers.add_module("expand", _linear(basis, bias))
    return layers


# tucker2 -------------------------------------------------------------------------------------------------------------


def _bases(weight, rank_in, rank_out):
    if not (1 <= rank_in <= weight.shape[1] and 1 <= rank_out <= weight.shape[0]):
        raise ValueError(f"no ranks {rank_in}, {rank_out}")
    a = torch.linalg.svd(weight.transpose(0, 1).flatten(1))[0][:, :rank_in]
    b = torch.linalg.svd(weight.flatten(1))[0][:, :rank_out]
    return a, b, torch.einsum("pchw,ps,cr->srhw", weight, b, a)


def _three(a, core, b, bias, strides=(1, 1, 1), paddings=(0, 0, 0), biases=(False, False, True)):
    layers = []
    kernels = (a.T[:, :, None, None], core, b[:, :, None, None])
    for kernel, stride, padding, with_bias in zip(kernels, strides, paddings, biases, strict=True):
        layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]), stride, padding,
                          bias=with_bias and bias is not None, dtype=kernel.dtype)
        layer.weight = nn.Parameter(kernel.contiguous())
        if layer.bias is not None:
            layer.bias = nn.Parameter(bias.clone() if len(layers) == 2 else torch.zeros_like(layer.bias))
        layers.append(layer)
    return nn.Sequential(*layers)


@mutant("tucker2")
def tucker_stride_first(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """The stride is on the first 1×1 convolution, where it drops pixels"""
    a, b, core = _bases(weight, rank_in, rank_out)
    return _three(a, core, b, bias, (stride, 1, 1), (0, padding, 0))


@mutant("tucker2")
def tucker_ignores_stride_and_padding(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """Stride and padding are forgotten"""
    a, b, core = _bases(weight, rank_in, rank_out)
    return _three(a, core, b, bias)


@mutant("tucker2")
def tucker_reshapes_input_axis(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """Unfolds the input channels by a reshape that does not move the axis first"""
    _, b, _ = _bases(weight, rank_in, rank_out)
    a = torch.linalg.svd(weight.reshape(weight.shape[1], -1))[0][:, :rank_in]
    core = torch.einsum("pchw,ps,cr->srhw", weight, b, a)
    return _three(a, core, b, bias, (1, stride, 1), (0, padding, 0))


@mutant("tucker2")
def tucker_swaps_ranks(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """rank_in is used for the outputs"""
    a, b, core = _bases(weight, rank_out, rank_in)
    return _three(a, core, b, bias, (1, stride, 1), (0, padding, 0))


@mutant("tucker2")
def tucker_cuts_the_core(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """The core is a corner of the kernel, not its projection"""
    a, b, _ = _bases(weight, rank_in, rank_out)
    return _three(a, weight[:rank_out, :rank_in], b, bias, (1, stride, 1), (0, padding, 0))


@mutant("tucker2")
def tucker_biases_everywhere(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """All three convolutions have a bias"""
    a, b, core = _bases(weight, rank_in, rank_out)
    return _three(a, core, b, bias, (1, stride, 1), (0, padding, 0), (True, True, True))


@mutant("tucker2")
def tucker_smallest_directions(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """Eigenvectors are taken from the wrong end"""
    _bases(weight, rank_in, rank_out)
    unfolded = weight.transpose(0, 1).flatten(1), weight.flatten(1)
    a, b = (torch.linalg.eigh(u @ u.T)[1][:, :rank] for u, rank in zip(unfolded, (rank_in, rank_out), strict=True))
    return _three(a, torch.einsum("pchw,ps,cr->srhw", weight, b, a), b, bias, (1, stride, 1), (0, padding, 0))


@alternative("tucker2")
def tucker_by_eigenvectors(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """Eigenvectors of the unfoldings' Gram matrices, and matrix products for the core"""
    outputs, inputs, height, width = weight.shape
    if rank_in not in range(1, inputs + 1) or rank_out not in range(1, outputs + 1):
        raise ValueError("rank")
    a, b = (torch.linalg.eigh(torch.einsum(form, weight, weight))[1].flip(1)[:, :rank]
            for form, rank in (("pchw,pdhw->cd", rank_in), ("pchw,qchw->pq", rank_out)))
    core = (b.T @ weight.flatten(1)).reshape(rank_out, inputs, height * width)
    core = (a.T @ core).reshape(rank_out, rank_in, height, width)
    return _three(a, core, b, bias, (1, stride, 1), (0, padding, 0))


@alternative("tucker2")
def tucker_by_iteration(weight, bias, rank_in, rank_out, stride=1, padding=0):
    """Higher-order orthogonal iteration: each basis is fitted again to the kernel projected on the other"""
    a, b, core = _bases(weight, rank_in, rank_out)
    for _ in range(5):
        a = torch.linalg.svd(torch.einsum("pchw,ps->cshw", weight, b).flatten(1))[0][:, :rank_in]
        b = torch.linalg.svd(torch.einsum("pchw,cr->prhw", weight, a).flatten(1))[0][:, :rank_out]
    core = torch.einsum("pchw,ps,cr->srhw", weight, b, a)
    return _three(a, core, b, bias, (1, stride, 1), (0, padding, 0))


# Extensions ----------------------------------------------------------------------------------------------------------


def _als(tensor, rank, sweeps, seed, axes=(0, 1, 2), form="jr,kr->jkr"):
    if rank < 1 or sweeps < 1:
        raise ValueError("rank or sweeps")
    generator = torch.Generator().manual_seed(seed)
    factors = [torch.randn(size, rank, generator=generator, dtype=tensor.dtype) for size in tensor.shape]
    for _ in range(sweeps):
        for axis in axes:
            first, second = factors[:axis] + factors[axis + 1 :]
            pairs = torch.einsum(form, first, second).flatten(0, 1)
            factors[axis] = torch.linalg.lstsq(pairs, tensor.movedim(axis, 0).flatten(1).T).solution.T
    return tuple(factors)


@mutant("cp_decompose")
def cp_pairs_in_wrong_order(tensor, rank, sweeps=200, seed=0):
    """The Khatri–Rao product runs through the two axes in another order than the unfolding"""
    return _als(tensor, rank, sweeps, seed, form="jr,kr->kjr")


@mutant("cp_decompose")
def cp_leaves_one_out(tensor, rank, sweeps=200, seed=0):
    """The third factor is never updated"""
    return _als(tensor, rank, sweeps, seed, axes=(0, 1))


@mutant("cp_decompose")
def cp_adds_grams(tensor, rank, sweeps=200, seed=0):
    """The Gram matrices are added, where they must be multiplied element by element"""
    if rank < 1 or sweeps < 1:
        raise ValueError("rank or sweeps")
    generator = torch.Generator().manual_seed(seed)
    factors = [torch.randn(size, rank, generator=generator, dtype=tensor.dtype) for size in tensor.shape]
    for _ in range(sweeps):
        for axis in range(3):
            first, second = factors[:axis] + factors[axis + 1 :]
            pairs = torch.einsum("jr,kr->jkr", first, second).flatten(0, 1)
            gram = first.T @ first + second.T @ second
            factors[axis] = tensor.movedim(axis, 0).flatten(1) @ pairs @ torch.linalg.pinv(gram)
    return tuple(factors)


@alternative("cp_decompose")
def cp_by_least_squares(tensor, rank, sweeps=200, seed=0):
    """Calls a least-squares solver, and scales the columns to unit length as it goes"""
    if rank < 1 or sweeps < 1:
        raise ValueError("rank or sweeps")
    generator = torch.Generator().manual_seed(seed + 17)
    a, b, c = (torch.rand(size, rank, generator=generator, dtype=tensor.dtype) - 0.5 for size in tensor.shape)
    for _ in range(sweeps):
        for form, unfolded in (("a", tensor), ("b", tensor.permute(1, 0, 2)), ("c", tensor.permute(2, 0, 1))):
            first, second = {"a": (b, c), "b": (a, c), "c": (a, b)}[form]
            pairs = (first[:, None] * second[None]).reshape(-1, rank)
            solved = torch.linalg.lstsq(pairs, unfolded.reshape(len(unfolded), -1).T, driver="gelsd").solution.T
            if form == "a":
                a = solved / solved.norm(dim=0).clamp_min(1e-12)
            elif form == "b":
                b = solved / solved.norm(dim=0).clamp_min(1e-12)
            else:
                c = solved
    return [a, b, c]


@mutant("orthogonal_matching_pursuit")
def pursuit_without_refit(dictionary, signal, nonzeros):
    """Plain matching pursuit: the weights of earlier atoms stay as they were"""
    if not 1 <= nonzeros <= min(dictionary.shape):
        raise ValueError(nonzeros)
    code, rest = torch.zeros(dictionary.shape[1], dtype=signal.dtype), signal.clone()
    for _ in range(nonzeros):
        products = dictionary.T @ rest
        best = products.abs().argmax()
        code[best] += products[best]
        rest = rest - products[best] * dictionary[:, best]
    return code


@mutant("orthogonal_matching_pursuit")
def pursuit_ignores_negative(dictionary, signal, nonzeros):
    """Takes the largest inner product, not the largest absolute one"""
    return _pursuit(dictionary, signal, nonzeros, lambda products: products)


@mutant("orthogonal_matching_pursuit")
def pursuit_all_at_once(dictionary, signal, nonzeros):
    """Takes the atoms with the largest inner products at once"""
    if not 1 <= nonzeros <= min(dictionary.shape):
        raise ValueError(nonzeros)
    taken = (dictionary.T @ signal).abs().topk(nonzeros).indices
    code = torch.zeros(dictionary.shape[1], dtype=signal.dtype)
    code[taken] = torch.linalg.lstsq(dictionary[:, taken], signal[:, None]).solution[:, 0]
    return code


@alternative("orthogonal_matching_pursuit")
def pursuit_by_pseudoinverse(dictionary, signal, nonzeros):
    """Fits with a pseudo-inverse and never stops early"""
    return _pursuit(dictionary, signal, nonzeros, torch.abs)


def _pursuit(dictionary, signal, nonzeros, size):
    if nonzeros < 1 or nonzeros > min(dictionary.shape):
        raise ValueError("nonzeros")
    code, taken = torch.zeros(dictionary.shape[1], dtype=signal.dtype), []
    for _ in range(nonzeros):
        products = size(dictionary.T @ (signal - dictionary @ code))
        products[taken] = -1
        taken.append(int(products.argmax()))
        code[taken] = torch.linalg.pinv(dictionary[:, taken]) @ signal
    return code
