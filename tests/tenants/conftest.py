"""The cast: Acme owns a key, Acme's lab is a second project of it, and Globex is the stranger who must be refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.store.database import Database
from millrace.store.sqlite import SqliteSession
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx
from millrace.tenants import store
from millrace.tenants.secret import Secret
from millrace.tenants.values import Key, Project, Tenant


class Cast(Struct, frozen=True, kw_only=True):
    """Who is there at the beginning of each test."""

    acme: Tenant
    production: Project
    lab: Project
    key: Key
    secret: Secret
    globex: Tenant
    globex_key: Key
    globex_secret: Secret


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ids(clock: FakeClock) -> Ids:
    return Ids(clock)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and no rows, made once."""
    path = tmp_path_factory.mktemp("blank") / "blank.db"
    db = SqliteDatabase(path)
    db.migrate(schema.migrations())
    db.close()
    return path


@pytest.fixture
def db(blank: Path, tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(Path(shutil.copy(blank, tmp_path / "millrace.db")))
    session = database._writer._session
    assert isinstance(session, SqliteSession)
    session._connection.execute("PRAGMA synchronous = OFF")  # nothing here cuts the power
    yield database
    database.close()


@pytest.fixture
def cast(db: Database, ids: Ids, clock: FakeClock) -> Cast:
    def make(tx: Tx) -> Cast:
        at = clock.now()
        acme = store.create_tenant(tx, ids, at, name="acme")
        production = store.create_project(tx, ids, at, tenant=acme, name="production")
        lab = store.create_project(tx, ids, at, tenant=acme, name="lab")
        key, secret = store.create_key(tx, ids, at, project=production)
        globex = store.create_tenant(tx, ids, at, name="globex")
        theirs = store.find_or_create_project(tx, ids, at, tenant=globex)
        globex_key, globex_secret = store.create_key(tx, ids, at, project=theirs)
        return Cast(
            acme=acme, production=production, lab=lab, key=key, secret=secret,
            globex=globex, globex_key=globex_key, globex_secret=globex_secret,
        )

    return db.write_now(make)
