"""One form of archive for both makes of database: what one wrote, the other takes, to the last byte."""

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.money.house import seed
from tests.money.usage_rows import add_usage
from tests.postgres import fresh_database, shared

from millrace import schema
from millrace.archive.manifest import Manifest
from millrace.archive.read import Archive
from millrace.archive.restore import restore_archive
from millrace.archive.write import write_archive
from millrace.base.errors import Refusal
from millrace.catalog.tuned.files import AdapterFiles
from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.tables import PAGE_ROWS, Row, pages, tables
from millrace.store.transaction import Tx

ROWS = PAGE_ROWS + 100
"""More than a page."""


def quiet(words: str) -> None:
    """Progress that nobody looks at."""
    assert words


def fill(tx: Tx) -> None:
    """Rows with everything that a value can be: bytes, nothing, the largest and smallest number, letters of all kinds."""
    add_usage(tx, random.Random(1), ROWS)
    tx.run("INSERT INTO epoch (number, started_at, home, taken_by) VALUES (1, 5, 'a', NULL)")
    tx.run("INSERT INTO epoch (number, started_at, home, taken_by) VALUES (2, 6, 'b', NULL)")
    tx.run("UPDATE epoch SET taken_by = 2 WHERE number = 1")
    tx.run("INSERT INTO chain (number, length, head) VALUES (0, 1, :head)", head=bytes(range(32)))
    tx.run("INSERT INTO account (id, currency, credits_posted, debits_posted) VALUES ('a', 'CNY', :most, 0)", most=2**63 - 1)
    tx.run("INSERT INTO account (id, currency) VALUES ('b', 'CNY')")
    tx.run(
        "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at, chain, hash)"
        " VALUES ('t', 'single', 'b', 'a', :most, NULL, :least, 0, :hash)",
        most=2**63 - 1, least=-(2**63), hash=b"\x00\n\t\\" * 8,
    )  # fmt: skip
    tx.run(
        "INSERT INTO suspension (id, tenant_id, reason, at) VALUES ('s', 'ten_mole', :reason, 1)",
        reason='a "quoted" text\twith\nlines, \\N and \\x00, 中文 and \u2028 and 🙂',
    )


def everything(db: Database) -> dict[str, list[Row]]:
    """Every row by its table, in the order of its key."""
    return db.read(lambda tx: {one.name: [row for page in pages(tx, one) for row in page] for one in tables(tx)})


def backup(db: Database, file: Path) -> Manifest:
    return write_archive(db, file.parent, file, settings=file.parent / "none.toml", now=0, progress=quiet)


def restore_into(db: Database, file: Path, home: Path) -> None:
    """Into that database, which is closed then."""

    def given(_: Path) -> tuple[Database, Sequence[Migration]]:
        return db, schema.migrations(db.dialect)

    with Archive(file) as archive:
        restore_archive(archive, home, given, settings=None, progress=quiet)


def test_from_sqlite_to_postgresql_and_back(tmp_path: Path) -> None:
    """Laptop to cluster to laptop: the same rows in each of the three, and new rows are numbered behind them."""
    with contextlib.closing(SqliteDatabase(tmp_path / "one.db")) as one:
        one.write_now(seed)
        one.write_now(fill)
        before = everything(one)
        manifest = backup(one, tmp_path / "one.zip")
    assert [(head.number, head.head) for head in manifest.chains] == [(0, bytes(range(32)).hex())]
    server = shared()
    name = server.new_database()
    restore_into(schema.connect(server.url(name)), tmp_path / "one.zip", tmp_path / "cluster")
    with contextlib.closing(schema.open_database(server.url(name))) as cluster:
        assert everything(cluster) == before
        assert backup(cluster, tmp_path / "two.zip").rows == manifest.rows
        cluster.write_now(lambda tx: add_usage(tx, random.Random(2), 1, first=ROWS + 1))
        assert cluster.read(lambda tx: tx.rows("SELECT MAX(seq) FROM usage")) == [(ROWS + 1,)]
    restore_into(SqliteDatabase(tmp_path / "three.db"), tmp_path / "two.zip", tmp_path / "laptop")
    with contextlib.closing(schema.open_database(tmp_path / "three.db")) as three:
        assert everything(three) == before


def test_postgresql_with_rows_is_refused(tmp_path: Path) -> None:
    """A database that somebody uses is left alone."""
    with contextlib.closing(SqliteDatabase(tmp_path / "one.db")) as one:
        one.write_now(seed)
        backup(one, tmp_path / "one.zip")
    with fresh_database() as used:
        used.write_now(lambda tx: tx.run("INSERT INTO tenant VALUES ('ten_x', 'x', 'prepaid', 'CNY', 0, 0)"))
        with pytest.raises(Refusal, match="has rows already"):
            restore_into(used, tmp_path / "one.zip", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_refused_row_leaves_postgresql_empty(tmp_path: Path) -> None:
    """Where a row in the middle is refused, no row and no table is kept."""
    with contextlib.closing(SqliteDatabase(tmp_path / "one.db")) as one:
        one.write_now(seed)
        one.write_now(lambda tx: add_usage(tx, random.Random(1), 3))
        one.write_now(lambda tx: tx.run("DROP TABLE rollup_cursor"))
        one.write_now(lambda tx: tx.run("CREATE TABLE rollup_cursor (one INTEGER PRIMARY KEY, seq INTEGER)"))
        one.write_now(lambda tx: tx.run("INSERT INTO rollup_cursor VALUES (7, 0)"))
        backup(one, tmp_path / "one.zip")
    server = shared()
    name = server.new_database()
    with pytest.raises(Refusal, match=r"its rows contradict each other: .*rollup_cursor"):
        restore_into(schema.connect(server.url(name)), tmp_path / "one.zip", tmp_path / "restored")
    assert server.ask("SELECT COUNT(*) FROM pg_class WHERE relname IN ('tenant', 'migration')", name) == [(0,)]
    assert not (tmp_path / "restored").exists()


def test_a_reference_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """PostgreSQL's references are checked once all rows are there, and stand afterwards as they did."""
    with contextlib.closing(SqliteDatabase(tmp_path / "one.db")) as one:
        one.write_now(seed)
        backup(one, tmp_path / "whole.zip")
        one.write_now(lambda tx: tx.run("DROP TABLE revocation"))
        one.write_now(lambda tx: tx.run("CREATE TABLE revocation (key_id TEXT PRIMARY KEY, reason TEXT, at INTEGER)"))
        one.write_now(lambda tx: tx.run("INSERT INTO revocation VALUES ('key_of_nobody', 'lost', 1)"))
        backup(one, tmp_path / "one.zip")
    server = shared()
    with pytest.raises(Refusal, match=r"its rows contradict each other: .*revocation"):
        restore_into(schema.connect(server.url(server.new_database())), tmp_path / "one.zip", tmp_path / "restored")
    name = server.new_database()
    restore_into(schema.connect(server.url(name)), tmp_path / "whole.zip", tmp_path / "whole")
    asked = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY conname"
    assert server.ask(asked, name) == server.ask(asked, server.migrated)


def test_adapters_come_along(tmp_path: Path) -> None:
    """What tenants tuned is nowhere else: the files are in the archive, and where they belong in the new home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "made.gguf").write_bytes(b"adapter")
    sha256 = AdapterFiles(tmp_path / "home").add(tmp_path / "made.gguf")
    with contextlib.closing(SqliteDatabase(tmp_path / "one.db")) as one:
        one.write_now(seed)
        backup(one, tmp_path / "home" / "one.zip")
    restore_into(SqliteDatabase(tmp_path / "two.db"), tmp_path / "home" / "one.zip", tmp_path / "restored")
    assert AdapterFiles(tmp_path / "restored").path(sha256).read_bytes() == b"adapter"
