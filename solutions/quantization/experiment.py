"""The unit's reference results: LeNet-300-100 and LeNet-5-Caffe in 8 bits and fewer, three seeds.

    python -m solutions.quantization.experiment

writes ``results/quantization.json`` and ``results/quantization.nut``, LeNet-300-100 with weights of 4 bits, trained;
``--network`` measures one of the two, ``--latency`` only the times. About half an hour on one core; trained networks
and measurements are kept in ``trained/``: delete them there to have them made anew. A seed is a network trained from
scratch; seed 0 is the checkpoint that ships. Everything is chosen on validation images. The test images are looked at
once: by the dense networks, by int8 (in floats, on whole numbers, and by ONNX Runtime) and by 4 bits with training.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import onnxruntime
import torch
from torch import Tensor, nn

from nutshell import artefact, checkpoints, data, models, paired, results
from nutshell.artefact import Affine
from nutshell.data.dataset import Dataset, Split
from nutshell.measure import measure
from nutshell.recipes import RECIPES
from nutshell.training import Recipe, evaluate, prepare, train
from solutions.quantization import onnx_runtime
from solutions.quantization.integer_network import IntegerNetwork, convert
from solutions.quantization.reference import AffineGrid
from solutions.quantization.training import FakeQuantized, least_squares_steps, on_grid

COMMAND = "python -m solutions.quantization.experiment"
SEEDS = (0, 1, 2)
TESTED_BITS = 4  # of those trained, looked at on the test images
SEEN = 1000  # training images to calibrate on
FILED = "lenet-300-100"  # whose first network of so many bits becomes a file
Summary = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured of a network.

    Attributes
    ----------
    bits : tuple of int
        Without training.
    trained : tuple of int
        With training.
    ways : tuple
        Methods of calibration, with the share that a percentile keeps.
    tuning : Recipe
        How training goes on.
    """

    bits: tuple[int, ...]
    trained: tuple[int, ...]
    ways: tuple[tuple[str, float], ...]
    tuning: Recipe


PLANS = {
    "lenet-300-100": Plan(
        (8, 7, 6, 5, 4, 3, 2), (4, 3, 2),
        (("min-max", 1.0), ("percentile", 0.9999), ("percentile", 0.999), ("least squares", 1.0)),
        Recipe(epochs=5, learning_rate=5e-4)),
    "lenet-5-caffe": Plan(
        (8, 7, 6, 5, 4, 3, 2), (4,), (("min-max", 1.0),),
        Recipe(epochs=1, learning_rate=3e-4, precision="bfloat16")),
}  # LeNet-5-Caffe takes nine times the multiplications: one way to calibrate, one epoch of training, 4 bits


@click.command()
@click.option("--network", type=click.Choice(list(PLANS)), help="Measure this one only; both if left out.")
@click.option("--latency", is_flag=True, help="Measure the times only, on a machine that does nothing else.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder that keeps trained networks and what was measured of each network.")
def main(network: str | None, latency: bool, keep: Path) -> None:
    """Measure quantisation."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    images = data.mnist()
    part = "latency" if latency else "accuracy"
    for name in (network,) if network else PLANS:
        found = times(name, images) if latency else measured(name, images, keep)
        file = keep / "quantization" / f"{name}-{part}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found), encoding="utf-8")
    content = {name: {part: json.loads(file.read_text(encoding="utf-8"))
                      for part in ("accuracy", "latency")
                      if (file := keep / "quantization" / f"{name}-{part}.json").exists()}
               for name in PLANS if (keep / "quantization" / f"{name}-accuracy.json").exists()}
    saved = results.save(
        "quantization", command=COMMAND, data=images.name, seeds=list(SEEDS), calibration_images=SEEN,
        onnx_runtime=onnxruntime.__version__, tuning={name: vars(PLANS[name].tuning) for name in content},
        networks=content)
    click.echo(str(saved))


def measured(name: str, images: Dataset, keep: Path) -> dict[str, Any]:
    """All that is measured of one network's accuracy; what was measured before an interruption isn't again."""
    dense = [dense_network(name, images, seed, keep) for seed in SEEDS]
    seen = images.train.inputs(slice(0, SEEN))

    def once(part: str, measure: Callable[[], Any]) -> Any:
        file = keep / "quantization" / f"{name}-{part}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(measure()), encoding="utf-8")
            click.echo(f"{name}, {part}: done")
        return json.loads(file.read_text(encoding="utf-8"))

    found: dict[str, Any] = {"parameters": sum(p.numel() for p in dense[0].parameters()),
                             "dense_validation_error_percent": results.summary(errors(dense, images.validation))}
    found["calibration"] = [once(f"calibration-{number}", partial(calibration, *way, dense, images, seen))
                            for number, way in enumerate(PLANS[name].ways)]
    best = min(found["calibration"], key=lambda row: row["validation_error_percent"]["mean"])
    truth = Answers.of(dense, images.test)
    found["dense_test_error_percent"] = results.summary(truth.errors())
    found["int8"] = once("int8", lambda: int8(
        dense, [convert(network, seen, best["method"], best["share"]) for network in dense], images, truth, seen))
    found["int8"] |= {"method": best["method"], "share": best["share"]}
    found["trained"], few = trained(name, dense, images, seen, truth, keep)
    if name == FILED:
        found["file"] = write_file(few[0], dense[0], images, truth)
    found["bits"] = [once(f"bits-{bits}", partial(row_of_bits, bits, dense, images, seen)) for bits in PLANS[name].bits]
    return found


def dense_network(name: str, images: Dataset, seed: int, keep: Path) -> nn.Module:
    """A dense network; seed 0 is the checkpoint, others have its recipe (LeNet-5-Caffe in bfloat16)."""
    if seed == checkpoints.card(name).seed and checkpoints.card(name).data == images.name:
        return checkpoints.load(name)
    recipe, suffix = RECIPES[name].training, ""
    if name == "lenet-5-caffe":
        recipe, suffix = replace(recipe, precision="bfloat16"), "-bfloat16"
    network = prepare(models.build(name, seed=seed))
    train(network, images, recipe, seed, resume=keep / f"{name}{suffix}-{seed}.state", progress=False)
    return network


class Answers:
    """What networks, one a seed, answer to the images of one part."""

    def __init__(self, answers: list[Tensor], part: Split) -> None:
        self.answers, self.labels = answers, part.labels

    @classmethod
    def of(cls, networks: Sequence[nn.Module], part: Split) -> "Answers":
        """Answers of float networks."""
        with torch.no_grad():
            return cls([torch.cat([network(x) for x in part.inputs().split(500)]).argmax(1) for network in networks],
                       part)

    def errors(self) -> list[float]:
        """Error of each in percent."""
        return [100 * float((answer != self.labels).double().mean()) for answer in self.answers]

    def against(self, other: "Answers") -> dict[str, Any]:
        """Error, points lost against the other, and images compared in pairs."""
        pairs = [paired.compare(b, a, self.labels) for a, b in zip(self.answers, other.answers, strict=True)]
        return {"test_error_percent": results.summary(self.errors()),
                "points_lost": results.summary([pair.points for pair in pairs]),
                "paired": [{"only_dense_wrong": pair.only_first, "only_this_wrong": pair.only_second,
                            "p_value": round(pair.p_value, 4)} for pair in pairs]}


def row_of_bits(bits: int, dense: list[nn.Module], images: Dataset, seen: Tensor) -> dict[str, Any]:
    """Validation error after quantising to some bits without training: weights in three ways, and activations too."""
    row: dict[str, Any] = {"bits": bits}
    for key, steps in (("per_tensor", whole_steps), ("per_channel", channel_steps),
                       ("least_squares", least_squares_steps)):
        row[key] = results.summary(errors([with_weights(network, bits, steps) for network in dense], images.validation))
    row["activations_too"] = results.summary(errors([FakeQuantized(network, seen, bits) for network in dense],
                                            images.validation))
    return row


def whole_steps(weight: Tensor, bits: int) -> Tensor:
    """One step for the whole layer."""
    return weight.abs().amax() / (2 ** (bits - 1) - 1)


def channel_steps(weight: Tensor, bits: int) -> Tensor:
    """A step for each output, from its largest weight."""
    largest = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
    return largest.reshape(-1, *(1,) * (weight.ndim - 1))


def with_weights(network: nn.Module, bits: int, steps: Any) -> nn.Module:
    """A copy of the network whose weights are on grids; biases and activations stay floats."""
    changed, most = copy.deepcopy(network), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.ndim > 1:
                parameter.copy_(on_grid(parameter, steps(parameter.detach(), bits), -most, most))
    return changed


def calibration(method: str, share: float, dense: list[nn.Module], images: Dataset, seen: Tensor) -> dict[str, Any]:
    """Validation error of the networks on whole numbers for one way to calibrate."""
    networks = [convert(network, seen, method, share) for network in dense]
    answers = Answers([integer_answers(network, images.validation) for network in networks], images.validation)
    return {"method": method, "share": share, "validation_error_percent": results.summary(answers.errors())}


def integer_answers(network: IntegerNetwork, part: Split) -> Tensor:
    """Classes that a network on whole numbers answers."""
    return network.levels(part.inputs()).int().argmax(1)


def int8(dense: list[nn.Module], integer: list[IntegerNetwork], images: Dataset, truth: Answers,
         seen: Tensor) -> dict[str, Any]:
    """int8 on the test images: simulated in floats, on whole numbers, and by ONNX Runtime in two ways."""
    inputs = images.test.inputs()
    levels = [network.levels(inputs) for network in integer]
    simulated = [network.simulated(inputs) for network in integer]
    theirs = [onnx_runtime.run(onnx_runtime.integer_model(network), inputs) for network in integer]
    own = [onnx_runtime.run(onnx_runtime.quantized_by_onnx_runtime(onnx_runtime.float_model(network), seen), inputs)
           for network in dense]
    found: dict[str, Any] = {"bytes": integer[0].bytes}
    for key, outputs in (("whole_numbers", levels), ("simulated", simulated), ("onnx_runtime_same_grids", theirs),
                         ("onnx_runtime_own_grids", own)):
        found[key] = Answers([output.float().argmax(1) for output in outputs], images.test).against(truth)
    steps = [torch.round(logits / network.layers[-1].after[0]) + network.layers[-1].after[1]
             for logits, network in zip(simulated, integer, strict=True)]
    for key, others in (("simulated", steps), ("onnx_runtime_same_grids", theirs)):
        away = [(ours.double() - other.double()).abs() for ours, other in zip(levels, others, strict=True)]
        found[key] |= {"logits_alike_percent": round(100 * float(torch.stack(away).eq(0).double().mean()), 4),
                       "most_steps_apart": max(int(each.max()) for each in away)}
    found["most_steps_apart_within_a_layer"] = max(
        layer_distance(network, images.test.inputs(slice(0, 1000))) for network in integer)
    return found


@torch.no_grad()
def layer_distance(network: IntegerNetwork, inputs: Tensor) -> int:
    """Steps that a layer on whole numbers is at most away from the layer in floats, given the same inputs."""
    most, q = 0, AffineGrid(*network.input_grid).quantize(inputs)
    for layer in network.layers:
        x = layer.before[0] * (q.double() - layer.before[1])
        q = layer.run(q)
        simulated = torch.round(layer.simulate(x) / layer.after[0]) + layer.after[1]
        most = max(most, int((q.double() - simulated).abs().max()))
    return most


def trained(name: str, dense: list[nn.Module], images: Dataset, seen: Tensor, truth: Answers,
            keep: Path) -> tuple[list[dict[str, Any]], list[FakeQuantized]]:
    """Quantization-aware training with few bits for weights and activations, beside the dense network trained alike.

    Returns the rows of the table, and the networks of ``TESTED_BITS`` bits.
    """
    alike = [copy.deepcopy(network) for network in dense]
    tune(alike, name, "dense", images, keep)
    rows: list[dict[str, Any]] = [
        {"bits": 32, "validation_error_percent": results.summary(errors(alike, images.validation))}
        | Answers.of(alike, images.test).against(truth)]
    tested: list[FakeQuantized] = []
    for bits in PLANS[name].trained:
        networks = [FakeQuantized(network, seen, bits) for network in dense]
        tune(networks, name, str(bits), images, keep)
        wrong = results.summary(errors(networks, images.validation))
        row: dict[str, Any] = {"bits": bits, "validation_error_percent": wrong}
        if bits == TESTED_BITS:
            tested, row = networks, row | Answers.of(networks, images.test).against(truth)
        rows.append(row)
        click.echo(json.dumps(row))
    return rows, tested


@torch.no_grad()
def write_file(few: FakeQuantized, dense: nn.Module, images: Dataset, truth: Answers) -> dict[str, Any]:
    """A network trained on few bits as a ``.nut`` file, which runs with activations in floats, and what it measures."""
    small, encodings = copy.deepcopy(dense), {}
    layers = [(name, layer) for name, layer in small.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for (name, layer), weight, bias, log in zip(layers, few.grid_weights(), few.biases, few.weight_steps, strict=True):
        layer.weight.copy_(weight)
        small.get_parameter(f"{name}.bias").copy_(bias)
        encodings[f"{name}.weight"] = Affine(few.bits, axis=0, symmetric=True, scale=log.exp(), coder="ans")
    file = results.folder() / "quantization.nut"
    artefact.save(small, file, input_shape=tuple(images.test.images.shape[1:]), encodings=encodings)
    found = measure(file, images)
    return {"bits": few.bits, "seed": SEEDS[0], "bytes": found.bytes,
            "rate": round(4 * sum(p.numel() for p in dense.parameters()) / found.bytes, 2),
            "test_error_percent": round(float(found.error_percent or 0), 2),
            "points_lost": round(float(found.error_percent or 0) - truth.errors()[0], 2)}  # fmt: skip


def tune(networks: Sequence[nn.Module], name: str, kind: str, images: Dataset, keep: Path) -> None:
    """Train on in place."""
    for seed, network in zip(SEEDS, networks, strict=True):
        state = keep / "quantization" / f"{name}-{kind}-{seed}.state"
        train(network, images, PLANS[name].tuning, seed, resume=state, progress=False)


def times(name: str, images: Dataset) -> list[dict[str, Any]]:
    """Median microseconds of a run in ONNX Runtime on one thread, fp32 and int8 as it quantises itself."""
    network, rows = checkpoints.load(name), []
    float_model = onnx_runtime.float_model(network)
    kinds = {"fp32": float_model,
             "int8": onnx_runtime.quantized_by_onnx_runtime(float_model, images.train.inputs(slice(0, SEEN)))}
    sessions = {kind: onnx_runtime.session(model) for kind, model in kinds.items()}
    for batch in (1, 64):
        inputs = {"input": images.validation.inputs(slice(0, batch)).numpy()}
        taken: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(300):
            for kind, session in sessions.items():  # in turn, so that both see the same machine
                started = time.perf_counter()
                session.run(None, inputs)
                taken[kind].append(1e6 * (time.perf_counter() - started))
        rows.append({"batch": batch} | {f"{kind}_microseconds": round(statistics.median(each), 1)
                                        for kind, each in taken.items()})
    return rows


def errors(networks: Sequence[nn.Module], part: Split) -> list[float]:
    """Error of each network in percent of the images of one part."""
    return [evaluate(network, part)[1] for network in networks]


if __name__ == "__main__":
    main()
