"""A step for ``nbgrader autograde``: given cells and check cells that are missing from a submission are put back."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor


class RestoreCells(NbGraderPreprocessor):
    """Put each missing locked cell back after the one that it follows in the source.

    nbgrader's own ``OverwriteCells.add_missing_cells`` fails where the cell before the missing one is missing too.
    A deleted solution cell stays deleted: its exercise is then not done.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """See nbgrader: the current folder is the course directory's root."""
        assignment, notebook = resources["nbgrader"]["assignment"], resources["nbgrader"]["notebook"]
        source = nbformat.read(Path("source", assignment, f"{notebook}.ipynb"), as_version=4)
        position = 0  # where the next missing cell goes
        for cell in source.cells:
            grade_id = _grade_id(cell)
            if grade_id is None:
                continue
            there = [index for index, other in enumerate(nb.cells) if _grade_id(other) == grade_id]
            if there:
                position = there[0] + 1
            elif not cell.metadata.nbgrader.solution:
                self.log.warning("Putting back the missing cell %s", grade_id)
                nb.cells.insert(position, deepcopy(cell))
                position += 1
        return nb, resources


def _grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")
