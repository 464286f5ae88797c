"""Where data sets come from: what a whole copy is, and the folders it is looked for in.

A :class:`Source` says what its publisher's files are called, how long they are and what their check sums are. A copy is
looked for in ``$NUTSHELL_DATA``, then in the user's cache; every look checks all of it, so nothing broken gets further.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import platformdirs

from nutshell.data.dataset import Dataset
from nutshell.data.formats import read_bytes, read_tar, wrong
from nutshell.errors import Refused, Trouble, WrongUse

if TYPE_CHECKING:
    from nutshell.data.folders import FolderSource

DATA_VARIABLE = "NUTSHELL_DATA"
OFFLINE_VARIABLE = "NUTSHELL_OFFLINE"

Contents = dict[str, np.ndarray]
AnySource: TypeAlias = "Source | FolderSource"


@dataclass(frozen=True)
class File:
    """One file as its publisher made it, decompressed.

    Attributes
    ----------
    name : str
        Without ``.gz``; it is looked for with and without.
    size : int
        Bytes.
    sha256 : str
        In hexadecimal, of the decompressed bytes: a mirror may pack them anew.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set that a publisher gives out.

    Attributes
    ----------
    key : str
        Its name in :func:`nutshell.data.load`.
    folder : str
        Folder that its files lie in, below ``$NUTSHELL_DATA`` and below the cache.
    files : tuple of File
        All that a whole copy needs.
    archive : str or None
        The publisher's tar archive that holds ``folder``; ``None`` if each file is given out by itself, as ``.gz``.
    mirrors : tuple of str
        Addresses that ``archive`` or the files' names are appended to, in the order in which they are asked.
    build : callable
        Makes the data set from the files' bytes and the name to give it.
    stand_in : callable
        Makes what is used when there is no copy and no network.
    unofficial_name : str or None
        Name of a copy in ``$NUTSHELL_DATA`` that has the right layout and other check sums, for pictures that
        were packed with loss; ``None`` refuses such a copy.
    """

    key: str
    folder: str
    files: tuple[File, ...]
    archive: str | None
    mirrors: tuple[str, ...]
    build: Callable[[Contents, str], Dataset]
    stand_in: Callable[[], Dataset]
    unofficial_name: str | None = None

    def parcels(self) -> tuple[tuple[str, tuple[File, ...]], ...]:
        """What has to be downloaded: a name on the mirror, and the files that are in it."""
        if self.archive is not None:
            return ((self.archive, self.files),)
        return tuple((f"{file.name}.gz", (file,)) for file in self.files)

    def places(self) -> tuple[str, ...]:
        """Names of folders that it may lie in, below a folder of data sets."""
        return (self.folder,)

    def is_in(self, folder: Path) -> bool:
        """Whether some of its files lie in this folder itself."""
        return any(_spellings(folder, file) for file in self.files)

    def is_archive(self, path: Path) -> bool:
        """Whether a file is the publisher's archive, by its name."""
        return path.name == self.archive

    def read(self, path: Path, place: str) -> "Copy":
        """Read a copy and check it; see :func:`read_copy`."""
        contents = read_files(self, path)
        official = _is_official(self, contents, path, place == "NUTSHELL_DATA")
        name = self.key if official or self.unofficial_name is None else self.unofficial_name
        return Copy(name, contents, path, place)

    def stamps(self, path: Path) -> list[Path]:
        """The files that a copy at ``path`` is read from."""
        return [path] if path.is_file() else [found for file in self.files for found in _spellings(path, file)]

    def stand_in_name(self) -> str:
        """What the stand-in is called."""
        return self.stand_in().name

    def write(self, contents: Contents, folder: Path) -> int:
        """Lay a copy's files out below ``folder`` as the publisher does; returns their bytes."""
        for name, data in contents.items():
            data.tofile(folder / name)
        return sum(data.nbytes for data in contents.values())

    def looks_like(self) -> str:
        """What to look for, for people."""
        return f"{self.files[0].name}[.gz] and so on, in {self.folder}/" + (
            f", or {self.archive}" if self.archive else "")


@dataclass(frozen=True)
class Copy:
    """A copy on this machine that has been read and checked.

    Attributes
    ----------
    name : str
        What the data set is called: its key, or the source's ``unofficial_name``.
    contents : dict or Files
        File name → uint8, shape ``(size,)``; or what pictures are read from, for a data set without check sums.
    path : Path
        The folder or archive.
    place : str
        ``"NUTSHELL_DATA"`` or ``"cache"``.
    """

    name: str
    contents: Any
    path: Path
    place: str


def data_folder() -> Path | None:
    """Folder named by ``NUTSHELL_DATA``; ``None`` if it isn't set.

    Raises
    ------
    WrongUse
        If it names no folder.
    """
    value = os.environ.get(DATA_VARIABLE, "")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise WrongUse(f"{DATA_VARIABLE}={value} is no folder. Point it at the folder that holds mnist/ and "
                       f"cifar-10-batches-bin/, or unset it to use the cache.")
    return folder


def cache_folder() -> Path:
    """Where downloads are kept: the user's cache, as this system has it. It need not exist yet."""
    return platformdirs.user_cache_path("nutshell", appauthor=False) / "data"


def is_offline() -> bool:
    """Whether ``NUTSHELL_OFFLINE`` forbids downloads: set, and neither empty nor ``0``."""
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


def find_local(source: AnySource) -> Copy | None:
    """Find and check a copy on this machine: in ``$NUTSHELL_DATA``, then in the cache.

    Returns
    -------
    Copy or None
        ``None`` if neither place has any of its files.

    Raises
    ------
    Refused
        If the first place that has some of the files has a broken, incomplete or wrong copy. It is never passed
        over in silence, since figures measured on other data would follow.
    """
    root = data_folder()
    if root is not None and (path := locate(source, root)) is not None:
        try:
            return read_copy(source, path, "NUTSHELL_DATA")
        except Refused as error:
            raise Refused(f"{error} Put the publisher's file there, or point {DATA_VARIABLE} elsewhere.") from None
    if (path := locate(source, cache_folder())) is not None:
        try:
            return read_copy(source, path, "cache")
        except Refused as error:
            raise Refused(f"{error} `nutshell data fetch {source.key}` downloads it anew.") from None
    return None


def locate(source: AnySource, root: Path) -> Path | None:
    """Where below ``root`` files of a source lie, whole or not: its folder, or else its archive.

    Raises
    ------
    Trouble
        If this user may not look there.
    """
    try:
        for folder in (root / name for name in source.places()):
            if source.is_in(folder):
                return folder
        if source.archive is not None and (root / source.archive).is_file():
            return root / source.archive
    except PermissionError as error:
        raise Trouble(f"{error.filename}: {error.strerror}. Make {root} readable, or use another folder.") from None
    return None


def stamp(source: AnySource) -> tuple[tuple[str, int, int], ...]:
    """Paths, times and sizes of the files that :func:`find_local` would look at: equal as long as those stay."""
    found: list[Path] = []
    for root in (data_folder(), cache_folder()):
        if root is not None and (path := locate(source, root)) is not None:
            found += source.stamps(path)
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in found)


def read_copy(source: AnySource, path: Path, place: str) -> Copy:
    """Read all files of a copy and check lengths and check sums; of pictures in folders, list them and check that.

    Parameters
    ----------
    source : Source
        What it should be.
    path : Path
        Folder that holds the files themselves, or the publisher's archive.
    place : str
        ``"NUTSHELL_DATA"`` admits an unofficial copy if the source has a name for it; no other place does.

    Raises
    ------
    Refused
        If a file is missing, truncated, corrupt or wrong.
    """
    return source.read(path, place)


def read_files(source: Source, path: Path) -> Contents:
    """Read a source's files from a folder or an archive; lengths are checked, contents aren't."""
    if path.is_dir():
        return {file.name: read_bytes(_spelling(path, file), file.size) for file in source.files}
    members = read_tar(path, {f"{source.folder}/{file.name}": file.size for file in source.files})
    return {name.split("/")[-1]: data for name, data in members.items()}


def check_sum(data: np.ndarray) -> str:
    """SHA-256 of an array's bytes, in hexadecimal.

    Examples
    --------
    >>> check_sum(np.zeros(0, np.uint8))[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(np.ascontiguousarray(data).data).hexdigest()


def check_official(file: File, data: np.ndarray, source: str) -> None:
    """Refuse bytes that are not the publisher's; ``source`` names the file in the error."""
    if (found := check_sum(data)) != file.sha256:
        raise _not_official(file, found, source)


def _is_official(source: Source, contents: Contents, path: Path, admit_unofficial: bool) -> bool:
    """Whether these are the publisher's bytes; refused unless they are, or none of them is and that is admitted.

    A copy in which only some files differ is the publisher's with damage, and not a copy packed in another way.
    """
    sums = {file.name: check_sum(contents[file.name]) for file in source.files}
    differing = [file for file in source.files if sums[file.name] != file.sha256]
    if not differing:
        return True
    if source.unofficial_name is None or not admit_unofficial or len(differing) < len(source.files):
        file = differing[0]
        raise _not_official(file, sums[file.name], str(path / file.name) if path.is_dir() else f"{path}: {file.name}")
    if len(set(sums.values())) < len(sums):
        twins = [name for name in sums if list(sums.values()).count(sums[name]) > 1]
        raise wrong(path, f"{len(sums)} different files", f"the same bytes in {' and '.join(twins)}")
    return False


def _not_official(file: File, found: str, source: str) -> Refused:
    return wrong(source, f"the publisher's bytes, SHA-256 {file.sha256} when decompressed", f"SHA-256 {found}")


def _spellings(folder: Path, file: File) -> list[Path]:
    # Some unpackers restore the name within MNIST's .gz, which has a dot: train-images.idx3-ubyte.
    names = (file.name, f"{file.name}.gz", file.name.replace("-idx", ".idx"))
    return [folder / name for name in dict.fromkeys(names) if (folder / name).is_file()]


def _spelling(folder: Path, file: File) -> Path:
    found = _spellings(folder, file)
    if not found:
        names = sorted(path.name for path in folder.iterdir())
        raise wrong(folder, f"{file.name} or {file.name}.gz in it", ", ".join(names[:8]) or "an empty folder")
    return found[0]
