"""The audit over generated books of two sizes: `python -m bench.audit`, `--rows 100000` for a quick look.

Books of so many rows are made by the ledger itself (two transfers and a usage row a request, in one hash chain), for a thousand
tenants with a grant and a budgeted key each. A process of its own then audits them in full, and once more since the mark after
a hundredth more came. Rows are transfers and usage rows; memory is the process's largest resident set; the snapshot is the
longest that any read stayed open, for which SQLite keeps its write-ahead log. What 100 million rows would take is calculated
from the larger size, as its row says: it was not measured.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.report import Conditions, Table, append, show
from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.base.times import month_of
from millrace.generation.chunk import TokenCounts
from millrace.money.audit.examine import examine
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.entries import Answer, Entry
from millrace.money.rating.book import PriceVersion, parse_price
from millrace.money.rating.rate import rate
from millrace.money.rating.store import import_price
from millrace.schema import open_database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx

T = TypeVar("T")

SIZES: Final = (1_000_000, 4_000_000)
ROWS_OF_A_REQUEST: Final = 3
TENANTS: Final = 1_000
BATCH: Final = 2_000
"""Requests in a commit while the books are made."""

FAR: Final = 100_000_000

COUNTS: Final = TokenCounts(812, 512, 143, 0)

USAGE: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "status", "counted_by", "input", "cached_input", "output",
    "reasoning", "waived", "price_id", "tier", "amount", "currency", "epoch", "started_at", "finished_at",
)  # fmt: skip


class Books:
    """Generated books in a file, which grow on demand."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._clock = SystemClock()
        self._ids = Ids(self._clock)
        self._db = open_database(file)
        self._requests = 0
        self._tenants = [f"{number:026d}" for number in range(TENANTS)]
        self._price = self._db.write_now(self._move_in)

    def grow(self, rows: int) -> None:
        """By about so many rows."""
        for _ in range(0, rows // ROWS_OF_A_REQUEST, BATCH):
            self._db.write_now(self._requests_pass)

    def close(self) -> None:
        self._db.write_now(self._count_budgets)
        self._db.close()

    def open(self) -> None:
        self._db = open_database(self.file)

    def _move_in(self, tx: Tx) -> PriceVersion:
        now = self._clock.now()
        tx.run("INSERT INTO epoch (number, started_at) VALUES (1, 0)")
        terms = {"model": "tiny", "currency": "CNY", "input": "1", "output": "2"}
        price, _ = import_price(tx, parse_price(terms, where="bench"), now)
        ledger.open_account(tx, names.revenue("CNY", "tiny"), "CNY", overdraft=None)
        for one in self._tenants:
            tx.run("INSERT INTO tenant VALUES (:id, :id, 'prepaid', 'CNY', 0, 0)", id=f"ten_{one}")
            tx.run("INSERT INTO project VALUES (:id, :tenant, 'default', 0)", id=f"proj_{one}", tenant=f"ten_{one}")
            tx.run(
                "INSERT INTO api_key VALUES (:id, :project, :id, 'inference', NULL, NULL, NULL, :budget, 0)",
                id=f"key_{one}", project=f"proj_{one}", budget=2**60,
            )  # fmt: skip
            grant = grants.new_grant(
                id=f"gr_{one}", tenant_id=f"ten_{one}", amount=1_000_000 * NANO, currency="CNY",
                funding=Funding.CUSTOMER, now=now,
            )  # fmt: skip
            grants.give(tx, grant)
        return price

    def _requests_pass(self, tx: Tx) -> None:
        now = self._clock.now()
        charge = rate(COUNTS, self._price)
        revenue = names.revenue("CNY", "tiny")
        entries, usage = [], []
        for _ in range(BATCH):
            self._requests += 1
            one, id_ = self._tenants[self._requests * 7919 % TENANTS], self._ids.new("req")
            entries.append(
                Entry(id=f"{id_}/1", kind="pending", debit=f"grant/gr_{one}", credit=revenue, amount=2 * charge.amount, at=now)
            )
            usage.append(
                (
                    id_, f"ten_{one}", f"proj_{one}", f"key_{one}", "tiny", "completed", "engine", COUNTS.input,
                    COUNTS.cached_input, COUNTS.output, 0, 0, charge.price_id, charge.tier, charge.amount, "CNY", 1, now, now,
                )
            )  # fmt: skip
        entries += [
            Entry(id=f"{entry.id}/end", kind="post", amount=charge.amount, pending_id=entry.id, at=now) for entry in entries
        ]
        for start in range(0, len(entries), BATCH):
            answers = ledger.apply(tx, entries[start : start + BATCH])
            assert all(answer is Answer.OK for answer in answers)
        tx.insert("usage", USAGE, usage)

    def _count_budgets(self, tx: Tx) -> None:
        tx.run("DELETE FROM budget")
        tx.run(
            "INSERT INTO budget (key_id, month, spent) SELECT key_id, :month, SUM(amount) FROM usage GROUP BY key_id",
            month=month_of(self._clock.now()).name,
        )  # fmt: skip


class Timed(SqliteDatabase):
    """Knows how long its longest snapshot was open."""

    longest_s = 0.0

    def read(self, work: Callable[[Tx], T]) -> T:
        began = time.perf_counter()
        try:
            return super().read(work)
        finally:
            self.longest_s = max(self.longest_s, time.perf_counter() - began)


def one(file: Path, *, since_mark: bool) -> dict[str, Any]:
    """An audit in this process, and what it took."""
    db = Timed(file)
    began = time.perf_counter()
    findings = examine(db, SystemClock().now(), since_mark=since_mark)
    seconds = time.perf_counter() - began
    db.close()
    wrong = [f"{check.name}: {check.detail}" for check in findings.checks if not check.ok]
    assert not wrong, wrong
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"rows": findings.rows, "seconds": seconds, "mib": peak_mib, "snapshot": db.longest_s}


def apart(file: Path, *, since_mark: bool) -> dict[str, Any]:
    """The same in a process of its own, so that memory is the audit's alone."""
    command = [sys.executable, "-m", "bench.audit", "--one", str(file), *(["--since-mark"] if since_mark else [])]
    said: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return said


def row(name: str, file: Path, took: dict[str, Any]) -> list[str]:
    rate_s = took["rows"] / took["seconds"]
    return [
        name, f"{took['rows']:,}", f"{file.stat().st_size // 2**20:,}", f"{took['seconds']:.1f}", f"{rate_s:,.0f}",
        f"{took['mib']:,}", f"{took['snapshot']:.2f}",
    ]  # fmt: skip


def measure(sizes: Sequence[int]) -> list[list[str]]:
    rows = []
    took: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder) / "millrace.db")
        made = 0
        for size in sizes:
            books.grow(size - made)
            books.close()
            took = apart(books.file, since_mark=False)
            rows.append(row("full", books.file, took))
            books.open()
            books.grow(size // 100)
            books.close()
            rows.append(row("since the mark, after 1 % more", books.file, apart(books.file, since_mark=True)))
            books.open()
            made = size + size // 100
        books.close()
    hours = FAR / (took["rows"] / took["seconds"]) / 3600
    return [*rows, ["full, calculated", f"{FAR:,}", "", f"{hours * 3600:,.0f}", "", "", ""]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="one size instead of 1 and 4 million rows")
    parser.add_argument("--log", action="store_true", help="append the table to docs/LOG.md")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--since-mark", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one(options.one, since_mark=options.since_mark)))
        return
    conditions = Conditions.now()
    table = Table(
        "The audit, on SQLite", ("audit", "rows", "MiB on disk", "seconds", "rows/s", "peak MiB", "longest snapshot, s"),
        measure(SIZES if options.rows is None else (options.rows,)),
    )  # fmt: skip
    show(conditions, [table])
    if options.log:
        append("the audit", conditions, [table])


if __name__ == "__main__":
    main()
