"""What can go wrong on the wire, by whose fault it is."""

from nutshell.errors import NutshellError
from nutshell.expect import CheckFailed


class CannotCross(NutshellError):
    """The author's error: a check does what the wire can't carry. The message says what to do instead."""

    exit_code = 3


class OverBounds(NutshellError):
    """What the learner's end sent is over the bounds of a message, or no message at all: the verdict OUTPUT."""


class NotPlainData(CheckFailed):
    """A learner's object was used as a value; only plain data can be compared."""


class Missing(NutshellError, AttributeError):
    """The exercise isn't there: the verdict NOT DONE."""


class MissingAttribute(CheckFailed, AttributeError):
    """An object that the learner's code returned lacks an attribute."""
