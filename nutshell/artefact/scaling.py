"""What compact networks do between layers: numbers that scale, maps of twice the size, means over places."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Scale(nn.Module):
    """A value times a number that is stored: one for all, or one for each channel.

    A network's own parameter that multiplies a value is saved as this, such as β in Swish's ``x · sigmoid(beta · x)``,
    and so is a constant, such as the expected keep rates of Swapout.

    Parameters
    ----------
    numbers : int
        1, or the number of channels or features.

    Attributes
    ----------
    weight : Tensor
        Shape ``(numbers,)``.

    Examples
    --------
    >>> scale = Scale(2)
    >>> scale.weight.data.copy_(torch.tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    >>> scale(torch.ones(1, 2, 1, 2)).flatten().tolist()
    [1.0, 1.0, -2.0, -2.0]
    """

    def __init__(self, numbers: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(numbers))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.reshape(-1, *(1,) * (x.ndim - 2))


class Repeat(nn.Module):
    """Every pixel repeated along both sides: upsampling by its nearest neighbour.

    Parameters
    ----------
    times : int or tuple of int
        How often along height and width.

    Examples
    --------
    >>> Repeat((1, 2))(torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.]]]])
    """

    def __init__(self, times: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.times = (times, times) if isinstance(times, int) else times

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=tuple(float(each) for each in self.times), mode="nearest")


class Mean(nn.Module):
    """The mean over all places of each channel, ``(N, C, H, W)`` to ``(N, C)``: global average pooling.

    Examples
    --------
    >>> Mean()(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
