"""The process that workers are forked from: begun early, and done without where its socket can't have an address."""

import tempfile

from autograder import early


def test_a_long_temporary_folder_makes_workers_import_for_themselves(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert early.begin().get_start_method() == "spawn"


def test_a_system_without_it_does_too(monkeypatch):
    monkeypatch.setattr(early, "get_all_start_methods", lambda: ["spawn"])
    assert early.begin().get_start_method() == "spawn"


def test_elsewhere_it_runs_after_the_call(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    begun = []
    monkeypatch.setattr(early.forkserver, "ensure_running", lambda: begun.append(True))
    assert early.begin().get_start_method() == "forkserver" and begun
