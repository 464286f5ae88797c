"""Penalties for late submissions, by nbgrader's own plugin as ``nbgrader_config.py`` chooses it."""

import logging
import math
from contextlib import chdir
from pathlib import Path
from typing import Any

from nutshell.errors import Trouble


class Penalties:
    """What a late submission loses.

    Parameters
    ----------
    config : Config
        nbgrader's settings: ``AssignLatePenalties.plugin_class`` and the plugin's own.
    folder : Path
        The classroom, from where nbgrader finds the plugin too.

    Raises
    ------
    Trouble
        If there is no such plugin.
    """

    def __init__(self, config: Any, folder: Path) -> None:
        from nbgrader.preprocessors import AssignLatePenalties

        with chdir(folder):
            try:
                step = AssignLatePenalties(config=config)
                step.init_plugin()
            except Exception as error:  # the plugin is anybody's code
                raise Trouble(
                    f"{folder / 'nbgrader_config.py'}: the plugin for late submissions can't be used: {error}"
                ) from error
        step.plugin_inst.log = logging.getLogger("nbgrader")  # it says something of every submission
        step.plugin_inst.log.setLevel(logging.ERROR)
        self._plugin = step.plugin_inst

    def of(self, student: str, score: float, seconds_late: float) -> float | None:
        """Marks to take off: from 0 to all there are, or ``None`` for no penalty.

        Raises
        ------
        Trouble
            If the plugin fails or doesn't give a number.
        """
        try:
            said = self._plugin.late_submission_penalty(student, score, seconds_late)
            if said is None:
                return None
            if not math.isfinite(said):
                raise ValueError(f"it gave {said!r}, and a penalty is a finite number or None")
        except Exception as error:
            raise Trouble(
                f"{type(self._plugin).__name__}, the plugin for late submissions, failed on {student} "
                f"({score:g} marks, {seconds_late:g} seconds late): {error}"
            ) from error
        return min(max(float(said), 0.0), score)
