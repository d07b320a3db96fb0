"""Roll-up, backup, export, deletion and restore of generated books: `python -m bench.keeping`, `--rows 100000` for a look.

The books are those of bench/audit.py. While each piece of work runs, another thread makes a small write every 5 ms and notes
how long it takes: that is what a request waits for. The work runs in the same process, as a server's roll-up does; exports and
deletion have a process of their own there. With `--restore-into URL`, an empty PostgreSQL database, the backup goes there too.
"""

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.audit import Books
from bench.report import Conditions, Table, append, show
from millrace import schema
from millrace.archive.read import Archive
from millrace.archive.restore import restore_archive
from millrace.archive.write import write_archive
from millrace.base.clock import SystemClock
from millrace.money.metering import store as metering
from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import DAY_NS, Keeper
from millrace.money.rollups import store as rollups
from millrace.money.rollups.roller import Roller
from millrace.store.database import Database
from millrace.store.migrations import Migration

ROWS: Final = 1_200_000
"""Transfers and usage rows together: 400,000 requests."""

PROBE_S: Final = 0.005

TENANT: Final = f"ten_{0:026d}"


class Waits:
    """How long small writes took while something else was done."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._over = threading.Event()
        self.milliseconds: list[float] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        thread = threading.Thread(target=self._write)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def at(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def _write(self) -> None:
        while not self._over.wait(PROBE_S):
            began = time.perf_counter()
            self._db.write_now(lambda tx: tx.run("UPDATE counter SET value = value WHERE name = 'probe'"))
            self.milliseconds.append((time.perf_counter() - began) * 1000)


def timed(name: str, rows: int, db: Database, work: Callable[[], object]) -> list[str]:
    """One line of the table."""
    waits = Waits(db)
    with waits.noted():
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
    return [name, f"{rows:,}", f"{seconds:.2f}", f"{rows / seconds:,.0f}", f"{waits.at(0.99):.1f}", f"{waits.at(1):.1f}"]


def quick(name: str, rows: int, work: Callable[[], object]) -> list[str]:
    """A line of something that no writer waits for."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return [name, f"{rows:,}", f"{seconds:.3f}", f"{rows / seconds:,.0f}", "", ""]


def quiet(_: str) -> None:
    """Progress that nobody looks at."""


def into(db: Database) -> Callable[[Path], tuple[Database, Sequence[Migration]]]:
    return lambda _: (db, schema.migrations(db.dialect))


def measure(rows: int, url: str | None) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        books = Books(folder / "millrace.db")
        books.grow(rows)
        books.close()
        lines = []
        with contextlib.closing(schema.open_database(books.file)) as db:
            lines += _server_s_work(db, folder)
        archive = folder / "one.zip"
        with Archive(archive) as opened:
            total = opened.manifest.rows

            def restore(place: Path | str, home: str) -> None:
                restore_archive(opened, folder / home, into(schema.connect(place)), settings=None, progress=quiet)

            lines.append(quick("restore into SQLite", total, lambda: restore(folder / "restored.db", "home")))
            if url is not None:
                lines.append(quick("restore into PostgreSQL", total, lambda: restore(url, "cluster")))
        size = f"backup: {archive.stat().st_size // 2**20} MiB of a database of {books.file.stat().st_size // 2**20} MiB"
        return [*lines, [size, "", "", "", "", ""]]


def _server_s_work(db: Database, folder: Path) -> list[list[str]]:
    now = SystemClock().now()
    span = (now - DAY_NS, now + DAY_NS)
    requests = db.read(rollups.horizon).seq
    exporter = Exporter(db, folder / "exports", range_rows=requests // 2)
    keeper = Keeper(db, exporter)
    mine = db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM usage WHERE tenant_id = :id", id=TENANT))[0][0]
    lines = [
        timed("roll-up", requests, db, Roller(db).roll),
        quick("a tenant's sums from rows", mine, lambda: db.read(lambda tx: metering.sums(tx, TENANT, *span, "model"))),
        quick("a tenant's sums from roll-ups", mine, lambda: db.read(lambda tx: rollups.sums(tx, TENANT, *span, "model"))),
    ]
    total = db.read(lambda tx: tx.rows("SELECT (SELECT COUNT(*) FROM usage) + (SELECT COUNT(*) FROM transfer)"))[0][0]
    lines.append(
        timed("backup", total, db, lambda: write_archive(
            db, folder, folder / "one.zip", settings=folder / "none", now=now, progress=quiet))
    )  # fmt: skip
    lines.append(timed("export", requests, db, lambda: exporter.run(requests, now, quiet)))
    db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv'"))
    lines.append(timed("delete, with its pauses", requests // 2, db, lambda: keeper.run(1, now + 60 * DAY_NS, quiet)))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="transfers and usage rows together")
    parser.add_argument("--restore-into", metavar="URL", help="an empty PostgreSQL database")
    parser.add_argument("--log", action="store_true", help="append the table to docs/LOG.md")
    options = parser.parse_args()
    conditions = Conditions.now()
    table = Table(
        "Keeping the books, on SQLite",
        ("work", "rows", "seconds", "rows/s", "small write meanwhile p99, ms", "longest, ms"),
        measure(options.rows, options.restore_into),
    )
    show(conditions, [table])
    if options.log:
        append("backup, roll-up, export, deletion", conditions, [table])


if __name__ == "__main__":
    main()
