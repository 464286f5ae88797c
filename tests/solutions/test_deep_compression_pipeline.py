"""The pipeline to a small file: masks hold, centroids learn from all members, what is saved is what was trained."""

import copy
import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, data, models, results
from nutshell.artefact import Codebook, Sparse
from nutshell.data.dataset import Dataset, Split
from nutshell.measure import measure
from solutions.deep_compression import experiment, layers, pipeline, sharing
from solutions.deep_compression.experiment import ROWS, Row
from solutions.deep_compression.forward import logits_of
from solutions.deep_compression.pipeline import FOLLOWING, Plan, kept, prune_and_train
from solutions.deep_compression.sharing import Shared, share

PLAN = Plan("lenet-300-100", keep=0.05, epochs=4, sharing_epochs=1, batch_size=32, ramp=(0.0, 0.5))


@pytest.fixture(scope="module")
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    part = Split(torch.randint(0, 256, (640, 1, 28, 28), generator=generator, dtype=torch.uint8),
                 torch.randint(0, 10, (640,), generator=generator), (0.5,), (0.3,))
    return Dataset("noise", part, part, part, tuple("0123456789"))


@pytest.fixture
def pruned(images, tmp_path) -> nn.Module:
    network = models.build("lenet-300-100", seed=0)
    prune_and_train(network, images, PLAN, 0, tmp_path / "a.state")
    return network


def nonzero(network: nn.Module) -> int:
    return sum(int((parameter != 0).sum()) for parameter in network.parameters())


def test_pruning_keeps_the_share_asked_for(pruned):
    assert nonzero(pruned) <= round(0.05 * 266_610)
    assert nonzero(pruned) > 0.9 * 0.05 * 266_610  # a few more go where nobody reads them


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(images, tmp_path, pruned, monkeypatch):
    network = models.build("lenet-300-100", seed=0)
    kept_states = []

    def stop(*arguments):
        keep(*arguments)
        kept_states.append(arguments[-1])
        if arguments[-1] == 2:
            raise KeyboardInterrupt

    keep = pipeline.save
    monkeypatch.setattr(pipeline, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        prune_and_train(network, images, PLAN, 0, tmp_path / "b.state")
    again = models.build("lenet-300-100", seed=5)
    prune_and_train(again, images, PLAN, 0, tmp_path / "b.state")
    assert kept_states == [1, 2, 3, 4]
    for name, parameter in pruned.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_a_state_of_another_plan_is_not_taken_up(images, tmp_path):
    one = dataclasses.replace(PLAN, epochs=1)
    prune_and_train(models.build("lenet-300-100", seed=0), images, one, 0, tmp_path / "c.state")
    state = (tmp_path / "c.state").read_bytes()
    for other in (dataclasses.replace(one, keep=0.04), dataclasses.replace(one, shift=1),
                  dataclasses.replace(one, dropout=0.1)):
        (tmp_path / "c.state").write_bytes(state)
        network = models.build("lenet-300-100", seed=0)
        prune_and_train(network, images, other, 0, tmp_path / "c.state")
        assert (tmp_path / "c.state").read_bytes() != state


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_is_trained_is_the_network(name):
    network = models.build(name, seed=0)
    generator = torch.Generator().manual_seed(0)
    images, parameters = torch.randn(5, 1, 28, 28, generator=generator), dict(network.named_parameters())
    wanted = network(images)
    torch.testing.assert_close(logits_of(name, parameters, images), wanted)
    coarse = logits_of(name, parameters, images, "bfloat16")
    torch.testing.assert_close(coarse, wanted, rtol=0.05, atol=0.02)
    assert coarse.dtype == torch.float32 and not torch.equal(coarse, wanted)


def test_dropout_leaves_the_mean_alone_and_comes_from_the_generator():
    parameters = dict(models.build("lenet-300-100", seed=0).named_parameters())
    parameters |= {"fc2.weight": torch.eye(100, 300), "fc3.weight": torch.eye(10, 100)}
    parameters |= {name: torch.ones_like(value) for name, value in parameters.items() if name == "fc1.bias"}
    images = torch.zeros(4000, 1, 28, 28)

    def found(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return logits_of("lenet-300-100", parameters, images, dropout=0.5, generator=generator)

    once = found(0)
    assert torch.equal(once, found(0)) and not torch.equal(once, found(1))
    torch.testing.assert_close(once.mean(0), logits_of("lenet-300-100", parameters, images[:1])[0], rtol=0, atol=0.15)


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_nobody_reads_can_go_without_a_trace(name):
    network = models.build(name, seed=0)
    parameters = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(0)
    masks = {key: torch.ones_like(value) for key, value in parameters.items()}
    first, last = next(iter(FOLLOWING[name].items()))
    units = len(masks[f"{first}.bias"])
    gone = torch.rand(units, generator=generator) < 0.5
    masks[f"{last}.weight"].unflatten(1, (units, -1))[:, gone] = 0
    pipeline.apply(masks, parameters)
    images = torch.randn(2, 1, 28, 28, generator=generator)
    before = network(images)
    pipeline.drop_unread(parameters, masks, FOLLOWING[name])
    pipeline.apply(masks, parameters)
    torch.testing.assert_close(network(images), before, rtol=1e-5, atol=1e-5)
    assert torch.equal(masks[f"{first}.bias"] == 0, gone)
    assert torch.equal(masks[f"{first}.weight"].flatten(1).amax(1) == 0, gone)


def test_the_ramp_is_the_cubic_of_zhu_and_gupta():
    plan = Plan("lenet-300-100", 0.02, ramp=(0.1, 0.7))
    assert [kept(plan, done) for done in (0.0, 0.1, 0.7, 1.0)] == pytest.approx([1, 1, 0.02, 0.02])
    assert kept(plan, 0.4) == pytest.approx(1 - 0.98 * (1 - 0.5**3))
    shares = [kept(plan, done / 100) for done in range(101)]
    assert shares == sorted(shares, reverse=True)


# Sharing


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=60), st.integers(1, 8), st.sampled_from([0.0, 0.01, 0.3]))
def test_rounds_of_sharing_never_raise_the_cost(values, k, price):
    values = np.array(values)
    spread = values.var() or 1.0

    def cost(rounds: int) -> float:
        centroids, indices = share(values, k, price, rounds)
        counts = np.bincount(indices, minlength=len(centroids))
        bits = -np.log2(counts / len(values))[indices]
        return float(((values - centroids[indices]) ** 2 / spread + price * bits).sum())

    costs = [cost(rounds) for rounds in (2, 3, 5, 9, 20)]
    assert all(after <= before + 1e-9 for before, after in pairwise(costs))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=60), st.integers(2, 8))
def test_without_a_price_sharing_is_plain_k_means(values, k):
    centroids, indices = share(np.array(values), k, 0.0)
    assert (np.diff(centroids) > 0).all() and set(indices) == set(range(len(centroids)))
    for number, centroid in enumerate(centroids):
        assert centroid == pytest.approx(np.array(values)[indices == number].mean())


def test_a_dearer_bit_makes_fewer_of_them():
    values = np.random.default_rng(0).standard_normal(2000)
    bits = []
    for price in (0.0, 0.01, 0.1, 1.0):
        counts = np.bincount(share(values, 16, price)[1])
        bits.append(-(counts * np.log2(counts / 2000)).sum())
    assert bits == sorted(bits, reverse=True) and bits[-1] < bits[0] / 3


def test_zeros_stay_and_a_centroids_gradient_is_the_sum_over_its_members(pruned):
    shared = Shared(pruned, PLAN)
    weights = shared.weights()
    for name, parameter in pruned.named_parameters():
        assert torch.equal(weights[name] == 0, parameter == 0)
    names, there, indices, centroids = shared.books[0]
    weight = weights[names[0]]
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    (weight * upstream).sum().backward()
    expected = torch.zeros_like(centroids).index_add_(0, indices, upstream.flatten()[there])
    torch.testing.assert_close(centroids.grad, expected)


def test_the_file_holds_what_was_trained(images, pruned):
    small = sharing.compress(copy.deepcopy(pruned), images, PLAN, 0)
    data = artefact.to_bytes(small, input_shape=(1, 28, 28), encodings=sharing.encodings_of(small))
    found = artefact.read(data).network
    for name, parameter in small.named_parameters():
        assert torch.equal(found.get_parameter(name), parameter)
        assert len(parameter.unique()) <= 17
        assert torch.equal(parameter == 0, pruned.get_parameter(name) == 0)
    assert len(data) < 20_000


# Figures by layer


def test_bits_of_an_index_and_a_gap_are_those_of_the_code():
    weight = torch.zeros(4, 8)
    weight[0, :4] = torch.tensor([1.0, 1.0, 2.0, 1.0])
    weight[3, 7] = 3.0
    fixed = layers.bits_of(weight, Sparse(Codebook(), limit=32).encode(weight)[0])
    assert fixed == {"index": 2, "gap": 5}
    huffman = layers.bits_of(weight, Sparse(Codebook(coder="huffman"), limit=32, coder="huffman").encode(weight)[0])
    assert huffman == {"index": 7 / 5, "gap": 1.0}  # 1 three times, 2 and 3 once: 1, 2 and 2 bits; gaps 0 and 27
    padded = layers.bits_of(weight, Sparse(Codebook(), limit=16).encode(weight)[0])
    assert padded == {"index": 2, "gap": 4}  # 27 zeros take a padding zero, a fourth value


def test_each_way_of_writing_a_layer_is_lossless_and_adds_up_to_the_file():
    small = models.build("mlp", seed=0, sizes=(784, 20, 10))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in small.parameters():
            values = torch.randint(-4, 5, parameter.shape, generator=generator) / 4
            parameter.copy_(values * (torch.rand(parameter.shape, generator=generator) < 0.15))
    rows = layers.layers_of(small)
    assert [row["layer"] for row in rows] == ["fc1", "fc2"]
    assert sum(row["weights"] for row in rows) == 785 * 20 + 21 * 10
    assert sum(row["kept"] for row in rows) == nonzero(small)
    orders = {name: encoding.order for name, encoding in sharing.encodings_of(small).items()}
    for way, make in layers.WAYS.items():
        encodings = {name: make(order) for name, order in orders.items()}
        stored = artefact.read(artefact.to_bytes(small, input_shape=(1, 28, 28), encodings=encodings))
        assert sum(tensor.bytes for tensor in stored.tensors) == sum(row["bytes"][way] for row in rows)
        for name, parameter in small.named_parameters():
            assert torch.equal(stored.network.get_parameter(name), parameter)
    for row in rows:
        size = row["bytes"]
        assert size["dense"] == 4 * row["weights"] and size["dense"] > size["pruned"] > size["shared"]
        assert row["centroids"] in (7, 8)  # of 8, one may be in no weight of the last layer
        assert row["huffman_bits"]["index"] <= row["shared_bits"]["index"]  # 3 bits, 4 if padding zeros are a ninth
        assert row["kept_percent"] == pytest.approx(100 * row["kept"] / row["weights"], abs=0.01)


# What is written down


def test_each_seed_is_written_down_as_it_is_finished_and_not_made_again(images, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "nutshell").mkdir()
    monkeypatch.chdir(tmp_path)
    plan = dataclasses.replace(PLAN, epochs=2, from_dense=True, distil=0.5)
    monkeypatch.setattr(experiment, "ROWS", {"small": Row(plan, 10, 100.0), "other": Row(plan, 10, 100.0)})
    monkeypatch.setattr(experiment.data, "mnist", lambda: images)
    threads, keep = torch.get_num_threads(), str(tmp_path / "kept")
    try:
        experiment.main(["small", "--seeds", "1", "--keep", keep], standalone_mode=False)
        rows = results.load("deep_compression")["rows"]
        assert list(rows) == ["small"]
        row = rows["small"]
        assert row["seeds"] == [1] and "summary" not in row
        monkeypatch.setattr(experiment, "compress", lambda *_: pytest.fail("made again"))
        experiment.main(["small", "--seeds", "1", "--keep", keep], standalone_mode=False)
        monkeypatch.undo()
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    file = tmp_path / "results" / "small.nut"
    assert row["bytes"] == [len(file.read_bytes())] == [sum(line["bytes"] for line in row["tensors"])]
    assert row["error_percent"] == [pytest.approx(measure(file, images).error_percent, abs=0.001)]
    assert len(row["dense_error_percent"]) == 1 and row["layers"][0]["layer"] == "fc1"


@pytest.mark.parametrize("name", ROWS)
def test_a_file_that_ships_is_the_one_in_the_results_and_meets_its_aim(name):
    found = results.load("deep_compression")
    row, file = found["rows"][name], results.folder() / f"{name}.nut"
    images = data.mnist()
    measured = measure(file, images if images.name == found["data"] else None)
    assert (measured.bytes, measured.nonzero) == (row["bytes"][0], row["nonzero"][0])
    assert layers.layers_of(artefact.load(file).network) == row["layers"]
    assert sum(line["bytes"] for line in row["tensors"]) == measured.bytes
    if measured.error_percent is not None:  # without MNIST the error stands as it was measured
        assert measured.error_percent == pytest.approx(row["error_percent"][0], abs=0.02)
    aim = ROWS[name]
    assert min(row["rate"]) >= aim.least_rate and row["summary"]["error_percent"]["mean"] <= aim.most_error_percent
    assert row["aim"] == {"rate": aim.least_rate, "error_percent": aim.most_error_percent}
    assert row["plan"] == {**dataclasses.asdict(aim.plan), "ramp": list(aim.plan.ramp)}
    assert len(row["seeds"]) >= 3 and len(row["dense_error_percent"]) == len(row["seeds"])
