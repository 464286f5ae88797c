"""Surviving mutants, refused alternatives and missing answers are noticed."""

import json

from click.testing import CliRunner

from autograder.answers import judge_answer, too_few
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
