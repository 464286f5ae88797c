"""Inside the sandbox: a warm Python that hands each submission a fresh child with nothing but its own socket.

::

    judge ──control──> fork server        has imported torch, runs no threads, never runs a learner's code
                           │ fork
                       keeper             new pid namespace; waits for the child, or ends it when the judge says so
                           │ fork
    judge <───wire───> child              first process of that namespace: when it ends, the kernel ends all in it

The judge sends two sockets for each submission over the control socket: the wire, and the watch, on which the child
says that it has started and the keeper how it ended. ``--once`` serves one submission on standard input and output,
for levels where a container is started for each. This file runs as a program and may import only what a sandbox has.
"""

import contextlib
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

try:
    import confine  # inside a sandbox, where there is no autograder
except ImportError:
    from autograder import confine

SCRATCH = "/scratch"  # one file system in memory: the working folder, /tmp and /dev/shm share its size
WORK = f"{SCRATCH}/work"
STATUS = struct.Struct("<i")
READY, FAILED = b"ready", b"failed: "


def main() -> None:
    """``fork_server.py CONTROL LIMITS``: a descriptor's number, and limits as JSON; or ``--once LIMITS``.

    With ``--try`` or ``--try-once`` it does what one of the two needs, without any import, and ends.
    """
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    limits = json.loads(sys.argv[2])
    if sys.argv[1] == "--once":
        serve_once(limits)
        return
    if sys.argv[1].startswith("--try"):
        attempt(limits, forks=sys.argv[1] == "--try")
        return
    control = socket.socket(fileno=int(sys.argv[1]))
    shell = warm()
    confine.hide(True)
    control.sendall(READY)
    quiet()
    serve_forks(control, shell, limits)


def attempt(limits: dict[str, Any], forks: bool) -> None:
    """Everything that a submission's process needs of the kernel; an OSError says what it refuses."""
    if forks:
        confine.hide(True)
        confine.unshare(confine.CLONE_NEWPID)
        child = os.fork()
        if child != 0:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        isolate(limits)
    confine.limit_process(limits)
    confine.drop_capabilities()


def warm() -> Any:
    """Import what labs import and run each kernel once, so that no submission waits for it; the shell that it gets."""
    import matplotlib.pyplot  # noqa: F401
    import numpy as np
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(RuntimeError):  # set by the environment already
        torch.set_num_interop_threads(1)
    import torch._dynamo  # torch.optim asks for it at the first step, and it takes a second
    import torch.utils.data

    import nutshell.artefact
    import nutshell.budget
    import nutshell.checkpoints
    import nutshell.data
    import nutshell.measure
    import nutshell.models
    import nutshell.plots
    import nutshell.training
    import nutshell.wire.desk
    import nutshell.wire.lab  # noqa: F401
    from nutshell.wire.harness import Harness
    from nutshell.wire.serve import learner_shell

    torch.linalg.svd(torch.eye(8) @ torch.eye(8))
    torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))
    np.linalg.svd(np.eye(8))
    shell = learner_shell()
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **kwargs: None  # nobody sees it, and it takes long
    Harness(shell.user_ns, shell=shell).answer(b"")
    gc.collect()
    gc.freeze()  # the collector leaves shared pages alone
    return shell


def serve_forks(control: socket.socket, shell: Any, limits: dict[str, Any]) -> None:
    """For each pair of sockets that comes, fork a keeper, and wait until it is gone; until the judge hangs up."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            return
        keeper = os.fork()
        if keeper == 0:
            control.close()
            code = 1
            try:
                wire, watch = (socket.socket(fileno=number) for number in descriptors)
                keep(wire, watch, shell, limits)
                code = 0
            finally:  # nothing above may run in this process too
                os._exit(code)
        for number in descriptors:
            os.close(number)
        os.waitpid(keeper, 0)


def keep(wire: socket.socket, watch: socket.socket, shell: Any, limits: dict[str, Any]) -> None:
    """Start the child in a new pid namespace, wait until it ends or the judge hangs up, and say how it ended."""
    confine.unshare(confine.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            become_child(wire, watch, shell, limits)
            code = 0
        except BaseException as error:  # before the learner's code: the judge is told; after it: the wire just ends
            with contextlib.suppress(OSError):
                watch.send(FAILED + f"{type(error).__name__}: {error}".encode()[:500])
        finally:
            os._exit(code)
    wire.close()
    descriptor = os.pidfd_open(child)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(watch, select.POLLIN)
    poll.poll()
    with contextlib.suppress(ProcessLookupError):  # not yet waited for, so the number is still its own
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)  # returns when the kernel has ended everything else in the namespace
    with contextlib.suppress(OSError):  # the judge may have gone
        watch.send(STATUS.pack(status))


def become_child(wire: socket.socket, watch: socket.socket, shell: Any, limits: dict[str, Any]) -> None:
    """Turn this process into the one that runs a learner's code, then answer until the judge hangs up."""
    isolate(limits)
    watch.send(READY)  # the kernel adds this process's number, as the judge sees it
    requests, replies = wire.makefile("rb"), wire.makefile("wb")
    write_files(read_files(requests))
    watch.close()
    close_others(wire.fileno())
    confine.limit_process(limits)
    confine.drop_capabilities()
    confine.hide(False)  # an ordinary process now, for what it starts itself
    confine.end_first()
    run(shell, requests, replies)


def isolate(limits: dict[str, Any]) -> None:
    """A session, mounts and shared memory of its own, and empty folders to write to."""
    os.setsid()
    confine.unshare(confine.CLONE_NEWNS | confine.CLONE_NEWIPC)
    fresh_folders(limits["disk"], limits["files"])
    confine.fresh_proc()


def run(shell: Any, requests: Any, replies: Any) -> None:
    """Answer requests with the harness: from here on, learner's code runs."""
    import numpy as np
    import torch

    from nutshell.wire.harness import Harness
    from nutshell.wire.serve import serve

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)  # the same submission draws the same numbers in every run
    sys.path.insert(0, "")  # a notebook may import what lies beside it
    serve(Harness(shell.user_ns, shell=shell), requests, replies)


def fresh_folders(size: int, files: int) -> None:
    """An empty working folder, /tmp and /dev/shm, which vanish with the mount namespace."""
    kept = {path: os.open(path, os.O_PATH) for path in json.loads(os.environ.get("NUTSHELL_KEPT", "[]"))}
    confine.tmpfs(SCRATCH, size, files)
    for name, target in (("tmp", "/tmp"), ("shm", "/dev/shm")):
        os.mkdir(f"{SCRATCH}/{name}")
        confine.bind(f"{SCRATCH}/{name}", target)
    for path, descriptor in kept.items():  # Python itself may be installed below /tmp
        os.makedirs(path, exist_ok=True)
        confine.bind(f"/proc/self/fd/{descriptor}", path)
        os.close(descriptor)
    os.mkdir(WORK)
    os.chdir(WORK)


def read_files(requests: Any) -> dict[str, bytes]:
    """The submission's files, the judge's first message."""
    from nutshell.wire import codec

    prefix = requests.read(8)
    size = codec.length(prefix)
    found: dict[str, bytes] = codec.decode(prefix + requests.read(size), limits=codec.Limits(size=size))
    return found


def write_files(files: dict[str, bytes]) -> None:
    """Fill the working folder; a name that leads out of it is refused."""
    for name, contents in files.items():
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name!r} leads out of the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


def close_others(kept: int) -> None:
    """Standard input, output and error lead nowhere; no other descriptor than the wire's stays open."""
    quiet()
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 20)


def quiet() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def serve_once(limits: dict[str, Any]) -> None:
    """One submission on standard input and output; whoever started this process keeps it apart from everything."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    if sys.platform == "linux":
        confine.end_with_parent()
    shell = warm()
    quiet()
    replies.write(READY)
    replies.flush()
    folder = os.environ.get("NUTSHELL_WORK", WORK)
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    write_files(read_files(requests))
    confine.limit_process(limits)
    run(shell, requests, replies)


if __name__ == "__main__":
    main()
