"""Networks compared image by image: counts, points, and the exact test against SciPy's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nutshell.paired import Paired, compare


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_test_is_the_exact_binomial_one(first, second):
    found = Paired(1000, first, second)
    want = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p_value == pytest.approx(min(1.0, want), rel=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
def test_points_are_the_difference_of_the_errors(rows):
    first, second, labels = torch.tensor(rows).T
    found = compare(first, second, labels)
    errors = [100 * float((answers != labels).double().mean()) for answers in (first, second)]
    assert found.points == pytest.approx(errors[1] - errors[0])
    assert found.images == len(rows)
    swapped = compare(second, first, labels)
    assert (swapped.only_first, swapped.only_second) == (found.only_second, found.only_first)
    assert swapped.p_value == found.p_value
