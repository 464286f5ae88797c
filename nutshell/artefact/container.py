"""The outer layer of a ``.nut`` file: four parts, one after the other, with nothing between or behind them.

=====================  ==========================================================================================
``NUT2``               4 bytes, the format and its version
length of the header   4 bytes, unsigned, little-endian: its compressed size
header                 JSON in UTF-8, compressed (raw deflate, RFC 1951, begun with a dictionary of the words that
                       headers are made of): graph and table of tensors
payloads               the encoded tensors in the order of the table, each as long as the table says
check sum              4 bytes, little-endian: CRC-32 of everything before it
=====================  ==========================================================================================

There are no offsets, so payloads can't overlap or lie outside the file, and nothing in it is a program. The check sum
finds damage; against malice everything that the header says is checked as well. Files of version 1, ``NUT1``, whose
headers are compressed without the dictionary, are read as before.
"""

import json
import struct
import zlib
from typing import Any

from nutshell.artefact.errors import BadArtefact
from nutshell.artefact.limits import Limits

MAGIC = b"NUT2"
# Part of the format: a change needs a new version. It holds words only, nothing about any network's weights.
DICTIONARY = (
    b'"shared":{"dtype":"float64","bfloat16","int8","uint8","int16","int32",{"stored":"low_rank",{"rank":'
    b'"gelu","silu","relu6","leaky_relu","tanh","sigmoid","softmax","log_softmax","multiply","concatenate","add",['
    b'"padded_shortcut","batch_norm1d","batch_norm2d",{"batches":"adaptive_avg_pool2d",{"output_size":[1,1]'
    b'"avg_pool2d","conv1d",{"groups":"dilation":"padding":1,"stride":2}],"features.block1_1."shortcut",'
    b'.running_mean":[[16],64],".running_var":[[32],128],"norm1"."norm2","layer1.0.'
    b'"fixed_point",{"bits":8,"axis":0,"symmetric":true,"coder":"huffman"}],"affine",{"bits":4}],"limit":256,'
    b'{"input":[3,32,32],"nodes":[["input":[1,28,28],"nodes":[["conv1","conv2d"],["relu1","relu"],'
    b'["pool1","max_pool2d",{"kernel_size":2,"stride":2}],["conv2","conv2d"],["relu2","relu"],["pool2","max_pool2d",'
    b'["flatten","flatten"],["fc1","linear"],["relu1","relu"],["fc2","linear"],["relu2","relu"],["fc3","linear"]],'
    b'"tensors":{"conv2.weight":[[50,"conv1.bias":[[20],"conv1.weight":[[20,1,5,5],"fc3.bias":[[10],"fc3.weight":[[10,'
    b'"fc2.bias":[[100],"fc2.weight":[[100,300],"fc1.bias":[[300],"fc1.weight":[[300,784],'
    b',"sparse",{"coder":"ans","order":"columns","values":["codebook",{"k":16,"coder":"ans","stored":"float16"}]}],"'
)
_DICTIONARIES = {b"NUT1": b"", MAGIC: DICTIONARY}
_START = struct.Struct("<4sI")
_END = struct.Struct("<I")
FIXED_BYTES = _START.size + _END.size


def pack(header: dict[str, Any], payloads: list[bytes]) -> bytes:
    """Make the bytes of a file from a header that JSON can hold and the payloads.

    Examples
    --------
    >>> data = pack({"input": [1, 28, 28]}, [b"abc"])
    >>> header, payloads = unpack(data)
    >>> header, bytes(payloads)
    ({'input': [1, 28, 28]}, b'abc')
    """
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return seal(deflate(text), b"".join(payloads))


def deflate(text: bytes) -> bytes:
    """Compress as a header is: raw deflate, level 9, with the dictionary."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    return compressor.compress(text) + compressor.flush()


def seal(compressed_header: bytes, payloads: bytes) -> bytes:
    """Put the parts together and add the check sum."""
    body = _START.pack(MAGIC, len(compressed_header)) + compressed_header + payloads
    return body + _END.pack(zlib.crc32(body))


def unpack(data: bytes, limits: Limits | None = None) -> tuple[dict[str, Any], memoryview]:
    """Take the bytes of a file apart.

    Parameters
    ----------
    data : bytes
        A whole file.
    limits : Limits, optional
        How large file and header may be; the default limits if left out.

    Returns
    -------
    header : dict
        Plain JSON, its content not yet checked.
    payloads : memoryview
        Everything between header and check sum.

    Raises
    ------
    BadArtefact
        If it isn't a ``.nut`` file, is damaged, or is too large.
    """
    limits = limits or Limits()
    if len(data) > limits.file_bytes:
        raise BadArtefact("file", f"{len(data):,} bytes, more than the {limits.file_bytes:,} allowed.")
    magic = bytes(data[:4])
    if magic not in _DICTIONARIES:
        raise BadArtefact("first 4 bytes", f"{magic!r} instead of {MAGIC!r}: not a .nut file, or of a later version.")
    if len(data) < FIXED_BYTES:
        raise BadArtefact("file", f"{len(data)} bytes: cut off, the shortest file has {FIXED_BYTES}.")
    (stored,) = _END.unpack_from(data, len(data) - _END.size)
    found = zlib.crc32(memoryview(data)[: -_END.size])
    if stored != found:
        raise BadArtefact("check sum", f"{found:08x} instead of {stored:08x}: the file is damaged or cut off. "
                                       "Save or copy it again.")
    length = _START.unpack_from(data)[1]
    if length > len(data) - FIXED_BYTES:
        raise BadArtefact("length of the header", f"{length:,} bytes, but the file has only {len(data):,}.")
    body = memoryview(data)[_START.size : -_END.size]
    return _parse(_inflate(body[:length], limits.header_bytes, _DICTIONARIES[magic])), body[length:]


def _inflate(compressed: memoryview, most: int, dictionary: bytes) -> bytes:
    inflater = zlib.decompressobj(-15, zdict=dictionary)
    try:
        text = inflater.decompress(compressed, most + 1)
    except zlib.error as error:
        raise BadArtefact("header", f"can't be decompressed ({error}).") from None
    if len(text) > most:
        raise BadArtefact("header", f"more than the {most:,} bytes allowed once decompressed.")
    if not inflater.eof or inflater.unused_data:
        raise BadArtefact("header", "its compressed part ends too early or too late.")
    return text


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise BadArtefact("header", "JSON nested too deeply.") from None
    except ValueError as error:  # of JSON, of UTF-8, or one of the two below
        raise BadArtefact("header", f"not the JSON of a header ({error}).") from None
    if not isinstance(header, dict):
        raise BadArtefact("header", f"a JSON object is needed, this is {type(header).__name__}.")
    return header


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")
