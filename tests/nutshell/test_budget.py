"""Budgets fall in straight lines, and only a compressed form of the network asked for gets any."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, budget, models
from nutshell.budget import METRICS, check_limit, judge, share_left
from nutshell.checks import Budget, Limit
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import Refused, WrongUse


def images(count: int) -> Split:
    return Split(torch.zeros(count, 1, 28, 28, dtype=torch.uint8), torch.arange(count) % 10, (0.0,), (1.0,))


BLANK = Dataset("blank", images(10), images(20), images(200), tuple("0123456789"))  # every network has 10 % right


@pytest.fixture(autouse=True)
def blank_data(monkeypatch):
    monkeypatch.setattr("nutshell.data.load", lambda name: BLANK)
    monkeypatch.setattr(budget, "_dense_errors", {})
    monkeypatch.setattr(budget, "_kept", {})


def of(*limits: Limit, topology: str = "lenet-300-100", points: float = 10) -> Budget:
    return Budget("nut", points, "a.nut", "mnist", topology, limits)


@pytest.fixture
def compressed(tmp_path):
    artefact.save(models.build("lenet-300-100"), tmp_path / "a.nut", input_shape=(1, 28, 28),
                  encodings={"fc1.weight": artefact.LowRank(40)})  # fmt: skip
    return tmp_path / "a.nut"


# Shares


@pytest.mark.parametrize(("limit", "value", "share"), [
    (Limit("bytes", 1000), 0, 1), (Limit("bytes", 1000), 1000, 1), (Limit("bytes", 1000), 1050, 0.5),
    (Limit("bytes", 1000), 1100, 0), (Limit("bytes", 1000), 10**9, 0), (Limit("bytes", 1000, margin=4000), 2000, 0.75),
    (Limit("error_percent", 2.0), 2.25, 0.5), (Limit("error_percent", 2.0), 2.5, 0),
    (Limit("points_lost", 0.5), 0.75, 0.5),
    (Limit("points_lost", 0.5), -3.0, 1), (Limit("macs", 100, margin=0), 100, 1),
    (Limit("macs", 100, margin=0), 101, 0),
    (Limit("error_percent", 2.0), float("nan"), 0), (Limit("bytes", 10), float("inf"), 0), (Limit("bytes", 0), 1, 0),
])  # fmt: skip
def test_full_marks_at_the_limit_falling_in_a_straight_line(limit, value, share):
    assert share_left(value, limit) == pytest.approx(share)


@given(st.sampled_from([name for name in METRICS if not METRICS[name].by_layer]), st.floats(0, 1e9),
       st.floats(0, 1e9), st.floats(0, 1e9))  # fmt: skip
def test_more_is_never_better(metric, at_most, one, other):
    limit = Limit(metric, at_most)
    assert 0 <= share_left(max(one, other), limit) <= share_left(min(one, other), limit) <= 1


@pytest.mark.parametrize(("arguments", "words"), [
    (dict(metric="byts", at_most=3), "Did you mean 'bytes'"), (dict(metric="accuracy", at_most=3), "can't limit"),
    (dict(metric="layer_bytes", at_most=3), "give the number of a layer"),
    (dict(metric="layer_bytes", at_most=3, layer=0), "give the number of a layer"),
    (dict(metric="bytes", at_most=3, layer=1), "whole network"), (dict(metric="bytes", at_most=-1), "negative"),
    (dict(metric="bytes", at_most=float("nan")), "number"), (dict(metric="bytes", at_most=1, margin=-1), "negative"),
])  # fmt: skip
def test_a_limit_that_makes_no_sense_is_an_error_when_it_is_written(arguments, words):
    with pytest.raises(WrongUse, match=words):
        Limit(**arguments)


def test_a_changed_metric_is_an_error_when_it_is_judged(compressed):
    limit = Limit("bytes", 1)
    object.__setattr__(limit, "metric", "byts")
    with pytest.raises(WrongUse):
        check_limit(limit)
    with pytest.raises(WrongUse):
        judge(of(limit), compressed)


# Judging


def test_every_metric_is_measured(compressed):
    limits = (Limit("bytes", 10**6), Limit("params", 10**6), Limit("nonzero", 10**6), Limit("macs", 10**6),
              Limit("energy_uj", 10**6), Limit("energy_per_hit", 10**7), Limit("error_percent", 95),
              Limit("points_lost", 1), Limit("layer_bytes", 10**6, layer=1),
              Limit("layer_params", 10**6, layer=1), Limit("layer_magnitudes", 10**6, layer=1))  # fmt: skip
    assert {limit.metric for limit in limits} == set(METRICS)
    result = judge(of(*limits), compressed)
    values = {row.metric: row.value for row in result.rows}
    assert values["bytes"] == compressed.stat().st_size
    assert values["macs"] == 40 * 1084 + 31_000 and values["params"] == values["macs"] + 410
    assert values["error_percent"] == 90 and values["points_lost"] == 0
    assert values["layer_bytes of layer 1"] == 4 * (40 * 1084 + 300)
    assert values["layer_params of layer 1"] == 40 * 1084 + 300
    assert 700 < values["layer_magnitudes of layer 1"] <= 784
    assert values["energy_per_hit"] == pytest.approx(values["energy_uj"] / 0.1)
    assert result.points == 10 and result.share == 1 and result.data == "blank, test" and not result.reason


def test_the_smallest_share_counts(compressed):
    bytes_of_layer = 4 * (40 * 1084 + 300)
    result = judge(of(Limit("layer_bytes", bytes_of_layer - 1000, margin=4000, layer=1),
                      Limit("error_percent", 89.9), Limit("bytes", 10**6)), compressed)  # fmt: skip
    assert [round(row.share, 9) for row in result.rows] == [0.75, 0.8, 1]
    assert result.points == pytest.approx(7.5)
    assert [row.ends_at for row in result.rows[1:]] == [90.4, 1_100_000]


def test_validation_is_the_desk_and_test_the_grading(compressed):
    assert judge(of(Limit("error_percent", 95)), compressed, "validation").data == "blank, validation"


def test_points_are_lost_against_the_shipped_network_on_the_same_images(compressed, monkeypatch):
    perfect = models.build("lenet-300-100")
    monkeypatch.setattr("nutshell.training.evaluate", lambda network, part: (0.0, 89.6))
    monkeypatch.setattr("nutshell.checkpoints.load", lambda name: perfect)
    (row,) = judge(of(Limit("points_lost", 0.2)), compressed).rows
    assert row.value == 0.4 and row.share == pytest.approx(0.6)


def test_factors_written_as_two_layers_are_one_layer(tmp_path):
    network = models.build("lenet-300-100")
    network.fc1 = nn.Sequential(nn.Linear(784, 5, bias=False), nn.Linear(5, 300))
    artefact.save(network, tmp_path / "a.nut", input_shape=(1, 28, 28))
    both = of(Limit("layer_bytes", 9999, layer=1), Limit("layer_bytes", 9999, layer=2))
    one, two = judge(both, tmp_path / "a.nut").rows
    assert one.value == 4 * (5 * 1084 + 300) and two.value == 4 * 30_100


@pytest.mark.parametrize(("sizes", "rate", "refused"), [
    ((784, 70, 61, 10), 4, ""), ((784, 1, 1, 10), 4, ""), ((784, 300, 100, 10), 4, "over"), ((784, 83, 10), 4, "isn't"),
    ((784, 301, 10, 10), 1, "isn't"), ((784, 60, 101, 10), 1, "isn't"), ((784, 60, 40, 20, 10), 4, "isn't"),
])  # fmt: skip
def test_neurons_may_go_where_the_budget_says_so_and_nowhere_else(tmp_path, sizes, rate, refused):
    artefact.save(models.build("mlp", sizes=sizes), tmp_path / "a.nut", input_shape=(1, 28, 28))
    small = Budget("small", 10, "a.nut", "mnist", "lenet-300-100", (Limit("params", 266_610 / rate),), shrunk=True)
    result = judge(small, tmp_path / "a.nut")
    assert ("isn't lenet-300-100" in result.reason) == (refused == "isn't")
    assert ("Layers may be narrower" in result.reason) == (refused == "isn't")
    assert result.points == (0 if refused else 10)
    strict = judge(of(Limit("params", 10**9)), tmp_path / "a.nut")
    assert bool(strict.reason) == (sizes != (784, 300, 100, 10))


@pytest.mark.parametrize("other", ["lenet-5-caffe", "lenet-5"])
def test_a_narrow_network_of_another_kind_stays_another_network(tmp_path, other):
    artefact.save(models.build(other), tmp_path / "a.nut", input_shape=(1, 28, 28))
    small = Budget("small", 10, "a.nut", "mnist", "lenet-300-100", (Limit("params", 10**9),), shrunk=True)
    assert "isn't lenet-300-100" in judge(small, tmp_path / "a.nut").reason


def test_fewer_inputs_or_classes_are_refused_where_neurons_may_go(tmp_path):
    small = Budget("small", 10, "a.nut", "mnist", "lenet-300-100", (Limit("params", 10**9),), shrunk=True)
    pooled = models.build("mlp", sizes=(196, 60, 40, 10))
    pooled.flatten = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    for network in (pooled, models.build("mlp", sizes=(784, 60, 40, 9))):
        artefact.save(network, tmp_path / "a.nut", input_shape=(1, 28, 28))
        assert "isn't lenet-300-100" in judge(small, tmp_path / "a.nut").reason


def test_any_network_with_the_same_images_and_classes_where_the_budget_says_so(tmp_path):
    def verdict(network: nn.Module, input_shape=(1, 28, 28)):
        artefact.save(network, tmp_path / "a.nut", input_shape=input_shape)
        limits = (Limit("macs", 300_000),)
        return judge(Budget("own", 10, "a.nut", "mnist", "lenet-300-100", limits, any_network=True), tmp_path / "a.nut")

    assert verdict(models.build("mlp", sizes=(784, 80, 10))).points == 10
    cnn = verdict(models.build("lenet-5-caffe"))
    assert not cnn.reason and cnn.points == 0 and cnn.rows[0].value == 2_293_000
    assert "[9]; needed are [1, 28, 28] and [10]" in verdict(models.build("mlp", sizes=(784, 20, 9))).reason
    assert "shape [784]" in verdict(nn.Linear(784, 10), (784,)).reason
    with pytest.raises(WrongUse, match="layers differ"):
        judge(Budget("own", 10, "a.nut", "mnist", "lenet-300-100", (Limit("layer_bytes", 10, layer=1),),
                     any_network=True), tmp_path / "a.nut")  # fmt: skip


@pytest.mark.parametrize("name", ["lenet-5", "lenet-5-caffe"])
def test_a_small_cnn_sold_as_lenet_300_100_is_refused(tmp_path, name):
    artefact.save(models.build(name), tmp_path / "a.nut", input_shape=(1, 28, 28))
    result = judge(of(Limit("bytes", 10**9)), tmp_path / "a.nut")
    assert result.points == 0 and result.rows == ()
    assert "isn't lenet-300-100" in result.reason and "conv2d" in result.reason and "linear 784→300" in result.reason


@pytest.mark.parametrize("make", [
    lambda path: None, lambda path: path.write_bytes(b"NUT1 and no more"), lambda path: path.mkdir(),
    lambda path: path.write_bytes(b"\x80\x04pickle"),
], ids=["missing", "damaged", "a folder", "a pickle"])  # fmt: skip
def test_a_bad_file_earns_nothing_and_says_why(tmp_path, make):
    make(tmp_path / "a.nut")
    result = judge(of(Limit("bytes", 10**9)), tmp_path / "a.nut")
    assert result.points == 0 and "a.nut" in result.reason and result.measurement is None


def test_data_that_are_broken_are_not_the_learners_fault(compressed, monkeypatch):
    def broken(name):
        raise Refused("the copy is damaged")

    monkeypatch.setattr("nutshell.data.load", broken)
    with pytest.raises(Refused, match="the copy is damaged"):
        judge(of(Limit("bytes", 10**9)), compressed)


def test_data_are_read_once_as_long_as_their_files_stay(compressed, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("nutshell.data.load", lambda name: asked.append(name) or BLANK)
    first = judge(of(Limit("bytes", 10**9)), compressed)
    again = judge(of(Limit("bytes", 10**9)), compressed)
    assert asked == ["mnist"] and first == again and first.measurement.accuracy == 0.1
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"other")
    monkeypatch.setenv("NUTSHELL_DATA", str(tmp_path))
    judge(of(Limit("bytes", 10**9)), compressed)
    assert asked == ["mnist", "mnist"]


@pytest.mark.parametrize("wrong", [of(Limit("bytes", 1), topology="lenet"), of(Limit("layer_bytes", 1, layer=4))])
def test_a_budget_on_what_does_not_exist_is_wrong_use(compressed, wrong):
    with pytest.raises(WrongUse):
        judge(wrong, compressed)


def test_the_same_weights_have_the_same_fingerprint(tmp_path, compressed):
    found = artefact.load(compressed)
    factored = nn.Sequential(*found.network.children())  # other names, dense factors, other bytes
    artefact.save(factored, tmp_path / "b.nut", input_shape=(1, 28, 28))
    limit = Limit("bytes", 10**9)
    one, other = judge(of(limit), compressed), judge(of(limit), tmp_path / "b.nut")
    assert one.fingerprint == other.fingerprint != ""
    with torch.no_grad():
        found.network.fc3.bias[0] += 1
    artefact.save(found.network, tmp_path / "c.nut", input_shape=(1, 28, 28))
    assert judge(of(limit), tmp_path / "c.nut").fingerprint != one.fingerprint


def test_results_are_shown_and_escaped(compressed):
    result = judge(of(Limit("layer_bytes", 10**6, layer=1)), compressed)
    assert "bytes of layer 1" in str(result) and "layer_bytes" not in str(result) and "100 %" in str(result)
    assert "10 of 10" in str(result) and "✓ within the limit" in str(result) and budget.STAND_IN not in str(result)
    markup = result._repr_html_()
    assert "<table><caption>nut: 10 of 10 points" in markup and '<th scope="row">bytes of layer 1</th>' in markup
    refused = budget.BudgetResult("nut", 0, 10, reason="<script>")
    assert "<script>" not in refused._repr_html_() and "&lt;script&gt;" in refused._repr_html_()


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_a_missed_limit_says_what_to_do_and_points_have_two_decimals(metric):
    limit = Limit(metric, 1, margin=2, layer=1 if METRICS[metric].by_layer else None)
    row = budget._row(limit, 2.1)
    result = budget.BudgetResult("nut", 2.31847, 4, (row, budget._row(limit, 9)), data="<mnist>, test")
    assert "2.32 of 4 points" in str(result) and "{" not in str(result) and "_" not in str(result)
    assert "✗ over the limit, some marks" in str(result) and "✗ over the limit, no marks" in str(result)
    for shown in (str(result), result._repr_html_()):
        assert METRICS[metric].over in shown
    assert "<mnist>" not in result._repr_html_() and budget._row(limit, 1).advice == ""


def test_a_stand_in_is_said_in_the_result():
    row = budget._row(Limit("bytes", 10), 1)
    result = budget.BudgetResult("nut", 4, 4, (row,), data="mnist (stand-in: scikit-learn's digits), test")
    for shown in (str(result), result._repr_html_()):
        assert budget.STAND_IN[1:] in shown
