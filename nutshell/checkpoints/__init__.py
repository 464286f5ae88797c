"""Trained networks that ship with the course: weights as safetensors, and a card that says where they come from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nutshell.errors import Refused, WrongUse
from nutshell.models import build

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """Where a checkpoint comes from.

    Attributes
    ----------
    network : str
        Name for :func:`nutshell.models.build`.
    data : str
        Data set that was learned from, as its loader names it.
    recipe : dict
        Fields of :class:`nutshell.training.Recipe`.
    seed : int
        Of weights, order and augmentation.
    validation_error_percent, test_error_percent : float
        Error after the last epoch; nothing was chosen by the test error.
    command : str
        What trains it again.
    note : str
        Anything a reader should know of the data or the run.
    options : dict
        Options of the network's builder.
    """

    network: str
    data: str
    recipe: dict[str, Any]
    seed: int
    validation_error_percent: float
    test_error_percent: float
    command: str
    note: str
    options: dict[str, Any]


def names() -> list[str]:
    """Names of the checkpoints that are there, in alphabetical order.

    Examples
    --------
    >>> "lenet-300-100" in names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def card(name: str) -> Card:
    """The card of a checkpoint.

    Raises
    ------
    WrongUse
        If there is no such checkpoint.

    Examples
    --------
    >>> card("lenet-300-100").data
    'mnist'
    """
    _known(name)
    return Card(**json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def load(name: str) -> nn.Module:
    """A trained network, in evaluation mode.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    torch.nn.Module
        float32, on the CPU.

    Raises
    ------
    WrongUse
        If there is no such checkpoint.
    Refused
        If its file is damaged or belongs to another network.

    Examples
    --------
    >>> load("lenet-300-100").fc1
    Linear(in_features=784, out_features=300, bias=True)
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    about = card(name)
    network = build(about.network, **about.options)
    file = FOLDER / f"{name}.safetensors"
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise Refused(f"{file} does not hold a {about.network}: {error} Train it again: {about.command}") from error
    return network.eval()


def save(name: str, network: nn.Module, about: Card, into: Path = FOLDER) -> Path:
    """Write a checkpoint and its card, each whole or not at all; returns the file with the weights."""
    from safetensors.torch import save_file

    into.mkdir(parents=True, exist_ok=True)
    file, text = into / f"{name}.safetensors", into / f"{name}.json"
    unfinished = [path.with_name(path.name + ".unfinished") for path in (file, text)]
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, unfinished[0])
    unfinished[1].write_text(json.dumps(asdict(about), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for temporary, path in zip(unfinished, (file, text), strict=True):
        temporary.replace(path)
    return file


def _known(name: str) -> None:
    if not (FOLDER / f"{name}.safetensors").exists():
        raise WrongUse(f"There is no checkpoint called {name!r}. Choose one of: {', '.join(names()) or 'none yet'}.")
