"""Binary networks: weights and activations of one bit, how they are trained, and products made of bit operations.

Notation of the unit: α is the scale of a binary filter, **A** the matrix of input scales (XNOR-Net's paper calls it K),
n the number of weights of a filter, C input channels, P filters.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def binarise(values: Tensor, stochastic: bool = False, seed: int = 0) -> Tensor:
    """Make every number −1 or +1, by its sign or by chance.

    Deterministic: +1 where x ≥ 0, −1 elsewhere. Stochastic: +1 with probability ``σ(x) = clip((x + 1) / 2, 0, 1)``,
    −1 otherwise, each number by itself (Courbariaux et al. 2015, arXiv 1511.00363, section 2.2). The mean over many
    draws is then ``clip(x, −1, 1)``: the number itself, inside the range.

    Parameters
    ----------
    values : Tensor
        x, float32 or float64, any shape.
    stochastic : bool
        Whether chance decides.
    seed : int
        Seed of the draws; the same seed gives the same result. The global random state is left alone.

    Returns
    -------
    Tensor
        −1 and +1 only, never 0; same shape and dtype.

    Examples
    --------
    >>> binarise(torch.tensor([-0.3, 0.0, 2.0]))
    tensor([-1.,  1.,  1.])
    >>> binarise(torch.full((10_000,), 0.5), stochastic=True).mean().round(decimals=1)
    tensor(0.5000)
    """
    if stochastic:
        draws = torch.rand(values.shape, generator=torch.Generator().manual_seed(seed), dtype=values.dtype)
        positive = draws < (values + 1) / 2  # draws lie in [0, 1): never below 0, always below 1
    else:
        positive = values >= 0
    return torch.where(positive, 1.0, -1.0).to(values.dtype)


def straight_through(values: Tensor) -> Tensor:
    """The sign of numbers, with a gradient that training can use.

    Forward: +1 where x ≥ 0, −1 elsewhere. Its derivative is 0 wherever it exists. Backward: the straight-through
    estimator takes the derivative for ``1{|x| ≤ 1}``, that of ``clip(x, −1, 1)``, with both ends included (Courbariaux
    et al. 2016, arXiv 1602.02830, section 1.3).

    Parameters
    ----------
    values : Tensor
        x, float32 or float64, any shape.

    Returns
    -------
    Tensor
        −1 and +1, same shape and dtype; the gradient with respect to ``values`` is the incoming one where |x| ≤ 1
        and 0 elsewhere.

    Examples
    --------
    >>> x = torch.tensor([-2.0, -0.5, 0.0, 1.0], requires_grad=True)
    >>> y = straight_through(x)
    >>> y.detach(), torch.autograd.grad(y.sum(), x)[0]
    (tensor([-1., -1.,  1.,  1.]), tensor([0., 1., 1., 1.]))
    """
    signs = torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
    passed = values.clamp(-1, 1)  # its gradient is 1 from −1 to 1, the ends included, and 0 beyond
    return signs + (passed - passed.detach())  # the value of signs, the gradient of passed


def binary_connect_step(weight: Tensor, inputs: Tensor, labels: Tensor, learning_rate: float,
                        stochastic: bool = False, seed: int = 0) -> Tensor:
    """One step of BinaryConnect for a linear classifier without bias.

    The network computes with binary weights; the step is taken by the real ones, which collect what is too small to
    turn a sign (Courbariaux et al. 2015, arXiv 1511.00363, algorithm 1):

    1. binarise the real weights, by their sign (+1 where w ≥ 0) or by chance, each weight by itself;
    2. the gradient of the loss *with respect to the binary weights*; the loss is the mean cross-entropy over the batch
       of the logits ``inputs @ binary.T``;
    3. ``w ← clip(w − η·gradient, −1, 1)``.

    Parameters
    ----------
    weight : Tensor
        The real weights w, shape ``(classes, inputs)``, float32 or float64; left as they are. They may lie beyond ±1,
        as before a first step: the step is the same for them, and the clipping comes after it.
    inputs : Tensor
        Shape ``(N, inputs)``, same dtype.
    labels : Tensor
        Classes, int64, shape ``(N,)``.
    learning_rate : float
        η.
    stochastic : bool
        Whether chance makes the weights binary, +1 with probability ``clip((w + 1) / 2, 0, 1)``.
    seed : int
        Seed of the draws; another step has another seed.

    Returns
    -------
    Tensor
        The real weights after the step, from −1 to 1; same shape and dtype.

    Examples
    --------
    >>> w = torch.tensor([[0.1, -0.2], [-0.9, 0.3]])
    >>> binary_connect_step(w, torch.tensor([[1.0, 1.0]]), torch.tensor([1]), learning_rate=0.4)
    tensor([[-0.1000, -0.4000],
            [-0.7000,  0.5000]])
    """
    if stochastic:
        draws = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed), dtype=weight.dtype)
        positive = draws < (weight + 1) / 2
    else:
        positive = weight >= 0
    binary = torch.where(positive, 1.0, -1.0).to(weight.dtype).requires_grad_()
    loss = functional.cross_entropy(inputs @ binary.T, labels)
    (gradient,) = torch.autograd.grad(loss, binary)
    return (weight.detach() - learning_rate * gradient).clamp(-1, 1)


def bwn_filter(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The best binary filters: signs B and one scale α for each, so that ‖W − αB‖² is least.

    Over all B of ±1 and all α the minimum is at ``B = sign(W)`` and ``α = mean |W|`` over the filter's weights
    (Rastegari et al. 2016, arXiv 1603.05279, section 3.1).

    Parameters
    ----------
    weight : Tensor
        Shape ``(P, …)``: P filters, of any number of axes (kernels, or rows of a linear layer); float32 or float64.

    Returns
    -------
    tuple of Tensor
        B in the shape of ``weight``, −1 and +1 (a weight of 0 counts as +1), and α of shape ``(P,)``; both in the dtype
        of ``weight``. A filter of zeros has α = 0.

    Examples
    --------
    >>> bwn_filter(torch.tensor([[0.5, -1.0, 0.0], [-2.0, -2.0, -2.0]]))
    (tensor([[ 1., -1.,  1.],
            [-1., -1., -1.]]), tensor([0.5000, 2.0000]))
    """
    signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
    return signs, weight.abs().flatten(1).mean(1)


def input_scales(inputs: Tensor, kernel: int, stride: int = 1, padding: int = 0) -> Tensor:
    """XNOR-Net's scales of the inputs: at each place of the output, the mean of |I| over the window and all channels.

    The mean over the channels is taken first, once, and then a box filter with weights ``1 / kernel²`` (Rastegari et
    al. 2016, arXiv 1603.05279, section 3.2; the matrix is called K there and **A** here). The zeros of the border are
    part of the mean.

    Parameters
    ----------
    inputs : Tensor
        I, shape ``(N, C, H, W)``, float32 or float64.
    kernel : int
        Side of the square window, at least 1.
    stride, padding : int
        Those of the convolution; the border is ``padding`` zeros on each side, as wide as you like: half of the kernel
        is no limit.

    Returns
    -------
    Tensor
        Shape ``(N, 1, H', W')`` with ``H' = (H + 2·padding − kernel) // stride + 1``, same dtype.

    Examples
    --------
    >>> input_scales(torch.tensor([[[[1.0, -2.0], [3.0, -4.0]], [[1.0, 0.0], [-1.0, 2.0]]]]), kernel=2)
    tensor([[[[1.7500]]]])
    """
    size = inputs.abs().mean(1, keepdim=True)
    box = torch.full((1, 1, kernel, kernel), 1 / kernel**2, dtype=inputs.dtype)
    return functional.conv2d(size, box, stride=stride, padding=padding)


def xnor_product(inputs: np.ndarray, packed_weight: np.ndarray) -> np.ndarray:
    """The product of ±1 matrices by bits: pack the inputs, exclusive or with the packed weights, count ones.

    Of n places, d differ and n − d agree; an inner product of ±1 is therefore ``n − 2·d``, and d is the number of ones
    in the exclusive or of the two rows' bits (Courbariaux et al. 2016, arXiv 1602.02830, section 1.6).

    A row of n numbers is packed in ``⌈n / 64⌉`` words of 64 bits: bit i of word j, counted from the lowest, is 1 where
    element ``64·j + i`` is +1 and 0 where it is −1. Bits of the last word that no element uses are 0.

    Parameters
    ----------
    inputs : ndarray
        −1 and +1, int8 or any other signed or floating dtype, shape ``(M, n)``. M and n may be 0.
    packed_weight : ndarray
        uint64, shape ``(P, ⌈n / 64⌉)``: P rows of n weights, packed as above.

    Returns
    -------
    ndarray
        int32, shape ``(M, P)``: exactly the inner products of the rows.

    Examples
    --------
    Weights +1, −1, +1 have the bits 101 and the word 5.

    >>> xnor_product(np.array([[1, 1, 1], [-1, 1, -1]], dtype=np.int8), np.array([[5]], dtype=np.uint64))
    array([[ 1],
           [-3]], dtype=int32)
    """
    rows, length = inputs.shape
    words = packed_weight.shape[1]
    packed = np.zeros((rows, 8 * words), dtype=np.uint8)
    packed[:, : -(-length // 8)] = np.packbits(inputs > 0, axis=1, bitorder="little")
    different = np.zeros((rows, len(packed_weight)), dtype=np.int32)
    for ours, theirs in zip(packed.view("<u8").T, packed_weight.T, strict=True):  # a word of all rows at a time
        different += np.bitwise_count(ours[:, None] ^ theirs)
    return length - 2 * different


def xnor_convolution(inputs: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """XNOR-Net's convolution: ``I ∗ W ≈ (sign(I) ⊛ sign(W)) ⊙ A·α``, with a border that counts for nothing.

    Rastegari et al. 2016, arXiv 1603.05279, section 3.2. Zeros around the image have no sign: a place of a window that
    lies outside the image adds nothing to the sum of ±1 products. A is the window mean of |I| over all channels (the
    border's zeros are part of it), α_p the mean of |W_p|. Zeros of the image and of the kernel count as +1.

    Parameters
    ----------
    inputs : Tensor
        I, shape ``(N, C, H, W)``, float32 or float64.
    weight : Tensor
        Real kernels, shape ``(P, C, K, K)``, same dtype.
    stride, padding : int
        Those of the convolution.

    Returns
    -------
    Tensor
        Shape ``(N, P, H', W')``, same dtype.

    Examples
    --------
    One pixel of 3 and a kernel of 2s: of nine places only the middle lies inside, A is 3/9 there, and α is 2.

    >>> xnor_convolution(torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 3, 3), 2.0), padding=1)
    tensor([[[[0.6667]]]])
    """
    def words(ones: Tensor) -> np.ndarray:  # rows of booleans as words of 64 bits
        packed = np.zeros((len(ones), 8 * -(-ones.shape[1] // 64)), dtype=np.uint8)
        packed[:, : -(-ones.shape[1] // 8)] = np.packbits(ones.numpy(), axis=1, bitorder="little")
        return packed.view("<u8")

    def windows(images: Tensor) -> Tensor:  # (N, H'·W', C·K²), one row for each place of the output
        return functional.unfold(functional.pad(images, [padding] * 4), kernel, stride=stride).mT

    filters, _, kernel, _ = weight.shape
    places = windows(inputs)
    inside = words(windows(torch.ones_like(inputs)).flatten(0, 1) > 0)
    image, kernels = words(places.flatten(0, 1) >= 0), words(weight.flatten(1) >= 0)
    sums = np.bitwise_count(inside).sum(1, dtype=np.int32)[:, None].repeat(filters, axis=1)
    for ours, there, theirs in zip(image.T, inside.T, kernels.T, strict=True):
        sums -= 2 * np.bitwise_count((ours[:, None] ^ theirs) & there[:, None]).astype(np.int32)
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in inputs.shape[2:])
    products = torch.from_numpy(sums).to(inputs.dtype).reshape(len(inputs), height, width, filters).movedim(3, 1)
    scales = places.abs().mean(2).reshape(len(inputs), 1, height, width)
    return products * scales * weight.abs().flatten(1).mean(1)[:, None, None]


def speed_up(channels: int, kernel: int, binary_per_clock: float = 64, float_per_clock: float = 1) -> float:
    """How many times fewer clocks a binary convolution takes than a float one, as XNOR-Net's paper counts.

    At one place of the output, a filter of ``n = channels·kernel²`` weights takes n float operations, or n binary ones
    and one float operation for the scales (Rastegari et al. 2016, arXiv 1603.05279, section 4.1, where an operation is
    a multiply-accumulate, 64 binary ones are done in a clock and one float one).

    Parameters
    ----------
    channels : int
        C, input channels, at least 1.
    kernel : int
        Side of the square kernel, at least 1.
    binary_per_clock, float_per_clock : float
        Operations of each kind that the processor does in a clock, above 0.

    Returns
    -------
    float
        Clocks of the float convolution divided by clocks of the binary one.

    Raises
    ------
    ValueError
        If channels or kernel is below 1, or a number of operations is not above 0.

    Examples
    --------
    >>> round(speed_up(256, 3), 2)
    62.27
    >>> speed_up(256, 3, float_per_clock=16) < 4
    True
    """
    if channels < 1 or kernel < 1:
        raise ValueError(f"channels={channels}, kernel={kernel}: both must be at least 1.")
    if binary_per_clock <= 0 or float_per_clock <= 0:
        raise ValueError(f"binary_per_clock={binary_per_clock}, float_per_clock={float_per_clock}: must be above 0.")
    weights = channels * kernel**2
    return (weights / float_per_clock) / (weights / binary_per_clock + 1 / float_per_clock)
