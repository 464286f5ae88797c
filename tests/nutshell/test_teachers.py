"""Stored logits come back as they were, to within their steps, and only for the images that they belong to."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nutshell import teachers
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import Refused, WrongUse

LABELS = torch.tensor([3, 1, 2, 0])


def images(name: str = "mnist", labels: torch.Tensor = LABELS) -> Dataset:
    part = Split(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, (0.0,), (1.0,))
    return Dataset(name, part, part, part, ("0", "1", "2", "3"))


def about(labels: torch.Tensor = LABELS) -> teachers.Card:
    part = images(labels=labels).train
    return teachers.Card("a teacher", 7, "mnist", teachers.fingerprint(part), {"epochs": 1}, 0.5, 0.6, "train it")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "FOLDER", tmp_path)
    return tmp_path


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=2), min_size=4, max_size=4))
def test_logits_are_off_by_half_a_step_at_most(tmp_path_factory, rows):
    folder, said = tmp_path_factory.mktemp("teachers"), torch.tensor(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teachers, "FOLDER", folder)
        teachers.save("small", said, about(), folder)
        back = teachers.logits("small", images())
    steps = (said.max(0).values - said.min(0).values) / 254
    assert back.dtype == torch.float32 and back.shape == said.shape
    assert bool(((back - said).abs() <= 0.5 * steps + 1e-4).all())


def test_a_card_comes_back_as_it_was(folder):
    teachers.save("small", torch.zeros(4, 2), about(), folder)
    assert teachers.names() == ["small"] and teachers.card("small") == about()


@pytest.mark.parametrize("other", [images("cifar-10"), images(labels=LABELS.flip(0)), images(labels=LABELS[:3])])
def test_other_images_are_refused(folder, other):
    teachers.save("small", torch.zeros(4, 2), about(), folder)
    with pytest.raises(Refused, match="nutshell data fetch mnist"):
        teachers.logits("small", other)


def test_an_unknown_teacher_is_wrong_use(folder):
    with pytest.raises(WrongUse, match="none yet"):
        teachers.card("nobody")


def test_labels_decide_the_fingerprint():
    part = images().train
    assert teachers.fingerprint(part) != teachers.fingerprint(replace(part, labels=part.labels.flip(0)))


def test_the_teacher_that_ships_is_as_good_as_its_card_says():
    for name in teachers.names():
        card = teachers.card(name)
        assert 0 < card.test_error_percent < 1.1 and card.parameters == 206_538 and card.data == "mnist"
