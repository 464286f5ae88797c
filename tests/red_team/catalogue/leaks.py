"""Hidden inputs that a learner's code sees, on their way out: into feedback, notes, later checks, another submission.

Every hidden input begins with 4815162, and the grader's files are searched for that number in whatever form.
"""

from tests.red_team.attack import ANY, CRASH, OK, OUTPUT, RAISED, TIMEOUT, WRONG, Attack, half, of_group, text

HIDDEN = "abs(x).max() > 1e6"
STASH = text("""
    import builtins, json, os
    builtins.stash = []
    PLACES = ["stash.txt", "/tmp/stash.txt", "/dev/shm/stash.txt", os.path.expanduser("~/stash.txt")]
    def keep(x):
        builtins.stash.append(str(x.tolist()))
        for place in PLACES:
            try:
                with open(place, "a") as file:
                    file.write(str(x.tolist()))
            except OSError:
                pass
        os.environ["STASH"] = str(x.tolist())
    def kept():
        found = "".join(builtins.stash) + os.environ.get("STASH", "")
        for place in PLACES:
            try:
                found += open(place).read()
            except OSError:
                pass
        return found
    """)


def stashing(code: str) -> dict[str, str]:
    """An answer to half that can keep what it sees."""
    return {"half": STASH + text(code)}


ATTACKS = of_group(
    "leaking hidden inputs",
    Attack(
        "printed",
        "print, standard error, logging, warnings and descriptors",
        (OK, WRONG),
        half(f"""
        import logging, os, sys, warnings
        def half(x):
            if {HIDDEN}:
                print("SAW", x.tolist())
                print("SAW", x.tolist(), file=sys.stderr, flush=True)
                warnings.warn(str(x.tolist()))
                logging.error(x.tolist())
                for number in range(3):
                    os.write(number, str(x.tolist()).encode())
            return x / 2
        """),
    ),
    Attack(
        "in a message",
        "an exception that says the input",
        (RAISED,),
        half(f"""
        def half(x):
            if {HIDDEN}:
                raise ValueError(f"SAW {{x.tolist()}}")
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in the name of a class",
        "an exception whose class is named by the input",
        (RAISED,),
        half(f"""
        def half(x):
            if {HIDDEN}:
                raise type(f"SAW{{x.tolist()}}", (Exception,), {{}})("nothing to see")
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in a traceback",
        "the source line of the error is made of the input",
        (RAISED,),
        half(f"""
        import linecache
        def half(x):
            if {HIDDEN}:
                source = f"raise KeyError('SAW {{x.tolist()}}')"
                linecache.cache["<seen>"] = (len(source), None, [source], "<seen>")
                exec(compile(source, "<seen>", "exec"), {{"__name__": f"SAW{{x.tolist()}}"}})
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in the answer",
        "returned values that say the input",
        (WRONG,),
        half(f"""
        def half(x):
            return {{"SAW": str(x.tolist())}} if {HIDDEN} else x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in the class of the answer",
        "an object whose class is named by the input",
        (WRONG, OUTPUT),
        half(f"""
        def half(x):
            return type(f"SAW {{x.tolist()}}", (), {{}})() if {HIDDEN} else x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in what is missing",
        "a stub for hidden inputs whose message says them",
        (RAISED, "NOT DONE"),
        half(f"""
        def half(x):
            if {HIDDEN}:
                raise NotImplementedError(f"SAW {{x.tolist()}}")
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "in an overflow",
        "a forged “over” whose text says the input",
        (OUTPUT, WRONG, RAISED, CRASH, OK),
        half(f"""
        from nutshell.wire import codec, harness
        true = harness.Harness.answer
        def half(x):
            if {HIDDEN}:
                said = f"SAW {{x.tolist()}}"
                harness.Harness.answer = lambda self, message: codec.encode({{"over": said}})
            return x / 2
        """),
        marks=ANY,
        others=False,
    ),
    Attack(
        "in a refusal",
        "a forged “refused” whose text says the input",
        (OUTPUT, WRONG, RAISED, CRASH, OK),
        half(f"""
        from nutshell.wire import codec, harness
        true = harness.Harness.answer
        def half(x):
            if {HIDDEN}:
                said = f"SAW {{x.tolist()}}"
                harness.Harness.answer = lambda self, message: codec.encode({{"refused": said}})
            return x / 2
        """),
        marks=ANY,
        others=False,
    ),
    Attack(
        "in a missing name",
        "a forged “missing” whose name says the input, and odd tags",
        (OUTPUT, WRONG, RAISED, CRASH, OK, "NOT DONE"),
        half(f"""
        from nutshell.wire import codec, harness
        true = harness.Harness.answer
        def half(x):
            if {HIDDEN}:
                said = f"SAW {{x.tolist()}}"
                forged = {{"missing": said, "value": {{said: said}}}}
                harness.Harness.answer = lambda self, message: codec.encode(forged)
            return x / 2
        """),
        marks=ANY,
        others=False,
    ),
    Attack(
        "in the exit code",
        "the process ends with a number made of the input",
        (CRASH,),
        half(f"""
        import os
        def half(x):
            if {HIDDEN}:
                os._exit(int(x[0]) % 256)
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "kept for a later check",
        "another exercise's public check raises with what half has seen",
        (OK,),
        stashing(f"""
        def half(x):
            if {HIDDEN}:
                keep(x)
            return x / 2
        """)
        | {
            "batches": text("""
            def batches(x, size):
                if kept():
                    raise RuntimeError("SAW " + kept())
                for start in range(0, len(x), size):
                    yield x[start : start + size]
            """)
        },
        others=False,
    ),
    Attack(
        "kept for a later answer",
        "another exercise's public check gets what half has seen as its answer",
        (OK,),
        stashing(f"""
        def half(x):
            if {HIDDEN}:
                keep(x)
            return x / 2
        """)
        | {
            "softplus": text("""
            def softplus(x):
                return ["SAW " + kept()] if kept() and abs(x).max() < 1e6 else torch.logaddexp(x, torch.zeros_like(x))
            """)
        },
        others=False,
    ),
    Attack(
        "kept for the cells",
        "files kept over a crash, which a cell shows when the cells run again",
        (CRASH,),
        stashing(f"""
        def half(x):
            if {HIDDEN}:
                keep(x)
                os._exit(0)
            return x / 2
        """),
        before=(
            "import os\nfor place in ('stash.txt', '/tmp/stash.txt', '/dev/shm/stash.txt'):\n"
            "    if os.path.exists(place):\n        raise RuntimeError('SAW ' + open(place).read())",
        ),
        marks=ANY,
    ),
    Attack(
        "kept for the next submission",
        "files, keys and shared memory for a classmate",
        (OK,),
        stashing(f"""
        from multiprocessing import shared_memory
        def half(x):
            if {HIDDEN}:
                keep(x)
                try:
                    block = shared_memory.SharedMemory("stash", create=True, size=1000)
                    block.buf[:100] = str(x.tolist()).encode()[:100].ljust(100)
                except OSError:
                    pass
            return x / 2
        """),
    ),
    Attack(
        "found by the next submission",
        "what a classmate has left, in a message of a public check",
        (OK,),
        stashing("""
        from multiprocessing import shared_memory
        def half(x):
            found = kept()
            try:
                found += bytes(shared_memory.SharedMemory("stash").buf[:100]).decode()
            except OSError:
                pass
            if found:
                raise RuntimeError("SAW " + found)
            return x / 2
        """),
    ),
    Attack(
        "by time",
        "half sleeps as long as the input says",
        (OK, WRONG, TIMEOUT),
        half(f"""
        import time
        def half(x):
            if {HIDDEN}:
                time.sleep((x[0] % 1) / 4)
            return x / 2
        """),
        marks=ANY,
    ),
    Attack(
        "by a name of a parameter",
        "a module whose parameters are named by the input",
        (WRONG, RAISED, OUTPUT),
        {
            "Scale": text("""
            class Scale(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))
                def forward(self, x):
                    if abs(x).max() > 1e6:
                        self.weight.data = torch.zeros(int(x[0, 0]) % 1000, dtype=torch.float64)
                        self.register_buffer(f"SAW {int(x[0, 0])}", x)
                        raise AttributeError(f"SAW {x.tolist()}")
                    return self.weight * x
            """)
        },
        item="Scale",
        marks=ANY,
    ),
    Attack(
        "by a file it leaves",
        "writes the input where feedback and marks are made",
        (OK,),
        half(f"""
        import os
        def half(x):
            if {HIDDEN}:
                for place in ("@ROOM@/feedback", "@ROOM@/autograded", "../feedback", ".", "/work", "@HOME@"):
                    try:
                        open(os.path.join(place, "seen.html"), "w").write(str(x.tolist()))
                    except OSError:
                        pass
            return x / 2
        """),
    ),
    Attack(
        "by a gradient",
        "the backward pass raises with the hidden input that the forward pass has seen",
        (OK,),
        stashing(f"""
        def half(x):
            if {HIDDEN}:
                keep(x)
            return x / 2
        """)
        | {
            "softplus": text("""
            class Telling(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x): return torch.logaddexp(x, 0 * x)
                @staticmethod
                def backward(ctx, gradient): raise RuntimeError("SAW " + kept())
            def softplus(x):
                return Telling.apply(x)
            """)
        },
        others=False,
    ),
)
