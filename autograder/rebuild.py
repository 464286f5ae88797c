"""What becomes of a notebook put together again: the cells that run, a digest, and the copy that formgrader shows."""

import hashlib
import html
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autograder.pieces import Piece, rebuilt
from autograder.released import CHECK, GIVEN, TEXT, Lab, LabCell
from autograder.verdicts import Cell, Submission
from nutshell.wire.shell import is_experiment

DELETED = "This cell was deleted. If its exercise is defined in another cell, that definition was graded."
UNREAD = "This submission was refused; its notebook was not read."
MOST_SHOWN = 100_000  # characters of one cell in formgrader: colouring more takes minutes


def cells_to_run(lab: Lab, pieces: Iterable[Piece]) -> list[Cell]:
    """The cells that the sandbox runs: code, but neither checks, nor copies of check cells, nor experiments."""
    checks = {cell.source.strip() for cell in lab.named if cell.kind == CHECK}
    return [
        Cell(piece.name, piece.source)
        for piece in pieces
        if piece.type == "code"
        and piece.kind != CHECK
        and not (piece.kind == "" and piece.source.strip() in checks)
        and (piece.kind == GIVEN or not is_experiment(piece.source))
    ]


def digest(cells: Iterable[Cell], files: Mapping[str, bytes], shown: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over what is run, the files by name, and the text that formgrader shows; each with its length."""
    total = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)

    for cell in cells:
        add(b"cell", cell.name.encode(), cell.source.encode())
    for name, content in sorted(files.items()):
        add(b"file", name.encode(), content)
    add(b"shown", json.dumps(shown, sort_keys=True).encode())
    return total.hexdigest()


def for_formgrader(lab: Lab, submission: Submission, outputs: Mapping[str, str]) -> bytes:
    """The notebook that formgrader and ``nbgrader generate_feedback`` show, for ``autograded/``.

    Parameters
    ----------
    lab : Lab
        The lab as released.
    submission : Submission
        The learner's work; its saved outputs are dropped, and its texts are shown as typed, without markup.
    outputs : dict of str to str
        Trusted HTML that stands under a code cell, by the cell's name: ``check_truncate``.
    """
    pieces, _ = rebuilt(lab, submission.notebook.get("cells", ()))
    whole = _with_deleted(lab, pieces, DELETED if "cells" in submission.notebook else UNREAD)
    texts = {(cell.type, cell.source): cell for cell in lab.cells if cell.kind == TEXT and not cell.name}
    cells = [_shown(piece, texts, outputs) for piece in whole]
    for number, cell in enumerate(cells, start=1):
        cell["id"] = f"cell-{number}"
    metadata = {key: value for key, value in lab.metadata.items() if key in ("kernelspec", "language_info")}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, ensure_ascii=False) + "\n").encode()


def as_typed(text: str) -> str:
    """Markdown that shows a text as it was typed: no character of it is markup, neither Markdown's nor HTML's.

    Examples
    --------
    >>> as_typed("a <b>\\n 1. c")
    'a &#60;b&#62;  \\n\\xa01&#46; c'
    """
    text = text.expandtabs(4).translate(_PLAIN)
    return re.sub(r"(?m)^ +", lambda match: "\N{NO-BREAK SPACE}" * len(match[0]), text).replace("\n", "  \n")


_PLAIN = {ord(character): f"&#{ord(character)};" for character in string.punctuation}
_PLAIN |= {code: " " for code in (*range(32), *range(127, 160), 0x2028, 0x2029) if code != ord("\n")}


def _with_deleted(lab: Lab, pieces: list[Piece], words: str) -> list[Piece]:
    """With an empty cell for each named one that was deleted, before the one that it precedes in the lab."""
    at = {piece.name: number for number, piece in enumerate(pieces) if piece.released}
    position = len(pieces)
    whole = list(pieces)
    for cell in reversed(lab.named):
        if cell.name in at:
            position = at[cell.name]
        else:
            whole.insert(position, Piece(cell, cell.type, f"# {words}" if cell.type == "code" else words))
    return whole


def _shown(piece: Piece, texts: Mapping[tuple[str, str], LabCell], outputs: Mapping[str, str]) -> dict[str, Any]:
    released = piece.released or texts.get((piece.type, piece.source))
    metadata = dict(released.content["metadata"]) if released else {}
    if piece.type == "code":
        found = outputs.get(piece.name) if piece.released else None
        shown = [] if found is None else [_output(found)]
        source = _cut(piece.source)
        return dict(cell_type="code", execution_count=None, metadata=metadata, outputs=shown, source=source)
    if released is not None and (released.source == piece.source or _locked(released)):
        cell = dict(cell_type=released.type, metadata=metadata, source=released.source)
        attached = released.content.get("attachments")
        return cell | {"attachments": attached} if attached else cell
    return dict(cell_type="markdown", metadata=metadata, source=as_typed(_cut(piece.source)))


def _locked(cell: LabCell) -> bool:
    marks = cell.content["metadata"].get("nbgrader", {})
    return bool(marks.get("locked") or marks.get("task")) and not marks.get("solution")


def _cut(text: str) -> str:
    rest = len(text) - MOST_SHOWN
    return text if rest <= 0 else f"{text[:MOST_SHOWN]}\n# … and {rest:,} characters more, in the file handed in."


def _output(page: str) -> dict[str, Any]:
    data = {"text/html": page, "text/plain": _without_tags(page)}
    return dict(output_type="display_data", data=data, metadata={})


def _without_tags(page: str) -> str:
    """The words of trusted HTML, line by line."""
    page = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", page)
    page = re.sub(r"</(td|th)>", "\t", re.sub(r"<br\b[^>]*>|</(p|div|tr|li|h\d|summary|table|pre)>", "\n", page))
    lines = html.unescape(re.sub(r"<[^>]*>", "", page)).splitlines()
    return "\n".join(" ".join(line.split(" ")).strip() for line in lines if line.strip())
