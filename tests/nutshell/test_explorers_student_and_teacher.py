"""The explorers of unit 11 show numbers that agree with the mathematics, and pictures with words."""

import re

import numpy as np
import pytest
import torch

from nutshell.explorers import soft_targets
from nutshell.explorers import student_and_teacher as explorers


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_answers_grow_even_as_the_temperature_rises():
    found = explorers.Answers.of(3 * _normal(20, 10))
    entropies = np.array([found.open(t) for t in explorers._TEMPERATURES])
    assert (np.diff(entropies, axis=0) > 0).all()
    np.testing.assert_allclose(found.open(1e9), np.log(10), atol=1e-6)
    assert explorers.Answers.of(torch.tensor([[1e6, -1e6, 0.0]])).open(1.0).tolist() == [0.0]
    means = found.by_class(torch.arange(20) % 10, 2.0)
    np.testing.assert_allclose(means.sum(1), 1)
    np.testing.assert_allclose(means[3], found.at(2.0)[[3, 13]].mean(0))


def test_the_pull_is_the_gradient_of_the_cross_entropy():
    student, teacher = _normal(3, 5).double().requires_grad_(), _normal(3, 5, seed=1).double()
    pull = explorers.Pull(explorers.Answers.of(student), explorers.Answers.of(teacher))
    loss = torch.nn.functional.cross_entropy(student / 3, (teacher / 3).softmax(1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, student)
    np.testing.assert_allclose(pull.at(3.0, squared=False), gradient, atol=1e-12)
    np.testing.assert_allclose(pull.at(3.0, squared=True), 9 * gradient, atol=1e-12)
    assert np.abs(pull.at(1e5, squared=True) - pull.limit()).max() < 1e-4


def test_soft_targets_scatter_less_than_labels():
    for count in (16, 64, 256):
        soft, hard = (np.array(soft_targets.misses(count, kind)) for kind in (True, False))
        assert soft.mean() < 0.5 * hard.mean() and soft.std() < hard.std()
    assert soft_targets.misses(1024, False)[0] < soft_targets.misses(16, False)[0]


def test_the_student_of_the_made_up_task_is_as_likely_as_can_be():
    places, chance, _ = soft_targets.drawn(60)
    fitted = soft_targets.learned(places, chance, places)
    features = np.polynomial.legendre.legvander(places / 3, 5)
    odds = np.log(fitted / (1 - fitted))
    weights = np.linalg.lstsq(features, odds, rcond=None)[0]
    np.testing.assert_allclose(features.T @ (fitted - chance) + 1e-2 * weights, 0, atol=1e-6)


def test_the_mean_lies_halfway_in_the_triangle():
    members = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    found = soft_targets.mixtures(members)
    middle = np.mean([soft_targets._in_triangle(p) for p in members], axis=0)
    np.testing.assert_allclose(soft_targets._in_triangle(found["arithmetic"]), middle)
    np.testing.assert_allclose(found["geometric"] ** 2 / found["geometric"][0] ** 2,
                               members.prod(0) / members[:, 0].prod())


def test_a_guess_from_all_channels_is_the_hint_and_fewer_miss_more():
    maps = _normal(3, 6, 4, 5)
    found = explorers.Hints.of(maps)
    np.testing.assert_allclose(found.guess(6), maps.double().clamp_min(0), atol=1e-9)
    # without a ReLU the best guess of k channels misses the smallest variances
    rows = maps.double().transpose(0, 1).flatten(1)
    variances = torch.linalg.eigvalsh(torch.cov(rows)).flip(0)
    basis = torch.from_numpy(found.directions[:, :4].copy())
    away = rows - rows.mean(1, keepdim=True)
    missed = (away - basis @ basis.T @ away).square().sum() / (rows.shape[1] - 1)
    torch.testing.assert_close(missed, variances[4:].sum())
    assert found.missed(5) < found.missed(1)


def _explorer(name):
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits, labels = 3 * _normal(5, 10), torch.arange(5)
    return {
        "temperature": lambda: explorers.temperature(logits, images, labels),
        "pull": lambda: explorers.pull(_normal(5, 10, seed=1), logits, labels),
        "bias": lambda: explorers.bias(logits, labels, (3,), "threes"),
        "hints": lambda: explorers.hints(_normal(4, 8, 5, 5), shown=(0, 1)),
        "few": lambda: soft_targets.few(draws=4),
        "means": soft_targets.means,
    }[name]()


@pytest.mark.parametrize("name", ["temperature", "pull", "bias", "hints", "few", "means"])
def test_every_knob_draws_another_picture_with_words(name):
    *knobs, shown = _explorer(name).children
    for knob in knobs:
        before = shown.value
        if isinstance(knob.value, bool):
            knob.value = not knob.value
        elif hasattr(knob, "options"):
            options = list(knob.options)
            knob.value = options[-1] if knob.value != options[-1] else options[0]
        else:
            knob.value = knob.max if knob.value != knob.max else knob.min
        assert shown.value != before
        (text,) = re.findall(r'alt="([^"]+)"', shown.value)
        assert len(text) > 60
        assert "base64," in shown.value


def test_words_say_how_many_are_misread():
    logits, labels = 4 * torch.nn.functional.one_hot(torch.arange(6) % 4, 4).float(), torch.arange(6) % 4
    logits[:, 3] -= 6
    box = explorers.bias(logits, labels, (3,), "threes")
    assert "1 of 6 images are misread, 1 of 1 threes among them" in box.children[-1].value
    box.children[0].value = 5.0
    assert "0 of 6 images are misread, 0 of 1 threes among them" in box.children[-1].value


def test_the_picture_of_a_thin_student_says_its_layers():
    text = explorers.thin_and_deep((9, 5), (4, 3, 2), hint=0, guided=1).data
    assert "layers of 9, 5 channels" in text and "base64," in text
    assert "layer 2 of the student" in text and "layer 1 of the teacher" in text
