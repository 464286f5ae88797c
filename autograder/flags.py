"""Flags on a network that was handed in: what an instructor should look at. They never change a mark.

Both flags compare odds of a wrong answer, the network's with those of the network that ships with the course, on the
same images. A network that learned the test images by heart errs less on them than on the validation images, and much
more once they are moved by a pixel. Odds, since a smaller network errs more everywhere by about the same factor;
differences of percentages would flag honest networks for being small. ``results/flags.json`` holds how often honest
networks are flagged; ``python -m autograder.flag_rates`` measures it again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from autograder.borrowed import borrowed
from autograder.verdicts import Flag
from nutshell import artefact, checkpoints, meter, models
from nutshell.budget import images as data_set
from nutshell.checks import Budget
from nutshell.data.dataset import Dataset, ReadySplit, Split
from nutshell.measure import hits, run

if TYPE_CHECKING:
    from nutshell.artefact import Artefact
    from nutshell.budget import BudgetResult

__all__ = ["CHANGED", "OUT_OF_LINE", "borrowed", "of_budget"]

CHANGED, OUT_OF_LINE = "transformed images", "test out of line with validation"
STANDARD_ERRORS = 3.0  # what chance explains
SLACK = math.log(1.3)  # what honest compression explains besides: odds that differ by a factor of 1.3
FEWEST = 1000  # images of each kind, however much the network computes
_MACS = 4e9  # about what the shipped network may spend on each kind of images: a large one sees fewer
_TOO_MUCH = 10  # times the shipped network's work: such a network isn't run again


def of_budget(budget: Budget, file: "bytes | str | Path | Artefact", result: "BudgetResult") -> list[Flag]:
    """Look at a network that was measured for a budget.

    Parameters
    ----------
    budget : Budget
        What it was handed in for.
    file : bytes, str, Path or Artefact
        The ``.nut`` file.
    result : BudgetResult
        What :func:`nutshell.budget.judge` said of it, on the test images.

    Returns
    -------
    list of Flag
        Empty for a file that was refused, on stand-in data, and where no trained network of this topology ships.
    """
    if result.measurement is None or result.measurement.hits is None or result.on_stand_in:
        return []
    if budget.topology not in checkpoints.names():
        return []
    found = _read(file)
    shown, shipped, macs = _shown(data_set(budget.data), budget.topology)
    if found.macs > _TOO_MUCH * macs:
        words = f"not looked at: it computes {found.macs:,} multiply-accumulates an image, {budget.topology} {macs:,}."
        return [Flag(CHANGED, budget.file, words)]
    test = ~result.measurement.hits
    seen = look(lambda images: ~run(found, images, len(data_set(budget.data).classes)), shown, test)
    return [Flag(kind, budget.file, words) for kind, words in findings(seen, shipped)]


@dataclass(frozen=True, eq=False)
class Shown:
    """Images that networks are shown.

    Attributes
    ----------
    test, validation : Split
        As they are.
    chosen : dict of str to Tensor
        By what is done: numbers of the test images to which it is done, int64.
    changed : dict of str to Split
        What becomes of them.
    """

    test: Split
    validation: Split
    chosen: Mapping[str, Tensor]
    changed: Mapping[str, Split]


@dataclass(frozen=True, eq=False)
class Seen:
    """What one network got wrong of what it was shown: bool, one an image."""

    test: Tensor
    validation: Tensor
    chosen: Mapping[str, Tensor]
    changed: Mapping[str, Tensor]


def look(wrong: Callable[[Split], Tensor], shown: Shown, test: Tensor | None = None) -> Seen:
    """Show a network all images.

    Parameters
    ----------
    wrong : callable
        Says of images which of them the network gets wrong.
    shown : Shown
        The images.
    test : Tensor, optional
        Which of the test images it gets wrong, if that is known already.
    """
    test = wrong(shown.test) if test is None else test
    changed = {name: wrong(part) for name, part in shown.changed.items()}
    return Seen(test, wrong(shown.validation), shown.chosen, changed)


def findings(seen: Seen, shipped: Seen) -> list[tuple[str, str]]:
    """Kinds of flags that a network deserves beside the shipped one, each with words for the instructor."""
    found = []
    by_change = {name: against_changed(seen, shipped, name) for name in seen.changed}
    name = max(by_change, key=lambda name: by_change[name].errors)
    guess = by_change[name]
    if guess.errors > STANDARD_ERRORS:
        words = (
            f"{guess.wrong} of {guess.images:,} test images wrong, where about {guess.expected:.0f} would be expected "
            f"of a network that gets {_percent(seen.changed[name])} of them wrong when they are {name} "
            f"({guess.errors:.1f} standard errors beyond honest networks; the shipped network: "
            f"{_percent(shipped.test[seen.chosen[name]])} and {_percent(shipped.changed[name])}). "
            "It may know the test images by heart."
        )
        found.append((CHANGED, words))
    guess = against_validation(seen, shipped)
    if abs(guess.errors) > STANDARD_ERRORS:
        words = (
            f"{guess.wrong} of {guess.images:,} test images wrong, where about {guess.expected:.0f} would be expected "
            f"of a network that gets {_percent(seen.validation)} of the validation images wrong "
            f"({abs(guess.errors):.1f} standard errors beyond honest networks; the shipped network: "
            f"{_percent(shipped.test)} and {_percent(shipped.validation)}). It may have been trained on "
            f"{'test' if guess.errors > 0 else 'validation'} images."
        )
        found.append((OUT_OF_LINE, words))
    return found


@dataclass(frozen=True)
class Guess:
    """How many test images a network should get wrong, guessed from other images, and how many it does.

    Attributes
    ----------
    images, wrong : int
        Test images, and how many of them it gets wrong.
    expected : float
        How many that would be if its odds of being wrong related to those on the other images as the shipped
        network's do.
    errors : float
        By how many standard errors it is better (above 0) or worse (below 0) than expected, beyond :data:`SLACK`.
    """

    images: int
    wrong: int
    expected: float
    errors: float


def against_changed(seen: Seen, shipped: Seen, name: str) -> Guess:
    """Guess from the same images, changed."""
    chosen = seen.chosen[name]
    rows = torch.stack([seen.test[chosen], seen.changed[name], shipped.test[chosen], shipped.changed[name]])
    return guess(rows, [1.0, 1.0, -1.0])


def against_validation(seen: Seen, shipped: Seen) -> Guess:
    """Guess from the validation images."""
    odds, spread = log_odds(torch.stack([seen.validation, shipped.validation]))
    signs = torch.tensor([1.0, -1.0], dtype=torch.double)
    offset, variance = float(signs @ odds), float(signs @ spread @ signs)
    return guess(torch.stack([seen.test, shipped.test]), [1.0], offset, variance)


def guess(wrong: Tensor, signs: list[float], offset: float = 0.0, variance: float = 0.0) -> Guess:
    """Compare how many images a network gets wrong with what other rows say.

    Parameters
    ----------
    wrong : Tensor
        bool, shape ``(rows, images)``; the first row is compared.
    signs : list of float
        Of the other rows' log odds, whose sum is what the first row's are expected to be.
    offset, variance : float
        Something to add to them, and its variance.
    """
    images, count = wrong.shape[1], int(wrong[0].sum())
    odds, _ = log_odds(wrong)
    middle = offset + float(torch.tensor(signs, dtype=torch.double) @ odds[1:])
    way = 1.0 if middle > odds[0] else -1.0
    allowed = images * _share(middle - way * SLACK)
    if way * (allowed - count) <= 0:
        return Guess(images, count, images * _share(middle), 0.0)
    _, spread = log_odds(wrong, expected=allowed)  # with the variance that the count has if all is well
    weights = torch.tensor([-1.0, *signs], dtype=torch.double)
    slope = allowed * (1 - allowed / images)  # images for each unit of log odds
    one_image = 1 / slope**2  # no count is surer than that
    error = math.sqrt(max(one_image, float(weights @ spread @ weights) + variance))
    return Guess(images, count, images * _share(middle), (allowed - count) / slope / error)


def log_odds(wrong: Tensor, expected: float | None = None) -> tuple[Tensor, Tensor]:
    """Log odds of being wrong, for several ways to look at the same images, and their covariance.

    Half an image is added to the right and to the wrong ones, which keeps all finite (Haldane 1956, Woolf 1955).

    Parameters
    ----------
    wrong : Tensor
        bool, shape ``(rows, images)``.
    expected : float, optional
        How many images of the first row to reckon with in its variance.

    Returns
    -------
    odds : Tensor
        float64, shape ``(rows,)``.
    covariance : Tensor
        Shape ``(rows, rows)``.

    Examples
    --------
    >>> odds, covariance = log_odds(torch.tensor([[True, False, False]]))
    >>> round(odds.item() - math.log(1.5 / 2.5), 6), round(covariance.item() - (1 / 1.5 + 1 / 2.5), 6)
    (0.0, 0.0)
    """
    values, images = wrong.double(), wrong.shape[1]
    counts = values.sum(1)
    odds = ((counts + 0.5) / (images - counts + 0.5)).log()
    usual = counts.clone()
    if expected is not None:
        usual[0] = expected
    scale = (usual + 0.5) * (images - usual + 0.5) / (images + 1) ** 2
    together = values @ values.T / images - torch.outer(counts, counts) / images**2
    covariance = together / torch.outer(scale, scale) / images
    covariance.diagonal().copy_(1 / (usual + 0.5) + 1 / (images - usual + 0.5))
    return odds, covariance


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image one pixel up, down, left or right; zeros come in.

    Examples
    --------
    >>> moved(torch.ones(2, 1, 3, 3), torch.Generator()).sum((1, 2, 3)).tolist()
    [6.0, 6.0]
    """
    padded, (height, width) = functional.pad(images, (1, 1, 1, 1)), images.shape[2:]
    way = torch.randint(0, 4, (len(images),), generator=generator)
    out = torch.empty_like(images)
    for number, (top, left) in enumerate([(0, 1), (2, 1), (1, 0), (1, 2)]):
        out[way == number] = padded[way == number, :, top : top + height, left : left + width]
    return out


def noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    """Up to 8 of 255 grey levels more or less in each number.

    Examples
    --------
    >>> faint = noisy(torch.full((1, 1, 9, 9), 100, dtype=torch.uint8), torch.Generator())
    >>> int(faint.min()), int(faint.max())
    (92, 108)
    """
    noise = torch.randint(-8, 9, images.shape, generator=generator)
    return (images + noise).clamp(0, 255).to(torch.uint8)


def turned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned about its middle, by up to 8 degrees either way.

    Examples
    --------
    >>> turned(torch.full((1, 1, 9, 9), 100, dtype=torch.uint8), torch.Generator())[0, 0, 4, 4].item()
    100
    """
    angle = (torch.rand(len(images), generator=generator) * 2 - 1) * math.radians(8)
    none = torch.zeros_like(angle)
    rows = torch.stack([angle.cos(), -angle.sin(), none, angle.sin(), angle.cos(), none], 1)
    places = functional.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images.float(), places, align_corners=False).round().clamp(0, 255).to(torch.uint8)


CHANGES: Mapping[str, tuple[Callable[[Tensor, torch.Generator], Tensor], int]] = {
    "moved by one pixel": (moved, 6000),
    "turned by up to 8 degrees": (turned, 1500),
    "changed by up to 8 grey levels a pixel": (noisy, 1500),
}  # with how many images at most


def show(data: Dataset, macs: int, seed: int = 0) -> Shown:
    """Choose images for a network that spends ``macs`` on one, and change some.

    Parameters
    ----------
    data : Dataset
        Its test and validation images.
    macs : int
        Multiply-accumulates for one image.
    seed : int
        Of the choice and the changes.
    """
    generator = torch.Generator().manual_seed(seed)
    allowed = max(FEWEST, int(_MACS / macs))
    chosen, changed = {}, {}
    for name, (made, most) in CHANGES.items():
        some = torch.randperm(len(data.test), generator=generator)[: min(allowed, most)]
        chosen[name], changed[name] = some, _part(data.test, some, made(data.test.images[some], generator))
    some = torch.randperm(len(data.validation), generator=generator)[:allowed]
    return Shown(data.test, _part(data.validation, some, data.validation.images[some]), chosen, changed)


def _part(whole: Split, chosen: Tensor, images: Tensor) -> Split:
    return ReadySplit(images, whole.labels[chosen], whole.mean, whole.std)


_known: dict[str, tuple[Dataset, Shown, Seen, int]] = {}


def _shown(data: Dataset, topology: str) -> tuple[Shown, Seen, int]:
    """What networks of a topology are shown, what the shipped one sees, and its MACs; made once a process."""
    if topology not in _known or _known[topology][0] is not data:
        network = checkpoints.load(topology)
        macs = int(meter.count(network, (1, *models.INPUT_SHAPES[topology])).total.macs)
        shown = show(data, macs)
        _known[topology] = (data, shown, look(wrong_of(network), shown), macs)
    return _known[topology][1:]


def wrong_of(network: nn.Module) -> Callable[[Split], Tensor]:
    """Says of images which of them a network gets wrong."""
    return lambda images: ~hits(network, images)


def _read(file: "bytes | str | Path | Artefact") -> "Artefact":
    if isinstance(file, bytes):
        return artefact.read(file)
    return artefact.load(file) if isinstance(file, str | Path) else file


def _percent(wrong: Tensor) -> str:
    return f"{100 * wrong.double().mean().item():.2f} %"
