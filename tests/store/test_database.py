"""The door to the database: durable writes, steady reads, other processes, and an orderly end."""

import threading
from collections.abc import Callable

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.transaction import Tx

Add = Callable[[str], Callable[[Tx], str]]
Notes = Callable[[], list[str]]
Another = Callable[[], Database]


def test_what_was_answered_is_seen_by_everybody(db: Database, another: Another, add: Add) -> None:
    """When `write` has returned, another process reads the row."""
    db.write_now(add("milk"))
    assert another().read(lambda tx: tx.rows("SELECT text FROM note")) == [("milk",)]


def test_two_of_us_write_one_database(db: Database, another: Another, add: Add, notes: Notes) -> None:
    """A command beside the server: two writers of one database, from two threads, lose nothing."""
    second = another()

    def write(door: Database, mine: str) -> None:
        for number in range(10):
            door.write_now(add(f"{mine}{number}"))

    threads = [threading.Thread(target=write, args=args) for args in ((db, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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


def test_closing_finishes_what_was_taken_in(another: Another, db: Database, add: Add) -> None:
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
    assert another().read(lambda tx: tx.rows("SELECT text FROM note")) == [("slow",)]


def test_a_closed_database_says_so(db: Database, add: Add, notes: Notes) -> None:
    """After `close`, which may be called twice, reads and writes are refused with a sentence."""
    notes()
    db.close()
    db.close()
    for use in (lambda: db.write_now(add("milk")), notes):
        with pytest.raises(Refusal, match="being closed") as caught:
            use()
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


def test_each_commit_is_told_to_whoever_watches(db: Database, add: Add) -> None:
    """How many pieces of work it had, and how long it took."""
    told: list[tuple[int, int]] = []
    db.watch(lambda pieces, duration_ns: told.append((pieces, duration_ns)))
    db.write_now(add("milk"))
    db.write_now(add("bread"))
    assert [pieces for pieces, _ in told] == [1, 1]
    assert all(duration_ns > 0 for _, duration_ns in told)
