"""Steps for ``nbgrader autograde`` before a submission's cells run: is the grader ready, is the notebook whole?"""

import uuid
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor


class ReadyToGrade(NbGraderPreprocessor):
    """Fail a submission's grading, before a cell runs, where the grader's own trouble would become 0 points.

    The submission then stays ungraded; ``nbgrader autograde`` names the trouble and ends with 1.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """See nbgrader: the current folder is the course directory's root."""
        from autograder.ready import not_ready
        from nutshell.errors import Trouble

        trouble = not_ready(resources["nbgrader"]["assignment"])
        if trouble:
            self.log.error("Not graded, and not the learner's fault: %s", trouble)
            raise Trouble(trouble)
        return nb, resources


class RestoreCells(NbGraderPreprocessor):
    """Put each missing locked cell back after the one that it follows in the source.

    nbgrader's own ``OverwriteCells.add_missing_cells`` fails where the cell before the missing one is missing too.
    A deleted solution cell stays deleted: its exercise is then not done. A cell whose name the source lacks, because a
    learner changed it, becomes a plain cell: what it defines still counts, and the gradebook doesn't stumble over it.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """See nbgrader: the current folder is the course directory's root."""
        assignment, notebook = resources["nbgrader"]["assignment"], resources["nbgrader"]["notebook"]
        source = nbformat.read(Path("source", assignment, f"{notebook}.ipynb"), as_version=4)
        named = [cell for cell in source.cells if _grade_id(cell) is not None]
        self._make_strangers_plain(nb, {_grade_id(cell) for cell in named})
        position = 0  # where the next missing cell goes
        for number, cell in enumerate(named):
            there = _index(nb, _grade_id(cell))
            if there is not None:
                position = there + 1
            elif cell.metadata.nbgrader.solution:  # it may stand in a plain cell, which its check must follow
                later = (_index(nb, _grade_id(other)) for other in named[number + 1 :])
                position = next((index for index in later if index is not None), len(nb.cells))
            else:
                self.log.warning("Putting back the missing cell %s", _grade_id(cell))
                nb.cells.insert(position, deepcopy(cell))
                nb.cells[position]["id"] = uuid.uuid4().hex[:16]  # the renamed cell may have the source's
                position += 1
        return nb, resources

    def _make_strangers_plain(self, nb: NotebookNode, known: set[str | None]) -> None:
        for cell in nb.cells:
            if _grade_id(cell) not in (None, *known):
                self.log.warning("The cell %s isn't of this lab; it runs as a plain cell", _grade_id(cell))
                del cell.metadata["nbgrader"]


def _index(nb: NotebookNode, grade_id: str | None) -> int | None:
    return next((index for index, cell in enumerate(nb.cells) if _grade_id(cell) == grade_id), None)


def _grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")
