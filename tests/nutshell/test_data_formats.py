"""The readers of IDX, CIFAR-10's records and tar archives: exact on whole files, clear on all others."""

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell.data.formats import (
    CIFAR_RECORD,
    check_labels,
    idx_size,
    parse_cifar,
    parse_idx,
    read_bytes,
    read_idx,
    read_tar,
)
from nutshell.errors import Refused
from tests.nutshell.tiny_source import IMAGES, LABELS, tarball

SIZES = {"tiny/images": len(IMAGES), "tiny/labels": len(LABELS)}


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32 - 1))
def test_idx_of_any_shape_reads_back(shape, packed, seed):
    values = np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values"
        path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
        found = read_idx(path, tuple(shape))
    assert found.dtype == np.uint8
    assert found.shape == tuple(shape)
    assert np.array_equal(found, values)
    assert len(idx(values)) == idx_size(tuple(shape))


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, packed):
    content = idx(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    content = gzip.compress(content) if packed else content
    path = tmp_path / "train-images-idx3-ubyte"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(Refused, match=r"train-images-idx3-ubyte: expected .*; found .*\."):
            read_idx(path, (3, 4, 5))


@settings(max_examples=300)
@given(st.data())
def test_a_packed_file_with_one_changed_byte_is_refused_or_reads_the_same(data):
    values = np.arange(60, dtype=np.uint8)
    content = bytearray(gzip.compress(idx(values)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values"
        path.write_bytes(content)
        try:
            found = read_idx(path, (60,))
        except Refused as error:
            assert str(path) in str(error) and "expected" in str(error) and "found" in str(error)
        else:  # the time stamp and the like in gzip's header say nothing about the content
            assert np.array_equal(found, values)


def test_errors_of_idx_name_expected_and_found(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx(np.zeros((2, 3), np.uint8)))
    with pytest.raises(Refused, match=r"expected shape \(3, 2\); found shape \(2, 3\)"):
        read_idx(path, (3, 2))
    with pytest.raises(Refused, match="begins with 00 00 08 01; found 00 00 08 02"):
        parse_idx(np.frombuffer(path.read_bytes(), np.uint8), (6,), "images")
    with pytest.raises(Refused, match="expected 18 bytes once decompressed; found more than that"):
        path.write_bytes(idx(np.zeros((2, 4), np.uint8)))
        read_idx(path, (2, 3))
    with pytest.raises(Refused, match="a header of 12 bytes; found 7 bytes"):
        parse_idx(np.array([0, 0, 8, 2, 0, 0, 0], np.uint8), (2, 3), "images")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(Refused, match="a file that can be read"):
            read_bytes(path, 1)


def test_a_packed_bomb_is_not_unpacked_beyond_what_is_wanted(tmp_path):
    import tracemalloc

    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000), 1))
    tracemalloc.start()
    with pytest.raises(Refused, match="expected 1,000 bytes"):
        read_bytes(path, 1_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_cifar_records_are_label_then_red_green_blue_row_by_row():
    record = np.concatenate([[7], np.arange(3072) % 251]).astype(np.uint8)
    images, labels = parse_cifar(np.tile(record, 2), "batch")
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [7, 7]
    for channel, row, column in [(0, 0, 0), (0, 0, 31), (1, 5, 2), (2, 31, 31)]:
        assert images[1, channel, row, column] == (1024 * channel + 32 * row + column) % 251


@pytest.mark.parametrize("size", [0, 1, CIFAR_RECORD - 1, CIFAR_RECORD + 1, 2 * CIFAR_RECORD - 1])
def test_cifar_of_a_broken_length_is_refused(size):
    with pytest.raises(Refused, match=f"batch: expected a whole number of records .*; found {size:,} bytes"):
        parse_cifar(np.zeros(size, np.uint8), "batch")


def test_labels_out_of_range_are_refused_with_their_place():
    labels = np.array([0, 9, 3, 10, 255], np.uint8)
    with pytest.raises(Refused, match=r"labels from 0 to 9; found 10 at image 3 \(2 such labels\)"):
        check_labels(labels, 10, "labels")
    records = np.zeros((3, CIFAR_RECORD), np.uint8)
    records[2, 0] = 10
    with pytest.raises(Refused, match=r"batch.*10 at image 2"):
        parse_cifar(records.reshape(-1), "batch")


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_is_read_whatever_else_is_in_it(tmp_path, prefix):
    path = tmp_path / "tiny.tar.gz"
    path.write_bytes(tarball({"readme": b"x" * 5000, f"{prefix}tiny/labels": LABELS, f"{prefix}tiny/images": IMAGES}))
    found = read_tar(path, SIZES)
    assert {name: data.tobytes() for name, data in found.items()} == {"tiny/images": IMAGES, "tiny/labels": LABELS}
    assert [item.name for item in tmp_path.iterdir()] == ["tiny.tar.gz"]


def test_an_archive_cut_anywhere_is_refused_or_still_has_all(tmp_path):
    content = tarball({"tiny/images": IMAGES, "tiny/labels": LABELS})
    path = tmp_path / "tiny.tar.gz"
    refused = 0
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            found = read_tar(path, SIZES)
        except Refused as error:
            refused += 1
            assert "tiny.tar.gz" in str(error)
        else:  # only the padding at the end is gone
            assert found["tiny/images"].tobytes() == IMAGES and found["tiny/labels"].tobytes() == LABELS
    assert refused > len(content) // 14


def test_archives_with_strange_members_are_refused(tmp_path):
    path = tmp_path / "tiny.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("tiny/images")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(Refused, match="tiny/images: expected a plain file"):
        read_tar(path, SIZES)
    path.write_bytes(tarball({"tiny/images": IMAGES[:-1], "tiny/labels": LABELS}))
    with pytest.raises(Refused, match="tiny/images: expected 10,240 bytes; found 10,239 bytes"):
        read_tar(path, SIZES)
    path.write_bytes(tarball({"tiny/images": IMAGES}))
    with pytest.raises(Refused, match="among them tiny/labels; found 1 of them"):
        read_tar(path, SIZES)
    path.write_bytes(b"not an archive")
    with pytest.raises(Refused, match="a tar archive in order"):
        read_tar(path, SIZES)


def test_an_archive_may_be_packed_otherwise(tmp_path):
    path = tmp_path / "tiny.tar"
    buffer = io.BytesIO(gzip.decompress(tarball()))
    path.write_bytes(buffer.getvalue())
    assert read_tar(path, SIZES)["tiny/labels"].tobytes() == LABELS
