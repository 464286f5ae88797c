"""An implementation called directly: its errors are a learner's, also those of a generator halfway."""

import pytest

from nutshell.expect import LearnerRaised
from nutshell.wire.direct import Direct


def halfway(count):
    yield from range(count)
    raise ValueError("no more")


def test_errors_of_a_generator_come_when_an_item_is_asked_for():
    items = Direct({"halfway": halfway}).halfway(2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(LearnerRaised, match="ValueError: no more"):
        next(items)


def test_a_generator_that_ends_ends():
    assert list(Direct({"three": lambda: (n for n in range(3))}).three()) == [0, 1, 2]
