"""Group commit: what waits together is committed together, and each is told its own outcome."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.transaction import Conflict, Tx

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


def test_an_awaiting_caller_is_answered_in_its_own_loop(db: Database, add: Add) -> None:
    """`write` answers inside the loop that asked."""

    async def write() -> tuple[str, int]:
        return await db.write(add("milk")), threading.get_ident()

    coroutine: Coroutine[Any, Any, tuple[str, int]] = write()
    assert asyncio.run(coroutine) == ("milk", threading.get_ident())
