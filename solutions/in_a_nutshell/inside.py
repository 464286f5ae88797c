"""What compression kept: the strokes that units stand for, and the places of a digit that an answer hangs on.

    python -m solutions.in_a_nutshell.inside

writes ``results/inside.json``, from the files in ``results/`` and validation images of MNIST; about a minute on one
core. A unit of the second convolution stands for the concept with which its most excited places agree best, if they
agree at all; see :mod:`nutshell.explorers.looking_inside`. A compressed network that began as the dense one has the
same units in the same order, so one can ask which still stand for the same. Any two networks can be asked which parts
of a digit they need: cover each part, see what the right class's logit loses, and correlate the two maps of losses.
"""

import click
import torch
from torch import Tensor, nn

from nutshell import artefact, checkpoints, data, results
from nutshell.data.dataset import Split
from nutshell.explorers import looking_inside
from nutshell.measure import hits
from solutions.in_a_nutshell.reference import occlusion_map

COMMAND = "python -m solutions.in_a_nutshell.inside"
IMAGES, COVERED, SIDE = 1000, 100, 5  # for units, for covering, and the covering square's side in pixels
LAYER = "conv2"
BEGAN_ANEW = ("binary weights and inputs",)  # trained from random weights, so its units are others
LOOKED_AT = {
    "lenet-300-100": {"8 bits and fewer": "quantization", "low rank": "low_rank", "neurons pruned": "neuron_pruning",
                      "hashed": "compressed_filters", "pruned, shared, coded": "lenet-300-100",
                      "taught by a larger network": "student_and_teacher"},
    "lenet-5-caffe": {"pruned, shared, coded": "lenet-5-caffe", "the same, with shifts": "lenet-5-caffe-shifts",
                      "binary weights": "lenet-5-caffe-bwn", "binary weights and inputs": "lenet-5-caffe-xnor"},
}  # fmt: skip


@click.command()
def main() -> None:
    """Look inside the networks in results/ and write down what is found."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    mnist = data.load("mnist")
    results.save("inside", command=COMMAND, data=mnist.name, part="validation", layer=LAYER, images=IMAGES,
                 covered=COVERED, side=SIDE, share=looking_inside.SHARE, units=units(mnist.validation),
                 covering=covering(mnist.validation))  # fmt: skip


def units(part: Split) -> list[dict[str, object]]:
    """How many units of LeNet-5-Caffe stand for which concept, in each network, and how many kept theirs."""
    images, inputs = part.images[:IMAGES], part.inputs(slice(0, IMAGES))
    rows: list[dict[str, object]] = []
    before: list[str | None] = []
    for name in looking_inside.NETWORKS:
        network = looking_inside.network_of(name)
        stands = looking_inside.standing_for(looking_inside.agreement(network, LAYER, images, inputs))
        before = before or stands
        kept = None
        if name not in BEGAN_ANEW:
            kept = sum(a == b for a, b in zip(before, stands, strict=True) if a is not None)
        rows.append({"network": name, "units": len(stands), "named": sum(unit is not None for unit in stands),
                     "kept": kept, "concepts": {concept: stands.count(concept) for concept in looking_inside.CONCEPTS}})
        click.echo(rows[-1])
    return rows


def covering(part: Split) -> list[dict[str, object]]:
    """How alike compressed networks and the dense one are in what covering parts of a digit costs them."""
    rows: list[dict[str, object]] = []
    for name, files in LOOKED_AT.items():
        dense = checkpoints.load(name)
        both = {words: artefact.load(results.folder() / f"{file}.nut").network.eval() for words, file in files.items()
                if (results.folder() / f"{file}.nut").exists()}  # fmt: skip
        right = hits(dense, part)
        for network in both.values():
            right &= hits(network, part)
        chosen = right.nonzero().flatten()[:COVERED]  # digits that all of them read
        known = [losses(dense, part, number) for number in chosen]
        for words, network in both.items():
            alike = [correlation(a, losses(network, part, number)) for a, number in zip(known, chosen, strict=True)]
            rows.append({"network": name, "way": words, "images": len(chosen), "correlation": results.summary(alike)})
            rows[-1]["correlation"].pop("each")  # type: ignore[attr-defined]
            click.echo(rows[-1])
    return rows


def losses(network: nn.Module, part: Split, number: Tensor) -> Tensor:
    """What the right class's logit loses at each place where a square of a digit is covered."""
    return occlusion_map(network, part.inputs(number[None])[0], int(part.labels[number]), SIDE)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, over all places."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


if __name__ == "__main__":
    main()
