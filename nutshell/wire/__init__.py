"""One check, two channels: how checks reach an implementation without sharing objects with it.

:mod:`~nutshell.wire.codec` turns plain data into bytes, :mod:`~nutshell.wire.harness` answers requests where the
learner's code runs, :mod:`~nutshell.wire.standins` is what a check holds in its hands, :mod:`~nutshell.wire.channel`
joins the two, :mod:`~nutshell.wire.running` runs checks, :mod:`~nutshell.wire.desk` is what a learner calls. A check
that wants an argument changed in place writes ``inout(argument)``.
"""

from typing import Any

__all__ = ["CannotCross", "inout"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from nutshell.wire import standins

        return getattr(standins, name)
    raise AttributeError(f"module 'nutshell.wire' has no attribute {name!r}")
