"""One classroom in which everything is handed in, graded in one run, and read back: marks, verdicts, what is left."""

import contextlib
import copy
import html.parser
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.red_team.attack import Attack

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LAB = "09_gauntlet"
EXERCISES = ("half", "softplus", "Scale", "batches", "train_step")
POINTS = dict.fromkeys(EXERCISES, 2.0) | {"small": 4.0}
MARK = re.compile(r"4[.,]?8[.,]?1[.,]?5[.,]?1[.,]?6[.,]?[23]|240758[012]")  # a hidden input, or its half
BAIT = f"nutshell-bait-{os.getpid()}"
KEPT = {"autograded", "feedback", "verdicts", "gradebook.db"}  # what grading may write in a classroom


@dataclass
class Found:
    """What grading made of one submission.

    Attributes
    ----------
    marks : dict of str to float
        By exercise or budget, as nbgrader's gradebook has them; empty if there are none.
    verdict : dict
        The verdict as JSON; empty if there is none.
    refused : str
        Why it was refused.
    trouble : str
        Why the grader could not grade it.
    flagged : list of str
        Its flags, those across the class included.
    leaks : list of str
        Where hidden inputs or live markup were found in what learner and instructor see.
    """

    marks: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    trouble: str = ""
    flagged: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def status(self, item: str) -> str:
        """The status of an exercise or budget; REFUSED where the whole submission was."""
        if self.trouble:
            return "INFRA"
        if self.refused:
            return "REFUSED"
        for one in (*self.verdict.get("exercises", ()), *self.verdict.get("budgets", ())):
            if one["name"] == item:
                return one["status"]
        return "UNGRADED"

    def said(self) -> str:
        """Notes, reasons and statuses in words."""
        parts = [self.refused, self.trouble, *self.verdict.get("notes", ())]
        parts += [f"{one['name']}: {one['reason']}" for one in self.verdict.get("budgets", ())]
        return "\n".join(parts)


class Room:
    """A classroom of the red team's unit, with a home, a temporary folder and bait of its own.

    Parameters
    ----------
    place : Path
        An empty folder; everything is made in it.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.folder = place, place / "room"
        self.home, self.tmp = place / "home", place / "tmp"
        self.port = 0
        self.touched: list[str] = []
        self.summary: dict[str, Any] = {}
        self.said = self.shown = ""

    def make(self) -> None:
        """The classroom, released and registered."""
        for folder in (self.home / ".ssh", self.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        (self.home / ".ssh" / "id_bait").write_text(BAIT)
        done = self.run("classroom", str(self.folder))
        if done.returncode:
            raise RuntimeError(f"nutshell classroom ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.release = json.loads((self.folder / "release" / LAB / f"{LAB}.ipynb").read_text())
        source = json.loads((self.folder / "source" / LAB / f"{LAB}.ipynb").read_text())
        self.solutions = {
            name.removeprefix("solution_"): _without_marks("".join(cell["source"]))
            for cell in source["cells"]
            if (name := _grade_id(cell)).startswith("solution_")
        }

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """``nutshell`` with these arguments, as an instructor of this classroom."""
        return subprocess.run(
            [sys.executable, str(HERE / "grader.py"), *arguments],
            env=self.environment(),
            cwd=self.place,
            capture_output=True,
            text=True,
            **options,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, in the background."""
        return subprocess.Popen(
            [sys.executable, str(HERE / "grader.py"), *arguments],
            env=self.environment(),
            cwd=self.place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        """The environment in which grading runs: with bait in it, and nowhere to write but the room's own folders."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "NUTSHELL_DATA", "LANG", "OMP_NUM_THREADS", "NUTSHELL_UNITS")
        }
        programs = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return kept | {
            "PATH": programs,
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "XDG_CACHE_HOME": cache,
            "NUTSHELL_ALLOW_STAND_INS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BAIT": BAIT,
            "MPLCONFIGDIR": str(self.place / "matplotlib"),
            "AWS_SECRET_ACCESS_KEY": BAIT,
        }

    def submit(self, attack: Attack) -> None:
        """Hand an attack in."""
        folder = self.folder / "submitted" / attack.folder / LAB
        folder.mkdir(parents=True)
        notebook = self.notebook(attack)
        content = attack.edit(notebook) if attack.edit else None
        if not isinstance(content, bytes):
            content = json.dumps(notebook).encode()
        (folder / f"{LAB}.ipynb").write_bytes(content)
        files = attack.files() if callable(attack.files) else attack.files
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        if attack.place:
            attack.place(folder)

    def notebook(self, attack: Attack) -> dict[str, Any]:
        """The released notebook with the solutions, and with the attack's cells in place of some of them."""
        notebook = copy.deepcopy(self.release)
        cells = []
        for cell in notebook["cells"]:
            name = _grade_id(cell).removeprefix("solution_")
            cell["source"] = "".join(cell["source"])
            if _grade_id(cell).startswith("solution_"):
                if name == "half":
                    cells += [_code(self._filled(source)) for source in attack.before]
                cell["source"] = self._filled(attack.cells.get(name, self.solutions[name]))
            cells.append(cell)
        notebook["cells"] = cells + [_code(self._filled(source)) for source in attack.after]
        return notebook

    def _filled(self, source: str) -> str:
        known = {
            "ROOM": self.folder,
            "HOME": self.home,
            "UNITS": HERE,
            "REPOSITORY": REPOSITORY,
            "PORT": self.port,
            "BAIT": BAIT,
        }
        for name, value in known.items():
            source = source.replace(f"@{name}@", str(value))
        return source

    def grade(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Grade everything with short limits."""
        done = self.run("grade", str(self.folder), *arguments, timeout=timeout)
        self.said, self.shown = done.stdout + done.stderr, done.stderr
        with contextlib.suppress(ValueError):
            self.summary = json.loads(done.stdout)
        return done

    def found(self, attacks: Iterable[Attack]) -> dict[str, Found]:
        """What grading made of each attack, by its name."""
        marks, keys = self.marks(), self.verdicts()
        refused = {row["student"]: row["reason"] for row in self.summary.get("refused", ())}
        trouble = {row["student"]: row["reason"] for row in self.summary.get("trouble", ())}
        result = {}
        for attack in attacks:
            student = attack.folder
            readable = ascii(student)[1:-1]
            one = Found(
                marks.get(student, {}),
                keys.get(student, {}),
                _either(refused, student, readable),
                _either(trouble, student, readable),
            )
            one.leaks = list(self._leaks(student))
            one.flagged = [
                f"{flag['kind']}: {flag['words']}"
                for flag in self.summary.get("flags", ())
                if flag["student"] == student
            ]
            result[attack.name] = one
        return result

    def marks(self) -> dict[str, dict[str, float]]:
        """Marks by student and item, from nbgrader's gradebook, as nbgrader itself reckons them."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/gradebook.db?mode=ro", uri=True)) as base:
            rows = base.execute("""
                SELECT submitted_assignment.student_id, base_cell.name, grade.auto_score, grade.manual_score,
                       grade.extra_credit
                FROM grade JOIN base_cell ON grade.cell_id = base_cell.id
                JOIN submitted_notebook ON grade.notebook_id = submitted_notebook.id
                JOIN submitted_assignment ON submitted_notebook.assignment_id = submitted_assignment.id""").fetchall()
        found: dict[str, dict[str, float]] = {}
        for student, cell, automatic, manual, extra in rows:
            score = manual if manual is not None else automatic
            found.setdefault(student, {})[cell.removeprefix("check_")] = (score or 0.0) + (extra or 0.0)
        return found

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """The verdict of each student, as the grader keeps it."""
        place = self.folder / "verdicts" / LAB
        found = {}
        for record in (place / "published").glob("*") if (place / "published").is_dir() else ():
            key = json.loads(record.read_text())["key"]
            with contextlib.suppress(FileNotFoundError):
                found[record.name] = json.loads((place / f"{key}.json").read_text())
        return found

    def _leaks(self, student: str) -> Iterator[str]:
        for step in ("feedback", "autograded"):
            for path in sorted((self.folder / step / student).rglob("*")):
                if path.is_file() and path.suffix in (".html", ".ipynb", ".txt"):
                    yield from leaks_of(path, step)

    def names(self) -> set[str]:
        """Every path in the classroom but what grading may write."""
        return {path for path in _tree(self.folder) if path.split("/")[0] not in KEPT}

    @contextlib.contextmanager
    def bait(self) -> Iterator[None]:
        """Servers on this machine that nobody inside a sandbox may reach: TCP, a Unix socket, an abstract one."""
        listeners = []
        for family, address in (
            (socket.AF_INET, ("0.0.0.0", 0)),
            (socket.AF_UNIX, str(self.place / "bait.sock")),
            (socket.AF_UNIX, f"\0{BAIT}"),
        ):
            listener = socket.socket(family)
            listener.bind(address)
            listener.listen(16)
            listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener, str(address)), daemon=True).start()
        self.port = listeners[0].getsockname()[1]
        try:
            yield
        finally:
            for listener in listeners:
                with contextlib.suppress(OSError):  # a thread waits in it
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()

    def _serve(self, listener: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                link, _ = listener.accept()
                self.touched.append(name)
                link.close()

    def clear(self) -> None:
        """Remove everything, however deep."""
        subprocess.run(["rm", "-rf", str(self.place)], check=False)
        shutil.rmtree(self.place, ignore_errors=True)


def leaks_of(path: Path, step: str) -> Iterator[str]:
    """Hidden inputs and live markup in a file that people open."""
    content = path.read_text(encoding="utf-8", errors="replace")
    if step == "autograded" and path.suffix == ".ipynb":
        notebook = json.loads(content)
        for number, cell in enumerate(notebook["cells"], start=1):
            seen = json.dumps(cell.get("outputs", []))
            if MARK.search(seen):
                yield f"autograded: a hidden input in the outputs of cell {number}"
            live = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            live += "".join(str(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", []))
            if cell["cell_type"] == "raw" or any(
                "javascript" in output.get("data", {}) for output in cell.get("outputs", [])
            ):
                live += "".join(cell["source"])
            yield from (f"autograded: {what} in cell {number}" for what in Live.of(live))
        return
    if MARK.search(content):
        yield f"{step}: a hidden input in {path.name}, “{MARK.search(content)[0]}”"  # type: ignore[index]
    yield from (f"{step}: {what} in {path.name}" for what in Live.of(content))


class Live(html.parser.HTMLParser):
    """Elements and attributes that would run an attacker's script."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.inside = ""

    @staticmethod
    def of(text: str) -> list[str]:
        parser = Live()
        parser.feed(text)
        parser.close()
        return parser.found

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        bad = [
            f"{tag} {name}"
            for name, value in attributes
            if "pwned" in (value or "") and (name.startswith("on") or name in ("href", "src", "srcdoc"))
        ]
        self.found += bad

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style", "iframe") and "pwned" in data:
            self.found.append(self.inside)


def _without_marks(text: str) -> str:
    return "\n".join(
        line for line in text.splitlines() if line.strip() not in ("### BEGIN SOLUTION", "### END SOLUTION")
    )


def _grade_id(cell: Mapping[str, Any]) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def _code(source: str) -> dict[str, Any]:
    return dict(cell_type="code", execution_count=None, metadata={}, outputs=[], source=source)


def _either(rows: Mapping[str, str], *names: str) -> str:
    return next((rows[name] for name in names if name in rows), "")


def _tree(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        if place.count("/") - str(folder).count("/") > 20:
            folders.clear()
        for name in (*files, *folders):
            yield os.path.relpath(os.path.join(place, name), folder)
