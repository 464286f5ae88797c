"""A lab is tried before it is handed out: a blank notebook scores nothing, the solution everything, over the wire."""

import contextlib
import doctest
import io
from collections.abc import Collection
from typing import Any

import nutshell
from autograder.units import Source
from nutshell.checks import Check, Unit, answers_of, checks_of
from nutshell.errors import NutshellError, Refused
from nutshell.wire.channel import Loopback, load_replies
from nutshell.wire.running import OK, PUBLIC_SEED, Replies, Verdict, record, run_checks, try_answer
from nutshell.wire.standins import Implementation


def try_blank(source: Source, unit: Unit, notebook: Any) -> None:
    """Run the learner's notebook as it is released, and refuse it if a single check passes."""
    names, _ = run_cells(notebook)
    passed = [verdict for verdict in _verdicts(source, unit, names) if verdict.status == OK]
    if passed:
        found = "; ".join(f"{verdict.exercise} passes {verdict.check}" for verdict in passed)
        raise Refused(
            f"solutions/{source.unit.name}: a blank notebook scores: {found}. A check must need the learner's code."
        )


def try_solution(source: Source, unit: Unit, notebook: Any) -> None:
    """Run the instructor's notebook, and refuse it if a cell raises or a check, public or hidden, doesn't pass."""
    names, errors = run_cells(notebook)
    if errors:
        raise Refused(f"solutions/{source.unit.name}: with the solutions filled in, {errors[0]}.")
    for verdict in _verdicts(source, unit, names):
        if verdict.status != OK:
            said = f"({verdict.status}): expected {verdict.expected}, got {verdict.got}. {verdict.cause}"
            where = f"{verdict.exercise} fails {verdict.check}"
            raise Refused(f"solutions/{source.unit.name}: the solution doesn't score full: {where} {said}")


def try_reference(source: Source) -> None:
    """Refuse a reference whose examples don't run as written, or whose checks refuse another right answer."""
    tests = doctest.DocTestFinder().find(source.reference, globs=dict(vars(source.reference)))
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    said = io.StringIO()
    for test in tests:
        if runner.run(test, out=said.write).failed:
            raise Refused(f"{source.folder / 'reference.py'}: an example of {test.name} is wrong:\n{said.getvalue()}")
    if not (source.folder / "mutants.py").is_file():
        return
    for answer in answers_of(source.mutants):
        verdicts = try_answer(answer, checks_of(source.checks), source.reference) if answer.right else []
        for verdict in verdicts:
            if verdict.status != OK:
                raise Refused(
                    f"solutions/{source.unit.name}: {verdict.check} refuses {answer.implementation.__name__}, a right "
                    f"answer to {answer.exercise}: expected {verdict.expected}, got {verdict.got}. {verdict.cause}"
                )


def replies(source: Source, before: bytes | None = None, exercises: Collection[str] | None = None) -> bytes:
    """What the reference answers to the public checks, recorded for the desk.

    Parameters
    ----------
    source : Source
        The unit.
    before : bytes, optional
        What was recorded earlier. It is kept if it still serves, since on another machine the last bits of a result
        differ: the same questions, and the reference passes every check against it.
    exercises : collection of str, optional
        Those whose checks are wanted; all if left out.
    """
    public = [check for check in source.public_checks() if exercises is None or check.exercise in exercises]
    try:
        found = record(public, source.reference)
    except Exception as error:
        raise Refused(f"solutions/{source.unit.name}: the reference fails its own public checks: {error}") from error
    if before is not None and before != found and _still_serves(source, public, before, found):
        return before
    return found


def _still_serves(source: Source, public: list[Check], before: bytes, found: bytes) -> bool:
    try:
        questions = [
            [(check, [label for label, _ in pairs]) for check, pairs in load_replies(data).items()]
            for data in (before, found)
        ]
        if questions[0] != questions[1]:
            return False
        learner = over_the_wire(vars(source.reference))
        verdicts = run_checks(public, learner, Replies(before), PUBLIC_SEED, include_hidden=False)
    except NutshellError:  # a damaged file
        return False
    return all(verdict.status == OK for verdict in verdicts)


def _verdicts(source: Source, unit: Unit, names: dict[str, Any]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for exercise in unit.exercises:
        home = source.home(exercise.name)
        checks, reference = checks_of(home.checks, exercise.name), over_the_wire(vars(home.reference))
        verdicts += run_checks(checks, over_the_wire(names), reference, PUBLIC_SEED, authoring=True)
    return verdicts


def run_cells(notebook: Any) -> tuple[dict[str, Any], list[str]]:
    """Run a notebook's given and solution cells in a namespace of their own; experiments and checks are left out.

    Returns
    -------
    names : dict
        What the cells defined.
    errors : list of str
        One line for each cell that raised.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    errors = []
    with _without_a_desk(), contextlib.redirect_stdout(io.StringIO()):
        for cell in notebook.cells:
            marks = cell.metadata.get("nbgrader", {})
            if cell.cell_type != "code" or not (
                marks.get("solution") or marks.get("grade_id", "").startswith("given_")
            ):
                continue
            try:
                exec(compile(cell.source, f"<{marks.grade_id}>", "exec"), names)
            except Exception as error:
                errors.append(f"cell {marks.grade_id} raises {type(error).__name__}: {error}")
    return names, errors


def over_the_wire(names: dict[str, Any]) -> Implementation:
    """Stand-ins for what a namespace holds, over the in-process channel."""
    return Implementation(Loopback(dict(names)))


@contextlib.contextmanager
def _without_a_desk() -> Any:
    """The calls of a lab's first cell do nothing while a lab is tried."""
    names = ("check", "hand_in", "open_lab", "progress")
    for name in names:
        setattr(nutshell, name, lambda *arguments, **keywords: None)
    try:
        yield
    finally:
        for name in names:
            delattr(nutshell, name)
