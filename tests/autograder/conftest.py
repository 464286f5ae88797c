"""A made-up unit of two exercises and a budget, small enough to see through, in a folder of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import solutions
from autograder import units

REFERENCE = '''"""Halves and clips."""

import numpy as np


def half(x: np.ndarray) -> np.ndarray:
    """Half of every number.

    Parameters
    ----------
    x : array
        Any shape.
    """
    # one product
    return 0.5 * x


def clip_at(x: np.ndarray, limit: float) -> np.ndarray:
    """Numbers above ``limit`` become ``limit``.

    Raises
    ------
    ValueError
        If limit is below 0.
    """
    if limit < 0:
        raise ValueError(f"limit={limit}: must be at least 0.")
    return np.minimum(x, limit)
'''
LAB = """---
kernelspec:
  name: python3
  display_name: Python 3
---

# Tiny

```{code-cell} ipython3
import numpy as np

from nutshell import check, hand_in, open_lab, progress

open_lab("tiny")
```

## Halves

Write `half`.

```{code-cell} ipython3
:tags: [exercise]

half
```

```{code-cell} ipython3
:tags: [experiment]

print(half(np.ones(2)))
```

## Clipping

Write `clip_at`.

```{code-cell} ipython3
:tags: [exercise]

clip_at
```

## The end

```{code-cell} ipython3
progress()
```
"""
CHECKS = '''"""Checks of the made-up unit."""

import numpy as np

from nutshell import expect
from nutshell.checks import Exercise, Unit, check

UNIT = Unit(1, "tiny", "Tiny", (
    Exercise("half", points=2, minutes=1),
    Exercise("clip_at", points=3, minutes=2, difficulty=2, extension=True),
))
SIZES = (1, 4)


@check("half")
def half_is_half(learner, reference, rng):
    """Twice the half is the whole"""
    for size in SIZES:
        x = rng.normal(size=size)
        expect.close(2 * learner.half(x), x, "twice the half")


@check("half", hidden=True)
def half_of_large_numbers(learner, reference, rng):
    """Large numbers are halved too"""
    x = 1e9 * rng.normal(size=5) + SECRET
    expect.close(learner.half(x), reference.half(x), "the half")


SECRET = 12345.678


@check("clip_at")
def clip_is_the_reference_s(learner, reference, rng):
    """Nothing is above the limit"""
    x = rng.normal(size=8)
    expect.close(learner.clip_at(x, 0.25), reference.clip_at(x, 0.25), "the clipped numbers")


@check("clip_at", weight=2)
def clip_refuses(learner, reference, rng):
    """A limit below 0 is a ValueError"""
    expect.raises("ValueError", learner.clip_at, np.ones(2), -1.0, why="the limit is below 0")
'''
MUTANTS = '''"""Answers of the made-up unit."""

import numpy as np

from nutshell.checks import alternative, mutant


@mutant("half")
def half_of_small_numbers(x):
    """Large numbers are left alone"""
    return np.where(np.abs(x) < 1e6, x / 2, x)


@mutant("clip_at")
def clip_anything(x, limit):
    """Limits below 0 are accepted"""
    return np.minimum(x, limit)


@alternative("half")
def half_by_division(x):
    """Divides"""
    return x / 2
'''


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., units.Source]:
    """Write the made-up unit, some of its text replaced, and read it: ``tiny(checks=("points=2", "points=4"))``"""
    monkeypatch.setattr(solutions, "__path__", [str(tmp_path / "solutions")])

    def make(**replaced: tuple[str, str]) -> units.Source:
        for module in [name for name in sys.modules if name.startswith("solutions.tiny")]:
            monkeypatch.delitem(sys.modules, module)
        folder = tmp_path / "solutions" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "solutions" / "__init__.py").touch()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file rewritten within a second must be read anew
        texts = {
            "reference.py": REFERENCE,
            "lab.md": LAB,
            "checks.py": CHECKS,
            "mutants.py": MUTANTS,
            "__init__.py": "",
        }
        for name, text in texts.items():
            old, new = replaced.get(name.split(".")[0], ("", ""))
            assert old in text, f"{old!r} doesn't stand in {name}"
            (folder / name).write_text(text.replace(old, new) if old else text, encoding="utf-8")
        return units.load("tiny")

    return make
