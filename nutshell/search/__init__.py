"""Architecture search: spaces, strategies, a benchmark in which trainings are look-ups, and an AutoML front end.

::

    from nutshell import search

    table = search.benchmark()
    strategy = search.AgeingEvolution(table.space, search.Cap(macs=300_000), seed=0)
    outcomes = search.run(strategy, table, budget=160)
"""

from nutshell.search.automl import AutoClassifier
from nutshell.search.benchmark import Benchmark, Entry, benchmark
from nutshell.search.caps import Cap, score
from nutshell.search.comparing import best_so_far, interval, volume
from nutshell.search.latency import LatencyTable, latency_table
from nutshell.search.running import Outcome, finished, run
from nutshell.search.space import LARGE, SMALL, Operation, Space
from nutshell.search.strategies import (
    AgeingEvolution,
    RandomSearch,
    Reinforce,
    SharedWeights,
    Strategy,
    SuccessiveHalving,
    Trial,
)
from nutshell.search.tpe import Tpe
from nutshell.search.trainer import Trainer

__all__ = [
    "LARGE", "SMALL", "AgeingEvolution", "AutoClassifier", "Benchmark", "Cap", "Entry", "LatencyTable", "Operation",
    "Outcome", "RandomSearch", "Reinforce", "SharedWeights", "Space", "Strategy", "SuccessiveHalving", "Tpe", "Trainer",
    "Trial", "benchmark", "best_so_far", "finished", "interval", "latency_table", "run", "score", "volume",
]  # fmt: skip
