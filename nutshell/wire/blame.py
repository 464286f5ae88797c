"""An exception as text: its class, what it says, and the learner's own lines."""

import dis
import linecache
import re
import traceback
from pathlib import Path

_OURS = ("nutshell.wire.", "torch.", "IPython.")
_RAISE = dis.opmap["RAISE_VARARGS"]
_LIBRARIES = (*_OURS, "nutshell", "torch", "numpy", "IPython")
_CELL = re.compile(r"<ipython-input-[\w-]+>")  # IPython's name for a cell, in the message of a SyntaxError
_TEXT = 4000  # characters of an error that are carried


def describe(error: BaseException) -> dict:
    """An exception as text: its class, what it says, the learner's own lines, and whether it is the stub's."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    lines = []
    for frame, line in frames:
        module = frame.f_globals.get("__name__") or ""
        if module.startswith(_OURS):
            continue
        source = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
        lines.append(f"in {frame.f_code.co_name}, line {line}: {source}")
    stub = isinstance(error, NotImplementedError) and _raised_in_python(error)
    return dict(kind=type(error).__name__, message=_said(error), traceback="\n".join(lines[-8:])[-_TEXT:], stub=stub)


def place_of(error: BaseException) -> str:
    """Where the learner's code was when this was raised: ``in audit, line 3 of your cell``."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_globals.get("__name__") or "" for frame, _ in frames]
    own = [pair for pair, name in zip(frames, names, strict=True) if name == "__main__"]
    other = [pair for pair, name in zip(frames, names, strict=True) if not name.startswith(_LIBRARIES)]
    if not own and not other:
        return "while the check itself was running"
    frame, line = (own or other)[-1]
    file = frame.f_code.co_filename
    cell = file.startswith("<") or "ipykernel_" in file  # where ipykernel says that its cells lie
    return f"in {frame.f_code.co_name}, line {line} of {'your cell' if cell else Path(file).name}"


def _raised_in_python(error: BaseException) -> bool:
    """Whether a ``raise`` statement raised it; torch raises NotImplementedError too, for kernels that it lacks."""
    step = error.__traceback__
    if step is None:
        return False
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_code[step.tb_lasti] == _RAISE


def _said(error: BaseException) -> str:
    try:
        return _CELL.sub("your cell", str(error)[:_TEXT])
    except BaseException as second:  # a learner's exception may fail at being printed
        return f"(its message can't be printed: {type(second).__name__})"
