"""Keys of verdicts: a hash of all that a verdict depends on, so that nothing is graded twice or kept too long."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nutshell
from autograder import units
from autograder.verdicts import Submission
from nutshell.checks import Unit

_PACKAGES = ("torch", "numpy", "ipython", "scipy", "matplotlib")  # what learners' code may compute with

_CODE = (".py", ".safetensors")


def unit_key(unit: Unit, seed: int, isolation: str, limits: Any, data: Iterable[str]) -> str:
    """Hash of everything but the submission.

    Parameters
    ----------
    unit : Unit
        As the classroom wants it.
    seed : int
        The classroom's secret.
    isolation : str
        The level at which submissions are run.
    limits : dataclass
        Those of the sandbox.
    data : iterable of str
        Names of the data sets that budgets are measured on, as they are in use.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    parts = {
        "unit": asdict(unit),
        "source": source_hash(unit.name),
        "toolkit": toolkit_hash(),
        "environment": environment(),
        "limits": asdict(limits),
        "isolation": isolation,
        "data": sorted(data),
        "seed": hashlib.sha256(f"{seed:x}".encode()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def verdict_key(submission: Submission, unit: str) -> str:
    """The key of the verdict on a submission.

    Parameters
    ----------
    submission : Submission
        Its digest counts, and neither the student's name nor the time.
    unit : str
        What :func:`unit_key` gave.
    """
    return hashlib.sha256(f"{unit}\0{submission.digest}".encode()).hexdigest()


def source_hash(unit: str) -> str:
    """Hash of a unit's reference and checks, and of those of the units that lend it exercises."""
    source = units.load(unit)
    folders = [one.folder for one in (source, *source.lenders().values())]
    hashes = [_hash_of(folder, [folder / "reference.py", folder / "checks.py"]) for folder in folders]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


@lru_cache
def toolkit_hash() -> str:
    """Hash of the toolkit's and the grader's code, and of the networks that the toolkit ships."""
    packages = [Path(nutshell.__file__).parent, Path(__file__).parent]
    hashes = (
        _hash_of(root, sorted(path for path in root.rglob("*") if path.suffix in _CODE and path.is_file()))
        for root in packages
    )
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


@lru_cache
def environment() -> dict[str, str]:
    """Versions of Python and of what learners' code computes with, and the machine's kind."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _hash_of(root: Path, files: Iterable[Path]) -> str:
    state = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        state.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return state.hexdigest()
