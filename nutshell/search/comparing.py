"""How good a search was: its best network as the budget is spent, the volume of its front, and intervals over seeds."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from nutshell.search.running import Outcome


def volume(outcomes: Iterable[Outcome], most_macs: int, worst_error: float) -> float:
    """Hypervolume of networks in the plane of doublings and errors: what their front has gained over a corner.

    The corner is a network at the cap with the worst error that counts. A network that computes half as much and errs
    by 10 points less covers 1 doubling × 10 points; a front covers what any of its networks does (Zitzler and Thiele
    1999).

    Parameters
    ----------
    outcomes : iterable of Outcome
        Trained to the end.
    most_macs : int
        Multiply-accumulates of the corner.
    worst_error : float
        Error of the corner, in percent.

    Returns
    -------
    float
        In doublings × percentage points.

    Examples
    --------
    >>> volume([Outcome({}, 4, 5.0, 0, 500, 0, 0), Outcome({}, 4, 9.0, 0, 250, 0, 0)], 1000, 10.0)
    6.0
    """
    total, reached = 0.0, worst_error
    for each in sorted(outcomes, key=lambda one: (one.macs, one.error_percent)):
        if each.macs < most_macs and each.error_percent < reached:
            total += math.log2(most_macs / each.macs) * (reached - each.error_percent)
            reached = each.error_percent
    return total


def best_so_far(outcomes: Sequence[Outcome], epochs: int, budgets: Sequence[float]) -> list[float | None]:
    """Smallest validation error of a finished network when so many epochs were spent; ``None`` before the first.

    Examples
    --------
    >>> found = [Outcome({}, 4, 5.0, 0, 0, 4, 0), Outcome({}, 4, 3.0, 0, 0, 8, 0)]
    >>> best_so_far(found, 4, [3, 4, 9])
    [None, 5.0, 3.0]
    """
    return [min((each.error_percent for each in outcomes if each.epochs == epochs and each.spent <= budget),
                default=None) for budget in budgets]


def interval(values: Sequence[float], *, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """Mean, and the middle 95 % of the means of samples drawn anew with replacement (bootstrap; Efron 1979).

    Parameters
    ----------
    values : sequence of float
        One a seed, at least one.
    draws : int
        Samples.
    seed : int

    Returns
    -------
    dict
        ``mean``, ``low`` and ``high``, rounded to four digits.

    Examples
    --------
    >>> interval([3.0, 3.0, 3.0])
    {'mean': 3.0, 'low': 3.0, 'high': 3.0}
    """
    given = np.asarray(values, dtype=float)
    means = np.random.default_rng(seed).choice(given, (draws, len(given))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": round(float(given.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
