"""The units that stand in ``solutions/``, and what release, grading and the demo read of each."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nutshell.checks import Answer, Check, Unit, answers_of, checks_of
from nutshell.errors import Refused, WrongUse

FILES = ("reference.py", "checks.py", "lab.md")


@dataclass(frozen=True)
class Source:
    """One unit as its author wrote it.

    Attributes
    ----------
    unit : Unit
        From ``checks.py``.
    folder : Path
        ``solutions/<name>``.
    reference, checks : module
        The reference library, and the checks.
    """

    unit: Unit
    folder: Path
    reference: ModuleType
    checks: ModuleType

    @property
    def mutants(self) -> ModuleType:
        """Wrong answers, and right ones written differently."""
        return _module(self.unit.name, "mutants")

    @property
    def lab_text(self) -> str:
        return (self.folder / "lab.md").read_text(encoding="utf-8")

    @property
    def reference_text(self) -> str:
        return (self.folder / "reference.py").read_text(encoding="utf-8")

    @property
    def checks_text(self) -> str:
        return (self.folder / "checks.py").read_text(encoding="utf-8")

    def public_checks(self) -> list[Check]:
        return [check for check in checks_of(self.checks) if not check.hidden]

    def home(self, exercise: str) -> "Source":
        """The unit in which an exercise is written: this one, or the one that lends it.

        Raises
        ------
        WrongUse
            If there is no such unit.
        Refused
            If that unit has no such exercise of its own.
        """
        lender = next((one.unit for one in self.unit.exercises if one.name == exercise), "")
        if not lender:
            return self
        found = load(lender)
        if not any(one.name == exercise and not one.unit for one in found.unit.exercises):
            raise Refused(f"solutions/{self.unit.name} borrows {exercise} from {lender}, which has no such exercise.")
        return found

    def lenders(self) -> "dict[str, Source]":
        """The units that lend exercises to this one, by name."""
        borrowed = [one for one in self.unit.exercises if one.unit]
        return {one.unit: self.home(one.name) for one in borrowed}

    def answers(self) -> list[Answer]:
        """Mutants and alternatives of all exercises, the borrowed ones' too."""
        found = answers_of(self.mutants) if (self.folder / "mutants.py").is_file() else []
        for name, lender in self.lenders().items():
            wanted = {one.name for one in self.unit.exercises if one.unit == name}
            found += [answer for answer in answers_of(lender.mutants) if answer.exercise in wanted]
        return found


def names() -> list[str]:
    """Names of all units, by their numbers.

    A folder of ``solutions`` is a unit once it has a ``checks.py``.
    """
    import solutions

    found = {
        folder.name
        for root in solutions.__path__
        for folder in Path(root).iterdir()
        if (folder / "checks.py").is_file()
    }
    return sorted(found, key=lambda name: (load(name).unit.number, name))


def load(name: str) -> Source:
    """Read one unit.

    Parameters
    ----------
    name : str
        Its name, or that of its folder: ``"low_rank"`` or ``"03_low_rank"``.

    Raises
    ------
    WrongUse
        If there is no such unit; the message names those there are.
    Refused
        If one of its files is missing, or ``checks.py`` says another name than the folder.
    """
    import solutions

    bare = name.split("_", 1)[1] if name[:2].isdigit() and name[2:3] == "_" else name
    folders = [Path(root) / bare for root in solutions.__path__ if (Path(root) / bare / "checks.py").is_file()]
    if not bare.isidentifier() or not folders:
        raise WrongUse(
            f"There is no unit {name!r}. Choose from: {', '.join(names()) or 'none stands in solutions yet'}."
        )
    missing = [file for file in FILES if not (folders[0] / file).is_file()]
    if missing:
        raise Refused(f"solutions/{bare} lacks {' and '.join(missing)}; a unit needs {', '.join(FILES)}.")
    checks = _module(bare, "checks")
    unit = getattr(checks, "UNIT", None)
    if not isinstance(unit, Unit):
        raise Refused(
            f"solutions/{bare}/checks.py defines no UNIT; write UNIT = Unit(number, {bare!r}, title, exercises)."
        )
    if unit.name != bare:
        raise Refused(
            f"solutions/{bare}/checks.py calls its unit {unit.name!r}; the folder is {bare!r}, and both must agree."
        )
    return Source(unit, folders[0], _module(bare, "reference"), checks)


def _module(unit: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"solutions.{unit}.{name}")
    except SyntaxError as error:
        where = f"solutions/{unit}/{Path(error.filename or name).name}, line {error.lineno}"
        raise Refused(f"{where}: it isn't valid Python: {error.msg}.") from None


def chosen(wanted: tuple[str, ...] | list[str]) -> list[Source]:
    """The units with those names, or all of them if none is named."""
    return [load(name) for name in (wanted or names())]
