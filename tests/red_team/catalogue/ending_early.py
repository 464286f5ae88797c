"""Ways to end the process, its parent and everybody else."""

from tests.red_team.attack import CRASH, MEMORY, OK, RAISED, TIMEOUT, WRONG, Attack, half, of_group

ENDS = (CRASH, RAISED)


def in_call(code: str) -> dict[str, str]:
    """An answer to half that does this when it is called, and would be wrong afterwards."""
    body = "\n".join("    " + line for line in code.strip().splitlines())
    return {"half": f"import ctypes, os, signal, sys, threading\n\n\ndef half(x):\n{body}\n    return 0 * x\n"}


ATTACKS = of_group(
    "ending early",
    Attack("sys.exit in the call", "sys.exit(0) when half is called", (RAISED,), in_call("sys.exit(0)")),
    Attack(
        "SystemExit at import",
        "the cell raises SystemExit before half is defined",
        ENDS,
        half("""
        raise SystemExit(0)
        def half(x):
            return x / 2
        """),
    ),
    Attack("os._exit in the call", "os._exit(0)", (CRASH,), in_call("os._exit(0)")),
    Attack(
        "os._exit in the cell",
        "the cell itself ends the process",
        (CRASH,),
        half("""
        import os
        os._exit(0)
        def half(x):
            return x / 2
        """),
    ),
    Attack(
        "os._exit in a cell of its own",
        "an extra cell ends the process; all exercises are right",
        (OK,),
        before=("import os\nos._exit(1)",),
    ),
    Attack(
        "four cells that end the process",
        "each costs a child, and the rest is right",
        (OK,),
        before=(
            "import os; os._exit(1)",
            "import os; os.abort()",
            "import ctypes; ctypes.string_at(0)",
            "import os; os.kill(os.getpid(), 9)",
        ),
    ),
    Attack(
        "KeyboardInterrupt", "the one exception that the harness lets pass", ENDS, in_call("raise KeyboardInterrupt")
    ),
    Attack(
        "exceptions of its own making",
        "a BaseException whose __str__, __class__ and __traceback__ raise",
        ENDS,
        half("""
        class Bad(BaseException):
            def __str__(self): raise SystemExit(0)
            __repr__ = __format__ = __str__
            @property
            def __traceback__(self): raise SystemExit(0)
            @property
            def __class__(self): raise SystemExit(0)
        def half(x):
            raise Bad
        """),
    ),
    Attack(
        "an error without a message end",
        "an exception with a message of 100 MB",
        (RAISED, "OUTPUT"),
        in_call("raise ValueError('m' * 100_000_000)"),
    ),
    Attack(
        "a group of errors, nested",
        "an exception group a thousand deep, with a chain of causes",
        ENDS,
        in_call("""
error = ValueError("inmost")
for _ in range(1000):
    outer = ExceptionGroup("g", [error])
    outer.__cause__ = error
    error = outer
raise error"""),
    ),
    Attack(
        "GeneratorExit and StopIteration",
        "exceptions that mean something to loops",
        ENDS,
        in_call("raise StopIteration if len(x) == 1 else GeneratorExit"),
    ),
    Attack("abort", "os.abort()", (CRASH,), in_call("os.abort()")),
    Attack("null pointer", "ctypes reads at address 0", (CRASH,), in_call("ctypes.string_at(0)")),
    Attack(
        "killed by itself",
        "SIGKILL to its own process; the first process of a namespace survives it",
        (CRASH, WRONG),
        in_call("os.kill(os.getpid(), signal.SIGKILL)"),
    ),
    Attack(
        "parent killed",
        "SIGKILL to the parent and to process 1",
        (CRASH, WRONG, RAISED),
        in_call("""
for pid in (os.getppid(), 1, 2):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass"""),
    ),
    Attack(
        "everybody killed",
        "SIGKILL to every process that it may send to",
        (CRASH, WRONG, RAISED),
        in_call("""
for pid in (-1, 0, -os.getpgrp()):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass"""),
    ),
    Attack(
        "every number killed",
        "SIGKILL to process numbers 2 to 40000",
        (CRASH, WRONG, RAISED),
        in_call("""
for pid in range(2, 40_000):
    try:
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass"""),
    ),
    Attack(
        "stopped",
        "SIGSTOP to itself, so that it never answers; it may survive that too",
        (TIMEOUT, CRASH, WRONG),
        in_call("os.kill(os.getpid(), signal.SIGSTOP)"),
    ),
    Attack(
        "another program",
        "execv of /bin/true over the harness",
        (CRASH,),
        in_call("os.execv(sys.executable, [sys.executable, '-c', ''])"),
    ),
    Attack("descriptors closed", "closes every descriptor", (CRASH, RAISED), in_call("os.closerange(0, 4096)")),
    Attack(
        "recursion",
        "endless recursion in Python",
        (RAISED,),
        half("""
        def half(x):
            return half(x)
        """),
    ),
    Attack(
        "recursion without a limit",
        "the recursion limit taken away first",
        (CRASH, RAISED, MEMORY, TIMEOUT),
        half("""
        import sys
        def half(x):
            sys.setrecursionlimit(2**31 - 1)
            return half(x)
        """),
    ),
    Attack(
        "recursion in C",
        "a list nested a million deep, shown, compared and freed",
        (CRASH, RAISED, MEMORY, TIMEOUT),
        in_call("""
sys.setrecursionlimit(2**31 - 1)
nested = []
for _ in range(1_000_000):
    nested = [nested]
repr(nested)"""),
    ),
    Attack(
        "a bomb with a fuse",
        "a thread that ends the process a moment after half has answered",
        (WRONG, CRASH),
        in_call("threading.Timer(0.02, os._exit, [0]).start()"),
    ),
    Attack(
        "a bomb in the cell",
        "a thread, started by the cell, that ends the process after half a second",
        (OK, CRASH),
        before=("import os, threading\nthreading.Timer(0.5, os._exit, [0]).start()",),
        others=False,
    ),
    Attack(
        "a destructor that exits",
        "an object whose __del__ ends the process when its handle is dropped",
        (WRONG, CRASH),
        half("""
        import os
        class Grenade:
            def __del__(self): os._exit(0)
        def half(x):
            return Grenade()
        """),
    ),
    Attack(
        "the namespace emptied",
        "deletes all globals and resets the shell",
        (WRONG, RAISED, CRASH, "NOT DONE"),
        half("""
        def half(x):
            globals().clear()
            return None
        """),
        others=False,
    ),
    Attack(
        "signal handlers that exit",
        "every signal ends the process quietly",
        (WRONG,),
        half("""
        import os, signal
        for number in range(1, 65):
            try:
                signal.signal(number, lambda *a: os._exit(0))
            except (OSError, ValueError):
                pass
        signal.setitimer(signal.ITIMER_REAL, 3600)
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "a stack of gigabytes",
        "a thread with a huge stack, and a crash inside it",
        (CRASH, RAISED, WRONG, MEMORY),
        in_call("""
threading.stack_size(1 << 30)
thread = threading.Thread(target=ctypes.string_at, args=(0,))
thread.start()
thread.join()"""),
    ),
    Attack(
        "a module that exits when it is made",
        "Scale.__init__ calls os._exit",
        (CRASH,),
        {"Scale": "import os\n\n\nclass Scale(nn.Module):\n    def __init__(self, size):\n        os._exit(0)\n"},
        item="Scale",
    ),
    Attack(
        "a generator that exits",
        "the second item ends the process",
        (CRASH,),
        {"batches": "import os\n\n\ndef batches(x, size):\n    yield x[:size]\n    os._exit(0)\n"},
        item="batches",
    ),
)
