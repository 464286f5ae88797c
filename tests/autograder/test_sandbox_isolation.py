"""Which isolation is chosen, that its self-test sees a hole, and the levels without a fork server."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autograder import bubblewrap, container, isolation, sandbox, seccomp
from autograder.limits import Limits
from autograder.sandbox import Sandbox
from nutshell.errors import Trouble, WrongUse
from nutshell.wire import codec
from nutshell.wire.channel import Ended

LIMITS = Limits(request=10.0, submission=60.0, disk=30 << 20)


def run(child: Any, source: str) -> dict | None:
    found: dict = codec.decode(child.request("run", codec.encode({"verb": "run", "cells": [source]})))
    return found["value"][0]


@pytest.fixture
def said() -> list[str]:
    return []


class TestChoice:
    """Never weaker than asked for, never silently."""

    @pytest.fixture(autouse=True)
    def nothing_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.forbid(bubblewrap, "plan", "bubblewrap is not installed.")
        self.forbid(container, "test", "No containers here.")

    def forbid(self, module: Any, name: str, why: str) -> None:
        def fail() -> None:
            raise Trouble(why)

        self.patch.setattr(module, name, fail)

    def allow_bubblewrap(self, fork_server: bool = True) -> None:
        way = bubblewrap.Way([], bubblewrap.View({}))
        self.patch.setattr(bubblewrap, "plan", lambda: bubblewrap.Plan(way, fork_server, "unshare: not permitted"))

    def test_bubblewrap_comes_first(self, said: list[str]) -> None:
        self.allow_bubblewrap()
        assert isolation.choose(None, said.append) == "bubblewrap"
        assert said == []

    def test_bubblewrap_without_a_fork_server_is_said_to_be_slower(self, said: list[str]) -> None:
        self.allow_bubblewrap(fork_server=False)
        assert isolation.choose(None, said.append) == "bubblewrap"
        assert "slower" in said[0] and "unshare: not permitted" in said[0]

    def test_a_container_is_next_and_says_why(self, said: list[str]) -> None:
        self.patch.setattr(container, "test", lambda: None)
        assert isolation.choose(None, said.append) == "container"
        assert "bubblewrap is not installed." in said[0]

    def test_a_bare_process_is_never_chosen(self, said: list[str]) -> None:
        with pytest.raises(Trouble, match="Install bubblewrap") as caught:
            isolation.choose(None, said.append)
        assert "--isolation process" in str(caught.value) and "No containers here." in str(caught.value)

    def test_a_bare_process_is_given_where_it_is_asked_for(self, said: list[str]) -> None:
        assert isolation.choose("process", said.append) == "process"
        assert "not trusted" in said[0]

    @pytest.mark.parametrize("level", ["bubblewrap", "container"])
    def test_what_is_asked_for_is_not_replaced(self, level: str, said: list[str]) -> None:
        with pytest.raises(Trouble):
            isolation.choose(level, said.append)

    def test_an_unknown_level_is_wrong_use(self) -> None:
        with pytest.raises(WrongUse, match="none"):
            isolation.choose("none")

    @pytest.mark.parametrize(("setting", "content"), [("user/max_user_namespaces", "0"),
                                                      ("kernel/unprivileged_userns_clone", "0")])  # fmt: skip
    def test_a_system_that_forbids_user_namespaces_is_told_how_to_allow_them(
        self, tmp_path: Path, setting: str, content: str, said: list[str]
    ) -> None:
        file = tmp_path / setting
        file.parent.mkdir(parents=True)
        file.write_text(content + "\n")
        self.patch.setattr(isolation, "SETTINGS", tmp_path)
        with pytest.raises(Trouble, match=f"sysctl {setting.replace('/', '.')}="):
            isolation.choose("bubblewrap", said.append)


class TestPlan:
    """How bubblewrap is started."""

    @pytest.fixture(autouse=True)
    def anew(self) -> Iterator[None]:
        bubblewrap.plan.cache_clear()
        yield
        bubblewrap.plan.cache_clear()

    def test_a_fork_server_that_works_here_is_used(self) -> None:
        assert bubblewrap.plan().fork_server

    @pytest.fixture
    def readable(self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A package that everybody may read, in a folder that everybody may enter; root looks at it."""
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        package = tmp_path_factory.mktemp("course")
        package.chmod(0o755)
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(package))
        monkeypatch.setattr(bubblewrap, "_reachable_by_all", lambda path: "hidden" not in path.parts)
        return package

    def test_root_starts_it_as_nobody(self, readable: Path) -> None:
        seen = bubblewrap.View({"/usr": "/usr", "/course/nutshell": str(readable)})
        assert [way.user for way in bubblewrap.ways(seen)] == [bubblewrap.NOBODY, None]

    def test_an_environment_that_only_root_may_read_is_shown_by_root(self, readable: Path) -> None:
        (readable / "module.py").write_text("")
        (readable / "module.py").chmod(0o600)
        seen = bubblewrap.View({"/usr": "/usr", "/course/nutshell": str(readable)})
        assert [(way.user, way.prefix) for way in bubblewrap.ways(seen)] == [(None, [])]

    def test_what_nobody_can_reach_is_bound_where_it_can(self, readable: Path) -> None:
        hidden = readable / "hidden" / "python"
        hidden.mkdir(parents=True)
        hidden.chmod(0o755)
        hidden.parent.chmod(0o755)
        seen = bubblewrap.View({"/usr": "/usr", "/course/nutshell": str(readable), "/env": str(hidden)})
        first, last = bubblewrap.ways(seen)
        assert first.prefix[0] == "unshare" and str(hidden) in first.prefix
        assert first.seen.shown["/env"] in first.prefix and first.seen.shown["/usr"] == "/usr"
        assert last.seen.shown["/env"] == str(hidden)

    @pytest.mark.parametrize(("mode", "reachable"), [(0o755, True), (0o711, True), (0o700, False), (0o750, False)])
    def test_a_path_is_reached_through_folders_that_all_may_enter(
        self, monkeypatch: pytest.MonkeyPatch, mode: int, reachable: bool
    ) -> None:
        monkeypatch.setattr(Path, "resolve", lambda self: self)
        monkeypatch.setattr(Path, "stat", lambda self: os.stat_result([mode, *[0] * 9]))
        assert bubblewrap._reachable_by_all(Path("/home/x/env")) is reachable

    def test_where_no_namespaces_can_be_made_inside_there_is_one_bubblewrap_each(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bubblewrap, "_try", lambda way, fork_server: "no unshare" if fork_server else "")
        assert not bubblewrap.plan().fork_server
        assert bubblewrap.plan().why_not == "no unshare"

    def test_where_nothing_works_its_words_are_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bubblewrap, "_try", lambda way, fork_server: "setting up uid map: Permission denied")
        with pytest.raises(Trouble, match="uid map"):
            bubblewrap.plan()

    def test_a_missing_bubblewrap_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(Trouble, match="apt install bubblewrap"):
            bubblewrap.plan()


class TestView:
    """What a sandbox sees."""

    def test_grader_and_solutions_are_not_shown(self) -> None:
        seen = bubblewrap.view()
        for name in ("autograder", "solutions", "labs", "tests"):
            assert seen.path_of(Path(__file__).resolve().parents[2] / name) is None

    def test_what_is_installed_into_the_environment_is_covered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        installed = Path("/usr/lib/python3/dist-packages/solutions")
        monkeypatch.setattr(bubblewrap, "_our_folders", lambda: iter([installed]))
        seen = bubblewrap.view()
        assert seen.covered == (str(installed),)
        assert seen.path_of(installed / "low_rank") is None
        line = bubblewrap.arguments(seen, fork_server=True, limits=LIMITS, seccomp_from=None)
        where = line.index(str(installed))
        assert line[where - 1] == "--tmpfs" and line[where + 1 : where + 3] == ["--remount-ro", str(installed)]

    def test_the_environment_inside_is_a_list_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "secret")
        assert "API_TOKEN" not in bubblewrap.environment()
        assert "secret" not in bubblewrap.environment().values()


class TestSelfTest:
    """The self-test passes here, and names the hole where there is one."""

    def test_it_passes(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret_seed"
        secret.write_text("17")
        with Sandbox("bubblewrap", LIMITS) as box:
            isolation.self_test(box, [secret, tmp_path])

    def test_holes_are_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "gradebook.db").write_text("marks")
        (tmp_path / "gradebook.db").chmod(0o644)
        tmp_path.chmod(0o755)
        secret, start = Path("/hole/gradebook.db"), bubblewrap.start
        view, leaky = bubblewrap.view(), bubblewrap.environment() | {"API_TOKEN": "secret"}
        monkeypatch.setenv("API_TOKEN", "secret")
        way = bubblewrap.ways(dataclasses.replace(view, shown=view.shown | {"/hole": str(tmp_path)}))[-1]
        monkeypatch.setattr(sandbox, "plan", lambda: bubblewrap.Plan(way, True))

        def leaking(*args: Any, **options: Any) -> subprocess.Popen:
            with monkeypatch.context() as patch:
                patch.setattr(bubblewrap, "environment", lambda: leaky)
                return start(*args, options=["--share-net"], **options)

        monkeypatch.setattr(bubblewrap, "start", leaking)
        with Sandbox("bubblewrap", LIMITS) as box:
            with pytest.raises(Trouble, match="nothing is graded: a submission could read the environment variable"):
                isolation.self_test(box, [secret])
            found = " ".join(attempts_in(box, isolation.known(box, [secret]) | {"port": 1, "socket": "\0none"}))
        for words in ("variable API_TOKEN", "net namespace", "read /hole/gradebook.db"):
            assert words in found

    def test_every_attempt_sees_success(self) -> None:
        """Run where nothing is forbidden, most attempts succeed: the self-test isn't blind."""
        with Sandbox("process", LIMITS) as box:
            given = isolation.known(box, [Path(__file__)])
            own = {"port": 1, "socket": "\0none", "alone": False, "variables": ["PATH"], "modules": ["autograder"]}
            own |= {"folders": {str(Path(__file__).parent): [Path(__file__).name]}, "read_only": ["/tmp"], "disk": 1}
            found = " ".join(attempts_in(box, given | own))
        for words in ("read /", "see test_", "import autograder", "namespace", "variable PATH", "write in", "fill"):
            assert words in found


def attempts_in(box: Sandbox, given: dict[str, Any]) -> list[str]:
    from nutshell.wire.standins import Implementation

    with box.child({}) as child:
        assert run(child, isolation._text()) is None
        found: list[str] = Implementation(child).attempts(given)
        return found


class TestOneEach:
    """Levels that start a program for each submission."""

    def test_one_bubblewrap_each_holds_as_well(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        plan = dataclasses.replace(bubblewrap.plan(), fork_server=False)
        monkeypatch.setattr(bubblewrap, "plan", lambda: plan)
        monkeypatch.setattr(sandbox, "plan", lambda: plan)
        (tmp_path / "seed").write_text("1")
        with Sandbox("bubblewrap", LIMITS) as box:
            isolation.self_test(box, [tmp_path / "seed"])
            with box.child({"a.txt": b"1"}) as child:
                assert run(child, "assert open('a.txt').read() == '1'") is None
                assert run(child, "import subprocess; subprocess.Popen(['sleep', '98771'])") is None
                with pytest.raises(Ended, match="SIGSEGV"):
                    run(child, "import ctypes; ctypes.string_at(0)")
            assert not left("98771")

    def test_a_bare_process_has_limits_and_leaves_nothing(self) -> None:
        with Sandbox("process", LIMITS) as box, box.child({"a.txt": b"1"}) as child:
            assert (box.level, box.limited_by) == ("process", "watchdog")
            assert run(child, "assert open('a.txt').read() == '1'") is None
            error = run(child, "bytearray(1 << 33)")
            assert error is not None and error["kind"] == "MemoryError"
            run(child, "import os, subprocess; subprocess.Popen(['sleep', '98772'], start_new_session=True)")
            folder = codec.decode(child.request("call", codec.encode(
                {"verb": "run", "cells": ["import os; raise ValueError(os.getcwd())"]})))  # fmt: skip
            where = Path(folder["value"][0]["message"])
            assert where.is_dir()
            child.close()
            assert not left("98772") and not where.exists()


def left(number: str) -> bool:
    return any(
        f"sleep\0{number}".encode() in path.read_bytes()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if os.access(path, os.R_OK) and path.exists()
    )


class TestContainer:
    """The command line; it is run where podman or docker works, which the self-test at start-up finds out."""

    def line(self, engine: str) -> list[str]:
        seen = bubblewrap.View({"/usr": "/usr", "/course/nutshell": "/home/x/nutshell"}, ("/usr/lib/solutions",))
        return container.arguments(engine, "nutshell-1-1", Limits(), seen, 9)

    @pytest.mark.parametrize("engine", ["docker", "podman"])
    def test_everything_is_forbidden_that_bubblewrap_forbids(self, engine: str) -> None:
        line = self.line(engine)
        pairs = set(pairwise(line))
        assert {("--network", "none"), ("--cap-drop", "ALL"), ("--security-opt", "no-new-privileges"),
                ("--user", "65534:65534"), ("--pids-limit", "64"), ("--security-opt", "seccomp=/dev/fd/9"),
                ("--memory", str((3 << 30) + (512 << 20)))} <= pairs  # fmt: skip
        assert "--read-only" in line and "--rm" in line and "--privileged" not in line
        assert line[line.index("nutshell-empty") + 1] == "timeout"

    def test_what_is_mounted_is_read_only_or_bounded(self) -> None:
        line = self.line("docker")
        mounts = [word for before, word in pairwise(line) if before == "--mount"]
        assert len(mounts) == 2 and all(mount.endswith(",readonly") for mount in mounts)
        rooms = [word for before, word in pairwise(line) if before == "--tmpfs"]
        assert len(rooms) == 3 and all("size=" in room for room in rooms)

    def test_the_image_holds_nothing_but_links(self) -> None:
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(container.image({"/bin": "usr/bin"}))) as archive:
            assert [(m.name, m.linkname, m.issym()) for m in archive.getmembers()] == [("bin", "usr/bin", True)]

    def test_programs_that_do_not_answer_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(Trouble, match="podman is not installed; docker is not installed"):
            container.program()


class TestSystemCalls:
    """The filter as data; what it refuses is tried in test_sandbox."""

    def test_both_forms_refuse_the_same(self) -> None:
        names = {name for rule in json.loads(seccomp.profile())["syscalls"] for name in rule["names"]}
        assert names == set(seccomp.CALLS["x86_64"]) | {"clone", "clone3", "unshare", "socket"}
        assert set(seccomp.CALLS["x86_64"]) == set(seccomp.CALLS["aarch64"])

    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_every_jump_stays_inside_and_the_last_step_returns(self, machine: str) -> None:
        program = seccomp.program(machine)
        assert program is not None
        steps = [program[at : at + 8] for at in range(0, len(program), 8)]
        for number, step in enumerate(steps):
            if step[0] in (0x15, 0x35, 0x45):
                assert number + 1 + max(step[2], step[3]) < len(steps)
        assert steps[-1][0] == 0x06

    def test_numbers_are_those_of_the_system(self) -> None:
        header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        found = header.read_text() if header.is_file() else ""
        for name, number in seccomp.CALLS["x86_64"].items():
            assert f"#define __NR_{name} {number}\n" in found or f"#define __NR_{name} " not in found
