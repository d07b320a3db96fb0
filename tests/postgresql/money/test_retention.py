"""Roll-ups, exports and deletion on PostgreSQL, where rows appear out of the order of their numbers."""

import random
import threading
from pathlib import Path

import pytest
from tests.money.house import NOVEMBER_23, move_in
from tests.money.retention.conftest import quiet
from tests.money.usage_rows import DAY, add_usage
from tests.postgres import fresh_database

from millrace.money.metering import store as metering
from millrace.money.retention import store
from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import Keeper
from millrace.money.rollups import store as rollups
from millrace.money.rollups.roller import Roller
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.transaction import Conflict, Tx

SPAN = (NOVEMBER_23, NOVEMBER_23 + DAY)


def sums(db: PostgresDatabase) -> object:
    return db.read(lambda tx: [rollups.sums(tx, "ten_acme", *SPAN, by) for by in ("model", "day", "key")])


def raw(db: PostgresDatabase) -> object:
    return db.read(lambda tx: [metering.sums(tx, "ten_acme", *SPAN, by) for by in ("model", "day", "key")])


def test_a_row_that_is_under_way_is_not_passed_by() -> None:
    """While a transaction with a lower number is open, neither roll-up nor export goes beyond it; then each row is in once."""
    with fresh_database() as db:
        db.write_now(move_in)
        db.write_now(lambda tx: add_usage(tx, random.Random(1), 10))
        assert Roller(db).roll() == 10
        late = PostgresDatabase(_url(db))
        wrote, finish = threading.Event(), threading.Event()

        def slow(tx: Tx) -> None:
            add_usage(tx, random.Random(2), 5, first=100)
            wrote.set()
            finish.wait(1.5)

        thread = threading.Thread(target=late.write_now, args=(slow,))
        thread.start()
        wrote.wait(5)
        db.write_now(lambda tx: add_usage(tx, random.Random(3), 5, first=200))
        roller = Roller(db)
        assert [roller.roll(), roller.roll(), db.read(rollups.cursor)] == [10, 10, 10]
        assert sums(db) == raw(db)
        finish.set()
        thread.join()
        late.close()
        assert roller.roll() == 20
        assert db.read(rollups.cursor) == 20
        assert sums(db) == raw(db)


def _url(db: PostgresDatabase) -> str:
    options = db._address._options
    return f"postgresql://{options['user']}@{options['host']}:{options['port']}/{options['dbname']}"


def test_usage_is_exported_and_deleted(tmp_path: Path) -> None:
    """As on SQLite: what may go goes, sums stay, files hold, and the database refuses any other deletion."""
    with fresh_database() as db:
        db.write_now(move_in)
        db.write_now(lambda tx: add_usage(tx, random.Random(1), 45))
        db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv_1' WHERE input + output > 0"))
        before = raw(db)
        exporter = Exporter(db, tmp_path, range_rows=20)
        exporter.run(Roller(db).roll(), 0, quiet)
        done = Keeper(db, exporter, step_rows=7, pause=lambda: None).run(30, NOVEMBER_23 + 60 * DAY, quiet)
        assert done.requests == 40
        assert db.read(lambda tx: tx.rows("SELECT (SELECT COUNT(*) FROM usage), (SELECT COUNT(*) FROM archived)")) == [(5, 40)]
        assert sums(db) == before
        assert [exporter.verify(one) for one in db.read(store.exports)] == [None, None, None]
        for statement in ("DELETE FROM usage", "DELETE FROM export", "UPDATE export SET requests = 1"):
            with pytest.raises(Conflict):
                db.write_now(lambda tx, statement=statement: tx.run(statement))  # type: ignore[misc]
