"""The projects that close the course: an application each, with a model, what it is judged by, and resource reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from nutshell.errors import WrongUse

if TYPE_CHECKING:
    from IPython.display import HTML

    from nutshell.artefact import Artefact
    from nutshell.data.dataset import Dataset


@dataclass(frozen=True)
class Project:
    """One application.

    Attributes
    ----------
    name, data, model : str
        Its key in :data:`PROJECTS`, its data set, and the model of :mod:`nutshell.models` that it begins with.
    question : str
        What is to be found out.
    judged_by : str
        What ``error_percent`` is here.
    options : mapping
        For the model.
    learning_rate : float
        That a first training may take.
    """

    name: str
    data: str
    model: str
    question: str
    judged_by: str
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3


PROJECTS = {project.name: project for project in (
    Project("autopilot", "track", "pilotnet", "How small may the network get that keeps the car on the road, at thirty "
            "frames a second?", "steering error (root mean square, % of full lock)", {"variant": "one-dense"}),
    Project("emojinator", "gestures", "gesture-net", "Which eleven gestures can a telephone tell apart without asking "
            "a server?", "error (%)", learning_rate=3e-3),
    Project("malaria", "malaria", "cell-net", "How small may a network get that tells infected cells, and which kind "
            "of error grows first?", "error (%)", learning_rate=3e-3),
    Project("quickdraw", "quickdraw", "sketch-net", "Can a sketch be named while it is still being drawn, by a network "
            "of a few kilobytes?", "error (%)", learning_rate=3e-3),
)}  # fmt: skip


def load(project: Project, most: int | None = None) -> "Dataset":
    """The project's data; ``most`` limits the training images, taken evenly over all of them."""
    import torch

    from nutshell import data

    whole = data.load(project.data)
    if most is None or len(whole.train) <= most:
        return whole
    chosen = torch.linspace(0, len(whole.train) - 1, most).long()
    return replace(whole, train=replace(whole.train, images=whole.train.images[chosen],
                                        labels=whole.train.labels[chosen]))  # fmt: skip


def trained(project: Project, *, epochs: int = 1, most: int | None = None, seed: int = 0) -> nn.Module:
    """The project's model after a first, plain training, to compare everything with.

    Parameters
    ----------
    project : Project
        One of :data:`PROJECTS`.
    epochs : int
        Passes over the training images.
    most : int, optional
        Training images that are used; all if left out.
    seed : int
        First weights and order of the images.
    """
    from nutshell import models
    from nutshell.training import Recipe, prepare, train

    network = prepare(models.build(project.model, seed=seed, **project.options))
    recipe = Recipe(epochs=epochs, batch_size=64, learning_rate=project.learning_rate, precision="bfloat16")
    train(network, load(project, most), recipe, seed=seed)
    return network


def figures(network: "nn.Module | Artefact", project: Project, part: str = "validation") -> dict[str, float]:
    """What one network takes, and how well it does its job.

    Parameters
    ----------
    network : torch.nn.Module or Artefact
        A module is stored as it is, in float32; a file's artefact counts with its own bytes.
    project : Project
        Whose images it runs on.
    part : {"validation", "test"}
        Which of them.

    Returns
    -------
    dict
        ``bytes``, ``parameters``, ``macs``, ``energy_uj``, ``microseconds`` (median, one image, ONNX Runtime on one
        thread), ``error_percent``.
    """
    from nutshell import artefact, budget, deploy
    from nutshell.measure import measure
    from nutshell.training import evaluate

    images = budget.images(project.data)
    chosen = getattr(images, part)
    shape = tuple(chosen.images.shape[1:])
    found = network if isinstance(network, artefact.Artefact) else artefact.read(
        artefact.to_bytes(network, input_shape=shape))
    if found.input_shape != shape:
        raise WrongUse(f"The network takes images of shape {list(found.input_shape)}, and those of {project.data} have "
                       f"{list(shape)}.")
    measured = measure(found)
    seconds = deploy.latencies(deploy.Session(found), count=40, warm_up=5)
    return {"bytes": measured.bytes, "parameters": measured.params, "macs": measured.macs,
            "energy_uj": measured.energy_uj, "microseconds": deploy.summary(seconds).median,
            "error_percent": evaluate(found.network, chosen)[1]}  # fmt: skip


def report(networks: "Mapping[str, nn.Module | Artefact]", project: Project) -> "HTML":
    """A resource report as a table: a row for each network, in order, with what it takes beside the first."""
    from nutshell.explorers.tables import table

    head = ["network", "bytes", "parameters", "MACs", "energy (µJ)", "one image (µs)", project.judged_by]
    rows, first = [], None
    for name, network in networks.items():
        found = figures(network, project)
        first = first or found
        times = f" ({first['bytes'] / found['bytes']:.1f}×)" if found is not first else ""
        rows.append((name, f"{found['bytes']:,.0f}{times}", f"{found['parameters']:,.0f}", f"{found['macs']:,.0f}",
                     f"{found['energy_uj']:,.2f}", f"{found['microseconds']:,.0f}", f"{found['error_percent']:.2f}"))
    return table(head, rows)
