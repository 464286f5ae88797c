"""Every strategy on the tabular benchmark, many seeds each, at one budget and under one cap; and what is compared."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from nutshell.search import (
    AgeingEvolution,
    Benchmark,
    Cap,
    Outcome,
    RandomSearch,
    Reinforce,
    SharedWeights,
    Strategy,
    SuccessiveHalving,
    Tpe,
    best_so_far,
    finished,
    interval,
    run,
    volume,
)
from nutshell.search.caps import Price
from nutshell.search.space import Architecture, Option
from solutions.architecture_search import supernet

CAP = Cap(parameters=6000, macs=120_000)
BUDGET = 120.0  # epochs: thirty finished trainings
RUNS = 30
WORST_ERROR = 30.0  # percent; with the cap's multiply-accumulates the corner of hypervolumes
WEIGHTS = 0.0, 1.0  # of the price, where a front is looked for
STEPS = tuple(range(8, int(BUDGET) + 1, 8))

Maker = Callable[..., Strategy]
STRATEGIES: dict[str, Maker] = {
    "random": RandomSearch, "ageing evolution": AgeingEvolution, "reinforcement": Reinforce,
    "successive halving": SuccessiveHalving, "shared weights": SharedWeights, "Optuna's TPE": Tpe,
}  # fmt: skip


def searched(table: Benchmark, name: str, seed: int, **options: Any) -> list[Outcome]:
    """One search on the benchmark."""
    if name == "shared weights":
        options |= shared_options(table, seed)
    strategy = STRATEGIES[name](table.space, CAP, seed, epochs=table.most_epochs, **options)
    return run(strategy, table, BUDGET, progress=False)


def shared_options(table: Benchmark, seed: int) -> dict[str, Any]:
    """What the shared weights are charged, and what they say of a candidate; seeds take turns with the supernets."""
    trained = len(next(iter(table.entries.values())).shared_error_percent)

    def glance(architecture: Architecture) -> float:
        return table.look_up(architecture).shared_error_percent[seed % trained]

    return {"glance": glance, "training": supernet.EPOCHS, "candidates": 100, "each": supernet.how()["glance_epochs"]}


def row(table: Benchmark, name: str, runs: int = RUNS) -> dict[str, Any]:
    """A strategy over its seeds: once looking for the smallest error, once for a front."""
    for_error = [searched(table, name, seed) for seed in range(runs)]
    for_front = [finished(searched(table, name, seed, weight=WEIGHTS), table.most_epochs) for seed in range(runs)]
    chosen = [best(table, each) for each in for_error]
    return {
        "name": name, "runs": runs,
        "networks": round(statistics.mean(len(finished(each, table.most_epochs)) for each in for_error), 1),
        "best_validation_error_percent": interval([error for error, _ in chosen]),
        "test_error_percent": interval([table.look_up(one).test_error_percent for _, one in chosen]),
        "trajectory": trajectory(table, for_error),
        "hypervolume": interval([share(table, each) for each in for_front]),
        "front": front(for_front[0]),
    }  # fmt: skip


def best(table: Benchmark, outcomes: Sequence[Outcome]) -> tuple[float, dict[str, Option]]:
    """Smallest validation error of a finished network, and the network."""
    found = min(finished(outcomes, table.most_epochs), key=lambda each: each.error_percent)
    return found.error_percent, found.architecture


def trajectory(table: Benchmark, searches: Sequence[Sequence[Outcome]]) -> dict[str, list[float]]:
    """Smallest error so far over the epochs spent: mean and interval, once all searches have finished a network."""
    curves = [best_so_far(each, table.most_epochs, STEPS) for each in searches]
    found: dict[str, list[float]] = {"epochs": [], "mean": [], "low": [], "high": []}
    for step, values in zip(STEPS, zip(*curves, strict=True), strict=True):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found["epochs"].append(step)
            for key, value in interval(known).items():
                found[key].append(round(value, 3))
    return found


def everything(table: Benchmark) -> list[Outcome]:
    """All networks within the cap, as a search without a budget would find them."""
    found = []
    for blocks, entry in table.entries.items():
        architecture: dict[str, Option] = {"blocks": str(blocks)}
        if entry.parameters <= (CAP.parameters or 0) and entry.macs <= (CAP.macs or 0):
            error = entry.validation_error_percent[-1]
            found.append(Outcome(architecture, table.most_epochs, error, entry.parameters, entry.macs, 0, 0))
    return found


def share(table: Benchmark, outcomes: Sequence[Outcome]) -> float:
    """Hypervolume over that of all networks within the cap, 0 to 1."""
    assert CAP.macs is not None
    return volume(outcomes, CAP.macs, WORST_ERROR) / volume(everything(table), CAP.macs, WORST_ERROR)


def front(outcomes: Sequence[Outcome]) -> list[list[float]]:
    """Multiply-accumulates and validation error of those that no other beats in both, cheapest first."""
    found: list[list[float]] = []
    for each in sorted(outcomes, key=lambda one: (one.macs, one.error_percent)):
        if not found or each.error_percent < found[-1][1]:
            found.append([each.macs, round(each.error_percent, 2)])
    return found


def warm_start(table: Benchmark, known: int = 8, runs: int = RUNS) -> dict[str, Any]:
    """Ageing evolution whose first members are the best of another task, beside one that draws them.

    Only networks that were trained on the other task are taken; what was spent there isn't charged here.
    """
    elsewhere = [(entry.elsewhere_error_percent, blocks) for blocks, entry in table.entries.items()
                 if entry.elsewhere_error_percent is not None]
    wanted = {blocks for _, blocks in sorted(elsewhere, key=lambda each: each[0] or 0.0)}
    fitting = [one for one in map(table.space.decode, range(table.space.size))
               if table.space.blocks(one) in wanted and CAP.allows(table.space, one)]
    unique = {table.space.blocks(one): one for one in fitting}.values()
    founders = sorted(unique, key=lambda one: table.look_up(one).elsewhere_error_percent or 0.0)[:known]
    cold = [searched(table, "ageing evolution", seed) for seed in range(runs)]
    warm = [searched(table, "ageing evolution", seed, founders=founders) for seed in range(runs)]
    ranks = correlation([table.look_up(one).elsewhere_error_percent or 0.0 for one in unique],
                        [table.look_up(one).validation_error_percent[-1] for one in unique])
    return {"task": table.elsewhere, "networks_there": len(elsewhere), "founders": len(founders), "runs": runs,
            "correlation": round(ranks, 3), "cold": trajectory(table, cold), "warm": trajectory(table, warm)}


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, of ranks."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def hardware_aware(table: Benchmark, price: Price, runs: int = RUNS, weight: float = 0.5) -> dict[str, Any]:
    """Ageing evolution that weighs errors against multiply-accumulates, and against predicted milliseconds."""
    found = {}
    for name, each in (("macs", None), ("milliseconds", price)):
        picked = []
        for seed in range(runs):
            outcomes = finished(searched(table, "ageing evolution", seed, weight=weight, price=each), table.most_epochs)
            taste = AgeingEvolution(table.space, CAP, weight=weight, price=each).taste()
            picked.append(max(outcomes, key=lambda one: taste(one.architecture, one.error_percent)))
        found[name] = {"validation_error_percent": interval([one.error_percent for one in picked]),
                       "macs": interval([one.macs for one in picked]),
                       "milliseconds": interval([price(one.architecture) for one in picked])}
    return {"weight": weight, "runs": runs, "for": found}
