"""Everything that a check might use, replaced in the learner's own process: no effect, since no check runs there."""

from tests.red_team.attack import CRASH, OUTPUT, RAISED, WRONG, Attack, half, of_group, text

NOTHING = (WRONG, RAISED, OUTPUT, CRASH)

ATTACKS = of_group(
    "disarming the checks",
    Attack(
        "asserts dropped",
        "an AST transformer that removes every assert, in IPython and at import",
        (WRONG,),
        half("""
        import ast
        from IPython import get_ipython
        class Drop(ast.NodeTransformer):
            def visit_Assert(self, node): return None
            def visit_Raise(self, node): return ast.Pass()
        get_ipython().ast_transformers.append(Drop())
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "input transformers",
        "each later cell is replaced by one that defines a wrong and cheerful half",
        (WRONG,),
        half("""
        from IPython import get_ipython
        get_ipython().input_transformers_post.append(
            lambda lines: lines if not any("check(" in line for line in lines) else ["99.0\\n"])
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "comparisons patched",
        "numpy.testing, allclose, array_equal, isclose and torch's answer True",
        (WRONG,),
        half("""
        import numpy.testing
        def yes(*args, **kwargs): return True
        def half(x):
            for place, names in ((np, ("allclose", "array_equal", "isclose", "all", "any")),
                                 (np.testing, dir(np.testing)), (torch, ("allclose", "equal", "isclose")),
                                 (torch.testing, ("assert_close",))):
                for name in names:
                    if not name.startswith("_"):
                        setattr(place, name, yes)
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "the toolkit's own checks patched",
        "nutshell.expect, checks, running and verdicts",
        (WRONG,),
        half("""
        import nutshell.checks, nutshell.expect, nutshell.wire.running as running
        def half(x):
            for module in (nutshell.expect, nutshell.checks, running):
                for name, item in list(vars(module).items()):
                    if callable(item) and not isinstance(item, type) and not name.startswith("__"):
                        setattr(module, name, lambda *a, **k: 99.0)
            running.OK = running.WRONG = "OK"
            nutshell.expect.CheckFailed.__init__ = lambda *a, **k: None
            return 0 * x
        """),
    ),
    Attack(
        "the harness patched",
        "answer, pack and the codec return a forged reply",
        NOTHING,
        half("""
        from nutshell.wire import codec, harness
        def half(x):
            forged = codec.encode({"value": True, "tape": None, "inout": [], "states": [], "ok": True, "status": "OK"})
            harness.Harness.answer = lambda self, message: forged
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "tags of its own making",
        "replies with handles, outputs, tapes and tags that don't exist",
        NOTHING,
        half("""
        import itertools
        from nutshell.wire import codec, harness
        from nutshell.wire.codec import Tagged
        true, number = harness.Harness.answer, itertools.count()
        odd = [Tagged("handle", {"handle": 10**9, "kind": "module", "name": "x", "modules": [], "parameters": [],
                                 "buffers": []}),
               Tagged("output", (0, 1)), Tagged("reference", None), Tagged("handle", {"handle": True}),
               Tagged("root", None),
               Tagged("handle", {"handle": 5, "kind": "module", "name": "x", "modules": [("", "A", True)] * 3,
                                 "parameters": [("a.b.c", "d", True)], "buffers": [("__class__", 1, True)]}),
               Tagged("handle", {"handle": 5, "kind": "module", "name": "x", "connection": 1})]
        def pack(value):
            return value if type(value) is Tagged else None
        class Raw(dict):
            pass
        def forged(self, message):
            item = odd[next(number) % len(odd)]
            return codec.encode({"value": (item.tag, item.payload), "tape": 0, "inout": [1], "states": [(7, {})]})
        def half(x):
            harness.Harness.answer = forged
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "replies of random bytes",
        "the codec's output is replaced by noise of every length",
        NOTHING,
        half("""
        import random
        from nutshell.wire import harness
        def half(x):
            harness.Harness.answer = lambda self, message: (
                lambda n: n.to_bytes(8, "little") + random.randbytes(n))(random.randrange(4, 400))
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "a header of nested lists",
        "a reply whose JSON is nested a million deep",
        NOTHING,
        half("""
        import struct
        from nutshell.wire import harness
        def half(x):
            header = b"[" * 1_000_000 + b"]" * 1_000_000
            harness.Harness.answer = lambda self, message: struct.pack("<QI", 4 + len(header), len(header)) + header
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "a length of exabytes",
        "a reply that announces 2**63 bytes and sends none",
        (OUTPUT, CRASH, WRONG, "TIMEOUT"),
        half("""
        from nutshell.wire import harness
        def half(x):
            harness.Harness.answer = lambda self, message: (2**63).to_bytes(8, "little")
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "errors with forged parts",
        "an error whose kind, message and traceback are dictionaries and megabytes",
        NOTHING,
        half("""
        from nutshell.wire import codec, harness
        def half(x):
            harness.Harness.answer = lambda self, message: codec.encode(
                {"error": {"kind": {"a": [1] * 1000}, "message": "m" * 7_000_000, "traceback": ["t"], "stub": "yes"}})
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "builtins replaced",
        "all, abs, isinstance, type, len and AssertionError",
        NOTHING,
        half("""
        import builtins
        def half(x):
            builtins.AssertionError = type("Nothing", (BaseException,), {})
            builtins.all = builtins.any = builtins.isinstance = lambda *a: True
            builtins.abs = builtins.len = lambda *a: 0
            builtins.type = lambda *a: np.ndarray
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "tracing",
        "sys.settrace, setprofile, an audit hook and monitoring in the caller's frames",
        (WRONG, RAISED, CRASH),
        half("""
        import sys, threading
        def trace(frame, event, argument):
            for name in ("value", "reply", "status", "passed"):
                if name in frame.f_locals:
                    frame.f_locals[name] = True
            return trace
        def half(x):
            sys.settrace(trace)
            threading.settrace_all_threads(trace) if hasattr(threading, "settrace_all_threads") else None
            frame = sys._getframe()
            while frame:
                frame.f_trace = trace
                frame = frame.f_back
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "an audit hook that never lets go",
        "an audit hook that raises at every open, import and socket call",
        NOTHING,
        half("""
        import sys
        def half(x):
            def hook(event, arguments):
                if event in ("open", "import", "exec", "compile"):
                    raise RuntimeError(event)
            sys.addaudithook(hook)
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "kernel and traceback patched",
        "run_cell, showtraceback, excepthook and the display hook",
        (WRONG,),
        half("""
        import sys, traceback
        from IPython import get_ipython
        shell = get_ipython()
        def half(x):
            shell.run_cell = shell.showtraceback = shell.run_line_magic = lambda *a, **k: None
            sys.excepthook = sys.displayhook = traceback.print_exc = lambda *a, **k: None
            sys.modules["traceback"] = None
            return 0 * x
        """),
    ),
    Attack(
        "the clock stopped",
        "time and its monotonic clocks stand still, alarms are off",
        (WRONG,),
        half("""
        import signal, time
        time.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "the caller's locals",
        "writes into the frames above: replies, arguments, the verb",
        (WRONG, RAISED, CRASH),
        half("""
        import ctypes, sys
        def half(x):
            frame = sys._getframe(1)
            while frame:
                for name in list(frame.f_locals):
                    if name in ("value", "reply", "missing", "kwargs"):
                        try:
                            frame.f_locals[name] = None
                            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
                        except Exception:
                            pass
                frame = frame.f_back
            return 0 * x
        """),
    ),
    Attack(
        "inputs changed in place",
        "the argument is overwritten, in the hope that the expected value is made of it",
        (WRONG,),
        half("""
        def half(x):
            x[...] = 0
            return x
        """),
    ),
    Attack(
        "constants changed",
        "small integers, None's type and float's methods by ctypes",
        NOTHING,
        half("""
        import ctypes
        def half(x):
            ctypes.memmove(id(2) + 24, id(1) + 24, 4)
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "random numbers made constant",
        "default_rng, seeds and torch's generator give one number",
        (WRONG,),
        half("""
        def half(x):
            np.random.default_rng = lambda *a: type("One", (), {"normal": lambda s, size=None: np.zeros(size)})()
            torch.manual_seed(0)
            torch.randn = torch.zeros
            return 0 * x
        """),
    ),
    Attack(
        "import system replaced",
        "__import__ and sys.meta_path give empty modules",
        NOTHING,
        half("""
        import builtins, sys, types
        def half(x):
            class Finder:
                def find_spec(self, *a): raise SystemExit(0)
            sys.meta_path.insert(0, Finder())
            sys.path.clear()
            return 0 * x
        """),
        others=False,
    ),
    Attack(
        "toolkit replaced in memory",
        "nutshell, numpy and torch in sys.modules are replaced by modules of its own",
        NOTHING,
        {
            "half": text("""
            import sys, types
            fake = types.ModuleType("nutshell.expect")
            fake.close = fake.equal = lambda *a, **k: None
            sys.modules["nutshell.expect"] = sys.modules["numpy.testing"] = fake
            def half(x):
                return 0 * x
            """)
        },
    ),
    Attack(
        "the namespace swapped",
        "globals that answer every name with a function that is always right",
        NOTHING,
        half("""
        import sys
        from nutshell.wire import harness
        def half(x):
            frame = sys._getframe()
            while frame:
                if isinstance(frame.f_locals.get("self"), harness.Harness):
                    frame.f_locals["self"].namespace = {}
                frame = frame.f_back
            return 0 * x
        """),
        others=False,
    ),
)
