"""All attacks and controls, by the classes of ``red-team.md`` and some more."""

from tests.red_team.attack import Attack
from tests.red_team.catalogue import (
    controls,
    disarming,
    eating_the_machine,
    ending_early,
    hand_ins,
    leaks,
    lying_objects,
    markup,
    never_ending,
    reaching_out,
    reading_answers,
    strange_scores,
    tampered_notebooks,
    unlisted,
    writing_marks,
)

ATTACKS: list[Attack] = [
    *lying_objects.ATTACKS,
    *reading_answers.ATTACKS,
    *writing_marks.ATTACKS,
    *disarming.ATTACKS,
    *strange_scores.ATTACKS,
    *ending_early.ATTACKS,
    *never_ending.ATTACKS,
    *eating_the_machine.ATTACKS,
    *reaching_out.ATTACKS,
    *tampered_notebooks.ATTACKS,
    *hand_ins.ATTACKS,
    *markup.ATTACKS,
    *leaks.ATTACKS,
    *unlisted.ATTACKS,
]
CONTROLS: list[Attack] = controls.CONTROLS
SLOW = frozenset(  # each takes seconds and resembles another: the command runs them, the tests don't
    (
        "four endless cells",
        "memory in many children",
        "tensors",
        "a list that grows",
        "a list that grows and swallows",
        "recursion without a limit",
        "recursion in C",
        "large batches without end",
        "the judge's memory by batches",
        "a batch that never comes",
        "an attribute that never comes",
        "displays without end",
        "writes without end",
        "counting in C",
        "a huge power",
        "asleep",
        "memory in sockets",
        "shared memory",
        "a socket in /tmp",
        "a file of the largest size",
    )
)
