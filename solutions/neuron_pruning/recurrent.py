"""A GRU that reads MNIST row by row, dense and pruned along the gradual ramp, trained alike."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell.data.dataset import Dataset
from solutions.neuron_pruning.pipeline import batches
from solutions.neuron_pruning.reference import prune_recurrent


@dataclass(frozen=True)
class Plan:
    """How the GRU is trained; everything but the seed.

    Attributes
    ----------
    hidden : int
        Units of the GRU.
    sparsity : float
        Share of its matrices' weights that are zero in the end; biases and the last layer stay dense.
    ramp : tuple of float
        Shares of the steps at which pruning begins and ends.
    epochs, batch_size, learning_rate : int, int, float
        Of Adam, along half a cosine to zero.
    """

    hidden: int = 100
    sparsity: float = 0.9
    ramp: tuple[float, float] = (0.1, 0.5)
    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 3e-3


class RowReader(nn.Module):
    """A GRU that reads an image row by row, and a linear layer that names the digit from its last state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(28, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, 10)`` of images ``(N, 1, 28, 28)``."""
        return self.out(self.gru(images.squeeze(1))[0][:, -1])


def train_reader(data: Dataset, plan: Plan, seed: int) -> RowReader:
    """Train a GRU from scratch; a sparsity of 0 trains the dense one alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RowReader(plan.hidden)
    inputs, labels = data.train.inputs(), data.train.labels
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    steps = plan.epochs * -(-len(labels) // plan.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    first, last = round(plan.ramp[0] * steps), math.ceil(plan.ramp[1] * steps)
    matrices = {name: value for name, value in network.gru.named_parameters() if name.startswith("weight")}
    masks: dict[str, Tensor] = {}
    step = 0
    for _ in range(plan.epochs):
        for chosen in batches(len(labels), plan.batch_size, generator):
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
            step += 1
            with torch.no_grad():
                if plan.sparsity and first <= step <= last and (step % 50 == 0 or step == last):
                    masks = prune_recurrent(matrices, (step - first) / (last - first), plan.sparsity)
                for name, mask in masks.items():
                    matrices[name].mul_(mask)
    return network.eval()


def sparsity_of(network: RowReader) -> float:
    """Share of the GRU's matrices that is zero."""
    matrices = [value for name, value in network.gru.named_parameters() if name.startswith("weight")]
    return sum(int((value == 0).sum()) for value in matrices) / sum(value.numel() for value in matrices)
