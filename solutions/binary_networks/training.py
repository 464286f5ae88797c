"""What is trained for the unit's results: each run a network, a recipe and what is measured of it, seed by seed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nutshell import artefact, checkpoints, data, models
from nutshell.data.dataset import Dataset
from nutshell.measure import measure
from nutshell.recipes import RECIPES
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.binary_networks.networks import (
    TrainedSign,
    cifar_network,
    folded,
    lenet,
    packed,
    perceptron,
    plain,
    with_binary_weights,
)

LAYERS = ("fc1", "fc2", "fc3", "fc4")
MIDDLE = ("conv2", "fc1")  # of LeNet-5-Caffe; the first and the last layer stay real
BINS = 40

PERCEPTRON = Recipe(epochs=15, batch_size=512, learning_rate=1e-2, precision="bfloat16")
TUNING = Recipe(epochs=2, batch_size=256, learning_rate=1e-3, precision="bfloat16")
LENET = Recipe(epochs=10, batch_size=256, learning_rate=5e-3, precision="bfloat16")
CIFAR = Recipe(epochs=4, batch_size=128, learning_rate=3e-3, mirror=True, precision="bfloat16")


@dataclass(frozen=True)
class Run:
    """One network trained in one way.

    Attributes
    ----------
    network : str
        Group in the results: runs of one group are alike but for what is binary.
    way : str
        What is binary.
    data : str
        For :func:`nutshell.data.load`.
    recipe : Recipe
        How.
    build : callable
        Makes the network from images, a seed and the folder that keeps trained networks.
    store : callable, optional
        Makes of the trained network the one that is stored in a ``.nut`` file; there is none if left out.
    """

    network: str
    way: str
    data: str
    recipe: Recipe
    build: Callable[[Dataset, int, Path], nn.Module]
    store: Callable[[nn.Module], nn.Module] | None = plain

    @property
    def name(self) -> str:
        """Such as ``"lenet-xnor"``."""
        return f"{self.network}-{self.way}"


def seeded(build: Callable[[], nn.Module]) -> Callable[[Dataset, int, Path], nn.Module]:
    """A builder whose weights come from a seed; the global random state is left as it was."""

    def built(images: Dataset, seed: int, keep: Path) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build()

    return built


def dense_lenet(images: Dataset, seed: int, keep: Path) -> nn.Module:
    """A trained LeNet-5-Caffe; seed 0 is the checkpoint that ships, others have its recipe in bfloat16."""
    shipped = checkpoints.card("lenet-5-caffe")
    if (seed, images.name) == (shipped.seed, shipped.data):
        return checkpoints.load("lenet-5-caffe")
    recipe = replace(RECIPES["lenet-5-caffe"].training, precision="bfloat16")
    network = prepare(models.build("lenet-5-caffe", seed=seed))
    train(network, images, recipe, seed, resume=keep / f"lenet-5-caffe-bfloat16-{seed}.state", progress=False)
    return network


def binary_lenet(images: Dataset, seed: int, keep: Path) -> nn.Module:
    """The same with the weights of the two layers in the middle ±α."""
    return with_binary_weights(dense_lenet(images, seed, keep), MIDDLE, "bwn")


def connected(kind: Any, hidden: type[nn.Module]) -> Callable[[], nn.Module]:
    """A perceptron with ±1 weights in all layers."""
    return lambda: with_binary_weights(perceptron(hidden), LAYERS, kind)


RUNS = (
    Run("lenet-5-caffe", "bwn", "mnist", TUNING, binary_lenet),
    Run("lenet-xnor", "xnor", "mnist", LENET, seeded(lambda: lenet("xnor"))),
    Run("perceptron", "connect", "mnist", PERCEPTRON, seeded(connected("connect", nn.ReLU)), folded),
    Run("lenet-xnor", "signs", "mnist", LENET, seeded(lambda: lenet("signs"))),
    Run("perceptron", "stochastic", "mnist", PERCEPTRON, seeded(connected("stochastic", nn.ReLU)), None),
    Run("perceptron", "bnn", "mnist", PERCEPTRON, seeded(connected("connect", TrainedSign)), folded),
    Run("cifar", "xnor", "cifar-10", CIFAR, seeded(lambda: cifar_network("xnor"))),
    Run("cifar", "signs", "cifar-10", CIFAR, seeded(lambda: cifar_network("signs"))),
    Run("cifar", "bwn", "cifar-10", CIFAR, seeded(lambda: cifar_network("bwn"))),
    Run("cifar", "dense", "cifar-10", replace(CIFAR, learning_rate=2e-3), seeded(lambda: cifar_network("dense")), None),
    Run("lenet-5-caffe", "dense", "mnist", TUNING, dense_lenet, None),
    Run("lenet-xnor", "dense", "mnist", replace(LENET, learning_rate=2e-3), seeded(lambda: lenet("dense")), None),
    Run("perceptron", "dense", "mnist", replace(PERCEPTRON, learning_rate=2e-3), seeded(lambda: perceptron(nn.ReLU)),
        None),
)


def measured(run: Run, seed: int, keep: Path) -> dict[str, Any]:
    """Train a run with a seed, store it and measure it; what is there already isn't made again.

    A network that is stored is measured as it is read back from its ``.nut`` file.
    """
    folder = keep / "binary_networks"
    file = folder / f"{run.name}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    images = data.load(run.data)
    network = prepare(run.build(images, seed, keep))
    start = evaluate(network, images.validation)[1] if run.network == "lenet-5-caffe" else None
    history = train(network, images, run.recipe, seed, resume=folder / f"{run.name}-{seed}.state", progress=False)
    found: dict[str, Any] = {"seed": seed, "epochs": len(history.rows),
                             "validation_error_percent": evaluate(network, images.validation)[1],
                             "curve": [round(row["validation_error_percent"], 3) for row in history.rows],
                             "parameters": sum(p.numel() for p in network.parameters())}
    if start is not None:
        found["before_training_validation_error_percent"] = start
    if run.store is None:
        found["test_error_percent"] = evaluate(network, images.test)[1]
    else:
        found |= stored(run.store(network), images, folder / f"{run.name}-{seed}.nut")
    if run.way == "stochastic":
        found["signs_test_error_percent"] = evaluate(with_signs(network), images.test)[1]
    if run.way in ("connect", "stochastic"):
        found["histogram"] = histogram(network)
    file.write_text(json.dumps(found), encoding="utf-8")
    return found


def stored(network: nn.Module, images: Dataset, file: Path) -> dict[str, Any]:
    """Write a network with packed weights and measure the file: its bytes, and its error on the test images."""
    shape = tuple(images.test.images.shape[1:])
    artefact.save(network, file, input_shape=shape, encodings=packed(network))
    found = measure(file, images, "test")
    bits = sum(size for _, encoding, _, size, _ in found.tensors if encoding == "binary")
    return {"test_error_percent": found.error_percent, "bytes": found.bytes, "binary_bytes": bits, "macs": found.macs,
            "binary_operations": found.binary}


def with_signs(network: nn.Module) -> nn.Module:
    """The network of the stochastic run with the signs of its real weights instead of them."""
    small = plain(network)
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if name.startswith("fc"):
                parameter.copy_(torch.sign(parameter).add_(0.5).sign_())
    return small


def histogram(network: nn.Module) -> dict[str, list[float]]:
    """Share of a hidden layer's real weights in each of 40 bins from −1 to 1."""
    real: Tensor = network.get_submodule("fc2").parametrizations["weight"].original.detach()  # type: ignore[index,union-attr]
    counts = torch.histc(real.clamp(-1, 1), BINS, -1, 1) / real.numel()  # the last step isn't clipped yet
    return {"share": [round(float(count), 5) for count in counts]}
