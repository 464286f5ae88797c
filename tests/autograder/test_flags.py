"""Flags: what a network that knows the test images does, what honest ones do, and whose weights it has."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autograder import borrowed, flags
from autograder.flags import CHANGED, OUT_OF_LINE, Seen, findings, guess, log_odds
from autograder.verdicts import BudgetVerdict, SubmissionVerdict
from nutshell import artefact, budget, checkpoints, data, models, results, training
from nutshell.checks import Budget, Limit
from nutshell.data.dataset import Dataset, Split

BUDGET = Budget("small", 4, "a.nut", "mnist", "lenet-300-100", (Limit("bytes", 10**7),))


def some(part: Split, start: int, stop: int) -> Split:
    return replace(part, images=part.images[start:stop].clone(), labels=part.labels[start:stop].clone())


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Stand-in digits under a real name, since flags say nothing on stand-ins; noise makes them hard to tell apart."""
    whole = data.source_of("mnist").stand_in()
    everything = Split(torch.cat([whole.train.images, whole.validation.images, whole.test.images]),
                       torch.cat([whole.train.labels, whole.validation.labels, whole.test.labels]),
                       whole.test.mean, whole.test.std)  # fmt: skip
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    noise = 70 * torch.randn(everything.images.shape, generator=torch.Generator().manual_seed(1))
    noisy = (everything.images + noise).clamp(0, 255).to(torch.uint8)
    mixed = replace(everything, images=noisy[order], labels=everything.labels[order])
    return Dataset("mnist", some(mixed, 0, 600), some(mixed, 600, 1100), some(mixed, 1100, len(mixed)), whole.classes)


def trained(on: Split, digits: Dataset, epochs: int, seed: int = 0, network: nn.Module | None = None) -> nn.Module:
    network = network or models.build("lenet-300-100", seed=seed)
    torch.set_flush_denormal(True)  # what is learned by heart has gradients next to zero, which are slow
    training.train(network, replace(digits, train=on), training.Recipe(epochs=epochs), seed=seed, progress=False)
    torch.set_flush_denormal(False)
    return network


@pytest.fixture(scope="module")
def honest(digits) -> nn.Module:
    return trained(digits.train, digits, 12)


@pytest.fixture(scope="module")
def knows_test(digits) -> nn.Module:
    return trained(digits.test, digits, 30, seed=3)


@pytest.fixture
def shipped(digits, monkeypatch, request) -> nn.Module:
    """A network trained on the training digits, in the place of the one that ships."""
    network = request.getfixturevalue("honest")
    monkeypatch.setattr("nutshell.data.load", lambda name: digits)
    monkeypatch.setattr(checkpoints, "load", lambda name: network)
    monkeypatch.setattr(flags, "_known", {})
    monkeypatch.setattr(budget, "_kept", {})
    return network


def flagged(network: nn.Module, **options) -> list[str]:
    content = artefact.to_bytes(network, input_shape=(1, 28, 28), **options)
    return [flag.kind for flag in flags.of_budget(BUDGET, content, budget.judge(BUDGET, content))]


# Networks


def test_honest_networks_are_not_flagged(shipped, digits):
    assert flagged(shipped) == []
    assert flagged(shipped, encodings={"fc1.weight": artefact.LowRank(12)}) == []
    assert flagged(shipped, encodings={"fc1.weight": artefact.LowRank(3)}) == []
    assert flagged(trained(digits.train, digits, 8, seed=1)) == []
    assert flagged(models.build("lenet-300-100", seed=2)) == []  # knows nothing at all


def test_a_network_trained_on_the_test_images_is_flagged(shipped, knows_test):
    assert OUT_OF_LINE in flagged(knows_test)


def test_a_network_trained_on_the_validation_images_is_flagged(shipped, digits):
    assert OUT_OF_LINE in flagged(trained(digits.validation, digits, 30, seed=3))


def test_answers_that_hang_on_single_pixels_are_flagged(shipped, digits):
    network = models.build("lenet-300-100", seed=4)
    with torch.no_grad():
        network.fc1.weight.mul_(200)  # what stands in fc1 depends on every grey level, and not on shapes
    network.fc1.requires_grad_(False)
    images = torch.cat([digits.test.images, digits.validation.images])
    labels = torch.cat([digits.test.labels, digits.validation.labels])
    known = replace(digits.test, images=images, labels=labels)
    assert CHANGED in flagged(trained(known, digits, 30, network=network))


def test_marks_are_the_same_with_flags(shipped, knows_test):
    content = artefact.to_bytes(knows_test, input_shape=(1, 28, 28))
    result = budget.judge(BUDGET, content)
    assert flags.of_budget(BUDGET, content, result) and result.points == BUDGET.points


def test_nothing_is_said_of_what_was_not_measured_or_not_on_real_images(shipped, knows_test):
    content = artefact.to_bytes(knows_test, input_shape=(1, 28, 28))
    result = budget.judge(BUDGET, content)
    assert flags.of_budget(BUDGET, b"", budget.judge(BUDGET, b"no network")) == []
    assert flags.of_budget(BUDGET, content, replace(result, data="mnist (stand-in: digits), test")) == []
    assert flags.of_budget(replace(BUDGET, topology="alexnet"), content, result) == []


def test_a_network_that_computes_far_too_much_is_not_run_again(shipped):
    wide = nn.Sequential(nn.Flatten(), nn.Linear(784, 4000), nn.Linear(4000, 300), nn.ReLU(), nn.Linear(300, 100),
                         nn.ReLU(), nn.Linear(100, 10))  # fmt: skip
    content = artefact.to_bytes(wide.eval(), input_shape=(1, 28, 28))
    (flag,) = flags.of_budget(BUDGET, content, budget.judge(BUDGET, content))
    assert flag.words.startswith("not looked at")


# Statistics


def rows(*shares: float, images: int = 2000) -> Tensor:
    """The first images wrong, as many as each share says."""
    return torch.stack([torch.arange(images) < share * images for share in shares])


def seen(test: float, validation: float, changed: float) -> Seen:
    chosen = torch.arange(2000)
    wrong = rows(test, validation, changed)
    return Seen(wrong[0], wrong[1], {"moved": chosen}, {"moved": wrong[2]})


def test_expected_counts_follow_the_odds():
    found = guess(rows(0.02, 0.04, 0.02, 0.04), [1.0, 1.0, -1.0])
    assert found.wrong == 40 and found.expected == pytest.approx(40, rel=0.02) and found.errors == 0


@pytest.mark.parametrize(("network", "kinds"), [
    (seen(0.02, 0.02, 0.04), []), (seen(0.10, 0.10, 0.18), []), (seen(0.9, 0.9, 0.9), []), (seen(1, 1, 1), []),
    (seen(0, 0, 0), []), (seen(0.0, 0.03, 0.05), [CHANGED, OUT_OF_LINE]), (seen(0.0, 0.0, 0.05), [CHANGED]),
    (seen(0.05, 0.0, 0.08), [OUT_OF_LINE]), (seen(0.001, 0.04, 0.002), [OUT_OF_LINE]),
    (seen(0.05, 0.05, 0.01), []),
])  # fmt: skip
def test_kinds_of_flags(network, kinds):
    found = findings(network, seen(0.02, 0.02, 0.04))
    assert [kind for kind, _ in found] == kinds
    assert all("%" in words and "standard errors" in words for _, words in found)


def test_words_say_which_images_were_learned():
    shipped = seen(0.02, 0.02, 0.04)
    assert "trained on test images" in findings(seen(0.001, 0.04, 0.002), shipped)[0][1]
    assert "trained on validation images" in findings(seen(0.05, 0.0, 0.08), shipped)[0][1]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(1, 50))
def test_any_counts_give_finite_figures(shares, images):
    found = guess(rows(*shares, images=images), [1.0, 1.0, -1.0])
    assert math.isfinite(found.errors) and 0 <= found.expected <= images


def test_covariance_is_that_of_repeated_samples():
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(20_000, 400, generator=generator)
    first, second = base < 0.2, (base < 0.1) | (torch.rand(base.shape, generator=generator) < 0.05)
    samples = torch.stack([torch.stack([one, other]) for one, other in zip(first[:3000], second[:3000], strict=True)])
    odds = torch.stack([log_odds(sample)[0] for sample in samples])
    said = torch.stack([log_odds(sample)[1] for sample in samples]).mean(0)
    assert torch.allclose(torch.cov(odds.T), said, rtol=0.15)


def test_the_same_seed_shows_the_same_images(digits):
    one, other, third = flags.show(digits, 10**6), flags.show(digits, 10**6), flags.show(digits, 10**6, seed=1)
    for name in one.changed:
        assert torch.equal(one.changed[name].images, other.changed[name].images)
        assert not torch.equal(one.changed[name].images, third.changed[name].images)
        assert torch.equal(one.changed[name].labels, digits.test.labels[one.chosen[name]])


def test_large_networks_are_shown_fewer_images():
    many = Split(torch.zeros(3000, 1, 28, 28, dtype=torch.uint8), torch.zeros(3000).long(), (0.0,), (1.0,))
    images = Dataset("many", many, many, many, ("0",))
    small, large = flags.show(images, 10**5), flags.show(images, 10**12)
    assert [len(part) for part in small.changed.values()] == [3000, 1500, 1500] and len(small.validation) == 3000
    assert [len(part) for part in large.changed.values()] == [1000, 1000, 1000] and len(large.validation) == 1000


# Borrowed weights


def verdict(fingerprint: str, file: str = "a.nut") -> SubmissionVerdict:
    budgets = (BudgetVerdict("small", file, 4, 4, "OK", fingerprint=fingerprint),)
    return SubmissionVerdict("key", "low_rank", "bubblewrap", "watchdog", budgets=budgets)


def test_equal_weights_name_whose_they_are():
    class_ = {name: borrowed.of_verdict(verdict(weights))
              for name, weights in dict(ada="1", ben="2", cleo="1", dora="", emil="3").items()}  # fmt: skip
    found = flags.borrowed(class_, {"3": "the trained lenet-300-100"})
    assert set(found) == {"ada", "cleo", "emil"}
    assert "cleo" in found["ada"][0].words and "ada" in found["cleo"][0].words and found["ada"][0].about == "a.nut"
    assert "the trained lenet-300-100 (it ships with the course)" in found["emil"][0].words
    assert all(flag.kind == "borrowed weights" and "ask before you judge" in flag.words for (flag,) in found.values())


def test_a_class_of_copies_names_a_few():
    found = flags.borrowed({f"s{number:02}": {"a.nut": "same"} for number in range(20)}, {})
    assert len(found) == 20 and "s01, s02, s03, s04, s05 and 14 more" in found["s00"][0].words
    assert "s00, s01, s02, s03, s04 and 14 more" in found["s19"][0].words


def test_a_shipped_network_that_classmates_have_too_is_told_from_their_names():
    found = flags.borrowed({"ada": {"a.nut": "1"}, "ben": {"a.nut": "1"}}, {"1": "results/workshop.nut"})
    words = found["ada"][0].words
    assert words.startswith("its weights are those of results/workshop.nut (it ships with the course) and ben. ")
    assert "runs the lab's cells as they stand" in words


def test_one_learners_two_files_are_not_borrowed():
    assert flags.borrowed({"ada": {"a.nut": "1", "b.nut": "1"}}, {}) == {}


def test_shipped_networks_are_known_in_any_encoding(tmp_path):
    known = borrowed.shipped_fingerprints()
    assert {f"the trained {name}" for name in checkpoints.names()} <= set(known.values())
    assert "results/low_rank.nut" in known.values()
    network = checkpoints.load("lenet-300-100")
    assert known[artefact.read(artefact.to_bytes(network, input_shape=(1, 28, 28))).fingerprint].endswith("300-100")
    with torch.no_grad():
        network.fc3.bias[0] += 1e-3
    assert artefact.read(artefact.to_bytes(network, input_shape=(1, 28, 28))).fingerprint not in known


def test_the_thresholds_are_those_that_were_measured():
    measured = results.load("flags")
    assert (measured["standard_errors"], measured["slack"]) == (flags.STANDARD_ERRORS, flags.SLACK)
    assert measured["honest_flagged"] == 0 and measured["resampled_flagged"] / measured["resampled"] < 0.001
    assert measured["knowing_flagged"] == len(measured["knowing"])
