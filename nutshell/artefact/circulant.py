"""A linear layer of circulant blocks: few numbers, and products by fast Fourier transform."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlockCirculant(nn.Module):
    """y = Wx + b with W in k×k blocks, each of which is its first column, turned by one for each further column.

    ``W_ij[r, s] = weight[i, j, (r − s) mod k]``, so that a block's product is a circular convolution:
    y_i = IFFT(Σ_j FFT(w_ij) ∘ FFT(x_j)) (C-LSTM, Wang et al. 2018, 1803.06305, section 3). Inputs are filled up with
    zeros to whole blocks, and outputs cut. In evaluation mode the weights are transformed once, when ``eval()`` is
    called or a state is loaded; after other changes of the weights call ``eval()`` again.

    Parameters
    ----------
    in_features, out_features : int
        As of ``nn.Linear``.
    block : int
        k, at least 1 and at most the larger of the two.
    bias : bool
        Whether there is a bias.

    Examples
    --------
    >>> layer = BlockCirculant(784, 300, 8)
    >>> layer.weight.shape, layer(torch.zeros(2, 784)).shape
    (torch.Size([38, 98, 8]), torch.Size([2, 300]))
    """

    spectrum: Tensor | None

    def __init__(self, in_features: int, out_features: int, block: int, bias: bool = True) -> None:
        super().__init__()
        if not 1 <= block <= max(in_features, out_features):
            raise ValueError(f"block={block}: must be from 1 to {max(in_features, out_features)}")
        self.in_features, self.out_features, self.block = in_features, out_features, block
        rows, columns = -(-out_features // block), -(-in_features // block)
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(rows, columns, block).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None
        self.register_buffer("spectrum", None, persistent=False)
        self.register_load_state_dict_post_hook(_transform)

    def train(self, mode: bool = True) -> "BlockCirculant":
        super().train(mode)
        _transform(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        _, columns, block = self.weight.shape
        spectrum = torch.fft.rfft(self.weight) if self.spectrum is None else self.spectrum
        filled = functional.pad(x.reshape(-1, self.in_features), (0, columns * block - self.in_features))
        inputs = torch.fft.rfft(filled.unflatten(1, (columns, block)))
        sums = torch.bmm(inputs.permute(2, 0, 1), spectrum.permute(2, 1, 0))  # a matrix product for each frequency
        outputs = torch.fft.irfft(sums.permute(1, 2, 0), n=block).flatten(1)[:, : self.out_features]
        outputs = outputs.reshape(*x.shape[:-1], self.out_features)
        return outputs if self.bias is None else outputs + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, block={self.block}, bias={self.bias is not None}"


def _transform(layer: BlockCirculant, _keys: Any = None) -> None:
    """Work out the spectrum of the weights for evaluation; let it go for training, where they change."""
    ready = not layer.training and not layer.weight.is_meta
    layer.spectrum = torch.fft.rfft(layer.weight.detach().clone()) if ready else None
