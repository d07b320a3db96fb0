"""Two commands that do the same at the same moment: it is done once, and both are told."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.postgres import Server

from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.bootstrap import bootstrap
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
def doors(server: Server) -> Iterator[list[Database]]:
    """Two commands' doors to one PostgreSQL database with a tenant in it; on SQLite one waits for the other."""
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


class Overtaken:
    """A door through which a transaction looks once, and then others are faster."""

    def __init__(self, db: Database, others: Callable[[], object]) -> None:
        self._db = db
        self._others = others

    def write_now(self, work: Callable[[Any], Any]) -> Any:
        return self._db.write_now(lambda tx: work(_OvertakenTx(tx, self._others)))


class _OvertakenTx:
    def __init__(self, tx: Tx, others: Callable[[], object]) -> None:
        self._tx = tx
        self._others = others
        self._looked = False

    def rows(self, sql: str, **values: Any) -> list[Any]:
        found = self._tx.rows(sql, **values)
        if not self._looked:
            self._looked = True
            self._others()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


def test_two_first_starts_make_one_tenant(server: Server) -> None:
    """Of two servers that find an empty database at the same moment one makes tenant and key, the other goes on without."""
    url = server.url(server.new_database(server.migrated))
    ours, theirs = PostgresDatabase(url), PostgresDatabase(url)
    made: list[object] = []
    late: Any = Overtaken(ours, lambda: made.append(bootstrap(theirs, FakeClock())))
    assert bootstrap(late, FakeClock()) is None
    assert made[0] is not None
    assert [tenant.name for tenant in ours.read(tenants.tenants)] == ["demo"]
    for db in (ours, theirs):
        db.close()
