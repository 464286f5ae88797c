"""The class's leaderboard: who is on it, in which order, and who is on the Pareto front."""

from dataclasses import replace
from types import SimpleNamespace

from autograder.class_board import MOST_DRAWN, boards
from autograder.class_budgets import Network
from autograder.class_page import environment


def _network(student, bytes_, energy, error, macs=1000):
    measured = dict(bytes=bytes_, macs=macs, energy_uj=energy, error_percent=error)
    return Network(student, "OK", 4.0, {}, measured, bytes_, 100 - error)


def _report(*labs):
    """Labs as pairs of a title and (data, networks, reference) of one budget each."""
    return SimpleNamespace(labs=tuple(
        SimpleNamespace(title=title, budgets=(SimpleNamespace(data=data, networks=networks, reference=reference),))
        for title, data, networks, reference in labs))  # fmt: skip


TEST = ("mnist, test",)
LOW, CONTEST = "Low rank", "In a nutshell"


def test_networks_of_all_labs_meet_by_right_answers_a_joule():
    report = _report((LOW, TEST, (_network("ada", 200_000, 40.0, 1.5),), _network("", 255_894, 41.0, 1.4)),
                     (CONTEST, TEST, (_network("bob", 4000, 0.5, 1.9), _network("eve", 900, 0.1, 3.0)), None))
    (board,) = boards(report)
    assert [one.name for one in board.standing.entries] == [
        "bob, In a nutshell", "ada, Low rank", "the course, Low rank", "eve, In a nutshell"]
    assert board.students == 3 and [one.own for one in board.standing.entries] == [True, True, False, True]
    assert {one.name for one in board.standing.best()} == {one.name for one in board.standing.entries}
    assert board.front.startswith("eve, In a nutshell (900 bytes, 0.1 µJ, 3.00 %), bob")
    assert "→ bob, In a nutshell" in board.lines(1)[0] and 'alt="Error against' in board.picture()
    assert board.as_data()["students"] == 3


def test_who_is_beaten_has_no_star():
    report = _report((CONTEST, TEST, (_network("ada", 4000, 0.5, 1.5), _network("bob", 4000, 0.6, 1.5),
                                      _network("eve", 4000, 0.5, 1.5)), None))  # fmt: skip
    (board,) = boards(report)
    assert {one.name for one in board.standing.best()} == {"ada, In a nutshell", "eve, In a nutshell"}
    assert [row[1] for row in board.standing.rows()] == ["1", "1", "3"]


def test_one_network_alone_other_images_and_missing_figures_make_no_board():
    alone = _report((LOW, TEST, (_network("ada", 1, 1.0, 1.0),), _network("", 1, 1.0, 1.0)))
    assert boards(alone) == ()
    apart = _report((LOW, TEST, (_network("ada", 1, 1.0, 1.0),), None),
                    (CONTEST, ("cifar-10, test",), (_network("bob", 1, 1.0, 1.0),), None))  # fmt: skip
    assert boards(apart) == ()
    lacking = replace(_network("ada", 1, 1.0, 1.0), measured={"bytes": 1.0})
    assert boards(_report((LOW, TEST, (lacking, _network("bob", 1, 1.0, 1.0)), None))) == ()
    two = _network("ada", 1, 1.0, 1.0), _network("bob", 2, 1.0, 1.0)
    trouble = _report((LOW, ("mnist, test", "stand-in"), two, None))
    assert boards(trouble) == ()


def test_a_crowd_has_a_table_and_no_picture():
    crowd = tuple(_network(f"s{number}", 1000 + number, 1 + number / 10, 1.0) for number in range(MOST_DRAWN + 1))
    (board,) = boards(_report((CONTEST, TEST, crowd, None)))
    assert board.picture() == "" and len(board.lines(25)) == 25
    assert [one.name for one in board.standing.best()] == ["s0, In a nutshell"]


def test_names_are_escaped_on_the_page_and_in_the_picture():
    report = _report((CONTEST, TEST, (_network("<b>$x$", 4000, 0.5, 1.5), _network("bob", 3000, 0.6, 1.5)), None))
    (board,) = boards(report)
    assert "<b>" not in board.picture().replace("<img", "")
    text = environment().from_string("{{ board.front }}{{ board.lines(1)[0][0] }}").render(board=board)
    assert "<b>" not in text and "&lt;b&gt;" in text
