"""Images that lie on a disk and are read one at a time, for data sets larger than the memory that they may use.

A *shelf* knows how many images it holds and reads one by its number. One kind is a ``.npy`` file; another draws its
images by number, so that a shelf of a billion of them takes no room and tests need no file. A drawn shelf can have
little *room*: it raises once more images than that are held at the same time.

>>> shelf = open_shelf("drawn:1000?room=2")
>>> held = [shelf.read(number) for number in (0, 1)]
>>> shelf.read(2)
Traceback (most recent call last):
MemoryError: 3 images are held at once and there is room for 2. Let go of images before you read more.
"""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from nutshell.errors import Refused, WrongUse

DRAWN = "drawn:"
_OPTIONS = {"seed": 0, "room": None, "reads": None, "channels": 1, "side": 4}


class Shelf(Protocol):
    """Images by number: ``len(shelf)`` of them, each a uint8 array ``(C, H, W)`` that ``read`` brings into memory."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> np.ndarray: ...


class DrawnShelf:
    """Images that a generator draws from the seed and their number, in as much memory as is allowed.

    Parameters
    ----------
    count : int
        Images on it; a billion take no more room than one.
    seed : int
        Seed of all of them.
    room : int, optional
        Most images that may be held at once; without end if left out. An image counts until nothing refers to it
        any more, slices and tensors that share its memory included.
    reads : int, optional
        Most images that may be read in all, so that a loop over a billion of them ends at once and with words.
    channels, side : int
        Size of an image.

    Attributes
    ----------
    held, most_held, read_so_far : int
        Images in memory now, the most there ever were, and reads.
    """

    def __init__(self, count: int, seed: int = 0, room: int | None = None, reads: int | None = None,
                 channels: int = 1, side: int = 4) -> None:
        self.count, self.seed, self.room, self.reads = count, seed, room, reads
        self.shape = (channels, side, side)
        self.held = self.most_held = self.read_so_far = 0

    def __len__(self) -> int:
        return self.count

    def read(self, number: int) -> np.ndarray:
        """Draw image ``number``, 0 to ``len(shelf) − 1``.

        Raises
        ------
        IndexError
            If there is no such image.
        MemoryError
            If more are held than there is room for, or more were read than may be.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"Image {number} of a shelf that holds {self.count}: their numbers begin with 0.")
        if self.reads is not None and self.read_so_far >= self.reads:
            raise MemoryError(f"{self.reads} images were read and that was enough for the batches asked for so far. "
                              "Read an image only when a batch is about to need it.")
        if self.room is not None and self.held >= self.room:
            raise MemoryError(f"{self.held + 1} images are held at once and there is room for {self.room}. "
                              "Let go of images before you read more.")
        image = np.random.default_rng((self.seed, number)).integers(0, 256, self.shape, dtype=np.uint8)
        self.read_so_far += 1
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        weakref.finalize(image, self._let_go)
        return image

    def _let_go(self) -> None:
        self.held -= 1


class FileShelf:
    """The images of a ``.npy`` file, uint8 of shape ``(N, C, H, W)``, read with as many bytes as each has.

    Parameters
    ----------
    path : Path
        As :func:`numpy.save` writes it.

    Raises
    ------
    Refused
        If it holds something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            header = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise Refused(f"{path} is no whole .npy file of numbers: {error}.") from None
        if header.dtype != np.uint8 or header.ndim != 4 or not header.flags.c_contiguous:
            raise Refused(f"{path} holds {header.dtype} of shape {header.shape}; expected uint8 of shape "
                          "(N, C, H, W), row by row.")
        self.path, self.count, self.shape = path, len(header), header.shape[1:]
        self.start = path.stat().st_size - header.nbytes

    def __len__(self) -> int:
        return self.count

    def read(self, number: int) -> np.ndarray:
        """Read image ``number``; ``IndexError`` if there is no such image."""
        if not 0 <= number < self.count:
            raise IndexError(f"Image {number} of a shelf that holds {self.count}: their numbers begin with 0.")
        size = int(np.prod(self.shape))
        return np.fromfile(self.path, np.uint8, size, offset=self.start + number * size).reshape(self.shape)


def open_shelf(place: str | Path) -> DrawnShelf | FileShelf:
    """Open a shelf by its address; nothing is read yet.

    Parameters
    ----------
    place : str or Path
        Name of a ``.npy`` file, or ``"drawn:COUNT"`` with options such as ``?seed=1&room=64``: those of
        :class:`DrawnShelf`.

    Raises
    ------
    WrongUse
        If there is no such file, or an option is unknown or no whole number.

    Examples
    --------
    >>> shelf = open_shelf("drawn:1000000000?seed=3")
    >>> len(shelf), shelf.read(999_999_999).shape
    (1000000000, (1, 4, 4))
    """
    if not str(place).startswith(DRAWN):
        if not Path(place).is_file():
            raise WrongUse(f"There is no file {place}. Write one with numpy.save, or open a drawn shelf: drawn:1000.")
        return FileShelf(Path(place))
    count, _, rest = str(place)[len(DRAWN):].partition("?")
    options = dict(parse_qsl(rest))
    unknown = sorted(options.keys() - _OPTIONS.keys())
    if unknown or not all(value.isdecimal() for value in (count, *options.values())):
        raise WrongUse(f"{place!r} is no address of a drawn shelf: write drawn:COUNT, then options among "
                       f"{', '.join(_OPTIONS)}, each a whole number, as in drawn:1000?seed=1&room=64.")
    return DrawnShelf(int(count), **{name: int(value) for name, value in options.items()})


class _Streamed(IterableDataset):
    def __init__(self, stream: Callable[..., Iterator[Any]], place: str, batch_size: int,
                 options: dict[str, Any]) -> None:
        self.stream, self.place, self.batch_size, self.options = stream, place, batch_size, options

    def __iter__(self) -> Iterator[Any]:
        me = get_worker_info()
        worker, workers = (0, 1) if me is None else (me.id, me.num_workers)
        return iter(self.stream(self.place, self.batch_size, worker=worker, workers=workers, **self.options))


def loader(stream: Callable[..., Iterator[Any]], place: str | Path, batch_size: int, *, workers: int = 0,
           ahead: int = 2, **options: Any) -> DataLoader:
    """A torch ``DataLoader`` whose worker processes each run ``stream`` on a part of the shelf.

    Parameters
    ----------
    stream : callable
        Called as ``stream(place, batch_size, worker=w, workers=W, **options)``; yields batches. With workers on
        systems that start processes anew (macOS, Windows), it must be importable, and one of a notebook is not.
    place : str or Path
        The shelf.
    batch_size : int
        Images a batch.
    workers : int
        Processes; 0 reads in this one.
    ahead : int
        Batches that each worker may prepare ahead: memory that is used on top.
    **options
        Passed on to ``stream``.
    """
    data = _Streamed(stream, str(place), batch_size, options)
    return DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=ahead if workers else None,
                      worker_init_fn=_one_thread)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)  # workers share the machine's cores with the training
