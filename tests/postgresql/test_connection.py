"""How we are connected: settings that a server cannot talk us out of, values that stay what they are, bounded reads."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from tests.postgres import Server

from millrace.base.errors import Reason, Refusal
from millrace.store.postgres_connection import Address
from millrace.store.postgres_database import READERS_MAX, PostgresDatabase
from millrace.store.transaction import Conflict, Tx

MOST = 2**63 - 1


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    made = server.new_database()
    yield made
    server.ask(f"DROP DATABASE {made} WITH (FORCE)")


@pytest.fixture
def db(server: Server, name: str) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(server.url(name))
    database.write_now(lambda tx: tx.run("CREATE TABLE thing (n BIGINT, t TEXT, b BYTEA, CHECK (n <> 13))"))
    yield database
    database.close()


def setting(db: PostgresDatabase, which: str) -> str:
    row = db.write_now(lambda tx: tx.row("SELECT current_setting(:which)", which=which))
    assert row is not None
    return str(row[0])


def test_a_commit_waits_for_the_disk_whatever_the_server_says(server: Server, name: str) -> None:
    """A server or a database that answers a COMMIT before it is on disk is overruled."""
    server.ask(f"ALTER DATABASE {name} SET synchronous_commit = off")
    server.ask(f"ALTER DATABASE {name} SET timezone = 'Asia/Shanghai'")
    server.ask(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    db = PostgresDatabase(server.url(name))
    assert [setting(db, which) for which in ("synchronous_commit", "TimeZone", "transaction_isolation", "client_encoding")] == [
        "on", "UTC", "read committed", "UTF8",
    ]  # fmt: skip
    db.close()


def test_a_stronger_promise_of_the_server_stays(server: Server, name: str) -> None:
    """Where commits wait for a replica to have applied them, they still do."""
    server.ask(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    db = PostgresDatabase(server.url(name))
    assert setting(db, "synchronous_commit") == "remote_apply"
    db.close()


def test_a_database_that_keeps_other_letters_is_refused(server: Server) -> None:
    """Texts must come back as they were; the sentence says what to make."""
    server.ask("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(Refusal, match="make one with ENCODING 'UTF8'") as caught:
        PostgresDatabase(server.url("latin"))
    assert caught.value.reason is Reason.BAD_SETTING
    server.ask("DROP DATABASE latin")


@pytest.mark.parametrize(
    "url", ["postgresql://ann:hunter2@127.0.0.1:1/books", "postgresql://ann:hunter2@no-such-host.invalid/books"]
)
def test_no_refusal_shows_a_password(url: str) -> None:
    """A server that cannot be reached is named without what stands in the URL."""
    with pytest.raises(Refusal, match="PostgreSQL database books at") as caught:
        PostgresDatabase(url)
    assert "hunter2" not in caught.value.sentence
    assert "hunter2" not in str(caught.value.__cause__)


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    """Nor what libpq says of it, which quotes."""
    with pytest.raises(Refusal) as caught:
        Address("postgresql://ann:hunter2@host:port:5432/books?hunter2=%zz")
    assert "hunter2" not in f"{caught.value.sentence}{caught.value.__cause__}"


def _in_parts(tx: Tx, columns: tuple[str, ...], rows: list[tuple[int | str | bytes | None, ...]]) -> None:
    """Too few at once for COPY."""
    for row in rows:
        tx.insert("thing", columns, [row])


def test_values_come_back_as_they_were(db: PostgresDatabase) -> None:
    """Integers of 64 bits, any text, any bytes and NULL: by parameter, in bulk, and in lists."""
    things: list[tuple[int | str | bytes | None, ...]] = [
        (MOST, "", b""), (-MOST - 1, "\t\n\r\\N 'it''s' \"q\" $1 %s {a,b} NULL", bytes(range(256))),
        (None, None, None), (0, "水磨 🦀", b"\\x00"), (1, "\\", b"\0"), (2, "a,b", b'"'),
    ]  # fmt: skip
    columns = ("n", "t", "b")
    single = "INSERT INTO thing (n, t, b) VALUES (:n, :t, :b)"
    listed = "INSERT INTO thing (n, t, b) SELECT * FROM unnest(:n...::bigint[], :t...::text[], :b...::bytea[])"
    rows = [dict(zip(columns, thing, strict=True)) for thing in things]

    def ways(tx: Tx) -> list[list[tuple[object, ...]]]:
        found = []
        adding: tuple[Callable[[], None], ...] = (
            lambda: tx.run_many(single, rows), lambda: tx.run_many(listed, rows), lambda: tx.insert("thing", columns, things),
            lambda: _in_parts(tx, columns, things),
        )  # fmt: skip
        for add in adding:
            add()
            found.append(tx.rows("SELECT n, t, b FROM thing ORDER BY ctid"))
            tx.run("DELETE FROM thing")
        return found

    for found in db.write_now(ways):
        assert found == things


@pytest.mark.parametrize(
    "texts",
    [["", "a,b", "{x}", "NULL", " \t\r\n", "水磨"], ["only"], [""], ['"', "a"], ['","', "b"], ["\\", "b"], ['\\"', '"']],
    ids=["plain", "one", "empty", "quote", "as a border", "backslash", "both"],
)
def test_texts_without_null_come_back_as_they_were(db: PostgresDatabase, texts: list[str]) -> None:
    """Lists are looked through whole; what must be written with care in one of them is."""

    def there_and_back(tx: Tx) -> list[tuple[str]]:
        tx.insert("thing", ("t",), [(text,) for text in texts])
        return tx.rows("SELECT t FROM thing ORDER BY ctid")

    assert db.write_now(there_and_back) == [(text,) for text in texts]


def test_an_integer_of_more_than_64_bits_is_refused(db: PostgresDatabase) -> None:
    """As on SQLite: it is never rounded, and never becomes a `numeric`."""
    for work in (
        lambda tx: tx.row("SELECT :n", n=MOST + 1),
        lambda tx: tx.rows("SELECT 1 WHERE 1 IN (:n...)", n=[1, MOST + 1]),
        lambda tx: tx.insert("thing", ["n"], [(MOST + 1,)] * 9),
        lambda tx: tx.run_many("INSERT INTO thing (n) VALUES (:n)", [{"n": -MOST - 2}]),
    ):
        with pytest.raises(OverflowError):
            db.write_now(work)
    assert db.read(lambda tx: tx.row("SELECT COUNT(*) FROM thing")) == (0,)


def test_a_sum_is_a_whole_number(db: PostgresDatabase) -> None:
    """PostgreSQL sums integers into a `numeric`: an int here, of any size; a fraction or a float is a bug."""
    db.write_now(lambda tx: tx.insert("thing", ["n"], [(MOST,), (MOST,)]))
    assert db.read(lambda tx: tx.row("SELECT SUM(n), SUM(n) > 0 FROM thing")) == (2 * MOST, 1)
    for sql in ("SELECT SUM(n) / 4.0 FROM thing", "SELECT 0.5::float8"):
        with pytest.raises(ValueError, match="invalid literal"):
            db.read(lambda tx, sql=sql: tx.row(sql))  # type: ignore[misc]


def test_rows_in_bulk_are_all_added_or_none(db: PostgresDatabase) -> None:
    """Few or many: one that a constraint refuses is a Conflict, and none is there."""
    for many in (2, 50):
        with pytest.raises(Conflict, match="thing"):
            db.write_now(lambda tx, many=many: tx.insert("thing", ["n"], [*((n,) for n in range(12, 12 - many, -1)), (13,)]))  # type: ignore[misc]
    assert db.read(lambda tx: tx.row("SELECT COUNT(*) FROM thing")) == (0,)


def test_a_text_that_postgresql_cannot_keep_is_refused(db: PostgresDatabase) -> None:
    """The character U+0000, which SQLite keeps, is an invalid request and no failure of the server."""
    for work in (lambda tx: tx.row("SELECT :t", t="a\0b"), lambda tx: tx.row("SELECT 'a' IN (:t...)", t=["a\0b"])):
        with pytest.raises(Refusal, match=r"U\+0000") as caught:
            db.write_now(work)
        assert caught.value.reason is Reason.INVALID_REQUEST


def test_the_clock_is_the_server_s(db: PostgresDatabase) -> None:
    """Whole nanoseconds, the same for all; within a transaction it goes on."""
    first, second = db.write_now(lambda tx: (tx.now(1), tx.now(1)))
    assert abs(first - time.time_ns()) < 10**9
    assert 0 <= second - first < 10**9
    assert abs(db.read(lambda tx: tx.now(1)) - time.time_ns()) < 10**9


def test_a_look_that_takes_too_long_is_refused(db: PostgresDatabase) -> None:
    """A small question of a request is not waited for without end, and the loop is not held up by it."""

    async def scene() -> tuple[Refusal, int]:
        turns = 0
        task = asyncio.ensure_future(db.look(lambda tx: tx.row("SELECT pg_sleep(30)")))
        while not task.done():
            turns += 1
            await asyncio.wait([task], timeout=0.05)
        refusal = task.exception()
        assert isinstance(refusal, Refusal)
        return refusal, turns

    refusal, turns = asyncio.run(scene())
    assert "took too long" in refusal.sentence
    assert turns > 10


def test_readers_are_bounded_and_given_back(db: PostgresDatabase, server: Server, name: str) -> None:
    """Thirty threads that read at once share a few connections, and closing ends them all."""
    gate = threading.Barrier(30)

    def read() -> None:
        gate.wait(10)
        db.read(lambda tx: tx.row("SELECT pg_sleep(0.02)"))

    threads = [threading.Thread(target=read) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours = f"SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - our own name
    assert server.ask(ours)[0][0] <= READERS_MAX + 1
    db.close()
    for _ in range(100):
        if server.ask(ours) == [(0,)]:
            return
    raise AssertionError("connections are left")


def test_what_a_bug_in_sql_says_reaches_whoever_asked(db: PostgresDatabase) -> None:
    """A table that is not there is no trouble of the server's: the error is raised as it is, on both sides."""
    for use in (db.write_now, db.read):
        with pytest.raises(psycopg.errors.UndefinedTable):
            use(lambda tx: tx.row("SELECT * FROM nothing"))
    assert db.write_now(lambda tx: tx.run("INSERT INTO thing (n) VALUES (1)")) == 1


def test_a_stopped_process_does_not_keep_a_row_for_ever(db: PostgresDatabase, server: Server, name: str) -> None:
    """One that was stopped in the middle of its transaction loses it within seconds, and whoever waited goes on."""
    db.write_now(lambda tx: tx.run("INSERT INTO thing (n) VALUES (1)"))
    script = """
import sys
from millrace.store.postgres_database import PostgresDatabase
def work(tx):
    tx.run("UPDATE thing SET n = 2")
    print("locked", flush=True)
    sys.stdin.read()
PostgresDatabase(sys.argv[1]).write_now(work)
"""
    arguments = [sys.executable, "-c", script, server.url(name)]
    stopped = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert stopped.stdout is not None
    try:
        assert stopped.stdout.readline() == b"locked\n"
        stopped.send_signal(signal.SIGSTOP)
        assert db.write_now(lambda tx: tx.run("UPDATE thing SET n = 3")) == 1
        assert db.read(lambda tx: tx.rows("SELECT n FROM thing")) == [(3,)]
    finally:
        stopped.send_signal(signal.SIGKILL)
        stopped.communicate()
