"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""

import math
from collections import Counter
import numpy as np
import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor
from torch.nn import functional
from nutshell import expect
from nutshell.checks import check
from nutshell.expect import CheckFailed, LearnerRaised
from nutshell.streams import open_shelf
from nutshell.wire.standins import inout

PAIRS = {"ms": ([9.0, 11.0, 10.0], [7.0, 9.5, 7.5]), "MB": ([4.0, 4.0, 7.0], [4.5, 3.0, 7.5])}


@check("resource_report", weight=2)
def interval_of_the_paired_differences(learner, reference, rng):
    """Means, the mean difference, and its interval by Student's t"""
    _check_report(learner, {name: pair[0] for name, pair in PAIRS.items()},
                  {name: pair[1] for name, pair in PAIRS.items()}, None)
    _check_report(learner, *_measured(rng, 6, 3.0), 0.99)
    _check_report(learner, {"ms": [9.0, 11.0]}, {"ms": [7.0, 9.5]}, None)  # two pairs are enough


@check("resource_report")
def a_slow_machine_slows_both(learner, reference, rng):
    """What slows both measurements of a pair alike leaves change and interval as they were"""
    off, on = _measured(rng, 8, 2.0)
    slower = (50 * rng.random(8)).tolist()
    drift = [{"ms": [a + b for a, b in zip(side["ms"], slower, strict=True)]} for side in (off, on)]
    rows = [_row(learner, *sides, "ms") for sides in ((off, on), drift)]
    for name in ("change", "low", "high"):
        expect.close(rows[1][name], rows[0][name], f"{name} on a machine that was slower for some pairs", rtol=1e-6,
                     cause="The two sides are treated as if they had been measured apart.",
                     next_step="Take the differences first, pair by pair, and look at nothing else from then on.")


@check("resource_report")
def noise_is_called_noise(learner, reference, rng):
    """A verdict is given only if the whole interval lies on one side of 0"""
    for on, want in (([9.0, 11.5, 9.6], "noise"), ([7.0, 9.5, 7.5], "lower"), ([11.2, 12.0, 11.5], "higher"),
                     ([8.0, 10.0, 9.0], "lower"), ([9.0, 11.0, 10.0], "noise")):
        off = [9.0, 11.0, 10.0]
        row = _row(learner, {"ms": off}, {"ms": on}, "ms")
        by_mean = "lower" if sum(on) < sum(off) else "higher"
        expect.equal(row["verdict"], want, f"the verdict on {on} ms after {off} ms", causes={
            "A verdict by the means alone: is 0 in the interval?": by_mean} if by_mean != want else {
            "It is the other way round: lower means less with the technique on.":
                "higher" if want == "lower" else "lower"},
            next_step="Draw the interval on paper, with 0 marked.")
    for on, level, want in (([7.0, 9.5, 7.5], 0.99, "noise"), ([10.0, 11.5, 10.1], 0.5, "higher")):
        row = _row(learner, {"ms": [9.0, 11.0, 10.0]}, {"ms": on}, "ms", level)
        expect.equal(row["verdict"], want, f"the verdict on {on} ms after [9.0, 11.0, 10.0] ms at a level of {level:g}",
                     cause="It isn't the verdict of the interval at this level.",
                     next_step="Look at low and high themselves: on which side of 0 do they lie?")


@check("resource_report", weight=0.5)
def off_and_on_change_places(learner, reference, rng):
    """With off and on swapped the interval is mirrored at 0"""
    off, on = _measured(rng, 5, 4.0)
    there, back = _row(learner, off, on, "ms"), _row(learner, on, off, "ms")
    expect.close((back["change"], back["low"], back["high"]), (-there["change"], -there["high"], -there["low"]),
                 "change, low and high with off and on swapped", rtol=1e-6, atol=1e-9,
                 cause="The sign of the difference is lost.",
                 next_step="The change is on − off: below 0 if it got less.")


@check("resource_report", weight=0.5)
def report_refuses_what_has_no_pairs(learner, reference, rng):
    """Fewer than two pairs, other lengths, other metrics and impossible levels are a ValueError"""
    for off, on, why in (({"ms": [1.0]}, {"ms": [2.0]}, "one pair has no spread"),
                         ({"ms": [1.0, 2.0, 3.0]}, {"ms": [2.0, 3.0]}, "there are 3 measurements off and 2 on"),
                         ({"ms": [1.0, 2.0]}, {"MB": [1.0, 2.0]}, "the metrics are ms and MB"),
                         ({"ms": [1.0, 2.0]}, {"ms": [1.0, 2.0], "MB": [1.0, 2.0]}, "MB is measured on one side only")):
        expect.raises("ValueError", learner.resource_report, off, on, why=why)
    for level in (0.0, 1.0, 95.0):
        expect.raises("ValueError", learner.resource_report, {"ms": [1.0, 2.0]}, {"ms": [2.0, 4.0]}, level,
                      why=f"level is a share between 0 and 1 and it is {level}")


def _measured(rng, pairs: int, change: float) -> tuple[dict, dict]:
    off = 40 + 10 * rng.random(pairs)
    return {"ms": off.tolist()}, {"ms": (off + change + rng.standard_normal(pairs)).tolist()}


def _row(learner, off, on, metric, level=None) -> dict:
    got = learner.resource_report(off, on, **({} if level is None else {"level": level}))
    expect.that(isinstance(got, dict) and got.keys() == off.keys(), f"a dict with the metrics {', '.join(off)}",
                expect.show(got), next_step="One entry for each metric, under its name.")
    row = got[metric]
    names = ["off", "on", "change", "low", "high", "verdict"]
    expect.that(isinstance(row, dict) and sorted(row) == sorted(names), f"for {metric} a dict with {', '.join(names)}",
                expect.show(sorted(row) if isinstance(row, dict) else row), next_step="Look at the docstring's names.")
    low, high = row["low"], row["high"]
    expect.that(not low > high, f"an interval of {metric} whose low isn't above its high",
                f"low {expect.show(low)}, high {expect.show(high)}",
                cause="The two ends are swapped, or the quantile is from below the distribution's middle, where it is "
                      "negative.", next_step="Print the quantile: is it the 4.303 of three pairs at a level of 0.95?")
    return row


def _check_report(learner, off, on, level):
    for metric in off:
        row = _row(learner, off, on, metric, level)
        before, after = (np.array(side[metric]) for side in (off, on))
        n, share, d = len(before), (1 + (level or 0.95)) / 2, after - before
        means = float(before.mean()), float(after.mean())
        expect.close((row["off"], row["on"]), means, f"the means of {metric} off and on", rtol=1e-9,
                     causes={"They are swapped.": means[::-1]},
                     next_step="Each is the mean of its own measurements.")
        expect.close(row["change"], d.mean(), f"the change in {metric}", rtol=1e-9, atol=1e-12, causes={
            "It is off − on: a technique that saves should give a change below 0.": -d.mean(),
            "It is a ratio, not a difference.": after.mean() / before.mean(),
            "It is a share of the mean, not a difference in the metric's unit.": d.mean() / before.mean(),
        }, next_step="Take the mean of on − off over the pairs.")
        t, s, root = stdtrit(n - 1, share), d.std(ddof=1), math.sqrt(n)
        apart = math.sqrt(before.var(ddof=1) / n + after.var(ddof=1) / n)
        halves = {
            "The pairs are taken apart: the spreads of both sides are added.": t * apart,
            "It is taken apart from the pairs, with 2n − 2 degrees of freedom.": stdtrit(2 * n - 2, share) * apart,
            "The standard deviation has n below the fraction, not n − 1.": t * d.std() / root,
            "That is how far single differences spread; the mean of n spreads √n times less.": t * s,
            "It is the standard error alone, without t.": s / root,
            "It is twice the standard error; t depends on the number of pairs and on the level.": 2 * s / root,
            "The quantile is the normal distribution's, which knows s without measuring it.": ndtri(share) * s / root,
            "The quantile is at the level itself: half of what is left out lies on each side.":
                stdtrit(n - 1, level or 0.95) * s / root,
            "The degrees of freedom are n, not n − 1.": stdtrit(n, share) * s / root,
            "The level is not used: this is the interval at 0.95.": stdtrit(n - 1, 0.975) * s / root,
        }
        want = t * s / root
        causes = {words: (d.mean() - half, d.mean() + half) for words, half in halves.items()
                  if not math.isclose(half, want, rel_tol=1e-5)}
        causes["It lies about 0; it should lie about the change."] = -float(want), float(want)
        expect.close((row["low"], row["high"]), (float(d.mean() - want), float(d.mean() + want)),
                     f"the interval of the change in {metric}, {n} pairs, level {level or 0.95:g}", rtol=1e-6,
                     atol=1e-9, causes=causes,
                     next_step="Work it out by hand for the differences −2, −1.5 and −2.5: s is ½, t 4.303 at a level "
                               "of 0.95.")


@check("normalise")
def training_images_come_out_standard(learner, reference, rng):
    """Normalised by themselves, images have mean 0 and standard deviation 1 in every channel"""
    for shape in ((5, 3, 4, 6), (1, 1, 8, 8), (7, 2, 1, 3)):
        images = _images(rng, shape)
        got = _normalised(learner, images, images)
        _compare_normalised(got, images, images)
        expect.close(got.mean((0, 2, 3)), torch.zeros(shape[1]), f"the means of channels, images {shape}", atol=1e-4,
                     next_step="Print the mean and the deviation of each channel, before and after.")


@check("normalise", weight=2)
def statistics_are_the_training_images(learner, reference, rng):
    """Other images are normalised by the training images' statistics, one image like many"""
    train, images = _images(rng, (9, 3, 5, 5)), _images(rng, (4, 3, 5, 5)) // 3
    _compare_normalised(_normalised(learner, train, images), train, images)
    _compare_normalised(_normalised(learner, train, images[:1]), train, images[:1])


@check("normalise", weight=0.5)
def a_channel_without_contrast(learner, reference, rng):
    """A channel that is the same everywhere in training is only shifted: no division by 0"""
    train = _images(rng, (3, 2, 4, 4))
    train[:, 1] = 9
    images = _images(rng, (2, 2, 4, 4))
    got = _normalised(learner, train, images)
    first, shifted = train[:, 0].double(), images[:, 1].double() - 9
    usual = (images[:, 0].double() - first.mean()) / first.std(correction=0)
    if torch.allclose(got[:, 0], usual, rtol=1e-4, atol=1e-4):  # the other channel is right
        scales = (got[:, 1] / shifted)[shifted != 0]
        expect.close(got[:, 1], shifted, "a channel that was 9 in all training images", rtol=1e-4, atol=1e-4, causes={
            "It is divided by 0.": shifted / 0,
            "It isn't shifted.": images[:, 1].double(),
            "It is 0 everywhere: what differs from the training images is lost.": torch.zeros_like(shifted),
        }, cause="A small number takes the place of a deviation of 0, and dividing by it makes huge values."
            if torch.allclose(scales, scales[0].expand(len(scales)), rtol=1e-3) else "",
            next_step="What can one divide by without changing anything?")
    _compare_normalised(got, train, images)


def _images(rng, shape) -> Tensor:
    spread = torch.from_numpy(rng.integers(20, 120, (1, shape[1], 1, 1)))
    return (torch.from_numpy(rng.integers(0, 256, shape)) * spread // 255 + 120 - spread // 2).to(torch.uint8)


def _normalised(learner, train, images) -> Tensor:
    return _tensor(learner.normalise(train, images), tuple(images.shape), "the normalised images")


def _compare_normalised(got, train, images):
    values, others = train.double(), images.double()

    def by(source, axes, correction=0):
        deviation = source.std(axes, keepdim=True, correction=correction)
        return (others - source.mean(axes, keepdim=True)) / torch.where(deviation > 0, deviation, 1.0)

    axes = (0, 2, 3)
    mean = values.mean(axes, keepdim=True)
    wrapped = (images - mean.to(images.dtype)).double() if images.dtype == torch.uint8 else others - mean
    deviation = values.std(axes, keepdim=True, correction=0)
    want = by(values, axes)
    with np.errstate(all="ignore"):
        causes = {
            "The statistics are those of the images themselves; use the training images'.": by(others, axes),
            "One mean and one deviation for all channels.": by(values, (0, 1, 2, 3)),
            "Every image is normalised by itself.": by(others, (2, 3)),
            "Every image is normalised by itself, channels together.": by(others, (1, 2, 3)),
            "Every pixel has its own mean and deviation.": by(values, (0,)),
            "It is divided by the variance.": (others - mean) / torch.where(deviation > 0, deviation**2, 1.0),
            "The mean is not subtracted.": others / torch.where(deviation > 0, deviation, 1.0),
            "It is not divided by the deviation.": others - mean,
            "Bytes ran below 0 and wrapped round: convert them before you subtract.":
                wrapped / torch.where(deviation > 0, deviation, 1.0),
            "A channel without contrast is divided by 0.": (others - mean) / deviation,
            "A small number is added to the deviation: that changes all channels a little.":
                (others - mean) / (deviation + 1e-2),
            "Pixels are only brought to 0 … 1.": others / 255,
            "The deviation is that of a sample, with n − 1 below the fraction.": by(values, axes, 1),
        }
    expect.close(got, want, f"{len(images)} images, normalised by {len(train)} training images", rtol=1e-4, atol=1e-4,
                 causes={words: value for words, value in causes.items()
                         if not torch.allclose(value, want, rtol=1e-4, atol=1e-4)},
                 next_step="Which axes do you average over? What is left is one number for each channel.")


def _tensor(got, shape, what) -> Tensor:
    expect.shape(got, tuple(shape), what, next_step="Print the shapes at each step.")
    return torch.as_tensor(got).detach().double()


@check("augment", weight=2)
def angles_turn_with_their_frames(learner, reference, rng):
    """Every new frame is an old one, mirrored or not and moved, and its angle says exactly that"""
    for most, width, per_pixel in ((2, 9, 0.01), (0, 6, 0.5), (3, 7, -0.02)):
        frames, angles = _frames(rng, 12, width), torch.from_numpy(rng.standard_normal(12))
        _decode(learner, frames, angles, most, per_pixel, 3)


@check("augment")
def mirrors_and_shifts_are_drawn_evenly(learner, reference, rng):
    """Half of the frames are mirrored, all shifts are equally likely, and one has nothing to do with the other"""
    count, most = 600, 2
    frames, angles = _frames(rng, 1, 8).expand(count, -1, -1, -1).contiguous(), torch.ones(count, dtype=torch.float64)
    drawn = Counter(_decode(learner, frames, angles, most, 0.01, 5))
    fair = count / (2 * (2 * most + 1))
    for mirrored in (False, True):
        for shift in range(-most, most + 1):
            expect.that(abs(drawn[mirrored, shift] - fair) < 6 * math.sqrt(fair),
                        f"about {fair:.0f} of {count} frames {'mirrored and ' if mirrored else ''}moved by {shift}",
                        str(drawn[mirrored, shift]), cause=_uneven(drawn, most),
                        next_step="Count with collections.Counter what became of many copies of one frame.")


@check("augment", weight=0.5)
def a_seed_is_a_seed(learner, reference, rng):
    """The same seed gives the same frames, another seed others, and nothing given is changed"""
    frames, angles = _frames(rng, 40, 8), torch.from_numpy(rng.standard_normal(40))
    given = [frames.clone(), angles.clone()]
    first = _augmented(learner, inout(given[0]), inout(given[1]), frames, angles, 2, 0.1, 7)
    expect.that(torch.equal(given[0], frames) and torch.equal(given[1], angles), "frames and angles as they were",
                "others: they were changed in place",
                next_step="Make new tensors; -= and slices write into the old ones.")
    again, other = (_augmented(learner, frames, angles, frames, angles, 2, 0.1, seed) for seed in (7, 8))
    expect.that(torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]),
                "the same frames for the same seed", "others",
                cause="The seed isn't used, or not for all that is random.",
                next_step="Make one torch.Generator from the seed and give it to every call that draws.")
    expect.that(not torch.equal(first[0], other[0]), "other frames for another seed", "the same",
                cause="The seed isn't used.", next_step="Is it a constant that seeds your generator?")


@check("augment", weight=0.5)
def augment_refuses_impossible_shifts(learner, reference, rng):
    """A largest shift below 0, or as large as the frame is wide, is a ValueError"""
    frames, angles = _frames(rng, 2, 5), torch.zeros(2)
    for most in (-1, 5, 6):
        expect.raises("ValueError", learner.augment, frames, angles, most, 0.1,
                      why=f"frames are 5 pixels wide and most is {most}")


def _uneven(drawn: Counter, most: int) -> str:
    """Why mirrors and shifts don't all come equally often."""
    if len(drawn) == 1:
        return "All frames share one draw."
    if len({mirrored for mirrored, _ in drawn}) == 1:
        return "All frames are mirrored." if next(iter(drawn))[0] else "No frame is mirrored."
    if len({shift for _, shift in drawn}) <= 2 * most:
        return "Some shifts never come: all whole numbers from −most to most, these two included, may."
    return "A mirror and a shift come from the same draw, or some come more often than others."


def _frames(rng, count, width, channels=1) -> Tensor:
    """Frames in which no two columns are alike, whichever way round."""
    frames = torch.from_numpy(rng.integers(0, 200, (count, channels, 4, width)))
    frames[:, 0, 0] = 3 * torch.arange(width) + 2 * (torch.arange(width) == 0)
    return frames.to(torch.uint8)


def _augmented(learner, given_frames, given_angles, frames, angles, most, per_pixel, seed) -> tuple[Tensor, Tensor]:
    got = learner.augment(given_frames, given_angles, most, per_pixel, seed=seed)
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "new frames and new angles", expect.show(got),
                next_step="Return both: return frames, angles.")
    for part, like, name in ((got[0], frames, "the frames"), (got[1], angles, "the angles")):
        expect.shape(part, tuple(like.shape), name, next_step="A new frame and a new angle for each that was given.")
        expect.that(torch.as_tensor(part).dtype == like.dtype, f"{name} in {like.dtype}".replace("torch.", ""),
                    f"{torch.as_tensor(part).dtype}".replace("torch.", ""),
                    next_step="Keep the dtype of what is given.")
    return torch.as_tensor(got[0]).detach(), torch.as_tensor(got[1]).detach()


def _moved(frame: Tensor, shift: int) -> Tensor:
    width = frame.shape[2]
    return torch.stack([frame[:, :, min(max(column - shift, 0), width - 1)] for column in range(width)], 2)


def _decode(learner, frames, angles, most, per_pixel, seed) -> list[tuple[bool, int]]:
    """What was done to every frame, with its angle checked; fails on frames that none of it makes."""
    new, turned = _augmented(learner, frames, angles, frames, angles, most, per_pixel, seed)
    found: list[list[tuple[bool, int]]] = []  # a frame moved by its whole width tells nothing of the mirror
    cases: dict[tuple[bool, int], Tensor] = {}
    for number, frame in enumerate(new):
        old = frames[number]
        if number == 0 or not torch.equal(old, frames[number - 1]):
            cases = {(flip, s): _moved(old.flip(-1) if flip else old, s)
                     for flip in (False, True) for s in range(-most, most + 1)}
        made = [case for case, picture in cases.items() if torch.equal(picture, frame)]
        if not made:
            raise CheckFailed(f"frame {number}, mirrored or not, moved by at most {most} columns", expect.show(frame),
                              _strange(old, frame, most),
                              "Try a frame of one row, 1 2 3 4 5, and print what comes out.")
        found.append(made)
    for number in sorted(range(len(found)), key=lambda number: found[number][0]):  # those that aren't mirrored first
        angle, was = float(turned[number]), float(angles[number])
        wanted = [(-was if flip else was) + per_pixel * shift for flip, shift in found[number]]
        if not any(math.isclose(angle, each, rel_tol=1e-4, abs_tol=1e-5) for each in wanted):
            _check_angle(angle, was, *found[number][0], per_pixel)
    return [made[0] for made in found]


def _check_angle(angle: float, was: float, flip: bool, shift: int, per_pixel: float) -> None:
    mirrored, back = -was if flip else was, "The shift turns the angle the wrong way."
    if flip:
        back = ("The shift turns the angle of mirrored frames the wrong way: it was added before the sign changed, or "
                "the frame was moved before it was mirrored.")
    did = f"{'mirrored and ' if flip else ''}moved to the right by {shift}"
    expect.close(angle, mirrored + per_pixel * shift, f"the angle {was:.3f} of a frame {did}, at {per_pixel:g} a pixel",
                 rtol=1e-4, atol=1e-5, causes={
                     "A mirrored frame keeps its angle.": was + per_pixel * shift,
                     "The shift doesn't change the angle.": mirrored,
                     back: mirrored - per_pixel * shift,
                     "Neither mirror nor shift changes the angle.": was,
                     "Every angle changes sign, that of frames that aren't mirrored, too.": -was + per_pixel * shift,
                 }, next_step="Think of a bend to the right: where does it lie in the mirrored frame, and where must "
                              "one steer when the road lies further to the right?")


def _strange(old: Tensor, got: Tensor, most: int) -> str:
    for flip in (old, old.flip(-1)):
        for s in range(-most, most + 1):
            rolled = flip.roll(s, 2)
            if torch.equal(rolled, got):
                return "Columns that leave on one side come in again on the other."
            blank = rolled.clone()
            blank[..., : s if s > 0 else 0] = 0
            if s < 0:
                blank[..., s:] = 0
            if torch.equal(blank, got):
                return "The columns that come free are black; they repeat the outermost column."
            width = flip.shape[2]
            if torch.equal(flip[:, :, [_reflected(column - s, width) for column in range(width)]], got):
                return "The columns that come free mirror those beside them; they repeat the outermost column."
    turned = old.flip(-2)
    if any(torch.equal(_moved(way, s), got) for way in (turned, turned.flip(-1)) for s in range(-most, most + 1)):
        return "It is upside down: left and right are the last axis."
    return "It may be another frame's, or the frame was moved in another way."


def _reflected(column: int, width: int) -> int:
    """The column that NumPy's "reflect" puts at a place left or right of the frame."""
    column = abs(column)
    return column if column < width else max(0, 2 * (width - 1) - column)


@check("stream", weight=1.5)
def every_image_once(learner, reference, rng):
    """Over all workers every image of the shelf comes exactly once, with its number, and no worker takes another's"""
    for count, size, buffer, workers in ((13, 4, 1, 1), (17, 3, 5, 3), (4, 2, 9, 2), (3, 2, 2, 4), (0, 2, 1, 1)):
        seen = [_numbers(learner, f"drawn:{count}?seed=2", size, buffer, worker, workers, 1)
                for worker in range(workers)]
        for worker, numbers in enumerate(seen):
            want = sorted(range(worker, count, workers))
            stretch = -(-count // workers)
            causes = {
                "It reads all of the shelf: with several workers every image comes several times.": list(range(count)),
                "The shelf is cut into stretches, one for each worker; they take turns instead.":
                    list(range(count))[worker * stretch : (worker + 1) * stretch],
            }
            if len(numbers) < len(want) and set(numbers) <= set(want):
                causes["What is left when nothing more is read gets lost."] = sorted(numbers)
            expect.equal(sorted(numbers), want, f"the numbers of worker {worker} of {workers}, {count} images",
                         causes=causes,
                         next_step="Write down which numbers go through your loop, for a shelf of 5 and two workers.")


@check("stream")
def batches_are_full(learner, reference, rng):
    """All batches are full but the last, and without a buffer they come in the shelf's order"""
    for count, size, worker, workers in ((10, 4, 0, 1), (8, 4, 0, 1), (11, 3, 1, 2)):
        batches = [numbers.tolist() for numbers, _ in _batches(learner, f"drawn:{count}", size, 1, worker, workers, 0)]
        order = list(range(worker, count, workers))
        want = [order[start : start + size] for start in range(0, len(order), size)]
        shuffled = sorted(n for batch in batches for n in batch) == order and [len(b) for b in batches] == [
            len(b) for b in want]
        expect.equal(batches, want, f"{count} images in batches of {size}, worker {worker} of {workers}, buffer 1",
                     causes={"The last batch, which isn't full, is left out.": want[:-1]},
                     cause="They come in another order: a buffer of 1 leaves no choice." if shuffled else "",
                     next_step="A batch is yielded once it is full, and what is left at the end.")


@check("stream", weight=1.5)
def a_small_room_is_enough(learner, reference, rng):
    """Only buffer + 2 batches of images are held at once, on a shelf of a billion too"""
    for count, size, buffer in ((60, 4, 6), (10**9, 5, 1), (10**9, 3, 8)):
        room = buffer + 2 * size
        place = f"drawn:{count}?room={room}&reads={buffer + 6 * size}"
        taken = _first(learner, place, size, buffer, 5, f"room for {room} images", "More is read, or kept, than a "
                       "buffer and a batch: all images at once, or a list that grows.")
        for number, batch in enumerate(taken):
            largest, most = int(batch.max()), buffer + size * (number + 1) - 1
            expect.that(largest <= most, f"in batch {number} images up to {most}", f"image {largest}",
                        cause="The buffer holds more images than it should.",
                        next_step="Count how many were read when the first image leaves the buffer.")


@check("stream")
def a_buffer_shuffles(learner, reference, rng):
    """Every image in the buffer may be the next, and a seed fixes the order"""
    begun = [_numbers(learner, "drawn:9", 3, 4, 0, 1, seed)[:2] for seed in range(60)]
    expect.equal(sorted({first for first, _ in begun}), [0, 1, 2, 3],
                 "the images that come first, over 60 seeds, with a buffer of 4", causes={
        "Nothing is shuffled.": [0],
        "The whole shelf is shuffled: it doesn't fit into the buffer.": list(range(9)),
        "The image read last never leaves at once, or is not in the buffer yet.": [0, 1, 2],
        "One image more than the buffer holds is there to choose from.": [0, 1, 2, 3, 4],
    }, next_step="With a buffer of 4: which images stand in it when the first one leaves?")
    expect.equal(sorted({second for _, second in begun}), [0, 1, 2, 3, 4],
                 "the images that come second, over 60 seeds, with a buffer of 4", causes={
                     "The buffer is emptied before the next image comes in; that one takes the place of the first that "
                     "leaves.": [0, 1, 2, 3]},
                 next_step="With a buffer of 4: which images stand in it when the second one leaves?")
    last = {_numbers(learner, "drawn:5", 2, 9, 0, 1, seed)[0] for seed in range(60)}
    expect.equal(sorted(last), [0, 1, 2, 3, 4], "the images that come first of 5, over 60 seeds, with a buffer of 9",
                 causes={"What is left in the buffer at the end leaves in the order in which it came.": [0]},
                 next_step="What leaves when nothing more is to be read, and in which order?")
    orders = [_numbers(learner, "drawn:30", 5, 10, 0, 1, seed) for seed in (3, 3, 4)]
    expect.equal(orders[1], orders[0], "the order under the same seed",
                 cause="The seed isn't used for all that is random.", next_step="Make one generator from the seed.")
    expect.that(orders[2] != orders[0], "another order under another seed", "the same", cause="The seed isn't used.",
                next_step="Is it a constant that seeds your generator?")


@check("stream", weight=0.5)
def stream_refuses_impossible_sizes(learner, reference, rng):
    """A batch, buffer or number of workers below 1, or a worker that isn't there, is a ValueError"""
    for options, why in ((dict(batch_size=0), "a batch holds 0 images"), (dict(buffer=0), "the buffer holds 0 images"),
                         (dict(workers=0), "there are 0 workers"),
                         (dict(worker=2, workers=2), "of 2 workers, this is number 2"),
                         (dict(worker=-1), "the worker's number is −1")):
        expect.raises("ValueError", _first_batch, learner, {"batch_size": 2, **options}, why=why)


def _batches(learner, place, size, buffer, worker, workers, seed) -> list[tuple[Tensor, Tensor]]:
    options = {"buffer": buffer, "worker": worker, "workers": workers, "seed": seed}
    found: list[tuple[Tensor, Tensor]] = []
    shelf = open_shelf(place)
    for item in learner.stream(place, size, **options):
        expect.that(len(found) <= len(shelf), f"at most {len(shelf)} batches", "more",
                    next_step="When does the loop end?")
        found.append(_checked_batch(item, shelf, size))
    return found


def _checked_batch(item, shelf, size) -> tuple[Tensor, Tensor]:
    expect.that(isinstance(item, list | tuple) and len(item) == 2, "batches of numbers and images", expect.show(item),
                next_step="yield numbers, images")
    numbers, images = torch.as_tensor(item[0]), item[1]
    expect.that(numbers.ndim == 1 and numbers.dtype == torch.int64 and 0 < len(numbers) <= size,
                f"1 to {size} numbers in int64", expect.show(numbers),
                next_step="Clear the batch once it was yielded; leave an empty one out.")
    expect.that(int(numbers.min()) >= 0 and int(numbers.max()) < len(shelf), f"numbers from 0 to {len(shelf) - 1}",
                expect.show(numbers), next_step="Which number is the last one on the shelf?")
    want = torch.from_numpy(np.stack([shelf.read(number) for number in numbers.tolist()]))
    expect.equal(images, want, f"the images of numbers {numbers.tolist()[:4]}", causes={
        "The images are scaled; they are handed on as they were read.": want / 255},
        cause="They are others' images, or stand in another order than their numbers.",
        next_step="Keep number and image together from the reading on.")
    return numbers, torch.as_tensor(images)


def _numbers(learner, place, size, buffer, worker, workers, seed) -> list[int]:
    return [n for numbers, _ in _batches(learner, place, size, buffer, worker, workers, seed) for n in numbers.tolist()]


def _first(learner, place, size, buffer, batches, what, cause) -> list[Tensor]:
    """The numbers of the first batches; running out of room is a wrong answer, not an accident."""
    taken = []
    try:
        stream = learner.stream(place, size, buffer=buffer)
        expect.that(hasattr(stream, "__next__"), "a generator", f"a {type(stream).__name__}",
                    cause="All batches are made before the first one is handed out.",
                    next_step="yield a batch where you would append it to a list.")
        for _ in range(batches):
            numbers, _ = _checked_batch(next(stream), open_shelf(place.partition("?")[0]), size)
            taken.append(numbers)
    except LearnerRaised as error:
        if error.not_done or error.kind != "MemoryError":
            raise
        raise CheckFailed(f"{batches} batches of {size} with {what}", f"MemoryError: {error.message}", cause,
                          "Follow on paper which images are in memory when the first batch leaves.") from None
    except StopIteration:
        raise CheckFailed(f"{batches} batches", f"{len(taken)}", "The stream ends too early.",
                          "Is the end of the loop the end of the shelf?") from None
    return taken


def _first_batch(learner, options):
    return next(iter(learner.stream("drawn:6", **options)), "no batch and no error")


@check("region_of_interest", weight=1.5)
def a_planted_thing_is_found(learner, reference, rng):
    """The box fits what has the colours, and everything else in it is black"""
    for channels, thing, place in ((3, (4, 6), (2, 5)), (1, (3, 3), (0, 0)), (3, (1, 1), (9, 13)),
                                   (2, (10, 14), (0, 0))):
        image, mask = _planted(rng, channels, thing, place)
        _check_region(learner, image, mask, *_colours(channels), 0)


@check("region_of_interest")
def bounds_are_included(learner, reference, rng):
    """A pixel exactly at the least or the largest value is inside; one channel outside is enough to be out"""
    image = torch.zeros(3, 5, 5, dtype=torch.uint8)
    image[:, 1, 2] = torch.tensor([100, 50, 0])
    image[:, 1, 3] = torch.tensor([255, 60, 20])
    image[:, 1, 4] = torch.tensor([200, 55, 10])
    image[:, 3, 3] = torch.tensor([99, 55, 10])  # red too low
    image[:, 3, 0] = torch.tensor([120, 61, 10])  # green too high
    image[:, 0, 4] = torch.tensor([120, 55, 21])  # blue too high
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[1, 2:5] = True
    _check_region(learner, image, mask, (100, 50, 0), (255, 60, 20), 0)


@check("region_of_interest")
def a_margin_ends_at_the_edge(learner, reference, rng):
    """The margin goes around on every side, as far as the image does"""
    for place, margin in (((4, 5), 2), ((0, 0), 3), ((7, 10), 4), ((3, 3), 50)):
        image, mask = _planted(rng, 3, (3, 4), place)
        _check_region(learner, image, mask, *_colours(3), margin)


@check("region_of_interest", weight=0.5)
def nothing_found_nothing_lost(learner, reference, rng):
    """Where no pixel is inside, the region is the whole image as it is, with any margin"""
    image = torch.from_numpy(rng.integers(0, 100, (3, 6, 7))).to(torch.uint8)
    for margin in (0, 2):
        box, region = _region(learner, image, (200, 0, 0), (255, 255, 255), margin)
        expect.equal(box, (0, 6, 0, 7), "the box where nothing was found",
                     causes={"The box is empty: all is thrown away.": (0, 0, 0, 0)},
                     next_step="Ask first whether any pixel is inside.")
        expect.equal(region, image, "the region where nothing was found", causes={
            "It is black: a filter that finds nothing threw everything away.": torch.zeros_like(image)},
            next_step="Return the image as it is.")


@check("region_of_interest", weight=0.5)
def region_refuses_other_channels(learner, reference, rng):
    """Bounds for another number of channels, and margins below 0, are a ValueError"""
    image = torch.full((3, 4, 4), 9, dtype=torch.uint8)
    for low, high in (((0,), (9,)), ((0, 0, 0), (9, 9)), ((0, 0, 0, 0), (9, 9, 9, 9))):
        expect.raises("ValueError", learner.region_of_interest, image, low, high,
                      why=f"the image has 3 channels and there are {len(low)} low and {len(high)} high values")
    expect.raises("ValueError", learner.region_of_interest, image, (0, 0, 0), (9, 9, 9), -1, why="the margin is −1")


def _colours(channels) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (150,) * channels, (200,) * channels


def _planted(rng, channels, thing, place) -> tuple[Tensor, Tensor]:
    """A thing of values 150 to 200 with a hole, before a background of others, and where it is."""
    image = torch.from_numpy(rng.choice([3, 40, 149, 201, 250], (channels, 10, 14))).to(torch.uint8)
    mask = torch.zeros(10, 14, dtype=torch.bool)
    rows, columns = (slice(start, start + size) for start, size in zip(place, thing, strict=True))
    mask[rows, columns] = True
    if min(thing) > 2:
        mask[place[0] + 1, place[1] + 1] = False
    colours = torch.from_numpy(rng.integers(150, 201, (channels, 10, 14))).to(torch.uint8)
    return torch.where(mask, colours, image), mask


def _box(mask: Tensor, margin: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is True, with a margin that ends at the edge; of all where nothing is."""
    rows, columns = (np.flatnonzero(mask.numpy().any(axis)) for axis in (1, 0))
    height, width = mask.shape
    if not len(rows):
        return 0, height, 0, width
    return (max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin),
            max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin))


def _region(learner, image, low, high, margin, like=None) -> tuple[tuple[int, ...], Tensor]:
    got = learner.region_of_interest(image, low, high, **({"margin": margin} if margin else {}))
    shape = (image if like is None else like).shape
    expect.that(isinstance(got, list | tuple) and len(got) == 2, "a box and a region", expect.show(got),
                next_step="Return both: return (top, bottom, left, right), region.")
    box = got[0].tolist() if isinstance(got[0], torch.Tensor | np.ndarray) else got[0]
    expect.that(isinstance(box, list | tuple) and len(box) == 4, "a box of four numbers", expect.show(box),
                next_step="Top, bottom, left and right, in this order.")
    box = tuple(int(side) for side in box)
    expect.that(isinstance(got[1], torch.Tensor) and got[1].ndim == 3 and got[1].shape[0] == shape[0],
                f"a region with {shape[0]} channels", expect.show(got[1]), next_step="Channels are the first axis.")
    expect.that(got[1].dtype == torch.uint8, "a region in uint8", f"{got[1].dtype}".replace("torch.", ""),
                next_step="Black out without floats: multiply by a mask of True and False, or torch.where.")
    return box, got[1]


def _check_region(learner, image, mask, low, high, margin):
    box, region = _region(learner, image, low, high, margin)
    _, height, width = image.shape
    bounds = [torch.tensor(bound)[:, None, None] for bound in (low, high)]
    others = {
        "Pixels exactly at a bound count as outside; both bounds are included.":
            ((image > bounds[0]) & (image < bounds[1])).all(0),
        "A pixel counts as inside if one of its channels fits; all of them must.":
            ((image >= bounds[0]) & (image <= bounds[1])).any(0),
    }
    found = bool(mask.any())
    if found:
        top, bottom, left, right = _box(mask, 0)
        want = _box(mask, margin)
        wrong = {words: _box(other, margin) for words, other in others.items()} | {
            "Bottom and right are one too small: they come after the last row and column.":
                (want[0], want[1] - 1, want[2], want[3] - 1),
            "Rows and columns are swapped.": (*want[2:], *want[:2]),
            "The order is top, left, bottom, right; expected is top, bottom, left, right.":
                (want[0], want[2], want[1], want[3]),
            "The order is left, top, right, bottom; expected is top, bottom, left, right.":
                (want[2], want[0], want[3], want[1]),
            "It is left, top, width and height; expected are top, bottom, left and right.":
                (want[2], want[0], want[3] - want[2], want[1] - want[0]),
            "It is top, left, height and width; expected are top, bottom, left and right.":
                (want[0], want[2], want[1] - want[0], want[3] - want[2]),
            "The margin is not used.": (top, bottom, left, right),
            "The margin is used at the bottom and on the right alone.": (top, want[1], left, want[3]),
            "The margin is used at the top and on the left alone.": (want[0], bottom, want[2], right),
            "The margin goes beyond the image.": (top - margin, bottom + margin, left - margin, right + margin),
            "It is the whole image.": (0, height, 0, width),
        }
    else:
        want, wrong = (0, height, 0, width), {}
    expect.equal(box, want, f"the box in an image of {height}×{width}, margin {margin}",
                 causes={words: value for words, value in wrong.items() if value != want},
                 next_step="Which rows have a pixel inside? Print the first and the last of them.")
    cut = image[:, want[0] : want[1], want[2] : want[3]]
    kept = cut * mask[want[0] : want[1], want[2] : want[3]] if found else cut
    inner = {words: cut * other[want[0] : want[1], want[2] : want[3]] for words, other in others.items()}
    expect.equal(region, kept, "the region", causes=inner | {
        "The background within the box is still there.": cut,
        "The box is right, yet everything is black.": torch.zeros_like(cut),
        "It is cut out, and what is inside was blacked out.": cut - kept,
    }, next_step="Show the mask as an image: one value for each pixel, True where all channels fit.")


@check("strip_channels")
def brightness_is_the_weighted_mean(learner, reference, rng):
    """The new channel is the weighted mean, to the nearest whole number"""
    for mix in ((0.299, 0.587, 0.114), (0.0, 1.0, 0.0), (0.5, 0.25, 0.25), (1.0,)):
        _check_strip(learner, torch.from_numpy(rng.integers(0, 256, (3, len(mix), 5, 4))).to(torch.uint8), mix)


@check("strip_channels")
def grey_stays_grey(learner, reference, rng):
    """Where all channels are equal, that value stays, the brightest included"""
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    _check_strip(learner, grey, (0.299, 0.587, 0.114))


@check("strip_channels", weight=0.5)
def weights_are_shares(learner, reference, rng):
    """Another number of weights, weights below 0, or another sum than 1 are a ValueError"""
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    for mix in ((0.5, 0.5), (1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (1.5, -0.5, 0.0)):
        expect.raises("ValueError", learner.strip_channels, images, mix, why=f"the weights of three channels are {mix}")


def _check_strip(learner, images, mix):
    got = learner.strip_channels(images, mix)
    expect.shape(got, (len(images), 1, *images.shape[2:]), "the images",
                 next_step="One channel is left, and its axis stays.")
    got = torch.as_tensor(got)
    expect.that(got.dtype == torch.uint8, "bytes, uint8", f"{got.dtype}".replace("torch.", ""),
                next_step="Images go on in bytes: a quarter of float32.")
    exact = sum(weight * images[:, [channel]].double() for channel, weight in enumerate(mix))
    far = float((got.double() - exact).abs().max())
    place = int((got.double() - exact).abs().argmax())
    cause = ""
    mean, below = images.double().mean(1, keepdim=True), exact - got.double()
    if float(below.min()) > -1e-3 and float(below.max()) < 1.001:
        cause = "The fraction is cut off, not rounded."
    elif torch.allclose(got.double(), mean, atol=1):
        cause = "All channels count alike: the weights aren't used."
    expect.that(far <= 0.501, f"{float(exact.flatten()[place]):.3f} rounded, for the weights {mix}",
                f"{int(got.flatten()[place])}", cause=cause, next_step="Calculate in floats, then round, then convert.")


@check("rescale")
def blocks_become_means(learner, reference, rng):
    """Where sizes divide, a new pixel is the mean of its block"""
    for shape, size in (((2, 3, 6, 8), (3, 4)), ((1, 1, 9, 4), (3, 1)), ((1, 2, 5, 7), (5, 7)),
                        ((2, 1, 12, 6), (4, 3))):
        _check_rescale(learner, torch.from_numpy(rng.integers(0, 256, shape)).to(torch.uint8), *size)


@check("rescale", weight=1.5)
def pixels_in_part_count_in_part(learner, reference, rng):
    """Where sizes don't divide, pixels count by the part that is covered"""
    for shape, size in (((1, 1, 3, 3), (2, 2)), ((2, 2, 7, 5), (3, 4)), ((1, 1, 28, 28), (20, 12))):
        _check_rescale(learner, torch.from_numpy(rng.standard_normal(shape)), *size)


@check("rescale")
def brightness_stays(learner, reference, rng):
    """The mean of every image stays what it was"""
    for size in ((3, 5), (7, 2), (10, 11)):
        images = torch.from_numpy(rng.integers(0, 256, (3, 2, 10, 11))).to(torch.uint8)
        got = _tensor(learner.rescale(images, *size), (3, 2, *size), "the images")
        expect.close(got.mean((2, 3)), images.double().mean((2, 3)), f"mean brightness at {size[0]}×{size[1]}",
                     rtol=1e-4, cause="Some old pixels count more than others, or not at all.",
                     next_step="In which new pixels does the middle one of three old ones count, at a new size of two?")


@check("rescale", weight=0.5)
def rescale_refuses_other_sizes(learner, reference, rng):
    """A size below 1 or above the old one is a ValueError"""
    images = torch.zeros(1, 1, 4, 5)
    for size in ((0, 3), (3, 0), (5, 5), (4, 6)):
        expect.raises("ValueError", learner.rescale, images, *size,
                      why=f"images of 4×5 are asked for at {size[0]}×{size[1]}")


def _check_rescale(learner, images, height, width):
    old = images.shape[2:]
    got = _tensor(learner.rescale(images, height, width), (*images.shape[:2], height, width), "the images")
    # Enlarged without smoothing until new pixels are whole blocks: then areas are counts.
    large = images.double().repeat_interleave(height, 2).repeat_interleave(width, 3)
    want = functional.avg_pool2d(large, (old[0], old[1]))
    floats = images.double()
    bilinear = functional.interpolate(floats, (height, width), mode="bilinear", align_corners=False)
    causes = {
        "A new pixel takes all pixels that it touches, whole: they count by the part that is covered.":
            functional.adaptive_avg_pool2d(floats, (height, width)),
        "Single pixels are picked, the others are dropped.": functional.interpolate(floats, (height, width)),
        "It is drawn between the four nearest pixels, whatever lies between.": bilinear,
        "The largest of the pixels was taken.": functional.adaptive_max_pool2d(floats, (height, width)),
        "They are sums, not means.": want * (old[0] / height) * (old[1] / width),
        "It was rounded or cut to whole numbers.": want.round(),
    }
    expect.close(got, want, f"images of {old[0]}×{old[1]} at {height}×{width}", rtol=1e-4, atol=1e-4,
                 causes={words: value for words, value in causes.items() if not torch.allclose(value, want, atol=1e-4)},
                 next_step="Work it out for one row of three pixels and a new width of two.")


@check("cyclic_rate")
def up_and_down_in_straight_lines(learner, reference, rng):
    """From low to high and back in straight lines, and so on in every cycle"""
    for half, low, high in ((4, 0.1, 0.5), (1, 0.0, 1.0), (5, 1e-4, 1e-2), (3, 0.2, 0.2)):
        _check_rates(learner, half, low, high, 1.0)


@check("cyclic_rate")
def cycles_get_lower(learner, reference, rng):
    """The triangle's height is multiplied by decay from one cycle to the next; low stays"""
    for half, decay in ((4, 0.5), (3, 0.9)):
        _check_rates(learner, half, 0.1, 0.9, decay)


@check("cyclic_rate", weight=0.5)
def rates_refuse_impossible_cycles(learner, reference, rng):
    """Half a cycle below one step, or a lowest rate above the highest, is a ValueError"""
    for half, low, high in ((0, 0.1, 0.2), (-3, 0.1, 0.2), (5, 0.3, 0.2)):
        expect.raises("ValueError", learner.cyclic_rate, 3, half, low, high, why=f"half={half}, low={low}, high={high}")


def _check_rates(learner, half, low, high, decay):
    def rate(step, half=half, low=low, high=high, decay=decay):
        return low + (high - low) * decay ** (step // (2 * half)) * (1 - abs(step % (2 * half) / half - 1))

    steps = range(5 * half + 1)
    options = {} if decay == 1 else {"decay": decay}
    got = [learner.cyclic_rate(step, half, low, high, **options) for step in steps]
    want = [rate(step) for step in steps]
    causes = {
        "A cycle takes half as many steps: half is the way up, and there is one down.": [
            low + (high - low) * decay ** (step // half) * (1 - abs(2 * (step % half) / half - 1)) for step in steps],
        "After the way up it falls at once.": [
            low + (high - low) * decay ** (step // half) * (step % half) / half for step in steps],
        "It begins at the highest rate.": [
            low + (high - low) * decay ** (step // (2 * half)) * abs(step % (2 * half) / half - 1) for step in steps],
        "Low shrinks too: only the height of the triangle does.": [
            decay ** (step // (2 * half)) * rate(step, decay=1.0) for step in steps],
        "decay is not used.": [rate(step, decay=1.0) for step in steps],
        "It shrinks on the way up and on the way down; a cycle is both.": [
            low + (high - low) * decay ** (step // half) * (1 - abs(step % (2 * half) / half - 1)) for step in steps],
        "The highest rate is multiplied by decay; what shrinks is its height above low.": [
            low + (high * decay ** (step // (2 * half)) - low) * (1 - abs(step % (2 * half) / half - 1))
            for step in steps],
        "It shrinks at every step, not from cycle to cycle.": [
            low + (rate(step, decay=1.0) - low) * decay**step for step in steps],
    }
    expect.close(got, want, f"the rates of {len(want)} steps, half={half}, {low:g} to {high:g}, decay {decay:g}",
                 rtol=1e-6, atol=1e-12,
                 causes={words: value for words, value in causes.items() if not np.allclose(value, want)},
                 next_step="Plot the rates of two cycles.")
