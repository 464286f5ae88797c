"""The room's leaderboard: whose file is whose, who comes first, and nothing of a file is believed or trusted."""

import base64
import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from autograder import leaderboard as boards
from autograder.class_budgets import Network, _with_best
from autograder.class_pictures import budget_picture
from autograder.commands.leaderboard import leaderboard as command
from nutshell import artefact, budget, models
from nutshell.checks import Budget, Limit
from nutshell.errors import Trouble, WrongUse

BUDGET = Budget("small", points=4, file="small.nut", data="mnist", topology="lenet-300-100",
                limits=(Limit("bytes", at_most=400_000), Limit("error_percent", at_most=95.0)))  # fmt: skip


def write(path, seed=0, **encodings):
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"{layer}.weight": encoding for layer, encoding in encodings.items()}
    artefact.save(models.build("lenet-300-100", seed=seed), path, input_shape=(1, 28, 28), encodings=named)


def drawn(page):
    """The text of the page's picture."""
    return base64.b64decode(re.search(r"image/svg\+xml;base64,([^\"]+)", page)[1]).decode()


@pytest.fixture
def room(tmp_path):
    write(tmp_path / "ada.nut", fc1=artefact.Affine(8), fc2=artefact.Affine(8))
    write(tmp_path / "ben" / "workshop.nut")
    (tmp_path / "eve.nut").write_bytes(b"not a network <script>")
    return tmp_path


def test_names_are_those_of_files_or_of_their_folders(room):
    write(room / "ben" / "another.nut", seed=1)
    (room / "notes.txt").write_text("x")
    (room / "link.nut").symlink_to(room / "ada.nut")
    write(room / ".trash" / "old.nut")
    names = [name for name, _ in boards.files(room)]
    assert names == ["ada", "ben", "ben (2)", "eve"]
    write(room / "submitted" / "cleo" / "00_workshop" / "workshop.nut")
    assert [name for name, _ in boards.files(room)] == ["cleo"]  # a classroom: what was handed in, and nothing else


def test_small_files_inside_the_limit_come_first(room):
    board = boards.Room(room, BUDGET).board()
    assert [(one.place, one.name) for one in board.entries] == [(1, "ada"), (2, "ben")]
    ada, ben = board.entries
    assert ada.bytes == (room / "ada.nut").stat().st_size and ada.rate == pytest.approx(1_066_440 / ada.bytes)
    assert ada.points == 4 and ben.points == 0
    assert [name for name, _ in board.refused] == ["eve"]


def test_who_leads_is_named_and_a_wide_range_of_sizes_has_round_marks(room):
    report = boards.Room(room, BUDGET).board().report
    places = dict(ada=(12_000.0, 98.4), ben=(13_000.0, 98.5), cleo=(250_000.0, 98.45))  # ada and ben are too close
    networks = [Network(name, "OK", 4, {}, {}, size, accuracy) for name, (size, accuracy) in places.items()]
    text = base64.b64decode(budget_picture(replace(report, networks=tuple(_with_best(networks)))).split(",")[1]
                            .split('"')[0]).decode()  # fmt: skip
    assert ">ada<" in text and ">ben<" not in text
    assert all(f">{mark}<" in text for mark in ("20,000", "50,000", "100,000", "200,000"))


def test_over_the_limit_the_error_decides_and_equals_share_a_place(room):
    strict = Budget(**{**vars(BUDGET), "limits": (Limit("bytes", at_most=400_000), Limit("error_percent", at_most=1))})
    write(room / "dan.nut", fc1=artefact.Affine(8), fc2=artefact.Affine(8))
    entries = boards.Room(room, strict).board().entries
    assert [one.error_percent for one in entries] == sorted(one.error_percent for one in entries)
    places = {one.name: one.place for one in entries}
    assert places["ada"] == places["dan"] and sorted(places.values()) in ([1, 1, 3], [1, 2, 2])


def test_a_file_is_measured_once_and_a_new_one_is_noticed(room, monkeypatch):
    kept = boards.Room(room, BUDGET)
    before = kept.stamp()
    kept.board()
    monkeypatch.setattr(budget, "judge", None)
    assert len(kept.board().entries) == 2 and kept.stamp() == before
    (room / "eve.nut").write_bytes(b"again")
    assert kept.stamp() != before


def test_the_page_is_escaped_and_hides_names(room):
    write(room / "<b>zoe</b>.nut", seed=2)
    open_page = boards.page(boards.Room(room, BUDGET).board(), BUDGET, "validation", refresh=3)
    assert "<b>zoe" not in open_page and "&lt;b&gt;zoe" in open_page and 'http-equiv="refresh" content="3"' in open_page
    assert "accuracy on the validation images" in drawn(open_page) and ">ada<" in drawn(open_page)
    hidden = boards.page(boards.Room(room, BUDGET, seed=7).board(), BUDGET, "validation")
    assert ">ada<" not in hidden + drawn(hidden) and ">ben<" not in hidden + drawn(hidden)
    assert "learner-" in drawn(hidden) and hidden.count("learner-") >= 4 and "refresh" not in hidden


def test_large_files_are_not_read(room, monkeypatch):
    monkeypatch.setattr(boards, "MOST_BYTES", 1000)
    board = boards.Room(room, BUDGET).board()
    assert not board.entries and all("more than 1,000" in reason for name, reason in board.refused if name != "eve")


def test_a_stand_in_is_trouble_and_no_ranking(room, monkeypatch):
    result = budget.BudgetResult("small", 0.0, 4.0, data="mnist (stand-in: digits), validation")
    monkeypatch.setattr(budget, "judge", lambda *_: result)
    with pytest.raises(Trouble, match="nutshell data fetch mnist"):
        boards.Room(room, BUDGET).board()


def test_the_command_writes_the_page_and_one_object(room):
    done = CliRunner().invoke(command, [str(room), "--json", "--final"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0 and [one["name"] for one in said["entries"]] == ["ada", "ben"]
    assert said["limit_error_percent"] == 2.2 and said["refused"][0]["name"] == "eve"
    text = (room / "leaderboard.html").read_text()
    assert "the test images of mnist" in text and "<script" not in text
    missing = CliRunner().invoke(command, [str(room / "nowhere")])
    assert isinstance(missing.exception, WrongUse) and "is no folder" in str(missing.exception)
