"""The desk half of a unit: what lies beside a lab's notebook so that its public checks run without the reference.

Three files: the unit as data, the public checks cut out of ``checks.py``, and the recorded replies of the reference.
"""

import ast
import json
from dataclasses import asdict

from autograder.trial import replies
from autograder.units import Source
from nutshell.checks import Unit
from nutshell.errors import Refused

HEADER = '"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""\n'


def desk_files(source: Source, unit: Unit | None = None, replies_before: bytes | None = None) -> dict[str, bytes]:
    """The files of ``desk/`` by name: ``unit.json``, ``public_checks.py`` and ``replies.bin``; see :func:`replies`."""
    return {
        "unit.json": unit_json(unit or source.unit),
        "public_checks.py": public_checks(source.checks_text, f"solutions/{source.unit.name}/checks.py").encode(),
        "replies.bin": replies(source, replies_before),
    }


def unit_json(unit: Unit) -> bytes:
    """A unit as data."""
    return (json.dumps(asdict(unit), indent=1, ensure_ascii=False) + "\n").encode()


def public_checks(text: str, where: str = "checks.py") -> str:
    """Cut the public checks out of ``checks.py``, with the imports and helpers that they need and nothing else.

    Parameters
    ----------
    text : str
        The text of ``checks.py``.
    where : str
        Its name in messages.

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
    kept = [node for node in tree.body if _is_check(node, hidden=False)]
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
