"""Unit 06: its checks accept what is right under any secret, integers equal fractions, results keep their word."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, budget, checkpoints, data, models, results
from nutshell.artefact import Affine
from nutshell.checks import Answer, answers_of, checks_of
from nutshell.data.dataset import Dataset, Split
from nutshell.measure import measure
from nutshell.wire import running
from solutions.quantization import checks, experiment, integer_network, mutants, onnx_runtime, reference, training

CHECKS = checks_of(checks)
BITS = st.integers(2, 8)


def _name(answer):
    return answer.implementation.__name__


MISTAKES = [
    ("parameters_with_256_divisions", "256 levels leave 255 gaps"),
    ("parameters_without_zero", "not extended to contain 0"),
    ("parameters_divide_by_zero", "divided by the scale later on"),
    ("parameters_symmetric", "as long on one side of 0"),
    ("calibrate_forgets_to_sort", "sort them first"),
    ("calibrate_shrinks_the_top", "low end is never moved"),
    ("GridThatClipsFirst", "clips before the zero point is added"),
    ("GridThatWrapsAround", "wrap around"),
    ("GridWithInfinitiesFirst", "Infinity is no whole number"),
    ("GridThatSubtractsBytes", "Below the zero point the difference wraps around"),
    ("GridThatScalesFirst", "subtracted before the scale is multiplied in"),
    ("GridThatAddsZeroTwice", "it is added on the way there"),
    ("GridInInt8", "levels above it have become negative"),
    ("GridThatRemembers", "what was lost can't come back"),
    ("channels_of_ranges", "in the middle of the grid"),
    ("fake_open_above", "Above the upper end"),
    ("fake_strictly_between", "is inside the range, too"),
    ("linear_subtracts_in_bytes", "bytes can't be negative"),
    ("linear_adds_bias_last", "isn't on the grid of the outputs"),
    ("channels_to_minus_128", "the same on both sides of 0"),
    ("calibrate_cuts_all_at_each_end", "twice as much as asked for"),
    ("fake_passes_everything", "yet the gradient passes"),
    ("fake_symmetric_ends", "those of a signed grid"),
    ("linear_in_floats_half_up", "float64 has 53 bits"),
    ("linear_scales_in_32_bits", "overflows 32 bits"),
    ("linear_away_from_zero", "away from 0"),
    ("convolution_pads_with_level_0", "stands for another number than 0"),
    ("convolution_ignores_stride", "stride is not used"),
]


@pytest.mark.parametrize(("mutant", "cause"), MISTAKES, ids=[mutant for mutant, _ in MISTAKES])
def test_a_mistake_gets_its_cause(mutant, cause):
    answer = next(answer for answer in answers_of(mutants) if _name(answer) == mutant)
    failed = [verdict for verdict in running.try_answer(answer, CHECKS, reference) if not verdict.passed]
    assert failed and all(verdict.next_step for verdict in failed)
    assert any(cause in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]


@pytest.mark.parametrize("exercise", [exercise.name for exercise in checks.UNIT.exercises])
def test_who_returns_nothing_is_told_so(exercise):
    failed = [v for v in running.try_answer(Answer(exercise, lambda *_, **__: None, False), CHECKS, reference)
              if not v.passed]
    assert failed and {verdict.status for verdict in failed} == {"WRONG"}


# Properties ----------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), BITS)
def test_zero_is_a_level_and_the_grid_covers_the_range(one, other, bits):
    low, high = sorted((one, other))
    scale, zero = reference.quantization_parameters(low, high, bits)
    low, high, most = min(low, 0.0), max(high, 0.0), 2**bits - 1
    assert scale > 0 and type(zero) is int and 0 <= zero <= most
    assert scale * -zero <= low + scale * (0.5 + 1e-9) and high - scale * (0.5 + 1e-9) <= scale * (most - zero)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e4), BITS, st.data())
def test_the_grid_is_a_fixed_point(scale, bits, draw):
    zero = draw.draw(st.integers(0, 2**bits - 1))
    levels = torch.arange(2**bits, dtype=torch.uint8)
    grid = reference.AffineGrid(scale, zero, bits)
    numbers = grid.dequantize(levels)
    assert torch.equal(grid.quantize(numbers), levels)
    assert numbers[zero] == 0 and int(grid.quantize(torch.zeros(()))) == zero


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 1e3), BITS, st.lists(st.floats(-1e4, 1e4), max_size=30), st.data())
def test_levels_are_monotone_and_half_a_step_away(scale, bits, values, draw):
    zero = draw.draw(st.integers(0, 2**bits - 1))
    x = torch.tensor(sorted(values), dtype=torch.float64)
    q = reference.AffineGrid(scale, zero, bits).quantize(x).int()
    assert bool((q.diff() >= 0).all())
    inside = (x >= -scale * zero) & (x <= scale * (2**bits - 1 - zero))
    assert float((scale * (q - zero) - x)[inside].abs().max() if inside.any() else 0) <= scale * (0.5 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 61), st.integers(-(2**31), 2**31 - 1), st.integers(0, 255))
def test_requantisation_is_exact_rational_arithmetic(multiplier, shift, total, zero):
    q = reference.int8_linear(torch.zeros(1, 1, dtype=torch.uint8), 0, torch.ones(1, 1, dtype=torch.int8),
                              torch.tensor([total], dtype=torch.int32), torch.tensor([multiplier]),
                              torch.tensor([shift]), zero)
    exact = Fraction(total) * multiplier / 2**shift
    assert int(q) == min(255, max(0, math.floor(exact + Fraction(1, 2)) + zero))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_linear_is_exact_and_one_step_from_floats(batch, inputs, outputs, seed):
    rng = np.random.default_rng(seed)
    q, zero, weight, bias, multiplier, shift, out_zero = checks._random_layer(rng, batch, max(inputs, 1), outputs)
    q, weight = q[:, :inputs], weight[:, :inputs]
    got = reference.int8_linear(q, zero, weight, bias, multiplier, shift, out_zero)
    x, w = q.numpy().astype(object) - zero, weight.numpy().astype(object)
    totals = [[sum(a * b for a, b in zip(row, column, strict=True)) + int(c)
               for column, c in zip(w, bias.tolist(), strict=True)] for row in x]
    for found, row in zip(got.tolist(), totals, strict=True):
        for level, total, m, s in zip(found, row, multiplier.tolist(), shift.tolist(), strict=True):
            assert level == min(255, max(0, math.floor(Fraction(total * m, 2**s) + Fraction(1, 2)) + out_zero))
    factor = multiplier.double() / 2.0 ** shift.double()
    floats = ((q.double() - zero) @ weight.double().T + bias) * factor
    assert float((got - (floats.round() + out_zero).clamp(0, 255)).abs().max()) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.data())
def test_convolution_is_the_linear_layer_at_every_place(channels, outputs, side, stride, padding, draw):
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32 - 1)))
    size = side + int(rng.integers(0, 4))
    _, _, _, bias, multiplier, shift, out_zero = checks._random_layer(rng, 1, channels * side * side, outputs)
    zero = int(rng.integers(0, 256))
    q = torch.from_numpy(rng.integers(0, 256, (2, channels, size, size))).to(torch.uint8)
    weight = torch.from_numpy(rng.integers(-127, 128, (outputs, channels, side, side))).to(torch.int8)
    got = reference.int8_convolution(q, zero, weight, bias, multiplier, shift, out_zero, stride, padding)
    padded = nn.functional.pad(q.int(), (padding,) * 4, value=zero).to(torch.uint8)
    flat = weight.flatten(1)
    for row in range(got.shape[2]):
        for column in range(got.shape[3]):
            top, left = row * stride, column * stride
            patch = padded[:, :, top : top + side, left : left + side].flatten(1)
            want = reference.int8_linear(patch, zero, flat, bias, multiplier, shift, out_zero)
            assert torch.equal(got[:, :, row, column], want)


def test_channels_are_those_of_the_artefacts_encoding():
    weight = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    for bits in (8, 4, 2):
        q, scale = reference.per_channel(weight, bits)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
        with torch.no_grad():
            network[1].weight.copy_(weight.flatten(1))
        stored = artefact.read(artefact.to_bytes(network, input_shape=(4, 3), encodings={
            "1.weight": Affine(bits, axis=0, symmetric=True)})).network.get_parameter("1.weight")
        torch.testing.assert_close(stored.detach(), (scale[:, None, None] * q).flatten(1), rtol=1e-6, atol=0)


def test_fake_quantisation_has_the_gradient_of_torchs_own():
    x = torch.linspace(-3, 5, 997, requires_grad=True)
    upstream = torch.randn(997, generator=torch.Generator().manual_seed(1))
    for scale, zero, bits in ((0.25, 3, 4), (0.03125, 64, 8), (1.0, 1, 2)):
        ours = reference.fake_quantize(x, scale, zero, bits)
        theirs = torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 2**bits - 1)
        torch.testing.assert_close(ours, theirs)
        mine, other = (torch.autograd.grad(y, x, upstream)[0] for y in (ours, theirs))
        ends = -scale * zero, scale * (2**bits - 1 - zero)  # within half a step of the ends torch lets it pass
        clear = ((x - ends[0]).abs() > scale * 0.51) & ((x - ends[1]).abs() > scale * 0.51)
        torch.testing.assert_close(mine[clear], other[clear])


def test_stochastic_rounding_is_unbiased_where_nearest_stands_still():
    weight = {"half to even": torch.zeros(2000), "stochastic": torch.zeros(2000)}
    for step in range(100):
        for rounding in weight:
            q = reference.fixed_point(weight[rounding] + 0.001, 16, 7, rounding, seed=step)
            weight[rounding] = q / 128
    assert weight["half to even"].abs().max() == 0
    assert weight["stochastic"].mean() == pytest.approx(0.1, abs=0.005)


# Whole networks ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mlp", "lenet-5-caffe"])
def network(request):
    options = {"sizes": (784, 30, 20, 10)} if request.param == "mlp" else {}
    return models.build(request.param, seed=0, **options).eval()


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_each_layer_on_integers_is_at_most_one_step_from_its_simulation(network, inputs):
    made = integer_network.convert(network, inputs)
    q = reference.AffineGrid(*made.input_grid).quantize(inputs)
    for layer in made.layers:
        assert (layer.weight.dtype, layer.bias.dtype, q.dtype) == (torch.int8, torch.int32, torch.uint8)
        x = layer.before[0] * (q.double() - layer.before[1])
        q = layer.run(q)
        simulated = torch.round(layer.simulate(x) / layer.after[0]) + layer.after[1]
        assert float((q - simulated).abs().max()) <= 1


def test_logits_on_integers_are_near_the_float_networks(network, inputs):
    made = integer_network.convert(network, inputs)
    scale, zero = made.layers[-1].after
    with torch.no_grad():
        floats = network(inputs)
    distance = (scale * (made.levels(inputs).double() - zero) - floats).abs().max()
    assert float(distance) <= 0.05 * float(floats.max() - floats.min())


def test_onnx_runtime_agrees_on_the_same_grids(network, inputs):
    made = integer_network.convert(network, inputs)
    theirs = onnx_runtime.run(onnx_runtime.integer_model(made), inputs)
    apart = (made.levels(inputs).int() - theirs.int()).abs()
    assert int(apart.max()) <= 1 and float((apart > 0).double().mean()) < 0.02
    with torch.no_grad():
        torch.testing.assert_close(onnx_runtime.run(onnx_runtime.float_model(network), inputs), network(inputs),
                                   rtol=1e-4, atol=1e-5)


def test_outputs_with_next_to_no_weights_keep_their_biases(inputs):
    network = models.build("mlp", seed=0, sizes=(784, 8, 10)).eval()
    with torch.no_grad():
        network.fc1.weight[3] *= 1e-12
        network.fc1.bias[3] = 0.7
        network.fc1.weight[4] = 0
    made = integer_network.convert(network, inputs)
    layer = made.layers[0]
    q = layer.run(reference.AffineGrid(*made.input_grid).quantize(inputs))
    numbers = layer.after[0] * (q[:, 3].double() - layer.after[1])
    assert float((numbers - 0.7).abs().max()) <= 0.51 * layer.after[0]


def test_other_layers_are_refused():
    with pytest.raises(TypeError, match="BatchNorm2d"):
        integer_network.steps_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))


def test_training_on_the_grid_keeps_weights_on_the_grid(network, inputs):
    made = training.FakeQuantized(network, inputs, bits=3)
    made(inputs).square().sum().backward()
    for weight, log, parameter in zip(made.grid_weights(), made.weight_steps, made.weights, strict=True):
        levels = weight.detach() / log.detach().exp().reshape(-1, *(1,) * (weight.ndim - 1))
        assert float((levels - levels.round()).abs().max()) < 1e-4 and float(levels.abs().max()) <= 3.001
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0 and log.grad is not None


# Budget and results --------------------------------------------------------------------------------------------------


def _file(bits):
    network = checkpoints.load("lenet-300-100")
    encodings = {}
    for name in ("fc1", "fc2", "fc3"):
        weight = network.get_parameter(f"{name}.weight")
        q, scale = reference.per_channel(weight, bits)
        with torch.no_grad():
            weight.copy_(scale[:, None] * q)
        encodings[f"{name}.weight"] = Affine(bits, axis=0, symmetric=True, scale=scale)
    return network, artefact.to_bytes(network, input_shape=(1, 28, 28), encodings=encodings)


def test_int8_fits_the_budget_and_comes_back_bit_for_bit():
    (limited,) = checks.UNIT.budgets
    assert limited.topology == "lenet-300-100"
    size = {limit.metric: limit.at_most for limit in limited.limits}
    assert size["points_lost"] == 0.3 and set(size) == {"bytes", "points_lost"}
    network, file = _file(8)
    assert len(file) <= size["bytes"] < 266_200 * 2  # no wider weights fit
    stored = artefact.read(file).network
    for name, parameter in network.named_parameters():
        assert torch.equal(stored.get_parameter(name), parameter), name


def test_coarse_weights_get_no_marks():
    (limited,) = checks.UNIT.budgets
    assert budget.share_left(5.0, limited.limits[1]) == 0


def test_reference_results_are_reached():
    found = results.load("quantization")
    assert found["data"] == "mnist" and len(found["seeds"]) >= 3
    assert set(found["networks"]) == {"lenet-300-100", "lenet-5-caffe"}
    for measured in found["networks"].values():
        accuracy = measured["accuracy"]
        int8 = accuracy["int8"]
        assert int8["whole_numbers"]["points_lost"]["mean"] <= 0.1
        assert int8["most_steps_apart_within_a_layer"] <= 1
        assert abs(int8["onnx_runtime_same_grids"]["points_lost"]["mean"]) <= 0.1
        (four,) = [row for row in accuracy["trained"] if row["bits"] == 4]
        assert four["points_lost"]["mean"] <= 0.5
        assert {8, 5, 4, 3, 2} <= {row["bits"] for row in accuracy["bits"]}


def test_the_file_committed_is_what_its_results_say():
    found, file = results.load("quantization"), results.folder() / "quantization.nut"
    row = found["networks"]["lenet-300-100"]["accuracy"]["file"]
    images = data.mnist()
    measured = measure(file, images if images.name == found["data"] else None)
    assert measured.bytes == row["bytes"] and row["rate"] == round(4 * 266_610 / measured.bytes, 2)
    if measured.error_percent is not None:  # without MNIST the error stands as it was measured
        assert measured.error_percent == pytest.approx(row["test_error_percent"], abs=0.02)
    for weight in (parameter for parameter in artefact.load(file).network.parameters() if parameter.ndim > 1):
        for output in weight.detach():
            assert len(output.unique()) <= 2 ** row["bits"] - 1


def test_a_file_of_few_bits_is_the_network_that_was_trained(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "nutshell").mkdir()
    monkeypatch.chdir(tmp_path)
    part = Split(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (40,)), (0.1,), (0.3,))
    images = Dataset("noise", part, part, part, tuple("0123456789"))
    dense = models.build("mlp", seed=0, sizes=(784, 30, 20, 10)).eval()
    few = training.FakeQuantized(dense, part.inputs(), bits=4, activation_bits=8)
    row = experiment.write_file(few, dense, images, experiment.Answers.of([dense], part))
    stored = artefact.load(tmp_path / "results" / "quantization.nut").network
    for parameter, weight in zip((p for p in stored.parameters() if p.ndim > 1), few.grid_weights(), strict=True):
        torch.testing.assert_close(parameter, weight)
    assert row["bytes"] < 4 * sum(p.numel() for p in dense.parameters()) / 7 and row["bits"] == 4
