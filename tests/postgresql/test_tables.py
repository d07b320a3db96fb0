"""What `tables` finds in both makes of database is the same; what one make shows is in tests/store/test_tables.py."""

import contextlib
from pathlib import Path

from millrace import schema
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.tables import Table, schema_number, tables


def by_name(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


def test_both_makes_have_the_same_tables(tmp_path: Path, db: PostgresDatabase) -> None:
    """The twins of the migrations agree: tables, columns with their kinds, primary keys."""
    with contextlib.closing(schema.open_database(tmp_path / "one.db")) as one:
        ours = {table.name: (by_name(table), table.key) for table in one.read(tables)}
        theirs = {table.name: (by_name(table), table.key) for table in db.read(tables)}
        assert ours == theirs
        assert one.read(schema_number) == db.read(schema_number) == len(schema.migrations())
