"""Group commit: what waits together is committed together, and each is told its own outcome."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

import apsw
import pytest

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.transaction import Conflict, Tx
from millrace.store.writer import BATCH_MAX

Work = Callable[[Tx], str]
Add = Callable[[str], Work]
Notes = Callable[[], list[str]]


@contextlib.contextmanager
def held_up(db: Database) -> Iterator[None]:
    """Keeps the writer busy with one piece of work, so that what is submitted meanwhile makes the next batch."""
    started, finish = threading.Event(), threading.Event()

    def wait(_: Tx) -> None:
        started.set()
        finish.wait(5)

    thread = threading.Thread(target=db.write_now, args=(wait,))
    thread.start()
    started.wait(5)
    try:
        yield
    finally:
        finish.set()
        thread.join()


def in_one_batch(db: Database, *works: Callable[[Tx], Any]) -> list[Any]:
    """What each of the works came to, a value or what it raised, when they share a commit."""

    async def all_at_once() -> list[Any]:
        with held_up(db):
            waiting = [asyncio.ensure_future(db.write(work)) for work in works]
            await asyncio.sleep(0)  # each has been submitted
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(all_at_once())


def commits_of(db: Database) -> list[int]:
    """A list that grows by one with each commit."""
    commits: list[int] = []

    def count() -> bool:
        commits.append(1)
        return False  # True would turn the commit into a rollback

    db._writer._connection.set_commit_hook(count)
    return commits


def test_what_waits_together_is_committed_together(db: Database, add: Add, notes: Notes) -> None:
    """Fifty writes that wait while a commit runs share the next one, in the order in which they came."""
    commits = commits_of(db)
    texts = [str(number) for number in range(50)]
    assert in_one_batch(db, *map(add, texts)) == texts
    assert len(commits) == 2  # that of the work that held the writer up, and theirs
    assert notes() == texts


def test_a_refusal_undoes_itself_and_not_its_neighbours(db: Database, add: Add, notes: Notes) -> None:
    """Work that is refused after it wrote leaves nothing, is told why, and its neighbours are kept."""
    no = Refusal(Reason.INSUFFICIENT_CREDIT, "no credit")

    def refuse(tx: Tx) -> NoReturn:
        tx.run("INSERT INTO note (text) VALUES ('written before the refusal')")
        raise no

    assert in_one_batch(db, add("first"), refuse, add("last")) == ["first", no, "last"]
    assert notes() == ["first", "last"]


def test_a_constraint_refuses_one_item(db: Database, add: Add, notes: Notes) -> None:
    """UNIQUE and CHECK become a Conflict for the one who broke them."""
    first, doubled, empty = in_one_batch(db, add("milk"), add("milk"), add(""))
    assert first == "milk"
    assert isinstance(doubled, Conflict)
    assert isinstance(empty, Conflict)
    assert notes() == ["milk"]


def test_work_may_handle_a_conflict_and_go_on(db: Database, notes: Notes) -> None:
    """A statement that is refused has changed nothing, so work can catch the Conflict and write something else."""

    def work(tx: Tx) -> str:
        tx.run("INSERT INTO note (text) VALUES ('milk')")
        with pytest.raises(Conflict):
            tx.run("INSERT INTO note (text) VALUES ('bread'), ('milk')")
        tx.run("INSERT INTO note (text) VALUES ('eggs')")
        return "done"

    assert db.write_now(work) == "done"
    assert notes() == ["milk", "eggs"]


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), KeyError("a bug"), RuntimeError("a bug")])
def test_a_bug_is_raised_to_whoever_asked(db: Database, add: Add, notes: Notes, bug: Exception) -> None:
    """An exception of the work reaches its caller and nobody else."""

    def broken(tx: Tx) -> NoReturn:
        tx.run("INSERT INTO note (text) VALUES ('by broken work')")
        raise bug

    assert in_one_batch(db, add("first"), broken, add("last")) == ["first", bug, "last"]
    assert notes() == ["first", "last"]


def test_a_stop_iteration_leaves_nobody_waiting(db: Database, add: Add, notes: Notes) -> None:
    """StopIteration, which a future cannot carry, comes as a RuntimeError, and the neighbours get their answers."""

    def broken(_: Tx) -> object:
        return next(iter(()))

    first, bug, last = in_one_batch(db, add("first"), broken, add("last"))
    assert (first, last) == ("first", "last")
    assert isinstance(bug, RuntimeError)
    assert notes() == ["first", "last"]


def test_the_writer_outlives_work_that_breaks_the_transaction(db: Database, add: Add, notes: Notes) -> None:
    """Work that ends the transaction itself is a bug that each of its batch is told; the writer goes on."""
    with pytest.raises(apsw.SQLError):
        db.write_now(lambda tx: tx.run("ROLLBACK"))
    assert db.write_now(add("afterwards")) == "afterwards"
    assert notes() == ["afterwards"]


def test_a_disk_that_fails_once_is_told_to_all_of_the_batch(db: Database, add: Add, notes: Notes) -> None:
    """An input or output error in one piece of work leaves nothing of its batch, and the next batch works."""

    def fail(tx: Tx) -> NoReturn:
        tx.run("INSERT INTO note (text) VALUES ('written before the failure')")
        raise apsw.IOError("disk I/O error")

    outcomes = in_one_batch(db, add("before"), fail, add("after"))
    assert [outcome.reason for outcome in outcomes] == [Reason.STORE_UNAVAILABLE] * 3
    assert notes() == []
    assert db.write_now(add("next")) == "next"
    assert notes() == ["next"]


def test_a_full_disk_is_told_to_all_of_the_batch_and_passes(db: Database, add: Add, notes: Notes) -> None:
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


def test_a_caller_who_gave_up_does_not_undo_the_work(db: Database, add: Add, notes: Notes) -> None:
    """A cancelled caller's work is committed all the same, and the neighbour is answered."""

    async def cancel_one() -> str:
        with held_up(db):
            given_up = asyncio.ensure_future(db.write(add("given up")))
            neighbour = asyncio.ensure_future(db.write(add("neighbour")))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.sleep(0)
        return await neighbour

    assert asyncio.run(cancel_one()) == "neighbour"
    assert notes() == ["given up", "neighbour"]


def test_a_loop_that_is_gone_does_not_stop_the_others(db: Database, add: Add, notes: Notes) -> None:
    """An event loop that was closed before its answer came harms nobody."""

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        db._writer.submit(add("from a loop that is gone"), loop.create_future(), loop)

    with held_up(db):
        asyncio.run(leave())
    assert db.write_now(add("afterwards")) == "afterwards"
    assert notes() == ["from a loop that is gone", "afterwards"]


def test_each_event_loop_gets_its_own_answers(db: Database, add: Add, notes: Notes) -> None:
    """Callers on several threads, with loops of their own and without, share the writer."""
    answers: dict[str, str] = {}

    def with_loop(text: str) -> None:
        async def write() -> str:
            return await db.write(add(text))

        answers[text] = asyncio.run(write())

    def without(text: str) -> None:
        answers[text] = db.write_now(add(text))

    threads = [
        threading.Thread(target=target, args=(f"{target.__name__}{n}",))
        for n in range(4)
        for target in (with_loop, without)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(text == answer for text, answer in answers.items())
    assert sorted(notes()) == sorted(answers)


def test_a_long_queue_is_cut_into_batches(db: Database, notes: Notes) -> None:
    """More than BATCH_MAX waiting writes take a second commit, so that the first are not kept waiting for all."""

    def number(n: int) -> Callable[[Tx], int]:
        return lambda tx: tx.run("INSERT INTO note (text) VALUES (:text)", text=str(n))

    commits = commits_of(db)
    assert in_one_batch(db, *map(number, range(BATCH_MAX + 1))) == [1] * (BATCH_MAX + 1)
    assert len(commits) == 3  # that of the work that held the writer up, a full one, and one for the last
    assert len(notes()) == BATCH_MAX + 1


def test_an_awaiting_caller_is_answered_in_its_own_loop(db: Database, add: Add) -> None:
    """`write` answers inside the loop that asked."""

    async def write() -> tuple[str, int]:
        return await db.write(add("milk")), threading.get_ident()

    coroutine: Coroutine[Any, Any, tuple[str, int]] = write()
    assert asyncio.run(coroutine) == ("milk", threading.get_ident())
