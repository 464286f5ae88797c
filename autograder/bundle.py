"""``nutshell bundle``: what learners get, as one archive; with solutions, or with wheels and data for a room.

A learner's bundle is ``course``, ``labs`` with the desk half of the checks, and ``nutshell``. Solutions and hidden
checks aren't in it, and it is searched for them before it is written.
"""

import json
import os
import platform
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nbformat
from tqdm import tqdm

from autograder import units
from autograder.demo import solutions_of
from autograder.notebooks import edited_by_hand, to_bytes
from autograder.units import Source
from nutshell.checks import checks_of
from nutshell.data import source_of
from nutshell.data.mirrors import download
from nutshell.data.sources import find_local
from nutshell.errors import Refused, Trouble, WrongUse

ROOT = "nutshell-course"  # the archive's one folder
ALONE = ("LICENSE", "pyproject.toml", "constraints.txt", "start.py")
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".DS_Store", "my_labs", "progress.json"}
STORED = {".whl", ".gz", ".safetensors", ".nut", ".png"}  # compressed already
_DATE = (2020, 1, 1, 0, 0, 0)  # of every file in the archive, so that the same files make the same bytes


@dataclass(frozen=True)
class Bundle:
    """What is packed: files on disk, and texts made for it, both by their names in the archive."""

    files: dict[str, Path]
    texts: dict[str, bytes]

    @property
    def size(self) -> int:
        """Bytes before packing."""
        return sum(path.stat().st_size for path in self.files.values()) + sum(map(len, self.texts.values()))


def collect(
    course: Path, sources: Iterable[Source], *, solutions: bool = False, wheels: Path | None = None,
    data: Path | None = None, archive: str = "nutshell.zip",
) -> Bundle:  # fmt: skip
    """Choose what goes into a bundle.

    Parameters
    ----------
    course : Path
        The course's folder.
    sources : iterable of Source
        All units.
    solutions : bool
        Whether solutions, hidden checks and the grader go with it.
    wheels, data : Path, optional
        Folders of wheels, and of data sets in their publishers' layouts.
    archive : str
        Name of the archive, for the readme in it.

    Raises
    ------
    Refused
        If a lab or lesson isn't as it was released, or a learner's bundle would hold something secret.
    """
    sources = list(sources)
    files = {name: course / name for name in ALONE}
    for folder in ("nutshell", "labs", *(("solutions", "autograder", "docs") if solutions else ())):
        files |= _below(course / folder, folder)
    files |= {f"course/{path.name}": path for path in sorted((course / "course").glob("[0-9][0-9]_*.ipynb"))}
    for name, path in files.items():
        if path.suffix == ".ipynb" and edited_by_hand(nbformat.read(path, as_version=nbformat.NO_CONVERT)):
            raise Refused(f"{name} isn't as it was released. Run: nutshell release")
    files |= _results(course, [path for name, path in files.items() if name.startswith("course/")])
    texts = {"README.md": readme(archive, solutions, wheels is not None, data is not None).encode()}
    if solutions:
        texts |= {name: content for source in sources for name, content in solved(source, course).items()}
    else:
        _refuse_secrets(files, sources)
    for folder, place in (("wheels", wheels), ("data", data)):
        if place is not None:
            files |= _below(place, folder)
    return Bundle(files, texts)


def solved(source: Source, course: Path) -> dict[str, bytes]:
    """The lab of a unit with its solutions written in, and its desk beside it."""
    folder = source.unit.folder
    lab = course / "labs" / folder
    notebook = nbformat.read(lab / f"{folder}.ipynb", as_version=nbformat.NO_CONVERT)
    answers = solutions_of(source, source.unit)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        cell.source = answers.get(name, cell.source)
    desk = {f"solved/{folder}/{name}": path.read_bytes() for name, path in _below(lab / "desk", "desk").items()}
    return {f"solved/{folder}/{folder}.ipynb": to_bytes(notebook), **desk}


def write(bundle: Bundle, output: Path) -> int:
    """Write the archive, whole or not at all; its size in bytes.

    Raises
    ------
    Trouble
        If it can't be written.
    """
    unfinished = output.with_name(f"{output.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive, tqdm(
            total=bundle.size, desc="Packing", unit="B", unit_scale=True, leave=False, disable=None
        ) as bar:
            for name in sorted([*bundle.files, *bundle.texts]):
                content = bundle.texts[name] if name in bundle.texts else bundle.files[name].read_bytes()
                entry = zipfile.ZipInfo(f"{ROOT}/{name}", _DATE)
                entry.compress_type = zipfile.ZIP_STORED if Path(name).suffix in STORED else zipfile.ZIP_DEFLATED
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, content)
                bar.update(len(content))
        os.replace(unfinished, output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Trouble(f"{output} can't be written ({error.strerror}).") from None
    return output.stat().st_size


def lay_out(name: str, folder: Path) -> str:
    """Write a data set's files below ``folder`` as their publisher lays them out, downloaded if they aren't here.

    Returns
    -------
    str
        What was done, in a line.
    """
    source = source_of(name)
    copy = find_local(source)
    if copy is None:
        download(source)
        copy = find_local(source)
    if copy is None:
        raise Trouble(f"{name} isn't on this machine. Run: nutshell data fetch {name}")
    place = folder / source.folder
    place.mkdir(parents=True, exist_ok=True)
    return f"Data: {copy.name}, {source.write(copy.contents, place) / 1e6:,.0f} MB."


def readme(archive: str, solutions: bool, wheels: bool, data: bool) -> str:
    """The text that a bundle begins with."""
    tag = f"Python {'.'.join(platform.python_version_tuple()[:2])} on {sysconfig.get_platform()}"
    needs = f"{tag}, for which the packages in `wheels/` were fetched" if wheels else "Python 3.11 or newer"
    packages = "Packages, about a gigabyte, and data sets are downloaded the first time."
    if wheels:
        images = "images from `data/`" if data else "and without data sets the course goes on with stand-ins"
        packages = f"No network is needed: packages come from `wheels/`, {images}."
    parts = [
        "# Neural networks in a nutshell",
        "",
        f"Three commands, with {needs}:",
        "",
        "```",
        f"unzip {archive}",
        f"cd {ROOT}",
        "python3 start.py lab",
        "```",
        "",
        "The third sets everything up in `.venv` (once; some minutes) and opens JupyterLab. On Windows: "
        "`py start.py lab`.",
        "",
        packages,
        "",
        "`python3 start.py doctor` says what is missing on your machine, and the command that mends it.",
        "",
        "| folder | holds |",
        "|---|---|",
        "| `course/` | lessons |",
        "| `labs/` | labs as released; you work in `my_labs/`, your own copies |",
        "| `nutshell/` | the toolkit, with trained networks |",
        "| `results/` | measured numbers |",
    ]
    if solutions:
        parts += [
            "| `solved/` | the labs with solutions: open them when you have tried |",
            "| `solutions/`, `autograder/`, `docs/` | reference library, all checks, and the grader |",
        ]
    return "\n".join([*parts, "", "MIT licence.", ""])


def _below(root: Path, name: str) -> dict[str, Path]:
    if not root.is_dir():
        raise WrongUse(f"{root} isn't there.")
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    inner = {f"{name}/{path.relative_to(root).as_posix()}": path for path in found}
    return {key: path for key, path in inner.items()
            if not LEFT_OUT & set(Path(key).parts) and path.suffix not in (".pyc", ".unfinished")}  # fmt: skip


def _results(course: Path, lessons: list[Path]) -> dict[str, Path]:
    """Measured numbers, and of the networks beside them those that a lesson reads."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in lessons)
    found = {f"results/{path.name}": path for path in sorted((course / "results").glob("*.json"))}
    nuts = sorted((course / "results").glob("*.nut"))
    return found | {f"results/{path.name}": path for path in nuts if path.name in text}


def _refuse_secrets(files: dict[str, Path], sources: list[Source]) -> None:
    """Search a learner's bundle for names of hidden checks and bodies of solutions."""
    secret = {needle: what for source in sources for needle, what in _secrets(source)}
    for name, path in files.items():
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        for needle, what in secret.items():
            if needle in text:
                raise Refused(f"{name} holds {what}, which learners mustn't get.")


@lru_cache(maxsize=64)
def _secrets(source: Source) -> tuple[tuple[str, str], ...]:
    """What must not stand in a learner's file, and what that is, in words."""
    return tuple(_secrets_of(source))


def _secrets_of(source: Source) -> Iterator[tuple[str, str]]:
    for check in checks_of(source.checks):
        if check.hidden:
            yield f"def {check.name}(", f"the hidden check {check.name}"
    for name, text in solutions_of(source, source.unit).items():
        body = text.rpartition('"""')[2].strip("\n")
        if len(body) > 60:  # a shorter one may stand anywhere
            yield body, f"the solution of {name.removeprefix('solution_')}"


def chosen_units() -> list[Source]:
    """All units, for the command."""
    return [units.load(name) for name in units.names()]
