"""Low rank: factor weight matrices and convolution kernels into smaller ones, and know when that pays.

Notation of the unit: a weight matrix ``W`` is m×n, with m outputs and n inputs; ``W = U Σ Vᵀ`` with singular values
σ₁ ≥ σ₂ ≥ … ≥ 0; k is the rank that is kept.
"""

import torch
from torch import Tensor, nn


def compression_rate(m: int, n: int, k: int, absorbed: bool = False) -> float:
    """How many times fewer numbers the rank-k factors of an m×n matrix hold than the matrix itself.

    A truncated singular value decomposition keeps U (m×k), the k singular values and Vᵀ (k×n). The singular values
    can also be multiplied into U or Vᵀ beforehand ("absorbed"); then only two matrices are stored.

    Parameters
    ----------
    m, n : int
        Rows and columns of the matrix, each at least 1.
    k : int
        Rank that is kept, 1 to ``min(m, n)``.
    absorbed : bool
        False: the k singular values are stored on their own. True: they are absorbed in one of the factors.

    Returns
    -------
    float
        Numbers in the matrix divided by numbers stored; above 1 means smaller.

    Raises
    ------
    ValueError
        If k is below 1 or above ``min(m, n)``.

    Examples
    --------
    >>> round(compression_rate(784, 300, 50), 3)
    4.335
    >>> compression_rate(300, 100, 75, absorbed=True)
    1.0
    """
    if not 1 <= k <= min(m, n):
        raise ValueError(f"k={k}: a {m}×{n} matrix has ranks 1 to {min(m, n)}.")
    stored = k * (m + n) if absorbed else k * (m + n + 1)
    return m * n / stored


def break_even_rank(m: int, n: int, absorbed: bool = False) -> int:
    """Smallest rank at which factoring an m×n matrix saves nothing; every smaller rank saves.

    Parameters
    ----------
    m, n : int
        Rows and columns of the matrix, each at least 1.
    absorbed : bool
        Whether the singular values are absorbed in one of the factors, as in ``compression_rate``.

    Returns
    -------
    int
        Smallest k whose factors hold at least as many numbers as the matrix: the rate is at most 1 there, and above
        1 at every smaller k.

    Examples
    --------
    Ranks up to 216 make a 784×300 matrix smaller, ranks from 217 on do not.

    >>> break_even_rank(784, 300)
    217
    >>> break_even_rank(300, 100, absorbed=True)
    75
    """
    per_rank = m + n if absorbed else m + n + 1
    return -(-m * n // per_rank)


def truncate(weight: Tensor, rank: int) -> Tensor:
    """The best approximation of a matrix by one of a given rank, multiplied out.

    Keeps the ``rank`` largest singular values: ``U_k Σ_k V_kᵀ``. By Eckart and Young (1936) no other matrix of that
    rank is closer in the Frobenius norm.

    Parameters
    ----------
    weight : Tensor
        Shape ``(m, n)``, float32 or float64; left as it is.
    rank : int
        1 to ``min(m, n)``.

    Returns
    -------
    Tensor
        Shape ``(m, n)``, same dtype.

    Raises
    ------
    ValueError
        If rank is below 1 or above ``min(m, n)``.

    Examples
    --------
    >>> truncate(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1)
    tensor([[3., 0.],
            [0., 0.]])
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank={rank}: a matrix of shape {tuple(weight.shape)} has ranks 1 to {min(weight.shape)}.")
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return (u[:, :rank] * sigma[:rank]) @ vt[:rank]


def rank_for_energy(singular_values: Tensor, energy: float) -> int:
    """Smallest rank that keeps a share of the energy, the sum of the squared singular values.

    Parameters
    ----------
    singular_values : Tensor
        Shape ``(r,)``, largest first, none negative, at least one above 0.
    energy : float
        Share to keep, above 0 and at most 1.

    Returns
    -------
    int
        Smallest k with ``σ₁² + … + σ_k² ≥ energy · (σ₁² + … + σ_r²)``. For an energy of 1, that is the number of
        singular values above 0.

    Raises
    ------
    ValueError
        If energy is not above 0 and at most 1.

    Examples
    --------
    >>> rank_for_energy(torch.tensor([4.0, 2.0, 2.0, 1.0]), 0.75)
    2
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy={energy}: must be above 0 and at most 1, a share of all energy.")
    squares = singular_values.double() ** 2
    kept = squares.cumsum(0)
    return int((kept < energy * kept[-1]).sum()) + 1


def factorise(weight: Tensor, bias: Tensor | None, rank: int) -> nn.Sequential:
    """Replace a linear layer by two smaller ones that compute its best approximation of a given rank.

    The layer ``y = W x + b`` becomes ``y = B (A x) + b``: first a linear layer without bias from the inputs to
    ``rank`` values, then one with the bias from there to the outputs. B·A is the truncated singular value
    decomposition of W; the singular values may be absorbed in A, in B or in both.

    Parameters
    ----------
    weight : Tensor
        W as ``nn.Linear`` keeps it, shape ``(outputs, inputs)``; left as it is.
    bias : Tensor or None
        Shape ``(outputs,)``; without one the second layer has none either.
    rank : int
        1 to ``min(outputs, inputs)``.

    Returns
    -------
    torch.nn.Sequential
        Two ``nn.Linear`` layers with ``rank·(inputs + outputs)`` weights and the bias, in the dtype of ``weight``,
        ready to be trained further. It maps ``(N, inputs)`` to ``(N, outputs)``.

    Raises
    ------
    ValueError
        If rank is below 1 or above ``min(outputs, inputs)``.

    Examples
    --------
    >>> small = factorise(torch.randn(300, 784), torch.zeros(300), rank=30)
    >>> [tuple(parameter.shape) for parameter in small.parameters()]
    [(30, 784), (300, 30), (300,)]
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank={rank}: a layer of shape {tuple(weight.shape)} has ranks 1 to {min(weight.shape)}.")
    outputs, inputs = weight.shape
    u, sigma, vt = torch.linalg.svd(weight.detach(), full_matrices=False)
    root = sigma[:rank].sqrt()  # half of Σ to each side: both factors of one size train well
    first = nn.Linear(inputs, rank, bias=False, dtype=weight.dtype)
    second = nn.Linear(rank, outputs, bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        first.weight.copy_(root[:, None] * vt[:rank])
        second.weight.copy_(u[:, :rank] * root)
        if bias is not None:
            second.bias.copy_(bias)
    return nn.Sequential(first, second)


def tucker2(weight: Tensor, bias: Tensor | None, rank_in: int, rank_out: int, stride: int = 1,
            padding: int = 0) -> nn.Sequential:
    """Replace a convolution by three: 1×1 down to fewer channels, K×K between few channels, 1×1 up again.

    Tucker-2 writes the kernel as ``W[p, c, :, :] = Σ_r Σ_s B[p, s] · G[s, r, :, :] · A[c, r]``. The columns of A are
    the first ``rank_in`` left singular vectors of W unfolded along its input channels (one row a channel), those of
    B the first ``rank_out`` of W unfolded along its output channels, and the core G is W multiplied by Aᵀ and Bᵀ
    (Kim et al. 2016, arXiv 1511.06530). Decompositions with a smaller error are welcome. A rank may be larger than
    the other side of its unfolding (a 1×1 kernel with more outputs than inputs): take full bases.

    Parameters
    ----------
    weight : Tensor
        Kernel as ``nn.Conv2d`` keeps it, shape ``(P, C, K_h, K_w)``, without groups; left as it is.
    bias : Tensor or None
        Shape ``(P,)``; only the last convolution has it, and none if this is None.
    rank_in, rank_out : int
        Channels between the convolutions: 1 to C and 1 to P.
    stride, padding : int
        Those of the convolution that is replaced.

    Returns
    -------
    torch.nn.Sequential
        Three ``nn.Conv2d`` with ``C·rank_in + K_h·K_w·rank_in·rank_out + rank_out·P`` weights and the bias, in the
        dtype of ``weight``. At full ranks it computes what the convolution computes.

    Raises
    ------
    ValueError
        If a rank is below 1 or above its number of channels.

    Examples
    --------
    >>> small = tucker2(torch.randn(50, 20, 5, 5), None, rank_in=8, rank_out=16)
    >>> [tuple(parameter.shape) for parameter in small.parameters()]
    [(8, 20, 1, 1), (16, 8, 5, 5), (50, 16, 1, 1)]
    """
    outputs, inputs, height, width = weight.shape
    if not 1 <= rank_in <= inputs:
        raise ValueError(f"rank_in={rank_in}: must be 1 to {inputs}, the input channels.")
    if not 1 <= rank_out <= outputs:
        raise ValueError(f"rank_out={rank_out}: must be 1 to {outputs}, the output channels.")
    kernel = weight.detach()
    a = torch.linalg.svd(kernel.transpose(0, 1).flatten(1))[0][:, :rank_in]
    b = torch.linalg.svd(kernel.flatten(1))[0][:, :rank_out]
    core = torch.einsum("pchw,ps,cr->srhw", kernel, b, a)
    down = nn.Conv2d(inputs, rank_in, 1, bias=False, dtype=weight.dtype)
    middle = nn.Conv2d(rank_in, rank_out, (height, width), stride=stride, padding=padding, bias=False,
                       dtype=weight.dtype)
    up = nn.Conv2d(rank_out, outputs, 1, bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        down.weight.copy_(a.T[:, :, None, None])
        middle.weight.copy_(core)
        up.weight.copy_(b[:, :, None, None])
        if bias is not None and up.bias is not None:
            up.bias.copy_(bias)
    return nn.Sequential(down, middle, up)


def cp_decompose(tensor: Tensor, rank: int, sweeps: int = 200, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Write a tensor with three axes as a sum of ``rank`` outer products, by alternating least squares.

    ``T[i, j, k] ≈ Σ_r A[i, r] · B[j, r] · C[k, r]``. With two of the factors held fixed the best third one solves a
    linear least-squares problem; a sweep solves for A, then B, then C (Kolda and Bader 2009, section 3.4).

    Parameters
    ----------
    tensor : Tensor
        Shape ``(I, J, K)``, float64 or float32.
    rank : int
        Number of outer products, at least 1; it may be above I, J or K.
    sweeps : int
        Rounds of three least-squares problems, at least 1.
    seed : int
        Seed of whatever is random in the start; another seed is another chance where one gets stuck.

    Returns
    -------
    tuple of Tensor
        A ``(I, rank)``, B ``(J, rank)`` and C ``(K, rank)``. How the sizes of the outer products are shared among
        the three is free.

    Raises
    ------
    ValueError
        If rank or sweeps is below 1.

    Examples
    --------
    >>> a, b, c = torch.arange(1.0, 3), torch.arange(1.0, 4), torch.arange(1.0, 5)
    >>> factors = cp_decompose(torch.einsum("i,j,k->ijk", a, b, c), rank=1, sweeps=5)
    >>> [tuple(factor.shape) for factor in factors]
    [(2, 1), (3, 1), (4, 1)]
    """
    if rank < 1 or sweeps < 1:
        raise ValueError(f"rank={rank}, sweeps={sweeps}: both must be at least 1.")
    generator = torch.Generator().manual_seed(seed)
    factors = [torch.randn(size, rank, generator=generator, dtype=tensor.dtype) for size in tensor.shape]
    for _ in range(sweeps):
        for axis in range(3):
            first, second = (factors[other] for other in range(3) if other != axis)
            pairs = torch.einsum("jr,kr->jkr", first, second).flatten(0, 1)  # Khatri–Rao product, (J·K, rank)
            unfolded = tensor.movedim(axis, 0).flatten(1)  # (I, J·K): T(1) ≈ A · pairsᵀ
            gram = (first.T @ first) * (second.T @ second)
            factors[axis] = unfolded @ pairs @ torch.linalg.pinv(gram, hermitian=True)
    return factors[0], factors[1], factors[2]


def orthogonal_matching_pursuit(dictionary: Tensor, signal: Tensor, nonzeros: int) -> Tensor:
    """A sparse code of a signal: few atoms of a dictionary whose weighted sum comes close to it.

    Greedy: take the atom with the largest absolute inner product with what is left of the signal, fit all atoms
    taken so far anew by least squares, and subtract (Pati et al. 1993). Stops early when nothing is left.

    Parameters
    ----------
    dictionary : Tensor
        Shape ``(d, atoms)``, one atom of unit length a column.
    signal : Tensor
        Shape ``(d,)``, same dtype.
    nonzeros : int
        Atoms to use at most, 1 to ``min(d, atoms)``.

    Returns
    -------
    Tensor
        Code of shape ``(atoms,)``, at most ``nonzeros`` of it not zero; ``dictionary @ code`` approximates the signal.

    Raises
    ------
    ValueError
        If nonzeros is below 1 or above ``min(d, atoms)``.

    Examples
    --------
    >>> orthogonal_matching_pursuit(torch.eye(3), torch.tensor([0.5, -3.0, 2.0]), 2)
    tensor([ 0., -3.,  2.])
    """
    if not 1 <= nonzeros <= min(dictionary.shape):
        raise ValueError(f"nonzeros={nonzeros}: must be 1 to {min(dictionary.shape)}.")
    code = torch.zeros(dictionary.shape[1], dtype=signal.dtype)
    taken: list[int] = []
    rest = signal
    smallest = 10 * torch.finfo(signal.dtype).eps * signal.norm()
    while len(taken) < nonzeros and rest.norm() > smallest:
        taken.append(int((dictionary.T @ rest).abs().argmax()))
        weights = torch.linalg.lstsq(dictionary[:, taken], signal[:, None]).solution[:, 0]
        rest = signal - dictionary[:, taken] @ weights
    code[taken] = weights if taken else 0.0
    return code
