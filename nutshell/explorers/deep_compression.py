"""The explorers of unit 07: weights that share centroids, Huffman's tree of a word, and where the bytes of a file go.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import copy
import math
from collections import Counter
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from nutshell import artefact, plots
from nutshell.artefact.coders import CODERS
from nutshell.artefact.coders.bits import bytes_for
from nutshell.artefact.coders.huffman import code_lengths, code_words
from nutshell.artefact.encodings.sparse import gaps_of
from nutshell.data.dataset import Split
from nutshell.explorers.common import captioned, explorer
from nutshell.training import evaluate

STARTS = ("linear", "density", "random")
_BLUE, _ORANGE, _BLACK = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["black"]
_GREEN, _VERMILION, _SKY = plots.PALETTE["green"], plots.PALETTE["vermilion"], plots.PALETTE["sky"]
_PURPLE = plots.PALETTE["purple"]
PARTS = {  # where bytes go, with their colours
    "gaps": _BLUE, "indices": _ORANGE, "codebooks": _GREEN, "code tables": _VERMILION, "biases": _SKY,
    "header, graph and counts": _PURPLE,
}  # fmt: skip


@dataclass(frozen=True)
class Rounds:
    """Lloyd's algorithm on some weights, round by round.

    Attributes
    ----------
    values : ndarray
        The weights, ascending, float64.
    centroids : tuple of ndarray
        Before the first round, after it, and so on.
    """

    values: np.ndarray
    centroids: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, weights: Tensor, count: int, start: str, rounds: int, seed: int = 0) -> "Rounds":
        """Share weights that aren't zero among ``count`` centroids.

        Examples
        --------
        >>> found = Rounds.of(torch.tensor([0.0, 1.0, 2.0, 3.0, 10.0, 11.0]), 2, "linear", 9)
        >>> [each.tolist() for each in found.centroids[:2]]
        [[1.0, 11.0], [2.0, 10.5]]
        """
        values = np.sort(weights[weights != 0].detach().double().numpy())
        places = {
            "linear": lambda: np.linspace(values[0], values[-1], count),
            "density": lambda: np.quantile(values, (np.arange(count) + 0.5) / count),
            "random": lambda: np.sort(np.random.default_rng(seed).choice(values, count, replace=False)),
        }
        found = [places[start]()]
        for _ in range(rounds):
            parts = np.split(values, np.searchsorted(values, (found[-1][1:] + found[-1][:-1]) / 2))
            found.append(np.array([part.mean() if part.size else c for part, c in zip(parts, found[-1], strict=True)]))
        return cls(values, tuple(found))

    def shared(self, round_: int) -> np.ndarray:
        """What each weight becomes after some rounds."""
        centroids = self.centroids[round_]
        return centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, self.values)]

    def mean_square(self, round_: int) -> float:
        """Of the differences between the weights and their centroids."""
        return float(((self.values - self.shared(round_)) ** 2).mean())

    def largest_off(self, share: float = 0.01) -> float:
        """How far the largest weights, a share of all, are off after the last round: mean relative difference."""
        count = max(1, round(share * len(self.values)))
        largest = np.argsort(np.abs(self.values))[-count:]
        return float((np.abs(self.values - self.shared(-1)) / np.abs(self.values))[largest].mean())


def rate(numbers: int, centroids: int, bits: int = 32) -> float:
    """Bits of n numbers over those of n indices and a codebook: n·b / (n·log₂q + q·b), with whole bits.

    Examples
    --------
    >>> rate(16, 4)
    3.2
    """
    return numbers * bits / (numbers * (centroids - 1).bit_length() + centroids * bits)


def sharing(weights: Tensor, name: str = "the layer") -> widgets.Widget:
    """Move centroids, start and rounds: a histogram of the weights with the values that they share.

    Parameters
    ----------
    weights : Tensor
        Any shape; zeros are taken for pruned and left out. At least 64 others.
    name : str
        Whose they are, in words.
    """
    knobs = {
        "count": widgets.SelectionSlider(options=[2, 4, 8, 16, 32, 64], value=8, description="centroids",
                                         continuous_update=False),
        "start": widgets.ToggleButtons(options=STARTS, description="start"),
        "round_": widgets.IntSlider(0, 0, 30, description="rounds", continuous_update=False),
    }

    def draw(count: int, start: str, round_: int) -> str:
        found = Rounds.of(weights, count, start, 30)
        now = Rounds(found.values, found.centroids[: round_ + 1])
        panels = plots.axes(10, 3.4, columns=2, width_ratios=(1.8, 1))
        _histogram(panels[0], now)
        squares = [1e6 * found.mean_square(number) for number in range(31)]
        panels[1].plot(range(31), squares, ".-", color=_BLUE, label="mean square")
        panels[1].plot([round_], [squares[round_]], "o", color=_VERMILION, markersize=9, label="now")
        panels[1].set(xlabel="rounds", ylabel="mean square off (10⁻⁶)", ylim=(0, None))
        panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[1].legend()
        words = (f"{count} centroids from the {start} start, {round_} rounds: mean square {squares[round_]:.1f}·10⁻⁶, "
                 f"the largest hundredth of the weights {100 * now.largest_off():.1f} % off; {len(now.values):,} "
                 f"indices and the codebook take {rate(len(now.values), count):.2f} times fewer bits")
        return captioned(words, plots.as_html(
            panels[0].figure, f"A histogram of the weights of {name} with vertical lines at the centroids, and the "
            f"mean square against the rounds, which never rises. {words}."))

    return explorer(draw, knobs)


def _histogram(axes: Axes, now: Rounds) -> None:
    axes.hist(now.values, bins=120, color=_SKY, label="weights")
    for number, centroid in enumerate(now.centroids[-1]):
        axes.axvline(centroid, color=_VERMILION, linewidth=1.2, label="centroid" if number == 0 else None)
    for number, centroid in enumerate(now.centroids[0]):
        axes.plot([centroid], [1], "v", color=_BLACK, markersize=6, clip_on=False, linestyle="none",
                  transform=axes.get_xaxis_transform(), label="its start" if number == 0 else None)
    axes.set(xlabel="weight", ylabel="how many (logarithmic)", yscale="log", ylim=(0.7, None))
    axes.legend(loc="upper left", fontsize=8)


@dataclass(frozen=True)
class Code:
    """Huffman's code for the letters of a text.

    Attributes
    ----------
    counts : dict of str to int
        How often each letter occurs, in the order of the letters.
    words : dict of str to str
        Their code words, canonical.
    """

    counts: dict[str, int]
    words: dict[str, str]

    @classmethod
    def of(cls, text: str) -> "Code":
        """The code of a text of at least one letter.

        Examples
        --------
        >>> Code.of("abracadabra").words
        {'a': '0', 'b': '100', 'c': '101', 'd': '110', 'r': '111'}
        """
        counts = dict(sorted(Counter(text).items()))
        lengths = code_lengths(np.array(list(counts.values())))
        words = code_words(lengths)
        return cls(counts, {letter: format(int(word), f"0{length}b") if length else ""
                            for letter, word, length in zip(counts, words, lengths, strict=True)})

    @property
    def bits(self) -> int:
        """Of the whole text."""
        return sum(count * len(self.words[letter]) for letter, count in self.counts.items())

    @property
    def fixed_bits(self) -> int:
        """Of the whole text in words of equal length."""
        return sum(self.counts.values()) * (len(self.counts) - 1).bit_length()

    @property
    def entropy(self) -> float:
        """Bits a letter that no code of single letters gets below."""
        total = sum(self.counts.values())
        return -sum(count / total * math.log2(count / total) for count in self.counts.values())


def huffman_tree(text: str = "abracadabra") -> widgets.Widget:
    """Type a word: Huffman's tree of its letters, and the bits that it takes.

    Parameters
    ----------
    text : str
        What stands there at first.
    """
    knobs = {"text": widgets.Text(text, description="a word", continuous_update=False)}

    def draw(text: str) -> str:
        if not text:
            return "<p>Type something.</p>"
        code = Code.of(text[:60])
        axes = plots.axes(9, 3.4)
        _tree(axes, code)
        letters = sum(code.counts.values())
        words = (f"{code.bits} bits in Huffman's code, {code.fixed_bits} in words of equal length; "
                 f"{code.bits / letters:.3f} bits a letter, entropy {code.entropy:.3f}")
        table = ", ".join(f"{letter} {word or 'nothing'}" for letter, word in code.words.items())
        return captioned(words, plots.as_html(
            axes, f"Huffman's tree: letters hang at their code words, frequent ones near the top. {words}. "
            f"The code: {table}."))

    return explorer(draw, knobs)


def _tree(axes: Axes, code: Code) -> None:
    """Inner nodes in the middle of their leaves, a level for each bit; 0 goes left."""
    order = sorted(code.words, key=lambda letter: code.words[letter])
    leaves = {code.words[letter]: float(number) for number, letter in enumerate(order)}
    nodes = {word[:length] for word in leaves for length in range(len(word) + 1)}
    across = {node: float(np.mean([x for word, x in leaves.items() if word.startswith(node)])) for node in nodes}
    for node in nodes - {""}:
        parent = node[:-1]
        axes.plot([across[parent], across[node]], [-len(parent), -len(node)], color=_BLACK, linewidth=0.8)
        axes.annotate(node[-1], ((across[parent] + across[node]) / 2, -len(node) + 0.5), color=_VERMILION,
                      ha="center", va="center", fontsize=9, bbox=dict(boxstyle="round,pad=0.1", fc="white", ec="none"))
    for letter in order:
        word = code.words[letter]
        shown = "space" if letter == " " else letter
        axes.annotate(f"{shown}\n{code.counts[letter]}×", (leaves[word], -len(word)), ha="center", va="top",
                      fontsize=10, bbox=dict(boxstyle="round", fc="white", ec=_BLUE))
    deepest = max(map(len, leaves))
    axes.set(xlim=(-0.7, len(leaves) - 0.3), ylim=(-deepest - 0.9, 0.4), ylabel="bits of the word")
    axes.set_yticks([-level for level in range(deepest + 1)], [str(level) for level in range(deepest + 1)])
    axes.set_xticks([])


def pruned(network: nn.Module, keep: float) -> nn.Module:
    """A copy that keeps a share of the weights, the largest magnitudes of the whole network, and all biases."""
    small = copy.deepcopy(network)
    weights = [parameter for parameter in small.parameters() if parameter.ndim > 1]
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    least = sizes.topk(max(1, round(keep * len(sizes)))).values[-1]
    for weight in weights:
        weight.data[weight.data.abs() < least] = 0
    return small


def shared(network: nn.Module, count: int) -> nn.Module:
    """A copy whose layers share at most ``count`` centroids each, from the linear start; zeros stay."""
    small = copy.deepcopy(network)
    for weight in (parameter for parameter in small.parameters() if parameter.ndim > 1):
        there = weight.data != 0
        values = weight.data[there]
        if len(values) > count:
            found = torch.from_numpy(Rounds.of(values, count, "linear", 20).centroids[-1])
            weight.data[there] = found[torch.bucketize(values.double(), (found[1:] + found[:-1]) / 2)].float()
    return small


def encodings(network: nn.Module, coder: str, limit: int) -> dict[str, artefact.Encoding]:
    """Sparse, with codebooks, for all weights; biases are left dense."""
    return {name: artefact.Sparse(artefact.Codebook(coder=coder), limit=limit, coder=coder)
            for name, parameter in network.named_parameters() if parameter.ndim > 1}


def bytes_by_part(network: nn.Module, coder: str, limit: int, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Where the bytes of a pruned and shared network's file go; they add up to the file.

    Parameters
    ----------
    network : torch.nn.Module
        Pruned and shared.
    coder : {"fixed", "huffman"}
        Of gaps and indices.
    limit : int
        Of a gap; longer ones are broken up by padding zeros.
    input_shape : tuple of int
        Of one image.

    Returns
    -------
    dict of str to int
        The keys of ``PARTS``, in bytes.
    """
    found = dict.fromkeys(PARTS, 0)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            found["biases"] += 4 * parameter.numel()
            continue
        numbers = parameter.detach().flatten()
        gaps, positions = gaps_of(numbers.nonzero().flatten().numpy(), limit)
        different, indices = np.unique(numbers[torch.from_numpy(positions)].numpy(), return_inverse=True)
        found["codebooks"] += 4 * len(different)
        for symbols, alphabet, part in ((gaps, limit, "gaps"), (indices, len(different), "indices")):
            size = len(CODERS[coder].encode(symbols, alphabet))
            words = size
            if coder == "huffman" and len(symbols):
                lengths = code_lengths(np.bincount(symbols))
                words = bytes_for(int(lengths[symbols].sum()))
            found[part] += words
            found["code tables"] += size - words
    whole = len(artefact.to_bytes(network, input_shape=input_shape, encodings=encodings(network, coder, limit)))
    found["header, graph and counts"] = whole - sum(found.values())
    return found


def where_bytes_go(network: nn.Module, part: Split) -> widgets.Widget:
    """Move shares, centroids, gaps and coder of a network that isn't trained on: bytes of its file, and its error.

    Parameters
    ----------
    network : torch.nn.Module
        A trained classifier.
    part : Split
        Images that the error is measured on; a thousand or two answer at once.
    """
    shape = tuple(part.images.shape[1:])
    before = 4 * sum(parameter.numel() for parameter in network.parameters())
    knobs = {
        "keep": widgets.SelectionSlider(options=[2, 4, 6, 8, 10, 15, 20, 30, 50], value=10,
                                        description="weights kept (%)", continuous_update=False),
        "count": widgets.SelectionSlider(options=[2, 4, 8, 16, 32, 64], value=16, description="centroids",
                                         continuous_update=False),
        "limit": widgets.SelectionSlider(options=[4, 8, 16, 32, 64, 128, 256], value=32, description="gaps below",
                                         continuous_update=False),
        "coder": widgets.ToggleButtons(options=["fixed", "huffman"], description="coder"),
    }

    def draw(keep: int, count: int, limit: int, coder: str) -> str:
        small = shared(pruned(network, keep / 100), count)
        error = evaluate(small, part)[1]
        found = bytes_by_part(small, coder, limit, shape)
        whole = sum(found.values())
        padding = sum(_padding(weight, limit) for weight in small.parameters() if weight.ndim > 1)
        axes = plots.axes(9, 3.0)
        left = 0.0
        for name, size in found.items():
            kilobytes = size / 1000
            axes.barh(["file"], [kilobytes], left=left, color=PARTS[name], label=f"{name}, {size:,} bytes")
            left += kilobytes
        axes.set(xlabel="KB", ylim=(-0.6, 0.6))
        axes.figure.legend(loc="outside upper center", ncols=3, fontsize=9)
        words = (f"{whole:,} bytes, {before / whole:.1f} times smaller, {padding:,} padding zeros; {error:.2f} % error "
                 f"on {len(part):,} images, without any training")
        listed = ", ".join(f"{name} {size:,}" for name, size in found.items())
        picture = plots.as_html(axes, f"A bar of the file's bytes by part: {listed}. {words}.")
        return captioned(words, picture)

    return explorer(draw, knobs)


def _padding(weight: Tensor, limit: int) -> int:
    positions = weight.detach().flatten().nonzero().flatten().numpy()
    return len(gaps_of(positions, limit)[0]) - len(positions)
