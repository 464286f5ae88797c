"""Results are written whole, found from any folder of the course, and each names its command and its data set."""

import json
import math
import re
import shlex
from pathlib import Path

import pytest

from nutshell import results
from nutshell.errors import WrongUse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def course(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "nutshell").mkdir()
    (tmp_path / "labs" / "03_low_rank").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "labs" / "03_low_rank")
    return tmp_path


def test_what_is_saved_is_loaded_from_a_folder_below(course):
    results.save("speed", command="make speed", data="mnist", rows=[{"seed": 0, "error_percent": 1.5}])
    assert (course / "results" / "speed.json").exists()
    assert results.load("speed") == dict(command="make speed", data="mnist", rows=[{"seed": 0, "error_percent": 1.5}])


def test_a_value_that_json_cannot_hold_leaves_the_old_file_alone(course):
    results.save("speed", command="make speed", data="mnist", rows=[1])
    with pytest.raises(ValueError):
        results.save("speed", command="make speed", data="mnist", rows=[float("nan")])
    assert results.load("speed")["rows"] == [1]


def test_a_missing_subject_is_named_with_those_there_are(course):
    results.save("speed", command="make speed", data="mnist")
    with pytest.raises(WrongUse, match=r"'size'.*speed"):
        results.load("size")


def test_mean_and_spread_is_the_sample_standard_deviation():
    assert results.mean_and_spread([1.5, 1.7]) == (pytest.approx(1.6), pytest.approx(0.02**0.5))
    with pytest.raises(ValueError, match="at least two"):
        results.mean_and_spread([1.0])


def test_summaries_round_and_know_a_single_seed():
    assert results.summary([1.0, 2.0, 3.0]) == {"mean": 2.0, "spread": 1.0, "each": [1.0, 2.0, 3.0]}
    assert results.summary([1.0])["spread"] is None


def test_a_single_seed_is_shown_without_a_spread_and_drawn_without_a_bar():
    many, one = results.summary([1.0, 2.0, 3.0]), results.summary([1.0])
    assert (results.shown(many), results.shown(many, 1), results.shown(one)) == ("2.00 ± 1.00", "2.0 ± 1.0", "1.00")
    assert results.error_bar(many) == 1.0 and math.isnan(results.error_bar(one))
    older = {"mean": 1.0, "spread": 0.0, "each": [1.0]}  # as some files have it
    assert results.shown(older) == "1.00" and math.isnan(results.error_bar(older))
    assert results.shown({"mean": 1.0, "spread": 0.25}) == "1.00 ± 0.25"


@pytest.mark.parametrize("file", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_every_result_names_a_command_that_exists_and_its_data(file):
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["data"]
    words = shlex.split(content["command"])
    module = next((word for word in words if re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+", word)), None)
    if module is not None:
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists(), content["command"]
    else:
        assert words[0] in ("nutshell", "make"), content["command"]
