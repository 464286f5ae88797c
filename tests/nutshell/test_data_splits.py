"""Parts that hold no near copy of one another, for any number of pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nutshell.data.splits import BLOCKS, TURN, by_group, in_order, in_stretches


def apart(parts, count):
    everything = [at for part in parts for at in part]
    assert len(set(everything)) == len(everything) and set(everything) <= set(range(count))
    assert all(part and list(part) == sorted(part) for part in parts)


@given(st.integers(160, 5_000))
def test_stretches_are_contiguous_and_training_keeps_away_from_the_rest(count):
    parts = in_stretches(count)
    apart(parts, count)
    gap = count // BLOCKS // 8
    held_back = set(parts.validation + parts.test)
    assert all(at + step not in held_back for at in parts.train for step in range(-gap, gap + 1))
    assert len(parts.validation) / count == pytest.approx(2 / 20, abs=0.02)
    assert len(parts.test) / count == pytest.approx(4 / 20, abs=0.02)
    assert len(parts.train) / count > 0.6
    jumps = sum(b - a > 1 for a, b in zip(parts.test, parts.test[1:], strict=False))
    assert jumps == 3


def test_the_turns_are_as_said():
    assert len(TURN) == BLOCKS and (TURN.count("t"), TURN.count("v"), TURN.count("e")) == (14, 2, 4)
    with pytest.raises(ValueError, match="at least 160 are needed"):
        in_stretches(159)


@given(st.integers(10, 2_000), st.sampled_from([0.0, 0.03, 0.1]))
def test_by_position_testing_comes_last_and_gaps_are_kept(count, gap):
    parts = in_order(count, gap)
    apart(parts, count)
    drop = int(gap * count)
    assert parts.train[-1] + drop + 1 == parts.validation[0] and parts.validation[-1] + drop + 1 == parts.test[0]
    assert parts.test[-1] == count - 1
    assert len(parts.test) + drop == pytest.approx(0.2 * count, abs=1)


@given(st.lists(st.integers(0, 30), min_size=60, max_size=400))
def test_groups_stay_together_whatever_their_order(groups):
    try:
        parts = by_group(groups)
    except ValueError as error:
        assert "can't be shared out in three" in str(error)
        return
    apart(parts, len(groups))
    assert sum(map(len, parts)) == len(groups)
    seen = [{groups[at] for at in part} for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    backwards = by_group(groups[::-1])
    assert [{groups[::-1][at] for at in part} for part in backwards] == seen


def test_too_few_or_too_uneven_groups_are_refused():
    for groups in (["a"] * 20, ["a"] * 10 + ["b"] * 10, ["a", "b"]):
        with pytest.raises(ValueError, match="at least three groups"):
            by_group(groups)
    with pytest.raises(ValueError, match="at least 10 are needed"):
        in_order(9)
