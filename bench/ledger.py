"""Hold and settle beside a raw insert of the same rows: `python -m bench.ledger`, `--seconds 1 --rounds 1` for a quick look.

Three ways to write the two transfers and the usage row of a request, durable, in turns on fresh databases:

raw     the finished rows as fast as the store takes them (SQLite: executemany; PostgreSQL: COPY), 1,000 requests a commit;
        nothing is asked, no balance is kept, nothing is read
ledger  hold and settle as the writer makes them, 1,000 of each a commit, without an event loop; in turns with raw
books   `Books.hold` and `Books.settle` by so many callers at once, as the gateway calls them

A ratio is the median of the rounds' ratios. The rows have the length of real ones. With one tenant every request wants the same
three rows; with a thousand, hardly two of a batch do.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct

from bench.grounds import COUNTS, MODEL, REVENUE, Ground, OnPostgres, OnSqlite, Row, connected, disk_of, grant_of, server
from bench.report import Conditions, Table, append, show, spread
from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.generation.chunk import CountedBy
from millrace.money.audit.run import audit
from millrace.money.billing.books import Books
from millrace.money.billing.desk import Ours
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import Order, ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.epochs import store as epochs
from millrace.money.ledger.chain import GENESIS
from millrace.money.metering.usage import Status
from millrace.store.database import Database
from millrace.store.transaction import Tx

BATCH: Final = 1_000
"""Requests in a commit, where the way chooses: so many holds, and as many settlements."""

GOALS: Final = {"SQLite": 50_000, "PostgreSQL": 40_000}
RATIO_GOAL: Final = 0.5

INPUT_BOUND: Final = 900
OUTPUT_BOUND: Final = 500
OUTCOME: Final = Outcome(status=Status.COMPLETED, counts=COUNTS, counted_by=CountedBy.ENGINE)


class Rate(Struct, frozen=True):
    """Requests a second, and the processor time of this process for each; a database server's is not in it."""

    per_s: float
    cpu_us: float


Turn = Callable[[Ground, Path | str, float], Rate]
"""Fill a new database for so many seconds."""


class Way(Struct, frozen=True):
    name: str
    turn: Turn


class Meter:
    """Sums the time of blocks."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._began[0]
        self.cpu_s += time.process_time() - self._began[1]

    def rate(self, requests: int) -> Rate:
        return Rate(requests / self.wall_s, self.cpu_s / requests * 1e6)


def main() -> None:
    options = _parser().parse_args()
    conditions = Conditions.now()
    ways = [
        Way("raw", raw), Way("ledger", ledger),
        *(Way(f"books, {callers:,} callers", _books_with(callers)) for callers in options.callers),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        tables = [_measured(ground, ways, options) for ground in _grounds(options, Path(name))]
        remark = f"{options.rounds} rounds of {options.seconds:g} s; file system {disk_of(Path(name))}"
    show(conditions, tables, [remark])
    if options.log:
        append("hold and settle", conditions, tables, [remark])


def _grounds(options: argparse.Namespace, folder: Path) -> Iterator[Ground]:
    if options.store in ("sqlite", "both"):
        for tenants in options.tenants:
            yield OnSqlite(tenants, folder)
    if options.store in ("postgresql", "both"):
        with server() as started:
            if started is None:
                raise SystemExit("PostgreSQL's programs are missing; on Debian: apt install postgresql; or --store sqlite")
            for tenants in options.tenants:
                yield OnPostgres(tenants, started)


def _measured(ground: Ground, ways: Sequence[Way], options: argparse.Namespace) -> Table:
    rates: dict[str, list[Rate]] = {way.name: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            with ground.fresh() as place:
                rates[way.name].append(way.turn(ground, place, options.seconds))
    return _table(ground, rates)


def raw(ground: Ground, place: Path | str, seconds: float) -> Rate:
    """The rows that hold and settle leave behind, made beforehand and inserted as fast as they go in."""
    meter, batches = Meter(), 0
    asking = itertools.cycle(ground.payers)
    ids = Ids(SystemClock())
    with ground.raw(place) as commit:
        while meter.wall_s < seconds:
            transfers, usage = _rows([(ids.new("req"), next(asking)) for _ in range(BATCH)], ground.price.id)
            with meter:
                commit(transfers, usage)
            batches += 1
    return meter.rate(batches * BATCH)


def ledger(ground: Ground, place: Path | str, seconds: float) -> Rate:
    """Hold and settle in one transaction of many, on one thread: settled is what the transaction before held."""
    clock = SystemClock()
    ids, asking = Ids(clock), itertools.cycle(ground.payers)
    db = connected(place)
    begun = db.write_now(
        lambda tx: epochs.begin(tx, now=clock.now(), lease_now=tx.now(clock.monotonic()), home="", lock=lambda _: None)
    )
    ours = Ours(begun.number, begun.slot)

    def hold(request_id: str, payer: Payer) -> Order:
        return ToHold(
            request_id=request_id, payer=payer, price=ground.price, input_bound=INPUT_BOUND, output_bound=OUTPUT_BOUND
        )

    def settle(request_id: str) -> Order:
        return ToSettle(request_id=request_id, outcome=OUTCOME, price=ground.price)

    def batch(tx: Tx, orders: Sequence[Order]) -> None:
        if not epochs.renew(tx, ours.epoch, tx.now(clock.monotonic())):
            raise RuntimeError("fenced")
        for answer in serve(tx, orders, ours, clock.now()):
            if isinstance(answer, Exception):
                raise answer

    meter, batches = Meter(), 0
    held: list[str] = []
    while meter.wall_s < seconds:
        requests = [(ids.new("req"), next(asking)) for _ in range(BATCH)]
        with meter:
            orders = [*(hold(*one) for one in requests), *(settle(request_id) for request_id in held)]
            db.write_now(lambda tx, orders=orders: batch(tx, orders))  # type: ignore[misc]
        held = [request_id for request_id, _ in requests]
        batches += 1
    with meter:
        db.write_now(lambda tx: batch(tx, [settle(request_id) for request_id in held]))
    _close(db)
    return meter.rate(batches * BATCH)


def _books_with(callers: int) -> Turn:
    return lambda ground, place, seconds: uvloop.run(books(ground, place, seconds, callers))


async def books(ground: Ground, place: Path | str, seconds: float, callers: int) -> Rate:
    """As the gateway does it, each caller one request after the other."""
    clock = SystemClock()
    ids, asking = Ids(clock), itertools.cycle(ground.payers)
    db = connected(place)
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        ours = Books(db, Path(folder), clock)
        await ours.open()
        until = time.perf_counter() + seconds

        async def call() -> int:
            done = 0
            while time.perf_counter() < until:
                hold = await ours.hold(ids.new("req"), next(asking), ground.price, INPUT_BOUND, OUTPUT_BOUND)
                await ours.settle(hold, OUTCOME)
                done += 1
            return done

        with meter:
            done = sum(await asyncio.gather(*(call() for _ in range(callers))))
        await ours.close()
    _close(db)
    return meter.rate(done)


def _rows(requests: Sequence[tuple[str, Payer]], price_id: str) -> tuple[list[Row], list[Row]]:
    now = time.time_ns()
    transfers: list[Row] = []
    usage: list[Row] = []
    for request_id, payer in requests:
        pending, grant = f"{request_id}/1", f"grant/{grant_of(payer)}"
        transfers.append((pending, "pending", grant, REVENUE, 7_250_000, None, now, 1, GENESIS))
        transfers.append((f"{pending}/end", "post", grant, REVENUE, 2_436_000, pending, now, 1, GENESIS))
        usage.append((
            request_id, payer.tenant_id, payer.project_id, payer.key_id, MODEL, "completed", "engine", COUNTS.input,
            COUNTS.cached_input, COUNTS.output, COUNTS.reasoning, 0, price_id, 0, 2_436_000, "CNY", 1, now, now,
        ))  # fmt: skip
    return transfers, usage


def _close(db: Database) -> None:
    """What was measured must also be right."""
    wrong = [check for check in db.read(audit) if not check.ok]
    db.close()
    if wrong:
        raise SystemExit(f"the books do not agree: {wrong}")


def _table(ground: Ground, rates: dict[str, list[Rate]]) -> Table:
    base = rates["raw"]
    rows = [
        [
            name, spread([rate.per_s for rate in theirs]), spread([rate.cpu_us for rate in theirs], 1),
            "" if theirs is base else spread([r.per_s / b.per_s for r, b in zip(theirs, base, strict=True)], 2),
        ]
        for name, theirs in rates.items()
    ]  # fmt: skip
    rows.append(["goal", f"≥ {GOALS[ground.title]:,}", "", f"≥ {RATIO_GOAL:g}"])
    tenants = "one tenant" if len(ground.payers) == 1 else f"{len(ground.payers):,} tenants"
    return Table(
        title=f"hold + settle, durable in {ground.title}, {tenants}",
        headings=["way", "requests/s", "µs CPU of this process", "of raw"], rows=rows,
        note="median over the rounds (least–most)",
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", choices=["sqlite", "postgresql", "both"], default="both", help="which (default both)")
    parser.add_argument("--tenants", type=int, nargs="+", default=[1, 1_000], help="how many (default 1 1000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way has its turn (default 5)")
    parser.add_argument("--callers", type=int, nargs="+", default=[64, 2_000], help="of the books at once (default 64 2000)")
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    return parser


if __name__ == "__main__":
    main()
