"""The unit's results: orders of techniques, the contest's entry, latency in ONNX Runtime, the board, the projects.

    python -m solutions.in_a_nutshell.experiment [PART…] [--seeds 0,1,2]

makes each part, or those named, and brings ``results/in_a_nutshell.json`` up to date; ``results/in_a_nutshell.nut`` is
the contest's entry of the first seed. Amounts, plans and networks were chosen on validation images; the test images are
looked at when an entry or a project's network is finished. What is finished is kept in ``trained/in_a_nutshell/`` and
not done again, and each row says which seeds it is over. About fifteen minutes on one core, latency on a machine that
does nothing else.
"""

import json
import platform
from pathlib import Path
from typing import Any

import click
import onnxruntime
import torch

from nutshell import artefact, board, checkpoints, data, deploy, results
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.measure import measure
from solutions.in_a_nutshell import applications, contest, orders

COMMAND = "python -m solutions.in_a_nutshell.experiment"
PARTS = ("orders", "contest", "deployment", "board", "projects")
SEEDS = (0, 1, 2)
RATES = (30,)
PLACES: tuple[board.Part, ...] = ("validation", "test")
TIMED = {  # name → its file, or a checkpoint
    "LeNet-300-100, dense": "lenet-300-100", "LeNet-300-100, rank 30": "low_rank.nut",
    "LeNet-300-100, pruned and shared": "lenet-300-100.nut", "LeNet-5-Caffe, dense": "lenet-5-caffe",
    "LeNet-5-Caffe, pruned and shared": "lenet-5-caffe.nut", "the contest's entry": "in_a_nutshell.nut",
}  # fmt: skip
ANSWERS, FRAMES = 400, 90


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/in_a_nutshell"),
              show_default=True, help="Folder that keeps what is finished and the state of what isn't.")
@click.option("--dense", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder of dense networks' states.")
@click.option("--finished", is_flag=True, help="Train nothing: write down what is there.")
def main(parts: tuple[str, ...], seeds: str, keep: Path, dense: Path, finished: bool) -> None:
    """Measure the unit's results; all parts if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    if unknown := set(parts) - set(PARTS):
        raise WrongUse(f"There is no part {min(unknown)!r}; there are: {', '.join(PARTS)}.")
    keep.mkdir(parents=True, exist_ok=True)
    chosen, images = parts or PARTS, data.mnist()
    for seed in map(int, seeds.split(",")) if not finished else ():
        if "contest" in chosen:
            contest.run(images, seed, keep)
        for name in orders.PLANS if "orders" in chosen else ():
            orders.run(name, images, seed, keep, dense)
        for name in applications.PLANS if "projects" in chosen else ():
            applications.run(name, seed, keep)
    content = {**orders.rows(SEEDS, keep), **contest.rows(SEEDS, keep), **applications.rows(SEEDS, keep)}
    kept = _kept()
    if "deployment" in chosen and not finished:
        kept["deployment"] = deployment()
    if "board" in chosen or "contest" in content:
        kept["board"] = measured_board(images, kept.get("board", []))
    sources = [images.name, *(row["data"] for row in content.get("projects", []))]
    results.save("in_a_nutshell", command=COMMAND, data=", ".join(dict.fromkeys(sources)), **content, **kept)


def _kept() -> dict[str, Any]:
    """What was timed or counted before, and isn't made anew each time."""
    try:
        before = results.load("in_a_nutshell")
    except WrongUse:
        return {}
    return {key: before[key] for key in ("deployment", "board") if key in before}


def deployment() -> dict[str, Any]:
    """Latency of networks in ONNX Runtime and in torch, back to back and at a frame rate."""
    rows = []
    for name, source in TIMED.items():
        if not source.endswith(".nut"):
            found = artefact.read(artefact.to_bytes(checkpoints.load(source), input_shape=(1, 28, 28)))
        elif (results.folder() / source).is_file():
            found = artefact.load(results.folder() / source)
        else:
            continue
        session = deploy.Session(found)
        noise = torch.rand(16, *found.input_shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            gap = float((session(noise) - found.network(noise)).abs().max())
            plain = deploy.summary(deploy.latencies(found.network, ANSWERS, images=noise))
        rows.append({
            "network": name, "bytes": found.bytes, "onnx_bytes": session.model_bytes, "macs": found.macs,
            "largest_difference": gap, "torch": vars(plain),
            "one_image": vars(deploy.summary(deploy.latencies(session, ANSWERS))),
            "at_rate": [{"frames_a_second": rate, **vars(deploy.summary(deploy.at_rate(session, rate, FRAMES)))}
                        for rate in RATES],
        })  # fmt: skip
        click.echo(json.dumps(rows[-1]))
    return {"machine": _processor(), "onnxruntime": onnxruntime.__version__, "torch": torch.__version__, "threads": 1,
            "unit": "microseconds", "rows": rows}  # fmt: skip


def _processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def measured_board(images: Dataset, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The course's entries on validation and test images, by the hash of their bytes; known ones aren't run again."""
    known = {(row["sha256"], row["data"]): row for row in before}
    rows = []
    for name in board.COURSE:
        file = results.folder() / name
        for part in PLACES if file.is_file() and board.reads(file, images) else ():
            here = (board.digest(file), f"{images.name}, {part}")
            figures = known[here]["figures"] if here in known else board.figures(measure(file, images, part))
            rows.append({"file": name, "sha256": here[0], "data": here[1], "figures": figures})
    return rows


if __name__ == "__main__":
    main()
