"""What an empty home gets on its first start, and that it gets it once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.bootstrap import bootstrap
from millrace.money.audit.run import audit
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.tenants import store as tenants
from millrace.tenants.authenticate import Directory
from millrace.tenants.values import Mode, Scope


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = SqliteDatabase(tmp_path / "millrace.db")
    database.migrate(schema.migrations())
    yield database
    database.close()


def test_the_first_start_makes_everything_that_a_request_needs(db: Database) -> None:
    """Tenant demo (prepaid, CNY), project default, an operator's grant of 10.00, and a key with both scopes."""
    clock = FakeClock()
    first = bootstrap(db, clock)
    assert first is not None
    caller = asyncio.run(Directory(db, clock).caller(first.secret))
    assert (caller.tenant.name, caller.tenant.mode, caller.tenant.currency) == ("demo", Mode.PREPAID, "CNY")
    assert (caller.project.name, caller.key.id, caller.key.scopes) == ("default", first.key_id, frozenset(Scope))
    (grant,) = db.read(lambda tx: grants.of_tenant(tx, caller.tenant.id))
    assert (grant.amount, grant.funding, grant.expires_at) == (10 * NANO, Funding.OPERATOR, None)
    assert all(check.ok for check in db.read(audit))


def test_a_second_start_makes_nothing(db: Database) -> None:
    """The secret is told once; a home with its tenant stays as it is."""
    bootstrap(db, FakeClock())
    assert bootstrap(db, FakeClock()) is None
    (tenant,) = db.read(tenants.tenants)
    assert len(db.read(lambda tx: tenants.keys(tx, tenant))) == 1


def test_a_home_with_a_tenant_of_its_own_gets_no_demo(db: Database) -> None:
    """Whoever has set up tenants before the first start wants no other."""
    clock = FakeClock()
    acme = db.write_now(lambda tx: tenants.create_tenant(tx, Ids(clock), clock.now(), name="acme"))
    assert bootstrap(db, clock) is None
    assert db.read(tenants.tenants) == [acme]


def test_the_secret_is_not_in_the_text_of_what_is_returned(db: Database) -> None:
    """A log of the value does not give the key away."""
    first = bootstrap(db, FakeClock())
    assert first is not None
    assert first.secret not in repr(first)
