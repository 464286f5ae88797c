"""Notebooks and folders that aren't as they were handed out: graded as if untouched, or refused with a reason."""

import copy
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.red_team.attack import NOT_DONE, OK, REFUSED, WRONG, Attack, Notebook, half, of_group

WRONG_HALF = half("def half(x):\n    return 0 * x\n")
SHADOW = b"raise SystemExit('shadowed')\n"


def cell_of(notebook: Notebook, name: str) -> Notebook:
    return next(cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == name)


def without(*names: str) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        for name in names:
            notebook["cells"].remove(cell_of(notebook, name))

    return edit


def settings(name: str, **changed: object) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        cell_of(notebook, name)["metadata"]["nbgrader"].update(changed)

    return edit


def doubled(name: str, source: str | None = None) -> Callable[[Notebook], None]:
    """A second cell of the same name, behind the first or in front of it."""

    def edit(notebook: Notebook) -> None:
        cell = copy.deepcopy(cell_of(notebook, name))
        cell["source"] = source or cell["source"]
        cell["id"] = "twin"
        notebook["cells"].append(cell)

    return edit


def moved(name: str, place: int) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        cell = cell_of(notebook, name)
        notebook["cells"].remove(cell)
        notebook["cells"].insert(place, cell)

    return edit


def swapped(notebook: Notebook) -> None:
    """The names of two solution cells exchanged."""
    one, other = cell_of(notebook, "solution_half"), cell_of(notebook, "solution_softplus")
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]


def says(name: str, source: str) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        cell_of(notebook, name)["source"] = source

    return edit


def raw(change: Callable[[bytes], bytes]) -> Callable[[Notebook], bytes]:
    return lambda notebook: change(json.dumps(notebook).encode())


def put(name: str, value: object) -> Callable[[Notebook], None]:
    def edit(notebook: Notebook) -> None:
        notebook[name] = value

    return edit


def link_to(target: str, name: str) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / name)

    return place


def notebook_as_link(folder: Path) -> None:
    own = folder / "09_gauntlet.ipynb"
    own.rename(folder / "other.ipynb")
    own.symlink_to("other.ipynb")


def folder_as_link(folder: Path) -> None:
    other = folder.parent / "elsewhere"
    folder.rename(other)
    folder.symlink_to(other, target_is_directory=True)


def notebook_as_folder(folder: Path) -> None:
    (folder / "09_gauntlet.ipynb").unlink()
    (folder / "09_gauntlet.ipynb").mkdir()


def notebook_as_pipe(folder: Path) -> None:
    (folder / "09_gauntlet.ipynb").unlink()
    os.mkfifo(folder / "09_gauntlet.ipynb")


def unix_socket(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s.nut")
    finally:
        os.chdir(here)


def sparse(folder: Path) -> None:
    with (folder / "small.nut").open("wb") as file:
        file.truncate(1 << 40)


def many_files(folder: Path) -> None:
    for number in range(5000):
        (folder / f"f{number}").touch()


def deep(folder: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(3000):  # longer than any path may be
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def named(name: bytes) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"x")

    return place


BACK = (OK,)  # as if untouched: half is right, and everything else
REFUSE = (REFUSED,)
EITHER = (OK, REFUSED)

ATTACKS = of_group(
    "tampered notebooks",
    Attack(
        "check cell deleted",
        "half is wrong and its check cell is gone",
        (WRONG,),
        WRONG_HALF,
        edit=without("check_half"),
        says="check_half|check",
    ),
    Attack(
        "all check cells deleted",
        "every check cell is gone; all answers are right",
        BACK,
        edit=without("check_half", "check_softplus", "check_Scale", "check_batches", "check_train_step", "check_small"),
    ),
    Attack(
        "check cell doubled",
        "a second check cell of the same name that gives 99",
        (WRONG,),
        WRONG_HALF,
        edit=doubled("check_half", "99.0"),
    ),
    Attack(
        "check cell moved",
        "half's check stands in front of everything",
        (WRONG,),
        WRONG_HALF,
        edit=moved("check_half", 0),
    ),
    Attack(
        "check cell renamed",
        "check_half is called check_nothing",
        (WRONG,),
        WRONG_HALF,
        edit=settings("check_half", grade_id="check_nothing"),
    ),
    Attack(
        "check cell named as another",
        "check_half is called check_softplus",
        (WRONG,),
        WRONG_HALF,
        edit=settings("check_half", grade_id="check_softplus"),
    ),
    Attack("check cell ungraded", "grade: false", (WRONG,), WRONG_HALF, edit=settings("check_half", grade=False)),
    Attack("check cell with 500 points", "points: 500", (WRONG,), WRONG_HALF, edit=settings("check_half", points=500)),
    Attack(
        "check cell as markdown",
        "its type is changed",
        (WRONG,),
        WRONG_HALF,
        edit=lambda n: cell_of(n, "check_half").update(cell_type="markdown"),
    ),
    Attack(
        "check cell as a solution",
        "solution: true, so that its text is the learner's",
        (WRONG,),
        WRONG_HALF,
        edit=settings("check_half", solution=True, locked=False),
    ),
    Attack(
        "check cell rewritten",
        "its text stops the kernel",
        (WRONG,),
        WRONG_HALF,
        edit=says("check_half", "import os; os._exit(0)"),
    ),
    Attack("solution deleted", "half's cell is gone", (NOT_DONE,), edit=without("solution_half")),
    Attack(
        "solution doubled",
        "the right answer first, a wrong one of the same name behind it",
        (WRONG, OK),
        edit=doubled("solution_half", "def half(x):\n    return 0 * x\n"),
    ),
    Attack(
        "solutions swapped",
        "half's cell is named as softplus's and the other way round; both are right",
        BACK,
        edit=swapped,
    ),
    Attack(
        "solution in a plain cell",
        "the name is removed from its cell; the answer is right",
        BACK,
        edit=lambda n: cell_of(n, "solution_half")["metadata"].pop("nbgrader") and None,
    ),
    Attack(
        "given cell rewritten",
        "the first cell imports nothing and exits",
        BACK,
        edit=says("given_1", "import sys; sys.exit()"),
    ),
    Attack("given cell deleted", "the first cell is gone", BACK, edit=without("given_1")),
    Attack(
        "names as lists",
        "grade_id is a list, points a dictionary",
        (WRONG, REFUSED),
        WRONG_HALF,
        edit=settings("check_half", grade_id=["check_half"], points={}),
    ),
    Attack(
        "nbgrader's metadata as text",
        "a string where a dictionary belongs",
        EITHER,
        edit=lambda n: cell_of(n, "check_half")["metadata"].update(nbgrader="yes"),
    ),
    Attack(
        "metadata as a list",
        "the cell's metadata is a list",
        EITHER,
        edit=lambda n: cell_of(n, "check_half").update(metadata=[1]),
    ),
    Attack(
        "a name of megabytes",
        "a grade_id of two million characters",
        EITHER,
        edit=settings("check_half", grade_id="x" * 2_000_000),
    ),
    Attack("cells as a dictionary", "the list of cells is none", REFUSE, edit=put("cells", {"a": 1})),
    Attack("a cell that is a number", "cells hold 7", REFUSE, edit=lambda n: n["cells"].append(7)),
    Attack(
        "source as numbers",
        "a cell's source is a list of numbers",
        REFUSE,
        edit=lambda n: cell_of(n, "solution_half").update(source=[1, 2]),
    ),
    Attack(
        "source as lines",
        "a cell's source is a list of lines, which is allowed",
        BACK,
        edit=lambda n: cell_of(n, "solution_half").update(
            source=cell_of(n, "solution_half")["source"].splitlines(True)
        ),
    ),
    Attack(
        "unknown type of cell",
        "cell_type: exploit",
        EITHER,
        edit=lambda n: n["cells"].insert(0, dict(cell_type="exploit", metadata={}, source="1")),
    ),
    Attack("format 3", "nbformat 3 with worksheets", REFUSE, edit=put("nbformat", 3)),
    Attack("format 10", "nbformat 10**30", REFUSE, edit=put("nbformat", 10**30)),
    Attack(
        "another kernel",
        "the notebook asks for R and for a shell command as kernel",
        BACK,
        edit=put(
            "metadata",
            {"kernelspec": {"name": "ir; rm -rf /", "display_name": "R", "language": "R", "argv": ["sh", "-c", "id"]}},
        ),
    ),
    Attack("not JSON", "a notebook of noise", REFUSE, edit=lambda n: b"\x00\xff not a notebook"),
    Attack("empty", "a notebook of no bytes", REFUSE, edit=lambda n: b""),
    Attack("cut off", "the first half of a notebook", REFUSE, edit=raw(lambda data: data[: len(data) // 2])),
    Attack("UTF-16", "a notebook in another encoding", REFUSE, edit=lambda n: json.dumps(n).encode("utf-16")),
    Attack(
        "with a byte order mark",
        "UTF-8 with a mark, as some editors write it",
        BACK,
        edit=lambda n: b"\xef\xbb\xbf" + json.dumps(n).encode(),
    ),
    Attack(
        "keys that stand twice",
        "the second list of cells is empty",
        EITHER,
        edit=raw(lambda data: data[:-1] + b', "cells": []}'),
    ),
    Attack("nested without end", "JSON nested a million deep", REFUSE, edit=lambda n: b"[" * 1_000_000),
    Attack(
        "a notebook of gigabytes",
        "outputs of 100 MB",
        REFUSE,
        edit=lambda n: json.dumps(n | {"x": "y" * 100_000_000}).encode(),
    ),
    Attack(
        "a million cells",
        "so many empty cells that each costs",
        REFUSE,
        edit=lambda n: n["cells"].extend(
            dict(cell_type="code", metadata={}, source="", outputs=[], execution_count=None) for _ in range(100_000)
        ),
    ),
    Attack(
        "half a character",
        "lone surrogates in a cell, a name and an output",
        (WRONG, REFUSED),
        {"half": "def half(x):\n    pass\n    return 0 * x  # \ud800\n"},
        edit=lambda n: cell_of(n, "check_half").update(
            outputs=[dict(output_type="stream", name="\udfff", text="\ud800")]
        ),
    ),
    Attack("zeros in the text", "NUL and control characters in cells", EITHER, before=("x = '\x00\x1b[2J\x07'",)),
    Attack(
        "ids that stand twice",
        "all cells have one id",
        BACK,
        edit=lambda n: [cell.update(id="same") for cell in n["cells"]] and None,
    ),
    Attack(
        "an old score",
        "scores of a made-up earlier grading in every cell",
        (WRONG,),
        WRONG_HALF,
        edit=lambda n: [cell["metadata"].setdefault("nbgrader", {}).update(score=9.0) for cell in n["cells"]] and None,
    ),
    Attack(
        "link to the secret",
        "secret.txt is a link to the classroom's seed",
        REFUSE,
        place=link_to("../../../secret_seed", "secret.txt"),
        says="link",
    ),
    Attack("link to everything", "a link to the root folder", REFUSE, place=link_to("/", "all"), says="link"),
    Attack("notebook is a link", "the notebook itself leads elsewhere", REFUSE, place=notebook_as_link, says="link"),
    Attack("folder is a link", "the submission's folder leads elsewhere", REFUSE, place=folder_as_link, says="link"),
    Attack("a link that leads nowhere", "dangling", REFUSE, place=link_to("/nowhere", "small.nut"), says="link"),
    Attack("a link in a circle", "a link to itself", REFUSE, place=link_to("loop", "loop"), says="link"),
    Attack("notebook is a folder", "a folder of the notebook's name", REFUSE, place=notebook_as_folder),
    Attack(
        "notebook is a pipe",
        "a pipe that nobody writes to: opening it would wait for ever",
        REFUSE,
        place=notebook_as_pipe,
        says="pipe",
    ),
    Attack("a socket beside it", "s.nut is a Unix socket", REFUSE, place=unix_socket, says="socket"),
    Attack(
        "no notebook",
        "the folder is empty but for a text",
        REFUSE,
        place=lambda f: (f / "09_gauntlet.ipynb").unlink(),
        files={"a.txt": b""},
    ),
    Attack(
        "another name",
        "the notebook is called Lab (1).ipynb",
        REFUSE,
        place=lambda f: (f / "09_gauntlet.ipynb").rename(f / "Lab (1).ipynb") and None,
        says="09_gauntlet.ipynb",
    ),
    Attack("a terabyte without room", "small.nut is sparse", REFUSE, place=sparse, says="bytes"),
    Attack("five thousand files", "files without number", REFUSE, place=many_files),
    Attack("a path without end", "folders three thousand deep", REFUSE, place=deep),
    Attack(
        "shadowed libraries",
        "numpy.py, torch/, IPython/, sitecustomize.py, json.py and struct.py beside the notebook",
        BACK,
        files={
            "numpy.py": SHADOW,
            "torch/__init__.py": SHADOW,
            "IPython/__init__.py": SHADOW,
            "sitecustomize.py": SHADOW,
            "usercustomize.py": SHADOW,
            "json.py": SHADOW,
            "struct.py": SHADOW,
            "encodings/__init__.py": SHADOW,
            "os.py": SHADOW,
        },
    ),
    Attack(
        "shadowed toolkit",
        "nutshell.py and nutshell/ beside the notebook",
        BACK,
        files={
            "nutshell.py": SHADOW,
            "nutshell/__init__.py": SHADOW,
            "nutshell/wire/__init__.py": SHADOW,
            "nutshell/wire/harness.py": SHADOW,
            "confine.py": SHADOW,
            "fork_server.py": SHADOW,
            "solutions/__init__.py": SHADOW,
            "autograder/__init__.py": SHADOW,
        },
    ),
    Attack(
        "start-up files",
        "ipython_config.py, .ipython, .pth, conftest.py, pyvenv.cfg and .matplotlibrc",
        BACK,
        files={
            "ipython_config.py": SHADOW,
            ".ipython/profile_default/startup/00.py": SHADOW,
            "x.pth": b"import os; os._exit(0)\n",
            "conftest.py": SHADOW,
            "pyvenv.cfg": b"home = /nowhere\n",
            "matplotlibrc": b"backend: nonsense\n",
            ".env": b"A=1\n",
        },
    ),
    Attack("a name that leads out", "..\\x and names with dots", EITHER, place=named(b"..\\..\\x.py")),
    Attack("a name with a line break", "a file called a\\nb", EITHER, place=named(b"a\nb.py")),
    Attack("a name that is no text", "a file name of bytes that are no UTF-8", EITHER, place=named(b"\xff\xfe.py")),
    Attack(
        "a name with markup", "<img src=x onerror=pwned()>.py", EITHER, place=named(b"<img src=x onerror=pwned()>.py")
    ),
    Attack("a name of 255 letters", "as long as a name may be", EITHER, place=named(b"n" * 255)),
    Attack("a name that is an option", "--output=x and -rf", EITHER, place=named(b"-rf")),
    Attack(
        "a time from nowhere", "timestamp.txt that is no time", EITHER, files={"timestamp.txt": b"../../etc/passwd"}
    ),
    Attack(
        "a time in the far future", "the year 9999999", EITHER, files={"timestamp.txt": b"9999999-01-01 00:00:00 UTC"}
    ),
    Attack(
        "student with markup",
        "the folder's name is markup",
        EITHER,
        student="<b>pwned<script>",
        marks="any",
        others=False,
    ),
    Attack(
        "student with spaces",
        "a name with spaces and a quote",
        EITHER,
        student="Zoë O'Hara; DROP TABLE",
        marks="any",
        others=False,
    ),
    Attack("student with a dash", "the name begins with a dash", EITHER, student="--help", marks="any", others=False),
    Attack("student with dots", "the name is a..b", EITHER, student="a..b", marks="any", others=False),
    Attack(
        "student with a bell",
        "control characters and a line break",
        EITHER,
        student="a\x07\x1b]0;pwned\x07\nb",
        marks="any",
        others=False,
    ),
    Attack("student with a long name", "250 letters", EITHER, student="s" * 250, marks="any", others=False),
    Attack(
        "student beyond UTF-8",
        "a folder's name of bytes that are no text",
        EITHER,
        student=os.fsdecode(b"st\xff\xfe"),
        marks="any",
        others=False,
    ),
)
