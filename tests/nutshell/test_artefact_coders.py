"""Coders give back what they were given, at the length that theory promises, and refuse everything else."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.artefact.coders import CODERS, ans, fixed, huffman
from nutshell.artefact.coders.bits import pack, read_length, unpack, width_of, write_length

COUNTS = st.lists(st.integers(0, 50) | st.integers(0, 10**6), min_size=1, max_size=40).filter(any)
LENGTHS_THAT_CHANGE_THE_LANES = (0, 1, 2, 2047, 2048, 4095, 4096, 23 * 2048, 24 * 2048 - 1, 24 * 2048, 24 * 2048 + 7)


def entropy(counts: np.ndarray) -> float:
    """Bits a symbol."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def draw_symbols(data, most: int = 600) -> tuple[np.ndarray, int]:
    alphabet = data.draw(st.integers(1, 300))
    skew = data.draw(st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(0, most))
    if skew in (0, 1):
        return generator.integers(0, 1 if skew else alphabet, count), alphabet
    return (generator.geometric(skew, count) - 1).clip(0, alphabet - 1), alphabet


# All of them


@settings(max_examples=150, deadline=None)
@given(data=st.data(), coder=st.sampled_from(sorted(CODERS)))
def test_symbols_come_back(data, coder):
    symbols, alphabet = draw_symbols(data)
    payload = CODERS[coder].encode(symbols, alphabet)
    assert np.array_equal(CODERS[coder].decode(memoryview(payload), len(symbols), alphabet), symbols)


@pytest.mark.parametrize("coder", sorted(CODERS))
@pytest.mark.parametrize("count", LENGTHS_THAT_CHANGE_THE_LANES)
def test_symbols_come_back_at_every_number_of_lanes(coder, count):
    symbols = np.random.default_rng(count).geometric(0.4, count).clip(1, 16) - 1
    payload = CODERS[coder].encode(symbols, 16)
    assert np.array_equal(CODERS[coder].decode(memoryview(payload), count, 16), symbols)


@pytest.mark.parametrize("coder", sorted(CODERS))
def test_blocks_that_decoding_is_done_in_leave_no_seam(coder):
    symbols = np.random.default_rng(0).integers(0, 250, 300_000)
    payload = CODERS[coder].encode(symbols, 250)
    assert np.array_equal(CODERS[coder].decode(memoryview(payload), len(symbols), 250), symbols)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), coder=st.sampled_from(sorted(CODERS)))
def test_damage_is_refused_or_decodes_to_symbols_of_the_alphabet(data, coder):
    symbols, alphabet = draw_symbols(data, 60)
    payload = bytearray(CODERS[coder].encode(symbols, alphabet))
    for _ in range(data.draw(st.integers(1, 3))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = payload[: data.draw(st.integers(0, len(payload)))] + data.draw(st.binary(max_size=3))
    for damaged in (bytes(payload), bytes(cut)):
        try:
            found = CODERS[coder].decode(memoryview(damaged), len(symbols), alphabet)
        except ValueError as error:
            assert str(error)
        else:
            assert len(found) == len(symbols) and found.min(initial=0) >= 0 and found.max(initial=0) < alphabet


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 70_000), st.integers(1, 300), st.sampled_from(sorted(CODERS)))
def test_any_bytes_are_refused_or_decode_to_symbols_of_the_alphabet(payload, count, alphabet, coder):
    try:
        found = CODERS[coder].decode(memoryview(payload), count, alphabet)
    except ValueError as error:
        assert str(error)
    else:
        assert len(found) == count and found.max(initial=0) < alphabet


@pytest.mark.parametrize("coder", sorted(CODERS))
def test_no_symbols_take_no_bytes_and_bytes_are_refused(coder):
    assert CODERS[coder].encode(np.zeros(0, int), 5) == b""
    with pytest.raises(ValueError):
        CODERS[coder].decode(memoryview(b"a"), 0, 5)


# Bits


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_numbers_of_any_width_come_back(data):
    widths = np.array(data.draw(st.lists(st.integers(0, 32), max_size=50)), dtype=np.int64)
    values = np.array([data.draw(st.integers(0, 2**int(width) - 1)) for width in widths], dtype=np.int64)
    payload = pack(values, widths)
    assert len(payload) == -(-int(widths.sum()) // 8)
    assert np.array_equal(unpack(payload, widths), values)
    joined = "".join(f"{value:0{width}b}" for value, width in zip(values, widths, strict=True) if width)
    assert "".join(f"{byte:08b}" for byte in payload) == joined.ljust(8 * len(payload), "0")


def test_bits_behind_the_last_number_are_refused():
    assert unpack(b"\xc0", 2, 1).tolist() == [3]
    for payload in (b"\xc1", b"\xe0", b"\xc0\x00", b""):
        with pytest.raises(ValueError):
            unpack(payload, 2, 1)


@given(st.integers(0, 2**34))
def test_lengths_come_back(length):
    found, rest = read_length(write_length(length) + b"x", "things", 2**34)
    assert (found, bytes(rest)) == (length, b"x")
    if length:
        with pytest.raises(ValueError, match="more than"):
            read_length(write_length(length), "things", length - 1)


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff" * 5, b"\xff" * 9])
def test_lengths_that_do_not_end_are_refused(payload):
    with pytest.raises(ValueError, match="cut off"):
        read_length(payload, "things", 2**40)


@pytest.mark.parametrize("alphabet", [1, 2, 3, 255, 256, 257])
def test_packed_symbols_beyond_the_alphabet_are_refused(alphabet):
    assert fixed.decode(fixed.encode(np.array([alphabet - 1]), alphabet), 1, alphabet).tolist() == [alphabet - 1]
    if alphabet < 1 << width_of(alphabet):
        with pytest.raises(ValueError, match="alphabet"):
            fixed.decode(pack(np.array([alphabet]), width_of(alphabet)), 1, alphabet)


# Huffman


@settings(max_examples=200, deadline=None)
@given(COUNTS)
def test_huffmans_mean_length_is_within_a_bit_of_the_entropy_and_krafts_sum_is_one(counts):
    counts = np.array(counts)
    lengths = huffman.code_lengths(counts)
    there = counts > 0
    assert (lengths[~there] == -1).all() and lengths.max() <= huffman.LONGEST
    assert sum(1 << (huffman.LONGEST - int(length)) for length in lengths[there]) == 1 << huffman.LONGEST
    mean = (counts * lengths)[there].sum() / counts.sum()
    assert entropy(counts) - 1e-9 <= mean < entropy(counts) + 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_huffmans_code_is_as_short_as_the_best_of_all_trees(counts):
    """Brute force: every way to split a set of symbols in two, again and again."""
    @cache
    def best(members: int) -> int:
        if members & (members - 1) == 0:
            return 0
        weight = sum(count for symbol, count in enumerate(counts) if members >> symbol & 1)
        costs, part = [], (members - 1) & members
        while part:
            costs.append(best(part) + best(members ^ part))
            part = (part - 1) & members
        return weight + min(costs)

    assert (np.array(counts) * huffman.code_lengths(np.array(counts))).sum() == best((1 << len(counts)) - 1)


@given(COUNTS)
def test_no_code_word_begins_another(counts):
    lengths = huffman.code_lengths(np.array(counts))
    words = [f"{word:0{length}b}" if length else "" for word, length
             in zip(huffman.code_words(lengths), lengths, strict=True) if length >= 0]  # fmt: skip
    assert len(set(words)) == len(words)
    assert not any(a != b and b.startswith(a) for a in words for b in words)


def test_counts_like_fibonaccis_numbers_are_kept_to_16_bits():
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(np.array(counts))
    assert lengths.max() <= 16 and (2.0**-lengths).sum() == 1
    symbols = np.repeat(np.arange(24), counts[:24])
    assert np.array_equal(huffman.decode(huffman.encode(symbols, 24), len(symbols), 24), symbols)


@pytest.mark.parametrize(("lengths", "words"), [
    ([1, 1, 1], "Kraft sum is 1.5"), ([1, 2], "Kraft sum is 0.75"), ([-1, -1], "Kraft sum is 0 "),
    ([0, 1], "Kraft sum is 1.5"), ([17] * 2, "17 bits"), ([1], "Kraft sum is 0.5"),
])  # fmt: skip
def test_lengths_of_no_complete_code_are_refused(lengths, words):
    width = int(max(lengths) + 1).bit_length() or 1
    table = write_length(len(lengths)) + bytes([width]) + pack(np.array(lengths) + 1, width)
    with pytest.raises(ValueError, match=words):
        huffman.decode(table + b"\0", 4, 8)


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p + b"\0", "follows the last code word"), (lambda p: p[:-1], "cut off|can't be"),
    (lambda p: p[:-1] + bytes([p[-1] | 1]), "follows the last code word"),
    (lambda p: b"\x30" + p[1:], "more than the 9 possible"), (lambda p: p[:1] + b"\x06" + p[2:], "from 1 to 5"),
    (lambda p: p[:1], "width is missing"), (lambda p: p[:3], "bits take"), (lambda p: p + bytes(2000), "can't be"),
])  # fmt: skip
def test_changed_huffman_codes_are_refused(change, words):
    symbols = np.array([0, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1, 1] * 3 + [0])
    payload = huffman.encode(symbols, 9)
    with pytest.raises(ValueError, match=words):
        huffman.decode(change(payload), len(symbols), 9)


# Asymmetric numeral systems


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_ans_reaches_the_entropy_but_for_its_table(data):
    symbols, alphabet = draw_symbols(data, 5000)
    payload = ans.encode(symbols, alphabet)
    counts = np.bincount(symbols, minlength=1)
    lanes = max(1, len(symbols) // 2048)
    assert 8 * len(payload) <= len(symbols) * entropy(counts) * 1.01 + 14 * len(counts) + 32 * lanes + 48


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 300), max_size=200))
def test_numbers_of_every_class_come_back(numbers):
    numbers = np.array(numbers, dtype=np.int64)
    assert np.array_equal(ans.decode_classes(ans.encode_classes(numbers), len(numbers)), numbers)


@pytest.mark.parametrize("mantissa", ans.MANTISSAS)
def test_classes_are_ranges_of_ascending_numbers(mantissa):
    numbers = np.arange(1 << 12)
    classes, widths = ans._classes(numbers, mantissa)
    assert (np.diff(classes) >= 0).all() and np.array_equal(np.unique(classes), np.arange(classes.max() + 1))
    assert np.array_equal(np.bincount(classes)[:-1], (1 << widths[np.diff(classes, prepend=-1) > 0])[:-1])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_as_classes_are_refused_or_decode_to_numbers(payload, count):
    try:
        found = ans.decode_classes(payload, count)
    except ValueError as error:
        assert str(error)
    else:
        assert len(found) == count and found.min(initial=0) >= 0


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p[:-1], "words of 2"), (lambda p: p[:-2], "end before"), (lambda p: p + b"\0\0", "where the encoder"),
    (lambda p: b"\x0f" + p[1:], "precision"), (lambda p: b"\x02" + p[1:], "precision"), (lambda p: b"", "precision"),
    (lambda p: p[:1] + b"\x10" + p[2:], "more than the 8 possible"), (lambda p: p[:1] + b"\0" + p[2:], "no symbols"),
    (lambda p: p[:2], "bits take"), (lambda p: b"\0\x03" + p[2:], "only one symbol"),
])  # fmt: skip
def test_changed_streams_are_refused(change, words):
    symbols = np.arange(500) ** 2 % 7
    payload = ans.encode(symbols, 8)
    with pytest.raises(ValueError, match=words):
        ans.decode(change(payload), len(symbols), 8)


@pytest.mark.parametrize("frequencies", [[8, 1], [4, 4], [7, 7, 0]])
def test_frequencies_that_do_not_add_up_are_refused(frequencies):
    table = bytes([3, len(frequencies) + 1]) + pack(np.array(frequencies), 4)[:2].ljust(2, b"\0")
    with pytest.raises(ValueError):
        ans.decode(table + bytes(20), 4, 8)


def test_states_that_do_not_arrive_where_the_encoder_began_are_refused():
    payload = bytearray(ans.encode(np.array([0, 1, 1]), 2))
    place = len(payload) - 4 - 2 * ((len(payload) - 7) // 2) + 2  # the state's third byte
    payload[place] += 1
    with pytest.raises(ValueError, match="where the encoder began"):
        ans.decode(bytes(payload), 3, 2)
    payload[place : place + 2] = bytes(2)
    with pytest.raises(ValueError, match=r"below 2\^16"):
        ans.decode(bytes(payload), 3, 2)


def test_alphabets_that_are_too_large_are_refused():
    for call in (lambda: ans.encode(np.arange(5000), 5000), lambda: ans.decode(b"", 1, 5000)):
        with pytest.raises(ValueError, match="more than the 4,096"):
            call()
