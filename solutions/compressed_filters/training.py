"""Networks of few numbers, method by method, each with as many as the others: how they are made and trained.

A *rate* of c leaves a c-th of the numbers that a network has, biases included: weights share what biases leave. Each
method spends that budget in its own way: hashing gives each layer a part by its size, low rank gives the first two
layers ranks of two to one, a dense network is narrower, pruning keeps the largest weights of the whole network.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nutshell import models
from nutshell.artefact import Encoding, Sparse
from nutshell.data.dataset import Dataset
from nutshell.training import Recipe, train
from solutions.compressed_filters.layers import Shared, bands, circulant, deployed, fresh, hashed
from solutions.deep_compression.pipeline import Plan, prune_and_train

FALLING = 0.6  # a band gets this part of the buckets that the band before gets for each coefficient
WEIGHT_SHARE = 0.8  # of a pruned network's bytes: the rest says where the weights are


@dataclass(frozen=True)
class Job:
    """One line of the results.

    Attributes
    ----------
    network : str
        A key of ``NETWORKS``.
    method : str
        A key of ``MAKERS``.
    rate : int
        c; for circulant layers the block, of the first two layers alone; 1 for the full network.
    learning_rate : float
        Largest of the training.
    """

    network: str
    method: str
    rate: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.network}-{self.method.replace(' ', '-')}-{self.rate}"

    @property
    def recipe(self) -> Recipe:
        """How it is trained; pruning has the same epochs, batches and rate."""
        return Recipe(epochs=NETWORKS[self.network].epochs, batch_size=256, learning_rate=self.learning_rate,
                      warm_up=0.05, precision="bfloat16")


@dataclass(frozen=True)
class Kind:
    """A network to make small.

    Attributes
    ----------
    data : str
        Name of its data set.
    build : callable
        Makes it.
    layers : tuple of str
        Those that are made small, the others stay as they are.
    epochs : int
        Of training.
    """

    data: str
    build: Callable[[], nn.Module]
    layers: tuple[str, ...]
    epochs: int


def cifar_5x5(widths: tuple[int, ...] = (16, 32, 64)) -> nn.Sequential:
    """5×5 convolutions with normalisation, ReLU and a pool each, and one linear layer, for 32×32 images.

    Examples
    --------
    >>> cifar_5x5()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (channels, width) in enumerate(zip((3, *widths), widths, strict=False), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, 5, padding=2, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(width)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(widths[-1] * (32 >> len(widths)) ** 2, 10)
    return nn.Sequential(layers)


NETWORKS = {
    "lenet-300-100": Kind("mnist", models.BUILDERS["lenet-300-100"], ("fc1", "fc2", "fc3"), 20),
    "lenet-5-caffe": Kind("mnist", models.BUILDERS["lenet-5-caffe"], ("conv2", "fc1", "fc2"), 6),
    "cifar-5x5": Kind("cifar-10", cifar_5x5, ("conv2", "conv3", "classifier"), 8),
}


def count(network: nn.Module) -> int:
    """Numbers that a network stores: its parameters.

    Examples
    --------
    >>> count(NETWORKS["lenet-300-100"].build())
    266610
    """
    return sum(parameter.numel() for parameter in network.parameters())


def shares(job: Job, network: nn.Module) -> dict[str, int]:
    """Numbers for the weight of each layer that is made small, in proportion to its size, rounded down.

    Examples
    --------
    >>> shares(Job("lenet-300-100", "hashed", 64, 1e-3), NETWORKS["lenet-300-100"].build())
    {'fc1': 3317, 'fc2': 423, 'fc3': 14}
    """
    sizes = {name: network.get_parameter(f"{name}.weight").numel() for name in NETWORKS[job.network].layers}
    free = count(network) // job.rate - (count(network) - sum(sizes.values()))
    return {name: free * size // sum(sizes.values()) for name, size in sizes.items()}


def linear(network: nn.Module, name: str) -> nn.Linear:
    """One of the network's linear layers."""
    layer = network.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{name} is a {type(layer).__name__}, not a linear layer.")
    return layer


def made(job: Job, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    """The network of a job with seeded random weights, and how its tensors are to be stored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MAKERS[job.method](job, NETWORKS[job.network].build(), seed)


def trained(job: Job, images: Dataset, seed: int, resume: Path) -> tuple[nn.Module, dict[str, Encoding]]:
    """The trained network of a job, as it is stored; goes on from ``resume`` if that is there."""
    network, encodings = made(job, seed)
    if job.method == "pruned":
        plan = Plan(job.network, WEIGHT_SHARE / job.rate, epochs=job.recipe.epochs, batch_size=job.recipe.batch_size,
                    learning_rate=job.learning_rate, precision=job.recipe.precision)
        prune_and_train(network, images, plan, seed, resume)
    else:
        train(network, images, job.recipe, seed, progress=False, resume=resume)
    if job.method == "circulant":
        for name in ("fc1", "fc2"):
            setattr(network, name, deployed(linear(network, name), job.rate))
    return network, encodings


def _full(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    return network, {}


def _hashed(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    encodings = {f"{name}.weight": hashed(network.get_submodule(name), buckets, 8 * seed + number)
                 for number, (name, buckets) in enumerate(shares(job, network).items())}  # fmt: skip
    return network, encodings


def _unsigned(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    network, _ = _hashed(job, network, seed)
    for module in network.modules():
        if isinstance(module, Shared):
            module.index %= module.entries  # those behind are the negated ones
    return network, {}


def _bands(falling: float) -> Callable[[Job, nn.Module, int], tuple[nn.Module, dict[str, Encoding]]]:
    def make(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
        encodings = {}
        for number, (name, buckets) in enumerate(shares(job, network).items()):
            layer = network.get_submodule(name)
            if isinstance(layer, nn.Conv2d):
                each = bands(layer.kernel_size[0], layer.weight.numel(), buckets, falling)
                encodings[f"{name}.weight"] = fresh(layer, each, 8 * seed + number)
            else:
                encodings[f"{name}.weight"] = hashed(layer, buckets, 8 * seed + number)
        return network, encodings

    return make


def _dense(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    """As wide as fits."""
    budget, width = count(network) // job.rate, 1
    while count(models.mlp(narrow(width + 1))) <= budget:
        width += 1
    return models.mlp(narrow(width)), {}


def narrow(width: int) -> tuple[int, ...]:
    """Sizes of a LeNet-300-100 whose first hidden layer has ``width`` units.

    Hidden layers of 3 to 1, the second one no narrower than the output; it is left out below 10 units, where networks
    without it were better on validation images and differed less from seed to seed.

    Examples
    --------
    >>> narrow(5), narrow(12), narrow(300)
    ((784, 5, 10), (784, 12, 10, 10), (784, 300, 100, 10))
    """
    return (784, width, 10) if width < 10 else (784, width, max(10, round(width / 3)), 10)


def _low_rank(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    """Two thin layers for each of the first two."""
    budget, rank = count(network) // job.rate, 1

    def numbers(rank: int) -> int:
        return rank * (784 + 300) + second(rank) * (300 + 100) + 1000 + 410

    def second(rank: int) -> int:
        return max(1, round(rank / 2))

    while numbers(rank + 1) <= budget:
        rank += 1
    for name, k in (("fc1", rank), ("fc2", second(rank))):
        wide = linear(network, name)
        thin = nn.Linear(wide.in_features, k, bias=False), nn.Linear(k, wide.out_features)
        setattr(network, name, nn.Sequential(*thin))
    return network, {}


def _pruned(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    return network, {name: Sparse(coder="huffman") for name, _ in network.named_parameters()}


def _circulant(job: Job, network: nn.Module, seed: int) -> tuple[nn.Module, dict[str, Encoding]]:
    for name in ("fc1", "fc2"):
        circulant(linear(network, name), job.rate)
    return network, {}


MAKERS: dict[str, Callable[[Job, nn.Module, int], tuple[nn.Module, dict[str, Encoding]]]] = {
    "full": _full, "dense": _dense, "hashed": _hashed, "unsigned": _unsigned, "low rank": _low_rank,
    "pruned": _pruned, "circulant": _circulant, "fresh": _bands(FALLING), "equal bands": _bands(1.0),
}  # fmt: skip


def is_saved(job: Job) -> bool:
    """Whether the method has an encoding; shared values without signs have none, and are measured as they are."""
    return job.method != "unsigned"
