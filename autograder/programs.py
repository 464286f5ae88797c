"""Programs that are started for one submission each: bubblewrap without a fork server, and a bare process."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from socket import socket

import nutshell
from autograder import bubblewrap, fork_server
from autograder.limits import Limits, for_kernel
from autograder.servers import ProgramKeeper
from nutshell.data.sources import cache_folder
from nutshell.errors import Trouble

Starter = Callable[[socket], ProgramKeeper]
PASSED_ON = ("PATH", "NUTSHELL_DATA", "LD_LIBRARY_PATH", "SYSTEMROOT")


def bubblewrap_starter(way: bubblewrap.Way, limits: Limits) -> Starter:
    """Starts a bubblewrap for each submission; for machines where none can hold a fork server."""

    def start(wire: socket) -> ProgramKeeper:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as information:
            process = bubblewrap.start(
                way,
                ["--once", json.dumps(for_kernel(limits, own_user=True))],
                fork_server=False,
                limits=limits,
                descriptors=[writing],
                options=["--info-fd", str(writing)],
                stdin=wire.fileno(),
                stdout=wire.fileno(),
            )
            os.close(writing)
            said = b""
            while not said.rstrip().endswith(b"}") and (line := information.readline()):
                said += line
        try:
            first = int(json.loads(said)["child-pid"])
        except (ValueError, KeyError):
            process.kill()
            _, error = process.communicate()
            raise Trouble(f"bubblewrap doesn't start: {error.decode(errors='replace').strip()}") from None
        return ProgramKeeper(process, first)

    return start


def process_starter(limits: Limits) -> Starter:
    """Starts a bare process for each submission: limits, and no isolation at all."""

    def start(wire: socket) -> ProgramKeeper:
        folder = tempfile.mkdtemp(prefix="nutshell-")
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PYTHONPATH": os.pathsep.join([str(Path(nutshell.__file__).resolve().parents[1]), *sys.path[1:]]),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            "HOME": folder,
            "TMPDIR": folder,
            "XDG_CACHE_HOME": str(cache_folder().parents[1]),
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": folder,
            "NBGRADER_EXECUTION": "autograde",
            "NUTSHELL_OFFLINE": "1",
            "NUTSHELL_WORK": f"{folder}/work",
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-u", fork_server.__file__, "--once", json.dumps(for_kernel(limits, own_user=False))],
            stdin=wire.fileno(),
            stdout=wire.fileno(),
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        return _InFolder(process, folder)

    return start


class _InFolder(ProgramKeeper):
    """A program whose folder goes with it."""

    def __init__(self, process: subprocess.Popen, folder: str) -> None:
        super().__init__(process)
        self._folder = folder

    def end(self) -> int | None:
        status = super().end()
        shutil.rmtree(self._folder, ignore_errors=True)  # a learner may have made it unreadable
        return status
