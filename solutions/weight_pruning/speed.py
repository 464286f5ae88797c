"""How long a matrix takes times a vector, and times 64 of them: dense, dense with zeros, and as compressed sparse rows.

    python -m solutions.weight_pruning.speed

writes ``results/weight_pruning_speed.json``. One thread; the median of many repetitions; about half a minute. Run it
where nothing else runs.
"""

import platform
import time
import warnings
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from nutshell import results
from solutions.weight_pruning.reference import magnitude_mask

COMMAND = "python -m solutions.weight_pruning.speed"
SHAPES = {"LeNet-300-100, fc1": (300, 784), "AlexNet, fc7": (4096, 4096)}
DENSITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
BATCHES = (1, 64)
SECONDS = 0.25  # for one figure


@click.command()
def main() -> None:
    """Measure, and write the figures down."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    rows = []
    for name, shape in SHAPES.items():
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        for batch in BATCHES:
            inputs = torch.randn(shape[1], batch, generator=torch.Generator().manual_seed(1))
            for density in DENSITIES:
                found = times(weight * magnitude_mask(weight, 1 - density), inputs)
                rows.append({"matrix": name, "shape": shape, "batch": batch, "density": density} | found)
                click.echo(str(rows[-1]))
    file = results.save("weight_pruning_speed", command=COMMAND, data="random matrices", threads=1,
                        processor=processor(), torch=torch.__version__, scipy=scipy.__version__, rows=rows)
    click.echo(str(file))


def times(weight: Tensor, inputs: Tensor) -> dict[str, float]:
    """Microseconds of one product in each of the ways; all results are compared first."""
    compressed = scipy.sparse.csr_array(weight.numpy())
    with_torch = weight.to_sparse_csr()
    vectors = inputs.numpy()
    ways: dict[str, Callable[[], Any]] = {
        "dense": lambda: weight @ inputs,
        "csr_scipy": lambda: compressed @ vectors,
        "csr_torch": lambda: with_torch @ inputs,
    }
    want = weight.double() @ inputs.double()
    for way in ways.values():
        torch.testing.assert_close(torch.as_tensor(np.asarray(way())).double(), want, rtol=1e-3, atol=1e-3)
    return {f"{name}_us": round(1e6 * median_seconds(way), 2) for name, way in ways.items()}


def median_seconds(way: Callable[[], Any]) -> float:
    """Median over repetitions, as many as fit into the time for one figure, five at least."""
    seen: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(seen) < 5 or time.perf_counter() < until:
        started = time.perf_counter()
        way()
        seen.append(time.perf_counter() - started)
    return float(np.median(seen))


def processor() -> str:
    """What it was measured on, by the processor's own name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
