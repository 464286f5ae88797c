"""Low rank, pruning and sharing on one network in every order: what each order keeps, in bytes and in errors.

After each step the network is trained on for a little, and what an earlier step settled is held as far as the later one
lets it: masks stay, and shared weights are trained as centroids. A layer that is truncated gets new factors, so that
zeros and centroids of the old matrix are gone. What is left is stored as cheaply as the file format can.
"""

import copy
import json
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nutshell import artefact, checkpoints, models, results
from nutshell.artefact import Codebook, Dense, Encoding, Sparse
from nutshell.data.dataset import Dataset
from nutshell.measure import measure
from nutshell.recipes import RECIPES
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.deep_compression.sharing import share
from solutions.low_rank.reference import factorise

STEPS = ("rank", "prune", "share")
ORDERS = tuple(order for length in range(1, 4) for order in permutations(STEPS, length))
INPUT = (1, 28, 28)


@dataclass(frozen=True)
class Plan:
    """What the three steps do to a network, and how it is trained on after each.

    Attributes
    ----------
    network, layer : str
        Which one, and which of its layers is truncated.
    rank : int
        Of that layer afterwards.
    kept : float
        Share of each weight tensor that pruning keeps.
    centroids : int
        Of each weight tensor.
    tuning : Recipe
        After each step.
    """

    network: str
    layer: str
    rank: int
    kept: float
    centroids: int
    tuning: Recipe


TUNING = Recipe(epochs=1, batch_size=256, learning_rate=1e-3, precision="bfloat16")
PLANS = {
    "lenet-300-100": Plan("lenet-300-100", "fc1", 30, 0.1, 16, TUNING),
    "lenet-5-caffe": Plan("lenet-5-caffe", "fc1", 40, 0.1, 16, TUNING),
}


class Held(nn.Module):
    """A weight whose zeros stay zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class Shared(nn.Module):
    """A weight made of centroids; index 0 stands for a zero that stays."""

    index: Tensor

    def __init__(self, index: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)
        self._first = centroids

    def right_inverse(self, weight: Tensor) -> Tensor:
        return self._first

    def forward(self, centroids: Tensor) -> Tensor:
        return torch.cat([centroids.new_zeros(1), centroids])[self.index]


def step(network: nn.Module, name: str, plan: Plan) -> nn.Module:
    """Do one step to a copy of a network."""
    changed = copy.deepcopy(network)
    if name == "rank":
        whole = changed.get_submodule(plan.layer)
        assert isinstance(whole, nn.Linear)
        setattr(changed, plan.layer, factorise(whole.weight.detach(), whole.bias.detach(), plan.rank))
        return changed
    with torch.no_grad():
        for weight in weights(changed).values():
            weight.copy_(pruned(weight, plan.kept) if name == "prune" else shared(weight, plan.centroids))
    return changed


def weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Matrices and kernels by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.ndim > 1}


def pruned(weight: Tensor, kept: float) -> Tensor:
    """The largest magnitudes; of what is zero already nothing comes back."""
    chosen = weight.abs().flatten().topk(max(1, round(kept * weight.numel()))).indices
    mask = torch.zeros(weight.numel()).index_fill(0, chosen, 1.0).reshape(weight.shape)
    return weight * mask


def shared(weight: Tensor, centroids: int) -> Tensor:
    """Weights that aren't zero, each at its centroid."""
    there = weight != 0
    values, index = share(weight[there].numpy(), centroids, price=0.0)
    return torch.zeros_like(weight).masked_scatter(there, torch.tensor(values[index], dtype=weight.dtype))


def tuned(network: nn.Module, done: tuple[str, ...], plan: Plan, data: Dataset, seed: int) -> nn.Module:
    """A copy trained on, with zeros and centroids held that steps since the truncation made."""
    trained = copy.deepcopy(network)
    since = done[done.index("rank") + 1 :] if "rank" in done else done
    for module in [module for module in trained.modules() if isinstance(module, nn.Linear | nn.Conv2d)]:
        inside = module is trained.get_submodule(plan.layer) or module in trained.get_submodule(plan.layer).modules()
        held = since if inside else done
        weight = module.weight.detach()
        if "share" in held:
            values, index = torch.unique(weight[weight != 0], return_inverse=True)
            full = torch.zeros(weight.shape, dtype=torch.int64).masked_scatter(weight != 0, index + 1)
            parametrize.register_parametrization(module, "weight", Shared(full, values), unsafe=True)
        elif "prune" in held:
            parametrize.register_parametrization(module, "weight", Held((weight != 0).to(weight.dtype)))
    train(trained, data, plan.tuning, seed, progress=False)
    for part in trained.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    return trained.eval()


def encodings(network: nn.Module, coder: str) -> dict[str, Encoding]:
    """What each weight tensor is stored with: zeros left out if most are, centroids if there are few values."""
    found: dict[str, Encoding] = {}
    for name, weight in weights(network).items():
        there = weight.detach()[weight != 0]
        few = len(torch.unique(there)) <= 256
        values: Encoding = Codebook(coder=coder) if few else Dense()
        sparse = len(there) < weight.numel() / 2
        found[name] = Sparse(values, limit=256, coder=coder) if sparse else values
    return found


def measured(network: nn.Module, data: Dataset) -> dict[str, float]:
    """Bytes with plain and with entropy-coded indices, work, and errors."""
    plain = artefact.read(artefact.to_bytes(network, input_shape=INPUT, encodings=encodings(network, "fixed")))
    coded = artefact.read(artefact.to_bytes(network, input_shape=INPUT, encodings=encodings(network, "ans")))
    figures = measure(coded)
    return {"bytes": plain.bytes, "coded_bytes": coded.bytes, "nonzero": figures.nonzero, "macs": figures.macs,
            "validation_error_percent": evaluate(network, data.validation)[1]}  # fmt: skip


def dense_network(plan: Plan, data: Dataset, seed: int, keep: Path) -> nn.Module:
    """A network of the checkpoint's recipe; seed 0 is the checkpoint."""
    card = checkpoints.card(plan.network)
    if seed == card.seed and card.data == data.name:
        return prepare(checkpoints.load(plan.network))
    network, recipe, more = prepare(models.build(plan.network, seed=seed)), RECIPES[plan.network].training, ""
    if plan.network == "lenet-5-caffe":
        recipe, more = replace(recipe, precision="bfloat16"), "-bfloat16"
    train(network, data, recipe, seed, resume=keep / f"{plan.network}{more}-{seed}.state")
    return network


def run(name: str, data: Dataset, seed: int, keep: Path, dense: Path) -> None:
    """All orders of one network and seed; what is finished isn't done again."""
    card = keep / f"orders-{name}-{seed}.json"
    if finished(card, name):
        return
    plan = PLANS[name]
    network = dense_network(plan, data, seed, dense)
    found = {"": {"untuned": measured(network, data)}}
    made: dict[tuple[str, ...], tuple[nn.Module, nn.Module]] = {(): (network, network)}
    for order in ORDERS:
        untuned, before = made[order[:-1]]
        made[order] = step(untuned, order[-1], plan), tuned(step(before, order[-1], plan), order, plan, data, seed)
        found[" ".join(order)] = {"untuned": measured(made[order][0], data), "tuned": measured(made[order][1], data)}
    card.write_text(json.dumps({"plan": str(plan), "found": found}, indent=1))


def finished(card: Path, name: str) -> dict[str, Any] | None:
    """What was measured, if it was by today's plan."""
    kept = json.loads(card.read_text()) if card.exists() else {}
    return kept["found"] if kept.get("plan") == str(PLANS[name]) else None


def rows(seeds: tuple[int, ...], keep: Path) -> dict[str, Any]:
    """The tables over the seeds that are finished, by network."""
    tables: dict[str, Any] = {}
    for name, plan in PLANS.items():
        cards = {seed: found for seed in seeds if (found := finished(keep / f"orders-{name}-{seed}.json", name))}
        if cards:
            tables[name] = {
                "plan": asdict(plan), "seeds": list(cards), "dense": _over(cards, "", "untuned"),
                "orders": [{"steps": list(order), "untuned": _over(cards, " ".join(order), "untuned"),
                            "tuned": _over(cards, " ".join(order), "tuned")} for order in ORDERS],
            }  # fmt: skip
    return {"orders": tables} if tables else {}


def _over(cards: dict[int, Any], steps: str, kind: str) -> dict[str, Any]:
    keys = ("bytes", "coded_bytes", "nonzero", "macs", "validation_error_percent")
    return {key: results.summary([card[steps][kind][key] for card in cards.values()]) for key in keys}
