"""Networks at work: drawings made alike, answers side by side, recorded pictures, and a camera's frames."""

import io
import re

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from nutshell import artefact, checkpoints, regions
from nutshell.data.dataset import Dataset, Split
from nutshell.explorers.applications import EXAMPLES, ask, hand, live, picture_of, rasterise, sketchpad
from nutshell.explorers.browser import Camera, Sheet

DIGITS = tuple("0123456789")
POINTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


STROKES = st.lists(st.lists(POINTS, min_size=1, max_size=6), min_size=1, max_size=4)


@given(STROKES, st.sampled_from(["mnist", "quickdraw"]))
def test_any_drawing_becomes_a_picture_of_the_data_sets_size(strokes, style):
    picture = rasterise(strokes, style)
    assert picture.shape == (1, 28, 28) and picture.dtype == np.uint8 and picture.max() > 128
    ink = [np.flatnonzero(picture[0].max(axis) > 127) for axis in (0, 1)]
    most = 22 if style == "mnist" else 28
    assert all(side[-1] - side[0] < most for side in ink)
    points = np.array([point for stroke in strokes for point in stroke])
    if np.ptp(points, 0).max() > 0.1:
        assert max(side[-1] - side[0] + 1 for side in ink) == pytest.approx(20 if style == "mnist" else 26, abs=2)


@given(st.floats(0.3, 1), st.floats(0, 0.3), st.floats(0, 0.3))
def test_where_and_how_large_one_draws_makes_little_difference(size, right, down):
    here = [[(right + size * x * 0.7, down + size * y * 0.7) for x, y in stroke] for stroke in EXAMPLES["mnist"]]
    assert np.abs(rasterise(here, "mnist").astype(int) - rasterise(EXAMPLES["mnist"], "mnist")).mean() < 6


def test_an_empty_sheet_is_black_and_a_dot_is_a_dot():
    assert not rasterise([], "mnist").any() and not rasterise([[]], "quickdraw").any()
    assert 4 <= (rasterise([[(0.5, 0.5)]], "mnist") > 127).sum() <= 12


def test_a_digits_centre_of_mass_is_in_the_middle():
    corner = [[(0.1, 0.1), (0.1, 0.9), (0.6, 0.9)]]
    picture = rasterise(corner, "mnist")[0].astype(float)
    for axis in (0, 1):
        assert (picture.sum(1 - axis) * np.arange(28)).sum() / picture.sum() == pytest.approx(13.5, abs=0.6)
    plain = rasterise(corner, "quickdraw")[0].astype(float)
    assert (plain.sum(0) * np.arange(28)).sum() / plain.sum() < 12  # by its box, not by its mass


def captions(shown: str) -> list[str]:
    return [re.sub("<.*?>", "", found) for found in re.findall("<caption.*?>(.*?)</caption>", shown)]


def test_networks_side_by_side_read_the_seven_on_the_sheet():
    networks = {name: checkpoints.load(name) for name in ("lenet-300-100", "lenet-5-caffe")}
    pad = sketchpad(networks, DIGITS)
    sheet, words = pad.children
    assert isinstance(sheet, Sheet) and sheet.label
    assert [text.split(", ")[0] for text in captions(words.value)] == ["lenet-300-100: 7", "lenet-5-caffe: 7"]
    sheet.strokes = [[(0.5, 0.2), (0.5, 0.8)]]
    assert [text.split(", ")[0] for text in captions(words.value)] == ["lenet-300-100: 1", "lenet-5-caffe: 1"]
    assert 'alt="what the networks see, 28×28 pixels"' in words.value and "%" in words.value
    sheet.strokes = []
    assert "Draw something" in words.value and captions(words.value) == []
    assert "Draw something" in picture_of(pad).data


def constant(values: list[float], inputs: int) -> nn.Module:
    layer = nn.Linear(inputs, len(values))
    layer.weight.data.zero_()
    layer.bias.data = torch.tensor(values)
    return nn.Sequential(nn.Flatten(), layer)


def pictures(labels: torch.Tensor, classes: tuple[str, ...], shape: tuple[int, int, int]) -> Dataset:
    images = torch.arange(len(labels) * 3, dtype=torch.uint8).repeat_interleave(shape[1] * shape[2])[
        : len(labels) * shape[0] * shape[1] * shape[2]].reshape(len(labels), *shape).clone()
    part = Split(images, labels, (0.5,) * shape[0], (0.5,) * shape[0])
    return Dataset("made up", part, part, part, classes)


def test_recorded_pictures_are_played_and_the_right_class_is_marked():
    data = pictures(torch.tensor([0, 1, 1]), ("left", "<right>"), (1, 8, 8))
    demo = live(constant([0.0, 2.0], 64), data)
    (play, slider), screen = demo.children[0].children, demo.children[-1]
    assert isinstance(play, widgets.Play) and play.max == slider.max == 2
    assert captions(screen.value)[0].startswith("network: &lt;right&gt;, ")
    assert "left ✓" in screen.value and "&lt;right&gt; ✓" not in screen.value
    slider.value = 1
    assert "&lt;right&gt; ✓" in screen.value and "88 %" in screen.value


def test_steering_is_shown_on_one_scale_and_files_take_their_own_size(tmp_path):
    data = pictures(torch.tensor([0.5, -1.0]), (), (3, 6, 20))
    artefact.save(constant([-3.0], 16), tmp_path / "a.nut", input_shape=(1, 4, 4))
    demo = live({"large": constant([0.25], 360), "small": artefact.load(tmp_path / "a.nut")}, data)
    shown = demo.children[-1].value
    assert [float(text) for text in re.findall(r"<td>([+-]\d\.\d\d)</td>", shown)] == [0.5, 0.25, -3.0]
    assert re.findall(r"left: calc\((\d+\.\d)%", shown) == ["75.0", "62.5", "0.0"]
    assert captions(shown) == ["steering, from −1 (left) to +1 (right)"]


def test_an_answer_is_a_probability_for_each_class_or_one_number():
    answer = ask(constant([0.0, 0.0, 5.0], 4), torch.zeros(1, 1, 2, 2))
    assert sum(answer.values) == pytest.approx(1) and np.argmax(answer.values) == 2 and answer.milliseconds > 0
    assert ask(constant([0.25], 4), torch.zeros(1, 1, 2, 2)).values == [0.25]
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(4, 1)).train()
    first, second = (ask(network, torch.ones(1, 1, 2, 2)).values for _ in range(2))
    assert first == second


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def hand_before_a_wall() -> np.ndarray:
    """A fist with one finger up, of the colour of skin, before a blue wall, with a small red lamp beside it."""
    frame = np.full((120, 160, 3), (70, 110, 170), np.uint8)
    frame[60:110, 60:100] = (224, 172, 140)
    frame[20:60, 70:80] = (160, 112, 88)
    frame[10:14, 140:144] = (224, 150, 130)
    return frame


def test_a_hand_is_found_by_its_colour_and_cut_out():
    frame = hand_before_a_wall().transpose(2, 0, 1)
    mask = regions.skin(frame)
    assert mask.sum() == 50 * 40 + 40 * 10 + 16
    assert regions.largest(mask).sum() == 50 * 40 + 40 * 10
    picture = hand(frame)
    assert picture.shape == (1, 50, 50) and picture[0, 5, 21:24].min() > 200 and picture[0, 45, 16:34].min() > 200
    assert picture[0, :, :12].max() == 0 and picture[0, :18, 28:].max() == 0
    assert hand(np.full((3, 40, 40), 90, np.uint8)) is None
    wall = np.full((3, 120, 160), 0, np.uint8) + np.array([[[70]], [[110]], [[170]]], np.uint8)
    assert np.array_equal(regions.moved(frame, wall), mask)
    with pytest.raises(ValueError, match="take it anew"):
        regions.moved(frame, wall[:, :10])
    assert not regions.largest(np.zeros((3, 3), bool)).any()


def test_each_frame_of_a_camera_is_answered_whatever_it_shows():
    data = pictures(torch.tensor([0, 1]), ("none", "some"), (1, 50, 50))
    demo = live(constant([0.0, 1.0], 2500), data, camera=hand)
    eye, screen = demo.children[1], demo.children[-1]
    assert isinstance(eye, Camera) and eye.state == "off"
    eye.frame = jpeg(hand_before_a_wall())
    assert eye.answered == 1 and 'alt="the camera, 50×50 pixels"' in screen.value and "✓" not in screen.value
    eye.frame = jpeg(np.zeros((120, 160, 3), np.uint8))
    assert eye.answered == 2 and "Nothing to be seen" in screen.value
    with pytest.raises(Exception, match="JPEG"):
        eye.frame = b"no picture"
    assert eye.answered == 3
    assert len(live(constant([0.0, 1.0], 2500), data).children) == 2
