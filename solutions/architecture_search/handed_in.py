"""The network that the course hands in for the lab's budget: the benchmark's best inside it, trained to the end.

    python -m solutions.architecture_search.handed_in

takes, of the networks that keep the lab's caps, the one with the smallest validation error in the table, trains it on
all training images with the recipe of :mod:`.real`, and writes ``results/architecture_search.nut``; half a minute.
"""

import click
import torch

from nutshell import artefact, data, results
from nutshell.measure import measure
from nutshell.models.blocks import fold
from nutshell.search import benchmark
from nutshell.training import prepare, train
from solutions.architecture_search.checks import UNIT
from solutions.architecture_search.real import FINAL

SEED = 0


@click.command()
def main() -> None:
    """Train and write the network, and say what it measures on validation and test images."""
    torch.set_num_threads(1)  # the same numbers on every machine, as far as torch can promise it
    table, images = benchmark(), data.load("mnist")
    limits = {limit.metric: limit.at_most for limit in UNIT.budgets[0].limits}
    inside = [row for row in table.rows() if row["parameters"] <= limits["params"] and row["macs"] <= limits["macs"]]
    best = min(inside, key=lambda row: row["validation_error_percent"][-1])
    space = table.space
    network = prepare(space.build({name: best[name] for name in space.decisions}, SEED))
    train(network, images, FINAL, SEED)
    file = results.folder() / UNIT.budgets[0].file
    artefact.save(fold(network).eval(), file, input_shape=(space.channels, space.size_of_image, space.size_of_image))
    errors = [measure(file, images, part).error_percent for part in ("validation", "test")]
    click.echo(f"{file}: {best['parameters']:,} parameters, {best['macs']:,} MACs; "
               f"{errors[0]:.2f} % of validation and {errors[1]:.2f} % of test images misread")


if __name__ == "__main__":
    main()
