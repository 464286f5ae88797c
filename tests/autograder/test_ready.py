"""What keeps this machine from grading is named before a submission runs."""

import sys

import pytest

from autograder import classroom, ready


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A classroom of all units with a seed, where the data's names are made up."""
    (tmp_path / "classroom.toml").write_text("")
    classroom.draw_seed(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUTSHELL_CLASSROOM", raising=False)
    monkeypatch.delenv(ready.STAND_INS, raising=False)
    monkeypatch.setattr(ready, "data_name", lambda name: name)
    return tmp_path


def test_a_whole_classroom_is_ready(room):
    assert ready.not_ready("03_low_rank") == ""


def test_stand_ins_are_refused_unless_allowed(room, monkeypatch):
    monkeypatch.setattr(ready, "data_name", lambda name: f"{name} (stand-in: scikit-learn's digits)")
    assert "nutshell data fetch mnist" in ready.not_ready("03_low_rank")
    assert ready.not_ready("01_counting") == ""  # has no budget
    monkeypatch.setenv(ready.STAND_INS, "1")
    assert ready.not_ready("03_low_rank") == ""


def test_a_missing_seed_unit_or_setting_is_named(room):
    assert "doesn't hand out the unit '09_nothing'" in ready.not_ready("09_nothing")
    (room / "secret_seed").unlink()
    assert "secret_seed can't be read" in ready.not_ready("03_low_rank")
    (room / "classroom.toml").write_text("curse = 1")
    assert "unknown 'curse'" in ready.not_ready("03_low_rank")


def test_a_unit_whose_code_is_broken_is_named(tiny, room):
    source = tiny()
    (source.folder / "checks.py").write_text("def half(:\n")
    del sys.modules["solutions.tiny.checks"]
    assert "checks.py, line 1" in ready.not_ready("01_tiny")
