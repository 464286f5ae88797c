"""Graders are tested by answers: mutants, which some check must reject, and alternatives, which all must accept.

Each answer runs twice: called directly, and over the wire as in grading. Where the two disagree, the check can't be
trusted, so both must say the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from autograder.units import Source
from nutshell.checks import Answer, Exercise, answers_of, checks_of
from nutshell.wire.running import try_answer

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
    """One answer, judged both ways; ``answer`` is its function's name and ``title`` what is wrong or different."""

    unit: str
    exercise: str
    answer: str
    title: str
    right: bool
    directly: Judged
    over_wire: Judged

    @property
    def kind(self) -> str:
        return "alternative" if self.right else "mutant"

    @property
    def as_wanted(self) -> bool:
        """Whether both ways accepted an alternative or rejected a mutant, with a message."""
        ways = (self.directly, self.over_wire)
        return all(way.accepted == self.right and (self.right or bool(way.message)) for way in ways)

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind, "as_wanted": self.as_wanted}


def judge_answer(source: Source, answer: Answer) -> Outcome:
    """Run all checks of an answer's exercise on it, directly and over the wire."""
    directly, over_wire = (_judge(source, answer, wire) for wire in (False, True))
    name = answer.implementation.__name__
    return Outcome(source.unit.name, answer.exercise, name, answer.title, answer.right, directly, over_wire)


def judge_all(sources: Iterable[Source]) -> Iterator[Outcome]:
    """Every answer of the units, in the order they are written."""
    for source in sources:
        for answer in answers_of(source.mutants):
            yield judge_answer(source, answer)


def too_few(source: Source) -> list[str]:
    """Exercises with fewer answers than the syllabus asks: 3 mutants and 2 alternatives, for an extension 2 and 1."""
    answers = answers_of(source.mutants)
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
    for verdict in try_answer(answer, checks_of(source.checks), source.reference, wire=wire, seed=SEED):
        if not verdict.passed:
            said = f"expected {verdict.expected}, got {verdict.got}."
            return Judged(False, verdict.check, " ".join(filter(None, (said, verdict.cause, verdict.next_step))))
    return Judged(True)
