"""A harness on standard input and output, ``python -P -m nutshell.wire.serve``; :mod:`nutshell.wire.process` starts it.

What the learner's code prints goes nowhere; the messages have descriptors of their own.
"""

import os
import sys
from typing import Any, BinaryIO

from nutshell.wire import codec
from nutshell.wire.harness import Harness


def main() -> None:
    """Answer requests until standard input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    shell = learner_shell()
    sys.path.insert(0, "")  # a notebook may import what lies beside it; this program may not
    serve(Harness(shell.user_ns, shell=shell), requests, replies)


READY = {"value": "ready"}


def serve(harness: Harness, requests: BinaryIO, replies: BinaryIO) -> None:
    """Say that the harness is ready, then answer each message of one stream on another."""
    replies.write(codec.encode(READY))
    replies.flush()
    while len(prefix := requests.read(8)) == 8:
        replies.write(harness.answer(prefix + requests.read(codec.length(prefix))))
        replies.flush()


class _Forgetful(dict):
    """Where IPython keeps all that a cell prints: kept nowhere, so that prints cost no memory."""

    def __missing__(self, number: int) -> list:
        return []


def learner_shell() -> Any:
    """An IPython shell without a terminal: magics work, history is not kept, nothing is installed."""
    from IPython.core.error import UsageError
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    def refuse(line: str) -> None:
        raise UsageError("Nothing can be installed here.")

    settings = Config()
    settings.HistoryManager.enabled = False
    shell: Any = InteractiveShell.instance(config=settings)
    shell.history_manager.outputs = _Forgetful()
    shell.enable_gui = lambda gui=None: None  # %matplotlib asks for one
    for name in ("pip", "conda", "mamba", "uv"):
        shell.register_magic_function(refuse, "line", name)
    return shell


if __name__ == "__main__":
    main()
