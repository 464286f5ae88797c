"""The explorers of unit 11: softened answers, the pull on a student's logits, a bias for what was never seen, hints.

Two more, on what soft targets carry and on the means of several teachers, are in
:mod:`nutshell.explorers.soft_targets`.

Each explorer is a widget around plain functions that return the numbers shown, so that lessons and tests can use the
numbers without the widget.
"""

import math
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from torch import Tensor

from nutshell import plots
from nutshell.explorers.common import captioned, explorer

_BLUE, _ORANGE, _GREEN = plots.PALETTE["blue"], plots.PALETTE["orange"], plots.PALETTE["green"]
_VERMILION, _BLACK = plots.PALETTE["vermilion"], plots.PALETTE["black"]
_TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0, 100.0)


@dataclass(frozen=True)
class Answers:
    """What a network says about images, at any temperature.

    Attributes
    ----------
    logits : ndarray
        float64, shape ``(N, C)``.
    """

    logits: np.ndarray

    @classmethod
    def of(cls, logits: Tensor) -> "Answers":
        """Keep logits ``(N, C)``."""
        return cls(logits.detach().double().numpy())

    def at(self, temperature: float) -> np.ndarray:
        """Probabilities, shape ``(N, C)``.

        Examples
        --------
        >>> import torch
        >>> Answers.of(torch.tensor([[2.0, 0.0]])).at(2.0).round(4).tolist()
        [[0.7311, 0.2689]]
        """
        powers = np.exp((self.logits - self.logits.max(1, keepdims=True)) / temperature)
        return powers / powers.sum(1, keepdims=True)

    def open(self, temperature: float) -> np.ndarray:
        """What each answer leaves open: its entropy in nats, shape ``(N,)``.

        Examples
        --------
        >>> import torch
        >>> Answers.of(torch.zeros(1, 4)).open(1.0).round(4).tolist()
        [1.3863]
        """
        p = self.at(temperature)
        return -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)

    def by_class(self, labels: Tensor, temperature: float) -> np.ndarray:
        """Mean answer to the images of each class, shape ``(C, C)``: row by label, column by answer."""
        p, truth = self.at(temperature), labels.numpy()
        return np.stack([p[truth == number].mean(0) for number in range(p.shape[1])])


def temperature(logits: Tensor, images: Tensor, labels: Tensor) -> widgets.Widget:
    """Move the temperature of what a teacher says about a digit.

    Parameters
    ----------
    logits : Tensor
        The teacher's, shape ``(N, C)``, at least one image.
    images : Tensor
        uint8, shape ``(N, 1, H, W)``.
    labels : Tensor
        What each shows, shape ``(N,)``.
    """
    answers = Answers.of(logits)
    curve = [answers.open(t).mean() for t in _TEMPERATURES]
    most = math.log(logits.shape[1])
    knobs = {
        "number": widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False),
        "warmth": _temperatures(1.0),
    }

    def draw(number: int, warmth: float) -> str:
        p, entropy = answers.at(warmth)[number], answers.open(warmth)[number]
        order = np.argsort(-p)
        panels = plots.axes(10, 2.9, columns=3, width_ratios=(1, 1.6, 1.6))
        panels[0].imshow(images[number, 0].numpy(), cmap="gray")
        panels[0].set(title=f"labelled {int(labels[number])}", xlabel="column (pixels)", ylabel="row (pixels)")
        panels[0].grid(False)
        _bars(panels[1], p, int(labels[number]))
        panels[2].plot(_TEMPERATURES, curve, color=_BLUE, label="mean of all images")
        panels[2].plot(_TEMPERATURES, [answers.open(t)[number] for t in _TEMPERATURES], "--", color=_ORANGE,
                       label="this image")
        panels[2].plot([warmth], [entropy], "o", color=_ORANGE)
        panels[2].axhline(most, color=_BLACK, linewidth=0.8, linestyle=":")
        panels[2].set(xscale="log", xlabel="temperature T", ylabel="entropy (nats)", ylim=(-0.05, 1.25 * most))
        panels[2].legend(loc="upper left", fontsize=8)
        words = (f"T = {warmth:g}: {order[0]} with {p[order[0]]:.4f}, {order[1]} with {p[order[1]]:.4f}, "
                 f"{order[2]} with {p[order[2]]:.4f}; entropy {entropy:.3f} of at most {most:.3f} nats")
        return captioned(words, plots.as_html(
            panels[0].figure, "A digit, the teacher's probability for each class, and the entropy against the "
            f"temperature, which rises towards the logarithm of the number of classes. {words}."))

    return explorer(draw, knobs)


@dataclass(frozen=True)
class Pull:
    """The gradient of the soft part of the loss by the student's logits, for one image.

    Attributes
    ----------
    student, teacher : Answers
        What both say about the same images.
    """

    student: Answers
    teacher: Answers

    def at(self, temperature: float, squared: bool) -> np.ndarray:
        """Shape ``(N, C)``: ``(q − p) / T``, times T² if ``squared``.

        Examples
        --------
        >>> import torch
        >>> pull = Pull(Answers.of(torch.tensor([[0.0, 0.0]])), Answers.of(torch.tensor([[1e9, 0.0]])))
        >>> pull.at(2.0, squared=True).tolist()
        [[-1.0, 1.0]]
        """
        apart = self.student.at(temperature) - self.teacher.at(temperature)
        return apart * temperature if squared else apart / temperature

    def limit(self) -> np.ndarray:
        """What it tends to with T²: the difference of the centred logits, divided by C; shape ``(N, C)``."""
        away = self.student.logits - self.teacher.logits
        return (away - away.mean(1, keepdims=True)) / away.shape[1]


def pull(student: Tensor, teacher: Tensor, labels: Tensor) -> widgets.Widget:
    """Move the temperature, and see what pulls at each of the student's logits.

    Parameters
    ----------
    student, teacher : Tensor
        Logits for the same images, shape ``(N, C)``.
    labels : Tensor
        What the images show, shape ``(N,)``.
    """
    found = Pull(Answers.of(student), Answers.of(teacher))
    knobs = {
        "number": widgets.IntSlider(0, 0, len(labels) - 1, description="image", continuous_update=False),
        "warmth": _temperatures(1.0),
        "squared": widgets.Checkbox(True, description="multiply by T²"),
    }

    def draw(number: int, warmth: float, squared: bool) -> str:
        towards, limit = -found.at(warmth, squared)[number], -found.limit()[number]
        classes = np.arange(len(limit))
        panels = plots.axes(10, 2.9, columns=2)
        panels[0].bar(classes - 0.2, found.teacher.at(warmth)[number], 0.4, color=_BLUE, label="teacher")
        panels[0].bar(classes + 0.2, found.student.at(warmth)[number], 0.4, color=_ORANGE, label="student")
        panels[0].set(xlabel="class", ylabel=f"probability at T = {warmth:g}", xticks=classes, ylim=(0, 1.05),
                      title=f"an image labelled {int(labels[number])}")
        panels[1].bar(classes, towards, 0.7, color=_GREEN, label="pull on the student's logit")
        panels[1].plot(classes, limit, "_", color=_BLACK, markersize=18, label="high temperatures, with T²")
        panels[1].set(xlabel="class", ylabel="minus the gradient", xticks=classes, title="up or down?")
        for panel in panels:
            panel.legend(fontsize=8)
        length, final = (float(np.linalg.norm(values)) for values in (towards, limit))
        words = (f"T = {warmth:g}, {'with' if squared else 'without'} T²: a pull of length {length:.3g}, "
                 f"{100 * length / final:.3g} % of {final:.3g}, where it tends to with T²")
        return captioned(words, plots.as_html(
            panels[0].figure, "Teacher's and student's probabilities by class, and what pulls at each logit of the "
            f"student, with marks for the limit of high temperatures. {words}."))

    return explorer(draw, knobs)


@dataclass(frozen=True)
class Raised:
    """How many images are misread as the logits of some classes are raised together.

    Attributes
    ----------
    usual, raised : ndarray
        For each image the largest logit among the other classes, and among those that are raised, shape ``(N,)``.
    usual_right, raised_right : ndarray
        Whether the largest of either group belongs to the label, shape ``(N,)``, bool.
    among : ndarray
        Whether the label is one of those that are raised.
    """

    usual: np.ndarray
    raised: np.ndarray
    usual_right: np.ndarray
    raised_right: np.ndarray
    among: np.ndarray

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, classes: tuple[int, ...]) -> "Raised":
        """Take logits ``(N, C)`` and labels ``(N,)`` apart by the classes to raise."""
        table, truth = logits.detach().double().numpy(), labels.numpy()
        inside = np.isin(np.arange(table.shape[1]), classes)
        group = {which: np.where(inside == which, table, -np.inf) for which in (False, True)}
        right = {which: values.argmax(1) == truth for which, values in group.items()}
        return cls(group[False].max(1), group[True].max(1), right[False], right[True], np.isin(truth, classes))

    def misread(self, bias: float) -> tuple[int, int]:
        """Images misread in all, and those of the classes that are raised.

        Examples
        --------
        >>> import torch
        >>> found = Raised.of(torch.tensor([[5.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1]), (1,))
        >>> found.misread(0.0), found.misread(3.0)
        ((1, 1), (0, 0))
        """
        wrong = ~np.where(self.raised + bias > self.usual, self.raised_right, self.usual_right)
        return int(wrong.sum()), int((wrong & self.among).sum())


def bias(logits: Tensor, labels: Tensor, classes: tuple[int, ...], name: str) -> widgets.Widget:
    """Move the number that is added to the logits of classes that a student never saw.

    Parameters
    ----------
    logits : Tensor
        The student's, shape ``(N, C)``.
    labels : Tensor
        The right classes, shape ``(N,)``.
    classes : tuple of int
        Those that are raised.
    name : str
        What an image of these classes is called: ``"threes"``.
    """
    found = Raised.of(logits, labels, classes)
    line = np.arange(-2, 12.01, 0.1)
    counts = np.array([found.misread(value) for value in line])
    knobs = {"added": widgets.FloatSlider(0.0, min=-2, max=12, step=0.1, description="bias",
                                          continuous_update=False)}

    def draw(added: float) -> str:
        wrong, own = found.misread(added)
        axes = plots.axes(8, 3.2)
        axes.plot(line, counts[:, 0], color=_BLUE, label="all that are misread")
        axes.plot(line, counts[:, 1], "--", color=_ORANGE, label=f"{name} that are misread")
        axes.plot(line, counts[:, 0] - counts[:, 1], ":", color=_VERMILION, label="others that are misread")
        axes.axvline(added, color=_BLACK, linewidth=0.8)
        axes.set(xlabel="added to the logit", ylabel="images", ylim=(0, 1.15 * max(counts[:, 0].max(), 1)))
        axes.legend(fontsize=8, loc="upper center", ncols=3)
        words = (f"bias {added:+.1f}: {wrong} of {len(found.among):,} images are misread, "
                 f"{own} of {int(found.among.sum())} {name} among them")
        return captioned(words, plots.as_html(
            axes, f"Images that are misread against the bias: fewer {name} the higher it is, more of the others, and "
            f"a lowest point of the sum in between. {words}."))

    return explorer(draw, knobs)


@dataclass(frozen=True)
class Hints:
    """What a teacher's maps would be if they had to be told from few channels: a linear guess, then a ReLU.

    The few channels are the teacher's maps along the directions in which they vary most. Before the ReLU no linear
    guess from as many channels is closer; behind it, one that is trained may be.

    Attributes
    ----------
    maps : ndarray
        The teacher's, before its ReLU, shape ``(N, P, H, W)``.
    mean, directions : ndarray
        Over images and places, shape ``(P,)``; and orthonormal columns, shape ``(P, P)``, the most important first.
    """

    maps: np.ndarray
    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, maps: Tensor) -> "Hints":
        """Take maps ``(N, P, H, W)`` apart."""
        values = maps.detach().double().numpy()
        rows = values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])
        mean = rows.mean(0)
        return cls(values, mean, np.linalg.eigh(np.cov(rows.T))[1][:, ::-1])

    def guess(self, channels: int) -> np.ndarray:
        """The maps as far as so many channels tell, after the ReLU; shape ``(N, P, H, W)``."""
        basis = self.directions[:, :channels]
        away = self.maps - self.mean[:, None, None]
        return np.maximum(np.einsum("pc,qc,nqhw->nphw", basis, basis, away) + self.mean[:, None, None], 0)

    def missed(self, channels: int) -> float:
        """Squared distance from the teacher's rectified maps, as a share of their squares.

        Examples
        --------
        >>> import torch
        >>> Hints.of(torch.randn(2, 3, 4, 4)).missed(3) < 1e-20
        True
        """
        hint = np.maximum(self.maps, 0)
        return float(((self.guess(channels) - hint) ** 2).sum() / (hint**2).sum())


def hints(maps: Tensor, shown: tuple[int, ...] = (0, 1, 2, 3, 4)) -> widgets.Widget:
    """Move the number of the student's channels: what a regressor can make of them, beside the teacher's maps.

    Parameters
    ----------
    maps : Tensor
        The teacher's maps in the middle, before the ReLU, shape ``(N, P, H, W)``, with P above 1.
    shown : tuple of int
        Which of the maps are drawn.
    """
    found = Hints.of(maps)
    outputs = maps.shape[1]
    curve = [100 * found.missed(count) for count in range(1, outputs + 1)]
    knobs = {
        "number": widgets.IntSlider(0, 0, len(maps) - 1, description="image", continuous_update=False),
        "channels": widgets.IntSlider(min(4, outputs), 1, outputs, description="channels", continuous_update=False),
    }

    def draw(number: int, channels: int) -> str:
        guess, hint = found.guess(channels)[number], np.maximum(found.maps[number], 0)
        figure_panels = plots.axes(10, 3.4, rows=2, columns=len(shown) + 1, width_ratios=(*[1] * len(shown), 2))
        for column, which in enumerate(shown):
            for row, (name, values) in enumerate((("hint", hint), ("guess", guess))):
                panel = figure_panels[row, column]
                panel.imshow(values[which], cmap="gray", vmin=0, vmax=max(hint[which].max(), 1e-9))
                panel.set(xticks=[], yticks=[], title=f"{name}, map {which + 1}")
                panel.title.set_fontsize(8)
                panel.grid(False)
        figure_panels[0, -1].plot(range(1, outputs + 1), curve, "o-", color=_BLUE, markersize=4)
        figure_panels[0, -1].plot([channels], [curve[channels - 1]], "o", color=_VERMILION)
        figure_panels[0, -1].set(xlabel="channels", ylabel="missed (%)", ylim=(0, None))
        figure_panels[1, -1].axis("off")
        words = (f"{channels} channels for {outputs} maps: this regressor misses {curve[channels - 1]:.1f} % of "
                 "what the hint says")
        return captioned(words, plots.as_html(
            figure_panels[0, 0].figure, f"{len(shown)} maps of the teacher, what a regressor makes of the student's "
            f"channels, and the share that is missed against their number, which falls. {words}."))

    return explorer(draw, knobs)


def thin_and_deep(teacher: tuple[int, ...] = (48, 48, 24), student: tuple[int, ...] = (16, 16, 16, 12, 12, 10),
                  hint: int = 1, guided: int = 2) -> HTML:
    """Draw a teacher above a thinner, deeper student, and the regressor that joins two of their layers.

    Parameters
    ----------
    teacher, student : tuple of int
        Channels of each layer, from the first to the last; they are the heights of the boxes.
    hint, guided : int
        Number of the teacher's layer that is shown, and of the student's layer that guesses it, from 0.

    Returns
    -------
    IPython.display.HTML
        A picture with alternative text.
    """
    axes = plots.axes(9, 3.4)
    centres = {}
    drawn = (("teacher", teacher, 70, _BLUE, hint), ("student", student, 0, _ORANGE, guided))
    for name, layers, base, colour, at in drawn:
        for number, channels in enumerate(layers):
            place = (number + 1) * 10 / (len(layers) + 1)
            chosen = number == at
            axes.bar(place, channels, 0.5, base - channels / 2, color=colour, edgecolor=_BLACK,
                     linewidth=2 if chosen else 0.5, alpha=1.0 if chosen else 0.55,
                     label=name if number == 0 else None)
            axes.text(place, base - channels / 2 - 6, f"{channels}", ha="center", va="top", fontsize=8)
            if chosen:
                centres[name] = place, channels
    (up, high), (down, low) = centres["teacher"], centres["student"]
    axes.annotate("", (up, 70 - high / 2 - 15), (down, low / 2 + 2), arrowprops={"arrowstyle": "->", "linewidth": 1.5})
    axes.text((up + down) / 2 - 0.15, 27, "regressor, thrown away\nafterwards", ha="right", va="center", fontsize=9)
    axes.text(up, 70 + high / 2 + 2, "hint", ha="center", fontsize=9)
    axes.text(down, -low / 2 - 20, "guided layer", ha="center", va="top", fontsize=9)
    axes.set(xlabel="from the image to the answer", ylabel="channels (heights)", xticks=[], yticks=[], xlim=(0, 10),
             ylim=(-45, 112))
    axes.legend(loc="upper right")
    wide, thin = (", ".join(map(str, layers)) for layers in (teacher, student))
    words = (f"A teacher with layers of {wide} channels above a student with {thin}: an arrow leads from layer "
             f"{guided + 1} of the student through a regressor to layer {hint + 1} of the teacher.")
    return plots.as_html(axes, words)


def _temperatures(value: float) -> widgets.Widget:
    return widgets.SelectionSlider(options=_TEMPERATURES, value=value, description="temperature T",
                                   continuous_update=False)


def _bars(axes: Axes, p: np.ndarray, label: int) -> None:
    axes.bar(range(len(p)), p, color=_BLUE, label="teacher")
    axes.bar([label], [1.0], fill=False, edgecolor=_BLACK, linestyle="--", label="label")
    axes.set(xlabel="class", ylabel="probability", xticks=range(len(p)), ylim=(0, 1.3))
    axes.legend(fontsize=8, ncols=2)
