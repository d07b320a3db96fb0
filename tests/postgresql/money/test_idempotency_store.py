"""tests/money/idempotency/test_store.py on PostgreSQL, and two servers that claim at the same moment."""

import contextlib
import threading

import pytest
from tests.money.idempotency.test_store import *  # noqa: F403 - each of its tests is one of this file
from tests.money.idempotency.test_store import Keys, what
from tests.postgres import Server

from millrace.money.idempotency import store
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.transaction import Conflict, Tx

del db  # noqa: F821 - this folder's


@pytest.mark.parametrize("kept", [True, False])
def test_two_servers_claim_one_after_the_other(server: Server, kept: bool) -> None:
    """While a claim's transaction is open the same key waits for it: taken when it was kept, free when it was rolled back."""
    url = server.url(server.new_database(server.migrated))
    ours, theirs = Keys(PostgresDatabase(url)), PostgresDatabase(url)
    claimed, go_on = threading.Event(), threading.Event()
    answers: list[str] = []

    def open_claim(tx: Tx) -> None:
        store.claim(tx, [ours.wish(1, "a"), ours.wish(2, "b")], 0)
        claimed.set()
        go_on.wait()
        if not kept:
            raise Conflict("rolled back")

    def first() -> None:
        with contextlib.suppress(Conflict):
            theirs.write_now(open_claim)

    def second() -> None:
        answers.append(what(ours.claim(ours.wish(3, "b"), ours.wish(4, "a"), ours.wish(5, "c"))))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    claimed.wait()
    threads[1].start()
    threads[1].join(0.05)
    waited = threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert waited
    assert answers == ["rrc" if kept else "ccc"]
    assert ours.space()[0] == 3
    for db in (ours.db, theirs):
        db.close()
