"""The workshop's picture and its two demonstrations: the arithmetic is exact, and only what is said differs."""

import base64
import re

import pytest
import torch

from nutshell import artefact, models
from nutshell.data.dataset import Dataset, Split
from nutshell.explorers.workshop import Shrinking, soft_targets, taught


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    pixels = torch.randint(0, 40, (200, 1, 28, 28), dtype=torch.uint8, generator=generator)
    for number, label in enumerate(labels):
        pixels[number, 0, 2 * label : 2 * label + 3] += 200  # a bar whose height is the class
    part = Split(pixels, labels, (0.0,), (1.0,))
    return Dataset("bars", part, part, part, tuple("0123456789"))


def test_soft_targets_are_probabilities_and_softer_with_the_temperature():
    teacher = models.build("mlp", sizes=(784, 20, 10))
    images = torch.rand(6, 1, 28, 28)
    hot, cold = soft_targets(teacher, images, 10.0), soft_targets(teacher, images, 1.0)
    assert torch.allclose(hot.sum(1), torch.ones(6)) and not hot.requires_grad
    assert torch.equal(cold, teacher(images).detach().softmax(1)) and (hot.max(1).values < cold.max(1).values).all()


def test_a_student_with_no_weight_on_its_teacher_is_one_without(images):
    teacher = models.build("mlp", sizes=(784, 20, 10), seed=3)
    alone, _ = taught(images, 50, steps=5)
    ignoring, _ = taught(images, 50, teacher, weight=0.0, steps=5)
    listening, _ = taught(images, 50, teacher, steps=5)
    same = [torch.equal(a, b) for a, b in zip(alone.parameters(), ignoring.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(alone.fc1.weight, listening.fc1.weight)


def test_a_student_learns_and_the_global_random_state_stays(images):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network, error = taught(images, 200, hidden=20, steps=200)
    assert error < 20 and torch.equal(torch.get_rng_state(), before)
    assert network.fc1.out_features == 20 and not network.training


def test_steps_are_measured_as_their_files_have_them(images):
    network = models.build("lenet-300-100")
    path = Shrinking(images)
    dense = path.add("dense", network)
    coarse = path.add("two bits", network, {"fc1.weight": artefact.Affine(2)})
    content = artefact.to_bytes(network, input_shape=(1, 28, 28), encodings={"fc1.weight": artefact.Affine(2)})
    assert coarse.bytes == len(content) and coarse.rate == pytest.approx(1_066_440 / len(content))
    assert dense.rate == pytest.approx(1, abs=0.01)
    decoded = artefact.read(content).network
    wrong = (decoded(images.validation.inputs()).argmax(1) != images.validation.labels).float().mean()
    assert coarse.error_percent == pytest.approx(100 * float(wrong))


def test_a_step_of_the_same_name_is_replaced_and_the_rate_is_of_the_first_network(images):
    path = Shrinking(images)
    path.add("dense", models.build("lenet-300-100"))
    path.add("small", models.build("mlp", sizes=(784, 10, 10)))
    again = path.add("small", models.build("mlp", sizes=(784, 5, 10)))
    assert [step.name for step in path.steps] == ["dense", "small"] and path.steps[1] == again
    assert again.rate == pytest.approx(1_066_440 / again.bytes)


def test_the_picture_has_its_words_and_its_bars(images):
    path = Shrinking(images)
    assert "No step yet" in path._repr_html_()
    path.add("dense <1>", models.build("lenet-300-100"))
    markup = path._repr_html_()
    alternative = re.search(r'alt="([^"]+)"', markup)[1]
    assert "dense &lt;1&gt;: 1,066," in alternative and "1.0 times smaller" in alternative
    assert base64.b64decode(re.search(r"base64,([^\"]+)", markup)[1]).startswith(b"\x89PNG")
    axes = path.picture()
    assert len(axes.patches) == 1 and axes.get_xlabel() == "bytes of the file" and axes.get_xscale() == "log"
