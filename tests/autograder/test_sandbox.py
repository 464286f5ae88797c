"""Submissions in a real bubblewrap: what they may do, what they may not, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder.sandbox import Child, Limits, Lost, Sandbox
from nutshell.errors import WrongUse
from nutshell.wire import codec
from nutshell.wire.channel import Ended
from nutshell.wire.standins import Implementation

LIMITS = Limits(
    request=2.0,
    submission=30.0,
    memory=700 << 20,
    address_space=3 << 30,
    processes=20,
    disk=32 << 20,
    files=500,
    file_size=16 << 20,
    descriptors=100,
    message=4 << 20,
)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox("bubblewrap", LIMITS) as found:
        yield found


@pytest.fixture
def child(box: Sandbox) -> Iterator[Child]:
    with box.child({}) as found:
        yield found


def run(child: Child, source: str) -> dict | None:
    """Run a cell; None, or its error as data."""
    message = codec.encode({"verb": "run", "cells": [textwrap.dedent(source)]})
    found: dict = codec.decode(child.request("run", message))
    return found["value"][0]


def value(child: Child, source: str) -> Any:
    """What ``answer()``, defined by a cell, returns."""
    assert run(child, source) is None
    return Implementation(child).answer()


def processes(marker: str) -> list[str]:
    """Command lines of this machine's processes that hold a marker."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line:
            found.append(line)
    return found


def eventually(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


class TestWork:
    """What honest work needs."""

    def test_files_lie_in_the_working_folder_and_modules_beside_the_notebook_are_imported(self, box: Sandbox) -> None:
        files = {"helpers.py": b"rate = 0.5\n", "data/network.nut": b"\0\1"}
        with box.child(files) as child:
            source = """
                import helpers
                def answer():
                    return helpers.rate, open("data/network.nut", "rb").read()
            """
            assert value(child, source) == (0.5, b"\0\1")

    def test_it_writes_files_in_its_folder_and_in_tmp(self, child: Child) -> None:
        source = """
            import tempfile
            def answer():
                open("own.txt", "w").write("kept")
                with tempfile.NamedTemporaryFile("w") as file:
                    file.write("too")
                return open("own.txt").read()
        """
        assert value(child, source) == "kept"

    @pytest.mark.parametrize(
        "cell",
        [
            "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
            "!echo shell",
            "!curl http://192.0.2.1/",
            "%%bash\necho $HOME",
            "%time 1 + 1",
            "import sys, warnings\nwarnings.warn('x')\nprint('y', file=sys.stderr)",
            "for _ in __import__('tqdm').tqdm(range(3)): pass",
            "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: assert p.map(abs, [-1]) == [1]",
            "import torch\nm = torch.nn.Linear(2, 1)\no = torch.optim.Adam(m.parameters())\n"
            "m(torch.ones(1, 2)).sum().backward()\no.step()",
        ],
        ids=lambda cell: cell.split("\n")[0][:20],
    )
    def test_magics_and_output_work_or_do_no_harm(self, child: Child, cell: str) -> None:
        message = codec.encode({"verb": "run", "cells": [cell]})
        assert codec.decode(child.request("run", message))["value"] == [None]

    @pytest.mark.parametrize(
        ("cell", "kind"),
        [
            ("%pip install numpy", "UsageError"),
            ("input()", "EOFError"),
            ("import getpass\ngetpass.getpass()", "EOFError"),
        ],
    )
    def test_what_needs_somebody_or_the_outside_fails_at_once(self, child: Child, cell: str, kind: str) -> None:
        error = run(child, cell)
        assert error is not None and error["kind"] in (kind, "StdinNotImplementedError")

    def test_the_same_numbers_are_drawn_in_every_child(self, box: Sandbox) -> None:
        source = """
            import random, numpy, torch
            def answer():
                return random.random(), numpy.random.rand(), torch.rand(()).item(), hash("text")
        """
        drawn = []
        for _ in range(2):
            with box.child({}) as child:
                drawn.append(value(child, source))
        assert drawn[0] == drawn[1]


class TestBetweenSubmissions:
    """Nothing of one submission is seen by the next."""

    def test_no_file_module_variable_or_shared_memory_stays(self, box: Sandbox) -> None:
        first = """
            import os, sys, types
            from multiprocessing import shared_memory
            memory = shared_memory.SharedMemory("left", create=True, size=10)
            for folder in (".", "/tmp", "/dev/shm"):
                open(folder + "/left.txt", "w").write("x")
            sys.modules["left"] = types.ModuleType("left")
            os.environ["LEFT"] = "1"
            import torch
            torch.left = 1
            def answer():
                return os.listdir(".")
        """
        second = """
            import os, sys, torch
            def answer():
                folders = [os.listdir(folder) for folder in (".", "/tmp", "/dev/shm")]
                names = [name for folder in folders for name in folder if "left" in name]
                return names, "left" in sys.modules, "LEFT" in os.environ, hasattr(torch, "left"), "memory" in globals()
        """
        with box.child({}) as child:
            assert value(child, first) == ["left.txt"]
        with box.child({}) as child:
            assert value(child, second) == ([], False, False, False, False)

    def test_no_process_stays(self, box: Sandbox) -> None:
        source = """
            import os, subprocess, time
            subprocess.Popen(["sleep", "98761"], start_new_session=True)
            if os.fork() == 0:  # a daemon: its parent is gone, its session is its own
                os.setsid()
                if os.fork() == 0:
                    os.execvp("sleep", ["sleep", "98761"])
                os._exit(0)
            time.sleep(0.2)
        """
        with box.child({}) as child:
            assert run(child, source) is None
            assert eventually(lambda: len(processes("sleep 98761")) == 2)
        assert processes("sleep 98761") == []

    def test_a_process_that_ends_itself_takes_its_daemons_along(self, child: Child) -> None:
        source = "import os, subprocess\nsubprocess.Popen(['sleep', '98762'], start_new_session=True)\nos._exit(7)"
        with pytest.raises(Ended) as caught:
            run(child, source)
        assert (caught.value.status, "exit code 7" in str(caught.value)) == ("CRASH", True)
        assert processes("sleep 98762") == []


class TestEnds:
    """Work that ends early or never."""

    def test_a_crash_says_which_signal(self, box: Sandbox, child: Child) -> None:
        with pytest.raises(Ended, match="SIGSEGV") as caught:
            run(child, "import ctypes; ctypes.string_at(0)")
        assert caught.value.status == "CRASH"
        with pytest.raises(Ended, match="SIGSEGV"):
            run(child, "1")
        with box.child({}) as next_one:
            assert run(next_one, "1 + 1") is None

    @pytest.mark.parametrize("cell", ["raise SystemExit", "import sys; sys.exit(3)", "quit()"])
    def test_leaving_is_an_error_like_another(self, child: Child, cell: str) -> None:
        run(child, cell)
        assert run(child, "1 + 1") is None

    @pytest.mark.parametrize(
        "cell",
        [
            "import time; time.sleep(60)",
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\nwhile True: pass",
            "while True: print('x' * 10000)",
            "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); import time; time.sleep(60)",
        ],
        ids=["sleep", "swallows", "ignores signals", "prints", "stops"],
    )
    def test_work_without_end_is_ended(self, box: Sandbox, cell: str) -> None:
        with box.child({}, seconds=0.5) as child:
            with pytest.raises(Ended) as caught:
                run(child, cell)
            assert caught.value.status == "TIMEOUT"

    def test_what_is_printed_takes_no_memory(self, child: Child) -> None:
        assert run(child, "for number in range(100): print('x' * 10_000_000 + str(number))") is None  # 1 GB of 0.7

    def test_a_request_has_a_limit_of_its_own(self, child: Child) -> None:
        started = time.monotonic()
        with pytest.raises(Ended, match="longer than 2 seconds"):
            run(child, "import time; time.sleep(60)")
        assert 2 <= time.monotonic() - started < 25

    def test_a_thread_left_running_ends_with_the_submission_while_nobody_asks(self, box: Sandbox) -> None:
        with box.child({}, seconds=0.5) as child:
            assert run(child, "import subprocess\nsubprocess.Popen(['sleep', '98763'])") is None
            time.sleep(1)  # its time is over; before, a process that is only just beginning has no words yet
            assert eventually(lambda: processes("sleep 98763") == [])  # the watchdog's work, not close()'s
            with pytest.raises(Ended) as caught:
                run(child, "1")
            assert caught.value.status == "TIMEOUT"

    @pytest.mark.parametrize("who", ["-1", "1", "os.getppid()", "0"])
    def test_signals_reach_nobody_else(self, box: Sandbox, who: str) -> None:
        with box.child({}) as child:
            cell = f"import os, signal\ntry:\n    os.kill({who}, signal.SIGKILL)\nexcept OSError: pass"
            assert run(child, cell) is None  # the first process of its namespace, which its own signals spare
        with box.child({}) as child:
            assert run(child, "1") is None


class TestLimits:
    """The machine is eaten only up to the limits."""

    def test_memory_is_limited_for_all_processes_together(self, box: Sandbox) -> None:
        source = """
            import os, time
            for _ in range(4):
                if os.fork() == 0:
                    held = b"x" * (250 << 20)
                    time.sleep(20)
            time.sleep(20)
        """
        with box.child({}) as child:
            with pytest.raises(Ended) as caught:
                run(child, source)
            assert caught.value.status == "MEMORY"

    def test_memory_that_is_shared_counts_once(self, child: Child) -> None:
        source = """
            import os, time
            held = b"x" * (250 << 20)
            for _ in range(5):
                if os.fork() == 0:
                    time.sleep(1)
                    os._exit(0)
            time.sleep(0.5)
        """
        assert run(child, source) is None

    @pytest.mark.parametrize("size", ["1 << 33", "1 << 45"])
    def test_one_process_maps_no_more_than_its_address_space(self, child: Child, size: str) -> None:
        for cell, kind in ((f"bytearray({size})", "MemoryError"), (f"import mmap; mmap.mmap(-1, {size})", "OSError")):
            error = run(child, cell)
            assert error is not None and error["kind"] == kind

    def test_a_fork_bomb_is_held_by_the_kernel_or_ended(self, box: Sandbox) -> None:
        source = """
            import os, time
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
        """
        with box.child({}) as child:
            with pytest.raises(Ended) as caught:
                run(child, source)
            assert caught.value.status == "CRASH" and "processes and threads" in str(caught.value)
        with box.child({}) as child:
            assert run(child, "1") is None

    def test_files_in_memory_have_one_size_together(self, child: Child) -> None:
        source = """
            def fill(folder):
                number = 0
                while True:
                    with open(f"{folder}/{number}", "wb") as file:
                        file.write(bytes(1 << 20))
                    number += 1
            def answer():
                for folder in (".", "/tmp", "/dev/shm"):
                    try:
                        fill(folder)
                    except OSError as error:
                        last = str(error)
                import os
                folders = (".", "/tmp", "/dev/shm")
                return last, sum(os.stat(f).st_size for d in folders for f in os.scandir(d) if f.is_file())
        """
        said, size = value(child, source)
        assert "No space left" in said and 30 << 20 < size <= 32 << 20

    def test_many_small_files_end_too(self, child: Child) -> None:
        error = run(child, "for number in range(10_000): open(str(number), 'w').close()")
        assert error is not None and "No space left" in error["message"]

    def test_one_file_and_open_descriptors_have_limits(self, child: Child) -> None:
        error = run(child, "with open('large', 'wb') as file: file.truncate(17 << 20)")
        assert error is not None and "too large" in error["message"]
        error = run(child, "import os; held = [os.open('/dev/null', 0) for _ in range(1000)]")
        assert error is not None and "Too many open files" in error["message"]

    @pytest.mark.parametrize(
        "call",
        [
            "os.memfd_create('x')",
            "socket.socket(40, socket.SOCK_STREAM)",
            "check(libc.shmget(0, 4096, 0o1600))",
            "check(libc.msgget(0, 0o1600))",
            "check(libc.unshare(0x10000000))",
            "check(libc.unshare(0x20000))",
            "check(libc.ptrace(0, 0, 0, 0))",
            "check(libc.syscall(250, 0, -3, 0))",
            "check(libc.syscall(425, 1, 0))",
            "check(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))",
            "check(libc.umount2(b'/tmp', 2))",
            "check(libc.chroot(b'/tmp'))",
            "check(libc.setuid(0))",
            "check(libc.sethostname(b'x', 1))",
        ],
    )
    def test_system_calls_around_the_limits_are_refused(self, child: Child, call: str) -> None:
        prepare = """
            import ctypes, os, socket
            libc = ctypes.CDLL(None, use_errno=True)
            def check(result):
                if result < 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        """
        assert run(child, prepare) is None
        error = run(child, call)
        assert error is not None and error["kind"] in ("PermissionError", "OSError")

    def test_limits_are_positive(self) -> None:
        with pytest.raises(WrongUse, match="memory = 0"):
            Limits(memory=0)


class TestWire:
    """What a submission can send to the judge."""

    FIND = """
        import os, stat, struct
        wire = next(n for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{n}")
                    and stat.S_ISSOCK(os.stat(f"/proc/self/fd/{n}").st_mode))
    """

    def test_a_reply_said_to_be_too_long_is_output(self, child: Child) -> None:
        assert run(child, self.FIND) is None
        with pytest.raises(Ended) as caught:
            run(child, "os.write(wire, struct.pack('<Q', 5 << 20))")
        assert caught.value.status == "OUTPUT"

    def test_bytes_that_nobody_asked_for_end_it(self, child: Child) -> None:
        assert run(child, self.FIND) is None
        run(child, "import threading; threading.Timer(0.1, lambda: os.write(wire, b'forged!!')).start()")
        time.sleep(0.3)
        with pytest.raises(Ended, match="didn't ask for") as caught:
            run(child, "1")
        assert (caught.value.status, child.forged) == ("CRASH", True)

    def test_a_reply_that_comes_byte_by_byte_is_late(self, child: Child) -> None:
        assert run(child, self.FIND) is None
        slow = """
            import time
            os.write(wire, struct.pack('<Q', 1000))
            while True:
                os.write(wire, b'x')
                time.sleep(0.05)
        """
        with pytest.raises(Ended) as caught:
            run(child, slow)
        assert caught.value.status == "TIMEOUT"

    def test_a_closed_wire_is_a_crash(self, child: Child) -> None:
        assert run(child, self.FIND) is None
        with pytest.raises(Ended) as caught:
            run(child, "os.close(wire)")
        assert caught.value.status == "CRASH"

    def test_no_other_descriptor_is_open(self, child: Child) -> None:
        source = """
            import os
            def answer():
                return sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{n}") or n in "012")
        """
        assert value(child, source) == ["/dev/null", "/dev/null", "/dev/null", "socket"]

    def test_a_call_within_bounds_answers(self, child: Child) -> None:
        assert value(child, "def answer(): return [0.5] * 1000") == [0.5] * 1000


class TestLost:
    """The grader's own trouble is told apart from the submission's."""

    def test_what_fails_in_the_sandbox_itself_is_lost_and_it_starts_anew(self) -> None:
        with Sandbox("bubblewrap", LIMITS) as box:
            child = box.child({})
            server: Any = box._server
            server.process.kill()
            with pytest.raises(Lost):
                run(child, "import time; time.sleep(3)")
            with box.child({}) as child:
                assert run(child, "1") is None
            with pytest.raises(Lost, match="leads out"):
                box.child({"../out": b""})

    def test_nothing_outlives_a_judge_that_is_killed(self) -> None:
        program = """
            import sys
            from autograder.sandbox import Sandbox
            from nutshell.wire import codec
            with Sandbox("bubblewrap") as box, box.child({}) as child:
                cell = "import subprocess\\nsubprocess.Popen(['sleep', '98764'], start_new_session=True)"
                child.request("run", codec.encode({"verb": "run", "cells": [cell]}))
                print("ready", flush=True)
                child.request("run", codec.encode({"verb": "run", "cells": ["import time; time.sleep(60)"]}))
        """
        judge = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert judge.stdout is not None
        assert judge.stdout.readline() == b"ready\n"
        assert eventually(lambda: len(processes("sleep 98764")) == 1)  # its name comes a moment after its start
        judge.send_signal(signal.SIGKILL)
        judge.wait()
        judge.stdout.close()
        assert eventually(lambda: processes("sleep 98764") == [])

    def test_an_unknown_level_is_named(self) -> None:
        with pytest.raises(WrongUse, match="'chroot'"):
            Sandbox("chroot")

    def test_no_mount_or_folder_is_left_on_this_machine(self, box: Sandbox) -> None:
        before = Path("/proc/self/mountinfo").read_text()
        with box.child({"a": b"b"}) as child:
            assert run(child, "1") is None
            assert Path("/proc/self/mountinfo").read_text() == before
        assert not os.path.exists("/scratch")
