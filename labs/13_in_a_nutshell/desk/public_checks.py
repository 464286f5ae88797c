"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import math
from itertools import pairwise
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from nutshell import expect, models
from nutshell.checks import check
from nutshell.pipelines import apply
from nutshell.wire.standins import inout


@check("bits_per_weight")
def unpruned_weights_take_the_entropy_of_their_centroids(learner, reference, rng):
    """Where nothing is pruned, the bits are the entropy of the centroids' shares"""
    for shares, want in (([0.5, 0.5], 1.0), ([0.25] * 4, 2.0), ([0.5, 0.25, 0.25], 1.5), ([1.0], 0.0)):
        _check_bits(learner, 1.0, shares, want)


@check("bits_per_weight")
def positions_cost_bits_too(learner, reference, rng):
    """With a single centroid, what is left is telling which weights are there"""
    for kept, want in ((0.25, 2 - 0.75 * math.log2(3)), (0.5, 1.0), (1.0, 0.0), (0.0, 0.0)):
        _check_bits(learner, kept, [1.0], want)


@check("bits_per_weight", weight=1.5)
def a_pruned_layer_is_a_source_with_one_more_symbol(learner, reference, rng):
    """Zero is one more symbol: the bits are the entropy of (1 − p, p·s₁, p·s₂, …)"""
    for kept, shares in ((0.1, [1 / 16] * 16), (0.5, [0.5, 0.5]), (0.08, [0.4, 0.3, 0.2, 0.1]), (0.3, [0.9, 0.1, 0.0])):
        _check_bits(learner, kept, shares)


@check("bits_per_weight", weight=0.5)
def shares_are_shares(learner, reference, rng):
    """A share below 0 or above 1, or shares that don't add up to 1, are a ValueError"""
    for kept, shares, why in ((1.5, [1.0], "kept is 1.5"), (-0.1, [1.0], "kept is −0.1"),
                              (0.5, [0.5, 0.4], "the shares add up to 0.9"),
                              (0.5, [1.5, -0.5], "a share is 1.5 and another −0.5")):
        expect.raises("ValueError", learner.bits_per_weight, kept, shares, why=why)


def _entropy(parts) -> float:
    return -sum(part * math.log2(part) for part in parts if part > 0)


def _check_bits(learner, kept, shares, want=None):
    if want is None:
        want = _entropy([1 - kept, *(kept * share for share in shares)])
    values, positions = _entropy(shares), _entropy([kept, 1 - kept])
    fixed = math.log2(len(shares))
    expect.close(
        learner.bits_per_weight(kept, shares), want, f"bits a weight with {100 * kept:.0f} % kept and "
        f"{len(shares)} centroid{'s' * (len(shares) > 1)} of shares {expect.show([round(s, 3) for s in shares[:4]])}",
        causes={
            "The positions are missing: a decoder has to know which weights are there.": kept * values,
            "A mask of one bit for each weight works, but a rare thing can be told in less.": 1 + kept * values,
            "Every weight pays for its centroid, the pruned ones too.": positions + values,
            "Only half of the positions' entropy is there: that a weight is missing has to be told as well.":
                -(kept * math.log2(kept) if kept else 0.0) + kept * values,
            "Positions are paid for by the kept weights only; the missing ones have to be told as well.":
                kept * (positions + values),
            "A share of 0 makes no number: 0 · log₂ 0 counts as 0.": math.nan,
            "The logarithm is natural: that counts nats.": math.log(2) * want,
            "The centroids are taken for equally frequent.": positions + kept * fixed,
            "The sign is turned round: the logarithm of a share is negative.": -want,
        },
        rtol=1e-6, atol=1e-9, next_step="Take kept = ½ and two centroids, half of the kept weights each: three symbols "
        "of shares ½, ¼, ¼. How many yes-or-no questions does each take?")


@check("commutator")
def steps_of_one_kind_are_nested(learner, reference, rng):
    """Pruning twice is pruning by the larger share, in either order; so it is with ranks, and with rows"""
    weight = _matrix(rng, 12, 9)
    for first, second in ((("prune", 0.5), ("prune", 0.8)), (("rank", 0.5), ("rank", 0.25)),
                          (("rows", 0.25), ("rows", 0.5)), (("sign", 0), ("sign", 0))):
        _check_commutator(learner, weight, first, second)


@check("commutator", weight=1.5)
def the_last_step_wins(learner, reference, rng):
    """Where the order matters, the distance is that of the two results, relative to W"""
    for shape in ((10, 8), (6, 14)):
        weight = 3 * _matrix(rng, *shape)
        for first, second in ((("prune", 0.5), ("rank", 0.5)), (("round", 3), ("rank", 0.25)),
                              (("prune", 0.75), ("sign", 0)), (("rows", 0.5), ("prune", 0.5))):
            _check_commutator(learner, weight, first, second)


@check("commutator", weight=0.5)
def either_step_may_be_first(learner, reference, rng):
    """Swapping the two steps gives the same number, and a matrix of zeros gives 0"""
    weight = _matrix(rng, 7, 7)
    _check_commutator(learner, weight, ("rank", 0.5), ("prune", 0.5))
    _check_commutator(learner, weight, ("prune", 0.5), ("rank", 0.5))
    expect.close(learner.commutator(torch.zeros(4, 3), ("prune", 0.5), ("rank", 0.5)), 0.0,
                 "the commutator at a matrix of zeros", cause="Zero is divided by zero.",
                 next_step="What is the norm of W here? Nothing can be moved relative to it.")


def _matrix(rng, m: int, n: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((m, n)))


def _check_commutator(learner, weight, first, second):
    one, other = apply(apply(weight, first), second), apply(apply(weight, second), first)
    size, distance = float(weight.norm()), float((one - other).norm())
    causes = {
        "It isn't divided by the norm of W.": distance,
        "It is squared: the norm is the root of the sum of squares.": (distance / size) ** 2,
        "It is divided by the norm of a result, not by that of W.": distance / (float(one.norm()) or 1.0),
        "The two steps are done side by side, not one after the other.":
            float((apply(weight, first) - apply(weight, second)).norm()) / size,
        "The distance from W is measured, not that of the two results.": float((weight - one).norm()) / size,
        "It is the largest of the differences, not their Frobenius norm.": float((one - other).abs().max()) / size,
        "The two norms are compared; the norm of the difference is wanted.":
            abs(float(one.norm()) - float(other.norm())) / size,
        "It is the largest singular value (the spectral norm), not the Frobenius norm.":
            float(torch.linalg.matrix_norm(one - other, 2) / torch.linalg.matrix_norm(weight, 2)),
        "Magnitudes are added up; the Frobenius norm is the root of the sum of squares.":
            float((one - other).abs().sum() / weight.abs().sum()),
        "It is in percent.": 100 * distance / size,
        "It is 0: are the two really done in both orders?": 0.0,
    }
    want = distance / size
    expect.close(
        learner.commutator(weight, first, second), want,
        f"the commutator of {first} and {second} at a {tuple(weight.shape)} matrix",
        causes={cause: value for cause, value in causes.items() if abs(value - want) > 1e-6}, rtol=1e-6, atol=1e-6,
        next_step="Print the two results for a matrix of 2×2, and how far they are from each other.")


@check("low_rank_plus_sparse", weight=1.5)
def the_parts_are_what_was_asked_for(learner, reference, rng):
    """L has at most the rank, S at most as many numbers; where S isn't zero, L + S is W"""
    for shape, rank, kept in (((12, 9), 2, 15), ((7, 11), 1, 5), ((8, 8), 3, 30)):
        weight = _matrix(rng, *shape)
        low, sparse = _parts(learner, weight, rank, kept, 4)
        _check_parts(weight, low, sparse, rank, kept)


@check("low_rank_plus_sparse")
def at_the_ends_one_technique_is_left(learner, reference, rng):
    """Without S it is truncation, without L it is pruning, and with either whole it is W"""
    weight = _matrix(rng, 9, 6)
    size = float(weight.square().sum())
    sigma = torch.linalg.svdvals(weight)
    ordered = weight.abs().flatten().sort(descending=True).values
    for rank, kept, want in ((2, 0, float(sigma[2:].square().sum())), (0, 10, float(ordered[10:].square().sum())),
                             (6, 0, 0.0), (0, 54, 0.0), (0, 0, size)):
        low, sparse = _parts(learner, weight, rank, kept, 2)
        _check_parts(weight, low, sparse, rank, kept)
        expect.close(float((weight - low - sparse).square().sum()), want,
                     f"the squared distance of L + S from W at rank {rank} with {kept} numbers", rtol=1e-6, atol=1e-9,
                     next_step="With nothing in S, which matrix of that rank is closest to W?" if not kept else
                     "With nothing in L, which numbers of W has S to hold?")


@check("low_rank_plus_sparse", weight=1.5)
def planted_parts_are_found(learner, reference, rng):
    """A matrix that was made of a low rank and a few large numbers is taken apart again"""
    for shape, rank, kept in (((30, 24), 2, 10), ((20, 40), 1, 15)):
        weight = _planted(rng, shape, rank, kept)
        low, sparse = _parts(learner, weight, rank, kept, 30)
        left = float((weight - low - sparse).norm() / weight.norm())
        expect.that(left < 1e-3, "a distance of at most 0.001 after 30 rounds", f"{left:.3g}",
                    cause="The parts are not fitted to what the other one leaves."
                    if left > 0.02 else "It comes closer too slowly.",
                    next_step="In each round: L for W − S, then S for W − L. Print the distance after each round.")


@check("low_rank_plus_sparse")
def more_rounds_come_closer(learner, reference, rng):
    """No round moves L + S away from W, and the first one already beats truncation alone"""
    weight = _matrix(rng, 14, 10) + 4 * (torch.from_numpy(rng.random((14, 10))) > 0.93)
    errors = [float((weight - sum(_parts(learner, weight, 2, 14, rounds))).norm()) for rounds in (1, 2, 4, 8)]
    tail = float(torch.linalg.svdvals(weight)[2:].square().sum().sqrt())
    expect.that(errors[0] < tail, f"a distance below {tail:.4g} after one round, that of truncation alone",
                f"{errors[0]:.4g}", cause="S doesn't hold what L leaves.", next_step="S is made from W − L.")
    worse = [n for n, (a, b) in enumerate(pairwise(errors)) if b > a + 1e-9]
    expect.that(not worse, "distances that never grow with 1, 2, 4 and 8 rounds", expect.show(errors),
                cause="A part is fitted to something else than what the other one leaves.",
                next_step="Begin with S = 0, once, and not anew in each round.")
    expect.that(errors[-1] < errors[0] - 1e-6, "a smaller distance after 8 rounds than after 1", expect.show(errors),
                cause="Only one round is done.", next_step="Is `rounds` used?")


@check("low_rank_plus_sparse", weight=0.5)
def parts_out_of_range(learner, reference, rng):
    """A rank, a number or rounds that can't be are a ValueError"""
    weight = _matrix(rng, 5, 4)
    for rank, kept, rounds, why in ((5, 2, 3, "a 5×4 matrix has no rank 5"), (-1, 2, 3, "the rank is −1"),
                                    (2, 21, 3, "there are 20 entries and 21 are to be kept"),
                                    (2, -1, 3, "−1 entries are to be kept"), (2, 2, 0, "there are no rounds")):
        expect.raises("ValueError", learner.low_rank_plus_sparse, weight, rank, kept, rounds, why=why)


def _planted(rng, shape, rank, kept) -> Tensor:
    """Directions that spread over all entries, and large numbers no two of which share a row or column."""
    low = torch.zeros(shape, dtype=torch.float64)
    for _ in range(rank):
        u, v = (rng.choice((-1.0, 1.0), side) * (1 + 0.5 * rng.random(side)) for side in shape)
        low += torch.from_numpy(np.outer(u, v))
    sparse = torch.zeros(shape, dtype=torch.float64)
    rows, columns = (rng.permutation(side)[:kept] for side in shape)
    sparse[rows, columns] = torch.from_numpy(rng.choice((-1.0, 1.0), kept) * (4 + rng.random(kept)))
    return low + sparse


def _parts(learner, weight, rank, kept, rounds) -> tuple[Tensor, Tensor]:
    given = weight.clone()
    got = learner.low_rank_plus_sparse(inout(given), rank, kept, rounds)
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "L and S", expect.show(got),
                next_step="Return the two as a tuple: return low, sparse.")
    for part, name in zip(got, "LS", strict=True):
        expect.shape(part, tuple(weight.shape), name, next_step="Both parts have the shape of W.")
    expect.that(torch.equal(given, weight), "a W that stays as it is", "one changed in place",
                cause="W is changed in place, by -= or an operation whose name ends in _.",
                next_step="Make new matrices of it.")
    return torch.as_tensor(got[0]).detach(), torch.as_tensor(got[1]).detach()


def _check_parts(weight, low, sparse, rank, kept):
    case = f"at rank {rank} with {kept} numbers"
    sigma = torch.linalg.svdvals(low.double())
    found = int((sigma > 1e-9 * max(1.0, float(weight.norm()))).sum())
    turned = int((low != 0).sum()) <= kept and int(torch.linalg.matrix_rank(sparse.double())) <= rank
    expect.that(found <= rank, f"L of rank at most {rank} {case}", f"rank {found}",
                cause="The two come in the other order: L first." if turned else
                "L is W − S, not truncated." if found == min(weight.shape) else "",
                next_step="Look at torch.linalg.svdvals(L).")
    count = int((sparse != 0).sum())
    expect.that(count <= kept, f"S with at most {kept} numbers {case}", f"{count}",
                cause="S is dense: all of W − L." if count == weight.numel() else
                "A threshold keeps more than the number that was asked for, or S grows from round to round.",
                next_step="Which entries of W − L are largest? torch.topk gives their positions.")
    there = sparse != 0
    gap = float((weight - low - sparse)[there].abs().max()) if bool(there.any()) else 0.0
    rest = (weight - low).abs()
    unsigned = bool(there.any()) and torch.allclose(sparse[there], rest[there], atol=1e-6)
    expect.that(gap < 1e-4, f"L + S = W where S isn't zero {case}", f"a difference of {gap:.3g}",
                cause="Magnitudes stand in S; its numbers have signs." if unsigned else
                "S was made before L was fitted for the last time, or from W instead of W − L.",
                next_step="S comes last in a round, and it holds the entries of W − L themselves.")
    if bool(there.any()) and not bool(there.all()):
        expect.that(float(rest[~there].max()) <= float(rest[there].min()) + 1e-9,
                    f"the largest entries of W − L in S {case}",
                    f"one of {float(rest[~there].max()):.4g} left out and one of {float(rest[there].min()):.4g} taken",
                    cause="Signs decide, not magnitudes." if float((weight - low)[there].min()) > 0 else "",
                    next_step="Choose by absolute value, and store the value itself.")


@check("camera")
def a_fast_network_sees_every_frame(learner, reference, rng):
    """Where every answer comes before the next frame, no frame is lost and ages are the durations"""
    for durations, period in (([10, 10, 10], 30), ([5, 29, 1, 30, 12], 30), ([0, 0], 7)):
        _check_camera(learner, durations, period)


@check("camera", weight=1.5)
def a_slow_network_takes_the_newest(learner, reference, rng):
    """Where answers take longer, the newest frame is next, the others are lost, and waiting counts"""
    for durations, period in (([40, 40, 40], 30), ([100, 10, 10], 30), ([45, 45, 45, 45], 10), ([7, 65, 3, 3], 20)):
        _check_camera(learner, durations, period)


@check("camera")
def a_frame_that_comes_right_now_has_come(learner, reference, rng):
    """A frame that comes at the very moment when the network is done is seen at once"""
    for durations, period in (([30, 30, 30], 30), ([60, 60], 30), ([90, 5, 30], 30)):
        _check_camera(learner, durations, period)


@check("camera", weight=0.5)
def no_camera(learner, reference, rng):
    """No durations give no frames; a period below 1 or a negative duration is a ValueError"""
    expect.equal(list(learner.camera([], 30)), [], "the frames seen with no durations",
                 next_step="Begin with an empty list.")
    for durations, period in (([5], 0), ([5, -1], 30), ([5], -30)):
        expect.raises("ValueError", learner.camera, durations, period,
                      why=f"the period is {period} and the durations are {durations}")


def _plain_camera(durations, period) -> list[tuple[int, int]]:
    """What a camera's frames come to, by looking at each of them whether the next has come already."""
    seen, now, frame = [], 0, -1
    for duration in durations:
        frame += 1
        while (frame + 1) * period <= now:  # it is lost: a newer one is there
            frame += 1
        now = max(now, frame * period) + duration
        seen.append((frame, now - frame * period))
    return seen


def _check_camera(learner, durations, period):
    want = _plain_camera(durations, period)
    got = learner.camera(durations, period)
    expect.that(isinstance(got, list | tuple), "a list of pairs", expect.show(got),
                next_step="Append (number, age) for each duration and return the list.")
    got = [tuple(int(part) for part in pair) if isinstance(pair, list | tuple) else pair for pair in got]
    expect.equal(len(got), len(durations), f"the frames seen in {len(durations)} durations",
                 cause="A frame is listed that nobody looked at." if len(got) > len(durations) else "",
                 next_step="The list has an entry for each duration: the network works that often.")
    expect.equal(got, want, f"frames and ages for durations {expect.show(durations[:6])} at a frame every {period}",
                 causes=_camera_mistakes(durations, period, want), next_step="Draw a line of time with a mark for each "
                 "frame, and above it a bar for each duration. Which mark is the last one before a bar's end?")


def _camera_mistakes(durations, period, want):
    queue, late, now = [], [], 0
    for number, duration in enumerate(durations):  # no frame is ever lost
        now = max(now, number * period) + duration
        queue.append((number, now - number * period))
    now = 0
    for duration in durations:  # every inference waits for the next tick
        number = -(-now // period)
        number += bool(late) and number <= late[-1][0]
        late.append((number, duration))
        now = number * period + duration
    starts = [(number, duration) for (number, _), duration in zip(want, durations, strict=True)]
    waited = [(number, age - duration) for (number, age), duration in zip(want, durations, strict=True)]
    eager, now = [], 0
    for duration in durations:  # an answer to a frame that hasn't come
        number = max(now // period, eager[-1][0] + 1 if eager else 0)
        now += duration
        eager.append((number, now - number * period))
    mistakes = {
        "No frame is lost: they queue up, and each is older than the one before.": queue,
        "The network waits for the next frame, although a newer one than the last is there.": late,
        "The age counts the network's time alone, and the frame's waiting not.": starts,
        "A frame is taken before it has come: the network has to wait for it.": eager,
        "That is its age when the network begins; it grows until the answer is there.": waited,
        "Those are the times of the answers; an age is counted from when the frame came.":
            [(number, number * period + age) for number, age in want],
        "The pairs are turned round: number first, then age.": [(age, number) for number, age in want],
        "Frames are counted from 1.": [(number + 1, age) for number, age in want],
    }
    return {cause: value for cause, value in mistakes.items() if value != want}


@check("contest_score")
def right_answers_a_joule(learner, reference, rng):
    """A network that gets through in time has its right answers over its energy"""
    for accuracy, energy, seconds in ((0.99, 2.0, 2**-10), (1.0, 0.5, 2**-8), (0.985, 8.0, 2**-6)):
        _check_score(learner, accuracy, energy, seconds)


@check("contest_score")
def below_the_floor_there_is_nothing(learner, reference, rng):
    """Below the floor the score is 0, however little energy it took; exactly at the floor it counts"""
    for accuracy, floor in ((0.97, 0.98), (0.1, 0.98), (0.75, 0.75), (0.5, 0.75), (0.875, 0.875), (0.875, 0.5)):
        _check_score(learner, accuracy, 0.001, 2**-10, floor=floor)


@check("contest_score", weight=1.5)
def what_is_not_reached_is_wrong(learner, reference, rng):
    """Images that the time doesn't reach are wrong answers, and cost no energy"""
    for accuracy, seconds, floor in ((1.0, 1 / 16, 0.25), (1.0, 1 / 16, 0.75), (0.875, 1 / 32, 0.75),
                                     (0.5, 700.0, 0.0), (1.0, 400.0, 0.0), (1.0, 1 / 4, 0.125)):
        _check_score(learner, accuracy, 4.0, seconds, floor=floor)


@check("contest_score", weight=0.5)
def nothing_is_free(learner, reference, rng):
    """No energy, no time or an impossible accuracy is a ValueError"""
    for accuracy, energy, seconds in ((0.99, 0.0, 0.1), (0.99, -1.0, 0.1), (0.99, 1.0, 0.0), (99.0, 1.0, 0.1)):
        expect.raises("ValueError", learner.contest_score, accuracy, energy, seconds,
                      why=f"accuracy is {accuracy}, energy {energy} and seconds {seconds}")


def _check_score(learner, accuracy, energy, seconds, floor=0.98, images=20_000, limit=600.0):
    given = {key: value for key, value, usual in (("floor", floor, 0.98), ("images", images, 20_000),
                                                  ("limit", limit, 600.0)) if value != usual}  # fmt: skip
    done = min(images, int(limit // seconds))
    right = accuracy * done
    passed = done > 0 and right >= floor * images
    want = accuracy / (energy * 1e-6) if passed else 0.0
    share = right / images
    causes = {
        "Energy is in microjoules, and the score is for each joule.": accuracy / energy,
        "It is the share of right answers over the energy of all: the right answers themselves count.":
            accuracy / (done * energy * 1e-6) if done else 0.0,
        "The energy of a single image stands below the answers to all.": right / (energy * 1e-6),
        "What isn't reached costs no energy.": right / (images * energy * 1e-6),
        ("No image is done in time; a part of one doesn't count." if done == 0 else
         "The floor is compared with the accuracy of what was reached, not of all images." if accuracy >= floor else
         "The floor is not looked at."): accuracy / (energy * 1e-6),
        ("Exactly at the floor is enough." if share == floor else
         "The time is over before all are done: that makes the rest wrong, and is allowed." if done < images else
         "The floor is below that: it is passed."): 0.0,
    }
    expect.close(learner.contest_score(accuracy, energy, seconds, **given), want,
                 f"the score at accuracy {accuracy:g}, {energy:g} µJ and {seconds:g} s an image, floor {floor:g}, "
                 f"{images:,} images in {limit:g} s",
                 causes={cause: value for cause, value in causes.items() if abs(value - want) > 1e-9}, rtol=1e-9,
                 next_step="How many images are reached, how many of these answered rightly, and which share is that "
                 "of all? Write the three numbers down first.")


@check("class_activation_map")
def the_map_adds_up_to_the_logit(learner, reference, rng):
    """The mean of the map is the class's logit: pooling and the linear layer change places"""
    features, weights = _features(rng, 6, 5, 4)
    pooled = features.mean((1, 2))
    for label in range(3):
        got = learner.class_activation_map(features, weights, label)
        expect.shape(got, (5, 4), "the map", cause="Channels are still there." if getattr(got, "ndim", 0) == 3 else "",
                     next_step="One number for each place: sum over the channels.")
        expect.close(float(torch.as_tensor(got).double().mean()), float(weights[label] @ pooled),
                     f"the mean of the map of class {label}", rtol=1e-4, atol=1e-5,
                     causes={"It is a mean over channels, not a sum.": float(weights[label] @ pooled) / 6,
                             "It is divided by the places; the mean of the map already is.":
                                 float(weights[label] @ pooled) / 20,
                             "The weights of another class are used.": float(weights[0 if label else 1] @ pooled)},
                     next_step="Which row of the linear layer's weights belongs to the class?")


@check("class_activation_map")
def every_place_is_a_logit_of_its_own(learner, reference, rng):
    """At each place stands what the linear layer says of the features there"""
    features, weights = _features(rng, 3, 2, 5)
    _check_map(learner, features, weights, 1)


def _features(rng, channels, height, width):
    return _tensor(rng, channels, height, width), _tensor(rng, 3, channels)


def _tensor(rng, *shape) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def _check_map(learner, features, weights, label):
    want = (weights[label][:, None, None] * features).sum(0)
    expect.close(learner.class_activation_map(features, weights, label), want,
                 f"the map of class {label} over {tuple(features.shape)} features", rtol=1e-4, atol=1e-5, causes={
                     "It is cut off at 0: what speaks against the class counts, too.": want.clamp_min(0),
                     "It is the plain mean of the channels.": features.mean(0),
                     "The mean over channels is taken, not the sum.": want / len(features),
                     "Only the strongest channel is there.":
                         weights[label].max() * features[int(weights[label].argmax())],
                 }, next_step="Take two channels and one place, and follow the two numbers.")


@check("occlusion_map")
def a_linear_network_loses_what_is_hidden(learner, reference, rng):
    """For a linear network each square costs exactly what its pixels contributed"""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 6, 3))
    image = _tensor(rng, 2, 5, 6)
    weight = network[1].weight.detach()
    for label, size in ((1, 2), (0, 1), (2, 5)):
        parts = (weight[label].reshape(2, 5, 6) * image).sum(0)
        want = functional.avg_pool2d(parts[None, None], size, 1)[0, 0] * size**2
        _check_occlusion(learner, network, image, label, size, want)


@check("occlusion_map")
def each_square_alone(learner, reference, rng):
    """Each number is the loss of the class's logit with one square blanked in the whole image"""
    network, image = _small_network(rng), _tensor(rng, 1, 6, 6)
    for size in (1, 3, 6):
        _check_occlusion(learner, network, image, 2, size, _occluded(network, image, 2, size))


@check("occlusion_map", weight=0.5)
def a_square_that_does_not_fit(learner, reference, rng):
    """A square larger than the image or below one pixel is a ValueError"""
    network, image = _small_network(rng), _tensor(rng, 1, 6, 6)
    for size in (0, 7, -1):
        expect.raises("ValueError", learner.occlusion_map, network, image, 0, size,
                      why=f"the image has 6×6 pixels and the square {size}")


def _small_network(rng) -> nn.Module:
    return models.build("mlp", sizes=(36, 12, 4), seed=int(rng.integers(1 << 30)))


@torch.no_grad()
def _left(network, image, label) -> float:
    return float(network(image[None])[0, label])


@torch.no_grad()
def _occluded(network, image, label, size, of=lambda logits: logits, channels=slice(None), fill=0.0) -> Tensor:
    rows, columns = image.shape[1] - size + 1, image.shape[2] - size + 1
    found = torch.empty(rows, columns)
    for top in range(rows):
        for left in range(columns):
            hidden = image.clone()
            hidden[channels, top : top + size, left : left + size] = fill
            found[top, left] = (of(network(image[None])) - of(network(hidden[None])))[0, label]
    return found


def _check_occlusion(learner, network, image, label, size, want):
    given = image.clone()
    got = learner.occlusion_map(network, inout(given), label, size)
    expect.that(torch.equal(given, image), "an image that stays as it is", "one changed in place",
                cause="The square is blanked in the image itself.", next_step="Blank it in a copy.")
    expect.shape(got, tuple(want.shape), f"the map of a {tuple(image.shape)} image with squares of {size}",
                 cause="Rows and columns are exchanged." if getattr(got, "shape", ()) == want.T.shape else "",
                 next_step="At how many places does the square fit whole?")
    shares = _occluded(network, image, label, size, lambda logits: logits.softmax(1))
    flipped = torch.as_tensor(got).detach().float()
    causes = {
        "The sign is turned round: what a square costs is positive.": -want,
        "Those are probabilities, not logits.": shares,
        "Those are logarithms of probabilities, not logits.":
            _occluded(network, image, label, size, lambda logits: logits.log_softmax(1)),
        "Squares stay blanked: each begins with the whole image.": _piled_up(network, image, label, size),
        "It has no signs: what speaks against the class gains by being hidden.": want.abs(),
        "It is the logit that is left; what is lost is wanted.": _left(network, image, label) - want,
        "Only the first channel is blanked.": _occluded(network, image, label, size, channels=slice(0, 1)),
        "Squares are filled with the image's mean; 0 is asked for.":
            _occluded(network, image, label, size, fill=float(image.mean())),
        "The map of another class.": _occluded(network, image, (label + 1) % 3, size),
    }
    expect.close(flipped, want, f"the map of class {label} with squares of {size}", rtol=1e-3, atol=1e-4, causes=causes,
                 next_step="Try an image of 2×2 pixels and squares of 1 with a linear network.")


@torch.no_grad()
def _piled_up(network, image, label, size) -> Tensor:
    rows, columns = image.shape[1] - size + 1, image.shape[2] - size + 1
    found, hidden = torch.empty(rows, columns), image.clone()
    for top in range(rows):
        for left in range(columns):
            hidden[:, top : top + size, left : left + size] = 0
            found[top, left] = (network(image[None]) - network(hidden[None]))[0, label]
    return found


@check("dissect")
def units_that_are_the_concept(learner, reference, rng):
    """A unit that is on just where the concept is scores 1, one that is on elsewhere 0"""
    masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    masks[0, 1, 1:3] = masks[1, 2, 0:2] = True
    strength = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(int(rng.integers(1 << 30))))
    _check_dissect(learner, masks + strength, masks, 0.1, 1.0)
    _check_dissect(learner, strength - 2.0 * masks, masks, 0.1, 0.0)


@check("dissect", weight=1.5)
def intersection_over_union(learner, reference, rng):
    """The score is intersection over union, over all images together"""
    for share in (0.1, 0.12, 0.13, 0.25, 0.5):
        activations = torch.from_numpy(rng.permutation(60).reshape(3, 4, 5).astype(np.float32))
        masks = torch.from_numpy(rng.random((3, 4, 5)) < 0.3)
        masks[0, 0, 0] = True
        _check_dissect(learner, activations, masks, share)


@check("dissect", weight=0.5)
def shares_of_activations(learner, reference, rng):
    """A share of 0 or above 1 is a ValueError, and so are shapes that differ"""
    activations, masks = torch.rand(2, 3, 3), torch.zeros(2, 3, 3, dtype=torch.bool)
    for share in (0.0, -0.1, 1.5):
        expect.raises("ValueError", learner.dissect, activations, masks, share, why=f"the share is {share}")
    expect.raises("ValueError", learner.dissect, activations, masks[:1], 0.5, why="the shapes differ")


def _check_dissect(learner, activations, masks, share, want=None):
    count = max(1, round(share * activations.numel()))
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    both, either = (on & masks).sum(), (on | masks).sum()
    if want is None:
        want = float(both / either)
    def scored(number, above=False):
        edge = activations.flatten().sort(descending=True).values[min(max(number, 1), activations.numel()) - 1]
        found = activations > edge if above else activations >= edge
        return float((found & masks).sum() / (found | masks).sum().clamp_min(1))

    each = [(a & m).sum() / (a | m).sum().clamp_min(1) for a, m in zip(on, masks, strict=True)]
    per_image = []
    for one, mask in zip(activations, masks, strict=True):
        most = one >= one.flatten().sort(descending=True).values[max(1, round(share * one.numel())) - 1]
        per_image.append(((most & mask).sum(), (most | mask).sum()))
    causes = {
        "It is the mean of the images' scores; images without the concept count for nothing then.":
            float(torch.stack(each).mean()),
        "Each image has a threshold of its own.": float(sum(b for b, _ in per_image) / sum(e for _, e in per_image)),
        "It is divided by the concept's places, not by the union.": float(both / masks.sum()),
        "It is divided by the unit's places, not by the union.": float(both / on.sum()),
        "It is the share of places that agree.": float((on == masks).double().mean()),
        "It is twice the intersection over the sum (Dice's score), not over the union.":
            float(2 * both / (on.sum() + masks.sum())),
        "The threshold itself isn't on; where it is reached, the unit is.": scored(count, above=True),
        "A place too many is on.": scored(count + 1),
        "A place too few is on: the number is rounded, not cut.": scored(count - 1),
        "The places below the threshold are on.": float((~on & masks).sum() / (~on | masks).sum().clamp_min(1)),
    }
    expect.close(learner.dissect(activations, masks, share), want,
                 f"the score of {tuple(activations.shape)} activations at a share of {share:g}", rtol=1e-6, atol=1e-9,
                 causes={cause: value for cause, value in causes.items() if abs(value - want) > 1e-9},
                 next_step="Print how many places are on, how many the masks show, and how many are both.")
