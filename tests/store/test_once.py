"""Two commands that do the same at the same moment: it is done once, and both are told."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests import postgres

from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.rating.book import parse_price
from millrace.money.rating.store import import_price
from millrace.store.database import Database
from millrace.store.once import write_once
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.transaction import Conflict, Tx
from millrace.tenants import store as tenants
from millrace.tenants.values import Mode

IDS = Ids(FakeClock())


@pytest.fixture
def doors() -> Iterator[list[Database]]:
    """Two commands' doors to one PostgreSQL database with a tenant in it; on SQLite one waits for the other."""
    server = postgres.shared()
    url = server.url(server.new_database(server.migrated))
    both: list[Database] = [PostgresDatabase(url), PostgresDatabase(url)]
    both[0].write_now(lambda tx: tenants.create_tenant(tx, IDS, 0, name="acme", mode=Mode.PREPAID, currency="CNY"))
    yield both
    for db in both:
        db.close()


def at_once(doors: list[Database], work: Callable[[Tx], Any]) -> list[Any]:
    """What two commands are told that both look before either writes."""
    together = threading.Barrier(2)
    told: list[Any] = []

    def command(db: Database) -> None:
        met = False

        def waiting(tx: Tx) -> Any:
            nonlocal met
            tx.rows("SELECT id FROM tenant")
            if not met:
                met = True
                together.wait()
            return work(tx)

        told.append(write_once(db, waiting))

    threads = [threading.Thread(target=command, args=(db,)) for db in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_one_key_gives_one_grant(doors: list[Database]) -> None:
    """`grant create` twice at once with one idempotency key: one grant, and both answer with it."""

    def give(tx: Tx) -> Any:
        tenant = tenants.tenant_named(tx, "acme")
        return grants.give(
            tx,
            grants.new_grant(
                id=IDS.new("grant"), tenant_id=tenant.id, amount=7, currency="CNY", funding=Funding.CUSTOMER, now=1,
                idempotency_key="payment-1",
            ),
        )  # fmt: skip

    for _ in range(5):
        one, two = at_once(doors, give)
        assert one == two
    tenant = doors[0].read(lambda tx: tenants.tenant_named(tx, "acme"))
    assert doors[0].read(lambda tx: grants.balance(tx, tenant.id, "CNY", 2)).balance == 7


def test_one_file_makes_one_version(doors: list[Database]) -> None:
    """`price import` twice at once: one of them makes the version, the other finds it unchanged."""
    for price in ("1", "2", "3"):
        new = parse_price({"model": "tiny", "currency": "CNY", "input": price, "output": "4"}, where="prices.toml")
        (one, made_one), (two, made_two) = at_once(doors, lambda tx, new=new: import_price(tx, new, 5))  # type: ignore[misc]
        assert one == two
        assert {made_one, made_two} == {True, False}


def test_what_never_works_is_not_tried_for_ever(doors: list[Database]) -> None:
    """A constraint that refuses twice is told."""
    tried = []

    def work(_tx: Tx) -> None:
        tried.append(1)
        raise Conflict("no")

    with pytest.raises(Conflict):
        write_once(doors[0], work)
    assert len(tried) == 2
