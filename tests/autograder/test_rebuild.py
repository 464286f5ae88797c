"""A learner's notebook put together again: what runs, what formgrader shows, whatever was done to it."""

import json
from collections.abc import Callable
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder import intake, rebuild
from autograder.pieces import rebuilt
from autograder.placing import places
from autograder.released import CHECK, GIVEN, SOLUTION, Lab, LabCell
from autograder.units import Source
from autograder.verdicts import Submission
from tests.autograder import released_lab
from tests.autograder.released_lab import changed, code, filled_in, hand_in, markdown, name_of

RELAXED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
UNTOUCHED = ["given_1", "solution_half", "solution_clip_at", "given_2"]


@pytest.fixture
def lab(tiny: Callable[..., Source], tmp_path: Path) -> Lab:
    return released_lab.write_classroom(tmp_path, tiny())


@pytest.fixture
def cells(lab: Lab, tmp_path: Path) -> list[dict[str, Any]]:
    return filled_in(tmp_path)


@pytest.fixture
def read(lab: Lab, tmp_path: Path) -> Callable[[list[dict[str, Any]]], Submission]:
    def handed_in(cells: list[dict[str, Any]]) -> Submission:
        hand_in(tmp_path, cells)
        return intake.read(tmp_path, lab, "ada")

    return handed_in


Cells = list[dict[str, Any]]
Read = Callable[[Cells], Submission]


def names(submission: Submission) -> list[str]:
    return [cell.name for cell in submission.cells]


def index(cells: Cells, name: str) -> int:
    return next(number for number, cell in enumerate(cells) if name_of(cell) == name)


def without(cells: Cells, *gone: str) -> Cells:
    return [cell for cell in cells if name_of(cell) not in gone]


def moved(cells: Cells, name: str, to: int) -> Cells:
    rest = without(cells, name)
    return [*rest[:to], cells[index(cells, name)], *rest[to:]]


def test_an_untouched_notebook_is_as_it_was(lab: Lab, cells: Cells, read: Read) -> None:
    submission = read(cells)
    assert names(submission) == UNTOUCHED
    assert submission.notes == ()
    assert [cell.source for cell in submission.cells][1:3] == list(released_lab.ANSWERS.values())
    pieces, _ = rebuilt(lab, submission.notebook["cells"])
    assert [piece.number for piece in pieces] == list(range(1, len(cells) + 1))


@pytest.mark.parametrize("name", ["given_1", "given_2", "check_half"])
@pytest.mark.parametrize("to", [0, 3, 7, 99])
def test_a_moved_cell_is_back_in_its_place(lab: Lab, cells: Cells, read: Read, name: str, to: int) -> None:
    submission = read(moved(cells, name, to))
    assert names(submission) == UNTOUCHED
    pieces, notes = rebuilt(lab, submission.notebook["cells"])
    named = [piece.name for piece in pieces if piece.released]
    assert named == [cell.name for cell in lab.named]
    assert not notes or f"{name} had been moved" in notes[0]


@pytest.mark.parametrize("name", ["given_1", "given_2", "check_half", "check_clip_at"])
def test_a_deleted_cell_is_put_back(lab: Lab, cells: Cells, read: Read, name: str) -> None:
    submission = read(without(cells, name))
    assert names(submission) == UNTOUCHED
    assert [cell.source for cell in submission.cells] == [cell.source for cell in read(cells).cells]
    kind = "given" if name.startswith("given") else "check"
    assert submission.notes == (f"the {kind} cell {name} was missing; it is put back",)


def test_a_deleted_solution_stays_deleted_and_its_definition_elsewhere_runs(cells: Cells, read: Read) -> None:
    own = code("def half(x):\n    return 0.5 * x")
    submission = read([*without(cells, "solution_half"), own])
    assert names(submission) == ["given_1", "solution_clip_at", "given_2", f"cell {len(cells)}"]
    assert submission.notes == ("the solution cell solution_half is missing",)


def test_a_given_cell_that_may_need_a_deleted_solution_waits_for_its_definition(cells: Cells, read: Read) -> None:
    rest = without(cells, "solution_clip_at", "check_clip_at", "given_2")
    submission = read([*rest, code("clip_at = np.minimum")])
    assert names(submission)[-1] == "given_2"


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: cell.update(source="check = print"),
        lambda cell: cell["metadata"]["nbgrader"].update(points=500),
        lambda cell: cell["metadata"]["nbgrader"].update(grade=False),
        lambda cell: cell["metadata"]["nbgrader"].update(grade=False, solution=True, locked=False),
        lambda cell: cell["metadata"]["nbgrader"].update(points=float("nan"), task=True),
    ],
)
def test_a_changed_check_cell_counts_as_released(cells: Cells, read: Read, lab: Lab, change: Callable) -> None:
    submission = read(changed(cells, "check_half", change))
    assert names(submission) == UNTOUCHED
    assert len(submission.notes) == 1 and "check_half" in submission.notes[0]
    shown = json.loads(rebuild.for_formgrader(lab, submission, {}))["cells"]
    check = shown[index(shown, "check_half")]
    assert (check["source"], check["metadata"]["nbgrader"]["points"]) == ('check("half")', 2)
    assert check["metadata"]["nbgrader"]["grade"] is True


def test_a_changed_given_cell_runs_as_released(cells: Cells, read: Read, lab: Lab) -> None:
    submission = read(changed(cells, "given_1", lambda cell: cell.update(source="import evil")))
    assert submission.cells[0].source == lab.named[0].source
    assert submission.notes == ("the text of given_1 had been changed; it counts as released",)


def test_the_first_of_two_cells_with_one_name_counts_as_that_cell(cells: Cells, read: Read) -> None:
    again = changed(cells, "solution_half", lambda cell: cell.update(source="half = None"))[
        index(cells, "solution_half")
    ]
    submission = read([*cells, again])
    assert names(submission) == [*UNTOUCHED, f"cell {len(cells) + 1}"]
    assert submission.cells[1].source == released_lab.ANSWERS["solution_half"]
    assert submission.notes == (f"cell {len(cells) + 1} is a second solution_half; it counts as an added cell",)


def test_no_copy_of_a_check_cell_runs(cells: Cells, read: Read) -> None:
    copies = [cells[index(cells, "check_half")], code(' check("half")\n'), code('x = check("half")')]
    submission = read([*cells, *copies])
    assert names(submission) == [*UNTOUCHED, f"cell {len(cells) + 3}"]


@pytest.mark.parametrize("name", ["../x", "half", "", 3, None, ["a"], "x" * 10_000])
def test_a_renamed_cell_runs_as_an_added_one(cells: Cells, read: Read, name: Any) -> None:
    renamed = changed(cells, "solution_half", lambda cell: cell["metadata"]["nbgrader"].update(grade_id=name))
    submission = read(renamed)
    assert names(submission) == ["given_1", f"cell {index(cells, 'solution_half') + 1}", "solution_clip_at", "given_2"]
    assert all(len(note) < 200 for note in submission.notes)


def test_markdown_under_the_name_of_a_code_cell_is_no_code(cells: Cells, read: Read) -> None:
    disguised = changed(cells, "solution_half", lambda cell: cell.update(cell_type="markdown"))
    disguised = changed(disguised, "given_1", lambda cell: cell.update(cell_type="raw"))
    submission = read(disguised)
    assert names(submission) == ["given_1", "solution_clip_at", "given_2"]
    assert any("is named solution_half but is a 'markdown' cell" in note for note in submission.notes)


def test_experiments_are_left_out_also_the_learner_s(cells: Cells, read: Read) -> None:
    submission = read([*cells, code("\n  %%experiment\nlong()"), code("x = '%%experiment'")])
    assert names(submission) == [*UNTOUCHED, f"cell {len(cells) + 2}"]


def test_the_digest_is_of_what_is_run_shown_and_beside_it(cells: Cells, read: Read, tmp_path: Path) -> None:
    before = read(cells).digest
    saved = changed(cells, "solution_half", lambda cell: cell.update(outputs=[{"text": "new"}], execution_count=7))
    assert read(saved).digest == before
    digests = {before, read([*cells, markdown("a thought")]).digest, read([*cells, code("x = 1")]).digest}
    place = hand_in(tmp_path, cells)
    (place / "helper.py").write_bytes(b"a")
    digests.add(read(cells).digest)
    (place / "helper.py").rename(place / "helpers.py")
    digests.add(read(cells).digest)
    assert len(digests) == 5


def test_notes_stay_few(cells: Cells, read: Read) -> None:
    notes = read([*cells, *[deepcopy(cells[index(cells, "solution_half")]) for _ in range(500)]]).notes
    assert len(notes) == 30 and notes[-1] == "and 471 more of that kind"


# ---- whatever is done to a released notebook


def edits() -> st.SearchStrategy[list[tuple]]:
    place, name = (
        st.integers(0, 30),
        st.sampled_from(["given_1", "given_2", "check_half", "solution_half", "other", ""]),
    )
    setting = st.sampled_from(
        [("grade", False), ("points", 500), ("locked", False), ("solution", True), ("task", True)]
    )
    text = st.sampled_from(["x = 1", 'check("half")', "%%experiment\ny", "", "half = 3"])
    return st.lists(
        st.one_of(
            st.tuples(st.just("delete"), place),
            st.tuples(st.just("duplicate"), place, place),
            st.tuples(st.just("move"), place, place),
            st.tuples(st.just("rename"), place, name),
            st.tuples(st.just("retag"), place, setting),
            st.tuples(st.just("rewrite"), place, text),
            st.tuples(st.just("insert"), place, text),
            st.tuples(st.just("turn"), place, st.sampled_from(["code", "markdown", "raw", "odd"])),
        ),
        max_size=12,
    )


def edited(cells: Cells, changes: list[tuple]) -> Cells:
    cells = deepcopy(cells)
    for what, place, *more in changes:
        if what == "insert":
            cells.insert(place % (len(cells) + 1), code(more[0]))
        elif cells:
            at = place % len(cells)
            cell = cells[at]
            if what == "delete":
                del cells[at]
            elif what == "duplicate":
                cells.insert(more[0] % (len(cells) + 1), deepcopy(cell))
            elif what == "move":
                del cells[at]
                cells.insert(more[0] % (len(cells) + 1), cell)
            elif what == "rename":
                cell["metadata"].setdefault("nbgrader", {})["grade_id"] = more[0]
            elif what == "retag":
                cell["metadata"].setdefault("nbgrader", {})[more[0][0]] = more[0][1]
            elif what == "rewrite":
                cell["source"] = more[0]
            else:
                cell["cell_type"] = more[0]
    return cells


def expected_own(cells: Cells) -> list[str]:
    """The texts of the learner's own cells that must run, found without the code under test."""
    taken: set[str] = set()
    own = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        name, text = name_of(cell), cell["source"]
        first = name not in taken
        taken.add(name)
        if first and name in ("given_1", "given_2", "check_half", "check_clip_at"):
            continue
        solution = first and name in ("solution_half", "solution_clip_at")
        copy = text.strip() in ('check("half")', 'check("clip_at")') and not solution
        if not copy and text.split()[:1] != ["%%experiment"]:
            own.append(text)
    return own


@RELAXED
@given(changes=edits())
def test_whatever_is_edited_given_cells_run_as_released_checks_never_and_the_rest_in_order(
    lab: Lab, cells: Cells, read: Read, changes: list[tuple]
) -> None:
    now = edited(cells, changes)
    submission = read(now)
    released = [(cell.name, cell.source) for cell in lab.named if cell.kind == GIVEN]
    assert [(cell.name, cell.source) for cell in submission.cells if cell.name.startswith("given_")] == released
    assert [cell.source for cell in submission.cells if not cell.name.startswith("given_")] == expected_own(now)
    solutions = [number for number, name in enumerate(names(submission)) if name.startswith("solution_")]
    assert names(submission).index("given_1") < min(solutions, default=len(submission.cells))
    assert len(set(names(submission))) == len(submission.cells)


@RELAXED
@given(changes=edits())
def test_whatever_is_edited_formgrader_finds_a_valid_notebook_with_every_named_cell_once(
    lab: Lab, cells: Cells, read: Read, changes: list[tuple]
) -> None:
    submission = read(edited(cells, changes))
    content = rebuild.for_formgrader(lab, submission, {}).decode()
    ids = [cell["id"] for cell in json.loads(content)["cells"]]
    assert len(set(ids)) == len(ids)
    notebook = nbformat.reads(content, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    shown = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert sorted(name_of(cell) for cell in shown) == sorted(cell.name for cell in lab.named)
    marks = {cell.name: cell.content["metadata"]["nbgrader"] for cell in lab.named}
    assert all(cell.metadata["nbgrader"] == marks[name_of(cell)] for cell in shown)
    checks = [cell for cell in shown if name_of(cell).startswith("check_")]
    assert all(cell.source == f'check("{name_of(cell).removeprefix("check_")}")' for cell in checks)


def made_up_lab(kinds: list[str]) -> list[LabCell]:
    return [LabCell(f"{kind}_{number}", kind, "code", "", {}) for number, kind in enumerate(kinds)]


@settings(deadline=None, max_examples=300)
@given(data=st.data(), kinds=st.lists(st.sampled_from([GIVEN, SOLUTION, CHECK]), min_size=1, max_size=10))
def test_given_and_check_cells_find_back_wherever_they_were_put(data: st.DataObject, kinds: list[str]) -> None:
    """Solutions and added cells stay as they are; the others are deleted or moved at random."""
    named = made_up_lab(kinds)
    order: list[str | None] = [cell.name for cell in named if cell.kind == SOLUTION]
    for _ in range(data.draw(st.integers(0, 4))):
        order.insert(data.draw(st.integers(0, len(order))), None)
    for cell in named:
        if cell.kind != SOLUTION and data.draw(st.booleans()):
            order.insert(data.draw(st.integers(0, len(order))), cell.name)
    fixed = {cell.name for cell in named if cell.kind != SOLUTION}
    first = {name: number for number, name in enumerate(order) if name}
    own = [number for number, name in enumerate(order) if name not in fixed]
    where = places(named, first, own)
    result = [
        name
        for place in range(len(own) + 1)
        for name in (
            *(cell.name for cell in named if where.get(cell.name) == place),
            *(order[i] for i in own[place:][:1]),
        )
    ]
    assert [name for name in result if name] == [cell.name for cell in named]


@pytest.mark.parametrize(
    ("kinds", "order", "given_at"),
    [
        # of two given cells that changed places, the earlier place counts: what they define is there for added cells
        ([GIVEN, GIVEN], [None, 1, None, 0], [1, 1]),
        # a missing one follows the one before it, and moves no other
        ([GIVEN, GIVEN], [None, None, 0, None], [2, 2]),
        ([GIVEN, GIVEN, GIVEN], [None, 0, None, 2], [1, 1, 2]),
        # one solution that was moved doesn't count among three that weren't
        ([SOLUTION, SOLUTION, SOLUTION, GIVEN, SOLUTION], [2, 0, 1, 4, 3], [3]),
        # nothing comes before what the lab begins with
        ([GIVEN, SOLUTION, GIVEN, SOLUTION], [3, 0, 1, 2], [0, 2]),
    ],
)
def test_given_cells_stand_where_their_neighbours_need_them(
    kinds: list[str], order: list[int | None], given_at: list[int]
) -> None:
    named = made_up_lab(kinds)
    fixed = [number for number, kind in enumerate(kinds) if kind == GIVEN]
    first = {named[number].name: at for at, number in enumerate(order) if number is not None}
    own = [at for at, number in enumerate(order) if number not in fixed]
    assert places(named, first, own) == {named[number].name: at for number, at in zip(fixed, given_at, strict=True)}


# ---- what formgrader shows


def test_formgrader_s_copy_holds_feedback_and_the_learner_s_text_and_no_saved_output(
    lab: Lab, cells: Cells, read: Read
) -> None:
    loud = {"output_type": "stream", "name": "stdout", "text": "forged: 100 points"}
    saved = changed(cells, "check_half", lambda cell: cell.update(outputs=[loud]))
    submission = read([*saved, code("extra = 1", outputs=[loud])])
    html = "<style>td {}</style><table><tr><td>expected</td><td>1 &lt; 2</td></tr></table><p>next</p>"
    content = rebuild.for_formgrader(lab, submission, {"check_half": html})
    assert b"forged" not in content
    shown = json.loads(content)["cells"]
    assert shown[index(shown, "check_half")]["outputs"] == [
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"text/html": html, "text/plain": "expected\t1 < 2\nnext"},
        }
    ]
    assert shown[index(shown, "solution_half")]["source"] == released_lab.ANSWERS["solution_half"]
    assert shown[-1]["source"] == "extra = 1" and shown[-1]["metadata"] == {}


def test_a_deleted_solution_is_an_empty_cell_that_says_so(lab: Lab, cells: Cells, read: Read) -> None:
    shown = json.loads(rebuild.for_formgrader(lab, read(without(cells, "solution_half")), {}))["cells"]
    at = index(shown, "solution_half")
    assert shown[at]["source"].startswith("# This cell was deleted.")
    assert at + 1 == index(shown, "check_half")


def test_a_refused_submission_is_shown_as_unread(lab: Lab) -> None:
    refused = Submission("ada", lab.assignment, (), {}, {}, "")
    shown = json.loads(rebuild.for_formgrader(lab, refused, {}))["cells"]
    assert "was refused" in shown[index(shown, "solution_half")]["source"]


def test_only_changed_text_is_shown_as_typed(lab: Lab, cells: Cells, read: Read) -> None:
    shown = json.loads(rebuild.for_formgrader(lab, read([*cells, markdown("**mine**")]), {}))["cells"]
    assert [cell["source"] for cell in shown if cell["source"].startswith("# ")] == ["# Tiny"]
    assert shown[-1]["source"] == "&#42;&#42;mine&#42;&#42;"


def test_a_huge_cell_is_cut_for_showing(lab: Lab, cells: Cells, read: Read) -> None:
    submission = read([*cells, code("x" * 300_000)])
    assert len(submission.cells[-1].source) == 300_000
    shown = json.loads(rebuild.for_formgrader(lab, submission, {}))["cells"][-1]["source"]
    assert len(shown) < 100_200 and "200,000 characters more" in shown


class Tags(HTMLParser):
    """The tags, their attributes, and the words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click][1]\n\n[1]: java&#115;cript:alert(1)",
    "<javascript:alert(1)>",
    "![x](attachment:none.png)",
    "```mermaid\n</pre><script>alert(1)</script>\n```",
    "# <svg/onload=alert(1)>",
    "$$</p><script>alert(1)</script>$$",
    "    <script>alert(1)</script>",
    "| a |\n|---|\n| <script>alert(1)</script> |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\<script>alert(1)\\</script>",
    "`<script>`<script>alert(1)</script>",
    'https://example.org/"onmouseover=alert(1)',
    "term\n: <iframe src=javascript:alert(1)>",
    "<!-- --><style>body {display: none}</style>",
]


@settings(deadline=None, max_examples=300)
@given(
    text=st.lists(
        st.sampled_from(
            [*MARKUP, "a", " ", "\n", "\t", "1. ", "- ", "> ", "`", "~~~", "$", "\\", "<b>", "&", "\0", "\r", "é"]
        )
    ).map("".join)
    | st.text()
)
def test_no_markup_of_a_learner_s_gets_into_the_page(text: str) -> None:
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    page = Tags(markdown2html_mistune(rebuild.as_typed(text)))
    assert {tag for tag, _ in page.tags} <= {"p", "br"}
    assert all(not attributes for _, attributes in page.tags)
    letters = "".join(character for character in text if character.isalnum() or character in "<>&[]()")
    assert "".join(character for character in page.words if character.isalnum() or character in "<>&[]()") == letters


@pytest.mark.parametrize("template", ["formgrade", "feedback"])
def test_nbgrader_s_pages_run_nothing_of_a_learner_s(lab: Lab, cells: Cells, read: Read, template: str) -> None:
    from nbconvert.exporters import HTMLExporter
    from nbgrader.server_extensions.formgrader import handlers
    from traitlets.config import Config

    static = Path(handlers.static_path, "node_modules", "bootstrap", "dist", "css")
    exporter = HTMLExporter(
        template_name=template,
        extra_template_basedirs=[handlers.template_path],
        extra_template_paths=[str(static)],
        config=Config(),
    )

    def page_of(cells: Cells) -> Tags:
        notebook = nbformat.reads(rebuild.for_formgrader(lab, read(cells), {}).decode(), as_version=4)
        for cell in notebook.cells:
            cell.metadata.get("nbgrader", {})["score"] = 0
        resources = {
            "nbgrader": dict(notebook="", score=0, max_score=0, late_penalty=0),
            "base_url": "",
            "index": 0,
            "total": 1,
            "submission_id": "",
            "notebook_id": "",
            "assignment_id": "",
            "student": "",
            "notebook_path": "",
            "first_name": "",
            "last_name": "",
        }
        return Tags(exporter.from_notebook_node(notebook, resources)[0])

    evil = {"tags": ['"><script>alert(1)</script>'], "raw_mimetype": "text/html"}
    hostile = [markdown(text, metadata=evil, id='a"><script>') for text in MARKUP]
    hostile += [markdown(text, cell_type="raw", metadata=evil) for text in MARKUP]
    hostile += [code(f"%%html\n{text}", metadata=evil) for text in MARKUP]
    before, after = page_of(cells), page_of([*cells, *hostile])
    assert "alert(1)" in after.words

    def active(page: Tags) -> list[str]:
        found = [tag for tag, _ in page.tags if tag in ("script", "iframe", "svg", "style")]
        attributes = [(key, value or "") for _, found in page.tags for key, value in found.items()]
        return found + [key for key, value in attributes if key.startswith("on") or "javascript:" in value.lower()]

    assert active(after) == active(before)
