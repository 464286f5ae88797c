"""nbgrader's gradebook, read and written in bulk: the rows that ``nbgrader autograde`` leaves, many students at a time.

nbgrader's own calls ask the database for every single property, about 0.1 s a submission. Here its tables are read with
three queries an assignment, and written with one statement a table, in one transaction.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from autograder import gradebook_rows as rows
from autograder.entries import Entry, Graded, Layout
from nutshell.errors import Trouble

PATIENCE = 60.0  # seconds for a locked gradebook


class Gradebook:
    """The database of a classroom.

    Parameters
    ----------
    url : str
        nbgrader's ``db_url``; a relative file of SQLite's lies in the classroom, as for nbgrader.
    folder : Path
        The classroom.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = _absolute(url, folder)
        self._folder = folder
        try:
            self._engine = _engine(self.url)
        except (ImportError, SQLAlchemyError) as error:
            raise Trouble(
                f"nbgrader's db_url {self.url.render_as_string()} can't be used: {error}. For PostgreSQL: "
                "pip install psycopg2-binary"
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def layout(self, assignment: str) -> Layout:
        """How an assignment was released; ``Trouble`` if it wasn't."""
        found = self._patiently(lambda connection: rows.read_layout(connection, assignment))
        if found is None:
            raise Trouble(f"The gradebook doesn't know {assignment}. Run: nutshell classroom {self._folder}")
        return found

    def entries(self, layout: Layout, students: Iterable[str] | None = None) -> dict[str, Entry]:
        """The rows of these students, or of all, by student; who has none isn't in it."""
        wanted = None if students is None else list(students)
        return self._patiently(lambda connection: rows.read_entries(connection, layout, wanted))

    def people(self) -> list[tuple[str, str | None, str | None]]:
        """All students that nbgrader knows: name, first and last name, ``None`` where it has none."""
        return self._patiently(rows.read_people)

    def write(
        self, layout: Layout, graded: Iterable[Graded], penalty: Callable[[str, float, float], float | None]
    ) -> dict[str, Entry]:
        """Write marks, comments, times and penalties of many submissions, all of them or none.

        Parameters
        ----------
        layout : Layout
            The assignment.
        graded : iterable of Graded
            One for each student.
        penalty : callable
            Of student, marks and seconds late: marks to take off, or ``None``.

        Returns
        -------
        dict of str to Entry
            The rows as they are now, by student.
        """
        graded = list(graded)

        def write(connection: Connection) -> dict[str, Entry]:
            before = rows.read_entries(connection, layout, [item.student for item in graded], lock=True)
            after = {item.student: rows.marked(layout, before.get(item.student), item, penalty) for item in graded}
            rows.insert_missing(connection, layout, before, after)
            rows.update_changed(connection, before, after)
            return after

        return self._patiently(write)

    def _patiently(self, work: Callable[[Connection], Any]) -> Any:
        """Do work in one transaction; while somebody else holds the gradebook, try again for :data:`PATIENCE`."""
        start, wait, clashes = time.monotonic(), 0.05, 0
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                left = start + PATIENCE - time.monotonic()
                clashes += isinstance(error, IntegrityError)  # a row that somebody else made in the same moment
                if not ((_is_held(error) and left > 0) or 0 < clashes < 3):
                    raise self._trouble(error) from error
            time.sleep(max(0.0, min(wait, left)))
            wait = min(2 * wait, 2.0)

    def _trouble(self, error: DBAPIError) -> Trouble:
        said = str(error.orig).strip()
        what = f"The gradebook {self.url.render_as_string()} "
        if _is_held(error):
            where = f" On Linux, fuser {self.url.database} names the process." if _is_file(self.url) else ""
            return Trouble(
                f"{what}was in use by others for {PATIENCE:.0f} seconds ({said}): another nbgrader command, formgrader "
                f"or a program that looks into the database.{where} Nothing is lost; end it, and grade again."
            )
        if "full" in said:
            return Trouble(f"{what}can't be written: {said}. Make room and grade again; nothing is lost.")
        if "no such table" in said or "does not exist" in said:
            return Trouble(f"{what}isn't ready ({said}). Run: nutshell classroom {self._folder}")
        return Trouble(f"{what}can't be used: {said}. Nothing was changed.")


def _absolute(url: str, folder: Path) -> URL:
    parsed = make_url(url)
    if _is_file(parsed) and not Path(parsed.database or "").is_absolute():
        return parsed.set(database=str(folder / (parsed.database or "")))
    return parsed


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def _engine(url: URL) -> Engine:
    """A connection that waits a second for a lock: short, so that Ctrl-C is heard; the patience is above."""
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url)
        if url.get_backend_name() == "postgresql":
            wait = "SET LOCAL lock_timeout = '1s'"
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(wait))
        return engine
    engine = create_engine(url, connect_args={"timeout": 1})

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def take_the_lock_at_once(connection: Connection) -> None:  # what is read stays true until it is written
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _is_held(error: DBAPIError) -> bool:
    """Whether somebody else has the gradebook, or it can't be reached just now."""
    said = str(error.orig).lower()
    words = ("locked", "busy", "lock timeout", "deadlock", "connect")
    return isinstance(error, OperationalError) and any(word in said for word in words)


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Gradebook]:
    """The gradebook, closed in the end."""
    gradebook = Gradebook(url, folder)
    try:
        yield gradebook
    finally:
        gradebook.close()
