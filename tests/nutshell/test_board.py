"""The board ranks by the contest's score, marks who is beaten by nobody, and measures what isn't known yet."""

import json

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, board, budget, results
from nutshell.board import Entry, Standing, floor_of
from nutshell.checks import Budget, Limit
from nutshell.commands.board import board as command
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import WrongUse

ENTRIES = st.builds(Entry, st.text("abc", min_size=1, max_size=3), st.booleans(), st.integers(1, 4), st.just(1),
                    st.integers(1, 4).map(float), st.sampled_from([0.5, 1.0, 2.0, 5.0]))


@settings(max_examples=100, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_whoever_has_no_star_is_beaten_by_somebody_who_has(entries):
    found = Standing(tuple(entries), (), "noise")
    best = found.best()
    assert best

    def key(one):
        return one.bytes, one.energy_uj, one.error_percent

    for one in entries:
        beaten = [other for other in best if all(a <= b for a, b in zip(key(other), key(one), strict=True))
                  and key(other) != key(one)]
        assert bool(beaten) != (one in best)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_places_follow_the_score_and_then_the_error(entries):
    found = Standing(tuple(entries), (), "noise")
    for one in entries:
        for other in entries:
            if one.score > other.score or (one.score == other.score == 0 and one.error_percent < other.error_percent):
                assert found.place(one) < found.place(other)


def test_the_floor_belongs_to_those_who_have_a_score():
    assert Entry("at the floor", True, 1, 1, 2.0, 2.0).score == pytest.approx(0.98 / 2e-6)
    assert Entry("below", True, 1, 1, 2.0, 2.01).score == 0


def test_harder_images_have_a_lower_floor():
    entry = Entry("on colours", True, 1, 1, 2.0, 20.0, floor_of("cifar-10 (unofficial copy), test"))
    assert entry.score == pytest.approx(0.8 / 2e-6)
    assert "75 % right answers" in Standing((entry,), (), "cifar-10 (unofficial copy), test").note


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Sixteen images, one network that reads all of them as the first class, and a folder of results."""
    images = torch.zeros(16, 1, 2, 2, dtype=torch.uint8)
    part = Split(images, torch.tensor([0] * 15 + [1]), (0.0,), (1.0,))
    monkeypatch.setattr(budget, "images", lambda name: Dataset("few", part, part, part, ("a", "b")))
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([1.0, 0.0]))
    for name in ("own.nut", "low_rank.nut"):
        artefact.save(network, tmp_path / name, input_shape=(1, 2, 2))
    return tmp_path


def test_files_are_measured_and_the_course_stands_beside_them(few):
    found = board.standing([few / "own.nut"])
    own, course = found.entries
    assert (own.name, own.own, course.own) == ("own", True, False)
    assert own.error_percent == pytest.approx(100 / 16) and own.macs == 8 and found.data == "few, validation"
    assert found.place(own) == found.place(course) == 1
    assert "→ own" in str(found) and "<table>" in found._repr_html_()
    assert [one.name for one in board.standing([few / "own.nut"], course=False).entries] == ["own"]


def test_names_in_the_picture_cover_neither_one_another_nor_the_ends_of_the_axes():
    crowd = [Entry(f"a name that is long {number}", False, 10**number, 1, 10.0 ** (2 - number), 1.0 + 0.02 * number)
             for number in range(1, 6)]
    axes = Standing((*crowd, crowd[-1]), (), "noise").picture()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(Standing((*crowd, crowd[-1]), (), "noise").best())
    for number, box in enumerate(boxes):
        assert axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_known_figures_are_taken_for_the_same_bytes_only(few):
    figures = {"bytes": 1, "macs": 2, "energy_uj": 3.0, "error_percent": 4.0}
    known = [{"file": "low_rank.nut", "sha256": board.digest(few / "low_rank.nut"), "data": "few, validation",
              "figures": figures}]
    (few / "in_a_nutshell.json").write_text(json.dumps({"board": known}))
    assert board.standing().entries[0].macs == 2
    assert board.standing(part="test").entries[0].macs == 8
    with (few / "low_rank.nut").open("ab") as file:
        file.write(b"?")
    assert board.standing().refused[0][0].startswith("03")


def test_a_file_that_is_missing_or_of_other_images(few, tmp_path):
    with pytest.raises(WrongUse, match=r"no file .*none\.nut"):
        board.standing([few / "none.nut"])
    artefact.save(nn.Flatten(), few / "other.nut", input_shape=(1, 3, 3))
    assert "images of shape" in board.standing([few / "other.nut"], course=False).refused[0][1]


def test_the_command_prints_a_table_or_data(few):
    done = CliRunner().invoke(command, [str(few / "own.nut"), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert [entry["place"] for entry in said["entries"]] == [1, 1]
    assert "beaten by nobody" in CliRunner().invoke(command, ["--own", str(few / "own.nut")]).output


def test_the_contest_s_metric_is_a_million_over_the_score(few):
    one = budget.judge(Budget("contest", 4, "own.nut", "few", "lenet-300-100", (Limit("energy_per_hit", at_most=1.0),),
                              any_network=True), few / "own.nut")
    assert one.reason  # other images than the topology's
    from nutshell.measure import measure

    found = measure(few / "own.nut", budget.images("few"))
    assert found.energy_per_hit == pytest.approx(found.energy_uj / (15 / 16))
    assert measure(few / "own.nut").energy_per_hit == pytest.approx(1e6 * found.energy_uj)  # it wasn't run


def test_the_course_s_entries_for_other_images_stay_away(few):
    artefact.save(nn.Flatten(), few / "resnet-20.nut", input_shape=(3, 4, 4))
    found = board.standing()
    assert [one.name for one in found.entries] == [board.COURSE["low_rank.nut"]] and found.refused == ()
