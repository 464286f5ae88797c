"""What holds a submission as a whole: the watchdog on real processes, control groups on a folder tree."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder import control_group, watchdog
from autograder.control_group import ControlGroup, delegated
from autograder.limits import SERVING, Limits, for_kernel
from autograder.watchdog import Watchdog


class Watched:
    """A process that remembers why it was ended."""

    def __init__(self, number: int, seconds: float = 60.0) -> None:
        self.number, self.until, self.why = number, time.monotonic() + seconds, ""

    def stop(self, status: str, message: str) -> None:
        self.why = f"{status}: {message}"


def eventually(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


@pytest.fixture
def program():  # type: ignore[no-untyped-def]
    """Starts a Python program that says when it is ready, and ends it with its children."""
    started = []

    def start(source: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", source + "\nprint('ready', flush=True)\nimport time; time.sleep(60)"],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


class TestWatchdog:
    def test_descendants_of_every_thread_are_found(self, program: Callable[[str], int]) -> None:
        number = program(
            "import subprocess, threading, time\n"
            "def more():\n    subprocess.Popen(['sleep', '60']); time.sleep(60)\n"
            "threading.Thread(target=more, daemon=True).start()\n"
            "subprocess.Popen(['sleep', '60']); time.sleep(0.5)"
        )
        numbers, threads = watchdog.family(number)
        assert (numbers[0], len(numbers), threads) == (number, 3, 4)

    def test_a_process_that_is_gone_weighs_nothing(self) -> None:
        gone = subprocess.Popen(["true"])
        gone.wait()
        assert watchdog.family(gone.pid) == ([], 0)
        assert watchdog.resident(gone.pid) == watchdog.share(gone.pid) == 0

    def test_a_share_is_never_more_than_what_is_resident(self) -> None:
        assert 0 < watchdog.share(os.getpid()) <= 1.1 * watchdog.resident(os.getpid())

    @pytest.mark.parametrize(
        ("source", "limits", "words"),
        [
            ("held = b'x' * (60 << 20)", Limits(memory=50 << 20), "MEMORY: Your code used more than 0.0488 GB"),
            ("import subprocess\nfor _ in range(4): subprocess.Popen(['sleep', '60'])", Limits(processes=3),
             "CRASH: Your code started 5 processes"),
        ],
    )  # fmt: skip
    def test_what_is_over_a_limit_is_ended(
        self, program: Callable[[str], int], source: str, limits: Limits, words: str
    ) -> None:
        watched, dog = Watched(program(source)), Watchdog(limits)
        dog.watch(watched)
        assert eventually(lambda: watched.why.startswith(words))
        dog.close()

    def test_what_is_inside_its_limits_is_left_alone(self, program: Callable[[str], int]) -> None:
        watched, dog = Watched(program("held = b'x' * (10 << 20)")), Watchdog(Limits(memory=200 << 20, processes=3))
        dog.watch(watched)
        time.sleep(0.3)
        dog.close()
        assert watched.why == ""

    def test_time_is_watched_even_where_a_control_group_holds_the_rest(self) -> None:
        watched, dog = Watched(os.getpid(), seconds=0.1), Watchdog(Limits(memory=1, processes=1), weigh=False)
        dog.watch(watched)
        assert eventually(lambda: watched.why.startswith("TIMEOUT"))
        dog.close()

    def test_what_is_forgotten_is_not_ended(self) -> None:
        watched, dog = Watched(os.getpid(), seconds=0.2), Watchdog(Limits())
        dog.watch(watched)
        dog.forget()
        time.sleep(0.4)
        dog.close()
        assert watched.why == ""


class TestControlGroup:
    @pytest.fixture
    def tree(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
        """What a delegated group looks like."""
        group = tmp_path / "user.slice" / "run.scope"
        group.mkdir(parents=True)
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "cgroup.procs").write_text("41\n42\n")
        (group / "cgroup.subtree_control").write_text("")
        own = tmp_path / "own"
        own.write_text("1:name=systemd:/x\n0::/user.slice/run.scope\n")
        monkeypatch.setattr(control_group, "_marked", lambda path: path == group)
        return tmp_path, own

    def test_a_delegated_group_is_made_ready(self, tree: tuple[Path, Path]) -> None:
        root, own = tree
        found = delegated(root, own)
        assert found == root / "user.slice/run.scope"
        assert (found / control_group.JUDGE / "cgroup.procs").read_text() == "42"  # the last one written
        assert (found / "cgroup.subtree_control").read_text() == "+memory +pids"

    def test_a_process_moved_before_finds_it_again(self, tree: tuple[Path, Path]) -> None:
        root, own = tree
        own.write_text(f"0::/user.slice/run.scope/{control_group.JUDGE}\n")
        assert delegated(root, own) == root / "user.slice/run.scope"

    @pytest.mark.parametrize("missing", ["mark", "controllers", "entry", "everything"])
    def test_anything_else_is_left_to_the_watchdog(
        self, tree: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        root, own = tree
        if missing == "mark":
            monkeypatch.setattr(control_group, "_marked", lambda path: False)
        elif missing == "controllers":
            (root / "user.slice/run.scope/cgroup.controllers").write_text("cpu memory\n")
        elif missing == "entry":
            own.write_text("4:memory:/x\n")
        else:
            own.unlink()
        assert delegated(root, own) is None

    def test_limits_are_written_and_processes_added(self, tmp_path: Path) -> None:
        group = ControlGroup(tmp_path, "one", Limits(memory=100, disk=20, processes=7))
        group.add(17)
        written = {file.name: file.read_text() for file in group.path.iterdir()}
        assert written == {"memory.max": "120", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7",
                           "cgroup.procs": "17"}  # fmt: skip

    @pytest.mark.parametrize(("count", "over"), [(0, False), (1, True)])
    def test_the_kernel_says_whether_memory_ran_out(self, tmp_path: Path, count: int, over: bool) -> None:
        group = ControlGroup(tmp_path, "one", Limits())
        (group.path / "memory.events").write_text(f"low 0\noom {count}\noom_kill {count}\n")
        assert group.out_of_memory() is over


class TestKernelLimits:
    def test_processes_are_counted_by_the_kernel_only_where_it_counts_the_right_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert for_kernel(Limits(processes=9), own_user=False)["processes"] is None
        monkeypatch.setattr("platform.release", lambda: "5.4.0-generic")
        assert for_kernel(Limits(processes=9), own_user=True)["processes"] is None
        monkeypatch.setattr("platform.release", lambda: "6.1.0")
        assert for_kernel(Limits(processes=9), own_user=True)["processes"] == 9 + SERVING
