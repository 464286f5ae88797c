"""The unit's results: six ways to search on the tabular benchmark, thirty seeds each, and one real search.

    python -m solutions.architecture_search.experiment [PART…]

brings ``results/architecture_search.json`` up to date from what is finished. The parts:

``table``   writes ``nutshell/search/benchmark.json`` from what :mod:`.table` and :mod:`.supernet` have kept
``latency`` times every operation of both spaces, and whole networks beside; wants a quiet machine, three minutes
``search``  all strategies on the benchmark, warm starts and latencies; a minute
``real``    searches the large space for real, and trains what was found; see :mod:`.real`

Without a part, ``search`` is done and the rest is read from where it is kept. Choices are made on validation images;
the test images are looked at for what was chosen.
"""

import hashlib
import json
import platform
import random
from pathlib import Path
from typing import Any

import click
import torch

from nutshell import results
from nutshell.errors import WrongUse
from nutshell.search import LARGE, SMALL, LatencyTable, benchmark, latency_table
from nutshell.search import latency as timing
from nutshell.search.benchmark import FILE, Benchmark
from solutions.architecture_search import real, searches, supernet, table
from solutions.architecture_search.table import KEEP

COMMAND = "python -m solutions.architecture_search.experiment"
PARTS = ("table", "latency", "search", "real")
NOISE_SEEDS = (0, 1, 2)
SUPERNETS = range(3)
COLUMNS = ("number", "validation", "test", "seconds", "shared", "elsewhere")


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=KEEP, show_default=True)
def main(parts: tuple[str, ...], keep: Path) -> None:
    """Do the parts named, and write down what is finished."""
    torch.set_num_threads(1)
    if unknown := set(parts) - set(PARTS):
        raise WrongUse(f"There is no part {min(unknown)!r}; there are: {', '.join(PARTS)}.")
    keep.mkdir(parents=True, exist_ok=True)
    if "table" in parts:
        write_table(keep)
    if "latency" in parts:
        measure_latency(keep)
    if "real" in parts:
        real.search(keep)
        real.train_all(keep)
    if "search" in parts or not parts:
        (keep / "searches.json").write_text(json.dumps(on_the_table(benchmark(), keep)), encoding="utf-8")
    write_down(benchmark(), keep)


def row(found: Benchmark, name: str, keep: Path) -> dict[str, Any]:
    """A strategy's row; kept, so that it is worked out once for the benchmark and the settings as they are."""
    settings = repr((searches.CAP, searches.BUDGET, searches.RUNS, searches.WORST_ERROR, searches.WEIGHTS))
    digest = hashlib.sha256(FILE.read_bytes() + settings.encode()).hexdigest()[:12]
    file = keep / f"search-{name}-{digest}.json"
    if not file.exists():
        file.write_text(json.dumps(searches.row(found, name)), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def write_table(keep: Path) -> None:
    """Put the lines of all networks into the benchmark that ships; refuses an incomplete one."""
    rows = {row["number"]: row for row in table.lines("digits", 0, keep)}
    elsewhere = {row["number"]: row for row in table.lines("photographs", 0, keep)}
    shared = [found for seed in SUPERNETS if (found := supernet.kept(seed, keep))]
    wanted = [SMALL.number(architecture) for architecture in table.networks()]
    if missing := set(wanted) - set(rows):
        raise WrongUse(f"{len(missing)} of {len(wanted)} networks aren't trained yet: see solutions/"
                       "architecture_search/table.py.")
    lines = []
    for number in sorted(wanted):
        row = rows[number]
        there = elsewhere[number]["validation_error_percent"][-1] if number in elsewhere else None
        lines.append(json.dumps([number, row["validation_error_percent"], row["test_error_percent"], row["seconds"],
                                 [found[number] for found in shared], there]))
    head = json.dumps({"command": COMMAND + " table", "data": rows[wanted[0]]["data"], "space": SMALL.name,
                       "recipe": table.how(), "shared": supernet.how(),
                       "elsewhere": next((row["data"] for row in elsewhere.values()), None), "columns": COLUMNS})
    FILE.write_text(head[:-1] + ',\n"networks": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    benchmark.cache_clear()


def measure_latency(keep: Path) -> None:
    """Time every operation of both spaces, and forty whole networks of the small one beside their sums."""
    operations = dict.fromkeys([*timing.operations_of(SMALL), *timing.operations_of(LARGE)])
    machine = f"one thread, {platform.machine()}, torch {torch.__version__.split('+')[0]}"
    LatencyTable.measure(operations, machine, seconds=0.01).save(timing.FILE)
    latency_table.cache_clear()
    chosen = random.Random(0).sample(table.networks(), 40)
    measured = timing.whole(SMALL, chosen, seconds=0.02)
    kept = [[SMALL.number(one), round(each, 5)] for one, each in zip(chosen, measured, strict=True)]
    (keep / "latency.json").write_text(json.dumps(kept), encoding="utf-8")


def on_the_table(found: Benchmark, keep: Path) -> dict[str, Any]:
    """All that is looked up: searches, fronts, shared weights, warm starts, and the choice by latency."""
    first = next(iter(found.entries.values()))
    names = [name for name in searches.STRATEGIES if name != "shared weights" or first.shared_error_percent]
    content: dict[str, Any] = {"searches": [row(found, name, keep) for name in names],
                               "front": searches.front(searches.everything(found)),
                               "within_cap": len(searches.everything(found))}
    if first.shared_error_percent:
        content["supernet"] = shared_weights(found)
    if found.elsewhere:
        content["warm_start"] = searches.warm_start(found)
    if timing.FILE.exists():
        content["hardware"] = searches.hardware_aware(found, lambda one: latency_table()(SMALL, one))
    return content


def shared_weights(found: Benchmark) -> dict[str, Any]:
    """How well the errors with shared weights rank networks, by each supernet, and the first one's as points."""
    trained = [entry.validation_error_percent[-1] for entry in found.entries.values()]
    shared = list(zip(*(entry.shared_error_percent for entry in found.entries.values()), strict=True))
    return {**found.shared, "correlation": results.summary([searches.correlation(each, trained) for each in shared]),
            "early": {f"after {epochs}": round(searches.correlation(
                [entry.validation_error_percent[epochs - 1] for entry in found.entries.values()], trained), 3)
                for epochs in range(1, found.most_epochs)},
            "points": [list(each) for each in list(zip(shared[0], trained, strict=True))[::2]]}


def noise(keep: Path) -> dict[str, Any] | None:
    """Spread of one network's errors over seeds, mean over the networks that were trained with several."""
    lines = {seed: {row["number"]: row for row in table.lines("digits", seed, keep)} for seed in NOISE_SEEDS}
    seeds = [seed for seed, found in lines.items() if found]
    if len(seeds) < 2:
        return None
    rows = [lines[seed] for seed in seeds]
    numbers = sorted(set.intersection(*(set(each) for each in rows)))
    errors = [[each[number]["validation_error_percent"][-1] for each in rows] for number in numbers]
    spreads = [results.mean_and_spread(each)[1] for each in errors]
    return {"seeds": seeds, "networks": len(numbers), "errors": errors,
            "spread": round((sum(each**2 for each in spreads) / len(spreads)) ** 0.5, 3)}


def predicted_and_measured(keep: Path) -> dict[str, Any] | None:
    """Sums over the latency table beside whole networks, in milliseconds, with their multiply-accumulates."""
    if not (keep / "latency.json").exists():
        return None
    kept = json.loads((keep / "latency.json").read_text(encoding="utf-8"))
    points = [[round(latency_table()(SMALL, one), 4), measured, SMALL.parameters_and_macs(one)[1]]
              for number, measured in kept for one in [SMALL.decode(number)]]
    predicted, measured, macs = zip(*points, strict=True)
    return {"machine": latency_table().machine, "predicted_measured_macs": points,
            "correlation_of_sums": round(searches.correlation(predicted, measured), 3),
            "correlation_of_macs": round(searches.correlation(macs, measured), 3)}


def write_down(found: Benchmark, keep: Path) -> None:
    """Put what is finished into ``results/architecture_search.json``."""
    entries = found.entries.values()
    content: dict[str, Any] = {
        "space": {"name": SMALL.name, "size": SMALL.size, "networks": len(entries), "recipe": found.recipe,
                  "decisions": {name: list(options) for name, options in SMALL.decisions.items()},
                  "seconds": round(sum(entry.seconds for entry in entries))},
        "cap": vars(searches.CAP), "budget_epochs": searches.BUDGET, "runs": searches.RUNS,
        "corner": {"macs": searches.CAP.macs, "error_percent": searches.WORST_ERROR}, "noise": noise(keep),
    }  # fmt: skip
    if (keep / "searches.json").exists():
        content |= json.loads((keep / "searches.json").read_text(encoding="utf-8"))
    if (latencies := predicted_and_measured(keep)) is not None:
        content["latency"] = latencies
    content["real"] = real.rows(keep)
    results.save("architecture_search", command=COMMAND, data=found.data, **content)


if __name__ == "__main__":
    main()
