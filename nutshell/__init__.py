"""Nutshell: the toolkit that lessons, labs and the grader share.

A lab's first cell takes what it needs from here: ``from nutshell import check, hand_in, open_lab, progress``.
"""

from typing import Any

__version__ = "0.1.0"
_AT_THE_DESK = {"check", "hand_in", "open_lab", "progress"}


def __getattr__(name: str) -> Any:
    if name in _AT_THE_DESK:  # imported on first use, so that `import nutshell` stays quick
        from nutshell.wire import desk

        return getattr(desk, name)
    raise AttributeError(f"module 'nutshell' has no attribute {name!r}")
