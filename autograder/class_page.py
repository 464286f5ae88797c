"""The class report as one HTML page that needs neither network nor script, and as a CSV for spreadsheets."""

import csv
import io
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.class_board import boards
from autograder.class_budgets import BudgetReport
from autograder.class_data import GRADED, MISSING, REFUSED, TROUBLE, WAITING, LabReport, Report, StudentLine
from autograder.class_pictures import budget_picture, marks_picture, marks_words
from nutshell.errors import WrongUse
from nutshell.wire.running import INFRA, NOT_DONE, OK
from nutshell.wire.show import WORDS, clean, number

if TYPE_CHECKING:
    from jinja2 import Environment

_MEASURED = ("accuracy", "bytes", "params", "nonzero", "macs", "energy_uj")
MOST_PLACES = 25  # of the leaderboard
MOST_ROWS = 300  # students, and networks, in a table of the page; the CSV has all
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what a spreadsheet may take for the beginning of one


def page(report: Report, csv_name: str = "") -> str:
    """The report as HTML; everything in it is escaped.

    Parameters
    ----------
    report : Report
        From :func:`autograder.class_report.gather`.
    csv_name : str
        Name of the CSV beside it, which the page names.
    """
    labs = [
        {
            "lab": lab,
            "marks_picture": marks_picture(lab),
            "marks_words": marks_words(lab),
            "budgets": [{"budget": one, "picture": budget_picture(one)} for one in lab.budgets],
        }
        for lab in report.labs
    ]
    template = environment().get_template("class_report.html.j2")
    return template.render(
        report=report, labs=labs, csv_name=csv_name, most=MOST_ROWS, statuses=_STATUS_WORDS,
        boards=boards(report), most_places=MOST_PLACES,
        graded=GRADED, refused=REFUSED, trouble=TROUBLE, waiting=WAITING, missing=MISSING,
    )


def table(report: Report) -> str:
    """All students and all marks as CSV, one line a student: commas, decimal points, and no text that is a formula.

    Begin the file with a byte order mark (``utf-8-sig``), so that spreadsheets read names right.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    named = not report.names_hidden
    writer.writerow(["student", *(("first name", "last name") if named else ()),
                     *(harmless(head) for lab in report.labs for head in _heads(lab))])
    measured = [[_measured(budget) for budget in lab.budgets] for lab in report.labs]
    flags = {lab.name: _flags(lab) for lab in report.labs}
    order = report.labs[0].students if report.labs else ()
    for row, who in enumerate(order):
        line: list[Any] = [harmless(who.student)]
        if named:
            line += [harmless(who.first), harmless(who.last)]
        for lab, networks in zip(report.labs, measured, strict=True):
            line += _cells(lab, lab.students[row], networks, flags[lab.name].get(who.student, set()))
        writer.writerow(line)
    return out.getvalue()


def write(report: Report, output: Path, csv_file: Path) -> None:
    """Write page and CSV, each whole or not at all.

    Raises
    ------
    WrongUse
        If a file can't be written there.
    """
    name = csv_file.name if csv_file.resolve().parent == output.resolve().parent else str(csv_file)
    _write(output, page(report, name).encode("utf-8", "replace"))
    _write(csv_file, table(report).encode("utf-8-sig", "replace"))


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: one that might be begins with an apostrophe.

    Examples
    --------
    >>> harmless("ada"), harmless("=cmd()"), harmless(" @SUM(A1)")
    ('ada', "'=cmd()", "' @SUM(A1)")
    """
    text = clean(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")) else text


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        said = f"{path} can't be written ({error.strerror}). Name another file with --output or --csv."
        raise WrongUse(said) from None


def _heads(lab: LabReport) -> list[str]:
    heads = ["state", "points", "possible", "penalty", "hours late", *lab.parts, "flags"]
    heads += [f"{budget.name} {figure}" for budget in lab.budgets for figure in _figures(budget)]
    return [f"{lab.assignment} {head}" for head in heads]


def _figures(budget: BudgetReport) -> list[str]:
    keys = [column.key for column in budget.columns] + [*_MEASURED]
    return list(dict.fromkeys(keys))


def _measured(budget: BudgetReport) -> dict[str, list[str]]:
    """The figures of each student's network."""
    return {
        network.student: [_figure({**network.measured, **network.values}.get(key)) for key in _figures(budget)]
        for network in budget.networks
    }


def _flags(lab: LabReport) -> dict[str, set[str]]:
    """Kinds of flags by student."""
    kinds: dict[str, set[str]] = {}
    for flag in lab.flags:
        kinds.setdefault(flag.student, set()).add(flag.kind)
    return kinds


def _cells(
    lab: LabReport, line: StudentLine, networks: list[dict[str, list[str]]], flags: set[str]
) -> list[str]:
    parts = line.parts or {}
    possible = sum(lab.parts.values())
    cells = [line.state, _figure(line.points), _figure(possible), _figure(line.penalty), _figure(line.hours_late)]
    cells += [_figure(parts.get(name)) for name in lab.parts]
    cells.append(harmless("; ".join(sorted(flags))))
    for budget, found in zip(lab.budgets, networks, strict=True):
        cells += found.get(line.student, [""] * len(_figures(budget)))
    return cells


def _figure(value: float | None) -> str:
    """A number as spreadsheets read it: a point before decimals, nothing between thousands."""
    return "" if value is None else f"{value:.10g}"


_STATUS_WORDS = {**WORDS, "REFUSED": "refused", OK: "passed", NOT_DONE: "not written", INFRA: "grader's trouble"}


def environment() -> "Environment":
    """Where pages find their templates, with everything escaped and a missing name an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "when": lambda text: datetime.fromisoformat(text).strftime("%d %B %Y, %H:%M UTC") if text else "",
        "breakable": lambda name: Markup("_<wbr>").join(name.split("_")),  # it escapes the parts
        "percent": lambda share: f"{100 * share:.0f} %",
    }
    return environment
