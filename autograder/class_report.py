"""``nutshell report``: a classroom's marks and verdicts, gathered into one class report."""

from datetime import UTC, datetime
from pathlib import Path

from autograder import classroom, settings, units
from autograder.class_data import Report
from autograder.class_gradebook import Person, read_marks
from autograder.class_lab import LabTally
from autograder.class_names import Names
from autograder.intake import students as students_with
from nutshell.errors import WrongUse


def gather(folder: Path, assignment: str = "", *, hide_names: bool = False) -> Report:
    """Read a classroom and put its class report together; nothing is written.

    Parameters
    ----------
    folder : Path
        The classroom.
    assignment : str
        One unit or its folder; every unit of the classroom if empty.
    hide_names : bool
        Whether students appear by pseudonyms, which only the classroom's secret seed can connect to names.

    Raises
    ------
    WrongUse
        If the folder is no classroom, or doesn't hand out that unit.
    Trouble
        If gradebook, verdicts or the seed can't be read.
    """
    if not (folder / settings.FILE).is_file():
        raise WrongUse(
            f"{folder} is no classroom: it has no {settings.FILE}. Give the folder that nutshell classroom made, or "
            f"make one with: nutshell classroom {folder}"
        )
    said = settings.read(folder / settings.FILE, [source.unit for source in units.chosen(())])
    chosen = [said.unit(assignment)] if assignment else list(said.units)
    people, marks = read_marks(folder, [unit.folder for unit in chosen])
    handed_in = {unit.folder: set(students_with(folder, unit.folder)) for unit in chosen}
    for student in set().union(*handed_in.values()):
        people.setdefault(student, Person(student))
    names = Names(people.values(), classroom.seed(folder) if hide_names else None)
    labs = tuple(
        LabTally(folder, unit, marks[unit.folder], handed_in[unit.folder], people, names).report() for unit in chosen
    )
    made = datetime.now(UTC).replace(microsecond=0).isoformat()
    place = "" if hide_names else str(folder.resolve())
    return Report(said.course, place, made, hide_names, len(people), labs)
