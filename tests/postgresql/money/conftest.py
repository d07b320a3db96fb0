"""The house that money tests live in, on PostgreSQL: one database for each test, a copy of one with cast and prices."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from tests.money.house import NOVEMBER_23, House, begin_epoch, move_in, price_of
from tests.postgres import Server

from millrace.base.clock import FakeClock
from millrace.store.postgres import PostgresSession
from millrace.store.postgres_connection import Address
from millrace.store.transaction import Tx

T = TypeVar("T")

TAMPERED = """
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT conname, conrelid::regclass AS name FROM pg_constraint
    WHERE contype = 'c' AND connamespace = 'public'::regnamespace
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.name, one.conname);
  END LOOP;
END $$
"""


class PostgresHouse(House):
    """The same house; each piece of work is a transaction of its own."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock(NOVEMBER_23)
        self.session = PostgresSession(Address(url))
        self.tx = self.session.tx  # type: ignore[assignment]  # the house's own is SQLite's
        self.epoch, self.slot = self.do(lambda tx: begin_epoch(tx, self.clock.now()))
        self.taken: frozenset[int] = frozenset()
        self.price = {model: price_of(self.session.tx, model) for model in ("tiny", "free")}
        self._grants = 0

    def do(self, work: Callable[[Tx], T]) -> T:
        self.session.begin()
        try:
            done = work(self.session.tx)
            self.session.commit()
        except BaseException:
            self.session.roll_back()
            raise
        return done

    def tamper(self, *statements: str) -> None:
        """Change rows behind the books' back: no trigger, foreign key or CHECK stands in the way."""
        for statement in ("SET session_replication_role = replica", TAMPERED, *statements):
            self.session.tx.run(statement.replace("zeroblob(32)", "decode(repeat('00', 32), 'hex')"))


@pytest.fixture(scope="session")
def seeded(server: Server) -> str:
    """The name of a database with the cast and the prices, to be copied."""
    name = server.new_database(server.migrated)
    session = PostgresSession(Address(server.url(name)))
    session.begin()
    move_in(session.tx)
    session.commit()
    session.close()
    return name


@pytest.fixture
def house(server: Server, seeded: str) -> Iterator[House]:
    name = server.new_database(seeded)
    living = PostgresHouse(server.url(name))
    yield living
    living.session.close()
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")
