"""The class report, from made-up verdicts: who counts as what, what went wrong, budgets, hidden names, page and CSV."""

import base64
import csv
import io
import itertools
import json
import re
import shutil
import statistics
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autograder import classroom, units
from autograder.class_budgets import Network, _with_best
from autograder.class_data import GRADED, MISSING, REFUSED, TROUBLE, WAITING, distribution
from autograder.class_names import HIDDEN, Names, Person, pseudonym
from autograder.class_page import MOST_ROWS, harmless, page, table
from autograder.class_report import gather
from autograder.commands.report import report as command
from autograder.gradebook import Graded, opened
from autograder.verdicts import BudgetVerdict, CellError, ExerciseVerdict, Flag, SubmissionVerdict
from nutshell.budget import margin_of, share_left
from nutshell.errors import Refused, WrongUse
from nutshell.wire.running import Verdict

LAB = "03_low_rank"
DENSE = 1.56  # error of the uncompressed network in these made-up figures, %
DUE = datetime(2030, 10, 31, 22, 59)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """An empty classroom, to be copied: making its database takes seconds."""
    folder = tmp_path_factory.mktemp("first") / "room"
    classroom.make(folder, ("low_rank",))
    return folder


@pytest.fixture
def room(first, tmp_path, monkeypatch):
    monkeypatch.delenv("NUTSHELL_CLASSROOM", raising=False)
    monkeypatch.setenv("NUTSHELL_DATA", str(tmp_path))  # without images: the reference result isn't measured
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(first, tmp_path / "room")
    return Class(tmp_path / "room")


def check(exercise, status, cause="", got="", title="A property", hidden=False):
    return Verdict(exercise, f"{exercise}_{title}", title, hidden, status, "what is right", got, cause, "What to do.")


def network(layer_bytes, lost, fingerprint=""):
    """A budget's verdict as the judge gives it."""
    (budget,) = units.load("low_rank").unit.budgets
    names = ("layer_bytes of layer 1", "points_lost")
    rows = [
        dict(metric=name, value=value, limit=limit.at_most, ends_at=limit.at_most + margin_of(limit),
             share=share_left(value, limit), digits=2, words=name, over="")
        for name, value, limit in zip(names, (layer_bytes, lost), budget.limits, strict=True)
    ]  # fmt: skip
    share = min(row["share"] for row in rows)
    error = DENSE + lost
    measured = dict(bytes=layer_bytes + 1000, params=layer_bytes // 4, nonzero=layer_bytes // 4,
                    macs=layer_bytes // 4, energy_uj=1.25, accuracy=1 - error / 100, error_percent=error)  # fmt: skip
    status = "OK" if share == 1 else "WRONG"
    return BudgetVerdict(budget.name, budget.file, budget.points * share, budget.points, status, tuple(rows), "",
                         "mnist, test", fingerprint, measured)  # fmt: skip


@dataclass
class Class:
    """A classroom that students are put into, without grading anything."""

    folder: object
    unit: object = field(default_factory=lambda: units.load("low_rank").unit)

    def add(self, student, first="", last="", *, folder=True, verdict=True, marks=True, failed=None, budget=None,
            late=None, **options):
        """``failed``: checks by exercise, in place of one that passes; ``options``: other fields of the verdict."""
        with opened("sqlite:///gradebook.db", self.folder) as book:
            layout = book.layout(LAB)
            self.sql(book, "insert or ignore into student(id, first_name, last_name) values (:a, :b, :c)",
                     a=student, b=first, c=last)
            if folder:
                (self.folder / "submitted" / student / LAB).mkdir(parents=True)
            made = self.verdict(student, failed or {}, budget or network(150_000, 0.1), **options)
            if verdict:
                self.keep(student, made)
            if marks:
                points = {f"check_{one.name}": one.points for one in (*made.exercises, *made.budgets)}
                when = DUE + timedelta(hours=late) if late else DUE - timedelta(hours=1)
                book.write(layout, [Graded(student, when, points, {})], lambda who, sum_, seconds: 1.5)
        return made

    def verdict(self, student, failed, budget, **options):
        exercises = []
        for one in self.unit.exercises:
            checks = tuple(failed.get(one.name, [check(one.name, "OK")]))
            status = next((item.status for item in checks if item.status != "OK"), "OK")
            points = one.points * sum(item.status == "OK" for item in checks) / len(checks)
            exercises.append(ExerciseVerdict(one.name, points, one.points, status, checks))
        key = base64.b16encode(student.encode()).decode()[-40:].lower()
        fields = dict(exercises=tuple(exercises), budgets=(budget,)) | options
        return SubmissionVerdict(key, "low_rank", fields.pop("isolation", "bubblewrap"), "watchdog", **fields)

    def keep(self, student, verdict):
        place = self.folder / "verdicts" / LAB / "published"
        place.mkdir(parents=True, exist_ok=True)
        (place.parent / f"{verdict.key}.json").write_text(verdict.to_json())
        (place / student).write_text(json.dumps({"key": verdict.key}))

    def due(self, when=DUE):
        with opened("sqlite:///gradebook.db", self.folder) as book:
            self.sql(book, "update assignment set duedate = :when", when=when.isoformat(sep=" "))

    @staticmethod
    def sql(book, text, **values):
        from sqlalchemy import text as query

        with book._engine.begin() as connection:
            connection.execute(query(text), values)

    def gather(self, **options):
        report = gather(self.folder, **options)
        (lab,) = report.labs
        return report, lab


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def pictures(text):
    """The SVG of every picture in a page."""
    return [base64.b64decode(data).decode() for data in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text)]


# Who counts as what --------------------------------------------------------------------------------------------------


def test_graded_refused_waiting_in_trouble_and_missing(room):
    room.add("ada")
    room.add("ben", marks=False, exercises=(), budgets=(), refused="data is a link.")
    room.add("cleo", marks=False, verdict=False)
    room.add("dan", folder=False, marks=False, verdict=False)
    room.add("eva", failed={"truncate": [check("truncate", "INFRA", got="no sandbox")]})
    _, lab = room.gather()
    assert {line.student: line.state for line in lab.students} == dict(
        ada=GRADED, ben=REFUSED, cleo=WAITING, dan=MISSING, eva=TROUBLE
    )
    assert lab.counts == {GRADED: 1, REFUSED: 1, TROUBLE: 1, WAITING: 1, MISSING: 1} and lab.handed_in == 4
    assert [line.words for line in lab.of_state(REFUSED)] == ["data is a link."]
    assert lab.of_state(TROUBLE)[0].points is None  # never a zero
    assert lab.marks.count == 1
    said = dict(lab.talk)
    assert said["Missing"].startswith("1 of 5") and said["Not graded"].startswith("2 sub") and "Refused" in said


def test_a_folder_that_the_gradebook_does_not_know_is_not_missing(room):
    (room.folder / "submitted" / "newcomer" / LAB).mkdir(parents=True)
    _, lab = room.gather()
    assert [(line.student, line.state) for line in lab.students] == [("newcomer", WAITING)]


def test_marks_are_those_that_nbgrader_exports(room, tmp_path):
    from nbgrader.api import Gradebook
    from nbgrader.plugins.export import CsvExportPlugin

    room.due()
    room.add("ada", failed={"truncate": [check("truncate", "WRONG"), check("truncate", "OK")]})
    room.add("ben", late=3)
    room.add("cleo", late=2, failed={one.name: [check(one.name, "WRONG")] for one in room.unit.exercises},
             budget=network(10**6, 0.1))  # no marks, and a penalty on top
    room.add("dan", folder=False, marks=False, verdict=False)
    with opened("sqlite:///gradebook.db", room.folder) as book:
        grade = ("from grade join submitted_notebook n on grade.notebook_id = n.id join submitted_assignment s on "
                 "n.assignment_id = s.id join base_cell c on c.id = cell_id where s.student_id = 'ada' and c.name = ")
        room.sql(book, f"update grade set manual_score = 0.25 where id in (select grade.id {grade} 'check_tucker2')")
        room.sql(book, f"update grade set extra_credit = 2 where id in (select grade.id {grade} 'check_factorise')")
    exporter = CsvExportPlugin()
    exporter.to = str(tmp_path / "grades.csv")
    with Gradebook(f"sqlite:///{room.folder / 'gradebook.db'}", "nutshell") as gradebook:
        exporter.export(gradebook)
    exported = {row["student_id"]: row for row in csv.DictReader((tmp_path / "grades.csv").open())}
    _, lab = room.gather()
    assert {line.student: line.points or 0.0 for line in lab.students} == {
        name: pytest.approx(float(row["score"])) for name, row in exported.items()
    }
    ada, ben, *_ = lab.students
    assert ada.by_hand == ("tucker2",) and ada.parts["tucker2"] == 0.25
    assert (ben.hours_late, ben.penalty, lab.late) == (3.0, 1.5, 2)


# What went wrong -----------------------------------------------------------------------------------------------------


def test_exercises_by_failure_with_counts_and_extensions_last(room):
    wrong, todo = [check("tucker2", "WRONG")], [check("cp_decompose", "NOT DONE")]
    room.add("ada", failed={"tucker2": wrong, "cp_decompose": todo})
    room.add("ben", failed={"tucker2": [check("tucker2", "TIMEOUT")], "truncate": [check("truncate", "WRONG")],
                            "cp_decompose": todo})  # fmt: skip
    _, lab = room.gather()
    names = [one.name for one in lab.exercises]
    assert names[:2] == ["tucker2", "truncate"] and {names[-1], names[-2]} == {
        "cp_decompose", "orthogonal_matching_pursuit"
    }  # fmt: skip
    by_name = {one.name: one for one in lab.exercises}
    assert by_name["tucker2"].counts == {"WRONG": 1, "TIMEOUT": 1} and by_name["tucker2"].share_failed == 1.0
    assert by_name["truncate"].counts == {"OK": 1, "WRONG": 1} and by_name["truncate"].mean == 1.0
    assert by_name["cp_decompose"].counts == {"NOT DONE": 2} and not by_name["cp_decompose"].messages
    assert [name for name, _ in lab.talk] == ["tucker2", "truncate"]


def test_messages_count_students_by_cause_and_not_checks(room):
    def twice(cause):
        hidden = check("truncate", "WRONG", cause, title="Two", hidden=True)
        return [check("truncate", "WRONG", cause, title="One"), hidden]

    room.add("ada", failed={"truncate": twice("The smallest were kept.")})
    room.add("ben", failed={"truncate": twice("The smallest were kept.")})
    room.add("cleo", failed={"truncate": [check("truncate", "WRONG", "Σ is missing.", hidden=True)]})
    _, lab = room.gather()
    truncate = next(one for one in lab.exercises if one.name == "truncate")
    assert [(one.words, one.count, one.hidden, one.students) for one in truncate.messages] == [
        ("The smallest were kept.", 2, False, ("ada", "ben")), ("Σ is missing.", 1, True, ("cleo",))
    ]  # fmt: skip
    assert truncate.messages[0].checks == ("One", "Two")
    assert "2 times: The smallest were kept." in dict(lab.talk)["truncate"]


def test_errors_that_differ_in_figures_only_are_one_message(room):
    for number, name in enumerate(("ada", "ben", "cleo")):
        error = check("truncate", "RAISED", "line 3", f"ValueError: shapes ({number},5) and (9,)")
        room.add(name, failed={"truncate": [error]}, cells=(CellError("cell 7", "RAISED", f"NameError: {number}\n…"),))
    _, lab = room.gather()
    truncate = next(one for one in lab.exercises if one.name == "truncate")
    assert [one.count for one in truncate.messages] == [3] == [one.count for one in lab.cells]
    assert lab.cells[0].checks == ("cell 7",) and "\n" not in lab.cells[0].words


def test_flags_name_classmates_with_equal_weights(room):
    room.add("ada", budget=network(150_000, 0.1, "77"), flags=(Flag("transformed images", "low_rank.nut", "Odd."),))
    room.add("ben", budget=network(150_000, 0.1, "77"))
    room.add("cleo", budget=network(150_000, 0.1, "78"))
    _, lab = room.gather()
    assert [(one.student, one.kind) for one in lab.flags] == [
        ("ada", "borrowed weights"), ("ben", "borrowed weights"), ("ada", "transformed images")
    ]  # fmt: skip
    assert "ben" in lab.flags[0].words
    hidden, lab = room.gather(hide_names=True)
    assert "ada" not in json.dumps(hidden.as_data()) and len(lab.flags) == 3


# Budgets -------------------------------------------------------------------------------------------------------------


def test_networks_with_limits_and_counts(room):
    room.add("ada", budget=network(150_000, 0.1))
    room.add("ben", budget=network(197_820, 0.1))  # half of the margin
    room.add("cleo", budget=BudgetVerdict("first_layer", "low_rank.nut", 0, 4, "REFUSED", reason="Another network."))
    room.add("dan", budget=BudgetVerdict("first_layer", "low_rank.nut", 0, 4, "NOT DONE", reason="No file."))
    _, lab = room.gather()
    (budget,) = lab.budgets
    assert budget.counts == {"OK": 1, "WRONG": 1, "NOT DONE": 1, "REFUSED": 1}
    assert [(one.student, one.points, one.best) for one in budget.networks] == [("ada", 4, True), ("ben", 2, False)]
    assert (budget.size_limit, budget.size_ends_at) == (188_400, pytest.approx(207_240))
    assert (budget.accuracy_limit, budget.accuracy_ends_at) == (
        pytest.approx(100 - DENSE - 0.5), pytest.approx(100 - DENSE - 1)
    )  # fmt: skip
    assert budget.networks[0].accuracy == pytest.approx(100 - DENSE - 0.1)
    assert [one.words for one in budget.refusals] == ["Another network."]
    assert budget.reference is None and "mnist isn't on this machine" in budget.no_reference
    assert "1 of 4 over a limit" in dict(lab.talk)["first_layer"]


places = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=12)


@given(places)
def test_the_best_are_those_that_no_other_beats(found):
    networks = [Network(str(k), "OK", 1, {}, {}, size, accuracy) for k, (size, accuracy) in enumerate(found)]
    best = {network.student for network in _with_best(networks) if network.best}
    expected = {
        str(k) for k, (size, accuracy) in enumerate(found)
        if not any(s <= size and a >= accuracy and (s, a) != (size, accuracy) for s, a in found)
    }  # fmt: skip
    assert best == expected


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def named(room):
    """Students whose names stand everywhere where they can."""
    room.due()
    error = check("truncate", "RAISED", "line 3", "ValueError: by Lovelace, in /home/ada.l/x.py")
    room.add("ada.l", "Ada", "Lovelace", failed={"truncate": [error]}, late=2, notes=("ada.l_old.ipynb was left out",),
             flags=(Flag("transformed images", "low_rank.nut", "ada.l's network is odd."),),
             cells=(CellError("cell 1", "RAISED", "NameError: bentham"),), budget=network(150_000, 0.1, "77"))
    room.add("bentham", "Jeremy", "Bentham", budget=network(150_000, 0.1, "77"))
    room.add("zoe", "Zoe", "Zander", marks=False, exercises=(), budgets=(), refused="zoe.nut: a link, says Zander.")
    room.add("yan", "Yan", "Yoder", folder=False, marks=False, verdict=False)
    room.add("zed", "Zed", "Zorn", budget=BudgetVerdict("first_layer", "low_rank.nut", 0, 4, "REFUSED", reason="zed!"))
    return room


NAMES = re.compile(r"\bada|lovelace|bentham|jeremy|zoe|zander|yan\b|yoder|\bzed|zorn", re.IGNORECASE)


def test_hidden_names_are_nowhere(named, tmp_path):
    shown, _ = named.gather()
    assert len(set(NAMES.findall(page(shown)))) > 8  # they would be found
    result = CliRunner().invoke(command, [str(named.folder), "--hide-names", "--json", "--output",
                                          str(tmp_path / "out.html")])  # fmt: skip
    assert result.exit_code == 0, result.output
    html, rows = (tmp_path / "out.html").read_text(), (tmp_path / "out.csv").read_text()
    texts = [" ".join(Page(html).text), str(Page(html).elements), rows, result.output, *pictures(html)]
    for text in texts:
        text = re.sub(r"data:image/svg\+xml;base64,[^'\"]+", "", text)
        assert not NAMES.findall(text), NAMES.findall(text)
    assert "ValueError" in html and "learner-" in html and any("learner-" in svg for svg in pictures(html))


def test_pseudonyms_are_stable_and_their_order_tells_nothing(named):
    report, lab = named.gather(hide_names=True)
    seed = classroom.seed(named.folder)
    order = [line.student for line in lab.students]
    assert order == sorted(pseudonym(name, seed) for name in ("ada.l", "bentham", "zoe", "yan", "zed"))
    assert named.gather(hide_names=True)[1] == lab
    (named.folder / classroom.SEED).write_text(f"{seed ^ 1:032x}\n")
    assert not set(order) & {line.student for line in named.gather(hide_names=True)[1].students}
    assert not report.folder and all(not line.first and not line.last for line in lab.students)


def test_words_of_one_learner_are_cut_and_shared_ones_stay():
    names = Names([Person("ada", "Ada"), Person("x", "Xi")], seed=1)
    assert names.hide("ada's adamant x", "ada") == f"{HIDDEN}'s {HIDDEN}mant x"
    assert names.hide("ada's adamant x") == f"{HIDDEN}'s adamant x"
    assert Names([Person("ada")]).hide("ada") == "ada"


def test_pseudonyms_of_a_large_class_differ():
    assert len({pseudonym(f"student{k}", 5) for k in range(10_000)}) == 10_000


# The page ------------------------------------------------------------------------------------------------------------

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_one_name_alone_stands_without_a_gap(room):
    room.add("ida", "Ida", folder=False, marks=False, verdict=False)
    room.add("ole", "", "Olsen", folder=False, marks=False, verdict=False)
    html = page(room.gather()[0])
    assert "ida (Ida)" in html and "ole (Olsen)" in html


def test_markup_is_text(room):
    room.add("<b>ada", MARKUP, '"onload="x', notes=(MARKUP,), flags=(Flag("odd", "a", MARKUP),),
             cells=(CellError("cell 1", "RAISED", MARKUP),),
             failed={"truncate": [check("truncate", "RAISED", got=MARKUP, title=MARKUP),
                                  check("truncate", "WRONG", MARKUP, MARKUP)]})  # fmt: skip
    room.add("$\\frac$", verdict=False)
    report, _ = room.gather()
    text = page(report, "<i>.csv")
    found = Page(text)
    assert not found.of("script") and not found.of("b") and not found.of("i")
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in found.of("img"))
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert MARKUP in " ".join(found.text)
    for svg in pictures(text):
        assert not Page(svg).of("script") and not Page(svg).of("b")


def test_the_page_needs_nothing_from_outside_and_reads_without_eyes(named):
    report, _ = named.gather()
    text = page(report, "report.csv")
    found = Page(text)
    links = [attributes.get(key, "") for _, attributes in found.elements for key in ("href", "src")]
    assert not [link for link in links if "//" in link] and not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    assert len(found.of("caption")) == len(found.of("table")) > 3
    assert all(cell.get("scope") in ("col", "row") for cell in found.of("th"))
    assert all(len(image["alt"]) > 20 for image in found.of("img")) and len(found.of("img")) == 3
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert ("html", {"lang": "en"}) in found.elements
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "not for handing out" in text


def test_a_large_class_has_its_marks_in_the_csv_only(room):
    with opened("sqlite:///gradebook.db", room.folder) as book:
        layout = book.layout(LAB)
        verdicts = {f"student{k:04d}": room.verdict(f"student{k:04d}", {}, network(100_000 + 137 * k, 0.1))
                    for k in range(2 * MOST_ROWS)}  # fmt: skip
        for student, verdict in verdicts.items():
            room.keep(student, verdict)
        points = {f"check_{one.name}": one.points for one in room.unit.exercises}
        book.write(layout, [Graded(student, None, points, {}) for student in verdicts], lambda *_: None)
        (room.folder / "submitted" / "student0000" / LAB).mkdir(parents=True)
    report, lab = room.gather()
    text = page(report)
    assert lab.counts[GRADED] == 2 * MOST_ROWS == len(list(csv.reader(io.StringIO(table(report))))) - 1
    assert "The marks of all 600 students are in the CSV" in text and len(text) < 400_000
    assert text.count("student0") < 2 * MOST_ROWS


# The CSV -------------------------------------------------------------------------------------------------------------


def test_csv_is_what_spreadsheets_read(room, tmp_path):
    room.due()
    room.add("=cmd()", "@SUM(A1)", "Müller, \"Ü\"", late=1, failed={"truncate": [check("truncate", "WRONG")]})
    room.add("zoe", folder=False, marks=False, verdict=False)
    output = tmp_path / "out.html"
    result = CliRunner().invoke(command, [str(room.folder), "--output", str(output), "--csv", str(tmp_path / "m.csv")])
    assert result.exit_code == 0, result.output
    data = (tmp_path / "m.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and b"\r\n" in data
    ada, zoe = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert (ada["student"], ada["first name"], ada["last name"]) == ("'=cmd()", "'@SUM(A1)", 'Müller, "Ü"')
    assert (ada[f"{LAB} points"], ada[f"{LAB} truncate"], ada[f"{LAB} penalty"]) == ("12.5", "0", "1.5")
    assert (ada[f"{LAB} hours late"], ada[f"{LAB} first_layer layer_bytes_1"]) == ("1", "150000")
    assert (zoe[f"{LAB} state"], zoe[f"{LAB} points"], zoe[f"{LAB} first_layer bytes"]) == ("missing", "", "")


@given(st.text())
def test_no_text_becomes_a_formula(text):
    out = io.StringIO()
    csv.writer(out).writerow([harmless(text)])
    ((cell,),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert not re.match(r"[=+\-@＝＋－＠\t\r\n]", cell) and not re.match(r"[=+\-@]", cell.strip())


# Small classes and odd ones ------------------------------------------------------------------------------------------


def test_an_empty_class(room):
    report, lab = room.gather()
    assert report.students == 0 and lab.marks.count == 0 and lab.talk == ()
    assert "Nobody has handed anything in." in page(report) and not Page(page(report)).of("img")
    assert len(table(report).splitlines()) == 1


def test_one_student_and_all_missing(room):
    room.add("ada", folder=False, marks=False, verdict=False)
    report, lab = room.gather()
    assert lab.talk == (("Missing", "1 of 1 handed nothing in."),) and "Nobody has handed" in page(report)
    room.add("ben")
    report, lab = room.gather()
    assert (lab.marks.median, lab.marks.lower, lab.marks.upper) == (16.0, 16.0, 16.0)
    assert "One submission has 16 of 16 points." in page(report)


def test_all_well_says_so(room):
    room.add("ada")
    _, lab = room.gather()
    assert [head for head, _ in lab.talk] == ["All well"]


def test_verdicts_that_cannot_be_read_leave_the_marks(room):
    made = room.add("ada")
    path = room.folder / "verdicts" / LAB / f"{made.key}.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"a field of tomorrow": 1}))
    report, lab = room.gather()
    assert lab.students[0].points == 16 and not lab.exercises[0].counts
    assert any("can't be read" in note for note in lab.notes) and "can't be read" in " ".join(Page(page(report)).text
                                                                                                  ).replace("’", "'")


def test_marks_without_verdicts_and_untrusted_and_older_ones_are_said(room):
    room.add("ada", verdict=False)
    room.add("ben", isolation="process")
    made = room.add("cleo")
    room.keep("cleo", replace(made, exercises=made.exercises[1:]))
    _, lab = room.gather()
    said = " ".join(lab.notes)
    assert "1 submission graded by stock nbgrader" in said and "without a sandbox" in said
    assert "1 submission graded for other exercises" in said
    assert lab.marks.count == 3 and {one.judged for one in lab.exercises} == {1, 2}


def test_other_limits_than_the_verdict_was_made_under(room):
    room.add("ada")
    toml = room.folder / "classroom.toml"
    toml.write_text(re.sub(r"# layer_bytes_1 = .*", "layer_bytes_1 = { at_most = 100000 }", toml.read_text()))
    _, lab = room.gather()
    assert lab.budgets[0].size_limit == 100_000 and lab.budgets[0].networks[0].size == 150_000


def test_what_is_no_classroom_or_unit_is_wrong_use(room, tmp_path):
    with pytest.raises(WrongUse, match="nutshell classroom"):
        gather(tmp_path / "nowhere")
    with pytest.raises(WrongUse, match="counting"):
        gather(room.folder, "counting")
    result = CliRunner().invoke(command, [str(room.folder), "--output", str(tmp_path / "no" / "out.html")])
    assert isinstance(result.exception, WrongUse) and "out.html can't be written" in str(result.exception)
    assert issubclass(WrongUse, Exception) and not issubclass(WrongUse, Refused)


def test_json_is_one_object_and_nothing_else(room):
    room.add("ada")
    result = CliRunner().invoke(command, [str(room.folder), "--assignment", "low_rank", "--json"])
    data = json.loads(result.stdout)
    assert [lab["name"] for lab in data["labs"]] == ["low_rank"] and data["labs"][0]["students"][0]["points"] == 16
    assert (room.folder / "report.html").is_file() and (room.folder / "report.csv").is_file()
    assert not list(room.folder.glob("*.unfinished"))


@given(st.lists(st.floats(0, 16), min_size=1, max_size=30))
def test_distribution_lies_where_the_marks_do(marks):
    found = distribution(marks, 16)
    assert found.lowest <= found.lower <= found.median <= found.upper <= found.highest
    assert found.median == pytest.approx(statistics.median(marks)) and found.count == len(marks)
