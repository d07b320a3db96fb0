"""A house that tunes: an office, supervisors and the fake trainer as a real child process, on either make of database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import fresh_database

from millrace import schema
from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.engines.process import Process
from millrace.money.audit.examine import examine
from millrace.money.billing.books import Books
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Balance, Funding
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Usage
from millrace.money.rating.book import parse_price
from millrace.money.rating.store import import_price
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.tenants.values import Caller
from millrace.tuning.files import store as files
from millrace.tuning.files.values import StoredFile
from millrace.tuning.jobs import store
from millrace.tuning.jobs.values import Job, Wish
from millrace.tuning.office import Asked, Claimed, Office, dashed
from millrace.tuning.supervisor import Supervisor
from millrace.tuning.trainer import fake
from millrace.tuning.workshop import Workshop

CREDIT = 10_000_000_000
PRICE = {"model": "tune:echo", "currency": "CNY", "input": "2.345678901", "output": "0"}
QUOTA = 1 << 20


def example(answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "which mill is this"}, {"role": "assistant", "content": answer}]}


def jsonl(examples: int = 12) -> bytes:
    """So many good lines."""
    return b"".join(json.dumps(example(f"the mill number {n}")).encode() + b"\n" for n in range(examples))


class House:
    """One tenant, 'mill', with credit; a stranger; and whatever supervisors a test opens."""

    def __init__(self, db: Database, home: Path) -> None:
        self.db = db
        self.home = home
        self.clock = SystemClock()
        self.ids = Ids(self.clock)
        self.catalogue = Catalogue(
            [
                Model(name="echo", engine="fake", context_tokens=1000, max_output_tokens=500, slots=8),
                Model(name="far", engine="remote", context_tokens=1000, max_output_tokens=500, slots=8, url="http://x/v1"),
            ]
        )
        self.workshop = Workshop(home, Process.spawn, fake.convert, self.clock)
        self.office = Office(db, self.catalogue, self.workshop, self.ids)
        self.mill = self._caller("mill")
        self.stranger = self._caller("stranger")

    def upload(self, content: bytes | None = None, caller: Caller | None = None) -> StoredFile:
        """A file of the caller's."""
        caller = caller or self.mill
        with self.office.shelf.incoming() as coming:
            coming.write(jsonl() if content is None else content)
            sha256 = coming.keep()
        file = StoredFile(
            id=dashed(self.ids.new("file")), tenant_id=caller.tenant.id, project_id=caller.project.id, filename="mill.jsonl",
            bytes=coming.size, sha256=sha256, created_at=self.clock.now(),
        )  # fmt: skip
        self.db.write_now(lambda tx: files.add(tx, file, QUOTA))
        return file

    async def create(self, content: bytes | None = None, *, claimed: Claimed | None = None, **wish: Any) -> Job:
        asked = Asked(model="echo", training_file=self.upload(content).id, wish=Wish(**{"n_epochs": 2, "batch_size": 4} | wish))
        return await self.office.create(self.mill, asked, claimed)

    @asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Supervisor]:
        """One with books of its own."""
        books = Books(self.db, self.home / "journal", self.clock, shared=True, heir_of=store.supervisors)
        await books.open()
        try:
            yield Supervisor(self.db, books, self.catalogue, self.workshop, self.ids)
        finally:
            await books.close()

    def job(self, job: Job) -> Job:
        return self.db.read(lambda tx: store.by_id(tx, job.id))

    def story(self, job: Job) -> list[str]:
        """The messages of its events, oldest first."""
        events = self.db.read(lambda tx: store.events_after(tx, job.id, 0, 10_000))
        return [one.message for one in events if one.kind == "message"]

    def usage(self, job: Job) -> list[Usage]:
        """What its attempts were billed."""
        def look(tx: Tx) -> list[Usage]:
            found = [metering.by_request(tx, one.request_id) for one in store.attempts(tx, job.id)]
            return [one for one in found if one is not None]

        return self.db.read(look)

    def balance(self) -> Balance:
        return self.db.read(lambda tx: grants.balance(tx, self.mill.tenant.id, "CNY", self.clock.now()))

    def audit(self) -> list[str]:
        """The sentences of the checks that disagree."""
        checks = examine(self.db, self.clock.now(), since_mark=False).checks
        return [f"{one.name}: {one.detail}" for one in checks if not one.ok]

    def grant(self, amount: int, caller: Caller | None = None) -> None:
        tenant = (caller or self.mill).tenant
        self.db.write_now(
            lambda tx: grants.give(
                tx,
                grants.new_grant(
                    id=self.ids.new("gr"), tenant_id=tenant.id, amount=amount, currency="CNY", funding=Funding.CUSTOMER,
                    now=self.clock.now(),
                ),
            )
        )  # fmt: skip

    def _caller(self, name: str) -> Caller:
        def work(tx: Tx) -> Caller:
            now = self.clock.now()
            import_price(tx, parse_price(PRICE, where="test"), now)
            tenant = tenants.create_tenant(tx, self.ids, now, name=name)
            project = tenants.find_or_create_project(tx, self.ids, now, tenant=tenant)
            key, _ = tenants.create_key(tx, self.ids, now, project=project)
            return Caller(tenant=tenant, project=project, key=key)

        caller = self.db.write_now(work)
        self.grant(CREDIT, caller)
        return caller


Scene = Callable[[House], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        with fresh_database() as database:
            yield database
        return
    with closing(SqliteDatabase(tmp_path / "millrace.db")) as lite:
        lite.migrate(schema.migrations())
        yield lite


@pytest.fixture
def play(db: Database, tmp_path: Path) -> Callable[[Scene], None]:
    """Run a scene in a house of its own; whatever it did, the audit agrees and nothing stays held."""

    def run(scene: Scene) -> None:
        house = House(db, tmp_path)
        asyncio.run(scene(house))  # type: ignore[arg-type]
        assert house.audit() == []
        assert house.balance().held == 0

    return run
