"""The data sets that the course uses, each with its publisher's files, check sums and mirrors.

Parts are apart by construction: validation is the end of the publisher's training images, testing is the publisher's
test images, and no image is used twice. Publishers' data are otherwise left as they are.
"""

import numpy as np
import torch

from nutshell.data import standins
from nutshell.data.applications import APPLICATIONS
from nutshell.data.dataset import Dataset, Split
from nutshell.data.formats import check_labels, idx_size, parse_cifar, parse_idx
from nutshell.data.sources import AnySource, Contents, File, Source

Pair = tuple[np.ndarray, np.ndarray]  # images and their labels

VALIDATION_SIZE = 5_000

MNIST_CLASSES = tuple("0123456789")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_BATCH = 30_730_000  # 10,000 records of 3,073 bytes


def build_mnist(contents: Contents, name: str) -> Dataset:
    """Make MNIST from its four IDX files: images uint8 ``(N, 1, 28, 28)``, inputs from 0 to 1."""

    def read(part: str, count: int) -> Pair:
        images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        pixels = parse_idx(contents[images], (count, 28, 28), images)
        targets = parse_idx(contents[labels], (count,), labels)
        check_labels(targets, len(MNIST_CLASSES), labels)
        return pixels.reshape(count, 1, 28, 28), targets

    return _in_three(name, [read("train", 60_000)], read("t10k", 10_000), (0.0,), (1.0,), MNIST_CLASSES)


def build_cifar10(contents: Contents, name: str) -> Dataset:
    """Make CIFAR-10 from its six batches: images uint8 ``(N, 3, 32, 32)``, inputs standardised by channel."""
    batches = [parse_cifar(contents[file.name], file.name) for file in CIFAR10.files]
    return _in_three(name, batches[:5], batches[5], standins.SHAPES_MEAN, standins.SHAPES_STD, CIFAR10_CLASSES)


def _in_three(
    name: str,
    training: list[Pair],
    testing: Pair,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: tuple[str, ...],
) -> Dataset:
    """Cut the end of the last training file off as validation; the parts are copies and share no memory."""

    def part(files: list[Pair]) -> Split:
        images, labels = (np.concatenate(arrays) for arrays in zip(*files, strict=True))
        return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), mean, std)

    *whole, (images, labels) = training
    train = [*whole, (images[:-VALIDATION_SIZE], labels[:-VALIDATION_SIZE])]
    validation = [(images[-VALIDATION_SIZE:], labels[-VALIDATION_SIZE:])]
    return Dataset(name, part(train), part(validation), part([testing]), classes)


# Check sums of the decompressed files; the mirrors' .gz differ from one another.
MNIST = Source(
    key="mnist",
    folder="mnist",
    files=(
        File("train-images-idx3-ubyte", idx_size((60_000, 28, 28)),
             "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        File("train-labels-idx1-ubyte", idx_size((60_000,)),
             "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        File("t10k-images-idx3-ubyte", idx_size((10_000, 28, 28)),
             "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        File("t10k-labels-idx1-ubyte", idx_size((10_000,)),
             "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
    archive=None,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    build=build_mnist,
    stand_in=standins.digits,
)

# Check sums of the batches as torchvision-ruby publishes them; that of test_batch.bin stands in other projects too.
# The archive's own, as its author publishes it, is MD5 c32a1d4ab5d03f1284b67883e8d87530 (162 MB).
CIFAR10 = Source(
    key="cifar-10",
    folder="cifar-10-batches-bin",
    files=(
        File("data_batch_1.bin", CIFAR10_BATCH, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        File("data_batch_2.bin", CIFAR10_BATCH, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        File("data_batch_3.bin", CIFAR10_BATCH, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        File("data_batch_4.bin", CIFAR10_BATCH, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        File("data_batch_5.bin", CIFAR10_BATCH, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        File("test_batch.bin", CIFAR10_BATCH, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    archive="cifar-10-binary.tar.gz",
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
    build=build_cifar10,
    stand_in=standins.shapes,
    unofficial_name="cifar-10 (unofficial copy)",
)

SOURCES: dict[str, AnySource] = {source.key: source for source in (MNIST, CIFAR10, *APPLICATIONS)}
