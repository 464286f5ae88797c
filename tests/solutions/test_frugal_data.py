"""Unit 02: exact oracles and second opinions for its reference, and results that keep their word."""

import itertools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from nutshell import results
from nutshell.checks import Answer, checks_of
from nutshell.streams import open_shelf
from nutshell.wire import running
from solutions.frugal_data import checks, mutants, reference, training

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_intervals_are_scipys(pairs, level):
    off, on = [list(side) for side in zip(*pairs, strict=True)]
    row = reference.resource_report({"x": off}, {"x": on}, level)["x"]
    differences = np.subtract(on, off)
    if differences.std() < 1e-9 * max(1.0, np.abs(differences).max()):
        assert row["low"] == pytest.approx(row["high"], rel=1e-6, abs=1e-6)
        return
    interval = stats.ttest_rel(on, off).confidence_interval(level)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)
    assert row["verdict"] == ("lower" if row["high"] < 0 else "higher" if row["low"] > 0 else "noise")


def test_differences_that_are_all_equal_are_known_exactly():
    for shift, verdict in ((-2.0, "lower"), (0.0, "noise"), (0.5, "higher")):
        off = [1.0, 5.0, 9.0]
        row = reference.resource_report({"x": off}, {"x": [value + shift for value in off]})["x"]
        assert (row["low"], row["high"], row["verdict"]) == (shift, shift, verdict)


def test_the_verdict_on_nothing_is_wrong_one_time_in_twenty():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((800, 2, 6))
    found = Counter(reference.resource_report({"x": off.tolist()}, {"x": on.tolist()})["x"]["verdict"]
                    for off, on in draws)
    assert 15 < found["lower"] + found["higher"] < 75  # 40, and five standard deviations


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_normalised_images_have_mean_0_and_deviation_1_or_0(count, channels, height, width, seed):
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, channels, height, width))).byte()
    got = reference.normalise(images, images).double()
    assert got.mean((0, 2, 3)).abs().max() < 1e-5
    deviation = got.std((0, 2, 3), correction=0)
    flat = (images.amax((0, 2, 3)) == images.amin((0, 2, 3))).tolist()
    assert deviation.tolist() == pytest.approx([0.0 if one else 1.0 for one in flat], abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 8), st.integers(0, 999))
def test_augmented_frames_are_old_ones_and_their_angles_say_how(width, most, seed):
    frames = torch.arange(4 * width).reshape(4, 1, 1, width)
    angles = torch.tensor([0.25, -0.5, 0.0, 1.0], dtype=torch.float64)
    if most >= width:
        with pytest.raises(ValueError, match="most="):
            reference.augment(frames, angles, most, 0.1, seed)
        return
    got, turned = reference.augment(frames, angles, most, 0.125, seed)
    for old, angle, new, now in zip(frames, angles.tolist(), got, turned.tolist(), strict=True):
        line = old.flatten().tolist()
        fits = [s for s, mirrored in itertools.product(range(-most, most + 1), (False, True))
                if new.flatten().tolist() == _moved(line[::-1] if mirrored else line, s)
                and now == (-angle if mirrored else angle) + 0.125 * s]
        assert fits


def _moved(line, shift):
    return [line[min(max(place - shift, 0), len(line) - 1)] for place in range(len(line))]


def test_frames_moved_by_their_whole_width_are_not_blamed_for_a_mirror_that_nobody_can_see():
    for answer in (reference.augment, mutants.augment_one_by_one, mutants.augment_with_numpy):
        learner = SimpleNamespace(augment=answer)
        for seed in range(12):
            checks.any_frames_are_augmented(learner, reference, np.random.default_rng(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_workers_share_a_shelf_and_hold_little_of_it(count, batch, buffer, workers, seed):
    seen = []
    for worker in range(workers):
        place = f"drawn:{count}?seed={seed}&room={buffer + 2 * batch}"
        batches = list(reference.stream(place, batch, buffer=buffer, worker=worker, workers=workers, seed=seed))
        assert all(len(one) == batch for one, _ in batches[:-1])
        own = torch.cat([one for one, _ in batches]).tolist() if batches else []
        assert all(number // workers - place < buffer for place, number in enumerate(own))
        seen += own
        for of_batch, images in batches:
            shelf = open_shelf(f"drawn:{count}?seed={seed}")
            assert [shelf.read(number).tolist() for number in of_batch.tolist()] == images.tolist()
    assert sorted(seen) == list(range(count))


def test_a_billion_images_need_the_room_of_a_few():
    batches = reference.stream("drawn:1000000000?room=24&reads=60", 8, buffer=8, worker=1, workers=2)
    assert [len(next(batches)[0]) for _ in range(5)] == [8] * 5


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8), st.integers(0, 5), st.integers(0, 999))
def test_a_region_holds_all_that_is_inside_and_nothing_else(channels, height, width, margin, seed):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, 256, (channels, height, width))).byte()
    low = rng.integers(0, 256, channels)
    high = rng.integers(low, 256)
    (top, bottom, left, right), region = reference.region_of_interest(
        image, tuple(low.tolist()), tuple(high.tolist()), margin)
    inside = np.logical_and.reduce([(c >= a) & (c <= b) for c, a, b in zip(image.numpy(), low, high, strict=True)])
    if not inside.any():
        assert torch.equal(region, image)
        return
    assert 0 <= top < bottom <= height and 0 <= left < right <= width
    assert int((region != 0).any(0).sum()) <= inside.sum()
    assert int(region.long().sum()) == int((image.numpy() * inside).sum())
    rows, columns = np.nonzero(inside)
    assert (top, left) == (max(0, rows.min() - margin), max(0, columns.min() - margin))
    assert (bottom, right) == (min(height, rows.max() + 1 + margin), min(width, columns.max() + 1 + margin))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_rescaling_keeps_brightness_and_is_a_product_of_rows_and_columns(height, width, draw):
    new = draw.draw(st.integers(1, height)), draw.draw(st.integers(1, width))
    images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    got = reference.rescale(images, *new).double()
    assert torch.allclose(got.mean((2, 3)), images.mean((2, 3)), atol=1e-6)
    rows_first = reference.rescale(reference.rescale(images, new[0], width).double(), *new).double()
    assert torch.allclose(got, rows_first, atol=1e-6)


def test_rescaling_in_two_steps_that_divide_is_one_step():
    images = torch.rand(1, 2, 12, 24, dtype=torch.float64)
    twice = reference.rescale(reference.rescale(images, 6, 12), 3, 4)
    assert torch.allclose(twice, reference.rescale(images, 3, 4), atol=1e-6)


@pytest.mark.parametrize(("decay", "mode"), [(1.0, "triangular"), (0.5, "triangular2")])
def test_cycles_are_torchs(decay, mode):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CyclicLR(optimiser, 0.01, 0.2, step_size_up=7, mode=mode)
    for step in range(50):
        assert reference.cyclic_rate(step, 7, 0.01, 0.2, decay) == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()


def test_stripped_channels_are_whole_numbers_next_to_the_mean():
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    exact = torch.einsum("nchw,c->nhw", images.double(), torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))
    assert (reference.strip_channels(images, (0.299, 0.587, 0.114))[:, 0] - exact).abs().max() <= 0.5 + 1e-9


MISTAKES = [
    ("report_takes_sides_apart", "taken apart"), ("report_forgets_root_n", "√n times less"),
    ("report_off_minus_on", "off − on"), ("report_of_population", "n − 1"),
    ("report_decides_at_one_level", "at this level"), ("normalise_by_themselves", "training images'"),
    ("normalise_wraps_round", "wrapped round"), ("normalise_with_a_small_number", "A small number"),
    ("normalise_divides_by_zero", "divided by 0"), ("augment_keeps_angles", "keeps its angle"),
    ("augment_rolls", "come in again"), ("augment_reflects", "mirror those beside"),
    ("augment_moves_first", "of mirrored frames"), ("augment_negates_last", "of mirrored frames"),
    ("augment_steers_back", "the angle the wrong way."), ("augment_misses_the_largest", "Some shifts never come"),
    ("stream_empties_the_buffer", "The buffer is emptied"), ("stream_leaves_the_rest_in_order", "in which it came"),
    ("region_from_the_left", "left, top, right, bottom"),
    ("stream_every_worker_reads_all", "several times"), ("stream_leaves_the_rest", "gets lost"),
    ("stream_first_in_first_out", "Nothing is shuffled"), ("stream_loads_all", "all images at once"),
    ("region_of_any_channel", "one of its channels"), ("region_without_bounds", "at a bound"),
    ("region_margin_beyond", "beyond the image"), ("region_keeps_background", "background"),
    ("rescale_adaptively", "whole"), ("strip_cuts_off", "cut off"), ("rate_of_half_a_cycle", "half as many steps"),
    ("rate_whose_high_decays", "height above low"),
]


@pytest.mark.parametrize(("name", "words"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_a_mistake_gets_its_cause(name, words):
    wrong = getattr(mutants, name)
    exercise = wrong.__nutshell_kind__.exercise
    verdicts = running.try_answer(Answer(exercise, wrong, right=False), checks_of(checks), reference)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    assert any(words in verdict.cause for verdict in failed), [verdict.cause for verdict in failed]


def test_jobs_name_networks_of_the_sizes_that_the_lesson_tells_of():
    sizes = {name: sum(p.numel() for p in training.JOBS[name].build(0).parameters())
             for name in ("paper", "one-dense", "small", "pooled digits")}
    assert sizes == {"paper": 252_219, "one-dense": 132_501, "small": 80_213, "pooled digits": 25_260}


def test_results_hold_every_technique_off_and_on():
    found = results.load("frugal_data")
    assert {row["technique"] for row in found["steps"]} >= {"normalised", "grey instead of colour"}
    for row in found["steps"]:
        report = reference.resource_report({"ms": row["off_ms"]}, {"ms": row["on_ms"]})["ms"]
        assert report["verdict"] == row["report"]["verdict"]
    sizes = [row["parameters"] for row in found["steering"]]
    assert sizes == sorted(sizes, reverse=True) and 80_213 in sizes and sizes[-1] < 2_500
    assert {row["application"] for row in found["gallery"]} >= {"Autopilot", "Emojinator", "Malaria cells"}
    assert all(len(row["test_error_percent"]["each"]) == len(row["seeds"]) > 0 for row in found["steering"])
    all_at_once, *streamed = found["streams"]["rows"]
    assert not all_at_once["finished"] and all(row["finished"] for row in streamed)
    assert all(row["peak_bytes"] < found["streams"]["room_bytes"] < found["streams"]["file_bytes"] for row in streamed)
