"""The desk half of a unit: what lies beside a lab's notebook so that its public checks run without the reference.

Three files: the unit as data, the public checks cut out of ``checks.py``, and the recorded replies of the reference.
For each unit that lends exercises, checks and replies lie once more in a folder of its name.
"""

import ast
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict

from autograder.trial import replies
from autograder.units import Source
from nutshell.checks import Unit
from nutshell.errors import Refused

HEADER = '"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""\n'


def desk_files(
    source: Source, unit: Unit | None = None, before: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The files of ``desk/`` by name: ``unit.json``, ``public_checks.py`` and ``replies.bin``.

    Parameters
    ----------
    source : Source
        The unit as its author wrote it.
    unit : Unit, optional
        The unit as a classroom wants it.
    before : mapping of str to bytes, optional
        Files that lay there before; their replies are kept while they serve, see :func:`autograder.trial.replies`.
    """
    files = {"unit.json": unit_json(unit or source.unit)}
    halves = {"": (source, None)} | {
        f"{name}/": (lender, [one.name for one in source.unit.exercises if one.unit == name])
        for name, lender in source.lenders().items()
    }
    for folder, (home, exercises) in halves.items():
        where = f"solutions/{home.unit.name}/checks.py"
        files[f"{folder}public_checks.py"] = public_checks(home.checks_text, where, exercises).encode()
        files[f"{folder}replies.bin"] = replies(home, (before or {}).get(f"{folder}replies.bin"), exercises)
    return files


def unit_json(unit: Unit) -> bytes:
    """A unit as data."""
    data = asdict(unit)
    for exercise in data["exercises"]:
        if not exercise["unit"]:
            del exercise["unit"]
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def public_checks(text: str, where: str = "checks.py", exercises: Collection[str] | None = None) -> str:
    """Cut the public checks out of ``checks.py``, with the imports and helpers that they need and nothing else.

    Parameters
    ----------
    text : str
        The text of ``checks.py``.
    where : str
        Its name in messages.
    exercises : collection of str, optional
        Those whose checks are wanted; all if left out.

    Raises
    ------
    Refused
        If a public check needs a hidden one.

    Examples
    --------
    >>> print(public_checks('''
    ... import math, os
    ... from nutshell.checks import check
    ... SIZE = 3
    ... @check("half")
    ... def small(learner, reference, rng):
    ...     assert learner.half(SIZE) == math.fsum([1.5])
    ... @check("half", hidden=True)
    ... def secret(learner, reference, rng):
    ...     assert learner.half(1e300) == os.times()
    ... ''').partition('\\n\\n')[2])
    import math
    from nutshell.checks import check
    <BLANKLINE>
    SIZE = 3
    <BLANKLINE>
    <BLANKLINE>
    @check("half")
    def small(learner, reference, rng):
        assert learner.half(SIZE) == math.fsum([1.5])
    """
    tree = ast.parse(text)
    hidden = set().union(*(_names_bound(node) for node in tree.body if _is_check(node, hidden=True)))
    kept = [
        node
        for node in tree.body
        if _is_check(node, hidden=False) and (exercises is None or _exercise_of(node) in exercises)
    ]
    others = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom) and node not in kept]
    needed = _names_read(kept)
    while grown := [node for node in others if node not in kept and _names_bound(node) & needed]:
        kept += grown
        needed |= _names_read(grown)
    if needed & hidden:
        raise Refused(
            f"{where}: a public check needs the hidden one {', '.join(sorted(needed & hidden))}; "
            "move what both need to a helper."
        )
    imports = [line for node in tree.body if (line := _import_of(node, needed))]
    lines = text.splitlines()
    parts = [HEADER, "\n".join(imports) + "\n"]
    for node in tree.body:
        if node in kept:
            start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            gap = "\n" if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
            parts.append(gap + "\n".join(lines[start - 1 : node.end_lineno]) + "\n")
    return "\n".join(parts)


def _is_check(node: ast.stmt, hidden: bool) -> bool:
    for decorator in getattr(node, "decorator_list", []):
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "check":
            said = {word.arg: word.value for word in decorator.keywords}.get("hidden")
            return hidden == (said is not None and bool(ast.literal_eval(said)))
    return False


def _exercise_of(node: ast.stmt) -> str:
    """The exercise that a check's decorator names."""
    for decorator in getattr(node, "decorator_list", []):
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "check":
            said = {word.arg: word.value for word in decorator.keywords}
            return str(ast.literal_eval(decorator.args[0] if decorator.args else said["exercise"]))
    return ""


def _names_read(nodes: list[ast.stmt]) -> set[str]:
    return {
        inner.id
        for node in nodes
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)
    }


def _names_bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}


def _import_of(node: ast.stmt, needed: set[str]) -> str:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return ""
    used = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in needed]
    if isinstance(node, ast.ImportFrom):
        return ast.unparse(ast.ImportFrom(node.module, used, node.level)) if used else ""
    return ast.unparse(ast.Import(used)) if used else ""
