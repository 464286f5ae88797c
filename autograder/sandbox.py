"""The sandbox: gives each submission a fresh process, kept apart from everything, and ends it.

::

    with Sandbox("bubblewrap") as box, box.child({"network.nut": data}) as child:
        reply = child.request("run", message)

What a learner's code can do to the judge is to send bytes on its wire: they are read up to a bound and by a deadline,
and are decoded by :mod:`nutshell.wire.codec`, which gives plain data or an error.
"""

import contextlib
import itertools
import os
from collections.abc import Mapping
from typing import Any

from autograder import container, control_group, programs, servers
from autograder.bubblewrap import plan
from autograder.child import Child
from autograder.limits import Limits, Lost
from autograder.watchdog import Watchdog, over_memory
from nutshell.errors import WrongUse

__all__ = ["LEVELS", "Child", "Limits", "Lost", "Sandbox"]

LEVELS = ("bubblewrap", "container", "process")
WATCHDOG, GROUP = "watchdog", "control group"
_numbers = itertools.count()


class Sandbox:
    """Where submissions run, one at a time; a context manager.

    Parameters
    ----------
    level : {"bubblewrap", "container", "process"}
        What :func:`autograder.isolation.choose` gave.
    limits : Limits, optional
        For each submission.

    Attributes
    ----------
    limited_by : str
        What holds a submission as a whole to its limits: ``"control group"`` or ``"watchdog"``.
    """

    def __init__(self, level: str = "bubblewrap", limits: Limits | None = None) -> None:
        if level not in LEVELS:
            raise WrongUse(f"isolation = {level!r}: must be one of {', '.join(LEVELS)}.")
        self.level, self.limits = level, limits or Limits()
        self._parent = control_group.delegated() if level != "container" else None
        self.limited_by = GROUP if self._parent is not None or level == "container" else WATCHDOG
        self._watchdog = Watchdog(self.limits, weigh=self.limited_by == WATCHDOG)
        self._server: servers.Server | None = None
        self._child: Child | None = None
        self._group: control_group.ControlGroup | None = None

    def child(self, files: Mapping[str, bytes], seconds: float | None = None) -> Child:
        """A fresh process with the submission's files in its working folder; the one before it is ended.

        Parameters
        ----------
        files : dict of str to bytes
            By path relative to the working folder.
        seconds : float, optional
            What is left of the submission's time; all of it if left out.

        Raises
        ------
        Lost
            If none can be started; the next call starts the sandbox anew.
        """
        try:
            self._end_child()
            if self._server is None or not self._server.alive:
                self._end_server()
                self._server = self._start()
            wire, keeper = self._server.child()
            child = Child(wire, keeper, self.limits, self.limits.submission if seconds is None else seconds)
            self._child = child
            child.on_end = self._ended
            child.number = keeper.started()
            if self._parent is not None:
                name = f"nutshell-{os.getpid()}-{next(_numbers)}"
                self._group = control_group.ControlGroup(self._parent, name, self.limits)
                self._group.add(child.number)
            child.begin(files)
            self._watchdog.watch(child)
        except (Lost, OSError) as error:
            self._end_server()
            if isinstance(error, Lost):
                raise
            raise Lost(f"A child of the sandbox doesn't start: {error}.") from None
        return child

    def close(self) -> None:
        """End everything inside."""
        self._end_server()
        self._watchdog.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _start(self) -> servers.Server:
        if self.level == "container":
            return servers.OneEach(container.starter(self.limits))
        if self.level == "process":
            return servers.OneEach(programs.process_starter(self.limits))
        chosen = plan()
        if chosen.fork_server:
            return servers.ForkServer(chosen.way, self.limits)
        return servers.OneEach(programs.bubblewrap_starter(chosen.way, self.limits))

    def _ended(self, child: Child) -> None:
        """A child's process is gone: stop watching it, and say so if the kernel ended it for its memory."""
        self._watchdog.forget()
        if self._group is not None:
            if self._group.out_of_memory():
                child.fate = child.fate or over_memory(self.limits)
            self._group.close()
            self._group = None

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None

    def _end_server(self) -> None:
        with contextlib.suppress(Lost):  # its end is what follows
            self._end_child()
        self._child = None
        if self._server is not None:
            self._server.close()
        self._server = None
