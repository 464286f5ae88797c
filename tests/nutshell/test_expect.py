"""What a check expects: accepted where it should be, refused with four parts where not."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nutshell import expect
from nutshell.expect import CheckFailed, LearnerRaised

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def fails(function, *arguments, **keywords):
    """The failure that an expectation must be."""
    with pytest.raises(CheckFailed) as failed:
        function(*arguments, **keywords)
    assert failed.value.expected and failed.value.got
    return failed.value


@given(st.lists(FLOATS, max_size=6), st.booleans())
def test_close_takes_numbers_in_any_container(numbers, as_tensor):
    array = torch.tensor(numbers) if as_tensor else np.array(numbers)
    for got in (numbers, tuple(numbers), array, array.tolist()):
        expect.close(got, array, "it")
        expect.equal(got, array, "it")


@given(FLOATS, st.floats(1e-3, 1))
def test_close_keeps_its_tolerances(value, rtol):
    inside, outside = abs(value) * rtol * 0.99 + 0.99e-3, abs(value) * rtol * 1.01 + 1.01e-3
    expect.close(value + inside, value, "it", rtol=rtol, atol=1e-3)
    fails(expect.close, value + outside, value, "it", rtol=rtol, atol=1e-3)


@pytest.mark.parametrize(
    "got, want",
    [
        (1.0, 1),
        (np.float32(2), 2),
        (torch.tensor(2.0, requires_grad=True), 2),
        (True, 1),
        (float("nan"), float("nan")),
        (np.ones((2, 2)), torch.ones(2, 2, dtype=torch.bfloat16)),
        ([1, [2.0, 3.0]], (1, (2, 3))),
        ({"a": np.ones(2)}, {"a": [1, 1]}),
        ([np.ones(2), np.ones(3)], [np.ones(2), torch.ones(3)]),
        ([torch.tensor(1.0), torch.tensor(2.0)], [1, 2]),
        ([], []),
        (1 + 2j, 1 + 2j),
        (float("inf"), float("inf")),
        (torch.ones(2).conj(), np.ones(2)),
        (np.int64(3), 3),
    ],
)
def test_what_is_close(got, want):
    expect.close(got, want, "it")


@pytest.mark.parametrize(
    "got, want",
    [
        (None, 1),
        ("1", 1),
        (np.ones(1), 1),
        (1, np.ones(1)),
        (np.ones((2, 1)), np.ones((1, 2))),
        ([1, [2, 3]], [1, 2, 3]),
        (object(), 1),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, 1),
        (1, {"a": 1}),
        ([1, 2], [1]),
        (float("nan"), 1.0),
        (1.0, float("inf")),
        (b"1", 1),
        ({1}, 1),
        (np.array([None]), 1),
        ([1, "x"], [1, 2]),
        (np.array(["a"]), "a"),
        (-float("inf"), float("inf")),
        (1, None),
        ([[1], [2, 3]], 1),
    ],
)
def test_what_is_not_close(got, want):
    fails(expect.close, got, want, "it")


@pytest.mark.parametrize(
    "got, want, same",
    [
        (2**70, 2**70, True),
        (2**70 + 1, 2**70, False),
        (np.array([2**60 + 1]), np.array([2**60]), False),
        ("a", "a", True),
        ("a", "b", False),
        (b"a", "a", False),
        (None, None, True),
        (None, 0, False),
        (0, None, False),
        ([1, "a"], (1, "a"), True),
        ({1: "x"}, {1: "x"}, True),
        ({1: "x"}, {2: "x"}, False),
        (3, 3.0, True),
        (3.5, 3, False),
        (np.float64("nan"), float("nan"), True),
        ("3", 3, False),
        (torch.tensor([2**60 + 1]), torch.tensor([2**60]), False),
        ([[1, 2], [3]], [[1, 2], [3]], True),
        (1, True, True),
    ],
)
def test_equal(got, want, same):
    if same:
        expect.equal(got, want, "it")
    else:
        fails(expect.equal, got, want, "it")


def test_the_cause_that_fits_is_named():
    failed = fails(
        expect.close, 4.0, 2.0, "the rate", causes={"Halved.": 1.0, "Doubled.": 4.0}, cause="Else.", next_step="Try 1."
    )
    assert (failed.expected, failed.got, failed.cause, failed.next_step) == ("the rate = 2", "4", "Doubled.", "Try 1.")
    assert str(failed) == "expected the rate = 2, got 4. Doubled. Try 1."
    assert fails(expect.close, 5.0, 2.0, "it", causes={"Doubled.": 4.0}, cause="Else.").cause == "Else."
    assert fails(expect.equal, "b", "a", "it", causes={"Shifted.": "b"}).cause == "Shifted."
    assert fails(expect.close, None, 2.0, "it", causes={"Doubled.": 4.0}).cause == expect.RETURNS_NOTHING[0]


def test_that_and_shape():
    expect.that(True, "a", "b")
    assert fails(expect.that, False, "a", "b", cause="c").cause == "c"
    expect.shape(torch.ones(2, 3), (2, 3), "it")
    expect.shape(np.float64(1).reshape(()), (), "it")
    assert "(3, 2)" in fails(expect.shape, np.ones((3, 2)), (2, 3), "it").got
    assert "list" in fails(expect.shape, [[1, 2, 3]] * 2, (2, 3), "it").got


def raising(error):
    def function(*_, **__):
        raise error

    return function


def test_raises():
    expect.raises("ValueError", raising(LearnerRaised("ValueError", "bad")), why="it is bad")
    assert (
        "TypeError: other"
        in fails(expect.raises, "ValueError", raising(LearnerRaised("TypeError", "other")), why="bad").got
    )
    assert "3" in fails(expect.raises, "ValueError", lambda x, *, y: x + y, 1, why="bad", y=2).got
    with pytest.raises(LearnerRaised):
        expect.raises("ValueError", raising(LearnerRaised("NotImplementedError", "", not_done=True)), why="bad")
    with pytest.raises(ZeroDivisionError):  # the check's own error stays one
        expect.raises("ValueError", raising(ZeroDivisionError()), why="bad")


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1 + 0.2, "0.3"),
        (3, "3"),
        (-0.0, "0"),
        ([-0.0, 1 / 3], "[0, 0.333333]"),
        ([0.1] * 90, "[" + "0.1, " * 39 + "0.1…"),
        ("a", "'a'"),
        (None, "None"),
        (np.float32(0.5), "0.5"),
        (torch.tensor(2.0), "2"),
        (torch.ones(2, dtype=torch.bfloat16), "array (2,): 1, 1"),
        (np.zeros((0, 3)), "array (0, 3): "),
        ("x" * 300, "'" + "x" * 198 + "…"),
        ([torch.ones(1), 2], "[array (1,): 1; 2]"),
        ((np.ones(1),), "(array (1,): 1)"),
        (np.arange(9), "array (9,): 0, 1, 2, 3, 4, 5, …"),
    ],
)
def test_values_are_shown_short(value, text):
    assert expect.show(value) == text


@pytest.mark.parametrize(
    "call",
    [
        lambda: expect.equal(None, 3, "it", cause="something vaguer"),
        lambda: expect.close(None, np.ones(2), "it", causes={"It adds.": 4.0}),
        lambda: expect.shape(None, (2,), "it", cause="something vaguer"),
        lambda: expect.that(False, "a list", expect.show(None), cause="something vaguer"),
    ],
)
def test_a_forgotten_return_is_named(call):
    failed = fails(call)
    assert "None" in failed.got and "is there a return" in failed.cause and failed.next_step


def test_none_is_no_forgotten_return_where_it_is_known_or_expected():
    assert fails(expect.equal, None, 3, "it", causes={"It gives up.": None}).cause == "It gives up."
    assert fails(expect.that, False, "another None", "None", cause="known").cause == "known"
    assert "return" not in fails(expect.equal, 3, None, "it").cause
