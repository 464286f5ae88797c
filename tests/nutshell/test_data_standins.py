"""The stand-ins: the same everywhere, balanced, learnable, and in parts that share no picture."""

import hashlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from nutshell.data.standins import digits, draw_shapes, shapes


@pytest.fixture(scope="module")
def pictures():
    return shapes()


@pytest.mark.parametrize("make", [digits, shapes])
def test_no_picture_is_in_two_parts(make):
    data = make()
    seen = [{hashlib.sha256(image.numpy().tobytes()).digest() for image in part.images}
            for part in (data.train, data.validation, data.test)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert sum(map(len, seen)) == len(data.train) + len(data.validation) + len(data.test)


def test_digits_fill_the_middle_of_28_by_28_and_use_the_whole_range():
    data = digits()
    images = torch.cat([data.train.images, data.validation.images, data.test.images])
    assert images.shape == (1797, 1, 28, 28) and images.dtype == torch.uint8
    border = images.clone()
    border[:, :, 4:24, 4:24] = 0
    assert border.sum() == 0
    assert images.max() == 255
    for part in (data.train, data.validation, data.test):
        assert part.labels.bincount().min() >= 0.08 * len(part)


def test_digits_are_learnable():
    data = digits()
    centres = torch.stack([data.train.inputs(data.train.labels == k).mean(0).flatten() for k in range(10)])
    guess = torch.cdist(data.test.inputs().flatten(1), centres).argmin(1)
    assert (guess == data.test.labels).float().mean() >= 0.8


def test_the_generator_draws_the_same_bytes_on_every_machine(pictures):
    digest = hashlib.sha256(b"".join(part.images.numpy().tobytes() + part.labels.numpy().tobytes()
                                     for part in (pictures.train, pictures.validation, pictures.test)))
    assert digest.hexdigest() == "334d8c0eb177b78ed306acb03a882a7baf547acfe8180aebed20d4cb9e271582"


def test_shapes_are_balanced_and_depend_on_the_seed_alone(pictures):
    for part in (pictures.train, pictures.validation, pictures.test):
        counts = part.labels.bincount()
        assert counts.tolist() == [len(part) // 10] * 10
    assert torch.equal(draw_shapes(30, (5,)).images, draw_shapes(30, (5,)).images)
    assert not torch.equal(draw_shapes(30, (5,)).images, draw_shapes(30, (6,)).images)


def test_shapes_are_learnable_and_colour_does_not_give_them_away(pictures):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
                            nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    colours = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 10))
    assert accuracy_after_training(network, pictures) >= 0.6
    assert accuracy_after_training(colours, pictures) <= 0.25


def accuracy_after_training(network, data, epochs=3):
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train)).split(100):
            loss = functional.cross_entropy(network(data.train.inputs(batch)), data.train.labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return (network(data.test.inputs()).argmax(1) == data.test.labels).float().mean()
