"""The explorers of unit 10 show numbers that agree with formulas and meter, and pictures with words."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import meter, models
from nutshell.explorers import compact_architectures as compact
from nutshell.models.blocks import block_network


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([8, 16, 64]), st.sampled_from([8, 32]), st.sampled_from([4, 8]))
def test_costs_are_those_of_the_formulas(channels, outputs, side):
    costs = compact.block_costs(channels, outputs, side)
    inner, half = outputs // 4, outputs // 2
    weights = {
        "plain": 9 * channels * outputs,
        "two plain": 9 * outputs * (channels + outputs),
        "bottleneck": channels * inner + 9 * inner**2 + inner * outputs,
        "fire": channels * inner + inner * half + 9 * inner * half,
        "separable": 9 * channels + channels * outputs,
        "flattened": outputs * (channels + 6),
        "grouped": 9 * channels * channels // 4 + channels * outputs,
    }
    assert set(costs) == set(compact.KINDS)
    for kind, expected in weights.items():
        assert costs[kind]["macs"] == expected * side**2, kind
    assert costs["octave"]["macs"] == costs["two plain"]["macs"] * 5 // 8
    assert costs["octave"]["parameters"] >= costs["two plain"]["parameters"] - 2 * outputs


def test_a_network_is_described_stage_by_stage():
    assert compact.described(("fire", "plain", "separable"), 8, 2) == [
        ("plain", 8), ("fire", 8), ("fire", 8), ("pool", 2), ("plain", 16), ("plain", 16), ("pool", 2),
        ("separable", 32), ("separable", 32), ("pool", 2)]  # fmt: skip


def test_numbers_of_a_network_are_the_meters():
    network = block_network(compact.described(("separable", "fire"), 8, 1))
    found, report = compact.numbers(network), meter.count(network.eval(), (1, 3, 32, 32))
    assert (found["parameters"], found["macs"]) == (report.parameters, report.macs)
    assert found["energy_uj"] == meter.energy(report).total_uj
    for quantity, total in (("macs", report.macs), ("parameters", report.parameters)):
        assert sum(compact.by_block(report, quantity).values()) == total
    assert list(compact.by_block(report)) == ["block1", "block2", "block4", "classifier"]


def test_the_time_is_the_median_of_the_runs_that_follow_the_warm_up(monkeypatch):
    seconds = [9, 9, 9, 9, 9, 9, 0.001, 0.010, 0.003, 0.030, 0.002, 0.020]  # two networks that take turns
    ticks = iter([tick for number, took in enumerate(seconds) for tick in (100 * number, 100 * number + took)])
    monkeypatch.setattr(compact.time, "perf_counter", lambda: next(ticks))
    seen, threads = [], torch.get_num_threads()
    watch = nn.Identity()
    watch.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    assert compact.milliseconds(watch, nn.Identity(), runs=3) == pytest.approx([2.0, 20.0])
    assert set(seen) == {1} and torch.get_num_threads() == threads


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_octaves_follow_their_formulas(alpha):
    found = compact.octave_numbers(alpha)
    assert found["macs"] == pytest.approx(1 - 0.75 * alpha * (2 - alpha))
    assert found["activations"] == pytest.approx(1 - 0.75 * alpha)
    assert found["parameters"] == 1
    low, high = int(64 * round(alpha * 8) / 8), 64 - int(64 * round(alpha * 8) / 8)
    macs = sum(meter.count(nn.Conv2d(c, p, 3, padding=1, bias=False), (1, c, side, side)).macs
               for c, p, side in ((high, high, 8), (low, high, 4), (high, low, 4), (low, low, 4)) if c and p)
    assert compact.octave_numbers(low / 64)["macs"] == pytest.approx(macs / (9 * 64 * 64 * 64))


def test_halves_of_an_image_add_up_and_the_low_one_is_flat():
    image = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))
    low, rest = compact.halves(image)
    torch.testing.assert_close(low + rest, image)
    assert torch.equal(low[:, ::2, ::2], low[:, 1::2, 1::2]) and torch.equal(low[:, ::2, ::2], low[:, ::2, 1::2])
    torch.testing.assert_close(low[:, ::2, ::2], nn.functional.avg_pool2d(image[None], 2)[0])


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.integers(0, 9))
def test_coins_fall_as_often_as_they_should(keep, seed):
    cases = compact.thrown(keep, 60, seed)
    for case, share in enumerate(((1 - keep) ** 2, keep * (1 - keep), (1 - keep) * keep, keep**2)):
        bound = 6 * (max(share * (1 - share), 1e-4) / cases.numel()) ** 0.5
        assert abs(float((cases == case).double().mean()) - share) <= bound


def test_words_compare_in_both_directions():
    assert compact._times(10, 5) == "2.0× less" and compact._times(5, 10) == "2.0× more"
    assert compact._times(10, 10.1) == "the same"


def test_the_slope_in_words_is_autograds():
    x = torch.tensor(-1.0, requires_grad=True)
    (x * torch.sigmoid(2.5 * x)).backward()
    assert compact._slope(-1.0, 2.5) == pytest.approx(x.grad.item())


def _explorer(name):
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"blocks": compact.blocks, "builder": compact.builder, "coins": compact.coins, "swish": compact.swish,
            "octaves": lambda: compact.octaves(images, ["cat", "frog", "ship"])}[name]()


@pytest.mark.parametrize("name", ["blocks", "builder", "coins", "swish", "octaves"])
def test_every_position_draws_a_picture_with_words(name, monkeypatch):
    monkeypatch.setattr(compact, "milliseconds", lambda *networks: [1.5] * len(networks))
    *knobs, shown = _explorer(name).children
    for knob in knobs:
        before, start = shown.value, knob.value
        if hasattr(knob, "options"):
            knob.value = knob.options[-1][1] if isinstance(knob.options[-1], tuple) else knob.options[-1]
        else:
            knob.value = knob.min if knob.value == knob.max else knob.max
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60
        assert "base64," in shown.value
        knob.value = start


def test_the_builder_says_what_the_network_costs_and_remembers_what_was_tried():
    box = compact.builder()
    box.children[0].value = "separable"
    words = re.sub("<img.*", "", box.children[-1].value)
    report = meter.count(block_network(compact.described(("separable", "plain", "plain"), 32, 1)).eval(),
                         (1, 3, 32, 32))
    vgg = meter.count(models.build("vgg-small").eval(), (1, 3, 32, 32))
    assert f"{report.parameters:,} parameters ({compact._times(vgg.parameters, report.parameters)})" in words
    assert f"{report.macs / 1e6:.2f} million MACs" in words
    assert re.search(r"\d\.\d\d ms measured here", words)
    again = box.children[-1].value
    box.children[0].value = "plain"
    box.children[0].value = "separable"
    assert re.sub("<img.*", "", box.children[-1].value) == re.sub("<img.*", "", again)  # not timed anew
