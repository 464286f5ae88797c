"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import itertools
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from nutshell import expect
from nutshell.checks import check
from nutshell.wire.standins import inout


@check("binarise")
def signs_of_numbers(learner, reference, rng):
    """Every number becomes −1 or +1, by its sign, and the dtype stays"""
    values = torch.from_numpy(rng.uniform(0.01, 3, (4, 5)) * rng.choice([-1, 1], (4, 5)))
    for dtype in (torch.float32, torch.float64):
        got = _signs(learner.binarise(values.to(dtype)), values.shape, dtype)
        _check_signs(got, values)


@check("binarise", weight=0.5)
def zero_is_positive(learner, reference, rng):
    """0 has no sign of its own, −0 neither, and becomes +1: one bit has no third value"""
    values = torch.tensor([0.0, -1e-30, 1e-30, -0.0])
    _check_signs(_signs(learner.binarise(values), (4,), torch.float32), values)


@check("binarise", weight=2)
def the_mean_is_the_number(learner, reference, rng):
    """By chance: the mean of many draws is the number itself, and ±1 beyond the range"""
    _check_means(learner, torch.tensor([-1.5, -0.8, -0.3, 0.0, 0.3, 0.6, 0.9, 4.0]), int(rng.integers(2**31)))


@check("binarise")
def seeds_decide(learner, reference, rng):
    """The same seed draws the same signs, another seed others, and each number is drawn by itself"""
    values, seed = torch.full((40, 30), 0.2), int(rng.integers(2**31 - 1))
    first = _draw(learner, values, seed)
    expect.that(bool((_draw(learner, values, seed) == first).all()), "the same signs for the same seed", "other signs",
                cause="The draws don't depend on the seed alone.",
                next_step="Make a generator from the seed, and give it to the call that draws.")
    expect.that(len(first.unique()) == 2, f"both signs among {first.numel():,} numbers 0.2", "one sign for all of them",
                cause="Nothing is drawn, or one draw decides for all numbers.",
                next_step="Draw as many numbers as there are values.")
    expect.that(not bool((_draw(learner, values, seed + 1) == first).all()), "other signs for another seed",
                "the same signs", cause="The seed isn't used.",
                next_step="Compare the results of seed=1 and seed=2.")
    for axis, name in ((1, "row"), (0, "column")):
        worst = float(first.double().mean(axis).abs().max())
        expect.that(worst < 0.95, f"both signs in each {name} of numbers 0.2", f"a {name} of equal signs",
                    cause=f"One draw decides for a whole {name}.",
                    next_step="Draw as many numbers as there are values.")


def _check_signs(got: Tensor, values: Tensor, cause: str = "") -> None:
    want = [1.0 if value >= 0 else -1.0 for value in values.flatten().tolist()]
    signs = values.double().sign().numpy()
    expect.equal(got.flatten().numpy(), np.array(want), "the signs", causes={
        "0 stays 0: that would be a third value.": signs.ravel(),
        "0 becomes −1.": np.where(signs > 0, 1.0, -1.0).ravel(),
        "−0 becomes −1, and yet it is not below 0: only its sign bit is set.":
            np.copysign(1.0, values.double().numpy()).ravel(),
        "The signs are turned round.": -np.array(want),
    }, cause=cause, next_step="Write down what becomes of −2, 0 and 2.")


def _check_means(learner, numbers: Tensor, seed: int) -> None:
    draws, points = 8000, numbers.double().numpy()
    signs = _draw(learner, numbers.repeat(draws, 1), seed)
    means = signs.double().mean(0).numpy()
    want, room = np.clip(points, -1, 1), 6 / draws**0.5
    fixed = bool((signs == signs[0])[:, np.abs(points) < 1].all())
    expect.close(means, want, f"the mean of {draws:,} draws for {expect.show(numbers)}", rtol=0, atol=room, cause=(
        "All draws of a number are the same: nothing is drawn, or one draw decides for many numbers."
    ) if fixed else _nearest(means, room, {
        "That is the logistic function; the paper's σ is a straight line between −1 and 1.": np.tanh(points / 2),
        "x itself is taken for the probability of +1.": 2 * np.clip(points, 0, 1) - 1,
        "+1 and −1 are mixed up.": -want,
        "The probability is that of (x + 1), not of half of it.": 2 * np.clip(points + 1, 0, 1) - 1,
        "All numbers are drawn alike: x plays no part.": np.zeros(len(points)),
    }), next_step="Which probability must +1 have, for the mean of +1 and −1 to be x?")
    for number, column in zip(points, signs.T, strict=True):
        if abs(number) >= 1:
            wrong = int((column != np.sign(number)).sum())
            expect.equal(wrong, 0, f"draws of {number:g} with the wrong sign, of {draws:,}",
                         cause="From ±1 on there is nothing left to chance.",
                         next_step="Clip the probability to the range from 0 to 1.")


def _draw(learner, values: Tensor, seed: int) -> Tensor:
    return _signs(learner.binarise(values, stochastic=True, seed=seed), values.shape, values.dtype)


def _signs(got, shape, dtype=None) -> Tensor:
    """The value if it holds −1 and +1 only, in the shape and dtype wanted."""
    expect.shape(got, tuple(shape), "the signs")
    signs = torch.as_tensor(got).detach()
    found = set(signs.flatten().tolist())
    expect.that(found <= {-1, 1}, "nothing but −1 and +1", expect.show(sorted(found)[:6]),
                cause="0 has become a third value." if found <= {-1, 0, 1} and -1 in found else
                "These are bits, not signs." if found <= {0, 1} else
                "There are sizes in it as well as signs." if len(found) > 1 else "",
                next_step="What becomes of numbers below 0, of 0, and above?")
    if dtype is not None:
        names = [str(kind).removeprefix("torch.") for kind in (dtype, signs.dtype)]
        expect.that(names[0] == names[1], names[0], names[1], cause="The dtype of the values is lost.",
                    next_step="Signs are multiplied with numbers of the values' dtype later on.")
    return signs


def _check_dtype(got: Tensor, like: Tensor, whose: str) -> None:
    names = [str(tensor.dtype).removeprefix("torch.") for tensor in (like, got)]
    expect.that(names[0] == names[1], names[0], names[1], cause=f"The dtype of the {whose} is lost.",
                next_step="Which of your tensors has another dtype?")


def _nearest(got: np.ndarray, room: float, wrong: dict[str, np.ndarray]) -> str:
    """The mistake whose value lies within the room that chance leaves."""
    return next((cause for cause, value in wrong.items() if np.abs(got - value).max() <= room), "")

BEYOND = (-40.0, -1.5, -1.001, 1.001, 2.0, 300.0)


@check("straight_through")
def forward_is_the_sign(learner, reference, rng):
    """Forward: −1 or +1, and 0 counts as +1"""
    for dtype in (torch.float32, torch.float64):
        values = torch.tensor([-3.0, -1.0, -0.2, 0.0, -0.0, 0.4, 1.0, 7.0], dtype=dtype)
        _check_signs(_through(learner.straight_through(values), values.shape, dtype), values)


@check("straight_through", weight=2)
def gradient_passes_inside_only(learner, reference, rng):
    """Backward: the gradient passes unchanged from −1 to 1, both ends included, and is 0 beyond"""
    inside = [-1.0, 1.0, 0.0, *rng.uniform(-0.99, 0.99, 12).tolist()]
    _check_passed(learner, rng, inside)


@check("straight_through")
def finite_differences_disagree(learner, reference, rng):
    """A lie on purpose: finite differences of the sign are 0 where the gradient is 1"""
    points = torch.from_numpy(rng.uniform(0.05, 0.95, 20) * rng.choice([-1, 1], 20))
    step = 1e-3
    higher, lower = (_through(learner.straight_through(points + way * step), (20,)) for way in (1, -1))
    slopes = (higher - lower).double() / (2 * step)
    expect.close(slopes, torch.zeros(20), "the finite differences away from 0", cause="Forward isn't the sign.",
                 next_step="Plot your function from −2 to 2.")
    points.requires_grad_()
    expect.close(_gradient(learner, points, torch.ones(20, dtype=torch.float64)), torch.ones(20),
                 "the gradient at the same places", causes=_wrong_gradients(points, torch.ones(20)),
                 next_step="The value of one function, the gradient of another: how do you write their sum?")


def _through(got, shape, dtype=None) -> Tensor:
    """The signs, without what adding and taking off again leaves behind."""
    if isinstance(got, Tensor) and tuple(got.shape) == tuple(shape) and got.is_floating_point():
        got = got.detach()
        whole = got.round()
        got = torch.where((got - whole).abs() < 1e-3, whole, got)
    return _signs(got, shape, dtype)


def _check_passed(learner, rng, inside) -> None:
    values = torch.tensor([*inside, *BEYOND], dtype=torch.float64, requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal(len(values)))
    mask = torch.tensor([1.0] * len(inside) + [0.0] * len(BEYOND), dtype=torch.float64)
    expect.close(_gradient(learner, values, upstream), mask * upstream,
                 f"the gradient, {len(inside)} numbers from −1 to 1 and then {len(BEYOND)} beyond",
                 rtol=1e-6, atol=1e-9, causes=_wrong_gradients(values, upstream),
                 next_step="Which function has slope 1 inside and 0 beyond? Take its gradient, and the sign's value.")


def _wrong_gradients(values: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    x, upstream = values.detach().double(), upstream.double()
    inside = (x.abs() <= 1).double()
    return {
        "The sign has a gradient of 0, and nothing gets past it.": torch.zeros_like(x),
        "It passes everywhere: beyond ±1 the weight would be pushed further and further.": upstream,
        "That is r·1{|r| ≤ 1}, as a paper prints it by mistake.": upstream * x * inside,
        "Inside and beyond are mixed up.": upstream * (1 - inside),
        "At exactly −1 and 1 it must pass, too.": upstream * (x.abs() < 1),
        "At exactly −1 it must pass, too.": upstream * inside * (x > -1),
        "At exactly 1 it must pass, too.": upstream * inside * (x < 1),
        "The incoming gradient is lost: the slope alone is handed on.": inside,
        "The incoming gradient is clipped to the range: it is x that decides.": upstream.clamp(-1, 1),
        "The incoming gradient decides what passes, and x should.": upstream * (upstream.abs() <= 1),
        "It passes for positive numbers only.": upstream * inside * (x >= 0),
        "It passes up to 1, however negative.": upstream * (x <= 1),
        "That is the gradient of tanh.": upstream * (1 - x.tanh() ** 2),
        "The gradient of the absolute value is in it.": upstream * inside * x.sign(),
    }


def _gradient(learner, values: Tensor, upstream: Tensor) -> Tensor:
    out = learner.straight_through(values)
    expect.shape(out, tuple(values.shape), "the result")
    expect.that(isinstance(out, Tensor) and out.requires_grad, "a result with a gradient", "one without",
                cause="The way from the values to the result is cut: a comparison has no gradient, a constant neither.",
                next_step="Add something to the signs that is worth 0 and has the gradient that is wanted.")
    (got,) = torch.autograd.grad(out, values, upstream.to(values.dtype), allow_unused=True)
    return torch.zeros_like(values) if got is None else got


@check("binary_connect_step", weight=2)
def one_step(learner, reference, rng):
    """The gradient is taken at the binary weights, and the step by the real ones"""
    for classes, inputs, batch in ((3, 4, 5), (2, 6, 1)):
        weight, x, labels = _classifier(rng, classes, inputs, batch)
        _check_step(learner, reference, weight, x, labels, 0.01)


@check("binary_connect_step")
def sizes_change_nothing(learner, reference, rng):
    """The network computes with signs alone: real weights of the same signs and other sizes move alike"""
    weight, x, labels = _classifier(rng, 3, 4, 5)
    large, small = (_stepped(learner.binary_connect_step(size * weight, x, labels, 0.01), (3, 4)) for size in (1, 0.1))
    expect.close(small, 0.1 * weight + (large - weight), "real weights a tenth as large, moved as far as the others",
                 rtol=1e-3, atol=1e-5, causes={
                     "The real weights are lost: what comes out depends on their signs alone.": large,
                 }, cause="The gradient is taken at the real weights, and the network computes with binary ones.",
                 next_step="Which weights make the logits, which have the gradient, and which take the step?")


@check("binary_connect_step")
def weights_stay_in_the_range(learner, reference, rng):
    """After the step the real weights lie between −1 and 1"""
    weight, x, labels = _classifier(rng, 3, 5, 4)
    _check_step(learner, reference, weight, x, labels, 3.0)


@check("binary_connect_step")
def small_steps_add_up(learner, reference, rng):
    """Steps too small to turn a sign are kept, and turn it after many"""
    weight, x, labels = torch.tensor([[0.03], [-0.03]]), torch.tensor([[1.0]]), torch.tensor([1])
    turned = 0
    for _ in range(12):
        weight = _stepped(learner.binary_connect_step(weight, x, labels, 0.004), (2, 1))
        turned += int(bool((weight[0] < 0) & (weight[1] > 0)))
    expect.equal(turned, 4, "steps of 12 after which both signs are turned",
                 causes={"The weights never move far enough.": 0, "Signs turn at once.": 12},
                 next_step="Print the real weights after each step: what do they lose on the way?")


@check("binary_connect_step")
def zero_counts_as_positive(learner, reference, rng):
    """A real weight of 0 computes as +1"""
    weight, x, labels = _classifier(rng, 3, 4, 3)
    weight[0, 1] = weight[2, 0] = 0
    _check_step(learner, reference, weight, x, labels, 0.05)


@check("binary_connect_step")
def weights_beyond_the_range(learner, reference, rng):
    """A weight beyond ±1 takes its step as all others do, and is clipped after it"""
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])  # the two logits are equal: each slope is −1/2 or 1/2
    weight = signs * torch.from_numpy(rng.uniform(1.05, 1.4, (2, 2))).float()
    weight[1, 1] = 0.3
    _check_step(learner, reference, weight, torch.tensor([[1.0, 1.0]]), torch.tensor([1]), 1.0)


@check("binary_connect_step", weight=0.5)
def given_weights_stay(learner, reference, rng):
    """The weights that it is given are left as they are"""
    weight, x, labels = _classifier(rng, 3, 4, 5)
    for stochastic in (False, True):
        given = weight.clone()
        learner.binary_connect_step(inout(given), x, labels, 0.5, stochastic=stochastic)
        expect.equal(given, weight, "the weights that it was given, after the call",
                     cause="The function changed its argument.",
                     next_step="Return new weights: which of your operations work in place?")


@check("binary_connect_step", weight=2)
def chance_makes_the_weights(learner, reference, rng):
    """Stochastic: each step is that of some binary weights, drawn as often as the real weights say"""
    weight = torch.tensor([[-1.0, 1.2], [0.5, -0.2], [0.8, -0.6]], dtype=torch.float64)
    draws, first = 300, int(rng.integers(2**30))
    mean, room = _drawn(learner, reference, weight, range(first, first + draws)).mean(0).numpy(), 0.3
    want = weight.clamp(-1, 1).numpy()
    expect.close(mean, want, f"the mean of the binary weights over {draws} seeds", rtol=0, atol=room,
                 cause=_nearest(mean, room, {
                     "+1 and −1 are mixed up.": -want,
                     "The real weights play no part.": np.zeros((3, 2))}) or "The draws have other probabilities.",
                 next_step="A weight of 0.5 must be +1 three times out of four, with a new draw for every seed.")


@check("binary_connect_step")
def each_weight_is_drawn_by_itself(learner, reference, rng):
    """Stochastic: each weight has a draw of its own"""
    weight = torch.tensor([[-1.0, 1.0], [0.1, -0.1], [-0.1, 0.1]], dtype=torch.float64)
    draws, first = 150, int(rng.integers(2**30))
    signs = _drawn(learner, reference, weight, range(first, first + draws)).flatten(1)[:, 2:]
    products = (signs.T @ signs / draws).abs()  # near 0.01 for two draws, at least 0.8 for one that is shared
    for whose, pairs in (("all weights", ((0, 3), (1, 2))), ("all classes of an input", ((0, 2), (1, 3))),
                         ("all inputs of a class", ((0, 1), (2, 3)))):
        worst = max(float(products[pair]) for pair in pairs)
        expect.that(worst < 0.5, "two weights near 0 whose signs agree about as often as not",
                    f"a mean product of their signs of {worst:.2f} in size, over {draws} seeds",
                    cause=f"One draw decides for {whose}.", next_step="Draw as many numbers as there are weights.")


def _classifier(rng, classes: int, inputs: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.from_numpy(rng.uniform(0.05, 0.9, (classes, inputs)) * rng.choice([-1, 1], (classes, inputs)))
    return (weight.float(), torch.from_numpy(rng.standard_normal((batch, inputs))).float(),
            torch.from_numpy(rng.integers(0, classes, batch)))


def _slope(reference, weight: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    """The gradient at the signs of some weights, from a small step of the reference; half as large, they don't clip."""
    half = weight.double() / 2
    return (half - reference.binary_connect_step(half, x.double(), labels, 1e-3)) / 1e-3


def _drawn(learner, reference, weight: Tensor, seeds) -> Tensor:
    """The binary weights of a step by chance with each seed. The first class's weights, −1 or less and 1 or more, are
    certain."""
    x, labels = torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=torch.float64), torch.tensor([0, 1])
    patterns = torch.stack([torch.tensor([-1, 1, *signs], dtype=torch.float64).view(3, 2)
                            for signs in itertools.product((-1, 1), repeat=4)])
    slopes = torch.stack([_slope(reference, pattern, x, labels) for pattern in patterns])
    steps = (weight - 0.1 * slopes).clamp(-1, 1)
    others = {"The loss is summed over the batch: the mean is asked for.":
                  (weight - 0.1 * len(x) * slopes).clamp(-1, 1),
              "It goes uphill: the gradient is added.": (weight + 0.1 * slopes).clamp(-1, 1),
              "The step starts from the binary weights, not from the real ones.":
                  (patterns - 0.1 * slopes).clamp(-1, 1),
              "The real weights are not clipped.": weight - 0.1 * slopes,
              "Weights are clipped before the step: only what comes out is to be clipped.":
                  (weight.clamp(-1, 1) - 0.1 * slopes).clamp(-1, 1),
              "Weights are clipped before the step, and not after it.": weight.clamp(-1, 1) - 0.1 * slopes,
              "The gradient is stopped for weights at ±1: it is that of the binary weights, and all of them are there.":
                  weight.clamp(-1, 1) - 0.1 * slopes * (weight.abs() < 1)}
    chosen = []
    for seed in seeds:
        got = _stepped(learner.binary_connect_step(weight, x, labels, 0.1, stochastic=True, seed=seed), (3, 2))
        distances = (steps - got).abs().amax((1, 2))
        known = (cause for cause, wrong in others.items() if (wrong - got).abs().amax((1, 2)).min() < 1e-9)
        expect.that(float(distances.min()) < 1e-9, "the step of one of the 16 patterns of signs that can be drawn",
                    expect.show(got), cause=next(
                        known, "The gradient isn't that at weights of ±1, or a weight from ±1 on was drawn, too."),
                    next_step="Draw the binary weights once, and compute both logits and gradient with them.")
        chosen.append(int(distances.argmin()))
    expect.that(len(set(chosen)) > 1, "other binary weights for other seeds",
                f"the same binary weights for all {len(chosen)} seeds",
                cause="Nothing is drawn, or the seed isn't used.",
                next_step="Compare the steps of seed=1, seed=2 and seed=3.")
    return patterns[chosen]


def _check_step(learner, reference, weight, x, labels, rate):
    want = reference.binary_connect_step(weight, x, labels, rate)
    change = rate * _slope(reference, weight, x, labels)
    zeros = weight == 0
    to_negative = rate * _slope(reference, torch.where(zeros, -1.0, weight), x, labels) if zeros.any() else change
    signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
    causes = {
        "The real weights are not clipped.": weight - change,
        "The step starts from the binary weights: what the real ones have collected is lost.":
            (signs - change).clamp(-1, 1),
        "The step starts from the binary weights and isn't clipped.": signs - change,
        "The new weights are binary: small steps can't add up.": torch.where(weight - change >= 0, 1.0, -1.0),
        "It goes uphill: the gradient is added.": (weight + change).clamp(-1, 1),
        "The loss is summed over the batch: the mean is asked for.": (weight - len(x) * change).clamp(-1, 1),
        "A weight of 0 computes as −1.": (weight - to_negative).clamp(-1, 1),
        "The gradient is stopped for weights beyond ±1: it is that of the binary weights, and none is beyond.":
            (weight - change * (weight.abs() <= 1)).clamp(-1, 1),
        "Weights are clipped before the step: only what comes out is to be clipped.":
            (weight.clamp(-1, 1) - change).clamp(-1, 1),
        "Weights are clipped before the step, and not after it.": weight.clamp(-1, 1) - change,
        "Nothing has changed.": weight,
    }
    got = _stepped(learner.binary_connect_step(weight, x, labels, rate), tuple(weight.shape))
    expect.close(got, want, f"the real weights after a step at the rate {rate:.3g}", rtol=1e-4, atol=1e-6,
                 causes=causes, cause="A weight of 0 doesn't compute as +1." if zeros.any() else "",
                 next_step="Name the two kinds of weights, and say for each line which of them it uses.")
    _check_dtype(got, weight, "weights")


def _stepped(got, shape) -> Tensor:
    expect.shape(got, shape, "the real weights", next_step="Return the weights after the step, in the shape they came.")
    return torch.as_tensor(got).detach()


@check("bwn_filter", weight=3)
def no_signs_and_scale_are_nearer(learner, reference, rng):
    """Brute force: of all signs, each with its own best scale, none comes nearer to the filter"""
    for shape in ((3, 4), (2, 7), (2, 2, 2, 2)):
        weight = torch.from_numpy(rng.standard_normal(shape) * 10.0 ** rng.uniform(-2, 1))
        signs, scale = _binary(learner.bwn_filter(weight), weight)
        _check_scale(scale, weight)
        for row, chosen, size in zip(weight.flatten(1), signs.flatten(1), scale, strict=True):
            best = min(float(((row - (b @ row / len(b)) * b) ** 2).sum()) for b in _all_signs(len(row)))
            got = float(((row - size * chosen) ** 2).sum())
            expect.that(got <= best * (1 + 1e-5) + 1e-12, f"a squared distance of at most {best:.6g}, the least of all "
                        f"{2 ** len(row)} patterns of signs", f"{got:.6g}", cause="Some of the signs are wrong.",
                        next_step="For one weight w, which is nearer to it, +α or −α?")


@check("bwn_filter")
def each_filter_has_its_scale(learner, reference, rng):
    """One scale for each filter, over all its inputs and pixels, in the dtype of the weights"""
    sizes = 10.0 ** np.arange(-2, 3)
    for shape, dtype in (((5, 8), torch.float32), ((5, 3, 2, 4), torch.float64)):
        weight = torch.from_numpy(rng.standard_normal(shape) * sizes.reshape(5, *[1] * (len(shape) - 1))).to(dtype)
        _, scale = _binary(learner.bwn_filter(weight), weight)
        _check_scale(scale, weight)
        _check_dtype(scale, weight, "weights")


@check("bwn_filter", weight=0.5)
def zeros_in_filters(learner, reference, rng):
    """A weight of 0 becomes +1; a filter of zeros has the scale 0"""
    weight = torch.tensor([[0.0, -1.0, 3.0], [0.0, 0.0, 0.0]])
    signs, scale = _binary(learner.bwn_filter(weight), weight)
    _check_signs(signs.flatten(), weight.flatten())
    expect.close(scale, [4 / 3, 0.0], "the scales of the filters (0, −1, 3) and (0, 0, 0)", rtol=1e-5, atol=1e-7,
                 causes={
        "Weights of 0 are left out of the mean, and they count.": [2.0, 0.0],
        "That is the largest absolute weight.": [3.0, 0.0], "All filters share one scale.": [2 / 3, 2 / 3],
        "Without absolute values, weights of both signs cancel.": [2 / 3, 0.0], "That is the median.": [1.0, 0.0],
        "That is the root of the mean square.": [(10 / 3) ** 0.5, 0.0],
    }, next_step="How many weights does the filter have?")


def _all_signs(n: int):
    return (torch.tensor(signs, dtype=torch.float64) for signs in itertools.product((-1.0, 1.0), repeat=n))


def _check_scale(scale: Tensor, weight: Tensor) -> None:
    rows = weight.double().flatten(1)
    size = rows.abs()
    expect.close(scale, [sum(abs(w) for w in row) / len(row) for row in rows.tolist()],
                 f"the scales of filters {tuple(weight.shape)}", rtol=1e-5, atol=1e-9, causes={
        "That is the largest absolute weight: right for a grid's end, too large for signs.": size.amax(1),
        "That is the root of the mean square.": (rows**2).mean(1).sqrt(),
        "Without absolute values, weights of both signs cancel.": rows.mean(1),
        "The sum isn't divided by the number of weights.": size.sum(1),
        "All filters share one scale.": size.mean().expand(len(rows)),
        "That is the median: it makes the sum of absolute distances least, not that of squares.": size.median(1).values,
        "That is the Euclidean length.": rows.norm(dim=1),
        "It is the length divided by the number of weights.": rows.norm(dim=1) / rows.shape[1],
    }, next_step="Set the derivative of ‖W − αB‖² with respect to α to 0, with B = sign(W).")


def _binary(got, weight: Tensor) -> tuple[Tensor, Tensor]:
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "signs and scales", expect.show(got),
                next_step="Return the two as a tuple.")
    signs, scale = got
    signs = _signs(signs, weight.shape, weight.dtype)
    scale = torch.as_tensor(scale).detach()
    many = scale.numel() == weight.numel()
    as_many = scale.numel() == len(weight)
    expect.shape(scale, (len(weight),), "the scales",
                 cause="There are as many as there should be, with axes too many." if as_many else
                 "Nothing is averaged." if many else "There is one scale for each filter, the first axis.",
                 next_step="Flatten all axes but the first, and take the mean over what is left.")
    return signs, scale

PLACES = ((1, 1, 0), (3, 1, 0), (3, 1, 1), (2, 2, 0), (3, 2, 1), (5, 1, 2), (1, 1, 1), (2, 1, 2), (3, 3, 2))


@check("input_scales", weight=2)
def mean_size_of_each_window(learner, reference, rng):
    """At each place, the mean of |I| over the window and all channels, window by window"""
    for kernel, stride in ((3, 1), (2, 1), (1, 1), (5, 1)):
        _check_windows(learner, torch.from_numpy(rng.standard_normal((2, 4, 6, 7))), kernel, stride, 0)


@check("input_scales")
def strides_and_borders(learner, reference, rng):
    """Strides, and borders of zeros, narrow and wide, which count in the mean"""
    for kernel, stride, padding in PLACES:
        _check_windows(learner, torch.from_numpy(rng.standard_normal((1, 2, 5, 6))), kernel, stride, padding)


@check("input_scales", weight=0.5)
def turned_signs_change_nothing(learner, reference, rng):
    """An image that is −2 or 2 everywhere has the scale 2 everywhere, and the dtype stays"""
    for dtype in (torch.float32, torch.float64):
        images = torch.from_numpy(2.0 * rng.choice([-1.0, 1.0], (1, 4, 5, 5))).to(dtype)
        got = _map(learner.input_scales(images, 3), (1, 1, 3, 3), _other_places(5, 5, 3, 1, 0))
        expect.close(got, torch.full((1, 1, 3, 3), 2.0), "the scales of ±2", causes={
            "The mean is taken before the absolute value: signs cancel.":
                functional.avg_pool2d(images, 3, 1).mean(1, keepdim=True).abs(),
            "Channels are added up, not averaged.": torch.full((1, 1, 3, 3), 8.0),
            "The window is added up, not averaged.": torch.full((1, 1, 3, 3), 18.0),
            "It is divided by the kernel's side, not by its number of places.": torch.full((1, 1, 3, 3), 6.0),
            "Nothing is averaged, neither channels nor window.": torch.full((1, 1, 3, 3), 72.0)},
            next_step="Absolute values first.")
        _check_dtype(got, images, "inputs")


def _check_windows(learner, images: Tensor, kernel: int, stride: int, padding: int) -> None:
    batch, channels, height, width = images.shape
    rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    options = {name: value for name, value, usual in (("stride", stride, 1), ("padding", padding, 0)) if value != usual}
    got = _map(learner.input_scales(images, kernel, **options), (batch, 1, rows, columns),
               _other_places(height, width, kernel, stride, padding))
    around = functional.pad(images, [padding] * 4)
    want, flat, inside = (torch.zeros(batch, 1, rows, columns, dtype=torch.float64) for _ in range(3))
    for i, j in itertools.product(range(rows), range(columns)):
        window = around[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel].double()
        want[:, 0, i, j] = window.abs().sum((1, 2, 3)) / (channels * kernel * kernel)
        flat[:, 0, i, j] = window.mean((1, 2, 3))
        seen = _overlap(i * stride - padding, kernel, height) * _overlap(j * stride - padding, kernel, width)
        inside[:, 0, i, j] = window.abs().sum((1, 2, 3)) / max(1, seen * channels)
    expect.close(got, want, f"the scales of images {tuple(images.shape)}, kernel {kernel}, stride {stride}, padding "
                 f"{padding}", rtol=1e-5, atol=1e-9, causes={
        "Signed numbers are averaged: they cancel.": flat,
        "The absolute value is taken after the mean: signs cancel.": flat.abs(),
        "The zeros of the border are left out of the mean.": inside,
        "Channels are added up, not averaged.": want * channels,
        "The window is added up, not averaged.": want * kernel**2,
        "Nothing is averaged, neither channels nor window.": want * channels * kernel**2,
        "It is divided by the kernel's side, not by its number of places.": want * kernel,
    }, next_step="Follow one window by hand, all channels of it.")


def _overlap(start: int, kernel: int, side: int) -> int:
    return max(0, min(side, start + kernel) - max(0, start))


def _other_places(height: int, width: int, kernel: int, stride: int, padding: int) -> dict[str, tuple[int, int]]:
    """Heights and widths of the result by the mistake that gives them."""
    def places(step, border):
        return (height + 2 * border - kernel) // step + 1, (width + 2 * border - kernel) // step + 1

    return {
        "Height and width are exchanged.": places(stride, padding)[::-1],
        "The stride is left out.": places(1, padding),
        "The border is left out.": places(stride, 0),
        "Stride and border are left out.": places(1, 0) if stride > 1 and padding else (0, 0),
        "Windows follow one another without overlap: the kernel's side is taken for the stride.":
            places(kernel, padding),
        "The border is half as wide as the kernel, whatever padding says.": places(stride, kernel // 2),
        "The numbers of places are rounded up: the last windows don't fit.":
            tuple(-(-(side + 2 * padding - kernel) // stride) + 1 for side in (height, width)),
    }


def _map(got, shape, others: dict[str, tuple[int, int]]) -> Tensor:
    actual = tuple(getattr(got, "shape", ()))
    cause = ""
    if len(actual) == 4 and actual[2:] == tuple(shape[2:]) and actual[1] != shape[1]:
        cause = "There is one scale for a window, whatever its channels."
    elif len(actual) == 3:
        cause = "The axis of the channels is gone; keep it, with length 1."
    elif len(actual) == 4:
        fitting = [mistake for mistake, sides in others.items() if sides == actual[2:]]
        cause = fitting[0] if len(fitting) == 1 else "Stride, border or rounding aren't those of the convolution."
    expect.shape(got, tuple(shape), "the scales", cause=cause,
                 next_step="The result has as many places as the convolution's output, and one channel.")
    return torch.as_tensor(got).detach()


@check("xnor_product", weight=2)
def product_of_whole_words(learner, reference, rng):
    """With n = 64 or 128, exactly the inner products"""
    for rows, length, outputs in ((3, 64, 2), (5, 128, 4)):
        _check_product(learner, rng, rows, length, outputs)


@check("xnor_product", weight=2)
def product_of_part_of_a_word(learner, reference, rng):
    """n that is no multiple of 64, or not even of 8"""
    for rows, length, outputs in ((4, 3, 3), (2, 8, 5), (3, 63, 2), (3, 65, 2), (2, 100, 7), (1, 1, 1)):
        _check_product(learner, rng, rows, length, outputs)


@check("xnor_product")
def long_rows(learner, reference, rng):
    """Long rows: 1,000 places that all agree, all differ, or any"""
    for length in (1000, 3000):
        _check_product(learner, rng, 2, length, 3)
        weight = rng.choice([-1, 1], (2, length))
        _compare(learner, np.stack([weight[0], -weight[0]]).astype(np.int8), weight)


@check("xnor_product", weight=0.5)
def empty_and_single(learner, reference, rng):
    """No row, one row, no place to sum over, no output"""
    for rows, length, outputs in ((0, 70, 3), (1, 70, 5), (3, 0, 2), (2, 64, 0)):
        _check_product(learner, rng, rows, length, outputs)


def _check_product(learner, rng, rows, length, outputs, dtype=np.int8):
    _compare(learner, rng.choice([-1, 1], (rows, length)).astype(dtype), rng.choice([-1, 1], (outputs, length)))


def _pack(signs: np.ndarray, turned: int = 0) -> np.ndarray:
    """Rows of ±1 as words: a sum of powers of two, that of element i being i, or i with some of its own bits turned."""
    rows, length = signs.shape
    words = -(-length // 64)
    ones = np.zeros((rows, 64 * words), dtype=np.uint64)
    ones[:, :length] = signs > 0
    return (ones.reshape(rows, words, 64) << (np.arange(64) ^ turned).astype(np.uint64)).sum(2, dtype=np.uint64)


def _compare(learner, inputs: np.ndarray, weight: np.ndarray) -> None:
    packed, length = _pack(weight), inputs.shape[1]
    want = inputs.astype(np.int64) @ weight.T.astype(np.int64)
    got = learner.xnor_product(inputs, packed)
    what = f"the product of {inputs.shape[0]}×{length} and {length}×{len(weight)}"
    expect.shape(got, want.shape, what, cause="Rows and outputs are exchanged."
                 if tuple(getattr(got, "shape", ())) == want.T.shape else "",
                 next_step="One row for each row of the inputs, one column for each row of weights.")
    got = np.asarray(got)
    expect.equal(got.astype(np.int64) if got.dtype.kind in "iu" else got, want, what,
                 causes=_wrong_products(inputs, weight, want) | _other_orders(inputs, packed),
                 cause="Other bits are compared than those of the same places, or their count is used otherwise.",
                 next_step="Take n = 3, write the three bits of each row down, and compare with np.binary_repr.")
    expect.that(got.dtype == np.int32, "int32", str(got.dtype), cause="It is wider or narrower than it was asked for.",
                next_step="Give the sums the type int32 from the start.")


def _wrong_products(inputs: np.ndarray, weight: np.ndarray, want: np.ndarray) -> dict[str, np.ndarray]:
    length = inputs.shape[1]
    differ, unused, whole = (length - want) // 2, -length % 64, length // 64 * 64
    both = (inputs > 0).astype(np.int64) @ (weight > 0).T.astype(np.int64)
    of_whole_words = inputs[:, :whole].astype(np.int64) @ weight[:, :whole].T.astype(np.int64)
    return {
        "Bits that no element uses are counted as agreeing.": want + unused,
        "Bits that no element uses are counted as differing.": want - unused,
        "Bits that no element uses are counted among those that agree, and each counts twice.": want + 2 * unused,
        "Bits that no element uses are not 0 in the inputs' words: each counts as differing.": want - 2 * unused,
        "The last word, used in part, is left out: its places count as agreeing.": of_whole_words + length - whole,
        "The last word, used in part, is left out.": of_whole_words,
        "That is the number of places that differ.": differ,
        "That is the number of places that agree.": length - differ,
        "Places that differ are taken off once; a −1 in place of a +1 makes a difference of two.": length - differ,
        "The sign is turned round.": -want,
        "Counts above 255 have wrapped around: bytes are too short for sums.": length - 2 * (differ % 256),
        "Sums have wrapped around: eight bits with a sign reach from −128 to 127.": (want + 128) % 256 - 128,
        "Bits are counted where both are 1, as if they were 1 and 0.": both,
        "Places count as agreeing where both are +1 only: two −1 agree as well.": 2 * both - length,
        "Every input is packed as a 1, those that are −1, too.": (weight.sum(1) + 0 * inputs[:, :1]).astype(np.int64)
            if length else want,
        "Inputs have a word more than weights, and it is compared, too.": want - 2 * (weight > 0).sum(1),
        "Numbers that ran below 0 have wrapped around: an unsigned count has no −1.": want % 2**8,
    }


def _other_orders(inputs: np.ndarray, packed: np.ndarray) -> dict[str, np.ndarray]:
    return {
        f"The {what} lie in the opposite order.":
            inputs.shape[1] - 2 * np.bitwise_count(_pack(inputs, turned)[:, None] ^ packed).sum(2, dtype=np.int64)
        for what, turned in (("bits of each byte", 7), ("bytes of each word", 56), ("bits of each word", 63))
    }


@check("xnor_convolution", weight=2)
def convolution_without_border(learner, reference, rng):
    """Signs are convolved, and scaled by A and α; the dtype stays"""
    for shape, kernels in (((1, 3, 5, 6), (2, 3, 3, 3)), ((2, 1, 4, 4), (3, 1, 2, 2)), ((1, 2, 3, 3), (4, 2, 1, 1))):
        _check_convolution(learner, reference, rng, shape, kernels, 1, 0)
    _check_convolution(learner, reference, rng, (1, 2, 3, 4), (2, 2, 2, 2), 1, 0, torch.float64)


@check("xnor_convolution", weight=2)
def the_border_counts_for_nothing(learner, reference, rng):
    """A border is neither +1 nor −1: it adds nothing"""
    for stride, padding in ((1, 1), (2, 1), (1, 2), (3, 2)):
        _check_convolution(learner, reference, rng, (1, 2, 5, 4), (3, 2, 3, 3), stride, padding)


@check("xnor_convolution", weight=0.5)
def zeros_are_positive(learner, reference, rng):
    """Zeros of the image, as after a ReLU, and of kernels, as after pruning, count as +1; those of the border don't"""
    images = torch.from_numpy(np.maximum(rng.standard_normal((1, 3, 4, 4)), 0)).float()
    weight = torch.from_numpy(rng.standard_normal((2, 3, 3, 3))).float()
    _compare_convolution(learner, reference, images, weight, 1, 1)
    weight[:, :, 1] = 0
    _compare_convolution(learner, reference, images - 0.5, weight, 1, 1)  # an image without zeros
    _compare_convolution(learner, reference, images, weight, 1, 1)


def _check_convolution(learner, reference, rng, shape, kernels, stride, padding, dtype=torch.float32):
    images, weight = (torch.from_numpy(rng.standard_normal(sides)).to(dtype) for sides in (shape, kernels))
    _compare_convolution(learner, reference, images, weight, stride, padding)


def _compare_convolution(learner, reference, images, weight, stride, padding):
    want = reference.xnor_convolution(images, weight, stride, padding)
    options = {name: value for name, value, usual in (("stride", stride, 1), ("padding", padding, 0)) if value != usual}
    got = learner.xnor_convolution(images, weight, **options)
    expect.shape(got, tuple(want.shape), "the convolution", next_step="Work out the number of places by hand.")
    image, kernels = (torch.where(tensor >= 0, 1.0, -1.0).to(images.dtype) for tensor in (images, weight))
    alpha = weight.abs().flatten(1).mean(1)[:, None, None]
    box = torch.full((1, 1, *weight.shape[2:]), 1 / weight[0, 0].numel(), dtype=images.dtype)
    scales = functional.conv2d(images.abs().mean(1, keepdim=True), box, stride=stride, padding=padding)
    products = functional.conv2d(image, kernels, stride=stride, padding=padding)

    def bordered(value):
        return functional.conv2d(functional.pad(image, [padding] * 4, value=value), kernels, stride=stride)

    causes = {
        "The border is taken for +1.": bordered(1.0) * scales * alpha,
        "The border is taken for −1.": bordered(-1.0) * scales * alpha,
        "The scales of the inputs are missing.": products * alpha,
        "The scales of the filters are missing.": products * scales,
        "Both scales are missing.": products,
        "Only the weights are binary.": functional.conv2d(images, kernels, stride=stride, padding=padding) * alpha,
        "That is the convolution of real numbers.": functional.conv2d(images, weight, stride=stride, padding=padding),
        "All filters share one α.": products * scales * weight.abs().mean(),
        "Zeros of the image count as nothing.":
            functional.conv2d(images.sign(), kernels, stride=stride, padding=padding) * scales * alpha,
        "Zeros of the kernels count as nothing.":
            functional.conv2d(image, weight.sign(), stride=stride, padding=padding) * scales * alpha,
    }
    expect.close(got, want, f"the convolution of {tuple(images.shape)} with {tuple(weight.shape)}, stride {stride}, "
                 f"padding {padding}", rtol=1e-4, atol=1e-5, causes=causes,
                 next_step="Try one channel, one filter and a 3×3 image; then look at a corner of the output.")
    _check_dtype(torch.as_tensor(got), images, "inputs")


@check("speed_up", weight=2)
def the_papers_figures(learner, reference, rng):
    """With the paper's assumptions: 256 channels and 3×3, and others"""
    for channels, kernel in ((256, 3), (1, 1), (3, 11), (512, 1), (20, 5)):
        _check_speed(learner, reference, channels, kernel, 64, 1)


@check("speed_up")
def other_processors(learner, reference, rng):
    """Other numbers of operations in a clock, of floats and of bits"""
    for binary, floats in ((64, 16), (512, 32), (64, 64), (128, 1), (170.5, 19.5), (0.5, 0.25)):
        _check_speed(learner, reference, 256, 3, binary, floats)


@check("speed_up", weight=0.5)
def speed_up_refuses_nonsense(learner, reference, rng):
    """Nothing to compute with, or no operation in a clock, is a ValueError"""
    for values in ((0, 3), (256, 0), (256, 3, 0), (256, 3, 64, 0), (256, 3, -1, 1), (256, 3, -1, -1)):
        expect.raises("ValueError", learner.speed_up, *values, why=f"the arguments are {values}")


def _check_speed(learner, reference, channels, kernel, binary, floats):
    want = reference.speed_up(channels, kernel, binary, floats)
    swapped = reference.speed_up(channels, kernel, floats, binary)
    options = {name: value for name, value, usual in (("binary_per_clock", binary, 64), ("float_per_clock", floats, 1))
               if value != usual}
    n = channels * kernel**2
    expect.close(
        learner.speed_up(channels, kernel, **options), want,
        f"the speed-up of {channels} channels, {kernel}×{kernel}, with {binary:g} binary and {floats:g} float "
        "operations in a clock", rtol=1e-9, causes={
            "The float operation for the scales is left out.": binary / floats,
            "It is upside down: above 1 should mean faster.": 1 / want,
            "Floats and bits are exchanged.": swapped,
            "The kernel's side is there, and not its square.":
                (channels * kernel / floats) / (channels * kernel / binary + 1 / floats),
            "The operation for the scales is done in no longer than a binary one.": (n / floats) / ((n + 1) / binary),
            "It takes one clock for the scales, whatever the float operations in a clock.":
                (n / floats) / (n / binary + 1),
            "float_per_clock isn't used.": n / (n / binary + 1),
            "A multiply-accumulate is counted as two for floats and as one for bits.": 2 * want,
        }, next_step="Write down the clocks of both at one place of the output, and divide.")
