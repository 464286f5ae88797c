"""start.py sets up a made-up project for real, in a folder of its own, without a network."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

START = Path(__file__).resolve().parents[1] / "start.py"
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1.0"
"""
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    files = {
        "tiny.pth": str(Path.cwd()),
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files["tiny-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in files)
    with zipfile.ZipFile(Path(folder) / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "tiny-1.0-py3-none-any.whl"

build_wheel = build_editable
"""
PROGRAM = """
import json, os, sys
call = {"arguments": sys.argv[1:], "data": os.environ.get("NUTSHELL_DATA"), "python": sys.prefix,
        "path": os.environ["PATH"].split(os.pathsep)[0], "omp": os.environ.get("OMP_NUM_THREADS")}
with open("calls.jsonl", "a") as calls:
    calls.write(json.dumps(call) + "\\n")
sys.exit(7 if "fail" in sys.argv else 0)
"""
UNPACK = """
import sys
from pathlib import Path
Path(sys.argv[1], "mnist").mkdir(parents=True)
if Path(__file__).with_name("broken").exists():
    sys.exit("unpack.py: the archive is broken")
"""


def make_project(folder: Path) -> Path:
    project = folder / "a project"
    for folder_of_its in ("nutshell", "tests", "autograder"):
        (project / folder_of_its).mkdir(parents=True)
    (project / "start.py").write_bytes(START.read_bytes())
    (project / "constraints.txt").write_text("torch==2.13.0\n")
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "backend.py").write_text(BACKEND)
    (project / "pytest.py").write_text(PROGRAM)
    (project / "nutshell" / "__init__.py").write_text("")
    (project / "nutshell" / "__main__.py").write_text(PROGRAM)
    (folder / "shared" / "data").mkdir(parents=True)
    (folder / "shared" / "data" / "unpack.py").write_text(UNPACK)
    return project


def run(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("NUTSHELL", "PIP_", "OMP"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull} | variables
    return subprocess.run([sys.executable, project / "start.py", *arguments], env=environment, capture_output=True,
                          text=True, timeout=300, cwd=project.parent)


def calls(project: Path) -> list[dict]:
    file = project / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is set up; the tests below leave it so."""
    project = make_project(tmp_path_factory.mktemp("start"))
    (project.parent / "shared" / "data" / "broken").touch()
    first = run(project, "lab")
    assert first.returncode == 3 and "the archive is broken" in first.stderr, first.stdout + first.stderr
    assert calls(project) == [] and not (project / ".venv" / "data").exists()
    (project.parent / "shared" / "data" / "broken").unlink()
    second = run(project, "lab")  # goes on where the first stopped
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Setting up" in first.stdout and "Setting up" not in second.stdout
    return project


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> Iterator[None]:
    if "project" in request.fixturenames:
        (request.getfixturevalue("project") / "calls.jsonl").unlink(missing_ok=True)
    yield


def test_arguments_and_exit_code_pass_through(project: Path) -> None:
    assert run(project, "lab", "--port", "fail").returncode == 7
    (call,) = calls(project)
    assert call["arguments"] == ["lab", "--port", "fail"]
    assert Path(call["python"]) == project / ".venv"
    assert Path(call["path"]).parent == project / ".venv"


def test_data_come_from_the_archives_beside_the_project_and_first_from_the_variable(project: Path) -> None:
    run(project, "lab")
    run(project, "lab", NUTSHELL_DATA="/mine")
    assert [call["data"] for call in calls(project)] == [str(project / ".venv" / "data"), "/mine"]
    assert (project / ".venv" / "data" / "mnist").is_dir()


def test_more_extras_are_added_once_and_the_tests_run_on_all_cores(project: Path) -> None:
    first, second = run(project, "test", "-k", "meter"), run(project, "test")
    assert first.returncode == second.returncode == 0
    assert "Setting up" not in second.stdout
    arguments = calls(project)[0]["arguments"]
    assert arguments[:2] == ["-n", str(start().cores())] and arguments[-2:] == ["-k", "meter"]
    assert calls(project)[0]["omp"] == "1"
    assert set(stamp(project)["extras"]) == {"dev", "instructor"}
    assert "Setting up" not in run(project, "demo").stdout, "one environment serves all"


def test_new_pins_are_installed(project: Path) -> None:
    with (project / "constraints.txt").open("a") as pins:
        pins.write("# newer\n")
    assert "Setting up" in run(project, "lab").stdout
    assert "Setting up" not in run(project, "lab").stdout


def test_a_failing_install_says_what_and_goes_on_once_it_is_mended(project: Path) -> None:
    good = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(good.replace("requires = []", 'requires = ["no-such-package"]'))
    failed = run(project, "lab")
    assert failed.returncode == 3 and calls(project) == []
    assert "no-such-package" in failed.stderr and "run the same again" in failed.stderr
    (project / "pyproject.toml").write_text(good)
    assert run(project, "lab").returncode == 0
    assert len(calls(project)) == 1


def test_without_archives_the_data_are_fetched_once(project: Path) -> None:
    archives = project.parent / "shared"
    archives.rename(project.parent / "away")
    try:
        run(project, "lab")
        run(project, "lab")
    finally:
        (project.parent / "away").rename(archives)
    assert [call["arguments"] for call in calls(project)] == [["data", "fetch"], ["lab"], ["lab"]]
    assert {call["data"] for call in calls(project)} == {None}


def test_a_half_made_environment_is_made_anew(project: Path) -> None:
    python = project / ".venv" / start().PYTHON.relative_to(start().VENV)
    python.unlink()
    assert run(project, "lab").returncode == 0
    assert len(calls(project)) == 1


def test_set_up_only(project: Path) -> None:
    done = run(project, "setup")
    assert done.returncode == 0 and "All set" in done.stdout
    assert calls(project) == []


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["fly"], 2)])
def test_wrong_use_and_help_touch_nothing(tmp_path: Path, arguments: list[str], code: int) -> None:
    project = make_project(tmp_path)
    done = run(project, *arguments)
    assert done.returncode == code
    assert "lab" in done.stdout + done.stderr and "demo" in done.stdout + done.stderr
    assert not (project / ".venv").exists()


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = start(make_project(tmp_path))
    monkeypatch.setattr(module, "SPACE_NEEDED", 1e18)
    with pytest.raises(module.SetUpError, match="GB are free"):
        module.make_environment(moved=False)
    assert not module.VENV.exists()


def test_an_old_python_is_told_where_to_get_a_newer_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = start()
    monkeypatch.setattr(module, "OLDEST", (99, 0))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert module.main(["lab"]) == 3
    assert "needs Python 99.0 or newer" in capsys.readouterr().err


@pytest.mark.parametrize(("versions", "gpu", "expected"), [
    (["2.13.0"], False, True),       # pip would take the CUDA build
    (["2.13.0+cpu"], False, False),  # pip takes the small one by itself
    (["2.13.0"], True, False),       # the CUDA build is wanted
])
def test_linux_without_a_gpu_gets_the_cpu_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: list[str], gpu: bool, expected: bool
) -> None:
    module = start(make_project(tmp_path))
    report = json.dumps({"install": [{"metadata": {"version": version}} for version in versions]})
    asked: list[list[str]] = []
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, report))
    monkeypatch.setattr(module, "quietly", lambda command, title: asked.append(command))
    module.install_small_torch()
    assert [command[-3:] for command in asked] == [["--index-url", module.CPU_BUILDS, "torch==2.13.0"]] * expected


def test_progress_is_seen_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = start(make_project(tmp_path))
    module.VENV.mkdir()
    shown: list[str] = []
    monkeypatch.setattr(module.sys, "stdout", Terminal(shown))
    module.quietly([sys.executable, "-uc", "import time; print('Collecting numpy'); time.sleep(1)"], "installing")
    assert any("Collecting numpy" in text for text in shown)


@pytest.mark.parametrize("target", ["lab", "test", "demo", "setup", "doctor"])
def test_each_target_of_make_is_one_call(target: str) -> None:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs this
    command = ["make", "-n", target, "ARGS=-k meter"]
    printed = subprocess.run(command, cwd=START.parent, env=alone, capture_output=True, text=True)
    assert printed.stdout.strip() == f"python3 start.py {target} -k meter"


def test_it_is_standard_library_in_a_syntax_that_an_old_python_can_read() -> None:
    tree = ast.parse(START.read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names)


class Terminal:
    """A standard output that says it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.shown.append(text)

    def flush(self) -> None:
        pass


def stamp(project: Path) -> dict:
    return json.loads((project / ".venv" / "nutshell-setup.json").read_text())


def start(project: Path | None = None) -> ModuleType:
    """Import start.py of a project, or the real one."""
    spec = importlib.util.spec_from_file_location("start", project / "start.py" if project else START)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_learners_bundle_has_nothing_to_test_and_needs_no_packages_for_it(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for folder in ("tests", "autograder"):
        (project / folder).rmdir()
    for command, folder in (("test", "tests"), ("demo", "autograder")):
        refused = run(project, command)
        assert refused.returncode == 2 and f"no folder {folder}/" in refused.stderr
    assert not (project / ".venv").exists()
    assert run(project, "setup").returncode == 0
    assert stamp(project)["extras"] == []


def test_a_bundle_is_set_up_from_its_own_wheels_and_data(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project / "data" / "mnist").mkdir(parents=True)
    (project / "wheels").mkdir()
    (project / "wheels" / "torch-2.13.0-cp399-cp399-linux.whl").touch()
    other = run(project, "lab", PIP_NO_INDEX="0")
    assert other.returncode == 3 and "are for another Python" in other.stderr and "cp399" in other.stderr
    (project / "wheels" / "torch-2.13.0-cp399-cp399-linux.whl").unlink()
    good = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(good.replace("requires = []", 'requires = ["tqdm"]'))
    lacking = run(project, "lab", PIP_NO_INDEX="0")  # a package that every index has
    assert lacking.returncode == 3 and "tqdm" in lacking.stderr, "it was fetched from somewhere else"
    (project / "pyproject.toml").write_text(good)
    assert run(project, "lab", PIP_NO_INDEX="0").returncode == 0
    (call,) = calls(project)
    assert call["data"] == str(project / "data")
