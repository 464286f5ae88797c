"""What the data tests share: a data set of two small files, and a mirror on this machine that can misbehave."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch

from nutshell.data.dataset import Dataset, Split
from nutshell.data.sources import Contents, File, Source

IMAGES, LABELS = bytes(range(256)) * 40, bytes(range(10)) * 4


def tiny_file(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def build(contents: Contents, name: str) -> Dataset:
    images = torch.from_numpy(np.array(contents["images"][:40])).view(40, 1, 1, 1)
    labels = torch.from_numpy(contents["labels"].astype(np.int64))

    def part(chosen: slice) -> Split:
        return Split(images[chosen], labels[chosen], (0.0,), (1.0,))

    return Dataset(name, part(slice(0, 20)), part(slice(20, 30)), part(slice(30, 40)), tuple("0123456789"))


def stand_in() -> Dataset:
    nothing = Split(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.zeros(1).long(), (0.0,), (1.0,))
    return Dataset("tiny (stand-in: nothing)", nothing, nothing, nothing, ("0",))


def tiny(mirrors: tuple[str, ...] = (), archive: str | None = None, unofficial_name: str | None = None) -> Source:
    files = (tiny_file("images", IMAGES), tiny_file("labels", LABELS))
    return Source("tiny", "tiny", files, archive, mirrors, build, stand_in, unofficial_name)


def whole() -> dict[str, bytes]:
    """What an honest mirror has: packed files and the archive."""
    return {"/images.gz": gzip.compress(IMAGES), "/labels.gz": gzip.compress(LABELS), "/tiny.tar.gz": tarball()}


def tarball(members: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in (members or {"tiny/images": IMAGES, "tiny/labels": LABELS}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_tiny(folder: Path, images: bytes = IMAGES, labels: bytes = LABELS) -> Path:
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)
    return folder


class Mirror:
    """A mirror on 127.0.0.1: ``files`` by path, of which those in ``cut`` end after half, though they promise all."""

    def __init__(self, files: dict[str, bytes], cut: tuple[str, ...] = ()) -> None:
        self.files, self.cut = files, cut
        self.asked: list[str] = []
        self.address = ""


@contextmanager
def serve(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            content = mirror.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in mirror.cut else content)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mirror.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
