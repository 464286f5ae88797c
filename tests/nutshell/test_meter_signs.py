"""Layers of weights ±α on signs: binary operations, counted and priced."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import measure, meter
from nutshell.artefact import save
from nutshell.artefact.binary import Sign


def signs(*shape: int) -> torch.Tensor:
    return torch.where(torch.randn(*shape, generator=torch.Generator().manual_seed(0)) >= 0, 1.0, -1.0)


def layer(kind: type[nn.Module], *sizes: int, alpha: float | None = 0.25, bias: bool = False, **more: int) -> nn.Module:
    """With weights ±α, α growing from output to output; with ±1 for ``None``."""
    made = kind(*sizes, bias=bias, **more)
    rows = torch.arange(1.0, len(made.weight) + 1).reshape(-1, *[1] * (made.weight.ndim - 1))
    made.weight.data = signs(*made.weight.shape) * (1.0 if alpha is None else alpha * rows)
    return made


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.booleans(), st.sampled_from([None, "meta"]))
def test_a_linear_layer_on_signs_counts_two_binary_operations_a_product(inputs, outputs, images, bias, device):
    network = nn.Sequential(Sign(), layer(nn.Linear, inputs, outputs, bias=bias))
    report = meter.count(network, (images, inputs), device=device)
    found = report["1"]
    assert (found.macs, found.binary) == (0, 2 * images * inputs * outputs)
    assert found.elementwise == {"multiplication": images * outputs}
    assert found.bias_adds == (images * outputs if bias else 0)
    assert found.parameters == inputs * outputs + bias * outputs  # a weight although nothing was multiplied by it


@pytest.mark.parametrize("device", ["own", "meta"])
def test_a_convolution_on_signs_counts_what_its_products_were(device):
    made = layer(nn.Conv2d, 6, 4, 3, stride=2, padding=1)
    real = meter.count(made, (2, 6, 9, 9))
    found = meter.count(nn.Sequential(Sign(), made), (2, 6, 9, 9), device=device)["1"]
    assert (found.macs, found.binary) == (0, 2 * real.macs)


def test_weights_of_one_need_no_multiplication():
    network = nn.Sequential(Sign(), nn.Flatten(), layer(nn.Linear, 12, 5, alpha=None))
    found = meter.count(network, (1, 3, 4))["2"]
    assert (found.binary, dict(found.elementwise)) == (120, {})


class Spoilt(nn.Module):
    """Takes a number off signs, in place: then they are none."""

    def forward(self, x):
        return x.sub_(0.5)


@pytest.mark.parametrize("device", ["own", "meta"])
@pytest.mark.parametrize("network", [
    nn.Sequential(nn.ReLU(), layer(nn.Linear, 6, 4)),  # weights ±α on numbers
    nn.Sequential(Sign(), nn.Linear(6, 4)),  # signs on numbers
    nn.Sequential(Sign(), nn.ReLU(), layer(nn.Linear, 6, 4)),  # 0 and 1
    nn.Sequential(Sign(), Spoilt(), layer(nn.Linear, 6, 4)),
], ids=["numbers", "weights", "activation", "in place"])
def test_what_is_not_signs_by_signs_counts_multiply_accumulates(network, device):
    total = meter.count(network, (1, 6), device=device).total
    assert (total.macs, total.binary) == (24, 0)


@pytest.mark.parametrize("spoil", [lambda w: w[0, 0].zero_(), lambda w: w[1, 2].mul_(2), lambda w: w[2].zero_(),
                                   lambda w: w[0].fill_(torch.inf)])
def test_one_weight_of_another_size_makes_a_layer_real(spoil):
    network = nn.Sequential(Sign(), layer(nn.Linear, 5, 4))
    with torch.no_grad():
        spoil(network[1].weight)
    total = meter.count(network, (1, 5)).total
    assert (total.macs, total.binary) == (20, 0)


def test_outputs_are_the_dimension_in_which_magnitudes_may_differ():
    square = layer(nn.Linear, 4, 4)
    assert meter.count(nn.Sequential(Sign(), square), (1, 4)).total.binary == 32
    square.weight.data = square.weight.data.T.contiguous()
    assert meter.count(nn.Sequential(Sign(), square), (1, 4), device="meta").total.binary == 0


def test_a_product_of_signs_costs_two_operations_on_words():
    report = meter.count(nn.Sequential(Sign(), layer(nn.Linear, 640, 32, alpha=None)), (1, 640))
    estimate = meter.energy(report)
    assert estimate.part("binary") == pytest.approx(640 * 32 / 64 * 2 * 0.2)
    assert estimate.part("multiply_accumulates") == 0
    assert "64 packed bits costs 0.2 pJ" in estimate.assumption
    assert "a product of signs is two of them" in estimate.assumption
    assert "two binary operations" in str(report)


def test_signs_are_read_packed():
    made = layer(nn.Linear, 64, 2, alpha=None)
    packed = meter.count(nn.Sequential(Sign(), made), (1, 64)).operations
    real = meter.count(nn.Sequential(nn.ReLU(), made), (1, 64)).operations
    assert (packed[-1].read, real[-1].read) == (2, 64)


def test_a_file_is_measured_with_its_binary_operations(tmp_path):
    network = nn.Sequential(nn.Flatten(), Sign(), layer(nn.Linear, 16, 3))
    save(network, tmp_path / "signs.nut", input_shape=(1, 4, 4))
    found = measure.measure(tmp_path / "signs.nut")
    assert (found.macs, found.binary) == (0, 96)
    assert ("binary operations", "96 an image") in found.rows()
