"""Lessons stay as released when they are run: JupyterLab saves what a reader writes in them, and no outputs."""

import json
from pathlib import Path
from typing import Any

FOLDER = "course"


def save_without_outputs(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Change a lesson that JupyterLab is about to save so that running it leaves its file as it was.

    A hook for ``FileContentsManager.pre_save_hook``; other files are left alone. If no cell was edited, the
    content saved is that of the file, metadata included, so that version control sees no change.

    Parameters
    ----------
    model : dict
        What is about to be saved, changed in place.
    path : str
        Below the server's folder, with slashes.
    contents_manager : jupyter_server.services.contents.filemanager.FileContentsManager
        Knows the server's folder.

    Examples
    --------
    >>> cell = {"cell_type": "code", "source": "1 + 1", "outputs": [{}], "execution_count": 3}
    >>> save_without_outputs(model := {"type": "notebook", "content": {"cells": [cell]}}, "course/new.ipynb", None)
    >>> cell["outputs"], cell["execution_count"]
    ([], None)
    """
    if model.get("type") != "notebook" or path.strip("/").split("/")[0] != FOLDER:
        return
    content = model["content"]
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    file = Path(contents_manager.root_dir) / path.strip("/") if contents_manager is not None else Path(path)
    if file.is_file():
        released = json.loads(file.read_text(encoding="utf-8"))
        if _texts(released) == _texts(content):
            content.clear()
            content.update(released)


def _texts(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook.get("cells", [])]
