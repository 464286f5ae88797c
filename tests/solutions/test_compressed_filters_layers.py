"""The layers that unit 09 trains: their weights, gradients and files, against the unit's reference and plain sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nutshell import artefact, results
from solutions.compressed_filters import experiment, reference, training
from solutions.compressed_filters.layers import bands, circulant, deployed, fresh, hashed

SEED = st.integers(0, 1000)


def values_of(layer: nn.Module) -> torch.Tensor:
    return layer.get_parameter("parametrizations.weight.original")


@settings(max_examples=25, deadline=None)
@given(inputs=st.integers(1, 20), outputs=st.integers(1, 20), buckets=st.integers(1, 50), seed=SEED)
def test_a_hashed_layer_is_the_references_and_so_are_its_gradients(inputs, outputs, buckets, seed):
    layer, x = nn.Linear(inputs, outputs), torch.randn(3, inputs)
    hashed(layer, buckets, seed)
    other = reference.hashed_layer(inputs, outputs, buckets, seed)
    other.load_state_dict({"weight": values_of(layer).detach(), "bias": layer.bias.detach()})
    torch.testing.assert_close(layer(x), other(x))
    layer(x).square().sum().backward()
    other(x).square().sum().backward()
    torch.testing.assert_close(values_of(layer).grad, other.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_hashed_convolution_shares_its_numbers_in_the_same_way():
    layer = nn.Conv2d(3, 4, 3)
    encoding = hashed(layer, 10, seed=5)
    index, sign = reference.bucket_hash((4, 3, 3, 3), 10, 5)
    torch.testing.assert_close(layer.weight, values_of(layer)[index] * sign)
    kept = artefact.Hashed.decode(memoryview(encoding.encode(layer.weight)[1]), (4, 3, 3, 3), "float32",
                                  {"buckets": 10, "seed": 5})[""]  # fmt: skip
    assert torch.equal(kept, layer.weight)


@settings(max_examples=25, deadline=None)
@given(outputs=st.integers(1, 6), inputs=st.integers(1, 6), size=st.integers(1, 5), seed=SEED, data=st.data())
def test_fresh_filters_are_the_references_and_survive_their_file(outputs, inputs, size, seed, data):
    layer = nn.Conv2d(inputs, outputs, size)
    members = [min(band + 1, 2 * size - 1 - band) * inputs * outputs for band in range(2 * size - 1)]
    buckets = [data.draw(st.integers(1, count)) for count in members]
    encoding = fresh(layer, buckets, seed)
    each = list(values_of(layer).split(buckets))
    expected = reference.fresh_filter(each, tuple(layer.weight.shape), reference.dct_basis(size).float(), seed)
    torch.testing.assert_close(layer.weight, expected)
    settings_, payload = encoding.encode(layer.weight)
    assert len(payload) == 4 * sum(buckets)
    kept = artefact.FrequencyHashed.decode(memoryview(payload), tuple(layer.weight.shape), "float32", settings_)[""]
    torch.testing.assert_close(kept, layer.weight.detach(), rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(inputs=st.integers(1, 20), outputs=st.integers(1, 20), data=st.data())
def test_a_circulant_layer_laid_out_is_the_one_that_runs_by_fft(inputs, outputs, data):
    block = data.draw(st.integers(1, max(inputs, outputs)))
    layer, x = nn.Linear(inputs, outputs, bias=data.draw(st.booleans())), torch.randn(3, inputs)
    circulant(layer, block)
    torch.testing.assert_close(layer(x), deployed(layer, block)(x), rtol=1e-4, atol=1e-5)


def test_a_whole_circulant_matrix_is_the_references_product():
    layer, x = nn.Linear(12, 8, bias=False), torch.randn(3, 12)
    circulant(layer, 4)
    torch.testing.assert_close(layer(x), reference.circulant_product(values_of(layer).reshape(2, 3, 4), x))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 6), filters=st.integers(1, 40), share=st.floats(0, 1), falling=st.floats(0.05, 1))
def test_bands_share_all_buckets_and_none_is_empty_or_overfull(size, filters, share, falling):
    coefficients, least = filters * size**2, 2 * size - 1
    total = least + int(share * (coefficients - least))
    found = bands(size, coefficients, total, falling)
    members = [min(band + 1, least - band) * filters for band in range(least)]
    assert sum(found) == total and all(1 <= n <= limit for n, limit in zip(found, members, strict=True))


@pytest.mark.parametrize("total", [4, 91])
def test_too_few_or_too_many_buckets_for_the_bands_are_refused(total):
    with pytest.raises(ValueError, match="from 5 to 90"):
        bands(3, 90, total, 0.5)


OTHERS = ("full", "pruned", "circulant")  # they start full, or make two layers small alone


@pytest.mark.parametrize("job", [job for job in experiment.JOBS.values() if job.method not in OTHERS],
                         ids=lambda job: job.name)  # fmt: skip
def test_every_method_has_the_numbers_that_its_rate_leaves(job):
    whole = training.count(training.NETWORKS[job.network].build())
    network, _ = training.made(job, seed=0)
    assert 0.9 * whole / job.rate < training.count(network) <= whole / job.rate


def test_the_same_seed_makes_the_same_network_and_another_one_another():
    job = experiment.JOBS["lenet-300-100-hashed-64"]
    first, again, other = (training.made(job, seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc1.parametrizations.weight.original"], other["fc1.parametrizations.weight.original"])


def test_without_signs_a_weight_is_its_bucket():
    network, _ = training.made(experiment.JOBS["lenet-300-100-unsigned-64"], seed=0)
    index, _ = reference.bucket_hash((300, 784), 3317, 0)
    torch.testing.assert_close(network.fc1.weight, values_of(network.fc1)[index])


# Results


def test_the_file_in_results_is_the_network_that_the_table_tells_of():
    found = results.load("compressed_filters")["reference"]
    stored = artefact.load(results.folder() / found["file"])
    encodings = {tensor.name: tensor.encoding for tensor in stored.tensors}
    assert stored.bytes == found["bytes"] and stored.macs == found["macs"]
    assert {encodings[f"{name}.weight"] for name in ("fc1", "fc2", "fc3")} == {"hashed"}
    assert sum(tensor.bytes for tensor in stored.tensors) == 4 * found["numbers"]


def test_rows_are_of_jobs_that_are_there_and_of_as_many_values_as_seeds():
    found = results.load("compressed_filters")
    rows = [*found["full"].values(), *found["equal_bytes"], *found["circulant"], *found["without_signs"],
            *(row for rows in found["fresh"].values() for row in rows)]  # fmt: skip
    jobs = {(job.network, job.method, job.rate): job for job in experiment.JOBS.values()}
    for row in rows:
        job = jobs[row["network"], row["method"], row.get("rate", row.get("block"))]
        assert row["learning_rate"] == job.learning_rate
        for part in ("test", "validation"):
            assert len(row[f"{part}_error_percent"]["each"]) == len(row["seeds"]) >= 1


def test_hashed_networks_beat_dense_ones_of_the_same_bytes():
    by_method = {(row["method"], row["rate"]): row for row in results.load("compressed_filters")["equal_bytes"]}
    small, narrow = by_method["hashed", 64], by_method["dense", 64]
    assert narrow["numbers"] <= small["numbers"] * 1.02 and small["bytes"] < 1.06 * narrow["bytes"]
    assert small["test_error_percent"]["mean"] + 1.5 < narrow["test_error_percent"]["mean"]
