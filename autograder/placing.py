"""Where a lab's given and check cells stand among the cells of a learner's notebook.

A place is a number of the learner's *own* cells (all but the given and check cells) that stand before.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

from autograder.released import CHECK, GIVEN, SOLUTION, LabCell


def place_of(own: Sequence[int], index: int) -> int:
    """The place of the cell with that index in the learner's notebook.

    Examples
    --------
    >>> place_of([0, 2, 5], 3)
    2
    """
    return bisect_left(own, index)


def places(named: Sequence[LabCell], first: Mapping[str, int], own: Sequence[int]) -> dict[str, int]:
    """The place of each given and check cell.

    It is where the learner left the cell, as long as that is after the solutions that precede it in the lab and before
    those that follow. A missing one goes directly after the cell that it follows in the lab; if that is a solution and
    missing too, as late as may be, since its exercise may stand in an added cell. Solutions that the learner moved
    don't count here, but none of them precedes the given cells at the lab's beginning. Given cells rise in the lab's
    order; check cells, which never run, give way to them.

    Parameters
    ----------
    named : sequence of LabCell
        The lab's named cells, in order.
    first : dict of str to int
        By name, the index of each one that is there in the learner's notebook.
    own : sequence of int
        Indices of the learner's own cells, rising.
    """
    there = {cell.name: place_of(own, first[cell.name]) for cell in named if cell.name in first}
    lower, upper = _bounds(named, there, len(own))
    given = _given_places(named, there, lower, upper, len(own))
    return given | _check_places(named, there, lower, upper, given)


def _given_places(
    named: Sequence[LabCell], there: Mapping[str, int], lower: Mapping[str, int], upper: Mapping[str, int], end: int
) -> dict[str, int]:
    found: dict[str, int] = {}
    latest = end
    for number in reversed(range(len(named))):
        cell, before = named[number], _run_before(named, number)
        if cell.kind == GIVEN:
            gone = before is not None and before.kind == SOLUTION and before.name not in there
            wanted = there.get(cell.name, latest if gone else lower[cell.name])
            found[cell.name] = max(lower[cell.name], min(wanted, latest, upper[cell.name]))
            latest = found[cell.name] if cell.name in there else latest
    earliest = 0
    for cell in named:
        if cell.kind == GIVEN:
            found[cell.name] = earliest = max(found[cell.name], earliest)
    return found


def _check_places(
    named: Sequence[LabCell],
    there: Mapping[str, int],
    lower: Mapping[str, int],
    upper: Mapping[str, int],
    given: Mapping[str, int],
) -> dict[str, int]:
    latest = dict(upper)
    for cell, following in reversed(list(pairwise(named))):
        limit = given.get(following.name, latest[following.name])
        latest[cell.name] = min(latest[cell.name], limit)
    found: dict[str, int] = {}
    earliest = 0
    for cell in named:
        if cell.kind == CHECK:
            low = max(earliest, lower[cell.name])
            found[cell.name] = min(max(there.get(cell.name, low), low), latest[cell.name])
        earliest = max(earliest, found.get(cell.name, 0), given.get(cell.name, 0))
    return found


def _bounds(named: Sequence[LabCell], there: Mapping[str, int], end: int) -> tuple[dict[str, int], dict[str, int]]:
    """By name, the first and the last place that the solutions allow."""
    at = [(cell.name, there[cell.name]) for cell in named if cell.kind == SOLUTION and cell.name in there]
    kept = _in_order(at)
    lower: dict[str, int] = {}
    upper: dict[str, int] = {}
    low, high = 0, end
    for cell in named:
        lower[cell.name] = low = kept[cell.name] + 1 if cell.name in kept else low
    for cell in reversed(named):
        upper[cell.name] = high = kept.get(cell.name, high)
    for cell in named:
        if cell.kind == SOLUTION:
            break
        upper[cell.name] = min([upper[cell.name], *(place for _, place in at)])
    return lower, upper


def _in_order(at: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The longest choice of names whose places rise."""
    chains: list[list[tuple[str, int]]] = [[]]
    for item in at:
        fitting = [chain for chain in chains if not chain or chain[-1][1] < item[1]]
        chains.append([*_longest(fitting), item])
    return dict(_longest(chains))


def _longest(chains: Sequence[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    return max(chains, key=lambda chain: len(chain))


def _run_before(named: Sequence[LabCell], number: int) -> LabCell | None:
    """The named cell that runs before one, check cells left aside."""
    return next((cell for cell in reversed(named[:number]) if cell.kind in (GIVEN, SOLUTION)), None)
