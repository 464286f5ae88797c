"""The modules that networks with binary activations need besides ordinary layers. They run; they don't train."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Sign(nn.Module):
    """+1 where the value is at least 0, −1 elsewhere; its gradient is zero, as that of any step.

    Examples
    --------
    >>> Sign()(torch.tensor([-2.0, -0.0, 0.5]))
    tensor([-1.,  1.,  1.])
    """

    puts_out_signs = True  # which the meter asks for

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class InputScales1d(nn.Module):
    """One scale for each row of features, shape ``(N, 1)``: the mean size of what a linear layer takes.

    Examples
    --------
    >>> InputScales1d()(torch.tensor([[1.0, -3.0]]))
    tensor([[2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().mean(1, keepdim=True)


class InputScales2d(nn.Module):
    """One scale for each place of a convolution's output, shape ``(N, 1, H', W')``: the mean size in its window.

    Zeros of the border are part of the mean. Rastegari et al. 2016 (1603.05279), section 3.2, where it is called K.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of int
        Those of the convolution.
    """

    def __init__(self, kernel_size: int | tuple[int, ...], stride: int | tuple[int, ...] = 1,
                 padding: int | tuple[int, ...] = 0) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        sizes = x.abs().mean(1, keepdim=True)
        return functional.avg_pool2d(sizes, self.kernel_size, self.stride, self.padding)
