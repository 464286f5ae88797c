"""Whole numbers as bits, the most significant one first, and lengths as bytes."""

import numpy as np

Numbers = np.ndarray
_AT_A_TIME = 1 << 16  # numbers, a multiple of 8, so that a block of one width ends with a byte
MOST_BITS = 32


def pack(values: Numbers, widths: Numbers | int) -> bytes:
    """Write numbers one after the other without gaps; the last byte is filled up with zeros.

    Parameters
    ----------
    values : ndarray of int
        Shape ``(n,)``; each at least 0 and below 2 to the power of its width.
    widths : ndarray of int, or int
        Bits of each number, or of all of them: 0 to 32.

    Examples
    --------
    >>> pack(np.array([1, 2, 3]), 2).hex(), pack(np.array([1, 5]), np.array([1, 3])).hex()
    ('6c', 'd0')
    """
    widths = np.broadcast_to(widths, values.shape)
    most = int(widths.max(initial=0))
    places = np.arange(most)
    written = []
    for start in range(0, len(values), _AT_A_TIME):
        value, width = values[start : start + _AT_A_TIME, None], widths[start : start + _AT_A_TIME, None]
        shifts = width - 1 - places
        written.append((value >> np.maximum(shifts, 0) & 1).astype(bool)[shifts >= 0])
    return np.packbits(np.concatenate(written)).tobytes() if written else b""


def unpack(payload: memoryview | bytes, widths: Numbers | int, count: int | None = None) -> Numbers:
    """The inverse of :func:`pack`.

    Parameters
    ----------
    payload : bytes
        As long as the numbers need, the bits behind the last one zero.
    widths : ndarray of int, or int
        Bits of each number, or of all of them: 0 to 32.
    count : int, optional
        How many numbers, if there is one width.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    ValueError
        If the payload has another length or a bit behind the last number.

    Examples
    --------
    >>> unpack(bytes.fromhex("6c"), 2, 3).tolist()
    [1, 2, 3]
    """
    if isinstance(widths, int):
        total = widths * (count or 0)
        shape = (count or 0,)
    else:
        total, shape = int(widths.sum()), widths.shape
    if len(payload) != bytes_for(total):
        raise ValueError(f"{len(payload):,} bytes, but {total:,} bits take {bytes_for(total):,}")
    if total % 8 and payload[-1] & (255 >> total % 8):
        raise ValueError("bits are set behind the last number")
    values = np.zeros(shape, np.int64)
    each = np.broadcast_to(widths, shape)
    data = np.frombuffer(payload, np.uint8)
    first = 0  # bit
    for start in range(0, len(values), _AT_A_TIME):
        width = each[start : start + _AT_A_TIME]
        ends = np.cumsum(width, dtype=np.int64)
        last = first + int(ends[-1])
        bits = np.unpackbits(data[first // 8 : -(-last // 8)])
        values[start : start + _AT_A_TIME] = _numbers(bits, ends - width + first % 8, width)
        first = last
    return values


def _numbers(bits: Numbers, starts: Numbers, widths: Numbers) -> Numbers:
    found = np.zeros(len(widths), np.int64)
    least = int(widths.min(initial=MOST_BITS))
    for place in range(int(widths.max(initial=0))):
        if place < least:
            found = found << 1 | bits[starts + place]
        else:
            there = np.flatnonzero(widths > place)
            found[there] = found[there] << 1 | bits[starts[there] + place]
    return found


def bytes_for(bits: int) -> int:
    """Bytes that so many bits take.

    Examples
    --------
    >>> bytes_for(0), bytes_for(9)
    (0, 2)
    """
    return -(-bits // 8)


def width_of(alphabet: int) -> int:
    """⌈log₂ k⌉: bits of a number that has k possible values.

    Examples
    --------
    >>> [width_of(k) for k in (1, 2, 3, 16, 17)]
    [0, 1, 2, 4, 5]
    """
    return (alphabet - 1).bit_length()


def write_length(length: int) -> bytes:
    """A whole number in as few bytes as need be: 7 bits in each, the lowest first, the top bit says that more follow.

    Examples
    --------
    >>> write_length(5).hex(), write_length(300).hex()
    ('05', 'ac02')
    """
    written = bytearray()
    while length > 127:
        written.append(length & 127 | 128)
        length >>= 7
    return bytes(written) + bytes([length])


def read_length(payload: memoryview | bytes, what: str, most: int) -> tuple[int, memoryview]:
    """The inverse of :func:`write_length`: the number and what follows it.

    Raises
    ------
    ValueError
        If it is cut off or more than ``most``; ``what`` is its name in the message.

    Examples
    --------
    >>> read_length(b"\\xac\\x02rest", "entries", 1000)[0]
    300
    """
    length = 0
    for place, byte in enumerate(bytes(payload[:5])):
        length |= (byte & 127) << 7 * place
        if byte < 128:
            if length > most:
                raise ValueError(f"{length:,} {what}, more than the {most:,} possible")
            return length, memoryview(payload)[place + 1 :]
    raise ValueError(f"the number of {what} is cut off or too long")
