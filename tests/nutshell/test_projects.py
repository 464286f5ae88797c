"""Projects begin with a model that fits their data, and their reports count what is really there."""

import pytest
import torch

from nutshell import artefact, budget, data, models, projects
from nutshell.artefact import Codebook
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import WrongUse


def _dataset(name, outputs, count=24):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *models.INPUT_SHAPES[name]), dtype=torch.uint8, generator=generator)
    labels = torch.linspace(-1, 1, count) if outputs == 1 else torch.arange(count) % outputs
    part = Split(images, labels, (0.0,), (1.0,))
    return Dataset("few", part, part, part, () if outputs == 1 else tuple(map(str, range(outputs))))


@pytest.fixture(params=sorted(projects.PROJECTS))
def project(request, monkeypatch):
    """A project on a few pictures of noise."""
    chosen = projects.PROJECTS[request.param]
    with torch.device("meta"):
        network = models.build(chosen.model, device="meta", **chosen.options)
        outputs = network(torch.empty(1, *models.INPUT_SHAPES[chosen.model])).shape[1]
    few = _dataset(chosen.model, outputs)
    monkeypatch.setattr(data, "load", lambda name: few)
    monkeypatch.setattr(budget, "images", lambda name: few)
    return chosen


def test_a_project_is_trained_and_reported_before_and_after(project):
    before = projects.trained(project, epochs=1, most=8)
    shape = models.INPUT_SHAPES[project.model]
    coded = {name: Codebook(8, coder="ans") for name, weight in before.named_parameters() if weight.ndim > 1}
    after = artefact.read(artefact.to_bytes(before, input_shape=shape, encodings=coded))
    figures = [projects.figures(network, project) for network in (before, after)]
    assert figures[0]["bytes"] > 3 * figures[1]["bytes"] and figures[1]["bytes"] == after.bytes
    assert figures[0]["macs"] == figures[1]["macs"] > 0 and figures[0]["microseconds"] > 0
    shown = projects.report({"before": before, "after": after}, project).data
    assert project.judged_by in shown and f"{figures[1]['bytes']:,} (" in shown


def test_training_images_are_taken_evenly(monkeypatch):
    few = _dataset("sketch-net", 6)
    monkeypatch.setattr(data, "load", lambda name: few)
    project = projects.PROJECTS["quickdraw"]
    some = projects.load(project, 4)
    assert torch.equal(some.train.labels, few.train.labels[[0, 7, 15, 23]]) and len(some.test) == 24
    assert projects.load(project, 100) is few and projects.load(project) is few


def test_a_network_for_other_images_is_refused(monkeypatch):
    monkeypatch.setattr(budget, "images", lambda name: _dataset("sketch-net", 6))
    with pytest.raises(WrongUse, match="quickdraw"):
        found = artefact.read(artefact.to_bytes(models.build("gesture-net"), input_shape=(1, 50, 50)))
        projects.figures(found, projects.PROJECTS["quickdraw"])
