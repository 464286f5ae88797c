"""Students learn from what the results say they learn from, interrupted trainings go on, and results fit together."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nutshell import models, results, teachers
from nutshell.data.dataset import Dataset, Split
from nutshell.training import Recipe
from solutions.student_and_teacher import experiment, networks, runs, training
from solutions.student_and_teacher.handed_in import write

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=1e-2, warm_up=0.1)


def split(count: int = 64, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    pixels = torch.randint(0, 60, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    pixels[torch.arange(count), 0, 2 * labels, :] = 255  # a bright row tells the digit
    return Split(pixels, labels, (0.1,), (0.3,))


@pytest.fixture
def tiny(monkeypatch):
    images = Dataset("mnist", split(200), split(40, 1), split(50, 2), tuple("0123456789"))
    monkeypatch.setattr(runs, "mnist", lambda: images)
    monkeypatch.setattr(experiment, "mnist", lambda: images)
    return images


@pytest.fixture
def kept(tmp_path, tiny):
    """Teachers that say the right answer, and little else."""
    (tmp_path / runs.UNIT).mkdir()
    for name in runs.TEACHERS:
        said = {part: 4.0 * functional.one_hot(getattr(tiny, part).labels, 10).float()
                for part in ("train", "validation", "test")}  # fmt: skip
        torch.save(said, tmp_path / runs.UNIT / f"teacher-{name}.logits")
    return tmp_path


def mlp(seed: int = 0) -> nn.Module:
    return models.build("mlp", seed=seed, sizes=(784, 12, 10))


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path):
    part, whole, halves = split(), mlp(), mlp()
    recipe = Recipe(epochs=3, batch_size=16, shift=1)
    training.learn(whole, part, training.on_labels(part), recipe, 5, watch=part)
    state = tmp_path / "halves.state"

    class Stop(Exception):
        pass

    seen = 0

    def stopping(outputs, at):
        nonlocal seen
        seen += 1
        if seen == 7:
            raise Stop
        return training.on_labels(part)(outputs, at)

    with pytest.raises(Stop):
        training.learn(halves, part, stopping, recipe, 5, watch=part, resume=state)
    again = mlp(9)
    curve = training.learn(again, part, training.on_labels(part), recipe, 5, watch=part, resume=state)
    assert len(curve) == 3
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_only_the_chosen_images_are_learned_from():
    part, seen = split(), []

    def objective(outputs, at):
        seen.extend(at.tolist())
        return training.on_labels(part)(outputs, at)

    chosen = torch.tensor([5, 9, 60, 2])
    training.learn(mlp(), part, objective, RECIPE, 0, chosen=chosen)
    assert sorted(seen) == sorted(3 * chosen.tolist())


def test_the_global_random_state_is_left_alone():
    network = networks.dropping((784, 5, 10))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    training.learn(network, split(), training.on_labels(split()), RECIPE, 0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_ready_targets_pull_like_the_teacher_whose_they_are(temperature):
    part, said = split(8), torch.randn(8, 10, dtype=torch.float64)
    outputs = torch.randn(8, 10, dtype=torch.float64, requires_grad=True)
    at = torch.arange(8)
    one = training.on_soft_targets(part, said, temperature, 1.0)(outputs, at)
    other = training.on_targets((said / temperature).softmax(1), temperature)(outputs, at)
    torch.testing.assert_close(*(torch.autograd.grad(loss, outputs)[0] for loss in (one, other)))


def test_students_copy_logits_and_hints():
    part, target = split(40), networks.shallow()
    said = training.outputs_of(target, part)
    student = networks.shallow()
    before = (training.outputs_of(student, part) - said).square().mean()
    training.learn(student, part, training.on_logits(said), Recipe(epochs=20, batch_size=20), 0)
    assert (training.outputs_of(student, part) - said).square().mean() < 0.1 * before


def test_hints_train_the_student_up_to_its_guided_layer_only():
    part, student = split(16), networks.thin_and_deep()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    guided = networks.Guided(student, "relu4", 32, 64)
    hints = training.outputs_of(networks.up_to(networks.conv_teacher(), "relu3"), part)
    assert hints.shape == (16, 64, 7, 7)
    training.learn(guided, part, training.on_hints(hints, guided.regressor), RECIPE, 0)
    moved = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"conv{number}.{kind}" for number in (1, 2, 3, 4) for kind in ("weight", "bias")}


def test_the_teacher_is_the_same_network_without_dropout():
    network = networks.dropping((784, 6, 5, 10)).eval()
    plain = models.mlp((784, 6, 5, 10))
    plain.load_state_dict(network.state_dict())
    images = torch.randn(3, 1, 28, 28)
    assert torch.equal(network(images), plain(images))
    assert sum(each.numel() for each in networks.dropping().parameters()) == 2_395_210


def test_students_see_the_images_they_are_said_to_see(tiny):
    labels = tiny.train.labels
    assert set(labels[runs.without_threes(0)].tolist()) == set(range(10)) - {3}
    assert len(runs.without_threes(0)) == int((labels != 3).sum())
    assert set(labels[runs.sevens_and_eights(0)].tolist()) == {7, 8}
    first, other = runs.a_few(0), runs.a_few(1)
    assert len(first) == len(set(first.tolist())) == 6 and not torch.equal(first, other)


def test_students_of_a_kind_differ_in_what_they_learn_from_alone():
    for kind in runs.KINDS:
        one, other = runs.RUNS[f"{kind}-labels"], runs.RUNS[f"{kind}-logits"]
        assert one.recipe == other.recipe
    sizes = [experiment.parameters(build()) for build in runs.KINDS.values()]
    assert max(sizes) < 1.01 * min(sizes)
    wide = [run for name, run in runs.RUNS.items() if name.startswith("wide")]
    assert len({run.recipe for run in wide}) == 1 and wide[0].recipe.shift == 0
    assert not any(isinstance(layer, nn.Dropout) for run in wide for layer in run.build().modules())
    hinted, distilled = runs.RUNS["thin-hinted"].recipe, runs.RUNS["thin-distilled"].recipe
    assert hinted.epochs + runs.HINTING.epochs == distilled.epochs


def test_a_student_is_trained_once_and_a_row_counts_its_mistakes(kept, tiny, monkeypatch):
    monkeypatch.setitem(runs.RUNS, "narrow-at-4", runs.Run("narrow-at-4", runs.mlp(runs.NARROW), RECIPE,
                                                           runs.soft("convolutional", 4.0)))
    found = runs.student(runs.RUNS["narrow-at-4"], 0, kept)
    monkeypatch.setattr(runs, "learn", None)
    again = runs.student(runs.RUNS["narrow-at-4"], 0, kept)
    assert torch.equal(found["test"], again["test"])
    row = experiment.Kept(kept).row("narrow-at-4", temperature=4.0)
    wrong = int((found["test"].argmax(1) != tiny.test.labels).sum())
    assert row["test_errors"] == results.summary([float(wrong)]) and row["seeds"] == [0]
    assert row["test_error_percent"]["mean"] == pytest.approx(100 * wrong / 50, abs=1e-3)
    assert [each["temperature"] for each in experiment.temperatures(experiment.Kept(kept))] == [4.0]


def test_an_unseen_class_comes_back_with_the_bias_chosen_on_validation(kept, tiny):
    def said(part):  # right but for the threes, which are 2 to 3 too low
        logits = 5.0 * functional.one_hot(part.labels, 10).float() + 3.0 * functional.one_hot(part.labels * 0 + 5, 10)
        logits[:, 3] -= 4.5
        return logits

    for seed in (0, 1):
        torch.save({"validation": said(tiny.validation), "test": said(tiny.test), "train": said(tiny.train),
                    "curve": torch.zeros(2)}, kept / runs.UNIT / f"wide-unseen-{seed}.logits")  # fmt: skip
    row = experiment.biased(experiment.Kept(kept), "wide-unseen", (3,))
    assert row["misread_3"]["mean"] == 5 and row["errors_after"]["mean"] == 0 and row["misread_3_after"]["mean"] == 0
    assert 2.5 < row["bias"]["mean"] < 7.5
    assert row["curve"][3]["bias"] == 0 and min(each["validation_errors"] for each in row["curve"]) == 0


@pytest.mark.parametrize("around", [4.0, -7.5, 0.0])
def test_the_curve_holds_no_bias_and_the_chosen_one(around):
    points = experiment.grid(around)
    assert 0.0 in points and min(abs(each - around) for each in points) < 0.1 and len(points) == len(set(points))


def test_what_is_handed_in_is_lenet_300_100(tmp_path):
    from nutshell import artefact

    network = models.build("lenet-300-100", seed=1).eval()
    write(network, tmp_path / "student.nut")
    images = torch.randn(4, 1, 28, 28)
    back = artefact.load(tmp_path / "student.nut").network
    with torch.no_grad():
        torch.testing.assert_close(back(images), network(images), rtol=0.05, atol=0.02)


def test_the_results_fit_together():
    found = results.load(runs.UNIT)
    assert found["test_threes"] == 1010 and found["test_images"] == 10_000
    rows = [found["hinton"]["alone"], found["hinton"]["distilled"], *found["mimic"], *found["temperatures"]]
    for row in [each for each in rows if each]:
        assert row["test_errors"] == results.summary(row["test_errors"]["each"])
        assert row["test_error_percent"]["mean"] == pytest.approx(row["test_errors"]["mean"] / 100, abs=2e-3)
        assert len(row["seeds"]) == len(row["test_errors"]["each"]) and row["recipe"]["shift"] == 0
    for section in (found["unseen"], found["sevens_and_eights"]):
        if section:
            assert section["errors_after"]["mean"] < section["test_errors"]["mean"]
    assert all(teacher["test_errors"] < 150 for teacher in found["teachers"].values())
    for name in teachers.names():
        shipped = found["teachers"][name]
        assert teachers.card(name).test_error_percent == shipped["test_error_percent"]
