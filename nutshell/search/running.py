"""Runs a search within a budget, with a bar, and keeps a journal from which an interrupted search goes on."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm.auto import tqdm

from nutshell.errors import WrongUse
from nutshell.search.space import Blocks, Option
from nutshell.search.strategies import Strategy, Trial

_AGAIN = 100  # questions in a row that cost nothing, after which a search has nothing new to ask


class Evaluates(Protocol):
    """What answers: :class:`nutshell.search.trainer.Trainer` trains, :class:`nutshell.search.benchmark.Benchmark`
    looks up."""

    def evaluate(self, architecture: dict[str, Option], epochs_in_all: int) -> dict[str, float]: ...


@dataclass(frozen=True)
class Outcome:
    """One answer of a search.

    Attributes
    ----------
    architecture : dict
    epochs : int
        Trained for in all; fewer than a finished training if the search stopped there.
    error_percent : float
        On the validation images.
    parameters, macs : int
    spent : float
        Epochs that the search has cost up to here.
    seconds : float
        Of processor time, for this candidate in all.
    """

    architecture: dict[str, Option]
    epochs: int
    error_percent: float
    parameters: int
    macs: int
    spent: float
    seconds: float


def run(
    strategy: Strategy, trainer: Evaluates, budget: float, *, journal: Path | None = None,
    time_limit: float | None = None, progress: bool = True,
) -> list[Outcome]:  # fmt: skip
    """Ask, train and tell until the budget is spent.

    Parameters
    ----------
    strategy : Strategy
        A new one; it is used up.
    trainer : Trainer or Benchmark
        Trains, or looks up.
    budget : float
        Epochs of training in all. A network that was trained before costs nothing, and one that is trained on only the
        epochs more. A trial that would go over the budget isn't made.
    journal : Path, optional
        File with one line an answer. If it is there, its answers are used again instead of being trained for; it must
        be of the same search.
    time_limit : float, optional
        Seconds on the clock after which no trial is begun.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    list of Outcome
        In the order of the answers, repeated ones left out.

    Raises
    ------
    WrongUse
        If the journal is of another search.

    Examples
    --------
    >>> from nutshell import search
    >>> found = search.run(search.RandomSearch(search.SMALL, search.Cap()), search.benchmark(), 40, progress=False)
    >>> len(found), found[-1].spent
    (10, 40.0)
    """
    known = _read(journal, strategy)
    began, spent, repeated = time.monotonic(), strategy.spent, 0
    paid: dict[Blocks, int] = {}
    found: list[Outcome] = []
    with tqdm(total=budget, initial=min(budget, spent), unit="epoch", disable=not progress, desc=strategy.name) as bar:
        while repeated < _AGAIN and (trial := strategy.ask()) is not None:
            key = strategy.space.blocks(trial.architecture)
            cost = max(0, trial.epochs - paid.get(key, 0))
            if spent + cost > budget or (time_limit is not None and time.monotonic() - began > time_limit):
                break
            answer = _answer(trial, trainer, known, journal, strategy)
            strategy.tell(trial, answer["error_percent"])
            repeated = 0 if cost else repeated + 1
            if cost:
                spent, paid[key] = spent + cost, trial.epochs
                found.append(Outcome(trial.architecture, trial.epochs, answer["error_percent"],
                                     *strategy.space.parameters_and_macs(trial.architecture), spent, answer["seconds"]))
                bar.update(cost)
                bar.set_postfix(networks=len(paid), best=f"{min(each.error_percent for each in found):.2f} %")
    return found


def finished(outcomes: Iterable[Outcome], epochs: int) -> list[Outcome]:
    """Those that were trained to the end, whose errors may be compared."""
    return [each for each in outcomes if each.epochs == epochs]


def _key(trial: Trial, strategy: Strategy) -> str:
    return f"{strategy.space.number(trial.architecture)}:{trial.epochs}"


def _heading(strategy: Strategy) -> dict[str, Any]:
    return {"strategy": strategy.name, "space": strategy.space.name, "cap": asdict(strategy.cap)}


def _read(journal: Path | None, strategy: Strategy) -> dict[str, dict[str, float]]:
    if journal is None:
        return {}
    if not journal.exists():
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_text(json.dumps(_heading(strategy)) + "\n", encoding="utf-8")
        return {}
    first, *lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    if json.loads(first) != _heading(strategy):
        raise WrongUse(f"{journal} is the journal of another search: {first.strip()}. Delete it, or name another file.")
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):  # cut off while it was written: the answer is worked out again
        journal.write_text("".join([first, *whole]), encoding="utf-8")
    return {key: answer for line in whole for key, answer in json.loads(line).items()}


def _answer(trial: Trial, trainer: Evaluates, known: dict[str, dict[str, float]], journal: Path | None,
            strategy: Strategy) -> dict[str, float]:  # fmt: skip
    key = _key(trial, strategy)
    if key not in known:
        known[key] = trainer.evaluate(trial.architecture, trial.epochs)
        if journal is not None:
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps({key: known[key]}) + "\n")
    return known[key]
