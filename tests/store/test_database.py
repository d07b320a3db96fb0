"""The door to the database: durable writes, steady reads, other processes, and an orderly end."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.transaction import Tx

Add = Callable[[str], Callable[[Tx], str]]
Notes = Callable[[], list[str]]


@pytest.fixture
def other(db: Database) -> Iterator[apsw.Connection]:
    """Another process, as far as SQLite is concerned."""
    connection = apsw.Connection(str(db.path))
    yield connection
    connection.close()


def test_what_was_answered_is_seen_by_everybody(db: Database, other: apsw.Connection, add: Add) -> None:
    """When `write` has returned, another process reads the row."""
    db.write_now(add("milk"))
    assert other.execute("SELECT text FROM note").fetchall() == [("milk",)]


def test_what_was_answered_outlives_the_process(db: Database, notes: Notes) -> None:
    """A process that dies right after the answer, without closing anything, has lost nothing."""
    script = """
import os, pathlib, sys
from millrace.store.database import Database
Database(pathlib.Path(sys.argv[1])).write_now(lambda tx: tx.run("INSERT INTO note (text) VALUES ('last words')"))
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(db.path)], check=False).returncode == 9
    assert notes() == ["last words"]


def test_a_commit_waits_for_the_disk(db: Database) -> None:
    """The writer syncs each commit, and foreign keys are checked."""
    assert db.write_now(lambda tx: (tx.row("PRAGMA synchronous"), tx.row("PRAGMA foreign_keys"))) == ((2,), (1,))


def test_a_write_waits_for_another_process(db: Database, other: apsw.Connection, add: Add, notes: Notes) -> None:
    """While another process writes, ours waits, and then both are there."""
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO note (text) VALUES ('theirs')")
    thread = threading.Thread(target=db.write_now, args=(add("ours"),))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    other.execute("COMMIT")
    thread.join(5)
    assert notes() == ["theirs", "ours"]


def test_another_process_that_never_ends_its_write_is_a_refusal(
    db: Database, other: apsw.Connection, add: Add, notes: Notes
) -> None:
    """After the time-out the write is refused, and once the other is done writes work again."""
    db._writer._connection.set_busy_timeout(20)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refusal) as caught:
        db.write_now(add("ours"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    other.execute("ROLLBACK")
    db.write_now(add("ours"))
    assert notes() == ["ours"]


def test_two_of_us_write_one_file(db: Database, file: Path, add: Add, notes: Notes) -> None:
    """A command beside the server: two writers of one file, from two threads, lose nothing."""
    second = Database(file)

    def write(door: Database, mine: str) -> None:
        for number in range(10):
            door.write_now(add(f"{mine}{number}"))

    threads = [threading.Thread(target=write, args=args) for args in ((db, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    assert sorted(notes()) == sorted(f"{mine}{n}" for mine in "ab" for n in range(10))


def test_a_read_is_a_snapshot(db: Database, add: Add) -> None:
    """Two queries of one read agree, though somebody writes between them; the next read sees it."""

    def twice(tx: Tx) -> tuple[object, object]:
        before = tx.row("SELECT count(*) FROM note")
        db.write_now(add("milk"))
        return before, tx.row("SELECT count(*) FROM note")

    assert db.read(twice) == ((0,), (0,))
    assert db.read(lambda tx: tx.row("SELECT count(*) FROM note")) == (1,)


def test_a_reader_cannot_write(db: Database, add: Add, notes: Notes) -> None:
    """Work given to `read` that writes is refused, and nothing is written."""
    with pytest.raises(Refusal) as caught:
        db.read(add("milk"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert notes() == []


def test_what_a_reader_raises_leaves_it_usable(db: Database, notes: Notes) -> None:
    """An exception within a read ends its snapshot."""
    with pytest.raises(ZeroDivisionError):
        db.read(lambda tx: 1 // len(tx.rows("SELECT text FROM note")))
    assert notes() == []


def test_each_thread_reads_on_its_own(db: Database, add: Add, notes: Notes) -> None:
    """A read on another thread runs while this one is inside its own."""
    db.write_now(add("milk"))
    seen: list[list[str]] = []

    def look(tx: Tx) -> object:
        thread = threading.Thread(target=lambda: seen.append(notes()))
        thread.start()
        thread.join(5)
        return tx.rows("SELECT text FROM note")

    assert db.read(look) == [("milk",)]
    assert seen == [["milk"]]


def test_closing_finishes_what_was_taken_in(file: Path, db: Database, add: Add) -> None:
    """Writes that were accepted before `close` are on disk after it."""
    started = threading.Event()

    def slow(tx: Tx) -> None:
        started.set()
        add("slow")(tx)

    thread = threading.Thread(target=db.write_now, args=(slow,))
    thread.start()
    started.wait(5)
    db.close()
    thread.join()
    again = Database(file)
    assert again.read(lambda tx: tx.rows("SELECT text FROM note")) == [("slow",)]
    again.close()


def test_a_closed_database_says_so(db: Database, add: Add, notes: Notes) -> None:
    """After `close`, which may be called twice, reads and writes are refused with a sentence."""
    notes()
    db.close()
    db.close()
    for use in (lambda: db.write_now(add("milk")), notes):
        with pytest.raises(Refusal, match="being closed") as caught:
            use()
        assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_closing_leaves_no_log_behind(db: Database, file: Path, add: Add, notes: Notes) -> None:
    """The last one to close moves all into the one file, which can then be copied."""
    db.write_now(add("milk"))
    notes()
    db.close()
    assert sorted(entry.name for entry in file.parent.iterdir()) == [file.name]


@pytest.mark.parametrize("content", [None, b"this is not a database, whatever its name says" * 100])
def test_a_file_that_cannot_be_used_is_a_refusal(tmp_path: Path, content: bytes | None) -> None:
    """A missing folder and a file that is no database are refused, naming the file."""
    path = tmp_path / "missing" / "books.db" if content is None else tmp_path / "books.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refusal, match=r"books\.db") as caught:
        Database(path)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_a_whole_number_stays_one(db: Database) -> None:
    """The largest 64-bit amount comes back exactly; one more is refused, not made a float."""
    most = 2**63 - 1
    assert db.read(lambda tx: tx.row("SELECT :amount", amount=most)) == (most,)
    with pytest.raises(OverflowError):
        db.read(lambda tx: tx.row("SELECT :amount", amount=most + 1))


def test_run_says_how_many_rows_changed(db: Database, add: Add) -> None:
    """Compare-and-set needs to know whether its row was still as believed."""
    db.write_now(add("milk"))
    change = "UPDATE note SET text = 'bread' WHERE text = 'milk'"
    assert db.write_now(lambda tx: tx.run(change)) == 1
    assert db.write_now(lambda tx: tx.run(change)) == 0
