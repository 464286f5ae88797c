"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import itertools
import math
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from nutshell import expect
from nutshell.checks import check

EXACT = 1e-6  # tolerance where sums may run in another order

NOT_A_NUMBER = ("ln 0 is minus infinity, and 0 times that is NaN; so is 0 / 0, where all exponentials of an image are "
                "too small for a float.")

EXTREME = ((4e3, 0.0, -4e3), (-9e4, -9e4, -9e4), (3e4, 3e4, 0.0))  # whose exponentials don't fit into a float


@check("soften")
def shares_of_one(learner, reference, rng):
    """Each image's probabilities add up to 1, and the order of the classes stays"""
    for shape, temperature in (((4, 10), 1.0), ((1, 3), 7.0), ((6, 2), 0.5)):
        logits = _normal(rng, *shape) * 3
        found, _ = _softened(learner, logits, temperature)
        expect.close(found.sum(1), torch.ones(shape[0]), f"the sums over the classes for logits {shape}", rtol=EXACT,
                     cause="They add up to 1 over the images, not over the classes." if np.allclose(found.sum(0), 1)
                     else "", next_step="Each row is one image: over which axis do its classes run?")
        expect.equal(found.argsort(1).tolist(), logits.argsort(1).tolist(), "the classes from least to most likely",
                     next_step="Is a larger logit a larger probability, at any temperature?")


@check("soften", weight=2)
def probabilities_are_those_of_the_formula(learner, reference, rng):
    """exp(z/T) over the sum of all, for temperatures below, at and above 1"""
    for temperature in (1.0, 0.5, 4.0, 20.0):
        _check_softened(learner, _normal(rng, 3, 5) * 4, temperature)


@check("soften")
def entropy_runs_from_nothing_to_the_logarithm(learner, reference, rng):
    """The entropy is 0 where one class has everything, ln C where all have the same, and grows with the temperature"""
    logits = _normal(rng, 5, 7) * 2
    found = [_softened(learner, logits, temperature)[1] for temperature in (1e-3, 0.5, 1.0, 3.0, 30.0, 1e6)]
    ends = {"It has the other sign.": -math.log(7), "It is in bits; nats are asked for.": math.log2(7),
            "It is divided by its largest value.": 1.0, "It is the entropy's mean over the classes.": math.log(7) / 7}
    expect.close(found[-1], torch.full((5,), math.log(7)), "the entropies at a very high temperature", rtol=1e-4,
                 causes={cause: torch.full((5,), value) for cause, value in ends.items()},
                 next_step="Seven equal shares: work −Σ p ln p out by hand.")
    expect.close(found[0], torch.zeros(5), "the entropies at a very low temperature", atol=1e-6,
                 cause=NOT_A_NUMBER if bool(found[0].isnan().any()) else "",
                 next_step="What is p·ln p for p = 1, and where p is nearly 0?")
    rises = all(bool((later >= earlier - 1e-9).all()) for earlier, later in itertools.pairwise(found))
    expect.that(rises, "entropies that never fall as the temperature rises", "some that fall",
                cause="The entropy isn't that of the softened probabilities.",
                next_step="Print temperature and entropy for one image.")


@check("soften", weight=0.5)
def large_logits_are_no_trouble(learner, reference, rng):
    """Logits in the ten thousands: no infinity and no NaN, and a probability of 0 adds nothing to the entropy"""
    logits = torch.tensor(EXTREME, dtype=torch.float64)
    for temperature in (1.0, 10.0):
        probabilities, entropies = _softened(learner, logits, temperature)
        expect.that(bool(probabilities.isfinite().all() and entropies.isfinite().all()), "finite numbers",
                    expect.show(torch.cat([probabilities, entropies[:, None]], 1)),
                    cause="exp(4000) doesn't fit into a float. " + NOT_A_NUMBER,
                    next_step="Which function of torch computes the logarithm of a softmax in one go?")
        _compare_softened(probabilities, entropies, logits, temperature, rng)


@check("soften", weight=0.5)
def temperatures_are_above_zero(learner, reference, rng):
    """A temperature of 0 or below is a ValueError"""
    for temperature in (0.0, -1.0):
        expect.raises("ValueError", learner.soften, torch.tensor([[1.0, 2.0]]), temperature,
                      why=f"the logits can't be divided by {temperature:g}")


def _softened(learner, logits, temperature) -> tuple[Tensor, Tensor]:
    given = () if temperature == 1 else (temperature,)
    got = learner.soften(logits, *given)
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "probabilities and entropies", expect.show(got),
                next_step="Return the two as a tuple.")
    expect.shape(got[0], tuple(logits.shape), "the probabilities")
    expect.shape(got[1], (len(logits),), "the entropies", cause="There is one entropy for each image.",
                 next_step="Add up over the classes, and over nothing else.")
    probabilities, entropies = (torch.as_tensor(part).detach().double() for part in got)
    return probabilities, entropies


def _check_softened(learner, logits, temperature):
    _compare_softened(*_softened(learner, logits, temperature), logits, temperature)


def _compare_softened(probabilities, entropies, logits, temperature, rng=None):
    p, words = _softmax(logits, temperature), f"logits {tuple(logits.shape)} at T = {temperature:.3g}"
    expect.close(probabilities, p, f"the probabilities for {words}", rtol=1e-5, atol=1e-7, causes={
        "The temperature isn't used.": _softmax(logits, 1),
        "The logits are multiplied by the temperature.": _softmax(logits, 1 / temperature),
        "The probabilities are divided, not the logits before the softmax.": _softmax(logits, 1) / temperature,
        "The softmax runs over the images.": _softmax(logits.T, temperature).T,
        "These are logarithms.": _log_softmax(logits, temperature),
        "exp(z) over the sum, without the temperature inside, is raised to 1/T: it must add up to 1 again.":
            _softmax(logits, 1) ** (1 / temperature),
    }, next_step="Two classes with logits 2 and 0 at T = 2: by hand first.")
    plain = _entropy(_softmax(logits, 1))
    expect.close(entropies, _entropy(p), f"the entropies for {words}", rtol=1e-5, atol=1e-6, causes={
        "The sign is turned round.": -_entropy(p),
        "They are in bits; nats are asked for.": _entropy(p) / math.log(2),
        "They are averaged over the classes; the entropy is a sum.": _entropy(p) / logits.shape[1],
        "They are those at T = 1, not those of the softened probabilities.": plain,
        "They are divided by ln C.": _entropy(p) / math.log(max(2, logits.shape[1])),
    }, next_step="−Σ p ln p over the classes of one image, from the probabilities that you return.")


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    scaled = torch.as_tensor(logits).double() / temperature
    shifted = scaled - scaled.max(1, keepdim=True).values
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    return _log_softmax(logits, temperature).exp()


def _entropy(p: Tensor) -> Tensor:
    return -torch.where(p > 0, p * p.clamp_min(1e-300).log(), 0.0).sum(1)


@check("mimic_loss", weight=2)
def half_the_squared_distance(learner, reference, rng):
    """Half the squared distance of an image's logits, mean over the images"""
    whole = torch.zeros(3, 4), torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, -1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 1.0]])
    _check_mimic(learner, *whole)
    for shape in ((5, 10), (1, 4)):
        _check_mimic(learner, _normal(rng, *shape), _normal(rng, *shape))


@check("mimic_loss")
def gradient_points_at_the_teacher(learner, reference, rng):
    """The gradient is (z − v) / N: 0 where student = teacher"""
    teacher = _normal(rng, 4, 6)
    for student in (_normal(rng, 4, 6), teacher.clone()):
        got = _gradients(learner.mimic_loss, (student, teacher), (True, False))[0]
        want = (student - teacher) / 4
        expect.close(got, want, "the gradient by the student's logits", rtol=EXACT, causes={
            "It is the other way round: a step would lead away from the teacher.": -want,
            "The ½ is missing: it is twice too large.": 2 * want,
            "The mean runs over images and classes: it is C times too small.": want / 6,
            "The loss is a sum over images, not a mean.": 4 * want,
        }, next_step="Differentiate ½(z − v)² by z, then average over the images.")


@check("mimic_loss", weight=0.5)
def the_teacher_does_not_learn(learner, reference, rng):
    """Nothing flows back to the teacher's logits"""
    _check_no_gradient(learner.mimic_loss, (_normal(rng, 3, 4), _normal(rng, 3, 4)), 1)


@check("mimic_loss", weight=0.5)
def shapes_must_be_equal(learner, reference, rng):
    """Logits of two shapes are a ValueError, also where they could be stretched to fit"""
    for first, second in (((4, 5), (1, 5)), ((4, 5), (4, 1)), ((3, 5), (5,)), ((2, 5), (2, 6))):
        expect.raises("ValueError", learner.mimic_loss, torch.ones(first), torch.ones(second),
                      why=f"the student's logits are {first} and the teacher's {second}")


def _check_mimic(learner, student, teacher):
    got = _number(learner.mimic_loss(student, teacher))
    images, classes = student.shape
    away = student.double() - teacher.double()
    total = float((away**2).sum())
    p, q = _softmax(student, 1), _softmax(teacher, 1)
    expect.close(got, total / 2 / images, f"the loss of logits {tuple(student.shape)}", rtol=1e-5, causes={
        "The ½ is missing.": total / images,
        "The mean runs over images and classes; an image's classes are added up.": total / 2 / images / classes,
        "The mean runs over images and classes, where classes are added up, and the ½ is missing.":
            total / images / classes,
        "It is a sum over the images, not a mean.": total / 2,
        "The mean runs over the classes and the sum over the images; it is the other way round.": total / 2 / classes,
        "A shift of all logits of an image is left out: its mean is subtracted.":
            float((away - away.mean(1, keepdim=True)).square().sum()) / 2 / images,
        "Probabilities are compared, not logits.": float(((p - q) ** 2).sum()) / 2 / images,
        "Distances are compared without a square.": float((student - teacher).norm(dim=1).mean()),
        "Half the distances are averaged; they aren't squared.": float((student - teacher).norm(dim=1).mean()) / 2,
        "Differences without their squares are added up.": float((student - teacher).abs().sum()) / 2 / images,
    }, next_step="Take a batch of one image with two classes, and work it out by hand.")


@check("distillation_loss", weight=2)
def losses_of_two_students_differ_as_the_formula_says(learner, reference, rng):
    """From one student to another, the loss changes as w·T²·soft + (1 − w)·hard does"""
    for temperature, weight in ((4.0, 0.9), (1.0, 0.5), (20.0, 1.0), (2.0, 0.0)):
        _check_distillation(learner, rng, (3, 5), temperature, weight)


@check("distillation_loss", weight=2)
def nothing_is_left_to_learn_at_the_teacher(learner, reference, rng):
    """Taught by the teacher alone, the gradient is 0 where student = teacher, or differs by the same for all classes"""
    teacher, labels = _normal(rng, 4, 6) * 2, _labels(rng, 4, 6)
    for student in (teacher, teacher + 3):
        got = _pull(learner, student, teacher, labels, 3.0, 1.0)
        expect.close(got, torch.zeros(4, 6), "the gradient where the student says what its teacher says", atol=1e-7,
                     cause="Teacher and student are softened differently, labels count although soft_weight is 1, or "
                           "it isn't a cross-entropy of their probabilities.",
                     next_step="At which temperature are the teacher's probabilities taken, at which the student's?")


@check("distillation_loss", weight=2)
def the_pull_of_teacher_and_label(learner, reference, rng):
    """The gradient is w·T·(q − p)/N for the soft part and (1 − w)·(q¹ − label)/N for the hard one"""
    for temperature, weight in ((5.0, 1.0), (3.0, 0.5), (0.5, 0.8), (2.0, 0.0)):
        _check_pull(learner, _normal(rng, 4, 6), _normal(rng, 4, 6) * 2, _labels(rng, 4, 6), temperature, weight)


@check("distillation_loss")
def the_pull_keeps_its_size(learner, reference, rng):
    """With T², the soft gradient tends to the difference of centred logits over C·N as T grows, not to nothing"""
    student, teacher, labels = _normal(rng, 3, 5), _normal(rng, 3, 5) * 2, _labels(rng, 3, 5)
    away = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    for temperature in (300.0, 1000.0):
        got = _pull(learner, student, teacher, labels, temperature, 1.0)
        expect.close(got, away / 15, f"the gradient at T = {temperature:g}", rtol=0.05, atol=0.005, causes={
            "T² is missing: the gradient falls off with the square of the temperature.": away / 15 / temperature**2,
            "T stands where T² should: the gradient still falls off.": away / 15 / temperature,
            "It is a mean over the classes, too.": away / 75,
            "It is a sum over the images, not a mean.": away / 5,
        }, next_step="One 1/T comes from z/T, another from q − p, which shrinks: what makes up for both?")


@check("distillation_loss", weight=0.5)
def a_given_teacher_does_not_learn(learner, reference, rng):
    """Nothing flows back to the teacher's logits"""
    _check_no_gradient(learner.distillation_loss, (_normal(rng, 3, 4), _normal(rng, 3, 4)), 1,
                       (_labels(rng, 3, 4), 2.0, 0.7))


@check("distillation_loss", weight=0.5)
def distillation_refuses_what_makes_no_sense(learner, reference, rng):
    """A temperature that isn't above 0, or a weight outside 0 to 1, is a ValueError"""
    z = torch.zeros(2, 3)
    for temperature, weight in ((0.0, 0.5), (-2.0, 0.5), (2.0, -0.1), (2.0, 1.5)):
        expect.raises("ValueError", learner.distillation_loss, z, z, torch.zeros(2, dtype=torch.int64), temperature,
                      weight, why=f"temperature is {temperature:g} and soft_weight {weight:g}")


def _formula_pull(student, teacher, labels, temperature, weight) -> Tensor:
    right = functional.one_hot(labels, student.shape[1])
    soft = temperature * (_softmax(student, temperature) - _softmax(teacher, temperature))
    return (weight * soft + (1 - weight) * (_softmax(student, 1) - right)) / len(student)


def _pull(learner, student, teacher, labels, temperature, weight) -> Tensor:
    given = () if temperature is None else (temperature, weight)
    return _gradients(learner.distillation_loss, (student, teacher), (True, False), (labels, *given))[0]


def _check_pull(learner, student, teacher, labels, temperature, weight):
    got = _pull(learner, student, teacher, labels, temperature, weight)
    usual = " (none given)" if temperature is None else ""
    temperature, weight = (4.0, 0.9) if temperature is None else (temperature, weight)
    images, classes = student.shape
    want = _formula_pull(student, teacher, labels, temperature, weight)
    hard = _formula_pull(student, teacher, labels, temperature, 0.0)
    soft = _formula_pull(student, teacher, labels, temperature, 1.0)
    at_one = weight * temperature**2 * (_softmax(student, 1) - _softmax(teacher, temperature)) / images
    other = (_softmax(student, temperature) - functional.one_hot(labels, classes)) / temperature / images
    softer = temperature * (_softmax(student, temperature) - _softmax(teacher, 1)) / images
    expect.close(got, want, f"the gradient at T = {temperature:.3g}, soft_weight = {weight:.3g}{usual}", rtol=1e-4,
                 atol=1e-7, causes={
                     "T² is missing.": weight / temperature**2 * soft + (1 - weight) * hard,
                     "T stands where T² should.": weight / temperature * soft + (1 - weight) * hard,
                     "It is divided by T², not multiplied.": weight / temperature**4 * soft + (1 - weight) * hard,
                     "T² multiplies the labels' part, too.": weight * soft + temperature**2 * (1 - weight) * hard,
                     "The weights are swapped.": (1 - weight) * soft + weight * hard,
                     "The labels' part is not weighted by 1 − w.": weight * soft + hard,
                     "Neither part is weighted.": soft + hard,
                     "The teacher is softened, the student isn't.": at_one + (1 - weight) * hard,
                     "The student is softened, the teacher isn't.": weight * softer + (1 - weight) * hard,
                     "The labels are compared at temperature T; they are at 1.": weight * soft + (1 - weight) * other,
                     "The labels' part is missing.": weight * soft,
                     "The soft part is missing.": (1 - weight) * hard,
                     "Nothing is softened.": weight * _formula_pull(student, teacher, labels, 1.0, 1.0)
                         + (1 - weight) * hard,
                     "The soft part is a mean over the classes, too.": weight / classes * soft + (1 - weight) * hard,
                     "The divergence is taken the other way round, from the student to the teacher.":
                         _reverse_pull(student, teacher, temperature, weight) + (1 - weight) * hard,
                     "kl_div is given the student's probabilities; it takes their logarithms.":
                         _pull_without_logarithm(student, teacher, temperature, weight) + (1 - weight) * hard,
                     "cross_entropy is given the student's probabilities; it takes logits and softens them itself.":
                         _pull_softened_twice(student, teacher, temperature, weight) + (1 - weight) * hard,
                     "It is a sum over the images, not a mean.": images * want,
                 }, next_step="Set soft_weight to 0, then to 1: which of the two parts is off?")


def _reverse_pull(student, teacher, temperature, weight) -> Tensor:
    """Of Σ q (ln q − ln p), the divergence from the student's side."""
    q = _softmax(student, temperature)
    apart = _log_softmax(student, temperature) - _log_softmax(teacher, temperature)
    return weight * temperature * q * (apart - (q * apart).sum(1, keepdim=True)) / len(student)


def _pull_without_logarithm(student, teacher, temperature, weight) -> Tensor:
    """Of Σ p (ln p − q), what kl_div makes of probabilities."""
    q, p = _softmax(student, temperature), _softmax(teacher, temperature)
    return -weight * temperature * q * (p - (p * q).sum(1, keepdim=True)) / len(student)


def _pull_softened_twice(student, teacher, temperature, weight) -> Tensor:
    """Of the cross-entropy of p with the softmax of q."""
    q, p = _softmax(student, temperature), _softmax(teacher, temperature)
    apart = _softmax(q, 1.0) - p
    return weight * temperature * q * (apart - (q * apart).sum(1, keepdim=True)) / len(student)


def _check_distillation(learner, rng, shape, temperature, weight):
    """Two students of one teacher: whatever of the loss is the teacher's alone, such as its entropy, cancels out."""
    teacher, labels = _normal(rng, *shape) * 3, _labels(rng, *shape)
    students = _normal(rng, *shape), _normal(rng, *shape) * 2
    losses = [_number(learner.distillation_loss(student, teacher, labels, temperature, weight)) for student in students]
    p, rows = _softmax(teacher, temperature), torch.arange(shape[0])

    def changes(at: float, targets: Tensor = p) -> tuple[float, float]:
        soft = [float(-(targets * _log_softmax(student, at)).sum(1).mean()) for student in students]
        hard = [float(-_log_softmax(student, 1)[rows, labels].mean()) for student in students]
        return soft[0] - soft[1], hard[0] - hard[1]

    soft, hard = changes(temperature)
    square, truth = temperature**2, functional.one_hot(labels, shape[1])
    backwards = [float((_softmax(student, temperature) * (_log_softmax(student, temperature)
                 - _log_softmax(teacher, temperature))).sum(1).mean()) for student in students]
    expect.close(losses[0] - losses[1], weight * square * soft + (1 - weight) * hard,
                 f"the loss of one student less that of another, T = {temperature:.3g}, soft_weight = {weight:.3g}",
                 rtol=1e-4, atol=1e-5, causes={
                     "T² is missing.": weight * soft + (1 - weight) * hard,
                     "T stands where T² should.": weight * temperature * soft + (1 - weight) * hard,
                     "T² multiplies the labels' part, too.": square * (weight * soft + (1 - weight) * hard),
                     "The weights are swapped.": (1 - weight) * square * soft + weight * hard,
                     "It is divided by T², not multiplied.": weight / square * soft + (1 - weight) * hard,
                     "The labels' part is not weighted by 1 − w.": weight * square * soft + hard,
                     "Neither part is weighted.": square * soft + hard,
                     "The labels are compared at temperature T; they are at 1.":
                         weight * square * soft + (1 - weight) * changes(temperature, truth)[0],
                     "The soft part is a mean over the classes, too.":
                         weight * square * soft / shape[1] + (1 - weight) * hard,
                     "The divergence is taken the other way round, from the student to the teacher.":
                         weight * square * (backwards[0] - backwards[1]) + (1 - weight) * hard,
                     "The teacher is softened, the student isn't.":
                         weight * square * changes(1.0)[0] + (1 - weight) * hard,
                     "The student is softened, the teacher isn't.":
                         weight * square * changes(temperature, _softmax(teacher, 1))[0] + (1 - weight) * hard,
                     "It is a sum over the images, not a mean.":
                         shape[0] * (weight * square * soft + (1 - weight) * hard),
                 }, next_step="Write the two parts down for one image and two classes, with soft_weight 1 first.")


@check("hint_loss", weight=2)
def regressor_comes_between(learner, reference, rng):
    """Half the squared distance of the hint from what a regressor makes of the guided layer"""
    for sizes in ((3, 6, 2, 4, 4, 2, 2), (4, 2, 5, 1, 3, 3, 1), (1, 3, 2, 5, 4, 1, 1)):
        _check_hint(learner, rng, *sizes)


@check("hint_loss")
def a_perfect_guess_costs_nothing(learner, reference, rng):
    """The loss is 0 where the regressor gives the hint, and so are the gradients"""
    hint, guided, kernel, bias = _hint(rng, 2, 4, 3, 5, 4, 3, 2)
    hint = functional.conv2d(guided, kernel, bias).relu()
    expect.close(_number(learner.hint_loss(hint, guided, kernel, bias)), 0.0, "the loss of a perfect guess", atol=1e-12,
                 cause="The regressor isn't a convolution without padding followed by a ReLU.",
                 next_step="Print hint and guess side by side: where do they differ?")
    for got in _gradients(learner.hint_loss, (hint, guided, kernel, bias), (False, True, True, True)):
        expect.close(got, torch.zeros_like(got), "a gradient at a perfect guess", atol=1e-9,
                     next_step="Differentiate a half of a squared distance where the distance is 0.")


@check("hint_loss", weight=1.5)
def student_and_regressor_learn(learner, reference, rng):
    """Guided layer, kernel and bias get their gradients, the hint gets none"""
    given = _hint(rng, 3, 4, 2, 4, 5, 2, 3)
    own = [value.clone().requires_grad_() for value in given[1:]]
    want = torch.autograd.grad((given[0] - functional.conv2d(*own).relu()).square().sum() / 6, own)
    found = _gradients(learner.hint_loss, given, (False, True, True, True))
    for got, right, name in zip(found, want, ("the guided layer", "the kernel", "the bias"), strict=True):
        expect.close(got, right, f"the gradient by {name}", rtol=1e-5, causes={
            "It is the other way round.": -right, "It is twice too large: the ½ is missing.": 2 * right,
            "Nothing flows back: is it cut off by detach or item?": torch.zeros_like(right),
            "It is a sum over the images, not a mean.": 3 * right,
            "The mean runs over channels and places, too; they are added up.": right / given[0][0].numel(),
        }, next_step="Follow the gradient from the loss to the ReLU, to the convolution.")
    _check_no_gradient(learner.hint_loss, given[:1], 0, given[1:])


@check("hint_loss", weight=0.5)
def the_guess_must_fit(learner, reference, rng):
    """A regressor whose output has another shape than the hint is a ValueError, also where it could be stretched"""
    for height, width, channels in ((1, 1, 4), (3, 3, 1), (5, 5, 4)):
        hint = torch.ones(2, channels, height, width)
        expect.raises("ValueError", learner.hint_loss, hint, torch.ones(2, 3, 4, 4), torch.ones(4, 3, 2, 2),
                      torch.zeros(4), why=f"the hint is {tuple(hint.shape)} and the regressor puts out (2, 4, 3, 3)")


def _hint(rng, images, outputs, channels, height, width, high, wide) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hint, guided layer, kernel and bias; hint and guided layer have gone through a ReLU."""
    return (_normal(rng, images, outputs, height, width).relu(),
            _normal(rng, images, channels, height + high - 1, width + wide - 1).relu(),
            _normal(rng, outputs, channels, high, wide), _normal(rng, outputs))


def _check_hint(learner, rng, *sizes):
    given = hint, guided, kernel, bias = _hint(rng, *sizes)
    got = _number(learner.hint_loss(*given))

    def half(guess: Tensor) -> float:
        return float((hint - guess).square().sum()) / 2

    line, images = functional.conv2d(guided, kernel, bias), len(hint)
    want = half(line.relu()) / images
    flipped = functional.conv2d(guided, kernel.flip(2, 3), bias).relu()
    causes = {
        "The ReLU after the regressor is missing.": half(line) / images,
        "The regressor's bias is missing.": half(functional.conv2d(guided, kernel).relu()) / images,
        "The ½ is missing.": 2 * want,
        "It is a sum over the images, not a mean.": images * want,
        "The mean runs over channels and places, too; they are added up.": images * want / hint.numel(),
        "The mean runs over everything, and the ½ is missing.": 2 * images * want / hint.numel(),
        "The kernel is turned over; a convolution layer doesn't do that.": half(flipped) / images,
        "Distances are compared without a square.": float((hint - line.relu()).flatten(1).norm(dim=1).mean()) / 2,
        "Differences are added up without their squares.": float((hint - line.relu()).abs().sum()) / 2 / images,
        "The bias is added behind the ReLU.":
            half(functional.conv2d(guided, kernel).relu() + bias[:, None, None]) / images,
    }
    expect.close(got, want, f"the loss for a hint {tuple(hint.shape)} and a guided layer {tuple(guided.shape)}",
                 rtol=1e-5, causes=causes, next_step="Compute the guess first and compare its shape with the hint's; "
                 "then the squares, then the sums.")


@check("ensemble_targets", weight=2)
def both_means_are_those_of_the_formula(learner, reference, rng):
    """The arithmetic mean of the probabilities, and the geometric one, made to add up to 1"""
    for members, temperature in ((2, 1.0), (5, 4.0), (3, 0.5)):
        for mean in ("arithmetic", "geometric"):
            _check_targets(learner, _normal(rng, members, 4, 6) * 3, temperature, mean)


@check("ensemble_targets")
def targets_are_probabilities(learner, reference, rng):
    """Every row adds up to 1; one member, or several that agree, are followed; their order is of no interest"""
    logits = _normal(rng, 4, 3, 5) * 4
    for mean in ("arithmetic", "geometric"):
        got = _targets(learner, logits, 2.0, mean)
        expect.close(got.sum(1), torch.ones(3), f"the sums over the classes, {mean} mean", rtol=EXACT,
                     cause="A geometric mean of probabilities adds up to less than 1 where members differ."
                     if mean == "geometric" else "", next_step="Divide by what the row adds up to.")
        expect.close(_targets(learner, logits.flip(0), 2.0, mean), got, f"the {mean} mean of members in another order",
                     rtol=EXACT, next_step="Which axis holds the members?")
        for alike in (logits[:1], logits[:1].expand(3, 3, 5).clone()):
            expect.close(_targets(learner, alike, 2.0, mean), _softmax(logits[0], 2), "the mean of members that agree",
                         rtol=1e-5, next_step="A mean of equal numbers is that number.")


@check("ensemble_targets")
def a_geometric_mean_is_a_veto(learner, reference, rng):
    """What one member all but excludes is all but excluded by the geometric mean, and only halved by the arithmetic"""
    logits = torch.tensor([[[0.0, 0.0, -80.0]], [[0.0, 0.0, 8.0]]])
    arithmetic, geometric = (float(_targets(learner, logits, 1.0, mean)[0, 2]) for mean in ("arithmetic", "geometric"))
    expect.that(0.49 < arithmetic < 0.51, "a third class of about a half, by the arithmetic mean", f"{arithmetic:.4g}",
                cause=_mean_mistake(logits, arithmetic), next_step="Average probabilities, not logits.")
    expect.that(geometric < 1e-6, "a third class of nearly 0, by the geometric mean", f"{geometric:.4g}",
                cause="That is an arithmetic mean." if geometric > 0.4 else
                "Something keeps small probabilities from being smaller: a number added to them, or a bound.",
                next_step="√(a·b) of nearly 0 and nearly 1: what is it?")


@check("ensemble_targets", weight=0.5)
def ensembles_of_large_logits(learner, reference, rng):
    """Logits in the ten thousands give probabilities, not NaN"""
    extreme = torch.tensor(EXTREME, dtype=torch.float64)
    for logits in (torch.stack([extreme, extreme.flip(1)]), torch.stack([extreme, torch.zeros(3, 3)])):
        for mean in ("arithmetic", "geometric"):
            got = _targets(learner, logits, 1.0, mean)
            expect.that(bool(got.isfinite().all()), "finite numbers", expect.show(got),
                        cause="A product of probabilities that are 0 in floating point, or an exponential that doesn't "
                              "fit.", next_step="Stay with logarithms until the last step.")
            _compare_targets(got, logits, 1.0, mean)


@check("ensemble_targets", weight=0.5)
def other_means_are_refused(learner, reference, rng):
    """Another mean than the two, or a temperature that isn't above 0, is a ValueError"""
    logits = torch.zeros(2, 1, 3)
    for temperature, mean in ((1.0, "harmonic"), (1.0, ""), (0.0, "arithmetic"), (-1.0, "geometric")):
        expect.raises("ValueError", learner.ensemble_targets, logits, temperature, mean,
                      why=f"temperature is {temperature:g} and mean is {mean!r}")


def _mean_mistake(logits: Tensor, got: float) -> str:
    """The mistake behind a third class that isn't about a half: empty if unknown."""
    of_logits = float(_softmax(logits.mean(0), 1)[0, 2])
    known = math.isclose(got, of_logits, abs_tol=1e-6)
    return "That is the geometric mean; a mean of the logits gives it, too." if known else ""


def _targets(learner, logits, temperature, mean) -> Tensor:
    got = learner.ensemble_targets(logits, temperature, mean)
    expect.shape(got, tuple(logits.shape[1:]), f"the targets of logits {tuple(logits.shape)}",
                 cause="The mean runs over the members, the first axis.",
                 next_step="What remains is one row for each image, one column for each class.")
    return torch.as_tensor(got).detach().double()


def _check_targets(learner, logits, temperature, mean):
    _compare_targets(_targets(learner, logits, temperature, mean), logits, temperature, mean)


def _compare_targets(got, logits, temperature, mean):
    logs = torch.stack([_log_softmax(member, temperature) for member in logits])
    arithmetic, geometric = logs.exp().mean(0), logs.mean(0).exp()
    whole = geometric / geometric.sum(1, keepdim=True)
    geometric_of_far = torch.where(geometric.sum(1, keepdim=True) > 0, whole, _softmax(logs.mean(0), 1.0))
    want = arithmetic if mean == "arithmetic" else geometric_of_far
    expect.close(got, want, f"the {mean} mean of {len(logits)} members at T = {temperature:.3g}", rtol=1e-5, atol=1e-7,
                 causes={
                     "That is the other mean.": geometric_of_far if mean == "arithmetic" else arithmetic,
                     "It isn't made to add up to 1 again.": geometric,
                     "The temperature isn't used.": torch.stack([_softmax(member, 1) for member in logits]).mean(0)
                     if mean == "arithmetic" else _softmax(logits.double().mean(0), 1.0),
                     "The temperature is used after the mean, not for each member before it.":
                         _softmax(torch.stack([_log_softmax(member, 1) for member in logits]).exp().mean(0)
                                  .clamp_min(1e-300).log(), temperature),
                     "These are sums over the members, not means.": logs.exp().sum(0),
                     **{f"{small:g} is added to the probabilities before the logarithm.":
                        _softmax((logs.exp() + small).log().mean(0), 1.0) for small in (1e-6, 1e-8, 1e-10, 1e-12)
                        if mean == "geometric"},
                     "The members' products are made to add up to 1 without the root.": _softmax(logs.sum(0), 1.0),
                 }, next_step="Two members, two classes: write all four probabilities down, then the mean.")


@check("unbias", weight=2)
def no_bias_makes_fewer_mistakes(learner, reference, rng):
    """With the bias that is returned, as few images are misread as with the best of all"""
    for classes in ((3,), (0,), (1, 4)):
        _check_bias(learner, *_biased(rng, 60, 6, classes, 2.0), classes)


@check("unbias")
def the_right_images_are_counted(learner, reference, rng):
    """Images won from among the raised classes count, images lost from among the others do too"""
    few = torch.tensor([[5.0, 1.0], [3.0, 1.0], [4.0, 1.0]])
    _check_bias(learner, few, torch.tensor([0, 1, 1]), (1,))
    dear = torch.tensor([[3.0, 1.0], [3.5, 1.0], [4.0, 1.0], [7.0, 1.0]])
    _check_bias(learner, dear, torch.tensor([0, 0, 0, 1]), (1,))  # three would be lost for one
    _check_bias(learner, torch.tensor([[0.0, 4.0], [0.0, 6.0], [2.0, 3.0]]), torch.tensor([0, 1, 0]), (1,))  # lower it
    for logits, label in (([[5.0, 1.0], [3.0, 1.5], [4.0, 1.5]], 1), ([[0.0, 4.0], [0.0, 6.0], [0.0, 4.5]], 0)):
        _check_bias(learner, torch.tensor(logits), torch.tensor([label] * 3), (1,))  # beyond all edges


@check("unbias", weight=0.5)
def good_students_are_left_in_peace(learner, reference, rng):
    """Where all is right already, and where nothing can be won, no image is lost"""
    labels = torch.tensor([0, 1, 2, 2])
    _check_bias(learner, 4 * functional.one_hot(labels, 3).double(), labels, (2,))
    _check_bias(learner, torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([0]), (2,))


@check("unbias", weight=0.5)
def some_classes_not_all(learner, reference, rng):
    """No class, all classes, or one that there isn't, is a ValueError"""
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    for classes in ((), (0, 1, 2), (3,), (-1,)):
        expect.raises("ValueError", learner.unbias, logits, labels, classes,
                      why=f"there are the classes 0 to 2 and classes is {classes}")


def _biased(rng, images, count, classes, shift) -> tuple[Tensor, Tensor]:
    """Logits of a fair student whose chosen classes are too low by about shift, and labels; no image's logits tie."""
    labels = _labels(rng, images, count)
    logits = _normal(rng, images, count) * 2 + 3 * functional.one_hot(labels, count)
    logits[:, list(classes)] -= shift
    return (logits * 64).round() / 64 + torch.arange(count) / 1024, labels  # binary fractions: sums are exact


def _mistakes(logits: Tensor, labels: Tensor, classes, bias: float) -> int:
    """Images whose right class isn't ahead of all others by itself."""
    shifted = logits.double().clone()
    shifted[:, list(classes)] += bias
    right = shifted.gather(1, labels[:, None])
    return int((shifted.scatter(1, labels[:, None], -torch.inf) >= right).any(1).sum())


def _check_bias(learner, logits, labels, classes):
    got = learner.unbias(logits, labels, classes)
    plain = isinstance(got, int | float | np.generic) or (isinstance(got, Tensor) and got.numel() == 1)
    expect.that(plain and math.isfinite(float(got)), "a finite number", expect.show(got),
                next_step="Return one float, also where no class is worth raising.")
    bias = float(got)
    others = [number for number in range(logits.shape[1]) if number not in classes]
    edges = (logits[:, others].double().max(1).values - logits[:, list(classes)].double().max(1).values).unique()
    tries = torch.cat([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1]).tolist()
    fewest = min(_mistakes(logits, labels, classes, one) for one in tries)
    mine = _mistakes(logits, labels, classes, bias)
    cause = "" if mine == fewest else _bias_mistake(logits, labels, classes, bias, edges, tries)
    expect.that(mine <= fewest, f"a bias for classes {classes} with which {fewest} of {len(labels)} images are misread",
                f"{bias:.6g}, with which {mine} are", cause=cause,
                next_step="At which bias does each image change its answer? Count the mistakes between those.")


def _bias_mistake(logits, labels, classes, bias, edges, tries) -> str:
    """The mistake that a bias with too many misread images comes from; empty if it is none of what is known."""
    among = torch.tensor([int(label) in classes for label in labels])

    def mistakes(which: Tensor, one: float) -> int:
        return _mistakes(logits[which], labels[which], classes, one)

    everywhere = torch.ones_like(among)
    fewest = min(mistakes(everywhere, one) for one in tries)
    best = [one for one in tries if mistakes(everywhere, one) == fewest]
    raised, others = (logits[:, [number for number in range(logits.shape[1]) if (number in classes) == wanted]].double()
                      for wanted in (True, False))
    away = others.max(1).values - raised.max(1).values
    if bias != 0 and mistakes(everywhere, -bias) == fewest:
        return "It is to be subtracted; asked for is what is added."
    if bool((edges - bias).abs().min() < 1e-9):
        return "It lies on an edge, where two logits tie."
    if math.isclose(bias, float(away.mean()), abs_tol=1e-6) or math.isclose(bias, float(away.median()), abs_tol=1e-6):
        return "That is a mean or a median of distances; what counts is how many images change to right and to wrong."
    if not any(edges[0] < one < edges[-1] for one in best) and bool(edges[0] <= bias <= edges[-1] or bias == 0):
        return "The best bias lies below all edges or above them: there, too, is a place to try."
    if bias == 0 and max(best) < 0:
        return "Classes may also be too high: a bias can be below 0."
    if int((away < bias).sum()) == int(among.sum()):
        return "The classes are answered as often as they come, and that doesn't make the fewest mistakes."
    if bool(among.any()) and bias > max(best) and mistakes(among, bias) == min(mistakes(among, one) for one in tries):
        return "Only the images of the raised classes are counted; others are lost for them."
    own = away[among].unique()
    if bool((((own[1:] + own[:-1]) / 2 - bias).abs() < 1e-6).any()):
        return "Only images of the raised classes are asked where they change their answer; all others change it, too."
    if abs(100 * bias - round(100 * bias)) < 1e-6:
        return "It seems to be one of a grid, and the best bias lies between its points, or beyond them."
    return ""


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def _labels(rng: np.random.Generator, images: int, classes: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, classes, images))


def _number(value) -> float:
    expect.that(isinstance(value, Tensor | int | float) and (not isinstance(value, Tensor) or value.numel() == 1),
                "a single number", expect.show(value), cause="The loss is one number for the whole batch.",
                next_step="Add up over the classes, average over the images.")
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


def _gradients(loss, given, wanted, more=()) -> list[Tensor]:
    """The loss's gradients by the arguments that are wanted; zeros where it doesn't depend on one."""
    own = [value.detach().clone().requires_grad_(want) for value, want in zip(given, wanted, strict=True)]
    value = loss(*own, *more)
    expect.that(isinstance(value, Tensor) and value.requires_grad, "a loss that has a gradient", expect.show(value),
                cause="It was made a plain number on the way, or cut off.",
                next_step="No item, no detach and no NumPy on the student's side.")
    _number(value)
    leaves = [leaf for leaf, want in zip(own, wanted, strict=True) if want]
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if got is None else got for got, leaf in zip(found, leaves, strict=True)]


def _check_no_gradient(loss, given, teacher: int, more=()) -> None:
    """Nothing flows back to one of the arguments, though it could."""
    own = [value.detach().clone().requires_grad_(number == teacher) for number, value in enumerate(given)]
    value = loss(*own, *more)
    if not (isinstance(value, Tensor) and value.requires_grad):
        return
    (got,) = torch.autograd.grad(value, own[teacher], allow_unused=True)
    expect.that(got is None or bool((got == 0).all()), "no gradient for the teacher", expect.show(got),
                cause="The teacher would be pulled towards its student.",
                next_step="What cuts a tensor off from where it came from?")
