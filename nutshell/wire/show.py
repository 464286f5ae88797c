"""What a learner sees of verdicts: an HTML table in a notebook, plain text in a terminal, the same words in both.

Marks never rest on colour alone, and whatever came from a learner's code is escaped.
"""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nutshell.checks import Exercise, Unit
from nutshell.errors import NutshellError
from nutshell.wire.running import (
    CRASH,
    INFRA,
    MEMORY,
    NOT_DONE,
    NOT_RUN,
    OK,
    OUTPUT,
    RAISED,
    STOPPED,
    TIMEOUT,
    WRONG,
    Verdict,
)

WORDS = {
    OK: "passed",
    WRONG: "not yet right",
    RAISED: "raised an error",
    NOT_DONE: "not written yet",
    TIMEOUT: "took too long",
    MEMORY: "took too much memory",
    OUTPUT: "returned too much",
    CRASH: "ended the process",
    INFRA: "could not be run",
    STOPPED: "stopped by you",
    NOT_RUN: "not run",
}
LATER = "Hidden checks run at grading, with other inputs."
STYLE = (
    "<style>.nutshell table{border-collapse:collapse;margin:.3em 0}.nutshell caption{text-align:left;font-weight:bold;"
    "padding:.2em 0}.nutshell th,.nutshell td{text-align:left!important;vertical-align:top;padding:.25em .6em;"
    "border-bottom:1px solid #8888;max-width:28em;overflow-wrap:break-word}.nutshell p{margin:.3em 0}</style>"
)
_BAR = 20  # characters of a bar


class Points(float):
    """Points of an exercise: a number that also shows the table it comes from.

    Examples
    --------
    >>> Points(1.5, "truncate: 1.5 of 2 points", "<p>…</p>")
    1.5
    """

    text: str
    note: str  # what progress says of it, empty for nothing
    _html: str

    def __new__(cls, value: float, text: str, markup: str, note: str = "") -> "Points":
        points = super().__new__(cls, value)
        points.text, points.note, points._html = text, note, markup
        return points

    def _repr_html_(self) -> str:
        return self._html

    def __reduce__(self) -> tuple[type, tuple[float]]:
        return float, (float(self),)  # a copy is the number


class Shown:
    """Something to look at: HTML in a notebook, text elsewhere."""

    def __init__(self, text: str, markup: str) -> None:
        self.text, self._html = text, markup

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self.text


def of_exercise(exercise: Exercise, verdicts: Sequence[Verdict], earned: float) -> Points:
    """Points with the verdicts of an exercise's checks."""
    caption = caption_of(exercise, verdicts, earned)
    verdicts = once(exercise.name, verdicts)
    notes = [] if any(verdict.hidden for verdict in verdicts) else [LATER]
    return Points(earned, verdicts_as_text(caption, verdicts, notes), verdicts_as_html(caption, verdicts, notes))


def once(name: str, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on an exercise; one of them for all where it isn't there, or all fail in the very same words."""
    if len(verdicts) > 1:
        words = {(v.status, v.expected, v.got, v.cause, v.next_step) for v in verdicts}
        if all(v.status == NOT_DONE for v in verdicts) or (len(words) == 1 and not verdicts[0].passed):
            return [replace(verdicts[0], title=f"{name}, all {len(verdicts)} checks")]
    return list(verdicts)


def caption_of(exercise: Exercise, verdicts: Sequence[Verdict], earned: float) -> str:
    """``truncate: 1.5 of 2 points, 3 of 4 checks passed``."""
    passed = f"{sum(verdict.passed for verdict in verdicts)} of {len(verdicts)} checks passed"
    if exercise.points:
        return f"{exercise.name}: {number(earned)} of {number(exercise.points)} points, {passed}"
    return f"{exercise.name} (extension): {passed}"


def verdicts_as_html(caption: str, verdicts: Iterable[Verdict], notes: Sequence[str] = ()) -> str:
    """An accessible table: caption, column headings, marks in words, everything escaped."""
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Result", "Check", "Expected", "Got", "Likely cause", "Next step")
    )
    rows = []
    for verdict in verdicts:
        cells = [mark(verdict), "", verdict.expected, verdict.got, verdict.cause, verdict.next_step]
        cells = [html.escape(clean(cell)) for cell in cells]
        cells[1] = f"{html.escape(clean(verdict.title))}{' <em>(hidden)</em>' if verdict.hidden else ''}"
        rows.append(
            f"<tr><td>{cells[0]}</td>"
            + f'<th scope="row" style="font-weight:normal">{cells[1]}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells[2:])
            + "</tr>"
        )
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        f'{STYLE}<div class="nutshell"><table><caption>{html.escape(clean(caption))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{below}</div>"
    )


def framed(markup: str) -> str:
    """Tables that are HTML already, with the desk's style."""
    return f'{STYLE}<div class="nutshell">{markup}</div>'


def verdicts_as_text(caption: str, verdicts: Iterable[Verdict], notes: Sequence[str] = ()) -> str:
    """The same, one part a line."""
    lines = [clean(caption)]
    for verdict in verdicts:
        lines.append(f"  {mark(verdict)}: {clean(verdict.title)}{' (hidden)' if verdict.hidden else ''}")
        parts = (
            ("expected", verdict.expected),
            ("got", verdict.got),
            ("likely cause", verdict.cause),
            ("next step", verdict.next_step),
        )
        lines += [f"      {name}: {clean(said)}" for name, said in parts if said]
    return "\n".join([*lines, *notes])


def mark(verdict: Verdict) -> str:
    """``✓ passed``: a sign and words."""
    return f"{'✓' if verdict.passed else '✗'} {WORDS.get(verdict.status, verdict.status)}"


def table_as_html(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
) -> str:
    """A plain table; cells are text and escaped."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(clean(str(cell)))}</td>" for cell in row) + "</tr>" for row in rows
    )
    below = "".join(f"<p>{html.escape(clean(note))}</p>" for note in notes)
    return (
        f'{STYLE}<div class="nutshell"><table><caption>{html.escape(clean(caption))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"
    )


def table_as_text(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
) -> str:
    """The same with aligned columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(columns), *texts]) for k in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [list(columns), *texts]
    ]
    return "\n".join([caption, *lines, *notes])


def bar(share: float) -> str:
    """A bar of characters, readable without colour.

    Examples
    --------
    >>> bar(0.5)
    '██████████░░░░░░░░░░'
    """
    full = round(_BAR * min(max(share, 0.0), 1.0))
    return "█" * full + "░" * (_BAR - full)


def total(unit: Unit, earned: float, of: float) -> str:
    """A unit's points with a bar, on one line."""
    return f"{unit.number:02d} {unit.title}: {bar(earned / of if of else 0)} {number(earned)} of {number(of)} points"


def number(value: float) -> str:
    """Points as people write them.

    Examples
    --------
    >>> number(2.0), number(4 / 3)
    ('2', '1.33')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def clean(text: str) -> str:
    """Text without control characters and terminal escapes, so that a learner's output can't draw on the screen.

    Examples
    --------
    >>> clean("red: \\x1b[31mx")
    'red: �[31mx'
    """
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text
    )


@contextmanager
def message_only() -> Iterator[None]:
    """In a notebook, let an error that carries a message for a person show it and no traceback of the framework."""
    try:
        yield
    except NutshellError as error:
        said = clean(str(error))
        error._render_traceback_ = lambda: [said]  # type: ignore[attr-defined]  # IPython asks for it
        raise


def write(text: str) -> None:
    """Print text on a terminal that may not have all signs."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
