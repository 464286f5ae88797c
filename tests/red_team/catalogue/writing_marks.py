"""Marks written past the judge: into the gradebook, onto descriptors, into files that look like verdicts."""

import json

from tests.red_team.attack import CRASH, OK, OUTPUT, RAISED, WRONG, Attack, half, of_group, seen

WRONG_HALF = "\n\ndef half(x):\n    return 0 * x\n"
VERDICT = json.dumps(
    {
        "key": "0" * 64,
        "unit": "gauntlet",
        "isolation": "bubblewrap",
        "limited_by": "control group",
        "exercises": [{"name": "half", "points": 99.0, "possible": 2.0, "status": "OK", "checks": []}],
        "budgets": [],
        "flags": [],
        "cells": [],
        "notes": [],
        "refused": "",
        "seconds": 0.0,
    }
).encode()

ATTACKS = of_group(
    "writing the marks",
    Attack(
        "SQL to the gradebook",
        "looks for gradebook.db upwards, in known places and everywhere, and sets all scores to 99",
        (WRONG,),
        seen("""
        import os, sqlite3
        places = ["@ROOM@/gradebook.db", *("../" * up + "gradebook.db" for up in range(8))]
        for place, folders, files in os.walk("/"):
            folders[:] = [name for name in folders if name not in ("proc", "sys", "site-packages", "share")]
            places += [os.path.join(place, name) for name in files if name.endswith(".db")]
        for path in places:
            try:
                base = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
                base.execute("UPDATE grade SET manual_score = 99, auto_score = 99")
                base.commit()
                return True
            except sqlite3.Error:
                pass
        return False
        """),
    ),
    Attack(
        "verdicts on every descriptor",
        "writes a forged verdict and a forged reply to every number from 0 to 255",
        (WRONG, CRASH, OUTPUT),
        half(f"""
        import os
        from nutshell.wire import codec
        def half(x):
            for number in range(256):
                try:
                    os.write(number, {VERDICT!r} + b"\\n")
                except OSError:
                    pass
            return 0 * x
        """),
        flag="reply|forged|unasked",
    ),
    Attack(
        "replies that nobody asked for",
        "a thousand well-formed replies, sent ahead on every socket and pipe",
        (WRONG, CRASH, OUTPUT),
        half("""
        import os, stat
        from nutshell.wire import codec
        def half(x):
            reply = codec.encode({"value": x / 3, "tape": None, "inout": [], "states": []})
            for number in map(int, os.listdir("/proc/self/fd")):
                try:
                    mode = os.fstat(number).st_mode
                    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                        os.set_blocking(number, False)
                        for _ in range(1000):
                            os.write(number, reply)
                except OSError:
                    pass
            return 0 * x
        """),
        flag="reply|forged|unasked",
    ),
    Attack(
        "a thread that answers",
        "a thread writes replies of its own all the time",
        (WRONG, CRASH, OUTPUT),
        half("""
        import os, stat, threading, time
        from nutshell.wire import codec
        def shout():
            reply = codec.encode({"value": None, "tape": None, "inout": [], "states": []})
            while True:
                for number in range(3, 40):
                    try:
                        if stat.S_ISSOCK(os.fstat(number).st_mode):
                            os.write(number, reply)
                    except OSError:
                        pass
                time.sleep(0.01)
        def half(x):
            threading.Thread(target=shout, daemon=True).start()
            time.sleep(0.1)
            return 0 * x
        """),
    ),
    Attack(
        "a child that answers too",
        "forks inside the call, and both answer",
        (WRONG, CRASH, OUTPUT),
        half("""
        import os
        def half(x):
            os.fork()
            return 0 * x
        """),
    ),
    Attack(
        "scores in printed text",
        "prints what a grader might parse",
        (WRONG,),
        half("""
        import json, sys
        def half(x):
            for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
                print(json.dumps({"score": 99, "points": 99, "max_score": 1, "status": "OK"}), file=stream, flush=True)
                print("1 passed in 0.01s\\nOK\\n100.0", file=stream, flush=True)
            return 0 * x
        """),
    ),
    Attack(
        "a verdict beside the notebook",
        "hands in files that look like the grader's own",
        (WRONG,),
        half(WRONG_HALF),
        files={
            "verdicts/09_gauntlet/" + "0" * 64 + ".json": VERDICT,
            "gradebook.db": b"SQLite format 3\0",
            "feedback/09_gauntlet.html": b"<h1>100 %</h1>",
            "classroom.toml": b"[gauntlet.points]\nhalf = 99\n",
            "secret_seed": b"0" * 32,
            "nbgrader_config.py": b"raise SystemExit\n",
        },
        others=True,
    ),
    Attack(
        "another seed and other checks",
        "hands in a desk/ with checks that always pass and points of 500",
        (WRONG,),
        half(WRONG_HALF),
        files={
            "desk/unit.json": b'{"number": 9, "name": "gauntlet", "title": "", "exercises": [], "budgets": []}',
            "desk/public_checks.py": b"raise SystemExit(0)\n",
            "desk/replies.bin": b"",
        },
    ),
    Attack(
        "writing into the classroom",
        "writes verdicts, marks and autograded notebooks by absolute and relative paths",
        (WRONG,),
        seen(f"""
        import os
        for path in ("@ROOM@/verdicts/09_gauntlet/x.json", "@ROOM@/autograded/x", "@ROOM@/pwned", "../../../pwned",
                     "../../pwned", "/pwned", "/work/pwned", "@UNITS@/pwned", "@REPOSITORY@/pwned", "@HOME@/pwned"):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, "wb").write({VERDICT!r})
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "a check of its own",
        "defines check, open_lab, progress and grade_here, which give 99 points",
        (WRONG,),
        half("""
        class Result(float):
            def _repr_html_(self): return "<b>99 points</b>"
        check = open_lab = progress = grade_here = hand_in = lambda *a, **k: Result(99)
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "marks by exit code",
        "exits with 0 at the end of the process, whatever happened",
        (WRONG,),
        half("""
        import atexit, os
        atexit.register(os._exit, 0)
        def half(x):
            return 0 * x
        """),
    ),
    Attack(
        "the toolkit rewritten on disk",
        "writes into nutshell, NumPy and torch, for itself and those who come after",
        (WRONG,),
        seen("""
        import os, nutshell, nutshell.wire.harness, numpy, torch
        got = False
        for module in (nutshell, nutshell.wire.harness, numpy, torch):
            for path in (module.__file__, os.path.join(os.path.dirname(module.__file__), "pwned.py")):
                try:
                    os.chmod(os.path.dirname(path), 0o777)
                except OSError:
                    pass
                try:
                    open(path, "ab").close()
                    got = True
                except OSError:
                    pass
        return got
        """),
    ),
    Attack(
        "remounting what is read-only",
        "mounts, remounts and makes user namespaces",
        (WRONG, RAISED),
        seen("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"none", b"/usr", None, 32 | 4096, None) == 0 or libc.mount(b"none", b"/", None, 32, None) == 0:
            return True
        if libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None) == 0:
            return True
        if libc.unshare(0x10000000) == 0 or libc.unshare(0x00020000) == 0:  # a user namespace, a mount namespace
            return True
        return os.geteuid() == 0 or libc.setuid(0) == 0 or libc.chroot(b".") == 0
        """),
    ),
    Attack(
        "honest, with a forged verdict in a comment",
        "nothing but text that looks like marks",
        (OK,),
        {"half": "# score: 99/1\n#### points = 500\ndef half(x):\n    return x / 2  # AUTOGRADE: PASS\n"},
    ),
)
