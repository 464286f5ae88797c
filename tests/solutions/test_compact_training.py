"""What unit 10's results say of networks is what the networks are, and what was kept is what was measured."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from nutshell import artefact, checkpoints, meter, models, results
from nutshell.measure import measure
from nutshell.models.blocks import Shortcut, Swish, block_network
from solutions.compact_architectures import experiment, training

IMAGE = (1, 3, 32, 32)
FOUND = results.load("compact_architectures")
ROWS = {row["network"]: row for row in FOUND["rows"]}


def counted(network: nn.Module) -> tuple[int, int]:
    return sum(each.numel() for each in network.parameters()), meter.count(network.eval(), IMAGE).total.macs


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_triangles_rise_and_fall_in_straight_lines(cycles):
    steps = 12 * cycles
    rates = [training.triangles(step / steps, cycles=cycles, lowest=0.1) for step in range(steps + 1)]
    one = [0.1 + 0.9 * (1 - abs(step - 6) / 6) for step in range(12)]
    assert rates == pytest.approx(one * cycles + [0.1])


def test_every_name_builds_a_network_that_a_seed_decides():
    for name in training.NETWORKS:
        first, again, other = (training.built(name, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[key], again[key]) for key in first), name
        assert any(not torch.equal(first[key], other[key]) for key in first), name


def test_with_and_without_differ_in_the_aid_alone():
    base = training.built("residual", 0)
    kinds = {name: {type(module) for module in training.built(f"residual-{name}", 0).modules()}
             for name in ("swish", "silu", "swapout", "cyclic", "connected", "dropout")}  # fmt: skip
    same = {type(module) for module in base.modules()}
    assert kinds["swish"] ^ same == {Swish, nn.ReLU} and kinds["silu"] ^ same == {nn.SiLU, nn.ReLU}
    assert kinds["swapout"] == kinds["cyclic"] == same
    assert kinds["dropout"] ^ kinds["connected"] == {nn.Dropout}
    keeps = [module.keep for module in training.built("residual-swapout", 0).modules() if isinstance(module, Shortcut)]
    assert keeps == pytest.approx([0.95, 0.9, 0.85, 0.8])
    assert training.NETWORKS["residual-cyclic"].schedule is training.triangles


def test_an_interrupted_training_is_not_finished(tmp_path):
    epochs = training.RECIPES["short"].epochs
    for seed, done in ((0, epochs), (1, epochs - 1)):
        torch.save({"history": [{}] * done}, training.state("residual", "short", seed, tmp_path))
    assert [training.epochs_of("residual", "short", seed, tmp_path) for seed in range(3)] == [epochs, epochs - 1, 0]
    assert [training.kept("residual", "short", seed, tmp_path) for seed in range(3)] == [True, False, False]
    assert not training.kept("residual", "middle", 0, tmp_path)


@pytest.mark.parametrize("name", experiment.ROWS)
def test_counts_are_those_of_the_networks(name):
    network = training.built(name, 0)
    assert (ROWS[name]["parameters"], ROWS[name]["macs"]) == counted(network)
    if ROWS[name]["blocks"]:
        options = training.NETWORKS[name].options | {"blocks": [tuple(each) for each in ROWS[name]["blocks"]]}
        assert counted(block_network(**options)) == counted(network)


def test_the_reference_computes_at_most_an_eighth():
    assert [row["network"] for row in FOUND["rows"] if row["reference"]] == [experiment.REFERENCE]
    share = Fraction(ROWS[experiment.REFERENCE]["macs"], ROWS["vgg-small"]["macs"])
    assert share <= Fraction(1, 8)
    vgg = ROWS["vgg-small"]["macs"]
    assert all(8 * counted(training.built(name, 0))[1] <= vgg for name in experiment.CANDIDATES)
    assert Fraction(ROWS["residual"]["macs"], ROWS["vgg-small"]["macs"]) <= Fraction(1, 4)


def test_each_eighth_computes_at_most_an_eighth_of_the_network_before_it():
    macs = {name: counted(training.built(name, 0))[1] for name in experiment.EIGHTHS}
    for plain, eighth in zip(experiment.EIGHTHS[::2], experiment.EIGHTHS[1::2], strict=True):
        assert 8 * macs[eighth] <= macs[plain], (plain, eighth)
    assert [row["network"] for row in FOUND["eighths"]] == list(experiment.EIGHTHS)
    assert {row["network"]: row["macs"] for row in FOUND["eighths"]} == macs


def test_alexnet_for_small_images_has_its_five_convolutions():
    layers = [module for module in training.alexnet().modules() if isinstance(module, nn.Conv2d)]
    assert [(layer.kernel_size[0], layer.stride[0], layer.out_channels) for layer in layers] == [
        (11, 4, 64), (5, 1, 192), (3, 1, 384), (3, 1, 256), (3, 1, 256)]


def test_the_file_is_the_network_that_was_measured():
    row = ROWS[experiment.SHIPPED]
    found = measure(artefact.load(results.folder() / row["file"]))
    assert (found.bytes, found.params, found.macs) == (row["bytes"], row["parameters"], row["macs"])
    assert round(found.energy_uj, 3) == row["energy_uj"]


def test_the_checkpoint_is_the_same_network_with_its_normalisation_folded_away():
    shipped = checkpoints.load("block-network")
    whole = artefact.load(results.folder() / ROWS[experiment.SHIPPED]["file"]).network
    images = torch.randn(8, *IMAGE[1:])
    with torch.no_grad():
        torch.testing.assert_close(shipped(images), whole(images), rtol=0.02, atol=0.05)  # the file has half precision
    assert not any(isinstance(module, nn.BatchNorm2d) for module in shipped.modules())
    card = checkpoints.card("block-network")
    assert card.validation_error_percent == FOUND["checkpoint"]["validation_error_percent"]
    assert card.recipe == FOUND["recipe"]
    assert counted(shipped)[1] == ROWS[experiment.SHIPPED]["macs"]


def test_summaries_fit_their_values():
    rows = [row[key] for row in FOUND["rows"] for key in ("validation_error_percent", "test_error_percent") if row[key]]
    rows += [row["validation_error_percent"] for row in FOUND["eighths"]]
    rows += [row[key] for row in FOUND["aids"] for key in ("with", "without")]
    rows += [row["validation_error_percent"] for row in FOUND["heads"]]
    assert len(rows) >= 3 and all(row == results.summary(row["each"]) for row in rows)
    assert all(0 < value < 60 for row in rows for value in row["each"])


def test_heads_differ_in_their_own_parameters_only():
    heads = {head["head"]: head for head in FOUND["heads"]}
    pooled, connected = heads["global average pooling"], heads["fully connected"]
    assert pooled["head_parameters"] == 97 * 10 and connected["head_parameters"] == (96 * 16 + 1) * 10
    assert connected["parameters"] - pooled["parameters"] == connected["head_parameters"] - pooled["head_parameters"]
    assert counted(models.build("vgg-small", device="cpu"))[0] == 307_946


def test_latency_is_a_positive_number():
    assert 0 < experiment.latency(nn.Flatten(), runs=3) < 1e3
