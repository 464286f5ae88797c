"""What large networks say of the training images, so that nobody has to train or run a teacher to be taught by one."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nutshell.data.dataset import Dataset, Split
from nutshell.errors import Refused, WrongUse

FOLDER = Path(__file__).parent / "checkpoints"
LEVELS = 255  # logits are stored in a byte each, symmetric about the middle of their class


@dataclass(frozen=True)
class Card:
    """Where stored logits come from.

    Attributes
    ----------
    network : str
        The teacher, in words.
    parameters : int
        That it has.
    data : str
        Data set whose training images it was asked about.
    labels : str
        SHA-256 of their labels in order, which tells whether images are the same ones.
    recipe : dict
        How it was trained.
    validation_error_percent, test_error_percent : float
        Of the teacher itself.
    command : str
        What trains it again.
    """

    network: str
    parameters: int
    data: str
    labels: str
    recipe: dict[str, Any]
    validation_error_percent: float
    test_error_percent: float
    command: str


def names() -> list[str]:
    """Teachers whose logits are stored, in alphabetical order."""
    return sorted(path.name.removesuffix(".logits") for path in FOLDER.glob("*.logits"))


def card(name: str) -> Card:
    """Where a teacher's logits come from.

    Raises
    ------
    WrongUse
        If none of this name are stored.
    """
    return Card(**json.loads(_file(name).with_suffix(".logits.json").read_text(encoding="utf-8")))


def logits(name: str, images: Dataset) -> Tensor:
    """A teacher's logits on the training images, in their order.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    images : Dataset
        Must be the data set that the card names; the logits of another one aren't known.

    Returns
    -------
    Tensor
        float32, shape ``(len(images.train), classes)``. They are stored in a byte each, so that they are off by up to
        1/510 of the range of their class.

    Raises
    ------
    WrongUse
        If none of this name are stored.
    Refused
        If they were worked out on other images.
    """
    from safetensors.torch import load_file

    about = card(name)
    if (about.data, about.labels) != (images.name, fingerprint(images.train)):
        raise Refused(f"The logits of {name} belong to the training images of {about.data}, in the publisher's order; "
                      f"these are those of {images.name}. Get them with: nutshell data fetch {about.data}. Or ask a "
                      'teacher yourself: run checkpoints.load("lenet-5-caffe") over your own images.')
    stored = load_file(_file(name))
    return stored["levels"].float() * stored["step"] + stored["middle"]


def save(name: str, said: Tensor, about: Card, into: Path = FOLDER) -> Path:
    """Store logits ``(N, C)`` and their card; returns the file.

    Examples
    --------
    >>> import tempfile
    >>> about = Card("a teacher", 3, "mnist", "", {}, 0.5, 0.6, "train it")
    >>> folder = Path(tempfile.mkdtemp())
    >>> save("small", torch.tensor([[0.0, 4.0], [2.0, -4.0]]), about, folder).name
    'small.logits'
    """
    from safetensors.torch import save_file

    low, high = said.min(0).values, said.max(0).values
    step = ((high - low) / (LEVELS - 1)).clamp_min(1e-12)
    middle = (low + high) / 2
    levels = ((said - middle) / step).round().clamp(-127, 127).to(torch.int8)
    into.mkdir(parents=True, exist_ok=True)
    file = into / f"{name}.logits"
    text = file.with_suffix(".logits.json")
    unfinished = [path.with_name(path.name + ".unfinished") for path in (file, text)]
    save_file({"levels": levels.contiguous(), "step": step, "middle": middle}, unfinished[0])
    unfinished[1].write_text(json.dumps(asdict(about), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for temporary, path in zip(unfinished, (file, text), strict=True):
        temporary.replace(path)
    return file


def fingerprint(part: Split) -> str:
    """SHA-256 of the labels, in hexadecimal digits."""
    return hashlib.sha256(part.labels.to(torch.int64).numpy().tobytes()).hexdigest()


def _file(name: str) -> Path:
    if name not in names():
        raise WrongUse(f"No teacher is called {name!r}. Choose one of: {', '.join(names()) or 'none yet'}.")
    return FOLDER / f"{name}.logits"
