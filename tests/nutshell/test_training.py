"""Training is seeded, resumes without a trace, and never touches the test images."""

from dataclasses import replace

import pytest
import torch

from nutshell.augment import mirror, mirror_steering, shift
from nutshell.data.dataset import Dataset, Split
from nutshell.models import build
from nutshell.plots import as_html
from nutshell.training import Recipe, evaluate, train

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01, shift=1, mirror=True)


def random_split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = torch.randint(0, 60, (count, 1, 6, 6), generator=generator)
    images[torch.arange(count), 0, 2, labels + 1] += 180  # the bright pixel tells the class
    return Split(images.to(torch.uint8), labels, (0.0,), (1.0,))


@pytest.fixture
def images() -> Dataset:
    return Dataset("made-up", random_split(90, 0), random_split(40, 1), random_split(40, 2), tuple("abcd"))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def trained(images: Dataset, recipe: Recipe = RECIPE, seed: int = 0, **options):
    network = build("mlp", seed=7, sizes=(36, 16, 4))
    history = train(network, images, recipe, seed, progress=False, **options)
    return network, history


def test_same_seed_gives_the_same_weights_and_another_seed_others(images):
    first, again, other = (weights(trained(images, seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_learns_and_leaves_the_global_random_state_alone(images):
    before = torch.get_rng_state()
    network, history = trained(images, replace(RECIPE, epochs=20, shift=0, mirror=False))
    assert torch.equal(before, torch.get_rng_state())
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"] / 2
    assert evaluate(network, images.test)[1] < 20
    assert not network.training


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop_in_epoch", [1, 2])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(images, tmp_path, monkeypatch, stop_in_epoch):
    whole, whole_history = trained(images)
    from nutshell import training

    calls = []
    real = training.evaluate

    def evaluate_and_stop(*arguments, **options):
        calls.append(1)
        if len(calls) == stop_in_epoch + 1:
            raise Interrupted
        return real(*arguments, **options)

    monkeypatch.setattr(training, "evaluate", evaluate_and_stop)
    with pytest.raises(Interrupted):
        trained(images, resume=tmp_path / "run.state")
    monkeypatch.setattr(training, "evaluate", real)
    resumed, history = trained(images, resume=tmp_path / "run.state")
    assert torch.equal(weights(whole), weights(resumed))
    untimed = [[{k: v for k, v in row.items() if k != "seconds"} for row in h.rows] for h in (whole_history, history)]
    assert untimed[0] == untimed[1]


def test_a_finished_run_is_not_repeated_and_another_one_is_refused(images, tmp_path):
    state = tmp_path / "run.state"
    first, _ = trained(images, resume=state)
    stamp = state.stat().st_mtime_ns
    again, history = trained(images, resume=state)
    assert torch.equal(weights(first), weights(again)) and len(history.rows) == 3
    assert state.stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="another training run"):
        trained(images, seed=1, resume=state)


def test_the_test_images_are_never_touched(images):
    poisoned = replace(images, test=None)
    network, _ = trained(poisoned)
    assert torch.equal(weights(network), weights(trained(images)[0]))


def test_evaluate_agrees_with_counting_by_hand(images):
    network = build("mlp", seed=0, sizes=(36, 4))
    logits = network(images.test.inputs())
    wrong = sum(int(row.argmax()) != int(label) for row, label in zip(logits, images.test.labels, strict=True))
    loss, error = evaluate(network.train(), images.test, batch_size=7)
    assert error == pytest.approx(100 * wrong / 40)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, images.test.labels).item(), rel=1e-5)
    assert network.training


@pytest.mark.parametrize("wrong", [dict(epochs=0), dict(epochs=1, batch_size=0), dict(epochs=1, optimiser="lion"),
                                   dict(epochs=1, warm_up=1.0)])
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(set(wrong) - {"epochs"}), "epochs")):
        Recipe(**wrong)


def test_learning_rate_rises_linearly_then_falls_to_zero_along_a_cosine():
    from nutshell.training import _learning_rate_factor

    factor = _learning_rate_factor(Recipe(epochs=10, warm_up=0.2), 10)
    assert factor(0) == pytest.approx(1 / 20) and factor(19) == pytest.approx(1)
    assert factor(60) == pytest.approx(0.5) and factor(100) == pytest.approx(0, abs=1e-7)


def test_shift_moves_by_every_offset_and_fills_with_zeros():
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 9
    moved = shift(image.expand(400, 1, 5, 5), 2, torch.Generator().manual_seed(0))
    places = {tuple(one[0].nonzero()[0].tolist()) for one in moved}
    assert places == {(row, column) for row in range(5) for column in range(5)}
    assert (moved.sum((1, 2, 3)) == 9).all()


def test_mirror_gives_each_image_or_its_mirror_image():
    images = torch.arange(12).view(1, 1, 3, 4).expand(100, 1, 3, 4)
    changed = mirror(images, torch.Generator().manual_seed(0))
    same = (changed == images).all((1, 2, 3))
    assert 30 < same.sum() < 70
    assert torch.equal(changed[~same], images.flip(-1)[~same])


def test_history_plots_itself_with_labels_and_legend(images):
    _, history = trained(images)
    axes = history.plot()
    assert axes.get_xlabel() == "epoch" and "nats" in axes.get_ylabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training loss", "validation loss", "validation error"]
    assert 'alt="falling &quot;lines&quot;"' in as_html(axes, 'falling "lines"').data
    with pytest.raises(ValueError, match="alternative_text"):
        as_html(axes, " ")


def halves(done: float) -> float:
    return 1.0 if done < 0.5 else 0.25


def test_a_schedule_of_ones_own_sets_every_rate_and_belongs_to_its_run(images, tmp_path):
    recipe = replace(RECIPE, epochs=4)
    _, history = trained(images, recipe, schedule=halves, resume=tmp_path / "run.state")
    assert [row["learning_rate"] for row in history.rows] == pytest.approx([0.01, 0.01, 0.0025, 0.0025])
    with pytest.raises(ValueError, match="another training run"):
        trained(images, recipe, resume=tmp_path / "run.state")


def steering(count: int, seed: int) -> Split:
    """One bright column a picture; whoever sees it steers towards it."""
    columns = torch.randint(0, 7, (count,), generator=torch.Generator().manual_seed(seed))
    images = torch.zeros(count, 1, 4, 7, dtype=torch.uint8)
    images[torch.arange(count), :, :, columns] = 255
    return Split(images, (columns - 3) / 3, (0.0,), (1.0,))


@pytest.mark.parametrize("mirrored", [False, True])
def test_numbers_are_learned_and_judged_by_their_squared_error(mirrored):
    data = Dataset("made-up", steering(90, 0), steering(40, 1), steering(40, 2), ())
    network = build("mlp", seed=7, sizes=(28, 16, 1))
    history = train(network, data, Recipe(30, batch_size=16, learning_rate=0.01, mirror=mirrored), progress=False)
    outputs = network(data.test.inputs()).flatten()
    loss, error = evaluate(network, data.test)
    assert loss == pytest.approx((outputs - data.test.labels).square().mean().item(), rel=1e-4)
    assert error == pytest.approx(100 * loss**0.5)
    assert error < 10 < 100 * data.test.labels.std()
    assert history.rows[-1]["validation_error_percent"] < history.rows[0]["validation_error_percent"]
    assert history.plot().get_ylabel() == "mean squared error"


def test_a_mirrored_frame_is_steered_the_other_way():
    part = steering(64, 0)
    images, labels = mirror_steering(part.images, part.labels, torch.Generator().manual_seed(0))
    assert torch.equal((images[:, 0, 0].argmax(1) - 3) / 3, labels)
    assert 0 < (labels != part.labels).sum() < 64
    assert torch.equal(part.labels, steering(64, 0).labels)
