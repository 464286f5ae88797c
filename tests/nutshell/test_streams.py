"""Shelves hand out images one at a time and know how many are held."""

import numpy as np
import pytest
import torch

from nutshell.errors import Refused, WrongUse
from nutshell.streams import loader, open_shelf
from tests.nutshell.plain_stream import in_order


def test_an_image_is_the_same_every_time_and_another_for_another_seed():
    first, again, other = (open_shelf(f"drawn:9?seed={seed}").read(4) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_room_counts_what_is_referred_to_slices_and_tensors_included():
    shelf = open_shelf("drawn:100?room=3")
    held = [shelf.read(0)[0, :1], torch.from_numpy(shelf.read(1))]
    assert shelf.held == 2
    last = shelf.read(2)
    with pytest.raises(MemoryError, match="4 images are held at once and there is room for 3"):
        shelf.read(3)
    held.pop()
    assert shelf.held == 2
    shelf.read(3)
    del last, held
    assert (shelf.held, shelf.most_held, shelf.read_so_far) == (0, 3, 4)


def test_reads_end_with_words():
    shelf = open_shelf("drawn:1000000000?reads=5")
    with pytest.raises(MemoryError, match="5 images were read"):
        for number in range(len(shelf)):
            shelf.read(number)


@pytest.mark.parametrize("place", ["drawn:", "drawn:-3", "drawn:5?rom=3", "drawn:5?room=x", "nowhere.npy"])
def test_a_wrong_address_is_told(place):
    with pytest.raises(WrongUse):
        open_shelf(place)


def test_a_file_is_read_image_by_image(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 3, 4), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    shelf = open_shelf(tmp_path / "a.npy")
    assert len(shelf) == 7 and all(np.array_equal(shelf.read(n), images[n]) for n in range(7))
    for number in (-1, 7):
        with pytest.raises(IndexError, match="begin with 0"):
            shelf.read(number)


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "floats.npy", np.zeros((2, 1, 2, 2)))
    (tmp_path / "text.npy").write_text("no array")
    for name in ("floats.npy", "text.npy"):
        with pytest.raises(Refused):
            open_shelf(tmp_path / name)


def test_workers_each_get_their_number():
    found = [number for batch in loader(in_order, "drawn:11", 2, workers=2) for number in batch.tolist()]
    assert sorted(found) == list(range(11))
    assert [b.tolist() for b in loader(in_order, "drawn:5", 2)] == [[0, 1], [2, 3], [4]]
