"""The audit closes its range beside servers that must renew their leases."""

import threading

import pytest
from psycopg.errors import LockNotAvailable
from tests.money.house import House
from tests.postgres import Server
from tests.postgresql.money.conftest import PostgresHouse

from millrace.money.audit import store
from millrace.money.epochs import store as epochs
from millrace.store.postgres import PostgresSession
from millrace.store.postgres_connection import Address


def test_a_long_transaction_on_transfers_does_not_keep_servers_from_renewing(house: House, server: Server) -> None:
    """The audit has `epoch` while it waits for `transfer`: it lets go of it long before a lease is over."""
    assert isinstance(house, PostgresHouse)
    database = house.session.tx.row("SELECT current_database()")
    assert database is not None
    long, auditor = (PostgresSession(Address(server.url(database[0]))) for _ in range(2))
    long.begin()
    long.tx.run("LOCK TABLE transfer IN ROW EXCLUSIVE MODE")

    def seal() -> None:
        auditor.begin()
        with pytest.raises(LockNotAvailable):
            store.seal(auditor.tx)
        auditor.roll_back()

    waiting = threading.Thread(target=seal)
    waiting.start()
    while not house.session.tx.row("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        waiting.join(0.01)
    house.session.tx.run("SET statement_timeout = 1500")
    assert house.do(lambda tx: epochs.renew(tx, house.epoch, 1))
    waiting.join()
    for session in (long, auditor):
        session.roll_back()
        session.close()
