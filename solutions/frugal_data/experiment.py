"""The unit's measured results: every technique off and on, steering with ever smaller networks, streams, the gallery.

    python -m solutions.frugal_data.experiment

writes ``results/frugal_data.json`` and ``results/frugal_digits.nut``. About fifteen minutes on one core for three
seeds; what is finished is kept in ``trained/frugal_data`` and not done again, and rows say which seeds they are over.
Choices are made on validation images; test images are looked at once, with the recipe that is fixed for all.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.nn import functional

from nutshell import artefact, data, meter, models, resources, results
from nutshell.augment import mirror_steering
from nutshell.data.dataset import Split
from nutshell.meter.working_memory import peak_bytes
from nutshell.streams import loader
from solutions.frugal_data.reference import normalise, resource_report, stream
from solutions.frugal_data.training import JOBS, load, run

COMMAND = "python -m solutions.frugal_data.experiment"
SEEDS = (0, 1, 2)
STEERING = ("paper", "one-dense", "small", "below-20k", "below-8k", "below-2k")
GALLERY = {"MNIST": "lenet-300-100", "Autopilot": "below-20k", "Emojinator": "gestures", "Malaria cells": "malaria",
           "Quick, Draw!": "quickdraw"}
OFF_ON = {  # technique: job without it, job with it
    "grey instead of colour": ("colour", "grey"),
    "rescaled, 40×40 to 20×20": ("colour", "rescaled"),
    "cut to the road before rescaling": ("whole frame", "plain"),
    "mirrored and moved, with the angle": ("plain", "small"),
    "background removed": ("cluttered", "background removed"),
    "cyclic rate instead of half a cosine": ("plain", "cyclic"),
    "batches of 128 instead of 32": ("plain", "large batches"),
    "digits pooled to 14×14": ("lenet-300-100", "pooled digits"),
}
RATES = tuple(10.0**exponent for exponent in (-7, -6, -5, -4, -3, -2, -1, 0))
FRAMES, FRAME = 13_000, (3, 66, 200)  # half a gigabyte on the disk
ROOM = 256 << 20


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/frugal_data"),
              show_default=True, help="Folder that keeps what is finished.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds to train, by commas.")
@click.option("--write-only", is_flag=True, help="Train nothing: write what there is.")
def main(keep: Path, seeds: str, write_only: bool) -> None:
    """Measure what frugal data saves."""
    torch.set_num_threads(1)
    wanted = [int(seed) for seed in seeds.split(",")]
    if not write_only:
        for seed in wanted:
            for name in JOBS:
                row = run(name, seed, keep)
                click.echo(f"{name}, seed {seed}: {row['validation_error_percent']:.2f} %")
    jobs = {name: finished(name, keep) for name in JOBS}
    measured = {part.__name__: once(part, keep, write_only) for part in (rates, steps, streams)}
    gallery = [{"application": title, **row} for title, name in GALLERY.items() if (row := summary(name, jobs[name]))]
    file = results.save(
        "frugal_data", command=COMMAND, data=", ".join(sorted({rows[0]["data"] for rows in jobs.values() if rows})),
        machine=f"{platform.machine()}, one thread", **measured,
        steering=[row for name in STEERING if (row := summary(name, jobs[name]))],
        off_on=[row for name, pair in OFF_ON.items() if (row := both(name, pair, jobs))],
        driver_straight_on=straight_on(), gallery=gallery)
    hand_in(keep)
    click.echo(str(file))


def hand_in(keep: Path) -> None:
    """Write ``results/frugal_digits.nut``: the digits' reader of seed 0, within the lab's budget."""
    network = JOBS["pooled digits"].build(0)
    load_model(network, keep / "pooled-digits-0.safetensors")
    artefact.save(network, results.folder() / "frugal_digits.nut", input_shape=(1, 28, 28))


def once(part: Callable[[], Any], keep: Path, write_only: bool) -> Any:
    """What a part measured, now or earlier."""
    file = keep / f"part-{part.__name__}.json"
    if not file.exists():
        if write_only:
            raise click.ClickException(f"{part.__name__} isn't measured yet: leave --write-only out.")
        keep.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(part()), encoding="utf-8")
        click.echo(f"measured {part.__name__}")
    return json.loads(file.read_text(encoding="utf-8"))


def finished(name: str, keep: Path) -> list[dict[str, Any]]:
    """The rows of a job, a seed each, with the seed."""
    files = [(seed, keep / f"{name.replace(' ', '-')}-{seed}.json") for seed in SEEDS]
    return [{"seed": seed, **json.loads(file.read_text(encoding="utf-8"))} for seed, file in files if file.exists()]


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A job over its seeds, with what its network costs; empty if none is finished."""
    if not rows:
        return {}
    job = JOBS[name]
    images = job.images()
    network = job.build(0).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    shape = tuple(images.train.images.shape[1:])
    report = meter.count(network, (1, *shape))
    return {"name": name, "data": images.name, "input": list(shape), "training_images": len(images.train),
            "parameters": report.total.parameters, "macs": report.total.macs,
            "energy_uj": round(meter.energy(report).total_uj, 3), "seeds": [row["seed"] for row in rows],
            "validation_error_percent": results.summary([row["validation_error_percent"] for row in rows]),
            "test_error_percent": results.summary([row["test_error_percent"] for row in rows]),
            "correlation": None if rows[0]["correlation"] is None else results.summary(
                [row["correlation"] for row in rows])}


def both(name: str, pair: tuple[str, str], jobs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A technique off and on, over the seeds that both have; empty if there are none."""
    common = {row["seed"] for row in jobs[pair[0]]} & {row["seed"] for row in jobs[pair[1]]}
    if not common:
        return {}
    off, on = (summary(job, [row for row in jobs[job] if row["seed"] in common]) for job in pair)
    found = {"technique": name, "off": off, "on": on}
    if len(common) > 1:
        found["report"] = resource_report({"error": off["test_error_percent"]["each"]},
                                          {"error": on["test_error_percent"]["each"]})["error"]
    return found


def straight_on() -> dict[str, float]:
    """Root mean squared error, in percent of full lock, of never turning the wheel."""
    track = load("track", shape=(3, 40, 40))
    return {part: round(100 * float(getattr(track, part).labels.square().mean()) ** 0.5, 3)
            for part in ("validation", "test")}


def rates() -> list[dict[str, Any]]:
    """Accuracy of LeNet-300-100 after one pass over 2,500 digits, for inputs of three kinds and many learning rates."""
    mnist = load("mnist")
    train_images, labels = mnist.train.images[:2500], mnist.train.labels[:2500]
    held = Split(mnist.validation.images[:1000], mnist.validation.labels[:1000], (0.0,), (1.0,))
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "bytes": lambda images: images.float(), "0 to 1": lambda images: images.float() / 255,
        "mean 0, deviation 1": lambda images: normalise(train_images, images)}
    return [{"inputs": kind, "rate": rate, "accuracy_percent": results.summary([
        accuracy(change(train_images), labels, change(held.images), held.labels, rate, seed) for seed in SEEDS])}
        for kind, change in kinds.items() for rate in RATES]


def accuracy(inputs: Tensor, labels: Tensor, held: Tensor, answers: Tensor, rate: float, seed: int) -> float:
    """Percent right after one pass of plain SGD in batches of 32."""
    network = models.build("lenet-300-100", seed=seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    for chosen in order.split(32):
        loss = functional.cross_entropy(network(inputs[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return 100 * float((network(held).argmax(1) == answers).double().mean())


def steps() -> list[dict[str, Any]]:
    """Processor time and peak memory of a step with techniques off and on, by turns until the noise is known."""
    mnist = load("mnist")
    digits, labels = mnist.train.images[:128], mnist.train.labels[:128]
    inputs = mnist.train.inputs(slice(128))
    colour, grey, rescaled = (first_frames((channels, side, side)) for channels, side in ((3, 40), (1, 40), (3, 20)))
    whole, angles = first_frames((3, 40, 40), whole=True), colour[1]
    cases: dict[str, tuple[Any, Any]] = {
        "normalised": ((_lenet(), digits.float(), labels, 1e-7), (_lenet(), normalise(digits, digits), labels)),
        "grey instead of colour": ((_of("colour"), *colour), (_of("grey"), *grey)),
        "rescaled, 40×40 to 20×20": ((_of("colour"), *colour), (_of("rescaled"), *rescaled)),
        "cut to the road before rescaling": ((_of("small"), *whole), (_of("small"), *colour)),
        "digits pooled to 14×14": ((_lenet(), inputs, labels), (_of("pooled digits"), inputs, labels)),
        "mirrored at random": ((_of("small"), *colour), (_of("small"), *colour)),
    }
    steps_of = {name: [resources.training_step(*case) for case in pair] for name, pair in cases.items()}
    plain, generator = steps_of["mirrored at random"][1], torch.Generator().manual_seed(0)

    def mirrored() -> None:
        mirror_steering(colour[0], angles, generator)
        plain()

    steps_of["mirrored at random"][1] = mirrored
    return [compared(name, *pair) for name, pair in steps_of.items()]


def first_frames(shape: tuple[int, int, int], **options: Any) -> tuple[Tensor, Tensor]:
    """Sixteen frames of the track as a network takes them, and their angles."""
    album = data.album("track", shape=shape, **options)
    frames = torch.stack([torch.from_numpy(album.decode(picture)) for picture in album.train[:16]])
    return frames.float() / 127.5 - 1, torch.tensor([float(picture.target) for picture in album.train[:16]])


def compared(name: str, off: Callable[[], Any], on: Callable[[], Any]) -> dict[str, Any]:
    """Paired processor times in milliseconds, their report, and the peak memory of tensors."""
    pairs = resources.by_turns(off, on, precision=0.01, least=20, most=40, calls=20, clock=time.process_time)
    before, after = ([round(1000 * value, 4) for value in side] for side in (pairs.off, pairs.on))
    report = resource_report({"ms": before}, {"ms": after})["ms"]
    return {"technique": name, "off_ms": before, "on_ms": after, "report": report, "settled": pairs.settled,
            "peak_bytes": [peak_bytes(call) for call in (off, on)]}


def _lenet() -> nn.Module:
    return models.build("lenet-300-100")


def _of(job: str) -> nn.Module:
    return JOBS[job].build(0)


def streams() -> dict[str, Any]:
    """Half a gigabyte of frames: all at once, and streamed by 0 and 2 workers, in a process that may take 256 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npy"
        file = np.lib.format.open_memmap(path, "w+", np.uint8, (FRAMES, *FRAME))
        rng = np.random.default_rng(0)
        for start in range(0, FRAMES, 1000):
            file[start : start + 1000] = rng.integers(0, 256, file[start : start + 1000].shape, dtype=np.uint8)
        file.flush()
        size = path.stat().st_size
        del file
        rows = []
        for way, workers in (("all at once", None), ("streamed", 0), ("streamed", 2)):
            result, peak = resources.in_fresh_process(read_all, str(path), workers, room=ROOM)
            failed = isinstance(result, MemoryError)
            rows.append({"way": way, "workers": workers, "finished": not failed, "peak_bytes": peak,
                         "images": None if failed else result[0], "seconds": None if failed else result[1]})
            click.echo(str(rows[-1]))
    return {"file_bytes": size, "room_bytes": ROOM, "images": FRAMES, "image_shape": list(FRAME), "buffer": 500,
            "batch": 64, "rows": rows}


def read_all(place: str, workers: int | None) -> tuple[int, float]:
    """Look at every image of a file once; how many there were, and the seconds it took."""
    torch.set_num_threads(1)
    started, count, brightness = time.perf_counter(), 0, 0.0
    if workers is None:
        images = np.fromfile(place, np.uint8)
        return len(images) // int(np.prod(FRAME)), time.perf_counter() - started
    for numbers, images in loader(stream, place, 64, workers=workers, buffer=500):
        count += len(numbers)
        brightness += float(images[:, :, ::8, ::8].float().mean())
    return count, time.perf_counter() - started


if __name__ == "__main__":
    main()
