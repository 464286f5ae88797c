"""The reference library of a made-up unit: a function, a class, a network, a generator, a change in place."""

import torch
from torch import nn


def scale(weights, factor):
    """Every weight times the factor, as a dict with the largest."""
    if factor < 0:
        raise ValueError(f"factor={factor}: must not be negative.")
    scaled = weights * factor
    return {"weights": scaled, "largest": float(abs(scaled).max())}


class Codebook:
    """Values by number."""

    def __init__(self, values):
        self.values = list(values)

    def __len__(self):
        return len(self.values)

    def decode(self, numbers):
        return [self.values[number] for number in numbers]


def factorised(layer, rank):
    """Two linear layers of that rank instead of one."""
    u, s, vt = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
    with torch.no_grad():
        first.weight.copy_(vt[:rank])
        second.weight.copy_(u[:, :rank] * s[:rank])
        second.bias.copy_(layer.bias)
    return nn.Sequential(first, second)


def batches(items, size):
    """The items in batches, one at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def prune_(weights, threshold):
    """Set weights below the threshold to zero in place, and say how many."""
    small = abs(weights) < threshold
    weights[small] = 0
    return int(small.sum())
