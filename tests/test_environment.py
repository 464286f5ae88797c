"""One set of packages, stated three times: pyproject.toml, environment.yml for conda and Binder, constraints.txt."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def stated(*extras: str) -> list[Requirement]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for lines in lists for line in lines]


def conda() -> list[str]:
    return [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]


def test_conda_users_get_what_learners_and_instructors_get_elsewhere() -> None:
    expected = {f"{CONDA_NAMES.get(one.name, one.name)}{one.specifier}" for one in stated("instructor")}
    assert set(conda()) - {"pip"} == expected | {f"python{PROJECT['requires-python']}"}


def test_conda_users_get_the_project_itself_and_nothing_else_from_pip() -> None:
    assert ENVIRONMENT["dependencies"][-1] == {"pip": ["-e ."]}
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert "pip" in conda()


def test_every_requirement_has_a_lower_bound_and_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for one in stated(*PROJECT["optional-dependencies"]):
        assert re.fullmatch(r">=[\w.]+", str(one.specifier)), one
        assert re.search(rf'^\s*.*"{re.escape(one.name)}>=.*#\s\S', text, re.MULTILINE), f"{one}: no reason given"


def test_every_requirement_is_pinned_within_its_bound() -> None:
    pins = {canonicalize_name(one.name): one for one in map(Requirement, filter(is_pin, PINS))}
    for one in stated(*PROJECT["optional-dependencies"]):
        pin = pins[canonicalize_name(one.name)]
        assert one.specifier.contains(str(pin.specifier).removeprefix("=="), prereleases=True), f"{one} against {pin}"


def test_a_pin_is_one_release_of_one_package_and_installs_on_every_system() -> None:
    for pin in map(Requirement, filter(is_pin, PINS)):
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert Version(specifier.version).local is None, f"{pin}: a build tag is to be had on one system only"
        assert not pin.url and not pin.extras, pin


def test_pins_are_sorted_and_named_once() -> None:
    names = [canonicalize_name(Requirement(line).name) for line in filter(is_pin, PINS)]
    assert len(set(names)) == len(names)
    assert names == sorted(names)


def test_what_only_other_systems_need_is_pinned_too() -> None:
    pins = {Requirement(line).name: Requirement(line) for line in filter(is_pin, PINS)}
    assert pins["torch"].marker is None and str(pins["torch"].specifier) == "==2.13.0"
    for name, system in {"colorama": "win32", "appnope": "darwin"}.items():
        assert pins[name].marker and pins[name].marker.evaluate({"sys_platform": system})
    assert pins["pywinpty"].marker and pins["pywinpty"].marker.evaluate({"os_name": "nt"})


def is_pin(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def test_pins_run_on_the_oldest_python_that_is_promised() -> None:
    oldest = Version(PROJECT["requires-python"].removeprefix(">=") + ".0")
    pinned = {canonicalize_name(line.split("==")[0]) for line in PINS if "==" in line and not line.startswith("#")}
    here = {canonicalize_name(one.metadata["Name"]): one.metadata["Requires-Python"] for one in distributions()}
    too_new = {name for name in pinned & set(here) if here[name] and oldest not in SpecifierSet(here[name])}
    assert len(pinned & set(here)) > 50
    assert too_new == set()
