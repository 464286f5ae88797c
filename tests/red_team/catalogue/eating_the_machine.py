"""Memory, processes, files: whatever the machine has, all of it."""

from tests.red_team.attack import CRASH, MEMORY, OK, OUTPUT, RAISED, TIMEOUT, WRONG, Attack, half, of_group, text

HELD = (MEMORY, CRASH, RAISED)  # RAISED is Python's own MemoryError or OSError at the limit
BOUNDED = (MEMORY, CRASH, RAISED, TIMEOUT, WRONG)

ATTACKS = of_group(
    "eating the machine",
    Attack(
        "one large array",
        "a bytearray of 64 GiB",
        (MEMORY, RAISED),
        half("def half(x):\n    return len(bytearray(1 << 36))\n"),
    ),
    Attack(
        "a list that grows",
        "appends for ever",
        (MEMORY, RAISED, TIMEOUT),
        half("""
        def half(x):
            kept = []
            while True:
                kept.append(bytearray(1 << 24))
        """),
    ),
    Attack(
        "a list that grows and swallows",
        "catches MemoryError and goes on",
        (MEMORY, TIMEOUT, CRASH),
        half("""
        def half(x):
            kept = []
            while True:
                try:
                    kept.append(bytearray(1 << 24))
                except BaseException:
                    pass
        """),
    ),
    Attack(
        "tensors",
        "torch.empty filled until nothing is left",
        (MEMORY, RAISED, TIMEOUT),
        half("""
        def half(x):
            kept = []
            while True:
                kept.append(torch.ones(1 << 24))
        """),
    ),
    Attack(
        "shared memory",
        "anonymous shared mappings, which RLIMIT_DATA doesn't count",
        BOUNDED,
        half("""
        import mmap
        def half(x):
            kept = []
            for _ in range(4000):
                kept.append(mmap.mmap(-1, 1 << 26))
                kept[-1].write(b"x" * (1 << 26))
            return 0 * x
        """),
    ),
    Attack(
        "a sparse mapping",
        "a file of a terabyte that takes no room, mapped and touched",
        BOUNDED,
        half("""
        import mmap, os
        def half(x):
            with open("sparse", "wb+") as file:
                file.truncate(1 << 40)
                view = mmap.mmap(file.fileno(), 1 << 40)
                for place in range(0, 1 << 40, 1 << 12):
                    view[place] = 1
            return 0 * x
        """),
    ),
    Attack(
        "memory in many children",
        "thirty children with 400 MB each, none above a limit for itself",
        BOUNDED,
        half("""
        import os, time
        def half(x):
            for _ in range(30):
                if os.fork() == 0:
                    kept = bytearray(400_000_000)
                    kept[::4096] = b"x" * len(kept[::4096])
                    time.sleep(60)
                    os._exit(0)
            time.sleep(60)
            return 0 * x
        """),
    ),
    Attack(
        "memfd and pipes",
        "memory files and full pipes and sockets",
        BOUNDED,
        half("""
        import os, socket
        def half(x):
            for _ in range(200):
                handle = os.memfd_create("m")
                os.write(handle, b"x" * (1 << 26))
            for _ in range(500):
                _, write = os.pipe()
                os.set_blocking(write, False)
                try:
                    os.write(write, b"x" * (1 << 20))
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "a fork bomb",
        "every process makes two",
        BOUNDED,
        half("""
        import os
        def half(x):
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
        """),
    ),
    Attack(
        "a bomb of threads",
        "threads until none can be made",
        BOUNDED,
        half("""
        import threading, time
        def half(x):
            while True:
                threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
        """),
    ),
    Attack(
        "a daemon",
        "forks twice, new session, sleeps for a day; half is wrong",
        (WRONG, RAISED),
        half("""
        import os, time
        def half(x):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in range(256):
                        try:
                            os.close(number)
                        except OSError:
                            pass
                    time.sleep(86_400)
                os._exit(0)
            return 0 * x
        """),
    ),
    Attack(
        "programs left running",
        "starts a hundred programs and leaves them",
        (WRONG, RAISED, CRASH),
        half("""
        import subprocess, sys
        def half(x):
            for _ in range(100):
                subprocess.Popen(["sleep", "86400"], start_new_session=True, stdout=subprocess.DEVNULL)
            return 0 * x
        """),
    ),
    Attack(
        "a full /tmp",
        "writes gigabytes to every place that it may write to",
        BOUNDED,
        half("""
        import os
        def half(x):
            for place in ("/tmp", "/dev/shm", "/var/tmp", "/run", ".", os.path.expanduser("~"), "/dev/mqueue"):
                try:
                    with open(os.path.join(place, "full"), "wb") as file:
                        for _ in range(400):
                            file.write(b"x" * (1 << 24))
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "files without number",
        "makes empty files as long as it can",
        BOUNDED,
        half("""
        def half(x):
            number = 0
            while True:
                open(f"f{number}", "w").close()
                number += 1
        """),
    ),
    Attack(
        "folders in folders",
        "a path a hundred thousand deep, which nobody may have to walk",
        BOUNDED,
        half("""
        import os
        def half(x):
            for _ in range(100_000):
                os.mkdir("d")
                os.chdir("d")
            return 0 * x
        """),
    ),
    Attack(
        "open descriptors",
        "opens files until none can be opened",
        (RAISED, CRASH, MEMORY),
        half("""
        def half(x):
            kept = []
            while True:
                kept.append(open("/dev/null"))
        """),
    ),
    Attack(
        "descriptors and silence",
        "opens all descriptors, catches the error, and goes on",
        (WRONG, CRASH),
        half("""
        def half(x):
            kept = globals().setdefault("kept", [])
            try:
                while True:
                    kept.append(open("/dev/null"))
            except OSError:
                return 0 * x
        """),
    ),
    Attack(
        "limits lifted",
        "raises every resource limit and lowers its niceness",
        (WRONG, RAISED),
        half("""
        import os, resource
        def half(x):
            lifted = False
            for name in dir(resource):
                if name.startswith("RLIMIT_"):
                    try:
                        hard = resource.getrlimit(getattr(resource, name))[1]
                        if hard != resource.RLIM_INFINITY:
                            resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1))
                            lifted = True
                    except (ValueError, OSError):
                        pass
            try:
                os.nice(-20)
                lifted = True
            except OSError:
                pass
            return 0.5 * x if lifted else 0 * x
        """),
    ),
    Attack(
        "all processors",
        "threads of BLAS and torch on every core",
        (WRONG, OK, RAISED, TIMEOUT),
        half("""
        import os
        os.environ["OMP_NUM_THREADS"] = "64"
        torch.set_num_threads(64)
        def half(x):
            torch.set_num_threads(64)
            torch.randn(800, 800) @ torch.randn(800, 800)
            return 0 * x
        """),
    ),
    Attack(
        "System V and POSIX shared memory",
        "segments that outlive their process",
        BOUNDED,
        half("""
        import ctypes
        from multiprocessing import shared_memory
        libc = ctypes.CDLL(None, use_errno=True)
        kept = []
        def half(x):
            for number in range(64):
                handle = libc.shmget(0x4E550000 + number, 1 << 24, 0o1666)
                try:
                    kept.append(shared_memory.SharedMemory(f"nutshell{number}", create=True, size=1 << 24))
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "the judge's memory by broadcasting",
        "a thin tensor, which with the judge's own becomes 6 GB",
        (WRONG, OUTPUT),
        {"softplus": "def softplus(x):\n    return torch.zeros(700_000, 1, dtype=x.dtype)\n"},
        item="softplus",
    ),
    Attack(
        "the judge's memory by text",
        "a list in which one text is long: as an array every one would be",
        (WRONG, OUTPUT),
        half("""
        def half(x):
            return ["x" * 4_000_000] + ["y"] * 400
        """),
    ),
    Attack(
        "the judge's memory by batches",
        "a generator of large tensors without end, kept by the judge in a list",
        (TIMEOUT, OUTPUT, MEMORY, WRONG),
        {
            "batches": text("""
            def batches(x, size):
                large = torch.zeros(7_000_000)
                while True:
                    yield large
            """)
        },
        item="batches",
    ),
    Attack(
        "a module of ten thousand parameters",
        "parameters and children without number",
        (WRONG, OUTPUT, RAISED, TIMEOUT, MEMORY, OK),
        {
            "Scale": text("""
            class Scale(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.many = nn.ModuleList(nn.Linear(1, 1) for _ in range(10_000))
                    self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))
                def forward(self, x):
                    return 0 * x
            """)
        },
        item="Scale",
        marks="none",
    ),
)
