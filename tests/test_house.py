"""The house stays in order: who may import whom, lint, types, notebooks without outputs, reasons for dependencies."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"nutshell": {"autograder", "solutions", "tests"}, "autograder": {"tests"}, "solutions": {"tests"}}
ON_THE_WIRE = {"numpy", "torch", "IPython", "traitlets", "nutshell"}  # traitlets configures IPython


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_what_stands_below_them(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert {file.name: names for file in files if (names := imported(file) & FORBIDDEN[package])} == {}


def test_only_one_module_of_the_grader_finds_the_units():
    found = {file.name for file in (ROOT / "autograder").rglob("*.py") if "solutions" in imported(file)}
    assert found <= {"units.py", "release.py"}  # by name, to list and to load them; what is graded stays data


def test_the_wire_imports_little():
    for file in (ROOT / "nutshell" / "wire").rglob("*.py"):
        assert imported(file) - set(sys.stdlib_module_names) <= ON_THE_WIRE, file.name


@pytest.mark.parametrize(
    "arguments",
    [["ruff", "check", "."], ["mypy", "nutshell", "autograder", "solutions", "start.py"]],
    ids=["ruff", "mypy"],
)
def test_lint_and_types_are_clean(arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("folder", ["course", "labs"])
def test_committed_notebooks_hold_no_outputs(folder):
    listed = subprocess.run(["git", "ls-files", f"{folder}/**.ipynb", f"{folder}/*.ipynb"], cwd=ROOT,
                            capture_output=True, text=True).stdout.splitlines()
    assert listed
    for name in listed:
        cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("attachments") for cell in cells), name


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = re.findall(r'^ +"[A-Za-z0-9_.-]+[<>=~].*$', text, re.MULTILINE)
    assert len(lines) > 15
    assert [line for line in lines if "#" not in line] == []
