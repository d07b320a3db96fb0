"""The tables of all rooms, as numbered migrations. A migration that has landed is never edited; a change is a new file."""

from importlib import import_module
from pathlib import Path

from millrace.store.database import Database
from millrace.store.migrations import Migration, load
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.url import is_postgres


def migrations(dialect: str = "sqlite") -> list[Migration]:
    """Every migration of this program, in order. PostgreSQL's twins lie in a folder of their own."""
    return load("millrace.schema", "" if dialect == "sqlite" else dialect)


def open_database(place: Path | str) -> Database:
    """The database at that place, a file's path or a URL, migrated; the file is made if need be.

    A Refusal when it cannot be used leaves nothing open.
    """
    db = connect(place)
    try:
        db.migrate(migrations(db.dialect))
    except BaseException:
        db.close()
        raise
    return db


def connect(place: Path | str) -> Database:
    """The database at that place as it is."""
    if isinstance(place, str) and is_postgres(place):
        # psycopg takes 130 ms to load, for which a command on SQLite need not wait.
        make: type[Database] = import_module("millrace.store.postgres_database").PostgresDatabase
        return make(place)  # type: ignore[arg-type]  # a make is opened by what it is found by, which the door leaves open
    path = Path(place.removeprefix("sqlite:///")) if isinstance(place, str) else place
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteDatabase(path)
