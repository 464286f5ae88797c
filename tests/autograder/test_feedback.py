"""What learners see: everything that helps, nothing that is hidden, and nothing that runs."""

import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder import feedback, units
from autograder.entries import Comment, Entry, Mark
from autograder.verdicts import Cell, CellError, ExerciseVerdict, Flag, Submission
from nutshell.wire import show
from nutshell.wire.running import CRASH, MEMORY, NOT_DONE, OK, OUTPUT, RAISED, STATUSES, TIMEOUT, WRONG, Verdict
from tests.autograder.published import IN_TIME, budget, exercise, verdict

UNIT = units.load("low_rank").unit
SECRET = "7193.25"
TABLE = set("svg text rect line path div style table caption thead tbody tr th td em p".split())  # noqa: SIM905
EMPTY = {"meta", "line", "rect", "path", "br", "circle"}


class Page(HTMLParser):
    """A page taken apart; every element must be closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", "".join(self.texts))


def work(**changes):
    cells = (Cell("solution_truncate", "def truncate(weight, rank):\n    return weight"),)
    return Submission(**dict(student="ada", assignment="03_low_rank", cells=cells, files={}, notebook={}, digest="",
                             handed_in=IN_TIME) | changes)


def page(found=None, submission=None, entry=None, duedate=None):
    return Page(feedback.page(UNIT, submission or work(), found or verdict(UNIT), entry, duedate))


def entry_for(found, **changes):
    marks = {f"check_{item.name}": Mark(float(item.possible), float(item.points))
             for item in (*found.exercises, *found.budgets)}
    return Entry("ada", **dict(marks=marks, timestamp=IN_TIME) | changes)


def test_a_page_says_marks_causes_next_steps_limits_and_the_learner_s_own_code():
    found = verdict(UNIT, {"truncate": WRONG, "tucker2": NOT_DONE}, value=1.05,
                    cells=(CellError("cell 7", RAISED, "NameError: tqmd"),))
    shown = page(found, work(notes=("the check cell check_truncate was missing; it is put back",)))
    for said in ("9 of 16 points", "truncate: 0 of 2 points", "✗ not yet right", "✗ not written yet", "✓ passed",
                 "the sum of squares 4.0", "The square was left out.", "Square before you add.",
                 "1 of 3 checks passed", "def truncate(weight, rank):", "There is no cell of yours for this exercise.",
                 "197,820.0 – over the limit", "full marks up to 188,400.0", "none from 207,240.0",
                 "Encode it smaller.", "cell 7: raised an error", "NameError: tqmd", "it is put back",
                 "handed in 2026-03-01 12:30 UTC",
                 "ran in a sandbox (bubblewrap)", "A watchdog held it"):
        assert said in shown.words, said
    assert "untrusted" not in shown.words


def test_instructors_marks_comments_and_penalties_are_shown_as_the_gradebook_counts_them():
    found = verdict(UNIT, {"truncate": WRONG})
    entry = entry_for(found, penalty=1.5, first_name="Ada", last_name="Lovelace",
                      comments={"solution_truncate": Comment("No response.", "Nearly!\n<b>Look</b>"),
                                "solution_elsewhere": Comment(None, "Of another cell")})
    entry.marks["check_truncate"] = Mark(2.0, 0.0, 1.0, 0.5)
    shown = page(found, entry=entry, duedate=datetime(2026, 3, 1, 10, 30))
    for said in ("14 of 16 points", "(15.5, less 1.5 for handing in late)", "Ada Lovelace (ada)", "2 hours late",
                 "Your instructor gave 1 in place of the 0 of the checks.", "Nearly!", "<b>Look</b>", "Of another cell",
                 "truncate: 1.5 of 2 points"):
        assert said in shown.words, said
    assert "No response." not in shown.words


def test_flags_and_what_is_hidden_are_for_instructors_only():
    hidden = [Verdict("truncate", "c", "Some title", True, status, f"expected {SECRET}", f"got {SECRET}: {SECRET}",
                      f"cause {SECRET}" if status == RAISED else "") for status in (RAISED, CRASH, MEMORY, OUTPUT)]
    hidden.append(Verdict("truncate", "c", "Some title", True, WRONG, f"expected {SECRET}", f"got {SECRET}"))
    for check in hidden:
        check = replace(check, expected="an answer") if check.status != WRONG else check
        one = ExerciseVerdict("truncate", 0.0, 2.0, check.status, (check,))
        found = replace(verdict(UNIT), exercises=(one,), flags=(Flag("borrowed weights", "first_layer", "FLAGGED"),))
        shown = feedback.page(UNIT, work(), found) + "".join(feedback.outputs(UNIT, found).values())
        assert SECRET not in shown and "FLAGGED" not in shown and "borrowed" not in shown
        assert "Some title" in shown


@pytest.mark.parametrize(("got", "shown"), [
    ("KeyError: 'x'", "KeyError"), ("LinAlgError: singular", "LinAlgError"), ("Seen_7193: no", "an error"),
    ("print: 3", "an error"), ("", "an error"),
])
def test_only_a_known_error_s_name_is_told_of_a_hidden_check(got, shown):
    seen = feedback.without_hidden_values(Verdict("e", "c", "t", True, RAISED, "no error", got, "in f: secret", "Try."))
    assert (seen.got, seen.cause) == (f"{shown} (its message is not shown for a hidden check)", "")


@pytest.mark.parametrize("status", STATUSES)
def test_a_public_check_and_one_that_passed_are_shown_whole(status):
    public = Verdict("e", "c", "t", False, status, "1", "2", "3", "4")
    assert feedback.without_hidden_values(public) is public
    if status in (OK, TIMEOUT, NOT_DONE):
        assert feedback.without_hidden_values(replace(public, hidden=True)) == replace(public, hidden=True)


NASTY = ('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</pre></style><style>*{}",
         "\x1b[31m\x07", "\u202eevil\u2066", "javascript:alert(1)", "&lt;b&gt;")


@given(st.text() | st.sampled_from(NASTY), st.text() | st.sampled_from(NASTY))
def test_whatever_a_learner_writes_is_text(first, second):
    check = Verdict("truncate", "c", first, False, RAISED, second, first, second, first)
    found = replace(
        verdict(UNIT), exercises=(ExerciseVerdict("truncate", 0.0, 2.0, RAISED, (check,)),),
        budgets=tuple(replace(item, rows=(), reason=first, data=second, status="REFUSED")
                      for item in budget(UNIT, 0, 1)),
        cells=(CellError(first, RAISED, second),), notes=(first,))
    submission = work(cells=(Cell("solution_truncate", first + "x"),), notes=(second,), student=first)
    entry = entry_for(found, first_name=first, comments={"solution_truncate": Comment(None, second)})
    text = feedback.page(UNIT, submission, found, entry)
    parts = Page(text)
    assert {"script", "img", "link", "iframe", "object", "form", "base"}.isdisjoint(parts.tags)
    assert parts.tags.count("style") == 1
    assert not any(name.startswith("on") or name in ("src", "srcset", "action") for _, name, _ in parts.attributes)
    assert all(value.startswith("#part-") for tag, name, value in parts.attributes if name == "href")
    assert re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text) is None
    assert show.clean(first) + "x" in "".join(parts.texts).replace("\r", "\n") or not first.isprintable()
    for table in feedback.outputs(UNIT, found).values():
        assert set(Page(table).tags) <= TABLE


def test_a_page_needs_nothing_from_elsewhere_and_allows_nothing():
    shown = page(verdict(UNIT, value=2.0))
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in shown.attributes
    assert not any("://" in (value or "") or (value or "").startswith("//") for _, _, value in shown.attributes)
    assert [value for tag, name, value in shown.attributes if (tag, name) == ("html", "lang")] == ["en"]
    labels = [value for tag, name, value in shown.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == shown.tags.count("svg") == 2
    assert all("measured" in label and "full marks up to" in label and "none from" in label for label in labels)
    headings = [int(tag[1]) for tag in shown.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and all(after - before <= 1 for before, after in pairwise(headings))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e12), st.floats(0, 1e12))
def test_a_picture_stays_inside_its_frame(value, limit, margin):
    row = dict(metric="bytes", value=value, limit=limit, ends_at=limit + margin, share=1.0, digits=0)
    found = replace(verdict(UNIT), budgets=tuple(replace(item, rows=(row,)) for item in budget(UNIT, 0, 1)))
    for tag, name, number in page(found).attributes:
        if name in ("x", "x1", "x2", "width") and tag in ("rect", "line", "text"):
            assert 0 <= float(number) <= 640, (tag, name, number)


def test_a_value_is_left_of_its_limit_just_when_it_is_within_it():
    row = dict(metric="points_lost", limit=0.5, ends_at=1.0, share=1.0, digits=2)
    for value in (-0.3, 0.0, 0.2, 0.5, 0.51, 0.9, 1.0, 3.0):
        bar = feedback._bar(feedback.Row(**row, value=value))
        assert (bar.at <= bar.limit_at) == (value <= 0.5) and (bar.at < bar.ends_at) == (value < 1.0)
        assert bar.limit_at < bar.ends_at and bar.beyond == (value == 3.0)


def test_check_cells_show_the_same_words_as_the_page():
    found = verdict(UNIT, {"truncate": WRONG, "tucker2": NOT_DONE}, value=1.05)
    tables = feedback.outputs(UNIT, found)
    assert set(tables) == {f"check_{item.name}" for item in (*UNIT.exercises, *UNIT.budgets)}
    whole = page(found).words
    for said in ("The square was left out.", "Square before you add."):
        assert said in tables["check_truncate"] and said in whole
    assert "truncate: 0 of 2 points, 1 of 3 checks passed" in tables["check_truncate"]
    assert "197,820.0" in tables["check_first_layer"] and "tex2jax_ignore" in tables["check_truncate"]


def test_an_exercise_without_checks_still_says_what_happened():
    found = replace(verdict(UNIT), exercises=(ExerciseVerdict("truncate", 0.0, 2.0, CRASH),))
    assert "ended the process" in page(found).words
    assert "ended the process" in feedback.outputs(UNIT, found)["check_truncate"]


def test_untrusted_marks_and_refused_submissions_say_so():
    assert "These marks are untrusted" in page(verdict(UNIT, isolation="process")).words
    refused = verdict(UNIT, exercises=(), budgets=(), refused="03_low_rank.ipynb is <120> MB.")
    shown = page(refused)
    assert "was not graded" in shown.words and "is <120> MB." in shown.words and "table" not in shown.tags
    before = page(refused, entry=entry_for(verdict(UNIT)))
    assert "Marks given before still stand: 16 of 16." in before.words and "by an earlier grading" in before.words


def test_long_texts_are_cut_with_a_word_on_how_much():
    found = verdict(UNIT, cells=(CellError("cell 1", RAISED, "y" * 30_000),))
    text = feedback.page(UNIT, work(cells=(Cell("solution_truncate", "x" * 25_000),)), found)
    assert "… and 5,000 more characters" in text and "… and 10,000 more characters" in text and len(text) < 100_000


def test_the_same_verdict_makes_the_same_page():
    assert feedback.page(UNIT, work(), verdict(UNIT)) == feedback.page(UNIT, work(), verdict(UNIT))
    assert exercise("a", 1.0) == exercise("a", 1.0)


def test_a_cell_that_ends_in_an_error_is_told_once():
    words = dict(expected="a definition", got="its cell ended so: NameError: no x", next_step="Run it alone.")
    checks = tuple(Verdict("half", f"c{n}", f"C{n}", n > 1, "RAISED", **words) for n in range(4))
    item = ExerciseVerdict("half", 0.0, 2.0, "RAISED", checks)
    table = feedback._checks(item)
    assert table.count("NameError") == 1 and "all 4 checks" in table and "0 of 4 checks passed" in table
    hidden = ExerciseVerdict("half", 0.0, 2.0, "RAISED", tuple(replace(check, hidden=True) for check in checks))
    assert "no x" not in feedback._checks(hidden)
