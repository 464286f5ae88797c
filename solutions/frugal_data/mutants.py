"""Unit 02, frugal data: wrong answers that some check must reject, and right ones that all checks must accept."""

import math
import random
from fractions import Fraction

import numpy as np
import torch
from scipy.special import stdtrit
from torch.nn import functional

from nutshell.checks import alternative, mutant
from nutshell.streams import open_shelf

# resource_report -----------------------------------------------------------------------------------------------------


def _row(before, after, change, half):
    verdict = "lower" if change + half < 0 else "higher" if change - half > 0 else "noise"
    return {"off": sum(before) / len(before), "on": sum(after) / len(after), "change": change, "low": change - half,
            "high": change + half, "verdict": verdict}


def _refuse(off, on, level):
    if set(off) != set(on) or not 0 < level < 1 or any(len(off[m]) != len(on[m]) or len(on[m]) < 2 for m in off):
        raise ValueError("no pairs")


@mutant("resource_report")
def report_takes_sides_apart(off, on, level=0.95):
    """Ignores that measurements come in pairs: the spreads of both sides are added"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        a, b = np.array(off[metric]), np.array(on[metric])
        half = stdtrit(2 * len(a) - 2, (1 + level) / 2) * math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
        report[metric] = _row(off[metric], on[metric], float(b.mean() - a.mean()), float(half))
    return report


@mutant("resource_report")
def report_by_means(off, on, level=0.95):
    """Calls every difference of means a change"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        half = float(stdtrit(len(d) - 1, (1 + level) / 2) * d.std(ddof=1) / math.sqrt(len(d)))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
        report[metric]["verdict"] = "lower" if d.mean() < 0 else "higher"
    return report


@mutant("resource_report")
def report_forgets_root_n(off, on, level=0.95):
    """The spread of single differences for that of their mean"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        half = float(stdtrit(len(d) - 1, (1 + level) / 2) * d.std(ddof=1))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
    return report


@mutant("resource_report")
def report_with_two_deviations(off, on, level=0.95):
    """Twice the standard error, whatever the number of pairs and the level"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        report[metric] = _row(off[metric], on[metric], float(d.mean()), 2 * float(d.std(ddof=1)) / math.sqrt(len(d)))
    return report


@mutant("resource_report")
def report_of_population(off, on, level=0.95):
    """NumPy's standard deviation as it comes, with n below the fraction"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        half = float(stdtrit(len(d) - 1, (1 + level) / 2) * d.std()) / math.sqrt(len(d))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
    return report


@mutant("resource_report")
def report_one_tailed(off, on, level=0.95):
    """The quantile at the level itself, so that all of what is left out lies on one side"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        half = float(stdtrit(len(d) - 1, level) * d.std(ddof=1)) / math.sqrt(len(d))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
    return report


@mutant("resource_report")
def report_off_minus_on(off, on, level=0.95):
    """The difference the wrong way round"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(off[metric]) - np.array(on[metric])
        half = float(stdtrit(len(d) - 1, (1 + level) / 2) * d.std(ddof=1)) / math.sqrt(len(d))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
    return report


@mutant("resource_report")
def report_decides_at_one_level(off, on, level=0.95):
    """The verdict at a level of 0.95, whatever level is asked for"""
    _refuse(off, on, level)
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        error = float(d.std(ddof=1)) / math.sqrt(len(d))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), stdtrit(len(d) - 1, (1 + level) / 2) * error)
        usual = stdtrit(len(d) - 1, 0.975) * error
        report[metric]["verdict"] = "noise" if abs(d.mean()) <= usual else "lower" if d.mean() < 0 else "higher"
    return report


@mutant("resource_report")
def report_wants_three_pairs(off, on, level=0.95):
    """Refuses two pairs, though their spread is known"""
    _refuse(off, on, level)
    if any(len(values) < 3 for values in off.values()):
        raise ValueError("three pairs are needed")
    report = {}
    for metric in off:
        d = np.array(on[metric]) - np.array(off[metric])
        half = float(stdtrit(len(d) - 1, (1 + level) / 2) * d.std(ddof=1)) / math.sqrt(len(d))
        report[metric] = _row(off[metric], on[metric], float(d.mean()), half)
    return report


@mutant("resource_report")
def report_accepts_anything(off, on, level=0.95):
    """Cuts the longer side off and reports what both have"""
    report = {}
    for metric in set(off) & set(on):
        n = min(len(off[metric]), len(on[metric]))
        d = np.array(on[metric][:n]) - np.array(off[metric][:n])
        half = float(stdtrit(n - 1, (1 + level) / 2) * d.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        report[metric] = _row(off[metric][:n], on[metric][:n], float(d.mean()), half)
    return report


@alternative("resource_report")
def report_with_torch(off, on, level=0.95):
    """Tensors, metrics in another order"""
    _refuse(off, on, level)
    report = {}
    for metric in sorted(off, reverse=True):
        d = torch.tensor(on[metric], dtype=torch.float64) - torch.tensor(off[metric], dtype=torch.float64)
        half = stdtrit(len(d) - 1, 0.5 + level / 2) * float(d.std()) / len(d) ** 0.5
        report[metric] = _row(off[metric], on[metric], float(d.mean()), float(half))
    return report


@alternative("resource_report")
def report_in_fractions(off, on, level=0.95):
    """Exact sums of fractions, the quantile from the other tail"""
    if off.keys() != on.keys() or level <= 0 or level >= 1:
        raise ValueError("metrics or level")
    report = {}
    for metric in off:
        if len(off[metric]) != len(on[metric]) or len(off[metric]) <= 1:
            raise ValueError(metric)
        d = [Fraction(b) - Fraction(a) for a, b in zip(off[metric], on[metric], strict=True)]
        n, mean = len(d), sum(d) / len(d)
        error = math.sqrt(sum((x - mean) ** 2 for x in d) / (n - 1) / n)
        report[metric] = _row(off[metric], on[metric], float(mean), -float(stdtrit(n - 1, (1 - level) / 2)) * error)
    return report


# normalise -----------------------------------------------------------------------------------------------------------


@mutant("normalise")
def normalise_by_themselves(train, images):
    """The statistics of the images that are to be normalised"""
    values = images.double()
    mean, deviation = values.mean((0, 2, 3), keepdim=True), values.std((0, 2, 3), keepdim=True, correction=0)
    return ((values - mean) / torch.where(deviation > 0, deviation, 1.0)).float()


@mutant("normalise")
def normalise_all_channels_alike(train, images):
    """One mean and one deviation for all channels"""
    values = train.double()
    return ((images.double() - values.mean()) / values.std(correction=0).clamp_min(1e-9)).float()


@mutant("normalise")
def normalise_wraps_round(train, images):
    """Subtracts in bytes"""
    mean = train.double().mean((0, 2, 3), keepdim=True)
    deviation = train.double().std((0, 2, 3), keepdim=True, correction=0)
    return (images - mean.to(images.dtype)).float() / torch.where(deviation > 0, deviation, 1.0).float()


@mutant("normalise")
def normalise_divides_by_zero(train, images):
    """A channel without contrast becomes nan"""
    values = train.double()
    mean, deviation = values.mean((0, 2, 3), keepdim=True), values.std((0, 2, 3), keepdim=True, correction=0)
    return ((images.double() - mean) / deviation).float()


@mutant("normalise")
def normalise_with_a_small_number(train, images):
    """Adds a small number to the deviation: a channel without contrast is blown up"""
    values = train.double()
    mean, deviation = values.mean((0, 2, 3), keepdim=True), values.std((0, 2, 3), keepdim=True, correction=0)
    return ((images.double() - mean) / (deviation + 1e-8)).float()


@mutant("normalise")
def normalise_by_variance(train, images):
    """Forgets the root"""
    values = train.double()
    mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), keepdim=True, correction=0)
    return ((images.double() - mean) / torch.where(variance > 0, variance, 1.0)).float()


@mutant("normalise")
def normalise_every_pixel(train, images):
    """A mean and a deviation for every place"""
    values = train.double()
    mean, deviation = values.mean(0, keepdim=True), values.std(0, keepdim=True, correction=0)
    return ((images.double() - mean) / torch.where(deviation > 0, deviation, 1.0)).float()


@mutant("normalise")
def normalise_in_place(train, images):
    """Writes the result into the images, where they are floats"""
    values = train.double()
    mean, deviation = values.mean((0, 2, 3), keepdim=True), values.std((0, 2, 3), keepdim=True, correction=0)
    if images.dtype == torch.uint8:
        images = images.double()
    images -= mean.to(images.dtype)
    images /= torch.where(deviation > 0, deviation, 1.0).to(images.dtype)
    return images.float()


@alternative("normalise")
def normalise_from_sums(train, images):
    """Sums and sums of squares, as a stream would give them"""
    count = train.shape[0] * train.shape[2] * train.shape[3]
    first = train.double().sum((0, 2, 3)) / count
    second = train.double().square().sum((0, 2, 3)) / count
    deviation = (second - first**2).clamp_min(0).sqrt()
    deviation[deviation < 1e-6] = 1.0
    return torch.stack([(images[:, c].double() - first[c]) / deviation[c] for c in range(len(first))], 1).float()


@alternative("normalise")
def normalise_with_numpy(train, images):
    """NumPy, channel by channel, in float32"""
    result = np.empty(tuple(images.shape), dtype=np.float32)
    for channel in range(train.shape[1]):
        values = train[:, channel].numpy().astype(np.float32)
        deviation = values.std()
        result[:, channel] = (images[:, channel].numpy().astype(np.float32) - values.mean()) / (deviation or 1.0)
    return torch.from_numpy(result)


# augment -------------------------------------------------------------------------------------------------------------


def _draws(count, most, width, seed):
    if most < 0 or most >= width:
        raise ValueError(f"most={most}")
    generator = torch.Generator().manual_seed(seed)
    mirrored = torch.rand(count, generator=generator) < 0.5
    return mirrored, torch.randint(-most, most + 1, (count,), generator=generator)


def _moved(frames, mirrored, shifts):
    width = frames.shape[3]
    new = []
    for frame, flip, shift in zip(frames, mirrored.tolist(), shifts.tolist(), strict=True):
        frame = frame.flip(-1) if flip else frame
        new.append(frame[:, :, [min(max(column - shift, 0), width - 1) for column in range(width)]])
    return torch.stack(new)


def _turned(angles, mirrored, more):
    return torch.where(mirrored, -angles, angles) + more.to(angles.dtype)


@mutant("augment")
def augment_keeps_angles(frames, angles, most, per_pixel, seed=0):
    """Mirrored frames keep their angle, as labels of digits would"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    return _moved(frames, mirrored, shifts), angles + per_pixel * shifts.to(angles.dtype)


@mutant("augment")
def augment_steers_back(frames, angles, most, per_pixel, seed=0):
    """The shift turns the angle the wrong way"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    return _moved(frames, mirrored, shifts), _turned(angles, mirrored, -per_pixel * shifts)


@mutant("augment")
def augment_rolls(frames, angles, most, per_pixel, seed=0):
    """Columns that leave on one side come in on the other"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    new = [(f.flip(-1) if m else f).roll(int(s), -1) for f, m, s in zip(frames, mirrored, shifts, strict=True)]
    return torch.stack(new), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_draws_once(frames, angles, most, per_pixel, seed=0):
    """One mirror and one shift for the whole batch"""
    mirrored, shifts = (draw.expand(len(frames)) for draw in _draws(1, most, frames.shape[3], seed))
    return _moved(frames, mirrored, shifts), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_upside_down(frames, angles, most, per_pixel, seed=0):
    """Flips the wrong axis"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    turned = torch.where(mirrored[:, None, None, None], frames.flip(-2), frames)
    new = _moved(turned, torch.zeros_like(mirrored), shifts)
    return new, _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_negates_last(frames, angles, most, per_pixel, seed=0):
    """Adds the shift to the angle first and negates the sum"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    turned = angles + per_pixel * shifts.to(angles.dtype)
    return _moved(frames, mirrored, shifts), torch.where(mirrored, -turned, turned)


@mutant("augment")
def augment_moves_first(frames, angles, most, per_pixel, seed=0):
    """Moves a frame before it is mirrored, and turns the angle as if it were the other way round"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    new = _moved(frames, torch.zeros_like(mirrored), shifts)
    return torch.where(mirrored[:, None, None, None], new.flip(-1), new), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_reflects(frames, angles, most, per_pixel, seed=0):
    """The columns that come free mirror those beside them"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    last, new = frames.shape[3] - 1, []
    for frame, flip, shift in zip(frames, mirrored.tolist(), shifts.tolist(), strict=True):
        places = [abs(column - shift) for column in range(last + 1)]
        frame = frame.flip(-1) if flip else frame
        new.append(frame[:, :, [place if place <= last else max(0, 2 * last - place) for place in places]])
    return torch.stack(new), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_misses_the_largest(frames, angles, most, per_pixel, seed=0):
    """randint's upper end, taken for the last value"""
    mirrored, _ = _draws(len(frames), most, frames.shape[3], seed)
    generator = torch.Generator().manual_seed(seed + 1)
    shifts = torch.randint(-most, max(most, 1 - most), (len(frames),), generator=generator)
    return _moved(frames, mirrored, shifts), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_without_seed(frames, angles, most, per_pixel, seed=0):
    """Draws from the global state, whatever the seed"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], int(torch.randint(2**31, (1,))))
    return _moved(frames, mirrored, shifts), _turned(angles, mirrored, per_pixel * shifts)


@mutant("augment")
def augment_in_place(frames, angles, most, per_pixel, seed=0):
    """Writes into the frames that were given"""
    mirrored, shifts = _draws(len(frames), most, frames.shape[3], seed)
    frames[:] = _moved(frames, mirrored, shifts)
    angles[:] = _turned(angles, mirrored, per_pixel * shifts)
    return frames, angles


@alternative("augment")
def augment_one_by_one(frames, angles, most, per_pixel, seed=0):
    """A loop over frames with Python's random numbers, shifting before mirroring"""
    width = frames.shape[3]
    if not 0 <= most < width:
        raise ValueError("most")
    rng = random.Random(seed)
    new, turned = [], []
    for frame, angle in zip(frames, angles.tolist(), strict=True):
        shift = rng.randint(-most, most)
        frame, angle = frame[:, :, (torch.arange(width) - shift).clamp(0, width - 1)], angle + per_pixel * shift
        if rng.random() < 0.5:
            frame, angle = frame.flip(-1), -angle
        new.append(frame)
        turned.append(angle)
    return torch.stack(new), torch.tensor(turned, dtype=angles.dtype)


@alternative("augment")
def augment_with_numpy(frames, angles, most, per_pixel, seed=0):
    """NumPy: pads with the edge and cuts windows out"""
    if most < 0 or most > frames.shape[3] - 1:
        raise ValueError("most")
    rng = np.random.default_rng(seed)
    pictures, width = frames.numpy(), frames.shape[3]
    flips = rng.integers(0, 2, len(pictures)).astype(bool)
    shifts = rng.integers(-most, most + 1, len(pictures))
    pictures = np.where(flips[:, None, None, None], pictures[..., ::-1], pictures)
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, 0), (most, most)), mode="edge")
    new = np.stack([p[..., most - s : most - s + width] for p, s in zip(padded, shifts, strict=True)])
    turned = np.where(flips, -1.0, 1.0) * angles.numpy() + per_pixel * shifts
    return torch.from_numpy(new), torch.from_numpy(turned).to(angles.dtype)


# stream --------------------------------------------------------------------------------------------------------------


def _together(batch):
    return torch.tensor([number for number, _ in batch]), torch.stack([torch.from_numpy(image) for _, image in batch])


def _refuse_sizes(batch_size, buffer, worker, workers):
    if batch_size < 1 or buffer < 1 or workers < 1 or worker not in range(workers):
        raise ValueError("sizes")


def _leaving(shelf, numbers, buffer, rng):
    """Images as they leave the buffer: one drawn at random whenever it is full, and at the end all that are left."""
    waiting = []
    for number in numbers:
        waiting.append((number, shelf.read(number)))
        if len(waiting) == buffer:
            yield waiting.pop(rng.randrange(buffer))
    rng.shuffle(waiting)
    yield from waiting


def _in_batches(items, batch_size):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == batch_size:
            yield _together(batch)
            batch = []
    if batch:
        yield _together(batch)


@mutant("stream")
def stream_loads_all(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Reads the whole shelf first, then lets the images through a buffer"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    loaded = {number: shelf.read(number) for number in range(worker, len(shelf), workers)}
    rng, waiting, left = random.Random(seed), [], []
    for number in loaded:
        waiting.append(number)
        if len(waiting) == buffer:
            left.append(waiting.pop(rng.randrange(buffer)))
    rng.shuffle(waiting)
    yield from _in_batches(((number, loaded[number]) for number in left + waiting), batch_size)


@mutant("stream")
def stream_returns_a_list(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """A list of all batches"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    numbers = range(worker, len(shelf), workers)
    return list(_in_batches(_leaving(shelf, numbers, buffer, random.Random(seed)), batch_size))


@mutant("stream")
def stream_every_worker_reads_all(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Forgets the workers: with W of them every image comes W times"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    yield from _in_batches(_leaving(shelf, range(len(shelf)), buffer, random.Random(seed)), batch_size)


@mutant("stream")
def stream_leaves_the_rest(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """What is in the buffer at the end is never handed out"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    numbers = range(worker, len(shelf), workers)
    leaving = _leaving(shelf, numbers, buffer, random.Random(seed))
    yield from _in_batches((next(leaving) for _ in range(len(numbers) - buffer + 1)), batch_size)


@mutant("stream")
def stream_leaves_the_rest_in_order(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """What is in the buffer at the end leaves as it stands there: a buffer as large as the shelf shuffles nothing"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf, rng = open_shelf(place), random.Random(seed)
    waiting, batch = [], []
    for number in range(worker, len(shelf), workers):
        waiting.append((number, shelf.read(number)))
        if len(waiting) == buffer:
            batch.append(waiting.pop(rng.randrange(buffer)))
        if len(batch) == batch_size:
            yield _together(batch)
            batch = []
    yield from _in_batches(batch + waiting, batch_size)


@mutant("stream")
def stream_empties_the_buffer(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Fills the buffer, hands all of it out in a random order, and fills it again"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf, rng = open_shelf(place), random.Random(seed)

    def leaving():
        waiting = []
        for number in range(worker, len(shelf), workers):
            waiting.append((number, shelf.read(number)))
            if len(waiting) == buffer:
                rng.shuffle(waiting)
                while waiting:
                    yield waiting.pop()
        rng.shuffle(waiting)
        yield from waiting

    yield from _in_batches(leaving(), batch_size)


@mutant("stream")
def stream_drops_the_last_batch(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Only full batches"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    numbers = range(worker, len(shelf), workers)
    for batch in _in_batches(_leaving(shelf, numbers, buffer, random.Random(seed)), batch_size):
        if len(batch[0]) == batch_size:
            yield batch


@mutant("stream")
def stream_cuts_stretches(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Each worker has a stretch of the shelf"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    each = -(-len(shelf) // workers)
    numbers = range(worker * each, min((worker + 1) * each, len(shelf)))
    yield from _in_batches(_leaving(shelf, numbers, buffer, random.Random(seed)), batch_size)


@mutant("stream")
def stream_first_in_first_out(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """A buffer from which the oldest image leaves: a queue, which shuffles nothing"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)

    def leaving():
        waiting = []
        for number in range(worker, len(shelf), workers):
            waiting.append((number, shelf.read(number)))
            if len(waiting) == buffer:
                yield waiting.pop(0)
        yield from waiting

    yield from _in_batches(leaving(), batch_size)


@mutant("stream")
def stream_shuffles_all_numbers(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Shuffles all numbers first: as many jumps on the disk as images, and a list as long as the shelf"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    numbers = list(range(worker, min(len(shelf), 10**6), workers))
    if buffer > 1:
        random.Random(seed).shuffle(numbers)
    yield from _in_batches(((number, shelf.read(number)) for number in numbers), batch_size)


@mutant("stream")
def stream_without_seed(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Draws from the global state, whatever the seed"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf = open_shelf(place)
    yield from _in_batches(_leaving(shelf, range(worker, len(shelf), workers), buffer, random), batch_size)


@alternative("stream")
def stream_swaps_in_a_full_buffer(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """The buffer as an array of places: the next image takes the place of the one that leaves"""
    _refuse_sizes(batch_size, buffer, worker, workers)
    shelf, rng = open_shelf(place), random.Random(seed)
    numbers = iter(range(worker, len(shelf), workers))
    waiting = []
    for number in numbers:
        waiting.append((number, shelf.read(number)))
        if len(waiting) == buffer:
            break

    def leaving():
        for number in numbers:
            place = rng.randrange(buffer)
            yield waiting[place]
            waiting[place] = (number, shelf.read(number))
        rng.shuffle(waiting)
        yield from waiting

    yield from _in_batches(leaving(), batch_size)


@alternative("stream")
def stream_reads_when_it_leaves(place, batch_size, *, buffer=1, worker=0, workers=1, seed=0):
    """Keeps numbers alone in the buffer and reads an image when its number leaves"""
    if min(batch_size, buffer, workers) < 1 or worker < 0 or worker >= workers:
        raise ValueError("sizes")
    shelf, rng = open_shelf(place), np.random.default_rng(seed)
    waiting, next_one = [], worker
    while waiting or next_one < len(shelf):
        numbers = []
        while len(numbers) < batch_size and (waiting or next_one < len(shelf)):
            while len(waiting) < buffer and next_one < len(shelf):
                waiting.append(next_one)
                next_one += workers
            numbers.append(waiting.pop(int(rng.integers(len(waiting)))))
        images = np.stack([shelf.read(number) for number in numbers])
        yield torch.tensor(numbers), torch.from_numpy(images)


# region_of_interest --------------------------------------------------------------------------------------------------


def _inside(image, low, high):
    if len(low) != len(image) or len(high) != len(image):
        raise ValueError("channels")
    least, most = (torch.tensor(bound).view(-1, 1, 1) for bound in (low, high))
    return ((image >= least) & (image <= most)).all(0)


def _box(inside, margin):
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    height, width = inside.shape
    return (max(0, int(rows.min()) - margin), min(height, int(rows.max()) + 1 + margin),
            max(0, int(columns.min()) - margin), min(width, int(columns.max()) + 1 + margin))


@mutant("region_of_interest")
def region_off_by_one(image, low, high, margin=0):
    """The last row and the last column are cut off"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    if not inside.any():
        return (0, *image.shape[1:2], 0, *image.shape[2:]), image.clone()
    top, bottom, left, right = _box(inside, margin)
    return (top, bottom - 1, left, right - 1), (image * inside)[:, top : bottom - 1, left : right - 1]


@mutant("region_of_interest")
def region_from_the_left(image, low, high, margin=0):
    """Left, top, right, bottom: the order of other libraries"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image.clone()
    top, bottom, left, right = _box(inside, margin)
    return (left, top, right, bottom), (image * inside)[:, top:bottom, left:right]


@mutant("region_of_interest")
def region_keeps_background(image, low, high, margin=0):
    """Cuts, and leaves the background in"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image.clone()
    top, bottom, left, right = _box(inside, margin)
    return (top, bottom, left, right), image[:, top:bottom, left:right].clone()


@mutant("region_of_interest")
def region_of_any_channel(image, low, high, margin=0):
    """One channel in its range is enough"""
    _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    least, most = (torch.tensor(bound).view(-1, 1, 1) for bound in (low, high))
    inside = ((image >= least) & (image <= most)).any(0)
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image.clone()
    top, bottom, left, right = _box(inside, margin)
    return (top, bottom, left, right), (image * inside)[:, top:bottom, left:right]


@mutant("region_of_interest")
def region_without_bounds(image, low, high, margin=0):
    """Values at the bounds are outside"""
    if len(low) != len(image) or len(high) != len(image) or margin < 0:
        raise ValueError("channels")
    least, most = (torch.tensor(bound).view(-1, 1, 1) for bound in (low, high))
    inside = ((image > least) & (image < most)).all(0)
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image.clone()
    top, bottom, left, right = _box(inside, margin)
    return (top, bottom, left, right), (image * inside)[:, top:bottom, left:right]


@mutant("region_of_interest")
def region_margin_beyond(image, low, high, margin=0):
    """The margin goes beyond the image: negative indices count from the other end"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image.clone()
    top, bottom, left, right = _box(inside, 0)
    top, bottom, left, right = top - margin, bottom + margin, left - margin, right + margin
    return (top, bottom, left, right), (image * inside)[:, top:bottom, left:right]


@mutant("region_of_interest")
def region_black_when_nothing_is_found(image, low, high, margin=0):
    """A filter that finds nothing throws everything away"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    box = _box(inside, margin) if inside.any() else (0, image.shape[1], 0, image.shape[2])
    return box, (image * inside)[:, box[0] : box[1], box[2] : box[3]]


@mutant("region_of_interest")
def region_raises_when_nothing_is_found(image, low, high, margin=0):
    """The smallest row of none"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    top, bottom, left, right = _box(inside, margin)
    return (top, bottom, left, right), (image * inside)[:, top:bottom, left:right]


@mutant("region_of_interest")
def region_in_place(image, low, high, margin=0):
    """Blackens the image that was given"""
    inside = _inside(image, low, high)
    if margin < 0:
        raise ValueError("margin")
    if not inside.any():
        return (0, image.shape[1], 0, image.shape[2]), image
    top, bottom, left, right = _box(inside, margin)
    image[:, ~inside] = 0
    return (top, bottom, left, right), image[:, top:bottom, left:right]


@alternative("region_of_interest")
def region_with_numpy(image, low, high, margin=0):
    """NumPy, channel by channel"""
    if margin < 0 or not len(low) == len(high) == image.shape[0]:
        raise ValueError("channels or margin")
    pixels = image.numpy()
    inside = np.ones(pixels.shape[1:], dtype=bool)
    for channel, (least, most) in enumerate(zip(low, high, strict=True)):
        inside &= (pixels[channel] >= least) & (pixels[channel] <= most)
    if inside.sum() == 0:
        return (0, pixels.shape[1], 0, pixels.shape[2]), torch.from_numpy(pixels.copy())
    rows, columns = np.nonzero(inside)
    top, left = np.maximum(0, [rows.min() - margin, columns.min() - margin]).tolist()
    bottom, right = rows.max() + 1 + margin, columns.max() + 1 + margin
    cut = np.where(inside, pixels, 0)[:, top:bottom, left:right]
    return (top, top + cut.shape[1], left, left + cut.shape[2]), torch.from_numpy(np.ascontiguousarray(cut))


@alternative("region_of_interest")
def region_row_by_row(image, low, high, margin=0):
    """Walks in from every side until something is inside"""
    if margin < 0 or len(low) != len(image) or len(high) != len(image):
        raise ValueError("channels or margin")
    inside = torch.stack([(c >= a) & (c <= b) for c, a, b in zip(image, low, high, strict=True)]).all(0)
    height, width = inside.shape
    top, bottom, left, right = 0, height, 0, width
    if not bool(inside.any()):
        return [top, bottom, left, right], image
    while not bool(inside[top].any()):
        top += 1
    while not bool(inside[bottom - 1].any()):
        bottom -= 1
    while not bool(inside[:, left].any()):
        left += 1
    while not bool(inside[:, right - 1].any()):
        right -= 1
    rows = slice(max(0, top - margin), min(height, bottom + margin))
    columns = slice(max(0, left - margin), min(width, right + margin))
    region = image.clone()
    region[:, ~inside] = 0
    return [rows.start, rows.stop, columns.start, columns.stop], region[:, rows, columns]


# Extensions ----------------------------------------------------------------------------------------------------------


@mutant("strip_channels")
def strip_cuts_off(images, mix):
    """Converts without rounding"""
    if len(mix) != images.shape[1] or any(m < 0 for m in mix) or abs(sum(mix) - 1) > 1e-6:
        raise ValueError(mix)
    return (images * torch.tensor(mix)[:, None, None]).sum(1, keepdim=True).to(torch.uint8)


@mutant("strip_channels")
def strip_takes_the_mean(images, mix):
    """All channels alike, added up in bytes"""
    if len(mix) != images.shape[1] or any(m < 0 for m in mix) or abs(sum(mix) - 1) > 1e-6:
        raise ValueError(mix)
    return images.float().mean(1, keepdim=True).round().to(torch.uint8)


@mutant("strip_channels")
def strip_any_weights(images, mix):
    """Weights that sum to anything"""
    weights = torch.tensor(mix)[: images.shape[1], None, None]
    return (images * weights).sum(1, keepdim=True).round().clamp(0, 255).to(torch.uint8)


@alternative("strip_channels")
def strip_by_convolution(images, mix):
    """A convolution with one pixel"""
    if len(mix) != images.shape[1] or min(mix) < 0 or not math.isclose(sum(mix), 1, abs_tol=1e-6):
        raise ValueError("mix")
    kernel = torch.tensor(mix, dtype=torch.float64).view(1, -1, 1, 1)
    return (functional.conv2d(images.double(), kernel) + 0.5).floor().to(torch.uint8)


@mutant("rescale")
def rescale_picks_pixels(images, height, width):
    """Takes every so manieth pixel"""
    if not (1 <= height <= images.shape[2] and 1 <= width <= images.shape[3]):
        raise ValueError("size")
    return functional.interpolate(images.float(), (height, width), mode="nearest")


@mutant("rescale")
def rescale_adaptively(images, height, width):
    """Takes every pixel that is touched, whole"""
    if not (1 <= height <= images.shape[2] and 1 <= width <= images.shape[3]):
        raise ValueError("size")
    return functional.interpolate(images.float(), (height, width), mode="area")


@mutant("rescale")
def rescale_bilinearly(images, height, width):
    """Between four neighbours, whatever lies between"""
    if not (1 <= height <= images.shape[2] and 1 <= width <= images.shape[3]):
        raise ValueError("size")
    return functional.interpolate(images.float(), (height, width), mode="bilinear", align_corners=False)


@alternative("rescale")
def rescale_by_cumulative_sums(images, height, width):
    """Differences of the running sum, interpolated at the edges"""
    if not (1 <= height <= images.shape[2] and 1 <= width <= images.shape[3]):
        raise ValueError("size")
    result = images.numpy().astype(np.float64)
    for axis, size in ((2, height), (3, width)):
        old = result.shape[axis]
        sums = np.concatenate([np.zeros_like(result.take([0], axis)), result.cumsum(axis)], axis)
        edges = np.linspace(0, old, size + 1)
        below = np.minimum(edges.astype(int), old - 1)
        share = (edges - below).reshape([-1 if a == axis else 1 for a in range(4)])
        at = sums.take(below, axis) * (1 - share) + sums.take(below + 1, axis) * share
        result = np.diff(at, axis=axis) * size / old
    return torch.from_numpy(result).float()


@mutant("cyclic_rate")
def rate_of_half_a_cycle(step, half, low, high, decay=1.0):
    """Takes half for the whole cycle"""
    if half < 1 or low > high:
        raise ValueError("cycle")
    cycle, place = divmod(step, half)
    return low + (high - low) * decay**cycle * (1 - abs(2 * place / half - 1))


@mutant("cyclic_rate")
def rate_decays_with_low(step, half, low, high, decay=1.0):
    """Multiplies the whole rate by the decay"""
    if half < 1 or low > high:
        raise ValueError("cycle")
    cycle, place = divmod(step, 2 * half)
    return decay**cycle * (low + (high - low) * (1 - abs(place / half - 1)))


@mutant("cyclic_rate")
def rate_whose_high_decays(step, half, low, high, decay=1.0):
    """Multiplies the highest rate by the decay, not its height above the lowest"""
    if half < 1 or low > high:
        raise ValueError("cycle")
    cycle, place = divmod(step, 2 * half)
    return low + (high * decay**cycle - low) * (1 - abs(place / half - 1))


@mutant("cyclic_rate")
def rate_begins_high(step, half, low, high, decay=1.0):
    """Begins at the highest rate"""
    if half < 1 or low > high:
        raise ValueError("cycle")
    cycle, place = divmod(step, 2 * half)
    return low + (high - low) * decay**cycle * abs(place / half - 1)


@alternative("cyclic_rate")
def rate_as_in_the_paper(step, half, low, high, decay=1.0):
    """Smith's formula, with cycles from 1"""
    if half <= 0 or high < low:
        raise ValueError("cycle")
    cycle = math.floor(1 + step / (2 * half))
    x = abs(step / half - 2 * cycle + 1)
    return low + (high - low) * max(0.0, 1 - x) * decay ** (cycle - 1)
