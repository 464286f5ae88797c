"""From a pruned network to a small file: share the weights, train the centroids, choose how gaps are ordered."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from nutshell.artefact import Codebook, Sparse
from nutshell.data.dataset import Dataset
from nutshell.training import prepare
from solutions.deep_compression.pipeline import Plan, batches, loss_of


def share(values: np.ndarray, k: int, price: float, rounds: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Centroids, and the index of each value's: Lloyd's algorithm with the price of a code word in the distance.

    Minimises Σ (v − c)² / variance − price · log₂ share(c); centroids that nobody takes disappear.

    Parameters
    ----------
    values : ndarray
        Shape ``(n,)``, at least one.
    k : int
        Most centroids, at equal steps from least to largest value at first.
    price : float
        Of a bit, in variances.
    rounds : int
        Of assigning and averaging.

    Examples
    --------
    >>> centroids, indices = share(np.array([-1.0, -1.1, 2.0, 2.1, 2.2]), 3, 0.01)
    >>> centroids.round(2).tolist(), indices.tolist()
    ([-1.05, 2.1], [0, 0, 1, 1, 1])
    """
    values = values.astype(np.float64)
    spread = values.var() or 1.0
    centroids = np.unique(np.linspace(values.min(), values.max(), k))
    bits = np.full(len(centroids), math.log2(len(centroids)))
    for _ in range(rounds):
        indices = ((values[:, None] - centroids) ** 2 / spread + price * bits).argmin(1)
        counts = np.bincount(indices, minlength=len(centroids))
        sums = np.bincount(indices, values, minlength=len(centroids))
        there = counts > 0
        centroids, bits = sums[there] / counts[there], -np.log2(counts[there] / len(values))
        indices = (np.cumsum(there) - 1)[indices]
    return centroids, indices


class Shared:
    """A pruned network whose weights point to centroids: one codebook a layer, and one for all biases.

    Parameters
    ----------
    network : torch.nn.Module
        Pruned; its zeros stay zeros.
    plan : Plan
        Number of centroids and price.
    """

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self.parameters = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        biases = [name for name in self.parameters if name.endswith("bias")]
        self.books: list[tuple[list[str], Tensor, Tensor, Tensor]] = []  # names, where not zero, indices, centroids
        for names in [[name] for name in self.parameters if name not in biases] + [biases]:
            values = torch.cat([self.parameters[name].contiguous().flatten() for name in names])
            there = values != 0
            if there.any():
                most = plan.centroids if names is not biases else max(2, plan.centroids // 2)
                centroids, indices = share(values[there].numpy(), most, plan.price)
                self.books.append((names, there, torch.from_numpy(indices),
                                   torch.tensor(centroids, dtype=torch.float32, requires_grad=True)))

    def weights(self) -> dict[str, Tensor]:
        """All parameters, made from the centroids; a centroid's gradient is the sum over its members."""
        found = dict(self.parameters)
        for names, there, indices, centroids in self.books:
            values = torch.zeros(len(there)).masked_scatter(there, centroids[indices])
            parts = values.split([self.parameters[name].numel() for name in names])
            found |= {name: part.reshape(self.parameters[name].shape) for name, part in zip(names, parts, strict=True)}
        return found

    def train(self, data: Dataset, plan: Plan, seed: int, teacher: nn.Module | None = None) -> None:
        """Train the centroids with Adam at a third of the learning rate, falling to zero."""
        generator = torch.Generator().manual_seed(seed + 1000)
        optimiser = torch.optim.Adam([centroids for *_, centroids in self.books])
        steps = plan.sharing_epochs * -(-len(data.train) // plan.batch_size)
        step = 0
        for _ in range(plan.sharing_epochs):
            for images, labels in batches(data, plan, generator):
                optimiser.param_groups[0]["lr"] = plan.learning_rate / 3 * (1 - step / steps)
                optimiser.zero_grad()
                loss_of(plan, self.weights(), images, labels, teacher).backward()
                optimiser.step()
                step += 1

    @torch.no_grad()
    def into(self, network: nn.Module) -> None:
        """Write the weights into a network, as float16 keeps the centroids."""
        for name, values in self.weights().items():
            network.get_parameter(name).copy_(values.half().float())


def entropy_coded(order: str) -> Sparse:
    """Gaps and indices by asymmetric numeral systems: how the small files keep a tensor."""
    return Sparse(Codebook(coder="ans", stored="float16"), coder="ans", order=order)


def encodings_of(network: nn.Module) -> dict[str, Sparse]:
    """For each tensor the order of the gaps, ``"rows"`` or ``"columns"``, that takes fewer bytes."""
    return {name: min(map(entropy_coded, ("rows", "columns")),
                      key=lambda encoding: len(encoding.encode(parameter)[1]))
            for name, parameter in network.named_parameters()}  # fmt: skip


def compress(
    network: nn.Module, data: Dataset, plan: Plan, seed: int, teacher: nn.Module | None = None
) -> nn.Module:
    """Share the weights of a pruned network and train the centroids, in place."""
    prepare(network)
    shared = Shared(network, plan)
    shared.train(data, plan, seed, teacher)
    shared.into(network)
    return network
