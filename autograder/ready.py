"""Whether this machine can grade a lab: its unit, the classroom's settings and secret, and the data of its budgets."""

import os
from functools import lru_cache
from pathlib import Path

from autograder import classroom, settings, units

STAND_INS = "NUTSHELL_ALLOW_STAND_INS"


def not_ready(lab: str, folder: Path | None = None) -> str:
    """Why submissions of a lab can't be graded now, in one line; empty if they can.

    Parameters
    ----------
    lab : str
        Name of its folder, such as ``"03_low_rank"``.
    folder : Path, optional
        The classroom; the one in which the current folder lies if left out.
    """
    try:
        folder = folder or classroom.find()
        unit = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())]).unit(lab)
        classroom.seed(folder)
        names = {budget.data: data_name(budget.data) for budget in unit.budgets}
    except Exception as error:  # whatever is wrong with the unit's code or the data, it isn't the learner's
        said = str(error).splitlines()
        return f"{said[0] if said else 'no message'} ({type(error).__name__})"
    for asked, found in names.items():
        if "stand-in" in found and os.environ.get(STAND_INS, "") in ("", "0"):
            return (
                f"budgets are judged on {asked}, and this machine only has {found}. Get it with: nutshell data fetch "
                f"{asked} — or, for a rehearsal whose marks mean nothing, set {STAND_INS}=1."
            )
    return ""


@lru_cache
def data_name(name: str) -> str:
    """The name of the data set that is in use here for one that is asked for; it says if it is a stand-in."""
    from nutshell.data import load

    return load(name).name
