"""One's own networks beside the course's: bytes, work, energy and errors, a score, and who is beaten by nobody.

The course's entries are the files of ``results/`` that take the same images. Their figures are measured here like
anybody's, or taken from ``results/in_a_nutshell.json`` if they were measured on these very bytes.
"""

import hashlib
import html
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nutshell.errors import Refused, WrongUse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nutshell.data.dataset import Dataset
    from nutshell.measure import Measurement

Part = Literal["validation", "test"]
MOST_NAMED = 12  # of the Pareto front, in the picture
FLOOR = 0.98  # least share of right answers that has a score, on digits
FLOOR_ELSEWHERE = 0.75  # on harder images
BEATEN_IN = ("bytes", "energy_uj", "error_percent")  # what nobody else may be as good in, and better in one
COURSE = {  # the course's entries, by file
    "frugal_digits.nut": "02 trained frugally",
    "low_rank.nut": "03 rank 30 in the first layer",
    "weight_pruning.nut": "04 a twelfth of the weights",
    "neuron_pruning.nut": "05 a quarter of the layers",
    "quantization.nut": "06 4 bits with training",
    "lenet-300-100.nut": "07 pruned, shared, coded",
    "lenet-300-100-shifts.nut": "07 the same, images shifted",
    "lenet-300-100-shifts-accurate.nut": "07 the same, more weights",
    "lenet-5-caffe.nut": "07 LeNet-5, pruned, shared, coded",
    "lenet-5-caffe-shifts.nut": "07 LeNet-5, shifted images",
    "lenet-5-caffe-bwn.nut": "08 LeNet-5, binary weights",
    "lenet-5-caffe-xnor.nut": "08 LeNet-5, XNOR",
    "compressed_filters.nut": "09 an eighth in hash buckets",
    "student_and_teacher.nut": "11 a student",
    "architecture_search.nut": "12 the table's best under 4,000 parameters",
    "architecture_search_large.nut": "12 found by search",
    "in_a_nutshell.nut": "13 the contest's own entry",
    "workshop.nut": "00 of the workshop",
    "resnet-20-int8.nut": "06 ResNet-20 in 8 bits",
    "resnet-20.nut": "07 ResNet-20, pruned and rounded",
    "cifar-xnor.nut": "08 XNOR on colours",
    "compact_architectures.nut": "10 separable blocks",
}
_HEAD = ("network", "place", "bytes", "MACs", "energy (µJ)", "error (%)", "right answers a joule", "beaten by nobody")


@dataclass(frozen=True)
class Entry:
    """One line of the board.

    Attributes
    ----------
    name : str
        Whose, or which unit's.
    own : bool
        Whether it isn't the course's.
    bytes, macs : int
        Of the file, and for one image.
    energy_uj, error_percent : float
        Estimated microjoules an image, and percent of the images misread.
    floor : float
        Least share of right answers that has a score; see :func:`floor_of`.
    """

    name: str
    own: bool
    bytes: int
    macs: int
    energy_uj: float
    error_percent: float
    floor: float = FLOOR

    @property
    def score(self) -> float:
        """Right answers a joule; 0 below the floor."""
        right = 1 - self.error_percent / 100
        return right / (self.energy_uj * 1e-6) if right >= self.floor - 1e-9 and self.energy_uj else 0.0

    @property
    def order(self) -> tuple[float, float]:
        """Sorts entries, best first: by score, and those without one by error."""
        return (-self.score, 0.0) if self.score else (1.0, self.error_percent)


@dataclass(frozen=True)
class Standing:
    """A board: entries with the highest score first, then by error.

    Attributes
    ----------
    entries : tuple of Entry
        Best first.
    refused : tuple of (str, str)
        Files that weren't measured, and why.
    data : str
        What everything was measured on.
    """

    entries: tuple[Entry, ...]
    refused: tuple[tuple[str, str], ...]
    data: str

    def best(self) -> set[Entry]:
        """Those that no other entry beats: none is as good in bytes, energy and error, and better in one."""
        front: list[Entry] = []
        for one in sorted(self.entries, key=_costs):  # nobody is beaten by someone who comes later
            if not any(_beats(other, one) for other in front):
                front.append(one)
        return set(front)

    def place(self, entry: Entry) -> int:
        """From 1; equal scores share one, and so do equal errors where there is no score."""
        return 1 + bisect_left(self._orders, entry.order)

    @cached_property
    def _orders(self) -> list[tuple[float, float]]:
        return sorted(one.order for one in self.entries)

    def rows(self) -> list[tuple[str, ...]]:
        """As they are shown."""
        best = self.best()
        return [("→ " * one.own + one.name, str(self.place(one)), f"{one.bytes:,}", f"{one.macs:,}",
                 f"{one.energy_uj:,.3f}", f"{one.error_percent:.2f}", f"{one.score:,.0f}" if one.score else "–",
                 "★" if one in best else "") for one in self.entries]  # fmt: skip

    def __str__(self) -> str:
        from nutshell.measure import text_table

        lines = [text_table(_HEAD, self.rows()), self.note]
        return "\n".join(lines + [f"{name}: {reason}" for name, reason in self.refused])

    def _repr_html_(self) -> str:
        from nutshell.measure import html_table

        refused = "".join(f"<p>{html.escape(f'{name}: {reason}')}</p>" for name, reason in self.refused)
        return html_table(_HEAD, self.rows(), self.note) + refused

    @property
    def floor(self) -> float:
        """Least share of right answers that has a score."""
        return floor_of(self.data)

    @property
    def note(self) -> str:
        """What the table's figures are."""
        return (f"Measured on {self.data}. A score needs {100 * self.floor:.0f} % right answers; energy is estimated. "
                "★: nobody is better in bytes, energy or error without being worse in another.")

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        best = self.best()
        return {"data": self.data, "refused": [list(pair) for pair in self.refused],
                "entries": [{**asdict(one), "place": self.place(one), "score": one.score, "best": one in best}
                            for one in self.entries]}  # fmt: skip

    def picture(self) -> "Axes":
        """Error against energy, both axes logarithmic, the areas of the points by bytes; the best have names."""
        from matplotlib.collections import PathCollection

        from nutshell import plots

        axes = plots.axes(8, 4.2)
        best = sorted(self.best(), key=lambda one: one.energy_uj)
        for own, colour, label in ((False, "blue", "the course's"), (True, "vermilion", "handed in")):
            chosen = [one for one in self.entries if one.own is own]
            if chosen:
                axes.scatter([one.energy_uj for one in chosen], [one.error_percent for one in chosen],
                             [12 + one.bytes**0.5 for one in chosen], color=plots.PALETTE[colour], alpha=0.75,
                             marker="D" if own else "o", label=f"{label}; area by bytes")
        axes.axhline(100 * (1 - self.floor), color=plots.PALETTE["black"], linestyle="--", linewidth=0.8, label="floor")
        axes.set(xscale="log", yscale="log", xlabel="estimated energy for an image (µJ)", ylabel="error (%)")
        axes.margins(0.08, 0.12)
        least, most = axes.get_ylim()
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if least <= tick <= most]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        for handle in axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3).legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([30.0])  # whatever the areas of the points
        _name(axes, best[:MOST_NAMED], self.entries)
        return axes


def _name(axes: "Axes", named: Sequence[Entry], entries: Sequence[Entry]) -> None:
    """Write names beside their points, each in the corner where it covers fewest points and names."""
    from matplotlib.transforms import Bbox

    pixels = axes.figure.dpi / 72
    covered = []
    for one in entries:
        x, y = axes.transData.transform((one.energy_uj, one.error_percent))
        radius = pixels * (12 + one.bytes**0.5) ** 0.5 / 2
        covered.append(Bbox([[x - radius, y - radius], [x + radius, y + radius]]))
    for one in named:
        found = []
        for number, (right, above) in enumerate(((True, False), (True, True), (False, False), (False, True))):
            text = axes.annotate(one.name, (one.energy_uj, one.error_percent),
                                 xytext=(5 if right else -5, 6 if above else -6), textcoords="offset points",
                                 ha="left" if right else "right", va="bottom" if above else "top", fontsize=7,
                                 parse_math=False)
            box = text.get_window_extent()
            outside = not axes.bbox.contains(*box.min) or not axes.bbox.contains(*box.max)
            found.append((3 * outside + sum(box.overlaps(other) for other in covered), number, text, box))
        _, _, chosen, box = min(found, key=lambda each: each[:2])
        for _, _, text, _ in found:
            if text is not chosen:
                text.remove()
        covered.append(box)


def standing(
    files: Iterable[Path] = (), *, data: str = "mnist", part: Part = "validation", course: bool = True
) -> Standing:
    """Measure files, and put them on one board with the course's own.

    Parameters
    ----------
    files : iterable of Path
        One's own ``.nut`` files.
    data : str
        Name of a data set of :func:`nutshell.data.load`.
    part : {"validation", "test"}
        Which images; choose on validation images, and look at the test images once.
    course : bool
        Whether the course's entries are there as well.

    Returns
    -------
    Standing

    Raises
    ------
    WrongUse
        If a file isn't there.
    """
    from nutshell import budget, results
    from nutshell.measure import measure

    images = budget.images(data)
    here = f"{images.name}, {part}"
    known = {(one["sha256"], one["data"]): one for one in _known()}
    entries: list[Entry] = []
    refused: list[tuple[str, str]] = []
    course_files = [file for name in COURSE if (file := results.folder() / name).is_file()] if course else []
    for own, file in [*((True, Path(file)) for file in files), *((False, file) for file in course_files)]:
        if not file.is_file():
            raise WrongUse(f"There is no file {file}.")
        name = file.stem if own else COURSE[file.name]
        stored = None if own else known.get((digest(file), here))
        try:
            if stored:
                entries.append(Entry(name, own, **stored["figures"], floor=floor_of(here)))
            elif own or reads(file, images):
                entries.append(Entry(name, own, **figures(measure(file, images, part)), floor=floor_of(here)))
        except Refused as error:
            refused.append((name, str(error)))
    return Standing(tuple(sorted(entries, key=lambda one: (one.order, not one.own))), tuple(refused), here)


def floor_of(data: str) -> float:
    """Least share of right answers that has a score, on a data set by its name.

    Examples
    --------
    >>> floor_of("mnist, test"), floor_of("cifar-10 (unofficial copy), validation")
    (0.98, 0.75)
    """
    return FLOOR if data.startswith("mnist") else FLOOR_ELSEWHERE


def figures(measured: "Measurement") -> dict[str, Any]:
    """What a board keeps of a measurement."""
    return {"bytes": measured.bytes, "macs": measured.macs, "energy_uj": measured.energy_uj,
            "error_percent": float(measured.error_percent or 0.0)}  # fmt: skip


def reads(file: Path, images: "Dataset") -> bool:
    """Whether a file's network takes such images; the course has entries for several data sets."""
    from nutshell import artefact

    return artefact.load(file).input_shape == tuple(images.test.images.shape[1:])


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _known() -> Sequence[dict[str, Any]]:
    from nutshell import results

    try:
        return results.load("in_a_nutshell").get("board", [])
    except WrongUse:
        return []


def _costs(entry: Entry) -> tuple[float, ...]:
    return tuple(getattr(entry, key) for key in BEATEN_IN)


def _beats(one: Entry, other: Entry) -> bool:
    return _costs(one) != _costs(other) and all(a <= b for a, b in zip(_costs(one), _costs(other), strict=True))
