"""Networks that came from somebody else: decoded weights that equal a classmate's, or those of a network that ships."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

from autograder.verdicts import Flag, SubmissionVerdict
from nutshell import artefact, checkpoints, models, results
from nutshell.errors import WrongUse

KIND = "borrowed weights"
NAMED = 5  # classmates that words name, at most
INNOCENT = (
    "Whoever runs the lab's cells as they stand gets equal weights too, and so does whoever cuts the shipped network "
    "to the same size and trains no further: ask before you judge."
)


def borrowed(
    handed_in: Mapping[str, Mapping[str, str]], shipped: Mapping[str, str] | None = None
) -> dict[str, list[Flag]]:
    """Flags for networks whose weights somebody else has too; it takes a few milliseconds for a thousand learners.

    Parameters
    ----------
    handed_in : dict of str to dict
        By learner: the fingerprint of each file, as :func:`of_verdict` gives them.
    shipped : dict of str to str, optional
        By fingerprint: what the course ships; :func:`shipped_fingerprints` if left out.

    Returns
    -------
    dict of str to list of Flag
        By learner; without those who have nothing to explain.

    Examples
    --------
    >>> found = borrowed({"ada": {"a.nut": "77"}, "ben": {"a.nut": "78"}, "cleo": {"b.nut": "77"}}, {})
    >>> [(student, flags[0].about, flags[0].words.partition(".")[0]) for student, flags in found.items()]
    [('ada', 'a.nut', 'its weights are those of cleo'), ('cleo', 'b.nut', 'its weights are those of ada')]
    """
    shipped = shipped_fingerprints() if shipped is None else shipped
    owners: dict[str, dict[str, None]] = defaultdict(dict)  # learners by fingerprint, each once, in order
    for student in sorted(handed_in):
        for weights in handed_in[student].values():
            owners[weights][student] = None
    found: dict[str, list[Flag]] = defaultdict(list)
    for student in sorted(handed_in):
        for file, weights in sorted(handed_in[student].items()):
            sources = _others(owners[weights], student)
            if weights in shipped:
                sources = [f"{shipped[weights]} (it ships with the course)", *sources]
            if sources:
                found[student].append(Flag(KIND, file, f"its weights are those of {_listed(sources)}. {INNOCENT}"))
    return dict(found)


def of_verdict(verdict: SubmissionVerdict) -> dict[str, str]:
    """Fingerprints of the networks that a submission handed in, by file."""
    return {budget.file: budget.fingerprint for budget in verdict.budgets if budget.fingerprint}


def kept(folder: Path, assignment: str) -> dict[str, dict[str, str]]:
    """Fingerprints by learner and file, from the verdicts that a classroom keeps."""
    from autograder.class_gradebook import read_verdict, verdict_keys  # not needed where networks are judged

    found = {}
    for student, key in verdict_keys(folder, assignment).items():
        verdict = read_verdict(folder, assignment, key)
        if verdict is not None:
            found[student] = of_verdict(verdict)
    return found


def shipped_fingerprints() -> dict[str, str]:
    """Name of each network that ships with the course, by the fingerprint of its weights.

    Those are the trained networks of :mod:`nutshell.checkpoints` and the ``.nut`` files in ``results/``.
    """
    found = {}
    for name in checkpoints.names():
        found[_of_checkpoint(name, _digest(checkpoints.FOLDER / f"{name}.safetensors"))] = f"the trained {name}"
    for file in _results():
        found[_of_file(file, _digest(file))] = f"results/{file.name}"
    return found


@lru_cache(maxsize=256)
def _of_checkpoint(name: str, digest: str) -> str:
    """Through a file, as learners' networks come, so that the order of the weights is the same; made once a content."""
    network = checkpoints.load(name)
    shape = models.INPUT_SHAPES[checkpoints.card(name).network]
    return artefact.read(artefact.to_bytes(network, input_shape=shape)).fingerprint


@lru_cache(maxsize=256)
def _of_file(file: Path, digest: str) -> str:
    return artefact.load(file).fingerprint


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _results() -> list[Path]:
    try:
        return sorted(results.folder().glob("*.nut"))
    except WrongUse:  # installed without the course's folder: there are none that learners could have got
        return []


def _others(owners: Mapping[str, None], student: str) -> list[str]:
    """Who else has it, the first few by name."""
    shown = [other for other in islice(owners, NAMED + 1) if other != student][:NAMED]
    more = len(owners) - 1 - len(shown)
    return [*shown, f"{more} more"] if more else shown


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
