"""The measurement of products of signs, on tiny shapes, and what the committed measurement says."""

import pytest
import torch

from nutshell import binary, results
from solutions.binary_networks import speed
from solutions.binary_networks.networks import cifar_network, lenet


def test_a_row_times_every_version_and_its_ratios_follow_from_its_times():
    row = speed.kernel_row("tiny", 20, 130, 16, 0.002)
    one, every = row["one_thread_us"], row["all_threads_us"]
    assert {"blas_numpy", "blas_torch", "bfloat16", "int8", "numpy", "numba", "plain", "packing"} <= set(one)
    assert min(one.values()) > 0
    assert one["blas"] == min(one["blas_numpy"], one["blas_torch"])
    assert row["speed_up"]["numba"] == pytest.approx(one["blas"] / one["numba"], abs=0.006)
    for kernel, ratio in row["speed_up_with_packing"].items():
        assert ratio == pytest.approx(one["blas"] / speed.with_packing(one, kernel), abs=0.006)
    assert row["speed_up_all_threads"] == pytest.approx(every["blas"] / every["numba"], abs=0.006)
    assert (row["float_bytes"], row["packed_bytes"]) == (16 * 130 * 4, 16 * 3 * 8)


def test_each_version_packs_in_its_own_way():
    times = {"plain": 100, "numpy": 20, "numba": 5, "packing": 1, "packing_numpy": 7}
    assert [speed.with_packing(times, kernel) for kernel in ("plain", "numpy", "numba")] == [107, 27, 6]


def test_a_kernel_that_is_wrong_is_not_measured(monkeypatch):
    monkeypatch.setitem(binary.KERNELS, "numpy", lambda left, right: binary.KERNELS["plain"](left, right) + 2)
    with pytest.raises(AssertionError, match="tiny: numpy isn't the product of ±1"):
        speed.kernel_row("tiny", 4, 70, 3, 0.001)


@pytest.mark.parametrize(("build", "blocks", "shape"), [(lenet, 2, (1, 28, 28)), (cifar_network, 3, (3, 32, 32))])
def test_whole_networks_are_timed_and_say_the_same_on_bits(build, blocks, shape, monkeypatch):
    monkeypatch.setattr(speed, "BATCHES", (1, 3))
    threads = torch.get_num_threads()
    found = speed.network_table(build, blocks, torch.randn(3, *shape), 0.001)
    torch.set_num_threads(threads)
    assert found["largest_difference"] < 1e-5
    assert {row["images"] for row in found["rows"]} == {1, 3}
    assert all(taken > 0 for row in found["rows"] for taken in row["us"].values())
    parts = found["parts_us"]["XNOR, Numba"]
    assert {f"block{block + 2}.layer: signs to bits" for block in range(blocks)} >= {
        name for name in parts if ":" in name} != set()
    assert not any(name.endswith("sign") for name in parts)  # taken by the packing


def test_the_committed_measurement_reaches_what_the_unit_says():
    found = results.load("binary_speed")
    assert found["command"] == speed.COMMAND
    many = [row for row in found["kernels"] if row["rows"] > 1]
    assert [row["name"] for row in found["kernels"]] == list(speed.SHAPES)
    wide = "avx512vpopcntdq" in found["processor"]["has"]
    assert min(row["speed_up"]["numba"] for row in many) >= (8 if wide else 4)
    assert found["network"]["largest_difference"] < 1e-5
    for table in (found["network"], found["cifar_network"]):
        row = next(row for row in table["rows"] if row["images"] == 100 and row["threads"] == 1)
        assert row["us"]["XNOR, Numba"] < row["us"]["float, normalised alike"] < row["us"]["XNOR, signs as floats"]
