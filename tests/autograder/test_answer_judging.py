"""Surviving mutants, refused alternatives and missing answers are noticed."""

import json

from click.testing import CliRunner

from autograder.answers import judge_answer, not_given, text_of, too_few
from autograder.commands.mutants import mutants
from nutshell.checks import answers_of


def _outcomes(source):
    return {answer.implementation.__name__: judge_answer(source, answer) for answer in answers_of(source.mutants)}


def test_a_surviving_mutant_and_missing_ones_are_noticed(tiny):
    assert all(outcome.as_wanted for outcome in _outcomes(tiny()).values())
    source = tiny(checks=('@check("clip_at", weight=2)', ""))
    survivor = _outcomes(source)["clip_anything"]
    assert not survivor.as_wanted and survivor.over_wire.accepted and survivor.directly.accepted
    assert "half has 1 mutants and 1 alternatives; it needs 3 and 2" in too_few(source)


def test_a_refused_alternative_is_noticed(tiny):
    source = tiny(mutants=("return x / 2\n", "return x / 3\n"))
    right = _outcomes(source)["half_by_division"]
    assert not right.as_wanted and right.directly.check == "half_is_half"


def test_command_names_what_is_wrong_and_exits_with_1(tiny):
    tiny(mutants=("return x / 2\n", "return x / 3\n"))
    result = CliRunner().invoke(mutants, ["--json"])
    said = json.loads(result.output)
    assert result.exit_code == 1 and len(said["too_few"]) == 2
    assert {row["answer"]: row["as_wanted"] for row in said["answers"]} == {
        "half_of_small_numbers": True,
        "clip_anything": True,
        "half_by_division": False,
    }
    table = CliRunner().invoke(mutants, ["--wrong"])
    assert table.exit_code == 1 and "2 of 2 mutants rejected, 0 of 1 alternatives accepted." in table.output


def test_the_text_of_an_answer_has_the_helpers_that_it_uses_and_no_others(tiny):
    source = tiny(
        mutants=(
            "return np.minimum(x, limit)",
            'return _lowest(x, limit)\n\n\ndef _lowest(x, limit):\n    """The lower."""\n    return FLOOR(x, limit)'
            "\n\n\nFLOOR = np.minimum\nOTHER = 3",
        )
    )
    (answer,) = [answer for answer in answers_of(source.mutants) if answer.implementation.__name__ == "clip_anything"]
    assert text_of(answer) == (
        "def _lowest(x, limit):\n    return FLOOR(x, limit)\n\n\nFLOOR = np.minimum\n\n\n"
        "def clip_at(x, limit):\n    return _lowest(x, limit)"
    )
    assert not_given(source, answer) == set()


def test_names_that_a_lab_does_not_give_are_noticed(tiny):
    source = tiny(mutants=("return np.minimum(x, limit)", "return reference.clip_at(x, abs(limit))"))
    missing = {answer.implementation.__name__: not_given(source, answer) for answer in answers_of(source.mutants)}
    assert missing == {"half_of_small_numbers": set(), "clip_anything": {"reference"}, "half_by_division": set()}
