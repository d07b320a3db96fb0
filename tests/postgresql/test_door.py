"""The door to the database and its writer, as tests/store tests them on SQLite, on PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest
from tests.postgres import Server
from tests.store.conftest import Work, add, notes
from tests.store.test_database import *  # noqa: F403 - each of its tests is one of this file
from tests.store.test_writer import *  # noqa: F403
from tests.store.test_writer import in_one_batch

from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.transaction import Conflict, Tx

NOTES = Migration(1, "0001_notes.sql", """
CREATE TABLE note (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT COLLATE "C" NOT NULL UNIQUE CHECK (text <> '')
);
""")

__all__ = ["add", "notes"]


@pytest.fixture
def url(server: Server) -> str:
    return server.url(server.new_database())


@pytest.fixture
def another(url: str) -> Iterator[Callable[[], Database]]:
    opened: list[Database] = []

    def once_more() -> Database:
        opened.append(PostgresDatabase(url))
        return opened[-1]

    yield once_more
    for database in opened:
        database.close()


@pytest.fixture
def db(another: Callable[[], Database]) -> Database:
    database = another()
    database.migrate([NOTES])
    return database


def test_work_that_goes_on_after_a_conflict_is_told(
    db: Database, add: Callable[[str], Work], notes: Callable[[], list[str]]
) -> None:
    """PostgreSQL would answer nothing more; nothing of that work is kept, and its neighbours are."""

    def go_on(tx: Tx) -> str:
        with pytest.raises(Conflict):
            tx.run("INSERT INTO note (text) VALUES ('bread'), ('')")
        return "as if nothing had happened"

    first, told, last = in_one_batch(db, add("first"), go_on, add("last"))
    assert (first, last) == ("first", "last")
    assert isinstance(told, RuntimeError)
    assert notes() == ["first", "last"]
