"""Downloads: mirrors in turn, check sums of decompressed bytes, and nothing left that looks whole."""

import gzip
import os
import socket
import threading
import time

import platformdirs
import pooch
import pytest

from nutshell.data import mirrors
from nutshell.data.mirrors import STALE_SECONDS, download, keep, unreachable
from nutshell.data.sources import cache_folder, find_local, locate, read_copy
from nutshell.errors import Refused, Trouble
from tests.nutshell.tiny_source import IMAGES, LABELS, Mirror, serve, tarball, tiny, whole, write_tiny


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NUTSHELL_DATA", raising=False)
    monkeypatch.delenv("NUTSHELL_OFFLINE", raising=False)
    return cache_folder()


@pytest.fixture
def honest():
    with serve(Mirror(whole())) as mirror:
        yield mirror


@pytest.mark.parametrize("archive", [None, "tiny.tar.gz"])
def test_a_whole_copy_lands_in_the_cache_and_is_found_there(honest, cache, archive):
    source = tiny((honest.address,), archive)
    folder = download(source, progress=False)
    assert folder == cache / "tiny"
    assert (folder / "images").read_bytes() == IMAGES and (folder / "labels").read_bytes() == LABELS
    assert [path.name for path in cache.iterdir()] == ["tiny"]
    copy = find_local(source)
    assert (copy.name, copy.place, copy.path) == ("tiny", "cache", folder)


def test_sums_are_of_the_decompressed_bytes(cache):
    unpacked = {"/images.gz": IMAGES, "/labels.gz": gzip.compress(LABELS, 1)}  # a server may unpack on the way
    with serve(Mirror(unpacked)) as mirror:
        download(tiny((mirror.address,)), progress=False)
    assert (cache / "tiny" / "images").read_bytes() == IMAGES


BROKEN = {
    "missing": ({}, (), "404"),
    "wrong": ({"/images.gz": gzip.compress(IMAGES[::-1])}, (), "SHA-256"),
    "too long": ({"/images.gz": gzip.compress(IMAGES + b"x")}, (), "found more than that"),
    "a web page": ({"/images.gz": b"<html>Please log in to this network</html>"}, (), "expected 10,240 bytes"),
    "truncated": ({"/images.gz": gzip.compress(IMAGES)[:-9]}, (), "truncated"),
    "corrupt": ({"/images.gz": gzip.compress(IMAGES)[:-8] + bytes(8)}, (), "corrupt"),
    "cut off": (whole(), ("/images.gz",), "images.gz"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_mirror_alone_leaves_nothing_and_says_why(how, cache):
    files, cut, reason = BROKEN[how]
    with serve(Mirror(files, cut)) as mirror, pytest.raises(Trouble, match=reason) as caught:
        download(tiny((mirror.address,)), progress=False)
    assert mirror.address in str(caught.value)
    assert list(cache.iterdir()) == []
    assert find_local(tiny()) is None


@pytest.mark.parametrize("how", BROKEN)
def test_the_next_mirror_takes_over(how, honest, cache):
    files, cut, _ = BROKEN[how]
    with serve(Mirror(files, cut)) as broken:
        download(tiny((broken.address, honest.address)), progress=False)
    assert broken.asked[0] == "/images.gz"
    assert honest.asked == ["/images.gz", "/labels.gz"]
    assert (cache / "tiny" / "images").read_bytes() == IMAGES


def test_a_mirror_that_fails_late_is_replaced_for_the_rest(honest, cache):
    with serve(Mirror({"/images.gz": gzip.compress(IMAGES)})) as broken:
        download(tiny((broken.address, honest.address)), progress=False)
        assert broken.asked == ["/images.gz", "/labels.gz"]
    assert honest.asked == ["/labels.gz"]


@pytest.mark.parametrize("content", [tarball()[:200], b"", tarball({"tiny/images": IMAGES}), b"\x1f\x8b" + b"x" * 50])
def test_a_broken_archive_is_refused(content, cache):
    with serve(Mirror({"/tiny.tar.gz": content})) as mirror, pytest.raises(Trouble, match=r"tiny\.tar\.gz: expected"):
        download(tiny((mirror.address,), "tiny.tar.gz"), progress=False)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_download_leaves_nothing(honest, cache, monkeypatch, stop):
    real = pooch.HTTPDownloader.__call__

    def interrupted(self, url, path, *rest, **more):
        if url.endswith("labels.gz"):
            path.write_bytes(b"\x1f\x8b")
            raise stop
        return real(self, url, path, *rest, **more)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(stop):
        download(tiny((honest.address,)), progress=False)
    assert list(cache.iterdir()) == []


def test_what_a_killed_process_leaves_is_never_looked_at_and_goes_in_time(honest, cache):
    left = write_tiny(cache / ".incomplete-abc" / "tiny").parent
    assert locate(tiny(), cache) is None
    download(tiny((honest.address,)), progress=False)
    assert left.exists()  # another process may be at it
    os.utime(left, (time.time() - STALE_SECONDS - 60,) * 2)
    keep(tiny(), read_copy(tiny(), cache / "tiny", "cache").contents)
    assert not left.exists()


def test_a_full_disk_is_trouble_and_leaves_nothing(honest, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirrors, "_install", full)
    with pytest.raises(Trouble, match="No space left"):
        download(tiny((honest.address,)), progress=False)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_trouble(honest, tmp_path):
    (tmp_path / "cache").write_text("a file stands where the folder should")
    with pytest.raises(Trouble, match="can't be written"):
        download(tiny((honest.address,)), progress=False)


def test_a_damaged_copy_in_the_cache_is_replaced_and_a_whole_one_kept(honest, cache):
    folder = write_tiny(cache / "tiny", images=IMAGES[::-1])
    with pytest.raises(Refused, match="nutshell data fetch tiny"):
        find_local(tiny())
    download(tiny((honest.address,)), progress=False)
    assert (folder / "images").read_bytes() == IMAGES
    (folder / "note").write_text("the same folder")
    download(tiny((honest.address,)), progress=False)
    assert (folder / "note").exists()


def test_offline_asks_nobody(honest, monkeypatch):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "1")
    with pytest.raises(Trouble, match="NUTSHELL_OFFLINE"):
        download(tiny((honest.address,)), progress=False)
    assert honest.asked == []
    monkeypatch.setenv("NUTSHELL_OFFLINE", "0")
    download(tiny((honest.address,)), progress=False)


def test_progress_goes_to_standard_error(honest, capsys):
    download(tiny((honest.address,)))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "images.gz" in captured.err and "100%" in captured.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_mirrors_that_nobody_answers_at_are_passed_over(honest, cache):
    silent = f"http://127.0.0.1:{closed_port()}/"
    assert set(unreachable((silent, honest.address), 5.0)) == {silent}
    download(tiny((silent, honest.address)), progress=False)
    with pytest.raises(Trouble, match="refused"):
        download(tiny((silent,)), progress=False)


def test_a_name_look_up_that_hangs_is_given_up(monkeypatch):
    release = threading.Event()

    def hang(*_, **__):
        release.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", hang)
    found = unreachable(("http://a.invalid/", "http://b.invalid/"), 0.05)
    release.set()
    assert found == dict.fromkeys(("http://a.invalid/", "http://b.invalid/"), "no answer within 0.05 s")


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(honest, monkeypatch):
    monkeypatch.setenv("http_proxy", honest.address)
    assert unreachable(("http://mirror.invalid/",), 5.0) == {}
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    assert list(unreachable(("http://mirror.invalid/",), 5.0)) == ["http://mirror.invalid/"]
