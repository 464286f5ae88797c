"""Names in a class report: as they are, or replaced by pseudonyms that only the classroom's secret can connect."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable

from autograder.class_gradebook import Person

HIDDEN = "(…)"  # in place of a name in a learner's text
_WORD = re.compile(r"[^\W_]+")
_SHORTEST = 3  # letters of a name that is looked for in other text; a shorter one would hide ordinary words


def pseudonym(student: str, seed: int) -> str:
    """``learner-`` and ten letters or digits: always the same in one classroom, another one in the next.

    Parameters
    ----------
    student : str
        Name.
    seed : int
        The classroom's secret, below 2¹²⁸; without it, nobody can tell whose pseudonym it is, not by trying all names.

    Examples
    --------
    >>> pseudonym("ada", 1)
    'learner-ikiubm2hrb'
    """
    key = hashlib.sha256(b"nutshell report: names\0" + seed.to_bytes(16, "big")).digest()
    digest = hmac.new(key, student.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return "learner-" + base64.b32encode(digest)[:10].decode().lower()


class Names:
    """How people are called in one report.

    Parameters
    ----------
    people : iterable of Person
        Everybody.
    seed : int, optional
        The classroom's secret; given, names are hidden.
    """

    def __init__(self, people: Iterable[Person], seed: int | None = None) -> None:
        self.hidden, self._seed = seed is not None, seed
        self._people = {person.student: person for person in people}
        self._shown: dict[str, str] = {}
        names = (name for one in self._people.values() for name in (one.student, one.first, one.last))
        self._words = {word.casefold() for name in names for word in _WORD.findall(name) if _long(word)}

    def __call__(self, student: str) -> str:
        """What a student is called."""
        if self._seed is None:
            return student
        if student not in self._shown:
            self._shown[student] = pseudonym(student, self._seed)
        return self._shown[student]

    def full(self, student: str) -> tuple[str, str]:
        """First and last name; empty where they are unknown or hidden."""
        person = self._people.get(student)
        return ("", "") if self.hidden or person is None else (person.first, person.last)

    def hide(self, text: str, student: str = "") -> str:
        """A learner's text with known names taken out, those of ``student`` even inside words.

        No pseudonym is put in their place: where the word can be guessed, it would tell whose that is.
        """
        if not self.hidden or not text:
            return text
        person = self._people.get(student, Person(student))
        for name in sorted({person.student, person.first, person.last}, key=len, reverse=True):
            if _long(name):
                text = re.sub(re.escape(name), HIDDEN, text, flags=re.IGNORECASE)
        return _WORD.sub(lambda found: HIDDEN if found.group().casefold() in self._words else found.group(), text)


def _long(name: str) -> bool:
    return len(name) >= _SHORTEST and not (name.isdecimal() and len(name) < 5)
