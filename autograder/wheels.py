"""Wheels for rooms without a network: what pip would install here, fetched by pip itself into one folder."""

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs

from nutshell.doctor import CPU_BUILDS, read_pins
from nutshell.errors import Trouble

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def fetch(course: Path, extras: Iterable[str] = (), folder: Path | None = None,
          said: Callable[[str], None] = print) -> Path:  # fmt: skip
    """Fetch the wheels of the pinned packages, for this system and this Python.

    What a broken call left is used: wheels that are there aren't fetched again, and pip keeps its own cache.

    Parameters
    ----------
    course : Path
        The course's folder, with ``pyproject.toml`` and ``constraints.txt``.
    extras : iterable of str
        Optional dependencies that are wanted too.
    folder : Path, optional
        Where; a folder in the user's cache if left out, by what is wanted.
    said : callable
        Told what is done.

    Raises
    ------
    Trouble
        If pip doesn't get a package; its own words stand above.
    """
    wanted = requirements(course, extras)
    folder = folder or _folder(course, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    said(f"Fetching wheels for this system to {folder}; a call that was interrupted goes on where it was.")
    torch = f"torch=={read_pins(course / 'constraints.txt')['torch']}"
    if sys.platform.startswith("linux") and not any(folder.glob("torch-*+cpu-*.whl")) and not _is_small(torch):
        _pip(["wheel", "--wheel-dir", folder, "--no-deps", "--index-url", CPU_BUILDS, torch])
    _pip(["wheel", "--wheel-dir", folder, "--find-links", folder, "-c", course / "constraints.txt", *wanted])
    found = sorted(folder.glob("*.whl"))
    said(f"{len(found)} wheels, {sum(path.stat().st_size for path in found) / 1e6:,.0f} MB.")
    return folder


def requirements(course: Path, extras: Iterable[str] = ()) -> list[str]:
    """What must be there to install the course: its dependencies, and what builds it."""
    said = tomllib.loads((course / "pyproject.toml").read_text(encoding="utf-8"))
    project = said["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*said["build-system"]["requires"], *project["dependencies"], *optional]


def _folder(course: Path, wanted: list[str]) -> Path:
    parts = [sys.version, sys.platform, (course / "constraints.txt").read_text(encoding="utf-8"), *wanted]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("nutshell", appauthor=False) / f"wheels-{key}"


def _is_small(torch: str) -> bool:
    """Whether pip here finds torch's CPU build by itself."""
    command = [*_PIP, "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", "-", torch]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.returncode == 0 and any(
        "+cpu" in found["metadata"]["version"] for found in json.loads(done.stdout)["install"]
    )


def _pip(arguments: list[object]) -> None:
    done = subprocess.run([*_PIP, *map(str, arguments)], stdout=sys.stderr)
    if done.returncode:
        raise Trouble("pip didn't get all packages; its own words stand above. The same command goes on from there.")
