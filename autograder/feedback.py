"""What learners get back: tables for the check cells that formgrader shows, and a page of their own."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.entries import Entry, Mark
from autograder.verdicts import BudgetVerdict, ExerciseVerdict, Submission, SubmissionVerdict
from nutshell.budget import BudgetResult, Row
from nutshell.checks import Unit
from nutshell.wire import show
from nutshell.wire.running import NOT_DONE, RAISED, TIMEOUT, WRONG, Verdict

TEMPLATES = Path(__file__).parent / "templates"
MOST = 20_000  # characters of a learner's cell, or of what it said
NOT_SHOWN = "not shown: the case is hidden"
_KINDS = frozenset(name for name, kind in vars(builtins).items() if isinstance(kind, type)) | {"LinAlgError"}
_WIDTH, _ENDS, _LEFT = 640, 440, 10  # of a budget's picture: all of it, where marks end, where it begins


@dataclass(frozen=True)
class Part:
    """An exercise or a budget as the page shows it.

    Attributes
    ----------
    name, result : str
        Its name, and how it went in words.
    mark : Mark
        From the gradebook; from the verdict where that has none.
    table : Markup
        What was checked or measured.
    code : str
        The learner's own cell; empty for a budget.
    comment : str
        An instructor's.
    bars : Markup
        Pictures of a budget's limits.
    """

    name: str
    result: str
    mark: Mark
    table: Any
    code: str = ""
    comment: str = ""
    bars: Any = ""
    is_budget: bool = False


@dataclass(frozen=True)
class Bar:
    """A measured value beside its limit and the end of its margin; positions are of 640."""

    words: str
    value: str
    limit: str
    ends: str
    zero: float
    at: float
    limit_at: float
    ends_at: float
    beyond: bool
    within: bool


def outputs(unit: Unit, verdict: SubmissionVerdict) -> dict[str, str]:
    """The tables of a submission's exercises and budgets, as HTML by the grade id of their check cell.

    Parameters
    ----------
    unit : Unit
        As the classroom wants it.
    verdict : SubmissionVerdict
        Values of hidden checks are left out; everything is escaped.
    """
    tables = {f"check_{item.name}": _exercise_table(unit, item) for item in verdict.exercises}
    tables |= {f"check_{item.name}": f"{_pictures(_result(item))}{_budget_table(item)}" for item in verdict.budgets}
    return {name: f'<div class="tex2jax_ignore">{table}</div>' for name, table in tables.items()}


def page(
    unit: Unit,
    submission: Submission,
    verdict: SubmissionVerdict,
    entry: Entry | None = None,
    duedate: datetime | None = None,
) -> str:
    """The learner's page: one file that needs nothing else, without scripts, for screens and paper.

    Parameters
    ----------
    unit : Unit
        As the classroom wants it.
    submission : Submission
        The learner's work.
    verdict : SubmissionVerdict
        What grading found; its flags are for instructors and not shown.
    entry : Entry, optional
        The student's rows in the gradebook: instructors' marks and comments, and the penalty.
    duedate : datetime, optional
        When it was due, in UTC without a time zone, with the student's extension.
    """
    rows = entry or Entry(submission.student)
    answers = {cell.name: cell.source for cell in submission.cells}
    parts = [] if verdict.refused else [
        *(_exercise_part(item, rows, answers) for item in verdict.exercises),
        *(_budget_part(item, rows) for item in verdict.budgets),
    ]
    shown = {f"check_{part.name}" for part in parts}
    return _environment().get_template("feedback.html.j2").render(
        unit=unit,
        student=submission.student,
        person=" ".join(filter(None, (rows.first_name, rows.last_name))),
        handed_in=submission.handed_in or rows.timestamp,
        duedate=duedate,
        late=rows.seconds_late(duedate),
        verdict=verdict,
        parts=parts,
        others=[(name.removeprefix("check_"), mark) for name, mark in rows.marks.items() if name not in shown],
        comments=[
            (name.removeprefix("solution_"), comment.manual)
            for name, comment in rows.comments.items()
            if comment.manual and f"check_{name.removeprefix('solution_')}" not in shown
        ],
        notes=list(dict.fromkeys((*submission.notes, *verdict.notes))),
        by_hand=any(mark.manual is not None or mark.extra for mark in rows.marks.values()),
        penalty=rows.penalty or 0.0,
        score=rows.score if rows.marks else sum(part.mark.score for part in parts),
        words=show.WORDS,
        possible=rows.possible if rows.marks else sum(part.mark.possible for part in parts),
    )


def looks() -> bytes:
    """What pages look like, besides the code here: the text of the templates."""
    return b"".join(path.read_bytes() for path in sorted(TEMPLATES.glob("*.j2")))


def without_hidden_values(verdict: Verdict) -> Verdict:
    """A hidden check's verdict as its learner may see it: without values, and without words that the learner chose.

    A message, an error's name or an exit status could each carry the hidden case out.

    Examples
    --------
    >>> hidden = Verdict("rate", "rate_is_right", "The rate is right", True, RAISED, got="Case17: at rank 3")
    >>> without_hidden_values(hidden).got
    'an error (its message is not shown for a hidden check)'
    """
    if not verdict.hidden or verdict.passed or verdict.status in (TIMEOUT, NOT_DONE):
        return verdict
    if verdict.status == RAISED:
        kind = verdict.got.partition(":")[0]
        kind = kind if kind in _KINDS else "an error"
        return replace(verdict, got=f"{kind} (its message is not shown for a hidden check)", cause="")
    if verdict.status == WRONG:
        return replace(verdict, expected=NOT_SHOWN, got="not shown")
    return replace(verdict, got="not shown")


def _exercise_table(unit: Unit, item: ExerciseVerdict) -> str:
    return show.of_exercise(unit.exercise(item.name), _seen(item), item.points)._repr_html_()


def _seen(item: ExerciseVerdict) -> list[Verdict]:
    """The verdicts of an exercise as its learner may see them; one for all where no check was run."""
    checks = item.checks or (Verdict(item.name, item.name, f"{item.name}, all checks", False, item.status),)
    if not checks[0].hidden and len(show.once(item.name, checks)) < len(checks):
        return [replace(check, hidden=False) for check in checks]  # the hidden ones say what a public one says
    return [without_hidden_values(verdict) for verdict in checks]


def _checks(item: ExerciseVerdict) -> str:
    """The table of an exercise's checks below its own heading, without empty columns."""
    seen = show.once(item.name, _seen(item))
    caption = f"{sum(verdict.passed for verdict in item.checks)} of {len(item.checks) or 1} checks passed"
    if all(verdict.passed for verdict in seen):
        rows = [(show.mark(verdict), verdict.title + (" (hidden)" if verdict.hidden else "")) for verdict in seen]
        return show.table_as_html(caption, ("Result", "Check"), rows)
    return show.verdicts_as_html(caption, seen)


def _result(item: BudgetVerdict) -> BudgetResult:
    rows = tuple(Row(**row) for row in item.rows)
    return BudgetResult(item.name, item.points, item.possible, rows, show.clean(item.reason), show.clean(item.data))


def _budget_table(item: BudgetVerdict) -> str:
    return show.framed(_result(item)._repr_html_())


def _pictures(result: BudgetResult) -> Any:
    from markupsafe import Markup

    return Markup(_environment().get_template("bars.html.j2").render(bars=[_bar(row) for row in result.rows]))


def _exercise_part(item: ExerciseVerdict, rows: Entry, answers: Mapping[str, str]) -> Part:
    from markupsafe import Markup

    comment = rows.comments.get(f"solution_{item.name}")
    return Part(
        item.name,
        f"{'✓' if item.status == 'OK' else '✗'} {show.WORDS.get(item.status, item.status)}",
        _mark(rows, item),
        Markup(_checks(item).removeprefix(show.STYLE)),
        _short(answers.get(f"solution_{item.name}", "")),
        (comment.manual or "") if comment else "",
    )


def _budget_part(item: BudgetVerdict, rows: Entry) -> Part:
    from markupsafe import Markup

    result = _result(item)
    words = {"OK": "✓ within its limits", WRONG: "✗ over a limit", NOT_DONE: "✗ not handed in", "REFUSED": "✗ refused"}
    table = Markup(_budget_table(item).removeprefix(show.STYLE))
    return Part(
        item.name, words.get(item.status, item.status), _mark(rows, item), table,
        bars=_pictures(result), is_budget=True,
    )


def _mark(rows: Entry, item: ExerciseVerdict | BudgetVerdict) -> Mark:
    return rows.marks.get(f"check_{item.name}", Mark(item.possible, item.points))


def _bar(row: Row) -> Bar:
    words, _, value, limit, ends, _ = row.cells
    start = min(0.0, row.value)
    span = (row.ends_at - start) or 1.0

    def at(number: float) -> float:
        return round(_LEFT + (number - start) / span * (_ENDS - _LEFT), 1)

    place, most = at(row.value), _WIDTH - 20.0
    return Bar(words, value, limit, ends, at(0.0), min(place, most), at(row.limit), at(row.ends_at),
               place > most, row.share >= 1)


def _short(text: str) -> str:
    left = len(text) - MOST
    return text if left <= 0 else f"{text[:MOST]}\n… and {left:,} more characters"


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: Any) -> Any:
        return show.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=visible, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {"number": show.number, "short": _short, "time": _time, "span": _span}
    return environment


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    """A length of time in words.

    Examples
    --------
    >>> _span(59), _span(3600), _span(200_000)
    ('1 minute', '1 hour', '2 days 8 hours')
    """
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return _count(minutes, "minute")
    hours = round(minutes / 60)
    days, rest = divmod(hours, 24)
    return " ".join(_count(n, word) for n, word in ((days, "day"), (rest, "hour")) if n)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
