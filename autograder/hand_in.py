"""Reading a folder that a learner handed in: never through a link, bounded in number and size, never half-written.

Each step of the way is opened relative to the one before and without following links: whatever is swapped meanwhile,
what is read lies in the folder. What is no regular file is never read. ``submitted/`` itself is the instructor's, and
may be a link. A hard link is a file like any other; to what one may not write, Linux lets nobody make one.
"""

import errno
import os
import stat
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from nutshell.errors import Refused, Trouble

MOST_FILES = 200
MOST_FOLDERS = 100
DEEPEST = 12
MOST_BYTES = 64 * 2**20  # of one file
MOST_TOGETHER = 256 * 2**20
LONGEST = 255  # bytes of one name
LEFT_OUT = (".ipynb_checkpoints", "__pycache__", ".git", ".DS_Store")
TRIES, PAUSE = 3, 0.2  # seconds before a folder that was changing is read again
CHANGING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE)  # swapped between two looks at it
KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
STRANGE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of what can't be seen in a name
FEWER = "Hand in the notebook and the files that the lab asks for."
REPLACE = "Put the file itself in its place."


class BeingWritten(Refused):
    """The folder was changing while it was read; it can be read later."""


@dataclass
class Folder:
    """What was read: ``files`` by path relative to the folder; ``where`` names the folder for people."""

    where: str
    files: dict[str, bytes] = field(default_factory=dict)

    def refuse(self, path: str, rule: str, way_out: str) -> NoReturn:
        """Raise :class:`Refused`: something breaks a rule, and what to do about it."""
        raise Refused(f"{readable(f'{self.where}/{path}'.rstrip('/'))} {rule}. {way_out}")


@dataclass
class Found:
    """A regular file that a walk came to, in an open folder."""

    path: str
    name: str
    folder: int
    stamp: tuple[int, ...]
    size: int


@dataclass
class Count:
    """How many files and folders a walk has come to."""

    files: int = 0
    folders: int = 0


def folders_with(place: Path, name: str) -> list[str]:
    """Names of the folders in ``place`` that hold something called ``name``, and of links, which aren't looked into."""
    try:
        with os.scandir(place) as entries:
            there = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and (
                    entry.is_symlink()
                    or (entry.is_dir(follow_symlinks=False) and os.path.lexists(os.path.join(entry.path, name)))
                )
            ]
    except FileNotFoundError:
        return []
    return sorted(there)


def read_folder(place: Path, student: str, name: str, most: Mapping[str, int]) -> Folder:
    """Read all files of ``place/student/name``.

    Parameters
    ----------
    place : Path
        ``submitted/``.
    student, name : str
        Names of the two folders on the way.
    most : dict of str to int
        Bytes that some files may have, by name; :data:`MOST_BYTES` for all others.

    Raises
    ------
    Refused
        For whatever isn't a bounded number of regular files of bounded size with ordinary names;
        :class:`BeingWritten` if it was changing each time that it was read.
    Trouble
        If the disk fails, or the system can't open files without following links.
    """
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        raise Trouble("This system can't open files without following links. Grade on Linux or macOS, or in WSL.")
    folder = Folder(f"{place.name}/{student}/{name}")
    wrong = wrong_with(student) or _wrong_with_student(student)
    if wrong:
        folder.refuse("", f"isn't read: the student's folder has a name that {wrong}", "Rename it.")
    if not os.path.islink(place / student) and not os.path.lexists(place / student / name):
        folder.refuse("", "isn't there", "Hand in the lab's folder under that name.")
    for last in range(TRIES):
        folder.files.clear()
        try:
            with (
                _opened(place) as top,
                _entered(f"{place.name}/{student}", student, top) as own,
                _entered(folder.where, name, own) as fd,
            ):
                if _read_all(folder, fd, most):
                    return folder
        except PermissionError as error:
            folder.refuse("", f"can't be read ({error.strerror})", "Give its files and folders the usual permissions.")
        except OSError as error:
            if error.errno not in CHANGING:
                raise Trouble(f"{readable(folder.where)} can't be read: {error.strerror}. Try again.") from None
        if last < TRIES - 1:
            time.sleep(PAUSE)
    raise BeingWritten(f"{readable(folder.where)} is being written. Grade it again when it is complete.")


def wrong_with(name: str) -> str:
    """What is wrong with a file's or folder's name, in words; empty if nothing is.

    Examples
    --------
    >>> wrong_with("helpers.py"), wrong_with("../helpers.py")
    ('', 'holds a slash or backslash')
    """
    if any(unicodedata.category(character) in STRANGE for character in name):
        return "holds characters that can't be seen"
    if "/" in name or "\\" in name:
        return "holds a slash or backslash"
    if name in ("", ".", ".."):
        return "is no name"
    if name != name.strip():
        return "begins or ends with a space"
    if len(name.encode()) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    return ""


def readable(text: str) -> str:
    """A path for a message: on one line, of bounded length, without characters that can't be seen."""
    shown = "".join(ascii(c)[1:-1] if unicodedata.category(c) in STRANGE else c for c in text)
    return shown if len(shown) <= 300 else f"{shown[:200]}…{shown[-80:]}"


def _wrong_with_student(name: str) -> str:
    return "begins with - or ." if name.startswith(("-", ".")) else ""


def _read_all(folder: Folder, fd: int, most: Mapping[str, int]) -> bool:
    """Read an open folder; whether it stayed as it was meanwhile."""
    stamps, together = {}, 0
    for found in _walk(folder, fd, most):
        limit = most.get(found.path, MOST_BYTES)
        if found.size > limit:
            folder.refuse(found.path, f"has {found.size:,} bytes, and may have {limit:,}", "Make it smaller.")
        together += found.size
        if together > MOST_TOGETHER:
            folder.refuse("", f"has more than {MOST_TOGETHER:,} bytes together", FEWER)
        folder.files[found.path], stamps[found.path] = _content(found), found.stamp
    return stamps == {found.path: found.stamp for found in _walk(folder, fd, most)}


def _content(found: Found) -> bytes:
    """A file's bytes, no more than it had when it was found."""
    with _opened(found.name, found.folder) as file:
        if _stamp(os.fstat(file)) != found.stamp:
            raise OSError(errno.ESTALE, "swapped, perhaps for something that is no file")
        parts, left = [], found.size
        while left and (part := os.read(file, min(left, 2**20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def _walk(
    folder: Folder, fd: int, top: Mapping[str, int], path: str = "", count: Count | None = None
) -> Iterator[Found]:
    """The regular files of an open folder and of those in it; whatever else there is is refused."""
    count = count or Count()
    for name in _names(folder, fd, path, count):
        below = f"{path}{name}"
        wrong = wrong_with(name) or _looks_like(name, top if not path else ())
        if wrong:
            folder.refuse(below, f"has a name that {wrong}", "Rename or delete it.")
        there = os.stat(name, dir_fd=fd, follow_symlinks=False)
        kind = stat.S_IFMT(there.st_mode)
        if kind == stat.S_IFREG:
            yield Found(below, name, fd, _stamp(there), there.st_size)
        elif kind == stat.S_IFDIR:
            if below.count("/") >= DEEPEST:
                folder.refuse(below, f"lies deeper than {DEEPEST} folders", FEWER)
            with _entered(f"{folder.where}/{below}", name, fd) as inner:
                yield from _walk(folder, inner, top, f"{below}/", count)
        else:
            folder.refuse(below, f"is {KINDS.get(kind, 'no file')}, and only files are read", REPLACE)


def _names(folder: Folder, fd: int, path: str, count: Count) -> list[str]:
    """The names in an open folder, in order, but for what programs leave behind."""
    names = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.name in LEFT_OUT:
                continue
            names.append(entry.name)
            inside = entry.is_dir(follow_symlinks=False)
            count.files, count.folders = count.files + (not inside), count.folders + inside
            if count.files > MOST_FILES or count.folders > MOST_FOLDERS:
                folder.refuse("", f"holds more than {MOST_FILES} files or {MOST_FOLDERS} folders", FEWER)
    return sorted(names)


def _looks_like(name: str, known: "Mapping[str, int] | tuple[()]") -> str:
    """Whether a name differs from one of those only by case or Unicode form: some systems take them for the same."""
    same = [other for other in known if name != other and _form(name) == _form(other)]
    return f"differs from {same[0]} by upper and lower case or by Unicode form only" if same else ""


def _form(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _entered(shown: str, name: str, parent: int) -> Iterator[int]:
    """A folder in an open one, opened; anything else, a link above all, is refused under the path that is shown."""
    kind = stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    if kind != stat.S_IFDIR:
        what = KINDS.get(kind, "a file")
        raise Refused(f"{readable(shown)} is {what}, not a folder. Put the folder itself in its place.")
    with _opened(name, parent, os.O_DIRECTORY) as fd:
        yield fd


@contextmanager
def _opened(path: "str | Path", parent: int | None = None, flags: int = 0) -> Iterator[int]:
    """A descriptor for reading; within an open folder never through a link, and without waiting for a pipe."""
    if parent is not None:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)
