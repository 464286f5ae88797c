"""The explorers of unit 13 show numbers that agree with the mathematics, and pictures with words."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import plots
from nutshell.board import Entry
from nutshell.explorers import in_a_nutshell as explorers
from nutshell.pipelines import apply

ENTRIES = (Entry("small", False, 1500, 34_656, 0.2, 1.8), Entry("large", False, 10_000, 2_293_000, 35.0, 0.7))


def _normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_last_step_s_structure_is_left():
    weight = _normal(20, 12)
    found = explorers.Orders.of(weight, ("prune", 0.8), ("rank", 0.25))
    truncated_last, pruned_last = found.structure(0), found.structure(1)
    assert truncated_last["rank"] == 3 and truncated_last["zeros"] < 80
    assert pruned_last["zeros"] == pytest.approx(80) and pruned_last["rank"] > 3
    two = apply(apply(weight, ("prune", 0.8)), ("rank", 0.25)), apply(apply(weight, ("rank", 0.25)), ("prune", 0.8))
    assert found.apart == pytest.approx(float((two[0] - two[1]).norm() / weight.norm()))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 1), st.sampled_from([2, 4, 16, 256]))
def test_bits_add_up_and_ratios_promise_more(kept, centroids):
    found = explorers.bits(kept, centroids)
    assert found["rate"] == pytest.approx(32 / (found["positions"] + found["values"]))
    assert found["rate"] <= found["hoped_for"]


def test_a_mixture_has_both_techniques_at_its_ends():
    weight = _normal(16, 24)
    found = explorers.Mixture.of(weight, 0.3)
    assert found.ranks[0] == 0 and found.shares[0] == 0
    kept = weight.abs().flatten().sort(descending=True).values[: found.singles[0]]
    assert found.away[0] == pytest.approx(float((1 - kept.square().sum() / weight.square().sum()).sqrt()), abs=1e-5)
    sigma = torch.linalg.svdvals(weight)
    alone = float(sigma[found.ranks[-1] :].norm() / weight.norm())
    assert found.away[-1] <= alone + 1e-5
    numbers = 0.3 * weight.numel()
    assert all(rank * 40 + 2 * singles <= numbers + 1 for rank, singles in zip(found.ranks, found.singles, strict=True))


def test_a_fast_network_loses_no_frame_and_a_slow_one_the_right_share():
    fast, slow = explorers.Stream.of(20, 0, 30, 1000), explorers.Stream.of(100, 0, 30, 2000)
    assert not fast.lost and fast.ages == pytest.approx([20] * len(fast.ages))
    assert len(slow.lost) / (len(slow.lost) + len(slow.came)) == pytest.approx(2 / 3, abs=0.05)
    for found in (slow, explorers.Stream.of(45, 0.5, 30, 1000)):
        assert all(came <= began < done for came, began, done in zip(found.came, found.began, found.done, strict=True))
        assert all(later >= done - 1e-9 for later, done in zip(found.began[1:], found.done, strict=False))
        frames = sorted([*found.came, *found.lost])
        assert frames == pytest.approx([1000 / 30 * number for number in range(len(frames))])


def test_a_contest_needs_a_floor():
    assert explorers.winner(ENTRIES, 0.98).name == "small"
    assert explorers.winner(ENTRIES, 0.99).name == "large"
    assert explorers.winner(ENTRIES, 0.999) is None
    box = explorers.contest(ENTRIES)
    box.children[0].value = 0
    assert "always the same digit" in box.children[-1].value
    box.children[0].value = 99.5
    assert "Nobody reaches 99.5 %" in box.children[-1].value


def _explorer(name):
    return {
        "orders": lambda: explorers.orders(_normal(12, 10)),
        "information": explorers.information,
        "mixture": lambda: explorers.mixture(_normal(12, 18)),
        "camera": explorers.camera,
        "contest": lambda: explorers.contest(ENTRIES),
    }[name]()


@pytest.mark.parametrize("name", ["orders", "information", "mixture", "camera", "contest"])
def test_every_knob_draws_another_picture_with_words(name):
    *knobs, shown = _explorer(name).children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            values = [option[1] if isinstance(option, tuple) else option for option in knob.options]
            knob.value = next(value for value in reversed(values) if value != knob.value)
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_words_say_what_is_drawn():
    assert "They commute" not in _explorer("orders").children[-1].value
    box = _explorer("orders")
    box.children[0].value = box.children[1].value = "signs only"
    assert "They commute" in box.children[-1].value
    assert "10 % kept, 16 centroids: 0.47 bits say where and 0.40 which; 37 times smaller, not 80" in _explorer(
        "information").children[-1].value
    assert "45 ms an answer at 30 frames a second" in _explorer("camera").children[-1].value


def test_the_map_of_commutators_is_symmetric():
    axes = explorers.commutators(_normal(8, 8))
    values = axes.images[0].get_array()
    assert values.shape == (5, 5) and abs(values - values.T).max() < 1e-6 and abs(values.diagonal()).max() < 1e-4
    assert "img" in plots.as_html(axes, "A map.").data
