"""Unit 08's networks: what they train with is the reference's, and what is stored is what was trained."""

import pytest
import torch
from torch import nn

from nutshell import artefact
from nutshell.artefact.binary import Sign
from solutions.binary_networks import networks, reference, training
from solutions.binary_networks.experiment import SHOWN
from solutions.binary_networks.networks import BinaryWeight, TrainedSign, XnorLayer, with_binary_weights

NUMBERS = torch.tensor([-2.0, -1.0, -0.3, -0.0, 0.0, 1e-30, 0.7, 1.0, 1.0000001, 5.0])


def used(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A network whose normalisation has seen something."""
    torch.manual_seed(1)
    for _ in range(3):
        network.train()(torch.randn(16, *shape))
    return network.eval()


# Training


def test_the_sign_and_its_gradient_are_those_of_the_reference():
    x, y = NUMBERS.clone().requires_grad_(), NUMBERS.clone().requires_grad_()
    a, b = TrainedSign()(x), reference.straight_through(y)
    assert torch.equal(a, b) and torch.equal(a, Sign()(NUMBERS))
    weights = torch.arange(1.0, 11.0)
    assert torch.equal(*(torch.autograd.grad((weights * out).sum(), of)[0] for out, of in ((a, x), (b, y))))


@pytest.mark.parametrize("layer", [nn.Linear(7, 3), nn.Conv2d(2, 4, 3)])
def test_bwn_weights_are_those_of_the_reference(layer):
    signs, alpha = reference.bwn_filter(layer.weight.detach())
    binary = with_binary_weights(nn.Sequential(layer), ["0"], "bwn")[0]
    expected = signs * alpha.reshape(-1, *(1,) * (signs.ndim - 1))
    assert torch.allclose(binary.weight, expected, rtol=1e-6) and torch.equal(binary.weight >= 0, signs > 0)
    weight = binary.parametrizations.weight.original
    assert torch.equal(weight, weight.detach()) and not torch.equal(weight, binary.weight)  # the real one is kept


def test_connected_weights_are_signs_of_clipped_ones_and_the_gradient_passes():
    binary, weight = BinaryWeight("connect").train(), nn.Parameter(NUMBERS.clone())
    out = binary(weight)
    assert out.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1, 1, 1] and torch.equal(weight.detach(), NUMBERS.clamp(-1, 1))
    assert torch.autograd.grad((NUMBERS * out).sum(), weight)[0].tolist() == NUMBERS.tolist()
    kept = nn.Parameter(NUMBERS.clone())
    assert torch.equal(BinaryWeight("connect").eval()(kept), out) and torch.equal(kept.detach(), NUMBERS)


def test_a_step_of_connected_weights_is_that_of_the_reference():
    torch.manual_seed(0)
    layer = with_binary_weights(nn.Sequential(nn.Linear(6, 4, bias=False)), ["0"], "connect")
    real = layer[0].parametrizations.weight.original
    inputs, labels = torch.randn(9, 6), torch.randint(0, 4, (9,))
    expected = reference.binary_connect_step(real.detach().clone(), inputs, labels, 0.8)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.8)
    nn.functional.cross_entropy(layer(inputs), labels).backward()
    optimiser.step()
    layer(inputs)  # clips what was stepped
    assert torch.allclose(real, expected, atol=1e-6) and real.abs().max() <= 1


def test_drawn_weights_are_signs_whose_mean_is_the_weight_and_evaluation_takes_the_real_ones():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.tensor([-1.0, -0.5, 0.0, 0.25, 1.0]).repeat(20_000, 1))
    drawn = BinaryWeight("stochastic").train()(weight)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert torch.allclose(drawn.mean(0), weight[0], atol=0.02)
    assert drawn[:, 0].max() == -1 and drawn[:, 4].min() == 1
    assert torch.equal(torch.autograd.grad((2 * drawn).sum(), weight)[0], torch.full_like(weight, 2))
    assert torch.equal(BinaryWeight("stochastic").eval()(weight), weight)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1)])
def test_the_layer_is_the_references_xnor_convolution(stride, padding):
    torch.manual_seed(2)
    layer = nn.Conv2d(3, 5, 3, stride=stride, padding=padding, bias=False)
    weight = layer.weight.detach().clone()
    xnor = with_binary_weights(XnorLayer(nn.BatchNorm2d(3), layer, scales=True), ["layer"], "bwn").eval()
    x = torch.randn(2, 3, 7, 7)
    expected = reference.xnor_convolution(xnor.norm(x), weight, stride, padding)
    assert torch.allclose(xnor(x), expected, atol=1e-5)


# What is stored

NETWORKS = {
    "lenet": (networks.lenet, (1, 28, 28), 500 + 5000), "cifar": (networks.cifar_network, (3, 32, 32), 2400 + 20480),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("way", ["bwn", "xnor", "signs"])
def test_the_file_computes_what_was_trained_and_its_binary_weights_take_a_bit_each(name, way):
    build, shape, real = NETWORKS[name]
    torch.manual_seed(0)
    network = used(build(way), shape)
    small = networks.plain(network)
    found = artefact.read(artefact.to_bytes(small, input_shape=shape, encodings=networks.packed(small)))
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.allclose(network(x), small(x), atol=1e-5)
        for theirs, ours in zip(found.network.parameters(), small.parameters(), strict=True):
            assert torch.allclose(theirs, ours, rtol=1e-3)
    weights = {t.name: t for t in found.tensors if t.name.endswith("weight") and len(t.shape) > 1}
    binary = {name: t for name, t in weights.items() if t.encoding == "binary"}
    assert len(binary) == len(weights) - 2
    for stored in binary.values():
        assert stored.bytes == stored.form.elements // 8 + 2 * stored.shape[0]
    assert sum(t.bytes for name, t in weights.items() if name not in binary) == 4 * real
    assert any(isinstance(module, TrainedSign) for module in network.modules()) == (way != "bwn")  # it trains on
    assert not any(isinstance(module, TrainedSign) for module in small.modules())


@pytest.mark.parametrize("hidden", [nn.ReLU, TrainedSign])
def test_a_folded_perceptron_is_the_same_with_a_scale_and_a_bias_for_each_output(hidden):
    torch.manual_seed(0)
    layers = ("fc1", "fc2", "fc3")
    network = with_binary_weights(networks.perceptron(hidden, width=32, layers=2), layers, "connect")
    with torch.no_grad():
        network.norm1.weight.copy_(torch.linspace(-1, 1, 32))  # scales below zero turn signs
    used(network, (1, 28, 28))
    small = networks.folded(network)
    assert [name for name, _ in small.named_children()] == ["flatten", "fc1", "hidden1", "fc2", "hidden2", "fc3"]
    x = torch.randn(50, 1, 28, 28)
    with torch.no_grad():
        assert torch.allclose(small(x), network(x), atol=1e-3)
    encodings = networks.packed(small)
    assert all(isinstance(encodings[f"{name}.weight"], artefact.Binary) for name in layers)
    data = artefact.to_bytes(small, input_shape=(1, 28, 28), encodings=encodings)
    assert len(data) < (784 * 32 + 32 * 32 + 320) // 8 + 4 * 74 + 200


def test_every_run_is_one_of_a_group_trained_alike_and_the_shown_files_are_runs():
    names = [run.name for run in training.RUNS]
    assert len(set(names)) == len(names) and set(SHOWN) <= set(names)
    for run in training.RUNS:
        alike = next(other for other in training.RUNS if other.network == run.network)
        assert (run.data, run.recipe.epochs, run.recipe.batch_size, run.recipe.mirror) == (
            alike.data, alike.recipe.epochs, alike.recipe.batch_size, alike.recipe.mirror)
        assert run.store is not None or run.way in ("dense", "stochastic")
