"""The explorers of unit 12 show numbers that agree with the mathematics, and pictures with words."""

import itertools
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.explorers import architecture_search as explorers
from nutshell.search import SMALL
from nutshell.search.benchmark import Benchmark

NAMES = ["space", "luck", "population", "policy", "halving", "nested"]


@pytest.fixture(scope="module")
def table():
    """A made-up table: wider is better, blocks help, and every network has some luck."""
    chance, rows, seen = random.Random(0), [], set()
    for number in range(SMALL.size):
        architecture = SMALL.decode(number)
        if SMALL.blocks(architecture) not in seen:
            seen.add(SMALL.blocks(architecture))
            blocks = sum(architecture[place] != "none" for place in "abc")
            error = 60 / int(architecture["first"]) + 4 - blocks + chance.random()
            curve = [round(error * factor + chance.random(), 2) for factor in (4, 2, 1.2, 1)]
            rows.append([number, curve, curve[-1] + 0.3, 3.0, [20.0, 30.0], None])
    return Benchmark({"space": "small", "data": "made up", "elsewhere": None, "recipe": {"epochs": 4}, "shared": {},
                      "columns": ["number", "validation", "test", "seconds", "shared", "elsewhere"], "networks": rows})


def box_of(name, table):
    return explorers.nested() if name == "nested" else getattr(explorers, name)(table)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 4))
def test_the_best_of_some_draws_is_exact(errors, trials):
    every = sorted(min(draw) for draw in itertools.product(errors, repeat=trials))
    found = explorers.best_of(errors, trials)
    assert found["mean"] == pytest.approx(np.mean(every))
    for key, share in (("low", 0.05), ("high", 0.95)):  # the smallest value that so many draws don't exceed
        below = sum(value < found[key] for value in every) / len(every)
        upto = sum(value <= found[key] for value in every) / len(every)
        assert below <= share + 1e-9 and upto >= share - 1e-9


def test_sixty_draws_hold_one_of_the_top_twentieth(table):
    box = explorers.luck(table)
    box.children[0].value = 60
    assert f"probability of {100 * (1 - 0.95**60):.1f} %" in box.children[-1].value


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_no_point_lies_below_the_staircase(points):
    corners = explorers.staircase(points)
    assert set(corners) <= set(points)
    assert all(a < c and b > d for (a, b), (c, d) in itertools.pairwise(corners))
    for x, y in points:
        assert any(a <= x and b <= y for a, b in corners)
    for x, y in corners:
        assert not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)


@pytest.mark.parametrize("dies", ["oldest", "worst"])
def test_a_lineage_keeps_its_rules(table, dies):
    found = explorers.lineage(table, dies, 0.3, 80, 8, 3, 1)
    assert found.parents[:8] == [None] * 8 and None not in found.parents[8:]
    for birth in range(8, 80):
        before, after = found.alive[birth - 1], found.alive[birth]
        assert found.parents[birth] in before and len(after) == 8
        (gone,) = {*before, birth} - set(after)
        worst = max([*before, birth], key=found.seen.__getitem__)
        assert gone == (before[0] if dies == "oldest" else worst)


def test_without_noise_a_score_is_the_error(table):
    found = explorers.lineage(table, "oldest", 0.0, 30, 5, 2, 0)
    assert found.seen == found.true


def test_a_policy_starts_even_and_stays_a_probability(table):
    chances, errors = explorers.learned(table, 0.5, 0, 40)
    assert len(chances) == len(errors) == 40
    assert all(np.ptp(values) == 0 for values in chances[0].values())
    assert all(values.sum() == pytest.approx(1) for one in chances for values in one.values())
    assert np.mean(errors[-15:]) < np.mean(errors[:15])


@pytest.mark.parametrize("shape", list(itertools.product((2, 8), (4, 16), (1, 3, 5))))
def test_a_candidate_uses_as_many_weights_as_its_convolution(shape):
    inputs, outputs, kernel = shape
    assert explorers.used(inputs, outputs, kernel).sum() == inputs * outputs * kernel**2
    assert explorers.used(8, 16, 5)[explorers.used(inputs, outputs, kernel)].all()
    assert explorers.used(1, 1, kernel)[0, 0, 2, 2]


@pytest.mark.parametrize(("start", "seed"), [(4, 0), (16, 1), (32, 2)])
def test_halving_spends_what_its_curves_say(table, start, seed):
    found = explorers.rounds(table, start, seed)
    done = [epochs for _, epochs in found["curves"]]
    assert found["spent"] == sum(done) and found["whole"] == 4 * len(done)
    assert set(done) <= {1, 2, 4} and done.count(4) >= 1
    assert found["found"] >= found["best"]
    dropped = [errors[0] for errors, epochs in found["curves"] if epochs == 1]
    kept = [errors[0] for errors, epochs in found["curves"] if epochs > 1]
    assert not dropped or max(kept) <= min(dropped)


@pytest.mark.parametrize("name", NAMES)
def test_every_position_draws_a_picture_with_words(table, name):
    *knobs, shown = box_of(name, table).children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = next(option for option in (knob.options[-1], knob.options[0]) if option != knob.value)
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_the_space_says_what_the_table_says(table):
    box = explorers.space(table)
    for knob, value in zip(box.children, (24, 16, "fire", "none", "plain"), strict=False):
        knob.value = value
    entry = table.look_up(dict(zip(SMALL.decisions, (24, 16, "fire", "none", "plain"), strict=True)))
    assert f"{entry.macs:,} MACs, {entry.validation_error_percent[-1]:.2f} % validation error" in box.children[-1].value
    ranked = sorted(one["error"] for one in explorers.networks(table))
    place = ranked.index(entry.validation_error_percent[-1]) + 1
    assert f"number {place} of {len(ranked)}" in box.children[-1].value
    assert math.isclose(ranked[0], min(row["validation_error_percent"][-1] for row in table.rows()))
