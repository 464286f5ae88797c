"""What is wrong with a file, or with a network that should become one."""

from nutshell.errors import Refused


class BadArtefact(Refused):
    """A ``.nut`` file that is damaged, too large, or says something that isn't allowed.

    Attributes
    ----------
    where : str
        The place in the file: ``"header"``, ``"node conv1"``, ``"tensor fc1.weight"``.
    what : str
        What is wrong there, and the rule.
    """

    def __init__(self, where: str, what: str, file: str = "") -> None:
        self.where, self.what = where, what
        super().__init__(": ".join(part for part in (file, where, what) if part))


class CannotSave(Refused):
    """A network that a ``.nut`` file can't express; the message names the module and what can be expressed."""
