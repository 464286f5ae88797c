"""ResNet-20 without some of its blocks: which can be missed, and how two that can be missed do together."""

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from nutshell.data.dataset import Dataset, Split
from nutshell.training import evaluate, prepare

DROPPED = 4  # in turns, each time the block whose absence costs least


def removable(network: nn.Module) -> list[str]:
    """Names of the blocks whose output has the shape of their input: their shortcut changes nothing."""
    return [name for name, block in network.named_children()
            if hasattr(block, "shortcut") and isinstance(block.shortcut, nn.Identity)]


def left_out(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """A copy without these blocks."""
    changed = copy.deepcopy(network)
    for name in names:
        setattr(changed, name, nn.Identity())
    return changed


def without_blocks(network: nn.Module, images: Dataset, count: int = 1000) -> dict[str, Any]:
    """Errors on validation images: without each block alone, and without more and more of them, chosen in turns."""
    network = prepare(network).eval()
    whole = images.validation
    part = Split(whole.images[:count], whole.labels[:count], whole.mean, whole.std)

    def error(names: Sequence[str]) -> float:
        return round(evaluate(left_out(network, names), part, precision="bfloat16")[1], 2)

    blocks = removable(network)
    single = {name: error([name]) for name in blocks}
    gone: list[str] = []
    turns = []
    for _ in range(DROPPED):
        costs = {name: error([*gone, name]) for name in blocks if name not in gone} if gone else single
        gone.append(min(costs, key=lambda name: costs[name]))
        turns.append({"gone": list(gone), "validation_error_percent": costs[gone[-1]]})
    return {"network": "resnet-20", "data": images.name, "images": count, "part": "validation",
            "whole_error_percent": error([]), "without_one": single, "in_turns": turns}
