"""``nutshell leaderboard``: accuracy against bytes of all ``.nut`` files that a room handed in, as one page.

Files are collected in a folder, shared or carried there: ``FOLDER/ada.nut``, ``FOLDER/ada/workshop.nut``, or a
classroom's ``submitted/ada/00_workshop/workshop.nut``. Each is decoded and measured; nothing that it claims is used.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from autograder.class_budgets import BudgetReport, BudgetTally
from autograder.class_gradebook import Person
from autograder.class_names import Names
from autograder.class_page import environment
from autograder.class_pictures import budget_picture
from autograder.verdicts import REFUSED, BudgetVerdict
from nutshell import budget as budgets
from nutshell import models
from nutshell.checks import Budget
from nutshell.errors import Trouble, WrongUse
from nutshell.wire.running import OK, WRONG

MOST_FILES = 2000
MOST_BYTES = 64 << 20  # of a file; larger ones aren't read
Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Entry:
    """A line of the board.

    Attributes
    ----------
    place : int
        From 1; files of equal bytes and error share one.
    name : str
        Whose it is, or a pseudonym.
    bytes : int
        Of the file.
    rate : float
        How many times smaller than the network's parameters in 32 bits.
    error_percent : float
        Of the images.
    points : float
        Of the budget, by these images.
    """

    place: int
    name: str
    bytes: int
    rate: float
    error_percent: float
    points: float


@dataclass(frozen=True)
class Board:
    """What the page shows.

    Attributes
    ----------
    entries : tuple of Entry
        Best first: inside the limit on errors by bytes, then the others by error.
    refused : tuple of (str, str)
        Whose file wasn't measured, and why.
    limit : float
        On errors, in percent.
    report : BudgetReport
        What the picture is drawn from.
    """

    entries: tuple[Entry, ...]
    refused: tuple[tuple[str, str], ...]
    limit: float
    report: BudgetReport


class Room:
    """A folder of files that grows while a room works; each file is measured once.

    Parameters
    ----------
    folder : Path
        Where ``.nut`` files are collected.
    budget : Budget
        Its topology, data and limits.
    part : {"validation", "test"}
        Validation images while the room works, test images at the end.
    seed : int, optional
        Given, names are replaced by pseudonyms that it decides.
    """

    def __init__(self, folder: Path, budget: Budget, part: Part = "validation", seed: int | None = None) -> None:
        if not folder.is_dir():
            raise WrongUse(f"{folder} is no folder. Collect the .nut files in one, and name it.")
        self.folder, self.budget, self.part, self.seed = folder, budget, part, seed
        self._measured: dict[str, budgets.BudgetResult] = {}

    def board(self) -> Board:
        """Measure what is new, and put the board together.

        Raises
        ------
        Trouble
            If the real images aren't here: figures on a stand-in mean nothing.
        """
        found = list(files(self.folder))
        names = Names([Person(name) for name, _ in found], self.seed)
        tally = BudgetTally(self.budget, names)
        rows: list[tuple[str, budgets.BudgetResult]] = []
        refused: list[tuple[str, str]] = []
        for name, path in found:
            result = self._result(path)
            status = REFUSED if result.reason else OK if result.points >= result.possible else WRONG
            measured = result.measurement.to_dict() if result.measurement else {}
            tally.add(name, BudgetVerdict(self.budget.name, path.name, result.points, result.possible, status,
                                          tuple(asdict(row) for row in result.rows), result.reason, result.data,
                                          result.fingerprint, measured))  # fmt: skip
            if result.measurement is None:
                refused.append((names(name), result.reason))
            else:
                rows.append((names(name), result))
        limit = next((one.at_most for one in self.budget.limits if one.metric == "error_percent"), 100.0)
        return Board(_placed(rows, limit, _dense_bytes(self.budget)), tuple(refused), limit, tally.report([]))

    def _result(self, path: Path) -> budgets.BudgetResult:
        try:
            size = path.stat().st_size
            if size > MOST_BYTES:
                return _refusal(self.budget, f"The file has {size:,} bytes, more than {MOST_BYTES:,}.")
            content = path.read_bytes()
        except OSError as error:
            return _refusal(self.budget, f"The file can't be read ({error.strerror}).")
        key = hashlib.sha256(content).hexdigest()
        if key not in self._measured:
            result = budgets.judge(self.budget, content, self.part)
            if result.on_stand_in:
                raise Trouble(f"This machine lacks the real {self.budget.data}. Run: nutshell data fetch "
                              f"{self.budget.data}")  # fmt: skip
            self._measured[key] = result
        return self._measured[key]

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Changes when a file comes, goes or changes."""
        found = []
        for name, path in files(self.folder):
            try:
                found.append((f"{name} {path}", path.stat().st_mtime_ns, path.stat().st_size))
            except OSError:  # it is being replaced; the next look sees it
                continue
        return tuple(found)


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Whose files lie below a folder; links aren't followed.

    A file in the folder itself is called by its own name, others by the folder that they lie in. Of several files of
    one name, each is listed, numbered from the second.
    """
    root = folder / "submitted" if (folder / "submitted").is_dir() else folder
    seen: dict[str, int] = {}
    for number, path in enumerate(sorted(_below(root))):
        if number >= MOST_FILES:
            raise WrongUse(f"{root} holds more than {MOST_FILES:,} .nut files. Name a folder of one room's files.")
        parts = path.relative_to(root).parts
        name = parts[0] if len(parts) > 1 else path.stem
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} ({seen[name]})"), path


def page(board: Board, budget: Budget, part: Part, refresh: int = 0) -> str:
    """The board as HTML that needs neither network nor script; everything in it is escaped."""
    data = f"the {part} images of {budget.data}"
    return environment().get_template("leaderboard.html.j2").render(
        title=f"Leaderboard: {budget.topology}", entries=board.entries, limit=board.limit, data=data, refresh=refresh,
        refused=[{"name": name, "reason": reason} for name, reason in board.refused],
        picture=budget_picture(board.report), made=datetime.now().strftime("%H:%M:%S"))  # fmt: skip


def write(text: str, output: Path) -> None:
    """Write the page whole or not at all, since a browser reads it meanwhile."""
    unfinished = output.with_name(f"{output.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8", errors="replace")
        os.replace(unfinished, output)
    except OSError as error:
        raise WrongUse(f"{output} can't be written ({error.strerror}). Name another file with --output.") from None


def as_data(board: Board) -> dict[str, Any]:
    """For JSON."""
    return {"entries": [asdict(entry) for entry in board.entries],
            "refused": [{"name": name, "reason": reason} for name, reason in board.refused],
            "limit_error_percent": board.limit}  # fmt: skip


def _below(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):  # which doesn't follow links to folders
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if name.endswith(".nut") and not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _placed(rows: list[tuple[str, budgets.BudgetResult]], limit: float, dense: int) -> tuple[Entry, ...]:
    def key(result: budgets.BudgetResult) -> tuple[bool, float, float]:
        assert result.measurement is not None
        size, error = float(result.measurement.bytes), float(result.measurement.error_percent or 0)
        return (False, size, error) if error <= limit else (True, error, size)

    ordered = sorted(rows, key=lambda row: (key(row[1]), row[0]))
    keys = [key(result) for _, result in ordered]
    entries = []
    for (name, result), own in zip(ordered, keys, strict=True):
        found = result.measurement
        assert found is not None
        entries.append(Entry(keys.index(own) + 1, name, found.bytes, dense / found.bytes,
                             float(found.error_percent or 0), result.points))  # fmt: skip
    return tuple(entries)


def _dense_bytes(budget: Budget) -> int:
    return 4 * sum(parameter.numel() for parameter in models.build(budget.topology, device="meta").parameters())


def _refusal(budget: Budget, reason: str) -> budgets.BudgetResult:
    return budgets.BudgetResult(budget.name, 0.0, budget.points, reason=reason)
