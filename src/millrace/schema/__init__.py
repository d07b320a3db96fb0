"""The tables of all rooms, as numbered migrations. A migration that has landed is never edited; a change is a new file."""

from millrace.store.migrations import Migration, load


def migrations() -> list[Migration]:
    """Every migration of this program, in order."""
    return load("millrace.schema")
