"""What this machine has, what it lacks, and the command that mends each; ``nutshell doctor`` prints it."""

import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nutshell.errors import NutshellError

OK, MISSING, ADVICE = "ok", "missing", "advice"
DISTRIBUTION = "nutshell-course"
OLDEST_PYTHON = (3, 11)
CHECKPOINT_FOLDER = Path(__file__).parent / "checkpoints"
CHECKPOINTS = ("lenet-300-100", "lenet-5-caffe", "resnet-20")
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
SPACE = 1e9  # bytes that data, artefacts and a classroom need together
SET_UP = "python start.py setup"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    part : str
        What was looked at.
    state : str
        ``"ok"``; ``"missing"`` (needed, and not there or not working); ``"advice"`` (goes without).
    detail : str
        What was found.
    mend : str
        The command that mends it; empty if nothing needs mending.
    """

    part: str
    state: str
    detail: str
    mend: str = ""


def examine(course: Path | None) -> list[Finding]:
    """Look at everything that the course needs.

    Parameters
    ----------
    course : Path or None
        The folder of the course, if there is one; its pins and its writability are looked at too.

    Returns
    -------
    list of Finding
        In the order of the report. Looking changes nothing and downloads nothing.
    """
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": python,
        "packages": lambda: packages(course),
        "torch": torch_build,
        "JupyterLab": jupyterlab,
        "data": data_sets,
        "checkpoints": checkpoints,
        "folders": lambda: folders(course),
        "for instructors": instructor,
        "programs": programs,
    }
    findings: list[Finding] = []
    for part, look in looks.items():
        try:
            findings += look()
        except (ImportError, OSError) as error:  # a broken package; the rest is still looked at
            findings.append(Finding(part, MISSING, f"cannot be looked at: {error}", SET_UP))
    return findings


def python() -> Iterator[Finding]:
    """Look at the version of Python."""
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("Python", MISSING, f"{found}; needs {wanted} or newer", "https://www.python.org/downloads/")
    else:
        yield Finding("Python", OK, found)


def packages(course: Path | None) -> Iterator[Finding]:
    """Look at the packages that learners need, against the lower bounds, and against what the course is tested with."""
    pins = read_pins(course / "constraints.txt") if course and (course / "constraints.txt").exists() else {}
    lacking, other = [], []
    for requirement in requirements():
        version = installed(requirement.name)
        pin = pins.get(canonicalize_name(requirement.name))
        if version is None:
            lacking.append(f"{requirement.name} (not installed)")
        elif not requirement.specifier.contains(Version(version).public, prereleases=True):
            lacking.append(f"{requirement.name} {version} (needs {requirement.specifier})")
        elif pin and Version(version).public != pin:
            other.append(f"{requirement.name} {version} (tested with {pin})")
    if lacking:
        yield Finding("packages", MISSING, ", ".join(lacking), SET_UP)
    if other:
        yield Finding("packages", ADVICE, "other versions than tested: " + ", ".join(other), SET_UP)
    if not lacking and not other:
        yield Finding("packages", OK, f"{len(requirements())} as required" + (" and as tested" if pins else ""))


def requirements(extra: str = "") -> list[Requirement]:
    """Return what the package itself requires here, with an extra or without one.

    Examples
    --------
    >>> "torch" in {requirement.name for requirement in requirements()}
    True
    """
    stated = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    base = [one for one in stated if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return base
    return [one for one in stated if one not in base and one.marker and one.marker.evaluate({"extra": extra})]


def read_pins(constraints: Path) -> dict[str, str]:
    """Return the versions that a constraints file pins, by canonical name, for this system."""
    pins: dict[str, str] = {}
    for line in constraints.read_text(encoding="utf-8").splitlines():
        stated = line.partition("#")[0].strip()
        if not stated:
            continue
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate():
            pins[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return pins


def installed(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def torch_build() -> Iterator[Finding]:
    """Import torch, and look which build it is; where a system library is missing it cannot be imported."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: one of its libraries
        yield Finding("torch", MISSING, f"cannot be imported: {error}", SET_UP)
        return
    if torch.version.cuda and not torch.cuda.is_available():
        yield Finding("torch", ADVICE, f"{torch.__version__}, with CUDA and without a GPU that it can use; the CPU "
                      "build is several GB smaller",
                      f"{sys.executable} -m pip install --force-reinstall --no-deps --index-url {CPU_BUILDS} "
                      f"torch=={Version(torch.__version__).public}")
    else:
        yield Finding("torch", OK, f"{torch.__version__}, {torch.get_num_threads()} threads")


def jupyterlab() -> Iterator[Finding]:
    """Look at JupyterLab and at the kernel that it will start."""
    version = installed("jupyterlab")
    if version is None or installed("ipykernel") is None:
        yield Finding("JupyterLab", MISSING, "not installed", SET_UP)
        return
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        kernel = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding("JupyterLab", MISSING, f"{version}, without a kernel python3",
                      f"{sys.executable} -m ipykernel install --sys-prefix")
        return
    starts = kernel.argv[0]
    own = Path(starts).name == starts or os.path.normcase(starts) == os.path.normcase(sys.executable)
    if own:
        yield Finding("JupyterLab", OK, f"{version}, kernel python3 of this Python")
    else:
        yield Finding("JupyterLab", ADVICE, f"{version}; its kernel python3 starts another Python: {starts}",
                      f"{sys.executable} -m ipykernel install --sys-prefix")


def data_sets() -> Iterator[Finding]:
    """Look at the data sets; all of what is here is read and checked, nothing is downloaded."""
    from nutshell.data.report import describe_all

    try:
        rows = describe_all()["data_sets"]
    except NutshellError as error:
        yield Finding("data", MISSING, str(error), "set NUTSHELL_DATA to a folder of data sets, or unset it")
        return
    for row in rows:
        key = row["key"]
        if row["problem"]:
            yield Finding(key, MISSING, row["problem"], f"nutshell data fetch {key}")
        elif row["path"]:
            yield Finding(key, OK, f"{row['name']}, in {row['path']}")
        elif row.get("place") == "stand-in":
            yield Finding(key, ADVICE, f"not here; in its place comes {row['name']}", f"nutshell data fetch {key}")
        else:
            yield Finding(key, ADVICE, "not here yet; it is downloaded on first use, and without a network a stand-in "
                          "takes its place", f"nutshell data fetch {key}")


def checkpoints() -> Iterator[Finding]:
    """Look at the trained networks that ship with the course."""
    problems = {name: _checkpoint_problem(name) for name in CHECKPOINTS}
    for name, problem in problems.items():
        if problem:
            yield Finding(f"checkpoint {name}", MISSING, problem, f"nutshell train {name}")
    if not any(problems.values()):
        yield Finding("checkpoints", OK, ", ".join(CHECKPOINTS))


def _checkpoint_problem(name: str) -> str:
    """Say what is wrong with a checkpoint; empty if it can be opened and has a card."""
    from safetensors import SafetensorError, safe_open

    file, card = CHECKPOINT_FOLDER / f"{name}.safetensors", CHECKPOINT_FOLDER / f"{name}.json"
    absent = [path.name for path in (file, card) if not path.exists()]
    if absent:
        return f"{' and '.join(absent)}: not in {CHECKPOINT_FOLDER}"
    try:
        json.loads(card.read_text(encoding="utf-8"))
        with safe_open(file, "pt") as opened:
            return "" if opened.keys() else f"{file} holds no tensors"
    except (SafetensorError, ValueError) as error:
        return f"{file} is damaged: {error}"


def folders(course: Path | None) -> Iterator[Finding]:
    """Look whether labs can be written, and at the space that is left."""
    if course is None:
        yield Finding("course", MISSING, "no lessons or labs in this folder or above it",
                      "cd to the folder of the course, or build them there: nutshell release")
        return
    mine = course / "my_labs"
    place = mine if mine.exists() else course
    try:
        with tempfile.TemporaryFile(dir=place):
            yield Finding("my_labs", OK, f"{mine} can be written")
    except OSError as error:
        yield Finding("my_labs", MISSING, f"{place} cannot be written: {error.strerror}", f"chmod u+rwx '{place}'")
    free = shutil.disk_usage(course).free
    space = f"{free / 1e9:.1f} GB free"
    yield Finding("disk", OK, space) if free >= SPACE else Finding(
        "disk", ADVICE, f"{space}; labs, data and a classroom take up to {SPACE / 1e9:.0f} GB", "free some space")


def instructor() -> Iterator[Finding]:
    """Look at what grading needs: nbgrader, and the programs that it calls by name."""
    lacking = [one.name for one in requirements("instructor") if installed(one.name) is None]
    if lacking:
        yield Finding("for instructors", ADVICE, f"not installed: {', '.join(lacking)}", "python start.py demo")
        return
    beside = Path(sys.executable).parent
    hidden = [name for name in ("nbgrader", "alembic") if not shutil.which(name)]
    if hidden:
        yield Finding("for instructors", ADVICE, f"installed, but not on the PATH: {', '.join(hidden)}",
                      f"put {beside} on the PATH (or activate the environment)")
    else:
        yield Finding("for instructors", OK, f"nbgrader {installed('nbgrader')}, with alembic on the PATH")


def programs() -> Iterator[Finding]:
    """Look at the system's programs that some parts use."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap:
        yield Finding("bubblewrap", OK, bubblewrap)
    elif sys.platform.startswith("linux"):
        yield Finding("bubblewrap", ADVICE, "not here; instructors need it to grade in isolation",
                      "sudo apt install bubblewrap")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser:
        yield Finding("chromium", OK, browser)
    else:
        yield Finding("chromium", ADVICE, "not here; the project's own tests open notebooks in it",
                      "sudo apt install chromium")
