"""Data sets that their publishers give out as folders of pictures, without check sums: what a copy is, and getting one.

A copy is whole if its listing is in order: folders, log and number of pictures. Pictures are decoded when they are
needed, and a damaged one is refused by name then. Which copy is in use is said by the number of its pictures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nutshell.data.albums import Album
from nutshell.data.dataset import Dataset
from nutshell.data.files import Files, FolderFiles, MemoryFiles, ZipFiles, copy_all
from nutshell.data.sources import Copy

STAND_IN = "stand-in: seeded generator"


@dataclass(frozen=True)
class FolderSource:
    """A data set of picture files; see :class:`nutshell.data.sources.Source` for those with check sums.

    Attributes
    ----------
    key : str
        Its name in :func:`nutshell.data.load`.
    folder : str
        Folder that its files lie in, below ``$NUTSHELL_DATA`` and below the cache.
    layout : str
        Regular expression for names in an archive; the first bracket is the name below ``folder``.
    signs : tuple of str
        Patterns of files by which a folder is known to hold it.
    archive : str
        Zip archive that is read where it lies, if there is no such folder.
    address : str
        Where the publisher's archive is.
    megabytes : int
        Size of that archive, about.
    list_album : callable
        Makes the album from files, a name and options.
    draw : callable
        Makes the stand-in's files: name → contents, the same on every machine.
    licence : str
        Who made it, and under which licence.
    also : tuple of str
        Other names that the folder goes by.
    on_request : bool
        Whether it is downloaded only when somebody asks for it by name.
    download : callable, optional
        Another way to get it than its archive: takes the folder to write to, and whether to show a bar.
    """

    key: str
    folder: str
    layout: str
    signs: tuple[str, ...]
    archive: str
    address: str
    megabytes: int
    list_album: Callable[..., Album]
    draw: Callable[[], Mapping[str, bytes]]
    licence: str
    also: tuple[str, ...] = ()
    on_request: bool = True
    download: Callable[[Path, bool], None] | None = None

    def places(self) -> tuple[str, ...]:
        """Names of folders that it may lie in, below a folder of data sets."""
        return (self.folder, *self.also)

    def is_in(self, folder: Path) -> bool:
        """Whether some of its files lie in this folder itself."""
        return any(next(folder.glob(sign), None) is not None for sign in self.signs)

    def is_archive(self, path: Path) -> bool:
        """Whether a file is a zip archive that holds it, whatever the file is called."""
        return path.suffix.lower() == ".zip" and bool(ZipFiles(path, self.layout).names())

    def read(self, path: Path, place: str) -> Copy:
        """List a copy and check the listing; no picture is decoded.

        Raises
        ------
        Refused
            If something is missing.
        """
        files = FolderFiles(path, self.layout) if path.is_dir() else ZipFiles(path, self.layout)
        name = self.name_of(files)
        self.list_album(files, name)
        return Copy(name, files, path, place)

    def name_of(self, files: Files) -> str:
        """What a copy is called: publishers' copies, and pieces of them, differ by how many pictures they have."""
        count = sum(not name.endswith(".csv") for name in files.names())
        return f"{self.key} ({count:,} files)"

    def stamps(self, path: Path) -> list[Path]:
        """What changes when files are added or taken away: the folders themselves, or the archive."""
        return [path, *(inner for inner in path.iterdir() if inner.is_dir())] if path.is_dir() else [path]

    def album(self, files: Files, name: str, shape: tuple[int, int, int] | None = None, **options: Any) -> Album:
        """The pictures, listed; options are those of the data set, ``shape`` that of a picture as it is looked at."""
        return self.list_album(files, name, **options).seen(shape)

    def build(self, files: Files, name: str, **options: Any) -> Dataset:
        """All of it in memory."""
        return self.album(files, name, **options).load()

    def stand_in_name(self) -> str:
        """What the stand-in is called."""
        return f"{self.key} ({STAND_IN})"

    def stand_in_album(self, **options: Any) -> Album:
        """The stand-in's pictures, drawn in the publisher's layout and read as the real ones are."""
        return self.album(MemoryFiles(self.draw(), self.stand_in_name()), self.stand_in_name(), **options)

    def stand_in(self, **options: Any) -> Dataset:
        """The stand-in in memory."""
        return self.stand_in_album(**options).load()

    def write(self, files: Files, folder: Path) -> int:
        """Lay a copy's files out below ``folder`` as the publisher does; returns their bytes."""
        copy_all(files, folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def looks_like(self) -> str:
        """What to look for, for people."""
        return f"{self.folder}/ with {' and '.join(self.signs)}, or a zip archive such as {self.archive}"
