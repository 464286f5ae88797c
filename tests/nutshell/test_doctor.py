"""The doctor finds what is missing, and each finding names what mends it."""

import importlib
import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from nutshell import doctor
from nutshell.commands.doctor import doctor as command
from nutshell.doctor import ADVICE, MISSING, OK, Finding

Patch = pytest.MonkeyPatch


def only(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding


@pytest.fixture
def course(tmp_path: Path) -> Path:
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "01_counting.ipynb").write_text("{}")
    return tmp_path


def test_an_old_python_is_missing_and_this_one_is_not(monkeypatch: Patch) -> None:
    assert only(doctor.python()).state == OK
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    assert only(doctor.python()).state == MISSING


def test_packages_are_held_against_bounds_and_pins(monkeypatch: Patch, course: Path) -> None:
    wanted = [Requirement("click>=8.1"), Requirement("nosuchthing>=1"), Requirement("rich>=999")]
    monkeypatch.setattr(doctor, "requirements", lambda extra="": wanted)
    (course / "constraints.txt").write_text("# comment\nclick==0.1  # old\nnever==1; sys_platform == 'nowhere'\n")
    lacking, other = doctor.packages(course)
    assert (lacking.state, lacking.mend) == (MISSING, doctor.SET_UP)
    assert "nosuchthing (not installed)" in lacking.detail and "rich" in lacking.detail
    assert other.state == ADVICE and "tested with 0.1" in other.detail
    assert doctor.read_pins(course / "constraints.txt") == {"click": "0.1"}


def test_a_local_build_tag_is_no_other_version(monkeypatch: Patch, course: Path) -> None:
    monkeypatch.setattr(doctor, "requirements", lambda extra="": [Requirement("torch>=2.6")])
    monkeypatch.setattr(doctor, "installed", lambda name: "2.13.0+cpu")
    (course / "constraints.txt").write_text("torch==2.13.0\n")
    assert only(doctor.packages(course)).state == OK


def test_requirements_are_the_packages_own() -> None:
    assert {one.name for one in doctor.requirements()} >= {"torch", "numpy", "jupyterlab"}
    assert "nbgrader" not in {one.name for one in doctor.requirements()}
    assert {one.name for one in doctor.requirements("instructor")} >= {"nbgrader", "jupytext"}


def test_a_torch_that_cannot_be_imported_is_missing(monkeypatch: Patch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: raises(OSError("libgomp.so.1: cannot open")))
    finding = only(doctor.torch_build())
    assert finding.state == MISSING and "libgomp" in finding.detail and finding.mend


def test_a_cuda_build_without_a_gpu_gets_the_command_for_the_small_one(monkeypatch: Patch) -> None:
    build = SimpleNamespace(__version__="2.13.0+cu130", version=SimpleNamespace(cuda="13.0"),
                            cuda=SimpleNamespace(is_available=lambda: False), get_num_threads=lambda: 1)
    monkeypatch.setattr(importlib, "import_module", lambda name: build)
    finding = only(doctor.torch_build())
    assert finding.state == ADVICE
    assert finding.mend.endswith("--index-url https://download.pytorch.org/whl/cpu torch==2.13.0")


def test_without_jupyterlab_set_up_mends_it(monkeypatch: Patch) -> None:
    assert only(doctor.jupyterlab()).state in (OK, ADVICE)
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    assert only(doctor.jupyterlab()) == Finding("JupyterLab", MISSING, "not installed", doctor.SET_UP)


def test_data_sets_damaged_here_and_not_here(monkeypatch: Patch) -> None:
    row = {"key": "mnist", "name": "mnist", "path": "/somewhere", "problem": None}
    rows = [row, row | {"key": "cifar-10", "path": None}, row | {"key": "third", "problem": "file x is truncated"}]
    monkeypatch.setattr("nutshell.data.report.describe_all", lambda: {"data_sets": rows})
    rows.append(row | {"key": "fourth", "path": None, "place": "stand-in", "name": "fourth (stand-in)"})
    here, not_here, damaged, stand_in = doctor.data_sets()
    assert (stand_in.state, stand_in.mend) == (ADVICE, "nutshell data fetch fourth")
    assert stand_in.detail == "not here; in its place comes fourth (stand-in)"
    assert [here.state, not_here.state, damaged.state] == [OK, ADVICE, MISSING]
    assert not_here.mend == "nutshell data fetch cifar-10"
    assert "truncated" in damaged.detail


def test_a_data_folder_that_is_not_there_is_said(monkeypatch: Patch) -> None:
    monkeypatch.setenv("NUTSHELL_DATA", "/no/such/folder")
    finding = only(doctor.data_sets())
    assert finding.state == MISSING and "/no/such/folder" in finding.detail


def test_checkpoints_absent_damaged_and_whole(monkeypatch: Patch, tmp_path: Path) -> None:
    for suffix in ("safetensors", "json"):
        shutil.copy(doctor.CHECKPOINT_FOLDER / f"lenet-300-100.{suffix}", tmp_path / f"whole.{suffix}")
        shutil.copy(doctor.CHECKPOINT_FOLDER / f"lenet-300-100.{suffix}", tmp_path / f"damaged.{suffix}")
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 40)
    monkeypatch.setattr(doctor, "CHECKPOINT_FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "CHECKPOINTS", ("whole", "damaged", "absent"))
    damaged, absent = doctor.checkpoints()
    assert (damaged.state, damaged.mend) == (MISSING, "nutshell train damaged") and "is damaged" in damaged.detail
    assert absent.state == MISSING and "absent.safetensors" in absent.detail
    monkeypatch.setattr(doctor, "CHECKPOINTS", ("whole",))
    assert only(doctor.checkpoints()) == Finding("checkpoints", OK, "whole")


def test_a_folder_that_cannot_be_written_and_a_full_disk(monkeypatch: Patch, course: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e6))
    writable, full = doctor.folders(course)
    assert (writable.state, full.state) == (OK, ADVICE)
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", lambda dir: raises(PermissionError(13, "Permission denied")))
    assert next(doctor.folders(course)).state == MISSING
    assert only(doctor.folders(None)).part == "course"
    assert [path.name for path in course.iterdir()] == ["course"]


def test_nbgrader_off_the_path_is_advice(monkeypatch: Patch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0")
    finding = only(doctor.instructor())
    assert finding.state == ADVICE and "alembic" in finding.detail and "PATH" in finding.mend


def test_programs_that_are_not_here_are_advice_with_a_command(monkeypatch: Patch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    findings = list(doctor.programs())
    assert [finding.mend for finding in findings] == ["sudo apt install bubblewrap", "sudo apt install chromium"]
    assert {finding.state for finding in findings} == {ADVICE}


def test_a_package_that_breaks_one_look_does_not_stop_the_others(monkeypatch: Patch, course: Path) -> None:
    monkeypatch.setattr(doctor, "data_sets", lambda: raises(ImportError("no torch")))
    findings = doctor.examine(course)
    assert Finding("data", MISSING, "cannot be looked at: no torch", doctor.SET_UP) in findings
    assert "disk" in {finding.part for finding in findings}


@pytest.mark.parametrize(("state", "code"), [(OK, 0), (ADVICE, 0), (MISSING, 1)])
def test_the_command_prints_one_object_or_a_table_and_ends_with_the_answer(
    monkeypatch: Patch, state: str, code: int
) -> None:
    finding = Finding("torch", state, "as found", "the mending command" if state != OK else "")
    monkeypatch.setattr(doctor, "examine", lambda course: [finding])
    result = CliRunner().invoke(command, ["--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == code
    assert report["healthy"] is (code == 0)
    assert report["findings"][0] | {"mend": ""} == {"part": "torch", "state": state, "detail": "as found", "mend": ""}
    table = CliRunner().invoke(command, [])
    assert table.exit_code == code
    assert "as found" in table.stdout and ("the mending command" in table.stdout) is (state != OK)


def test_every_finding_that_is_not_ok_says_what_mends_it(course: Path) -> None:
    findings = doctor.examine(course)
    assert all(finding.mend for finding in findings if finding.state != OK)
    assert all(finding.state in (OK, MISSING, ADVICE) for finding in findings)


def test_the_package_is_installed_under_the_name_that_the_doctor_asks_for() -> None:
    assert metadata.version(doctor.DISTRIBUTION)


def raises(error: Exception) -> NoReturn:
    raise error
