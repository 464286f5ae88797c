"""The publishers' file formats: MNIST's IDX, packed or not, and CIFAR-10's binary records, loose or in their archive.

Readers take bytes that came from anywhere, so each says which file, what it expected and what it found, and none
allocates more than the caller allows.
"""

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np

from nutshell.errors import Refused

GZIP_MAGIC = b"\x1f\x8b"
IDX_UNSIGNED_BYTE = 0x08
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes row by row


def read_bytes(path: Path, size: int) -> np.ndarray:
    """Contents of a file that is known to hold ``size`` bytes once it is decompressed.

    Parameters
    ----------
    path : Path
        Gzip-compressed or not; the file's first bytes decide, not its name.
    size : int
        Bytes, decompressed. No more than one byte over it is ever decompressed.

    Returns
    -------
    numpy.ndarray
        uint8, shape ``(size,)``.

    Raises
    ------
    Refused
        If the file is truncated, corrupt, or of another size.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
        data = _unpack_gzip(path, size) if packed else np.fromfile(path, dtype=np.uint8, count=size + 1)
    except EOFError:
        raise wrong(path, "a whole gzip file", "one that ends early: it is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise wrong(path, "a gzip file in order", f"a corrupt one ({error})") from None
    except OSError as error:
        raise wrong(path, "a file that can be read", error.strerror or str(error)) from None
    if len(data) != size:
        found = f"{len(data):,} bytes" if len(data) < size else f"more than that ({path.stat().st_size:,} on disk)"
        raise wrong(path, f"{size:,} bytes once decompressed", found)
    return data


def _unpack_gzip(path: Path, size: int) -> np.ndarray:
    with gzip.open(path, "rb") as file:
        return np.frombuffer(file.read(size + 1), dtype=np.uint8)


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file of unsigned bytes, MNIST's format.

    Parameters
    ----------
    path : Path
        Gzip-compressed or not.
    shape : tuple of int
        What the file must hold, ``(N, 28, 28)`` for images and ``(N,)`` for labels.

    Returns
    -------
    numpy.ndarray
        uint8, of that shape.

    Raises
    ------
    Refused
        If the file holds anything else.
    """
    return parse_idx(read_bytes(path, idx_size(shape)), shape, str(path))


def idx_size(shape: tuple[int, ...]) -> int:
    """Bytes of an IDX file of unsigned bytes: magic number, one 4-byte size a dimension, data.

    Examples
    --------
    >>> idx_size((60_000, 28, 28))
    47040016
    """
    return 4 + 4 * len(shape) + int(np.prod(shape, dtype=np.int64))


def parse_idx(data: np.ndarray, shape: tuple[int, ...], source: str) -> np.ndarray:
    """Interpret the bytes of an IDX file; ``source`` names the file in errors.

    IDX is: two zero bytes, a type code (8 for unsigned bytes), the number of dimensions, each dimension as a
    big-endian 32-bit integer, and the values in row-major order (http://yann.lecun.com/exdb/mnist/).

    Examples
    --------
    >>> parse_idx(np.array([0, 0, 8, 1, 0, 0, 0, 2, 7, 9], np.uint8), (2,), "labels")
    array([7, 9], dtype=uint8)
    """
    header = 4 + 4 * len(shape)
    magic = bytes([0, 0, IDX_UNSIGNED_BYTE, len(shape)])
    if bytes(data[:4]) != magic:
        raise wrong(source, f"IDX of unsigned bytes with {len(shape)} dimensions, which begins with {magic.hex(' ')}",
                    bytes(data[:4]).hex(" ") or "nothing")
    if len(data) < header:
        raise wrong(source, f"a header of {header} bytes", f"{len(data)} bytes: it is truncated")
    found = tuple(int(size) for size in np.frombuffer(bytes(data[4:header]), dtype=">u4"))
    if found != shape:
        raise wrong(source, f"shape {shape}", f"shape {found}")
    if len(data) != idx_size(shape):
        raise wrong(source, f"{idx_size(shape):,} bytes", f"{len(data):,} bytes")
    return data[header:].reshape(shape)


def parse_cifar(data: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Split CIFAR-10's binary records into images and labels, without a copy.

    A record is 3,073 bytes: the label, then 1,024 red, 1,024 green and 1,024 blue values, each plane row by row
    (https://www.cs.toronto.edu/~kriz/cifar.html).

    Parameters
    ----------
    data : numpy.ndarray
        uint8, a whole number of records.
    source : str
        Names the file in errors.

    Returns
    -------
    images : numpy.ndarray
        uint8, shape ``(N, 3, 32, 32)``.
    labels : numpy.ndarray
        uint8, shape ``(N,)``, 0 to 9.

    Examples
    --------
    >>> images, labels = parse_cifar(np.full(3073, 9, np.uint8), "batch")
    >>> images.shape, labels
    ((1, 3, 32, 32), array([9], dtype=uint8))
    """
    if len(data) == 0 or len(data) % CIFAR_RECORD:
        raise wrong(source, f"a whole number of records of {CIFAR_RECORD:,} bytes", f"{len(data):,} bytes")
    records = data.reshape(-1, CIFAR_RECORD)
    labels = records[:, 0]
    check_labels(labels, 10, source)
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def check_labels(labels: np.ndarray, classes: int, source: str) -> None:
    """Refuse labels outside 0 … ``classes`` − 1, saying where the first one stands.

    Examples
    --------
    >>> check_labels(np.array([0, 9], np.uint8), 10, "labels")
    """
    strange = np.flatnonzero(labels >= classes)
    if len(strange):
        raise wrong(source, f"labels from 0 to {classes - 1}",
                    f"{labels[strange[0]]} at image {strange[0]:,} ({len(strange):,} such labels)")


def read_tar(path: Path, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Read files out of a tar archive in memory; nothing is unpacked to disk.

    Parameters
    ----------
    path : Path
        Compressed in any way that :mod:`tarfile` knows, or not.
    sizes : dict
        Name in the archive → bytes. Other members are passed over.

    Returns
    -------
    dict
        Name → uint8, shape ``(size,)``, for every name asked for.

    Raises
    ------
    Refused
        If the archive is truncated or corrupt, or one of the names is missing, no plain file, or of another size.
    """
    contents: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(path, "r|*", bufsize=1 << 20) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in sizes and name not in contents:
                    contents[name] = _read_member(archive, member, sizes[name], f"{path}: {name}")
                    if len(contents) == len(sizes):
                        break
    except EOFError:
        raise wrong(path, "a whole archive", "one that ends early: it is truncated") from None
    except (tarfile.TarError, zlib.error) as error:
        raise wrong(path, "a tar archive in order", f"a truncated or corrupt one ({error})") from None
    except OSError as error:
        raise wrong(path, "a file that can be read", error.strerror or str(error)) from None
    missing = [name for name in sizes if name not in contents]
    if missing:
        raise wrong(path, f"{len(sizes)} files, among them {missing[0]}", f"{len(contents)} of them")
    return contents


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, size: int, source: str) -> np.ndarray:
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        raise wrong(source, "a plain file", "a folder, a link or a device")
    if member.size != size:
        raise wrong(source, f"{size:,} bytes", f"{member.size:,} bytes")
    return np.frombuffer(file.read(), dtype=np.uint8)  # all of it: tarfile refuses a member that ends early


def wrong(source: Path | str, expected: str, found: str) -> Refused:
    """Build the error for a file that isn't what it should be.

    Examples
    --------
    >>> print(wrong("labels", "10 bytes", "9"))
    labels: expected 10 bytes; found 9.
    """
    return Refused(f"{source}: expected {expected}; found {found}.")
