"""Where the books are measured: a store of either make with so many tenants moved in, new for each turn, and a raw way into it.

SQLite is a file as the house opens it (WAL, synchronous=FULL). PostgreSQL is a server of its own, made in a temporary folder
with its defaults (fsync on). Raw, on both, means that nobody looks whether rows refer to something: no foreign key, no trigger.
"""

import contextlib
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

import psycopg
from tests.postgres import Server, programs

from millrace import schema
from millrace.generation.chunk import TokenCounts
from millrace.money.billing.hold import Payer
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.rating.book import PriceVersion, parse_price
from millrace.money.rating.store import import_price
from millrace.store.database import Database
from millrace.store.sqlite import connect
from millrace.store.transaction import Scalar, Tx

Row = tuple[Scalar, ...]
Commit = Callable[[Sequence[Row], Sequence[Row]], None]
"""Transfers and usage rows, durable when it returns."""

COUNTS: Final = TokenCounts(812, 512, 143, 0)
MODEL: Final = "qwen3-max"
REVENUE: Final = f"revenue/CNY/{MODEL}"

TRANSFER: Final = ("id", "kind", "debit_account", "credit_account", "amount", "pending_id", "at", "chain", "hash")
USAGE: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "status", "counted_by", "input", "cached_input", "output",
    "reasoning", "waived", "price_id", "tier", "amount", "currency", "epoch", "started_at", "finished_at",
)  # fmt: skip


def payers(tenants: int) -> list[Payer]:
    """Ids of the length that real ones have."""
    names = [f"01k8f3v5c0e9w2m7q4r6{number:06d}" for number in range(tenants)]
    return [
        Payer(tenant_id=f"ten_{one}", project_id=f"proj_{one}", key_id=f"key_{one}", currency="CNY", budget=None)
        for one in names
    ]  # fmt: skip


def grant_of(payer: Payer) -> str:
    return payer.tenant_id.replace("ten_", "gr_")


class Ground(ABC):
    """One make of store. Used as a context: what it started is gone afterwards."""

    title: ClassVar[str]

    def __init__(self, tenants: int) -> None:
        self.payers = payers(tenants)
        self.price: PriceVersion

    @abstractmethod
    def fresh(self) -> contextlib.AbstractContextManager[Path | str]:
        """Where a new database lies that has the tenants, their keys, a price and a grant each, and nothing else."""

    @abstractmethod
    def raw(self, place: Path | str) -> contextlib.AbstractContextManager[Commit]:
        """The fastest insert that the store has, without a question asked."""

    def _move_in(self, place: Path | str) -> None:
        db = schema.open_database(place)
        self.price = db.write_now(self._seed)
        db.close()

    def _seed(self, tx: Tx) -> PriceVersion:
        now = time.time_ns()
        tx.insert(
            "tenant", ("id", "name", "mode", "currency", "credit_limit", "created_at"),
            [(one.tenant_id, one.tenant_id, "prepaid", "CNY", 0, 0) for one in self.payers],
        )  # fmt: skip
        tx.insert(
            "project", ("id", "tenant_id", "name", "created_at"),
            [(one.project_id, one.tenant_id, "default", 0) for one in self.payers],
        )  # fmt: skip
        tx.insert(
            "api_key", ("id", "project_id", "sha256", "scopes", "created_at"),
            [(one.key_id, one.project_id, one.key_id, "inference", 0) for one in self.payers],
        )  # fmt: skip
        for one in self.payers:
            grants.give(tx, grants.new_grant(
                id=grant_of(one), tenant_id=one.tenant_id, amount=10**15, currency="CNY", funding=Funding.CUSTOMER, now=now
            ))  # fmt: skip
        said = {"model": MODEL, "currency": "CNY", "input": "2.5", "cached_input": "0.5", "output": "10"}
        return import_price(tx, parse_price(said, where="prices"), now)[0]


class OnSqlite(Ground):
    title = "SQLite"

    def __init__(self, tenants: int, folder: Path) -> None:
        super().__init__(tenants)
        self._folder = folder
        self._seeded = folder / f"seeded-{tenants}.db"
        self._move_in(self._seeded)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Path | str]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            place = Path(folder) / "millrace.db"
            shutil.copy(self._seeded, place)
            yield place

    @contextlib.contextmanager
    def raw(self, place: Path | str) -> Iterator[Commit]:
        connection = connect(Path(place), writable=True)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(f"INSERT OR IGNORE INTO account (id, currency) VALUES ('{REVENUE}', 'CNY')")  # noqa: S608
        into = {table: _insertion(table, columns) for table, columns in (("transfer", TRANSFER), ("usage", USAGE))}

        def commit(transfers: Sequence[Row], usage: Sequence[Row]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(into["transfer"], transfers)
            connection.executemany(into["usage"], usage)
            connection.execute("COMMIT")

        yield commit
        connection.close()


class OnPostgres(Ground):
    title = "PostgreSQL"

    def __init__(self, tenants: int, server: Server) -> None:
        super().__init__(tenants)
        self._server = server
        self._seeded = server.new_database(server.migrated)
        self._move_in(server.url(self._seeded))

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Path | str]:
        name = self._server.new_database(self._seeded)
        yield self._server.url(name)
        self._server.ask(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def raw(self, place: Path | str) -> Iterator[Commit]:
        with psycopg.connect(str(place), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("INSERT INTO account (id, currency) VALUES (%s, 'CNY') ON CONFLICT DO NOTHING", [REVENUE])

            def commit(transfers: Sequence[Row], usage: Sequence[Row]) -> None:
                with connection.transaction(), connection.cursor() as cursor:
                    for table, columns, rows in (("transfer", TRANSFER, transfers), ("usage", USAGE, usage)):
                        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                            for row in rows:
                                copy.write_row(row)

            yield commit


@contextlib.contextmanager
def server() -> Iterator[Server | None]:
    """A PostgreSQL server with its default durability; None where PostgreSQL's programs are not installed."""
    if programs() is None:
        yield None
        return
    made = Server(())
    try:
        made.start()
        yield made
    finally:
        made.remove()


def connected(place: Path | str) -> Database:
    return schema.connect(place)


def disk_of(folder: Path) -> str:
    """What kind of file system the figures were taken on."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind = line.split()[:3]
        if os.path.commonpath([mount, folder.resolve()]) == mount and len(mount) > len(best[0]):
            best = mount, kind
    return best[1]


def _insertion(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"  # noqa: S608
