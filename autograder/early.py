"""Local workers are forked from one process that has imported what they need; it may begin before all else does."""

import os
import tempfile
from multiprocessing import forkserver, get_all_start_methods, get_context
from multiprocessing.context import BaseContext

NEEDED = ("autograder.judge", "autograder.sandbox", "autograder.isolation", "torch.fx.experimental.symbolic_shapes")
LONGEST = 70  # bytes of the temporary folder's name: a socket's address, which lies in it, may have 107


def begin() -> BaseContext:
    """Start that process, unless it runs, and return at once; where there is none, workers import for themselves.

    Called first by the command, the imports of workers and coordinator go on side by side.
    """
    if "forkserver" not in get_all_start_methods() or len(os.fsencode(tempfile.gettempdir())) > LONGEST:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(NEEDED))  # the last is what torch imports at the first gradient, in a second
    forkserver.ensure_running()
    return context
