"""Unit 13, in a nutshell: wrong answers that some check must reject, and right ones that all checks must accept."""

import math

import numpy as np
import torch
from torch.nn import functional

from nutshell.checks import alternative, mutant
from nutshell.pipelines import apply

# bits_per_weight -----------------------------------------------------------------------------------------------------


def _shares_fit(kept, shares):
    if not 0 <= kept <= 1 or min(shares) < 0 or max(shares) > 1 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"kept {kept}, shares {shares}")


def _entropy(parts):
    return -sum(part * math.log2(part) for part in parts if part > 0)


@mutant("bits_per_weight")
def bits_without_positions(kept, shares):
    """Only the values are counted, as if ratios multiplied"""
    _shares_fit(kept, shares)
    return kept * _entropy(shares)


@mutant("bits_per_weight")
def bits_with_a_mask(kept, shares):
    """A bit for each weight says whether it is there"""
    _shares_fit(kept, shares)
    return 1 + kept * _entropy(shares)


@mutant("bits_per_weight")
def bits_half_an_entropy(kept, shares):
    """The entropy of the positions lacks the zeros' part"""
    _shares_fit(kept, shares)
    return _entropy([kept]) + kept * _entropy(shares)


@mutant("bits_per_weight")
def bits_for_pruned_values_too(kept, shares):
    """The pruned weights pay for a centroid as well"""
    _shares_fit(kept, shares)
    return _entropy([kept, 1 - kept]) + _entropy(shares)


@mutant("bits_per_weight")
def bits_of_kept_positions(kept, shares):
    """Positions are paid for by the kept weights only"""
    _shares_fit(kept, shares)
    return kept * (_entropy([kept, 1 - kept]) + _entropy(shares))


@mutant("bits_per_weight")
def bits_of_no_number(kept, shares):
    """0 · log₂ 0 is left to NumPy"""
    _shares_fit(kept, shares)
    there, values = np.array([kept, 1 - kept]), np.array(shares)
    with np.errstate(all="ignore"):
        return float(-(there * np.log2(there)).sum() - kept * (values * np.log2(values)).sum())


@mutant("bits_per_weight")
def bits_of_equal_centroids(kept, shares):
    """log₂ of the number of centroids, whatever their shares"""
    _shares_fit(kept, shares)
    return _entropy([kept, 1 - kept]) + kept * math.log2(len(shares))


@mutant("bits_per_weight")
def bits_in_nats(kept, shares):
    """Natural logarithms"""
    _shares_fit(kept, shares)
    return math.log(2) * (_entropy([kept, 1 - kept]) + kept * _entropy(shares))


@mutant("bits_per_weight")
def bits_of_anything(kept, shares):
    """Shares that are none are accepted"""
    return _entropy([kept, 1 - kept]) + kept * _entropy(shares)


@alternative("bits_per_weight")
def bits_of_one_source(kept, shares):
    """Zero as one more symbol of one source"""
    _shares_fit(kept, shares)
    symbols = np.array([1 - kept] + [kept * share for share in shares])
    symbols = symbols[symbols > 0]
    return float((symbols * np.log2(1 / symbols)).sum())


@alternative("bits_per_weight")
def bits_in_torch(kept, shares):
    """Tensors, and xlogy for what is zero"""
    if kept < 0 or kept > 1 or any(share < 0 or share > 1 for share in shares):
        raise ValueError("a share must be from 0 to 1")
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError("the shares must add up to 1")
    values = torch.tensor(shares, dtype=torch.float64)
    there = torch.tensor([kept, 1 - kept], dtype=torch.float64)
    nats = -torch.special.xlogy(there, there).sum() - kept * torch.special.xlogy(values, values).sum()
    return (nats / math.log(2)).item()


# commutator ----------------------------------------------------------------------------------------------------------


@mutant("commutator")
def commutator_not_relative(weight, first, second):
    """The plain distance"""
    return (apply(apply(weight, first), second) - apply(apply(weight, second), first)).norm().item()


@mutant("commutator")
def commutator_squared(weight, first, second):
    """Squared norms"""
    gap = apply(apply(weight, first), second) - apply(apply(weight, second), first)
    return (gap.square().sum() / weight.square().sum()).item() if weight.any() else 0.0


@mutant("commutator")
def commutator_side_by_side(weight, first, second):
    """Each step on W alone"""
    if not weight.any():
        return 0.0
    return ((apply(weight, first) - apply(weight, second)).norm() / weight.norm()).item()


@mutant("commutator")
def commutator_of_one_order(weight, first, second):
    """Both results in the same order"""
    if not weight.any():
        return 0.0
    one, other = apply(apply(weight, first), second), apply(apply(weight, first), second)
    return ((one - other).norm() / weight.norm()).item()


@mutant("commutator")
def commutator_of_zeros(weight, first, second):
    """Divides by zero at a matrix of zeros"""
    gap = apply(apply(weight, first), second) - apply(apply(weight, second), first)
    return (gap.norm() / weight.norm()).item()


@mutant("commutator")
def commutator_relative_to_a_result(weight, first, second):
    """Relative to the result of the first order"""
    one, other = apply(apply(weight, first), second), apply(apply(weight, second), first)
    return ((one - other).norm() / one.norm()).item() if one.any() else 0.0


@mutant("commutator")
def commutator_spectral(weight, first, second):
    """The largest singular value in place of the Frobenius norm"""
    gap = apply(apply(weight, first), second) - apply(apply(weight, second), first)
    return (torch.linalg.matrix_norm(gap, 2) / torch.linalg.matrix_norm(weight, 2)).item() if weight.any() else 0.0


@mutant("commutator")
def commutator_of_norms(weight, first, second):
    """The difference of two norms, not the norm of a difference"""
    one, other = apply(apply(weight, first), second), apply(apply(weight, second), first)
    return ((one.norm() - other.norm()).abs() / weight.norm()).item() if weight.any() else 0.0


@alternative("commutator")
def commutator_in_loops(weight, first, second):
    """Both orders in a loop, the norms with NumPy in float64"""
    results = []
    for order in ((first, second), (second, first)):
        result = weight
        for step in order:
            result = apply(result, step)
        results.append(result.double().numpy())
    size = np.linalg.norm(weight.double().numpy())
    return float(np.linalg.norm(results[0] - results[1]) / size) if size else 0.0


@alternative("commutator")
def commutator_by_sums(weight, first, second):
    """Sums of squares, and the root last"""
    total = (weight**2).sum()
    gap = apply(apply(weight, second), first) - apply(apply(weight, first), second)
    return float(torch.sqrt((gap**2).sum() / total)) if total > 0 else 0.0


# low_rank_plus_sparse ------------------------------------------------------------------------------------------------


def _in_range(weight, rank, kept, rounds):
    if not (0 <= rank <= min(weight.shape) and 0 <= kept <= weight.numel() and rounds >= 1):
        raise ValueError(f"rank {rank}, kept {kept}, rounds {rounds}")


def _truncated(weight, rank):
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank] @ torch.diag(sigma[:rank]) @ vt[:rank]


def _largest(weight, kept):
    found = torch.zeros_like(weight)
    chosen = weight.abs().flatten().argsort(descending=True)[:kept]
    found.view(-1)[chosen] = weight.flatten()[chosen]
    return found


@mutant("low_rank_plus_sparse")
def parts_chained(weight, rank, kept, rounds=10):
    """One after the other: truncation, then pruning of what came out"""
    _in_range(weight, rank, kept, rounds)
    low = _truncated(weight, rank)
    return low, _largest(low, kept)


@mutant("low_rank_plus_sparse")
def parts_of_the_whole(weight, rank, kept, rounds=10):
    """S is made from W, not from what L leaves"""
    _in_range(weight, rank, kept, rounds)
    sparse = _largest(weight, kept)
    return _truncated(weight - sparse, rank), sparse


@mutant("low_rank_plus_sparse")
def parts_in_one_round(weight, rank, kept, rounds=10):
    """L and S once, whatever the rounds"""
    _in_range(weight, rank, kept, rounds)
    low = _truncated(weight, rank)
    return low, _largest(weight - low, kept)


@mutant("low_rank_plus_sparse")
def parts_by_sign(weight, rank, kept, rounds=10):
    """The largest entries, not the largest magnitudes"""
    _in_range(weight, rank, kept, rounds)
    sparse = torch.zeros_like(weight)
    for _ in range(rounds):
        low = _truncated(weight - sparse, rank)
        rest, sparse = weight - low, torch.zeros_like(weight)
        chosen = rest.flatten().topk(kept).indices
        sparse.view(-1)[chosen] = rest.flatten()[chosen]
    return low, sparse


@mutant("low_rank_plus_sparse")
def parts_dense(weight, rank, kept, rounds=10):
    """S is everything that L leaves"""
    _in_range(weight, rank, kept, rounds)
    low = _truncated(weight, rank)
    return low, weight - low


@mutant("low_rank_plus_sparse")
def parts_stale(weight, rank, kept, rounds=10):
    """L is fitted once more after S"""
    _in_range(weight, rank, kept, rounds)
    sparse = torch.zeros_like(weight)
    for _ in range(rounds):
        sparse = _largest(weight - _truncated(weight - sparse, rank), kept)
    return _truncated(weight - sparse, rank), sparse


@mutant("low_rank_plus_sparse")
def parts_of_any_size(weight, rank, kept, rounds=10):
    """Numbers out of range pass in silence"""
    sparse = low = torch.zeros_like(weight)
    for _ in range(rounds):
        low = _truncated(weight - sparse, max(rank, 0))
        sparse = _largest(weight - low, min(max(kept, 0), weight.numel()))
    return low, sparse


@mutant("low_rank_plus_sparse")
def parts_turned_round(weight, rank, kept, rounds=10):
    """S first, then L"""
    low, sparse = parts_in_one_round(weight, rank, kept, rounds)
    return sparse, low


@mutant("low_rank_plus_sparse")
def parts_that_grow(weight, rank, kept, rounds=10):
    """Each round adds numbers to S"""
    _in_range(weight, rank, kept, rounds)
    sparse = torch.zeros_like(weight)
    for _ in range(rounds):
        low = _truncated(weight - sparse, rank)
        sparse = sparse + _largest(weight - sparse - low, kept)
    return low, sparse


@mutant("low_rank_plus_sparse")
def parts_without_signs(weight, rank, kept, rounds=10):
    """S holds magnitudes"""
    _in_range(weight, rank, kept, rounds)
    sparse = torch.zeros_like(weight)
    for _ in range(rounds):
        low = _truncated(weight - sparse, rank)
        sparse = _largest((weight - low).abs(), kept)
    return low, sparse


@mutant("low_rank_plus_sparse")
def parts_in_place(weight, rank, kept, rounds=10):
    """Takes S off W itself"""
    _in_range(weight, rank, kept, rounds)
    whole, sparse = weight.clone(), torch.zeros_like(weight)
    for _ in range(rounds):
        weight -= sparse
        low = _truncated(weight, rank)
        sparse = _largest(whole - low, kept)
        weight.copy_(whole)
    weight -= sparse
    return low, sparse


@alternative("low_rank_plus_sparse")
def parts_by_masks(weight, rank, kept, rounds=10):
    """Masks by position, and projections on leading eigenvectors"""
    _in_range(weight, rank, kept, rounds)
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    low = weight
    for _ in range(rounds):
        fit = torch.where(mask, low, weight)  # W − S
        basis = torch.linalg.eigh(fit @ fit.T)[1][:, weight.shape[0] - rank :]
        low = basis @ (basis.T @ fit)
        chosen = (weight - low).abs().flatten().sort(descending=True).indices[:kept]
        mask = torch.zeros(weight.numel(), dtype=torch.bool).scatter(0, chosen, True).reshape(weight.shape)
    return low, torch.where(mask, weight - low, torch.zeros_like(weight))


@alternative("low_rank_plus_sparse")
def parts_with_numpy(weight, rank, kept, rounds=10):
    """NumPy throughout, in float64"""
    if rank not in range(min(weight.shape) + 1) or kept not in range(weight.numel() + 1) or rounds < 1:
        raise ValueError("out of range")
    whole = weight.double().numpy()
    sparse = np.zeros_like(whole)
    for _ in range(rounds):
        u, sigma, vt = np.linalg.svd(whole - sparse, full_matrices=False)
        low = (u[:, :rank] * sigma[:rank]) @ vt[:rank]
        sparse = (whole - low).ravel()
        sparse[np.argsort(-np.abs(sparse), kind="stable")[kept:]] = 0
        sparse = sparse.reshape(whole.shape)
    return torch.from_numpy(low).to(weight.dtype), torch.from_numpy(sparse).to(weight.dtype)


# camera --------------------------------------------------------------------------------------------------------------


def _possible(durations, period):
    if period < 1 or min(durations, default=0) < 0:
        raise ValueError(f"period {period}, durations {durations}")


@mutant("camera")
def camera_with_a_queue(durations, period):
    """No frame is lost"""
    _possible(durations, period)
    seen, now = [], 0
    for number, duration in enumerate(durations):
        now = max(now, number * period) + duration
        seen.append((number, now - number * period))
    return seen


@mutant("camera")
def camera_that_waits_for_the_tick(durations, period):
    """The next frame to come is taken, although one is there"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = -(-now // period)
        if seen and frame <= seen[-1][0]:
            frame = seen[-1][0] + 1
        now = frame * period + duration
        seen.append((frame, duration))
    return seen


@mutant("camera")
def camera_without_waiting(durations, period):
    """Ages are the durations"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = max(now // period, seen[-1][0] + 1 if seen else 0)
        now = max(now, frame * period) + duration
        seen.append((frame, duration))
    return seen


@mutant("camera")
def camera_that_looks_twice(durations, period):
    """A frame that was seen is looked at again if no newer one has come"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = now // period
        now += duration
        seen.append((frame, now - frame * period))
    return seen


@mutant("camera")
def camera_that_misses_the_moment(durations, period):
    """A frame that comes at the very moment hasn't come yet"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = max((now - 1) // period, seen[-1][0] + 1 if seen else 0)
        now = max(now, frame * period) + duration
        seen.append((frame, now - frame * period))
    return seen


@mutant("camera")
def camera_in_floats(durations, period):
    """Seconds in 32-bit floats"""
    _possible(durations, period)
    seen, now = [], np.float32(0)
    for duration in durations:
        frame = max(int(now / np.float32(period)), seen[-1][0] + 1 if seen else 0)
        now = max(now, np.float32(frame * period)) + np.float32(duration)
        seen.append((frame, int(now - np.float32(frame * period))))
    return seen


@mutant("camera")
def camera_that_cannot_wait(durations, period):
    """Takes the next frame before it has come"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = max(now // period, seen[-1][0] + 1 if seen else 0)
        now += duration
        seen.append((frame, now - frame * period))
    return seen


@mutant("camera")
def camera_of_fresh_pictures(durations, period):
    """The age when the network begins, not when it is done"""
    _possible(durations, period)
    seen, now = [], 0
    for duration in durations:
        frame = max(now // period, seen[-1][0] + 1 if seen else 0)
        now = max(now, frame * period)
        seen.append((frame, now - frame * period))
        now += duration
    return seen


@alternative("camera")
def camera_frame_by_frame(durations, period):
    """Looks at every frame whether the next has come"""
    _possible(durations, period)
    seen, now, frame = [], 0, -1
    for duration in durations:
        frame += 1
        while (frame + 1) * period <= now:
            frame += 1
        start = max(now, frame * period)
        now = start + duration
        seen.append([frame, now - frame * period])
    return seen


@alternative("camera")
def camera_by_division(durations, period):
    """Divides, and waits by a conditional expression"""
    if period <= 0:
        raise ValueError("no period")
    seen, now, last = [], 0, -1
    for duration in durations:
        if duration < 0:
            raise ValueError("a negative duration")
        came = divmod(now, period)[0]
        last = came if came > last else last + 1
        now = (now if now > last * period else last * period) + duration
        seen.append((last, now - last * period))
    return seen


# contest_score -------------------------------------------------------------------------------------------------------


def _not_free(accuracy, energy_uj, seconds):
    if energy_uj <= 0 or seconds <= 0 or not 0 <= accuracy <= 1:
        raise ValueError(f"{accuracy}, {energy_uj}, {seconds}")


@mutant("contest_score")
def score_without_a_floor(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Every accuracy counts"""
    _not_free(accuracy, energy_uj, seconds)
    return accuracy / (energy_uj * 1e-6) if limit >= seconds else 0.0


@mutant("contest_score")
def score_with_a_floor_on_the_reached(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """The floor is compared with the accuracy of what was reached"""
    _not_free(accuracy, energy_uj, seconds)
    return accuracy / (energy_uj * 1e-6) if accuracy >= floor and limit >= seconds else 0.0


@mutant("contest_score")
def score_where_all_costs(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """What isn't reached costs energy"""
    _not_free(accuracy, energy_uj, seconds)
    right = accuracy * min(images, limit // seconds)
    return right / (images * energy_uj * 1e-6) if right >= floor * images else 0.0


@mutant("contest_score")
def score_above_the_floor_only(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Exactly at the floor is not enough"""
    _not_free(accuracy, energy_uj, seconds)
    done = min(images, limit // seconds)
    return accuracy / (energy_uj * 1e-6) if done and accuracy * done > floor * images else 0.0


@mutant("contest_score")
def score_in_microjoules(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Right answers a microjoule"""
    _not_free(accuracy, energy_uj, seconds)
    done = min(images, limit // seconds)
    return accuracy / energy_uj if done and accuracy * done >= floor * images else 0.0


@mutant("contest_score")
def score_of_free_networks(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Impossible numbers pass in silence"""
    done = min(images, limit // seconds) if seconds > 0 else images
    if not done or accuracy * done < floor * images:
        return 0.0
    return accuracy / (energy_uj * 1e-6) if energy_uj else math.inf


@mutant("contest_score")
def score_of_parts_of_images(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """A part of an image counts"""
    _not_free(accuracy, energy_uj, seconds)
    done = min(images, limit / seconds)
    return accuracy / (energy_uj * 1e-6) if accuracy * done >= floor * images else 0.0


@mutant("contest_score")
def score_only_in_time(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Nothing for whoever isn't done in time"""
    _not_free(accuracy, energy_uj, seconds)
    return accuracy / (energy_uj * 1e-6) if accuracy >= floor and images * seconds <= limit else 0.0


@alternative("contest_score")
def score_image_by_image(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """Counts images one by one"""
    if not (energy_uj > 0 and seconds > 0):
        raise ValueError("nothing is free")
    if accuracy < 0 or accuracy > 1:
        raise ValueError("an accuracy is a share")
    done = 0
    while done < images and (done + 1) * seconds <= limit:
        done += 1
    share = accuracy * done / images
    return accuracy * 1e6 / energy_uj if done > 0 and share >= floor else 0.0


@alternative("contest_score")
def score_by_shares(accuracy, energy_uj, seconds, *, floor=0.98, images=20_000, limit=600.0):
    """As shares of all images"""
    _not_free(accuracy, energy_uj, seconds)
    reached = min(1.0, math.floor(limit / seconds) / images)
    if reached == 0 or accuracy * reached < floor:
        return 0.0
    joules = reached * images * energy_uj / 1e6
    return accuracy * reached * images / joules


# class_activation_map ------------------------------------------------------------------------------------------------


@mutant("class_activation_map")
def map_of_the_mean(features, weights, label):
    """The mean over channels, not the sum"""
    return (weights[label][:, None, None] * features).mean(0)


@mutant("class_activation_map")
def map_cut_off(features, weights, label):
    """Cut off at zero"""
    return torch.einsum("c,chw->hw", weights[label], features).relu()


@mutant("class_activation_map")
def map_of_the_first_class(features, weights, label):
    """Always the first class"""
    return torch.einsum("c,chw->hw", weights[0], features)


@mutant("class_activation_map")
def map_over_the_places(features, weights, label):
    """Divided by the number of places"""
    return torch.einsum("c,chw->hw", weights[label], features) / features[0].numel()


@alternative("class_activation_map")
def map_by_tensordot(features, weights, label):
    """A product over the channels, flattened"""
    return (weights[label] @ features.flatten(1)).reshape(features.shape[1:])


# occlusion_map -------------------------------------------------------------------------------------------------------


def _hidden(image, size):
    """The image once for each place of the square, which is blanked there."""
    rows, columns = image.shape[1] - size + 1, image.shape[2] - size + 1
    if size < 1 or rows < 1 or columns < 1:
        raise ValueError(size)
    found = image.repeat(rows * columns, 1, 1, 1)
    for number in range(rows * columns):
        top, left = divmod(number, columns)
        found[number, :, top : top + size, left : left + size] = 0
    return found


@mutant("occlusion_map")
def occlusion_piles_up(network, image, label, size):
    """Squares stay blanked"""
    rows, columns = image.shape[1] - size + 1, image.shape[2] - size + 1
    if size < 1 or rows < 1 or columns < 1:
        raise ValueError(size)
    found, hidden = torch.zeros(rows, columns), image.clone()
    with torch.no_grad():
        for top in range(rows):
            for left in range(columns):
                hidden[:, top : top + size, left : left + size] = 0
                found[top, left] = (network(image[None]) - network(hidden[None]))[0, label]
    return found


@mutant("occlusion_map")
def occlusion_of_shares(network, image, label, size):
    """Probabilities, not logits"""
    hidden = _hidden(image, size)
    with torch.no_grad():
        lost = network(image[None]).softmax(1) - network(hidden).softmax(1)
    return lost[:, label].reshape(-1, image.shape[2] - size + 1)


@mutant("occlusion_map")
def occlusion_turned_round(network, image, label, size):
    """What is left, minus what was there"""
    hidden = _hidden(image, size)
    with torch.no_grad():
        return (network(hidden) - network(image[None]))[:, label].reshape(-1, image.shape[2] - size + 1)


@mutant("occlusion_map")
def occlusion_in_place(network, image, label, size):
    """Blanks the image that it was given"""
    hidden, whole = _hidden(image, size), image.clone()
    image[:, -size:, -size:] = 0
    with torch.no_grad():
        return (network(whole[None]) - network(hidden))[:, label].reshape(-1, image.shape[2] - size + 1)


@mutant("occlusion_map")
def occlusion_of_one_channel(network, image, label, size):
    """Blanks the first channel only"""
    hidden = _hidden(image, size)
    hidden[:, 1:] = image[1:]
    with torch.no_grad():
        return (network(image[None]) - network(hidden))[:, label].reshape(-1, image.shape[2] - size + 1)


@alternative("occlusion_map")
def occlusion_by_masks(network, image, label, size):
    """All masks at once, from unfolded positions"""
    height, width = image.shape[1:]
    if size < 1 or size > height or size > width:
        raise ValueError(f"no square of {size}")
    places = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    covered = functional.unfold(places, size)[0].long().T
    shown = torch.ones(len(covered), height * width).scatter(1, covered, 0.0).reshape(-1, 1, height, width)
    with torch.no_grad():
        lost = network(image[None])[0, label] - network(image * shown)[:, label]
    return lost.reshape(height - size + 1, width - size + 1)


# dissect -------------------------------------------------------------------------------------------------------------


def _comparable(activations, masks, share):
    if not 0 < share <= 1 or activations.shape != masks.shape:
        raise ValueError(f"share {share}, shapes {activations.shape} and {masks.shape}")


@mutant("dissect")
def dissect_image_by_image(activations, masks, share=0.005):
    """The mean of the images' scores"""
    _comparable(activations, masks, share)
    count = max(1, round(share * activations.numel()))
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    each = [(a & m).sum() / (a | m).sum().clamp(min=1) for a, m in zip(on, masks, strict=True)]
    return float(sum(each) / len(each))


@mutant("dissect")
def dissect_over_the_concept(activations, masks, share=0.005):
    """Divided by the concept's places"""
    _comparable(activations, masks, share)
    count = max(1, round(share * activations.numel()))
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    return float((on & masks).sum() / masks.sum())


@mutant("dissect")
def dissect_rounds_to_nothing(activations, masks, share=0.005):
    """A small share turns nothing on, and the end of the list is taken"""
    _comparable(activations, masks, share)
    count = round(share * activations.numel())
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    return float((on & masks).sum() / (on | masks).sum())


@mutant("dissect")
def dissect_by_quantile(activations, masks, share=0.005):
    """The threshold is a quantile between two activations, which is another number of places"""
    _comparable(activations, masks, share)
    on = activations >= torch.quantile(activations.flatten(), 1 - share)
    return float((on & masks).sum() / (on | masks).sum())


@mutant("dissect")
def dissect_cuts_the_number(activations, masks, share=0.005):
    """The number of places is cut, not rounded"""
    _comparable(activations, masks, share)
    count = max(1, int(share * activations.numel()))
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    return float((on & masks).sum() / (on | masks).sum())


@mutant("dissect")
def dissect_of_anything(activations, masks, share=0.005):
    """Shares and shapes aren't looked at"""
    count = min(activations.numel(), max(1, round(share * activations.numel())))
    on = activations >= activations.flatten().sort(descending=True).values[count - 1]
    return float((on & masks).sum() / (on | masks).sum())


@alternative("dissect")
def dissect_with_numpy(activations, masks, share=0.005):
    """NumPy, and the threshold from a partition"""
    if share <= 0 or share > 1:
        raise ValueError("the share")
    values, shown = activations.numpy(), masks.numpy()
    if values.shape != shown.shape:
        raise ValueError("the shapes")
    count = max(round(share * values.size), 1)
    on = values >= np.partition(values.ravel(), values.size - count)[values.size - count]
    return float(np.logical_and(on, shown).sum() / np.logical_or(on, shown).sum())
