"""Compact architectures: blocks that do the work of a convolution with fewer parameters or multiply-accumulates.

Notation of the unit: a convolution has C input and P output channels and a kernel of K×K; its weight is
``(P, C, K, K)``. Blocks keep height and width unless they have a stride, so kernels are odd and padded with K // 2
zeros on each side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fire(nn.Module):
    """Squeeze the channels with a 1×1 convolution, then expand them with 1×1 and 3×3 convolutions side by side.

    Each of the three convolutions has a bias and is followed by a ReLU; the outputs of the two that expand are
    concatenated along the channels, those of the 1×1 first. A convolution costs C·P·K² at each place: the squeeze
    makes C small before the 3×3 sees it (Iandola et al. 2016, arXiv 1602.07360, section 3.2).

    Parameters
    ----------
    channels : int
        Input channels.
    squeeze : int
        Channels that are left after the squeeze.
    expand1, expand3 : int
        Outputs of the 1×1 and of the 3×3 convolution that expand.

    Examples
    --------
    >>> block = Fire(96, squeeze=16, expand1=64, expand3=64)
    >>> block(torch.zeros(1, 96, 55, 55)).shape, sum(parameter.numel() for parameter in block.parameters())
    (torch.Size([1, 128, 55, 55]), 11920)
    """

    def __init__(self, channels: int, squeeze: int, expand1: int, expand3: int) -> None:
        """Make the three convolutions."""
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand1, 1)
        self.expand3 = nn.Conv2d(squeeze, expand3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, expand1 + expand3, H, W)``."""
        few = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.expand1(few)), functional.relu(self.expand3(few))], dim=1)


def depthwise_separable(channels: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Split a convolution into one that looks around within each channel, and one that mixes channels at each place.

    The *depthwise* convolution has one K×K filter for each channel and sees no other; the *pointwise* one is a 1×1
    convolution from C to P channels. Together they cost ``1/P + 1/K²`` of the convolution that they stand for
    (Howard et al. 2017, arXiv 1704.04861, section 3.1).

    Parameters
    ----------
    channels, outputs : int
        C and P.
    kernel : int
        K, odd; the input is padded with K // 2 zeros on each side.
    stride : int
        Of the depthwise convolution.

    Returns
    -------
    torch.nn.Sequential
        Two convolutions, nothing between them, with ``C·K² + C·P`` weights and P biases: only the second has one.

    Raises
    ------
    ValueError
        If the kernel is even.

    Examples
    --------
    >>> block = depthwise_separable(16, 32)
    >>> [tuple(parameter.shape) for parameter in block.parameters()]
    [(16, 1, 3, 3), (32, 16, 1, 1), (32,)]
    """
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel}: must be odd, so that it has a middle.")
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, stride=stride, padding=kernel // 2, groups=channels, bias=False),
        nn.Conv2d(channels, outputs, 1),
    )


def flattened(lateral: Tensor, vertical: Tensor, horizontal: Tensor, bias: Tensor | None) -> nn.Sequential:
    """Run a convolution whose filters are outer products as three convolutions along one axis each.

    Output channel p of the convolution has the filter ``W[p, c, y, x] = lateral[p, c] · vertical[p, y] ·
    horizontal[p, x]``. The same is computed by a 1×1 convolution across the channels, one with K_y×1 filters within
    each channel, and one with 1×K_x filters within each channel (Jin, Dundar and Culurciello 2014, arXiv 1412.5474).

    Parameters
    ----------
    lateral : Tensor
        Shape ``(P, C)``.
    vertical, horizontal : Tensor
        Shapes ``(P, K_y)`` and ``(P, K_x)``, K_y and K_x odd; the input is padded with K_y // 2 rows and K_x // 2
        columns of zeros on each side.
    bias : Tensor or None
        Shape ``(P,)``; only the last convolution has it, and none if this is None. All four are left as they are.

    Returns
    -------
    torch.nn.Sequential
        Three convolutions with ``P·(C + K_y + K_x)`` weights and the bias, in the dtype of ``lateral``, ready to be
        trained further. It maps ``(N, C, H, W)`` to ``(N, P, H, W)``.

    Raises
    ------
    ValueError
        If the three don't have the same P, or a kernel is even.

    Examples
    --------
    >>> block = flattened(torch.ones(8, 3), torch.ones(8, 5), torch.ones(8, 5), None)
    >>> [tuple(parameter.shape) for parameter in block.parameters()]
    [(8, 3, 1, 1), (8, 1, 5, 1), (8, 1, 1, 5)]
    """
    if not len(lateral) == len(vertical) == len(horizontal):
        raise ValueError(f"{len(lateral)}, {len(vertical)} and {len(horizontal)} filters: every output needs one each.")
    (outputs, channels), height, width = lateral.shape, vertical.shape[1], horizontal.shape[1]
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"kernel {height}×{width}: both sides must be odd.")
    dtype = lateral.dtype
    across = nn.Conv2d(channels, outputs, 1, bias=False, dtype=dtype)
    down = nn.Conv2d(outputs, outputs, (height, 1), padding=(height // 2, 0), groups=outputs, bias=False, dtype=dtype)
    along = nn.Conv2d(outputs, outputs, (1, width), padding=(0, width // 2), groups=outputs, bias=bias is not None,
                      dtype=dtype)
    with torch.no_grad():
        across.weight.copy_(lateral[:, :, None, None])
        down.weight.copy_(vertical[:, None, :, None])
        along.weight.copy_(horizontal[:, None, None, :])
        if bias is not None and along.bias is not None:
            along.bias.copy_(bias)
    return nn.Sequential(across, down, along)


def pooled_head(weight: Tensor, bias: Tensor, channels: int) -> nn.Sequential:
    """Replace a fully connected head by global average pooling and a small linear layer: the closest one there is.

    A pooled head gives a class the score ``v · (mean over the places)``, with one weight v for each channel. Written
    out, that is a fully connected head whose weights are the same at every place. Of all such heads, return the one
    whose weights, written out, are the closest to the given ones in the sum of squared differences (pooling: Lin, Chen
    and Yan 2013, arXiv 1312.4400, section 3.2).

    Parameters
    ----------
    weight : Tensor
        Of the fully connected head, shape ``(classes, channels · places)``, as it follows ``nn.Flatten`` on features
        ``(N, channels, H, W)`` with H·W places; left as it is.
    bias : Tensor
        Shape ``(classes,)``; left as it is.
    channels : int
        Channels of the features.

    Returns
    -------
    torch.nn.Sequential
        Maps features ``(N, channels, H, W)`` of any height and width to scores ``(N, classes)``, with
        ``classes · channels`` weights and the bias, in the dtype of ``weight``, ready to be trained further.

    Raises
    ------
    ValueError
        If the weight's columns are not a multiple of ``channels``.

    Examples
    --------
    >>> head = pooled_head(torch.ones(10, 128 * 4 * 4), torch.zeros(10), channels=128)
    >>> [tuple(parameter.shape) for parameter in head.parameters()], head(torch.zeros(2, 128, 7, 5)).shape
    ([(10, 128), (10,)], torch.Size([2, 10]))
    """
    classes, columns = weight.shape
    if columns % channels:
        raise ValueError(f"{columns} columns can't be shared among {channels} channels.")
    linear = nn.Linear(channels, classes, dtype=weight.dtype)
    # The closest number to a row of numbers, in squares, is their mean; the pool divides by as many once more.
    with torch.no_grad():
        linear.weight.copy_(weight.view(classes, channels, -1).sum(2))
        linear.bias.copy_(bias)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def oct_convolution(high: Tensor, low: Tensor | None, weight: Tensor,
                    low_outputs: int) -> tuple[Tensor, Tensor | None]:
    """Convolve channels of two resolutions: some are kept at full size, the others at half the height and width.

    The kernel is that of a plain convolution, cut into four by inputs and outputs. Within a resolution it is applied
    as it is; from high to low the input is averaged over 2×2 pixels first; from low to high the output is repeated
    2×2 times (nearest neighbour) afterwards. The two that reach a resolution are added (Chen et al. 2019, arXiv
    1904.05049, section 3.2).

    Parameters
    ----------
    high : Tensor
        Shape ``(N, C_high, H, W)``.
    low : Tensor or None
        Shape ``(N, C_low, H / 2, W / 2)``; None where no channel is low, as in a first layer.
    weight : Tensor
        Shape ``(P, C_high + C_low, K, K)``, K odd; the input channels in the order high, low, and so are the outputs.
        Inputs are padded with K // 2 zeros on each side; stride 1, no bias.
    low_outputs : int
        How many of the P outputs are low, the last ones; 0 to P − 1.

    Returns
    -------
    tuple
        The high outputs ``(N, P − low_outputs, H, W)``, and the low ones ``(N, low_outputs, H / 2, W / 2)``, or None
        if there are none.

    Raises
    ------
    ValueError
        If ``low_outputs`` is out of range, if the input channels are not those of the weight, or if H or W is odd
        though a low resolution takes part.

    Examples
    --------
    >>> high, low = oct_convolution(torch.ones(1, 3, 32, 32), None, torch.ones(16, 3, 3, 3), low_outputs=4)
    >>> high.shape, low.shape
    (torch.Size([1, 12, 32, 32]), torch.Size([1, 4, 16, 16]))
    """
    outputs, inputs, kernel, _ = weight.shape
    low_inputs = 0 if low is None else low.shape[1]
    if not 0 <= low_outputs < outputs:
        raise ValueError(f"low_outputs={low_outputs}: must be 0 to {outputs - 1}.")
    if high.shape[1] + low_inputs != inputs:
        raise ValueError(f"{high.shape[1]} + {low_inputs} input channels, but the weight has {inputs}.")
    if (low is not None or low_outputs) and (high.shape[2] % 2 or high.shape[3] % 2):
        raise ValueError(f"{high.shape[2]}×{high.shape[3]}: both must be even, so that half of them is whole.")
    cut, padding = outputs - low_outputs, kernel // 2
    to_high, to_low = weight[:cut], weight[cut:]
    from_high, from_low = slice(0, high.shape[1]), slice(high.shape[1], inputs)
    new_high = functional.conv2d(high, to_high[:, from_high], padding=padding)
    if low is not None:
        rising = functional.conv2d(low, to_high[:, from_low], padding=padding)
        new_high = new_high + functional.interpolate(rising, scale_factor=2, mode="nearest")
    if not low_outputs:
        return new_high, None
    new_low = functional.conv2d(functional.avg_pool2d(high, 2), to_low[:, from_high], padding=padding)
    if low is not None:
        new_low = new_low + functional.conv2d(low, to_low[:, from_low], padding=padding)
    return new_high, new_low


class Swapout(nn.Module):
    """Around a branch F: every unit puts out 0, X, F(X) or X + F(X), by the throw of two coins.

    In training the output is ``Θ₁ ⊙ X + Θ₂ ⊙ F(X)``, where every element of Θ₁ and of Θ₂ is 1 with the probability
    ``keep`` and 0 otherwise, all independent and drawn anew in every call. In evaluation it is the mean of that,
    ``keep · (X + F(X))`` (Singh, Hoiem and Forsyth 2016, arXiv 1605.06465, section 3). Later blocks drop more: the
    linear schedule is ``keep = 1 − (1 − last) · block / blocks``.

    Parameters
    ----------
    branch : torch.nn.Module
        F; its output has the shape of its input.
    block, blocks : int
        Which block this is, from 1, and how many there are.
    last : float
        ``keep`` of the last block, 0 to 1.

    Attributes
    ----------
    keep : float

    Raises
    ------
    ValueError
        If ``block`` is not 1 to ``blocks``, or ``last`` is not 0 to 1.

    Examples
    --------
    >>> block = Swapout(nn.ReLU(), block=2, blocks=4, last=0.5)
    >>> block.keep, block.eval()(torch.tensor([-4.0, 4.0]))
    (0.75, tensor([-3.,  6.]))
    """

    def __init__(self, branch: nn.Module, block: int, blocks: int, last: float = 0.5) -> None:
        """Keep the branch and work out ``keep``."""
        super().__init__()
        if not 1 <= block <= blocks or not 0 <= last <= 1:
            raise ValueError(f"block={block} of {blocks}, last={last}: must be 1 to {blocks}, and 0 to 1.")
        self.branch = branch
        self.keep = 1 - (1 - last) * block / blocks

    def forward(self, x: Tensor) -> Tensor:
        """Map X, of any shape that the branch takes, to as many numbers."""
        y = self.branch(x)
        if not self.training:
            return self.keep * (x + y)
        first, second = (torch.rand_like(x) < self.keep for _ in range(2))
        return first * x + second * y


class Residual(nn.Module):
    """A shortcut around a bottleneck: ``relu(shortcut(x) + branch(x))``.

    The branch is a 1×1 convolution to ``width`` channels, a ReLU, a 3×3 convolution with the stride, a ReLU, and a 1×1
    convolution to the outputs, each with a bias. The shortcut is x itself where shapes allow, that is if channels
    equal outputs and the stride is 1, and otherwise a 1×1 convolution with the stride and without bias. The last
    convolution of the branch starts with weight and bias 0, and no other with a weight of 0, so that the block starts
    as the ReLU of its shortcut (He et al. 2015, arXiv 1512.03385, figure 5; the start from zero: Goyal et al. 2017,
    arXiv 1706.02677, section 5.1).

    Parameters
    ----------
    channels, width, outputs : int
        Of the input, within the branch, of the output.
    stride : int
        1 or 2.

    Examples
    --------
    >>> block = Residual(64, width=16, outputs=64)
    >>> sum(parameter.numel() for parameter in block.parameters()), block(torch.ones(1, 64, 8, 8)).min().item()
    (4448, 1.0)
    """

    def __init__(self, channels: int, width: int, outputs: int, stride: int = 1) -> None:
        """Make the layers of branch and shortcut, the last of the branch with zeros."""
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=stride, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1),
        )
        for parameter in self.branch[-1].parameters():
            nn.init.zeros_(parameter)
        same = channels == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, outputs, ⌈H / stride⌉, ⌈W / stride⌉)``: halves are rounded up."""
        return functional.relu(self.shortcut(x) + self.branch(x))


class Swish(nn.Module):
    """The activation ``x · σ(βx)`` with a β that is trained.

    β = 0 gives x / 2; as β grows it becomes the ReLU (Ramachandran, Zoph and Le 2017, arXiv 1710.05941, section 4).
    Output and gradients stay finite wherever x is.

    Parameters
    ----------
    beta : float
        Where β starts.

    Attributes
    ----------
    beta : torch.nn.Parameter
        One number, the same for all elements.

    Examples
    --------
    >>> Swish(beta=0.0)(torch.tensor([-2.0, 4.0]))
    tensor([-1.,  2.], grad_fn=<MulBackward0>)
    """

    def __init__(self, beta: float = 1.0) -> None:
        """Make β a parameter."""
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x: Tensor) -> Tensor:
        """Map x of any shape, element by element."""
        return x * torch.sigmoid(self.beta * x)


class Inception(nn.Module):
    """Four branches side by side, their outputs concatenated along the channels.

    In this order: a 1×1 convolution; a 1×1 that reduces, then a 3×3; a 1×1 that reduces, then two 3×3 in a row, both
    with ``fives`` outputs, in place of the 5×5 of GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842, figure 2b); and a
    3×3 maximum pool with stride 1, then a 1×1. Two 3×3 see as far as one 5×5 (Szegedy et al. 2015, arXiv 1512.00567,
    section 3.1). All convolutions have a bias, keep height and width, and are followed by a ReLU.

    Parameters
    ----------
    channels : int
        Of the input.
    ones, reduce3, threes, reduce5, fives, pooled : int
        Outputs of the convolutions: a row of the paper's table 1, from "#1×1" to "pool proj".

    Examples
    --------
    >>> block = Inception(192, 64, 96, 128, 16, 32, 32)
    >>> block(torch.zeros(1, 192, 28, 28)).shape, sum(parameter.numel() for parameter in block.parameters())
    (torch.Size([1, 256, 28, 28]), 164752)
    """

    def __init__(self, channels: int, ones: int, reduce3: int, threes: int, reduce5: int, fives: int,
                 pooled: int) -> None:
        """Make the four branches."""
        super().__init__()
        self.branch1 = nn.Sequential(nn.Conv2d(channels, ones, 1), nn.ReLU())
        self.branch3 = nn.Sequential(
            nn.Conv2d(channels, reduce3, 1), nn.ReLU(),
            nn.Conv2d(reduce3, threes, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.branch5 = nn.Sequential(
            nn.Conv2d(channels, reduce5, 1), nn.ReLU(),
            nn.Conv2d(reduce5, fives, 3, padding=1), nn.ReLU(),
            nn.Conv2d(fives, fives, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(channels, pooled, 1), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, ones + threes + fives + pooled, H, W)``."""
        return torch.cat([self.branch1(x), self.branch3(x), self.branch5(x), self.branch_pool(x)], dim=1)
