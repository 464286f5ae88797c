"""Measure what unit 01's lesson quotes: counts of six networks, and how long this machine takes for three of them.

``python -m solutions.counting.experiment`` writes ``results/counting.json``.
"""

import os
import platform
import statistics
import time
from pathlib import Path

import torch

from nutshell import meter, models, results
from nutshell.explorers.counting import FORMATS, NETWORKS, report_of, shares

TIMED = ("pilotnet", "alexnet", "googlenet", "resnet-50", "vgg-16")
RUNS = 25


def counts(name: str) -> dict:
    """Counts and estimated energies of one network for one image."""
    report, part = report_of(name), shares(name)
    energy = {number: meter.energy(report, arithmetic=arithmetic) for number, arithmetic in FORMATS.items()}
    return {
        "input_shape": list(models.INPUT_SHAPES[name]),
        "parameters": report.total.parameters,
        "macs": report.total.macs,
        "bias_adds": report.total.bias_adds,
        "activations": report.total.activations,
        "linear_share_of_parameters_percent": round(part["parameters"]["linear"], 2),
        "convolution_share_of_macs_percent": round(part["MACs"]["convolution"], 2),
        "energy_uj": {
            number: {
                "arithmetic": round(found.arithmetic / 1e6, 2),
                "weights": round(found.weights / 1e6, 2),
                "activations": round(found.activations / 1e6, 2),
                "total": round(found.total_uj, 2),
            }
            for number, found in energy.items()
        },
    }


def latency(name: str, runs: int = RUNS) -> dict:
    """Milliseconds for one image on this machine's processor, one thread, after three images to warm up.

    Processor time leaves out what the process waits for others; elapsed time is what a user feels.
    """
    network = models.build(name).eval()
    image = torch.zeros(1, *models.INPUT_SHAPES[name])
    processor, elapsed = [], []
    with torch.inference_mode():
        for run in range(runs + 3):
            before = time.process_time(), time.perf_counter()
            network(image)
            if run >= 3:
                processor.append(1000 * (time.process_time() - before[0]))
                elapsed.append(1000 * (time.perf_counter() - before[1]))
    busy = spread(processor)
    return {
        "runs": runs,
        "processor_ms": busy,
        "elapsed_ms": spread(elapsed),
        "gmacs_per_second": round(report_of(name).total.macs / busy["median"] / 1e6, 2),
    }


def spread(times: list[float]) -> dict:
    """Least, quartiles and median."""
    low, middle, high = statistics.quantiles(times, n=4)
    found = {"least": min(times), "lower_quartile": low, "median": middle, "upper_quartile": high}
    return {key: round(value, 3) for key, value in found.items()}


def machine() -> str:
    """The processor in words."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores shared with other work"


def main() -> None:
    """Count, time and write the results."""
    torch.set_num_threads(1)
    file = results.save(
        "counting",
        command="python -m solutions.counting.experiment",
        data="none: counts need shapes only, and the latency of a dense network doesn't depend on the image",
        networks={name: counts(name) for name in NETWORKS},
        latency={"machine": machine(), "threads": 1, "torch": torch.__version__, "format": "fp32, batch 1",
                 "networks": {name: latency(name) for name in TIMED}},
    )
    print(f"Wrote {file}.")


if __name__ == "__main__":
    main()
