"""The explorers of unit 07 show numbers that agree with files and codes, and pictures with words."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import artefact, models
from nutshell.data.dataset import Split
from nutshell.explorers import deep_compression as explorers

SHAPE = (1, 6, 5)


@pytest.fixture
def part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, *SHAPE), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(20) % 3, (0.0,), (1.0,))


@pytest.fixture
def network():
    return models.build("mlp", sizes=(30, 24, 3), seed=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.sampled_from(explorers.STARTS))
def test_rounds_never_raise_the_mean_square(count, start):
    weights = torch.randn(40, generator=torch.Generator().manual_seed(count))
    found = explorers.Rounds.of(weights, count, start, 8)
    squares = [found.mean_square(number) for number in range(9)]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(squares))
    assert all(len(each) == count for each in found.centroids)


def test_rounds_leave_pruned_weights_out_and_point_at_the_nearest():
    weights = torch.tensor([0.0, 0.0, 1.0, 2.0, 5.0, 6.0])
    found = explorers.Rounds.of(weights, 2, "linear", 3)
    assert found.values.tolist() == [1.0, 2.0, 5.0, 6.0]
    assert found.shared(3).tolist() == [1.5, 1.5, 5.5, 5.5]
    assert found.largest_off(0.5) == pytest.approx((0.5 / 5 + 0.5 / 6) / 2)


def test_rate_of_the_papers_example():
    assert explorers.rate(16, 4) == 3.2


@pytest.mark.parametrize(("text", "bits", "fixed"), [("abracadabra", 23, 33), ("aaaa", 0, 0), ("ab", 2, 2),
                                                     ("aaaaaaab", 8, 8)])
def test_code_of_a_word(text, bits, fixed):
    code = explorers.Code.of(text)
    assert (code.bits, code.fixed_bits) == (bits, fixed)
    assert sum(2.0 ** -len(word) for word in code.words.values()) == 1
    assert code.entropy * len(text) <= bits + 1e-9


@pytest.mark.parametrize("coder", ["fixed", "huffman"])
@pytest.mark.parametrize(("keep", "count", "limit"), [(0.1, 4, 8), (0.5, 16, 4), (0.02, 2, 256)])
def test_parts_add_up_to_the_file(network, coder, keep, count, limit):
    small = explorers.shared(explorers.pruned(network, keep), count)
    found = explorers.bytes_by_part(small, coder, limit, SHAPE)
    data = artefact.to_bytes(small, input_shape=SHAPE, encodings=explorers.encodings(small, coder, limit))
    assert sum(found.values()) == len(data)
    assert found.keys() == explorers.PARTS.keys()
    assert found["biases"] == 4 * 27
    assert 50 < found["header, graph and counts"] < 200
    assert (found["code tables"] > 0) == (coder == "huffman")
    again = artefact.read(data).network
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), again.parameters(), strict=True))


def test_pruned_and_shared_leave_the_network_alone(network):
    before = [parameter.detach().clone() for parameter in network.parameters()]
    small = explorers.shared(explorers.pruned(network, 0.25), 4)
    weights = [parameter for parameter in small.parameters() if parameter.ndim > 1]
    assert sum(int(weight.count_nonzero()) for weight in weights) == round(0.25 * (30 * 24 + 24 * 3))
    assert all(len(weight[weight != 0].unique()) <= 4 for weight in weights)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def _explorer(name, network, part):
    return {
        "sharing": lambda: explorers.sharing(torch.randn(200, generator=torch.Generator().manual_seed(0))),
        "tree": lambda: explorers.huffman_tree(),
        "bytes": lambda: explorers.where_bytes_go(network, part),
    }[name]()


@pytest.mark.parametrize("name", ["sharing", "tree", "bytes"])
def test_every_position_draws_a_picture_with_words(network, part, name):
    box = _explorer(name, network, part)
    *knobs, shown = box.children
    for knob in knobs:
        before = shown.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1]
        else:
            knob.value = "nutshell" if isinstance(knob.value, str) else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60
        assert "base64," in shown.value


def test_an_empty_word_and_a_single_letter_are_drawn(network, part):
    box = explorers.huffman_tree()
    for text, words in (("", "Type something"), ("a", "0 bits in Huffman"), ("  ", "0 bits")):
        box.children[0].value = text
        assert words in box.children[-1].value


def test_bytes_words_are_those_of_the_file(network, part):
    box = explorers.where_bytes_go(network, part)
    small = explorers.shared(explorers.pruned(network, 0.1), 16)
    size = len(artefact.to_bytes(small, input_shape=SHAPE, encodings=explorers.encodings(small, "fixed", 32)))
    words = re.sub("<img.*", "", box.children[-1].value)
    assert f"{size:,} bytes" in words
    positions = [np.flatnonzero(weight.detach().numpy()) for weight in small.parameters() if weight.ndim > 1]
    padding = sum(int(((np.diff(where, prepend=-1) - 1) // 32).sum()) for where in positions)
    assert f"{padding:,} padding zeros" in words
