"""A matrix as the product of two thin ones, stored as factors and run as two small layers."""

import torch
from torch import Tensor

from nutshell.artefact.encodings.base import (
    DTYPES,
    Encoding,
    Form,
    Settings,
    Shape,
    dtype_name,
    from_bytes,
    setting,
    size_of,
    stored_dtype,
    to_bytes,
)


class LowRank(Encoding):
    """W ≈ A·B with A of shape ``(m, k)`` and B of shape ``(k, n)``: k(m+n) numbers instead of mn.

    The layer is never multiplied back: it is decoded as two layers, B and then A, so that its multiply-accumulates are
    those of the factors. A kernel ``(m, c, h, w)`` is taken as the matrix ``(m, c·h·w)``: a convolution with k filters
    of its own size, and then one of 1×1 with m.

    Parameters
    ----------
    rank : int, optional
        k: the factors are those of the truncated singular value decomposition, U·Σ and Vᵀ, the nearest matrix of
        rank k in the Frobenius norm (Eckart and Young 1936).
    factors : tuple of Tensor, optional
        A and B themselves; give either these or ``rank``.
    stored : str, optional
        Dtype of the factors in the file; the tensor's own if left out.

    Examples
    --------
    >>> settings, payload = LowRank(10).encode(torch.ones(300, 784))
    >>> settings, len(payload) == 4 * 10 * (300 + 784)
    ({'rank': 10}, True)
    """

    name = "low_rank"

    def __init__(
        self, rank: int | None = None, factors: tuple[Tensor, Tensor] | None = None, stored: str | None = None
    ) -> None:
        if (rank is None) == (factors is None):
            raise ValueError("LowRank: give either rank= or factors=(A, B).")
        if stored is not None and stored not in DTYPES:
            raise ValueError(f"stored={stored!r}: choose one of {', '.join(DTYPES)}.")
        self.rank, self.factors, self.stored = rank, factors, stored

    @property
    def lossless(self) -> bool:
        return False

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        if tensor.ndim < 2:
            raise ValueError(f"shape {list(tensor.shape)}: only a matrix or a kernel has a rank")
        matrix = tensor.detach().flatten(1)
        left, right = self.factors if self.factors is not None else _truncate(matrix, _bounded(self.rank, matrix))
        left, right = left.detach().flatten(1), right.detach().flatten(1)
        if (left.shape[0], right.shape[1]) != tuple(matrix.shape) or left.shape[1] != right.shape[0]:
            raise ValueError(f"factors of {list(left.shape)} and {list(right.shape)} don't make {list(matrix.shape)}")
        stored = self.stored or dtype_name(tensor)
        settings: Settings = {"rank": _bounded(left.shape[1], matrix)}
        if stored != dtype_name(tensor):
            settings["stored"] = stored
        own = tensor.dtype
        return settings, to_bytes(right.to(own), stored) + to_bytes(left.to(own), stored)

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "rank", "stored")
        stored, rank = stored_dtype(settings, dtype), settings.get("rank")
        if len(shape) < 2:
            raise ValueError(f"shape {list(shape)}: only a matrix or a kernel has a rank")
        if type(rank) is not int or not 1 <= rank <= min(shape[0], _columns(shape)):
            raise ValueError(f"rank {rank!r}: must be from 1 to {min(shape[0], _columns(shape))}")
        expected = size_of((rank, shape[0] + _columns(shape)), stored)
        if size != expected:
            raise ValueError(f"{size:,} bytes, but two factors of rank {rank} in {stored} take {expected:,}")
        return Form(shape, rank)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        stored = stored_dtype(settings, dtype)
        parts = Form(shape, settings["rank"]).parts
        middle = size_of(parts["0"], stored)
        return {
            "0": from_bytes(payload[:middle], parts["0"], stored, dtype),
            "1": from_bytes(payload[middle:], parts["1"], stored, dtype),
        }


def _truncate(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank]


def _bounded(rank: int | None, matrix: Tensor) -> int:
    most = min(matrix.shape)
    if not isinstance(rank, int) or not 1 <= rank <= most:
        raise ValueError(f"rank {rank!r}: must be from 1 to {most} for {list(matrix.shape)}")
    return rank


def _columns(shape: Shape) -> int:
    columns = 1
    for size in shape[1:]:
        columns *= size
    return columns
