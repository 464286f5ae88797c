"""Compressed filters: weights that are few numbers and a rule, in the domain where few are enough.

Notation of the unit: a tensor of weights V is *virtual*, computed from stored numbers w whenever it is needed. A hash
takes each place of V to one of B buckets and to a sign; a DCT takes filters to frequencies; a circulant matrix is its
first column, turned by one place for each further column.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.hashing import mix


def dct_basis(size: int) -> Tensor:
    """The cosines that a signal is written with: the orthonormal DCT-II as a matrix.

    Row u holds half a wave of frequency u, taken in the middle of each of N = ``size`` places:
    ``T[u, n] = s_u · cos(π (2n + 1) u / (2N))`` with ``s_0 = √(1/N)`` and ``s_u = √(2/N)`` for the others. The rows
    are orthonormal, so ``T @ signal`` are its coefficients, ``T.T @ coefficients`` is the signal again, and both have
    the same sum of squares (Parseval). Those of an image X are ``T @ X @ T.T`` (Ahmed, Natarajan and Rao 1974).

    Parameters
    ----------
    size : int
        N, at least 1.

    Returns
    -------
    Tensor
        T, float64 and computed in it, shape ``(size, size)``: a frequency a row, a place a column.

    Raises
    ------
    ValueError
        If size is below 1.

    Examples
    --------
    >>> dct_basis(2)
    tensor([[ 0.7071,  0.7071],
            [ 0.7071, -0.7071]], dtype=torch.float64)
    >>> constant = torch.ones(4, dtype=torch.float64)  # it has no frequency but 0
    >>> [round(abs(number), 6) for number in (dct_basis(4) @ constant).tolist()]
    [2.0, 0.0, 0.0, 0.0]
    """
    if size < 1:
        raise ValueError(f"size={size}: must be at least 1.")
    places = torch.arange(size, dtype=torch.float64)
    basis = math.sqrt(2 / size) * torch.cos(math.pi / (2 * size) * torch.outer(places, 2 * places + 1))
    basis[0] = math.sqrt(1 / size)
    return basis


def bucket_hash(shape: tuple[int, ...], buckets: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """For every place of a tensor a bucket and a sign, computed from its position alone.

    The key of a place is its position in the tensor read row by row, ``i·n + j`` in a matrix with n columns. With the
    toolkit's ``mix``, the bucket is ``mix(key, 2·seed)`` modulo the number of buckets. The sign comes from a hash of
    its own: −1 where ``mix(key, 2·seed + 1)`` is odd, else 1 (HashedNets, Chen et al. 2015, arXiv 1504.04788,
    section 4).

    Parameters
    ----------
    shape : tuple of int
        Of the virtual tensor, with at least one side; empty sides are allowed.
    buckets : int
        B, at least 1.
    seed : int
        At least 0; another seed is another choice of buckets and signs.

    Returns
    -------
    index : Tensor
        int64, that shape, each from 0 to B − 1.
    sign : Tensor
        float32, that shape, each 1 or −1.

    Raises
    ------
    ValueError
        If buckets is below 1.

    Examples
    --------
    >>> index, sign = bucket_hash((2, 3), buckets=4)
    >>> index.tolist(), sign.tolist()
    ([[0, 3, 2], [3, 1, 1]], [[-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
    """
    if buckets < 1:
        raise ValueError(f"buckets={buckets}: must be at least 1.")
    keys = torch.arange(math.prod(shape)).reshape(shape)
    index = mix(keys, 2 * seed) % buckets
    sign = 1.0 - 2.0 * (mix(keys, 2 * seed + 1) % 2)
    return index, sign


def hashed_layer(inputs: int, outputs: int, buckets: int, seed: int = 0) -> nn.Module:
    """A linear layer that owns its buckets and a bias, and computes its matrix whenever it is used.

    ``y = V x + b`` with ``V[i, j] = ξ(i, j) · w[h(i, j)]``, where h takes a place to its bucket and ξ to its sign:
    those of ``bucket_hash`` for the shape ``(outputs, inputs)`` and this seed. The gradient of a bucket is then the
    signed sum over its places, ``∂L/∂w_r = Σ ξ(i, j)·∂L/∂V[i, j]`` over all (i, j) with h(i, j) = r (HashedNets,
    section 4); torch finds that by itself if V is computed from w by indexing.

    Parameters
    ----------
    inputs, outputs : int
        Sides of the virtual matrix, at least 1.
    buckets : int
        B, at least 1.
    seed : int
        Of the hash alone, at least 0.

    Returns
    -------
    torch.nn.Module
        Its parameters are ``weight``, shape ``(buckets,)``, and ``bias``, shape ``(outputs,)``, float32; it has no
        others, and no buffers. It maps ``(N, inputs)`` to ``(N, outputs)``, N at least 1. The weights start at random,
        with mean 0 and a variance of ``1 / (3·inputs)`` as those of ``nn.Linear``, and like those are drawn from
        torch's global random state: two layers of one seed start differently. The bias starts at 0.

    Examples
    --------
    >>> layer = hashed_layer(784, 300, buckets=29_400)
    >>> sum(parameter.numel() for parameter in layer.parameters()), len(list(layer.buffers()))
    (29700, 0)
    >>> layer(torch.zeros(2, 784)).shape
    torch.Size([2, 300])
    """

    class Hashed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            bound = 1 / math.sqrt(inputs)  # uniform from −a to a has a variance of a²/3
            self.weight = nn.Parameter(torch.empty(buckets).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.zeros(outputs))

        def forward(self, x: Tensor) -> Tensor:
            keys = torch.arange(outputs * inputs).reshape(outputs, inputs)
            virtual = self.weight[mix(keys, 2 * seed) % buckets]
            virtual = torch.where(mix(keys, 2 * seed + 1) % 2 == 1, -virtual, virtual)
            return functional.linear(x, virtual, self.bias)

    return Hashed()


def fresh_filter(values: list[Tensor], shape: tuple[int, int, int, int], basis: Tensor, seed: int = 0) -> Tensor:
    """Kernels whose frequencies are hashed, band by band.

    The coefficient of the frequencies (u, v) of a K×K kernel belongs to the band u + v, from 0 to 2K − 2. Each band has
    buckets of its own: the coefficient is one of ``values[u + v]``, times a sign. Bucket and sign come from the key of
    the place, its position in a tensor of the given shape read row by row: with B buckets in its band,
    ``mix(key, 2·seed)`` modulo B, and −1 where ``mix(key, 2·seed + 1)`` is odd. Then an inverse DCT: the kernel of an
    output and an input is ``basisᵀ · F · basis`` with its K×K coefficients F (FreshNets, Chen et al. 2016, arXiv
    1506.04449).

    Parameters
    ----------
    values : list of Tensor
        2K − 1 of shape ``(B,)``; B is at least 1 and may differ from band to band. All are float32 or all float64.
    shape : tuple of int
        ``(P, C, K, K)``: outputs, inputs, and the square of the kernel.
    basis : Tensor
        T as of ``dct_basis(K)``, shape ``(K, K)``, in the dtype of the values.
    seed : int
        Of the hash, at least 0.

    Returns
    -------
    Tensor
        Kernels as ``nn.Conv2d`` keeps them, of the given shape, in the dtype of the values, differentiable with
        respect to them.

    Raises
    ------
    ValueError
        If the number of bands is not 2K − 1.

    Examples
    --------
    >>> constant = [torch.tensor([4.0]), *(torch.zeros(3) for _ in range(6))]
    >>> basis = torch.full((4, 4), 0.5)  # whatever its other rows are: they meet zeros
    >>> fresh_filter(constant, (1, 1, 4, 4), basis, seed=1)[0, 0]
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.],
            [1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """
    side = shape[-1]
    if len(values) != 2 * side - 1:
        raise ValueError(f"{len(values)} bands: a kernel of {side}×{side} has {2 * side - 1}.")
    keys = torch.arange(math.prod(shape)).reshape(shape)
    hashes, odd = mix(keys, 2 * seed), mix(keys, 2 * seed + 1) % 2 == 1
    band = torch.arange(side)[:, None] + torch.arange(side)
    coefficients = basis.new_zeros(shape)
    for number, bucket in enumerate(values):
        here = bucket[hashes % len(bucket)]
        coefficients = torch.where(band == number, torch.where(odd, -here, here), coefficients)
    return basis.T @ coefficients @ basis


def circulant_product(vectors: Tensor, inputs: Tensor) -> Tensor:
    """Multiply by a block-circulant matrix with FFTs, without ever making the matrix.

    W has p × q blocks of k × k. Block (i, j) is circulant, and ``w = vectors[i, j]`` is its *first column*: each
    further column is the one before, turned down by one, so ``W_ij[a, b] = w[(a − b) mod k]``. Its product with x_j is
    their circular convolution, and ``y_i = IFFT(Σ_j FFT(w_ij) ∘ FFT(x_j))``: one inverse FFT for each block of outputs
    (C-LSTM, Wang et al. 2018, arXiv 1803.06305).

    Parameters
    ----------
    vectors : Tensor
        Shape ``(p, q, k)``, float32 or float64, each at least 1; k may be odd.
    inputs : Tensor
        x, shape ``(N, q·k)``, N at least 1, same dtype: q blocks of k numbers, one after the other.

    Returns
    -------
    Tensor
        ``x Wᵀ``, shape ``(N, p·k)``, same dtype; differentiable with respect to both.

    Raises
    ------
    ValueError
        If the inputs don't have q·k columns.

    Examples
    --------
    >>> vectors = torch.tensor([[[1.0, 2.0, 3.0]]])  # the matrix [[1, 3, 2], [2, 1, 3], [3, 2, 1]]
    >>> circulant_product(vectors, torch.eye(3)).round().tolist()  # its columns, one after the other
    [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.0]]
    """
    rows, columns, size = vectors.shape
    if inputs.shape[1] != columns * size:
        raise ValueError(f"inputs have {inputs.shape[1]} columns: must be {columns} blocks of {size}.")
    blocks = torch.fft.rfft(inputs.reshape(len(inputs), columns, size))
    sums = torch.einsum("pqf,nqf->npf", torch.fft.rfft(vectors), blocks)
    return torch.fft.irfft(sums, n=size).reshape(len(inputs), rows * size)


def circulant_cell(inputs: Tensor, hidden: Tensor, memory: Tensor, input_vectors: Tensor, hidden_vectors: Tensor,
                   bias: Tensor, peepholes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM whose matrices are block-circulant: the cell of C-LSTM.

    With block-circulant W and U the four gates are ``(i, f, g, o) = W x + U h + b``, in that order, each of p·k numbers
    (torch's order). Then ``c' = σ(f) ∘ c + σ(i) ∘ tanh(g)`` and ``h' = σ(o) ∘ tanh(c')``. Peepholes let gates see the
    memory: with vectors ``p_i, p_f, p_o``, the gates i and f get ``p_i ∘ c`` and ``p_f ∘ c`` added before σ, and o gets
    ``p_o ∘ c'``, the *new* memory (Wang et al. 2018, arXiv 1803.06305; the projection that follows there is left out
    here).

    Parameters
    ----------
    inputs : Tensor
        x, shape ``(N, q·k)``, float32 or float64; all others have the same dtype.
    hidden, memory : Tensor
        h and c, shape ``(N, p·k)``.
    input_vectors : Tensor
        First columns of W's blocks, shape ``(4·p, q, k)``: the p rows of blocks of i, then those of f, g and o.
    hidden_vectors : Tensor
        Those of U, shape ``(4·p, p, k)``.
    bias : Tensor
        Shape ``(4·p·k,)``.
    peepholes : Tensor, optional
        ``p_i, p_f, p_o``, shape ``(3, p·k)``.

    Returns
    -------
    hidden : Tensor
        h', shape ``(N, p·k)``, in the dtype of the inputs.
    memory : Tensor
        c', the same shape and dtype.

    Examples
    --------
    >>> zeros = torch.zeros(1, 2)
    >>> bias = torch.tensor([9.0, 9, 0, 0, 9, 9, 9, 9])  # let in, forget, tanh(9), let out
    >>> h, c = circulant_cell(zeros, zeros, zeros, torch.zeros(4, 1, 2), torch.zeros(4, 1, 2), bias)
    >>> [round(number, 2) for number in (*h[0].tolist(), *c[0].tolist())]
    [0.76, 0.76, 1.0, 1.0]
    """
    size = hidden_vectors.shape[2]
    vectors = torch.fft.rfft(torch.cat([input_vectors, hidden_vectors], dim=1))  # W and U side by side: one product
    blocks = torch.fft.rfft(torch.cat([inputs, hidden], dim=1).reshape(len(inputs), -1, size))
    sums = torch.fft.irfft(torch.einsum("pqf,nqf->npf", vectors, blocks), n=size)
    enter, keep, news, leave = (sums.flatten(1) + bias).chunk(4, dim=1)
    if peepholes is not None:
        enter, keep = enter + peepholes[0] * memory, keep + peepholes[1] * memory
    memory = torch.sigmoid(keep) * memory + torch.sigmoid(enter) * torch.tanh(news)
    if peepholes is not None:
        leave = leave + peepholes[2] * memory
    return torch.sigmoid(leave) * torch.tanh(memory), memory
