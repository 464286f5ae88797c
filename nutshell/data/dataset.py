"""What a data set is, once it is loaded: images and labels in three parts that are apart by construction."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes
    ----------
    images : Tensor
        uint8, shape ``(N, C, H, W)``.
    labels : Tensor
        int64, shape ``(N,)``: numbers of classes; or float32 where a number is to be said, such as a steering angle.
    mean, std : tuple of float
        For each channel, in units of full brightness; :meth:`inputs` subtracts and divides.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, chosen: Tensor | slice = slice(None)) -> Tensor:
        """Images as a network takes them: float32, ``(pixel / 255 − mean) / std`` by channel.

        Parameters
        ----------
        chosen : Tensor of int64 or slice
            Which images; all of them if left out.

        Examples
        --------
        >>> part = Split(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8), torch.zeros(1).long(), (0.0,), (1.0,))
        >>> part.inputs().flatten().tolist()
        [1.0, 1.0]
        """
        return self.standardise(self.images[chosen])

    def standardise(self, images: Tensor) -> Tensor:
        """Turn uint8 images ``(N, C, H, W)`` into inputs; see :meth:`inputs`."""
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        return (images.float() / 255 - mean) / std


@dataclass(frozen=True)
class ReadySplit(Split):
    """A part that works its inputs out once, for whoever runs many networks on the same images.

    Examples
    --------
    >>> part = Split(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8), torch.zeros(1).long(), (0.5,), (1.0,))
    >>> ready = ReadySplit(part.images, part.labels, part.mean, part.std)
    >>> ready.inputs().data_ptr() == ready.inputs().data_ptr(), bool((ready.inputs() == part.inputs()).all())
    (True, True)
    """

    def inputs(self, chosen: Tensor | slice = slice(None)) -> Tensor:
        """See :meth:`Split.inputs`; a slice shares its memory with what is kept, so nobody may write to it."""
        return self._inputs[chosen]

    @cached_property
    def _inputs(self) -> Tensor:
        with torch.inference_mode(False):
            return self.standardise(self.images)


@dataclass(frozen=True)
class Dataset:
    """A data set in three parts: learn from ``train``, choose on ``validation``, report on ``test``.

    Attributes
    ----------
    name : str
        Says which data are in use: ``"mnist"``, or ``"mnist (stand-in: scikit-learn's digits)"``.
    train, validation, test : Split
        No image stands in two of them.
    classes : tuple of str
        What label 0, 1, … stands for; empty where labels are numbers themselves.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
