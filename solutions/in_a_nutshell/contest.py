"""The contest's reference entry, step by step: what each technique buys in the score.

The teacher was left out of the entry because the errors on validation images were no smaller with it.
"""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from nutshell import artefact, checkpoints, results
from nutshell.data.dataset import Dataset
from nutshell.measure import measure
from nutshell.training import evaluate, prepare
from solutions.in_a_nutshell.training import Plan, encodings, entry, train

STEPS = ("small network", "small network, taught", "small network, rounded")
PLAN = Plan()
INPUT = (1, 28, 28)


def run(data: Dataset, seed: int, keep: Path) -> None:
    """Make the entry of one seed, and measure it after each step; what is finished isn't done again."""
    card = keep / f"contest-{seed}.json"
    if finished(card):
        return
    teacher = prepare(checkpoints.load("lenet-5-caffe")).eval()
    found = {}
    alone = train(entry(PLAN.channels, seed), data, PLAN, seed, None, keep / f"contest-alone-{seed}.state")
    found[STEPS[0]] = _measured(alone, data, {}, keep / f"contest-alone-{seed}.nut")
    taught = train(entry(PLAN.channels, seed), data, PLAN, seed, teacher, keep / f"contest-taught-{seed}.state")
    found[STEPS[1]] = _measured(taught, data, {}, keep / f"contest-taught-{seed}.nut")
    small = train(copy.deepcopy(alone), data, PLAN, seed, None, keep / f"contest-rounded-{seed}.state", on_grid=True)
    found[STEPS[2]] = _measured(small, data, encodings(small, PLAN.bits), keep / f"contest-{seed}.nut")
    card.write_text(json.dumps({"plan": str(PLAN), "steps": found}, indent=1))


def finished(card: Path) -> dict[str, Any] | None:
    """What was measured after each step, if it was by today's plan."""
    kept = json.loads(card.read_text()) if card.exists() else {}
    return kept["steps"] if kept.get("plan") == str(PLAN) else None


def _measured(network: nn.Module, data: Dataset, coded: Any, file: Path) -> dict[str, float]:
    artefact.save(network, file, input_shape=INPUT, encodings=coded)
    figures = measure(file, data)
    return {"bytes": figures.bytes, "macs": figures.macs, "energy_uj": figures.energy_uj,
            "error_percent": float(figures.error_percent or 0), "answers_per_joule": 1e6 / figures.energy_per_hit,
            "validation_error_percent": evaluate(network, data.validation)[1]}  # fmt: skip


def rows(seeds: tuple[int, ...], keep: Path) -> dict[str, Any]:
    """The table over the seeds that are finished, and the first one's file copied to ``results/``."""
    cards = {seed: steps for seed in seeds if (steps := finished(keep / f"contest-{seed}.json"))}
    if not cards:
        return {}
    first = min(cards)
    (results.folder() / "in_a_nutshell.nut").write_bytes((keep / f"contest-{first}.nut").read_bytes())
    keys = ("bytes", "energy_uj", "error_percent", "validation_error_percent", "answers_per_joule")
    return {"contest": {
        "plan": {**asdict(PLAN), "channels": list(PLAN.channels)}, "file": "in_a_nutshell.nut", "seeds": list(cards),
        "rows": [{"step": step, "macs": cards[first][step]["macs"],
                  **{key: results.summary([card[step][key] for card in cards.values()]) for key in keys}}
                 for step in STEPS],
    }}  # fmt: skip
