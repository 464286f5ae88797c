"""What the unit ships: the student that is handed in, and what its teacher says of the training images."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nutshell import artefact, results, teachers
from nutshell.artefact import Affine
from nutshell.measure import measure
from solutions.student_and_teacher import runs

COMMAND = "python -m solutions.student_and_teacher.experiment"
TEACHER = "convolutional"
BITS = 8


def hand_in(name: str | None, keep: Path) -> dict[str, Any] | None:
    """Write the student of seed 0 to ``results/`` as a ``.nut`` file and measure that; None if it isn't trained."""
    state = keep / runs.UNIT / f"{name}-0.state"
    if name is None or not state.exists():
        return None
    network = runs.RUNS[name].build()
    network.load_state_dict(torch.load(state, weights_only=True)["network"])
    file = results.folder() / f"{runs.UNIT}.nut"
    write(network.eval(), file)
    found = measure(file, runs.mnist(), "test")
    return {"file": file.name, "run": name, "seed": 0, "bytes": found.bytes, "parameters": found.params,
            "macs": found.macs, "test_error_percent": found.error_percent,
            "validation_error_percent": measure(file, runs.mnist(), "validation").error_percent}


def write(network: nn.Module, file: Path) -> None:
    """Store a network for 28×28 images with weights of a byte, each row with a scale of its own."""
    encodings = {f"{name}.weight": Affine(BITS, axis=0, symmetric=True) for name, layer in network.named_modules()
                 if isinstance(layer, nn.Linear)}  # fmt: skip
    artefact.save(network, file, input_shape=(1, 28, 28), encodings=encodings)


def ship_logits(keep: Path, into: Path = teachers.FOLDER) -> None:
    """Store what the teacher says of the training images in the toolkit, if it is trained."""
    if not (keep / runs.UNIT / f"teacher-{TEACHER}.logits").exists():
        return
    build, recipe = runs.TEACHERS[TEACHER]
    found, images = runs.said(TEACHER, keep), runs.mnist()
    percent = {part: 100 * runs.errors(found[part], getattr(images, part)) / len(getattr(images, part))
               for part in ("validation", "test")}  # fmt: skip
    about = teachers.Card(
        network="three convolutions and two linear layers, trained with shifts of up to two pixels and dropout",
        parameters=sum(each.numel() for each in build().parameters()), data=images.name,
        labels=teachers.fingerprint(images.train), recipe=vars(recipe), command=COMMAND,
        validation_error_percent=round(percent["validation"], 4), test_error_percent=round(percent["test"], 4),
    )  # fmt: skip
    teachers.save(TEACHER, found["train"], about, into)
