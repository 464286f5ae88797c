"""The unit's reference results: block networks beside a small VGG, training aids with and without, two kinds of heads.

    python -m solutions.compact_architectures.experiment [PART…]

writes ``results/compact_architectures.json``, ``results/compact_architectures.nut`` and the checkpoint that ships for
the lab. Networks that are compared are trained by one recipe, by :mod:`solutions.compact_architectures.training`, which
can also train them one by one and keep them in a folder; two are trained once more for longer. Blocks and
recipe were chosen on validation images; the test images are looked at once, for the rows that are written down, and
through the bytes of a ``.nut`` file, as a grader does.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from nutshell import artefact, checkpoints, data, results
from nutshell.artefact import Dense
from nutshell.checkpoints import Card
from nutshell.data.dataset import Dataset
from nutshell.errors import WrongUse
from nutshell.measure import measure
from nutshell.models.blocks import Swish, fold
from nutshell.training import History, evaluate
from solutions.compact_architectures.training import (
    COLOURS,
    IMAGE,
    NETWORKS,
    RECIPE,
    RECIPES,
    kept,
    one_colour,
    trained,
)

COMMAND = "python -m solutions.compact_architectures.experiment"
SEEDS = (0, 1, 2)
SHIPPED = "separable"  # whose blocks a learner has, and which the lab starts from
REFERENCE = "separable"  # of the candidates at an eighth of vgg-small's MACs none is clearly better, and none simpler
CANDIDATES = ("separable", "excited", "deep", "inverted")
ROWS = tuple(dict.fromkeys(("vgg-small", "residual", SHIPPED, REFERENCE)))
EIGHTHS = ("alexnet", "separable-narrow", "vgg-11", "separable-wide", "vgg-16", "separable-deep")
AIDS = (("swish", "residual-swish", "residual"), ("swish_beta_fixed", "residual-silu", "residual"),
        ("swapout", "residual-swapout", "residual"), ("cyclic", "residual-cyclic", "residual"))  # fmt: skip
HEADS = ("residual-connected", "residual-dropout", "residual")


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder of states.")
@click.option("--finished", is_flag=True, help="Train nothing: take the seeds that are finished.")
@click.option("--test/--no-test", default=True, help="Whether the test images are looked at.")
def main(parts: tuple[str, ...], keep: Path, finished: bool, test: bool) -> None:
    """Measure compact networks; all parts if none is named."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    if unknown := set(parts) - set(PARTS):
        raise WrongUse(f"There is no part {min(unknown)!r}; there are: {', '.join(PARTS)}.")
    images = data.load("cifar-10")
    try:
        content = {name: value for name, value in results.load("compact_architectures").items() if name in PARTS}
    except WrongUse:
        content = {}
    for part in parts or PARTS:
        recipe = "middle" if part == "rows_longer" else RECIPE
        content[part] = PARTS[part](images, Trained(images, keep, recipe, finished or part == "candidates"), test)
        click.echo(f"{part}: {content[part]}")
    ordered = {name: content[name] for name in PARTS if content.get(name)}
    results.save("compact_architectures", command=COMMAND, data=images.name, seeds=list(SEEDS),
                 recipe=asdict(RECIPES[RECIPE]), recipe_longer=asdict(RECIPES["middle"]), **ordered)


class Trained:
    """Networks by name, one for each seed, trained where they aren't kept."""

    def __init__(self, images: Dataset, keep: Path, recipe: str, finished: bool) -> None:
        self.images, self.keep, self.recipe, self.finished = images, keep, recipe, finished

    def __call__(self, name: str) -> list[nn.Module]:
        return [network for network, _ in self._each(name)]

    def loss(self, name: str) -> list[float]:
        """Of the training images in the last epoch, nats."""
        return [history.rows[-1]["train_loss"] for _, history in self._each(name)]

    def _each(self, name: str) -> list[tuple[nn.Module, History]]:
        seeds = [seed for seed in SEEDS if not self.finished or kept(name, self.recipe, seed, self.keep)]
        return [trained(name, self.images, seed, self.keep, recipe=self.recipe) for seed in seeds]


def rows(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """The small VGG and block networks, measured from their files."""
    return _rows(ROWS, images, networks, test)


def eighths(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """Networks that papers on compact ones compare with, each before separable blocks of an eighth of its MACs."""
    return _rows(EIGHTHS, images, networks, test)


def rows_longer(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """The small VGG and the separable blocks once more, with more epochs; by validation images."""
    return _rows(("vgg-small", SHIPPED), images, networks, False)


def _rows(names: tuple[str, ...], images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    found = []
    for name in names:
        files = [_file(network) for network in networks(name)]
        if not files:
            continue
        seen = [measure(artefact.read(file), images, "validation") for file in files]
        tested = [float(measure(artefact.read(file), images, "test").error_percent or 0) for file in files if test]
        first, kept_as = seen[0], None
        if name == SHIPPED and networks.recipe == RECIPE:
            kept_as = "compact_architectures.nut"
            (results.folder() / kept_as).write_bytes(files[0])
        found.append({
            "network": name, "words": NETWORKS[name].words, "reference": name == REFERENCE,
            "blocks": NETWORKS[name].options.get("blocks"), "parameters": first.params, "macs": first.macs,
            "energy_uj": round(first.energy_uj, 3), "milliseconds": latency(artefact.read(files[0]).network),
            "validation_error_percent": results.summary([float(each.error_percent or 0) for each in seen]),
            "test_error_percent": results.summary(tested) if tested else None,
            "train_loss": results.summary(networks.loss(name)), "file": kept_as, "bytes": first.bytes,
        })  # fmt: skip
    return found


def candidates(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """Networks of at most an eighth of vgg-small's multiply-accumulates, of which the reference was chosen."""
    found = []
    for name in CANDIDATES:
        if made := networks(name):
            size = measure(artefact.read(_file(made[0])))
            found.append({
                "network": name, "words": NETWORKS[name].words, "blocks": NETWORKS[name].options["blocks"],
                "parameters": size.params, "macs": size.macs, "validation_error_percent": errors(made, images),
                "train_loss": results.summary(networks.loss(name)),
            })  # fmt: skip
    return found


def aids(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """Swish, Swapout and cyclic rates on a residual network, with and without; by validation images."""
    found = []
    for aid, name, base in AIDS:
        using, without = networks(name), networks(base)
        if using and without:
            found.append({
                "aid": aid, "network": base, "words": NETWORKS[name].words,
                "without": errors(without, images), "with": errors(using, images),
                "without_train_loss": results.summary(networks.loss(base)),
                "with_train_loss": results.summary(networks.loss(name)),
                "beta": [round(module.beta.item(), 3) for module in using[0].modules() if isinstance(module, Swish)],
            })  # fmt: skip
    return found


def heads(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """A fully connected head, the same behind dropout, and global average pooling; by validation images."""
    found = []
    for name in HEADS:
        made = networks(name)
        if made:
            size = measure(artefact.read(_file(made[0])))
            head = made[0].get_submodule("classifier")
            found.append({
                "head": "global average pooling" if name == HEADS[-1] else NETWORKS[name].words, "network": name,
                "parameters": size.params, "macs": size.macs,
                "head_parameters": sum(parameter.numel() for parameter in head.parameters()),
                "validation_error_percent": errors(made, images), "train_loss": results.summary(networks.loss(name)),
            })  # fmt: skip
    return found


def channels_apart(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """One network that sees all colours, and three that see one each, alone and with their logits averaged."""
    together, apart = networks("small"), [networks(f"small-{name}") for name in COLOURS]
    if not together or not all(apart):
        return []
    size = {number: measure(artefact.read(_file(made, channels))) for number, made, channels in
            ((1, together[0], 3), (3, apart[0][0], 1))}  # fmt: skip
    logits = [[colour_logits(network, images, colour) for network in made] for colour, made in enumerate(apart)]
    labels = images.validation.labels

    def row(words: str, count: int, error: dict[str, Any], size: Any) -> dict[str, Any]:
        return {"words": words, "parameters": count * size.params, "macs": count * size.macs,
                "validation_error_percent": error}  # fmt: skip

    def percent(values: Any) -> float:
        return 100 * (values.argmax(1) != labels).double().mean().item()

    each = [row(f"{name} alone", 1, results.summary([percent(values) for values in found]), size[3])
            for name, found in zip(COLOURS, logits, strict=True)]  # fmt: skip
    voted = results.summary([percent(sum(values)) for values in zip(*logits, strict=False)])
    return [row("one network, three colours", 1, errors(together, images), size[1]), *each,
            row("three networks, one colour each", 3, voted, size[3])]  # fmt: skip


@torch.no_grad()
def colour_logits(network: nn.Module, images: Dataset, colour: int) -> torch.Tensor:
    """Of the validation images, seen in one colour."""
    part = one_colour(images.validation, colour)
    return torch.cat([network(part.inputs(slice(start, start + 1000))) for start in range(0, len(part), 1000)])


def octave(images: Dataset, networks: Trained, test: bool) -> list[dict[str, Any]]:
    """Plain convolutions, and the same with half of their channels at half the resolution."""
    found = []
    for alpha, name in ((0.0, "small"), (0.5, "small-octave")):
        if made := networks(name):
            size = measure(artefact.read(_file(made[0])))
            found.append({"alpha": alpha, "words": NETWORKS[name].words, "parameters": size.params, "macs": size.macs,
                          "validation_error_percent": errors(made, images)})  # fmt: skip
    return found


def checkpoint(images: Dataset, networks: Trained, test: bool) -> dict[str, Any]:
    """The network that ships for the lab: of seed 0, its normalisation folded away."""
    if not (made := networks(SHIPPED)):
        return {}
    network = fold(made[0])
    note = ("Its normalisation is folded into the convolutions. " + UNOFFICIAL * ("unofficial" in images.name)).strip()
    about = Card(
        network="block-network", data=images.name, recipe=asdict(RECIPES[networks.recipe]), seed=SEEDS[0],
        validation_error_percent=round(evaluate(network, images.validation)[1], 4),
        test_error_percent=round(evaluate(network, images.test)[1], 4), command=f"{COMMAND} checkpoint", note=note,
        options={"activation": "silu", "folded": True},
    )  # fmt: skip
    checkpoints.save("block-network", network, about)
    return {"name": "block-network", "validation_error_percent": about.validation_error_percent}


PARTS = {"rows": rows, "eighths": eighths, "rows_longer": rows_longer, "candidates": candidates, "aids": aids,
         "heads": heads, "channels_apart": channels_apart, "octave": octave, "checkpoint": checkpoint}  # fmt: skip
UNOFFICIAL = ("Measured on a copy of the data set whose pixels went through JPEG compression; figures on the "
              "publisher's own files differ a little.")  # fmt: skip


def errors(networks: list[nn.Module], images: Dataset) -> dict[str, Any]:
    """Share of the validation images that are wrong, in percent."""
    return results.summary([evaluate(network, images.validation)[1] for network in networks])


def latency(network: nn.Module, runs: int = 60) -> float:
    """Milliseconds for one image on one thread, median."""
    image, taken = torch.zeros(1, *IMAGE), []
    with torch.inference_mode():
        for _ in range(runs):
            started = time.perf_counter()
            network(image)
            taken.append(1e3 * (time.perf_counter() - started))
    return round(sorted(taken)[runs // 2], 3)


def _file(network: nn.Module, channels: int = 3) -> bytes:
    """Of a network with its weights in half precision, which halves the file and changes hardly a decision."""
    halves = {name: Dense("float16") for name, value in network.named_parameters() if value.ndim > 1}
    return artefact.to_bytes(network, input_shape=(channels, *IMAGE[1:]), encodings=halves)


if __name__ == "__main__":
    main()
