"""The unit's reference results: LeNet-300-100 and LeNet-5-Caffe with few weights, beside dense ones trained alike.

    python -m solutions.weight_pruning.experiment [PART…]

writes ``results/weight_pruning.json``, part by part, and with ``rates`` ``results/weight_pruning.nut``, seed 0 at a
twelfth of the weights; networks are kept in ``trained/weight_pruning/`` and not trained
again. A seed stands for a whole pipeline: a network trained from scratch by the recipe of the checkpoint that ships
(which is seed 0), pruned and trained on. Plans were chosen on validation images; the test images are looked at for the
shares that the aims ask for, and for the dense networks beside them. On one quiet core ``rates`` takes six minutes,
``shifts`` and ``start`` four, each seed of ``han`` eight.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from nutshell import artefact, checkpoints, data, models, results
from nutshell.artefact import Sparse
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.recipes import RECIPES
from nutshell.training import evaluate, prepare, train
from solutions.weight_pruning.reference import rewind
from solutions.weight_pruning.training import Plan, masks_of, pruned

COMMAND = "python -m solutions.weight_pruning.experiment"
MLP, CAFFE = "lenet-300-100", "lenet-5-caffe"
HAN = {  # Han et al. 2015, tables 3 and 4: shares of the weights kept
    MLP: {"fc1.weight": 0.08, "fc2.weight": 0.09, "fc3.weight": 0.26},
    CAFFE: {"conv1.weight": 0.66, "conv2.weight": 0.12, "fc1.weight": 0.08, "fc2.weight": 0.19},
}
KEEPS = (0.08, 0.05, 0.015)
FILE = "weight_pruning.nut"
TWELFTH = 0.08  # one of KEEPS: with biases, twelve times fewer parameters
PLAIN = Plan(1.0)
SHIFTED = Plan(1.0, epochs=20, shift=1, learning_rate=0.1, weight_decay=0.0)
BRANCHED = Plan(1.0, ramp=0.0, learning_rate=0.1, batch_size=256, precision="bfloat16")  # of those that start anew
CONVOLUTIONAL = Plan(1.0, epochs=10, learning_rate=0.03, precision="bfloat16")
START_KEEPS = (0.05, 0.015)  # some of KEEPS


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--seeds", default="0,1,2", show_default=True, help="Which, separated by commas.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained/weight_pruning"),
              show_default=True, help="Folder that keeps what is trained.")
def main(parts: tuple[str, ...], seeds: str, keep: Path) -> None:
    """Prune, train on and measure; PART is one of rates, shifts, start and han, all if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    torch.set_flush_denormal(True)  # weights that fade away end in numbers that are slow
    if unknown := set(parts) - set(PARTS):
        raise WrongUse(f"There is no part {min(unknown)!r}; there are: {', '.join(PARTS)}.")
    images = data.mnist()
    bench = Bench(images, [int(seed) for seed in seeds.split(",")], keep)
    for part in parts or PARTS:
        found = PARTS[part](bench)
        write_down(images, part, {"seeds": bench.seeds} | found)


class Bench:
    """Data, seeds and the folder of trained networks."""

    def __init__(self, images: Dataset, seeds: list[int], keep: Path) -> None:
        self.images, self.seeds, self.keep = images, seeds, keep

    def kept(self, name: str, seed: int, make: Callable[[], nn.Module], network: str = MLP) -> nn.Module:
        """A network from the folder, or made and kept there."""
        file = self.keep / f"{network}-{name}-{seed}.pt"
        made = prepare(models.build(network, seed=seed))
        if file.exists():
            made.load_state_dict(torch.load(file, weights_only=True))
            return made.eval()
        file.parent.mkdir(parents=True, exist_ok=True)
        made.load_state_dict(make().state_dict())
        torch.save(made.state_dict(), file)
        click.echo(f"{file.name}: {evaluate(made, self.images.validation)[1]:.2f} % validation error")
        return made.eval()

    def dense(self, seed: int, network: str = MLP) -> nn.Module:
        """A network trained by the recipe of the checkpoint, or taken up again; seed 0 is the checkpoint."""
        if seed == checkpoints.card(network).seed and checkpoints.card(network).data == self.images.name:
            return checkpoints.load(network)
        made, recipe, name = prepare(models.build(network, seed=seed)), RECIPES[network].training, network
        if network == CAFFE:  # several times faster, and no different in the end
            recipe, name = replace(recipe, precision="bfloat16"), f"{network}-bfloat16"
        state = self.keep.parent / f"{name}-{seed}.state"  # shared with other units: the recipe is the same
        train(made, self.images, recipe, seed, progress=False, resume=state)
        return made

    def small(self, name: str, plan: Plan, network: str = MLP) -> list[nn.Module]:
        """For each seed the dense network pruned and trained on by a plan."""
        return [self.kept(name, seed, partial(self._pruned, plan, network, seed), network) for seed in self.seeds]

    def _pruned(self, plan: Plan, network: str, seed: int) -> nn.Module:
        return pruned(self.dense(seed, network), self.images, plan, seed)

    def errors(self, networks: list[nn.Module], part: str = "validation") -> dict[str, Any]:
        """Mean, spread and values of the error in percent."""
        return results.summary([evaluate(network, getattr(self.images, part))[1] for network in networks])


def rates(bench: Bench) -> dict[str, Any]:
    """LeNet-300-100 at several shares, by one threshold for the whole network, and at the shares of Han et al."""
    dense = [bench.dense(seed) for seed in bench.seeds]
    alike = bench.small("alike", PLAIN)
    rows, networks = [], {}
    for keep in KEEPS:
        networks[keep] = bench.small(f"keep-{keep:g}", replace(PLAIN, keep=keep))
        cut = [masked(network, keep) for network in dense]
        rows.append(row(networks[keep]) | {
            "keep": keep, "validation_error_before_percent": bench.errors(cut),
            "validation_error_percent": bench.errors(networks[keep])})  # fmt: skip
        click.echo(str(rows[-1]))
    smallest = networks[TWELFTH][0]
    stored = artefact.save(smallest, results.folder() / FILE, input_shape=(1, 28, 28), encodings={
        name: Sparse() for name, weight in smallest.named_parameters() if weight.ndim > 1})  # fmt: skip
    return {
        "plan": asdict(PLAIN), "file": FILE, "file_bytes": stored,
        "dense": {"validation_error_percent": bench.errors(dense), "test_error_percent": bench.errors(dense, "test")},
        "dense_alike": {"validation_error_percent": bench.errors(alike),
                        "test_error_percent": bench.errors(alike, "test")},
        "rows": rows,
        "reference": row(networks[TWELFTH]) | {"keep": TWELFTH,
                                               "test_error_percent": bench.errors(networks[TWELFTH], "test")},
    }


def shifts(bench: Bench) -> dict[str, Any]:
    """LeNet-300-100 trained on with one-pixel shifts, pruned and dense."""
    keep = 0.03
    dense, small = bench.small("shifts-alike", SHIFTED), bench.small("shifts", replace(SHIFTED, keep=keep))
    return {"plan": asdict(SHIFTED), "dense_alike": {"test_error_percent": bench.errors(dense, "test")},
            "reference": row(small) | {"keep": keep, "validation_error_percent": bench.errors(small),
                                       "test_error_percent": bench.errors(small, "test")}}


def start(bench: Bench) -> dict[str, Any]:
    """The same small network from four starts: trained large and pruned, rewound, drawn anew, and dense but narrow."""
    rows = []
    for keep in START_KEEPS:
        ways: dict[str, list[nn.Module]] = {"pruned": bench.small(f"keep-{keep:g}", replace(PLAIN, keep=keep))}
        for way in ("rewound", "drawn_anew", "narrow"):
            ways[way] = [branch(bench, way, keep, seed, found)
                         for seed, found in zip(bench.seeds, ways["pruned"], strict=True)]
        weights = [sum(int((w != 0).sum()) for w in found[0].parameters()) for found in ways.values()]
        rows.append({"keep": keep, "parameters": dict(zip(ways, weights, strict=True))}
                    | {way: bench.errors(found) for way, found in ways.items()})
        click.echo(str(rows[-1]))
    return {"plan": asdict(BRANCHED), "rows": rows}


def branch(bench: Bench, way: str, keep: float, seed: int, found: nn.Module) -> nn.Module:
    """Train from a start of its own: the mask found, on the first weights or on others, or a narrow dense network."""
    masks = {name: weight.detach() != 0 for name, weight in found.named_parameters() if weight.ndim > 1}
    if way == "narrow":
        network = prepare(models.build("mlp", seed=seed, sizes=narrow(int(sum(mask.sum() for mask in masks.values())))))
        return pruned(network, bench.images, replace(BRANCHED, keep=1.0), seed)
    first = models.build(MLP, seed=seed if way == "rewound" else seed + 1000)
    network = rewind(copy.deepcopy(found), dict(first.state_dict()), masks)
    return bench.kept(f"{way}-{keep:g}", seed, lambda: pruned(network, bench.images, BRANCHED, seed, masks))


def narrow(weights: int) -> tuple[int, ...]:
    """Layers 784-3h-h-10 with as many weights as are given, or a few more.

    Examples
    --------
    >>> narrow(266_200)
    (784, 300, 100, 10)
    """
    h = next(h for h in range(1, 1000) if 784 * 3 * h + 3 * h * h + 10 * h >= weights)
    return 784, 3 * h, h, 10


def han(bench: Bench) -> dict[str, Any]:
    """Both networks at the shares of Han et al., layer by layer."""
    found: dict[str, Any] = {}
    for network, plan in ((MLP, PLAIN), (CAFFE, CONVOLUTIONAL)):
        networks = {"dense": [bench.dense(seed, network) for seed in bench.seeds],
                    "dense_alike": bench.small("alike", plan, network),
                    "han_shares": bench.small("han_shares", replace(plan, keep=HAN[network]), network)}
        found[network] = {"plan": asdict(plan)} | {
            name: row(made) | {"test_error_percent": bench.errors(made, "test")} for name, made in networks.items()}
    return found


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {"rates": rates, "shifts": shifts, "start": start, "han": han}


def masked(network: nn.Module, keep: float) -> nn.Module:
    """A copy with its smallest weights at zero and nothing trained."""
    cut = copy.deepcopy(network)
    with torch.no_grad():
        for name, mask in masks_of(cut, keep).items():
            cut.get_parameter(name).mul_(mask)
    return cut


def row(networks: list[nn.Module]) -> dict[str, Any]:
    """What is left: parameters that aren't zero, biases included, the rate, and shares of each weight tensor."""
    counts = [sum(nonzero(weight) for weight in network.parameters()) for network in networks]
    whole = sum(weight.numel() for weight in networks[0].parameters())
    layers = {name: [round(nonzero(network.get_parameter(name)) / weight.numel(), 4) for network in networks]
              for name, weight in networks[0].named_parameters() if weight.ndim > 1}
    return {"nonzero": counts, "rate": round(whole / max(counts), 2), "layers": layers}


def nonzero(weight: Tensor) -> int:
    """Numbers that aren't zero."""
    return int((weight != 0).sum())


def write_down(images: Dataset, part: str, found: dict[str, Any]) -> None:
    """Keep the figures of one part beside those of the others."""
    try:
        known = results.load("weight_pruning")
    except WrongUse:
        known = {}
    parts = {name: found if name == part else known[name] for name in PARTS if name == part or name in known}
    file = results.save("weight_pruning", command=COMMAND, data=images.name, **parts)
    click.echo(f"{file}: {part} written.")


if __name__ == "__main__":
    main()
