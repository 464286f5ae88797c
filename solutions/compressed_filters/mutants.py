"""Unit 09, compressed filters: wrong answers that some check must reject, right ones that all checks must accept."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nutshell.checks import alternative, mutant
from nutshell.hashing import mix

# dct_basis -----------------------------------------------------------------------------------------------------------


def _places(size):
    if size < 1:
        raise ValueError(f"{size} places")
    return torch.arange(size, dtype=torch.float64)


@mutant("dct_basis")
def dct_without_scaling(size):
    """Plain cosines, as many libraries give them by default"""
    n = _places(size)
    return torch.cos(math.pi / (2 * size) * torch.outer(n, 2 * n + 1))


@mutant("dct_basis")
def dct_with_one_factor(size):
    """The constant row has the factor of the others"""
    n = _places(size)
    return math.sqrt(2 / size) * torch.cos(math.pi / (2 * size) * torch.outer(n, 2 * n + 1))


@mutant("dct_basis")
def dct_transposed(size):
    """Frequencies are the columns"""
    n = _places(size)
    basis = math.sqrt(2 / size) * torch.cos(math.pi / (2 * size) * torch.outer(n, 2 * n + 1))
    basis[0] = math.sqrt(1 / size)
    return basis.T.contiguous()


@mutant("dct_basis")
def dct_at_the_edges(size):
    """Cosines at the left edges of the places, without the half"""
    n = _places(size)
    basis = math.sqrt(2 / size) * torch.cos(math.pi / size * torch.outer(n, n))
    basis[0] = math.sqrt(1 / size)
    return basis


@mutant("dct_basis")
def dct_with_short_waves(size):
    """N below the fraction in place of 2N"""
    n = _places(size)
    basis = math.sqrt(2 / size) * torch.cos(math.pi / size * torch.outer(n, 2 * n + 1))
    basis[0] = math.sqrt(1 / size)
    return basis


@mutant("dct_basis")
def dct_of_any_size(size):
    """Sizes that there aren't give an empty matrix"""
    n = torch.arange(max(size, 0), dtype=torch.float64)
    basis = math.sqrt(2 / max(size, 1)) * torch.cos(math.pi / (2 * max(size, 1)) * torch.outer(n, 2 * n + 1))
    basis[:1] = math.sqrt(1 / max(size, 1))
    return basis


@mutant("dct_basis")
def dct_in_float32(size):
    """The places are made in torch's default dtype"""
    n = _places(size).float()
    basis = math.sqrt(2 / size) * torch.cos(math.pi / (2 * size) * torch.outer(n, 2 * n + 1))
    basis[0] = math.sqrt(1 / size)
    return basis


@mutant("dct_basis")
def dct_of_whole_places(size):
    """The places are whole numbers, of which the cosine makes float32; the factors make float64 of that"""
    n = _places(size).long()
    factors = torch.tensor([1 / size, *[2 / size] * (size - 1)], dtype=torch.float64).sqrt()
    return factors[:, None] * torch.cos(math.pi / (2 * size) * torch.outer(n, 2 * n + 1))


@alternative("dct_basis")
def dct_number_by_number(size):
    """Two loops and math.cos"""
    if size <= 0:
        raise ValueError("no places")
    rows = []
    for u in range(size):
        factor = math.sqrt((2 if u else 1) / size)
        rows.append([factor * math.cos(math.pi * u * (n + 0.5) / size) for n in range(size)])
    return torch.tensor(rows, dtype=torch.float64)


@alternative("dct_basis")
def dct_normalised_afterwards(size):
    """NumPy: cosines whose rows are divided by their lengths"""
    if size < 1:
        raise ValueError("no places")
    n = np.arange(size)
    waves = np.cos(np.pi * np.outer(n, n + 0.5) / size)
    return torch.from_numpy(waves / np.linalg.norm(waves, axis=1, keepdims=True))


# bucket_hash ---------------------------------------------------------------------------------------------------------


def _keys(shape, buckets):
    if buckets < 1:
        raise ValueError(f"{buckets} buckets")
    return torch.arange(math.prod(shape)).reshape(shape)


@mutant("bucket_hash")
def hash_with_the_sign_of_the_bucket(shape, buckets, seed=0):
    """One hash for both: with an even number of buckets, each has one sign"""
    hashes = mix(_keys(shape, buckets), 2 * seed)
    return hashes % buckets, 1.0 - 2.0 * (hashes % 2)


@mutant("bucket_hash")
def hash_without_signs(shape, buckets, seed=0):
    """All signs are 1"""
    keys = _keys(shape, buckets)
    return mix(keys, 2 * seed) % buckets, torch.ones(shape)


@mutant("bucket_hash")
def hash_of_the_seed_itself(shape, buckets, seed=0):
    """The seed for the buckets, and the next one for the signs: neighbouring layers share hashes"""
    keys = _keys(shape, buckets)
    return mix(keys, seed) % buckets, 1.0 - 2.0 * (mix(keys, seed + 1) % 2)


@mutant("bucket_hash")
def hash_of_row_plus_column(shape, buckets, seed=0):
    """i + j as the key: diagonals share a bucket"""
    keys = torch.zeros_like(_keys(shape, buckets))
    for axis, side in enumerate(shape):
        keys = keys + torch.arange(side).reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return mix(keys, 2 * seed) % buckets, 1.0 - 2.0 * (mix(keys, 2 * seed + 1) % 2)


@mutant("bucket_hash")
def hash_with_random_numbers(shape, buckets, seed=0):
    """A random generator in place of the hash"""
    _keys(shape, buckets)
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, buckets, shape, generator=generator),
            1.0 - 2.0 * torch.randint(0, 2, shape, generator=generator))


@mutant("bucket_hash")
def hash_with_turned_signs(shape, buckets, seed=0):
    """−1 for even hashes"""
    keys = _keys(shape, buckets)
    return mix(keys, 2 * seed) % buckets, 2.0 * (mix(keys, 2 * seed + 1) % 2) - 1.0


@mutant("bucket_hash")
def hash_from_one(shape, buckets, seed=0):
    """Buckets are counted from 1"""
    keys = _keys(shape, buckets)
    return mix(keys, 2 * seed) % buckets + 1, 1.0 - 2.0 * (mix(keys, 2 * seed + 1) % 2)


@mutant("bucket_hash")
def hash_with_whole_signs(shape, buckets, seed=0):
    """Signs are whole numbers, as the hashes are"""
    keys = _keys(shape, buckets)
    return mix(keys, 2 * seed) % buckets, 1 - 2 * (mix(keys, 2 * seed + 1) % 2)


@mutant("bucket_hash")
def hash_with_double_signs(shape, buckets, seed=0):
    """Signs are float64"""
    keys = _keys(shape, buckets)
    return mix(keys, 2 * seed) % buckets, 1 - 2 * (mix(keys, 2 * seed + 1) % 2).double()


@alternative("bucket_hash")
def hash_with_where(shape, buckets, seed=0):
    """torch.where and remainder, reshaped last"""
    if buckets <= 0:
        raise ValueError("no buckets")
    keys = torch.arange(math.prod(shape), dtype=torch.int64)
    odd = (mix(keys, 2 * seed + 1) & 1).bool()
    sign = torch.where(odd, torch.tensor(-1.0), torch.tensor(1.0))
    return torch.remainder(mix(keys, seed + seed), buckets).view(shape), sign.view(shape)


@alternative("bucket_hash")
def hash_number_by_number(shape, buckets, seed=0):
    """One key after the other"""
    if not buckets >= 1:
        raise ValueError("no buckets")
    index = torch.zeros(math.prod(shape), dtype=torch.int64)
    sign = torch.ones(math.prod(shape))
    for key in range(min(len(index), 300)):
        index[key] = int(mix(torch.tensor(key), 2 * seed)) % buckets
        if int(mix(torch.tensor([key]), 2 * seed + 1)[0]) % 2:
            sign[key] = -1
    rest = torch.arange(300, max(len(index), 300))
    index[300:] = mix(rest, 2 * seed).fmod(buckets)
    sign[300:] = (-1.0) ** (mix(rest, 2 * seed + 1) % 2)
    return index.reshape(shape), sign.reshape(shape)


@alternative("bucket_hash")
def hash_of_numpys_keys(shape, buckets, seed=0):
    """Keys by np.ravel_multi_index, signs as a power"""
    if buckets < 1:
        raise ValueError("no buckets")
    keys = np.ravel_multi_index(np.indices(shape), shape) if math.prod(shape) else np.zeros(shape, dtype=np.int64)
    keys = torch.from_numpy(keys)
    return mix(keys, 2 * seed) % buckets, torch.pow(-1.0, mix(keys, 2 * seed + 1) % 2)


# hashed_layer --------------------------------------------------------------------------------------------------------


def _tables(outputs, inputs, buckets, seed):
    keys = torch.arange(outputs * inputs).reshape(outputs, inputs)
    return mix(keys, 2 * seed) % buckets, 1.0 - 2.0 * (mix(keys, 2 * seed + 1) % 2)


class _Layer(nn.Module):
    """What most of the answers share: buckets, a bias, and a matrix made of them."""

    def __init__(self, inputs, outputs, buckets, seed, bound=None):
        super().__init__()
        bound = 1 / math.sqrt(inputs) if bound is None else bound
        self.weight = nn.Parameter((2 * torch.rand(buckets) - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.size = (outputs, inputs, buckets, seed)

    def matrix(self):
        index, sign = _tables(*self.size)
        return self.weight[index] * sign

    def forward(self, x):
        return functional.linear(x, self.matrix(), self.bias)


@mutant("hashed_layer")
def layer_with_tables(inputs, outputs, buckets, seed=0):
    """Buckets and signs are buffers, saved with the layer: larger than the matrix"""
    layer = _Layer(inputs, outputs, buckets, seed)
    index, sign = _tables(outputs, inputs, buckets, seed)
    layer.register_buffer("index", index)
    layer.register_buffer("sign", sign)
    return layer


@mutant("hashed_layer")
def layer_with_a_matrix(inputs, outputs, buckets, seed=0):
    """The matrix is made once, and trained as a whole"""
    layer = nn.Linear(inputs, outputs)
    index, sign = _tables(outputs, inputs, buckets, seed)
    with torch.no_grad():
        layer.weight.copy_((torch.randn(buckets) / math.sqrt(3 * inputs))[index] * sign)
        layer.bias.zero_()
    return layer


@mutant("hashed_layer")
def layer_without_signs(inputs, outputs, buckets, seed=0):
    """Every place of a bucket has the same sign"""

    class Unsigned(_Layer):
        def matrix(self):
            return self.weight[_tables(*self.size)[0]]

    return Unsigned(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_of_detached_buckets(inputs, outputs, buckets, seed=0):
    """The buckets are read through .data: nothing is learned"""

    class Detached(_Layer):
        def matrix(self):
            index, sign = _tables(*self.size)
            return self.weight.data[index] * sign

    return Detached(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_with_unsigned_gradient(inputs, outputs, buckets, seed=0):
    """A gradient of one's own that forgets the signs"""

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight, index, sign):
            ctx.save_for_backward(index)
            return weight[index] * sign

        @staticmethod
        def backward(ctx, slopes):
            (index,) = ctx.saved_tensors
            return torch.zeros(buckets).index_add(0, index.flatten(), slopes.flatten()), None, None

    class Own(_Layer):
        def matrix(self):
            return Gather.apply(self.weight, *_tables(*self.size))

    return Own(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_with_mean_gradient(inputs, outputs, buckets, seed=0):
    """The mean over a bucket in place of the sum"""

    class Averaged(_Layer):
        def matrix(self):
            index, sign = _tables(*self.size)
            members = torch.bincount(index.flatten(), minlength=buckets).clamp_min(1)
            virtual = self.weight[index] * sign
            scaled = virtual / members[index]
            return scaled + (virtual - scaled).detach()

    return Averaged(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_with_equal_rows(inputs, outputs, buckets, seed=0):
    """The keys are those of one row: all outputs are the same"""

    class Equal(_Layer):
        def matrix(self):
            index, sign = _tables(1, inputs, buckets, seed)
            return (self.weight[index] * sign).expand(outputs, inputs)

    return Equal(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_drawn_anew(inputs, outputs, buckets, seed=0):
    """Buckets are drawn at random when the layer is made: a stored file can't be read"""
    layer = _Layer(inputs, outputs, buckets, int(torch.randint(0, 1 << 30, ())))
    return layer


@mutant("hashed_layer")
def layer_that_starts_small(inputs, outputs, buckets, seed=0):
    """Starts at a size that fits the buckets' number, not the inputs'"""
    return _Layer(inputs, outputs, buckets, seed, bound=1 / math.sqrt(buckets))


class _Tabled(_Layer):
    """A layer of given buckets and signs."""

    def __init__(self, inputs, outputs, buckets, index, sign):
        super().__init__(inputs, outputs, buckets, 0)
        self.tables = index, sign

    def matrix(self):
        return self.weight[self.tables[0]] * self.tables[1]


@mutant("hashed_layer")
def layer_with_one_hash(inputs, outputs, buckets, seed=0):
    """The sign comes from the bucket's own hash: with an even number of buckets, each has one sign"""
    hashes = mix(torch.arange(outputs * inputs).reshape(outputs, inputs), 2 * seed)
    return _Tabled(inputs, outputs, buckets, hashes % buckets, 1.0 - 2.0 * (hashes % 2))


@mutant("hashed_layer")
def layer_of_random_tables(inputs, outputs, buckets, seed=0):
    """A random generator in place of the hash: no reader of the file knows it"""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(0, buckets, (outputs, inputs), generator=generator)
    return _Tabled(inputs, outputs, buckets, index, 1.0 - 2.0 * torch.randint(0, 2, index.shape, generator=generator))


@mutant("hashed_layer")
def layer_of_the_seed_itself(inputs, outputs, buckets, seed=0):
    """The seed for the buckets, and the next one for the signs: neighbouring layers share hashes"""
    keys = torch.arange(outputs * inputs).reshape(outputs, inputs)
    return _Tabled(inputs, outputs, buckets, mix(keys, seed) % buckets, 1.0 - 2.0 * (mix(keys, seed + 1) % 2))


@mutant("hashed_layer")
def layer_with_turned_signs(inputs, outputs, buckets, seed=0):
    """−1 for even hashes"""
    index, sign = _tables(outputs, inputs, buckets, seed)
    return _Tabled(inputs, outputs, buckets, index, -sign)


@mutant("hashed_layer")
def layer_with_keys_by_column(inputs, outputs, buckets, seed=0):
    """The matrix is made inputs × outputs, and transposed: keys go down its columns"""
    index, sign = _tables(inputs, outputs, buckets, seed)
    return _Tabled(inputs, outputs, buckets, index.T, sign.T)


@mutant("hashed_layer")
def layer_that_squeezes(inputs, outputs, buckets, seed=0):
    """A single image loses its axis"""

    class Squeezing(_Layer):
        def forward(self, x):
            return super().forward(x).squeeze()

    return Squeezing(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_that_starts_by_its_seed(inputs, outputs, buckets, seed=0):
    """The seed of the hash is torch's, too: everything that is drawn afterwards is drawn from it"""
    torch.manual_seed(seed)
    return _Layer(inputs, outputs, buckets, seed)


@mutant("hashed_layer")
def layer_that_keeps_its_matrix(inputs, outputs, buckets, seed=0):
    """The matrix is made once, in __init__: the buckets are trained, and it doesn't follow"""
    layer = _Layer(inputs, outputs, buckets, seed)
    kept = layer.matrix().detach()
    layer.matrix = lambda: kept
    return layer


@mutant("hashed_layer")
def layer_with_an_activation(inputs, outputs, buckets, seed=0):
    """A ReLU behind the layer"""

    class Activated(_Layer):
        def forward(self, x):
            return super().forward(x).relu()

    return Activated(inputs, outputs, buckets, seed)


@alternative("hashed_layer")
def layer_by_index_select(inputs, outputs, buckets, seed=0):
    """A flat selection, a table that is kept but is no part of the state, weights of nn.init"""

    class Selecting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(buckets))
            self.bias = nn.Parameter(torch.zeros(outputs))
            nn.init.normal_(self.weight, std=(3 * inputs) ** -0.5)
            index, sign = _tables(outputs, inputs, buckets, seed)
            self.tables = index.flatten(), sign.flatten()

        def forward(self, x):
            index, sign = self.tables
            virtual = torch.index_select(self.weight, 0, index) * sign
            return x @ virtual.view(outputs, inputs).T + self.bias

    return Selecting()


@alternative("hashed_layer")
def layer_row_by_row(inputs, outputs, buckets, seed=0):
    """One row of the matrix at a time: never more than a row in memory"""

    class Rows(_Layer):
        def forward(self, x):
            columns = []
            for i in range(outputs):
                keys = torch.arange(i * inputs, (i + 1) * inputs)
                sign = torch.where(mix(keys, 2 * seed + 1) % 2 == 0, 1.0, -1.0)
                columns.append(x @ (self.weight[mix(keys, 2 * seed) % buckets] * sign))
            return torch.stack(columns, 1) + self.bias

    return Rows(inputs, outputs, buckets, seed)


# fresh_filter --------------------------------------------------------------------------------------------------------


def _coefficients(values, shape, seed, signs=True, band=None):
    side = shape[-1]
    if len(values) != 2 * side - 1:
        raise ValueError(f"{len(values)} bands")
    keys = torch.arange(math.prod(shape)).reshape(shape)
    hashes, sign = mix(keys, 2 * seed), 1 - 2 * (mix(keys, 2 * seed + 1) % 2)
    rows = []
    for u in range(side):
        for v in range(side):
            bucket = values[u + v if band is None else band(u, v)]
            here = bucket[hashes[..., u, v] % len(bucket)]
            rows.append(here * sign[..., u, v] if signs else here)
    return torch.stack(rows, -1).reshape(shape)


@mutant("fresh_filter")
def fresh_without_inverse(values, shape, basis, seed=0):
    """The coefficients themselves"""
    return _coefficients(values, shape, seed)


@mutant("fresh_filter")
def fresh_with_the_forward_dct(values, shape, basis, seed=0):
    """The DCT once more, in place of its inverse"""
    return basis @ _coefficients(values, shape, seed) @ basis.T


@mutant("fresh_filter")
def fresh_in_one_direction(values, shape, basis, seed=0):
    """Columns are transformed, rows are not"""
    return basis.T @ _coefficients(values, shape, seed)


@mutant("fresh_filter")
def fresh_without_signs(values, shape, basis, seed=0):
    """No signs"""
    return basis.T @ _coefficients(values, shape, seed, signs=False) @ basis


@mutant("fresh_filter")
def fresh_by_the_larger_frequency(values, shape, basis, seed=0):
    """The band is the larger of the two frequencies"""
    return basis.T @ _coefficients(values, shape, seed, band=max) @ basis


@mutant("fresh_filter")
def fresh_of_one_pool(values, shape, basis, seed=0):
    """All bands share one pool of buckets, as in HashedNets"""
    if len(values) != 2 * shape[-1] - 1:
        raise ValueError("bands")
    pool = torch.cat(list(values))
    keys = torch.arange(math.prod(shape)).reshape(shape)
    coefficients = pool[mix(keys, 2 * seed) % len(pool)] * (1 - 2 * (mix(keys, 2 * seed + 1) % 2))
    return basis.T @ coefficients @ basis


@mutant("fresh_filter")
def fresh_of_single_filters(values, shape, basis, seed=0):
    """The keys of one filter for all: every kernel is the same"""
    one = _coefficients(values, (1, 1, *shape[2:]), seed)
    return (basis.T @ one @ basis).expand(shape)


@mutant("fresh_filter")
def fresh_without_gradients(values, shape, basis, seed=0):
    """The coefficients are copied out as plain numbers"""
    plain = [value.detach() for value in values]
    return basis.T @ _coefficients(plain, shape, seed) @ basis


@mutant("fresh_filter")
def fresh_of_any_bands(values, shape, basis, seed=0):
    """Missing bands are zero, bands too many are left out"""
    side = shape[-1]
    zero = [torch.zeros(1, dtype=basis.dtype)] * (2 * side - 1)
    return basis.T @ _coefficients([*values, *zero][: 2 * side - 1], shape, seed) @ basis


@mutant("fresh_filter")
def fresh_in_float64_only(values, shape, basis, seed=0):
    """The coefficients are filled into a tensor of float64, whatever the values are"""
    coefficients = torch.zeros(shape, dtype=torch.float64)
    coefficients[:] = _coefficients(values, shape, seed)
    return basis.T @ coefficients @ basis


@mutant("fresh_filter")
def fresh_in_float32(values, shape, basis, seed=0):
    """The kernels are made float32"""
    return (basis.T @ _coefficients(values, shape, seed) @ basis).float()


@alternative("fresh_filter")
def fresh_by_einsum(values, shape, basis, seed=0):
    """One long vector of all buckets with offsets, and an einsum"""
    side = shape[3]
    if len(values) != side + side - 1:
        raise ValueError("bands")
    sizes = torch.tensor([len(value) for value in values])
    band = torch.arange(side).view(-1, 1) + torch.arange(side).view(1, -1)
    keys = torch.arange(math.prod(shape)).view(shape)
    place = mix(keys, 2 * seed) % sizes[band] + (sizes.cumsum(0) - sizes)[band]
    sign = torch.where(mix(keys, 2 * seed + 1) % 2 == 1, -1, 1)
    return torch.einsum("pcuv,ux,vy->pcxy", torch.cat(list(values))[place] * sign, basis, basis)


@alternative("fresh_filter")
def fresh_as_a_sum_of_waves(values, shape, basis, seed=0):
    """Frequency by frequency: a coefficient times its wave"""
    outputs, inputs, side, _ = shape
    if len(values) + 1 != 2 * side:
        raise ValueError("bands")
    kernels = torch.zeros(shape, dtype=basis.dtype)
    for u in range(side):
        for v in range(side):
            filters = torch.arange(outputs * inputs).reshape(outputs, inputs)
            keys = filters * side * side + u * side + v
            bucket = values[u + v]
            numbers = bucket[mix(keys, 2 * seed) % len(bucket)] * (1.0 - 2.0 * (mix(keys, 2 * seed + 1) % 2))
            kernels = kernels + numbers.to(basis.dtype)[:, :, None, None] * torch.outer(basis[u], basis[v])
    return kernels


@alternative("fresh_filter")
def fresh_into_zeros(values, shape, basis, seed=0):
    """Coefficients are filled into zeros of the values' dtype, place by place of a kernel"""
    side = shape[-1]
    if len(values) != 2 * side - 1:
        raise ValueError("bands")
    keys = torch.arange(math.prod(shape)).view(shape)
    index, odd = mix(keys, 2 * seed), mix(keys, 2 * seed + 1) % 2
    coefficients = torch.zeros(shape, dtype=values[0].dtype)
    for u in range(side):
        for v in range(side):
            band = values[u + v]
            coefficients[..., u, v] = (1 - 2 * odd[..., u, v]) * band[index[..., u, v] % len(band)]
    return torch.matmul(basis.mT, torch.matmul(coefficients, basis))


# circulant_product ---------------------------------------------------------------------------------------------------


def _blocks(vectors, inputs):
    _, columns, size = vectors.shape
    if inputs.shape[1] != columns * size:
        raise ValueError(f"{inputs.shape[1]} columns")
    return inputs.reshape(len(inputs), columns, size)


@mutant("circulant_product")
def circulant_by_first_rows(vectors, inputs):
    """The vectors are taken for first rows: a conjugate"""
    blocks = torch.fft.rfft(_blocks(vectors, inputs))
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors).conj(), blocks)
    return torch.fft.irfft(sums, n=vectors.shape[2]).flatten(1)


@mutant("circulant_product")
def circulant_for_even_blocks(vectors, inputs):
    """irfft without n: an odd block loses a place"""
    blocks = torch.fft.rfft(_blocks(vectors, inputs))
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors), blocks)
    if vectors.shape[2] == 1:
        return sums.real.flatten(1)
    return torch.fft.irfft(sums).flatten(1)


@mutant("circulant_product")
def circulant_without_sum(vectors, inputs):
    """Only the first block of the inputs counts"""
    blocks = torch.fft.rfft(_blocks(vectors, inputs))
    products = torch.fft.rfft(vectors)[None, :, 0] * blocks[:, :1]
    return torch.fft.irfft(products, n=vectors.shape[2]).flatten(1)


@mutant("circulant_product")
def circulant_with_strided_blocks(vectors, inputs):
    """A block's numbers are taken from all over the row"""
    _blocks(vectors, inputs)
    _, columns, size = vectors.shape
    blocks = torch.fft.rfft(inputs.reshape(len(inputs), size, columns).transpose(1, 2))
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors), blocks)
    return torch.fft.irfft(sums, n=size).flatten(1)


@mutant("circulant_product")
def circulant_along_the_wrong_axis(vectors, inputs):
    """The FFT runs over the blocks, not within them"""
    blocks = torch.fft.fft(_blocks(vectors, inputs), dim=1)
    sums = torch.einsum("pqf,nqf->npf", torch.fft.fft(vectors, dim=1), blocks)
    return torch.fft.ifft(sums, dim=1).real.flatten(1)


@mutant("circulant_product")
def circulant_left_complex(vectors, inputs):
    """fft and ifft, and the product stays complex"""
    blocks = torch.fft.fft(_blocks(vectors, inputs))
    return torch.fft.ifft(torch.einsum("pqf,nqf->npf", torch.fft.fft(vectors), blocks)).flatten(1)


@mutant("circulant_product")
def circulant_in_numpy(vectors, inputs):
    """Right numbers through NumPy, without gradients"""
    blocks = np.fft.rfft(_blocks(vectors, inputs).detach().numpy())
    sums = np.einsum("pqf,nqf->npf", np.fft.rfft(vectors.detach().numpy()), blocks)
    product = np.fft.irfft(sums, n=vectors.shape[2]).reshape(len(inputs), -1)
    return torch.from_numpy(product.copy()).to(vectors.dtype)


@mutant("circulant_product")
def circulant_of_any_inputs(vectors, inputs):
    """Inputs that don't fit are cut off or filled up"""
    _, columns, size = vectors.shape
    inputs = functional.pad(inputs, (0, columns * size - inputs.shape[1]))
    blocks = torch.fft.rfft(inputs.reshape(len(inputs), columns, size))
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors), blocks)
    return torch.fft.irfft(sums, n=size).flatten(1)


@mutant("circulant_product")
def circulant_of_whole_blocks(vectors, inputs):
    """Any whole number of blocks is taken: the sum is broadcast, or ends where the inputs do"""
    columns, size = vectors.shape[1:]
    if inputs.shape[1] % size:
        raise ValueError(f"{inputs.shape[1]} columns")
    blocks = torch.fft.rfft(inputs.reshape(len(inputs), -1, size))
    number = min(columns, blocks.shape[1])
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors)[:, :number], blocks[:, :number])
    return torch.fft.irfft(sums, n=size).flatten(1)


@mutant("circulant_product")
def circulant_that_broadcasts(vectors, inputs):
    """A single block of inputs goes to all columns of blocks; other numbers of blocks are refused"""
    columns, size = vectors.shape[1:]
    if inputs.shape[1] not in (size, columns * size):
        raise ValueError(f"{inputs.shape[1]} columns")
    blocks = torch.fft.rfft(inputs.reshape(len(inputs), 1, -1, size))
    return torch.fft.irfft((torch.fft.rfft(vectors) * blocks).sum(2), n=size).flatten(1)


@alternative("circulant_product")
def circulant_by_a_dense_matrix(vectors, inputs):
    """Makes the matrix, by indexing with (a − b) mod k"""
    rows, columns, size = vectors.shape
    _blocks(vectors, inputs)
    places = (torch.arange(size)[:, None] - torch.arange(size)[None, :]) % size
    dense = vectors[:, :, places].permute(0, 2, 1, 3).reshape(rows * size, columns * size)
    return inputs @ dense.T


@alternative("circulant_product")
def circulant_by_turning(vectors, inputs):
    """No FFT: every output is a sum over turned vectors"""
    rows, _, size = vectors.shape
    blocks = _blocks(vectors, inputs)
    total = torch.zeros(len(inputs), rows, size, dtype=inputs.dtype)
    for b in range(size):
        total = total + torch.einsum("pqa,nq->npa", torch.roll(vectors, b, dims=2), blocks[:, :, b])
    return total.reshape(len(inputs), rows * size)


@alternative("circulant_product")
def circulant_with_full_fft(vectors, inputs):
    """fft and ifft, the real part, block by block"""
    rows, columns, _ = vectors.shape
    spectra = torch.fft.fft(_blocks(vectors, inputs), dim=-1)
    outputs = [sum(torch.fft.ifft(torch.fft.fft(vectors[i, j]) * spectra[:, j]).real for j in range(columns))
               for i in range(rows)]
    return torch.cat(outputs, dim=1)


# circulant_cell ------------------------------------------------------------------------------------------------------


def _sums(inputs, hidden, input_vectors, hidden_vectors, bias):
    total = bias
    for vectors, numbers in ((input_vectors, inputs), (hidden_vectors, hidden)):
        size = vectors.shape[2]
        spectra = torch.fft.rfft(numbers.reshape(len(numbers), -1, size))
        products = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors), spectra)
        total = total + torch.fft.irfft(products, n=size).flatten(1)
    return total


@mutant("circulant_cell")
def cell_with_other_gates(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """The gates in the order f, i, g, o"""
    f, i, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    if peepholes is not None:
        i, f = i + peepholes[0] * memory, f + peepholes[1] * memory
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    if peepholes is not None:
        o = o + peepholes[2] * memory
    return torch.sigmoid(o) * torch.tanh(memory), memory


@mutant("circulant_cell")
def cell_that_sees_old_memory(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """The gate o sees the old memory, too"""
    i, f, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    if peepholes is not None:
        i, f, o = (gate + peephole * memory for gate, peephole in zip((i, f, o), peepholes, strict=True))
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


@mutant("circulant_cell")
def cell_without_peepholes(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """The peepholes are left out"""
    i, f, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


@mutant("circulant_cell")
def cell_without_tanh(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """The memory comes out without tanh"""
    i, f, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    if peepholes is not None:
        i, f = i + peepholes[0] * memory, f + peepholes[1] * memory
    memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    if peepholes is not None:
        o = o + peepholes[2] * memory
    return torch.sigmoid(o) * memory, memory


@mutant("circulant_cell")
def cell_in_float64(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """All is made float64, and stays it"""
    arguments = (part.double() for part in (inputs, hidden, input_vectors, hidden_vectors, bias))
    i, f, g, o = _sums(*arguments).chunk(4, 1)
    p = torch.zeros(3, memory.shape[1]) if peepholes is None else peepholes
    after = torch.sigmoid(f + p[1] * memory) * memory + torch.sigmoid(i + p[0] * memory) * torch.tanh(g)
    return torch.sigmoid(o + p[2] * after) * torch.tanh(after), after


@mutant("circulant_cell")
def cell_that_lets_old_memory_out(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """What comes out is the memory before the step"""
    i, f, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    p = torch.zeros(3, memory.shape[1], dtype=memory.dtype) if peepholes is None else peepholes
    after = torch.sigmoid(f + p[1] * memory) * memory + torch.sigmoid(i + p[0] * memory) * torch.tanh(g)
    return torch.sigmoid(o + p[2] * after) * torch.tanh(memory), after


@mutant("circulant_cell")
def cell_with_a_relu(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """The memory comes out through a ReLU"""
    i, f, g, o = _sums(inputs, hidden, input_vectors, hidden_vectors, bias).chunk(4, 1)
    p = torch.zeros(3, memory.shape[1], dtype=memory.dtype) if peepholes is None else peepholes
    after = torch.sigmoid(f + p[1] * memory) * memory + torch.sigmoid(i + p[0] * memory) * torch.tanh(g)
    return torch.sigmoid(o + p[2] * after) * torch.relu(after), after


@alternative("circulant_cell")
def cell_by_torch(inputs, hidden, memory, input_vectors, hidden_vectors, bias, peepholes=None):
    """Dense matrices, and gate by gate"""

    def dense(vectors):
        size = vectors.shape[2]
        places = (torch.arange(size)[:, None] - torch.arange(size)) % size
        return vectors[:, :, places].permute(0, 2, 1, 3).flatten(0, 1).flatten(1)

    sums = functional.linear(inputs, dense(input_vectors), bias) + functional.linear(hidden, dense(hidden_vectors))
    width = hidden.shape[1]
    i, f, g, o = (sums[:, number * width : (number + 1) * width] for number in range(4))
    seen = torch.zeros(3, width, dtype=hidden.dtype) if peepholes is None else peepholes
    after = (f + seen[1] * memory).sigmoid() * memory + (i + seen[0] * memory).sigmoid() * g.tanh()
    return (o + seen[2] * after).sigmoid() * after.tanh(), after
