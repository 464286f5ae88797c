"""Mistakes that newcomers made get the cause that fits them, and a wrong kernel earns little."""

import pytest
import torch
from torch import nn

from nutshell.checks import Answer, checks_of
from nutshell.wire import running
from solutions.counting import checks as counting_checks
from solutions.counting import reference as counting
from solutions.low_rank import checks as low_rank_checks
from solutions.low_rank import mutants as low_rank_mutants
from solutions.low_rank import reference as low_rank
from tests.solutions.mistakes import edited


def _of(exercise):
    """The checks and the reference of an exercise."""
    return (counting_checks, counting) if hasattr(counting, exercise) else (low_rank_checks, low_rank)


def _verdicts(exercise, wrong, include_hidden=False):
    checks, reference = _of(exercise)
    answer = Answer(exercise, wrong, right=False)
    return running.try_answer(answer, checks_of(checks), reference, include_hidden=include_hidden)


def _edited(exercise, before, after):
    return edited(_of(exercise)[1], exercise, before, after)


MISTAKES = [
    ("layer_cost", "(side + 2 * padding - span)", "(side + 2 * padding - span + 1)", "one place too many"),
    ("layer_cost", "- span) // stride + 1 for", "- span) // stride for", "A place is missing"),
    ("inference_energy", "5.0 if words * 4 <= sram_bytes else dram_pj", "dram_pj", "from DRAM what fits"),
    ("inference_energy", "words * 4 <= sram", "words <= sram", "from the on-chip memory what doesn't fit"),
    ("inference_energy", "<= sram_bytes", "<= 8192", "doesn't use sram_bytes"),
    ("inference_energy", "else dram_pj", "else 640.0", "doesn't use dram_pj"),
    ("frame_rate", "seconds = 2 * macs", "seconds = macs", "MACs for FLOPs"),
    ("break_even_rank", "absorbed: bool = False) -> int:", "absorbed: bool = False) -> int:\n    absorbed = False",
     "is `absorbed` used?"),
    ("factorise", ", dtype=weight.dtype", "", "Your layers are float32 and the weight is float64."),
    ("tucker2", "dtype=weight.dtype", "dtype=None", "Your layers are float32 and the weight is float64."),
    ("tucker2", "kernel.transpose(0, 1).flatten(1)", "kernel.reshape(inputs, -1)", "reshaped, not unfolded"),
]


@pytest.mark.parametrize(("exercise", "before", "after", "cause"), MISTAKES, ids=[f"{m[0]}-{m[3]}" for m in MISTAKES])
def test_a_mistake_gets_its_cause(exercise, before, after, cause):
    failed = [v for v in _verdicts(exercise, _edited(exercise, before, after)) if not v.passed]
    assert failed and all(v.next_step for v in failed)
    assert any(cause in v.cause for v in failed), [v.cause for v in failed]
    assert "RAISED" not in [v.status for v in failed]


def test_every_check_of_frame_rate_that_fails_knows_macs_from_flops():
    failed = [v for v in _verdicts("frame_rate", _edited("frame_rate", "2 * macs", "macs")) if not v.passed]
    assert len(failed) == 3 and all("MACs for FLOPs" in v.cause for v in failed)


def test_a_wrong_kernel_earns_less_than_a_third():
    exercise = next(e for e in low_rank_checks.UNIT.exercises if e.name == "tucker2")
    wrong = low_rank_mutants.tucker_reshapes_input_axis
    verdicts = _verdicts("tucker2", wrong, include_hidden=True)
    assert running.points(exercise, verdicts) < exercise.points / 3
    public = [v for v in verdicts if not v.hidden]
    assert sum(v.weight for v in public if v.passed) <= sum(v.weight for v in public) / 2
    assert all("padding" not in v.next_step for v in verdicts)


def test_a_bias_too_many_is_answered_by_words_on_biases_with_shapes_in_the_order_of_layers():
    failed = [v for v in _verdicts("factorise", low_rank_mutants.factorise_two_biases) if not v.passed]
    first = failed[0]
    assert "first layer has a bias" in first.cause and "bias" in first.next_step and "shapes" not in first.next_step
    assert first.got.startswith("[(5, 78), (5,), (30, 5), (30,)]")


def test_layers_in_another_order_of_parameters_are_accepted():
    class Backwards(nn.Module):
        def __init__(self, small):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(4))
            self.small = small

    layer = Backwards(nn.Linear(6, 4, bias=False))
    low_rank_checks._check_sizes(layer, [(4, 6), (4,)], {})
