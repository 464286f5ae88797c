"""Pictures in files, listed with what they show and shared out in three, and not decoded before they are needed.

A whole album can be loaded into memory, as every other data set is; or its pictures can be decoded one by one, so that
a data set of any size passes through a little memory.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from nutshell.data.dataset import Dataset, Split
from nutshell.data.files import Files
from nutshell.data.formats import wrong
from nutshell.errors import WrongUse

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {1: "L", 3: "RGB"}
KINDS = ("JPEG", "PNG")
WIDEST = 4096  # pixels; nothing larger is decoded
PATIENCE = 5_000  # pictures, from which on a bar shows how far reading is


class Picture(NamedTuple):
    """A picture in a file, and what a network should say to it.

    Attributes
    ----------
    name : str
        Of the file, within the publisher's layout.
    target : int or float
        Number of its class, or the steering from −1 (left) to 1 (right).
    """

    name: str
    target: float


class View(NamedTuple):
    """How a picture is looked at: which rows, how large, how many channels.

    Attributes
    ----------
    shape : tuple of int
        Channels (1 or 3), height and width that come out.
    rows : tuple of float
        Where the rows that are kept begin and end, as shares of the height from its top.
    """

    shape: tuple[int, int, int]
    rows: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Album:
    """A data set of picture files, listed and not decoded.

    Attributes
    ----------
    name : str
        Says which data are in use, as :attr:`nutshell.data.Dataset.name` does.
    files : Files
        Where the pictures are read from.
    train, validation, test : tuple of Picture
        No picture stands in two of them.
    classes : tuple of str
        What label 0, 1, … stands for; empty if targets are numbers, such as a steering angle.
    view : View
        How pictures are looked at.
    mean, std : tuple of float
        For each channel, in units of full brightness; see :class:`nutshell.data.Split`.
    """

    name: str
    files: Files
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    test: tuple[Picture, ...]
    classes: tuple[str, ...]
    view: View
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def decode(self, picture: Picture) -> np.ndarray:
        """Read and decode one picture.

        Returns
        -------
        numpy.ndarray
            uint8, of the view's shape ``(C, H, W)``.

        Raises
        ------
        Refused
            If the file is missing, damaged, neither JPEG nor PNG, or larger than 4,096 pixels a side.
        """
        return look(self.files.read(picture.name), self.view, f"{self.files.place}/{picture.name}")

    def split(self, pictures: Sequence[Picture]) -> Split:
        """Decode some of the album's pictures into memory.

        Parameters
        ----------
        pictures : sequence of Picture
            Such as ``album.train`` or a piece of it.

        Returns
        -------
        Split
            Images uint8 ``(N, C, H, W)``; labels int64 ``(N,)``, or float32 if there are no classes.
        """
        from tqdm.auto import tqdm

        images = np.empty((len(pictures), *self.view.shape), np.uint8)
        for place, picture in enumerate(tqdm(pictures, desc=self.name, unit="picture", leave=False,
                                             disable=len(pictures) < PATIENCE)):
            images[place] = self.decode(picture)
        kind = torch.int64 if self.classes else torch.float32
        labels = torch.tensor([picture.target for picture in pictures], dtype=kind)
        return Split(torch.from_numpy(images), labels, self.mean, self.std)

    def load(self) -> Dataset:
        """Decode all of it into memory."""
        return Dataset(self.name, self.split(self.train), self.split(self.validation), self.split(self.test),
                       self.classes)

    def seen(self, shape: tuple[int, int, int] | None) -> "Album":
        """The same pictures at another size or with another number of channels; ``None`` changes nothing.

        Raises
        ------
        WrongUse
            If a network can't be given such pictures.
        """
        if shape is None or shape == self.view.shape:
            return self
        if len(shape) != 3 or shape[0] not in MODES or not all(1 <= size <= WIDEST for size in shape):
            raise WrongUse(f"shape={shape}: give channels (1 or 3), height and width, as in {self.view.shape}.")
        channels = shape[0]
        mean, std = ((values if len(values) == channels else (sum(values) / len(values),) * channels)
                     for values in (self.mean, self.std))
        return replace(self, view=self.view._replace(shape=shape), mean=mean, std=std)


def look(content: bytes, view: View, source: str) -> np.ndarray:
    """Decode a JPEG or PNG and look at it as a view says; ``source`` names it in errors.

    Rows are cut first; what is left is scaled, each new pixel the weighted mean of those that it covers (Pillow's
    bilinear filter).

    Returns
    -------
    numpy.ndarray
        uint8, shape ``(C, H, W)``.

    Raises
    ------
    Refused
        If it is neither, damaged or too large.
    """
    from PIL import Image, UnidentifiedImageError

    channels = view.shape[0]
    try:
        with Image.open(io.BytesIO(content), formats=KINDS) as image:
            if max(image.size) > WIDEST:
                raise wrong(source, f"at most {WIDEST:,} pixels a side", "×".join(map(str, image.size)))
            flat = _without_alpha(image).convert(MODES[channels])
    except UnidentifiedImageError:
        raise wrong(source, "a JPEG or PNG picture", bytes(content[:4]).hex(" ") or "an empty file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise wrong(source, "a picture in order", f"a damaged one ({error})") from None
    return _seen(flat, view)


def scale(pixels: np.ndarray, view: View) -> np.ndarray:
    """Look at a picture that is decoded already; see :func:`look`.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape ``(1 or 3, H, W)``.
    view : View
        How.

    Examples
    --------
    >>> scale(np.full((3, 160, 320), 255, np.uint8), View((1, 40, 40))).shape
    (1, 40, 40)
    """
    from PIL import Image

    flat = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return _seen(flat.convert(MODES[view.shape[0]]), view)


def _seen(flat: "Image", view: View) -> np.ndarray:
    from PIL import Image

    channels, height, width = view.shape
    top, bottom = (round(share * flat.height) for share in view.rows)
    if (width, height) != flat.size or (top, bottom) != (0, flat.height):
        box = (0, top, flat.width, max(bottom, top + 1))
        flat = flat.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(flat).reshape(height, width, channels).transpose(2, 0, 1)


def _without_alpha(image: "Image") -> "Image":
    """What a transparent picture looks like on black; others as they are."""
    from PIL import Image

    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
