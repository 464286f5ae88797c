"""What is trained for the unit's results: teachers, and students by group; each once for a seed, and kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from nutshell import checkpoints, data, models
from nutshell.data.dataset import Dataset, Split
from nutshell.training import Recipe
from solutions.student_and_teacher import networks
from solutions.student_and_teacher.reference import ensemble_targets
from solutions.student_and_teacher.training import (
    Objective,
    learn,
    on_hints,
    on_labels,
    on_logits,
    on_soft_targets,
    on_targets,
    outputs_of,
)

UNIT = "student_and_teacher"
TEMPERATURE = 20.0  # Hinton et al.'s on MNIST, with 300 or more units in each hidden layer
SOFT_WEIGHT = 1.0  # with a tenth of the weight on labels, students were worse on validation images

WIDE = (784, 800, 800, 10)
LENET = (784, 300, 100, 10)
NARROW = (784, 30, 30, 10)

TEACHERS: dict[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "1200-1200": (networks.dropping, Recipe(epochs=150, batch_size=500, learning_rate=2e-3, warm_up=0.05, shift=2,
                                            precision="bfloat16")),
    "convolutional": (networks.conv_teacher, Recipe(epochs=12, batch_size=128, learning_rate=2e-3, warm_up=0.05,
                                                    shift=2, precision="bfloat16")),
}  # fmt: skip


@cache
def mnist() -> Dataset:
    """The images, loaded once."""
    return data.load("mnist")


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights come from a seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def errors(logits: Tensor, part: Split) -> int:
    """How many images are misread."""
    return int((logits.argmax(1) != part.labels).sum())


def teacher(name: str, keep: Path) -> nn.Module:
    """A teacher, trained where there is none kept, or the one that ships."""
    if name == "lenet-5-caffe":
        return checkpoints.load(name)
    build, recipe = TEACHERS[name]
    network = seeded(build, 0)
    learn(network, mnist().train, on_labels(mnist().train), recipe, 0, watch=mnist().validation,
          resume=keep / UNIT / f"teacher-{name}.state")
    return network


def said(name: str, keep: Path) -> dict[str, Tensor]:
    """A teacher's logits on all three parts, worked out once."""
    return _kept(keep / UNIT / f"teacher-{name}.logits", lambda: _on_all(teacher(name, keep)))


def _on_all(network: nn.Module) -> dict[str, Tensor]:
    return {part: outputs_of(network, getattr(mnist(), part)) for part in ("train", "validation", "test")}


def _kept(file: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    if not file.exists():
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(file.name + ".unfinished")
        torch.save(made, unfinished)
        unfinished.replace(file)
    return torch.load(file, weights_only=True)


@dataclass(frozen=True)
class Run:
    """A student, and what it learns from.

    Attributes
    ----------
    name : str
        Of its files.
    build : callable
        Makes it.
    recipe : Recipe
        How it is trained.
    objective : callable
        Makes the objective from a seed and the folder that keeps what is trained.
    chosen : callable, optional
        Takes a seed, and says which training images it sees; all of them if left out.
    hinted : bool
        Whether its first epochs go to a hint of the convolutional teacher's.
    """

    name: str
    build: Callable[[], nn.Module]
    recipe: Recipe
    objective: Callable[[int, Path], Objective]
    chosen: Callable[[int], Tensor] | None = None
    hinted: bool = False


def student(run: Run, seed: int, keep: Path) -> dict[str, Tensor]:
    """A student's logits on validation and test images, and its validation error after each epoch; trained once."""
    return _kept(keep / UNIT / f"{run.name}-{seed}.logits", lambda: _student(run, seed, keep))


def _student(run: Run, seed: int, keep: Path) -> dict[str, Tensor]:
    network, images = seeded(run.build, seed), mnist()
    state = keep / UNIT / f"{run.name}-{seed}.state"
    if run.hinted and isinstance(network, nn.Sequential):
        with_hints(network, seed, keep)
    curve = learn(network, images.train, run.objective(seed, keep), run.recipe, seed, watch=images.validation,
                  chosen=run.chosen(seed) if run.chosen else None, resume=None if run.chosen is a_few else state)
    return _on_all(network) | {"curve": torch.tensor(curve)}


def with_hints(network: nn.Sequential, seed: int, keep: Path) -> None:
    """Train a thin student up to its guided layer on what its teacher's layer says of the training images."""
    images, kept = mnist(), keep / UNIT / f"hints-first-{seed}.state"
    wise = networks.conv_teacher()
    wise.load_state_dict(teacher("convolutional", keep).state_dict())
    hints = outputs_of(networks.up_to(wise, "relu3"), images.train, dtype=torch.bfloat16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guided = networks.Guided(network, "relu4", 32, 64)
    learn(guided, images.train, on_hints(hints, guided.regressor), HINTING, seed, resume=kept)


def labels(seed: int, keep: Path) -> Objective:
    """Learn from labels."""
    return on_labels(mnist().train)


def soft(name: str, temperature: float, weight: float = SOFT_WEIGHT) -> Callable[[int, Path], Objective]:
    """Learn from a teacher's soft targets and, in part, from labels."""
    return lambda seed, keep: on_soft_targets(mnist().train, said(name, keep)["train"], temperature, weight)


def logits(name: str) -> Callable[[int, Path], Objective]:
    """Learn a teacher's logits."""
    return lambda seed, keep: on_logits(said(name, keep)["train"])


def together(mean: str) -> Callable[[int, Path], Objective]:
    """Learn from the mean of several LeNet-300-100 that learned from labels, each from another seed."""

    def objective(seed: int, keep: Path) -> Objective:
        members = torch.stack([student(RUNS["lenet-alone"], member, keep)["train"] for member in MEMBERS])
        return on_targets(ensemble_targets(members, ENSEMBLE_TEMPERATURE, mean), ENSEMBLE_TEMPERATURE)

    return objective


def without_threes(seed: int) -> Tensor:
    """Training images that show no 3."""
    return (mnist().train.labels != 3).nonzero().flatten()


def sevens_and_eights(seed: int) -> Tensor:
    """Training images that show a 7 or an 8."""
    shown = mnist().train.labels
    return ((shown == 7) | (shown == 8)).nonzero().flatten()


def a_few(seed: int) -> Tensor:
    """Three percent of the training images, others for another seed."""
    count = len(mnist().train)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: round(FEW * count)]


MEMBERS = (0, 1, 2)
ENSEMBLE_TEMPERATURE = 20.0  # at 4 the student did no better
FEW = 0.03
WIDE_RECIPE = Recipe(epochs=20, batch_size=500, learning_rate=1e-2, warm_up=0.05, precision="bfloat16")
LENET_RECIPE = replace(WIDE_RECIPE, epochs=15, batch_size=128, learning_rate=2e-3)
HIGH_RATE = replace(LENET_RECIPE, learning_rate=1e-2)  # soft targets bear it, and learn better with it
QUICK = replace(LENET_RECIPE, batch_size=250)
FEW_RECIPE = Recipe(epochs=60, batch_size=110, warm_up=0.05, precision="bfloat16")
SMALL = Recipe(epochs=10, batch_size=128, learning_rate=2e-3, warm_up=0.05, precision="bfloat16")
HINTING = replace(SMALL, epochs=2)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
KINDS = {"SNN": networks.shallow, "DNN": networks.deep, "CNN": networks.convolutional}


def mlp(sizes: tuple[int, ...]) -> Callable[[], nn.Module]:
    """A builder of a multilayer perceptron."""
    return lambda: models.mlp(sizes)


def _all_runs() -> list[Run]:
    wide, lenet = mlp(WIDE), mlp(LENET)
    taught, helped = soft("1200-1200", TEMPERATURE), soft("convolutional", TEMPERATURE)
    runs = [
        Run("wide-alone", wide, WIDE_RECIPE, labels),
        Run("wide-distilled", wide, WIDE_RECIPE, taught),
        Run("wide-unseen", wide, WIDE_RECIPE, taught, without_threes),
        Run("wide-sevens-and-eights", wide, WIDE_RECIPE, taught, sevens_and_eights),
        Run("lenet-alone", lenet, LENET_RECIPE, labels),
        Run("lenet-arithmetic-20", lenet, LENET_RECIPE, together("arithmetic")),
        Run("lenet-geometric-20", lenet, LENET_RECIPE, together("geometric")),
        Run("lenet-high-rate", lenet, HIGH_RATE, soft("convolutional", 8.0)),
        Run("lenet-alone-high-rate", lenet, HIGH_RATE, labels),
        Run("thin-alone", networks.thin_and_deep, SMALL, labels),
        Run("thin-distilled", networks.thin_and_deep, SMALL, soft("convolutional", 4.0)),
        Run("thin-hinted", networks.thin_and_deep, replace(SMALL, epochs=SMALL.epochs - HINTING.epochs),
            soft("convolutional", 4.0), hinted=True),
    ]
    for temperature in TEMPERATURES:
        runs.append(Run(f"lenet-at-{temperature:g}", lenet, LENET_RECIPE, soft("convolutional", temperature)))
        runs.append(Run(f"narrow-at-{temperature:g}", mlp(NARROW), QUICK, soft("convolutional", temperature)))
    runs.append(Run("narrow-alone", mlp(NARROW), QUICK, labels))
    for rate in RATES:
        recipe = replace(FEW_RECIPE, learning_rate=rate)
        runs.append(Run(f"few-hard-{rate:g}", lenet, recipe, labels, a_few))
        runs.append(Run(f"few-soft-{rate:g}", lenet, recipe, helped, a_few))
    for kind, build in KINDS.items():
        recipe = SMALL if kind == "CNN" else QUICK
        runs.append(Run(f"{kind}-labels", build, recipe, labels))
        runs.append(Run(f"{kind}-logits", build, recipe, logits("convolutional")))
    return runs


RUNS = {run.name: run for run in _all_runs()}
