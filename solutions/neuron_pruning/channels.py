"""LeNet-5-Caffe with fewer channels: those that matter least to the loss go, layer by layer, and the rest trains on."""

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.data.dataset import Dataset
from nutshell.training import Recipe, train
from solutions.neuron_pruning.reference import channel_importance, shrink_convolution, shrink_linear

WIDTHS = {"conv1": 8, "conv2": 16, "fc1": 64}  # of 20, 50 and 500
FINE_TUNING = Recipe(epochs=4, learning_rate=1e-3, weight_decay=0.05, precision="bfloat16")


def importance_of(network: nn.Module, layer: str, inputs: Tensor, labels: Tensor) -> Tensor:
    """First-order importance of a layer's channels or neurons, from one backward pass."""
    at = [name for name, _ in network.named_children()].index(layer) + 1
    layers = list(network.children())
    front, back = (nn.Sequential(*part) for part in (layers[:at], layers[at:]))
    activations = front(inputs).detach().requires_grad_()
    functional.cross_entropy(back(activations), labels, reduction="sum").backward()
    assert activations.grad is not None
    return channel_importance(activations.detach(), activations.grad)


def masked(network: nn.Module, data: Dataset, seed: int, images: int = 2000) -> nn.Module:
    """A copy in which the least important channels have no incoming weights and no bias."""
    network = copy.deepcopy(network).eval()
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:images]
    inputs, labels = data.train.inputs(chosen), data.train.labels[chosen]
    for layer, width in WIDTHS.items():
        gone = importance_of(network, layer, inputs, labels).argsort()[:-width]
        with torch.no_grad():
            network.get_parameter(f"{layer}.weight")[gone] = 0
            network.get_parameter(f"{layer}.bias")[gone] = 0
    return network


def smaller(network: nn.Module) -> nn.Module:
    """The network without its channels and neurons that have no connections; the outputs are the same."""
    parts = {name: value.detach() for name, value in network.named_parameters()}
    for layer, after in (("conv1", "conv2"), ("conv2", "fc1")):
        names = (f"{layer}.weight", f"{layer}.bias", f"{after}.weight", f"{after}.bias")
        weight, bias, following, following_bias = (parts[name] for name in names)
        changed = shrink_convolution(weight, bias, following, following_bias, relu=False)
        parts |= dict(zip(names, changed, strict=True))
    weights, biases = shrink_linear([parts["fc1.weight"], parts["fc2.weight"]], [parts["fc1.bias"], parts["fc2.bias"]])
    parts |= {"fc1.weight": weights[0], "fc2.weight": weights[1], "fc1.bias": biases[0], "fc2.bias": biases[1]}
    first, second, hidden = (len(parts[f"{layer}.bias"]) for layer in WIDTHS)
    small = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, first, 5), pool1=nn.MaxPool2d(2), conv2=nn.Conv2d(first, second, 5), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(16 * second, hidden), relu1=nn.ReLU(), fc2=nn.Linear(hidden, 10)))
    small.load_state_dict(parts)
    return small.eval()


def fine_tuned(network: nn.Module, data: Dataset, seed: int) -> nn.Module:
    """A copy of the network, trained on for a while."""
    copied = copy.deepcopy(network)
    train(copied, data, FINE_TUNING, seed, progress=False)
    return copied
