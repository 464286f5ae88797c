"""The bytes that a computation holds at once: counted by hand beside the watch."""

import torch

from nutshell.meter.working_memory import peak_bytes


def test_what_is_dropped_is_counted_no_more():
    x = torch.zeros(100)

    def in_turn():
        for _ in range(5):
            x + 1

    assert peak_bytes(in_turn) == 400
    assert peak_bytes(lambda: [x + 1 for _ in range(5)]) == 2000


def test_views_and_changes_in_place_take_nothing():
    x = torch.zeros(10, 20)
    assert peak_bytes(lambda: x.t().reshape(20, 10)[2:].add_(1)) == 0
    assert peak_bytes(lambda: (x + 1).view(-1).mul_(2)) == 800


def test_several_results_and_gradients_are_seen():
    x = torch.zeros(8, 8)
    assert peak_bytes(lambda: x.max(1)) == 8 * 4 + 8 * 8
    w = torch.ones(50, requires_grad=True)
    assert peak_bytes(lambda: (w * w).sum().backward()) >= 3 * 200  # the square, and gradients of its two factors
