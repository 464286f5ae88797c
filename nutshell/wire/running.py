"""Running checks on an implementation: verdicts, points, recorded replies, and trying a mutant or an alternative."""

import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from nutshell.checks import Answer, Check, Exercise
from nutshell.errors import Trouble
from nutshell.expect import RETURNS_NOTHING, CheckFailed, LearnerRaised
from nutshell.wire.blame import place_of
from nutshell.wire.channel import Ended, Loopback, NotRecorded, Recorder, Replay, load_replies, save_replies
from nutshell.wire.direct import Direct
from nutshell.wire.standins import CannotCross, Implementation, Missing, OverBounds

OK, WRONG, RAISED, NOT_DONE = "OK", "WRONG", "RAISED", "NOT DONE"
TIMEOUT, MEMORY, OUTPUT, CRASH, INFRA = "TIMEOUT", "MEMORY", "OUTPUT", "CRASH", "INFRA"
STOPPED, NOT_RUN = "STOPPED", "NOT RUN"  # at the desk only
STATUSES = (OK, WRONG, RAISED, TIMEOUT, MEMORY, OUTPUT, CRASH, NOT_DONE, INFRA, STOPPED, NOT_RUN)
ENDLESS = (
    "A loop that doesn't end, or much more work than is asked for.",
    "Call your function in a cell of its own on a small input, and print in its loop how far it comes.",
)  # likely cause and next step
TOO_MUCH = (
    "Something grows without end, or a whole array is kept where a part is enough.",
    "Print the shapes of your arrays on a small input, and see how they grow with it.",
)  # likely cause and next step
PUBLIC_SEED = 0


@dataclass(frozen=True)
class Verdict:
    """What one check says.

    Attributes
    ----------
    exercise, check, title : str
        Names, and the property in words.
    hidden : bool
        Whether the check is hidden from learners.
    status : str
        One of :data:`STATUSES`.
    expected, got, cause, next_step : str
        In words; empty where there is nothing to say.
    weight : float
        Share of the exercise's points, relative to its other checks.
    seconds : float
        How long it took.
    """

    exercise: str
    check: str
    title: str
    hidden: bool
    status: str
    expected: str = ""
    got: str = ""
    cause: str = ""
    next_step: str = ""
    weight: float = 1.0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.status == OK

    def as_data(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self)


class Replies:
    """The reference's recorded replies: the reference of a check is a replay of what it answered that check.

    Parameters
    ----------
    data : bytes
        What :func:`record` gave.
    """

    def __init__(self, data: bytes) -> None:
        self._replies = load_replies(data)

    def reference(self, check: Check) -> Implementation:
        """The reference as this check saw it when it was recorded."""
        return Implementation(Replay(self._replies.get(check.name, ()), check.name))


def run_checks(
    checks: Iterable[Check],
    learner: Implementation,
    reference: "Implementation | Replies",
    seed: int | Sequence[int],
    include_hidden: bool = True,
    *,
    authoring: bool = False,
) -> list[Verdict]:
    """Run checks on an implementation; nothing that the learner's code does ends the run.

    Parameters
    ----------
    checks : iterable of Check
        All of one unit, or some.
    learner : Implementation
        What is judged.
    reference : Implementation or Replies
        The truth, or what was recorded of it.
    seed : int or sequence of int
        Each check's generator is ``default_rng([*seed, crc32(name)])``; 0 for public checks at the desk.
    include_hidden : bool
        Whether hidden checks run.
    authoring : bool
        Whether the author's errors (:class:`CannotCross`, :class:`NotRecorded`) are raised. Otherwise they are WRONG:
        a check that passes on the reference fell over the learner's value.

    Returns
    -------
    list of Verdict
        One for each check that ran, in order.
    """
    return [_run(check, learner, reference, seed, authoring) for check in checks if include_hidden or not check.hidden]


def run_at_desk(checks: Iterable[Check], learner: Implementation, reference: "Replies") -> list[Verdict]:
    """Run one exercise's public checks where a learner waits.

    Warnings of the learner's code are kept quiet meanwhile, and Ctrl+C stops the check that runs. After one that was
    stopped, or took too long, the others are not run.

    Returns
    -------
    list of Verdict
        One for each public check, in order.
    """
    verdicts: list[Verdict] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in checks:
            if check.hidden:
                continue
            if verdicts and verdicts[-1].status in (TIMEOUT, STOPPED, NOT_RUN):
                verdicts.append(_not_run(check))
                continue
            started = time.perf_counter()
            try:
                verdicts.append(_run(check, learner, reference, PUBLIC_SEED, False))
            except KeyboardInterrupt as interrupt:
                got = f"stopped by you, {place_of(interrupt)}"
                seconds = time.perf_counter() - started
                verdicts.append(_verdict(check, STOPPED, ("an answer", got, *ENDLESS), seconds))
    return verdicts


def _not_run(check: Check) -> Verdict:
    return _verdict(check, NOT_RUN, ("an answer", "none, since the check before it was ended", "", ""), 0.0)


def generator(check: Check, seed: int | Sequence[int] = PUBLIC_SEED) -> np.random.Generator:
    """The random generator of a check under a seed."""
    seeds = [seed] if isinstance(seed, int) else list(seed)
    return np.random.default_rng([*seeds, zlib.crc32(check.name.encode())])


def points(exercise: Exercise, verdicts: Iterable[Verdict]) -> float:
    """Points of an exercise: its own, times the passed share of its checks' weight; 0 if none has run.

    Examples
    --------
    >>> done = Verdict("rate", "a", "A", False, OK, weight=3.0)
    >>> points(Exercise("rate", points=2, minutes=5), [done, Verdict("rate", "b", "B", False, WRONG)])
    1.5
    """
    own = [verdict for verdict in verdicts if verdict.exercise == exercise.name]
    weight = sum(verdict.weight for verdict in own)
    return exercise.points * sum(verdict.weight for verdict in own if verdict.passed) / weight if weight > 0 else 0.0


def record(
    checks: Iterable[Check],
    reference: Mapping[str, Any] | ModuleType,
    seed: int | Sequence[int] = PUBLIC_SEED,
    include_hidden: bool = False,
) -> bytes:
    """Run checks on the reference and keep what it answers as the reference, for :class:`Replies`.

    The public ones under the public seed are the desk's ``replies.bin``.

    Raises
    ------
    CannotCross, CheckFailed, LearnerRaised
        If a check doesn't pass on the reference.
    """
    found = {}
    for check in checks:
        if include_hidden or not check.hidden:
            recorder = Recorder(Loopback(_namespace(reference)))
            _call(check, Implementation(Loopback(_namespace(reference))), Implementation(recorder), seed)
            found[check.name] = recorder.replies
    return save_replies(found)


def try_answer(
    answer: Answer,
    checks: Iterable[Check],
    reference: Mapping[str, Any] | ModuleType,
    *,
    wire: bool = True,
    seed: int | Sequence[int] = PUBLIC_SEED,
    include_hidden: bool = True,
    replies: Replies | None = None,
) -> list[Verdict]:
    """Run the checks of its exercise on a mutant or an alternative.

    Parameters
    ----------
    answer : Answer
        What :func:`nutshell.checks.answers_of` found.
    checks : iterable of Check
        A unit's checks; those of other exercises are left out.
    reference : module or dict
        The reference library.
    wire : bool
        Over the in-process channel, as at the desk; otherwise called directly.
    seed : int or sequence of int
        See :func:`run_checks`; with ``replies``, public checks have :data:`PUBLIC_SEED`, as when they were recorded.
    include_hidden : bool
        Whether hidden checks run.
    replies : Replies, optional
        Given, public checks see the recorded reference, exactly as at the desk; only with ``wire``.

    Returns
    -------
    list of Verdict
        Public checks first. A mutant is rejected when one of them isn't OK; an alternative is accepted when all are.

    Raises
    ------
    CannotCross, NotRecorded
        If a check does what the wire can't carry, or asks the reference by the learner's answer.
    """
    own = [check for check in checks if check.exercise == answer.exercise]
    make: Callable[[Any], Any] = _over_loopback if wire else Direct
    learner, live = make({answer.exercise: answer.implementation}), make(_namespace(reference))
    if replies is not None and wire:
        verdicts = run_checks(own, learner, replies, PUBLIC_SEED, include_hidden=False, authoring=True)
    else:
        verdicts = run_checks(own, learner, live, seed, include_hidden=False, authoring=wire)
    if include_hidden:
        hidden = [check for check in own if check.hidden]
        verdicts += run_checks(hidden, learner, live, seed, authoring=wire)
    return verdicts


def _over_loopback(names: Mapping[str, Any]) -> Implementation:
    return Implementation(Loopback(names))


def _run(check: Check, learner: Any, reference: Any, seed: int | Sequence[int], authoring: bool) -> Verdict:
    started = time.perf_counter()
    status, parts = OK, ("", "", "", "")
    try:
        _call(check, learner, reference.reference(check) if isinstance(reference, Replies) else reference, seed)
    except CheckFailed as failed:
        status, parts = WRONG, (failed.expected, failed.got, failed.cause, failed.next_step)
    except LearnerRaised as error:
        status, parts = _raised(check, error)
    except Missing:
        status, parts = NOT_DONE, (f"a definition of {check.exercise}", "none", "", "Run the cell that defines it.")
    except OverBounds as error:
        status, parts = (
            OUTPUT,
            ("a value of reasonable size", str(error), "", "Return only what the docstring asks for."),
        )
    except Ended as error:
        status, parts = error.status, ("an answer", str(error), *(ENDLESS if error.status == TIMEOUT else ("", "")))
    except Trouble:  # the grader's own: never a verdict on the learner's code
        raise
    except Exception as error:
        if authoring and isinstance(error, CannotCross | NotRecorded):
            raise
        status, parts = WRONG, _incomparable(error)
    return _verdict(check, status, parts, time.perf_counter() - started)


def _verdict(check: Check, status: str, parts: tuple[str, str, str, str], seconds: float) -> Verdict:
    return Verdict(
        check.exercise, check.name, check.title, check.hidden, status, *parts, weight=check.weight, seconds=seconds
    )


def _call(check: Check, learner: Any, reference: Any, seed: int | Sequence[int]) -> None:
    """Call a check; torch's global random state is seeded for it and put back."""
    rng = generator(check, seed)
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed: without a GPU it formats a traceback for each kind that may come yet, and keeps it
        torch.default_generator.manual_seed(zlib.crc32(check.name.encode()))
        check.function(_Only(learner, check), reference, rng)


class _Only:
    """The learner's implementation as a check may use it: its own exercise."""

    def __init__(self, learner: Any, check: Check) -> None:
        self._learner, self._check = learner, check

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name != self._check.exercise:
            raise CannotCross(
                f"{self._check.name} checks {self._check.exercise} and uses the learner's {name}: a wrong {name} "
                f"would fail {self._check.exercise}. Use reference.{name}, or the toolkit."
            )
        return getattr(self._learner, name)


def _raised(check: Check, error: LearnerRaised) -> tuple[str, tuple[str, str, str, str]]:
    if error.not_done:
        return NOT_DONE, (
            f"an implementation of {check.exercise}",
            "the stub",
            "",
            "Replace the line that raises NotImplementedError.",
        )
    if error.kind == "MemoryError" or "can't allocate memory" in error.message:  # torch raises a RuntimeError
        return MEMORY, ("an answer", "more memory was asked for than there is", *TOO_MUCH)
    lines = error.traceback.strip().splitlines()
    return RAISED, (
        "no error",
        f"{error.kind}: {error.message}",
        lines[-1] if lines else "",
        "Call your function in a cell of its own to see the whole traceback.",
    )


def _incomparable(error: Exception) -> tuple[str, str, str, str]:
    if isinstance(error, RuntimeError) and "does not require grad" in str(error):
        return (
            "a result that gradients flow through",
            "one without a gradient",
            "It was detached, or computed outside of torch.",
            "Leave out .detach(), .item(), .numpy(), .data and torch.no_grad().",
        )
    if isinstance(error, TypeError | AttributeError) and "NoneType" in str(error):
        return "a value that can be compared", "None", *RETURNS_NOTHING
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        "a value that can be compared",
        f"one that can't ({said[:300]})",
        "Its type, its shape or its structure is another one.",
        "Compare what you return with the docstring: its type, its shape, its keys.",
    )


def _namespace(reference: Mapping[str, Any] | ModuleType) -> dict[str, Any]:
    return dict(vars(reference)) if isinstance(reference, ModuleType) else dict(reference)
