"""``nutshell check``: a notebook outside JupyterLab, on the learner's code and never on the reference."""

import io
import json
import os
import queue
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nutshell.commands.check import check as command
from nutshell.errors import WrongUse
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.process import Process, read_messages
from nutshell.wire.show import Points
from nutshell.wire.standins import Implementation
from tests.nutshell.wire import made_up_checks
from tests.nutshell.wire.lab_on_disk import SOLUTION, write_desk, write_notebook

OPENING = 'from nutshell import check, open_lab\nopen_lab("made_up")\nimport numpy as np, torch\nfrom torch import nn'
STUBS = "def scale(weights, factor):\n    raise NotImplementedError\nclass Codebook:\n    pass"


def called(*arguments):
    """Exit code, standard output and the object on it."""
    done = CliRunner().invoke(command, [str(item) for item in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.fixture
def folder(tmp_path):
    return write_desk(tmp_path / "90_made_up")


def test_the_solution_passes_and_a_wrong_notebook_does_not(folder):
    (folder / "struct.py").write_text("raise SystemExit('what lies beside the notebook is no part of this program')")
    right = write_notebook(
        folder, OPENING, SOLUTION, 'check("scale")', "%%experiment\nraise SystemExit", "1 / 0", "%matplotlib inline"
    )
    code, printed = called(right, "--json")
    found = json.loads(printed)
    assert code == 0 and found["passed"] and found["points"] == found["of"] == 9 and found["unit"] == "made_up"
    assert [row["name"] for row in found["exercises"]] == [e.name for e in made_up_checks.UNIT.exercises]
    assert found["cells"] == [{"cell": 6, "error": "ZeroDivisionError: division by zero"}]
    wrong = write_notebook(
        folder, OPENING, SOLUTION, "def scale(weights, factor):\n    return weights", name="wrong.ipynb"
    )
    code, printed = called(wrong)
    assert code == 1 and "scale: 0 of 4 points" in printed and "5 of 9 points" in printed and "✗  scale" in printed


def test_a_blank_notebook_fails_with_the_reference_importable(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(made_up_checks.__file__).parents[3]))
    sees = "import tests.nutshell.wire.made_up_reference as found\nassert found.scale"
    code, printed = called(write_notebook(folder, OPENING, sees, STUBS, "check('scale')"), "--json")
    found = json.loads(printed)
    assert (
        code == 1 and found["points"] == 0 and found["cells"] == []
    )  # the reference could be imported, and counted nothing
    assert all(check["status"] != "OK" for row in found["exercises"] for check in row["checks"])


def test_an_extension_that_is_not_begun_is_no_failure_and_a_budget_is_one(tmp_path):
    from tests.nutshell.wire.test_desk import BUDGET

    folder = write_desk(tmp_path / "lab", replace(made_up_checks.UNIT, budgets=(BUDGET,)))
    without = SOLUTION[: SOLUTION.index("def prune_")]
    code, printed = called(write_notebook(folder, OPENING, without))
    assert code == 1 and "·  prune_" in printed and "✗  small" in printed and "9 of 13 points" in printed


def test_a_cell_that_ends_the_process_and_a_check_that_never_ends(folder):
    slow = "def batches(items, size):\n    while True:\n        pass"
    notebook = write_notebook(folder, OPENING, SOLUTION, "import os\nos._exit(1)", slow)
    code, printed = called(notebook, "--json", "--time-limit", 3)
    found = json.loads(printed)
    status = {row["name"]: [check["status"] for check in row["checks"]] for row in found["exercises"]}
    assert code == 1 and status.pop("batches") == ["TIMEOUT"] and all(set(found) == {"OK"} for found in status.values())
    assert [cell["cell"] for cell in found["cells"]] == [4] and "CRASH" in found["cells"][0]["error"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', '{"cells": [{}]}', "\xff"])
def test_what_is_no_notebook_is_wrong_use(folder, text):
    path = folder / "odd.ipynb"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(WrongUse, match="not a notebook"):
        called(path)
    with pytest.raises(WrongUse, match="lacks"):
        called(write_notebook(folder.parent, "x = 1"))


def test_a_process_is_another_one_that_says_nothing_and_leaves_nothing(folder, capfd):
    cell = (
        "import os, sys, subprocess\nprint('loud')\nprint('loud', file=sys.stderr)\nos.system('echo loud')\n"
        "child = subprocess.Popen(['sleep', '600'])\ndef ids():\n    return os.getpid(), child.pid, sys.stdin.read()\n"
        "def double(x):\n    return 2 * x\n"
    )
    with Process(folder, time_limit=30) as process:
        process.request("run", codec.encode({"verb": "run", "cells": [cell]}))
        learner = Implementation(process)
        own, child, read = learner.ids()
        assert own != os.getpid() and read == "" and learner.double(np.arange(3)).tolist() == [0, 2, 4]
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ProcessLookupError):
        os.kill(own, 0)
    assert not Path(f"/proc/{child}/cmdline").is_file() or not Path(f"/proc/{child}/cmdline").read_bytes()
    with pytest.raises(Ended) as ended:
        learner.double(1)
    assert ended.value.status == "CRASH"


def test_a_flood_of_bytes_is_output_and_an_end_a_crash():
    whole = codec.encode({"value": 1})
    for stream, status in ((whole + b"\xff" * 100, "OUTPUT"), (whole, "CRASH"), (whole + b"\x01", "CRASH")):
        replies: queue.Queue = queue.Queue()
        read_messages(io.BytesIO(stream), replies, codec.Limits(size=10_000))
        found = [replies.get() for _ in range(replies.qsize())]
        assert found[0] == whole and status in [item.status for item in found if isinstance(item, Ended)]


MAKES = (
    "%%experiment\nfrom nutshell import hand_in, models\n"
    'hand_in(models.build("mlp", sizes=(784, 3, 10)), "small.nut")\nopen("other.txt", "w").write("made")'
)


def everything(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_nothing_of_the_learners_changes_and_it_is_said_which_file_was_measured(tmp_path, monkeypatch):
    from tests.nutshell.wire.test_desk import BUDGET

    folder = write_desk(tmp_path / "lab", replace(made_up_checks.UNIT, budgets=(BUDGET,)))
    (folder / "small.nut").write_bytes(b"handed in")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    notebook = write_notebook(folder, OPENING, SOLUTION, "open('small.nut', 'w').write('no')", MAKES)
    before = everything(folder)
    seen = []

    def measured(budget, path):
        seen.append(path.read_bytes())
        return Points(4.0, "small: the table", "<p></p>", "a note")

    monkeypatch.setattr("nutshell.wire.desk.budget_result", measured)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    code, printed = called(notebook)
    assert code == 0 and seen == [b"handed in"] and everything(folder) == before
    assert "small: the table" in printed and "Measured: small.nut as handed in." in printed  # also with full marks
    assert printed.index("✓  small") < printed.index("✓  prune_")
    code, printed = called(notebook, "--experiments", "--json")
    row = json.loads(printed)["exercises"][-1]
    assert len(seen[1]) > 784 * 3 * 4 and everything(folder) == before and row["note"] == "a note"
    assert row["file"] == "Measured: small.nut as the experiments made it in a copy; the one handed in is as it was."
    assert not list(Path(tempfile.gettempdir()).glob("nutshell-check-*/lab/other.txt"))


def test_after_one_check_that_never_ends_the_others_of_the_exercise_are_not_run(folder):
    slow = "def scale(weights, factor):\n    while True:\n        pass"
    code, printed = called(write_notebook(folder, OPENING, SOLUTION, slow), "--json", "--time-limit", 2)
    first, *rest = json.loads(printed)["exercises"][0]["checks"]
    assert first["status"] == "TIMEOUT" and "loop that doesn't end" in first["cause"] and first["next_step"]
    assert rest and {check["status"] for check in rest} == {"NOT RUN"} and code == 1
