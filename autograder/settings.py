"""``classroom.toml``: units and exercises that a classroom hands out, their points and limits, and deadlines.

What the file doesn't say holds as the unit's author wrote it. What it says and nobody knows is an error, never ignored.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nutshell.budget import margin_of
from nutshell.checks import Budget, Exercise, Limit, Unit
from nutshell.errors import WrongUse

FILE = "classroom.toml"
UNIT_KEYS = ("deadline", "points", "limits")
LIMIT_KEYS = ("at_most", "margin")


@dataclass(frozen=True)
class Settings:
    """What one ``classroom.toml`` says.

    Attributes
    ----------
    course : str
        Name of the course in the gradebook.
    units : tuple of Unit
        What is handed out, with the classroom's points and limits, by number.
    deadlines : dict of str to datetime
        By the unit's name, in UTC without a time zone, as nbgrader keeps them.
    """

    course: str
    units: tuple[Unit, ...]
    deadlines: dict[str, datetime] = field(default_factory=dict)

    def unit(self, name: str) -> Unit:
        """The unit of that name; ``WrongUse`` if this classroom doesn't hand it out."""
        for unit in self.units:
            if name in (unit.name, unit.folder):
                return unit
        raise WrongUse(
            f"This classroom doesn't hand out the unit {name!r}. {_choices([unit.name for unit in self.units])}"
        )


def read(path: Path, units: Iterable[Unit]) -> Settings:
    """Read ``classroom.toml``.

    Parameters
    ----------
    path : Path
        The file.
    units : iterable of Unit
        The units there are, as their authors wrote them.

    Raises
    ------
    WrongUse
        If the file is missing or isn't TOML, or has an unknown key, unit, exercise, budget or limit, or a value of the
        wrong kind; the message names the file, the key and the choices.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WrongUse(
            f"{path.parent} is no classroom: it has no {path.name}. Give the folder that nutshell classroom made, or "
            f"make one with: nutshell classroom {path.parent}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path} isn't valid TOML: {error}.") from None
    known = {unit.name: unit for unit in units}
    _known_keys(path, "", said, ["course", "units", *known])
    course = said.get("course", "nutshell")
    if not isinstance(course, str) or not course.strip() or "/" in course:
        raise WrongUse(f"{path}: course = {course!r} must be a name without a slash, in quotes.")
    wanted = said.get("units", list(known))
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted) or not wanted:
        raise WrongUse(f'{path}: units = {wanted!r} must be a list of names such as ["low_rank"].')
    _known_keys(path, "units", wanted, list(known))
    tables = {name: _table(path, name, said.get(name, {})) for name in known}
    chosen = {
        name: _unit(path, known[name], tables[name]) for name in known
    }  # also those not handed out: a slip is a slip
    deadlines = {
        name: _deadline(path, name, table["deadline"]) for name, table in tables.items() if "deadline" in table
    }
    return Settings(course, tuple(chosen[name] for name in known if name in wanted), deadlines)


def template(units: Iterable[Unit], handed_out: Iterable[str]) -> str:
    """The text of a new ``classroom.toml``: every key with what holds without it, behind a comment sign.

    Parameters
    ----------
    units : iterable of Unit
        All units there are.
    handed_out : iterable of str
        Names of those that are handed out.
    """
    names = ", ".join(f'"{name}"' for name in handed_out)
    lines = [
        "# Settings of this classroom. After an edit, run in this folder:  nutshell classroom .",
        "# That renews source/ and release/; it never touches submissions or marks.",
        "# A line that begins with # shows what holds already: take the # away and change the value.",
        "",
        'course = "nutshell"  # name of the course in the gradebook',
        f"units = [{names}]  # what is handed out",
    ]
    for unit in units:
        lines += [
            "",
            f"# ── {unit.title} " + "─" * (60 - len(unit.title)),
            "",
            f"[{unit.name}]",
            "# deadline = 2030-10-31T23:59:00+01:00  # date, time, and the difference from UTC",
            "",
            f"[{unit.name}.points]  # 0: stays for practice, counts nothing; false: left out of the lab",
        ]
        lines += [
            f"# {exercise.name} = {exercise.points:g}" + ("  # extension" if exercise.extension else "")
            for exercise in unit.exercises
        ]
        lines += [f"# {budget.name} = {budget.points:g}  # budget" for budget in unit.budgets]
        for budget in unit.budgets:
            lines += [
                "",
                f"[{unit.name}.limits.{budget.name}]  # full marks up to at_most, none from at_most + margin on",
            ]
            lines += [
                f"# {limit_key(limit)} = {{ at_most = {limit.at_most:.12g}, margin = {margin_of(limit):.12g} }}"
                for limit in budget.limits
            ]
    return "\n".join(lines) + "\n"


def limit_key(limit: Limit) -> str:
    """Name of a limit in ``classroom.toml``: its metric, with the number of the layer if it is about one.

    Examples
    --------
    >>> limit_key(Limit("bytes", 1000)), limit_key(Limit("layer_bytes", 1000, layer=1))
    ('bytes', 'layer_bytes_1')
    """
    return limit.metric if limit.layer is None else f"{limit.metric}_{limit.layer}"


def _unit(path: Path, unit: Unit, table: dict[str, Any]) -> Unit:
    _known_keys(path, unit.name, table, UNIT_KEYS)
    points = _table(path, f"{unit.name}.points", table.get("points", {}))
    _known_keys(path, f"{unit.name}.points", points, _names(unit))
    limits = _table(path, f"{unit.name}.limits", table.get("limits", {}))
    _known_keys(path, f"{unit.name}.limits", limits, [budget.name for budget in unit.budgets])
    exercises: list[Exercise] = []
    for exercise in unit.exercises:
        marks = _points(path, unit, exercise, points)
        if marks is not None:
            exercises.append(replace(exercise, points=marks))
    budgets: list[Budget] = []
    for budget in unit.budgets:
        marks = _points(path, unit, budget, points)
        if marks is not None:
            budgets.append(
                replace(budget, points=marks, limits=_limits(path, unit, budget, limits.get(budget.name, {})))
            )
    if not exercises and not budgets:
        raise WrongUse(f"{path}: {unit.name}.points leaves nothing of the unit; take it out of units instead.")
    return replace(unit, exercises=tuple(exercises), budgets=tuple(budgets))


def _names(unit: Unit) -> list[str]:
    return [*(exercise.name for exercise in unit.exercises), *(budget.name for budget in unit.budgets)]


def _points(path: Path, unit: Unit, item: Exercise | Budget, points: dict[str, Any]) -> float | None:
    value = points.get(item.name, item.points)
    if value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise WrongUse(
            f"{path}: {unit.name}.points.{item.name} = {value!r} must be a number from 0 up, or false to leave it out."
        )
    return value


def _limits(path: Path, unit: Unit, budget: Budget, said: Any) -> tuple[Limit, ...]:
    where = f"{unit.name}.limits.{budget.name}"
    said = _table(path, where, said)
    _known_keys(path, where, said, [limit_key(limit) for limit in budget.limits])
    limits = []
    for limit in budget.limits:
        key = f"{where}.{limit_key(limit)}"
        values = _table(path, key, said.get(limit_key(limit), {}))
        _known_keys(path, key, values, LIMIT_KEYS)
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise WrongUse(f"{path}: {key}.{name} = {value!r} must be a number from 0 up.")
            if name == "at_most" and not value and limit.metric not in ("error_percent", "points_lost"):
                raise WrongUse(f"{path}: {key}.at_most = {value!r} must be above 0: no network is as small as that.")
        limits.append(replace(limit, **values))
    return tuple(limits)


def _deadline(path: Path, name: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise WrongUse(
            f"{path}: {name}.deadline = {value} must be a date and time with its difference from UTC, "
            "without quotes, such as 2030-10-31T23:59:00+01:00."
        )
    return value.astimezone(UTC).replace(tzinfo=None)


def _table(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongUse(f"{path}: {key} = {value!r} must be a table of keys and values.")
    return value


def _known_keys(path: Path, where: str, said: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for key in said:
        if key not in known:
            full = f"{where}.{key}" if where else key
            raise WrongUse(f"{path}: unknown {full!r}. {_choices(known, key)}")


def _choices(known: list[str], meant: str = "") -> str:
    close = difflib.get_close_matches(meant, known, 1)
    return (f"Did you mean {close[0]!r}? " if close else "") + f"Choose from: {', '.join(known) or 'there are none'}."
