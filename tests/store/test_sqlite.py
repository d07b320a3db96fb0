"""What only SQLite does: its file, its log, other processes that lock it, a disk that fails."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import apsw
import pytest
from tests.store.test_writer import in_one_batch

from millrace.base.errors import Reason, Refusal
from millrace.store.sqlite import SqliteSession
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx
from millrace.store.writer import BATCH_MAX

Add = Callable[[str], Callable[[Tx], str]]
Notes = Callable[[], list[str]]


def connection_of(db: SqliteDatabase) -> apsw.Connection:
    """The writer's."""
    session = db._writer._session
    assert isinstance(session, SqliteSession)
    return session._connection


@pytest.fixture
def other(db: SqliteDatabase) -> Iterator[apsw.Connection]:
    """Another process, as far as SQLite is concerned."""
    connection = apsw.Connection(str(db.path))
    yield connection
    connection.close()


def test_what_was_answered_outlives_the_process(db: SqliteDatabase, notes: Notes) -> None:
    """A process that dies right after the answer, without closing anything, has lost nothing."""
    script = """
import os, pathlib, sys
from millrace.store.sqlite_database import SqliteDatabase
SqliteDatabase(pathlib.Path(sys.argv[1])).write_now(lambda tx: tx.run("INSERT INTO note (text) VALUES ('last words')"))
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(db.path)], check=False).returncode == 9
    assert notes() == ["last words"]


def test_a_commit_waits_for_the_disk(db: SqliteDatabase) -> None:
    """The writer syncs each commit, and foreign keys are checked."""
    assert db.write_now(lambda tx: (tx.row("PRAGMA synchronous"), tx.row("PRAGMA foreign_keys"))) == ((2,), (1,))


def test_a_write_waits_for_another_process(db: SqliteDatabase, other: apsw.Connection, add: Add, notes: Notes) -> None:
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
    db: SqliteDatabase, other: apsw.Connection, add: Add, notes: Notes
) -> None:
    """After the time-out the write is refused, and once the other is done writes work again."""
    connection_of(db).set_busy_timeout(20)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refusal) as caught:
        db.write_now(add("ours"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    other.execute("ROLLBACK")
    db.write_now(add("ours"))
    assert notes() == ["ours"]


def test_closing_leaves_no_log_behind(db: SqliteDatabase, file: Path, add: Add, notes: Notes) -> None:
    """The last one to close moves all into the one file, which can then be copied; what else is left there has no data."""
    db.write_now(add("milk"))
    notes()
    db.close()
    assert [entry.name for entry in file.parent.iterdir() if entry.stat().st_size] == [file.name]


@pytest.mark.parametrize("content", [None, b"this is not a database, whatever its name says" * 100])
def test_a_file_that_cannot_be_used_is_a_refusal(tmp_path: Path, content: bytes | None) -> None:
    """A missing folder and a file that is no database are refused, naming the file."""
    path = tmp_path / "missing" / "books.db" if content is None else tmp_path / "books.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refusal, match=r"books\.db") as caught:
        SqliteDatabase(path)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def commits_of(db: SqliteDatabase) -> list[int]:
    """A list that grows by one with each commit."""
    commits: list[int] = []

    def count() -> bool:
        commits.append(1)
        return False  # True would turn the commit into a rollback

    connection_of(db).set_commit_hook(count)
    return commits


def test_what_waits_together_is_committed_together(db: SqliteDatabase, add: Add, notes: Notes) -> None:
    """Fifty writes that wait while a commit runs share the next one, in the order in which they came."""
    commits = commits_of(db)
    texts = [str(number) for number in range(50)]
    assert in_one_batch(db, *map(add, texts)) == texts
    assert len(commits) == 2  # that of the work that held the writer up, and theirs
    assert notes() == texts


def test_the_writer_outlives_work_that_breaks_the_transaction(db: SqliteDatabase, add: Add, notes: Notes) -> None:
    """Work that ends the transaction itself is a bug that each of its batch is told; the writer goes on."""
    with pytest.raises(apsw.SQLError):
        db.write_now(lambda tx: tx.run("ROLLBACK"))
    assert db.write_now(add("afterwards")) == "afterwards"
    assert notes() == ["afterwards"]


def test_a_disk_that_fails_once_is_told_to_all_of_the_batch(db: SqliteDatabase, add: Add, notes: Notes) -> None:
    """An input or output error in one piece of work leaves nothing of its batch, and the next batch works."""

    def fail(tx: Tx) -> NoReturn:
        tx.run("INSERT INTO note (text) VALUES ('written before the failure')")
        raise apsw.IOError("disk I/O error")

    outcomes = in_one_batch(db, add("before"), fail, add("after"))
    assert [outcome.reason for outcome in outcomes] == [Reason.STORE_UNAVAILABLE] * 3
    assert notes() == []
    assert db.write_now(add("next")) == "next"
    assert notes() == ["next"]


def test_a_full_disk_is_told_to_all_of_the_batch_and_passes(db: SqliteDatabase, add: Add, notes: Notes) -> None:
    """Where the disk is full nobody of the batch is kept, each is told so, and later writes work once there is room."""
    [(pages,)] = db.write_now(lambda tx: tx.rows("PRAGMA page_count"))
    db.write_now(lambda tx: tx.rows(f"PRAGMA max_page_count = {pages}"))
    outcomes = in_one_batch(db, add("small"), add("x" * 100_000), add("also small"))
    assert [outcome.reason for outcome in outcomes] == [Reason.STORE_UNAVAILABLE] * 3
    assert outcomes[0].retry_after_s
    assert "notes.db" in outcomes[0].sentence
    assert notes() == []
    db.write_now(lambda tx: tx.rows("PRAGMA max_page_count = 1000000"))
    assert in_one_batch(db, add("small"), add("x" * 100_000)) == ["small", "x" * 100_000]


def test_a_long_queue_is_cut_into_batches(db: SqliteDatabase, notes: Notes) -> None:
    """More than BATCH_MAX waiting writes take a second commit, so that the first are not kept waiting for all."""

    def number(n: int) -> Callable[[Tx], int]:
        return lambda tx: tx.run("INSERT INTO note (text) VALUES (:text)", text=str(n))

    commits = commits_of(db)
    assert in_one_batch(db, *map(number, range(BATCH_MAX + 1))) == [1] * (BATCH_MAX + 1)
    assert len(commits) == 3  # that of the work that held the writer up, a full one, and one for the last
    assert len(notes()) == BATCH_MAX + 1
