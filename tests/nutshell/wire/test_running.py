"""Verdicts, points, recorded replies, and whose fault it was."""

import time

import numpy as np
import pytest
import torch

from nutshell import expect
from nutshell.checks import Answer, Check, Exercise, checks_of
from nutshell.expect import CheckFailed
from nutshell.wire import codec, running
from nutshell.wire.channel import Ended, Loopback, NotRecorded, Recorder, Replay, load_replies, save_replies
from nutshell.wire.codec import WireError
from nutshell.wire.errors import CannotCross
from nutshell.wire.running import NOT_DONE, OK, OUTPUT, RAISED, WRONG, Replies, run_checks, try_answer
from nutshell.wire.standins import Implementation
from tests.nutshell.wire import made_up_checks, made_up_reference

CHECKS = checks_of(made_up_checks)
REFERENCE = vars(made_up_reference)


def over(names):
    return Implementation(Loopback(names))


def verdict_of(function, names, **options):
    """The verdict of one check, a function, on a namespace."""
    check = Check("f", function, hidden=False, weight=1.0)
    return run_checks([check], over(names), over({"f": lambda x: x}), 0, **options)[0]


def test_the_reference_passes_in_every_way():
    replies = Replies(running.record(CHECKS, made_up_reference))
    for reference in (over(REFERENCE), replies):
        verdicts = run_checks(CHECKS, over(REFERENCE), reference, 0, authoring=True)
        assert [verdict.status for verdict in verdicts] == [OK] * len(CHECKS)
        assert all(verdict.seconds >= 0 for verdict in verdicts)
    for exercise in made_up_checks.UNIT.exercises:
        answer = Answer(exercise.name, REFERENCE[exercise.name], right=True)
        for wire in (True, False):
            assert all(verdict.passed for verdict in try_answer(answer, CHECKS, made_up_reference, wire=wire))


def half_right(weights, factor):
    return {"weights": weights * factor, "largest": float(abs(weights).max())}


class Shy:
    def __init__(self, values):
        self._values = values

    def decode(self, numbers):
        return [self._values[number] for number in numbers]


MUTANTS = {
    "scale": [half_right, lambda weights, factor: weights + factor, lambda weights, factor: None],
    "Codebook": [Shy, lambda values: values],
    "factorised": [lambda layer, rank: layer, lambda layer, rank: layer.weight],
    "batches": [lambda items, size: iter([items]), lambda items, size: [items[:size]]],
    "prune_": [
        lambda weights, threshold: int((abs(weights) < threshold).sum()),
        lambda weights, threshold: weights.fill(0),
    ],
}


@pytest.mark.parametrize("wire", [True, False])
@pytest.mark.parametrize("exercise, number", [(name, k) for name, found in MUTANTS.items() for k in range(len(found))])
def test_mutants_are_rejected_both_ways(exercise, number, wire):
    answer = Answer(exercise, MUTANTS[exercise][number], right=False)
    verdicts = try_answer(answer, CHECKS, made_up_reference, wire=wire)
    assert any(not verdict.passed for verdict in verdicts)
    assert all(verdict.expected and verdict.got for verdict in verdicts if not verdict.passed)


def test_points_are_shared_by_weight():
    exercise = made_up_checks.UNIT.exercise("scale")
    blind = dict(
        REFERENCE, scale=lambda weights, factor: {"weights": weights * factor, "largest": abs(weights * factor).max()}
    )
    verdicts = run_checks(CHECKS, over(blind), over(REFERENCE), 0)
    assert [verdict.status for verdict in verdicts[:2]] == [OK, WRONG]
    assert running.points(exercise, verdicts) == 3 and running.points(exercise, []) == 0
    assert running.points(made_up_checks.UNIT.exercise("prune_"), verdicts) == 0


def raising(error):
    def function(*_):
        raise error

    return function


@pytest.mark.parametrize(
    "names, status",
    [
        ({}, NOT_DONE),
        ({"f": raising(NotImplementedError())}, NOT_DONE),
        ({"f": raising(ZeroDivisionError())}, RAISED),
        ({"f": raising(SystemExit(0))}, RAISED),
        ({"f": lambda x: x + 1}, WRONG),
        ({"f": lambda x: object()}, WRONG),
        ({"f": lambda x: "3"}, WRONG),
        ({"f": lambda x: None}, WRONG),
        ({"f": lambda x: {"a": 1}}, WRONG),
        ({"f": lambda x: [0] * 10_000_000}, OUTPUT),
        ({"f": lambda x: x}, OK),
        ({"f": lambda x: np.float32(x)}, OK),
        ({"f": 3}, WRONG),
        ({"f": lambda: 1}, RAISED),
        ({"f": lambda x: torch.tensor(float(x), requires_grad=True)}, OK),
    ],
)
def test_whose_fault_it_was(names, status):
    def check(learner, reference, rng):
        expect.close(learner.f(3), 3, "the value")

    verdict = verdict_of(check, names)
    assert verdict.status == status
    assert (verdict.expected and verdict.got) or status == OK


def test_any_other_exception_is_a_value_that_cannot_be_compared():
    def check(learner, reference, rng):
        assert learner.f(3)["key"].shape[0] > 1

    verdict = verdict_of(check, {"f": lambda x: 5})
    assert verdict.status == WRONG and "compared" in verdict.expected and "TypeError" in verdict.got


def test_a_missing_gradient_has_a_helpful_message():
    def check(learner, reference, rng):
        learner.f(torch.ones(2, requires_grad=True)).sum().backward()

    verdict = verdict_of(check, {"f": lambda x: x.detach()})
    assert verdict.status == WRONG and "gradient" in verdict.expected and "detach" in verdict.next_step


def test_the_stub_is_not_done_even_where_an_error_is_expected():
    def check(learner, reference, rng):
        expect.raises("ValueError", learner.f, 1, why="it is 1")

    assert verdict_of(check, {"f": raising(NotImplementedError())}).status == NOT_DONE
    assert verdict_of(check, {"f": raising(ValueError())}).status == OK
    assert verdict_of(check, {"f": raising(TypeError())}).status == WRONG


def test_the_authors_errors_are_raised_when_authoring_only():
    def callback(learner, reference, rng):
        learner.f(lambda: 1)

    def another(learner, reference, rng):
        _ = learner.g

    for check, names in ((callback, {"f": abs}), (another, {"f": abs, "g": 1})):
        with pytest.raises(CannotCross):
            verdict_of(check, names, authoring=True)
        assert verdict_of(check, names).status == WRONG


def test_an_ended_channel_says_how_it_ended():
    class Dead:
        def request(self, label, message):
            raise Ended("TIMEOUT", "It took longer than 2 seconds.")

    verdict, *_ = run_checks(CHECKS, Implementation(Dead()), over(REFERENCE), 0)
    assert verdict.status == "TIMEOUT" and "2 seconds" in verdict.got


def test_a_replay_answers_what_was_recorded_and_nothing_else():
    recorder = Recorder(Loopback(REFERENCE))
    Implementation(recorder).scale(np.ones(2), 2.0)
    replies = load_replies(save_replies({"scales": recorder.replies}))["scales"]
    assert [label for label, _ in replies] == ["get .scale", "call scale#1"]
    replay = Implementation(Replay(replies, "scales"))
    assert replay.scale(np.zeros(9), 5.0)["weights"].tolist() == [2, 2]
    with pytest.raises(NotRecorded, match="used up"):
        replay.scale(np.ones(2), 2.0)
    with pytest.raises(NotRecorded, match=r"get \.scale"):
        Implementation(Replay(replies, "scales")).batches([1], 1)
    for damaged in (b"", b"x" * 50, codec.encode(3)):
        with pytest.raises(WireError):
            load_replies(damaged)


def test_a_check_that_asks_by_the_learners_answer_is_found_when_authoring():
    def nosy(learner, reference, rng):
        got = learner.f(3)
        expect.equal(got if got == 3 else reference.f(got), 3, "it")

    check = Check("f", nosy, hidden=False, weight=1.0)
    replies = Replies(running.record([check], {"f": lambda x: x}))
    with pytest.raises(NotRecorded):
        run_checks([check], over({"f": lambda x: x + 1}), replies, 0, authoring=True)
    mutant = Answer("f", lambda x: x + 1, right=False)
    with pytest.raises(NotRecorded):
        try_answer(mutant, [check], {"f": lambda x: x}, replies=replies)
    assert [verdict.status for verdict in try_answer(mutant, [check], {"f": lambda x: x})] == [WRONG]


def test_recording_needs_a_reference_that_passes():
    def check(learner, reference, rng):
        expect.equal(learner.f(1), 2, "it")

    with pytest.raises(CheckFailed):
        running.record([Check("f", check, hidden=False, weight=1.0)], {"f": lambda x: x})
    assert load_replies(running.record([Check("f", check, hidden=True, weight=1.0)], {})) == {}


def test_a_checks_generator_depends_on_the_seed_and_its_name():
    first, second = CHECKS[:2]
    draws = {
        running.generator(check, seed).integers(2**60) for check in (first, second) for seed in (0, 1, [1, 2], 2**300)
    }
    assert len(draws) == 8 and running.generator(first, 5).integers(2**60) == running.generator(first, 5).integers(
        2**60
    )


def test_a_check_leaves_torchs_random_state_alone():
    def check(learner, reference, rng):
        torch.manual_seed(99)
        torch.rand(3)

    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    verdict_of(check, {})
    assert torch.equal(torch.rand(1), want)


def test_prints_and_warnings_of_the_learners_do_not_matter(capsys):
    import sys
    import warnings

    def noisy(x):
        print("to output")
        print("to error", file=sys.stderr)
        warnings.warn("beware", stacklevel=1)
        return x

    def check(learner, reference, rng):
        expect.equal(learner.f(3), reference.f(3), "it")

    with pytest.warns(UserWarning):
        assert verdict_of(check, {"f": noisy}).status == OK


def test_seconds_are_the_checks_own():
    def check(learner, reference, rng):
        learner.f()

    assert verdict_of(check, {"f": lambda: time.sleep(0.02)}).seconds >= 0.02
    assert running.points(Exercise("f", 1, 1), [verdict_of(check, {"f": lambda: None})]) == 1
