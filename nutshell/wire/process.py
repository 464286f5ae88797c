"""The learner's end in a child process, over its standard input and output: crashes and endless loops stay there.

This is separation, not a sandbox: the child may read files and use the network as whoever started it may.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from nutshell.errors import Trouble
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.codec import Limits

START_LIMIT = 180.0  # seconds


class Process:
    """A channel to a harness in a process of its own.

    Parameters
    ----------
    folder : Path
        The child's current folder.
    time_limit : float
        Seconds for one request; the child is ended when it takes longer.
    limits : Limits
        Bounds of each message.

    Notes
    -----
    Use it as a context manager; at the end the child and what it started are killed.
    """

    def __init__(self, folder: Path, time_limit: float = 60.0, limits: Limits = codec.DEFAULT_LIMITS) -> None:
        self.time_limit, self.limits = time_limit, limits
        self.ended: Ended | None = None
        environment = {**os.environ, "MPLBACKEND": "Agg"}
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "nutshell.wire.serve"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._replies: queue.Queue[bytes | Ended] = queue.Queue()
        threading.Thread(target=read_messages, args=(self._child.stdout, self._replies, limits), daemon=True).start()
        try:
            ready = self._replies.get(timeout=START_LIMIT)  # importing torch is not the learner's time
        except queue.Empty:
            ready = Ended("INFRA", "")
        if isinstance(ready, Ended):
            self.close()
            raise Trouble(
                f"{sys.executable} -m nutshell.wire.serve doesn't start. `nutshell doctor` says what is missing."
            )

    def request(self, label: str, message: bytes) -> bytes:
        """Send one message and wait for its reply, at most ``time_limit`` seconds."""
        if self.ended is not None:
            raise self.ended
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(message)
            self._child.stdin.flush()
            reply = self._replies.get(timeout=self.time_limit)
        except queue.Empty:
            reply = Ended("TIMEOUT", f"It took longer than {self.time_limit:g} seconds.")
        except OSError:
            reply = Ended("CRASH", "The process that runs your code has ended.")
        if isinstance(reply, Ended):
            self.ended = reply
            self.close()
            raise reply
        return reply

    def close(self) -> None:
        """End the child and the processes that it started."""
        self.ended = self.ended or Ended("CRASH", "The process that ran your code was closed.")
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()  # type: ignore[union-attr]

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def read_messages(stream: IO[bytes], replies: "queue.Queue[bytes | Ended]", limits: Limits) -> None:
    """Cut the child's output into messages until it ends."""
    try:
        while prefix := stream.read(8):
            size = codec.length(prefix) if len(prefix) == 8 else 0
            if size > limits.size:
                replies.put(Ended("OUTPUT", f"A reply of {size:,} bytes; at most {limits.size:,} are allowed."))
                return
            replies.put(prefix + stream.read(size))
    except (OSError, ValueError):  # the pipe was closed on this side
        return
    finally:
        replies.put(Ended("CRASH", "The process that runs your code has ended."))
