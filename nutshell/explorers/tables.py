"""Small tables for lessons."""

import html
from collections.abc import Iterable, Sequence

from IPython.display import HTML


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> HTML:
    """A table with headings; numbers are set right, with thousands separated.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : iterable of sequences
        Values of each row: text as it is, integers as ``1,234``, floats with four digits.

    Raises
    ------
    ValueError
        If a row has more or fewer values than there are headings.

    Examples
    --------
    >>> "<td style='text-align:right'>1,234</td>" in table(["what", "how many"], [["weights", 1234]]).data
    True
    """
    lines = []
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} values for {len(headings)} headings: {list(row)}.")
        lines.append("".join(f"<td style='text-align:{_side(value)}'>{_text(value)}</td>" for value in row))
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    return HTML(f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")


def _side(value: object) -> str:
    return "right" if isinstance(value, int | float) else "left"


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else html.escape(str(value))
