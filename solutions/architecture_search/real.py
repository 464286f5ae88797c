"""One search for real: five strategies on the large space under one cap, at equal budgets, then the best one trained.

    python -m solutions.architecture_search.real [STRATEGY…] [--train SEED]

Each strategy keeps a journal and goes on behind its last line. The network with the smallest validation error of all
searches is trained on all training images, without augmentation, three seeds. About seven minutes on one core.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import torch

from nutshell import artefact, data, results
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.measure import measure
from nutshell.models.blocks import fold
from nutshell.search import LARGE, Cap, Outcome, Trainer, finished, run
from nutshell.search.space import Option
from nutshell.search.trainer import RECIPE
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.architecture_search import supernet
from solutions.architecture_search.searches import STRATEGIES, front
from solutions.architecture_search.table import KEEP

NAMES = ("random", "ageing evolution", "reinforcement", "successive halving", "shared weights")
CAP = Cap(parameters=10_000, macs=200_000)
BUDGET = 100.0  # epochs: twenty-five finished trainings
CANDIDATES = 200  # that the shared weights are asked about
SEEDS = (0, 1, 2)
FILE = "architecture_search_large.nut"  # the lab's budget has a smaller one; see handed_in.py
FINAL = Recipe(epochs=10, batch_size=128, learning_rate=0.01, warm_up=0.1, precision="bfloat16")


@click.command()
@click.argument("names", nargs=-1, metavar="[STRATEGY]...")
@click.option("--train", "seed", type=int, help="Train the best network so far with this seed, and search nothing.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=KEEP, show_default=True)
def main(names: tuple[str, ...], seed: int | None, keep: Path) -> None:
    """Search with each STRATEGY, all if none is named."""
    torch.set_num_threads(1)
    if unknown := set(names) - set(NAMES):
        raise WrongUse(f"There is no strategy {min(unknown)!r}; there are: {', '.join(NAMES)}.")
    if seed is None:
        search(keep, names or NAMES)
    else:
        train_one(keep, seed, data.load("mnist"))


def search(keep: Path, names: tuple[str, ...] = NAMES) -> None:
    """Run the searches that aren't finished."""
    images = data.load("mnist")
    for name in names:
        if outcomes(keep, name) is None:
            began = time.process_time()
            options = shared_options(keep, images) if name == "shared weights" else {}
            strategy = STRATEGIES[name](LARGE, CAP, 0, epochs=RECIPE.epochs, **options)
            found = run(strategy, Trainer(LARGE, images), BUDGET, journal=keep / f"real-{name}.jsonl")
            content = {"outcomes": [vars(one) for one in found], "seconds": time.process_time() - began}
            (keep / f"real-{name}.json").write_text(json.dumps(content), encoding="utf-8")


def shared_options(keep: Path, images: Dataset) -> dict[str, Any]:
    """Train the shared weights, and ask them; what they said is kept, so that the search may be interrupted."""
    file = keep / "real-shared.json"
    known: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    network: list[supernet.Supernet] = []

    def glance(architecture: Any) -> float:
        key = str(LARGE.number(architecture))
        if key not in known:
            if not network:
                drawer = STRATEGIES["random"](LARGE, CAP, 1)
                network.append(supernet.trained(images, 0, LARGE, lambda: LARGE.blocks(drawer.anything())))
            known[key] = supernet.error(network[0], LARGE.blocks(architecture), images)
            if len(known) >= CANDIDATES:
                file.write_text(json.dumps(known), encoding="utf-8")
        return known[key]

    return {"glance": glance, "training": supernet.EPOCHS, "candidates": CANDIDATES,
            "each": supernet.how()["glance_epochs"]}


def outcomes(keep: Path, name: str) -> list[Outcome] | None:
    """What a finished search has found."""
    file = keep / f"real-{name}.json"
    return [Outcome(**one) for one in json.loads(file.read_text())["outcomes"]] if file.exists() else None


def chosen(keep: Path) -> tuple[str, Outcome]:
    """The network with the smallest validation error, and the search that found it."""
    done = [(name, one) for name in NAMES for one in finished(outcomes(keep, name) or [], RECIPE.epochs)]
    return min(done, key=lambda each: each[1].error_percent)


def train_one(keep: Path, seed: int, images: Dataset) -> None:
    """Train the network chosen with one seed and keep what was measured; for the first seed its file too."""
    architecture: dict[str, Option] = chosen(keep)[1].architecture
    card = keep / f"final-{LARGE.number(architecture)}-{seed}.json"
    if card.exists():
        return
    network = prepare(LARGE.build(architecture, seed))
    train(network, images, FINAL, seed, resume=card.with_suffix(".state"))
    found: dict[str, float | None] = {"validation_error_percent": evaluate(network, images.validation)[1]}
    file = card.with_suffix(".nut")
    artefact.save(fold(network).eval(), file, input_shape=(LARGE.channels, LARGE.size_of_image, LARGE.size_of_image))
    measured = measure(file, images)
    found |= {"test_error_percent": measured.error_percent, "bytes": measured.bytes, "parameters": measured.params,
              "macs": measured.macs}
    card.write_text(json.dumps(found), encoding="utf-8")


def train_all(keep: Path) -> None:
    """Train what was chosen, three seeds."""
    images = data.load("mnist")
    for seed in SEEDS:
        train_one(keep, seed, images)


def rows(keep: Path) -> dict[str, Any]:
    """The searches that are finished, and the network that was chosen."""
    found: dict[str, Any] = {"space": {"name": LARGE.name, "size": LARGE.size}, "cap": vars(CAP),
                             "budget_epochs": BUDGET, "searches": []}
    for name in NAMES:
        if (done := outcomes(keep, name)) is not None:
            networks = {LARGE.blocks(each.architecture): each.seconds for each in done}  # the last one is of all epochs
            kept = json.loads((keep / f"real-{name}.json").read_text())["seconds"]
            seconds = max(kept, sum(networks.values()))  # an interrupted search kept those of its last call only
            ready = finished(done, RECIPE.epochs)
            found["searches"].append({
                "name": name, "networks": len(ready), "seconds": round(seconds),
                "best_validation_error_percent": min(each.error_percent for each in ready), "front": front(ready),
                "points": [[each.macs, each.error_percent] for each in ready]})
    if found["searches"]:
        found["cpu_minutes"] = round(sum(each["seconds"] for each in found["searches"]) / 60, 1)
        found["chosen"] = final(keep)
    return found


def final(keep: Path) -> dict[str, Any]:
    """The network that was chosen, and its figures over the seeds that are finished."""
    name, one = chosen(keep)
    number = LARGE.number(one.architecture)
    content: dict[str, Any] = {"found_by": name, "architecture": one.architecture, "parameters": one.parameters,
                               "macs": one.macs, "blocks": [list(each) for each in LARGE.blocks(one.architecture)],
                               "search_validation_error_percent": one.error_percent, "recipe": vars(FINAL)}
    cards = {seed: keep / f"final-{number}-{seed}.json" for seed in SEEDS}
    done = {seed: json.loads(card.read_text()) for seed, card in cards.items() if card.exists()}
    if done:
        content |= {"seeds": list(done), "file": FILE, "bytes": next(iter(done.values()))["bytes"]}
        content |= {key: results.summary([each[key] for each in done.values()])
                    for key in ("validation_error_percent", "test_error_percent")}
        nut = cards[min(done)].with_suffix(".nut")
        (results.folder() / FILE).write_bytes(nut.read_bytes())
    return content


if __name__ == "__main__":
    main()
