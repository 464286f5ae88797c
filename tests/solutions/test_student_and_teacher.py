"""Unit 11: its reference against other ways to the same numbers, and its checks against mistakes."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nutshell import data, results, teachers
from nutshell.checks import Answer, checks_of
from nutshell.errors import Refused
from nutshell.explorers import soft_targets
from nutshell.explorers import student_and_teacher as explorers
from nutshell.wire import running
from solutions.student_and_teacher import checks, mutants, reference
from tests.solutions.mistakes import edited

SIZES = st.tuples(st.integers(1, 7), st.integers(2, 9))
SEEDS = st.integers(0, 1000)


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Soft targets --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SIZES, st.floats(0.05, 200), st.floats(0.1, 1e4), SEEDS)
def test_softened_answers_are_scipys(sizes, temperature, size, seed):
    logits = size * _normal(*sizes, seed=seed)
    probabilities, entropies = reference.soften(logits, temperature)
    np.testing.assert_allclose(probabilities, scipy.special.softmax(logits.numpy() / temperature, axis=1), atol=1e-12)
    np.testing.assert_allclose(entropies, scipy.stats.entropy(probabilities.numpy(), axis=1), atol=1e-9)
    found = explorers.Answers.of(logits)
    np.testing.assert_allclose(found.at(temperature), probabilities, atol=1e-12)
    np.testing.assert_allclose(found.open(temperature), entropies, atol=1e-9)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_no_other_temperatures(temperature):
    for call in (lambda: reference.soften(torch.zeros(1, 2), temperature),
                 lambda: reference.ensemble_targets(torch.zeros(1, 1, 2), temperature),
                 lambda: reference.distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1).long(),
                                                     temperature)):
        with pytest.raises(ValueError, match="temperature"):
            call()


# Losses --------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(SIZES, st.floats(0.3, 30), st.floats(0, 1), SEEDS)
def test_the_loss_is_torchs_divergence_and_cross_entropy(sizes, temperature, weight, seed):
    student, teacher = _normal(*sizes, seed=seed), 3 * _normal(*sizes, seed=seed + 1)
    labels = torch.randint(0, sizes[1], sizes[:1], generator=torch.Generator().manual_seed(seed))
    p = (teacher / temperature).softmax(1)
    divergence = functional.kl_div((student / temperature).log_softmax(1), p, reduction="batchmean")
    entropy = reference.soften(teacher, temperature)[1].mean()
    want = (weight * temperature**2 * (divergence + entropy)
            + (1 - weight) * functional.cross_entropy(student, labels))
    torch.testing.assert_close(reference.distillation_loss(student, teacher, labels, temperature, weight), want)


def test_gradients_agree_with_finite_differences():
    teacher, labels = _normal(3, 4, seed=1), torch.tensor([0, 3, 1])
    student = _normal(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: reference.distillation_loss(z, teacher, labels, 2.5, 0.7), student)
    assert torch.autograd.gradcheck(lambda z: reference.mimic_loss(z, teacher), student)
    hint = _normal(2, 3, 2, 2).relu()
    given_ = [_normal(2, 2, 3, 4, seed=5), _normal(3, 2, 2, 3, seed=6), _normal(3, seed=7)]
    leaves = [value.requires_grad_() for value in given_]
    assert torch.autograd.gradcheck(lambda *parts: reference.hint_loss(hint, *parts), leaves)


@settings(max_examples=20, deadline=None)
@given(SIZES, SEEDS)
def test_mimicking_is_distillation_at_a_high_temperature(sizes, seed):
    teacher = _normal(*sizes, seed=seed)
    teacher = teacher - teacher.mean(1, keepdim=True)
    student = _normal(*sizes, seed=seed + 1)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    soft = reference.distillation_loss(student, teacher, torch.zeros(sizes[0]).long(), 1e4, 1.0)
    mimic = reference.mimic_loss(student, teacher)
    first, second = (torch.autograd.grad(loss, student)[0] for loss in (soft, mimic))
    torch.testing.assert_close(first, second / sizes[1], rtol=1e-2, atol=1e-3)
    pull = explorers.Pull(explorers.Answers.of(student), explorers.Answers.of(teacher))
    np.testing.assert_allclose(pull.limit(), (second * sizes[0] / sizes[1]).detach(), atol=1e-12)
    np.testing.assert_allclose(pull.at(1e4, squared=True), (first * sizes[0]).detach(), atol=1e-9)


def test_nothing_moves_where_the_student_says_what_its_teacher_says():
    teacher = _normal(4, 6)
    student = (teacher + 5).requires_grad_()
    loss = reference.distillation_loss(student, teacher, torch.zeros(4).long(), 3.0, 1.0)
    (pull,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(pull, torch.zeros(4, 6, dtype=torch.float64))


def test_a_regressor_learns_hints_that_it_can_know():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher, regressor, student = (layer.double() for layer in (nn.Conv2d(1, 6, 3), nn.Conv2d(2, 6, 2),
                                                                    nn.Conv2d(1, 2, 2)))
        images = torch.rand(16, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        hint = teacher(images).relu()
    optimiser = torch.optim.Adam([*student.parameters(), *regressor.parameters()], lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = reference.hint_loss(hint, student(images).relu(), regressor.weight, regressor.bias)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# Ensembles and biases ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), SIZES, st.floats(0.3, 20), SEEDS)
def test_means_of_members_are_scipys(members, sizes, temperature, seed):
    logits = 3 * _normal(members, *sizes, seed=seed)
    p = scipy.special.softmax(logits.numpy() / temperature, axis=2)
    roots = scipy.stats.gmean(p, axis=0)
    np.testing.assert_allclose(reference.ensemble_targets(logits, temperature), p.mean(0), atol=1e-12)
    geometric = reference.ensemble_targets(logits, temperature, "geometric")
    np.testing.assert_allclose(geometric, roots / roots.sum(1, keepdims=True), atol=1e-12)
    found = soft_targets.mixtures(p[:, 0])
    np.testing.assert_allclose(found["geometric"], geometric[0], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.data(), SEEDS)
def test_no_bias_is_better(images, count, data, seed):
    classes = tuple(data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1)))
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(-12, 13, (images, count), generator=generator) / 4.0  # many images change at the same bias
    logits = coarse + torch.arange(count) / 64
    labels = torch.randint(0, count, (images,), generator=generator)
    bias = reference.unbias(logits, labels, classes)
    tries = torch.arange(-8, 8, 1 / 64) + 1 / 128  # never on an edge, and one in each gap
    added = torch.zeros(count)
    added[list(classes)] = 1.0
    wrong = ((logits[:, None] + tries[:, None] * added).argmax(2) != labels[:, None]).sum(0)
    assert checks._mistakes(logits, labels, classes, bias) == int(wrong.min())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(-5, 9), SEEDS)
def test_the_explorer_counts_what_the_check_counts(images, bias, seed):
    logits = _normal(images, 5, seed=seed)
    labels = torch.randint(0, 5, (images,), generator=torch.Generator().manual_seed(seed))
    wrong, own = explorers.Raised.of(logits, labels, (1, 3)).misread(bias)
    raised = logits + bias * torch.tensor([0, 1, 0, 1, 0])
    missed = raised.argmax(1) != labels
    assert wrong == int(missed.sum()) == checks._mistakes(logits, labels, (1, 3), bias)
    assert own == int((missed & ((labels == 1) | (labels == 3))).sum())


# Mistakes ------------------------------------------------------------------------------------------------------------


def _verdicts(exercise, wrong, include_hidden=False):
    answer = Answer(exercise, wrong, right=False)
    return running.try_answer(answer, checks_of(checks), reference, include_hidden=include_hidden)


MISTAKES = [
    ("soften", "(logits / temperature, dim=1)", "(logits / temperature, dim=0)", "over the images"),
    ("soften", "(logits / temperature, dim=1)", "(logits, dim=1)", "The temperature isn't used"),
    ("mimic_loss", ".sum(1).mean() / 2", ".mean() / 2", "an image's classes are added up"),
    ("mimic_loss", ".mean() / 2", ".mean()", "The ½ is missing"),
    ("distillation_loss", "temperature**2 * soft", "soft", "T² is missing"),
    ("distillation_loss", "temperature**2 * soft", "temperature * soft", "T stands where T² should"),
    ("distillation_loss", "(student, labels)", "(student / temperature, labels)", "they are at 1"),
    ("distillation_loss", "(1 - soft_weight) * hard", "hard", "not weighted by 1 − w"),
    ("distillation_loss", "soft_weight * temperature**2 * soft + (1 - soft_weight) * hard",
     "temperature**2 * soft + hard", "Neither part is weighted"),
    ("distillation_loss", "temperature**2 * soft", "soft / temperature**2", "divided by T²"),
    ("distillation_loss", "cross_entropy(student / temperature, targets)",
     "cross_entropy((student / temperature).softmax(1), targets)", "softens them itself"),
    ("distillation_loss", "cross_entropy(student / temperature, targets)",
     "kl_div((student / temperature).softmax(1), targets, reduction='batchmean')", "it takes their logarithms"),
    ("hint_loss", ".square().sum()", ".abs().sum()", "without their squares"),
    ("hint_loss", "(guided, kernel, bias).relu()", "(guided, kernel, bias)", "ReLU after the regressor is missing"),
    ("hint_loss", "/ (2 * len(hint))", "/ 2", "sum over the images"),
    ("ensemble_targets", "(logits / temperature).softmax(2).mean(0)", "(logits.mean(0) / temperature).softmax(1)",
     "That is the other mean"),
    ("ensemble_targets", "functional.log_softmax(logits / temperature, dim=2)",
     "((logits / temperature).softmax(2) + 1e-12).log()", "small probabilities"),
    ("unbias", "won.argmax()", "won.argmin()", ""),
]


@pytest.mark.parametrize(("exercise", "before", "after", "cause"), MISTAKES, ids=[f"{m[0]}-{m[3]}" for m in MISTAKES])
def test_a_mistake_gets_its_cause(exercise, before, after, cause):
    failed = [v for v in _verdicts(exercise, edited(reference, exercise, before, after)) if not v.passed]
    assert failed and all(v.next_step for v in failed)
    assert any(cause in v.cause for v in failed), [v.cause for v in failed]
    assert "RAISED" not in [v.status for v in failed]


BIASES = [("bias_on_a_grid", "grid"), ("bias_upwards_only", "below 0"), ("bias_on_an_edge", "on an edge"),
          ("bias_between_two_edges", "below all edges or above"), ("bias_on_a_fine_grid", "grid"),
          ("bias_for_the_raised_alone", "others are lost"), ("bias_to_subtract", "subtracted"),
          ("bias_that_makes_frequencies_right", "as often as they come"), ("bias_of_the_means", "a mean or a median")]


@pytest.mark.parametrize(("name", "cause"), BIASES)
def test_a_bias_with_too_many_mistakes_gets_its_cause(name, cause):
    failed = [v for v in _verdicts("unbias", getattr(mutants, name), include_hidden=True) if not v.passed]
    assert any(cause in v.cause for v in failed), [v.cause for v in failed]


def test_a_stub_that_returns_nothing_is_told_so():
    for exercise in checks.UNIT.exercises:
        for verdict in _verdicts(exercise.name, lambda *given: None):
            assert verdict.passed or verdict.next_step


def test_the_budget_is_forty_percent_of_the_gap():
    (budget,) = checks.UNIT.budgets
    assert budget.topology == "lenet-300-100" and not budget.any_network
    (limit,) = budget.limits
    alone = results.load("student_and_teacher")["lab"]["alone"]["test_error_percent"]["mean"]
    gap = alone - teachers.card("convolutional").test_error_percent
    assert limit.metric == "error_percent" and limit.at_most == pytest.approx(alone - 0.4 * gap, abs=0.01)


def test_the_stored_teacher_is_as_good_as_its_card_says():
    mnist = data.mnist()
    if mnist.name != "mnist":  # a stand-in: the logits belong to the real images, and say so
        with pytest.raises(Refused, match="belong to"):
            teachers.logits("convolutional", mnist)
        return
    said = teachers.logits("convolutional", mnist)
    assert (said.argmax(1) != mnist.train.labels).double().mean() < 0.01
