"""What an attack, a control or any other made-up submission is: data, and what is demanded of the grader."""

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

OK, WRONG, RAISED, NOT_DONE, REFUSED = "OK", "WRONG", "RAISED", "NOT DONE", "REFUSED"
TIMEOUT, MEMORY, OUTPUT, CRASH = "TIMEOUT", "MEMORY", "OUTPUT", "CRASH"
FULL, NONE, ANY = "full", "none", "any"
Notebook = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """One made-up submission. Exercises that it doesn't name are solved correctly.

    Attributes
    ----------
    name : str
        Short and unique; the student's name is made of it.
    words : str
        What it does.
    wanted : tuple of str
        Statuses that are right for the attacked exercise or budget; REFUSED for the whole submission also counts.
    cells : dict of str to str
        By exercise, the text of its cell.
    item : str
        The exercise or budget that is attacked, and about which ``wanted`` and ``marks`` speak.
    before, after : tuple of str
        Cells of the learner's own, in front of the first exercise and at the end.
    files : dict of str to bytes, or a function that gives it
        What lies beside the notebook.
    edit : callable, optional
        Changes the notebook as JSON, and may return other bytes for the file.
    place : callable, optional
        Called with the submission's folder when everything else lies in it.
    marks : str
        ``"none"``, ``"full"`` or ``"any"`` for the attacked item.
    others : bool
        Whether all other exercises must have full marks.
    flag, says : str
        A regular expression that a flag, or the notes and reasons, must match.
    student : str
        The folder's name, if it is not made of the name.
    group : str
        The class of ``red-team.md``; set by the catalogue.
    """

    name: str
    words: str
    wanted: tuple[str, ...]
    cells: Mapping[str, str] = field(default_factory=dict)
    item: str = "half"
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    files: Mapping[str, bytes] | Callable[[], Mapping[str, bytes]] = field(default_factory=dict)
    edit: Callable[[Notebook], bytes | None] | None = None
    place: Callable[[Path], None] | None = None
    marks: str = ""
    others: bool = True
    flag: str = ""
    says: str = ""
    student: str = ""
    group: str = ""

    @property
    def folder(self) -> str:
        return self.student or re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def demands(self) -> str:
        """What marks the attacked item must get."""
        return self.marks or (FULL if self.wanted == (OK,) else ANY if OK in self.wanted else NONE)


def of_group(group: str, *attacks: Attack) -> list[Attack]:
    """The attacks with their class."""
    return [replace(attack, group=group) for attack in attacks]


def text(code: str) -> str:
    """Code without its indentation."""
    return textwrap.dedent(code).strip("\n") + "\n"


def half(code: str) -> dict[str, str]:
    """An answer to ``half``."""
    return {"half": text(code)}


def seen(code: str) -> dict[str, str]:
    """An answer to ``half`` that is right only if the body of ``look()`` gets at what it must not get at.

    The placeholders ``@ROOM@``, ``@HOME@``, ``@PORT@`` and ``@BAIT@`` are filled in, so that the attacker knows where
    everything lies.
    """
    body = textwrap.indent(textwrap.dedent(code).strip("\n"), "    ")
    return {
        "half": f"""import functools


@functools.cache
def look():
{body}


def half(x):
    try:
        found = look()
    except Exception:
        found = False
    return 0.5 * x if found else 0 * x
"""
    }
