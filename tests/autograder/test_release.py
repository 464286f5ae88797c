"""Release: refusals, byte-for-byte labs, what is stale, and nothing secret in what learners get."""

import ast
import json

import nbformat
import pytest
from click.testing import CliRunner

from autograder import units
from autograder.commands.release import release
from autograder.desk_half import public_checks
from autograder.notebooks import source_notebook
from autograder.release import build_lab, course_root, expected_files, stale, superfluous, write
from autograder.stubs import BEGIN, END
from autograder.trial import over_the_wire, try_reference
from nutshell.checks import checks_of
from nutshell.errors import NutshellError, Refused
from nutshell.wire import desk
from nutshell.wire.running import Replies, run_checks

NAMES = units.names()


@pytest.fixture(scope="module")
def labs():
    return {name: build_lab(units.load(name)) for name in NAMES}


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (dict(checks=("2 * learner.half(x), x", "x, x")), "a blank notebook scores: half passes half_is_half"),
        (
            dict(reference=("0.5 * x", "0.51 * x")),
            "doesn't score full: half fails half_is_half|fails its own public checks",
        ),
        (dict(checks=("reference.half(x)", "x")), "doesn't score full: half fails half_of_large_numbers"),
        (dict(lab=("progress()", "half(np.ones(2))\nprogress(undefined)")), "cell given_2 raises NameError"),
        (dict(checks=("import numpy as np\n", "import numpy as np\nimport no_such_module\n")), "no_such_module"),
    ],
)
def test_labs_that_are_not_fit_to_be_handed_out_are_refused(tiny, replaced, said):
    with pytest.raises((Refused, ModuleNotFoundError), match=said):
        build_lab(tiny(**replaced))


def test_a_reference_whose_examples_are_wrong_is_refused(tiny):
    example = ">>> half(np.ones(1))\n    array([{}])"
    try_reference(tiny(reference=("Any shape.\n", f"Any shape.\n\n    {example.format('0.5')}\n")))
    with pytest.raises(Refused, match=r"(?s)half is wrong.*Expected:\s+array\(\[9\.\]\)"):
        try_reference(tiny(reference=("Any shape.\n", f"Any shape.\n\n    {example.format('9.')}\n")))


def test_a_wrong_reference_is_refused_by_the_right_answers(monkeypatch):
    source = units.load("low_rank")
    real = source.reference.compression_rate
    monkeypatch.setattr(source.reference, "compression_rate", lambda m, n, k, absorbed=False: real(m, n, k, True))
    with pytest.raises(Refused, match="a right answer to compression_rate"):
        try_reference(source)


def test_the_same_bytes_every_time(tiny):
    assert build_lab(tiny()) == build_lab(tiny())


def test_desk_half_runs_without_the_reference(tiny, tmp_path):
    source = tiny()
    for name, content in build_lab(source).files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    opened = desk.load(tmp_path)
    assert opened.unit == source.unit
    right = over_the_wire(vars(source.reference))
    for exercise in opened.unit.exercises:
        verdicts = opened.judge(exercise, right)
        assert verdicts and all(verdict.passed and not verdict.hidden for verdict in verdicts)
    wrong = over_the_wire({"clip_at": lambda x, limit: x})
    assert not any(verdict.passed for verdict in opened.judge(opened.unit.exercise("clip_at"), wrong))


def test_public_checks_have_what_they_need_and_nothing_hidden(tiny):
    text = public_checks(tiny().checks_text)
    assert "SIZES = (1, 4)" in text and "half_is_half" in text and "clip_refuses" in text
    assert "half_of_large_numbers" not in text and "12345" not in text and "Unit(" not in text
    assert list(map(type, ast.parse(text).body[1:4])) == [ast.Import, ast.ImportFrom, ast.ImportFrom]


def test_a_public_check_that_needs_a_hidden_one_is_refused(tiny):
    source = tiny(checks=("for size in SIZES:", "for size in half_of_large_numbers:"))
    with pytest.raises(Refused, match="half_of_large_numbers"):
        public_checks(source.checks_text)


def test_replies_recorded_elsewhere_are_kept_while_they_serve(tiny, tmp_path):
    source = tiny()
    first = build_lab(source).files["desk/replies.bin"]
    (tmp_path / "desk").mkdir()
    kept = tmp_path / "desk" / "replies.bin"
    other = build_lab(tiny(reference=("np.minimum(x, limit)", "np.minimum(x, limit) * (1 + 1e-12)")))
    assert other.files["desk/replies.bin"] != first  # as if another machine had rounded differently
    kept.write_bytes(other.files["desk/replies.bin"])
    assert build_lab(tiny(), folder=tmp_path).files["desk/replies.bin"] == kept.read_bytes()
    for damaged in (first[:-3], b"", first + b"x"):
        kept.write_bytes(damaged)
        assert build_lab(tiny(), folder=tmp_path).files["desk/replies.bin"] == first
    other = tiny(checks=("reference.clip_at(x, 0.25)", "reference.clip_at(x, 0.5)"))
    kept.write_bytes(first)
    with pytest.raises(Refused):  # the answer to another question no longer serves, and the check is wrong now too
        build_lab(other, folder=tmp_path)


def test_stale_missing_and_superfluous_files_are_named_and_edits_are_not_overwritten(tiny, tmp_path):
    root = tmp_path / "course-root"
    (root / "course" / "text").mkdir(parents=True)
    (root / "course" / "text" / "01_tiny.md").write_text("# Tiny\n\n```{code-cell} ipython3\n1 + 1\n```\n")
    files = expected_files([tiny()], root)
    assert [str(path) for path in files][-1] == "course/01_tiny.ipynb"
    assert all(line.startswith("missing: ") for line in stale(files, root))
    assert sorted(write(files, root)) == sorted(files) and write(files, root) == [] and not list(stale(files, root))

    lab = root / "labs" / "01_tiny"
    (lab / "extra.txt").write_text("x")
    (lab / ".ipynb_checkpoints").mkdir()
    (lab / ".ipynb_checkpoints" / "a.ipynb").write_text("{}")
    (lab / "desk" / "unit.json").unlink()
    notebook = nbformat.read(lab / "01_tiny.ipynb", as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]
    nbformat.write(notebook, lab / "01_tiny.ipynb")
    assert set(stale(files, root)) == {
        "missing: labs/01_tiny/desk/unit.json",
        "superfluous: labs/01_tiny/extra.txt",
        "stale: labs/01_tiny/01_tiny.ipynb (holds outputs)",
    }
    assert [str(path) for path in superfluous(files, root)] == ["labs/01_tiny/extra.txt"]
    assert len(write(files, root)) == 2  # a notebook that was only run is no work of anybody's

    notebook.cells[3].source += "\n# my work"
    nbformat.write(notebook, lab / "01_tiny.ipynb")
    assert "stale: labs/01_tiny/01_tiny.ipynb (edited by hand)" in set(stale(files, root))
    (lab / "desk" / "unit.json").unlink()
    for text in (None, "no notebook at all", "{}"):
        if text is not None:
            (lab / "01_tiny.ipynb").write_text(text)
        with pytest.raises(Refused, match=r"labs/01_tiny/01_tiny.ipynb was edited by hand.*mv .* my_labs/"):
            write(files, root)
    assert not (lab / "desk" / "unit.json").exists()  # nothing at all was written


def test_command_writes_checks_and_says_what_is_stale(tiny, tmp_path, monkeypatch):
    tiny()
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    missing = run(release, ["--check"])
    assert missing.exit_code == 1 and "missing: labs/01_tiny/01_tiny.ipynb" in missing.output
    assert run(release, ["tiny"]).exit_code == 0
    current = run(release, ["--check"])
    assert current.exit_code == 0 and "4 files are up to date" in current.output
    (tmp_path / "labs" / "99_gone").mkdir()
    odd = run(release, ["--check", "--json"])
    assert odd.exit_code == 1 and json.loads(odd.output) == {"stale": ["superfluous: labs/99_gone"]}
    unknown = run(release, ["tyni"])
    assert isinstance(unknown.exception, NutshellError) and "Choose from: tiny" in str(unknown.exception)


@pytest.mark.parametrize("name", NAMES)
def test_no_solution_and_no_hidden_check_in_what_learners_get(name, labs):
    source, lab = units.load(name), labs[name]
    notebook = nbformat.reads(lab.files[f"{lab.unit.folder}.ipynb"].decode(), as_version=4)
    desk_half = {name: content.decode("utf-8", "replace") for name, content in lab.files.items() if "desk/" in name}
    public = "\n".join(text for name, text in desk_half.items() if name.endswith(".py"))
    assert {name.rpartition("/")[2] for name in desk_half} == {"unit.json", "public_checks.py", "replies.bin"}
    text = "\n".join([*(cell.source for cell in notebook.cells), *desk_half.values()])
    for cell in source_notebook(source).cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            for body in cell.source.split(BEGIN)[1:]:
                body = body.split(END)[0].strip()
                assert body and body not in text, f"the solution of {cell.metadata.nbgrader.grade_id} is in the lab"
    homes = (source, *source.lenders().values())
    hidden = [check for home in homes for check in checks_of(home.checks) if check.hidden]
    assert hidden
    for check in hidden:
        assert check.name not in text and check.title not in text, f"the hidden check {check.name} is in the lab"
    assert "grade_here" not in text and "autograder" not in text and "solutions" not in public


@pytest.mark.parametrize("name", NAMES)
def test_recorded_replies_serve_the_public_checks(name, labs):
    source, lab = units.load(name), labs[name]
    verdicts = []
    for exercise in source.unit.exercises:
        home, folder = source.home(exercise.name), f"desk/{exercise.unit}/" if exercise.unit else "desk/"
        public = [check for check in home.public_checks() if check.exercise == exercise.name]
        learner = over_the_wire(vars(home.reference))
        verdicts += run_checks(public, learner, Replies(lab.files[f"{folder}replies.bin"]), 0, authoring=True)
    assert {verdict.exercise for verdict in verdicts} == {exercise.name for exercise in source.unit.exercises}
    assert all(verdict.passed for verdict in verdicts)


def test_committed_labs_and_lessons_are_up_to_date(labs):
    root = course_root()
    files = expected_files([units.load(name) for name in NAMES], root)
    assert list(stale(files, root)) == []
    for path in files:
        if path.suffix == ".ipynb":
            cells = nbformat.read(root / path, as_version=4).cells
            assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), (
                f"{path} holds outputs"
            )
