"""Measured numbers, one JSON file a subject in ``results/``, each with the command that regenerates it."""

import json
import math
import os
from pathlib import Path
from typing import Any

from nutshell.errors import WrongUse


def folder() -> Path:
    """The folder ``results/``: in the current folder or one above it, else beside the package.

    Raises
    ------
    WrongUse
        If there is none.
    """
    here = Path.cwd()
    for place in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (place / "results").is_dir() and (place / "nutshell").is_dir():
            return place / "results"
    raise WrongUse(f"There is no folder results/ in {here}, above it or beside the nutshell package. "
                   "Run this from inside the course's folder.")


def save(name: str, *, command: str, data: str, **content: Any) -> Path:
    """Write ``results/<name>.json``.

    Parameters
    ----------
    name : str
        Subject, such as ``"low_rank"``.
    command : str
        What regenerates the file, from the course's folder.
    data : str
        Name of the data set measured on, as the loaders give it.
    **content
        What was measured; plain JSON values.

    Returns
    -------
    Path
        The file.
    """
    file = folder() / f"{name}.json"
    unfinished = file.with_name(file.name + ".unfinished")
    text = json.dumps({"command": command, "data": data, **content}, indent=1, ensure_ascii=False, allow_nan=False)
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, file)
    return file


def load(name: str) -> dict[str, Any]:
    """Read ``results/<name>.json``.

    Raises
    ------
    WrongUse
        If there is no such file; the message names those there are.
    """
    file = folder() / f"{name}.json"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in folder().glob("*.json"))) or "none yet"
        raise WrongUse(f"There are no results called {name!r} in {folder()}; there are: {known}.")
    return json.loads(file.read_text(encoding="utf-8"))


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, the form in which every figure over seeds is quoted.

    Parameters
    ----------
    values : list of float
        At least two, one a seed.

    Examples
    --------
    >>> mean_and_spread([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} value(s): a spread needs at least two.")
    mean = sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, spread and the values themselves, as results keep a figure over seeds; rounded to three digits.

    Parameters
    ----------
    values : list of float
        At least one, one a seed.

    Returns
    -------
    dict
        ``mean``; ``spread``, the sample standard deviation, None of a single value; ``each``, the values.

    Examples
    --------
    >>> summary([1.5, 1.7])
    {'mean': 1.6, 'spread': 0.141, 'each': [1.5, 1.7]}
    >>> summary([1.5])["spread"] is None
    True
    """
    each = [round(value, 3) for value in values]
    if len(values) == 1:
        return {"mean": each[0], "spread": None, "each": each}
    mean, spread = mean_and_spread(values)
    return {"mean": round(mean, 3), "spread": round(spread, 3), "each": each}


def shown(value: dict[str, Any], digits: int = 2) -> str:
    """A figure over seeds in words: mean ± spread, and the value alone where there is one seed only.

    Parameters
    ----------
    value : dict
        As :func:`summary` makes it.
    digits : int
        After the point.

    Examples
    --------
    >>> shown(summary([1.5, 1.7])), shown(summary([1.5]))
    ('1.60 ± 0.14', '1.50')
    """
    spread = "" if _single(value) else f" ± {value['spread']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"


def error_bar(value: dict[str, Any]) -> float:
    """Half the length of a figure's error bar: its spread; of a single seed NaN, for which matplotlib draws none.

    Examples
    --------
    >>> error_bar(summary([1.5, 1.7])), error_bar(summary([1.5]))
    (0.141, nan)
    """
    return math.nan if _single(value) else float(value["spread"])


def _single(value: dict[str, Any]) -> bool:
    return value["spread"] is None or len(value.get("each", ())) == 1
