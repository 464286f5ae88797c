"""nutshell data: status, fetch and import, their words and exit codes."""

import gzip
import json
import sys

import platformdirs
import pytest

from nutshell import cli
from nutshell.data.catalogue import SOURCES
from nutshell.data.sources import cache_folder
from tests.nutshell.tiny_source import IMAGES, LABELS, Mirror, serve, tarball, tiny, whole, write_tiny


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The tiny data set alone, an empty NUTSHELL_DATA, an empty cache, and no downloads."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setenv("NUTSHELL_DATA", str(folder))
    monkeypatch.setenv("NUTSHELL_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for key in list(SOURCES):
        monkeypatch.delitem(SOURCES, key)
    monkeypatch.setitem(SOURCES, "tiny", tiny(archive="tiny.tar.gz", unofficial_name="tiny (unofficial copy)"))
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["nutshell", "data", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def status(run):
    code, out, _ = run("status", "--json")
    report = json.loads(out)
    assert list(report) == ["nutshell_data", "cache", "offline", "data_sets"]
    (row,) = report["data_sets"]
    return code, row


def test_status_says_which_copy_is_in_use(root, run, monkeypatch):
    assert status(run) == (0, {"key": "tiny", "name": "tiny (stand-in: nothing)", "place": "stand-in", "path": None,
                               "problem": None})
    monkeypatch.delenv("NUTSHELL_OFFLINE")
    assert status(run)[1]["place"] == "not here yet"
    write_tiny(cache_folder() / "tiny")
    assert status(run)[1] == {"key": "tiny", "name": "tiny", "place": "cache", "path": str(cache_folder() / "tiny"),
                              "problem": None}
    write_tiny(root / "tiny", IMAGES[::-1], LABELS[::-1])
    assert status(run)[1]["name"] == "tiny (unofficial copy)"
    assert status(run)[1]["place"] == "NUTSHELL_DATA"


def test_status_of_a_damaged_copy_is_no(root, run):
    write_tiny(root / "tiny", images=IMAGES[:-1])
    code, row = status(run)
    assert code == 1
    assert row["name"] is None and "expected 10,240 bytes" in row["problem"]
    code, out, err = run("status")
    assert code == 1
    assert "expected 10,240 bytes" in " ".join(out.replace("│", " ").split())
    assert "tiny can't be used" in err


def test_status_is_what_data_alone_says(root, run):
    write_tiny(root / "tiny")
    code, out, _ = run()
    assert code == 0
    assert (code, out) == run("status")[:2]
    assert "tiny" in out and str(root) in out


def test_fetch_downloads_what_is_missing_and_leaves_the_rest(root, run, monkeypatch):
    monkeypatch.delenv("NUTSHELL_OFFLINE")
    with serve(Mirror(whole())) as mirror:
        monkeypatch.setitem(SOURCES, "tiny", tiny((mirror.address,)))
        assert run("fetch", "tiny")[:2] == (0, f"tiny: downloaded to {cache_folder() / 'tiny'}\n")
        assert run("fetch")[:2] == (0, f"tiny: here already, in {cache_folder() / 'tiny'}\n")
        assert len(mirror.asked) == 2
        (cache_folder() / "tiny" / "labels").write_bytes(LABELS[::-1])
        assert run("fetch")[0] == 0
        assert (cache_folder() / "tiny" / "labels").read_bytes() == LABELS


def test_fetch_without_a_mirror_is_trouble_and_with_a_wrong_name_wrong_use(root, run, monkeypatch):
    code, _, err = run("fetch")
    assert (code, err) == (3, "Error: NUTSHELL_OFFLINE forbids downloads.\n")
    monkeypatch.delenv("NUTSHELL_OFFLINE")
    monkeypatch.setitem(SOURCES, "tiny", tiny(("http://127.0.0.1:9/",)))
    code, _, err = run("fetch")
    assert code == 3 and "http://127.0.0.1:9/" in err
    code, _, err = run("fetch", "mnits")
    assert code == 2 and "Choose one of: tiny" in err


def test_fetch_does_not_hide_a_damaged_copy_that_comes_first(root, run):
    write_tiny(root / "tiny", images=IMAGES[:-1])
    code, _, err = run("fetch")
    assert code == 1 and "point NUTSHELL_DATA elsewhere" in err


@pytest.mark.parametrize("layout", ["files", "packed", "folder", "archive", "folder of archive"])
def test_import_takes_over_every_layout(root, run, tmp_path, monkeypatch, layout):
    monkeypatch.delenv("NUTSHELL_DATA")
    source = tmp_path / "downloads"
    if layout in ("files", "folder"):
        write_tiny(source / "tiny")
    elif layout == "packed":
        (source / "tiny").mkdir(parents=True)
        (source / "tiny" / "images.gz").write_bytes(gzip.compress(IMAGES))
        (source / "tiny" / "labels.gz").write_bytes(gzip.compress(LABELS))
    else:
        source.mkdir()
        (source / "tiny.tar.gz").write_bytes(tarball())
    path = {"files": source / "tiny", "packed": source / "tiny", "archive": source / "tiny.tar.gz"}.get(layout, source)
    code, out, _ = run("import", path)
    assert code == 0 and out.startswith("tiny: ")
    assert (cache_folder() / "tiny" / "images").read_bytes() == IMAGES
    assert status(run)[1]["name"] == "tiny"


def test_import_refuses_what_is_not_the_publishers(root, run, tmp_path):
    unofficial = write_tiny(tmp_path / "other", IMAGES[::-1], LABELS[::-1])
    code, _, err = run("import", unofficial)
    assert code == 1 and "expected the publisher's bytes" in err
    (tmp_path / "tiny.tar.gz").write_bytes(tarball()[:-40])
    code, _, err = run("import", tmp_path / "tiny.tar.gz")
    assert code == 1 and "tiny.tar.gz: expected" in err
    code, _, err = run("import", root)
    assert code == 1 and "holds no data set that is known here" in err and "tiny.tar.gz" in err
    assert run("import", tmp_path / "nowhere")[0] == 2
    assert not (cache_folder() / "tiny").exists()
