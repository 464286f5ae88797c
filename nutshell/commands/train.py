"""``nutshell train``: train a shipped checkpoint again, or with another seed."""

from pathlib import Path

import click


@click.command()
@click.argument("network")
@click.option("--seed", default=0, show_default=True, help="Seed of weights, order and augmentation.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path("trained"), show_default=True,
              help="Folder for the weights, the card and the state that an interrupted run resumes from.")
@click.option("--name", help="Name of the checkpoint; the network's name if left out.")
def train(network: str, seed: int, into: Path, name: str | None) -> None:
    """Train NETWORK by its recipe and write weights and card.

    An interrupted run goes on where it stopped when it is called again.

    \b
    Examples:
      nutshell train lenet-300-100
      nutshell train resnet-20 --seed 1 --into my-networks
    """
    from nutshell import training
    from nutshell.checkpoints import save
    from nutshell.errors import WrongUse
    from nutshell.recipes import RECIPES, card_of

    if network not in RECIPES:
        raise WrongUse(f"There is no recipe for {network!r}. Choose one of: {', '.join(RECIPES)}.")
    name = name or network
    recipe = RECIPES[network]
    images = recipe.images()
    model = training.prepare(recipe.build(network, seed))
    training.train(model, images, recipe.training, seed, resume=into / f"{name}.state")
    about = card_of(network, images, model, seed)
    file = save(name, model, about, into)
    unit = "%" if images.classes else "% of full lock, root mean square,"
    click.echo(f"{file}: {about.test_error_percent:.2f} {unit} error on the test images of {images.name}, "
               f"{about.validation_error_percent:.2f} {unit} on the validation images.")
