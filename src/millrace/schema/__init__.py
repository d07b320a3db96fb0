"""The tables of all rooms, as numbered migrations. A migration that has landed is never edited; a change is a new file."""

from pathlib import Path

from millrace.store.database import Database
from millrace.store.migrations import Migration, load


def migrations() -> list[Migration]:
    """Every migration of this program, in order."""
    return load("millrace.schema")


def open_database(path: Path) -> Database:
    """The database at that place, made if need be and migrated. A Refusal when it cannot be used leaves nothing open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = Database(path)
    try:
        db.migrate(migrations())
    except BaseException:
        db.close()
        raise
    return db
