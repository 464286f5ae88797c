"""A few centroids, and for each number the index of its own."""

import numpy as np
import torch
from torch import Tensor

from nutshell.artefact.coders import CODERS, coder_name
from nutshell.artefact.coders.fixed import size as packed_size
from nutshell.artefact.encodings.base import (
    DTYPES,
    Encoding,
    Form,
    Settings,
    Shape,
    dtype_name,
    elements_of,
    from_bytes,
    setting,
    size_of,
    stored_dtype,
    to_bytes,
)

MOST_CENTROIDS = 1 << 16


class Codebook(Encoding):
    """k centroids, and ⌈log₂ k⌉ bits for each of n numbers: n·⌈log₂ k⌉ + k·b bits instead of n·b.

    Weight sharing of Deep Compression (Han, Mao and Dally 2016, section 3); with ``coder="huffman"`` its section 4.
    A tensor that has at most k different values, as one that was shared and trained has, is stored without loss.
    Others are shared first by k-means from centroids at equal steps between least and largest value ("linear
    initialisation"). Zeros stay zeros: where there are any, one of the k centroids is 0.

    Parameters
    ----------
    k : int, optional
        Most centroids, from 1 to 65,536; left out, as many as there are different values.
    centroids : Tensor, optional
        The centroids themselves, shape ``(k,)``: each number becomes the nearest one. Give either these or ``k``.
        0 is added if the tensor has zeros.
    coder : {"fixed", "huffman", "ans"}
        How indices are written: packed, in Huffman's code, or by asymmetric numeral systems, at their entropy.
    stored : str, optional
        Dtype of the centroids in the file, such as ``"float16"``; the tensor's own if left out.

    Examples
    --------
    >>> weight = torch.tensor([[0.0, 0.5, -0.25], [0.5, 0.5, 0.0]])
    >>> settings, payload = Codebook(4).encode(weight)
    >>> settings, len(payload)  # 3 centroids of 4 bytes, 6 indices of 2 bits
    ({'k': 3}, 14)
    >>> torch.equal(Codebook.decode(memoryview(payload), (2, 3), "float32", settings)[""], weight)
    True
    """

    name = "codebook"

    def __init__(self, k: int | None = None, *, centroids: Tensor | None = None, coder: str = "fixed",
                 stored: str | None = None) -> None:  # fmt: skip
        if k is not None and centroids is not None:
            raise ValueError("Codebook: give either k or centroids=, not both.")
        if k is not None and not 1 <= k <= MOST_CENTROIDS:
            raise ValueError(f"Codebook: k={k}; choose from 1 to {MOST_CENTROIDS:,} centroids.")
        if stored is not None and stored not in DTYPES:
            raise ValueError(f"stored={stored!r}: choose one of {', '.join(DTYPES)}.")
        self.k, self.centroids, self.coder, self.stored = k, centroids, coder_name(coder), stored

    @property
    def lossless(self) -> bool:
        return self.k is None and self.centroids is None and self.stored is None

    def encode(self, tensor: Tensor) -> tuple[Settings, bytes]:
        values = tensor.detach().cpu().double().contiguous().numpy().ravel()
        stored = self.stored or dtype_name(tensor)
        book = to_bytes(torch.from_numpy(self._centroids(values)).to(tensor.dtype), stored)
        numbers = from_bytes(book, (len(book) // DTYPES[stored].itemsize,), stored, dtype_name(tensor))
        centroids = np.unique(numbers.double().numpy())  # rounding may have made two of them one
        if len(centroids) > MOST_CENTROIDS:
            raise ValueError(f"{len(centroids):,} different values, more than the {MOST_CENTROIDS:,} of a codebook")
        indices = _nearest(values, centroids)
        used, indices = np.unique(indices, return_inverse=True)
        book = to_bytes(torch.from_numpy(centroids[used]).to(tensor.dtype), stored)
        settings: Settings = {"k": len(used)}
        if self.coder != "fixed":
            settings["coder"] = self.coder
        if stored != dtype_name(tensor):
            settings["stored"] = stored
        return settings, book + CODERS[self.coder].encode(indices, len(used))

    def _centroids(self, values: np.ndarray) -> np.ndarray:
        if self.centroids is not None:
            given = self.centroids.detach().cpu().double().numpy().ravel()
            return given if (values != 0).all() or (given == 0).any() else np.append(given, 0.0)
        different = np.unique(values)
        if self.k is None or len(different) <= self.k:
            return different
        others = values[values != 0]
        k = self.k - (len(others) < len(values))
        shared = _k_means(others, k) if k else np.zeros(0)
        return shared if len(others) == len(values) else np.append(shared, 0.0)

    @classmethod
    def check(cls, shape: Shape, dtype: str, settings: Settings, size: int) -> Form:
        setting(settings, "k", "coder", "stored")
        stored, coder, k = stored_dtype(settings, dtype), coder_name(settings.get("coder", "fixed")), settings.get("k")
        count = elements_of(shape)
        if type(k) is not int or not min(count, 1) <= k <= min(count, MOST_CENTROIDS):
            raise ValueError(f"k={k!r} centroids: must be from {min(count, 1)} to {min(count, MOST_CENTROIDS):,}")
        book = size_of((k,), stored)
        if coder == "fixed" and size != book + packed_size(count, max(k, 1)):
            raise ValueError(f"{size:,} bytes, but {k} centroids in {stored} and {count:,} indices take "
                             f"{book + packed_size(count, max(k, 1)):,}")
        if size < book:
            raise ValueError(f"{size:,} bytes, but {k} centroids in {stored} alone take {book:,}")
        return Form(shape)

    @classmethod
    def decode(cls, payload: memoryview, shape: Shape, dtype: str, settings: Settings) -> dict[str, Tensor]:
        stored, k = stored_dtype(settings, dtype), settings["k"]
        book = size_of((k,), stored)
        centroids = from_bytes(payload[:book], (k,), stored, dtype)
        coder = CODERS[settings.get("coder", "fixed")]
        indices = coder.decode(payload[book:], elements_of(shape), max(k, 1))
        return {"": centroids[torch.from_numpy(indices)].reshape(shape)}


def _nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the nearest of the ascending centroids, the smaller one in a tie; a zero takes a centroid of zero."""
    if not len(values):
        return np.zeros(0, np.int64)
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)


def _k_means(values: np.ndarray, k: int) -> np.ndarray:
    from sklearn.cluster import KMeans  # here, since reading a file doesn't need it

    start = np.linspace(values.min(), values.max(), k)
    found = KMeans(k, init=start[:, None], n_init=1, max_iter=100).fit(values[:, None])
    return np.unique(found.cluster_centers_.ravel())
