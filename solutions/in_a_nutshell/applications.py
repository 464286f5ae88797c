"""The projects' first two rows: the model as it comes, and the same pruned and shared, each with a resource report."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from nutshell import artefact, projects, results
from nutshell.artefact import Codebook, Encoding, Sparse
from nutshell.training import Recipe, train
from solutions.in_a_nutshell.orders import Held, pruned, shared, weights


@dataclass(frozen=True)
class Plan:
    """How a project's network is trained and then made small.

    Attributes
    ----------
    epochs, tuning_epochs : int
        Of the first training, and after pruning.
    most : int
        Training images that are used.
    kept : float
        Share of each weight tensor that pruning keeps.
    centroids : int
        Of each weight tensor.
    """

    epochs: int
    tuning_epochs: int
    most: int
    kept: float = 0.15
    centroids: int = 16


# Networks of 24,000 weights have less to spare than the Autopilot's 132,501: at 15 % kept, gestures were lost.
PLANS = {"autopilot": Plan(8, 4, 1000), "emojinator": Plan(6, 4, 2500, 0.4), "malaria": Plan(25, 12, 2500, 0.4),
         "quickdraw": Plan(3, 2, 8000, 0.4)}  # fmt: skip


def run(name: str, seed: int, keep: Path) -> None:
    """Train, prune, share and measure one project's network; what is finished isn't done again."""
    card, plan, project = keep / f"project-{name}-{seed}.json", PLANS[name], projects.PROJECTS[name]
    if finished(card, name):
        return
    images = projects.load(project, plan.most)
    network = projects.trained(project, epochs=plan.epochs, most=plan.most, seed=seed)
    found = {"as it comes": projects.figures(network, project, "test")}
    for parameter in weights(network).values():
        parameter.data.copy_(pruned(parameter.detach(), plan.kept))
    for module in [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]:
        mask = (module.weight.detach() != 0).to(module.weight.dtype)
        parametrize.register_parametrization(module, "weight", Held(mask))
    recipe = Recipe(epochs=plan.tuning_epochs, batch_size=64, learning_rate=project.learning_rate / 2,
                    precision="bfloat16")
    train(network, images, recipe, seed, progress=False)
    for part in network.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    for parameter in weights(network).values():
        parameter.data.copy_(shared(parameter.detach(), plan.centroids))
    coded: dict[str, Encoding] = {
        key: Sparse(Codebook(coder="ans"), limit=256, coder="ans") for key in weights(network)}
    shape = tuple(images.test.images.shape[1:])
    artefact.save(network.eval(), card.with_suffix(".nut"), input_shape=shape, encodings=coded)
    small = artefact.load(card.with_suffix(".nut"))
    found["pruned, shared, coded"] = projects.figures(small, project, "test")
    card.write_text(json.dumps({"plan": str(plan), "data": images.name, "rows": found}, indent=1))


def finished(card: Path, name: str) -> dict[str, Any] | None:
    """What was measured, if it was by today's plan."""
    kept = json.loads(card.read_text()) if card.exists() else {}
    return kept if kept.get("plan") == str(PLANS[name]) else None


def rows(seeds: tuple[int, ...], keep: Path) -> dict[str, Any]:
    """One row a project, over the seeds that are finished."""
    found = []
    for name, plan in PLANS.items():
        cards = {seed: card for seed in seeds if (card := finished(keep / f"project-{name}-{seed}.json", name))}
        if cards:
            first = next(iter(cards.values()))
            found.append({
                "project": name, "data": first["data"], "judged_by": projects.PROJECTS[name].judged_by,
                "plan": asdict(plan), "seeds": list(cards),
                "rows": [{"network": kind, **{key: results.summary([card["rows"][kind][key] for card in cards.values()])
                                              for key in first["rows"][kind]}} for kind in first["rows"]],
            })  # fmt: skip
    return {"projects": found} if found else {}
