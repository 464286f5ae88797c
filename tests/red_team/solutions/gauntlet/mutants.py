"""One wrong answer, since every unit has some; the red team's own are in its catalogue."""

from nutshell.checks import mutant


@mutant("half")
def whole(x):
    """Nothing is halved"""
    return x
