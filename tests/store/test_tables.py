"""What there is to back up: every table of both makes, each after those that it refers to, and every row of it once."""

import contextlib
from pathlib import Path

import pytest

from millrace import schema
from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.tables import is_empty, pages, tables

PAIRS = Migration(
    1, "0001_pairs.sql", "CREATE TABLE pair (b TEXT NOT NULL, a INTEGER NOT NULL, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID;"
)


@pytest.fixture
def pairs(tmp_path: Path) -> Database:
    """Nine rows with a key of two columns, whose order in the table is another."""
    db = SqliteDatabase(tmp_path / "pairs.db")
    db.migrate([PAIRS])
    db.write_now(lambda tx: tx.insert("pair", ("a", "b"), [(a, b) for a in (1, 2, 3) for b in "xyz"]))
    return db


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 10])
@pytest.mark.parametrize("newest_first", [False, True])
def test_every_row_is_on_one_page(pairs: Database, rows: int, newest_first: bool) -> None:
    """Whatever the size of a page, all rows come once, in the order of the whole key or against it."""
    with contextlib.closing(pairs):
        (pair,) = pairs.read(tables)
        found = pairs.read(lambda tx: list(pages(tx, pair, newest_first=newest_first, rows=rows)))
    assert pair.key == ("a", "b")
    assert [len(page) for page in found[:-1]] == [rows] * (len(found) - 1)
    assert [row for page in found for row in page] == sorted(
        ((b, a) for a in (1, 2, 3) for b in "xyz"), key=lambda row: (row[1], row[0]), reverse=newest_first
    )


def test_a_table_comes_after_those_that_it_refers_to(tmp_path: Path) -> None:
    """So that rows can be added in that order with every reference checked."""
    with contextlib.closing(schema.open_database(tmp_path / "one.db")) as db:
        names = [table.name for table in db.read(tables)]
    for first, then in (("tenant", "project"), ("project", "api_key"), ("account", "transfer"), ("export", "dropped_range"),
                        ("dropped_range", "archived"), ("credit_grant", "live_grant"), ("epoch", "open_hold")):  # fmt: skip
        assert names.index(first) < names.index(then)
    assert "migration" not in names


def test_a_database_with_any_row_is_not_empty(tmp_path: Path) -> None:
    """Also where the table is none of ours; tables without rows do not count, nor what the database knows of itself."""
    with contextlib.closing(schema.open_database(tmp_path / "one.db")) as db:
        assert db.read(is_empty)
        db.write_now(lambda tx: tx.run("CREATE TABLE theirs (at DATE)"))
        assert db.read(is_empty)
        db.write_now(lambda tx: tx.run("INSERT INTO theirs VALUES ('2026-11-23')"))
        assert not db.read(is_empty)
