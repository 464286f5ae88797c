"""How the results of unit 12 come about: the shared weights, the searches' comparison, and what is written of them."""

import json

import pytest
import torch
from torch.nn import functional

from nutshell.search import LARGE, SMALL, Benchmark, Outcome
from nutshell.search.trainer import RECIPE
from solutions.architecture_search import experiment, real, searches, supernet, table


def error_of(number: int) -> float:
    """Falls with the parameters, and differs between networks of the same size."""
    parameters, _ = SMALL.parameters_and_macs(SMALL.decode(number))
    return round(20 - parameters**0.25 + number % 7 / 10, 2)


@pytest.fixture(scope="module")
def made_up() -> Benchmark:
    """A benchmark with errors that were made up, of the shape of the one that ships."""
    rows = [[number, [error_of(number) + more for more in (9.0, 5.0, 2.0, 0.0)], error_of(number) + 0.5, 1.0,
             [error_of(number) + number % 3, error_of(number) + 2], error_of(number) if number % 4 else None]
            for number in map(SMALL.number, table.networks())]
    return Benchmark({"space": "small", "data": "made up", "recipe": table.how(), "shared": supernet.how(),
                      "elsewhere": "another", "columns": experiment.COLUMNS, "networks": rows})


def test_every_different_network_is_trained_once_and_in_the_same_order():
    networks = table.networks()
    assert len({SMALL.blocks(one) for one in networks}) == len(networks) == 300
    assert networks == table.networks()


def test_lines_cut_off_while_they_were_written_are_left_out(tmp_path):
    (tmp_path / "table-digits-0-0.jsonl").write_text('{"number": 3}\n{"num')
    (tmp_path / "table-digits-0-1.jsonl").write_text('{"number": 4}\n')
    (tmp_path / "table-digits-1-0.jsonl").write_text('{"number": 5}\n')
    assert [row["number"] for row in table.lines("digits", 0, tmp_path)] == [3, 4]


@pytest.mark.parametrize("space", [SMALL, LARGE], ids=lambda space: space.name)
def test_a_narrow_path_uses_the_first_filters_of_the_wide_one(space):
    torch.manual_seed(0)
    network = supernet.Supernet(space)
    maps = torch.randn(6, network.widths[0], 7, 7)
    for kind in ("plain", "separable"):
        block = network.places["00"][kind]
        narrow, wide = block(maps, 8), block(maps, network.widths[0])
        assert torch.equal(narrow[:, :8], wide[:, :8]) and not narrow[:, 8:].any()


def test_a_path_with_narrow_inputs_is_a_network_of_its_own_with_sliced_weights():
    torch.manual_seed(1)
    unit = supernet.SharedUnit(24, 24, 3)
    maps = supernet.first_channels(torch.randn(5, 24, 7, 7), 8)
    sliced = functional.conv2d(maps[:, :8], unit.conv.weight[:16, :8], padding=1)
    normal = functional.batch_norm(sliced, None, None, unit.norm.weight[:16], unit.norm.bias[:16], True)
    torch.testing.assert_close(unit(maps, 16)[:, :16], normal.relu(), rtol=1e-4, atol=1e-5)


def test_a_narrow_fire_block_is_half_ones_and_half_threes():
    torch.manual_seed(2)
    block = supernet.SharedFire(32)
    squeezed = block.squeeze(torch.randn(4, 32, 3, 3), 4)
    maps = torch.randn(4, 32, 3, 3)
    squeezed = block.squeeze(maps, 4)
    out = block(maps, 16)
    assert not squeezed[:, 4:].any() and not out[:, 16:].any()
    assert torch.equal(out[:, 0:16:2], block.one(squeezed, 8)[:, :8])
    assert torch.equal(out[:, 1:16:2], block.three(squeezed, 8)[:, :8])


@pytest.mark.parametrize("space", [SMALL, LARGE], ids=lambda space: space.name)
def test_every_path_runs_and_only_what_lies_on_it_learns(space):
    network = supernet.Supernet(space)
    for number in range(0, space.size, space.size // 9):
        network.blocks = space.blocks(space.decode(number))
        network.zero_grad()
        network(torch.randn(3, 1, 28, 28)).square().sum().backward()
        kinds = [kind for kind, _ in network.blocks if kind not in ("pool", "down")]
        touched = {name.split(".")[2] for name, weight in network.named_parameters()
                   if name.startswith("places") and weight.grad is not None}
        assert touched == set(kinds)


def test_a_front_is_cheapest_first_and_its_errors_fall():
    points = [(5, 3.0), (2, 9.0), (3, 9.5), (4, 4.0), (4, 5.0), (9, 3.0)]
    outcomes = [Outcome({}, 4, error, 0, macs, 0, 0) for macs, error in points]
    assert searches.front(outcomes) == [[2, 9.0], [4, 4.0], [5, 3.0]]


def test_a_row_of_the_table_compares_at_one_budget(made_up):
    row = searches.row(made_up, "ageing evolution", runs=4)
    assert row["networks"] == searches.BUDGET / RECIPE.epochs and 0 < row["hypervolume"]["mean"] <= 1
    best = min(one.error_percent for one in searches.everything(made_up))
    assert row["best_validation_error_percent"]["low"] >= best
    means = row["trajectory"]["mean"]
    assert means == sorted(means, reverse=True) and len(means) == len(row["trajectory"]["epochs"])


def test_shared_weights_are_charged_before_the_first_network(made_up):
    outcomes = searches.searched(made_up, "shared weights", 0)
    assert outcomes[0].spent > supernet.EPOCHS + RECIPE.epochs and len(outcomes) < searches.BUDGET / RECIPE.epochs


def test_everything_within_the_cap_has_the_whole_volume(made_up):
    assert searches.share(made_up, searches.everything(made_up)) == 1


def test_warm_starts_begin_with_what_was_good_elsewhere(made_up):
    found = searches.warm_start(made_up, known=5, runs=3)
    assert found["founders"] == 5 and found["correlation"] == pytest.approx(1)
    assert found["warm"]["mean"][0] < found["cold"]["mean"][0]


def test_a_price_in_milliseconds_finds_faster_networks(made_up):
    def slow_separables(architecture) -> float:
        return 1.0 + 5 * sum(option == "separable" for option in architecture.values())

    found = searches.hardware_aware(made_up, slow_separables, runs=5)["for"]
    assert found["milliseconds"]["milliseconds"]["mean"] <= found["macs"]["milliseconds"]["mean"]
    assert found["macs"]["macs"]["mean"] <= found["milliseconds"]["macs"]["mean"]


def test_an_incomplete_table_is_not_written(tmp_path):
    (tmp_path / "table-digits-0-0.jsonl").write_text(json.dumps({"number": 0}) + "\n")
    with pytest.raises(Exception, match="299 of 300"):
        experiment.write_table(tmp_path)


def test_of_all_real_searches_the_smallest_error_is_chosen_and_unfinished_ones_are_left_out(tmp_path):
    for name, error in (("random", 4.0), ("ageing evolution", 3.0)):
        outcomes = [vars(Outcome(LARGE.decode(number), epochs, error + number, 9, 99, 4.0, 1.0))
                    for number, epochs in ((0, RECIPE.epochs), (1, RECIPE.epochs), (2, 1))]
        (tmp_path / f"real-{name}.json").write_text(json.dumps({"outcomes": outcomes, "seconds": 60.0}))
    name, one = real.chosen(tmp_path)
    assert name == "ageing evolution" and one.error_percent == 3.0
    rows = real.rows(tmp_path)
    assert [each["networks"] for each in rows["searches"]] == [2, 2] and rows["cpu_minutes"] == 2.0
    assert rows["chosen"]["found_by"] == "ageing evolution" and "file" not in rows["chosen"]
    assert real.rows(tmp_path / "nothing")["searches"] == []
