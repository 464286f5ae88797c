"""A bundle with wheels and data sets itself up and runs where there is no network at all."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from autograder import units
from autograder.demo import solutions_of

UNIT = "counting"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A machine without a network: the bundle unpacked, an empty home, nothing of this environment; it goes away."""
    place = tmp_path_factory.mktemp("offline")
    program = Path(sys.executable).with_name("nutshell")
    subprocess.run([program, "bundle", place / "room.zip", "--offline", "--wheels", place / "wheels"], check=True)
    with zipfile.ZipFile(place / "room.zip") as archive:
        archive.extractall(place)
    (place / "room.zip").unlink()
    shutil.rmtree(place / "wheels")
    (place / "home").mkdir()
    yield place
    shutil.rmtree(place / "nutshell-course")  # more than a gigabyte


def run(room, *command):
    """Run a command in the unpacked bundle, with the network off and only the room's own folder to write to."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(room / "home"), "LANG": "C.UTF-8",
                   "PIP_CONFIG_FILE": os.devnull, "PIP_NO_COMPILE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    wall = ["bwrap", "--unshare-net", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev",
            "--proc", "/proc", "--tmpfs", "/tmp", "--bind", str(room), str(room),
            "--chdir", str(room / "nutshell-course")]  # fmt: skip
    done = subprocess.run([*wall, *map(str, command)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_a_room_without_a_network_can_work(room):
    python, nutshell = (room / "nutshell-course" / ".venv" / "bin" / name for name in ("python", "nutshell"))

    # There really is no network, and the readme's own command sets everything up.
    probe = "import socket; print([name for _, name in socket.if_nameindex()])"
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert run(room, base, "-c", probe).strip() == "['lo']"
    report = run(room, base, "start.py", "doctor", "--json")
    found = json.loads(report.splitlines()[-1])
    assert found["healthy"], found
    said = {row["part"]: row for row in found["findings"]}
    assert said["mnist"]["state"] == "ok" and said["packages"]["state"] == "ok" and "+cpu" in said["torch"]["detail"]

    # What is installed is the learner's half.
    assert "grade" not in re.findall(r"^  (\w+) ", run(room, nutshell, "--help"), re.MULTILINE)

    # A lab's checks run: on the blank notebook, and on one with solutions.
    source = units.load(UNIT)
    lab = room / "nutshell-course" / "labs" / source.unit.folder / f"{source.unit.folder}.ipynb"
    solved = fill_in(lab, solutions_of(source, source.unit))
    checked = json.loads(run(room, nutshell, "check", solved, "--json"))
    assert checked["passed"] and checked["points"] == sum(one.points for one in source.unit.exercises)

    # The notebook itself runs in a kernel, and real images are there.
    run(room, python, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", solved)
    outputs = [out for cell in nbformat.read(solved, as_version=4).cells for out in cell.get("outputs", [])]
    assert outputs and not any(out.output_type == "error" for out in outputs)
    measured = json.loads(run(room, nutshell, "measure", write_network(room, python), "--data", "mnist", "--json"))
    assert measured["data"] == "mnist, test" and measured["error_percent"] < 2


def fill_in(lab, answers):
    folder = lab.parents[2] / "my_labs" / lab.parent.name
    shutil.copytree(lab.parent, folder)
    path = folder / lab.name
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
    nbformat.write(notebook, path)
    return path


def write_network(room, python):
    run(room, python, "-c", "from nutshell import artefact, checkpoints; "
        "artefact.save(checkpoints.load('lenet-300-100'), 'dense.nut', input_shape=(1, 28, 28))")
    return "dense.nut"
