"""Errors that a person can act on. The command line prints their message and ends with their exit code."""


class NutshellError(Exception):
    """Base of the errors that carry a message for a person; the message names the value, the rule and the way out.

    Examples
    --------
    >>> Refused.exit_code, WrongUse.exit_code, Trouble.exit_code
    (1, 2, 3)
    """

    exit_code = 1


class Refused(NutshellError):
    """The answer is no: a stale file, a damaged artefact, a check that fails."""

    exit_code = 1


class WrongUse(NutshellError):
    """The call itself was wrong: an unknown name, a missing folder, a key that doesn't exist."""

    exit_code = 2


class Trouble(NutshellError):
    """The grader's or the machine's own trouble, never the learner's."""

    exit_code = 3
