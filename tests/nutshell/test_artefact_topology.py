"""A compressed network is still the network; another one isn't."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, models
from nutshell.artefact.topology import Topology, difference, topology_of, topology_of_network

IMAGE = (1, 28, 28)
LENET = topology_of_network(models.build("lenet-300-100"), IMAGE)


def of_file(network: nn.Module, input_shape=IMAGE, **encodings) -> Topology:
    found = artefact.read(artefact.to_bytes(network, input_shape=input_shape, encodings=encodings or None))
    return topology_of(found.graph, {tensor.name: tensor.form for tensor in found.tensors}, found.shapes)


def replaced(**layers: nn.Module) -> nn.Module:
    network = models.build("lenet-300-100")
    for name, layer in layers.items():
        setattr(network, name, layer)
    return network


@settings(max_examples=20, deadline=None)
@given(ranks=st.lists(st.integers(1, 10), min_size=3, max_size=3), bias=st.booleans(), twice=st.booleans())
def test_factors_in_a_row_are_one_layer(ranks, bias, twice):
    network = models.build("lenet-300-100")
    for name, rank in zip(("fc1", "fc2", "fc3"), ranks, strict=True):
        layer = getattr(network, name)
        middle = [nn.Linear(rank, rank)] if twice else []
        setattr(network, name, nn.Sequential(nn.Linear(layer.in_features, rank, bias=bias), nn.Identity(), *middle,
                                             nn.Dropout(0.1), nn.Linear(rank, layer.out_features)))
    found = of_file(network)
    assert difference(found, LENET) == ""
    assert [len(step.modules) for step in found.layers] == [2 + twice] * 3


def test_layers_of_low_rank_are_the_layers():
    found = of_file(models.build("lenet-300-100"), **{"fc1.weight": artefact.LowRank(4)})
    assert difference(found, LENET) == ""
    assert found.layers[0].modules == ("fc1",)


@pytest.mark.parametrize("network", [
    replaced(relu2=nn.Sequential(nn.ReLU(), nn.Dropout())),
    replaced(fc3=nn.Sequential(nn.Linear(100, 10), nn.Softmax(1))),
    replaced(flatten=nn.Sequential(nn.Flatten(), nn.Flatten())), replaced(fc1=nn.Linear(784, 300, bias=False)),
    replaced(fc1=nn.Sequential(nn.Linear(784, 300), nn.BatchNorm1d(300))),
], ids=["dropout", "softmax", "flattened twice", "no bias", "batch normalisation"])  # fmt: skip
def test_what_makes_no_difference(network):
    assert difference(of_file(network), LENET) == ""


@pytest.mark.parametrize(("network", "words"), [
    (models.build("lenet-5"), "step 1 is conv2d 1→6 5×5 instead of flatten"),
    (models.build("mlp", sizes=(784, 299, 100, 10)), "step 2 is linear 784→299 instead of linear 784→300"),
    (models.build("mlp", sizes=(784, 300, 10)), "linear 300→10 instead of linear 300→100"),
    (models.build("mlp", sizes=(784, 300, 100, 50, 10)), "linear 100→50"),
    (replaced(relu1=nn.Tanh()), "tanh instead of relu"),
    (replaced(relu1=nn.Identity()), "linear 784→100"),
    (replaced(fc3=nn.Sequential(nn.Linear(100, 10), nn.ReLU())), "7 steps instead of 6"),
    (replaced(fc3=nn.Sequential(nn.Linear(100, 20), nn.ReLU(), nn.Linear(20, 10))), "linear 100→20"),
    (replaced(flatten=nn.Sequential(nn.AvgPool2d(1), nn.Flatten())), "avg_pool2d"),
])  # fmt: skip
def test_another_network_is_named_where_it_differs(network, words):
    assert words in difference(of_file(network), LENET)


def test_narrower_layers_are_another_network_unless_they_may_shrink():
    narrow = of_file(models.build("mlp", sizes=(784, 83, 61, 10)))
    assert difference(narrow, LENET)
    assert difference(narrow, LENET, shrunk=True) == ""
    assert difference(of_file(models.build("mlp", sizes=(784, 301, 61, 10))), LENET, shrunk=True)
    assert difference(of_file(models.build("mlp", sizes=(784, 83, 61, 9))), LENET, shrunk=True)


def test_other_images_are_another_network():
    other = models.build("mlp", sizes=(3 * 784, 300, 100, 10))
    assert "images of shape [3, 28, 28]" in difference(of_file(other, (3, 28, 28)), LENET)


# Convolutions


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolutions_in_a_row_are_one_with_the_same_outputs_shape_and_reach(data):
    sizes = dict(kernel_size=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2))
    first, second = ({name: data.draw(values) for name, values in sizes.items()} for _ in range(2))
    network = nn.Sequential(nn.Conv1d(2, 3, **first), nn.Conv1d(3, 4, **second))
    (layer,) = of_file(network, (2, 60)).layers
    merged = nn.Conv1d(2, 4, **{name: value for name, value in layer.settings})
    image = torch.zeros(1, 2, 60, requires_grad=True)
    assert merged(image).shape == network(image).shape
    middle = network(image).shape[2] // 2
    seen, reached = (torch.autograd.grad(each(image)[0, 0, middle], image)[0].abs().sum(1)[0].nonzero().flatten()
                     for each in (network, merged))  # fmt: skip
    assert set(seen.tolist()) <= set(reached.tolist())  # a stride beyond the kernel leaves pixels out in between
    assert (seen.min(), seen.max()) == (reached.min(), reached.max())


def test_tucker_and_separable_factors_are_the_convolution():
    expected = topology_of_network(nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()), (8, 9, 9))
    tucker = nn.Sequential(nn.Conv2d(8, 2, 1, bias=False), nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False),
                           nn.Conv2d(3, 16, 1), nn.ReLU())
    lines = nn.Sequential(nn.Conv2d(8, 4, (3, 1), stride=(2, 1), padding=(1, 0)),
                          nn.Conv2d(4, 16, (1, 3), stride=(1, 2), padding=(0, 1)), nn.ReLU())
    depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU())
    for network in (tucker, lines, depthwise):
        assert difference(of_file(network, (8, 9, 9)), expected) == ""
    other = nn.Sequential(nn.Conv2d(8, 2, 1), nn.Conv2d(2, 16, 3, stride=1, padding=1), nn.ReLU())
    assert difference(of_file(other, (8, 9, 9)), expected)


def test_a_value_used_twice_is_not_merged_away():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.a(x)
            return self.b(x) + x

    assert [step.words for step in of_file(Both(), (4,)).steps] == ["linear 4→4", "linear 4→4", "add"]


def test_residual_networks_equal_themselves_in_any_order_of_summands():
    expected = topology_of_network(models.build("resnet-20"), (3, 32, 32))

    class Swapped(type(models.build("resnet-20").block2_1)):
        def forward(self, x):
            return self.relu2(self.shortcut(x) + self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))))

    network = models.build("resnet-20")
    for _, block in network.named_children():
        if hasattr(block, "shortcut"):
            block.__class__ = Swapped
    found = of_file(network, (3, 32, 32))
    assert difference(found, expected) == ""
    assert [step.modules[0] for step in found.layers][:3] == ["conv", "block1_1.conv1", "block1_1.conv2"]


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5-caffe", "lenet-5", "vgg-small", "resnet-20", "pilotnet"])
def test_every_trained_network_is_only_itself(name):
    shape = models.INPUT_SHAPES[name]
    network = topology_of_network(models.build(name, device="meta"), shape)
    for other in ("lenet-300-100", "lenet-5-caffe", "lenet-5", "vgg-small", "resnet-20", "pilotnet"):
        another = topology_of_network(models.build(other, device="meta"), models.INPUT_SHAPES[other])
        assert (difference(network, another) == "") == (name == other)
