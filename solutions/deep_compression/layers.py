"""Where the bytes of a small network are: the columns of Deep Compression's tables, from one network's own tensors."""

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from nutshell.artefact import Codebook, Dense, Sparse
from nutshell.artefact.coders.huffman import code_lengths
from nutshell.artefact.encodings.base import Settings
from nutshell.artefact.encodings.sparse import gaps_of
from solutions.deep_compression.sharing import encodings_of, entropy_coded


def pruned(order: str) -> Sparse:
    """Pruning alone: fp32 values, gaps of a fixed number of bits with padding zeros."""
    return Sparse(Dense(), order=order)


def shared(order: str) -> Sparse:
    """With quantization: indices of a fixed number of bits and a float16 codebook; gaps as before."""
    return Sparse(Codebook(stored="float16"), order=order)


def huffman(order: str) -> Sparse:
    """Indices and gaps in Huffman's code, its tables included."""
    return Sparse(Codebook(coder="huffman", stored="float16"), coder="huffman", order=order)


WAYS = {"pruned": pruned, "shared": shared, "huffman": huffman, "entropy": entropy_coded}
ENCODINGS = {
    "dense": "fp32",
    "pruned": 'Sparse(Dense(), coder="fixed")',
    "shared": 'Sparse(Codebook(stored="float16"), coder="fixed")',
    "huffman": 'Sparse(Codebook(coder="huffman", stored="float16"), coder="huffman")',
    "entropy": 'Sparse(Codebook(coder="ans", stored="float16"), coder="ans"), as in the file',
}


def layers_of(network: nn.Module) -> list[dict[str, Any]]:
    """Per layer: how many weights, how many are kept, bits of an index and of a gap, bytes written four ways.

    Parameters
    ----------
    network : torch.nn.Module
        Pruned, its weights shared: what a small file holds.

    Returns
    -------
    list of dict
        ``layer``; ``weights`` and ``kept`` (numbers, biases included), ``kept_percent``; of the weights without
        biases ``centroids`` and, for the encodings ``shared`` and ``huffman``, the mean bits of an ``index`` and of a
        ``gap``, padding zeros counted as the numbers they are stored as; ``bytes`` of weights and biases by way, as
        in :data:`ENCODINGS`, gaps in the order of the file. Codebooks and code tables are in the bytes, the file's
        header isn't.

    Examples
    --------
    >>> import torch
    >>> layer = nn.Linear(8, 4)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.eye(4, 8) / 2), layer.bias.zero_()
    >>> row, = layers_of(nn.Sequential(torch.nn.modules.container.OrderedDict(fc1=layer)))
    >>> row["weights"], row["kept"], row["centroids"], row["bytes"]["dense"]
    (36, 4, 1, 144)
    """
    tensors = dict(network.named_parameters())
    orders = {name: encoding.order for name, encoding in encodings_of(network).items()}
    found = []
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
        own = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] == layer}
        weight = own[f"{layer}.weight"]
        weights = sum(map(Tensor.numel, own.values()))
        kept = sum(int(tensor.count_nonzero()) for tensor in own.values())
        coded = {way: {name: make(orders[name]).encode(tensor) for name, tensor in own.items()}
                 for way, make in WAYS.items()}
        size = {way: sum(len(payload) for _, payload in each.values()) for way, each in coded.items()}
        found.append({
            "layer": layer, "weights": weights, "kept": kept, "kept_percent": round(100 * kept / weights, 2),
            "centroids": len(weight[weight != 0].unique()),
            **{f"{way}_bits": bits_of(weight, coded[way][f"{layer}.weight"][0]) for way in ("shared", "huffman")},
            "bytes": {"dense": 4 * weights} | size,
        })  # fmt: skip
    return found


def bits_of(weight: Tensor, settings: Settings) -> dict[str, float]:
    """Mean bits of an index and of a gap in a ``Sparse`` encoding of a ``Codebook``, code tables left out.

    Parameters
    ----------
    weight : Tensor
        What was encoded.
    settings : dict
        What encoding it gave: ``limit``, and ``coder`` and ``order`` where they aren't ``"fixed"`` and ``"rows"``.
    """
    matrix = weight.detach().reshape(weight.shape[0], -1)
    numbers = (matrix.T if settings.get("order") == "columns" else matrix).reshape(-1).numpy()
    gaps, positions = gaps_of(np.flatnonzero(numbers), settings["limit"])
    indices = np.unique(numbers[positions], return_inverse=True)[1]
    if settings.get("coder") == "huffman":
        return {"index": _mean_bits(indices), "gap": _mean_bits(gaps)}
    return {"index": math.ceil(math.log2(indices.max() + 1)), "gap": math.ceil(math.log2(settings["limit"]))}


def _mean_bits(symbols: np.ndarray) -> float:
    counts = np.bincount(symbols)
    return round(float((counts * code_lengths(counts)).sum() / len(symbols)), 2)
