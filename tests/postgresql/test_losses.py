"""What becomes of a transaction whose server, connection or answer is lost: it is kept once, or refused and not kept."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.postgres import FAST, Server
from tests.postgresql.proxy import Cut, Proxy

from millrace.base.errors import Reason, Refusal
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.transaction import Tx

MINE = "SELECT pg_backend_pid()"


@pytest.fixture(scope="module")
def frail() -> Iterator[Server]:
    """A server that the tests of this file stop, start and crash."""
    server = Server(FAST)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def proxy(frail: Server) -> Iterator[Proxy]:
    wire = Proxy(frail.port)
    yield wire
    wire.close()


@pytest.fixture
def db(frail: Server, proxy: Proxy) -> Iterator[PostgresDatabase]:
    """With a table of notes, reached over the proxy."""
    name = frail.new_database()
    database = PostgresDatabase(frail.url(name).replace(str(frail.port), str(proxy.port)))
    database.write_now(lambda tx: tx.run("CREATE TABLE note (seq BIGINT GENERATED ALWAYS AS IDENTITY, text TEXT NOT NULL)"))
    yield database
    database.close()


def add(text: str) -> Callable[[Tx], str]:
    def work(tx: Tx) -> str:
        tx.run("INSERT INTO note (text) VALUES (:text)", text=text)
        return text

    return work


def notes(db: PostgresDatabase) -> list[str]:
    return [text for (text,) in db.read(lambda tx: tx.rows("SELECT text FROM note ORDER BY seq"))]


def backend(db: PostgresDatabase) -> int:
    row = db.write_now(lambda tx: tx.row(MINE))
    assert row is not None
    return int(row[0])


def test_a_connection_that_died_while_idle_costs_nobody_anything(db: PostgresDatabase, frail: Server) -> None:
    """The server closed it between two writes: the second one is kept, on a new connection."""
    frail.ask(f"SELECT pg_terminate_backend({backend(db)}, 5000)")
    assert db.write_now(add("milk")) == "milk"
    assert notes(db) == ["milk"]


def test_a_connection_that_dies_within_the_work_is_made_again(db: PostgresDatabase, frail: Server) -> None:
    """The work is run a second time, and what is kept is kept once."""
    runs: list[str] = []

    def work(tx: Tx) -> str:
        runs.append("run")
        add("milk")(tx)
        if len(runs) == 1:
            frail.ask(f"SELECT pg_terminate_backend({(tx.row(MINE) or ())[0]}, 5000)")
        return add("bread")(tx)

    assert db.write_now(work) == "bread"
    assert (len(runs), notes(db)) == (2, ["milk", "bread"])


def test_a_connection_that_dies_just_before_the_commit_is_made_again(db: PostgresDatabase, frail: Server) -> None:
    """The last statement was answered, COMMIT never arrived at a living backend: aborted, run again, kept once."""
    runs: list[str] = []

    def work(tx: Tx) -> str:
        runs.append("run")
        add("milk")(tx)
        if len(runs) == 1:
            frail.ask(f"SELECT pg_terminate_backend({(tx.row(MINE) or ())[0]}, 5000)")
        return "milk"

    assert db.write_now(work) == "milk"
    assert (len(runs), notes(db)) == (2, ["milk"])


@pytest.mark.parametrize(("cut", "runs"), [("before the question", 2), ("before the answer", 1)])
def test_a_commit_without_an_answer_is_asked_after(db: PostgresDatabase, proxy: Proxy, cut: Cut, runs: int) -> None:
    """Where the COMMIT arrived its work is kept; where it did not, the work is run again. Kept once, both times."""
    ran: list[str] = []

    def work(tx: Tx) -> str:
        ran.append("run")
        return add("milk")(tx)

    backend(db)
    proxy.cut = cut
    assert db.write_now(work) == "milk"
    assert (len(ran), notes(db)) == (runs, ["milk"])


def test_a_commit_is_asked_after_when_the_server_is_back(db: PostgresDatabase, proxy: Proxy, frail: Server) -> None:
    """The server was stopped in good order before its answer came: the new one knows that the work is kept."""
    backend(db)
    proxy.cut, proxy.meanwhile = "before the answer", frail.restart
    assert db.write_now(add("milk")) == "milk"
    assert notes(db) == ["milk"]


def test_a_commit_before_a_crash_is_not_claimed_to_be_known(db: PostgresDatabase, proxy: Proxy, frail: Server) -> None:
    """After a crash a number of a transaction may be another's: the caller is told that a repetition decides."""
    backend(db)
    proxy.cut, proxy.meanwhile = "before the answer", lambda: frail.restart(signal.SIGQUIT)
    with pytest.raises(Refusal, match="repeating it with the same id is safe") as caught:
        db.write_now(add("milk"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert db.write_now(add("bread")) == "bread"


def test_a_commit_that_a_crash_undid_is_run_again(db: PostgresDatabase, proxy: Proxy, frail: Server) -> None:
    """It never arrived, and the server crashed: aborted on the same server, whatever happened to it."""
    backend(db)
    proxy.cut, proxy.meanwhile = "before the question", lambda: frail.restart(signal.SIGQUIT)
    assert db.write_now(add("milk")) == "milk"
    assert notes(db) == ["milk"]


def test_a_server_that_is_away_is_a_refusal_and_comes_back(db: PostgresDatabase, frail: Server) -> None:
    """Writes and reads are refused with what to check while there is no server, and work when there is one again."""
    db.write_now(add("milk"))
    assert notes(db) == ["milk"]
    frail.stop()
    for use in (lambda: db.write_now(add("bread")), lambda: notes(db)):
        with pytest.raises(Refusal, match="check that it runs") as caught:
            use()
        assert (caught.value.reason, caught.value.retry_after_s) == (Reason.STORE_UNAVAILABLE, 1)
    frail.start()
    assert db.write_now(add("eggs")) == "eggs"
    assert notes(db) == ["milk", "eggs"]


def test_a_server_that_starts_again_is_waited_for(db: PostgresDatabase, frail: Server) -> None:
    """A restart takes less than the patience of a write: nobody is refused."""
    runs: list[str] = []

    def work(tx: Tx) -> str:
        runs.append("run")
        if len(runs) == 1:
            add("never kept")(tx)
            frail.restart()
        return add("milk")(tx)

    assert db.write_now(work) == "milk"
    assert notes(db) == ["milk"]


def test_two_that_wait_for_each_other_are_both_kept(db: PostgresDatabase, frail: Server) -> None:
    """PostgreSQL ends one of a deadlock; that one is run again."""
    db.write_now(lambda tx: [add(text)(tx) for text in ("a", "b")])
    second = PostgresDatabase(frail.url(str(db.read(lambda tx: tx.row("SELECT current_database()") or ())[0])))
    both = threading.Barrier(2)
    ran: list[str] = []

    def mark(first: str, then: str) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            tx.run("UPDATE note SET text = text || '!' WHERE text LIKE :like", like=f"{first}%")
            ran.append(first)
            if len(ran) <= 2:
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(5)
            tx.run("UPDATE note SET text = text || '?' WHERE text LIKE :like", like=f"{then}%")

        return work

    thread = threading.Thread(target=db.write_now, args=(mark("a", "b"),))
    thread.start()
    second.write_now(mark("b", "a"))
    thread.join()
    second.close()
    assert len(ran) == 3
    assert sorted(notes(db)) in (["a!?", "b?!"], ["a?!", "b!?"])


@pytest.mark.parametrize(
    ("state", "remedy"), [("53100", "its disk is full"), ("53200", "no memory left"), ("58030", "check that it runs")]
)
def test_a_server_in_trouble_is_told_to_all_and_not_tried_again(db: PostgresDatabase, state: str, remedy: str) -> None:
    """A full disk does not pass in five seconds: the caller hears what to do, and nothing is kept."""
    runs: list[str] = []

    def work(tx: Tx) -> None:
        runs.append("run")
        add("milk")(tx)
        tx.run(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'trouble'; END $$")

    with pytest.raises(Refusal, match=remedy) as caught:
        db.write_now(work)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert (len(runs), notes(db)) == (1, [])


def test_a_server_that_became_a_replica_is_left_for_the_primary(db: PostgresDatabase) -> None:
    """A transaction that may not write, as after a fail-over, is run again on a new connection."""
    pids: list[int] = []

    def work(tx: Tx) -> str:
        pids.append((tx.row(MINE) or ())[0])
        if len(pids) == 1:
            tx.run("SET TRANSACTION READ ONLY")
        return add("milk")(tx)

    assert db.write_now(work) == "milk"
    assert (len(set(pids)), notes(db)) == (2, ["milk"])
