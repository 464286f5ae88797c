"""Data sets by name: ``nutshell.data.mnist()``, ``nutshell.data.load("track")``.

Each comes from ``$NUTSHELL_DATA``, the user's cache or a download, and without a network from a stand-in; the name of
what comes back says which, and it is printed once.
"""

import sys
from typing import Any

from nutshell.data.albums import Album, Picture
from nutshell.data.catalogue import SOURCES
from nutshell.data.dataset import Dataset, Split
from nutshell.data.folders import FolderSource
from nutshell.data.mirrors import download
from nutshell.data.sources import AnySource, Copy, find_local, read_copy
from nutshell.errors import Trouble, WrongUse

__all__ = ["Album", "Dataset", "Picture", "Split", "album", "cifar10", "load", "mnist", "names"]

_announced: set[str] = set()
_no_download: dict[str, str] = {}  # key → why; a process doesn't wait twice for a network that isn't there


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` takes.

    Examples
    --------
    >>> names()
    ('mnist', 'cifar-10', 'track', 'gestures', 'malaria', 'quickdraw')
    """
    return tuple(SOURCES)


def source_of(name: str) -> AnySource:
    """Look a data set's source up.

    Raises
    ------
    WrongUse
        If there is no data set of this name.
    """
    if name not in SOURCES:
        raise WrongUse(f"No data set is called {name!r}. Choose one of: {', '.join(names())}.")
    return SOURCES[name]


def load(name: str, **options: Any) -> Dataset:
    """Load a data set into memory; which copy is in use is part of its name and is printed once.

    It is looked for in ``$NUTSHELL_DATA``, then in the user's cache, then downloaded (not if ``NUTSHELL_OFFLINE=1``,
    and not the large ones, unless ``nutshell data fetch`` asks for them by name). Failing all that, a stand-in is made
    from what is installed.

    Parameters
    ----------
    name : {"mnist", "cifar-10", "track", "gestures", "malaria", "quickdraw"}
        Which.
    **options
        For those that are pictures in files: ``shape=(channels, height, width)`` of a picture as it is looked at, and
        what :mod:`nutshell.data.applications` says of each.

    Returns
    -------
    Dataset
        In three parts that share no image.

    Raises
    ------
    WrongUse
        If there is no data set of this name, it takes no such options, or ``NUTSHELL_DATA`` names no folder.
    Refused
        If a copy is there and is truncated, corrupt, incomplete or something else; the message says which file.
    """
    source = source_of(name)
    if isinstance(source, FolderSource):
        pictures, where = _open(source, options)
        _announce(pictures, where)
        return pictures.load()
    if options:
        raise WrongUse(f"{name} takes no options, and was given {', '.join(options)}.")
    copy = find_local(source) or _download(source)
    if copy is None:
        data = source.stand_in()
        _announce(data, _lacking(name))
    else:
        data = source.build(copy.contents, copy.name)
        hint = "" if copy.path.is_dir() else " Unpack it, and it loads several times faster."
        _announce(data, f"From {copy.path}.{hint}")
    return data


def album(name: str, **options: Any) -> Album:
    """Open a data set of picture files without decoding a picture, for whoever takes them a few at a time.

    Parameters
    ----------
    name : {"track", "gestures", "malaria", "quickdraw"}
        Which; it is looked for as by :func:`load`.
    **options
        As for :func:`load`.

    Returns
    -------
    Album
        Its ``load()`` is what :func:`load` returns.

    Raises
    ------
    WrongUse
        If there is no such data set, or it isn't made of picture files.
    Refused
        If a copy is there and isn't whole.
    """
    source = source_of(name)
    if not isinstance(source, FolderSource):
        raise WrongUse(f"{name} is no data set of picture files: use nutshell.data.load({name!r}).")
    pictures, where = _open(source, options)
    _announce(pictures, where)
    return pictures


def _open(source: FolderSource, options: dict[str, Any]) -> tuple[Album, str]:
    copy = find_local(source) or _download(source)
    try:
        if copy is None:
            return source.stand_in_album(**options), _lacking(source.key)
        return source.album(copy.contents, copy.name, **options), f"From {copy.path}."
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise WrongUse(f"{source.key}: {str(error).split('() ')[-1]}.") from None


def _lacking(name: str) -> str:
    return (f"No copy is on this machine. {_no_download[name]} `nutshell data fetch {name}` "
            f"{'gets' if 'by name' in _no_download[name] else 'tries again for'} the real one.")


def mnist() -> Dataset:
    """MNIST: 28×28 grey handwritten digits; see :func:`load`.

    LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/. 55,000 images for training, 5,000 for validation (the
    last of the publisher's training images) and the publisher's 10,000 for testing; inputs are pixels / 255.

    Returns
    -------
    Dataset
        Images uint8 ``(N, 1, 28, 28)``. Named ``"mnist"``, or ``"mnist (stand-in: scikit-learn's digits)"``.
    """
    return load("mnist")


def cifar10() -> Dataset:
    """CIFAR-10: 32×32 colour photographs of ten kinds of things; see :func:`load`.

    Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. 45,000 images for training, 5,000 for validation (the
    last of the publisher's training images) and the publisher's 10,000 for testing.

    Returns
    -------
    Dataset
        Images uint8 ``(N, 3, 32, 32)``. Named ``"cifar-10"``, ``"cifar-10 (unofficial copy)"`` if the files in
        ``$NUTSHELL_DATA`` have the publisher's layout and other contents, or
        ``"cifar-10 (stand-in: seeded generator)"``.
    """
    return load("cifar-10")


def _download(source: AnySource) -> Copy | None:
    if source.key in _no_download:
        return None
    if isinstance(source, FolderSource) and source.on_request:
        _no_download[source.key] = f"It is downloaded only if asked for by name ({source.megabytes} MB)."
        return None
    try:
        return read_copy(source, download(source), "cache")
    except Trouble as error:
        _no_download[source.key] = str(error).splitlines()[0]
        return None


def _announce(data: Dataset | Album, where: str) -> None:
    """Print which data are in use, once a process; on standard error in a terminal, where output may be piped."""
    if data.name in _announced:
        return
    _announced.add(data.name)
    parts = f"{len(data.train):,} images for training, {len(data.validation):,} validation, {len(data.test):,} test"
    print(f"Data: {data.name}, {parts}. {where}", file=sys.stdout if _in_notebook() else sys.stderr)


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
