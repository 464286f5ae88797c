"""Honest work of many kinds, all of which must score full."""

from tests.red_team.attack import OK, Attack, half, of_group, text

FULL = (OK,)
CONTROLS = of_group(
    "control",
    Attack("the solutions", "every exercise as the reference has it", FULL),
    Attack(
        "warns",
        "Python's, NumPy's and torch's warnings",
        FULL,
        half("""
        import warnings
        warnings.warn("a cell that warns")
        def half(x):
            warnings.warn("careful", RuntimeWarning)
            np.log(np.zeros(2))
            torch.tensor(torch.ones(2))
            return x / 2
        """),
    ),
    Attack(
        "warnings as errors switched on",
        "a learner who likes it strict",
        FULL,
        before=("import warnings\nwarnings.simplefilter('error')",),
    ),
    Attack(
        "prints to standard error",
        "print, logging and sys.stderr.write",
        FULL,
        half("""
        import logging, sys
        logging.basicConfig(level=logging.DEBUG)
        def half(x):
            print("to standard error", file=sys.stderr)
            sys.stderr.write("more")
            logging.getLogger(__name__).error("logged")
            return x / 2
        """),
    ),
    Attack(
        "shows a progress bar",
        "tqdm, tqdm.auto and tqdm.notebook",
        FULL,
        half("""
        from tqdm import tqdm
        from tqdm.auto import trange
        def half(x):
            for _ in tqdm(range(20)):
                pass
            for _ in trange(3, desc="again"):
                pass
            return x / 2
        """),
    ),
    Attack(
        "plots",
        "%matplotlib inline, a figure in a cell and one in the function",
        FULL,
        half("""
        %matplotlib inline
        import matplotlib.pyplot as plt
        plt.plot([1, 2, 3])
        plt.show()
        def half(x):
            fig, ax = plt.subplots()
            ax.plot(x)
            plt.close(fig)
            return x / 2
        """),
    ),
    Attack(
        "helpers in extra cells",
        "functions, classes and constants in cells of its own",
        FULL,
        half("""
        def half(x):
            return Factor(2).under(x)
        """),
        before=(
            "HALF = 0.5",
            "class Factor:\n    def __init__(self, n): self.n = n\n    def under(self, x): return x / self.n",
        ),
        after=("print(half(np.ones(3)))", "half(np.ones(3)) * 2"),
    ),
    Attack(
        "helpers in files",
        "a module and a package beside the notebook, and data read from a file",
        FULL,
        half("""
        from my_helpers import halve
        from my_package.inner import TWO
        FACTOR = float(open("factor.txt").read())
        def half(x):
            assert TWO * FACTOR == 1
            return halve(x)
        """),
        files={
            "my_helpers.py": b"def halve(x):\n    return x / 2\n",
            "my_package/__init__.py": b"",
            "my_package/inner.py": b"TWO = 2\n",
            "factor.txt": b"0.5",
        },
    ),
    Attack(
        "magics",
        "%time, %timeit, %%time, %load_ext, !, ? and %%capture",
        FULL,
        {"half": "%%time\n%load_ext autoreload\n%autoreload 2\ndef half(x):\n    return x / 2\n"},
        before=(
            "%time sum(range(10))\n%timeit -n 1 -r 1 sum(range(10))",
            "files = !ls\n!echo hello",
            "np.sum?",
            "%%capture out\nprint('captured')",
            "%%timeit -n 1 -r 1\nsum(range(3))",
            "%config InlineBackend.figure_format = 'retina'",
            "%who",
            "%env HOME",
            "%pwd",
        ),
    ),
    Attack(
        "float64 for float32",
        "wider, narrower and scalar types that hold the same numbers",
        FULL,
        {
            "softplus": "def softplus(x):\n    return torch.logaddexp(x.double(), torch.zeros_like(x).double())\n",
            "half": "def half(x):\n    return np.asarray(x, dtype=np.longdouble).astype(float) / 2\n",
        },
    ),
    Attack(
        "not contiguous",
        "transposed, reversed, strided and broadcast views",
        FULL,
        {
            "half": "def half(x):\n    return np.repeat(x / 2, 2)[::2]\n",
            "softplus": "def softplus(x):\n    return torch.logaddexp(x, torch.zeros_like(x)).flip(0).flip(0)\n",
            "batches": "def batches(x, size):\n    yield from x.repeat(1, 2)[:, : x.shape[1]].split(size)\n",
        },
    ),
    Attack(
        "carries gradients",
        "results that require gradients where none are asked for",
        FULL,
        {
            "softplus": "ONE = torch.ones(1).requires_grad_()\nsoftplus = lambda x: torch.logaddexp(ONE * x, 0 * x)\n",
            "batches": "def batches(x, size):\n    yield from x.clone().requires_grad_().split(size)\n",
        },
    ),
    Attack(
        "torch for NumPy",
        "a tensor where an array is asked for, and a parameter",
        FULL,
        {"half": "def half(x):\n    return torch.from_numpy(x) / 2\n"},
    ),
    Attack("lists for arrays", "a list of floats", FULL, half("def half(x):\n    return [float(v) / 2 for v in x]\n")),
    Attack(
        "slow",
        "slow, but inside the limit",
        FULL,
        half("""
        import time
        def half(x):
            time.sleep(0.4)
            return x / 2
        """),
    ),
    Attack(
        "written in loops",
        "index by index",
        FULL,
        {
            "half": text("""
            def half(x):
                result = np.empty(x.shape)
                for index in range(len(x)):
                    value = x[index]
                    result[index] = value - value / 2.0
                return result
            """),
            "softplus": text("""
            def softplus(x):
                out = []
                for value in x:
                    out.append(torch.log1p(torch.exp(-abs(value))) + torch.clamp(value, min=0))
                return torch.stack(out)
            """),
        },
    ),
    Attack(
        "own files",
        "writes and reads files in its folder, /tmp and a temporary folder, in cells and in calls",
        FULL,
        half("""
        import json, pathlib, pickle, tempfile
        pathlib.Path("results").mkdir(exist_ok=True)
        def half(x):
            np.save("results/x.npy", x)
            with tempfile.TemporaryDirectory() as place:
                pathlib.Path(place, "a.json").write_text(json.dumps(x.tolist()))
            with open("/tmp/cache.pkl", "wb") as file:
                pickle.dump(x, file)
            torch.save({"x": x.tolist()}, "x.pt")
            return np.load("results/x.npy") / 2
        """),
    ),
    Attack(
        "dataclasses and typing",
        "dataclasses, slots, enums, protocols, generics and annotations as text",
        FULL,
        half("""
        from __future__ import annotations
        from dataclasses import dataclass, field
        from enum import Enum
        from typing import Generic, NamedTuple, Protocol, TypeVar, overload
        T = TypeVar("T")
        class Way(Enum):
            FAST = 1
        class Point(NamedTuple):
            x: float
        @dataclass(slots=True, frozen=True)
        class Options(Generic[T]):
            factor: float = 0.5
            seen: list[T] = field(default_factory=list)
        def half(x: "np.ndarray", way: Way | None = Way.FAST) -> "np.ndarray":
            return x * Options().factor * Point(1.0).x
        """),
    ),
    Attack(
        "lambdas and closures",
        "functions made by functions, partials, wraps, caches and callable objects",
        FULL,
        {
            "half": text("""
            import functools
            @functools.lru_cache(maxsize=None)
            def factor(n): return 1 / n
            def timed(function):
                @functools.wraps(function)
                def wrapped(*args, **kwargs):
                    return function(*args, **kwargs)
                return wrapped
            half = timed(lambda x, n=2: x * factor(n))
            """),
            "softplus": text("""
            import functools
            class Softplus:
                def __call__(self, x):
                    return torch.logaddexp(x, torch.zeros_like(x))
            softplus = Softplus().__call__
            """),
        },
    ),
    Attack(
        "a partial as the answer",
        "functools.partial instead of a function",
        FULL,
        {"half": "import functools, operator\nhalf = functools.partial(np.multiply, 0.5)\n"},
    ),
    Attack(
        "a callable object as the answer",
        "an instance with __call__",
        FULL,
        {"half": "class Half:\n    def __call__(self, x):\n        return x / 2\nhalf = Half()\n"},
    ),
    Attack(
        "a module as a function", "torch's own layers for softplus", FULL, {"softplus": "softplus = nn.Softplus()\n"}
    ),
    Attack(
        "global state",
        "counters, caches and random numbers at the top",
        FULL,
        half("""
        CALLS, CACHE = 0, {}
        np.random.seed(1)
        torch.manual_seed(1)
        torch.set_printoptions(precision=3)
        np.set_printoptions(precision=2, suppress=True)
        np.seterr(all="ignore")
        def half(x):
            global CALLS
            CALLS += 1
            CACHE[CALLS] = x
            return CACHE[CALLS] / 2
        """),
    ),
    Attack(
        "a subclass of a module",
        "Scale with children, buffers and hooks of its own",
        FULL,
        {
            "Scale": text("""
            class Base(nn.Module):
                __slots__ = ()
                def __init__(self, size):
                    super().__init__()
                    self.register_buffer("calls", torch.zeros(1))
                    self.inner = nn.Identity()
            class Scale(Base):
                def __init__(self, size):
                    super().__init__(size)
                    self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))
                    self.register_forward_hook(lambda module, args, output: None)
                def forward(self, x):
                    self.calls += 1
                    return self.inner(torch.einsum("i,ni->ni", self.weight, x))
            """)
        },
    ),
    Attack(
        "an iterator class",
        "batches as a class with __iter__ and __next__, and as a generator expression",
        FULL,
        {
            "batches": text("""
            class batches:
                def __init__(self, x, size):
                    self.x, self.size, self.at = x, size, 0
                def __iter__(self): return self
                def __next__(self):
                    if self.at >= len(self.x):
                        raise StopIteration
                    self.at += self.size
                    return self.x[self.at - self.size : self.at]
            """)
        },
    ),
    Attack(
        "a list of batches",
        "all batches at once",
        FULL,
        {"batches": "def batches(x, size):\n    return list(x.split(size))\n"},
    ),
    Attack(
        "an optimiser for the step",
        "torch.optim.SGD and backward instead of grad",
        FULL,
        {
            "train_step": text("""
            def train_step(network, x, y, rate):
                network.train()
                optimiser = torch.optim.SGD(network.parameters(), lr=rate)
                optimiser.zero_grad()
                nn.functional.mse_loss(network(x), y).backward()
                optimiser.step()
                return network
            """)
        },
    ),
    Attack(
        "a new network for the step",
        "a copy is changed and returned",
        FULL,
        {
            "train_step": text("""
            import copy
            def train_step(network, x, y, rate):
                network = copy.deepcopy(network)
                loss = ((network(x) - y) ** 2).mean()
                loss.backward()
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.sub_(rate * parameter.grad)
                return network
            """)
        },
    ),
    Attack(
        "processes and threads",
        "a thread pool, a subprocess and multiprocessing",
        FULL,
        half("""
        import subprocess, sys
        from concurrent.futures import ThreadPoolExecutor
        print(subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout)
        def one(v): return v / 2
        def half(x):
            with ThreadPoolExecutor(4) as pool:
                return np.array(list(pool.map(one, x)))
        """),
    ),
    Attack(
        "a pool of processes",
        "multiprocessing with fork",
        FULL,
        half("""
        import multiprocessing
        def one(v): return v / 2
        def half(x):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return np.array(pool.map(one, x))
        """),
    ),
    Attack(
        "asynchronous",
        "await in a cell, and an event loop in the function",
        FULL,
        half("""
        import asyncio
        async def later(x):
            await asyncio.sleep(0)
            return x / 2
        print(await later(1.0))
        def half(x):
            return x / 2
        """),
    ),
    Attack(
        "text of the world",
        "names, strings and comments beyond ASCII",
        FULL,
        half("""
        # Die Hälfte — половина — 半分 — نصف 🥥
        α = 0.5
        größe = f"{'½':>4} {α=} {'🥥'}"
        def half(x):
            \"\"\"½·x\"\"\"
            return x * α
        """),
    ),
    Attack(
        "errors elsewhere",
        "extra cells that raise, don't compile or use what isn't there",
        FULL,
        before=(
            "raise ValueError('an experiment that failed')",
            "def broken(:\n    pass",
            "undefined_name",
            "1 / 0",
            "assert False, 'on purpose'",
            "import not_installed",
        ),
    ),
    Attack(
        "its own checks",
        "asserts, doctest and unittest in cells of its own",
        FULL,
        after=(
            "assert np.allclose(half(np.ones(3)), 0.5)",
            "import doctest\ndoctest.testmod()",
            "import unittest\nunittest.main(argv=[''], exit=False)",
            "check('half')",
            "progress()",
        ),
    ),
    Attack(
        "a saved run",
        "outputs, execution counts and widgets in the notebook",
        FULL,
        edit=lambda n: (
            [
                cell.update(execution_count=i, outputs=[dict(output_type="stream", name="stdout", text="0.5\n" * 50)])
                for i, cell in enumerate(n["cells"])
                if cell["cell_type"] == "code"
            ]
            and None
        ),
    ),
    Attack(
        "large data",
        "arrays of tens of megabytes in cells and calls",
        FULL,
        half("""
        TABLE = np.random.default_rng(0).normal(size=(2000, 2000))
        def half(x):
            many = np.tile(x, 100_000)
            return many[: len(x)] / 2
        """),
    ),
    Attack(
        "extra arguments",
        "defaults, keywords and catch-alls",
        FULL,
        half("def half(x, *args, factor=0.5, **kwargs):\n    return factor * x\n"),
    ),
    Attack(
        "a function that is defined twice",
        "a first try above, in the same cell and in another",
        FULL,
        half("""
        def half(x):
            return x
        def half(x):
            return x / 2
        """),
        before=("def half(x):\n    return None",),
    ),
    Attack(
        "imports again",
        "everything imported anew, with stars and other names",
        FULL,
        before=(
            "from numpy import *\nfrom torch.nn.functional import *",
            "import numpy as np, torch, math, random, collections, scipy.linalg",
            "import importlib\nimportlib.reload(math)",
        ),
    ),
    Attack(
        "cells in another order",
        "solutions further down than they were",
        FULL,
        edit=lambda n: n["cells"].append(
            n["cells"].pop(
                next(
                    i
                    for i, cell in enumerate(n["cells"])
                    if cell["metadata"].get("nbgrader", {}).get("grade_id") == "solution_half"
                )
            )
        ),
    ),
    Attack(
        "an empty notebook's neighbour",
        "other notebooks, pictures and a data file beside it",
        FULL,
        files={
            "notes.ipynb": b"{}",
            "picture.png": b"\x89PNG",
            "data.csv": b"a,b\n1,2\n",
            "sub/a.txt": b"",
            ".ipynb_checkpoints/x.ipynb": b"{}",
        },
    ),
    Attack(
        "NumPy scalars",
        "numbers as numpy scalars inside lists and tuples",
        FULL,
        half("def half(x):\n    return tuple(np.float64(v) / np.int8(2) for v in x)\n"),
    ),
    Attack(
        "a half that counts",
        "float16 numbers would do for public cases only, so float128's neighbours are used",
        FULL,
        half("from fractions import Fraction as F\ndef half(x):\n    return np.array([float(F(v) / 2) for v in x])\n"),
    ),
    Attack(
        "time asked",
        "times, dates and the process's memory are looked at",
        FULL,
        half("""
        import datetime, os, platform, resource, time
        print(datetime.datetime.now(), platform.platform(), os.cpu_count())
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        def half(x):
            started = time.perf_counter()
            return x / 2
        """),
    ),
)
