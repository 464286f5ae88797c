"""How pictures are shared out to learn from, to choose on and to report on, without near copies in two parts.

Frames of one recording look alike from one to the next, and cells of one patient share the stain. A random split would
put one of two near copies into the test part, and measure memory.
"""

import hashlib
from collections.abc import Hashable, Sequence
from typing import NamedTuple

BLOCKS = 20  # stretches that a recording is cut into
TURN = "tttvttettettttvtette"  # t: training, v: validation, e: testing


class Parts(NamedTuple):
    """Positions in the three parts, ascending; no position stands in two of them."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def in_stretches(count: int) -> Parts:
    """Share a recording out by twenty contiguous stretches: 14 to learn from, 2 to choose on and 4 to report on.

    Where a stretch that is learned from meets another, an eighth of it is dropped, so that no frame of training stands
    next to one that is held back.

    Parameters
    ----------
    count : int
        Frames, in the order in which they were taken; at least 160, so that a stretch has 8.

    Returns
    -------
    Parts

    Raises
    ------
    ValueError
        If there are fewer frames.

    Examples
    --------
    >>> [len(part) for part in in_stretches(1351)]
    [856, 136, 271]
    """
    if count < 8 * BLOCKS:
        raise ValueError(f"{count} frames: at least {8 * BLOCKS} are needed to cut them into {BLOCKS} stretches.")
    parts: dict[str, list[int]] = {"t": [], "v": [], "e": []}
    gap = count // BLOCKS // 8
    for block, part in enumerate(TURN):
        start, stop = block * count // BLOCKS, (block + 1) * count // BLOCKS
        if part == "t":
            start += gap * (block > 0 and TURN[block - 1] != "t")
            stop -= gap * (block < BLOCKS - 1 and TURN[block + 1] != "t")
        parts[part] += range(start, stop)
    return Parts(*(tuple(parts[part]) for part in "tve"))


def in_order(count: int, gap: float = 0.0) -> Parts:
    """Share pictures out by position: 70 % first to learn from, the next 10 % to choose on, the last 20 % to report on.

    Parameters
    ----------
    count : int
        Pictures, in their publisher's order; at least 10.
    gap : float
        Share of all that is dropped at the end of training and at the beginning of testing, below 0.2.

    Returns
    -------
    Parts

    Raises
    ------
    ValueError
        If there are fewer.

    Examples
    --------
    >>> [len(part) for part in in_order(300, gap=0.03)]
    [201, 30, 51]
    """
    if count < 10:
        raise ValueError(f"{count} pictures: at least 10 are needed, to share them out in three.")
    drop = int(gap * count)
    first, second = count * 7 // 10, count * 8 // 10
    return Parts(tuple(range(first - drop)), tuple(range(first, second)), tuple(range(second + drop, count)))


def by_group(groups: Sequence[Hashable]) -> Parts:
    """Share pictures out by what they come from, such as a patient: all of one group stay together.

    Groups are taken in the order of a hash of their names, so that the parts are the same on every machine: to test
    on, until they hold a fifth of all pictures, then to choose on, until they hold a tenth.

    Parameters
    ----------
    groups : sequence of hashable
        Of each picture.

    Returns
    -------
    Parts

    Raises
    ------
    ValueError
        If there are fewer than three groups, or so uneven ones that a part stays empty.

    Examples
    --------
    >>> parts = by_group([f"patient {i // 5}" for i in range(100)])
    >>> [len(part) for part in parts]
    [70, 10, 20]
    """
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    order = sorted(members, key=lambda group: hashlib.sha256(str(group).encode()).digest())
    parts: tuple[list[int], list[int], list[int]] = [], [], []
    for group in order:
        full = len(parts[2]) >= len(groups) / 5
        target = 2 if not full else 1 if len(parts[1]) < len(groups) / 10 else 0
        parts[target].extend(members[group])
    if not all(parts):
        raise ValueError(f"{len(groups)} pictures of {len(members)} groups can't be shared out in three by group: "
                         f"give at least three groups of about equal size.")
    return Parts(*(tuple(sorted(part)) for part in parts))
