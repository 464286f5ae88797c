"""How long networks take, measured in turns on one thread, with the spread.

Processor time is measured, which leaves out what the process waits for others.
"""

import platform
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

BATCHES = (1, 64)
ROUNDS = 41
SECONDS = 0.02  # of calls in each round


def compare(families: Mapping[str, Mapping[str, nn.Module]], image: tuple[int, ...] = (1, 28, 28)) -> dict[str, Any]:
    """Time each family's networks beside its dense one.

    Each round calls every network for about 20 ms, one after the other, so that whatever else the machine does hits
    all alike; a round's speed-up is its dense time over its other time.

    Parameters
    ----------
    families : mapping of str to mapping of str to Module
        By name of the network, then by what was done to it; ``"dense"`` must be among them.
    image : tuple of int
        Shape of one input.

    Returns
    -------
    dict
        By network, batch and what was done: ``microseconds`` for a call and ``speedup``, each with the median and the
        quartiles of the rounds.
    """
    found: dict[str, Any] = {"machine": platform.machine(), "threads": 1, "torch": torch.__version__, "rounds": ROUNDS}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for family, networks in families.items():
            found[family] = {str(batch): _compare(networks, torch.randn(batch, *image)) for batch in BATCHES}
    finally:
        torch.set_num_threads(threads)
    return found


@torch.inference_mode()
def by_layer(networks: Mapping[str, nn.Module], batch: int, image: tuple[int, ...] = (1, 28, 28)) -> dict[str, Any]:
    """Median microseconds of each layer of networks with the same layers, one after the other."""
    inputs = dict.fromkeys(networks, torch.randn(batch, *image))
    found: dict[str, Any] = {}
    for name, _ in next(iter(networks.values())).named_children():
        layers = {kind: network.get_submodule(name) for kind, network in networks.items()}
        times: dict[str, list[float]] = {kind: [] for kind in networks}
        for _ in range(ROUNDS):
            for kind, layer in layers.items():
                times[kind].append(1e6 * _time(layer, inputs[kind], 3))
        found[name] = {kind: round(statistics.median(own)) for kind, own in times.items()}
        inputs = {kind: layer(inputs[kind]) for kind, layer in layers.items()}
    return found


@torch.inference_mode()
def _compare(networks: Mapping[str, nn.Module], inputs: torch.Tensor) -> dict[str, Any]:
    calls = {name: max(5, round(SECONDS / _time(network, inputs, 20))) for name, network in networks.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, network in networks.items():
            times[name].append(_time(network, inputs, calls[name]))
    return {name: {"microseconds": _quartiles([1e6 * each for each in own]),
                   "speedup": _quartiles([dense / each for dense, each in zip(times["dense"], own, strict=True)])}
            for name, own in times.items()}  # fmt: skip


def _time(network: nn.Module, inputs: torch.Tensor, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        network(inputs)
    return (time.process_time() - started) / calls


def _quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 2), "low": round(low, 2), "high": round(high, 2)}
