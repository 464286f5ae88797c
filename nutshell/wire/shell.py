"""The learner's IPython: experiments run or are skipped, and standard error costs no marks under stock nbgrader."""

import os
import sys
from typing import Any

EXPERIMENT = "%%experiment"


def prepare() -> None:
    """Run or skip experiments; under stock nbgrader, keep what goes to standard error from costing marks."""
    shell = current()
    if shell is not None:
        transformers = shell.input_transformers_cleanup
        transformers[:] = [item for item in transformers if getattr(item, "__name__", "") != experiment_cells.__name__]
        transformers.append(experiment_cells)
    stream: Any = sys.stderr
    if "NBGRADER_EXECUTION" in os.environ and type(stream).__module__.startswith("ipykernel"):
        stream.name = "stdout"  # stock nbgrader gives no marks to a cell that warns or shows a progress bar


def experiment_cells(lines: list[str]) -> list[str]:
    """IPython's view of a cell that begins with ``%%experiment``: its body, or nothing where experiments are skipped.

    Examples
    --------
    >>> experiment_cells(["%%experiment\\n", "train()\\n"])
    ['# an experiment: skipped at grading\\n', 'train()\\n']
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None or not is_experiment(lines[first]):
        return lines
    if "NBGRADER_EXECUTION" in os.environ:
        return ['print("An experiment: skipped at grading.")\n']
    return [*lines[:first], "# an experiment: skipped at grading\n", *lines[first + 1 :]]


def is_experiment(source: str) -> bool:
    """Whether a cell's text begins with ``%%experiment``."""
    words = source.split(maxsplit=1)
    return bool(words) and words[0] == EXPERIMENT


def in_notebook() -> bool:
    """Whether a front end will show the HTML of a cell's last value."""
    shell = current()
    return shell is not None and hasattr(shell, "kernel")


def current() -> Any:
    """The running IPython, or None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
