"""Every attack gets the verdict that it should, every control scores full, and nothing is left behind."""

import pytest

from tests.red_team import table
from tests.red_team.catalogue import ATTACKS, CONTROLS, SLOW

QUICK = [attack for attack in ATTACKS if attack.name not in SLOW]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All of them in one classroom, graded in one run."""
    return table.run(tmp_path_factory.mktemp("red"), [*QUICK, *CONTROLS])


def test_names_tell_attacks_apart():
    names = [attack.folder for attack in (*ATTACKS, *CONTROLS)]
    assert sorted(set(names)) == sorted(names)
    assert {attack.name for attack in ATTACKS} >= SLOW


def test_grading_goes_to_its_end(graded):
    assert graded.trouble == ""


@pytest.mark.parametrize("attack", QUICK, ids=lambda attack: f"{attack.group}: {attack.name}")
def test_attack_gets_its_verdict(graded, attack):
    assert graded.row(attack.name).faults == ()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_honest_work_scores_full(graded, control):
    assert graded.row(control.name).faults == ()


def test_nothing_is_left_behind(graded):
    assert graded.left == []
