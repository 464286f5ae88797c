"""How a check says what it expects. Each function returns when all is well and raises :class:`CheckFailed` when not.

Every message has four parts: what was expected, what came, the likely cause, and the next step. None gives the answer
away: a cause names a mistake, a next step points to the lesson or to an experiment.

>>> close(2.0000001, 2.0, "the rate", rtol=1e-6)
>>> close(4.0, 2.0, "the rate", causes={"It counts both factors twice.": 4.0})
Traceback (most recent call last):
nutshell.expect.CheckFailed: expected the rate = 2, got 4. It counts both factors twice.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from nutshell.errors import NutshellError

_SHOWN = 6  # numbers of an array that a message shows
RETURNS_NOTHING = (
    "Your function returns nothing: is there a return at the end of every way through it?",
    "Call it in a cell of its own and look at what it gives back.",
)  # likely cause and next step


class CheckFailed(AssertionError):
    """An expectation that was not met, in the four parts that a learner reads.

    Attributes
    ----------
    expected, got, cause, next_step : str
        Sentences or values, empty where there is nothing to say.
    """

    def __init__(self, expected: str, got: str, cause: str = "", next_step: str = "") -> None:
        self.expected, self.got, self.cause, self.next_step = expected, got, cause, next_step
        super().__init__(" ".join(part for part in (f"expected {expected}, got {got}.", cause, next_step) if part))


class LearnerRaised(NutshellError):
    """The learner's code raised; carried over the wire as text.

    Attributes
    ----------
    kind : str
        Name of the exception's class, such as ``"ValueError"``.
    message : str
        What it said.
    traceback : str
        The learner's own lines, newest last.
    not_done : bool
        Whether it is the stub's ``raise NotImplementedError``.
    """

    def __init__(self, kind: str, message: str, traceback: str = "", *, not_done: bool = False) -> None:
        self.kind, self.message, self.traceback, self.not_done = kind, message, traceback, not_done
        super().__init__(f"{kind}: {message}")


def equal(
    got: Any, want: Any, what: str, *, causes: Mapping[str, Any] | None = None, cause: str = "", next_step: str = ""
) -> None:
    """Expect the same value: numbers, strings, tuples, lists, dicts, or arrays equal in shape and in every element."""
    if not _same(got, want):
        _fail(got, want, what, causes, cause, next_step, _same)


def close(
    got: Any,
    want: Any,
    what: str,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    causes: Mapping[str, Any] | None = None,
    cause: str = "",
    next_step: str = "",
) -> None:
    """Expect numbers or arrays with ``abs(got − want) ≤ atol + rtol·abs(want)`` everywhere, and the same shape.

    Lists, tuples and dicts of them are compared item by item; NaN equals NaN.

    Parameters
    ----------
    got, want : number, array or Tensor
        Compared as float64; the dtype itself is never required.
    what : str
        Name of the value in words.
    rtol, atol : float
        Relative and absolute tolerance.
    causes : mapping of str to value, optional
        Known wrong values by the mistake that gives them; the first that fits ``got`` is shown as the likely cause.
    cause : str
        Likely cause if none of ``causes`` fits.
    next_step : str
        What to try.
    """

    def near(a: Any, b: Any) -> bool:
        if isinstance(b, dict):
            return isinstance(a, dict) and a.keys() == b.keys() and all(near(a[key], b[key]) for key in b)
        left, right = _array(a), _array(b)
        if left is not None and right is not None:
            return left.shape == right.shape and np.allclose(left, right, rtol=rtol, atol=atol, equal_nan=True)
        if not isinstance(b, list | tuple) or not isinstance(a, list | tuple):
            return False
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b, strict=True))  # arrays of several shapes

    if not near(got, want):
        _fail(got, want, what, causes, cause, next_step, near)


def that(condition: bool, expected: str, got: str, *, cause: str = "", next_step: str = "") -> None:
    """Expect a condition; say in words what was expected and what came."""
    if not condition:
        if got in ("None", "NoneType", "NoneType None") and "None" not in expected:
            cause, next_step = RETURNS_NOTHING
        raise CheckFailed(expected, got, cause, next_step)


def shape(got: Any, want: tuple[int, ...], what: str, *, cause: str = "", next_step: str = "") -> None:
    """Expect an array or tensor of a shape."""
    actual = tuple(getattr(got, "shape", ())) if isinstance(got, np.ndarray | np.generic | torch.Tensor) else None
    if actual != tuple(want):
        came = f"an array of shape {actual}" if actual is not None else f"{type(got).__name__} {show(got)}"
        if got is None:
            came, (cause, next_step) = "None", RETURNS_NOTHING
        raise CheckFailed(f"{what} of shape {tuple(want)}", came, cause, next_step)


def raises(kind: str, call: Callable[..., Any], *arguments: Any, why: str, **keywords: Any) -> None:
    """Expect a call to raise the exception with that class name; ``why`` says what is wrong with the arguments."""
    try:
        got = call(*arguments, **keywords)
    except LearnerRaised as error:
        if error.not_done:
            raise
        if error.kind == kind:
            return
        raise CheckFailed(
            f"{kind}, since {why}",
            f"{error.kind}: {error.message}",
            "Another error was raised.",
            f"Test for it first and raise {kind} with a message that names the value.",
        ) from None
    raise CheckFailed(
        f"{kind}, since {why}",
        show(got),
        "The arguments are not tested.",
        f"Raise {kind} with a message that names the value and the rule.",
    )


def show(value: Any) -> str:
    """A value as a message shows it: short, with the shape of arrays.

    Examples
    --------
    >>> show(0.1 + 0.2), show([-0.0, 1 / 3]), show(np.zeros((2, 9)))
    ('0.3', '[0, 0.333333]', 'array (2, 9): 0, 0, 0, 0, 0, 0, …')
    """
    if isinstance(value, torch.Tensor):
        value = _numpy(value)
    if type(value) is list and value and all(isinstance(item, float) for item in value):
        text = f"[{', '.join(show(item) for item in value)}]"
        return text if len(text) <= 200 else text[:199] + "…"
    if type(value) in (list, tuple) and any(isinstance(item, np.ndarray | torch.Tensor) for item in value):
        ends = "[]" if type(value) is list else "()"
        return f"{ends[0]}{'; '.join(show(item) for item in value[:_SHOWN])}{ends[1]}"
    if isinstance(value, np.ndarray) and value.ndim:
        numbers = ", ".join(show(v) for v in value.ravel()[:_SHOWN].tolist())
        return f"array {value.shape}: {numbers}{', …' if value.size > _SHOWN else ''}"
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"  # without the sign of a negative zero
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _fail(
    got: Any, want: Any, what: str, causes: Mapping[str, Any] | None, cause: str, next_step: str, same: Callable
) -> None:
    for mistake, value in (causes or {}).items():
        if same(got, value):
            cause = mistake
            break
    else:
        if got is None:
            cause, next_step = RETURNS_NOTHING
    raise CheckFailed(f"{what} = {show(want)}", show(got), cause, next_step)


def _array(value: Any) -> np.ndarray | None:
    """A value as float64 or complex128, or None where it isn't made of numbers."""
    if isinstance(value, torch.Tensor):
        value = _numpy(value)
    elif isinstance(value, list | tuple):
        value = [_numpy(item) if isinstance(item, torch.Tensor) else item for item in value]
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return None
    if array.dtype.kind not in "biufc":
        return None
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) or isinstance(b, dict):
        return (
            isinstance(a, dict)
            and isinstance(b, dict)
            and a.keys() == b.keys()
            and all(_same(a[key], b[key]) for key in a)
        )
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | str | bytes | None) and isinstance(b, int | str | bytes | None):
        return (isinstance(a, int) == isinstance(b, int)) and a == b  # exact, however large
    left, right = _array(a), _array(b)
    if left is None or right is None or left.shape != right.shape:
        return False
    exact = _whole(a), _whole(b)
    if exact[0] is not None and exact[1] is not None:  # float64 would round integers above 2⁵³
        return bool(np.array_equal(exact[0], exact[1]))
    return bool(np.array_equal(left, right, equal_nan=True))


def _whole(value: Any) -> np.ndarray | None:
    array = _numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value)
    return array if array.dtype.kind in "biu" else None
