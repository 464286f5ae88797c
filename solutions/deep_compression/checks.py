"""Unit 07, deep compression: exercises, points, budget, and the checks of what a learner writes."""

import itertools
import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact, expect, models
from nutshell.checks import Budget, Exercise, Limit, Unit, check
from nutshell.errors import Refused

UNIT = Unit(
    number=7,
    name="deep_compression",
    title="Deep compression",
    exercises=(
        Exercise("codebook", points=3, minutes=20, difficulty=2),
        Exercise("share", points=1, minutes=8),
        Exercise("centroid_gradient", points=2, minutes=10),
        Exercise("huffman_code", points=3, minutes=20, difficulty=2),
        Exercise("huffman_decode", points=2, minutes=12, difficulty=2),
        Exercise("pipeline", points=3, minutes=20, difficulty=3),
        Exercise("sharing_rate", points=0, minutes=5, extension=True),
        Exercise("optimal_codebook", points=0, minutes=30, difficulty=3, extension=True),
    ),
    budgets=(
        Budget(
            name="thirty_times",
            points=4,
            file="deep_compression.nut",
            data="mnist",
            topology="lenet-300-100",
            limits=(Limit("bytes", at_most=4 * 266_610 / 30), Limit("error_percent", at_most=2.2)),
            minutes=15,
        ),
    ),
)

STARTS = ("linear", "density", "random")
FIGURE_3 = (  # Han, Mao and Dally 2016: indices and gradients of sixteen weights
    ((3, 0, 2, 1), (1, 1, 0, 3), (0, 3, 1, 0), (3, 1, 2, 2)),
    ((-0.03, -0.01, 0.03, 0.02), (-0.01, 0.01, -0.02, 0.12), (-0.01, 0.02, 0.04, 0.01), (-0.07, -0.02, 0.01, -0.02)),
)


# Codebooks -----------------------------------------------------------------------------------------------------------


@check("codebook")
def linear_start_has_equal_steps(learner, reference, rng):
    """Linear start: equal steps from the least value to the largest, both included"""
    for count, q in ((30, 5), (12, 2), (9, 1), (40, 16)):
        values = torch.from_numpy(rng.standard_normal(count))
        least, most = float(values.min()), float(values.max())
        step = (most - least) / q
        expect.close(
            _centroids(learner.codebook(values, q, rounds=0), q), np.linspace(least, most, q),
            f"the linear start of {q} centroids between {least:.4g} and {most:.4g}, after 0 rounds",
            causes={"Those are the middles of q equal parts: least and largest value must be among them.":
                    least + step * (np.arange(q) + 0.5),
                    "Those are the left ends of q equal parts: the largest value is missing.":
                    least + step * np.arange(q),
                    "That is already one round later: 0 rounds give the start itself.":
                    _lloyd(values.numpy(), np.linspace(least, most, q), 1)},
            next_step="Print the start for the values 0, 1, …, 10 and three centroids.")


@check("codebook")
def density_start_follows_the_values(learner, reference, rng):
    """Density start: as many values below the i-th centroid as the (i + ½)/q quantile asks"""
    for count, q in ((60, 4), (50, 1), (100, 7)):
        values = rng.standard_normal(count) ** 3
        found = _centroids(learner.codebook(torch.from_numpy(values), q, "density", rounds=0), q)
        for i, centroid in enumerate(found):
            wanted = (i + 0.5) / q * count
            below, up_to = int((values < centroid).sum()), int((values <= centroid).sum())
            expect.that(below - 1 <= wanted <= up_to + 1,
                        f"about {wanted:.1f} of {count} values below centroid {i} of {q}, counted from 0", f"{below}",
                        cause=_cause_of_start(values, found, q),
                        next_step="Sort the values and look where in that order your centroids lie.")


@check("codebook")
def random_start_draws_elements(learner, reference, rng):
    """Random start: q different elements of the values, the same for the same seed"""
    values = torch.from_numpy(rng.standard_normal(30))
    drawn = [_centroids(learner.codebook(values, 6, "random", seed=seed, rounds=0), 6) for seed in (0, 1, 2, 3, 0)]
    for found in drawn:
        strange = [c for c in found if np.abs(values.numpy() - c).min() > 1e-9]
        expect.that(not strange, "centroids that are elements of the values", expect.show(found),
                    cause="They are drawn between the values, not among them.",
                    next_step="Draw positions, then look up the values there.")
        expect.that(len(np.unique(found)) == 6, "6 different elements", expect.show(found),
                    cause="The same element was drawn twice.", next_step="Draw without putting back.")
    expect.equal(drawn[4], drawn[0], "the draw with seed 0, asked for a second time",
                 cause="The seed isn't used, or not by all that is random.",
                 next_step="Make a generator of your own from the seed.")
    expect.that(any(not np.array_equal(drawn[0], other) for other in drawn[1:4]), "other draws for other seeds",
                "four times the same", cause="The seed isn't used.", next_step="Make a generator from the seed.")


@check("codebook", weight=2)
def rounds_of_lloyd(learner, reference, rng):
    """In a round each value goes to its nearest centroid, and each centroid to the mean of its members"""
    for values, q in (((0.0, 1.0, 2.0, 9.0, 10.0), 2), ((0.0, 0.3, 0.5, 4.0, 4.1, 7.0, 8.0, 20.0), 3),
                      ((0.0, 0.0, 0.0, 1.0, 3.2, 9.0, 10.0), 2), ((2.0, 15.0, 16.0, 17.2, 20.0), 3),
                      (tuple(np.round(rng.standard_normal(15) * 3, 3)), 4)):
        for rounds in (1, 2, 4):
            _check_rounds(learner, np.array(rng.permutation(values)), q, rounds)


@check("codebook")
def objective_never_rises(learner, reference, rng):
    """Σ (value − nearest centroid)² never rises from round to round, from any start"""
    values = np.concatenate([rng.standard_normal(60), 4 + 0.3 * rng.standard_normal(20)])
    for start in STARTS:
        before = math.inf
        for rounds in range(7):
            found = _centroids(learner.codebook(torch.from_numpy(values), 5, start, 3, rounds), 5)
            after = _objective(values, found)
            expect.that(after <= before * (1 + 1e-9), f"at most {before:.6g} after {rounds} rounds ({start} start)",
                        f"{after:.6g}", cause="One of the two steps of a round does something else.",
                        next_step="Print the sum after each of the two steps: which raises it?")
            before = after


@check("codebook")
def lonely_centroids_stay(learner, reference, rng):
    """A centroid without members stays where it is"""
    for values, q in (((0.0, 0.1, 0.2, 0.3, 10.0), 5), ((-3.0, -3.0, -3.0, 5.0, 5.1), 4), ((1.0, 1.0, 1.0), 2)):
        for rounds in (1, 5):
            _check_rounds(learner, np.array(values), q, rounds)


@check("codebook", weight=0.5)
def codebook_refuses_what_cannot_be(learner, reference, rng):
    """Fewer than 1 or more than n centroids, or a start that nobody knows, is a ValueError"""
    values = torch.from_numpy(rng.standard_normal(6))
    for q in (0, -1, 7):
        expect.raises("ValueError", learner.codebook, values, q, why=f"6 values can share 1 to 6 centroids, not {q}")
    expect.raises("ValueError", learner.codebook, values, 2, "lineer", why="start='lineer' is none of the three")


@check("codebook", hidden=True, weight=2)
def rounds_on_any_values(learner, reference, rng):
    """Rounds are right for any values, start and dtype"""
    for start in STARTS:
        for dtype in (torch.float32, torch.float64):
            count, q = int(rng.integers(20, 200)), int(rng.integers(1, 17))
            values = torch.from_numpy(rng.standard_normal(count)).to(dtype)
            seed, rounds = int(rng.integers(100)), int(rng.integers(1, 6))
            first = _centroids(learner.codebook(values, q, start, seed, 0), q)
            want = _lloyd(values.double().numpy(), first, rounds)
            expect.close(_centroids(learner.codebook(values, q, start, seed, rounds), q), want,
                         f"{q} centroids of {count} values after {rounds} rounds from your own {start} start",
                         rtol=1e-4, atol=1e-5, next_step="Do one round on six values by hand and compare.")


@check("codebook", hidden=True)
def planted_clusters_are_found(learner, reference, rng):
    """Well separated clusters are found: the sum is the optimum, which dynamic programming gives"""
    for q in (2, 5, 8):
        sizes = rng.integers(1, 12, q)
        values = rng.permutation(np.concatenate([10 * i + rng.random(size) for i, size in enumerate(sizes)]))
        best = _least_objective(values, q)
        got = _objective(values, _centroids(learner.codebook(torch.from_numpy(values), q), q))
        expect.that(best * (1 - 1e-9) - 1e-9 <= got <= best * (1 + 1e-6) + 1e-9,
                    f"{best:.6g}, the least possible sum of squares for {q} clusters", f"{got:.6g}",
                    cause="The rounds end before nothing changes any more, or members are not the nearest.",
                    next_step="Draw the values on a line with your centroids among them.")


@check("codebook", hidden=True, weight=0.5)
def ties_and_constants(learner, reference, rng):
    """Values that repeat, and values that are all alike"""
    for values, start in (((1.0,) * 5 + (2.0,) * 5, "linear"), ((1.0,) * 5 + (2.0,) * 5, "density"),
                          ((3.0,) * 6, "linear"), ((3.0,) * 6, "density"), ((3.0,) * 6, "random"),
                          ((0.0, 0.0, 0.0, 1.0), "linear")):
        found = _centroids(learner.codebook(torch.tensor(values), 3, start), 3)
        expect.close(_objective(np.array(values), found), 0.0, f"the sum of squares of {list(values)} from the {start} "
                     "start with 3 centroids", next_step="Try values that are all the same.")


def _centroids(found, q: int) -> np.ndarray:
    """What came, as ascending finite float64; with the words for what else may come."""
    found = _tensor(found)
    expect.shape(found, (q,), "the centroids", cause="Centroids without members were dropped, or some were added.",
                 next_step="Print the shape after each round.")
    expect.that(bool(found.isfinite().all()), "finite centroids", expect.show(found),
                cause="The mean of no members is not a number.", next_step="What should become of such a centroid?")
    expect.that(bool((found.diff() >= -1e-6).all()), "ascending centroids", expect.show(found),
                cause="They come in the order in which they were drawn or made.", next_step="Sort them.")
    return found.numpy()


def _check_rounds(learner, values: np.ndarray, q: int, rounds: int) -> None:
    start = np.linspace(values.min(), values.max(), q)
    members = np.abs(values[:, None] - start).argmin(1)
    there = [values[members == j] for j in range(q)]
    causes = {
        "That is the start: no round has been done.": start,
        "One round too few.": _lloyd(values, start, rounds - 1),
        "One round too many.": _lloyd(values, start, rounds + 1),
        "Those are medians of the members, not means.":
            np.array([np.median(x) if len(x) else c for x, c in zip(there, start, strict=True)]),
        "Those are the middles between least and largest member, not means.":
            np.array([(x.min() + x.max()) / 2 if len(x) else c for x, c in zip(there, start, strict=True)]),
        "A value that occurs several times counts several times in the mean.":
            _lloyd(np.unique(values), start, rounds),
        "The members are to be found once a round, before any centroid moves.":
            _one_after_the_other(values, start, rounds),
    }
    found = _centroids(learner.codebook(torch.from_numpy(values), q, rounds=rounds), q)
    lonely = [c for x, c in zip(there, start, strict=True) if not len(x)]
    moved = rounds == 1 and any(np.abs(found - c).min() > 1e-6 for c in lonely)
    expect.close(
        found, _lloyd(values, start, rounds), cause="A centroid without members was moved; it stays." if moved else "",
        what=
        f"{q} centroids of {expect.show(np.sort(values))} after {rounds} round{'s' * (rounds > 1)} from the linear "
        "start", rtol=1e-6, atol=1e-9, causes=causes,
        next_step="Write down which values are nearest to each centroid, and their means.")


def _one_after_the_other(values: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    """A mistake: each centroid moves at once, and the next one's members are sought after that."""
    found = np.array(start, np.float64)
    for _ in range(rounds):
        for j in range(len(found)):
            own = values[np.abs(values[:, None] - found).argmin(1) == j]
            found[j] = own.mean() if len(own) else found[j]
    return found


def _cause_of_start(values: np.ndarray, found: np.ndarray, q: int) -> str:
    if np.allclose(found, np.linspace(values.min(), values.max(), q)):
        return "Those are equal steps of the value; here the number of values between them is to be equal."
    if q > 1 and np.allclose(found, np.quantile(values, np.linspace(0, 1, q))):
        return "Those quantiles begin at 0 and end at 1; with (i + ½)/q each has its share on both sides."
    if np.allclose(found, np.quantile(values, np.arange(q) / q)):
        return "Those are the quantiles i/q: half a step is missing."
    if np.allclose(found, np.quantile(values, np.arange(1, q + 1) / (q + 1))):
        return "Those are the quantiles (i + 1)/(q + 1): the centroids at the ends have more values around them."
    return ""


def _lloyd(values: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    found = np.array(start, np.float64)
    for _ in range(max(0, rounds)):
        members = np.abs(values[:, None] - found).argmin(1)
        found = np.array([values[members == j].mean() if (members == j).any() else found[j] for j in range(len(found))])
    return found


def _objective(values: np.ndarray, centroids: np.ndarray) -> float:
    return float((np.abs(values[:, None] - centroids).min(1) ** 2).sum())


def _least_objective(values: np.ndarray, q: int) -> float:
    """By dynamic programming over the sorted values: members of a centroid are neighbours."""
    x = np.sort(values)
    n = len(x)
    cost = [[float(((x[i:j] - x[i:j].mean()) ** 2).sum()) if j > i else math.inf for j in range(n + 1)]
            for i in range(n + 1)]
    best = cost[0]
    for _ in range(q - 1):
        best = [min(best[i] + cost[i][j] for i in range(n + 1)) for j in range(n + 1)]
    return best[n]


# Sharing -------------------------------------------------------------------------------------------------------------


@check("share")
def each_weight_takes_its_nearest(learner, reference, rng):
    """Each weight points at its nearest centroid, in whatever order the centroids are"""
    for shape, centroids in (((12,), (-1.5, -0.5, 0.5, 1.5)), ((4, 5), (0.5, -1.0, 2.0)), ((3, 2, 2, 2), (0.1,))):
        _check_share(learner, torch.from_numpy(rng.standard_normal(shape)), torch.tensor(centroids).double())


@check("share")
def pruned_weights_stay_pruned(learner, reference, rng):
    """A weight that is zero has the index −1 and stays zero; no other weight has that index"""
    weight = torch.from_numpy(rng.standard_normal((5, 6)))
    weight[rng.random((5, 6)) < 0.5] = 0.0
    weight[0, :2] = torch.tensor([1e-4, -1e-6])  # small, and not pruned
    for centroids in ((-1.0, 1.0), (0.3, -2.0, 0.0)):
        _check_share(learner, weight, torch.tensor(centroids).double())


@check("share", hidden=True)
def share_any_weights(learner, reference, rng):
    """Weights of any shape, with and without zeros, and any number of centroids"""
    for shape, q in (((7,), 3), ((9, 11), 16), ((4, 3, 3, 3), 5), ((2, 2), 9)):
        weight = torch.from_numpy(rng.standard_normal(shape)) * torch.from_numpy(rng.random(shape) < 0.6)
        centroids = torch.from_numpy(rng.permutation(rng.standard_normal(q)))
        _check_share(learner, weight, centroids)
        _check_share(learner, weight.float(), centroids.float())
    _check_share(learner, torch.zeros(3, 4), torch.tensor([0.5, 0.0]))


def _check_share(learner, weight: Tensor, centroids: Tensor) -> None:
    got = learner.share(weight, centroids)
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "indices and shared weights, a pair",
                expect.show(got), next_step="Return both: the indices first.")
    indices, shared = (_tensor(part) for part in got)
    for part, what in ((indices, "the indices"), (shared, "the shared weights")):
        expect.shape(part, tuple(weight.shape), what, cause="They have lost the shape of the weights.",
                     next_step="A result in another order of numbers is of no use to a layer: give it the shape again.")
    pruned = weight == 0
    wrong = int(((indices == -1) != pruned).sum())
    expect.that(wrong == 0, f"the index −1 at the {int(pruned.sum())} weights that are zero, and nowhere else",
                f"{wrong} of {weight.numel()} indices otherwise", cause=_cause_of_pruned(indices, pruned, shared),
                next_step="Share the weights 0, 0.1 and −2 among the centroids −1 and 0.2 by hand.")
    whole = bool((indices == indices.round()).all())
    expect.that(whole and int(indices.min()) >= -1 and int(indices.max()) < len(centroids),
                f"whole indices below {len(centroids)}", expect.show(indices),
                cause="" if whole or bool((shared != shared.round()).any()) else "The two come in the other order.",
                next_step="An index counts the centroids from 0.")
    numbers, book = weight.double(), centroids.double()
    chosen = book[indices.long().clamp(min=0)]
    distances = (numbers[..., None] - book).abs()
    far = int((~pruned & ((numbers - chosen).abs() > distances.min(-1).values + 1e-6)).sum())
    ascending = bool((book.diff() >= 0).all())
    expect.that(far == 0, "the nearest of the centroids for each weight", f"{far} of {weight.numel()} at another one",
                cause="" if ascending else "The centroids here are not in ascending order: is that taken for granted?",
                next_step=f"Compute all distances of one weight to the centroids {expect.show(centroids)}.")
    want = torch.where(pruned, 0.0, chosen)
    expect.close(shared, want, "the shared weights, given your indices", rtol=1e-5, atol=1e-7,
                 causes={"Pruned weights got the value of a centroid: an index of −1 counts from the end.":
                         book[indices.long()], "Those are the weights as they were.": numbers},
                 next_step="A shared weight is the centroid that its index names, and 0 at −1.")


def _cause_of_pruned(indices: Tensor, pruned: Tensor, shared: Tensor) -> str:
    if bool((shared == shared.round()).all()) and not bool((indices == indices.round()).all()):
        return "The two come in the other order."
    if bool((indices[pruned] >= 0).any()):
        return "Pruned weights got a centroid, as if they had been weights."
    if bool((shared[~pruned & (indices == -1)] == 0).all()):
        return "Pruned weights are exactly 0. A small one, or one that shares the value 0, has a centroid's index."
    return ""


@check("centroid_gradient")
def sixteen_weights_of_the_paper(learner, reference, rng):
    """Figure 3 of Deep Compression: sixteen gradients become four"""
    indices, gradient = (torch.tensor(part) for part in FIGURE_3)
    _check_gradient(learner, gradient.double(), indices, 4)


@check("centroid_gradient")
def slope_of_the_loss(learner, reference, rng):
    """It is the slope of the loss when a centroid moves with all its members"""
    for shape, q in (((6, 8), 3), ((4, 2, 3, 3), 5)):
        indices = torch.from_numpy(rng.integers(0, q, shape))
        goal = torch.from_numpy(rng.standard_normal(shape))
        centroids = torch.from_numpy(rng.standard_normal(q)).requires_grad_()
        weight = centroids[indices]
        loss = ((weight - goal) ** 4).sum()
        gradient, slope = torch.autograd.grad(loss, (weight, centroids))
        _check_gradient(learner, gradient, indices, q, slope)


@check("centroid_gradient")
def pruned_weights_pull_nothing(learner, reference, rng):
    """Pruned weights, index −1, don't count; a centroid without members has the gradient 0"""
    for q, used in ((4, 3), (6, 2), (3, 3)):
        indices = torch.from_numpy(rng.integers(-1, used, (5, 7)))
        _check_gradient(learner, torch.from_numpy(rng.standard_normal((5, 7))), indices, q)
    _check_gradient(learner, torch.ones(3, dtype=torch.float64), torch.tensor([-1, -1, -1]), 2)


@check("centroid_gradient", hidden=True, weight=2)
def gradient_of_any_layer(learner, reference, rng):
    """Layers of any shape and any number of centroids"""
    for shape in ((30,), (9, 11), (5, 3, 2, 2), (1, 1)):
        q = int(rng.integers(1, 20))
        indices = torch.from_numpy(rng.integers(-1, q, shape))
        gradient = torch.from_numpy(rng.standard_normal(shape))
        _check_gradient(learner, gradient, indices, q)
        _check_gradient(learner, gradient.float(), indices, q)


def _check_gradient(learner, gradient: Tensor, indices: Tensor, q: int, slope: Tensor | None = None) -> None:
    flat, places = gradient.double().flatten(), indices.flatten()
    kept = places >= 0
    sizes = places[kept].bincount(minlength=q)
    sums = places[kept].bincount(flat[kept], minlength=q).double() if kept.any() else torch.zeros(q).double()
    wrapped = sums.clone()
    wrapped[-1] += flat[~kept].sum()
    first, last = torch.zeros(q).double(), torch.zeros(q).double()
    for place, number in zip(places[kept].tolist(), flat[kept], strict=True):
        first[place] = number if first[place] == 0 else first[place]
        last[place] = number
    want = sums if slope is None else slope
    expect.close(
        _tensor(learner.centroid_gradient(gradient, indices, q)), want,
        f"the gradient of {q} centroids for {gradient.numel()} weights", rtol=1e-4, atol=1e-5, causes={
            "Those are means over the members: a centroid moves all of them, so their gradients add up.":
                sums / sizes.clamp(min=1),
            "Pruned weights count for the last centroid: an index of −1 counts from the end.": wrapped,
            "That is the step downhill; the gradient points uphill.": -sums,
            "Pruned weights count for the first centroid.": sums + flat[~kept].sum() * (torch.arange(q) == 0),
            "The first centroid has the index 0, and its members are left out.": sums * (torch.arange(q) > 0),
            "Only one member of each centroid counts: additions to the same place overwrite one another.": last,
            "Only the first member of each centroid counts.": first,
            "Centroids at the end that have no members are missing.": sums[: int(places.max()) + 1],
        }, next_step="Take two weights that share one centroid, and move it by a small ε: how does the loss change?")


# Huffman codes -------------------------------------------------------------------------------------------------------

SMALL = ((5, 2, 1, 1), (1, 1, 1, 1), (9, 1), (3, 3, 2, 2, 2), (10, 1, 1, 1, 1, 1), (8, 4, 2, 1, 1),
         (1, 1, 2, 3, 5, 8), (15, 7, 6, 6, 5))


@check("huffman_code")
def kraft_sum_is_one(learner, reference, rng):
    """Words of 0 and 1 for just those symbols that occur, none the beginning of another, and Σ 2^−length is 1"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2), (0, 7, 7, 0)):
        counts = _counts(rng, numbers)
        _check_prefix(_code(learner, counts), counts)


@check("huffman_code", weight=2)
def cost_is_the_least(learner, reference, rng):
    """Σ count · length is the least of all prefix codes, found by trying all: ties and zero counts included"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2), (6, 5, 4, 3, 2, 1), (1, 1, 1, 1, 1, 1)):
        counts = _counts(rng, numbers)
        _check_cost(_code(learner, counts), counts, _least_by_trying([n for n in numbers if n]))


@check("huffman_code")
def one_symbol_and_two(learner, reference, rng):
    """A single symbol has the empty word, two have one bit each, however rare one of them is"""
    for counts in ({3: 12}, {0: 1}, {5: 9, 8: 0}):
        (symbol,) = [symbol for symbol, count in counts.items() if count]
        expect.equal(_code(learner, counts), {symbol: ""}, f"the code for the counts {counts}", causes={
            "One bit a symbol, where the number of symbols says it all.": {symbol: "0"},
            "One bit a symbol where the number of symbols says it all.": {symbol: "1"},
            "Symbols that don't occur have words too.": {**dict.fromkeys(counts, "1"), symbol: "0"},
        }, next_step="Σ 2^−length must be 1. Which length gives that for one symbol?")
    for counts in ({0: 1, 1: 1}, {4: 1000, 2: 1}, {1: 3, 7: 0, 9: 50}):
        lengths = sorted(len(word) for word in _code(learner, counts).values())
        expect.equal(lengths, [1, 1], f"the lengths of the words for the counts {counts}",
                     next_step="Draw the tree: how many levels do two leaves need?")


@check("huffman_code")
def words_are_canonical(learner, reference, rng):
    """In the order of length, then symbol, the words are consecutive numbers, with zeros appended as they grow"""
    for numbers in (*SMALL, (4, 0, 3, 0, 2)):
        counts = _counts(rng, numbers)
        _check_canonical(_code(learner, counts))


@check("huffman_code", weight=0.5)
def huffman_refuses_no_symbols(learner, reference, rng):
    """Counts of nothing, or below zero, are a ValueError"""
    for counts, why in (({}, "there is no symbol"), ({1: 0, 2: 0}, "none of the symbols occurs"),
                        ({1: 3, 2: -1}, "a symbol can't occur −1 times")):
        expect.raises("ValueError", learner.huffman_code, counts, why=why)


@check("huffman_code", hidden=True, weight=2)
def code_of_any_counts(learner, reference, rng):
    """Any counts: the cost is the least, and the mean length lies within [entropy, entropy + 1)"""
    for kind in range(6):
        numbers = [int(n) for n in rng.integers(0, (2, 5, 1000)[kind % 3], int(rng.integers(2, 60)))]
        numbers += [1, int(rng.integers(1, 5000))]
        counts = _counts(rng, numbers)
        code = _code(learner, counts)
        _check_prefix(code, counts)
        present = [n for n in numbers if n]
        _check_cost(code, counts, _least_by_merging(present))
        total = sum(present)
        entropy = -sum(n / total * math.log2(n / total) for n in present)
        mean = sum(counts[symbol] * len(word) for symbol, word in code.items()) / total
        expect.that(entropy - 1e-9 <= mean < entropy + 1, f"a mean length from {entropy:.4f}, the entropy, to less "
                    f"than {entropy + 1:.4f} bits", f"{mean:.4f}", next_step="Compare your lengths with −log₂ of the "
                    "symbols' shares.")


@check("huffman_code", hidden=True, weight=0.5)
def deepest_tree(learner, reference, rng):
    """Fibonacci's numbers make the deepest tree, and counts may be larger than any float is exact for"""
    numbers = [1, 1]
    while len(numbers) < 90:
        numbers.append(numbers[-1] + numbers[-2])
    counts = _counts(rng, numbers)
    code = _code(learner, counts)
    _check_prefix(code, counts)
    _check_cost(code, counts, _least_by_merging(numbers))


@check("huffman_code", hidden=True)
def canonical_for_any_counts(learner, reference, rng):
    """Canonical words for any counts, ties included"""
    for most in (3, 100, 100):
        counts = _counts(rng, [int(n) + 1 for n in rng.integers(0, most, 40)])
        _check_canonical(_code(learner, counts))


def _counts(rng, numbers) -> dict[int, int]:
    """Counts of symbols with gaps between them, in no order."""
    symbols = rng.choice(4 * len(numbers) + 4, len(numbers), replace=False)
    return {int(symbol): int(number) for symbol, number in zip(symbols, numbers, strict=True)}


def _code(learner, counts: dict[int, int]) -> dict[int, str]:
    code = learner.huffman_code(dict(counts))
    expect.that(isinstance(code, dict) and all(type(word) is str for word in code.values()),
                "a dict of symbols to strings", expect.show(code), next_step="Return {symbol: word, …}.")
    odd = next((word for word in code.values() if set(word) - {"0", "1"}), None)
    expect.that(odd is None, "words of 0 and 1", expect.show(odd), next_step="A word is a str such as '010'.")
    return {int(symbol): word for symbol, word in code.items()}


def _check_prefix(code: dict[int, str], counts: dict[int, int]) -> None:
    present = sorted(symbol for symbol, count in counts.items() if count)
    expect.equal(sorted(code), present, f"the symbols that have a word, for the counts {_shown(counts)}",
                 causes={"Symbols that don't occur have words too, at the cost of the others.": sorted(counts)},
                 next_step="Leave out the symbols whose count is 0 before you build the tree.")
    words = sorted(code.values())
    pair = next(((a, b) for a, b in itertools.pairwise(words) if b.startswith(a)), None)
    expect.that(pair is None, "no word that is the beginning of another", f"{pair and pair[0]!r} and "
                f"{pair and pair[1]!r}", cause="They can't be told apart when they stand one after the other.",
                next_step="Only leaves of the tree have words; a leaf is on the way to no other leaf.")
    kraft = sum(Fraction(1, 1 << len(word)) for word in words)
    expect.that(kraft == 1, f"Σ 2^−length = 1 for the counts {_shown(counts)}", f"{float(kraft):.6g}",
                cause="A branch of the tree is not used: some word could be shorter.",
                next_step="In Huffman's tree every inner node has two children. Draw the tree of your words.")


def _check_cost(code: dict[int, str], counts: dict[int, int], least: int) -> None:
    present = [count for count in counts.values() if count]
    lengths = {symbol: len(word) for symbol, word in code.items()}
    for symbol, count in counts.items():
        expect.that(not count or symbol in lengths, f"a word for symbol {symbol}, which occurs {count} times", "none",
                    next_step="Every symbol that occurs needs a word.")
    cost = sum(counts.get(symbol, 0) * length for symbol, length in lengths.items())
    total = sum(present)
    fixed = total * (len(present) - 1).bit_length()
    shannon = sum(n * math.ceil(round(-math.log2(n / total), 9)) for n in present)
    causes = {fixed: "That is what words of equal length cost.",
              shannon: "Those are lengths of ⌈−log₂ share⌉ (Shannon's): each is rounded up, and the tree has gaps."}
    cause = causes.get(cost, "At some step it wasn't the two lightest trees that became one.")
    if any(not counts.get(symbol) for symbol in lengths):
        cause = "Symbols that don't occur have words too, and make those of the others longer."
    expect.that(cost <= least, f"{least} bits in all for the counts {_shown(counts)}", f"{cost}",
                cause=cause, next_step="Follow the first three steps on paper: a new tree goes back among the others.")


def _check_canonical(code: dict[int, str]) -> None:
    """Given the lengths, which may be any: the words in the order of lengths and symbols."""
    order = sorted(code, key=lambda symbol: (len(code[symbol]), symbol))
    expected, number = [], 0
    for place, symbol in enumerate(order):
        length = len(code[symbol])
        if place:
            number = (number + 1) << (length - len(code[order[place - 1]]))
        expected.append(format(number, f"0{length}b")[-length:] if length else "")
    got = [code[symbol] for symbol in order]
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b), None)
    if at is not None:
        by_length = [len(code[symbol]) for symbol in order]
        consecutive = sorted(got, key=lambda word: (len(word), word)) == expected
        expect.that(False, f"words in the order of lengths and symbols: {expected[at]!r} after "
                    f"{expected[max(0, at - 3) : at]} for lengths {expect.show(by_length[:8])}", repr(got[at]),
                    cause="The words are right, and given to the wrong symbols of their length: smaller symbols first."
                    if consecutive else "Those are words as some tree gives them: with their lengths alone nobody "
                    "could write the table again.",
                    next_step="Forget the tree once you have the lengths; count up in binary, shortest words first.")


def _shown(counts: dict[int, int]) -> str:
    numbers = ", ".join(str(count) for count in list(counts.values())[:8])
    return numbers + ", …" * (len(counts) > 8)


def _least_by_trying(numbers: list[int]) -> int:
    """Least cost over all lengths that a prefix code can have (Kraft's inequality), the longest for the rarest."""
    numbers = sorted(numbers, reverse=True)
    if len(numbers) == 1:
        return 0
    return min(sum(n * length for n, length in zip(numbers, lengths, strict=True))
               for lengths in itertools.combinations_with_replacement(range(1, len(numbers)), len(numbers))
               if sum(2.0**-length for length in lengths) <= 1)


def _least_by_merging(numbers: list[int]) -> int:
    """The sum of all merged weights: each merge adds a bit to every word below it."""
    numbers, cost = sorted(numbers), 0
    while len(numbers) > 1:
        merged = numbers.pop(0) + numbers.pop(0)
        cost += merged
        numbers.insert(sum(n < merged for n in numbers), merged)
    return cost


CODES = ({3: "0", 5: "10", 7: "110", 9: "111"}, {0: "11", 1: "01", 2: "00", 4: "101", 8: "100"}, {6: "1", 2: "0"},
         {1: "0", 2: "10", 3: "110", 4: "1110", 5: "11110", 6: "11111"}, {7: "001", 8: "1", 9: "01"})


@check("huffman_decode", weight=2)
def reads_what_was_written(learner, reference, rng):
    """Words one after the other are read back, whatever the code, canonical or not, complete or not"""
    for code in CODES:
        for count in (1, 9, 40):
            symbols = [int(symbol) for symbol in rng.choice(list(code), count)]
            _check_decode(learner, code, symbols)


@check("huffman_decode")
def stops_after_the_last_symbol(learner, reference, rng):
    """Bits that fill the last byte are no symbols, even if they look like words"""
    for code in CODES:
        symbols = [int(symbol) for symbol in rng.choice(list(code), 6)]
        for extra in ("0", "1", "0000000", "1010101"):
            _check_decode(learner, code, symbols, extra)


@check("huffman_decode")
def nothing_and_one_symbol(learner, reference, rng):
    """No symbols take no bits, and a single symbol has the empty word"""
    for code, symbols, extra in (({4: ""}, [4] * 7, ""), ({4: ""}, [], ""), (CODES[0], [], "000"),
                                 ({2: ""}, [2] * 3, "0000000"), ({5: "0"}, [5, 5], "")):
        _check_decode(learner, code, symbols, extra)


@check("huffman_decode")
def decode_refuses_damaged_bits(learner, reference, rng):
    """Bits that end too early, begin no word, or go on for more than a byte's filling are a ValueError"""
    code, incomplete = CODES[0], CODES[4]
    for bits, table, count, why in (
        ("110011", code, 3, "the third word is cut off"), ("110", code, 2, "the second word is missing"),
        ("", code, 1, "there are no bits"), ("0001", incomplete, 2, "000 begins no word of the code"),
        ("110" + "0" * 8, code, 1, "eight bits follow the last word"), ("0" * 8, {4: ""}, 5, "eight bits follow"),
        ("10101", {}, 1, "the code has no words"),
    ):
        expect.raises("ValueError", learner.huffman_decode, bits, table, count, why=why)


@check("huffman_decode", hidden=True, weight=2)
def reads_any_code(learner, reference, rng):
    """Codes of any shape, and words of up to thirty bits"""
    for leaves in (2, 5, 17, 40):
        words = _random_words(rng, leaves)
        code = {int(symbol): word for symbol, word in zip(rng.permutation(3 * leaves), words, strict=False)}
        symbols = [int(symbol) for symbol in rng.choice(list(code), 200)]
        _check_decode(learner, code, symbols, "0" * int(rng.integers(0, 8)))
    comb = {n: "1" * n + "0" for n in range(30)}
    _check_decode(learner, comb, [29, 0, 28, 3, 29], "11")


@check("huffman_decode", hidden=True)
def refuses_whatever_is_cut(learner, reference, rng):
    """Wherever the bits are cut, the loss is noticed"""
    for code in CODES:
        symbols = [int(symbol) for symbol in rng.choice(list(code), 10)]
        bits = "".join(code[symbol] for symbol in symbols)
        for left in rng.integers(0, len(bits), 4):
            expect.raises("ValueError", learner.huffman_decode, bits[: int(left)], code, 10,
                          why=f"only {int(left)} of {len(bits)} bits are left of ten words")
        expect.raises("ValueError", learner.huffman_decode, bits + "0" * 8, code, 10, why="eight bits follow")


def _check_decode(learner, code: dict[int, str], symbols: list[int], extra: str = "") -> None:
    bits = "".join(code[symbol] for symbol in symbols) + extra
    got = learner.huffman_decode(bits, dict(code), len(symbols))
    expect.that(isinstance(got, list | tuple | np.ndarray | Tensor), "a list of symbols", expect.show(got),
                next_step="Return the symbols in a list.")
    found = [int(symbol) for symbol in got]
    greedy, word = [], ""
    for bit in bits:
        word += bit
        matched = next((symbol for symbol, own in code.items() if own == word), None)
        if matched is not None:
            greedy.append(matched)
            word = ""
    expect.equal(found, symbols, f"{len(symbols)} symbols from {bits[:24]!r}{'…' * (len(bits) > 24)}, code "
                 f"{dict(list(code.items())[:4])}", causes={
                     "It reads on to the last bit: what fills the last byte became symbols.": greedy,
                     "The last symbol is missing.": symbols[:-1], "They come in reverse.": symbols[::-1]},
                 next_step="Read one bit after the other aloud, and stop as soon as it is a word.")


def _random_words(rng, leaves: int) -> list[str]:
    """The words of a random tree: split some leaf until there are enough."""
    words = [""]
    while len(words) < leaves:
        word = words.pop(int(rng.integers(len(words))))
        words += [word + "0", word + "1"]
    return words


# The pipeline --------------------------------------------------------------------------------------------------------

IMAGE = (1, 8, 8)


@check("pipeline", weight=2)
def largest_weights_of_the_whole_network_stay(learner, reference, rng):
    """Without batches: the share of the weights with the largest magnitudes in the whole network is kept"""
    network, planted = _planted(rng)
    kept = sum(int(there.sum()) for there, _ in planted.values())
    total = sum(there.numel() for there, _ in planted.values())
    _check_positions(learner.pipeline(network, [], [kept / total], 4, IMAGE), planted)


@check("pipeline", weight=2)
def each_layer_has_its_codebook(learner, reference, rng):
    """Without batches: what is kept shares at most q values a layer, the means of its clusters; biases stay"""
    network, planted = _planted(rng)
    kept = sum(int(there.sum()) for there, _ in planted.values())
    share = kept / sum(there.numel() for there, _ in planted.values())
    _check_values(learner.pipeline(network, [], [share], 4, IMAGE), network, planted)


@check("pipeline")
def file_is_small(learner, reference, rng):
    """The file takes no more bytes than sparse positions and indices in Huffman's code do"""
    for densities in ((0.2, 0.6), (0.05, 0.3)):  # many weights, and so few that a bit for each zero outweighs gaps
        network, planted = _planted(rng, densities)
        _check_size(learner, reference, network, sum(int(there.sum()) for there, _ in planted.values()))


@check("pipeline", weight=2)
def training_repairs_and_holds(learner, reference, rng):
    """With batches: the loss falls, what is pruned stays zero, and what is shared stays shared"""
    _check_training(learner, reference, rng, shares=[0.6, 0.3], centroids=4)


@check("pipeline")
def shares_are_taken_in_turn(learner, reference, rng):
    """Each share is followed by a pass of training, which decides what the next one keeps"""
    network = models.build("mlp", sizes=(64, 24, 4), seed=int(rng.integers(1000)))
    with torch.no_grad():  # weights of pixels that are always 0 are the larger ones, until the others are trained
        size = torch.where(torch.arange(64) < 32, 0.02, 0.06)
        network.fc1.weight.copy_(size * torch.from_numpy(rng.choice([-1.0, 1.0], (24, 64))))
    middles = rng.standard_normal((4, 64)) * (np.arange(64) < 32)
    batches = []
    for _ in range(25):
        labels = rng.integers(0, 4, 32)
        noise = 0.7 * rng.standard_normal((32, 64)) * (np.arange(64) < 32)
        images = torch.from_numpy(middles[labels] + noise).float()
        batches.append((images.view(32, *IMAGE), torch.from_numpy(labels)))
    data = learner.pipeline(network, batches, [1.0, 0.35], 8, IMAGE, 0.01)
    small = _weights_like(data, {name: tuple(p.shape) for name, p in network.named_parameters() if p.ndim > 1})
    idle = small["fc1.weight"][:, 32:]
    expect.that(int((idle != 0).sum()) < idle.numel() / 2,
                "weights of pixels that are always 0 pruned, since the pass before made the others larger",
                f"{int((idle != 0).sum())} of {idle.numel()} of them kept",
                cause="The network is pruned to the last share at once, or not trained between two shares.",
                next_step="Prune to a share of 1, train, and prune again: what has changed in between?")


@check("pipeline")
def centroids_are_trained(learner, reference, rng):
    """Without shares nothing is pruned, and still the loss falls, since centroids are trained"""
    _check_training(learner, reference, rng, shares=[], centroids=4)


@check("pipeline", hidden=True, weight=2)
def pipeline_of_convolutions(learner, reference, rng):
    """Kernels count as weights; a layer may lose everything, or keep fewer weights than there are centroids"""
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(),
                            nn.Linear(64, 10))
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
            parameter.mul_((1.0, 1.0, 1e-4, 1.0, 0.7, 1.0)[number])  # the second kernel is all small
    weights = {name: p.detach() for name, p in network.named_parameters() if p.ndim > 1}
    for share in (0.3, 0.01):
        sizes = torch.cat([weight.abs().flatten() for weight in weights.values()])
        least = sizes.sort(descending=True).values[max(1, round(share * len(sizes))) - 1]
        planted = {name: (weight.abs() >= least, weight) for name, weight in weights.items()}
        small = _check_positions(learner.pipeline(network, [], [share], 6, IMAGE), planted)
        for name, weight in small.items():
            _check_few(name, weight, 6)


@check("pipeline", hidden=True)
def training_with_other_shares(learner, reference, rng):
    """Other shares, centroids and images"""
    _check_training(learner, reference, rng, shares=[0.8, 0.5, 0.2], centroids=3)
    _check_training(learner, reference, rng, shares=[], centroids=3)


def _check_size(learner, reference, network, kept):
    share = kept / sum(p.numel() for p in network.parameters() if p.ndim > 1)
    want = len(reference.pipeline(network, [], [share], 4, IMAGE))
    dense = len(artefact.to_bytes(network, input_shape=IMAGE))
    data = learner.pipeline(network, [], [share], 4, IMAGE)
    _decoded(data)
    small, names = artefact.read(bytes(data)).network, [name for name, p in network.named_parameters() if p.ndim > 1]
    coded = artefact.Codebook(coder="huffman")
    ways = {
        "Positions are stored in words of equal length.": artefact.Sparse(coded, coder="fixed"),
        "Indices are stored in words of equal length.":
            artefact.Sparse(artefact.Codebook(coder="fixed"), coder="huffman"),
        "Positions and indices are stored in words of equal length.":
            artefact.Sparse(artefact.Codebook(coder="fixed"), coder="fixed"),
        "Zeros are stored one by one, as a value of the codebook, and not as gaps.": coded,
    }
    sizes = {cause: len(artefact.to_bytes(small, input_shape=IMAGE, encodings=dict.fromkeys(names, way)))
             for cause, way in ways.items()} if len(small.state_dict()) == len(network.state_dict()) else {}
    cause = next((cause for cause, size in sizes.items() if abs(size - len(data)) <= 2),
                 "Some layer is not stored as gaps and indices in Huffman's code, or its gaps are kept too short.")
    if len(data) >= dense / 2:
        cause = "The weights are stored dense, zeros and all: the file doesn't know that anything was compressed."
    elif len(data) > want + 2.5 * kept:
        cause = "Kept weights are stored as numbers of 32 bits, not as indices into a codebook."
    expect.that(len(data) <= 1.05 * want + 8, f"at most {int(1.05 * want + 8):,} bytes", f"{len(data):,}", cause=cause,
                next_step="Look at what nutshell.measure.measure says of your file: which encoding has each tensor?")


def _planted(rng, densities=(0.2, 0.6)) -> tuple[nn.Module, dict[str, tuple[Tensor, Tensor]]]:
    """A network whose large weights lie in four tight clusters a layer, and for each layer where, and the means."""
    network = models.build("mlp", sizes=(64, 40, 10), seed=int(rng.integers(1000)))
    planted = {}
    with torch.no_grad():
        for name, levels, density in (("fc1.weight", (-0.9, -0.5, 0.5, 1.0), densities[0]),
                                      ("fc2.weight", (-1.6, -0.6, 0.6, 1.4), densities[1])):
            weight = network.get_parameter(name)
            shape = tuple(weight.shape)
            which = rng.choice(4, shape, p=(0.08, 0.08, 0.76, 0.08))
            which.flat[:4] = range(4)
            there = rng.random(shape) < density
            there.flat[:4] = True
            large = np.array(levels)[which] + 0.05 * (rng.random(shape) - 0.5)
            values = np.where(there, large, 0.3 * (rng.random(shape) - 0.5))
            weight.copy_(torch.from_numpy(values))
            exact = weight.double().numpy()
            means = np.array([exact[there & (which == level)].mean() for level in range(4)])
            planted[name] = (torch.from_numpy(there), torch.from_numpy(np.where(there, means[which], 0.0)))
        for name in ("fc1.bias", "fc2.bias"):
            bias = network.get_parameter(name)
            bias.copy_(torch.from_numpy(rng.standard_normal(tuple(bias.shape))))
    return network, planted


def _decoded(data) -> dict[str, Tensor]:
    """The parameters in a learner's file."""
    expect.that(isinstance(data, bytes | bytearray), "the bytes of a .nut file", expect.show(data),
                cause="" if data is None else "That is not what artefact.to_bytes gives.",
                next_step="Return what artefact.to_bytes makes of the small network.")
    try:
        network = artefact.read(bytes(data)).network
    except Refused as error:
        expect.that(False, "bytes that decode to a network", str(error),
                    next_step="Return what artefact.to_bytes gives, unchanged.")
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _weights_like(data, names: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The file's weights by the names that they had, whatever the layers are called in the file."""
    found = [parameter for parameter in _decoded(data).values() if parameter.ndim > 1]
    shapes = [tuple(parameter.shape) for parameter in found]
    expect.equal(shapes, list(names.values()), "the shapes of the weights in the file",
                 next_step="Change the numbers of the layers, and leave the layers.")
    return dict(zip(names, found, strict=True))


def _check_positions(data, planted: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    small = _weights_like(data, {name: tuple(there.shape) for name, (there, _) in planted.items()})
    kept = sum(int(there.sum()) for there, _ in planted.values())
    left = sum(int((weight != 0).sum()) for weight in small.values())
    total = sum(weight.numel() for weight in small.values())
    expect.that(abs(left - kept) <= 1, f"{kept} of {total} weights that aren't zero", f"{left}",
                cause="Nothing was pruned, or weights came back afterwards." if left > kept else
                "The biases may have been counted among the weights, or weights were set to a centroid at zero.",
                next_step="Count the weights that aren't zero after each stage.")
    for name, (there, _) in planted.items():
        wrong = int(((small[name] != 0) != there).sum())
        expect.that(wrong <= 1, f"in {name} the {int(there.sum())} largest magnitudes of the whole network",
                    f"{int((small[name] != 0).sum())} weights, {wrong} of them kept or pruned otherwise",
                    cause="Each layer was pruned by the same share; some layers need more of their weights than others."
                    if wrong and abs(int((small[name] != 0).sum()) / there.numel() - kept / total) < 0.02 else "",
                    next_step="Put the magnitudes of all layers into one list, and find the threshold there.")
    return small


def _check_few(name: str, weight: Tensor, centroids: int) -> None:
    different = len(weight[weight != 0].unique())
    expect.that(different <= centroids, f"at most {centroids} different values in {name}, zero not counted",
                f"{different}", cause="The weights don't share centroids, or no longer do after the training.",
                next_step="Look at weight.unique() after each stage.")


def _check_values(data, network: nn.Module, planted: dict[str, tuple[Tensor, Tensor]]) -> None:
    small = _check_positions(data, planted)
    for name, (_, means) in planted.items():
        _check_few(name, small[name], 4)
        away = float((small[name].double() - means).abs().max())
        expect.that(away <= 2e-3, f"the means of the four clusters of {name}", f"values up to {away:.3g} away",
                    cause="One codebook serves several layers, or the centroids are not yet means of their members.",
                    next_step="Compare weight.unique() with a histogram of the layer's kept weights.")
    biases = [parameter for parameter in _decoded(data).values() if parameter.ndim == 1]
    wanted = [parameter.detach() for parameter in network.parameters() if parameter.ndim == 1]
    expect.close(biases, wanted, "the biases, which nothing has trained", rtol=1e-3, atol=1e-3,
                 next_step="Leave parameters with one axis out of pruning and sharing.")


def _check_training(learner, reference, rng, shares, centroids) -> None:
    network = models.build("mlp", sizes=(64, 24, 4), seed=int(rng.integers(1000)))
    middles = rng.standard_normal((4, 64))
    batches = []
    for _ in range(25):
        labels = rng.integers(0, 4, 32)
        images = torch.from_numpy(middles[labels] + 0.7 * rng.standard_normal((32, 64)))
        batches.append((images.float().view(32, *IMAGE), torch.from_numpy(labels)))
    options = (IMAGE, 0.01 if shares else 0.03)  # centroids alone have further to go
    untrained = _loss(_decoded(reference.pipeline(network, [], shares, centroids, *options)), batches)
    best = _loss(_decoded(reference.pipeline(network, batches, shares, centroids, *options)), batches)
    data = learner.pipeline(network, batches, shares, centroids, *options)
    names = {name: tuple(p.shape) for name, p in network.named_parameters() if p.ndim > 1}
    small = _weights_like(data, names)
    total = sum(weight.numel() for weight in small.values())
    kept = round((shares[-1] if shares else 1.0) * total)
    left = sum(int((weight != 0).sum()) for weight in small.values())
    expect.that(left <= kept + 1, f"at most {kept} of {total} weights that aren't zero after the training", f"{left}",
                cause="Pruned weights came back: the optimiser moves them too, or an index of −1 counts from the end.",
                next_step="Count the weights that aren't zero after each step of both trainings.")
    for name, weight in small.items():
        _check_few(name, weight, centroids)
    loss = _loss(_decoded(data), batches)
    enough = best + 0.4 * (untrained - best)
    cause = ("Nothing is trained between the shares, or the centroids are trained uphill." if shares else
             "The centroids are not trained, or the network doesn't get their new values.")
    expect.that(loss <= enough, f"a loss of at most {enough:.3f} after the training ({untrained:.3f} without any)",
                f"{loss:.3f}", cause=cause,
                next_step="Print the loss of each step: it should fall in both trainings.")


def _loss(parameters: dict[str, Tensor], batches) -> float:
    first, bias, second, last = parameters.values()
    images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    hidden = functional.relu(functional.linear(images.flatten(1), first, bias))
    return float(functional.cross_entropy(functional.linear(hidden, second, last), labels))


# Extensions ----------------------------------------------------------------------------------------------------------


@check("sharing_rate")
def sixteen_weights_share_four(learner, reference, rng):
    """Sixteen weights and four centroids, the paper's example, take exactly 3.2 times fewer bits"""
    for numbers, q, bits in ((16, 4, 32), (1000, 16, 32), (235_200, 64, 32), (100, 256, 16)):
        _check_rate(learner, numbers, q, bits)


@check("sharing_rate")
def indices_have_whole_bits(learner, reference, rng):
    """An index has as many whole bits as q different ones need, and none for a single centroid"""
    for q in (1, 2, 3, 5, 8, 9, 100):
        _check_rate(learner, 500, q, 32)


@check("sharing_rate", weight=0.5)
def rate_refuses_nothing(learner, reference, rng):
    """No numbers or no centroids is a ValueError"""
    for numbers, q in ((0, 4), (16, 0), (16, -1)):
        expect.raises("ValueError", learner.sharing_rate, numbers, q,
                      why=f"{numbers} numbers can't share {q} centroids")


@check("sharing_rate", hidden=True)
def rate_of_any_sharing(learner, reference, rng):
    """Any numbers of weights, centroids and bits"""
    for _ in range(10):
        _check_rate(learner, int(rng.integers(1, 10**6)), int(rng.integers(1, 2000)), int(rng.choice([8, 16, 32, 64])))


def _check_rate(learner, numbers: int, q: int, bits: int) -> None:
    index = next(b for b in range(64) if 1 << b >= q)
    got = learner.sharing_rate(numbers, q, **({} if bits == 32 else {"bits": bits}))
    want = float(Fraction(numbers * bits, numbers * index + q * bits))
    causes = {
        "It is upside down: above 1 should mean smaller.": 1 / want,
        "The codebook takes bits too.": bits / index if index else math.inf,
        "Indices have whole bits.": numbers * bits / (numbers * math.log2(q) + q * bits),
        "The logarithm is the natural one, and the codebook takes bits too.": bits / math.log(q) if q > 1 else math.inf,
        "The logarithm is the natural one.": numbers * bits / (numbers * math.log(q) + q * bits),
        "One bit too many for an index.": numbers * bits / (numbers * (index + 1) + q * bits),
    }
    expect.close(got, want, f"the rate of {numbers} numbers of {bits} bits that share {q} centroids", rtol=1e-9, atol=0,
                 causes=causes, next_step="Add up all the bits that somebody needs to get the numbers back.")


@check("optimal_codebook", weight=2)
def sum_is_the_least(learner, reference, rng):
    """The sum of squares is the least of all ways to split the sorted values, found by trying all"""
    for values, q in (((0.0, 1.0, 2.0, 9.0, 10.0), 2), (rng.standard_normal(9), 3), (rng.standard_normal(8) ** 3, 4),
                      (rng.integers(0, 4, 10), 3), (rng.standard_normal(6), 1), (rng.standard_normal(6), 6)):
        _check_optimum(learner, np.asarray(rng.permutation(np.asarray(values, np.float64))), q)


@check("optimal_codebook")
def where_lloyd_is_caught(learner, reference, rng):
    """Also where Lloyd's rounds from equal steps end in a worse place"""
    crowd = np.concatenate([rng.random(12), 20 + rng.random(12), [100.0]])
    _check_optimum(learner, crowd, 3)
    _check_optimum(learner, np.concatenate([np.zeros(5), np.full(5, 1.0), [50.0, 51.0]]), 3)


@check("optimal_codebook", weight=0.5)
def optimum_refuses_what_cannot_be(learner, reference, rng):
    """Fewer than 1 or more than n centroids is a ValueError"""
    values = torch.from_numpy(rng.standard_normal(5))
    for q in (0, 6):
        expect.raises("ValueError", learner.optimal_codebook, values, q,
                      why=f"5 values can share 1 to 5 centroids, not {q}")


@check("optimal_codebook", hidden=True, weight=2)
def optimum_of_any_values(learner, reference, rng):
    """Any values, far from zero too"""
    for count, q, middle in ((40, 5, 0.0), (60, 8, 0.0), (50, 4, 1000.0), (30, 29, 0.0)):
        _check_optimum(learner, middle + rng.standard_normal(count), q)


def _check_optimum(learner, values: np.ndarray, q: int) -> None:
    found = _centroids(learner.optimal_codebook(torch.from_numpy(values), q), q)
    best, got = _least_objective(values, q), _objective(values, found)
    ordered = np.sort(values)
    gaps = np.sort(np.argsort(-np.diff(ordered), kind="stable")[: q - 1]) + 1
    known = {
        "That is where Lloyd's rounds end.": _lloyd(values, np.linspace(values.min(), values.max(), q), 100),
        "The sorted values are cut into parts of equal numbers, wherever they lie.":
            np.array([part.mean() for part in np.array_split(ordered, q)]),
        "The sorted values are cut at the widest gaps: far-off values get centroids, and the many share the rest.":
            np.array([part.mean() for part in np.split(ordered, gaps)]),
    }
    cause = next((words for words, wrong in known.items()
                  if math.isclose(got, _objective(values, wrong), rel_tol=1e-9)), "")
    expect.that(got <= best * (1 + 1e-6) + 1e-9, f"{best:.6g}, the least sum of squares of {len(values)} values with "
                f"{q} centroids", f"{got:.6g}", cause=cause,
                next_step="Try q = 2: which of the n − 1 cuts of the sorted values is best?")


# Helpers -------------------------------------------------------------------------------------------------------------


def _tensor(value) -> Tensor:
    expect.that(isinstance(value, torch.Tensor | np.ndarray), "a tensor", expect.show(value),
                next_step="Does every way through your function end in a return?")
    return torch.as_tensor(value).detach().double()
