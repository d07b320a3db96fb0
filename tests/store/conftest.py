"""A database with one table of notes, which refuses an empty text and a doubled one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx

NOTES = Migration(1, "0001_notes.sql", """
CREATE TABLE note (seq INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE CHECK (text <> '')) STRICT;
""")

Work = Callable[[Tx], str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
def db(file: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(file)
    database.migrate([NOTES])
    yield database
    database.close()


@pytest.fixture
def another(file: Path) -> Iterator[Callable[[], Database]]:
    """Opens the same database once more, as another process does."""
    opened: list[Database] = []

    def once_more() -> Database:
        opened.append(SqliteDatabase(file))
        return opened[-1]

    yield once_more
    for database in opened:
        database.close()


@pytest.fixture
def add() -> Callable[[str], Work]:
    """`add('milk')` is a piece of work that writes a note and answers with it."""

    def of(text: str) -> Work:
        def work(tx: Tx) -> str:
            tx.run("INSERT INTO note (text) VALUES (:text)", text=text)
            return text

        return work

    return of


@pytest.fixture
def notes(db: Database) -> Callable[[], list[str]]:
    """What a reader sees now."""
    return lambda: db.read(lambda tx: [text for (text,) in tx.rows("SELECT text FROM note ORDER BY seq")])
