"""What a unit is made of: exercises, budgets, checks, wrong answers and other right ones.

``solutions/<unit>/checks.py`` holds a ``UNIT`` and its checks, ``solutions/<unit>/mutants.py`` its mutants and
alternatives; all of them are made with the definitions below. How a check says what it expects is in
:mod:`nutshell.expect`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

_KIND = "__nutshell_kind__"


@dataclass(frozen=True)
class Exercise:
    """One thing to write: a function or class of the reference library, by its name.

    Attributes
    ----------
    name : str
        Name in ``reference.py``.
    points : float
        Marks for it, shared among its checks by their weights; 0 for an extension.
    minutes : int
        How long it takes a learner.
    difficulty : int
        1 to 3, shown as stars.
    extension : bool
        Extensions carry no points unless ``classroom.toml`` says so.
    unit : str
        Name of the unit that lends it (see :meth:`Unit.lend`); empty for a unit's own exercise.
    """

    name: str
    points: float
    minutes: int
    difficulty: int = 1
    extension: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Limit:
    """One limit of a budget: full marks up to ``at_most``, then a straight line to none at ``at_most + margin``.

    Attributes
    ----------
    metric : str
        One of :data:`nutshell.budget.METRICS`; another name is an error, never ignored.
    at_most : float
        The limit, in the metric's own unit.
    margin : float, optional
        Where the marks end; a tenth of the limit if left out. Half a point for errors in percent.
    layer : int, optional
        For a metric of one layer: its number in the topology, from 1.
    """

    metric: str
    at_most: float
    margin: float | None = None
    layer: int | None = None

    def __post_init__(self) -> None:
        from nutshell.budget import check_limit  # which knows the metrics

        check_limit(self)


@dataclass(frozen=True)
class Budget:
    """A network to hand in as one ``.nut`` file, inside limits that the grader measures itself.

    Attributes
    ----------
    name : str
        Name of its check: ``check("first_layer")``.
    points : float
        Marks; multiplied by the smallest share that any of the limits leaves.
    file : str
        Name of the file handed in, beside the notebook.
    data : str
        Data set of :mod:`nutshell.data` on whose images it is measured.
    topology : str
        Name of the network that it must be a compressed form of, or that it is compared with.
    limits : tuple of Limit
        All must hold for full marks.
    minutes : int
        How long it takes a learner.
    shrunk : bool
        Whether layers may be narrower than the topology's, as after pruning neurons; its inputs and outputs stay.
    any_network : bool
        Whether it may be any other network with the topology's inputs and outputs, as for architectures of one's own.
    """

    name: str
    points: float
    file: str
    data: str
    topology: str
    limits: tuple[Limit, ...]
    minutes: int = 20
    shrunk: bool = False
    any_network: bool = False


@dataclass(frozen=True)
class Unit:
    """A unit of the course.

    Attributes
    ----------
    number : int
        Number in file names: ``03`` in ``labs/03_low_rank``.
    name : str
        Name of its package in ``solutions``: ``low_rank``.
    title : str
        What people read: ``Low rank``.
    exercises : tuple of Exercise
        In the order of the lab.
    budgets : tuple of Budget
        What is handed in.
    """

    number: int
    name: str
    title: str
    exercises: tuple[Exercise, ...]
    budgets: tuple[Budget, ...] = ()

    @property
    def folder(self) -> str:
        """Name of the lab's folder, of its notebook and of its nbgrader assignment.

        Examples
        --------
        >>> Unit(3, "low_rank", "Low rank", ()).folder
        '03_low_rank'
        """
        return f"{self.number:02d}_{self.name}"

    def exercise(self, name: str) -> Exercise:
        """Find an exercise by name; ``KeyError`` names the ones there are."""
        for exercise in self.exercises:
            if exercise.name == name:
                return exercise
        raise KeyError(f"{self.name} has no exercise {name!r}; it has {', '.join(e.name for e in self.exercises)}.")

    def lend(self, name: str, **changes: Any) -> Exercise:
        """An exercise of this unit for the list of another: there it has the same reference, checks and answers.

        Parameters
        ----------
        name : str
            The exercise.
        **changes
            What is otherwise there: points, minutes, difficulty.

        Examples
        --------
        >>> unit = Unit(3, "low_rank", "Low rank", (Exercise("truncate", points=2, minutes=10),))
        >>> unit.lend("truncate", minutes=6)
        Exercise(name='truncate', points=2, minutes=6, difficulty=1, extension=False, unit='low_rank')
        """
        exercise = self.exercise(name)
        return replace(exercise, unit=exercise.unit or self.name, **changes)


def unit_from_data(data: dict[str, Any]) -> Unit:
    """A unit from what ``dataclasses.asdict`` made of it, or JSON of that.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> unit = Unit(3, "low_rank", "Low rank", (Exercise("truncate", points=2, minutes=10),))
    >>> unit_from_data(asdict(unit)) == unit
    True
    """
    budgets = [Budget(**{**budget, "limits": tuple(Limit(**limit) for limit in budget["limits"])})
               for budget in data["budgets"]]
    exercises = tuple(Exercise(**exercise) for exercise in data["exercises"])
    return Unit(data["number"], data["name"], data["title"], exercises, tuple(budgets))


@dataclass(frozen=True)
class Check:
    """A check with what the decorator said of it; ``function(learner, reference, rng)`` returns or raises."""

    exercise: str
    function: Callable[[Any, Any, Any], None]
    hidden: bool
    weight: float

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def title(self) -> str:
        """First line of the docstring: the property in words, shown to the learner."""
        return (self.function.__doc__ or self.name.replace("_", " ")).strip().splitlines()[0]


@dataclass(frozen=True)
class Answer:
    """An implementation of one exercise that is not the reference: a mutant (wrong) or an alternative (right)."""

    exercise: str
    implementation: Any
    right: bool

    @property
    def title(self) -> str:
        """First line of the docstring: what is wrong, or how it is done."""
        return (self.implementation.__doc__ or self.implementation.__name__.replace("_", " ")).strip().splitlines()[0]


def check(exercise: str, *, hidden: bool = False, weight: float = 1.0) -> Callable:
    """Mark a function ``(learner, reference, rng)`` as a check of an exercise.

    ``learner`` and ``reference`` have the exercises as attributes; both are stand-ins, so only plain data, modules
    that they return, and what :mod:`nutshell.wire` documents can cross. ``rng`` is a ``numpy.random.Generator``. A
    check calls the learner's code for its own exercise only, and what it asks of the reference may not depend on the
    learner's answers, since the desk replays the reference. Its docstring's first line states the property in words.

    Parameters
    ----------
    exercise : str
        Name of the exercise.
    hidden : bool
        Hidden checks run at grading only, with a generator seeded by the classroom's secret.
    weight : float
        Share of the exercise's points, relative to its other checks.
    """

    def mark(function: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
        setattr(function, _KIND, Check(exercise, function, hidden, weight))
        return function

    return mark


def mutant(exercise: str) -> Callable:
    """Mark a function or class as a wrong answer that learners would really write; the docstring says what is wrong."""
    return _mark_answer(exercise, right=False)


def alternative(exercise: str) -> Callable:
    """Mark a function or class as a right answer written another way, which all checks must accept."""
    return _mark_answer(exercise, right=True)


def checks_of(module: ModuleType, exercise: str | None = None) -> list[Check]:
    """The checks of a module in the order they are written, all or those of one exercise."""
    found = [getattr(item, _KIND, None) for item in vars(module).values()]
    return [c for c in found if isinstance(c, Check) and exercise in (None, c.exercise)]


def answers_of(module: ModuleType) -> list[Answer]:
    """The mutants and alternatives of a module in the order they are written."""
    found = [vars(item).get(_KIND) for item in vars(module).values() if callable(item) and hasattr(item, "__dict__")]
    return [a for a in found if isinstance(a, Answer)]


def _mark_answer(exercise: str, right: bool) -> Callable:
    def mark(implementation: Any) -> Any:
        setattr(implementation, _KIND, Answer(exercise, implementation, right))
        return implementation

    return mark
