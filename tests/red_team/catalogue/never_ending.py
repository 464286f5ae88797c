"""Work without an end: loops, sleeps, output, and calls that hold the interpreter's lock."""

from tests.red_team.attack import CRASH, MEMORY, OK, OUTPUT, RAISED, TIMEOUT, WRONG, Attack, half, of_group, text

LATE = (TIMEOUT,)

ATTACKS = of_group(
    "never ending",
    Attack("endless loop", "while True", LATE, half("def half(x):\n    while True: pass\n")),
    Attack(
        "a loop that swallows everything",
        "while True with except BaseException, all signals ignored",
        LATE,
        half("""
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        def half(x):
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass
        """),
    ),
    Attack("asleep", "sleeps for thirty years", LATE, half("import time\ndef half(x):\n    time.sleep(1e9)\n")),
    Attack(
        "a catastrophic pattern",
        "a regular expression that backtracks without end, in C",
        LATE,
        half(r"""
        import re
        def half(x):
            return re.match(r"(a+)+$", "a" * 64 + "b")
        """),
    ),
    Attack(
        "a huge power",
        "an integer power that holds the interpreter's lock",
        (TIMEOUT, MEMORY, RAISED),
        half("""
        def half(x):
            return pow(7, 10**10) % 3
        """),
    ),
    Attack(
        "counting in C",
        "sum over itertools.count, which never looks at signals",
        LATE,
        half("""
        import itertools
        def half(x):
            return sum(itertools.repeat(0))
        """),
    ),
    Attack(
        "waiting for a lock",
        "a deadlock with itself",
        LATE,
        half("""
        import threading
        def half(x):
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        """),
    ),
    Attack(
        "waiting for input",
        "input() and a read of standard input",
        (TIMEOUT, RAISED),
        half("""
        def half(x):
            return float(input("go on? "))
        """),
    ),
    Attack(
        "an endless cell",
        "a loop in a cell of its own in front; all exercises are right",
        (OK,),
        before=("while True:\n    pass",),
    ),
    Attack(
        "an endless cell of an exercise",
        "the loop stands in half's cell, behind the definition",
        (TIMEOUT, OK),
        half("""
        def half(x):
            return x / 2
        while True:
            pass
        """),
        marks="any",
    ),
    Attack(
        "a thread left running",
        "a thread that is no daemon spins for ever; half is wrong",
        (WRONG,),
        half("""
        import threading
        def spin():
            while True:
                pass
        threading.Thread(target=spin).start()
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "an exit that waits",
        "atexit and a thread that keep the process from ending",
        (WRONG,),
        half("""
        import atexit, threading, time
        atexit.register(time.sleep, 1e9)
        threading.Thread(target=time.sleep, args=(1e9,)).start()
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "print without end",
        "prints megabytes in a loop that never ends",
        (TIMEOUT, OUTPUT),
        half("""
        def half(x):
            while True:
                print("x" * 1_000_000)
        """),
    ),
    Attack(
        "writes without end",
        "writes to descriptors 1 and 2 past Python",
        (TIMEOUT, OUTPUT),
        half("""
        import os
        def half(x):
            while True:
                os.write(1, b"x" * 1_000_000)
                os.write(2, b"x" * 1_000_000)
        """),
    ),
    Attack(
        "displays without end",
        "rich output, warnings and log lines in a loop",
        (TIMEOUT, OUTPUT, MEMORY),
        half("""
        import logging, warnings
        from IPython.display import HTML, display
        warnings.simplefilter("always")
        def half(x):
            while True:
                display(HTML("x" * 100_000))
                warnings.warn("w" * 1000)
                logging.error("l" * 1000)
        """),
    ),
    Attack(
        "a value without end",
        "a reply of gigabytes",
        (OUTPUT, MEMORY),
        half("""
        def half(x):
            return np.zeros(30_000_000)
        """),
    ),
    Attack(
        "a million small values",
        "a list with more values than a message may have",
        (OUTPUT,),
        half("""
        def half(x):
            return list(range(1_000_000))
        """),
    ),
    Attack(
        "batches without end",
        "a generator that never stops, each item at once",
        (TIMEOUT, OUTPUT, MEMORY, WRONG),
        {"batches": "def batches(x, size):\n    while True:\n        yield x[:size]\n"},
        item="batches",
    ),
    Attack(
        "large batches without end",
        "megabytes in each item of a generator that never stops",
        (TIMEOUT, OUTPUT, MEMORY, WRONG),
        {"batches": "def batches(x, size):\n    while True:\n        yield torch.zeros(2_000_000)\n"},
        item="batches",
    ),
    Attack(
        "a batch that never comes",
        "the second item of a generator is a loop",
        LATE,
        {"batches": "def batches(x, size):\n    yield x[:size]\n    while True:\n        pass\n"},
        item="batches",
    ),
    Attack(
        "a gradient that never comes",
        "the backward pass is a loop",
        LATE,
        {
            "softplus": text("""
            class Slow(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x): return torch.logaddexp(x, 0 * x)
                @staticmethod
                def backward(ctx, gradient):
                    while True:
                        pass
            def softplus(x):
                return Slow.apply(x)
            """)
        },
        item="softplus",
    ),
    Attack(
        "an attribute that never comes",
        "__getattr__ of the returned object loops",
        (TIMEOUT, WRONG),
        {
            "train_step": text("""
            class Slow:
                def __getattribute__(self, name):
                    while True:
                        pass
            def train_step(network, x, y, rate):
                return Slow()
            """)
        },
        item="train_step",
    ),
    Attack(
        "a destructor that loops",
        "__del__ of a returned object never ends",
        (WRONG, TIMEOUT),
        half("""
        class Slow:
            def __del__(self):
                while True:
                    pass
        def half(x):
            return Slow()
        """),
    ),
    Attack(
        "many small delays",
        "each call takes almost as long as it may, in every exercise's cell",
        (OK, WRONG, TIMEOUT),
        half("""
        import time
        def half(x):
            time.sleep(0.3)
            return 0 * x
        """),
        marks="none",
    ),
    Attack(
        "four endless cells",
        "each would cost the whole limit of a call",
        (OK, TIMEOUT),
        before=("while True: pass",) * 4,
        others=False,
        marks="any",
    ),
    Attack(
        "fork and loop",
        "the child loops, the parent answers; nothing may go on afterwards",
        (WRONG, CRASH, RAISED),
        half("""
        import os
        def half(x):
            if os.fork() == 0:
                os.setsid()
                while True:
                    pass
            return 0 * x
        """),
    ),
)
