"""Mistakes made on purpose, for tests of what checks say to them."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


def edited(reference: ModuleType, exercise: str, before: str, after: str) -> Callable[..., Any]:
    """The reference's answer to an exercise with one piece of its code replaced.

    Parameters
    ----------
    reference : module
        A unit's reference library.
    exercise : str
        Name of the function.
    before, after : str
        What is replaced, wherever it stands in the function, and by what.
    """
    source = inspect.getsource(getattr(reference, exercise))
    assert before in source
    names = dict(vars(reference))
    exec(compile(source.replace(before, after), "edited", "exec"), names)
    return names[exercise]
