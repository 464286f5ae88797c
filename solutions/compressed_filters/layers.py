"""Weights that are worked out from few numbers whenever they are used, as layers that learn those numbers.

A layer is an ordinary ``nn.Linear`` or ``nn.Conv2d`` whose weight is replaced by :mod:`torch.nn.utils.parametrize`: its
parameter is the short vector, its weight is computed from it, and :func:`nutshell.artefact.save` sees a weight with
the encoding of :func:`hashed`, :func:`fresh` or none. The tables of places are buffers that aren't saved; they could be
worked out anew at every step, as ``hashed_layer`` of the lab does, and are kept because training would wait for them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nutshell.artefact import Encoding, FrequencyHashed, Hashed
from nutshell.artefact.circulant import BlockCirculant
from nutshell.hashing import mix
from solutions.compressed_filters.reference import dct_basis


class Gather(torch.autograd.Function):
    """Numbers taken from a table by place; the gradient of an entry is the sum over its places."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.entries = len(table)
        return table.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        # several times faster than the gradient of indexing, which sorts or locks
        return gradients[0].new_zeros(ctx.entries).scatter_add_(0, places.long(), gradients[0]), None


class Shared(nn.Module):
    """Weight of a given shape, each number of which is plus or minus one of the values.

    Parameters
    ----------
    index, negative : Tensor
        int64 and bool, in the shape of the weight: which value, and whether its sign is turned.
    entries : int
        How many values there are.
    spread : float
        Standard deviation that the values start with.
    """

    index: Tensor

    def __init__(self, index: Tensor, negative: Tensor, entries: int, spread: float) -> None:
        super().__init__()
        self.shape, self.entries, self.spread = tuple(index.shape), entries, spread
        places = (index + entries * negative).flatten()  # in a table of all values, followed by all of them negated
        self.register_buffer("index", places.to(torch.int32), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return Gather.apply(torch.cat([values, -values]), self.index).reshape(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Random values: what stood there before is not looked at."""
        bound = self.spread * 3**0.5
        return weight.new_empty(self.entries).uniform_(-bound, bound)


class Transformed(Shared):
    """The same for the coefficients of a kernel's filters, followed by the inverse DCT."""

    basis: Tensor

    def __init__(self, index: Tensor, negative: Tensor, entries: int, spread: float) -> None:
        super().__init__(index, negative, entries, spread)
        self.register_buffer("basis", dct_basis(index.shape[-1]).float(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return self.basis.T @ super().forward(values) @ self.basis


def hashed(layer: nn.Module, buckets: int, seed: int) -> Encoding:
    """Let a layer's weight share ``buckets`` values, from random ones on; returns how to store it.

    Parameters
    ----------
    layer : nn.Linear or nn.Conv2d
        Changed in place.
    buckets : int
        At least 1.
    seed : int
        Of the hash.

    Examples
    --------
    >>> layer = nn.Linear(784, 300)
    >>> _ = hashed(layer, 3675, seed=1)
    >>> [tuple(parameter.shape) for parameter in layer.parameters()], layer.weight.shape
    ([(300,), (3675,)], torch.Size([300, 784]))
    """
    shape = layer.get_parameter("weight").shape
    hashes, negative = _hashes(shape, seed)
    parametrize.register_parametrization(layer, "weight", Shared(hashes % buckets, negative, buckets, _spread(shape)))
    return Hashed(buckets, seed)


def fresh(layer: nn.Conv2d, buckets: Sequence[int], seed: int) -> Encoding:
    """Let the frequencies of a layer's filters share values band by band; returns how to store it.

    Parameters
    ----------
    layer : nn.Conv2d
        With square kernels K×K; changed in place.
    buckets : sequence of int
        2K − 1, at least 1 each, low frequencies first.
    seed : int
        Of the hash.

    Examples
    --------
    >>> layer = nn.Conv2d(20, 50, 5)
    >>> _ = fresh(layer, [64, 96, 48, 32, 16, 8, 4, 2, 1], seed=1)
    >>> sum(parameter.numel() for parameter in layer.parameters()), layer.weight.shape
    (321, torch.Size([50, 20, 5, 5]))
    """
    shape = layer.weight.shape
    hashes, negative = _hashes(shape, seed)
    counts = torch.tensor(buckets)
    starts = counts.cumsum(0) - counts
    band = torch.arange(shape[2])[:, None] + torch.arange(shape[3])
    index = starts[band] + hashes % counts[band]
    parametrize.register_parametrization(
        layer, "weight", Transformed(index, negative, sum(buckets), _spread(shape)))
    return FrequencyHashed(buckets, seed)


def circulant(layer: nn.Linear, block: int) -> None:
    """Let a linear layer's blocks of ``block`` rows and columns be circulant, from random first columns on.

    The weight is laid out while it trains, since many short FFTs are slower; :func:`deployed` makes the layer that runs
    by FFT.
    """
    rows, columns = (-(-size // block) for size in layer.weight.shape)
    i, j = torch.meshgrid(*map(torch.arange, layer.weight.shape), indexing="ij")
    index = (i // block * columns + j // block) * block + (i - j) % block
    parametrize.register_parametrization(
        layer, "weight", Shared(index, torch.zeros_like(index, dtype=torch.bool), rows * columns * block,
                                _spread(layer.weight.shape)))


def deployed(layer: nn.Linear, block: int) -> BlockCirculant:
    """The layer of :func:`circulant` as one that stores first columns and multiplies by FFT."""
    made = BlockCirculant(layer.in_features, layer.out_features, block, bias=layer.bias is not None)
    columns = layer.get_parameter("parametrizations.weight.original").detach().reshape(made.weight.shape)
    state = {"weight": columns} if layer.bias is None else {"weight": columns, "bias": layer.bias.detach()}
    made.eval().load_state_dict(state)
    return made


def bands(size: int, coefficients: int, total: int, falling: float) -> list[int]:
    """Share ``total`` buckets among the 2K − 1 bands of K×K filters: by coefficients, times ``falling`` to the band.

    Parameters
    ----------
    size : int
        K.
    coefficients : int
        Of all filters together, m·c·K².
    total : int
        Buckets, at least one a band.
    falling : float
        1 shares alike; below 1, a band gets this part of what the band before gets for each of its coefficients.

    Returns
    -------
    list of int
        At least 1 each and at most the band's coefficients; ``total`` together.

    Examples
    --------
    >>> bands(3, 9000, 90, 1.0), bands(3, 9000, 90, 0.5)
    ([10, 20, 30, 20, 10], [30, 29, 22, 7, 2])
    """
    members = [min(band + 1, 2 * size - 1 - band) for band in range(2 * size - 1)]
    wanted = [count * falling**band for band, count in enumerate(members)]
    most = [count * coefficients // size**2 for count in members]
    found = [min(limit, max(1, round(total * each / sum(wanted)))) for each, limit in zip(wanted, most, strict=True)]
    while sum(found) != total:  # rounding, and bands that were full or would have been empty
        step = 1 if sum(found) < total else -1
        free = [b for b, (n, limit) in enumerate(zip(found, most, strict=True)) if 1 <= n + step <= limit]
        if not free:
            raise ValueError(f"total={total}: must be from {len(members)} to {coefficients}.")
        worst = max(free, key=lambda b: step * (total * wanted[b] / sum(wanted) - found[b]))
        found[worst] += step
    return found


def _hashes(shape: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    """The hash of each place, and whether its sign is −1."""
    places = torch.arange(torch.Size(shape).numel()).reshape(shape)
    return mix(places, 2 * seed), mix(places, 2 * seed + 1) % 2 == 1


def _spread(shape: Sequence[int]) -> float:
    """Standard deviation of torch's own initial weights: 1 / √(3·inputs)."""
    return (3 * torch.Size(shape[1:]).numel()) ** -0.5
