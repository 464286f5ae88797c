"""Quick, Draw!: what people draw in twenty seconds, 28×28 pixels, one ``.npy`` file a word (Ha and Eck 2017).

Google gives out ``full/numpy_bitmap``, uint8 ``(N, 784)``, over 100,000 drawings and 100 MB a word. A frugal reader
takes the first few thousand: an array's rows lie one after the other, so a piece of the file is a whole, smaller array.
"""

import ast
import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from nutshell.data.albums import Album, Picture, View, scale
from nutshell.data.applications import drawn
from nutshell.data.dataset import Split
from nutshell.data.files import Files
from nutshell.data.folders import FolderSource
from nutshell.data.formats import wrong
from nutshell.data.splits import in_order
from nutshell.errors import Refused, WrongUse

CLASSES = ("apple", "bicycle", "cat", "diamond", "eye", "fish")
LIMIT = 3_000  # drawings of a class that are used
SHAPE = (1, 28, 28)
ROW = 28 * 28
ADDRESS = "https://storage.googleapis.com/quickdraw_dataset/full/numpy_bitmap/"
HEADER = 4_096  # bytes, in which a header must end

SHA256 = {  # of the first 3,000 drawings, row by row
    "apple": "04257f73090ed4d73d51866d3dd188e72fdb26ab8a17da5db0879c31afac4354",
    "bicycle": "a00521e3e28a6c3879cabb2b8003ef0f1e4ae374aaca969c02b91923df21232d",
    "cat": "c1547cd8657c8a7268eac57c463f43b7fe755b818aeb0ce293085c96df5b83d4",
    "diamond": "1549492fa54807440d5cd434b0be6567e668024d54e164fed7a7ff3d154fac4f",
    "eye": "9ff8623490d810537c8386545e20d6c3f9fcab55ce5ebba1cc271ab911614347",
    "fish": "84d4bc35bfc46e685621921ee94c79a986b2a654acd066b47e881061210695c5",
}


class Sketches(Album):
    """Drawings as rows of ``.npy`` files; a picture's name is ``"cat.npy:17"`` for row 17."""

    def decode(self, picture: Picture) -> np.ndarray:
        """One drawing, uint8 of the view's shape; only its own bytes are read."""
        return self._rows([picture])[0]

    def split(self, pictures: Sequence[Picture]) -> Split:
        """Drawings in memory; rows that lie together are read together."""
        images = np.empty((len(pictures), *self.view.shape), np.uint8)
        for start, stop in _runs(pictures):
            images[start:stop] = self._rows(pictures[start:stop])
        labels = torch.tensor([picture.target for picture in pictures], dtype=torch.int64)
        return Split(torch.from_numpy(images), labels, self.mean, self.std)

    def _rows(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Neighbouring rows of one file, ``(N, C, H, W)``."""
        file, first = place_of(pictures[0].name)
        source = f"{self.files.place}/{file}"
        start, _ = parse_header(self.files.read(file, HEADER), source)
        content = self.files.read(file, ROW * len(pictures), start + ROW * first)
        if len(content) < ROW * len(pictures):
            raise wrong(source, f"{first + len(pictures):,} drawings", "an end before that: it is truncated")
        rows = np.frombuffer(content, np.uint8).reshape(-1, 1, 28, 28)
        if self.view.shape == SHAPE:
            return rows
        return np.stack([scale(row, self.view) for row in rows])


def place_of(name: str) -> tuple[str, int]:
    """File and row of a drawing.

    Examples
    --------
    >>> place_of("hot air balloon.npy:17")
    ('hot air balloon.npy', 17)
    """
    file, _, row = name.rpartition(":")
    return file, int(row)


def _runs(pictures: Sequence[Picture]) -> list[tuple[int, int]]:
    """Stretches of a list whose rows follow one another in one file."""
    starts = [0]
    for at in range(1, len(pictures)):
        (file, row), (before, last) = place_of(pictures[at].name), place_of(pictures[at - 1].name)
        if (file, row) != (before, last + 1):
            starts.append(at)
    return list(zip(starts, [*starts[1:], len(pictures)], strict=True)) if pictures else []


def parse_header(content: bytes, source: str) -> tuple[int, int]:
    """Read the beginning of a ``.npy`` file, format 1.0 (numpy.lib.format), without believing it.

    Returns
    -------
    start : int
        Byte at which the rows begin.
    count : int
        Drawings that the header promises.

    Raises
    ------
    Refused
        If it isn't an array of uint8 with rows of 784 values; nothing in it is ever unpickled.
    """
    if content[:6] != b"\x93NUMPY" or len(content) < 10:
        raise wrong(source, "a .npy file, which begins with 93 4e 55 4d 50 59", content[:6].hex(" ") or "nothing")
    start = 10 + int.from_bytes(content[8:10], "little")
    try:
        header = ast.literal_eval(content[10:start].decode("latin-1").strip())
        kind, shape, turned = header["descr"], header["shape"], header["fortran_order"]
    except (SyntaxError, ValueError, KeyError, TypeError, MemoryError, RecursionError):
        raise wrong(source, "a header of format 1.0", "something else") from None
    if kind != "|u1" or turned or not (isinstance(shape, tuple) and len(shape) == 2 and shape[1] == ROW):
        raise wrong(source, f"unsigned bytes of shape (N, {ROW})", f"{kind} of shape {shape}")
    return start, int(shape[0])


def album(files: Files, name: str, classes: Sequence[str] = CLASSES, limit: int = LIMIT) -> Album:
    """List the first drawings of each class, cut by position (:func:`nutshell.data.splits.in_order`).

    Parameters
    ----------
    files : Files
        ``apple.npy`` and so on.
    name : str
        Of the data set.
    classes : sequence of str
        Words of which there are files, at least two.
    limit : int
        Drawings of each, at most; at least 10.

    Raises
    ------
    Refused
        If a file is missing, is no array of drawings, or holds fewer than 10.
    WrongUse
        If ``classes`` or ``limit`` make no data set.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes) or limit < 10:
        raise WrongUse(f"classes={tuple(classes)}, limit={limit}: give two different words or more, and at least 10.")
    here = files.names()
    parts: tuple[list[Picture], list[Picture], list[Picture]] = [], [], []
    for label, word in enumerate(classes):
        file = f"{word}.npy"
        if file not in here:
            raise wrong(files.place, file, ", ".join(here[:8]) or "no such file")
        _, count = parse_header(files.read(file, HEADER), f"{files.place}/{file}")
        try:
            cut = in_order(min(count, limit))
        except ValueError as error:
            raise Refused(f"{files.place}/{file}: {error}") from None
        for pictures, rows in zip(parts, cut, strict=True):
            pictures += [Picture(f"{file}:{row}", label) for row in rows]
    train, validation, test = map(tuple, parts)
    return Sketches(name, files, train, validation, test, tuple(classes), View(SHAPE), (0.0,), (1.0,))


def download(folder: Path, progress: bool, address: str = ADDRESS) -> None:
    """Get the first 3,000 drawings of each of six words: 14 MB instead of 750, by asking for a piece of each file.

    Raises
    ------
    Refused
        If these aren't the drawings that the course was measured on.
    requests.RequestException
        If the network fails.
    """
    from tqdm.auto import tqdm

    folder.mkdir()
    for word in tqdm(CLASSES, desc="quickdraw", unit="word", disable=not progress):
        url = f"{address}{quote(word)}.npy"
        rows = first_rows(url, LIMIT)
        if (found := hashlib.sha256(rows.tobytes()).hexdigest()) != SHA256[word]:
            raise wrong(url, f"{LIMIT:,} drawings with SHA-256 {SHA256[word]}", f"SHA-256 {found}")
        np.save(folder / f"{word}.npy", rows)


def first_rows(url: str, count: int) -> np.ndarray:
    """The first drawings of a file on a server, uint8 ``(count, 784)``; no more than about that is transferred."""
    import requests

    most = HEADER + count * ROW
    with requests.get(url, headers={"Range": f"bytes=0-{most - 1}"}, stream=True, timeout=(4, 20)) as answer:
        answer.raise_for_status()
        content = b""
        for piece in answer.iter_content(1 << 16):  # a server that knows no ranges sends all of it; we hang up then
            content += piece
            if len(content) >= most:
                break
    start, promised = parse_header(content, url)
    if promised < count or len(content) < start + count * ROW:
        raise wrong(url, f"{count:,} drawings", f"{min(promised, (len(content) - start) // ROW):,}")
    return np.frombuffer(content[start : start + count * ROW], np.uint8).reshape(count, ROW)


QUICKDRAW = FolderSource(
    key="quickdraw",
    folder="quickdraw",
    layout=r"(?:^|/)([^./\\:][^/\\:]*\.npy)$",
    signs=tuple(f"{word}.npy" for word in CLASSES),
    archive="quickdraw.zip",
    address=ADDRESS,
    megabytes=14,
    list_album=album,
    draw=drawn.sketches,
    on_request=False,
    download=download,
    licence="Google, CC BY 4.0",
)
