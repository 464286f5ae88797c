"""The figures of a file are counted and run, never believed."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nutshell import artefact, measure, models
from nutshell.cli import nutshell
from nutshell.data.dataset import Dataset, Split
from nutshell.errors import Refused, WrongUse


def split(labels: list[int]) -> Split:
    """One image a label: a single pixel of brightness ``label``."""
    images = torch.tensor(labels, dtype=torch.uint8).view(-1, 1, 1, 1)
    return Split(images, torch.tensor(labels), (0.0,), (1.0,))


TINY = Dataset("tiny", split([0, 1]), split([0, 1, 1]), split([0, 1, 1, 1]), ("dark", "light"))


def always_light() -> nn.Module:
    """A network that says 1 whatever it sees."""
    layer = nn.Linear(1, 2)
    layer.weight.data.zero_()
    layer.bias.data = torch.tensor([0.0, 1.0])
    return nn.Sequential(nn.Flatten(), layer)


@pytest.fixture
def tiny(tmp_path):
    artefact.save(always_light(), tmp_path / "tiny.nut", input_shape=(1, 1, 1))
    return tmp_path / "tiny.nut"


def test_a_dense_network_is_counted_to_the_digit(tmp_path):
    size = artefact.save(models.build("lenet-300-100"), tmp_path / "a.nut", input_shape=(1, 28, 28))
    measured = measure.measure(tmp_path / "a.nut")
    assert (measured.bytes, measured.params, measured.macs) == (size, 266_610, 266_200)
    assert measured.nonzero == 266_610 and measured.energy_uj > 0
    assert (measured.accuracy, measured.error_percent, measured.data) == (None, None, None)


def test_low_rank_layers_count_what_their_factors_do(tmp_path):
    network = models.build("lenet-300-100")
    artefact.save(network, tmp_path / "a.nut", input_shape=(1, 28, 28), encodings={"fc1.weight": artefact.LowRank(20)})
    measured = measure.measure(tmp_path / "a.nut")
    assert measured.macs == 20 * (784 + 300) + 300 * 100 + 1000
    assert measured.params == measured.macs + 410
    assert dict((row[0], row[3]) for row in measured.tensors)["fc1.weight"] == 4 * 20 * 1084


def test_the_meter_and_the_reader_agree_on_multiply_accumulates(tmp_path):
    for name in ("lenet-5-caffe", "resnet-20", "vgg-small"):
        artefact.save(models.build(name), tmp_path / "a.nut", input_shape=models.INPUT_SHAPES[name])
        assert measure.measure(tmp_path / "a.nut").macs == artefact.load(tmp_path / "a.nut").macs


def test_zeros_are_found(tiny):
    measured = measure.measure(tiny)
    assert (measured.params, measured.nonzero) == (4, 1)


@pytest.mark.parametrize(("part", "accuracy", "error"), [("train", 0.5, 50.0), ("validation", 2 / 3, 100 / 3),
                                                         ("test", 0.75, 25.0)])
def test_accuracy_is_that_of_the_part_asked_for(tiny, part, accuracy, error):
    measured = measure.measure(tiny, TINY, part)
    assert (measured.accuracy, measured.error_percent) == (pytest.approx(accuracy), pytest.approx(error))
    assert measured.data == f"tiny, {part}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_run(tmp_path, dtype):
    artefact.save(always_light().to(dtype), tmp_path / "a.nut", input_shape=(1, 1, 1))
    measured = measure.measure(tmp_path / "a.nut", TINY)
    assert measured.accuracy == 0.75 and measured.energy_uj > 0


def test_a_network_without_weights_is_measured(tmp_path):
    artefact.save(nn.Sequential(nn.ReLU(), nn.Flatten()), tmp_path / "a.nut", input_shape=(2, 1, 1))
    measured = measure.measure(tmp_path / "a.nut")
    assert (measured.params, measured.nonzero, measured.macs) == (0, 0, 0)


def test_outputs_that_are_no_numbers_are_wrong(tmp_path):
    network = always_light().double()
    network[1].weight.data.fill_(1e308)
    network[1].bias.data.fill_(1e308)
    network.append(nn.Linear(2, 2).double())
    network[2].weight.data = torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double() * 2
    artefact.save(network, tmp_path / "a.nut", input_shape=(1, 1, 1))
    assert measure.measure(tmp_path / "a.nut", TINY).accuracy == 0


@pytest.mark.parametrize(("network", "shape", "words"), [
    (nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), (1, 1, 2), "images of shape"),
    (nn.Sequential(nn.Flatten(), nn.Linear(1, 3)), (1, 1, 1), "2 classes"),
    (nn.Conv2d(1, 2, 1), (1, 1, 1), "2 classes"),
])  # fmt: skip
def test_a_network_for_other_data_is_refused(tmp_path, network, shape, words):
    artefact.save(network, tmp_path / "a.nut", input_shape=shape)
    with pytest.raises(Refused, match=words):
        measure.measure(tmp_path / "a.nut", TINY)


def test_a_run_that_would_take_too_long_is_refused(tiny):
    assert measure.measure(tiny, TINY, limits=artefact.Limits(run_macs=8)).accuracy == 0.75
    with pytest.raises(Refused, match="8 multiply-accumulates"):
        measure.measure(tiny, TINY, limits=artefact.Limits(run_macs=7))


def test_batches_are_small_where_values_are_many(tiny, monkeypatch):
    monkeypatch.setattr(measure, "_AT_A_TIME", 1)
    assert measure.measure(tiny, TINY).accuracy == 0.75


def test_parts_are_three(tiny):
    with pytest.raises(WrongUse, match="choose test"):
        measure.measure(tiny, TINY, "tset")


def test_tables_add_up_and_escape():
    measured = measure.Measurement(10, 1, 1, 1, 0.5, 0.5, 50.0, "<b>data</b>", (("a", "dense", (2,), 8, 0.8),
                                   ("header and graph", "", (), 2, 0.2)), "an estimate")
    assert "total" in str(measured) and "an estimate" in str(measured)
    assert "<b>" not in measured._repr_html_() and "&lt;b&gt;data" in measured._repr_html_()


# The command


def run(*arguments: str):
    return CliRunner().invoke(nutshell, ["measure", *map(str, arguments)])


def test_json_is_one_object_with_the_seven_figures_and_the_data(tiny):
    result = run(tiny, "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert list(figures) == ["bytes", "params", "nonzero", "macs", "energy_uj", "accuracy", "error_percent",
                             "data"]
    assert figures["bytes"] == tiny.stat().st_size and figures["accuracy"] is None and figures["data"] is None


def test_data_are_run_and_named(tiny, monkeypatch):
    monkeypatch.setattr("nutshell.data.load", lambda name: TINY)
    assert json.loads(run(tiny, "--data", "tiny", "--json").stdout)["error_percent"] == 25
    text = run(tiny, "--data", "tiny", "--part", "validation").stdout
    assert "tiny, validation" in text and "1.weight" in text and "100.0 %" in text


def test_a_damaged_file_is_the_answer_no(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-2])
    result = run(tiny, "--json")
    assert isinstance(result.exception, Refused) and result.exception.exit_code == 1
    assert result.stdout == ""


def test_a_missing_file_is_wrong_use(tmp_path):
    assert run(tmp_path / "none.nut").exception.exit_code == 2


def steer(bias: float) -> nn.Module:
    """A network that steers the same way whatever it sees."""
    layer = nn.Linear(3 * 4 * 4, 1)
    layer.weight.data.zero_()
    layer.bias.data.fill_(bias)
    return nn.Sequential(nn.Flatten(), layer)


def road(steering: list[float]) -> Dataset:
    part = Split(torch.zeros(len(steering), 3, 4, 4, dtype=torch.uint8), torch.tensor(steering), (0.5,) * 3, (0.5,) * 3)
    return Dataset("road", part, part, part, ())


def test_steering_is_judged_by_its_root_mean_squared_error(tmp_path):
    artefact.save(steer(0.25), tmp_path / "a.nut", input_shape=(3, 4, 4))
    measured = measure.measure(tmp_path / "a.nut", road([0.25, 0.0, -1.0]))
    assert measured.error_percent == pytest.approx(100 * ((0 + 0.25**2 + 1.25**2) / 3) ** 0.5)
    assert (measured.accuracy, measured.hits, measured.data) == (None, None, "road, test")
    assert ("error", "73.60 % of full lock, root mean square") in measured.rows()
    artefact.save(always_light(), tmp_path / "b.nut", input_shape=(1, 1, 1))
    with pytest.raises(Refused, match="takes images of shape"):
        measure.measure(tmp_path / "b.nut", road([0.0]))
    layer = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    artefact.save(layer, tmp_path / "c.nut", input_shape=(3, 4, 4))
    with pytest.raises(Refused, match=r"puts out shape \[2\], the labels are one number each"):
        measure.measure(tmp_path / "c.nut", road([0.0]))


def test_a_steering_that_is_not_finite_is_infinitely_wrong(tmp_path):
    network = steer(0.0)
    network[1].weight.data.fill_(3e38)  # 48 of them are more than float32 holds
    artefact.save(network, tmp_path / "a.nut", input_shape=(3, 4, 4))
    assert measure.measure(tmp_path / "a.nut", road([0.0])).error_percent == float("inf")


def test_pictures_in_files_are_looked_at_in_the_networks_size(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("nutshell.data.load", lambda name, **options: asked.append((name, options)) or road([0.25]))
    artefact.save(steer(0.0), tmp_path / "a.nut", input_shape=(3, 4, 4))
    assert measure.measure(tmp_path / "a.nut", "track").error_percent == 25
    assert asked == [("track", {"shape": (3, 4, 4)})]
