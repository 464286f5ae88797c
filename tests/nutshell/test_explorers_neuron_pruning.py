"""The explorers of unit 05 show numbers that agree with the mathematics, and pictures with words."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import models
from nutshell.data.dataset import Split
from nutshell.explorers import neuron_pruning
from nutshell.training import evaluate

VALUES = {
    "group": lambda v: np.linalg.norm(v),
    "lasso": lambda v: np.abs(v).sum(),
    "decay": lambda v: 0.5 * (v**2).sum(),
}


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 6, 5), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(40) % 3, (0.0,), (1.0,))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(VALUES)), st.floats(0, 2), st.lists(st.floats(-2, 2), min_size=3, max_size=3),
       st.integers(0, 99))  # fmt: skip
def test_no_rival_beats_the_step(penalty, threshold, group, seed):
    group = np.array(group)
    (best,) = neuron_pruning.proximal_step(group[None], threshold, penalty)

    def cost(v):
        return 0.5 * ((v - group) ** 2).sum() + threshold * VALUES[penalty](v)

    rivals = best + 0.1 * np.random.default_rng(seed).standard_normal((30, 3))
    assert cost(best) <= min(cost(rival) for rival in [*rivals, 0 * group, group]) + 1e-12


@settings(max_examples=30, deadline=None)
@given(st.floats(0.6, 1.5), st.floats(0.02, 0.6))
def test_proximal_steps_end_at_zero_and_subgradients_around_it(penalty, rate):
    found = neuron_pruning.paths(1.0, 0.5, penalty, rate, 400)
    assert found["proximal"][-1] == 0
    tail = np.abs(found["subgradient"][-50:])
    assert tail.max() > 1e-4 and tail.max() <= rate * (penalty + 0.5) + 1e-9


def test_without_a_penalty_both_ways_agree():
    found = neuron_pruning.paths(1.0, 0.5, 0.0, 0.1, 30)
    np.testing.assert_allclose(found["subgradient"], found["proximal"])


@pytest.mark.parametrize("score", ["both", "in", "random"])
def test_fewer_neurons_are_the_masked_network(score):
    network = models.build("mlp", sizes=(30, 9, 7, 3)).eval()
    small = neuron_pruning.with_fewer(network, (4, 2), score)
    masked = models.build("mlp", sizes=(30, 9, 7, 3)).eval()
    with torch.no_grad():
        for number, width in ((1, 4), (2, 2)):
            gone = neuron_pruning.scores(network, number, score).argsort()[:-width]
            masked.get_parameter(f"fc{number + 1}.weight")[:, gone] = 0
    inputs = torch.randn(8, 30)
    torch.testing.assert_close(small(inputs), masked(inputs))


def test_all_neurons_are_the_network(part):
    network = models.build("mlp", sizes=(30, 9, 7, 3))
    assert evaluate(neuron_pruning.with_fewer(network, (9, 7)), part) == pytest.approx(evaluate(network, part))


def test_the_score_takes_both_sides():
    network = models.build("mlp", sizes=(4, 3, 3, 2))
    with torch.no_grad():
        network.fc1.weight[1] = 0
        network.fc2.weight[:, 2] = 0
    both = neuron_pruning.scores(network, 1)
    assert both[1] == both[2] == 0 < both[0]
    assert neuron_pruning.scores(network, 1, "in")[2] > 0


@pytest.mark.parametrize("name", ["step", "ways", "fewer_neurons"])
def test_every_position_draws_a_picture_with_words(part, name):
    arguments = (models.build("mlp", sizes=(30, 9, 7, 3)), part) if name == "fewer_neurons" else ()
    *knobs, shown = getattr(neuron_pruning, name)(*arguments).children
    for knob in knobs:
        before = shown.value
        knob.value = list(dict(knob.options).values())[-1] if hasattr(knob, "options") else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60 and "base64," in shown.value


def test_words_say_parameters_and_error(part):
    network = models.build("mlp", sizes=(30, 9, 7, 3))
    box = neuron_pruning.fewer_neurons(network, part)
    box.children[0].value, box.children[1].value = 2, 3
    words = re.sub("<img.*", "", box.children[-1].value)
    after, before = (sum(n * m + m for n, m in pairwise(sizes))
                     for sizes in ((30, 2, 3, 3), (30, 9, 7, 3)))  # fmt: skip
    assert f"{after:,} parameters instead of {before:,}" in words
    assert re.search(r"[\d.]+ % error on 40 images", words)


def test_step_counts_what_becomes_empty():
    box = neuron_pruning.step()
    box.children[1].value = 0.0
    assert " 0 become empty, 0 lose" in box.children[-1].value
    box.children[1].value = 1.5
    points = np.stack(np.meshgrid(*[np.linspace(-1.4, 1.4, 10)] * 2), -1).reshape(-1, 2)
    empty = int((np.linalg.norm(points, axis=1) <= 1.5).sum())
    assert f"{empty} become empty" in box.children[-1].value
