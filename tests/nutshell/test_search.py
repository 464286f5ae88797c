"""The search engine: spaces and their costs, caps, strategies asked and told, budgets, journals, volumes, front end.

Trainings are looked up in a made-up table here, so nothing has to be trained but two tiny networks.
"""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nutshell import meter, search
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import WrongUse
from nutshell.search import LARGE, SMALL, Cap, Outcome, Trial
from nutshell.search.caps import score
from nutshell.search.latency import LatencyTable, milliseconds, operations_of
from nutshell.search.trainer import RECIPE, Trainer, epochs

SPACES = pytest.mark.parametrize("space", [SMALL, LARGE], ids=lambda space: space.name)
ALL = {"random": search.RandomSearch, "evolution": search.AgeingEvolution, "reinforcement": search.Reinforce,
       "halving": search.SuccessiveHalving, "tpe": search.Tpe}  # fmt: skip


class MadeUp:
    """Answers with an error that falls with the epochs and depends on the options; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def evaluate(self, architecture: Mapping[str, object], epochs_in_all: int) -> dict[str, float]:
        number = SMALL.number(architecture)  # type: ignore[arg-type]
        self.asked.append((number, epochs_in_all))
        return {"error_percent": error_of(number) + 8.0 / epochs_in_all, "seconds": 1.0}


def error_of(number: int) -> float:
    """Lower where more options are late ones, so that there is something to climb."""
    return 20.0 - sum(SMALL.decode(number)[name] == options[-1] for name, options in SMALL.decisions.items())


@SPACES
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_place_and_its_architecture_are_each_others_inverse(space, data):
    number = data.draw(st.integers(0, space.size - 1))
    assert space.number(space.decode(number)) == number


@SPACES
def test_costs_added_up_over_operations_are_those_of_the_whole_network(space):
    for number in random.Random(1).sample(range(space.size), 8):
        architecture = space.decode(number)
        network = space.build(architecture, folded=True).eval()
        total = meter.count(network, (1, 1, 28, 28)).total
        assert space.parameters_and_macs(architecture) == (total.parameters, total.macs)


def test_costs_follow_the_formulas_of_the_layers():
    plain = {"first": 8, "second": 16, "a": "none", "b": "plain", "c": "none"}
    parameters = (9 * 8 + 8) + (9 * 8 * 16 + 16) + (16 * 10 + 10)
    macs = 49 * 9 * 8 + 9 * (9 * 8 * 16) + 160
    assert SMALL.parameters_and_macs(plain) == (parameters, macs)


def test_none_before_a_block_is_the_same_network_as_none_behind_it():
    one, other = ({"first": 8, "second": 16, "a": "none", "b": b, "c": c} for b, c in (("fire", "none"),
                                                                                      ("none", "fire")))
    assert SMALL.blocks(one) == SMALL.blocks(other) and SMALL.number(one) != SMALL.number(other)
    assert len({SMALL.blocks(SMALL.decode(number)) for number in range(SMALL.size)}) == 300


@pytest.mark.parametrize("wrong", [
    {}, {"first": 8}, SMALL.decode(0) | {"d": "none"}, SMALL.decode(0) | {"a": "inception"},
    SMALL.decode(0) | {"first": 9},
])  # fmt: skip
def test_what_is_not_in_a_space_is_refused(wrong):
    with pytest.raises(WrongUse):
        SMALL.blocks(wrong)


@pytest.mark.parametrize("number", [-1, 384])
def test_places_outside_are_refused(number):
    with pytest.raises(WrongUse, match="places"):
        SMALL.decode(number)


def test_building_leaves_the_global_random_state_and_depends_on_the_seed_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (SMALL.build(SMALL.decode(200), seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize("name", ALL)
def test_a_strategy_asks_within_the_cap_and_within_the_budget_and_repeats_itself_by_its_seed(name):
    cap = Cap(parameters=2500, macs=40_000)

    def searched(seed: int) -> list[Outcome]:
        return search.run(ALL[name](SMALL, cap, seed), MadeUp(), 100, progress=False)

    found = searched(0)
    assert all(one.parameters <= 2500 and one.macs <= 40_000 for one in found)
    assert found[-1].spent <= 100 and found[-1].spent > 100 - 4
    assert found == searched(0) != searched(1)
    assert [one.spent for one in found] == sorted(one.spent for one in found)


@pytest.mark.parametrize("name", ["evolution", "reinforcement", "tpe"])
def test_strategies_that_learn_find_better_networks_than_chance_where_there_is_a_slope(name):
    def mean_best(strategy: str) -> float:
        runs = [search.run(ALL[strategy](SMALL, Cap(), seed), MadeUp(), 200, progress=False) for seed in range(12)]
        return float(np.mean([min(one.error_percent for one in each) for each in runs]))

    assert mean_best(name) < mean_best("random")


def test_a_cap_that_nothing_fits_is_said():
    for name in ("random", "tpe"):
        with pytest.raises(WrongUse, match="Raise"):
            ALL[name](SMALL, Cap(parameters=3)).ask()


def test_the_oldest_member_dies_even_if_it_is_the_best():
    strategy = search.AgeingEvolution(SMALL, Cap(), 0, population=3, tournament=3)
    best = strategy.ask()
    strategy.tell(best, 0.01)
    for _ in range(3):
        strategy.tell(strategy.ask(), 50.0)
    assert best.architecture not in [member for member, _ in strategy.members]


def test_a_child_differs_from_its_parent_in_one_decision():
    strategy = search.AgeingEvolution(SMALL, Cap(), 0, population=4, tournament=4)
    for error in (9.0, 8.0, 1.0, 7.0):
        trial = strategy.ask()
        strategy.tell(trial, error)
        if error == 1.0:
            parent = trial.architecture
    child = strategy.ask().architecture
    assert sum(child[name] != parent[name] for name in child) == 1


def test_founders_come_first_and_those_above_the_cap_never():
    large = {"first": 24, "second": 32, "a": "plain", "b": "plain", "c": "plain"}
    strategy = search.AgeingEvolution(SMALL, Cap(macs=50_000), founders=[large, SMALL.decode(5)], population=3)
    assert strategy.ask().architecture == SMALL.decode(5) and strategy.ask().architecture != large


def test_reinforcement_moves_its_chances_to_what_scored_well_and_keeps_them_chances():
    strategy = search.Reinforce(SMALL, Cap(), 0)
    for number, error in ((0, 10.0), (383, 1.0)):
        strategy.tell(Trial(SMALL.decode(number), 4), error)
    for name in SMALL.decisions:
        chances = strategy.chances(name)
        assert chances.sum() == pytest.approx(1) and chances[-1] == chances.max()


def test_halving_trains_half_of_them_on_and_pays_only_the_epochs_more():
    answers = MadeUp()
    found = search.run(search.SuccessiveHalving(SMALL, Cap(), 0, first=8), answers, 8 + 4 + 4, progress=False)
    rounds = [[one for one in found if one.epochs == each] for each in (1, 2, 4)]
    assert list(map(len, rounds)) == [8, 4, 2] and found[-1].spent == 16
    best = sorted(rounds[0], key=lambda one: one.error_percent)[:4]
    assert {one.error_percent - 4 for one in best} >= {one.error_percent for one in rounds[1]}


def test_shared_weights_pay_first_and_then_ask_for_the_best_at_a_glance():
    strategy = search.SharedWeights(SMALL, Cap(), 0, glance=lambda one: float(SMALL.number(one)), training=20,
                                    candidates=50, each=0.1)  # fmt: skip
    candidates = len(strategy.glances)
    assert strategy.spent == pytest.approx(20 + 0.1 * candidates)
    answers = MadeUp()
    search.run(strategy, answers, 40, progress=False)
    numbers = [number for number, _ in answers.asked]
    assert numbers == sorted(numbers) and len(numbers) == (40 - 20 - 0.1 * candidates) // 4


def test_a_range_of_weights_finds_cheaper_networks_too():
    def cheapest(weight) -> float:
        runs = [search.run(search.AgeingEvolution(SMALL, Cap(), seed, weight=weight), MadeUp(), 160, progress=False)
                for seed in range(5)]
        return float(np.mean([min(one.macs for one in each) for each in runs]))

    assert cheapest((0.0, 1.0)) < cheapest(0.0)


@given(st.floats(0.01, 100), st.floats(1, 1e9), st.floats(0, 2), st.floats(1.1, 10))
def test_a_score_falls_with_error_and_price_and_a_new_unit_of_price_moves_all_alike(error, price, weight, factor):
    assert score(error * factor, price, weight) < score(error, price, weight)
    assert score(error, price * factor, weight) <= score(error, price, weight)
    shift = score(error, price * factor, weight) - score(error, price, weight)
    assert shift == pytest.approx(-weight * math.log(factor), abs=1e-6)


@pytest.mark.parametrize("name", ["evolution", "halving", "tpe"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(name, tmp_path):
    def strategy():
        return ALL[name](SMALL, Cap(macs=60_000), 4)

    whole = search.run(strategy(), MadeUp(), 120, progress=False)
    journal = tmp_path / "journal.jsonl"
    search.run(strategy(), MadeUp(), 50, journal=journal, progress=False)
    journal.write_text(journal.read_text() + '{"12:4": {"error_per')  # cut off in the middle of a line
    answers = MadeUp()
    assert search.run(strategy(), answers, 120, journal=journal, progress=False) == whole
    again = MadeUp()
    assert search.run(strategy(), again, 120, journal=journal, progress=False) == whole
    assert 0 < len(answers.asked) < len(whole) and again.asked == []


def test_the_journal_of_another_search_is_refused(tmp_path):
    journal = tmp_path / "journal.jsonl"
    search.run(search.RandomSearch(SMALL, Cap()), MadeUp(), 8, journal=journal, progress=False)
    with pytest.raises(WrongUse, match="another search"):
        search.run(search.RandomSearch(SMALL, Cap(macs=9000)), MadeUp(), 8, journal=journal, progress=False)


def test_a_search_with_nothing_new_to_ask_ends():
    found = search.run(search.RandomSearch(SMALL, Cap(parameters=400), 0), MadeUp(), 1e6, progress=False)
    assert 0 < len(found) < 60 and len({SMALL.blocks(one.architecture) for one in found}) == len(found)


def test_no_trial_begins_when_time_is_up():
    assert search.run(search.RandomSearch(SMALL, Cap()), MadeUp(), 100, time_limit=-1, progress=False) == []


def point(macs: int, error: float) -> Outcome:
    return Outcome({}, 4, error, 0, macs, 0.0, 0.0)


@given(st.lists(st.tuples(st.integers(1, 1200), st.floats(0, 12)), max_size=12))
def test_the_volume_is_that_of_a_sum_over_a_fine_grid(pairs):
    found = search.volume([point(*each) for each in pairs], 1000, 10.0)
    edges = sorted({1000.0, *(float(macs) for macs, _ in pairs if macs < 1000)})
    expected = 0.0
    for low, high in itertools.pairwise(edges):  # between two prices the best error so far is constant
        best = min((error for macs, error in pairs if macs <= low), default=10.0)
        expected += math.log2(high / low) * max(0.0, 10.0 - best)
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_dominated_network_adds_no_volume_and_a_better_one_adds_some():
    first = [point(500, 5.0), point(250, 8.0)]
    volume = search.volume(first, 1000, 10.0)
    assert search.volume([*first, point(600, 6.0), point(500, 5.0)], 1000, 10.0) == volume
    assert search.volume([*first, point(100, 9.0)], 1000, 10.0) > volume
    assert search.volume([point(2000, 1.0), point(10, 11.0)], 1000, 10.0) == search.volume([], 1000, 10.0) == 0


def test_an_interval_holds_the_mean_and_narrows_with_more_seeds():
    few, many = ([float(each % 5) for each in range(count)] for count in (5, 200))
    one, other = search.interval(few), search.interval(many)
    assert one["low"] < one["mean"] < one["high"] and other["high"] - other["low"] < one["high"] - one["low"]
    assert search.interval([7.0]) == {"mean": 7.0, "low": 7.0, "high": 7.0}


@SPACES
def test_the_latency_table_that_ships_knows_every_operation_of_a_space(space):
    table = search.latency_table()
    assert set(operations_of(space)) <= set(table.times) and all(each > 0 for each in table.times.values())
    architecture = space.decode(space.size - 1)
    assert table(space, architecture) == pytest.approx(sum(table.times[one] for one in space.operations(architecture)))


def test_every_operation_is_found_whatever_is_drawn():
    for space in (SMALL, LARGE):
        known = set(operations_of(space))
        for number in random.Random(0).sample(range(space.size), 200 if space is SMALL else 1000):
            assert set(space.operations(space.decode(number))) <= known


def test_times_are_measured_saved_and_read_back(tmp_path):
    operations = operations_of(SMALL)[:2]
    table = LatencyTable.measure(operations, "a test", seconds=0.001, rounds=1)
    table.save(tmp_path / "table.json")
    again = LatencyTable.load(tmp_path / "table.json")
    assert again.machine == "a test" and again.times == pytest.approx(table.times, abs=1e-5)


def test_timing_uses_one_thread_and_gives_the_others_back():
    threads = torch.get_num_threads()
    seen = []

    class Looks(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return x

    try:
        torch.set_num_threads(2)
        milliseconds([Looks()], [torch.zeros(1)], seconds=0.0001, rounds=1)
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_larger_product_takes_longer():
    networks = [torch.nn.Linear(size, size).eval() for size in (8, 1500)]
    small, large = milliseconds(networks, [torch.zeros(1, 8), torch.zeros(1, 1500)], seconds=0.005, rounds=3)
    assert 0 < small < large


def images(count: int = 120, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright squares on the left or on the right: two classes that any network tells apart."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    pixels = generator.integers(0, 60, (count, size, size), dtype=np.uint8)
    for one, label in zip(pixels, labels, strict=True):
        one[4:12, 1 + 8 * label : 7 + 8 * label] = 255
    return pixels, np.array(["left", "right"])[labels]


def dataset() -> Dataset:
    pixels, words = images(160, 28)
    labels = torch.as_tensor((words == "right").astype(np.int64))
    parts = [Split(torch.as_tensor(pixels)[chosen, None], labels[chosen], (0.2,), (0.3,))
             for chosen in (slice(0, 100), slice(100, 160), slice(160, 160))]
    return Dataset("squares", *parts, ("left", "right"))


def test_training_epoch_by_epoch_is_training_at_once():
    architecture, recipe = SMALL.decode(100), replace(RECIPE, epochs=3, batch_size=32, precision="float32")
    steps, at_once = (Trainer(SMALL, dataset(), recipe, images=None) for _ in range(2))
    early = [steps.train(architecture, each).validation_error_percent[-1] for each in (1, 2, 3)]
    late = at_once.train(architecture)
    assert early == late.validation_error_percent and len(late.seconds) == 3
    assert torch.equal(steps.train(architecture).network.classifier.weight, late.network.classifier.weight)
    assert steps.evaluate(architecture, 2)["error_percent"] == early[1]


def test_training_lowers_the_loss():
    trainer = Trainer(SMALL, dataset(), images=None)
    network = SMALL.build(SMALL.decode(383))
    losses = list(epochs(network, trainer.inputs, trainer.labels, replace(RECIPE, epochs=6, batch_size=20)))
    assert losses[-1] < 0.5 * losses[0]


@pytest.fixture(scope="module")
def fitted() -> search.AutoClassifier:
    recipe = replace(RECIPE, epochs=2, batch_size=16)
    model = search.AutoClassifier(max_trials=3, max_model_size=4000, max_macs=90_000, space=SMALL, recipe=recipe)
    return model.fit(*images(), final_epochs=10, progress=False)


def test_the_front_end_learns_what_is_easy_within_its_limits(fitted):
    pixels, labels = images(60, seed=1)
    assert fitted.evaluate(pixels, labels) <= 20 and set(fitted.predict(pixels)) <= {"left", "right"}
    assert fitted.parameters <= 4000 and len(fitted.outcomes) == 3
    assert fitted.predict(pixels[:0]).shape == (0,)


def test_what_it_exports_is_the_network_that_it_predicts_with(fitted):
    pixels, _ = images(40, seed=2)
    part = Split(torch.as_tensor(pixels)[:, None], torch.zeros(40).long(), fitted._mean, fitted._std)
    with torch.no_grad():
        numbers = fitted.export()(part.inputs()).argmax(1)
    assert (fitted.classes[numbers] == fitted.predict(pixels)).all()
    assert sum(each.numel() for each in fitted.export().parameters()) == fitted.parameters


@pytest.mark.parametrize("name", ["random", "halving", "optuna"])
def test_the_front_end_takes_other_strategies(name):
    recipe = replace(RECIPE, epochs=2, batch_size=64)
    model = search.AutoClassifier(max_trials=2, strategy=name, space=SMALL, recipe=recipe, images_per_trial=64)
    outcomes = model.fit(*images(), final_epochs=1, progress=False).outcomes
    assert len(search.finished(outcomes, 2)) == (1 if name == "halving" else 2)
    assert outcomes[-1].spent <= 4


def test_the_front_end_says_what_it_cannot_do():
    pixels, labels = images(20)
    with pytest.raises(WrongUse, match="strategy"):
        search.AutoClassifier(strategy="guess")
    with pytest.raises(WrongUse, match="max_trials"):
        search.AutoClassifier(max_trials=0)
    with pytest.raises(WrongUse, match="uint8"):
        search.AutoClassifier().fit(pixels / 255, labels)
    with pytest.raises(WrongUse, match="labels"):
        search.AutoClassifier().fit(pixels, labels[:3])
    with pytest.raises(WrongUse, match="square"):
        search.AutoClassifier().fit(pixels[:, :9], labels)
    with pytest.raises(WrongUse, match="finished"):
        search.AutoClassifier().fit(pixels, labels, time_limit=-1, progress=False)
    for share in (0, 0.01, 1, 2):
        with pytest.raises(WrongUse, match="validation_share"):
            search.AutoClassifier().fit(pixels, labels, validation_share=share)
    with pytest.raises(WrongUse, match="comes first"):
        search.AutoClassifier().predict(pixels)
