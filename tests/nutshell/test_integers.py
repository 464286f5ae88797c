"""Factors as whole multipliers and shifts: near enough, in range, and refused where they don't fit."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.integers import LARGEST_SHIFT, fixed_point_multiplier


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 2.0**29, exclude_max=True))
def test_a_factor_is_as_near_as_its_bits_allow(factor):
    multiplier, shift = (int(part) for part in fixed_point_multiplier(factor))
    assert 1 <= shift <= LARGEST_SHIFT and 0 <= multiplier < 2**31
    away = abs(Fraction(multiplier, 2**shift) - Fraction(factor))
    if factor >= 2.0**-31:
        assert multiplier >= 2**30 and away <= Fraction(factor) / 2**31
    elif factor > 0:
        assert shift == LARGEST_SHIFT and away <= Fraction(1, 2 ** (LARGEST_SHIFT + 1))
    else:
        assert multiplier == 0


def test_a_factor_just_below_a_power_of_two_is_carried():
    for power in (-20, 0, 28):
        multiplier, shift = fixed_point_multiplier(math.nextafter(2.0**power, 0))
        assert int(multiplier) == 2**30 and int(multiplier) / 2.0 ** int(shift) == 2.0**power


def test_shapes_are_kept():
    multiplier, shift = fixed_point_multiplier(torch.rand(2, 3))
    assert multiplier.shape == shift.shape == (2, 3) and multiplier.dtype == shift.dtype == torch.int64
    assert fixed_point_multiplier(torch.zeros(0))[0].shape == (0,)


@pytest.mark.parametrize("factor", [-0.1, 2.0**29, math.inf, math.nan])
def test_factors_out_of_range_are_refused(factor):
    with pytest.raises(ValueError, match="from 0 to below"):
        fixed_point_multiplier(factor)
