"""How tensors are written. A new encoding is one module beside these and one line in :data:`ENCODINGS`."""

from nutshell.artefact.encodings.base import Encoding, Form
from nutshell.artefact.encodings.dense import Dense
from nutshell.artefact.encodings.low_rank import LowRank

ENCODINGS: dict[str, type[Encoding]] = {kind.name: kind for kind in (Dense, LowRank)}

__all__ = ["ENCODINGS", "Dense", "Encoding", "Form", "LowRank"]
