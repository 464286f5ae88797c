"""The artefact: a network in one ``.nut`` file, data only, whose size in bytes is the size that counts.

>>> import tempfile, torch
>>> from nutshell import models
>>> network = models.build("lenet-300-100")
>>> with tempfile.TemporaryDirectory() as folder:
...     size = save(network, f"{folder}/small.nut", input_shape=(1, 28, 28), encodings={"fc1.weight": LowRank(30)})
...     artefact = load(f"{folder}/small.nut")
>>> size == artefact.bytes, size < 266610 * 4 / 3
(True, True)
>>> artefact.network.fc1
Sequential(
  (0): Linear(in_features=784, out_features=30, bias=False)
  (1): Linear(in_features=30, out_features=300, bias=True)
)
"""

from nutshell.artefact.encodings import (
    ENCODINGS,
    Affine,
    Binary,
    Codebook,
    Dense,
    Encoding,
    FixedPoint,
    FrequencyHashed,
    Hashed,
    LowRank,
    Sparse,
)
from nutshell.artefact.errors import BadArtefact, CannotSave
from nutshell.artefact.graph import Graph, Node
from nutshell.artefact.limits import Limits
from nutshell.artefact.operations import OPERATIONS
from nutshell.artefact.read import Artefact, StoredTensor, fingerprint, load, read
from nutshell.artefact.write import save, to_bytes

__all__ = [
    "ENCODINGS", "OPERATIONS", "Affine", "Artefact", "BadArtefact", "Binary", "CannotSave", "Codebook", "Dense",
    "Encoding", "FixedPoint", "FrequencyHashed", "Graph", "Hashed", "Limits", "LowRank", "Node", "Sparse",
    "StoredTensor", "fingerprint", "load", "read", "save", "to_bytes",
]  # fmt: skip
