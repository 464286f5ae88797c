"""The explorers of unit 09: a picture's frequencies, buckets and signs, buckets by band, and circulant blocks.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import math
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nutshell import plots
from nutshell.artefact import FrequencyHashed, Hashed
from nutshell.explorers.common import captioned, explorer
from nutshell.hashing import mix

_BLUE, _ORANGE, _GREEN = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["green"]
_VERMILION, _BLACK = plots.PALETTE["vermilion"], plots.PALETTE["black"]


@dataclass(frozen=True)
class Frequencies:
    """Square pictures as sums of cosines, by way of an FFT of each line and its mirror image.

    Attributes
    ----------
    coefficients : ndarray
        float64, shape ``(…, K, K)``, of the orthonormal DCT-II in both directions: frequency u of the columns, v of the
        rows.
    """

    coefficients: np.ndarray

    @classmethod
    def of(cls, pictures: Tensor) -> "Frequencies":
        """Take pictures, or kernels, of shape ``(…, K, K)`` apart."""
        values = pictures.detach().double().numpy()
        return cls(_turned(_cosines(_turned(_cosines(values)))))

    @property
    def bands(self) -> np.ndarray:
        """u + v for each coefficient, shape ``(K, K)``."""
        side = np.arange(self.coefficients.shape[-1])
        return side[:, None] + side

    def energy(self) -> np.ndarray:
        """Share of the sum of squares in each band, shape ``(2K − 1,)``, 1 in all.

        Examples
        --------
        >>> Frequencies.of(torch.ones(3, 2, 2)).energy().round(9).tolist()
        [1.0, 0.0, 0.0]
        """
        squares = (self.coefficients**2).reshape(-1, self.bands.size).sum(0)
        return np.bincount(self.bands.ravel(), squares) / squares.sum()

    def up_to(self, band: int) -> np.ndarray:
        """The pictures made of the bands 0 to ``band`` alone, shape ``(…, K, K)``."""
        kept = self.coefficients * (self.bands <= band)
        return _turned(_from_cosines(_turned(_from_cosines(kept))))


def sketch(features: Tensor, buckets: int, seed: int = 0, signs: bool = True) -> Tensor:
    """Features hashed to fewer: each is added to one bucket, with a sign.

    Parameters
    ----------
    features : Tensor
        Shape ``(N, n)``.
    buckets : int
        B, at least 1.
    seed : int
        Of the hash.
    signs : bool
        Whether there are signs.

    Returns
    -------
    Tensor
        Shape ``(N, buckets)``.

    Examples
    --------
    >>> sketch(torch.ones(1, 5), buckets=1, signs=False)
    tensor([[5.]])
    """
    place = torch.arange(features.shape[1])
    signed = torch.where((mix(place, 2 * seed + 1) & 1).bool() & signs, -features, features)
    return features.new_zeros(len(features), buckets).index_add(1, mix(place, 2 * seed) % buckets, signed)


def by_band(shape: tuple[int, ...], rate: float, falling: float) -> list[int]:
    """Buckets for the bands of kernels, about as many in all as their numbers divided by the rate.

    Parameters
    ----------
    shape : tuple of int
        ``(P, C, K, K)``.
    rate : float
        Numbers for each bucket, at least 1.
    falling : float
        Buckets for each coefficient fall by this factor from band to band, above 0 and at most 1, which is even. No
        band has more buckets than coefficients, and what is over goes to the others; none has fewer than one.

    Examples
    --------
    >>> by_band((10, 10, 2, 2), rate=2, falling=1), by_band((10, 10, 2, 2), rate=2, falling=0.1)
    ([50, 100, 50], [100, 95, 5])
    """
    side = shape[-1]
    filters = math.prod(shape) // side**2
    members = np.array([filters * min(band + 1, 2 * side - 1 - band) for band in range(2 * side - 1)])
    wanted = members * float(falling) ** np.arange(len(members))
    total = members.sum() / rate
    low, high = 0.0, 1 / float(falling) ** len(members)  # the factor that spends the total, by bisection
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(wanted * middle, 1, members).sum() < total else (low, middle)
    return [int(number) for number in np.clip(wanted * low, 1, members).round()]


def picture(images: Tensor, labels: Tensor) -> widgets.Widget:
    """Move the bands of frequencies that a digit keeps.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 1, K, K)``, at least one.
    labels : Tensor
        What each shows, shape ``(N,)``; named above the picture.
    """
    last = 2 * images.shape[-1] - 2
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False),
        "band": widgets.IntSlider(min(8, last), 0, last, description="bands up to", continuous_update=False),
    }

    def draw(number: int, band: int) -> str:
        image = images[number, 0].float() / 255
        found = Frequencies.of(image)
        energy = 100 * found.energy()
        kept = int((found.bands <= band).sum())
        panels = plots.axes(9.5, 2.7, columns=3, width_ratios=(1, 1, 1.4))
        _image(panels[0], image.numpy(), "image", (0, 1), "gray", "brightness")
        _image(panels[1], found.up_to(band), f"bands 0 to {band}", (0, 1), "gray", "brightness")
        places = np.arange(len(energy))
        panels[2].bar(places[: band + 1], energy[: band + 1], color=_BLUE, label="kept")
        panels[2].bar(places[band + 1 :], energy[band + 1 :], color=_ORANGE, label="left out")
        panels[2].set(xlabel="band u + v", ylabel="energy (%)", yscale="log", ylim=(1e-3, 100))
        panels[2].legend()
        words = (f"Digit {int(labels[number])} in bands 0 to {band}: {kept} coefficients instead of {image.numel()}, "
                 f"{energy[: band + 1].sum():.1f} % of the energy")
        return captioned(words, plots.as_html(
            panels[0].figure, f"A digit, the same without its higher frequencies, and the energy of each band, which "
            f"falls as the band rises. {words}."))

    return explorer(draw, knobs)


def buckets(images: Tensor, pairs: int = 400) -> widgets.Widget:
    """Move the number of buckets: a matrix made of them, and what they keep of the likeness of images.

    Parameters
    ----------
    images : Tensor
        Shape ``(N, n)``, float; at least two.
    pairs : int
        Pairs of images whose inner products are drawn.
    """
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(len(images), (2, pairs), generator=generator)
    exact = (images[first] * images[second]).sum(1)
    knobs = {
        "count": widgets.SelectionSlider(value=98, options=[n for n in (2, 4, 8, 16, 49, 98, 196, 392, 784)],
                                         description="buckets"),
        "signs": widgets.Checkbox(True, description="signs"),
        "seed": widgets.IntSlider(0, 0, 20, description="seed", continuous_update=False),
    }

    def draw(count: int, signs: bool, seed: int) -> str:
        rows, columns = 20, 28
        values = torch.randn(count, generator=torch.Generator().manual_seed(1))
        matrix = (sketch(torch.eye(rows * columns), count, seed, signs) @ values).reshape(rows, columns)
        few = sketch(images, count, seed, signs)
        found = (few[first] * few[second]).sum(1)
        bias, spread = float((found - exact).mean()), float((found - exact).std())
        panels = plots.axes(9.5, 3.2, columns=2, width_ratios=(1.2, 1))
        largest = float(values.abs().max())
        _image(panels[0], matrix.numpy(), f"{rows}×{columns} weights from {count} buckets", (-largest, largest),
               "PuOr", "weight", ("input j", "output i"))
        panels[1].plot(exact, found, ".", color=_BLUE, markersize=3, label="pairs of images")
        ends = [0.0, float(exact.max())]
        panels[1].plot(ends, ends, color=_VERMILION, label="equal")
        panels[1].set(xlabel="inner product of two images", ylabel=f"of their {count} sums")
        panels[1].legend()
        words = (f"{count} buckets {'with' if signs else 'without'} signs: {rows * columns / count:.1f} weights of the "
                 f"picture share one; inner products are off by {bias:+.1f} on average, ± {spread:.1f}, where they are "
                 f"{exact.mean():.1f} on average")
        return captioned(words, plots.as_html(
            panels[0].figure, f"A matrix whose entries are taken from buckets, and inner products of images against "
            f"those of their hashed features. {words}."))

    return explorer(draw, knobs)


def bands(kernel: Tensor, seed: int = 1) -> widgets.Widget:
    """Move how buckets are shared out among frequencies: how near do hashed kernels come to trained ones?

    Parameters
    ----------
    kernel : Tensor
        Trained kernels, shape ``(P, C, K, K)``.
    seed : int
        Of the hashes.
    """
    kernel = kernel.detach()
    shape = (kernel.shape[0], kernel.shape[1], kernel.shape[2], kernel.shape[3])
    clearest = int(Frequencies.of(kernel).coefficients[:, 0].__pow__(2).sum((1, 2)).argmax())
    knobs = {
        "rate": widgets.SelectionSlider(value=8, options=[2, 4, 8, 16, 32, 64], description="weights/bucket"),
        "falling": widgets.FloatSlider(0.6, min=0.1, max=1.0, step=0.05, description="falling by",
                                       continuous_update=False),
    }

    def draw(rate: int, falling: float) -> str:
        counts = by_band(shape, rate, falling)
        fresh = _nearest(FrequencyHashed(counts, seed=seed), kernel)
        plain = _nearest(Hashed(sum(counts), seed=seed), kernel)
        away = {name: 100 * float((near - kernel).norm() / kernel.norm())
                for name, near in (("in frequencies", fresh), ("in space", plain))}
        panels = plots.axes(10, 2.7, columns=4, width_ratios=(1.9, 1, 1, 1))
        band = np.arange(len(counts))
        members = np.bincount(Frequencies(np.zeros((1, *shape[2:]))).bands.ravel()) * shape[0] * shape[1]
        panels[0].bar(band - 0.2, members, 0.4, color=_ORANGE, label="coefficients")
        panels[0].bar(band + 0.2, counts, 0.4, color=_BLUE, label="buckets")
        panels[0].set(xlabel="band u + v", ylabel="how many", yscale="log", xticks=band)
        panels[0].legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
        largest = float(kernel[clearest, 0].abs().max())
        for panel, which, title in zip(panels[1:], (kernel, fresh, plain),
                                       ("trained", "in frequencies", "in space"), strict=True):
            _image(panel, which[clearest, 0].numpy(), title, (-largest, largest), "PuOr", "")
        words = (f"{sum(counts):,} buckets for {kernel.numel():,} weights: the nearest kernels hashed in frequencies "
                 f"are {away['in frequencies']:.0f} % away, hashed in space {away['in space']:.0f} %")
        return captioned(words, plots.as_html(
            panels[0].figure, f"Coefficients and buckets of each band, and one kernel as it was trained, from hashed "
            f"frequencies and from hashed weights. {words}."))

    return explorer(draw, knobs)


@dataclass(frozen=True)
class Blocks:
    """A square matrix of circulant blocks, made of seeded random vectors, for looking at.

    Attributes
    ----------
    side, size : int
        Rows of the matrix, and of a block; ``side`` is a multiple of ``size``.
    """

    side: int
    size: int

    def matrix(self, rows_first: bool = False) -> np.ndarray:
        """The matrix whose vectors are the blocks' first columns, or their first rows.

        Examples
        --------
        >>> bool((Blocks(6, 3).matrix(rows_first=True) != Blocks(6, 3).matrix()).any())
        True
        """
        generator = np.random.default_rng(0)
        count, places = self.side // self.size, np.arange(self.size)
        vectors = generator.standard_normal((count, count, self.size))
        turned = (places[:, None] - places if not rows_first else places - places[:, None]) % self.size
        return vectors[:, :, turned].transpose(0, 2, 1, 3).reshape(self.side, self.side)

    def numbers(self) -> dict[str, float]:
        """``stored`` numbers, and real ``products`` by FFT for a power of two, of vectors transformed beforehand.

        A real FFT of k numbers takes about k·log₂ k of them, a product of two spectra 2k − 2 (1 at k = 1).

        Examples
        --------
        >>> Blocks(8, 1).numbers(), Blocks(1024, 1024).numbers()
        ({'stored': 64, 'products': 64.0}, {'stored': 1024, 'products': 22526.0})
        """
        count, k = self.side // self.size, self.size
        transforms = 2 * count * k * math.log2(k)
        return {"stored": count * count * k, "products": transforms + count * count * max(1, 2 * k - 2)}


def circulant(side: int = 16, layer: int = 1024) -> widgets.Widget:
    """Move the size of circulant blocks: what the matrix looks like, and what a layer stores and computes.

    Parameters
    ----------
    side : int
        Rows of the matrix that is drawn, a power of two.
    layer : int
        Inputs and outputs of the layer whose numbers are counted, a power of two above it.
    """
    sizes = [1 << power for power in range(side.bit_length())]
    knobs = {
        "size": widgets.SelectionSlider(value=min(4, side), options=sizes, description="block k"),
        "first": widgets.ToggleButtons(options=["first columns", "first rows"], description="vectors are"),
    }
    grid = [1 << power for power in range(layer.bit_length())]

    def draw(size: int, first: str) -> str:
        panels = plots.axes(9.5, 3.2, columns=2, width_ratios=(1, 1.3))
        matrix = Blocks(side, size).matrix(first == "first rows")
        largest = float(np.abs(matrix).max())
        _image(panels[0], matrix, f"{side}×{side}, blocks of {size}×{size}", (-largest, largest), "PuOr", "weight",
               ("input", "output"))
        for edge in range(0, side + 1, size):
            panels[0].axhline(edge - 0.5, color=_BLACK, linewidth=0.6)
            panels[0].axvline(edge - 0.5, color=_BLACK, linewidth=0.6)
        found = {k: Blocks(layer, k).numbers() for k in grid}
        panels[1].plot(grid, [found[k]["stored"] for k in grid], "o-", color=_BLUE, label="stored numbers")
        panels[1].plot(grid, [found[k]["products"] for k in grid], "s--", color=_ORANGE, label="products by FFT")
        panels[1].axhline(layer**2, color=_BLACK, linestyle=":", label="dense")
        panels[1].axvline(size, color=_VERMILION, label=f"k = {size}")
        panels[1].set(xscale="log", yscale="log", xlabel="block k", ylabel=f"of a {layer}×{layer} layer")
        panels[1].set_xticks(grid[::2], [str(k) for k in grid[::2]])
        panels[1].minorticks_off()
        panels[1].legend(fontsize=8)
        numbers = found[size]
        words = (f"k = {size}: {layer}×{layer} weights are {numbers['stored']:,} numbers, "
                 f"{layer**2 / numbers['stored']:.0f} times fewer, and {numbers['products']:,.0f} products, "
                 f"{layer**2 / numbers['products']:.2f} times fewer")
        return captioned(words, plots.as_html(
            panels[0].figure, f"A matrix of circulant blocks, constant along the diagonals of each block, and the "
            f"numbers stored and multiplied in a layer, both falling as blocks grow. {words}."))

    return explorer(draw, knobs)


def _nearest(encoding: Hashed | FrequencyHashed, kernel: Tensor) -> Tensor:
    settings, payload = encoding.encode(kernel)
    shape = tuple(kernel.shape)
    return type(encoding).decode(memoryview(payload), shape, str(kernel.dtype).removeprefix("torch."), settings)[""]


def _cosines(lines: np.ndarray) -> np.ndarray:
    """DCT-II along the last axis: a line and its mirror image have a spectrum of cosines."""
    count = lines.shape[-1]
    spectrum = np.fft.rfft(np.concatenate([lines, lines[..., ::-1]], -1))[..., :count]
    turned = (spectrum * np.exp(-0.5j * np.pi * np.arange(count) / count)).real / math.sqrt(2 * count)
    turned[..., 0] /= math.sqrt(2)
    return turned


def _from_cosines(lines: np.ndarray) -> np.ndarray:
    count = lines.shape[-1]
    spectrum = lines * math.sqrt(2 * count) * np.exp(0.5j * np.pi * np.arange(count) / count)
    spectrum[..., 0] *= math.sqrt(2)
    mirrored = np.concatenate([spectrum, np.zeros((*lines.shape[:-1], 1))], -1)
    return np.fft.irfft(mirrored, 2 * count)[..., :count]


def _turned(pictures: np.ndarray) -> np.ndarray:
    return np.swapaxes(pictures, -1, -2)


def _image(axes: Axes, values: np.ndarray, title: str, limits: tuple[float, float], colours: str, bar: str,
           names: tuple[str, str] = ("column (pixels)", "row (pixels)")) -> None:
    drawn = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
    axes.grid(False)
    if bar:
        axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label=bar)
