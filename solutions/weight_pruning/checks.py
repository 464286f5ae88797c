"""Unit 04, weight pruning: exercises, points, budget, and the checks of what a learner writes."""

from fractions import Fraction
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nutshell import expect, models
from nutshell.checks import Budget, Exercise, Limit, Unit, check
from nutshell.wire.standins import inout

UNIT = Unit(
    number=4,
    name="weight_pruning",
    title="Weight pruning",
    exercises=(
        Exercise("magnitude_mask", points=3, minutes=15),
        Exercise("sensitivity_scan", points=2, minutes=15),
        Exercise("masked_training", points=3, minutes=20, difficulty=2),
        Exercise("gradual_sparsity", points=2, minutes=10),
        Exercise("csr_product", points=3, minutes=15, difficulty=2),
        Exercise("GapCode", points=3, minutes=15, difficulty=2),
        Exercise("drop_pruning_step", points=0, minutes=15, difficulty=2, extension=True),
        Exercise("rewind", points=0, minutes=10, extension=True),
    ),
    budgets=(
        Budget(
            name="few_weights",
            points=4,
            file="weight_pruning.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(
                Limit("nonzero", at_most=266_610 // 12),  # weights and biases
                Limit("error_percent", at_most=2.0, margin=0.5),
            ),
            minutes=15,
        ),
    ),
)


# Masks ---------------------------------------------------------------------------------------------------------------


@check("magnitude_mask")
def exactly_that_many_go(learner, reference, rng):
    """A share s of N weights prunes round(s·N) of them, in tensors of any shape"""
    for shape, sparsity, want in (((4, 5), 0.5, 10), ((30,), 0.9, 27), ((3, 2, 2, 2), 0.25, 6), ((7, 3), 0.1, 2),
                                  ((5, 3), 0.25, 4), ((7, 3), 0.6, 13)):  # of 3.75 and of 12.6 weights
        _check_count(learner, torch.from_numpy(rng.standard_normal(shape)), sparsity, want)


@check("magnitude_mask", weight=1.5)
def small_magnitudes_go(learner, reference, rng):
    """No weight that went is larger in magnitude than one that stayed, negative ones included"""
    for shape, sparsity in (((6, 5), 0.5), ((40,), 0.8), ((5, 2, 3, 3), 0.3)):
        _check_order(learner, torch.from_numpy(rng.standard_normal(shape)), sparsity)


@check("magnitude_mask", weight=0.5)
def equal_magnitudes_are_not_pruned_together(learner, reference, rng):
    """Where magnitudes are equal, still exactly the share goes"""
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0])
    for weight, sparsity, want in ((signs, 0.5, 4), (signs.reshape(2, 4), 0.25, 2), (torch.zeros(10), 0.3, 3)):
        _check_count(learner, weight, sparsity, want)


@check("magnitude_mask", weight=0.5)
def nothing_and_everything(learner, reference, rng):
    """A share of 0 keeps all weights, zeros included; a share of 1 keeps none"""
    weight = torch.tensor([[0.0, 2.0], [-1.0, 0.0]])
    for sparsity, want in ((0.0, 0), (1.0, 4), (0, 0), (1, 4)):
        _check_count(learner, weight, sparsity, want)


@check("magnitude_mask", weight=1.5)
def threshold_of_q_deviations(learner, reference, rng):
    """With q, exactly the weights below q standard deviations go: each tensor has its own threshold"""
    weight = torch.tensor([4.0, -1.0, 1.0, -4.0, 0.5, 2.0, -2.0, -0.5])  # σ is 2.30, or 2.46 divided by N − 1
    for scale in (1.0, 100.0):
        for q, want in ((0.0, 8), (0.3, 6), (0.6, 4), (1.0, 2), (3.0, 0)):
            _check_threshold(learner, scale * weight, q, want)
    far = torch.tensor([[14.0, 9.0, 11.0, 6.0], [10.2, 12.0, 8.0, 9.8]])  # from zero, and near their mean
    for q, want in ((1.0, 8), (3.5, 6)):
        _check_threshold(learner, far, q, want)
    kept = int(_mask(learner.magnitude_mask(torch.tensor([0.0, 2.0, -1.0, 0.0]), q=0.0), (4,)).sum())
    expect.equal(kept, 4, "the number of weights kept of [0, 2, −1, 0] at q = 0",
                 causes={"Weights exactly at the threshold go: they stay.": 2},
                 next_step="What is the threshold at q = 0, and is any magnitude below it?")


@check("magnitude_mask", weight=0.5)
def one_way_of_choosing_inside_its_range(learner, reference, rng):
    """Neither or both of sparsity and q, a share outside 0 to 1, or a q below 0 is a ValueError"""
    weight = torch.tensor([1.0, 2.0, -3.0])
    for keywords in ({}, {"sparsity": 0.5, "q": 1.0}, {"sparsity": 0.0, "q": 0.0}):
        expect.raises("ValueError", learner.magnitude_mask, weight, **keywords,
                      why=f"exactly one of sparsity and q must be given and the call gives {keywords or 'neither'}")
    for keywords in ({"sparsity": -0.1}, {"sparsity": 1.1}, {"sparsity": 90.0}, {"q": -1.0}):
        expect.raises("ValueError", learner.magnitude_mask, weight, **keywords,
                      why=f"a share is from 0 to 1, a q at least 0, and the call gives {keywords}")


@check("magnitude_mask", hidden=True)
def mask_of_any_tensor(learner, reference, rng):
    """Number and order are right for any tensor and share, and the weights stay as they were"""
    for _ in range(6):
        shape = tuple(int(side) for side in rng.integers(1, 9, int(rng.integers(1, 5))))
        weight = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        many = weight.numel()
        count = int(rng.integers(0, many + 1))
        _check_count(learner, weight, count / many, count)
        _check_order(learner, weight, count / many)
        before = weight.clone()
        learner.magnitude_mask(inout(weight), 0.5)
        expect.equal(weight, before, "the weights after the call", cause="The function changed its argument.",
                     next_step="Return a mask and leave the weights alone.")


@check("magnitude_mask", hidden=True)
def threshold_of_any_tensor(learner, reference, rng):
    """The threshold is q standard deviations for any tensor, also where the mean is far from zero"""
    for mean in (0.0, 0.0, 3.0):
        weight = torch.from_numpy(rng.standard_normal((12, 30)) * 10 ** rng.uniform(-3, 3) + mean)
        q = float(rng.uniform(0.3, 2.0))
        masks = [weight.abs() >= q * weight.std(correction=c) for c in (0, 1)]
        if torch.equal(*masks):  # so that both ways of dividing are right
            _check_threshold(learner, weight, q, int(masks[0].sum()))


def _mask(value, shape) -> Tensor:
    expect.shape(value, tuple(shape), "the mask", next_step="A mask has the shape of the weights.")
    value = torch.as_tensor(value)
    expect.that(value.dtype is torch.bool, "a mask of dtype bool", f"dtype {str(value.dtype).removeprefix('torch.')}",
                cause="True means a weight stays; numbers would be taken for indices where a mask selects.",
                next_step="A comparison gives bool; so does tensor.bool().")
    return value


def _check_count(learner, weight, sparsity, want):
    pruned = int((~_mask(learner.magnitude_mask(weight, sparsity), weight.shape)).sum())
    many = weight.numel()
    expect.equal(
        pruned, want, f"the number of weights pruned of {many} at a share of {sparsity:.4g}",
        causes={"True and False are swapped (True means that a weight stays), or the share is taken for what stays.":
                many - want}
        | ({f"{sparsity * many:.4g} is cut off: the nearest whole number is wanted.": int(sparsity * many)}
           if want > sparsity * many + 1e-6 else {}),
        cause="Equal magnitudes fall together where weights are compared with a threshold." if
        weight.abs().unique().numel() < many else "", next_step="Count first, then prune that many by their positions.")


def _check_order(learner, weight, sparsity):
    mask = _mask(learner.magnitude_mask(weight, sparsity), weight.shape)
    sizes = weight.abs()
    if mask.all() or not mask.any():
        return
    gone, stayed = float(sizes[~mask].max()), float(sizes[mask].min())
    by_value = float(weight[~mask].max()) <= float(weight[mask].min())
    expect.that(
        gone <= stayed, f"every weight that goes to be at most as large as the smallest that stays, {stayed:.4g}",
        f"one of magnitude {gone:.4g} gone",
        cause="Weights are compared with their signs: a strongly negative weight matters as much as a positive one."
        if by_value else "The large ones go, or the positions don't match the weights.",
        next_step="Print weights and mask side by side, sorted by magnitude.")


def _check_threshold(learner, weight, q, want):
    mask = _mask(learner.magnitude_mask(weight, q=q), weight.shape)
    sizes = weight.abs().double()
    root_mean_square = float(sizes.square().mean().sqrt())
    expect.equal(
        int(mask.sum()), want, f"the number of weights kept at q = {q:.4g}",
        causes={
            "q itself is the threshold: it counts standard deviations of this tensor's weights.":
                int((sizes >= q).sum()),
            "That is the root mean square: the standard deviation is taken around the mean.":
                int((sizes >= q * root_mean_square).sum()),
            "The threshold is q times the mean magnitude, not the standard deviation.":
                int((sizes >= q * sizes.mean()).sum()),
            "The deviation is that of the magnitudes, not of the weights.": int((sizes >= q * sizes.std()).sum()),
            "The threshold is the variance times q: a root is missing.":
                int((sizes >= q * weight.double().var()).sum()),
            "True and False are swapped: True means that a weight stays.": weight.numel() - want,
        },
        next_step="Print the standard deviation, the threshold, and the magnitudes in order.")
    if 0 < want < weight.numel():
        expect.that(bool(sizes[mask].min() > sizes[~mask].max()), "the largest magnitudes to stay", "others",
                    next_step="Compare magnitudes with the threshold, not signed weights.")


# Sensitivity ---------------------------------------------------------------------------------------------------------


@check("sensitivity_scan", weight=0.5)
def scans_weights_and_not_biases(learner, reference, rng):
    """The result names each weight tensor in the network's order, no biases, with one error for each sparsity"""
    network, inputs, labels = _classifier(rng)
    found = _scan(learner, network, inputs, labels, [0.0, 0.5])
    expect.equal(list(found), ["fc1.weight", "fc2.weight", "fc3.weight"], "the names",
                 causes={"Biases are scanned too: they have one axis.":
                         [name for name, _ in network.named_parameters()]},
                 next_step="See what network.named_parameters() gives, and how many axes each has.")
    network = nn.Sequential(nn.Linear(10, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 4))
    found = _scan(learner, network, inputs, labels, [0.5])
    expect.equal(list(found), ["0.weight", "3.weight"], "the names in a network with a normalisation inside",
                 causes={"The scale of a normalisation is called weight, too, but it has a single axis.":
                         ["0.weight", "1.weight", "3.weight"]},
                 next_step="Go by the number of axes, not by the name or the place.")


@check("sensitivity_scan", weight=2)
def each_layer_alone(learner, reference, rng):
    """Errors are those of the network with one layer pruned and all others whole"""
    network, inputs, labels = _classifier(rng)
    _check_scan(learner, reference, network, inputs, labels, [0.0, 0.5, 0.9, 1.0])


@check("sensitivity_scan")
def sparsities_in_any_order(learner, reference, rng):
    """The order of the sparsities doesn't matter: each prunes the trained weights"""
    network, inputs, labels = _classifier(rng)
    _check_scan(learner, reference, network, inputs, labels, [1.0, 0.8, 0.0, 0.6])


@check("sensitivity_scan", hidden=True, weight=2)
def scan_of_any_network(learner, reference, rng):
    """The scan is right for convolutions too, and for labels that the network gets wrong"""
    network, inputs, labels = _classifier(rng, sizes=(9, 14, 5))
    wrong = labels.clone()
    wrong[:20] = (wrong[:20] + 1) % 5
    _check_scan(learner, reference, network, inputs, wrong, [0.7, 0.3, 1.0, 0.0])
    convolutional = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
    with torch.no_grad():
        for parameter in convolutional.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    images = torch.from_numpy(rng.standard_normal((60, 2, 4, 4)).astype(np.float32))
    with torch.no_grad():
        answers = convolutional(images).argmax(1)
    _check_scan(learner, reference, convolutional, images, answers, [0.9, 0.5])


def _classifier(rng, sizes=(10, 12, 9, 4)):
    """A network with random weights, inputs, and its own answers as labels: unpruned it makes no error."""
    network = models.build("mlp", sizes=sizes, seed=int(rng.integers(1 << 30)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
        inputs = torch.from_numpy(rng.standard_normal((80, sizes[0])).astype(np.float32))
        labels = network(inputs).argmax(1)
    return network, inputs, labels


def _scan(learner, network, inputs, labels, sparsities):
    found = learner.sensitivity_scan(network, inputs, labels, sparsities)
    expect.that(isinstance(found, dict), "a dict of lists", expect.show(found),
                next_step="Collect a list of errors for each name, and return them all.")
    for name, errors in found.items():
        many = len(errors) if isinstance(errors, list | tuple) or hasattr(errors, "shape") else None
        expect.equal(many, len(sparsities), f"the number of errors of {name}",
                     next_step="One error for each of the sparsities, in their order.")
    return found


def _check_scan(learner, reference, network, inputs, labels, sparsities):
    want = reference.sensitivity_scan(network, inputs, labels, sparsities)
    found = _scan(learner, network, inputs, labels, sparsities)
    causes = {
        "These are shares from 0 to 1; the docstring wants percent.":
            {name: [error / 100 for error in errors] for name, errors in want.items()},
        "That is the accuracy: an error is what remains to 100.":
            {name: [100 - error for error in errors] for name, errors in want.items()},
        "Layers that were scanned before stay pruned.": _scan_badly(network, inputs, labels, sparsities, layers=True),
        "A layer stays pruned from one sparsity to the next.":
            _scan_badly(network, inputs, labels, sparsities, layers=False),
    }
    expect.that(list(found) == list(want), f"the names {', '.join(want)}", ", ".join(map(str, found)),
                cause="A tensor with two axes or more is a weight tensor.",
                next_step="Go through network.named_parameters() in its order.")
    rows = [list(errors) for errors in found.values()]
    expect.close({name: list(errors) for name, errors in found.items()}, want,
                 f"the errors in percent at the sparsities {sparsities}", rtol=1e-6, causes=causes,
                 cause="All layers have the same errors: are they pruned together?" if len(rows) > 1 and
                 all(row == rows[0] for row in rows) else "",
                 next_step="Prune one layer, measure, put its weights back, and print the error: is it that of the "
                 "whole network again?")


def _scan_badly(network, inputs, labels, sparsities, layers):
    """What comes out if weights aren't put back after a layer, or not after a sparsity."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found = {}
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim < 2:
                continue
            whole = state[name].clone()
            found[name] = []
            for sparsity in sparsities:
                source = whole if layers else state[name]
                least = source.abs().flatten().sort().values
                count = round(sparsity * len(least))
                kept = source.abs() > (least[count - 1] if count else -1)
                state[name] = source * kept
                wrong = functional_call(network, state, (inputs,)).argmax(1) != labels
                found[name].append(100 * int(wrong.sum()) / len(labels))
            if not layers:
                state[name] = whole
    return found


# Training with a mask ------------------------------------------------------------------------------------------------

SGD = partial(torch.optim.SGD, lr=0.3, momentum=0.9, weight_decay=0.01)


@check("masked_training")
def masked_weights_are_zero(learner, reference, rng):
    """Afterwards every masked weight is exactly zero, with momentum and with Adam"""
    for optimiser in (partial(torch.optim.Adam, lr=0.05), SGD):
        network, masks, batches = _training(rng)
        trained = _trained(learner, network, masks, batches, optimiser)
        for name, mask in masks.items():
            grown = int((trained[name][~mask] != 0).sum())
            expect.that(grown == 0, f"zeros at the {int((~mask).sum())} masked places of {name}",
                        f"{grown} numbers that aren't zero", cause=_why_grown(network, trained, name, mask),
                        next_step="Print the masked weights after each step of the optimiser.")


@check("masked_training", weight=2)
def equals_the_kept_weights_alone(learner, reference, rng):
    """Training with a mask gives what the kept weights alone would have become, biases included"""
    network, masks, batches = _training(rng)
    _check_training(learner, network, masks, batches, SGD)


@check("masked_training")
def what_was_pruned_leaves_no_trace(learner, reference, rng):
    """Two networks that differ only in weights that are masked become the same network"""
    network, masks, batches = _training(rng)
    other = models.build("mlp", sizes=(6, 7, 3), seed=0)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        for name, mask in masks.items():
            other.get_parameter(name).add_(3 * ~mask)
    first, second = (_trained(learner, start, masks, batches, SGD) for start in (network, other))
    for name in first:
        expect.close(second[name], first[name], f"{name} from the second network", rtol=1e-4, atol=1e-5,
                     cause="The first gradient is that of a network in which masked weights are still at work.",
                     next_step="At which moment do they become zero: before the first step, or after it?")


@check("masked_training", weight=0.5)
def one_step_for_each_batch(learner, reference, rng):
    """One batch is one step; with no mask at all it is ordinary training"""
    network, _, batches = _training(rng)
    for some in (batches[:1], batches):
        _check_training(learner, network, {}, some, partial(torch.optim.SGD, lr=0.5))


@check("masked_training", hidden=True, weight=2)
def any_mask_and_optimiser(learner, reference, rng):
    """It equals training the kept weights alone for several optimisers and for masks of some tensors only"""
    for optimiser in (partial(torch.optim.Adam, lr=0.02), partial(torch.optim.SGD, lr=0.2, momentum=0.9),
                      partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1)):
        network, masks, batches = _training(rng)
        masks.pop(str(rng.choice(list(masks))))
        _check_training(learner, network, masks, batches, optimiser)


@check("masked_training", hidden=True)
def a_whole_layer_may_be_masked(learner, reference, rng):
    """Masks that keep nothing, or everything, are masks too"""
    network, masks, batches = _training(rng)
    masks = {"fc1.weight": torch.zeros_like(masks["fc1.weight"]), "fc2.weight": torch.ones_like(masks["fc2.weight"])}
    _check_training(learner, network, masks, batches, SGD)


def _training(rng):
    network = models.build("mlp", sizes=(6, 7, 3), seed=int(rng.integers(1 << 30)))
    masks = {name: torch.from_numpy(rng.random(tuple(network.get_parameter(name).shape)) < 0.5)
             for name in ("fc1.weight", "fc2.weight")}
    batches = [(torch.from_numpy(rng.standard_normal((8, 6)).astype(np.float32)),
                torch.from_numpy(rng.integers(0, 3, 8))) for _ in range(4)]
    return network, masks, batches


def _trained(learner, network, masks, batches, optimiser) -> dict[str, Tensor]:
    trained = learner.masked_training(network, masks, batches, optimiser)
    expect.that(isinstance(trained, nn.Module), "the network", expect.show(trained),
                next_step="Return the network that was given, after training.")
    found = {name: value.detach().clone() for name, value in trained.named_parameters()}
    names = [name for name, _ in network.named_parameters()]
    expect.that(sorted(found) == sorted(names), f"parameters named {', '.join(names)}", ", ".join(found),
                cause="The network was changed, not only its weights.", next_step="Keep layers and names as they were.")
    return found


def _why_grown(network, trained, name, mask) -> str:
    if mask.any() and not trained[name][mask].any():
        return "The other ones are zero: True means that a weight stays."
    before, after = network.get_parameter(name).detach()[~mask], trained[name][~mask]
    shrunk = (after / before).median()  # weight decay shrinks all of them alike
    if torch.allclose(after, shrunk * before, rtol=1e-3, atol=1e-6) and shrunk > 0:
        return "They kept their old values: a mask on gradients holds a weight where it is, and that isn't zero."
    return "They grew back in a step of the optimiser: the gradient of a zero weight isn't zero."


def _check_training(learner, network, masks, batches, optimiser):
    want = _kept_alone(network, masks, batches, optimiser)
    plain = _kept_alone(network, {}, batches, optimiser)
    whole = {name: torch.ones_like(value, dtype=torch.bool) for name, value in want.items()}
    last = {name: plain[name] * (masks | {n: m for n, m in whole.items() if n not in masks})[name] for name in plain}
    got = _trained(learner, network, masks, batches, optimiser)
    grown = [name for name, mask in masks.items() if (got[name][~mask] != 0).any()]
    cause = ""
    if all(torch.equal(got[name], value) for name, value in network.named_parameters()):
        cause = "Nothing was trained."
    elif grown:
        cause = _why_grown(network, got, grown[0], masks[grown[0]])
    elif masks and _alike(got, last):
        cause = "Masked only at the end: until then the whole network was trained."
    elif masks and _alike(got, _masked_late(network, masks, batches, optimiser)):
        cause = "In the first step the masked weights were still at work."
    elif _alike(got, _kept_alone(network, masks, batches[:1], optimiser)) and len(batches) > 1:
        cause = "Only the first batch was used."
    elif _alike(got, _kept_alone(network, masks, batches, optimiser, clear=False)):
        cause = "Gradients of earlier batches are still there: each step must begin without them."
    elif _alike(got, _kept_alone(network, masks, batches, optimiser, anew=True)):
        cause = "The optimiser is made anew for each batch, and so it forgets its momentum."
    elif _alike(got, _kept_alone(network, masks, batches * 2, optimiser)):
        cause = "The batches were gone through twice."
    elif _alike(got, _kept_alone(network, masks, batches, optimiser, reduction="sum")):
        cause = "The loss is the sum over a batch: cross-entropy is its mean."
    elif any(torch.equal(got[name], value) for name, value in network.named_parameters()):
        cause = "Some parameters were not trained: those that no mask names, biases among them, learn as well."
    expect.that(_alike(got, want), "the parameters that training the kept weights alone gives",
                _difference(got, want), cause=cause,
                next_step="Take a network with two weights, mask one, and follow two steps on paper.")


def _alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.allclose(a[name], b[name], rtol=2e-3, atol=2e-4) for name in b)


def _difference(got, want) -> str:
    name = max(want, key=lambda key: float((got[key] - want[key]).abs().max()))
    return f"others: {name} is off by up to {float((got[name] - want[name]).abs().max()):.3g}"


def _masked_late(network, masks, batches, optimiser) -> dict[str, Tensor]:
    """What comes out if masked weights become zero after the first step, and not before it."""
    found = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    steps = optimiser(list(found.values()))
    for inputs, labels in batches:
        steps.zero_grad()
        functional.cross_entropy(functional_call(network, found, (inputs,)), labels).backward()
        steps.step()
        with torch.no_grad():
            for name, mask in masks.items():
                found[name].mul_(mask)
    return {name: value.detach() for name, value in found.items()}


def _kept_alone(network, masks, batches, optimiser, clear=True, anew=False, reduction="mean") -> dict[str, Tensor]:
    """The oracle: vectors of the kept weights are all that is trained, and the zeros are put in around them."""
    whole = {name: value.detach() for name, value in network.named_parameters()}
    places = {name: masks.get(name, torch.ones_like(value, dtype=torch.bool)) for name, value in whole.items()}
    kept = {name: value[places[name]].clone().requires_grad_() for name, value in whole.items()}
    steps = optimiser(list(kept.values()))

    def spread() -> dict[str, Tensor]:
        return {name: torch.zeros_like(value).masked_scatter(places[name], kept[name])
                for name, value in whole.items()}

    for inputs, labels in batches:
        steps = optimiser(list(kept.values())) if anew else steps
        if clear:
            steps.zero_grad()
        logits = functional_call(network, spread(), (inputs,))
        functional.cross_entropy(logits, labels, reduction=reduction).backward()
        steps.step()
    return {name: value.detach() for name, value in spread().items()}


# The ramp ------------------------------------------------------------------------------------------------------------


@check("gradual_sparsity")
def values_on_the_cubic(learner, reference, rng):
    """After u of n updates the sparsity has gone 1 − (1 − u/n)³ of its way"""
    for step, want in ((100, 0.0), (110, 0.578125 * 0.8), (120, 0.875 * 0.8), (130, 0.984375 * 0.8), (140, 0.8)):
        _check_ramp(learner, (step, 100, 10, 4, 0.8), {}, want)


@check("gradual_sparsity")
def from_an_initial_sparsity(learner, reference, rng):
    """A ramp that begins at 0.5 goes the rest of the way only"""
    for step, want in ((0, 0.5), (6, 0.5 + 0.875 * 0.25), (12, 0.75), (5, 0.5), (11, 0.5 + 0.875 * 0.25)):
        _check_ramp(learner, (step, 0, 6, 2, 0.75), {"initial": 0.5}, want)


@check("gradual_sparsity")
def held_between_updates_and_at_both_ends(learner, reference, rng):
    """It changes at the updates only, and is level before the ramp and after it"""
    for step, want in ((0, 0.0), (99, 0.0), (109, 0.0), (119, 0.578125), (139, 0.984375), (141, 1.0), (5000, 1.0)):
        _check_ramp(learner, (step, 100, 10, 4, 1.0), {}, want)
    for step in (0, 7, 40):  # a level ramp, and one that never prunes
        _check_ramp(learner, (step, 5, 2, 3, 0.5), {"initial": 0.5}, 0.5)
        _check_ramp(learner, (step, 5, 2, 3, 0.0), {}, 0.0)


@check("gradual_sparsity", weight=0.5)
def ramp_refuses_what_makes_none(learner, reference, rng):
    """No updates, no steps between them, or sparsities that fall or leave 0 to 1 are a ValueError"""
    for arguments, keywords in (((5, 0, 0, 3, 0.9), {}), ((5, 0, 10, 0, 0.9), {}), ((5, 0, 10, 3, 1.2), {}),
                                ((5, 0, 10, 3, 0.4), {"initial": 0.5}), ((5, 0, 10, 3, 0.5), {"initial": -0.1})):
        _, _, every, updates, final = arguments
        expect.raises("ValueError", learner.gradual_sparsity, *arguments, **keywords,
                      why=f"every and updates are at least 1 and 0 ≤ initial ≤ final ≤ 1, and here every={every}, "
                      f"updates={updates}, initial={keywords.get('initial', 0.0)}, final={final}")


@check("gradual_sparsity", hidden=True)
def any_ramp(learner, reference, rng):
    """The sparsity is right at any step of any ramp, compared with exact fractions"""
    for _ in range(12):
        begin, every, updates = int(rng.integers(0, 50)), int(rng.integers(1, 20)), int(rng.integers(1, 30))
        initial, final = sorted(Fraction(int(part), 64) for part in rng.integers(0, 65, 2))
        step = int(rng.integers(0, begin + every * updates + 30))
        left = 1 - Fraction(min(updates, max(0, step - begin) // every), updates)
        want = float(final + (initial - final) * left**3)
        _check_ramp(learner, (step, begin, every, updates, float(final)), {"initial": float(initial)}, want)


@check("gradual_sparsity", hidden=True)
def never_falls(learner, reference, rng):
    """From step to step the sparsity never falls, and half of the updates do seven eighths of the pruning"""
    begin, every, updates = int(rng.integers(0, 30)), int(rng.integers(2, 9)), 2 * int(rng.integers(2, 9))
    seen = [learner.gradual_sparsity(step, begin, every, updates, 0.875) for step in range(begin + every * updates + 5)]
    falls = [step for step in range(1, len(seen)) if seen[step] < seen[step - 1] - 1e-9]
    expect.that(not falls, "a sparsity that never falls", f"a fall at step {falls[:1]}",
                next_step="Plot the ramp from its first step to its last.")
    expect.close(seen[begin + every * updates // 2], 0.875**2, "the sparsity after half of the updates", rtol=1e-6,
                 causes={"The ramp is a straight line.": 0.4375, "The ramp is slow at first.": 0.875 / 8},
                 next_step="Prune fast while there is much to choose from, slowly where every weight counts.")


def _check_ramp(learner, arguments, keywords, want):
    step, begin, every, updates, final = arguments
    initial = keywords.get("initial", 0.0)
    share = min(1.0, max(0.0, (step - begin) / (every * updates)))
    done = min(updates, max(0, step - begin) // every) / updates

    def cubic(part: float) -> float:
        return final + (initial - final) * (1 - part) ** 3

    causes = {
        "The ramp is a straight line.": initial + (final - initial) * done,
        "It begins at zero: `initial` isn't used.": final * (1 - (1 - done) ** 3),
        "It begins slowly: that is the cube of what is done, not of what is left.":
            initial + (final - initial) * done**3,
        "It changes at every step: between two updates the mask is held.": cubic(share),
        "It is rounded to the nearest update, or runs one update ahead.":
            cubic(min(1.0, max(0, -(-(step - begin) // every)) / updates)),
        "It goes on beyond the last update.": cubic(max(0, step - begin) // every / updates),
        "Before the ramp begins there is no update.": cubic((step - begin) // every / updates),
        "Steps are counted from 0 instead of `begin`.": cubic(min(1.0, step // every / updates)),
    }
    expect.close(learner.gradual_sparsity(*arguments, **keywords), want,
                 f"the sparsity at step {step} (begin {begin}, every {every}, {updates} updates, from {initial:g} to "
                 f"{final:g})", rtol=1e-9, atol=1e-12,
                 causes={cause: value for cause, value in causes.items() if abs(value - want) > 1e-9},
                 next_step="Count the updates done so far, at most all of them, before you put them into the formula.")


# Sparse rows ---------------------------------------------------------------------------------------------------------


@check("csr_product")
def product_with_a_vector(learner, reference, rng):
    """The product is that of the dense matrix, exact in whole numbers"""
    for shape in ((5, 5), (4, 6), (6, 4)):
        _check_product(learner, _whole_matrix(rng, shape), _whole_numbers(rng, shape[1]))


@check("csr_product")
def product_with_several_vectors(learner, reference, rng):
    """Several vectors side by side give several results, one alone included"""
    for batch in (1, 3):
        _check_product(learner, _whole_matrix(rng, (5, 7)), _whole_numbers(rng, (7, batch)))


@check("csr_product")
def empty_rows(learner, reference, rng):
    """A row without entries gives zero: the first, one in the middle, the last, or all"""
    for rows in ([0], [2], [4], [0, 1, 4], [0, 1, 2, 3, 4]):
        matrix = _whole_matrix(rng, (5, 6), filled=0.9)
        matrix[rows] = 0
        _check_product(learner, matrix, _whole_numbers(rng, 6))


@check("csr_product", hidden=True)
def any_sparse_matrix(learner, reference, rng):
    """Any shape and density, columns in any order within a row, in float32 and float64"""
    for filled in (0.05, 0.3, 1.0):
        shape = tuple(int(side) for side in rng.integers(1, 25, 2))
        dtype = torch.float32 if rng.random() < 0.5 else torch.float64
        matrix = _whole_matrix(rng, shape, filled=filled).to(dtype)
        _check_product(learner, matrix, _whole_numbers(rng, shape[1]).to(dtype), rng)
        _check_product(learner, matrix, _whole_numbers(rng, (shape[1], 4)).to(dtype), rng)


@check("csr_product", hidden=True)
def never_as_large_as_the_matrix(learner, reference, rng):
    """A matrix of 20,000 rows and 2,000,000 columns with 60 entries is multiplied without being built"""
    rows, side = 20_000, 2_000_000
    places = np.sort(rng.choice(rows, 60, replace=False))
    columns = torch.from_numpy(rng.integers(0, side, 60))
    values = torch.from_numpy(rng.integers(1, 9, 60).astype(np.float32))
    offsets = torch.from_numpy(np.searchsorted(places, np.arange(rows + 1)))
    inputs = torch.from_numpy(rng.integers(0, 9, side).astype(np.float32))
    want = torch.zeros(rows)
    want[torch.from_numpy(places)] = values * inputs[columns]
    got = learner.csr_product(values, columns, offsets, inputs)
    expect.shape(got, (rows,), "the product of a matrix with 20,000 rows")
    expect.that(torch.equal(_tensor(got), want.double()), "the product of 60 entries", "another",
                next_step="Try a matrix with one entry in its last row.")


def _whole_numbers(rng, shape) -> Tensor:
    return torch.from_numpy(rng.integers(-9, 10, shape).astype(np.float64))


def _whole_matrix(rng, shape, filled=0.4) -> Tensor:
    return _whole_numbers(rng, shape) * torch.from_numpy(rng.random(shape) < filled)


def _rows_of(matrix, rng=None) -> tuple[Tensor, Tensor, Tensor]:
    """Entries, columns and offsets; the columns of a row shuffled if there is a generator."""
    rows = [row.nonzero().flatten().tolist() for row in matrix]
    if rng is not None:
        rows = [[row[place] for place in rng.permutation(len(row))] for row in rows]
    columns = torch.tensor([column for row in rows for column in row], dtype=torch.int64)
    offsets = torch.tensor(np.cumsum([0] + [len(row) for row in rows]), dtype=torch.int64)
    return matrix[torch.arange(len(rows)).repeat_interleave(offsets.diff()), columns], columns, offsets


def _check_product(learner, matrix, inputs, rng=None):
    values, columns, offsets = _rows_of(matrix, rng)
    want = matrix @ inputs
    got = learner.csr_product(values, columns, offsets, inputs)
    what = f"the product of a {matrix.shape[0]}×{matrix.shape[1]} matrix with {len(values)} entries"
    expect.shape(got, tuple(want.shape), what, cause="Several vectors stand side by side, as columns." if
                 inputs.ndim > 1 else "", next_step="One result for each row, and one column for each vector.")
    rows = torch.arange(len(matrix)).repeat_interleave(offsets.diff())
    last = torch.zeros_like(want)
    last[rows] = values.reshape(-1, *[1] * (inputs.ndim - 1)) * inputs[columns]  # of equal indices one wins
    causes = {"Of the products in a row only one is kept: an indexed += adds once to each place.": last}
    if want[-1].any():
        causes["The last row is missing: there is one offset more than there are rows."] = torch.cat(
            [want[:-1], torch.zeros_like(want[-1:])])
    if matrix.shape[0] == matrix.shape[1]:
        causes["Rows and columns are swapped: that is the product with the transposed matrix."] = matrix.T @ inputs
    empty = "A row without entries must give zero, whatever its neighbours hold." if (offsets.diff() == 0).any() else ""
    if isinstance(got, torch.Tensor):
        kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (values, got)]
        expect.that(kinds[0] == kinds[1], f"a product of dtype {kinds[0]}, as the values have", f"dtype {kinds[1]}",
                    cause="Precision is lost where a result is kept in a smaller dtype than its terms.",
                    next_step="Make the result's zeros with the dtype of the values.")
    expect.close(got, want, what, rtol=1e-6, causes=causes, cause=empty,
                 next_step="Print, for each row, offsets[i], offsets[i + 1] and the entries between them.")


# Gaps ----------------------------------------------------------------------------------------------------------------


@check("GapCode")
def the_papers_figure(learner, reference, rng):
    """Numbers at 1, 4 and 15 with gaps of three bits need one padding zero"""
    weight = torch.zeros(16)
    weight[[1, 4, 15]] = torch.tensor([3.5, 0.75, 1.5])
    _check_encode(learner, weight, 8, [1, 2, 7, 2], [3.5, 0.75, 0.0, 1.5])


@check("GapCode", weight=1.5)
def runs_around_the_limit(learner, reference, rng):
    """A run of g zeros costs ⌊g / limit⌋ padding zeros, for every g around the limit and its multiples"""
    for limit in (4, 2, 8, 1):
        for run in range(3 * limit + 2):
            _check_run(learner, limit, run)


@check("GapCode", weight=0.5)
def zeros_at_the_end_cost_nothing(learner, reference, rng):
    """What stands behind the last number isn't written, and a tensor of zeros is nothing at all"""
    _check_encode(learner, torch.tensor([0.0, 2.0] + [0.0] * 20), 4, [1], [2.0])
    _check_encode(learner, torch.zeros(3, 9), 4, [], [])
    _check_encode(learner, torch.zeros(0), 4, [], [])


@check("GapCode", weight=0.5)
def rows_follow_one_another(learner, reference, rng):
    """A gap runs on from the end of a row into the next"""
    weight = torch.tensor([[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, -7.0], [8.0, 0.0, 0.0, 0.0]])
    _check_encode(learner, weight, 8, [1, 5, 0], [5.0, -7.0, 8.0])


@check("GapCode", weight=0.5)
def one_code_serves_many_tensors(learner, reference, rng):
    """The same code encodes one tensor after another, each as if it were the first"""
    code = learner.GapCode(4)
    for weight, want in (([0.0, 2.0], [1]), ([0.0, 0.0, -3.0, 4.0], [2, 0]), ([0.0, 2.0], [1])):
        got = code.encode(torch.tensor(weight))
        expect.that(isinstance(got, tuple | list) and len(got) == 2, "gaps and values, two tensors", expect.show(got),
                    next_step="Return both, gaps first.")
        expect.equal(torch.as_tensor(got[0]).tolist(), want, f"the gaps of {weight} from a code that was used before",
                     cause="Something is kept from one call to the next." if len(got[0]) > len(want) else "",
                     next_step="What is gathered during a call belongs to that call; the object keeps its limit only.")


@check("GapCode", weight=1.5)
def decodes_what_others_encoded(learner, reference, rng):
    """Gaps and values become the tensor again, padding zeros included"""
    for gaps, values, shape, want in (
        ([1, 2, 7, 2], [3.5, 0.75, 0.0, 1.5], (16,), {1: 3.5, 4: 0.75, 15: 1.5}),
        ([0, 0, 3], [1.0, 2.0, 3.0], (2, 4), {0: 1.0, 1: 2.0, 5: 3.0}),
        ([3, 3, 1], [0.0, 0.0, 9.0], (3, 2, 2), {9: 9.0}),
        ([], [], (2, 3), {}),
    ):
        numbers = torch.zeros(int(np.prod(shape)))
        for place, value in want.items():
            numbers[place] = value
        got = learner.GapCode(4).decode(torch.tensor(gaps, dtype=torch.int64), torch.tensor(values), shape)
        expect.shape(got, shape, "the decoded tensor", next_step="The shape is the last argument.")
        early = torch.zeros(max(int(np.prod(shape)), sum(gaps) + 1))
        early[torch.tensor(gaps, dtype=torch.int64).cumsum(0)] = torch.tensor(values)
        expect.close(got, numbers.reshape(shape), f"what gaps {gaps} and values {values} decode to",
                     causes={"A gap counts the zeros between two numbers; the numbers take a place each, too.":
                             early[: numbers.numel()].reshape(shape)} if gaps else None,
                     next_step="Write the tensor down by hand, number after number, and note the position of each.")


@check("GapCode", weight=0.5)
def a_limit_below_one(learner, reference, rng):
    """A limit below 1 is a ValueError"""
    for limit in (0, -8):
        expect.raises("ValueError", learner.GapCode, limit, why=f"a gap has at least one value and limit is {limit}")


@check("GapCode", hidden=True)
def gaps_of_any_tensor(learner, reference, rng):
    """Gaps stay below the limit, padding is the sum of ⌊g / limit⌋, and decoding gives the tensor back"""
    for limit in (1, 2, 3, 16, 256):
        shape = tuple(int(side) for side in rng.integers(1, 7, int(rng.integers(1, 5))))
        weight = torch.from_numpy(rng.standard_normal(shape) * (rng.random(shape) < rng.choice([0.05, 0.3, 1.0])))
        gaps, values = _encoded(learner, weight, limit)
        longest = max(gaps.tolist(), default=0)
        expect.that(longest < limit, f"gaps below {limit}", f"one of {longest}",
                    next_step="When does a run need another padding zero?")
        padding = sum(run // limit for run in _runs(weight))
        expect.equal(int((values == 0).sum()), padding, f"the number of padding zeros at a limit of {limit}",
                     next_step="Try a run one shorter, as long, and one longer than the limit.")
        again = learner.GapCode(limit).decode(gaps, values, shape)
        _check_again(learner, again, weight)


@check("GapCode", hidden=True)
def precision_is_kept(learner, reference, rng):
    """Values keep their dtype, so that a float64 tensor comes back bit for bit"""
    for dtype in (torch.float64, torch.float32, torch.float16):
        weight = torch.from_numpy(rng.standard_normal((4, 9)) * (rng.random((4, 9)) < 0.4)).to(dtype)
        gaps, values = _encoded(learner, weight, 4)
        _check_again(learner, learner.GapCode(4).decode(gaps, values, (4, 9)), weight)


def _runs(weight) -> list[int]:
    """Zeros before each number that isn't zero."""
    runs, run = [], 0
    for value in weight.flatten().tolist():
        if value:
            runs.append(run)
        run = 0 if value else run + 1
    return runs


def _encoded(learner, weight, limit) -> tuple[Tensor, Tensor]:
    got = learner.GapCode(limit).encode(weight)
    expect.that(isinstance(got, tuple | list) and len(got) == 2, "gaps and values, two tensors", expect.show(got),
                next_step="Return both, gaps first.")
    gaps, values = (torch.as_tensor(part) for part in got)
    expect.that(gaps.ndim == 1 and gaps.shape == values.shape, "as many gaps as values",
                f"gaps {tuple(gaps.shape)} and values {tuple(values.shape)}",
                cause="A padding zero has a gap and a value, like every number that is written.",
                next_step="Append to both at the same moment.")
    expect.that(not gaps.is_floating_point() or not len(gaps), "gaps that are whole numbers",
                f"gaps of dtype {str(gaps.dtype).removeprefix('torch.')}", next_step="Make the gaps int64.")
    return gaps.long(), values


def _check_encode(learner, weight, limit, gaps, values):
    got = _encoded(learner, weight, limit)
    what = f"gaps and values at a limit of {limit}"
    cause = "Zeros behind the last number are written, too." if len(got[1]) > len(values) else ""
    if len(got[0]) and int(got[0].max()) >= limit:
        cause = f"There is a gap of {int(got[0].max())}: the largest that can be written is {limit - 1}."
    expect.close([item.double() for item in got],
                 [torch.tensor(gaps, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)], what,
                 causes={"Positions are written, not gaps.": [_places(weight), _values(weight)],
                         "These are distances: a gap counts the zeros in between, one less.":
                             [torch.tensor(gaps, dtype=torch.float64) + 1, torch.tensor(values, dtype=torch.float64)],
                         "No padding zeros: a gap beyond the limit can't be written.":
                             [torch.tensor(_runs(weight), dtype=torch.float64), _values(weight)]},
                 cause=cause,
                 next_step="Put a pencil on each zero and count; when the limit is reached, write a padding zero.")


def _places(weight) -> Tensor:
    return weight.flatten().nonzero().flatten().double()


def _values(weight) -> Tensor:
    return weight.flatten()[weight.flatten() != 0].double()


def _check_run(learner, limit, run):
    weight = torch.zeros(run + 1)
    weight[run] = 5.0
    gaps, values = _encoded(learner, weight, limit)
    padding = run // limit
    causes = {f"None comes, or it comes too late: a padding zero is itself the last of {limit} zeros.":
              run // (limit + 1)}
    if limit > 1:
        causes["A padding zero comes too early: a gap of the limit less one can still be written."] = run // (limit - 1)
    expect.equal(len(values) - 1, padding, f"the padding zeros for a run of {run} at a limit of {limit}",
                 causes={cause: value for cause, value in causes.items() if value != padding},
                 next_step="How many zeros do a gap and the padding zero behind it stand for together?")
    want = [limit - 1] * padding + [run % limit]
    expect.equal(gaps.tolist(), want, f"the gaps of a run of {run} at a limit of {limit}",
                 causes={"These are distances: a gap counts the zeros in between, one less.": [g + 1 for g in want],
                         "The padding zero is counted twice: once written, once as a zero of the next gap.":
                             [*want[:-1], want[-1] + 1] if padding else None},
                 next_step="After a padding zero, counting starts anew.")
    expect.close(values, [0.0] * padding + [5.0], f"the values of a run of {run} at a limit of {limit}",
                 next_step="A padding zero has the value 0; the number comes last.")


def _check_again(learner, again, weight):
    expect.shape(again, tuple(weight.shape), "the decoded tensor")
    expect.that(torch.equal(torch.as_tensor(again).to(weight.dtype), weight), "the tensor that was encoded",
                "another", cause="Precision may have been lost, or a place missed.",
                next_step="In which dtype are the values kept, and the zeros made?")


# Extensions ----------------------------------------------------------------------------------------------------------


@check("drop_pruning_step")
def only_small_weights_drop_out(learner, reference, rng):
    """With certainty, every kept weight below the threshold goes, and no other"""
    weight = torch.tensor([0.1, -0.2, 0.5, -3.0, 0.0, 0.0])
    mask = torch.tensor([True, True, True, True, True, False])
    _check_step(learner, weight, mask, 0.5, 1.0, 0.0, torch.rand(6, generator=torch.Generator().manual_seed(0)))


@check("drop_pruning_step")
def pruned_weights_drop_in_again(learner, reference, rng):
    """Pruned weights come back where the draw is below drop_in, whatever drop_out is"""
    weight, mask = torch.tensor([0.0, 0.0, 0.0, 2.0]), torch.tensor([False, False, False, True])
    _check_step(learner, weight, mask, 0.5, 0.9, 0.3, torch.tensor([0.1, 0.3, 0.95, 0.0]))


@check("drop_pruning_step", weight=0.5)
def a_weight_moves_once(learner, reference, rng):
    """With both probabilities 1, small kept weights and pruned ones change places"""
    weight = torch.tensor([[0.1, 0.0], [4.0, 0.0]])
    mask = torch.tensor([[True, False], [True, False]])
    _check_step(learner, weight, mask, 1.0, 1.0, 1.0, torch.full((2, 2), 0.5))


@check("drop_pruning_step", weight=0.5)
def probabilities_lie_between_zero_and_one(learner, reference, rng):
    """A probability below 0 or above 1 is a ValueError"""
    weight, mask, draws = torch.ones(2), torch.ones(2, dtype=torch.bool), torch.zeros(2)
    for out, back in ((-0.1, 0.5), (1.5, 0.5), (0.5, -1.0), (0.5, 2.0)):
        expect.raises("ValueError", learner.drop_pruning_step, weight, mask, 0.5, out, back, draws,
                      why=f"probabilities lie between 0 and 1 and they are {out} and {back}")


@check("drop_pruning_step", hidden=True)
def any_step(learner, reference, rng):
    """Every weight of any tensor moves, or stays, as its own draw says"""
    for _ in range(4):
        shape = tuple(int(side) for side in rng.integers(2, 9, int(rng.integers(1, 4))))
        mask = torch.from_numpy(rng.random(shape) < 0.6)
        weight = torch.from_numpy(rng.standard_normal(shape)) * mask
        out, back = (float(share) for share in rng.random(2))
        _check_step(learner, weight, mask, float(rng.uniform(0.2, 1.5)), out, back, torch.from_numpy(rng.random(shape)))


def _check_step(learner, weight, mask, threshold, drop_out, drop_in, draws):
    want = [draw >= drop_out if kept and abs(value) < threshold else kept or draw < drop_in
            for value, kept, draw in zip(*(part.flatten().tolist() for part in (weight, mask, draws)), strict=True)]
    wanted = torch.tensor(want).reshape(mask.shape)
    before = mask.clone()
    got = _mask(learner.drop_pruning_step(weight, inout(mask), threshold, drop_out, drop_in, draws), mask.shape)
    back = ~before & (draws < drop_in)
    expect.equal(
        got, wanted, f"the mask at a threshold of {threshold:.3g}, drop_out {drop_out:.3g}, drop_in {drop_in:.3g}",
        causes={
            "Nothing drops in again.": wanted & before,
            "Large weights drop out as well: only those below the threshold may go.":
                before & ~(draws < drop_out) | back,
            "A draw at or above the probability moves the weight: it is the other way round.":
                before & ~((weight.abs() < threshold) & (draws >= drop_out)) | ~before & (draws >= drop_in),
            "What has just dropped out drops in again in the same step.": wanted | (draws < drop_in),
            "It is deterministic: every small weight goes.": before & (weight.abs() >= threshold) | back,
        }, next_step="List the four cases: kept or pruned, and for kept ones small or not. Which draws move which?")
    expect.equal(mask, before, "the old mask after the call", cause="The function changed its argument.",
                 next_step="Return a new mask.")


@check("rewind")
def kept_weights_go_back(learner, reference, rng):
    """Kept weights have their early values again, pruned ones are zero, and biases go back too"""
    network, masks, _ = _training(rng)
    _check_rewound(learner, network, _early(rng, network), masks)


@check("rewind")
def without_a_mask_all_goes_back(learner, reference, rng):
    """Without masks the early network is back whole"""
    network, _, _ = _training(rng)
    _check_rewound(learner, network, _early(rng, network), {})


@check("rewind", hidden=True)
def any_network_goes_back(learner, reference, rng):
    """It works for convolutions and masks of some tensors only, and leaves the early weights alone"""
    network = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    mask = torch.from_numpy(rng.random((3, 1, 2, 2)) < 0.5)
    _check_rewound(learner, network, _early(rng, network), {"0.weight": mask})


def _early(rng, network) -> dict[str, Tensor]:
    return {name: torch.from_numpy(rng.standard_normal(tuple(value.shape)).astype(np.float32))
            if value.is_floating_point() else value.clone() for name, value in network.state_dict().items()}


def _check_rewound(learner, network, early, masks):
    untouched = {name: value.clone() for name, value in early.items()}
    got = learner.rewind(network, inout(early), masks)
    expect.that(isinstance(got, nn.Module), "the network", expect.show(got), next_step="Return the network.")
    found = {name: value.detach() for name, value in got.state_dict().items()}
    late = {name: value.detach() for name, value in network.state_dict().items()}
    for name, value in untouched.items():
        mask = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        expect.close(found.get(name), value * mask, f"{name} after rewinding", rtol=1e-6,
                     causes={"The trained values are still there: everything goes back, biases too.": late[name],
                             "The trained values are masked, but didn't go back.": late[name] * mask,
                             "Pruned weights are back as well: they must stay zero.": value,
                             "Only the pruned weights were rewound: it should be the kept ones.":
                                 torch.where(mask, late[name], value) if mask.shape == value.shape else None},
                     next_step="Load the early state first; what is left to do to it?")
        expect.equal(early[name], value, f"{name} of the early state after the call",
                     cause="The early weights themselves were changed, and a second rewinding would start from those.",
                     next_step="Change the network's tensors, not the ones you were given.")


# Helpers -------------------------------------------------------------------------------------------------------------


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    return torch.as_tensor(value).detach().double()
