"""ResNet-20 in few bits: folding changes nothing, grids hold zero, and the files are what their results say."""

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from nutshell import artefact, checkpoints, data, models, results
from nutshell.artefact.topology import difference, topology_of, topology_of_network
from nutshell.data.dataset import Dataset, Split
from nutshell.measure import hits
from solutions.quantization import resnet_20, small_resnet
from solutions.quantization.folding import Rounded, fold, int8_encodings, with_int8_activations
from solutions.quantization.small_resnet import (
    Plan,
    bits_of,
    due,
    encodings,
    kept,
    on_grid,
    prune,
    prune_and_round,
    seen_by_forward,
    step_of,
    steps_of,
)

INPUT = (3, 32, 32)
PLAN = Plan(keep=0.3, epochs=4, rounded_from=0.5, ramp=(0.0, 0.5), batch_size=16, precision="float32")
FILES = ("resnet-20-int8", "resnet-20")


def network(seed: int = 0, widths=(4, 8, 16)) -> nn.Module:
    """A narrow ResNet-20 whose normalisations are as after training, with negative scales and one of zero."""
    made = models.build("resnet-20", seed=seed, widths=widths).eval()
    generator = torch.Generator().manual_seed(seed)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.1)
            module.weight.data[0] = 0
    return made


def inputs(count: int = 2) -> torch.Tensor:
    return torch.randn(count, *INPUT, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    part = Split(torch.randint(0, 256, (64, *INPUT), generator=generator, dtype=torch.uint8),
                 torch.randint(0, 10, (64,), generator=generator), (0.5,) * 3, (0.3,) * 3)
    return Dataset("noise", part, part, part, tuple("0123456789"))


# Folding and 8 bits


@pytest.mark.parametrize("name", ["resnet-20", "vgg-small"])
def test_a_folded_network_is_the_network(name):
    before = network() if name == "resnet-20" else models.build(name, seed=0, widths=(4, 8)).eval()
    folded = fold(before)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(inputs()), before(inputs()), rtol=1e-4, atol=1e-3)
    assert before.state_dict().keys() != folded.state_dict().keys()  # the network itself was left as it is


def test_budgets_take_a_folded_file_for_the_network():
    folded = fold(models.build("resnet-20", seed=0))
    found = artefact.read(artefact.to_bytes(folded, input_shape=INPUT, encodings=int8_encodings(folded)))
    topology = topology_of(found.graph, {tensor.name: tensor.form for tensor in found.tensors}, found.shapes)
    assert difference(topology, topology_of_network(models.build("resnet-20"), INPUT)) == ""


def test_int8_weights_are_at_most_half_a_step_away():
    folded = fold(network())
    found = artefact.read(artefact.to_bytes(folded, input_shape=INPUT, encodings=int8_encodings(folded))).network
    for name, parameter in folded.named_parameters():
        after = found.get_parameter(name)
        if parameter.ndim == 1:
            assert torch.equal(after, parameter)
            continue
        channels = parameter.detach().flatten(1)
        step = channels.abs().amax(1) / 127
        assert ((after.flatten(1) - channels).abs() <= step[:, None] * 0.50001).all(), name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40))
def test_rounded_activations_hold_zero_and_stay_where_they_are(values):
    grid, x = Rounded(), torch.tensor(values)
    assert torch.equal(grid(x), x)  # while it looks on
    grid.calibrating = False
    after = grid(x)
    step = max(grid.most - grid.least, 1e-12) / 255
    assert (after - x).abs().max() <= step * 1.001 + 1e-6  # half a step, and half a step of the zero point at the ends
    torch.testing.assert_close(grid(after), after, rtol=0, atol=1e-5)
    assert grid(torch.zeros(1)).item() == 0
    assert len(grid(torch.linspace(-99, 99, 2000)).unique()) <= 256


def test_activations_are_rounded_behind_every_layer_and_every_sum():
    folded = fold(network())
    rounded = with_int8_activations(folded, inputs(8))
    grids = [module for module in rounded.modules() if isinstance(module, Rounded)]
    assert len(grids) == 1 + 1 + 9 * 3 + 1  # image, first layer, nine blocks, pool
    assert not any(grid.calibrating for grid in grids) and all(grid.most > grid.least for grid in grids)
    error = (rounded(inputs(8)) - folded(inputs(8))).abs().max()
    assert 0 < error < 0.1 * folded(inputs(8)).abs().max()


# Pruning and rounding


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=50), st.integers(2, 8))
def test_a_grid_is_no_worse_than_the_one_over_the_whole_range(values, bits):
    weight, most = torch.tensor(values, dtype=torch.float64), 2 ** (bits - 1) - 1

    def error(step: float) -> float:
        return float((weight - on_grid(weight, step, bits) * step).square().sum())

    step = step_of(weight, bits)
    assert step > 0
    assert on_grid(weight, step, bits).abs().max() <= most
    assert torch.equal(on_grid(weight, step, bits)[weight == 0], torch.zeros(int((weight == 0).sum())).double())
    if weight.abs().max() > 1e-30:
        assert error(step) <= error(float(weight.abs().max()) / most) + 1e-12


def test_what_is_on_a_grid_stays_there():
    weight = torch.tensor([-7.0, -3, 0, 0, 1, 6, 7]) * 0.25
    assert step_of(weight, 4) == pytest.approx(0.25)
    assert torch.equal(on_grid(weight, 0.25, 4) * 0.25, weight)


def test_pruning_keeps_the_largest_of_the_whole_network_and_brings_nothing_back():
    weights = {"a": torch.tensor([[5.0, -0.1, 3.0]]), "b": torch.tensor([[-0.5, 0.2, 4.0, -9.0]])}
    masks = {name: torch.ones_like(weight) for name, weight in weights.items()}
    prune(weights, masks, 4 / 7)
    assert masks["a"].tolist() == [[1, 0, 1]] and masks["b"].tolist() == [[0, 0, 1, 1]]
    weights["a"][0, 1] = 100  # whatever momentum does behind the mask
    prune(weights, masks, 2 / 7)
    assert masks["a"].tolist() == [[1, 0, 0]] and masks["b"].tolist() == [[0, 0, 0, 1]]


def test_the_ramp_falls_along_the_cubic_to_its_end():
    plan = Plan(keep=0.2, ramp=(0.1, 0.6))
    assert [kept(plan, done) for done in (0.0, 0.1, 0.35, 0.6, 1.0)] == pytest.approx(
        [1, 1, 1 - 0.8 * (1 - 0.5**3), 0.2, 0.2])
    steps = [step for step in range(1000) if due(plan, step, 1000)]
    assert steps[0] > 100 and steps[-1] == 600
    assert not any(due(dataclasses.replace(plan, keep=1.0), step, 1000) for step in range(1000))


def test_gradients_go_straight_through_the_rounding_and_stop_at_the_mask():
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mask = (weight.detach().abs() > 0.4).float()
    step = step_of(weight.detach() * mask, PLAN.bits)
    seen = seen_by_forward({"w": weight}, {"w": mask}, {"w": step}, PLAN)["w"]
    torch.testing.assert_close(seen.detach(), on_grid(weight.detach() * mask, step, PLAN.bits) * step)
    upstream = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    (seen * upstream).sum().backward()
    assert torch.equal(weight.grad, upstream * mask)


def test_the_file_holds_the_whole_numbers_that_were_trained(images, tmp_path):
    trained = network()
    steps = prune_and_round(trained, images, PLAN, 0, tmp_path / "a.state")
    weights = {name: value for name, value in trained.named_parameters() if value.ndim > 1}
    assert steps.keys() == weights.keys()
    nonzero, total = sum(int((w != 0).sum()) for w in weights.values()), sum(w.numel() for w in weights.values())
    assert 0.2 * total < nonzero <= round(PLAN.keep * total)
    folded = fold(trained)
    content = artefact.to_bytes(folded, input_shape=INPUT, encodings=encodings(trained, folded, steps, PLAN))
    found = artefact.read(content).network
    for name, weight in weights.items():
        whole = weight.detach() / steps[name]
        torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-4)
        assert whole.abs().max() < 2 ** (bits_of(PLAN, name) - 1)
        torch.testing.assert_close(found.get_parameter(name), folded.get_parameter(name), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found(inputs()), trained(inputs()), rtol=1e-2, atol=1e-2)  # biases in 16 bits


def test_steps_are_found_for_each_layer_by_itself():
    weights = {"classifier.weight": torch.linspace(-1, 1, 63)[None], "x.weight": torch.linspace(-8, 8, 63)[None]}
    steps = steps_of(weights, {name: torch.ones_like(weight) for name, weight in weights.items()}, PLAN)
    assert steps["classifier.weight"] == pytest.approx(1 / 31, rel=0.1) and steps["x.weight"] > 8 / 7 * 0.7


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(images, tmp_path, monkeypatch):
    whole, again = network(), network(5)
    expected = prune_and_round(whole, images, PLAN, 0, tmp_path / "a.state")
    keep = small_resnet.save

    def stop(*arguments):
        keep(*arguments)
        if arguments[-1] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(small_resnet, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        prune_and_round(network(), images, PLAN, 0, tmp_path / "b.state")
    assert prune_and_round(again, images, PLAN, 0, tmp_path / "b.state") == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_state_of_another_plan_is_not_taken_up(images, tmp_path):
    one = dataclasses.replace(PLAN, epochs=1)
    prune_and_round(network(), images, one, 0, tmp_path / "c.state")
    state = (tmp_path / "c.state").read_bytes()
    for plan, seed in ((dataclasses.replace(one, keep=0.2), 0), (one, 1)):
        (tmp_path / "c.state").write_bytes(state)
        prune_and_round(network(), images, plan, seed, tmp_path / "c.state")
        assert (tmp_path / "c.state").read_bytes() != state


# The results


@pytest.fixture(scope="module")
def found() -> dict:
    return results.load("resnet_20")


@pytest.mark.parametrize("name", FILES)
def test_results_reach_what_they_aim_at(found, name):
    row = found["rows"][name]
    assert row["aim"] == resnet_20.AIMS[name]
    assert row["summary"]["points_lost"]["mean"] <= row["aim"]["points_lost"]
    assert min(row["rate"]) >= row["aim"].get("rate", 1)
    assert row["rate"] == [round(found["dense"]["fp32_bytes"] / size, 2) for size in row["bytes"]]
    dense = dict(zip(found["dense"]["seeds"], found["dense"]["error_percent"], strict=True))
    assert row["points_lost"] == [round(each - dense[seed], 2)
                                  for seed, each in zip(row["dense_seeds"], row["error_percent"], strict=True)]
    assert row["summary"] == {key: resnet_20.summary(row[key]) for key in resnet_20.SUMMARISED}


@pytest.mark.parametrize("name", FILES)
def test_the_file_committed_is_what_its_results_say(found, name):
    row, read = found["rows"][name], artefact.load(results.folder() / f"{name}.nut")
    assert read.bytes == row["bytes"][0]
    assert sum(tensor["bytes"] for tensor in row["tensors"]) == read.bytes
    topology = topology_of(read.graph, {tensor.name: tensor.form for tensor in read.tensors}, read.shapes)
    assert difference(topology, topology_of_network(models.build("resnet-20"), INPUT)) == ""
    images = data.load("cifar-10")
    if images.name != found["data"]:
        pytest.skip(f"measured on {found['data']!r}, here is {images.name!r}: put the data set into NUTSHELL_DATA")
    first = Split(images.test.images[: found["first"]], images.test.labels[: found["first"]], images.test.mean,
                  images.test.std)
    wrong = int((~hits(read.network, first, batch=250)).sum())
    assert abs(wrong - row["first_wrong"][0]) <= 1  # another processor may round one image to the other side


def test_the_plan_of_the_results_is_the_one_that_is_run_today(found):
    assert Plan(**{**found["rows"]["resnet-20"]["plan"], "ramp": tuple(found["rows"]["resnet-20"]["plan"]["ramp"])}
                ) == resnet_20.PLAN
    assert len(found["rows"]["resnet-20"]["seeds"]) >= 3
    command, _, chosen = found["command"].partition(" --dense-seeds ")
    assert command == resnet_20.COMMAND
    seeds = [int(seed) for seed in (chosen or resnet_20.DENSE_SEEDS).split(",")]
    assert found["rows"]["resnet-20"]["dense_seeds"] == seeds
    assert found["dense"]["seeds"] == found["rows"]["resnet-20-int8"]["dense_seeds"] == list(dict.fromkeys(seeds))


def test_each_run_begins_with_the_dense_network_of_its_seed(images, tmp_path, monkeypatch):
    for folder in ("results", "nutshell", "kept"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    asked = []

    def trained(network, seed, into, name):
        asked.append((network, seed, into))
        into.mkdir()
        save_file(models.build("resnet-20", seed=seed).state_dict(), into / "resnet-20.safetensors")

    monkeypatch.setattr(resnet_20.train, "callback", trained)
    monkeypatch.setattr(resnet_20.data, "load", lambda _: images)
    monkeypatch.setattr(resnet_20, "PLAN", dataclasses.replace(PLAN, epochs=1, batch_size=64))
    threads = torch.get_num_threads()
    try:
        options = ["--dense-seeds", "1,0,1", "--dense", "d{seed}", "--keep", "kept"]
        resnet_20.main(options, standalone_mode=False)
        found = results.load("resnet_20")
        monkeypatch.setattr(resnet_20, "prune_and_round", lambda *_: pytest.fail("made again"))
        resnet_20.main(options, standalone_mode=False)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    assert asked == [("resnet-20", 1, Path("d1"))]
    assert found["dense"]["seeds"] == [1, 0] and found["rows"]["resnet-20"]["dense_seeds"] == [1, 0, 1]
    assert found["command"].endswith("--dense-seeds 1,0,1")
    assert len(found["rows"]["resnet-20-int8"]["activations_in_8_bits_too"]["error_percent"]) == 2
    one, other = (artefact.load(tmp_path / "kept" / f"int8-{seed}.nut").network for seed in (0, 1))
    assert not torch.equal(one.get_parameter("conv.weight"), other.get_parameter("conv.weight"))
    shipped = fold(checkpoints.load("resnet-20")).conv.weight
    step = shipped.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((one.get_parameter("conv.weight") - shipped).abs() <= 0.51 * step).all()
