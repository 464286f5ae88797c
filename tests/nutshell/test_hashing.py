"""The mixer: the same numbers everywhere, none lost, and nothing of the key left to see."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.hashing import mix


def _murmur(key: int) -> int:
    """MurmurHash3's finaliser in Python's own whole numbers, which never overflow."""
    key ^= key >> 16
    key = key * 0x85EBCA6B % 2**32
    key ^= key >> 13
    key = key * 0xC2B2AE35 % 2**32
    return key ^ (key >> 16)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**40), max_size=6), st.integers(-(2**33), 2**33))
def test_it_is_murmurs_finaliser_in_exact_arithmetic(keys, seed):
    want = [_murmur(key % 2**32 ^ _murmur(seed % 2**32)) for key in keys]
    assert mix(torch.tensor(keys, dtype=torch.int64), seed).tolist() == want


def test_no_two_keys_meet_and_another_seed_scatters_anew():
    keys = torch.arange(1 << 18)
    first, second = mix(keys, 0), mix(keys, 1)
    assert len(first.unique()) == len(keys)
    assert not (first == second).any()
    correlation = torch.corrcoef(torch.stack([first, second, keys]).double())
    assert (correlation - torch.eye(3)).abs().max() < 0.01


def test_every_bit_of_the_key_moves_half_of_the_bits_of_the_result():
    keys = torch.arange(1 << 12)
    for bit in range(32):
        changed = mix(keys, 5) ^ mix(keys ^ (1 << bit), 5)
        moved = torch.stack([(changed >> place) & 1 for place in range(32)]).double().mean(1)
        assert float(moved.min()) > 0.4 and float(moved.max()) < 0.6


def test_keys_must_be_whole_numbers():
    with pytest.raises(TypeError, match="int64"):
        mix(torch.arange(3.0), 0)
