"""The judge, over an in-process channel: statuses, restarts, time, budgets; the sandbox has its own tests."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from autograder import children, judge
from autograder.verdicts import Cell, Submission, Task
from nutshell.errors import Trouble
from nutshell.wire.channel import Ended
from nutshell.wire.harness import Harness

HALF = "import numpy as np\ndef half(x):\n    return 0.5 * np.asarray(x)\n"
CLIP = ("import numpy as np\ndef clip_at(x, limit):\n    if limit < 0:\n        raise ValueError('below 0')\n"
        "    return np.minimum(x, limit)\n")


@dataclass
class Child:
    """A child in this process that can be told to end when its code says so."""

    box: "Box"
    harness: Harness
    open: bool = True

    def request(self, label, message):
        assert self.open, "a child that has ended was asked again"
        self.box.asked.append(label)
        reply = self.harness.answer(message)
        status = self.harness.namespace.get("ending")
        if status == "LOST":
            raise Trouble("the sandbox is gone")
        if status:
            self.open = False
            raise Ended(status, "as the test wants")
        return reply

    def close(self):
        self.open = False
        self.box.closed += 1


class Box:
    level, limited_by = "bubblewrap", "watchdog"

    def __init__(self, seconds=60.0):
        self.limits = SimpleNamespace(submission=seconds, request=20.0)
        self.asked, self.started, self.closed = [], 0, 0

    def child(self, files, seconds):
        self.started += 1
        return Child(self, Harness({"__name__": "__main__"}))


def graded(tiny, *cells, box=None, **replaced):
    source = tiny(**replaced)
    submission = Submission("ada", "01_tiny", tuple(Cell(f"cell {n}", c) for n, c in enumerate(cells, 1)), {}, {}, "d")
    box = box or Box()
    verdict = judge.grade(Task(source.unit, submission, 77, "key"), box)
    assert box.closed >= box.started
    return {item.name: item for item in verdict.exercises}, verdict, box


@pytest.fixture(autouse=True)
def nothing_remembered():
    judge._replies.cache_clear()
    yield
    judge._replies.cache_clear()


def test_right_answers_get_all_points_in_one_child(tiny):
    exercises, verdict, box = graded(tiny, HALF, CLIP)
    assert {name: (e.status, e.points) for name, e in exercises.items()} == {"half": ("OK", 2), "clip_at": ("OK", 3)}
    assert box.started == 1 and verdict.isolation == "bubblewrap" and verdict.points == verdict.possible == 5


def test_hidden_checks_run_and_cost_points(tiny):
    exercises, _, _ = graded(tiny, "import numpy as np\ndef half(x):\n    return np.where(np.abs(x) < 1e6, x / 2, x)")
    assert [(c.check, c.hidden, c.status) for c in exercises["half"].checks] == [
        ("half_is_half", False, "OK"), ("half_of_large_numbers", True, "WRONG")]
    assert exercises["half"].points == 1
    assert exercises["clip_at"].status == "NOT DONE" and exercises["clip_at"].points == 0


def test_a_cell_that_raises_is_told_and_stops_no_other(tiny):
    exercises, verdict, _ = graded(tiny, "1 / 0", HALF)
    assert exercises["half"].status == "OK"
    assert [(c.cell, c.status) for c in verdict.cells] == [("cell 1", "RAISED")]
    assert "ZeroDivisionError" in verdict.cells[0].text


def test_a_cell_that_ends_the_child_is_left_out_of_the_next(tiny):
    exercises, verdict, box = graded(tiny, HALF, "ending = 'CRASH'", CLIP)
    assert exercises["half"].status == exercises["clip_at"].status == "OK"
    assert [(c.cell, c.status) for c in verdict.cells] == [("cell 2", "CRASH")] and box.started == 2


def test_an_exercise_that_ends_the_child_costs_no_other(tiny):
    bad = "def half(x):\n    global ending\n    ending = 'MEMORY'\n"
    exercises, _, box = graded(tiny, bad, CLIP)
    assert [c.status for c in exercises["half"].checks] == ["MEMORY", "MEMORY"]
    assert exercises["clip_at"].status == "OK" and box.started == 3


def test_after_a_timeout_the_exercise_s_other_checks_are_not_tried(tiny):
    bad = "def half(x):\n    global ending\n    ending = 'TIMEOUT'\n"
    exercises, _, box = graded(tiny, bad, CLIP)
    assert [c.status for c in exercises["half"].checks] == ["TIMEOUT", "TIMEOUT"]
    assert sum(label.startswith("call half") for label in box.asked) == 1 and exercises["clip_at"].points == 3


def test_a_submission_s_time_ends_for_all_that_is_left(tiny):
    exercises, _, box = graded(tiny, HALF, CLIP, box=Box(seconds=0.0))
    assert {e.status for e in exercises.values()} == {"TIMEOUT"} and box.started == 0


def test_code_that_ends_every_child_ends_the_submission(tiny):
    cells = ["ending = 'CRASH'"] * (children.MOST_STARTS + 3)
    exercises, _, box = graded(tiny, *cells, HALF)
    assert exercises["half"].status == "CRASH" and exercises["half"].points == 0 and box.started == children.MOST_STARTS


def test_the_grader_s_own_trouble_is_never_a_verdict(tiny):
    with pytest.raises(Trouble, match="the sandbox is gone"):
        graded(tiny, "def half(x):\n    global ending\n    ending = 'LOST'\n")


def test_a_check_that_the_reference_fails_is_trouble_and_no_verdict(tiny):
    with pytest.raises(Trouble, match="the reference fails its own check half_of_large_numbers"):
        graded(tiny, HALF, checks=("x = 1e9 * rng.normal(size=5) + SECRET", "raise ValueError('oops')"))


def test_a_missing_file_is_not_done_and_a_hostile_one_refused(tiny):
    from nutshell.checks import Budget, Limit

    budget = Budget("size", 4.0, "net.nut", "mnist", "lenet-300-100", (Limit("bytes", 1000),))
    for content, status in ((None, "NOT DONE"), (b"PK\x03\x04", "REFUSED"), (b"", "REFUSED")):
        files = {} if content is None else {"net.nut": content}
        verdict, flags = judge._budget(budget, Submission("ada", "x", (), files, {}, ""))
        assert (verdict.status, verdict.points, verdict.possible, flags) == (status, 0.0, 4.0, []) and verdict.reason


def test_every_public_check_comes_before_the_first_hidden_one(tiny):
    telling = "seen = []\n" + HALF.replace("    return", "    seen.append(abs(x).max())\n    return") + (
        "def clip_at(x, limit):\n    raise KeyError(max(seen, default=0))\n")
    exercises, _, _ = graded(tiny, telling)
    assert exercises["half"].status == "OK" and exercises["clip_at"].status == "RAISED"
    assert float(exercises["clip_at"].checks[0].got.split()[1]) < 100


def test_what_cells_say_after_a_hidden_check_is_dropped(tiny):
    spoken = HALF.replace("    return", "    global ending\n    ending = abs(x).max() > 1e6 and 'CRASH'\n    return")
    box = Box()
    child = box.child
    box.child = lambda files, seconds: _with_name(child(files, seconds), "starts", box)
    exercises, verdict, _ = graded(tiny, "if starts > 1:\n    raise ValueError('seen')", spoken, box=box)
    assert exercises["half"].status == "CRASH" and box.started > 1 and verdict.cells == ()


def _with_name(child, name, box):
    child.harness.namespace[name] = box.started
    return child


def test_what_an_exercise_leaves_behind_costs_no_other(tiny):
    vandal = HALF.replace("    return", "    globals()['np'] = None\n    return")
    vandal += CLIP.removeprefix("import numpy as np\n")
    vandal = vandal.replace("0.5 * np.asarray(x)", "0.5 * x")
    exercises, _, box = graded(tiny, vandal)
    assert exercises["half"].status == exercises["clip_at"].status == "OK" and box.started == 2


def test_a_stub_is_not_tried_twice(tiny):
    exercises, _, box = graded(tiny, HALF, "def clip_at(x, limit):\n    raise NotImplementedError('Write it.')\n")
    assert exercises["clip_at"].status == "NOT DONE" and box.started == 1


def test_an_exercise_that_its_cell_never_defined_says_why(tiny):
    source = tiny()
    cells = (Cell("solution_half", "raise SystemExit(0)\n" + HALF), Cell("solution_clip_at", "def clip_at(:"))
    verdict = judge.grade(Task(source.unit, Submission("ada", "01_tiny", cells, {}, {}, "d"), 77, "key"), Box())
    half, clip = verdict.exercises
    assert half.status == clip.status == "RAISED" and half.points == clip.points == 0
    assert "SystemExit" in half.checks[0].got and "SyntaxError" in clip.checks[0].got
    assert half.checks[0].next_step == clip.checks[0].next_step == judge.MEND


def test_the_calls_of_one_check_are_bounded_together(monkeypatch):
    class Channel:
        def request(self, label, message):
            return bytes(100)

    monkeypatch.setattr(children, "MOST_BYTES", 250)
    link = children.Link(Channel(), seconds=60)
    assert link.request("a", b"") and link.request("b", b"")
    with pytest.raises(Ended, match="250 bytes") as over:
        link.request("c", b"")
    assert over.value.status == "OUTPUT" and link.ended
    late = children.Link(Channel(), seconds=-1)
    with pytest.raises(Ended, match="together took longer") as over:
        late.request("a", b"")
    assert over.value.status == "TIMEOUT" and late.ended


def test_a_comparison_that_would_take_all_memory_fails_alone():
    import resource

    import numpy as np
    import torch

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with children.bounded_memory(1 << 28):
        assert torch.ones(1 << 20).sum() == 1 << 20
        with pytest.raises((MemoryError, RuntimeError)):
            torch.zeros(1 << 20, 1, dtype=torch.float64) - torch.zeros(1, 1000, dtype=torch.float64)
        with pytest.raises(MemoryError):
            np.ones(1 << 20)[:, None] * np.ones(1000)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_looking_at_an_answer_takes_no_longer_than_it_may(tiny):
    class Slow(Box):
        def __init__(self):
            super().__init__()
            self.limits = SimpleNamespace(submission=60.0, request=0.05)

    def endless():
        with pytest.raises(Ended) as over, children.bounded_time(0.1):
            while True:
                try:
                    sum(range(10**5))
                except Ended:
                    if endless_rings.append(1) or len(endless_rings) > 1:
                        raise
        return over.value.status

    endless_rings: list[int] = []
    assert endless() == "TIMEOUT" and len(endless_rings) == 2
    patient = "got = learner.half(x)\n        while type(got) is str:\n            pass"
    exercises, _, _ = graded(tiny, "def half(x):\n    return 'wait'", CLIP, box=Slow(), checks=(
        'expect.close(2 * learner.half(x), x, "twice the half")', patient))
    assert exercises["half"].status == "TIMEOUT" and exercises["clip_at"].status == "OK"
