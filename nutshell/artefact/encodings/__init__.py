"""How tensors are written. A new encoding is one module beside these and one line in :data:`ENCODINGS`."""

from nutshell.artefact.encodings.affine import Affine
from nutshell.artefact.encodings.base import Encoding, Form
from nutshell.artefact.encodings.binary import Binary
from nutshell.artefact.encodings.codebook import Codebook
from nutshell.artefact.encodings.dense import Dense
from nutshell.artefact.encodings.fixed_point import FixedPoint
from nutshell.artefact.encodings.frequency_hashed import FrequencyHashed
from nutshell.artefact.encodings.hashed import Hashed
from nutshell.artefact.encodings.low_rank import LowRank
from nutshell.artefact.encodings.sparse import Sparse

ENCODINGS: dict[str, type[Encoding]] = {
    kind.name: kind for kind in (Dense, LowRank, Sparse, Codebook, Affine, FixedPoint, Binary, Hashed, FrequencyHashed)
}

__all__ = [
    "ENCODINGS", "Affine", "Binary", "Codebook", "Dense", "Encoding", "FixedPoint", "Form", "FrequencyHashed", "Hashed",
    "LowRank", "Sparse",
]  # fmt: skip
