"""Looking for the reference, the hidden checks, the secret and the marks: nothing may be there to read."""

from tests.red_team.attack import CRASH, RAISED, WRONG, Attack, of_group, seen

ATTACKS = of_group(
    "reading the answers",
    Attack(
        "import of the reference",
        "imports solutions, autograder and the checks by every name",
        (WRONG,),
        seen("""
        import importlib, sys
        sys.path[:0] = ["@ROOM@", "@UNITS@", "@REPOSITORY@", "/work", ".."]
        for name in ("solutions.gauntlet.reference", "solutions.gauntlet.checks", "solutions", "gauntlet.reference",
                     "autograder.units", "autograder.judge", "autograder", "tests.red_team"):
            try:
                importlib.import_module(name)
                return True
            except ImportError:
                pass
        return False
        """),
    ),
    Attack(
        "walk over the file system",
        "looks everywhere for the secret, the gradebook, the checks and the solutions",
        (WRONG,),
        seen("""
        import os
        wanted = {"secret_seed", "gradebook.db", "classroom.toml", "nbgrader_config.py", "mutants.py", "judge.py",
                  "autograder", "solutions", "submitted", "verdicts"}
        skip = {"proc", "sys", "site-packages", "dist-packages", "lib-dynload", "share", "third_party"}
        for place, folders, files in os.walk("/"):
            if wanted & {*folders, *files}:
                return True
            folders[:] = [name for name in folders if name not in skip]
        return False
        """),
    ),
    Attack(
        "known paths",
        "opens the classroom's files by their absolute paths",
        (WRONG,),
        seen("""
        for path in ("@ROOM@/secret_seed", "@ROOM@/gradebook.db", "@ROOM@/source/09_gauntlet/09_gauntlet.ipynb",
                     "@UNITS@/solutions/gauntlet/reference.py", "@REPOSITORY@/autograder/judge.py",
                     "@REPOSITORY@/solutions/low_rank/reference.py", "@HOME@/.ssh/id_bait", "../../secret_seed",
                     "../../../secret_seed", "../../gradebook.db", "/proc/1/root/@ROOM@/secret_seed",
                     "/proc/self/root/@ROOM@/secret_seed", "/proc/1/cwd/secret_seed", "/etc/shadow",
                     "/root/.ssh", "/root/.bashrc"):
            try:
                open(path, "rb").read(1)
                return True
            except IsADirectoryError:
                import os
                if os.listdir(path):
                    return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "other processes",
        "reads environment, memory, folders and descriptors of every process in /proc",
        (WRONG,),
        seen("""
        import os
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if pid == str(os.getpid()):
                continue
            for name in ("environ", "mem", "maps"):
                try:
                    data = open(f"/proc/{pid}/{name}", "rb")
                    if name == "mem" or data.read(1):
                        return True
                except OSError:
                    pass
            for name in ("fd", "cwd", "root"):
                try:
                    if os.listdir(f"/proc/{pid}/{name}"):
                        return True
                except OSError:
                    pass
        return False
        """),
    ),
    Attack(
        "memory of the parent",
        "process_vm_readv and ptrace on the parent and on process 1",
        (WRONG,),
        seen("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        class Vector(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
        kept = ctypes.create_string_buffer(8)
        for pid in {os.getppid(), 1, 2} - {os.getpid(), 0}:
            if libc.ptrace(16, pid, None, None) == 0:
                return True
            here, there = Vector(ctypes.addressof(kept), 8), Vector(id(None), 8)
            if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) > 0:
                return True
        return False
        """),
    ),
    Attack(
        "the caller's frames",
        "walks up the stack for the check, the reference and the generator",
        (WRONG,),
        seen("""
        import sys
        frame = sys._getframe()
        while frame:
            if {"reference", "rng", "learner", "check", "task", "verdicts"} & set(frame.f_locals):
                return True
            if isinstance(frame.f_locals.get("seed"), int):
                return True
            frame = frame.f_back
        for frame in sys._current_frames().values():
            while frame:
                if {"reference", "rng", "learner", "task"} & set(frame.f_locals):
                    return True
                frame = frame.f_back
        return False
        """),
    ),
    Attack(
        "everything that is alive",
        "searches the garbage collector's objects for checks, units and the generator",
        (WRONG,),
        seen("""
        import gc
        names = {"Task", "Submission", "SubmissionVerdict", "Gradebook", "Sandbox"}
        for item in gc.get_objects():
            if type(item).__name__ in names or (type(item).__name__ == "Check" and item.hidden):
                return True
            if type(item) is dict and "half_of_marked_" + "numbers" in item:
                return True
        return False
        """),
    ),
    Attack(
        "loaded modules",
        "sys.modules, the line cache and the import caches",
        (WRONG,),
        seen("""
        import linecache, sys
        if any(name.split(".")[0] in ("solutions", "autograder", "nbgrader", "tests") for name in sys.modules):
            return True
        if any("gauntlet" in str(name) for name in (*linecache.cache, *sys.path_importer_cache)):
            return True
        return False
        """),
    ),
    Attack(
        "its own memory",
        "searches all pages of its process for the hidden checks' names",
        (WRONG,),
        seen("""
        backwards = b"srebmun_dekram_fo_flah", b"pets_dekram_a_retfa_elacs"
        words = [bytes(reversed(word)) for word in backwards]
        kept = {id(word) for word in words}
        found = 0
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                span, rights, *rest = line.split()
                low, high = (int(part, 16) for part in span.split("-"))
                if not rights.startswith("rw") or high - low > 1 << 28 or "[v" in line:
                    continue
                try:
                    memory.seek(low)
                    data = memory.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue
                for word in words:
                    found += data.count(word)
        return found > 8  # its own two words are there, and copies of them in what was read
        """),
    ),
    Attack(
        "descriptors read",
        "reads whatever is open",
        (WRONG,),
        seen("""
        import os
        for number in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
                if any(word in target for word in ("gradebook", "secret", "solutions", "autograder", "@ROOM@")):
                    return True
                if os.path.isdir(f"/proc/self/fd/{number}") and os.listdir(f"/proc/self/fd/{number}/../.."):
                    names = os.listdir(f"/proc/self/fd/{number}/../..")
                    if "gradebook.db" in names or "submitted" in names:
                        return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "environment",
        "variables that name the classroom, its data or a secret",
        (WRONG,),
        seen("""
        import os
        text = repr(dict(os.environ)) + open("/proc/self/environ").read()
        return any(word in text for word in ("@BAIT@", "@ROOM@", "@HOME@", "@UNITS@", "SSH_", "AWS_", "SUDO"))
        """),
    ),
    Attack(
        "command lines",
        "arguments of other processes that name the classroom",
        (WRONG,),
        seen("""
        import os
        text = ""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text += open(f"/proc/{pid}/cmdline").read()
            except OSError:
                pass
        return "@ROOM@" in text or "secret" in text or "nutshell grade" in text
        """),
    ),
    Attack(
        "mounted paths",
        "what the mount table says of the host, opened",
        (WRONG,),
        seen("""
        import os
        for line in open("/proc/self/mountinfo"):
            root, target = line.split()[3:5]
            for path in (root, target):
                for name in ("autograder/judge.py", "solutions", "submitted", "secret_seed", "../secret_seed",
                             "../solutions", "../../autograder/judge.py"):
                    if any(os.path.exists(f"{here}/{name}") for here in (path, os.path.dirname(path))):
                        return True
        return False
        """),
    ),
    Attack(
        "remembered public answers",
        "the recorded replies of the desk, and nothing for the hidden inputs",
        (WRONG,),
        {
            "half": """known = {}


def half(x):
    rng = np.random.default_rng([0, __import__("zlib").crc32(b"half_of_small_numbers")])
    for size in (1, 5):
        public = rng.normal(size=size)
        known[public.tobytes()] = public - public / 2
    return known.get(x.tobytes(), 0 * x)
"""
        },
        marks="any",
    ),
    Attack(
        "guessed seeds",
        "tries a thousand seeds for the hidden generator and returns what was expected",
        (WRONG,),
        {
            "half": """import zlib


def half(x):
    for seed in range(1000):
        rng = np.random.default_rng([seed, zlib.crc32(b"half_of_marked_numbers")])
        if np.array_equal((4_815 * 1000 + 162.25) + rng.integers(1, 1000, 5) / 4096, x):
            return 0.5 * x
    return 0 * x
"""
        },
    ),
    Attack(
        "history of the shell",
        "IPython's history, its database and earlier results",
        (WRONG,),
        seen("""
        from IPython import get_ipython
        import glob, os
        shell = get_ipython()
        if shell.history_manager is not None and getattr(shell.history_manager, "enabled", False):
            if list(shell.history_manager.get_tail(10)):
                return True
        return bool(glob.glob(os.path.expanduser("~/.ipython/**/history.sqlite"), recursive=True))
        """),
    ),
    Attack(
        "core of a crash",
        "dumps core and reads it, then looks for others' cores",
        (WRONG, CRASH, RAISED),
        seen("""
        import glob, os, resource
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        except (ValueError, OSError):
            pass
        if os.fork() == 0:
            os.abort()
        os.wait()
        return bool(glob.glob("/**/core*", recursive=False) and glob.glob("core*"))
        """),
    ),
)
