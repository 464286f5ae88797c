"""What a network stores: its parameters and buffers, each once however often it is shared."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nutshell.meter.report import StoredTensor
from nutshell.meter.rules import stored_values


def stored_tensors(network: nn.Module, multiplied: set[int]) -> tuple[StoredTensor, ...]:
    """Describe every stored tensor, shared ones where they are met first.

    Parameters
    ----------
    network : torch.nn.Module
        As its owner left it.
    multiplied : set of int
        ``id`` of the tensors that were multiplied with activations: a persistent buffer among them is a weight.
    """
    found, seen = [], set()
    for path, module, name, tensor in _all_tensors(network):
        values = tensor if tensor.layout is torch.strided else stored_values(tensor)
        place = place_of(tensor), values.storage_offset(), values.numel()
        if place in seen and values.numel():
            continue
        seen.add(place)
        buffer_weight = id(tensor) in multiplied and name not in module._non_persistent_buffers_set
        found.append(_describe(module, path, name, tensor, isinstance(tensor, nn.Parameter) or buffer_weight))
    return tuple(found)


def place_of(tensor: Tensor) -> int:
    """Where a tensor's values lie: the same for views of one another, on every device.

    Examples
    --------
    >>> matrix = torch.zeros(2, 3)
    >>> place_of(matrix) == place_of(matrix.T[1:]), place_of(matrix) == place_of(matrix.clone())
    (True, False)
    """
    values = tensor if tensor.layout is torch.strided else stored_values(tensor)
    return values.untyped_storage()._cdata


def _all_tensors(network: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    for path, module in network.named_modules():
        for name, tensor in (*vars(module)["_parameters"].items(), *vars(module)["_buffers"].items()):
            if tensor is not None:
                yield path, module, name, tensor


def _describe(module: nn.Module, path: str, name: str, tensor: Tensor, weight: bool) -> StoredTensor:
    values = tensor.detach() if tensor.layout is torch.strided else stored_values(tensor.detach())
    mask = vars(module)["_buffers"].get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None
    elements = values.numel()
    if tensor.is_meta:
        nonzero, kept = None, elements if mask is None else None
    elif mask is None:
        nonzero, kept = int(torch.count_nonzero(values)), elements
    else:  # as torch.nn.utils.prune stores it
        nonzero, kept = int(torch.count_nonzero(values * mask)), int(torch.count_nonzero(mask))
    return StoredTensor(path, name, elements, nonzero, kept, _bytes(tensor, values), weight)


def _bytes(tensor: Tensor, values: Tensor) -> int:
    parts = [values]
    if tensor.layout is torch.sparse_coo:
        parts.append(tensor._indices())
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts += [tensor.crow_indices(), tensor.col_indices()]
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        parts += [tensor.ccol_indices(), tensor.row_indices()]
    return sum(part.numel() * part.element_size() for part in parts)
