"""Attacks that stand on no list: found by reading the grader's code as somebody who wants to break it."""

from tests.red_team.attack import (
    ANY,
    CRASH,
    MEMORY,
    NOT_DONE,
    OK,
    OUTPUT,
    RAISED,
    REFUSED,
    TIMEOUT,
    WRONG,
    Attack,
    half,
    of_group,
    seen,
    text,
)
from tests.red_team.catalogue.hand_ins import FILE, deep_chain

HARMLESS = (WRONG, RAISED, CRASH, OUTPUT, TIMEOUT, MEMORY)

ATTACKS = of_group(
    "not on the list",
    Attack(
        "a range without end",
        "a range is plain data and takes no room: whoever adds it up is busy for ever",
        (OUTPUT, WRONG),
        {"batches": "def batches(x, size):\n    return range(10**15)\n"},
        item="batches",
    ),
    Attack(
        "a range as an array",
        "a range of 200 million numbers, compared as an array",
        (OUTPUT, WRONG),
        half("def half(x):\n    return range(200_000_000)\n"),
    ),
    Attack(
        "no numbers in a huge shape",
        "an array of shape 0 × 2**39, whose sums are terabytes",
        (WRONG, OUTPUT),
        {"softplus": "def softplus(x):\n    return torch.empty(0, 2**39, dtype=x.dtype)\n"},
        item="softplus",
    ),
    Attack(
        "urgent bytes",
        "out-of-band data on the wire, in front of the answer",
        (WRONG, CRASH, OUTPUT, TIMEOUT),
        half("""
        import os, socket, stat
        def half(x):
            for number in map(int, os.listdir("/proc/self/fd")):
                try:
                    if stat.S_ISSOCK(os.fstat(number).st_mode):
                        socket.socket(fileno=os.dup(number)).send(b"!", socket.MSG_OOB)
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "descriptors sent along",
        "a thousand open files passed over the wire",
        (WRONG, CRASH, OUTPUT, TIMEOUT),
        half("""
        import os, socket, stat
        def half(x):
            for number in map(int, os.listdir("/proc/self/fd")):
                try:
                    if stat.S_ISSOCK(os.fstat(number).st_mode):
                        link = socket.socket(fileno=os.dup(number))
                        for _ in range(50):
                            socket.send_fds(link, [b"x"], [0] * 20)
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "the wire half closed",
        "shuts the wire for writing, then for reading, and waits",
        (CRASH, TIMEOUT),
        half("""
        import os, socket, stat, time
        def half(x):
            for number in map(int, os.listdir("/proc/self/fd")):
                try:
                    if stat.S_ISSOCK(os.fstat(number).st_mode):
                        socket.socket(fileno=os.dup(number)).shutdown(socket.SHUT_WR if len(x) > 1 else socket.SHUT_RD)
                except OSError:
                    pass
            time.sleep(60)
        """),
    ),
    Attack(
        "a byte at a time",
        "an answer that comes one byte every tenth of a second",
        (TIMEOUT, OUTPUT, CRASH),
        half("""
        import os, stat, time
        def half(x):
            there = [n for n in range(3, 256) if os.path.exists(f"/proc/self/fd/{n}")]
            wire = [n for n in there if stat.S_ISSOCK(os.fstat(n).st_mode)]
            for byte in (2**16).to_bytes(8, "little") + bytes(2**16):
                os.write(wire[0], bytes([byte]))
                time.sleep(0.1)
        """),
    ),
    Attack(
        "pages shared with the next one",
        "looks for writable memory that it shares with the process it was forked from",
        (WRONG,),
        seen("""
        for line in open("/proc/self/maps"):
            span, rights, *rest = line.split()
            if rights.startswith("rw") and rights.endswith("s"):
                return True
        return False
        """),
    ),
    Attack(
        "memory in sockets",
        "socket buffers in many processes, which no count of resident pages sees",
        HARMLESS,
        half("""
        import os, socket, time
        def half(x):
            for _ in range(50):
                try:
                    if os.fork() == 0:
                        kept = []
                        try:
                            while True:
                                pair = socket.socketpair()
                                kept.append(pair)
                                for end in pair:
                                    end.setblocking(False)
                                    try:
                                        while True:
                                            end.send(b"x" * 65536)
                                    except BlockingIOError:
                                        pass
                        except OSError:
                            time.sleep(60)
                except OSError:
                    break
            time.sleep(1)
            return 0 * x
        """),
    ),
    Attack(
        "sixty busy neighbours",
        "sessions of their own that spin, while others are graded on the same cores",
        (TIMEOUT, WRONG),
        half("""
        import os, time
        def half(x):
            for _ in range(60):
                try:
                    if os.fork() == 0:
                        os.setsid()
                        while True:
                            pass
                except OSError:
                    break
            time.sleep(60)
            return 0 * x
        """),
    ),
    Attack(
        "locks on shared files",
        "locks every file of the system that it can open, for whoever locks them next",
        (WRONG,),
        half("""
        import fcntl, glob
        kept = []
        def half(x):
            found = [*glob.glob("/data/**/*", recursive=True), *glob.glob("/course/**/*.py", recursive=True)]
            for path in [*found, *glob.glob("/usr/bin/*")][:150]:
                try:
                    kept.append(open(path, "rb"))
                    fcntl.flock(kept[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    pass
            return 0 * x
        """),
    ),
    Attack(
        "a terminal of its own",
        "opens pseudo-terminals and pushes characters into them",
        (WRONG, RAISED),
        seen("""
        import fcntl, os, termios
        for path in ("/dev/tty", "/dev/console", "/dev/pts/0", "/proc/1/fd/0"):
            try:
                handle = os.open(path, os.O_RDWR)
                fcntl.ioctl(handle, termios.TIOCSTI, b"x")
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "a deep tree of modules",
        "a module two thousand children deep, which the judge would walk",
        (WRONG, RAISED, OUTPUT, CRASH),
        {
            "Scale": text("""
            import sys
            class Scale(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))
                    inner = self
                    for _ in range(600):
                        inner.child = nn.Module()
                        inner = inner.child
                def forward(self, x):
                    return 0 * x
            """)
        },
        item="Scale",
    ),
    Attack(
        "parameters under the judge's names",
        "children and parameters called _target, forward, training, __class__",
        (WRONG, RAISED, OUTPUT),
        {
            "Scale": text("""
            class Scale(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    for name in ("_target", "forward", "training", "__class__", "_parameters", "weight.grad", "_sent"):
                        self._parameters[name] = nn.Parameter(torch.ones(size, dtype=torch.float64))
                        self._modules[name + "_"] = nn.Identity()
                def forward(self, x):
                    return 0 * x
            """)
        },
        item="Scale",
    ),
    Attack(
        "a gradient for what was not asked",
        "a forged tape and outputs that answer the judge's own tensors",
        (WRONG, RAISED, OUTPUT, CRASH),
        {
            "softplus": text("""
            from nutshell.wire import codec, harness
            from nutshell.wire.codec import Tagged
            def softplus(x):
                value = (0 * x).detach()
                reply = {"value": ["__output__", value], "tape": 1, "inout": [], "states": []}
                def forged(self, message):
                    return codec.encode(reply, pack=lambda item: None)
                harness.Harness.answer = forged
                return value
            """)
        },
        item="softplus",
        others=False,
    ),
    Attack(
        "a coin tossed twice",
        "wrong the first time and right in a fresh process, by the system's randomness",
        (WRONG,),
        half("""
        import os
        LUCKY = os.urandom(4)[0] == 0 and os.urandom(4)[0] == 0
        def half(x):
            return 0.5 * x if LUCKY else 0 * x
        """),
    ),
    Attack(
        "told by the number of the try",
        "knows from what it finds that it runs for the second time",
        (WRONG,),
        seen("""
        import os
        found = [os.getpid() != 1 and os.getpid() > 50, os.path.exists("/tmp/first")]
        open("/tmp/first", "w").close()
        return found[1]
        """),
    ),
    Attack(
        "another's exercise",
        "softplus's cell redefines half, wrongly, when it is called",
        (OK,),
        {"softplus": "def softplus(x):\n    global half\n    half = None\n    return torch.logaddexp(x, 0 * x)\n"},
    ),
    Attack(
        "a poisoned generator",
        "batches patches torch while the judge takes items",
        (OK,),
        {"batches": "def batches(x, size):\n    torch.logaddexp = lambda *a: 0 * a[0]\n    yield from x.split(size)\n"},
        item="batches",
    ),
    Attack(
        "an error called AssertionError",
        "raises the classes that checks themselves raise",
        (RAISED, WRONG),
        half("""
        class CheckFailed(AssertionError): pass
        class CannotCross(Exception): pass
        class Trouble(Exception): pass
        class Ended(Exception): pass
        def half(x):
            raise (CheckFailed if len(x) == 1 else Trouble)("INFRA: the grader's own trouble, full marks")
        """),
    ),
    Attack(
        "trouble that is no trouble",
        "raises the toolkit's own Trouble, Lost and CannotCross, so that it is never a zero",
        (RAISED,),
        half("""
        from nutshell.errors import Trouble
        from nutshell.wire.errors import CannotCross
        def half(x):
            raise (CannotCross if len(x) == 1 else Trouble)("the sandbox is gone")
        """),
    ),
    Attack(
        "NotImplementedError from inside",
        "a stub that does all the work and raises at the end",
        (NOT_DONE,),
        half("""
        def half(x):
            x / 2
            raise NotImplementedError
        """),
    ),
    Attack(
        "a student called a formula",
        "a name that a spreadsheet would run",
        (OK, REFUSED),
        student="=HYPERLINK(1)",
        marks=ANY,
        others=False,
    ),
    Attack(
        "a student called a colour",
        "a name that a terminal would obey",
        (OK, REFUSED),
        student="x\x1b[31m\x1b]0;pwned\x07",
        marks=ANY,
        others=False,
    ),
    Attack(
        "a student called unfinished",
        "a name that the grader's own half-written files have",
        (OK, REFUSED),
        student="ada.unfinished",
        marks=ANY,
        others=False,
    ),
    Attack(
        "a student called published",
        "the name of the grader's own folder",
        (OK, REFUSED),
        student="published",
        marks=ANY,
        others=False,
    ),
    Attack(
        "a network that takes an hour",
        "the right topology, with a chain of huge layers that store nothing",
        (WRONG, REFUSED, OK),
        files=lambda: {FILE: deep_chain()},
        item="small",
        marks=ANY,
    ),
    Attack(
        "a file of the largest size",
        "64 MB beside the notebook, which everybody has to carry",
        (OK, REFUSED),
        files=lambda: {"large.bin": bytes(64 << 20)},
    ),
    Attack(
        "a line of twenty megabytes",
        "a cell whose one line nobody can show",
        (OK, REFUSED, WRONG),
        {"half": "def half(x):\n    return x / 2\n# " + "x" * 5_000_000 + "\n"},
    ),
    Attack(
        "a thousand cells",
        "more cells than anybody would write, each of which raises with a long message",
        (OK, REFUSED, TIMEOUT),
        before=("raise ValueError('m' * 100_000)",) * 300,
        marks=ANY,
        others=False,
    ),
)
