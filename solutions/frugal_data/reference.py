"""Unit 02, frugal data: the reference library.

The docstrings and signatures below become the stubs of ``labs/02_frugal_data``, and the bodies its solutions. Bodies
use only what that lab's first cell imports.
"""

import math
from collections.abc import Iterator

import torch
from scipy.special import stdtrit
from torch import Tensor

from nutshell.streams import open_shelf


def resource_report(off: dict[str, list[float]], on: dict[str, list[float]],
                    level: float = 0.95) -> dict[str, dict[str, float | str]]:
    """What switching a technique on changed, for each metric, and whether that is more than noise.

    The measurements are *paired*: ``off[metric][i]`` and ``on[metric][i]`` were taken one right after the other, so
    that a machine that got slower meanwhile did so for both. With ``d`` the ``n`` differences on − off, the interval is
    ``mean(d) ± t · s(d) / √n``: s the sample standard deviation (``n − 1`` below the fraction), t the quantile at
    ``(1 + level) / 2`` of Student's distribution with ``n − 1`` degrees of freedom, which
    ``stdtrit(n − 1, (1 + level) / 2)`` gives.

    Parameters
    ----------
    off, on : dict of str to list of float
        The same metrics, such as ``"seconds"`` and ``"peak_bytes"``; at least two measurements of each, as many off
        as on.
    level : float
        Confidence of the interval, above 0 and below 1.

    Returns
    -------
    dict of str to dict
        For each metric: ``off`` and ``on``, the means; ``change``, the mean difference on − off; ``low`` and ``high``,
        the ends of its interval; and ``verdict``: ``"lower"`` if the whole interval lies below 0, ``"higher"`` if it
        lies above 0, else ``"noise"``.

    Raises
    ------
    ValueError
        If the two don't have the same metrics, a metric has fewer than two pairs or not as many off as on, or level
        is not above 0 and below 1.

    Examples
    --------
    >>> row = resource_report({"ms": [9.0, 11.0, 10.0]}, {"ms": [7.0, 9.5, 7.5]})["ms"]
    >>> row["change"], round(row["low"], 2), round(row["high"], 2), row["verdict"]
    (-2.0, -3.24, -0.76, 'lower')
    """
    if off.keys() != on.keys():
        raise ValueError(f"metrics {sorted(off)} off and {sorted(on)} on: both must have the same.")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be above 0 and below 1.")
    report: dict[str, dict[str, float | str]] = {}
    for metric, before in off.items():
        after = on[metric]
        n = len(before)
        if n != len(after) or n < 2:
            raise ValueError(f"{metric}: {n} measurements off and {len(after)} on; at least two pairs are needed.")
        differences = [b - a for a, b in zip(before, after, strict=True)]
        change = sum(differences) / n
        deviation = math.sqrt(sum((d - change) ** 2 for d in differences) / (n - 1))
        half = float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
        verdict = "lower" if change + half < 0 else "higher" if change - half > 0 else "noise"
        report[metric] = {"off": sum(before) / n, "on": sum(after) / n, "change": change, "low": change - half,
                          "high": change + half, "verdict": verdict}
    return report


def normalise(train: Tensor, images: Tensor) -> Tensor:
    """Images with each channel shifted and scaled as makes the *training* images' mean 0 and standard deviation 1.

    The statistics come from the training images alone: those of validation and test images are not known when a
    network is trained, nor is more than one image when it is used.

    Parameters
    ----------
    train : Tensor
        Shape ``(N, C, H, W)``, uint8 or floating, at least one image.
    images : Tensor
        Shape ``(M, C, H, W)``; what is to be normalised.

    Returns
    -------
    Tensor
        float32, shape ``(M, C, H, W)``: ``(images − mean) / std`` by channel, std the root of the mean squared
        distance from the mean. A channel that is the same everywhere in ``train`` is only shifted.

    Examples
    --------
    >>> train = torch.tensor([[[[0, 2]], [[7, 7]]]], dtype=torch.uint8)  # two channels of 1×2 pixels
    >>> normalise(train, train).flatten().tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """
    values = train.double()
    mean = values.mean((0, 2, 3), keepdim=True)
    deviation = (values - mean).square().mean((0, 2, 3), keepdim=True).sqrt()
    return ((images.double() - mean) / torch.where(deviation > 0, deviation, 1.0)).float()


def augment(frames: Tensor, angles: Tensor, most: int, per_pixel: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mirror frames and move them sideways at random, and turn each steering angle with its frame.

    Every frame is mirrored with probability ½, left and right swapped; its angle, positive to the right, changes sign.
    Then its contents move to the right by a number of pixels s that is drawn from −most, …, most, all equally likely
    (to the left if s is below 0); the columns that come free repeat the frame's outermost column on that side. A road
    that lies further to the right has to be steered to: the angle grows by ``per_pixel · s``.

    Parameters
    ----------
    frames : Tensor
        Shape ``(N, C, H, W)``, any dtype; left as they are.
    angles : Tensor
        Floating, shape ``(N,)``; left as they are.
    most : int
        Largest shift in pixels, 0 to W − 1.
    per_pixel : float
        Change of the angle for one pixel.
    seed : int
        Seed of all that is random; the global random state is left as it was.

    Returns
    -------
    tuple of Tensor
        New frames and new angles, in the shapes and dtypes of those given. Every frame has draws of its own.

    Raises
    ------
    ValueError
        If most is below 0 or not below W.

    Examples
    --------
    >>> frame = torch.tensor([[[[1, 2, 3]]]])
    >>> frames, angles = augment(frame.repeat(99, 1, 1, 1), torch.full((99,), 0.25), most=1, per_pixel=0.5)
    >>> sorted({(*f.flatten().tolist(), a) for f, a in zip(frames, angles.tolist())})[:3]
    [(1, 1, 2, 0.75), (1, 2, 3, 0.25), (2, 1, 1, -0.75)]
    """
    count, width = len(frames), frames.shape[3]
    if not 0 <= most < width:
        raise ValueError(f"most={most}: must be 0 to {width - 1} for frames {width} pixels wide.")
    generator = torch.Generator().manual_seed(seed)
    mirrored = torch.rand(count, generator=generator) < 0.5
    shifts = torch.randint(-most, most + 1, (count,), generator=generator)
    sources = (torch.arange(width) - shifts[:, None]).clamp(0, width - 1)  # which column each one comes from
    sources = torch.where(mirrored[:, None], width - 1 - sources, sources)
    moved = frames.gather(3, sources[:, None, None, :].expand(frames.shape))
    return moved, torch.where(mirrored, -angles, angles) + per_pixel * shifts.to(angles.dtype)


def stream(place: str, batch_size: int, *, buffer: int = 1, worker: int = 0, workers: int = 1,
           seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images from a shelf that doesn't fit into memory, shuffled within a buffer, for one of some workers.

    ``open_shelf(place)`` opens the shelf: ``len(shelf)`` images, ``shelf.read(number)`` brings one into memory. Worker
    w of W reads the images w, w + W, w + 2W, … in this order, each once. They go through a buffer: it is filled with
    ``buffer`` images; then one of them, drawn at random, leaves and the next image takes its place, until nothing is
    left to read and the rest leaves in random order. Images that leave are put together into batches; the last one
    may be smaller. A buffer of 1 shuffles nothing.

    At no time are more than ``buffer + 2 · batch_size`` images in memory, however many the shelf holds, and an image
    is read only when a batch needs it.

    Parameters
    ----------
    place : str
        Address of the shelf, for ``open_shelf``.
    batch_size, buffer : int
        Images a batch, and images to draw from; at least 1.
    worker, workers : int
        Number of this worker, from 0, and of all workers.
    seed : int
        Seed of the order; the global random state is left as it was.

    Yields
    ------
    tuple of Tensor
        The images' numbers, int64 of shape ``(n,)``, by which labels are looked up, and the images, uint8 of shape
        ``(n, C, H, W)``.

    Raises
    ------
    ValueError
        If batch_size, buffer or workers is below 1, or worker is not 0 to ``workers − 1``; when the first batch is
        asked for.

    Examples
    --------
    >>> [numbers.tolist() for numbers, images in stream("drawn:5", 2)]
    [[0, 1], [2, 3], [4]]
    >>> numbers, images = next(stream("drawn:1000000000?room=12", 4, buffer=4, worker=1, workers=2))
    >>> images.shape, (numbers % 2).tolist()
    (torch.Size([4, 1, 4, 4]), [1, 1, 1, 1])
    """
    if min(batch_size, buffer, workers) < 1 or not 0 <= worker < workers:
        raise ValueError(f"batch_size={batch_size}, buffer={buffer}, workers={workers}: all at least 1; "
                         f"worker={worker}: 0 to {workers - 1}.")
    shelf = open_shelf(place)
    generator = torch.Generator().manual_seed(seed)
    waiting: list[tuple[int, Tensor]] = []  # the buffer: numbers with their images
    batch: list[tuple[int, Tensor]] = []
    for number in range(worker, len(shelf), workers):
        waiting.append((number, torch.from_numpy(shelf.read(number))))
        if len(waiting) == buffer:
            batch.append(waiting.pop(int(torch.randint(buffer, (1,), generator=generator))))
        if len(batch) == batch_size:
            yield torch.tensor([number for number, _ in batch]), torch.stack([image for _, image in batch])
            batch = []
    batch += [waiting[drawn] for drawn in torch.randperm(len(waiting), generator=generator).tolist()]
    for start in range(0, len(batch), batch_size):
        last = batch[start : start + batch_size]
        yield torch.tensor([number for number, _ in last]), torch.stack([image for _, image in last])


def region_of_interest(image: Tensor, low: tuple[int, ...], high: tuple[int, ...],
                       margin: int = 0) -> tuple[tuple[int, int, int, int], Tensor]:
    """Find what has certain colours, black out all else, and cut the image down to where it is.

    A pixel is *inside* if every one of its channels lies from ``low`` to ``high``, both included. The region is the
    smallest rectangle that holds all pixels inside, made larger by ``margin`` on every side as far as the image goes.
    Where no pixel is inside nothing was found, and nothing may be thrown away: the region is the whole image, as it is.

    Parameters
    ----------
    image : Tensor
        uint8, shape ``(C, H, W)``; left as it is.
    low, high : tuple of int
        Least and largest value of each channel, 0 to 255.
    margin : int
        Pixels around the rectangle, at least 0.

    Returns
    -------
    box : tuple of int
        Top, bottom, left and right: rows top to bottom − 1, columns left to right − 1.
    region : Tensor
        uint8, shape ``(C, bottom − top, right − left)``: pixels inside as they are, all others 0.

    Raises
    ------
    ValueError
        If low or high doesn't have C values, or margin is below 0.

    Examples
    --------
    >>> image = torch.tensor([[[9, 9, 9, 9], [9, 80, 9, 9], [9, 9, 70, 9]]], dtype=torch.uint8)
    >>> region_of_interest(image, (60,), (90,))
    ((1, 3, 1, 3), tensor([[[80,  0],
             [ 0, 70]]], dtype=torch.uint8))
    """
    if not len(low) == len(high) == len(image):
        raise ValueError(f"{len(low)} low and {len(high)} high values: the image has {len(image)} channels.")
    if margin < 0:
        raise ValueError(f"margin={margin}: must be at least 0.")
    height, width = image.shape[1:]
    bounds = [torch.tensor(bound)[:, None, None] for bound in (low, high)]
    inside = ((image >= bounds[0]) & (image <= bounds[1])).all(0)
    if not inside.any():
        return (0, height, 0, width), image.clone()
    rows, columns = (inside.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    top, bottom = max(0, rows[0] - margin), min(height, rows[-1] + 1 + margin)
    left, right = max(0, columns[0] - margin), min(width, columns[-1] + 1 + margin)
    return (top, bottom, left, right), (image * inside)[:, top:bottom, left:right]


def strip_channels(images: Tensor, mix: tuple[float, ...]) -> Tensor:
    """One channel instead of several: at each pixel the weighted mean of the channels.

    Weights such as 0.299, 0.587 and 0.114 give the brightness that people see in red, green and blue; a weight of 1
    and zeros keep a single channel.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, C, H, W)``.
    mix : tuple of float
        C weights, none below 0, whose sum is 1 (to within 1e-6).

    Returns
    -------
    Tensor
        uint8, shape ``(N, 1, H, W)``, rounded to the nearest whole number.

    Raises
    ------
    ValueError
        If there aren't C weights, one is below 0, or they don't sum to 1.

    Examples
    --------
    >>> strip_channels(torch.tensor([[[[255]], [[0]], [[0]]]], dtype=torch.uint8), (0.299, 0.587, 0.114)).item()
    76
    """
    if len(mix) != images.shape[1] or min(mix) < 0 or abs(sum(mix) - 1) > 1e-6:
        raise ValueError(f"mix={mix}: {images.shape[1]} weights are needed, none below 0, that sum to 1.")
    weights = torch.tensor(mix, dtype=torch.float64)[:, None, None]
    return (images * weights).sum(1, keepdim=True).round().to(torch.uint8)


def rescale(images: Tensor, height: int, width: int) -> Tensor:
    """Smaller images in which every pixel is the mean of the area that it covers.

    Laid over the old image, a new pixel is ``H / height`` pixels high and ``W / width`` wide. Old pixels that it covers
    in part count by the part that is covered, so the mean brightness of an image stays what it was.

    Parameters
    ----------
    images : Tensor
        uint8 or floating, shape ``(N, C, H, W)``.
    height, width : int
        New size, 1 to H and 1 to W.

    Returns
    -------
    Tensor
        float32, shape ``(N, C, height, width)``, not rounded.

    Raises
    ------
    ValueError
        If the new size is below 1 or above the old one.

    Examples
    --------
    >>> rescale(torch.tensor([[[[0.0, 3.0, 6.0]]]]), 1, 2).flatten().tolist()  # each covers one pixel and a half
    [1.0, 5.0]
    """
    old = images.shape[2:]
    if not (1 <= height <= old[0] and 1 <= width <= old[1]):
        raise ValueError(f"height={height}, width={width}: must be 1 to {old[0]} and 1 to {old[1]}.")
    shares = []
    for many, few in ((old[0], height), (old[1], width)):
        edges = torch.arange(few + 1, dtype=torch.float64) * many / few
        pixels = torch.arange(many, dtype=torch.float64)
        covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
        shares.append(covered.clamp_min(0) * few / many)  # row i: what old pixels count in new pixel i
    return torch.einsum("ih,nchw,jw->ncij", shares[0], images.double(), shares[1]).float()


def cyclic_rate(step: int, half: int, low: float, high: float, decay: float = 1.0) -> float:
    """The learning rate of a triangular cycle: up from ``low`` to ``high`` in a straight line, and down again.

    Cyclical learning rates (Smith 2017, arXiv 1506.01186, section 3): a cycle takes ``2 · half`` steps. The height of
    the triangle, ``high − low`` in the first cycle, is multiplied by ``decay`` from each cycle to the next; ½ is the
    paper's "triangular2".

    Parameters
    ----------
    step : int
        From 0.
    half : int
        Steps from the lowest to the highest rate, at least 1.
    low, high : float
        Lowest and highest rate, low not above high.
    decay : float
        Above 0 and at most 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If half is below 1 or low is above high.

    Examples
    --------
    >>> [round(cyclic_rate(step, 2, 0.1, 0.5), 3) for step in range(6)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """
    if half < 1 or low > high:
        raise ValueError(f"half={half}, low={low}, high={high}: half must be at least 1, low not above high.")
    cycle, place = divmod(step, 2 * half)
    return low + (high - low) * decay**cycle * (1 - abs(place / half - 1))
