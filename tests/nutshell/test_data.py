"""Data sets by name: which copy is used, what it is called, and that train, validation and test are apart."""

import dataclasses
import gzip
import hashlib
import subprocess
import sys

import numpy as np
import platformdirs
import pytest
import torch

import nutshell.data
from nutshell.data.catalogue import CIFAR10, CIFAR10_CLASSES, MNIST, SOURCES
from nutshell.data.formats import CIFAR_RECORD
from nutshell.data.sources import File, cache_folder
from nutshell.errors import Refused, Trouble, WrongUse
from tests.nutshell.tiny_source import IMAGES, LABELS, Mirror, serve, stand_in, tarball, tiny, whole, write_tiny

SIZES = {  # name → images for training, validation, testing
    "mnist": (55_000, 5_000, 10_000),
    "mnist (stand-in: scikit-learn's digits)": (1_197, 200, 400),
    "cifar-10": (45_000, 5_000, 10_000),
    "cifar-10 (unofficial copy)": (45_000, 5_000, 10_000),
    "cifar-10 (stand-in: seeded generator)": (10_000, 1_000, 2_000),
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty NUTSHELL_DATA, an empty cache, and no way to download."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setenv("NUTSHELL_DATA", str(folder))
    monkeypatch.setenv("NUTSHELL_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(nutshell.data, "_announced", set())
    monkeypatch.setattr(nutshell.data, "_no_download", {})
    return folder


def use(monkeypatch, source):
    monkeypatch.setitem(SOURCES, source.key, source)


@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_whatever_is_in_use_here_has_the_sizes_of_its_name(name, monkeypatch):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "1")
    data = nutshell.data.load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == SIZES[data.name]
    for part in (data.train, data.validation, data.test):
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.images.shape[1:] == ((1, 28, 28) if name == "mnist" else (3, 32, 32))
        assert part.images.is_contiguous()
        assert torch.unique(part.labels).tolist() == list(range(10))
    assert len(data.classes) == 10


def test_the_places_are_asked_in_order(root, monkeypatch):
    with serve(Mirror(whole())) as mirror:
        use(monkeypatch, tiny((mirror.address,)))
        assert nutshell.data.load("tiny").name == "tiny (stand-in: nothing)"  # offline
        assert mirror.asked == []

        monkeypatch.setenv("NUTSHELL_OFFLINE", "")
        assert nutshell.data.load("tiny").name == "tiny (stand-in: nothing)"  # a process asks once
        nutshell.data._no_download.clear()
        assert nutshell.data.load("tiny").name == "tiny"
        assert len(mirror.asked) == 2

        assert nutshell.data.load("tiny").name == "tiny"  # from the cache
        assert len(mirror.asked) == 2

        write_tiny(root / "tiny", images=IMAGES[::-1])  # NUTSHELL_DATA comes first, and isn't passed over
        with pytest.raises(Refused, match=r"tiny/images: expected the publisher's bytes"):
            nutshell.data.load("tiny")
        monkeypatch.delenv("NUTSHELL_DATA")
        assert nutshell.data.load("tiny").name == "tiny"


def test_without_any_network_the_stand_in_comes_and_says_so_once(root, monkeypatch, capsys):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "")
    use(monkeypatch, tiny(("http://127.0.0.1:9/",)))
    for _ in range(3):
        nutshell.data.load("tiny")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("Data: tiny (stand-in: nothing)") == 1
    assert "nutshell data fetch tiny" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_broken_mirror_leads_to_the_stand_in_and_an_empty_cache(root, monkeypatch):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "")
    with serve(Mirror({"/images.gz": gzip.compress(IMAGES)[:-30]})) as mirror:
        use(monkeypatch, tiny((mirror.address,)))
        assert nutshell.data.load("tiny").name == "tiny (stand-in: nothing)"
    assert list(cache_folder().iterdir()) == []


def test_the_copy_in_use_is_printed_with_its_place(root, monkeypatch, capsys):
    use(monkeypatch, tiny())
    folder = write_tiny(root / "tiny")
    nutshell.data.load("tiny")
    assert capsys.readouterr().err == (
        f"Data: tiny, 20 images for training, 10 validation, 10 test. From {folder}.\n")


def test_files_may_be_packed_or_not_and_have_the_name_from_within_the_gz(root, monkeypatch):
    source = tiny()
    dotted = dataclasses.replace(source.files[0], name="images-idx3-ubyte")
    read = {}

    def build(contents, name):
        read.update(contents)
        return stand_in()

    use(monkeypatch, dataclasses.replace(source, files=(dotted, source.files[1]), build=build))
    folder = root / "tiny"
    folder.mkdir()
    (folder / "images.idx3-ubyte").write_bytes(IMAGES)
    (folder / "labels.gz").write_bytes(gzip.compress(LABELS))
    nutshell.data.load("tiny")
    assert {content.tobytes() for content in read.values()} == {IMAGES, LABELS}


def test_the_publishers_archive_is_read_where_it_lies(root, monkeypatch):
    use(monkeypatch, tiny(archive="tiny.tar.gz"))
    (root / "tiny.tar.gz").write_bytes(tarball())
    assert nutshell.data.load("tiny").name == "tiny"
    assert [path.name for path in root.iterdir()] == ["tiny.tar.gz"]


def test_an_incomplete_folder_is_refused(root, monkeypatch):
    use(monkeypatch, tiny())
    (write_tiny(root / "tiny") / "labels").unlink()
    with pytest.raises(Refused, match=r"tiny: expected labels or labels.gz in it; found images\."):
        nutshell.data.load("tiny")


@pytest.mark.parametrize("place", ["root", "cache"])
def test_an_unofficial_copy_is_admitted_from_nutshell_data_alone(root, monkeypatch, place):
    use(monkeypatch, tiny(unofficial_name="tiny (unofficial copy)"))
    write_tiny((root if place == "root" else cache_folder()) / "tiny", IMAGES[::-1], LABELS[::-1])
    if place == "root":
        assert nutshell.data.load("tiny").name == "tiny (unofficial copy)"
    else:
        with pytest.raises(Refused, match="nutshell data fetch tiny"):
            nutshell.data.load("tiny")


def test_one_damaged_file_among_official_ones_is_damage_and_not_an_unofficial_copy(root, monkeypatch):
    use(monkeypatch, tiny(unofficial_name="tiny (unofficial copy)"))
    write_tiny(root / "tiny", labels=LABELS[::-1])
    official = hashlib.sha256(LABELS).hexdigest()
    with pytest.raises(Refused, match=rf"tiny/labels: expected .*{official}.*; found SHA-256"):
        nutshell.data.load("tiny")


def test_a_folder_that_may_not_be_read_is_trouble(root, monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(root), "is_file", forbidden)
    with pytest.raises(Trouble, match=r"mnist/train-images-idx3-ubyte: Permission denied\. Make .* readable"):
        nutshell.data.mnist()


def test_other_names_and_folders_are_wrong_use(monkeypatch):
    with pytest.raises(WrongUse, match=r"'cifar-100'. Choose one of: mnist, cifar-10"):
        nutshell.data.load("cifar-100")
    monkeypatch.setenv("NUTSHELL_DATA", "/no/such/folder")
    with pytest.raises(WrongUse, match="NUTSHELL_DATA=/no/such/folder is no folder"):
        nutshell.data.mnist()


# --- the publishers' layouts, with made-up pictures that carry their number ------------------------------------------


def numbered(first: int, count: int, pixels: int) -> np.ndarray:
    """Pictures whose first three bytes are their number."""
    images = np.zeros((count, pixels), np.uint8)
    number = np.arange(first, first + count)
    images[:, 0], images[:, 1], images[:, 2] = number >> 16, number >> 8 & 255, number & 255
    return images


def label_of(number: np.ndarray) -> np.ndarray:
    return (number // 7 % 10).astype(np.uint8)


def numbers(part) -> np.ndarray:
    flat = part.images.flatten(1)[:, :3].long()
    return (flat[:, 0] * 65536 + flat[:, 1] * 256 + flat[:, 2]).numpy()


def vouch(source, folder):
    """The source with check sums of the files that lie in a folder."""
    files = [File(file.name, file.size, hashlib.sha256((folder / file.name).read_bytes()).hexdigest())
             for file in source.files]
    return dataclasses.replace(source, files=tuple(files))


def write_mnist(folder):
    folder.mkdir()
    for part, first, count in (("train", 0, 60_000), ("t10k", 60_000, 10_000)):
        header = b"".join(n.to_bytes(4, "big") for n in (0x803, count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + numbered(first, count, 784).tobytes())
        labels = label_of(np.arange(first, first + count))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            b"".join(n.to_bytes(4, "big") for n in (0x801, count)) + labels.tobytes())
    return folder


def write_cifar10(folder):
    folder.mkdir()
    for batch, file in enumerate(CIFAR10.files):
        images = numbered(10_000 * batch, 10_000, 3072)
        labels = label_of(np.arange(10_000 * batch, 10_000 * (batch + 1)))
        records = np.concatenate([labels[:, None], images], axis=1)
        records.tofile(folder / file.name)
    return folder


def check_apart(data, validation_starts, tests_start):
    """Every publisher's image is in exactly one part, and the parts share no memory."""
    assert np.array_equal(numbers(data.train), np.arange(validation_starts))
    assert np.array_equal(numbers(data.validation), np.arange(validation_starts, tests_start))
    assert np.array_equal(numbers(data.test), np.arange(tests_start, tests_start + 10_000))
    storages = {part.images.untyped_storage().data_ptr() for part in (data.train, data.validation, data.test)}
    assert len(storages) == 3
    for part in (data.train, data.validation, data.test):
        assert np.array_equal(part.labels.numpy(), label_of(numbers(part)))


def test_mnist_is_cut_into_three_by_position(root, monkeypatch):
    use(monkeypatch, vouch(MNIST, write_mnist(root / "mnist")))
    data = nutshell.data.mnist()
    assert data.name == "mnist"
    check_apart(data, 55_000, 60_000)
    assert data.test.inputs(slice(0, 1)).max() == np.float32(234) / 255  # 60,000 is 0, 234, 96 in bytes


def test_cifar_10_is_cut_into_three_by_position(root, monkeypatch):
    folder = write_cifar10(root / "cifar-10-batches-bin")
    data = nutshell.data.cifar10()
    assert data.name == "cifar-10 (unofficial copy)"
    check_apart(data, 45_000, 50_000)
    assert data.classes == CIFAR10_CLASSES
    use(monkeypatch, vouch(CIFAR10, folder))
    assert nutshell.data.cifar10().name == "cifar-10"
    black = data.train.standardise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten().tolist()
    assert black == pytest.approx([-0.4914 / 0.2470, -0.4822 / 0.2435, -0.4465 / 0.2616])


def test_cifar_10_with_the_same_file_twice_is_refused(root):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for number, file in enumerate(CIFAR10.files):
        with (folder / file.name).open("wb") as out:
            out.write(bytes([number % 5]))
            out.truncate(file.size)
    with pytest.raises(Refused, match=r"6 different files; found the same bytes in data_batch_1.bin and test"):
        nutshell.data.cifar10()


def test_truncated_and_wrong_files_are_named(root):
    mnist, cifar = root / "mnist", root / "cifar-10-batches-bin"
    mnist.mkdir()
    cifar.mkdir()
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1000))[:-10])
    with pytest.raises(Refused, match=r"train-images-idx3-ubyte\.gz: expected a whole gzip file; found .*truncated"):
        nutshell.data.mnist()
    (cifar / "data_batch_1.bin").write_bytes(bytes(CIFAR_RECORD))
    with pytest.raises(Refused, match=r"data_batch_1\.bin: expected 30,730,000 bytes.*; found 3,073 bytes"):
        nutshell.data.cifar10()


def test_fashion_in_the_place_of_mnist_is_refused(root):
    write_mnist(root / "mnist")  # right layout, other pictures
    with pytest.raises(Refused, match=r"train-images-idx3-ubyte: expected the publisher's bytes, SHA-256 ba891046"):
        nutshell.data.mnist()


def test_importing_the_package_stays_light():
    code = "import sys, nutshell.data; print([m for m in ('sklearn', 'pooch', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
