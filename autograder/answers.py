"""Graders are tested by answers: mutants, which some check must reject, and alternatives, which all must accept.

Each answer runs twice: called directly, and over the wire as at the desk; where it is asked for, a third time as a
learner's cell, graded in a sandbox. Where two ways disagree, the check can't be trusted, so all must say the same.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from autograder.desk_half import desk_files
from autograder.notebooks import source_notebook
from autograder.stubs import bound_names, needed_names
from autograder.units import Source
from autograder.verdicts import Cell, Submission, Task
from nutshell.checks import Answer, Exercise, checks_of
from nutshell.errors import Trouble
from nutshell.wire.running import Verdict, try_answer

if TYPE_CHECKING:
    from autograder.sandbox import Sandbox

SEED = 20260101  # of the hidden checks here; a classroom draws its own


@dataclass(frozen=True)
class Judged:
    """What the checks said of an answer on one way.

    Attributes
    ----------
    accepted : bool
        Whether all checks passed.
    check : str
        The first check that didn't, empty if all did.
    message : str
        What it said to the learner.
    """

    accepted: bool
    check: str = ""
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """One answer, judged in two ways or three.

    ``answer`` is its function's name and ``title`` what is wrong or different; ``in_sandbox`` is None if it wasn't run
    there.
    """

    unit: str
    exercise: str
    answer: str
    title: str
    right: bool
    directly: Judged
    over_wire: Judged
    in_sandbox: Judged | None = None

    @property
    def ways(self) -> tuple[Judged, ...]:
        """What was said of it, one way after the other."""
        return tuple(way for way in (self.directly, self.over_wire, self.in_sandbox) if way is not None)

    @property
    def kind(self) -> str:
        return "alternative" if self.right else "mutant"

    @property
    def as_wanted(self) -> bool:
        """Whether all ways accepted an alternative or rejected a mutant, with a message."""
        return all(way.accepted == self.right and (self.right or bool(way.message)) for way in self.ways)

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind, "as_wanted": self.as_wanted}


def judge_answer(source: Source, answer: Answer, box: "Sandbox | None" = None) -> Outcome:
    """Run all checks of an answer's exercise on it: directly, over the wire and, given one, in a sandbox."""
    directly, over_wire = (_judge(source, answer, wire) for wire in (False, True))
    in_sandbox = None if box is None else _judge_in_sandbox(source, answer, box)
    name = answer.implementation.__name__
    return Outcome(source.unit.name, answer.exercise, name, answer.title, answer.right, directly, over_wire, in_sandbox)


def judge_all(sources: Iterable[Source], box: "Sandbox | None" = None) -> Iterator[Outcome]:
    """Every answer of the units, in the order they are written."""
    for source in sources:
        for answer in source.answers():
            yield judge_answer(source, answer, box)


def text_of(answer: Answer) -> str:
    """An answer as a learner would have written it in a cell.

    Returns
    -------
    str
        The function or class under the exercise's name, without decorator and docstring (which says what is wrong),
        after those definitions of its module that it uses.
    """
    own = ast.parse(inspect.getsource(answer.implementation)).body[0]
    assert isinstance(own, ast.FunctionDef | ast.ClassDef)
    source = inspect.getsourcefile(answer.implementation)
    with open(source or "", encoding="utf-8") as file:
        definitions = _definitions(file.read())
    used: set[str] = set()
    pending = needed_names(ast.unparse(_bare(own))) & set(definitions)
    while pending:
        used |= pending
        needed = set().union(*(needed_names(ast.unparse(definitions[name])) for name in pending))
        pending = (needed & set(definitions)) - used
    own.name = answer.exercise
    return "\n\n\n".join(ast.unparse(node) for node in (*(definitions[n] for n in definitions if n in used), own))


def not_given(source: Source, answer: Answer) -> set[str]:
    """Names that an answer's text uses and its lab's given cells don't bind; empty if a cell can hold it."""
    return needed_names(text_of(answer)) - set().union(*map(bound_names, given_cells(source).values()))


@lru_cache(maxsize=64)
def given_cells(source: Source) -> Mapping[str, str]:
    """The cells of a unit's lab that are given to learners, by name."""
    cells = source_notebook(source, source.unit).cells
    named = ((cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source) for cell in cells)
    return {name: text for name, text in named if name.startswith("given_")}


def _definitions(module: str) -> dict[str, ast.stmt]:
    """What a module defines at its top level, by name; imports are none of it, since a lab has its own."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = _bare(node)
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def _bare(node: ast.FunctionDef | ast.ClassDef) -> ast.FunctionDef | ast.ClassDef:
    """Without decorators and docstring."""
    node.decorator_list = []
    if len(node.body) > 1 and ast.get_docstring(node):
        del node.body[0]
    return node


def too_few(source: Source) -> list[str]:
    """Exercises with fewer answers than the syllabus asks: 3 mutants and 2 alternatives, for an extension 2 and 1."""
    answers = source.answers()
    found = []
    for exercise in source.unit.exercises:
        wrong = sum(answer.exercise == exercise.name and not answer.right for answer in answers)
        right = sum(answer.exercise == exercise.name and answer.right for answer in answers)
        mutants, alternatives = wanted(exercise)
        if wrong < mutants or right < alternatives:
            found.append(
                f"{exercise.name} has {wrong} mutants and {right} alternatives; it needs {mutants} and {alternatives}"
            )
    known = {exercise.name for exercise in source.unit.exercises}
    found += sorted({f"{a.exercise} is no exercise of {source.unit.name}" for a in answers if a.exercise not in known})
    return found


def wanted(exercise: Exercise) -> tuple[int, int]:
    """How many mutants and alternatives an exercise must have at least."""
    return (2, 1) if exercise.extension else (3, 2)


def _judge(source: Source, answer: Answer, wire: bool) -> Judged:
    home = source.home(answer.exercise)
    for verdict in try_answer(answer, checks_of(home.checks), home.reference, wire=wire, seed=SEED):
        if not verdict.passed:
            return _rejected(verdict)
    return Judged(True)


def _judge_in_sandbox(source: Source, answer: Answer, box: "Sandbox") -> Judged:
    """Grade a submission that holds the given cells and this answer, and nothing else."""
    from autograder import judge

    unit = replace(source.unit, exercises=(source.unit.exercise(answer.exercise),), budgets=())
    cells = [Cell(name, text) for name, text in given_cells(source).items()]
    cells.append(Cell(f"solution_{answer.exercise}", text_of(answer)))
    submission = Submission("answer", unit.folder, tuple(cells), _desk(source), {}, digest="")
    verdict = judge.grade(Task(unit, submission, SEED, key=""), box)
    if verdict.cells:
        error = verdict.cells[0]
        raise Trouble(f"The cell {error.cell} of {unit.folder} failed in the sandbox: {error.status}. {error.text}")
    for check in verdict.exercises[0].checks:
        if not check.passed:
            return _rejected(check)
    return Judged(True)


@lru_cache(maxsize=64)
def _desk(source: Source) -> Mapping[str, bytes]:
    """What lies beside a released lab, by its path."""
    return {f"desk/{name}": content for name, content in desk_files(source).items()}


def _rejected(verdict: Verdict) -> Judged:
    said = f"expected {verdict.expected}, got {verdict.got}."
    return Judged(False, verdict.check, " ".join(filter(None, (said, verdict.cause, verdict.next_step))))
