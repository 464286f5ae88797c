"""The applications' pictures: publishers' formats, parts that are apart, stand-ins, and what is refused."""

import dataclasses
import io
import json
import pickle
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

import nutshell.data
from nutshell import cli
from nutshell.data.applications import APPLICATIONS, GESTURES, MALARIA, QUICKDRAW, TRACK, drawn, quickdraw
from nutshell.data.applications.track import parse_log
from nutshell.data.catalogue import SOURCES
from nutshell.data.files import FolderFiles, MemoryFiles, ZipFiles
from nutshell.data.report import describe, take_over
from nutshell.data.sources import cache_folder
from nutshell.errors import Refused, Trouble, WrongUse

KEYS = [source.key for source in APPLICATIONS]
SHAPES = {"track": (3, 66, 200), "gestures": (1, 50, 50), "malaria": (3, 48, 48), "quickdraw": (1, 28, 28)}
DRAWN: dict[str, dict[str, bytes]] = {}  # what the generators drew, once


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty NUTSHELL_DATA, an empty cache, no way to download, and stand-ins that are drawn once."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setenv("NUTSHELL_DATA", str(folder))
    monkeypatch.setenv("NUTSHELL_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(nutshell.data, "_announced", set())
    monkeypatch.setattr(nutshell.data, "_no_download", {})
    for source in APPLICATIONS:
        monkeypatch.setitem(SOURCES, source.key, dataclasses.replace(source, draw=lambda key=source.key: contents(key)))
    return folder


def contents(key: str) -> dict[str, bytes]:
    if key not in DRAWN:
        DRAWN[key] = dict(next(source for source in APPLICATIONS if source.key == key).draw())
    return DRAWN[key]


def lay_out(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path, files, above=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(above + name, content)
    return path


def picture(size=(60, 40), colour=(200, 100, 50), mode="RGB", kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("key", KEYS)
def test_a_stand_in_is_read_as_the_real_files_are_and_its_parts_are_apart(root, key):
    data = nutshell.data.load(key)
    assert data.name == f"{key} (stand-in: seeded generator)"
    numbers = data.train.labels.is_floating_point()
    assert numbers == (key == "track") == (data.classes == ())
    pictures = set()
    for part in (data.train, data.validation, data.test):
        assert part.images.shape[1:] == SHAPES[key] and part.images.dtype == torch.uint8
        assert len(part) >= 30 and part.images.is_contiguous()
        assert (part.labels.abs() <= 1).all() if numbers else part.labels.unique().tolist() == list(
            range(len(data.classes)))
        pictures |= {image.numpy().tobytes() for image in part.images}
    assert len(pictures) == len(data.train) + len(data.validation) + len(data.test)


@pytest.mark.parametrize("key", KEYS)
def test_a_copy_on_disk_or_in_an_archive_gives_what_the_generator_gave(root, key, capsys):
    files = contents(key)
    expected = nutshell.data.album(key)
    folder = lay_out(root / key, files)
    on_disk = nutshell.data.album(key)
    assert on_disk.name == f"{key} ({len(files) - (key == 'track'):,} files)"
    assert f"From {folder}." in capsys.readouterr().err
    assert describe(SOURCES[key])["place"] == "NUTSHELL_DATA"
    packed = SOURCES[key].read(zipped(root / "some.zip", files, "" if key == "gestures" else "some-main/"), "here")
    in_archive = SOURCES[key].album(packed.contents, packed.name)
    for part in ("train", "validation", "test"):
        pictures = getattr(expected, part)
        assert getattr(on_disk, part) == pictures == getattr(in_archive, part)
        for one in pictures[:3]:
            assert np.array_equal(on_disk.decode(one), expected.decode(one))
            assert np.array_equal(in_archive.decode(one), expected.decode(one))


@pytest.mark.parametrize("key", KEYS)
def test_the_generators_draw_the_same_again(root, key):
    again = next(source for source in APPLICATIONS if source.key == key).draw()
    assert list(again) == list(contents(key))
    assert all(again[name] == contents(key)[name] for name in list(again)[::17])


def test_the_stand_ins_can_be_learned_a_little():
    """A nearest mean of the training pictures does better than guessing; for the road, a line through the pixels."""
    for key, guess in (("gestures", 1 / 11), ("quickdraw", 1 / 6), ("malaria", 1 / 2)):
        source = next(one for one in APPLICATIONS if one.key == key)
        data = source.album(MemoryFiles(contents(key)), "drawn", shape=(SHAPES[key][0], 24, 24)).load()
        train, test = data.train.images.flatten(1).float(), data.test.images.flatten(1).float()
        means = torch.stack([train[data.train.labels == label].mean(0) for label in range(len(data.classes))])
        right = (torch.cdist(test, means).argmin(1) == data.test.labels).float().mean()
        assert right > guess + 0.1, (key, right)
    data = TRACK.album(MemoryFiles(contents("track")), "drawn", shape=(1, 12, 32)).load()
    train, test = (part.inputs().flatten(1) for part in (data.train, data.test))
    weights = torch.linalg.solve(train.T @ train + 10 * torch.eye(train.shape[1]), train.T @ data.train.labels)
    assert (test @ weights - data.test.labels).abs().mean() < 0.7 * data.test.labels.abs().mean()


def test_the_road_is_cut_out_and_the_whole_frame_to_be_had(root):
    road, frame = nutshell.data.album("track"), nutshell.data.album("track", whole=True)
    small = nutshell.data.load("track", shape=(1, 40, 40))
    assert frame.view.shape == (3, 160, 320) and small.train.images.shape[1:] == (1, 40, 40)
    whole = frame.decode(frame.train[0])
    band = Image.fromarray(whole.transpose(1, 2, 0)).resize((200, 66), Image.Resampling.BILINEAR, (0, 60, 320, 135))
    assert np.array_equal(road.decode(road.train[0]), np.asarray(band).transpose(2, 0, 1))
    assert small.train.mean == (0.5,) and small.train.inputs().min() >= -1


def test_the_log_is_read_as_the_simulators_write_it():
    windows = rb"C:\Users\a\track\IMG\center_1.jpg,C:\Users\a\track\IMG\left_1.jpg, ,-0.5,1,0,30.19"
    udacity = b"center,left,right,steering,throttle,brake,speed\nIMG/center_1.jpg, IMG/left_1.jpg, ,-0.5,1,0,30.19\n\n"
    for text in (windows, udacity, b"\xef\xbb\xbf" + udacity.replace(b"\n", b"\r\n")):
        (moment,) = parse_log(text, "log")
        assert moment == ("IMG/center_1.jpg", "IMG/left_1.jpg", "", -0.5, 1, 0, 30.19)


@pytest.mark.parametrize(("row", "said"), [
    (b"a.jpg,,,0,0,0", "7 columns.*found 6"), (b"a.jpg,,,left,0,0,0", "numbers from the fourth column on"),
    (b"a.jpg,,,1.5,0,0,0", "steering from -1 to 1; found 1.5"), (b"a.jpg,,,nan,0,0,0", "steering from -1 to 1"),
    (b",,,0,0,0,0", "centre camera's file"), (b"\xff\xfe", "comma-separated"),
])  # fmt: skip
def test_a_damaged_log_is_refused_with_its_row(row, said):
    with pytest.raises(Refused, match=said):
        parse_log(b"a.jpg,,,0,0,0,0\n" + row, "log")


def test_left_and_right_cameras_are_learned_from_where_they_are(root):
    files = dict(contents("track"))
    rows = files["driving_log.csv"].decode().splitlines()
    for at, row in enumerate(rows[:100]):
        center, _, _, *rest = row.split(",")
        side = center.replace("center", "left")
        files[side] = files[center]
        rows[at] = ",".join([center, side, "IMG/not_kept.jpg", *rest])
    files["driving_log.csv"] = "\n".join(rows).encode()
    lay_out(root / "track", files)
    plain, sides = nutshell.data.album("track"), nutshell.data.album("track", sides=0.2)
    assert sides.validation == plain.validation and sides.test == plain.test
    more = sides.train[len(plain.train):]
    assert sides.train[: len(plain.train)] == plain.train and 40 < len(more) < 100
    steering = dict(plain.train)
    for one in more:
        assert one.name.startswith("IMG/left") and abs(one.target) <= 1
        assert one.target == min(1, steering[one.name.replace("left", "center")] + 0.2)
    with pytest.raises(WrongUse, match="sides=2: give how much"):
        nutshell.data.album("track", sides=2)


def test_cells_of_one_patient_stay_together_and_may_have_any_size(root):
    data = nutshell.data.album("malaria")
    sizes = {Image.open(io.BytesIO(data.files.read(one.name))).size for one in data.train}
    assert len(sizes) > 50
    parts = (data.train, data.validation, data.test)
    who = [{name.split("/")[1].split("thin")[0] for name, _ in part} for part in parts]
    assert all(who) and not (who[0] & who[1] or who[0] & who[2] or who[1] & who[2])
    lay_out(root / "cell_images", contents("malaria"))  # the name of the publisher's folder does, too
    assert nutshell.data.album("malaria").name == "malaria (400 files)"


def test_drawings_are_read_in_pieces(root, monkeypatch):
    folder = lay_out(root / "quickdraw", contents("quickdraw"))
    pieces, read = [], FolderFiles.read
    monkeypatch.setattr(FolderFiles, "read", lambda self, name, limit=None, start=0: (
        pieces.append((name, limit)) or read(self, name, limit, start)))
    album = nutshell.data.album("quickdraw", classes=("cat", "fish"), limit=100)
    part = album.split(album.train)
    assert max(limit for _, limit in pieces) == 70 * 784
    cats = np.load(folder / "cat.npy")[:70].reshape(-1, 1, 28, 28)
    assert np.array_equal(part.images[:70].numpy(), cats) and part.labels.tolist() == [0] * 70 + [1] * 70
    assert np.array_equal(album.decode(album.train[7]), cats[7])
    assert nutshell.data.load("quickdraw", shape=(1, 14, 14)).train.images.shape[1:] == (1, 14, 14)
    for wrong in ({"classes": ("cat",)}, {"classes": ("cat", "cat")}, {"limit": 9}):
        with pytest.raises(WrongUse, match="two different words"):
            nutshell.data.album("quickdraw", **wrong)
    with pytest.raises(Refused, match=r"expected dog\.npy; found apple"):
        nutshell.data.album("quickdraw", classes=("cat", "dog"))


@pytest.mark.parametrize(("content", "said"), [
    (b"", "which begins with 93 4e"), (b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'}", "header of format 1.0"),
    (pickle.dumps([1]), "which begins with 93 4e"),
])  # fmt: skip
def test_a_file_that_is_no_array_is_refused(root, content, said):
    lay_out(root / "quickdraw", contents("quickdraw") | {"cat.npy": content})
    with pytest.raises(Refused, match=said):
        nutshell.data.album("quickdraw")


def test_an_array_of_something_else_or_cut_short_is_refused(root):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((20, 784)))
    lay_out(root / "quickdraw", contents("quickdraw") | {"cat.npy": buffer.getvalue()})
    with pytest.raises(Refused, match=r"unsigned bytes of shape \(N, 784\); found <f8"):
        nutshell.data.album("quickdraw")
    lay_out(root / "quickdraw", {"cat.npy": contents("quickdraw")["cat.npy"][:90_000]})
    with pytest.raises(Refused, match="it is truncated"):
        nutshell.data.load("quickdraw")


@pytest.mark.parametrize(("key", "change", "said"), [
    ("track", lambda files: files.pop("IMG/center_0007.jpg"), "1 of them missing, among them IMG/center_0007.jpg"),
    ("track", lambda files: files.update({"driving_log.csv": b"IMG/center_0000.jpg,,,0,0,0,0"}), "at least 160"),
    ("gestures", lambda files: [files.pop(f"3/{n}.jpg") for n in range(1, 55)], "gestures/3: 6 pictures: at least 10"),
    ("gestures", lambda files: files.update({"12/1.jpg": b""}), "expected folders 1 to 11; found 12/"),
    ("malaria", lambda files: [files.pop(n) for n in list(files) if n[0] == "U"], "PNGs in Uninfected/; found none"),
    ("quickdraw", lambda files: files.pop("eye.npy"), r"expected eye\.npy"),
])  # fmt: skip
def test_a_copy_that_is_not_whole_is_refused(root, key, change, said):
    files = dict(contents(key))
    change(files)
    lay_out(root / key, files)
    with pytest.raises(Refused, match=said):
        nutshell.data.album(key)
    assert describe(SOURCES[key])["place"] == "damaged"


@pytest.mark.parametrize(("content", "said"), [
    (b"GIF89a", "a JPEG or PNG picture; found 47 49 46 38"), (b"", "an empty file"),
    (picture()[:60], "a damaged one"), (picture((5000, 2)), "at most 4,096 pixels a side; found 5000×2"),
])  # fmt: skip
def test_a_damaged_picture_is_refused_by_name(root, content, said):
    lay_out(root / "gestures", contents("gestures") | {"4/7.jpg": content})
    album = nutshell.data.album("gestures")
    with pytest.raises(Refused, match=rf"gestures/4/7\.jpg: expected .*{said}"):
        album.decode(next(one for one in album.train if one.name == "4/7.jpg"))


def test_pictures_of_every_kind_come_out_alike():
    files = MemoryFiles({f"{n}/{k}.jpg": picture(mode="L") for n in range(1, 12) for k in range(1, 11)} | {
        "1/1.jpg": picture((31, 77), mode="RGB", kind="JPEG"), "1/2.jpg": picture(mode="P"),
        "1/3.jpg": picture(mode="RGBA"), "1/4.jpg": picture(mode="1")})
    album = GESTURES.album(files, "made up")
    grey = {album.decode(one)[0, 20, 20] for one in album.train if one.name in ("1/1.jpg", "1/2.jpg", "1/3.jpg")}
    assert max(grey) - min(grey) <= 4 and all(album.decode(one).shape == (1, 50, 50) for one in album.train[:4])


@pytest.mark.parametrize("shape", [(2, 40, 40), (1, 40), (3, 0, 40), (3, 5000, 40)])
def test_a_shape_that_no_picture_has_is_wrong_use(root, shape):
    with pytest.raises(WrongUse, match="give channels"):
        nutshell.data.load("gestures", shape=shape)


def test_wrong_options_are_wrong_use(root):
    with pytest.raises(WrongUse, match="unexpected keyword argument 'sides'"):
        nutshell.data.load("gestures", sides=0.2)
    with pytest.raises(WrongUse, match="mnist takes no options, and was given shape"):
        nutshell.data.load("mnist", shape=(1, 14, 14))
    with pytest.raises(WrongUse, match=r"use nutshell\.data\.load\('mnist'\)"):
        nutshell.data.album("mnist")


def test_an_album_can_be_sent_to_a_worker(root):
    zipped(root / "gestures.zip", contents("gestures"), "Emojinator-main/Emojinator/gestures/")
    album = nutshell.data.album("gestures")
    album.decode(album.train[0])
    again = pickle.loads(pickle.dumps(album))
    assert isinstance(again.files, ZipFiles) and again == album
    assert np.array_equal(again.decode(again.test[3]), album.decode(album.test[3]))


def test_only_the_layouts_own_files_are_seen(root):
    members = {"Emojinator-1/Emojinator/gestures/1/1.jpg": b"a", "Emojinator-1/Emojinator_V3/gestures/1/2.jpg": b"b",
               "__MACOSX/gestures/1/._1.jpg": b"c", "../gestures/1/3.jpg": b"d", "gestures/1/x.exe": b"e"}
    assert ZipFiles(zipped(root / "a.zip", members), GESTURES.layout).names() == ["1/1.jpg"]
    members = {"track-main/driving_log.csv": b"", "track-main/IMG/center_1.jpg": b"", "IMG/../../x.jpg": b"",
               "IMG/..jpg": b"", "__MACOSX/track/._driving_log.csv": b"", "IMG/a\\b.jpg": b""}
    assert ZipFiles(zipped(root / "b.zip", members), TRACK.layout).names() == ["IMG/center_1.jpg", "driving_log.csv"]
    lay_out(root / "c", {"Parasitized/a.png": b"", "Parasitized/Thumbs.db": b"", "deep/Parasitized/b.png": b""})
    assert FolderFiles(root / "c", MALARIA.layout).names() == ["Parasitized/a.png"]


def test_a_damaged_archive_is_refused(root):
    path = zipped(root / "gestures.zip", contents("gestures"), "gestures/")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Refused, match=r"gestures\.zip: expected a zip archive in order"):
        nutshell.data.album("gestures")


@pytest.mark.parametrize("layout", ["folder", "folder above", "archive"])
def test_pictures_are_taken_over_into_the_cache(root, tmp_path, monkeypatch, layout):
    monkeypatch.delenv("NUTSHELL_DATA")
    files = contents("gestures")
    if layout == "archive":
        path = zipped(tmp_path / "Emojinator-main.zip", files, "Emojinator-main/Emojinator/gestures/")
    else:
        lay_out(tmp_path / "downloads" / "gestures", files)
        path = tmp_path / "downloads" / ("gestures" if layout == "folder" else "")
    (line,) = take_over(path)
    assert line.startswith("gestures (660 files)") and line.endswith(str(cache_folder() / "gestures"))
    assert {p.name for p in (cache_folder() / "gestures").iterdir()} == {str(n) for n in range(1, 12)}
    assert nutshell.data.album("gestures").name == "gestures (660 files)"
    assert not list(cache_folder().glob(".incomplete*"))


def test_large_pictures_are_downloaded_only_by_name(root, monkeypatch, capsys):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "")
    assert describe(SOURCES["malaria"])["place"] == "stand-in"
    assert describe(SOURCES["quickdraw"])["place"] == "not here yet"
    asked = []
    monkeypatch.setattr(nutshell.data, "download", lambda source: asked.append(source.key) or trouble())
    nutshell.data.album("malaria")
    assert asked == []
    said = capsys.readouterr().err
    assert "only if asked for by name (353 MB). `nutshell data fetch malaria` gets the real one" in said
    nutshell.data.album("quickdraw")
    assert asked == ["quickdraw"]
    fetched = []
    monkeypatch.setattr("nutshell.data.report.fetch", lambda source: fetched.append(source.key) or "")
    for arguments in ([], ["track"]):
        monkeypatch.setattr(sys, "argv", ["nutshell", "data", "fetch", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
    assert fetched == ["mnist", "cifar-10", "quickdraw", "track"]


def trouble():
    raise Trouble("no network")


class Server(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    ranges: ClassVar[bool] = True
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self):
        self.asked.append((self.path, self.headers["Range"]))
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        span = self.headers["Range"] if self.ranges else None
        if span:
            content = content[: int(span.split("-")[1]) + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(Server, "files", {})
    monkeypatch.setattr(Server, "asked", [])
    one = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{one.server_port}/"
    one.shutdown()
    one.server_close()
    thread.join()


def test_an_archive_is_downloaded_unpacked_and_kept(root, tmp_path, monkeypatch, server):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "")
    archive = zipped(tmp_path / "a.zip", contents("gestures"), "Emojinator-1/Emojinator/gestures/").read_bytes()
    source = dataclasses.replace(SOURCES["gestures"], address=f"{server}a.zip")
    Server.files = {"/a.zip": archive[:-200]}
    with pytest.raises(Trouble, match=r"could not be downloaded whole.*\n.*zip archive in order"):
        nutshell.data.download(source, progress=False)
    assert not list(cache_folder().iterdir())
    Server.files = {"/a.zip": archive}
    assert nutshell.data.download(source, progress=False) == cache_folder() / "gestures"
    assert nutshell.data.album("gestures").name == "gestures (660 files)"
    Server.files = {}
    with pytest.raises(Trouble, match=r"gestures could not be downloaded\.\n.*404"):
        nutshell.data.download(source, progress=False)


@pytest.mark.parametrize("ranges", [True, False])
def test_of_drawings_a_piece_of_each_file_is_downloaded(root, monkeypatch, server, ranges):
    monkeypatch.setenv("NUTSHELL_OFFLINE", "")
    monkeypatch.setattr(Server, "ranges", ranges)
    monkeypatch.setattr(quickdraw, "LIMIT", 100)
    rows = {word: np.full((400, 784), number, np.uint8) for number, word in enumerate(quickdraw.CLASSES)}
    sums = {word: quickdraw.hashlib.sha256(array[:100].tobytes()).hexdigest() for word, array in rows.items()}
    monkeypatch.setattr(quickdraw, "SHA256", sums)
    for word, array in rows.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        Server.files[f"/{word}.npy"] = buffer.getvalue()
    get = lambda folder, progress: quickdraw.download(folder, progress, server)  # noqa: E731
    source = dataclasses.replace(QUICKDRAW, address=server, download=get)
    nutshell.data.download(source, progress=False)
    assert Server.asked[0] == ("/apple.npy", f"bytes=0-{4096 + 78_400 - 1}")
    assert np.array_equal(np.load(cache_folder() / "quickdraw" / "fish.npy"), rows["fish"][:100])
    monkeypatch.setitem(sums, "cat", "0" * 64)
    with pytest.raises(Trouble, match=r"cat\.npy: expected 100 drawings with SHA-256 000"):
        nutshell.data.download(source, progress=False)


def test_status_prints_every_application(root, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nutshell", "data", "status", "--json"])
    lay_out(root / "gestures", contents("gestures"))
    monkeypatch.setattr("nutshell.data.report.SOURCES", {key: SOURCES[key] for key in KEYS})
    with pytest.raises(SystemExit) as end:
        cli.main()
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)["data_sets"]}
    assert not end.value.code and rows["gestures"]["name"] == "gestures (660 files)"
    assert rows["track"] == {"key": "track", "name": "track (stand-in: seeded generator)", "place": "stand-in",
                             "path": None, "problem": None}


def test_hands_of_different_gestures_differ():
    assert len(drawn.FINGERS) == 11 and len(set(drawn.FINGERS)) == 11
