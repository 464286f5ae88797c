"""Techniques are measured by turns, and memory in a process of its own."""

import itertools
import sys

import numpy as np
import pytest
import torch

from nutshell import models, resources
from nutshell.errors import Trouble, WrongUse


def test_calls_take_turns_and_the_first_one_changes():
    order = []
    pairs = resources.by_turns(lambda: order.append("off"), lambda: order.append("on"), least=4, most=4)
    assert len(pairs) == 4 and order[2:] == ["off", "on", "on", "off"] * 2


def test_measuring_ends_when_the_noise_is_known():
    ticks = itertools.count()
    pairs = resources.by_turns(lambda: None, lambda: None, least=5, most=50, clock=lambda: float(next(ticks)))
    assert pairs.settled and len(pairs) == 5 and pairs.half_width == 0
    times = iter(np.cumsum(np.random.default_rng(0).random(1000)).tolist())
    noisy = resources.by_turns(lambda: None, lambda: None, least=3, most=6, clock=lambda: next(times))
    assert not noisy.settled and len(noisy) == 6


def test_a_reading_shares_its_time_among_its_calls():
    order, ticks = [], itertools.count()
    pairs = resources.by_turns(lambda: order.append("off"), lambda: order.append("on"), least=2, most=2, calls=4,
                               clock=lambda: float(next(ticks)))  # fmt: skip
    assert order[2:] == ["off"] * 4 + ["on"] * 8 + ["off"] * 4
    assert pairs.off == pairs.on == (0.25, 0.25)


def test_too_few_pairs_or_calls_are_refused():
    with pytest.raises(WrongUse, match="at least two pairs"):
        resources.by_turns(int, int, least=1)
    with pytest.raises(WrongUse, match="calls=0"):
        resources.by_turns(int, int, calls=0)


@pytest.mark.parametrize("targets", [torch.zeros(4).long(), torch.zeros(4)])
def test_a_step_changes_the_weights(targets):
    network = models.build("mlp", sizes=(6, 1 if targets.is_floating_point() else 3))
    before = [p.clone() for p in network.parameters()]
    resources.training_step(network, torch.ones(4, 1, 2, 3), targets, 0.1)()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_usage_counts_what_is_the_same_every_time():
    found = [resources.usage(models.build("mlp", sizes=(12, 5)), torch.rand(8, 1, 3, 4), torch.zeros(8).long(), 2)
             for _ in range(2)]
    assert [(one.parameters, one.macs, one.step_bytes) for one in found] == [(65, 60, found[0].step_bytes)] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no peak to ask for")
def test_a_process_of_its_own_says_what_it_took():
    result, peak = resources.in_fresh_process(np.ones, 8_000_000)
    assert result.sum() == 8_000_000 and 63_000_000 < peak < 100_000_000


def test_a_process_can_be_held_to_an_amount():
    if not sys.platform.startswith("linux"):
        with pytest.raises(Trouble):
            resources.in_fresh_process(np.random.bytes, 10, room=1000)
        return
    result, _ = resources.in_fresh_process(np.random.bytes, 90_000_000, room=40_000_000)
    assert isinstance(result, MemoryError)
