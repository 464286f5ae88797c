"""What learners get: everything they need, no solution and no hidden check, the same bytes every time."""

import ast
import json
import re
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from autograder import bundle as bundles
from autograder import units
from autograder.commands.bundle import bundle as command
from autograder.release import course_root
from nutshell.checks import checks_of
from nutshell.errors import Refused

COURSE = course_root()
SOURCES = [units.load(name) for name in units.names()]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Both archives, made by the command; names in them without the folder that they begin with."""
    place = tmp_path_factory.mktemp("bundles")
    made = {}
    for name, options in (("learners", []), ("alone", ["--solutions"])):
        done = CliRunner().invoke(command, [str(place / f"{name}.zip"), "--json", *options], catch_exceptions=False)
        assert done.exit_code == 0 and json.loads(done.stdout)["bytes"] == (place / f"{name}.zip").stat().st_size
        made[name] = texts(place / f"{name}.zip")
    return made


def texts(path):
    found = {}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            folder, _, inner = name.partition("/")
            assert folder == bundles.ROOT and inner and ".." not in inner
            text = archive.read(name).decode("utf-8", "replace")
            if name.endswith(".ipynb"):
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            found[inner] = text
    return found


def squeezed(text):
    return " ".join(text.split())


def bodies(source):
    """The code of each solution, as plain text."""
    own = {one.name for one in source.unit.exercises if not one.unit}
    for node in ast.parse(source.reference_text).body:
        if getattr(node, "name", "") in own:
            functions = [node] if isinstance(node, ast.FunctionDef) else [n for n in node.body if hasattr(n, "body")]
            for function in functions:
                lines = source.reference_text.splitlines()
                code = function.body[1:] if ast.get_docstring(function) else function.body
                yield function.name, "\n".join(lines[code[0].lineno - 1 : function.end_lineno])


def test_learners_get_lessons_labs_and_the_toolkit(packed):
    names = set(packed["learners"])
    assert {"README.md", "LICENSE", "start.py", "pyproject.toml", "constraints.txt", "nutshell/cli.py",
            "nutshell/checkpoints/lenet-300-100.safetensors", "course/03_low_rank.ipynb", "results/low_rank.json",
            "labs/03_low_rank/desk/replies.bin"} <= names  # fmt: skip
    assert {f"labs/{source.unit.folder}/{source.unit.folder}.ipynb" for source in SOURCES} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {"course", "labs", "nutshell", "results"}
    assert not any("__pycache__" in name or "my_labs" in name for name in names)


def test_every_file_that_a_lesson_reads_goes_with_it(packed):
    lessons = "\n".join(text for name, text in packed["learners"].items() if name.startswith("course/"))
    read = {*re.findall(r'results\.load\("([\w.-]+)"\)', lessons)}
    assert read and {f"results/{name}.json" for name in read} <= set(packed["learners"])
    assert {f"results/{name}" for name in re.findall(r'"([\w-]+\.nut)"', lessons)
            if (COURSE / "results" / name).is_file()} <= set(packed["learners"])  # fmt: skip


def test_no_hidden_check_is_in_what_learners_get(packed):
    hidden = [check for source in SOURCES for check in checks_of(source.checks) if check.hidden]
    assert len(hidden) > 20
    everything = "\n".join(packed["learners"].values())
    assert [check.name for check in hidden if re.search(rf"\b{check.name}\b", everything)] == []
    assert [check.title for check in hidden if check.title in everything] == []
    alone = "\n".join(packed["alone"].values())
    assert all(check.name in alone for check in hidden)  # the search finds them where they are


def test_no_solution_is_in_what_learners_get(packed):
    everything = squeezed("\n".join(packed["learners"].values()))
    alone = squeezed("\n".join(packed["alone"].values()))
    seen = 0
    for source in SOURCES:
        for name, body in bodies(source):
            if len(squeezed(body)) > 60:  # what is shorter may stand anywhere
                assert squeezed(body) not in everything, f"the solution of {name}"
                assert squeezed(body) in alone, f"the search misses {name}"
                seen += 1
    assert seen > 20
    assert "import solutions" not in everything and "from solutions" not in everything
    for word in ("BEGIN SOLUTION", "BEGIN HIDDEN", "grade_here"):
        assert word not in everything


def test_self_study_has_solved_labs_that_compile(packed):
    for source in SOURCES:
        folder = source.unit.folder
        text = packed["alone"][f"solved/{folder}/{folder}.ipynb"]
        assert "NotImplementedError(\"Write this" not in text and "BEGIN" not in text and "grade_here" not in text
        assert f"solved/{folder}/desk/unit.json" in packed["alone"]
    assert {"solutions/low_rank/reference.py", "autograder/judge.py"} <= set(packed["alone"])


def test_the_readme_has_three_commands(packed):
    for kind in packed:
        commands = re.search(r"```\n(.*?)```", packed[kind]["README.md"], re.DOTALL)[1].splitlines()
        assert len(commands) == 3 and commands[-1] == "python3 start.py lab"
    assert "unzip learners.zip" in packed["learners"]["README.md"] and "solved/" not in packed["learners"]["README.md"]


@pytest.fixture
def course(tmp_path):
    """A copy of what is packed, to spoil."""
    copied = tmp_path / "course"
    for name in ("nutshell", "labs", "course", "results"):
        shutil.copytree(COURSE / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in bundles.ALONE:
        shutil.copyfile(COURSE / name, copied / name)
    return copied


def test_the_same_files_make_the_same_bytes(course, tmp_path):
    sizes = [bundles.write(bundles.collect(course, SOURCES), tmp_path / name) for name in ("a.zip", "b.zip")]
    assert sizes[0] == sizes[1] and (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_lab_that_somebody_worked_in_is_refused(course):
    path = course / "labs" / "03_low_rank" / "03_low_rank.ipynb"
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    notebook.cells[3].source += "\n# mine"
    nbformat.write(notebook, path)
    with pytest.raises(Refused, match=r"03_low_rank\.ipynb isn't as it was released"):
        bundles.collect(course, SOURCES)


@pytest.mark.parametrize("secret", ["def truncate_any_matrix(learner", "solution"])
def test_a_secret_is_found_wherever_it_stands(course, secret):
    if secret == "solution":
        secret = dict(bodies(units.load("low_rank")))["factorise"]
    (course / "nutshell" / "leaked.py").write_text(f"# x\n{secret}\n")
    with pytest.raises(Refused, match=r"nutshell/leaked\.py holds the .*, which learners mustn't get"):
        bundles.collect(course, SOURCES)


def test_what_learners_leave_behind_is_left_out(course):
    (course / "labs" / "03_low_rank" / ".ipynb_checkpoints").mkdir()
    (course / "labs" / "03_low_rank" / ".ipynb_checkpoints" / "x.ipynb").write_text("{}")
    (course / "labs" / "03_low_rank" / "desk" / "progress.json").write_text("{}")
    (course / "nutshell" / "link.py").symlink_to("/etc/passwd")
    names = bundles.collect(course, SOURCES).files
    assert not any("checkpoints/x" in name or "progress" in name or "link.py" in name for name in names)


def test_data_are_laid_out_as_their_publisher_does(tmp_path):
    from nutshell.data import source_of
    from nutshell.data.sources import read_copy

    assert bundles.lay_out("mnist", tmp_path).startswith("Data: mnist, ")
    assert read_copy(source_of("mnist"), tmp_path / "mnist", "cache").name == "mnist"
    assert Path(tmp_path / "mnist").is_dir()
