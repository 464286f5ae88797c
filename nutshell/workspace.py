"""The learner's own copies: ``labs/`` stays as it was released, and one writes in ``my_labs/``.

A copy is made on first opening. A file that a learner has changed is never written over: a newer release of its lab
then arrives beside it, in a folder of its own. Files that are still as they were released follow the release.
What was released to whom is kept as check sums in ``my_labs/.releases.json``.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from nutshell.errors import Trouble, WrongUse

RECORD = ".releases.json"
START = "my_labs/START_HERE.md"
NOT_COPIED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}


@dataclass(frozen=True)
class Copy:
    """What happened to one lab.

    Attributes
    ----------
    lab : str
        Name of its folder in ``labs/``.
    folder : Path
        The learner's folder for the newest release.
    what : str
        ``"new"`` (first opening), ``"same"`` (nothing to do), ``"updated"`` (files that nobody had changed follow the
        release) or ``"beside"`` (a newer release lies beside the learner's work).
    """

    lab: str
    folder: Path
    what: str

    @property
    def message(self) -> str:
        """One sentence for a person; empty where nothing happened."""
        return {
            "new": f"{self.lab}: your copy is {self.folder}",
            "same": "",
            "updated": f"{self.lab}: brought up to date; nothing that you wrote was touched",
            "beside": f"{self.lab}: a newer release has arrived. It lies beside your work, in {self.folder}; "
                      "what you wrote is as you left it",
        }[self.what]


def find_course(start: Path | None = None) -> Path:
    """Find the folder of the course: the nearest one upwards with ``labs/`` or ``course/`` in it.

    Parameters
    ----------
    start : Path, optional
        Where to begin; the current folder if left out, and then the folder that holds this package.

    Raises
    ------
    WrongUse
        If there is none.
    """
    first = (start or Path.cwd()).resolve()
    starts = [first] if start else [first, Path(__file__).resolve().parents[1]]
    for begin in starts:
        for folder in (begin, *begin.parents):
            if any(folder.glob("labs/[0-9][0-9]_*/*.ipynb")) or any(folder.glob("course/[0-9][0-9]_*.ipynb")):
                return folder
    raise WrongUse(
        f"There is no course in {first} or above it: no labs/NN_name/*.ipynb and no course/NN_name.ipynb. "
        "Go to the folder that holds them, or build them with: nutshell release"
    )


def copy_labs(course: Path) -> list[Copy]:
    """Bring ``my_labs/`` up to ``labs/``, without ever writing over what a learner has changed.

    Parameters
    ----------
    course : Path
        The folder that holds ``labs/``; ``my_labs/`` is made in it.

    Returns
    -------
    list of Copy
        One for each lab, in order.

    Raises
    ------
    Trouble
        If ``my_labs/`` cannot be written.
    """
    mine = course / "my_labs"
    try:
        mine.mkdir(exist_ok=True)
        record = _read_record(mine)
        copies = []
        for lab in sorted((course / "labs").glob("[0-9][0-9]_*")):
            if lab.is_dir():
                copies.append(_copy_lab(lab, mine, record))
                _write_record(mine, record)
    except OSError as error:
        raise Trouble(
            f"{error.filename or mine} cannot be written ({error.strerror}). Labs are written in {mine}: "
            "make it writable, or free some space."
        ) from error
    return copies


def write_start(course: Path, copies: list[Copy]) -> Path:
    """Write the page that JupyterLab opens with: each unit's lesson and the learner's copy of its lab.

    Parameters
    ----------
    course : Path
        The folder of the course.
    copies : list of Copy
        What :func:`copy_labs` returned.

    Returns
    -------
    Path
        The page, which is written anew each time.
    """
    labs = {copy.lab: copy for copy in copies}
    lessons = {path.stem: path for path in (course / "course").glob("[0-9][0-9]_*.ipynb")}
    rows = []
    for unit in sorted(lessons.keys() | labs.keys()):
        lesson = f"[{_title(lessons[unit])}](../course/{quote(unit)}.ipynb)" if unit in lessons else "—"
        lab = ", ".join(_links(course / START, unit, labs[unit].folder)) if unit in labs else "—"
        rows.append(f"| {unit[:2]} | {lesson} | {lab} |")
    page = course / START
    page.write_text(_START_PAGE.format(rows="\n".join(rows)), encoding="utf-8")
    return page


_START_PAGE = """# Neural networks in a nutshell

Read a lesson, then write its lab. A lab here is your own copy, and what you write in it stays as you leave it.

| unit | lesson | lab |
|---|---|---|
{rows}

In a lab, `check("name")` says at once what is right and why not, and `progress()` how far you are.

This page is written anew each time the course is opened.
"""


def _links(page: Path, unit: str, newest: Path) -> list[str]:
    """Links to the learner's copies of a lab, the one worked on first; a newer release beside it is called that."""
    folders = sorted(path.parent for path in page.parent.glob(f"{unit}*/{unit}.ipynb"))
    names = {folder: folder.name for folder in folders}
    if len(folders) > 1:
        names[newest] += " (newer release)"
    return [f"[{name}]({quote(folder.name)}/{quote(unit)}.ipynb)" for folder, name in names.items()]


def _title(notebook: Path) -> str:
    """Return a notebook's first heading, without Markdown's own signs; its name where it has none."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):
        return notebook.stem  # JupyterLab says what is wrong with it, when it is opened
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines())
    heading = next((line.lstrip("#").strip() for line in lines if line.startswith("#")), notebook.stem)
    return "".join(sign for sign in heading if sign not in "[]|")


def _copy_lab(lab: Path, mine: Path, record: dict) -> Copy:
    """Copy, update or lay beside; the record is changed in place: lab → its folder and the check sums released."""
    released = _checksums(lab)
    known = record.get(lab.name, {"folder": lab.name, "files": {}})
    folder, before = mine / known["folder"], known["files"]
    if not folder.exists():
        return _copy_whole(lab, folder, released, record, "new")
    present = {name: _checksum(folder / name) for name in released if (folder / name).exists()}
    differing = {name for name in released if present.get(name) != released[name]}
    changed_here = {name for name in differing if name in present and present[name] != before.get(name)}
    if any(released[name] != before.get(name) for name in changed_here):
        return _copy_whole(lab, _free_folder(mine, lab.name), released, record, "beside")
    for name in sorted(differing - changed_here):
        _copy_file(lab / name, folder / name)
    record[lab.name] = {"folder": folder.name, "files": released}
    return Copy(lab.name, folder, "updated" if differing - changed_here else "same")


def _copy_whole(lab: Path, folder: Path, released: dict[str, str], record: dict, what: str) -> Copy:
    """Copy a lab into a new folder, which appears only when it is complete."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for name in released:
        _copy_file(lab / name, unfinished / name)
    unfinished.rename(folder)
    record[lab.name] = {"folder": folder.name, "files": released}
    return Copy(lab.name, folder, what)


def _copy_file(source: Path, target: Path) -> None:
    """Copy bytes and not permissions (a course may be installed read-only); the target is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.copyfile(source, unfinished)
    os.replace(unfinished, target)


def _free_folder(mine: Path, lab: str) -> Path:
    number = 2
    while (mine / f"{lab}_release_{number}").exists():
        number += 1
    return mine / f"{lab}_release_{number}"


def _checksums(lab: Path) -> dict[str, str]:
    """Check sums of a lab's own files by their relative names (forward slashes); links are not followed."""
    files = (path for path in sorted(lab.rglob("*")) if path.is_file() and not path.is_symlink())
    return {
        path.relative_to(lab).as_posix(): _checksum(path)
        for path in files
        if not NOT_COPIED & set(path.relative_to(lab).parts)
    }


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_record(mine: Path) -> dict:
    """Read the record. What cannot be read counts as unknown, and then every changed file counts as the learner's."""
    try:
        record = json.loads((mine / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    entries = record.items() if isinstance(record, dict) else ()
    return {lab: entry for lab, entry in entries if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("files"), dict):
        return False
    folder = entry.get("folder")
    return isinstance(folder, str) and Path(folder).name == folder


def _write_record(mine: Path, record: dict) -> None:
    unfinished = mine / f"{RECORD}.unfinished"
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(unfinished, mine / RECORD)
