"""What ``nutshell data`` does: describe what is here, fetch what is missing, take over a copy."""

import os
from pathlib import Path
from typing import Any

from nutshell.data.catalogue import SOURCES
from nutshell.data.mirrors import download, keep
from nutshell.data.sources import (
    DATA_VARIABLE,
    AnySource,
    cache_folder,
    data_folder,
    find_local,
    is_offline,
    locate,
    read_copy,
)
from nutshell.errors import Refused


def describe_all() -> dict[str, Any]:
    """Describe every data set without downloading anything; plain data, as ``nutshell data status --json`` prints it.

    Returns
    -------
    dict
        ``nutshell_data`` (str or None), ``cache`` (str), ``offline`` (bool) and ``data_sets``: a list of what
        :func:`describe` returns.
    """
    data_folder()  # refuses a variable that names no folder
    return {
        "nutshell_data": os.environ.get(DATA_VARIABLE) or None,
        "cache": str(cache_folder()),
        "offline": is_offline(),
        "data_sets": [describe(source) for source in SOURCES.values()],
    }


def describe(source: AnySource) -> dict[str, Any]:
    """Say which copy of a data set is in use; all of it is read and checked, but pictures in folders are only listed.

    Returns
    -------
    dict
        ``key``; ``name`` of the data set as it would be called, ``None`` if that isn't known before a download is
        tried; ``place`` (``"NUTSHELL_DATA"``, ``"cache"``, ``"stand-in"``, or ``"not here yet"``); ``path`` or
        ``None``; ``problem``: what is wrong with the copy, or ``None``.
    """
    row: dict[str, Any] = {"key": source.key, "name": None, "place": "not here yet", "path": None, "problem": None}
    try:
        copy = find_local(source)
    except Refused as error:
        return row | {"place": "damaged", "problem": str(error)}
    if copy is not None:
        return row | {"name": copy.name, "place": copy.place, "path": str(copy.path)}
    if is_offline() or getattr(source, "on_request", False):
        return row | {"name": source.stand_in_name(), "place": "stand-in"}
    return row


def fetch(source: AnySource) -> str:
    """Download a data set unless a whole copy is here; says in one line what was done.

    Raises
    ------
    Trouble
        If it can't be downloaded.
    Refused
        If ``$NUTSHELL_DATA`` has a damaged copy: a download would not be looked at.
    """
    root = data_folder()
    in_cache = root is None or locate(source, root) is None
    try:
        copy = find_local(source)
    except Refused:
        if not in_cache:
            raise
        copy = None
    if copy is not None:
        return f"{copy.name}: here already, in {copy.path}"
    return f"{source.key}: downloaded to {download(source)}"


def take_over(path: Path) -> list[str]:
    """Copy a publisher's files from a folder or an archive into the cache; says in a line each what was done.

    Parameters
    ----------
    path : Path
        An archive, a folder that holds a data set's files, or a folder that holds such folders or archives.

    Raises
    ------
    Refused
        If there is no data set at ``path``, or one that isn't its publisher's byte by byte; of pictures in folders, one
        whose listing isn't whole.
    """
    lines = []
    for source in SOURCES.values():
        found = _within(source, path)
        if found is not None:
            copy = read_copy(source, found, "cache")
            lines.append(f"{copy.name}: {found} → {keep(source, copy.contents)}")
    if not lines:
        wanted = "; ".join(f"{source.key}: {source.looks_like()}" for source in SOURCES.values())
        raise Refused(f"{path} holds no data set that is known here. Looked for {wanted}.")
    return lines


def _within(source: AnySource, path: Path) -> Path | None:
    if path.is_file():
        return path if source.is_archive(path) else None
    return path if source.is_in(path) else locate(source, path)
