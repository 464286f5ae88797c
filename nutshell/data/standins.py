"""What stands in for a data set without a network: scikit-learn's digits enlarged, pictures from a seeded generator.

Neither is the real thing and their names say so. They are learnable, and their parts share no picture.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nutshell.data.dataset import Dataset, Split

DIGITS_NAME = "mnist (stand-in: scikit-learn's digits)"
SHAPES_NAME = "cifar-10 (stand-in: seeded generator)"

SHAPES_SEED = 20_240_601
SHAPES_SIZES = (10_000, 1_000, 2_000)  # training, validation, testing
SHAPES_MEAN, SHAPES_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's, as for the real data


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, laid out as MNIST is.

    Each 8×8 image of 0 … 16 is enlarged to 20×20 (bilinear) and gets a border of 4 pixels, since MNIST's digits
    fill 20×20 of 28×28 pixels too. The last 400 images are the test part and the 200 before them validation.

    Returns
    -------
    Dataset
        Images uint8 ``(N, 1, 28, 28)``; 1,197 for training, 200 for validation, 400 for testing.

    Examples
    --------
    >>> data = digits()
    >>> data.name, len(data.train), len(data.validation), len(data.test)
    ("mnist (stand-in: scikit-learn's digits)", 1197, 200, 400)
    """
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(small).float().view(-1, 1, 8, 8) * (255 / 16)
    large = functional.interpolate(pixels, size=(20, 20), mode="bilinear", align_corners=False)
    images = functional.pad(large, (4, 4, 4, 4)).round().to(torch.uint8)
    targets = torch.from_numpy(labels.astype(np.int64))

    def part(chosen: slice) -> Split:
        return Split(images[chosen], targets[chosen], (0.0,), (1.0,))

    return Dataset(DIGITS_NAME, part(slice(0, 1197)), part(slice(1197, 1397)), part(slice(1397, 1797)),
                   tuple("0123456789"))


def shapes() -> Dataset:
    """Coloured 32×32 pictures of ten kinds, drawn by a seeded generator: the same on every machine.

    Place, size and both colours of a picture are drawn at random and noise lies over all of it, so that only
    the form tells the class. Each part has a random stream of its own.

    Returns
    -------
    Dataset
        Images uint8 ``(N, 3, 32, 32)``; 10,000 for training, 1,000 for validation, 2,000 for testing.
    """
    train, validation, test = (draw_shapes(size, (SHAPES_SEED, part)) for part, size in enumerate(SHAPES_SIZES))
    return Dataset(SHAPES_NAME, train, validation, test, tuple(FORMS))


def draw_shapes(count: int, seed: tuple[int, ...]) -> Split:
    """Draw labelled pictures; see :func:`shapes`.

    Only whole numbers are drawn and compared, so every platform draws the same bytes.

    Examples
    --------
    >>> part = draw_shapes(20, (1,))
    >>> part.images.shape, part.labels.bincount().tolist()
    (torch.Size([20, 3, 32, 32]), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(FORMS))
    masks = np.empty((count, 32, 32), dtype=bool)
    for label, form in enumerate(FORMS.values()):
        chosen = np.flatnonzero(labels == label)
        masks[chosen] = _draw_form(form, len(chosen), rng)
    ground, ink = _two_colours(count, rng)
    images = np.where(masks[:, None], ink, ground)
    images += rng.integers(-28, 29, size=images.shape, dtype=np.int16)
    pixels = np.clip(images, 0, 255, out=images).astype(np.uint8)
    return Split(torch.from_numpy(pixels), _as_labels(labels), SHAPES_MEAN, SHAPES_STD)


Form = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Each says which pixels are ink, from offsets (dx, dy) to the centre and a size r of 6 to 11 pixels.
FORMS: dict[str, Form] = {
    "disc": lambda dx, dy, r: dx * dx + dy * dy <= r * r,
    "ring": lambda dx, dy, r: (dx * dx + dy * dy <= r * r) & (4 * (dx * dx + dy * dy) > r * r),
    "square": lambda dx, dy, r: np.maximum(abs(dx), abs(dy)) < r,
    "diamond": lambda dx, dy, r: abs(dx) + abs(dy) <= r,
    "triangle": lambda dx, dy, r: (abs(dy) <= r) & (2 * abs(dx) <= dy + r),
    "cross": lambda dx, dy, r: (3 * np.minimum(abs(dx), abs(dy)) <= r) & (np.maximum(abs(dx), abs(dy)) <= r),
    "lying stripes": lambda dx, dy, r: 2 * (dy % r) < r,
    "standing stripes": lambda dx, dy, r: 2 * (dx % r) < r,
    "slanting stripes": lambda dx, dy, r: 2 * ((dx + dy) % r) < r,
    "chessboard": lambda dx, dy, r: (2 * (dx % r) < r) ^ (2 * (dy % r) < r),
}


def _draw_form(form: Form, count: int, rng: np.random.Generator) -> np.ndarray:
    """Ink or not, bool ``(count, 32, 32)``, each picture with a place and a size of its own."""
    centre = rng.integers(11, 21, size=(2, count, 1, 1), dtype=np.int16)
    size = rng.integers(6, 12, size=(count, 1, 1), dtype=np.int16)
    axis = np.arange(32, dtype=np.int16)
    across, down = axis[None, None, :] - centre[0], axis[None, :, None] - centre[1]
    return np.broadcast_to(form(across, down, size), (count, 32, 32))


def _two_colours(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background and ink, int16 ``(count, 3, 1, 1)`` of 0 … 255, at least 64 apart in one channel of each."""
    ground = rng.integers(0, 256, size=(count, 3), dtype=np.int16)
    ink = rng.integers(0, 256, size=(count, 3), dtype=np.int16)
    channel = rng.integers(0, 3, size=count)
    rows = np.arange(count)
    apart = rng.integers(64, 129, size=count, dtype=np.int16)
    clear = ground[rows, channel]
    ink[rows, channel] = np.where(clear < 128, clear + apart, clear - apart)
    return ground[:, :, None, None], ink[:, :, None, None]


def _as_labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))
