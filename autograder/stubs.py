"""From the reference library to a cell to fill in: signature and docstring stay, the body becomes a solution region."""

import ast
import builtins
import symtable

from nutshell.errors import Refused

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("Write this, then run the check below.")'


def solution_cell(library: str, name: str, where: str = "reference.py") -> str:
    """Cut one exercise out of the reference library, its body marked as nbgrader's solution region.

    Parameters
    ----------
    library : str
        Text of ``reference.py``.
    name : str
        A function or class at its top level.
    where : str
        Name of the file in messages.

    Returns
    -------
    str
        A cell's source. In a class the body of each method is a region of its own.

    Raises
    ------
    Refused
        If there is no such function or class, or it has no docstring.

    Examples
    --------
    >>> print(solution_cell('def half(x):\\n    "Half of x."\\n    return x / 2', "half"))
    def half(x):
        "Half of x."
        ### BEGIN SOLUTION
        return x / 2
        ### END SOLUTION
    """
    node = _find(library, name, where)
    lines = library.splitlines()
    last = _last_line(node)
    for function in reversed(_functions(node)):
        first, end = function.body[0], _last_line(function)
        if first.lineno == function.lineno:
            raise Refused(
                f"{where}: the body of {function.name} stands on the line of its def; give it lines of its own."
            )
        start = _last_line(first) if _is_docstring(first) else _header_end(function, lines)
        while start < end and not lines[start].strip():
            start += 1
        if start == end:
            raise Refused(f"{where}: {function.name} has a docstring and no body.")
        indent = " " * first.col_offset
        region = [indent + BEGIN, *lines[start:end], indent + END]
        lines[start:end] = region
        last += start + len(region) - end
    return "\n".join(lines[_first_line(node) - 1 : last])


def public_names(library: str) -> list[str]:
    """Names of the functions and classes at a module's top level that don't begin with an underscore."""
    return [
        node.name
        for node in ast.parse(library).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def bound_names(cell: str) -> set[str]:
    """Names that a cell's code binds at its top level: imports, assignments, functions, classes.

    Examples
    --------
    >>> sorted(bound_names("import numpy as np\\nfrom torch import nn\\nx = 1"))
    ['nn', 'np', 'x']
    """
    table = symtable.symtable(cell, "cell", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def needed_names(cell: str) -> set[str]:
    """Names that a cell's code reads and neither binds itself nor finds among Python's built-ins.

    Examples
    --------
    >>> sorted(needed_names("def half(x: Tensor):\\n    return np.asarray(x) / two"))
    ['Tensor', 'np', 'two']
    """
    table = symtable.symtable(cell, "cell", "exec")
    used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    pending = list(table.get_children())
    while pending:
        inner = pending.pop()
        used |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        pending += inner.get_children()
    return {name for name in used - bound_names(cell) - set(dir(builtins)) if not name.startswith("__")}


def _find(library: str, name: str, where: str) -> ast.FunctionDef | ast.ClassDef:
    for node in ast.parse(library).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            if not ast.get_docstring(node):
                raise Refused(f"{where}: {name} has no docstring, so its stub would not say what is asked.")
            return node
    raise Refused(f"{where} has no function or class {name!r}; it has {', '.join(public_names(library)) or 'none'}.")


def _functions(node: ast.FunctionDef | ast.ClassDef) -> list[ast.FunctionDef]:
    if isinstance(node, ast.FunctionDef):
        return [node]
    return [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _header_end(function: ast.FunctionDef, lines: list[str]) -> int:
    """Number of the line that ends the signature: the last one before the body that is more than a comment."""
    number = function.body[0].lineno - 1
    while not lines[number - 1].strip() or lines[number - 1].lstrip().startswith("#"):
        number -= 1
    return number


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
