"""Download a data set into the cache: mirrors in turn, check sums of the decompressed bytes, all or nothing.

Everything lands in a scratch folder first. Only a copy that is whole and checked is renamed to its place, so whatever
interrupts a download leaves nothing behind that looks like one.
"""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from nutshell.data.folders import FolderSource
from nutshell.data.formats import read_bytes, read_tar
from nutshell.data.sources import AnySource, Contents, File, Source, cache_folder, check_official, is_offline, read_copy
from nutshell.errors import Refused, Trouble

REACH_SECONDS = 4.0  # to find the host and open a connection
STALL_SECONDS = 20.0  # between two pieces of a file
CHUNK = 1 << 16  # bytes
SCRATCH = ".incomplete-"
STALE_SECONDS = 86_400


def download(source: AnySource, *, progress: bool = True) -> Path:
    """Download a whole copy of a data set into the cache.

    Parameters
    ----------
    source : Source or FolderSource
        What, and from which mirrors; a mirror that fails once is not asked again.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    Path
        Folder in the cache that holds the checked files.

    Raises
    ------
    Trouble
        If downloads are forbidden, no mirror gives a whole copy, or the cache can't be written. The message has each
        mirror's reason.
    """
    if is_offline():
        raise Trouble("NUTSHELL_OFFLINE forbids downloads.")
    if isinstance(source, FolderSource):
        return _download_folder(source, progress)
    mirrors = _Mirrors(source.mirrors)
    with _scratch() as scratch:
        contents: Contents = {}
        for name, files in source.parcels():
            contents |= mirrors.first_whole(source, name, files, scratch, progress)
        return _install(source, contents, scratch)


def _download_folder(source: FolderSource, progress: bool) -> Path:
    """Get pictures: their publisher's archive, or piece by piece as the source says."""
    if silent := unreachable((source.address,), REACH_SECONDS):
        raise Trouble(f"{source.key} could not be downloaded.\n  {source.address}: {silent[source.address]}")
    with _scratch() as scratch:
        try:
            if source.download is not None:
                source.download(scratch / source.folder, progress)
                return _put(source, scratch, lambda folder: None)
            archive = _get(source.address, scratch / source.archive, progress)
            copy = source.read(archive, "cache")
            return _put(source, scratch, lambda folder: source.write(copy.contents, folder))
        except Refused as error:
            raise Trouble(f"{source.key} could not be downloaded whole from {source.address}.\n  {error}") from None
        except OSError as error:  # among them every error of requests
            raise Trouble(f"{source.key} could not be downloaded.\n  {source.address}: {_short(error)}") from None


def keep(source: AnySource, contents: Any) -> Path:
    """Put a checked copy that came from elsewhere into the cache.

    Returns
    -------
    Path
        Its folder there.

    Raises
    ------
    Trouble
        If the cache can't be written.
    """
    with _scratch() as scratch:
        return _install(source, contents, scratch)


def _install(source: AnySource, contents: Any, scratch: Path) -> Path:
    """Write checked files to ``scratch`` and rename their folder to its place in the cache."""
    return _put(source, scratch, lambda folder: source.write(contents, folder))


def _put(source: AnySource, scratch: Path, write: Callable[[Path], object]) -> Path:
    """Rename what is written in ``scratch`` to its place in the cache, and check what comes to stand there."""
    folder, target = scratch / source.folder, cache_folder() / source.folder
    folder.mkdir(exist_ok=True)
    write(folder)
    if not target.exists():
        try:
            folder.rename(target)
            return target
        except OSError:
            if not target.exists():
                raise
    # Either somebody else was quicker, and theirs is as good, or what is there is damaged.
    try:
        read_copy(source, target, "cache")
    except Refused:
        target.rename(scratch / "replaced")
        folder.rename(target)
    return target


class _Mirrors:
    """Addresses that are asked in turn; one that fails once is struck off and its reason kept.

    Parameters
    ----------
    addresses : tuple of str
        Those that nothing answers at are struck off at once, all within :data:`REACH_SECONDS`.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        silent = unreachable(addresses, REACH_SECONDS)
        self.left = [address for address in addresses if address not in silent]
        self.reasons = [f"{address}: {reason}" for address, reason in silent.items()]

    def first_whole(
        self, source: Source, name: str, files: tuple[File, ...], scratch: Path, progress: bool
    ) -> Contents:
        """Get one parcel from the first mirror that has it whole."""
        while self.left:
            url = self.left[0] + name
            try:
                return _unpack(source, _get(url, scratch / name, progress), files, url)
            except Refused as error:
                self.reasons.append(str(error))
            except OSError as error:  # among them every error of requests
                self.reasons.append(f"{url}: {_short(error)}")
            self.left.pop(0)
        reasons = "\n".join(f"  {reason}" for reason in self.reasons)
        raise Trouble(f"{source.key} could not be downloaded: none of {len(source.mirrors)} mirrors gave it whole.\n"
                      f"{reasons}")


def _get(url: str, path: Path, progress: bool) -> Path:
    """Download to ``path`` with a bar; connecting and silence are limited in time, the whole isn't."""
    import pooch
    from tqdm import tqdm

    # pooch sets the total as soon as the mirror says it, and asks before whether the bar is true, so it needs one.
    with tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=not progress) as bar:
        fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=(REACH_SECONDS, STALL_SECONDS))
        fetch(url, path, None)
    return path


def _unpack(source: Source, path: Path, files: tuple[File, ...], url: str) -> Contents:
    """Read the parcel's files and check them; errors name the address, since the scratch file goes away."""
    try:
        if source.archive is None:
            contents = {file.name: read_bytes(path, file.size) for file in files}
        else:
            members = read_tar(path, {f"{source.folder}/{file.name}": file.size for file in files})
            contents = {name.split("/")[-1]: data for name, data in members.items()}
    except Refused as error:
        raise Refused(str(error).replace(str(path), url)) from None
    for file in files:
        check_official(file, contents[file.name], f"{url}: {file.name}")
    path.unlink()
    return contents


def unreachable(addresses: tuple[str, ...], seconds: float) -> dict[str, str]:
    """Find out which addresses no connection opens to, or to the proxy before them.

    Looking a name up has no time limit of its own and can hang without a network, hence the threads; all addresses
    are tried at the same time.

    Returns
    -------
    dict
        Address → reason.
    """
    outcome = dict.fromkeys(addresses, f"no answer within {seconds:g} s")

    def attempt(address: str) -> None:
        try:
            socket.create_connection(_host_and_port(address), timeout=seconds).close()
        except OSError as error:
            outcome[address] = _short(error)
        else:
            outcome[address] = ""

    threads = [threading.Thread(target=attempt, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {address: reason for address, reason in outcome.items() if reason}


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder beside the cached data sets that goes away at the end, however it comes."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{SCRATCH}*"):  # of a process that was killed
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=cache) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise Trouble(f"The cache {cache} can't be written: {error}.") from None


def _short(error: Exception) -> str:
    """First line of an error, without the library's nesting."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
