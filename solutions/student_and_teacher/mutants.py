"""Unit 11, student and teacher: wrong answers that some check must reject, and right ones that all must accept."""

import math

import numpy as np
import torch
from torch.nn import functional

from nutshell.checks import alternative, mutant

# soften --------------------------------------------------------------------------------------------------------------


def _above_zero(temperature):
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}")


@mutant("soften")
def soften_multiplies(logits, temperature=1.0):
    """Multiplies by the temperature"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits * temperature, dim=1)
    return logs.exp(), -(logs.exp() * logs).sum(1)


@mutant("soften")
def soften_after_the_softmax(logits, temperature=1.0):
    """Divides the probabilities, not the logits"""
    _above_zero(temperature)
    p = logits.softmax(1) / temperature
    return p, -torch.special.xlogy(p, p).sum(1)


@mutant("soften")
def soften_over_images(logits, temperature=1.0):
    """Softmax over the images"""
    _above_zero(temperature)
    p = (logits / temperature).softmax(0)
    return p, -torch.special.xlogy(p, p).sum(1)


@mutant("soften")
def soften_by_hand(logits, temperature=1.0):
    """exp over its sum: large logits overflow, and 0·ln 0 is NaN"""
    _above_zero(temperature)
    powers = (logits / temperature).exp()
    p = powers / powers.sum(1, keepdim=True)
    return p, -(p * p.log()).sum(1)


@mutant("soften")
def soften_in_bits(logits, temperature=1.0):
    """The entropy in bits"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=1)
    return logs.exp(), -(logs.exp() * logs).sum(1) / math.log(2)


@mutant("soften")
def soften_with_the_entropy_at_one(logits, temperature=1.0):
    """The entropy of the probabilities at temperature 1"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits, dim=1)
    return (logits / temperature).softmax(1), -(logs.exp() * logs).sum(1)


@mutant("soften")
def soften_with_negative_entropy(logits, temperature=1.0):
    """Forgets the minus"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=1)
    return logs.exp(), (logs.exp() * logs).sum(1)


@mutant("soften")
def soften_at_any_temperature(logits, temperature=1.0):
    """Temperatures below zero pass in silence"""
    logs = functional.log_softmax(logits / temperature, dim=1)
    return logs.exp(), -(logs.exp() * logs).sum(1)


@alternative("soften")
def soften_with_xlogy(logits, temperature=1.0):
    """The largest logit subtracted by hand, and an x·ln x that is 0 at 0"""
    if temperature <= 0:
        raise ValueError("temperature")
    shifted = (logits - logits.amax(1, keepdim=True)) / temperature
    powers = torch.exp(shifted)
    p = powers / powers.sum(1, keepdim=True)
    return p, -torch.special.xlogy(p, p).sum(dim=1)


@alternative("soften")
def soften_by_torch_distributions(logits, temperature=1.0):
    """torch's own categorical distribution"""
    if not temperature > 0:
        raise ValueError("temperature")
    found = torch.distributions.Categorical(logits=logits / temperature)
    return found.probs, found.entropy()


# mimic_loss ----------------------------------------------------------------------------------------------------------


def _one_shape(student, teacher):
    if student.shape != teacher.shape:
        raise ValueError("shapes")


@mutant("mimic_loss")
def mimic_by_mse(student, teacher):
    """torch's mean squared error, which runs over the classes too"""
    _one_shape(student, teacher)
    return functional.mse_loss(student, teacher.detach())


@mutant("mimic_loss")
def mimic_without_half(student, teacher):
    """No ½"""
    _one_shape(student, teacher)
    return (student - teacher.detach()).square().sum(1).mean()


@mutant("mimic_loss")
def mimic_of_probabilities(student, teacher):
    """Compares probabilities"""
    _one_shape(student, teacher)
    return (student.softmax(1) - teacher.detach().softmax(1)).square().sum(1).mean() / 2


@mutant("mimic_loss")
def mimic_that_teaches_the_teacher(student, teacher):
    """The teacher gets a gradient"""
    _one_shape(student, teacher)
    return (student - teacher).square().sum(1).mean() / 2


@mutant("mimic_loss")
def mimic_that_stretches(student, teacher):
    """Shapes that can be stretched to fit pass in silence"""
    return (student - teacher.detach()).square().sum(1).mean() / 2


@mutant("mimic_loss")
def mimic_of_centred_logits(student, teacher):
    """Subtracts each image's mean first: a shift of all logits costs nothing"""
    _one_shape(student, teacher)
    away = student - teacher.detach()
    return (away - away.mean(1, keepdim=True)).square().sum(1).mean() / 2


@mutant("mimic_loss")
def mimic_as_a_sum(student, teacher):
    """A sum over the images"""
    _one_shape(student, teacher)
    return (student - teacher.detach()).square().sum() / 2


@alternative("mimic_loss")
def mimic_by_mse_with_sum(student, teacher):
    """torch's squared error, summed, then divided"""
    if tuple(student.size()) != tuple(teacher.size()):
        raise ValueError(f"{student.size()} and {teacher.size()}")
    return 0.5 * functional.mse_loss(student, teacher.detach(), reduction="sum") / student.size(0)


@alternative("mimic_loss")
def mimic_by_einsum(student, teacher):
    """Products of differences, the target a new tensor"""
    if student.shape != teacher.shape:
        raise ValueError("two shapes")
    away = student - torch.tensor(teacher.tolist(), dtype=student.dtype)
    return torch.einsum("nc,nc->n", away, away).div(2).mean()


# distillation_loss ---------------------------------------------------------------------------------------------------


def _sensible(temperature, soft_weight):
    if temperature <= 0 or not 0 <= soft_weight <= 1:
        raise ValueError(f"temperature {temperature}, weight {soft_weight}")


def _both(student, teacher, labels, temperature, soft_weight, factor, at=None, teacher_at=None, labels_at=1.0):
    targets = (teacher.detach() / (teacher_at or temperature)).softmax(1)
    soft = functional.cross_entropy(student / (at or temperature), targets)
    return soft_weight * factor * soft + (1 - soft_weight) * functional.cross_entropy(student / labels_at, labels)


@mutant("distillation_loss")
def distillation_without_square(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """T² is missing"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, 1)


@mutant("distillation_loss")
def distillation_with_one_temperature(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """T in place of T²"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, temperature)


@mutant("distillation_loss")
def distillation_with_a_hard_student(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The teacher is softened, the student isn't"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, temperature**2, at=1.0)


@mutant("distillation_loss")
def distillation_with_a_hard_teacher(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The student is softened, the teacher isn't"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, temperature**2, teacher_at=1.0)


@mutant("distillation_loss")
def distillation_with_soft_labels(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The labels' part is at temperature T, too"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, temperature**2, labels_at=temperature)


@mutant("distillation_loss")
def distillation_with_swapped_weights(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The weights are swapped"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, 1 - soft_weight, temperature**2)


@mutant("distillation_loss")
def distillation_that_teaches_the_teacher(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The teacher gets a gradient"""
    _sensible(temperature, soft_weight)
    soft = functional.cross_entropy(student / temperature, (teacher / temperature).softmax(1))
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_by_kl_div_as_it_comes(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """kl_div with its usual reduction, a mean over the classes too"""
    _sensible(temperature, soft_weight)
    logs = functional.log_softmax(student / temperature, dim=1)
    soft = functional.kl_div(logs, (teacher.detach() / temperature).softmax(1), reduction="none").mean()
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_by_kl_div_of_probabilities(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """kl_div without the logarithm of the student's probabilities"""
    _sensible(temperature, soft_weight)
    p, q = ((logits / temperature).softmax(1) for logits in (teacher.detach(), student))
    soft = functional.kl_div(q, p, reduction="batchmean")
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_softened_twice(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """Gives cross_entropy probabilities, which it softens once more"""
    _sensible(temperature, soft_weight)
    p, q = ((logits / temperature).softmax(1) for logits in (teacher.detach(), student))
    soft = functional.cross_entropy(q, p)
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_divided_by_the_square(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """Divides by T²"""
    _sensible(temperature, soft_weight)
    return _both(student, teacher, labels, temperature, soft_weight, 1 / temperature**2)


@mutant("distillation_loss")
def distillation_backwards(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The divergence of the student's probabilities from the teacher's: the two are swapped"""
    _sensible(temperature, soft_weight)
    logs = functional.log_softmax(teacher.detach() / temperature, dim=1)
    soft = functional.kl_div(logs, (student / temperature).softmax(1), reduction="batchmean")
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_by_log_of_softmax(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """A softmax and then a logarithm: minus infinity for large logits"""
    _sensible(temperature, soft_weight)
    q = (student / temperature).softmax(1).log()
    soft = -((teacher.detach() / temperature).softmax(1) * q).sum(1).mean()
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * functional.cross_entropy(student, labels)


@mutant("distillation_loss")
def distillation_at_any_weight(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """Weights above 1 pass in silence"""
    if temperature <= 0:
        raise ValueError(temperature)
    return _both(student, teacher, labels, temperature, soft_weight, temperature**2)


@alternative("distillation_loss")
def distillation_by_kl_div(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """The divergence, by kl_div with batchmean"""
    if not temperature > 0 or soft_weight < 0 or soft_weight > 1:
        raise ValueError("temperature or weight")
    targets = functional.softmax(teacher / temperature, dim=1).detach()
    soft = functional.kl_div(functional.log_softmax(student / temperature, 1), targets, reduction="batchmean")
    return soft_weight * soft * temperature**2 + functional.cross_entropy(student, labels) * (1.0 - soft_weight)


@alternative("distillation_loss")
def distillation_by_log_sum_exp(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """Logarithms of sums of exponentials, picking the label's logit"""
    if temperature <= 0 or abs(2 * soft_weight - 1) > 1:
        raise ValueError("no")
    with torch.no_grad():
        p = torch.softmax(teacher / temperature, dim=-1)
    scaled = student / temperature
    soft = torch.logsumexp(scaled, 1) - (p * scaled).sum(1)
    hard = torch.logsumexp(student, 1) - student[torch.arange(len(labels)), labels]
    return (soft_weight * temperature * temperature * soft + (1 - soft_weight) * hard).mean()


@alternative("distillation_loss")
def distillation_with_mixed_targets(student, teacher, labels, temperature=4.0, soft_weight=0.9):
    """Labels as one-hot targets, both parts by one function"""

    def against(targets, at):
        return -(targets * functional.log_softmax(student / at, dim=1)).sum(1).mean()

    if not (temperature > 0 and 0 <= soft_weight <= 1):
        raise ValueError("temperature or weight")
    right = functional.one_hot(labels, student.shape[1]).to(student.dtype)
    soft = against((teacher.detach() / temperature).softmax(1), temperature)
    return (temperature**2 * soft_weight) * soft + (1 - soft_weight) * against(right, 1)


# hint_loss -----------------------------------------------------------------------------------------------------------


def _fits(guess, hint):
    if guess.shape != hint.shape:
        raise ValueError(f"{guess.shape} and {hint.shape}")
    return guess


@mutant("hint_loss")
def hint_without_relu(hint, guided, kernel, bias):
    """No ReLU behind the regressor"""
    guess = _fits(functional.conv2d(guided, kernel, bias), hint)
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_by_mse(hint, guided, kernel, bias):
    """torch's mean squared error: a mean over channels and places, too"""
    guess = _fits(functional.conv2d(guided, kernel, bias).relu(), hint)
    return functional.mse_loss(guess, hint.detach()) / 2


@mutant("hint_loss")
def hint_without_half(hint, guided, kernel, bias):
    """No ½"""
    guess = _fits(functional.conv2d(guided, kernel, bias).relu(), hint)
    return (hint.detach() - guess).square().sum() / len(hint)


@mutant("hint_loss")
def hint_that_teaches_the_teacher(hint, guided, kernel, bias):
    """The hint gets a gradient"""
    guess = _fits(functional.conv2d(guided, kernel, bias).relu(), hint)
    return (hint - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_for_the_regressor_only(hint, guided, kernel, bias):
    """The student's layer gets no gradient: only the regressor learns"""
    guess = _fits(functional.conv2d(guided.detach(), kernel, bias).relu(), hint)
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_that_stretches(hint, guided, kernel, bias):
    """A hint of another shape is stretched to fit, in silence"""
    guess = functional.conv2d(guided, kernel, bias).relu()
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_without_bias(hint, guided, kernel, bias):
    """The bias is left out"""
    guess = _fits(functional.conv2d(guided, kernel).relu() + 0 * bias[:, None, None], hint)
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_with_the_bias_behind(hint, guided, kernel, bias):
    """Adds the bias after the ReLU"""
    guess = _fits(functional.conv2d(guided, kernel).relu() + bias[:, None, None], hint)
    return (hint.detach() - guess).square().sum() / (2 * len(hint))


@mutant("hint_loss")
def hint_of_distances(hint, guided, kernel, bias):
    """The norm without its square"""
    guess = _fits(functional.conv2d(guided, kernel, bias).relu(), hint)
    return (hint.detach() - guess).flatten(1).norm(dim=1).mean() / 2


@alternative("hint_loss")
def hint_by_unfold(hint, guided, kernel, bias):
    """Windows as columns, and a matrix product"""
    high, wide = kernel.shape[2:]
    size = guided.shape[2] - high + 1, guided.shape[3] - wide + 1
    if tuple(hint.shape) != (len(guided), len(kernel), *size):
        raise ValueError("the shapes don't fit")
    windows = functional.unfold(guided, (high, wide))
    guess = torch.clamp(kernel.flatten(1) @ windows + bias[:, None], min=0).view(hint.shape)
    return 0.5 * torch.sum((guess - hint.detach()) ** 2) / hint.shape[0]


@alternative("hint_loss")
def hint_by_summed_mse(hint, guided, kernel, bias):
    """torch's squared error, summed"""
    guess = functional.relu(functional.conv2d(guided, kernel) + bias.view(1, -1, 1, 1))
    if guess.size() != hint.size():
        raise ValueError("hint")
    with torch.no_grad():
        target = hint.clone()
    return functional.mse_loss(guess, target, reduction="sum").div(2 * guess.size(0))


# ensemble_targets ----------------------------------------------------------------------------------------------------


@mutant("ensemble_targets")
def targets_from_mean_logits(logits, temperature=1.0, mean="arithmetic"):
    """Averages logits in both cases"""
    _above_zero(temperature)
    if mean not in ("arithmetic", "geometric"):
        raise ValueError(mean)
    return (logits.mean(0) / temperature).softmax(1)


@mutant("ensemble_targets")
def targets_that_do_not_add_up(logits, temperature=1.0, mean="arithmetic"):
    """The geometric mean isn't made to add up to 1"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=2)
    if mean == "geometric":
        return logs.mean(0).exp()
    if mean == "arithmetic":
        return logs.exp().mean(0)
    raise ValueError(mean)


@mutant("ensemble_targets")
def targets_by_products(logits, temperature=1.0, mean="arithmetic"):
    """A product of probabilities, which underflows to 0 / 0"""
    _above_zero(temperature)
    p = (logits / temperature).softmax(2)
    if mean == "arithmetic":
        return p.mean(0)
    if mean != "geometric":
        raise ValueError(mean)
    roots = p.prod(0) ** (1 / len(p))
    return roots / roots.sum(1, keepdim=True)


@mutant("ensemble_targets")
def targets_with_a_small_number(logits, temperature=1.0, mean="arithmetic"):
    """Adds a small number before the logarithm, so that no member can rule a class out"""
    _above_zero(temperature)
    p = (logits / temperature).softmax(2)
    if mean == "arithmetic":
        return p.mean(0)
    if mean != "geometric":
        raise ValueError(mean)
    return (p + 1e-12).log().mean(0).softmax(1)


@mutant("ensemble_targets")
def targets_without_root(logits, temperature=1.0, mean="arithmetic"):
    """A product of experts: no M-th root, so sharper than any member"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=2)
    if mean == "arithmetic":
        return logs.exp().mean(0)
    if mean == "geometric":
        return logs.sum(0).softmax(1)
    raise ValueError(mean)


@mutant("ensemble_targets")
def targets_softened_afterwards(logits, temperature=1.0, mean="arithmetic"):
    """The members are averaged at temperature 1 and softened afterwards"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits, dim=2)
    if mean == "arithmetic":
        return (logs.exp().mean(0).log() / temperature).softmax(1)
    if mean == "geometric":
        return (logs.mean(0) / temperature).softmax(1)
    raise ValueError(mean)


@mutant("ensemble_targets")
def targets_by_members_of_images(logits, temperature=1.0, mean="arithmetic"):
    """Softmax over the members"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=0)
    if mean == "arithmetic":
        return logs.exp().mean(0)
    if mean == "geometric":
        return logs.mean(0).softmax(1)
    raise ValueError(mean)


@mutant("ensemble_targets")
def targets_of_any_mean(logits, temperature=1.0, mean="arithmetic"):
    """Whatever isn't arithmetic is taken for geometric"""
    _above_zero(temperature)
    logs = functional.log_softmax(logits / temperature, dim=2)
    return logs.exp().mean(0) if mean == "arithmetic" else logs.mean(0).softmax(1)


@alternative("ensemble_targets")
def targets_by_mean_logits_and_loops(logits, temperature=1.0, mean="arithmetic"):
    """A loop for the arithmetic mean; for the geometric one the mean of the logits is enough"""
    if temperature <= 0 or mean not in {"arithmetic", "geometric"}:
        raise ValueError("temperature or mean")
    if mean == "geometric":
        return torch.softmax(logits.mean(dim=0) / temperature, dim=-1)
    total = torch.zeros_like(logits[0])
    for member in logits:
        total = total + torch.softmax(member / temperature, dim=-1)
    return total / logits.shape[0]


@alternative("ensemble_targets")
def targets_by_log_sum_exp(logits, temperature=1.0, mean="arithmetic"):
    """All with logarithms, to the last step"""
    if not temperature > 0:
        raise ValueError("temperature")
    logs = (logits / temperature) - torch.logsumexp(logits / temperature, dim=2, keepdim=True)
    if mean == "arithmetic":
        return (torch.logsumexp(logs, dim=0) - math.log(len(logits))).exp()
    if mean == "geometric":
        middle = logs.sum(0) / len(logits)
        return (middle - torch.logsumexp(middle, dim=1, keepdim=True)).exp()
    raise ValueError("mean")


# unbias --------------------------------------------------------------------------------------------------------------


def _some(logits, classes):
    count = logits.shape[1]
    if not 0 < len(set(classes)) < count or min(classes) < 0 or max(classes) >= count:
        raise ValueError(f"classes {classes}")


def _wrong(logits, labels, classes, bias):
    raised = logits.double().clone()
    raised[:, list(classes)] += bias
    return int((raised.argmax(1) != labels).sum())


def _edges(logits, classes):
    """At which bias each image changes its answer."""
    others = [number for number in range(logits.shape[1]) if number not in classes]
    return logits[:, others].double().amax(1) - logits[:, list(classes)].double().amax(1)


def _between(edges):
    edges = torch.unique(edges)
    return torch.cat([edges[:1] - 1, (edges[:-1] + edges[1:]) / 2, edges[-1:] + 1]).tolist()


@mutant("unbias")
def bias_on_a_grid(logits, labels, classes):
    """Tries a grid of whole numbers"""
    _some(logits, classes)
    return float(min(range(-10, 11), key=lambda bias: _wrong(logits, labels, classes, bias)))


@mutant("unbias")
def bias_upwards_only(logits, labels, classes):
    """Never lowers"""
    _some(logits, classes)
    tries = [0.0] + [bias for bias in _between(_edges(logits, classes)) if bias > 0]
    return min(tries, key=lambda bias: _wrong(logits, labels, classes, bias))


@mutant("unbias")
def bias_for_the_raised_alone(logits, labels, classes):
    """Counts only the images of the raised classes"""
    _some(logits, classes)
    own = torch.tensor([int(label) in classes for label in labels])
    tries = _between(_edges(logits, classes))
    return min(tries, key=lambda bias: _wrong(logits[own], labels[own], classes, bias))


@mutant("unbias")
def bias_on_an_edge(logits, labels, classes):
    """Returns one of the edges themselves, where two logits tie"""
    _some(logits, classes)
    return min(_edges(logits, classes).tolist(), key=lambda bias: _wrong(logits, labels, classes, bias))


@mutant("unbias")
def bias_between_two_edges(logits, labels, classes):
    """Tries 0 and the middle of any two neighbouring edges, and nothing below or above them all"""
    _some(logits, classes)
    return min([0.0, *_between(_edges(logits, classes))[1:-1]], key=lambda bias: _wrong(logits, labels, classes, bias))


@mutant("unbias")
def bias_on_a_fine_grid(logits, labels, classes):
    """Tries a grid in steps of a hundredth"""
    _some(logits, classes)
    return min(np.linspace(-10, 10, 2001).tolist(), key=lambda bias: _wrong(logits, labels, classes, bias))


@mutant("unbias")
def bias_that_makes_frequencies_right(logits, labels, classes):
    """Raises until the classes are answered as often as they come, right or not"""
    _some(logits, classes)
    wanted = sum(int(label) in classes for label in labels)
    edges = _edges(logits, classes)
    return min(_between(edges), key=lambda bias: abs(int((edges < bias).sum()) - wanted))


@mutant("unbias")
def bias_to_subtract(logits, labels, classes):
    """The other sign"""
    _some(logits, classes)
    return -min(_between(_edges(logits, classes)), key=lambda bias: _wrong(logits, labels, classes, bias))


@mutant("unbias")
def bias_of_the_means(logits, labels, classes):
    """The difference of the mean logits"""
    _some(logits, classes)
    return _edges(logits, classes).mean().item()


@mutant("unbias")
def bias_of_any_classes(logits, labels, classes):
    """Nothing is refused"""
    known = [number for number in classes if 0 <= number < logits.shape[1]]
    if not known or len(known) == logits.shape[1]:
        return 0.0
    return min(_between(_edges(logits, known)), key=lambda bias: _wrong(logits, labels, known, bias))


@alternative("unbias")
def bias_by_trying_all(logits, labels, classes):
    """Counts the mistakes between any two neighbouring edges"""
    _some(logits, classes)
    return min(_between(_edges(logits, classes)), key=lambda bias: _wrong(logits, labels, classes, bias))


@alternative("unbias")
def bias_by_sorting_with_numpy(logits, labels, classes):
    """Sorts the edges and keeps a running count; of the best places the one closest to 0"""
    table, truth = logits.double().numpy(), labels.numpy()
    inside = np.isin(np.arange(table.shape[1]), classes)
    if not 0 < inside.sum() < len(inside) or inside.sum() != len(classes):
        raise ValueError("classes")
    high, low = np.where(inside, table, -np.inf), np.where(inside, -np.inf, table)
    gain = (high.argmax(1) == truth).astype(int) - (low.argmax(1) == truth)
    edges = low.max(1) - high.max(1)
    places = np.unique(edges)
    tries = np.concatenate([[places[0] - 1], (places[1:] + places[:-1]) / 2, [places[-1] + 1]])
    won = np.array([gain[edges < one].sum() for one in tries])
    best = tries[won == won.max()]
    return float(best[np.abs(best).argmin()])
