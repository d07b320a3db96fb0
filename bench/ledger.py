"""Hold and settle beside a raw insert of the same rows: `python -m bench.ledger`, `--seconds` for a quick look.

Three ways to write the two transfers and the usage row of a request, durable in SQLite (WAL, synchronous=FULL), in turns on
fresh files of one folder:

raw     the finished rows with `executemany`, 1,000 requests a commit; nothing is asked, no balance is kept
ledger  hold and settle as the writer makes them, 1,000 orders a commit, without an event loop
books   `Books.hold` and `Books.settle` by so many callers at once, as the gateway calls them

A ratio is the median of the rounds' ratios. The rows have the length of real ones; one tenant and one key, which is the
worst case for locks and the best for caches.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct

from bench.report import Conditions, Table, append, median, show, spread
from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.audit.run import audit
from millrace.money.billing.books import Books
from millrace.money.billing.desk import Ours
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import Order, ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.epochs import store as epochs
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.ledger.chain import GENESIS
from millrace.money.metering.usage import Status
from millrace.money.rating.book import PriceVersion, parse_price
from millrace.money.rating.store import import_price
from millrace.schema import migrations
from millrace.store.database import Database
from millrace.store.sqlite import connect
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx

BATCH: Final = 1_000
"""Requests in a commit, where the way chooses: what the writer takes at most."""

OUTCOME: Final = Outcome(
    status=Status.COMPLETED, counts=TokenCounts(812, 512, 143, 0), counted_by=CountedBy.ENGINE
)
PAYER: Final = Payer(
    tenant_id="ten_01k8f3v5c0e9w2m7q4r6t8y0a1", project_id="proj_01k8f3v5c0e9w2m7q4r6t8y0b2",
    key_id="key_01k8f3v5c0e9w2m7q4r6t8y0c3", currency="CNY", budget=None,
)  # fmt: skip
GRANT_ID: Final = "gr_01k8f3v5c0e9w2m7q4r6t8y0d4"

TRANSFER: Final = """INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at, chain, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
USAGE: Final = """INSERT INTO usage (request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input,
output, reasoning, waived, price_id, tier, amount, currency, epoch, started_at, finished_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

Turn = Callable[[Path, float], float]
"""Fill a new database in a folder for so many seconds; returns requests a second."""


class Way(Struct, frozen=True):
    name: str
    turn: Turn


def main() -> None:
    options = _parser().parse_args()
    conditions = Conditions.now()
    ways = [
        Way("raw", raw), Way("ledger", ledger),
        *(Way(f"books, {callers:,} callers", _books_with(callers)) for callers in options.callers),
    ]  # fmt: skip
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            with tempfile.TemporaryDirectory() as folder:
                rates[way.name].append(way.turn(Path(folder), options.seconds))
    table = _table(rates)
    show(conditions, [table])
    if options.log:
        append("hold and settle", conditions, [table])


def raw(folder: Path, seconds: float) -> float:
    """The rows that hold and settle leave behind, made beforehand and inserted as fast as they go in."""
    price = _house(folder)
    ids = Ids(SystemClock())
    connection = connect(folder / "millrace.db", writable=True)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("INSERT INTO account (id, currency) VALUES ('revenue/CNY/qwen3-max', 'CNY')")
    spent = 0.0
    batches = 0
    while spent < seconds:
        transfers, usage = _rows([ids.new("req") for _ in range(BATCH)], price.id)
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(TRANSFER, transfers)
        connection.executemany(USAGE, usage)
        connection.execute("COMMIT")
        spent += time.perf_counter() - began
        batches += 1
    connection.close()
    return batches * BATCH / spent


def ledger(folder: Path, seconds: float) -> float:
    """Hold and settle, one transaction of many for each, on one thread."""
    price = _house(folder)
    clock = SystemClock()
    ids = Ids(clock)
    db = SqliteDatabase(folder / "millrace.db")
    begun = db.write_now(
        lambda tx: epochs.begin(tx, now=clock.now(), lease_now=clock.monotonic(), home="", lock=lambda _: None)
    )
    ours = Ours(begun.number, begun.slot)

    def hold(request_id: str) -> Order:
        return ToHold(request_id=request_id, payer=PAYER, price=price, input_bound=900, output_bound=500)

    def settle(request_id: str) -> Order:
        return ToSettle(request_id=request_id, outcome=OUTCOME, price=price)

    def write(tx: Tx, orders: Sequence[Order]) -> None:
        for answer in serve(tx, orders, ours, clock.now()):
            if isinstance(answer, Exception):
                raise answer

    spent = 0.0
    batches = 0
    while spent < seconds:
        requests = [ids.new("req") for _ in range(BATCH)]
        began = time.perf_counter()
        for asked in (hold, settle):
            orders = [asked(request_id) for request_id in requests]
            db.write_now(lambda tx, orders=orders: write(tx, orders))  # type: ignore[misc]
        spent += time.perf_counter() - began
        batches += 1
    _close(db)
    return batches * BATCH / spent


def _books_with(callers: int) -> Turn:
    return lambda folder, seconds: uvloop.run(books(folder, seconds, callers))


async def books(folder: Path, seconds: float, callers: int) -> float:
    """As the gateway does it, each caller one request after the other."""
    price = _house(folder)
    clock = SystemClock()
    ids = Ids(clock)
    db = SqliteDatabase(folder / "millrace.db")
    ours = Books(db, folder / "journal", clock)
    await ours.open()
    began = time.perf_counter()

    async def call() -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            hold = await ours.hold(ids.new("req"), PAYER, price, 900, 500)
            await ours.settle(hold, OUTCOME)
            done += 1
        return done

    done = sum(await asyncio.gather(*(call() for _ in range(callers))))
    spent = time.perf_counter() - began
    await ours.close()
    _close(db)
    return done / spent


def _house(folder: Path) -> PriceVersion:
    """A database with one tenant, its key, a price and a grant that lasts."""
    db = SqliteDatabase(folder / "millrace.db")
    db.migrate(migrations())
    price = db.write_now(_seed)
    db.close()
    return price


def _seed(tx: Tx) -> PriceVersion:
    now = time.time_ns()
    tx.run("INSERT INTO tenant VALUES (:id, 'acme', 'prepaid', 'CNY', 0, 0)", id=PAYER.tenant_id)
    tx.run("INSERT INTO project VALUES (:id, :tenant, 'default', 0)", id=PAYER.project_id, tenant=PAYER.tenant_id)
    tx.run(
        "INSERT INTO api_key VALUES (:id, :project, 'x', 'inference', NULL, NULL, NULL, NULL, 0)",
        id=PAYER.key_id, project=PAYER.project_id,
    )  # fmt: skip
    grant = grants.new_grant(
        id=GRANT_ID, tenant_id=PAYER.tenant_id, amount=10**18, currency="CNY", funding=Funding.CUSTOMER, now=now
    )
    grants.give(tx, grant)
    said = {"model": "qwen3-max", "currency": "CNY", "input": "2.5", "cached_input": "0.5", "output": "10"}
    return import_price(tx, parse_price(said, where="prices"), now)[0]


def _rows(requests: Sequence[str], price_id: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    now = time.time_ns()
    grant, revenue = f"grant/{GRANT_ID}", "revenue/CNY/qwen3-max"
    transfers: list[tuple[object, ...]] = []
    usage: list[tuple[object, ...]] = []
    for request_id in requests:
        pending = f"{request_id}/1"
        transfers.append((pending, "pending", grant, revenue, 7_250_000, None, now, 1, GENESIS))
        transfers.append((f"{pending}/end", "post", grant, revenue, 2_436_000, pending, now, 1, GENESIS))
        usage.append((
            request_id, PAYER.tenant_id, PAYER.project_id, PAYER.key_id, "qwen3-max", "completed", "engine", 812, 512, 143, 0,
            0, price_id, 0, 2_436_000, "CNY", 1, now, now,
        ))  # fmt: skip
    return transfers, usage


def _close(db: Database) -> None:
    """What was measured must also be right."""
    wrong = [check for check in db.read(audit) if not check.ok]
    db.close()
    if wrong:
        raise SystemExit(f"the books do not agree: {wrong}")


def _table(rates: dict[str, list[float]]) -> Table:
    base = rates["raw"]
    rows = [
        (name, spread(theirs), "" if theirs is base else f"{median([r / b for r, b in zip(theirs, base, strict=True)]):.2f}")
        for name, theirs in rates.items()
    ]
    return Table(
        title="hold + settle, durable in SQLite", headings=["way", "requests/s", "of raw"], rows=rows,
        note="median over the rounds (least–most)",
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way has its turn (default 5)")
    parser.add_argument("--callers", type=int, nargs="+", default=[64, 2_000], help="of the books at once (default 64 2000)")
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    return parser


if __name__ == "__main__":
    main()
