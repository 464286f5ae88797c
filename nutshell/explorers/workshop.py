"""The workshop's pictures: one network shrinking step by step, and two techniques that are shown, not written."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact, models, plots
from nutshell.measure import measure
from nutshell.training import evaluate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nutshell.data.dataset import Dataset

SHAPE = models.INPUT_SHAPES["lenet-300-100"]


@dataclass(frozen=True)
class Step:
    """What one step made of the network.

    Attributes
    ----------
    name : str
        What was done.
    bytes : int
        Of its file, graph and header included.
    rate : float
        Bytes of the first network's parameters in 32 bits, over ``bytes``.
    error_percent : float
        Of the network that the file decodes to, on the part that is measured on.
    """

    name: str
    bytes: int
    rate: float
    error_percent: float


class Shrinking:
    """The way of one network through a workshop: after each step its bytes and its error, as its file has them.

    Parameters
    ----------
    data : Dataset
        What errors are measured on.
    part : {"validation", "test"}
        Validation images while choices are made.

    Examples
    --------
    >>> from nutshell.data.catalogue import SOURCES
    >>> path = Shrinking(SOURCES["mnist"].stand_in())
    >>> step = path.add("nothing learned yet", models.build("lenet-300-100"))
    >>> step.bytes > 4 * 266_610, round(step.rate, 1)
    (True, 1.0)
    """

    def __init__(self, data: "Dataset", part: Literal["validation", "test"] = "validation") -> None:
        self.data, self.part = data, part
        self.steps: list[Step] = []
        self._dense = 0

    def add(self, name: str, network: nn.Module, encodings: Mapping[str, artefact.Encoding] | None = None) -> Step:
        """Measure the network as a file that is encoded so; a step of the same name before is replaced."""
        content = artefact.to_bytes(network, input_shape=SHAPE, encodings=encodings)
        found = measure(artefact.read(content), self.data, self.part)
        self._dense = self._dense or 4 * sum(parameter.numel() for parameter in network.parameters())
        step = Step(name, found.bytes, self._dense / found.bytes, float(found.error_percent or 0))
        self.steps = [*(other for other in self.steps if other.name != name), step]
        return step

    def picture(self) -> "Axes":
        """Bytes after each step, on a logarithmic axis, with rate and error beside the bar."""
        axes = plots.axes(height=0.7 + 0.42 * len(self.steps))
        places = range(len(self.steps))
        axes.barh(places, [step.bytes for step in self.steps], color=plots.PALETTE["sky"])
        for place, step in zip(places, self.steps, strict=True):
            said = f"{step.bytes:,} bytes, {step.rate:.1f}×, {step.error_percent:.2f} % error"
            axes.annotate(said, (step.bytes, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set(xlabel="bytes of the file", xscale="log", yticks=places, xlim=(1000, 3e9))
        axes.set_yticklabels([step.name for step in self.steps])
        axes.set_xticks([10**power for power in range(3, 7)])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        return axes

    def words(self) -> str:
        """The picture in words."""
        said = (f"{step.name}: {step.bytes:,} bytes, {step.rate:.1f} times smaller, {step.error_percent:.2f} percent "
                f"of the {self.part} images wrong" for step in self.steps)  # fmt: skip
        return "; ".join(said) + "."

    def _repr_html_(self) -> str:
        if not self.steps:
            return f"<p>{html.escape('No step yet: path.add(name, network).')}</p>"
        return str(plots.as_html(self.picture(), f"Bytes after each step. {self.words()}").data)


def soft_targets(teacher: nn.Module, images: Tensor, temperature: float) -> Tensor:
    """The teacher's probabilities at a temperature: ``softmax(logits / T)``, shape ``(N, classes)``."""
    with torch.no_grad():
        return torch.softmax(teacher(images) / temperature, 1)


def taught(
    data: "Dataset",
    examples: int,
    teacher: nn.Module | None = None,
    *,
    hidden: int = 30,
    temperature: float = 4.0,
    weight: float = 0.9,
    steps: int = 1500,
    seed: int = 0,
) -> tuple[nn.Module, float]:
    """A small student of the first images only, taught by their labels, or by a teacher's soft targets as well.

    The loss is ``(1 − w)·cross-entropy + w·T²·KL(teacher at T, student at T)``, as in Hinton, Vinyals and Dean (2015,
    section 2); without a teacher the cross-entropy alone. All else is the same: start, images, order and steps.

    Parameters
    ----------
    data : Dataset
        The student sees the first ``examples`` of its training images.
    examples : int
        How many.
    teacher : torch.nn.Module, optional
        A trained classifier.
    hidden : int
        The student's hidden units.
    temperature, weight : float
        T, and w from 0 to 1.
    steps : int
        Of Adam, 100 images each.
    seed : int
        Of the start and of the order of the images.

    Returns
    -------
    network : torch.nn.Module
        The student.
    error_percent : float
        On the validation images.
    """
    images, labels = data.train.inputs(slice(0, examples)), data.train.labels[:examples]
    targets = None if teacher is None else soft_targets(teacher, images, temperature)
    student = models.build("mlp", sizes=(784, hidden, 10), seed=seed)
    optimiser = torch.optim.Adam(student.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(examples, (100,), generator=generator)
        logits = student(images[chosen])
        loss = functional.cross_entropy(logits, labels[chosen])
        if targets is not None:
            soft = functional.kl_div((logits / temperature).log_softmax(1), targets[chosen], reduction="batchmean")
            loss = (1 - weight) * loss + weight * temperature**2 * soft
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    student.eval()
    return student, evaluate(student, data.validation)[1]
