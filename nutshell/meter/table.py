"""Tables that read well in a terminal, in a notebook and in a screen reader."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table as RichTable

from nutshell.meter.energy import PARTS, Energy
from nutshell.meter.report import LayerCount, Report

_WIDTH = 160  # columns of plain text; rich fits narrower terminals itself


@dataclass(frozen=True)
class Table:
    """A table of text; numbers are already written out.

    Attributes
    ----------
    title : str
        Its caption, and its label for screen readers.
    header : tuple of str
        Names of the columns.
    rows : tuple of tuple of str
        The last one is the total.
    numbers : int
        Columns at the right that hold numbers, aligned to the right.
    note : str
        A sentence below.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int
    note: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = RichTable(title=self.title, caption=self.note or None, caption_justify="left", show_footer=False)
        for position, name in enumerate(self.header):
            right = position >= len(self.header) - self.numbers
            table.add_column(name, justify="right" if right else "left", no_wrap=right)
        for number, row in enumerate(self.rows, start=1):
            last = number == len(self.rows)
            table.add_row(*map(escape, row), style="bold" if last else None, end_section=number == len(self.rows) - 1)
        yield table

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None)
        console.print(self)
        return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        def cells(row: Sequence[str], tag: str) -> str:
            texts = len(row) - self.numbers
            styles = ["left"] * texts + ["right"] * self.numbers
            pairs = zip(styles, row, strict=True)
            return "".join(f'<{tag} style="text-align: {side}">{html.escape(text)}</{tag}>' for side, text in pairs)

        title = html.escape(self.title, quote=True)
        *body, total = self.rows
        lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in body)
        note = f"<p><em>{html.escape(self.note)}</em></p>" if self.note else ""
        return (
            f'<table aria-label="{title}"><caption>{title}</caption><thead><tr>{cells(self.header, "th")}</tr></thead>'
            f"<tbody>{lines}</tbody><tfoot><tr>{cells(total, 'th')}</tr></tfoot></table>{note}"
        )


def layer_table(report: Report, depth: int | None = None) -> Table:
    """A row for each layer of a report, or for each block at some depth, and the total."""
    layers = report.layers if depth is None else report.grouped(depth)
    total = report.total
    binary = total.binary > 0
    header = ["layer", "kind", "output", "parameters", "nonzero", "MACs", "bias additions", "element-wise"]
    header += ["binary"] * binary + ["activations"]
    shape = "×".join(map(str, report.input_shape)) if report.input_shape else ""
    note = f"FLOPs = 2 × MACs = {report.flops:,}. Parameters take {total.bytes:,} bytes as they are."
    if binary:
        note += " A product of two signs is two binary operations."
    if report.uncounted:
        note += f" Not counted, for want of a rule: {', '.join(report.uncounted)}."
    return Table(
        f"{report.network}, input {shape}",
        tuple(header),
        (*(_row(layer, binary) for layer in layers), _row(total, binary)),
        len(header) - 3,
        note,
    )


def energy_table(energy: Energy) -> Table:
    """A row for each part of an energy estimate, and the total."""
    total = energy.total or 1.0
    rows = [
        (name.replace("_", "-" if name == "multiply_accumulates" else " "), energy.part(name))
        for name in PARTS
        if energy.part(name)
    ]
    rows.append(("total", energy.total))
    return Table(
        "Energy of one inference (estimate)",
        ("part", "µJ", "share"),
        tuple((name, f"{value / 1e6:,.3f}", f"{100 * value / total:.1f} %") for name, value in rows),
        2,
        energy.assumption,
    )


def _row(layer: LayerCount, binary: bool) -> tuple[str, ...]:
    total = layer.name == "total"
    name = layer.name or "(network)"
    nonzero = "–" if layer.nonzero is None else f"{layer.nonzero:,}"
    shape = "" if total else "×".join(map(str, layer.output_shape))
    counts = [layer.macs, layer.bias_adds, layer.elementwise_total] + [layer.binary] * binary + [layer.activations]
    return (name, "" if total else layer.kind, shape, f"{layer.parameters:,}", nonzero, *(f"{n:,}" for n in counts))
