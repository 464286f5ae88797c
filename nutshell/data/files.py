"""Where a data set's files are read from: a folder, a zip archive where it lies, or memory. All look the same.

Names are those of the publisher's layout, with ``/`` between folders, whatever lies above them. Each kind can be
pickled, so that worker processes may read, too.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nutshell.data.formats import wrong

MOST_FILES = 200_000
MOST_BYTES = 1 << 29  # of one file, decompressed


class Files(Protocol):
    """Files that can be listed and read; the name of the whole is what errors begin with."""

    @property
    def place(self) -> str:
        """Folder or archive, for people."""

    def names(self) -> list[str]:
        """Names within the layout, sorted."""

    def read(self, name: str, limit: int | None = None, start: int = 0) -> bytes:
        """Contents of one file from byte ``start`` on, at most ``limit`` of them."""


@dataclass(frozen=True)
class FolderFiles:
    """Files below a folder.

    Attributes
    ----------
    folder : Path
        The data set's own folder.
    layout : str
        Regular expression; what it finds first in brackets is the name within the layout.
    """

    folder: Path
    layout: str

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def names(self) -> list[str]:
        """Names within the layout, sorted; other files are passed over, and links aren't followed out of the folder."""
        return within(self.layout, (path.as_posix() for path in _below(self.folder)))

    def read(self, name: str, limit: int | None = None, start: int = 0) -> bytes:
        """Contents of a file from byte ``start`` on, at most ``limit`` of them.

        Raises
        ------
        Refused
            If it is missing, can't be read or is larger than 512 MB.
        """
        path = self.folder / name
        try:
            with path.open("rb") as file:
                if limit is None and os.fstat(file.fileno()).st_size > MOST_BYTES:
                    raise wrong(path, f"at most {MOST_BYTES:,} bytes", f"{path.stat().st_size:,}")
                file.seek(start)
                return file.read(-1 if limit is None else limit)
        except OSError as error:
            raise wrong(path, "a file that can be read", error.strerror or str(error)) from None


@dataclass(frozen=True)
class ZipFiles:
    """Files in a zip archive; nothing is unpacked to disk.

    Attributes
    ----------
    path : Path
        The archive. A folder around the layout, such as ``track-main/``, is passed over.
    layout : str
        As for :class:`FolderFiles`.
    """

    path: Path
    layout: str
    _opened: dict[int, tuple[zipfile.ZipFile, dict[str, str]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The archive."""
        return str(self.path)

    def names(self) -> list[str]:
        """Names within the layout, sorted."""
        return sorted(self._open()[1])

    def read(self, name: str, limit: int | None = None, start: int = 0) -> bytes:
        """Contents of a file from byte ``start`` on, at most ``limit`` of them.

        Raises
        ------
        Refused
            If it is missing, damaged or larger than 512 MB.
        """
        archive, members = self._open()
        source = f"{self.path}: {name}"
        if name not in members:
            raise wrong(source, "to be in the archive", "no such file")
        member = archive.getinfo(members[name])
        if limit is None and member.file_size > MOST_BYTES:
            raise wrong(source, f"at most {MOST_BYTES:,} bytes", f"{member.file_size:,}")
        try:
            with archive.open(member) as file:
                file.seek(start)
                return file.read(MOST_BYTES if limit is None else limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise wrong(source, "a file in order", f"a damaged one ({error})") from None

    def _open(self) -> tuple[zipfile.ZipFile, dict[str, str]]:
        # A process of its own opens the archive anew: a handle shared after a fork would share its position, too.
        if os.getpid() not in self._opened:
            try:
                archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise wrong(self.path, "a zip archive in order", f"a truncated or corrupt one ({error})") from None
            found = ((name_in(self.layout, name), name) for name in archive.namelist()[:MOST_FILES])
            self._opened[os.getpid()] = archive, {inner: name for inner, name in found if inner}
        return self._opened[os.getpid()]

    def __getstate__(self) -> dict:
        return {"path": self.path, "layout": self.layout, "_opened": {}}


@dataclass(frozen=True)
class MemoryFiles:
    """Files that a generator made, in memory.

    Attributes
    ----------
    contents : mapping of str to bytes
        Name → contents.
    place : str
        What stands for the folder in messages.

    Examples
    --------
    >>> files = MemoryFiles({"1/1.jpg": b"picture"})
    >>> files.names(), files.read("1/1.jpg", 3)
    (['1/1.jpg'], b'pic')
    """

    contents: Mapping[str, bytes]
    place: str = "memory"

    def names(self) -> list[str]:
        """Names, sorted."""
        return sorted(self.contents)

    def read(self, name: str, limit: int | None = None, start: int = 0) -> bytes:
        """Contents of a file from byte ``start`` on, at most ``limit`` of them."""
        if name not in self.contents:
            raise wrong(f"{self.place}: {name}", "to be there", "no such file")
        return self.contents[name][start : None if limit is None else start + limit]


def name_in(layout: str, name: str) -> str | None:
    """Name within a layout; ``None`` if it isn't part of it.

    Examples
    --------
    >>> name_in(r"(?:^|/)(IMG/[^./][^/]*[.]jpg)$", "track-main/IMG/center_1.jpg")
    'IMG/center_1.jpg'
    >>> name_in(r"(?:^|/)(IMG/[^./][^/]*[.]jpg)$", "__MACOSX/IMG/._center_1.jpg") is None
    True
    """
    found = re.search(layout, name)
    return found.group(1) if found else None


def within(layout: str, names: Iterator[str]) -> list[str]:
    """Names that lie in a layout as they are, sorted: those whose first folder is the layout's own."""
    return sorted(name for name in names if name_in(layout, name) == name)


def copy_all(files: Files, folder: Path, progress: Callable[[], object] = lambda: None) -> None:
    """Write all files below ``folder``; ``progress`` is called after each."""
    for name in files.names():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.read(name))
        progress()


def _below(folder: Path) -> Iterator[Path]:
    """Files two levels down at most, relative to the folder."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            yield from (Path(entry.name, inner.name) for inner in os.scandir(entry.path) if inner.is_file())
        elif entry.is_file():
            yield Path(entry.name)
