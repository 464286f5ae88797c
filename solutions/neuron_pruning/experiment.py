"""The unit's reference results: smaller layers, fewer channels, a sparse GRU, blocks left out, and their speed.

    python -m solutions.neuron_pruning.experiment [PART…]

writes ``results/neuron_pruning.json`` and ``results/neuron_pruning.nut``. The parts are those of :data:`PARTS`; without
any, all are run, about half an hour on one core, and ``speed`` wants a quiet machine. A seed stands for a whole
pipeline: a network trained from scratch by the recipe of the checkpoint that ships (which is seed 0), made smaller and
trained on; channels start from the checkpoint that ships, and seeds differ in what comes after. Plans were chosen on
validation images; the test images are looked at once, for the rows that are written down.
"""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import artefact, checkpoints, data, meter, models, results
from nutshell.artefact import Sparse
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.recipes import RECIPES
from nutshell.training import evaluate, prepare, train
from solutions.neuron_pruning import channels, recurrent, speed
from solutions.neuron_pruning.blocks import without_blocks
from solutions.neuron_pruning.pipeline import Plan, empty_neurons, linear_layers, shrunk, size, train_on

COMMAND = "python -m solutions.neuron_pruning.experiment"
SEEDS = (0, 1, 2)
PLAN = Plan(parameters=53_000, nonzero=26_000)
GRU = recurrent.Plan()
IMAGE = (1, 28, 28)


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder that keeps the dense networks of seeds 1 and 2.")
def main(parts: tuple[str, ...], keep: Path) -> None:
    """Measure what becomes of networks without some of their neurons; all parts if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)
    if unknown := set(parts) - set(PARTS):
        raise WrongUse(f"There is no part {min(unknown)!r}; there are: {', '.join(PARTS)}.")
    for part in parts or PARTS:
        found = PARTS[part](keep)
        click.echo(f"{part}: {found}")
        try:
            before = {name: value for name, value in results.load("neuron_pruning").items() if name in PARTS}
        except WrongUse:
            before = {}
        ordered = {name: (before | {part: found})[name] for name in PARTS if name in before | {part: found}}
        results.save("neuron_pruning", command=COMMAND, data="mnist; blocks: cifar-10", **ordered)


def neurons(keep: Path) -> dict[str, Any]:
    """LeNet-300-100 with fewer neurons, with weights pruned on top, and beside it what was trained alike."""
    images = data.mnist()
    made = [made_of(images, seed, keep) for seed in SEEDS]
    rows = {name: [networks[name] for networks in made] for name in made[0]}
    inputs = images.validation.inputs()
    with torch.no_grad():
        apart = max(float((networks["masked"](inputs) - networks["shrunk"](inputs)).abs().max()) for networks in made)
    sparse = rows["weights pruned too"][0]
    file_bytes = artefact.save(sparse, results.folder() / "neuron_pruning.nut", input_shape=IMAGE, encodings={
        name: Sparse(coder="huffman") for name, value in sparse.named_parameters() if value.ndim > 1})
    return {
        "network": "lenet-300-100", "seeds": list(SEEDS), "plan": asdict(PLAN), "file_bytes": file_bytes,
        "dense_parameters": size(rows["dense"][0]), "largest_difference_masked_shrunk": apart,
        "rows": {name: row(networks, images) for name, networks in rows.items()},
    }  # fmt: skip


def made_of(images: Dataset, seed: int, keep: Path) -> dict[str, nn.Module]:
    """The networks of one seed, by the names of the table's rows; not made again if they are kept."""
    file, plan = keep / f"neuron_pruning-{seed}.state", str(PLAN)
    if file.exists() and (kept := torch.load(file, weights_only=True))["plan"] == plan:
        return {name: _loaded(state) for name, state in kept["networks"].items()}
    dense = dense_network(images, seed, keep)
    masked = empty_neurons(dense, images, PLAN, seed)
    small = shrunk(masked)
    scratch = models.build("mlp", sizes=(784, *(layer.out_features for layer in linear_layers(small))), seed=seed)
    networks = {
        "dense": dense, "dense, trained on alike": train_on(dense, dense, images, PLAN, seed),
        "masked": masked, "shrunk": small, "trained on": train_on(small, dense, images, PLAN, seed),
        "weights pruned too": train_on(small, dense, images, PLAN, seed, nonzero=PLAN.nonzero),
        "as small from the start": train_on(scratch, dense, images, PLAN, seed, epochs=25),
    }  # fmt: skip
    for name, network in networks.items():
        click.echo(f"seed {seed}, {name}: {evaluate(network, images.validation)[1]:.2f} % of validation images")
    keep.mkdir(parents=True, exist_ok=True)
    torch.save({"plan": plan, "networks": {name: network.state_dict() for name, network in networks.items()}}, file)
    return networks


def _loaded(state: dict[str, torch.Tensor]) -> nn.Module:
    widths = [len(value) for name, value in state.items() if name.endswith("bias")]
    network = models.build("mlp", sizes=(state["fc1.weight"].shape[1], *widths))
    network.load_state_dict(state)
    return network.eval()


def row(networks: list[nn.Module], images: Dataset) -> dict[str, Any]:
    """Sizes and errors of one row of the table."""
    return {
        "layers": [[layer.out_features for layer in linear_layers(network)] for network in networks],
        "parameters": [size(network) for network in networks],
        "nonzero": [sum(int((value != 0).sum()) for value in network.parameters()) for network in networks],
        "validation_error_percent": results.summary(
            [evaluate(network, images.validation)[1] for network in networks]),
        "test_error_percent": results.summary([evaluate(network, images.test)[1] for network in networks]),
    }


def convolutions(keep: Path) -> dict[str, Any]:
    """LeNet-5-Caffe with fewer channels."""
    images = data.mnist()
    dense = prepare(checkpoints.load("lenet-5-caffe")).eval()
    found: dict[str, list[nn.Module]] = {"dense, trained on alike": [], "masked": [], "shrunk": [], "trained on": []}
    apart = []
    for seed in SEEDS:
        masked = channels.masked(dense, images, seed)
        small = channels.smaller(masked)
        with torch.no_grad():
            inputs = images.validation.inputs(slice(1000))
            apart.append(float((masked(inputs) - small(inputs)).abs().max()))
        for name, network in (
            ("dense, trained on alike", tuned(dense, "dense", images, seed, keep)), ("masked", masked),
            ("shrunk", small), ("trained on", tuned(small, "shrunk", images, seed, keep)),
        ):  # fmt: skip
            found[name].append(network)
    rows = {"dense": [dense]} | found
    return {
        "network": "lenet-5-caffe", "seeds": list(SEEDS), "fine_tuning": vars(channels.FINE_TUNING),
        "widths": channels.WIDTHS, "largest_difference_masked_shrunk": max(apart),
        "rows": {name: {
            "parameters": size(networks[0]), "macs": meter.count(networks[0], (1, *IMAGE)).total.macs,
            "validation_error_percent": results.summary(
                [evaluate(network, images.validation)[1] for network in networks]),
            "test_error_percent": results.summary([evaluate(network, images.test)[1] for network in networks]),
        } for name, networks in rows.items()},
    }  # fmt: skip


def tuned(network: nn.Module, name: str, images: Dataset, seed: int, keep: Path) -> nn.Module:
    """The network trained on for a while; not again if it is kept."""
    file, plan = keep / f"channels-{name}-{seed}.state", f"{channels.FINE_TUNING} {channels.WIDTHS}"
    if file.exists() and (kept := torch.load(file, weights_only=True))["plan"] == plan:
        copied = copy.deepcopy(network)
        copied.load_state_dict(kept["network"])
        return copied
    found = channels.fine_tuned(network, images, seed)
    keep.mkdir(parents=True, exist_ok=True)
    torch.save({"plan": plan, "network": found.state_dict()}, file)
    return found


def gru(keep: Path) -> dict[str, Any]:
    """A GRU that reads MNIST row by row, dense and sparse."""
    images = data.mnist()
    rows: dict[str, dict[str, Any]] = {}
    for name, plan in (("dense", recurrent.Plan(**{**vars(GRU), "sparsity": 0.0})), ("sparse", GRU)):
        networks = [reader_of(images, plan, seed, keep) for seed in SEEDS]
        rows[name] = {
            "sparsity": [round(recurrent.sparsity_of(network), 4) for network in networks],
            "validation_error_percent": results.summary(
                [evaluate(network, images.validation)[1] for network in networks]),
            "test_error_percent": results.summary([evaluate(network, images.test)[1] for network in networks]),
        }
        click.echo(f"GRU, {name}: {rows[name]}")
    lost = [sparse - dense for sparse, dense in zip(rows["sparse"]["test_error_percent"]["each"],
                                                    rows["dense"]["test_error_percent"]["each"], strict=True)]
    network = recurrent.RowReader(GRU.hidden)
    return {"seeds": list(SEEDS), "plan": asdict(GRU), "parameters": size(network), "rows": rows,
            "matrix_weights": sum(v.numel() for n, v in network.gru.named_parameters() if n.startswith("weight")),
            "points_lost": results.summary(lost)}


def reader_of(images: Dataset, plan: recurrent.Plan, seed: int, keep: Path) -> recurrent.RowReader:
    """A trained GRU; not trained again if it is kept."""
    file = keep / f"recurrent-{plan.sparsity}-{seed}.state"
    if file.exists() and (kept := torch.load(file, weights_only=True))["plan"] == str(plan):
        network = recurrent.RowReader(plan.hidden)
        network.load_state_dict(kept["network"])
        return network.eval()
    network = recurrent.train_reader(images, plan, seed)
    keep.mkdir(parents=True, exist_ok=True)
    torch.save({"plan": str(plan), "network": network.state_dict()}, file)
    return network


def blocks(keep: Path) -> dict[str, Any]:
    """ResNet-20 as it ships without some of its blocks, nothing trained; validation images only."""
    return without_blocks(checkpoints.load("resnet-20"), data.load("cifar-10"))


def speeds(keep: Path) -> dict[str, Any]:
    """Time of one call, dense, masked and shrunk, at batch 1 and 64."""
    dense = checkpoints.load("lenet-300-100").eval()
    images = data.mnist()
    small = _loaded(artefact.load(results.folder() / "neuron_pruning.nut").network.state_dict())
    widths = [layer.out_features for layer in linear_layers(small)]
    masked = copy.deepcopy(dense)
    with torch.no_grad():
        for name, width in zip(("fc1", "fc2"), widths, strict=False):
            masked.get_parameter(f"{name}.weight")[width:] = 0
    caffe = checkpoints.load("lenet-5-caffe").eval()
    emptied = channels.masked(caffe, images, 0)
    convolutional = {"dense": caffe, "masked": emptied, "shrunk": channels.smaller(emptied)}
    return speed.compare({"lenet-300-100": {"dense": dense, "masked": masked, "shrunk": small},
                          "lenet-5-caffe": convolutional}) | {
        "lenet-5-caffe_by_layer_microseconds_batch_64": speed.by_layer(convolutional, 64)}  # fmt: skip


def dense_network(images: Dataset, seed: int, keep: Path) -> nn.Module:
    """A LeNet-300-100 trained by the recipe of the checkpoint; seed 0 is the checkpoint."""
    name = "lenet-300-100"
    if seed == checkpoints.card(name).seed and checkpoints.card(name).data == images.name:
        return checkpoints.load(name).eval()
    network = prepare(models.build(name, seed=seed))
    train(network, images, RECIPES[name].training, seed, resume=keep / f"{name}-{seed}.state")
    return network.eval()


PARTS = {"neurons": neurons, "convolutions": convolutions, "recurrent": gru, "blocks": blocks, "speed": speeds}


if __name__ == "__main__":
    main()
