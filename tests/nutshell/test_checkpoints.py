"""Shipped checkpoints are what their cards say, and damaged ones are refused."""

import json

import pytest
import torch

from nutshell import checkpoints, data
from nutshell.errors import Refused, WrongUse
from nutshell.measure import measure
from nutshell.models import build
from nutshell.recipes import RECIPES
from nutshell.training import evaluate

HIGHEST_ERROR_PERCENT = {"lenet-300-100": 1.65, "lenet-5-caffe": 0.85, "resnet-20": 13.0}
APPLICATIONS = {"gesture-net": 2.5, "sketch-net": 6.0}


def test_the_checkpoints_of_the_course_are_there():
    assert set(checkpoints.names()) >= {*HIGHEST_ERROR_PERCENT, *APPLICATIONS}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_applications_networks_are_what_their_cards_say(name):
    card, recipe = checkpoints.card(name), RECIPES[name]
    assert card.test_error_percent < APPLICATIONS[name]
    assert card.command == f"nutshell train {name} --seed {card.seed}"
    assert card.recipe == json.loads(json.dumps(vars(recipe.training)))
    assert card.data.startswith(recipe.data) and "stand-in" not in card.data
    network = checkpoints.load(name)
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in recipe.build(name, 0).state_dict().items()}
    images = recipe.images()
    if images.name == card.data:  # as many publishers' copies as there are people who cut pieces from them
        assert evaluate(network, images.test)[1] == pytest.approx(card.test_error_percent, abs=0.05)


@pytest.mark.parametrize("name", HIGHEST_ERROR_PERCENT)
def test_the_measured_error_is_the_one_on_the_card(name):
    card = checkpoints.card(name)
    images = data.load(RECIPES[card.network].data)
    if images.name != card.data:
        pytest.skip(f"measured on {card.data!r}, here is {images.name!r}: put the data set into NUTSHELL_DATA")
    network = checkpoints.load(name)
    few = 2000 if name == "resnet-20" else 10_000  # the whole test set takes half a minute
    part = images.test if few == 10_000 else type(images.test)(
        images.test.images[:few], images.test.labels[:few], images.test.mean, images.test.std)
    tolerance = 0.02 if few == 10_000 else 2.0  # percent points; a rounding may flip an image or two
    assert evaluate(network, part)[1] == pytest.approx(card.test_error_percent, abs=tolerance)


@pytest.mark.parametrize("name", HIGHEST_ERROR_PERCENT)
def test_the_card_holds_the_target_and_the_recipe_that_is_run_today(name):
    card = checkpoints.card(name)
    assert card.test_error_percent <= HIGHEST_ERROR_PERCENT[name]
    assert card.command == f"nutshell train {card.network} --seed {card.seed}"
    assert card.recipe == json.loads(json.dumps(vars(RECIPES[card.network].training)))
    assert card.data in ("mnist", "cifar-10", "cifar-10 (unofficial copy)")
    assert bool(card.note) == ("unofficial" in card.data)


def test_the_steering_network_of_the_live_demo_is_what_its_card_says():
    card = json.loads((checkpoints.FOLDER / "steering.json").read_text(encoding="utf-8"))
    measured = measure(checkpoints.FOLDER / "steering.nut", "track")
    assert measured.params == card["parameters"]
    if measured.data == f"{card['data']}, test":
        assert measured.error_percent == pytest.approx(card["test_error_percent"], abs=0.01)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    return tmp_path


def small_card():
    return checkpoints.Card("mlp", "made-up", {}, 0, 1.0, 2.0, "nutshell train mlp", "", {"sizes": [6, 3]})


def test_what_is_saved_is_loaded_bit_for_bit(folder):
    network = build("mlp", seed=3, sizes=(6, 3))
    checkpoints.save("small", network, small_card(), into=folder)
    loaded = checkpoints.load("small")
    assert checkpoints.card("small") == small_card() and not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))


@pytest.mark.parametrize("damage", [lambda whole: whole[:40], lambda whole: b"", lambda whole: b"\xff" * len(whole)])
def test_a_damaged_file_is_refused_with_the_command_that_makes_it_anew(folder, damage):
    file = checkpoints.save("small", build("mlp", sizes=(6, 3)), small_card(), into=folder)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Refused, match=r"small\.safetensors.*nutshell train mlp"):
        checkpoints.load("small")


def test_weights_of_another_network_are_refused(folder):
    checkpoints.save("small", build("mlp", sizes=(7, 3)), small_card(), into=folder)
    with pytest.raises(Refused, match="small"):
        checkpoints.load("small")


def test_an_unknown_name_is_answered_with_those_there_are(folder):
    checkpoints.save("small", build("mlp", sizes=(6, 3)), small_card(), into=folder)
    with pytest.raises(WrongUse, match=r"'large'.*small"):
        checkpoints.load("large")
