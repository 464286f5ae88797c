"""The explorers of unit 03: a digit as a sum of outer products, a layer's rank, and a convolution's Tucker ranks.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import copy
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from nutshell import plots
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.training import evaluate

BYTES = 4  # a number in fp32
_FOUND = 0.01  # relative error below which a start counts as having found the products
_RANKS = (1, 3, 6, 10, 14, 18, 22, 27, 33, 40, 50, 65, 85, 120, 200)  # points of a curve
_BLUE, _ORANGE, _BLACK = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["black"]


@dataclass(frozen=True)
class Spectrum:
    """A matrix with its singular value decomposition, so that a slider needs to compute it only once.

    Attributes
    ----------
    weight, left, right : Tensor
        W of shape ``(m, n)``, U ``(m, r)`` and Vᵀ ``(r, n)`` with r the smaller of m and n.
    values : Tensor
        Singular values, largest first, shape ``(r,)``.
    """

    weight: Tensor
    left: Tensor
    values: Tensor
    right: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> "Spectrum":
        """Decompose a matrix."""
        weight = weight.detach()
        return cls(weight, *torch.linalg.svd(weight, full_matrices=False))

    def at(self, rank: int) -> Tensor:
        """The closest matrix of a rank, multiplied out.

        Examples
        --------
        >>> Spectrum.of(torch.diag(torch.tensor([3.0, 1.0]))).at(1).diagonal().tolist()
        [3.0, 0.0]
        """
        return (self.left[:, :rank] * self.values[:rank]) @ self.right[:rank]

    def numbers(self, rank: int) -> dict[str, float]:
        """What a rank costs and keeps.

        Parameters
        ----------
        rank : int
            1 to the smaller side.

        Returns
        -------
        dict
            ``stored`` (numbers, Σ absorbed), ``rate`` (against the whole matrix), ``energy`` (share kept, 0 to 1) and
            ``distance`` (Frobenius norm of the difference over that of the matrix).

        Examples
        --------
        >>> Spectrum.of(torch.eye(4)).numbers(2)["rate"]
        1.0
        """
        rows, columns = self.weight.shape
        squares = self.values.double() ** 2
        energy = float(squares[:rank].sum() / squares.sum())
        stored = rank * (rows + columns)
        return {"stored": stored, "rate": rows * columns / stored, "energy": energy,
                "distance": max(0.0, 1 - energy) ** 0.5}


def with_rank(network: nn.Module, layer: str, spectrum: Spectrum, rank: int) -> nn.Module:
    """A copy of a network with one weight matrix of lower rank, multiplied out: for looking, it saves nothing."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.get_parameter(f"{layer}.weight").copy_(spectrum.at(rank))
    return changed


def errors_by_rank(network: nn.Module, layer: str, part: Split, ranks: tuple[int, ...]) -> dict[int, float]:
    """Error in percent on some images when one layer has each of the ranks, without fine-tuning."""
    spectrum = Spectrum.of(network.get_parameter(f"{layer}.weight"))
    return {rank: evaluate(with_rank(network, layer, spectrum, rank), part)[1] for rank in ranks}


def picture(images: Tensor, labels: Tensor) -> widgets.Widget:
    """Move the rank of a digit: an image is a matrix too, and a rank-k image a sum of k outer products.

    Parameters
    ----------
    images : Tensor
        uint8, shape ``(N, 1, H, W)``, at least one.
    labels : Tensor
        What each shows, shape ``(N,)``; named above the picture.
    """
    side = min(images.shape[2:])
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False),
        "rank": widgets.IntSlider(4, 1, side, description="rank", continuous_update=False),
    }

    def draw(number: int, rank: int) -> str:
        spectrum = Spectrum.of(images[number, 0].float() / 255)
        found = spectrum.numbers(rank)
        panels = plots.axes(8, 2.6, columns=3)
        _image(panels[0], spectrum.weight, "image", 1.0)
        _image(panels[1], spectrum.at(rank), f"rank {rank}", 1.0)
        _bars(panels[2], spectrum, rank)
        words = (f"Digit {int(labels[number])} at rank {rank}: {found['stored']} numbers instead of "
                 f"{spectrum.weight.numel()}, {100 * found['energy']:.1f} % of the energy, "
                 f"{100 * found['distance']:.1f} % away")
        return captioned(words, plots.as_html(
            panels[0].figure, f"A digit, the same at lower rank, and its singular values. {words}."))

    return explorer(draw, knobs)


def layer_rank(
    network: nn.Module, part: Split, layer: str = "fc1", shape: tuple[int, int] = (28, 28)
) -> widgets.Widget:
    """Move the rank of a layer: what one of its neurons looks for, bytes, and the error on images, before fine-tuning.

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier with a linear layer of that name that sees the image.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    layer : str
        Name of the layer.
    shape : tuple of int
        Height and width of the images.
    """
    spectrum = Spectrum.of(network.get_parameter(f"{layer}.weight"))
    most = len(spectrum.values)
    grid = tuple(sorted({min(most, rank) for rank in _RANKS} | {most}))
    curve = errors_by_rank(network, layer, part, grid)
    busiest = spectrum.weight.norm(dim=1).topk(min(12, len(spectrum.weight))).indices.tolist()
    knobs = {
        "rank": widgets.IntSlider(min(30, most), 1, most, description="rank", continuous_update=False),
        "neuron": widgets.Dropdown(options=busiest, description="neuron"),
    }

    def draw(rank: int, neuron: int) -> str:
        found = spectrum.numbers(rank)
        changed = with_rank(network, layer, spectrum, rank)
        error = evaluate(changed, part)[1]
        panels = plots.axes(10, 2.8, columns=3, width_ratios=(1, 1, 1.7))
        largest = float(spectrum.weight[neuron].abs().max())
        _image(panels[0], spectrum.weight[neuron].view(shape), f"weights of neuron {neuron}", largest, signed=True)
        _image(panels[1], spectrum.at(rank)[neuron].view(shape), f"at rank {rank}", largest, signed=True)
        _curve(panels[2], spectrum, curve, rank, error)
        words = (f"{layer} at rank {rank}: {found['stored'] * BYTES / 1000:,.1f} KB of weights, "
                 f"{found['rate']:.2f} times smaller, {100 * found['energy']:.1f} % of the energy, "
                 f"{error:.2f} % error on {len(part):,} images before fine-tuning")
        return captioned(words, plots.as_html(
            panels[0].figure, f"The weights of neuron {neuron} as an image, the same at rank {rank}, and the error "
            f"against the layer's kilobytes, which rises where few are left. {words}."))

    return explorer(draw, knobs)


@dataclass(frozen=True)
class TuckerMap:
    """Tucker-2 of one kernel at all pairs of ranks, from a single decomposition.

    With orthonormal bases the squared error is the kernel's squared norm less that of the core that is kept, so one
    cumulative sum over the full core gives the errors of all ranks.

    Attributes
    ----------
    shape : tuple of int
        P, C, height and width of the kernel.
    distances : ndarray
        Relative Frobenius error, shape ``(P, C)``: row R₂ − 1, column R₁ − 1.
    """

    shape: tuple[int, int, int, int]
    distances: np.ndarray

    @classmethod
    def of(cls, kernel: Tensor) -> "TuckerMap":
        """Decompose a kernel ``(P, C, height, width)``."""
        kernel = kernel.detach().double()
        inputs = torch.linalg.svd(kernel.transpose(0, 1).flatten(1))[0]
        outputs = torch.linalg.svd(kernel.flatten(1))[0]
        core = torch.einsum("pchw,ps,cr->srhw", kernel, outputs, inputs)
        kept = (core**2).sum((2, 3)).cumsum(0).cumsum(1)
        p, c, height, width = kernel.shape
        return cls((p, c, height, width), (1 - kept / kept[-1, -1]).clamp_min(0).sqrt().numpy())

    def weights(self, rank_in: int, rank_out: int) -> int:
        """Weights of the three convolutions; each does one MAC at each place of its output.

        Examples
        --------
        >>> TuckerMap.of(torch.randn(50, 20, 5, 5)).weights(8, 16)
        4160
        """
        p, c, height, width = self.shape
        return c * rank_in + height * width * rank_in * rank_out + rank_out * p

    def macs(self, rank_in: int, rank_out: int, side: int) -> int:
        """MACs of the three on an input of ``side`` × ``side``, stride 1, no padding.

        The first runs at every place of the input, the other two at every place of the smaller output.
        """
        p, c, height, width = self.shape
        places = (side - height + 1) * (side - width + 1)
        return side * side * c * rank_in + places * (height * width * rank_in * rank_out + rank_out * p)


def tucker(kernel: Tensor, side: int) -> widgets.Widget:
    """Move the two ranks of Tucker-2: parameters, MACs, and how far the kernel is from what it was.

    Parameters
    ----------
    kernel : Tensor
        Shape ``(P, C, height, width)``.
    side : int
        Height and width of the layer's input, for the MACs; stride 1, no padding.
    """
    found = TuckerMap.of(kernel)
    p, c, height, width = found.shape
    before = {"parameters": kernel.numel(), "MACs": kernel.numel() * (side - height + 1) * (side - width + 1)}
    knobs = {
        "rank_in": widgets.IntSlider(max(1, c // 2), 1, c, description="R₁ (inputs)", continuous_update=False),
        "rank_out": widgets.IntSlider(max(1, p // 2), 1, p, description="R₂ (outputs)", continuous_update=False),
    }

    def draw(rank_in: int, rank_out: int) -> str:
        distance = found.distances[rank_out - 1, rank_in - 1]
        after = {"parameters": found.weights(rank_in, rank_out), "MACs": found.macs(rank_in, rank_out, side)}
        panels = plots.axes(10, 3.0, columns=2, width_ratios=(1.4, 1))
        _map(panels[0], found, rank_in, rank_out, kernel.numel())
        panels[1].barh(list(after), [100 * after[key] / before[key] for key in after], color=_BLUE, label="Tucker-2")
        panels[1].axvline(100, color=_BLACK, linestyle="--", label="one convolution")
        panels[1].set(xlabel="share of the convolution (%)", xlim=(0, 160), ylim=(-0.6, 1.6))
        panels[1].legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2, frameon=False)
        fewer = {key: f"{after[key]:,} {key} instead of {before[key]:,} ({before[key] / after[key]:.2f} times fewer)"
                 for key in after}
        words = f"R₁ = {rank_in}, R₂ = {rank_out}: {fewer['parameters']}, {fewer['MACs']}, {100 * distance:.1f} % away"
        return captioned(words, plots.as_html(
            panels[0].figure, "A map of the relative error for all pairs of ranks, with the line where Tucker-2 stops "
            f"saving parameters, and bars of parameters and MACs against the convolution. {words}."))

    return explorer(draw, knobs)


def starts(sides: tuple[int, int, int] = (8, 7, 6), products: int = 3, count: int = 20, sweeps: int = 40) -> HTML:
    """Draw how alternating least squares for a CP decomposition fares from several random starts.

    The tensor is a sum of outer products of orthonormal vectors, so that an error of 0 can be reached; it and the
    starts come from one seeded generator.

    Parameters
    ----------
    sides : tuple of int
        Shape of the tensor, each side at least ``products``.
    products : int
        Outer products that are planted, and as many that are looked for.
    count, sweeps : int
        Random starts, and rounds over the three factors for each.

    Returns
    -------
    IPython.display.HTML
        A picture of the relative error after each sweep, with alternative text.
    """
    errors = _errors_of_starts(sides, products, count, sweeps)
    axes = plots.axes(height=3.2)
    for line in errors:
        stuck = line[-1] > _FOUND
        axes.plot(range(1, sweeps + 1), line, "--" if stuck else "-", linewidth=0.9,
                  color=plots.PALETTE["vermilion"] if stuck else _BLUE)
    axes.plot([], [], color=_BLUE, label="found")
    axes.plot([], [], "--", color=plots.PALETTE["vermilion"], label="stuck")
    axes.set(yscale="log", xlabel="sweep", ylabel="relative error")
    axes.legend()
    found = sum(line[-1] <= _FOUND for line in errors)
    return plots.as_html(axes, f"Relative error of alternating least squares against sweeps, from {count} starts: "
                         f"{found} fall to rounding error, the others stay on a plateau.")


def _errors_of_starts(sides: tuple[int, int, int], products: int, count: int, sweeps: int) -> list[list[float]]:
    generator = torch.Generator().manual_seed(0)
    planted = [torch.linalg.qr(torch.randn(side, products, generator=generator))[0] for side in sides]
    tensor = torch.einsum("ir,jr,lr->ijl", *planted)
    errors: list[list[float]] = []
    for _ in range(count):
        factors = [torch.randn(side, products, generator=generator) for side in sides]
        errors.append([])
        for _ in range(sweeps):
            for axis in range(3):
                first, second = (factors[other] for other in range(3) if other != axis)
                pairs = torch.einsum("jr,lr->jlr", first, second).flatten(0, 1)
                unfolded = tensor.movedim(axis, 0).flatten(1)
                factors[axis] = torch.linalg.lstsq(pairs, unfolded.T).solution.T
            errors[-1].append(float((torch.einsum("ir,jr,lr->ijl", *factors) - tensor).norm() / tensor.norm()))
    return errors


def _image(axes: Axes, values: Tensor, title: str, largest: float, signed: bool = False) -> None:
    limits = (-largest, largest) if signed else (0, largest)
    drawn = axes.imshow(values.numpy(), cmap="PuOr" if signed else "gray", vmin=limits[0], vmax=limits[1])
    axes.set(title=title, xlabel="column (pixels)", ylabel="row (pixels)")
    axes.grid(False)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="weight" if signed else "brightness")


def _bars(axes: Axes, spectrum: Spectrum, rank: int) -> None:
    values = spectrum.values.numpy()
    places = np.arange(1, len(values) + 1)
    axes.bar(places[:rank], values[:rank], color=_BLUE, label="kept")
    axes.bar(places[rank:], values[rank:], color=_ORANGE, label="left out")
    axes.set(xlabel="number i", ylabel="singular value σᵢ", title="singular values")
    axes.legend(frameon=False)


def _curve(axes: Axes, spectrum: Spectrum, curve: dict[int, float], rank: int, error: float) -> None:
    def kilobytes(k: int) -> float:
        return spectrum.numbers(k)["stored"] * BYTES / 1000

    axes.plot([kilobytes(k) for k in curve], list(curve.values()), ".-", color=_BLUE, label="truncated only")
    axes.plot([kilobytes(rank)], [error], "o", color=plots.PALETTE["vermilion"], markersize=9, label=f"rank {rank}")
    axes.axvline(spectrum.weight.numel() * BYTES / 1000, color=_BLACK, linestyle="--", label="whole matrix")
    axes.set(xscale="log", xlabel="weights of the layer (KB)", ylabel="error (%)", ylim=(0, 100))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, frameon=False, fontsize=8)


def _map(axes: Axes, found: TuckerMap, rank_in: int, rank_out: int, numbers: int) -> None:
    p, c = found.shape[:2]
    drawn = axes.imshow(100 * found.distances, origin="lower", aspect="auto", extent=(0.5, c + 0.5, 0.5, p + 0.5),
                        cmap="cividis_r", vmin=0, vmax=100)
    axes.figure.colorbar(drawn, ax=axes, label="relative error (%)")
    sizes = np.array([[found.weights(r, s) for r in range(1, c + 1)] for s in range(1, p + 1)])
    if sizes.max() > numbers:
        axes.contour(np.arange(1, c + 1), np.arange(1, p + 1), sizes, [numbers], colors=plots.PALETTE["vermilion"])
        axes.plot([], [], color=plots.PALETTE["vermilion"], label="saves no parameters above")
    axes.plot(rank_in, rank_out, "o", color="white", markeredgecolor=_BLACK, markersize=9, label="chosen")
    axes.set(xlabel="R₁ (input channels)", ylabel="R₂ (output channels)")
    axes.grid(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2, frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
