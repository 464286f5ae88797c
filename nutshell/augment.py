"""Random changes of images that leave their meaning alone; all draw from a generator that the caller seeds."""

import torch
from torch import Tensor
from torch.nn import functional


def shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``most`` pixels in each direction, filling with zeros.

    Parameters
    ----------
    images : Tensor
        Shape ``(N, C, H, W)``, any dtype.
    most : int
        Largest shift in pixels, at least 0.
    generator : torch.Generator
        Source of the shifts.

    Returns
    -------
    Tensor
        Same shape and dtype.

    Examples
    --------
    >>> shift(torch.ones(2, 1, 3, 3), 0, torch.Generator()).sum().item()
    18.0
    """
    count, _, height, width = images.shape
    padded = functional.pad(images, (most, most, most, most))
    offsets = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height))[:, None, :, None]
    columns = (offsets[1] + torch.arange(width))[:, None, None, :]
    return padded[torch.arange(count)[:, None, None, None], torch.arange(images.shape[1])[:, None, None], rows, columns]


def mirror_steering(images: Tensor, steering: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Swap left and right in half of the images ``(N, C, H, W)``; whoever steered there would steer the other way.

    Examples
    --------
    >>> _, steering = mirror_steering(torch.zeros(4, 1, 2, 2), torch.full((4,), 0.25), torch.Generator().manual_seed(0))
    >>> steering.abs().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, images.flip(-1), images), torch.where(chosen.flatten(), -steering, steering)


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Swap left and right in half of the images ``(N, C, H, W)``.

    Examples
    --------
    >>> mirror(torch.ones(2, 1, 2, 2), torch.Generator()).shape
    torch.Size([2, 1, 2, 2])
    """
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, images.flip(-1), images)
