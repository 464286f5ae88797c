"""``nutshell release``: from ``solutions/`` and ``course/text/`` to ``labs/`` and ``course/*.ipynb``, byte for byte."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from autograder.desk_half import desk_files
from autograder.notebooks import edited_by_hand, leftovers, lesson_notebook, release_notebook, source_notebook, to_bytes
from autograder.trial import try_blank, try_reference, try_solution
from autograder.units import Source
from nutshell.checks import Unit
from nutshell.errors import Refused, WrongUse

PASSING = (".ipynb_checkpoints", "__pycache__", ".DS_Store")  # what JupyterLab, Python and macOS leave behind


@dataclass(frozen=True)
class Lab:
    """A unit made ready: the instructor's notebook and the learner's files by their names in the lab's folder."""

    unit: Unit
    instructor: bytes
    files: dict[str, bytes]


def build_lab(source: Source, unit: Unit | None = None, folder: Path | None = None) -> Lab:
    """Make the lab of a unit and try it: a blank notebook must score nothing, the solution everything.

    Parameters
    ----------
    source : Source
        The unit as its author wrote it.
    unit : Unit, optional
        The unit as a classroom wants it.
    folder : Path, optional
        Where the lab was written before; replies recorded there on another machine are kept if they still serve.

    Raises
    ------
    Refused
        If the lab isn't fit to be handed out; the message names the cell, exercise or check.
    """
    unit = unit or source.unit
    instructor = source_notebook(source, unit)
    learner = release_notebook(instructor)
    faults = list(leftovers(learner))
    if faults:
        raise Refused(f"solutions/{source.unit.name}: {'; '.join(faults)}.")
    try_blank(source, unit, learner)
    try_solution(source, unit, instructor)
    files = {f"{unit.folder}.ipynb": to_bytes(learner)}
    recorded = sorted((folder / "desk").rglob("replies.bin")) if folder else []
    before = {path.relative_to(folder / "desk").as_posix(): path.read_bytes() for path in recorded if folder}
    files |= {f"desk/{name}": content for name, content in desk_files(source, unit, before).items()}
    return Lab(unit, to_bytes(instructor), files)


def expected_files(sources: Iterable[Source], root: Path) -> dict[Path, bytes]:
    """All files that release makes, by their paths under ``root``: the labs of the units, and every lesson."""
    files: dict[Path, bytes] = {}
    for source in sources:
        lab = build_lab(source, folder=root / "labs" / source.unit.folder)
        try_reference(source)
        files |= {Path("labs") / lab.unit.folder / name: content for name, content in lab.files.items()}
    for text in sorted((root / "course" / "text").glob("*.md")):
        files[Path("course") / f"{text.stem}.ipynb"] = to_bytes(lesson_notebook(text.read_text(encoding="utf-8")))
    return files


def stale(files: dict[Path, bytes], root: Path) -> Iterator[str]:
    """What differs on disk from what release makes: one line a file, stale, missing or superfluous."""
    for path, content in files.items():
        if not (root / path).is_file():
            yield f"missing: {path}"
        elif (root / path).read_bytes() != content:
            yield f"stale: {path}{_why(root / path)}"
    yield from (f"superfluous: {path}" for path in superfluous(files, root))


def superfluous(files: dict[Path, bytes], root: Path) -> list[Path]:
    """Files in the released units' folders of ``labs/`` and notebooks in ``course/`` that release doesn't make."""
    folders = {path.parts[1] for path in files if path.parts[0] == "labs"}
    found = [path for folder in folders for path in (root / "labs" / folder).rglob("*") if path.is_file()]
    found += (root / "course").glob("*.ipynb")
    inner = [path.relative_to(root) for path in found]
    return sorted(path for path in inner if path not in files and not any(part in PASSING for part in path.parts))


def strangers(root: Path, units: Iterable[Unit]) -> list[Path]:
    """Folders and files directly in ``labs/`` that belong to no unit."""
    known = {unit.folder for unit in units}
    return sorted(path.relative_to(root) for path in (root / "labs").glob("*") if path.name not in (*known, *PASSING))


def write(files: dict[Path, bytes], root: Path) -> list[Path]:
    """Write what differs; nothing is written if one notebook was edited by hand.

    Returns
    -------
    list of Path
        What was written, under ``root``.

    Raises
    ------
    Refused
        If a notebook that would be overwritten holds text that release didn't put there.
    """
    changed = [
        path for path, content in files.items() if not (root / path).is_file() or (root / path).read_bytes() != content
    ]
    for path in changed:
        if path.suffix == ".ipynb" and (root / path).is_file() and _edited(root / path):
            raise Refused(
                f"{path} was edited by hand, and release would overwrite it. If the work is a learner's, move it: "
                f"mv {path} my_labs/ — or throw it away: rm {path} — and run nutshell release again."
            )
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        unfinished = (root / path).with_name(path.name + ".unfinished")
        unfinished.write_bytes(files[path])
        os.replace(unfinished, root / path)
    return changed


def course_root(start: Path | None = None) -> Path:
    """The course's folder: the one with ``solutions/``, in the current folder or above, else beside the package."""
    import solutions

    here = (start or Path.cwd()).resolve()
    for place in (here, *here.parents):
        if (place / "solutions" / "__init__.py").is_file():
            return place
    beside = Path(solutions.__path__[0]).parent
    if (beside / "pyproject.toml").is_file():
        return beside
    raise WrongUse(f"No folder solutions/ in {here} or above it. Run this inside the course's folder.")


def _edited(path: Path) -> bool:
    try:
        return edited_by_hand(nbformat.read(path, as_version=nbformat.NO_CONVERT))
    except (ValueError, AttributeError, nbformat.ValidationError):  # no notebook of ours: somebody put it there
        return True


def _why(path: Path) -> str:
    if path.suffix != ".ipynb":
        return ""
    if _edited(path):
        return " (edited by hand)"
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    return " (holds outputs)" if any(cell.get("outputs") for cell in notebook.cells) else ""
