"""Energy by the 45 nm table: the figures of the reference, and what moves them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import meter, models
from nutshell.errors import WrongUse
from nutshell.meter.energy import PARTS


@pytest.fixture(scope="module")
def alexnet():
    return meter.count(models.build("alexnet", device="meta"), (1, 3, 227, 227))


@pytest.mark.parametrize(("arithmetic", "computing", "fetching"), [("float32", 3.33, 39.0), ("int8", 0.22, 9.75)])
def test_alexnets_arithmetic_and_weight_fetches_in_millijoules(alexnet, arithmetic, computing, fetching):
    estimate = meter.energy(alexnet, arithmetic=arithmetic)
    assert round(estimate.arithmetic / 1e9, 2) == computing
    assert round(estimate.part("multiply_accumulates") / 1e9, 2) == computing
    assert estimate.weights / 1e9 == pytest.approx(fetching, abs=0.05 if arithmetic == "float32" else 0.005)


def test_alexnets_terms_are_exact(alexnet):
    single, integer = meter.energy(alexnet), meter.energy(alexnet, arithmetic="int8")
    assert single.part("multiply_accumulates") == pytest.approx(724_406_816 * 4.6, rel=1e-12)
    assert single.weights == pytest.approx(60_965_224 * 640, rel=1e-12)
    assert integer.part("multiply_accumulates") == pytest.approx(724_406_816 * 0.3, rel=1e-12)
    assert integer.part("bias_additions") == pytest.approx(659_272 * 0.1, rel=1e-12)  # into the int32 accumulator
    assert integer.weights == pytest.approx(60_965_224 / 4 * 640, rel=1e-12)


def test_a_billion_connections_at_20_hertz_draw_12_8_watts():
    assert meter.fetch_power(1e9, per_second=20) == pytest.approx(12.8, rel=1e-12)
    assert meter.fetch_power(1e9, per_second=20, picojoules=1300) == pytest.approx(26.0, rel=1e-12)


def test_dram_is_a_parameter(alexnet):
    low, high = meter.energy(alexnet), meter.energy(alexnet, dram=1300)
    assert high.weights == pytest.approx(low.weights * 1300 / 640)
    assert "1300 pJ" in high.assumption


def test_stored_bytes_and_arithmetic_are_two_things(alexnet):
    """Weights of one byte that are decoded to float32 are fetched cheaply and multiplied dearly."""
    decoded = meter.energy(alexnet, bytes_per_weight=1)
    assert decoded.weights == meter.energy(alexnet, arithmetic="int8").weights
    assert decoded.arithmetic == meter.energy(alexnet).arithmetic


@pytest.mark.parametrize(
    ("inputs", "outputs", "picojoules"),
    [(8, 16, 1), (32, 64, 5), (64, 64, 640)],
)
def test_weights_come_from_the_smallest_level_that_holds_them_all(inputs, outputs, picojoules):
    """128 weights fill 512 bytes of registers, 2,048 the 8 KB of SRAM, 4,096 go to DRAM."""
    report = meter.count(nn.Linear(inputs, outputs, bias=False), (1, inputs))
    assert meter.energy(report).weights == inputs * outputs * picojoules
    tighter = meter.energy(report, bytes_per_weight=4.01)
    assert tighter.weights > meter.energy(report).weights * (1.002 if picojoules == 640 else 4.5)


def test_activations_are_read_and_written_in_the_smallest_level_that_holds_them():
    small = meter.energy(meter.count(nn.ReLU(), (1, 128)))
    middle = meter.energy(meter.count(nn.ReLU(), (1, 2048)))
    large = meter.energy(meter.count(nn.ReLU(), (1, 2049)))
    assert [small.activations, middle.activations, large.activations] == [256 * 1, 4096 * 5, 4098 * 640]
    assert small.total == pytest.approx(128 * 0.9 + 256)


@pytest.mark.parametrize(
    ("dtype", "mac"), [(torch.float32, 4.6), (torch.float16, 1.5), (torch.bfloat16, 1.5)]
)
def test_the_widest_operand_that_ran_decides_by_itself(dtype, mac):
    report = meter.count(nn.Linear(4, 4, bias=False).to(dtype), (1, 4))
    assert meter.energy(report).part("multiply_accumulates") == pytest.approx(16 * mac)


def test_double_precision_has_no_figure_and_asks_for_one():
    report = meter.count(nn.Linear(4, 4).double(), (1, 4))
    with pytest.raises(WrongUse, match=r"addmm in the network itself computes in float64.*arithmetic="):
        meter.energy(report)
    assert meter.energy(report, arithmetic="float32").total > 0


def test_binary_operations_cost_what_the_assumption_says():
    class Signs(nn.Module):
        def forward(self, x):
            return torch.bitwise_xor(x, x)

    report = meter.count(Signs(), inputs=torch.zeros(10, dtype=torch.int64))
    estimate = meter.energy(report, binary_word=0.5)
    assert report.total.binary == 640 and estimate.part("binary") == pytest.approx(5.0)
    assert "64 packed bits costs 0.5 pJ" in estimate.assumption


@settings(max_examples=30, deadline=None)
@given(inputs=st.integers(1, 80), outputs=st.integers(1, 80), weight=st.floats(0.05, 4), activation=st.floats(0.1, 4))
def test_parts_and_layers_sum_to_the_total_and_smaller_weights_never_cost_more(inputs, outputs, weight, activation):
    report = meter.count(nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU()), (1, inputs))
    estimate = meter.energy(report, weight, bytes_per_activation=activation)
    assert estimate.total == pytest.approx(sum(estimate.part(name) for name in PARTS))
    assert estimate.total == pytest.approx(sum(layer.total for layer in estimate.layers))
    assert estimate.total_uj == pytest.approx(estimate.total / 1e6)
    assert [layer.name for layer in estimate.layers] == [layer.name for layer in report.layers]
    assert meter.energy(report, weight / 2, bytes_per_activation=activation).weights <= estimate.weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arithmetic": "float64"}, "no figure for 'float64'"),
        ({"bytes_per_weight": 0}, "bytes_per_weight=0"),
        ({"bytes_per_activation": -1}, "bytes_per_activation=-1"),
        ({"dram": -1}, "dram=-1"),
    ],
)
def test_wrong_figures_are_refused(alexnet, arguments, message):
    with pytest.raises(WrongUse, match=message):
        meter.energy(alexnet, **arguments)


def test_the_estimate_says_that_it_is_one(alexnet):
    estimate = meter.energy(alexnet, arithmetic="int8")
    sentence = "An estimate under stated assumptions, not a measurement"
    assert sentence in " ".join(str(estimate).split()) and sentence in estimate._repr_html_()
    assert "45 nm figures (Horowitz 2014), arithmetic in int8; 1 byte a weight" in estimate.assumption
    assert "total" in str(estimate) and f"{estimate.total_uj:,.3f}" in str(estimate)
